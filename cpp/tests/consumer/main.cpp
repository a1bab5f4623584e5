// A consumer in C++20, with the compiler's own settings but for warnings: every public header, a model, an error.
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rekur/model.hpp>
#include <rekur/runtime.hpp>
#include <rekur/stream.hpp>
#include <rekur/tensor.hpp>
#if REKUR_TRAINING
#include <rekur/train.hpp>
#endif
#if REKUR_IMPORT
#include <rekur/import.hpp>
#endif
#if !REKUR_THROWS
#include <rekur/status.hpp>
#endif

#include "model_file.h"

#if defined(_OPENMP) || defined(__AVX__) || defined(__FMA__) || defined(REKUR_BUILDING)
#error "a flag of the library's own sources has reached this one"
#endif
#if defined(__STRICT_ANSI__)
#error "rekur chose between -std=c++20 and -std=gnu++20 for its consumer"
#endif

namespace {

int failures = 0;

void check(bool right, const char* what) {
  if (right) return;
  std::fprintf(stderr, "consumer: %s\n", what);
  ++failures;
}

// Whether a model of this layer is refused by name exactly where the library was built without its cell.
void check_cell(const char* layer, const char* cell, bool built) {
  const std::string spec = std::string(R"({"format": "rekur", "version": 1, "name": "m", "layers": [{"type": "Input", "name": "x",
      "shape": [null, 1]}, {"name": "y", "inputs": ["x"], "units": 2, )") +
                           layer + R"(}], "inputs": ["x"], "outputs": ["y"]})";
  std::string message;
#if REKUR_THROWS
  try {
    const rekur::Model model(spec);
  } catch (const rekur::Error& e) {
    message = e.what();
  }
#else
  if (const rekur::Result<rekur::Model> model = rekur::try_model(spec); !model) message = model.status().message;
#endif
  const bool refused =
      message.find("it needs the cell '" + std::string(cell) + "', which this rekur was built without") != std::string::npos;
  check(built ? message.empty() : refused, cell);
}

// The same of a layer whose products are of eight bits.
void check_int8() {
  const char* const spec = R"({"format": "rekur", "version": 1, "name": "m", "layers": [{"type": "Input", "name": "x",
      "shape": [64]}, {"type": "Dense", "name": "y", "inputs": ["x"], "units": 64, "precision": "int8"}],
      "inputs": ["x"], "outputs": ["y"]})";
  std::string message;
#if REKUR_THROWS
  try {
    rekur::Model model(spec);
    model.round_weights(rekur::WeightType::int8);
  } catch (const rekur::Error& e) {
    message = e.what();
  }
#else
  if (const rekur::Result<rekur::Model> model = rekur::try_model(spec); !model) message = model.status().message;
#endif
  const bool refused = message.find("built without products of eight bits (REKUR_INT8=OFF)") != std::string::npos;
  check(REKUR_INT8 ? message.empty() : refused, "precision int8");
}

// A file of another program, which is read as REKUR_IMPORT says, whatever else the library has.
void check_import() {
#if REKUR_IMPORT
  const std::string_view text = R"({"in_shape": [null, null, 1], "layers": [{"type": "dense", "activation": "",
      "shape": [null, null, 1], "weights": [[[2.5]], [0.5]]}]})";
  const std::span<const std::byte> file = std::as_bytes(std::span(text));
#if REKUR_THROWS
  check(rekur::foreign::load(file).weights()[0] == 2.5f, "a file of RTNeural's");
#else
  const rekur::Result<rekur::Model> model = rekur::try_import(file);
  check(model && model->weights()[0] == 2.5f, "a file of RTNeural's");
#endif
#endif
}

}  // namespace

int main() {
  unsigned char bytes[MODEL_FILE_SIZE];
  const std::span<const std::byte> file = std::as_bytes(std::span(bytes, write_model_file(bytes)));
  const float x[2] = {1.0f, 1.0f};
  float y[2] = {};
  const rekur::View to[] = {{y, {1, 2, 1}}};
  rekur::Batch batch;
  batch.inputs.push_back({x, {1, 2, 1}, rekur::DType::float32});
#if REKUR_THROWS
  try {
    const rekur::Model model = rekur::Model::load(file);
    model.predict(batch, to);
    std::printf("rekur %s, %s\n", rekur::version(), rekur::current_isa().c_str());
  } catch (const rekur::Error& e) {
    check(false, e.what());
  }
  bool caught = false;
  try {
    rekur::Model::load(file.first(100));
  } catch (const rekur::IoError& e) {  // thrown in the library, caught here: its type must be one, shared library or not
    caught = std::strstr(e.what(), "model in memory") != nullptr;
  }
  check(caught, "no IoError of a file that is cut off");
#else
  rekur::Result<rekur::Model> model = rekur::try_load(file);
  check(bool(model), model.status().message);
  if (model) check(bool(rekur::try_predict(*model, batch, to)), "try_predict failed");
  const rekur::Result<rekur::Model> broken = rekur::try_load(file.first(100));
  check(!broken && broken.status().code == rekur::Code::io, "no status of a file that is cut off");
#endif
  check(y[0] == 3.0f && y[1] == 4.5f, "wrong numbers");
  check_cell(R"("type": "SimpleRNN")", "simple_rnn", REKUR_CELL_SIMPLE_RNN);
  check_cell(R"("type": "LSTM")", "lstm", REKUR_CELL_LSTM);
  check_cell(R"("type": "GRU")", "gru", REKUR_CELL_GRU);
  check_cell(R"("type": "GRU", "reset_after": false)", "gru_reset_before", REKUR_CELL_GRU_RESET_BEFORE);
  check_cell(R"("type": "LSTM", "peepholes": true)", "lstm_peephole", REKUR_CELL_LSTM_PEEPHOLE);
  check_cell(R"("type": "LSTM", "coupled_gates": true)", "lstm_coupled", REKUR_CELL_LSTM_COUPLED);
  check_cell(R"("type": "LSTM", "peepholes": true, "coupled_gates": true)", "lstm_peephole_coupled",
             REKUR_CELL_LSTM_PEEPHOLE_COUPLED);
  check_int8();
  check_import();
  check(std::strcmp(rekur::version(), REKUR_VERSION) == 0, "headers of one version, library of another");
  return failures;
}
