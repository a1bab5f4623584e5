"""Activations, as those of ``keras.ops``."""

import math

from rekur._ops.computing import Value, activate
from rekur._ops.elementwise import (
    abs,
    add,
    clip,
    divide,
    erf,
    greater,
    less,
    less_equal,
    minimum,
    multiply,
    negative,
    sqrt,
    square,
    subtract,
    where,
)

# --- activations ---


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^−x)."""
    return activate("sigmoid", x)


def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    return activate("tanh", x)


def relu(x: Value) -> Value:
    """max(x, 0); its slope at 0 is 0."""
    return activate("relu", x)


def relu6(x: Value) -> Value:
    """min(max(x, 0), 6)."""
    return minimum(relu(x), 6.0)


def leaky_relu(x: Value, negative_slope: float = 0.2) -> Value:
    """x, or negative_slope · x below 0."""
    return activate("leaky_relu", x, alpha=float(negative_slope))


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x, or alpha · (e^x − 1) below 0."""
    return activate("elu", x, alpha=float(alpha))


def selu(x: Value) -> Value:
    """1.0507 · elu(x, 1.67326). Klambauer et al., arXiv:1706.02515."""
    return multiply(1.0507009873554805, elu(x, 1.6732632423543772))


def softplus(x: Value) -> Value:
    """log(1 + e^x)."""
    return activate("softplus", x)


def softsign(x: Value) -> Value:
    """x / (1 + |x|)."""
    return activate("softsign", x)


def hard_sigmoid(x: Value) -> Value:
    """x / 6 + ½, but at least 0 and at most 1."""
    return activate("hard_sigmoid", x)


def hard_tanh(x: Value) -> Value:
    """x, but at least −1 and at most 1."""
    return clip(x, -1.0, 1.0)


def log_sigmoid(x: Value) -> Value:
    """log(sigmoid(x))."""
    return negative(softplus(negative(x)))


def silu(x: Value) -> Value:
    """x · sigmoid(x). Elfwing et al., arXiv:1702.03118."""
    return multiply(x, sigmoid(x))


swish = silu


def hard_silu(x: Value) -> Value:
    """x · hard_sigmoid(x). Howard et al., arXiv:1905.02244."""
    return multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def gelu(x: Value, approximate: bool = True) -> Value:
    """x · Φ(x), Φ the normal distribution's function or its ``approximate`` form by a tanh. arXiv:1606.08415.

    As in ``keras.ops`` the approximation is the default; ``keras.activations`` and torch have the exact one as theirs.
    """
    if approximate:
        inner = multiply(math.sqrt(2 / math.pi), add(x, multiply(0.044715, multiply(multiply(x, x), x))))
        return multiply(multiply(0.5, x), add(1.0, tanh(inner)))
    return multiply(multiply(0.5, x), add(1.0, erf(multiply(x, math.sqrt(0.5)))))


def mish(x: Value) -> Value:
    """x · tanh(softplus(x)). Misra, arXiv:1908.08681."""
    return multiply(x, tanh(softplus(x)))


def celu(x: Value, alpha: float = 1.0) -> Value:
    """x, or alpha · (e^(x / alpha) − 1) below 0. Barron, arXiv:1704.07483."""
    return multiply(float(alpha), elu(divide(x, float(alpha))))


def squareplus(x: Value, b: float = 4.0) -> Value:
    """½ (x + √(x² + b)). Barron, arXiv:2112.11687."""
    return multiply(0.5, add(x, sqrt(add(square(x), float(b)))))


def threshold(x: Value, threshold: float, default_value: float) -> Value:
    """x where it is above the threshold, else the default."""
    return where(greater(x, float(threshold)), x, float(default_value))


def hard_shrink(x: Value, threshold: float = 0.5) -> Value:
    """x where |x| is above the threshold, else 0."""
    return where(greater(abs(x), float(threshold)), x, 0.0)


def soft_shrink(x: Value, threshold: float = 0.5) -> Value:
    """x drawn towards 0 by the threshold, 0 where |x| is not above it."""
    below, above = less(x, -float(threshold)), greater(x, float(threshold))
    return where(above, subtract(x, float(threshold)), where(below, add(x, float(threshold)), 0.0))


def tanh_shrink(x: Value) -> Value:
    """x − tanh(x)."""
    return subtract(x, tanh(x))


def sparse_plus(x: Value) -> Value:
    """0 up to −1, x from 1 on, ¼ (x + 1)² between."""
    return where(less_equal(x, -1.0), 0.0, where(less(x, 1.0), multiply(0.25, square(add(x, 1.0))), x))


def sparse_sigmoid(x: Value) -> Value:
    """0 up to −1, 1 from 1 on, ½ (x + 1) between."""
    return clip(multiply(0.5, add(x, 1.0)), 0.0, 1.0)
