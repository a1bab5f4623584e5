#include "layers/equations_run.hpp"

#include "isa/dispatch.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

constexpr double kCost = 4;  // floating-point operations of an instruction, roughly

}  // namespace

void carry_out(const equations::Code& code, const float* const* inputs, float* const* outputs, Index rows, Index features) {
  const auto& kernels = isa::kernels();
  const Index memory = code.memory(code.row_length(features));
  const double work = kCost * static_cast<double>(code.size()) * static_cast<double>(rows) * static_cast<double>(features);
  const Index threads = runtime::threads_for(work, rows);
  ScratchUse scratch;
  const std::span<float> all = scratch->take<float>(element_count({threads, memory}));
  runtime::parallel_tasks(threads, work, [&](Index i) {
    const Index begin = rows / threads * i + rows % threads * i / threads;
    const Index end = rows / threads * (i + 1) + rows % threads * (i + 1) / threads;
    code.run_rows(kernels, inputs, outputs, begin, end, features, all.data() + i * memory);
  });
}

}  // namespace rekur::layers
