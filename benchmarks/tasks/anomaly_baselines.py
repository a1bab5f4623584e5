"""What a detector has to beat: distance from the mean, and from the nearest (or the principal) windows of training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.contender import BASELINE, Clock, Contender
from benchmarks.tasks.scores import anomaly_scores
from benchmarks.tasks.signals import AnomalyTask

Array = NDArray[np.float64]


def scaled(task: AnomalyTask) -> tuple[Array, Array]:
    """Both parts in standard deviations of the training part."""
    mean, width = task.train.mean(axis=0), task.train.std(axis=0)
    width = np.where(width > 0, width, 1)
    return (task.train - mean) / width, (task.test - mean) / width


def windows(signal: Array, length: int) -> Array:
    """Every window as one row: (T − length + 1, length · F)."""
    view = np.lib.stride_tricks.sliding_window_view(signal, length, axis=0)
    return np.ascontiguousarray(view.reshape(len(view), -1))


def of_steps(score: Array, length: int, steps: int) -> Array:
    """A score a window → one a step: the mean over the windows that hold it."""
    total, count = np.zeros(steps + 1), np.zeros(steps + 1)
    for many, value in ((total, score), (count, np.ones(len(score)))):
        many[: len(value)] += value
        many[length : length + len(value)] -= value[: steps + 1 - length]
    return np.cumsum(total)[:steps] / np.maximum(np.cumsum(count)[:steps], 1)


def _distance(task: AnomalyTask, seed: int, clock: Clock) -> dict[str, float]:
    with clock.fitting():
        _, test = scaled(task)
    return anomaly_scores(task, np.abs(test).max(axis=1))


def marked(task: AnomalyTask) -> bool:
    return bool(task.windows)


def _over_windows(name: str, needs: tuple[str, ...], score: Callable[[Array, Array], Array]) -> Contender:
    def run(task: AnomalyTask, seed: int, clock: Clock) -> dict[str, float]:
        train, test = scaled(task)
        with clock.fitting():
            each = score(windows(train, task.period), windows(test, task.period))
        return anomaly_scores(task, of_steps(each, task.period, len(test)))

    return Contender(name, BASELINE, run, needs=needs, random=False, fits=marked)


def _nearest(train: Array, test: Array) -> Array:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=1).fit(train).kneighbors(test)[0][:, 0]


def _nearest_shape(train: Array, test: Array) -> Array:
    """Each window less its mean, in its own standard deviations: what a matrix profile compares."""

    def shape(parts: Array) -> Array:
        rest = parts - parts.mean(axis=1, keepdims=True)
        return rest / np.maximum(rest.std(axis=1, keepdims=True), 1e-8)

    return _nearest(shape(train), shape(test))


def _principal(train: Array, test: Array) -> Array:
    from sklearn.decomposition import PCA

    model = PCA(n_components=0.9, svd_solver="full").fit(train)
    return np.linalg.norm(test - model.inverse_transform(model.transform(test)), axis=1)


CONTENDERS = [
    Contender("distance from the mean", BASELINE, _distance, random=False, fits=marked),
    _over_windows("nearest window (1-NN)", ("sklearn",), _nearest),
    _over_windows("nearest shape (1-NN)", ("sklearn",), _nearest_shape),
    _over_windows("principal windows (PCA)", ("sklearn",), _principal),
]
