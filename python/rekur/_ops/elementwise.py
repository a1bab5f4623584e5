"""Operations of each number by itself: arithmetic, functions, comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur._ops.computing import Value, apply, as_float
from rekur._trace import Symbol, is_symbolic
from rekur._validate import check_data
from rekur.layers import tensors

# --- arithmetic ---


def add(x1: Value, x2: Value) -> Value:
    """x1 + x2."""
    return apply("add", x1, x2)


def subtract(x1: Value, x2: Value) -> Value:
    """x1 − x2."""
    return apply("subtract", x1, x2)


def multiply(x1: Value, x2: Value) -> Value:
    """x1 · x2."""
    return apply("multiply", x1, x2)


def divide(x1: Value, x2: Value) -> Value:
    """x1 / x2."""
    return apply("divide", x1, x2)


true_divide = divide


def negative(x: Value) -> Value:
    """−x."""
    return apply("negative", x)


def abs(x: Value) -> Value:
    """|x|; its slope at 0 is 0."""
    return apply("absolute", x)


absolute = abs


def reciprocal(x: Value) -> Value:
    """1 / x."""
    return divide(1.0, x)


def square(x: Value) -> Value:
    """x²."""
    return multiply(x, x)


def power(x1: Value, x2: Value) -> Value:
    """x1 to the power of x2.

    Whole exponents up to 64 are products, ½ is a square root; any other is exp(x2 · log x1), so NaN where x1 < 0.
    """
    if isinstance(x2, (int, float, np.number)) and is_symbolic(x1):
        exponent = float(x2)
        if exponent == 0.5:
            return sqrt(x1)
        if exponent.is_integer() and -64 <= exponent <= 64:
            return _whole_power(x1, int(exponent))
    if is_symbolic(x1) or is_symbolic(x2):
        return exp(multiply(x2, log(x1)))
    return np.power(as_float(x1), x2)


def _whole_power(x: Symbol, n: int) -> Value:
    if n < 0:
        return reciprocal(_whole_power(x, -n))
    if n == 0:
        return add(multiply(x, 0.0), 1.0)
    squared, product = x, None
    while True:
        if n & 1:
            product = squared if product is None else multiply(product, squared)
        n >>= 1
        if not n:
            return product
        squared = multiply(squared, squared)


def minimum(x1: Value, x2: Value) -> Value:
    """The smaller one; NaN where either is. Equal ones get half of the gradient each, as in torch and JAX."""
    return apply("minimum", x1, x2)


def maximum(x1: Value, x2: Value) -> Value:
    """The larger one; NaN where either is. Equal ones get half of the gradient each, as in torch and JAX."""
    return apply("maximum", x1, x2)


def clip(x: Value, x_min: Value, x_max: Value) -> Value:
    """x, but at least x_min and at most x_max."""
    return minimum(maximum(x, x_min), x_max)


# --- functions ---


def exp(x: Value) -> Value:
    """e to the power of x."""
    return apply("exp", x)


def log(x: Value) -> Value:
    """The natural logarithm: −∞ at 0, NaN below."""
    return apply("log", x)


def log1p(x: Value) -> Value:
    """log(1 + x), without losing digits near 0."""
    return apply("log1p", x)


def sqrt(x: Value) -> Value:
    """The square root; its slope at 0 is infinite."""
    return apply("sqrt", x)


def rsqrt(x: Value) -> Value:
    """1 / √x."""
    return reciprocal(sqrt(x))


def sin(x: Value) -> Value:
    """The sine of x radians."""
    return apply("sin", x)


def cos(x: Value) -> Value:
    """The cosine of x radians."""
    return apply("cos", x)


def erf(x: Value) -> Value:
    """The error function."""
    return apply("erf", x)


def sign(x: Value) -> Value:
    """−1, 0 or 1; NaN gives 0. It has no gradient."""
    return subtract(less(0.0, x), less(x, 0.0))


def expm1(x: Value) -> Value:
    """e^x − 1, without losing digits near 0."""
    if not is_symbolic(x):
        return np.expm1(as_float(x))
    from rekur._ops.activations import elu  # which is made of these

    return where(greater(x, 0.0), negative(multiply(elu(negative(x)), exp(x))), elu(x))


def logaddexp(x1: Value, x2: Value) -> Value:
    """log(e^x1 + e^x2), without overflow."""
    difference = abs(subtract(x1, x2))
    return add(maximum(x1, x2), log1p(exp(negative(difference))))


# --- what code written for Keras says on the way ---


def cast(x: Value, dtype: Any) -> Value:
    """x as another dtype: of symbols floats stay what they are, ``"bool"`` gives 1 where x is not 0."""
    kind = np.dtype(getattr(dtype, "name", dtype))
    if not isinstance(x, Symbol):
        check_data(x, "ops.cast")
        return np.asarray(x).astype(kind)
    if kind.kind == "b":
        return not_equal(x, 0.0)
    if kind.kind != "f":
        raise x._trace.error(f"equations are computed in float32: there is no cast to {kind}")
    return x


def convert_to_tensor(x: Value, dtype: Any = None) -> Value:
    """x itself, or as an array."""
    if isinstance(x, Symbol):
        return x if dtype is None else cast(x, dtype)
    check_data(x, "ops.convert_to_tensor")
    return np.asarray(x, None if dtype is None else np.dtype(getattr(dtype, "name", dtype)))


def one_hot(x: Value, num_classes: int, axis: int = -1, dtype: Any = None) -> Value:
    """1 at the class that x names, 0 elsewhere: of class indices, one a row, a row of ``num_classes``. For losses.

    Arrays may have a last axis of 1, which is replaced (Keras puts another behind it).
    """
    classes = np.arange(num_classes)
    if isinstance(x, Symbol):
        if axis != -1:
            raise x._trace.error(f"ops.one_hot gives a row of features: axis=-1, got axis={axis!r}", ValueError)
        return equal(x, classes)
    check_data(x, "ops.one_hot")
    x = np.asarray(x)
    x = x if x.ndim and x.shape[-1] == 1 else x[..., None]
    return np.moveaxis(np.equal(x, classes), -1, axis).astype(dtype or np.float32)


# --- comparison: 1 where it holds, else 0; 0 where a NaN is compared. They have no gradient. ---


def less(x1: Value, x2: Value) -> Value:
    """x1 < x2."""
    return apply("less", x1, x2)


def less_equal(x1: Value, x2: Value) -> Value:
    """x1 ≤ x2."""
    return apply("less_equal", x1, x2)


def greater(x1: Value, x2: Value) -> Value:
    """x1 > x2."""
    return apply("less", x2, x1)


def greater_equal(x1: Value, x2: Value) -> Value:
    """x1 ≥ x2."""
    return apply("less_equal", x2, x1)


def equal(x1: Value, x2: Value) -> Value:
    """x1 = x2."""
    return apply("equal", x1, x2)


def not_equal(x1: Value, x2: Value) -> Value:
    """x1 ≠ x2; 1 where a NaN is compared."""
    return logical_not(equal(x1, x2))


def logical_not(x: Value) -> Value:
    """1 where x is 0, else 0."""
    return apply("equal", x, 0.0)


def logical_and(x1: Value, x2: Value) -> Value:
    """1 where neither is 0, else 0."""
    return multiply(not_equal(x1, 0.0), not_equal(x2, 0.0))


def logical_or(x1: Value, x2: Value) -> Value:
    """1 where one or both are not 0, else 0."""
    return maximum(not_equal(x1, 0.0), not_equal(x2, 0.0))


def isnan(x: Value) -> Value:
    """1 where x is NaN, else 0."""
    return not_equal(x, x)


def where(condition: Value, x1: Value, x2: Value) -> Value:
    """x1 where the condition is not 0, else x2. What is not chosen has no gradient, whatever it is."""
    return apply("where", condition, x1, x2)


def full_like(x: Value, fill_value: float) -> Value:
    """A number in the shape of x, whatever x is."""
    if is_symbolic(x) or tensors.is_tensor(x):
        return where(less(x, 0.0), float(fill_value), float(fill_value))
    return np.full_like(x, fill_value)


def zeros_like(x: Value) -> Value:
    """Zeros in the shape of x."""
    return full_like(x, 0.0)


def ones_like(x: Value) -> Value:
    """Ones in the shape of x."""
    return full_like(x, 1.0)
