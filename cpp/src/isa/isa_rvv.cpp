// Every kernel for RISC-V's vectors, of which every processor that has them has 128 bits: the flags are set in
// cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 16
#define REKUR_ISA_TABLE table_rvv
#define REKUR_ISA_NAME "rvv"
#define REKUR_ISA_NUMBER 4
#include "isa/table.hpp"
