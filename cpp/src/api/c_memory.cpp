// Models and streams in memory of the caller's, in rekur.h.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>

#include "api/c_call.hpp"
#include "runtime/parallel.hpp"

namespace {

using rekur::Memory;
using rekur::api::Call;

// A handle and all that it stands for, in that memory.
template <class Handle, class Make>
Handle* made(const Memory& memory, const Make& make) {
  const rekur::runtime::OwnMemory own(memory);
  return new Handle(make(memory));
}

struct Free {
  void operator()(void* block) const { std::free(block); }
};

// Bytes that a block needs for it. It is made in ever larger ones until it fits: the first that fits says how much was needed.
template <class Handle, class Make>
std::size_t needed(const Make& make) {
  for (std::size_t size = std::size_t{1} << 14;; size *= 2) {
    const std::unique_ptr<void, Free> block(size <= SIZE_MAX / 4 ? std::malloc(size) : nullptr);
    if (!block) throw std::bad_alloc();
    const Memory memory = rekur::fixed_memory(block.get(), size);
    try {
      delete made<Handle>(memory, make);
      return rekur::fixed_memory_needed(memory);
    } catch (const rekur::OutOfMemory&) {
    } catch (const std::bad_alloc&) {
    }
  }
}

template <class Handle, class Make>
rekur_code make_in(const Call& call, void* block, std::size_t size, Handle** handle, const char* handle_name, const Make& make) {
  const rekur_code code = call.run([&] {
    call.expect(handle, handle_name) = nullptr;
    call.expect(static_cast<char*>(block), "memory");
    *handle = made<Handle>(rekur::fixed_memory(block, size), make);
  });
  if (code != REKUR_OUT_OF_MEMORY) return code;
  std::size_t bytes = 0;
  const rekur_code known = call.run([&] { bytes = needed<Handle>(make); });
  char text[rekur::Status::kMessageSize];
  if (known == REKUR_OK)
    std::snprintf(text, sizeof text, "%s: the memory has %zu bytes, and %zu are needed", call.function(), size, bytes);
  else
    std::snprintf(text, sizeof text, "%s: the memory has %zu bytes, and more are needed; there is too little to find out how many",
                  call.function(), size);
  return rekur::api::fail({rekur::Code::out_of_memory, text});
}

Memory memory_of(const Call& call, const rekur_memory* memory) {
  const rekur_memory& given = call.expect(memory, "memory");
  if (given.allocate == nullptr) call.wrong("memory->allocate is null");
  if (given.release == nullptr) call.wrong("memory->release is null");
  return {given.allocate, given.release, given.context};
}

std::span<const std::byte> bytes_of(const Call& call, const void* bytes, std::size_t size) {
  if (bytes == nullptr) call.wrong("bytes is null");
  return {static_cast<const std::byte*>(bytes), size};
}

// What makes a handle of a model, and of a stream.
auto loading(const Call& call, const void* bytes, std::size_t size) {
  return [=, &call](const Memory& memory) {
    return rekur_model{rekur::Model::load(bytes_of(call, bytes, size), "model in memory", {.memory = memory})};
  };
}

auto mapping(const Call& call, const void* bytes, std::size_t size) {
  return [=, &call](const Memory& memory) {
    return rekur_model{rekur::Model::map(bytes_of(call, bytes, size), "model in memory", {.memory = memory})};
  };
}

auto streaming(const Call& call, const rekur_model* model, std::int64_t batch) {
  return [=, &call](const Memory& memory) {
    const rekur::Model& m = call.expect(model, "model").model;
    if (batch < 1) call.wrong("batch must be at least 1, got %", {batch});
    return rekur_stream{rekur::Stream(m, {.batch = batch, .memory = memory}), batch};
  };
}

}  // namespace

rekur_code rekur_model_memory_size(const void* bytes, size_t size, size_t* needed_bytes) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(needed_bytes, "needed") = 0;
    *needed_bytes = needed<rekur_model>(loading(call, bytes, size));
  });
}

rekur_code rekur_model_map_size(const void* bytes, size_t size, size_t* needed_bytes) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(needed_bytes, "needed") = 0;
    *needed_bytes = needed<rekur_model>(mapping(call, bytes, size));
  });
}

rekur_code rekur_stream_memory_size(const rekur_model* model, int64_t batch, size_t* needed_bytes) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(needed_bytes, "needed") = 0;
    *needed_bytes = needed<rekur_stream>(streaming(call, model, batch));
  });
}

rekur_code rekur_model_load_in(const void* bytes, size_t size, void* memory, size_t memory_size, rekur_model** model) noexcept {
  const Call call(__func__);
  return make_in(call, memory, memory_size, model, "model", loading(call, bytes, size));
}

rekur_code rekur_model_map_in(const void* bytes, size_t size, void* memory, size_t memory_size, rekur_model** model) noexcept {
  const Call call(__func__);
  return make_in(call, memory, memory_size, model, "model", mapping(call, bytes, size));
}

rekur_code rekur_stream_create_in(const rekur_model* model, int64_t batch, void* memory, size_t memory_size,
                                  rekur_stream** stream) noexcept {
  const Call call(__func__);
  return make_in(call, memory, memory_size, stream, "stream", streaming(call, model, batch));
}

rekur_code rekur_model_load_with(const char* path, const rekur_memory* memory, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    const std::string name(&call.expect(path, "path"));
    // The file is read into the system's memory.
    *model = made<rekur_model>(memory_of(call, memory),
                               [&](const Memory& own) { return rekur_model{rekur::Model::load(name, {.memory = own})}; });
  });
}

rekur_code rekur_model_load_memory_with(const void* bytes, size_t size, const rekur_memory* memory, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    *model = made<rekur_model>(memory_of(call, memory), loading(call, bytes, size));
  });
}

rekur_code rekur_stream_create_with(const rekur_model* model, int64_t batch, const rekur_memory* memory,
                                    rekur_stream** stream) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(stream, "stream") = nullptr;
    *stream = made<rekur_stream>(memory_of(call, memory), streaming(call, model, batch));
  });
}
