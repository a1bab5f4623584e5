"""Other libraries' classifiers with their own defaults. They take no ragged sequences: these are padded with zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.contender import PEER, Clock, Contender
from benchmarks.tasks.labelled import ClassTask, Sequences
from benchmarks.tasks.scores import accuracy


def padded(parts: Sequences, length: int) -> NDArray[np.float64]:
    """(N, F, T), zeros at the end."""
    out = np.zeros((len(parts), parts[0].shape[1], length))
    for row, one in zip(out, parts, strict=True):
        row[:, : len(one)] = one.T
    return out


def _contender(name: str, needs: tuple[str, ...], make: Callable[[int], Any], seeds: int | None = None) -> Contender:
    def run(task: ClassTask, seed: int, clock: Clock) -> dict[str, float]:
        length = max(len(one) for one in [*task.train, *task.test])
        train, test = padded(task.train, length), padded(task.test, length)
        learner = make(seed)
        with clock.fitting():
            learner.fit(train, task.train_labels)
        with clock.predicting():
            answer = learner.predict(test)
        return {"accuracy": accuracy(task.test_labels, answer)}

    return Contender(name, PEER, run, needs=needs, seeds=seeds)


def _lstm_fcn(seed: int) -> Any:
    import torch
    from sktime.classification.deep_learning.lstmfcn import LSTMFCNClassifierTorch

    torch.manual_seed(seed)
    return LSTMFCNClassifierTorch(random_state=seed)


def _gru(seed: int) -> Any:
    import torch
    from sktime.classification.deep_learning.gru import GRUClassifier

    torch.manual_seed(seed)
    return GRUClassifier(random_state=seed)


def _rocket(seed: int) -> Any:
    from aeon.classification.convolution_based import RocketClassifier

    return RocketClassifier(random_state=seed, n_jobs=-1)


def _minirocket(seed: int) -> Any:
    from aeon.classification.convolution_based import MiniRocketClassifier

    return MiniRocketClassifier(random_state=seed, n_jobs=-1)


CONTENDERS = [
    _contender("sktime LSTM-FCN (torch)", ("sktime", "torch"), _lstm_fcn),
    _contender("sktime GRU (torch)", ("sktime", "torch"), _gru),
    _contender("aeon MiniRocket", ("aeon",), _minirocket),
    _contender("aeon Rocket", ("aeon",), _rocket),
]
