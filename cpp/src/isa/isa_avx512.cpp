// Every kernel for AVX-512 F, DQ, BW and VL: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 64
#define REKUR_ISA_TABLE table_avx512
#define REKUR_ISA_NAME "avx512"
#define REKUR_ISA_NUMBER 2
#include "isa/table.hpp"
