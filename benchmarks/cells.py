"""Cells of one's own beside the compiled ones, and beside the products that they cannot do without, in turns.

    python -m benchmarks.cells                          # some eight minutes
    python -m benchmarks.cells --only written --json cells.json
    python -m benchmarks.cells --only before --before ../earlier/.venv/bin/python

written   SimpleRNN, LSTM and GRU written as cells and interpreted, and the built-in layers: the built-in one's time
          over the cell's
compiled  the same with their equations compiled, as they are in the library
products  cells without a recurrent product: their time over that of a Dense layer for their input's product
norm      an LSTM whose sums are normalised, over the built-in LSTM
light     LightGRU over the built-in GRU, which has three blocks for its two
threads   cells without a recurrent product: the time of one thread over that of two
first     LightGRU's first call, in ms, from the making of the model on
stream    the LSTM as a program in a stream of one row over the built-in one: of rekur_bench_step, where it is built
peers     LightGRU as other libraries run it (cell_peers.py), those that are installed: the best peer's time over ours,
          on one thread and on two
before    the built-in layers over those of an earlier rekur, which an interpreter of its own has (--before)

The last lines are a table: of each part the bar, the geometric mean, the worst and how many missed. Exit status 0
whether or not bars are met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
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
ROOT = Path(__file__).resolve().parent.parent
STEP = ROOT / "build/release/cpp/bench/rekur_bench_step"  # cmake --preset release -DREKUR_BENCH=ON
# What a part's figures are held to.
BARS = {
    "written": ">= 0.75, H >= 128 and B >= 8: 0.9",
    "compiled": ">= 1.0",
    "products": "<= 1.25",
    "norm": "<= 1.35",
    "light": "<= 1.0",
    "threads": ">= 1.8",
    "first": "<= 20 ms",
    "stream": "<= 2.0",
    "peers": ">= 1.0; means 1.5, training 1.3",
    "before": "<= 1.03; mean 1.01",
}


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


@contextlib.contextmanager
def interpreted() -> Iterator[None]:
    """Equations go the interpreter's way, compiled or not."""
    _core._use_compiled(False)
    try:
        yield
    finally:
        _core._use_compiled(True)


def built_in_times(seconds: float) -> dict[str, float]:
    """Seconds of the built-in layers, by layer, shape and mode: what an earlier rekur is asked for, too."""
    times = {}
    for shape in SHAPES:
        for name, built in WRITTEN.items():
            turns = steps(model(built(shape[3], return_sequences=True), shape[2]), shape, shape[3])
            for mode, best in least({mode: Turn(step) for mode, step in turns.items()}, seconds).items():
                times[json.dumps([name, shape, mode])] = best
    return times


def built_in_times_of(python: str, seconds: float) -> dict[str, float]:
    """The same of the rekur that an interpreter has."""
    command = [python, "-m", "benchmarks.cells", "--built-in-times", "--seconds", str(seconds)]
    answer = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(answer))


def before_and_after(before: str, seconds: float, rounds: int = 3) -> Iterator[tuple[str, Shape, str, float]]:
    """(layer, shape, mode, our time over the earlier one's), the least of some rounds in turns."""
    best: list[dict[str, float]] = [{}, {}]
    for _ in range(rounds):
        for which, python in zip(best, (before, sys.executable), strict=True):
            for key, took in built_in_times_of(python, seconds / rounds).items():
                which[key] = min(which.get(key, took), took)
    for key, took in best[0].items():
        name, shape, mode = json.loads(key)
        yield name, tuple(shape), mode, best[1][key] / took


def stream_steps() -> dict[str, float]:
    """Nanoseconds of a stream's step of one row and 32 units, by layer; empty where the program is not built."""
    if not STEP.exists():
        print(f"stream: {STEP} is not built (cmake --preset release -DREKUR_BENCH=ON)")
        return {}
    best: dict[str, float] = {}
    for name in ("LSTM", "RNN-LSTM") * 3:
        command = [STEP, "--kind", "stream", "--cell", name]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for words in map(str.split, answer.splitlines()):
            if words[:1] == ["stream"] and words[2:4] == ["1", "32"]:
                best[name] = min(best.get(name, math.inf), float(words[4]))
    return best


def table(rows: list[dict[str, Any]]) -> None:
    """A line a part: its bar, and what was measured."""
    print(f"\n{'part':9} {'mode':6} {'bar':34} {'mean':>6} {'worst':>6}  missed")
    for part, bar in BARS.items():
        for mode in ("infer", "train"):
            own = [row for row in rows if row["part"] == part and row["mode"] == mode]
            if not own:
                continue
            ratios = [row["ratio"] for row in own]
            worst = max(ratios) if bar.startswith("<=") else min(ratios)
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            missed = sum(not row["met"] for row in own)
            print(f"{part:9} {mode:6} {bar:34} {mean:6.2f} {worst:6.2f}  {missed} of {len(own)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default=",".join(BARS), help="parts, by commas")
    parser.add_argument("--before", help="a Python that has an earlier rekur")
    parser.add_argument("--built-in-times", action="store_true", help="nothing but the built-in layers' times, as JSON")
    parser.add_argument("--peers", default="jax,torch,script", help="of jax, torch, script and compile, by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each contender")
    parser.add_argument("--json", help="a file for the figures")
    options = parser.parse_args()
    if options.built_in_times:
        return print(json.dumps(built_in_times(options.seconds)))
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
        for part in ("written", "compiled"):
            for name, built in WRITTEN.items() if part in only else ():
                with interpreted() if part == "written" else contextlib.nullcontext():
                    for mode, ours, theirs in beside(
                        rnn(name, H), built(H, return_sequences=True), shape, options.threads, options.seconds
                    ):
                        target = 1.0 if part == "compiled" else 0.9 if H >= 128 and B >= 8 else 0.75
                        line(part, name, shape, mode, theirs / ours, target, at_most=False)
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
    streams = stream_steps() if "stream" in only else {}
    if streams:
        line("stream", "lstm", (1, 1, 1, 32), "infer", streams["RNN-LSTM"] / streams["LSTM"], 2.0, at_most=True)
    there = [name for name in options.peers.split(",") if installed(name)]
    if "peers" in only and not there:
        print("peers: none is installed")
    for shape in PEER_SHAPES if "peers" in only and there else ():
        for threads in (1, 2):
            ours = steps(model(rnn("light_gru", shape[3]), shape[2]), shape, shape[3])
            theirs = {name: PEERS[name](shape, threads) for name in there}
            for mode, step in ours.items():
                turns = {"ours": Turn(step, threads)}
                turns.update({name: Turn(peer[mode], threads) for name, peer in theirs.items()})
                best = least(turns, options.seconds)
                mine = best.pop("ours")
                name = min(best, key=lambda key: best[key])
                line("peers", f"{name}, {threads}t", shape, mode, best[name] / mine, 1.0, at_most=False)
    if "before" in only and options.before is None:
        print("before: --before names the Python of an earlier rekur")
    for name, shape, mode, ratio in (
        before_and_after(options.before, options.seconds) if "before" in only and options.before else ()
    ):
        line("before", name, shape, mode, ratio, 1.03, at_most=True)
    table(rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "threads": options.threads, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
