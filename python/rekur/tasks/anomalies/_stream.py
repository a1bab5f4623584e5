"""A detector one step at a time."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur._streams import Stream
from rekur._validate import integer
from rekur.tasks._sequences import _check_finite
from rekur.tasks.anomalies._spot import Spot, spot_of

if TYPE_CHECKING:
    from rekur.tasks.anomalies._detector import AnomalyDetector


class Verdict(NamedTuple):
    """What a detector says of one step: of one series numbers, of several arrays of shape (rows,).

    ``score``: that of ``score_samples`` without the minus; ``alarm``; ``channel``: the most unusual one, a number or a
    column's name.
    """

    score: Any
    alarm: Any
    channel: Any


def _numbers(given: Any, what: str) -> NDArray[np.float32]:
    """As float32; what that cannot hold is refused, as ``score_samples`` does."""
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        array = np.asarray(array, np.float64)
    _check_finite(array, f"AnomalyDetector: {what}")
    return np.asarray(array, np.float32)


class DetectorStream:
    """A detector that gets a step at a time, made by :meth:`AnomalyDetector.stream`.

    Scores are to the bit those of ``score_samples`` for the whole series.
    """

    def __init__(
        self, detector: "AnomalyDetector", rows: int, adapt: Any, depth: Any, normal: Any, rate: float | None
    ) -> None:
        who = "AnomalyDetector: stream"
        self._stream = Stream(detector.models_[0], batch=integer(rows, f"{who}: rows"))
        self._channels = detector.n_features_in_
        self._names = getattr(detector, "feature_names_in_", None)
        self._limit = detector.threshold_
        self._spots: list[Spot] | None = None
        depth = integer(depth, f"{who}: depth", 2)
        if adapt is None:
            if normal is not None or rate is not None:
                raise ValueError(f"{who}: normal and false_alarms are for adapt='spot' and 'dspot'")
        else:
            wished = detector.false_alarms_ if rate is None else rate
            scores = None
            if normal is not None:
                found = detector.score_samples(normal)
                scores = -np.concatenate(found) if isinstance(found, list) else -found
            self._spots = [spot_of(adapt, detector._tail, wished, depth, scores, who) for _ in range(self._stream.rows)]

    @property
    def rows(self) -> int:
        """How many series go side by side."""
        return self._stream.rows

    @property
    def threshold(self) -> Any:
        """The score above which the next step is an alarm: a number, or of several series an array."""
        limits = [self._limit] if self._spots is None else [spot.threshold for spot in self._spots]
        return limits[0] if self.rows == 1 else np.array(limits if len(limits) > 1 else limits * self.rows)

    def update(self, x: Any) -> Verdict:
        """The next step.

        Parameters
        ----------
        x : float, or array_like of shape (F,); of several series (rows, F)
            NaN stands for a missing value.

        Returns
        -------
        Verdict
            score, alarm, channel.

        Raises
        ------
        ValueError
            For infinity, as from ``score_samples``; nothing has stepped then.
        """
        given = _numbers(x, "update")
        single = self.rows == 1 and given.ndim < 2
        if given.size == self.rows * self._channels:
            given = given.reshape(self.rows, self._channels)
        score, parts = self._stream.step(given)
        return self._verdict(score[:, 0], parts, single)

    def _verdict(self, score: NDArray[Any], parts: NDArray[Any], single: bool) -> Verdict:
        scores = score.astype(np.float64)
        if self._spots is None:
            alarms = scores > self._limit
        else:
            alarms = np.array([spot.update(float(s)) for spot, s in zip(self._spots, scores, strict=True)])
        worst: Any = np.argmax(parts, axis=-1)
        channels = worst if self._names is None else self._names[worst]
        if not single:
            return Verdict(scores, alarms, channels)
        channel = channels[0]
        return Verdict(float(scores[0]), bool(alarms[0]), channel.item() if hasattr(channel, "item") else channel)

    def process(self, X: Any) -> Verdict:
        """Several steps at once, to the bit what they are one by one.

        Parameters
        ----------
        X : array_like of shape (T, F) or (T,); of several series (rows, T, F)

        Returns
        -------
        Verdict
            Of arrays of shape (T,), or (rows, T).

        Raises
        ------
        ValueError
            For infinity, as from ``score_samples``; nothing has stepped then.
        """
        given = _numbers(X, "process")
        single = self.rows == 1 and given.ndim < 3
        if given.ndim == 1:
            given = given[:, None]
        given = given.reshape(1, *given.shape) if single else given
        score, parts = self._stream.process(given)
        steps = [self._verdict(score[:, t, 0], parts[:, t], False) for t in range(given.shape[1])]
        if not steps:
            raise ValueError("AnomalyDetector: process: expected at least one step")
        arrays = [np.stack([step[field] for step in steps], axis=1) for field in range(3)]
        return Verdict(*(array[0] if single else array for array in arrays))

    def reset(self, row: int | None = None) -> None:
        """A series begins anew: all of them, or one. What an adapting threshold has learned stays."""
        self._stream.reset(row)
