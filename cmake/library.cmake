# libfptq.so, its headers, and what find_package and pkg-config read.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

file(GLOB api_sources CONFIGURE_DEPENDS src/api/*.cc)
list(FILTER api_sources EXCLUDE REGEX "_test\\.cc$")
add_library(fptq_shared SHARED ${api_sources})
set_target_properties(fptq_shared PROPERTIES OUTPUT_NAME fptq EXPORT_NAME fptq
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_include_directories(fptq_shared PRIVATE src
  PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
target_compile_features(fptq_shared PUBLIC cxx_std_20)
target_link_libraries(fptq_shared PRIVATE $<BUILD_INTERFACE:fptq_api>)
target_link_options(fptq_shared PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/fptq.map")
set_target_properties(fptq_shared PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cmake/fptq.map")
install(TARGETS fptq_shared EXPORT fptq COMPONENT library)
install(DIRECTORY include/fptq TYPE INCLUDE COMPONENT library)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/fptq")
install(EXPORT fptq FILE fptq-config.cmake NAMESPACE fptq:: DESTINATION "${package}" COMPONENT library)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/fptq-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/fptq-config-version.cmake" DESTINATION "${package}" COMPONENT library)
configure_file(cmake/fptq.pc.in fptq.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/fptq.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
