// A host for the command line: a file through the plug-in, and the checks that the plug-in is held to.
//
//   amp_host PLUGIN IN.wav OUT.wav [--model FILE] [--rate HZ] [--block FRAMES] [--set SYMBOL=VALUE]…
//   amp_host --check PLUGIN MODEL
//
// PLUGIN is the shared object: amp.lv2/amp.so or amp.clap. IN.wav may be "-": a plucked string. --rate is what the plug-in is told;
// samples are not converted. OUT.wav has the bits of IN.wav.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include "checks.hpp"
#include "hosts.hpp"
#include "sound.hpp"
#include "wav.hpp"

namespace host {

void* symbol_of(const std::string& file, const char* name) {
  // Not closed again: what it has left running would have no code.
  void* const object = dlopen(file.find('/') == std::string::npos ? ("./" + file).c_str() : file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) throw std::runtime_error(dlerror());
  void* const symbol = dlsym(object, name);
  if (symbol == nullptr) throw std::runtime_error(file + " has no " + name);
  return symbol;
}

std::unique_ptr<Plugin> open(const std::string& file, int channels, double rate) {
#if defined(AMP_LV2)
  if (!file.ends_with(".clap")) return open_lv2(file, channels, rate);
#endif
  return open_clap(file, channels, rate);
}

}  // namespace host

namespace {

using host::Channels;
using host::Plugin;

struct Settings {
  std::string model;
  double rate = 0;
  int block = 64;
  std::vector<std::pair<amp::Parameter, float>> values;
};

double number(const std::string& option, const char* text) {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0') throw std::runtime_error(option + ": expected a number, got " + text);
  return value;
}

int render(const std::string& file, const std::string& in, const std::string& out, const Settings& settings) {
  wav::Sound sound;
  if (in == "-")
    sound.samples = host::pluck(sound.rate, 5, 110);
  else
    sound = wav::read(in);
  if (sound.channels > 2) throw std::runtime_error(in + ": expected 1 or 2 channels, got " + std::to_string(sound.channels));
  const double rate = settings.rate > 0 ? settings.rate : sound.rate;
  const std::unique_ptr<Plugin> plugin = host::open(file, sound.channels, rate);
  for (const auto& [parameter, value] : settings.values) plugin->set(parameter, value);
  plugin->activate();
  if (!settings.model.empty()) {
    plugin->load(settings.model);
    host::play(*plugin, Channels(static_cast<std::size_t>(sound.channels), std::vector<float>(4800)));
    for (const std::string& line : plugin->told) std::fprintf(stderr, "%s\n", line.c_str());
    if (plugin->model() != settings.model) throw std::runtime_error(settings.model + " is not used");
    plugin->deactivate();
    plugin->activate();
  }
  const auto begin = std::chrono::steady_clock::now();
  const Channels y = host::play(*plugin, host::apart(sound.samples, sound.channels), static_cast<std::size_t>(settings.block));
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (std::size_t i = 0; i < sound.samples.size(); ++i) sound.samples[i] = y[i % y.size()][i / y.size()];
  wav::write(out, sound);
  std::printf("%s: %.2f s of %d channels at %g Hz in %.3f s; latency %d\n", out.c_str(), sound.frames() / rate, sound.channels,
              rate, took, plugin->latency());
  return 0;
}

int run(const std::vector<std::string>& words) {
  if (words.size() == 3 && words[0] == "--check") return host::check(words[1], words[2]);
  std::vector<std::string> names;
  Settings settings;
  for (std::size_t k = 0; k < words.size(); ++k) {
    const std::string& word = words[k];
    if (!word.starts_with("--")) {
      names.push_back(word);
      continue;
    }
    if (++k == words.size()) throw std::runtime_error(word + ": expected a value");
    const std::string& value = words[k];
    if (word == "--model")
      settings.model = value;
    else if (word == "--rate")
      settings.rate = number(word, value.c_str());
    else if (word == "--block")
      settings.block = static_cast<int>(number(word, value.c_str()));
    else if (word == "--set") {
      const std::string symbol = value.substr(0, value.find('='));
      unsigned p = 0;
      while (p < amp::parameter_count && symbol != amp::kParameters[p].symbol) ++p;
      if (p == amp::parameter_count || symbol == value) throw std::runtime_error(word + ": expected SYMBOL=VALUE, got " + value);
      settings.values.emplace_back(amp::Parameter{p}, static_cast<float>(number(symbol, value.c_str() + symbol.size() + 1)));
    } else
      throw std::runtime_error(word + ": no such option");
  }
  if (settings.block < 1) throw std::runtime_error("--block: expected a number of frames from 1 on");
  if (names.size() != 3) {
    std::fprintf(stderr,
                 "usage: amp_host PLUGIN IN.wav|- OUT.wav [--model FILE] [--rate HZ] [--block FRAMES] [--set SYMBOL=VALUE]...\n"
                 "       amp_host --check PLUGIN MODEL\n");
    return 2;
  }
  return render(names[0], names[1], names[2], settings);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "amp_host: %s\n", error.what());
    return 1;
  }
}
