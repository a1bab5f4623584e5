"""Truth values that the model computes: masks as inputs, comparisons, and what chooses by them.

They are 1 and 0 in float32, so that arithmetic on them is what a Cast to float would make of them.
"""

from __future__ import annotations

import numpy as np

from rekur.onnx._import.activations import number
from rekur.onnx._import.arithmetic import Nodes, equations
from rekur.onnx._import.call import Call, describe
from rekur.onnx._import.spread import together
from rekur.onnx._import.values import Filled, Known, Refused, Value, View

JOINS: dict[str, Nodes] = {
    "And": [["multiply", 0, 1]],
    "Or": [["maximum", 0, 1]],
    "Xor": [["equal", 0, 1], ["constant", 1.0], ["subtract", 3, 2]],
}
# with inputs 0 and 1
COMPARISONS: dict[str, tuple[str, int, int]] = {
    "Equal": ("equal", 0, 1),
    "Less": ("less", 0, 1),
    "LessOrEqual": ("less_equal", 0, 1),
    "Greater": ("less", 1, 0),
    "GreaterOrEqual": ("less_equal", 1, 0),
}
LEAST = -1e30  # in the place of −inf: what is left of it after a softmax is 0 as well
DEEP = -1e8  # fill values below this leave nothing of what they hide


def negated(call: Call) -> View:
    x = call.view()
    if not x.boolean:
        raise Refused(f"of {describe(x)}, which holds no truth values")
    return _true_or_false(equations(call, [x], [["constant", 1.0], ["subtract", 1, 0]]))


def joined(call: Call) -> View:
    views = [call.view(k) for k in range(2)]
    if not all(view.boolean for view in views):
        raise Refused(f"of {' and '.join(map(describe, views))}; expected truth values")
    return _true_or_false(equations(call, together(call, views), JOINS[call.op]))


def compared(call: Call) -> View:
    """Tensors with each other, or with a number."""
    operation, first, second = COMPARISONS[call.op]
    views, constants = _operands(call, (0, 1))
    order = [0, 1]
    if len(views) == 2:
        views = together(call, views)
    else:
        place = next(k for k in (0, 1) if isinstance(call.inputs[k], View))
        order = [0, 1] if place == 0 else [1, 0]  # the constant is node 1
    nodes: Nodes = [["constant", value] for value in constants]
    nodes.append([operation, order[first], order[second]])
    return _true_or_false(equations(call, views, nodes))


def chosen(call: Call) -> Value:
    """Where, by truth values that the model computes."""
    condition = call.view(0)
    if not condition.boolean:
        raise Refused(f"the condition is {describe(condition)}, which holds no truth values")
    views, _ = _operands(call, (1, 2))
    spread = together(call, [condition, *views])
    rest = iter(spread[1:])
    nodes: Nodes = []
    places: list[int] = []
    for k in (1, 2):
        if isinstance(call.inputs[k], View):
            places.append(spread.index(next(rest)))
        else:
            nodes.append(["constant", _number(call, k)])
            places.append(len(spread) + len(nodes) - 1)
    nodes.append(["where", 0, *places])
    return equations(call, spread, nodes)


def _operands(call: Call, places: tuple[int, int]) -> tuple[list[View], list[float]]:
    views: list[View] = []
    constants: list[float] = []
    for k in places:
        value = call.inputs[k]
        if isinstance(value, View):
            views.append(value)
        else:
            constants.append(_number(call, k))
    return views, constants


def _number(call: Call, index: int) -> float:
    value = call.inputs[index] if call.has(index) else None
    array = value.array if isinstance(value, (Known, Filled)) else None
    if array is None or array.dtype == object or array.size != 1 or array.ndim > 3:
        raise Refused(f"input {index} is {describe(value)}; expected a tensor that the model computes, or a number")
    found = float(array.reshape(-1)[0])
    if not np.isfinite(found) or abs(found) > float(np.finfo(np.float32).max):
        raise Refused(f"input {index} is {found}, which no equations have")
    return number(found)


def _true_or_false(x: View) -> View:
    for part in x.parts:
        for piece in part:
            piece.boolean = True
    return x
