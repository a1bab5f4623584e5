// Models used where their files lie (Model::map), and the files that are made for it (Model::pack).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "io/safetensors.hpp"
#include "io_helpers.hpp"
#include "isa/dispatch.hpp"
#include "model_file.hpp"
#include "rekur/rekur.h"
#include "rekur/runtime.hpp"
#include "rekur/status.hpp"
#include "rekur/stream.hpp"
#if REKUR_TRAINING
#include "rekur/train.hpp"
#endif

namespace {

using namespace rekur;

std::string spec_of(const std::string& layer) {
  return R"({"format": "rekur", "version": 1, "name": "m", "layers": [
    {"type": "Input", "name": "x", "shape": [null, 21]}, {"name": "y", "inputs": ["x"], )" +
         layer + R"(}], "inputs": ["x"], "outputs": ["y"]})";
}

const char* const kLstm = R"("type": "LSTM", "units": 37, "return_sequences": true)";

std::vector<float> numbers(std::size_t count) {
  std::vector<float> made(count);
  for (std::size_t i = 0; i < count; ++i) made[i] = 0.2f * static_cast<float>(static_cast<int>(i * 37 % 1001) - 500) / 500;
  return made;
}

Model model_of(const std::string& layer) {
  Model model(spec_of(layer));
  model.set_weights(numbers(model.weight_count()));
  return model;
}

std::vector<float> stepped(Stream& stream) {
  const Index rows = stream.rows();
  const std::vector<float> x = numbers(static_cast<std::size_t>(21 * 45 * rows));
  std::vector<float> y(static_cast<std::size_t>(element_count(stream.outputs()[0].shape) * 45));
  CHECK(stream.process(x.data(), y.data(), 45));
  return y;
}

// Bytes at a multiple of 64, and so many behind it.
class Flash {
 public:
  explicit Flash(std::string_view file, std::size_t shift = 0) : room_(file.size() + 128), size_(file.size()) {
    void* at = room_.data();
    std::size_t space = room_.size();
    begin_ = static_cast<char*>(std::align(64, 1, at, space)) + shift;
    std::memcpy(begin_, file.data(), size_);
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(begin_, size_)); }
  std::string text() const { return {begin_, size_}; }

 private:
  std::vector<char> room_;
  char* begin_;
  std::size_t size_;
};

#if REKUR_TRAINING
std::string packed_text(const Model& model, const PackOptions& options = {}) {
  const tests::TemporaryDirectory directory;
  model.pack(directory.file("p.safetensors"), options);
  return tests::read_text(directory.file("p.safetensors"));
}
#endif

}  // namespace

TEST_CASE("a file in memory in the model's order is used where it lies") {
  const Model model = model_of(kLstm);
  const std::string file = test::model_file(model);
  for (const std::size_t shift : {0, 4, 1}) {
    const Flash flash(file, shift);
    Model mapped = Model::map(flash.bytes());
    const auto data = reinterpret_cast<std::uintptr_t>(mapped.weights().data());
    const auto begin = reinterpret_cast<std::uintptr_t>(flash.bytes().data());
    CHECK((data > begin && data < begin + file.size()) == (shift != 1));
    CHECK(mapped.mapped_bytes() == (shift != 1 ? model.weight_count() * sizeof(float) : 0));
    CHECK(std::equal(mapped.weights().begin(), mapped.weights().end(), model.weights().begin(), model.weights().end()));
    Stream stream(mapped), expected(model);
    CHECK(stepped(stream) == stepped(expected));
    CHECK(stream.mapped_bytes() == 0);  // without panels
    // What changes the weights copies them: the file is as it was, and the model another.
    std::vector<float> other(mapped.weights().begin(), mapped.weights().end());
    for (float& w : other) w += 1;
    mapped.set_weights(other);
    CHECK(mapped.mapped_bytes() == 0);
    CHECK(std::equal(other.begin(), other.end(), mapped.weights().begin(), mapped.weights().end()));
    CHECK(flash.text() == file);
  }
}

TEST_CASE("a file in memory that is cut or changed is refused as when it is loaded") {
  const std::string file = test::model_file(model_of(kLstm));
  for (std::size_t size = 0; size < file.size(); size += size < 700 ? 1 : 997) {
    const Flash flash(file.substr(0, size));
    REQUIRE_THROWS_AS(Model::map(flash.bytes()), IoError);
  }
  std::string wrong = file;
  wrong.replace(wrong.find("\"y/bias\""), 8, "\"y/bxas\"");
  CHECK_THROWS_WITH_AS(Model::map(Flash(wrong).bytes()), "model in memory: parameter 'y/bias' is missing", IoError);
}

#if REKUR_TRAINING
TEST_CASE("streams of a packed file read its panels, with the same bits") {
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const std::string layer :
         {kLstm, R"("type": "LSTM", "units": 8, "peepholes": true)", R"("type": "LSTM", "units": 90, "projection_size": 48)",
          R"("type": "GRU", "units": 40, "reset_after": false)", R"("type": "GRU", "units": 33)",
          R"("type": "LSTM", "units": 40, "precision": "int8")", R"("type": "LSTM", "units": 40, "precision": "bf16")",
          R"("type": "Dense", "units": 65)", R"("type": "Dense", "units": 65, "precision": "int8")",
          R"("type": "Dense", "units": 65, "precision": "bf16")", R"("type": "Dense", "units": 1)",
          R"("type": "Conv1D", "filters": 33, "kernel_size": 3, "padding": "causal")",
          R"("type": "GatedLinearAttention", "num_heads": 2, "key_dim": 5)", R"("type": "SelectiveSSM", "state_size": 5)"}) {
      CAPTURE(layer);
      CAPTURE(isa);
      const Model model = model_of(layer);
      const std::string file = packed_text(model, {.more_rows = true});
      const Flash flash(file);
      const Model mapped = Model::map(flash.bytes());
      CHECK(mapped.mapped_bytes() == model.weight_count() * sizeof(float));
      for (const Index batch : {1, 3}) {
        Stream stream(mapped, {.batch = batch}), expected(model, {.batch = batch});
        CHECK(stream.mapped_bytes() > 0);
        CHECK(expected.mapped_bytes() == 0);
        CHECK(stepped(stream) == stepped(expected));
      }
      CHECK(flash.text() == file);
    }
  }
  set_isa(available_isas().back());
}

TEST_CASE("panels of sixteen bits, and of another layout") {
  Model model = model_of(R"("type": "LSTM", "units": 95)");
  model.round_weights(WeightType::bf16);
  const Flash flash(packed_text(model));
  const Model mapped = Model::map(flash.bytes());
  Stream stream(mapped), expected(model);
  CHECK(stream.mapped_bytes() > 0);
  CHECK(stepped(stream) == stepped(expected));

  // A panel whose name says another layout is packed anew, and so is one that is gone; the others are used.
  std::string other = packed_text(model, {.one_row = false, .more_rows = true});
  const std::size_t at = other.find("rekur.panels/");
  const std::size_t layout = other.find('"', at) - 1;
  other[layout] = other[layout] == '0' ? '1' : '0';
  const Flash changed(other);
  const Model partly = Model::map(changed.bytes());
  Stream some(partly, {.batch = 2}), all(Model::map(Flash(packed_text(model, {.more_rows = true})).bytes()));
  Stream rows(model, {.batch = 2});
  CHECK(some.mapped_bytes() > 0);
  CHECK(stepped(some) == stepped(rows));
  // Nor are those of other weights.
  std::string trained = packed_text(model);
  trained[trained.find("\"y/kernel\"") == trained.npos ? 0 : trained.size() - 1] ^= 0;
  std::uint64_t size = 0;
  std::memcpy(&size, trained.data(), sizeof size);
  trained[8 + size + 2] = static_cast<char>(trained[8 + size + 2] ^ 1);  // of the first weight
  const Flash stale(trained);
  const Model fresh = Model::map(stale.bytes());
  CHECK(Stream(fresh).mapped_bytes() == 0);
}

TEST_CASE("a mapped file outlives its model in the model's streams, and is never written") {
  const tests::TemporaryDirectory directory;
  const std::string path = directory.file("p.safetensors");
  const Model model = model_of(kLstm);
  model.pack(path);
  const std::string before = tests::read_text(path);
  Stream expected(model);
  const std::vector<float> y = stepped(expected);
  std::unique_ptr<Stream> stream;
  {
    Model mapped = Model::map(path);
    CHECK(mapped.mapped_bytes() > 0);
    stream = std::make_unique<Stream>(mapped);
    Trainer trainer(mapped, R"({"optimizer": {"name": "sgd", "learning_rate": 0.1}, "losses": [{"name": "mean_squared_error"}]})");
    const std::vector<float> x = numbers(2 * 5 * 21), target(2 * 5 * 37, 1.0f);
    Batch batch;
    batch.inputs.push_back({x.data(), {2, 5, 21}});
    Targets targets;
    targets.targets.push_back({target.data(), {2, 5, 37}});
    trainer.step(batch, targets);
    CHECK(mapped.mapped_bytes() == 0);
    Stream trained(mapped);
    CHECK(trained.mapped_bytes() == 0);
    CHECK(stepped(trained) != y);
  }
  CHECK(stream->mapped_bytes() > 0);
  CHECK(stepped(*stream) == y);
  CHECK(tests::read_text(path) == before);
  std::filesystem::remove(path);
  stream->reset();
  CHECK(stepped(*stream) == y);
  stream.reset();  // where a file stays under its name until nobody has it open, it goes now

  CHECK_THROWS_WITH_AS(Model::map(path), doctest::Contains(path.c_str()), IoError);
  CHECK_THROWS_AS(Model::map(directory.file("")), IoError);
  tests::write_text(path, "");
  CHECK_THROWS_AS(Model::map(path), IoError);
  tests::write_text(path, before.substr(0, before.size() - 1));
  CHECK_THROWS_WITH_AS(Model::map(path), doctest::Contains("the header describes"), IoError);
  CHECK(try_map(path).status().code == Code::io);
  rekur_model* handle = nullptr;
  CHECK(rekur_model_map(path.c_str(), &handle) == REKUR_IO);
  tests::write_text(path, before);
  REQUIRE(rekur_model_map(path.c_str(), &handle) == REKUR_OK);
  CHECK(rekur_model_mapped_bytes(handle) == model.weight_count() * sizeof(float));
  rekur_model_free(handle);
}

TEST_CASE("what rides along in a file is read where it is asked for, and nowhere else") {
  const tests::TemporaryDirectory directory;
  const std::string path = directory.file("m.safetensors");
  const Model model = model_of(kLstm);
  Model::Extras extras, read;
  extras.tensors["optimizer/m"] = {{1 << 20}, std::vector<float>(1 << 20, 0.5f)};
  extras.metadata["note"] = "n";
  model.pack(path, {}, extras);
  const std::string file = tests::read_text(path);
  const Flash flash(file);
  std::size_t loaded = 0, mapped = 0;
  REQUIRE(rekur_model_memory_size(flash.bytes().data(), flash.bytes().size(), &loaded) == REKUR_OK);
  REQUIRE(rekur_model_map_size(flash.bytes().data(), flash.bytes().size(), &mapped) == REKUR_OK);
  CHECK(loaded < model.weight_count() * sizeof(float) + 65536);
  CHECK(mapped < 4096);
  Model::load(path, read);
  CHECK(read.tensors.size() == 1);
  CHECK(read.tensors["optimizer/m"].data == extras.tensors["optimizer/m"].data);
  CHECK(read.metadata == extras.metadata);

  // So that one of a type that no Tensor has is in nobody's way.
  std::string other = file;
  const std::size_t at = other.find("\"F32\"", other.find("\"optimizer/m\""));
  other.replace(at, 5, "\"I32\"");
  const Flash changed(other);
  CHECK(Model::map(changed.bytes()).mapped_bytes() > 0);
  CHECK(Model::load(changed.bytes()).weight_count() == model.weight_count());
  tests::write_text(path, other);
  CHECK_THROWS_WITH_AS(Model::load(path, read), doctest::Contains("optimizer/m"), IoError);
}

// The first update takes memory for the weights, which were the file's until then.
TEST_CASE("a step of a mapped model that found no memory is made again as if it had not been") {
  struct Scarce {
    long until_failure = -1;  // blocks that there still are; -1: any number

    static void* take(void* context, std::size_t bytes, std::size_t) {
      long& until = static_cast<Scarce*>(context)->until_failure;
      if (until == 0) return nullptr;
      if (until > 0) --until;
      return ::operator new(bytes, std::align_val_t(64));
    }
    static void give(void*, void* block, std::size_t, std::size_t) { ::operator delete(block, std::align_val_t(64)); }
  };
  const Model model = model_of(kLstm);
  const Flash flash(test::model_file(model));
  const std::vector<float> x = numbers(2 * 5 * 21), target(2 * 5 * 37, 1.0f);
  Batch batch;
  batch.inputs.push_back({x.data(), {2, 5, 21}});
  Targets targets;
  targets.targets.push_back({target.data(), {2, 5, 37}});
  const char* const config = R"({"optimizer": {"name": "sgd", "learning_rate": 0.1, "gradient_accumulation_steps": 2},
    "losses": [{"name": "mean_squared_error"}]})";
  std::vector<float> expected;
  int failures = -1;
  for (bool failed = true; failed;) {  // first nothing is missing, then all from one block on, until the step needs no more
    Scarce scarce;
    Model mapped = Model::map(flash.bytes(), "m", {.memory = {Scarce::take, Scarce::give, &scarce}});
    Trainer trainer(mapped, config);
    scarce.until_failure = failures;
    const Status status = try_step(trainer, batch, targets).status();
    scarce.until_failure = -1;
    CHECK((status || status.code == Code::out_of_memory));
    CHECK(trainer.iterations() == (status ? 1 : 0));
    while (trainer.iterations() < 4) trainer.step(batch, targets);
    CHECK(mapped.mapped_bytes() == 0);
    if (expected.empty()) expected.assign(mapped.weights().begin(), mapped.weights().end());
    CHECK(std::equal(expected.begin(), expected.end(), mapped.weights().begin()));
    failed = failures++ < 0 || !status;
  }
  CHECK(failures > 3);
}

TEST_CASE("packing for an instruction set twice is refused") {
  const std::string isa = current_isa();
  CHECK_THROWS_WITH_AS(packed_text(model_of(kLstm), {.isas = {isa, isa}}),
                       ("pack: instruction set '" + isa + "' is named twice").c_str(), Error);
}

TEST_CASE("a mapped model in a block: the weights take none of it") {
  const Model model = model_of(kLstm);
  const Flash flash(packed_text(model));
  std::size_t loaded = 0, mapped = 0, of_stream = 0, of_plain = 0;
  const std::span<const std::byte> bytes = flash.bytes();
  REQUIRE(rekur_model_memory_size(bytes.data(), bytes.size(), &loaded) == REKUR_OK);
  REQUIRE(rekur_model_map_size(bytes.data(), bytes.size(), &mapped) == REKUR_OK);
  CHECK(mapped < 2048);
  CHECK(loaded > model.weight_count() * sizeof(float));
  std::vector<char> block(mapped);
  rekur_model *handle = nullptr, *plain = nullptr;
  REQUIRE(rekur_model_map_in(bytes.data(), bytes.size(), block.data(), block.size(), &handle) == REKUR_OK);
  REQUIRE(rekur_model_load_memory(bytes.data(), bytes.size(), &plain) == REKUR_OK);
  REQUIRE(rekur_stream_memory_size(handle, 1, &of_stream) == REKUR_OK);
  REQUIRE(rekur_stream_memory_size(plain, 1, &of_plain) == REKUR_OK);
  CHECK(of_stream + model.weight_count() * sizeof(float) < of_plain + 4096);
  rekur_model_free(plain);
  rekur_model_free(handle);
}
#endif
