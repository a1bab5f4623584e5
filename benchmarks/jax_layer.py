"""rekur.jax against a jitted lax.scan of the same cell, in turns: forward, and gradients of parameters and x.

python -m benchmarks.jax_layer [--threads 1,2] [--cells lstm,gru,rnn] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
from collections.abc import Callable
from typing import Any

import rekur
from benchmarks.case import Case
from benchmarks.native import ALL_CORES
from benchmarks.turns import Turn, in_turns
from rekur import _core

SHAPES = [
    (1, 24, 1, 50),
    (32, 24, 8, 50),
    (8, 100, 64, 128),
    (32, 100, 64, 128),
    (64, 50, 256, 256),
    (16, 50, 512, 512),
]
FUNCTIONS = {"lstm": "lstm", "gru": "gru", "rnn": "simple_rnn"}


def scan(cell: str) -> Callable[[Any, Any], Any]:
    """The cell in JAX: the input's products of all steps in one, then a lax.scan of fused gates."""
    import jax
    import jax.numpy as jnp

    def lstm(state: Any, a: Any, R: Any, b: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(a + h @ R, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(state: Any, a: Any, R: Any, b: Any) -> Any:
        (h,) = state
        (z, r, n), (rz, rr, rn) = jnp.split(a, 3, axis=-1), jnp.split(h @ R + b, 3, axis=-1)
        z = jax.nn.sigmoid(z + rz)
        n = jnp.tanh(n + jax.nn.sigmoid(r + rr) * rn)
        return (n + z * (h - n),), n + z * (h - n)

    def rnn(state: Any, a: Any, R: Any, b: Any) -> Any:
        (h,) = state
        h = jnp.tanh(a + h @ R)
        return (h,), h

    step = {"lstm": lstm, "gru": gru, "rnn": rnn}[cell]

    def layer(params: Any, x: Any) -> Any:
        H = params["recurrent_kernel"].shape[0]
        bias = params["bias"].reshape(-1, params["kernel"].shape[1])
        zeros = jnp.zeros((x.shape[0], H), x.dtype)
        a = jnp.swapaxes(x, 0, 1) @ params["kernel"] + bias[0]
        start = (zeros,) * (2 if cell == "lstm" else 1)
        return jnp.swapaxes(
            jax.lax.scan(lambda s, a: step(s, a, params["recurrent_kernel"], bias[-1]), start, a)[1], 0, 1
        )

    return layer


def turns(case: Case) -> dict[str, Turn]:
    import jax
    import jax.numpy as jnp

    from rekur.jax import _ffi

    params = rekur.jax.init(FUNCTIONS[case.cell], 0, case.I, case.H)
    x = jnp.asarray(case.input())

    def ours(params: Any, x: Any) -> Any:
        return getattr(rekur.jax, FUNCTIONS[case.cell])(params, x)[0]

    def jitted(layer: Any) -> Turn:
        function = jax.jit(layer if case.mode == "infer" else jax.grad(lambda p, x: layer(p, x).sum(), (0, 1)))
        compiled = function.lower(params, x).compile()
        return Turn(lambda: jax.block_until_ready(compiled(params, x)), case.threads)

    loaded, found = list(_ffi._loaded), {"compiled": jitted(ours), "scan": jitted(scan(case.cell))}
    _ffi._loaded.clear()
    jax.clear_caches()
    found["callback"] = jitted(ours)
    _ffi._loaded.extend(loaded)
    jax.clear_caches()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--threads", default="2", help="of both libraries: JAX takes the cores that it is given")
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--seconds", type=float, default=0.4, help="for a contender and case")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="a file for the figures")
    args = parser.parse_args()
    rekur.jax.compile()
    print(f"{platform.processor() or platform.machine()}, {_core.isa()}")
    print(f"{'case':34} {'compiled µs':>12} {'callback µs':>12} {'scan µs':>10} {'scan / compiled':>16}")
    rows = []
    for threads in (n for n in map(int, args.threads.split(",")) if n <= len(ALL_CORES)):
        for cell in args.cells.split(","):
            for shape in SHAPES:
                for mode in ("infer", "train"):
                    case = Case(cell, *shape, mode, threads)
                    times = {k: min(v) * 1e6 for k, v in in_turns(turns(case), args.seconds, args.rounds).items()}
                    ratio = times["scan"] / times["compiled"]
                    row = f"{times['compiled']:12.0f} {times['callback']:12.0f} {times['scan']:10.0f} {ratio:16.2f}"
                    print(f"{case!s:34} {row}{'  slower' * (ratio < 1)}", flush=True)
                    rows.append({"case": str(case), **times})
    ratios = [row["scan"] / row["compiled"] for row in rows]
    print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}, least {min(ratios):.2f}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
