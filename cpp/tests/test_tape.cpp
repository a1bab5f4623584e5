// How much a training run keeps, by counting: long sequences are trained in what this leaves of the memory.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "each_isa.hpp"
#include "recurrent/recurrent.hpp"

using namespace rekur;

namespace {

// Floats for each (time step, row) in units of H: the tape and the outputs h, which are the caller's array y or the tape's own.
struct Promise {
  std::string cell;
  Index most;
};
const std::vector<Promise> kPromises = {
    {"lstm", 6},          {"gru", 5},          {"simple_rnn", 2},           {"gru_reset_before", 5},
    {"lstm_peephole", 6}, {"lstm_coupled", 5}, {"lstm_peephole_coupled", 5}};

recurrent::Recurrence recurrence(const std::string& cell, Index H) {
  const cells::Activations standard{{ActivationKind::sigmoid}, {ActivationKind::tanh}, {ActivationKind::tanh}};
  return {*recurrent::find_cell(cell.c_str()), standard, 3, H, true};
}

}  // namespace

TEST_CASE("tape: what a training step keeps of each time step and row") {
  test::each_isa([](const auto& kernels) {
    CHECK(16 % kernels.width == 0);  // so an H below that is a multiple of 16 is not padded
    for (const Promise& promise : kPromises) {
      for (const Index H : {16, 64, 128, 512}) {
        INFO("cell " << promise.cell << ", H " << H);
        const recurrent::Recurrence layer = recurrence(promise.cell, H);
        for (const Index steps : {100, 10000}) {
          for (const Index B : {1, 20}) {
            // "Small" is what a run keeps once, whatever its length: at most this for each row.
            const Index small = 8 * H;
            const Index with_y = layer.tape_size(steps, B, false) + steps * B * H;
            CHECK(with_y <= (promise.most * steps * H + small) * B);
            CHECK(layer.tape_size(steps, B, true) <= (promise.most * steps * H + small) * B);
          }
        }
      }
    }
  });
}

#if REKUR_BF16
TEST_CASE("tape: records of bf16 take half the memory, outputs and all else as much") {
  test::each_isa([](const auto&) {
    for (const Promise& promise : kPromises) {
      for (const Index H : {1, 17, 64}) {
        INFO("cell " << promise.cell << ", H " << H);
        recurrent::Recurrence layer = recurrence(promise.cell, H);
        const Index records = layer.tape_size(100, 5, false), outputs = layer.tape_size(100, 5, true) - records;
        layer.set_precision(Precision::bf16);
        CHECK(2 * layer.tape_size(100, 5, false) == records);
        CHECK(layer.tape_size(100, 5, true) - layer.tape_size(100, 5, false) == outputs);
        layer.set_precision(Precision::float32);
        CHECK(layer.tape_size(100, 5, false) == records);
      }
    }
  });
}
#endif

TEST_CASE("tape: what a row keeps does not depend on the rows beside it, nor on the number of threads") {
  const int threads = num_threads();
  for (const Promise& promise : kPromises) {
    const recurrent::Recurrence layer = recurrence(promise.cell, 64);
    const Index one = layer.tape_size(1000, 1, true);
    for (const int n : {1, 2, 7}) {
      set_num_threads(n);
      CHECK(layer.tape_size(1000, 1, true) == one);
      CHECK(layer.tape_size(1000, 50, true) <= 50 * one);
    }
  }
  set_num_threads(threads);
}
