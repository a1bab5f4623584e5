"""Cells of one's own beside the compiled ones, and beside the products that they cannot do without, in turns.

    python -m benchmarks.cells                          # some two minutes
    python -m benchmarks.cells --only written --json cells.json

written   SimpleRNN, LSTM and GRU written as cells, and the built-in layers: the built-in one's time over the cell's
products  cells without a recurrent product: their time over that of a Dense layer for their input's product
norm      an LSTM whose sums are normalised, over the built-in LSTM
light     LightGRU over the built-in GRU, which has three blocks for its two
threads   cells without a recurrent product: the time of one thread over that of two
first     LightGRU's first call, in ms, from the making of the model on
peers     LightGRU as other libraries run it (cell_peers.py): the best peer's time over ours; only if asked for

Exit status 0 whether or not targets are met: each line has its own.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import rekur
from benchmarks.cell_peers import PEERS, installed
from benchmarks.turns import Turn, in_turns
from rekur import _core, cells, layers

Shape = tuple[int, int, int, int]  # B, T, I, H
SHAPES: list[Shape] = [
    (1, 100, 32, 32),
    (1, 100, 32, 128),
    (8, 50, 32, 64),
    (16, 100, 32, 64),
    (16, 50, 64, 128),
    (64, 50, 32, 128),
    (32, 50, 64, 256),
]
PEER_SHAPES: list[Shape] = [
    (1, 50, 32, 32),
    (1, 500, 32, 128),
    (4, 100, 32, 64),
    (16, 50, 64, 128),
    (16, 100, 32, 64),
    (64, 50, 32, 32),
    (64, 100, 64, 256),
]
WRITTEN = {"simple_rnn": layers.SimpleRNN, "lstm": layers.LSTM, "gru": layers.GRU}


def model(layer: layers.Layer, features: int) -> Any:
    """The engine's model of one layer."""
    x = rekur.Input((None, features))
    return rekur.Model(x, layer(x), seed=1)._engine()


def steps(made: Any, shape: Shape, width: int) -> dict[str, Callable[[], object]]:
    """A prediction, and a training step's two passes."""
    B, T, features, _ = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((B, T, features)).astype(np.float32)
    dy = rng.standard_normal((B, T, width)).astype(np.float32)

    def train() -> None:
        _, tape = made.forward([x])
        made.backward(tape, [dy])

    return {"infer": lambda: made.predict([x]), "train": train}


def least(turns: dict[str, Turn], seconds: float) -> dict[str, float]:
    """The least time of a call of each."""
    return {name: min(times) for name, times in in_turns(turns, seconds, 5).items()}


def beside(
    ours: layers.Layer, theirs: layers.Layer, shape: Shape, threads: int, seconds: float, width: int = 0
) -> Iterator[Any]:
    """(mode, our seconds, theirs)."""
    features, H = shape[2:]
    a, b = steps(model(ours, features), shape, H), steps(model(theirs, features), shape, width or H)
    for mode in a:
        best = least({"ours": Turn(a[mode], threads), "theirs": Turn(b[mode], threads)}, seconds)
        yield mode, best["ours"], best["theirs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parts = ("written", "products", "norm", "light", "threads", "first", "peers")
    parser.add_argument("--only", default=",".join(parts[:-1]), help="parts, by commas")
    parser.add_argument("--peers", default="jax,torch,script", help="of jax, torch, script and compile, by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each contender")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    only = options.only.split(",")
    rows: list[dict[str, Any]] = []
    print(f"{platform.processor() or platform.machine()}, {_core.isa()}, {options.threads} threads")

    def line(part: str, cell: str, shape: Shape, mode: str, ratio: float, target: float, at_most: bool) -> None:
        met = ratio <= target if at_most else ratio >= target
        rows.append(
            {"part": part, "cell": cell, "shape": shape, "mode": mode, "ratio": ratio, "target": target, "met": met}
        )
        sizes = ", ".join(f"{n} {value}" for n, value in zip("BTIH", shape, strict=True))
        verdict = f"{'<=' if at_most else '>='} {target:4.2f} {'ok' if met else 'MISSED'}"
        print(f"{part:9} {cell:16} {sizes:26} {mode:6} {ratio:6.2f} {verdict}", flush=True)

    def rnn(name: str, units: int) -> layers.Layer:
        return layers.RNN(getattr(cells, name), units, return_sequences=True)

    for shape in SHAPES:
        B, _, _, H = shape
        if "written" in only:
            for name, built in WRITTEN.items():
                for mode, ours, theirs in beside(
                    rnn(name, H), built(H, return_sequences=True), shape, options.threads, options.seconds
                ):
                    target = 0.9 if H >= 128 and B >= 8 else 0.75
                    line("written", name, shape, mode, theirs / ours, target, at_most=False)
        if "products" in only and H >= 64 and B >= 8:
            for name, blocks in {"min_gru": 2, "ind_rnn": 1, "sru": 4}.items():
                dense = layers.Dense(blocks * H)
                for mode, ours, theirs in beside(
                    rnn(name, H), dense, shape, options.threads, options.seconds, blocks * H
                ):
                    line("products", name, shape, mode, ours / theirs, 1.25, at_most=True)
        if "norm" in only and H >= 64:
            lstm = layers.LSTM(H, return_sequences=True)
            for mode, ours, theirs in beside(rnn("layer_norm_lstm", H), lstm, shape, options.threads, options.seconds):
                line("norm", "layer_norm_lstm", shape, mode, ours / theirs, 1.35, at_most=True)
        if "light" in only:
            gru = layers.GRU(H, return_sequences=True)
            for mode, ours, theirs in beside(rnn("light_gru", H), gru, shape, options.threads, options.seconds):
                line("light", "light_gru", shape, mode, ours / theirs, 1.0, at_most=True)
        if "threads" in only and H >= 64 and B >= 8:
            for name in ("min_gru", "ind_rnn", "sru"):
                turns = steps(model(rnn(name, H), shape[2]), shape, H)
                for mode, step in turns.items():
                    best = least({"one": Turn(step, 1), "two": Turn(step, 2)}, options.seconds)
                    line("threads", name, shape, mode, best["one"] / best["two"], 1.8, at_most=False)
        if "first" in only:
            start = time.perf_counter()
            turns = steps(model(rnn("light_gru", H), shape[2]), shape, H)
            turns["train"]()
            line("first", "light_gru", shape, "train", 1e3 * (time.perf_counter() - start), 20, at_most=True)
    for shape in PEER_SHAPES if "peers" in only else ():
        ours = steps(model(rnn("light_gru", shape[3]), shape[2]), shape, shape[3])
        theirs = {name: PEERS[name](shape, options.threads) for name in options.peers.split(",") if installed(name)}
        for mode, step in ours.items():
            turns = {"ours": Turn(step, options.threads)}
            turns.update({name: Turn(peer[mode], options.threads) for name, peer in theirs.items()})
            best = least(turns, options.seconds)
            mine = best.pop("ours")
            name = min(best, key=lambda key: best[key])
            line("peers", f"{name}, {1e6 * mine:.0f} us", shape, mode, best[name] / mine, 1.0, at_most=False)
    for part in parts:
        ratios = [row["ratio"] for row in rows if row["part"] == part]
        if ratios:
            missed = sum(not row["met"] for row in rows if row["part"] == part)
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{part}: geometric mean {mean:.2f}; {missed} of {len(ratios)} missed")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "threads": options.threads, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
