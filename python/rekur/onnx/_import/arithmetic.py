"""Operators on every number, or on a row, that no layer is by itself: a Lambda whose equations are that operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.activations import number
from rekur.onnx._import.call import Call, describe, normal_axis
from rekur.onnx._import.spread import together
from rekur.onnx._import.values import FEATURES, Known, Refused, View

Nodes = list[list[Any]]  # of equations: an operation and its operands, inputs first
UNARY = {
    "Abs": "absolute", "Cos": "cos", "Erf": "erf", "Exp": "exp", "Log": "log", "Sin": "sin", "Sqrt": "sqrt",
}  # fmt: skip
EXTREMES = {"Max": "maximum", "Min": "minimum"}
NAMES = "abcdefgh"  # of a Lambda's inputs


def unary(call: Call) -> View:
    x = call.view()
    if x.ids:
        raise Refused("arithmetic on ids")
    return equations(call, [x], [[UNARY[call.op], 0]])


def reciprocal(call: Call) -> View:
    return equations(call, [call.view()], [["constant", 1.0], ["divide", 1, 0]])


def constant_over(call: Call, x: View, array: NDArray[Any]) -> View:
    """A number divided by a tensor; of a number a feature, Rescaling behind the reciprocal."""
    if array.size == 1:
        return equations(call, [x], [["constant", number(float(array[0]))], ["divide", 1, 0]])
    made = equations(call, [x], [["constant", 1.0], ["divide", 1, 0]])
    scale = [number(v) for v in array.tolist()]
    return call.layer("Rescaling", made, made.features, None, scale=scale, offset=0.0)


def power(call: Call) -> View:
    """A tensor to a constant power, by products and roots as far as these say it."""
    x = call.view(0)
    exponent = call.known(1, "the exponent")
    if exponent.size != 1 or exponent.ndim > len(x.axes) or exponent.dtype.kind not in "fiu":
        raise Refused(f"the exponent is {exponent.dtype} of shape {exponent.shape}; expected one number")
    by = float(exponent.reshape(-1)[0])
    roots: dict[float, Nodes] = {
        1.0: [],
        2.0: [["multiply", 0, 0]],
        3.0: [["multiply", 0, 0], ["multiply", 1, 0]],
        4.0: [["multiply", 0, 0], ["multiply", 1, 1]],
        0.5: [["sqrt", 0]],
        1.5: [["sqrt", 0], ["multiply", 1, 0]],
        -1.0: [["constant", 1.0], ["divide", 1, 0]],
        -2.0: [["multiply", 0, 0], ["constant", 1.0], ["divide", 2, 1]],
        -0.5: [["sqrt", 0], ["constant", 1.0], ["divide", 2, 1]],
    }
    if by in roots:
        return equations(call, [x], roots[by])
    if not np.isfinite(by) or by.is_integer():
        raise Refused(f"the exponent is {by}, which no equations here say for numbers below zero")
    return equations(call, [x], [["log", 0], ["constant", number(by)], ["multiply", 1, 2], ["exp", 3]])


SQRT_HALF, SQRT_2_OVER_PI = 0.7071067811865476, 0.7978845608028654


def gelu(call: Call) -> View:
    """x Φ(x), Φ by erf or, with approximate="tanh", by its approximation."""
    how = call.attribute("approximate", "none")
    if how not in ("none", "tanh"):
        raise Refused(f"approximate is {how!r:.40}; expected none or tanh")
    if how == "none":
        nodes: Nodes = [["constant", SQRT_HALF], ["multiply", 0, 1], ["erf", 2], ["constant", 1.0], ["add", 3, 4]]
        nodes += [["multiply", 0, 5], ["constant", 0.5], ["multiply", 6, 7]]
        return equations(call, [call.view()], nodes)
    nodes = [["multiply", 0, 0], ["multiply", 1, 0], ["constant", 0.044715], ["multiply", 2, 3], ["add", 0, 4]]
    nodes += [["constant", SQRT_2_OVER_PI], ["multiply", 5, 6], ["tanh", 7], ["constant", 1.0], ["add", 8, 9]]
    return equations(call, [call.view()], [*nodes, ["multiply", 0, 10], ["constant", 0.5], ["multiply", 11, 12]])


def selu(call: Call) -> View:
    """gamma (max(x, 0) + alpha (exp(min(x, 0)) − 1)); Celu alike."""
    x = call.view()
    if call.op == "Celu":
        gamma, alpha, inner = 1.0, float(call.attribute("alpha", 1.0)), 1.0 / float(call.attribute("alpha", 1.0) or 1.0)
    else:
        alpha, inner = float(call.attribute("alpha", 1.67326319217681884765625)), 1.0
        gamma = float(call.attribute("gamma", 1.05070102214813232421875))
    if not all(np.isfinite(v) for v in (gamma, alpha, inner)) or (call.op == "Celu" and alpha == 0):
        raise Refused(f"alpha is {alpha}, gamma is {gamma}")
    nodes: Nodes = [["constant", 0.0], ["maximum", 0, 1], ["minimum", 0, 1], ["constant", number(inner)]]
    nodes += [["multiply", 3, 4], ["exp", 5], ["constant", 1.0], ["subtract", 6, 7], ["constant", number(alpha)]]
    nodes += [["multiply", 8, 9], ["add", 2, 10], ["constant", number(gamma)], ["multiply", 11, 12]]
    return equations(call, [x], nodes)


def hard_swish(call: Call) -> View:
    """x max(0, min(1, x / 6 + ½))."""
    nodes: Nodes = [["constant", 1 / 6], ["multiply", 0, 1], ["constant", 0.5], ["add", 2, 3], ["constant", 0.0]]
    nodes += [["maximum", 4, 5], ["constant", 1.0], ["minimum", 6, 7], ["multiply", 0, 8]]
    return equations(call, [call.view()], nodes)


def mish(call: Call) -> View:
    return equations(call, [call.view()], [["softplus", 0], ["tanh", 1], ["multiply", 0, 2]])


def log_softmax(call: Call) -> View:
    """x − max − log Σ exp(x − max) over the features."""
    x = call.view()
    axis = normal_axis(call.attribute("axis", -1 if call.opset >= 13 else 1), len(x.axes))
    if x.axes[axis] != FEATURES or (call.opset < 13 and axis != len(x.axes) - 1):
        raise Refused(f"over axis {axis} of {x.describe()}; expected the features")
    nodes: Nodes = [["max", 0], ["subtract", 0, 1], ["exp", 2], ["sum", 3], ["log", 4], ["subtract", 2, 5]]
    return equations(call, [x], nodes)


def extreme(call: Call) -> View:
    """Max and Min of tensors and numbers."""
    views = [value for value in call.inputs if isinstance(value, View)]
    rank = max(len(view.axes) for view in views)
    numbers = [_number(call, k, rank) for k, value in enumerate(call.inputs) if not isinstance(value, View)]
    if len(views) > len(NAMES):
        raise Refused(f"of {len(views)} tensors; at most {len(NAMES)}")
    views = together(call, views)
    return equations(call, views, _folded(EXTREMES[call.op], len(views), numbers))


def clip(call: Call) -> View:
    x = call.view()
    if x.ids:
        raise Refused("arithmetic on ids")
    nodes: list[list[Any]] = []
    if call.opset < 11:
        bounds = [call.attribute("min"), call.attribute("max")]
    else:
        bounds = [_number(call, k, len(x.axes)) if call.has(k) else None for k in (1, 2)]
    last = 0
    for operation, bound in zip(("maximum", "minimum"), bounds, strict=True):
        if bound is not None and np.isfinite(bound):
            nodes += [["constant", number(bound)], [operation, last, len(nodes) + 1]]
            last = len(nodes)
    return equations(call, [x], nodes) if nodes else x


def _number(call: Call, index: int, rank: int) -> float:
    value = call.inputs[index]
    fits = isinstance(value, Known) and value.array.size == 1 and value.array.ndim <= rank
    if not isinstance(value, Known) or not fits or value.array.dtype != np.float32:
        raise Refused(f"input {index} is {describe(value)}; expected a tensor that the model computes, or a number")
    if not np.isfinite(value.array).all():
        raise Refused("the constant is not finite")
    return float(value.array.reshape(-1)[0])


def _folded(operation: str, count: int, numbers: list[float]) -> list[list[Any]]:
    """Over the inputs 0 … count − 1, then numbers, from left to right."""
    nodes: list[list[Any]] = []
    last = 0
    for k in range(1, count):
        nodes.append([operation, last, k])
        last = count + len(nodes) - 1
    for value in numbers:
        nodes += [["constant", number(value)], [operation, last, count + len(nodes)]]
        last = count + len(nodes) - 1
    return nodes


def equations(call: Call, views: Sequence[View], nodes: Nodes, features: int | None = None) -> View:
    """A Lambda of views of the same axes; the last node is its output, of as many features, or as many as given."""
    first = views[0]
    if any(view.ids for view in views):
        raise Refused("arithmetic on ids")
    if not nodes:
        return first
    count = len(views)
    if count > len(NAMES):
        raise Refused(f"of {count} tensors; at most {len(NAMES)}")
    made = {"inputs": list(NAMES[:count]), "nodes": nodes, "outputs": [count + len(nodes) - 1]}
    width = max(view.features for view in views) if features is None else features
    parts = tuple(
        (call.graph.add("Lambda", call.at, [call.whole(v.parts[k]) for v in views], width, {"equations": made}),)
        for k in range(len(first.parts))
    )
    return View(parts, first.axes, first.outer)
