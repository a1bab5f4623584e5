// The smallest hot loop: the amplifier of amp_stream.cpp with its sizes known to the compiler, and its weights from a header.
//
//   rekur export-cpp models/amp.safetensors -o models/amp.hpp
//
// Amp needs nothing of the library but headers: a plug-in or a firmware can do with the class alone. This program also streams the
// same signal through the library and compares numbers and times. Compiled for a machine with fused multiply-add the bits are the
// same.
#include <rekur/static.hpp>
#include <rekur/status.hpp>
#include <rekur/stream.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "models/amp.hpp"

namespace {

// y = x + dense(lstm(x)): the graph of the model, written down. Sizes and weights have their layers' names.
class Amp {
 public:
  Amp() noexcept {
    lstm_.set_weights(amp::layer_lstm::kernel, amp::layer_lstm::recurrent_kernel, amp::layer_lstm::bias);
    dense_.set_weights(amp::layer_dense::kernel, amp::layer_dense::bias);
  }

  void process(const float* x, float* y, std::size_t samples) noexcept {
    const rekur::FlushDenormals flush;  // once a block: silence must not slow it down
    for (std::size_t t = 0; t < samples; ++t) y[t] = x[t] + *dense_.step(lstm_.step(&x[t]));
  }
  void reset() noexcept { lstm_.reset(); }

 private:
  rekur::StaticLstm<amp::layer_lstm::features, amp::layer_lstm::units> lstm_;
  rekur::StaticDense<amp::layer_dense::features, amp::layer_dense::units> dense_;
};

// Nanoseconds a sample, of the fastest of a few runs.
template <class F>
double time(std::size_t samples, F run) {
  double best = 1e30;
  for (int k = 0; k < 5; ++k) {
    const auto begin = std::chrono::steady_clock::now();
    run();
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    best = std::fmin(best, taken.count() / static_cast<double>(samples));
  }
  return best;
}

}  // namespace

int main() {
  // Two seconds: a decaying chord, then silence.
  std::vector<float> x(96000), fixed(x.size()), streamed(x.size());
  for (std::size_t t = 0; t < x.size() / 2; ++t) {
    const float seconds = static_cast<float>(t) / 48000;
    x[t] = 0.3F * std::exp(-3 * seconds) * (std::sin(691.0F * seconds) + std::sin(1036.0F * seconds));
  }

  static Amp amp_now;  // as large as its weights: better no local
  const double fixed_time = time(x.size(), [&] {
    amp_now.reset();
    amp_now.process(x.data(), fixed.data(), x.size());
  });

  const rekur::Result<rekur::Model> model = amp::try_model();
  if (!model) return std::fprintf(stderr, "%s\n", model.status().message), 1;
  rekur::Result<rekur::Stream> stream = rekur::try_stream(*model);
  if (!stream) return std::fprintf(stderr, "%s\n", stream.status().message), 1;
  const double stream_time = time(x.size(), [&] {
    stream->reset();
    for (std::size_t t = 0; t < x.size(); ++t) stream->step(&x[t], &streamed[t]);
  });

  float largest = 0;
  for (std::size_t t = 0; t < x.size(); ++t) {
    const float difference = std::fabs(fixed[t] - streamed[t]);
    largest = difference <= largest ? largest : difference;  // NaN counts as a difference
  }
  std::printf("a sample: fixed size %.1f ns, stream %.1f ns; largest difference %g\n", fixed_time, stream_time,
              static_cast<double>(largest));
  return largest <= 1e-5F ? 0 : 1;
}
