"""Time zones for whole arrays: UTC to local time and back, with the hours that changing clocks skip or repeat."""

import datetime
import functools
import re
import zoneinfo

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_FIXED = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def check_zone(name: object) -> str:
    """The name of a time zone, checked: an IANA name, ``"UTC"`` or an offset as ``"+01:00"``.

    Raises
    ------
    ValueError
        If no such zone is known on this machine.
    """
    if not isinstance(name, str):
        raise ValueError(f"time_zone: expected a name such as 'Europe/Berlin', got {name!r}")
    _zone(name)
    return name


def fixed_zone(offset: int) -> str:
    """The name of the zone that is always ``offset`` nanoseconds ahead of UTC."""
    if offset == 0:
        return "UTC"
    minutes = abs(offset) // (MINUTE)
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def offsets(name: str | None, utc: Integers) -> Integers:
    """How far local time is ahead of UTC at each of some times, all in nanoseconds."""
    if name is None or name == "UTC" or utc.size == 0:
        return np.zeros_like(utc)
    changes, values = _changes(name, _year(utc.min()), _year(utc.max()))
    if len(values) == 1:
        return np.full_like(utc, values[0])
    return values[np.searchsorted(changes, utc, side="right")]


def to_local(name: str | None, utc: Integers) -> Integers:
    """Local time, as nanoseconds since the local 1970-01-01 00:00."""
    return utc if name is None or name == "UTC" else utc + offsets(name, utc)


def to_utc(name: str | None, local: Integers) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """UTC of local times: of the first and of the second passing of an hour that is repeated, and what does not exist.

    Where a time is unique the two are the same. A time that the clocks skip is read by the clock before the change,
    so that it lies as far behind the change as it lies behind the last hour before.
    """
    if name is None or name == "UTC" or local.size == 0:
        return local, local, np.zeros(local.shape, bool)
    before, after = offsets(name, local - DAY), offsets(name, local + DAY)
    early, late = local - np.maximum(before, after), local - np.minimum(before, after)
    early_holds = offsets(name, early) == local - early
    late_holds = offsets(name, late) == local - late
    first = np.where(early_holds, early, late)
    second = np.where(late_holds, late, early)
    missing = ~early_holds & ~late_holds
    first = np.where(missing, local - before, first)
    second = np.where(missing, local - before, second)
    return first, second, missing


def _year(utc: int) -> int:
    return int(np.int64(utc).astype("M8[ns]").astype("M8[Y]").astype(int)) + 1970


@functools.lru_cache(maxsize=64)
def _zone(name: str) -> datetime.tzinfo:
    if name.upper() in ("UTC", "Z"):
        return datetime.timezone.utc
    if found := _FIXED.fullmatch(name):
        sign = -1 if found[1] == "-" else 1
        shift = datetime.timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
        if shift < datetime.timedelta(hours=24):
            return datetime.timezone(sign * shift)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = "" if zoneinfo.available_timezones() else "; this machine has no time zones: pip install tzdata"
        raise ValueError(
            f"time_zone: {name!r} is not known; expected a name such as 'Europe/Berlin', 'UTC' or '+01:00'{hint}"
        ) from None


@functools.lru_cache(maxsize=256)
def _changes(name: str, first: int, last: int) -> tuple[Integers, Integers]:
    """When the offset changes in these years, and the offsets between: one more than changes."""
    changes: list[int] = []
    values: list[int] = [_offset(name, _year_start(first))]
    for year in range(first, last + 1):
        for moment, value in _changes_of(name, year):
            changes.append(moment * SECOND)
            values.append(value)
    return np.array(changes, np.int64), np.array(values, np.int64) * SECOND


@functools.lru_cache(maxsize=4096)
def _changes_of(name: str, year: int) -> list[tuple[int, int]]:
    found = []
    moment, end, step = _year_start(year), _year_start(year + 1), 86400
    value = _offset(name, moment)
    while moment < end:
        after = min(moment + step, end)
        if (later := _offset(name, after)) != value:
            low, high = moment, after
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(name, middle) == value else (low, middle)
            found.append((high, later))
        moment, value = after, later
    return found


def _year_start(year: int) -> int:
    return int((datetime.datetime(min(year, 9999), 1, 1, tzinfo=datetime.timezone.utc) - _EPOCH).total_seconds())


def _offset(name: str, second: int) -> int:
    shift = (_EPOCH + datetime.timedelta(seconds=second)).astimezone(_zone(name)).utcoffset()
    return 0 if shift is None else int(shift.total_seconds())
