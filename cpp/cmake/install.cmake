# What `cmake --install` puts where. Components: rekur_runtime (the shared library), rekur_development (everything else).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS rekur EXPORT rekur-targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT rekur_development
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT rekur_runtime NAMELINK_COMPONENT rekur_development
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT rekur_runtime
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(REKUR_DEB)  # librekur-dev has both libraries: rekur::static is the other one
  set_target_properties(rekur_whole PROPERTIES OUTPUT_NAME rekur EXPORT_NAME static EXCLUDE_FROM_ALL OFF)
  install(TARGETS rekur_whole EXPORT rekur-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT rekur_development
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/include/rekur ${PROJECT_BINARY_DIR}/include/rekur
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT rekur_development FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")

# What the C++ runtime is called here: a program without C++ of its own must link it beside the static library.
set(REKUR_RUNTIME_LIBRARIES ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
list(FILTER REKUR_RUNTIME_LIBRARIES INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
list(REMOVE_DUPLICATES REKUR_RUNTIME_LIBRARIES)

# ON or OFF, however the options were written.
foreach(pair SHARED=BUILD_SHARED_LIBS THREADS=REKUR_THREADS FILES=REKUR_FILES EXCEPTIONS=REKUR_EXCEPTIONS TRAINING=REKUR_TRAINING EQUATIONS=REKUR_EQUATIONS
             MATRIX=REKUR_MATRIX SEQUENCE=REKUR_SEQUENCE COMPILED_CELLS=REKUR_COMPILED_CELLS INT8=REKUR_INT8
             IMPORT=REKUR_IMPORT)
  string(REPLACE "=" ";" pair ${pair})
  list(GET pair 0 name)
  list(GET pair 1 option)
  set(REKUR_CONFIG_${name} OFF)
  if(${option})
    set(REKUR_CONFIG_${name} ON)
  endif()
endforeach()

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/rekur)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cpp/cmake/rekur-config.cmake.in ${PROJECT_BINARY_DIR}/rekur-config.cmake
  INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rekur-config-version.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT rekur-targets NAMESPACE rekur:: DESTINATION ${package} COMPONENT rekur_development)
install(FILES ${PROJECT_BINARY_DIR}/rekur-config.cmake ${PROJECT_BINARY_DIR}/rekur-config-version.cmake
  DESTINATION ${package} COMPONENT rekur_development)

# The prefix is found from where the .pc file lies, so that an installed tree can be moved.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(REKUR_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(REKUR_PC_PREFIX "\${pcfiledir}/${up}")
endif()
foreach(directory LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${directory}})
    set(REKUR_PC_${directory} ${CMAKE_INSTALL_${directory}})
  else()
    set(REKUR_PC_${directory} "\${prefix}/${CMAKE_INSTALL_${directory}}")
  endif()
endforeach()
set(REKUR_PC_PRIVATE "")
if(NOT BUILD_SHARED_LIBS OR REKUR_DEB)
  foreach(name IN LISTS REKUR_THREAD_LIBRARIES REKUR_RUNTIME_LIBRARIES)
    string(APPEND REKUR_PC_PRIVATE " -l${name}")
  endforeach()
endif()
configure_file(${PROJECT_SOURCE_DIR}/cpp/cmake/rekur.pc.in ${PROJECT_BINARY_DIR}/rekur.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/rekur.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT rekur_development)
if(REKUR_DEB)
  include(${PROJECT_SOURCE_DIR}/cpp/packaging/debian/layout.cmake)
else()
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT rekur_development)
endif()
if(PROJECT_IS_TOP_LEVEL)
  include(${PROJECT_SOURCE_DIR}/cpp/packaging/cpack.cmake)
endif()
