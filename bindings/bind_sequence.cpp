// Sequences: the loss of labels without places in time, and what decodes them. python/rekur/_sequences checks what comes here.
#include <memory>
#include <utility>

#include "bindings.hpp"
#include "sequence/crf_chain.hpp"
#include "sequence/ctc.hpp"
#include "sequence/edit_distance.hpp"

namespace rekur::bindings {
namespace {

using sequence::NGram;
using Doubles = py::array_t<double, py::array::c_style>;
using Bytes = py::array_t<std::uint8_t, py::array::c_style>;

Doubles new_doubles(const Shape& shape) { return Doubles(std::vector<py::ssize_t>(shape.begin(), shape.end())); }
Ints new_ints(const Shape& shape) { return Ints(std::vector<py::ssize_t>(shape.begin(), shape.end())); }

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

void expect(const py::array& array, const Shape& shape, const char* what) {
  if (shape_of(array) != shape)
    throw py::value_error(std::string(what) + ": expected shape " + rekur::to_string(shape) + ", got " +
                          rekur::to_string(shape_of(array)));
}

template <class T>
const T* maybe(const std::optional<py::array_t<T, py::array::c_style>>& array, const Shape& shape, const char* what) {
  if (!array) return nullptr;
  expect(*array, shape, what);
  return array->data();
}

Shape three_axes(const Floats& logits) {
  if (logits.ndim() != 3) throw py::value_error("logits: expected three axes");
  return shape_of(logits);
}

py::tuple ctc_loss(const Floats& logits, const Ints& labels, const Ints& counts, const std::optional<Bytes>& valid,
                   std::int32_t blank, bool want_gradient) {
  const Shape s = three_axes(logits);
  if (labels.ndim() != 2) throw py::value_error("labels: expected two axes");
  const Index L = labels.shape(1);
  expect(labels, {s[0], L}, "labels");
  expect(counts, {s[0]}, "counts");
  const sequence::CtcBatch batch = {.B = s[0],
                                    .T = s[1],
                                    .C = s[2],
                                    .L = L,
                                    .logits = logits.data(),
                                    .labels = labels.data(),
                                    .label_counts = counts.data(),
                                    .valid = maybe(valid, {s[0], s[1]}, "valid"),
                                    .blank = blank};
  Doubles values = new_doubles({s[0]});
  std::optional<Floats> gradient;
  if (want_gradient) gradient = new_floats(s);
  double* const to = values.mutable_data();
  float* const d_logits = gradient ? gradient->mutable_data() : nullptr;
  {
    const ReleaseGil release;
    sequence::ctc_loss(batch, to, d_logits);
  }
  return py::make_tuple(values, gradient);
}

sequence::CtcDecoding decoding(const Floats& logits, const std::optional<Ints>& lengths, std::int32_t blank) {
  const Shape s = three_axes(logits);
  return {.B = s[0], .T = s[1], .C = s[2], .logits = logits.data(), .lengths = maybe(lengths, {s[0]}, "lengths"), .blank = blank};
}

py::tuple ctc_greedy(const Floats& logits, const std::optional<Ints>& lengths, std::int32_t blank, bool merge_repeated) {
  const sequence::CtcDecoding what = decoding(logits, lengths, blank);
  Ints labels = new_ints({1, what.B, what.T});
  Floats values = new_floats({what.B});
  std::int32_t* const to = labels.mutable_data();
  float* const value = values.mutable_data();
  {
    const ReleaseGil release;
    sequence::ctc_greedy(what, merge_repeated, to, value);
  }
  return py::make_tuple(labels, values);
}

py::tuple ctc_beam(const Floats& logits, const std::optional<Ints>& lengths, std::int32_t blank, Index width, Index paths,
                   const std::shared_ptr<NGram>& scorer, double alpha, double beta) {
  const sequence::CtcDecoding what = decoding(logits, lengths, blank);
  Ints labels = new_ints({paths, what.B, what.T});
  Doubles values = new_doubles({what.B, paths});
  std::int32_t* const to = labels.mutable_data();
  double* const value = values.mutable_data();
  {
    const ReleaseGil release;
    sequence::ctc_beam(what, {.width = width, .paths = paths, .scorer = scorer.get(), .alpha = alpha, .beta = beta}, to, value);
  }
  return py::make_tuple(labels, values);
}

std::shared_ptr<NGram> n_grams(Index order, double unknown, const Ints& labels, const Ints& sizes, const Doubles& log_p,
                               const Doubles& backoff) {
  auto made = std::make_shared<NGram>(order, unknown);
  expect(log_p, shape_of(sizes), "log_p");
  expect(backoff, shape_of(sizes), "backoff");
  Index at = 0;
  for (py::ssize_t i = 0; i < sizes.size(); ++i) {
    const Index n = sizes.data()[i];
    if (n < 1 || n > order || at + n > labels.size()) throw py::value_error("sizes: they do not fit the labels");
    made->add(labels.data() + at, n, {log_p.data()[i], backoff.data()[i]});
    at += n;
  }
  made->finish();
  return made;
}

// What functions of a chain are given: weights, emissions and lengths of rows.
struct ChainArguments {
  sequence::Chain chain;
  sequence::ChainBatch batch;

  ChainArguments(const Floats& emissions, const Floats& transitions, const std::optional<Floats>& start,
                 const std::optional<Floats>& end, const std::optional<Ints>& lengths)
      : chain(weights(emissions, transitions, start, end)), batch{emissions.shape(0), emissions.shape(1), emissions.data(), {}} {
    batch.steps.T = batch.T;
    batch.steps.lengths = maybe(lengths, {batch.B}, "lengths");
  }

 private:
  static sequence::Chain weights(const Floats& emissions, const Floats& transitions, const std::optional<Floats>& start,
                                 const std::optional<Floats>& end) {
    const Index K = three_axes(emissions)[2];
    expect(transitions, {K, K}, "transitions");
    return {K, transitions.data(), maybe(start, {K}, "start"), maybe(end, {K}, "end")};
  }
};

py::tuple crf_decode(const Floats& emissions, const Floats& transitions, const std::optional<Floats>& start,
                     const std::optional<Floats>& end, const std::optional<Ints>& lengths, Index paths) {
  const ChainArguments a(emissions, transitions, start, end, lengths);
  Ints tags = new_ints({paths, a.batch.B, a.batch.T});
  Doubles scores = new_doubles({a.batch.B, paths});
  std::int32_t* const to = tags.mutable_data();
  double* const score = scores.mutable_data();
  {
    const ReleaseGil release;
    sequence::chain_viterbi(a.chain, a.batch, paths, to, score);
  }
  return py::make_tuple(tags, scores);
}

Floats crf_marginals(const Floats& emissions, const Floats& transitions, const std::optional<Floats>& start,
                     const std::optional<Floats>& end, const std::optional<Ints>& lengths) {
  const ChainArguments a(emissions, transitions, start, end, lengths);
  Floats marginals = new_floats(shape_of(emissions));
  float* const to = marginals.mutable_data();
  {
    const ReleaseGil release;
    sequence::chain_marginals(a.chain, a.batch, to);
  }
  return marginals;
}

// (log Z, score of the tags) of each row.
py::tuple crf_scores(const Floats& emissions, const Floats& transitions, const std::optional<Floats>& start,
                     const std::optional<Floats>& end, const std::optional<Ints>& lengths, const Ints& tags) {
  const ChainArguments a(emissions, transitions, start, end, lengths);
  expect(tags, {a.batch.B, a.batch.T}, "tags");
  Doubles norm = new_doubles({a.batch.B}), scores = new_doubles({a.batch.B});
  double *const z = norm.mutable_data(), *const score = scores.mutable_data();
  {
    const ReleaseGil release;
    sequence::chain_log_norm(a.chain, a.batch, z);
    sequence::chain_scores(a.chain, a.batch, tags.data(), score);
  }
  return py::make_tuple(norm, scores);
}

py::array_t<std::int64_t> edit_distances(const Ints& a, const Ints& a_sizes, const Ints& b, const Ints& b_sizes) {
  const Index count = a_sizes.size();
  expect(b_sizes, {count}, "b_sizes");
  const auto total = [count](const Ints& sizes, const Ints& labels, const char* what) {
    Index sum = 0;
    for (Index i = 0; i < count; ++i) {
      if (sizes.data()[i] < 0) throw py::value_error(std::string(what) + ": a size is negative");
      sum += sizes.data()[i];
    }
    if (sum != labels.size()) throw py::value_error(std::string(what) + ": the sizes do not fit the labels");
  };
  total(a_sizes, a, "a");
  total(b_sizes, b, "b");
  py::array_t<std::int64_t> distances(static_cast<py::ssize_t>(count));
  std::int64_t* const to = distances.mutable_data();
  {
    const ReleaseGil release;
    sequence::edit_distances(a.data(), a_sizes.data(), b.data(), b_sizes.data(), count, to);
  }
  return distances;
}

}  // namespace

void bind_sequence(py::module_& m) {
  py::class_<NGram, std::shared_ptr<NGram>>(m, "NGram")
      .def(py::init(&n_grams), py::arg("order"), py::arg("unknown"), py::arg("labels"), py::arg("sizes"), py::arg("log_p"),
           py::arg("backoff"))
      .def(
          "score",
          [](const NGram& self, const Ints& labels) { return labels.size() == 0 ? 0.0 : self.score(labels.data(), labels.size()); },
          py::arg("labels"));
  m.def("ctc_loss", &ctc_loss, py::arg("logits"), py::arg("labels"), py::arg("counts"), py::arg("valid"), py::arg("blank"),
        py::arg("want_gradient"));
  m.def("ctc_greedy", &ctc_greedy, py::arg("logits"), py::arg("lengths"), py::arg("blank"), py::arg("merge_repeated"));
  m.def("ctc_beam", &ctc_beam, py::arg("logits"), py::arg("lengths"), py::arg("blank"), py::arg("width"), py::arg("paths"),
        py::arg("scorer"), py::arg("alpha"), py::arg("beta"));
  m.def("crf_decode", &crf_decode, py::arg("emissions"), py::arg("transitions"), py::arg("start"), py::arg("end"),
        py::arg("lengths"), py::arg("paths"));
  m.def("crf_marginals", &crf_marginals, py::arg("emissions"), py::arg("transitions"), py::arg("start"), py::arg("end"),
        py::arg("lengths"));
  m.def("crf_scores", &crf_scores, py::arg("emissions"), py::arg("transitions"), py::arg("start"), py::arg("end"),
        py::arg("lengths"), py::arg("tags"));
  m.def("edit_distances", &edit_distances, py::arg("a"), py::arg("a_sizes"), py::arg("b"), py::arg("b_sizes"));
}

}  // namespace rekur::bindings
