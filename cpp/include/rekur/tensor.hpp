// Shapes, element types and non-owning views: the vocabulary of every public header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "rekur/config.h"
#include "rekur/weight_type.hpp"

#if REKUR_THROWS
#include <stdexcept>
#endif

namespace rekur {

using Index = std::int64_t;

#if REKUR_THROWS
// What the library throws for anything a caller can get wrong. The message says which layer or file,
// what was expected and what came.
class REKUR_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown when a file cannot be opened, read, written or understood as a file (bindings map it to OSError).
class REKUR_API IoError : public Error {
 public:
  explicit IoError(const std::string& what, int system = 0) : Error(what), system_(system) {}

  // The system's error number (ENOENT, …); 0 where the system was content and the file's content was not.
  int system_error() const noexcept { return system_; }

 private:
  int system_;
};

// Thrown when the memory for a model's weights or for a run cannot be had. Small allocations that fail throw std::bad_alloc.
class REKUR_API OutOfMemory : public Error {
 public:
  using Error::Error;
};
#endif

enum class DType : std::uint8_t { float32, int32 };

// Dimensions, outermost first. -1 stands for "known only when data arrives" (the batch, and often the time).
using Shape = std::vector<Index>;
inline constexpr Index kUnknown = -1;

// "(None, 50, 8)": as error messages and summaries print a shape.
REKUR_API std::string to_string(const Shape& shape);

#if REKUR_THROWS
// Product of the dimensions; throws Error when one is negative or the product does not fit in Index
// divided by 8 (so that a count of bytes never overflows either).
REKUR_API Index element_count(const Shape& shape);
#endif

// A dense, row-major array that somebody else owns. `data` points to float or std::int32_t by `dtype`.
struct ConstView {
  const void* data = nullptr;
  Shape shape;
  DType dtype = DType::float32;

  const float* f32() const noexcept { return static_cast<const float*>(data); }
  const std::int32_t* i32() const noexcept { return static_cast<const std::int32_t*>(data); }
};

struct View {
  float* data = nullptr;
  Shape shape;
};

}  // namespace rekur
