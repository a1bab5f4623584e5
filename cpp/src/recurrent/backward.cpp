// The backward pass. Each slice sweeps its steps in the opposite order of the forward pass, a chunk at a time, leaving the
// gradients of all pre-activations in the tape. Then the chunk's (time step, row) pairs go into the large products: weight
// gradients, split over what they write, and input gradients. With several threads these products lag a chunk behind, so that
// whoever has no slice to sweep, or is done, works on them.
#include <cstring>

#include "isa/dispatch.hpp"
#include "recurrent/large_products.hpp"
#include "recurrent/plan.hpp"
#include "rekur/denormals.hpp"

namespace rekur::recurrent {
namespace {

// Pairs of a chunk: enough for the products, few enough to be still in a cache.
constexpr Index kChunkPairs = 256;

class BackwardSlice {
 public:
  BackwardSlice(const Backward& run, const Slice& slice, int members, Scratch& scratch)
      : b_(run),
        f_(run.forward),
        slice_(slice),
        r_(Engine::impl(*run.forward.layer)),
        Hp_(padded(r_.H)),
        M_(slice.rows()),
        members_(members),
        y_(outputs(f_)) {
    for (float** state : {&dh_, &dc_, &dq_}) {
      *state = scratch.take<float>(M_ * Hp_).data();
      std::memset(*state, 0, static_cast<std::size_t>(M_ * Hp_) * sizeof(float));
    }
    zeros_ = scratch.take<float>(Hp_).data();
    std::memset(zeros_, 0, static_cast<std::size_t>(Hp_) * sizeof(float));
    float* state[] = {dh_, dc_};
    for (int k = 0; k < r_.cell.states; ++k)
      for (Index j = 0; b_.d_final[k] && j < M_; ++j) std::copy_n(b_.d_final[k] + row(j) * r_.H, r_.H, state[k] + j * Hp_);
    for (auto* rows : {&tape_, &d_rows_}) *rows = scratch.take<float*>(members * M_).data();
    for (auto* rows : {&product_, &h_previous_, &c_previous_, &h_, &dy_, &tape_ahead_, &dy_ahead_, &h_ahead_, &c_ahead_})
      *rows = scratch.take<const float*>(members * M_).data();
  }

  // Member `member`'s part of steps [low, high).
  void sweep(Index low, Index high, int member, runtime::Barrier& meeting) {
    high = std::min(high, slice_.steps());
    for (Index i = 0; i < high - low; ++i) step(f_.reverse ? low + i : high - 1 - i, member, meeting);
  }

 private:
  float* record(Index b, Index t) const { return f_.tape + (t * f_.B + b) * r_.record(Hp_); }
  Index row(Index j) const { return slice_.row[static_cast<std::size_t>(j)]; }

  void step(Index t, int member, runtime::Barrier& meeting) {
    const Index active = slice_.active(t), own = member * M_;
    const Index panel = isa::kernels().panel, panels = (Hp_ + panel - 1) / panel;
    const Index ahead = f_.reverse ? t + 1 : t - 1;
    for (Index j = 0; j < active; ++j) point(j, t, own);

    StepBackward s{};
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.begin = std::min(panels * member / members_ * panel, Hp_);
    s.end = std::min(panels * (member + 1) / members_ * panel, Hp_);
    s.tape = tape_ + own;
    if (ahead >= 0 && ahead < slice_.steps()) {
      s.tape_ahead = tape_ahead_ + own;
      s.dy_ahead = dy_ahead_ + own;
      s.h_ahead = h_ahead_ + own;
      s.c_ahead = c_ahead_ + own;
    }
    s.h_previous = h_previous_ + own;
    s.c_previous = r_.cell.states > 1 ? c_previous_ + own : nullptr;
    s.h = h_ + own;
    s.dy = b_.dy ? dy_ + own : nullptr;
    s.dh = dh_;
    s.dc = r_.cell.states > 1 ? dc_ : nullptr;
    s.peephole = r_.packed.peephole.data();
    s.activations = &r_.activations;
    // Nobody asks for the gradient of the initial h: the product that would bring it there is left out.
    const bool through_h = b_.d_initial[0] || t != (f_.reverse ? slice_.steps() - 1 : 0);
    for (int p = r_.cell.phases - 1; p >= 0; --p) {
      s.d_product = p < r_.cell.phases - 1 ? dq_ : nullptr;
      r_.kernels().backward[p](s);
      meeting.wait();
      if (p == 0 && !through_h) continue;
      product_of_phase(p, active, s.begin, std::min(s.end, r_.H), own);
    }
    // Rows whose first step this was.
    for (Index j = f_.reverse ? slice_.active(t + 1) : 0; j < (!f_.reverse && t > 0 ? 0 : active); ++j)
      finish(j, s.begin, std::min(s.end, r_.H));
  }

  // The gradient of units [begin, end) of what phase p multiplied with the recurrent kernel.
  void product_of_phase(int p, Index active, Index begin, Index end, Index own) {
    if (begin >= end) return;
    const auto& phase = r_.cell.phase[p];
    const Index K = phase.count * Hp_;
    float* into = p == 0 ? dh_ : dq_;
    for (Index j = 0; j < active; ++j) {
      product_[own + j] = tape_[own + j] + phase.first * Hp_;
      d_rows_[own + j] = into + j * Hp_;
    }
    isa::kernels().gemm(active, end - begin, K, product_ + own, r_.packed.recurrent_transposed[p].data() + begin * K, nullptr,
                        d_rows_ + own, begin, p == 0);
  }

  // Where row j's operands of step t stand.
  void point(Index j, Index t, Index own) {
    const Index b = row(j), last = slice_.length[static_cast<std::size_t>(j)] - 1, i = own + j;
    const bool first = f_.reverse ? t == last : t == 0;
    const Index previous = f_.reverse ? t + 1 : t - 1;
    tape_[i] = record(b, t);
    h_[i] = y_.row(b, t);
    if (b_.dy) dy_[i] = b_.dy.row(b, t);
    h_previous_[i] = !first ? y_.row(b, previous) : f_.initial[0] ? f_.initial[0] + b * r_.H : zeros_;
    if (r_.cell.states > 1)
      c_previous_[i] = !first ? record(b, previous) + r_.cell.state_slot * Hp_ : f_.initial[1] ? f_.initial[1] + b * r_.H : zeros_;
    // A row that ends here, or the next step, has nothing further to fetch.
    const Index second = f_.reverse ? t + 2 : t - 2;
    const bool last_but_one = f_.reverse ? second > last : second < 0;
    tape_ahead_[i] = first ? tape_[i] : record(b, previous);
    dy_ahead_[i] = first || !b_.dy ? h_[i] : b_.dy.row(b, previous);
    h_ahead_[i] = first || last_but_one ? h_[i] : y_.row(b, second);
    c_ahead_[i] = first || last_but_one || r_.cell.states == 1 ? h_[i] : record(b, second) + r_.cell.state_slot * Hp_;
  }

  void finish(Index j, Index begin, Index end) {
    const float* state[] = {dh_, dc_};
    for (int k = 0; k < r_.cell.states; ++k)
      if (b_.d_initial[k] && begin < end)
        isa::kernels().axpy(1.0f, state[k] + j * Hp_ + begin, b_.d_initial[k] + row(j) * r_.H + begin, end - begin);
  }

  const Backward& b_;
  const Forward& f_;
  const Slice slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, M_;
  const int members_;
  const Strided<float> y_;
  float *dh_, *dc_, *dq_, *zeros_;
  float **tape_, **d_rows_;
  const float **product_, **h_previous_, **c_previous_, **h_, **dy_;
  const float **tape_ahead_, **dy_ahead_, **h_ahead_, **c_ahead_;
};

// Rows without a valid step hand their gradient from the final to the initial state.
void pass_empty_rows(const Backward& run) {
  const Forward& f = run.forward;
  const auto& r = Engine::impl(*f.layer);
  for (Index b = 0; b < (run.d_initial[0] || run.d_initial[1] ? f.B : 0); ++b)
    for (int k = 0; length_of(f, b) == 0 && k < r.cell.states; ++k)
      if (run.d_final[k] && run.d_initial[k]) isa::kernels().axpy(1.0f, run.d_final[k] + b * r.H, run.d_initial[k] + b * r.H, r.H);
}

// Where threads are to spare, or layers wait for one another, more and shorter chunks keep them busy.
Index chunk_steps(const Plan& plan, const Forward& f) {
  constexpr Index kChunks = 4, kLeastPairs = 8;
  const Index B = std::max<Index>(f.B, 1), most = std::max<Index>(kChunkPairs / B, 1), T = std::max<Index>(f.T, 1);
  if (plan.alone() || (!plan.wavefront && plan.slices * plan.members >= plan.threads)) return std::min(most, T);
  return std::clamp<Index>((T + kChunks - 1) / kChunks, std::min((kLeastPairs + B - 1) / B, most), most);
}

class BackwardCall {
 public:
  BackwardCall(std::span<const Backward> runs, const Plan& plan, Scratch& scratch)
      : plan_(plan),
        R_(static_cast<Index>(runs.size())),
        lag_(plan.alone() ? 0 : 1),
        meeting_(plan.threads),
        dealer_(plan.threads, scratch),
        work_(scratch.take<float>(plan.threads * isa::kernels().gemm_tn_work).data()) {
    runs_ = scratch.take<Run>(R_).data();
    slices_ = scratch.take<BackwardSlice>(R_ * plan.slices).data();
    meetings_ = scratch.take<runtime::Barrier>(plan.groups).data();
    for (int g = 0; g < plan.groups; ++g) new (&meetings_[g]) runtime::Barrier(plan.members);
    for (Index r = 0; r < R_; ++r) {
      const Backward& b = runs[static_cast<std::size_t>(r)];
      const Forward& f = b.forward;
      const Index chunk = chunk_steps(plan, f);
      const Run* const first = plan.stacked ? nullptr : with_this_dx(runs, r);
      new (&runs_[r]) Run{&f,
                          chunk,
                          (f.T + chunk - 1) / chunk,
                          b.source ? runs_[b.source - runs.data()].start + lag_ + 1 : 0,
                          first,
                          {},
                          LargeProducts(b, chunk, first ? 2 : 1, plan.threads, scratch)};
      phases_ = std::max(phases_, runs_[r].start + runs_[r].chunks + lag_);
      const std::span<Slice> slices = slice_rows(f, plan.slices, scratch);
      for (Index s = 0; s < plan.slices; ++s)
        new (&slices_[r * plan.slices + s]) BackwardSlice(b, slices[static_cast<std::size_t>(s)], plan.members, scratch);
    }
  }

  void run(int thread) {
    Index dealt = 0;
    for (Index phase = 0; phase < phases_; ++phase) {
      for (Index r = 0; r < R_; ++r) sweep(r, phase - runs_[r].start, thread);
      // Directions add to the same dx, each after the one before it. All else may be done in any order.
      const Index turns = plan_.stacked ? 1 : R_;
      for (Index turn = 0; turn < turns; ++turn) {
        products(phase - lag_, turn, thread, dealt);
        meeting_.wait();
      }
    }
  }

 private:
  struct Run {
    const Forward* forward;
    Index chunk, chunks;
    Index start;       // phase of the first chunk
    const Run* first;  // the direction that adds to the same dx before this one; null: there is none
    Steps done;        // where this one's input gradients have been listed
    LargeProducts products;

    // Chunk i's steps, in the order of the sweep.
    Index low(Index i) const { return forward->reverse ? i * chunk : std::max<Index>(forward->T - (i + 1) * chunk, 0); }
    Index high(Index i) const { return forward->reverse ? std::min((i + 1) * chunk, forward->T) : forward->T - i * chunk; }

    // Chunk i has been swept. Which direction comes first at a time step must not follow from how far their sweeps are there, that
    // is from the chunks and so from the number of rows: the second waits at each step for the first. Where the sweeps come from
    // opposite ends, it has nothing to add until they meet, and from then on what lies between them, a span at either end.
    void list(Index i) {
      Steps now{forward->reverse ? 0 : low(i), forward->reverse ? high(i) : forward->T};
      if (first) now = {std::max(now.low, first->done.low), std::min(now.high, first->done.high)};
      if (now.empty()) now = {};
      const Steps before = done.empty() ? Steps{now.low, now.low} : done;
      products.list(i, {low(i), high(i)}, {{now.low, before.low}, {before.high, now.high}});
      done = now;
    }
  };

  // The last of the runs before r that adds to the same dx.
  const Run* with_this_dx(std::span<const Backward> runs, Index r) const {
    const float* const dx = runs[static_cast<std::size_t>(r)].dx.data;
    for (Index before = r - 1; dx != nullptr && before >= 0; --before)
      if (runs[static_cast<std::size_t>(before)].dx.data == dx) return &runs_[before];
    return nullptr;
  }

  void sweep(Index r, Index chunk, int thread) {
    if (chunk < 0 || chunk >= runs_[r].chunks) return;
    const Index low = runs_[r].low(chunk), high = runs_[r].high(chunk);
    if (thread == plan_.threads - 1) runs_[r].list(chunk);
    const int group = thread / plan_.members, member = thread % plan_.members;
    for (Index s = 0; s < plan_.slices && group < plan_.groups; ++s)
      if (plan_.group_of(r, R_, s) == group) slices_[r * plan_.slices + s].sweep(low, high, member, meetings_[group]);
  }

  // What all threads share of a phase's products: in the first turn those of the weights, and in each the input gradients of the
  // directions whose turn it is.
  void products(Index phase, Index turn, int thread, Index& dealt) {
    const auto each = [&](auto&& f) {
      for (Index r = 0; r < R_; ++r) {
        const Index chunk = phase - runs_[r].start;
        if (chunk < 0 || chunk >= runs_[r].chunks) continue;
        if (turn == 0) f(runs_[r].products.weight_tiles(), r, chunk, true);
        if (plan_.stacked || turn == r) f(runs_[r].products.input_tiles(chunk), r, chunk, false);
      }
    };
    Index count = 0;
    each([&](Index tiles, Index, Index, bool) { count += tiles; });
    if (count == 0) return;
    float* const work = work_ + thread * isa::kernels().gemm_tn_work;
    dealer_.deal(count, thread, dealt++, [&](Index i) {
      each([&](Index tiles, Index r, Index chunk, bool weights) {
        if (i >= 0 && i < tiles) weights ? runs_[r].products.weights(chunk, i, work) : runs_[r].products.input(chunk, i);
        i -= tiles;
      });
    });
  }

  const Plan& plan_;
  const Index R_, lag_;
  Index phases_ = 0;
  runtime::Barrier meeting_;
  Dealer dealer_;
  float* const work_;  // of the weights' products, by thread
  runtime::Barrier* meetings_;
  Run* runs_;
  BackwardSlice* slices_;
};

// Without a time step there are no products to write the gradients.
void clear_gradients(const Backward& run) {
  if (!run.fresh || run.forward.T > 0) return;
  const auto& r = Engine::impl(*run.forward.layer);
  const Index GH = r.cell.gates * r.H;
  if (run.d_weights.kernel) std::fill_n(run.d_weights.kernel, r.I * GH, 0.0f);
  if (run.d_weights.recurrent_kernel) std::fill_n(run.d_weights.recurrent_kernel, r.H * GH, 0.0f);
  if (run.d_weights.bias) std::fill_n(run.d_weights.bias, r.cell.recurrent_bias ? 2 * GH : GH, 0.0f);
  if (run.d_weights.peephole) std::fill_n(run.d_weights.peephole, r.cell.peepholes * r.H, 0.0f);
}

}  // namespace

void backward(std::span<const Backward> runs) {
  const FlushDenormals flush;
  double work = 0;
  for (const Backward& run : runs) {
    pass_empty_rows(run);
    clear_gradients(run);
    const auto& r = Engine::impl(*run.forward.layer);
    r.prepare_backward(run.weights, r.cell.phases > 1 || run.forward.T > 1 || run.d_initial[0], static_cast<bool>(run.dx));
    work += 2 * flops(run.forward);
  }
  ScratchUse scratch;
  run_planned(make_plan(runs, work, isa::kernels().panel), *scratch,
              [&](const Plan& plan) { return BackwardCall(runs, plan, *scratch); });
}

}  // namespace rekur::recurrent
