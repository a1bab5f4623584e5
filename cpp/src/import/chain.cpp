#include "import/chain.hpp"

#include "import/values.hpp"

namespace rekur::foreign {

Around::Around(Builder& builder, Index features, Index skip, double gain_in, double gain_out)
    : builder_(builder), skip_(skip), gain_out_(gain_out), input_(builder.input(features)) {
  if (skip > features) throw_error("% features of the input are to be added, and it has %", {skip, features});
  if (gain_in == 1) return;
  json::Value scale(gain_in);
  if (features > 1) {  // of the signal, not of knobs
    json::Array scales(static_cast<std::size_t>(features), json::Value(1.0));
    scales.front() = gain_in;
    scale = std::move(scales);
  }
  input_ = builder.rescaling(input_, "rescaling", std::move(scale), 0.0);
}

Model Around::model(Sequence output) const {
  if (skip_ != 0) {
    if (skip_ != 1 && skip_ != output.features)
      throw_error("% features of the input cannot be added to % of the output", {skip_, output.features});
    const Sequence added = input_.features == skip_ ? input_ : builder_.slice(input_, "slice", 0, skip_);
    output = output.features == skip_ ? builder_.merge("Add", "add", {output, added}) : builder_.broadcast_sum(output, added);
  }
  if (gain_out_ != 1) output = builder_.rescaling(output, "rescaling", gain_out_, 0.0);
  return builder_.model(output, skip_ != 0 ? "model" : "sequential");
}

}  // namespace rekur::foreign
