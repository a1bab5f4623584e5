// Prints what the environment made of the instruction set and the number of threads: ctest runs it under several environments.
//   rekur_environment_probe [MODEL]     loads the model first
#include <cstdio>

#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "rekur/tensor.hpp"

int main(int argc, char** argv) {
  try {
    if (argc > 1) rekur::Model::load(argv[1]);
    std::printf("isa %s\n", rekur::current_isa().c_str());
    std::printf("threads %d.\n", rekur::num_threads());
  } catch (const rekur::IoError& e) {
    std::printf("the file: %s\n", e.what());
  } catch (const rekur::Error& e) {
    std::printf("error: %s\n", e.what());
  }
}
