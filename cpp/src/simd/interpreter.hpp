// Carries out equations: one instruction after the other over a block, whose values stand in the first-level cache. Included by the
// ISA units only.
//
// With blocks of some 256 numbers, choosing the operation costs nothing beside doing it, and values that are stored and loaded
// between two instructions cost up to 3 % of a cell of several activations (45 % of three additions).
#pragma once

#include "simd/functions.hpp"
#include "simd/instruction.hpp"
#include "simd/pointwise.hpp"

namespace rekur {
namespace {

// NaN where either is; at_most and at_least keep that of their first operand.
REKUR_INLINE Vec minimum(Vec a, Vec b) { return select(b != b, b, at_most(a, b)); }
REKUR_INLINE Vec maximum(Vec a, Vec b) { return select(b != b, b, at_least(a, b)); }
REKUR_INLINE Vec truth(IVec mask) { return as_float(mask & as_int(set1(1.0f))); }

inline void select_all(const float* condition, const float* a, const float* b, float* y, Index n) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec chosen = select(load_partial(condition + i, count) != zero(), load_partial(a + i, count), load_partial(b + i, count));
    store_partial(y + i, chosen, count);
  }
}

// to[row] of n numbers each; `ahead` folds another vector in, lanes beyond the row are `neutral`.
template <class Fold, class Lanes>
REKUR_INLINE void reduce_rows(const float* x, float* to, Index rows, Index n, float neutral, const Fold& ahead,
                              const Lanes& lanes_of) {
  for (Index row = 0; row < rows; ++row, x += n) {
    Vec folded = set1(neutral);
    Index i = 0;
    for (; i + kWidth <= n; i += kWidth) folded = ahead(folded, load(x + i));
    if (i < n) folded = ahead(folded, fill_beyond(load_partial(x + i, n - i), n - i, neutral));
    to[row] = lanes_of(folded);
  }
}

inline float largest_lane(Vec v) {
  float largest = v[0];
  for (int lane = 1; lane < kWidth; ++lane) largest = v[lane] > largest || v[lane] != v[lane] ? v[lane] : largest;
  return largest;
}

inline void interpret(const simd::Instruction* code, Index count, float* const* operands, Index rows, Index features) {
  using simd::Op;
  for (const simd::Instruction* i = code; i != code + count; ++i) {
    const float *a = operands[i->from[0]], *b = operands[i->from[1]];
    float* const y = operands[i->to];
    const Index n = i->by_row ? rows : rows * features;
    switch (i->op) {
      case Op::copy:
        map(a, y, n, [](Vec v) { return v; });
        break;
      case Op::negative:
        map(a, y, n, [](Vec v) { return -v; });
        break;
      case Op::absolute:
        map(a, y, n, [](Vec v) { return abs(v); });
        break;
      case Op::exp:
        exp_all(a, y, n);
        break;
      case Op::log:
        map(a, y, n, [](Vec v) { return log(v); });
        break;
      case Op::log1p:
        map(a, y, n, [](Vec v) { return log1p(v); });
        break;
      case Op::sqrt:
        map(a, y, n, [](Vec v) { return sqrt(v); });
        break;
      case Op::sin:
        map(a, y, n, [](Vec v) { return sin(v); });
        break;
      case Op::cos:
        map(a, y, n, [](Vec v) { return cos(v); });
        break;
      case Op::erf:
        map(a, y, n, [](Vec v) { return erf(v); });
        break;
      case Op::activate:
        activate(i->f, a, y, n);
        break;
      case Op::add:
        add(a, b, y, n);
        break;
      case Op::subtract:
        subtract(a, b, y, n);
        break;
      case Op::multiply:
        multiply(a, b, y, n);
        break;
      case Op::divide:
        divide(a, b, y, n);
        break;
      case Op::minimum:
        map(a, b, y, n, [](Vec u, Vec v) { return minimum(u, v); });
        break;
      case Op::maximum:
        map(a, b, y, n, [](Vec u, Vec v) { return maximum(u, v); });
        break;
      case Op::less:
        map(a, b, y, n, [](Vec u, Vec v) { return truth(u < v); });
        break;
      case Op::less_equal:
        map(a, b, y, n, [](Vec u, Vec v) { return truth(u <= v); });
        break;
      case Op::equal:
        map(a, b, y, n, [](Vec u, Vec v) { return truth(u == v); });
        break;
      case Op::select:
        select_all(a, b, operands[i->from[2]], y, n);
        break;
      case Op::expand:
        for (Index row = 0; row < rows; ++row)
          for (Index j = 0; j < features; ++j) y[row * features + j] = a[row];
        break;
      case Op::row_sum:
      case Op::row_mean:
        reduce_rows(a, y, rows, features, 0.0f, [](Vec s, Vec v) { return s + v; }, horizontal_sum);
        if (i->op == Op::row_mean)
          for (Index row = 0; row < rows; ++row) y[row] /= static_cast<float>(features);
        break;
      case Op::row_maximum:
        reduce_rows(a, y, rows, features, -__builtin_inff(), [](Vec s, Vec v) { return maximum(s, v); }, largest_lane);
        break;
      case Op::slope:
#if REKUR_TRAINING
        activate_backward(i->f, a, b, y, n);
#endif
        break;
      case Op::none:
        break;
    }
  }
}

}  // namespace
}  // namespace rekur
