// What a host loads: one function. The library is inside.
#include <new>
#include <span>

#include <rekur/model.hpp>
#if !REKUR_THROWS
#include <rekur/status.hpp>
#endif

#include "model_file.h"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

extern "C" EXPORTED int plugin_run(float x, float* y) {
  unsigned char bytes[MODEL_FILE_SIZE];
  const std::span<const std::byte> file = std::as_bytes(std::span(bytes, write_model_file(bytes)));
  const rekur::View to[] = {{y, {1, 1, 1}}};
  rekur::Batch batch;
  batch.inputs.push_back({&x, {1, 1, 1}, rekur::DType::float32});
#if REKUR_THROWS
  try {
    rekur::Model::load(file).predict(batch, to);
    return 0;
  } catch (const rekur::Error&) {
    return 1;
  }
#else
  const rekur::Result<rekur::Model> model = rekur::try_load(file);
  return model && rekur::try_predict(*model, batch, to) ? 0 : 1;
#endif
}
