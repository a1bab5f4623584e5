#include "sound.hpp"

#include <cstdint>

namespace host {

Channels apart(const std::vector<float>& interleaved, int channels) {
  Channels all(static_cast<std::size_t>(channels));
  for (std::size_t i = 0; i < interleaved.size(); ++i) all[i % all.size()].push_back(interleaved[i]);
  return all;
}

std::vector<float> pluck(double rate, double seconds, double frequency) {
  std::vector<float> sound(static_cast<std::size_t>(rate * seconds)), string(static_cast<std::size_t>(rate / frequency));
  std::uint32_t noise = 1;
  for (std::size_t t = 0; t < sound.size(); ++t) {
    if (t % static_cast<std::size_t>(rate / 2) == 0)
      for (float& value : string) {
        noise = noise * 1664525U + 1013904223U;
        value = 0.6F * (static_cast<float>(noise >> 8) / 8388608.0F - 1.0F);
      }
    float& value = string[t % string.size()];
    sound[t] = value;
    value = 0.499F * (value + string[(t + 1) % string.size()]);
  }
  return sound;
}

}  // namespace host
