// The backward pass: each slice sweeps its steps in the opposite order of the forward pass, leaving the gradients of all
// pre-activations in the tape; then weight and input gradients are large products over all (time step, row) pairs, split over what
// they write.
#include <algorithm>
#include <cstring>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"

namespace rekur::recurrent {
namespace {

class BackwardSlice {
 public:
  BackwardSlice(const Backward& run, const Slice& slice)
      : b_(run), f_(run.forward), slice_(slice), r_(Engine::impl(*run.forward.layer)), Hp_(padded(r_.H)), M_(slice.rows()) {
    const auto n = static_cast<std::size_t>(M_);
    tape_.resize(n), product_.resize(n), h_previous_.resize(n), c_previous_.resize(n), h_.resize(n), dy_.resize(n),
        d_rows_.resize(n);
  }

  // dh, dc, the gradient of a second product's input, and a row of zeros.
  Index scratch_size() const { return 3 * M_ * Hp_ + Hp_; }

  void run(float* scratch) {
    dh_ = scratch;
    dc_ = dh_ + M_ * Hp_;
    dq_ = dc_ + M_ * Hp_;
    zeros_ = dq_ + M_ * Hp_;
    std::memset(scratch, 0, static_cast<std::size_t>(scratch_size()) * sizeof(float));
    y_ = outputs(f_);
    const Index steps = slice_.steps();
    for (Index i = 0; i < steps; ++i) step(f_.reverse ? i : steps - 1 - i);
  }

 private:
  float* record(Index b, Index t) const { return f_.tape + (t * f_.B + b) * r_.record(Hp_); }

  void step(Index t) {
    const Index active = slice_.active(t);
    for (Index j = joined_; j < active; ++j) start_row(j);
    joined_ = std::max(joined_, active);
    for (Index j = 0; j < active; ++j) point(j, t);

    StepBackward s{};
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.tape = tape_.data();
    s.h_previous = h_previous_.data();
    s.c_previous = r_.cell.states > 1 ? c_previous_.data() : nullptr;
    s.h = h_.data();
    s.dy = b_.dy ? dy_.data() : nullptr;
    s.dh = dh_;
    s.dc = r_.cell.states > 1 ? dc_ : nullptr;
    s.activations = &r_.activations;
    // Nobody asks for the gradient of the initial h: the product that would bring it there is left out.
    const bool through_h = b_.d_initial[0] || t != (f_.reverse ? slice_.length[0] - 1 : 0);
    for (int p = r_.cell.phases - 1; p >= 0; --p) {
      s.d_product = p < r_.cell.phases - 1 ? dq_ : nullptr;
      r_.kernels().backward[p](s);
      if (p == 0 && !through_h) continue;
      const auto& phase = r_.cell.phase[p];
      float* into = p == 0 ? dh_ : dq_;
      for (Index j = 0; j < active; ++j) {
        product_[static_cast<std::size_t>(j)] = tape_[static_cast<std::size_t>(j)] + phase.first * Hp_;
        d_rows_[static_cast<std::size_t>(j)] = into + j * Hp_;
      }
      isa::kernels().gemm(active, r_.H, phase.count * Hp_, product_.data(), r_.packed.recurrent_transposed[p].data(), nullptr,
                          d_rows_.data(), p == 0);
    }
    // Rows whose first step this was.
    for (Index j = f_.reverse ? slice_.active(t + 1) : 0; j < (!f_.reverse && t > 0 ? 0 : active); ++j) finish_row(j);
  }

  // Where row j's operands of step t stand.
  void point(Index j, Index t) {
    const auto i = static_cast<std::size_t>(j);
    const Index b = slice_.row[i], last = slice_.length[i] - 1;
    tape_[i] = record(b, t);
    h_[i] = y_.row(b, t);
    if (b_.dy) dy_[i] = b_.dy.row(b, t);
    const bool first = f_.reverse ? t == last : t == 0;
    const Index previous = f_.reverse ? t + 1 : t - 1;
    h_previous_[i] = !first ? y_.row(b, previous) : f_.initial[0] ? f_.initial[0] + b * r_.H : zeros_;
    if (r_.cell.states > 1)
      c_previous_[i] = !first ? record(b, previous) + r_.cell.state_slot * Hp_ : f_.initial[1] ? f_.initial[1] + b * r_.H : zeros_;
  }

  void start_row(Index j) {
    const Index b = slice_.row[static_cast<std::size_t>(j)];
    float* state[] = {dh_, dc_};
    for (int k = 0; k < r_.cell.states; ++k)
      if (b_.d_final[k]) std::copy_n(b_.d_final[k] + b * r_.H, r_.H, state[k] + j * Hp_);
  }

  void finish_row(Index j) {
    const Index b = slice_.row[static_cast<std::size_t>(j)];
    const float* state[] = {dh_, dc_};
    for (int k = 0; k < r_.cell.states; ++k)
      if (b_.d_initial[k]) isa::kernels().axpy(1.0f, state[k] + j * Hp_, b_.d_initial[k] + b * r_.H, r_.H);
  }

  const Backward& b_;
  const Forward& f_;
  const Slice& slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, M_;
  Index joined_ = 0;
  Strided<float> y_;
  float *dh_ = nullptr, *dc_ = nullptr, *dq_ = nullptr, *zeros_ = nullptr;
  std::vector<float*> tape_, d_rows_;
  std::vector<const float*> product_, h_previous_, c_previous_, h_, dy_;
};

// The large products of a run. Pairs (t, b) are always listed in the same order, so that sums over them never depend on the slices.
class LargeProducts {
 public:
  explicit LargeProducts(const Backward& run) : b_(run), f_(run.forward), r_(Engine::impl(*run.forward.layer)), Hp_(padded(r_.H)) {
    const Strided<float> y = outputs(f_);
    const Index size = r_.record(Hp_);
    const bool weights = b_.d_weights.kernel || b_.d_weights.recurrent_kernel;
    for (Index t = 0; t < f_.T; ++t)
      for (Index b = 0; b < f_.B; ++b) {
        const Index length = length_of(f_, b);
        if (t >= length) continue;
        const float* record = f_.tape + (t * f_.B + b) * size;
        records_.push_back(record);
        if (weights) x_.push_back(f_.x.row(b, t));
        if (b_.dx) dx_.push_back(b_.dx.row(b, t));
        // A previous state of zeros adds nothing to the recurrent kernel's gradient.
        const bool first = f_.reverse ? t == length - 1 : t == 0;
        if (!weights || (first && !f_.initial[0])) continue;
        h_previous_.push_back(first ? f_.initial[0] + b * r_.H : y.row(b, f_.reverse ? t + 1 : t - 1));
        h_records_.push_back(record);
      }
    if (b_.dx) dx_records_.assign(records_.size(), nullptr);
    for (std::size_t i = 0; i < dx_records_.size(); ++i) dx_records_[i] = records_[i] + r_.cell.x_first * Hp_;
  }

  Index pairs() const { return static_cast<Index>(records_.size()); }

  // Adds the tiles of this run's weight gradients to a list of tasks.
  struct Tile {
    const LargeProducts* of;
    int phase;  // -1: kernel; -2: bias; else the recurrent kernel's product of that phase
    int slot;
    Index m0, m1, n0, n1;
  };
  void list_tiles(std::vector<Tile>& tiles) const {
    constexpr Index kRows = 96, kColumns = 256;
    const auto add = [&](int phase, int first, int count, Index rows) {
      for (int slot = first; slot < first + count; ++slot)
        for (Index m = 0; m < rows; m += kRows)
          for (Index n = 0; n < r_.H; n += kColumns)
            tiles.push_back({this, phase, slot, m, std::min(m + kRows, rows), n, std::min(n + kColumns, r_.H)});
    };
    if (b_.d_weights.kernel) add(-1, r_.cell.x_first, r_.cell.x_count, r_.I);
    if (b_.d_weights.recurrent_kernel)
      for (int p = 0; p < r_.cell.phases; ++p) add(p, r_.cell.phase[p].first, r_.cell.phase[p].count, r_.H);
    if (b_.d_weights.bias) add(-2, 0, r_.cell.slots, 1);
  }

  void run(const Tile& tile) const {
    const auto& k = isa::kernels();
    const Index GH = r_.cell.gates * r_.H, M = tile.m1 - tile.m0, N = tile.n1 - tile.n0;
    const Index from = tile.slot * Hp_ + tile.n0, to = r_.cell.kernel_block[tile.slot] * r_.H + tile.n0;
    if (tile.phase == -1) {
      k.gemm_tn(M, N, pairs(), x_.data(), tile.m0, records_.data(), from, b_.d_weights.kernel + tile.m0 * GH + to, GH);
    } else if (tile.phase >= 0) {
      const int input = r_.cell.phase[tile.phase].input_slot;
      const bool h = input < 0;
      k.gemm_tn(M, N, static_cast<Index>(h_records_.size()), h ? h_previous_.data() : h_records_.data(),
                tile.m0 + (h ? 0 : input * Hp_), h_records_.data(), from, b_.d_weights.recurrent_kernel + tile.m0 * GH + to, GH);
    } else {
      const auto within = [&](int first, int count) { return tile.slot >= first && tile.slot < first + count; };
      if (within(r_.cell.x_first, r_.cell.x_count)) k.column_sums(N, pairs(), records_.data(), from, b_.d_weights.bias + to);
      if (!r_.cell.recurrent_bias) return;
      for (int p = 0; p < r_.cell.phases; ++p)
        if (within(r_.cell.phase[p].first, r_.cell.phase[p].count))
          k.column_sums(N, pairs(), records_.data(), from, b_.d_weights.bias + GH + to);
    }
  }

  void input_gradient() const {
    if (!b_.dx) return;
    const Index K = r_.cell.x_count * Hp_;
    const double work = 2.0 * static_cast<double>(pairs()) * static_cast<double>(K) * static_cast<double>(r_.I);
    runtime::parallel_range(pairs(), 48, work, [&](Index begin, Index end) {
      isa::kernels().gemm(end - begin, r_.I, K, dx_records_.data() + begin, r_.packed.input_transposed.data(), nullptr,
                          dx_.data() + begin, true);
    });
  }

 private:
  const Backward& b_;
  const Forward& f_;
  const Recurrence::Impl& r_;
  const Index Hp_;
  std::vector<const float*> records_, x_, h_previous_, h_records_, dx_records_;
  std::vector<float*> dx_;
};

// Rows without a valid step hand their gradient from the final to the initial state.
void pass_empty_rows(const Backward& run) {
  const Forward& f = run.forward;
  const auto& r = Engine::impl(*f.layer);
  for (Index b = 0; b < (run.d_initial[0] || run.d_initial[1] ? f.B : 0); ++b)
    for (int k = 0; length_of(f, b) == 0 && k < r.cell.states; ++k)
      if (run.d_final[k] && run.d_initial[k]) isa::kernels().axpy(1.0f, run.d_final[k] + b * r.H, run.d_initial[k] + b * r.H, r.H);
}

}  // namespace

void backward(std::span<const Backward> runs) {
  const runtime::FlushDenormals flush;
  for (const Backward& run : runs) pass_empty_rows(run);
  const double work = run_slices<BackwardSlice>(runs);

  std::vector<LargeProducts> products;
  for (const Backward& run : runs) products.emplace_back(run);
  std::vector<LargeProducts::Tile> tiles;
  for (const LargeProducts& p : products) p.list_tiles(tiles);
  runtime::parallel_tasks(static_cast<Index>(tiles.size()), work, [&](Index i) {
    const auto& tile = tiles[static_cast<std::size_t>(i)];
    tile.of->run(tile);
  });
  // One run after the other: the directions of a bidirectional layer add to the same dx.
  for (const LargeProducts& p : products) p.input_gradient();
}

}  // namespace rekur::recurrent
