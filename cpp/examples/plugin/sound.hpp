// Sound as the host plays it, an array a channel.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "hosts.hpp"

namespace host {

using Channels = std::vector<std::vector<float>>;

Channels apart(const std::vector<float>& interleaved, int channels);

// A string that is plucked twice a second (Karplus and Strong, 1983).
std::vector<float> pluck(double rate, double seconds, double frequency);

// Runs the whole through the plug-in, `block(t)` frames at once; `before(t)` may do something in between.
template <class Block, class Before>
Channels play(Plugin& plugin, const Channels& x, const Block& block, const Before& before) {
  Channels y(x.size(), std::vector<float>(x[0].size()));
  for (std::size_t t = 0; t < x[0].size();) {
    before(t);
    const std::size_t frames = std::min(static_cast<std::size_t>(block(t)), x[0].size() - t);
    std::vector<const float*> in;
    std::vector<float*> out;
    for (std::size_t c = 0; c < x.size(); ++c) in.push_back(x[c].data() + t), out.push_back(y[c].data() + t);
    plugin.process(in.data(), out.data(), static_cast<int>(frames));
    plugin.attend();
    t += frames;
  }
  return y;
}
inline Channels play(Plugin& plugin, const Channels& x, std::size_t block = 64) {
  return play(plugin, x, [=](std::size_t) { return block; }, [](std::size_t) {});
}

}  // namespace host
