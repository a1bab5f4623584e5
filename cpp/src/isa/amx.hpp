// AMX: tiles of registers, an instruction set above AVX-512's that shares its kernels.
#pragma once

namespace rekur::isa {

// Whether this processor and system have it.
bool has_amx();

// Whether it is the instruction set in use, and the system has given its registers to this process, which it does when first asked.
// So a process that has no products of rounded rows never asks; afterwards, alternate signal stacks have to hold 8 KB more.
bool uses_amx();

// Whether the system gives them, which it is asked for now.
bool take_amx();

}  // namespace rekur::isa
