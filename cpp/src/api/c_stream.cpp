// Streams in rekur.h. On the way of a step that succeeds there are comparisons and the step: no exception is caught, nothing
// allocated.
#include <algorithm>
#include <cstdio>

#include "api/c_call.hpp"

namespace {

using rekur::DType;
using rekur::Stream;
using rekur::TensorInfo;
using rekur::api::Call;

std::size_t count_infos(const Call& call, const rekur_stream* stream,
                        const std::vector<TensorInfo>& (Stream::*infos)() const noexcept) {
  if (stream == nullptr) return call.refuse("stream", "is null"), 0;
  return (stream->stream.*infos)().size();
}

constexpr bool same(rekur::RateMatch a, rekur_rate_match b) { return static_cast<int>(a) == static_cast<int>(b); }
static_assert(same(rekur::RateMatch::same, REKUR_RATE_SAME) && same(rekur::RateMatch::matched, REKUR_RATE_MATCHED) &&
              same(rekur::RateMatch::partly, REKUR_RATE_PARTLY) && same(rekur::RateMatch::too_low, REKUR_RATE_TOO_LOW) &&
              same(rekur::RateMatch::unknown, REKUR_RATE_UNKNOWN));

rekur_code create(const Call& call, const rekur_model* model, int64_t batch, double sample_rate, rekur_stream** stream) {
  return call.run([&] {
    call.expect(stream, "stream") = nullptr;
    const rekur::Model& m = call.expect(model, "model").model;
    if (batch < 1) call.wrong("batch must be at least 1, got %", {batch});
    *stream = new rekur_stream{Stream(m, {.batch = batch, .sample_rate = sample_rate}), batch};
  });
}

template <class T>
bool any_null(T* const* pointers, std::size_t n) {
  return std::any_of(pointers, pointers + n, [](T* p) { return p == nullptr; });
}

// What a step of one input and one output needs; `many`: what serves any.
rekur_code check_one(const Call& call, const rekur_stream* stream, const float* x, const float* y, const char* many) {
  if (stream == nullptr) return call.refuse("stream", "is null");
  if (x == nullptr) return call.refuse("x", "is null");
  if (y == nullptr) return call.refuse("y", "is null");
  const std::vector<TensorInfo>& inputs = stream->stream.inputs();
  if (inputs.size() == 1 && inputs[0].dtype == DType::float32 && stream->stream.outputs().size() == 1) return REKUR_OK;
  char fault[112];
  std::snprintf(fault, sizeof fault, "is not one of one input of floats and one output: %s serves any", many);
  return call.refuse("stream", fault);
}

rekur_code check_many(const Call& call, const rekur_stream* stream, const void* const* x, size_t x_count, float* const* y,
                      size_t y_count) {
  if (stream == nullptr) return call.refuse("stream", "is null");
  if (x == nullptr) return call.refuse("x", "is null");
  const std::size_t inputs = stream->stream.inputs().size(), outputs = stream->stream.outputs().size();
  if (x_count != inputs) return call.refuse_count("x_count", inputs, x_count);
  if (any_null(x, x_count)) return call.refuse("x", "holds a null pointer");
  if (y == nullptr) return call.refuse("y", "is null");
  if (y_count != outputs) return call.refuse_count("y_count", outputs, y_count);
  if (any_null(y, y_count)) return call.refuse("y", "holds a null pointer");
  return REKUR_OK;
}

rekur_code check_steps(const Call& call, int64_t steps) {
  return steps < 0 ? call.refuse("steps", "must not be negative") : REKUR_OK;
}

}  // namespace

rekur_code rekur_stream_create(const rekur_model* model, int64_t batch, rekur_stream** stream) noexcept {
  return create(Call(__func__), model, batch, 0, stream);
}

rekur_code rekur_stream_create_at(const rekur_model* model, int64_t batch, double sample_rate, rekur_stream** stream) noexcept {
  return create(Call(__func__), model, batch, sample_rate, stream);
}

rekur_rate_match rekur_stream_rate_match(const rekur_stream* stream) noexcept {
  if (stream == nullptr) return Call(__func__).refuse("stream", "is null"), REKUR_RATE_UNKNOWN;
  return static_cast<rekur_rate_match>(stream->stream.rate_match());
}

void rekur_stream_free(rekur_stream* stream) noexcept { delete stream; }

size_t rekur_stream_input_count(const rekur_stream* stream) noexcept {
  return count_infos(Call(__func__), stream, &Stream::inputs);
}

size_t rekur_stream_output_count(const rekur_stream* stream) noexcept {
  return count_infos(Call(__func__), stream, &Stream::outputs);
}

size_t rekur_stream_state_count(const rekur_stream* stream) noexcept {
  return count_infos(Call(__func__), stream, &Stream::states);
}

rekur_code rekur_stream_input(const rekur_stream* stream, size_t index, rekur_tensor_info* info) noexcept {
  const Call call(__func__);
  return call.run([&] { call.describe(call.expect(stream, "stream").stream.inputs(), index, info); });
}

rekur_code rekur_stream_output(const rekur_stream* stream, size_t index, rekur_tensor_info* info) noexcept {
  const Call call(__func__);
  return call.run([&] { call.describe(call.expect(stream, "stream").stream.outputs(), index, info); });
}

rekur_code rekur_stream_state(const rekur_stream* stream, size_t index, rekur_tensor_info* info) noexcept {
  const Call call(__func__);
  return call.run([&] { call.describe(call.expect(stream, "stream").stream.states(), index, info); });
}

rekur_code rekur_stream_step(rekur_stream* stream, const float* x, float* y) noexcept {
  const Call call(__func__);
  const rekur_code code = check_one(call, stream, x, y, "rekur_stream_step_many");
  if (code == REKUR_OK) stream->stream.step(x, y);
  return code;
}

rekur_code rekur_stream_step_many(rekur_stream* stream, const void* const* x, size_t x_count, float* const* y,
                                  size_t y_count) noexcept {
  const Call call(__func__);
  const rekur_code code = check_many(call, stream, x, x_count, y, y_count);
  if (code == REKUR_OK) stream->stream.step(std::span(x, x_count), std::span(y, y_count));
  return code;
}

rekur_code rekur_stream_process(rekur_stream* stream, const float* x, float* y, int64_t steps) noexcept {
  const Call call(__func__);
  rekur_code code = check_one(call, stream, x, y, "rekur_stream_process_many");
  if (code == REKUR_OK) code = check_steps(call, steps);
  if (code == REKUR_OK) stream->stream.process(x, y, steps);
  return code;
}

rekur_code rekur_stream_process_many(rekur_stream* stream, const void* const* x, size_t x_count, float* const* y, size_t y_count,
                                     int64_t steps) noexcept {
  const Call call(__func__);
  rekur_code code = check_many(call, stream, x, x_count, y, y_count);
  if (code == REKUR_OK) code = check_steps(call, steps);
  if (code == REKUR_OK) stream->stream.process(std::span(x, x_count), std::span(y, y_count), steps);
  return code;
}

rekur_code rekur_stream_reset(rekur_stream* stream) noexcept {
  if (stream == nullptr) return Call(__func__).refuse("stream", "is null");
  stream->stream.reset();
  return REKUR_OK;
}

rekur_code rekur_stream_reset_row(rekur_stream* stream, int64_t row) noexcept {
  const Call call(__func__);
  if (stream == nullptr) return call.refuse("stream", "is null");
  if (stream->stream.reset(row)) return REKUR_OK;
  char fault[80];
  std::snprintf(fault, sizeof fault, "must be from 0 to %lld, got %lld", static_cast<long long>(stream->batch - 1),
                static_cast<long long>(row));
  return call.refuse("row", fault);
}

size_t rekur_stream_state_size(const rekur_stream* stream) noexcept {
  if (stream == nullptr) return Call(__func__).refuse("stream", "is null"), 0;
  return stream->stream.state_size();
}

rekur_code rekur_stream_state_get(const rekur_stream* stream, float* state, size_t size) noexcept {
  const Call call(__func__);
  if (stream == nullptr) return call.refuse("stream", "is null");
  if (state == nullptr && size > 0) return call.refuse("state", "is null");
  if (!stream->stream.get_state({state, size})) return call.refuse_count("size", stream->stream.state_size(), size);
  return REKUR_OK;
}

rekur_code rekur_stream_state_set(rekur_stream* stream, const float* state, size_t size) noexcept {
  const Call call(__func__);
  if (stream == nullptr) return call.refuse("stream", "is null");
  if (state == nullptr && size > 0) return call.refuse("state", "is null");
  if (!stream->stream.set_state({state, size})) return call.refuse_count("size", stream->stream.state_size(), size);
  return REKUR_OK;
}
