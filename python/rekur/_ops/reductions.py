"""Reductions over the features of a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur._ops.computing import Value
from rekur._ops.elementwise import add, divide, exp, log, negative, sqrt, square, subtract
from rekur._trace import Symbol, is_symbolic

# --- reductions over the features of a row ---


def _reduce(name: str, x: Value, axis: Any, keepdims: bool) -> Value:
    if isinstance(x, Symbol):
        if axis not in (-1, (-1,), [-1]):
            raise x._trace.error(
                f"ops.{name} works over the features of a row: axis=-1, got axis={axis!r} "
                "(rows and time steps do not see each other in equations; a loss takes the mean over them itself)",
                ValueError,
            )
        return x._trace.add(name, (x,))
    axis = axis if axis is None or isinstance(axis, int) else tuple(axis)
    return getattr(np, name)(x, axis=axis, keepdims=keepdims)


def mean(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The mean of a row's features: ``axis=-1``."""
    return _reduce("mean", x, axis, keepdims)


def sum(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The sum of a row's features: ``axis=-1``."""
    return _reduce("sum", x, axis, keepdims)


def max(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The largest of a row's features: ``axis=-1``. Several that are equal share the gradient evenly."""
    return _reduce("max", x, axis, keepdims)


def min(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The smallest of a row's features: ``axis=-1``. Several that are equal share the gradient evenly."""
    if isinstance(x, Symbol):
        return negative(_reduce("max", negative(x), axis, keepdims))
    return _reduce("min", x, axis, keepdims)


def var(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """The mean square of what a row's features differ from their mean by: ``axis=-1``."""
    return mean(square(subtract(x, mean(x, axis, True))), axis, keepdims)


def std(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """√var: ``axis=-1``."""
    return sqrt(var(x, axis, keepdims))


def logsumexp(x: Value, axis: Any = None, keepdims: bool = False) -> Value:
    """log Σ e^x, without overflow: ``axis=-1``."""
    largest = max(x, axis, True)
    total = log(sum(exp(subtract(x, largest)), axis, True))
    joined = add(total, largest)
    return joined if is_symbolic(x) or keepdims else np.squeeze(joined, axis)


def softmax(x: Value, axis: int = -1) -> Value:
    """e^x / Σ e^x over a row's features."""
    e = exp(subtract(x, max(x, axis, True)))
    return divide(e, sum(e, axis, True))


def log_softmax(x: Value, axis: int = -1) -> Value:
    """log(softmax(x)), without losing digits."""
    return subtract(x, logsumexp(x, axis, True))


def layer_normalization(x: Value, axis: int = -1, epsilon: float = 1e-3) -> Value:
    """(x − mean) / √(variance + epsilon) over a row's features. Ba et al., arXiv:1607.06450."""
    centred = subtract(x, mean(x, axis, True))
    return divide(centred, sqrt(add(mean(square(centred), axis, True), epsilon)))
