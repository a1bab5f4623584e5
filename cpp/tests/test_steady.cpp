// Steady state: once a call of its size has been made, the recurrent engine takes no memory.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "recurrent/recurrence.hpp"
#include "rekur/runtime.hpp"
#include "runtime/scratch.hpp"

// The sanitizers have an operator new of their own, which tells them more.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define REKUR_COUNT_NEW

namespace {
std::atomic<long> news{0};
}

void* operator new(std::size_t size) {
  ++news;
  if (void* p = std::malloc(size ? size : 1)) return p;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
#endif

using namespace rekur;

TEST_CASE("steady state: passes of a size seen before take no memory") {
#ifdef REKUR_COUNT_NEW
  const int before = num_threads();
  const cells::Activations standard{{ActivationKind::sigmoid}, {ActivationKind::tanh}, {ActivationKind::tanh}};
  constexpr Index T = 60, I = 9, H = 70;
  for (const std::string cell : {"simple_rnn", "lstm", "gru", "gru_reset_before", "lstm_peephole_coupled"}) {
    for (const Index B : {1, 3, 16}) {
      const auto& info = *recurrent::find_cell(cell.c_str());
      const recurrent::Recurrence layer(info, standard, I, H, true);
      const Index GH = info.gates * H;
      const auto zeros = [](Index n) { return std::vector<float>(static_cast<std::size_t>(n), 0.01f); };
      const auto x = zeros(B * T * I), w = zeros(I * GH), r = zeros(H * GH), bias = zeros(2 * GH),
                 peephole = zeros(info.peepholes * H), dy = zeros(B * T * H);
      auto y = zeros(B * T * H), dx = x, dw = w, dr = r, dbias = bias, dpeephole = peephole;
      std::vector<std::int32_t> lengths(static_cast<std::size_t>(B), T);
      lengths[0] = T / 2;
      const recurrent::Weights<const float> weights{w.data(), r.data(), bias.data(), peephole.data()};
      layer.prepare(weights, 1);
      const Buffer tape(layer.tape_size(T, B, false));
      recurrent::Forward infer;
      infer.layer = &layer, infer.T = T, infer.B = B, infer.lengths = lengths.data();
      infer.x = {x.data(), T * I, I};
      infer.y = {y.data(), T * H, H};
      recurrent::Backward back;
      back.forward = infer;
      back.forward.tape = tape.data();
      back.weights = weights;
      back.dy = {dy.data(), T * H, H};
      back.dx = {dx.data(), T * I, I};
      back.d_weights = {dw.data(), dr.data(), dbias.data(), info.peepholes > 0 ? dpeephole.data() : nullptr};
      const auto pass = [&] {
        recurrent::forward({&infer, 1});
        recurrent::forward({&back.forward, 1});
        recurrent::backward({&back, 1});
      };
      for (const int threads : {1, 2}) {
        INFO(cell << ", B " << B << ", " << threads << " threads");
        set_num_threads(threads);
        for (int i = 0; i < 3; ++i) pass();
        const long so_far = news;
        pass();
        CHECK(news == so_far);
      }
    }
  }
  set_num_threads(before);
#endif
}

TEST_CASE("scratch memory: pieces are apart, aligned, and after a release there is room for as much in one block") {
  Scratch scratch;
  const float* first = nullptr;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::span<float>> pieces;
    for (const Index n : {0, 1, 17, 5000, 3, 100000}) {
      pieces.push_back(scratch.take<float>(n));
      CHECK(pieces.back().size() == static_cast<std::size_t>(n));
      CHECK(reinterpret_cast<std::uintptr_t>(pieces.back().data()) % 64 == 0);
      std::fill(pieces.back().begin(), pieces.back().end(), static_cast<float>(n));
    }
    for (const auto& piece : pieces)
      for (const float f : piece) REQUIRE(f == static_cast<float>(piece.size()));
    if (round == 1) first = pieces[1].data();
    if (round == 2) CHECK(pieces[1].data() == first);
    scratch.release();
  }
  CHECK_THROWS_AS(scratch.take<double>(std::numeric_limits<Index>::max()), std::bad_alloc);
}
