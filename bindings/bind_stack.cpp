// The engine's layers on arrays of another library, told by addresses. python/rekur/torch checks what comes here: shapes, types,
// strides and that the memory is there.
#include <dlfcn.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>

#include "bindings.hpp"
#include "runtime/parallel.hpp"
#include "runtime/team.hpp"
#include "stack.hpp"

namespace rekur::bindings {
namespace {

using Address = std::uintptr_t;
using Addresses = std::vector<Address>;
using Rows = std::tuple<Address, Index, Index>;  // the first number, floats from row to row, from step to step

// A child of a fork has none of OpenMP's threads, which it would wait for.
std::atomic<bool> forked{false};

// torch's own threads, those of OpenMP, where they are to be had: it has them spin between its operations.
runtime::Crew torchs_threads() {
  static const runtime::Crew found = [] {
    runtime::Crew crew;
    crew.call = reinterpret_cast<decltype(crew.call)>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
    crew.number = reinterpret_cast<decltype(crew.number)>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
    return crew;
  }();
  return forked.load(std::memory_order_relaxed) ? runtime::Crew() : found;
}

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

template <class T>
recurrent::Strided<T> strided(const Rows& rows) {
  return {at<T>(std::get<0>(rows)), std::get<1>(rows), std::get<2>(rows)};
}

template <class T>
std::vector<T*> all_at(const Addresses& addresses) {
  std::vector<T*> list;
  list.reserve(addresses.size());
  for (const Address address : addresses) list.push_back(at<T>(address));
  return list;
}

std::vector<const float*> weights_at(const Stack& stack, const Addresses& weights) {
  if (weights.size() != stack.weight_count())
    throw py::value_error("a stack of layers: expected " + std::to_string(stack.weight_count()) + " weights, got " +
                          std::to_string(weights.size()));
  std::vector<const float*> list = all_at<const float>(weights);
  if (std::find(list.begin(), list.end(), nullptr) != list.end())
    throw py::value_error("a stack of layers: a weight has no memory");
  return list;
}

// rows: of a packed x, all together.
StackInputs inputs(const Stack& stack, Index T, Index B, const Rows& x, Address batch_sizes, Index rows, Address h, Address c,
                   const Addresses& weights, const Addresses& masks) {
  StackInputs in;
  in.T = T;
  in.B = B;
  in.x = strided<const float>(x);
  in.batch_sizes = at<const std::int64_t>(batch_sizes);
  in.initial[0] = at<const float>(h);
  in.initial[1] = at<const float>(c);
  in.weights = weights_at(stack, weights);
  in.masks = all_at<const float>(masks);
  if (!masks.empty() && masks.size() + 1 != stack.layers())
    throw py::value_error("a stack of layers: expected a mask for each layer but the last");
  if (T < 1 || B < 1 || in.x.data == nullptr) throw py::value_error("a stack of layers: no steps, or no rows");
  if (in.batch_sizes != nullptr) {
    Index before = B;
    for (Index t = 0; t < T; ++t) {
      if (in.batch_sizes[t] < 1 || in.batch_sizes[t] > before || (t == 0 && in.batch_sizes[0] != B))
        throw py::value_error("a stack of layers: batch sizes must be at least 1 and descend from the batch's");
      before = in.batch_sizes[t];
      rows -= before;
    }
    if (rows != 0) throw py::value_error("a stack of layers: batch sizes must add up to the rows of the input");
  }
  return in;
}

}  // namespace

void bind_stack(py::module_& m) {
  pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });
  py::class_<StackTape>(m, "StackTape")
      .def(py::init([](Address memory, Index floats) { return std::make_unique<StackTape>(at<float>(memory), floats); }),
           py::arg("memory") = 0, py::arg("floats") = 0)
      .def_property_readonly("used", &StackTape::used);
  py::class_<Stack>(m, "Stack")
      .def(py::init([](std::string cell, Index input_size, Index hidden_size, Index proj_size, std::size_t num_layers,
                       bool bidirectional, bool bias) {
             const std::size_t directions = bidirectional ? 2 : 1;
             return std::make_unique<Stack>(
                 StackSizes{std::move(cell), input_size, hidden_size, proj_size, num_layers, directions, bias});
           }),
           py::arg("cell"), py::arg("input_size"), py::arg("hidden_size"), py::arg("proj_size"), py::arg("num_layers"),
           py::arg("bidirectional"), py::arg("bias"))
      .def_property_readonly("tape_size", &Stack::tape_size)
      .def(
          "forward",
          [](Stack& self, int threads, Index T, Index B, const Rows& x, Address batch_sizes, Index rows, Address h, Address c,
             const Addresses& weights, const Addresses& masks, const Rows& y, Address hn, Address cn, StackTape* tape) {
            const StackInputs in = inputs(self, T, B, x, batch_sizes, rows, h, c, weights, masks);
            float* const final[2] = {at<float>(hn), at<float>(cn)};
            const ReleaseGil release;
            const runtime::ThreadLimit limit(threads);
            const runtime::WithCrew crew(torchs_threads());
            self.forward(in, strided<float>(y), final, tape);
          },
          py::arg("threads"), py::arg("T"), py::arg("B"), py::arg("x"), py::arg("batch_sizes"), py::arg("rows"), py::arg("h"),
          py::arg("c"), py::arg("weights"), py::arg("masks"), py::arg("y"), py::arg("hn"), py::arg("cn"), py::arg("tape"))
      .def(
          "step",
          [](Stack& self, int threads, Index B, Address x, Index stride, Address h, Address c, const Addresses& weights, Address hn,
             Address cn, StackTape* tape) {
            StackInputs in;
            in.T = 1;
            in.B = B;
            in.x = {at<const float>(x), stride, 0};
            in.initial[0] = at<const float>(h);
            in.initial[1] = at<const float>(c);
            in.weights = weights_at(self, weights);
            if (B < 1) throw py::value_error("a stack of layers: no rows");
            float* const final[2] = {at<float>(hn), at<float>(cn)};
            const ReleaseGil release;
            const runtime::ThreadLimit limit(threads);
            const runtime::WithCrew crew(torchs_threads());
            self.forward(in, {}, final, tape);
          },
          py::arg("threads"), py::arg("B"), py::arg("x"), py::arg("stride"), py::arg("h"), py::arg("c"), py::arg("weights"),
          py::arg("hn"), py::arg("cn"), py::arg("tape"))
      .def(
          "backward",
          [](Stack& self, StackTape& tape, int threads, Index T, Index B, const Rows& x, Address batch_sizes, Index rows, Address h,
             Address c, const Addresses& weights, const Addresses& masks, const Rows& dy, Address dhn, Address dcn, const Rows& dx,
             Address dh, Address dc, const Addresses& d_weights) {
            const StackInputs in = inputs(self, T, B, x, batch_sizes, rows, h, c, weights, masks);
            if (d_weights.size() != weights.size())
              throw py::value_error("a stack of layers: expected a gradient for each weight, or 0");
            StackGradients g;
            g.dy = strided<const float>(dy);
            g.d_final[0] = at<const float>(dhn);
            g.d_final[1] = at<const float>(dcn);
            g.dx = strided<float>(dx);
            g.d_initial[0] = at<float>(dh);
            g.d_initial[1] = at<float>(dc);
            g.d_weights = all_at<float>(d_weights);
            const ReleaseGil release;
            const runtime::ThreadLimit limit(threads);
            const runtime::WithCrew crew(torchs_threads());
            self.backward(in, tape, g);
          },
          py::arg("tape"), py::arg("threads"), py::arg("T"), py::arg("B"), py::arg("x"), py::arg("batch_sizes"), py::arg("rows"),
          py::arg("h"), py::arg("c"), py::arg("weights"), py::arg("masks"), py::arg("dy"), py::arg("dhn"), py::arg("dcn"),
          py::arg("dx"), py::arg("dh"), py::arg("dc"), py::arg("d_weights"));
}

}  // namespace rekur::bindings
