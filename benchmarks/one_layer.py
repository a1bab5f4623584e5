"""One layer at a time with given weights, ours and torch's, and a report of ratios: for benchmarks.precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import rekur
from benchmarks.case import CELLS, Case
from rekur import layers

Shape = tuple[int, int, int, int]
NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN", "dense": "Dense", "conv": "Conv1D"}
KERNEL = 5  # steps of a convolution's kernel
ROUNDS, CALLS = 5, 10**6  # every call is timed by itself, so that other work on the machine meets few


def weights_of(kind: str, shape: Shape) -> list[np.ndarray]:
    """Uniform in ±1/√n of the n numbers that a sum has."""
    B, T, features, H = shape
    if kind in CELLS:
        kernel, recurrent, bias = Case(kind, B, T, features, H, "infer", 1).weights()
        bias = {"gru": bias.reshape(2, -1)}.get(kind, bias.reshape(-1))
        return [kernel, recurrent, bias]
    rng = np.random.default_rng(1)
    size = (features, H) if kind == "dense" else (KERNEL, features, H)
    limit = 1 / math.sqrt(math.prod(size[:-1]))
    return [rng.uniform(-limit, limit, n).astype(np.float32) for n in (size, (H,))]


def layer_of(kind: str, H: int, precision: str) -> layers.Layer:
    if kind in CELLS:
        made: layers.Layer = getattr(layers, NAMES[kind])(H, return_sequences=True, precision=precision)
        return made
    if kind == "dense":
        return layers.Dense(H, precision=precision)
    return layers.Conv1D(H, KERNEL, padding="causal", precision=precision)


def model_of(kind: str, shape: Shape, precision: str = "float32") -> rekur.Model:
    layer = layer_of(kind, shape[3], precision)
    model = rekur.Sequential([rekur.Input((None, shape[2]), name="x"), layer], seed=1)
    model.set_weights(weights_of(kind, shape))
    return model


def input_of(shape: Shape) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape[:3]).astype(np.float32)


def torch_layer(kind: str, shape: Shape) -> Any:
    """torch's own layer with the same weights."""
    import torch

    features, H = shape[2:]
    kernel, *rest = weights_of(kind, shape)
    if kind in CELLS:
        layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](features, H, batch_first=True)
        order = {"lstm": (0, 1, 2, 3), "gru": (1, 0, 2), "rnn": (0,)}[kind]

        def blocks(array: np.ndarray) -> Any:
            split = array.reshape(*array.shape[:-1], -1, H)[..., list(order), :]
            return torch.from_numpy(np.ascontiguousarray(split.reshape(*array.shape[:-1], -1).T))

        recurrent, bias = rest
        biases = bias if kind == "gru" else np.stack([bias, np.zeros_like(bias)])
        values = [blocks(kernel), blocks(recurrent), blocks(biases[0]), blocks(biases[1])]
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.data.copy_(value)
        return layer.eval()
    if kind == "dense":
        layer = torch.nn.Linear(features, H)
        layer.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(kernel.T)))
    else:
        layer = torch.nn.Conv1d(features, H, KERNEL, padding=KERNEL - 1)
        layer.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(kernel.transpose(2, 1, 0))))
    layer.bias.data.copy_(torch.from_numpy(rest[0]))
    return layer.eval()


def torch_step(kind: str, layer: Any, x: Any) -> Callable[[], Any]:
    """A call of torch's layer without gradients: the outputs."""
    import torch

    def run() -> Any:
        with torch.inference_mode():
            if kind == "conv":  # (B, features, T), and only the steps that a causal one has
                return layer(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
            y = layer(x)
            return y[0] if kind in CELLS else y

    return run


def array_of(y: Any) -> np.ndarray:
    return y if isinstance(y, np.ndarray) else y.float().numpy()


class Report:
    """Lines with bars, and their rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def line(
        self, part: str, kind: str, shape: Shape, where: str, who: str, ratio: float, bar: float, note: str
    ) -> None:
        met = ratio >= bar
        self.rows.append(
            {"part": part, "kind": kind, "shape": shape, "where": where, "who": who, "ratio": ratio, "bar": bar}
            | {"met": met, "note": note}
        )
        sizes = ",".join(map(str, shape))
        verdict = f">= {bar:4.2f} {'ok' if met else 'MISSED'}" if bar else ""
        print(f"{part:13} {kind:9} {sizes:14} {where:12} {who:13} {ratio:6.2f} {verdict:15} {note}", flush=True)

    def summary(self) -> None:
        for part in dict.fromkeys(row["part"] for row in self.rows):
            rows = [row for row in self.rows if row["part"] == part and row["bar"]]
            if rows:
                mean = math.exp(sum(math.log(row["ratio"]) for row in rows) / len(rows))
                print(f"{part}: geometric mean {mean:.2f}; {sum(not row['met'] for row in rows)} of {len(rows)} missed")
