"""Attention and positions in float64, from the equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reference_basics import Array, Spec, Tensor


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
