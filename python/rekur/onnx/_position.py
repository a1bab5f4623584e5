"""Where a step stands: a table or sines of the steps' numbers, as plain operators."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, State, describe

FLOAT, INT64, DOUBLE = 1, 7, 11  # onnx.TensorProto's
POSITION = 1 << 20  # steps that the second number of a position's state counts: float32 has every number of both


def _sequence(plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    (x,) = inputs
    if (x.axis is None and not plan.streaming) or x.features is None or x.whole is not None:
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


def _held_steps(graph: Graph, plan: Plan, x: Tensor, state: State) -> str:
    """The numbers of the steps at hand as int64, (B, 1), of a piece (B, T).

    The state is the number of the next step: what is left of it by POSITION, and how many times that has passed.
    """
    label = state.layer
    unit = graph.initializer("int64/position_units", np.array([1, POSITION], np.int64))
    parts = graph.emit("Cast", [state.input], f"{label}/position/parts", to=INT64)
    scaled = graph.emit("Mul", [parts, unit], f"{label}/position/scaled")
    first = graph.emit("ReduceSum", [scaled, graph.integers(1)], f"{label}/position", keepdims=1)
    steps = first
    one, zero = (graph.initializer(f"int64/{n}", np.array(v, np.int64)) for n, v in (("one", 1), ("zero", 0)))
    count = one
    if not plan.streaming:
        count = graph.once("Gather", [_shape(graph, x), one], f"{x.label}/steps", axis=0)
        numbers = graph.once("Range", [zero, count, one], f"{x.label}/step_numbers")
        steps = graph.emit("Add", [first, numbers], f"{label}/position/steps")
    after = graph.emit("Add", [first, count], f"{label}/position/after")
    wholes = graph.emit("Div", [after, unit], f"{label}/position/wholes")
    size = graph.initializer("int64/position_size", np.array([POSITION, 1 << 24], np.int64))
    left = graph.emit("Mod", [wholes, size], f"{label}/position/left")
    graph.emit("Cast", [left], state.output, to=FLOAT)
    return steps


def _held_angles(graph: Graph, plan: Plan, x: Tensor, state: State, frequencies: np.ndarray) -> str:
    """(B, F), of a piece (B, T, F): within one turn, for which steps that never end need float64."""
    label = state.layer
    turns = graph.initializer(f"{label}/turns", np.asarray(frequencies / (2 * np.pi), np.float64))
    steps = graph.emit("Cast", [_held_steps(graph, plan, x, state)], f"{label}/positions", to=DOUBLE)
    if not plan.streaming:
        steps = graph.emit("Unsqueeze", [steps, graph.integers(2)], f"{label}/positions/columns")
    turned = graph.emit("Mul", [steps, turns], f"{label}/turned")
    whole = graph.emit("Cast", [turned], f"{label}/turned/whole", to=INT64)
    rest = graph.emit(
        "Sub", [turned, graph.emit("Cast", [whole], f"{label}/turned/wholes", to=DOUBLE)], f"{label}/rest"
    )
    circle = graph.initializer("float32/circle", np.array(2 * np.pi, np.float32))
    return graph.emit("Mul", [graph.emit("Cast", [rest], f"{label}/rest/float32", to=FLOAT), circle], f"{label}/angles")


def _angles(graph: Graph, plan: Plan, x: Tensor, label: str, frequencies: np.ndarray) -> str:
    """(T, F), or of each row."""
    if held := plan.states.get(label):
        return _held_angles(graph, plan, x, held[0], frequencies)
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
    if held := plan.states.get(name):
        steps = _held_steps(graph, plan, x, held[0])
        if plan.streaming:
            steps = graph.emit("Squeeze", [steps, graph.integers(1)], f"{name}/position/step")
        value = graph.emit("Gather", [graph.initializer(f"{name}/embeddings", table), steps], name, axis=0)
        return [Tensor(name, x.features, x.axis, batch_major=value)]
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
    angles = _angles(graph, plan, x, name, frequencies)
    even = graph.initializer(f"{name}/even", feature % 2 == 0)
    parts = [graph.emit(op, [angles], f"{name}/{op}") for op in ("Sin", "Cos")]
    if name in plan.states:
        return [Tensor(name, x.features, x.axis, batch_major=graph.emit("Where", [even, *parts], name))]
    return _spread(graph, x, name, graph.emit("Where", [even, *parts], f"{name}/rows"))


def rotary_embedding(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    x, name = _sequence(plan, layer, inputs), layer["name"]
    assert x.features is not None
    if x.features % 2:
        raise ExportError(f"{describe(layer)}: expected an even number of features, got {x.shape}")
    half = x.features // 2
    frequencies = layer.get("max_wavelength", 1e4) ** (-np.arange(half) / half) / layer.get("scaling_factor", 1.0)
    angles = _angles(graph, plan, x, name, frequencies)
    cos, sin = (graph.emit(op, [angles], f"{name}/{op}") for op in ("Cos", "Sin"))
    if x.between:  # the same of every one of these
        axis = len(x.shape) - 1 - len(x.between) if name in plan.states else 1
        axes = graph.integers(*range(axis, axis + len(x.between)))
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
