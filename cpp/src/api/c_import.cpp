// Other programs' files in rekur.h.
#include "api/c_call.hpp"
#include "rekur/import.hpp"

using rekur::api::Call;

rekur_code rekur_model_import(const char* path, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    call.expect(path, "path");
    *model = new rekur_model{rekur::foreign::load(std::string(path))};
  });
}

rekur_code rekur_model_import_memory(const void* bytes, size_t size, rekur_model** model) noexcept {
  const Call call(__func__);
  return call.run([&] {
    call.expect(model, "model") = nullptr;
    if (bytes == nullptr) call.wrong("bytes is null");
    *model = new rekur_model{rekur::foreign::load(std::span(static_cast<const std::byte*>(bytes), size))};
  });
}
