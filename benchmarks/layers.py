"""Recurrent layers side by side with their peers, in turns inside one run.

    python -m benchmarks.layers                        # --set published: 8 shapes, about 12 minutes on two cores
    python -m benchmarks.layers --set regimes          # 12 further shapes, for each regime: about 20 minutes
    python -m benchmarks.layers --shapes 16,50,64,128 --cells gru --modes train --threads 1 --json out.json
    python -m benchmarks.layers --peers onednn --check # first compares results: outputs and gradients

A shape is B,T,I,H: batch rows, time steps, input features, hidden units. A training step is the forward and the
backward pass with the gradients of the input and of all weights; ours packs its weights anew each step, as after an
optimiser. GFLOP/s count 2·G·H·(I+H)·B·T a forward pass and three times that a training step, G gates; *peak* is their
fraction of the multiply-adds that cpp/bench/roofline.cpp reached at the start of a pass, with the instructions ours
uses, on as many cores as threads. Each round times ours, then each peer, after a warm-up; a turn counts by the
quickest of its five parts, times are the minimum over the rounds, with the median beside ours. A ratio is the peer's
time divided by ours: below 1 is a loss. Peers run as well as they can (benchmarks.peers, benchmarks.onednn); each case
runs on as many cores as it has threads, for all alike. *best* is the fastest of torch, jax and onnxruntime in each
case. A peer that is not installed, or has no training, is left out, and so is the peak where there is no compiler.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

import rekur
from benchmarks.case import CELLS, Case, Runner
from benchmarks.native import ALL_CORES, Unavailable, fma_peak, use_cores
from benchmarks.onednn import OneDnn
from benchmarks.peers import PEERS, version
from benchmarks.turns import SETTLE, WARM, quickest
from rekur import _core
from rekur._files import write_atomic

TOLERANCE = 1e-5  # of results, relative to the largest of a tensor where that is above 1
IN_PYTHON = ("torch", "jax", "onnxruntime")  # what Python's users meet, and whose best ours is compared with
SETS = {
    "published": (
        "1,1,64,64",
        "1,100,32,32",
        "1,200,64,128",
        "1,25,512,512",
        "16,50,64,128",
        "64,50,128,256",
        "64,25,512,512",
        "128,28,28,128",
    ),
    "regimes": (
        "1,1,32,32",
        "1,1,128,128",
        "1,500,64,64",
        "8,50,32,32",
        "8,50,64,64",
        "8,50,128,256",
        "32,50,32,32",
        "32,50,64,64",
        "32,50,64,128",
        "32,50,256,256",
        "20,35,650,650",
        "64,25,1024,1024",
    ),
}


class Ours(Runner):
    """The engine as Python meets it: arrays in, arrays out."""

    def __init__(self, case: Case) -> None:
        self.case = case
        layer = {"type": case.layer, "name": "layer", "inputs": ["x"], "units": case.H, "return_sequences": True}
        spec = {
            "format": "rekur",
            "version": 1,
            "name": "bench",
            "layers": [{"type": "Input", "name": "x", "shape": [None, case.I]}, layer],
            "inputs": ["x"],
            "outputs": ["layer"],
        }
        self.model = model = _core.Model(json.dumps(spec))
        self.x = x = case.input()
        self.weights = weights = np.concatenate([part.ravel() for part in case.weights()])
        self.dy = dy = np.ones((case.B, case.T, case.H), np.float32)
        model.set_weights(weights)
        rekur.set_num_threads(case.threads)

        def train() -> object:
            model.set_weights(weights)  # as after an optimiser's step: nothing packed survives
            _, tape = model.forward([x])
            return model.backward(tape, [dy])

        super().__init__(train if case.mode == "train" else lambda: model.predict([x]))

    def outputs(self) -> dict[str, np.ndarray]:
        """What a step yields, named as OneDnn.outputs does."""
        if self.case.mode == "infer":
            return {"output": self.model.predict([self.x])[0]}
        outputs, tape = self.model.forward([self.x])
        flat, (dx,) = self.model.backward(tape, [self.dy])
        sizes = np.cumsum([part.size for part in self.case.weights()])
        kernel, recurrent, bias = np.split(flat, sizes[:-1])
        H = self.case.H
        bias = bias.reshape(-1, H)
        if self.case.cell == "gru":
            bias = bias[[0, 1, 2, 5]]
        gradients = (dx, kernel.reshape(-1, self.case.gates * H), recurrent.reshape(H, -1), bias)
        names = ("input gradient", "kernel gradient", "recurrent kernel gradient", "bias gradient")
        return {"output": outputs[0], **dict(zip(names, gradients, strict=True))}


def check(case: Case, mine: Ours, peer: OneDnn) -> float:
    """The largest deviation of a peer's results from ours; ends the run where they are not the same mathematics."""
    largest = 0.0
    theirs = peer.outputs()
    for name, a in mine.outputs().items():
        b = theirs[name]
        deviation = float(np.max(np.abs(a - b)) / max(1.0, float(np.max(np.abs(a)))))
        largest = max(largest, deviation)
        if not deviation <= TOLERANCE:
            raise SystemExit(f"{case}: the {name} of onednn deviates from ours by {deviation:.1e}")
    return largest


def measure(runners: dict[str, Runner], seconds: float, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each, one figure a round; each round gives each its turn."""
    once = {}
    for name, runner in runners.items():
        once[name] = max(runner.run(1), 1e-7)
        if once[name] < 0.1:  # the first was slow to start, and other work of the machine may have come between
            once[name] = max(min(runner.run(2) / 2 for _ in range(4)), 1e-7)
    # Steps of a second need no seven rounds to be told apart.
    rounds = min(rounds, max(3, int(4 * seconds / max(once.values()))))
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            count = max(1, int(seconds / rounds / once[name]))
            time.sleep(SETTLE)
            runner.run(max(2 if once[name] < 0.1 else 1, int(WARM / once[name])))
            times[name].append(quickest(runner.run, count))
    return times


def run_case(case: Case, peers: list[str], args: argparse.Namespace, times: dict[str, list[float]]) -> float:
    """Adds a pass's rounds to what `times` holds; with --check, how far onednn's results are from ours."""
    use_cores(len(ALL_CORES))
    made = {"rekur": Ours(case), **{name: PEERS[name](case) for name in peers}}
    runners = {name: runner for name, runner in made.items() if runner is not None}
    try:
        deviation = check(case, runners["rekur"], runners["onednn"]) if args.check and "onednn" in runners else 0.0
        for runner in runners.values():
            runner.run(1)  # compiles, and starts its threads
        use_cores(case.threads)
        for name, seconds in measure(runners, args.seconds, args.rounds).items():
            times.setdefault(name, []).extend(seconds)
    finally:
        for runner in runners.values():
            runner.close()
    return deviation


def available(names: list[str]) -> dict[str, str]:
    """The peers that are installed, with their versions."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except Unavailable as why:
            print(f"left out: {name}: {why}")
    return found


def peaks(isa: str, threads: list[int]) -> dict[int, float]:
    """GFLOP/s of multiply-adds for each number of threads; empty without the means to measure it."""
    try:
        return {n: fma_peak(isa, n) for n in threads}
    except Unavailable as why:
        print(f"left out: peak: {why}")
        return {}


def cases(args: argparse.Namespace) -> Iterator[Case]:
    for threads in args.threads:
        for mode in args.modes:
            for shape in args.shapes:
                for cell in args.cells:
                    yield Case(cell, *shape, mode, threads)


def with_best(seconds: dict[str, float]) -> dict[str, float]:
    """The peers' times, and the best of those that Python's users meet."""
    met = [seconds[name] for name in IN_PYTHON if name in seconds]
    return {**seconds, "best": min(met)} if met else seconds


def row(case: Case, times: dict[str, list[float]], columns: list[str], peak: float | None) -> str:
    best = with_best({name: min(t) for name, t in times.items()})
    rate = case.flops() / best["rekur"] / 1e9
    share = "–" if peak is None else f"{rate / peak:.2f}"
    median = statistics.median(times["rekur"])
    line = f"{case!s:34} {best['rekur'] * 1e6:10.1f} {median * 1e6:10.1f} {rate:8.1f} {share:>5}"
    for name in columns:
        if name != "best":
            line += f" {best[name] * 1e6:14.1f}" if name in best else f" {'–':>14}"
        line += f" {best[name] / best['rekur']:6.2f}" if name in best else f" {'–':>6}"
    return line


def summary(results: dict[Case, dict[str, list[float]]], columns: list[str]) -> None:
    """Geometric mean, worst ratio and losses: of each peer, then of each regime, mode and cell."""
    ratios: dict[str, dict[Case, float]] = {name: {} for name in columns}
    for case, times in results.items():
        best = with_best({name: min(t) for name, t in times.items()})
        for name in set(best) & set(ratios):
            ratios[name][case] = best[name] / best["rekur"]

    def line(label: str, of: dict[Case, float]) -> None:
        if not of:
            return
        worst = min(of, key=of.__getitem__)
        mean, lost = statistics.geometric_mean(of.values()), sum(ratio < 1 for ratio in of.values())
        print(f"{label}: geometric mean {mean:.2f}, worst {of[worst]:.2f} ({worst}), {lost} of {len(of)} lost")

    print()
    for name in columns:
        line("best of " + ", ".join(p for p in IN_PYTHON if p in columns) if name == "best" else name, ratios[name])
    groups = sorted({(c.regime(), c.mode, list(CELLS).index(c.cell), c.cell) for c in results})
    for name in ("best", "onednn"):
        if len(groups) > 1 and ratios.get(name):
            print(f"\n{name}, by regime")
            for regime, mode, _, cell in groups:
                own = {c: r for c, r in ratios[name].items() if (c.regime(), c.mode, c.cell) == (regime, mode, cell)}
                line(f"  {regime:12} {mode} {cell:4}", own)


def parsed(argv: list[str] | None) -> argparse.Namespace:
    def listed(kind: Callable[[str], object], known: object = None) -> Callable[[str], list]:
        def parse(text: str) -> list:
            values = [kind(part) for part in text.split(",") if part]
            for value in values:
                if known is not None and value not in known:
                    raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(known)}")
            return values

        return parse

    def shape(text: str) -> tuple[int, ...]:
        sizes = tuple(map(int, text.split(",")))
        if len(sizes) != 4 or min(sizes) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not B,T,I,H")
        return sizes

    parser = argparse.ArgumentParser(prog="benchmarks.layers", description=__doc__.splitlines()[0])
    parser.add_argument("--set", choices=[*SETS, "all"], default="published", help="named shapes, unless --shapes")
    parser.add_argument("--shapes", nargs="+", type=shape, metavar="B,T,I,H", help="any shapes")
    parser.add_argument("--cells", type=listed(str, CELLS), default="lstm,gru,rnn")
    parser.add_argument("--modes", type=listed(str, ("infer", "train")), default="infer,train")
    parser.add_argument("--threads", type=listed(int), default="1,2")
    parser.add_argument("--peers", type=listed(str, PEERS), default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each of ours and its peers, a case")
    parser.add_argument("--passes", type=int, default=1, help="through all cases: a host's busy minute meets one")
    parser.add_argument("--check", action="store_true", help="compare onednn's results with ours before timing")
    parser.add_argument("--json", help="write every figure to this file")
    args = parser.parse_args(argv)
    if args.shapes is None:
        args.shapes = [shape(text) for name in (SETS if args.set == "all" else [args.set]) for text in SETS[name]]
    usable = [n for n in args.threads if 1 <= n <= len(ALL_CORES)]
    if usable != args.threads:
        print(f"left out: threads beyond the {len(ALL_CORES)} cores of this process")
        args.threads = usable
    return args


def main(argv: list[str] | None = None) -> int:
    args = parsed(argv)
    isa = _core.isa()
    print(f"rekur {rekur.__version__}, ISA {isa}, {platform.machine()}, {os.cpu_count()} cores")
    peers = available(args.peers)
    peak = peaks(isa, args.threads)
    about = [f"{name} {number}" for name, number in peers.items()]
    about += [f"peak of {n} thread{'s' * (n > 1)} {rate:.0f} GFLOP/s" for n, rate in peak.items()]
    print(", ".join(about) or "no peers")
    columns = list(peers)
    if sum(name in IN_PYTHON for name in columns) > 1:
        columns.append("best")
    heading = f"{'case':34} {'µs':>10} {'median':>10} {'GFLOP/s':>8} {'peak':>5}"
    print(heading + "".join(f" {p + ' µs':>14} {'ratio':>6}" if p != "best" else f" {p:>6}" for p in columns))

    results: dict[Case, dict[str, list[float]]] = {}
    deviation = 0.0
    for n in range(args.passes):
        if n > 0:  # a peak that a busy moment had lowered would flatter us
            peak = {threads: max(rate, peak[threads]) for threads, rate in peaks(isa, list(peak)).items()}
        for case in cases(args):
            deviation = max(deviation, run_case(case, list(peers), args, results.setdefault(case, {})))
            if n + 1 == args.passes:
                print(row(case, results[case], columns, peak.get(case.threads)), flush=True)
    summary(results, columns)
    if args.check:
        print(f"checked: onednn's results deviate from ours by at most {deviation:.1e}")
    if args.json:
        rows = [{**case._asdict(), "flops": case.flops(), "seconds": t} for case, t in results.items()]
        setting = {"version": rekur.__version__, "isa": isa, "peers": peers, "peak": peak}
        write_atomic(args.json, json.dumps({**setting, "cases": rows}, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
