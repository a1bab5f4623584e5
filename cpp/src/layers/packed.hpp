// A weight matrix packed for the ISA's gemm, packed again whenever the weights or the ISA have changed.
#pragma once

#include <cstdint>
#include <vector>

#include "rekur/tensor.hpp"
#include "runtime/buffer.hpp"
#include "runtime/locks.hpp"
#include "simd/kernels.hpp"

namespace rekur::layers {

class PackedMatrix {
 public:
  // Packs B[k][n] = source[k * stride_k + n * stride_n] for k < K, n < N, unless this version is what is packed already.
  // Several threads may call it at once with the same version.
  void prepare(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version);

  // The same of rows of `type`, which is one of sixteen bits; rows of N numbers one after the other. For simd::Kernels::gemm_half.
  void prepare_half(WeightType type, const float* source, Index K, Index N, std::uint64_t version);

#if REKUR_BF16
  // What prepare packs, its rows in pairs of bf16: for simd::Kernels::gemm_bf16.
  void prepare_bf16(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version);
#endif

  // Row n of B by itself, B[0][n], B[1][n], …, zeros behind it up to a multiple of 16: for simd::Kernels::dots.
  void prepare_dots(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version);

#if REKUR_INT8
  // Of eight bits, in vectors of columns with the bias among them (null: 0): for simd::Kernels::gemm_int8.
  void prepare_int8(const float* source, Index K, Index N, Index stride_k, const float* bias, std::uint64_t version);
  // The vectors of columns from column n, the first of one, on.
  const float* columns(Index n) const;
#endif

  const float* data() const { return data_; }

  // Of what prepare_bf16 and prepare_int8 packed: how products of it are taken (simd/kernels.hpp).
  Index group() const { return group_; }

 private:
  bool is_packed(std::uint64_t version) const;
  // Room for so many floats in this layout; null if this version is there already, or a file has it. To be called, and filled,
  // under the mutex.
  float* begin(Index size, std::uint64_t version, std::uint64_t layout);

  runtime::Mutex mutex_;
  Buffer storage_;
  float* data_ = nullptr;  // in storage_; null before there is a version
  std::uint64_t version_ = 0, epoch_ = 0;
  Index group_ = 0;
#if REKUR_INT8
  Index vector_ = 0, width_ = 1;  // of eight bits: floats of a vector of columns; its lanes
#endif
};

#if REKUR_INT8
// A matrix rounded to eight bits, as floats: what a table gives, and what the gradients of products of eight bits go by. Made again
// whenever the weights have changed.
class RoundedMatrix {
 public:
  // Several threads may call it at once with the same version.
  void prepare(const float* source, Index K, Index N, std::uint64_t version);
  const float* data() const { return data_.data(); }

 private:
  runtime::Mutex mutex_;
  std::vector<float> data_;
  std::uint64_t version_ = 0;
};
#endif

}  // namespace rekur::layers
