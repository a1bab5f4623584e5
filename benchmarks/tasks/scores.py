"""Scores of forecasts, findings and answers, in NumPy; the tests hold them to other libraries and to closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.series import ForecastTask
from benchmarks.tasks.signals import AnomalyTask

Array = NDArray[np.float64]
LEVELS = tuple(k / 10 for k in range(1, 10))  # quantiles that a forecast gives
BAND = (0, 8)  # positions in LEVELS of the band that holds 80 %


def naive_error(train: Array, season: int) -> float:
    """Mean absolute error of repeating the last season, over the training part: what MASE divides by."""
    return float(np.nanmean(np.abs(train[season:] - train[:-season])))


def pinball(truth: Array, quantiles: Array) -> Array:
    """Quantile loss: truth (…), quantiles (…, 9) → (…, 9)."""
    error = truth[..., None] - quantiles
    levels = np.array(LEVELS)
    return np.maximum(levels * error, (levels - 1) * error)


def forecast_scores(task: ForecastTask, quantiles: Sequence[Array]) -> dict[str, float]:
    """Scores of `quantiles[s][origin, step, level]`.

    MASE (Hyndman and Koehler 2006) takes the median as the point, and the CRPS is twice the mean quantile loss over the
    nine levels, divided by what MASE divides by: a forecast without a width has CRPS = MASE. Both are means over
    series, so that a series of large numbers weighs as much as any. Steps without a reading count nowhere.
    """
    mase, smape, crps, inside = [], [], [], []
    for one, forecast in zip(task.series, quantiles, strict=True):
        truth = task.truth(one)
        if forecast.shape != (*truth.shape, len(LEVELS)):
            raise ValueError(f"series {one.id}: expected quantiles {(*truth.shape, len(LEVELS))}, got {forecast.shape}")
        if not np.isfinite(forecast).all():
            raise ValueError(f"series {one.id}: the forecast has values that are not finite")
        ordered = np.sort(forecast, axis=-1)
        scale = naive_error(one.train, task.season)
        point = ordered[..., 4]
        error = np.abs(truth - point)
        mase.append(np.nanmean(error) / scale)
        size = np.abs(truth) + np.abs(point)
        smape.append(np.nanmean(200 * error / np.where(size > 0, size, 1)))
        crps.append(2 * np.nanmean(pinball(truth, ordered)) / scale)
        there = ~np.isnan(truth)
        inside.append(((truth >= ordered[..., BAND[0]]) & (truth <= ordered[..., BAND[1]]))[there])
    return {
        "MASE": float(np.mean(mase)),
        "sMAPE": float(np.mean(smape)),
        "CRPS": float(np.mean(crps)),
        "80 %": float(np.concatenate(inside).mean() * 100),
    }


def found(task: AnomalyTask, score: Array) -> bool:
    """Whether the highest score lies in an anomaly, or within 100 steps of it or its own length (UCR's rule)."""
    peak = int(np.argmax(score))
    for begin, end in task.windows:
        slack = max(100, end - begin)
        if begin - slack <= peak < end + slack:
            return True
    return False


def hits(task: AnomalyTask, score: Array) -> float:
    """Share of the anomalies among as many highest peaks, each peak blotting out its period to both sides."""
    rest = np.array(score, float)
    met = set()
    for _ in task.windows:
        peak = int(np.argmax(rest))
        for number, (begin, end) in enumerate(task.windows):
            if begin - task.period <= peak < end + task.period:
                met.add(number)
        rest[max(0, peak - task.period) : peak + task.period + 1] = -math.inf
    return len(met) / len(task.windows) if task.windows else math.nan


def average_precision(labels: NDArray[np.int64], score: Array) -> float:
    """Area under precision and recall, step by step (scikit-learn's `average_precision_score`)."""
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(labels[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # equal scores are one threshold
    precision, recall = right[last] / (last + 1), right[last] / right[-1]
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * precision))


def vus_pr(task: AnomalyTask, score: Array) -> float:
    """Volume under the precision-recall surface (Paparrizos et al. 2022) by aeon, buffers up to the period.

    NaN where aeon is not installed, or nothing is marked.
    """
    try:
        from aeon.benchmarking.metrics.anomaly_detection import range_pr_vus_score
    except ImportError:
        return math.nan
    if not task.windows:
        return math.nan
    return float(range_pr_vus_score(task.labels, score, max_buffer_size=task.period))


def anomaly_scores(task: AnomalyTask, score: Array) -> dict[str, float]:
    """Scores of one number a step; where nothing is marked there are none."""
    if score.shape != task.labels.shape or not np.isfinite(score).all():
        raise ValueError(
            f"{task.name}: expected one finite score for each of {len(task.labels)} steps, got {score.shape}"
        )
    if not task.windows:
        return {}
    return {
        "found": float(found(task, score)),
        "all found": hits(task, score),
        "VUS-PR": vus_pr(task, score),
        "AP": average_precision(task.labels, score),
    }


def alarm_scores(task: AnomalyTask, alarms: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Share of the anomalies that an alarm (first step, step after the last) meets, and how many alarms meet none.

    A period of slack, since a score of windows may speak up until its window has left the anomaly.
    """

    def meet(alarm: tuple[int, int], window: tuple[int, int]) -> bool:
        return alarm[0] < window[1] + task.period and alarm[1] > window[0]

    false = sum(not any(meet(alarm, window) for window in task.windows) for alarm in alarms)
    caught = [any(meet(alarm, window) for alarm in alarms) for window in task.windows]
    return {**({"caught": float(np.mean(caught))} if caught else {}), "false alarms": float(false)}


def accuracy(truth: Sequence[str] | NDArray[np.str_], answer: Sequence[str] | NDArray[np.str_]) -> float:
    """Share of right answers."""
    return float(np.mean(np.asarray(truth).astype(str) == np.asarray(answer).astype(str)))
