#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "runtime/spare.hpp"

int main(int argc, char** argv) {
  // The tests ask for more threads than the machine has cores, so that work is cut as on other machines.
  rekur::runtime::allow_any_number_of_threads(true);
  return doctest::Context(argc, argv).run();
}
