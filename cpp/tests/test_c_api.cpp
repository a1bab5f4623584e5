// rekur.h where C alone does not reach: threads, the layout that is promised. The rest is c_api.c.
#include <cstddef>
#include <cstring>
#include <thread>

#include "io_helpers.hpp"
#include "model_file.hpp"
#include "model_helpers.hpp"
#include "rekur/rekur.h"

using namespace rekur;
using namespace rekur::test;

namespace {

// Programs are compiled against these; they stay.
template <std::size_t Pointer>
constexpr bool layout_is_kept() {
  if constexpr (Pointer != 8) return true;
  return sizeof(rekur_tensor) == 128 && offsetof(rekur_tensor, data) == 0 && offsetof(rekur_tensor, count) == 8 &&
         offsetof(rekur_tensor, dims) == 16 && offsetof(rekur_tensor, rank) == 80 && offsetof(rekur_tensor, dtype) == 84 &&
         offsetof(rekur_tensor, lengths) == 88 && offsetof(rekur_tensor, lengths_count) == 96 &&
         offsetof(rekur_tensor, reserved) == 104 && sizeof(rekur_tensor_info) == 96 && offsetof(rekur_tensor_info, name) == 0 &&
         offsetof(rekur_tensor_info, dims) == 8 && offsetof(rekur_tensor_info, rank) == 72 &&
         offsetof(rekur_tensor_info, dtype) == 76 && offsetof(rekur_tensor_info, reserved) == 80;
}
static_assert(layout_is_kept<sizeof(void*)>());
static_assert(sizeof(rekur_code) == sizeof(int));
static_assert(REKUR_MAX_RANK == 8 && REKUR_UNKNOWN == -1 && REKUR_FLOAT32 == 0 && REKUR_INT32 == 1);

}  // namespace

TEST_CASE("C: each thread has its own last error") {
  CHECK(rekur_model_input_count(nullptr) == 0);
  const char* const mine = rekur_last_error();
  std::string at_first, after;
  std::thread([&] {
    at_first = rekur_last_error();
    (void)rekur_set_num_threads(-3);
    after = rekur_last_error();
  }).join();
  CHECK(at_first.empty());
  contains(after, "-3");
  CHECK(std::string(mine) == "rekur_model_input_count: model is null");
  CHECK(mine == rekur_last_error());
}

TEST_CASE("C: one model in several threads, each with a stream of its own") {
  Model model(spec(R"({"type": "Input", "name": "x", "shape": [null, 2]},
      {"type": "GRU", "name": "gru", "inputs": ["x"], "units": 4, "return_sequences": true})",
                   "\"x\"", "\"gru\""));
  model.set_weights(numbers(static_cast<Index>(model.weights().size()), 1));
  const Data data = Data().add_random({1, 9, 2});
  const std::vector<float> expected = model.predict(data.batch())[0].data;
  const tests::TemporaryDirectory directory;
  const std::string path = directory.file("model.safetensors");
  tests::write_text(path, model_file(model));
  rekur_model* shared = nullptr;
  REQUIRE(rekur_model_load(path.c_str(), &shared) == REKUR_OK);
  std::vector<int> good(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < good.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int repeat = 0; repeat < 10; ++repeat) {
        std::vector<float> x = data.floats[0], y(expected.size()), streamed(expected.size());
        rekur_tensor in = {}, out = {};
        in.data = x.data(), in.count = 18, in.rank = 3;
        in.dims[0] = 1, in.dims[1] = 9, in.dims[2] = 2;
        out.data = y.data(), out.count = 36;
        rekur_stream* stream = nullptr;
        bool ok = rekur_model_predict(shared, &in, 1, &out, 1) == REKUR_OK && y == expected;
        ok = ok && rekur_stream_create(shared, 1, &stream) == REKUR_OK;
        for (std::size_t t = 0; ok && t < 9; ++t) ok = rekur_stream_step(stream, &x[2 * t], &streamed[4 * t]) == REKUR_OK;
        for (std::size_t k = 0; ok && k < expected.size(); ++k) ok = std::abs(streamed[k] - expected[k]) <= 1e-6f;
        rekur_stream_free(stream);
        good[i] += ok;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  rekur_model_free(shared);
  for (const int n : good) CHECK(n == 10);
}
