// What tests/test_cpp_bits.py compares with Python: reads cases, computes them through the C++ interface, writes what came out.
//
//   driver CASES RESULTS
//
// All numbers are little-endian int64, text is its length and its bytes, an array is dtype, rank, dims, count of lengths, elements,
// lengths. A case is its mode, the path of a model and the inputs; then, to stream, the states to begin with, and, to train, the
// configuration, the targets and the number of steps. A result is the number of arrays and these, or -1 and a message.
#include <rekur/model.hpp>
#include <rekur/stream.hpp>
#if REKUR_TRAINING
#include <rekur/train.hpp>
#endif

#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

enum Mode : std::int64_t { kPredict, kStream, kTrain };

struct Array {
  rekur::DType dtype = rekur::DType::float32;
  rekur::Shape shape;
  std::vector<float> floats;
  std::vector<std::int32_t> ints, lengths;

  const void* data() const { return dtype == rekur::DType::float32 ? static_cast<const void*>(floats.data()) : ints.data(); }
};

class Reader {
 public:
  explicit Reader(const char* path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
  }

  bool at_end() const { return at_ == bytes_.size(); }
  std::int64_t number() { return numbers<std::int64_t>(1)[0]; }
  std::string text() {
    const std::vector<char> chars = numbers<char>(number());
    return {chars.begin(), chars.end()};
  }
  Array array() {
    Array result;
    result.dtype = number() == 0 ? rekur::DType::float32 : rekur::DType::int32;
    result.shape = numbers<std::int64_t>(number());
    const std::int64_t lengths = number(), count = rekur::element_count(result.shape);
    if (result.dtype == rekur::DType::float32) result.floats = numbers<float>(count);
    if (result.dtype == rekur::DType::int32) result.ints = numbers<std::int32_t>(count);
    result.lengths = numbers<std::int32_t>(lengths);
    return result;
  }
  std::vector<Array> arrays() {
    std::vector<Array> result;
    for (std::int64_t n = number(); n > 0; --n) result.push_back(array());
    return result;
  }

 private:
  template <class T>
  std::vector<T> numbers(std::int64_t count) {
    std::vector<T> result(static_cast<std::size_t>(count));
    const std::size_t size = result.size() * sizeof(T);
    if (size > bytes_.size() - at_) throw std::runtime_error("the cases end too early");
    if (size != 0) std::memcpy(result.data(), bytes_.data() + at_, size);
    at_ += size;
    return result;
  }

  std::vector<char> bytes_;
  std::size_t at_ = 0;
};

class Writer {
 public:
  explicit Writer(const char* path) : file_(path, std::ios::binary) {}

  void number(std::int64_t value) { raw(&value, sizeof value); }
  void failure(const std::string& message) {
    number(-1);
    number(static_cast<std::int64_t>(message.size()));
    raw(message.data(), message.size());
  }
  void array(const rekur::Shape& shape, std::span<const float> data) {
    number(0);
    number(static_cast<std::int64_t>(shape.size()));
    raw(shape.data(), shape.size() * sizeof shape[0]);
    number(0);
    raw(data.data(), data.size_bytes());
  }
  void arrays(const std::vector<rekur::Tensor>& tensors) {
    number(static_cast<std::int64_t>(tensors.size()));
    for (const rekur::Tensor& tensor : tensors) array(tensor.shape, tensor.data);
  }
  bool good() { return file_.flush().good(); }

 private:
  void raw(const void* data, std::size_t size) { file_.write(static_cast<const char*>(data), static_cast<std::streamsize>(size)); }

  std::ofstream file_;
};

struct Case {
  std::int64_t mode = kPredict;
  std::string model;
  std::vector<Array> inputs;
  Array state;
  std::string config;
  std::vector<Array> targets;
  std::int64_t steps = 0;

  explicit Case(Reader& reader) : mode(reader.number()), model(reader.text()), inputs(reader.arrays()) {
    if (mode == kStream) state = reader.array();
    if (mode != kTrain) return;
    config = reader.text();
    targets = reader.arrays();
    steps = reader.number();
  }
};

rekur::Batch batch_of(const std::vector<Array>& inputs) {
  rekur::Batch batch;
  for (const Array& input : inputs) {
    batch.inputs.push_back({input.data(), input.shape, input.dtype});
    batch.lengths.emplace_back(input.lengths);
  }
  return batch;
}

// Outputs of all steps: [T, batch, …]. An input with a time axis is [batch, T, …]; the others are given at every step.
std::vector<rekur::Tensor> stream(const rekur::Model& model, const std::vector<Array>& inputs, const Array& state) {
  rekur::Index batch = 1, steps = 0;
  std::vector<const Array*> given;
  std::vector<bool> timed;
  for (std::size_t i = 0; i < inputs.size(); ++i) batch = inputs[i].shape[0];
  rekur::Stream stream(model, {.batch = batch});
  for (const rekur::TensorInfo& info : stream.inputs()) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (model.inputs()[i].name != info.name) continue;
      given.push_back(&inputs[i]);
      timed.push_back(inputs[i].shape.size() == info.shape.size() + 1);
      if (timed.back()) steps = inputs[i].shape[1];
    }
  }
  if (given.size() != stream.inputs().size()) throw std::runtime_error("the stream has inputs that the model has not");
  std::vector<rekur::Tensor> outputs;
  std::vector<std::size_t> sizes;
  for (const rekur::TensorInfo& info : stream.outputs()) {
    rekur::Shape shape = {steps};
    shape.insert(shape.end(), info.shape.begin(), info.shape.end());
    sizes.push_back(static_cast<std::size_t>(rekur::element_count(info.shape)));
    outputs.push_back({shape, std::vector<float>(static_cast<std::size_t>(rekur::element_count(shape)))});
  }
  if (!stream.set_state(state.floats)) throw std::runtime_error("states: expected " + std::to_string(stream.state_size()));

  std::vector<std::vector<std::uint32_t>> step_inputs(given.size());  // float and int32 alike: four bytes
  for (std::size_t t = 0; t < static_cast<std::size_t>(steps); ++t) {
    std::vector<const void*> x;
    std::vector<float*> y;
    for (std::size_t i = 0; i < given.size(); ++i) {
      const auto rows = static_cast<std::size_t>(batch),
                 all = static_cast<std::size_t>(rekur::element_count(given[i]->shape)) / rows;
      const std::size_t size = timed[i] ? all / static_cast<std::size_t>(steps) : all;
      step_inputs[i].resize(rows * size);
      for (std::size_t row = 0; row < rows; ++row) {
        std::memcpy(&step_inputs[i][row * size],
                    static_cast<const float*>(given[i]->data()) + row * all + (timed[i] ? t * size : 0), size * sizeof(float));
      }
      x.push_back(step_inputs[i].data());
    }
    for (std::size_t k = 0; k < outputs.size(); ++k) y.push_back(&outputs[k].data[t * sizes[k]]);
    stream.step(x, y);
  }
  return outputs;
}

#if REKUR_TRAINING
std::vector<rekur::Tensor> train(rekur::Model& model, const Case& given) {
  rekur::Trainer trainer(model, given.config);
  rekur::Targets targets;
  for (const Array& target : given.targets) targets.targets.push_back({target.data(), target.shape, target.dtype});
  for (std::int64_t k = 0; k < given.steps; ++k) trainer.step(batch_of(given.inputs), targets);
  return {{{static_cast<rekur::Index>(model.weights().size())}, {model.weights().begin(), model.weights().end()}}};
}
#else
std::vector<rekur::Tensor> train(rekur::Model&, const Case&) { throw std::runtime_error("this library cannot train"); }
#endif

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  Reader reader(argv[1]);
  Writer results(argv[2]);
  while (!reader.at_end()) {
    const Case given(reader);
    try {
      rekur::Model model = rekur::Model::load(given.model);
      results.arrays(given.mode == kPredict  ? model.predict(batch_of(given.inputs))
                     : given.mode == kStream ? stream(model, given.inputs, given.state)
                                             : train(model, given));
    } catch (const std::exception& error) {
      results.failure(error.what());
    }
  }
  return results.good() ? 0 : 1;
}
