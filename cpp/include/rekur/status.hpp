// The whole library without an exception: what throws in the other headers is a function here that returns a Status, or a Result
// that holds the value or the Status. For programs compiled with -fno-exceptions, and for others that like it so.
//
//   rekur::Result<rekur::Model> model = rekur::try_load("amp.safetensors");
//   if (!model) return std::fputs(model.status().message, stderr), 1;
//   rekur::Result<rekur::Stream> stream = rekur::try_stream(*model, {.batch = 1});
//   if (!stream) …
//   stream->step(x, y);
//
// Nothing here throws. Where a function fails, nothing of the model, the trainer or a file has changed, but what stands in arrays
// for outputs is unspecified. The vectors and strings that a caller builds himself (a Batch, a Shape) are his own: without
// exceptions the standard library ends the program if it finds no memory for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "rekur/model.hpp"
#if REKUR_IMPORT
#include "rekur/import.hpp"
#endif
#include "rekur/runtime.hpp"
#include "rekur/stream.hpp"
#if REKUR_TRAINING
#include "rekur/train.hpp"
#endif

namespace rekur {

enum class Code : std::int32_t {
  ok = 0,
  invalid_argument = 1,  // something the caller can get wrong: the message says what was expected and what came
  io = 2,                // a file that cannot be opened, read, written or understood
  out_of_memory = 3,
  internal = 4,  // a fault of the library or of the system
};

// How a call went. Takes no memory of its own, so that it can always be made.
struct [[nodiscard]] Status {
  static constexpr std::size_t kMessageSize = 508;

  Code code = Code::ok;
  char message[kMessageSize] = {};  // "" if all went well; ends in a zero; a longer one is cut between two characters of UTF-8

  constexpr Status() noexcept = default;
  REKUR_API Status(Code failure, std::string_view text) noexcept;

  explicit operator bool() const noexcept { return code == Code::ok; }
};

namespace detail {
// Prints the status to stderr and aborts.
[[noreturn]] REKUR_API void no_value(const Status& status) noexcept;
}  // namespace detail

// A value, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  Result(T value) noexcept : value_(std::move(value)) {}
  // For a function of one's own that hands on a failure. One that is no failure becomes Code::internal.
  Result(const Status& failure) noexcept : status_(failure) {
    if (failure) status_ = Status(Code::internal, "a Result was made of a Status that is no failure");
  }

  explicit operator bool() const noexcept { return value_.has_value(); }
  const Status& status() const noexcept { return status_; }

  // Where there is no value these abort with the status on stderr.
  T& value() & noexcept { return get(*this); }
  const T& value() const& noexcept { return get(*this); }
  T&& value() && noexcept { return std::move(get(*this)); }
  T& operator*() & noexcept { return get(*this); }
  const T& operator*() const& noexcept { return get(*this); }
  T&& operator*() && noexcept { return std::move(get(*this)); }
  T* operator->() noexcept { return &get(*this); }
  const T* operator->() const noexcept { return &get(*this); }

 private:
  template <class Self>
  static auto& get(Self& self) noexcept {
    if (!self.value_.has_value()) detail::no_value(self.status_);
    return *self.value_;
  }

  std::optional<T> value_;
  Status status_;
};

// Text given to the library: anything that is a string. A null pointer, such as std::getenv's, is an error of the call it is given
// to.
class Text {
 public:
  constexpr Text(const char* text) noexcept : view_(text == nullptr ? std::string_view() : std::string_view(text)) {}
  constexpr Text(std::string_view text) noexcept : view_(text.data() == nullptr ? std::string_view("") : text) {}
  Text(const std::string& text) noexcept : view_(text) {}

  constexpr bool is_null() const noexcept { return view_.data() == nullptr; }
  constexpr std::string_view view() const noexcept { return view_; }

 private:
  std::string_view view_;
};

// Models (rekur/model.hpp).
REKUR_API Result<Model> try_model(Text spec_json, const ModelOptions& options = {}) noexcept;
REKUR_API Result<Model> try_load(Text path, const ModelOptions& options = {}) noexcept;
REKUR_API Result<Model> try_load(Text path, Model::Extras& extras, const ModelOptions& options = {}) noexcept;
REKUR_API Result<Model> try_load(std::span<const std::byte> file, Text source = "model in memory",
                                 const ModelOptions& options = {}) noexcept;
REKUR_API Result<Model> try_map(Text path, const ModelOptions& options = {}) noexcept;
REKUR_API Result<Model> try_map(std::span<const std::byte> file, Text source = "model in memory",
                                const ModelOptions& options = {}) noexcept;
#if REKUR_IMPORT
// Other programs' files (rekur/import.hpp).
REKUR_API Result<Model> try_import(Text path, const foreign::Options& options = {}) noexcept;
REKUR_API Result<Model> try_import(std::span<const std::byte> file, Text source = "model in memory",
                                   const foreign::Options& options = {}) noexcept;
#endif
REKUR_API Status try_set_weights(Model& model, std::span<const float> flat) noexcept;
REKUR_API Status try_set_weights(Model& model, WeightType type, std::span<const std::uint16_t> matrices,
                                 std::span<const float> others) noexcept;
#if REKUR_INT8
REKUR_API Status try_set_weights(Model& model, std::span<const std::int8_t> matrices, std::span<const float> scales,
                                 std::span<const float> others) noexcept;
#endif
REKUR_API Status try_copy_weights(const Model& model, std::span<float> flat) noexcept;
REKUR_API Status try_round_weights(Model& model, WeightType type) noexcept;
REKUR_API Result<std::vector<Shape>> try_output_shapes(const Model& model, const std::vector<Shape>& inputs) noexcept;
REKUR_API Result<std::uint64_t> try_run_memory(const Model& model, const std::vector<Shape>& inputs, bool training = false,
                                               bool remat = false) noexcept;
REKUR_API Result<std::vector<std::string>> try_layers_across_time(const Model& model) noexcept;
REKUR_API Result<std::vector<std::vector<std::uint8_t>>> try_valid_steps(const Model& model, const Batch& batch) noexcept;
REKUR_API Status try_predict(const Model& model, const Batch& batch, std::span<const View> outputs) noexcept;
REKUR_API Result<std::vector<Tensor>> try_predict(const Model& model, const Batch& batch) noexcept;

// Streams (rekur/stream.hpp).
REKUR_API Result<Stream> try_stream(const Model& model, const StreamOptions& options = {}) noexcept;

// Training (rekur/train.hpp), and what of a model goes with it.
#if REKUR_TRAINING
REKUR_API Status try_save(const Model& model, Text path) noexcept;
REKUR_API Status try_save(const Model& model, Text path, const Model::Extras& extras,
                          WeightType weights = WeightType::float32) noexcept;
REKUR_API Status try_pack(const Model& model, Text path, const PackOptions& options = {},
                          const Model::Extras& extras = {}) noexcept;
REKUR_API Status try_initialize(Model& model, std::uint64_t seed) noexcept;
REKUR_API Result<Model> try_model(Text spec_json, std::span<const SharedLayer> shared) noexcept;
REKUR_API Status try_set_trained(Model& model, Text layer, bool trained, float learning_rate_scale = 1) noexcept;
REKUR_API Status try_set_signal(Model& model, const Signal& signal) noexcept;
REKUR_API Result<std::vector<LayerTraining>> try_training(const Model& model) noexcept;
REKUR_API Result<Tape> try_forward(const Model& model, const Batch& batch, std::span<const View> outputs, std::uint64_t seed = 0,
                                   std::uint64_t step = 0) noexcept;
REKUR_API Status try_backward(const Model& model, Tape tape, std::span<const ConstView> output_gradients,
                              std::span<float> weight_gradients, std::span<const View> input_gradients) noexcept;
REKUR_API Result<Trainer> try_trainer(Model& model, Text config_json) noexcept;
REKUR_API Result<StepResult> try_step(Trainer& trainer, const Batch& batch, const Targets& targets,
                                      std::span<const View> outputs = {}) noexcept;
REKUR_API Result<std::size_t> try_sums_size(const Trainer& trainer) noexcept;
REKUR_API Result<StepResult> try_add(Trainer& trainer, const Batch& batch, const Targets& targets, const StepPart& part,
                                     std::span<float> sums, std::span<const View> outputs = {}) noexcept;
REKUR_API Result<double> try_finish(Trainer& trainer, std::span<const float> sums) noexcept;
REKUR_API Result<StepResult> try_evaluate(const Trainer& trainer, const Batch& batch, const Targets& targets,
                                          std::span<const View> outputs = {}) noexcept;
REKUR_API Status try_apply_gradients(Trainer& trainer, std::span<const float> gradients) noexcept;
REKUR_API Status try_set_learning_rate(Trainer& trainer, double rate) noexcept;
REKUR_API Status try_set_remat(Trainer& trainer, bool remat) noexcept;
REKUR_API Status try_set_optimizer(Trainer& trainer, Text config_json) noexcept;
REKUR_API Status try_finalize(Trainer& trainer) noexcept;
REKUR_API Result<std::map<std::string, Tensor>> try_state(const Trainer& trainer) noexcept;
REKUR_API Status try_set_state(Trainer& trainer, const std::map<std::string, Tensor>& slots, std::uint64_t iterations) noexcept;
#endif

// Layers and shapes (rekur/model.hpp, rekur/tensor.hpp).
REKUR_API Result<std::vector<TensorInfo>> try_infer_layer(Text layer_json, const std::vector<TensorInfo>& inputs) noexcept;
REKUR_API Result<std::vector<std::string>> try_layer_types() noexcept;
REKUR_API Result<std::string> try_to_string(const Shape& shape) noexcept;
REKUR_API Result<Index> try_element_count(const Shape& shape) noexcept;

// The machine (rekur/runtime.hpp).
REKUR_API Result<std::string> try_current_isa() noexcept;
REKUR_API Result<std::vector<std::string>> try_available_isas() noexcept;
REKUR_API Status try_set_isa(Text name) noexcept;
REKUR_API Result<int> try_num_threads() noexcept;
REKUR_API Status try_set_num_threads(int n) noexcept;
REKUR_API Result<std::string> try_cpu_info() noexcept;

}  // namespace rekur
