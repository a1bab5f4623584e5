// The labels of some rows: at each step what the stream expects next, and which sequences go on. Private to graph/.
#pragma once

#include <span>
#include <vector>

#include "graph/labels.hpp"
#include "sequence/sampler.hpp"

namespace rekur::graph {

class Search {
 public:
  // `labels` has begun with so many rows as prompts; rows are numbered from `first` on, for draws and messages.
  Search(LabelStream& labels, const DecodeOptions& options, std::span<const std::vector<std::int32_t>> prompts, Index first);

  // Throws Error where an output is no number.
  void run(std::span<std::vector<DecodedPath>> results);

 private:
  struct Beam {
    std::vector<std::int32_t> labels;
    std::vector<float> coverage;
    double log_p = 0;
    Index row = 0;           // of the stream
    std::int32_t next = -1;  // what the next step reads
  };
  struct Sentence {
    Index number;          // among the rows of this search
    std::size_t read = 0;  // labels of the prompt
    std::vector<Beam> beams;
    std::vector<DecodedPath> ended;  // best first
  };

  void step(const std::vector<Sentence>& sentences);
  void take_attention(Sentence& sentence);
  // Its beams after the step; false: the sentence has ended.
  bool advance(Sentence& sentence);
  bool sample(Sentence& sentence);
  std::int32_t draw(Sentence& sentence);
  bool mix(Sentence& sentence);
  bool widen(Sentence& sentence);
  void end(Sentence& sentence, Beam&& beam, bool ended);
  bool none_better(const Sentence& sentence) const;
  double penalty(std::size_t labels) const;
  [[noreturn]] void refuse(const Sentence& sentence) const;

  LabelStream& labels_;
  const DecodeOptions& options_;
  std::span<const std::vector<std::int32_t>> prompts_;
  Index first_;
  bool ranked_;
  sequence::Sampler sampler_;
  std::vector<std::int32_t> read_;
};

// How many numbers of a ranking a search wants; 0: it goes by all logits.
Index ranked_by(const DecodeOptions& options, Index classes);

}  // namespace rekur::graph
