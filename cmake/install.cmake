# What `cmake --install` puts where: headers, both forms of the library, the command, a CMake package
# and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(cubby_static PROPERTIES EXPORT_NAME static)
install(TARGETS cubby cubby_static EXPORT cubby-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(CUBBY_BUILD_COMMAND)
  install(TARGETS cubby_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY include/cubby DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.cuh")

set(cubby_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/cubby)
install(EXPORT cubby-targets NAMESPACE cubby:: DESTINATION ${cubby_package_dir})
configure_package_config_file(cmake/cubby-config.cmake.in ${PROJECT_BINARY_DIR}/cubby-config.cmake
                              INSTALL_DESTINATION ${cubby_package_dir})
# Before 1.0 a minor version may change what programs are compiled against.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cubby-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cubby-config.cmake ${PROJECT_BINARY_DIR}/cubby-config-version.cmake
        DESTINATION ${cubby_package_dir})

set(cubby_private_libs "-lstdc++ -lm -pthread")
if(TARGET cubby_backend_uring)
  string(PREPEND cubby_private_libs "-luring ")
endif()
if(CUBBY_TBB_LIBRARY AND CUBBY_WITH_TBB)
  string(PREPEND cubby_private_libs "-ltbb ")
endif()
configure_file(cmake/cubby.pc.in ${PROJECT_BINARY_DIR}/cubby.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cubby.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
