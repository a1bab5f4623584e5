#include "recurrent/program.hpp"

#include <algorithm>
namespace rekur::recurrent {
namespace {

constexpr Index kOperand = sizeof(simd::Operand) / sizeof(float);
constexpr Index kLeft = 48;  // floats: what is left, by phase

}  // namespace

void Program::place_operands() {
  for (std::vector<Part>* parts : {&inference_, &training_, &backward_}) {
    Index count = 0;
    for (std::size_t phase = 0; phase < parts->size(); ++phase) {
      Part& part = (*parts)[phase];
      part.phase = phase;
      part.first_operand = count;
      const auto number = [&](const Stand& s) { return by_row(s); };
      part.gathers = std::any_of(part.inputs.begin(), part.inputs.end(), number) ||
                     std::any_of(part.outputs.begin(), part.outputs.end(), number);
      for (const std::vector<Stand>* stands : {&part.inputs, &part.outputs})
        for (std::size_t i = 0; i < stands->size(); ++i) {
          const Stand& s = (*stands)[i];
          const std::size_t operand = i + (stands == &part.outputs ? part.inputs.size() : 0);
          if (s.place == Place::before || s.place == Place::after || s.place == Place::y)
            part.moves.push_back({static_cast<int>(operand), s});
        }
      count += static_cast<Index>(part.inputs.size() + part.outputs.size());
    }
    operands_ = std::max(operands_, count);
  }
}

Index Program::memory(Index rows, Index H) const {
  Index code = 0;
  for (const std::vector<Part>* parts : {&inference_, &training_, &backward_}) {
    Index all = 0;
    for (const Part& part : *parts) all += aligned(part.code.memory(H));
    code = std::max(code, all);
  }
  return code + aligned(operands_ * kOperand) + aligned(rows * numbers()) + kLeft;
}

Program::Memory Program::parts_of(float* memory, Index rows) const noexcept {
  static_assert((kMostPhases + 1) * sizeof(Left) <= kLeft * sizeof(float));
  float* const numbers = memory + kLeft;
  float* const operands = numbers + aligned(rows * this->numbers());
  return {reinterpret_cast<Left*>(memory), numbers, reinterpret_cast<simd::Operand*>(operands),
          operands + aligned(operands_ * kOperand)};
}

float* Program::code_of(const Part& part, float* code, Index H) const noexcept {
  for (std::size_t before = 0; before < part.phase; ++before) code += aligned((&part - part.phase + before)->code.memory(H));
  return code;
}

bool Program::goes_through_time(const simd::Kernels& kernels, bool training) const noexcept {
  const auto does = [&](const std::vector<Part>& parts) {
    return parts.size() == 1 && parts[0].code.timed() && parts[0].code.compiled(kernels) != nullptr;
  };
  return alone() && (training ? does(training_) && does(backward_) : does(inference_));
}

// The operands of a part for `count` rows from m on, and the part itself.
template <class Step, class Find>
void Program::run(const Part& part, const Step& step, const Find& find) const noexcept {
  const Index features = step.end - step.begin;
  if (features <= 0) return;
  const simd::CompiledCode function = part.code.compiled(*step.kernels);
  const auto [left, numbers, operands, codes] = parts_of(step.memory, step.rows);
  float* const memory = code_of(part, codes, step.H);
  simd::Operand *const inputs = operands + part.first_operand, *const outputs = inputs + part.inputs.size();
  left[part.phase] = {function, nullptr, memory, nullptr};
  if (step.even && step.rows > 0) {
    if (function)
      left[part.phase].operands = inputs;
    else if (!part.gathers && part.code.at_once(step.rows, features))
      left[part.phase].operands = part.code.operands(step.rows, features, memory);
  }
  const auto numbers_of = [&, of = numbers](const Stand& s) {
    const Index set = s.place == Place::number ? 2 * step_inputs() + s.index : 2 * s.index + (s.place == Place::d_step ? 1 : 0);
    return of + set * step.rows;
  };
  const Index behind = description_.slots * step.Hp;  // in a record
  if (!function)
    for (const Stand& s : part.inputs)
      if (by_row(s))
        for (Index m = 0; m < step.rows; ++m)
          numbers_of(s)[m] = s.place == Place::number ? step.tape[m][behind + s.index] : *step.step[s.index][m];

  const Index count = step.even ? step.rows : 1;
  for (Index m = 0; m < step.rows; m += count) {
    // Of rows given by their addresses, of rows that follow one another, and of what is the same for all.
    const auto listed = [&](auto rows, Index offset, Index further) -> simd::Operand {
      if (rows == nullptr) return {};
      return {const_cast<float*>(rows[m]) + offset, count > 1 ? rows[m + 1] - rows[m] : 0, further};
    };
    const auto dense = [&](const float* base, Index stride, Index offset, Index further) -> simd::Operand {
      return {const_cast<float*>(base) + m * stride + offset, stride, further};
    };
    const auto operand = [&](const Stand& s) -> simd::Operand {
      const bool row = by_row(s);
      if (row && !function) {
        if (s.place == Place::d_step && step_gradient(step, s.index) == nullptr) return {};
        return {numbers_of(s) + m, 1};
      }
      simd::Operand found = find(s, listed, dense);
      if (found.data != nullptr && !row) found.data += step.begin;
      return found;
    };
    for (std::size_t i = 0; i < part.inputs.size(); ++i) inputs[i] = operand(part.inputs[i]);
    for (std::size_t k = 0; k < part.outputs.size(); ++k) outputs[k] = operand(part.outputs[k]);
    if (function)
      part.code.run_compiled(function, inputs, outputs, count, step.steps, features, memory);
    else
      part.code.run(*step.kernels, inputs, outputs, count, features, memory);
  }
  if (function) return;
  for (const Stand& s : part.outputs)
    if (s.place == Place::number)
      for (Index m = 0; m < step.rows; ++m) step.tape[m][behind + s.index] = numbers_of(s)[m];
    else if (by_row(s) && step_gradient(step, s.index) != nullptr)
      for (Index m = 0; m < step.rows; ++m) *step_gradient(step, s.index)[m] = numbers_of(s)[m];
}

void Program::forward(int phase, const ProgramForward& step) const noexcept {
  const Part& part = (step.training ? training_ : inference_)[static_cast<std::size_t>(phase)];
  const Index Hp = step.Hp;
  run(part, step, [&](const Stand& s, const auto& listed, const auto& dense) -> simd::Operand {
    switch (s.place) {
      case Place::input:
        return dense(step.input, description_.x_count * Hp, s.index * Hp, step.input_step);
      case Place::product:
        return dense(step.products, product_blocks_ * Hp, s.index * Hp, 0);
      case Place::before:
        return dense(step.before[s.index], Hp, 0, 0);
      case Place::after:
        return dense(step.after[s.index], Hp, 0, 0);
      case Place::weight:
        return {const_cast<float*>(step.unit_weights) + s.index * Hp, 0};
      case Place::step:
        return listed(step.step[s.index], 0, step.step_steps ? step.step_steps[s.index] : 0);
      case Place::sequence_mask:
        return listed(step.masks[0], s.index * step.H, step.mask_steps ? step.mask_steps[0] : 0);
      case Place::step_mask:
        return listed(step.masks[1 + s.index], 0, step.mask_steps ? step.mask_steps[1 + s.index] : 0);
      case Place::slot:
        return listed(step.tape, s.index * Hp, step.tape_step);
      case Place::number:
        return listed(step.tape, description_.slots * Hp + s.index, step.tape_step);
      case Place::y:
        return listed(step.y, 0, step.y_step);
      default:
        return {};
    }
  });
}

template <class Step>
Program::Left Program::left_by(const Part& part, const Step& step) noexcept {
  const Left left = reinterpret_cast<const Left*>(step.memory)[part.phase];
  return left.function == part.code.compiled(*step.kernels) ? left : Left{};
}

void Program::run_again(const Part& part, const Left& left, const simd::Kernels& kernels, Index rows, Index features) noexcept {
  if (left.function)
    part.code.run_again(left.function, left.operands, left.operands + part.inputs.size(), rows, features, left.code);
  else
    part.code.run_again(kernels, rows, features, left.code);
}

bool Program::forward_again(int phase, const ProgramAgain& step) const noexcept {
  const Part& part = (step.training ? training_ : inference_)[static_cast<std::size_t>(phase)];
  if (step.begin >= step.end) return true;
  const Left left = left_by(part, step);
  simd::Operand* operand = left.operands;
  if (operand == nullptr) return false;
  for (const Stand& s : part.inputs) {
    if (s.place == Place::before)
      operand->data = const_cast<float*>(step.before[s.index]) + step.begin;
    else if (s.place == Place::input && step.input)
      operand->data = const_cast<float*>(step.input) + s.index * step.Hp + step.begin;
    else
      operand->data += operand->step;
    ++operand;
  }
  for (const Stand& s : part.outputs) {
    if (s.place == Place::after)
      operand->data = step.after[s.index] + step.begin;
    else if (s.place == Place::y && step.y)
      operand->data = step.y[0] + step.begin;
    else
      operand->data += operand->step;
    ++operand;
  }
  run_again(part, left, *step.kernels, step.rows, step.end - step.begin);
  return true;
}

bool Program::forward_row_again(const ProgramRow& step) const noexcept {
  const Part& part = inference_[0];
  const Left left = left_by(part, step);
  if (left.operands == nullptr) return false;
  for (const auto& [operand, stand] : part.moves)
    left.operands[operand].data = stand.place == Place::before  ? const_cast<float*>(step.before[stand.index])
                                  : stand.place == Place::after ? step.after[stand.index]
                                                                : step.y;
  if (left.input != step.input) {
    for (std::size_t i = 0; i < part.inputs.size(); ++i)
      if (part.inputs[i].place == Place::input)
        left.operands[i].data = const_cast<float*>(step.input) + part.inputs[i].index * step.Hp;
    reinterpret_cast<Left*>(step.memory)->input = step.input;
  }
  run_again(part, left, *step.kernels, 1, step.H);
  return true;
}

#if REKUR_TRAINING
void Program::backward(int phase, const ProgramBackward& step) const noexcept {
  const Part& part = backward_[static_cast<std::size_t>(phase)];
  const Index Hp = step.Hp;
  run(part, step, [&](const Stand& s, const auto& listed, const auto& dense) -> simd::Operand {
    switch (s.place) {
      case Place::weight:
        return {const_cast<float*>(step.unit_weights) + s.index * Hp, 0};
      case Place::step:
        return listed(step.step[s.index], 0, step.step_steps ? step.step_steps[s.index] : 0);
      case Place::sequence_mask:
        return listed(step.masks[0], s.index * step.H, step.mask_steps ? step.mask_steps[0] : 0);
      case Place::step_mask:
        return listed(step.masks[1 + s.index], 0, step.mask_steps ? step.mask_steps[1 + s.index] : 0);
      case Place::slot:
        return listed(step.tape, s.index * Hp, step.tape_step);
      case Place::number:
        return listed(step.tape, description_.slots * Hp + s.index, step.tape_step);
      case Place::unit_sum:
        return listed(step.unit_sums, s.index * Hp, 0);
      case Place::previous:
        return listed(step.previous[s.index], 0, s.index == 0 ? step.y_step : step.tape_step);
      case Place::h:
        return listed(step.h, 0, step.y_step);
      case Place::dy:
        return listed(step.dy, 0, step.dy_step);
      case Place::d_state:
        return dense(step.d_state[s.index], Hp, 0, 0);
      case Place::d_source:
        return dense(step.d_source[s.index], Hp, 0, 0);
      case Place::d_step:
        return listed(step.d_step[s.index], 0, step.d_step_steps ? step.d_step_steps[s.index] : 0);
      default:
        return {};
    }
  });
  clear_beyond(part, step, step.steps, step.tape_step);
}

template <class Step>
void Program::clear_beyond(const Part& part, const Step& step, Index steps, Index tape_step) noexcept {
  if (step.begin >= step.end || step.end != step.H || step.H == step.Hp) return;
  for (const Stand& s : part.outputs)
    if (s.place == Place::slot)
      for (Index t = 0; t < steps; ++t)
        for (Index m = 0; m < step.rows; ++m) {
          float* const slot = step.tape[m] + t * tape_step + s.index * step.Hp;
          std::fill(slot + step.H, slot + step.Hp, 0.0f);
        }
}

bool Program::backward_again(int phase, const ProgramBackwardAgain& step) const noexcept {
  const Part& part = backward_[static_cast<std::size_t>(phase)];
  if (step.begin >= step.end) return true;
  const Left left = left_by(part, step);
  simd::Operand* operand = left.operands;
  if (operand == nullptr) return false;
  for (const Stand& s : part.inputs) {
    if (s.place == Place::previous) {
      const ConstRows rows = step.previous[s.index];
      *operand = {const_cast<float*>(rows[0]) + step.begin, step.rows > 1 ? rows[1] - rows[0] : 0, operand->step};
    } else {
      operand->data += operand->step;
    }
    ++operand;
  }
  for (std::size_t k = 0; k < part.outputs.size(); ++k, ++operand) operand->data += operand->step;
  run_again(part, left, *step.kernels, step.rows, step.end - step.begin);
  clear_beyond(part, step, 1, 0);
  return true;
}
#endif

}  // namespace rekur::recurrent
