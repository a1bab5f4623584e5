// Input: where data enters. It has no inputs and is never run: the graph binds the caller's array to its output.
#include "layers/registry.hpp"

namespace rekur::layers {
namespace {

class Input final : public Layer {
 public:
  Input(const std::string& type, const std::string& name, TensorSpec output) : Layer(type, name), output_(std::move(output)) {}

  std::vector<TensorSpec> infer(std::span<const TensorSpec> inputs) const override {
    expect_inputs(inputs, 0, 0);
    return one(output_);
  }
  void forward(const Context&) const override {}
#if REKUR_TRAINING
  void backward(const Context&) const override {}
#endif

 private:
  TensorSpec output_;
};

}  // namespace

std::unique_ptr<Layer> make_input(json::Reader& spec, const std::string& type, const std::string& name) {
  TensorSpec output;
  const std::string dtype = spec.string("dtype", "float32");
  if (dtype != "float32" && dtype != "int32") spec.refuse("dtype", "\"float32\" or \"int32\"");
  output.dtype = dtype == "int32" ? DType::int32 : DType::float32;

  output.shape = {kUnknown};
  for (const json::Value& dimension : spec.array("shape")) {
    if (!dimension.is_null() && !(dimension.is_integer() && dimension.integer() >= 0)) {
      spec.refuse("shape", "an array of sizes or nulls (null: known only when data arrives)");
    }
    output.shape.push_back(dimension.is_null() ? kUnknown : dimension.integer());
  }
  if (output.dtype == DType::int32) {
    if (output.shape.size() >= kMostAxes) spec.refuse("shape", "[], [T] or up to three more sizes for int32 ids");
  } else {
    if (output.shape.size() < 2 || output.shape.size() > kMostAxes)
      spec.refuse("shape", "[F], [T, F] or up to two more sizes between");
    if (output.shape.back() < 1) spec.refuse("shape", "[F], [T, F], … with at least 1 feature (F)");
  }
  Shape known = output.shape;  // sizes whose product overflows are found here
  for (Index& dimension : known) dimension = dimension == kUnknown ? 1 : dimension;
  element_count(known);
  return std::make_unique<Input>(type, name, std::move(output));
}

}  // namespace rekur::layers
