#include "layer_calls.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <list>
#include <memory>
#include <mutex>
#include <random>
#include <utility>

namespace rekur::bindings {
namespace {

// Engines that wait for their next call: so many, of so many bytes together, but one of any size.
constexpr std::size_t kIdle = 256;
constexpr std::uint64_t kIdleBytes = std::uint64_t{256} << 20;

std::vector<Shape> input_shapes(const Batch& batch) {
  std::vector<Shape> shapes;
  for (const ConstView& x : batch.inputs) shapes.push_back(x.shape);
  return shapes;
}

// A call has one of its own, since its weights are the call's.
class Engine {
 public:
  explicit Engine(std::string of) : model(of), flat(model.weight_count()), spec(std::move(of)) {}

  // Of a run; the engine keeps the most that one has taken.
  std::uint64_t run_memory(const Batch& batch, bool training) {
    std::vector<Shape> shapes = input_shapes(batch);
    if (last_run_ == 0 || training != last_training_ || shapes != last_shapes_) {
      last_run_ = model.run_memory(shapes, training);
      last_shapes_ = std::move(shapes);
      last_training_ = training;
      most_run_ = std::max(most_run_, last_run_);
    }
    return last_run_;
  }
  // The weights as they came and as the model has them, packed for the forward pass and for the backward pass.
  std::uint64_t weight_bytes() const { return 4 * sizeof(float) * flat.size(); }
  std::uint64_t bytes() const { return weight_bytes() + most_run_; }

  Model model;
  std::vector<float> flat;
  const std::string spec;

 private:
  std::uint64_t last_run_ = 0, most_run_ = 0;
  std::vector<Shape> last_shapes_;
  bool last_training_ = false;
};

using Engines = std::list<std::unique_ptr<Engine>>;

// An engine for the length of a call, or for as long as what it keeps is waited for.
class Lease {
 public:
  explicit Lease(const std::string& spec);
  ~Lease();
  Lease(Lease&&) = default;
  Lease& operator=(Lease&&) = delete;

  Engine& engine() { return *engine_.front(); }
  const Engine& engine() const { return *engine_.front(); }
  Model& model() { return engine().model; }
  std::vector<float>& flat() { return engine().flat; }

 private:
  Engines engine_;  // one, or none where it has been moved from
};

// A batch whose arrays are its own: those of a framework are gone when its call ends.
struct OwnBatch {
  explicit OwnBatch(const Batch& from) : batch(from) {
    for (ConstView& x : batch.inputs) {
      const auto size = static_cast<std::size_t>(element_count(x.shape));
      floats.emplace_back(x.f32(), x.f32() + size);
      x.data = floats.back().data();
    }
    for (auto& lengths : batch.lengths) {
      if (lengths.empty()) continue;
      ints.emplace_back(lengths.begin(), lengths.end());
      lengths = ints.back();
    }
    for (auto& resets : batch.resets) {
      if (resets.empty()) continue;
      flags.emplace_back(resets.begin(), resets.end());
      resets = flags.back();
    }
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& list : floats) sum += list.size() * sizeof(float);
    for (const auto& list : ints) sum += list.size() * sizeof(std::int32_t);
    for (const auto& list : flags) sum += list.size();
    return sum;
  }
  OwnBatch(const OwnBatch&) = delete;
  OwnBatch& operator=(const OwnBatch&) = delete;

  std::list<std::vector<float>> floats;
  std::list<std::vector<std::int32_t>> ints;
  std::list<std::vector<std::uint8_t>> flags;
  Batch batch;
};

struct Kept {
  std::uint32_t number;
  std::uint64_t bytes;
  Lease lease;
  std::unique_ptr<OwnBatch> batch;
  Tape tape;
};

// Never destroyed: a framework's threads may still run when the program ends.
struct Store {
  std::mutex turn;
  std::list<Kept> kept;  // the oldest first, as of those that wait
  Engines idle;
  std::uint64_t idle_bytes = 0;
  std::uint64_t limit = std::uint64_t{1} << 30, used = 0;
  std::uint32_t nonce = std::random_device{}() | 1;  // the token of another process finds nothing
  std::uint32_t next = 0;
};

Store& store() {
  static Store* const only = new Store;
  return *only;
}

Lease::Lease(const std::string& spec) {
  Store& s = store();
  {
    const std::lock_guard lock(s.turn);
    const auto found = std::find_if(s.idle.rbegin(), s.idle.rend(), [&](const auto& e) { return e->spec == spec; });
    if (found != s.idle.rend()) {
      s.idle_bytes -= (*found)->bytes();
      engine_.splice(engine_.end(), s.idle, std::next(found).base());
      return;
    }
  }
  engine_.push_back(std::make_unique<Engine>(spec));
}

Lease::~Lease() {
  if (engine_.empty()) return;
  Store& s = store();
  Engines out;  // to be destroyed where no lock is held
  const std::lock_guard lock(s.turn);
  s.idle_bytes += engine().bytes();
  s.idle.splice(s.idle.end(), engine_);
  while (s.idle.size() > 1 && (s.idle.size() > kIdle || s.idle_bytes > kIdleBytes)) {
    s.idle_bytes -= s.idle.front()->bytes();
    out.splice(out.end(), s.idle, s.idle.begin());
  }
}

void set_weights(Lease& lease, std::span<const ConstView> weights) {
  std::vector<float>& flat = lease.flat();
  std::size_t at = 0;
  for (const ConstView& w : weights) {
    const auto size = static_cast<std::size_t>(element_count(w.shape));
    if (size > flat.size() - at) throw Error("weights: expected " + std::to_string(flat.size()) + " numbers in all, got more");
    std::copy_n(w.f32(), size, flat.data() + at);
    at += size;
  }
  if (at != flat.size())
    throw Error("weights: expected " + std::to_string(flat.size()) + " numbers in all, got " + std::to_string(at));
  lease.model().set_weights(flat);
}

// What makes room for so many bytes; to be destroyed where no lock is held.
std::list<Kept> make_room(Store& s, std::uint64_t bytes) {
  std::list<Kept> out;
  while (!s.kept.empty() && s.used + bytes > s.limit) {
    s.used -= s.kept.front().bytes;
    out.splice(out.end(), s.kept, s.kept.begin());
  }
  return out;
}

std::list<Kept> taken(const std::uint32_t* token, const std::string& spec) {
  Store& s = store();
  std::list<Kept> out;
  const std::lock_guard lock(s.turn);
  if (token == nullptr || token[0] != s.nonce) return out;
  const auto found = std::find_if(s.kept.begin(), s.kept.end(), [&](const Kept& k) { return k.number == token[1]; });
  if (found == s.kept.end() || found->lease.engine().spec != spec) return out;
  s.used -= found->bytes;
  out.splice(out.end(), s.kept, found);
  return out;
}

void backward(Lease& lease, Tape tape, std::span<const ConstView> output_gradients, std::span<const ConstView> weights,
              std::span<float* const> weight_gradients, std::span<const View> input_gradients) {
  std::vector<float>& flat = lease.flat();
  lease.model().backward(std::move(tape), output_gradients, flat, input_gradients);
  std::size_t at = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    const auto size = static_cast<std::size_t>(element_count(weights[k].shape));
    if (weight_gradients[k] != nullptr) std::copy_n(flat.data() + at, size, weight_gradients[k]);
    at += size;
  }
}

bool same(const Batch& a, const Batch& b) {
  if (a.inputs.size() != b.inputs.size()) return false;
  for (std::size_t i = 0; i < a.inputs.size(); ++i)
    if (a.inputs[i].shape != b.inputs[i].shape) return false;
  return true;
}

}  // namespace

std::vector<Shape> layer_output_shapes(const LayerCall& call) {
  Lease lease(call.spec);
  return lease.model().output_shapes(input_shapes(call.batch));
}

void layer_run(const LayerCall& call, std::span<const View> outputs, std::uint32_t* token) {
  Lease lease(call.spec);
  set_weights(lease, call.weights);
  Store& s = store();
  if (token != nullptr) token[0] = token[1] = 0;
  std::uint64_t bytes = 0, limit = 0;
  if (token != nullptr) {
    const std::lock_guard lock(s.turn);
    limit = s.limit;
  }
  if (limit > 0) bytes = lease.engine().run_memory(call.batch, true) + lease.engine().weight_bytes();
  if (limit == 0 || bytes > limit) {
    lease.engine().run_memory(call.batch, false);
    lease.model().predict(call.batch, outputs);
    return;
  }
  auto batch = std::make_unique<OwnBatch>(call.batch);
  bytes += batch->bytes();
  Tape tape = lease.model().forward(batch->batch, outputs);
  std::list<Kept> old, now;
  now.push_back({0, bytes, std::move(lease), std::move(batch), std::move(tape)});
  const std::lock_guard lock(s.turn);
  if (bytes > s.limit) return;
  old = make_room(s, bytes);
  token[0] = s.nonce;
  token[1] = now.front().number = s.next++;
  s.kept.splice(s.kept.end(), now);
  s.used += bytes;
}

void layer_back(const LayerCall& call, const std::uint32_t* token, std::span<const ConstView> output_gradients,
                std::span<float* const> weight_gradients, std::span<const View> input_gradients) {
  std::list<Kept> kept = taken(token, call.spec);
  if (!kept.empty() && same(kept.front().batch->batch, call.batch)) {
    Kept& k = kept.front();
    backward(k.lease, std::move(k.tape), output_gradients, call.weights, weight_gradients, input_gradients);
    return;
  }
  Lease lease(call.spec);
  set_weights(lease, call.weights);
  std::vector<std::vector<float>> unread;
  std::vector<View> outputs;
  for (const Shape& shape : lease.model().output_shapes(input_shapes(call.batch))) {
    unread.emplace_back(static_cast<std::size_t>(element_count(shape)));
    outputs.push_back({unread.back().data(), shape});
  }
  lease.engine().run_memory(call.batch, true);
  Tape tape = lease.model().forward(call.batch, outputs);
  backward(lease, std::move(tape), output_gradients, call.weights, weight_gradients, input_gradients);
}

void set_tape_memory(std::uint64_t limit) {
  Store& s = store();
  std::list<Kept> old;
  {
    const std::lock_guard lock(s.turn);
    s.limit = limit;
    old = make_room(s, 0);
  }
  old.clear();  // whose engines wait now
  Engines idle;
  const std::lock_guard lock(s.turn);
  idle.swap(s.idle);
  s.idle_bytes = 0;
}

std::uint64_t tape_memory() {
  Store& s = store();
  const std::lock_guard lock(s.turn);
  return s.used;
}

std::uint64_t idle_memory() {
  Store& s = store();
  const std::lock_guard lock(s.turn);
  return s.idle_bytes;
}

namespace {

// Of an array without elements a framework may have no address; to the engine that would mean that there is no array.
ConstView view_of(const rekur_array& array) {
  static const float nothing = 0;
  ConstView view;
  view.data = array.data == nullptr ? &nothing : array.data;
  view.shape.assign(array.shape, array.shape + array.rank);
  return view;
}

LayerCall call_of(const rekur_layer_call& given) {
  LayerCall call;
  call.spec.assign(given.spec, given.spec_size);
  for (std::size_t k = 0; k < given.weight_count; ++k) call.weights.push_back(view_of(given.weights[k]));
  Batch& batch = call.batch;
  for (std::size_t k = 0; k < given.input_count; ++k) batch.inputs.push_back(view_of(given.inputs[k]));
  batch.lengths.resize(given.input_count);
  if (given.resets != nullptr) batch.resets.resize(given.input_count);
  for (std::size_t k = 0; k < given.input_count; ++k) {
    const Shape& shape = batch.inputs[k].shape;
    if (shape.size() != 3) continue;
    if (given.lengths != nullptr) batch.lengths[k] = {given.lengths, static_cast<std::size_t>(shape[0])};
    if (given.resets != nullptr) batch.resets[k] = {given.resets, static_cast<std::size_t>(shape[0] * shape[1])};
  }
  return call;
}

template <class F>
int told(char* message, std::size_t size, F&& work) {
  const char* what = "unknown error";
  try {
    work();
    return 0;
  } catch (const std::exception& error) {
    what = error.what();
    if (size > 0) std::strncpy(message, what, size - 1);
  } catch (...) {
    if (size > 0) std::strncpy(message, what, size - 1);
  }
  if (size > 0) message[size - 1] = '\0';
  return 1;
}

int c_run(const rekur_layer_call* given, float* const* outputs, std::uint32_t* token, char* message, std::size_t size) {
  return told(message, size, [&] {
    const LayerCall call = call_of(*given);
    std::vector<View> views;
    for (const Shape& shape : layer_output_shapes(call)) views.push_back({outputs[views.size()], shape});
    layer_run(call, views, token);
  });
}

int c_back(const rekur_layer_call* given, const std::uint32_t* token, const float* const* output_gradients,
           float* const* weight_gradients, float* const* input_gradients, char* message, std::size_t size) {
  return told(message, size, [&] {
    const LayerCall call = call_of(*given);
    std::vector<ConstView> dy;
    for (const Shape& shape : layer_output_shapes(call)) dy.push_back({output_gradients[dy.size()], shape, DType::float32});
    std::vector<View> dx;
    for (const ConstView& x : call.batch.inputs) dx.push_back({input_gradients[dx.size()], x.shape});
    layer_back(call, token, dy, {weight_gradients, call.weights.size()}, dx);
  });
}

}  // namespace

const rekur_layer_calls& layer_calls() {
  static const rekur_layer_calls table = {REKUR_LAYER_CALLS_ABI, &c_run, &c_back};
  return table;
}

}  // namespace rekur::bindings
