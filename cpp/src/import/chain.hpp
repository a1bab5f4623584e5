// What effects of RTNeural's and GuitarML's kind have around their layers: gains, and features of the input added to the output.
#pragma once

#include "import/builder.hpp"

namespace rekur::foreign {

// Called in this order: the input as the layers read it, then the output that they give.
class Around {
 public:
  // skip: how many features of the input are added to the output. A gain of 1 is none.
  Around(Builder& builder, Index features, Index skip = 0, double gain_in = 1, double gain_out = 1);

  const Sequence& input() const { return input_; }
  Model model(Sequence output) const;

 private:
  Builder& builder_;
  Index skip_;
  double gain_out_;
  Sequence input_;
};

}  // namespace rekur::foreign
