// Training on the device: a forecaster goes on learning from the sensor it is attached to.
//
//   fine_tune models/forecaster.safetensors models/weather.csv adapted.safetensors
//
// The model was trained on temperatures in the open. Its sensor has been moved into a shed: what it reads follows the weather
// slowly and half as far. Four weeks of such readings teach the model, two later ones judge it. Then the file: model and optimiser
// are saved and loaded, and the loaded one learns on as if nothing had happened, to the bit.
#include <rekur/model.hpp>
#include <rekur/train.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kHours = 72;  // of a training sequence
constexpr std::size_t kBatch = 32;
constexpr const char* kConfig = R"({"optimizer": {"name": "adam", "learning_rate": 0.002, "clipnorm": 1.0},
                                    "losses": [{"name": "mean_absolute_error"}]})";
constexpr const char* kIterations = "fine_tune.iterations";  // our own key in the file

std::vector<float> read_temperatures(const char* path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  std::vector<float> values;
  std::string line;
  for (std::getline(file, line); std::getline(file, line);) {
    values.push_back(std::strtof(line.c_str() + line.rfind(',') + 1, nullptr));
  }
  return values;
}

std::vector<float> in_the_shed(std::vector<float> outside) {
  float inside = 8 + 0.5F * outside.at(0);
  for (float& value : outside) value = inside += 0.25F * (8 + 0.5F * value - inside);
  return outside;
}

// Sequences of 72 hours, one beginning at each hour of the series, and at each of their hours the `horizon` readings to come.
class Windows {
 public:
  Windows(std::span<const float> series, std::size_t horizon) : series_(series), horizon_(horizon) {
    if (series.size() < kHours + horizon) throw std::runtime_error("too few readings to train on");
    order_.resize(series.size() - kHours - horizon + 1);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  // Another order for each epoch, the same on every run.
  void shuffle(std::uint32_t seed) {
    for (std::size_t i = order_.size() - 1; i > 0; --i) {
      seed = seed * 1664525U + 1013904223U;
      std::swap(order_[i], order_[static_cast<std::size_t>(seed >> 8) % (i + 1)]);
    }
  }

  // Calls f(batch, targets, rows) for one batch after the other.
  template <class F>
  void for_each_batch(F f) {
    for (std::size_t first = 0; first < order_.size(); first += kBatch) {
      const std::size_t rows = std::min(kBatch, order_.size() - first);
      x_.clear();
      y_.clear();
      for (std::size_t row = 0; row < rows; ++row) {
        const float* window = &series_[order_[first + row]];
        x_.insert(x_.end(), window, window + kHours);
        for (std::size_t t = 0; t < kHours; ++t) y_.insert(y_.end(), window + t + 1, window + t + 1 + horizon_);
      }
      const auto size = static_cast<rekur::Index>(rows), hours = static_cast<rekur::Index>(kHours);
      rekur::Batch batch;
      batch.inputs.push_back({x_.data(), {size, hours, 1}});
      rekur::Targets targets;
      targets.targets.push_back({y_.data(), {size, hours, static_cast<rekur::Index>(horizon_)}});
      f(batch, targets, rows);
    }
  }

 private:
  std::span<const float> series_;
  std::size_t horizon_;
  std::vector<std::size_t> order_;
  std::vector<float> x_, y_;
};

double epoch(rekur::Trainer& trainer, Windows windows, std::uint32_t seed) {
  windows.shuffle(seed);
  double total = 0, count = 0;
  windows.for_each_batch([&](const rekur::Batch& batch, const rekur::Targets& targets, std::size_t rows) {
    total += trainer.step(batch, targets).loss * static_cast<double>(rows);
    count += static_cast<double>(rows);
  });
  return total / count;
}

double evaluate(const rekur::Trainer& trainer, Windows windows) {
  double total = 0, count = 0;
  windows.for_each_batch([&](const rekur::Batch& batch, const rekur::Targets& targets, std::size_t rows) {
    total += trainer.evaluate(batch, targets).loss * static_cast<double>(rows);
    count += static_cast<double>(rows);
  });
  return total / count;
}

// The optimiser's state rides along in the model's file, which Python reads as well. The old file stays until the new one is whole.
void save(const rekur::Model& model, const rekur::Trainer& trainer, const std::string& path) {
  rekur::Model::Extras extras;
  extras.tensors = trainer.state();
  extras.metadata[kIterations] = std::to_string(trainer.iterations());
  model.save(path, extras);
}

int run(const char* path, const char* readings, const std::string& adapted) {
  rekur::Model model = rekur::Model::load(path);
  const auto horizon = static_cast<std::size_t>(model.outputs().at(0).shape.back());
  const std::vector<float> series = in_the_shed(read_temperatures(readings));
  const std::span<const float> all(series);
  if (series.size() < 6 * 168) throw std::runtime_error(std::string(readings) + ": fewer than six weeks of readings");
  const Windows learnt(all.last(6 * 168).first(4 * 168), horizon), unseen(all.last(2 * 168), horizon);

  rekur::Trainer trainer(model, kConfig);
  const double before = evaluate(trainer, unseen);
  std::printf("mean error in the shed, as the model came: %.3f °C\n", before);
  for (std::uint32_t k = 0; k < 4; ++k) {
    const double loss = epoch(trainer, learnt, k);
    std::printf("epoch %u: %.3f °C on what it learns from, %.3f °C on what comes later\n", k + 1, loss, evaluate(trainer, unseen));
  }
  const double after = evaluate(trainer, unseen);

  save(model, trainer, adapted);
  rekur::Model::Extras extras;
  rekur::Model loaded = rekur::Model::load(adapted, extras);
  rekur::Trainer resumed(loaded, kConfig);
  resumed.set_state(extras.tensors, std::stoull(extras.metadata.at(kIterations)));
  const double straight = epoch(trainer, learnt, 4), stopped = epoch(resumed, learnt, 4);
  const bool same = straight == stopped && std::ranges::equal(model.weights(), loaded.weights());
  std::printf("saved to %s, loaded, and one epoch more: %s\n", adapted.c_str(),
              same ? "the same weights as without the stop" : "OTHER weights than without the stop");

  // What was learnt is worth something: a quarter of the error is gone at least.
  return same && after < 0.75 * before ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return std::fprintf(stderr, "usage: fine_tune MODEL READINGS.csv ADAPTED.safetensors\n"), 2;
  try {
    return run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fine_tune: %s\n", error.what());
    return 1;
  }
}
