// The equations of common cells for RISC-V's vectors: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 16
#define REKUR_COMPILED_TABLE compiled_rvv
#define REKUR_ISA_NAME "rvv"
#include "isa/compiled_table.hpp"
