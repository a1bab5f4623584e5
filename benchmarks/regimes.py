"""The promises that are not a ratio to a peer at one shape: each measured, with its target beside it.

    python -m benchmarks.regimes                               # all of them
    python -m benchmarks.regimes --only lengths,denormals --cells gru --json out.json

What a line compares runs in turns in one process, after a warm-up; the figure is from the minimum over the rounds, each
contender on as many cores as it has threads. Memory is taken in processes of its own. Exit status 0 whether or not
targets are met: the last lines count what falls short.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import rekur
from benchmarks import native
from benchmarks.memory import CELLS, in_subprocess
from benchmarks.turns import Turn, in_turns
from rekur import _core
from rekur._files import write_atomic

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
MODES = ("infer", "train")
Step = Callable[[], object]


class Row(NamedTuple):
    """One line of the table."""

    regime: str
    case: str
    value: float
    unit: str = ""
    target: float | None = None
    at_most: bool = True  # else at least
    details: dict[str, Any] | None = None

    @property
    def met(self) -> bool:
        return self.target is None or (self.value <= self.target if self.at_most else self.value >= self.target)

    def __str__(self) -> str:
        wanted = "" if self.target is None else f"{'<=' if self.at_most else '>='} {self.target:g}"
        verdict = "" if self.target is None else "ok" if self.met else "MISSED"
        return f"{self.regime:14} {self.case:48} {self.value:9.3f} {self.unit:8} {wanted:8} {verdict}".rstrip()


class Bench:
    """The command line's choices, and how a step is timed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.cells: list[str] = args.cells.split(",")
        self.seconds: float = args.seconds
        self.rounds: int = args.rounds
        self._least: list[dict[str, float]] = []  # of every question that `best` was asked, in their order
        self._asked = 0
        self._peaks: dict[tuple[str, int], float] = {}

    def again(self) -> None:
        """The same questions will be asked once more."""
        self._asked = 0

    def best(self, **turns: Turn) -> dict[str, float]:
        """Seconds of each: the minimum over the rounds, and over the passes so far."""
        times = in_turns(turns, self.seconds, self.rounds, settle=0)
        if self._asked == len(self._least):
            self._least.append(dict.fromkeys(times, math.inf))
        least = self._least[self._asked]
        self._asked += 1
        for name, taken in times.items():
            least[name] = min(least[name], *taken)
        return dict(least)

    def peak(self, isa: str, threads: int) -> float:
        """GFLOP/s of multiply-adds of the machine at its best: the most of all passes so far."""
        most = max(native.fma_peak(isa, threads) for _ in range(3))
        self._peaks[isa, threads] = max(most, self._peaks.get((isa, threads), 0.0))
        return self._peaks[isa, threads]

    def kinds(self) -> Iterator[tuple[str, str]]:
        for mode in MODES:
            for cell in self.cells:
                yield cell, mode


def network(
    cell: str,
    mode: str,
    shape: tuple[int, int, int, int],
    layers: int = 1,
    bidirectional: bool = False,
    lengths: np.ndarray | None = None,
    fill: float | None = None,
) -> Step:
    """A step of the bare engine: inference, or forward and backward with all gradients, weights packed anew.

    shape: B, T, I, H. fill: every input, weight and arriving gradient is this number.
    """
    B, T, I, H = shape
    inner = {"type": CELLS[cell], "units": H, "return_sequences": True}
    outer = {"type": "Bidirectional", "layer": inner} if bidirectional else inner
    names = ["x", *(f"l{k}" for k in range(layers))]
    spec = {
        "format": "rekur",
        "version": 1,
        "name": "bench",
        "layers": [
            {"type": "Input", "name": "x", "shape": [None, I]},
            *({**outer, "name": names[k + 1], "inputs": [names[k]]} for k in range(layers)),
        ],
        "inputs": ["x"],
        "outputs": [names[-1]],
    }
    model = _core.Model(json.dumps(spec))
    model.initialize(1)
    x = np.random.default_rng(0).standard_normal((B, T, I), dtype=np.float32)
    dy = np.ones((B, T, H * (1 + bidirectional)), np.float32)
    weights = model.get_weights()
    if fill is not None:
        x, dy, weights = (np.full_like(array, fill) for array in (x, dy, weights))
        model.set_weights(weights)
    given = None if lengths is None else [lengths]
    if mode == "infer":
        return lambda: model.predict([x], given)

    def step() -> object:
        model.set_weights(weights)  # as after an optimiser's step: nothing packed survives
        _, tape = model.forward([x], given)
        return model.backward(tape, [dy])

    return step


def label(cell: str, mode: str, shape: tuple[int, int, int, int], note: str = "") -> str:
    return f"{cell:4} {','.join(map(str, shape))} {mode} {note}".rstrip()


def threads(bench: Bench) -> Iterator[Row]:
    """Two threads against one: 1.9 times as fast where there is work for two, nowhere slower (5 % is noise)."""
    large = ((16, 50, 64, 128), (16, 50, 128, 256), (64, 50, 128, 256), (128, 28, 28, 128), (64, 25, 512, 512))
    small = (
        (1, 1, 64, 64),
        (1, 100, 32, 32),
        (1, 100, 64, 128),
        (1, 25, 512, 512),
        (2, 20, 16, 16),
        (4, 30, 32, 64),
        (8, 20, 16, 32),
    )
    for shape in (*large, *small):
        for cell, mode in bench.kinds():
            step = network(cell, mode, shape)
            t = bench.best(one=Turn(step, 1), two=Turn(step, 2))
            target = 1.9 if shape in large else 0.95
            yield Row("threads", label(cell, mode, shape), t["one"] / t["two"], "x", target, False, t)


def lengths(bench: Bench) -> Iterator[Row]:
    """A batch whose lengths average half of T against the padded one."""
    for shape in ((32, 100, 64, 128), (64, 50, 128, 256), (128, 100, 32, 64), (8, 200, 64, 64)):
        B, T = shape[:2]
        short = np.random.default_rng(1).permutation(np.linspace(1, T - 1, B).round()).astype(np.int32)
        for cell, mode in bench.kinds():
            cut, padded = network(cell, mode, shape, lengths=short), network(cell, mode, shape)
            for n in (1, 2):
                t = bench.best(cut=Turn(cut, n), padded=Turn(padded, n))
                yield Row("lengths", label(cell, mode, shape, f"{n}t"), t["cut"] / t["padded"], "x", 0.6, True, t)


def bidirectional(bench: Bench) -> Iterator[Row]:
    """Both directions on two threads against one direction on one."""
    for B in (1, 16):
        for H in (64, 128, 256):
            shape = (B, 100, 64, H)
            for cell, mode in bench.kinds():
                t = bench.best(
                    both=Turn(network(cell, mode, shape, bidirectional=True), 2),
                    one=Turn(network(cell, mode, shape), 1),
                )
                yield Row("bidirectional", label(cell, mode, shape), t["both"] / t["one"], "x", 1.1, True, t)


def stacked(bench: Bench) -> Iterator[Row]:
    """Two layers against the sum of their parts (5 % is noise)."""
    for shape in ((1, 100, 64, 64), (1, 100, 64, 256), (16, 50, 64, 128), (64, 50, 128, 256)):
        B, T, _, H = shape
        for cell, mode in bench.kinds():
            two, first, second = (
                network(cell, mode, shape, layers=2),
                network(cell, mode, shape),
                network(cell, mode, (B, T, H, H)),
            )
            for n in (1, 2):
                t = bench.best(two=Turn(two, n), first=Turn(first, n), second=Turn(second, n))
                ratio = t["two"] / (t["first"] + t["second"])
                yield Row("stacked", label(cell, mode, shape, f"{n}t"), ratio, "x", 1.05, True, t)


def wavefront(bench: Bench) -> Iterator[Row]:
    """One sequence: two layers on two threads against one layer on one."""
    for H in (32, 64, 128, 256, 512):
        shape = (1, 100, H, H)
        for cell, mode in bench.kinds():
            t = bench.best(two=Turn(network(cell, mode, shape, layers=2), 2), one=Turn(network(cell, mode, shape), 1))
            yield Row("wavefront", label(cell, mode, shape), t["two"] / t["one"], "x", 1.15, True, t)


def denormals(bench: Bench) -> Iterator[Row]:
    """Inputs, weights and arriving gradients of 1e-39 against ordinary ones."""
    for shape in ((1, 100, 64, 64), (16, 50, 64, 128)):
        for cell, mode in bench.kinds():
            t = bench.best(tiny=Turn(network(cell, mode, shape, fill=1e-39)), ordinary=Turn(network(cell, mode, shape)))
            yield Row("denormals", label(cell, mode, shape), t["tiny"] / t["ordinary"], "x", 1.2, True, t)


def stepping(predict: Callable[[list[np.ndarray]], Any], x: np.ndarray, states: int) -> Step:
    """predict on one step after the other, the states it returns handed in again."""
    state = [np.zeros_like(x[0]) for _ in range(states)]

    def step() -> None:
        state[:] = predict([x, *state])[1:]

    return step


def streaming(bench: Bench) -> Iterator[Row]:
    """One sequence, one step a call, states handed in and out: rekur.Model.predict, and the extension's beneath it."""
    for H in (32, 64, 128, 256):
        for cell in bench.cells:
            states = 2 if cell == "lstm" else 1
            inputs = [rekur.Input((1, H)), *(rekur.Input((H,)) for _ in range(states))]
            layer = getattr(rekur.layers, CELLS[cell])(H, return_state=True)
            model = rekur.Model(inputs, layer(inputs[0], initial_state=inputs[1:]), seed=1)
            x = np.random.default_rng(0).standard_normal((1, 1, H), dtype=np.float32)
            face, bare = (stepping(predict, x, states) for predict in (model.predict, model._engine().predict))
            t = bench.best(face=Turn(face), bare=Turn(bare))
            case = label(cell, "infer", (1, 1, H, H))
            yield Row("streaming", f"{case} Model.predict", t["face"] * 1e6, "us")
            yield Row("streaming", f"{case} _core", t["bare"] * 1e6, "us")


def memory(bench: Bench) -> Iterator[Row]:
    """Peak of a training step at T = 10,000 against torch's: of a layer, a Dense, a loss at the last step or one at
    each, and Adam; and of the bare layer, with the gradient of its input, all arrays handed in and out."""
    if not importlib.util.find_spec("torch"):
        print("memory: torch is not installed")
        return
    for loss, what in (("last", "+ loss"), ("each", "+ losses"), ("", "layer")):
        options = ["--loss", loss] if loss else []
        for cell in bench.cells:
            for B in (1, 4):
                shape = (B, 10000, 64, 64)
                case = f"{cell},{','.join(map(str, shape))}"
                m = {side: in_subprocess(side, case, 1, *options) for side in ("rekur", "torch")}
                ours, theirs = m["rekur"]["peak"], m["torch"]["peak"]
                note = f"{what}, {ours / 2**20:.0f}:{theirs / 2**20:.0f} MB"
                yield Row("memory", label(cell, "train", shape, note), ours / theirs, "x", 0.5, True, m)


def gemm(bench: Bench) -> Iterator[Row]:
    """Where products are all that counts: GFLOP/s as a share of the machine's measured FMA peak, by instruction set."""
    before = _core.isa()
    for isa, target in (("avx512", 0.9), ("avx2", 0.85)):
        if isa not in _core.available_isas():
            continue
        for n in (1, 2):
            try:
                peak = bench.peak(isa, n)
            except native.Unavailable as missing:
                print(f"gemm: the peak is not known: {missing}")
                return
            _core.set_isa(isa)
            for shape in ((20, 25, 512, 512), (64, 25, 512, 512), (64, 10, 1024, 1024)):
                B, T, I, H = shape
                for cell, mode in bench.kinds():
                    t = bench.best(step=Turn(network(cell, mode, shape), n))
                    flops = 2 * GATES[cell] * H * (I + H) * B * T * (3 if mode == "train" else 1)
                    rate = flops / t["step"] / 1e9
                    case = label(cell, mode, shape, f"{n}t {isa}")
                    yield Row("gemm", case, rate / peak, "of peak", target, False, {**t, "gflops": rate, "peak": peak})
            _core.set_isa(before)


REGIMES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    f.__name__: f for f in (threads, lengths, bidirectional, stacked, wavefront, denormals, streaming, memory, gemm)
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.regimes", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(REGIMES), help=", ".join(REGIMES))
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each contender of a line")
    parser.add_argument("--passes", type=int, default=1, help="through all lines: a host's busy minute meets one")
    parser.add_argument("--json", help="write every figure to this file")
    args = parser.parse_args(argv)
    chosen = args.only.split(",")
    for name in chosen:
        if name not in REGIMES:
            parser.error(f"--only: no regime '{name}'; there are {', '.join(REGIMES)}")

    print(f"rekur {rekur.__version__}, ISA {_core.isa()}, {platform.machine()}, {os.cpu_count()} cores")
    print(f"{'regime':14} {'case':48} {'measured':>9} {'':8} target")
    bench, rows = Bench(args), []
    for once in range(args.passes):
        bench.again()
        for name in chosen:
            for row in REGIMES[name](bench):
                if once + 1 == args.passes:
                    print(row, flush=True)
                    rows.append(row)
    for name in chosen:
        mine = [row for row in rows if row.regime == name and row.target is not None]
        if mine:
            worst = (max if mine[0].at_most else min)(mine, key=lambda row: row.value)
            missed = sum(not row.met for row in mine)
            print(f"{name}: {missed} of {len(mine)} fall short; worst {worst.value:.3f} ({worst.case})")
    if args.json:
        found = {"isa": _core.isa(), "rows": [{**row._asdict(), "met": row.met} for row in rows]}
        write_atomic(args.json, json.dumps(found, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
