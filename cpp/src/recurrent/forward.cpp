// The forward pass: for each slice, chunk by chunk, the input projection of some time steps and then those steps.
#include <algorithm>
#include <cstring>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"

namespace rekur::recurrent {
namespace {

// Rows of input projections held at once: few enough to stay in the second-level cache, enough to reuse W_x.
constexpr Index kChunkRows = 192;

class ForwardSlice {
 public:
  ForwardSlice(const Forward& f, const Slice& slice)
      : f_(f), slice_(slice), r_(Engine::impl(*f.layer)), Hp_(padded(r_.H)), X_(r_.cell.x_count * Hp_), M_(slice.rows()) {
    chunk_ = std::clamp<Index>(kChunkRows / std::max<Index>(M_, 1), 1, slice.steps());
    input_rows_.resize(static_cast<std::size_t>(chunk_ * M_));
    projection_rows_.resize(static_cast<std::size_t>(chunk_ * M_));
    y_rows_.resize(static_cast<std::size_t>(M_));
    tape_rows_.resize(static_cast<std::size_t>(M_));
    own_tape_ = !f.tape && r_.cell.phases > 1;
  }

  Index scratch_size() const {
    return chunk_ * M_ * X_ + (2 + r_.cell.states - 1) * M_ * Hp_ + (own_tape_ ? M_ * r_.record(Hp_) : 0);
  }

  void run(float* scratch) {
    projection_ = scratch;
    h_ = projection_ + chunk_ * M_ * X_;
    h_next_ = h_ + M_ * Hp_;
    c_ = r_.cell.states > 1 ? h_next_ + M_ * Hp_ : nullptr;
    scratch_tape_ = h_next_ + r_.cell.states * M_ * Hp_;
    std::memset(h_, 0, static_cast<std::size_t>((1 + r_.cell.states) * M_ * Hp_) * sizeof(float));
    y_ = outputs(f_);

    const Index steps = slice_.steps();
    for (Index done = 0; done < steps; done += chunk_) {
      const Index count = std::min(chunk_, steps - done);
      const Index low = f_.reverse ? steps - done - count : done;
      project(low, count);
      for (Index i = 0; i < count; ++i) step(f_.reverse ? low + count - 1 - i : low + i, low, done + i == 0);
    }
  }

 private:
  // W x + b for the active rows of steps [low, low + count).
  void project(Index low, Index count) {
    Index n = 0;
    for (Index t = low; t < low + count; ++t)
      for (Index j = 0, active = slice_.active(t); j < active; ++j, ++n) {
        input_rows_[static_cast<std::size_t>(n)] = f_.x.row(slice_.row[static_cast<std::size_t>(j)], t);
        projection_rows_[static_cast<std::size_t>(n)] = projection_ + ((t - low) * M_ + j) * X_;
      }
    isa::kernels().gemm(n, X_, r_.I, input_rows_.data(), r_.packed.input.data(), r_.packed.input_bias.data(),
                        projection_rows_.data(), false);
  }

  void step(Index t, Index low, bool first) {
    const Index active = slice_.active(t);
    // In the reverse direction rows join at their last valid step; in the forward direction all are there from the start.
    for (Index j = joined_; j < active; ++j) start_row(j);
    joined_ = std::max(joined_, active);
    for (Index j = 0; j < active; ++j) {
      const Index b = slice_.row[static_cast<std::size_t>(j)];
      if (y_) y_rows_[static_cast<std::size_t>(j)] = y_.row(b, t);
      tape_rows_[static_cast<std::size_t>(j)] = f_.tape     ? f_.tape + (t * f_.B + b) * r_.record(Hp_)
                                                : own_tape_ ? scratch_tape_ + j * r_.record(Hp_)
                                                            : nullptr;
    }
    StepForward s{};
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.input = projection_ + (t - low) * M_ * X_;
    s.h = h_;
    s.h_next = h_next_;
    s.c = c_;
    s.y = y_ ? y_rows_.data() : nullptr;
    s.tape = f_.tape || own_tape_ ? tape_rows_.data() : nullptr;
    s.activations = &r_.activations;
    s.product_length = first && !f_.initial[0] ? 0 : r_.H;
    for (int p = 0; p < r_.cell.phases; ++p) {
      s.weights = r_.packed.recurrent[p].data();
      s.bias = r_.cell.recurrent_bias ? r_.packed.recurrent_bias[p].data() : nullptr;
      r_.kernels().forward[p](s);
    }
    std::swap(h_, h_next_);
    for (Index j = f_.reverse ? 0 : slice_.active(t + 1); j < (f_.reverse && t > 0 ? 0 : active); ++j) finish_row(j);
  }

  void start_row(Index j) {
    const Index b = slice_.row[static_cast<std::size_t>(j)];
    float* state[] = {h_, c_};
    for (int k = 0; k < r_.cell.states; ++k)
      if (f_.initial[k]) std::copy_n(f_.initial[k] + b * r_.H, r_.H, state[k] + j * Hp_);
  }

  void finish_row(Index j) {
    const Index b = slice_.row[static_cast<std::size_t>(j)];
    const float* state[] = {h_, c_};
    for (int k = 0; k < r_.cell.states; ++k)
      if (f_.final[k]) std::copy_n(state[k] + j * Hp_, r_.H, f_.final[k] + b * r_.H);
    if (!f_.y) return;
    for (Index t = slice_.length[static_cast<std::size_t>(j)]; t < f_.T; ++t) std::fill_n(y_.row(b, t), r_.H, 0.0f);
  }

  const Forward& f_;
  const Slice& slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, X_, M_;
  Index chunk_ = 1;
  bool own_tape_ = false;
  Index joined_ = 0;
  Strided<float> y_;
  float *projection_ = nullptr, *h_ = nullptr, *h_next_ = nullptr, *c_ = nullptr, *scratch_tape_ = nullptr;
  std::vector<const float*> input_rows_;
  std::vector<float*> projection_rows_, y_rows_, tape_rows_;
};

// Rows without a single valid step: zeros out, states unchanged.
void pass_empty_rows(const Forward& f) {
  if (f.T == 0 && !f.final[0] && !f.final[1]) return;  // nothing to write, however many rows there are
  const auto& r = Engine::impl(*f.layer);
  const Strided<float> y = outputs(f);
  for (Index b = 0; b < f.B; ++b) {
    if (length_of(f, b) > 0) continue;
    for (Index t = 0; y && t < f.T; ++t) std::fill_n(y.row(b, t), r.H, 0.0f);
    for (int k = 0; k < r.cell.states; ++k) {
      if (!f.final[k]) continue;
      if (f.initial[k])
        std::copy_n(f.initial[k] + b * r.H, r.H, f.final[k] + b * r.H);
      else
        std::fill_n(f.final[k] + b * r.H, r.H, 0.0f);
    }
  }
}

}  // namespace

void forward(std::span<const Forward> runs) {
  const runtime::FlushDenormals flush;
  for (const Forward& run : runs) pass_empty_rows(run);
  run_slices<ForwardSlice>(runs);
}

}  // namespace rekur::recurrent
