// Every kernel for AVX-512 F, DQ, BW and VL: the flags are set in cpp/cmake/isas.cmake.
#define REKUR_VEC_BYTES 64
#define REKUR_ISA_TABLE table_avx512
#define REKUR_ISA_NAME "avx512"
#define REKUR_ISA_NUMBER 2
#include "isa/table.hpp"

#if REKUR_AMX
// The same kernels, which take products of rounded rows by AMX where they are told to.
namespace rekur::isa {
extern constinit const Table table_amx = make_table("amx", true);
}
#endif
