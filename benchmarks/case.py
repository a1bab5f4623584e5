"""What is measured, and how whoever is measured takes turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CELLS = {"lstm": ("LSTM", 4, 4), "gru": ("GRU", 3, 6), "rnn": ("SimpleRNN", 1, 1)}  # layer, gates, rows of the bias


class Case(NamedTuple):
    """One measurement: a cell at a shape, inference or training, on some threads."""

    cell: str
    B: int
    T: int
    I: int
    H: int
    mode: str
    threads: int

    def __str__(self) -> str:
        return f"{self.cell:4} {self.B},{self.T},{self.I},{self.H} {self.mode} {self.threads}t"

    @property
    def layer(self) -> str:
        return CELLS[self.cell][0]

    @property
    def gates(self) -> int:
        return CELLS[self.cell][1]

    def flops(self) -> float:
        forward = 2.0 * self.gates * self.H * (self.I + self.H) * self.B * self.T
        return forward * (3 if self.mode == "train" else 1)

    def regime(self) -> str:
        """The kind of work it is: what bounds it, and so what can be asked of it."""
        if self.B == 1:
            return "B=1, T=1" if self.T == 1 else "B=1, H≤128" if self.H <= 128 else "B=1, H>128"
        return "B>1, H<512" if self.H < 512 else "B≥20, H≥512" if self.B >= 20 else "B<20, H≥512"

    def input(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal((self.B, self.T, self.I), dtype=np.float32)

    def weights(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Kernel (I, G·H), recurrent kernel (H, G·H) and bias in rekur's order, uniform in ±1/√H as in torch."""
        rng = np.random.default_rng(1)
        rows = (self.I * self.gates, self.H * self.gates, CELLS[self.cell][2])
        kernel, recurrent, bias = (
            rng.uniform(-1, 1, (n, self.H)).astype(np.float32) / np.float32(self.H**0.5) for n in rows
        )
        return kernel.reshape(self.I, -1), recurrent.reshape(self.H, -1), bias


class Runner:
    """Someone's step at one case: a function of this process."""

    def __init__(self, step: Callable[[], object]) -> None:
        self.step = step

    def run(self, count: int) -> float:
        """Seconds that `count` steps take."""
        step = self.step
        start = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - start

    def close(self) -> None:
        """The case is over."""
