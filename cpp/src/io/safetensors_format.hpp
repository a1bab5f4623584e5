// What reading and writing of safetensors share.
#pragma once

#include "io/safetensors.hpp"

namespace rekur::safetensors {

inline constexpr std::size_t kLengthSize = 8;
inline constexpr std::uint64_t kMaxHeader = 100'000'000;  // the reference reader's limit
inline constexpr char kMetadata[] = "__metadata__";

// A shape whose other dimensions overflow is refused even where one of them is zero.
Index byte_count(const Shape& shape, Type type);

}  // namespace rekur::safetensors
