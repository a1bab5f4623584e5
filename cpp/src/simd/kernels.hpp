// What every ISA provides to the layers, the training passes and the recurrent engine: one table of function pointers.
// No argument may be null unless it says so. n and the dimensions may be zero. Inputs and outputs may be the same array
// where marked "in place". Every element is computed alike wherever it stands (tails go through the same vector code),
// so splitting a range between threads never changes a bit.
#pragma once

#include <cstdint>

#include "rekur/activation.hpp"
#include "rekur/detail/compiler.hpp"
#include "rekur/tensor.hpp"
#include "simd/instruction.hpp"

namespace rekur {

// A matrix given by the addresses of its rows: rows of a (B, T, F) array in any order, of a tape, of a state.
using Rows = float* const*;
using ConstRows = const float* const*;

// Products of bf16 come with training. The compact library does without: they would take 38 KB.
#if REKUR_TRAINING && !defined(REKUR_FLOAT_PANELS)
#define REKUR_BF16 1
#else
#define REKUR_BF16 0
#endif

// Whether the AVX-512 unit has products by AMX, tiles of registers of some processors. Linux gives them to who asks (isa/amx.hpp).
#if defined(__x86_64__) && defined(__linux__) && (REKUR_INT8 || REKUR_BF16)
#define REKUR_AMX 1
#else
#define REKUR_AMX 0
#endif

// In what a layer's products are computed; states, sums and everything else are float32.
enum class Precision : std::uint8_t { float32, bf16, int8 };

// How products of rounded rows are taken, a `group`: of eight bits how many numbers of a row an instruction multiplies by those of
// a column, 2, 4 or 8 (simd/int8.hpp); of bf16 kBf16Pairs or kBf16Dots (simd/bf16.hpp). With kAmx besides, of as many numbers a
// lane by AMX.
inline constexpr Index kAmx = 64;
inline constexpr Index kAmxSums = 64;                             // floats a row that it leaves a panel's sums in
enum : Index { kBf16Pairs = 1, kBf16Dots = 2, kBf16Floats = 3 };  // the last of gemm_tn alone: rounded floats, the bits of pairs
constexpr Index numbers_of(Index group) { return group % kAmx; }

namespace simd {

// Which sides of a product are rows in pairs of bf16 already.
struct NarrowSides {
  bool a = false, b = false;
};

// Columns of a packed matrix B[K][N] for `gemm`: panels of `panel` columns (`panel` = vectors_per_panel · width), k-major:
// panel j holds B[0][j·panel ..], B[1][j·panel ..], …; the last panel has as many whole vectors as it needs, zero-filled.
// So a packed matrix has K · round_up(N, width) floats, and panel j starts at j · panel · K.
// `pack` in simd/pack.hpp (ordinary C++) makes them.

// What a step of an optimiser computes of w, the gradient x = scale · g and the slots a and b; moments are β · before + (1 - β) ·
// now.
//
//   nadam     a = moment of x, b = moment of x²:  w -= lr (p a + q x) / (√(r b) + ε)
//   adamax    a = moment of x, b = max(|x|, β₂ b):  w -= lr a / (p (b + ε))
//   adagrad   a += x²:  w -= lr x / √(a + ε)
//   adadelta  a = moment of x² by β₂, s = -√(b + ε) x / √(a + ε), b = moment of s² by β₂:  w += lr s
//   ftrl      a' = a + x², b += x + q w - (a'^p - a^p) w / lr:  w = (b clipped to ±β₁ - b) / (a'^p / lr + r)
//   lion      w -= lr sign(moment of x by β₁ from a), a = moment of x by β₂
//   lamb      a = moment of x, b = moment of x²:  g = p a / (√(r b) + ε)
enum class OptimizerRule : std::uint8_t { nadam, adamax, adagrad, adadelta, ftrl, lion, lamb };

struct OptimizerNumbers {
  float lr = 0, scale = 1, beta_1 = 0, beta_2 = 0, epsilon = 0, p = 0, q = 0, r = 0;
};

#if REKUR_SEQUENCE
// The `count` greatest numbers of a row, in descending order, of equals the first; and Σ e^(x - largest) of all of it.
struct RankedRow {
  Index count;  // at least 1
  float* values;
  std::int32_t* places;
  Index filled = 0;  // how many there are: fewer than `count` of a shorter row, or of one with NaNs
  float largest = -REKUR_INFINITY;
  double sum = 0;
};
#endif

struct Kernels {
  int width;        // floats in a vector
  int panel;        // columns of a full gemm panel, a multiple of width
  bool halves_pay;  // whether weights of sixteen bits beyond the first-level cache are sooner read and widened than floats are read
  bool half_steps;  // whether steps of cells (kernels/steps.hpp) take recurrent weights of sixteen bits
#if REKUR_COMPILED_CELLS
  int number;  // of the instruction set: whose compiled equations are meant
#endif

  // --- products (float32, each output summed over k in ascending order by one accumulator) ---

  // C[m][c_offset + n] = bias[n]             + Σ_k A[m][k] B[k][n]        (accumulate false; bias may be null, meaning 0)
  // C[m][c_offset + n] = C[m][c_offset + n]  + Σ_k A[m][k] B[k][n]        (accumulate true; bias is not read)
  // B packed as above. Writes exactly N floats of each row of C.
  void (*gemm)(Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c, Index c_offset,
               bool accumulate);

  // The same of few rows, not accumulating, and B of sixteen bits: two rows of a panel in place of one (simd::put_half).
  void (*gemm_half)(WeightType type, Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c);

#if REKUR_INT8
  // Products of eight bits (simd/int8.hpp): rows of A as integers, to + m · stride, row m from a[m] + offset on; and of such rows
  // C[m][c_offset + n] = bias[n] + Σ_k A[m][k] B[k][n], B with its bias in vectors of columns (pack_int8). K <= 65536.
  // `group`: isa::int8_group().
  void (*narrow)(Index group, Index M, Index K, ConstRows a, Index offset, float* to, Index stride);
  void (*gemm_int8)(Index group, Index M, Index N, Index K, ConstRows a, const float* b_packed, Rows c, Index c_offset);
#endif

#if REKUR_BF16
  // Two rows of weights as one of pairs of bf16 (simd/bf16.hpp): lane i of `to` holds first[i] and second[i] (null: 0) for i < n,
  // and zeros up to a whole vector.
  void (*pair_rows)(const float* first, const float* second, Index n, float* to);
  // Rows of A in pairs of numbers, row m from a[m] + offset on to to + m · stride; and of such rows what gemm says, B packed as
  // gemm has it, of pairs of rows. `group`: isa::bf16_group().
  void (*narrow_bf16)(Index M, Index K, ConstRows a, Index offset, float* to, Index stride);
  void (*gemm_bf16)(Index group, Index M, Index N, Index K, ConstRows a, const float* b_packed, const float* bias, Rows c,
                    Index c_offset, bool accumulate);
  // The first n numbers of such a row as floats, n a multiple of `width`.
  void (*widen_bf16)(Index n, const float* from, float* to);
  // What gemm_tn says, both sides rounded to bf16 on the way; or, of rows that are so already, as narrow_bf16 makes them: these are
  // read by whole vectors, and their offset counts numbers, a multiple of `width`. By AMX the sum is of 32 rows each, from the
  // first.
  void (*gemm_tn_bf16)(Index group, NarrowSides narrow, Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b,
                       Index b_offset, float* c, Index ldc, bool accumulate, float* work);
#endif

  // C[m][n] = bias[n] + Σ_k A[m][k] W[n][k], all rows dense, for few outputs: summed by sixteens (rekur/detail/few_outputs.hpp). A
  // row of W goes on to a multiple of 16, with zeros. bias may be null, meaning 0.
  void (*dots)(Index M, Index N, Index K, const float* a, const float* weights, const float* bias, float* c);

  // --- elementwise ---
  void (*activate)(Activation f, const float* x, float* y, Index n);      // in place
  void (*softmax)(const float* x, float* y, Index rows, Index n);         // in place; row by row, max subtracted
  void (*add)(const float* a, const float* b, float* out, Index n);       // out = a + b; in place
  void (*subtract)(const float* a, const float* b, float* out, Index n);  // out = a - b; in place
  void (*multiply)(const float* a, const float* b, float* out, Index n);  // out = a b; in place
  void (*divide)(const float* a, const float* b, float* out, Index n);    // out = a / b; in place
  void (*scale)(float s, const float* a, float* out, Index n);            // out = s a; in place

  // --- rows of n features ---

  // y = x ⊙ scale + offset, both [n]; in place
  void (*affine)(const float* x, const float* scale, const float* offset, float* y, Index rows, Index n);

  // y = x̂ ⊙ gamma + beta (null: ones, zeros) with x̂ = ((x - shift) - rest) · inverse, where shift + rest is the row's mean (rest:
  // what rounding took from shift) and inverse = 1 / sqrt(variance + epsilon). moments: [rows][3] for those three, or null.
  void (*layer_norm)(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* moments, Index rows,
                     Index n);

#if REKUR_SEQUENCE
  // Takes n more numbers of a row, those from place `first` on.
  void (*rank)(const float* x, Index n, Index first, RankedRow& row);
#endif

#if REKUR_EQUATIONS
  // --- equations ---

  // `count` instructions over a block of rows of features. An elementwise instruction may write to what it reads.
  void (*interpret)(const Instruction* code, Index count, const Operand* operands, Index rows, Index features);
#endif

#if REKUR_TRAINING
  // --- what only training asks for ---

  // C[m][n] += Σ_k A[k][a_offset + m] B[k][b_offset + n] for m in [0, M), n in [0, N); C is dense with row stride ldc. Not
  // accumulating, C is written without being read.
  // The weight-gradient product: K runs over (time step, batch row) pairs in the order of the lists. `work`: gemm_tn_work floats on
  // a cache line's border, this call's alone; too much to stand on a thread's stack.
  void (*gemm_tn)(Index M, Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* c, Index ldc,
                  bool accumulate, float* work);
  Index gemm_tn_work;

  // out[n] += Σ_k B[k][b_offset + n], or = where it does not accumulate
  void (*column_sums)(Index N, Index K, ConstRows b, Index b_offset, float* out, bool accumulate);

  // out[n] += Σ_k A[k][a_offset + n] B[k][b_offset + n], or = where it does not accumulate
  void (*column_dots)(Index N, Index K, ConstRows a, Index a_offset, ConstRows b, Index b_offset, float* out, bool accumulate);

  // A number of n floats' bits, which is another where they have changed (simd/fingerprint.hpp).
  std::uint64_t (*fingerprint)(const float* x, Index n);

  // to[c · to_stride + r] = from[r · from_stride + c] for r in [0, rows), c in [0, columns)
  void (*transpose)(Index rows, Index columns, const float* from, Index from_stride, float* to, Index to_stride);

  // dx = dy f'(y); in place (dx == dy)
  void (*activate_backward)(Activation f, const float* y, const float* dy, float* dx, Index n);
  void (*softmax_backward)(const float* y, const float* dy, float* dx, Index rows, Index n);  // in place (dx == dy)
  void (*log_sum_exp)(const float* x, float* out, Index rows, Index n);                       // out[row] = log Σ exp(x)
  void (*exp)(const float* x, float* y, Index n);                                             // in place
  void (*multiply_add)(const float* a, const float* b, float* out, Index n);                  // out += a b
  void (*axpy)(float s, const float* a, float* out, Index n);                                 // out += s a
  void (*clamp)(float low, float high, float* x, Index n);                                    // NaN stays NaN

  // dx += the gradient through x̂: (g - mean g - x̂ mean(g x̂)) · inverse, g = dy ⊙ gamma (null: ones)
  void (*layer_norm_backward)(const float* x, const float* moments, const float* gamma, const float* dy, float* dx, Index rows,
                              Index n);

  // d_gamma += Σ_rows dy ⊙ x̂ and d_beta += Σ_rows dy (each may be null), over n columns of rows that stand `stride` floats apart,
  // in ascending order. moments null: x̂ is x itself.
  void (*affine_gradients)(const float* x, const float* moments, const float* dy, Index rows, Index n, Index stride, float* d_gamma,
                           float* d_beta);

  // mask[i] = scale or 0: kept where a Philox4x32-10 stream (key = seed, counter = (i0 + i)/4, stream, step) draws u >= rate;
  // out = x · mask. Element i's draw depends on i0 + i alone, so any split of the range gives the same mask. x and out may be null
  // together (mask only).
  void (*dropout)(std::uint64_t seed, std::uint64_t step, std::uint32_t stream, Index i0, float rate, const float* x, float* mask,
                  float* out, Index n);

  // Σ x[i]², in double, lanes folded in a fixed order. Callers sum blocks of fixed size in ascending order.
  double (*sum_of_squares)(const float* x, Index n);

  // --- optimisers: one pass over a range of the flat buffers; g is the (clipped) gradient, already scaled ---
  // SGD: w -= lr g. With momentum: v = momentum v - lr g; w += v, or with Nesterov's w += momentum v - lr g.
  void (*sgd)(float* w, const float* g, float* velocity /* null without momentum */, Index n, float lr, float momentum,
              bool nesterov, float grad_scale);
  // RMSprop: a = rho a + (1-rho) g²; step = lr g / sqrt(a + eps); w -= step, or with momentum v = momentum v - step; w += v.
  // With a mean m = rho m + (1-rho) g the step is lr g / sqrt(a - m² + eps). mean and velocity may be null.
  void (*rmsprop)(float* w, const float* g, float* square, float* mean, float* velocity, Index n, float lr, float rho,
                  float momentum, float eps, float grad_scale);
  // Adam: m = b1 m + (1-b1) g, v = b2 v + (1-b2) g²; w -= lr (sqrt(c2)/c1) m / (sqrt(v) + eps) + lr decay w   (decay > 0: AdamW).
  // c1 = 1 - b1^t and c2 = 1 - b2^t. AMSGrad: v in the step is the largest so far, if that is not null.
  void (*adam)(float* w, const float* g, float* m, float* v, float* largest, Index n, float lr, float b1, float b2, float eps,
               float c1, float c2, float decay, float grad_scale);
  // The others, each with one or two slots (b may be null); lamb leaves w as it is and puts the direction of its step into g.
  void (*optimize)(OptimizerRule rule, const OptimizerNumbers& numbers, float* w, float* g, float* a, float* b, Index n);
  void (*mix)(float keep, float* to, float add, const float* from, Index n);  // to = keep · to + add · from

  // --- products in double, with the same bits from every ISA ---

  // C[m][n] = Σ_k A[m][k] B[k][n], or with `subtract` C[m][n] - Σ_k A[m][k] B[k][n]; row strides lda and ldc. B in panels of
  // `panel_f64` columns, k-major, the last one filled with zeros: panel j begins at j · panel_f64 · K.
  void (*product_f64)(Index M, Index N, Index K, const double* a, Index lda, const double* b, double* c, Index ldc, bool subtract);
  Index panel_f64;
#endif
};

}  // namespace simd
}  // namespace rekur
