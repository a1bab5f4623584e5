// What sums over a row's numbers: the same bits with every width of vectors, where there is a fused multiply-add.
#include <string>
#include <vector>

#include "each_isa.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

std::string between(const std::string& layers, Index features) {
  return spec(input("x", "[null, " + std::to_string(features) + "]") + ", " + layers, R"("x")", R"("y")");
}

std::vector<std::string> models() {
  std::vector<std::string> all;
  for (const Index F : {1, 3, 6, 9, 16, 24, 35, 100}) {
    for (const char* options : {"", R"("epsilon": 0.1)"})
      all.push_back(between(layer("LayerNormalization", "y", R"("x")", options), F));
    all.push_back(between(layer("Activation", "y", R"("x")", R"("activation": "softmax")"), F));
    all.push_back(
        between(layer("LSTM", "y", R"("x")", R"("units": )" + std::to_string(F) + R"(, "layer_normalization": "sums")"), F));
    const std::string key = R"("key_dim": )" + std::to_string(F);
#if REKUR_SEQUENCE
    for (const char* mask : {"", R"(, "use_causal_mask": true)", R"(, "use_causal_mask": true, "sliding_window": 37)"})
      all.push_back(between(layer("MultiHeadAttention", "y", R"("x", "x")", R"("num_heads": 2, )" + key + mask), 5));
    all.push_back(between(layer("AdditiveAttention", "y", R"("x", "x")", ""), F));
#endif
#if REKUR_MATRIX
    all.push_back(between(layer("MLSTM", "y", R"("x")", R"("num_heads": 1, )" + key), 5));
    for (const char* mode : {"gated", "gated_delta"})
      all.push_back(between(
          layer("GatedLinearAttention", "y", R"("x")", R"("num_heads": 1, "mode": ")" + std::string(mode) + R"(", )" + key), 5));
    all.push_back(between(layer("SelectiveSSM", "y", R"("x")", R"("state_size": 3)"), F));
#endif
  }
  return all;
}

}  // namespace

TEST_CASE("vectors of every width give a row's sums the same bits") {
  for (const std::string& text : models()) {
    CAPTURE(text);
    const Model model = random_model(text);
    const Sequences data(model, 2, 200);
    std::vector<float> first;
    each_isa([&](const simd::Kernels&) {
      if (current_isa() == "baseline") return;  // without a fused multiply-add
      const std::vector<float> y = model.predict(data.first(200).batch())[0].data;
      if (first.empty()) first = y;
      CHECK(same(y, first));
    });
  }
}
