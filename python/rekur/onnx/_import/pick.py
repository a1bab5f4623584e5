"""Slice, Split, Gather and Concat: one step of a sequence, some of its features, one of stacked tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import import unrolled
from rekur.onnx._import.call import Call, describe, normal_axes, normal_axis
from rekur.onnx._import.constant_rows import with_rows
from rekur.onnx._import.known import RULES as KNOWN
from rekur.onnx._import.known import known
from rekur.onnx._import.layout import align, cut, last_features, name, uniform
from rekur.onnx._import.recurrent import lengths_of
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    ONE,
    OUTER,
    PARTS,
    TIME,
    Dim,
    Extent,
    Filled,
    Known,
    Refused,
    Size,
    Tensor,
    Value,
    View,
    product,
    same,
)
from rekur.onnx._import.windows import cropped, joined_steps

MAX_PIECES = 16  # side by side without a layer that joins them
FAR = 2**31 - 1  # and beyond: exporters' "to the end"


def step(call: Call, tensor: Tensor, dim: Dim, index: int) -> Tensor:
    """One time step of a tensor: the final state where that is what it is, else a Step layer."""
    dim.mark(TIME)
    layer, steps = tensor.layer, dim.size
    if steps is not None and not -steps <= index < steps:
        raise Refused(f"takes step {index} of {steps}")
    first = index == 0 or index == -(steps or 0)
    last = index == -1 or index == (steps or 0) - 1
    rest = tuple(d for d in tensor.dims if d.root is not dim.root)
    ends = first if layer.options.get("reverse") else last
    if tensor.port == "y" and layer.states and layer.lengths is None and ends:
        return layer.states["h"]
    made = call.graph.add("Step", call.at, [tensor], tensor.features, {"index": index}, dims=rest)
    call.graph.steps[id(made)] = dim, call.at[0]
    return made


def _step_view(call: Call, x: View, axis: int, index: int, keep: bool) -> View:
    dim = x.axes[axis]
    assert isinstance(dim, Dim)
    parts = tuple(tuple(step(call, piece, dim, index) for piece in part) for part in x.parts)
    return View(parts, (*x.axes[:axis], *((ONE,) if keep else ()), *x.axes[axis + 1 :]))


def _flipped(call: Call, x: View, axis: int) -> View:
    """A sequence from its end."""
    dim = x.axes[axis]
    assert isinstance(dim, Dim)
    dim.mark(TIME)
    parts = tuple(
        tuple(call.graph.add("Flip", call.at, [piece], piece.features, {}, dims=piece.dims) for piece in part)
        for part in x.parts
    )
    return View(parts, x.axes)


def reverse_sequence(call: Call) -> View:
    """Every row from its end: all of it, or as much as its length says."""
    x = call.view(0)
    lengths = call.inputs[1] if call.has(1) else None
    rank = len(x.axes)
    time_axis = normal_axis(call.attribute("time_axis", 0), rank)
    batch_axis = normal_axis(call.attribute("batch_axis", 1), rank)
    time, batch = x.axes[time_axis], x.axes[batch_axis]
    if not isinstance(time, Dim) or not isinstance(batch, Dim) or x.ids or time.root is batch.root:
        raise Refused(f"turns axis {time_axis} of {x.describe()} around, of the rows on axis {batch_axis}")
    batch.mark(BATCH)
    name = lengths_of(lengths, time, batch)
    made = _flipped(call, x, time_axis)
    for part in made.parts:
        for piece in part:
            piece.layer.lengths = name
    return made


def _take(call: Call, value: Value, axis: int, chosen: range) -> Value:
    """Some indices along an axis whose size is a number."""
    if isinstance(value, Known):
        index = slice(chosen.start, chosen.stop if chosen.stop >= 0 else None, chosen.step)
        array = value.array[(slice(None),) * axis + (index,)]
        call.budget.take(array.shape)
        return known(array)
    if isinstance(value, Filled):
        array = value.array if value.array.shape[axis] == 1 else np.take(value.array, np.array(chosen, np.int64), axis)
        return Filled(array, (*value.shape[:axis], len(chosen), *value.shape[axis + 1 :]))
    assert isinstance(value, View)
    kind = value.axes[axis]
    if not chosen:
        raise Refused("takes nothing: a tensor of size 0")
    if kind == ONE:
        return value
    if OUTER in value.axes and kind in (PARTS, OUTER):
        return _of_two(value, axis, chosen)
    if kind == PARTS:
        parts = tuple(value.parts[k] for k in chosen)
        axes = value.axes if len(parts) > 1 else (*value.axes[:axis], ONE, *value.axes[axis + 1 :])
        return View(parts, axes)
    if kind == FEATURES and chosen.step == 1:
        return View(tuple(cut(call, part, chosen.start, chosen.stop) for part in value.parts), value.axes)
    raise Refused(f"takes {len(chosen)} of the {name(kind)} axis in another order, which no layer does")


def _of_two(value: View, axis: int, chosen: Sequence[int]) -> View:
    """Some of the parts along one of two axes of them; where that leaves one, the other axis is the only one."""
    inner = len(value.parts) // value.outer
    outers, inners = (chosen, range(inner)) if value.axes[axis] == OUTER else (range(value.outer), chosen)
    parts = tuple(value.parts[o * inner + k] for o in outers for k in inners)
    if len(chosen) > 1:
        return View(parts, value.axes, len(outers))
    axes = [ONE if k == axis else PARTS if kind == OUTER else kind for k, kind in enumerate(value.axes)]
    return View(parts, tuple(axes))


def _bounds(call: Call) -> tuple[list[Extent], list[Extent], list[int] | None, list[int]]:
    """starts, ends, axes, steps of a Slice of any opset."""
    if call.opset < 10:
        starts: list[Extent] = list(call.attribute("starts", []))
        ends: list[Extent] = list(call.attribute("ends", []))
        return starts, ends, call.attribute("axes"), [1] * len(starts)
    starts, ends = call.sizes(1, "starts"), call.sizes(2, "ends")
    axes = call.integers("axes", 3)
    return starts, ends, axes, call.integers("steps", 4) or [1] * len(starts)


def slice_(call: Call) -> Value:
    value = call.inputs[0]
    if not isinstance(value, (View, Filled, Known)):
        raise Refused(f"slices what is {describe(value)}")
    shape: Sequence[Extent] = value.array.shape if isinstance(value, Known) else value.shape
    starts, ends, given, steps = _bounds(call)
    axes = normal_axes(list(range(len(starts))) if given is None else given, len(shape))
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Refused("starts, ends, axes and steps do not belong together")
    for start, end, axis, by in zip(starts, ends, axes, steps, strict=True):
        value = _slice_one(call, value, axis, start, end, by)
    return value


def _slice_one(call: Call, value: Value, axis: int, start: Extent, end: Extent, by: int) -> Value:
    extent: Extent = value.array.shape[axis] if isinstance(value, Known) else value.shape[axis]  # type: ignore[union-attr]
    from_first = same(start, 0) or (isinstance(start, int) and start <= -FAR)
    if by == 1 and from_first and (same(end, extent) or (isinstance(end, int) and end >= FAR)):
        return value
    one = isinstance(value, View) and isinstance(value.axes[axis], Dim)
    if not isinstance(start, int) or not isinstance(end, int):
        raise Refused(f"takes [{start}, {end}) of axis {axis}: only the data will tell what that is")
    if isinstance(extent, int):
        return _take(call, value, axis, range(*slice(start, end, by).indices(extent)))
    if not one or not isinstance(value, View):
        raise Refused(f"takes a part of axis {axis}, whose size only the data will tell")
    dim = value.axes[axis]
    assert isinstance(dim, Dim)
    if dim.size is not None:
        chosen = range(*slice(start, end, by).indices(dim.size))
        if len(chosen) == dim.size:
            return value if by == 1 else _flipped(call, value, axis)
        if len(chosen) == 1:
            return _step_view(call, value, axis, chosen[0], keep=True)
    elif by == 1 and (start, end) == (-1, max(end, FAR)):
        return _step_view(call, value, axis, -1, keep=True)
    elif by == 1 and end - start == 1 and (start >= 0 or end < 0):  # [-1, 0) is nothing
        return _step_view(call, value, axis, start, keep=True)
    if by == -1 and (start == -1 or start >= FAR) and end <= -FAR:
        return _flipped(call, value, axis)
    if by == 1 and (crop := _crop(dim, start, end)) is not None:
        return cropped(call, value, axis, *crop)
    if by < 0:
        raise Refused(f"turns the {name(dim)} axis around; for a reversed layer write direction=reverse")
    raise Refused(f"takes [{start}, {end}) of the {name(dim)} axis; only a single step can be taken")


def _crop(dim: Dim, start: int, end: int) -> tuple[int, int] | None:
    """How many steps [start, end) leaves out at each side, where no data is needed to tell."""
    if dim.size is not None:
        chosen = range(*slice(start, end, 1).indices(dim.size))
        return (chosen.start, dim.size - chosen.stop) if chosen else None
    if start < 0 or (0 <= end < FAR):
        return None
    return start, -end if end < 0 else 0


def split(call: Call) -> list[Value]:
    value = call.inputs[0]
    if not isinstance(value, (View, Filled, Known)):
        raise Refused(f"splits what is {describe(value)}")
    shape: Sequence[Extent] = value.array.shape if isinstance(value, Known) else value.shape
    axis = normal_axis(call.attribute("axis", 0), len(shape))
    extent, count = shape[axis], len(call.wanted)
    time = value.axes[axis] if isinstance(value, View) else None
    if isinstance(time, Dim) and time.size is not None:
        extent = time.size
    if not isinstance(extent, int):
        raise Refused(f"splits axis {axis} of ({', '.join(map(str, shape))}), which is no axis of features")
    sizes = call.integers("split", 1)
    if call.attribute("num_outputs", count) != count:
        raise Refused(f"num_outputs is {call.attribute('num_outputs')}, it has {count} outputs")
    if sizes is None:
        if call.opset >= 18 and "num_outputs" not in call.attributes:
            raise Refused("it has neither sizes nor num_outputs")
        if call.opset < 18 and extent % count:
            raise Refused(f"splits an axis of {extent} into {count} equal parts")
        width = -(-extent // count)
        sizes = [width] * (count - 1) + [extent - width * (count - 1)]
    if len(sizes) != count or sum(sizes) != extent or min(sizes) < 0:
        raise Refused(f"splits an axis of {extent} into {sizes} for {count} outputs")
    starts = [sum(sizes[:k]) for k in range(count)]
    if isinstance(time, Dim) and isinstance(value, View):
        ends = [(s, extent - s - n) for s, n in zip(starts, sizes, strict=True)]
        return [
            (_step_view(call, value, axis, s, keep=True) if n == 1 < extent else cropped(call, value, axis, s, rest))
            if wanted
            else known(np.zeros(0))
            for (s, rest), n, wanted in zip(ends, sizes, call.wanted, strict=True)
        ]
    return [
        _take(call, value, axis, range(s, s + n)) if wanted else known(np.zeros(0))
        for s, n, wanted in zip(starts, sizes, call.wanted, strict=True)
    ]


def gather(call: Call) -> Value:
    value = call.inputs[0]
    index = call.inputs[1] if call.has(1) else None
    if isinstance(value, Known) and isinstance(index, View):
        return _embedding(call, index)
    if isinstance(value, Known):
        return KNOWN["Gather"](call)
    if not isinstance(value, (View, Filled)):
        raise Refused(f"gathers from what is {describe(value)}")
    rank = len(value.shape)
    axis = normal_axis(call.attribute("axis", 0), rank)
    wanted = call.known(1, "the index")
    if wanted.dtype.kind not in "iu" or wanted.ndim > 1 or wanted.size == 0:
        raise Refused(f"an index of {wanted.dtype} and shape {wanted.shape}; expected a number or a vector of integers")
    numbers, extent = [int(v) for v in wanted.reshape(-1)], value.shape[axis]
    if isinstance(value, View) and isinstance(value.axes[axis], Dim):
        if len(numbers) != 1:
            raise Refused(f"takes {len(numbers)} steps of the {name(value.axes[axis])} axis; one can be taken")
        return _step_view(call, value, axis, numbers[0], keep=wanted.ndim == 1)
    if not isinstance(extent, int):
        raise Refused(f"takes a part of axis {axis}, whose size only the data will tell")
    if any(not -extent <= k < extent for k in numbers):
        raise Refused(f"index {numbers} is out of range for an axis of {extent}")
    numbers = [k % extent for k in numbers]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise Refused(f"takes {numbers} of an axis of {extent}; expected them to follow each other")
    taken = _take(call, value, axis, range(numbers[0], numbers[-1] + 1))
    if wanted.ndim == 1:
        return taken
    if isinstance(taken, Filled):
        shape = [n for k, n in enumerate(taken.array.shape) if k != axis]
        return Filled(taken.array.reshape(shape), taken.shape[:axis] + taken.shape[axis + 1 :])
    assert isinstance(taken, View)
    return taken.with_axes(taken.axes[:axis] + taken.axes[axis + 1 :])


def _embedding(call: Call, ids: View) -> Value:
    table = call.known(0, "the table of the embedding")
    if not ids.ids:
        raise Refused("an index that the model computes; only an input of ids can be looked up")
    if table.ndim != 2 or normal_axis(call.attribute("axis", 0), table.ndim) != 0 or table.dtype != np.float32:
        raise Refused(
            f"looks up axis {call.attribute('axis', 0)} of {table.dtype} {table.shape}; expected rows of float32"
        )
    rows, features = table.shape
    options = {"input_dim": rows, "output_dim": features}
    made = [_looked_up(call, call.whole(part), features, options, table) for part in ids.parts]
    return View(tuple((tensor,) for tensor in made), (*ids.axes, FEATURES))


def _looked_up(call: Call, ids: Tensor, features: int, options: dict[str, int], table: NDArray[Any]) -> Tensor:
    """Rows of the table; of one step of ids the rows of all, and that step of them."""
    layer = ids.layer
    if layer.type != "Step":
        return call.graph.add("Embedding", call.at, [ids], features, options, {"embeddings": table})
    rows = call.graph.add("Embedding", call.at, [layer.inputs[0]], features, options, {"embeddings": table})
    made = call.graph.add("Step", call.at, [rows], features, layer.options, dims=ids.dims)
    if id(ids) in call.graph.steps:
        call.graph.steps[id(made)] = call.graph.steps[id(ids)]
    return made


def concat(call: Call) -> Value:
    values = list(call.inputs)
    if all(isinstance(value, Known) for value in values):
        return KNOWN["Concat"](call)
    if not any(isinstance(value, View) for value in values):
        return _concat_filled(call)
    values = with_rows(call, values)
    views = [value for value in values if isinstance(value, View)]
    if len(views) < len(values):
        other = next(value for value in values if not isinstance(value, View))
        raise Refused(f"joins a tensor that the model computes with what is {describe(other)}")
    axis = normal_axis(call.attribute("axis", 1), len(views[0].axes))
    if axis == len(views[0].axes) - 1 and any(FEATURES in view.axes[-1:] for view in views):
        views = [last_features(view) for view in views]
    kinds = {
        view.axes[axis] if isinstance(view.axes[axis], str) else "rows or steps"
        for view in views
        if axis < len(view.axes)
    }
    if kinds == {FEATURES}:
        views = align(views, call)
        joined = (tuple(p for view in views for p in view.parts[k]) for k in range(len(views[0].parts)))
        parts = tuple(pieces if len(pieces) <= MAX_PIECES else (call.whole(pieces),) for pieces in joined)
        return View(parts, views[0].axes)
    if kinds == {ONE} and all(PARTS in view.axes and OUTER not in view.axes for view in views):
        return _stacked_again(call, views, axis)
    if kinds <= {ONE, PARTS} and all(PARTS not in view.axes or view.axes[axis] == PARTS for view in views):
        stacked = (*views[0].axes[:axis], ONE, *views[0].axes[axis + 1 :])
        align([view.with_axes((*view.axes[:axis], ONE, *view.axes[axis + 1 :])) for view in views])
        if len({view.features for view in views}) > 1 or len({len(view.dims) for view in views}) > 1:
            raise Refused(f"stacks tensors of shapes {', '.join(view.describe() for view in views)}")
        parts = tuple(part for view in views for part in view.parts)
        made = View(parts, (*stacked[:axis], PARTS if len(parts) > 1 else ONE, *stacked[axis + 1 :]))
        return unrolled.stacked(call.graph, call.at, made, axis)
    return unrolled.behind_one_another(call.graph, call.at, views, axis) or joined_steps(call, views, axis)


def _stacked_again(call: Call, views: Sequence[View], axis: int) -> View:
    """Stacks of parts, stacked along another axis."""
    align(views, call)
    first = views[0]
    if any(view.features != first.features or len(view.parts) != len(first.parts) for view in views):
        raise Refused(f"stacks tensors of shapes {', '.join(view.describe() for view in views)}")
    axes = (*first.axes[:axis], OUTER if len(views) > 1 else ONE, *first.axes[axis + 1 :])
    return View(tuple(part for view in views for part in view.parts), axes, len(views))


def _concat_filled(call: Call) -> Value:
    values: list[Filled] = []
    for value in call.inputs:
        if isinstance(value, Known) and value.array.size and (value.array == value.array.flat[0]).all():
            number = value.array.reshape(-1)[:1].reshape((1,) * value.array.ndim)
            value = Filled(number, value.array.shape)
        if not isinstance(value, Filled):
            raise Refused(f"joins a constant with what is {describe(value)}")
        values.append(value)
    if len({value.array.dtype for value in values}) > 1:
        raise Refused("joins constants of different types")
    rank = len(values[0].shape)
    axis = normal_axis(call.attribute("axis", 1), rank)
    array = uniform(values).reshape((1,) * rank)
    for value in values:
        rest = [k for k in range(rank) if k != axis]
        if len(value.shape) != rank or not all(same(value.shape[k], values[0].shape[k]) for k in rest):
            raise Refused("joins constants of different shapes")
    total: Extent = 0
    for value in values:
        extent = value.shape[axis]
        if isinstance(extent, Size):
            raise Refused("joins constants along an axis whose size only the data will tell")
        total = int(product((1, extent))) + int(total)  # type: ignore[arg-type]
    return Filled(array, (*values[0].shape[:axis], total, *values[0].shape[axis + 1 :]))
