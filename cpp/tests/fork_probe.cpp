// Forks of a process whose other threads are in calls of the engine. Ends with 0 if every child could use the models it inherited,
// or was told at once that it cannot.
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "rekur/model.hpp"
#include "rekur/runtime.hpp"
#include "runtime/calls.hpp"
#include "runtime/parallel.hpp"
#include "runtime/spare.hpp"
#if REKUR_TRAINING
#include "rekur/train.hpp"
#endif

namespace {

using namespace rekur;

const std::string kSpec = R"({"format": "rekur", "version": 1, "name": "model", "layers": [
  {"type": "Input", "name": "x", "shape": [null, 8]},
  {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 40, "return_sequences": true},
  {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 3}], "inputs": ["x"], "outputs": ["y"]})";

void fail(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::_Exit(1);
}

// The child does `work` and ends with what it says; longer than a few seconds it may not take.
template <class Work>
int in_child(Work work) {
  const pid_t child = fork();
  if (child < 0) fail("no fork");
  if (child == 0) {
    alarm(8);
    std::_Exit(work());
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) fail("no child to wait for");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

}  // namespace

int main() {
  runtime::allow_any_number_of_threads(true);
  set_num_threads(2);
  std::vector<float> x(16 * 20 * 8, 0.5f);
  Batch batch;
  batch.inputs.push_back({x.data(), {16, 20, 8}});
  Model model(kSpec);
#if REKUR_TRAINING
  model.initialize(1);
  Trainer trainer(model, R"({"optimizer": {"name": "adam"}, "losses": [{"name": "mean_squared_error"}]})");
  const std::vector<float> y(16 * 20 * 3, 1.0f);
  Targets targets;
  targets.targets.push_back({y.data(), {16, 20, 3}});
#endif

  std::atomic<bool> stop{false};
  std::vector<std::thread> others;
  others.emplace_back([&] {
    while (!stop) model.predict(batch);
  });
#if REKUR_TRAINING
  others.emplace_back([&] {
    while (!stop) trainer.step(batch, targets);
  });
#endif
  Model changing(kSpec);
  others.emplace_back([&] {
    while (!stop) changing.set_weights(std::vector<float>(changing.weights().begin(), changing.weights().end()));
  });
  for (int i = 0; i < 60; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(37 * (i % 23)));
    const int result = in_child([&] {
      const std::vector<Tensor> first = model.predict(batch), second = model.predict(batch);
      if (first[0].data != second[0].data) return 2;
      changing.set_weights(std::vector<float>(changing.weights().size()));
#if REKUR_TRAINING
      trainer.step(batch, targets);
      if (trainer.iterations() == 0) return 3;
      trainer.set_learning_rate(0.5);
#endif
      // Threads of its own do work, too.
      std::atomic<int> done{0};
      runtime::parallel_tasks(8, 1e9, [&](Index) { ++done; });
      return done == 8 ? 0 : 4;
    });
    if (result != 0) {
      std::fprintf(stderr, "child %d: %d\n", i, result);
      return 1;
    }
  }
  stop = true;
  for (std::thread& other : others) other.join();

  // A call that does not end: the fork does not wait for ever, and the child is told.
  std::atomic<bool> in{false}, out{false};
  std::thread stuck([&] {
    const runtime::Call call;
    in = true;
    while (!out) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  while (!in) std::this_thread::yield();
  const int result = in_child([&] {
    try {
      model.predict(batch);
    } catch (const Error& error) {
      return std::string(error.what()).find("forked while another thread was in a call of rekur") != std::string::npos ? 0 : 2;
    }
    return 3;
  });
  out = true;
  stuck.join();
  if (result != 0) fail("a child of a process in a call that does not end is not told");
  model.predict(batch);  // the parent goes on
  return 0;
}
