// Memory of the caller's own (rekur/memory.hpp) as it is without rekur/operators.hpp, which stream_promises.cpp has.
#include "rekur/memory.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "model_file.hpp"
#include "rekur/rekur.h"
#include "rekur/status.hpp"
#include "rekur/stream.hpp"
#include "runtime/own_memory.hpp"

namespace {

using namespace rekur;

const char* const kSpec = R"({"format": "rekur", "version": 1, "name": "m", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 3]},
    {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 37, "return_sequences": true},
    {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 9}], "inputs": ["x"], "outputs": ["y"]})";

// Counts what is out; every block is aligned as asked, filled with what is no zero, and comes back as it went.
struct Counted {
  std::map<void*, std::pair<std::size_t, std::size_t>> out;
  std::size_t bytes = 0, most = 0, calls = 0, fails_from = ~std::size_t{0};

  Memory memory() { return {take, give, this}; }

  static void* take(void* context, std::size_t bytes, std::size_t alignment) {
    const runtime::MemoryScope system(nullptr);
    Counted& self = *static_cast<Counted*>(context);
    if (self.calls++ >= self.fails_from) return nullptr;
    REQUIRE(bytes > 0);
    REQUIRE(alignment <= 64);
    void* const block = ::operator new(bytes, std::align_val_t(64));
    std::memset(block, 0x5a, bytes);
    self.out[block] = {bytes, alignment};
    self.bytes += bytes;
    self.most = std::max(self.most, self.bytes);
    return block;
  }
  static void give(void* context, void* block, std::size_t bytes, std::size_t alignment) {
    Counted& self = *static_cast<Counted*>(context);
    REQUIRE(self.out.count(block) == 1);
    REQUIRE(self.out[block] == std::pair{bytes, alignment});
    self.out.erase(block);
    self.bytes -= bytes;
    ::operator delete(block, std::align_val_t(64));
  }
};

std::vector<float> numbers(std::size_t count) {
  std::vector<float> made(count);
  for (std::size_t i = 0; i < count; ++i) made[i] = 0.25f * static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
  return made;
}

std::vector<float> stepped(Stream& stream) {
  const std::vector<float> x = numbers(3 * 50);
  std::vector<float> y(9 * 50);
  CHECK(stream.process(x.data(), y.data(), 50));
  return y;
}

}  // namespace

TEST_CASE("fixed memory: pieces do not overlap, are aligned, and grow together again") {
  alignas(64) static std::array<std::byte, 40000> block;
  for (const std::size_t shift : {0, 1, 17, 63}) {
    const Memory memory = fixed_memory(block.data() + shift, block.size() - shift);
    std::vector<std::pair<unsigned char*, std::size_t>> out;
    std::vector<std::size_t> alignments;
    unsigned seed = 7;
    const auto next = [&] { return seed = seed * 1664525u + 1013904223u, seed >> 8; };
    const auto give = [&](std::size_t i) {
      for (std::size_t k = 0; k < out[i].second; ++k) REQUIRE(out[i].first[k] == static_cast<unsigned char>(out[i].second));
      memory.release(memory.context, out[i].first, out[i].second, alignments[i]);
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
      alignments.erase(alignments.begin() + static_cast<std::ptrdiff_t>(i));
    };
    for (int i = 0; i < 4000; ++i) {
      if (next() % 3 == 0 && !out.empty()) {
        give(next() % out.size());
        continue;
      }
      const std::size_t bytes = 1 + next() % 900, alignment = std::size_t{1} << next() % 7;
      auto* const p = static_cast<unsigned char*>(memory.allocate(memory.context, bytes, alignment));
      if (p == nullptr) {
        REQUIRE(out.size() > 20);
        give(next() % out.size());
        continue;
      }
      REQUIRE(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
      REQUIRE(p >= reinterpret_cast<unsigned char*>(block.data() + shift));
      REQUIRE(p + bytes <= reinterpret_cast<unsigned char*>(block.data() + block.size()));
      std::memset(p, static_cast<int>(bytes), bytes);
      out.emplace_back(p, bytes);
      alignments.push_back(alignment);
    }
    while (!out.empty()) give(0);
    CHECK(memory.allocate(memory.context, block.size() - 300, 64) != nullptr);
  }
  CHECK(fixed_memory(nullptr, 100).allocate(nullptr, 1, 1) == nullptr);
  const Memory small = fixed_memory(block.data(), 20);
  CHECK(small.allocate(small.context, 1, 1) == nullptr);
  CHECK(fixed_memory_needed(small) == 0);
  CHECK(fixed_memory_needed({}) == 0);
}

TEST_CASE("a model and a stream with memory of their own") {
  Model plain(kSpec);
  const std::vector<float> weights = numbers(plain.weight_count());
  plain.set_weights(weights);
  Stream expected(plain);
  Counted of_model, of_stream;
  {
    Model model(kSpec, {.memory = of_model.memory()});
    model.set_weights(weights);
    CHECK(of_model.most >= weights.size() * sizeof(float));
    const std::vector<float> x = numbers(2 * 5 * 3);
    Batch batch;
    batch.inputs.push_back({x.data(), {2, 5, 3}});
    const std::size_t before = of_model.bytes;
    const std::vector<Tensor> y = model.predict(batch);
    CHECK(y[0].data == plain.predict(batch)[0].data);
    CHECK(of_model.bytes > before);  // packed weights and an arena stay
    Stream stream(model, {.memory = of_stream.memory()});
    CHECK(of_stream.most >= weights.size() * sizeof(float) / 2);
    const std::size_t calls = of_stream.calls + of_model.calls;
    CHECK(stepped(stream) == stepped(expected));
    CHECK(of_stream.calls + of_model.calls == calls);
    // Others of the same weights share nothing with it.
    const Stream other(model), another(model, {.memory = of_stream.memory()});
  }
  CHECK(of_model.out.empty());
  CHECK(of_stream.out.empty());
}

TEST_CASE("memory that ends is an error at any of its allocations, which leaves nothing") {
  Model model(kSpec);
  model.set_weights(numbers(model.weight_count()));
  for (std::size_t n = 0;; ++n) {
    REQUIRE(n < 1000);
    Counted of_stream;
    of_stream.fails_from = n;
    bool made = false;
    try {
      const Stream stream(model, {.batch = 2, .memory = of_stream.memory()});
      made = true;
    } catch (const OutOfMemory&) {
    }
    CHECK(of_stream.out.empty());
    Counted of_model;
    of_model.fails_from = n;
    Result<Model> other = try_model(kSpec, {.memory = of_model.memory()});
    if (!other) CHECK(other.status().code == Code::out_of_memory);
    if (made && other) break;
  }
}

TEST_CASE("C: models and streams in blocks") {
  Model plain(kSpec);
  const std::vector<float> weights = numbers(plain.weight_count());
  plain.set_weights(weights);
  const std::string file = test::model_file(plain);
  Stream expected(plain, {.batch = 1});

  std::size_t model_bytes = 0, stream_bytes = 0;
  REQUIRE(rekur_model_memory_size(file.data(), file.size(), &model_bytes) == REKUR_OK);
  CHECK(model_bytes > weights.size() * sizeof(float));
  std::vector<char> of_model(model_bytes + 1);
  rekur_model* model = nullptr;
  REQUIRE(rekur_model_load_in(file.data(), file.size(), of_model.data() + 1, model_bytes, &model) == REKUR_OK);
  REQUIRE(rekur_stream_memory_size(model, 1, &stream_bytes) == REKUR_OK);
  std::vector<char> of_stream(stream_bytes + 64);
  rekur_stream* stream = nullptr;
  for (const std::size_t shift : {0, 1, 16, 63}) {
    REQUIRE(rekur_stream_create_in(model, 1, of_stream.data() + shift, stream_bytes, &stream) == REKUR_OK);
    const std::vector<float> x = numbers(3 * 50);
    std::vector<float> y(9 * 50);
    REQUIRE(rekur_stream_process(stream, x.data(), y.data(), 50) == REKUR_OK);
    expected.reset();
    CHECK(y == stepped(expected));
    rekur_stream_free(stream);
  }
  std::fill(of_stream.begin(), of_stream.end(), '\x7f');

  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{200}, stream_bytes / 2, stream_bytes - 64}) {
    stream = reinterpret_cast<rekur_stream*>(&stream_bytes);
    CHECK(rekur_stream_create_in(model, 1, of_stream.data(), size, &stream) == REKUR_OUT_OF_MEMORY);
    CHECK(stream == nullptr);
    const std::string message = rekur_last_error();
    CHECK(message == "rekur_stream_create_in: the memory has " + std::to_string(size) + " bytes, and " +
                         std::to_string(stream_bytes) + " are needed");
  }
  rekur_model* none = model;
  CHECK(rekur_model_load_in(file.data(), file.size(), of_stream.data(), 100, &none) == REKUR_OUT_OF_MEMORY);
  CHECK(none == nullptr);
  CHECK(std::string(rekur_last_error()).find(std::to_string(model_bytes) + " are needed") != std::string::npos);

  CHECK(rekur_stream_create_in(model, 0, of_stream.data(), stream_bytes, &stream) == REKUR_INVALID_ARGUMENT);
  CHECK(std::string(rekur_last_error()) == "rekur_stream_create_in: batch must be at least 1, got 0");
  CHECK(rekur_stream_create_in(nullptr, 1, of_stream.data(), stream_bytes, &stream) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_stream_create_in(model, 1, nullptr, stream_bytes, &stream) == REKUR_INVALID_ARGUMENT);
  CHECK(std::string(rekur_last_error()) == "rekur_stream_create_in: memory is null");
  CHECK(rekur_stream_create_in(model, 1, of_stream.data(), stream_bytes, nullptr) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_stream_memory_size(model, 1, nullptr) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_model_memory_size(nullptr, 1, &model_bytes) == REKUR_INVALID_ARGUMENT);
  CHECK(rekur_model_memory_size(file.data(), 20, &model_bytes) == REKUR_IO);
  CHECK(model_bytes == 0);

  Counted counted;
  const rekur_memory memory = {Counted::take, Counted::give, &counted};
  REQUIRE(rekur_stream_create_with(model, 2, &memory, &stream) == REKUR_OK);
  rekur_model_free(model);
  REQUIRE(rekur_model_load_memory_with(file.data(), file.size(), &memory, &model) == REKUR_OK);
  rekur_stream_free(stream);
  rekur_model_free(model);
  CHECK(counted.calls > 3);
  CHECK(counted.out.empty());
  rekur_memory half = memory;
  half.release = nullptr;
  CHECK(rekur_model_load_memory_with(file.data(), file.size(), &half, &model) == REKUR_INVALID_ARGUMENT);
  CHECK(std::string(rekur_last_error()) == "rekur_model_load_memory_with: memory->release is null");
  CHECK(rekur_model_load_with("/nowhere", &memory, &model) == REKUR_IO);
  CHECK(counted.out.empty());
}
