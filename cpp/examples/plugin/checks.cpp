#include "checks.hpp"

#include <rekur/status.hpp>
#include <rekur/stream.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <mutex>
#include <random>
#include <thread>

#include <unistd.h>

#include "hosts.hpp"
#include "quiet.hpp"
#include "sound.hpp"

namespace host {
namespace {

std::atomic<int> failures{0};

// A model of 44100 Hz with a knob and a latency, whose weights are of no meaning: for the checks, and the shortest way to write
// such a file.
void write_model(const std::string& path) {
  constexpr int kUnits = 8;
  const std::string spec =
      R"({\"format\": \"rekur\", \"version\": 1, \"name\": \"m\", \"signal\": {\"sample_rate\": 44100, \"latency\": 30}, \"inputs\": [\"x\"], \"outputs\": [\"y\"], \"layers\": [)"
      R"({\"type\": \"Input\", \"name\": \"x\", \"shape\": [null, 2]}, )"
      R"({\"type\": \"LSTM\", \"name\": \"a\", \"inputs\": [\"x\"], \"units\": 8, \"return_sequences\": true}, )"
      R"({\"type\": \"Dense\", \"name\": \"y\", \"inputs\": [\"a\"], \"units\": 1}]})";
  std::string header = R"({"__metadata__":{"rekur":")" + spec + "\"}", data;
  std::uint32_t noise = 3;
  const auto add = [&](const std::string& name, const std::string& shape, int count) {
    header += ",\"" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[)" + std::to_string(data.size()) + ",";
    for (int i = 0; i < count; ++i) {
      noise = noise * 1664525U + 1013904223U;
      const float value = static_cast<float>(noise >> 8) / 8388608.0F - 1.0F;
      data.append(reinterpret_cast<const char*>(&value), sizeof value);  // little-endian, as all machines that hosts run on
    }
    header += std::to_string(data.size()) + "]}";
  };
  add("a/bias", "[32]", 4 * kUnits);
  add("a/kernel", "[2,32]", 2 * 4 * kUnits);
  add("a/recurrent_kernel", "[8,32]", kUnits * 4 * kUnits);
  add("y/bias", "[1]", 1);
  add("y/kernel", "[8,1]", kUnits);
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = header.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size) << header << data;
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

[[maybe_unused]] void* volatile in_use = nullptr;  // what the compiler does not do without

constexpr double kRate = 48000;

// A model as a C++ program runs it: what the plug-in must give to the bit.
class Reference {
 public:
  explicit Reference(const std::string& path) : model_(must(rekur::try_load(path))) {}

  Channels operator()(const Channels& x, double rate, float knob = 0.5F) const {
    rekur::StreamOptions options;
    options.batch = static_cast<rekur::Index>(x.size());
    options.sample_rate = rate;
    rekur::Stream stream = must(rekur::try_stream(model_, options));
    const auto frames = static_cast<rekur::Index>(x[0].size());
    std::vector<std::vector<float>> inputs;
    std::vector<const void*> pointers;
    for (const rekur::TensorInfo& info : stream.inputs()) {
      const auto columns = static_cast<std::size_t>(info.shape.back());
      std::vector<float>& input = inputs.emplace_back();
      for (std::size_t t = 0; t < x[0].size(); ++t)
        for (const auto& channel : x)
          for (std::size_t k = 0; k < columns; ++k) input.push_back(inputs.size() == 1 && k == 0 ? channel[t] : knob);
      pointers.push_back(input.data());
    }
    std::vector<float> y(x.size() * x[0].size());
    float* const out = y.data();
    stream.process(pointers, std::span<float* const>(&out, 1), frames);
    return apart(y, static_cast<int>(x.size()));
  }
  double rate() const { return model_.signal().sample_rate; }  // 0: unknown
  int latency(double rate) const {
    const rekur::Signal signal = model_.signal();
    const double faster = signal.sample_rate > 0 ? std::max(1.0, rate / signal.sample_rate) : 1.0;
    return static_cast<int>(std::lround(faster * static_cast<double>(signal.latency)));
  }

 private:
  template <class Value>
  static Value must(rekur::Result<Value> result) {
    if (!result) throw std::runtime_error(result.status().message);
    return std::move(*result);
  }

  rekur::Model model_;
};

struct Case {
  std::string file, model, other;
  int channels;

  std::string where() const { return " (" + file.substr(file.rfind('/') + 1) + ", " + std::to_string(channels) + " channels)"; }
  // With the model, and ready.
  std::unique_ptr<Plugin> open(double rate = kRate) const {
    std::unique_ptr<Plugin> plugin = host::open(file, channels, rate);
    use(*plugin, model);
    return plugin;
  }
  // Goes over to a model and waits until nothing is left of the one before.
  void use(Plugin& plugin, const std::string& path) const {
    plugin.activate();
    plugin.load(path);
    play(plugin, Channels(static_cast<std::size_t>(channels), std::vector<float>(4800)));
    plugin.deactivate();
    plugin.activate();
  }
  Channels sound(double seconds = 0.5) const {
    Channels x;
    for (int c = 0; c < channels; ++c) x.push_back(pluck(kRate, seconds, c == 0 ? 110.0 : 146.8));
    return x;
  }
};

void check_bits(const Case& c) {
  const Reference reference(c.model);
  const Channels x = c.sound(), y = reference(x, kRate);
  const std::unique_ptr<Plugin> plugin = c.open();
  std::mt19937 random(1);
  for (const int size : {1, 17, 64, 512, 5000, 0}) {
    plugin->deactivate();
    plugin->activate();
    bool empty = true;  // random blocks begin with one of nothing
    const auto block = [&](std::size_t) {
      if (size != 0) return size;
      return std::exchange(empty, false) ? 0 : static_cast<int>(random() % 700);
    };
    const Channels ours = play(*plugin, x, block, [](std::size_t) {});
    expect(ours == y,
           "blocks of " + (size == 0 ? "any number of" : std::to_string(size)) + " frames: not the stream's bits" + c.where());
  }
  plugin->deactivate();
  plugin->activate();
  Channels same = x;  // the output where the input is
  std::vector<float*> pointers;
  for (auto& channel : same) pointers.push_back(channel.data());
  plugin->process(pointers.data(), pointers.data(), static_cast<int>(x[0].size()));
  expect(same == y, "in place: not the stream's bits" + c.where());
  expect(plugin->latency() == reference.latency(kRate), "the latency is " + std::to_string(plugin->latency()) + c.where());
}

void check_rates(const Case& c) {
  const Reference reference(c.model);
  for (const double rate : {44100.0, 96000.0, 22050.0}) {
    const std::unique_ptr<Plugin> plugin = c.open(rate);
    const std::string at = " at " + std::to_string(static_cast<int>(rate)) + " Hz" + c.where();
    expect(play(*plugin, c.sound()) == reference(c.sound(), rate), "not the stream's bits" + at);
    expect(plugin->latency() == reference.latency(rate), "the latency is " + std::to_string(plugin->latency()) + at);
    bool warned = false;
    for (const std::string& line : plugin->told) warned = warned || line.find("was made for") != std::string::npos;
    expect(warned == (rate < reference.rate()), std::string(warned ? "a" : "no") + " warning of the sample rate" + at);
  }
}

void check_parameters(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  const Channels x = c.sound(), y = Reference(c.model)(x, kRate);
  // From one value to another in 20 ms, without a jump, and then exactly.
  constexpr std::size_t kTurn = 6400, kDone = kTurn + 961;
  const auto turned = [&](amp::Parameter parameter, float value) {
    plugin->deactivate();
    plugin->activate();
    const Channels out = play(
        *plugin, x, [](std::size_t) { return 64; },
        [&](std::size_t t) {
          if (t == kTurn) plugin->set(parameter, value);
        });
    plugin->set(parameter, amp::kParameters[parameter].usual);
    return out;
  };
  const float half = std::pow(10.0F, -6.0F / 20);
  const auto late = static_cast<std::size_t>(plugin->latency());  // what is bypassed comes as late as what is not
  const Channels level = turned(amp::output_level, -6);
  const Channels bypassed = turned(amp::enabled, 0), gain = turned(amp::input_gain, 6);
  for (std::size_t k = 0; k < x.size(); ++k)
    for (std::size_t t = 0; t < x[k].size(); ++t) {
      const float wet = y[k][t], dry = t >= late ? x[k][t - late] : 0;
      const bool before = t < kTurn, after = t >= kDone;
      const float at = level[k][t], through = bypassed[k][t];
      const bool level_right = before ? at == wet : after ? at == wet * half : std::abs(at) <= std::abs(wet);
      const bool bypass_right = before  ? through == wet
                                : after ? through == dry
                                        : through >= std::min(wet, dry) - 1e-6F && through <= std::max(wet, dry) + 1e-6F;
      if (!level_right || !bypass_right || (before && gain[k][t] != wet)) {
        expect(false, "a parameter at frame " + std::to_string(t) + c.where());
        return;
      }
    }
  expect(!std::equal(gain[0].begin() + kTurn, gain[0].end(), y[0].begin() + kTurn), "the input gain changes nothing" + c.where());
}

// Where a format knows frames within a block: as if the block ended there.
void check_frames(const Case& c) {
  const std::unique_ptr<Plugin> one = c.open(), two = c.open();
  const Channels x = c.sound();
  if (!one->set_at(amp::output_level, -6, 100)) return;
  one->set_at(amp::knob_1, 0.9F, 999);
  two->set(amp::output_level, 0);
  const Channels y = play(*one, x, x[0].size());
  const Channels z = play(
      *two, x, [&](std::size_t t) { return t == 0     ? std::size_t{100}
                                           : t == 100 ? std::size_t{899}
                                                      : x[0].size(); },
      [&](std::size_t t) {
        if (t == 100) two->set(amp::output_level, -6);
        if (t == 999) two->set(amp::knob_1, 0.9F);
      });
  expect(y == z, "a parameter does not change at its frame" + c.where());
  expect(std::equal(y[0].begin(), y[0].begin() + 100, Reference(c.model)(x, kRate)[0].begin()) &&
             y[0] != Reference(c.model)(x, kRate)[0],
         "a parameter changes before its frame" + c.where());
}

void check_state(const Case& c) {
  const std::unique_ptr<Plugin> one = c.open(), two = c.open();
  c.use(*one, c.other);
  one->set(amp::input_gain, 3.7F);
  one->set(amp::output_level, -11.3F);
  one->set(amp::knob_2, 0.123F);
  play(*one, c.sound(0.1));
  two->deactivate();
  two->restore(one->save());
  one->deactivate();
  one->activate();
  two->activate();
  const Channels x = c.sound(), y = play(*one, x);
  expect(y == play(*two, x), "a restored state does not sound the same" + c.where());
  expect(two->save() == one->save(), "a restored state is another" + c.where());
  expect(y != Reference(c.other)(x, kRate) && y != Reference(c.model)(x, kRate), "the parameters change nothing" + c.where());
  expect(two->model() == c.other, "the plug-in says that its model is '" + two->model() + "'" + c.where());
}

float largest_step(const Channels& x, std::size_t begin, std::size_t end) {
  float largest = 0;
  for (const auto& channel : x)
    for (std::size_t t = std::max<std::size_t>(begin, 1); t < end; ++t)
      largest = std::max(largest, std::abs(channel[t] - channel[t - 1]));
  return largest;
}

// The audio goes on while another model is loaded: from the one to the other there is no jump that neither has, and no gap.
void check_change(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  Channels x;  // smooth, so that a click would stand out
  for (int k = 0; k < c.channels; ++k) {
    std::vector<float>& sine = x.emplace_back(24000);
    for (std::size_t t = 0; t < sine.size(); ++t) sine[t] = 0.3F * std::sin(0.02F * static_cast<float>(t));
  }
  constexpr std::size_t kChange = 6400;
  const Channels y = play(
      *plugin, x, [](std::size_t) { return 64; },
      [&](std::size_t t) {
        if (t == kChange) plugin->load(c.other);
      });
  const Channels before = Reference(c.model)(x, kRate), after = Reference(c.other)(x, kRate);
  std::size_t differs = 0;
  while (differs < y[0].size() && y[0][differs] == before[0][differs]) ++differs;
  expect(differs >= kChange && differs < kChange + 256, "the new model begins at frame " + std::to_string(differs) + c.where());
  float apart = 0;
  for (std::size_t k = 0; k < y.size(); ++k)
    for (std::size_t t = kChange; t < y[k].size(); ++t) apart = std::max(apart, std::abs(before[k][t] - after[k][t]));
  // The new one starts from silence, which it hears while the old one is still heard instead of it.
  const float bound = largest_step(before, kChange, 24000) + largest_step(after, 0, 24000) + 2 * apart / 960;
  const float step = largest_step(y, kChange - 64, kChange + 2000);
  expect(step <= bound,
         "a jump of " + std::to_string(step) + " where a model is changed, at most " + std::to_string(bound) + c.where());
  float late = 0;
  for (std::size_t k = 0; k < y.size(); ++k)
    for (std::size_t t = 12000; t < y[k].size(); ++t) late = std::max(late, std::abs(y[k][t] - after[k][t]));
  expect(late < 1e-2F, "the new model is not what is heard in the end: " + std::to_string(late) + " off" + c.where());
  // The host learns of another latency: by the port, or by being asked to begin anew.
  if (plugin->restart) plugin->deactivate(), plugin->activate();
  expect(plugin->latency() == Reference(c.other).latency(kRate),
         "the latency after a change is " + std::to_string(plugin->latency()) + c.where());
}

// A thread plays while this one loads one model after the other, as fast as it can.
void check_threads(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  std::atomic<bool> done{false};
  std::atomic<long> quiet_blocks{0}, wrong{0}, blocks{0};
  std::thread audio([&] {
    const Channels x = [&] {
      Channels noise(static_cast<std::size_t>(c.channels), std::vector<float>(480));
      std::mt19937 random(7);
      for (auto& channel : noise)
        for (float& value : channel) value = static_cast<float>(random() % 2001) / 2000.0F - 0.5F;
      return noise;
    }();
    Channels y = x;
    std::vector<const float*> in;
    std::vector<float*> out;
    for (std::size_t k = 0; k < x.size(); ++k) in.push_back(x[k].data()), out.push_back(y[k].data());
    while (!done) {
      plugin->set(amp::output_level, static_cast<float>(blocks % 7));
      plugin->process(in.data(), out.data(), 480);
      float loudest = 0;
      for (const auto& channel : y)
        for (const float value : channel) loudest = std::max(loudest, std::abs(value)), wrong += !(std::abs(value) < 100);
      quiet_blocks += loudest < 1e-3F;
      ++blocks;
    }
  });
  for (int k = 0; k < 30; ++k) {
    plugin->load(k % 2 == 0 ? c.other : c.model);
    const long now = blocks;
    for (int wait = 0; wait < 20000 && (blocks < now + 3 || wait < k % 5); ++wait) {
      plugin->attend();
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
    plugin->save();
  }
  done = true;
  audio.join();
  plugin->attend();
  expect(wrong == 0 && quiet_blocks == 0, std::to_string(quiet_blocks) + " blocks of " + std::to_string(blocks) + " dropped, " +
                                              std::to_string(wrong) + " samples wrong while models change" + c.where());
}

// Numbers that are none come in, or come of it: what goes out is numbers, the sound comes back, and the user is told.
void check_nan(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  Channels x = c.sound(1);
  x[0][1000] = std::numeric_limits<float>::quiet_NaN();
  x[0][1001] = -std::numeric_limits<float>::infinity();
  x[0][20000] = 3e38F;  // and a gain above 1: the model is given infinity
  plugin->set(amp::input_gain, 24);
  plugin->told.clear();
  const Channels y = play(*plugin, x);
  plugin->attend();
  float loudest = 0;
  for (const auto& channel : y)
    for (std::size_t t = 0; t < channel.size(); ++t) {
      if (!(std::abs(channel[t]) < 1e30F)) return expect(false, "NaN or worse at frame " + std::to_string(t) + c.where());
      if (t > 40000) loudest = std::max(loudest, std::abs(channel[t]));
    }
  expect(loudest > 1e-3F, "no sound comes back after NaN" + c.where());
  expect(plugin->told.size() == 1 && plugin->told[0].find("begun anew") != std::string::npos,
         "a model that was reset is told of " + std::to_string(plugin->told.size()) + " times" + c.where());
}

// A file that is no model leaves the one before where it is, and says why.
void check_refused(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  plugin->told.clear();
  plugin->load(c.file);
  play(*plugin, c.sound(0.1));
  expect(!plugin->told.empty() && plugin->told[0].find(c.file) != std::string::npos,
         "nothing is said of a file that is no model" + c.where());
  expect(plugin->model() == c.model, "the plug-in says that its model is '" + plugin->model() + "'" + c.where());
  plugin->deactivate();
  plugin->activate();
  expect(play(*plugin, c.sound()) == Reference(c.model)(c.sound(), kRate),
         "a file that is no model silences the one before" + c.where());
}

// No system call at all, with a new model to take and parameters that move; allocator and locks are watched in every block anyway.
quiet::Kept check_quiet(const Case& c) {
  const std::unique_ptr<Plugin> plugin = c.open();
  struct Work {
    Plugin& plugin;
    std::vector<std::vector<float>> x, y;
    std::vector<float*> in, out;
  } work{*plugin, c.sound(0.1), c.sound(0.1), {}, {}};
  for (std::size_t k = 0; k < work.x.size(); ++k) work.in.push_back(work.x[k].data()), work.out.push_back(work.y[k].data());
  plugin->load(c.other);
  plugin->process(work.in.data(), work.out.data(), 64);
  plugin->attend();  // the new model is ready: the next block takes it
  const auto go = [](void* what) {
    auto& w = *static_cast<Work*>(what);
    for (int k = 0; k < 300; ++k) {
      w.plugin.set(amp::input_gain, static_cast<float>(k % 5));
      w.plugin.set(amp::enabled, static_cast<float>(k / 50 % 2));
      w.plugin.process(w.in.data(), w.out.data(), k % 600);
    }
  };
  const quiet::Kept kept = quiet::without_system_calls(go, &work);
  expect(kept != quiet::Kept::no, "a system call, memory or a lock in the audio callback" + c.where());
  return kept;
}

}  // namespace

void expect(bool kept, const std::string& what) {
  if (kept) return;
  ++failures;
  std::printf("BROKEN: %s\n", what.c_str());
}

int check(const std::string& file, const std::string& model) {
  struct Folder {  // of this run alone
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("amp_host-" + std::to_string(getpid()));
    Folder() { std::filesystem::create_directory(path); }
    ~Folder() { std::filesystem::remove_all(path); }
  } const folder;
  const std::string other = (folder.path / "knob.safetensors").string();
  write_model(other);
  static std::mutex mutex;
  expect(quiet::noticed([] { in_use = std::malloc(10); }) != quiet::Kept::no, "the watch does not see the allocator");
  expect(quiet::noticed([] { in_use = new int; }) != quiet::Kept::no, "the watch does not see operator new");
  expect(quiet::noticed([] { mutex.lock(); }) != quiet::Kept::no, "the watch does not see locks");
  expect(quiet::noticed([] {}) != quiet::Kept::yes, "the watch sees what is not there");
  quiet::Kept forbidden = quiet::Kept::unknown;
  for (const int channels : {1, 2}) {
    const Case c{file, model, other, channels};
    for (const Case& each : {c, Case{file, other, model, channels}}) {
      check_bits(each);
      check_rates(each);
      check_parameters(each);
    }
    check_frames(c);
    check_state(c);
    check_change(c);
    check_threads(c);
    check_nan(c);
    check_refused(c);
    forbidden = check_quiet(c);
  }
  std::printf("%s: %s; allocator and locks %s, system calls %s\n", file.c_str(), failures == 0 ? "all promises kept" : "BROKEN",
              quiet::kWatched ? "watched" : "could not be watched here",
              forbidden == quiet::Kept::unknown ? "could not be forbidden here" : "forbidden");
  return failures == 0 ? 0 : 1;
}

}  // namespace host
