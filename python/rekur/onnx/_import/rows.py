"""Nodes on the rows' lengths: our exporter's, which say in ONNX what layers do with lengths anyway.

A row of length 0 keeps its initial state; one step of each row counts from the row's own end, and is zero in rows that
are shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rekur.onnx._import import logical, products
from rekur.onnx._import.call import Call, describe, normal_axes
from rekur.onnx._import.graph import Layer
from rekur.onnx._import.known import RULES as KNOWN
from rekur.onnx._import.layout import align, stays_within
from rekur.onnx._import.pick import step
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    ONE,
    Dim,
    Filled,
    Known,
    Refused,
    Rows,
    Scores,
    Value,
    View,
    zeros,
)

# what a node makes of a stage and a number: (operator, stage) → stage
STAGES = {
    ("Equal", "lengths"): "empty",  # == 0
    ("Greater", "lengths"): "valid",  # > index
    ("Add", "lengths"): "place",  # + index, which is negative
    ("GreaterOrEqual", "place"): "valid",  # >= 0
    ("Max", "place"): "within",  # with 0
}


def through(rule: Callable[[Call], Value]) -> Callable[[Call], Value]:
    """Axes of size 1 around the lengths mean nothing."""

    def either(call: Call) -> Value:
        value = call.inputs[0] if call.inputs else None
        return _turned(call, value) if isinstance(value, Rows) else rule(call)

    return either


def _turned(call: Call, value: Rows) -> Rows:
    axes = call.integers("axes", 1)
    rank = len(value.axes)
    if call.op == "Squeeze":
        drop = [k for k in range(rank) if value.axes[k] == ONE] if axes is None else normal_axes(axes, rank)
        if any(value.axes[k] != ONE for k in drop):
            raise Refused(f"drops axes {drop} of {describe(value)}, which are not all of size 1")
        return replace(value, axes=tuple(axis for k, axis in enumerate(value.axes) if k not in drop))
    if axes is None:
        raise Refused("names no axes")
    new, old = normal_axes(axes, rank + len(axes)), iter(value.axes)
    return replace(value, axes=tuple(ONE if k in new else next(old) for k in range(rank + len(axes))))


def arithmetic(call: Call) -> Value:
    one, two = (*call.inputs, None)[:2]
    if isinstance(two, Rows) and call.op == "Add":
        one, two = two, one
    number = two.array if isinstance(two, Known) and not two.symbolic else None
    stage = STAGES.get((call.op, one.stage)) if isinstance(one, Rows) else None
    if not isinstance(one, Rows) or stage is None or number is None or number.size != 1 or len(call.inputs) != 2:
        raise Refused(f"{describe(one)} and {describe(two)}: this operator is not understood here")
    if number.ndim > len(one.axes):
        raise Refused(f"a constant of shape {number.shape} gives {describe(one)} more axes")
    index = int(number.flat[0])
    counts = (call.op, one.stage) in (("Greater", "lengths"), ("Add", "lengths"))
    if (index != 0 and not counts) or (call.op == "Add" and index >= 0) or (call.op == "Greater" and index < 0):
        raise Refused(f"{call.op} of the rows' {one.stage} and {index} is not understood")
    dtype = "bool" if call.op in ("Equal", "Greater", "GreaterOrEqual") else one.dtype
    return Rows(one.name, stage, index if counts else one.index, one.axes, dtype)


def compare(call: Call) -> Value:
    if any(isinstance(value, Rows) for value in call.inputs):
        return arithmetic(call)
    if any(isinstance(value, View) for value in call.inputs):
        return logical.compared(call)
    if call.op not in KNOWN:
        raise Refused("this operator is understood on the lengths of rows only")
    return KNOWN[call.op](call)


def gather(call: Call) -> Value:
    """GatherND: a step of each row, counted from its own end."""
    x, places = call.view(0), call.inputs[1] if call.has(1) else None
    time = x.axes[1] if len(x.axes) == 3 else None
    understood = isinstance(places, Rows) and places.stage == "within" and call.attribute("batch_dims", 0) == 1
    batch = x.axes[0] if time is not None else None
    if not isinstance(places, Rows) or not understood or not isinstance(time, Dim) or x.axes[2] != FEATURES:
        raise Refused("is understood only where it takes one step of each row by its length")
    if not isinstance(batch, Dim) or places.axes != (BATCH, ONE):
        raise Refused(f"places of shape {places.axes} in {x.describe()}; expected a row of one place for each")
    batch.mark(BATCH)
    parts = tuple(tuple(step(call, piece, time, places.index) for piece in part) for part in x.parts)
    return View(parts, (x.axes[0], FEATURES))


def where(call: Call) -> Value:
    condition = call.inputs[0] if call.has(0) else None
    if isinstance(condition, View):
        if any(isinstance(value, Scores) for value in call.inputs):
            return products.hidden(call, condition)
        return logical.chosen(call)
    if not isinstance(condition, Rows):
        return KNOWN["Where"](call)
    _faces_rows(condition, call.view(2 if condition.stage == "empty" else 1))
    if condition.stage == "valid":
        return _valid_step(call, condition)
    if condition.stage != "empty":
        raise Refused(f"the condition is {describe(condition)}")
    return _kept_state(call, condition.name)


def _faces_rows(condition: Rows, x: View) -> None:
    """The condition's axes, counted from the last, are the batch of x and axes of size 1."""
    facing = x.axes[len(x.axes) - len(condition.axes) :]
    fits = len(condition.axes) <= len(x.axes)
    for own, axis in zip(condition.axes, facing, strict=False):
        fits = fits and (own == ONE or isinstance(axis, Dim))
        if fits and isinstance(axis, Dim) and own != ONE:
            axis.mark(BATCH)
    if not fits:
        raise Refused(f"chooses by {describe(condition)} of shape {condition.axes} between rows of {x.describe()}")


def _valid_step(call: Call, condition: Rows) -> View:
    """Rows that are too short give zeros: a Step's do anyway."""
    x, other = call.view(1), call.inputs[2] if call.has(2) else None
    if not isinstance(other, (Known, Filled)) or not zeros(other):
        raise Refused(f"rows that are too short give {describe(other)}; expected zeros")
    stays_within(x, other)
    for piece in (piece for part in x.parts for piece in part):
        if piece.layer.type != "Step" or piece.layer.options["index"] != condition.index:
            raise Refused("chooses rows that are long enough of anything but that step of theirs")
        call.graph.steps.pop(id(piece), None)
        piece.layer.lengths = condition.name
    return x


def _kept_state(call: Call, lengths: str) -> View:
    """Rows of length 0 keep their initial state: in the engine they do anyway."""
    start, x = call.inputs[1] if call.has(1) else None, call.view(2)
    if isinstance(start, View):
        align([start, x])
    elif isinstance(start, (Known, Filled)):
        stays_within(x, start)
    for k, part in enumerate(x.parts):
        piece, layer = part[0], part[0].layer
        if len(part) != 1 or piece.port not in layer.states or layer.lengths != lengths:
            raise Refused("chooses by the lengths of rows between anything but a layer's initial and final state")
        initial = layer.inputs[layer.sequences :]
        if isinstance(start, View):
            own = initial[list(layer.states).index(piece.port)] if initial else None
            fits = len(start.parts) == len(x.parts) and own is call.whole(start.parts[k])
        else:
            place = list(layer.states).index(piece.port)
            fits = isinstance(start, (Known, Filled)) and place >= len(initial) and _begins(layer, piece.port, start, k)
        if not fits:
            raise Refused("gives rows without a step something else than their initial state")
    return x


def _begins(layer: Layer, state: str, start: Known | Filled, direction: int) -> bool:
    """Whether a constant [D, B, H] is what this direction begins with: a parameter, or zeros."""
    own = layer.parameters.get(f"initial_{state}")
    if own is None:
        return zeros(start)
    rows = start.array
    if rows.ndim != 3:
        return False
    rows = rows[direction if rows.shape[0] > 1 else 0]
    return bool((rows == own).all())
