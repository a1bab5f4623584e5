// From what a model says of the next label to labels: greedy, sampled, or the best of a beam.
//
//   rekur::Decoder decoder(model, {.whole = {"memory", "h", "c"}});
//   rekur::Decoded found = decoder.decode(encoded, {}, {.start = 1, .end = 2, .beam_width = 5});
//
// A model of labels has one input that steps: ids (B, T), or one-hot vectors (B, T, classes). Its first output says what comes
// next: a softmax over the classes, or the logits of one. It may have inputs that do not step (stream.hpp): what an encoder gives.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rekur/model.hpp"
#include "rekur/stream.hpp"

#if REKUR_SEQUENCE && REKUR_THROWS
namespace rekur {

// How a label is drawn, in this order: logits of labels that there are already are divided by repetition_penalty (multiplied, where
// they are negative; Keskar et al., arXiv:1909.05858), all are divided by the temperature, and of the top_k greatest those are kept
// whose probabilities first reach top_p together (Holtzman et al., arXiv:1904.09751). A draw goes by the seed, the row's
// number and how many labels came before alone: what is drawn behind a prompt of own labels is what was drawn there before.
struct Sampling {
  float temperature = 1;         // 0: always the most probable label
  Index top_k = 0;               // 0: all
  float top_p = 1;               // 1: all
  float repetition_penalty = 1;  // 1: none
  std::uint64_t seed = 0;
};

struct DecodeOptions {
  Index steps = 100;        // labels of a row, at most, the end included
  std::int32_t start = -1;  // what the first step reads, of rows without a prompt
  std::int32_t end = -1;    // the label that ends a row; -1: none does
  // Draws labels (a beam of one), instead of looking for the most probable sequence.
  bool sample = false;
  Sampling sampling = {};
  // Sequences that are kept at each step; 1 is greedy. The best are those of the greatest score: log p / ((5 + n) /
  // 6)^length_penalty of n labels, the end among them, plus coverage_penalty Σ_s ln min(attention paid to step s, 1) (Wu et al.,
  // arXiv:1609.08144).
  Index beam_width = 1;
  Index top_paths = 1;  // of each row, at most beam_width
  float length_penalty = 0, coverage_penalty = 0;
  // Above 0 nothing is decoded, but prompts are read to their ends: each label but the first is, with this probability, replaced by
  // one that is drawn from what the model expects there. Paths are the labels that were read: what a decoder is trained on with
  // scheduled sampling (Bengio et al., arXiv:1506.03099). For `sample` alone.
  float mixed = 0;
  // Ends a row when beam_width sequences have ended; else when no other can score more.
  bool early_stop = false;
};

struct DecodedPath {
  std::vector<std::int32_t> labels;  // without prompt and end
  double log_p = 0, score = 0;       // the end included
  bool ended = false;
};

// By row: the best paths first.
struct Decoded {
  std::vector<std::vector<DecodedPath>> rows;
};

struct DecoderOptions {
  std::vector<std::string> whole = {};  // StreamOptions::whole
  // Of an output that is not known to be a softmax or a Dense layer's sums: whether it is logits, not probabilities.
  bool logits = false;
  int attention = -1;  // which output is the attention paid to a whole input's steps, (B, T, its steps); -1: none
};

class REKUR_API Decoder {
 public:
  // Takes the model's weights as they are now. Throws Error naming what is no model of labels, and as Stream does.
  explicit Decoder(const Model& model, const DecoderOptions& options = {});
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  Index classes() const noexcept;
  const std::vector<TensorInfo>& beginnings() const noexcept;  // Stream::beginnings

  // Of as many rows as `given`, which follows beginnings(), or `prompts` has. prompts: by row the labels to go on from, one at
  // least; empty: `start` for all. Rows share the threads, and one that has ended is computed no further. A row's result depends on
  // nothing but the row and its number. Throws Error for what does not fit, and where the model's outputs are no numbers.
  Decoded decode(const Batch& given, std::span<const std::vector<std::int32_t>> prompts, const DecodeOptions& options) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One label a call, for as long as one likes, the states carried along. All memory is taken at construction; the functions that
// follow allocate nothing and throw nothing.
class REKUR_API Generator {
 public:
  explicit Generator(const Model& model, Index batch = 1, const DecoderOptions& options = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  Index classes() const noexcept;
  // What the stream begins with, where it does not begin with zeros. Takes memory.
  void begin(const Batch& given);
  // Another sequence: states zero, nothing read.
  void reset() noexcept;
  // Reads a label of each row. False, and nothing done, for another number of them or one that is no class.
  bool read(std::span<const std::int32_t> labels) noexcept;
  // Draws a label of each row from what the last one led to, and reads it. False, and nothing done, before the first `read`, for
  // another number of labels, settings out of range, or where an output is no number: then what labels holds is undefined.
  bool next(const Sampling& sampling, std::span<std::int32_t> labels) noexcept;
  // The logits or logarithms of probabilities of what comes next, [batch, classes]; of rows that have read nothing zeros.
  std::span<const float> logits() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rekur
#endif
