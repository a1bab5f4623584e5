// Which of two orders a Dense sums in. The engine, streams and fixed-size layers ask here, so that they agree.
#pragma once

namespace rekur::detail {

// Of few outputs, each is a sum by sixteens: element k goes to the sum k mod 16, from the bias on in the first of them and from 0
// in the others, in ascending order; then halves are folded onto each other, 8, 4, 2 and 1 of them. It is the same on vectors of
// 16, 8 and 4. Of more outputs each is one sum in ascending order: there are other sums to make while one waits for its last
// addition. Folding costs as much for few inputs as for many, so several outputs take that only of 16 inputs each: 8 inputs and 4
// outputs were no faster by sixteens.
constexpr bool few_outputs(long long in, long long out) { return out == 1 ? in >= 8 : out <= 4 && in >= 16 * out; }

}  // namespace rekur::detail
