// Every kernel for ARM's vector unit: all of aarch64 has it; on 32-bit ARM the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 16
#define REKUR_ISA_TABLE table_neon
#define REKUR_ISA_NAME "neon"
#define REKUR_ISA_NUMBER 3
#include "isa/table.hpp"
