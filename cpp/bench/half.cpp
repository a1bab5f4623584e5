// One step of layers whose matrices are in sixteen bits, and of layers of precision int8, beside the same in float32: fixed-size
// cells, rekur::Stream step by step and by blocks, and predict of one row, in turns in one run, as a table in Markdown. With
// weights of sixteen bits all of it is computed in float32.
//
//   rekur_bench_half [ISA]    the quickest of 15 rounds, nanoseconds a step of float32 and what of that bf16, fp16 and int8 take
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/static.hpp"
#include "rekur/stream.hpp"
#include "timing.hpp"

namespace rekur::bench {
namespace {

constexpr Index kSteps = 64;  // inputs, and steps of a block

std::vector<float> waves(std::size_t n, float scale) {
  std::vector<float> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = scale * std::sin(0.7f * static_cast<float>(i * i % 1009));
  return v;
}

template <class Options, WeightType Type>
struct Kept : Options {
  static constexpr WeightType weights = Type;
};
template <int In, int Out, WeightType Type>
struct Lstm {
  using Layer = StaticLstm<In, Out, Kept<LstmOptions, Type>>;
  static constexpr const char* name = "LSTM";
};
template <int In, int Out, WeightType Type>
struct Gru {
  using Layer = StaticGru<In, Out, Kept<GruOptions, Type>>;
  static constexpr const char* name = "GRU";
};
template <int In, int Out, WeightType Type>
struct Dense {
  using Layer = StaticDense<In, Out, Kept<DenseOptions, Type>>;
  static constexpr const char* name = "Dense";
};

// Something that takes kSteps steps, by type of weights.
constexpr std::size_t kTypes = 4;
using Steps = std::array<std::function<void()>, kTypes>;

// Seconds a step, the quickest round of each.
std::array<double, kTypes> in_turns(const Steps& steps) {
  std::array<double, kTypes> best{1, 1, 1, 1};
  for (int round = 0; round < 15; ++round)
    for (std::size_t i = 0; i < kTypes; ++i)
      best[i] = std::min(best[i], measure(steps[i], {.rounds = 3, .round = 2e-4, .warm_up = 1e-4}).minimum / kSteps);
  return best;
}

template <template <int, int, WeightType> class Kind, int In, int Out>
void row() {
  const bool recurrent = std::string(Kind<In, Out, WeightType::float32>::name) != "Dense";
  const auto spec = [&](WeightType type) {
    return R"({"format": "rekur", "version": 1, "name": "step", "layers": [{"type": "Input", "name": "x", "shape": [null, )" +
           std::to_string(In) + R"(]}, {"type": ")" + Kind<In, Out, WeightType::float32>::name +
           R"(", "name": "y", "inputs": ["x"], "units": )" + std::to_string(Out) +
           (recurrent ? R"(, "return_sequences": true)" : "") + (type == WeightType::int8 ? R"(, "precision": "int8")" : "") +
           R"(}], "inputs": ["x"], "outputs": ["y"]})";
  };
  const auto x = std::make_shared<std::vector<float>>(waves(kSteps * In, 1));
  const auto y = std::make_shared<std::vector<float>>(kSteps * Out);
  Steps fixed, step, block, predict;
  const auto add = [&]<WeightType Type>(std::integral_constant<WeightType, Type>) {
    const auto i = static_cast<std::size_t>(Type);
    const auto model = std::make_shared<Model>(spec(Type));
    model->set_weights(waves(model->weight_count(), 1 / std::sqrt(static_cast<float>(Out))));
    if (Type != WeightType::int8) model->round_weights(Type);
    const auto stream = std::make_shared<Stream>(*model), blocks = std::make_shared<Stream>(*model);
    step[i] = [=] {
      for (Index t = 0; t < kSteps; ++t) stream->step(x->data() + t * In, y->data());
    };
    block[i] = [=] { blocks->process(x->data(), y->data(), kSteps); };
    predict[i] = [=] {
      Batch batch;
      batch.inputs.push_back({x->data(), {1, kSteps, In}});
      const View view{y->data(), {1, kSteps, Out}};
      model->predict(batch, {&view, 1});
    };
    using Layer = typename Kind<In, Out, Type>::Layer;
    const auto layer = std::make_shared<Layer>();
    const std::vector<ParameterInfo>& p = model->parameters();
    const auto weights = [&](std::size_t k) { return model->weights().data() + p[k].offset; };
    if constexpr (requires { Layer::hidden; })
      layer->set_weights(weights(0), weights(1), weights(2));
    else
      layer->set_weights(weights(0), weights(1));
    fixed[i] = [=] {
      for (Index t = 0; t < kSteps; ++t) keep(layer->step(x->data() + t * In));
    };
  };
  add(std::integral_constant<WeightType, WeightType::float32>{});
  add(std::integral_constant<WeightType, WeightType::bf16>{});
  add(std::integral_constant<WeightType, WeightType::fp16>{});
  add(std::integral_constant<WeightType, WeightType::int8>{});
  std::printf("| %s %d→%d |", Kind<In, Out, WeightType::float32>::name, In, Out);
  for (const Steps* const steps : {&fixed, &step, &block, &predict}) {
    const std::array<double, kTypes> times = in_turns(*steps);
    std::printf(" %.0f | %.2f / %.2f / %.2f |", times[0] * 1e9, times[1] / times[0], times[2] / times[0], times[3] / times[0]);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void run(int argc, char** argv) {
  if (argc > 1) set_isa(argv[1]);
  set_num_threads(1);
  std::printf("Stream and predict on %s\n\n", current_isa().c_str());
  std::printf("| | fixed size | bf16 / fp16 / int8 | Stream | the same | blocks of 64 | the same | predict | the same |\n");
  std::printf("|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  const FlushDenormals flush;
  row<Lstm, 1, 40>();
  row<Lstm, 1, 64>();
  row<Lstm, 64, 64>();
  row<Lstm, 128, 128>();
  row<Gru, 1, 64>();
  row<Gru, 64, 64>();
  row<Gru, 128, 128>();
  row<Dense, 128, 128>();
  row<Dense, 256, 256>();
}

}  // namespace
}  // namespace rekur::bench

int main(int argc, char** argv) {
  try {
    rekur::bench::run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "rekur_bench_half: %s\n", e.what());
    return 2;
  }
  return 0;
}
