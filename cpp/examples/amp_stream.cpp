// A guitar amplifier in an audio callback: an LSTM with a residual connection, one sample a step.
//
//   amp_stream models/amp.safetensors                     plays plucked strings made here
//   amp_stream models/amp.safetensors dry.wav wet.wav     reads and writes 16-bit PCM, any number of channels
//   amp_stream amp.nam dry.wav wet.wav                    … through another program's model (docs/convert.md), where REKUR_IMPORT
//   is on
//
// The channels are the rows of one batch: they share the weights, each has states of its own, and an interleaved frame is just what
// a step takes. At the end the stream is compared with the same model run over the whole signal at once.
#include <rekur/denormals.hpp>
#include <rekur/model.hpp>
#if REKUR_IMPORT
#include <rekur/import.hpp>
#endif
#include <rekur/runtime.hpp>
#include <rekur/stream.hpp>
#if REKUR_IMPORT
#include <rekur/import.hpp>
#endif

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kBlock = 64;  // frames a callback gets: 1.3 ms at 48 kHz

struct Sound {
  std::uint32_t rate = 48000;
  std::size_t channels = 1;
  std::vector<float> samples;  // interleaved, -1 … 1

  std::size_t frames() const { return samples.size() / channels; }
};

// RIFF is little-endian; so is every machine this is likely to run on, but it costs nothing to be right.
std::uint32_t number(const std::vector<unsigned char>& bytes, std::size_t at, int size) {
  if (at + static_cast<std::size_t>(size) > bytes.size()) throw std::runtime_error("the WAV file ends too early");
  std::uint32_t value = 0;
  for (int k = size - 1; k >= 0; --k) value = value << 8 | bytes[at + static_cast<std::size_t>(k)];
  return value;
}

Sound read_wav(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot open ") + path);
  const std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto tag = [&](std::size_t at, const char* text) {
    return at + 4 <= bytes.size() && std::memcmp(&bytes[at], text, 4) == 0;
  };
  if (!tag(0, "RIFF") || !tag(8, "WAVE")) throw std::runtime_error(std::string(path) + " is no WAV file");
  Sound sound;
  sound.channels = 0;
  for (std::size_t at = 12; at + 8 <= bytes.size();) {
    const std::size_t body = at + 8, size = std::min<std::size_t>(number(bytes, at + 4, 4), bytes.size() - body);
    if (tag(at, "fmt ")) {
      if (number(bytes, body + 14, 2) != 16) throw std::runtime_error(std::string(path) + " is not of 16 bits a sample");
      sound.channels = number(bytes, body + 2, 2);
      sound.rate = number(bytes, body + 4, 4);
    } else if (tag(at, "data")) {
      for (std::size_t k = body; k + 2 <= body + size; k += 2) {
        sound.samples.push_back(static_cast<float>(static_cast<std::int16_t>(number(bytes, k, 2))) / 32768.0F);
      }
    }
    at = body + size + size % 2;
  }
  if (sound.channels == 0 || sound.rate == 0) throw std::runtime_error(std::string(path) + " has no format");
  sound.samples.resize(sound.frames() * sound.channels);  // no half frame
  return sound;
}

void write_wav(const char* path, const Sound& sound) {
  std::string bytes;
  const auto put = [&](std::size_t value, int size) {
    for (int k = 0; k < size; ++k) bytes += static_cast<char>(value >> (8 * k) & 0xFF);
  };
  const std::size_t size = 2 * sound.samples.size(), frame = 2 * sound.channels;
  bytes += "RIFF";
  put(36 + size, 4);
  bytes += "WAVEfmt ";
  put(16, 4);
  put(1, 2);  // PCM
  put(sound.channels, 2);
  put(sound.rate, 4);
  put(sound.rate * frame, 4);
  put(frame, 2);
  put(16, 2);
  bytes += "data";
  put(size, 4);
  for (const float sample : sound.samples) {
    put(static_cast<std::size_t>(std::lround(32767 * std::clamp(sample, -1.0F, 1.0F))) & 0xFFFF, 2);
  }
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())))
    throw std::runtime_error(std::string("cannot write ") + path);
}

// Five seconds of a plucked string in stereo (Karplus and Strong, 1983), a new note every half second, then a second of silence.
Sound pluck() {
  Sound sound{48000, 2, std::vector<float>(std::size_t{6} * 48000 * 2)};
  const double notes[] = {82.4, 110.0, 146.8, 196.0, 246.9, 329.6};
  std::uint32_t noise = 1;
  for (std::size_t note = 0; note < 10; ++note) {
    std::vector<float> string(static_cast<std::size_t>(48000 / notes[note % 6]));
    for (float& value : string) {
      noise = noise * 1664525U + 1013904223U;
      value = 0.6F * (static_cast<float>(noise >> 8) / 8388608.0F - 1.0F);
    }
    for (std::size_t t = 0; t < 24000; ++t) {
      float& value = string[t % string.size()];
      sound.samples[2 * (24000 * note + t) + note % 2] += value;
      value = 0.499F * (value + string[(t + 1) % string.size()]);
    }
  }
  return sound;
}

// The largest difference of the stream's output to that of the whole signal run at once; over a second, that will do.
float difference_to_sequence(const rekur::Model& model, const Sound& dry, const Sound& wet) {
  const std::size_t frames = std::min<std::size_t>(dry.frames(), dry.rate), channels = dry.channels;
  std::vector<float> x(frames * channels);
  for (std::size_t i = 0; i < x.size(); ++i) x[(i % channels) * frames + i / channels] = dry.samples[i];
  const auto batch = static_cast<rekur::Index>(channels), steps = static_cast<rekur::Index>(frames);
  rekur::Batch whole;
  whole.inputs.push_back({x.data(), {batch, steps, 1}});
  const std::vector<rekur::Tensor> y = model.predict(whole);
  float largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float difference = std::abs(wet.samples[i] - y[0].data[(i % channels) * frames + i / channels]);
    largest = difference <= largest ? largest : difference;  // NaN counts as a difference
  }
  return largest;
}

rekur::Model read_model(const char* path) {
#if REKUR_IMPORT
  return rekur::foreign::load(path);  // what it is, its contents say
#else
  return rekur::Model::load(path);
#endif
}

int run(const char* path, const char* in, const char* out) {
  const rekur::Model model = read_model(path);
  const Sound dry = in != nullptr ? read_wav(in) : pluck();
  Sound wet = dry;

  // Everything is allocated here; the callback only computes.
  rekur::Stream stream(model, {.batch = static_cast<rekur::Index>(dry.channels)});
  if (stream.inputs().size() != 1 || stream.inputs()[0].shape.back() != 1 || stream.outputs().size() != 1 ||
      stream.outputs()[0].shape.back() != 1) {
    throw std::runtime_error(std::string(path) + ": expected a model of one sample in and one out");
  }
  const auto callback = [&](const float* input, float* output, std::size_t frames) noexcept {
    const rekur::FlushDenormals flush;
    for (std::size_t t = 0; t < frames; ++t) stream.step(input + t * dry.channels, output + t * dry.channels);
  };

  using Clock = std::chrono::steady_clock;
  double total = 0, worst = 0;
  for (std::size_t t = 0; t < dry.frames(); t += kBlock) {
    const std::size_t at = t * dry.channels;
    const Clock::time_point begin = Clock::now();
    callback(&dry.samples[at], &wet.samples[at], std::min(kBlock, dry.frames() - t));
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    total += seconds;
    worst = std::max(worst, seconds);
  }
  if (out != nullptr) write_wav(out, wet);

  const double length = static_cast<double>(dry.frames()) / dry.rate;
  std::printf("%s: %.2f s, %zu channels at %u Hz, on %s\n", path, length, dry.channels, dry.rate, rekur::current_isa().c_str());
  std::printf("%.1f times real time; the slowest block of %zu frames took %.1f %% of its time\n", length / total, kBlock,
              100 * worst * dry.rate / static_cast<double>(kBlock));
  const float difference = difference_to_sequence(model, dry, wet);
  std::printf("largest difference to the whole signal at once: %g\n", static_cast<double>(difference));
  return difference <= 1e-6F ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) return std::fprintf(stderr, "usage: amp_stream MODEL [[IN.wav] OUT.wav]\n"), 2;
  try {
    return run(argv[1], argc == 4 ? argv[2] : nullptr, argc > 2 ? argv[argc - 1] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "amp_stream: %s\n", error.what());
    return 1;
  }
}
