// A model written out and nothing else: what it takes of flash and memory is the size of this object (.ci/targets).
#include "../../examples/models/amp_static.hpp"

static amp_static::Model amp;

extern "C" void amp_step(const float* x, float* y) noexcept { amp.step(x, y); }
extern "C" void amp_reset() noexcept { amp.reset(); }
