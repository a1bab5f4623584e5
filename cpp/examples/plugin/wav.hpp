// WAV files of 16 or 24 bits or 32-bit floats, read and written by a program for its own tests: all of a file at once.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace wav {

struct Sound {
  std::uint32_t rate = 48000;
  int channels = 1;
  int bits = 16;               // 32: floats
  std::vector<float> samples;  // interleaved, -1 … 1

  int frames() const { return static_cast<int>(samples.size()) / channels; }
};

inline std::uint32_t number(const std::vector<unsigned char>& bytes, std::size_t at, int size) {
  if (at + static_cast<std::size_t>(size) > bytes.size()) throw std::runtime_error("the WAV file ends too early");
  std::uint32_t value = 0;
  for (int k = size - 1; k >= 0; --k) value = value << 8 | bytes[at + static_cast<std::size_t>(k)];
  return value;
}

inline Sound read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + path);
  const std::vector<unsigned char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto tag = [&](std::size_t at, const char* text) {
    return at + 4 <= bytes.size() && std::memcmp(&bytes[at], text, 4) == 0;
  };
  if (!tag(0, "RIFF") || !tag(8, "WAVE")) throw std::runtime_error(path + " is no WAV file");
  Sound sound;
  std::uint32_t form = 0;
  for (std::size_t at = 12; at + 8 <= bytes.size();) {
    const std::size_t body = at + 8, size = std::min<std::size_t>(number(bytes, at + 4, 4), bytes.size() - body);
    if (tag(at, "fmt ")) {
      form = number(bytes, body, 2);
      if (form == 0xFFFE) form = number(bytes, body + 24, 2);  // the extensible form says it further on
      sound.channels = static_cast<int>(number(bytes, body + 2, 2));
      sound.rate = number(bytes, body + 4, 4);
      sound.bits = static_cast<int>(number(bytes, body + 14, 2));
      if (!(form == 1 && (sound.bits == 16 || sound.bits == 24)) && !(form == 3 && sound.bits == 32))
        throw std::runtime_error(path + ": expected 16 or 24 bits or 32-bit floats");
      if (sound.channels < 1 || sound.rate < 1) throw std::runtime_error(path + " has no format");
    } else if (tag(at, "data")) {
      if (form == 0) throw std::runtime_error(path + " has no format");
      const int width = sound.bits / 8;
      for (std::size_t k = body; k + static_cast<std::size_t>(width) <= body + size; k += static_cast<std::size_t>(width)) {
        const std::uint32_t raw = number(bytes, k, width) << (32 - sound.bits);
        sound.samples.push_back(form == 3 ? std::bit_cast<float>(raw)
                                          : static_cast<float>(static_cast<std::int32_t>(raw)) / 2147483648.0F);
      }
    }
    at = body + size + size % 2;
  }
  if (form == 0) throw std::runtime_error(path + " has no format");
  sound.samples.resize(static_cast<std::size_t>(sound.frames() * sound.channels));  // no half frame
  return sound;
}

inline void write(const std::string& path, const Sound& sound) {
  std::string bytes;
  const auto put = [&](std::size_t value, int size) {
    for (int k = 0; k < size; ++k) bytes += static_cast<char>(value >> (8 * k) & 0xFF);
  };
  const auto width = static_cast<std::size_t>(sound.bits / 8), frame = width * static_cast<std::size_t>(sound.channels);
  const std::size_t size = width * sound.samples.size();
  bytes += "RIFF";
  put(36 + size + size % 2, 4);
  bytes += "WAVEfmt ";
  put(16, 4);
  put(sound.bits == 32 ? 3 : 1, 2);
  put(static_cast<std::size_t>(sound.channels), 2);
  put(sound.rate, 4);
  put(sound.rate * frame, 4);
  put(frame, 2);
  put(static_cast<std::size_t>(sound.bits), 2);
  bytes += "data";
  put(size, 4);
  const double most = std::ldexp(1.0, sound.bits - 1) - 1;
  for (const float sample : sound.samples) {
    if (sound.bits == 32)
      put(std::bit_cast<std::uint32_t>(sample), 4);
    else
      put(static_cast<std::size_t>(std::lrint(most * std::clamp(static_cast<double>(sample), -1.0, 1.0))), sound.bits / 8);
  }
  if (size % 2 != 0) bytes += '\0';
  std::ofstream file(path, std::ios::binary);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()))) throw std::runtime_error("cannot write " + path);
}

}  // namespace wav
