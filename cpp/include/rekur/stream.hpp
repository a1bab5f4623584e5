// A live sequence: one time step a call, the states carried along.
//
//   rekur::Model model = rekur::Model::load("amp.safetensors");
//   rekur::Stream stream(model, {.batch = 1});
//   stream.step(x, y);  // in the audio callback
//
// All memory is taken at construction. step, process, reset and the functions of the states allocate nothing, take no lock, make no
// system call and throw nothing. Looped over a sequence, step gives what Model::predict gives for the whole, to the bit on the same
// instruction set: at every step what a layer has there, or, of a layer with return_sequences = false, what it would give if the
// sequence ended there.
//
// One thread at a time may use a stream; any number of streams, of one model or several, go on side by side. A step works on the
// calling thread alone. It flushes denormals and puts the caller's mode back; a thread that flushes them itself
// (denormals.hpp, once a block) saves some nanoseconds a step.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "rekur/memory.hpp"
#include "rekur/model.hpp"

namespace rekur {

struct StreamOptions {
  Index batch = 1;         // sequences that go side by side
  double sample_rate = 0;  // of the steps to come, in Hz; 0: the model's own
#if REKUR_SEQUENCE
  // Inputs that do not step, but are there as a whole before the first step, such as what an encoder gives: sequences that
  // attention reads, (B, T, F), and vectors (B, F). `begin` takes them.
  std::vector<std::string> whole = {};
#endif
  // Where the stream takes its memory from, packed weights included, which it then shares with no other.
  Memory memory = {};
};

// How a stream goes at the rate of its steps. Above the model's rate the states of recurrent layers are read not one step back but
// as many as the rates differ by, between two steps on the line from one to the other: so they live as long as at the model's rate.
enum class RateMatch : std::int32_t {
  same = 0,     // it is the model's, or none was given
  matched = 1,  // it is higher, and all that steps carry on goes by it
  partly = 2,  // … but something still goes by steps: taps of convolutions, attention, positions, masks, states that are matrices
  too_low = 3,  // it is lower: the stream runs as if it were the model's
  unknown = 4   // the model does not say its own: likewise
};

namespace graph {
class LabelStream;
}

class REKUR_API Stream {
 public:
#if REKUR_THROWS
  // Takes the model's weights as they are now: changing them, or destroying the model, does not touch the stream. Streams of the
  // same weights share them. Throws Error naming the layer that cannot go one step at a time, and why: Bidirectional and reverse
  // begin at the end; an initial state computed in the model; a Step of another index than -1; a model without a time axis.
  // A model input that is nothing but a layer's initial state is no input of the stream: set_state gives it.
  // Throws Error too for a sample rate that is negative, not finite or more than 4096 times the model's. Any other one is taken,
  // and rate_match says what comes of it.
  explicit Stream(const Model& model, const StreamOptions& options = {});
#endif
  ~Stream();
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;

  // One step's arrays: the model's inputs and outputs without their time axis; shape[0] is the batch.
  const std::vector<TensorInfo>& inputs() const noexcept REKUR_NONBLOCKING;
  const std::vector<TensorInfo>& outputs() const noexcept REKUR_NONBLOCKING;

  // One step. x: the only input, [batch, F]; y: the only output, [batch, F]. They must not overlap. False, and nothing done, if the
  // stream has more of either, takes ids, has no rows or was moved from, or a pointer is null.
  bool step(const float* x, float* y) noexcept REKUR_NONBLOCKING;
  // Of any number of inputs (float, or std::int32_t of an input of ids) and outputs, in the order of inputs() and outputs(); no
  // output may overlap another or an input. An id out of range gives NaN. False, and nothing done, for another number of them or a
  // null pointer among them.
  bool step(std::span<const void* const> x, std::span<float* const> y) noexcept REKUR_NONBLOCKING;

  // `count` steps at once, which are to the bit what they are one by one: of every array that `step` takes, `count` of them stand
  // one after the other, x [count, batch, F] and y [count, batch, F]. Sooner than one by one: the input's products of many steps
  // are made together, and the mode of denormals is changed once. False, and nothing done, where `step` does so and for a negative
  // count; 0 steps leave everything as it is.
  bool process(const float* x, float* y, Index count) noexcept REKUR_NONBLOCKING;
  bool process(std::span<const void* const> x, std::span<float* const> y, Index count) noexcept REKUR_NONBLOCKING;

  // What there may be before the first step: of the model's inputs, in order, those that are whole and those that are nothing but
  // initial states. shape[0] is -1.
  const std::vector<TensorInfo>& beginnings() const noexcept;
  // How many rows there are: the batch, or where inputs are whole none before `begin`.
  Index rows() const noexcept REKUR_NONBLOCKING;
#if REKUR_SEQUENCE && REKUR_THROWS
  // Sequences begin, as many as `batch` has rows, 1 to the stream's batch, with the arrays of beginnings(); lengths and masks say
  // which steps of a whole sequence there are. Takes memory, and throws Error where something does not fit; nothing is changed
  // then, but where memory runs out there are no rows until the next `begin`.
  void begin(const Batch& batch);
  // The next step's row i goes on from row rows[i], which may stand there several times or not at all. From now on there are as
  // many rows as it says, 1 to the stream's batch. Takes memory; throws Error for a row that there is not.
  void select(std::span<const Index> rows);
#endif

  // What is made of StreamOptions::sample_rate. `unknown` where the stream was moved from.
  RateMatch rate_match() const noexcept REKUR_NONBLOCKING;

  // Bytes of packed weights that a file has, where they lie (Model::map); 0 where the stream or those that share them packed all.
  std::size_t mapped_bytes() const noexcept;

  // The beginning of a sequence: every state zero. Of all rows, or of one of the batch (false: there is no such row).
  void reset() noexcept REKUR_NONBLOCKING;
  bool reset(Index row) noexcept REKUR_NONBLOCKING;

  // All states: of each recurrent layer in the model's order h [batch, units], then, if it has one, c [batch, units]. Behind a mask
  // there follows what the output of a row without the step is made of, where no state says it: "ssm/output", the last one, of a
  // layer whose state is a matrix; "lstm/input", the last input that there was, of residual = true with return_sequences = false.
  // At a rate above the model's "lstm/h" is what the next step reads, and "lstm/h/past" [batch, n, units], the states before it
  // that are to be read later, the latest first, follows.
  std::size_t state_size() const noexcept REKUR_NONBLOCKING;                 // floats
  const std::vector<TensorInfo>& states() const noexcept REKUR_NONBLOCKING;  // "lstm/h", "lstm/c", …
  // `state` has state_size() elements; of another size nothing is done and false returned.
  bool get_state(std::span<float> state) const noexcept REKUR_NONBLOCKING;
  bool set_state(std::span<const float> state) noexcept REKUR_NONBLOCKING;

 private:
  friend class graph::LabelStream;
  friend class Decoder;
  friend class Generator;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rekur
