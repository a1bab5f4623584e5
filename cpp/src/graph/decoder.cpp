// Decoder, Generator: streams of labels, and what is made of what they expect.
#include "rekur/decode.hpp"

#include <algorithm>
#include <cmath>
#include <exception>
#include <new>

#include "graph/graph.hpp"
#include "graph/labels.hpp"
#include "graph/search.hpp"
#include "runtime/calls.hpp"
#include "runtime/parallel.hpp"

namespace rekur {
namespace {

using graph::LabelStream;
using Prompts = std::span<const std::vector<std::int32_t>>;

// Rows that a thread decodes side by side: enough for its products.
constexpr Index kMostTogether = 64;

void check(const DecodeOptions& o, Index classes, bool attention, bool prompted) {
  if (o.steps < 1) throw_error("decode: steps must be at least 1, got %", {o.steps});
  if (!prompted && (o.start < 0 || o.start >= classes))
    throw_error("decode: start: expected a label from 0 to %, with which rows without a prompt begin, got %",
                {classes - 1, o.start});
  if (o.end >= classes) throw_error("decode: end: expected a label below %, or -1, got %", {classes, o.end});
  if (o.beam_width < 1) throw_error("decode: beam_width must be at least 1, got %", {o.beam_width});
  if (o.beam_width > kMostTogether * 1024)
    throw_error("decode: beam_width must be at most %, got %", {kMostTogether * 1024, o.beam_width});
  if (o.top_paths < 1 || o.top_paths > o.beam_width)
    throw_error("decode: top_paths must be from 1 to the beam width, %, got %", {o.beam_width, o.top_paths});
  if (o.sample && o.beam_width > 1) throw_error("decode: labels are drawn one by one: beam_width must be 1, got %", {o.beam_width});
  if (o.sample) sequence::check_sampling(o.sampling);
  for (const float penalty : {o.length_penalty, o.coverage_penalty})
    if (!(std::isfinite(penalty) && penalty >= 0))
      throw_error("decode: penalties must be finite and at least 0, got %", {std::to_string(penalty)});
  if (!(o.mixed >= 0 && o.mixed <= 1)) throw_error("decode: mixed must be from 0 to 1, got %", {std::to_string(o.mixed)});
  if (o.mixed > 0 && !(o.sample && prompted)) throw_error("decode: mixed is for prompts, and for labels that are drawn");
  if (o.coverage_penalty > 0 && !attention)
    throw_error(
        "decode: coverage_penalty: the model has no output that is known to be the attention paid (DecoderOptions::attention)");
}

// Rows [begin, end) of what is given.
Batch some_rows(const Batch& given, Index begin, Index end) {
  Batch part;
  const Index count = end - begin;
  const auto some = [&](const auto& list, auto& to) {
    for (const auto& all : list) {
      const Index of_row = static_cast<Index>(all.size()) / std::max<Index>(given.inputs[0].shape[0], 1);
      to.push_back(all.empty() ? all
                               : all.subspan(static_cast<std::size_t>(begin * of_row), static_cast<std::size_t>(count * of_row)));
    }
  };
  for (const ConstView& all : given.inputs) {
    ConstView view = all;
    const Index of_row = element_count(all.shape) / all.shape[0];
    view.data = all.f32() + begin * of_row;
    view.shape[0] = count;
    part.inputs.push_back(std::move(view));
  }
  some(given.lengths, part.lengths);
  some(given.masks, part.masks);
  return part;
}

}  // namespace

struct Decoder::Impl {
  std::shared_ptr<const graph::Program> program;
  DecoderOptions options;
  Index classes;
  std::vector<TensorInfo> beginnings;

  void decode(const Batch& given, Prompts prompts, const DecodeOptions& how, Index first,
              std::span<std::vector<DecodedPath>> results) const {
    const auto rows = static_cast<Index>(prompts.size());
    LabelStream labels(program, element_count({rows, how.beam_width}), options);
    if (!beginnings.empty()) {
      labels.impl().begin(some_rows(given, first, first + rows));
    } else if (labels.impl().rows != rows) {
      std::vector<Index> all(static_cast<std::size_t>(rows));
      for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Index>(i);
      labels.impl().select(all);
    }
    labels.make_room(graph::ranked_by(how, classes));
    graph::Search(labels, how, prompts, first).run(results);
  }
};

Decoder::Decoder(const Model& model, const DecoderOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->program = model.graph().program(false, options.whole);
  impl_->options = options;
  const LabelStream one(impl_->program, 1, options);  // says what does not fit
  impl_->classes = one.classes();
  impl_->beginnings = one.impl().beginnings;
}

Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;

Index Decoder::classes() const noexcept { return impl_ ? impl_->classes : 0; }
const std::vector<TensorInfo>& Decoder::beginnings() const noexcept {
  static const std::vector<TensorInfo> none;
  return impl_ ? impl_->beginnings : none;
}

Decoded Decoder::decode(const Batch& given, Prompts prompts, const DecodeOptions& options) const {
  if (!impl_) throw_error("decoder: it was moved from");
  const Index classes = impl_->classes;
  check(options, classes, impl_->options.attention > 0, !prompts.empty());
  if (given.inputs.size() != impl_->beginnings.size())
    throw_error("decode: expected % arrays to begin with, got %", {impl_->beginnings.size(), given.inputs.size()});
  Index rows = static_cast<Index>(prompts.size());
  for (std::size_t i = 0; i < given.inputs.size(); ++i) {
    const Shape& shape = given.inputs[i].shape;
    if (given.inputs[i].data == nullptr || given.inputs[i].dtype != DType::float32 || shape.empty())
      throw_error("decode: '%': expected float32 of shape %, got %",
                  {impl_->beginnings[i].name, impl_->beginnings[i].shape, shape});
    if (i == 0 && prompts.empty()) rows = shape[0];
    if (shape[0] != rows) throw_error("decode: '%': expected % rows, got %", {impl_->beginnings[i].name, rows, shape[0]});
    const auto wrong = [&](const auto& list, Index expected) {
      return i < list.size() && !list[i].empty() && static_cast<Index>(list[i].size()) != expected;
    };
    if (wrong(given.lengths, rows) || wrong(given.masks, shape.size() > 1 ? rows * shape[1] : 0))
      throw_error("decode: '%': lengths or mask do not fit its shape %", {impl_->beginnings[i].name, shape});
  }
  Decoded decoded;
  if (rows == 0) return decoded;
  for (Index row = 0; row < static_cast<Index>(prompts.size()); ++row) {
    const std::vector<std::int32_t>& prompt = prompts[static_cast<std::size_t>(row)];
    if (prompt.empty()) throw_error("decode: the prompt of row % is empty: at least one label comes first", {row});
    for (const std::int32_t label : prompt)
      if (label < 0 || label >= classes)
        throw_error("decode: the prompt of row % has label %, which is not in 0 to %", {row, label, classes - 1});
  }
  std::vector<std::vector<std::int32_t>> begun;
  if (prompts.empty()) {
    begun.assign(static_cast<std::size_t>(rows), {options.start});
    prompts = begun;
  }
  decoded.rows.resize(static_cast<std::size_t>(rows));
  // Shares of rows: each thread goes on by itself.
  const double work = 1e4 * static_cast<double>(rows) * static_cast<double>(options.steps);
  const int threads = runtime::threads_for(work, rows);
  const Index share = std::min((rows + threads - 1) / threads, kMostTogether), count = (rows + share - 1) / share;
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(count));
  const runtime::Call call;
  runtime::parallel_tasks(count, work, [&](Index i) {
    const Index first = i * share, n = std::min(share, rows - first);
    try {
      impl_->decode(given, prompts.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)), options, first,
                    std::span(decoded.rows).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)));
    } catch (...) {
      failures[static_cast<std::size_t>(i)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& failure : failures) {
    if (!failure) continue;
    try {
      std::rethrow_exception(failure);
    } catch (const std::bad_alloc&) {
      throw_out_of_memory("not enough memory to decode % rows", {rows});
    }
  }
  return decoded;
}

struct Generator::Impl {
  LabelStream labels;
  sequence::Sampler sampler;
  std::vector<std::int32_t> read;     // the last labels
  std::vector<std::int32_t> history;  // of each row the last kHistory labels: a ring
  std::vector<float> logits;          // what sampling overwrites
  std::vector<std::int32_t> seen;
  std::uint64_t number = 0;  // labels read so far
  bool begun = false;

  static constexpr Index kHistory = 1024;

  Impl(std::shared_ptr<const graph::Program> program, Index batch, const DecoderOptions& options)
      : labels(std::move(program), batch, options), sampler(labels.classes()) {
    const auto rows = static_cast<std::size_t>(batch);
    read.resize(rows);
    history.resize(rows * kHistory);
    logits.resize(static_cast<std::size_t>(labels.classes()));
    seen.reserve(kHistory);
    labels.make_room(0);
  }

  void step() noexcept {
    const std::size_t place = number % kHistory;
    for (std::size_t row = 0; row < read.size(); ++row) history[row * kHistory + place] = read[row];
    ++number;
    begun = true;
    labels.step(read);
  }
};

Generator::Generator(const Model& model, Index batch, const DecoderOptions& options) {
  if (batch < 1) throw_error("generator: expected a batch of at least 1, got %", {batch});
  impl_ = std::make_unique<Impl>(model.graph().program(batch == 1, options.whole), batch, options);
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

Index Generator::classes() const noexcept { return impl_ ? impl_->labels.classes() : 0; }

void Generator::begin(const Batch& given) {
  if (!impl_) throw_error("generator: it was moved from");
  Stream::Impl& stream = impl_->labels.impl();
  for (const ConstView& view : given.inputs)
    if (view.shape.empty() || view.shape[0] != stream.batch)
      throw_error("generator: expected % rows, got shape %", {stream.batch, view.shape});
  stream.begin(given);
  impl_->labels.make_room(0);
  impl_->number = 0;
  impl_->begun = false;
}

void Generator::reset() noexcept {
  if (!impl_) return;
  impl_->labels.impl().reset(0, impl_->labels.impl().rows);
  impl_->number = 0;
  impl_->begun = false;
}

bool Generator::read(std::span<const std::int32_t> labels) noexcept {
  if (!impl_ || impl_->labels.impl().rows == 0 || labels.size() != impl_->read.size()) return false;
  for (const std::int32_t label : labels)
    if (label < 0 || label >= impl_->labels.classes()) return false;
  std::copy(labels.begin(), labels.end(), impl_->read.begin());
  impl_->step();
  return true;
}

bool Generator::next(const Sampling& sampling, std::span<std::int32_t> labels) noexcept {
  if (!impl_ || !impl_->begun || labels.size() != impl_->read.size() || !sequence::is_sampling(sampling)) return false;
  const std::uint64_t known = std::min<std::uint64_t>(impl_->number, Impl::kHistory);
  for (std::size_t row = 0; row < labels.size(); ++row) {
    const std::span<const float> from = impl_->labels.logits(static_cast<Index>(row));
    std::copy(from.begin(), from.end(), impl_->logits.begin());
    const std::span<const std::int32_t> before(impl_->history.data() + row * Impl::kHistory, known);
    labels[row] = impl_->sampler.choose(impl_->logits, sampling, before, row, impl_->number);
    if (labels[row] < 0) return false;
  }
  return read(labels);
}

std::span<const float> Generator::logits() const noexcept { return impl_ ? impl_->labels.all_logits() : std::span<const float>(); }

}  // namespace rekur
