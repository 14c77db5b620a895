# What the program is installed with, its manual and its completion for bash, and the Debian package of these: cpack -G DEB.
include(GNUInstallDirs)
install(TARGETS fptq COMPONENT program)
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/fptq" RENAME copyright COMPONENT program)
if(NOT CMAKE_CROSSCOMPILING)  # the program itself prints them
  set(manual "${CMAKE_CURRENT_BINARY_DIR}/fptq.1")
  set(completion "${CMAKE_CURRENT_BINARY_DIR}/bash_completion")
  install(CODE "
    execute_process(COMMAND \"$<TARGET_FILE:fptq>\" --manual OUTPUT_FILE \"${manual}\" COMMAND_ERROR_IS_FATAL ANY)
    execute_process(COMMAND \"$<TARGET_FILE:fptq>\" --bash-completion OUTPUT_FILE \"${completion}\" COMMAND_ERROR_IS_FATAL ANY)"
    COMPONENT program)
  install(FILES "${manual}" TYPE MAN RENAME man1/fptq.1 COMPONENT program)
  install(FILES "${completion}" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" RENAME fptq COMPONENT program)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "fptq <fptq@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_COMPONENTS_ALL program)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)
