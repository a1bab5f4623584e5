#include "api/c_call.hpp"
#include "runtime/locks.hpp"

#include <algorithm>
#include <cstdio>

namespace rekur::api {
namespace {

constinit REKUR_THREAD_LOCAL Status last_failure;

constexpr bool same(Code a, rekur_code b) { return static_cast<int>(a) == static_cast<int>(b); }
static_assert(same(Code::ok, REKUR_OK) && same(Code::invalid_argument, REKUR_INVALID_ARGUMENT) && same(Code::io, REKUR_IO) &&
              same(Code::out_of_memory, REKUR_OUT_OF_MEMORY) && same(Code::internal, REKUR_INTERNAL));

// The layouts are promised. Pointers take the room of 64 bits wherever there are 64-bit programs; others keep their own layout.
static_assert(sizeof(void*) != 8 || (sizeof(rekur_tensor) == 128 && sizeof(rekur_tensor_info) == 96));

}  // namespace

rekur_code fail(const Status& status) noexcept {
  last_failure = status;
  return static_cast<rekur_code>(status.code);
}

rekur_code Call::run(FunctionRef<void()> action) const noexcept {
  const Status status = status_of(action);
  return status ? REKUR_OK : fail(status);
}

rekur_code Call::refuse(const char* argument, const char* fault) const noexcept {
  char text[Status::kMessageSize];
  std::snprintf(text, sizeof text, "%s: %s %s", function_, argument, fault);
  return fail({Code::invalid_argument, text});
}

rekur_code Call::refuse_count(const char* argument, std::size_t expected, std::size_t given) const noexcept {
  char fault[64];
  std::snprintf(fault, sizeof fault, "is expected to be %zu, got %zu", expected, given);
  return refuse(argument, fault);
}

void Call::wrong(const char* format, Parts parts) const { throw_error("%: %", {function_, compose(format, parts)}); }

void Call::expect_count(const char* argument, std::size_t expected, std::size_t given) const {
  if (given != expected) wrong("% is expected to be %, got %", {argument, expected, given});
}

void Call::describe(const std::vector<TensorInfo>& infos, std::size_t index, rekur_tensor_info* info) const {
  expect(info, "info");
  if (index >= infos.size()) wrong("index must be less than %, got %", {infos.size(), index});
  const TensorInfo& found = infos[index];
  if (found.shape.size() > REKUR_MAX_RANK) wrong("index is that of a tensor with too many dimensions");
  *info = {};
  info->name = found.name.c_str();
  std::copy(found.shape.begin(), found.shape.end(), info->dims);
  info->rank = static_cast<std::int32_t>(found.shape.size());
  info->dtype = found.dtype == DType::int32 ? REKUR_INT32 : REKUR_FLOAT32;
}

}  // namespace rekur::api

const char* rekur_last_error(void) noexcept { return rekur::api::last_failure.message; }
