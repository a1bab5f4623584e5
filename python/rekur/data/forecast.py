"""A series cut into supervised windows: ``context`` hours in, ``horizon`` hours out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rekur.data.hourly import Hourly

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scaling:
    """Column means and standard deviations, each of shape (F,), taken from the training hours alone."""

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """B windows of one part of the series.

    ``x`` (B, context, F) scaled; ``y`` (B, horizon) the temperature's change since the last reading before the
    targets, in training standard deviations. In °C: ``target`` and ``yesterday`` (B, horizon), ``latest`` (B,)
    that last reading. ``row`` (B,) is the row of each window's first target.
    """

    x: _Floats
    y: _Floats
    target: NDArray[np.float64]
    yesterday: NDArray[np.float64]
    latest: NDArray[np.float64]
    row: NDArray[np.int64]

    def __len__(self) -> int:
        return self.row.size


@dataclass(frozen=True)
class Windows:
    """Training, validation and test windows, in this order in time, and how their columns were scaled."""

    train: Part
    validation: Part
    test: Part
    scaling: Scaling

    def degrees(self, part: Part, y: NDArray[np.floating]) -> NDArray[np.float64]:
        """Forecasts in °C from the model's outputs, shape (B, horizon)."""
        change = y.astype(np.float64) * float(self.scaling.deviation[0])
        return part.latest[:, None] + change


def carry_forward(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each NaN replaced by the last reading before it, so that nothing reaches back in time.

    NaN before the first reading take that one. Raises ValueError if there is none.
    """
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("a column without a single reading")
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    filled: NDArray[np.float64] = values[np.where(last < 0, np.argmax(known), last)]
    return filled


def forecast_windows(
    series: Hourly,
    context: int = 72,
    horizon: int = 24,
    validation: float = 0.15,
    test: float = 0.15,
    neighbours: Sequence[Hourly] = (),
) -> Windows:
    """Windows of every hour of ``series``, split by time.

    A window belongs to the part in which all its targets lie; the parts' targets never overlap. Its inputs may reach
    back into an earlier part, as they would in use. Windows in which one of the targets, or of the day before them, was
    not observed are left out, so the naive forecast is never judged on a filled-in reading; elsewhere a missing input
    is the last one observed. ``neighbours`` are series of the same columns over the same time: their windows of the
    training hours join the training part, scaled as the others are. Raises ValueError when a part has no window,
    TypeError for a series that is none of :func:`load`.
    """
    for given in (series, *neighbours):
        if not isinstance(given, Hourly):
            raise TypeError(f"forecast_windows: expected series of rekur.data.load, got {given!r:.60}")
    if context < 24 or not 1 <= horizon <= 24:
        raise ValueError(f"expected context >= 24 and 1 <= horizon <= 24 hours, got {context} and {horizon}")
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise ValueError(f"expected shares in (0, 1) with a sum below 1, got validation {validation}, test {test}")
    hours = len(series)
    train_end, test_start = round(hours * (1 - validation - test)), round(hours * (1 - test))

    names = ["temperature", *(name for name in series.columns if name != "temperature")]
    known = np.stack([carry_forward(series.columns[name][:train_end]) for name in names], axis=1)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    scaling = Scaling((*names, "hour sin", "hour cos"), mean, np.where(deviation > 0, deviation, 1.0))

    parts = []
    for label, begin, end in (
        ("training", 0, train_end),
        ("validation", train_end, test_start),
        ("test", test_start, hours),
    ):
        part = _cut(series, scaling, context, horizon, begin, end)
        if not len(part):
            what = f"no {label} window of {context} + {horizon} hours in rows {begin} to {end}"
            raise ValueError(f"series {series.name!r}: {what}")
        parts.append(part)
    for other in neighbours:
        if other.columns.keys() != series.columns.keys() or other.start != series.start:
            raise ValueError(f"series {other.name!r} has other columns or another start than {series.name!r}")
        parts[0] = _joined(parts[0], _cut(other, scaling, context, horizon, 0, train_end))
    return Windows(parts[0], parts[1], parts[2], scaling)


def _cut(series: Hourly, scaling: Scaling, context: int, horizon: int, begin: int, end: int) -> Part:
    """The windows whose targets lie in rows [begin, end)."""
    filled = np.stack([carry_forward(series.columns[name]) for name in scaling.names[: len(series.columns)]], axis=1)
    features = np.concatenate([(filled - scaling.mean) / scaling.deviation, series.clock()], axis=1)
    row = np.arange(max(begin, context), end - horizon + 1)
    if row.size:
        observed = sliding_window_view(~np.isnan(series.temperature), 24 + horizon)
        row = row[observed[row - 24].all(axis=1)]
    ahead = row[:, None] + np.arange(horizon)
    target, yesterday = series.temperature[ahead], series.temperature[ahead - 24]
    latest = series.temperature[row - 1]
    y = ((target - latest[:, None]) / scaling.deviation[0]).astype(np.float32)
    x = features.astype(np.float32)[row[:, None] + np.arange(-context, 0)]
    return Part(x, y, target, yesterday, latest, row)


def _joined(a: Part, b: Part) -> Part:
    return Part(*(np.concatenate(pair) for pair in zip(vars(a).values(), vars(b).values(), strict=True)))
