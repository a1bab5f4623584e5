"""Rows that were made sequences of one step, or repeated beside one, where what makes them works on sequences anyway.

In a file of one step at a time the state after the step is the output of that step: layers behind it then read the
sequence of one step, and the model can be run step by step.
"""

from __future__ import annotations

from collections.abc import Sequence

from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.onestep import POINTWISE
from rekur.onnx._import.uses import Uses
from rekur.onnx._import.values import Tensor


def tidy(graph: Graph, outputs: Sequence[Tensor]) -> None:
    uses = Uses(graph, outputs)
    for layer in graph.layers:
        row = _row_of(layer)
        if row is None or not _is_step(row, layer, uses):
            continue
        made = _as_step(row)
        if made.features == layer.output.features:
            graph.aliases[id(layer.output)] = made
            graph.kept.append(layer.output)
    graph.settle()


def _row_of(layer: Layer) -> Tensor | None:
    """What a layer makes a sequence of one step of; None: it does something else."""
    time = layer.output.time
    if time is None or time.size != 1 or not layer.inputs or len(layer.inputs[0].dims) != 1:
        return None
    repeats = layer.type == "RepeatVector" and layer.options["n"] == 1
    return layer.inputs[0] if repeats or layer.type == "Broadcast" else None


def _is_step(row: Tensor, reader: Layer, uses: Uses, depth: int = 0) -> bool:
    """Whether a row is the output of one step, or what layers that nothing else reads make of such."""
    if _single(row):
        return True
    layer = row.layer
    if layer.type not in POINTWISE or row.port != "y" or depth > 64 or uses.sole(row) is not reader:
        return False
    return all((len(one.dims) == 2 and _one(one)) or _is_step(one, layer, uses, depth + 1) for one in layer.inputs)


def _single(row: Tensor) -> bool:
    layer = row.layer
    return row.port == "h" and "h" in layer.states and _one(layer.inputs[0])


def _one(tensor: Tensor) -> bool:
    return tensor.time is not None and tensor.time.size == 1


def _as_step(row: Tensor) -> Tensor:
    if len(row.dims) == 2:
        return row
    if _single(row):
        return row.layer.output
    layer = row.layer
    layer.inputs = [_as_step(one) for one in layer.inputs]
    times = [one.time for one in layer.inputs if one.time is not None]
    for time in times[1:]:
        times[0].join(time)
    row.dims = layer.inputs[0].dims
    return row
