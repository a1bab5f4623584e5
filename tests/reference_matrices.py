"""Layers whose state is a matrix a head, or N numbers a channel, in float64, from the equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_basics import Array, Spec, Tensor, last_outputs, sigmoid


def rms_normalized(o: Array, gamma: Array, epsilon: float) -> Array:
    return gamma * o / np.sqrt(np.mean(o**2, axis=-1, keepdims=True) + epsilon)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def steps_read(layer: Spec, count: int) -> Iterable[int]:
    """The valid steps of a row, as a layer reads them."""
    return range(count)[::-1] if layer.get("reverse", False) else range(count)


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
        for t in steps_read(layer, T if lengths is None else int(lengths[b])):
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
        for t in steps_read(layer, T if lengths is None else int(lengths[b])):
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
        h, window = state[b, :N], list(state[b, N:])
        for t in steps_read(layer, T if lengths is None else int(lengths[b])):
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
