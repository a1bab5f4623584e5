# What cpack makes: an archive of the installed tree (TGZ), and with REKUR_DEB Debian's packages (DEB): librekur<version>, the shared
# library, and librekur-dev, everything else. Included by cpp/cmake/install.cmake.
set(CPACK_PACKAGE_NAME rekur)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "rekur")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR})
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_GENERATOR TGZ)
set(CPACK_ARCHIVE_COMPONENT_INSTALL OFF)
set(CPACK_INCLUDE_TOPLEVEL_DIRECTORY ON)
set(CPACK_PACKAGE_FILE_NAME rekur-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)

if(REKUR_DEB)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(CPACK_DEB_COMPONENT_INSTALL ON)
  set(CPACK_COMPONENTS_ALL rekur_runtime rekur_development)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_RELEASE ${REKUR_DEB_REVISION})
  set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${REKUR_DEB_MAINTAINER}")
  set(CPACK_DEBIAN_PACKAGE_SOURCE rekur)
  set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

  set(runtime librekur${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_NAME ${runtime})
  set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_SECTION libs)
  set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_MULTIARCH same)
  set(CPACK_COMPONENT_REKUR_RUNTIME_DESCRIPTION "rekur runs and trains recurrent networks (LSTM, GRU, cells of one's own)
on CPUs: step by step in real time, or whole sequences on all cores.
.
This package has the shared library.")
  # What a program built against this copy needs, and that the linker's cache is renewed.
  set(control ${PROJECT_BINARY_DIR}/debian/control)
  file(WRITE ${control}/shlibs "librekur ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} ${runtime} (>= ${PROJECT_VERSION})\n")
  file(WRITE ${control}/triggers "activate-noawait ldconfig\n")
  # As they are in the package; what cpack takes for strict makes triggers a program.
  file(CHMOD ${control}/shlibs ${control}/triggers PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
  set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_CONTROL_EXTRA ${control}/shlibs ${control}/triggers)
  find_program(REKUR_SHLIBDEPS dpkg-shlibdeps)
  mark_as_advanced(REKUR_SHLIBDEPS)
  if(REKUR_SHLIBDEPS AND NOT CMAKE_CROSSCOMPILING)
    set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_SHLIBDEPS ON)
  else()
    set(CPACK_DEBIAN_REKUR_RUNTIME_PACKAGE_DEPENDS "libc6, libgcc-s1, libstdc++6")
  endif()

  set(CPACK_DEBIAN_REKUR_DEVELOPMENT_PACKAGE_NAME librekur-dev)
  set(CPACK_DEBIAN_REKUR_DEVELOPMENT_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_REKUR_DEVELOPMENT_PACKAGE_MULTIARCH same)
  set(CPACK_DEBIAN_REKUR_DEVELOPMENT_PACKAGE_DEPENDS "${runtime} (= ${PROJECT_VERSION}-${REKUR_DEB_REVISION})")
  set(CPACK_COMPONENT_REKUR_DEVELOPMENT_DESCRIPTION "rekur runs and trains recurrent networks (LSTM, GRU, cells of one's own)
on CPUs: step by step in real time, or whole sequences on all cores.
.
This package has the headers in C++ and C, the static library, a CMake
package and a pkg-config file.")
endif()
include(CPack)
