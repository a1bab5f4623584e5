"""Tensors of shapes that go together: what is of size 1 along an axis of the file is repeated there.

Shapes are compared from the last axis on, as everywhere in ONNX. A row beside a sequence is repeated at its steps, one
feature beside many at all of them; nothing is repeated over the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

from rekur.onnx._import.call import Call
from rekur.onnx._import.layout import align
from rekur.onnx._import.values import BATCH, FEATURES, ONE, TIME, Axis, Dim, Refused, View


def together(call: Call, views: Sequence[View]) -> list[View]:
    """Views of the same axes and as many features, made by Broadcast layers where they are not."""
    if any(view.ids for view in views):
        raise Refused("arithmetic on ids")
    if _alike(views):
        return align(views, call)
    refusal = Refused(f"shapes {' and '.join(view.describe() for view in views)} do not go together in any layer")
    if any(len(view.parts) != 1 or any(isinstance(axis, tuple) for axis in view.axes) for view in views):
        raise refusal
    rank = max(len(view.axes) for view in views)
    rows = [[ONE] * (rank - len(view.axes)) + list(view.axes) for view in views]
    target: list[Axis] = []
    for place in range(rank):
        axis = _common([row[place] for row in rows])
        if axis is None:
            raise refusal
        target.append(axis)
    if target.count(FEATURES) > 1 or (FEATURES not in target and any(view.features > 1 for view in views)):
        raise refusal
    shown = [axis for axis in target if isinstance(axis, Dim)]
    if len({dim.root for dim in shown}) != len(shown) or len(shown) > 2:
        raise refusal
    whole = max(views, key=lambda view: len(view.dims))
    wide = max(view.features for view in views)
    if any(view.features not in (1, wide) for view in views):
        raise refusal
    _check_rows(views, rows, refusal)
    tensors = [call.whole(view.parts[0]) for view in views]
    found = []
    for k, view in enumerate(views):
        made = tensors[k]
        if len(view.dims) < len(whole.dims) or view.features < wide:
            others = [tensor for i, tensor in enumerate(tensors) if i != k and tensor is not made]
            made = call.graph.add("Broadcast", call.at, [made, *others], wide, dims=whole.dims)
        found.append(View(((made,),), tuple(target)))
    return found


def _alike(views: Sequence[View]) -> bool:
    """Whether no axis of one is another kind than that of the others."""
    first = views[0]
    for view in views[1:]:
        if len(view.axes) != len(first.axes) or view.features != first.features or len(view.parts) != len(first.parts):
            return False
        for a, b in zip(first.axes, view.axes, strict=True):
            if (ONE in (a, b) and a != b) or (FEATURES in (a, b) and a != b):
                return False
    return True


def _common(axes: Sequence[Axis]) -> Axis | None:
    """What one axis of all of them is; None where they do not go together."""
    dims = [axis for axis in axes if isinstance(axis, Dim)]
    others = {axis for axis in axes if isinstance(axis, str)} - {ONE}
    if dims:
        for dim in dims[1:]:
            dims[0].join(dim)
        return dims[0] if not others else None
    return FEATURES if others == {FEATURES} else ONE if not others else None


def _check_rows(views: Sequence[View], rows: Sequence[Sequence[Axis]], refusal: Refused) -> None:
    """Every view has the batch where the others have it, and what has steps has those of all."""
    if len({frozenset(dim.root for dim in view.dims) for view in views}) == 1:
        return
    known = [dim for view in views for dim in view.dims]
    fewest = min(views, key=lambda view: len(view.dims))
    batch = next((dim for dim in known if dim.kind == BATCH), fewest.dims[0] if len(fewest.dims) == 1 else None)
    if batch is None:
        raise refusal
    shown = [{axis.root for axis in row if isinstance(axis, Dim)} for row in rows]
    if any(batch.root not in {dim.root for dim in view.dims} for view in views) or any(
        batch.root not in axes for axes in shown
    ):
        raise refusal
    batch.mark(BATCH)
    steps = {dim.root for dim in known} - {batch.root}
    if len(steps) > 1:
        raise refusal
    for dim in steps:
        dim.mark(TIME)
