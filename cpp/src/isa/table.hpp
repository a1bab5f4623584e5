// The whole of an ISA unit: defines rekur::isa::REKUR_ISA_TABLE, the table of every kernel compiled for REKUR_VEC_BYTES and the
// unit's flags. Everything else in the headers below has internal linkage (tests/check_isa_symbols.cmake), so no kernel of one ISA
// can stand in for another's.
#pragma once

#include "isa/dispatch.hpp"
#include "kernels/table.hpp"
#include "simd/dropout.hpp"
#include "simd/gemm_tn.hpp"
#include "simd/int8.hpp"
#include "simd/normalization.hpp"
#include "simd/optimizers.hpp"
#include "simd/pointwise.hpp"
#if REKUR_TRAINING
#include "simd/fingerprint.hpp"
#include "simd/products_f64.hpp"
#endif
#include "simd/transpose.hpp"
#if REKUR_EQUATIONS
#include "simd/interpreter.hpp"
#endif
#if REKUR_MATRIX
#include "simd/selective_scan.hpp"
#endif
#if REKUR_SEQUENCE
#include "kernels/lstm_gates.hpp"
#include "simd/attention.hpp"
#include "simd/rank.hpp"
#include "simd/windows.hpp"
#endif

namespace rekur {
namespace {

constexpr simd::Kernels make_simd_kernels() {
  return {
      .width = kWidth,
      .panel = static_cast<int>(kPanel),
      .halves_pay = kHalfTiles,
      .half_steps = kHalfTiles,
#if REKUR_COMPILED_CELLS
      .number = REKUR_ISA_NUMBER,
#endif
      .gemm = gemm,
      .gemm_half = gemm_half,
#if REKUR_INT8
      .narrow = narrow,
      .gemm_int8 = gemm_int8,
#endif
#if REKUR_BF16
      .pair_rows = pair_rows,
      .narrow_bf16 = narrow_bf16,
      .gemm_bf16 = gemm_bf16,
      .widen_bf16 = widen_bf16,
      .gemm_tn_bf16 = gemm_tn_bf16,
#endif
      .dots = dots,
      .activate = activate,
      .softmax = softmax,
      .add = add,
      .subtract = subtract,
      .multiply = multiply,
      .divide = divide,
      .scale = scale,
      .affine = affine,
      .layer_norm = layer_norm,
#if REKUR_SEQUENCE
      .rank = rank,
#endif
#if REKUR_EQUATIONS
      .interpret = interpret,
#endif
#if REKUR_TRAINING
      .gemm_tn = gemm_tn,
      .gemm_tn_work = kWorkTn,
      .column_sums = column_sums,
      .column_dots = column_dots,
      .fingerprint = fingerprint,
      .transpose = transpose,
      .activate_backward = activate_backward,
      .softmax_backward = softmax_backward,
      .log_sum_exp = log_sum_exp,
      .exp = exp_all,
      .multiply_add = multiply_add,
      .axpy = axpy,
      .clamp = clamp,
      .layer_norm_backward = layer_norm_backward,
      .affine_gradients = affine_gradients,
      .dropout = dropout,
      .sum_of_squares = sum_of_squares,
      .sgd = sgd,
      .rmsprop = rmsprop,
      .adam = adam,
      .optimize = optimize,
      .mix = mix,
      .product_f64 = product_f64,
      .panel_f64 = kDoublePanel,
#endif
  };
}

constexpr isa::Table make_table(const char* name, bool amx) {
  return {
      name,
      amx,
      make_simd_kernels(),
      make_steps(),
      make_single_row_steps(),
#if REKUR_MATRIX
      make_matrix_kernels(),
      make_selective_kernels(),
#endif
#if REKUR_SEQUENCE
      make_attention_kernels(),
      make_window_kernels(),
      make_gate_kernels(),
#endif
  };
}

}  // namespace

namespace isa {
extern constinit const Table REKUR_ISA_TABLE = make_table(REKUR_ISA_NAME, false);
}  // namespace isa

}  // namespace rekur
