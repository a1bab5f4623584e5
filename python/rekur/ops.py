"""Operations for equations of one's own: what the function of a :class:`rekur.layers.Lambda` is written in.

Names, arguments and defaults are those of ``keras.ops``. On NumPy arrays and numbers they compute at once, in float64;
on the symbols that a function is given while it is traced they record what is to be computed:

>>> from rekur import ops
>>> layer = rekur.layers.Lambda(lambda x: x * ops.sigmoid(1.7 * x))

Operations work elementwise, but for the reductions (``mean``, ``sum``, ``max``, ``min``, ``var``, ``std``,
``logsumexp``, ``softmax``, ``log_softmax``, ``layer_normalization``), which look at the last axis, a row of features.
What a reduction gives goes with every feature of its row again, with or without ``keepdims``.

NumPy's own functions (``np.tanh(x)``, ``np.mean(x, axis=-1)``) are recorded as well where this module has their like.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from rekur import _array_ops
from rekur._array_ops import (
    concatenate,
    dot,
    einsum,
    expand_dims,
    flip,
    matmul,
    repeat,
    reshape,
    shape,
    split,
    squeeze,
    stack,
    swapaxes,
    take,
    tensordot,
    transpose,
)
from rekur._trace import Symbol, Trace, is_symbolic
from rekur._validate import check_data
from rekur.layers import tensors
from rekur.layers.added import Total, on_totals, total_of

__all__ = [
    "abs",
    "absolute",
    "add",
    "cast",
    "celu",
    "clip",
    "concatenate",
    "convert_to_tensor",
    "cos",
    "divide",
    "dot",
    "einsum",
    "elu",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "flip",
    "full_like",
    "gelu",
    "greater",
    "greater_equal",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "isnan",
    "layer_normalization",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "multiply",
    "negative",
    "not_equal",
    "one_hot",
    "ones_like",
    "power",
    "reciprocal",
    "relu",
    "relu6",
    "repeat",
    "reshape",
    "rsqrt",
    "selu",
    "shape",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "split",
    "sqrt",
    "square",
    "squareplus",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "swapaxes",
    "swish",
    "take",
    "tanh",
    "tanh_shrink",
    "tensordot",
    "threshold",
    "trace",
    "transpose",
    "true_divide",
    "var",
    "where",
    "zeros_like",
]

Value: TypeAlias = Any  # a Symbol, an array or a number


def _apply(name: str, *operands: Value) -> Value:
    """Record an operation that a spec knows, or compute it."""
    for operand in operands:
        if isinstance(operand, Symbol):
            return operand._trace.add(name, operands)
    for operand in operands:
        check_data(operand, f"ops.{name}")
    return COMPUTE[name](*operands)


def _activate(name: str, x: Value, **parameters: float) -> Value:
    if isinstance(x, Symbol):
        return x._trace.add({"name": name, **parameters} if parameters else name, (x,))
    check_data(x, f"ops.{name}")
    return COMPUTE[name](x, **parameters)


# What each operation of a spec computes, in NumPy: the independent reference of the engine.


def _float(x: Value) -> Any:
    return np.asarray(x, np.float64)


def _sigmoid(x: Value) -> Any:
    x = _float(x)
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _erf(x: Value) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


COMPUTE: dict[str, Callable[..., Any]] = {
    "absolute": np.abs,
    "add": np.add,
    "cos": np.cos,
    "divide": np.divide,
    "equal": lambda a, b: _float(np.equal(a, b)),
    "erf": _erf,
    "exp": np.exp,
    "less": lambda a, b: _float(np.less(a, b)),
    "less_equal": lambda a, b: _float(np.less_equal(a, b)),
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
    "linear": _float,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, alpha=0.2: np.where(np.greater(x, 0), x, alpha * _float(x)),
    "elu": lambda x, alpha=1.0: np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0.0))),
    "softsign": lambda x: _float(x) / (1 + np.abs(x)),
    "hard_sigmoid": lambda x, alpha=1 / 6, beta=0.5: np.clip(alpha * _float(x) + beta, 0.0, 1.0),
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * _float(x) + beta,
    "thresholded_relu": lambda x, alpha=1.0: np.where(np.greater(x, alpha), x, 0.0),
    "scaled_tanh": lambda x, alpha=1.7159, beta=2 / 3: alpha * np.tanh(beta * _float(x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
}


# --- arithmetic ---


def add(x1: Value, x2: Value) -> Value:
    """x1 + x2."""
    return _apply("add", x1, x2)


def subtract(x1: Value, x2: Value) -> Value:
    """x1 − x2."""
    return _apply("subtract", x1, x2)


def multiply(x1: Value, x2: Value) -> Value:
    """x1 · x2."""
    return _apply("multiply", x1, x2)


def divide(x1: Value, x2: Value) -> Value:
    """x1 / x2."""
    return _apply("divide", x1, x2)


true_divide = divide


def negative(x: Value) -> Value:
    """−x."""
    return _apply("negative", x)


def abs(x: Value) -> Value:
    """|x|; its slope at 0 is 0."""
    return _apply("absolute", x)


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
    return np.power(_float(x1), x2)


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
    return _apply("minimum", x1, x2)


def maximum(x1: Value, x2: Value) -> Value:
    """The larger one; NaN where either is. Equal ones get half of the gradient each, as in torch and JAX."""
    return _apply("maximum", x1, x2)


def clip(x: Value, x_min: Value, x_max: Value) -> Value:
    """x, but at least x_min and at most x_max."""
    return minimum(maximum(x, x_min), x_max)


# --- functions ---


def exp(x: Value) -> Value:
    """e to the power of x."""
    return _apply("exp", x)


def log(x: Value) -> Value:
    """The natural logarithm: −∞ at 0, NaN below."""
    return _apply("log", x)


def log1p(x: Value) -> Value:
    """log(1 + x), without losing digits near 0."""
    return _apply("log1p", x)


def sqrt(x: Value) -> Value:
    """The square root; its slope at 0 is infinite."""
    return _apply("sqrt", x)


def rsqrt(x: Value) -> Value:
    """1 / √x."""
    return reciprocal(sqrt(x))


def sin(x: Value) -> Value:
    """The sine of x radians."""
    return _apply("sin", x)


def cos(x: Value) -> Value:
    """The cosine of x radians."""
    return _apply("cos", x)


def erf(x: Value) -> Value:
    """The error function."""
    return _apply("erf", x)


def sign(x: Value) -> Value:
    """−1, 0 or 1; NaN gives 0. It has no gradient."""
    return subtract(less(0.0, x), less(x, 0.0))


def expm1(x: Value) -> Value:
    """e^x − 1, without losing digits near 0."""
    if not is_symbolic(x):
        return np.expm1(_float(x))
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


# --- activations ---


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^−x)."""
    return _activate("sigmoid", x)


def tanh(x: Value) -> Value:
    """The hyperbolic tangent."""
    return _activate("tanh", x)


def relu(x: Value) -> Value:
    """max(x, 0); its slope at 0 is 0."""
    return _activate("relu", x)


def relu6(x: Value) -> Value:
    """min(max(x, 0), 6)."""
    return minimum(relu(x), 6.0)


def leaky_relu(x: Value, negative_slope: float = 0.2) -> Value:
    """x, or negative_slope · x below 0."""
    return _activate("leaky_relu", x, alpha=float(negative_slope))


def elu(x: Value, alpha: float = 1.0) -> Value:
    """x, or alpha · (e^x − 1) below 0."""
    return _activate("elu", x, alpha=float(alpha))


def selu(x: Value) -> Value:
    """1.0507 · elu(x, 1.67326). Klambauer et al., arXiv:1706.02515."""
    return multiply(1.0507009873554805, elu(x, 1.6732632423543772))


def softplus(x: Value) -> Value:
    """log(1 + e^x)."""
    return _activate("softplus", x)


def softsign(x: Value) -> Value:
    """x / (1 + |x|)."""
    return _activate("softsign", x)


def hard_sigmoid(x: Value) -> Value:
    """x / 6 + ½, but at least 0 and at most 1."""
    return _activate("hard_sigmoid", x)


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


# --- comparison: 1 where it holds, else 0; 0 where a NaN is compared. They have no gradient. ---


def less(x1: Value, x2: Value) -> Value:
    """x1 < x2."""
    return _apply("less", x1, x2)


def less_equal(x1: Value, x2: Value) -> Value:
    """x1 ≤ x2."""
    return _apply("less_equal", x1, x2)


def greater(x1: Value, x2: Value) -> Value:
    """x1 > x2."""
    return _apply("less", x2, x1)


def greater_equal(x1: Value, x2: Value) -> Value:
    """x1 ≥ x2."""
    return _apply("less_equal", x2, x1)


def equal(x1: Value, x2: Value) -> Value:
    """x1 = x2."""
    return _apply("equal", x1, x2)


def not_equal(x1: Value, x2: Value) -> Value:
    """x1 ≠ x2; 1 where a NaN is compared."""
    return logical_not(equal(x1, x2))


def logical_not(x: Value) -> Value:
    """1 where x is 0, else 0."""
    return _apply("equal", x, 0.0)


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
    return _apply("where", condition, x1, x2)


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


def trace(
    function: Callable[..., Any], inputs: Sequence[str], what: str = "equations", *, as_list: bool = False
) -> Any:
    """What ``function`` does to one row, recorded by calling it once.

    Parameters
    ----------
    function : callable
        Of as many values as there are inputs, or with ``as_list`` of a list of them; it returns a value or several.
    inputs : sequence of str
        Their names.
    what : str
        What errors begin with.

    Returns
    -------
    dict
        The equations as a spec holds them: ``inputs``, ``nodes``, ``outputs``.

    Raises
    ------
    TypeError, ValueError
        For anything that equations cannot say, naming the line where it was said.
    """
    recorder = Trace(inputs, what)
    symbols = recorder.symbols
    returned = function(symbols) if as_list else function(*symbols)
    return recorder.finish(returned)


def _on_tensors(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The operation on symbolic tensors, too: a layer."""

    @functools.wraps(function)
    def operation(*given: Any, **options: Any) -> Any:
        if not tensors.among((given, options)):
            if any(isinstance(value, Total) for value in (*given, *options.values())):
                return on_totals(name, given, options)
            return function(*given, **options)
        if name in _OVER_AXES:
            named = dict(zip(("x", "axis", "keepdims"), given, strict=False), **options)
            x, axis = named["x"], named.get("axis", -1 if "softmax" in name or "normalization" in name else None)
            if name in ("mean", "sum") and not named.get("keepdims", False) and _is_all(axis, len(x.shape)):
                return total_of(name, x)
            if axis not in (-1, len(x.shape) - 1, (-1,), [-1]):
                return tensors.reduce(name, x, axis, bool(named.get("keepdims", False)))
            made = tensors.lift(name, function, ((), {**named, "axis": -1}))
            drops = name in _REDUCTIONS and not named.get("keepdims", False) and len(x.shape) > 2
            return tensors.squeeze(made, -1) if drops else made
        return tensors.lift(name, function, (given, options))

    return operation


def _is_all(axis: Any, rank: int) -> bool:
    return axis is None or (isinstance(axis, (tuple, list)) and {int(a) % rank for a in axis} == {*range(rank)})


_REDUCTIONS = ("mean", "sum", "max", "min", "var", "std", "logsumexp")
_OVER_AXES = (*_REDUCTIONS, "softmax", "log_softmax", "layer_normalization")
EQUATIONS = [name for name in __all__ if name not in _array_ops.__all__]  # what equations of a row may say
_WHOLE = ("trace", "cast", "convert_to_tensor", "one_hot", *_array_ops.__all__)
for _name in __all__:
    if _name not in _WHOLE:
        globals()[_name] = _on_tensors(_name, globals()[_name])

# NumPy's functions by the name of the operation: what np.tanh(x) of a symbol records.
UFUNCS: dict[str, Callable[..., Any]] = {
    "add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "true_divide": divide,
    "negative": negative, "absolute": abs, "reciprocal": reciprocal, "square": square, "power": power,
    "float_power": power, "minimum": minimum, "maximum": maximum, "exp": exp, "log": log, "log1p": log1p,
    "sqrt": sqrt, "sin": sin, "cos": cos, "tanh": tanh, "sign": sign, "less": less, "less_equal": less_equal,
    "greater": greater, "greater_equal": greater_equal, "equal": equal, "not_equal": not_equal,
    "logical_not": logical_not, "logical_and": logical_and, "logical_or": logical_or, "isnan": isnan,
    "expm1": expm1, "logaddexp": logaddexp,
}  # fmt: skip
# Its functions of arrays that are no ufuncs; amax and amin are older names of max and min.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mean": mean, "sum": sum, "max": max, "amax": max, "min": min, "amin": min, "var": var, "std": std,
    "clip": clip, "where": where,
}  # fmt: skip
