"""RNN, LSTM and GRU nodes: one row per cell, one function for every layer, direction and option.

ONNX's forms: X [T, B, I], W [D, G·H, I], R [D, G·H, H], B [D, 2·G·H] = Wb‖Rb, P [D, 3·H], states [D, B, H],
Y [T, D, B, H].
``layout`` stays 0 (onnxruntime refuses 1), default attributes are left out (with them its CUDA kernels give way to the
CPU's).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._activations import FORMS, resolve
from rekur.onnx._around import computed, keep_rows, label_inside, learned_states, with_x
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import MICROSOFT, Graph, Tensor
from rekur.onnx._int8 import integers_of
from rekur.onnx._masks import mask_of, valid_only
from rekur.onnx._plan import Layer, Plan, State, describe

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cell:
    """How a layer type maps onto an ONNX operator."""

    op: str
    order: tuple[int | None, ...]  # which of our gate blocks stands at each place of ONNX's; None: one we lack, zeros
    states: tuple[str, ...]
    # Per ONNX activation: the spec's key and its default; where one stands in for a missing one, all keys in turn.
    activations: tuple[tuple[tuple[str, ...], str], ...]
    resets: bool = False  # has linear_before_reset
    peephole_order: tuple[int | None, ...] = ()  # which row of our peephole stands at each place of ONNX's P, as order

    @property
    def gates(self) -> int:
        """How many of them we have."""
        return sum(block is not None for block in self.order)


_SIGMA = (("recurrent_activation",), "sigmoid")
_TANH = (("activation",), "tanh")
_LSTM_ACTIVATIONS = (_SIGMA, _TANH, (("output_activation", "activation"), "tanh"))

CELLS: dict[str, Cell] = {
    "SimpleRNN": Cell("RNN", (0,), ("h",), (_TANH,)),
    # ours i, f, g, o; ONNX i, o, f, c, and P i, o, f
    "LSTM": Cell("LSTM", (0, 3, 1, 2), ("h", "c"), _LSTM_ACTIVATIONS, peephole_order=(0, 2, 1)),
    # ours z, r, n; ONNX z, r, h
    "GRU": Cell("GRU", (0, 1, 2), ("h",), (_SIGMA, _TANH), resets=True),
}
# ours i, g, o; with input_forget ONNX's f = 1 − i reads nothing of its own
_COUPLED = Cell("LSTM", (0, 2, None, 1), ("h", "c"), _LSTM_ACTIVATIONS, peephole_order=(0, 1, None))


def _cell_of(core: Layer) -> Cell:
    return _COUPLED if core.get("coupled_gates", False) else CELLS[core["type"]]


def recurrent(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """SimpleRNN, LSTM or GRU, forward or reverse."""
    direction = "reverse" if layer.get("reverse", False) else "forward"
    return _emit(graph, plan, layer, layer, inputs, direction, (layer["name"],))


def bidirectional(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Both directions in one node; the merge follows it."""
    core = layer["layer"]
    if core["type"] not in CELLS:
        raise ExportError(f"{describe(layer)}: cannot wrap a layer of type '{core['type']}'")
    if core.get("reverse", False):
        raise ExportError(f"{describe(layer)}: the wrapped layer must not be reversed itself")
    prefixes = (f"{layer['name']}/forward", f"{layer['name']}/backward")
    return _emit(graph, plan, layer, core, inputs, "bidirectional", prefixes)


def _emit(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    core: Layer,
    inputs: Sequence[Tensor],
    direction: str,
    prefixes: tuple[str, ...],
) -> list[Tensor]:
    cell, name, units = _cell_of(core), layer["name"], core["units"]
    given, inputs = inputs, valid_only(graph, plan, layer, inputs)
    x, held = inputs[0], plan.states.get(name)
    if (x.axis is None and not plan.streaming) or x.features is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    used = {index for owner, index in plan.wanted if owner == name}
    sequences = core.get("return_sequences", False) and not plan.streaming
    initial = (
        _held(graph, name, cell, held) if held else _initial_states(graph, plan, layer, core, cell, inputs, prefixes)
    )
    kernels, recurrents, bias = _weights(graph, layer, core, cell, x.features, units, prefixes)
    peephole = _peephole(graph, layer, cell, units, prefixes) if core.get("peepholes", False) else ""

    want_y = sequences and 0 in used
    finals = [True for _ in held] if held else _wanted_finals(cell, used, sequences, len(prefixes))
    outputs = [f"{name}/Y" if want_y else ""]
    outputs += [f"{name}/Y_{state}" if wanted else "" for state, wanted in zip(cell.states, finals, strict=True)]
    lengths = (x.axis.lengths if x.axis else None) or ""
    op, domain, behind = cell.op, "", []
    if graph.integer_products and op == "LSTM" and _is_int8(graph, prefixes):
        op, domain = "DynamicQuantizeLSTM", MICROSOFT
        kernel, *behind = _turned(graph, f"{name}/W", kernels)
        recurrent_kernel, *scales = _turned(graph, f"{name}/R", recurrents)
        behind += scales
        if lengths and not outputs[0]:  # without it onnxruntime's final states are of memory that nobody wrote
            outputs[0] = f"{name}/Y"
    else:
        kernel = graph.matrix(f"{name}/W", kernels, [f"{prefix}/kernel" for prefix in prefixes], (2,))
        own = [f"{prefix}/recurrent_kernel" for prefix in prefixes]
        recurrent_kernel = graph.matrix(f"{name}/R", recurrents, own, (2,))
    states = initial or [""] * len(cell.states)
    graph.emit(
        op,
        [_sequence(graph, plan, x), kernel, recurrent_kernel, bias, lengths, *states, peephole, *behind],
        *outputs,
        name=f"{name}/{cell.op}",
        domain=domain,
        direction=direction,
        hidden_size=units,
        linear_before_reset=int(core.get("reset_after", True)) if cell.resets else None,
        clip=float(core["clip"]) if "clip" in core else None,
        input_forget=1 if core.get("coupled_gates", False) else None,
        **_activation_attributes(layer, core, cell, len(prefixes)),
    )
    states = outputs[1:]
    if lengths:
        for index, value in enumerate(states):
            if value:
                states[index] = _keep_initial(graph, lengths, value, initial[index] if initial else "")

    if held:
        for kept, value in zip(held, states, strict=True):
            graph.emit("Squeeze", [value, graph.integers(0)], computed(plan, layer, kept))
        keep_rows(graph, plan, layer)

    # outputs[0] and states now hold [T, D, B, H] and [D, B, H]; from here on the model's own shapes
    merged, inside = len(prefixes) == 2, label_inside(plan, layer)
    mode = layer.get("merge_mode", "concat") if merged else ""
    if 0 in used and sequences:
        value, features = _join_directions(graph, layer, outputs[0], 1, mode, units, f"{inside}/time_major")
        main = Tensor(inside, features, x.axis, time_major=value)
    elif held and not sequences:
        main = Tensor(inside, units, batch_major=held[0].output)
    elif 0 in used:
        value, features = _join_directions(graph, layer, states[0], 0, mode, units, inside)
        main = Tensor(inside, features, batch_major=value)
    else:
        main = Tensor(inside, units, x.axis if sequences else None)
    start = ""
    if mask_of(plan, layer) and initial and initial[0] and not merged:
        start = graph.emit("Squeeze", [initial[0], graph.integers(0)], f"{name}/start")
    result = [with_x(graph, plan, layer, given[0], main, start)]
    count = len(prefixes) * len(cell.states) if core.get("return_state", False) else 0
    for index in range(1, 1 + count):
        which, state = divmod(index - 1, len(cell.states))
        tensor = Tensor(f"{name}:{index}", units)
        if held:
            tensor.batch_major = held[state].output
        elif index in used:
            tensor.batch_major = _one_direction(graph, states[state], 0, which, merged, tensor.label)
        result.append(tensor)
    return result


def _sequence(graph: Graph, plan: Plan, x: Tensor) -> str:
    """[T, B, I]; in a one-step model [1, B, I]."""
    if not plan.streaming:
        return graph.time_major(x)
    return graph.once("Unsqueeze", [graph.batch_major(x), graph.integers(0)], f"{x.label}/step")


def _held(graph: Graph, name: str, cell: Cell, states: Sequence[State]) -> list[str]:
    """[1, B, H] for each state input (B, H)."""
    return [
        graph.emit("Unsqueeze", [state.input, graph.integers(0)], f"{name}/initial_{letter}")
        for letter, state in zip(cell.states, states, strict=True)
    ]


def _wanted_finals(cell: Cell, used: set[int], sequences: bool, directions: int) -> list[bool]:
    count = len(cell.states)
    wanted = [any(1 + d * count + state in used for d in range(directions)) for state in range(count)]
    wanted[0] |= not sequences and 0 in used
    return wanted


def _initial_states(
    graph: Graph, plan: Plan, layer: Layer, core: Layer, cell: Cell, inputs: Sequence[Tensor], prefixes: Sequence[str]
) -> list[str]:
    """[D, B, H] for each state, empty for one that is zero, or none at all.

    The spec's order is all of the forward direction, then the backward one; an LSTM may be given h alone.
    """
    x, *given = inputs
    units, directions, learned = core["units"], len(prefixes), core.get("learn_initial_state", False)
    count, rest = divmod(len(given), directions)
    if rest or count > len(cell.states):
        wanted = " or ".join(str(directions * n) for n in range(len(cell.states) + 1))
        raise ExportError(f"{describe(layer)}: expected {wanted} initial states, got {len(given)}")
    stacked: list[str] = []
    for state in range(count):
        parts: list[str] = []
        for which in range(directions):
            tensor = given[which * count + state]
            if tensor.features != units or tensor.axis is not None:
                raise ExportError(f"{describe(layer)}: expected initial states (batch, {units}), got {tensor.shape}")
            name = f"{layer['name']}/initial_{cell.states[state]}" + (f"_{which}" if directions == 2 else "")
            parts.append(graph.emit("Unsqueeze", [graph.batch_major(tensor), graph.integers(0)], name))
        if directions == 2:
            parts = [graph.emit("Concat", parts, f"{layer['name']}/initial_{cell.states[state]}", axis=0)]
        stacked += parts
    for letter in cell.states[count:] if learned else ():
        stacked.append(learned_states(graph, plan, layer, prefixes, letter, units, x))
    return stacked + [""] * (len(cell.states) - len(stacked)) if stacked else []


def _weights(
    graph: Graph, layer: Layer, core: Layer, cell: Cell, features: int, units: int, prefixes: Sequence[str]
) -> tuple[_Floats, _Floats, str]:
    """W, R and the name of B (empty without bias)."""
    gates = cell.gates

    def blocks(array: _Floats) -> _Floats:
        """[N, G·H] in our gate order → [G·H, N] in ONNX's."""
        split = _ordered(array.reshape(-1, gates, units), cell.order)
        result: _Floats = split.reshape(-1, len(cell.order) * units).T
        return result

    split_bias = cell.resets and core.get("reset_after", True)
    kernels: list[_Floats] = []
    recurrents: list[_Floats] = []
    biases: list[_Floats] = []
    for prefix in prefixes:
        owner = describe(layer)
        kernels.append(blocks(graph.weight(owner, f"{prefix}/kernel", (features, gates * units))))
        recurrents.append(blocks(graph.weight(owner, f"{prefix}/recurrent_kernel", (units, gates * units))))
        if core.get("use_bias", True):
            shape = (2, gates * units) if split_bias else (gates * units,)
            rows = graph.weight(owner, f"{prefix}/bias", shape).reshape(-1, gates * units)
            rows = rows if split_bias else np.concatenate([rows, np.zeros_like(rows)])
            biases.append(blocks(rows).T.reshape(-1))
    name = layer["name"]
    bias = graph.initializer(f"{name}/B", np.stack(biases)) if biases else ""
    return np.stack(kernels), np.stack(recurrents), bias


def _is_int8(graph: Graph, prefixes: Sequence[str]) -> bool:
    """Whether both matrices are of eight bits; the integer operator has no other."""
    both = [f"{prefix}/{name}" for prefix in prefixes for name in ("kernel", "recurrent_kernel")]
    return graph.int8.issuperset(both)


def _turned(graph: Graph, name: str, matrices: _Floats) -> list[str]:
    """A matrix of the integer operator, [D, N, 4·H], its scales [D, 4·H], and zeros of as many integers."""
    numbers, scales = integers_of(matrices, (2,))
    return [
        graph.initializer(f"{name}/int8", numbers.transpose(0, 2, 1)),
        graph.initializer(f"{name}/scale", scales[..., 0]),
        graph.initializer(f"{name}/zero_point", np.zeros(scales.shape[:2], np.int8)),
    ]


def _peephole(graph: Graph, layer: Layer, cell: Cell, units: int, prefixes: Sequence[str]) -> str:
    """Name of P."""
    rows = sum(row is not None for row in cell.peephole_order)
    ours = [graph.weight(describe(layer), f"{prefix}/peephole", (rows, units)) for prefix in prefixes]
    return graph.initializer(
        f"{layer['name']}/P", np.stack([_ordered(p[None], cell.peephole_order).reshape(-1) for p in ours])
    )


def _ordered(array: _Floats, order: Sequence[int | None]) -> _Floats:
    """[N, blocks, H] in our order → in ONNX's; zeros for what we lack."""
    parts = [np.zeros_like(array[:, 0]) if block is None else array[:, block] for block in order]
    return np.stack(parts, axis=1)


def _activation_attributes(layer: Layer, core: Layer, cell: Cell, directions: int) -> dict[str, Any]:
    """Nothing at all for the operator's own activations."""
    forms = []
    for keys, default in cell.activations:
        key = next((key for key in keys if key in core), keys[-1])
        forms.append(resolve(core.get(key, default), f"{describe(layer)}: {key}", inside=True))
    names = [form.op for form in forms]
    if names == [FORMS[default].op for _, default in cell.activations]:
        return {}
    return {
        "activations": names * directions,
        "activation_alpha": [form.alpha for form in forms if form.alpha is not None] * directions or None,
        "activation_beta": [form.beta for form in forms if form.beta is not None] * directions or None,
    }


def _keep_initial(graph: Graph, lengths: str, value: str, start: str) -> str:
    """Rows of length 0 keep their initial state; onnxruntime gives zeros, the RNN of its 1.17 anything at all."""
    start = start or graph.initializer("float32/zero", np.array(0, np.float32))
    zero = graph.initializer("int32/0", np.array(0, np.int32))
    empty = graph.once("Equal", [lengths, zero], f"{lengths}/empty")
    mask = graph.once("Unsqueeze", [empty, graph.integers(0, 2)], f"{lengths}/empty_rows")
    return graph.emit("Where", [mask, start, value], f"{value}/kept")


def _one_direction(graph: Graph, value: str, axis: int, which: int, several: bool, name: str) -> str:
    """Take one direction out of an array and drop the axis."""
    if not several:
        return graph.emit("Squeeze", [value, graph.integers(axis)], name)
    index = graph.initializer(f"int64/scalar_{which}", np.array(which, np.int64))
    return graph.emit("Gather", [value, index], name, axis=axis)


def _join_directions(
    graph: Graph, layer: Layer, value: str, axis: int, mode: str, units: int, name: str
) -> tuple[str, int]:
    """[T, D, B, H] (axis 1) or [D, B, H] (axis 0) → [T, B, F] or [B, F], and F."""
    if not mode:
        return _one_direction(graph, value, axis, 0, False, name), units
    if mode == "concat":
        perm = [0, 2, 1, 3] if axis else [1, 0, 2]
        swapped = graph.emit("Transpose", [value], f"{layer['name']}/directions_last", perm=perm)
        shape = graph.integers(*([0, 0] if axis else [0]), 2 * units)
        return graph.emit("Reshape", [swapped, shape], name), 2 * units
    op = {"sum": "Add", "ave": "Add", "mul": "Mul"}.get(mode)
    if op is None:
        raise ExportError(f"{describe(layer)}: unknown merge_mode '{mode}'")
    halves = [
        _one_direction(graph, value, axis, which, True, f"{layer['name']}/{side}")
        for which, side in enumerate(("forward", "backward"))
    ]
    if mode != "ave":
        return graph.emit(op, halves, name), units
    total = graph.emit(op, halves, f"{layer['name']}/sum")
    half = graph.initializer("float32/half", np.array(0.5, np.float32))
    return graph.emit("Mul", [total, half], name), units
