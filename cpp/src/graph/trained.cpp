// What of a graph may be set beside its weights: which layers are trained, and how fast; the signal that it is for.
#include <algorithm>
#include <limits>

#include "graph/graph.hpp"
#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io/text.hpp"
#include "runtime/locks.hpp"

namespace rekur::graph {

std::shared_ptr<const Trained> Graph::trained() const {
  const runtime::Guard lock(trained_mutex_);
  return trained_;
}

void Graph::compute_in(Precision precision) {
  const Segment own[] = {{0, 0, 0, 0}};
  const HeldStores held(stores_, own);  // waits for the runs that are under way
  if (precision == precision_) return;
  precision_ = precision;
  ++stores_.own().version;  // tapes of before have other records
  const runtime::Guard lock(programs_mutex_);
  programs_.clear();  // streams that are to come are of the new precision; those there are keep theirs
  for (const Node& node : topology_.nodes) node.layer->compute_in(precision);
  const runtime::Guard plans(plans_mutex_);
  plans_.clear();  // a tape is as large as its precision says
}

void Graph::set_trained(const std::string& layer, bool trained, float rate) {
  const auto found = std::find(topology_.owners.begin(), topology_.owners.end(), layer);
  if (found == topology_.owners.end()) {
    const std::vector<std::string_view> known(topology_.owners.begin(), topology_.owners.end());
    throw_error("model: %", {unknown_name("layer", layer, known)});
  }
  if (!(rate >= 0 && rate <= std::numeric_limits<float>::max()))
    throw_error("model: layer '%': expected a multiple of the learning rate from 0 to 3.4e38, got %",
                {layer, json::describe(json::Value(static_cast<double>(rate)))});
  const runtime::Call call;
  const runtime::Guard lock(trained_mutex_);
  auto changed = std::make_shared<Trained>(*trained_);
  const auto owner = static_cast<std::size_t>(found - topology_.owners.begin());
  changed->owner[owner] = trained;
  changed->rate[owner] = rate;
  ++changed->number;
  const auto is = [](auto wanted) { return [wanted](auto value) { return value == wanted; }; };
  changed->all = std::all_of(changed->owner.begin(), changed->owner.end(), is(char{true})) &&
                 std::all_of(changed->rate.begin(), changed->rate.end(), is(1.0f));
  trained_ = std::move(changed);
}

// {"frozen": ["lstm"], "learning_rate_scale": {"dense": 0.1}}
std::string Graph::trained_text() const {
  const std::shared_ptr<const Trained> now = trained();
  if (now->all) return "";
  json::Array frozen;
  json::Object rates;
  for (std::size_t i = 0; i < topology_.owners.size(); ++i) {
    if (!now->owner[i]) frozen.emplace_back(topology_.owners[i]);
    if (now->rate[i] != 1) rates.set(topology_.owners[i], static_cast<double>(now->rate[i]));
  }
  return json::write(json::Object{{"frozen", std::move(frozen)}, {"learning_rate_scale", std::move(rates)}});
}

void Graph::set_trained(const std::string& text) {
  const json::Value value = json::parse(text);
  json::Reader reader(value, compose("'%'", {kTrainedKey}));
  std::vector<std::string> frozen;
  for (const json::Value& name : reader.array("frozen")) {
    if (!name.is_string()) reader.refuse("frozen", "an array of layer names");
    frozen.push_back(name.string());
  }
  const json::Value& rates = reader.get("learning_rate_scale");
  if (!rates.is_object()) reader.refuse("learning_rate_scale", "an object of numbers by layer");
  reader.finish();
  for (const std::string& name : frozen) set_trained(name, false, 1);
  for (const json::Member& rate : rates.object()) {
    if (!rate.value.is_number()) reader.refuse("learning_rate_scale", "an object of numbers by layer");
    const bool is_frozen = std::find(frozen.begin(), frozen.end(), rate.key) != frozen.end();
    set_trained(std::string(rate.key), !is_frozen, static_cast<float>(rate.value.number()));
  }
}

void Graph::set_signal(const Signal& signal) {
  if (!(signal.sample_rate >= 0 && signal.sample_rate <= std::numeric_limits<double>::max()))
    throw_error("model: expected a sample rate of 0, for none, or a finite number of Hz above it, got %",
                {json::describe(json::Value(signal.sample_rate))});
  if (!is_latency(signal.latency)) throw_error("model: expected a latency of 0 to 2147483647 samples, got %", {signal.latency});
  const runtime::Call call;
  const runtime::Guard lock(trained_mutex_);
  json::Object said, changed;
  if (signal.sample_rate > 0) said.set("sample_rate", signal.sample_rate);
  if (signal.latency > 0) said.set("latency", signal.latency);
  const json::Value before = json::parse(spec_);
  for (const json::Member& member : before.object())
    if (member.key != "signal") changed.set(member.key, member.value);
  if (!said.empty()) changed.set("signal", std::move(said));
  spec_ = json::write(changed);
  topology_.signal = signal;
}

}  // namespace rekur::graph
