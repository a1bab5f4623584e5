"""Loop and Scan of other writers: a body of one step whose states are those of cells is recurrent layers.

tf2onnx writes Keras's GRU, SimpleRNN and LSTM as a Loop over a counter that gathers one step, PyTorch's scripts do the
same with lists; other exporters scan the steps. The body is walked once, with a tensor for "this step" of every
sequence it reads and one for every state before it. Then it must be cells, and layers that do the same at every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rekur.onnx._import.call import Call, describe, normal_axis
from rekur.onnx._import.graph import Graph
from rekur.onnx._import.values import (
    FEATURES,
    ONE,
    TIME,
    Axis,
    Dim,
    Extent,
    Filled,
    Going,
    Known,
    Listed,
    Position,
    Refused,
    Size,
    Tensor,
    Value,
    View,
    same,
)

ENDLESS = 2**31 - 1  # a number of steps that is none: tf2onnx's "until the condition says so"
KEEPS = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape")
MAX_DEPTH = 200


@dataclass
class Loop:
    """A loop in the making: what its body reads and carries."""

    graph: Graph
    at: tuple[str, str]
    sequences: dict[int, Tensor] = field(default_factory=dict)  # by a tensor of one step: of which
    before: dict[int, Value] = field(default_factory=dict)  # by a state before the step: what it begins with
    kept: list[Tensor] = field(default_factory=list)

    def each(self, x: View, axis: int, keep: bool) -> View:
        """This step of a sequence."""
        time = x.axes[axis]
        if not isinstance(time, Dim):
            raise Refused(f"takes a step of axis {axis} of {x.describe()}, which holds no steps")
        time.mark(TIME)
        parts = tuple(tuple(self._each(piece, time) for piece in part) for part in x.parts)
        return View(parts, (*x.axes[:axis], *((ONE,) if keep else ()), *x.axes[axis + 1 :]))

    def _each(self, piece: Tensor, time: Dim) -> Tensor:
        rest = tuple(dim for dim in piece.dims if dim.root is not time.root)
        if len(rest) != 1 or len(piece.dims) != 2 or not piece.features:
            raise Refused("takes a step of what is no sequence of rows")
        made = self.graph.add("Each", self.at, [piece], piece.features, dims=rest)
        self.sequences[id(made)] = piece
        self.kept.append(made)
        return made

    def state(self, value: Value, what: str) -> View:
        """A tensor that stands for a state before the step."""
        dims: tuple[Dim, ...]
        if isinstance(value, View) and len(value.parts) == 1 and len(value.dims) == 1:
            axes, dims, features = tuple(value.axes), value.dims, value.features
        elif isinstance(value, (Known, Filled)) and value.array.dtype == np.float32:
            shape: Sequence[Extent] = value.array.shape if isinstance(value, Known) else value.shape
            axes, dims, features = _axes_of(shape, what)
        else:
            raise Refused(f"{what} is {describe(value)}; expected a state of rows")
        made = self.graph.add("Carried", self.at, [], features, dims=dims)
        self.before[id(made)] = value
        self.kept.append(made)
        return View(((made,),), axes)


def _axes_of(shape: Sequence[Extent], what: str) -> tuple[tuple[Axis, ...], tuple[Dim, ...], int]:
    """Of a constant state: (rows, features), and axes of size 1 in front."""
    features = shape[-1] if shape else None
    if len(shape) < 2 or not isinstance(features, int) or features < 1:
        raise Refused(f"{what} has shape ({', '.join(map(str, shape))}); expected rows of a known size")
    if not all(same(extent, 1) for extent in shape[:-2]):
        raise Refused(f"{what} has shape ({', '.join(map(str, shape))}); expected (rows, features)")
    rows = shape[-2]
    own = rows.dims[0] if isinstance(rows, Size) and len(rows.dims) == 1 and rows.factor == 1 else None
    batch = own or Dim(f"the rows of {what}", rows if isinstance(rows, int) and rows > 1 else None)
    return (*[ONE] * (len(shape) - 2), batch, FEATURES), (batch,), features


def special(loop: Loop, call: Call) -> Value | None:
    """What nodes make of the number of the step, of lists and of conditions; None: a node like any other."""
    inputs = call.inputs
    if call.op == "SequenceInsert" and isinstance(inputs[0], Listed):
        if call.has(2) or not isinstance(inputs[1], View) or inputs[0].view is not None:
            raise Refused("puts more than one tensor of a step into a list, or not at its end")
        return Listed(inputs[1])
    places = [k for k, value in enumerate(inputs) if isinstance(value, Position)]
    if not places:
        return _condition(call)
    position = inputs[places[0]]
    assert isinstance(position, Position)
    if call.op in KEEPS and places == [0]:
        call.ignore("to", "saturate", "axes", "allowzero", "round_mode")
        return position
    if call.op in ("Add", "Sub") and len(places) == 1 and not (call.op == "Sub" and places == [1]):
        by = call.known(1 - places[0])
        if by.size != 1 or by.dtype.kind not in "iu":
            raise Refused(f"counts by {by.dtype} of shape {by.shape}")
        amount = int(by.reshape(-1)[0])
        return Position(position.offset + (amount if call.op == "Add" else -amount))
    below = {("Less", 0), ("Greater", 1)}
    if len(places) == 1 and (call.op, places[0]) in below:
        return Going(((position.offset, _limit(call, 1 - places[0])),))
    if call.op == "Gather" and places == [1] and isinstance(inputs[0], View):
        _at_step(position)
        axis = normal_axis(call.attribute("axis", 0), len(inputs[0].axes))
        return loop.each(inputs[0], axis, False)
    if call.op == "Slice" and places == [1, 2] and isinstance(inputs[0], View):
        end = inputs[2]
        assert isinstance(end, Position)
        axes = call.integers("axes", 3) or [0]
        steps = call.integers("steps", 4) or [1]
        if end.offset != position.offset + 1 or len(axes) != 1 or steps != [1]:
            raise Refused("takes more than one step of a sequence")
        _at_step(position)
        return loop.each(inputs[0], normal_axis(axes[0], len(inputs[0].axes)), True)
    raise Refused("does with the number of the step what no layer does")


def _at_step(position: Position) -> None:
    if position.offset != 0:
        raise Refused(f"takes a step {position.offset:+d} from the one that the loop is at")


def _limit(call: Call, index: int) -> Extent:
    value = call.inputs[index]
    if not isinstance(value, Known) or value.array.size != 1 or value.array.dtype.kind not in "iuO":
        raise Refused(f"ends at {describe(value)}; expected a number of steps")
    found = value.array.reshape(-1)[0]
    return found if isinstance(found, Size) else int(found)


def _condition(call: Call) -> Value | None:
    """And, Cast and the like of what says whether the loop goes on."""
    going = [value for value in call.inputs if isinstance(value, Going)]
    if not going:
        return None
    if call.op in KEEPS:
        call.ignore("to", "saturate", "axes", "allowzero", "round_mode")
        return going[0]
    if call.op == "And":
        others = [value for value in call.inputs if not isinstance(value, Going)]
        if all(isinstance(value, Known) and value.array.all() for value in others):
            return Going(tuple(pair for one in going for pair in one.limits))
    raise Refused("does with the condition of a loop what no layer does")


def steps_of(limit: Value | None, condition: Value | None) -> list[Extent]:
    """What the numbers of steps must be, all of them: by the loop's limit and by its condition behind each step."""
    found: list[Extent] = []
    if limit is not None:
        if not isinstance(limit, Known) or limit.array.size != 1 or limit.array.dtype.kind not in "iuO":
            raise Refused(f"its number of steps is {describe(limit)}")
        number = limit.array.reshape(-1)[0]
        if isinstance(number, Size) or int(number) < ENDLESS:
            found.append(number if isinstance(number, Size) else int(number))
    if isinstance(condition, Going):
        for offset, end in condition.limits:
            if isinstance(end, Size):
                if offset != 1:
                    raise Refused("counts its steps from another number than 0")
                found.append(end)
            elif end < ENDLESS:
                found.append(end - offset + 1)
    elif not (isinstance(condition, Known) and condition.array.dtype == np.bool_ and condition.array.all()):
        raise Refused(f"whether it goes on is {describe(condition)}; a model here has loops over steps alone")
    return found


def begins(name: str, get: Callable[[str], Value], makers: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether a loop's condition holds before the first step of a sequence that has one."""
    value = get(name)
    if isinstance(value, Known):
        return value.array.dtype == np.bool_ and bool(value.array.all())
    node = makers.get(name)
    if node is None or depth > MAX_DEPTH:
        return False
    if node.op_type in KEEPS:
        return begins(node.input[0], get, makers, depth + 1)
    if node.op_type == "And":
        return all(begins(one, get, makers, depth + 1) for one in node.input)
    if node.op_type not in ("Less", "Greater"):
        return False
    low, high = node.input if node.op_type == "Less" else reversed(node.input)
    first, limit = get(low), get(high)
    if not isinstance(first, Known) or not isinstance(limit, Known) or first.array.size != 1 or limit.array.size != 1:
        return False
    number, end = first.array.reshape(-1)[0], limit.array.reshape(-1)[0]
    if isinstance(number, Size):
        return False
    return int(number) <= 0 and end.factor > 0 if isinstance(end, Size) else int(number) < int(end)
