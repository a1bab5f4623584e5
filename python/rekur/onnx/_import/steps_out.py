"""An output of the file that is steps put together one by one: one sequence of the model."""

from __future__ import annotations

from collections.abc import Iterable

from rekur.onnx._import import masked, norm, products
from rekur.onnx._import.call import Call
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    PARTS,
    TIME,
    Dim,
    Masked,
    Moment,
    Scores,
    Tensor,
    Total,
    Value,
    View,
)


def finished(call: Call, output: Scores | Moment | View | Masked | Total, inputs: Iterable[Value]) -> View:
    """What a graph output is as a tensor of the model."""
    if isinstance(output, (Masked, Total)):
        output = masked.plain(call, output)
    if isinstance(output, Moment):
        return norm.as_view(call, output)
    return as_sequence(call, products.apart(call, output) if isinstance(output, Scores) else output, inputs)


def as_sequence(call: Call, output: View, inputs: Iterable[Value]) -> View:
    """(batch, parts, features) as (batch, time, features), unless the parts are states.

    States are stacked along this axis, too, by a bidirectional layer with ``layout`` 1 and by files that have states
    as inputs: these stay outputs by themselves, as their inputs are.
    """
    axes, count = output.axes, len(output.parts)
    batch = axes[0] if axes else None
    if len(axes) != 3 or axes[1:] != (PARTS, FEATURES) or not isinstance(batch, Dim) or output.outer != 1:
        return output
    states = all(_is_last_state(part[0]) for part in output.parts if len(part) == 1)
    fed = any(isinstance(one, View) and one.axes[1:2] == (PARTS,) and len(one.parts) == count for one in inputs)
    pieces = [piece for part in output.parts for piece in part]
    rest = [[dim for dim in piece.dims if dim.root is not batch.root] for piece in pieces]  # a step the file leaves out
    rows = all(len(piece.dims) - len(own) == 1 for piece, own in zip(pieces, rest, strict=True))
    rows = rows and all(dim.size == 1 for own in rest for dim in own) and len(set(map(len, rest))) == 1
    if states or fed or not rows or batch.kind == TIME or output.ids:
        return output
    batch.mark(BATCH)
    joined = call.whole(tuple(pieces))
    time = Dim(f"steps of {call.at[0]}", count)
    time.mark(TIME)
    options = {"target_shape": [count, output.features]}
    made = call.graph.add("Reshape", call.at, [joined], output.features, options, dims=(batch, time))
    return View(((made,),), (batch, time, FEATURES))


def _is_last_state(tensor: Tensor) -> bool:
    """The final state of a layer that has more than one step."""
    layer = tensor.layer
    if tensor.port not in layer.states:
        return False
    return not any(dim.size == 1 and dim.kind != BATCH for dim in layer.inputs[0].dims)
