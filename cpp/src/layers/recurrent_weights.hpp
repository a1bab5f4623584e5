// Where the parameters of a recurrent layer stand: one direction after the other, each in the order of add_recurrent_parameters.
#pragma once

#include "layers/cell_matrices.hpp"
#include "layers/recurrent_settings.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {

class RecurrentWeights {
 public:
  // The settings must outlive it.
  explicit RecurrentWeights(const RecurrentSettings& settings) : s_(&settings) {}

  // Once the input is known; given: initial states that are inputs, the first ones.
  void place(Index input_size, std::size_t given) {
    given_ = given;
    kernel_ = input_size * s_->kernel_blocks * s_->units;
    own_kernel_ = own_kernel_size(*s_);
    bias_ = s_->use_bias ? (s_->kernel_blocks + (s_->recurrent_bias ? s_->recurrent_blocks : 0)) * s_->units : 0;
    units_ = 0;
    for (const UnitWeights& weights : s_->unit_weights) units_ += std::max<Index>(weights.rows, 1) * s_->units;
    direction_ = kernel_ + own_kernel_ + bias_ + units_ + matrices_size(*s_) + s_->units * s_->projection_size;
    for (std::size_t k = 0; k < s_->states.size(); ++k) direction_ += learned(k) ? s_->state_width(k) : 0;
  }

  // Whether state s of each direction begins as a parameter: none is given for it.
  bool learned(std::size_t s) const { return s_->learn_initial_state && s >= given_; }

  template <class T>
  T* own_kernel(T* base, std::size_t d) const {
    return base + static_cast<Index>(d) * direction_ + kernel_;
  }
  template <class T>
  T* matrices(T* base, std::size_t d) const {
    return own_kernel(base, d) + own_kernel_ + bias_ + units_;
  }
  template <class T>
  T* initial(T* base, std::size_t d, std::size_t s) const {
    T* at = base + static_cast<Index>(d + 1) * direction_;
    for (std::size_t k = s; k < s_->states.size(); ++k) at -= s_->state_width(k);
    return at;
  }

  // As the engine takes them. Where its recurrent kernel is put together of several (cell_matrices.hpp), that is for the caller.
  template <class T>
  recurrent::Weights<T> of(T* base, std::size_t d) const {
    T* const recurrent_kernel = own_kernel(base, d);
    T *const bias = recurrent_kernel + own_kernel_, *const units = bias + bias_;
    T* const projection = s_->projection_size > 0 ? units + units_ : nullptr;
    T* const kernel = recurrent_kernel - kernel_;
    if (s_->options.normalize_sums) return {kernel, recurrent_kernel, nullptr, bias, projection};  // biases are weights a unit
    return {kernel, recurrent_kernel, bias_ > 0 ? bias : nullptr, units_ > 0 ? units : nullptr, projection};
  }

 private:
  const RecurrentSettings* s_;
  std::size_t given_ = 0;
  Index kernel_ = 0, own_kernel_ = 0, bias_ = 0, units_ = 0, direction_ = 0;  // floats
};

}  // namespace rekur::layers
