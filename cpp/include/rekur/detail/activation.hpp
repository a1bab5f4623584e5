// The activations of rekur/activation.hpp on vectors, and their derivatives from the output. Included after math.hpp, as often as
// that is.
//
// Loops over arrays choose the kind once by `with_kind` and inline it; a cell of the recurrent engine asks once for the address of
// a function (`function_of`, `slope_of`).
#include "rekur/activation.hpp"

namespace rekur {
namespace REKUR_SIMD_NAMESPACE {

template <ActivationKind K>
REKUR_INLINE Vec activation(Activation f, Vec x) {
  const Vec one = set1(1.0f);
  if constexpr (K == ActivationKind::tanh) {
    return tanh(x);
  } else if constexpr (K == ActivationKind::sigmoid) {
    return sigmoid(x);
  } else if constexpr (K == ActivationKind::relu) {
    return at_least(x, zero());
  } else if constexpr (K == ActivationKind::leaky_relu) {
    return select(x > zero(), x, set1(f.alpha) * x);
  } else if constexpr (K == ActivationKind::elu) {
    return select(x > zero(), x, set1(f.alpha) * expm1_nonpositive(at_most(x, zero())));
  } else if constexpr (K == ActivationKind::softsign) {
    const Vec a = at_most(abs(x), set1(REKUR_FLOAT_MAX));  // so that ±inf gives ±1 instead of inf / inf
    return copysign(a / (one + a), x);
  } else if constexpr (K == ActivationKind::hard_sigmoid) {
    return at_most(at_least(fma(x, set1(f.alpha), set1(f.beta)), zero()), one);
  } else if constexpr (K == ActivationKind::affine) {
    return fma(x, set1(f.alpha), set1(f.beta));
  } else if constexpr (K == ActivationKind::thresholded_relu) {
    return select(x <= set1(f.alpha), zero(), x);  // not `x > alpha ? x : 0`, which would lose a NaN
  } else if constexpr (K == ActivationKind::scaled_tanh) {
    return set1(f.alpha) * tanh(set1(f.beta) * x);
  } else if constexpr (K == ActivationKind::softplus) {
    return softplus(x);
  } else {
    return x;
  }
}

// f'(x), given y = f(x).
template <ActivationKind K>
REKUR_INLINE Vec activation_slope(Activation f, Vec y) {
  const Vec one = set1(1.0f);
  if constexpr (K == ActivationKind::tanh) {
    return fma(-y, y, one);
  } else if constexpr (K == ActivationKind::sigmoid) {
    return y * (one - y);
  } else if constexpr (K == ActivationKind::relu) {
    return select(y > zero(), one, zero());
  } else if constexpr (K == ActivationKind::leaky_relu) {
    return select(y > zero(), one, set1(f.alpha));
  } else if constexpr (K == ActivationKind::elu) {
    return select(y > zero(), one, y + set1(f.alpha));
  } else if constexpr (K == ActivationKind::softsign) {
    const Vec d = one - abs(y);
    return d * d;
  } else if constexpr (K == ActivationKind::hard_sigmoid) {
    return select((y > zero()) & (y < one), set1(f.alpha), zero());
  } else if constexpr (K == ActivationKind::affine) {
    return set1(f.alpha);
  } else if constexpr (K == ActivationKind::thresholded_relu) {
    return select(y == zero(), zero(), one);
  } else if constexpr (K == ActivationKind::scaled_tanh) {
    const Vec alpha = set1(f.alpha), t = y / alpha;
    return select(alpha == zero(), zero(), set1(f.beta) * (alpha * fma(-t, t, one)));
  } else if constexpr (K == ActivationKind::softplus) {
    return -expm1_nonpositive(-y);
  } else {
    return one;
  }
}

template <ActivationKind K>
struct KindConstant {
  static constexpr ActivationKind kind = K;
};

// Calls body(KindConstant<kind>{}): everything inside is compiled for that one activation.
template <class Body>
REKUR_INLINE auto with_kind(ActivationKind kind, const Body& body) {
  switch (kind) {
    case ActivationKind::tanh:
      return body(KindConstant<ActivationKind::tanh>{});
    case ActivationKind::sigmoid:
      return body(KindConstant<ActivationKind::sigmoid>{});
    case ActivationKind::relu:
      return body(KindConstant<ActivationKind::relu>{});
    case ActivationKind::leaky_relu:
      return body(KindConstant<ActivationKind::leaky_relu>{});
    case ActivationKind::elu:
      return body(KindConstant<ActivationKind::elu>{});
    case ActivationKind::softsign:
      return body(KindConstant<ActivationKind::softsign>{});
    case ActivationKind::hard_sigmoid:
      return body(KindConstant<ActivationKind::hard_sigmoid>{});
    case ActivationKind::affine:
      return body(KindConstant<ActivationKind::affine>{});
    case ActivationKind::thresholded_relu:
      return body(KindConstant<ActivationKind::thresholded_relu>{});
    case ActivationKind::scaled_tanh:
      return body(KindConstant<ActivationKind::scaled_tanh>{});
    case ActivationKind::softplus:
      return body(KindConstant<ActivationKind::softplus>{});
    case ActivationKind::linear:
      break;
  }
  return body(KindConstant<ActivationKind::linear>{});
}

// The same as functions that can be called by their addresses, one a kind.
using VectorFunction = Vec (*)(Vec v, float alpha, float beta);

template <ActivationKind K>
REKUR_NOINLINE Vec activation_function(Vec x, float alpha, float beta) {
  return activation<K>({K, alpha, beta}, x);
}

template <ActivationKind K>
REKUR_NOINLINE Vec slope_function(Vec y, float alpha, float beta) {
  return activation_slope<K>({K, alpha, beta}, y);
}

REKUR_NOINLINE inline VectorFunction function_of(ActivationKind kind) {
  return with_kind(kind, [](auto k) -> VectorFunction { return activation_function<k.kind>; });
}

REKUR_NOINLINE inline VectorFunction slope_of(ActivationKind kind) {
  return with_kind(kind, [](auto k) -> VectorFunction { return slope_function<k.kind>; });
}

}  // namespace REKUR_SIMD_NAMESPACE
}  // namespace rekur
