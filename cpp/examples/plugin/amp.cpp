#include "amp.hpp"

#include <rekur/denormals.hpp>
#include <rekur/status.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

namespace amp {

const std::array<ParameterInfo, parameter_count> kParameters{{
    {"input", "Input", "dB", -24, 24, 0},
    {"level", "Level", "dB", -48, 24, 0},
    {"enabled", "Enabled", "", 0, 1, 1},  // 0: bypassed
    {"knob1", "Knob 1", "", 0, 1, 0.5F},
    {"knob2", "Knob 2", "", 0, 1, 0.5F},
    {"knob3", "Knob 3", "", 0, 1, 0.5F},
    {"knob4", "Knob 4", "", 0, 1, 0.5F},
}};

namespace {

constexpr double kLongestLatency = 1 << 20;  // samples: a file may say anything
constexpr double kSmoothing = 0.02;          // seconds from one value of a parameter to another, and from one model to another

// What a sample is multiplied by or mixed with. 0 dB is 1 exactly: then not a bit of the model's output is changed.
float factor(Parameter parameter, float value) {
  if (parameter == input_gain || parameter == output_level) return value == 0 ? 1 : std::pow(10.0F, value / 20);
  return parameter == enabled ? (value >= 0.5F ? 1.0F : 0.0F) : value;
}

// Not std::isfinite, which -ffast-math would take for true.
bool finite(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7f800000U) != 0x7f800000U; }

}  // namespace

void Ramp::set(float target, int samples) noexcept {
  if (target == target_) return;
  target_ = target;
  left_ = std::max(samples, 1);
  step_ = (target - value_) / static_cast<float>(left_);
}

float Ramp::next() noexcept {
  if (left_ == 0) return value_;
  value_ = --left_ == 0 ? target_ : value_ + step_;
  return value_;
}

// --- a model made ready ---

class Engine {
 public:
  Engine() = default;  // without a model: what comes in goes out

  // Null, and `message` says why, where the model is none that this effect can run.
  static std::unique_ptr<Engine> make(std::shared_ptr<const rekur::Model> model, double rate, int channels, std::string& message);

  // frames of all channels, [frames, channels], to y. False where the model gave a number that is none: it begins anew then, and
  // that channel is silent for these frames.
  bool process(const float* dry, const std::array<std::array<float, kChunk>, parameter_count>& values, float* y,
               int frames) noexcept;
  void reset() noexcept;
  int latency() const noexcept { return latency_; }
  const std::shared_ptr<const rekur::Model>& model() const noexcept { return model_; }

  Engine* after = nullptr;  // in the list of those that are done

 private:
  explicit Engine(rekur::Stream stream) : stream_(std::move(stream)) {}

  struct Input {
    std::vector<float> x;  // [kChunk, channels, columns]
    int columns;
  };

  std::shared_ptr<const rekur::Model> model_;
  std::optional<rekur::Stream> stream_;
  int channels_ = 1, latency_ = 0;
  std::vector<Input> inputs_;  // the first column of the first one is the sound, all others are knobs
  std::vector<const void*> pointers_;
  std::vector<float> delayed_;  // [latency, channels]: what bypass gives, as late as the model
  std::size_t delayed_at_ = 0;
};

std::unique_ptr<Engine> Engine::make(std::shared_ptr<const rekur::Model> model, double rate, int channels, std::string& message) {
  message.clear();
  rekur::StreamOptions options;
  options.batch = channels;
  options.sample_rate = rate;
  rekur::Result<rekur::Stream> stream = rekur::try_stream(*model, options);
  if (!stream) return message = stream.status().message, nullptr;
  if (!stream->beginnings().empty()) return message = "expected a model of samples alone; it has inputs that do not step", nullptr;
  if (stream->outputs().size() != 1 || stream->outputs()[0].shape.back() != 1)
    return message = "expected a model of one output of one sample a step", nullptr;
  std::unique_ptr<Engine> engine(new Engine(std::move(*stream)));
  int knobs = -1;
  for (const rekur::TensorInfo& info : engine->stream_->inputs()) {
    if (info.dtype != rekur::DType::float32) return message = "expected inputs of floats; \"" + info.name + "\" takes ids", nullptr;
    const auto columns = static_cast<int>(info.shape.size() > 1 ? info.shape.back() : 1);
    engine->inputs_.push_back({std::vector<float>(static_cast<std::size_t>(kChunk * channels * columns)), columns});
    knobs += columns;
  }
  if (knobs > kKnobs)
    return message = "expected at most " + std::to_string(kKnobs) + " knobs; the model has " + std::to_string(knobs), nullptr;
  for (const Input& input : engine->inputs_) engine->pointers_.push_back(input.x.data());
  const rekur::Signal signal = model->signal();
  const rekur::RateMatch match = engine->stream_->rate_match();
  double latency = static_cast<double>(signal.latency);
  if (match == rekur::RateMatch::matched || match == rekur::RateMatch::partly) latency *= rate / signal.sample_rate;
  if (latency > kLongestLatency) return message = "its output is later by more than a million samples", nullptr;
  engine->latency_ = static_cast<int>(std::lround(latency));
  if (match == rekur::RateMatch::partly || match == rekur::RateMatch::too_low) {
    char text[200];
    std::snprintf(text, sizeof text, "the model was made for %g Hz; at %g Hz it sounds otherwise", signal.sample_rate, rate);
    message = text;
  }
  engine->model_ = std::move(model);
  engine->channels_ = channels;
  engine->delayed_.resize(static_cast<std::size_t>(engine->latency_ * channels));
  return engine;
}

bool Engine::process(const float* dry, const std::array<std::array<float, kChunk>, parameter_count>& values, float* y,
                     int frames) noexcept {
  const int all = frames * channels_;
  bool good = true;
  if (!stream_) return std::copy_n(dry, all, y), true;
  int column = 0;
  for (Input& input : inputs_) {
    float* x = input.x.data();
    const int first = column;
    for (int i = 0; i < all; ++i) {
      const auto t = static_cast<std::size_t>(i / channels_);
      for (int k = 0; k < input.columns; ++k) {
        const int c = first + k;
        *x++ = c == 0 ? dry[i] * values[input_gain][t] : values[static_cast<std::size_t>(c - 1) + knob_1][t];
      }
    }
    column += input.columns;
  }
  stream_->process(pointers_, std::span<float* const>(&y, 1), frames);
  for (int c = 0; c < channels_; ++c) {
    bool row = true;
    for (int t = 0; t < frames; ++t) row = row && finite(y[t * channels_ + c]);
    if (row) continue;
    good = false;
    stream_->reset(c);
    for (int t = 0; t < frames; ++t) y[t * channels_ + c] = 0;
  }
  // A bypassed model runs on: the load is the same, and its states are those of what it heard when it comes back.
  for (int i = 0; i < all; ++i) {
    const auto t = static_cast<std::size_t>(i / channels_);
    float through = dry[i];
    if (latency_ > 0) {
      std::swap(through, delayed_[delayed_at_]);
      delayed_at_ = (delayed_at_ + 1) % delayed_.size();
    }
    const float mix = values[enabled][t], wet = y[i] * values[output_level][t];
    y[i] = mix == 1 ? wet : mix == 0 ? through : through + mix * (wet - through);
  }
  return good;
}

void Engine::reset() noexcept {
  if (stream_) stream_->reset();
  std::fill(delayed_.begin(), delayed_.end(), 0.0F);
}

// --- the effect ---

Amp::Amp(int channels)
    : channels_(channels),
      current_(new Engine),
      dry_(static_cast<std::size_t>(kChunk * channels)),
      wet_(dry_.size()),
      faded_(dry_.size()) {
  for (unsigned p = 0; p < parameter_count; ++p) targets_[p] = kParameters[p].usual;
}

Amp::~Amp() {
  collect();
  delete current_;
  delete old_;
  delete next_.load();
}

void Amp::set(Parameter parameter, float value) noexcept {
  if (value != value) return;
  const ParameterInfo& info = kParameters[parameter];
  targets_[parameter].store(std::clamp(value, info.least, info.most), std::memory_order_relaxed);
}

// --- not in the audio thread ---

namespace {

rekur::Result<rekur::Model> read(const std::string& path) {
#if defined(REKUR_IMPORT) && REKUR_IMPORT
  return rekur::try_import(path);  // .nam, JSON and .safetensors: the contents say which
#else
  return rekur::try_load(path);
#endif
}

}  // namespace

bool Amp::load(const std::string& path) noexcept try {
  const std::lock_guard lock(control_);
  collect();
  rekur::Result<rekur::Model> model = read(path);
  if (!model) return message_ = path + ": " + model.status().message, false;
  std::unique_ptr<Engine> engine =
      Engine::make(std::make_shared<const rekur::Model>(std::move(*model)), rate_, channels_, message_);
  if (engine == nullptr) return message_ = path + ": " + message_, false;
  path_ = path;
  loaded_latency_ = engine->latency();
  delete next_.exchange(engine.release(), std::memory_order_acq_rel);  // the one that nobody has come to take, if there is one
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

std::string Amp::path() const {
  const std::lock_guard lock(control_);
  return path_;
}

std::string Amp::message() const {
  const std::lock_guard lock(control_);
  return message_;
}

int Amp::loaded_latency() const {
  const std::lock_guard lock(control_);
  return loaded_latency_;
}

bool Amp::activate(double rate) noexcept try {
  const std::lock_guard lock(control_);
  if (Engine* next = next_.exchange(nullptr, std::memory_order_acq_rel)) {
    delete std::exchange(current_, next);
    lost_ = nullptr;
  }
  delete std::exchange(old_, nullptr);
  collect();
  bool good = true;
  message_.clear();
  if (rate != rate_ || lost_ != nullptr) {
    rate_ = 0;  // until all of it is done
    if (current_->model() != nullptr) lost_ = current_->model();
    if (lost_ != nullptr) {
      std::unique_ptr<Engine> engine = Engine::make(lost_, rate, channels_, message_);
      good = engine != nullptr;
      if (good) lost_ = nullptr;
      if (!good) engine = std::make_unique<Engine>();
      delete std::exchange(current_, engine.release());
    }
    rate_ = rate;
  }
  latency_ = loaded_latency_ = current_->latency();
  reset();
  return good;
} catch (const std::bad_alloc&) {
  return false;
}

void Amp::collect() noexcept {
  for (Engine* engine = retired_.exchange(nullptr, std::memory_order_acq_rel); engine != nullptr;)
    delete std::exchange(engine, engine->after);
}

// Numbers by their bits: exact, and the same in every locale.
std::string Amp::save_state() const {
  std::string text = "amp 1\n";
  for (unsigned p = 0; p < parameter_count; ++p) {
    char line[64];
    std::snprintf(line, sizeof line, "%s %08x\n", kParameters[p].symbol, std::bit_cast<std::uint32_t>(get(Parameter{p})));
    text += line;
  }
  return text + "model " + path() + "\n";
}

bool Amp::load_state(std::string_view text) noexcept try {
  constexpr std::string_view kBegin = "amp 1\n";
  if (!text.starts_with(kBegin)) return false;
  bool good = true;
  for (text.remove_prefix(kBegin.size()); !text.empty();) {
    std::string line(text.substr(0, text.find('\n')));
    const std::string word = line.substr(0, line.find(' '));
    if (word == "model")
      line = text.substr(0, text.size() - text.ends_with('\n'));  // the last one: names of files are of any letters
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::string rest = line.substr(std::min(word.size() + 1, line.size()));
    if (word == "model" && !rest.empty()) good = load(rest);
    for (unsigned p = 0; p < parameter_count; ++p) {
      unsigned bits = 0;
      if (word == kParameters[p].symbol && std::sscanf(rest.c_str(), "%x", &bits) == 1)
        set(Parameter{p}, std::bit_cast<float>(bits));
    }
  }
  return good;
} catch (const std::bad_alloc&) {
  return false;
}

// --- in the audio thread ---

void Amp::reset() noexcept {
  current_->reset();
  if (old_ != nullptr) retire(std::exchange(old_, nullptr));
  fresh_ = true;
}

void Amp::retire(Engine* engine) noexcept {
  engine->after = retired_.load(std::memory_order_relaxed);
  while (!retired_.compare_exchange_weak(engine->after, engine, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

void Amp::take_next() noexcept {
  if (old_ != nullptr || next_.load(std::memory_order_relaxed) == nullptr) return;  // one at a time
  old_ = std::exchange(current_, next_.exchange(nullptr, std::memory_order_acq_rel));
  fade_at_ = 0;
  fade_length_ = static_cast<int>(kSmoothing * rate_) + 1;
  latency_.store(current_->latency(), std::memory_order_relaxed);
}

void Amp::process(const float* const* in, float* const* out, int frames) noexcept {
  const rekur::FlushDenormals flush;
  take_next();
  for (unsigned p = 0; p < parameter_count; ++p) {
    const float value = factor(Parameter{p}, get(Parameter{p}));
    if (fresh_)
      ramps_[p].jump(value);
    else
      ramps_[p].set(value, static_cast<int>(kSmoothing * rate_));
  }
  fresh_ = false;
  for (int at = 0; at < frames; at += kChunk) chunk(in, out, at, std::min(kChunk, frames - at));
}

void Amp::chunk(const float* const* in, float* const* out, int at, int frames) noexcept {
  for (unsigned p = 0; p < parameter_count; ++p)
    for (int t = 0; t < frames; ++t) values_[p][static_cast<std::size_t>(t)] = ramps_[p].next();
  // Everything is read before anything is written: a host may give the same arrays for both.
  float *dry = dry_.data(), *wet = wet_.data(), *faded = faded_.data();
  for (int c = 0; c < channels_; ++c)
    for (int t = 0; t < frames; ++t) {
      const float x = in[c][at + t];
      dry[t * channels_ + c] = finite(x) ? x : 0;
    }
  bool good = current_->process(dry, values_, wet, frames);
  if (old_ != nullptr) {
    good = old_->process(dry, values_, faded, frames) && good;
    for (int t = 0; t < frames; ++t) {
      const float mix = std::min(1.0F, static_cast<float>(++fade_at_) / static_cast<float>(fade_length_));
      for (int i = t * channels_; i < (t + 1) * channels_; ++i) wet[i] = faded[i] + mix * (wet[i] - faded[i]);
    }
    if (fade_at_ >= fade_length_) retire(std::exchange(old_, nullptr));
  }
  if (!good) troubles_.fetch_add(1, std::memory_order_relaxed);
  for (int c = 0; c < channels_; ++c)
    for (int t = 0; t < frames; ++t) out[c][at + t] = wet[t * channels_ + c];
}

}  // namespace amp
