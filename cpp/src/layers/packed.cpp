#include "layers/packed.hpp"

#include <algorithm>
#include <memory>

#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"
#include "simd/pack.hpp"

namespace rekur::layers {

void PackedMatrix::prepare(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t epoch = isa::epoch();
  if (data_ != nullptr && version_ == version && epoch_ == epoch) return;

  const simd::Kernels& kernels = isa::kernels();
  constexpr Index kLine = 16;  // floats
  data_ = nullptr;
  storage_.resize(static_cast<std::size_t>(simd::packed_size(kernels, K, N) + kLine));
  void* aligned = storage_.data();
  std::size_t space = storage_.size() * sizeof(float);
  float* packed = static_cast<float*>(std::align(kLine * sizeof(float), 1, aligned, space));

  const Index panel = kernels.panel;
  runtime::parallel_tasks((N + panel - 1) / panel, 4.0 * static_cast<double>(K) * static_cast<double>(N), [&](Index p) {
    const Index begin = p * panel;
    simd::pack(kernels, K, std::min(panel, N - begin), source + begin * stride_n, stride_k, stride_n, packed + begin * K);
  });
  data_ = packed;
  version_ = version;
  epoch_ = epoch;
}

}  // namespace rekur::layers
