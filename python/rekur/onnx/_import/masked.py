"""Masks that a file makes of the rows' lengths, and what layers here do with lengths anyway.

The file compares the numbers of the steps with the lengths, and multiplies by the mask or puts a number where it is
false. The mean, the maximum and the softmax over the steps that there are need no mask here: global poolings leave out
what is behind a row's end. A sum is their mean times a number that must come out again, by a division by the lengths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rekur.onnx._import import rows
from rekur.onnx._import.arithmetic import equations
from rekur.onnx._import.call import Call, describe, normal_axes, normal_axis
from rekur.onnx._import.known import DTYPES
from rekur.onnx._import.logical import DEEP
from rekur.onnx._import.recurrent import STATES
from rekur.onnx._import.reduce import summed
from rekur.onnx._import.spread import together
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    ONE,
    TIME,
    Axis,
    Dim,
    Filled,
    Known,
    Masked,
    Refused,
    RowMask,
    Rows,
    Size,
    Steps,
    Total,
    Value,
    View,
)
from rekur.onnx._import.windows import over_time

COUNT = "count"  # a stage of Rows: the lengths as float32
# operator → whether the numbers of the steps, on its left, are below the lengths, and from which number they count
COMPARED = {"Less": (True, 0), "LessOrEqual": (True, 1), "GreaterOrEqual": (False, 0), "Greater": (False, 1)}
TURNED = {"Less": "Greater", "Greater": "Less", "LessOrEqual": "GreaterOrEqual", "GreaterOrEqual": "LessOrEqual"}
MOVES = ("Transpose", "Unsqueeze", "Squeeze", "Reshape", "Identity", "Dropout")


def masked(call: Call) -> Value | None:
    """What the node makes of such values; None: nothing here is understood, and the operator's own rule is to say."""
    if call.op == "Range":
        return _counted(call)
    kinds = (Steps, RowMask, Masked, Total)
    if any(isinstance(value, kinds) or _is_count(value) for value in call.inputs):
        made = _special(call)
        if made is None and (number := next((one for one in call.inputs if isinstance(one, Steps)), None)) is not None:
            raise Refused(
                f"of {describe(number)}: these are compared with the lengths of rows, and no more. Of each row's own "
                "last step take the final state h_n; where positions are looked up, fix the number of steps by sizes="
            )
        if made is None:
            call.inputs = [plain(call, one) if isinstance(one, (Masked, Total)) else one for one in call.inputs]
        return made
    if call.op in COMPARED and any(isinstance(value, Rows) for value in call.inputs):
        return _compared(call)
    if call.op == "Cast" and isinstance(call.inputs[0], Rows) and call.inputs[0].stage == "lengths":
        to_float = DTYPES.get(call.attribute("to")) == np.float32
        return replace(call.inputs[0], stage=COUNT, dtype="float32") if to_float else None
    if call.op == "ReduceSum" and isinstance(call.inputs[0], View):
        return _summed(call, call.inputs[0], zero_behind(call.inputs[0]), False)
    return None


def plain(call: Call, value: Masked | Total) -> View:
    """As a tensor of the model, where that has it."""
    name = zero_behind(value.x)
    if isinstance(value, Total):
        if name != value.name:
            raise Refused(f"{describe(value)} is divided by the lengths nowhere: no layer has it by itself")
        made = summed(call, value.x, value.axis, zeros=True)
        return _without(made, value.axis, value.keep)
    if value.share or value.fill or name != value.name:
        raise Refused(
            f"of {describe(value)}: what stands there is taken in a sum over the steps that is divided by the lengths, "
            "in a maximum and in a softmax over the steps, and nowhere else"
        )
    return value.x


def zero_behind(x: View) -> str | None:
    """The lengths behind which a tensor is zero in the file and here: what recurrent layers that read them give."""
    pieces = [piece for part in x.parts for piece in part]
    names = {piece.layer.lengths if piece.layer.type in STATES and piece.port == "y" else None for piece in pieces}
    return names.pop() if len(names) == 1 else None


def _is_count(value: Value | None) -> bool:
    return isinstance(value, Rows) and value.stage == COUNT


def _counted(call: Call) -> Steps | None:
    """Range from 0 to the number of a sequence's steps."""
    arrays = [value.array for value in call.inputs if isinstance(value, Known) and value.array.size == 1]
    if len(arrays) != 3 or arrays[1].dtype != object or (arrays[0].flat[0], arrays[2].flat[0]) != (0, 1):
        return None
    limit = arrays[1].flat[0]
    if not isinstance(limit, Size) or limit.factor != 1 or len(limit.dims) != 1 or limit.dims[0].size is not None:
        return None
    return Steps(limit.dims[0])


def _special(call: Call) -> Value | None:
    one, two = (*call.inputs, None, None)[:2]
    if call.op in COMPARED:
        return _compared(call)
    if call.op in MOVES and isinstance(one, (Steps, RowMask, Rows)):
        return _moved(call, one)
    if call.op in MOVES and isinstance(one, Masked):
        return _moved_tensor(call, one)
    if any(isinstance(value, RowMask) and value.penalty for value in call.inputs):
        return _penalised(call, one, two) or _penalised(call, two, one) if call.op == "Add" else None
    if call.op == "Sub" and isinstance(two, RowMask) and _constant(one) == 1:
        return replace(two, inside=not two.inside)
    if call.op == "Cast" and isinstance(one, (Steps, RowMask)):
        to = DTYPES.get(call.attribute("to"))
        call.ignore("saturate", "round_mode")
        kinds = "iu" if isinstance(one, Steps) else "iubf"
        return one if to is not None and np.dtype(to).kind in kinds else None
    if call.op == "Not" and isinstance(one, RowMask):
        return replace(one, inside=not one.inside)
    if call.op == "Where" and isinstance(one, RowMask):
        return _chosen(call, one)
    if call.op == "Mul":
        return _multiplied(call, one, two) or _multiplied(call, two, one)
    if call.op == "Div" and isinstance(one, Total) and isinstance(two, Rows) and _is_count(two):
        return _divided(call, one, two)
    if call.op in ("Clip", "Max") and isinstance(one, Rows):
        return _at_least_one(call, one)
    if call.op == "ReduceSum" and isinstance(one, RowMask):
        return _number_of_steps(call, one)
    if call.op in ("ReduceSum", "ReduceMax") and isinstance(one, Masked):
        return _reduced(call, one)
    if call.op == "Softmax" and isinstance(one, Masked):
        return _softmax(call, one)
    if call.op == "MatMul" and isinstance(one, Masked) and isinstance(two, View):
        return _weighted(call, one, two)
    return None


def _compared(call: Call) -> RowMask | None:
    one, two = call.inputs[:2]
    op = call.op
    if isinstance(one, Rows):
        one, two, op = two, one, TURNED[op]
    if not isinstance(two, Rows) or two.stage not in ("lengths", COUNT):
        return None
    inside, first = COMPARED[op]
    if isinstance(one, Steps):
        numbers, begin = one.axes, 0
        steps: Dim | int = one.dim
    elif isinstance(one, Known) and one.array.dtype.kind in "iuf" and one.array.size > 1:
        count, shape = one.array.size, one.array.shape
        begin = int(one.array.flat[0])
        if max(shape) != count or not (one.array.reshape(-1) == np.arange(begin, begin + count)).all():
            return None
        numbers, steps = tuple(TIME if size > 1 else ONE for size in shape), count
    else:
        return None
    if begin != first:
        raise Refused(f"compares steps that count from {begin} with the lengths; expected {first} for {op}")
    rank = max(len(numbers), len(two.axes))
    both = zip(_padded(numbers, rank), _padded(two.axes, rank), strict=True)
    axes = [a if b == ONE else b if a == ONE else None for a, b in both]
    if None in axes:
        raise Refused(f"compares the steps of one axis with the lengths of rows on the same: {numbers}, {two.axes}")
    return RowMask(two.name, steps, inside, tuple(axis for axis in axes if axis is not None))


def _padded(axes: Sequence[Any], rank: int) -> list[Any]:
    return [ONE] * (rank - len(axes)) + list(axes)


def _moved(call: Call, value: Steps | RowMask | Rows) -> Value | None:
    """Axes of size 1 around it, or another order."""
    if call.op in ("Identity", "Dropout"):
        return value if call.op == "Identity" else None
    if call.op == "Transpose":
        rank = len(value.axes)
        perm = call.attribute("perm", list(range(rank))[::-1])
        order = normal_axes(perm, rank)
        return replace(value, axes=tuple(value.axes[k] for k in order)) if len(order) == rank else None
    if call.op == "Reshape":
        return None
    moved = rows._turned(call, Rows("", axes=value.axes))
    return replace(value, axes=moved.axes)


def _moved_tensor(call: Call, value: Masked) -> Masked | None:
    from rekur.onnx._import.ops import RULES

    if call.op == "Dropout":
        return None
    call.inputs[0] = value.x
    made = RULES[call.op](call)
    return replace(value, x=made) if isinstance(made, View) else None


def _faces(mask: RowMask, x: View) -> bool:
    """Whether the mask's axes, counted from the last, are the rows and the steps of x; they are joined."""
    if len(mask.axes) > len(x.axes):
        return False
    facing: list[Axis] = list(x.axes)
    for own, axis in zip(_padded(mask.axes, len(facing)), facing, strict=True):
        if own == ONE:
            if isinstance(axis, (Dim, tuple)):
                return False
        elif not isinstance(axis, Dim):
            return False
        elif own == BATCH:
            axis.mark(BATCH)
        else:
            axis.mark(TIME)
            if isinstance(mask.steps, Dim):
                axis.join(mask.steps)
            elif axis.size != mask.steps:
                return False
    return {BATCH, TIME} <= set(mask.axes)


def _constant(value: Value | None) -> float | None:
    array = value.array if isinstance(value, (Known, Filled)) else None
    if array is None or array.dtype.kind != "f" or array.size != 1 or np.isnan(array).any():
        return None
    return float(array.reshape(-1)[0])


def _chosen(call: Call, mask: RowMask) -> Masked | None:
    x, other = (call.inputs[1], call.inputs[2]) if mask.inside else (call.inputs[2], call.inputs[1])
    fill = _constant(other)
    if not isinstance(x, View) or x.ids or fill is None or not _faces(mask, x):
        return None
    return Masked(x, mask.name, fill)


def _penalised(call: Call, x: Value | None, mask: Value | None) -> Masked | None:
    """Scores with so low a number added behind a row's end that nothing is left of them."""
    if not isinstance(mask, RowMask) or mask.inside or not isinstance(x, View) or x.ids or not _faces(mask, x):
        return None
    return Masked(x, mask.name, mask.penalty)


def _multiplied(call: Call, one: Value | None, two: Value | None) -> Masked | RowMask | None:
    if isinstance(one, RowMask) and not one.inside:
        factor = _constant(two)
        return replace(one, penalty=factor) if factor is not None and DEEP >= factor > -np.inf else None
    if isinstance(one, RowMask) and one.inside:
        if isinstance(two, View) and not two.ids and _faces(one, two):
            return Masked(two, one.name, 0.0)
        if isinstance(two, Masked) and not two.fill and two.name == one.name and _faces(one, two.x):
            return two
        return None
    if not isinstance(one, Masked) or one.fill:
        return None
    other = two.x if isinstance(two, Masked) and not two.fill and two.name == one.name else two
    if not isinstance(other, View) or other.ids or (isinstance(two, Masked) and two.share and one.share):
        return None
    joined = together(call, [one.x, other])
    share = one.share or (isinstance(two, Masked) and two.share)
    return Masked(equations(call, joined, [["multiply", 0, 1]]), one.name, 0.0, share)


def _time(x: View) -> int | None:
    """The place of its time axis."""
    found = [k for k, axis in enumerate(x.axes) if isinstance(axis, Dim) and axis.kind == TIME]
    return found[0] if len(found) == 1 else None


def _axes(call: Call, rank: int) -> list[int]:
    return sorted(normal_axes(call.integers("axes", 1) or [], rank))


def _summed(call: Call, x: View, name: str | None, share: bool) -> View | Total | None:
    """The sum over the steps of what is zero behind a row's end."""
    axis = _time(x)
    if name is None or axis is None or _axes(call, len(x.axes)) != [axis] or x.ids:
        return None
    keep = call.flag("keepdims", 1)
    call.ignore("noop_with_empty_axes")
    if not share:
        return Total(x, name, axis, keep)
    return over_time(call, x, axis, False, keep, name)


def _reduced(call: Call, value: Masked) -> Value | None:
    x, axis = value.x, _time(value.x)
    if call.op == "ReduceSum":
        return _summed(call, x, value.name, value.share) if not value.fill else None
    if axis is None or _axes(call, len(x.axes)) != [axis] or value.share or value.fill > DEEP:
        return None
    keep = call.flag("keepdims", 1)
    call.ignore("noop_with_empty_axes")
    return over_time(call, x, axis, True, keep, value.name)


def _number_of_steps(call: Call, mask: RowMask) -> Rows | None:
    axes = _axes(call, len(mask.axes))
    if not mask.inside or [mask.axes[k] for k in axes] != [TIME]:
        return None
    keep = call.flag("keepdims", 1)
    call.ignore("noop_with_empty_axes")
    left = [ONE if k in axes else axis for k, axis in enumerate(mask.axes)]
    left = left if keep else [axis for k, axis in enumerate(left) if k not in axes]
    return Rows(mask.name, COUNT, 0, tuple(left), "float32")


def _at_least_one(call: Call, count: Rows) -> Rows | None:
    """max(count, 1): of rows without a step the sum is 0, and so is the mean here. Clip may say a bound as small."""
    low = _constant(call.inputs[1]) if call.has(1) else call.attribute("min") if call.op == "Clip" else None
    if count.stage != COUNT or low is None or not 0 < low <= 1 or call.has(2) or call.attribute("max") is not None:
        return None
    return count


def _divided(call: Call, total: Total, count: Rows) -> View | None:
    """A sum over the steps by their number."""
    if total.name != count.name:
        raise Refused(f"a sum of rows with the lengths '{total.name}' divided by the lengths '{count.name}'")
    mean = over_time(call, total.x, total.axis, False, total.keep, total.name)
    facing = mean.axes
    if len(count.axes) > len(facing):
        return None
    for own, axis in zip(_padded(count.axes, len(facing)), facing, strict=True):
        if isinstance(axis, Dim) != (own == BATCH):
            raise Refused(
                f"divides {mean.describe()} by lengths of shape {count.axes}, which are not those of the rows"
            )
    return mean


def _softmax(call: Call, value: Masked) -> Masked | None:
    """exp(x − max) / Σ exp(x − max) over the steps that there are, with their mean for the sum."""
    x, axis = value.x, _time(value.x)
    given = normal_axis(call.attribute("axis", -1 if call.opset >= 13 else 1), len(x.axes))
    if axis is None or given != axis or value.share or value.fill > DEEP:
        return None
    if call.opset < 13 and axis != len(x.axes) - 1:
        return None
    most = over_time(call, x, axis, True, True, value.name)
    powers = equations(call, together(call, [x, most]), [["subtract", 0, 1], ["exp", 2]])
    mean = over_time(call, powers, axis, False, True, value.name)
    shares = equations(call, together(call, [powers, mean]), [["divide", 0, 1]])
    return Masked(shares, value.name, 0.0, share=True)


def _weighted(call: Call, weights: Masked, x: View) -> View | None:
    """(batch, 1, time) @ (batch, time, features): the sum of the steps by their weights."""
    rows, steps = weights.x.axes, x.axes
    if (
        len(rows) != 3
        or len(steps) != 3
        or rows[1] not in (ONE, FEATURES)
        or steps[2] != FEATURES
        or weights.x.features != 1
    ):
        return None
    (batch, _, time), (own, along, _) = rows, steps
    both = all(
        isinstance(one, Dim) and isinstance(two, Dim) and one.root is two.root
        for one, two in ((batch, own), (time, along))
    )
    if not both or not weights.share:
        return None
    joined = together(call, [weights.x.with_axes((batch, time, ONE)), x])
    return over_time(call, equations(call, joined, [["multiply", 0, 1]]), 1, False, True, weights.name)


def _without(x: View, axis: int, keep: bool) -> View:
    return x if keep else x.with_axes([own for k, own in enumerate(x.axes) if k != axis])
