"""Broadcast: a tensor in the shape that it has together with others."""

from __future__ import annotations

from collections.abc import Sequence

from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan


def broadcast(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, *others = inputs
    name, rank = layer["name"], max(len(t.shape) for t in inputs)
    value = _aligned(graph, x, rank)
    for k, other in enumerate(others):
        shape = graph.emit("Shape", [_aligned(graph, other, rank)], f"{name}/shape_{k}")
        value = graph.emit("Expand", [value, shape], name if k + 1 == len(others) else f"{name}/part_{k}")
    return [Tensor(name, plan.shapes[name, 0][-1], plan.time.get((name, 0)), batch_major=value)]


def _aligned(graph: Graph, x: Tensor, rank: int) -> str:
    """With axes of size 1 behind the batch for those that it lacks."""
    value, missing = graph.batch_major(x), rank - len(x.shape)
    if not missing:
        return value
    return graph.once("Unsqueeze", [value, graph.integers(*range(1, 1 + missing))], f"{x.label}/of_{rank}_axes")
