"""Constants that have the same row for each of the batch, as first states are that an exporter wrote out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.call import Call
from rekur.onnx._import.values import BATCH, FEATURES, TIME, Dim, Filled, Known, Refused, Value, View, same
from rekur.onnx._import.windows import crosses


def constant_row(call: Call) -> tuple[NDArray[Any], tuple[Any, ...]] | None:
    """A constant of which all rows are one, as first states are: the row, and the shape that it has in the file."""
    value = call.inputs[0]
    if isinstance(value, Filled) and len(value.shape) == 2 and value.array.shape[0] == 1:
        width = value.shape[1]
        if value.array.dtype == np.float32 and isinstance(width, int):
            call.budget.take((width,))
            return np.broadcast_to(value.array, (1, width)), value.shape
    array = value.array if isinstance(value, Known) else None
    if array is not None and array.dtype == np.float32 and array.ndim == 2 and array.size:
        return (array[:1], array.shape) if (array == array[:1]).all() else None
    return None


def row_times(
    call: Call, row: tuple[NDArray[Any], tuple[Any, ...]], kernel: NDArray[Any], bias: NDArray[Any]
) -> Filled:
    """What every row of a constant gives, by a matrix: a constant of as many rows."""
    array, shape = row
    if kernel.dtype != np.float32 or kernel.ndim != 2 or kernel.shape[0] != array.shape[1]:
        raise Refused(f"weights {kernel.dtype} of shape {kernel.shape} for a constant of shape {array.shape}")
    if bias.dtype != np.float32 or bias.size not in (1, kernel.shape[1]):
        raise Refused(f"a bias {bias.dtype} of shape {bias.shape}; expected float32 ({kernel.shape[1]},)")
    call.budget.take((kernel.shape[1],))
    made = array.astype(np.float64) @ kernel + bias
    return Filled(made.astype(np.float32), (shape[0], int(kernel.shape[1])))


def are_rows(x: View, shape: Sequence[Any]) -> bool:
    """Whether the first axis of a constant is the batch of x, as the exporter built it in; it is from here on."""
    rows = x.axes[0] if len(x.axes) == len(shape) == 2 and x.axes[1] == FEATURES else None
    if not isinstance(rows, Dim) or rows.kind == TIME or not isinstance(shape[0], int) or shape[0] < 2:
        return False
    if rows.size not in (None, shape[0]):
        return False
    rows.fix(shape[0])
    return True


def is_row(x: View, array: NDArray[Any]) -> bool:
    """Whether a constant has the same row for each of a batch that the exporter built in."""
    same = array.ndim == 2 and array.size > 0 and bool((array == array[:1]).all())
    return same and are_rows(x, array.shape)


def with_rows(call: Call, values: list[Value | None]) -> list[Value | None]:
    """Constants of which all rows are one, beside rows: as tensors of the model."""
    like = next(value for value in values if isinstance(value, View))
    if len(like.axes) != 2 or like.axes[1] != FEATURES or len(like.dims) != 1 or len(like.parts) != 1:
        return values
    found: list[Value | None] = []
    for value in values:
        array = value.array if isinstance(value, (Known, Filled)) else None
        width = None
        if isinstance(value, Filled) and len(value.shape) == 2 and same(value.shape[0], like.shape[0]):
            width = value.shape[1]
        elif isinstance(value, Known) and value.array.ndim == 2 and value.array.shape[0] >= 1:
            rows = like.dims[0]
            if (value.array == value.array[:1]).all() and rows.size in (None, value.array.shape[0]):
                rows.fix(value.array.shape[0])
                width = value.array.shape[1]
        if array is None or not isinstance(width, int) or width < 1 or array.dtype != np.float32:
            found.append(value)
            continue
        call.budget.check((width,))
        row = np.broadcast_to(array[:1], (1, width)).reshape(width)
        source = call.whole(like.parts[0])
        made = call.graph.add("Parameter", call.at, [source], width, {"shape": [width]}, {"value": row})
        found.append(View(((made,),), like.axes))
    return found


def beside(call: Call, x: View, value: Known | Filled) -> View | None:
    """A constant of another row for each step of x, as a table of positions is: the layer's weights beside x."""
    time = next((axis for axis in x.axes if isinstance(axis, Dim) and axis.size not in (None, 1)), None)
    array = value.array if isinstance(value, Known) and value.array.dtype == np.float32 else None
    if array is None or time is None or array.ndim > len(x.axes) or len(x.dims) != 2 or len(x.parts) != 1:
        return None
    sizes = (1,) * (len(x.axes) - array.ndim) + array.shape
    wide = [k for k, size in enumerate(sizes) if size != 1]
    places = {k: x.axes[k] for k in wide}
    steps = [k for k, axis in places.items() if isinstance(axis, Dim)]
    if len(steps) != 1 or places[steps[0]] is not time or sizes[steps[0]] != time.size:
        return None
    features = [k for k, axis in places.items() if axis == FEATURES]
    if len(features) + 1 != len(wide) or any(sizes[k] != x.features for k in features):
        return None
    if time.kind == BATCH or not np.isfinite(array).all():
        return None
    time.mark(TIME)
    crosses(call, time)
    width = x.features if features else 1
    order = [*steps, *features]
    rows = array.reshape(sizes).transpose([*order, *(k for k in range(len(sizes)) if k not in order)])
    whole = call.whole(x.parts[0])
    options = {"shape": [time.size, width], "beside": True}
    weights = {"value": np.ascontiguousarray(rows.reshape(time.size, width))}
    made = call.graph.add("Parameter", call.at, [whole], width, options, weights)
    return View(((made,),), x.axes)
