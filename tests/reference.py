"""Recurrent networks in float64, from the layers' equations: what the engine is measured against.

Cells, plain layers, losses, differences; reference_attention, reference_matrices and reference_windows have the others.

Shares nothing with the engine and does nothing cleverly.
T time steps · B batch rows · I input features · H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reference_attention import run_attention, run_heads, run_position_embedding, run_rotary, run_sine_encoding
from reference_basics import ACTIVATIONS as ACTIVATIONS  # of the tests
from reference_basics import Array, Spec, Tensor, activation, sigmoid, softmax
from reference_crf import run_crf
from reference_matrices import run_matrix
from reference_windows import (
    run_conv_lstm,
    run_convolution,
    run_global_pooling,
    run_pooling,
    run_resampling,
    run_reshaping,
    run_transposed,
)
from rekur._trace import evaluate

# ---------------------------------------------------------------------------------------------------------------- cells
# A cell is step(x, state, kernel W, recurrent kernel R, bias b, peephole p if it has one) -> state, with x (B, I) and
# states (B, H).

State = tuple[Array, ...]


def normalized(parts: Sequence[Array], epsilon: float) -> list[Array]:
    """Arrays of the same rows, less the mean of them all, over the root of the variance of them all."""
    whole = np.concatenate(parts, axis=-1)
    centred = whole - whole.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + epsilon)
    return np.split(scaled, len(parts), axis=-1)


class Options:
    """What a layer's options do within a step. ``masks``: of a training pass, as tests/masks.py draws them."""

    def __init__(self, layer: Spec, weights: Mapping[str, Array], masks: Mapping[str, Any]) -> None:
        self.layer, self.weights, self.masks, self.H = layer, weights, masks, layer["units"]
        what = layer.get("layer_normalization")
        self.sums, self.state = what in ("sums", "both"), what in ("state", "both")
        self.epsilon = layer.get("normalization_epsilon", 1e-5)

    def at(self, rows: Any, time: Any) -> Options:
        """For some rows at a step."""
        chosen: dict[str, Any] = {}
        for key in ("x", "recurrent"):
            if key in self.masks:
                chosen[key] = self.masks[key][rows]
        if "zoneout" in self.masks:
            chosen["zoneout"] = {name: mask[rows, time] for name, mask in self.masks["zoneout"].items()}
        return Options(self.layer, self.weights, chosen)

    def gained(self, products: list[Array], gamma: str, blocks: Sequence[int]) -> list[Array]:
        if not self.sums:
            return products
        parts = normalized(products, self.epsilon)
        gain = self.weights[gamma].reshape(-1, self.H)
        return [part * gain[k] for part, k in zip(parts, blocks, strict=True)]

    def input(self, x: Array, W: Array) -> Array:
        parts = np.split(x @ W, W.shape[1] // self.H, axis=-1)
        if "x" in self.masks:  # (B, 1, I), or (B, blocks, I)
            blocks = np.split(W, len(parts), axis=1)
            seen = [x * self.masks["x"][:, k % self.masks["x"].shape[1]] for k in range(len(parts))]
            parts = [s @ block for s, block in zip(seen, blocks, strict=True)]
        return np.concatenate(self.gained(parts, "kernel_gamma", range(len(parts))), axis=-1)

    def recurrent(self, source: Array, R: Array, blocks: Sequence[int]) -> Array:
        """Of what is multiplied, through the columns of some blocks."""
        parts = []
        for k in blocks:
            seen = source * self.masks["recurrent"][:, k] if "recurrent" in self.masks else source
            parts.append(seen @ R[:, k * self.H : (k + 1) * self.H])
        return np.concatenate(self.gained(parts, "recurrent_gamma", blocks), axis=-1)

    def bounded(self, name: str, state: Array) -> Array:
        bound = self.layer.get("state_clip", np.inf)
        bound = bound.get(name, np.inf) if isinstance(bound, Mapping) else bound
        return np.clip(state, -bound, bound)

    def scaled(self, state: Array) -> Array:
        (part,) = normalized([state], self.epsilon)
        return part * self.weights["state_gamma"] + self.weights["state_beta"]

    def first(self, name: str, state: Array) -> Array:
        """A state that is the output."""
        return self.bounded(name, self.scaled(state) if self.state else state)

    def kept(self, name: str, before: Array, new: Array) -> Array:
        if "zoneout" in self.masks:
            return np.where(self.masks["zoneout"][name] != 0, new, before) if name in self.masks["zoneout"] else new
        rate = self.layer.get("zoneout", 0.0)
        rate = rate.get(name, 0.0) if isinstance(rate, Mapping) else rate
        return rate * before + (1 - rate) * new


def clipped(layer: Spec, key: str, default: str) -> Callable[[Array], Array]:
    """An activation of gate or candidate: what it is given is clamped first if the layer says so."""
    f, bound = activation(layer.get(key, default)), layer.get("clip", np.inf)
    return lambda a: f(np.clip(a, -bound, bound))


def simple_rnn_step(o: Options, x: Array, state: State, W: Array, R: Array, b: Array) -> State:
    f = clipped(o.layer, "activation", "tanh")
    (h,) = state
    return (o.first("h", f(o.input(x, W) + o.recurrent(h, R, [0]) + b)),)


def lstm_step(o: Options, x: Array, state: State, W: Array, R: Array, b: Array, p: Array | None = None) -> State:
    layer = o.layer
    s = clipped(layer, "recurrent_activation", "sigmoid")
    f = clipped(layer, "activation", "tanh")
    out = activation(layer.get("output_activation", layer.get("activation", "tanh")))
    h, c = state
    a = o.input(x, W) + o.recurrent(h, R, range(R.shape[1] // o.H)) + b
    if layer.get("coupled_gates", False):
        a_i, a_g, a_o = np.split(a, 3, axis=-1)
        p_i, p_o = np.zeros((2, c.shape[1])) if p is None else p
        i = s(a_i + p_i * c)
        forget = 1 - i
    else:
        a_i, a_f, a_g, a_o = np.split(a, 4, axis=-1)
        p_i, p_f, p_o = np.zeros((3, c.shape[1])) if p is None else p
        i = s(a_i + p_i * c)
        forget = s(a_f + p_f * c)
    c = o.bounded("c", forget * c + i * f(a_g))
    seen = o.scaled(c) if o.state else c
    return o.bounded("h", s(a_o + p_o * seen) * out(seen)), c


def gru_step(o: Options, x: Array, state: State, W: Array, R: Array, b: Array) -> State:
    layer = o.layer
    s = clipped(layer, "recurrent_activation", "sigmoid")
    f = clipped(layer, "activation", "tanh")
    (h,) = state
    if layer.get("reset_after", True):
        x_z, x_r, x_n = np.split(o.input(x, W) + b[0], 3, axis=-1)
        h_z, h_r, h_n = np.split(o.recurrent(h, R, [0, 1, 2]) + b[1], 3, axis=-1)
        z, r = s(x_z + h_z), s(x_r + h_r)
        n = f(x_n + r * h_n)
    else:
        x_z, x_r, x_n = np.split(o.input(x, W) + b, 3, axis=-1)
        h_z, h_r = np.split(o.recurrent(h, R, [0, 1]), 2, axis=-1)
        z, r = s(x_z + h_z), s(x_r + h_r)
        n = f(x_n + o.recurrent(r * h, R, [2]))
    return (o.first("h", (1 - z) * n + z * h),)


class Cell(NamedTuple):
    step: Callable[..., State]
    gates: int
    states: int

    def bias_shape(self, layer: Spec) -> tuple[int, ...]:
        size = (self.gates - bool(layer.get("coupled_gates", False))) * int(layer["units"])
        return (2, size) if layer["type"] == "GRU" and layer.get("reset_after", True) else (size,)


# Every recurrent layer type. The cell tests run over this table, and fail for a type of the engine that is not in it.
CELLS: dict[str, Cell] = {  # RNN's cells are programs, which program_step carries out
    "SimpleRNN": Cell(simple_rnn_step, gates=1, states=1),
    "LSTM": Cell(lstm_step, gates=4, states=2),
    "GRU": Cell(gru_step, gates=3, states=1),
}


def built_in_step(o: Options, x: Array, state: State, weights: Mapping[str, Array]) -> State:
    layer, cell = o.layer, CELLS[o.layer["type"]]
    bias = weights["bias"] if layer.get("use_bias", True) else np.zeros(cell.bias_shape(layer))
    peephole = [weights["peephole"]] if "peephole" in weights else []
    return cell.step(o, x, state, weights["kernel"], weights["recurrent_kernel"], bias, *peephole)


def state_names(layer: Spec) -> list[str]:
    """Of any recurrent layer, Bidirectional not."""
    return layer["cell"]["states"] if layer["type"] == "RNN" else ["h", "c"][: CELLS[layer["type"]].states]


def state_count(layer: Spec) -> int:
    return len(state_names(layer))


def recurrent_blocks(layer: Spec) -> int:
    """Blocks of the recurrent kernel."""
    if layer["type"] == "RNN":
        return len(layer["cell"]["recurrent"])
    return CELLS[layer["type"]].gates - bool(layer.get("coupled_gates", False))


def whole_recurrent_kernel(cell: Spec, weights: Mapping[str, Array], H: int) -> Array:
    """(H, R·H), the matrices of all recurrent products in their order; with heads zeros between them."""
    if "matrices" not in cell and "heads" not in cell:
        return weights.get("recurrent_kernel", np.zeros((H, 0)))
    blocks, size, place = [np.zeros((H, 0))], H // cell.get("heads", 1), 0
    for product in cell["recurrent"]:
        if len(product) == 3:
            blocks.append(weights[product[2]])
            continue
        own = weights["recurrent_kernel"][:, place * H : (place + 1) * H]
        blocks.append(np.tile(own, (H // size, 1)) * np.kron(np.eye(H // size), np.ones((size, size))))
        place += 1
    return np.concatenate(blocks, axis=-1)


def program_step(
    o: Options, x: Array, steps: Sequence[Array], state: State, weights: Mapping[str, Array], B: int
) -> State:
    """A step of an RNN layer's cell: products of x, then the equations, a product as soon as its source is there."""
    cell, H = o.layer["cell"], o.H
    raw = x * o.masks["x"][:, 0] if "x" in o.masks else x
    known: dict[str, Array] = {"x": raw, **dict(zip(cell["states"], state, strict=True))}
    known.update(zip(cell.get("step_inputs", ()), steps, strict=True))
    known.update({w["name"]: weights[w["name"]] for w in cell.get("weights", ())})
    if cell["kernel"]:
        blocks = o.input(x, weights["kernel"]) + weights.get("bias", 0.0)
        known.update(zip(cell["kernel"], np.split(blocks, len(cell["kernel"]), axis=-1), strict=True))
    sources = {name: source for name, source, *_ in cell["recurrent"]}
    kernel = whole_recurrent_kernel(cell, weights, H)
    names = list(sources)
    equations = cell["equations"]
    first = len(equations["inputs"])
    values: dict[int, Array] = {}

    def value(index: int) -> Array:
        if index not in values:
            if index >= first:
                head, *operands = equations["nodes"][index - first]
                args = [] if head == "constant" else [value(k) for k in operands]
                node = [head, *(operands if head == "constant" else range(len(args)))]
                (made,) = evaluate({"nodes": [node], "outputs": [len(args)]}, args)
                values[index] = finished(index, made) if index in equations["outputs"] else made
            elif (name := equations["inputs"][index]) in sources:
                source = sources[name]
                given = known[source] if isinstance(source, str) else value(source)
                alike = [k for k, other in enumerate(names) if sources[other] == source]
                width = o.layer.get("projection_size", H) if source == cell["states"][0] else H
                products = o.recurrent(np.broadcast_to(given, (B, width)), kernel, alike)
                product = products[:, alike.index(names.index(name)) * H :][:, :H]
                block = slice(names.index(name) * H, (names.index(name) + 1) * H)
                values[index] = product + (weights["recurrent_bias"][block] if "recurrent_bias" in weights else 0.0)
            else:
                values[index] = known[name]
        return values[index]

    def finished(index: int, made: Array) -> Array:
        """A new state as later values read it."""
        number = equations["outputs"].index(index)
        finish = o.first if number == 0 else o.bounded
        return finish(cell["states"][number], np.broadcast_to(made, (B, H)))

    return tuple(
        o.bounded(name, np.broadcast_to(value(index) if index >= first else finished(index, value(index)), (B, H)))
        for name, index in zip(cell["states"], equations["outputs"], strict=True)
    )


def recurrence(
    layer: Spec,
    weights: Mapping[str, Array],
    x: Array,
    lengths: NDArray[Any] | None = None,
    initial: Sequence[Array] = (),
    step_inputs: Sequence[Array] = (),
) -> tuple[Array, list[Array]]:
    """One direction of one layer over x (B, T, I): (outputs (B, T, H), final states, each (B, H)).

    Row b takes lengths[b] steps, in the reverse direction from its last valid step to its first.
    Outputs past them are zero.
    """
    H = layer["units"]
    masks = layer.get("masks", {})
    options, names = Options(layer, weights, masks), state_names(layer)
    B, T = x.shape[:2]
    steps = np.full(B, T) if lengths is None else np.asarray(lengths)
    state = [np.array(s, np.float64) for s in initial]
    P = layer.get("projection_size", H)
    for k, name in enumerate(state_names(layer)):  # one that none is given for is learned, or zero
        start = weights.get(f"initial_{name}", np.zeros(H if k else P))
        if k >= len(initial):
            state.append(np.tile(np.asarray(start, np.float64), (B, 1)))
    y = np.zeros((B, T, P))
    for k in range(T):
        rows = np.flatnonzero(k < steps)
        time = steps[rows] - 1 - k if layer.get("reverse", False) else np.full(len(rows), k)
        before = tuple(s[rows] for s in state)
        o = options.at(rows, time)
        if layer["type"] == "RNN":
            new = program_step(o, x[rows, time], [v[rows, time] for v in step_inputs], before, weights, len(rows))
        else:
            new = built_in_step(o, x[rows, time], before, weights)
        if "projection_kernel" in weights:
            new = (new[0] @ weights["projection_kernel"], *new[1:])
        for s, name, old, value in zip(state, names, before, new, strict=True):
            s[rows] = o.kept(name, old, value)
        y[rows, time] = state[0][rows]
    return y, state


# --------------------------------------------------------------------------------------------------------------- layers


MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
}


def run_recurrent(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    x, *others = inputs
    count = len(layer["cell"].get("step_inputs", ())) if layer["type"] == "RNN" else 0
    steps, initial = [s.value for s in others[:count]], [s.value for s in others[count:]]
    y, states = recurrence(layer, weights, x.value, x.lengths, initial, steps)
    main = Tensor(y, x.lengths) if layer.get("return_sequences", False) else Tensor(states[0])
    if layer.get("residual", False):
        main = with_x(main, x, layer.get("reverse", False))
    return [main, *(Tensor(s) for s in states if layer.get("return_state", False))]


def with_x(y: Tensor, x: Tensor, first: bool) -> Tensor:
    """y + x at the valid steps; of one step's y, x at the row's last valid step, or at its first."""
    B, T = x.value.shape[:2]
    value = y.value.copy()
    for b, steps in enumerate([T] * B if x.lengths is None else x.lengths):
        if value.ndim == 3:
            value[b, :steps] += x.value[b, :steps]
        elif steps:
            value[b] += x.value[b, 0 if first else steps - 1]
    return Tensor(value, y.lengths)


def run_bidirectional(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    inner, (x, *initial) = layer["layer"], inputs
    count = len(inner["cell"].get("step_inputs", ())) if inner["type"] == "RNN" else 0
    steps, initial = initial[:count], initial[count:]
    half = len(initial) // 2
    both = []
    for direction, states in (("forward", initial[:half]), ("backward", initial[half:])):
        own = {name.split("/", 1)[1]: w for name, w in weights.items() if name.startswith(direction + "/")}
        masks = inner.get("masks", {}).get(direction, {})
        both.append(
            run_recurrent({**inner, "reverse": direction == "backward", "masks": masks}, own, [x, *steps, *states])
        )
    merged = Tensor(MERGES[layer.get("merge_mode", "concat")](both[0][0].value, both[1][0].value), both[0][0].lengths)
    if layer.get("residual", False):
        merged = with_x(merged, x, False)
    return [merged, *both[0][1:], *both[1][1:]]


def run_dense(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    y = x.value @ weights["kernel"] + weights.get("bias", 0.0)
    return [Tensor(activation(layer.get("activation", "linear"))(y), x.lengths)]


def run_activation(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [Tensor(activation(layer["activation"])(inputs[0].value), inputs[0].lengths)]


def run_dropout(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [inputs[0]]  # outside training


def run_embedding(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [Tensor(weights["embeddings"][inputs[0].value], inputs[0].lengths)]


def run_layer_normalization(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    centred = x.value - x.value.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    y = centred / np.sqrt(variance + layer.get("epsilon", 1e-3))
    return [Tensor(y * weights.get("gamma", 1.0) + weights.get("beta", 0.0), x.lengths)]


def run_affine(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [Tensor(inputs[0].value * weights["gamma"] + weights.get("beta", 0.0), inputs[0].lengths)]


def run_rescaling(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    y = inputs[0].value * np.array(layer.get("scale", 1.0)) + np.array(layer.get("offset", 0.0))
    return [Tensor(y, inputs[0].lengths)]


def run_step(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), index = inputs, layer["index"]
    B, T, F = x.value.shape
    y = np.zeros((B, F))
    for b, steps in enumerate([T] * B if x.lengths is None else x.lengths):
        if -steps <= index < steps:
            y[b] = x.value[b, :steps][index]
    return [Tensor(y)]


def run_flip(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    B, T = x.value.shape[:2]
    y = np.zeros_like(x.value)
    for b, steps in enumerate([T] * B if x.lengths is None else x.lengths):
        y[b, :steps] = x.value[b, :steps][::-1]
    return [Tensor(y, x.lengths)]


def run_slice(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    return [Tensor(x.value[..., layer.get("start", 0) : layer.get("stop")], x.lengths)]


def run_batch_normalization(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    """As in inference: by the running statistics."""
    (x,) = inputs
    deviation = np.sqrt(weights["moving_variance"] + layer.get("epsilon", 1e-3))
    y = (x.value - weights["moving_mean"]) / deviation * weights.get("gamma", 1.0) + weights.get("beta", 0.0)
    return [Tensor(y, x.lengths)]


def run_prelu(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    return [Tensor(np.where(x.value > 0, x.value, weights["alpha"] * x.value), x.lengths)]


def run_parameter(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    value = np.asarray(weights["value"], float)
    while value.ndim and value.shape[0] == 1:
        value = value[0]
    value = value.reshape(value.shape or (1,))
    if not layer.get("beside"):
        return [Tensor(np.repeat(value[None], len(x.value), 0), None)]
    rest = (1,) * (x.value.ndim - 1 - value.ndim) + value.shape
    timed = x.value.ndim > 2
    shape = (*x.value.shape[: 2 if timed else 1], *rest[1 if timed else 0 :])
    return [Tensor(np.broadcast_to(value, shape).copy(), x.lengths if timed else None)]


def run_dot(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    """A time axis that is summed along ends at the rows' lengths."""
    names = ["bk", "bk"]
    values = []
    for i, (x, axis) in enumerate(zip(inputs, layer["axes"], strict=True)):
        value = x.value
        if value.ndim == 3:
            names[i] = "b" + ("k" if axis == 1 else "mn"[i]) + ("k" if axis == 2 else "mn"[i])
            if axis == 1 and x.lengths is not None:
                value = np.where(
                    np.arange(value.shape[1])[None, :, None] < np.asarray(x.lengths)[:, None, None], value, 0
                )
        values.append(value)
    kept = "".join(n for n in "mn" if n in names[0] + names[1])
    found = np.einsum(f"{names[0]},{names[1]}->b{kept}", *values)
    return [Tensor(found[:, None] if found.ndim == 1 else found, inputs[0].lengths)]


def run_broadcast(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    rank = max(x.value.ndim for x in inputs)
    values = [x.value.reshape(x.value.shape[0], *(1,) * (rank - x.value.ndim), *x.value.shape[1:]) for x in inputs]
    found = np.broadcast_arrays(*values)[0]
    timed = [x for x in inputs if x.value.ndim > 2]
    steps = next((x for x in timed if x.value.shape[1] != 1), timed[0] if timed else None)
    return [Tensor(found.copy(), None if steps is None else steps.lengths)]


def run_concatenate(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    axis = layer.get("axis", -1)
    value = np.concatenate([x.value for x in inputs], axis)
    along_time = axis == 1 and value.ndim > 2
    return [Tensor(value, None if along_time else next((x.lengths for x in inputs if x.lengths is not None), None))]


def joined(combine: Callable[[list[Array]], Array]) -> Callable[..., list[Tensor]]:
    def run_join(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
        lengths = next((x.lengths for x in inputs if x.lengths is not None), None)
        return [Tensor(combine([x.value for x in inputs]), lengths)]

    return run_join


def run_lambda(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    lengths = next((x.lengths for x in inputs if x.lengths is not None), None)
    return [Tensor(value, lengths) for value in evaluate(layer["equations"], [x.value for x in inputs])]


LAYERS: dict[str, Callable[..., list[Tensor]]] = {
    **dict.fromkeys(("Conv1D", "DepthwiseConv1D"), run_convolution),
    "Conv1DTranspose": run_transposed,
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D"), run_conv_lstm),
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), run_pooling),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), run_global_pooling),
    **dict.fromkeys(("UpSampling1D", "Cropping1D", "ZeroPadding1D", "Padding1D"), run_resampling),
    **dict.fromkeys(("Flatten", "Reshape", "Permute", "RepeatVector"), run_reshaping),
    **dict.fromkeys((*CELLS, "RNN"), run_recurrent),
    "Bidirectional": run_bidirectional,
    "GatedLinearAttention": run_matrix,
    "MLSTM": run_matrix,
    "SelectiveSSM": run_matrix,
    "Attention": run_attention,
    "AdditiveAttention": run_attention,
    "MultiHeadAttention": run_heads,
    "GroupQueryAttention": run_heads,
    "PositionEmbedding": run_position_embedding,
    "SinePositionEncoding": run_sine_encoding,
    "RotaryEmbedding": run_rotary,
    "Dense": run_dense,
    "Activation": run_activation,
    "Dropout": run_dropout,
    "Embedding": run_embedding,
    **dict.fromkeys(
        ("SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"), run_dropout
    ),
    "BatchNormalization": run_batch_normalization,
    "PReLU": run_prelu,
    "CRF": run_crf,
    "Broadcast": run_broadcast,
    "Parameter": run_parameter,
    "Dot": run_dot,
    "Concatenate": run_concatenate,
    "Add": joined(lambda values: np.sum(values, axis=0)),
    "Multiply": joined(lambda values: np.prod(values, axis=0)),
    "Subtract": joined(lambda values: values[0] - values[1]),
    "Divide": joined(lambda values: values[0] / values[1]),
    "Lambda": run_lambda,
    "LayerNormalization": run_layer_normalization,
    "Affine": run_affine,
    "Rescaling": run_rescaling,
    "Step": run_step,
    "Slice": run_slice,
    "Flip": run_flip,
}


def run(
    spec: Spec, weights: Mapping[str, Any], inputs: Sequence[Any], lengths: Sequence[Any] | None = None
) -> list[Array]:
    """The outputs of a whole model. inputs and lengths follow spec["inputs"], the result follows spec["outputs"]."""
    tensors: dict[str, Tensor] = {}
    for name, value, steps in zip(spec["inputs"], inputs, lengths or [None] * len(inputs), strict=True):
        value = np.asarray(value)
        tensors[name] = Tensor(value if value.dtype.kind == "i" else value.astype(np.float64), steps)
    for layer in spec["layers"]:
        if layer["type"] == "Input":
            continue
        prefix = layer["name"] + "/"
        own = {name[len(prefix) :]: np.asarray(w, np.float64) for name, w in weights.items() if name.startswith(prefix)}
        outputs = LAYERS[layer["type"]](layer, own, [tensors[source] for source in layer["inputs"]])
        for k, output in enumerate(outputs):
            tensors[f"{layer['name']}:{k}"] = output
        tensors[layer["name"]] = outputs[0]
    return [tensors[name].value for name in spec["outputs"]]


# --------------------------------------------------------------------------------------------------------------- losses


def huber(error: Array, delta: float) -> Array:
    return np.where(np.abs(error) <= delta, error**2 / 2, delta * (np.abs(error) - delta / 2))


def loss_values(loss: Spec, y: Array, target: Array) -> Array:
    """The loss of every row, or of every (row, step): y.shape without its last axis."""
    name, from_logits = loss["name"], loss.get("from_logits", False)
    if name == "mean_squared_error":
        return np.mean((y - target) ** 2, axis=-1)
    if name == "mean_absolute_error":
        return np.mean(np.abs(y - target), axis=-1)
    if name == "huber":
        return np.mean(huber(y - target, loss.get("delta", 1.0)), axis=-1)
    if name == "binary_crossentropy":
        p = sigmoid(y) if from_logits else y
        return np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p), axis=-1)
    p = softmax(y) if from_logits else y
    if name == "categorical_crossentropy":
        return -np.sum(target * np.log(p), axis=-1)
    if name == "sparse_categorical_crossentropy":
        return -np.log(np.take_along_axis(p, np.asarray(target)[..., None], axis=-1)[..., 0])
    raise ValueError(f"no reference for the loss {name}")


def loss(
    given: Spec, y: Array, target: Any, lengths: NDArray[Any] | None = None, sample_weight: NDArray[Any] | None = None
) -> float:
    """Σ weight · value / number of valid (row, step) pairs; steps past a row's length are left out."""
    values = loss_values(given, y, np.asarray(target))
    if sample_weight is not None:
        weight = np.asarray(sample_weight, np.float64)
        values = values * weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim))
    if lengths is not None and values.ndim == 2:
        values = values[np.arange(values.shape[1]) < np.asarray(lengths)[:, None]]
    return float(np.sum(values) / max(values.size, 1))


# ---------------------------------------------------------------------------------------------------------- derivatives


def numeric_gradient(f: Callable[[Array], float], x: Any, eps: float = 1e-6) -> Array:
    """df/dx by central differences, element by element: good to about 1e-9 of f where f is smooth."""
    x = np.array(x, np.float64)
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + eps
        above = f(x)
        x[i] = kept - eps
        below = f(x)
        x[i] = kept
        gradient[i] = (above - below) / (2 * eps)
    return gradient


def directional_derivative(f: Callable[[Array], float], x: Any, direction: Array, eps: float = 1e-6) -> float:
    """Σ df/dx · direction: two evaluations, whatever the size of x."""
    x = np.asarray(x, np.float64)
    return (f(x + eps * direction) - f(x - eps * direction)) / (2 * eps)
