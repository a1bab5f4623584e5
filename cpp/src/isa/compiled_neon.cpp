// The equations of common cells for NEON: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 16
#define REKUR_COMPILED_TABLE compiled_neon
#define REKUR_ISA_NAME "neon"
#include "isa/compiled_table.hpp"
