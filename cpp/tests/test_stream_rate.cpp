// Streams at another rate than the model's: states that are read as many steps back as the rates differ by.
#include <array>
#include <cmath>
#include <deque>
#include <limits>

#include "cell_programs.hpp"
#include "each_isa.hpp"
#include "rekur/stream.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

constexpr double kRate = 48000;

std::string with_signal(std::string spec_json, const std::string& signal) {
  spec_json.back() = ',';
  return spec_json + "\"signal\": " + signal + "}";
}

std::string at_48k(const std::string& layers, const std::string& outputs = "\"y\"") {
  return with_signal(spec(R"({"type": "Input", "name": "x", "shape": [null, 2]}, )" + layers, "\"x\"", outputs),
                     R"({"sample_rate": 48000})");
}

std::string one(const std::string& layer) { return at_48k(R"({"name": "y", "inputs": ["x"], )" + layer + "}"); }

// A function: programs of other files' may not be made yet where a variable of this one is.
std::array<std::string, 8> recurrent_layers() {
  return {R"("type": "SimpleRNN", "units": 5, "return_sequences": true)",
          R"("type": "LSTM", "units": 40, "return_sequences": true)",
          R"("type": "LSTM", "units": 5, "peepholes": true, "learn_initial_state": true, "return_sequences": true)",
          R"("type": "LSTM", "units": 9, "projection_size": 3, "clip": 0.5)",
          R"("type": "GRU", "units": 21, "return_sequences": true)",
          R"("type": "GRU", "units": 5, "reset_after": false, "residual": false)",
          R"("type": "RNN", "units": 9, "return_sequences": true, "cell": )" + kLstmProgram,
          R"("type": "RNN", "units": 6, "cell": )" + kManyProgram};
}

// y of all steps, [steps, batch, …].
std::vector<float> run(Stream& stream, const std::vector<float>& x, Index steps) {
  std::vector<float> y(static_cast<std::size_t>(steps * element_count(stream.outputs()[0].shape)));
  const Index from = static_cast<Index>(x.size()) / steps, to = static_cast<Index>(y.size()) / steps;
  for (Index t = 0; t < steps; ++t) REQUIRE(stream.step(x.data() + t * from, y.data() + t * to));
  return y;
}

// One LSTM layer of one feature in double, as the equations have it, its states read `delay` steps back.
std::vector<double> reference(const Model& model, Index units, const std::vector<float>& x, double delay) {
  const std::span<const float> w = model.weights();
  const auto H = static_cast<std::size_t>(units);
  const float *kernel = w.data(), *recurrent = kernel + 4 * H, *bias = recurrent + 4 * H * H;
  const auto n = static_cast<std::size_t>(delay);
  const double far = delay - static_cast<double>(n);
  std::vector<std::vector<double>> past_h, past_c;
  const std::vector<double> zeros(H);
  const auto read = [&](const std::vector<std::vector<double>>& past, std::size_t t, std::size_t i) {
    const auto at = [&](std::size_t back) { return back > t ? 0.0 : past[t - back][i]; };  // past[k] is of step k
    return (1 - far) * at(n) + (far > 0 ? far * at(n + 1) : 0.0);
  };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  std::vector<double> y;
  for (std::size_t t = 0; t < x.size(); ++t) {
    std::vector<double> h(H), c(H), before(H);
    for (std::size_t i = 0; i < H; ++i) before[i] = read(past_h, t, i);
    for (std::size_t i = 0; i < H; ++i) {
      double sums[4];
      for (std::size_t g = 0; g < 4; ++g) {
        const std::size_t column = g * H + i;
        sums[g] = static_cast<double>(bias[column]) + static_cast<double>(kernel[column]) * static_cast<double>(x[t]);
        for (std::size_t k = 0; k < H; ++k) sums[g] += static_cast<double>(recurrent[k * 4 * H + column]) * before[k];
      }
      c[i] = sigmoid(sums[1]) * read(past_c, t, i) + sigmoid(sums[0]) * std::tanh(sums[2]);
      h[i] = sigmoid(sums[3]) * std::tanh(c[i]);
    }
    y.insert(y.end(), h.begin(), h.end());
    past_h.push_back(h), past_c.push_back(c);
  }
  return y;
}

}  // namespace

TEST_CASE("rates: the model's own, and none, leave a stream as it is") {
  for (const std::string& layer : recurrent_layers()) {
    const Model model = random_model(one(layer), 0.7f);
    const std::vector<float> x = numbers(3 * 2 * 20, 1);
    Stream plain(model, {.batch = 3}), same_rate(model, {.batch = 3, .sample_rate = kRate});
    CHECK(plain.rate_match() == RateMatch::same);
    CHECK(same_rate.rate_match() == RateMatch::same);
    CHECK(same(run(plain, x, 20), run(same_rate, x, 20)));
    CHECK(plain.state_size() == same_rate.state_size());
  }
}

TEST_CASE("rates: what a stream says of a rate") {
  const auto match = [](const std::string& spec_json, double rate) {
    return Stream(Model(spec_json), {.sample_rate = rate}).rate_match();
  };
  const std::string lstm = one(R"("type": "LSTM", "units": 3)");
  CHECK(match(lstm, 96000) == RateMatch::matched);
  CHECK(match(lstm, 48000.001) == RateMatch::matched);
  CHECK(match(lstm, 44100) == RateMatch::too_low);
  CHECK(
      match(
          spec(R"({"type": "Input", "name": "x", "shape": [null, 2]}, {"type": "LSTM", "name": "y", "inputs": ["x"], "units": 3})",
               "\"x\"", "\"y\""),
          96000) == RateMatch::unknown);
  CHECK(match(one(R"("type": "Dense", "units": 3)"), 96000) == RateMatch::matched);  // nothing is carried on
  for (const std::string layer : {R"("type": "Conv1D", "filters": 3, "kernel_size": 3, "padding": "causal")",
                                  R"("type": "GatedLinearAttention", "num_heads": 1, "key_dim": 2)", R"("type": "SelectiveSSM")",
                                  R"("type": "SinePositionEncoding")"}) {
    INFO(layer);
    CHECK(match(one(layer), 96000) == RateMatch::partly);
  }
  CHECK(
      match(at_48k(
                R"({"type": "Masking", "name": "m", "inputs": ["x"]}, {"type": "LSTM", "name": "y", "inputs": ["m"], "units": 3})"),
            96000) == RateMatch::partly);
  for (const double wrong : {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    contains(message_of([&] { Stream(Model(lstm), {.sample_rate = wrong}); }),
             "stream: expected a sample rate of 0, for the model's, or");
  contains(message_of([&] { Stream(Model(lstm), {.sample_rate = 1e9}); }), "at most 4096 times the model's");
  Stream moved(Model(lstm), {});
  const Stream to = std::move(moved);
  CHECK(moved.rate_match() == RateMatch::unknown);
  CHECK(to.rate_match() == RateMatch::same);
}

TEST_CASE("rates: at a multiple of the rate there are so many streams, interleaved") {
  constexpr Index kSteps = 17;
  each_isa([&](const simd::Kernels&) {
    for (const std::string& layer : recurrent_layers())
      for (const Index batch : {1, 3})
        for (const Index times : {2, 4}) {
          INFO(layer, " batch ", batch, " times ", times);
          const Model model = random_model(one(layer), 0.7f);
          std::vector<std::vector<float>> apart, y;
          for (Index k = 0; k < times; ++k) {
            apart.push_back(numbers(kSteps * batch * 2, 5 + static_cast<std::uint32_t>(k)));
            Stream plain(model, {.batch = batch});
            y.push_back(run(plain, apart.back(), kSteps));
          }
          const auto interleaved = [&](const std::vector<std::vector<float>>& parts) {
            const std::size_t n = parts[0].size() / kSteps;
            std::vector<float> all;
            for (std::size_t t = 0; t < kSteps; ++t)
              for (const std::vector<float>& part : parts)
                all.insert(all.end(), part.begin() + static_cast<std::ptrdiff_t>(t * n),
                           part.begin() + static_cast<std::ptrdiff_t>((t + 1) * n));
            return all;
          };
          Stream stream(model, {.batch = batch, .sample_rate = kRate * static_cast<double>(times)});
          CHECK(stream.rate_match() == RateMatch::matched);
          CHECK(same(run(stream, interleaved(apart), kSteps * times), interleaved(y)));
        }
  });
}

TEST_CASE("rates: between two steps, against the equations in double") {
  constexpr Index kUnits = 7, kSteps = 200;
  const Model model = random_model(with_signal(spec(R"({"type": "Input", "name": "x", "shape": [null, 1]},
                          {"type": "LSTM", "name": "y", "inputs": ["x"], "units": 7, "return_sequences": true})",
                                                    "\"x\"", "\"y\""),
                                               R"({"sample_rate": 44100, "latency": 3})"),
                                   0.7f);
  const std::vector<float> x = numbers(kSteps, 3);
  for (const double rate : {48000.0, 66150.0, 88200.0, 96000.0, 176400.0}) {
    INFO("rate ", rate);
    Stream stream(model, {.sample_rate = rate});
    REQUIRE(stream.rate_match() == RateMatch::matched);
    const std::vector<float> y = run(stream, x, kSteps);
    const std::vector<double> expected = reference(model, kUnits, x, rate / 44100);
    double worst = 0, other = 0;
    const std::vector<double> plain = reference(model, kUnits, x, 1);
    for (std::size_t i = 0; i < y.size(); ++i) {
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected[i]));
      other = std::max(other, std::abs(plain[i] - expected[i]));
    }
    CHECK(worst < 2e-6);
    CHECK(other > 1e-3);  // it makes a difference
  }
}

TEST_CASE("rates: steps together, states taken out and put back, and rows begun anew, to the bit") {
  constexpr Index kSteps = 70, kBatch = 3;
  const std::string stack = at_48k(R"({"type": "LSTM", "name": "a", "inputs": ["x"], "units": 9, "return_sequences": true},
      {"type": "Dense", "name": "d", "inputs": ["a"], "units": 4, "activation": "tanh"},
      {"type": "GRU", "name": "b", "inputs": ["d"], "units": 6, "return_sequences": true, "learn_initial_state": true},
      {"type": "Dense", "name": "y", "inputs": ["b"], "units": 1})");
  const std::string masked = at_48k(R"({"type": "Masking", "name": "m", "inputs": ["x"], "mask_value": 0},
      {"type": "LSTM", "name": "y", "inputs": ["m"], "units": 6, "return_sequences": true})");
  const std::string conv = at_48k(R"({"type": "Conv1D", "name": "c", "inputs": ["x"], "filters": 5, "kernel_size": 3,
      "padding": "causal"}, {"type": "LSTM", "name": "y", "inputs": ["c"], "units": 6, "return_sequences": true})");
  for (const std::string& spec_json : {stack, masked, conv})
    for (const double rate : {52000.0, 96000.0, 130000.0, 192000.0}) {
      INFO("rate ", rate, " spec ", spec_json);
      const Model model = random_model(spec_json, 0.7f);
      std::vector<float> x = numbers(kSteps * kBatch * 2, 4);
      for (std::size_t i = 40; i < x.size(); i += 23) x[i / 2 * 2] = x[i / 2 * 2 + 1] = 0;  // steps that a mask leaves out
      const StreamOptions options{.batch = kBatch, .sample_rate = rate};
      Stream stream(model, options);
      const std::vector<float> y = run(stream, x, kSteps);
      const std::size_t width = y.size() / kSteps, from = x.size() / kSteps;
      Stream together(model, options);
      std::vector<float> z(y.size());
      for (Index t = 0, n; t < kSteps; t += n) {
        n = std::min<Index>(t == 0 ? 1 : 33, kSteps - t);
        REQUIRE(together.process(x.data() + static_cast<std::size_t>(t) * from, z.data() + static_cast<std::size_t>(t) * width, n));
      }
      CHECK(same(y, z));
      CHECK(same(state_of(stream), state_of(together)));

      Stream first(model, options), second(model, options);
      std::vector<float> again(y.size());
      for (std::size_t t = 0; t < kSteps; ++t) {
        if (t == 31) {
          REQUIRE(second.step(x.data(), again.data()));  // it has been elsewhere before
          REQUIRE(second.set_state(state_of(first)));
        }
        REQUIRE((t < 31 ? first : second).step(x.data() + t * from, again.data() + t * width));
      }
      CHECK(same(y, again));

      // Row 1 from the beginning, in a batch that has gone on.
      Stream fresh(model, options);
      REQUIRE(stream.reset(1));
      const std::vector<float> a = run(stream, x, kSteps), b = run(fresh, x, kSteps);
      const std::size_t features = width / kBatch;
      for (std::size_t t = 0; t < kSteps; ++t)
        for (std::size_t f = 0; f < features; ++f) REQUIRE(a[t * width + features + f] == b[t * width + features + f]);
      stream.reset();
      CHECK(same(run(stream, x, kSteps), b));
    }
}

TEST_CASE("rates: the states say what is kept of the past") {
  const Model model = random_model(one(R"("type": "LSTM", "units": 3, "return_sequences": true)"), 0.7f);
  const auto names = [&](double rate) {
    std::vector<std::string> found;
    std::size_t size = 0;
    const Stream stream(model, {.batch = 2, .sample_rate = rate});
    for (const TensorInfo& info : stream.states()) {
      found.push_back(info.name + to_string(info.shape));
      size += static_cast<std::size_t>(element_count(info.shape));
    }
    CHECK(size == stream.state_size());
    return found;
  };
  CHECK(names(48000) == std::vector<std::string>{"y/h(2, 3)", "y/c(2, 3)"});
  CHECK(names(96000) == std::vector<std::string>{"y/h(2, 3)", "y/h/past(2, 1, 3)", "y/c(2, 3)", "y/c/past(2, 1, 3)"});
  CHECK(names(100000) == std::vector<std::string>{"y/h(2, 3)", "y/h/past(2, 2, 3)", "y/c(2, 3)", "y/c/past(2, 2, 3)"});

  // The latest first: after five steps at three times the rate, the next one reads the state of step 2, then come 4 and 3.
  Stream stream(model, {.sample_rate = 3 * kRate});
  std::vector<std::vector<float>> h;
  for (std::uint32_t t = 0; t < 5; ++t) {
    h.emplace_back(3);
    REQUIRE(stream.step(numbers(2, t).data(), h.back().data()));
  }
  const std::vector<float> state = state_of(stream);
  const auto part = [&](std::ptrdiff_t i) { return std::vector<float>(state.begin() + 3 * i, state.begin() + 3 * (i + 1)); };
  CHECK(same(part(0), h[2]));
  CHECK(same(part(1), h[4]));
  CHECK(same(part(2), h[3]));
}

#if REKUR_SEQUENCE
TEST_CASE("rates: images and loops are read late as well") {
  const std::string images = spec(
      R"({"type": "Input", "name": "x", "shape": [null, 4, 1]}, {"type": "ConvLSTM1D", "name": "y", "inputs": ["x"], "filters": 2,
              "kernel_size": 3, "padding": "same", "return_sequences": true})",
      "\"x\"", "\"y\"");
  const std::string body = spec(R"({"type": "Input", "name": "x", "shape": [1, 4]}, {"type": "Input", "name": "h", "shape": [8]},
      {"type": "GRU", "name": "g", "inputs": ["x", "h"], "units": 8, "return_sequences": true, "return_state": true})",
                                R"("x", "h")", R"("g", "g:1")");
  const std::string loop =
      spec(R"({"type": "Input", "name": "x", "shape": [null, 4]}, {"type": "Loop", "name": "y", "inputs": ["x"],
      "states": 1, "return_sequences": true, "body": )" +
               body + "}",
           "\"x\"", "\"y\"");
  for (const std::string& spec_json : {images, loop}) {
    INFO(spec_json);
    const Model model = random_model(with_signal(spec_json, R"({"sample_rate": 48000})"), 0.7f);
    Stream stream(model, {.sample_rate = 2 * kRate}), even(model, {}), odd(model, {});
    CHECK(stream.rate_match() == RateMatch::matched);
    for (std::uint32_t t = 0; t < 12; ++t) {
      const std::vector<float> x = numbers(4, t);
      std::vector<float> y(8), expected(8);
      REQUIRE(stream.step(x.data(), y.data()));
      REQUIRE((t % 2 == 0 ? even : odd).step(x.data(), expected.data()));
      CHECK(same(y, expected));
    }
  }
}

TEST_CASE("rates: rows that begin with states, and rows that are chosen, take their past along") {
  const Model model = random_model(
      with_signal(spec(R"({"type": "Input", "name": "x", "shape": [null, 2]}, {"type": "Input", "name": "m", "shape": [null, 4]},
                          {"type": "Input", "name": "h", "shape": [4]},
                          {"type": "GRU", "name": "y", "inputs": ["x", "h"], "units": 4, "return_sequences": true},
                          {"type": "Attention", "name": "a", "inputs": ["y", "m"]})",
                       R"("x", "m", "h")", R"("y", "a")"),
                  R"({"sample_rate": 48000})"),
      0.7f);
  constexpr Index kWhole = 3;
  const std::vector<float> m = numbers(2 * kWhole * 4, 1), h = numbers(2 * 4, 2);
  const auto begin = [&](Stream& stream, Index first, Index count) {
    Data given;
    const auto part = [&](const std::vector<float>& all, Index size) {
      return std::vector<float>(all.begin() + first * size, all.begin() + (first + count) * size);
    };
    given.add({count, kWhole, 4}, part(m, kWhole * 4)).add({count, 4}, part(h, 4));
    stream.begin(given.batch());
  };
  const auto take = [](Stream& stream, const std::vector<float>& x) {
    std::vector<float> y(static_cast<std::size_t>(stream.rows() * 4)), a(y.size());
    const void* const from = x.data();
    float* const to[] = {y.data(), a.data()};
    REQUIRE(stream.step({&from, 1}, to));
    y.insert(y.end(), a.begin(), a.end());
    return y;
  };
  for (const double rate : {96000.0, 120000.0}) {
    Stream stream(model, {.batch = 3, .sample_rate = rate, .whole = {"m"}});
    CHECK(stream.rate_match() == RateMatch::matched);
    begin(stream, 0, 2);
    std::vector<std::vector<float>> x;
    for (std::uint32_t t = 0; t < 4; ++t) take(stream, x.emplace_back(numbers(2 * 2, t)));
    const std::vector<Index> chosen{1, 0, 1};
    stream.select(chosen);
    const std::vector<float> further = numbers(3 * 2, 9);
    std::vector<float> y;
    for (int t = 0; t < 4; ++t) y = take(stream, further);
    for (std::size_t k = 0; k < chosen.size(); ++k) {
      const auto row = static_cast<std::ptrdiff_t>(chosen[k]);
      Stream alone(model, {.sample_rate = rate, .whole = {"m"}});
      begin(alone, chosen[k], 1);
      for (const std::vector<float>& both : x) take(alone, {both.begin() + 2 * row, both.begin() + 2 * (row + 1)});
      const auto from = further.begin() + 2 * static_cast<std::ptrdiff_t>(k);
      std::vector<float> right;
      for (int t = 0; t < 4; ++t) right = take(alone, {from, from + 2});
      for (std::size_t i = 0; i < 4; ++i) {
        CHECK(y[k * 4 + i] == right[i]);
        CHECK(y[12 + k * 4 + i] == right[4 + i]);
      }
    }
  }
}
#endif

#if REKUR_TRAINING
TEST_CASE("signal: said by the spec, set, saved and read") {
  Model model(one(R"("type": "LSTM", "units": 3)"));
  CHECK(model.signal().sample_rate == 48000);
  CHECK(model.signal().latency == 0);
  model.set_signal({.sample_rate = 44100.5, .latency = 64});
  CHECK(model.signal().sample_rate == 44100.5);
  contains(model.spec(), R"("signal":{"sample_rate":44100.5,"latency":64})");
  const Model again(model.spec());
  CHECK(again.signal().latency == 64);
  CHECK(Stream(model, {.sample_rate = 88201}).rate_match() == RateMatch::matched);
  for (const double wrong : {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    contains(message_of([&] { model.set_signal({.sample_rate = wrong}); }), "model: expected a sample rate of 0, for none, or");
  contains(message_of([&] { model.set_signal({.latency = -1}); }), "model: expected a latency of 0 to 2147483647 samples, got -1");
  CHECK(model.signal().sample_rate == 44100.5);
  model.set_signal({});
  CHECK(model.spec().find("signal") == std::string::npos);
  CHECK(Stream(model, {.sample_rate = 96000}).rate_match() == RateMatch::unknown);
}
#endif

TEST_CASE("signal: what a spec may not say") {
  const auto message = [](const std::string& signal) {
    return message_of([&] {
      Model(with_signal(spec(R"({"type": "Input", "name": "x", "shape": [2]}, {"type": "Dense", "name": "y",
        "inputs": ["x"], "units": 1})",
                             "\"x\"", "\"y\""),
                        signal));
    });
  };
  CHECK(message("{}").empty());
  CHECK(message(R"({"latency": 5})").empty());
  contains(message("5"), "model: 'signal'");
  contains(message(R"({"sample_rate": 0})"), "model: 'signal': 'sample_rate' must be a number of Hz above 0, got 0");
  contains(message(R"({"sample_rate": "48k"})"), "'sample_rate' must be");
  contains(message(R"({"sample_rate": null})"), "'sample_rate' must be");
  contains(message(R"({"latency": -1})"), "'latency' must be a number of samples from 0 to 2147483647, got -1");
  contains(message(R"({"latency": 0.5})"), "'latency' must be");
  contains(message(R"({"rate": 1})"), "unknown key 'rate'");
}
