"""RNN layers: a Scan over the steps of their cell's equations, or in a one-step model the equations themselves.

The products of the input stand outside the Scan, one MatMul for all steps. Its body has the recurrent products and the
equations; weights, lengths and constants it takes from the graph around it. The node's ``doc_string`` holds the cell as
the spec has it, which is how ``rekur.onnx.load`` knows a Scan of ours: it makes the body anew and compares.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rekur.onnx._around import batch_size, computed, keep_rows, label_inside, learned_state, times, with_x
from rekur.onnx._axes import BATCH
from rekur.onnx._equations import ROW, Writer
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Interface, Tensor
from rekur.onnx._masks import step_mask, valid_only
from rekur.onnx._plan import Layer, Plan, describe, sequences_of
from rekur.onnx._recurrent_kernel import joined, recurrent_shapes

INT64 = 7  # onnx.TensorProto's


@dataclass
class Step:
    """What one step of a direction reads, by the names of the graph that its nodes are put into."""

    label: str  # what names of its values begin with
    cell: Layer
    units: int
    states: list[str]
    products: str = ""  # the input's, (B, X·H)
    x: str = ""  # where the equations read it as it is
    step_inputs: Sequence[str] = ()
    widths: Sequence[int] = ()  # of each step input: 1 or H
    matrices: dict[str | int, str] = field(default_factory=dict)  # by source (H, blocks·H)
    biases: dict[str | int, str] = field(default_factory=dict)  # of the recurrent products, by source
    weights: Sequence[str] = ()
    projection: str = ""  # (H, P), of a layer whose first state is one
    projected: int = 0  # P

    def width(self, state: int) -> int:
        """Of a state, by its number."""
        return self.projected if self.projected and state == 0 else self.units


def sources(cell: Layer) -> dict[str | int, list[int]]:
    """By source of recurrent products the blocks that it has, in the order of their first ones."""
    result: dict[str | int, list[int]] = {}
    for block, (_, source, *_) in enumerate(cell["recurrent"]):
        result.setdefault(source, []).append(block)
    return result


def state_width(core: Layer, state: int) -> int:
    """Of a recurrent layer's state, by its number."""
    width: int = core.get("projection_size", core["units"]) if state == 0 else core["units"]
    return width


def scans_x(cell: Layer) -> bool:
    """Whether x itself is scanned: where the equations read it, or else nothing of it."""
    return "x" in cell["equations"]["inputs"] or not cell["kernel"]


def emit_step(graph: Graph, layer: Layer, step: Step) -> list[str]:
    """The nodes of one step; names of the new states, each (B, H)."""
    cell, units, equations = step.cell, step.units, step.cell["equations"]
    inputs: list[str] = list(equations["inputs"])
    known = dict(zip(cell["states"], step.states, strict=True))
    known.update(zip(cell.get("step_inputs", ()), step.step_inputs, strict=True))
    known.update(zip((w["name"] for w in cell.get("weights", ())), step.weights, strict=True))
    known["x"] = step.x
    narrow = {name for name, width in zip(cell.get("step_inputs", ()), step.widths, strict=True) if width == 1}
    if cell["kernel"]:
        known.update(
            zip(cell["kernel"], _split(graph, step.products, len(cell["kernel"]), units, step.label), strict=True)
        )
    groups = sources(cell)

    def product(source: str | int, value: str, width: int) -> None:
        blocks = groups[source]
        name = f"{step.label}/product_{list(groups).index(source)}"
        if width != units:  # one number a row goes with every unit
            shape = graph.emit("Shape", [step.states[0]], f"{name}/shape")
            value = graph.emit("Expand", [value, shape], f"{name}/wide")
        biased = source in step.biases
        total = graph.emit("MatMul", [value, step.matrices[source]], f"{name}/unbiased" if biased else name)
        if biased:
            total = graph.emit("Add", [total, step.biases[source]], name)
        parts = _split(graph, total, len(blocks), units, name)
        known.update({cell["recurrent"][block][0]: part for block, part in zip(blocks, parts, strict=True)})

    for source in groups:
        if isinstance(source, str):
            product(source, known[source], units)
    writer = Writer(graph, layer, units)
    # A place for every input; products of values come when their source is there.
    for name in inputs:
        writer.append(known.get(name, ""), ROW if name in narrow else units)
    for number, (operation, *operands) in enumerate(equations["nodes"]):
        writer.node(operation, operands, f"{step.label}/{number}")
        value = len(inputs) + number
        if value in groups:
            product(value, writer.names[value], writer.widths[value])
            for k, name in enumerate(inputs):
                writer.names[k] = known.get(name, "")
    alike, new = _alike(cell), []
    for k, (state, index) in enumerate(zip(cell["states"], equations["outputs"], strict=True)):
        made, like = writer.names[index], step.states[k] if index in alike else ""
        if step.projection and k == 0:
            made = graph.emit("MatMul", [made, step.projection], f"{step.label}/projected")
        new.append(_whole(graph, made, f"{step.label}/new_{state}", like))
    return new


def _alike(cell: Layer) -> set[int]:
    """Values that are the same for all rows: weights, constants, and what is made of them alone."""
    equations = cell["equations"]
    own = {weight["name"] for weight in cell.get("weights", ())}
    found = {k for k, name in enumerate(equations["inputs"]) if name in own}
    products = {name: source for name, source, *_ in cell["recurrent"]}
    for number, (operation, *operands) in enumerate(equations["nodes"]):
        if operation == "constant" or all(k in found for k in operands):
            found.add(len(equations["inputs"]) + number)
            found |= {k for k, name in enumerate(equations["inputs"]) if products.get(name) in found}
    return found


def _whole(graph: Graph, value: str, name: str, like: str) -> str:
    """The value under a name of its own; where it is the same for all rows, of the batch that ``like`` has."""
    if like:
        return graph.emit("Expand", [value, graph.emit("Shape", [like], f"{name}/shape")], name)
    return graph.emit("Identity", [value], name)


def _split(graph: Graph, value: str, count: int, units: int, label: str) -> list[str]:
    if count == 1:
        return [value]
    names = [f"{label}/block_{k}" for k in range(count)]
    graph.emit("Split", [value, graph.integers(*[units] * count)], *names, axis=-1)
    return names


@dataclass
class _Direction:
    step: Step
    x: Sequence[Tensor]  # x and the step inputs
    initial: list[str]
    reverse: bool


def rnn(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """An RNN layer, forward or reverse."""
    return _emit(graph, plan, layer, layer, inputs, ((layer["name"], layer.get("reverse", False)),))


def bidirectional_rnn(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """A Bidirectional around an RNN: a Scan for each direction; the merge follows them."""
    name = layer["name"]
    return _emit(graph, plan, layer, layer["layer"], inputs, ((f"{name}/forward", False), (f"{name}/backward", True)))


def _emit(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    core: Layer,
    inputs: Sequence[Tensor],
    directions: Sequence[tuple[str, bool]],
) -> list[Tensor]:
    name, cell, held = layer["name"], core["cell"], plan.states.get(layer["name"])
    masked = step_mask(plan, layer)
    count, whole = sequences_of(layer), inputs[0]
    inputs = valid_only(graph, plan, layer, inputs)
    x, given = inputs[:count], inputs[count:]
    if (x[0].axis is None and not plan.streaming) or x[0].features is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x[0].shape}")
    states = cell["states"]
    started, rest = divmod(len(given), len(directions))
    if rest or started > len(states):
        wanted = " or ".join(str(len(directions) * n) for n in range(len(states) + 1))
        raise ExportError(f"{describe(layer)}: expected {wanted} initial states, got {len(given)}")
    used = {index for owner, index in plan.wanted if owner == name}
    sequences = core.get("return_sequences", False) and not plan.streaming
    want_y = sequences and 0 in used
    results: list[tuple[str, list[str]]] = []
    start = ""
    for d, (prefix, reverse) in enumerate(directions):
        if held:
            initial = [state.input for state in held]
        else:
            own = given[d * started : (d + 1) * started]
            initial = [_initial(graph, layer, tensor, state_width(core, k)) for k, tensor in enumerate(own)]
            for k in range(started, len(states)):
                width = state_width(core, k)
                if core.get("learn_initial_state", False):
                    initial.append(learned_state(graph, plan, layer, prefix, states[k], width, x[0]))
                else:
                    initial.append(_zeros(graph, plan, x[0], width))
        start = initial[0]
        step = _weights(graph, layer, core, x, prefix)
        if plan.streaming:
            results.append(("", _one_step(graph, layer, step, x, initial)))
        else:
            results.append(_scan(graph, layer, step, _Direction(step, x, initial, reverse), want_y))
    if held:
        for kept, value in zip(held, results[0][1], strict=True):
            graph.emit("Identity", [value], computed(plan, layer, kept))
        keep_rows(graph, plan, layer)
    finals = [[state.output for state in held]] if held and masked else [values for _, values in results]
    mode = layer.get("merge_mode", "concat") if len(directions) == 2 else ""
    inside, units = label_inside(plan, layer), state_width(core, 0)
    if want_y:
        value, features = _join(graph, layer, [y for y, _ in results], mode, units, f"{inside}/time_major")
        main = Tensor(inside, features, x[0].axis, time_major=value)
    elif 0 in used and not sequences:
        value, features = _join(graph, layer, [values[0] for values in finals], mode, units, inside)
        main = Tensor(inside, features, batch_major=value)
    else:
        main = Tensor(inside, units, x[0].axis if sequences else None)
    outputs = [with_x(graph, plan, layer, whole, main, start)]
    if core.get("return_state", False):
        for values in finals:
            for k, value in enumerate(values):
                label = f"{name}:{len(outputs)}"
                tensor = Tensor(label, state_width(core, k))
                if len(outputs) in used:
                    tensor.batch_major = graph.emit("Identity", [value], label)
                outputs.append(tensor)
    return outputs


def _initial(graph: Graph, layer: Layer, tensor: Tensor, units: int) -> str:
    if tensor.features != units or tensor.axis is not None:
        raise ExportError(f"{describe(layer)}: expected initial states (batch, {units}), got {tensor.shape}")
    return graph.batch_major(tensor)


def _zeros(graph: Graph, plan: Plan, x: Tensor, units: int) -> str:
    """(B, H) of zeros."""
    parts = [batch_size(graph, plan, x), graph.integers(units)]
    whole = graph.once("Concat", parts, f"{x.label}/state_{units}", axis=0)
    return graph.once("ConstantOfShape", [whole], f"{x.label}/zeros_{units}")


def _weights(graph: Graph, layer: Layer, core: Layer, x: Sequence[Tensor], prefix: str) -> Step:
    """A step with the direction's weights as initialisers of the graph."""
    cell, units, owner = core["cell"], core["units"], describe(layer)
    step = Step(f"{prefix}/step", cell, units, [f"{prefix}/step/in/{state}" for state in cell["states"]])
    step.widths = [tensor.features or 0 for tensor in x[1:]]
    step.projected = core.get("projection_size", 0)
    if step.projected:
        kernel = graph.weight(owner, f"{prefix}/projection_kernel", (units, step.projected))
        step.projection = graph.matrix(f"{prefix}/projection", kernel, [f"{prefix}/projection_kernel"], (0,))
    groups, blocks = sources(cell), len(cell["recurrent"])
    biased = core.get("use_bias", True)

    def chosen(array: Any, own: Sequence[int]) -> Any:
        return np.concatenate([array[..., k * units : (k + 1) * units] for k in own], axis=-1)

    if groups:
        whole = recurrent_shapes(cell, units, step.width(0))
        parts = {key: graph.weight(owner, f"{prefix}/{key}", shape) for key, shape in whole.items()}
        recurrent = joined(cell, units, parts)
        for number, (source, own) in enumerate(groups.items()):
            names = [f"{prefix}/{key}" for key in whole]
            step.matrices[source] = graph.matrix(f"{prefix}/R_{number}", chosen(recurrent, own), names, (0,))
        if biased and cell.get("recurrent_bias", False):
            bias = graph.weight(owner, f"{prefix}/recurrent_bias", (blocks * units,))
            for number, (source, own) in enumerate(groups.items()):
                step.biases[source] = graph.initializer(f"{prefix}/Rb_{number}", chosen(bias, own))
    if cell["kernel"]:
        columns = len(cell["kernel"]) * units
        kernel = graph.weight(owner, f"{prefix}/kernel", (x[0].features or 0, columns))
        graph.matrix(f"{prefix}/W", kernel, [f"{prefix}/kernel"], (0,))
        if biased:
            graph.initializer(f"{prefix}/b", graph.weight(owner, f"{prefix}/bias", (columns,)))
    step.weights = [
        graph.initializer(f"{prefix}/weight/{name}", graph.weight(owner, f"{prefix}/{name}", (units,)))
        for name in (weight["name"] for weight in cell.get("weights", ()))
    ]
    return step


def _products(graph: Graph, prefix: str, x: str) -> str:
    """x W + b."""
    if f"{prefix}/b" not in graph.initializers:
        return graph.emit("MatMul", [x, f"{prefix}/W"], f"{prefix}/products")
    product = graph.emit("MatMul", [x, f"{prefix}/W"], f"{prefix}/unbiased")
    return graph.emit("Add", [product, f"{prefix}/b"], f"{prefix}/products")


def _one_step(graph: Graph, layer: Layer, step: Step, x: Sequence[Tensor], initial: list[str]) -> list[str]:
    step.states = initial
    step.x, *step.step_inputs = (graph.batch_major(tensor) for tensor in x)
    if step.cell["kernel"]:
        step.products = _products(graph, step.label.removesuffix("/step"), step.x)
    return emit_step(graph, layer, step)


def _scan(graph: Graph, layer: Layer, step: Step, at: _Direction, want_y: bool) -> tuple[str, list[str]]:
    """The node; names of its sequence (T, B, H), where that is wanted, and of the last states (B, H)."""
    prefix, cell = step.label.removesuffix("/step"), step.cell
    x = [graph.time_major(tensor) for tensor in at.x]
    axis = at.x[0].axis
    lengths = (axis.lengths if axis else None) or ""
    scanned = [_products(graph, prefix, x[0])] if cell["kernel"] else []
    scanned += [x[0]] if scans_x(cell) else []
    scanned += x[1:]
    if lengths:
        scanned.insert(0, times(graph, x[0], at.x[0].label))
    body = body_of(layer, step, at.x[0].features or 0, lengths, want_y)
    outputs = [f"{prefix}/final_{state}" for state in cell["states"]] + ([f"{prefix}/sequence"] if want_y else [])
    backwards = [1] * len(scanned) if at.reverse else None
    graph.emit(
        "Scan",
        [*at.initial, *scanned],
        *outputs,
        name=f"{prefix}/Scan",
        doc=json.dumps({**cell, "projection": [step.units, step.projected]} if step.projected else cell),
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=backwards,
        scan_output_directions=[1] if at.reverse and want_y else None,
    )
    return (outputs[-1] if want_y else ""), outputs[: len(cell["states"])]


def body_of(layer: Layer, step: Step, features: int, lengths: str, want_y: bool) -> Graph:
    """The graph of one step: states, then the place in time where there are lengths, products, x, step inputs."""
    body, label, cell, units = Graph({}), step.label, step.cell, step.units
    body.prefix = f"{label}/"
    wide: Interface = [(state, "float32", (BATCH, step.width(k))) for k, state in enumerate(step.states)]
    body.inputs = list(wide)
    if lengths:
        body.inputs.append((f"{label}/time", "int32", ()))
    if cell["kernel"]:
        step.products = f"{label}/products"
        body.inputs.append((step.products, "float32", (BATCH, len(cell["kernel"]) * units)))
    if scans_x(cell):
        step.x = f"{label}/x"
        body.inputs.append((step.x, "float32", (BATCH, features)))
    step.step_inputs = [f"{label}/in/{name}" for name in cell.get("step_inputs", ())]
    for name, width in zip(step.step_inputs, step.widths, strict=True):
        body.inputs.append((name, "float32", (BATCH, width)))
    new = emit_step(body, layer, step)
    y = new[0]
    if lengths:
        valid = body.emit("Less", [f"{label}/time", lengths], f"{label}/valid")
        rows = body.emit("Unsqueeze", [valid, body.integers(1)], f"{label}/valid_rows")
        if want_y:
            zero = body.initializer("float32/zero", np.array(0, np.float32))
            y = body.emit("Where", [rows, y, zero], f"{label}/y")
        new = [
            body.emit("Where", [rows, value, state], f"{value}/kept")
            for value, state in zip(new, step.states, strict=True)
        ]
    elif want_y:
        y = body.emit("Identity", [y], f"{label}/y")
    body.outputs = [(name, "float32", (BATCH, step.width(k))) for k, name in enumerate(new)]
    body.outputs += [(y, "float32", (BATCH, step.width(0)))] if want_y else []
    return body


def _join(graph: Graph, layer: Layer, values: list[str], mode: str, units: int, name: str) -> tuple[str, int]:
    """One direction's value, or both merged; and its features."""
    if not mode:
        return graph.emit("Identity", values, name), units
    if mode == "concat":
        return graph.emit("Concat", values, name, axis=-1), 2 * units
    op = {"sum": "Add", "ave": "Add", "mul": "Mul"}.get(mode)
    if op is None:
        raise ExportError(f"{describe(layer)}: unknown merge_mode '{mode}'")
    if mode != "ave":
        return graph.emit(op, values, name), units
    total = graph.emit(op, values, f"{layer['name']}/sum")
    half = graph.initializer("float32/half", np.array(0.5, np.float32))
    return graph.emit("Mul", [total, half], name), units
