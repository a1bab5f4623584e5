"""SelectiveSSM: a Scan over the steps, one step as plain operators in a streaming model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._around import computed, keep_rows, with_x
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import step_mask, valid_only
from rekur.onnx._matrix import FAR, INT64, Writer, output_of, reversed_steps, valid_steps
from rekur.onnx._plan import Layer, Plan, describe


@dataclass(frozen=True)
class Sizes:
    """E channels of N numbers, a convolution of K steps, R numbers that Δ is made of."""

    channels: int
    numbers: int
    taps: int
    rank: int

    @staticmethod
    def of(name: str, shapes: Mapping[str, Sequence[int]]) -> Sizes:
        """Those of the layer of that name, by the shapes of the model's parameters."""
        numbers, channels = shapes[f"{name}/A_log"]
        return Sizes(channels, numbers, shapes[f"{name}/convolution"][0], shapes[f"{name}/dt_kernel"][0])

    @property
    def rows(self) -> int:
        """Of the state: rows of a number a channel."""
        return self.numbers + self.taps - 1

    @property
    def state(self) -> int:
        return self.rows * self.channels


def selective_ssm(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    whole, inputs = inputs[0], valid_only(graph, plan, layer, inputs)
    x, name = inputs[0], layer["name"]
    if (x.axis is None and not plan.streaming) or x.features is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    try:
        s = Sizes.of(name, {key: array.shape for key, array in graph.weights.items()})
    except KeyError as missing:
        raise ExportError(f"{describe(layer)}: parameter {missing} is missing") from None
    w = Writer(graph, name)
    valid = valid_steps(graph, w, x)
    reverse = layer.get("reverse", False)
    sequences = layer.get("return_sequences", False) or plan.streaming

    def parameter(key: str, shape: tuple[int, ...]) -> str:
        return graph.initializer(f"{name}/{key}", graph.weight(describe(layer), f"{name}/{key}", shape))

    value = graph.batch_major(x)
    if reverse:
        value = reversed_steps(graph, w, x, value, "input")
    value = w("MatMul", [value, parameter("kernel", (x.features, 2 * s.channels))], "product")
    if layer.get("use_bias", False):
        value = w("Add", [value, parameter("bias", (2 * s.channels,))], "projection")
    entering, gate = _split(graph, w, value, (s.channels, s.channels), ("x", "z"))

    held = plan.states.get(name)
    initial = held[0].input if held else graph.batch_major(inputs[1]) if len(inputs) > 1 else ""
    h, window = _initial_state(graph, s, w, value, initial)
    joined = entering
    if plan.streaming:
        joined = w("Unsqueeze", [entering, graph.integers(1)], "x/steps")
    if s.taps > 1:
        joined = w("Concat", [window, joined], "window/joined", axis=1)
    taps = graph.weight(describe(layer), f"{name}/convolution", (s.taps, s.channels))
    u = _convolved(graph, s, w, joined, taps)
    if layer.get("use_conv_bias", True):
        u = w("Add", [u, parameter("convolution_bias", (s.channels,))], "convolution/biased")
    if plan.streaming:
        u = w("Squeeze", [u, graph.integers(1)], "convolution/step")
    u = w.silu(u, "u")
    selection = w("MatMul", [u, parameter("selection_kernel", (s.channels, s.rank + 2 * s.numbers))], "selection")
    r, enters, reads = _split(graph, w, selection, (s.rank, s.numbers, s.numbers), ("r", "B", "C"))
    dt = w("MatMul", [r, parameter("dt_kernel", (s.rank, s.channels))], "dt/product")
    dt = w("Softplus", [w("Add", [dt, parameter("dt_bias", (s.channels,))], "dt/sum")], "dt")
    if valid:  # past its end a row keeps its state
        dt = w("Where", [valid, dt, w.number(0.0)], "dt/valid")
    a = w("Neg", [w("Exp", [parameter("A_log", (s.numbers, s.channels))], "A/exp")], "A")
    given = [dt, w("Mul", [dt, u], "dt/u"), enters, reads]
    h, o = _one_step(w, s, a, h, given) if plan.streaming else _scan(graph, w, s, a, h, given)
    o = w("Add", [o, w("Mul", [u, parameter("D", (s.channels,))], "skip")], "o/skipped")
    o = w("Mul", [o, w.silu(gate, "z/gate")], "gated")
    if reverse and sequences:
        o = reversed_steps(graph, w, x, o, "output")
    y = output_of(graph, plan, layer, s.channels, w, x, o, valid, use_bias=layer.get("use_bias", False))
    outputs = [with_x(graph, plan, layer, whole, y)]
    if held or (name, 1) in plan.wanted:
        last = _last_state(graph, s, w, x, h, joined)
        if held:
            graph.emit("Identity", [last], computed(plan, layer, held[0]))
            keep_rows(graph, plan, layer)
        if (name, 1) in plan.wanted:
            state = f"{name}:1"
            graph.emit("Identity", [held[0].output if held and step_mask(plan, layer) else last], state)
            outputs.append(Tensor(state, s.state, batch_major=state))
    return outputs


def _split(graph: Graph, w: Writer, value: str, sizes: Sequence[int], parts: Sequence[str]) -> list[str]:
    names = [f"{w.label}/{part}" for part in parts]
    graph.emit("Split", [value, graph.integers(*sizes)], *names, name=f"{w.label}/{parts[0]}/Split", axis=-1)
    return names


def _initial_state(graph: Graph, s: Sizes, w: Writer, value: str, given: str) -> tuple[str, str]:
    """h (B, N, E) and the convolution's last inputs (B, K − 1, E), "" where there are none."""
    if given:
        rows = w.reshaped(given, [0, s.rows, s.channels], "initial")
    else:
        shape = w("Shape", [value], "input/shape")
        batch = w("Slice", [shape, graph.integers(0), graph.integers(1)], "batch")
        whole = w("Concat", [batch, graph.integers(s.rows, s.channels)], "state/shape", axis=0)
        rows = w("ConstantOfShape", [whole], "zeros")
    if s.taps == 1:
        return rows, ""
    h, window = f"{w.label}/initial/h", f"{w.label}/initial/window"
    sizes = graph.integers(s.numbers, s.taps - 1)
    graph.emit("Split", [rows, sizes], h, window, name=f"{w.label}/initial/Split", axis=1)
    return h, window


def _convolved(graph: Graph, s: Sizes, w: Writer, joined: str, taps: NDArray[np.float32]) -> str:
    """Of (B, K − 1 + T, E) the sums over K rows from each of the first T on."""
    total = ""
    for j, weights in enumerate(taps):
        part = joined
        if s.taps > 1:
            end = FAR if j == s.taps - 1 else j - (s.taps - 1)
            places = [graph.integers(j), graph.integers(end), graph.integers(1)]
            part = w("Slice", [joined, *places], f"convolution/{j}")
        part = w("Mul", [part, graph.initializer(f"{w.label}/convolution_{j}", weights)], f"convolution/{j}/scaled")
        total = w("Add", [total, part], f"convolution/{j}/sum") if total else part
    return total


def _one_step(w: Writer, s: Sizes, a: str, h: str, given: Sequence[str]) -> tuple[str, str]:
    """(h after the step, Cᵀ h (B, E)) of Δ, Δ u (B, E), B and C (B, N)."""
    dt, added, enters, reads = given
    rates = w("Mul", [w.reshaped(dt, [0, 1, s.channels], "step/dt"), a], "step/rates")
    kept = w("Mul", [w("Exp", [rates], "step/decays"), h], "step/kept")
    columns = w.reshaped(enters, [0, s.numbers, 1], "step/B")
    h = w("Add", [kept, w("Mul", [columns, w.reshaped(added, [0, 1, s.channels], "step/u")], "step/added")], "step/h")
    read = w("MatMul", [w.reshaped(reads, [0, 1, s.numbers], "step/C"), h], "step/read")
    return h, w.reshaped(read, [0, s.channels], "step/o")


def _scan(graph: Graph, w: Writer, s: Sizes, a: str, h: str, given: Sequence[str]) -> tuple[str, str]:
    body = graph.body()
    inputs = [f"{w.label}/step/in_{k}" for k in range(1 + len(given))]
    after, o = _one_step(Writer(body, w.label), s, a, inputs[0], inputs[1:])
    body.inputs = [(value, "float32", ()) for value in inputs]
    body.outputs = [(value, "float32", ()) for value in (after, o)]
    last, sequence = f"{w.label}/last_h", f"{w.label}/o"
    attributes: dict[str, Any] = {"scan_input_axes": [1] * len(given), "scan_output_axes": [1]}
    graph.emit(
        "Scan", [h, *given], last, sequence, name=f"{w.label}/Scan", body=body, num_scan_inputs=len(given), **attributes
    )
    return last, sequence


def _last_state(graph: Graph, s: Sizes, w: Writer, x: Tensor, h: str, joined: str) -> str:
    """(B, all of it)."""
    flat = w.reshaped(h, [0, s.numbers * s.channels], "last/h")
    if s.taps == 1:
        return flat
    if x.axis is None or x.axis.lengths is None:
        ends = [graph.integers(1 - s.taps), graph.integers(FAR), graph.integers(1)]
        window = w("Slice", [joined, *ends], "last/window")
    else:
        lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
        first = w("Unsqueeze", [lengths, graph.integers(1)], "last/first")
        places = w("Add", [first, graph.integers(*range(s.taps - 1))], "last/places")
        indices = w("Unsqueeze", [places, graph.integers(2)], "last/indices")
        window = w("GatherND", [joined, indices], "last/window", batch_dims=1)
    rows = w.reshaped(window, [0, (s.taps - 1) * s.channels], "last/rows")
    return w("Concat", [flat, rows], "last/state", axis=-1)
