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
from collections.abc import Callable, Sequence
from typing import Any

from rekur._ops import arrays
from rekur._ops.activations import (
    celu,
    elu,
    gelu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
)
from rekur._ops.arrays import (
    arange,
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
from rekur._ops.computing import COMPUTE as COMPUTE
from rekur._ops.elementwise import (
    abs,
    absolute,
    add,
    cast,
    clip,
    convert_to_tensor,
    cos,
    divide,
    equal,
    erf,
    exp,
    expm1,
    full_like,
    greater,
    greater_equal,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    logaddexp,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    one_hot,
    ones_like,
    power,
    reciprocal,
    rsqrt,
    sign,
    sin,
    sqrt,
    square,
    subtract,
    true_divide,
    where,
    zeros_like,
)
from rekur._ops.further import (
    OF_ARRAYS,
    cosh,
    divide_no_nan,
    exp2,
    eye,
    full,
    hypot,
    is_tensor,
    linspace,
    log2,
    log10,
    logical_xor,
    nan_to_num,
    ndim,
    normalize,
    ones,
    sinh,
    tan,
    zeros,
)
from rekur._ops.reductions import layer_normalization, log_softmax, logsumexp, max, mean, min, softmax, std, sum, var
from rekur._sequences.ctc import ctc_decode, ctc_loss
from rekur._trace import Symbol, Trace, place
from rekur._validate import did_you_mean
from rekur.layers import tensors
from rekur.layers.added import Total, on_totals, total_of
from rekur.layers.weights import Weighed, of_weights

__all__ = [
    "abs",
    "absolute",
    "add",
    "amax",
    "amin",
    "arange",
    "cast",
    "celu",
    "clip",
    "concatenate",
    "convert_to_tensor",
    "cos",
    "cosh",
    "ctc_decode",
    "ctc_loss",
    "divide",
    "divide_no_nan",
    "dot",
    "einsum",
    "elu",
    "equal",
    "erf",
    "exp",
    "exp2",
    "expand_dims",
    "expm1",
    "eye",
    "flip",
    "full",
    "full_like",
    "gelu",
    "greater",
    "greater_equal",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "hypot",
    "is_tensor",
    "isnan",
    "layer_normalization",
    "leaky_relu",
    "less",
    "less_equal",
    "linspace",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "multiply",
    "nan_to_num",
    "ndim",
    "negative",
    "normalize",
    "not_equal",
    "one_hot",
    "ones",
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
    "sinh",
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
    "tan",
    "tanh",
    "tanh_shrink",
    "tensordot",
    "threshold",
    "trace",
    "transpose",
    "true_divide",
    "var",
    "where",
    "zeros",
    "zeros_like",
]


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


def __getattr__(name: str) -> Any:
    if name.startswith("_"):  # the import system and inspect ask for many
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'", name=name)
    hint = did_you_mean(name, __all__)
    hint = hint if "did you mean" in hint else ""
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'{hint} ({place()})", name=name)


def _on_tensors(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The operation on symbolic tensors, too: a layer."""

    @functools.wraps(function)
    def operation(*given: Any, **options: Any) -> Any:
        values = (*given, *options.values())
        if any(isinstance(v, Weighed) for v in values) and not any(isinstance(v, Symbol) for v in values):
            return of_weights(name, operation, given, options)
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
EQUATIONS = [name for name in __all__ if name not in (*arrays.__all__, *OF_ARRAYS)]  # what equations of a row may say
_WHOLE = ("trace", "cast", "convert_to_tensor", "one_hot", "amax", "amin", *arrays.__all__, *OF_ARRAYS)
for _name in __all__:
    if _name not in _WHOLE:
        globals()[_name] = _on_tensors(_name, globals()[_name])
amax, amin = max, min

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
