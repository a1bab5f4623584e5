// The forward pass: for each slice, chunk by chunk, the input projection of some time steps and then those steps.
#include <cstring>

#include "isa/dispatch.hpp"
#include "recurrent/plan.hpp"
#include "recurrent/step_records.hpp"
#include "recurrent/windows.hpp"
#include "rekur/denormals.hpp"
#include "rekur/detail/compiler.hpp"
#include "runtime/locks.hpp"

namespace rekur::recurrent {
namespace {

// Rows of input projections held at once: few enough to stay in the second-level cache, enough to reuse W_x.
constexpr Index kChunkRows = 192;

// In a wavefront: layers start one chunk apart, so there should be several; but a chunk's projection is one product.
constexpr Index kWavefrontChunks = 20, kWavefrontRows = 4;

// Floats of a chunk's inputs that are fetched before its projection: a part of the first-level cache.
constexpr Index kFewInputs = 4096;

class ForwardSlice {
 public:
  ForwardSlice(const Forward& f, const Slice& slice, Index chunk, int members, Scratch& scratch)
      : f_(f),
        slice_(slice),
        r_(Engine::impl(*f.layer)),
        Hp_(padded(r_.H)),
        Pp_(r_.P == r_.H ? Hp_ : padded(r_.P)),
        X_(r_.cell.x_count * Hp_),
        M_(slice.rows()),
        chunk_(std::min(chunk, slice.steps())),
        members_(members),
        y_(outputs(f)),
        own_records_(f.tape ? r_.bf16() : r_.cell.phases > 1) {
    projection_ = scratch.take<float>(chunk_ * M_ * X_).data();
    // A compiled cell reads its other states once, at their own unit, and so updates them in place. Both places of a state are
    // filled: a row that joins later finds its state in whichever is current.
    for (int k = 0; k < r_.cell.states; ++k)
      for (int turn = 0; turn < 2; ++turn) {
        const bool in_place = turn == 1 && k > 0 && !r_.program;
        state_[turn][k] = in_place ? state_[0][k] : scratch.take<float>(M_ * stride(k)).data();
        if (!in_place) start(k, state_[turn][k]);
      }
    input_rows_ = scratch.take<const float*>(chunk_ * M_).data();
    projection_rows_ = scratch.take<float*>(chunk_ * M_).data();
    narrow_input_ = scratch.take<float>(chunk_ * M_ * r_.narrow_input()).data();
    narrow_step_ = scratch.take<float>(members * M_ * r_.narrow_step()).data();
    y_rows_ = scratch.take<float*>(members * M_).data();
    tape_rows_ = scratch.take<float*>(members * M_).data();
#if REKUR_EQUATIONS
    if (r_.program) take_for_program(scratch);
#endif
    if (own_records_) records_ = StepRecords(r_, Hp_, M_, through_time_ ? chunk_ : 1, 0, scratch);
  }

  // All of chunk i, for a slice that one thread has to itself.
  void chunk(Index i) {
    const Chunk c = at(i);
    if (c.count == 0) return;
    project(c, 0);
    if (r_.alone()) return steps(c, 0);
    for (Index n = 0; n < c.count; ++n)
      for (int p = 0; p < r_.cell.phases; ++p) step(c, n, p, 0);
  }

  // Chunk i in rounds between which members meet: the projection, then the phases of each step, or all steps where no unit waits
  // for another.
  void round(Index i, Index round, int member) {
    const Chunk c = at(i);
    const Index phase = round - 1;
    if (c.count == 0 || phase >= (r_.alone() ? 1 : c.count * r_.cell.phases)) return;
    if (round == 0) {
      project(c, member);
    } else if (r_.alone()) {
      steps(c, member);
    } else {
      const auto [step_of_chunk, p] = divide(phase, r_.cell.phases);
      step(c, step_of_chunk, static_cast<int>(p), member);
    }
  }

 private:
  void start(int k, float* state) {
    const Index width = r_.width(k);
    std::memset(state, 0, static_cast<std::size_t>(M_ * stride(k)) * sizeof(float));
    for (Index j = 0; (f_.initial[k] || f_.anew(k)) && j < M_; ++j) {
      const Index length = slice_.length[static_cast<std::size_t>(j)];
      if (const float* const from = f_.beginning(k, row(j), f_.reverse ? length - 1 : 0, length))
        std::copy_n(from + row(j) * width, width, state + j * stride(k));
    }
  }

  struct Chunk {
    Index low, count, done;  // steps [low, low + count), and how many come before them
  };
  Chunk at(Index i) const {
    const Index steps = slice_.steps(), done = i * chunk_, count = std::clamp<Index>(steps - done, 0, chunk_);
    return {f_.reverse ? steps - done - count : done, count, done};
  }

  // W x + b for the active rows of a chunk's steps; a member takes its share of the rows.
  void project(const Chunk& c, int member) {
    const Index low = c.low, count = c.count;
    Index rows = 0;
    for (Index t = low; t < low + count; ++t) rows += slice_.active(t);
    const Index begin = rows * member / members_, end = rows * (member + 1) / members_;
    for (int set = 0; set < r_.input_sets(); ++set) project(low, count, begin, end, set);
  }

  // … of the blocks that read the same x.
  void project(Index low, Index count, Index begin, Index end, int set) {
    const bool few = (end - begin) * r_.I <= kFewInputs;
    const Index from = r_.input_offset(r_.cell.x_first + set);
    const Index apart = M_ > 1 ? (row(1) - row(0)) * f_.x.stride_b : 0;
    Index n = 0;
    for (Index t = low; t < low + count; ++t) {
      const Index active = slice_.active(t);
      const float* const first = even_ ? f_.x.row(row(0), t) + from : nullptr;  // spares looking up row after row
      for (Index j = std::max<Index>(begin - n, 0); j < std::min(active, end - n); ++j) {
        const float* const input = input_rows_[n + j] = first ? first + j * apart : f_.x.row(row(j), f_.place(row(j), t)) + from;
        // What another core has just written: the product would wait for one line after the other.
        for (Index i = 0; few && i < r_.I; i += 16) REKUR_PREFETCH(input + i);
        projection_rows_[n + j] = projection_ + ((t - low) * M_ + j) * X_;
      }
      n += active;
    }
    r_.input_product(isa::kernels(), end - begin, set, input_rows_ + begin, narrow_input_ + begin * r_.narrow_input(),
                     projection_rows_ + begin);
  }

  Index time(const Chunk& c, Index i) const { return f_.reverse ? c.low + c.count - 1 - i : c.low + i; }

  // Member `member`'s units in all steps of a chunk, as many in a call as have the same rows.
  void steps(const Chunk& c, int member) {
    for (Index i = 0, count = 1; i < c.count; i += count, count = 1) {
      const Index active = slice_.active(time(c, i));
      const Index most = own_records_ ? records_.most() : c.count;
      while (through_time_ && count < most && i + count < c.count && slice_.active(time(c, i + count)) == active) ++count;
      step(c, i, 0, member, count);
    }
  }

  // Member `member`'s units in a phase of step `i` of a chunk, or of that one and those after it.
  void step(const Chunk& c, Index i, int phase, int member, Index count = 1) {
    const Index n = c.done + i, t = time(c, i), last = time(c, i + count - 1);
    const Index active = slice_.active(t);
    float** const y_rows = y_rows_ + member * M_;
    float** const tape_rows = tape_rows_ + member * M_;
    for (Index j = 0; j < active; ++j) {
      if (y_) y_rows[j] = y_.row(row(j), f_.output_place(row(j), t));
      tape_rows[j] = own_records_ ? records_.row(0, j) : f_.tape ? record_of(f_, r_, Hp_, row(j), t) : nullptr;
    }
    const auto [begin, end] = share(r_.projects(phase) ? Pp_ : Hp_, member);
    float* const* const before = state_[n % 2];
    float* const* const after = state_[(n + count) % 2];
#if REKUR_EQUATIONS
    if (r_.program) {
      const bool again = even_ && !through_time_ && i > 0 && slice_.active(time(c, i - 1)) == active;
      program_step(t, n, active, phase, begin, end, member, projection_ + (t - c.low) * M_ * X_, count, again);
    } else
#endif
    {
      const std::size_t product = static_cast<std::size_t>(phase);  // a compiled cell has one a phase
      kernels::StepForward s{};
      s.rows = active;
      s.H = r_.H;
      s.Hp = Hp_;
      s.begin = begin;
      s.end = end;
      s.descending = n % 2 != 0;
      s.input = projection_ + (t - c.low) * M_ * X_;
      s.h = before[0];
      s.h_next = after[0];
      s.c = after[1];
      s.y = y_ ? y_rows : nullptr;
      s.tape = f_.tape || own_records_ ? tape_rows : nullptr;
      s.peephole = r_.packed.unit_weights.data();
      s.activations = &r_.activations;
      s.product_length = n == 0 && !f_.initial[0] ? 0 : r_.H;
      s.weights = r_.packed.recurrent[product].data();
      s.type = r_.packed.type[product];
      s.group = r_.group(s.type);
      s.narrow = narrow_step_ + member * M_ * r_.narrow_step();
      s.bias = r_.cell.recurrent_bias ? r_.packed.recurrent_bias[product].data() : nullptr;
      r_.steps().forward[phase](s);
    }
#if REKUR_BF16
    if (f_.tape && own_records_ && phase + 1 == r_.equations()) keep(c, i, count, active, begin, end);
#endif
    if (phase + 1 < r_.cell.phases) return;
    if (f_.resets) restart(last, active, after, member);
    // Rows whose last step this was.
    for (Index j = f_.reverse ? 0 : slice_.active(last + 1); j < (f_.reverse && last > 0 ? 0 : active); ++j)
      finish(j, after, member);
  }

#if REKUR_BF16
  // A member's units of the records of `count` steps.
  void keep(const Chunk& c, Index i, Index count, Index active, Index begin, Index end) {
    for (Index s = 0; s < count; ++s)
      for (Index j = 0; j < active; ++j) {
        const float* const from = records_.row(s, j);
        float* const to = record_of(f_, r_, Hp_, row(j), time(c, i + s));
        records_.keep(from, to, 0, r_.cell.slots, begin, end);
        if (r_.cell.numbers > 0) records_.keep_numbers(from, to);
      }
  }
#endif

  // A member's of the units of something so wide: whole vectors, the last ones beyond it included.
  struct Share {
    Index begin, end;
  };
  Share share(Index padded_width, int member) const {
    if (members_ == 1) return {0, padded_width};
    const Index vector = isa::kernels().width, vectors = padded_width / vector;
    return {vectors * member / members_ * vector, vectors * (member + 1) / members_ * vector};
  }
  // Of state k's rows.
  Index stride(int k) const { return k == 0 ? Pp_ : Hp_; }

#if REKUR_EQUATIONS
  void take_for_program(Scratch& scratch) {
    const Program& program = *r_.program;
    product_blocks_ = program.product_blocks();
    products_ = scratch.take<float>(M_ * product_blocks_ * Hp_).data();
    memory_size_ = program.memory(M_, r_.H);
    memory_ = scratch.take<float>(members_ * memory_size_).data();
    for (int i = 0; i < program.step_inputs(); ++i) step_rows_[i] = scratch.take<const float*>(members_ * M_).data();
    for (std::size_t i = 0; i < kMostMasks; ++i)
      mask_rows_[i] = program.masks()[i] ? scratch.take<const float*>(members_ * M_).data() : nullptr;
    masked_ = std::any_of(std::begin(mask_rows_), std::end(mask_rows_), [](const float** rows) { return rows != nullptr; });
    product_rows_ = scratch.take<const float*>(members_ * M_).data();
    even_ = !f_.list && slice_.even();
    through_time_ = !f_.list && !f_.resets && program.goes_through_time(isa::kernels(), f_.tape != nullptr);
  }

  // again: the step before, of the same rows, was this member's, too, and in this chunk.
  void program_step(Index t, Index n, Index active, int phase, Index begin, Index end, int member, const float* input, Index count,
                    bool again) {
    const Program& program = *r_.program;
    const Index own = member * M_;
    float** const tape_rows = tape_rows_ + own;
    float* const* const before = state_[n % 2];
    ProgramProducts p{.phase = phase,
                      .rows = active,
                      .Hp = Hp_,
                      .Pp = Pp_,
                      .begin = begin,
                      .end = end,
                      .descending = n % 2 != 0,
                      .before = before,
                      .projected = state_[(n + 1) % 2][0],
                      .tape = tape_rows,
                      .products = products_,
                      .sources = product_rows_ + own,
                      .narrow = narrow_step_ + own * r_.narrow_step(),
                      .steps = isa::table().steps};
    for (int k = 0; k < r_.cell.states; ++k) p.zero[k] = n == 0 && !f_.initial[k];
    program_products(r_, p);
    if (r_.projects(phase)) {
      for (Index j = 0; y_ && j < active && begin < end; ++j)
        std::copy(p.projected + j * Pp_ + begin, p.projected + j * Pp_ + std::min(end, r_.P), y_rows_[own + j] + begin);
      return;
    }
    if (again && program.forward_again(phase, {.rows = active,
                                               .begin = begin,
                                               .end = std::min(end, r_.H),
                                               .before = before,
                                               .after = state_[(n + count) % 2],
                                               .training = f_.tape != nullptr,
                                               .kernels = &isa::kernels(),
                                               .memory = memory_ + member * memory_size_}))
      return;
    ProgramForward s;
    ConstRows step[kMostStepInputs];
    Index step_steps[kMostStepInputs];
    const Index onwards = f_.reverse ? -1 : 1;
    for (int i = 0; i < program.step_inputs(); ++i) {
      for (Index j = 0; j < active; ++j) step_rows_[i][own + j] = f_.step[i].row(row(j), f_.place(row(j), t));
      step[i] = step_rows_[i] + own;
      step_steps[i] = onwards * f_.step[i].stride_t;
    }
    ConstRows masks[kMostMasks];
    Index mask_steps[kMostMasks];
    for (int i = 0; masked_ && i < kMostMasks; ++i) {
      if (!mask_rows_[i]) continue;
      mask_steps[i] = onwards * f_.masks[i].stride_t;
      for (Index j = 0; j < active; ++j) mask_rows_[i][own + j] = f_.masks[i].row(row(j), t);
      masks[i] = mask_rows_[i] + own;
    }
    s.steps = count;
    s.input_step = onwards * M_ * X_;
    s.y_step = onwards * y_.stride_t;
    s.tape_step = own_records_ ? (count > 1 ? records_.further() : 0) : f_.tape ? onwards * rows_of_tape(f_) * r_.record(Hp_) : 0;
    s.step_steps = step_steps;
    s.rows = active;
    s.H = r_.H;
    s.Hp = Hp_;
    s.begin = begin;
    s.end = std::min(end, r_.H);
    s.even = even_;
    s.input = input;
    s.products = products_;
    s.before = before;
    s.after = state_[(n + count) % 2];
    s.unit_weights = r_.packed.unit_weights.data();
    s.step = step;
    s.masks = masks;
    s.mask_steps = mask_steps;
    s.y = y_ ? y_rows_ + own : nullptr;
    s.tape = f_.tape || own_records_ ? tape_rows : nullptr;
    s.training = f_.tape != nullptr;
    s.kernels = &isa::kernels();
    s.memory = memory_ + member * memory_size_;
    program.forward(phase, s);
  }
#endif

  // Rows whose next step begins anew: a member's units of their states.
  void restart(Index t, Index active, float* const* after, int member) {
    const Index next = f_.reverse ? t - 1 : t + 1;
    for (Index j = 0; j < active; ++j) {
      const Index b = row(j), length = slice_.length[static_cast<std::size_t>(j)];
      if (next < 0 || next >= length || !f_.begins(b, next, length)) continue;
      for (int k = 0; k < r_.cell.states; ++k) {
        const Index width = r_.width(k);
        const auto [begin, last] = share(stride(k), member);
        const Index end = std::min(last, width);
        float* const state = after[k] + j * stride(k);
        if (begin >= end) continue;
        if (const float* const anew = f_.beginning(k, b, next, length))
          std::copy_n(anew + b * width + begin, end - begin, state + begin);
        else
          std::fill(state + begin, state + end, 0.0f);
      }
    }
  }

  // Hands out a member's units of row j's final states; the first member clears what lies beyond its length.
  void finish(Index j, float* const* after, int member) {
    for (int k = 0; k < r_.cell.states; ++k) {
      if (!f_.final[k]) continue;
      const Index width = r_.width(k);
      const auto [begin, last] = share(stride(k), member);
      const Index end = std::min(last, width);
      const float* const state = after[k] + j * stride(k);
      if (begin < end) std::copy(state + begin, state + end, f_.final[k] + row(j) * width + begin);
    }
    if (!f_.y || f_.list || member != 0) return;
    for (Index t = slice_.length[static_cast<std::size_t>(j)]; t < f_.T; ++t) std::fill_n(y_.row(row(j), t), r_.P, 0.0f);
  }

  Index row(Index j) const { return slice_.row[static_cast<std::size_t>(j)]; }

  const Forward& f_;
  const Slice slice_;
  const Recurrence::Impl& r_;
  const Index Hp_, Pp_, X_, M_, chunk_;
  const int members_;
  const Strided<float> y_;
  float* projection_;
  // The tape keeps no records of floats, and what a phase leaves for a later one has to stand somewhere.
  const bool own_records_;
  StepRecords records_;
  float *narrow_input_, *narrow_step_;  // rows rounded for products: of the chunk's x; by member of what a step multiplies
  float* state_[2][kMostStates] = {};   // by turn: before and after a step, or after and before
  const float** input_rows_;
  float **projection_rows_, **y_rows_, **tape_rows_;
#if REKUR_EQUATIONS
  Index product_blocks_ = 0, memory_size_ = 0;
  float *products_ = nullptr, *memory_ = nullptr;
  const float **step_rows_[kMostStepInputs] = {}, **mask_rows_[kMostMasks] = {}, **product_rows_ = nullptr;
  bool even_ = false, masked_ = false;  // Slice::even; some mask is read
#else
  static constexpr bool even_ = false;
#endif
  bool through_time_ = false;  // a call takes many steps
};

// Rows without a single valid step: zeros out, states unchanged.
void pass_empty_rows(const Forward& f) {
  if (!f.lengths && f.T > 0) return;
  const auto wanted = [](const float* state) { return state != nullptr; };
  if (f.T == 0 && std::none_of(std::begin(f.final), std::end(f.final), wanted)) return;  // nothing to write, however many rows
  const auto& r = Engine::impl(*f.layer);
  const Strided<float> y = outputs(f);
  for (Index b = 0; b < f.B; ++b) {
    if (length_of(f, b) > 0) continue;
    for (Index t = 0; y && !f.list && t < f.T; ++t) std::fill_n(y.row(b, t), r.P, 0.0f);
    for (int k = 0; k < r.cell.states; ++k) {
      if (!f.final[k]) continue;
      const Index width = r.width(k);
      if (f.initial[k])
        std::copy_n(f.initial[k] + b * width, width, f.final[k] + b * width);
      else
        std::fill_n(f.final[k] + b * width, width, 0.0f);
    }
  }
}

// `longest`: steps of the longest row.
Index chunk_steps(const Plan& plan, const Forward& f, Index longest) {
  const Index rows = std::max<Index>((f.B + plan.slices - 1) / plan.slices, 1);
  const Index steps = std::max<Index>(kChunkRows / rows, 1);
  if (plan.wavefront) return std::clamp<Index>(f.T / kWavefrontChunks, (kWavefrontRows + rows - 1) / rows, steps);
  if (plan.members == 1 || longest <= steps) return steps;
  const Index chunks = (longest + steps - 1) / steps;  // of one length, since all have the same number of rounds
  return (longest + chunks - 1) / chunks;
}

class ForwardCall {
 public:
  ForwardCall(std::span<const Forward> runs, const Plan& plan, Scratch& scratch)
      : plan_(plan), R_(static_cast<Index>(runs.size())), groups_(plan, R_, scratch) {
    const Index tasks = R_ * plan.slices;
    tasks_ = scratch.take<ForwardSlice>(tasks).data();
    progress_ = scratch.take<runtime::Atomic<Index>>(plan.wavefront ? tasks : 0).data();
    for (Index i = 0; plan.wavefront && i < tasks; ++i) new (&progress_[i]) runtime::Atomic<Index>(0);
    source_ = scratch.take<Index>(R_).data();
    depth_ = scratch.take<Index>(R_).data();
    for (Index r = 0; r < R_; ++r) {
      const Forward& f = runs[static_cast<std::size_t>(r)];
      const std::span<Slice> slices = slice_rows(f, plan.slices, scratch);
      const Index steps = slices[0].steps();  // the first has the longest row
      const Index chunk = chunk_steps(plan, f, steps);
      source_[r] = plan.wavefront && f.source ? f.source - runs.data() : -1;
      depth_[r] = source_[r] >= 0 ? depth_[source_[r]] + 1 : 0;
      phases_ = std::max(phases_, depth_[r] + (steps + chunk - 1) / chunk);
      meetings_ = std::max(meetings_,
                           1 + (Engine::impl(*f.layer).alone() ? 1 : std::min(chunk, steps) * Engine::impl(*f.layer).cell.phases));
      for (Index s = 0; s < plan.slices; ++s)
        new (&tasks_[r * plan.slices + s]) ForwardSlice(f, slices[static_cast<std::size_t>(s)], chunk, plan.members, scratch);
    }
    if (plan.members == 1) meetings_ = 1;
  }

  void run() {
    runtime::run(plan_.threads, {.tracks = plan_.groups,
                                 .members = plan_.members,
                                 .rounds = phases_ * groups_.most() * meetings_,
                                 .item = [&](int group, Index round, int member) { return item(group, round, member); }});
  }

 private:
  // A group's rounds: phase by phase, in each a chunk of every task, in each its meetings.
  bool item(int group, Index round, int member) {
    const auto [number, meeting] = divide(round, meetings_);
    const auto [phase, n] = divide(number, groups_.most());
    const std::span<const Index> own = groups_.of(group);
    if (n >= static_cast<Index>(own.size())) return true;
    const Index task = own[static_cast<std::size_t>(n)], r = task / plan_.slices, chunk = phase - depth_[r];
    if (chunk < 0) return true;
    if (plan_.members > 1) {
      tasks_[task].round(chunk, meeting, member);
      return true;
    }
    // A chunk reads the one that its source has left a phase before.
    for (Index from = 0; source_[r] >= 0 && from < plan_.slices; ++from)
      if (progress_[source_[r] * plan_.slices + from].load(std::memory_order_acquire) <= chunk) return false;
    tasks_[task].chunk(chunk);
    if (plan_.wavefront) progress_[task].store(chunk + 1, std::memory_order_release);
    return true;
  }

  const Plan& plan_;
  const Index R_;
  const Groups groups_;
  Index phases_ = 0, meetings_ = 1;  // meetings_: rounds of a chunk
  ForwardSlice* tasks_;
  runtime::Atomic<Index>* progress_;  // chunks done of the tasks, in a wavefront
  Index *source_, *depth_;            // of a run in a wavefront: the run that it reads, or -1; how many stand before it
};

}  // namespace

void forward(std::span<const Forward> runs) {
#if REKUR_TRAINING
  if (in_windows(runs[0])) return forward_in_windows(runs);
#endif
  const FlushDenormals flush;
  double work = 0;
  for (const Forward& run : runs) {
    pass_empty_rows(run);
    work += flops(run);
  }
  ScratchUse scratch;
  const Plan plan = make_plan(runs, work, isa::kernels().width);
  ForwardCall(runs, plan, *scratch).run();
}

}  // namespace rekur::recurrent
