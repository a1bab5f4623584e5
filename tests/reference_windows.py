"""Layers that look along time through windows, and ConvLSTM, in float64, from the equations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reference_basics import Array, Spec, Tensor, activation


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


def _row_padded(layer: Spec, row: Array, length: int) -> Array:
    """A row with steps before its first and behind its last one, zeros past those."""
    amounts, mode = tuple(layer["padding"]), layer.get("mode", "constant")
    made = np.zeros((len(row) + sum(amounts), row.shape[1]), row.dtype)
    if length:
        own = {"constant_values": layer.get("value", 0.0)} if mode == "constant" else {}
        made[: length + sum(amounts)] = np.pad(row[:length], (amounts, (0, 0)), mode, **own)
    return made


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
        value = np.stack(
            [_row_padded(layer, row, T if x.lengths is None else x.lengths[b]) for b, row in enumerate(value)]
        )
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
