"""Alarms as stretches of time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Alarm:
    """One stretch of steps whose scores exceed the threshold.

    ``start`` and ``end`` (one past the last step) are step numbers or, of a frame with an index of times, its entries;
    ``end`` is then the last step's. ``peak`` is where the ``score`` is highest, ``channel`` the most unusual one where
    the alarm starts (later it may have led forecasts of the others astray): a number or a column's name.
    """

    start: Any
    end: Any
    peak: Any
    score: float
    channel: Any


def stretches(flags: NDArray[np.bool_], gap: int) -> list[tuple[int, int]]:
    """Runs of True as (first, one past the last); runs with at most ``gap`` steps between them are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    found: list[tuple[int, int]] = []
    for first, end in edges.reshape(-1, 2).tolist():
        if found and first - found[-1][1] <= gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found
