// AMX: tiles of registers, an instruction set above AVX-512's that shares its kernels.
#pragma once

namespace rekur::isa {

// Whether this processor and system have it.
bool has_amx();

// Whether the system gives its registers to this process, which it is asked for at the first call. Afterwards alternate signal
// stacks have to hold 8 KB more.
bool take_amx();

// Whether it is the instruction set in use, and the system gives its registers. A process without products of rounded rows never
// asks.
bool uses_amx();

}  // namespace rekur::isa
