// Stream: a program, and the memory of one batch of sequences.
#include "rekur/stream.hpp"

#include <algorithm>
#include <limits>
#include <new>

#include "graph/graph.hpp"
#include "graph/stream_impl.hpp"
#include "io/json.hpp"
#include "io/text.hpp"
#include "runtime/parallel.hpp"

namespace rekur {
namespace {

const std::vector<TensorInfo> kNone;  // of a stream that was moved from

// Whether these are other than so many arrays.
template <class T>
bool any_null(std::span<T* const> arrays, std::size_t expected) {
  return arrays.size() != expected || std::find(arrays.begin(), arrays.end(), nullptr) != arrays.end();
}

}  // namespace

Stream::Stream(const Model& model, const StreamOptions& options) {
  const graph::Graph& graph = model.graph();
  if (options.batch < 1) throw_error("stream: expected a batch of at least 1, got %", {options.batch});
  constexpr Index kMostRows = Index{1} << 40;  // of one float each, more than there is memory anywhere
  if (options.batch > kMostRows) throw_out_of_memory("not enough memory for a stream of % rows", {options.batch});
  const double rate = options.sample_rate, own_rate = graph.signal().sample_rate;
  if (!(rate >= 0 && rate <= std::numeric_limits<double>::max()))
    throw_error("stream: expected a sample rate of 0, for the model's, or a finite number of Hz above it, got %",
                {json::describe(json::Value(rate))});
  if (own_rate > 0 && rate > graph::kMostDelay * own_rate)
    throw_error("stream: expected a sample rate of at most 4096 times the model's, % Hz, got %",
                {json::describe(json::Value(own_rate)), json::describe(json::Value(rate))});
#if REKUR_SEQUENCE
  const std::span<const std::string> whole = options.whole;
#else
  const std::span<const std::string> whole;
#endif
  try {
    const runtime::OwnMemory own(options.memory);
    impl_ = std::make_unique<Impl>(
        options.memory ? graph.own_program(options.batch == 1, whole) : graph.program(options.batch == 1, whole), options.batch,
        rate, own_rate, options.memory);
  } catch (const std::bad_alloc&) {
    throw_out_of_memory("not enough memory for a stream of % rows", {options.batch});
  }
#if REKUR_SEQUENCE
  for (const graph::Program::Instruction& instruction : impl_->program->instructions)
    if (instruction.op->allocates())
      throw_error(
          "'%': cannot go one step at a time: it has a state as long as a whole input, such as coverage, whose step takes "
          "memory; a Decoder, which Seq2Seq.decode is, goes on with it all the same",
          {instruction.layer});
#endif
}

#if REKUR_SEQUENCE
void Stream::begin(const Batch& batch) {
  if (!impl_) throw_error("stream: it was moved from");
  try {
    const runtime::OwnMemory own(impl_->own_memory);
    impl_->begin(batch);
  } catch (const std::bad_alloc&) {
    throw_out_of_memory("not enough memory for what a stream of % rows begins with", {impl_->batch});
  }
}

void Stream::select(std::span<const Index> rows) {
  if (!impl_) throw_error("stream: it was moved from");
  if (rows.empty() || static_cast<Index>(rows.size()) > impl_->batch)
    throw_error("stream: expected 1 to % rows to go on with, got %", {impl_->batch, rows.size()});
  for (const Index row : rows)
    if (row < 0 || row >= impl_->rows) throw_error("stream: there is no row % among %", {row, impl_->rows});
  try {
    const runtime::OwnMemory own(impl_->own_memory);
    impl_->select(rows);
  } catch (const std::bad_alloc&) {
    throw_out_of_memory("not enough memory to go on from % rows", {rows.size()});
  }
}
#endif

Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

const std::vector<TensorInfo>& Stream::inputs() const noexcept { return impl_ ? impl_->inputs : kNone; }
const std::vector<TensorInfo>& Stream::outputs() const noexcept { return impl_ ? impl_->outputs : kNone; }
const std::vector<TensorInfo>& Stream::beginnings() const noexcept { return impl_ ? impl_->beginnings : kNone; }
std::size_t Stream::mapped_bytes() const noexcept {
  return impl_ ? static_cast<std::size_t>(impl_->program->stored) * sizeof(float) : 0;
}
Index Stream::rows() const noexcept { return impl_ ? impl_->rows : 0; }
const std::vector<TensorInfo>& Stream::states() const noexcept { return impl_ ? impl_->state_infos : kNone; }
RateMatch Stream::rate_match() const noexcept REKUR_NONBLOCKING { return impl_ ? impl_->rate_match : RateMatch::unknown; }
std::size_t Stream::state_size() const noexcept { return impl_ ? impl_->state_size : 0; }

bool Stream::step(const float* x, float* y) noexcept {
  if (!impl_ || x == nullptr || y == nullptr || !impl_->floats_alone) return false;
  if (impl_->plain) {
    impl_->step_plain(x, y);
  } else if (impl_->rows == 0) {
    return false;
  } else {
    const void* const from = x;
    impl_->step(&from, &y);
  }
  return true;
}

bool Stream::step(std::span<const void* const> x, std::span<float* const> y) noexcept {
  if (!impl_ || impl_->rows == 0 || any_null(x, impl_->inputs.size()) || any_null(y, impl_->outputs.size())) return false;
  impl_->step(x.data(), y.data());
  return true;
}

bool Stream::process(const float* x, float* y, Index count) noexcept {
  if (!impl_ || impl_->rows == 0 || x == nullptr || y == nullptr || count < 0 || !impl_->floats_alone) return false;
  const void* const from = x;
  impl_->process(&from, &y, count);
  return true;
}

bool Stream::process(std::span<const void* const> x, std::span<float* const> y, Index count) noexcept {
  if (!impl_ || impl_->rows == 0 || count < 0 || any_null(x, impl_->inputs.size()) || any_null(y, impl_->outputs.size()))
    return false;
  impl_->process(x.data(), y.data(), count);
  return true;
}

void Stream::reset() noexcept {
  if (impl_) impl_->reset(0, impl_->rows);
}

bool Stream::reset(Index row) noexcept {
  if (!impl_ || row < 0 || row >= impl_->rows) return false;
  impl_->reset(row, row + 1);
  return true;
}

bool Stream::get_state(std::span<float> state) const noexcept {
  if (!impl_ || state.size() != impl_->state_size) return false;
  impl_->over_states([&](std::size_t at, const float* row, Index units) { std::copy_n(row, units, state.data() + at); });
  return true;
}

bool Stream::set_state(std::span<const float> state) noexcept {
  if (!impl_ || state.size() != impl_->state_size) return false;
  impl_->over_states([&](std::size_t at, float* row, Index units) { std::copy_n(state.data() + at, units, row); });
  return true;
}

}  // namespace rekur
