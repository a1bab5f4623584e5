"""Windows of a long series, read where they stand, against arrays of them: python -m benchmarks.windows

Time of a training step of an LSTM of 32 units on 32 windows of 100 steps, in turns; and what fit takes in memory beside
what it took before the series was made, a process each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import rekur
from benchmarks.process import status
from rekur import layers
from rekur.data import windows


def model(length: int, units: int) -> rekur.Model:
    made = rekur.Sequential([layers.LSTM(units, input_shape=(length, 1)), layers.Dense(1)], seed=1)
    made.compile("adam", "mse")
    return made


def compare_times(length: int = 100, rows: int = 32, turns: int = 25) -> None:
    series = np.random.default_rng(0).standard_normal(6500).astype(np.float32)
    lazy = windows(series, length)
    x = np.ascontiguousarray(sliding_window_view(series, length)[:-1])[:, :, None]
    y = series[length:, None]
    one, two = model(length, 32), model(length, 32)
    taken: list[list[float]] = [[], []]
    for _ in range(turns):
        for k, run in enumerate((lambda: one.fit(x, y, rows, verbose=0), lambda: two.fit(lazy, None, rows, verbose=0))):
            begin = time.perf_counter()
            run()
            taken[k].append(time.perf_counter() - begin)
    steps = -(-len(x) // rows)
    arrays, read = (1e3 * float(np.median(seconds)) / steps for seconds in taken)
    share = float(np.median(np.divide(taken[1], taken[0]))) - 1  # of two runs that follow each other
    print(f"a step: arrays {arrays:.3f} ms, windows {read:.3f} ms, {share:+.1%}")


def measure_memory(points: int, length: int = 500) -> None:
    made = model(length, 8)
    made.fit(windows(np.zeros(3000, np.float32), length), steps_per_epoch=2, verbose=0)
    before = status("VmHWM")
    series = np.ones(points, np.float32)
    train, test = windows(series, length).split(0.9)
    made.fit(train, steps_per_epoch=20, verbose=0, validation_data=test, validation_steps=5)
    taken = (status("VmHWM") - before) / series.nbytes
    print(f"{points:,} points, windows of {length}: {taken:.2f} times the series")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--memory", action="store_true", help="measure memory in this process")
    args = parser.parse_args()
    if args.memory:
        measure_memory(args.points)
        return
    compare_times()
    subprocess.run([sys.executable, "-m", "benchmarks.windows", "--memory", "--points", str(args.points)], check=True)


if __name__ == "__main__":
    main()
