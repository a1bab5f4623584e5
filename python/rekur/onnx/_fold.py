"""FoldTime and UnfoldTime: steps as rows and back."""

from __future__ import annotations

from collections.abc import Sequence

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, describe


def _trailing(graph: Graph, x: Tensor, first: int) -> list[str]:
    """The sizes of a batch-major value from axis ``first`` on, each [1]."""
    shape, value = x.shape, graph.batch_major(x)
    sizes = []
    for k in range(first, len(shape)):
        size = shape[k]
        sizes.append(graph.integers(size) if isinstance(size, int) else _slice(graph, x, value, k, k + 1))
    return sizes


def _slice(graph: Graph, x: Tensor, value: str, begin: int, end: int) -> str:
    shape = graph.once("Shape", [value], f"{x.label}/batch_major_shape")
    given = [shape, graph.integers(begin), graph.integers(end)]
    return graph.once("Slice", given, f"{x.label}/sizes_{begin}_{end}")


def _check_one_step(plan: Plan, layer: Layer) -> None:
    """A step of (B, T, F) is a row already."""
    if len(plan.shapes[layer["name"], 0]) + (layer["type"] == "FoldTime") > 3:
        raise ExportError(
            f"streaming=True: {describe(layer)}: a time step that is a sequence by itself is no single step to the "
            "layers within"
        )


def fold_time(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), name = inputs, layer["name"]
    if plan.streaming:
        _check_one_step(plan, layer)
        return [x]
    shape = graph.emit("Concat", [graph.integers(-1), *_trailing(graph, x, 2)], f"{name}/shape", axis=0)
    y = graph.emit("Reshape", [graph.batch_major(x), shape], name)
    return [Tensor(name, x.features, batch_major=y)]


def unfold_time(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x, like), name = inputs, layer["name"]
    if plan.streaming:
        _check_one_step(plan, layer)
        return [x]
    front = _slice(graph, like, graph.batch_major(like), 0, 2)
    shape = graph.emit("Concat", [front, *_trailing(graph, x, 1)], f"{name}/shape", axis=0)
    y = graph.emit("Reshape", [graph.batch_major(x), shape], name)
    return [Tensor(name, x.features, like.axis, batch_major=y)]
