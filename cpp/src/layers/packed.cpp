#include "layers/packed.hpp"

#include <algorithm>

#include "isa/bf16.hpp"
#include "isa/dispatch.hpp"
#include "isa/int8.hpp"
#include "runtime/locks.hpp"
#include "runtime/parallel.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {
namespace {

std::uint64_t layout(const char* what, Index K, Index N, Index other = 0) {
  const simd::Kernels& kernels = isa::kernels();
  return runtime::layout_of(what, {kernels.width, kernels.panel, K, N, other});
}

}  // namespace

bool PackedMatrix::is_packed(std::uint64_t version) const {
  return data_ != nullptr && version_ == version && epoch_ == isa::epoch();
}

float* PackedMatrix::begin(Index size, std::uint64_t version, std::uint64_t layout) {
  if (is_packed(version)) return nullptr;
  data_ = nullptr;
  float* const packed = storage_.claim(size, layout);
  data_ = storage_.data();
  version_ = version;
  epoch_ = isa::epoch();
  return packed;
}

void PackedMatrix::prepare(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  const simd::Kernels& kernels = isa::kernels();
  float* const packed = begin(simd::packed_size(kernels, K, N), version, layout("matrix", K, N));
  if (packed == nullptr) return;
  const Index panel = kernels.panel;
  runtime::parallel_tasks((N + panel - 1) / panel, 4.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index p) {
    const Index begin = p * panel;
    simd::pack(kernels, K, std::min(panel, N - begin), source + begin * stride_n, stride_k, stride_n, packed + begin * K);
  });
}

void PackedMatrix::prepare_half(WeightType type, const float* source, Index K, Index N, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  const Index width = isa::kernels().width, panel = isa::kernels().panel, lines = (K + 1) / 2;
  const Index size = simd::packed_size(isa::kernels(), lines, N);
  float* const packed = begin(size, version, layout("halves", K, N, static_cast<Index>(type)));
  if (packed == nullptr) return;
  std::fill_n(packed, size, 0.0f);
  for (Index n0 = 0; n0 < N; n0 += panel) {
    const Index columns = std::min(panel, N - n0), padded = (columns + width - 1) / width * width;
    for (Index k = 0; k < K; ++k)
      for (Index n = 0; n < columns; n += width)
        simd::put_half(type, source + k * N + n0 + n, std::min(width, columns - n), k, width,
                       packed + n0 * lines + k / 2 * padded + n);
  }
}

#if REKUR_BF16
void PackedMatrix::prepare_bf16(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  const simd::Kernels& kernels = isa::kernels();
  const Index pairs = (K + 1) / 2, panel = kernels.panel;
  if (is_packed(version)) return;
  group_ = isa::bf16_group();
  float* const packed = begin(simd::packed_size(kernels, pairs, N), version, layout("bf16", K, N, group_));
  if (packed == nullptr) return;
  runtime::parallel_tasks((N + panel - 1) / panel, 8.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index p) {
    const Index n0 = p * panel, columns = std::min(panel, N - n0);
    const Index padded = (columns + kernels.width - 1) / kernels.width * kernels.width;
    std::vector<float> rows(static_cast<std::size_t>(K * padded));
    simd::pack(kernels, K, columns, source + n0 * stride_n, stride_k, stride_n, rows.data());
    float* to = packed + n0 * pairs;
    for (Index k = 0; k < K; k += 2, to += padded) {
      const float* const first = rows.data() + k * padded;
      kernels.pair_rows(first, k + 1 < K ? first + padded : nullptr, padded, to);
    }
  });
}
#endif

void PackedMatrix::prepare_dots(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  const Index stride = (K + 15) / 16 * 16;
  float* const packed = begin(N * stride, version, layout("rows", K, N));
  for (Index n = 0; packed != nullptr && n < N; ++n)
    for (Index k = 0; k < stride; ++k) packed[n * stride + k] = k < K ? source[k * stride_k + n * stride_n] : 0.0f;
}

#if REKUR_INT8
void PackedMatrix::prepare_int8(const float* source, Index K, Index N, Index stride_k, const float* bias, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  const Index width = isa::kernels().width, group = isa::int8_group();
  if (is_packed(version)) return;
  group_ = group;
  width_ = width;
  vector_ = simd::int8_column_floats(width, K);
  float* const packed = begin(simd::int8_size(width, K, N), version, layout("int8", K, N, group));
  if (packed == nullptr) return;
  runtime::parallel_tasks((N + width - 1) / width, 16.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index j) {
    const Index n = j * width;
    simd::pack_int8(width, group, K, std::min(width, N - n), source + n, stride_k, bias ? bias + n : nullptr, packed + j * vector_);
  });
}

const float* PackedMatrix::columns(Index n) const { return data_ + n / width_ * vector_; }

void RoundedMatrix::prepare(const float* source, Index K, Index N, std::uint64_t version) {
  const runtime::Guard lock(mutex_);
  if (!data_.empty() && version_ == version) return;
  data_.assign(source, source + K * N);
  constexpr Index kColumns = 64;  // of a task
  runtime::parallel_tasks((N + kColumns - 1) / kColumns, 8.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index i) {
    simd::round_int8(K, std::min(kColumns, N - i * kColumns), data_.data() + i * kColumns, N);
  });
  version_ = version;
}
#endif

}  // namespace rekur::layers
