// Prints what the environment made of the instruction set and the number of threads: ctest runs it under several environments.
#include <cstdio>

#include "rekur/runtime.hpp"
#include "rekur/tensor.hpp"

int main() {
  try {
    std::printf("isa %s\n", rekur::current_isa().c_str());
    std::printf("threads %d.\n", rekur::num_threads());
  } catch (const rekur::Error& e) {
    std::printf("error: %s\n", e.what());
  }
}
