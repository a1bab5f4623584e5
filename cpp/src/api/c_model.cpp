// Models in rekur.h.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "api/c_call.hpp"

namespace {

using rekur::Index;
using rekur::Shape;
using rekur::api::Call;

std::string element(const char* array, std::size_t i) { return rekur::compose("%[%]", {array, i}); }

Shape shape_of(const Call& call, const rekur_tensor& tensor, const std::string& where) {
  if (tensor.rank < 0 || tensor.rank > REKUR_MAX_RANK) {
    call.wrong("%.rank must be 0 to %, got %", {where, REKUR_MAX_RANK, tensor.rank});
  }
  Shape shape(tensor.dims, tensor.dims + tensor.rank);
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (shape[d] < 0) call.wrong("%.dims[%] must not be negative, got %", {where, d, shape[d]});
  }
  return shape;
}

Index count_of(const Call& call, const Shape& shape, const std::string& where) {
  try {
    return rekur::element_count(shape);
  } catch (const rekur::Error&) {
    call.wrong("%.dims have more elements than can be addressed, got %", {where, shape});
  }
}

void check_fields(const Call& call, const rekur_tensor& tensor, Index count, const std::string& where) {
  if (std::any_of(std::begin(tensor.reserved), std::end(tensor.reserved), [](Index r) { return r != 0; })) {
    call.wrong("%.reserved must be zero: begin with `rekur_tensor t = {0};`", {where});
  }
  if (tensor.data == nullptr && count > 0) call.wrong("%.data is null", {where});
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % alignof(float) != 0) {
    call.wrong("%.data is not aligned to % bytes", {where, alignof(float)});
  }
}

void add_input(const Call& call, const rekur_tensor& tensor, const std::string& where, rekur::Batch& batch) {
  Shape shape = shape_of(call, tensor, where);
  const Index count = count_of(call, shape, where);
  if (tensor.dtype != REKUR_FLOAT32 && tensor.dtype != REKUR_INT32) {
    call.wrong("%.dtype must be REKUR_FLOAT32 (0) or REKUR_INT32 (1), got %", {where, tensor.dtype});
  }
  if (tensor.count != count) {
    call.wrong("%.count must be %, the elements of dims %, got %", {where, count, shape, tensor.count});
  }
  check_fields(call, tensor, count, where);
  std::span<const std::int32_t> lengths;
  const Index expected = tensor.lengths == nullptr ? 0 : shape.empty() ? 1 : shape[0];
  if (tensor.lengths_count != expected) {
    call.wrong("%.lengths_count must be %%, got %",
               {where, expected, (tensor.lengths == nullptr ? " where lengths is null" : ", one a row"), tensor.lengths_count});
  }
  if (reinterpret_cast<std::uintptr_t>(tensor.lengths) % alignof(std::int32_t) != 0) {
    call.wrong("%.lengths is not aligned to % bytes", {where, alignof(std::int32_t)});
  }
  if (expected > 0) lengths = {tensor.lengths, static_cast<std::size_t>(expected)};
  batch.inputs.push_back(
      {tensor.data, std::move(shape), tensor.dtype == REKUR_INT32 ? rekur::DType::int32 : rekur::DType::float32});
  batch.lengths.push_back(lengths);
}

void write_shape(const Shape& shape, rekur::DType dtype, rekur_tensor& tensor) {
  std::fill(std::begin(tensor.dims), std::end(tensor.dims), 0);
  std::copy(shape.begin(), shape.end(), tensor.dims);
  tensor.rank = static_cast<std::int32_t>(shape.size());
  tensor.dtype = dtype == rekur::DType::int32 ? REKUR_INT32 : REKUR_FLOAT32;
}

std::size_t count(const Call& call, const rekur_model* model,
                  const std::vector<rekur::TensorInfo>& (rekur::Model::*infos)() const noexcept) {
  if (model == nullptr) return call.refuse("model", "is null"), 0;
  return (model->model.*infos)().size();
}

}  // namespace

rekur_code rekur_model_load(const char* path, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    call.expect(path, "path");
    *model = new rekur_model{rekur::Model::load(std::string(path))};
  });
}

rekur_code rekur_model_load_memory(const void* bytes, size_t size, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    if (bytes == nullptr) call.wrong("bytes is null");
    *model = new rekur_model{rekur::Model::load(std::span(static_cast<const std::byte*>(bytes), size))};
  });
}

rekur_code rekur_model_map(const char* path, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    call.expect(path, "path");
    *model = new rekur_model{rekur::Model::map(std::string(path))};
  });
}

rekur_code rekur_model_map_memory(const void* bytes, size_t size, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    if (bytes == nullptr) call.wrong("bytes is null");
    *model = new rekur_model{rekur::Model::map(std::span(static_cast<const std::byte*>(bytes), size))};
  });
}

size_t rekur_model_mapped_bytes(const rekur_model* model) noexcept {
  if (model == nullptr) return Call(__func__).refuse("model", "is null"), 0;
  return model->model.mapped_bytes();
}

void rekur_model_free(rekur_model* model) noexcept { delete model; }

const char* rekur_model_spec(const rekur_model* model) noexcept {
  if (model == nullptr) return Call(__func__).refuse("model", "is null"), nullptr;
  return model->model.spec().c_str();
}

double rekur_model_sample_rate(const rekur_model* model) noexcept {
  if (model == nullptr) return Call(__func__).refuse("model", "is null"), 0;
  return model->model.signal().sample_rate;
}

int64_t rekur_model_latency(const rekur_model* model) noexcept {
  if (model == nullptr) return Call(__func__).refuse("model", "is null"), 0;
  return model->model.signal().latency;
}

size_t rekur_model_input_count(const rekur_model* model) noexcept { return count(Call(__func__), model, &rekur::Model::inputs); }

size_t rekur_model_output_count(const rekur_model* model) noexcept { return count(Call(__func__), model, &rekur::Model::outputs); }

rekur_code rekur_model_input(const rekur_model* model, size_t index, rekur_tensor_info* info) noexcept {
  const Call call(__func__);
  return call.run([&] { call.describe(call.expect(model, "model").model.inputs(), index, info); });
}

rekur_code rekur_model_output(const rekur_model* model, size_t index, rekur_tensor_info* info) noexcept {
  const Call call(__func__);
  return call.run([&] { call.describe(call.expect(model, "model").model.outputs(), index, info); });
}

rekur_code rekur_model_output_shape(const rekur_model* model, const rekur_tensor* inputs, size_t input_count, size_t index,
                                    rekur_tensor* output) noexcept {
  const Call call(__func__);
  return call.run([&] {
    const rekur::Model& m = call.expect(model, "model").model;
    call.expect(inputs, "inputs");
    call.expect_count("input_count", m.inputs().size(), input_count);
    call.expect(output, "output");
    rekur_tensor_info info;
    call.describe(m.outputs(), index, &info);
    std::vector<Shape> shapes;
    for (std::size_t i = 0; i < input_count; ++i) shapes.push_back(shape_of(call, inputs[i], element("inputs", i)));
    const Shape shape = m.output_shapes(shapes)[index];
    write_shape(shape, m.outputs()[index].dtype, *output);
    output->count = rekur::element_count(shape);
  });
}

rekur_code rekur_model_predict(const rekur_model* model, const rekur_tensor* inputs, size_t input_count, rekur_tensor* outputs,
                               size_t output_count) noexcept {
  const Call call(__func__);
  return call.run([&] {
    const rekur::Model& m = call.expect(model, "model").model;
    call.expect(inputs, "inputs");
    call.expect_count("input_count", m.inputs().size(), input_count);
    call.expect(outputs, "outputs");
    call.expect_count("output_count", m.outputs().size(), output_count);
    rekur::Batch batch;
    std::vector<Shape> input_shapes;
    for (std::size_t i = 0; i < input_count; ++i) {
      add_input(call, inputs[i], element("inputs", i), batch);
      input_shapes.push_back(batch.inputs[i].shape);
    }
    const std::vector<Shape> shapes = m.output_shapes(input_shapes);
    std::vector<rekur::View> views;
    for (std::size_t k = 0; k < output_count; ++k) {
      const std::string where = element("outputs", k);
      const Index needed = rekur::element_count(shapes[k]);
      if (outputs[k].count < needed) {
        call.wrong("%.count must be at least %, for an array of shape %, got %", {where, needed, shapes[k], outputs[k].count});
      }
      check_fields(call, outputs[k], needed, where);
      views.push_back({static_cast<float*>(outputs[k].data), shapes[k]});
    }
    m.predict(batch, views);
    for (std::size_t k = 0; k < output_count; ++k) write_shape(shapes[k], m.outputs()[k].dtype, outputs[k]);
  });
}
