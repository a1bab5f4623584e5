"""Operators on every number that no layer is by itself: a Lambda whose equations are that operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur.onnx._import.activations import number
from rekur.onnx._import.call import Call, describe
from rekur.onnx._import.layout import align
from rekur.onnx._import.values import Known, Refused, View

UNARY = {
    "Abs": "absolute", "Cos": "cos", "Erf": "erf", "Exp": "exp", "Log": "log", "Sin": "sin",
}  # fmt: skip
EXTREMES = {"Max": "maximum", "Min": "minimum"}
NAMES = "abcdefgh"  # of a Lambda's inputs


def unary(call: Call) -> View:
    x = call.view()
    if x.ids:
        raise Refused("arithmetic on ids")
    return _lambda(call, [x], [[UNARY[call.op], 0]])


def extreme(call: Call) -> View:
    """Max and Min of tensors and numbers."""
    views = [value for value in call.inputs if isinstance(value, View)]
    rank = max(len(view.axes) for view in views)
    numbers = [_number(call, k, rank) for k, value in enumerate(call.inputs) if not isinstance(value, View)]
    if len(views) > len(NAMES):
        raise Refused(f"of {len(views)} tensors; at most {len(NAMES)}")
    views = align(views)
    first = views[0]
    if any(view.ids or view.features != first.features or len(view.parts) != len(first.parts) for view in views):
        raise Refused(f"shapes {', '.join(view.describe() for view in views)}: nothing is broadcast")
    return _lambda(call, views, _folded(EXTREMES[call.op], len(views), numbers))


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
    return _lambda(call, [x], nodes) if nodes else x


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


def _lambda(call: Call, views: list[View], nodes: list[list[Any]]) -> View:
    first = views[0]
    if not nodes:
        return first
    count = len(views)
    equations = {"inputs": list(NAMES[:count]), "nodes": nodes, "outputs": [count + len(nodes) - 1]}
    parts = tuple(
        (
            call.graph.add(
                "Lambda", call.at, [call.whole(v.parts[k]) for v in views], first.features, {"equations": equations}
            ),
        )
        for k in range(len(first.parts))
    )
    return View(parts, first.axes)
