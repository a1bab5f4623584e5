"""The rule of a series' steps: which step a time belongs to, and the time of a step."""

import datetime
import re
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from rekur.tasks import _zones
from rekur.tasks._zones import DAY, HOUR, MINUTE, SECOND, Integers

Unit: TypeAlias = Literal["fixed", "civil", "business", "months", "number"]
Stamp: TypeAlias = np.datetime64 | int | float

_UNITS = {
    "ns": 1, "us": 1000, "µs": 1000, "ms": 1_000_000, "s": SECOND, "sec": SECOND, "second": SECOND, "min": MINUTE,
    "minute": MINUTE, "t": MINUTE, "h": HOUR, "hour": HOUR, "d": DAY, "day": DAY, "w": 7 * DAY, "week": 7 * DAY,
}  # fmt: skip
_MONTHS = {"m": 1, "month": 1, "q": 3, "quarter": 3, "y": 12, "a": 12, "year": 12}
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_FARTHEST = 2.0**62  # steps, so that differences of two of them are int64 too
_FREQ = re.compile(r"\s*(\d*)\s*([A-Za-zµ]+)(?:-([A-Za-z]{3}))?\s*")


@dataclass(frozen=True)
class Timeline:
    """The steps of time, common to all series of a set.

    Every step has a number: ``ordinal`` gives the number of the step in which a time lies, ``time`` the time at which
    a step is stamped. Times are datetime64 in UTC; where time is a plain number, they are numbers.

    Parameters
    ----------
    unit
        ``"fixed"``: ``size`` nanoseconds, whatever the clocks do. ``"civil"``: ``size`` nanoseconds of local time, so
        that a step of a day lasts 23 or 25 hours when the clocks change. ``"business"``: Monday to Friday.
        ``"months"``: ``size`` calendar months. ``"number"``: time is a plain number, or the number of a row.
    size
        Nanoseconds, months or numbers of one step; business days have steps of 1.
    phase
        Where the steps begin: the stamp of a step modulo ``size``. For business days the time of day.
    within
        For months: nanoseconds from the beginning of a month to its stamp; negative counts from its end.
    nearest
        A time belongs to the step whose stamp is nearest, not to the one that it follows: for jittered stamps.
    time_zone
        Of local time; None where times have no zone, and then local time is time as it stands.
    season, seasons
        Steps of the main season (1: none), and of all that the steps suggest, ascending.
    """

    unit: Unit = "number"
    size: int | float = 1
    phase: int | float = 0
    within: int = 0
    nearest: bool = False
    time_zone: str | None = None
    season: int = 1
    seasons: list[int] = field(default_factory=list)

    @property
    def calendar(self) -> bool:
        """Whether steps have dates, so that calendar features exist."""
        return self.unit != "number"

    @property
    def step(self) -> str:
        """The step in words: ``"1 hour"``, ``"3 months"``, ``"1 business day"``, ``"1 row"``."""
        if self.unit == "number":
            return "1 row" if self.size == 1 else f"{self.size:g}"
        if self.unit == "business":
            return "1 business day"
        if self.unit == "months":
            months = int(self.size)
            return _count(months // 12, "year") if months % 12 == 0 else _count(months, "month")
        return span(int(self.size))

    @property
    def freq(self) -> str:
        """The step in pandas's words: ``"h"``, ``"15min"``, ``"W-SUN"``, ``"MS"``, ``"QE-DEC"``; a number if plain."""
        if self.unit == "number":
            return f"{self.size:g}"
        if self.unit == "business":
            return "B"
        if self.unit == "months":
            months, end = int(self.size), self.within < 0
            if months % 12 == 0:
                name, count = f"Y{'E' if end else 'S'}-{_MONTH_NAMES[(int(self.phase) - end) % 12]}", months // 12
            elif months % 3 == 0 and months == 3:
                name, count = f"Q{'E' if end else 'S'}-{_MONTH_NAMES[(int(self.phase) - end) % 12]}", 1
            else:
                name, count = "ME" if end else "MS", months
            return f"{'' if count == 1 else count}{name}"
        size = int(self.size)
        if size == 7 * DAY:
            return f"W-{_DAYS[(int(self.phase) // DAY + 3) % 7]}"
        for name, length in (("D", DAY), ("h", HOUR), ("min", MINUTE), ("s", SECOND), ("ms", 10**6), ("us", 1000)):
            if size % length == 0:
                return f"{'' if size == length else size // length}{name}"
        return f"{size}ns"

    def ordinal(self, times: Any) -> Any:
        """Numbers of the steps in which ``times`` lie: int64, an int for a single time.

        Raises
        ------
        ValueError
            If a time is a number so far away that its step has no number.
        """
        if self.unit == "number":
            values = (np.asarray(times, np.float64) - self.phase) / self.size
            values = np.floor(values + (0.5 if self.nearest else 1e-6))
            if not (near := np.abs(values) < _FARTHEST).all():
                wrong = np.ravel(times)[np.argmin(near)]
                raise ValueError(f"time: {wrong:g} is too far: it is beyond 2**62 steps of {self.step}")
            steps = values.astype(np.int64)
        else:
            steps = self._ordinal(np.asarray(times, "M8[ns]").astype(np.int64))
        return int(steps) if steps.ndim == 0 else steps

    def _ordinal(self, utc: Integers) -> Integers:
        local = utc if self.unit == "fixed" else _zones.to_local(self.time_zone, np.atleast_1d(utc)).reshape(utc.shape)
        if self.unit == "months":
            months = (local - max(self.within, 0)).astype("M8[ns]").astype("M8[M]").astype(np.int64)
            return (months - int(self.phase)) // int(self.size)
        if self.unit == "business":
            days = (local - int(self.phase)) // DAY + 3  # from Monday 1969-12-29
            return days // 7 * 5 + np.minimum(days % 7, 4)
        size = int(self.size)
        return (local - int(self.phase) + (size // 2 if self.nearest else 0)) // size

    def time(self, ordinals: Any) -> Any:
        """Times of the stamps of steps: datetime64[ns] in UTC, or numbers; one for a single step."""
        steps = np.asarray(ordinals, np.int64)
        if self.unit == "number":
            whole = isinstance(self.size, int) and isinstance(self.phase, int)
            numbers = steps * self.size + self.phase
            if steps.ndim == 0:
                return int(numbers) if whole else float(numbers)
            return numbers
        return self._time(np.atleast_1d(steps)).astype("M8[ns]").reshape(steps.shape)[()]

    def _time(self, steps: Integers) -> Integers:
        if self.unit == "months":
            months = steps * int(self.size) + int(self.phase) + (int(self.size) if self.within < 0 else 0)
            local = months.astype("M8[M]").astype("M8[ns]").astype(np.int64) + self.within
        elif self.unit == "business":
            local = (steps // 5 * 7 + steps % 5 - 3) * DAY + int(self.phase)
        else:
            local = steps * int(self.size) + int(self.phase)
            if self.unit == "fixed":
                return local
        return _zones.to_utc(self.time_zone, local)[0]

    def times(self, start: Stamp, n: int) -> Any:
        """The stamps of ``n`` steps from ``start`` on: datetime64[ns] in UTC, or numbers."""
        return self.time(self.ordinal(start) + np.arange(n))

    def local(self, start: Stamp, n: int) -> Integers:
        """Local civil seconds since 1970-01-01 00:00 of ``n`` steps from ``start`` on, for calendar features.

        Raises
        ------
        ValueError
            If time is a plain number, which has no calendar.
        """
        if self.unit == "number":
            raise ValueError("time is a plain number here: its steps have no hours, days or years")
        utc = self._time(self.ordinal(start) + np.arange(n))
        return _zones.to_local(self.time_zone, utc) // SECOND

    def steps_between(self, a: Any, b: Any) -> Any:
        """How many steps ``b`` comes after ``a``."""
        return self.ordinal(b) - self.ordinal(a)

    def floor(self, t: Any) -> Any:
        """The stamp of the step in which a time lies."""
        return self.time(self.ordinal(t))

    def state(self) -> dict[str, Any]:
        """As a tree of numbers and texts, for a file."""
        return {**self.__dict__, "seasons": list(self.seasons)}


def parse_freq(freq: object) -> Timeline:
    """The timeline that a step given by the user means, its phase still at the calendar's (or number's) zero.

    Parameters
    ----------
    freq : str, int, float, timedelta, numpy.timedelta64 or pandas offset
        ``"15min"``, ``"h"``, ``"D"``, ``"B"``, ``"W"``, ``"W-SUN"``, ``"MS"``, ``"ME"``, ``"QS"``, ``"YE"``, … as in
        pandas; a number for the step of plain numbers.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    message = (
        f"freq: expected a step such as '15min', 'h', 'D', 'B', 'W', 'MS', 'QS', 'YS', a timedelta, "
        f"or a number where time is a number, got {freq!r}"
    )
    if isinstance(freq, (bool, np.bool_)):
        raise ValueError(message)
    if isinstance(freq, np.timedelta64):
        if np.datetime_data(freq.dtype)[0] in ("Y", "M"):
            return Timeline("months", _positive(int(freq.astype("m8[M]").astype(int)), message))
        return _nanoseconds(int(freq.astype("m8[ns]").astype(np.int64)), message)
    if isinstance(freq, datetime.timedelta):
        return _nanoseconds(int(freq / datetime.timedelta(microseconds=1)) * 1000, message)
    if isinstance(freq, (int, np.integer)):
        return Timeline("number", _positive(int(freq), message))
    if isinstance(freq, (float, np.floating)):
        if not (np.isfinite(freq) and freq > 0):
            raise ValueError(message)
        return Timeline("number", float(freq))
    text = freq if isinstance(freq, str) else getattr(freq, "freqstr", None)
    found = _FREQ.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(message)
    count = _positive(int(found[1] or 1), message)
    name, anchor = found[2], (found[3] or "").upper()
    lower = name.lower()
    if name == "m":
        lower = "min"  # as numpy and polars write minutes
    if len(lower) > 3 and lower.endswith("s"):
        lower = lower[:-1]
    if name.upper() == "B" and count == 1 and not anchor:
        return Timeline("business")
    stem, edge = (lower, "") if lower in _MONTHS else (lower[:-1], lower[-1:])
    if lower in _UNITS and name != "MS":
        weekday = _DAYS.index(anchor) if anchor in _DAYS else 0
        if anchor and (anchor not in _DAYS or lower not in ("w", "week")):
            raise ValueError(message)
        line = _nanoseconds(count * _UNITS[lower], message)
        return Timeline(line.unit, line.size, (weekday - 3) % 7 * DAY) if lower in ("w", "week") else line
    if stem in _MONTHS and edge in ("", "s", "e"):
        end = edge == "e"
        month = _MONTH_NAMES.index(anchor) if anchor in _MONTH_NAMES else (11 if end else 0)
        size = count * _MONTHS[stem]
        if anchor and anchor not in _MONTH_NAMES:
            raise ValueError(message)
        return Timeline("months", size, (month + end) % size, -DAY if end else 0)
    raise ValueError(message)


def _positive(number: int, message: str) -> int:
    if number < 1:
        raise ValueError(message)
    return number


def _nanoseconds(size: int, message: str) -> Timeline:
    return Timeline("civil" if _positive(size, message) % DAY == 0 else "fixed", size)


def span(nanoseconds: int) -> str:
    """A length of time in words."""
    for name, length in (("week", 7 * DAY), ("day", DAY), ("hour", HOUR), ("minute", MINUTE), ("second", SECOND)):
        if nanoseconds >= length and nanoseconds % length == 0:
            return _count(nanoseconds // length, name)
    if nanoseconds >= SECOND:
        return f"{nanoseconds / SECOND:.12g} seconds"
    return f"{nanoseconds / 1e6:g} ms"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
