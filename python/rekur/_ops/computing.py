"""An operation recorded where its operands are symbols, or computed by NumPy."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rekur._trace import Symbol
from rekur._validate import check_data

Value: TypeAlias = Any  # a Symbol, an array or a number


def apply(name: str, *operands: Value) -> Value:
    """Record an operation that a spec knows, or compute it."""
    for operand in operands:
        if isinstance(operand, Symbol):
            return operand._trace.add(name, operands)
    for operand in operands:
        check_data(operand, f"ops.{name}")
    return COMPUTE[name](*operands)


def activate(name: str, x: Value, **parameters: float) -> Value:
    if isinstance(x, Symbol):
        return x._trace.add({"name": name, **parameters} if parameters else name, (x,))
    check_data(x, f"ops.{name}")
    return COMPUTE[name](x, **parameters)


# What each operation of a spec computes, in NumPy: the independent reference of the engine.


def as_float(x: Value) -> Any:
    return np.asarray(x, np.float64)


def _sigmoid(x: Value) -> Any:
    x = as_float(x)
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _erf(x: Value) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


COMPUTE: dict[str, Callable[..., Any]] = {
    "absolute": np.abs,
    "add": np.add,
    "cos": np.cos,
    "divide": np.divide,
    "equal": lambda a, b: as_float(np.equal(a, b)),
    "erf": _erf,
    "exp": np.exp,
    "less": lambda a, b: as_float(np.less(a, b)),
    "less_equal": lambda a, b: as_float(np.less_equal(a, b)),
    "log": np.log,
    "log1p": np.log1p,
    "max": lambda x: np.max(x, -1, keepdims=True),
    "maximum": np.maximum,
    "mean": lambda x: np.mean(x, -1, keepdims=True),
    "minimum": np.minimum,
    "multiply": np.multiply,
    "negative": np.negative,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "subtract": np.subtract,
    "sum": lambda x: np.sum(x, -1, keepdims=True),
    "where": lambda c, a, b: np.where(np.not_equal(c, 0), a, b),
    # Activations of a spec.
    "linear": as_float,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, alpha=0.2: np.where(np.greater(x, 0), x, alpha * as_float(x)),
    "elu": lambda x, alpha=1.0: np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0.0))),
    "softsign": lambda x: as_float(x) / (1 + np.abs(x)),
    "hard_sigmoid": lambda x, alpha=1 / 6, beta=0.5: np.clip(alpha * as_float(x) + beta, 0.0, 1.0),
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * as_float(x) + beta,
    "thresholded_relu": lambda x, alpha=1.0: np.where(np.greater(x, alpha), x, 0.0),
    "scaled_tanh": lambda x, alpha=1.7159, beta=2 / 3: alpha * np.tanh(beta * as_float(x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
}
