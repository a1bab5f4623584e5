#include "recurrent/plan.hpp"

#include "runtime/sort.hpp"

namespace rekur::recurrent {
namespace {

// With fewer rows a slice reads the weights for too little work: from a core's own cache, and from beyond it.
constexpr Index kRowsPerSlice = 4, kRowsPerFarSlice = 24;

// Multiply-adds a nanosecond of one thread: of a single row, whose weights come from the second-level cache, and of many.
constexpr double kSingleRowRate = 35, kManyRowsRate = 100;

// Products of eight bits read a quarter of the bytes; LSTM and GRU of 128 units gain nothing by a second thread then.
constexpr double kInt8Rate = 5;

// Nanoseconds of a step from which on half of them are worth a meeting of two threads.
constexpr double kWorthMeeting = 400;

// Floating-point operations of a call from which on a parallel region is worth its microsecond.
constexpr double kWorthRegion = 1e6;

// … and of a backward pass whose sweep keeps only some threads busy, from which on others are called for its products.
constexpr double kWorthHelpers = 1e7;

// Weights of a recurrent kernel that stay in a core's second-level cache, activations beside them.
constexpr double kNearMacs = 128 * 1024;

// … and those that a core would fetch anew in every step.
constexpr double kFarMacs = 256 * 1024;

}  // namespace

double flops(const Forward& f) {
  const auto& r = Engine::impl(*f.layer);
  const auto I = static_cast<double>(r.I), H = static_cast<double>(r.H), P = static_cast<double>(r.P);
  const double products = r.cell.kernel_blocks * I + (r.cell.recurrent_blocks + (r.cell.projects ? 1 : 0)) * P,
               equations = 16.0 * std::max(r.cell.kernel_blocks, r.cell.recurrent_blocks);
  return 2.0 * H * (products + equations) * static_cast<double>(f.B) * static_cast<double>(f.T);
}

int threads_of(double work, Index most) { return work < kWorthRegion ? 1 : runtime::threads_for(work, most); }

template <class Run>
Plan make_plan(std::span<const Run> runs, double work, Index unit_grain) {
  Plan plan;
  plan.stacked = std::any_of(runs.begin(), runs.end(), [](const Run& run) { return run.source != nullptr; });
  plan.threads = threads_of(work, runtime::kAllThreads);
  if (plan.alone()) return plan;

  const Index p = plan.threads, R = static_cast<Index>(runs.size());
  Index rows = 0, units = forward_of(runs[0]).layer->hidden_size();
  double macs = 0, timed = 0;  // of a step of a row: all, and as many as take so long in float32
  bool whole_rows = false, alone = true;
  for (const Run& run : runs) {
    const auto& r = Engine::impl(*forward_of(run).layer);
#if REKUR_EQUATIONS
    whole_rows = whole_rows || (r.program && r.program->whole_rows());
#endif
    alone = alone && r.alone();
    rows = std::max(rows, forward_of(run).B);
    units = std::min(units, r.H);
    const int blocks = r.cell.recurrent_blocks + (r.cell.projects ? 1 : 0);
    const double of_run = static_cast<double>(blocks) * static_cast<double>(r.P) * static_cast<double>(r.H);
    const bool int8 = !r.cell.products.empty() && r.int8(r.cell.products[0]);
    macs = std::max(macs, of_run);
    timed = std::max(timed, int8 ? of_run / kInt8Rate : of_run);
  }
  plan.slices =
      std::clamp<Index>(rows / (macs > kFarMacs ? kRowsPerFarSlice : kRowsPerSlice), 1, plan.stacked ? p : (p + R - 1) / R);
  const Index tasks = plan.stacked ? plan.slices : R * plan.slices;  // that can be done side by side
  if (tasks < p) {
    const double rows_of_slice = static_cast<double>(rows) / static_cast<double>(plan.slices);
    const double step = std::max(timed / kSingleRowRate, timed * rows_of_slice / kManyRowsRate);
    // A wavefront has no meetings in a step, but each core needs all of its layer's weights.
    plan.wavefront = plan.stacked && R % (p / tasks) == 0 && macs <= kNearMacs;
    const auto members = [&](Index most) {
      return static_cast<int>(std::clamp<Index>(std::min(units / unit_grain, most), 1, p / tasks));
    };
    if (!plan.wavefront && alone)  // meetings are as few as chunks
      plan.members = members(p);
    else if (!plan.wavefront && step >= kWorthMeeting && !whole_rows)
      plan.members = members(static_cast<Index>(2 * step / kWorthMeeting));
    else if (plan.stacked)
      plan.wavefront = true;
  }
  // Beyond the slices there is no work in a forward pass; in a backward pass there are the large products, if they are large.
  const Index parts = plan.wavefront ? R * plan.slices : tasks;
  if (std::is_same_v<Run, Forward> || work < kWorthHelpers)
    plan.threads = static_cast<int>(std::min<Index>(p, parts * plan.members));
  plan.groups = plan.threads / plan.members;
  return plan;
}

template Plan make_plan<Forward>(std::span<const Forward>, double, Index);
template Plan make_plan<Backward>(std::span<const Backward>, double, Index);

std::span<Slice> slice_rows(const Forward& f, Index slices, Scratch& scratch) {
  const std::span<Index> order = scratch.take<Index>(f.B);
  Index rows = 0;
  for (Index b = 0; b < f.B; ++b)
    if (length_of(f, b) > 0) order[static_cast<std::size_t>(rows++)] = b;
  // By length, and by position among equals.
  if (f.lengths)
    sort(order.first(static_cast<std::size_t>(rows)),
         [&](Index a, Index b) { return f.lengths[a] != f.lengths[b] ? f.lengths[a] > f.lengths[b] : a < b; });

  const std::span<Slice> all = scratch.take<Slice>(slices);
  for (Index s = 0; s < slices; ++s) {
    // Dealt like cards: every slice gets its share of long rows. Rows of one length are neighbours instead, so that two cores write
    // to different places.
    const Index first = f.lengths ? s : rows * s / slices, apart = f.lengths ? slices : 1;
    const Index count = f.lengths ? (rows - s + slices - 1) / slices : rows * (s + 1) / slices - first;
    Slice slice{scratch.take<Index>(std::max<Index>(count, 0)), scratch.take<Index>(std::max<Index>(count, 0))};
    for (Index j = 0; j < count; ++j) {
      const Index b = order[static_cast<std::size_t>(first + j * apart)];
      slice.row[static_cast<std::size_t>(j)] = b;
      slice.length[static_cast<std::size_t>(j)] = length_of(f, b);
    }
    all[static_cast<std::size_t>(s)] = slice;
  }
  return all;
}

}  // namespace rekur::recurrent
