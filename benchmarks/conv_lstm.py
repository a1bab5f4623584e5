"""ConvLSTM2D beside Keras on jax, and torch written out, where they are installed: python -m benchmarks.conv_lstm

One line a shape: milliseconds of inference, and of a pass forward and back with the gradients of all weights and of x.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import rekur
from benchmarks.conv import best
from rekur import layers

# rows, steps, height, width, channels, filters, kernel_size
SHAPES = [(4, 8, 32, 32, 1, 16, 3), (8, 10, 16, 16, 16, 32, 3), (2, 8, 32, 32, 64, 64, 3), (16, 20, 8, 8, 4, 8, 3)]


def ours(x: Any, F: int, K: int) -> tuple[Callable[[], object], Callable[[], object]]:
    source = rekur.Input(x.shape[1:])
    model = rekur.Model(source, layers.ConvLSTM2D(F, K, padding="same", return_sequences=True)(source))
    engine = model._engine()
    dy = np.ones_like(engine.predict([x])[0])

    def train() -> None:
        _, tape = engine.forward([x], None, 0, 0)
        engine.backward(tape, [dy])

    return lambda: engine.predict([x]), train


def keras_on_jax(x: Any, F: int, K: int) -> tuple[Callable[[], object], Callable[[], object]]:
    import jax
    import keras

    layer = keras.layers.ConvLSTM2D(F, K, padding="same", return_sequences=True)
    layer(x)
    weights, others = ([w.value for w in v] for v in (layer.trainable_variables, layer.non_trainable_variables))

    def total(weights: Any, x: Any) -> Any:
        return layer.stateless_call(weights, others, x)[0].sum()

    forward = jax.jit(lambda w, x: layer.stateless_call(w, others, x)[0])
    backward = jax.jit(jax.grad(total, argnums=(0, 1)))
    return lambda: forward(weights, x).block_until_ready(), lambda: jax.block_until_ready(backward(weights, x))


def torch_written_out(x: Any, F: int, K: int) -> tuple[Callable[[], object], Callable[[], object]]:
    import torch

    C = x.shape[-1]
    given = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 2))).requires_grad_()
    of_x = torch.nn.Conv2d(C, 4 * F, K, padding="same")
    of_h = torch.nn.Conv2d(F, 4 * F, K, padding="same", bias=False)

    def run() -> Any:
        B, T = given.shape[:2]
        sums = of_x(given.flatten(0, 1)).unflatten(0, (B, T))
        h = c = torch.zeros(B, F, *given.shape[3:])
        outputs = []
        for t in range(T):
            i, f, g, o = (sums[:, t] + of_h(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1)

    def forward() -> None:
        with torch.no_grad():
            run()

    return forward, lambda: run().sum().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    args = parser.parse_args()
    rekur.set_num_threads(args.threads)
    makers = {"rekur": ours}
    try:
        import torch
    except ImportError:
        pass
    else:
        torch.set_num_threads(args.threads)
        makers["torch"] = torch_written_out
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import jax
        import keras
    except ImportError:
        pass
    else:
        assert jax, keras
        makers["keras on jax"] = keras_on_jax
    for B, T, H, W, C, F, K in SHAPES:
        x = np.random.default_rng(0).standard_normal((B, T, H, W, C)).astype(np.float32)
        times = {name: [best(run, args.seconds) for run in make(x, F, K)] for name, make in makers.items()}
        shown = "; ".join(f"{name} {a * 1e3:.1f} and {b * 1e3:.1f} ms" for name, (a, b) in times.items())
        print(f"{B}x{T} {H}x{W} {C}->{F} k{K}: {shown}", flush=True)


if __name__ == "__main__":
    main()
