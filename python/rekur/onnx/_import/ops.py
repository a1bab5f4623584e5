"""One row per operator: how a node becomes layers, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import import (
    arithmetic,
    layout,
    logical,
    loop_layers,
    norm,
    pick,
    planar,
    products,
    reduce,
    rows,
    windows,
)
from rekur.onnx._import.activations import ACTIVATIONS, activation, number
from rekur.onnx._import.attention import attention
from rekur.onnx._import.call import Call, describe, normal_axis
from rekur.onnx._import.constant_rows import are_rows, beside, constant_row, is_row, row_times
from rekur.onnx._import.known import DTYPES
from rekur.onnx._import.known import RULES as KNOWN
from rekur.onnx._import.layout import last_features, stays_within
from rekur.onnx._import.recurrent import recurrent
from rekur.onnx._import.spread import together
from rekur.onnx._import.values import FEATURES, Dim, Filled, Known, Listed, Moment, Refused, Rows, Scores, Value, View

Rule = Callable[[Call], Value | list[Value]]


def _dense(call: Call, x: View, kernel: NDArray[Any], bias: NDArray[Any] | None) -> View:
    if kernel.dtype != np.float32 or kernel.ndim != 2 or kernel.shape[0] != x.features or kernel.shape[1] < 1:
        raise Refused(f"weights {kernel.dtype} of shape {kernel.shape}; expected float32 ({x.features}, units)")
    units = int(kernel.shape[1])
    parameters = {"kernel": kernel}
    if bias is not None:
        if bias.dtype != np.float32 or bias.shape not in ((), (1,), (1, 1), (units,), (1, units)):
            raise Refused(f"a bias {bias.dtype} of shape {bias.shape}; expected float32 ({units},)")
        parameters["bias"] = np.broadcast_to(bias.reshape(-1), (units,))
    return call.layer("Dense", x, units, parameters, units=units, use_bias=bias is not None)


def _gemm(call: Call) -> Value:
    alpha, beta = np.float32(call.attribute("alpha", 1.0)), np.float32(call.attribute("beta", 1.0))
    if (row := constant_row(call)) is not None and not call.flag("transA"):
        kernel = _shared(call, 1, "B", call.flag("transB"), alpha)
        bias = call.known(2, "C").reshape(-1) * beta if call.has(2) else np.zeros(1, np.float32)
        return row_times(call, row, kernel, bias)
    x = last_features(call.view(0))
    if len(x.axes) != 2 or call.flag("transA"):
        raise Refused(f"A has shape {x.describe()}, transA {call.attribute('transA', 0)}; expected (rows, features)")
    kernel = _shared(call, 1, "B", call.flag("transB"), alpha)
    bias = call.known(2, "C") if call.has(2) else None
    return _dense(call, x, kernel, None if bias is None else bias * beta)


def _shared(call: Call, index: int, what: str, turned: bool, factor: np.float32) -> NDArray[Any]:
    """A matrix of the file, turned and multiplied once for all nodes that read it."""
    kernel = call.known(index, what)
    if kernel.ndim != 2:
        raise Refused(f"{what} has shape {kernel.shape}; expected a matrix")
    key = (id(kernel), turned, float(factor))
    if key not in call.graph.matrices:
        made = np.asarray((kernel.T if turned else kernel) * factor, order="C")
        call.graph.matrices[key] = (kernel, made)
    found: NDArray[Any] = call.graph.matrices[key][1]
    return found


def _matmul(call: Call) -> Value:
    if (row := constant_row(call)) is not None and isinstance(call.inputs[1], Known):
        return row_times(call, row, call.known(1), np.zeros(1, np.float32))
    if call.has(0) and isinstance(call.inputs[0], (Known, Filled)):
        raise Refused("a constant times a tensor; only a tensor times a constant is a Dense layer")
    if call.has(1) and isinstance(call.inputs[1], (View, Scores)):
        return products.product_of(call)
    x = last_features(call.view(0), call)
    kernel = call.known(1, "the second factor")
    if kernel.ndim == 1:
        dense = _dense(call, x, kernel[:, None], None)
        return dense.with_axes(dense.axes[:-1])
    if kernel.ndim > len(x.axes):
        raise Refused(f"weights of shape {kernel.shape} give {x.describe()} more axes")
    if kernel.shape[:-2].count(1) == kernel.ndim - 2:
        kernel = kernel.reshape(kernel.shape[-2:])  # it is the same for all that x has there
    return _dense(call, x, kernel, None)


def _factors(call: Call, x: View, value: Known | Filled) -> NDArray[Any]:
    """A constant operand: one number, or one for each feature."""
    array = value.array
    if array.dtype != np.float32:
        raise Refused(f"the constant is of {array.dtype}; expected float32")
    if isinstance(value, Filled):
        if value.array.shape[0] == 1 and are_rows(x, value.shape):
            value = replace(value, shape=(x.shape[0], *value.shape[1:]))
        stays_within(x, value)
    if array.ndim > len(x.axes):
        raise Refused(f"a constant of shape {array.shape} gives {x.describe()} more axes")
    shape = (1,) * (len(x.axes) - array.ndim) + array.shape
    if isinstance(value, Known) and is_row(x, array):
        array, shape = array[:1], (1, *shape[1:])
    along = [k for k, size in enumerate(shape) if size != 1]
    if isinstance(value, Filled) and not value.uniform and array.shape[-1] != x.features:
        raise Refused(f"the constant is {describe(value)}")
    if along and (len(along) > 1 or x.axes[along[0]] != FEATURES or shape[along[0]] != x.features):
        raise Refused(f"a constant of shape {array.shape} with {x.describe()}: expected one number, or one a feature")
    if not np.isfinite(array).all():
        raise Refused("the constant is not finite")
    return array.reshape(-1)


def _rescaled(call: Call, x: View, scale: NDArray[Any], offset: NDArray[Any]) -> View:
    """scale, offset: one number, or one for each feature."""
    values = [[number(v) for v in array.tolist()] for array in (scale, offset)]
    if not all(np.isfinite(v).all() for v in values):
        raise Refused("divides by zero, or by next to nothing")
    scales, offsets = (v[0] if len(v) == 1 else v for v in values)
    return call.layer("Rescaling", x, x.features, None, scale=scales, offset=offsets)


ONE, ZERO = np.ones(1, np.float32), np.zeros(1, np.float32)


def _with_constant(call: Call, x: View, array: NDArray[Any], first: bool) -> View:
    """first: the constant is the first operand."""
    with np.errstate(all="ignore"):
        match call.op:
            case "Add":
                return _rescaled(call, x, ONE, array)
            case "Sub":
                return _rescaled(call, x, -ONE, array) if first else _rescaled(call, x, ONE, -array)
            case "Mul":
                return _rescaled(call, x, array, ZERO)
            case "Div" if not first:
                return _rescaled(call, x, ONE / array, ZERO)
    return arithmetic.constant_over(call, x, array)


MERGES = {"Add": "Add", "Mul": "Multiply", "Sub": "Subtract", "Div": "Divide"}


def _binary(call: Call) -> Value:
    one, two = call.inputs[0], call.inputs[1] if call.has(1) else None
    if isinstance(one, Moment) or isinstance(two, Moment):
        if (made := norm.binary(call)) is not None:
            return made
        return _without_moments(call)
    if call.op == "Pow":
        return arithmetic.power(call)
    if isinstance(one, Rows) or isinstance(two, Rows):
        return rows.arithmetic(call)
    if isinstance(one, View) and isinstance(two, View):
        return _merge(call, [one, two], MERGES[call.op])
    for x, other in ((one, two), (two, one)):
        if isinstance(x, Scores):
            return products.scaled(call, x, other, x is two)
    for x, other, first in ((one, two, False), (two, one, True)):
        if isinstance(x, View) and isinstance(other, (Known, Filled)):
            if (steps := beside(call, x, other)) is not None:
                return _merge(call, [steps, x] if first else [x, steps], MERGES[call.op])
            return _with_constant(call, x, _factors(call, x, other), first)
    return KNOWN[call.op](call)


def _without_moments(call: Call) -> Value:
    """The node on tensors: what stood before it is no layer normalisation."""
    call.inputs = [norm.as_view(call, value) if isinstance(value, Moment) else value for value in call.inputs]
    made = RULES[call.op](call)
    assert not isinstance(made, list)
    return made


def _advanced(call: Call) -> Value:
    """Sqrt and Reciprocal."""
    if isinstance(call.inputs[0], Moment):
        return norm.advance(call) or _without_moments(call)
    return arithmetic.unary(call) if call.op == "Sqrt" else arithmetic.reciprocal(call)


def _merge(call: Call, views: list[View], type: str) -> View:
    views = together(call, views)
    first = views[0]
    made = [
        call.graph.add(type, call.at, [call.whole(view.parts[k]) for view in views], first.features)
        for k in range(len(first.parts))
    ]
    return View(tuple((tensor,) for tensor in made), first.axes)


def _sum(call: Call) -> View:
    return _merge(call, [call.view(k) for k in range(len(call.inputs))], "Add")


def _activation(call: Call) -> View:
    op = call.op.lower()
    _, alpha, beta = ACTIVATIONS[op]
    alpha = call.attribute("alpha", alpha) if alpha is not None else None
    beta = call.attribute("beta", beta) if beta is not None else None
    return call.layer("Activation", call.view(), call.view().features, None, activation=activation(op, alpha, beta))


def _softmax(call: Call) -> Value:
    if isinstance(call.inputs[0], Scores):
        return products.softmax(call, call.inputs[0])
    x = call.view()
    axis = normal_axis(call.attribute("axis", -1 if call.opset >= 13 else 1), len(x.axes))
    flattens = call.opset < 13 and axis != len(x.axes) - 1
    if isinstance(x.axes[axis], Dim) and len(x.dims) == 2 and not flattens and not x.ids:
        return reduce.softmax_of_steps(call, x, axis)
    if x.axes[axis] != FEATURES or flattens:
        raise Refused(f"over axis {axis} of {x.describe()}; expected the features")
    return call.layer("Activation", x, x.features, None, activation="softmax")


def _log_softmax(call: Call) -> View:
    x = call.view()
    axis = normal_axis(call.attribute("axis", -1 if call.opset >= 13 else 1), len(x.axes))
    if (
        isinstance(x.axes[axis], Dim)
        and len(x.dims) == 2
        and not x.ids
        and (call.opset >= 13 or axis == len(x.axes) - 1)
    ):
        return reduce.softmax_of_steps(call, x, axis, log=True)
    return arithmetic.log_softmax(call)


def _empty_list(call: Call) -> Value:
    call.ignore("dtype")
    return Listed()


def _extreme(call: Call) -> Value:
    if any(isinstance(value, View) for value in call.inputs):
        return arithmetic.extreme(call)
    if call.op != "Max":
        raise Refused(f"of {describe(call.inputs[0])}; expected a tensor that the model computes")
    return rows.arithmetic(call)


def _dropout(call: Call) -> Value:
    call.ignore("seed")
    if call.has(2) and call.known(2, "training_mode").any():
        raise Refused("training_mode is set: its output is random")
    if call.has(1) and call.known(1, "the ratio").size != 1:
        raise Refused(f"the ratio is {describe(call.inputs[1])}; expected one number")
    if any(call.wanted[1:]):
        raise Refused("its mask is read")
    value = call.inputs[0]
    if not isinstance(value, (View, Scores)):
        return KNOWN["Identity"](call)
    rate = float(call.known(1, "the ratio").flat[0]) if call.has(1) else float(call.attribute("ratio", 0.5))
    if not 0 <= rate < 1:
        raise Refused(f"a ratio of {rate}; expected one from 0 up to 1")
    if isinstance(value, Scores):
        return replace(value, dropout=number(rate)) if value.weights else products.apart(call, value)
    return call.layer("Dropout", value, value.features, None, rate=number(rate)) if rate else value


def _cast(call: Call) -> Value:
    value = call.inputs[0]
    if isinstance(value, Known):
        return KNOWN["Cast"](call)
    to = DTYPES.get(call.attribute("to"))
    call.ignore("saturate", "round_mode")
    if to is None:
        raise Refused(f"element type {call.attribute('to')} is not understood")
    if isinstance(value, Filled):
        if value.array.dtype == object and np.dtype(to).kind not in "iu":
            raise Refused(f"sizes cast to {np.dtype(to).name}")
        return value if value.array.dtype == object else Filled(value.array.astype(to), value.shape)
    if isinstance(value, View) and value.boolean and to in (np.bool_, np.float32, np.int32, np.int64):
        return value
    integers = isinstance(value, Rows) or (isinstance(value, View) and value.ids)
    if to not in ((np.int32, np.int64) if integers else (np.float32,)):
        raise Refused(
            f"{'integers' if integers else 'float32'} cast to {np.dtype(to).name}; the model computes in float32"
        )
    if isinstance(value, Rows):
        return replace(value, dtype=np.dtype(to).name)
    return _given(value)


def _given(value: Value | None) -> Value:
    if value is None:
        raise Refused("its input is absent")
    return value


def _identity(call: Call) -> Value:
    return _given(call.inputs[0] if call.inputs else None)


def _reads_model(rule: Callable[[Call], Value]) -> Callable[[Call], Value]:
    """The rule for what the model computes; constants have their own."""

    def either(call: Call) -> Value:
        if call.op in KNOWN and not any(isinstance(value, (View, Moment, Rows)) for value in call.inputs):
            return KNOWN[call.op](call)
        return rule(call)

    return either


def _on_view(rule: Callable[[Call], Value]) -> Callable[[Call], Value]:
    """The rule for what the model computes; nothing is known of constants."""

    def either(call: Call) -> Value:
        if not isinstance(call.inputs[0], (View, Moment)):
            raise Refused(f"of {describe(call.inputs[0])}; expected a tensor that the model computes")
        return rule(call)

    return either


RULES: dict[str, Rule] = {
    **dict.fromkeys(("RNN", "LSTM", "GRU"), recurrent),
    "Attention": attention,
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _binary),
    "Sum": _sum,
    **dict.fromkeys(
        ("Tanh", "Sigmoid", "Relu", "Softsign", "Softplus", "LeakyRelu", "Elu", "ThresholdedRelu", "HardSigmoid"),
        _activation,
    ),
    "PRelu": windows.prelu,
    "Conv": planar.of_one_axis(windows.convolution),
    "ConvTranspose": planar.of_one_axis(windows.transposed),
    **dict.fromkeys(("MaxPool", "AveragePool"), planar.of_one_axis(windows.pooling)),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool"), planar.of_one_axis(windows.global_pooling)),
    **{op: _on_view(reduce.reduce) for op in reduce.ROWS},
    "Pad": windows.pad,
    "Resize": windows.resize,
    "Tile": windows.tile,
    "Softmax": _softmax,
    "Neg": _reads_model(lambda call: _rescaled(call, call.view(), -ONE, ZERO)),
    "Dropout": _dropout,
    "LayerNormalization": norm.layer_normalization,
    "BatchNormalization": norm.batch_normalization,
    "InstanceNormalization": reduce.instance_normalization,
    "Pow": _binary,
    "Sqrt": _reads_model(_advanced),
    "Reciprocal": _reads_model(_advanced),
    "LogSoftmax": _log_softmax,
    "Gelu": arithmetic.gelu,
    "HardSwish": arithmetic.hard_swish,
    "Mish": arithmetic.mish,
    **dict.fromkeys(("Selu", "Celu"), arithmetic.selu),
    "Transpose": layout.transpose,
    "Reshape": layout.reshape,
    "Flatten": layout.flatten,
    "Expand": layout.expand,
    "Squeeze": rows.through(layout.squeeze),
    "Unsqueeze": rows.through(layout.unsqueeze),
    "Slice": pick.slice_,
    "Split": pick.split,
    "ReverseSequence": pick.reverse_sequence,
    "SequenceEmpty": _empty_list,
    "ConcatFromSequence": loop_layers.from_list,
    "Gather": pick.gather,
    "Concat": pick.concat,
    "Identity": _identity,
    "Cast": _cast,
    **dict.fromkeys(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"), rows.compare),
    **{op: arithmetic.unary for op in arithmetic.UNARY if op != "Sqrt"},
    **dict.fromkeys(arithmetic.EXTREMES, _extreme),
    "Clip": arithmetic.clip,
    "GatherND": rows.gather,
    "Where": rows.where,
    **{op: KNOWN[op] for op in ("Shape", "Size", "Constant", "ConstantOfShape", "Range", "ReduceProd", "Floor", "Mod")},
    "Not": _reads_model(logical.negated),
    **{op: _reads_model(logical.joined) for op in logical.JOINS},
}
