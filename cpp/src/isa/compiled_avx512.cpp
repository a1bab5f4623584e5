// The equations of common cells for AVX-512 F, DQ, BW and VL: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 64
#define REKUR_COMPILED_TABLE compiled_avx512
#define REKUR_ISA_NAME "avx512"
#include "isa/compiled_table.hpp"
