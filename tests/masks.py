"""The masks that recurrent layers draw in training, from the counter-based generator's definition, in NumPy.

Philox4x32-10 (Salmon et al., SC 2011): key = the model's seed; counter = (element / 4, stream, low and high word of the
step); element k takes word k % 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import reference

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = np.uint64(0xFFFFFFFF)


def uniforms(seed: int, step: int, stream: int, count: int) -> np.ndarray:
    """The first ``count`` numbers in [0, 1) of a stream."""
    blocks = -(-count // 4)
    c = [
        np.arange(blocks, dtype=np.uint64),
        *(np.full(blocks, v, np.uint64) for v in (stream, step & 0xFFFFFFFF, step >> 32)),
    ]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = c[0] * np.uint64(_MULTIPLIERS[0]), c[2] * np.uint64(_MULTIPLIERS[1])
        c = [
            (q >> np.uint64(32)) ^ c[1] ^ np.uint64(key[0]),
            q & _WORD,
            (p >> np.uint64(32)) ^ c[3] ^ np.uint64(key[1]),
            p & _WORD,
        ]
        key = [(k + w) & 0xFFFFFFFF for k, w in zip(key, _WEYL, strict=True)]
    words = np.stack(c, axis=1).reshape(-1)[:count]
    return (words >> np.uint64(8)).astype(np.float64) * 2.0**-24


def mask(
    rate: float, shape: tuple[int, ...], seed: int, step: int, layer: int, direction: int, purpose: int
) -> np.ndarray:
    """1/(1 − rate) where an element is kept, else 0. ``layer``: its place among the layers of the spec."""
    stream = layer + ((direction * 16 + purpose + 1) << 24)
    kept = uniforms(seed, step, stream, int(np.prod(shape))) >= np.float32(rate)
    scale = np.float64(np.float32(1) / (np.float32(1) - np.float32(rate)))
    return (kept * scale).reshape(shape)


def drawn(core: Mapping[str, Any], x: np.ndarray, seed: int, step: int, layer: int, direction: int) -> dict[str, Any]:
    """All masks of a direction of a recurrent layer that reads x (B, T, I), as the reference takes them."""
    (B, T, features), H = x.shape, core["units"]
    masks: dict[str, Any] = {}

    def own(rate: float, shape: tuple[int, ...], purpose: int) -> np.ndarray:
        return mask(rate, shape, seed, step, layer, direction, purpose)

    if rate := core.get("dropout", 0):
        # A mask a gate where the recurrent products have one, as in Keras; else one for all.
        gates = reference.recurrent_blocks(core) if core.get("recurrent_dropout", 0) and core["type"] != "RNN" else 1
        masks["x"] = own(rate, (B, gates, features), 0)
    if rate := core.get("recurrent_dropout", 0):
        masks["recurrent"] = own(rate, (B, reference.recurrent_blocks(core), H), 1)
    if zoneout := core.get("zoneout", 0):
        names = reference.state_names(core)
        rates = zoneout if isinstance(zoneout, Mapping) else dict.fromkeys(names, zoneout)
        masks["zoneout"] = {n: own(rates[n], (B, T, H), 2 + k) for k, n in enumerate(names) if rates.get(n, 0)}
    return masks


def with_masks(spec: Mapping[str, Any], x: np.ndarray, seed: int, step: int) -> dict[str, Any]:
    """The spec with the masks of a training pass in its one recurrent layer, which reads x."""
    layers = []
    for number, layer in enumerate(spec["layers"]):
        layer = dict(layer)
        if layer["type"] == "Bidirectional":
            both = ("forward", "backward")
            own = {name: drawn(layer["layer"], x, seed, step, number, d) for d, name in enumerate(both)}
            layer["layer"] = {**layer["layer"], "masks": own}
        elif "units" in layer:
            layer["masks"] = drawn(layer, x, seed, step, number, 0)
        layers.append(layer)
    return {**spec, "layers": layers}
