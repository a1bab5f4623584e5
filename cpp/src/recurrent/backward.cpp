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
        Pp_(r_.P == r_.H ? Hp_ : padded(r_.P)),
        M_(slice.rows()),
        y_(outputs(f_)) {
    const auto take_zeros = [&](Index stride) {
      const Index size = M_ * stride;
      float* const zeros = scratch.take<float>(size).data();
      std::memset(zeros, 0, static_cast<std::size_t>(size) * sizeof(float));
      return zeros;
    };
    for (int k = 0; k < r_.cell.states; ++k) d_state_[k] = take_zeros(stride(k));
    d_source_ = scratch.take<float*>(static_cast<Index>(r_.cell.products.size())).data();
    for (std::size_t p = 0; p < r_.cell.products.size(); ++p) {
      const Product& product = r_.cell.products[p];
      d_source_[p] = product.continues ? d_source_[p - 1] : product.state < 0 ? take_zeros(Hp_) : d_state_[product.state];
    }
    const Index panel = isa::kernels().panel;
    for (auto [units, width] : {std::pair(&units_, Hp_), std::pair(&projected_units_, Pp_)}) {
      const Index panels = (width + panel - 1) / panel;
      *units = scratch.take<Units>(members).data();
      for (int m = 0; m < members; ++m)
        (*units)[m] = {std::min(panels * m / members * panel, width), std::min(panels * (m + 1) / members * panel, width)};
    }
    zeros_ = scratch.take<float>(Hp_).data();
    std::memset(zeros_, 0, static_cast<std::size_t>(Hp_) * sizeof(float));
    for (int k = 0; k < r_.cell.states; ++k)
      for (Index j = 0; b_.d_final[k] && j < M_; ++j)
        std::copy_n(b_.d_final[k] + row(j) * r_.width(k), r_.width(k), d_state_[k] + j * stride(k));
    for (auto* rows : {&tape_, &d_rows_}) *rows = scratch.take<float*>(members * M_).data();
    for (auto* rows : {&product_, &h_, &dy_, &tape_ahead_, &dy_ahead_, &h_ahead_, &c_ahead_})
      *rows = scratch.take<const float*>(members * M_).data();
    for (int k = 0; k < r_.cell.states; ++k) previous_[k] = scratch.take<const float*>(members * M_).data();
#if REKUR_EQUATIONS
    if (r_.program) take_for_program(members, scratch);
#endif
  }

  // All of steps [low, high), for a slice that one thread has to itself.
  void sweep(Index low, Index high) {
    if (r_.alone()) return steps(low, high, 0);
    for (Index i = 0; i < rounds(low, high); ++i) round(low, high, i, 0);
  }

  // The steps in rounds between which members meet. Between two kernels a member needs the others' gradients only for the product
  // that brings them to its own units: so that belongs to the round of the next kernel, and there is one more round than kernels.
  Index rounds(Index low, Index high) const {
    const Index count = std::min(high, slice_.steps()) - low;
    return count <= 0 ? 0 : r_.alone() ? 1 : count * r_.cell.phases + 1;
  }
  void round(Index low, Index high, Index round, int member) {
    const Index n = rounds(low, high), phases = r_.cell.phases;
    if (round >= n) return;
    if (r_.alone()) return steps(low, high, member);
    const auto call = [&](Index i, auto f) {
      const auto [step, p] = divide(i, phases);
      (this->*f)(f_.reverse ? low + step : std::min(high, slice_.steps()) - 1 - step, static_cast<int>(phases - 1 - p), member);
    };
    if (round > 0) call(round - 1, &BackwardSlice::product);
    if (round + 1 < n) call(round, &BackwardSlice::kernel);
  }

 private:
  Index stride(int k) const { return k == 0 ? Pp_ : Hp_; }  // of state k's rows
  float* record(Index b, Index t) const { return f_.tape + (t * f_.B + b) * r_.record(Hp_); }
  Index row(Index j) const { return slice_.row[static_cast<std::size_t>(j)]; }

  struct Units {
    Index begin, end;
  };

  // Whether step t is the first of one of its rows.
  bool begins(Index t) const { return f_.reverse ? slice_.active(t + 1) < slice_.active(t) : t == 0; }

  // A member's units in all of steps [low, high) where no unit waits for another: as many in a call as have the same rows, all of
  // which have a step before them.
  void steps(Index low, Index high, int member) {
    const Index count = std::min(high, slice_.steps()) - low;
    const auto time = [&](Index i) { return f_.reverse ? low + i : low + count - 1 - i; };
    for (Index i = 0, n = 1; i < count; i += n, n = 1) {
      const Index active = slice_.active(time(i));
      while (through_time_ && i + n < count && !begins(time(i + n - 1)) && !begins(time(i + n)) &&
             slice_.active(time(i + n)) == active)
        ++n;
      kernel_of(time(i), 0, member, n);
      product(time(i + n - 1), 0, member);
    }
  }

  void kernel(Index t, int phase, int member) { kernel_of(t, phase, member, 1); }

  // The equations of step t, and of so many together.
  void kernel_of(Index t, int phase, int member, [[maybe_unused]] Index count) {
    const Index active = slice_.active(t), own = member * M_;
    const Index ahead = f_.reverse ? t + 1 : t - 1;
    const Units units = units_[member];
    for (Index j = 0; j < active; ++j) point(j, t, own);

#if REKUR_EQUATIONS
    if (r_.projects(phase)) return projection_kernel(t, member);
    if (r_.program) return program_kernel(t, phase, member, count);
#endif
    kernels::StepBackward s{};
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.begin = units.begin;
    s.end = units.end;
    s.tape = tape_ + own;
    if (ahead >= 0 && ahead < slice_.steps()) {
      s.tape_ahead = tape_ahead_ + own;
      s.dy_ahead = dy_ahead_ + own;
      s.h_ahead = h_ahead_ + own;
      s.c_ahead = c_ahead_ + own;
    }
    s.h_previous = previous_[0] + own;
    s.c_previous = r_.cell.states > 1 ? previous_[1] + own : nullptr;
    s.dy = b_.dy ? dy_ + own : nullptr;
    s.dh = d_state_[0];
    s.dc = d_state_[1];
    s.peephole = r_.packed.unit_weights.data();
    s.activations = &r_.activations;
    s.d_product = phase < r_.cell.phases - 1 ? d_source_[phase + 1] : nullptr;
    r_.steps().backward[phase](s);
  }

#if REKUR_EQUATIONS
  void take_for_program(int members, Scratch& scratch) {
    const Program& program = *r_.program;
    memory_size_ = program.memory(M_, r_.H);
    memory_ = scratch.take<float>(members * memory_size_).data();
    for (int i = 0; i < program.step_inputs(); ++i) {
      step_rows_[i] = scratch.take<const float*>(members * M_).data();
      d_step_rows_[i] = scratch.take<float*>(members * M_).data();
    }
    for (std::size_t i = 0; i < kMostMasks; ++i)
      mask_rows_[i] = program.masks()[i] ? scratch.take<const float*>(members * M_).data() : nullptr;
    through_time_ = program.goes_through_time(isa::kernels(), true);
    even_ = !f_.lengths && slice_.even();  // with lengths some rows have a step before them and some not
  }

  void program_kernel(Index t, int phase, int member, Index count) {
    const Program& program = *r_.program;
    const Index active = slice_.active(t), own = member * M_;
    const bool with_steps = program.step_inputs() > 0;
    ConstRows step[kMostStepInputs], previous[kMostStates];
    Rows d_step[kMostStepInputs];
    Index step_steps[kMostStepInputs], d_step_steps[kMostStepInputs];
    const Index onwards = f_.reverse ? 1 : -1;
    for (int i = 0; with_steps && i < program.step_inputs(); ++i) {
      const bool wanted = b_.d_step && b_.d_step[i];
      for (Index j = 0; j < active; ++j) {
        step_rows_[i][own + j] = f_.step[i].row(row(j), t);
        if (wanted) d_step_rows_[i][own + j] = b_.d_step[i].row(row(j), t);
      }
      step[i] = step_rows_[i] + own;
      d_step[i] = wanted ? d_step_rows_[i] + own : nullptr;
      step_steps[i] = onwards * f_.step[i].stride_t;
      d_step_steps[i] = wanted ? onwards * b_.d_step[i].stride_t : 0;
    }
    for (int k = 0; k < r_.cell.states; ++k) previous[k] = previous_[k] + own;
    ConstRows masks[kMostMasks] = {};
    Index mask_steps[kMostMasks] = {};
    for (int i = 0; i < kMostMasks; ++i) {
      if (!mask_rows_[i]) continue;
      mask_steps[i] = onwards * f_.masks[i].stride_t;
      for (Index j = 0; j < active; ++j) mask_rows_[i][own + j] = f_.masks[i].row(row(j), t);
      masks[i] = mask_rows_[i] + own;
    }
    ProgramBackward s{};
    s.steps = count;
    s.y_step = onwards * y_.stride_t;
    s.dy_step = onwards * b_.dy.stride_t;
    s.tape_step = onwards * f_.B * r_.record(Hp_);
    s.step_steps = step_steps;
    s.d_step_steps = d_step_steps;
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.begin = units_[member].begin;
    s.end = std::min(units_[member].end, r_.H);
    s.even = even_;
    s.tape = tape_ + own;
    s.previous = previous;
    s.h = h_ + own;
    s.dy = b_.dy ? dy_ + own : nullptr;
    s.d_state = d_state_;
    s.d_source = d_source_;
    s.unit_weights = r_.packed.unit_weights.data();
    s.step = step;
    s.masks = masks;
    s.mask_steps = mask_steps;
    s.d_step = d_step;
    s.kernels = &isa::kernels();
    s.memory = memory_ + member * memory_size_;
    program.backward(phase, s);
  }
#endif

  // What arrives at the first state is the gradient of the projection; nothing of it reaches the state before but by products.
  void projection_kernel(Index t, int member) {
    const Index active = slice_.active(t), own = member * M_, P = r_.P;
    const auto [begin, last] = projected_units_[member];
    const Index end = std::min(last, P);
    for (Index j = 0; j < active && begin < last; ++j) {
      float* const d_state = d_state_[0] + j * Pp_;
      float* const gradient = tape_[own + j] + r_.cell.products.back().first * Hp_;
      if (b_.dy && begin < end)
        isa::kernels().add(d_state + begin, dy_[own + j] + begin, gradient + begin, end - begin);
      else
        std::copy(d_state + begin, d_state + std::max(begin, end), gradient + begin);
      std::fill(gradient + std::max(begin, end), gradient + last, 0.0f);
      std::fill(d_state + begin, d_state + last, 0.0f);
    }
  }

  void product(Index t, int phase, int member) {
    const Index active = slice_.active(t);
    // Nobody asks for the gradient of the initial state: the product that would bring it there is left out.
    const bool first = t == (f_.reverse ? slice_.steps() - 1 : 0);
    for (std::size_t p = 0; p < r_.cell.products.size(); ++p) {
      const Product& product = r_.cell.products[p];
      if (product.phase != phase || (first && product.state >= 0 && !b_.d_initial[product.state])) continue;
      const Index width = r_.rows(product);
      const auto [begin, end] = (product.state == 0 ? projected_units_ : units_)[member];
      back_through(p, t, active, begin, std::min(end, width), member * M_);
    }
    if (phase > 0) return;
    // Rows whose first step this was.
    for (Index j = f_.reverse ? slice_.active(t + 1) : 0; j < (!f_.reverse && t > 0 ? 0 : active); ++j) finish(j, member);
  }

  // The gradient of units [begin, end) of what a recurrent product multiplied.
  void back_through(std::size_t p, Index t, Index active, Index begin, Index end, Index own) {
    if (begin >= end) return;
    const Product& product = r_.cell.products[p];
    const Index K = product.count * (product.projects ? Pp_ : Hp_), stride = product.state == 0 ? Pp_ : Hp_;
    for (Index j = 0; j < active; ++j) {
      product_[own + j] = record(row(j), t) + product.first * Hp_;
      d_rows_[own + j] = d_source_[p] + j * stride;
    }
    isa::kernels().gemm(active, end - begin, K, product_ + own, r_.packed.recurrent_transposed[p].data() + begin * K, nullptr,
                        d_rows_ + own, begin, product.state >= 0 || product.continues);
  }

  // Where row j's operands of step t stand.
  void point(Index j, Index t, Index own) {
    const Index b = row(j), last = slice_.length[static_cast<std::size_t>(j)] - 1, i = own + j;
    const bool first = f_.reverse ? t == last : t == 0;
    const Index previous = f_.reverse ? t + 1 : t - 1;
    tape_[i] = record(b, t);
    h_[i] = y_.row(b, t);
    if (b_.dy) dy_[i] = b_.dy.row(b, t);
    for (int k = 0; k < r_.cell.states; ++k)
      previous_[k][i] = first    ? (f_.initial[k] ? f_.initial[k] + b * r_.width(k) : zeros_)
                        : k == 0 ? y_.row(b, previous)
                                 : record(b, previous) + r_.state_slot(k) * Hp_;
    if (r_.program) return;
    // A row that ends here, or the next step, has nothing further to fetch.
    const Index second = f_.reverse ? t + 2 : t - 2;
    const bool last_but_one = f_.reverse ? second > last : second < 0;
    tape_ahead_[i] = first ? tape_[i] : record(b, previous);
    dy_ahead_[i] = first || !b_.dy ? h_[i] : b_.dy.row(b, previous);
    h_ahead_[i] = first || last_but_one ? h_[i] : y_.row(b, second);
    c_ahead_[i] = first || last_but_one || r_.cell.states == 1 ? h_[i] : record(b, second) + r_.state_slot(1) * Hp_;
  }

  void finish(Index j, int member) {
    for (int k = 0; k < r_.cell.states; ++k) {
      const Index width = r_.width(k);
      const auto [begin, last] = (k == 0 ? projected_units_ : units_)[member];
      const Index end = std::min(last, width);
      if (b_.d_initial[k] && begin < end)
        isa::kernels().axpy(1.0f, d_state_[k] + j * stride(k) + begin, b_.d_initial[k] + row(j) * width + begin, end - begin);
    }
  }

  const Backward& b_;
  const Forward& f_;
  const Slice slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, Pp_, M_;
  const Strided<float> y_;
  Units *units_, *projected_units_;                         // of each member: of H, of P
  float *d_state_[kMostStates] = {}, **d_source_, *zeros_;  // d_source_: by product, of what it multiplied
  float **tape_, **d_rows_;
  const float **product_, **previous_[kMostStates] = {}, **h_, **dy_;
  const float **tape_ahead_, **dy_ahead_, **h_ahead_, **c_ahead_;
#if REKUR_EQUATIONS
  float* memory_ = nullptr;
  Index memory_size_ = 0;
  const float **step_rows_[kMostStepInputs] = {}, **mask_rows_[kMostMasks] = {};
  float** d_step_rows_[kMostStepInputs] = {};
  bool even_ = false;  // the addresses of rows' operands are evenly spaced
#endif
  bool through_time_ = false;  // a call takes many steps
};

// Rows without a valid step hand their gradient from the final to the initial state.
void pass_empty_rows(const Backward& run) {
  const Forward& f = run.forward;
  const auto& r = Engine::impl(*f.layer);
  const auto wanted = [](const float* state) { return state != nullptr; };
  for (Index b = 0; b < (std::any_of(std::begin(run.d_initial), std::end(run.d_initial), wanted) ? f.B : 0); ++b)
    for (int k = 0; length_of(f, b) == 0 && k < r.cell.states; ++k)
      if (run.d_final[k] && run.d_initial[k])
        isa::kernels().axpy(1.0f, run.d_final[k] + b * r.width(k), run.d_initial[k] + b * r.width(k), r.width(k));
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
        groups_(plan, R_, scratch),
        work_(scratch.take<float>(plan.threads * isa::kernels().gemm_tn_work).data()) {
    runs_ = scratch.take<Run>(R_).data();
    slices_ = scratch.take<BackwardSlice>(R_ * plan.slices).data();
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
                                           weights ? products.weights(chunk, i, work_ + thread * isa::kernels().gemm_tn_work)
                                                   : products.input(chunk, i);
                                         i -= n;
                                       });
                                     }});
  }

  const Plan& plan_;
  const Index R_, lag_;
  const Groups groups_;
  float* const work_;  // of the weights' products, by thread
  Index phases_ = 0;
  Run* runs_;
  BackwardSlice* slices_;
};

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

}  // namespace

void backward(std::span<const Backward> runs) {
  const FlushDenormals flush;
  double work = 0;
  for (const Backward& run : runs) {
    pass_empty_rows(run);
    clear_gradients(run);
    const auto& r = Engine::impl(*run.forward.layer);
    const bool initial =
        std::any_of(std::begin(run.d_initial), std::end(run.d_initial), [](const float* d) { return d != nullptr; });
    r.prepare_backward(run.weights, r.cell.phases > 1 || run.forward.T > 1 || initial, static_cast<bool>(run.dx));
    work += 2 * flops(run.forward);
  }
  ScratchUse scratch;
  const Plan plan = make_plan(runs, work, isa::kernels().panel);
  BackwardCall(runs, plan, *scratch).run();
}

}  // namespace rekur::recurrent
