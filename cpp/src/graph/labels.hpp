// A stream of labels: ids or one-hot vectors go in, what is to be known of the next label comes out. Private to graph/.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "graph/stream_impl.hpp"
#include "rekur/decode.hpp"

namespace rekur::graph {

class LabelStream {
 public:
  using Impl = Stream::Impl;

  // Throws Error for what is no model of labels.
  LabelStream(std::shared_ptr<const Program> program, Index batch, const DecoderOptions& options);

  Index classes() const { return classes_; }
  Impl& impl() { return stream_; }
  const Impl& impl() const { return stream_; }

  // Room for rankings of so many numbers a row, and for the attention paid to as many steps as there are.
  void make_room(Index ranked);

  // One step of all rows, behind which logits() has their outputs: logits, or logarithms of probabilities …
  void step(std::span<const std::int32_t> labels) noexcept;
  std::span<float> logits(Index row) noexcept { return {logits_.data() + row * classes_, static_cast<std::size_t>(classes_)}; }
  std::span<const float> all_logits() const noexcept { return {logits_.data(), static_cast<std::size_t>(stream_.rows * classes_)}; }
  // … or values() and places() the greatest of them, as many as make_room was told, and log_sum() ln Σ e^logit.
  void step_ranked(std::span<const std::int32_t> labels) noexcept;
  std::span<const float> values(Index row) const noexcept {
    return {values_.data() + row * ranked_, static_cast<std::size_t>(filled_[static_cast<std::size_t>(row)])};
  }
  std::span<const std::int32_t> places(Index row) const noexcept {
    return {places_.data() + row * ranked_, static_cast<std::size_t>(filled_[static_cast<std::size_t>(row)])};
  }
  double log_sum(Index row) const noexcept { return log_sums_[static_cast<std::size_t>(row)]; }
  // The attention that the row's last step paid to the steps of the whole input; empty where no output says it.
  std::span<const float> attention(Index row) const noexcept;
  // How many steps the row has of the whole input; the others, which stand in attention() too, are paid nothing.
  Index attended(Index row) const noexcept;

 private:
  static void check(const Impl& stream, const DecoderOptions& options);
  template <class End>
  void run(std::span<const std::int32_t> labels, const End& end) noexcept;
  void to_logits() noexcept;
  std::size_t find_attending() const;
  void rank_logits(Index row) noexcept;

  Stream::Impl stream_;
  int attention_;
  bool logits_given_, one_hot_;
  Index classes_, ranked_ = 0;
  std::size_t last_ = 0;       // the instruction that the output is of
  bool ranks_ = false;         // … which can say what the greatest sums are
  std::size_t attending_ = 0;  // the instruction that the attention is of; none: as many as there are
  std::vector<float> logits_, values_, log_sums_, memory_, vectors_;
  std::vector<std::int32_t> places_;
  std::vector<Index> filled_;
  std::vector<std::vector<float>> others_;  // outputs that nobody asks for
  std::vector<float*> to_;
  const simd::Kernels& kernels_;
};

}  // namespace rekur::graph
