// Denormals are numbers next to zero (below 1.2e-38) with which many processors are up to a hundred times slower. States of a
// network that hears silence decay through them.
#pragma once

#include "rekur/detail/float_mode.hpp"

namespace rekur {

// While it lives, this thread takes denormal inputs and results for zero; the caller's mode returns with its end. A few
// nanoseconds: once a block, not once a sample. Nothing on processors that are neither x86 with SSE nor ARM.
class FlushDenormals {
 public:
  FlushDenormals() noexcept : saved_(detail::float_mode()) { detail::set_float_mode(saved_ | detail::kFlushBits); }
  // Only the two modes are put back: exception flags raised meanwhile stay raised.
  ~FlushDenormals() { detail::set_float_mode((detail::float_mode() & ~detail::kFlushBits) | (saved_ & detail::kFlushBits)); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  detail::FloatMode saved_;
};

}  // namespace rekur
