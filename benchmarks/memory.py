"""Peak memory of a training step, each library in a process of its own.

    python -m benchmarks.memory rekur char                              # one of benchmarks.models
    python -m benchmarks.memory torch lstm,4,10000,64,64 --loss last    # cell,B,T,I,H, then Dense, loss and Adam
    python -m benchmarks.memory torch lstm,4,10000,64,64                # forward and backward of the bare layer

Prints one line of JSON, in bytes: ``imported``, what importing the library added; ``ready``, the process with model and
data; ``peak``, how far it rose above that in three training steps. Before the model is built, a tiny one of its kind
takes a step, so that code read from disk and threads started for the first time are not counted as the step's.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.models import TASKS, Task, TorchWay, rekur_model, rekur_step, torch_step
from benchmarks.process import status

STEPS = 3
CELLS = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}


def peak_growth(step: Callable[[], object]) -> tuple[int, int]:
    """(bytes in memory before, bytes the most there were above that during a few steps)."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).malloc_trim(0)  # so that nothing is built in what was freed before
    before = status("VmRSS")
    # Where this is refused the peak includes what came before: still right as long as the steps go beyond that.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    for _ in range(STEPS):
        step()
    return before, max(0, status("VmHWM") - before)


def layer_task(loss: str, cell: str, B: int, T: int, I: int, H: int) -> Task:
    """A whole model around one layer: a number after the last step, or a class at each."""
    task = Task(loss, f"one {cell}", CELLS[cell], H, 1, B, T, I, 16, every_step=loss == "each")
    return dataclasses.replace(task, embedding=I) if task.every_step else task


def model_step(side: str, task: Task, way: TorchWay) -> Callable[[], object]:
    step = rekur_step(rekur_model(task)) if side == "rekur" else torch_step(task, way)
    batch = task.batch(0)
    return lambda: step(batch)


def layer_step(side: str, cell: str, B: int, T: int, I: int, H: int) -> Callable[[], object]:
    """Forward and backward pass of one layer, with the gradients of input and weights."""
    x = np.random.default_rng(0).standard_normal((B, T, I), dtype=np.float32)
    dy = np.ones((B, T, H), np.float32)
    if side == "rekur":
        import rekur

        inputs = rekur.Input((T, I))
        model = rekur.Model(inputs, getattr(rekur.layers, CELLS[cell])(H, return_sequences=True)(inputs), seed=1)
        return lambda: model.gradients(x, dy)
    import torch

    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell](I, H, batch_first=True)
    given, arrives = torch.from_numpy(x).requires_grad_(True), torch.from_numpy(dy)

    def step() -> None:
        layer.zero_grad(set_to_none=True)
        given.grad = None
        layer(given)[0].backward(arrives)

    return step


def in_subprocess(side: str, what: str, threads: int, *options: str) -> dict[str, int]:
    """This module's figures for one side, from a fresh process on `threads` cores."""
    command = [sys.executable, "-m", "benchmarks.memory", side, what, "--threads", str(threads), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=("rekur", "torch"))
    parser.add_argument("what", help=f"{', '.join(TASKS)}, or cell,B,T,I,H")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--loss", choices=("last", "each"), help="cell,B,T,I,H: a whole training step, not the bare layer's"
    )
    parser.add_argument("--time-first", action="store_true", help="torch: time before batch")
    parser.add_argument("--packed", action="store_true", help="torch: packed sequences where there are lengths")
    parser.add_argument("--adam", default="fused", help="torch: fused or foreach")
    args = parser.parse_args(argv)

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    before = status("VmRSS")
    if args.side == "rekur":
        import rekur

        rekur.set_num_threads(args.threads)
    else:
        import torch

        torch.set_num_threads(args.threads)
    imported = status("VmRSS") - before
    cell, *shape = args.what.split(",")
    if args.what in TASKS or args.loss:
        task = TASKS[args.what] if args.what in TASKS else layer_task(args.loss, cell, *map(int, shape))
        way = TorchWay(args.time_first, args.adam, args.packed)
        model_step(args.side, task.tiny(), way)()
        step = model_step(args.side, task, way)
    else:
        layer_step(args.side, cell, 1, 3, 16, 16)()
        step = layer_step(args.side, cell, *map(int, shape))
    ready, peak = peak_growth(step)
    print(json.dumps({"imported": imported, "ready": ready, "peak": peak}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
