"""Whole training steps, end to end, against torch: the same model, the same initial weights, the same batches.

    python -m benchmarks.train                    # three models, 1 and 2 threads
    python -m benchmarks.train --models forecaster --threads 1 --steps 50 --json out.json

A step starts from NumPy arrays and ends with updated weights: forward, loss, backward, gradients clipped by their
global norm, Adam. Ours is rekur.Model.train_on_batch. torch runs a loop as its users tune it, in the fastest of several
ways, found by trial: batch or time first, fused or foreach Adam; gradients set to None, clipped with foreach.

First both sides learn from the same batches: their losses must agree at every step, or the program stops with an error.
Agreeing is being as near to torch in float64 as torch in float32 is, within a factor: training enlarges the last digits
of sums, by how much depends on the model and the step, and torch's own distance says how much that is. Then
they are timed in turns, after a warm-up, on as many cores as threads; and each one's peak memory is taken in a process
of its own (benchmarks.memory), without what importing a library and building model and data take.

The tagger's rows end at different steps. With torch's packed sequences the mathematics is ours, and that is what the
losses are compared with. torch is faster on padded rows, which its backward direction then reads from the padding on,
with the loss left out there; both are timed, and the ratio is to the faster.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

import rekur
from benchmarks.memory import in_subprocess
from benchmarks.models import TASKS, Batch, Task, TorchWay, TrainStep, rekur_model, rekur_step, torch_step, torch_ways
from benchmarks.native import ALL_CORES, use_cores
from benchmarks.turns import Turn, in_turns
from rekur import _core
from rekur._files import write_atomic

# Relative distances from the loss in float64: what is always granted, and how many times torch's own (in float32) up to
# that step. Sums in another order differ in their last digits, and Adam's division makes the most of it: the character
# model's loss goes up and down, and at step 29
# torch is 2.6e-3 from float64 and we are 1.0e-3, at step 24 5e-6 and 2e-6.
TOLERANCE, TIMES = 1e-5, 3.0
BATCHES = 4  # different ones, again and again, while time is taken


class Differs(Exception):
    """The two sides do not learn the same."""


def check_same_losses(task: Task, steps: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Losses of all sides through the same batches, and how far ours and torch's were from float64 at most; raises
    Differs where ours part from it.
    """
    model = rekur_model(task)
    way, weights = torch_ways(task.lengths)[0], model.named_weights()
    with in_float64():
        exact = torch_step(task, way, weights)
    sides = {"rekur": rekur_step(model), "torch": torch_step(task, way, weights)}
    curves: dict[str, list[float]] = {"rekur": [], "torch": [], "float64": []}
    apart = dict.fromkeys(sides, 0.0)
    for k in range(steps):
        batch = task.batch(k)
        with in_float64():
            expected = exact(in_double(batch))
        curves["float64"].append(expected)
        for side, step in sides.items():
            curves[side].append(step(batch))
            apart[side] = max(apart[side], abs(curves[side][-1] - expected) / abs(expected))
        if not apart["rekur"] <= TOLERANCE + TIMES * apart["torch"]:
            raise Differs(
                f"{task.name}: the loss of step {k} is {curves['rekur'][-1]:.7g} here, {expected:.7g} in float64 and "
                f"{curves['torch'][-1]:.7g} in torch's float32, after {curves}"
            )
    return curves, apart


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """What torch makes without a dtype is float64 meanwhile."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def in_double(batch: Batch) -> Batch:
    """A batch whose floats are float64; what are ids or classes stays."""
    x, y = (array.astype(np.float64) if array.dtype.kind == "f" else array for array in (batch.x, batch.y))
    return batch._replace(x=x, y=y)


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
            curves[task.name], apart = check_same_losses(task, args.steps)
        except Differs as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 1
        curve = curves[task.name]["rekur"]
        print(f"{task.about}; T {task.T}, B {task.B}: loss {curve[0]:.4f} -> {curve[-1]:.4f} in {args.steps} steps, "
              f"within {apart['rekur']:.1e} of float64, torch within {apart['torch']:.1e}", flush=True)  # fmt: skip
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
