#pragma once

#include "rekur/detail/float_mode.hpp"

namespace rekur::runtime {

// FlushDenormals for what takes some fifty nanoseconds: writing the mode takes four, and reading it back behind a write another
// ten. So a caller who flushes already pays nothing, and another gets back the mode as it was, without the exception flags that
// were raised meanwhile.
class FlushDenormalsBriefly {
 public:
  FlushDenormalsBriefly() noexcept : saved_(detail::float_mode()), own_((saved_ & detail::kFlushBits) != detail::kFlushBits) {
    if (own_) detail::set_float_mode(saved_ | detail::kFlushBits);
  }
  ~FlushDenormalsBriefly() {
    if (own_) detail::set_float_mode(saved_);
  }
  FlushDenormalsBriefly(const FlushDenormalsBriefly&) = delete;
  FlushDenormalsBriefly& operator=(const FlushDenormalsBriefly&) = delete;

 private:
  detail::FloatMode saved_;
  bool own_;
};

}  // namespace rekur::runtime
