// The equations of common cells for AVX2 and FMA: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 32
#define REKUR_COMPILED_TABLE compiled_avx2
#define REKUR_ISA_NAME "avx2"
#include "isa/compiled_table.hpp"
