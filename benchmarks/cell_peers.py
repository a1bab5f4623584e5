"""LightGRU, which no library has built in, as other libraries run a cell of one's own.

jax: lax.scan over a fused step, the input's product of all steps before it, jitted. torch: the same loop, eager and as
TorchScript; torch.compile takes minutes a shape and is only measured when asked for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

Shape = tuple[int, int, int, int]  # B, T, I, H
Step = Callable[[], object]


def _numbers(shape: Shape) -> tuple[np.ndarray, ...]:
    B, T, features, H = shape
    rng = np.random.default_rng(0)
    sizes = ((B, T, features), (features, 2 * H), (H, 2 * H), (2 * H,))
    return tuple((0.1 * rng.standard_normal(size)).astype(np.float32) for size in sizes)


def jax_scan(shape: Shape, threads: int) -> dict[str, Step]:
    """jax decides about threads itself, from the cores that the process may use."""
    import jax
    import jax.numpy as jnp

    x, W, R, b = map(jnp.asarray, _numbers(shape))
    B, T, _, H = shape

    def layer(x, W, R, b):
        a = jnp.swapaxes(x, 0, 1) @ W + b

        def step(h, a):
            z, n = jnp.split(a + h @ R, 2, axis=-1)
            z = jax.nn.sigmoid(z)
            h = z * h + (1 - z) * jax.nn.relu(n)
            return h, h

        return jax.lax.scan(step, jnp.zeros((B, H)), a)[1]

    dy = jnp.ones((T, B, H))
    infer = jax.jit(layer)

    @jax.jit
    def train(x, W, R, b):
        y, back = jax.vjp(layer, x, W, R, b)
        return y, back(dy)

    return {
        "infer": lambda: infer(x, W, R, b).block_until_ready(),
        "train": lambda: jax.block_until_ready(train(x, W, R, b)),
    }


def _torch(shape: Shape, threads: int, how: str) -> dict[str, Step]:
    import torch

    torch.set_num_threads(threads)
    x, W, R, b = map(torch.from_numpy, _numbers(shape))
    B, T, _, H = shape

    def layer(x: torch.Tensor, W: torch.Tensor, R: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        a = x @ W + b
        h = torch.zeros(x.shape[0], R.shape[0])
        states: list[torch.Tensor] = []
        for t in range(x.shape[1]):
            z, n = (a[:, t] + h @ R).chunk(2, -1)
            z = torch.sigmoid(z)
            h = z * h + (1 - z) * torch.relu(n)
            states.append(h)
        return torch.stack(states, 1)

    run = {"eager": lambda f: f, "script": torch.jit.script, "compile": torch.compile}[how](layer)
    dy = torch.ones(B, T, H)
    leaves = [tensor.clone().requires_grad_(True) for tensor in (x, W, R, b)]

    def infer() -> object:
        with torch.no_grad():
            return run(x, W, R, b)

    def train() -> object:
        for leaf in leaves:
            leaf.grad = None
        run(*leaves).backward(dy)
        return leaves[0].grad

    return {"infer": infer, "train": train}


PEERS: dict[str, Callable[[Shape, int], dict[str, Step]]] = {
    "jax": jax_scan,
    "torch": lambda shape, threads: _torch(shape, threads, "eager"),
    "script": lambda shape, threads: _torch(shape, threads, "script"),
    "compile": lambda shape, threads: _torch(shape, threads, "compile"),
}


def installed(name: str) -> bool:
    return importlib.util.find_spec("jax" if name == "jax" else "torch") is not None
