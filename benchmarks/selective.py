"""SelectiveSSM, the whole block, against the same block of the peers that are installed, in turns in one run.

    python -m benchmarks.selective                    # two minutes
    python -m benchmarks.selective --threads 1 --json selective.json

mambapy: on torch, its parallel scan by pscan. jax: lax.scan over the steps, jitted, products of the input before it.
"products": our own layer with one state a channel, which is little more than its products. Exit status 0 in any case.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from typing import Any

import numpy as np

import rekur
from benchmarks.turns import Turn, in_turns
from rekur import _core, layers

SHAPES = [(16, 100, 64), (1, 1000, 128), (8, 200, 128), (16, 100, 256)]  # B, T, F
STATES = 16

Calls = tuple[Callable[[], object], Callable[[], object]]  # inference, training


def ours(x: np.ndarray, states: int) -> Calls:
    layer = layers.SelectiveSSM(states, return_sequences=True, input_shape=x.shape[1:])
    model = rekur.Sequential([layer], seed=1)
    model.compile("sgd", "mse")
    y = np.zeros_like(x)
    return lambda: model.predict_on_batch(x), lambda: model.train_on_batch(x, y)


def mambapy(x: np.ndarray, threads: int) -> Calls:
    import torch
    from mambapy.mamba import MambaBlock, MambaConfig

    torch.set_num_threads(threads)
    block = MambaBlock(MambaConfig(d_model=x.shape[2], n_layers=1, d_state=STATES))
    optimizer, given = torch.optim.SGD(block.parameters(), 0.01), torch.from_numpy(x)

    def infer() -> object:
        with torch.inference_mode():
            return block(given)

    def train() -> None:
        optimizer.zero_grad()
        (block(given) ** 2).mean().backward()
        optimizer.step()

    return infer, train


def with_jax(x: np.ndarray, threads: int) -> Calls:
    import jax
    import jax.numpy as jnp

    F, E, R = x.shape[2], 2 * x.shape[2], -(-x.shape[2] // 16)
    rng = np.random.default_rng(0)
    shapes = [(F, 2 * E), (4, E), (E,), (E, R + 2 * STATES), (R, E), (E,), (STATES, E), (E,), (E, F)]
    weights = [jnp.asarray(0.1 * rng.standard_normal(shape), jnp.float32) for shape in shapes]

    def layer(w: Any, x: Any) -> Any:
        kernel, taps, offset, selection, dt_kernel, dt_bias, A_log, D, output = w
        v, z = jnp.split(x @ kernel, 2, axis=-1)
        padded = jnp.pad(v, ((0, 0), (3, 0), (0, 0)))
        u = jax.nn.silu(sum(taps[j] * padded[:, j : j + x.shape[1]] for j in range(4)) + offset)
        r, B, C = jnp.split(u @ selection, (R, R + STATES), axis=-1)
        dt, A = jax.nn.softplus(r @ dt_kernel + dt_bias), -jnp.exp(A_log)

        def step(h: Any, now: Any) -> Any:
            dt, u, B, C = now
            h = jnp.exp(dt[:, None] * A) * h + B[:, :, None] * (dt * u)[:, None]
            return h, jnp.einsum("bn,bne->be", C, h)

        times = [jnp.swapaxes(a, 0, 1) for a in (dt, u, B, C)]
        _, y = jax.lax.scan(step, jnp.zeros((x.shape[0], STATES, E)), times)
        return ((jnp.swapaxes(y, 0, 1) + D * u) * jax.nn.silu(z)) @ output

    given = jnp.asarray(x)
    infer = jax.jit(layer)
    gradient = jax.jit(jax.grad(lambda w, x: jnp.mean(layer(w, x) ** 2)))
    return lambda: infer(weights, given).block_until_ready(), lambda: jax.block_until_ready(gradient(weights, given))


PEERS: dict[str, Callable[[np.ndarray, int], Calls]] = {"mambapy": mambapy, "jax": with_jax}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--seconds", type=float, default=0.8, help="for a contender and shape")
    parser.add_argument("--json", help="a file for the figures")
    args = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {_core.isa()}")
    rows = []
    for threads in map(int, args.threads.split(",")):
        for shape in SHAPES:
            x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
            calls = {"ours": ours(x, STATES), "products": ours(x, 1)}
            for name, peer in PEERS.items():
                try:
                    calls[name] = peer(x, threads)
                except ImportError as missing:
                    print(f"{name}: {missing}")
            for mode, what in enumerate(("inference", "training")):
                turns = {name: Turn(call[mode], threads) for name, call in calls.items()}
                least = {name: min(times) for name, times in in_turns(turns, args.seconds, 3).items()}
                rows.append({"shape": shape, "threads": threads, "mode": what, "seconds": least})
                figures = "  ".join(f"{name} {1e3 * s:8.2f} ms ({s / least['ours']:5.2f})" for name, s in least.items())
                print(f"{threads} {shape!s:16} {what:9} {figures}", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
