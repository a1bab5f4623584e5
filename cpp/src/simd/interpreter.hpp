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

inline void select_all(const float* condition, const float* a, const float* b, float* y, Index n) {
  for (Index i = 0; i < n; i += kWidth) {
    const Index count = lanes(i, n);
    const Vec chosen = select(load_partial(condition + i, count) != zero(), load_partial(a + i, count), load_partial(b + i, count));
    store_partial(y + i, chosen, count);
  }
}

// The rows of an instruction's operands: one long one where all of them are contiguous.
struct InstructionRows {
  const float *a, *b, *c;
  float* y;
  Index a_stride, b_stride, c_stride, y_stride, rows, n;

  InstructionRows(const simd::Instruction& i, const simd::Operand* operands, int used, Index all_rows, Index features)
      : a(operands[i.from[0]].data),
        b(operands[i.from[1]].data),
        c(operands[i.from[2]].data),
        y(operands[i.to].data),
        a_stride(operands[i.from[0]].stride),
        b_stride(operands[i.from[1]].stride),
        c_stride(operands[i.from[2]].stride),
        y_stride(operands[i.to].stride),
        rows(all_rows),
        n(features) {
    const bool contiguous =
        rows == 1 || (y_stride == n && a_stride == n && (used < 2 || b_stride == n) && (used < 3 || c_stride == n));
    if (i.by_row || contiguous) {
      n = i.by_row ? rows : rows * n;
      rows = 1;
    }
  }

  // f(a, b, c, y, n) for each.
  template <class F>
  REKUR_INLINE void each(const F& f) const {
    const float *ra = a, *rb = b, *rc = c;
    float* ry = y;
    for (Index row = 0; row < rows; ++row, ra += a_stride, rb += b_stride, rc += c_stride, ry += y_stride) f(ra, rb, rc, ry, n);
  }
  template <class F>
  REKUR_INLINE void one(const F& f) const {
    each([&](const float* x, const float*, const float*, float* to, Index count) { map(x, to, count, f); });
  }
  template <class F>
  REKUR_INLINE void two(const F& f) const {
    each([&](const float* u, const float* v, const float*, float* to, Index count) { map(u, v, to, count, f); });
  }
};

// How many values an operation reads, as far as their strides matter.
constexpr int values_read(simd::Op op) {
  using simd::Op;
  return op == Op::select ? 3 : (op >= Op::add && op <= Op::equal) || op == Op::slope || op == Op::activate_sum ? 2 : 1;
}

// to[row] of n numbers each.
inline void row_sums(const float* x, Index stride, float* to, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, x += stride) {
    RowSum sum;
    by_sixteens(n, [&](Index i, Index count, int j) REKUR_INLINED { sum.s[j] += load_partial(x + i, count); });
    to[row] = sum.total();
  }
}
inline void row_maxima(const float* x, Index stride, float* to, Index rows, Index n) {
  for (Index row = 0; row < rows; ++row, x += stride) {
    Vec largest = set1(-REKUR_INFINITY);
    Index i = 0;
    for (; i + kWidth <= n; i += kWidth) largest = maximum(largest, load(x + i));
    if (i < n) largest = maximum(largest, fill_beyond(load_partial(x + i, n - i), n - i, -REKUR_INFINITY));
    to[row] = largest_lane(largest);
  }
}

#if REKUR_COMPACT_KERNELS
inline void activate_sum(Activation f, const float* a, const float* b, float* y, Index n) {
  const VectorFunction value = function_of(f.kind);
  map(a, b, y, n, [&](Vec u, Vec v) { return value(u + v, f.alpha, f.beta); });
}
#else
inline void activate_sum(Activation f, const float* a, const float* b, float* y, Index n) {
  with_kind(f.kind, [&](auto k) { map(a, b, y, n, [&](Vec u, Vec v) { return activation_of_many<k.kind>(f, u + v); }); });
}
#endif

// Functions of their own: with all activations in one, clang's stack frame was beyond what is promised of a call.
REKUR_NOINLINE inline void activate_rows(Activation f, const InstructionRows& r) {
  r.each([&](const float* x, const float*, const float*, float* y, Index n) { activate(f, x, y, n); });
}
REKUR_NOINLINE inline void activate_sum_rows(Activation f, const InstructionRows& r) {
  r.each([&](const float* a, const float* b, const float*, float* y, Index n) { activate_sum(f, a, b, y, n); });
}
#if REKUR_TRAINING
REKUR_NOINLINE inline void slope_rows(Activation f, const InstructionRows& r) {
  r.each([&](const float* y, const float* dy, const float*, float* dx, Index n) { activate_backward(f, y, dy, dx, n); });
}
#endif

inline void interpret(const simd::Instruction* code, Index count, const simd::Operand* operands, Index rows, Index features) {
  using simd::Op;
  for (const simd::Instruction* i = code; i != code + count; ++i) {
    const InstructionRows r(*i, operands, values_read(i->op), rows, features);
    switch (i->op) {
      case Op::copy:
        r.one([](Vec v) { return v; });
        break;
      case Op::negative:
        r.one([](Vec v) { return -v; });
        break;
      case Op::absolute:
        r.one([](Vec v) { return abs(v); });
        break;
      case Op::exp:
        r.one([](Vec v) { return exp(v); });
        break;
      case Op::log:
        r.one([](Vec v) { return log(v); });
        break;
      case Op::log1p:
        r.one([](Vec v) { return log1p(v); });
        break;
      case Op::sqrt:
        r.one([](Vec v) { return sqrt(v); });
        break;
      case Op::sin:
        r.one([](Vec v) { return sin(v); });
        break;
      case Op::cos:
        r.one([](Vec v) { return cos(v); });
        break;
      case Op::erf:
        r.one([](Vec v) { return erf(v); });
        break;
      case Op::activate:
        activate_rows(i->f, r);
        break;
      case Op::activate_sum:
        activate_sum_rows(i->f, r);
        break;
      case Op::add:
        r.two([](Vec u, Vec v) { return u + v; });
        break;
      case Op::subtract:
        r.two([](Vec u, Vec v) { return u - v; });
        break;
      case Op::multiply:
        r.two([](Vec u, Vec v) { return u * v; });
        break;
      case Op::divide:
        r.two([](Vec u, Vec v) { return u / v; });
        break;
      case Op::minimum:
        r.two([](Vec u, Vec v) { return minimum(u, v); });
        break;
      case Op::maximum:
        r.two([](Vec u, Vec v) { return maximum(u, v); });
        break;
      case Op::less:
        r.two([](Vec u, Vec v) { return truth(u < v); });
        break;
      case Op::less_equal:
        r.two([](Vec u, Vec v) { return truth(u <= v); });
        break;
      case Op::equal:
        r.two([](Vec u, Vec v) { return truth(u == v); });
        break;
      case Op::select:
        r.each(select_all);
        break;
      case Op::expand:
        for (Index row = 0; row < rows; ++row)
          for (Index j = 0; j < features; j += kWidth)
            store_partial(r.y + row * r.y_stride + j, set1(r.a[row]), lanes(j, features));
        break;
      case Op::row_sum:
      case Op::row_mean:
        row_sums(r.a, r.a_stride, r.y, rows, features);
        if (i->op == Op::row_mean)
          for (Index row = 0; row < rows; ++row) r.y[row] /= static_cast<float>(features);
        break;
      case Op::row_maximum:
        row_maxima(r.a, r.a_stride, r.y, rows, features);
        break;
      case Op::row_count:
        for (Index row = 0; row < rows; ++row) r.y[row] = static_cast<float>(features);
        break;
      case Op::slope:
#if REKUR_TRAINING
        slope_rows(i->f, r);
#endif
        break;
      case Op::none:
        break;
    }
  }
}

}  // namespace
}  // namespace rekur
