// The plug-in as a host has it, of either format, without a window and without a toolkit: what host.cpp runs and checks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "amp.hpp"

namespace host {

// From one thread to one other, without a lock: texts of up to kSize bytes.
class Ring {
 public:
  static constexpr unsigned kSlots = 16, kSize = 5000;

  bool push(const void* data, std::size_t size) noexcept {
    const unsigned at = written_.load(std::memory_order_relaxed);
    if (size > kSize || at - read_.load(std::memory_order_acquire) == kSlots) return false;
    Slot& slot = slots_[at % kSlots];
    std::memcpy(slot.data, data, size);
    slot.size = size;
    written_.store(at + 1, std::memory_order_release);
    return true;
  }
  template <class Take>
  bool pop(const Take& take) {  // take(data, size)
    const unsigned at = read_.load(std::memory_order_relaxed);
    if (at == written_.load(std::memory_order_acquire)) return false;
    take(slots_[at % kSlots].data, slots_[at % kSlots].size);
    read_.store(at + 1, std::memory_order_release);
    return true;
  }

 private:
  struct Slot {
    std::size_t size;
    alignas(8) char data[kSize];
  };
  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
  std::atomic<unsigned> written_{0}, read_{0};
};

// One instance. Main thread: everything but set and process, and those too while it is not active.
class Plugin {
 public:
  explicit Plugin(int channel_count) : channels(channel_count) {}
  virtual ~Plugin() = default;
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  virtual void activate() = 0;
  virtual void deactivate() = 0;
  virtual void load(const std::string& path) = 0;  // asks for a model; there once the audio and attend() have run
  virtual void attend() = 0;                       // whatever the plug-in wants done beside the audio
  virtual std::string save() = 0;
  virtual void restore(const std::string& state) = 0;
  virtual int latency() = 0;
  virtual std::string model() = 0;  // as the plug-in says
  virtual void process(const float* const* in, float* const* out, int frames) noexcept = 0;
  virtual void set(amp::Parameter parameter, float value) noexcept = 0;  // from the next block on

  // The same from a frame of the next block on; false where the format has no such thing.
  virtual bool set_at(amp::Parameter, float, unsigned) noexcept { return false; }

  const int channels;
  std::atomic<bool> restart{false};  // the plug-in wants to be deactivated and activated: its latency has changed
  std::vector<std::string> told;     // what the plug-in has had written into the log
};

// The file of the plug-in: .so of a folder NAME.lv2, or .clap. Throws std::runtime_error.
std::unique_ptr<Plugin> open(const std::string& file, int channels, double rate);
std::unique_ptr<Plugin> open_lv2(const std::string& file, int channels, double rate);
std::unique_ptr<Plugin> open_clap(const std::string& file, int channels, double rate);

// What a shared object has by this name. Throws std::runtime_error.
void* symbol_of(const std::string& file, const char* name);

}  // namespace host
