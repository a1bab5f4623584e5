# The source is the tree that this port lies in: vcpkg install rekur --overlay-ports=DIR/cpp/packaging/vcpkg/ports. A registry's form
# has, instead of what comes next, the archive of a release:
#   vcpkg_from_github(OUT_SOURCE_PATH SOURCE_PATH REPO <owner>/rekur REF "v${VERSION}" SHA512 <of the archive> HEAD_REF main)
get_filename_component(SOURCE_PATH "${CURRENT_PORT_DIR}/../../../../.." ABSOLUTE)
if(NOT EXISTS "${SOURCE_PATH}/cpp/include/rekur/rekur.h")
  message(FATAL_ERROR "rekur: this port is an overlay port of rekur's source tree, in cpp/packaging/vcpkg/ports, and there is none around "
                      "${CURRENT_PORT_DIR}")
endif()

vcpkg_check_features(OUT_FEATURE_OPTIONS FEATURE_OPTIONS
  FEATURES
    compiled-cells REKUR_COMPILED_CELLS
    equations REKUR_EQUATIONS
    exceptions REKUR_EXCEPTIONS
    files REKUR_FILES
    import REKUR_IMPORT
    int8 REKUR_INT8
    matrix REKUR_MATRIX
    sequence REKUR_SEQUENCE
    threads REKUR_THREADS
    training REKUR_TRAINING)

# Features only add: the LSTM is always there, so that no choice of them leaves a library without a cell.
set(cells lstm)
foreach(cell IN ITEMS simple_rnn gru gru_reset_before lstm_peephole lstm_coupled lstm_peephole_coupled)
  string(REPLACE "_" "-" feature ${cell})
  if(feature IN_LIST FEATURES)
    list(APPEND cells ${cell})
  endif()
endforeach()

vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    ${FEATURE_OPTIONS}
    "-DREKUR_CELLS=${cells}"
    -DREKUR_COMPACT=OFF  # takes features away, and is neither for shared libraries nor for debug builds
    -DREKUR_INSTALL=ON
    -DREKUR_TESTS=OFF)
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH lib/cmake/rekur)
vcpkg_fixup_pkgconfig()
vcpkg_copy_pdbs()

file(REMOVE_RECURSE
  "${CURRENT_PACKAGES_DIR}/debug/include"
  "${CURRENT_PACKAGES_DIR}/debug/share"
  "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CURRENT_PORT_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
