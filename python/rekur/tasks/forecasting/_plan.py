"""What a forecaster's network looks at: how far back, which seasons, which hours and days, which columns."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._columns import Name
from rekur.tasks._front import Statistics, statistics
from rekur.tasks._series import SeriesSet
from rekur.tasks._timeline import Timeline

MINUTE, HOUR, DAY = 60, 3600, 86400
WEEK, YEAR = 7 * DAY, 31_556_952  # the mean year of the calendar, in seconds
_PERIODS = {HOUR: "hour", DAY: "day", WEEK: "week", YEAR: "year"}
_USUAL, _LONGEST = 200, 400  # steps of a context that nobody chose: what is usual, and what a long season may take
_FEW = 24  # steps of context where there is no season
_ONCE_SEEN = 2.5  # so many of a period must be in the data for its phase to say something of the next one
_WEIGHED = 2000  # forecasts of a series by which the season is weighed
_TIMES_LAGGED = 2  # values of so many seasons ago stand beside each step ahead


@dataclass(frozen=True)
class Columns:
    """Covariates of one kind: (…, F) columns, of which some are codes of categories."""

    names: list[Name] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)  # how many categories each column has, 0 for numbers
    mean: list[float] = field(default_factory=list)
    deviation: list[float] = field(default_factory=list)
    missing: list[bool] = field(default_factory=list)

    @property
    def numbers(self) -> list[int]:
        """The columns that are numbers."""
        return [place for place, count in enumerate(self.categories) if not count]

    def statistics(self) -> Statistics:
        """Of the columns that are numbers."""
        at = self.numbers
        return Statistics(np.asarray(self.mean)[at], np.asarray(self.deviation)[at], np.asarray(self.missing, bool)[at])


@dataclass(frozen=True)
class Plan:
    """The sizes and constants that a network is built of, all plain values for a file."""

    horizon: int
    context: int
    targets: int
    season: int  # steps of the main season, 1: none
    lags: list[int]  # seasons, several times each, whose values ago stand beside a step ahead
    periods: list[int]  # of calendar features: seconds, or steps where time is a number
    calendar: bool  # whether the periods are seconds of local time
    past: Columns
    future: Columns
    static: Columns
    least_scale: list[float]  # of each target: what a window's scale is at least
    distance: int = 1  # steps apart of the values whose differences say how far a window moves, beside neighbours'
    season_weight: float = 1.0  # how much of the value of a season ago, 0: of the last value, forecasts begin with

    def state(self) -> dict[str, Any]:
        """As a tree of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Plan":
        """From what :meth:`state` gave."""
        kinds = {name: Columns(**state[name]) for name in ("past", "future", "static")}
        return cls(**{**state, **kinds})

    def period_names(self) -> list[str]:
        """What the calendar features are of."""
        if not self.calendar:
            return [f"{period} steps" for period in self.periods]
        return [_PERIODS.get(period, f"{period} s") for period in self.periods]


def make_plan(known: SeriesSet, horizon: int, context: int | None, season: int | None) -> Plan:
    """What suits the data.

    Parameters
    ----------
    known : SeriesSet
        With the series to train on.
    horizon : int
    context, season : int, optional
        As the user says, or None.
    """
    longest = max(len(series) for series in known.series)
    line = known.timeline
    main = line.season if season is None else season
    seasons = [main, *(s for s in line.seasons if s != main)] if season is None else [main]
    seasons = [s for s in seasons if s > 1]
    length = _context(horizon, seasons, longest) if context is None else context
    lags = _lags(seasons, length)
    periods = _periods(known, main, season is not None)
    targets = len(known.target)
    return Plan(
        horizon, length, targets, main, lags, periods, line.calendar,
        _columns(known, "past"), _columns(known, "future"), _columns(known, "static"),
        _least_scales(known), _distance(main, horizon, length),
        _season_weight(known, main, length, horizon) if main in lags else 0.0,
    )  # fmt: skip


def _distance(season: int, horizon: int, context: int) -> int:
    """A season, or the horizon, where the context has two of them; 1 where nothing has a season."""
    if season == 1:
        return 1
    return next((steps for steps in (season, horizon) if 1 < steps <= context // 2), 1)


def _season_weight(known: SeriesSet, season: int, context: int, horizon: int) -> float:
    """w with which last + w (a season ago − last) is nearest to what came, by squares of changes, from 0 to 1."""
    upper = lower = 0.0
    ahead = np.arange(horizon) % season
    for series in known.series:
        origins = np.arange(max(season, 1), len(series) - horizon + 1)
        origins = origins[:: max(len(origins) // _WEIGHED, 1)]
        if not len(origins):
            continue
        for k in range(series.target.shape[1]):
            y = series.target[:, k]
            last = y[origins - 1][:, None]
            before = y[origins[:, None] - season + ahead] - last
            came = y[origins[:, None] + np.arange(horizon)] - last
            there = np.isfinite(before) & np.isfinite(came)
            size = float(np.mean(before[there] ** 2)) if there.any() else 0.0
            if size > 0:  # every series counts alike
                upper += float(np.sum(before[there] * came[there])) / size
                lower += float(np.sum(before[there] ** 2)) / size
    return float(np.clip(upper / lower, 0.0, 1.0)) if lower > 0 else 1.0


def _context(horizon: int, seasons: Sequence[int], longest: int) -> int:
    """How many steps a forecast looks back."""
    wanted = max(2 * horizon, _FEW if not seasons else 0)
    for season in seasons:
        whole = -(-horizon // season) * season
        for steps in (7 * season, 4 * season, 2 * season, season + whole, season):
            if steps <= _USUAL or (steps < 2 * season and steps <= _LONGEST):
                wanted = max(wanted, steps)
                break
    most = max(longest - horizon, 2)
    return min(wanted, max(_USUAL, 2 * horizon), most)


def _lags(seasons: Sequence[int], context: int) -> list[int]:
    found = []
    for season in sorted(seasons):
        found += [season * times for times in range(1, _TIMES_LAGGED + 1) if season * times <= context]
    return sorted(set(found))


def _periods(known: SeriesSet, season: int, said: bool) -> list[int]:
    """Periods of calendar features: longer than a step, and seen more than twice."""
    line = known.timeline
    longest = max(len(series) for series in known.series)
    if not line.calendar:
        return [season] if season > 1 and longest >= _ONCE_SEEN * season and (said or len(known) == 1) else []
    step = step_seconds(line)
    found = [period for period in _PERIODS if period > 1.5 * step and longest * step >= _ONCE_SEEN * period]
    if step >= MINUTE:
        found = [period for period in found if period != HOUR]
    return found


def step_seconds(line: Timeline) -> float:
    """How long a step is, about."""
    if line.unit == "months":
        return float(line.size) * YEAR / 12
    if line.unit == "business":
        return DAY
    return float(line.size) / 1e9


def _columns(known: SeriesSet, kind: str) -> Columns:
    names = list(getattr(known, kind))
    counts = [len(known.categories[name]) if name in known.categories else 0 for name in names]
    if not names:
        return Columns()
    blocks: list[NDArray[Any]] = [np.atleast_2d(getattr(series, kind)) for series in known.series]
    with_steps = statistics(np.concatenate(blocks))
    missing = with_steps.missing.tolist()
    return Columns(names, counts, with_steps.mean.tolist(), with_steps.deviation.tolist(), missing)


def _least_scales(known: SeriesSet) -> list[float]:
    """A fiftieth of the least deviation of a series that moves; where none does a thousandth of its values."""
    found = []
    for place in range(len(known.target)):
        deviations = [float(np.nanstd(series.target[:, place])) for series in known.series
                      if np.isfinite(series.target[:, place]).any()]  # fmt: skip
        moving = [d for d in deviations if d > 0]
        size = max((float(np.nanmax(np.abs(s.target[:, place]), initial=0.0)) for s in known.series), default=0.0)
        found.append(0.02 * min(moving) if moving else max(1e-3 * size, 1e-6))
    return found
