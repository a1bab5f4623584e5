#include "stack.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "io/json.hpp"
#include "isa/dispatch.hpp"
#include "layers/cell_form.hpp"
#include "layers/elementwise.hpp"
#include "layers/recurrent_settings.hpp"
#include "runtime/calls.hpp"
#include "runtime/parallel.hpp"

namespace rekur::bindings {
namespace {

using recurrent::Forward;
using recurrent::Strided;

// torch's gates are those of the cells here but for the order of GRU's, whose first two change places: r, z, n there.
struct Kind {
  const char* name;
  const char* layer;
  const char* activation;
  std::size_t states;
  Index gates;
  bool two_biases;
  std::vector<int> order;
};
const Kind& kind_of(const std::string& name) {
  static const Kind kinds[] = {{"lstm", "LSTM", "tanh", 2, 4, false, {}},
                               {"gru", "GRU", "tanh", 1, 3, true, {1, 0, 2}},
                               {"rnn_tanh", "SimpleRNN", "tanh", 1, 1, false, {}},
                               {"rnn_relu", "SimpleRNN", "relu", 1, 1, false, {}}};
  for (const Kind& kind : kinds)
    if (kind.name == name) return kind;
  throw Error("a stack of layers: unknown cell '" + name + "'");
}

// The bits of a matrix, of which several threads read a large one.
std::uint64_t fingerprint(const float* x, Index n) {
  constexpr Index kPiece = Index{1} << 15;
  const auto& k = isa::kernels();
  if (n <= 2 * kPiece) return k.fingerprint(x, n);
  std::vector<std::uint64_t> of((n + kPiece - 1) / kPiece);
  runtime::parallel_tasks(static_cast<Index>(of.size()), static_cast<double>(n), [&](Index i) {
    of[static_cast<std::size_t>(i)] = k.fingerprint(x + i * kPiece, std::min(kPiece, n - i * kPiece));
  });
  std::uint64_t all = 0;
  for (const std::uint64_t piece : of) all = (all ^ piece) * 0x9E3779B97F4A7C15u, all ^= all >> 29;
  return all;
}

Strided<float> rows_at(float* data, Index row, Index B, bool packed) { return {data, row, packed ? row : B * row}; }

// So many rows of one array into another.
void copy_rows(Strided<const float> from, Strided<float> to, Index T, Index B, Index width) {
  if (from.stride_b == to.stride_b && from.stride_t == to.stride_t && from.stride_b == width && from.stride_t == B * width) {
    layers::copy(from.data, to.data, T * B * width);
    return;
  }
  runtime::parallel_range(T, 1, static_cast<double>(T * B * width), [&](Index begin, Index end) {
    for (Index t = begin; t < end; ++t)
      for (Index b = 0; b < B; ++b) std::memcpy(to.row(b, t), from.row(b, t), static_cast<std::size_t>(width) * sizeof(float));
  });
}

void multiply(const float* a, const float* b, float* to, Index n) {
  const auto& k = isa::kernels();
  runtime::parallel_range(n, 64, static_cast<double>(n),
                          [&](Index begin, Index end) { k.multiply(a + begin, b + begin, to + begin, end - begin); });
}

}  // namespace

// Lengths of rows, and where each step's first row stands, where a sequence is packed.
struct Stack::Rows {
  explicit Rows(const StackInputs& in) : packed(in.batch_sizes != nullptr), count(in.T * in.B) {
    if (!packed) return;
    lengths.assign(static_cast<std::size_t>(in.B), 0);
    list.resize(static_cast<std::size_t>(in.B * in.T));
    Index at = 0;
    for (Index t = 0; t < in.T; ++t) {
      const Index rows = in.batch_sizes[t];
      for (Index b = 0; b < rows; ++b) ++lengths[static_cast<std::size_t>(b)];
      for (Index b = 0; b < in.B; ++b) list[static_cast<std::size_t>(b * in.T + t)] = static_cast<std::int32_t>(at);
      at += rows;
    }
    count = at;
  }
  Strided<float> of(float* data, Index width, Index B) const { return rows_at(data, width, B, packed); }

  bool packed;
  Index count;
  std::vector<std::int32_t> lengths, list;
};

// Offsets in a tape, or in what a call without one needs.
struct Stack::Places {
  std::vector<Index> engine, y, x;  // by run; by layer its outputs; by layer its masked input, -1: it is not masked
  Index size = 0;
};

Stack::Stack(const StackSizes& sizes) : sizes_(sizes), P_(sizes.P > 0 ? sizes.P : sizes.H) {
  const Kind& kind = kind_of(sizes.cell);
  states_ = kind.states;
  gates_ = kind.gates;
  per_run_ = 2 + (sizes.bias ? 2 : 0) + (sizes.P > 0 ? 1 : 0);
  bias_size_ = sizes.bias ? kind.gates * sizes.H * (kind.two_biases ? 2 : 1) : 0;
  json::Object spec{{"units", sizes.H}, {"activation", kind.activation}, {"use_bias", sizes.bias}};
  if (sizes.P > 0) spec.set("projection_size", sizes.P);
  const json::Value value(spec);
  for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
    json::Reader reader(value, kind.layer);
    const layers::RecurrentSettings settings = layers::read_recurrent(reader, kind.layer);
    const std::vector<layers::TensorSpec> inputs{{{1, 1, layer == 0 ? sizes.I : width()}, DType::float32}};
    for (recurrent::Recurrence& made : layers::make_form(settings, inputs, sizes.directions, false).recurrences) {
      made.set_units_first(kind.order);
      engines_.push_back(std::move(made));
    }
  }
  bias_.assign(runs(), std::vector<float>(static_cast<std::size_t>(bias_size_)));
  version_.assign(runs(), 0);
}

recurrent::Weights<const float> Stack::weights_of(const StackInputs& in, std::size_t run) const {
  const float* const* w = in.weights.data() + run * per_run_;
  return {w[0], w[1], sizes_.bias ? bias_[run].data() : nullptr, nullptr, sizes_.P > 0 ? w[per_run_ - 1] : nullptr};
}

// Packs the weights unless they are those that are packed: that is for their bits to say, since whoever writes to a tensor's
// memory (`.data`, another process) leaves no other trace.
Stack::Lock Stack::prepare(const StackInputs& in) {
  const Index G = gates_ * sizes_.H;
  constexpr std::size_t kFew = 16;
  std::uint64_t few[kFew];
  std::vector<std::uint64_t> many(runs() > kFew ? runs() : 0);
  std::uint64_t* const found = many.empty() ? few : many.data();
  for (std::size_t run = 0; run < runs(); ++run) {
    const float* const* w = in.weights.data() + run * per_run_;
    const std::size_t layer = run / sizes_.directions;
    std::uint64_t all = fingerprint(w[0], G * (layer == 0 ? sizes_.I : width()));
    const auto add = [&](const float* more, Index n) {
      all = (all ^ fingerprint(more, n)) * 0x9E3779B97F4A7C15u, all ^= all >> 29;
    };
    add(w[1], G * P_);
    if (sizes_.bias) add(w[2], G), add(w[3], G);
    if (sizes_.P > 0) add(w[per_run_ - 1], sizes_.P * sizes_.H);
    found[run] = all | 1;  // 0: nothing is packed
  }
  for (;;) {
    Lock lock(mutex_);
    if (std::equal(version_.begin(), version_.end(), found)) {
      for (std::size_t run = 0; run < runs(); ++run) engines_[run].prepare(weights_of(in, run), found[run]);  // another ISA?
      return lock;
    }
    lock.unlock();
    const std::unique_lock alone(mutex_);
    for (std::size_t run = 0; run < runs(); ++run) {
      if (version_[run] == found[run]) continue;
      version_[run] = 0;
      const float* const* w = in.weights.data() + run * per_run_;
      if (sizes_.bias && bias_size_ > G) {
        std::copy_n(w[2], G, bias_[run].data());
        std::copy_n(w[3], G, bias_[run].data() + G);
      } else if (sizes_.bias) {
        isa::kernels().add(w[2], w[3], bias_[run].data(), G);
      }
      engines_[run].prepare(weights_of(in, run), found[run]);
      version_[run] = found[run];
    }
  }
}

std::size_t Stack::together(const StackInputs& in, std::size_t first) const {
  constexpr std::size_t kMost = layers::Layer::kMostStacked;
  if (sizes_.directions > 1) return 1;
  std::size_t n = 1;
  while (n < kMost && first + n < sizes_.layers && mask(in, first + n - 1) == nullptr) ++n;
  return n;
}

Stack::Places Stack::places(const StackInputs& in, const Rows& rows, bool training) const {
  Places at;
  at.engine.reserve(runs());
  at.y.reserve(sizes_.layers);
  at.x.reserve(sizes_.layers);
  const auto reserve = [&](Index floats) { return std::exchange(at.size, at.size + aligned(floats)); };
  for (std::size_t layer = 0; layer < sizes_.layers; ++layer) {
    for (std::size_t d = 0; d < sizes_.directions; ++d)
      at.engine.push_back(training ? reserve(engines_[layer * sizes_.directions + d].tape_size(in.T, in.B, false)) : -1);
    at.y.push_back(training || layer + 1 < sizes_.layers ? reserve(rows.count * width()) : -1);
    at.x.push_back(layer > 0 && mask(in, layer - 1) != nullptr ? reserve(rows.count * width()) : -1);
  }
  return at;
}

Forward Stack::describe(const StackInputs& in, const Rows& rows, std::size_t run) const {
  Forward f;
  f.layer = &engines_[run];
  f.T = in.T;
  f.B = in.B;
  f.reverse = run % sizes_.directions == 1;
  if (rows.packed) {
    f.lengths = rows.lengths.data();
    f.list = rows.list.data();
  }
  for (std::size_t s = 0; s < states_; ++s)
    if (in.initial[s] != nullptr) f.initial[s] = in.initial[s] + static_cast<Index>(run) * in.B * state_width(s);
  return f;
}

std::pair<Index, Index> Stack::tape_size() const {
  Index each = 2 * static_cast<Index>(sizes_.layers) * width();
  for (const recurrent::Recurrence& engine : engines_) each += engine.tape_size(1, 1, false);
  return {each, 16 * static_cast<Index>(runs() + 2 * sizes_.layers)};
}

float* StackTape::take(Index size, const std::shared_ptr<graph::ArenaPool>& pool) {
  if (memory_ != nullptr) {
    if (size > size_) throw Error("a stack's tape: too little memory");
    return memory_;
  }
  if (arena_.size() >= size && arena_.data() != nullptr) return arena_.data();  // of the forward pass
  pool_ = pool;
  arena_ = pool->take(size);
  return arena_.data();
}

void Stack::forward(const StackInputs& in, Strided<float> y, float* const (&final)[2], StackTape* tape) {
  const runtime::Call call;
  const Lock lock = prepare(in);
  const Rows rows(in);
  const bool training = tape != nullptr;
  const Places at = places(in, rows, training);
  StackTape own;
  float* const memory = at.size > 0 ? (training ? *tape : own).take(at.size, pool_) : nullptr;
  if (training) tape->set_used(false);
  const std::size_t D = sizes_.directions;
  std::vector<Forward> runs;
  Strided<const float> x = in.x;
  for (std::size_t layer = 0; layer < sizes_.layers;) {
    runs.clear();
    const std::size_t end = layer + together(in, layer);
    runs.reserve((end - layer) * D);
    if (at.x[layer] >= 0) {
      multiply(x.data, mask(in, layer - 1), memory + at.x[layer], rows.count * width());
      x.data = memory + at.x[layer];
    }
    for (; layer < end; ++layer) {
      const Strided<float> to = at.y[layer] >= 0 ? rows.of(memory + at.y[layer], width(), in.B) : y;
      for (std::size_t d = 0; d < D; ++d) {
        const std::size_t run = layer * D + d;
        Forward f = describe(in, rows, run);
        f.x = x;
        if (to) f.y = {to.data + static_cast<Index>(d) * P_, to.stride_b, to.stride_t};
        for (std::size_t s = 0; s < states_; ++s)
          if (final[s] != nullptr) f.final[s] = final[s] + static_cast<Index>(run) * in.B * state_width(s);
        if (training) f.tape = memory + at.engine[run];
        if (!runs.empty() && d == 0) f.source = &runs.back();
        runs.push_back(f);
      }
      x = {to.data, to.stride_b, to.stride_t};
    }
    recurrent::forward(runs);
  }
  if (!training || !y) return;
  if (rows.packed)
    layers::copy(x.data, y.data, rows.count * width());
  else
    copy_rows(x, y, in.T, in.B, width());
}

void Stack::backward(const StackInputs& in, StackTape& tape, const StackGradients& g) {
  if (tape.used()) throw Error("a stack's tape has been used: backward consumes it");
  tape.set_used(true);
  const runtime::Call call;
  const Lock lock = prepare(in);
  const Rows rows(in);
  const Places at = places(in, rows, true);
  float* const memory = tape.take(at.size, pool_);
  const std::size_t D = sizes_.directions;
  const Index G = gates_ * sizes_.H, row_floats = rows.count * width();
  // By layer the gradient of what it reads, by run that of its biases.
  const Index biases = aligned(bias_size_);
  graph::Arena own = pool_->take(
      std::max<Index>(static_cast<Index>(sizes_.layers - 1) * aligned(row_floats) + static_cast<Index>(this->runs()) * biases, 1));
  float* next = own.data();
  float* const d_bias = next;
  next += static_cast<Index>(this->runs()) * biases;
  for (std::size_t s = 0; s < states_; ++s)
    if (g.d_initial[s] != nullptr) std::fill_n(g.d_initial[s], static_cast<Index>(this->runs()) * in.B * state_width(s), 0.0f);
  if (g.dx) {
    if (rows.packed || (g.dx.stride_b == sizes_.I && g.dx.stride_t == in.B * sizes_.I) ||
        (g.dx.stride_t == sizes_.I && g.dx.stride_b == in.T * sizes_.I))
      std::fill_n(g.dx.data, rows.count * sizes_.I, 0.0f);
    else
      for (Index b = 0; b < in.B; ++b)
        for (Index t = 0; t < in.T; ++t) std::fill_n(g.dx.row(b, t), sizes_.I, 0.0f);
  }

  std::vector<recurrent::Backward> runs;
  Strided<const float> dy = g.dy;
  for (std::size_t top = sizes_.layers; top > 0;) {
    // The layers of a forward call, from the last one down.
    std::size_t first = 0;
    while (first + together(in, first) < top) first += together(in, first);
    runs.clear();
    runs.reserve((top - first) * D);
    for (std::size_t layer = top; layer-- > first;) {
      Strided<float> dx = g.dx;
      if (layer > 0) {
        dx = rows.of(next, width(), in.B);
        std::fill_n(next, row_floats, 0.0f);
        next += aligned(row_floats);
      }
      const Strided<float> y = rows.of(memory + at.y[layer], width(), in.B);
      for (std::size_t d = 0; d < D; ++d) {
        const std::size_t run = layer * D + d;
        recurrent::Backward b;
        b.forward = describe(in, rows, run);
        if (layer == 0)
          b.forward.x = in.x;
        else if (at.x[layer] >= 0)
          b.forward.x = {memory + at.x[layer], width(), rows.packed ? width() : in.B * width()};
        else
          b.forward.x = {memory + at.y[layer - 1], width(), rows.packed ? width() : in.B * width()};
        b.forward.y = {y.data + static_cast<Index>(d) * P_, y.stride_b, y.stride_t};
        b.forward.tape = memory + at.engine[run];
        b.weights = weights_of(in, run);
        if (dy) b.dy = {dy.data + static_cast<Index>(d) * P_, dy.stride_b, dy.stride_t};
        b.dx = dx;
        for (std::size_t s = 0; s < states_; ++s) {
          const Index from = static_cast<Index>(run) * in.B * state_width(s);
          if (g.d_final[s] != nullptr) b.d_final[s] = g.d_final[s] + from;
          if (g.d_initial[s] != nullptr) b.d_initial[s] = g.d_initial[s] + from;
        }
        float* const* w = g.d_weights.data() + run * per_run_;
        const bool bias = sizes_.bias && (w[2] != nullptr || w[3] != nullptr);
        b.d_weights = {w[0], w[1], bias ? d_bias + static_cast<Index>(run) * biases : nullptr, nullptr,
                       sizes_.P > 0 ? w[per_run_ - 1] : nullptr};
        b.fresh = true;
        if (!runs.empty() && d == 0) b.source = &runs.back();
        runs.push_back(b);
      }
      dy = {dx.data, dx.stride_b, dx.stride_t};
    }
    recurrent::backward(runs);
    if (first > 0 && at.x[first] >= 0) {
      float* const to = const_cast<float*>(dy.data);
      multiply(to, mask(in, first - 1), to, row_floats);
    }
    top = first;
  }
  for (std::size_t run = 0; sizes_.bias && run < this->runs(); ++run) {
    float* const* w = g.d_weights.data() + run * per_run_;
    const float* const from = d_bias + static_cast<Index>(run) * biases;
    if (w[2] != nullptr) std::copy_n(from, G, w[2]);
    if (w[3] != nullptr) std::copy_n(from + (bias_size_ > G ? G : 0), G, w[3]);
  }
  pool_->give(std::move(own));
  tape.release();
}

}  // namespace rekur::bindings
