// Every kernel for aarch64 with its vector unit.
#define REKUR_VEC_BYTES 16
#define REKUR_ISA_TABLE table_neon
#define REKUR_ISA_NAME "neon"
#include "isa/table.hpp"
