"""Layers whose state is a matrix for each head: a Scan over the steps, one step as plain operators in a streaming
model, or from opset 27 on the operator LinearAttention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rekur.onnx._around import computed, keep_rows, label_inside, with_x
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import step_mask, valid_only
from rekur.onnx._plan import Layer, Plan, describe

INT64 = 7  # onnx.TensorProto's
LINEAR_ATTENTION = 27  # the opset that knows the operator
FAR = np.iinfo(np.int64).max  # of a Slice: as far as there is


@dataclass(frozen=True)
class Attention:
    """Sizes and rule of a GatedLinearAttention, or of an MLSTM, whose rule is "mlstm"."""

    heads: int
    key: int
    value: int
    mode: str

    @staticmethod
    def of(layer: Layer) -> Attention:
        key = layer["key_dim"]
        return Attention(layer["num_heads"], key, layer.get("value_dim", key), _rule(layer))

    @property
    def delta(self) -> bool:
        return "delta" in self.mode

    @property
    def decays(self) -> int:
        """Of a step."""
        return {"gated": self.heads * self.key, "gated_delta": self.heads}.get(self.mode, 0)

    @property
    def state(self) -> int:
        if self.mode == "mlstm":
            return self.heads * (self.key * (self.value + 1) + 1)
        return self.heads * self.key * self.value


def _rule(layer: Layer) -> str:
    return "mlstm" if layer["type"] == "MLSTM" else layer.get("mode", "gated")


class Writer:
    """Operators on what one layer computes; names begin with the layer's."""

    def __init__(self, graph: Graph, label: str) -> None:
        self.graph, self.label = graph, label

    def __call__(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        return self.graph.emit(op, inputs, f"{self.label}/{name}", **attributes)

    def number(self, value: float) -> str:
        return self.graph.initializer(f"float32/{value!r}", np.array(value, np.float32))

    def reshaped(self, value: str, shape: Sequence[int], name: str) -> str:
        return self("Reshape", [value, self.graph.integers(*shape)], name)

    def silu(self, value: str, name: str) -> str:
        return self("Div", [value, self._gate(value, name)], name)

    def sigmoid(self, value: str, name: str) -> str:
        return self("Div", [self.number(1.0), self._gate(value, name)], name)

    def _gate(self, value: str, name: str) -> str:
        """1 + e^-x. onnxruntime's Sigmoid ends at 1.5e-8, which a norm of small numbers makes large again."""
        grown = self("Exp", [self("Neg", [value], f"{name}/negative")], f"{name}/exp")
        return self("Add", [grown, self.number(1.0)], f"{name}/shifted")


def matrix_layer(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    whole, inputs = inputs[0], valid_only(graph, plan, layer, inputs)
    a, x, name = Attention.of(layer), inputs[0], layer["name"]
    if (x.axis is None and not plan.streaming) or x.features is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    w = Writer(graph, name)
    lead = [0] if plan.streaming else [0, 0]  # Reshape's words for the dimensions that stay: batch, and time
    gate = layer.get("output_gate", True)
    values = a.heads * a.value
    sizes = {"q": a.heads * a.key, "k": a.heads * a.key, "v": values}
    if a.mode == "mlstm":
        sizes.update(i=a.heads, z=values * gate, f=a.heads)
    else:
        sizes.update(a=a.decays, b=a.heads * a.delta, z=values * gate)
    reverse, read = layer.get("reverse", False), graph.batch_major(x)
    if reverse:
        read = reversed_steps(graph, w, x, read, "input")
    parts = _projection(graph, layer, a, w, read, sizes, x.features)
    valid = valid_steps(graph, w, x)
    q, k, v = _numbers(a, w, parts, lead)
    log_decay = rate = enters = ""
    if a.mode == "mlstm":
        k = w("Mul", [k, w.number(1 / math.sqrt(a.key))], "k/scaled")
        softplus = w("Softplus", [w("Neg", [parts["f"]], "f/negative")], "f/softplus")
        log_decay, enters = w("Neg", [softplus], "f/log"), parts["i"]
    if a.decays:
        power = w.number(-1.0 / layer.get("decay_normalizer", 16.0))
        softplus = w("Softplus", [w("Neg", [parts["a"]], "a/negative")], "a/softplus")
        log_decay = w("Mul", [softplus, power], "a/log")
    if a.delta:
        rate = w.sigmoid(parts["b"], "b/sigmoid")
    if valid:  # past its end a row keeps its state
        zero = w.number(0.0)
        k = w("Where", [valid, k, zero], "k/valid")
        log_decay = w("Where", [valid, log_decay, zero], "a/valid") if log_decay else ""
        rate = w("Where", [valid, rate, zero], "b/valid") if rate else ""
        enters = w("Where", [valid, enters, w.number(-1e30)], "i/valid") if enters else ""

    held = plan.states.get(name)
    initial = held[0].input if held else graph.batch_major(inputs[1]) if len(inputs) > 1 else ""
    linear_attention = graph.opset >= LINEAR_ATTENTION and not plan.streaming and a.mode != "mlstm"
    if linear_attention:
        if initial:
            initial = w.reshaped(initial, [0, a.heads, a.key, a.value], "initial")
        o, last = f"{name}/o", f"{name}/last"
        graph.emit(
            "LinearAttention", [q, k, v, initial, log_decay, rate], o, last, name=f"{name}/LinearAttention",
            q_num_heads=a.heads, kv_num_heads=a.heads, update_rule=a.mode,
        )  # fmt: skip
    else:
        states = _initial_states(graph, a, w, x, initial)
        if a.mode == "mlstm":
            given = [q, k, v, log_decay, enters]
        else:
            q = w("Mul", [q, w.number(1 / math.sqrt(a.key))], "q/scaled")
            decay = w("Exp", [log_decay], "a/exp") if log_decay else ""
            given = [value for value in (q, k, v, decay, rate) if value]
        states, o = _one_step(a, w, states, given) if plan.streaming else _scan(graph, a, w, states, given)
        last = states[0]
        if a.mode == "mlstm":
            rows = w.reshaped(states[0], [0, a.heads, a.key * (a.value + 1)], "last/rows")
            last = w("Concat", [rows, states[1]], "last/state", axis=-1)

    normal = _normalized(graph, layer, a, w, o, lead)
    if gate:
        normal = w("Mul", [normal, (w.sigmoid if a.mode == "mlstm" else w.silu)(parts["z"], "z/gate")], "gated")
    if reverse and layer.get("return_sequences", False):
        normal = reversed_steps(graph, w, x, normal, "output")
    y = output_of(graph, plan, layer, values, w, x, normal, valid, use_bias=layer.get("use_bias", True))
    outputs = [with_x(graph, plan, layer, whole, y)]
    if held:
        graph.emit("Reshape", [last, graph.integers(0, a.state)], computed(plan, layer, held[0]))
        keep_rows(graph, plan, layer)
    if (name, 1) in plan.wanted:
        state = f"{name}:1"
        if held and step_mask(plan, layer):
            graph.emit("Identity", [held[0].output], state)
        else:
            graph.emit("Reshape", [last, graph.integers(0, a.state)], state)
        outputs.append(Tensor(state, a.state, batch_major=state))
    return outputs


def _projection(
    graph: Graph, layer: Layer, a: Attention, w: Writer, x: str, sizes: dict[str, int], features: int
) -> dict[str, str]:
    """x W + b by its parts; without those of no columns."""
    owner, name, width = describe(layer), layer["name"], sum(sizes.values())
    kernel = graph.initializer(f"{name}/kernel", graph.weight(owner, f"{name}/kernel", (features, width)))
    value = w("MatMul", [x, kernel], "product")
    if layer.get("use_bias", True):
        apart = a.heads if a.mode == "mlstm" else 0
        whole = graph.weight(owner, f"{name}/bias", (width - apart,))
        if apart:
            whole = np.concatenate([whole, graph.weight(owner, f"{name}/forget_bias", (apart,))])
        bias = graph.initializer(f"{name}/bias", whole)
        value = w("Add", [value, bias], "projection")
    present = {part: size for part, size in sizes.items() if size}
    names = {part: f"{name}/{part}" for part in present}
    graph.emit("Split", [value, graph.integers(*present.values())], *names.values(), name=f"{name}/Split", axis=-1)
    return names


def valid_steps(graph: Graph, w: Writer, x: Tensor) -> str:
    """(B, T, 1), whether a step is within its row; "" where all are."""
    if x.axis is None or x.axis.lengths is None:
        return ""
    scalars = [graph.initializer(f"int64/scalar_{n}", np.array(n, np.int64)) for n in (0, 1)]
    steps = w("Gather", [w("Shape", [graph.batch_major(x)], "shape"), scalars[1]], "steps", axis=0)
    times = w("Unsqueeze", [w("Range", [scalars[0], steps, scalars[1]], "times"), graph.integers(0, 2)], "times/rows")
    lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
    return w("Less", [times, w("Unsqueeze", [lengths, graph.integers(1, 2)], "lengths")], "valid")


def reversed_steps(graph: Graph, w: Writer, x: Tensor, value: str, name: str) -> str:
    """(B, T, …) from each row's end."""
    assert x.axis is not None
    if x.axis.lengths is None:
        one = graph.integers(1)
        begin, end = graph.integers(-1), graph.integers(-FAR)
        return w("Slice", [value, begin, end, one, begin], f"{name}/reversed")
    lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
    # onnxruntime wants lengths of one step at least; a row of one step and one without are reversed alike.
    some = w("Max", [lengths, graph.integers(1)], f"{name}/lengths")
    return w("ReverseSequence", [value, some], f"{name}/reversed", batch_axis=0, time_axis=1)


def _numbers(a: Attention, w: Writer, parts: dict[str, str], lead: list[int]) -> tuple[str, str, str]:
    """q, k and v as the rule takes them, but for q's 1/√K."""
    if not a.delta:
        return parts["q"], parts["k"], parts["v"]

    def unit(part: str) -> str:
        heads = w.reshaped(w.silu(parts[part], f"{part}/silu"), [*lead, a.heads, a.key], f"{part}/heads")
        squares = w("Mul", [heads, heads], f"{part}/squares")
        total = w("ReduceSum", [squares, w.graph.integers(-1)], f"{part}/sum", keepdims=1)
        length = w("Sqrt", [w("Add", [total, w.number(1e-6)], f"{part}/shifted")], f"{part}/length")
        return w.reshaped(w("Div", [heads, length], f"{part}/unit"), [*lead, a.heads * a.key], f"{part}/units")

    return unit("q"), unit("k"), w.silu(parts["v"], "v/silu")


def _initial_states(graph: Graph, a: Attention, w: Writer, x: Tensor, given: str) -> list[str]:
    """S (B, H, K, V); of mlstm C and n (B, H, K, V + 1), and m (B, H, 1). given: (B, all of it), or "" for zeros."""
    if not given:
        shape = w("Shape", [graph.batch_major(x)], "input/shape")
        batch = w("Slice", [shape, graph.integers(0), graph.integers(1)], "batch")
        whole = w("Concat", [batch, graph.integers(a.state)], "state/shape", axis=0)
        given = w("ConstantOfShape", [whole], "zeros")
    if a.mode != "mlstm":
        return [w.reshaped(given, [0, a.heads, a.key, a.value], "initial")]
    rows = w.reshaped(given, [0, a.heads, a.state // a.heads], "initial/rows")
    numbers, scale = f"{w.label}/initial/numbers", f"{w.label}/initial/m"
    sizes = graph.integers(a.key * (a.value + 1), 1)
    graph.emit("Split", [rows, sizes], numbers, scale, name=f"{w.label}/initial/Split", axis=-1)
    return [w.reshaped(numbers, [0, a.heads, a.key, a.value + 1], "initial"), scale]


def _one_step(a: Attention, w: Writer, states: Sequence[str], given: Sequence[str]) -> tuple[list[str], str]:
    """(the states after the step, o (B, H·V)) of q, k (B, H·K), v (B, H·V) and, by the mode, decay and rate."""
    if a.mode == "mlstm":
        return _one_step_of_mlstm(a, w, states, given)
    (state,), numbers = states, iter(given)
    q, k, v = next(numbers), next(numbers), next(numbers)
    added = w.reshaped(v, [0, a.heads, 1, a.value], "step/v")
    if a.decays:
        shape = [0, a.heads, a.key if a.mode == "gated" else 1, 1]
        state = w("Mul", [state, w.reshaped(next(numbers), shape, "step/a")], "step/decayed")
    if a.delta:
        found = w("MatMul", [w.reshaped(k, [0, a.heads, 1, a.key], "step/k_row"), state], "step/found")
        rest = w("Sub", [added, found], "step/rest")
        added = w("Mul", [rest, w.reshaped(next(numbers), [0, a.heads, 1, 1], "step/b")], "step/correction")
    outer = w("Mul", [w.reshaped(k, [0, a.heads, a.key, 1], "step/k"), added], "step/outer")
    state = w("Add", [state, outer], "step/state")
    read = w("MatMul", [w.reshaped(q, [0, a.heads, 1, a.key], "step/q"), state], "step/read")
    return [state], w.reshaped(read, [0, a.heads * a.value], "step/o")


def _one_step_of_mlstm(a: Attention, w: Writer, states: Sequence[str], given: Sequence[str]) -> tuple[list[str], str]:
    """The same of q, k, v, ln σ(f) and i (B, H)."""
    (memory, scale), (q, k, v, kept, enters) = states, given
    kept = w("Add", [w.reshaped(kept, [0, a.heads, 1], "step/f"), scale], "step/kept")
    enters = w.reshaped(enters, [0, a.heads, 1], "step/i")
    after = w("Max", [kept, enters], "step/m")

    def grown(value: str, name: str) -> str:
        return w.reshaped(w("Exp", [value], f"{name}/exp"), [0, a.heads, 1, 1], name)

    decayed = w("Mul", [memory, grown(w("Sub", [kept, after], "step/a/log"), "step/a")], "step/decayed")
    pads = w.graph.initializer("int64/pad_last_of_4", np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int64))
    value = w("Pad", [w.reshaped(v, [0, a.heads, 1, a.value], "step/v"), pads, w.number(1.0)], "step/v_and_1")
    key = w(
        "Mul",
        [w.reshaped(k, [0, a.heads, a.key, 1], "step/k"), grown(w("Sub", [enters, after], "step/e/log"), "step/e")],
        "step/u",
    )
    memory = w("Add", [decayed, w("Mul", [key, value], "step/outer")], "step/state")
    read = w("MatMul", [w.reshaped(q, [0, a.heads, 1, a.key], "step/q"), memory], "step/read")
    numerator, normalizer = f"{w.label}/step/numerator", f"{w.label}/step/normalizer"
    sizes = w.graph.integers(a.value, 1)
    w.graph.emit("Split", [read, sizes], numerator, normalizer, name=f"{w.label}/step/Split", axis=-1)
    bound = grown(w("Neg", [after], "step/m/negative"), "step/bound")
    least = w.number(float(np.finfo(np.float32).tiny))
    divisor = w("Max", [w("Abs", [normalizer], "step/abs"), bound, least], "step/divisor")
    o = w.reshaped(w("Div", [numerator, divisor], "step/h"), [0, a.heads * a.value], "step/o")
    return [memory, after], o


def _scan(graph: Graph, a: Attention, w: Writer, states: Sequence[str], given: Sequence[str]) -> tuple[list[str], str]:
    body = graph.body()
    inputs = [f"{w.label}/step/in_{k}" for k in range(len(states) + len(given))]
    inside, o = _one_step(a, Writer(body, w.label), inputs[: len(states)], inputs[len(states) :])
    body.inputs = [(value, "float32", ()) for value in inputs]
    body.outputs = [(value, "float32", ()) for value in (*inside, o)]
    last, sequence = [f"{w.label}/last_{k}" for k in range(len(states))], f"{w.label}/o"
    graph.emit(
        "Scan", [*states, *given], *last, sequence, name=f"{w.label}/Scan", body=body, num_scan_inputs=len(given),
        scan_input_axes=[1] * len(given), scan_output_axes=[1],
    )  # fmt: skip
    return last, sequence


def _normalized(graph: Graph, layer: Layer, a: Attention, w: Writer, o: str, lead: list[int]) -> str:
    """gamma⊙o / rms(o), (…, H·V); of mlstm with the mean taken away first."""
    apart = a.mode == "mlstm"
    gamma = graph.weight(describe(layer), f"{layer['name']}/gamma", (a.heads * a.value if apart else a.value,))
    gamma = gamma.reshape(-1, a.value)
    heads = w.reshaped(o, [*lead, a.heads, a.value], "o/heads")
    if apart:
        total = w("ReduceSum", [heads, graph.integers(-1)], "o/total", keepdims=1)
        heads = w("Sub", [heads, w("Mul", [total, w.number(1.0 / a.value)], "o/centre")], "o/centred")
    squares = w("Mul", [heads, heads], "o/squares")
    total = w("ReduceSum", [squares, graph.integers(-1)], "o/sum", keepdims=1)
    mean = w("Mul", [total, w.number(1.0 / a.value)], "o/mean")
    shifted = w("Add", [mean, w.number(float(layer.get("epsilon", 1e-5)))], "o/shifted")
    normal = w("Div", [heads, w("Sqrt", [shifted], "o/rms")], "o/normal")
    scaled = w("Mul", [normal, graph.initializer(f"{layer['name']}/gamma", gamma)], "o/scaled")
    return w.reshaped(scaled, [*lead, a.heads * a.value], "normal")


def output_of(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    width: int,
    w: Writer,
    x: Tensor,
    value: str,
    valid: str,
    *,
    use_bias: bool,
) -> Tensor:
    """The output's projection of ``width`` numbers, at every step or the last one; zeros where there is no step."""
    name, owner, inside = layer["name"], describe(layer), label_inside(plan, layer)
    assert x.features is not None
    units = layer.get("units", x.features)
    sequences = layer.get("return_sequences", False) or plan.streaming
    if not sequences:
        value, valid = _last(graph, w, x, value)
    kernel = graph.weight(owner, f"{name}/output_kernel", (width, units))
    steps = [("MatMul", graph.initializer(f"{name}/output_kernel", kernel))]
    if use_bias:
        bias = graph.weight(owner, f"{name}/output_bias", (units,))
        steps.append(("Add", graph.initializer(f"{name}/output_bias", bias)))
    for index, (op, weight) in enumerate(steps):
        final = index == len(steps) - 1 and not valid
        value = graph.emit(op, [value, weight], inside if final else f"{name}/output_{index}")
    if valid:
        graph.emit("Where", [valid, value, w.number(0.0)], inside)
    return Tensor(inside, units, x.axis if sequences else None, batch_major=inside)


def _last(graph: Graph, w: Writer, x: Tensor, value: str) -> tuple[str, str]:
    """(that of each row's last step, (B, 1) whether it has one or "")."""
    if x.axis is None or x.axis.lengths is None:
        index = graph.initializer("int64/scalar_-1", np.array(-1, np.int64))
        return w("Gather", [value, index], "latest", axis=1), ""
    lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
    place = w("Max", [w("Sub", [lengths, graph.integers(1)], "place"), graph.integers(0)], "place/within")
    column = w("Unsqueeze", [place, graph.integers(1)], "places")
    taken = w("GatherND", [value, column], "latest", batch_dims=1)
    some = w("Greater", [lengths, graph.integers(0)], "some")
    return taken, w("Unsqueeze", [some, graph.integers(1)], "some/rows")
