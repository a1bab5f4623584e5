// Products of bf16: streams against predict, and what a trainer says of a model. tests/test_bf16.py has the arithmetic.
#include <string>
#include <vector>

#include "rekur/train.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

std::string of(const std::string& type, Index features, Index units, const std::string& options = "") {
  return spec(input("x", "[null, " + std::to_string(features) + "]") + ", " +
                  layer(type, "y", R"("x")", R"("units": )" + std::to_string(units) + options),
              R"("x")", R"("y")");
}

const std::string kSaid = R"(, "precision": "bf16")";

}  // namespace

TEST_CASE("bf16: streams give predict's bits, one row or several, step by step and together") {
  for (const auto& size : std::vector<std::pair<Index, Index>>{{1, 1}, {3, 7}, {17, 31}, {33, 65}})
    for (const char* type : {"LSTM", "GRU", "SimpleRNN", "Dense"}) {
      CAPTURE(type);
      CAPTURE(size.second);
      check_stream(of(type, size.first, size.second, kSaid), {}, 0.3f);
    }
  for (const char* options : {R"(, "peepholes": true)", R"(, "projection_size": 17)", R"(, "layer_normalization": "sums")"})
    check_stream(of("LSTM", 5, 33, options + kSaid), {}, 0.3f);
  check_stream(of("GRU", 5, 33, R"(, "reset_after": false)" + kSaid), {}, 0.3f);
}

TEST_CASE("bf16: a trainer says what layers compute in that do not say it themselves") {
  const std::string training = R"({"optimizer": {"name": "sgd"}, "losses": [{"name": "mean_squared_error"}])";
  for (const char* type : {"LSTM", "Dense"}) {
    Model model = random_model(of(type, 9, 17), 0.3f), said = random_model(of(type, 9, 17, kSaid), 0.3f);
    const Sequences data(model, 3, 5);
    const auto predicted = [&](const Model& m) { return m.predict(data.first(5).batch())[0].data; };
    const std::vector<float> plain = predicted(model), rounded = predicted(said);
    CHECK(plain != rounded);
    const auto streamed = [](const Model& m) {
      Stream stream(m, {.batch = 3});
      const std::vector<float> x = numbers(3 * 9, 4);
      std::vector<float> y(3 * 17);
      for (int t = 0; t < 3; ++t) CHECK(stream.step(x.data(), y.data()));
      return y;
    };
    const Stream before(model, {.batch = 3});  // whose program those after it may share
    const std::vector<float> plain_step = streamed(model), rounded_step = streamed(said);
    CHECK(plain_step != rounded_step);
    Trainer(model, training + R"(, "precision": "bf16"})");
    CHECK(same(predicted(model), rounded));
    CHECK(same(streamed(model), rounded_step));
    Trainer(model, training + "}");
    CHECK(same(predicted(model), plain));
    CHECK(same(streamed(model), plain_step));
    Trainer(said, training + "}");
    CHECK(same(predicted(said), rounded));
    CHECK_THROWS_WITH_AS(Trainer(model, training + R"(, "precision": "fp16"})"), doctest::Contains("precision"), Error);
  }
  CHECK_THROWS_WITH_AS(Model(of("LSTM", 2, 3, R"(, "precision": "fp16")")), doctest::Contains("precision"), Error);
}
