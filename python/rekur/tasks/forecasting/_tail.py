"""The ends of the series that a forecaster was trained on: what forecasts without new data begin with."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._series import Series, SeriesSet
from rekur.tasks.forecasting._plan import Plan
from rekur.tasks.forecasting._windows import WindowArrays


def tail_of(known: SeriesSet, plan: Plan) -> dict[str, Any]:
    """The last steps of every series as a tree of plain values and arrays."""
    kept = [_cut(known, series, plan.context) for series in known.series]
    return {
        "ids": [series.id for series in kept],
        "starts": np.asarray([int(known.timeline.ordinal(series.start)) for series in kept], np.int64),
        "lengths": np.asarray([len(series) for series in kept], np.int64),
        "ahead": np.asarray([series.extra if plan.future.names else 0 for series in kept], np.int64),
        "target": np.concatenate([series.target for series in kept]),
        "past": np.concatenate([series.past for series in kept]),
        "future": np.concatenate([series.future for series in kept]),
        "static": np.asarray([series.static for series in kept], np.float64),
    }


def series_of(tail: dict[str, Any], like: SeriesSet) -> SeriesSet:
    """The series that :func:`tail_of` kept, as a set like the one they came from.

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    """
    lengths = [int(n) for n in tail["lengths"]]
    ends = np.cumsum(lengths)
    ahead = np.cumsum(np.asarray(lengths) + np.asarray(tail["ahead"]))
    if len(tail["target"]) != ends[-1] or len(tail["past"]) != ends[-1] or len(tail["ids"]) != len(lengths):
        raise ValueError("the ends of the series are not whole")
    made = []
    for number, length in enumerate(lengths):
        rows = slice(int(ends[number]) - length, int(ends[number]))
        known = slice(int(ahead[number]) - length - int(tail["ahead"][number]), int(ahead[number]))
        future = tail["future"][known] if len(like.future) else np.zeros((length, 0))
        start = like.timeline.time(int(tail["starts"][number]))
        made.append(
            Series(tail["ids"][number], start, tail["target"][rows], tail["past"][rows], future, tail["static"][number])
        )
    return dataclasses.replace(like, series=made)


def _cut(known: SeriesSet, series: Series, steps: int) -> Series:
    """The last steps of a series."""
    gone = max(len(series) - steps, 0)
    if not gone:
        return series
    start = known.timeline.time(int(known.timeline.ordinal(series.start)) + gone)
    return dataclasses.replace(
        series, start=start, target=series.target[gone:], past=series.past[gone:], future=series.future[gone:]
    )


def of_array(X: Any, like: SeriesSet, steps: int) -> SeriesSet | None:
    """The last steps of a plain array as :func:`rekur.tasks._series.read_series` reads it, in microseconds; else None.

    It is for one target without covariates and times, whose first and last values are there.
    """
    if type(X) is not np.ndarray or X.ndim != 1 or X.dtype != np.float64 or len(X) < 2:
        return None
    if like.layout.kind != "array" or len(like.target) != 1 or like.past or like.future or like.static:
        return None
    if not (np.isfinite(X[0]) and np.isfinite(X[-1])) or like.layout.time or like.timeline.unit != "number":
        return None
    gone = max(len(X) - steps, 0)
    target = X[gone:, None]
    none = np.zeros((len(target), 0))
    one = Series(like.series[0].id, like.timeline.time(gone), target, none, none, np.zeros(0))
    return dataclasses.replace(like, series=[one], notes=[])


def joined(before: SeriesSet, after: SeriesSet) -> SeriesSet:
    """New data behind the ends that were kept, for the series that have both; a series without is as it is.

    Where both have a step, the new data are taken. Steps between that neither has are missing.
    """
    line = before.timeline
    kept = {series.id: series for series in before.series}
    made = []
    for series in after.series:
        old = kept.get(series.id)
        if old is None:
            made.append(series)
            continue
        begin, new = int(line.ordinal(old.start)), int(line.ordinal(series.start))
        if new <= begin:
            made.append(series)
            continue
        made.append(_behind(old, series, new - begin))
    return dataclasses.replace(after, series=made)


def _behind(old: Series, new: Series, at: int) -> Series:
    """``new`` put at step ``at`` of ``old``."""

    def put(first: Any, second: Any) -> Any:
        head = first[:at]
        gap = np.full((at - len(head), first.shape[1]), np.nan)
        return np.concatenate([head, gap, second])

    return dataclasses.replace(
        old, target=put(old.target, new.target), past=put(old.past, new.past), future=put(old.future, new.future)
    )


def last_windows(known: SeriesSet, plan: Plan) -> dict[str, NDArray[Any]]:
    """What networks take to forecast from the ends of series."""
    arrays = WindowArrays(cut_to(known, plan.context), plan)
    return arrays.inputs(arrays.last())


def cut_to(known: SeriesSet, context: int) -> SeriesSet:
    """The last steps of each series: what forecasts look at."""
    if all(len(series) <= context for series in known.series):
        return known
    return dataclasses.replace(known, series=[_cut(known, series, context) for series in known.series])


def rounding(known: SeriesSet) -> list[str]:
    """A sentence for each target whose changes single precision hardly sees."""
    told = []
    for k, name in enumerate(known.target):
        for series in known.series:
            y = series.target[:, k]
            y = y[np.isfinite(y)]
            if len(y) and 0 < np.std(y) < 1e-5 * np.max(np.abs(y)):
                told.append(f"{name} changes little beside its size, and networks see 7 digits: subtract a constant.")
                break
    return told
