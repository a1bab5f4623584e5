// Live sequences. python/rekur/_streams.py checks what comes here.
#include "bindings.hpp"
#include "rekur/decode.hpp"
#include "rekur/stream.hpp"
#include "sequence/sampler.hpp"

namespace rekur::bindings {
namespace {

py::list described(const std::vector<TensorInfo>& tensors) {
  py::list list;
  for (const TensorInfo& t : tensors) list.append(py::make_tuple(t.name, to_tuple(t.shape), to_string(t.dtype)));
  return list;
}

// `count` steps (-1: one, without an axis for them): arrays as inputs() and outputs() say, several steps one after the other.
std::vector<Floats> run(Stream& stream, const py::sequence& x, Index count) {
  const std::vector<TensorInfo>& inputs = stream.inputs();
  if (x.size() != inputs.size())
    throw py::value_error("stream: expected " + std::to_string(inputs.size()) + " arrays, got " + std::to_string(x.size()));
  const auto shape_of = [&](const TensorInfo& info) {
    Shape shape = info.shape;
    if (count >= 0) shape.insert(shape.begin(), count);
    return shape;
  };
  std::vector<py::object> keep;
  std::vector<const void*> from;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const ConstView v = kept_view(x[i], inputs[i].name.c_str(), keep);
    const Shape expected = shape_of(inputs[i]);
    if (v.shape != expected || v.dtype != inputs[i].dtype)
      throw py::value_error("stream: input '" + inputs[i].name + "': expected " + to_string(inputs[i].dtype) + " of shape " +
                            rekur::to_string(expected) + ", got " + to_string(v.dtype) + " of shape " + rekur::to_string(v.shape));
    from.push_back(v.data);
  }
  std::vector<Floats> y;
  std::vector<float*> to;
  for (const TensorInfo& info : stream.outputs()) {
    y.push_back(new_floats(shape_of(info)));
    to.push_back(y.back().mutable_data());
  }
  bool done;
  {
    const ReleaseGil release;
    done = count < 0 ? stream.step(from, to) : stream.process(from, to, count);
  }
  if (!done && count != 0) throw py::value_error("stream: it has no rows: begin comes first");
  return y;
}

const char* name_of(RateMatch match) {
  switch (match) {
    case RateMatch::same:
      return "same";
    case RateMatch::matched:
      return "matched";
    case RateMatch::partly:
      return "partly";
    case RateMatch::too_low:
      return "too_low";
    case RateMatch::unknown:
      return "unknown";
  }
  return "";
}

DecodeOptions options_of(const py::dict& given) {
  DecodeOptions o;
  for (const auto& [key, value] : given) {
    const auto name = key.cast<std::string>();
    if (name == "steps")
      o.steps = value.cast<Index>();
    else if (name == "start")
      o.start = value.cast<std::int32_t>();
    else if (name == "end")
      o.end = value.cast<std::int32_t>();
    else if (name == "sample")
      o.sample = value.cast<bool>();
    else if (name == "temperature")
      o.sampling.temperature = value.cast<float>();
    else if (name == "top_k")
      o.sampling.top_k = value.cast<Index>();
    else if (name == "top_p")
      o.sampling.top_p = value.cast<float>();
    else if (name == "repetition_penalty")
      o.sampling.repetition_penalty = value.cast<float>();
    else if (name == "seed")
      o.sampling.seed = value.cast<std::uint64_t>();
    else if (name == "beam_width")
      o.beam_width = value.cast<Index>();
    else if (name == "top_paths")
      o.top_paths = value.cast<Index>();
    else if (name == "length_penalty")
      o.length_penalty = value.cast<float>();
    else if (name == "coverage_penalty")
      o.coverage_penalty = value.cast<float>();
    else if (name == "mixed")
      o.mixed = value.cast<float>();
    else if (name == "early_stop")
      o.early_stop = value.cast<bool>();
    else
      throw py::value_error("decode: unknown option '" + name + "'");
  }
  return o;
}

std::vector<std::vector<std::int32_t>> labels_of(const py::sequence& rows) {
  std::vector<std::vector<std::int32_t>> labels;
  for (const py::handle row : rows) {
    const auto array = row.cast<Ints>();
    labels.emplace_back(array.data(), array.data() + array.size());
  }
  return labels;
}

// By row its paths: (labels, log p, score, whether it ended).
py::list decode(const Decoder& decoder, const py::sequence& given, const py::object& steps, const py::sequence& prompts,
                const py::dict& options) {
  const PyBatch b = to_batch(given, steps);
  const std::vector<std::vector<std::int32_t>> labels = labels_of(prompts);
  const DecodeOptions how = options_of(options);
  Decoded decoded;
  {
    const ReleaseGil release;
    decoded = decoder.decode(b.batch, labels, how);
  }
  py::list rows;
  for (const std::vector<DecodedPath>& paths : decoded.rows) {
    py::list list;
    for (const DecodedPath& path : paths)
      list.append(
          py::make_tuple(copied({static_cast<Index>(path.labels.size())}, path.labels.data()), path.log_p, path.score, path.ended));
    rows.append(std::move(list));
  }
  return rows;
}

DecoderOptions decoder_options(const std::vector<std::string>& whole, bool logits, int attention) {
  return {.whole = whole, .logits = logits, .attention = attention};
}

// A label of each row of logits (B, V), which has read `number` labels, as a Decoder and a Generator draw it; -1 where none can be.
Ints draw_labels(const Floats& logits, std::uint64_t number, const py::sequence& history, const py::dict& options) {
  if (logits.ndim() != 2 || logits.shape(1) < 1) throw py::value_error("logits: expected two axes");
  const Index B = logits.shape(0), V = logits.shape(1);
  const std::vector<std::vector<std::int32_t>> before = labels_of(history);
  if (static_cast<Index>(before.size()) != B) throw py::value_error("history: expected a list a row");
  for (const auto& row : before)
    for (const std::int32_t label : row)
      if (label < 0 || label >= V) throw py::value_error("history: a label is no class");
  const Sampling sampling = options_of(options).sampling;
  Ints labels(static_cast<py::ssize_t>(B));
  sequence::Sampler sampler(V);
  std::vector<float> own(logits.data(), logits.data() + B * V);
  for (Index row = 0; row < B; ++row)
    labels.mutable_data()[row] = sampler.choose({own.data() + row * V, static_cast<std::size_t>(V)}, sampling,
                                                before[static_cast<std::size_t>(row)], static_cast<std::uint64_t>(row), number);
  return labels;
}

void bind_decoder(py::module_& m) {
  m.def("draw_labels", &draw_labels, py::arg("logits"), py::arg("number"), py::arg("history"), py::arg("options"));
  py::class_<Decoder>(m, "Decoder")
      .def(py::init([](const Model& model, const std::vector<std::string>& whole, bool logits, int attention) {
             return std::make_unique<Decoder>(model, decoder_options(whole, logits, attention));
           }),
           py::arg("model"), py::arg("whole"), py::arg("logits"), py::arg("attention") = -1)
      .def_property_readonly("classes", &Decoder::classes)
      .def_property_readonly("beginnings", [](const Decoder& self) { return described(self.beginnings()); })
      .def("decode", &decode, py::arg("given"), py::arg("steps"), py::arg("prompts"), py::arg("options"));
  py::class_<Generator>(m, "Generator")
      .def(py::init([](const Model& model, Index batch, const std::vector<std::string>& whole, bool logits) {
             return std::make_unique<Generator>(model, batch, decoder_options(whole, logits, -1));
           }),
           py::arg("model"), py::arg("batch"), py::arg("whole"), py::arg("logits"))
      .def_property_readonly("classes", &Generator::classes)
      .def(
          "begin",
          [](Generator& self, const py::sequence& arrays, const py::object& steps) {
            const PyBatch b = to_batch(arrays, steps);
            self.begin(b.batch);
          },
          py::arg("arrays"), py::arg("steps") = py::none())
      .def("reset", &Generator::reset)
      .def(
          "read",
          [](Generator& self, const Ints& labels) { return self.read({labels.data(), static_cast<std::size_t>(labels.size())}); },
          py::arg("labels"))
      .def(
          "next",
          [](Generator& self, const py::dict& options, Index batch) -> std::optional<Ints> {
            Ints labels(static_cast<py::ssize_t>(batch));
            const Sampling sampling = options_of(options).sampling;
            bool done;
            const std::span<std::int32_t> to(labels.mutable_data(), static_cast<std::size_t>(batch));
            {
              const ReleaseGil release;
              done = self.next(sampling, to);
            }
            if (!done) return std::nullopt;
            return labels;
          },
          py::arg("options"), py::arg("batch"))
      .def("logits", [](const Generator& self) {
        const std::span<const float> all = self.logits();
        const Index classes = self.classes();
        return copied({static_cast<Index>(all.size()) / std::max<Index>(classes, 1), classes}, all.data());
      });
}

}  // namespace

void bind_stream(py::module_& m) {
  bind_decoder(m);
  py::class_<Stream>(m, "Stream")
      .def(py::init([](const Model& model, Index batch, const std::vector<std::string>& whole, double sample_rate) {
             return std::make_unique<Stream>(model, StreamOptions{.batch = batch, .sample_rate = sample_rate, .whole = whole});
           }),
           py::arg("model"), py::arg("batch") = 1, py::arg("whole") = std::vector<std::string>(), py::arg("sample_rate") = 0.0)
      .def_property_readonly("rate_match", [](const Stream& self) { return name_of(self.rate_match()); })
      .def_property_readonly("inputs", [](const Stream& self) { return described(self.inputs()); })
      .def_property_readonly("outputs", [](const Stream& self) { return described(self.outputs()); })
      .def_property_readonly("states", [](const Stream& self) { return described(self.states()); })
      .def_property_readonly("beginnings", [](const Stream& self) { return described(self.beginnings()); })
      .def_property_readonly("rows", &Stream::rows)
      .def(
          "step", [](Stream& self, const py::sequence& x) { return run(self, x, -1); }, py::arg("x"))
      .def("process", &run, py::arg("x"), py::arg("count"))
      .def(
          "begin",
          [](Stream& self, const py::sequence& arrays, const py::object& steps) {
            const PyBatch b = to_batch(arrays, steps);
            const ReleaseGil release;
            self.begin(b.batch);
          },
          py::arg("arrays"), py::arg("steps") = py::none())
      .def(
          "select", [](Stream& self, const std::vector<Index>& rows) { self.select(rows); }, py::arg("rows"))
      .def(
          "reset",
          [](Stream& self, std::optional<Index> row) {
            if (!row) return self.reset();
            if (!self.reset(*row)) throw py::index_error("stream: there is no row " + std::to_string(*row));
          },
          py::arg("row") = py::none())
      .def("get_state",
           [](const Stream& self) {
             Floats flat(static_cast<py::ssize_t>(self.state_size()));
             self.get_state({flat.mutable_data(), self.state_size()});
             return flat;
           })
      .def(
          "set_state",
          [](Stream& self, const py::object& flat) {
            const std::size_t n = self.state_size();
            self.set_state({float_data(flat, "state", static_cast<Index>(n)), n});
          },
          py::arg("state"));
}

}  // namespace rekur::bindings
