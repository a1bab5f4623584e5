"""Arrays in the file's layout and arrays in the model's: (batch, time, features)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.values import BATCH, FEATURES, ONE, OUTER, PARTS, Axis, Dim, Extent, Refused, View, fixed

Array = NDArray[Any]


def _root(axis: Axis) -> object:
    return axis.root if isinstance(axis, Dim) else axis


def _own_axes(view: View) -> list[object]:
    """A model tensor's axes in its own order."""
    dims = sorted((dim.root for dim in view.dims), key=lambda dim: dim.kind != BATCH)
    return [*dims] if view.ids else [*dims, FEATURES]


def fits(extent: Extent, size: int) -> bool:
    """Whether an axis can have this size: what the file, or a node that reads the input, says of it."""
    try:
        return fixed(extent, "") == size
    except Refused:
        return True


def to_model(array: Array, view: View, name: str) -> list[Array]:
    """An input of the file as inputs of the model, one for each part."""
    if array.ndim != len(view.axes):
        raise ValueError(f"input '{name}': expected {len(view.axes)} axes, got shape {array.shape}")
    for axis, (extent, size) in enumerate(zip(view.shape, array.shape, strict=True)):
        if not fits(extent, size):
            raise ValueError(f"input '{name}': expected {extent} on axis {axis}, as the file says; got {array.shape}")
    kept = [_root(axis) for axis in view.axes if axis not in (PARTS, OUTER, ONE)]
    own = _own_axes(view)
    result = []
    for part in range(len(view.parts)):
        outer, inner = divmod(part, len(view.parts) // view.outer)
        places = {PARTS: inner, OUTER: outer, ONE: 0}
        index = tuple(places.get(axis, slice(None)) if isinstance(axis, str) else slice(None) for axis in view.axes)
        chosen = array[index].transpose([kept.index(axis) for axis in own if axis in kept])
        new = tuple(k for k, axis in enumerate(own) if axis not in kept)
        result.append(np.ascontiguousarray(np.expand_dims(chosen, new)))
    return result


def to_file(parts: Sequence[Array], view: View) -> Array:
    """Outputs of the model, one for each part, as one output of the file."""
    own: list[object] = [OUTER, PARTS, *_own_axes(view)]
    stacked = np.stack(parts)
    stacked = stacked.reshape(view.outer, -1, *stacked.shape[1:])
    flat: list[object] = []
    shape: list[int] = []
    for axis in view.axes:
        if axis == ONE:
            shape.append(1)
            continue
        members = [_root(dim) for dim in axis] if isinstance(axis, tuple) else [_root(axis)]
        flat += members
        shape.append(int(np.prod([stacked.shape[own.index(member)] for member in members])))
    order = [own.index(axis) for axis in flat]
    left = [k for k in range(len(own)) if k not in order]  # of size 1
    return np.array(stacked.transpose([*order, *left]).reshape(shape), order="C")
