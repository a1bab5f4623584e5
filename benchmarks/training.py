"""What fit costs beside the engine, and what rematerialisation costs: python -m benchmarks.training

Ratios are taken in turns, one against the other, after warm-up; the least of each counts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import rekur
from rekur import layers


def in_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the processor's time, the least of each."""
    least = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - begin)
    return least


def small_steps(rounds: int) -> None:
    """1000 steps of LSTM 16, T 20, B 8, in fit and by the engine's trainer alone; predict of one row."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8000, 20, 4)).astype(np.float32), rng.normal(size=(8000, 1)).astype(np.float32)
    model = rekur.Sequential([layers.LSTM(16, input_shape=(20, 4)), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x[:64], y[:64], batch_size=8, verbose=0)
    batches = [(np.ascontiguousarray(x[k : k + 8]), np.ascontiguousarray(y[k : k + 8])) for k in range(0, 8000, 8)]
    trainer = model._trainer().trainer

    def engine() -> None:
        for inputs, targets in batches:
            trainer.step([inputs], [targets])

    took = in_turns({"engine": engine, "fit": lambda: model.fit(x, y, batch_size=8, verbose=0)}, rounds)
    print(
        f"1000 steps, LSTM 16, T 20, B 8: engine {took['engine'] * 1e3:.1f} ms, fit {took['fit'] * 1e3:.1f} ms, "
        f"fit / engine {took['fit'] / took['engine']:.2f}"
    )
    row, core, times = x[:1].copy(), model._engine(), 2000
    model.predict(row)

    def by_engine() -> None:
        for _ in range(times):
            core.predict([row])

    def by_model() -> None:
        for _ in range(times):
            model.predict(row)

    took = in_turns({"engine": by_engine, "model": by_model}, 3 * rounds)
    each = {name: seconds / times * 1e6 for name, seconds in took.items()}
    print(
        f"predict of one row: engine {each['engine']:.2f} µs, model {each['model']:.2f} µs, "
        f"{each['model'] - each['engine']:.2f} µs beside it"
    )


def rematerialised(rounds: int) -> None:
    for cell, rows, steps, units in [
        (layers.LSTM, 8, 1000, 64), (layers.LSTM, 16, 2000, 128), (layers.GRU, 16, 2000, 128),
        (layers.LSTM, 8, 1000, 256), (layers.LSTM, 1, 2000, 32),
    ]:  # fmt: skip
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(rows, steps, 8)).astype(np.float32), np.zeros((rows, 1), np.float32)
        models = {}
        for remat in (False, True):
            model = rekur.Sequential([cell(units, input_shape=(None, 8)), layers.Dense(1)])
            model.compile("sgd", "mse", remat=remat)
            model.train_on_batch(x, y)
            models["remat" if remat else "kept"] = model
        took = in_turns({n: partial(m.train_on_batch, x, y) for n, m in models.items()}, rounds)
        memory = models["kept"].memory(rows, steps)
        print(
            f"remat, {cell.__name__} {units}, T {steps}, B {rows}: {took['remat'] / took['kept']:.2f} of the time, "
            f"{memory['train_remat'] / memory['train']:.3f} of the memory"
        )


_LONG = """
import time, numpy as np, rekur
from benchmarks.process import status
from rekur import layers
x = np.random.default_rng(0).standard_normal((8, 100_000, 1), dtype="f")
model = rekur.Sequential([layers.LSTM(256, input_shape=(None, 1)), layers.Dense(1)])
model.compile("adam", "mse", remat=True)
begin = time.time()
model.train_on_batch(x, np.zeros((8, 1), "f"))
peak = status("VmHWM") / 2**20
kept = model.memory(8, 100_000)["train"] / 2**20
print(f"LSTM 256, T 100,000, B 8: {time.time() - begin:.0f} s a step, peak {peak:.0f} MB; the tape alone {kept:.0f} MB")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rekur.set_num_threads(arguments.threads)
    small_steps(arguments.rounds)
    rematerialised(arguments.rounds)
    subprocess.run([sys.executable, "-c", _LONG], check=True)  # alone, for its memory


if __name__ == "__main__":
    main()
