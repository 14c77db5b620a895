# libfptq.so and libfptq.a of the same objects, their headers, and what find_package and pkg-config read: fptq::fptq and
# fptq::fptq_static.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(fptq_shared SHARED $<TARGET_OBJECTS:fptq_api>)
set_target_properties(fptq_shared PROPERTIES OUTPUT_NAME fptq EXPORT_NAME fptq LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_link_libraries(fptq_shared PRIVATE $<BUILD_INTERFACE:fptq_api>)
target_link_options(fptq_shared PRIVATE "-Wl,--version-script=${CMAKE_CURRENT_SOURCE_DIR}/cmake/fptq.map")
set_target_properties(fptq_shared PROPERTIES LINK_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/cmake/fptq.map")

# Who links libfptq.a links these, too.
set(static_dependencies fmt pcre2-8 utf8proc z prometheus-cpp-core pthread)
add_library(fptq_static STATIC)
set_target_properties(fptq_static PROPERTIES OUTPUT_NAME fptq LINKER_LANGUAGE CXX)
foreach(module base files kernels io text machine model engine quant eval server api build)
  target_sources(fptq_static PRIVATE $<TARGET_OBJECTS:fptq_${module}>)
endforeach()
target_link_libraries(fptq_static INTERFACE $<INSTALL_INTERFACE:${static_dependencies}>)

foreach(library fptq_shared fptq_static)
  target_include_directories(${library}
    PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  target_compile_features(${library} PUBLIC cxx_std_20)
endforeach()

install(TARGETS fptq_shared fptq_static EXPORT fptq COMPONENT library)
install(DIRECTORY include/fptq TYPE INCLUDE COMPONENT library)
set(package "${CMAKE_INSTALL_LIBDIR}/cmake/fptq")
install(EXPORT fptq FILE fptq-config.cmake NAMESPACE fptq:: DESTINATION "${package}" COMPONENT library)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/fptq-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/fptq-config-version.cmake" DESTINATION "${package}" COMPONENT library)
list(TRANSFORM static_dependencies PREPEND -l)
list(JOIN static_dependencies " " static_dependencies)
file(RELATIVE_PATH prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")  # wherever it is installed
configure_file(cmake/fptq.pc.in fptq.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/fptq.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT library)
