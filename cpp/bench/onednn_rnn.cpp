// One recurrent layer by oneDNN's own RNN primitives: a peer of benchmarks/layers.py, which takes turns with it through pipes.
//
//     c++ -std=c++20 -O3 onednn_rnn.cpp -o onednn_rnn -I ROOT/include -L ROOT/lib -Wl,-rpath,ROOT/lib -ldnnl
//     onednn_rnn lstm|gru|rnn infer|train B T I H DATA
//
// DATA holds float32: the input (T, B, I), kernel (I, G, H), recurrent kernel (H, G, H) and bias (G, H), gates in oneDNN's order:
// i f g o for LSTM; z r n for GRU, whose bias has a fourth row, that of the recurrent product of n. GRU is the one that multiplies
// before it resets. The program says "ready VERSION IMPLEMENTATION" and obeys, a line each:
//     run N        N steps; answers with their seconds
//     write PATH   the last step's output; after a training step also the gradients of input, kernel, recurrent kernel and bias
//
// It runs as well as it can: sequences time-major and in the strides the primitive likes, every buffer made beforehand. For
// inference the weights were reordered once. A training step is forward, backward and the gradients of input, weights and bias for
// an output gradient of ones; an optimiser has just changed the weights, in their ordinary layout, so a step reorders them, once
// for each pass.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <oneapi/dnnl/dnnl.hpp>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#if DNNL_VERSION_MAJOR < 3
#error "oneDNN 3 or newer is needed"
#endif

namespace {

using dnnl::memory;
using Desc = memory::desc;
using Tag = memory::format_tag;

constexpr auto kF32 = memory::data_type::f32;
constexpr auto kForward = dnnl::rnn_direction::unidirectional_left2right;
constexpr auto kBackward = dnnl::prop_kind::backward;
constexpr auto kTanh = dnnl::algorithm::eltwise_tanh;

struct Shape {
  memory::dim B, T, I, H;
};

// Tensors of one pass, or their gradients.
struct Descs {
  Desc x, kernel, recurrent, bias, y, state;
};

// The three cells differ in the arguments of their descriptors only. Each starts from a given state (of zeros): without one,
// oneDNN 3.2 computes wrong gradients of the recurrent kernels of Rnn and Lstm. Final states are not asked for.
struct Rnn {
  using Forward = dnnl::vanilla_rnn_forward;
  using Backward = dnnl::vanilla_rnn_backward;
  static constexpr memory::dim gates = 1, biases = 1;
  static constexpr bool two_states = false;

  static Forward::primitive_desc forward(const dnnl::engine& cpu, dnnl::prop_kind kind, const Descs& d) {
    return {cpu, kind, kTanh, kForward, d.x, d.state, d.kernel, d.recurrent, d.bias, d.y, {}};
  }
  static Backward::primitive_desc backward(const dnnl::engine& cpu, const Descs& d, const Forward::primitive_desc& forward) {
    return {cpu, kBackward, kTanh,   kForward, d.x,         d.state, d.kernel, d.recurrent, d.bias, d.y,
            {},  d.x,       d.state, d.kernel, d.recurrent, d.bias,  d.y,      {},          forward};
  }
};

struct Gru {
  using Forward = dnnl::lbr_gru_forward;
  using Backward = dnnl::lbr_gru_backward;
  static constexpr memory::dim gates = 3, biases = 4;
  static constexpr bool two_states = false;

  static Forward::primitive_desc forward(const dnnl::engine& cpu, dnnl::prop_kind kind, const Descs& d) {
    return {cpu, kind, kForward, d.x, d.state, d.kernel, d.recurrent, d.bias, d.y, {}};
  }
  static Backward::primitive_desc backward(const dnnl::engine& cpu, const Descs& d, const Forward::primitive_desc& forward) {
    return {cpu, kBackward, kForward, d.x,      d.state,     d.kernel, d.recurrent, d.bias, d.y,
            {},  d.x,       d.state,  d.kernel, d.recurrent, d.bias,   d.y,         {},     forward};
  }
};

struct Lstm {
  using Forward = dnnl::lstm_forward;
  using Backward = dnnl::lstm_backward;
  static constexpr memory::dim gates = 4, biases = 4;
  static constexpr bool two_states = true;

  static Forward::primitive_desc forward(const dnnl::engine& cpu, dnnl::prop_kind kind, const Descs& d) {
    const Desc none;
    return {cpu, kind, kForward, d.x, d.state, d.state, d.kernel, d.recurrent, d.bias, d.y, none, none};
  }
  static Backward::primitive_desc backward(const dnnl::engine& cpu, const Descs& d, const Forward::primitive_desc& forward) {
    const Desc none;
    return {cpu,  kBackward, kForward, d.x,     d.state,  d.state,     d.kernel, d.recurrent, d.bias, d.y,  none,
            none, d.x,       d.state,  d.state, d.kernel, d.recurrent, d.bias,   d.y,         none,   none, forward};
  }
};

template <class Cell>
class Layer {
 public:
  Layer(const Shape& s, bool train, const std::string& data);
  void step();
  void write(const std::string& path);
  const std::string& implementation() const { return implementation_; }

 private:
  using Arguments = std::unordered_map<int, memory>;
  struct Task {
    dnnl::primitive primitive;
    Arguments arguments;
  };

  static Descs descs(const Shape& s, bool any);
  memory read(std::ifstream& file, const Desc& desc) const;
  memory make(const Desc& desc) const { return memory(desc, cpu_); }
  memory zeros(const Desc& desc) const {
    memory result = make(desc);
    std::memset(result.get_data_handle(), 0, desc.get_size());
    return result;
  }
  // `from` in another layout, brought there by each run of `tasks`; the same memory where the layouts agree.
  memory reordered(const memory& from, const Desc& to, std::vector<Task>& tasks) const;
  void run(const std::vector<Task>& tasks);

  dnnl::engine cpu_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{cpu_};
  std::vector<Task> tasks_;        // of one step
  std::vector<memory> gradients_;  // oneDNN adds to these: cleared at each step
  std::vector<memory> outputs_;    // what write() writes
  std::string implementation_;
};

template <class Cell>
Descs Layer<Cell>::descs(const Shape& s, bool any) {
  const auto desc = [any](const memory::dims& dims, Tag plain) { return Desc(dims, kF32, any ? Tag::any : plain); };
  return {desc({s.T, s.B, s.I}, Tag::tnc),
          desc({1, 1, s.I, Cell::gates, s.H}, Tag::ldigo),
          desc({1, 1, s.H, Cell::gates, s.H}, Tag::ldigo),
          desc({1, 1, Cell::biases, s.H}, Tag::ldgo),
          desc({s.T, s.B, s.H}, Tag::tnc),
          Desc({1, 1, s.B, s.H}, kF32, Tag::ldnc)};
}

template <class Cell>
memory Layer<Cell>::read(std::ifstream& file, const Desc& desc) const {
  memory to = make(desc);
  if (!file.read(static_cast<char*>(to.get_data_handle()), static_cast<std::streamsize>(desc.get_size()))) {
    throw std::runtime_error("the data file is too short");
  }
  return to;
}

template <class Cell>
memory Layer<Cell>::reordered(const memory& from, const Desc& to, std::vector<Task>& tasks) const {
  if (from.get_desc() == to) return from;
  const memory result = make(to);
  tasks.push_back({dnnl::reorder(from, result), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, result}}});
  return result;
}

template <class Cell>
void Layer<Cell>::run(const std::vector<Task>& tasks) {
  for (const Task& task : tasks) task.primitive.execute(stream_, task.arguments);
  stream_.wait();
}

template <class Cell>
Layer<Cell>::Layer(const Shape& s, bool train, const std::string& data) {
  const Descs plain = descs(s, false), any = descs(s, true);
  std::ifstream file(data, std::ios::binary);
  const memory given_x = read(file, plain.x), given_kernel = read(file, plain.kernel),
               given_recurrent = read(file, plain.recurrent), bias = read(file, plain.bias);

  Descs wanted = any;
  wanted.bias = plain.bias;
  const auto kind = train ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
  const auto forward = Cell::forward(cpu_, kind, wanted);
  implementation_ = forward.impl_info_str();

  std::vector<Task> once;
  std::vector<Task>& weights_change = train ? tasks_ : once;
  const memory x = reordered(given_x, forward.src_layer_desc(), once);
  const memory y = make(forward.dst_layer_desc()), h = zeros(plain.state), c = zeros(plain.state);
  Arguments arguments = {{DNNL_ARG_SRC_LAYER, x},
                         {DNNL_ARG_WEIGHTS_LAYER, reordered(given_kernel, forward.weights_layer_desc(), weights_change)},
                         {DNNL_ARG_WEIGHTS_ITER, reordered(given_recurrent, forward.weights_iter_desc(), weights_change)},
                         {DNNL_ARG_BIAS, bias},
                         {DNNL_ARG_SRC_ITER, h},
                         {DNNL_ARG_DST_LAYER, y}};
  if (Cell::two_states) arguments[DNNL_ARG_SRC_ITER_C] = c;
  if (train) arguments[DNNL_ARG_WORKSPACE] = make(forward.workspace_desc());
  tasks_.push_back({typename Cell::Forward(forward), arguments});
  outputs_ = {y};

  if (train) {
    wanted.x = forward.src_layer_desc();
    wanted.y = forward.dst_layer_desc();
    const auto backward = Cell::backward(cpu_, wanted, forward);
    implementation_ += std::string(" ") + backward.impl_info_str();
    arguments[DNNL_ARG_WEIGHTS_LAYER] = reordered(given_kernel, backward.weights_layer_desc(), tasks_);
    arguments[DNNL_ARG_WEIGHTS_ITER] = reordered(given_recurrent, backward.weights_iter_desc(), tasks_);
    const memory dy = make(backward.diff_dst_layer_desc()), dx = make(backward.diff_src_layer_desc());
    std::fill_n(static_cast<float*>(dy.get_data_handle()), dy.get_desc().get_size() / sizeof(float), 1.0f);
    gradients_ = {make(backward.diff_weights_layer_desc()), make(backward.diff_weights_iter_desc()),
                  make(backward.diff_bias_desc())};
    arguments.insert({{DNNL_ARG_DIFF_DST_LAYER, dy},
                      {DNNL_ARG_DIFF_SRC_LAYER, dx},
                      {DNNL_ARG_DIFF_SRC_ITER, make(plain.state)},
                      {DNNL_ARG_DIFF_WEIGHTS_LAYER, gradients_[0]},
                      {DNNL_ARG_DIFF_WEIGHTS_ITER, gradients_[1]},
                      {DNNL_ARG_DIFF_BIAS, gradients_[2]}});
    if (Cell::two_states) arguments[DNNL_ARG_DIFF_SRC_ITER_C] = make(plain.state);
    tasks_.push_back({typename Cell::Backward(backward), arguments});
    // The optimiser meets gradients in the layout of its weights.
    outputs_.insert(outputs_.end(), {dx, reordered(gradients_[0], plain.kernel, tasks_),
                                     reordered(gradients_[1], plain.recurrent, tasks_), gradients_[2]});
  }
  run(once);
}

template <class Cell>
void Layer<Cell>::step() {
  for (const memory& gradient : gradients_) std::memset(gradient.get_data_handle(), 0, gradient.get_desc().get_size());
  run(tasks_);
}

template <class Cell>
void Layer<Cell>::write(const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  for (const memory& output : outputs_) {
    const Desc desc = output.get_desc();
    // Row-major: a, b, c … in order.
    const Tag plain = desc.get_ndims() == 3 ? Tag::abc : desc.get_ndims() == 4 ? Tag::abcd : Tag::abcde;
    std::vector<Task> tasks;
    const memory rows = reordered(output, Desc(desc.get_dims(), kF32, plain), tasks);
    run(tasks);
    file.write(static_cast<const char*>(rows.get_data_handle()), static_cast<std::streamsize>(rows.get_desc().get_size()));
  }
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}

template <class Cell>
void serve(const Shape& shape, bool train, const std::string& data) {
  Layer<Cell> layer(shape, train, data);
  const dnnl_version_t* version = dnnl_version();
  std::cout << "ready " << version->major << '.' << version->minor << '.' << version->patch << ' ' << layer.implementation()
            << std::endl;
  for (std::string command; std::cin >> command;) {
    if (command == "run") {
      long count = 0;
      std::cin >> count;
      const auto start = std::chrono::steady_clock::now();
      for (long i = 0; i < count; ++i) layer.step();
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      std::cout.precision(9);
      std::cout << seconds.count() << std::endl;
    } else if (command == "write") {
      std::string path;
      std::getline(std::cin >> std::ws, path);
      layer.write(path);
      std::cout << "written" << std::endl;
    } else {
      throw std::runtime_error("unknown command " + command);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 8) throw std::runtime_error("usage: onednn_rnn lstm|gru|rnn infer|train B T I H DATA");
  const std::string cell = argv[1], mode = argv[2], data = argv[7];
  const Shape shape = {std::stol(argv[3]), std::stol(argv[4]), std::stol(argv[5]), std::stol(argv[6])};
  if (mode != "infer" && mode != "train") throw std::runtime_error("infer or train, not " + mode);
  const bool train = mode == "train";
  if (cell == "lstm") {
    serve<Lstm>(shape, train, data);
  } else if (cell == "gru") {
    serve<Gru>(shape, train, data);
  } else if (cell == "rnn") {
    serve<Rnn>(shape, train, data);
  } else {
    throw std::runtime_error("lstm, gru or rnn, not " + cell);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "onednn_rnn: %s\n", error.what());
  return 1;
}
