"""Where a step stands: a table or sines of the steps' numbers, as plain operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, describe

FLOAT, INT64 = 1, 7  # onnx.TensorProto's


def _sequence(plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    if plan.streaming:
        raise ExportError(
            f"streaming=True: {describe(layer)}: a model of one step does not know which step it is; "
            "export the whole model"
        )
    if x.axis is None or x.features is None or x.whole is not None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    return x


def _shape(graph: Graph, x: Tensor) -> str:
    return graph.once("Shape", [graph.batch_major(x)], f"{x.label}/batch_major_shape")


def _steps(graph: Graph, x: Tensor, label: str) -> str:
    """[T, 1] float32: 0, 1, …"""
    one, zero = (graph.initializer(f"int64/{n}", np.array(v, np.int64)) for n, v in (("one", 1), ("zero", 0)))
    size = graph.once("Gather", [_shape(graph, x), one], f"{x.label}/steps", axis=0)
    numbers = graph.once("Range", [zero, size, one], f"{x.label}/step_numbers")
    column = graph.emit("Unsqueeze", [numbers, graph.integers(1)], f"{label}/step_column")
    return graph.emit("Cast", [column], f"{label}/positions", to=FLOAT)


def _angles(graph: Graph, x: Tensor, label: str, frequencies: np.ndarray) -> str:
    row = graph.initializer(f"{label}/frequencies", frequencies.astype(np.float32))
    return graph.emit("Mul", [_steps(graph, x, label), row], f"{label}/angles")


def _spread(graph: Graph, x: Tensor, label: str, value: str) -> list[Tensor]:
    """The same of every row."""
    y = graph.emit("Expand", [value, _shape(graph, x)], label)
    return [Tensor(label, x.features, x.axis, batch_major=y)]


def position_embedding(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, name = _sequence(plan, layer, inputs), layer["name"]
    assert x.features is not None
    table = graph.weight(describe(layer), f"{name}/embeddings", (layer["sequence_length"], x.features))
    size = graph.emit("Slice", [_shape(graph, x), graph.integers(1), graph.integers(2)], f"{name}/size")
    # Gather refuses a step that the table has not; Slice would not.
    one, zero = (graph.initializer(f"int64/{n}", np.array(v, np.int64)) for n, v in (("one", 1), ("zero", 0)))
    numbers = graph.emit("Range", [zero, graph.emit("Squeeze", [size], f"{name}/steps"), one], f"{name}/numbers")
    rows = graph.emit("Gather", [graph.initializer(f"{name}/embeddings", table), numbers], f"{name}/rows", axis=0)
    return _spread(graph, x, name, rows)


def sine_encoding(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, name = _sequence(plan, layer, inputs), layer["name"]
    assert x.features is not None
    feature = np.arange(x.features)
    frequencies = layer.get("max_wavelength", 1e4) ** -(feature // 2 * 2 / x.features)
    angles = _angles(graph, x, name, frequencies)
    even = graph.initializer(f"{name}/even", feature % 2 == 0)
    parts = [graph.emit(op, [angles], f"{name}/{op}") for op in ("Sin", "Cos")]
    return _spread(graph, x, name, graph.emit("Where", [even, *parts], f"{name}/rows"))


def rotary_embedding(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, name = _sequence(plan, layer, inputs), layer["name"]
    assert x.features is not None
    if x.features % 2:
        raise ExportError(f"{describe(layer)}: expected an even number of features, got {x.shape}")
    half = x.features // 2
    frequencies = layer.get("max_wavelength", 1e4) ** (-np.arange(half) / half) / layer.get("scaling_factor", 1.0)
    angles = _angles(graph, x, name, frequencies)
    cos, sin = (graph.emit(op, [angles], f"{name}/{op}") for op in ("Cos", "Sin"))
    if x.between:  # the same of every one of these
        axes = graph.integers(*range(1, 1 + len(x.between)))
        cos, sin = (graph.emit("Unsqueeze", [turn, axes], f"{turn}/by_step") for turn in (cos, sin))
    value, end = graph.batch_major(x), graph.integers(-1)
    a, b = (
        graph.emit("Slice", [value, graph.integers(low), graph.integers(high), end], f"{name}/part_{low}")
        for low, high in ((0, half), (half, x.features))
    )
    products = {
        (p, q): graph.emit("Mul", [v, w], f"{name}/{p}_{q}")
        for p, v in (("a", a), ("b", b))
        for q, w in (("cos", cos), ("sin", sin))
    }
    first = graph.emit("Sub", [products["a", "cos"], products["b", "sin"]], f"{name}/first")
    second = graph.emit("Add", [products["b", "cos"], products["a", "sin"]], f"{name}/second")
    y = graph.emit("Concat", [first, second], name, axis=-1)
    return [Tensor(name, x.features, x.axis, batch_major=y)]
