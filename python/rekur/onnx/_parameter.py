"""Parameter: weights as a tensor, once a row and step of what they stand beside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, describe


def parameter(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    name, given = layer["name"], tuple(layer["shape"])
    row = given
    while row and row[0] == 1:
        row = row[1:]
    row = row or (1,)
    beside = layer.get("beside", False)
    missing = len(x.shape) - 1 - len(row) if beside else 0
    axis = x.axis if beside else plan.time.get((name, 0))
    if missing < 0:  # a step lacks the time axis that the weights have
        raise ExportError(f"{describe(layer)}: its weights differ from time step to time step")
    rest = (1,) * missing + row
    leading = 2 if beside and x.axis is not None else 1
    shape = graph.emit("Shape", [graph.batch_major(x)], f"{name}/input_shape")
    sizes = [
        graph.emit("Slice", [shape, graph.integers(0), graph.integers(leading)], f"{name}/rows"),
        graph.integers(*(1,) * (1 + len(rest) - leading)),
    ]
    target = graph.emit("Concat", sizes, f"{name}/shape", axis=0)
    value = graph.weight(describe(layer), f"{name}/value", given).reshape(1, *rest)
    held = graph.initializer(f"{name}/value", np.asarray(value, np.float32))
    found = graph.emit("Expand", [held, target], name)
    between = rest[1:-1] if axis is not None or len(rest) > 1 else ()
    return [Tensor(name, row[-1], axis, batch_major=found, between=between, rows=x.rows)]
