"""Tables whose rows have times: on the grid of regular steps, and back to their rows."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._clocks import in_utc
from rekur.tasks._reading import _times_like
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks._tables import read_table
from rekur.tasks._timeline import Timeline

Floats = NDArray[np.float64]

_RATE = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:/|per)\s*(second|minute|hour|day|week|month|year)\s*")
_SECONDS = {
    "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0, "month": 2629746.0,
    "year": 31556952.0,
}  # fmt: skip


@dataclass(frozen=True)
class Placed:
    """One table on its grid.

    ``values`` (T, F): a row a step, NaN where the table has none; ``steps`` (R,): the step of each of its rows;
    ``first``: the grid's number of step 0; ``index``: the pandas index of its rows, or None.
    """

    values: Floats
    steps: NDArray[np.int64]
    first: int
    timeline: Timeline
    index: Any

    def rows(self, found: NDArray[Any]) -> Any:
        """What was found for the steps, for the rows: with the index they came with, if it is of times."""
        per_row = found[self.steps]
        if self.index is None:
            return per_row
        import pandas

        if per_row.ndim == 1:
            return pandas.Series(per_row, index=self.index)
        return pandas.DataFrame(per_row, index=self.index)

    def time(self, step: int) -> Any:
        """When a step is: as the index has it, or datetime64 in UTC."""
        at = np.flatnonzero(self.steps == step)
        if self.index is not None and len(at):
            return self.index[at[0]]
        when = self.timeline.time(np.array([self.first + step]))[0]
        if self.index is None:
            return when
        import pandas

        zone = getattr(self.index, "tz", None)
        stamp = pandas.Timestamp(when)
        return stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone)

    @property
    def seconds(self) -> float:
        """How long a step is on average; 1 where time is a plain number."""
        if len(self.values) < 2 or not self.timeline.calendar:
            return 1.0
        ends = self.timeline.time(np.array([self.first, self.first + len(self.values) - 1]))
        return float((ends[1] - ends[0]) / np.timedelta64(1, "ns")) / 1e9 / (len(self.values) - 1)


def has_times(item: Any, time: Any) -> bool:
    """Whether the rows of a table have times: by its index, or because a column was named."""
    return time is not None or type(getattr(item, "index", None)).__name__ in ("DatetimeIndex", "PeriodIndex")


def place(item: Any, columns: list[Any], time: Any, freq: Any, like: dict[str, Any] | None) -> tuple[Placed, SeriesSet]:
    """A table on the grid of its steps, or on that of the training data.

    Parameters
    ----------
    item : frame
    columns : list
        Those that are channels.
    time : name, optional
        Of the column of times; else they are the index.
    freq : str, optional
        The step; else it is found out.
    like : dict, optional
        A state of the training data's SeriesSet.
    """
    index = getattr(item, "index", None)
    indexed = time is None
    if indexed and type(index).__name__ == "PeriodIndex":
        item = item.copy()
        item.index = index.to_timestamp()  # type: ignore[union-attr]
    if like is None:
        known = read_series(item, time=time, target=columns, freq=freq)
    else:
        known = read_series(item, like=SeriesSet.of_state(like))
    (series,) = known.series
    begin = int(known.timeline.ordinal(series.start))
    steps = _ordinals(item, known)
    # Rows before and behind the first and last that say anything are steps, too.
    first, end = min(begin, int(steps.min())), max(begin + len(series), int(steps.max()) + 1)
    values = np.full((end - first, series.target.shape[1]), np.nan)
    values[begin - first : begin - first + len(series)] = series.target
    return Placed(values, steps - first, first, known.timeline, index if indexed else None), known


def _ordinals(item: Any, known: SeriesSet) -> NDArray[np.int64]:
    """The step of each row of a table, as its timeline counts."""
    table = read_table(item, day_first=known.layout.day_first)
    stamps: Any = _times_like(table, known)
    line = known.timeline
    if not line.calendar:
        return np.asarray(line.ordinal(stamps.numbers()), np.int64)
    rows = np.arange(len(stamps.values))
    there = in_utc(stamps, line.time_zone, np.zeros(len(rows), np.int64), rows, []).values
    return np.asarray(line.ordinal(there.astype("M8[ns]")), np.int64)


def per_step(given: str, seconds: float | None, who: str) -> float:
    """A rate such as "1/day" as a rate a step.

    Raises
    ------
    ValueError
        If it is not such a rate, or data have no times.
    """
    match = _RATE.fullmatch(given)
    if match is None:
        raise ValueError(
            f"{who}: false_alarms: expected a number of alarms a step, or text such as '1/day', '2 per week', got "
            f"{given!r:.60}"
        )
    if seconds is None:
        raise ValueError(
            f"{who}: false_alarms: {given!r} is for data with times: a frame whose index are times, or time="
        )
    return float(match[1]) * seconds / _SECONDS[match[2]]
