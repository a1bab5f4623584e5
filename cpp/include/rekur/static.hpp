// Layers of sizes known to the compiler, one time step a call: for the smallest hot loops. Header only, nothing to link.
//
//   rekur::StaticLstm<1, 32> lstm;               // 1 input, 32 hidden units
//   rekur::StaticDense<32, 1> dense;
//   lstm.set_weights(kernel, recurrent_kernel, bias);   // or rekur::copy_weights(lstm, model, "lstm"), of static_model.hpp
//   dense.set_weights(dense_kernel, dense_bias);
//   ...
//   const rekur::FlushDenormals flush;           // once a block (denormals.hpp)
//   for (int t = 0; t < n; ++t) y[t] = *dense.step(lstm.step(x + t));
//
// The layers are ordinary values: no memory is allocated, nothing throws, locks or calls the system, in any member. They are as
// large as their weights: rather members or statics than locals. Arrays have the layouts of docs/spec.md, the engine's own.
//
// What instruction set they use is the includer's: compile the file with -mavx2 -mfma or -march=… for speed. Types live in a
// namespace named after it, so files compiled for different ones go together in a program; but a type with such a member should not
// be shared between them. Numbers are the engine's to the bit where the machine has fused multiply-add (AVX2 with FMA, AVX-512,
// ARM with VFPv4 or later), whatever -ffp-contract says, and within rounding elsewhere; not with -ffast-math, which also loses NaN.
#pragma once

#include <cstddef>
#include <limits>
#include <type_traits>

#include "rekur/activation.hpp"
#include "rekur/denormals.hpp"
#include "rekur/detail/cells/gru.hpp"
#include "rekur/detail/cells/gru_reset_before.hpp"
#include "rekur/detail/cells/lstm.hpp"
#include "rekur/detail/cells/lstm_variants.hpp"
#include "rekur/detail/cells/simple_rnn.hpp"
#include "rekur/detail/few_outputs.hpp"
#include "rekur/detail/half.hpp"
#include "rekur/detail/int8_scale.hpp"
#include "rekur/weight_type.hpp"

namespace rekur {

// What a layer may have other than the defaults; names and meanings are the spec's. Derive, and say what differs:
//
//   struct Hard : rekur::LstmOptions {
//     static constexpr rekur::Activation recurrent_activation{rekur::ActivationKind::hard_sigmoid, 1.0f / 6, 0.5f};
//   };
//   rekur::StaticLstm<1, 32, Hard> lstm;
struct SimpleRnnOptions {
  static constexpr Activation activation{ActivationKind::tanh};
  static constexpr Activation recurrent_activation{};                    // of gates; a simple RNN has none
  static constexpr float clip = std::numeric_limits<float>::infinity();  // ± of what activation and recurrent_activation get
  // Of the kernels: in sixteen bits they are half as large, and where they lie beyond the first-level cache a step is sooner done.
  // What is set is rounded; whatever is computed is float. (Not the spec's: a model's weights are rounded by round_weights.)
  // In int8 they are a quarter as large, and products are of integers, rows rounded as they come: those of a layer whose precision
  // that is. Small matrices (detail::takes_int8) and a Dense of few outputs stay floats.
  static constexpr WeightType weights = WeightType::float32;
};

struct GruOptions : SimpleRnnOptions {
  static constexpr Activation recurrent_activation{ActivationKind::sigmoid};
  static constexpr bool reset_after = true;
};

struct LstmOptions : SimpleRnnOptions {
  static constexpr Activation recurrent_activation{ActivationKind::sigmoid};
  // static constexpr Activation output_activation: activation, unless there is one
  static constexpr bool peepholes = false;
  static constexpr bool coupled_gates = false;
};

struct DenseOptions {
  static constexpr Activation activation{};
  static constexpr bool softmax = false;  // over the outputs, instead of an activation
  static constexpr WeightType weights = WeightType::float32;
};

// A matrix of eight bits as a header of `rekur export-cpp --weights int8` has it: numbers of -127 to 127 in the layout of a kernel,
// and what they are worth, a scale a column.
struct Int8Weights {
  const std::int8_t* numbers;
  const float* scales;
};

namespace static_detail {

template <class Options>
constexpr Activation output_activation() {
  if constexpr (requires { Options::output_activation; })
    return Options::output_activation;
  else
    return Options::activation;
}

template <class Options>
inline constexpr bool in_halves = Options::weights == WeightType::bf16 || Options::weights == WeightType::fp16;

template <bool Int8>
using Given = std::conditional_t<Int8, Int8Weights, const float*>;

template <class Options>
using LstmCell = std::conditional_t<Options::peepholes,
                                    std::conditional_t<Options::coupled_gates, cells::LstmPeepholeCoupled, cells::LstmPeephole>,
                                    std::conditional_t<Options::coupled_gates, cells::LstmCoupled, cells::Lstm>>;

template <class Options>
using GruCell = std::conditional_t<Options::reset_after, cells::Gru, cells::GruResetBefore>;

}  // namespace static_detail
}  // namespace rekur

// The namespace of the includer's instruction set, and its widest vector.
#include "rekur/detail/static_isa.hpp"

REKUR_VECTOR_CASTS_BEGIN
#define REKUR_VEC_BYTES 16
#define REKUR_SIMD_NAMESPACE REKUR_STATIC_ISA::bytes16
#include "rekur/detail/static_width.hpp"
#undef REKUR_VEC_BYTES
#undef REKUR_SIMD_NAMESPACE
#if REKUR_STATIC_BYTES >= 32
#define REKUR_VEC_BYTES 32
#define REKUR_SIMD_NAMESPACE REKUR_STATIC_ISA::bytes32
#include "rekur/detail/static_width.hpp"
#undef REKUR_VEC_BYTES
#undef REKUR_SIMD_NAMESPACE
#endif
#if REKUR_STATIC_BYTES >= 64
#define REKUR_VEC_BYTES 64
#define REKUR_SIMD_NAMESPACE REKUR_STATIC_ISA::bytes64
#include "rekur/detail/static_width.hpp"
#undef REKUR_VEC_BYTES
#undef REKUR_SIMD_NAMESPACE
#endif
REKUR_VECTOR_CASTS_END

namespace rekur {
namespace REKUR_STATIC_ISA {

// The widest vector, or the narrowest that holds all units.
template <int Units>
inline constexpr int kBytes = Units > REKUR_STATIC_BYTES / 8 ? REKUR_STATIC_BYTES
                              : Units > 4                    ? (REKUR_STATIC_BYTES < 32 ? REKUR_STATIC_BYTES : 32)
                                                             : 16;

template <int Bytes>
struct Width {
  template <class Cell, class Options, int In, int Hidden>
  using Recurrent = bytes16::RecurrentCore<Cell, Options, In, Hidden>;
  template <class Options, int In, int Out>
  using Dense = bytes16::DenseCore<Options, In, Out>;
  template <class Options, int In, int Out>
  using Dots = bytes16::DotsCore<Options, In, Out>;
};
#if REKUR_STATIC_BYTES >= 32
template <>
struct Width<32> {
  template <class Cell, class Options, int In, int Hidden>
  using Recurrent = bytes32::RecurrentCore<Cell, Options, In, Hidden>;
  template <class Options, int In, int Out>
  using Dense = bytes32::DenseCore<Options, In, Out>;
  template <class Options, int In, int Out>
  using Dots = bytes32::DotsCore<Options, In, Out>;
};
#endif
#if REKUR_STATIC_BYTES >= 64
template <>
struct Width<64> {
  template <class Cell, class Options, int In, int Hidden>
  using Recurrent = bytes64::RecurrentCore<Cell, Options, In, Hidden>;
  template <class Options, int In, int Out>
  using Dense = bytes64::DenseCore<Options, In, Out>;
  template <class Options, int In, int Out>
  using Dots = bytes64::DotsCore<Options, In, Out>;
};
#endif

// What StaticLstm, StaticGru and StaticSimpleRnn are.
template <class Cell, int In, int Hidden, class Options>
class StaticRecurrent {
  static_assert(In >= 1 && Hidden >= 1, "a layer has at least one input and one unit");

 public:
  static constexpr int in = In, hidden = Hidden;
  static constexpr int gates = Cell::info.gates, states = Cell::info.states, peepholes = Cell::info.peepholes;
  static constexpr int bias_rows = Cell::info.recurrent_bias ? 2 : 1;
  // Which matrices are of eight bits.
  static constexpr bool int8_kernel = Options::weights == WeightType::int8 && detail::takes_int8(In, gates* Hidden);
  static constexpr bool int8_recurrent_kernel = Options::weights == WeightType::int8 && detail::takes_int8(Hidden, gates* Hidden);

  // kernel [In, gates·Hidden], recurrent_kernel [Hidden, gates·Hidden], bias [gates·Hidden] or, for a GRU with reset_after,
  // [2, 3·Hidden]; null: none. Copied. Columns i, f, g, o of an LSTM (coupled: i, g, o), z, r, n of a GRU.
  // Before the first call all weights are zero. The states stay.
  void set_weights(const float* kernel, const float* recurrent_kernel, const float* bias) noexcept
    requires(peepholes == 0)
  {
    core_.set_weights(kernel, recurrent_kernel, bias, nullptr);
  }
  // Kernels in sixteen bits, of the type that the options say.
  void set_weights(const std::uint16_t* kernel, const std::uint16_t* recurrent_kernel, const float* bias) noexcept
    requires(peepholes == 0 && static_detail::in_halves<Options>)
  {
    core_.set_weights(kernel, recurrent_kernel, bias, nullptr);
  }
  void set_weights(const std::uint16_t* kernel, const std::uint16_t* recurrent_kernel, const float* bias,
                   const float* peephole) noexcept
    requires(peepholes > 0 && static_detail::in_halves<Options>)
  {
    core_.set_weights(kernel, recurrent_kernel, bias, peephole);
  }
  // Matrices of eight bits as integers, the others as floats.
  void set_weights(const static_detail::Given<int8_kernel>& kernel,
                   const static_detail::Given<int8_recurrent_kernel>& recurrent_kernel, const float* bias) noexcept
    requires(peepholes == 0 && (int8_kernel || int8_recurrent_kernel))
  {
    core_.set_weights(kernel, recurrent_kernel, bias, nullptr);
  }
  void set_weights(const static_detail::Given<int8_kernel>& kernel,
                   const static_detail::Given<int8_recurrent_kernel>& recurrent_kernel, const float* bias,
                   const float* peephole) noexcept
    requires(peepholes > 0 && (int8_kernel || int8_recurrent_kernel))
  {
    core_.set_weights(kernel, recurrent_kernel, bias, peephole);
  }
  // With peepholes also their weights [peepholes, Hidden], rows i, f, o (coupled: i, o).
  void set_weights(const float* kernel, const float* recurrent_kernel, const float* bias, const float* peephole) noexcept
    requires(peepholes > 0)
  {
    core_.set_weights(kernel, recurrent_kernel, bias, peephole);
  }

  // One step: x [In] → h [Hidden], which stays as it is until the next step. x may be an earlier h of this very layer.
  const float* step(const float* x) noexcept { return core_.step(x); }

  // The states as the last step left them, [Hidden].
  const float* h() const noexcept { return core_.h(); }
  const float* c() const noexcept
    requires(states > 1)
  {
    return core_.c();
  }

  // Null: zeros.
  void set_state(const float* h) noexcept
    requires(states == 1)
  {
    core_.set_state(h, nullptr);
  }
  void set_state(const float* h, const float* c) noexcept
    requires(states > 1)
  {
    core_.set_state(h, c);
  }

  // The beginning of a sequence: states zero.
  void reset() noexcept { core_.set_state(nullptr, nullptr); }

 private:
  typename Width<kBytes<Hidden>>::template Recurrent<Cell, Options, In, Hidden> core_;
};

template <int In, int Hidden, class Options = LstmOptions>
using StaticLstm = StaticRecurrent<static_detail::LstmCell<Options>, In, Hidden, Options>;

template <int In, int Hidden, class Options = GruOptions>
using StaticGru = StaticRecurrent<static_detail::GruCell<Options>, In, Hidden, Options>;

template <int In, int Hidden, class Options = SimpleRnnOptions>
using StaticSimpleRnn = StaticRecurrent<cells::SimpleRnn, In, Hidden, Options>;

// Of few outputs each is a sum over vectors of inputs, of more they are vectors of outputs.
template <class Options, int In, int Out>
struct DenseOf {
  using Core = typename Width<kBytes<Out>>::template Dense<Options, In, Out>;
};
template <class Options, int In, int Out>
  requires(detail::few_outputs(In, Out))
struct DenseOf<Options, In, Out> {
  using Core = typename Width<kBytes<In>>::template Dots<Options, In, Out>;
};

// y = f(x W + b)
template <int In, int Out, class Options = DenseOptions>
class StaticDense {
  static_assert(In >= 1 && Out >= 1, "a layer has at least one input and one output");

 public:
  static constexpr int in = In, out = Out;
  static constexpr bool int8_kernel =
      Options::weights == WeightType::int8 && detail::takes_int8(In, Out) && !detail::few_outputs(In, Out);

  // kernel [In, Out], bias [Out] or null. Copied.
  void set_weights(const float* kernel, const float* bias) noexcept { core_.set_weights(kernel, bias); }
  void set_weights(const std::uint16_t* kernel, const float* bias) noexcept
    requires(static_detail::in_halves<Options>)
  {
    core_.set_weights(kernel, bias);
  }
  void set_weights(const Int8Weights& kernel, const float* bias) noexcept
    requires(int8_kernel)
  {
    core_.set_weights(kernel, bias);
  }

  // x [In] → y [Out], which stays as it is until the next step.
  const float* step(const float* x) noexcept { return core_.step(x); }
  const float* y() const noexcept { return core_.y(); }

 private:
  typename DenseOf<Options, In, Out>::Core core_;
};

}  // namespace REKUR_STATIC_ISA

using REKUR_STATIC_ISA::StaticDense;
using REKUR_STATIC_ISA::StaticGru;
using REKUR_STATIC_ISA::StaticLstm;
using REKUR_STATIC_ISA::StaticSimpleRnn;

}  // namespace rekur
