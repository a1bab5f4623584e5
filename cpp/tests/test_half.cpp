// Numbers of sixteen bits against their definition in double, and models that are kept in them.
#include "rekur/detail/half.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>

#include "io_helpers.hpp"
#include "isa/dispatch.hpp"
#include "isa/halves.hpp"
#include "model_helpers.hpp"
#include "rekur/runtime.hpp"
#include "rekur/status.hpp"
#include "rekur/stream.hpp"
#include "runtime/own_memory.hpp"
#include "runtime/panels.hpp"

using namespace rekur;
using namespace rekur::test;
using tests::TemporaryDirectory;

namespace {

// By the format's definition: sign, exponent, fraction.
double value_of(std::uint16_t h, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (h >> fraction_bits) & ((1 << exponent_bits) - 1), fraction = h & ((1 << fraction_bits) - 1);
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == (1 << exponent_bits) - 1) return fraction ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  const double significand = exponent == 0 ? std::ldexp(fraction, 1) : fraction + (1 << fraction_bits);
  return sign * std::ldexp(significand, exponent - bias - fraction_bits);
}

// The nearest of those that there are, found by looking at all: of two the one whose last bit is zero.
std::uint16_t nearest(double x, int exponent_bits) {
  const std::uint16_t infinity = static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << (15 - exponent_bits));
  std::uint16_t low = 0, high = infinity;  // magnitudes ascend with their bits
  while (high - low > 1) {
    const auto middle = static_cast<std::uint16_t>((low + high) / 2);
    (value_of(middle, exponent_bits) <= std::abs(x) ? low : high) = middle;
  }
  const double below = value_of(low, exponent_bits);
  const double above = high == infinity ? below + (below - value_of(static_cast<std::uint16_t>(low - 1), exponent_bits))
                                        : value_of(high, exponent_bits);
  const double left = std::abs(x) - below, right = above - std::abs(x);
  const std::uint16_t rounded = left < right || (left == right && low % 2 == 0) ? low : high;
  return static_cast<std::uint16_t>(rounded | (std::signbit(x) ? 0x8000 : 0));
}

const std::string kSpec = spec(R"({"type": "Input", "name": "x", "shape": [null, 3]},
    {"type": "LSTM", "name": "l", "inputs": ["x"], "units": 5, "peepholes": true, "projection_size": 3,
     "return_sequences": true},
    {"type": "GRU", "name": "g", "inputs": ["l"], "units": 4},
    {"type": "Dense", "name": "y", "inputs": ["g"], "units": 2})",
                               "\"x\"", "\"y\"");

Model random_model(float scale = 1) {
  Model model(kSpec);
  std::vector<float> weights = numbers(static_cast<Index>(model.weights().size()), 3);
  for (float& w : weights) w *= scale;
  model.set_weights(weights);
  return model;
}

}  // namespace

TEST_CASE("half: every number of sixteen bits is the float that it says, and comes back") {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto h = static_cast<std::uint16_t>(i);
    const double fp16 = value_of(h, 5), bf16 = value_of(h, 8);
    if (std::isnan(fp16)) {
      CHECK(std::isnan(detail::float_of_fp16(h)));
      CHECK(std::isnan(detail::float_of_fp16(detail::fp16_of(detail::float_of_fp16(h)))));
    } else if (detail::float_of_fp16(h) != fp16 || detail::fp16_of(detail::float_of_fp16(h)) != h) {
      FAIL("fp16 ", i);
    }
    if (std::isnan(bf16)) {
      CHECK(std::isnan(detail::float_of_bf16(h)));
      CHECK(std::isnan(detail::float_of_bf16(detail::bf16_of(detail::float_of_bf16(h)))));
    } else if (static_cast<double>(detail::float_of_bf16(h)) != bf16 || detail::bf16_of(detail::float_of_bf16(h)) != h) {
      FAIL("bf16 ", i);
    }
  }
}

TEST_CASE("half: rounded to the nearest, of two to the even one") {
  std::vector<float> all{0.0f,  -0.0f, 1e-45f, 5.9604645e-8f, 2.9802322e-8f, 2.9802326e-8f, 65504,         65519.996f,   65520,
                         65536, 1e9f,  -65520, 6.1035156e-5f, 6.1005116e-5f, 3.3895314e38f, 3.3961775e38f, 3.4028235e38f};
  std::uint32_t bits = 1;
  for (int i = 0; i < 100000; ++i) {
    bits = bits * 1664525u + 1013904223u;
    const float x = std::bit_cast<float>(bits);
    if (std::isfinite(x)) all.push_back(x);
    // Half way between two, and a little beside it.
    for (const float middle : {std::bit_cast<float>((bits & 0xFFFF0000u) | 0x8000u),
                               std::bit_cast<float>(((bits & 0x8FFFE000u) + 0x38000000u) | 0x1000u)})
      for (const float y : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e38f)})
        if (std::isfinite(y)) all.push_back(y);
  }
  for (const float x : all) {
    if (detail::fp16_of(x) != nearest(x, 5)) FAIL("fp16 of ", x);
    if (detail::bf16_of(x) != nearest(x, 8)) FAIL("bf16 of ", x);
  }
}

TEST_CASE("half: matrices are rounded, and nothing else is") {
  for (const WeightType type : {WeightType::bf16, WeightType::fp16}) {
    Model model = random_model();
    const std::vector<float> before(model.weights().begin(), model.weights().end());
    std::vector<float> copied(before.size());
    model.copy_weights(copied, type);
    model.round_weights(type);
    CHECK(std::equal(copied.begin(), copied.end(), model.weights().begin()));
    for (const ParameterInfo& info : model.parameters()) {
      CAPTURE(info.name);
      CHECK(info.matrix == (info.name.find("kernel") != std::string::npos));
      for (Index i = info.offset; i < info.offset + element_count(info.shape); ++i) {
        const float x = before[static_cast<std::size_t>(i)];
        const double expected = !info.matrix               ? x
                                : type == WeightType::bf16 ? value_of(nearest(x, 8), 8)
                                                           : value_of(nearest(x, 5), 5);
        CHECK(static_cast<double>(copied[static_cast<std::size_t>(i)]) == expected);
      }
    }
    model.round_weights(type);  // again: the same
    CHECK(std::equal(copied.begin(), copied.end(), model.weights().begin()));
    model.round_weights(WeightType::float32);
    CHECK(std::equal(copied.begin(), copied.end(), model.weights().begin()));
  }
}

TEST_CASE("half: weights are set in sixteen bits, matrices and others apart") {
  for (const WeightType type : {WeightType::bf16, WeightType::fp16}) {
    Model model = random_model(), other(kSpec);
    model.round_weights(type);
    std::vector<std::uint16_t> matrices;
    std::vector<float> others;
    for (const ParameterInfo& info : model.parameters())
      for (Index i = info.offset; i < info.offset + element_count(info.shape); ++i) {
        const float x = model.weights()[static_cast<std::size_t>(i)];
        if (info.matrix)
          matrices.push_back(nearest(x, type == WeightType::bf16 ? 8 : 5));
        else
          others.push_back(x);
      }
    other.set_weights(type, matrices, others);
    CHECK(std::equal(other.weights().begin(), other.weights().end(), model.weights().begin()));
    matrices.pop_back();
    contains(message_of([&] { other.set_weights(type, matrices, others); }), "weights of matrices and");
    contains(message_of([&] { other.set_weights(WeightType::float32, matrices, others); }), "expected weights of bf16 or fp16");
    CHECK(!try_set_weights(other, type, matrices, others));
  }
}

TEST_CASE("half: what is too large for fp16 is named, and nothing changes") {
  Model model = random_model();
  std::vector<float> weights(model.weights().begin(), model.weights().end());
  const ParameterInfo& info = model.parameters()[1];
  REQUIRE(info.name == "l/recurrent_kernel");
  weights[static_cast<std::size_t>(info.offset + 7)] = -70000;
  model.set_weights(weights);
  contains(message_of([&] { model.round_weights(WeightType::fp16); }),
           "weight 'l/recurrent_kernel': element 7 is -70000.0, and the largest number of fp16 is 65504");
  CHECK(std::equal(weights.begin(), weights.end(), model.weights().begin()));
  CHECK(!try_round_weights(model, WeightType::fp16));
  CHECK(try_round_weights(model, WeightType::bf16));
  weights[static_cast<std::size_t>(info.offset + 7)] = std::numeric_limits<float>::max();
  model.set_weights(weights);
  contains(message_of([&] { model.round_weights(WeightType::bf16); }), "largest number of bf16");
  // What is no number before stays so.
  weights[static_cast<std::size_t>(info.offset + 7)] = std::numeric_limits<float>::infinity();
  weights[static_cast<std::size_t>(info.offset + 8)] = std::nanf("");
  model.set_weights(weights);
  model.round_weights(WeightType::fp16);
  CHECK(std::isinf(model.weights()[static_cast<std::size_t>(info.offset + 7)]));
  CHECK(std::isnan(model.weights()[static_cast<std::size_t>(info.offset + 8)]));
}

namespace {

void check_steps_of(const std::string& layers, Index features) {
  const Index at_hand = isa::bytes_at_hand;
  for (const WeightType type : {WeightType::bf16, WeightType::fp16}) {
    Model half(
        spec(R"({"type": "Input", "name": "x", "shape": [null, )" + std::to_string(features) + "]}, " + layers, "\"x\"", "\"y\""));
    std::vector<float> weights = numbers(static_cast<Index>(half.weights().size()), 3);
    for (float& w : weights) w *= 0.3f;
    half.set_weights(weights);
    half.round_weights(type);
    for (const std::string& isa : available_isas()) {
      set_isa(isa);
      for (const Index batch : {1, 2, 3, 7}) {
        INFO(layers, " ", isa, " batch ", batch, " type ", static_cast<int>(type));
        const Index T = 9;
        const std::vector<float> x = numbers(batch * T * features, 7);
        isa::bytes_at_hand = Index{1} << 60;
        Model whole(half.spec());
        whole.set_weights(half.weights());
        const Tensor expected = whole.predict(Data().add({batch, T, features}, x).batch())[0];
        isa::bytes_at_hand = 0;
        CHECK(half.predict(Data().add({batch, T, features}, x).batch())[0].data == expected.data);
        const Index out = expected.shape[2];
        for (const Index block : {Index{1}, Index{4}, T}) {
          Stream stream(half, {.batch = batch});
          for (Index t = 0; t < T; t += block) {
            const Index n = std::min(block, T - t);
            std::vector<float> in, y(static_cast<std::size_t>(n * batch * out));
            for (Index i = t; i < t + n; ++i)
              for (Index row = 0; row < batch; ++row)
                in.insert(in.end(), x.begin() + (row * T + i) * features, x.begin() + (row * T + i + 1) * features);
            REQUIRE((block == 1 ? stream.step(in.data(), y.data()) : stream.process(in.data(), y.data(), n)));
            for (Index i = 0; i < n; ++i)
              for (Index row = 0; row < batch; ++row)
                CHECK(std::equal(y.begin() + (i * batch + row) * out, y.begin() + (i * batch + row + 1) * out,
                                 expected.data.begin() + (row * T + t + i) * out));
          }
        }
      }
    }
  }
  set_isa(available_isas().back());
  isa::bytes_at_hand = at_hand;
}

}  // namespace

TEST_CASE("half: steps and whole sequences read sixteen bits, and give the bits of float32 with the rounded numbers") {
  for (const std::string cell :
       {R"("type": "LSTM")", R"("type": "LSTM", "peepholes": true)", R"("type": "GRU")", R"("type": "GRU", "reset_after": false)",
        R"("type": "SimpleRNN")", R"("type": "LSTM", "clip": 1)", R"("type": "LSTM", "projection_size": 4)"})
    for (const auto& [features, units] : {std::pair{1, 5}, std::pair{2, 16}, std::pair{7, 33}, std::pair{6, 70}})
      check_steps_of(
          R"({"name": "y", "inputs": ["x"], "return_sequences": true, )" + cell + R"(, "units": )" + std::to_string(units) + "}",
          features);
  for (const auto& [features, units] : {std::pair{1, 9}, std::pair{12, 61}, std::pair{33, 330}, std::pair{8, 5}})
    check_steps_of(R"({"name": "y", "inputs": ["x"], "type": "Dense", "units": )" + std::to_string(units) + "}", features);
}

TEST_CASE("half: what sixteen bits have is seen in the numbers, and kept so where it is much") {
  const std::vector<float> fp16{0, 1.0f / 1024 + 1, 65504, 5.9604645e-8f};
  std::vector<float> both{1, -2, 0.5f, 0}, bf16{0, -0.0f, 1.5f, 3e38f, 1e-40f};
  for (float& x : bf16) x = detail::float_of_bf16(detail::bf16_of(x));
  const Index at_hand = isa::bytes_at_hand;
  CHECK(at_hand > 0);
  const auto kept = [](const std::vector<float>& a, const std::vector<float>& b = {}) { return isa::kept_as(10, {a, b}); };
  isa::bytes_at_hand = 0;
  CHECK(kept(bf16) == WeightType::bf16);
  CHECK(kept(fp16) == WeightType::fp16);
  CHECK(kept(both) == WeightType::bf16);
  CHECK(kept(both, fp16) == WeightType::fp16);
  CHECK(kept(fp16, bf16) == WeightType::float32);
  both[2] = 0.1f;
  CHECK(kept(both) == WeightType::float32);
  CHECK(kept({std::numeric_limits<float>::infinity(), 1.0f / 1024 + 1}) == WeightType::float32);
  if (isa::kernels().halves_pay) {
    isa::bytes_at_hand = 39;
    CHECK(kept(bf16) == WeightType::bf16);
    CHECK(kept(fp16) == WeightType::float32);
    isa::bytes_at_hand = 19;
    CHECK(kept(fp16) == WeightType::fp16);
  }
  isa::bytes_at_hand = 40;
  CHECK(kept(bf16) == WeightType::float32);
  isa::bytes_at_hand = at_hand;
}

TEST_CASE("half: whether widening pays is measured once, and heeded from then on") {
  std::vector<float> weights = numbers(1 << 16, 5);
  for (float& w : weights) w = detail::float_of_bf16(detail::bf16_of(w));
  const auto kept = [&] { return isa::kept_as(1 << 16, {{weights.data(), 100}, weights}); };
  const Index at_hand = isa::bytes_at_hand;
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    const WeightType first = kept();
    CHECK((first == WeightType::bf16 || first == WeightType::float32));
    if (!isa::kernels().halves_pay) CHECK(first == WeightType::float32);
    for (int i = 0; i < 3; ++i) CHECK(kept() == first);
    isa::bytes_at_hand = 0;
    CHECK(kept() == WeightType::bf16);
    isa::bytes_at_hand = at_hand;
  }
  set_isa(available_isas().back());
}

TEST_CASE("half: what a file or a caller's memory is to hold is not measured, nor is what is too little for it") {
  std::vector<float> weights = numbers(1 << 16, 5);
  for (float& w : weights) w = detail::float_of_bf16(detail::bf16_of(w));
  const Index at_hand = isa::bytes_at_hand;
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    if (!isa::kernels().halves_pay) continue;
    for (const Index size : {9000, 20000, 40000, 65536}) {  // one for each verdict, where 32 KB are at hand
      isa::bytes_at_hand = 32 * 1024;
      const auto kept = [&] { return isa::kept_as(size, {{weights.data(), static_cast<std::size_t>(size)}}); };
      const WeightType measured = kept();
      {
        Memory own = {[](void*, std::size_t, std::size_t) -> void* { return nullptr; },
                      [](void*, void*, std::size_t, std::size_t) {}, nullptr};
        const runtime::MemoryScope scope(&own);
        CHECK(kept() == WeightType::bf16);
      }
      for (const bool of_file : {false, true}) {
        runtime::Panels panels({}, of_file);
        const runtime::PanelScope scope(&panels);
        CHECK(kept() == (of_file ? WeightType::bf16 : measured));
      }
      isa::bytes_at_hand = 400;
      CHECK(isa::kept_as(size / 80, {{weights.data(), 100}}) == WeightType::bf16);
    }
  }
  isa::bytes_at_hand = at_hand;
  set_isa(available_isas().back());
}

#if REKUR_TRAINING
TEST_CASE("half: a file in sixteen bits is the model with its matrices rounded, in half the bytes") {
  const TemporaryDirectory directory;
  const std::string path = directory.file("m.safetensors"), whole = directory.file("whole.safetensors");
  for (const WeightType type : {WeightType::bf16, WeightType::fp16}) {
    Model model = random_model();
    Model::Extras extras;
    extras.tensors["optimizer/m"] = {{2}, {1.0f / 3, 2}};
    model.save(path, extras, type);
    model.save(whole, extras);
    std::size_t matrices = 0;
    for (const ParameterInfo& info : model.parameters())
      if (info.matrix) matrices += static_cast<std::size_t>(element_count(info.shape));
    const auto before = std::filesystem::file_size(whole), after = std::filesystem::file_size(path);
    CHECK(after <= before - 2 * matrices + 16);  // but for the padding of the header
    model.round_weights(type);
    Model::Extras read;
    const Model loaded = Model::load(path, read);
    CHECK(std::equal(loaded.weights().begin(), loaded.weights().end(), model.weights().begin(), model.weights().end()));
    CHECK(read.tensors["optimizer/m"].data == extras.tensors["optimizer/m"].data);
    loaded.save(whole, {}, type);
    CHECK(Model::load(whole).weights()[3] == model.weights()[3]);

    Model huge = random_model(1e5f);
    const std::string text = tests::read_text(path);
    if (type == WeightType::fp16) {
      contains(message_of([&] { huge.save(path, {}, type); }), "largest number of fp16");
      CHECK(tests::read_text(path) == text);  // the old file
    }
  }
}
#endif
