// Initial values of parameters, by the initialisers of the spec (docs/spec.md).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "io/json.hpp"
#include "rekur/tensor.hpp"

namespace rekur::train {

// Throws Error, beginning with the context ("LSTM 'lstm': kernel_initializer"), unless the initialiser (a name or an object) is
// known, has only parameters it knows, and they make sense.
void check_initializer(const json::Value& initializer, std::string_view context);

// Fills `out` (of element_count(shape) floats) with draws from (seed, stream): the same numbers on every machine and for every
// number of threads. `units` is the layer's: what "rnn_uniform" and "unit_forget" go by; `forget` is where in a bias those of the
// forget gate begin, -1 where there are none. Throws Error as check_initializer does, and where the parameter does not suit the
// initialiser ("unit_forget" is for a bias with a forget gate's; its key "others" is the initialiser of the gates beside it, zeros
// by default).
//
// glorot, he, lecun: fan-in and fan-out are the first and the last dimension of a matrix, both the length of a vector; the normal
// forms are truncated at two standard deviations and scaled up so that the variance is the one named (Keras). orthogonal: the
// matrix of all leading dimensions × the last, its rows or its columns, whichever are fewer, orthonormal and uniformly distributed
// (Haar), times gain (Saxe et al., 2014).
void initialize(const json::Value& initializer, const Shape& shape, std::string_view context, std::uint64_t seed,
                std::uint32_t stream, Index units, Index forget, std::span<float> out);

}  // namespace rekur::train
