// The machine: which instruction set runs, how many threads, how denormals are treated. Without exceptions: rekur/status.hpp.
#pragma once

#include <string>
#include <vector>

#include "rekur/config.h"

namespace rekur {

#if REKUR_THROWS
// The instruction set in use: "baseline", "avx2", "avx512", "amx", "neon" or "rvv". Chosen at first use as the widest the machine
// has, or by the environment variable REKUR_ISA; throws Error if that names one the machine lacks. "amx" is AVX-512 with products
// of eight and sixteen bits by AMX: those of eight bits are the same either way, those of bf16 are summed in another order.
REKUR_API std::string current_isa();

// The instruction sets this build and this machine both have, narrowest first.
REKUR_API std::vector<std::string> available_isas();

// Switches the instruction set of the whole process. For tests and measurements: no model may be running, and tapes made before the
// call must not be used after it; streams keep the one they were made for. Throws Error for an unknown or missing instruction set.
REKUR_API void set_isa(const std::string& name);

// Threads used by one call into the engine. Initially REKUR_NUM_THREADS, else OMP_NUM_THREADS, else the cores this
// process may use, by its affinity mask and its cgroups' CPU quota. A call never uses more threads than there are such cores.
// Results never depend on it, not by one bit. Throws Error unless 1 <= n <= 1024.
REKUR_API int num_threads();
REKUR_API void set_num_threads(int n);

// Processor model, instruction sets, threads: a few lines for a bug report.
REKUR_API std::string cpu_info();
#endif

REKUR_API const char* version() noexcept;

}  // namespace rekur
