"""Signals with marked anomalies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.packages import packaged, rows

Signal = NDArray[np.float64]  # (T, F)


@dataclass(frozen=True)
class AnomalyTask:
    """A stretch for training that holds nothing wrong, and one to be searched."""

    name: str
    title: str
    source: str
    train: Signal
    test: Signal
    labels: NDArray[np.int64]  # (T,): 1 within an anomaly
    period: int  # steps of the signal's own cycle: the tolerance of a finding and the buffer of VUS

    @property
    def windows(self) -> list[tuple[int, int]]:
        """First step and step after the last of each anomaly."""
        edges = np.flatnonzero(np.diff(np.concatenate([[0], self.labels, [0]])))
        return [(int(begin), int(end)) for begin, end in edges.reshape(-1, 2)]


def _column(path: str) -> tuple[Signal, NDArray[np.int64]]:
    table = np.array([[float(word) for word in row[1:]] for row in rows(packaged("aeon", f"datasets/data/{path}"))])
    return table[:, :-1], table[:, -1].astype(np.int64)


def internal_bleeding() -> AnomalyTask:
    folder = "KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16"
    train, _ = _column(f"{folder}_TRAIN.csv")
    test, labels = _column(f"{folder}_TEST.csv")
    title = "KDD-TSAD 135 (UCR InternalBleeding16): arterial pressure, one anomaly of 12 steps in 7,501"
    return AnomalyTask("internal-bleeding", title, "aeon", train, test, labels, 183)


def ecg() -> AnomalyTask:
    train, _ = _column("UnitTest/ecg-diff-count-3_TRAIN_NA.csv")
    test, labels = _column("UnitTest/ecg-diff-count-3_TEST.csv")
    title = "ecg-diff-count-3: synthetic heartbeats, three anomalies of 100 steps in 10,000"
    return AnomalyTask("ecg", title, "aeon", train, test, labels, 100)


def daphnet() -> AnomalyTask:
    signal, labels = _column("Daphnet_S06R02E0/S06R02E0.csv")
    title = "Daphnet S06R02E0: nine accelerometers on a walking person; the shipped file marks no anomaly"
    return AnomalyTask("daphnet", title, "aeon", signal[:3000], signal[3000:], labels[3000:], 64)


TASKS: dict[str, Callable[[], AnomalyTask]] = {
    "internal-bleeding": internal_bleeding,
    "ecg": ecg,
    "daphnet": daphnet,
}
