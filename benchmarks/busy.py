"""Threads on a busy machine: beside a process that keeps a core busy, and more of them than there are cores.

    python -m benchmarks.busy                    # both claims, a minute
    python -m benchmarks.busy --json busy.json

A call that is asked to use several threads must not wait for one that has no core. Measured in turns in one process are
mean times, since it is the rare long wait that matters. (1) Two threads against one, while another process computes
without a pause on one of the two cores: at most 1.3 times. (2) Sixteen threads asked for against two: at most twice.
Exit status 0 whether or not targets are met.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import rekur
from rekur import _core

MANY = 16
LOOP = "import os, sys, time; os.sched_setaffinity(0, [int(sys.argv[1])]); end = time.time() + float(sys.argv[2])\n"
LOOP += "while time.time() < end: sum(range(10000))"
SHAPES = [
    ("LSTM", 256, 1, 100),
    ("GRU", 256, 1, 100),
    ("LSTM", 512, 1, 25),
    ("LSTM", 64, 16, 50),
    ("LSTM", 256, 64, 25),
]


@contextmanager
def busy_core(core: int, longest: float) -> Iterator[None]:
    """Another process computes on a core until the block is left, or for `longest` seconds."""
    with subprocess.Popen([sys.executable, "-c", LOOP, str(core), str(longest)]) as process:
        time.sleep(0.3)
        try:
            yield
        finally:
            process.kill()


def steps(cell: str, units: int, B: int, T: int) -> dict[str, Callable[[], object]]:
    """A prediction and a training step."""
    rng = np.random.default_rng(0)
    model = rekur.Sequential([getattr(rekur.layers, cell)(units, input_shape=(T, 64))])
    model.compile("sgd", "mse")
    x, y = rng.standard_normal((B, T, 64)).astype(np.float32), np.zeros((B, units), np.float32)
    return {"infer": lambda: model.predict_on_batch(x), "train": lambda: model.train_on_batch(x, y)}


def times(step: Callable[[], object], threads: list[int], seconds: float, rounds: int = 5) -> dict[int, np.ndarray]:
    """Seconds of every call, by threads asked for, in turns."""
    found: dict[int, list[float]] = {n: [] for n in threads}
    for _ in range(rounds):
        for n in threads:
            rekur.set_num_threads(n)
            end = time.perf_counter() + seconds / rounds
            while (start := time.perf_counter()) < end:
                step()
                found[n].append(time.perf_counter() - start)
    return {n: np.array(found[n]) for n in threads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each figure")
    parser.add_argument("--json", help="a file for the results")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("benchmarks.busy: at least two cores are needed")
    os.sched_setaffinity(0, cores[:2])
    print(_core.cpu_info(), platform.platform(), sep="\n")
    print(f"mean (worst) milliseconds; busy: another process computes on one of {len(cores[:2])} cores")
    print(f"{'case':24} {'1':>8} {'2':>8} {f'{MANY}':>8} {'busy 1':>8} {'busy 2':>16} {'2 / 1':>6} {f'{MANY} / 2':>7}")
    rows: list[dict[str, Any]] = []
    for cell, units, B, T in SHAPES:
        for mode, step in steps(cell, units, B, T).items():
            quiet = times(step, [1, 2, MANY], args.seconds)
            with busy_core(cores[1], 60):
                busy = times(step, [1, 2], args.seconds)
            mean = {n: 1e3 * t.mean() for n, t in quiet.items()} | {-n: 1e3 * t.mean() for n, t in busy.items()}
            beside, many, worst = mean[-2] / mean[-1], mean[MANY] / mean[2], 1e3 * busy[2].max()
            verdict = "ok" if beside <= 1.3 and many <= 2 else "MISSED"
            case = f"{cell} {units}, B {B}, T {T} {mode}"
            print(
                f"{case:24} {mean[1]:8.3f} {mean[2]:8.3f} {mean[MANY]:8.3f} {mean[-1]:8.3f}"
                f" {mean[-2]:8.3f} ({worst:5.1f}) {beside:6.2f} {many:7.2f} {verdict}"
            )
            rows.append({"case": case, "mean_ms": mean, "worst_ms": worst, "busy_2_by_1": beside, "many_by_2": many})
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"machine": _core.cpu_info(), "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
