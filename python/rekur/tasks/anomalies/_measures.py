"""How good scores and alarms are, by ranges of time, without the point adjustment that flatters random scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer

Floats = NDArray[np.float64]


def vus_pr(y_true: Any, scores: Any, window: int = 100, thresholds: int | None = 250) -> float:
    """Volume under the surface of precision and recall over buffers of 0 to ``window`` steps around each anomaly.

    The measure of the TSB-AD benchmark. A score that rises a little before or after its anomaly gets part of the
    credit, and no threshold is chosen. Unlike in measures with point adjustment, one alarm in an anomaly is not counted
    as all of it (Kim et al. 2022 show that random scores look good by those).

    Parameters
    ----------
    y_true : array_like of shape (T,)
        1 or True where a step is anomalous, 0 where it is not. (−1 and +1, as ``predict`` gives, are taken, too.)
    scores : array_like of shape (T,)
        The higher the more anomalous: ``-detector.score_samples(X)``.
    window : int
        The widest buffer, in steps; half of it stands at each side.
    thresholds : int or None
        How many of the scores, by rank, serve as thresholds; 250 are the benchmark's. None: all.

    Returns
    -------
    float
        From 0 to 1.

    Raises
    ------
    ValueError
        If the lengths differ, there is no anomaly, all steps are anomalous, or a score is NaN.

    References
    ----------
    J. Paparrizos et al., "Volume under the surface: a new accuracy evaluation measure for time-series anomaly
    detection", PVLDB 15(11), 2022. S. Kim et al., "Towards a rigorous evaluation of time-series anomaly detection",
    AAAI 2022.
    """
    precision_recall, _ = _volumes(y_true, scores, window, thresholds)
    return precision_recall


def vus_roc(y_true: Any, scores: Any, window: int = 100, thresholds: int | None = 250) -> float:
    """Volume under the surface of the receiver's operating characteristic; arguments as of :func:`vus_pr`."""
    _, characteristic = _volumes(y_true, scores, window, thresholds)
    return characteristic


def range_precision_recall(
    y_true: Any, y_pred: Any, *, alpha: float = 0.2, bias: str = "flat"
) -> tuple[float, float, float]:
    """Precision, recall and F1 of ranges of alarms against ranges of anomalies.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (T,)
        1, True or −1 where a step is anomalous, or an alarm. Numbers without a 0 among them are read as ``predict``
        gives them: −1 is an alarm and +1 is none, so that ones alone are no alarm. Where every step may be anomalous,
        give bools.
    alpha : float
        What finding an anomaly at all counts in its recall; 1 − ``alpha`` is for how much of it is found. An anomaly
        that several alarms share counts less: the found part is divided by their number.
    bias : {"flat", "front", "back"}
        Which steps of a range count more.

    Returns
    -------
    float, float, float
        Precision, recall, F1. 0 where there is nothing to divide by.

    References
    ----------
    N. Tatbul et al., "Precision and recall for time series", NeurIPS 2018.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: expected a number from 0 to 1, got {alpha!r}")
    if bias not in ("flat", "front", "back"):
        raise ValueError(f"bias: expected 'flat', 'front' or 'back', got {bias!r}")
    true, alarmed = _flags(y_true, "y_true"), _flags(y_pred, "y_pred")
    if len(true) != len(alarmed):
        raise ValueError(f"y_pred: expected {len(true)} steps as y_true has, got {len(alarmed)}")
    real, found = ranges(true), ranges(alarmed)
    recall = _mean_overlap(real, found, alpha, bias)
    precision = _mean_overlap(found, real, 0.0, bias)
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0


def ranges(flags: Any) -> list[tuple[int, int]]:
    """Runs of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _mean_overlap(of: list[tuple[int, int]], others: list[tuple[int, int]], alpha: float, bias: str) -> float:
    if not of:
        return 0.0
    total = 0.0
    for first, end in of:
        weights = _weights(end - first, bias)
        met = [(max(first, a), min(end, b)) for a, b in others if a < end and b > first]
        if met:
            part = sum(weights[a - first : b - first].sum() for a, b in met) / weights.sum()
            total += alpha + (1 - alpha) * part / len(met)
    return float(total / len(of))


def _weights(length: int, bias: str) -> Floats:
    rising = np.arange(1, length + 1, dtype=np.float64)
    return {"flat": np.ones(length), "back": rising, "front": rising[::-1]}[bias]


def _flags(given: Any, what: str) -> NDArray[np.bool_]:
    """Where a step is anomalous; of ones alone, which ``predict`` gives where nothing is, nowhere."""
    array = np.asarray(given)
    if array.ndim != 1:
        raise ValueError(f"{what}: expected shape (T,), got {array.shape}")
    kinds = set(np.unique(array).tolist())
    if kinds <= {0, 1} and (array.dtype.kind in "bu" or 0 in kinds):
        return array.astype(bool)
    if kinds <= {-1, 1}:
        return np.asarray(array == -1)
    raise ValueError(f"{what}: expected 0 and 1, or +1 and −1 as predict gives, got {sorted(kinds)[:5]}")


def _volumes(y_true: Any, scores: Any, window: Any, thresholds: Any) -> tuple[float, float]:
    true = _flags(y_true, "y_true")
    score = np.asarray(scores, np.float64)
    if score.shape != true.shape:
        raise ValueError(f"scores: expected shape {true.shape} as y_true has, got {score.shape}")
    if np.isnan(score).any():
        raise ValueError("scores: there are NaN among them")
    if not true.any() or true.all():
        raise ValueError(f"y_true: expected some steps of both kinds, got {int(true.sum())} of {len(true)} anomalous")
    window = integer(window, "window", 0)
    length = len(score)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    if thresholds is None:
        places = np.arange(length)
    else:
        places = np.linspace(0, length - 1, integer(thresholds, "thresholds", 2)).astype(int)
    # Alarms at a threshold are all scores that reach it, ties included.
    counts = np.searchsorted(-ranked, -ranked[places], side="right")
    anomalies = ranges(true)
    areas = [_areas(true, anomalies, score, order, counts, half) for half in range(window + 1)]
    return float(np.mean([a for a, _ in areas])), float(np.mean([b for _, b in areas]))


def _areas(
    true: NDArray[np.bool_], anomalies: list[tuple[int, int]], score: Floats, order: Any, counts: Any, window: int
) -> tuple[float, float]:
    length, half = len(true), window // 2
    soft = true.astype(np.float64)
    for first, end in anomalies:
        after = np.arange(end, min(end + half, length))
        soft[after] += np.sqrt(1 - (after - end + 1) / max(window, 1))
        before = np.arange(max(first - half, 0), first)
        soft[before] += np.sqrt(1 - (first - before) / max(window, 1))
    soft = np.minimum(soft, 1.0)
    zones: list[tuple[int, int]] = []  # one for anomalies whose buffers meet
    for first, end in anomalies:
        a, b = max(first - half, 0), min(end + half, length)
        if zones and first - half <= zones[-1][1] - 1:
            zones[-1] = (zones[-1][0], b)
        else:
            zones.append((a, b))
    hits = np.cumsum(soft[order])[counts - 1]
    outside = np.cumsum(np.where(true, 0.0, soft)[order])[counts - 1]
    whole = (true.sum() + true.sum() + outside) / 2
    tops = np.array([score[a:b].max() for a, b in zones])
    lowest = score[order][counts - 1]
    met = (tops[None] >= lowest[:, None]).mean(axis=1)
    recall = np.minimum(hits / whole, 1.0) * met
    false = (counts - hits) / (length - whole)
    precision = hits / counts
    up = np.concatenate([[0.0], recall])
    area = float(np.sum(np.diff(up) * precision))
    x, y = np.concatenate([[0.0], false, [1.0]]), np.concatenate([up, [1.0]])
    return area, float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
