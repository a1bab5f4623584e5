#include "recurrent/large_products.hpp"

#include "isa/dispatch.hpp"

namespace rekur::recurrent {

LargeProducts::LargeProducts(const Backward& run, Index chunk, Index most_inputs, int threads, Scratch& scratch)
    : b_(run), f_(run.forward), r_(Engine::impl(*run.forward.layer)), Hp_(padded(r_.H)), y_(outputs(f_)) {
  for (const Product& product : r_.cell.products)
    if (product.state >= 0 && run.d_weights.recurrent_kernel) multiplied_[product.state] = true;
  for (const UnitWeight& weight : r_.cell.unit_weights)
    if (weight.with == UnitWeight::With::previous && run.d_weights.unit_weights) multiplied_[weight.state] = true;
  for (int k = 1; r_.bf16() && k < r_.cell.states; ++k)
    if (multiplied_[k]) narrow_beginnings(k, scratch);
  group_ = sums_by_groups(r_) ? steps_together(f_.B) : 0;
  if (group_ > 0) {
    Index floats = std::max(r_.record(Hp_), r_.input_offset(r_.cell.x_first + r_.cell.x_count - 1) + r_.I);
    for (int k = 0; k < r_.cell.states; ++k) floats = std::max(floats, r_.width(k));
    const std::span<float> zeros = scratch.take<float>(floats + isa::kernels().width);
    std::fill(zeros.begin(), zeros.end(), 0.0f);
    zeros_ = zeros.data();
  }
  const Index dx_pairs = b_.dx ? most_inputs * chunk * f_.B : 0;
  const Index pairs = chunk * f_.B + (group_ > 0 ? (chunk / group_ + 1) * 31 : 0);
  most_dx_pairs_ = dx_pairs;
  for (Lists& l : lists_) {
    for (auto* rows : {&l.records, &l.x}) *rows = scratch.take<const float*>(pairs).data();
    for (int k = 0; k < r_.cell.states; ++k) {
      l.state_records[k] = scratch.take<const float*>(multiplied_[k] ? pairs : 0).data();
      l.previous[k] = scratch.take<const float*>(multiplied_[k] ? pairs : 0).data();
      l.state_pairs[k] = 0;
    }
    l.dx_records = scratch.take<const float*>(r_.input_sets() * dx_pairs).data();
    l.dx = scratch.take<float*>(dx_pairs).data();
    l.pairs = l.dx_pairs = 0;
  }
  constexpr Index kMostColumns = 256, kFewestColumns = 64, kTilesPerThread = 4;
  for (columns_ = kMostColumns;; columns_ /= 2) {
    tile_count_ = 0;
    cut(threads, [&](const Tile&) { ++tile_count_; });
    if (threads == 1 || tile_count_ >= kTilesPerThread * threads || columns_ == kFewestColumns) break;
  }
  tiles_ = scratch.take<Tile>(tile_count_).data();
  Index n = 0;
  cut(threads, [&](const Tile& tile) { tiles_[n++] = tile; });
  // All pairs at once read W_x once; so it is cut by columns, and by pairs only where there are few columns.
  const Index panels = (r_.I + isa::kernels().panel - 1) / isa::kernels().panel;
  column_parts_ = threads == 1 ? 1 : std::min<Index>(panels, 2 * threads);
  pairs_per_tile_ = threads == 1 || column_parts_ >= threads ? std::max<Index>(pairs, 1) : 48;
}

// Few large tiles read the tape least often; several a thread share the work evenly, the largest first. The cut changes no sum.
template <class F>
void LargeProducts::cut(int threads, F&& tile) const {
  const Index most = threads <= 2 ? 480 : 192;
  const auto add = [&](int product, int first, int count, Index rows, Index columns) {
    for (int slot = first; slot < first + count; ++slot)
      for (Index m = 0; m < rows; m += most)
        for (Index n = 0; n < columns; n += columns_)
          tile(Tile{product, slot, m, std::min(m + most, rows), n, std::min(n + columns_, columns)});
  };
  for (std::size_t p = 0; p < r_.cell.products.size(); ++p) {
    const Product& product = r_.cell.products[p];
    if (product.projects ? b_.d_weights.projection != nullptr : b_.d_weights.recurrent_kernel != nullptr)
      add(static_cast<int>(p), product.first, product.count, r_.rows(product), r_.columns(product));
  }
  if (b_.d_weights.kernel) add(kKernel, r_.cell.x_first, r_.cell.x_count, r_.I, r_.H);
  if (b_.d_weights.bias) add(kBias, 0, r_.cell.slots, 1, r_.H);
  for (std::size_t w = 0; b_.d_weights.unit_weights && w < r_.cell.unit_weights.size(); ++w)
    if (r_.cell.unit_weights[w].with != UnitWeight::With::swept) add(kUnits, static_cast<int>(w), 1, 1, r_.H);
}

template <class F>
void LargeProducts::each_step(Steps steps, F&& f) const {
  for (Index step = 0; step < steps.high - steps.low; ++step) f(f_.reverse ? steps.low + step : steps.high - 1 - step);
}

void LargeProducts::narrow_beginnings([[maybe_unused]] int k, [[maybe_unused]] Scratch& scratch) {
#if REKUR_BF16
  const Index width = r_.width(k), stride = simd::bf16_row_floats(width);
  const float* const from[] = {f_.initial[k], f_.resets ? f_.anew(k) : nullptr};
  const float** const to[] = {&narrow_initial_[k], &narrow_anew_[k]};
  for (int i = 0; i < 2; ++i) {
    if (!from[i]) continue;
    float* const rows = scratch.take<float>(f_.B * stride).data();
    *to[i] = rows;
    for (Index b = 0; b < f_.B; ++b) isa::kernels().narrow_bf16(1, width, &from[i], b * width, rows + b * stride, 0);
  }
#endif
}

const float* LargeProducts::beginning(int k, Index b, const float* all) const {
  if (k == 0 || !r_.bf16()) return all + b * r_.width(k);
  return (all == f_.initial[k] ? narrow_initial_[k] : narrow_anew_[k]) + b * simd::bf16_row_floats(r_.width(k));
}

// pair(t, b, length of row b, record) for the valid pairs, in the order of the sweep.
template <class F>
void LargeProducts::each_pair(Steps steps, F&& pair) const {
  each_step(steps, [&](Index t) {
    for (Index b = 0; b < f_.B; ++b) {
      const Index length = length_of(f_, b);
      if (t < length) pair(t, b, length, record_of(f_, r_, Hp_, b, t));
    }
  });
}

void LargeProducts::list(Index i, Steps swept, const Steps (&inputs)[2]) {
  Lists& l = lists_[i % 2];
  l.pairs = l.dx_pairs = 0;
  for (Index& pairs : l.state_pairs) pairs = 0;
  const bool even = !f_.lengths && !f_.list && !f_.resets;
  each_step(swept, [&](Index t) {
    if (even)
      list_step(l, t);
    else
      list_pairs(l, {t, t + 1});
    close_group(l, t);
  });
  for (const Steps& steps : inputs) {
    if (!b_.dx) break;
    if (even) {
      each_step(steps, [&](Index t) { list_inputs(l, t); });
      continue;
    }
    each_pair(steps, [&](Index t, Index b, Index, const float* record) {
      for (int set = 0; set < r_.input_sets(); ++set) l.dx_records[set * most_dx_pairs_ + l.dx_pairs] = record + gradient_of(set);
      l.dx[l.dx_pairs++] = b_.dx.row(b, f_.place(b, t));
    });
  }
}

void LargeProducts::close_group(Lists& l, Index t) const {
  if (group_ == 0 || (f_.reverse ? f_.T - 1 - t : t) % group_ != 0) return;
  constexpr Index kPairs = 32;
  for (; l.pairs % kPairs != 0; ++l.pairs) l.records[l.pairs] = l.x[l.pairs] = zeros_;
  for (int k = 0; k < r_.cell.states; ++k)
    for (Index& n = l.state_pairs[k]; n % kPairs != 0; ++n) l.state_records[k][n] = l.previous[k][n] = zeros_;
}

void LargeProducts::list_pairs(Lists& l, Steps swept) const {
  each_pair(swept, [&](Index t, Index b, Index length, const float* record) {
    l.records[l.pairs] = record;
    l.x[l.pairs++] = f_.x.row(b, f_.place(b, t));
    // A previous state of zeros adds nothing to the gradient of what it was multiplied with; by groups it has its place there.
    const bool first = f_.begins(b, t, length);
    const Index previous = f_.reverse ? t + 1 : t - 1;
    for (int k = 0; k < r_.cell.states; ++k) {
      const float* const all = first ? f_.beginning(k, b, t, length) : nullptr;
      if (!multiplied_[k] || (first && all == nullptr && group_ == 0)) continue;
      // The sweep leaves the states in the tape as they are.
      l.previous[k][l.state_pairs[k]] = first    ? all != nullptr ? beginning(k, b, all) : zeros_
                                        : k == 0 ? y_.row(b, f_.output_place(b, previous))
                                                 : record_of(f_, r_, Hp_, b, previous) + r_.kept(r_.state_slot(k) * Hp_);
      l.state_records[k][l.state_pairs[k]++] = record;
    }
  });
}

// The same of a step that all rows have and at which none begins anew: what is listed is evenly spaced, and a pair takes a cycle or
// two instead of forty.
void LargeProducts::list_step(Lists& l, Index t) const {
  const Index B = f_.B, apart = r_.record(Hp_), previous = f_.reverse ? t + 1 : t - 1;
  const float* const record = record_of(f_, r_, Hp_, 0, t);
  list_evenly(l.records + l.pairs, record, apart, B);
  list_evenly(l.x + l.pairs, f_.x.row(0, t), f_.x.stride_b, B);
  l.pairs += B;
  const bool first = f_.starts(t, f_.T);
  for (int k = 0; k < r_.cell.states; ++k) {
    const bool none = first && f_.initial[k] == nullptr;
    if (!multiplied_[k] || (none && group_ == 0)) continue;
    const float** const to = l.previous[k] + l.state_pairs[k];
    if (none)
      list_evenly(to, zeros_, 0, B);
    else if (first)
      list_evenly(to, beginning(k, 0, f_.initial[k]), beginning(k, 1, f_.initial[k]) - beginning(k, 0, f_.initial[k]), B);
    else if (k == 0)
      list_evenly<const float>(to, y_.row(0, previous), y_.stride_b, B);
    else
      list_evenly<const float>(to, record_of(f_, r_, Hp_, 0, previous) + r_.kept(r_.state_slot(k) * Hp_), apart, B);
    list_evenly(l.state_records[k] + l.state_pairs[k], record, apart, B);
    l.state_pairs[k] += B;
  }
}

void LargeProducts::list_inputs(Lists& l, Index t) const {
  const float* const record = record_of(f_, r_, Hp_, 0, t);
  for (int set = 0; set < r_.input_sets(); ++set)
    list_evenly(l.dx_records + set * most_dx_pairs_ + l.dx_pairs, record + gradient_of(set), r_.record(Hp_), f_.B);
  list_evenly(l.dx + l.dx_pairs, b_.dx.row(0, t), b_.dx.stride_b, f_.B);
  l.dx_pairs += f_.B;
}

void LargeProducts::weight_tile(const Lists& l, const Tile& tile, bool accumulate, float* work) const {
  const auto& k = isa::kernels();
  const Index XH = r_.cell.kernel_blocks * r_.H, RH = r_.cell.recurrent_blocks * r_.H, M = tile.m1 - tile.m0, N = tile.n1 - tile.n0;
  if (tile.product == kUnits) return unit_tile(l, tile, accumulate, work);
#if REKUR_BF16
  const Index group = (r_.packed.group & kAmx) != 0 && group_ == 0 ? Index{kBf16Floats} : r_.packed.group;
#endif
  // of_records: so are the rows of A.
  const auto product_tn = [&]([[maybe_unused]] bool of_records, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset,
                              float* c, Index ldc) {
    if (r_.units_first) return k.gemm_tn(N, M, K, b, b_offset, a, a_offset, c, ldc, accumulate, work);
#if REKUR_BF16
    if (r_.bf16()) return k.gemm_tn_bf16(group, {of_records, true}, M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work);
#endif
    k.gemm_tn(M, N, K, a, a_offset, b, b_offset, c, ldc, accumulate, work);
  };
  // Where a gradient of so many rows and columns begins to be written; its matrix may have a row a column.
  const auto place = [&](float* matrix, Index row, Index column, Index rows, Index columns) {
    return matrix + (r_.units_first ? column * rows + row : row * columns + column);
  };
  const Index from = tile.slot * Hp_ + tile.n0;
  const Index x_to = r_.cell.kernel_block[static_cast<std::size_t>(tile.slot)] * r_.H + tile.n0;
  const Index recurrent_to = r_.cell.recurrent_block[static_cast<std::size_t>(tile.slot)] * r_.H + tile.n0;
  if (tile.product == kKernel) {
    product_tn(false, l.pairs, l.x, r_.input_offset(tile.slot) + tile.m0, l.records, from,
               place(b_.d_weights.kernel, tile.m0, x_to, r_.I, XH), r_.units_first ? r_.I : XH);
  } else if (tile.product >= 0) {
    const Product& product = r_.cell.products[static_cast<std::size_t>(tile.product)];
    const Index rows = product.projects ? r_.H : r_.rows(product), columns = product.projects ? r_.P : RH;
    float* const to = product.projects ? place(b_.d_weights.projection, tile.m0, tile.n0, rows, columns)
                                       : place(b_.d_weights.recurrent_kernel, tile.m0, recurrent_to, rows, columns);
    const Index stride = r_.units_first ? rows : columns;
    const int s = product.state;
    if (s >= 0)
      product_tn(s > 0, l.state_pairs[s], l.previous[s], tile.m0, l.state_records[s], from, to, stride);
    else
      product_tn(true, l.pairs, l.records, tile.m0 + product.slot * Hp_, l.records, from, to, stride);
  } else {
    const auto within = [&](int first, int count) { return tile.slot >= first && tile.slot < first + count; };
    if (within(r_.cell.x_first, r_.cell.x_count))
      column_sums(N, l.pairs, l.records, from, nullptr, 0, b_.d_weights.bias + x_to, accumulate, work);
    if (!r_.cell.recurrent_bias) return;
    for (const Product& product : r_.cell.products)
      if (within(product.first, product.count) && !product.projects)
        column_sums(N, l.pairs, l.records, from, nullptr, 0, b_.d_weights.bias + XH + recurrent_to, accumulate, work);
  }
}

void LargeProducts::column_sums(Index N, Index K, ConstRows records, Index from, ConstRows other, Index other_from, float* to,
                                bool accumulate, [[maybe_unused]] float* work) const {
  const auto& k = isa::kernels();
  const auto sums = [&](Index rows, ConstRows a, Index a_from, ConstRows b, Index b_from, bool add) {
    other ? k.column_dots(N, rows, a, a_from, b, b_from, to, add) : k.column_sums(N, rows, a, a_from, to, add);
  };
  if (!r_.bf16()) return sums(K, records, from, other, other_from, accumulate);
#if REKUR_BF16
  // Rows of bf16 are widened, some at a time.
  constexpr Index kRows = 16;
  const Index stride = (N + k.width - 1) / k.width * k.width;
  const float *a[kRows], *b[kRows] = {};
  for (Index row = 0; row == 0 || row < K; row += kRows) {
    const Index count = std::min(kRows, K - row);
    for (Index i = 0; i < count; ++i) {
      float* const widened = work + 2 * i * stride;
      a[i] = widened;
      k.widen_bf16(stride, records[row + i] + from / 2, widened);
      if (!other) continue;
      b[i] = widened + stride;
      k.widen_bf16(stride, other[row + i] + other_from / 2, widened + stride);
    }
    sums(count, a, 0, b, 0, accumulate || row > 0);
  }
#endif
}

// Σ over pairs of a slot's gradient, times the state that the weight was multiplied with.
void LargeProducts::unit_tile(const Lists& l, const Tile& tile, bool accumulate, float* work) const {
  const UnitWeight& weight = r_.cell.unit_weights[static_cast<std::size_t>(tile.slot)];
  const Index from = weight.slot * Hp_ + tile.n0, N = tile.n1 - tile.n0;
  float* const to = b_.d_weights.unit_weights + tile.slot * r_.H + tile.n0;
  const int s = weight.state;
  switch (weight.with) {
    case UnitWeight::With::one:
      return column_sums(N, l.pairs, l.records, from, nullptr, 0, to, accumulate, work);
    case UnitWeight::With::previous:
      return column_sums(N, l.state_pairs[s], l.state_records[s], from, l.previous[s], tile.n0, to, accumulate, work);
    case UnitWeight::With::swept:
      return;
    case UnitWeight::With::next:
      return column_sums(N, l.pairs, l.records, from, l.records, r_.state_slot(s) * Hp_ + tile.n0, to, accumulate, work);
  }
}

void LargeProducts::input_tile(const Lists& l, Index tile) const {
  const Index panel = isa::kernels().panel, panels = (r_.I + panel - 1) / panel;
  const Index part = tile % column_parts_, begin = tile / column_parts_ * pairs_per_tile_;
  const Index end = std::min(begin + pairs_per_tile_, l.dx_pairs);
  const Index n0 = panels * part / column_parts_ * panel, n1 = std::min(panels * (part + 1) / column_parts_ * panel, r_.I);
  for (int set = 0; set < r_.input_sets(); ++set)
    input_rows(end - begin, n0, n1, set, l.dx_records + set * most_dx_pairs_ + begin, l.dx + begin);
}

// Columns [n0, n1) of the gradient of what the blocks of a set read.
void LargeProducts::input_rows(Index rows, Index n0, Index n1, int set, const float* const* from, float* const* to) const {
  const auto& k = isa::kernels();
  const Index K = r_.set_count() * Hp_, padded_columns = (r_.I + k.width - 1) / k.width * k.width;
  const Index column = r_.input_offset(r_.cell.x_first + set) + n0;
  const float* const weights = r_.packed.input_transposed.data();
#if REKUR_BF16
  if (r_.bf16())
    return k.gemm_bf16(r_.packed.group, rows, n1 - n0, K, from, weights + (set * padded_columns + n0) * ((K + 1) / 2), nullptr, to,
                       column, true);
#endif
  k.gemm(rows, n1 - n0, K, from, weights + set * K * padded_columns + n0 * K, nullptr, to, column, true);
}

}  // namespace rekur::recurrent
