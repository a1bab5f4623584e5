#include "layers/stream_op.hpp"

namespace rekur::layers {

StreamCall StreamCall::at(Index t) const {
  for (const std::span<const int> own : {inputs, outputs})
    for (const int array : own) moved[array] = static_cast<char*>(arrays[array]) + t * bytes[array];
  StreamCall one = *this;
  one.arrays = moved;
  return one;
}

void StreamOp::steps(const StreamCall& call, int turn, Index count) const noexcept {
  if (rowwise()) {
    StreamCall all = call;
    all.batch *= count;
    return step(all, turn);
  }
  for (Index t = 0; t < count; ++t, turn = 1 - turn) step(call.at(t), turn);
}

}  // namespace rekur::layers
