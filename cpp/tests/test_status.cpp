// status.hpp: what would be thrown arrives as a Status, and what would be returned in a Result.
#include "rekur/status.hpp"

#include <cstring>
#include <new>
#include <stdexcept>

#include "api/guard.hpp"
#include "io_helpers.hpp"
#include "model_file.hpp"
#include "model_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

const std::string kModel = spec(R"({"type": "Input", "name": "x", "shape": [null, 2]},
    {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 3, "return_sequences": true},
    {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 1})",
                                "\"x\"", "\"y\"");

Model model_of(std::uint32_t seed) {
  Model model(kModel);
  model.set_weights(numbers(static_cast<Index>(model.weights().size()), seed));
  return model;
}

template <class Exception>
Status status_thrown(const Exception& exception) {
  return api::status_of([&] { throw exception; });
}

}  // namespace

TEST_CASE("status: every exception has its code, and its message") {
  CHECK(status_thrown(Error("e")).code == Code::invalid_argument);
  CHECK(std::string(status_thrown(Error("layer 'a': wrong")).message) == "layer 'a': wrong");
  CHECK(status_thrown(IoError("i")).code == Code::io);
  CHECK(status_thrown(OutOfMemory("m")).code == Code::out_of_memory);
  CHECK(status_thrown(std::bad_alloc()).code == Code::out_of_memory);
  CHECK(status_thrown(std::length_error("l")).code == Code::out_of_memory);
  CHECK(status_thrown(std::runtime_error("r")).code == Code::internal);
  CHECK(std::string(status_thrown(std::runtime_error("r")).message) == "r");
  CHECK(status_thrown(1).code == Code::internal);
  CHECK(status_thrown(1).message[0] != '\0');
  const Status good = api::status_of([] {});
  CHECK(good);
  CHECK(good.code == Code::ok);
  CHECK(good.message[0] == '\0');
}

TEST_CASE("status: a long message is cut between characters") {
  constexpr std::size_t kMost = Status::kMessageSize - 1;
  CHECK(std::strlen(Status(Code::io, std::string(kMost, 'a')).message) == kMost);
  CHECK(std::strlen(Status(Code::io, std::string(kMost + 1, 'a')).message) == kMost);
  const std::string characters[] = {"é", "模", "🎛"};
  for (const std::string& character : characters) {
    for (std::size_t before = kMost - 6; before <= kMost + 1; ++before) {
      std::string text(before, 'a');
      for (int i = 0; i < 4; ++i) text += character;
      const std::string cut = Status(Code::io, text).message;
      INFO(character, " after ", before);
      CHECK(cut.size() <= kMost);
      CHECK(cut.size() + character.size() > kMost);
      CHECK(cut == text.substr(0, cut.size()));
      CHECK((cut.size() <= before || (cut.size() - before) % character.size() == 0));
    }
  }
  // What is no UTF-8 is cut somewhere.
  CHECK(std::strlen(Status(Code::io, std::string(1000, '\x80')).message) > kMost - 4);
}

TEST_CASE("status: a Result holds the value or the reason") {
  Result<std::string> good(std::string("value"));
  CHECK(good);
  CHECK(good.status());
  CHECK(*good == "value");
  CHECK(good->size() == 5);
  CHECK(std::as_const(good).value() == "value");
  const std::string moved = std::move(good).value();
  CHECK(moved == "value");

  const Result<std::string> bad = Status(Code::io, "no such file");
  CHECK(!bad);
  CHECK(bad.status().code == Code::io);
  CHECK(std::string(bad.status().message) == "no such file");
  const Result<std::string> neither = Status();
  CHECK(!neither);
  CHECK(neither.status().code == Code::internal);
}

TEST_CASE("status: models") {
  const tests::TemporaryDirectory directory;
  Result<Model> built = try_model(kModel);
  REQUIRE(built);
  Model& model = *built;
  Model same = model_of(4);
  REQUIRE(try_set_weights(model, same.weights()));
  CHECK(std::equal(model.weights().begin(), model.weights().end(), same.weights().begin(), same.weights().end()));

  const Data data = Data().add_random({2, 5, 2});
  const std::vector<Tensor> expected = same.predict(data.batch());
  const auto shapes = try_output_shapes(model, {{2, 5, 2}});
  REQUIRE(shapes);
  CHECK(*shapes == std::vector<Shape>{{2, 5, 1}});
  const auto memory = try_run_memory(model, {{2, 5, 2}});
  REQUIRE(memory);
  CHECK(*memory == same.run_memory({{2, 5, 2}}));
  const auto across = try_layers_across_time(model);
  REQUIRE(across);
  CHECK(across->empty());
  const auto valid = try_valid_steps(model, data.batch());
  REQUIRE(valid);
  CHECK(*valid == same.valid_steps(data.batch()));
  std::vector<float> y(10);
  const std::vector<View> views{{y.data(), {2, 5, 1}}};
  REQUIRE(try_predict(model, data.batch(), views));
  CHECK(y == expected[0].data);
  const auto predicted = try_predict(model, data.batch());
  REQUIRE(predicted);
  CHECK((*predicted)[0].data == expected[0].data);

  const std::string path = directory.file("model.safetensors"), bytes = model_file(same);
  tests::write_text(path, bytes);
  REQUIRE(try_load(path));
  Model::Extras read;
  read.metadata["of"] = "before";
  const auto loaded = try_load(path, read);
  REQUIRE(loaded);
  CHECK(read.metadata.empty());
  CHECK(loaded->predict(data.batch())[0].data == expected[0].data);
  const auto in_memory = try_load(std::as_bytes(std::span(bytes)));
  REQUIRE(in_memory);
  CHECK(in_memory->predict(data.batch())[0].data == expected[0].data);
}

TEST_CASE("status: what is wrong with a model is said as the exceptions say it") {
  Model model = model_of(1);
  const auto expect = [](const Status& status, Code code, const std::string& part) {
    CHECK(status.code == code);
    contains(status.message, part);
  };
  expect(try_model("{").status(), Code::invalid_argument, "");
  expect(try_model(nullptr).status(), Code::invalid_argument, "the spec is null");
  expect(try_model(std::string_view()).status(), Code::invalid_argument, "");
  expect(try_load("/nowhere/at all").status(), Code::io, "/nowhere/at all");
  expect(try_load(static_cast<const char*>(nullptr)).status(), Code::invalid_argument, "the path is null");
  expect(try_load(std::span<const std::byte>(), "resource 7").status(), Code::io, "resource 7: too short");
  expect(try_set_weights(model, {}), Code::invalid_argument, "got 0");
  expect(try_output_shapes(model, {{1, 5, 3}}).status(), Code::invalid_argument, "Input 'x'");
  expect(try_run_memory(model, {{1, 5, 3}}).status(), Code::invalid_argument, "Input 'x'");
  expect(try_valid_steps(model, {}).status(), Code::invalid_argument, "");
  expect(try_predict(model, {}).status(), Code::invalid_argument, "expected 1 input, got 0");
  expect(try_predict(model, Data().add_random({1, 5, 2}).batch(), {}), Code::invalid_argument, "expected 1 output array");
  // Memory that no machine has: of a model, and of a run.
  std::string huge = kModel;
  huge.replace(huge.find("\"units\": 3"), 10, "\"units\": 500000");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  if (const Result<Model> large = try_model(huge); !large) expect(large.status(), Code::out_of_memory, "not enough memory");
  std::vector<float> x(2);
  Batch batch;
  batch.inputs.push_back({x.data(), {Index{1} << 50, 5, 2}, DType::float32});
  expect(try_predict(model, batch).status(), Code::out_of_memory, "not enough memory");
#endif
}

TEST_CASE("status: streams") {
  const Model model = model_of(3);
  Result<Stream> stream = try_stream(model, {.batch = 1});
  REQUIRE(stream);
  const Data data = Data().add_random({1, 4, 2});
  const std::vector<float> expected = model.predict(data.batch())[0].data;
  for (std::size_t t = 0; t < 4; ++t) {
    float y = 0;
    stream->step(data.floats[0].data() + 2 * t, &y);
    CHECK(y == doctest::Approx(expected[t]).epsilon(1e-6));
  }
  Result<Stream> moved = std::move(stream);
  moved->reset();
  CHECK(try_stream(model, {.batch = 0}).status().code == Code::invalid_argument);
  const Result<Model> backwards = try_model(spec(R"({"type": "Input", "name": "x", "shape": [null, 2]},
      {"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": {"type": "GRU", "units": 2}})",
                                                 "\"x\"", "\"b\""));
  REQUIRE(backwards);
  const Status refused = try_stream(*backwards).status();
  CHECK(refused.code == Code::invalid_argument);
  contains(refused.message, "'b'");
}

TEST_CASE("status: layers, shapes and the machine") {
  const auto outputs = try_infer_layer(R"({"type": "Dense", "name": "d", "units": 7})", {{"x", {-1, 3}, DType::float32}});
  REQUIRE(outputs);
  CHECK((*outputs)[0].shape == Shape{-1, 7});
  contains(try_infer_layer(R"({"type": "Dens", "name": "d"})", {}).status().message, "Dense");
  CHECK(try_infer_layer(nullptr, {}).status().code == Code::invalid_argument);
  const auto types = try_layer_types();
  REQUIRE(types);
  CHECK(*types == layer_types());
  const auto text = try_to_string({-1, 2});
  REQUIRE(text);
  CHECK(*text == "(None, 2)");
  CHECK(try_element_count({3, 4}).value() == 12);
  CHECK(try_element_count({3, -1}).status().code == Code::invalid_argument);

  const std::string isa = current_isa();
  const int threads = num_threads();
  CHECK(try_current_isa().value() == isa);
  CHECK(try_available_isas().value() == available_isas());
  CHECK(try_set_isa(isa));
  contains(try_set_isa("mmx").message, "unknown instruction set 'mmx'");
  CHECK(try_set_isa(nullptr).code == Code::invalid_argument);
  CHECK(try_num_threads().value() == threads);
  CHECK(try_set_num_threads(threads));
  CHECK(try_set_num_threads(0).code == Code::invalid_argument);
  CHECK(num_threads() == threads);
  CHECK(try_cpu_info().value() == cpu_info());
}

// A file in a caller's memory may hold anything.
TEST_CASE("status: damaged models in memory are refused or load, nothing else") {
  const std::string file = model_file(model_of(2));
  for (std::size_t size = 0; size < file.size(); ++size) {
    // Of its own size, so that the address sanitiser sees a byte too many.
    const std::vector<char> piece(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
    const Status status = try_load(std::as_bytes(std::span(piece))).status();
    INFO(size, " bytes of ", file.size());
    CHECK(status.code == Code::io);
    CHECK(status.message[0] != '\0');
  }
  std::uint64_t state = 88172645463325252u;
  const auto random = [&](std::size_t n) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<std::size_t>(state % n);
  };
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = file;
    for (std::size_t flips = 1 + random(3); flips > 0; --flips) {
      damaged[random(i % 2 == 0 ? damaged.size() : damaged.find("]}}"))] ^= static_cast<char>(1u << random(8));
    }
    const Result<Model> model = try_load(std::as_bytes(std::span(damaged)));
    if (!model) {
      CHECK(model.status().code != Code::ok);
      CHECK(model.status().code != Code::internal);
      CHECK(model.status().message[0] != '\0');
      ++refused;
    }
  }
  CHECK(refused > 400);
}
