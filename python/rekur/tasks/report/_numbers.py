"""Numbers, sizes, durations and times as people read them."""

import datetime
import math
import zoneinfo
from typing import Any

import numpy as np

MISSING = "–"


def number(value: Any, digits: int = 3) -> str:
    """A number to so many significant digits, with thin groups of three: ``12 345``, ``0.0471``, ``1.2e-07``.

    Whole numbers of an integer type are given in full. None, NaN and masked values are "–".
    """
    if value is None or value is np.ma.masked:
        return MISSING
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return _grouped(str(int(value)))
    x = float(value)
    if math.isnan(x):
        return MISSING
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if x == 0:
        return "0"
    if abs(x) >= 1e7 or abs(x) < 1e-4:
        mantissa, _, exponent = f"{x:.{max(digits - 1, 0)}e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−")
    # Rounded first: 9.996 has one digit before the point, its three significant digits have two.
    magnitude = math.floor(math.log10(abs(float(f"{x:.{max(digits - 1, 0)}e}"))))
    return _grouped(f"{x:.{max(digits - 1 - magnitude, 0)}f}")


def _grouped(text: str) -> str:
    """``-1234567.5`` as ``−1 234 567.5``, with narrow spaces that do not break."""
    sign = "−" if text.startswith("-") else ""
    whole, point, part = text.lstrip("-").partition(".")
    if len(whole) > 4:
        groups = [whole[max(i - 3, 0) : i] for i in range(len(whole), 0, -3)]
        whole = "\u202f".join(reversed(groups))
    return f"{sign}{whole}{point}{part}"


def percent(share: Any, digits: int = 3) -> str:
    """A share of one as percent: ``83.1 %``; 1 − 1e-9 is not rounded to all."""
    if share is None or share is np.ma.masked or math.isnan(float(share)):
        return MISSING
    if float(share) in (0, 1):
        return f"{100 * float(share):.0f}\u202f%"
    if abs(float(share)) < 0.01:
        return f"{number(100 * float(share), max(digits - 1, 1))}\u202f%"
    text = f"{100 * float(share):.{max(digits - 2, 0)}f}"
    if float(text) == 100 and float(share) < 1:
        text = "> 99.9"
    return f"{text.replace('-', '−')}\u202f%"


def size(count: int) -> str:
    """Bytes: ``312 B``, ``4.6 KB``, ``1.31 MB`` (1 KB is 1000 bytes)."""
    value = float(count)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{number(int(value) if unit == 'B' else value)}\u202f{unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """A time that something took: ``38 µs``, ``4.6 ms``, ``12.3 s``, ``2 min 5 s``, ``1 h 4 min``."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds <= 0:
        return "0\u202fs"
    if seconds < 1e-3:
        return f"{number(seconds * 1e6)}\u202fµs"
    if seconds < 1:
        return f"{number(seconds * 1e3)}\u202fms"
    if seconds < 99.95:
        return f"{number(seconds)}\u202fs"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u202fmin {rest}\u202fs"
    hours, minutes = divmod(minutes, 60)
    return f"{number(hours)}\u202fh {minutes}\u202fmin"


def zone(name: str | None) -> datetime.tzinfo:
    """The time zone of that name; UTC for None, and where this machine does not know the name."""
    if name is None:
        return datetime.timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.timezone.utc


def moment(time: Any, time_zone: str | None = None) -> str:
    """A step's time: ``3 Mar 2024, 14:00``, without the clock at midnight; a row's number where time is a number.

    Parameters
    ----------
    time
        ``datetime64`` in UTC, or a number.
    time_zone
        The zone it is told in. Without one: UTC, and not said.
    """
    if not isinstance(time, np.datetime64):
        return number(time)
    if np.isnat(time):
        return MISSING
    seconds = int(time.astype("datetime64[s]").astype(np.int64))
    try:
        utc = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        local = utc.astimezone(zone(time_zone))
    except OverflowError:
        return str(time.astype("datetime64[D]"))
    day = f"{local.day} {_MONTHS[local.month - 1]} {local.year}"
    if (local.hour, local.minute, local.second) == (0, 0, 0):
        return day
    clock = f"{local.hour:02}:{local.minute:02}" + (f":{local.second:02}" if local.second else "")
    return f"{day}, {clock}"


# Of our own: strftime's depend on the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plural(count: int, one: str, many: str | None = None) -> str:
    """``1 series``, ``3 windows``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
