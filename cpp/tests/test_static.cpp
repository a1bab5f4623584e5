// Fixed-size layers against the engine: the same numbers, to the bit where both have a fused multiply-add or both lack it.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>

#include "each_isa.hpp"
#include "model_helpers.hpp"
#include "rekur/static_model.hpp"
#include "static_probe.hpp"

namespace rekur::test {

extern const StaticProbe probe_plain;
#if defined(__x86_64__)
extern const StaticProbe probe_avx2, probe_avx512;
#endif

namespace {

constexpr int kSteps = 9;

const StaticProbe* const kProbes[] = {
    &probe_plain,
#if defined(__x86_64__)
    &probe_avx2,
    &probe_avx512,
#endif
};

// A layer of a size known only here.
class Probed {
 public:
  explicit Probed(const StaticCase& probed) : case_(probed), place_(::operator new(probed.size, std::align_val_t(64))) {
    probed.make(place_.get());
  }
  const float* step(const float* x) { return case_.step(place_.get(), x); }
  std::vector<float> after(const float* x) {
    const float* const h = step(x);
    return {h, h + case_.hidden};
  }
  const float* h() const { return case_.h(place_.get()); }
  const float* c() const { return case_.c ? case_.c(place_.get()) : nullptr; }
  void set_state(const float* h, const float* c) { case_.set_state(place_.get(), h, c); }
  void reset() { case_.reset(place_.get()); }

  // What the model's only layer with weights has.
  void take_weights(const Model& model) {
    const float *kernel = nullptr, *recurrent = nullptr, *bias = nullptr, *peephole = nullptr;
    for (const ParameterInfo& p : model.parameters()) {
      const float* at = model.weights().data() + p.offset;
      (p.name == "l/kernel" ? kernel : p.name == "l/recurrent_kernel" ? recurrent : p.name == "l/bias" ? bias : peephole) = at;
    }
    case_.set_weights(place_.get(), kernel, recurrent, bias, peephole);
  }

 private:
  struct Free {
    void operator()(void* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  const StaticCase& case_;
  std::unique_ptr<void, Free> place_;
};

Model model_of(const StaticCase& probed, bool bias = true) {
  const std::string input =
      R"({"type": "Input", "name": "x", "shape": [null, )" + std::to_string(probed.in) + R"(], "dtype": "float32"}, )";
  const std::string layer = std::string(R"({"type": ")") + probed.type + R"(", "name": "l", "inputs": ["x"], "units": )" +
                            std::to_string(probed.hidden) + probed.options + (bias ? "" : R"(, "use_bias": false)") +
                            (probed.weights == WeightType::int8 ? R"(, "precision": "int8")" : "");
  const bool recurrent = probed.set_state != nullptr;
  Model model(spec(input + layer + (recurrent ? R"(, "return_sequences": true, "return_state": true})" : "}"), R"("x")",
                   probed.c ? R"("l", "l:2")" : R"("l")"));
  std::vector<float> weights = numbers(static_cast<Index>(model.weights().size()), 5);
  const float scale = 1.5f / std::sqrt(static_cast<float>(probed.in + probed.hidden));
  for (float& w : weights) w *= scale;
  model.set_weights(weights);
  if (probed.weights != WeightType::int8) model.round_weights(probed.weights);
  return model;
}

std::vector<Tensor> predict(const Model& model, const StaticCase& probed, const std::vector<float>& x) {
  return model.predict(Data().add({1, static_cast<Index>(x.size()) / probed.in, probed.in}, x).batch());
}

bool agree(const float* got, const float* expected, int n, bool bitwise) {
  for (int i = 0; i < n; ++i) {
    if ((std::isnan(expected[i]) && std::isnan(got[i])) || (std::isinf(expected[i]) && got[i] == expected[i])) continue;
    if (bitwise ? std::memcmp(&got[i], &expected[i], sizeof(float)) != 0
                : !(std::abs(got[i] - expected[i]) <= 1e-6f * std::max(1.0f, std::abs(expected[i])))) {
      MESSAGE("unit ", i, ": ", got[i], ", expected ", expected[i]);
      return false;
    }
  }
  return true;
}

// Whether the engine's instruction set rounds as the probe's does.
bool same_rounding(const StaticProbe& probe) {
  const std::string isa = current_isa();
  if (isa == "baseline") return !probe.fused && std::string(available_isas().back()) != "neon";
  return probe.fused;
}

template <class Check>
void each_case(const Check& check) {
  for (const StaticProbe* probe : kProbes) {
    if (!probe->available()) continue;
    INFO("compiled for ", std::string(probe->name));
    for (int i = 0; i < probe->count; ++i) {
      const StaticCase& probed = probe->cases[i];
      INFO(std::string(probed.type), " ", probed.in, " -> ", probed.hidden, std::string(probed.options));
      const FlushDenormals flush;
      check(*probe, probed);
    }
  }
}

TEST_CASE("fixed-size layers give the engine's numbers") {
  each_isa([](const simd::Kernels&) {
    each_case([](const StaticProbe& probe, const StaticCase& probed) {
      for (const bool bias : {true, false}) {
        const Model model = model_of(probed, bias);
        const std::vector<float> x = numbers(kSteps * probed.in, 11);
        const std::vector<Tensor> expected = predict(model, probed, x);
        Probed layer(probed);
        layer.take_weights(model);
        bool equal = true;
        for (int t = 0; t < kSteps && equal; ++t) {
          const float* h = layer.step(&x[static_cast<std::size_t>(t * probed.in)]);
          equal = h == layer.h() &&
                  agree(h, &expected[0].data[static_cast<std::size_t>(t * probed.hidden)], probed.hidden, same_rounding(probe));
        }
        CHECK(equal);
        if (layer.c()) CHECK(agree(layer.c(), expected[1].data.data(), probed.hidden, same_rounding(probe)));
      }
    });
  });
}

TEST_CASE("fixed-size layers: states are read, set and reset") {
  each_case([](const StaticProbe&, const StaticCase& probed) {
    if (!probed.set_state) return;
    const Model model = model_of(probed);
    Probed layer(probed), other(probed);
    layer.take_weights(model);
    other.take_weights(model);
    const auto H = static_cast<std::size_t>(probed.hidden);
    const std::vector<float> x = numbers(4 * probed.in, 3);
    const auto input = [&](int t) { return &x[static_cast<std::size_t>(t * probed.in)]; };
    const std::vector<float> first = layer.after(input(0));
    layer.step(input(1));
    const std::vector<float> h(layer.h(), layer.h() + H);
    const std::vector<float> c = layer.c() ? std::vector<float>(layer.c(), layer.c() + H) : std::vector<float>();
    const std::vector<float> next = layer.after(input(2));
    CHECK(!same(next, h));

    for (int steps = 0; steps < 2; ++steps) {  // into either buffer of h
      other.set_state(h.data(), c.empty() ? nullptr : c.data());
      CHECK(same({other.h(), other.h() + H}, h));
      CHECK(same(other.after(input(2)), next));
    }
    other.reset();
    CHECK(same({other.h(), other.h() + H}, std::vector<float>(H)));
    CHECK(same(other.after(input(0)), first));
  });
}

TEST_CASE("fixed-size layers: before weights are set all of them are zero") {
  each_case([](const StaticProbe&, const StaticCase& probed) {
    Model model = model_of(probed);
    model.set_weights(std::vector<float>(model.weights().size()));
    const std::vector<float> x = numbers(probed.in, 1);
    const std::vector<Tensor> expected = predict(model, probed, x);
    Probed layer(probed);
    CHECK(agree(layer.step(x.data()), expected[0].data.data(), probed.hidden, false));
  });
}

TEST_CASE("fixed-size layers: a layer may read its own output") {
  each_case([](const StaticProbe&, const StaticCase& probed) {
    if (!probed.set_state || probed.in > probed.hidden) return;
    const Model model = model_of(probed);
    Probed layer(probed), copied(probed);
    layer.take_weights(model);
    copied.take_weights(model);
    const std::vector<float> x = numbers(probed.in, 1);
    layer.step(x.data());
    copied.step(x.data());
    for (int t = 0; t < 3; ++t) {
      const std::vector<float> copy(copied.h(), copied.h() + probed.in);
      copied.step(copy.data());
      layer.step(layer.h());
    }
    CHECK(agree(layer.h(), copied.h(), probed.hidden, true));
  });
}

TEST_CASE("fixed-size layers: NaN stays NaN, infinity and silence are the engine's") {
  each_isa([](const simd::Kernels&) {
    each_case([](const StaticProbe& probe, const StaticCase& probed) {
      const Model model = model_of(probed, false);
      std::vector<float> x = numbers(60 * probed.in, 7);
      std::fill(x.begin() + 3 * probed.in, x.end(), 0.0f);  // states decay, some through denormals
      const std::vector<Tensor> silent = predict(model, probed, x);
      Probed layer(probed);
      layer.take_weights(model);
      for (int t = 0; t < 60; ++t) layer.step(&x[static_cast<std::size_t>(t * probed.in)]);
      CHECK(agree(layer.h(), &silent[0].data[static_cast<std::size_t>(59 * probed.hidden)], probed.hidden, same_rounding(probe)));

      for (const float special : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f}) {
        x.assign(static_cast<std::size_t>(2 * probed.in), 0.5f);
        x[static_cast<std::size_t>(probed.in) - 1] = special;
        const std::vector<Tensor> expected = predict(model, probed, x);
        if (probed.set_state) layer.reset();
        for (int t = 0; t < 2; ++t) {
          const float* h = layer.step(&x[static_cast<std::size_t>(t * probed.in)]);
          if (std::isnan(special) && (t == 0 || probed.set_state)) CHECK(std::isnan(h[0]));
          CHECK(agree(h, &expected[0].data[static_cast<std::size_t>(t * probed.hidden)], probed.hidden, same_rounding(probe)));
        }
      }
    });
  });
}

struct LstmHalf : LstmOptions {
  static constexpr WeightType weights = WeightType::fp16;
};
struct DenseHalf : DenseOptions {
  static constexpr WeightType weights = WeightType::fp16;
};

TEST_CASE("fixed-size layers: kernels in sixteen bits are half as large, rounded where they are set or given so") {
  CHECK(sizeof(StaticLstm<64, 64, LstmHalf>) < sizeof(StaticLstm<64, 64>) * 53 / 100);
  CHECK(sizeof(StaticDense<64, 64, DenseHalf>) < sizeof(StaticDense<64, 64>) * 53 / 100);
  const std::vector<float> kernel = numbers(3 * 20, 1), recurrent = numbers(5 * 20, 2), bias = numbers(20, 3), x = numbers(3, 4);
  std::vector<std::uint16_t> half_kernel, half_recurrent;
  for (const float w : kernel) half_kernel.push_back(detail::fp16_of(w));
  for (const float w : recurrent) half_recurrent.push_back(detail::fp16_of(w));
  StaticLstm<3, 5, LstmHalf> rounded, given;
  rounded.set_weights(kernel.data(), recurrent.data(), bias.data());
  given.set_weights(half_kernel.data(), half_recurrent.data(), bias.data());
  StaticDense<3, 20, DenseHalf> dense_rounded, dense_given;
  dense_rounded.set_weights(kernel.data(), bias.data());
  dense_given.set_weights(half_kernel.data(), bias.data());
  for (int t = 0; t < 3; ++t) {
    const std::vector<float> expected(rounded.step(x.data()), rounded.h() + 5);
    CHECK(agree(given.step(x.data()), expected.data(), 5, true));
  }
  const std::vector<float> y(dense_rounded.step(x.data()), dense_rounded.y() + 20);
  CHECK(agree(dense_given.step(x.data()), y.data(), 20, true));
}

struct LstmInt8 : LstmOptions {
  static constexpr WeightType weights = WeightType::int8;
};
struct DenseInt8 : DenseOptions {
  static constexpr WeightType weights = WeightType::int8;
};

// A matrix as a header of eight bits has it, and what it stands for.
struct Integers {
  Integers(int rows, int columns) : scales(numbers(columns, 2)) {
    for (float& scale : scales) scale = std::ldexp(1.0f, -9 - static_cast<int>(std::abs(scale) * 3));
    for (int i = 0; i < rows * columns; ++i) {
      integers.push_back(static_cast<std::int8_t>(i < columns ? 127 : i * i % 255 - 127));
      floats.push_back(static_cast<float>(integers.back()) * scales[static_cast<std::size_t>(i % columns)]);
    }
  }
  Int8Weights given() const { return {integers.data(), scales.data()}; }

  std::vector<float> scales, floats;
  std::vector<std::int8_t> integers;
};

TEST_CASE("fixed-size layers: kernels in eight bits are a quarter as large, rounded where they are set or given as integers") {
  CHECK(sizeof(StaticLstm<64, 64, LstmInt8>) < sizeof(StaticLstm<64, 64>) * 32 / 100);
  CHECK(sizeof(StaticDense<64, 64, DenseInt8>) < sizeof(StaticDense<64, 64>) * 33 / 100);
  CHECK(sizeof(StaticLstm<1, 16, LstmInt8>) == sizeof(StaticLstm<1, 16>));  // small: floats
  const Integers kernel(40, 160), recurrent(40, 160), small(200, 28), dense(64, 70);
  const std::vector<float> bias = numbers(160, 3), x = numbers(200, 4);
  const auto check_both = [&](auto& rounded, auto& given, int n) {
    for (int t = 0; t < 3; ++t) {
      const float* const y = rounded.step(x.data());
      const std::vector<float> expected(y, y + n);
      CHECK(agree(given.step(x.data()), expected.data(), n, true));
    }
  };
  StaticLstm<40, 40, LstmInt8> rounded, given;
  rounded.set_weights(kernel.floats.data(), recurrent.floats.data(), bias.data());
  given.set_weights(kernel.given(), recurrent.given(), bias.data());
  check_both(rounded, given, 40);
  StaticLstm<1, 40, LstmInt8> one_rounded, one_given;  // its kernel is small
  one_rounded.set_weights(kernel.floats.data(), recurrent.floats.data(), bias.data());
  one_given.set_weights(kernel.floats.data(), recurrent.given(), bias.data());
  check_both(one_rounded, one_given, 40);
  StaticLstm<200, 7, LstmInt8> other_rounded, other_given;  // its recurrent kernel is small
  other_rounded.set_weights(small.floats.data(), recurrent.floats.data(), bias.data());
  other_given.set_weights(small.given(), recurrent.floats.data(), bias.data());
  check_both(other_rounded, other_given, 7);
  StaticDense<64, 70, DenseInt8> dense_rounded, dense_given;
  dense_rounded.set_weights(dense.floats.data(), bias.data());
  dense_given.set_weights(dense.given(), bias.data());
  check_both(dense_rounded, dense_given, 70);
}

TEST_CASE("copy_weights: a layer of precision int8 goes with one whose options say so, and no other") {
  Model model(spec(R"({"type": "Input", "name": "x", "shape": [null, 40], "dtype": "float32"},
      {"type": "LSTM", "name": "y", "inputs": ["x"], "units": 40, "precision": "int8"})",
                   R"("x")", R"("y")"));
  model.initialize(1);
  StaticLstm<40, 40, LstmInt8> narrow;
  StaticLstm<40, 40> wide;
  CHECK(try_copy_weights(narrow, model, "y").empty());
  contains(try_copy_weights(wide, model, "y"), "parameter 'y/kernel' is of eight bits: expected weights = WeightType::int8");
  const Model plain(spec(R"({"type": "Input", "name": "x", "shape": [null, 40], "dtype": "float32"},
      {"type": "LSTM", "name": "y", "inputs": ["x"], "units": 40})",
                         R"("x")", R"("y")"));
  contains(try_copy_weights(narrow, plain, "y"), "parameter 'y/kernel' is not of eight bits: the layer's precision is not int8");
}

struct Peephole : LstmOptions {
  static constexpr bool peepholes = true;
};

struct Before : GruOptions {
  static constexpr bool reset_after = false;
};

TEST_CASE("copy_weights: by the layer's name, and only what fits") {
  Model model(spec(R"({"type": "Input", "name": "x", "shape": [null, 2], "dtype": "float32"},
                      {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 5, "return_sequences": true},
                      {"type": "Bidirectional", "name": "both", "inputs": ["lstm"], "layer": {"type": "GRU", "units": 3}},
                      {"type": "Dense", "name": "dense", "inputs": ["both"], "units": 4, "use_bias": false})",
                   R"("x")", R"("dense")"));
  model.set_weights(numbers(static_cast<Index>(model.weights().size()), 1));
  const std::vector<float> x{0.5f, -1.0f};
  StaticLstm<2, 5> lstm;
  StaticGru<5, 3> forward, backward;
  StaticDense<6, 4> dense;
  copy_weights(lstm, model, "lstm");
  copy_weights(forward, model, "both/forward");
  copy_weights(backward, model, "both/backward");
  copy_weights(dense, model, "dense");
  const float* h = lstm.step(x.data());
  forward.step(h);
  backward.step(h);
  std::vector<float> both(forward.h(), forward.h() + 3);
  both.insert(both.end(), backward.h(), backward.h() + 3);
  const std::vector<Tensor> expected = model.predict(Data().add({1, 1, 2}, x).batch());
  CHECK(agree(dense.step(both.data()), expected[0].data.data(), 4, false));

  StaticLstm<2, 6> wide;
  StaticLstm<2, 5, Peephole> peephole;
  StaticGru<5, 3, Before> before;
  StaticDense<2, 20> misled;
  const auto message = [&](auto& layer, const char* name) { return message_of([&] { copy_weights(layer, model, name); }); };
  contains(message(wide, "lstm"), "layer 'lstm': parameter 'lstm/kernel': expected shape (2, 24), got (2, 20)");
  contains(message(peephole, "lstm"), "no parameter 'lstm/peephole' (expected one of shape (3, 5))");
  contains(message(before, "both/forward"), "'both/forward/bias': expected shape (9,), got (2, 9)");
  contains(message(lstm, "lst"), "layer 'lst': the model has no parameter 'lst/kernel'");
  contains(message(lstm, "lst"), "it has lstm/kernel, lstm/recurrent_kernel");
  contains(message(misled, "lstm"), "parameter 'lstm/recurrent_kernel' (5, 20): the fixed-size layer has none");
}

}  // namespace
}  // namespace rekur::test
