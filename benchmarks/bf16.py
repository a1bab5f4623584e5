"""Products of bf16 beside float32 and torch's bfloat16, inference and training: lines of benchmarks.precision.

A training step is forward, the mean square of the outputs' distance from given ones, backward and SGD. torch's layer is
of bfloat16 as a whole, weights and optimiser too, which is the quickest that it has; ours keeps float32 weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

import rekur
from benchmarks import one_layer
from benchmarks.case import CELLS
from benchmarks.turns import Turn, in_turns
from rekur import _core

KINDS = ("lstm", "gru", "rnn", "dense")  # whose products are of bf16
TRAINING, INFERENCE = 1.5, 1.6  # bars over float32 where H >= 256 and B >= 32
Step = Callable[[], Any]


def targets(shape: one_layer.Shape) -> np.ndarray:
    B, T, _, H = shape
    return np.random.default_rng(2).standard_normal((B, T, H)).astype(np.float32)


def ours(kind: str, shape: one_layer.Shape, training: bool) -> dict[str, Step]:
    x, y = one_layer.input_of(shape), targets(shape)
    steps: dict[str, Step] = {}
    for precision in ("float32", "bf16"):
        model = one_layer.model_of(kind, shape, precision)
        if training:
            model.compile(rekur.optimizers.SGD(1e-3), "mse")
            steps[precision] = lambda model=model: model.train_on_batch(x, y)  # type: ignore[misc]
        else:
            engine = model._engine()
            steps[precision] = lambda engine=engine: engine.predict([x])[0]  # type: ignore[misc]
    return steps


def torch_training(kind: str, shape: one_layer.Shape) -> Step:
    import torch

    layer = one_layer.torch_layer(kind, shape).train().bfloat16()
    optimizer = torch.optim.SGD(layer.parameters(), 1e-3)
    x, y = torch.from_numpy(one_layer.input_of(shape)).bfloat16(), torch.from_numpy(targets(shape)).bfloat16()

    def step() -> None:
        optimizer.zero_grad()
        out = layer(x)
        out = out[0] if kind in CELLS else out
        torch.nn.functional.mse_loss(out, y).backward()
        optimizer.step()

    return step


def torch_inference(kind: str, shape: one_layer.Shape) -> Step:
    import torch

    layer = one_layer.torch_layer(kind, shape).bfloat16()
    return one_layer.torch_step(kind, layer, torch.from_numpy(one_layer.input_of(shape)).bfloat16())


def contenders(kind: str, shape: one_layer.Shape, training: bool, threads: int, peers: list[str]) -> dict[str, Step]:
    steps = ours(kind, shape, training)
    if "torch" in peers and find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        steps["torch bf16"] = torch_training(kind, shape) if training else torch_inference(kind, shape)
    return steps


def measure(
    report: one_layer.Report, kind: str, shape: one_layer.Shape, threads: int, peers: list[str], seconds: float
) -> None:
    """One layer's lines: what a contender takes of the time of our bf16, and how far it is from float32."""
    where, name = f"{_core.isa()} {threads}t", one_layer.NAMES[kind]
    large = shape[0] >= 32 and shape[3] >= 256
    for training in (False, True):
        steps = contenders(kind, shape, training, threads, peers)
        times = in_turns(
            {who: Turn(step, threads) for who, step in steps.items()}, seconds, one_layer.ROUNDS, bursts=one_layer.CALLS
        )
        best = {who: min(all_of) for who, all_of in times.items()}
        bars = {"float32": (TRAINING if training else INFERENCE) if large else 0, "torch bf16": 1.0}
        for who in (w for w in best if w != "bf16"):
            note = f"{1e3 * best['bf16']:.3f} ms, {who} {1e3 * best[who]:.3f}"
            part = "bf16 training" if training else "bf16"
            report.line(part, name, shape, where, who, best[who] / best["bf16"], bars[who], note)
        if training or threads > 1:
            continue
        outputs = {who: one_layer.array_of(step()).astype(np.float64) for who, step in steps.items()}
        far = {who: math.sqrt(float(np.mean((y - outputs["float32"]) ** 2))) for who, y in outputs.items()}
        if "torch bf16" in far:
            note = f"{far['bf16']:.1e}, torch bf16 {far['torch bf16']:.1e}"
            report.line("bf16 error", name, shape, where, "torch bf16", far["torch bf16"] / far["bf16"], 1.0, note)
