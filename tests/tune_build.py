"""What the tests of rekur.tune search over; processes import it by name."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np

import rekur
from rekur import layers

STEPS, FEATURES = 8, 2


def data(rows: int = 48, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, STEPS, FEATURES)).astype(np.float32)
    return x, x[:, -3:].sum(axis=(1, 2))[:, None]


def network(units: int, rate: float, seed: int | None = None) -> rekur.Model:
    made = rekur.Sequential([rekur.Input((STEPS, FEATURES)), layers.GRU(units), layers.Dense(1)], seed=seed)
    made.compile(rekur.optimizers.Adam(rate), "mse")
    return made


def build(trial: Any) -> rekur.Model:
    return network(trial.suggest_int("units", 2, 12), trial.suggest_float("rate", 1e-3, 1e-1, log=True))


def die(trial: Any) -> rekur.Model:
    """The second trial's process is killed in the middle of it."""
    made = build(trial)
    if trial.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return made


def always_die(trial: Any) -> rekur.Model:
    os.kill(os.getpid(), signal.SIGKILL)
    return build(trial)


def mistaken(trial: Any) -> rekur.Model:
    return network(trial.no_such_thing)
