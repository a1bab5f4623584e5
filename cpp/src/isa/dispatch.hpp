// One table of kernels an ISA, and the one in use.
#pragma once

#include <cstdint>

#include "kernels/steps.hpp"
#include "simd/kernels.hpp"
#if REKUR_MATRIX
#include "simd/selective_kernels.hpp"
#endif
#if REKUR_SEQUENCE
#include "kernels/gates.hpp"
#include "simd/attention_kernels.hpp"
#include "simd/window_kernels.hpp"
#endif

namespace rekur::isa {

struct Table {
  const char* name;
  bool amx;  // whether products of rounded rows are taken by AMX
  simd::Kernels simd;
  kernels::Steps steps;
  kernels::SingleRowTable single_row;
#if REKUR_MATRIX
  simd::MatrixKernels matrix;
  simd::SelectiveKernels selective;
#endif
#if REKUR_SEQUENCE
  simd::AttentionKernels attention;
  simd::WindowKernels windows;
  kernels::GateKernels gates;
#endif
};

// The table in use (see current_isa() in runtime.hpp for how it is chosen). Cheap: one atomic load after the first call.
const Table& table();

// The same, or for a row of so few numbers that half its vectors' lanes would be none, a table of half the width, if this build has
// one that gives the same bits: some machines take longer for a wide vector than for a narrow one.
const Table& table_for(std::int64_t numbers);

// The kernels of the ISA in use, for those who need nothing else.
inline const simd::Kernels& kernels() { return table().simd; }

// Changes whenever set_isa does: packed weights remember the number they were packed under.
std::uint64_t epoch();

}  // namespace rekur::isa
