"""Thresholds that go with the stream: SPOT and DSPOT (Siffer et al., KDD 2017)."""

from collections import deque
from typing import Any

import numpy as np

from rekur.tasks.anomalies._tail import Floats, Tail, open_ended

_MOST_PEAKS = 1000
_FITS = 50  # while the peaks double in number


class Spot:
    """A threshold that learns from every score that is no alarm.

    Peaks above the tail's level are added to it and the distribution is fitted anew; scores above the threshold are
    alarms, and nothing is learned from them. As in :class:`Tail`, of scores fewer than ``apart`` steps from one another
    the highest alone is a peak (the paper takes each).

    Parameters
    ----------
    tail : Tail
        Of the training data.
    rate : float
        Wished alarms a step.
    depth : int
        0: SPOT. Else DSPOT: scores are compared with the mean of the last ``depth`` that were no alarms, and ``tail``
        is that of such differences.

    References
    ----------
    A. Siffer, P.-A. Fouque, A. Termier, C. Largouët, "Anomaly detection in streams with extreme value theory", KDD
    2017.
    """

    def __init__(self, tail: Tail, rate: float, depth: int = 0, before: Floats | None = None) -> None:
        self._level, self._apart, self._rate, self._depth = tail.level, tail.apart, rate, depth
        self._excesses = deque(tail.excesses.tolist(), maxlen=_MOST_PEAKS)
        # How many steps the peaks come from; the oldest peaks go, and their steps with them.
        self._steps = tail.count / tail.rate if tail.rate > 0 else 1.0
        self._limit = tail.threshold(rate)
        self._peak: float | None = None
        self._since = 0
        self._new = 0
        self._recent: deque[float] = deque(maxlen=depth or None)
        if depth and before is not None:
            self._recent.extend(before[np.isfinite(before)].tolist())

    @property
    def threshold(self) -> float:
        """The score above which the next step is an alarm."""
        return self._limit + self._drift()

    def _drift(self) -> float:
        return float(np.mean(self._recent)) if self._depth and self._recent else 0.0

    def update(self, score: float) -> bool:
        """Whether a step with this score is an alarm; what is none is learned from."""
        if not np.isfinite(score):
            return False
        value = score - self._drift()
        if value > self._limit:
            self._commit()
            return True
        if self._depth:
            self._recent.append(score)
        self._steps += 1
        if self._peak is not None:
            self._since += 1
            if self._since >= self._apart:
                self._commit()
        if value > self._level and (self._peak is None or value > self._peak):
            self._peak, self._since = value, 0
        return False

    def _commit(self) -> None:
        """What was highest is a peak: it is over."""
        if self._peak is None:
            return
        if len(self._excesses) == self._excesses.maxlen:
            self._steps -= self._steps / len(self._excesses)
        self._excesses.append(self._peak - self._level)
        self._peak = None
        self._new += 1
        # One peak more of a hundred changes little, and a fit takes longer than a step.
        if len(self._excesses) >= 2 and self._new * _FITS >= len(self._excesses):
            self._new = 0
            excesses = np.array(self._excesses)
            shape, scale = open_ended(excesses)
            rate = len(excesses) / self._steps
            found = Tail(self._level, rate, shape, scale, len(excesses), 0.0, self._apart, excesses)
            self._limit = found.threshold(self._rate)


def without_drift(scores: Floats, depth: int) -> Floats:
    """Scores less the mean of the ``depth`` before each; NaN where there are not so many."""
    known = np.where(np.isfinite(scores), scores, 0.0)
    count = np.concatenate([[0], np.cumsum(np.isfinite(scores))])
    total = np.concatenate([[0.0], np.cumsum(known)])
    found = np.full(len(scores), np.nan)
    if len(scores) > depth:
        number = count[depth:-1] - count[: -depth - 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (total[depth:-1] - total[: -depth - 1]) / number
        found[depth:] = scores[depth:] - np.where(number > 0, mean, np.nan)
    return found


def spot_of(adapt: Any, tail: Tail, rate: float, depth: int, scores: Floats | None, who: str) -> Spot:
    """What ``stream(adapt=…)`` asks for.

    Parameters
    ----------
    adapt : {"spot", "dspot"}
    scores : array, optional
        Of data that were normal: DSPOT begins with them.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if adapt == "spot":
        return Spot(tail, rate)
    if adapt != "dspot":
        raise ValueError(f"{who}: adapt: expected None, 'spot' or 'dspot', got {adapt!r:.60}")
    if scores is None:
        raise ValueError(f"{who}: adapt='dspot' begins with data that are normal: give them as normal=")
    least = 2 * depth + 10 * tail.apart
    if len(scores) < least:
        raise ValueError(f"{who}: normal: {len(scores)} steps, at least {least} are needed with depth={depth}")
    return Spot(Tail.of([without_drift(scores, depth)], tail.apart), rate, depth, scores)
