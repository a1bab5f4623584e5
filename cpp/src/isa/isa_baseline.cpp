// Every kernel for x86-64 as every such machine has it (SSE2), or any machine without an own unit.
#define REKUR_VEC_BYTES 16
#define REKUR_ISA_TABLE table_baseline
#define REKUR_ISA_NAME "baseline"
#define REKUR_ISA_NUMBER 0
#include "isa/table.hpp"
