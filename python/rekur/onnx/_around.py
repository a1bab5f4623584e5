"""What recurrent layers do around their steps: learned initial states and residual connections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import (
    mask_of,
    rows_there,
    spread,
    step_mask,
    valid_only,
    valid_or_zero,
    zero_where_last_is_none,
)
from rekur.onnx._plan import Layer, Plan, State, describe, recurrent_core

INT64 = 7  # onnx.TensorProto.INT64
_BEGINNING = 2**31 - 1  # and beyond, as a Slice's negative end: to the first one


def batch_size(graph: Graph, plan: Plan, x: Tensor) -> str:
    """[1]: the rows of a sequence, or in a one-step model of a step."""
    value = graph.batch_major(x) if plan.streaming else graph.time_major(x)
    shape = graph.once("Shape", [value], f"{x.label}/shape")
    return graph.once("Gather", [shape, graph.integers(0 if plan.streaming else 1)], f"{x.label}/batch", axis=0)


def learned_state(graph: Graph, plan: Plan, layer: Layer, prefix: str, state: str, units: int, x: Tensor) -> str:
    """(B, H): the parameter for every row."""
    start = graph.weight(describe(layer), f"{prefix}/initial_{state}", (units,))
    row = graph.initializer(f"{prefix}/learned_{state}", start[None])
    whole = [batch_size(graph, plan, x), graph.integers(units)]
    shape = graph.once("Concat", whole, f"{x.label}/state_{units}", axis=0)
    return graph.emit("Expand", [row, shape], f"{prefix}/begin_{state}")


def learned_states(
    graph: Graph, plan: Plan, layer: Layer, prefixes: Sequence[str], state: str, units: int, x: Tensor
) -> str:
    """[D, B, H]: the parameters of the directions for every row."""
    starts = [graph.weight(describe(layer), f"{prefix}/initial_{state}", (units,)) for prefix in prefixes]
    rows = graph.initializer(f"{layer['name']}/learned_{state}", np.stack(starts)[:, None])
    whole = [graph.integers(len(prefixes)), batch_size(graph, plan, x), graph.integers(units)]
    shape = graph.once("Concat", whole, f"{x.label}/states_{len(prefixes)}_{units}", axis=0)
    return graph.emit("Expand", [rows, shape], f"{layer['name']}/initial_{state}")


def computed(plan: Plan, layer: Layer, state: State) -> str:
    """What a state after the step, or after the piece, is called before rows without the step have theirs kept."""
    return f"{state.output}/computed" if step_mask(plan, layer) else state.output


def keep_rows(graph: Graph, plan: Plan, layer: Layer) -> None:
    """In a one-step model: rows that a mask leaves out keep their states."""
    if mask := step_mask(plan, layer):
        for state in plan.states[layer["name"]]:
            graph.emit("Where", [rows_there(graph, mask), computed(plan, layer, state), state.input], state.output)


def label_inside(plan: Plan, layer: Layer) -> str:
    """What the output is called before it is put at its steps and x is added, where that is done."""
    name: str = layer["name"]
    around = layer.get("residual", False) or mask_of(plan, layer) or step_mask(plan, layer)
    return f"{name}/inside" if around else name


def with_x(graph: Graph, plan: Plan, layer: Layer, x: Tensor, y: Tensor, start: str = "") -> Tensor:
    """y as the model has it, of the layer's input x: at the steps of a mask, and with a residual connection y + x.

    Padding stays zero, and of one step's y x is that step's. start: (B, F), what a masked step before all valid ones
    has; "" for zeros.
    """
    if not (y.batch_major or y.time_major):
        return Tensor(layer["name"], y.features, y.axis)
    if mask_of(plan, layer):
        return _at_steps(graph, plan, layer, x, y, start)
    if step_mask(plan, layer):
        return _of_rows(graph, plan, layer, x, y)
    if "y" in plan.kept.get(layer["name"], {}):
        value = _or_kept(graph, plan, layer, "y", x, graph.batch_major(y))
        return Tensor(layer["name"], y.features, batch_major=value)
    if not layer.get("residual", False):
        return Tensor(layer["name"], y.features, y.axis, batch_major=y.batch_major, time_major=y.time_major)
    name, core = layer["name"], recurrent_core(layer)
    assert core is not None and x.features is not None
    if plan.streaming:
        return Tensor(
            name, y.features, batch_major=graph.emit("Add", [graph.batch_major(y), graph.batch_major(x)], name)
        )
    if core.get("return_sequences", False):
        value = graph.time_major(x)
        if x.axis is not None and x.axis.lengths:
            value = _valid(graph, x, value, f"{name}/valid_x")
        total = graph.emit("Add", [graph.time_major(y), value], f"{name}/time_major")
        return Tensor(name, y.features, y.axis, time_major=total)
    step = step_of(graph, x, 0 if layer.get("reverse", False) else -1, f"{name}/x_step")
    step = _or_kept(graph, plan, layer, "x", x, step)
    return Tensor(name, y.features, batch_major=graph.emit("Add", [graph.batch_major(y), step], name))


def _or_kept(graph: Graph, plan: Plan, layer: Layer, key: str, x: Tensor, value: str) -> str:
    """Of a piece of a sequence, (B, F): the value, or for rows without a step of x what is kept for them."""
    state = plan.kept.get(layer["name"], {}).get(key)
    if state is None:
        return value
    assert x.axis is not None and x.axis.lengths
    lengths, zero = x.axis.lengths, graph.initializer("int32/0", np.array(0, np.int32))
    some = graph.once("Greater", [lengths, zero], f"{lengths}/some")
    rows = graph.once("Unsqueeze", [some, graph.integers(1)], f"{lengths}/some_rows")
    return graph.emit("Where", [rows, value, state.input], state.output)


def _at_steps(graph: Graph, plan: Plan, layer: Layer, x: Tensor, y: Tensor, start: str) -> Tensor:
    """The same where a mask says which steps there are; y has the valid ones in front."""
    name, core, residual = layer["name"], recurrent_core(layer), layer.get("residual", False)
    assert core is not None
    value, kept = graph.batch_major(y), plan.kept.get(name, {})
    (valid,) = valid_only(graph, plan, layer, [x])
    if core.get("return_sequences", False):
        if "y" in kept:
            there = Tensor(f"{name}/there", y.features, valid.axis, batch_major=value)
            last = step_of(graph, there, -1, f"{name}/last_there")
            _or_kept(graph, plan, layer, "y", valid, last)
            start = kept["y"].input
        value = spread(graph, plan, layer, value, start, f"{name}/at_steps" if residual else name)
        if residual:
            added = valid_or_zero(graph, mask_of(plan, layer), graph.batch_major(x), f"{name}/valid_x")
            value = graph.emit("Add", [value, added], name)
        return Tensor(name, y.features, x.axis, batch_major=value)
    value = _or_kept(graph, plan, layer, "y", valid, value)
    if core.get("zero_output_for_mask", False) and layer["type"] != "Bidirectional":
        value = zero_where_last_is_none(graph, plan, layer, value, f"{name}/last_or_zero")
    if residual:
        step = step_of(graph, valid, 0 if layer.get("reverse", False) else -1, f"{name}/x_step")
        step = _or_kept(graph, plan, layer, "x", valid, step)
        return Tensor(name, y.features, batch_major=graph.emit("Add", [value, step], name))
    return Tensor(name, y.features, batch_major=graph.emit("Identity", [value], name))


def _of_rows(graph: Graph, plan: Plan, layer: Layer, x: Tensor, y: Tensor) -> Tensor:
    """The same in a one-step model: rows without the step have the output before it, or zeros. y has that where it is a
    state.
    """
    name, core, kept = layer["name"], recurrent_core(layer), plan.kept[layer["name"]]
    assert core is not None
    rows, value = rows_there(graph, step_mask(plan, layer)), graph.batch_major(y)
    zero = graph.initializer("float32/zero", np.array(0, np.float32))
    if core.get("zero_output_for_mask", False):
        value = graph.emit("Where", [rows, value, zero], f"{name}/there_or_zero")
    elif "y" in kept:
        value = graph.emit("Where", [rows, value, kept["y"].input], kept["y"].output)
    if layer.get("residual", False):
        last = kept.get("x")
        given = [rows, graph.batch_major(x), last.input if last else zero]
        added = graph.emit("Where", given, last.output if last else f"{name}/valid_x")
        value = graph.emit("Add", [value, added], name)
    return Tensor(name, y.features, batch_major=value)


def _valid(graph: Graph, x: Tensor, value: str, name: str) -> str:
    """A time-major sequence, zeros past the rows' lengths."""
    assert x.axis is not None and x.axis.lengths is not None
    places = graph.once("Unsqueeze", [times(graph, value, x.label), graph.integers(1)], f"{x.label}/time_column")
    lengths = graph.once("Unsqueeze", [x.axis.lengths, graph.integers(0)], f"{x.axis.lengths}/row")
    valid = graph.once("Less", [places, lengths], f"{x.label}/valid")
    steps = graph.once("Unsqueeze", [valid, graph.integers(2)], f"{x.label}/valid_steps")
    zero = graph.initializer("float32/zero", np.array(0, np.float32))
    return graph.emit("Where", [steps, value, zero], name)


def flipped(graph: Graph, x: Tensor, name: str) -> str:
    """A time-major sequence from each row's end, zeros past the rows' lengths."""
    assert x.axis is not None
    value = graph.time_major(x)
    if x.axis.lengths is None or x.axis.mask:
        last = graph.integers(-1)
        return graph.emit("Slice", [value, last, graph.integers(-_BEGINNING), graph.integers(0), last], name)
    lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
    # onnxruntime wants lengths of one step at least; a row of one step and one without are reversed alike.
    some = graph.emit("Max", [lengths, graph.integers(1)], f"{name}/lengths")
    turned = graph.emit("ReverseSequence", [value, some], f"{name}/reversed", batch_axis=1, time_axis=0)
    return _valid(graph, x, turned, name)


def times(graph: Graph, x: str, label: str) -> str:
    """0, 1, …, T − 1 as int32, of a time-major sequence."""
    shape = graph.once("Shape", [x], f"{label}/shape")
    zero = graph.initializer("int64/scalar_0", np.array(0, np.int64))
    one = graph.initializer("int64/scalar_1", np.array(1, np.int64))
    steps = graph.once("Gather", [shape, zero], f"{label}/steps", axis=0)
    places = graph.once("Range", [zero, steps, one], f"{label}/places")
    return graph.once("Cast", [places], f"{label}/times", to=6)  # onnx.TensorProto.INT32


def step_of(graph: Graph, x: Tensor, index: int, name: str) -> str:
    """(B, F): one step of a sequence, a negative index counted from each row's end; zeros for rows without it."""
    assert x.axis is not None
    lengths = None if x.axis.mask else x.axis.lengths  # Keras: x[:, index], whatever a mask says
    taken = f"{name}/taken" if lengths else name
    if lengths is None or index >= 0:
        (value,), time_major = graph.aligned([x])
        scalar = graph.initializer(f"int64/scalar_{index}", np.array(index, np.int64))
        graph.emit("Gather", [value, scalar], taken, axis=0 if time_major else 1)
    if lengths is not None:
        counts = graph.once("Cast", [lengths], f"{lengths}/int64", to=INT64)
        if index >= 0:
            valid = graph.emit("Greater", [counts, graph.integers(index)], f"{name}/valid")
        else:
            place = graph.emit("Add", [counts, graph.integers(index)], f"{name}/place")
            valid = graph.emit("GreaterOrEqual", [place, graph.integers(0)], f"{name}/valid")
            within = graph.emit("Max", [place, graph.integers(0)], f"{name}/within")
            column = graph.emit("Unsqueeze", [within, graph.integers(1)], f"{name}/places")
            graph.emit("GatherND", [graph.batch_major(x), column], taken, batch_dims=1)
        rows = graph.emit("Unsqueeze", [valid, graph.integers(1)], f"{name}/valid_rows")
        zero = graph.initializer("float32/zero", np.array(0, np.float32))
        graph.emit("Where", [rows, taken, zero], name)
    return name
