// The promise of a stream's calls as RealtimeSanitizer sees it (clang >= 20, -fsanitize=realtime), and -Wfunction-effects: a
// program of its own, against a library that any compiler has built. `realtime_sanitizer MODEL…` runs them; with "blocks" alone it
// breaks the promise, so that one can see that it would be noticed.
#include <rekur/stream.hpp>

#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>
#include <vector>

namespace {

struct Buffers {
  std::vector<float> x, y, state;
};

bool all_calls(rekur::Stream& stream, Buffers& buffers, rekur::Index count) noexcept [[clang::nonblocking]] {
  const float* const x = buffers.x.data();
  float* const y = buffers.y.data();
  const void* const inputs[] = {x};
  float* const outputs[] = {y};
  bool good = stream.step(x, y) && stream.process(x, y, count) && stream.step(inputs, outputs);
  good = good && stream.process(inputs, outputs, count) && stream.get_state(buffers.state) && stream.set_state(buffers.state);
  stream.reset();
  return good && stream.reset(stream.rows() - 1) && stream.process(x, y, 1) && !stream.states().empty() &&
         !stream.inputs().empty() && !stream.outputs().empty() && stream.state_size() > 0;
}

void* volatile block = nullptr;
// What -Wfunction-effects cannot see through.
void (*volatile allocate)() = [] { block = std::malloc(10); };

void blocks() noexcept [[clang::nonblocking]] {
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wfunction-effects"
  allocate();
#pragma clang diagnostic pop
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "blocks") return blocks(), 0;
  constexpr rekur::Index kMost = 64;
  for (int k = 1; k < argc; ++k) {
    const rekur::Model model = rekur::Model::load(argv[k]);
    for (const rekur::Index rows : {1, 3}) {
      rekur::Stream stream(model, {.batch = rows});
      const auto floats = [](const rekur::TensorInfo& info) {
        return std::vector<float>(static_cast<std::size_t>(kMost * rekur::element_count(info.shape)), 0.1f);
      };
      Buffers buffers{floats(stream.inputs()[0]), floats(stream.outputs()[0]), std::vector<float>(stream.state_size())};
      for (const rekur::Index count : {1, 7, 64})
        if (!all_calls(stream, buffers, count)) return std::printf("%s: a call failed\n", argv[k]), 1;
    }
  }
  std::printf("%d models kept the promise\n", argc - 1);
}
