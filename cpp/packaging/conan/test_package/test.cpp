// A program in C++, with exceptions or without: a model of one Dense layer, which every rekur has, gives its numbers.
#include <cstdio>
#include <string_view>

#include <rekur/model.hpp>
#include <rekur/status.hpp>

#ifdef CELLS
constexpr bool has(std::string_view cell) { return std::string_view(CELLS).find(cell) != std::string_view::npos; }
static_assert(has(",lstm,") == REKUR_CELL_LSTM && has(",gru,") == REKUR_CELL_GRU && has(",simple_rnn,") == REKUR_CELL_SIMPLE_RNN,
              "the package names other cells than the library");
static_assert(TRAINING == REKUR_TRAINING && IMPORT == REKUR_IMPORT && SHARED == REKUR_SHARED,
              "the package says otherwise than the library how that was built");
#endif

int main() {
  rekur::Result<rekur::Model> model = rekur::try_model(R"({"format": "rekur", "version": 1, "name": "m", "layers": [
      {"type": "Input", "name": "x", "shape": [2]},
      {"type": "Dense", "name": "y", "inputs": ["x"], "units": 1, "activation": "sigmoid"}], "inputs": ["x"], "outputs": ["y"]})");
  if (!model) return std::fprintf(stderr, "c++: %s\n", model.status().message), 1;
  const float x[2] = {3.0f, 5.0f};
  float y[1] = {};
  rekur::Batch batch;
  batch.inputs.push_back({x, {1, 2}, rekur::DType::float32});
  const rekur::View to[] = {{y, {1, 1}}};
  if (!rekur::try_predict(*model, batch, to)) return std::fprintf(stderr, "c++: try_predict failed\n"), 1;
  if (y[0] != 0.5f) return std::fprintf(stderr, "c++: %g instead of 0.5, which weights of zero give\n", double(y[0])), 1;
  std::printf("rekur %s in C++: %s\n", rekur::version(), rekur::current_isa().c_str());
  return 0;
}
