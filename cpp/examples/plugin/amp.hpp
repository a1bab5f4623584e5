// An amplifier as an effect that any host can run: a model from a file, gain, level, the model's knobs, bypass. It knows nothing of
// LV2 and CLAP, whose files (lv2.cpp, clap.cpp) translate between it and a host.
//
// Who may call what:
//   any thread            set, get, latency, troubles
//   the audio thread      process, reset; never a lock, memory or a system call
//   any other thread      everything else; load while the audio runs, activate only while it does not
//
// A model is read and made ready off the audio thread and handed over by one atomic exchange; the audio thread fades from the old
// one to it and puts the old one on a list, and whoever next calls load or collect frees it.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace rekur {
class Model;
}

namespace amp {

// What a host may turn. An effect of one's own begins with this table (kParameters, amp.cpp).
enum Parameter : unsigned { input_gain, output_level, enabled, knob_1, knob_2, knob_3, knob_4, parameter_count };

struct ParameterInfo {
  const char* symbol;  // an identifier that stays, whatever the name becomes: states are kept by it
  const char* name;
  const char* unit;  // "dB" or ""
  float least, most, usual;
};

extern const std::array<ParameterInfo, parameter_count> kParameters;

constexpr int kKnobs = parameter_count - knob_1;
constexpr int kChunk = 64;  // frames that are worked on at once; a host's blocks may be of any length

// Goes to its target in a straight line, a step a sample, and then stands on it exactly.
class Ramp {
 public:
  void set(float target, int samples) noexcept;
  void jump(float target) noexcept { value_ = target_ = target, left_ = 0; }
  float next() noexcept;

 private:
  float value_ = 0, target_ = 0, step_ = 0;
  int left_ = 0;
};

class Engine;  // a model made ready for a rate

class Amp {
 public:
  explicit Amp(int channels);
  ~Amp();
  Amp(const Amp&) = delete;
  Amp& operator=(const Amp&) = delete;

  // The model of a file (.safetensors, and what a library with REKUR_IMPORT reads: .nam, JSON), from the next block on, or with the
  // first one after activate. False where it cannot be used: message() says why, and the model before goes on.
  bool load(const std::string& path) noexcept;
  std::string path() const;     // of the model last loaded, "" for none: the input goes through
  std::string message() const;  // what there is to tell the user of it: why it failed, or what it is run at
  int loaded_latency() const;   // in samples of the host: what latency() will be once that model is heard
  // The audio stands still, and begins anew at this rate in Hz. False where the model cannot be run so; the input goes through
  // then.
  bool activate(double rate) noexcept;
  // Frees what the audio thread is through with; garbage() says whether there is something.
  void collect() noexcept;

  // All parameters and the path as a text, and back. load_state leaves alone what the text does not name, and is false for a text
  // that is none of ours or a model that cannot be loaded; the parameters are set nonetheless.
  std::string save_state() const;
  bool load_state(std::string_view text) noexcept;

  void set(Parameter parameter, float value) noexcept;  // brought into its range; NaN is left alone
  float get(Parameter parameter) const noexcept { return targets_[parameter].load(std::memory_order_relaxed); }
  int latency() const noexcept { return latency_.load(std::memory_order_relaxed); }         // in samples of the host
  unsigned troubles() const noexcept { return troubles_.load(std::memory_order_relaxed); }  // times that a model had to be reset
  bool garbage() const noexcept { return retired_.load(std::memory_order_relaxed) != nullptr; }

  // channels arrays of `frames` each, any number of them; outputs may be the inputs.
  void process(const float* const* in, float* const* out, int frames) noexcept;
  void reset() noexcept;  // silence before, and every parameter where it is to be when the next block begins

 private:
  void take_next() noexcept;
  void retire(Engine* engine) noexcept;
  void chunk(const float* const* in, float* const* out, int at, int frames) noexcept;

  const int channels_;
  double rate_ = 0;                           // until activate: the model's own
  std::shared_ptr<const rekur::Model> lost_;  // the model of an activation that failed, for the next one
  std::array<std::atomic<float>, parameter_count> targets_;
  std::atomic<int> latency_{0};
  std::atomic<unsigned> troubles_{0};

  // The audio thread's own.
  Engine* current_;
  Engine* old_ = nullptr;  // being faded out
  int fade_length_ = 0, fade_at_ = 0;
  bool fresh_ = true;  // nothing has been heard yet that a parameter could jump away from
  std::array<Ramp, parameter_count> ramps_;
  std::vector<float> dry_, wet_, faded_;  // [kChunk, channels]
  std::array<std::array<float, kChunk>, parameter_count> values_{};

  std::atomic<Engine*> next_{nullptr};     // from load to the audio thread
  std::atomic<Engine*> retired_{nullptr};  // back: a list

  mutable std::mutex control_;  // the other threads among themselves
  std::string path_, message_;
  int loaded_latency_ = 0;
};

}  // namespace amp
