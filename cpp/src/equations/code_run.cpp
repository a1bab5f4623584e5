// What runs in every step of a cell of one's own; code.cpp makes ready what runs here.
#include <algorithm>

#include "equations/code.hpp"

namespace rekur::equations {

void Code::run_compiled(simd::CompiledCode function, simd::Operand* inputs, simd::Operand* outputs, Index rows, Index steps,
                        Index features, float* memory) const noexcept {
#if REKUR_COMPILED_CELLS
  const Index line = aligned(features);
  bool absent = false;
  for (std::size_t i = 0; i < this->inputs(); ++i)
    if (inputs[i].data == nullptr) {
      inputs[i] = {memory, 0, 0};
      absent = true;
    }
  for (std::size_t k = 0; k < this->outputs(); ++k)
    if (outputs[k].data == nullptr) outputs[k] = {memory + line, 0, 0};
  if (absent) std::fill_n(memory, features, 0.0f);
  function(inputs, outputs, compiled_constants_.data(), rows, steps, features,
           compiled_->listing.kept() > 0 ? memory + 2 * line : memory);
#else
  static_cast<void>(function), static_cast<void>(inputs), static_cast<void>(outputs), static_cast<void>(rows);
  static_cast<void>(steps), static_cast<void>(features), static_cast<void>(memory);
#endif
}

void Code::run_again(simd::CompiledCode function, const simd::Operand* inputs, const simd::Operand* outputs, Index rows,
                     Index features, float* memory) const noexcept {
#if REKUR_COMPILED_CELLS
  function(inputs, outputs, compiled_constants_.data(), rows, 1, features,
           compiled_->listing.kept() > 0 ? memory + 2 * aligned(features) : memory);
#else
  static_cast<void>(function), static_cast<void>(inputs), static_cast<void>(outputs), static_cast<void>(rows);
  static_cast<void>(features), static_cast<void>(memory);
#endif
}

void Code::run_again(const simd::Kernels& kernels, Index rows, Index features, float* memory) const noexcept {
  kernels.interpret(code_.data(), static_cast<Index>(code_.size()), operands(rows, features, memory), rows, features);
}

void Code::run(const simd::Kernels& kernels, const simd::Operand* inputs, const simd::Operand* outputs, Index rows, Index features,
               float* memory) const noexcept {
  if (rows <= 0) return;
  const Index block = std::min(block_rows(features), rows), size = block * features, stride = aligned(size);
  simd::Operand* const operands = reinterpret_cast<simd::Operand*>(memory + stride * registers());
  const std::size_t given = inputs_and_outputs();
  const simd::Operand zeros{memory, features}, unwanted{memory + stride, features};
  bool absent = false;
  for (std::size_t i = 0; i < input_by_row_.size(); ++i) {
    absent = absent || inputs[i].data == nullptr;
    operands[i] = inputs[i].data == nullptr ? zeros : inputs[i];
  }
  for (std::size_t k = 0; k < output_by_row_.size(); ++k)
    operands[input_by_row_.size() + k] = outputs[k].data == nullptr ? unwanted : outputs[k];
  if (absent) std::fill_n(memory, size, 0.0f);
  for (Index k = 2; k < registers(); ++k) operands[static_cast<Index>(given) + k - 2] = {memory + stride * k, features};
  for (std::size_t k = 0; k < constants_.size(); ++k) std::fill_n(operands[given + k].data, size, constants_[k]);

  for (Index at = 0;; at += block) {
    kernels.interpret(code_.data(), static_cast<Index>(code_.size()), operands, std::min(block, rows - at), features);
    if (at + block >= rows) return;
    for (std::size_t i = 0; i < given; ++i) {
      const bool by_row = i < input_by_row_.size() ? input_by_row_[i] : output_by_row_[i - input_by_row_.size()];
      if (operands[i].data != memory && operands[i].data != memory + stride)
        operands[i].data += block * (by_row ? 1 : operands[i].stride);
    }
  }
}

void Code::run_rows(const simd::Kernels& kernels, const float* const* inputs, float* const* outputs, Index begin, Index end,
                    Index features, float* memory) const noexcept {
  // The inputs and the outputs' arriving gradients, or one output and the inputs' gradients.
  simd::Operand from[kMostInputs + kMostOutputs], to[kMostInputs + kMostOutputs];
  const Index row = row_length(features);
  const auto at = [&](const float* data, bool by_row) {
    return data == nullptr ? nullptr : const_cast<float*>(data) + begin * (by_row ? 1 : features);  // inputs are only read
  };
  for (std::size_t i = 0; i < this->inputs(); ++i) from[i] = {at(inputs[i], input_by_row_[i]), row};
  for (std::size_t k = 0; k < this->outputs(); ++k) to[k] = {at(outputs[k], output_by_row_[k]), row};
  if (const simd::CompiledCode function = compiled(kernels)) {
    // One long row, or rows of which a vector has something to do; null arrays are as long as a row only.
    const auto given = [](const simd::Operand& operand) { return operand.data != nullptr; };
    if (!by_row_ && std::all_of(from, from + this->inputs(), given) && std::all_of(to, to + this->outputs(), given))
      return run_compiled(function, from, to, 1, 1, (end - begin) * features, memory);
    if (by_row_ && 2 * features > kernels.width) {
      for (std::size_t i = 0; i < this->inputs(); ++i) from[i].stride = input_by_row_[i] ? 1 : features;
      for (std::size_t k = 0; k < this->outputs(); ++k) to[k].stride = output_by_row_[k] ? 1 : features;
      return run_compiled(function, from, to, end - begin, 1, features, memory);
    }
  }
  run(kernels, from, to, (end - begin) * (features / row), row, memory);
}

}  // namespace rekur::equations
