// The fixed-size layers for one width of vector. Included, without a guard, by static.hpp once for every width that the consumer's
// instruction set has. The order of every sum is the engine's (docs/architecture.md, "Numbers"), and so are the bits.
#include "rekur/detail/vec.hpp"
//
#include "rekur/detail/weights.hpp"
//
#include "rekur/detail/math.hpp"
//
#include "rekur/detail/activation.hpp"
//
#include "rekur/detail/int8.hpp"
//
#include "rekur/detail/static_int8.hpp"
//
#include "rekur/detail/static_products.hpp"
//
#include "rekur/detail/static_recurrent.hpp"
//
#include "rekur/detail/static_dense.hpp"
