// The masks of a training run of a recurrent layer that act within its steps: of x, of what recurrent products multiply, of states.
#pragma once

#include <array>

#include "layers/layer.hpp"
#include "layers/recurrent_settings.hpp"
#include "recurrent/recurrent.hpp"

namespace rekur::layers {

class CellMasks {
 public:
  // The settings must outlive it.
  explicit CellMasks(const RecurrentSettings& settings) : s_(&settings) {}

  bool drops_input() const { return s_->options.dropout > 0; }
  // Whether the steps of a training run read masks, so that training has a form of the cell of its own.
  bool in_steps() const { return s_->options.recurrent_dropout > 0 || !s_->options.zoneout.empty(); }
  // Masked copies of x. Where what the recurrent products multiply has a mask a gate, x has so, too, as in Keras.
  Index x_copies() const;

  // Where a direction's masks stand in the tape, and x as it sees it.
  struct Places {
    Index x = 0, masked_x = 0, recurrent = 0;
    std::array<Index, recurrent::kMostStates> zoneout{};
  };
  // reserve(floats): where so many are.
  template <class Reserve>
  Places places(const Shape& x, const Reserve& reserve) const {
    Places at;
    if (drops_input()) {
      at.x = reserve(element_count({x[0], x_copies(), x[2]}));
      at.masked_x = reserve(element_count({x[0], x[1], x_copies(), x[2]}));
    }
    if (s_->options.recurrent_dropout > 0) at.recurrent = reserve(element_count({x[0], recurrent_width()}));
    for (std::size_t k = 0; k < s_->states.size(); ++k)
      if (zoneout(k) > 0) at.zoneout[k] = reserve(element_count({x[0], x[1], s_->units}));
    return at;
  }

  // Tells the engine where they are; x is the masked one.
  void point(const Context& run, const Places& at, recurrent::Forward& f) const;

#if REKUR_TRAINING
  // What a mask of a direction is for: 0 to 5 here, 15 of the recurrent kernel.
  static std::uint32_t purpose(std::size_t direction, std::uint32_t what) {
    return static_cast<std::uint32_t>(direction) * 16 + what;
  }
  void draw(const Context& run, const Places& at, std::size_t direction) const;
  // From the gradient of what a direction saw of x to that of x itself.
  void add_input_gradient(const Context& run, const Places& at, const float* d_seen) const;
#endif

 private:
  float zoneout(std::size_t state) const { return s_->options.zoneout.empty() ? 0 : s_->options.zoneout[state]; }
  Index recurrent_width() const { return s_->recurrent_blocks * s_->units; }

  const RecurrentSettings* s_;
};

}  // namespace rekur::layers
