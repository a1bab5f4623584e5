"""Whole training steps, end to end, against torch: the same model, the same initial weights, the same batches.

    python -m benchmarks.train                    # three models, 1 and 2 threads
    python -m benchmarks.train --models forecaster --threads 1 --steps 50 --json out.json

A step starts from NumPy arrays and ends with updated weights: forward, loss, backward, gradients clipped by their
global norm, Adam. Ours is rekur.Model.train_on_batch. torch runs a loop as its users tune it, in the fastest of several
ways, found by trial: batch or time first, fused or foreach Adam; gradients set to None, clipped with foreach.

First both sides learn from the same batches: their losses must agree at every step, or the program stops with an error.
Then they are timed in turns, after a warm-up, on as many cores as threads; and each one's peak memory is taken in a
process of its own (benchmarks.memory), without what importing a library and building model and data take.

The tagger's rows end at different steps. With torch's packed sequences the mathematics is ours, and that is what the
losses are compared with. torch is faster on padded rows, which its backward direction then reads from the padding on,
with the loss left out there; both are timed, and the ratio is to the faster.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch

import rekur
from benchmarks.memory import in_subprocess
from benchmarks.models import TASKS, Batch, Task, TorchWay, TrainStep, rekur_model, rekur_step, torch_step, torch_ways
from benchmarks.native import ALL_CORES, use_cores
from benchmarks.turns import Turn, in_turns
from rekur import _core
from rekur._files import write_atomic

# Relative, of the losses at any step. Sums in another order differ in their last digits, and Adam's division makes the
# most of it: at step 24 of the character model torch in float32 is 5e-5 from torch in float64, we are 5e-6.
TOLERANCE = 1e-3
BATCHES = 4  # different ones, again and again, while time is taken


class Differs(Exception):
    """The two sides do not learn the same."""


def check_same_losses(task: Task, steps: int) -> dict[str, list[float]]:
    """Both sides through the same batches; raises Differs where the losses part."""
    model = rekur_model(task)
    theirs = torch_step(task, torch_ways(task.lengths)[0], model.named_weights())
    ours = rekur_step(model)
    curves: dict[str, list[float]] = {"rekur": [], "torch": []}
    for k in range(steps):
        batch = task.batch(k)
        a, b = ours(batch), theirs(batch)
        if not abs(a - b) <= TOLERANCE * abs(b):
            raise Differs(f"{task.name}: the loss of step {k} is {a:.7g} here and {b:.7g} in torch, after {curves}")
        curves["rekur"].append(a)
        curves["torch"].append(b)
    return curves


def repeat(step: TrainStep, batches: list[Batch]) -> Callable[[], float]:
    following = itertools.cycle(batches)
    return lambda: step(next(following))


def fastest(task: Task, packed: bool, batches: list[Batch]) -> tuple[TorchWay, TrainStep]:
    """torch's best way of doing it, by trial."""

    def trial(step: TrainStep) -> float:
        taken = []
        for batch in [batches[0], *batches]:
            start = time.perf_counter()
            step(batch)
            taken.append(time.perf_counter() - start)
        return min(taken[1:])

    made = {way: torch_step(task, way) for way in torch_ways(packed)}
    best = min(made, key=lambda way: trial(made[way]))
    return best, made[best]


def compare(task: Task, threads: int, args: argparse.Namespace) -> dict[str, object]:
    """Times and peaks of one model at one number of threads; prints them."""
    batches = [task.batch(k) for k in range(BATCHES)]
    torch.set_num_threads(threads)
    use_cores(threads)
    ways = [fastest(task, packed, batches) for packed in ([False, True] if task.lengths else [False])]
    turns = {"rekur": Turn(repeat(rekur_step(rekur_model(task)), batches), threads)}
    turns |= {f"torch ({way})": Turn(repeat(step, batches), threads) for way, step in ways}
    times = in_turns(turns, args.seconds, args.rounds)
    ours = min(times["rekur"])
    print(f"{task.name}, {threads} thread{'s' * (threads > 1)}")
    for name, taken in times.items():
        ratio = "" if name == "rekur" else f"  ratio {min(taken) / ours:5.2f}"
        print(
            f"  {name:40} {min(taken) * 1e3:9.2f} ms  median {statistics.median(taken) * 1e3:9.2f} ms{ratio}",
            flush=True,
        )
    best = min((min(taken), name) for name, taken in times.items() if name != "rekur")[0]
    result: dict[str, object] = {"model": task.name, "threads": threads, "seconds": times, "ratio": best / ours}

    peaks = {"rekur": in_subprocess("rekur", task.name, threads)}
    for way, _ in ways:
        flags = [*["--time-first"] * way.time_first, *["--packed"] * way.packed, "--adam", way.adam]
        peaks[f"torch ({way})"] = in_subprocess("torch", task.name, threads, *flags)
    for name, m in peaks.items():
        ratio = "" if name == "rekur" else f"  ratio {m['peak'] / max(1, peaks['rekur']['peak']):5.2f}"
        print(
            f"  {name:40} {m['peak'] / 2**20:9.1f} MB peak of a step{ratio}  (import {m['imported'] / 2**20:.0f} MB)",
            flush=True,
        )
    least = min(m["peak"] for name, m in peaks.items() if name != "rekur")
    return {**result, "memory": peaks, "memory_ratio": least / max(1, peaks["rekur"]["peak"])}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.train", description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(TASKS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--steps", type=int, default=30, help="of training whose losses are compared")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each side, a model and a number of threads")
    parser.add_argument("--json", help="write every figure to this file")
    args = parser.parse_args(argv)
    tasks = [TASKS[name] for name in args.models.split(",")]

    print(
        f"rekur {rekur.__version__}, ISA {_core.isa()}, torch {torch.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    torch.set_num_threads(len(ALL_CORES))
    curves = {}
    for task in tasks:
        try:
            curve = curves[task.name] = check_same_losses(task, args.steps)
        except Differs as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
        apart = max(abs(a - b) / abs(b) for a, b in zip(curve["rekur"], curve["torch"], strict=True))
        first, last = curve["rekur"][0], curve["rekur"][-1]
        print(f"{task.about}; T {task.T}, B {task.B}: loss {first:.4f} -> {last:.4f} in {args.steps} steps, "
              f"torch's within {apart:.1e} (limit {TOLERANCE:.0e})", flush=True)  # fmt: skip
    rows = [compare(task, threads, args) for task in tasks for threads in map(int, args.threads.split(","))]
    print("model and threads: torch's time / ours (target 2), torch's peak / ours")
    for row in rows:
        print(f"  {row['model']:12} {row['threads']}t {row['ratio']:6.2f} {row['memory_ratio']:6.2f}")
    if args.json:
        found = {"isa": _core.isa(), "torch": torch.__version__, "losses": curves, "cases": rows}
        write_atomic(args.json, json.dumps(found, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
