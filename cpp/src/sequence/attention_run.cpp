#include "sequence/attention_run.hpp"

#include <algorithm>
#include <cmath>

#include "isa/dispatch.hpp"
#include "runtime/lines.hpp"
#include "runtime/parallel.hpp"
#include "runtime/scratch.hpp"

namespace rekur::layers {
namespace {

using simd::AttentionBlock;
using simd::AttentionKeys;
using simd::kAttentionRows;

// How many of a row's steps are before `step`.
Index steps_before(const RowSteps& steps, Index row, Index step) {
  const Index n = steps.length(row);
  if (steps.list == nullptr) return std::clamp<Index>(step, 0, n);
  const std::int32_t* const list = steps.list + row * steps.T;
  return std::lower_bound(list, list + n, step) - list;
}

double attention_operations(const AttentionRun& run) {
  double pairs = 0;
  for (Index b = 0; b < run.batch; ++b)
    pairs += static_cast<double>(run.queries.length(b)) * static_cast<double>(run.keys.length(b));
  const double each = 2.0 * static_cast<double>(run.dim * (run.additive ? 12 : 1) + run.value_dim) + 30.0;
  return pairs * each * static_cast<double>(run.heads) * (run.causal ? 0.5 : 1.0);
}

// Addresses of the keys' side of a head, one a key that takes part.
void fill_rows(const RowSteps& steps, Index row, ConstAttentionArray from, Index offset, const float** to) {
  for (Index k = 0; k < steps.length(row); ++k) to[k] = from.data + (row * steps.T + steps.at(row, k)) * from.stride + offset;
}

// A head of a row: what every block of its queries has in common.
struct Head {
  const AttentionRun& run;
  Index row, head, key_head;

  Head(const AttentionRun& r, Index number)
      : run(r), row(number / r.heads), head(number % r.heads), key_head(head / (r.heads / r.key_heads)) {}

  Index side() const { return row * run.key_heads + key_head; }
  Index query(Index i) const { return row * run.queries.T + run.queries.at(row, i); }
};

// Up to kAttentionRows queries of a head. In memory of the thread's own: too large for a stack.
struct Block {
  const float* q[kAttentionRows];
  float* out[kAttentionRows];
  Index begin[kAttentionRows], end[kAttentionRows];
  float* weights[kAttentionRows];
  Index rows, first;

  void fill(const Head& h, Index first_query) {
    const AttentionRun& run = h.run;
    first = first_query;
    rows = std::min(kAttentionRows, run.queries.length(h.row) - first);
    const Index count = run.keys.length(h.row);
    for (Index r = 0; r < rows; ++r) {
      const Index t = run.queries.at(h.row, first + r), at = h.query(first + r);
      q[r] = run.q.data + at * run.q.stride + h.head * run.dim;
      out[r] = run.out.data + at * run.out.stride + h.head * run.value_dim;
      begin[r] = run.window > 0 ? steps_before(run.keys, h.row, t - run.window + 1) : 0;
      end[r] = run.causal       ? steps_before(run.keys, h.row, t + 1)
               : run.window > 0 ? steps_before(run.keys, h.row, t + run.window)
                                : count;
      begin[r] = std::min(begin[r], end[r]);
    }
  }

  AttentionBlock block(const Head& h, const AttentionKeys& side) const {
    AttentionBlock b{side, rows, q, begin, end, h.run.scale, h.run.additive, h.run.dropout};
    b.dropout.stride = h.run.keys.T;
    b.dropout.first = ((h.row * h.run.heads + h.head) * h.run.queries.T + first) * h.run.keys.T;
    return b;
  }
};

float* log_sums_of(const AttentionRun& run, const Head& h, Index first) {
  return run.log_sums + (h.row * run.heads + h.head) * run.queries.T + first;
}

// Weights of a block, from the keys that take part to all of them.
void place_weights(const Head& h, Block& block, const AttentionBlock& b, const float* log_sums, float* work, float* rows) {
  const AttentionRun& run = h.run;
  float** const to = block.weights;
  const Index count = b.side.count;
  for (Index r = 0; r < b.rows; ++r) to[r] = rows + r * count;
  isa::table().attention.weights({b, log_sums, to, run.weights_dropped, work});
  for (Index r = 0; r < b.rows; ++r) {
    const Index t = run.queries.at(h.row, block.first + r);
    float* const full = run.weights + ((h.row * run.heads + h.head) * run.queries.T + t) * run.keys.T;
    for (Index k = 0; k < count; ++k) full[run.keys.at(h.row, k)] = to[r][k];
  }
}

// Calls visit(query step) for each query of the row that gets the mean of all values.
template <class Visit>
void over_means(const AttentionRun& run, Index row, Visit visit) {
  if (!run.mean) return;
  const RowSteps& q = run.queries;
  Index taking_part = 0;
  for (Index t = 0; t < q.T; ++t) {
    const bool part = taking_part < q.length(row) && q.at(row, taking_part) == t;
    taking_part += part;
    if (!part) {
      if (run.mean_of_masked_queries && q.mask) visit(t);
      continue;
    }
    Index end = run.keys.length(row);
    if (run.causal || run.window > 0) end = steps_before(run.keys, row, run.causal ? t + 1 : t + run.window);
    if (end == 0 || (run.window > 0 && steps_before(run.keys, row, t - run.window + 1) >= end)) visit(t);
  }
}

void place_means(const AttentionRun& run, const Head& h) {
  const Index T = run.keys.T;
  const float share = 1.0f / static_cast<float>(T);
  over_means(run, h.row, [&](Index t) {
    float* const out = run.out.data + (h.row * run.queries.T + t) * run.out.stride + h.head * run.value_dim;
    for (Index k = 0; k < T; ++k) {
      const float* const v = run.v.data + (h.row * T + k) * run.v.stride + h.key_head * run.value_dim;
      for (Index i = 0; i < run.value_dim; ++i) out[i] += v[i] * share;
    }
    if (run.weights != nullptr) std::fill_n(run.weights + ((h.row * run.heads + h.head) * run.queries.T + t) * T, T, share);
  });
}

// Zeros for the queries that take no part.
void clear_rest(const AttentionRun& run) {
  const RowSteps& q = run.queries;
  if (run.weights != nullptr) std::fill_n(run.weights, run.batch * run.heads * q.T * run.keys.T, 0.0f);
  for (Index b = 0; b < run.batch; ++b) {
    Index next = 0;
    for (Index t = 0; t < q.T; ++t) {
      if (next < q.length(b) && q.at(b, next) == t)
        ++next;
      else
        std::fill_n(run.out.data + (b * q.T + t) * run.out.stride, run.heads * run.value_dim, 0.0f);
    }
  }
}

}  // namespace

namespace {

// Packs keys and values of a side; `rows`: room for two addresses a key.
void pack_side(const AttentionRun& run, Index side, const float** rows, float* keys, float* values) {
  const auto& kernels = isa::table().attention;
  const Index row = side / run.key_heads, head = side % run.key_heads, n = run.keys.length(row);
  const float** const v_rows = rows + run.keys.T;
  fill_rows(run.keys, row, run.k, head * run.dim, rows);
  fill_rows(run.keys, row, run.v, head * run.value_dim, v_rows);
  kernels.pack_keys(n, run.dim, rows, run.additive ? run.scale : 1.0f, keys);
  kernels.pack_values(n, run.value_dim, v_rows, values);
}

// What a thread has for blocks of queries.
class BlockForward {
 public:
  BlockForward(const AttentionRun& run, int threads, Scratch& scratch) : run_(run) {
    work_ = aligned(simd::attention_work(run.dim));
    weights_ = run.weights ? aligned(element_count({kAttentionRows, run.keys.T})) : 0;
    each_ = work_ + weights_ + aligned(kAttentionRows);
    memory_ = scratch.take<float>(threads * each_).data();
    blocks_ = scratch.take<Block>(threads).data();
  }

  void operator()(const Head& h, const AttentionKeys& side, Index first, int thread) const {
    if (first >= run_.queries.length(h.row)) return;
    float* const mine = memory_ + thread * each_;
    Block& block = blocks_[thread];
    block.fill(h, first);
    const AttentionBlock b = block.block(h, side);
    float* const log_sums = run_.log_sums ? log_sums_of(run_, h, first) : run_.weights ? mine + work_ + weights_ : nullptr;
    isa::table().attention.forward({b, block.out, log_sums, mine});
    if (run_.weights != nullptr) place_weights(h, block, b, log_sums, mine, mine + work_);
  }

 private:
  const AttentionRun& run_;
  Index work_, weights_, each_;
  float* memory_;
  Block* blocks_;
};

}  // namespace

void attend(const AttentionRun& run) {
  if (run.batch == 0 || run.queries.T == 0) return;
  const double work = attention_operations(run);
  const Index sides = run.batch * run.key_heads, heads = run.batch * run.heads, group = run.heads / run.key_heads;
  const Index keys_size = simd::attention_keys_size(run.keys.T, run.dim);
  const Index values_size = simd::attention_values_size(run.keys.T, run.value_dim), size = keys_size + values_size;
  ScratchUse scratch;
  clear_rest(run);
  const auto side_of = [&](Index side, const float* packed) {
    return AttentionKeys{run.keys.length(side / run.key_heads), run.dim, run.value_dim, packed, packed + keys_size};
  };
  // Where there are enough sides, a thread packs one and goes through its queries while it stands in the cache; otherwise all are
  // packed, and blocks of queries are shared.
  const int threads = runtime::threads_for(work, sides);
  if (sides >= 4 * threads || runtime::threads_for(work, runtime::kAllThreads) == 1) {
    float* const memory = scratch->take<float>(element_count({threads, size})).data();
    const float** const rows = scratch->take<const float*>(element_count({threads, 2 * run.keys.T})).data();
    const BlockForward forward(run, threads, *scratch);
    runtime::numbered_tasks(threads, sides, [&](Index side, int thread) {
      float* const packed = memory + thread * size;
      pack_side(run, side, rows + 2 * thread * run.keys.T, packed, packed + keys_size);
      for (Index head = 0; head < group; ++head)
        for (Index first = 0; first < run.queries.T; first += kAttentionRows)
          forward(Head(run, side * group + head), side_of(side, packed), first, thread);
    });
  } else {
    float* const memory = scratch->take<float>(element_count({sides, size})).data();
    const float** const rows = scratch->take<const float*>(element_count({sides, 2 * run.keys.T})).data();
    runtime::parallel_tasks(sides, work, [&](Index side) {
      pack_side(run, side, rows + 2 * side * run.keys.T, memory + side * size, memory + side * size + keys_size);
    });
    const Index blocks = (run.queries.T + kAttentionRows - 1) / kAttentionRows;
    const int of_blocks = runtime::threads_for(work, heads * blocks);
    const BlockForward forward(run, of_blocks, *scratch);
    runtime::numbered_tasks(of_blocks, heads * blocks, [&](Index task, int thread) {
      const Index head = task / blocks, side = head / group;
      forward(Head(run, head), side_of(side, memory + side * size), task % blocks * kAttentionRows, thread);
    });
  }
  if (run.mean) runtime::parallel_tasks(heads, 0, [&](Index task) { place_means(run, Head(run, task)); });
}

#if REKUR_TRAINING

namespace {

struct BackwardBlock {
  Block block;
  const float *d_out[kAttentionRows], *d_weights[kAttentionRows];
  float *d_queries[kAttentionRows], d_sums[kAttentionRows];
};

// Pieces of the memory that a thread has for a side's backward pass.
struct BackwardMemory {
  Index keys, key_rows, value_lanes, work, d_q, d_keys, d_values, d_weights, size;

  explicit BackwardMemory(const AttentionRun& run, bool weights) {
    size = 0;
    const auto next = [this](Index floats) {
      const Index at = size;
      size += aligned(floats);
      return at;
    };
    keys = next(simd::attention_keys_size(run.keys.T, run.dim));
    key_rows = next(simd::attention_values_size(run.keys.T, run.dim));
    value_lanes = next(simd::attention_keys_size(run.keys.T, run.value_dim));
    work = next(simd::attention_backward_work(run.dim) + isa::kernels().gemm_tn_work);
    d_q = next(kAttentionRows * run.dim);
    d_keys = next(element_count({run.keys.T, run.dim}));
    d_values = next(element_count({run.keys.T, run.value_dim}));
    d_weights = next(weights ? element_count({kAttentionRows, run.keys.T}) : 0);
  }
};

float dot(const float* a, const float* b, Index n) {
  float sums[16] = {};  // side by side, for vectors
  Index i = 0;
  for (; i + 16 <= n; i += 16)
    for (Index l = 0; l < 16; ++l) sums[l] += a[i + l] * b[i + l];
  for (Index l = 0; i < n; ++i, ++l) sums[l] += a[i] * b[i];
  for (Index half = 8; half > 0; half /= 2)
    for (Index l = 0; l < half; ++l) sums[l] += sums[l + half];
  return sums[0];
}

void add_scaled(float s, const float* from, float* to, Index n) {
  for (Index i = 0; i < n; ++i) to[i] += s * from[i];
}

// The gradients of a side: of its keys and values, and of the queries of all heads that share it, in their order.
class SideBackward {
 public:
  SideBackward(const AttentionRun& run, const AttentionGradients& g, const BackwardMemory& at, const float* zeros)
      : run_(run), g_(g), at_(at), zeros_(zeros) {}

  // d_scale, d_additive: the side's own shares, zero before.
  void operator()(Index side, float* memory, BackwardBlock& rows, double* d_scale, float* d_additive) const {
    const Index row = side / run_.key_heads, key_head = side % run_.key_heads, n = run_.keys.length(row);
    float *const d_keys = memory + at_.d_keys, *const d_values = memory + at_.d_values;
    std::fill_n(d_keys, n * run_.dim, 0.0f);
    std::fill_n(d_values, n * run_.value_dim, 0.0f);
    const Index group = run_.heads / run_.key_heads;
    for (Index head = key_head * group; head < (key_head + 1) * group; ++head) {
      const Head h(run_, row * run_.heads + head);
      for (Index first = 0; first < run_.queries.length(row); first += kAttentionRows)
        block(h, first, memory, rows, d_scale, d_additive);
      if (g_.d_out.data != nullptr && g_.d_v.data != nullptr) means(h);
    }
    const float key_scale = run_.additive ? run_.scale : 1.0f;
    for (Index k = 0; k < n; ++k) {
      const Index step = row * run_.keys.T + run_.keys.at(row, k);
      if (g_.d_k.data != nullptr)
        add_scaled(key_scale, d_keys + k * run_.dim, g_.d_k.data + step * g_.d_k.stride + key_head * run_.dim, run_.dim);
      if (g_.d_v.data != nullptr)
        add_scaled(1.0f, d_values + k * run_.value_dim, g_.d_v.data + step * g_.d_v.stride + key_head * run_.value_dim,
                   run_.value_dim);
      if (run_.additive != nullptr)
        *d_scale +=
            static_cast<double>(dot(d_keys + k * run_.dim, run_.k.data + step * run_.k.stride + key_head * run_.dim, run_.dim));
    }
  }

 private:
  void block(const Head& h, Index first, float* memory, BackwardBlock& rows, double* d_scale, float* d_additive) const {
    Block& block = rows.block;
    block.fill(h, first);
    const AttentionBlock b =
        block.block(h, AttentionKeys{run_.keys.length(h.row), run_.dim, run_.value_dim, memory + at_.keys, nullptr});
    const Index n = b.side.count;
    float* const d_q = memory + at_.d_q;
    std::fill_n(d_q, b.rows * run_.dim, 0.0f);
    const float **const d_out = rows.d_out, **const d_weights = rows.d_weights;
    float **const d_queries = rows.d_queries, *const d_sums = rows.d_sums;
    for (Index r = 0; r < b.rows; ++r) {
      const Index query = h.query(first + r);
      d_out[r] = g_.d_out.data ? g_.d_out.data + query * g_.d_out.stride + h.head * run_.value_dim : zeros_;
      d_sums[r] = dot(d_out[r], block.out[r], run_.value_dim);
      d_queries[r] = d_q + r * run_.dim;
      if (g_.d_weights == nullptr) continue;
      const Index at = ((h.row * run_.heads + h.head) * run_.queries.T + query - h.row * run_.queries.T) * run_.keys.T;
      float* const to = memory + at_.d_weights + r * run_.keys.T;
      for (Index k = 0; k < n; ++k) to[k] = g_.d_weights[at + run_.keys.at(h.row, k)];
      d_sums[r] += dot(g_.d_weights + at, run_.weights + at, run_.keys.T);
      d_weights[r] = to;
    }
    isa::table().attention.backward({b, log_sums_of(run_, h, first), memory + at_.key_rows, memory + at_.value_lanes, d_out, d_sums,
                                     g_.d_weights ? d_weights : nullptr, run_.weights_dropped, d_queries, memory + at_.d_keys,
                                     memory + at_.d_values, d_additive, memory + at_.work});
    for (Index r = 0; r < b.rows; ++r) {
      if (g_.d_q.data != nullptr)
        add_scaled(run_.scale, d_queries[r], g_.d_q.data + h.query(first + r) * g_.d_q.stride + h.head * run_.dim, run_.dim);
      *d_scale += static_cast<double>(dot(d_queries[r], block.q[r], run_.dim));
    }
  }

  void means(const Head& h) const {
    const Index T = run_.keys.T;
    const float share = 1.0f / static_cast<float>(T);
    over_means(run_, h.row, [&](Index t) {
      const float* const d = g_.d_out.data + (h.row * run_.queries.T + t) * g_.d_out.stride + h.head * run_.value_dim;
      for (Index k = 0; k < T; ++k)
        add_scaled(share, d, g_.d_v.data + (h.row * T + k) * g_.d_v.stride + h.key_head * run_.value_dim, run_.value_dim);
    });
  }

  const AttentionRun& run_;
  const AttentionGradients& g_;
  const BackwardMemory& at_;
  const float* zeros_;
};

}  // namespace

void attend_backward(const AttentionRun& run, const AttentionGradients& g) {
  if (run.batch == 0 || run.queries.T == 0) return;
  const auto& kernels = isa::table().attention;
  const Index sides = run.batch * run.key_heads;
  const double work = 2.5 * attention_operations(run);
  ScratchUse scratch;
  const BackwardMemory at(run, g.d_weights != nullptr);
  const int threads = runtime::threads_for(work, sides);
  float* const memory = scratch->take<float>(threads * at.size).data();
  BackwardBlock* const of_threads = scratch->take<BackwardBlock>(threads).data();
  const float** const rows = scratch->take<const float*>(2 * threads * run.keys.T).data();
  double* const d_scale = scratch->take<double>(sides).data();
  float* const d_additive = run.additive ? scratch->take<float>(sides * run.dim).data() : nullptr;
  float* const zeros = scratch->take<float>(run.value_dim).data();
  std::fill_n(zeros, run.value_dim, 0.0f);
  std::fill_n(d_scale, sides, 0.0);
  if (d_additive != nullptr) std::fill_n(d_additive, sides * run.dim, 0.0f);
  const SideBackward backward(run, g, at, zeros);
  runtime::numbered_tasks(threads, sides, [&](Index side, int thread) {
    const Index row = side / run.key_heads, head = side % run.key_heads, n = run.keys.length(row);
    const float **const k_rows = rows + 2 * thread * run.keys.T, **const v_rows = k_rows + run.keys.T;
    float* const mine = memory + thread * at.size;
    fill_rows(run.keys, row, run.k, head * run.dim, k_rows);
    fill_rows(run.keys, row, run.v, head * run.value_dim, v_rows);
    kernels.pack_keys(n, run.dim, k_rows, run.additive ? run.scale : 1.0f, mine + at.keys);
    kernels.pack_values(n, run.dim, k_rows, mine + at.key_rows);
    kernels.pack_keys(n, run.value_dim, v_rows, 1.0f, mine + at.value_lanes);
    backward(side, mine, of_threads[thread], d_scale + side, d_additive ? d_additive + side * run.dim : nullptr);
  });
  for (Index side = 0; side < sides; ++side) {
    if (g.d_scale != nullptr) *g.d_scale += static_cast<float>(d_scale[side]);
    if (g.d_additive != nullptr) add_scaled(1.0f, d_additive + side * run.dim, g.d_additive, run.dim);
  }
}

#endif

}  // namespace rekur::layers
