"""Recurrent networks in float64, from the layers' equations: what the engine is measured against.

Shares nothing with the engine and does nothing cleverly.
T time steps · B batch rows · I input features · H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur._trace import evaluate

Array = NDArray[np.float64]
Spec = Mapping[str, Any]

# ---------------------------------------------------------------------------------------------------------- activations


def sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True)) if x.size else x
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "linear": lambda x: x,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": lambda x: np.maximum(x, 0.0),
    "leaky_relu": lambda x, alpha=0.2: np.where(x > 0, x, alpha * x),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "hard_sigmoid": lambda x, alpha=1 / 6, beta=0.5: np.clip(alpha * x + beta, 0.0, 1.0),
    "affine": lambda x, alpha=1.0, beta=0.0: alpha * x + beta,
    "thresholded_relu": lambda x, alpha=1.0: np.where(x > alpha, x, 0.0),
    "scaled_tanh": lambda x, alpha=1.7159, beta=2 / 3: alpha * np.tanh(beta * x),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "softmax": softmax,
}


def activation(given: str | Spec) -> Callable[[Array], Array]:
    """The function of an activation as a spec gives it: a name, or an object with parameters."""
    if isinstance(given, str):
        return ACTIVATIONS[given]
    if "equations" in given:
        return lambda x: evaluate(given["equations"], [x])[0]
    parameters = {key: value for key, value in given.items() if key != "name"}
    return lambda x: ACTIVATIONS[given["name"]](x, **parameters)


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


class Tensor(NamedTuple):
    """A value and, where it has a time axis that came with lengths, those lengths."""

    value: Array
    lengths: NDArray[Any] | None = None


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


def rms_normalized(o: Array, gamma: Array, epsilon: float) -> Array:
    return gamma * o / np.sqrt(np.mean(o**2, axis=-1, keepdims=True) + epsilon)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def gated_linear_attention(
    layer: Spec,
    weights: Mapping[str, Array],
    x: Array,
    lengths: NDArray[Any] | None = None,
    initial: Array | None = None,
) -> tuple[Array, Array]:
    """(outputs (B, T, units), last states (B, H, K, V)), one row, step and head after the other."""
    H, K, mode = layer["num_heads"], layer["key_dim"], layer.get("mode", "gated")
    V = layer.get("value_dim", K)
    B, T = x.shape[:2]
    keys = {"gated": H * K, "gated_delta": H}.get(mode, 0)
    rates, gates = H * ("delta" in mode), H * V * layer.get("output_gate", True)
    sizes = np.cumsum([H * K, H * K, H * V, keys, rates, gates])
    S = np.zeros((B, H, K, V)) if initial is None else np.array(initial, np.float64).reshape(B, H, K, V)
    y = np.zeros((B, T, weights["output_kernel"].shape[1]))
    for b in range(B):
        for t in range(T if lengths is None else int(lengths[b])):
            p = x[b, t] @ weights["kernel"] + weights.get("bias", 0.0)
            q, k, v, a, beta, z = np.split(p, sizes[:-1])
            q, k, v = q.reshape(H, K), k.reshape(H, K), v.reshape(H, V)
            if "delta" in mode:
                q, k, v = silu(q), silu(k), silu(v)
                q = q / np.sqrt(np.sum(q**2, axis=-1, keepdims=True) + 1e-6)
                k = k / np.sqrt(np.sum(k**2, axis=-1, keepdims=True) + 1e-6)
            q = q / np.sqrt(K)
            decay = np.ones((H, 1))
            if keys:
                decay = (sigmoid(a) ** (1 / layer.get("decay_normalizer", 16.0))).reshape(H, -1)
            o = np.zeros((H, V))
            for h in range(H):
                before = decay[h][:, None] * S[b, h]
                added = v[h]
                if "delta" in mode:
                    added = sigmoid(beta[h]) * (v[h] - before.T @ k[h])
                S[b, h] = before + np.outer(k[h], added)
                o[h] = S[b, h].T @ q[h]
            m = rms_normalized(o, weights["gamma"], layer.get("epsilon", 1e-5)).reshape(H * V)
            if gates:
                m = m * silu(z)
            y[b, t] = m @ weights["output_kernel"] + weights.get("output_bias", 0.0)
    return y, S


def run_matrix(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    x, *initial = inputs
    rule = {"MLSTM": mlstm, "SelectiveSSM": selective_ssm}.get(layer["type"], gated_linear_attention)
    y, S = rule(layer, weights, x.value, x.lengths, initial[0].value if initial else None)
    main = (
        Tensor(y, x.lengths)
        if layer.get("return_sequences", False)
        else Tensor(last_outputs(y, x.lengths, layer.get("reverse", False)))
    )
    return [main, *([Tensor(S.reshape(len(S), -1))] if layer.get("return_state", False) else [])]


def mlstm(
    layer: Spec,
    weights: Mapping[str, Array],
    x: Array,
    lengths: NDArray[Any] | None = None,
    initial: Array | None = None,
) -> tuple[Array, Array]:
    """(outputs (B, T, units), last states (B, H, K·(V+1)+1)), by the paper's equations without a scale, (19) to (27).

    m only says by which number C and n are divided when they are handed over.
    """
    H, K = layer["num_heads"], layer["key_dim"]
    V = layer.get("value_dim", K)
    B, T = x.shape[:2]
    gates = H * V * layer.get("output_gate", True)
    sizes = np.cumsum([H * K, H * K, H * V, H, gates, H])
    bias = np.concatenate([weights["bias"], weights["forget_bias"]]) if "bias" in weights else 0.0
    state = np.zeros((B, H, K * (V + 1) + 1)) if initial is None else np.array(initial, np.float64).reshape(B, H, -1)
    scale = state[:, :, -1:].copy()
    C = (state[:, :, :-1] * np.exp(scale)).reshape(B, H, K, V + 1)
    C, n = C[..., :V].copy(), C[..., V].copy()
    y = np.zeros((B, T, weights["output_kernel"].shape[1]))
    for b in range(B):
        for t in range(T if lengths is None else int(lengths[b])):
            q, k, v, i, z, f = np.split(x[b, t] @ weights["kernel"] + bias, sizes[:-1])
            q, k, v = q.reshape(H, K), k.reshape(H, K) / np.sqrt(K), v.reshape(H, V)
            h = np.zeros((H, V))
            for head in range(H):
                forget, enter = sigmoid(f[head]), np.exp(i[head])
                C[b, head] = forget * C[b, head] + enter * np.outer(k[head], v[head])
                n[b, head] = forget * n[b, head] + enter * k[head]
                h[head] = C[b, head].T @ q[head] / max(abs(n[b, head] @ q[head]), 1.0)
                scale[b, head] = max(np.log(forget) + scale[b, head, 0], i[head])
            h = h - h.mean(axis=-1, keepdims=True)
            m = rms_normalized(h, weights["gamma"].reshape(H, V), layer.get("epsilon", 1e-5)).reshape(H * V)
            if gates:
                m = m * sigmoid(z)
            y[b, t] = m @ weights["output_kernel"] + weights.get("output_bias", 0.0)
    scaled = np.concatenate([C, n[..., None]], axis=-1).reshape(B, H, -1) * np.exp(-scale)
    return y, np.concatenate([scaled, scale], axis=-1)


def selective_ssm(
    layer: Spec,
    weights: Mapping[str, Array],
    x: Array,
    lengths: NDArray[Any] | None = None,
    initial: Array | None = None,
) -> tuple[Array, Array]:
    """(outputs (B, T, units), last states (B, N + K - 1, E)), by Mamba's equations one number at a time."""
    B, T = x.shape[:2]
    N, E = weights["A_log"].shape
    K, R = weights["convolution"].shape[0], weights["dt_kernel"].shape[0]
    state = np.zeros((B, N + K - 1, E)) if initial is None else np.array(initial, np.float64).reshape(B, -1, E)
    y = np.zeros((B, T, weights["output_kernel"].shape[1]))
    for b in range(B):
        steps = range(T if lengths is None else int(lengths[b]))
        h, window = state[b, :N], list(state[b, N:])
        for t in reversed(steps) if layer.get("reverse", False) else steps:
            p, z = np.split(x[b, t] @ weights["kernel"] + weights.get("bias", 0.0), 2)
            window.append(p)
            v = sum(w * past for w, past in zip(weights["convolution"], window, strict=True))
            u = silu(v + weights.get("convolution_bias", 0.0))
            window = window[1:]
            r, enters, reads = np.split(u @ weights["selection_kernel"], [R, R + N])
            delta = np.logaddexp(0.0, r @ weights["dt_kernel"] + weights["dt_bias"])
            h = np.exp(-delta * np.exp(weights["A_log"])) * h + np.outer(enters, delta * u)
            o = (reads @ h + weights["D"] * u) * silu(z)
            y[b, t] = o @ weights["output_kernel"] + weights.get("output_bias", 0.0)
        state[b] = np.concatenate([h, np.reshape(window, (K - 1, E))])
    return y, state


def last_outputs(y: Array, lengths: NDArray[Any] | None, reverse: bool = False) -> Array:
    """Of every row that of its last step, read from the end its first; zeros for one without."""
    B, T, U = y.shape
    steps = np.full(B, T) if lengths is None else np.asarray(lengths)
    return np.array([y[b, 0 if reverse else n - 1] if n else np.zeros(U) for b, n in enumerate(steps)]).reshape(B, U)


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


def attention_scores(layer: Spec, weights: Mapping[str, Array], q: Array, k: Array) -> Array:
    """Of every pair of steps, (B, Tq, Tv), for layers of one head."""
    if layer["type"] == "Attention" and layer.get("score_mode", "dot") == "dot":
        return weights.get("scale", 1.0) * np.einsum("bqi,bki->bqk", q, k)
    pairs = q[:, :, None] + k[:, None]
    if layer["type"] == "Attention":
        return weights["concat_score_weight"] * np.tanh(weights.get("scale", 1.0) * pairs).sum(axis=-1)
    return (weights.get("scale", 1.0) * np.tanh(pairs)).sum(axis=-1)


def seen_steps(layer: Spec, query: Tensor, value: Tensor) -> NDArray[np.bool_]:
    """Which values each step of the query sees, (B, Tq, Tv)."""
    B, Tq, Tv = len(query.value), query.value.shape[1], value.value.shape[1]
    t, s = np.arange(Tq)[:, None], np.arange(Tv)
    seen = np.ones((B, Tq, Tv), bool)
    if layer.get("use_causal_mask", False):
        seen &= s <= t
    if layer.get("sliding_window") is not None:
        seen &= np.abs(t - s) < layer["sliding_window"]
    if value.lengths is not None:
        seen &= s < np.asarray(value.lengths)[:, None, None]
    if query.lengths is not None:
        seen &= t < np.asarray(query.lengths)[:, None, None]
    return seen


def weights_of_seen(scores: Array, seen: NDArray[np.bool_]) -> Array:
    """softmax over what is seen; zeros for a query that sees nothing."""
    largest = np.max(np.where(seen, scores, -np.inf), axis=-1, keepdims=True, initial=-1e300)
    grown = np.where(seen, np.exp(np.where(seen, scores - largest, 0.0)), 0.0)
    total = grown.sum(axis=-1, keepdims=True)
    return grown / np.where(total == 0, 1.0, total)


def run_attention(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    query, value, key = inputs[0], inputs[1], inputs[-1]
    share = weights_of_seen(attention_scores(layer, weights, query.value, key.value), seen_steps(layer, query, value))
    outputs = [Tensor(share @ value.value, query.lengths)]
    return [*outputs, Tensor(share, query.lengths)] if layer.get("return_attention_scores", False) else outputs


def run_heads(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    query, value, key = inputs[0], inputs[1], inputs[-1]

    def project(part: str, x: Array) -> Array:
        y = np.einsum("btf,fhk->bhtk", x, weights[f"{part}/kernel"])
        return y + weights[f"{part}/bias"][:, None] if f"{part}/bias" in weights else y

    q, k, v = project("query", query.value), project("key", key.value), project("value", value.value)
    k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("bhqi,bhki->bhqk", q, k) / np.sqrt(q.shape[-1])
    share = weights_of_seen(scores, seen_steps(layer, query, value)[:, None])
    y = np.einsum("bhqv,hvu->bqu", share @ v, weights["attention_output/kernel"])
    outputs = [Tensor(y + weights.get("attention_output/bias", 0.0), query.lengths)]
    return [*outputs, Tensor(share)] if layer.get("return_attention_scores", False) else outputs


def run_position_embedding(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    rows = weights["embeddings"][: x.value.shape[1]]
    return [Tensor(np.broadcast_to(rows, x.value.shape).copy(), x.lengths)]


def run_sine_encoding(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    feature = np.arange(x.value.shape[2])
    angles = np.arange(x.value.shape[1])[:, None] / layer.get("max_wavelength", 1e4) ** (
        feature // 2 * 2 / len(feature)
    )
    y = np.where(feature % 2 == 0, np.sin(angles), np.cos(angles))
    return [Tensor(np.broadcast_to(y, x.value.shape).copy(), x.lengths)]


def run_rotary(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    half = x.value.shape[-1] // 2
    frequencies = layer.get("max_wavelength", 1e4) ** (-np.arange(half) / half)
    angles = np.arange(x.value.shape[1])[:, None] / layer.get("scaling_factor", 1.0) * frequencies
    turns = np.exp(1j * angles.reshape(len(angles), *[1] * (x.value.ndim - 3), half))
    y = (x.value[..., :half] + 1j * x.value[..., half:]) * turns
    return [Tensor(np.concatenate([y.real, y.imag], axis=-1), x.lengths)]


# ------------------------------------------------------------------------------------------------ windows, other shapes


def lengths_of(x: Tensor) -> list[int]:
    return [x.value.shape[1]] * len(x.value) if x.lengths is None else [int(n) for n in x.lengths]


def without_padding(x: Tensor) -> Array:
    """Zeros past the rows' lengths."""
    value = x.value.copy()
    for b, steps in enumerate(lengths_of(x)):
        value[b, steps:] = 0.0
    return value


def windows_of(layer: Spec, steps: int) -> tuple[int, int, int, int, int]:
    """(taps, stride, dilation, steps before the first, windows) over so many steps."""
    taps = layer.get("kernel_size", layer.get("pool_size", 2))
    stride = layer.get("strides", 1 if "kernel_size" in layer else taps)
    dilation, padding = layer.get("dilation_rate", 1), layer.get("padding", "valid")
    span = (taps - 1) * dilation + 1
    if padding == "valid":
        return taps, stride, dilation, 0, max((steps - span) // stride + 1, 0)
    count = -(-steps // stride)
    before = span - 1 if padding == "causal" else max((count - 1) * stride + span - steps, 0) // 2
    return taps, stride, dilation, before, count


def run_convolution(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), kernel = inputs, weights["kernel"]
    B, T, F = x.value.shape
    if layer["type"] == "DepthwiseConv1D":
        kernel, groups = kernel.reshape(len(kernel), 1, -1), F
    else:
        groups = layer.get("groups", 1)
    each, filters = F // groups, kernel.shape[2]
    y = np.zeros((B, windows_of(layer, T)[4], filters))
    for b, steps in enumerate(lengths_of(x)):
        taps, stride, dilation, before, _ = windows_of(layer, steps)
        for t in range(y.shape[1]):
            for k in range(taps):
                s = t * stride + k * dilation - before
                for n in range(filters) if 0 <= s < steps else ():
                    first = n // (filters // groups) * each
                    y[b, t, n] += x.value[b, s, first : first + each] @ kernel[k, :, n]
    y = activation(layer.get("activation", "linear"))(y + weights.get("bias", 0.0))
    return [Tensor(y, None if x.lengths is None else np.array([windows_of(layer, n)[4] for n in x.lengths]))]


def convolved(x: Array, kernel: Array, strides: Sequence[int], dilation: Sequence[int], same: bool) -> Array:
    """Images (B, positions…, C) through windows of a kernel (taps…, C, filters)."""
    space, taps = x.shape[1:-1], kernel.shape[:-2]
    spans = [(k - 1) * d + 1 for k, d in zip(taps, dilation, strict=True)]
    missing = [0] * len(space)
    if same:
        missing = [max((-(-n // s) - 1) * s + w - n, 0) for n, s, w in zip(space, strides, spans, strict=True)]
    x = np.pad(x, [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)])
    last = [n - w + 1 for n, w in zip(x.shape[1:-1], spans, strict=True)]  # positions where a window begins
    y = np.float64(0.0)
    for tap in np.ndindex(*taps):
        places = zip(tap, dilation, last, strides, strict=True)
        y = y + x[(slice(None), *(slice(k * d, k * d + n, s) for k, d, n, s in places))] @ kernel[tap]
    return y


def run_conv_lstm(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    """``masks`` of a training pass: "x" (B, positions…, 4, C) and "recurrent" (B, positions…, 4, filters)."""
    x, *given = inputs
    rank, masks = x.value.ndim - 3, layer.get("masks", {})
    ones = [1] * rank
    strides, dilation = (np.broadcast_to(layer.get(key, 1), rank).tolist() for key in ("strides", "dilation_rate"))
    kernels = np.split(weights["kernel"], 4, axis=-1)
    recurrent = np.split(weights["recurrent_kernel"], 4, axis=-1)
    biases = np.split(weights.get("bias", np.zeros(4 * layer["filters"])), 4)
    gate, inner = activation(layer.get("recurrent_activation", "sigmoid")), activation(layer.get("activation", "tanh"))

    def sums(rows: Any, time: Any, h: Array) -> list[Array]:
        parts = []
        for k in range(4):
            seen, kept = x.value[rows, time], h
            if "x" in masks:
                seen = seen * masks["x"][rows][..., k, :]
            if "recurrent" in masks:
                kept = h * masks["recurrent"][rows][..., k, :]
            part = convolved(seen, kernels[k], strides, dilation, layer.get("padding", "valid") == "same")
            parts.append(part + convolved(kept, recurrent[k], ones, ones, True) + biases[k])
        return parts

    B, T = x.value.shape[:2]
    same = layer.get("padding", "valid") == "same"
    shape = (B, *convolved(x.value[:, 0], kernels[0], strides, dilation, same).shape[1:-1], layer["filters"])
    h, c = (given[k].value.copy() if k < len(given) else np.zeros(shape) for k in range(2))
    steps = np.array(lengths_of(x))
    y = np.zeros((B, T, *shape[1:]))
    for k in range(T):
        rows = np.flatnonzero(k < steps)
        time = steps[rows] - 1 - k if layer.get("reverse", False) else np.full(len(rows), k)
        i, f, g, o = sums(rows, time, h[rows])
        c[rows] = gate(f) * c[rows] + gate(i) * inner(g)
        h[rows] = gate(o) * inner(c[rows])
        y[rows, time] = h[rows]
    main = Tensor(y, x.lengths) if layer.get("return_sequences", False) else Tensor(h)
    return [main, *([Tensor(h), Tensor(c)] if layer.get("return_state", False) else [])]


def run_transposed(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    """All that the steps reach; then Keras's share of it."""
    (x,), kernel = inputs, weights["kernel"]
    (B, T, _), taps, stride = x.value.shape, layer["kernel_size"], layer.get("strides", 1)
    dilation, more, same = layer.get("dilation_rate", 1), layer.get("output_padding"), layer.get("padding") == "same"
    span = (taps - 1) * dilation + 1

    def steps_of(n: int) -> int:
        if n == 0:
            return 0
        if more is not None:
            return (n - 1) * stride + (span % 2 if same else span) + more
        return n * stride + (0 if same else max(span - stride, 0))

    kept = stride + span - 2 if more is None else span + span % 2 - 2 + more
    cut = span - 1 - min((kept + 1) // 2, span - 1) if same else 0
    whole = np.zeros((B, T * stride + 2 * span + stride, kernel.shape[1]))
    for b, steps in enumerate(lengths_of(x)):
        for t in range(steps):
            for k in range(taps):
                whole[b, t * stride + k * dilation] += kernel[k] @ x.value[b, t]
    y = whole[:, cut : cut + steps_of(T)]
    y = activation(layer.get("activation", "linear"))(y + weights.get("bias", 0.0))
    return [Tensor(y, None if x.lengths is None else np.array([steps_of(n) for n in x.lengths]))]


def run_pooling(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), combine = inputs, np.max if "Max" in layer["type"] else np.mean
    B, T, F = x.value.shape
    y = np.zeros((B, windows_of(layer, T)[4], F))
    for b, steps in enumerate(lengths_of(x)):
        taps, stride, _, before, _ = windows_of(layer, steps)
        for t in range(y.shape[1]):
            part = x.value[b, max(t * stride - before, 0) : max(min(t * stride - before + taps, steps), 0)]
            if len(part):
                y[b, t] = combine(part, axis=0)
    return [Tensor(y, None if x.lengths is None else np.array([windows_of(layer, n)[4] for n in x.lengths]))]


def run_global_pooling(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), combine = inputs, np.max if "Max" in layer["type"] else np.mean
    y = np.zeros((len(x.value), x.value.shape[2]))
    for b, steps in enumerate(lengths_of(x)):
        if steps:
            y[b] = combine(x.value[b, :steps], axis=0)
    return [Tensor(y[:, None] if layer.get("keepdims", False) else y)]


def run_resampling(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), value = inputs, without_padding(inputs[0])
    T, up = value.shape[1], layer.get("size", 2) if layer["type"] == "UpSampling1D" else 1

    def steps_of(n: int) -> int:
        more = -sum(layer.get("cropping", ())) + sum(layer.get("padding", ()))
        return max(n * up + more, 0) if n else 0

    if layer["type"] == "UpSampling1D":
        value = np.repeat(value, up, axis=1)
    elif layer["type"] == "Cropping1D":
        value = value[:, layer["cropping"][0] :][:, : steps_of(T)]
    elif T:
        value = np.pad(value, ((0, 0), tuple(layer["padding"]), (0, 0)))
    lengths = x.lengths
    if lengths is not None:
        lengths = np.array(
            [n * layer.get("size", 2) if layer["type"] == "UpSampling1D" else steps_of(n) for n in lengths]
        )
    return [Tensor(value, lengths)]


def run_reshaping(layer: Spec, weights: Mapping[str, Array], inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    B, value = len(x.value), without_padding(x) if x.value.ndim > 2 else x.value
    if layer["type"] == "RepeatVector":
        return [Tensor(np.repeat(value[:, None], layer["n"], axis=1))]
    if layer["type"] == "Permute":
        return [Tensor(value.transpose(0, *layer["dims"]))]
    row = value.shape[1:]
    target = [int(np.prod(row))] if layer["type"] == "Flatten" else list(layer["target_shape"])
    if -1 in target:
        target[target.index(-1)] = int(np.prod(row)) // max(-int(np.prod(target)), 1)
    return [Tensor(value.reshape(B, *target))]


LAYERS: dict[str, Callable[..., list[Tensor]]] = {
    **dict.fromkeys(("Conv1D", "DepthwiseConv1D"), run_convolution),
    "Conv1DTranspose": run_transposed,
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D"), run_conv_lstm),
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), run_pooling),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), run_global_pooling),
    **dict.fromkeys(("UpSampling1D", "Cropping1D", "ZeroPadding1D"), run_resampling),
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
    "Broadcast": run_broadcast,
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
