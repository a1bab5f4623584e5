"""Recurrent layers side by side with their peers, in turns inside one run.

    python -m benchmarks.layers          # the published shapes, inference and training, 1 and 2 threads, all peers
    python -m benchmarks.layers --shapes 16,50,64,128 --cells gru --modes train --threads 1 --json out.json

A shape is B,T,I,H: batch rows, time steps, input features, hidden units. A training step is the forward and the
backward pass with the gradients of the input and of all weights. GFLOP/s count 2·G·H·(I+H)·B·T a forward pass and three
times that a training step, G gates. Each round times ours, then each peer, after a warm-up; times are the minimum over
the rounds, with the median beside ours. Peers run as well as they can (benchmarks.peers); each case runs on as many
cores as it has threads, for all alike. A peer that is not installed, or has no training, is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np

import rekur
from benchmarks.peers import PEERS, Case, Step
from rekur import _core

ALL_CORES = os.sched_getaffinity(0)
SETTLE = 0.05  # seconds before a turn: the threads of whoever ran last spin for a while, on the cores of the next
SHAPES = (
    "1,1,64,64",
    "1,100,32,32",
    "1,200,64,128",
    "1,25,512,512",
    "16,50,64,128",
    "64,50,128,256",
    "64,25,512,512",
    "128,28,28,128",
)


def ours(case: Case) -> Step:
    """The engine as Python meets it: arrays in, arrays out."""
    layer = {"type": case.layer, "name": "layer", "inputs": ["x"], "units": case.H, "return_sequences": True}
    spec = {
        "format": "rekur",
        "version": 1,
        "name": "bench",
        "layers": [{"type": "Input", "name": "x", "shape": [None, case.I]}, layer],
        "inputs": ["x"],
        "outputs": ["layer"],
    }
    model = _core.Model(json.dumps(spec))
    model.initialize(1)
    x = case.input()
    rekur.set_num_threads(case.threads)
    if case.mode == "infer":
        return lambda: model.predict([x])
    dy = np.ones((case.B, case.T, case.H), np.float32)
    weights = model.get_weights()

    def step() -> object:
        model.set_weights(weights)  # as after an optimiser's step: nothing packed survives
        _, tape = model.forward([x])
        return model.backward(tape, [dy])

    return step


def measure(steps: dict[str, Step], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds a call of each step, one figure a round; each round gives each step its turn."""
    repeats = {}
    for name, step in steps.items():
        step()
        start = time.perf_counter()
        step()
        once = time.perf_counter() - start
        repeats[name] = max(1, int(seconds / rounds / max(once, 1e-7)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            time.sleep(SETTLE)
            step()
            step()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                step()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return times


def use_cores(count: int) -> None:
    """Every thread of this process on the first `count` cores it may use, whatever pool it belongs to."""
    cores = sorted(ALL_CORES)[:count]
    for task in os.listdir("/proc/self/task"):
        # A thread may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cores)


def available(names: list[str]) -> list[str]:
    """The peers that are installed."""
    found = [name for name in names if importlib.util.find_spec(name)]
    for name in set(names) - set(found):
        print(f"left out: {name} is not installed")
    return found


def cases(args: argparse.Namespace) -> Iterator[Case]:
    for threads in map(int, args.threads.split(",")):
        for mode in args.modes.split(","):
            for shape in args.shapes:
                for cell in args.cells.split(","):
                    yield Case(cell, *map(int, shape.split(",")), mode, threads)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.layers", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="B,T,I,H …")
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--modes", default="infer,train")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each of ours and its peers, a case")
    parser.add_argument("--json", help="write every figure to this file")
    args = parser.parse_args(argv)
    peers = available([p for p in args.peers.split(",") if p])

    print(f"rekur {rekur.__version__}, ISA {_core.isa()}, {platform.machine()}, {os.cpu_count()} cores")
    heading = f"{'case':34} {'µs':>10} {'median':>10} {'GFLOP/s':>8}"
    print(heading + "".join(f" {p + ' µs':>12} {'ratio':>6}" for p in peers))
    rows, ratios = [], []
    for case in cases(args):
        use_cores(len(ALL_CORES))
        made = {"rekur": ours(case), **{p: PEERS[p](case) for p in peers}}
        steps = {name: step for name, step in made.items() if step is not None}
        for step in steps.values():
            step()  # compiles, and starts its threads
        use_cores(case.threads)
        times = measure(steps, args.seconds, args.rounds)
        best = {name: min(t) for name, t in times.items()}
        label = f"{case.cell:4} {case.B},{case.T},{case.I},{case.H} {case.mode} {case.threads}t"
        line = f"{label:34} {best['rekur'] * 1e6:10.1f} {statistics.median(times['rekur']) * 1e6:10.1f}"
        line += f" {case.flops() / best['rekur'] / 1e9:8.1f}"
        for p in peers:
            if p not in best:
                line += f" {'–':>12} {'–':>6}"
                continue
            ratio = best[p] / best["rekur"]
            ratios.append((ratio, p, label))
            line += f" {best[p] * 1e6:12.1f} {ratio:6.2f}"
        print(line, flush=True)
        rows.append({**case._asdict(), "seconds": times})
    for p in peers:
        mine = sorted(r for r in ratios if r[1] == p)
        mean = statistics.geometric_mean(r[0] for r in mine)
        lost = sum(r[0] < 1 for r in mine)
        print(f"{p}: geometric mean {mean:.2f}, worst {mine[0][0]:.2f} ({mine[0][2]}), {lost} of {len(mine)} lost")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"isa": _core.isa(), "cases": rows}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
