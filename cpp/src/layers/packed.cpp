#include "layers/packed.hpp"

#include <algorithm>
#include <memory>

#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"

namespace rekur::layers {

void PackedMatrix::prepare(const float* source, Index K, Index N, Index stride_k, Index stride_n, std::uint64_t version) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t epoch = isa::epoch();
  if (data_ != nullptr && version_ == version && epoch_ == epoch) return;

  const Index width = isa::kernels().width, panel = isa::kernels().panel;
  const Index columns = (N + width - 1) / width * width;
  constexpr Index kLine = 16;  // floats
  data_ = nullptr;
  storage_.resize(static_cast<std::size_t>(element_count({K, columns}) + kLine));
  void* aligned = storage_.data();
  std::size_t space = storage_.size() * sizeof(float);
  float* packed = static_cast<float*>(std::align(kLine * sizeof(float), 1, aligned, space));

  runtime::parallel_tasks((columns + panel - 1) / panel, 4.0 * static_cast<double>(K) * static_cast<double>(columns), [&](Index p) {
    const Index begin = p * panel, end = std::min(begin + panel, columns);
    float* to = packed + begin * K;
    for (Index k = 0; k < K; ++k) {
      for (Index n = begin; n < end; ++n) *to++ = n < N ? source[k * stride_k + n * stride_n] : 0.0f;
    }
  });
  data_ = packed;
  version_ = version;
  epoch_ = epoch;
}

}  // namespace rekur::layers
