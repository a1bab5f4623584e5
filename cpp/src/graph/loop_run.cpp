// A loop's forward and backward passes.
#include <algorithm>
#include <cstring>

#include "graph/loop_pass.hpp"
#include "layers/elementwise.hpp"
#include "layers/stream_op.hpp"
#include "runtime/checked.hpp"
#include "runtime/locks.hpp"
#include "runtime/sort.hpp"

namespace rekur::graph {
namespace {

// Numbers of a row, of one step where a shape has the time as its first axis.
Index row_size(const Shape& shape) { return element_count(shape) / std::max<Index>(shape[0], 1); }

void copy_row(const float* from, float* to, Index n) { std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float)); }

}  // namespace

std::shared_ptr<const Plan> Loop::Plans::of(const Topology& topology, Index rows) {
  if (rows == whole->input_shapes[0][0]) return whole;
  const runtime::Guard lock(mutex);
  std::shared_ptr<const Plan>& plan = by_rows[rows];
  if (plan == nullptr) {
    std::vector<Shape> shapes = whole->input_shapes;
    for (Shape& shape : shapes) shape[0] = rows;
    plan = narrowed(topology, *whole, shapes);
  }
  return plan;
}

Loop::Places Loop::places(std::span<const layers::TensorSpec> inputs, bool training, bool remat) const {
  const std::shared_ptr<Plans> all = plans(inputs, training);
  const std::vector<Shape>& shapes = all->whole->input_shapes;
  const Index B = inputs[0].shape[0], T = inputs[0].shape[1];
  Places at;
  at.keeps_states = training;
  at.keeps_arenas = training && !remat;
  const auto reserve = [&](const Shape& sizes) {
    Index end;
    if (add_overflows(at.size, aligned(element_count(sizes)), &end))
      throw_out_of_memory("the arrays of a run do not fit in memory");
    return std::exchange(at.size, end);
  };
  at.seed = reserve({8});
  for (std::size_t i = 0; i < steps_; ++i) at.x.push_back(reserve({at.keeps_arenas ? T : 1, aligned(element_count(shapes[i]))}));
  for (std::size_t c = 0; c < constants_; ++c) {
    const layers::TensorSpec& constant = inputs[steps_ + c];
    at.constants.push_back(reserve(constant.shape));
    at.lists.push_back(constant.has_time() ? reserve({B, 2 * constant.shape[1] + 1}) : kNowhere);
  }
  for (std::size_t s = 0; s < states_; ++s) {
    at.state.push_back(at.states_stride);
    at.states_stride += aligned(element_count(shapes[steps_ + constants_ + s]));
  }
  at.states = reserve({at.keeps_states ? T + 1 : 2, at.states_stride});
  at.arena_stride = aligned(all->whole->arena_size);
  at.arena = reserve({at.keeps_arenas ? T : 1, at.arena_stride});
  return at;
}

Index Loop::tape_size(std::span<const layers::TensorSpec> inputs, bool training) const {
  return places(inputs, training, false).size;
}

// A run: its rows in their order, and what the body is lent at each step.
class Loop::Pass {
 public:
  Pass(const Loop& loop, const layers::Context& run, bool training)
      : l_(loop),
        run_(run),
        within_(run),
        at_(loop.places(run.input_specs, training, run.remat)),
        plans_(loop.plans(run.input_specs, training)),
        body_run_(loop.body_->lent_run()),
        steps_(run.steps(0)),
        B_(run.batch()),
        T_(run.input_specs[0].shape[1]) {
    within_.training = training;
    check_steps();
    order();
    point_at_constants();
  }

  Index count() const { return static_cast<Index>(rows_at_.size()); }
  Index rows(Index k) const { return k < count() ? rows_at_[static_cast<std::size_t>(k)] : 0; }
  Index row(Index i) const { return order_[static_cast<std::size_t>(i)]; }
  bool in_order() const { return in_order_; }
  // Where in a sequence of outputs or steps row i's step k stands.
  Index place(Index i, Index k) const { return row(i) * T_ + steps_.at(row(i), k); }
  const layers::RowSteps& steps() const { return steps_; }
  Run& body_run() { return *body_run_; }
  Index batch() const { return B_; }
  Index time() const { return T_; }

  Index state_size(std::size_t s) const { return row_size(plans_->whole->input_shapes[l_.steps_ + l_.constants_ + s]); }
  // Before step k.
  float* state(std::size_t s, Index k) const {
    return run_.tape + at_.states + (at_.keeps_states ? k : k % 2) * at_.states_stride + at_.state[s];
  }

  void begin() {
    const std::uint64_t seed[3] = {run_.seed, run_.step, std::uint64_t{run_.stream} << 32 | run_.time};
    std::memcpy(run_.tape + at_.seed, seed, sizeof seed);
    for (std::size_t s = 0; s < l_.states_; ++s) {
      const std::size_t i = l_.steps_ + l_.constants_ + s;
      const Index n = state_size(s);
      float* const to = state(s, 0);
      if (i >= run_.inputs.size())
        std::fill_n(to, rows(0) * n, 0.0f);
      else
        for (Index r = 0; r < rows(0); ++r) copy_row(run_.input(i) + row(r) * n, to + r * n, n);
    }
    if (in_order_) return;
    for (std::size_t c = 0; c < l_.constants_; ++c) {
      const std::size_t i = l_.steps_ + c;
      const Index n = row_size(run_.input_specs[i].shape);
      layers::over_rows(rows(0), n, 1, [&](Index first, Index last) {
        for (Index r = first; r < last; ++r) copy_row(run_.input(i) + row(r) * n, run_.tape + at_.constants[c] + r * n, n);
      });
    }
  }

  // What a backward pass is not told.
  void recall() {
    std::uint64_t seed[3];
    std::memcpy(seed, run_.tape + at_.seed, sizeof seed);
    within_.seed = seed[0];
    within_.step = seed[1];
    within_.stream = static_cast<std::uint32_t>(seed[2] >> 32);
    within_.time = static_cast<std::uint32_t>(seed[2]);
  }

  void gather_steps(Index k) const {
    for (std::size_t i = 0; i < l_.steps_; ++i) {
      const Index n = step_size(i);
      float* const to = x(i, k);
      for (Index r = 0; r < rows(k); ++r) copy_row(run_.input(i) + place(r, k) * n, to + r * n, n);
    }
  }

  Index step_size(std::size_t i) const { return row_size(plans_->whole->input_shapes[i]); }

  void lend(Index k, float* passing) {
    inputs_.clear();
    for (std::size_t i = 0; i < l_.steps_; ++i) inputs_.push_back(x(i, k));
    inputs_.insert(inputs_.end(), constants_.begin(), constants_.end());
    for (std::size_t s = 0; s < l_.states_; ++s) inputs_.push_back(state(s, k));
    next_.assign(l_.outputs_, nullptr);
    for (std::size_t s = 0; s < l_.states_; ++s) next_.push_back(state(s, k + 1));
    Lent lent;
    lent.plan = plans_->of(l_.body_->topology(), rows(k));
    lent.weights = run_.weights;
    lent.kept = run_.tape + at_.arena + (at_.keeps_arenas ? k : 0) * at_.arena_stride;
    lent.passing = passing;
    lent.inputs = inputs_;
    lent.outputs = next_;
    lent.steps = constant_steps_;
    lent.within = &within_;
    lent.stream = (within_.stream + 1) << 12 & 0xFFFFFF;  // above the purposes of masks, layers/masks.cpp
    lent.time = (within_.time << 16) + static_cast<std::uint32_t>(k) + 1;
    l_.body_->lend(*body_run_, lent);
  }

  void step(Index k) {
    l_.body_->forward_lent(*body_run_);
    for (std::size_t s = 0; s < l_.states_; ++s) {
      const float* const value = body_run_->output(l_.outputs_ + s);
      if (value != state(s, k + 1)) copy_row(value, state(s, k + 1), rows(k) * state_size(s));
    }
  }

  const float* constant(std::size_t c) const { return static_cast<const float*>(constants_[c]); }
  Index passing_size() const { return aligned(plans_->whole->passing_size); }
  Index output_size(std::size_t k) const {
    return row_size(run_.output_specs[k].shape) / (l_.s_.return_sequences ? std::max<Index>(T_, 1) : 1);
  }

 private:
  float* x(std::size_t i, Index k) const {
    return run_.tape + at_.x[i] + (at_.keeps_arenas ? k : 0) * aligned(element_count(plans_->whole->input_shapes[i]));
  }

  // All sequences of steps have the same valid ones.
  void check_steps() const {
    for (std::size_t i = 1; i < l_.steps_; ++i) {
      if (run_.input_specs[i].time_source == run_.input_specs[0].time_source) continue;
      const layers::RowSteps other = run_.steps(i);
      for (Index row = 0; row < B_; ++row) {
        bool same = steps_.length(row) == other.length(row);
        for (Index k = 0; same && k < steps_.length(row); ++k) same = steps_.at(row, k) == other.at(row, k);
        if (!same) l_.fail("its sequences % and % have different valid steps in row %", {std::size_t{0}, i, row});
      }
    }
  }

  void order() {
    if (steps_.lengths == nullptr) {
      for (Index row = 0; row < B_; ++row) order_.push_back(row);
      rows_at_.assign(static_cast<std::size_t>(T_), B_);
      return;
    }
    order_ = sorted(static_cast<std::size_t>(B_), [this](Index a, Index b) { return steps_.length(a) > steps_.length(b); });
    for (Index i = 0; i < B_; ++i) in_order_ = in_order_ && row(i) == i;
    Index n = B_;
    for (Index k = 0;; ++k) {
      while (n > 0 && steps_.length(row(n - 1)) <= k) --n;
      if (n == 0) break;
      rows_at_.push_back(n);
    }
  }

  void point_at_constants() {
    constant_steps_.resize(l_.steps_ + l_.constants_ + l_.states_);
    for (std::size_t c = 0; c < l_.constants_; ++c) {
      const std::size_t i = l_.steps_ + c;
      constants_.push_back(in_order_ ? run_.inputs[i] : run_.tape + at_.constants[c]);
      if (!run_.input_specs[i].has_time()) continue;
      constant_steps_[i] = in_order_ ? run_.steps(i) : steps_in_order(run_.steps(i), at_.lists[c]);
    }
  }

  layers::RowSteps steps_in_order(layers::RowSteps steps, Index at) const {
    if (steps.lengths == nullptr) return steps;
    auto* const lengths = reinterpret_cast<std::int32_t*>(run_.tape + at);
    auto* const list = lengths + B_;
    auto* const valid = reinterpret_cast<std::uint8_t*>(list + B_ * steps.T);
    for (Index r = 0; r < B_; ++r) {
      lengths[r] = steps.lengths[row(r)];
      if (steps.list == nullptr) continue;
      std::copy_n(steps.list + row(r) * steps.T, steps.T, list + r * steps.T);
      std::copy_n(steps.valid + row(r) * steps.T, steps.T, valid + r * steps.T);
    }
    steps.lengths = lengths;
    if (steps.list != nullptr) steps.list = list, steps.valid = valid;
    return steps;
  }

  const Loop& l_;
  const layers::Context& run_;
  layers::Context within_;
  const Places at_;
  const std::shared_ptr<Plans> plans_;
  const std::unique_ptr<Run> body_run_;
  const layers::RowSteps steps_;
  const Index B_, T_;
  std::vector<Index> order_, rows_at_;  // rows, longest first; by step how many of them have it
  bool in_order_ = true;                // as they stand
  std::vector<const void*> constants_, inputs_;
  std::vector<float*> next_;
  std::vector<layers::RowSteps> constant_steps_;  // by input of the body
};

void Loop::forward(const layers::Context& run) const {
  Pass pass(*this, run, run.training);
  pass.begin();
  const layers::RowSteps& steps = pass.steps();
  const Index B = pass.batch(), T = pass.time();
  for (Index k = 0; k < pass.count(); ++k) {
    pass.gather_steps(k);
    pass.lend(k, nullptr);
    pass.step(k);
    const Index n = pass.rows(k), stay = pass.rows(k + 1);
    for (std::size_t o = 0; o < outputs_; ++o) {
      const float* const y = pass.body_run().output(o);
      const Index size = pass.output_size(o);
      for (Index r = s_.return_sequences ? 0 : stay; r < n; ++r)
        copy_row(y + r * size, run.outputs[o] + (s_.return_sequences ? pass.place(r, k) : pass.row(r)) * size, size);
    }
    for (std::size_t s = 0; s_.return_state && s < states_; ++s) {
      const Index size = pass.state_size(s);
      for (Index r = stay; r < n; ++r)
        copy_row(pass.state(s, k + 1) + r * size, run.outputs[outputs_ + s] + pass.row(r) * size, size);
    }
  }
  if (steps.lengths == nullptr && T > 0) return;
  // Steps that are none: zeros past a length, where a mask leaves them out what was there before.
  for (std::size_t o = 0; o < outputs_; ++o) {
    const Index size = pass.output_size(o);
    for (Index b = 0; b < B; ++b) {
      if (!s_.return_sequences) {
        if (steps.length(b) == 0) std::fill_n(run.outputs[o] + b * size, size, 0.0f);
        continue;
      }
      for (Index t = 0; t < T; ++t) {
        if (steps.is_valid(b, t)) continue;
        float* const y = run.outputs[o] + (b * T + t) * size;
        if (steps.mask && t > 0)
          copy_row(y - size, y, size);
        else
          std::fill_n(y, size, 0.0f);
      }
    }
  }
  for (std::size_t s = 0; s_.return_state && s < states_; ++s) {
    const std::size_t i = steps_ + constants_ + s;
    const Index size = pass.state_size(s);
    for (Index b = 0; b < B; ++b) {
      if (steps.length(b) > 0) continue;
      float* const to = run.outputs[outputs_ + s] + b * size;
      if (i < run.inputs.size())
        copy_row(run.input(i) + b * size, to, size);
      else
        std::fill_n(to, size, 0.0f);
    }
  }
}

#if REKUR_TRAINING
Index Loop::remat_tape_size(std::span<const layers::TensorSpec> inputs) const { return places(inputs, true, true).size; }

// The body's gradients of a step, those of its steps, of its states, and of constants whose rows stand in another order.
Index Loop::backward_scratch(std::span<const layers::TensorSpec> inputs) const {
  const std::shared_ptr<Plans> all = plans(inputs, true);
  Index size = aligned(all->whole->passing_size);
  for (std::size_t i = 0; i < steps_ + constants_ + states_; ++i) size += aligned(element_count(all->whole->input_shapes[i]));
  return size;
}

void Loop::backward(const layers::Context& run) const {
  Pass pass(*this, run, true);
  pass.recall();
  const layers::RowSteps& steps = pass.steps();
  const Index T = pass.time();
  const auto& add = isa::kernels().add;
  std::vector<float*> own;  // by input of the body: where its gradient is brought together; null: not wanted
  float* memory = run.scratch + pass.passing_size();
  const std::size_t all = steps_ + constants_ + states_;
  std::vector<Index> sizes;  // a row's
  for (std::size_t i = 0; i < all; ++i) {
    const bool wanted = is_state(i) || run.d_inputs[i] != nullptr;
    const Index size = i < steps_    ? pass.step_size(i)
                       : is_state(i) ? pass.state_size(i - steps_ - constants_)
                                     : row_size(run.input_specs[i].shape);
    sizes.push_back(size);
    own.push_back(!wanted ? nullptr : i < steps_ || is_state(i) || !pass.in_order() ? memory : run.d_inputs[i]);
    memory += aligned(pass.batch() * size);
    if (own.back() != nullptr && !is_state(i) && i >= steps_ && !pass.in_order())
      std::fill_n(own.back(), pass.batch() * size, 0.0f);
  }
  const auto final_gradient = [&](std::size_t s) { return s_.return_state ? run.d_outputs[outputs_ + s] : nullptr; };
  // The gradient of output o at row r's step k, with those of the steps that repeat it.
  const auto output_gradient = [&](std::size_t o, Index r, Index k, Index stay, float* to) {
    const Index size = pass.output_size(o), b = pass.row(r);
    const float* const from = run.d_outputs[o];
    if (!s_.return_sequences) {
      if (r < stay)
        std::fill_n(to, size, 0.0f);
      else
        copy_row(from + b * size, to, size);
      return;
    }
    const Index t = steps.at(b, k);
    copy_row(from + (b * T + t) * size, to, size);
    if (!steps.mask) return;
    const Index next = k + 1 < steps.length(b) ? steps.at(b, k + 1) : T;
    for (Index again = t + 1; again < next; ++again) add(to, from + (b * T + again) * size, to, size);
  };
  std::vector<float*> d_inputs(all);
  for (Index k = pass.count(); k-- > 0;) {
    const Index n = pass.rows(k), stay = pass.rows(k + 1);
    if (run.remat) pass.gather_steps(k);
    pass.lend(k, run.scratch);
    if (run.remat) pass.step(k);
    for (std::size_t o = 0; o < outputs_; ++o) {
      if (run.d_outputs[o] == nullptr) continue;
      float* const g = pass.body_run().output_gradient(o);
      for (Index r = 0; r < n; ++r) output_gradient(o, r, k, stay, g + r * pass.output_size(o));
    }
    for (std::size_t s = 0; s < states_; ++s) {
      const Index size = sizes[steps_ + constants_ + s];
      float *const g = pass.body_run().output_gradient(outputs_ + s), *const d = own[steps_ + constants_ + s];
      copy_row(d, g, stay * size);
      for (Index r = stay; r < n; ++r) {
        if (const float* const last = final_gradient(s))
          copy_row(last + pass.row(r) * size, g + r * size, size);
        else
          std::fill_n(g + r * size, size, 0.0f);
      }
      std::fill_n(d, n * size, 0.0f);
    }
    for (std::size_t i = 0; i < all; ++i) {
      d_inputs[i] = own[i];
      if (i < steps_ && own[i] != nullptr) std::fill_n(own[i], n * sizes[i], 0.0f);
      if (is_state(i) && k == 0 && (i >= run.inputs.size() || run.d_inputs[i] == nullptr)) d_inputs[i] = nullptr;
    }
    body_->backward_lent(pass.body_run(), run.d_weights, d_inputs);
    for (std::size_t i = 0; i < steps_; ++i) {
      if (own[i] == nullptr) continue;
      for (Index r = 0; r < n; ++r) {
        float* const to = run.d_inputs[i] + pass.place(r, k) * sizes[i];
        add(to, own[i] + r * sizes[i], to, sizes[i]);
      }
    }
  }
  for (std::size_t i = steps_; i < run.inputs.size(); ++i) {
    if (run.d_inputs[i] == nullptr || (!is_state(i) && pass.in_order())) continue;
    const float* const last = is_state(i) ? final_gradient(i - steps_ - constants_) : nullptr;
    for (Index r = 0; r < pass.batch(); ++r) {
      const bool began = r < pass.rows(0);
      const float* const from = began ? own[i] + r * sizes[i] : last == nullptr ? nullptr : last + pass.row(r) * sizes[i];
      float* const to = run.d_inputs[i] + pass.row(r) * sizes[i];
      if (from != nullptr) add(to, from, to, sizes[i]);
    }
  }
}
#endif

}  // namespace rekur::graph
