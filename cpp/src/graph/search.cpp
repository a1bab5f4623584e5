#include "graph/search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "isa/dispatch.hpp"
#include "runtime/random.hpp"

namespace rekur::graph {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

Index ranked_by(const DecodeOptions& o, Index classes) {
  if (o.sample) {
    const bool all = o.sampling.repetition_penalty != 1 || (o.sampling.top_k == 0 && o.sampling.temperature != 0);
    return all ? 0 : std::min(classes, o.sampling.temperature == 0 ? Index{1} : o.sampling.top_k);
  }
  // Of so many one beam's the end is but one.
  return std::min(classes, o.beam_width + 1);
}

Search::Search(LabelStream& labels, const DecodeOptions& options, std::span<const std::vector<std::int32_t>> prompts, Index first)
    : labels_(labels),
      options_(options),
      prompts_(prompts),
      first_(first),
      ranked_(ranked_by(options, labels.classes()) > 0),
      sampler_(options.sample ? labels.classes() : 1) {}

void Search::refuse(const Sentence& sentence) const {
  throw_error("decode: row %: what the model gives for label % is no probability of any class (NaN, infinite, or all zero)",
              {first_ + sentence.number, sentence.beams[0].labels.size()});
}

// (Wu et al., equation 14)
double Search::penalty(std::size_t labels) const {
  return std::pow((5.0 + static_cast<double>(labels)) / 6.0, static_cast<double>(options_.length_penalty));
}

void Search::end(Sentence& sentence, Beam&& beam, bool ended) {
  const std::size_t count = beam.labels.size() + (ended ? 1 : 0);
  DecodedPath path{std::move(beam.labels), beam.log_p, beam.log_p / penalty(std::max<std::size_t>(count, 1)), ended};
  // Steps that the row has not are paid nothing: what those that it has are not paid, either, is counted by their number.
  constexpr float kLeast = std::numeric_limits<float>::min();
  double covered = 0;
  Index unpaid = beam.coverage.empty() ? 0 : labels_.attended(beam.row);
  for (const float paid : beam.coverage) {
    if (!(paid > 0)) continue;
    covered += std::log(std::min(std::max(paid, kLeast), 1.0f));
    --unpaid;
  }
  if (unpaid > 0) covered += static_cast<double>(unpaid) * std::log(kLeast);
  path.score += static_cast<double>(options_.coverage_penalty) * covered;
  const auto worse = std::upper_bound(sentence.ended.begin(), sentence.ended.end(), path.score,
                                      [](double score, const DecodedPath& other) { return score > other.score; });
  sentence.ended.insert(worse, std::move(path));
  if (static_cast<Index>(sentence.ended.size()) > options_.beam_width) sentence.ended.pop_back();
}

// Whether no sequence that goes on can score more than the worst of beam_width ended ones: its log p falls, and is divided by the
// penalty of the longest at most; what coverage adds is at most 0.
bool Search::none_better(const Sentence& sentence) const {
  if (static_cast<Index>(sentence.ended.size()) < options_.beam_width) return false;
  if (options_.early_stop) return true;
  double best = -std::numeric_limits<double>::infinity();
  for (const Beam& beam : sentence.beams) best = std::max(best, beam.log_p);
  return best / penalty(static_cast<std::size_t>(options_.steps)) <= sentence.ended.back().score;
}

void Search::take_attention(Sentence& sentence) {
  if (options_.coverage_penalty == 0) return;
  for (Beam& beam : sentence.beams) {
    const std::span<const float> paid = labels_.attention(beam.row);
    beam.coverage.resize(paid.size());
    for (std::size_t s = 0; s < paid.size(); ++s) beam.coverage[s] += paid[s];
  }
}

// The next label, whose log p is added to the beam's.
std::int32_t Search::draw(Sentence& sentence) {
  Beam& beam = sentence.beams[0];
  const Sampling& s = options_.sampling;
  const std::vector<std::int32_t>& prompt = prompts_[static_cast<std::size_t>(sentence.number)];
  const auto row = static_cast<std::uint64_t>(first_ + sentence.number);
  // The labels that were read: a sequence that goes on from some of its own labels draws the others as it did.
  const std::uint64_t number = beam.labels.size() + (options_.mixed > 0 ? 0 : prompt.size());
  std::int32_t label;
  double logit, log_sum;
  if (ranked_) {
    const std::span<const float> values = labels_.values(beam.row);
    const std::span<const std::int32_t> places = labels_.places(beam.row);
    log_sum = labels_.log_sum(beam.row);
    label = !(log_sum < kInfinity) ? -1 : sampler_.choose_ranked(values, places, s, row, number);
    if (label < 0) refuse(sentence);
    logit = static_cast<double>(values[static_cast<std::size_t>(std::find(places.begin(), places.end(), label) - places.begin())]);
  } else {
    const std::span<float> logits = labels_.logits(beam.row);
    float best;
    std::int32_t place;
    simd::RankedRow ranked{1, &best, &place};
    isa::kernels().rank(logits.data(), labels_.classes(), 0, ranked);
    const std::vector<float> before(logits.begin(), logits.end());
    std::vector<std::int32_t> history;
    if (s.repetition_penalty != 1) {
      history = prompt;
      history.insert(history.end(), beam.labels.begin(), beam.labels.end());
    }
    label = sampler_.choose(logits, s, history, row, number);
    if (label < 0 || !(ranked.sum < kInfinity)) refuse(sentence);
    logit = static_cast<double>(before[static_cast<std::size_t>(label)]);
    log_sum = static_cast<double>(ranked.largest) + std::log(ranked.sum);
  }
  beam.log_p += logit - log_sum;
  return label;
}

bool Search::sample(Sentence& sentence) {
  Beam& beam = sentence.beams[0];
  beam.next = draw(sentence);
  if (beam.next == options_.end) {
    end(sentence, std::move(beam), true);
    return false;
  }
  beam.labels.push_back(beam.next);
  return true;
}

// What is read next, of a prompt that is read to its end: its own label, or one that is drawn.
bool Search::mix(Sentence& sentence) {
  const std::vector<std::int32_t>& prompt = prompts_[static_cast<std::size_t>(sentence.number)];
  Beam& beam = sentence.beams[0];
  beam.labels.push_back(beam.next);
  const std::size_t read = beam.labels.size();
  if (read == prompt.size()) {
    end(sentence, std::move(beam), false);
    return false;
  }
  constexpr std::uint32_t kStream = 0x6d697865;  // apart from what draws labels
  const auto row = static_cast<std::uint64_t>(first_ + sentence.number);
  const bool own = random::Stream(options_.sampling.seed, row, kStream).uniform(read) < static_cast<double>(options_.mixed);
  beam.next = own ? draw(sentence) : prompt[read];
  return true;
}

bool Search::widen(Sentence& sentence) {
  struct Candidate {
    double log_p;
    std::size_t beam;
    std::int32_t label;
  };
  std::vector<Candidate> candidates;
  for (std::size_t b = 0; b < sentence.beams.size(); ++b) {
    const Beam& beam = sentence.beams[b];
    const double log_sum = labels_.log_sum(beam.row);
    if (!(log_sum < kInfinity)) refuse(sentence);
    const std::span<const float> values = labels_.values(beam.row);
    for (std::size_t i = 0; i < values.size(); ++i)
      if (values[i] != -std::numeric_limits<float>::infinity())
        candidates.push_back({beam.log_p + static_cast<double>(values[i]) - log_sum, b, labels_.places(beam.row)[i]});
  }
  if (candidates.empty()) refuse(sentence);
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.log_p > b.log_p; });
  std::vector<Beam> next;
  const auto width = static_cast<std::size_t>(options_.beam_width);
  for (std::size_t rank = 0; rank < candidates.size() && next.size() < width; ++rank) {
    const Candidate& c = candidates[rank];
    Beam beam = sentence.beams[c.beam];
    beam.log_p = c.log_p;
    beam.next = c.label;
    if (c.label == options_.end) {
      if (rank < width) end(sentence, std::move(beam), true);
      continue;
    }
    beam.labels.push_back(c.label);
    next.push_back(std::move(beam));
  }
  if (width == 1 && !sentence.ended.empty()) return false;
  sentence.beams = std::move(next);
  return !sentence.beams.empty() && !none_better(sentence);
}

bool Search::advance(Sentence& sentence) {
  const std::vector<std::int32_t>& prompt = prompts_[static_cast<std::size_t>(sentence.number)];
  if (options_.mixed > 0) return mix(sentence);
  take_attention(sentence);
  if (++sentence.read < prompt.size()) {  // what the prompt leads to is known
    sentence.beams[0].next = prompt[sentence.read];
    return true;
  }
  bool goes_on = options_.sample ? sample(sentence) : widen(sentence);
  if (goes_on && static_cast<Index>(sentence.beams[0].labels.size()) == options_.steps) {
    goes_on = false;
    for (Beam& beam : sentence.beams) end(sentence, std::move(beam), false);
  }
  return goes_on;
}

void Search::step(const std::vector<Sentence>& sentences) {
  read_.clear();
  for (const Sentence& sentence : sentences)
    for (const Beam& beam : sentence.beams) read_.push_back(beam.next);
  if (ranked_)
    labels_.step_ranked(read_);
  else
    labels_.step(read_);
}

void Search::run(std::span<std::vector<DecodedPath>> results) {
  std::vector<Sentence> sentences;
  for (Index number = 0; number < static_cast<Index>(prompts_.size()); ++number) {
    Sentence& sentence = sentences.emplace_back();
    sentence.number = number;
    Beam& beam = sentence.beams.emplace_back();
    beam.row = number;
    beam.next = prompts_[static_cast<std::size_t>(number)][0];
  }
  std::vector<Index> from;
  while (!sentences.empty()) {
    step(sentences);
    std::vector<Sentence> left;
    from.clear();
    for (Sentence& sentence : sentences) {
      if (!advance(sentence)) {
        std::vector<DecodedPath>& paths = results[static_cast<std::size_t>(sentence.number)];
        paths = std::move(sentence.ended);
        if (static_cast<Index>(paths.size()) > options_.top_paths) paths.resize(static_cast<std::size_t>(options_.top_paths));
        continue;
      }
      for (Beam& beam : sentence.beams) {
        from.push_back(beam.row);
        beam.row = static_cast<Index>(from.size()) - 1;
      }
      left.push_back(std::move(sentence));
    }
    sentences = std::move(left);
    bool same = static_cast<Index>(from.size()) == labels_.impl().rows;
    for (std::size_t i = 0; same && i < from.size(); ++i) same = from[i] == static_cast<Index>(i);
    if (!from.empty() && !same) labels_.impl().select(from);
  }
}

}  // namespace rekur::graph
