#include "graph/labels.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

namespace rekur::graph {

// What a stream of labels reads and gives.
void LabelStream::check(const Impl& stream, const DecoderOptions& options) {
  if (stream.inputs.size() != 1)
    throw_error("decode: expected a model of one input that steps, got %; others may be whole", {stream.inputs.size()});
  const Shape& y = stream.outputs[0].shape;
  if (y.size() != 2) throw_error("decode: expected an output of (B, T, classes), got a step of %", {y});
  if (y[1] == kUnknown)
    throw_error("decode: expected an output of as many classes as the model says, got one as long as a whole input");
  const Shape& x = stream.inputs[0].shape;
  const bool ids = stream.inputs[0].dtype == DType::int32;
  if (ids ? x.size() != 1 : x.size() != 2 || x[1] != y[1])
    throw_error("decode: expected ids (B, T) or one-hot vectors of % classes, got a step of '%' of shape %",
                {y[1], stream.inputs[0].name, x});
  const int outputs = static_cast<int>(stream.outputs.size());
  if (options.attention >= outputs || options.attention == 0 || options.attention < -1)
    throw_error("decode: attention: expected one of the outputs 1 to %, got %", {outputs - 1, options.attention});
  if (options.attention > 0 && stream.outputs[static_cast<std::size_t>(options.attention)].shape.size() != 2)
    throw_error("decode: attention: expected an output of (B, T, steps of a whole input)");
}

LabelStream::LabelStream(std::shared_ptr<const Program> program, Index batch, const DecoderOptions& options)
    : stream_(std::move(program), batch),
      attention_(options.attention),
      logits_given_(options.logits),
      one_hot_(false),
      classes_(0),
      kernels_(isa::kernels()) {
  check(stream_, options);
  one_hot_ = stream_.inputs[0].dtype == DType::float32;
  classes_ = stream_.outputs[0].shape[1];
  // Whether an op that ranks makes the output, of which nobody else knows.
  const Program& of = *stream_.program;
  const int output = of.outputs[0];
  ranks_ = std::count(of.outputs.begin(), of.outputs.end(), output) == 1;
  bool found = false;
  for (std::size_t i = 0; i < of.instructions.size(); ++i) {
    const Program::Instruction& instruction = of.instructions[i];
    if (std::find(instruction.inputs.begin(), instruction.inputs.end(), output) != instruction.inputs.end()) ranks_ = false;
    if (std::find(instruction.outputs.begin(), instruction.outputs.end(), output) == instruction.outputs.end()) continue;
    found = true;
    last_ = i;
    ranks_ = ranks_ && instruction.op->ranks() && instruction.flags < 0;
  }
  ranks_ = ranks_ && found;
  attending_ = find_attending();
}

// What attends to whole inputs, of all that the output of attention is made of the last one.
std::size_t LabelStream::find_attending() const {
  const Program& of = *stream_.program;
  if (attention_ < 0) return of.instructions.size();
  std::vector<int> sought{of.outputs[static_cast<std::size_t>(attention_)]};
  for (std::size_t i = of.instructions.size(); i-- > 0;) {
    const Program::Instruction& instruction = of.instructions[i];
    const auto makes = [&](int array) {
      return std::find(instruction.outputs.begin(), instruction.outputs.end(), array) != instruction.outputs.end();
    };
    if (std::none_of(sought.begin(), sought.end(), makes)) continue;
    if (!instruction.whole.empty()) return i;
    sought.insert(sought.end(), instruction.inputs.begin(), instruction.inputs.end());
  }
  return of.instructions.size();
}

Index LabelStream::attended(Index row) const noexcept {
  if (attending_ >= stream_.steps_.size()) return static_cast<Index>(attention(row).size());
  return stream_.steps_[attending_].whole[static_cast<std::size_t>(row)].steps;
}

void LabelStream::make_room(Index ranked) {
  const auto rows = static_cast<std::size_t>(stream_.batch);
  ranked_ = ranked;
  logits_.assign(ranked == 0 || !ranks_ ? static_cast<std::size_t>(element_count({stream_.batch, classes_})) : 0, 0.0f);
  values_.assign(rows * static_cast<std::size_t>(ranked), 0.0f);
  places_.assign(rows * static_cast<std::size_t>(ranked), 0);
  filled_.assign(rows, 0);
  log_sums_.assign(rows, 0.0f);
  if (one_hot_) vectors_.assign(static_cast<std::size_t>(element_count({stream_.batch, classes_})), 0.0f);
  if (ranks_ && ranked > 0)
    memory_.assign(static_cast<std::size_t>(stream_.program->instructions[last_].op->rank_memory(stream_.batch)) + 16, 0.0f);
  others_.resize(stream_.outputs.size());
  to_.assign(stream_.outputs.size(), nullptr);
  for (std::size_t k = 1; k < others_.size(); ++k) {
    others_[k].assign(
        static_cast<std::size_t>(size_of(stream_.program->arrays[static_cast<std::size_t>(stream_.program->outputs[k])],
                                         stream_.batch, stream_.whole_steps)) +
            static_cast<std::size_t>(kRoom),
        0.0f);
    to_[k] = others_[k].data();
  }
}

std::span<const float> LabelStream::attention(Index row) const noexcept {
  if (attention_ < 0) return {};
  const auto k = static_cast<std::size_t>(attention_);
  const Index steps = stream_.bytes[static_cast<std::size_t>(stream_.program->outputs[k])] / stream_.rows / Index{sizeof(float)};
  return {others_[k].data() + row * steps, static_cast<std::size_t>(steps)};
}

template <class End>
void LabelStream::run(std::span<const std::int32_t> labels, const End& end) noexcept {
  const void* x = labels.data();
  if (one_hot_) {
    std::fill_n(vectors_.begin(), static_cast<Index>(labels.size()) * classes_, 0.0f);
    for (std::size_t row = 0; row < labels.size(); ++row)
      vectors_[row * static_cast<std::size_t>(classes_) + static_cast<std::size_t>(labels[row])] = 1.0f;
    x = vectors_.data();
  }
  const runtime::FlushDenormalsBriefly flush;
  for (const Impl::Caller& from : stream_.inputs_at) *from.at = const_cast<void*>(x);
  for (const Impl::Caller& to : stream_.outputs_at) *to.at = to_[to.number];
  for (std::size_t i = 0; i < stream_.steps_.size(); ++i) {
    const Impl::Step& s = stream_.steps_[i];
    if (i == last_ && ranks_)
      end(*s.op, s.call);
    else
      Impl::take(s, s.call, stream_.turn);
  }
  for (const Impl::Copy& copy : stream_.copies)
    std::memcpy(to_[copy.output], stream_.arrays[static_cast<std::size_t>(copy.array)], stream_.copied(copy));
  stream_.turn = 1 - stream_.turn;
}

void LabelStream::step(std::span<const std::int32_t> labels) noexcept {
  to_[0] = logits_.data();
  run(labels, [](const layers::StreamOp& op, const layers::StreamCall& call) { op.step_raw(call); });
  if (!ranks_) to_logits();
}

// Of outputs as they are.
void LabelStream::to_logits() noexcept {
  if (logits_given_) return;
  const Index n = stream_.rows * classes_;
  for (Index i = 0; i < n; ++i) logits_[static_cast<std::size_t>(i)] = std::log(logits_[static_cast<std::size_t>(i)]);
}

void LabelStream::step_ranked(std::span<const std::int32_t> labels) noexcept {
  if (!ranks_) {
    step(labels);
    for (Index row = 0; row < stream_.rows; ++row) rank_logits(row);
    return;
  }
  void* aligned = memory_.data();
  std::size_t space = memory_.size() * sizeof(float);
  std::align(64, 1, aligned, space);
  const layers::Ranking ranking{ranked_,        values_.data(),   places_.data(),
                                filled_.data(), log_sums_.data(), static_cast<float*>(aligned)};
  run(labels, [&](const layers::StreamOp& op, const layers::StreamCall& call) { op.rank(call, ranking); });
}

void LabelStream::rank_logits(Index row) noexcept {
  simd::RankedRow ranked{ranked_, values_.data() + row * ranked_, places_.data() + row * ranked_};
  kernels_.rank(logits_.data() + row * classes_, classes_, 0, ranked);
  const double largest = std::isfinite(ranked.largest) ? static_cast<double>(ranked.largest) : 0.0;
  log_sums_[static_cast<std::size_t>(row)] = static_cast<float>(largest + std::log(ranked.sum));
  filled_[static_cast<std::size_t>(row)] = ranked.filled;
}

}  // namespace rekur::graph
