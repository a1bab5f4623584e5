"""Probabilities that are as often right as they say: temperature and vector scaling of scores, and measures of it.

Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_COLDEST, _HOTTEST = 0.05, 20.0
_PULL = 1e-2  # of vector scaling, towards the temperature, in rows


class Calibration(NamedTuple):
    """Scores z become z · scale + offset, one number a class."""

    scale: Floats
    offset: Floats

    def __call__(self, scores: NDArray[Any]) -> Floats:
        return np.asarray(scores, np.float64) * self.scale + self.offset


def softmax(scores: NDArray[Any]) -> Floats:
    """Probabilities of scores (…, C), in float64."""
    scores = np.asarray(scores, np.float64)
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Floats = raised / raised.sum(axis=-1, keepdims=True)
    return found


def log_loss(scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> float:
    """The mean of −log p of the labels (N,), places in the C classes of scores (N, C)."""
    scores = np.asarray(scores, np.float64)
    highest = scores.max(axis=-1)
    logs = highest + np.log(np.exp(scores - highest[:, None]).sum(axis=-1)) - scores[np.arange(len(scores)), labels]
    return float(np.average(logs, weights=weights))


def _aims(labels: NDArray[Any], classes: int) -> Floats:
    """What probabilities are to be, (N, C): 1 less what N rows that are all right still leave to error.

    After N rows without one, the next is wrong with probability 1 / (N + 2) (the rule of succession, as in Platt's
    scaling): without that, scores that are right everywhere would be made infinite.
    """
    wrong = 1.0 / (len(labels) + 2)
    found = np.full((len(labels), classes), wrong / max(1, classes - 1))
    found[np.arange(len(labels)), labels] = 1.0 - wrong
    return found


def temperature(scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Calibration:
    """One number for all scores, with the least log loss: what the loss is convex in is its inverse."""
    scores = np.asarray(scores, np.float64)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, np.float64)
    wanted = (_aims(labels, scores.shape[1]) * scores).sum(axis=-1)
    inverse, low, high = 1.0, 1.0 / _HOTTEST, 1.0 / _COLDEST
    for _ in range(60):
        p = softmax(scores * inverse)
        mean = (p * scores).sum(axis=-1)
        slope = np.average(mean - wanted, weights=weights)
        bend = np.average((p * scores**2).sum(axis=-1) - mean**2, weights=weights)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        step = inverse - slope / bend if bend > 1e-12 else (low if slope > 0 else high)
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - inverse) < 1e-9:
            break
        inverse = float(step)
    classes = scores.shape[1]
    return Calibration(np.full(classes, inverse), np.zeros(classes))


def vector(scores: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any] | None = None) -> Calibration:
    """A scale and an offset for each class: Newton's method, pulled a little towards the temperature.

    No scale falls below that of the highest temperature: where few rows tell nothing of a class, or by chance the
    opposite, its scores lose their weight and never turn round.
    """
    scores = np.asarray(scores, np.float64)
    rows, classes = scores.shape
    weights = np.ones(rows) if weights is None else np.asarray(weights, np.float64)
    weights = weights * (rows / weights.sum())
    first = temperature(scores, labels, weights)
    start = np.concatenate([first.scale, first.offset])
    spread = float(np.mean(scores**2)) + 1e-6
    pull = np.concatenate([np.full(classes, _PULL * classes * spread), np.full(classes, _PULL * classes)])
    aims = _aims(labels, classes)
    given = start.copy()
    least = np.concatenate([np.full(classes, 1.0 / _HOTTEST), np.full(classes, -np.inf)])

    def loss(values: Floats) -> float:
        scaled = scores * values[:classes] + values[classes:]
        logs = np.log(np.maximum(softmax(scaled), 1e-300))
        return -float((weights * (aims * logs).sum(axis=-1)).sum()) + 0.5 * float((pull * (values - start) ** 2).sum())

    now = loss(given)
    for _ in range(50):
        p = softmax(scores * given[:classes] + given[classes:])
        error = (p - aims) * weights[:, None]
        slope = np.concatenate([(error * scores).sum(axis=0), error.sum(axis=0)]) + pull * (given - start)
        # Each row's Hessian in its scaled scores is diag(p) − ppᵀ; by the parameters it is framed by (scores, 1).
        both = np.concatenate([p * scores, p], axis=1)
        hessian = -(both * weights[:, None]).T @ both + np.diag(pull)
        place = np.arange(classes)
        for row, left in ((0, scores), (classes, np.ones_like(scores))):
            for column, right in ((0, scores), (classes, np.ones_like(scores))):
                hessian[row + place, column + place] += (weights[:, None] * p * left * right).sum(axis=0)
        free = (given > least + 1e-6) | (slope < 0)  # a scale at its bound moves only away from it
        change = np.zeros_like(given)
        change[free] = np.linalg.solve(hessian[np.ix_(free, free)], slope[free])
        size = 1.0
        while size > 1e-6 and loss(np.maximum(given - size * change, least)) > now:
            size /= 2
        if size <= 1e-6:
            break
        given = np.maximum(given - size * change, least)
        before, now = now, loss(given)
        if before - now < 1e-9 * rows:
            break
    return Calibration(given[:classes], given[classes:])


METHODS = {"temperature": temperature, "vector": vector}


def calibration_error(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 15) -> float:
    """The expected calibration error of the most probable class: |share right − mean probability| over equal bins.

    Parameters
    ----------
    probabilities : ndarray of shape (N, C)
    labels : int ndarray of shape (N,)
        Places in the classes.
    """
    probabilities = np.asarray(probabilities, np.float64)
    best = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.minimum((best * bins).astype(int), bins - 1)
    differences = np.bincount(place, right.astype(float) - best, bins)
    return float(np.abs(differences).sum() / len(labels))
