// What docs/embedding.md says of stacks ("Stack"): every call below runs in a thread of 64 KB whose stack was painted before, and
// what it used is counted. Prints the most of each kind and instruction set; exits with 1 where it is more than is promised, or
// where the numbers are not those of another stack or number of threads.
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cell_programs.hpp"
#include "rekur/runtime.hpp"
#include "rekur/stream.hpp"
#if REKUR_TRAINING
#include "rekur/train.hpp"
#endif

namespace {

using namespace rekur;

// 64 KB, or the least that the system gives a thread (on aarch64 glibc's is 128 KB); what is used is counted, either way.
const std::size_t kStack = std::max<std::size_t>(64 * 1024, static_cast<std::size_t>(sysconf(_SC_THREAD_STACK_MIN)));
constexpr unsigned char kPaint = 0xA5;
#if defined(REKUR_TEST_SANITIZED)
constexpr std::size_t kPromised = 2 * 1024;  // bytes of a KB that is promised: checks of undefined behaviour need some
#else
constexpr std::size_t kPromised = 1024;
#endif

int failures = 0;

void expect(bool condition, const std::string& what) {
  if (condition) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

// --- a thread on a painted stack ---

// A stack with a page in front of it that nobody may touch.
class Painted {
 public:
  Painted() : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
    memory_ = mmap(nullptr, page_ + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED || mprotect(memory_, page_, PROT_NONE) != 0) throw Error("no memory for a stack");
  }
  ~Painted() { munmap(memory_, page_ + kStack); }
  Painted(const Painted&) = delete;
  Painted& operator=(const Painted&) = delete;

  // Bytes that a thread which runs `work` has used, its own bookkeeping included.
  std::size_t use_of(const std::function<void()>& work) {
    unsigned char* const low = static_cast<unsigned char*>(memory_) + page_;
    std::memset(low, kPaint, kStack);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread;
    void* argument = const_cast<std::function<void()>*>(&work);
    if (pthread_attr_setstack(&attributes, low, kStack) != 0 || pthread_create(&thread, &attributes, run, argument) != 0)
      throw Error("no thread of " + std::to_string(kStack) + " bytes");
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    return static_cast<std::size_t>(low + kStack - std::find_if(low, low + kStack, [](unsigned char c) { return c != kPaint; }));
  }

 private:
  static void* run(void* argument) {
    try {
      (*static_cast<std::function<void()>*>(argument))();
    } catch (const std::exception& error) {
      expect(false, error.what());
    }
    return nullptr;
  }

  std::size_t page_;
  void* memory_;
};

// The most that calls of a kind have used, beyond what a thread that does nothing does.
class Counts {
 public:
  Counts() : nothing_(stack_.use_of([] {})) {}

  void add(const std::string& kind, const std::string& of, const std::function<void()>& work) {
    const std::size_t used = stack_.use_of(work) - nothing_;
    Most& most = most_[kind];
    if (used >= most.bytes) most = {used, of};
  }

  void check(const std::string& kind, std::size_t promised) {
    const Most& most = most_[kind];
    std::printf("%-10s %-8s %6zu bytes of stack, at most %6zu: %s\n", current_isa().c_str(), kind.c_str(), most.bytes, promised,
                most.of.c_str());
    expect(most.bytes <= promised, kind + " on " + current_isa() + " uses more stack than is promised");
  }

 private:
  struct Most {
    std::size_t bytes = 0;
    std::string of;
  };
  Painted stack_;
  std::size_t nothing_;
  std::map<std::string, Most> most_;
};

// --- the calls ---

struct Case {
  std::string name, spec;
  bool streams = true;
};

std::string model_of(const std::string& input, const std::string& layers) {
  return R"({"format": "rekur", "version": 1, "name": "m", "layers": [{"type": "Input", "name": "x", )" + input + "}, " + layers +
         R"(], "inputs": ["x"], "outputs": ["y"]})";
}

// Layers between a product before and one after: so that all their gradients are wanted.
Case between(const std::string& layer, bool streams = true) {
  return {layer,
          model_of(R"("shape": [null, 6])",
                   R"({"type": "Dense", "name": "before", "inputs": ["x"], "units": 40}, {"name": "l", "inputs": ["before"], )" +
                       layer + R"(}, {"type": "Dense", "name": "y", "inputs": ["l"], "units": 70})"),
          streams};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string size : {"21", "130"})
    for (const std::string cell :
         {R"("type": "SimpleRNN")", R"("type": "SimpleRNN", "activation": "elu")", R"("type": "LSTM")",
          R"("type": "LSTM", "peepholes": true, "activation": "softsign")", R"("type": "LSTM", "coupled_gates": true)",
          R"("type": "LSTM", "peepholes": true, "coupled_gates": true)", R"("type": "LSTM", "clip": 1)", R"("type": "GRU")",
          R"("type": "GRU", "reset_after": false)"}) {
      const std::string layer = cell + R"(, "return_sequences": true, "units": )" + size;
      all.push_back(between(layer));
      all.push_back(between(R"("type": "Bidirectional", "merge_mode": "mul", "layer": {)" + layer + "}", false));
    }
  all.push_back(between(R"("type": "RNN", "return_sequences": true, "units": 21, "cell": )" + test::kLstmProgram));
  all.push_back(between(R"("type": "Bidirectional", "layer": {"type": "RNN", "return_sequences": true, "units": 130, "cell": )" +
                            test::kManyProgram + "}",
                        false));
  for (const std::string layer :
       {R"("type": "Dense", "units": 600, "activation": "softmax")", R"("type": "Activation", "activation": "softplus")",
        R"("type": "Dropout", "rate": 0.5)", R"("type": "LayerNormalization")", R"("type": "Affine")",
        R"("type": "BatchNormalization")", R"("type": "PReLU", "shared_axes": [1])", R"("type": "Rescaling", "scale": 2)",
        R"("type": "Step", "index": -1)", R"("type": "Slice", "start": 2)"})
    all.push_back(between(layer));
  for (const std::string join : {"Concatenate", "Add", "Multiply", "Subtract", "Divide"})
    all.push_back({join, model_of(R"("shape": [null, 6])", R"({"type": "Dense", "name": "a", "inputs": ["x"], "units": 9},
        {"type": "Dense", "name": "b", "inputs": ["x"], "units": 9}, {"type": ")" +
                                                               join + R"(", "name": "y", "inputs": ["a", "b"]})")});
  all.push_back({"Embedding", model_of(R"("shape": [null], "dtype": "int32")", R"({"type": "Embedding", "name": "e",
      "inputs": ["x"], "input_dim": 3, "output_dim": 40}, {"type": "GRU", "name": "y", "inputs": ["e"], "units": 7})")});
  std::string stack;
  for (int i = 0; i < 9; ++i)
    stack += R"({"type": "LSTM", "return_sequences": true, "units": 33, "name": "l)" + std::to_string(i) + R"(", "inputs": [")" +
             (i > 0 ? "l" + std::to_string(i - 1) : "x") + R"("]}, )";
  all.push_back({"nine LSTM layers", model_of(R"("shape": [null, 6])", stack + R"({"type": "Dense", "name": "y", "inputs": ["l8"],
      "units": 3})")});
  return all;
}

// A batch of B rows of T steps, and everything that is done with it.
class Run {
 public:
  Run(const Case& c, Index B, Index T) : model_(c.spec) {
    std::vector<float> weights(model_.weights().size());
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.1f * std::sin(static_cast<float>(i));
    model_.set_weights(weights);
    const TensorInfo input = model_.inputs()[0];
    ids_.resize(static_cast<std::size_t>(B * T), 1);
    if (input.dtype == DType::float32) {
      x_.resize(static_cast<std::size_t>(B * T * input.shape[2]));
      for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = std::sin(static_cast<float>(i) * 0.7f);
      batch_.inputs.push_back({x_.data(), {B, T, input.shape[2]}, DType::float32});
    } else {
      batch_.inputs.push_back({ids_.data(), {B, T}, DType::int32});
    }
    lengths_.resize(static_cast<std::size_t>(B), static_cast<std::int32_t>(T));
    lengths_[0] = static_cast<std::int32_t>(T / 2);
    batch_.lengths.emplace_back(lengths_);
    target_shape_ = model_.output_shapes({batch_.inputs[0].shape})[0];
    target_.resize(static_cast<std::size_t>(element_count(target_shape_)), 0.5f);
  }

  void step() const {
    Stream stream(model_);
    std::vector<float> x(static_cast<std::size_t>(element_count(stream.inputs()[0].shape)), 0.0f);
    std::vector<float> y(static_cast<std::size_t>(element_count(stream.outputs()[0].shape)));
    const void* const in[] = {x.data()};
    float* const out[] = {y.data()};
    stream.step(in, out);
  }

  std::vector<float> predict() const { return model_.predict(batch_)[0].data; }

#if REKUR_TRAINING
  std::vector<float> train() {
    Trainer trainer(model_, R"({"optimizer": {"name": "adam"}, "losses": [{"name": "mean_squared_error"}]})");
    for (int i = 0; i < 2; ++i) trainer.step(batch_, {{{target_.data(), target_shape_, DType::float32}}, {{}}});
    return {model_.weights().begin(), model_.weights().end()};
  }
#endif

 private:
  Model model_;
  std::vector<float> x_, target_;
  std::vector<std::int32_t> ids_, lengths_;
  Batch batch_;
  Shape target_shape_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// On this thread's large stack and one thread, then on small ones: the same bits.
template <class Call>
void compare(Counts& counts, const std::string& kind, const Case& c, Index B, Index T, const Call& call) {
  set_num_threads(1);
  Run here(c, B, T);
  const std::vector<float> expected = call(here);
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    Run there(c, B, T);
    std::vector<float> got;
    counts.add(kind, c.name, [&] { got = call(there); });
    expect(same_bits(got, expected),
           kind + " of other numbers on a small stack, " + std::to_string(threads) + " threads: " + c.name);
  }
}

// As deep as a document may be nested.
std::string nested() { return std::string(70, '[') + std::string(70, ']'); }

void run_isa(const std::vector<Case>& all) {
  Counts counts;
  for (const Case& c : all) {
    set_num_threads(1);
    counts.add("load", c.name, [&] { Model model(c.spec); });
    Run run(c, 1, 1);
    if (c.streams) counts.add("step", c.name, [&] { run.step(); });
    for (const auto& [B, T] : {std::pair<Index, Index>{3, 7}, {16, 16}}) {
      compare(counts, "predict", c, B, T, [](Run& r) { return r.predict(); });
#if REKUR_TRAINING
      compare(counts, "train", c, B, T, [](Run& r) { return r.train(); });
#endif
    }
  }
  counts.add("load", "a document nested too deep", [] {
    try {
      Model model(nested());
      expect(false, "a document nested 70 deep was read");
    } catch (const Error&) {
    }
  });
  counts.check("load", 32 * kPromised);
  counts.check("step", 8 * kPromised);
  counts.check("predict", 12 * kPromised);
#if REKUR_TRAINING
  counts.check("train", 16 * kPromised);
#endif
}

}  // namespace

int main() {
  try {
    const std::vector<Case> all = cases();
    for (const std::string& isa : available_isas()) {
      set_isa(isa);
      run_isa(all);
    }
  } catch (const std::exception& error) {
    expect(false, error.what());
  }
  std::printf(failures == 0 ? "all as promised\n" : "%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
