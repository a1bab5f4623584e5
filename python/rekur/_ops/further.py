"""Functions that are put together of others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rekur._ops.computing import Value
from rekur._ops.elementwise import (
    abs,
    add,
    cos,
    divide,
    equal,
    exp,
    isnan,
    log,
    logical_not,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    reciprocal,
    sin,
    sqrt,
    square,
    subtract,
    where,
)
from rekur._ops.reductions import sum
from rekur.layers.symbolic import SymbolicTensor

_LARGEST = float(np.finfo(np.float32).max)


def exp2(x: Value) -> Value:
    """2ˣ."""
    return exp(multiply(x, math.log(2)))


def log2(x: Value) -> Value:
    """The logarithm to base 2."""
    return multiply(log(x), 1 / math.log(2))


def log10(x: Value) -> Value:
    """The logarithm to base 10."""
    return multiply(log(x), 1 / math.log(10))


def sinh(x: Value) -> Value:
    """(eˣ − e⁻ˣ) / 2."""
    return multiply(subtract(exp(x), exp(negative(x))), 0.5)


def cosh(x: Value) -> Value:
    """(eˣ + e⁻ˣ) / 2."""
    return multiply(add(exp(x), exp(negative(x))), 0.5)


def tan(x: Value) -> Value:
    """The tangent."""
    return divide(sin(x), cos(x))


def hypot(x1: Value, x2: Value) -> Value:
    """√(x1² + x2²)."""
    return sqrt(add(square(x1), square(x2)))


def divide_no_nan(x1: Value, x2: Value) -> Value:
    """x1 / x2, and 0 where x2 is 0."""
    nothing = equal(x2, 0.0)
    return where(nothing, 0.0, divide(x1, where(nothing, 1.0, x2)))


def nan_to_num(x: Value, nan: float = 0.0) -> Value:
    """x, ``nan`` where there is no number, and float32's largest ones for infinities."""
    return where(isnan(x), nan, minimum(maximum(x, -_LARGEST), _LARGEST))


def logical_xor(x1: Value, x2: Value) -> Value:
    """Whether one of the two holds."""
    return not_equal(logical_not(x1), logical_not(x2))


def normalize(x: Value, axis: int = -1, order: int = 2, epsilon: float | None = None) -> Value:
    """x over the norm of its row: of order 1 or 2, at least ``epsilon`` (1e-7)."""
    if order not in (1, 2):
        raise ValueError(f"ops.normalize: order must be 1 or 2, got {order!r}")
    least = 1e-7 if epsilon is None else epsilon
    if order == 1:
        return multiply(x, reciprocal(maximum(sum(abs(x), axis, True), least)))
    return multiply(x, reciprocal(sqrt(maximum(sum(square(x), axis, True), least * least))))


# --- arrays of numbers ---


def zeros(shape: Any, dtype: Any = "float32") -> Any:
    """An array of zeros."""
    return np.zeros(shape, dtype or "float32")


def ones(shape: Any, dtype: Any = "float32") -> Any:
    """An array of ones."""
    return np.ones(shape, dtype or "float32")


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array of one number."""
    return np.full(shape, fill_value, dtype or "float32")


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Any:
    """The matrix of an identity."""
    return np.eye(N, M, k, dtype or "float32")


def linspace(start: Any, stop: Any, num: int = 50) -> Any:
    """Numbers as far apart from each other, both ends among them."""
    return np.linspace(start, stop, num, dtype=np.float32)


def ndim(x: Any) -> int:
    """The count of axes, the batch among them."""
    return len(x.shape) if isinstance(x, SymbolicTensor) else np.ndim(x)


def is_tensor(x: Any) -> bool:
    """Whether it is a symbolic tensor."""
    return isinstance(x, SymbolicTensor)


OF_ARRAYS: Sequence[str] = ("ctc_decode", "ctc_loss", "eye", "full", "is_tensor", "linspace", "ndim", "ones", "zeros")
