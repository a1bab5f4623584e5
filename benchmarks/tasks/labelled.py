"""Labelled sequences: the train and test files that aeon ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.packages import packaged

Sequences = list[NDArray[np.float32]]  # each (T, F); T may differ


@dataclass(frozen=True)
class ClassTask:
    """Sequences with one label each, split as the archive splits them."""

    name: str
    title: str
    source: str
    train: Sequences
    train_labels: NDArray[np.str_]
    test: Sequences
    test_labels: NDArray[np.str_]
    published: dict[str, float]  # accuracy that was printed elsewhere: name of the method → figure

    @property
    def ragged(self) -> bool:
        return len({len(one) for one in [*self.train, *self.test]}) > 1


def read_ts(file: Path) -> tuple[Sequences, NDArray[np.str_]]:
    """Read a .ts file of labelled sequences (channels divided by ":", the label at the end of a line)."""
    sequences: Sequences = []
    labels: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith(("#", "@")):
            *channels, label = line.strip().split(":")
            numbers = [[float(word) for word in channel.split(",")] for channel in channels]
            sequences.append(np.array(numbers, np.float32).T)
            labels.append(label)
    return sequences, np.array(labels)


# Karim et al. 2018: https://github.com/titu1994/LSTM-FCN, Results/train_loss_old_datasets.csv (the network of least
# training loss); Karim et al. 2019, JapaneseVowels: table of https://github.com/titu1994/MLSTM-FCN, two digits.
_SETS: dict[str, tuple[str, str, dict[str, float]]] = {
    "japanese-vowels": (
        "JapaneseVowels",
        "JapaneseVowels: nine speakers, 12 channels, 7 to 29 steps",
        {"LSTM-FCN (published)": 0.99, "MLSTM-FCN (published)": 1.00},
    ),
    "basic-motions": ("BasicMotions", "BasicMotions: four activities, 6 channels, 100 steps", {}),
    "italy-power": (
        "ItalyPowerDemand",
        "ItalyPowerDemand: summer or winter, 24 steps",
        {"LSTM-FCN (published)": 0.9621, "ALSTM-FCN (published)": 0.9592},
    ),
    "gun-point": (
        "GunPoint",
        "GunPoint: gun or finger, 150 steps",
        {"LSTM-FCN (published)": 1.0, "ALSTM-FCN (published)": 1.0},
    ),
    "arrow-head": (
        "ArrowHead",
        "ArrowHead: three shapes, 251 steps, 36 for training",
        {"LSTM-FCN (published)": 0.8971, "ALSTM-FCN (published)": 0.8229},
    ),
    "osu-leaf": (
        "OSULeaf",
        "OSULeaf: six kinds of leaf, 427 steps",
        {"LSTM-FCN (published)": 0.9835, "ALSTM-FCN (published)": 0.9876},
    ),
    "pickup-gesture": ("PickupGestureWiimoteZ", "PickupGestureWiimoteZ: ten gestures, 29 to 361 steps", {}),
}


def _load(name: str) -> ClassTask:
    folder, title, published = _SETS[name]
    parts = [packaged("aeon", f"datasets/data/{folder}/{folder}_{part}.ts") for part in ("TRAIN", "TEST")]
    (train, train_labels), (test, test_labels) = map(read_ts, parts)
    return ClassTask(name, title, "aeon", train, train_labels, test, test_labels, published)


TASKS: dict[str, Callable[[], ClassTask]] = {name: partial(_load, name) for name in _SETS}
