// Every kernel for AVX2 and FMA: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 32
#define REKUR_ISA_TABLE table_avx2
#define REKUR_ISA_NAME "avx2"
#define REKUR_ISA_NUMBER 1
#include "isa/table.hpp"
