// A forecaster trained in Python: make_models.py wrote the model, this program loads it and forecasts the air temperature of the
// next twelve hours from a file of hourly readings.
//
//   forecast models/forecaster.safetensors models/weather.csv [models/forecast.csv]
//
// With a third file, Python's forecast, the two are compared: bit for bit where that says it was computed on the instruction set in
// use
// (`make_models.py --check` writes such a file), within what single precision allows elsewhere.
#include <rekur/model.hpp>
#include <rekur/runtime.hpp>
#include <rekur/stream.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kContext = 72;  // hours that Python's forecast reads

std::ifstream open(const char* path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  return file;
}

// The last column of each line below the header.
std::vector<float> read_temperatures(const char* path) {
  std::ifstream file = open(path);
  std::vector<float> values;
  std::string line;
  for (std::getline(file, line); std::getline(file, line);) {
    const char* text = line.c_str() + line.rfind(',') + 1;
    char* end = nullptr;
    values.push_back(std::strtof(text, &end));
    if (end == text) throw std::runtime_error(std::string(path) + ": no number in '" + line + "'");
  }
  if (values.size() < kContext) throw std::runtime_error(std::string(path) + ": fewer than 72 hours");
  return values;
}

// Every hour: forecast, wait, compare. Returns whether the model beats the guess that the weather stays as it is.
bool score(const rekur::Model& model, const std::vector<float>& readings, std::size_t horizon) {
  rekur::Stream stream(model);
  std::vector<float> forecast(horizon);
  std::vector<double> error(horizon), naive(horizon);
  std::size_t count = 0;
  for (std::size_t t = 0; t + horizon < readings.size(); ++t) {
    stream.step(&readings[t], forecast.data());
    if (t < kContext) continue;  // it has seen too little yet
    for (std::size_t k = 0; k < horizon; ++k) {
      error[k] += std::abs(forecast[k] - readings[t + 1 + k]);
      naive[k] += std::abs(readings[t] - readings[t + 1 + k]);
    }
    ++count;
  }
  bool better = count > 0;
  std::printf("mean error over %zu hours   this model   as it is now\n", count);
  for (std::size_t k : {std::size_t{0}, horizon / 2 - 1, horizon - 1}) {
    std::printf("%21zu h ahead   %7.2f °C   %9.2f °C\n", k + 1, error[k] / static_cast<double>(count),
                naive[k] / static_cast<double>(count));
    better = better && error[k] < naive[k];
  }
  return better;
}

bool agrees_with_python(const char* path, const std::vector<float>& ours) {
  std::ifstream file = open(path);
  std::string line;
  std::getline(file, line);
  const bool same_isa = line.ends_with("isa " + rekur::current_isa());
  std::vector<float> theirs;
  while (std::getline(file, line)) {
    for (const char* at = line.c_str(); *at != 0; at += *at == ',') {
      char* end = nullptr;
      theirs.push_back(std::strtof(at, &end));
      if (end == at) throw std::runtime_error(std::string(path) + ": no number in '" + line + "'");
      at = end;
    }
  }
  if (theirs.size() != ours.size()) throw std::runtime_error(std::string(path) + ": not as many numbers as the model gives");
  std::size_t different = 0;
  float largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    different += std::memcmp(&ours[i], &theirs[i], sizeof(float)) != 0;
    largest = std::abs(ours[i] - theirs[i]) <= largest ? largest : std::abs(ours[i] - theirs[i]);
  }
  std::printf("Python's forecast, %s: %zu of %zu numbers differ in a bit, at most by %g °C\n",
              same_isa ? "of this instruction set" : "perhaps of another instruction set", different, ours.size(),
              static_cast<double>(largest));
  return same_isa ? different == 0 : largest < 1e-4F;
}

int run(int argc, char** argv) {
  const rekur::Model model = rekur::Model::load(argv[1]);
  const std::vector<float> readings = read_temperatures(argv[2]);
  std::printf("%s on %s: ", argv[1], rekur::current_isa().c_str());
  for (const auto* infos : {&model.inputs(), &model.outputs()}) {
    for (const rekur::TensorInfo& info : *infos) std::printf("%s %s  ", info.name.c_str(), rekur::to_string(info.shape).c_str());
  }
  std::printf("\n");

  // One call over a whole sequence: batch 1, the last 72 hours, one feature. The model forecasts at every hour of them.
  rekur::Batch batch;
  batch.inputs.push_back({&readings[readings.size() - kContext], {1, kContext, 1}});
  const rekur::Tensor forecast = std::move(model.predict(batch)[0]);
  const auto horizon = static_cast<std::size_t>(forecast.shape.back());
  std::printf("after the last reading, %.1f °C:", static_cast<double>(readings.back()));
  for (std::size_t k = 0; k < horizon; ++k) std::printf(" %.1f", static_cast<double>(forecast.data[(kContext - 1) * horizon + k]));
  std::printf("\n");

  const bool better = score(model, readings, horizon);
  const bool same = argc < 4 || agrees_with_python(argv[3], forecast.data);
  return better && same ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) return std::fprintf(stderr, "usage: forecast MODEL READINGS.csv [FORECAST.csv]\n"), 2;
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "forecast: %s\n", error.what());
    return 1;
  }
}
