// The equations of common cells for the baseline instruction set: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 16
#define REKUR_COMPILED_TABLE compiled_baseline
#define REKUR_ISA_NAME "baseline"
#include "isa/compiled_table.hpp"
