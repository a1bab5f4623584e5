"""Loop: a Scan whose body are the nodes of the body's layers, each written by its own rule.

What every step sees whole stands in the graph around the Scan, and so do all weights. Rows without a step keep their
states; where a mask leaves steps out those that are there stand in front, and go back to their places afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rekur.onnx._around import batch_size, step_of, times
from rekur.onnx._axes import AxisTable, TimeAxis, parse_ref
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import packed, placed, within
from rekur.onnx._plan import Layer, Plan, describe


def _renamed(spec: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The spec, every name of a layer or call behind the prefix."""

    def of(text: str) -> str:
        return prefix + text

    def entry(given: Mapping[str, Any]) -> dict[str, Any]:
        made = dict(given)
        for key in ("name", "layer"):
            if isinstance(made.get(key), str):
                made[key] = of(made[key])
        if "inputs" in made:
            made["inputs"] = [of(text) for text in made["inputs"]]
        return made

    found = {**spec, "layers": [entry(layer) for layer in spec["layers"]]}
    if "calls" in spec:
        found["calls"] = [entry(call) for call in spec["calls"]]
    for key in ("inputs", "outputs"):
        found[key] = [of(text) for text in spec[key]]
    return found


class _Body(Plan):
    """The plan of a body, whose inputs have the axes of what they are given."""

    def __init__(self, spec: Mapping[str, Any], given: Mapping[str, TimeAxis]) -> None:
        self._given = given
        super().__init__(spec, False)

    def _input_axes(self, table: AxisTable, lengths: bool, masks: bool) -> dict[int, TimeAxis]:
        found: dict[int, TimeAxis] = {}
        for root in table.roots():
            axes = [self._given[name] for name in table.members(root)]
            found[root] = next((axis for axis in axes if axis.marked), axes[0])
        return found


def loop(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The Scan, its outputs at the steps that the model has, and the last states."""
    name, x = layer["name"], inputs[0]
    if plan.streaming or x.axis is None:
        raise ExportError(f"streaming=True: {describe(layer)}: {WHY}")
    spec = _renamed(layer["body"], f"{name}.")
    names = [parse_ref(text)[0] for text in spec["inputs"]]
    steps, count = layer.get("steps", 1), layer.get("states", 0)
    first = len(names) - count
    sequences = list(inputs[:steps])
    if mask := x.axis.mask:
        sequences = [packed(graph, tensor, mask) for tensor in sequences]
    lengths = (sequences[0].axis.lengths if sequences[0].axis else None) or ""
    body = _Body(spec, _axes(spec, names, inputs, steps, first))
    inner, held = _inside(graph, layer), inputs[steps:first]
    scanned = [times(graph, graph.time_major(sequences[0]), sequences[0].label)] if lengths else []
    scanned += [graph.time_major(tensor) for tensor in sequences]
    initial = [_initial(graph, plan, layer, x, held, body, names[first + k], inputs[first + k :]) for k in range(count)]
    for tensor in held:
        graph.batch_major(tensor)
        if tensor.axis is not None and tensor.axis.lengths and not tensor.axis.mask:
            within(graph, tensor)  # what it makes of the lengths is made once, around the Scan
    inner.made |= graph.made
    tensors = _bound(inner, body, names, sequences, held, first)
    from rekur.onnx._build import emit_layers  # which is made of this module

    emit_layers(inner, body, tensors)
    refs = [parse_ref(text) for text in spec["outputs"]]
    states, outputs = _scan(graph, inner, layer, body, tensors, refs, names[first:], initial, scanned, lengths)
    found = [
        _output(graph, plan, layer, x, sequences[0], mask or "", tensors[ref], value, k)
        for k, (ref, value) in enumerate(zip(refs, outputs, strict=False))
    ]
    for k, value in enumerate(states if layer.get("return_state", False) else ()):
        label = f"{name}:{len(found)}"
        state = tensors[names[first + k], 0]
        found.append(Tensor(label, state.features, batch_major=graph.emit("Identity", [value], label)))
    return found


ZERO = np.array(0, np.float32)
WHY = "its steps see a memory as a whole, and a step by itself is another model: export that of the body"


def _axes(
    spec: Mapping[str, Any], names: Sequence[str], inputs: Sequence[Tensor], steps: int, first: int
) -> dict[str, TimeAxis]:
    """By input of the body its axis: a step's has one step, a constant's is the one around the loop."""
    shapes = {entry["name"]: entry["shape"] for entry in spec["layers"] if entry["type"] == "Input"}
    held = next(
        (t.axis for t, n in zip(inputs[steps:first], names[steps:first], strict=True) if _open(shapes[n])), None
    )
    found = {}
    for k, name in enumerate(names):
        given = inputs[k].axis if steps <= k < first else None
        if given is None and k >= first and _open(shapes[name]) and held is not None:
            given = TimeAxis((), held.size)
        size = shapes[name][0] if shapes[name] else 1
        found[name] = given or TimeAxis((), 1 if size is None else size)
    return found


def _open(shape: Sequence[int | None]) -> bool:
    return len(shape) > 1 and shape[0] is None


def _inside(graph: Graph, layer: Layer) -> Graph:
    """A graph for the body, to which the weights of its layers have names as any layer's."""
    name = layer["name"]
    inner, start = graph.body(), len(name) + 1

    def own(key: str) -> str:
        return f"{name}.{key[start:]}"

    inner.weights = {own(key): value for key, value in graph.weights.items() if key.startswith(f"{name}/")}
    inner.int8 = frozenset(own(key) for key in graph.int8 if key.startswith(f"{name}/"))
    inner.integer_products = graph.integer_products
    if name in graph.twins:
        parts = {key[start:].partition("/")[0] for key in graph.weights if key.startswith(f"{name}/")}
        inner.twins = {f"{name}.{part}": f"{graph.twins[name]}.{part}" for part in parts}
    return inner


def _initial(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    x: Tensor,
    held: Sequence[Tensor],
    body: Plan,
    name: str,
    given: Sequence[Tensor],
) -> str:
    """What a state begins with: what is given, or zeros."""
    if given:
        return graph.batch_major(given[0])
    parts, label = [batch_size(graph, plan, x)], f"{name}/begin"
    for size in body.layers[name]["shape"]:
        if size is not None:
            parts.append(graph.integers(size))
            continue
        memory = next(tensor for tensor in held if tensor.axis is not None)
        shape = graph.once("Shape", [graph.batch_major(memory)], f"{memory.label}/batch_major_shape")
        parts.append(graph.once("Gather", [shape, graph.integers(1)], f"{memory.label}/steps_1", axis=0))
    whole = graph.emit("Concat", parts, f"{label}/shape", axis=0)
    return graph.emit("ConstantOfShape", [whole], label)


def _bound(
    inner: Graph, body: Plan, names: Sequence[str], sequences: Sequence[Tensor], held: Sequence[Tensor], first: int
) -> dict[tuple[str, int], Tensor]:
    """The body's inputs: a step of each sequence, constants, states."""
    tensors: dict[tuple[str, int], Tensor] = {}
    for k, name in enumerate(names):
        layer = body.layers[name]
        ids = layer.get("dtype", "float32") == "int32"
        features = None if ids else layer["shape"][-1]
        if k < len(sequences):
            inner.emit("Unsqueeze", [f"{name}/step", inner.integers(1)], name)
        value = held[k - len(sequences)].batch_major if len(sequences) <= k < first else name
        axis, between = body.time.get((name, 0)), tuple(n or f"{name}_axis" for n in layer["shape"][1:-1])
        if ids and len(layer["shape"]) > 1:
            between = tuple(layer["shape"][1:])
        tensors[name, 0] = Tensor(name, features, axis, batch_major=value, between=between)
    return tensors


def _scan(
    graph: Graph,
    inner: Graph,
    layer: Layer,
    body: Plan,
    tensors: Mapping[tuple[str, int], Tensor],
    refs: Sequence[tuple[str, int]],
    states: Sequence[str],
    initial: list[str],
    scanned: list[str],
    lengths: str,
) -> tuple[list[str], list[str]]:
    """The node; names of the last states, and of the outputs (T, B, …)."""
    name, outputs = layer["name"], len(refs) - len(states)
    names = [parse_ref(text)[0] for text in body.spec["inputs"]]
    inner.inputs = [(state, "float32", tensors[state, 0].shape) for state in states]
    if lengths:
        inner.inputs.append((f"{name}.time", "int32", ()))
    for step in names[: len(scanned) - bool(lengths)]:
        shape = tensors[step, 0].shape
        inner.inputs.append((f"{step}/step", tensors[step, 0].dtype, (shape[0], *shape[2:])))
    valid = ""
    if lengths:
        valid = inner.emit("Less", [f"{name}.time", lengths], f"{name}.valid")

    def rows(rank: int) -> str:
        return inner.once("Unsqueeze", [valid, inner.integers(*range(1, rank))], f"{name}.valid/{rank}")

    for k, state in enumerate(states):
        tensor, label = tensors[refs[outputs + k]], f"{state}/next"
        value, rank = inner.batch_major(tensor), len(tensor.shape)
        if valid:
            inner.emit("Where", [rows(rank), value, state], label)
        else:
            inner.emit("Identity", [value], label)
        inner.outputs.append((label, "float32", tensors[state, 0].shape))
    for k in range(outputs):
        tensor, label = tensors[refs[k]], f"{name}.output_{k}"
        value, shape = inner.batch_major(tensor), tensor.shape
        if len(shape) > 2:
            value = inner.emit("Squeeze", [value, inner.integers(1)], f"{label}/row")
            shape = (shape[0], *shape[2:])
        inner.emit("Identity", [value], label)
        inner.outputs.append((label, "float32", shape))
    last, found = [f"{state}/last" for state in states], [f"{name}.output_{k}/each" for k in range(outputs)]
    graph.emit(
        "Scan", [*initial, *scanned], *last, *found, name=f"{name}/Scan", body=inner, num_scan_inputs=len(scanned)
    )
    return last, found


def _output(
    graph: Graph, plan: Plan, layer: Layer, x: Tensor, steps: Tensor, mask: str, of: Tensor, value: str, k: int
) -> Tensor:
    """Output k as the model has it, of its values at the steps that are there in front."""
    name = layer["name"]
    label = f"{name}:{k}" if k else name
    shape = of.shape
    rest = shape[1:] if len(shape) == 2 else shape[2:]
    tensor = Tensor(f"{label}/inside", of.features, steps.axis, time_major=value, between=tuple(rest[:-1]))
    if of.whole is not None or isinstance(rest[-1], str):
        tensor = replace(tensor, features=1)  # as many as another axis has: nothing below asks for their number
    if not layer.get("return_sequences", False):
        made = step_of(graph, tensor, -1, label)
        if isinstance(rest[-1], str):
            return Tensor(label, 1, batch_major=made, whole=(x.rows, *rest))
        return Tensor(label, of.features, batch_major=made)
    whole = graph.batch_major(tensor)
    if mask:
        made = placed(graph, mask, whole, label)
    elif steps.axis is not None and steps.axis.lengths:
        there = graph.once("Unsqueeze", [within(graph, x), graph.integers(2)], f"{x.label}/valid_batch_major_steps")
        zero = graph.initializer("float32/zero", ZERO)
        made = graph.emit("Where", [there, whole, zero], label)
    else:
        made = graph.emit("Identity", [whole], label)
    if isinstance(rest[-1], str):
        assert x.axis is not None
        return Tensor(label, 1, x.axis, batch_major=made, whole=(x.rows, x.axis.size, *rest))
    return Tensor(label, of.features, x.axis, batch_major=made)
