// The backward pass. Each slice sweeps its steps in the opposite order of the forward pass, a chunk at a time, leaving the
// gradients of all pre-activations in the tape. Then the chunk's (time step, row) pairs go into the large products: weight
// gradients, split over what they write, and input gradients. With several threads these products lag a chunk behind, so that
// whoever has no slice to sweep, or is done, works on them.
#include "isa/dispatch.hpp"
#include "recurrent/backward_slice.hpp"
#include "recurrent/large_products.hpp"
#include "recurrent/parts.hpp"
#include "recurrent/plan.hpp"
#include "recurrent/windows.hpp"
#include "rekur/denormals.hpp"

namespace rekur::recurrent {
namespace {

// Pairs of a chunk: enough for the products, few enough to be still in a cache.
constexpr Index kChunkPairs = 256;

// Rows without a valid step hand their gradient from the final to the initial state.
void pass_empty_gradients(const Backward& run) {
  const Forward& f = run.forward;
  const auto& r = Engine::impl(*f.layer);
  const auto wanted = [](const float* state) { return state != nullptr; };
  for (Index b = 0; b < (std::any_of(std::begin(run.d_initial), std::end(run.d_initial), wanted) ? f.B : 0); ++b)
    for (int k = 0; length_of(f, b) == 0 && k < r.cell.states; ++k)
      if (run.d_final[k] && run.d_initial[k])
        isa::kernels().axpy(1.0f, run.d_final[k] + b * r.width(k), run.d_initial[k] + b * r.width(k), r.width(k));
}

// Where threads are to spare, or layers wait for one another, more and shorter chunks keep them busy.
Index backward_chunk(const Plan& plan, const Forward& f, bool by_groups) {
  constexpr Index kChunks = 4, kLeastPairs = 8;
  const Index B = std::max<Index>(f.B, 1), most = std::max<Index>(kChunkPairs / B, 1), T = std::max<Index>(f.T, 1);
  const Index steps = plan.alone() || (!plan.wavefront && plan.slices * plan.members >= plan.threads)
                          ? std::min(most, T)
                          : std::clamp<Index>((T + kChunks - 1) / kChunks, std::min((kLeastPairs + B - 1) / B, most), most);
  return by_groups ? up_to(steps, steps_together(B)) : steps;
}

class BackwardCall {
 public:
  BackwardCall(std::span<const Backward> runs, const Plan& plan, Scratch& scratch)
      : plan_(plan),
        R_(static_cast<Index>(runs.size())),
        lag_(plan.alone() ? 0 : 1),
        groups_(plan, R_, scratch),
        work_size_(isa::kernels().gemm_tn_work),
        work_(scratch.take<float>(plan.threads * work_size_).data()) {
    runs_ = scratch.take<Run>(R_).data();
    slices_ = scratch.take<BackwardSlice>(R_ * plan.slices).data();
    // The same for all runs: a layer sweeps a chunk when the one above has left its gradients.
    const bool by_groups =
        std::any_of(runs.begin(), runs.end(), [](const Backward& b) { return sums_by_groups(Engine::impl(*b.forward.layer)); });
    for (Index r = 0; r < R_; ++r) {
      const Backward& b = runs[static_cast<std::size_t>(r)];
      const Forward& f = b.forward;
      const Index chunk = backward_chunk(plan, f, by_groups);
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

  void run() {
    // Directions add to the same dx: each after the one before it. All else may be done in any order.
    const Index turns = plan_.stacked ? 1 : R_;
    for (Index phase = 0; phase < phases_; ++phase) {
      if (plan_.alone()) {  // the products of a chunk follow its sweep
        list(phase);
        for (Index n = 0; n < groups_.most(); ++n) sweep(0, n, 0, phase, 0);
      }
      for (Index turn = 0; turn < turns; ++turn) work(phase, turn);
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

    // Chunk i's steps, in the order of the sweep. The first one swept may be shorter.
    Index begin(Index i) const { return (chunks - 1 - i) * chunk; }  // steps before it, as the run goes
    Index end(Index i) const { return std::min((chunks - i) * chunk, forward->T); }
    Index low(Index i) const { return forward->reverse ? forward->T - end(i) : begin(i); }
    Index high(Index i) const { return forward->reverse ? forward->T - begin(i) : end(i); }

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

  // f(run, chunk) for the runs that have a chunk in a phase.
  template <class F>
  void each(Index phase, F&& f) {
    for (Index r = 0; r < R_; ++r) {
      const Index chunk = phase - runs_[r].start;
      if (chunk >= 0 && chunk < runs_[r].chunks) f(runs_[r], chunk);
    }
  }

  // In the order of the directions.
  void list(Index phase) {
    each(phase, [](Run& run, Index chunk) { run.list(chunk); });
  }

  // A round of the n-th task of a group.
  void sweep(int group, Index n, Index round, Index phase, int member) {
    const std::span<const Index> own = groups_.of(group);
    if (n >= static_cast<Index>(own.size())) return;
    const Index task = own[static_cast<std::size_t>(n)];
    const Run& run = runs_[task / plan_.slices];
    const Index chunk = phase - run.start;
    if (chunk < 0 || chunk >= run.chunks) return;
    if (plan_.members > 1)
      slices_[task].round(run.low(chunk), run.high(chunk), round, member);
    else
      slices_[task].sweep(run.low(chunk), run.high(chunk));
  }

  // What is done side by side: in the first turn the sweeps, unless they are done already, the lists of what they leave, and of the
  // chunk before theirs the products of the weights; in each turn the input gradients of the directions whose turn it is.
  void work(Index phase, Index turn) {
    const Index behind = phase - lag_;
    const bool sweeps = turn == 0 && !plan_.alone();
    Index meetings = 1, tiles = 0, swept = 0;
    each(phase, [&](const Run&, Index) { ++swept; });
    for (Index task = 0; sweeps && plan_.members > 1 && task < R_ * plan_.slices; ++task) {
      const Run& run = runs_[task / plan_.slices];
      const Index chunk = phase - run.start;
      if (chunk >= 0 && chunk < run.chunks) meetings = std::max(meetings, slices_[task].rounds(run.low(chunk), run.high(chunk)));
    }
    const auto each_product = [&](auto&& f) {
      each(behind, [&](const Run& run, Index chunk) {
        if (turn == 0) f(run.products.weight_tiles(), run.products, chunk, true);
        if (plan_.stacked || turn == &run - runs_) f(run.products.input_tiles(chunk), run.products, chunk, false);
      });
    };
    each_product([&](Index n, const LargeProducts&, Index, bool) { tiles += n; });
    const Index lists = sweeps && swept > 0 ? 1 : 0;
    runtime::run(plan_.threads, {.tracks = sweeps && swept > 0 ? plan_.groups : 0,
                                 .members = plan_.members,
                                 .rounds = groups_.most() * meetings,
                                 .pieces = tiles + lists,
                                 .item =
                                     [&](int group, Index round, int member) {
                                       const auto [n, meeting] = divide(round, meetings);
                                       sweep(group, n, meeting, phase, member);
                                       return true;
                                     },
                                 .piece =
                                     [&](Index i, int thread) {
                                       // The last: those who have nothing to sweep come to it first.
                                       if (i == tiles) return list(phase);
                                       each_product([&](Index n, const LargeProducts& products, Index chunk, bool weights) {
                                         if (i >= 0 && i < n)
                                           weights ? products.weights(chunk, i, work_ + thread * work_size_)
                                                   : products.input(chunk, i);
                                         i -= n;
                                       });
                                     }});
  }

  const Plan& plan_;
  const Index R_, lag_;
  const Groups groups_;
  const Index work_size_;
  float* const work_;  // of the large products, by thread
  Index phases_ = 0;
  Run* runs_;
  BackwardSlice* slices_;
};

#if REKUR_EQUATIONS
// A part a round; each thread has neighbouring ones, whose rows it had in the forward pass.
void in_parts(std::span<const Backward> runs, const PartSums& sums, double work, Scratch& scratch) {
  const Index parts = sums.parts;
  const std::span<Backward> own = cut(runs, sums, scratch);
  Plan alone;
  alone.stacked = runs.back().source != nullptr;
  BackwardCall* const calls = scratch.take<BackwardCall>(parts).data();
  for (Index part = 0; part < parts; ++part)
    new (&calls[part]) BackwardCall(own.subspan(static_cast<std::size_t>(part) * runs.size(), runs.size()), alone, scratch);
  const int threads = threads_of(work, parts);
  runtime::run(threads, {.tracks = threads, .rounds = (parts + threads - 1) / threads, .item = [&](int track, Index round, int) {
                           const Index part = parts * track / threads + round;
                           if (part < parts * (track + 1) / threads) calls[part].run();
                           return true;
                         }});
  if (sums.last) add_up(own, parts);
}
#endif

// Without a time step there are no products to write the gradients.
void clear_gradients(const Backward& run) {
  if (!run.fresh || run.forward.T > 0) return;
  const auto& r = Engine::impl(*run.forward.layer);
  const Index XH = r.cell.kernel_blocks * r.H, RH = r.cell.recurrent_blocks * r.H;
  if (run.d_weights.kernel) std::fill_n(run.d_weights.kernel, r.I * XH, 0.0f);
  if (run.d_weights.recurrent_kernel) std::fill_n(run.d_weights.recurrent_kernel, r.P * RH, 0.0f);
  if (run.d_weights.projection) std::fill_n(run.d_weights.projection, r.H * r.P, 0.0f);
  if (run.d_weights.bias) std::fill_n(run.d_weights.bias, XH + (r.cell.recurrent_bias ? RH : 0), 0.0f);
  if (run.d_weights.unit_weights)
    std::fill_n(run.d_weights.unit_weights, static_cast<Index>(r.cell.unit_weights.size()) * r.H, 0.0f);
}

// What the sweep has added up by row, row after row.
void add_unit_sums(const Backward& run) {
  const float* const sums = unit_sums_of(run);
  if (!sums) return;
  const auto& r = Engine::impl(*run.forward.layer);
  const Index Hp = padded(r.H), row = r.cell.swept * Hp, B = run.forward.B;
  const auto& weights = r.cell.unit_weights;
  runtime::parallel_range(r.H, 64, static_cast<double>(B * row), [&](Index begin, Index end) {
    for (std::size_t w = 0; w < weights.size(); ++w) {
      if (weights[w].with != UnitWeight::With::swept) continue;
      float* const to = run.d_weights.unit_weights + static_cast<Index>(w) * r.H;
      if (run.fresh) std::fill(to + begin, to + end, 0.0f);
      for (Index b = 0; b < B; ++b)
        isa::kernels().add(to + begin, sums + b * row + weights[w].slot * Hp + begin, to + begin, end - begin);
    }
  });
}

}  // namespace

void backward(std::span<const Backward> runs) {
  for (const Backward& run : runs)
    if (float* const sums = unit_sums_of(run))
      std::fill_n(sums, unit_sums_size(Engine::impl(*run.forward.layer), run.forward.B), 0.0f);
  if (in_windows(runs[0].forward))
    backward_in_windows(runs);
  else
    backward(runs, PartSums(runs));
  for (const Backward& run : runs) add_unit_sums(run);
}

void backward(std::span<const Backward> runs, [[maybe_unused]] const PartSums& sums) {
  const FlushDenormals flush;
  double work = 0;
  for (const Backward& run : runs) {
    pass_empty_gradients(run);
    clear_gradients(run);
    const auto& r = Engine::impl(*run.forward.layer);
    const bool initial =
        std::any_of(std::begin(run.d_initial), std::end(run.d_initial), [](const float* d) { return d != nullptr; });
    r.prepare_backward(run.weights, r.cell.phases > 1 || run.forward.T > 1 || initial, static_cast<bool>(run.dx));
    work += 2 * flops(run.forward);
  }
  ScratchUse scratch;
#if REKUR_EQUATIONS
  if (sums.parts > 1) return in_parts(runs, sums, work, *scratch);
#endif
  const Plan plan = make_plan(runs, work, isa::kernels().panel);
  BackwardCall(runs, plan, *scratch).run();
}

}  // namespace rekur::recurrent
