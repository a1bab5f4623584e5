// What rekur/stream.hpp promises of step, reset, get_state and set_state: nothing allocated, no lock, no page fault, no system
// call, no slower in silence; and what rekur/operators.hpp does: that models and streams with memory of their own are made of that
// memory alone. A program of its own, because it stands in for malloc and the locks of the whole process. Prints what
// it saw; exits with 1 where a promise is broken.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "cell_programs.hpp"
#include "rekur/decode.hpp"
#include "rekur/operators.hpp"
#include "rekur/runtime.hpp"
#include "rekur/stream.hpp"

#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REKUR_TEST_SANITIZED
#endif

namespace {

std::atomic<bool> watching{false};
std::atomic<long> allocations{0}, locks{0};

void saw(std::atomic<long>& what) {
  if (watching.load(std::memory_order_relaxed)) ++what;
}

}  // namespace

// --- standing in for the allocator and the locks ---

#if defined(REKUR_TEST_SANITIZED)
// The sanitizers have an allocator of their own, and ways to be told of its calls.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t), void (*)(const volatile void*));

namespace {
void watch_allocator() {
  __sanitizer_install_malloc_and_free_hooks([](const volatile void*, size_t) { saw(allocations); },
                                            [](const volatile void*) { saw(allocations); });
}
}  // namespace
#elif defined(__GLIBC__)
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#define REKUR_TEST_LOCKS

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

// operator new ends in these as well.
void* malloc(size_t size) { return saw(allocations), __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return saw(allocations), __libc_calloc(count, size); }
void* realloc(void* p, size_t size) { return saw(allocations), __libc_realloc(p, size); }
void* memalign(size_t alignment, size_t size) { return saw(allocations), __libc_memalign(alignment, size); }
void* aligned_alloc(size_t alignment, size_t size) { return saw(allocations), __libc_memalign(alignment, size); }
int posix_memalign(void** p, size_t alignment, size_t size) {
  saw(allocations);
  *p = __libc_memalign(alignment, size);
  return *p ? 0 : 12;
}
void free(void* p) { saw(allocations), __libc_free(p); }

#define REKUR_STAND_IN(name, parameters, arguments)                                        \
  int name parameters noexcept(noexcept(::name arguments)) {                               \
    static const auto real = reinterpret_cast<int(*) parameters>(dlsym(RTLD_NEXT, #name)); \
    saw(locks);                                                                            \
    return real arguments;                                                                 \
  }
REKUR_STAND_IN(pthread_mutex_lock, (pthread_mutex_t * m), (m))
REKUR_STAND_IN(pthread_mutex_trylock, (pthread_mutex_t * m), (m))
REKUR_STAND_IN(pthread_rwlock_rdlock, (pthread_rwlock_t * m), (m))
REKUR_STAND_IN(pthread_rwlock_wrlock, (pthread_rwlock_t * m), (m))
REKUR_STAND_IN(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t* m), (c, m))
REKUR_STAND_IN(pthread_cond_signal, (pthread_cond_t * c), (c))
REKUR_STAND_IN(pthread_cond_broadcast, (pthread_cond_t * c), (c))
}

namespace {
void watch_allocator() {}
}  // namespace
#else
#define REKUR_TEST_UNWATCHED
namespace {
void watch_allocator() {}
}  // namespace
#endif

namespace {

using namespace rekur;

#if defined(REKUR_TEST_SANITIZED) || defined(REKUR_TEST_EMULATED)
constexpr bool kAlone = false;  // there are others' page faults and waits, and another's time
#else
constexpr bool kAlone = true;
#endif
constexpr int kSteps = kAlone ? 3000 : 600;

int failures = 0;

void expect(bool kept, const std::string& promise) {
  if (kept) return;
  ++failures;
  std::printf("BROKEN: %s\n", promise.c_str());
}

// --- what is tried ---

std::string model_of(const std::string& layers, const std::string& inputs, const std::string& outputs) {
  return R"({"format": "rekur", "version": 1, "name": "m", "layers": [)" + layers + R"(], "inputs": [)" + inputs +
         R"(], "outputs": [)" + outputs + "]}";
}

std::string after_x(const std::string& layer) {
  return model_of(R"({"type": "Input", "name": "x", "shape": [null, 6]}, {"name": "y", "inputs": ["x"], )" + layer + "}", R"("x")",
                  R"("y")");
}

struct Case {
  std::string name, spec;
  WeightType weights = WeightType::float32;
  double sample_rate = 0;  // of the stream
};

// Every layer there is, each cell by itself.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string size : {"8", "21", "70"})
    for (const std::string cell : {R"("type": "SimpleRNN")", R"("type": "SimpleRNN", "activation": "relu")", R"("type": "LSTM")",
                                   R"("type": "LSTM", "peepholes": true)", R"("type": "LSTM", "coupled_gates": true)",
                                   R"("type": "LSTM", "clip": 1)", R"("type": "GRU")", R"("type": "GRU", "reset_after": false)"})
      all.push_back({cell + " " + size, after_x(cell + R"(, "units": )" + size)});
  for (const std::string option :
       {R"("projection_size": 6, "residual": true)", R"("projection_size": 33, "learn_initial_state": true)",
        R"("layer_normalization": "both", "zoneout": 0.1)"})
    all.push_back({option, after_x(R"("type": "LSTM", "units": 40, )" + option)});
  for (const std::string size : {"8", "33"})
    for (const std::string& cell : {test::kLstmProgram, test::kGruProgram, test::kManyProgram})
      all.push_back({"a program of " + size + " units", after_x(R"("type": "RNN", "cell": )" + cell + R"(, "units": )" + size)});
  for (
      const std::string layer :
      {R"("type": "Dense", "units": 33, "activation": "softmax")",
       R"("type": "Activation", "activation": "softplus")",
       R"("type": "Dropout", "rate": 0.5)",
       R"("type": "LayerNormalization")",
       R"("type": "Affine")",
       R"("type": "BatchNormalization")",
       R"("type": "PReLU", "shared_axes": [1])",
       R"("type": "Parameter", "shape": [3], "beside": true)",
       R"("type": "Lambda", "equations": {"inputs": ["x"], "nodes": [["sin", 0], ["max", 1], ["log1p", 2], ["multiply", 3, 0]],
        "outputs": [4]})",
       R"("type": "GatedLinearAttention", "num_heads": 2, "key_dim": 5, "mode": "gated_delta")",
       R"("type": "GatedLinearAttention", "num_heads": 1, "key_dim": 16, "return_sequences": true)",
       R"("type": "Dense", "units": 33, "activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["sin", 0], ["max", 1],
        ["multiply", 2, 0]], "outputs": [3]}})",
       R"("type": "Activation", "activation": {"name": "own", "equations": {"inputs": ["x"], "nodes": [["sin", 0]], "outputs": [1]}})",
       R"("type": "MLSTM", "num_heads": 2, "key_dim": 5)",
       R"("type": "Rescaling", "scale": 2)",
       R"("type": "Step", "index": -1)",
       R"("type": "Slice", "start": 2)",
       R"("type": "SelectiveSSM", "state_size": 5)",
       R"("type": "Conv1D", "filters": 33, "kernel_size": 3, "padding": "causal", "dilation_rate": 2, "activation": "softmax")",
       R"("type": "DepthwiseConv1D", "kernel_size": 4, "padding": "causal", "depth_multiplier": 2)",
       R"("type": "PositionEmbedding", "sequence_length": 100)",
       R"("type": "SinePositionEncoding")",
       R"("type": "RotaryEmbedding")"})
    all.push_back({layer, after_x(layer)});
  for (const std::string attention :
       {R"("type": "AdditiveAttention")", R"("type": "MultiHeadAttention", "num_heads": 3, "key_dim": 5)"})
    all.push_back({attention, model_of(R"({"type": "Input", "name": "x", "shape": [null, 6]}, {"name": "y", "inputs": ["x", "x"],
        "use_causal_mask": true, "sliding_window": 40, )" +
                                           attention + "}",
                                       R"("x")", R"("y")")});
  all.push_back({"images", model_of(R"({"type": "Input", "name": "x", "shape": [null, 9, 3]}, {"type": "ConvLSTM1D", "name": "a",
        "inputs": ["x"], "filters": 5, "kernel_size": 3, "padding": "same", "return_sequences": true}, {"type": "Dense", "name": "y",
        "inputs": ["a"], "units": 2})",
                                    R"("x")", R"("y")")});
  for (const std::string join : {"Concatenate", "Add", "Multiply", "Subtract", "Divide"})
    all.push_back(
        {join,
         model_of(R"({"type": "Input", "name": "x", "shape": [null, 6]}, {"type": "Activation", "name": "a", "activation": "elu",
                                     "inputs": ["x"]}, {"type": ")" +
                      join + R"(", "name": "y", "inputs": ["x", "a"]})",
                  R"("x")", R"("y")")});
  all.push_back({"Embedding", model_of(R"({"type": "Input", "name": "x", "shape": [null], "dtype": "int32"}, {"type": "Embedding",
                                          "name": "y", "inputs": ["x"], "input_dim": 3, "output_dim": 40})",
                                       R"("x")", R"("y")")});
  // Of so many weights that those of sixteen bits are kept so.
  for (const auto& [name, type] : {std::pair{"bf16", WeightType::bf16}, std::pair{"fp16", WeightType::fp16}})
    for (const std::string layer :
         {R"("type": "LSTM", "units": 95)", R"("type": "GRU", "units": 111)", R"("type": "Dense", "units": 6001)",
          R"("type": "SimpleRNN", "units": 201, "activation": "relu")", R"("type": "LSTM", "units": 95, "projection_size": 91)"})
      all.push_back({layer + ", " + name, after_x(layer), type});
  for (const std::string layer :
       {R"("type": "LSTM", "units": 40)", R"("type": "GRU", "units": 67)", R"("type": "GRU", "units": 67, "reset_after": false)",
        R"("type": "LSTM", "units": 90, "projection_size": 48)", R"("type": "SimpleRNN", "units": 70, "activation": "relu")",
        R"("type": "Conv1D", "filters": 260, "kernel_size": 3, "padding": "causal")"})
    all.push_back({layer + ", int8", after_x(layer + R"(, "precision": "int8")")});
  all.push_back({"Dense, int8", model_of(R"({"type": "Input", "name": "x", "shape": [null, 64]},
       {"type": "Dense", "name": "y", "inputs": ["x"], "units": 65, "precision": "int8"})",
                                         R"("x")", R"("y")")});
  all.push_back({"rows that a mask leaves out", model_of(R"({"type": "Input", "name": "x", "shape": [null, 1]},
       {"type": "Masking", "name": "m", "inputs": ["x"]}, {"type": "Dense", "name": "d", "inputs": ["m"], "units": 5},
       {"type": "LSTM", "name": "y", "inputs": ["d"], "units": 5, "residual": true})",
                                                         R"("x")", R"("y")")});
  all.push_back({"a stack", model_of(R"({"type": "Input", "name": "x", "shape": [null, 6]},
       {"type": "LSTM", "name": "a", "inputs": ["x"], "units": 40, "return_sequences": true, "return_state": true},
       {"type": "GRU", "name": "b", "inputs": ["a"], "units": 33},
       {"type": "Dense", "name": "y", "inputs": ["b"], "units": 3})",
                                     R"("x")", R"("y", "a:2", "x", "y")")});
  // At another rate than the model's.
  for (const std::string layer : {R"("type": "LSTM", "units": 40)", R"("type": "GRU", "units": 21, "learn_initial_state": true)"})
    for (const double rate : {48000.0, 96000.0}) {
      std::string spec = after_x(layer);
      spec.back() = ',';
      all.push_back(
          {layer + ", at " + std::to_string(rate), spec + R"("signal": {"sample_rate": 44100}})", WeightType::float32, rate});
    }
  return all;
}

// A stream and the arrays of its steps, none of them taken while it runs.
class Run {
 public:
  Run(const Model& model, Index batch, double sample_rate) : Run(Stream(model, {.batch = batch, .sample_rate = sample_rate})) {}
  explicit Run(Stream stream) : stream_(std::move(stream)) {
    for (const TensorInfo& info : stream_.inputs()) {
      std::vector<float>& x = x_.emplace_back();
      for (Index i = 0; i < kBlock * element_count(info.shape); ++i)
        x.push_back(info.dtype == DType::int32 ? 0.0f : std::sin(static_cast<float>(i)));  // the id 0
      in_.push_back(x.data());
    }
    for (const TensorInfo& info : stream_.outputs()) y_.emplace_back(static_cast<std::size_t>(kBlock * element_count(info.shape)));
    for (auto& y : y_) out_.push_back(y.data());
    state_.resize(stream_.state_size());
  }

  void go(int steps) noexcept {
    for (int i = 0; i < steps; ++i) {
      stream_.step(in_, out_);
      if (i % 50 == 40) stream_.process(in_, out_, kBlock);
      if (i % 100 == 50) stream_.get_state(state_);
      if (i % 100 == 70) stream_.set_state(state_);
      if (i % 100 == 80) stream_.reset(0);
      if (i % 300 == 299) stream_.reset();
    }
  }

  const std::vector<std::vector<float>>& outputs() const { return y_; }

 private:
  static constexpr Index kBlock = 37;  // more than a stream takes at once

  Stream stream_;
  std::vector<std::vector<float>> x_, y_;
  std::vector<const void*> in_;
  std::vector<float*> out_;
  std::vector<float> state_;
};

// --- memory, locks, page faults ---

struct Usage {
  long faults, switches;

  static Usage now() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return {usage.ru_minflt + usage.ru_majflt, usage.ru_nvcsw};
  }
};

void check_quiet(const Case& c, const Model& model, Index batch) {
  Run run(model, batch, c.sample_rate);
  if (!kAlone) run.go(100);
  Usage least{1, 1};
  // The system may take pages away, or a core; not every time.
  for (int attempt = 0; attempt < 3 && (least.faults > 0 || least.switches > 0); ++attempt) {
    const Usage before = Usage::now();
    watching = true;
    run.go(kSteps);
    watching = false;
    const Usage after = Usage::now();
    least.faults = std::min(attempt > 0 ? least.faults : 1 << 30, after.faults - before.faults);
    least.switches = std::min(attempt > 0 ? least.switches : 1 << 30, after.switches - before.switches);
  }
  const std::string where = " in a stream of " + c.name + ", batch " + std::to_string(batch) + ", " + current_isa();
  expect(allocations == 0, std::to_string(allocations) + " calls of the allocator" + where);
  expect(locks == 0, std::to_string(locks) + " locks" + where);
  // An emulator waits for its own locks, such as that of the code it has translated; ours are counted above wherever we run.
  if (kAlone) expect(least.switches == 0, std::to_string(least.switches) + " waits" + where);
  if (kAlone) expect(least.faults == 0, std::to_string(least.faults) + " page faults" + where);
  allocations = locks = 0;
}

#if REKUR_SEQUENCE
// Generator's read and next.
void check_generator(const std::string& last) {
  Model model(model_of(R"({"type": "Input", "name": "x", "shape": [null], "dtype": "int32"},
      {"type": "Embedding", "name": "e", "inputs": ["x"], "input_dim": 333, "output_dim": 9},
      {"type": "GRU", "name": "g", "inputs": ["e"], "units": 21, "return_sequences": true},
      {"type": "Dense", "name": "y", "inputs": ["g"], "units": 333, "activation": ")" +
                           last + R"("})",
                       R"("x")", R"("y")"));
  std::vector<float> weights(model.weights().size());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.3f * std::sin(static_cast<float>(i));
  model.set_weights(weights);
  for (const Index batch : {1, 3}) {
    Generator generator(model, batch);
    std::vector<std::int32_t> labels(static_cast<std::size_t>(batch), 1);
    long failed = 0;
    watching = true;
    for (int i = 0; i < kSteps; ++i) {
      failed += !generator.read(labels);
      failed += !generator.next({.seed = 1}, labels);
      failed += !generator.next({.temperature = 0}, labels);
      failed += !generator.next({.top_k = 200, .top_p = 0.9f, .repetition_penalty = 1.2f}, labels);
      failed += !generator.next({.temperature = 2, .top_p = 0.99f}, labels);
      if (i % 100 == 99) generator.reset();
    }
    watching = false;
    const std::string where = " in a generator, batch " + std::to_string(batch) + ", " + last + ", " + current_isa();
    expect(failed == 0, std::to_string(failed) + " calls failed" + where);
    expect(allocations == 0, std::to_string(allocations) + " calls of the allocator" + where);
    expect(locks == 0, std::to_string(locks) + " locks" + where);
    allocations = locks = 0;
  }
}
#endif

// --- memory of one's own ---

std::vector<float> some_weights(std::size_t count) {
  std::vector<float> weights(count);
  for (std::size_t i = 0; i < count; ++i) weights[i] = 0.3f * std::sin(static_cast<float>(i));
  return weights;
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  for (std::size_t k = 0; k < a.size(); ++k)
    if (a[k].size() != b[k].size() || std::memcmp(a[k].data(), b[k].data(), a[k].size() * sizeof(float)) != 0) return false;
  return a.size() == b.size();
}

// What is made in a block of the caller's, the model in one and the stream in another, takes no byte from elsewhere, gives what one
// in the system's memory gives, and leaves nothing behind.
void check_own_memory(const Case& c, Index batch) {
  static std::vector<char> blocks[2] = {std::vector<char>(16 << 20), std::vector<char>(16 << 20)};
  const std::string where = " in own memory of " + c.name + ", batch " + std::to_string(batch) + ", " + current_isa();
  Model plain(c.spec);
  const std::vector<float> weights = some_weights(plain.weight_count());
  plain.set_weights(weights);
  plain.round_weights(c.weights);
  const std::vector<float> rounded(plain.weights().begin(), plain.weights().end());
  Run expected(plain, batch, c.sample_rate);
  expected.go(40);
  const Memory memory[] = {fixed_memory(blocks[0].data(), blocks[0].size()), fixed_memory(blocks[1].data(), blocks[1].size())};
  {
    watching = true;
    Model model(c.spec, {.memory = memory[0]});
    model.set_weights(rounded);
    Stream stream(model, {.batch = batch, .sample_rate = c.sample_rate, .memory = memory[1]});
    watching = false;
    Run run(std::move(stream));
    run.go(40);
    expect(same_bits(expected.outputs(), run.outputs()), "other numbers" + where);
  }
  expect(allocations == 0, std::to_string(allocations) + " calls of the allocator" + where);
  allocations = locks = 0;
  for (int i = 0; i < 2; ++i) {
    const std::size_t needed = fixed_memory_needed(memory[i]);
    expect(needed > 512 && needed < blocks[i].size(), std::to_string(needed) + " bytes needed" + where);
    void* const whole = memory[i].allocate(memory[i].context, blocks[i].size() - 256, 16);
    expect(whole != nullptr, "something is left" + where);
    std::fill(blocks[i].begin(), blocks[i].end(), '\x7f');  // the caller's again: nobody may look at it
  }
  const Stream after(plain, {.batch = batch});
}

// --- system calls ---

#if defined(__linux__) && defined(SECCOMP_MODE_FILTER)
// From here on any system call but those that end the process ends it with a signal.
bool forbid_system_calls() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof *program, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}
#else
bool forbid_system_calls() { return false; }
#endif

constexpr int kCannotForbid = 77;

// How a child that may not call the system ends: 0, 77 where that cannot be forbidden here, -1 if it was killed.
template <class Work>
int without_system_calls(const Work& work) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (!kAlone || !forbid_system_calls()) _exit(kCannotForbid);  // a sanitizer calls the system when it likes
    work();
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return kCannotForbid;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// --- silence ---

// Of the thread, not of the clock: others may have the core meanwhile. One function for signal and silence: changes of the mode of
// denormals take 40 ns longer in some places of a program and its stack (Zen 5), which must be the same for both.
__attribute__((noinline)) double seconds(Stream& stream, const std::vector<float>& x) {
  float y[8];
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double start = now();
  for (const float sample : x) stream.step(&sample, y);
  return now() - start;
}

void check_silence(const std::string& layer, double most) {
  Model model(
      model_of(R"({"type": "Input", "name": "x", "shape": [null, 1]}, {"name": "y", "inputs": ["x"], "units": 8, )" + layer + "}",
               R"("x")", R"("y")"));
  std::vector<float> weights(model.weights().size());
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.3f * std::sin(static_cast<float>(i));
  for (const ParameterInfo& info : model.parameters())
    if (info.name == "y/bias") std::fill_n(weights.begin() + info.offset, element_count(info.shape), 0.0f);
  model.set_weights(weights);
  Stream stream(model);
  constexpr int kRate = 44100;
  std::vector<float> signal(kRate), silence(10 * kRate, 0.0f);
  for (std::size_t i = 0; i < signal.size(); ++i) signal[i] = std::sin(static_cast<float>(i) * 0.06f);
  double slower = 1e9;
  for (int attempt = 0; attempt < 5 && slower > most; ++attempt) {
    const double sound = seconds(stream, signal), quiet = seconds(stream, silence) / 10;
    slower = std::min(slower, quiet / sound);
    std::printf("%-10s %-36s signal %6.1f ns a step, 10 s of silence %6.1f\n", current_isa().c_str(), layer.c_str(),
                sound / kRate * 1e9, quiet / kRate * 1e9);
  }
  expect(slower <= most, "silence is " + std::to_string(slower) + " times as slow as a signal: " + layer + ", " + current_isa());
}

void run_all() {
  watch_allocator();
  // Whoever stands in must see something.
  watching = true;
  void* volatile memory = std::malloc(10);
  std::free(memory);
#if defined(REKUR_TEST_LOCKS)
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&mutex);
  pthread_mutex_unlock(&mutex);
  expect(locks == 1, "the locks are not watched");
#endif
  watching = false;
#if !defined(REKUR_TEST_UNWATCHED)
  expect(allocations >= 2, "the allocator is not watched");
#endif
  allocations = locks = 0;
  expect(without_system_calls([] { static_cast<void>(getppid()); }) != 0, "system calls are not watched");

  int forbidden = 0, tried = 0;
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const Case& c : cases()) {
      Model model(c.spec);
      std::vector<float> weights(model.weights().size());
      for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.3f * std::sin(static_cast<float>(i));
      model.set_weights(weights);
      model.round_weights(c.weights);
      for (const Index batch : {1, 3}) {
        check_quiet(c, model, batch);
        check_own_memory(c, batch);
        Run run(model, batch, c.sample_rate);
        const int ended = without_system_calls([&] { run.go(kSteps); });
        expect(ended == 0 || ended == kCannotForbid, "a system call in a stream of " + c.name + ", batch " + std::to_string(batch));
        forbidden += ended == 0;
        ++tried;
      }
    }
#if REKUR_SEQUENCE
    for (const std::string last : {"softmax", "linear", "softplus"}) check_generator(last);
#endif
    for (const std::string layer :
         {R"("type": "LSTM")", R"("type": "GRU")", R"("type": "SimpleRNN")", R"("type": "SimpleRNN", "activation": "linear")"})
      if (kAlone) check_silence(layer, 2.0);
  }
  std::printf("%d streams took %d steps each; page faults and waits %s; system calls %s\n", tried, kSteps,
              kAlone ? "counted" : "not counted here",
              forbidden == tried ? "forbidden" : "could not be forbidden here: not checked");
}

}  // namespace

int main() {
  try {
    run_all();
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
  return failures > 0 ? 1 : 0;
}
