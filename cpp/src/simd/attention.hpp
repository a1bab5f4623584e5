// Attention by blocks (Dao et al., arXiv:2205.14135; the online softmax is Milakov's and Gimelshein's, arXiv:1805.02867). Included
// by the ISA units only.
//
// A block of scores is a product whose rows stay in the second-level cache; the weights are made of it in place, and the output
// gets their product with the values. Keys are cut into blocks at multiples of kAttentionKeys, and within a block every sum goes
// over them in ascending order; what a row does not see has weight 0, which changes no sum. So a row's bits depend on its query and
// its keys.
#pragma once

#include <utility>

#include "simd/attention_kernels.hpp"
#include "simd/dropout.hpp"
#include "simd/gemm_tn.hpp"
#include "simd/transpose.hpp"
#include "simd/vec.hpp"

namespace rekur {
namespace {

using simd::kAttentionKeys;
using simd::kAttentionRows;
using simd::kAttentionStride;

static_assert(kAttentionKeys % kPanel == 0 && kAttentionKeys % (4 * kWidth) == 0);

// --- packing ---

inline constexpr Index kAhead = 32;  // rows between the one that is read and the one that is fetched: they are far apart

REKUR_INLINE void fetch_row(const float* row, Index n) {
  for (Index i = 0; i < n; i += kLine) REKUR_PREFETCH(row + i);
}

inline void pack_attention_keys(Index count, Index dim, ConstRows rows, float scale, float* to) {
  const Vec factor = set1(scale);
  for (Index n = 0; n < count; n += kPanel) {
    const Index width = vectors_in(n, count) * kWidth;
    for (Index k = n; k < n + width; k += kWidth) {
      const Index keys = smaller(kWidth, count - k);
      for (Index i = 0; i < dim; i += kWidth) {
        const Index numbers = lanes(i, dim);
        Vec square[kWidth];
        REKUR_UNROLL
        for (int j = 0; j < kWidth; ++j) {
          if (k + kAhead + j < count) REKUR_PREFETCH(rows[k + kAhead + j] + i);
          square[j] = j < keys ? load_partial(rows[k + j] + i, numbers) * factor : zero();
        }
        exchange_all<kWidth / 2>(square);
        for (Index j = 0; j < numbers; ++j) store(to + (i + j) * width + k - n, square[j]);
      }
    }
    to += dim * width;
  }
}

inline void pack_attention_values(Index count, Index columns, ConstRows rows, float* to) {
  for (Index k0 = 0; k0 < count; k0 += kAttentionKeys) {
    const Index n = smaller(kAttentionKeys, count - k0);
    copy_strips(n, rows + k0, 0, 0, columns, to);
    to += n * ((columns + kWidth - 1) / kWidth) * kWidth;
  }
}

// --- products of a block ---

// Packed values, or keys by rows, of the block of keys at k0.
struct AttentionColumns {
  Index columns, rows;
  const float* data;
};

inline AttentionColumns attention_columns(const simd::AttentionKeys& side, Index columns, const float* data, Index k0) {
  const Index padded = (columns + kWidth - 1) / kWidth * kWidth;
  return {columns, smaller(kAttentionKeys, side.count - k0), data + k0 * padded};
}

// c[row] += weights[row] · B, or for fresh rows =, for the rows [first, last): of tile by tile only the keys that one of its rows
// sees.
inline void add_weighted(const AttentionColumns& b, Index first, Index last, Index k0, const Index* end, ConstRows weights, Rows c,
                         bool fresh = false) {
  for (Index c0 = 0; c0 < b.columns; c0 += kPanel) {
    const Index vectors = vectors_in(c0, b.columns), tail = lanes(c0 + (vectors - 1) * kWidth, b.columns);
    const float* const panel = b.data + c0 * b.rows;
    const GemmTile* const tile = gemm_tiles(vectors);
    const RowTiles tiles(last - first);
    for (Index t = 0, r = first; t < tiles.count; r += tiles.rows(t), ++t) {
      const Index limit = smaller(b.rows, end[r + tiles.rows(t) - 1] - k0);
      tile[tiles.rows(t) - 1](limit, weights + r, 0, panel, vectors * kWidth, fresh ? Start::zero : Start::c, nullptr, c + r, c0,
                              tail, panel);
    }
  }
}

// scores[row] = q[row] · keys of the block for the rows [first, last), panel by panel those that see one of its keys, and of each
// tile only the vectors of keys that one of its rows sees.
inline void dot_scores(const simd::AttentionKeys& side, const float* packed, Index dim, Index first, Index last, Index k0, Index n,
                       const Index* end, ConstRows q, Rows scores) {
  for (Index p = 0; p < n; p += kPanel) {
    const Index vectors = vectors_in(k0 + p, side.count);
    while (first < last && end[first] <= k0 + p) ++first;
    const float* const panel = packed + (k0 + p) * dim;
    const RowTiles tiles(last - first);
    for (Index t = 0, r = first; t < tiles.count; r += tiles.rows(t), ++t) {
      const Index seen = (end[r + tiles.rows(t) - 1] - k0 - p + kWidth - 1) / kWidth;
      gemm_tiles(smaller(vectors, seen))[tiles.rows(t) - 1](dim, q + r, 0, panel, vectors * kWidth, Start::zero, nullptr,
                                                            scores + r, p, kWidth, panel);
    }
  }
}

// --- a block of a ring, for one query ---

inline constexpr int kRingVectors = 4;  // side by side: a sum waits for itself

// out[j] += Σ_k x[k] m[k][j] in ascending order, for j below n, in whole vectors; rows of m are `stride` apart.
inline void ring_product(Index K, Index n, const float* x, const float* m, Index stride, float* out) {
  Index j = 0;
  for (; j + kRingVectors * kWidth <= n; j += kRingVectors * kWidth) {
    Vec sum[kRingVectors];
    REKUR_UNROLL
    for (int v = 0; v < kRingVectors; ++v) sum[v] = load(out + j + v * kWidth);
    for (Index k = 0; k < K; ++k) {
      const Vec factor = set1(x[k]);
      REKUR_UNROLL
      for (int v = 0; v < kRingVectors; ++v) sum[v] = fma(factor, load(m + k * stride + j + v * kWidth), sum[v]);
    }
    REKUR_UNROLL
    for (int v = 0; v < kRingVectors; ++v) store(out + j + v * kWidth, sum[v]);
  }
  for (; j < n; j += kWidth) {
    const Index count = lanes(j, n);
    Vec sum = load_partial(out + j, count);
    for (Index k = 0; k < K; ++k) sum = fma(set1(x[k]), load(m + k * stride + j), sum);
    store_partial(out + j, sum, count);
  }
}

// scores[row] = Σ additive[i] tanh(q[row][i] + key[i])
inline void additive_scores(const simd::AttentionKeys& side, const float* additive, Index first, Index last, Index k0, Index n,
                            const Index* end, ConstRows q, Rows scores) {
  for (Index r = first; r < last; ++r)
    for (Index p = 0; p < n && k0 + p < end[r]; p += kPanel) {
      const Index vectors = vectors_in(k0 + p, side.count), width = side.ring() ? kAttentionKeys : vectors * kWidth;
      const float* const panel = side.ring() ? side.keys + side.place(k0) * side.dim + p : side.keys + (k0 + p) * side.dim;
      for (Index v = 0; v < vectors * kWidth; v += kWidth) {
        Vec sum = zero();
        for (Index i = 0; i < side.dim; ++i) sum = fma(set1(additive[i]), tanh(set1(q[r][i]) + load(panel + i * width + v)), sum);
        store(scores[r] + p + v, sum);
      }
    }
}

// --- weights of a block ---

template <int S, int... L>
REKUR_INLINE Vec turned(Vec v, std::integer_sequence<int, L...>) {
  return REKUR_SHUFFLE(v, v, (L ^ S)...);
}

// The largest lane in all of them.
template <int S = kWidth / 2>
REKUR_INLINE Vec largest_everywhere(Vec v) {
  if constexpr (S > 0) return largest_everywhere<S / 2>(at_least(v, turned<S>(v, std::make_integer_sequence<int, kWidth>{})));
  return v;
}

// to = factor · from, which may be the same row.
REKUR_INLINE void scale_row(const float* from, Vec factor, float* to, Index n) {
  Index i = 0;
  for (; i + kWidth <= n; i += kWidth) store(to + i, load(from + i) * factor);
  if (i < n) store_partial(to + i, load_partial(from + i, n - i) * factor, n - i);
}

// All ones in lanes [low, high) of the vector that begins at `at`.
REKUR_INLINE IVec lanes_within(Index at, Index low, Index high) {
  IVec index;
  for (int i = 0; i < kWidth; ++i) index[i] = i;
  return (index >= static_cast<std::int32_t>(low - at)) & (index < static_cast<std::int32_t>(high - at));
}

// The keys of a block that a row sees, counted from the block's beginning.
struct Seen {
  Index low, high;
  Seen(const simd::AttentionBlock& b, Index row, Index k0, Index n)
      : low(b.begin[row] > k0 ? b.begin[row] - k0 : 0), high(smaller(n, b.end[row] - k0)) {}
  bool none() const { return low >= high; }
  Index whole_vectors() const { return (high + kWidth - 1) / kWidth * kWidth; }
  bool all_of(Index at) const { return at >= low && at + kWidth <= high; }

  // Calls whole(k) for each vector that is seen whole, and part(k) for the others.
  template <class Whole, class Part>
  REKUR_INLINE void each_vector(const Whole& whole, const Part& part) const {
    Index k = 0;
    for (; k < low; k += kWidth) part(k);
    for (; k + kWidth <= high; k += kWidth) whole(k);
    if (k < high) part(k);
  }
};

inline void zero_row(float* row, Index n) {
  for (Index k = 0; k < n; k += kWidth) store(row + k, zero());
}

// Weights that are dropped become 0, the others grow.
inline void drop_weights(const simd::AttentionDropout& d, Index row, Index k0, Index n, const float* weights, float* mask,
                         float* out) {
  dropout(d.seed, d.step, d.stream, d.first + row * d.stride + k0, d.rate, weights, mask, out, n);
}

// e^(score - log sum) in place of each score of the row; 0 for what is not seen.
inline void final_weights(const simd::AttentionBlock& b, Index row, Index k0, Index n, float log_sum, float* scores) {
  const Seen seen(b, row, k0, n);
  if (seen.none()) return zero_row(scores, n);
  const Index used = seen.whole_vectors();
  zero_row(scores + used, n - used);
  for (Index k = 0; k < used; k += kWidth) {
    Vec p = exp_below(load(scores + k) - set1(log_sum));
    if (!seen.all_of(k)) p = select(lanes_within(k, seen.low, seen.high), p, zero());
    store(scores + k, p);
  }
}

// --- a block of queries ---

// Scaled queries one after the other, and addresses of their rows and of those of one or two blocks of scores.
struct AttentionRows {
  const float* q[kAttentionRows];
  float* scores[kAttentionRows];

  AttentionRows(const simd::AttentionBlock& b, float* queries, float* score_rows) {
    const Index dim = b.side.dim;
    for (Index r = 0; r < b.rows; ++r) {
      if (r + kAhead < b.rows) fetch_row(b.queries[r + kAhead], dim);
      float* const to = queries + r * dim;
      scale_row(b.queries[r], set1(b.scale), to, dim);
      q[r] = to;
      scores[r] = score_rows + r * kAttentionStride;
    }
  }
};

inline void block_scores(const simd::AttentionBlock& b, const AttentionRows& rows, Index first, Index last, Index k0, Index n) {
  if (b.additive != nullptr) {
    additive_scores(b.side, b.additive, first, last, k0, n, b.end, rows.q, rows.scores);
  } else if (b.side.ring()) {
    const Index used = (n + kWidth - 1) / kWidth * kWidth;
    zero_row(rows.scores[0], used);
    ring_product(b.side.dim, used, rows.q[0], b.side.keys + b.side.place(k0) * b.side.dim, kAttentionKeys, rows.scores[0]);
  } else {
    dot_scores(b.side, b.side.keys, b.side.dim, first, last, k0, n, b.end, rows.q, rows.scores);
  }
}

// Calls visit(first row, last row, k0, n) for each block of keys with the rows that see some of it.
template <class Visit>
REKUR_INLINE void over_key_blocks(const simd::AttentionBlock& b, Visit visit) {
  Index first = 0, last = 0;
  for (Index k0 = 0; k0 < b.side.count; k0 += kAttentionKeys) {
    const Index n = smaller(kAttentionKeys, b.side.count - k0);
    while (first < b.rows && b.end[first] <= k0) ++first;
    while (last < b.rows && b.begin[last] < k0 + n) ++last;
    if (first < last) visit(first, last, k0, n);
  }
}

// What is kept of each row from block to block: sixteen sums of weights, and the largest score, in a vector.
struct OnlineRows {
  float *sums, *largest;
  float* mask;  // kAttentionKeys floats, for dropout
};

REKUR_INLINE RowSum load_sum(const float* from) {
  RowSum sum;
  REKUR_UNROLL
  for (int j = 0; j < kSixteen; ++j) sum.s[j] = load(from + j * kWidth);
  return sum;
}

// e^(score - largest score so far) in place of the scores of the rows [first, last), at most a vector of them; what there is of the
// rows before `fresh` is scaled where their largest score has grown.
inline void online_weights(const simd::AttentionForward& f, const AttentionRows& rows, Index first, Index last, Index fresh,
                           Index k0, Index n, const OnlineRows& kept) {
  const simd::AttentionBlock& b = f.block;
  float grown[kWidth] = {};  // before - now, where they differ
  for (Index r = first; r < last; ++r) {
    const Seen seen(b, r, k0, n);
    if (seen.none()) continue;
    float* const s = rows.scores[r];
    const Vec before = load(kept.largest + r * kWidth);
    Vec most = before;
    seen.each_vector([&](Index k) { most = at_least(load(s + k), most); },
                     [&](Index k) {
                       const Vec v = select(lanes_within(k, seen.low, seen.high), load(s + k), set1(-REKUR_INFINITY));
                       store(s + k, v);
                       most = at_least(v, most);
                     });
    most = largest_everywhere(most);
    store(kept.largest + r * kWidth, most);
    grown[r - first] = select(most == before, zero(), before - most)[0];
  }
  if (first < fresh) store(grown, exp_below(load(grown)));
  for (Index r = first; r < last; ++r) {
    float* const s = rows.scores[r];
    const Seen seen(b, r, k0, n);
    if (seen.none()) {
      zero_row(s, n);
      continue;
    }
    const Index used = seen.whole_vectors();
    zero_row(s + used, n - used);
    RowSum sum = load_sum(kept.sums + r * 16);
    if (r < fresh) {
      const Vec factor = set1(grown[r - first]);
      REKUR_UNROLL
      for (Vec& each : sum.s) each *= factor;
      scale_row(f.out[r], factor, f.out[r], b.side.value_dim);
    }
    const Vec most = load(kept.largest + r * kWidth);
    by_sixteens(used, [&](Index k, Index, int j) REKUR_INLINED {
      const Vec p = exp_below(load(s + k) - most);
      store(s + k, p);
      sum.s[j] += p;
    });
    REKUR_UNROLL
    for (int j = 0; j < kSixteen; ++j) store(kept.sums + r * 16 + j * kWidth, sum.s[j]);
#if REKUR_TRAINING
    if (b.dropout.rate > 0) drop_weights(b.dropout, r, k0, n, s, kept.mask, s);
#endif
  }
}

inline void attend(const simd::AttentionForward& f) {
  const simd::AttentionBlock& b = f.block;
  float* const queries = f.work;
  float* const scores = queries + simd::attention_padded(kAttentionRows * b.side.dim, 16);
  float* const sums = scores + kAttentionRows * kAttentionStride;  // sixteen a row
  float* const largest = sums + kAttentionRows * 16;               // a number a row, in a vector
  [[maybe_unused]] float* const mask = largest + kAttentionRows * 16;
  const AttentionRows rows(b, queries, scores);
  const Index value_dim = b.side.value_dim;
  for (Index r = 0; r < b.rows; ++r) {
    for (int i = 0; i < 16; i += kWidth) store(sums + r * 16 + i, zero());
    store(largest + r * kWidth, set1(-REKUR_INFINITY));
  }
  Index begun = 0;  // rows with something in `out`
  const auto clear_until = [&](Index row) {
    for (; begun < row; ++begun)
      for (Index i = 0; i < value_dim; ++i) f.out[begun][i] = 0.0f;
  };
  over_key_blocks(b, [&](Index first, Index last, Index k0, Index n) {
    clear_until(b.side.ring() ? last : first);
    const Index fresh = begun > first ? smaller(begun, last) : first;  // of the rows from here on this is the first block
    block_scores(b, rows, first, last, k0, n);
    for (Index r = first; r < last; r += kWidth)
      online_weights(f, rows, r, smaller(r + kWidth, last), fresh, k0, n, {sums, largest, mask});
    if (b.side.ring()) {
      const Index padded = simd::attention_padded(value_dim, 16);
      ring_product(n, value_dim, rows.scores[0], b.side.values + b.side.place(k0) * padded, padded, f.out[0]);
    } else {
      const AttentionColumns values = attention_columns(b.side, value_dim, b.side.values, k0);
      add_weighted(values, first, fresh, k0, b.end, rows.scores, f.out);
      add_weighted(values, fresh, last, k0, b.end, rows.scores, f.out, true);
      begun = last > begun ? last : begun;
    }
  });
  clear_until(b.rows);
  for (Index r = 0; r < b.rows; ++r) {
    const bool sees = b.begin[r] < b.end[r];
    const float sum = load_sum(sums + r * 16).total();
    scale_row(f.out[r], set1(sees ? 1.0f / sum : 0.0f), f.out[r], value_dim);
    if (f.log_sums != nullptr) f.log_sums[r] = sees ? largest[r * kWidth] + REKUR_LOGF(sum) : REKUR_INFINITY;
  }
}

inline void attention_weights(const simd::AttentionWeights& w) {
  const simd::AttentionBlock& b = w.block;
  float* const queries = w.work;
  float* const scores = queries + simd::attention_padded(kAttentionRows * b.side.dim, 16);
  [[maybe_unused]] float* const mask = scores + kAttentionRows * kAttentionStride;
  const AttentionRows rows(b, queries, scores);
  for (Index r = 0; r < b.rows; ++r)
    for (Index k = 0; k < b.side.count; ++k) w.weights[r][k] = 0.0f;
  over_key_blocks(b, [&](Index first, Index last, Index k0, Index n) {
    block_scores(b, rows, first, last, k0, n);
    for (Index r = first; r < last; ++r) {
      float* const s = rows.scores[r];
      final_weights(b, r, k0, n, w.log_sums[r], s);
#if REKUR_TRAINING
      if (w.dropped && b.dropout.rate > 0) drop_weights(b.dropout, r, k0, n, s, mask, s);
#endif
      for (Index k = 0; k < n; k += kWidth) store_partial(w.weights[r] + k0 + k, load(s + k), lanes(k, n));
    }
  });
}

#if REKUR_TRAINING

// From the gradients of a row's scores, which must be zero where nothing is seen, those of its query, of the keys and of
// `additive`; d_lanes: [dim][kAttentionKeys], the gradient of the block's keys, transposed; sums: [dim] vectors.
inline void additive_backward(const simd::AttentionBlock& b, const float* q, const float* d_scores, Index k0, Index n,
                              float* d_query, float* d_lanes, float* d_additive) {
  for (Index i = 0; i < b.side.dim; ++i) {
    RowSum of_query, of_factor;
    const Vec factor = set1(b.additive[i]), x = set1(q[i]);
    by_sixteens((n + kWidth - 1) / kWidth * kWidth, [&](Index k, Index, int j) REKUR_INLINED {
      const Index p = k / kPanel * kPanel, width = vectors_in(k0 + p, b.side.count) * kWidth;
      const Vec t = tanh(x + load(b.side.keys + (k0 + p) * b.side.dim + i * width + (k - p)));
      const Vec d = load(d_scores + k);
      const Vec g = d * factor * fma(-t, t, set1(1.0f));
      of_factor.s[j] = fma(d, t, of_factor.s[j]);
      of_query.s[j] += g;
      float* const lane = d_lanes + i * kAttentionKeys + k;
      store(lane, load(lane) + g);
    });
    d_query[i] += of_query.total();
    if (d_additive != nullptr) d_additive[i] += of_factor.total();
  }
}

// Of the rows [first, last) of a block those that see one of the keys [m, m_end) after k0, counted from `first`.
struct RowsThatSee {
  const Index *begin, *end;
  Index first, last, k0;

  // The first row whose border is beyond `key`.
  Index beyond(const Index* border, Index key) const {
    Index low = first, high = last;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (border[middle] > key)
        high = middle;
      else
        low = middle + 1;
    }
    return low - first;
  }
  AllRows::Range operator()(Index m, Index m_end, Index) const { return {beyond(end, k0 + m), beyond(begin, k0 + m_end - 1)}; }
};

// ds = p ⊙ (dp - sum), where dp = mask ⊙ (d_out · value) and what arrives at the weights themselves.
inline void attend_backward(const simd::AttentionBackward& f) {
  const simd::AttentionBlock& b = f.block;
  const Index dim = b.side.dim, value_dim = b.side.value_dim;
  float* const queries = f.work;
  float* const scores = queries + simd::attention_padded(kAttentionRows * dim, 16);
  float* const d_scores = scores + kAttentionRows * (kAttentionStride + 16);
  float* const mask = d_scores + kAttentionRows * (kAttentionStride + 16);
  float* const d_lanes = mask + 2 * kAttentionKeys;
  float* const work_tn = d_lanes + kAttentionKeys * dim;
  const AttentionRows rows(b, queries, scores);
  float* d_rows[kAttentionRows];
  for (Index r = 0; r < b.rows; ++r) d_rows[r] = d_scores + r * kAttentionStride;
  const bool drops = b.dropout.rate > 0;
  over_key_blocks(b, [&](Index first, Index last, Index k0, Index n) {
    block_scores(b, rows, first, last, k0, n);
    dot_scores(b.side, f.value_lanes, value_dim, first, last, k0, n, b.end, f.d_out, d_rows);
    for (Index r = first; r < last; ++r) {
      float *const p = rows.scores[r], *const d = d_rows[r];
      final_weights(b, r, k0, n, f.log_sums[r], p);
      const Seen seen(b, r, k0, n);
      if (seen.none()) {
        zero_row(d, n);
        continue;
      }
      const float* const arrives = f.d_weights != nullptr ? f.d_weights[r] + k0 : nullptr;
      if (drops) {
        drop_weights(b.dropout, r, k0, n, nullptr, mask, nullptr);
        for (Index k = n; k < (n + kWidth - 1) / kWidth * kWidth; ++k) mask[k] = 0.0f;
      }
      const Index used = seen.whole_vectors();
      zero_row(d + used, n - used);
      for (Index k = 0; k < used; k += kWidth) {
        const Vec weight = load(p + k), factor = drops ? load(mask + k) : set1(1.0f);
        const Vec extra = arrives != nullptr ? load_partial(arrives + k, lanes(k, n)) : zero();
        const Vec dp = f.d_dropped ? (load(d + k) + extra) * factor : fma(load(d + k), factor, extra);
        Vec ds = weight * (dp - set1(f.d_sums[r]));
        if (!seen.all_of(k)) ds = select(lanes_within(k, seen.low, seen.high), ds, zero());
        store(d + k, ds);
        store(p + k, weight * factor);
      }
    }
    const ConstRows d_out = f.d_out + first;
    const RowsThatSee rows_of{b.begin, b.end, first, last, k0};
    gemm_tn_of(n, value_dim, last - first, rows.scores + first, 0, d_out, 0, f.d_values + k0 * value_dim, value_dim, true, work_tn,
               rows_of);
    if (b.additive == nullptr) {
      add_weighted(attention_columns(b.side, dim, f.key_rows, k0), first, last, k0, b.end, d_rows, f.d_queries);
      gemm_tn_of(n, dim, last - first, d_rows + first, 0, rows.q + first, 0, f.d_keys + k0 * dim, dim, true, work_tn, rows_of);
      return;
    }
    for (Index i = 0; i < dim * kAttentionKeys; ++i) d_lanes[i] = 0.0f;
    for (Index r = first; r < last; ++r) additive_backward(b, rows.q[r], d_rows[r], k0, n, f.d_queries[r], d_lanes, f.d_additive);
    for (Index k = 0; k < n; ++k)
      for (Index i = 0; i < dim; ++i) f.d_keys[(k0 + k) * dim + i] += d_lanes[i * kAttentionKeys + k];
  });
}

#endif

constexpr simd::AttentionKernels make_attention_kernels() {
  return {
      .pack_keys = pack_attention_keys,
      .pack_values = pack_attention_values,
      .forward = attend,
      .weights = attention_weights,
#if REKUR_TRAINING
      .backward = attend_backward,
#endif
  };
}

}  // namespace
}  // namespace rekur
