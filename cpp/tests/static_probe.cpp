// Compiled several times, for an instruction set each (CMakeLists.txt), and all of them linked into one program. No standard
// library here but what static.hpp includes: what is compiled for a new machine must not be merged with what an old one runs.
#include "static_probe.hpp"

#include "rekur/static.hpp"

inline void* operator new(std::size_t, void* place, rekur::test::StaticProbe*) noexcept { return place; }

namespace rekur::test {
namespace {

struct Peepholes : LstmOptions {
  static constexpr bool peepholes = true;
};
struct Coupled : LstmOptions {
  static constexpr bool coupled_gates = true;
};
struct PeepholesCoupledClipped : LstmOptions {
  static constexpr bool peepholes = true, coupled_gates = true;
  static constexpr float clip = 0.25f;
};
struct HardGates : LstmOptions {
  static constexpr Activation recurrent_activation{ActivationKind::hard_sigmoid, 1.0f / 6.0f, 0.5f};
  static constexpr Activation activation{ActivationKind::softsign};
  static constexpr Activation output_activation{ActivationKind::scaled_tanh, 1.5f, 0.75f};
};
struct ResetBefore : GruOptions {
  static constexpr bool reset_after = false;
};
struct ResetBeforeElu : ResetBefore {
  static constexpr Activation activation{ActivationKind::elu, 0.5f};
  static constexpr float clip = 0.5f;
};
struct Relu : SimpleRnnOptions {
  static constexpr Activation activation{ActivationKind::relu};
};
struct Sigmoid : DenseOptions {
  static constexpr Activation activation{ActivationKind::sigmoid};
};
struct Softplus : DenseOptions {
  static constexpr Activation activation{ActivationKind::softplus};
};
struct Softmax : DenseOptions {
  static constexpr bool softmax = true;
};

template <class Options, WeightType Type>
struct In : Options {
  static constexpr WeightType weights = Type;
};
using LstmBf16 = In<LstmOptions, WeightType::bf16>;
using LstmFp16 = In<LstmOptions, WeightType::fp16>;
using PeepholesBf16 = In<Peepholes, WeightType::bf16>;
using GruBf16 = In<GruOptions, WeightType::bf16>;
using GruFp16 = In<GruOptions, WeightType::fp16>;
using ResetBeforeFp16 = In<ResetBefore, WeightType::fp16>;
using RnnFp16 = In<SimpleRnnOptions, WeightType::fp16>;
using DenseBf16 = In<DenseOptions, WeightType::bf16>;
using DenseFp16 = In<DenseOptions, WeightType::fp16>;
using LstmInt8 = In<LstmOptions, WeightType::int8>;
using PeepholesInt8 = In<Peepholes, WeightType::int8>;
using CoupledClippedInt8 = In<PeepholesCoupledClipped, WeightType::int8>;
using GruInt8 = In<GruOptions, WeightType::int8>;
using ResetBeforeInt8 = In<ResetBefore, WeightType::int8>;
using RnnInt8 = In<SimpleRnnOptions, WeightType::int8>;
using DenseInt8 = In<DenseOptions, WeightType::int8>;
using SoftplusInt8 = In<Softplus, WeightType::int8>;

template <class Layer>
constexpr StaticCase recurrent(const char* type, const char* options = "", WeightType weights = WeightType::float32) {
  StaticCase c{};
  c.weights = weights;
  c.type = type;
  c.options = options;
  c.in = Layer::in;
  c.hidden = Layer::hidden;
  c.size = sizeof(Layer);
  c.make = [](void* place) { new (place, static_cast<StaticProbe*>(nullptr)) Layer; };
  c.set_weights = [](void* layer, const float* kernel, const float* recurrent_kernel, const float* bias, const float* peephole) {
    if constexpr (Layer::peepholes > 0)
      static_cast<Layer*>(layer)->set_weights(kernel, recurrent_kernel, bias, peephole);
    else
      static_cast<Layer*>(layer)->set_weights(kernel, recurrent_kernel, bias);
  };
  c.step = [](void* layer, const float* x) { return static_cast<Layer*>(layer)->step(x); };
  c.h = [](const void* layer) { return static_cast<const Layer*>(layer)->h(); };
  if constexpr (Layer::states > 1) c.c = [](const void* layer) { return static_cast<const Layer*>(layer)->c(); };
  c.set_state = [](void* layer, const float* h, const float* state) {
    if constexpr (Layer::states > 1)
      static_cast<Layer*>(layer)->set_state(h, state);
    else
      static_cast<Layer*>(layer)->set_state(h);
  };
  c.reset = [](void* layer) { static_cast<Layer*>(layer)->reset(); };
  return c;
}

template <class Layer>
constexpr StaticCase dense(const char* options, WeightType weights = WeightType::float32) {
  StaticCase c{};
  c.weights = weights;
  c.type = "Dense";
  c.options = options;
  c.in = Layer::in;
  c.hidden = Layer::out;
  c.size = sizeof(Layer);
  c.make = [](void* place) { new (place, static_cast<StaticProbe*>(nullptr)) Layer; };
  c.set_weights = [](void* layer, const float* kernel, const float*, const float* bias, const float*) {
    static_cast<Layer*>(layer)->set_weights(kernel, bias);
  };
  c.step = [](void* layer, const float* x) { return static_cast<Layer*>(layer)->step(x); };
  c.h = [](const void* layer) { return static_cast<const Layer*>(layer)->y(); };
  return c;
}

// Sizes around every width of vector; several passes, whole and broken; weights that stream, with and without a long input.
constexpr StaticCase kCases[] = {
    recurrent<StaticLstm<1, 1>>("LSTM"),
    recurrent<StaticLstm<2, 2>>("LSTM"),
    recurrent<StaticLstm<1, 3>>("LSTM"),
    recurrent<StaticLstm<3, 5>>("LSTM"),
    recurrent<StaticLstm<1, 7>>("LSTM"),
    recurrent<StaticLstm<1, 8>>("LSTM"),
    recurrent<StaticLstm<5, 16>>("LSTM"),
    recurrent<StaticLstm<1, 17>>("LSTM"),
    recurrent<StaticLstm<31, 31>>("LSTM"),
    recurrent<StaticLstm<2, 33>>("LSTM"),
    recurrent<StaticLstm<1, 64>>("LSTM"),
    recurrent<StaticLstm<64, 64>>("LSTM"),
    recurrent<StaticLstm<9, 65>>("LSTM"),
    recurrent<StaticLstm<70, 33>>("LSTM"),
    recurrent<StaticGru<1, 1>>("GRU"),
    recurrent<StaticGru<3, 2>>("GRU"),
    recurrent<StaticGru<2, 5>>("GRU"),
    recurrent<StaticGru<1, 8>>("GRU"),
    recurrent<StaticGru<4, 16>>("GRU"),
    recurrent<StaticGru<1, 31>>("GRU"),
    recurrent<StaticGru<1, 64>>("GRU"),
    recurrent<StaticGru<65, 65>>("GRU"),
    recurrent<StaticSimpleRnn<1, 1>>("SimpleRNN"),
    recurrent<StaticSimpleRnn<3, 7>>("SimpleRNN"),
    recurrent<StaticSimpleRnn<2, 33>>("SimpleRNN"),
    recurrent<StaticSimpleRnn<20, 130>>("SimpleRNN"),
    recurrent<StaticSimpleRnn<1, 9, Relu>>("SimpleRNN", R"(, "activation": "relu")"),
    recurrent<StaticLstm<3, 17, Peepholes>>("LSTM", R"(, "peepholes": true)"),
    recurrent<StaticLstm<2, 9, Coupled>>("LSTM", R"(, "coupled_gates": true)"),
    recurrent<StaticLstm<1, 65, PeepholesCoupledClipped>>("LSTM", R"(, "peepholes": true, "coupled_gates": true, "clip": 0.25)"),
    recurrent<StaticLstm<2, 12, HardGates>>("LSTM", R"(, "recurrent_activation": "hard_sigmoid", "activation": "softsign",
            "output_activation": {"name": "scaled_tanh", "alpha": 1.5, "beta": 0.75})"),
    recurrent<StaticGru<1, 1, ResetBefore>>("GRU", R"(, "reset_after": false)"),
    recurrent<StaticGru<3, 17, ResetBefore>>("GRU", R"(, "reset_after": false)"),
    recurrent<StaticGru<33, 65, ResetBefore>>("GRU", R"(, "reset_after": false)"),
    recurrent<StaticGru<2, 40, ResetBeforeElu>>(
        "GRU", R"(, "reset_after": false, "activation": {"name": "elu", "alpha": 0.5}, "clip": 0.5)"),
    dense<StaticDense<1, 1>>(""),
    dense<StaticDense<7, 3, Sigmoid>>(R"(, "activation": "sigmoid")"),
    dense<StaticDense<33, 17, Softplus>>(R"(, "activation": "softplus")"),
    dense<StaticDense<8, 1>>(""),
    dense<StaticDense<64, 1>>(""),
    dense<StaticDense<20, 1, Softplus>>(R"(, "activation": "softplus")"),
    dense<StaticDense<33, 3, Sigmoid>>(R"(, "activation": "sigmoid")"),
    dense<StaticDense<40, 4, Softmax>>(R"(, "activation": "softmax")"),
    dense<StaticDense<8, 150>>(""),
    dense<StaticDense<64, 5, Softmax>>(R"(, "activation": "softmax")"),
    dense<StaticDense<3, 37, Softmax>>(R"(, "activation": "softmax")"),
    recurrent<StaticLstm<1, 3, LstmBf16>>("LSTM", "", WeightType::bf16),
    recurrent<StaticLstm<5, 16, LstmFp16>>("LSTM", "", WeightType::fp16),
    recurrent<StaticLstm<1, 17, LstmBf16>>("LSTM", "", WeightType::bf16),
    recurrent<StaticLstm<64, 64, LstmBf16>>("LSTM", "", WeightType::bf16),
    recurrent<StaticLstm<64, 64, LstmFp16>>("LSTM", "", WeightType::fp16),
    recurrent<StaticLstm<9, 65, LstmFp16>>("LSTM", "", WeightType::fp16),
    recurrent<StaticLstm<71, 85, LstmBf16>>("LSTM", "", WeightType::bf16),
    recurrent<StaticLstm<95, 79, LstmBf16>>("LSTM", "", WeightType::bf16),
    recurrent<StaticLstm<3, 17, PeepholesBf16>>("LSTM", R"(, "peepholes": true)", WeightType::bf16),
    recurrent<StaticGru<1, 31, GruBf16>>("GRU", "", WeightType::bf16),
    recurrent<StaticGru<2, 5, GruFp16>>("GRU", "", WeightType::fp16),
    recurrent<StaticGru<65, 97, GruFp16>>("GRU", "", WeightType::fp16),
    recurrent<StaticGru<33, 65, ResetBeforeFp16>>("GRU", R"(, "reset_after": false)", WeightType::fp16),
    recurrent<StaticSimpleRnn<21, 150, RnnFp16>>("SimpleRNN", "", WeightType::fp16),
    dense<StaticDense<33, 17, DenseBf16>>("", WeightType::bf16),
    dense<StaticDense<8, 150, DenseFp16>>("", WeightType::fp16),
    dense<StaticDense<64, 1, DenseFp16>>("", WeightType::fp16),
    recurrent<StaticLstm<1, 31, LstmInt8>>("LSTM", "", WeightType::int8),  // small: all of it float
    recurrent<StaticLstm<1, 33, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<1, 40, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<33, 33, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<200, 7, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<64, 64, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<17, 65, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<71, 131, LstmInt8>>("LSTM", "", WeightType::int8),
    recurrent<StaticLstm<3, 67, PeepholesInt8>>("LSTM", R"(, "peepholes": true)", WeightType::int8),
    recurrent<StaticLstm<1, 65, CoupledClippedInt8>>("LSTM", R"(, "peepholes": true, "coupled_gates": true, "clip": 0.25)",
                                                     WeightType::int8),
    recurrent<StaticGru<1, 64, GruInt8>>("GRU", "", WeightType::int8),
    recurrent<StaticGru<65, 37, GruInt8>>("GRU", "", WeightType::int8),
    recurrent<StaticGru<31, 97, GruInt8>>("GRU", "", WeightType::int8),
    recurrent<StaticGru<5, 40, ResetBeforeInt8>>("GRU", R"(, "reset_after": false)", WeightType::int8),
    recurrent<StaticGru<33, 65, ResetBeforeInt8>>("GRU", R"(, "reset_after": false)", WeightType::int8),
    recurrent<StaticSimpleRnn<21, 150, RnnInt8>>("SimpleRNN", "", WeightType::int8),
    recurrent<StaticSimpleRnn<70, 66, RnnInt8>>("SimpleRNN", "", WeightType::int8),
    dense<StaticDense<65, 70, DenseInt8>>("", WeightType::int8),
    dense<StaticDense<301, 17, SoftplusInt8>>(R"(, "activation": "softplus")", WeightType::int8),
    dense<StaticDense<4096, 1, DenseInt8>>("", WeightType::int8),
};

bool available() {
#if defined(REKUR_PROBE_NEEDS_AVX512)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#elif defined(REKUR_PROBE_NEEDS_AVX2)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return true;
#endif
}

constexpr bool kFused =
#if defined(__FMA__) || defined(__AVX512F__) || defined(__ARM_FEATURE_FMA) || (defined(__riscv_vector) && defined(__clang__))
    true;
#else
    false;
#endif

}  // namespace

extern constinit const StaticProbe REKUR_PROBE = {REKUR_PROBE_NAME, kFused, available, kCases,
                                                  static_cast<int>(sizeof(kCases) / sizeof(kCases[0]))};

}  // namespace rekur::test
