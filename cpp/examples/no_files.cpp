// A device without a file system, and without exceptions: the forecaster is a header that `rekur export-cpp` wrote, the library is
// built for inference only, and every function that can fail says so by what it returns.
//
//   rekur export-cpp models/forecaster.safetensors -o models/forecaster.hpp
//
// The numbers below stand for a sensor; printf stands for whatever the device has to say something with.
#include <rekur/status.hpp>
#include <rekur/stream.hpp>

#include <array>
#include <cstdio>

#include "models/forecaster.hpp"

namespace {

// Two days of hourly readings, °C.
constexpr std::array<float, 48> kReadings = {11.1F, 10.9F, 10.2F, 9.8F,  9.3F,  9.0F,  9.1F,  9.9F,  11.2F, 12.6F, 13.9F, 14.8F,
                                             15.3F, 15.6F, 15.4F, 14.9F, 14.0F, 13.2F, 12.5F, 12.0F, 11.6F, 11.2F, 10.8F, 10.5F,
                                             10.1F, 9.7F,  9.2F,  8.8F,  8.5F,  8.3F,  8.6F,  9.6F,  11.0F, 12.4F, 13.5F, 14.3F,
                                             14.8F, 15.0F, 14.7F, 14.1F, 13.1F, 12.2F, 11.4F, 10.8F, 10.3F, 9.9F,  9.5F,  9.2F};
constexpr std::size_t kHorizon = forecaster::layer_head::units;  // hours ahead: sizes are constants of the header

// Sends what went wrong to where it can be read, and gives main something to return.
int failed(const rekur::Status& status) {
  std::printf("%s\n", status.message);
  return 1;
}

// The same forecasts from one call over both days: what a device would not do, but a test of it should.
rekur::Status compare(const rekur::Model& model, const std::array<std::array<float, kHorizon>, kReadings.size()>& streamed) {
  std::array<std::array<float, kHorizon>, kReadings.size()> whole{};
  rekur::Batch batch;
  batch.inputs.push_back({kReadings.data(), {1, kReadings.size(), 1}, rekur::DType::float32});
  const std::array<rekur::View, 1> outputs{{{whole.data()->data(), {1, kReadings.size(), kHorizon}}}};
  if (const rekur::Status status = rekur::try_predict(model, batch, outputs); !status) return status;
  for (std::size_t t = 0; t < whole.size(); ++t) {
    for (std::size_t k = 0; k < kHorizon; ++k) {
      const float difference = whole[t][k] - streamed[t][k];
      if (!(difference < 1e-5F && difference > -1e-5F)) return {rekur::Code::internal, "the stream differs from the sequence"};
    }
  }
  return {};
}

}  // namespace

int main() {
  const rekur::Result<rekur::Model> model = forecaster::try_model();
  if (!model) return failed(model.status());
  rekur::Result<rekur::Stream> stream = rekur::try_stream(*model);
  if (!stream) return failed(stream.status());

  // From here on nothing can fail and nothing is allocated.
  std::array<std::array<float, kHorizon>, kReadings.size()> forecasts{};
  for (std::size_t t = 0; t < kReadings.size(); ++t) stream->step(&kReadings[t], forecasts[t].data());

  std::printf("now %.1f, then", static_cast<double>(kReadings.back()));
  for (const float value : forecasts.back()) std::printf(" %.1f", static_cast<double>(value));
  std::printf("\n");
  if (const rekur::Status status = compare(*model, forecasts); !status) return failed(status);
  return 0;
}
