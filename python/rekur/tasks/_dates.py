"""Dates and times that stand as text or as numbers: what forms people write, and what is ambiguous in them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._zones import DAY, HOUR, SECOND, Integers

MISSING = frozenset(
    {"", "na", "nan", "n/a", "#n/a", "null", "none", "nil", "nat", "?", "-", "--", ".", "missing", "<na>"}
)

_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_MONTH = r"(?P<name>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?"
_CLOCK = (
    r"(?:(?:\s*[t,;]\s*|\s+|(?<=\d{8}))(?P<hour>\d{1,2})(?:[:.h]?(?P<minute>\d{2})(?:[:.]?(?P<second>\d{2})"
    r"(?:[.,](?P<fraction>\d{1,9}))?)?)?\s*(?P<half>[ap]\.?m\.?)?"
    r"\s*(?P<zone>z|utc|gmt|(?:utc|gmt)?[+-]\d{2}(?::?\d{2})?)?)?"
)
_DATES = {
    "day": rf"{_WEEKDAY}(?P<year>\d{{4}})(?P<mark>[-/. ])(?P<month>\d{{1,2}})(?P=mark)(?P<day>\d{{1,2}})",
    "compact": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
    "either": rf"{_WEEKDAY}(?P<first>\d{{1,2}})(?P<mark>[-/. ])(?P<other>\d{{1,2}})(?P=mark)(?P<year>\d{{4}}|\d{{2}})",
    "named": rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-/. ]*{_MONTH}[-/., ]*(?P<year>\d{{4}}|\d{{2}})",
    "american": rf"{_WEEKDAY}{_MONTH}[-/ ]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[-/ ]+(?P<year>\d{{4}})",
    "yearfirst": rf"(?P<year>\d{{4}})[-/. ]{_MONTH}[-/. ](?P<day>\d{{1,2}})",
    "unix": rf"{_WEEKDAY}{_MONTH}\s+(?P<day>\d{{1,2}})\s+(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}}):(?P<second>\d{{2}})"
    r"\s+(?:(?P<zone>utc|gmt)\s+)?(?P<year>\d{4})",
    "month": r"(?P<year>\d{4})(?:[-/.]|\s*m)(?P<month>\d{1,2})",
    "monthyear": r"(?P<month>\d{1,2})[-/.](?P<year>\d{4})",
    "monthname": rf"(?:{_MONTH}[-/., ]*(?P<year>\d{{4}})|(?P<year2>\d{{4}})[-/., ]*(?P<name2>[a-z]{{3,9}}))",
    "quarter": r"(?:(?P<year>\d{4})[-/. ]*q(?P<quarter>[1-4])|q(?P<quarter2>[1-4])[-/. ]*(?P<year2>\d{4}))",
    "week": r"(?P<year>\d{4})-?w(?P<week>\d{2})(?:-?(?P<weekday>[1-7]))?",
}
_CLOCKED = ("day", "compact", "either", "named", "american", "yearfirst")
_FORMS = {name: re.compile(form + (_CLOCK if name in _CLOCKED else "")) for name, form in _DATES.items()}
_FIELDS = ("year", "month", "day", "hour", "minute", "second", "nano", "offset", "first", "other", "digits")
_NONE = -(2**62)
_LONGEST = 64  # characters; the forms would take quadratic time on the blanks of a long text


@dataclass
class Times:
    """Parsed times: nanoseconds since 1970, in UTC where an offset stood with them, else as they stand."""

    values: Integers
    missing: NDArray[np.bool_]
    aware: bool = False
    offsets: list[int] = field(default_factory=list)  # that occur, in nanoseconds
    form: str = "time"  # "year", "quarter", "month", "week", "day" or "time"
    notes: list[str] = field(default_factory=list)


class NotTimes(ValueError):
    """A text is no date; ``row`` says which."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


def is_missing(text: str) -> bool:
    """Whether a text says that nothing is there: empty, NA, NaN, null, None, ``?``, …"""
    if len(text) > 8 and not text[0].isspace():
        return False
    return text.strip().lower() in MISSING


def look_like_times(texts: Sequence[str | None]) -> bool:
    """Whether every text that is there is a date; numbers alone are none."""
    present = [text.strip().lower() for text in texts if text is not None]
    if not present or any(re.fullmatch(r"[-+]?\d*(?:[.,]\d*)?(?:e[-+]?\d+)?", text) for text in present[:50]):
        return False
    return all(_match(text) is not None for text in present[:50])


def parse_times(texts: Sequence[str | None], *, day_first: bool | None = None, name: str = "time") -> Times:
    """Parse a column of texts.

    Parameters
    ----------
    texts : sequence of str or None
        None is missing.
    day_first : bool, optional
        How to read ``03/04/2024``. None: by the column's other dates, else by the order of the rows, else by the mark
        between the numbers (a point: the day first; else the month), which is said in the notes.
    name : str
        The column's name, for messages.

    Raises
    ------
    NotTimes
        If a text is no date, or a date that does not exist.
    """
    codes: dict[str, int] = {}
    index = np.empty(len(texts), np.int64)
    for row, text in enumerate(texts):
        index[row] = -1 if text is None else codes.setdefault(text, len(codes))
    missing = index < 0
    if not codes:
        return Times(np.zeros(len(texts), np.int64), missing)
    distinct = list(codes)

    def row_of(code: int) -> int:
        return int(np.argmax(index == code))

    fields, form = _fields(distinct, name, row_of)
    notes: list[str] = []
    if (fields["first"] != _NONE).any():
        by_day = _day_first(fields, index[~missing], distinct, day_first, name, notes, row_of)
        either = fields["first"] != _NONE
        for key, source in (("day", "first"), ("month", "other")) if by_day else (("day", "other"), ("month", "first")):
            fields[key] = np.where(either, fields[source], fields[key])
    short = fields["digits"] == 2
    if short.any():
        fields["year"] = np.where(short, fields["year"] + np.where(fields["year"] < 69, 2000, 1900), fields["year"])
        notes.append(f"years of two digits in '{name}' are read as 1969 to 2068")
    values = _nanoseconds(fields, distinct, name, row_of)
    offset = fields["offset"]
    aware = offset != _NONE
    if aware.any() and not aware.all():
        row = row_of(int(np.argmin(aware)))
        raise NotTimes(f"'{name}' has times with and without an offset from UTC: {texts[row]!r} has none", row)
    found = sorted({int(value) for value in np.unique(offset)} - {_NONE})
    values = values - np.where(aware, offset, 0)
    spread = values[np.maximum(index, 0)]
    return Times(spread, missing, bool(aware.any()), found, form, notes)


def _fields(distinct: list[str], name: str, row_of: Callable[[int], int]) -> tuple[dict[str, Integers], str]:
    """Year, month, day, … of every text, as arrays, and the form that they have together."""
    uniform = _uniform(distinct)
    if uniform is not None:
        return uniform
    rows, forms = [], set()
    for code, text in enumerate(distinct):
        found = _match(text.strip().lower())
        if found is None:
            hint = " (expected a form such as 2024-05-31 13:00)"
            raise NotTimes(f"'{name}' holds {text!r}, which is no date or time{hint}", row_of(code))
        rows.append(found[1])
        forms.add(_resolution(*found))
    table = np.array(rows, np.int64)
    form = next(iter(forms)) if len(forms) == 1 else ("time" if "time" in forms else "day")
    return {key: table[:, column] for column, key in enumerate(_FIELDS)}, form


def _uniform(distinct: list[str]) -> tuple[dict[str, Integers], str] | None:
    """The same for many texts of one length with digits in the same places: without a step of Python for each."""
    length = len(distinct[0])
    if len(distinct) < 64 or length > _LONGEST or any(len(text) != length for text in distinct):
        return None
    letters = np.array(distinct, f"U{length}").view(np.uint32).reshape(len(distinct), length).astype(np.int64)
    digit = (letters >= 48) & (letters <= 57)
    if (digit != digit[0]).any() or (letters[:, ~digit[0]] != letters[0, ~digit[0]]).any():
        return None
    lower = distinct[0].lower()
    if lower.strip() != lower:
        return None
    for kind, form in _FORMS.items():
        found = form.fullmatch(lower)
        if found is None:
            continue
        if kind not in ("day", "compact", "either", "month", "monthyear") or found.groupdict().get("half"):
            return None
        base = _read(kind, found.groupdict())
        if base is None:
            return None
        fields = {key: np.full(len(distinct), value) for key, value in zip(_FIELDS, base, strict=True)}

        def number(group: str, found: "re.Match[str]" = found) -> Integers:
            begin, end = found.span(group)
            powers = 10 ** np.arange(end - begin - 1, -1, -1)
            return (letters[:, begin:end] - 48) @ powers

        for group, value in found.groupdict().items():
            if group in fields and value:
                fields[group] = number(group)
        if found.groupdict().get("fraction"):
            fields["nano"] = number("fraction") * 10 ** (9 - len(found["fraction"]))
        if found.groupdict().get("zone", "") not in ("", None, "z", "utc", "gmt"):
            zone = found.span("zone")
            if (
                digit[0, zone[0] : zone[1]].any()
                and (letters[:, zone[0] : zone[1]] != letters[0, zone[0] : zone[1]]).any()
            ):
                return None
        return fields, _resolution(kind, base)
    return None


def _match(text: str) -> tuple[str, list[int]] | None:
    if len(text) > _LONGEST:
        return None
    for kind, form in _FORMS.items():
        found = form.fullmatch(text)
        if found is not None and (fields := _read(kind, found.groupdict())) is not None:
            return kind, fields
    return None


def _read(kind: str, groups: dict[str, Any]) -> list[int] | None:
    """The numbers of ``_FIELDS`` that one match says."""

    def number(group: str, default: int) -> int:
        return int(groups.get(group) or default)

    year = number("year", number("year2", 0))
    month, day = number("month", 1), number("day", 1)
    month_name = groups.get("name") or groups.get("name2")
    if month_name:
        full = {"january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
                "november", "december", "sept"}  # fmt: skip
        if month_name[:3] not in _NAMES or not (len(month_name) == 3 or month_name in full):
            return None
        month = _NAMES.index(month_name[:3]) + 1
    if kind == "quarter":
        month = 3 * number("quarter", number("quarter2", 1)) - 2
    if kind == "week":
        week, weekday = number("week", 1), number("weekday", 1)
        fourth = np.datetime64(f"{year:04d}-01-04")
        monday = fourth - (int(fourth.astype(np.int64)) + 3) % 7
        date = monday + 7 * (week - 1) + weekday - 1
        if not 1 <= week <= 53:
            return None
        year, month, day = (int(part) for part in str(date).split("-"))
    hour, half = number("hour", 0), groups.get("half")
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[0] == "p" else 0)
    fraction = groups.get("fraction") or ""
    zone = groups.get("zone")
    offset = _NONE
    if zone:
        digits = re.sub(r"[a-z:]", "", zone)
        sign = -1 if digits.startswith("-") else 1
        offset = sign * (int(digits[1:3]) * HOUR + int(digits[3:5] or 0) * 60 * SECOND) if len(digits) > 1 else 0
    nano = int(fraction.ljust(9, "0")) if fraction else 0
    return [
        year, month, day, hour, number("minute", 0), number("second", 0), nano,
        offset, number("first", _NONE), number("other", _NONE), len(groups.get("year") or "0000"),
    ]  # fmt: skip


def _resolution(kind: str, fields: list[int]) -> str:
    if kind in ("month", "monthyear", "monthname"):
        return "month"
    if kind in ("quarter", "week"):
        return kind
    return "day" if not any(fields[3:7]) and fields[7] == _NONE else "time"


def _day_first(
    fields: dict[str, Integers],
    order: Integers,
    distinct: list[str],
    asked: bool | None,
    name: str,
    notes: list[str],
    row_of: Callable[[int], int],
) -> bool:
    first, other = fields["first"], fields["other"]
    if asked is not None:
        return asked
    day, month = first > 12, other > 12
    if day.any() and month.any():
        row = row_of(int(np.argmax(month)))
        earlier = distinct[int(np.argmax(day))]
        raise NotTimes(
            f"'{name}' has dates with the day first ({earlier!r}) and with the month first "
            f"({distinct[int(np.argmax(month))]!r})", row
        )  # fmt: skip
    if day.any() or month.any():
        return bool(day.any())
    either = first != _NONE
    example = distinct[int(np.argmax(either))]
    # Nothing tells day from month in a single date: rows that stand in order under one reading alone do.
    year = np.where(fields["digits"] == 2, fields["year"] + 2000, fields["year"])
    minutes = fields["hour"] * 60 + fields["minute"]
    by_day = (((year * 13 + other) * 32 + first) * 1500 + minutes)[order]
    by_month = (((year * 13 + first) * 32 + other) * 1500 + minutes)[order]

    def rising(values: Integers) -> float:
        steps = np.diff(values)
        steps = steps[steps != 0]
        return float(max((steps > 0).mean(), (steps < 0).mean())) if steps.size else 1.0

    days, months = rising(by_day), rising(by_month)
    if days != months:
        answer, why = days > months, "as the order of the rows suggests"
    else:
        mark = next((letter for letter in example if not letter.isdigit()), "/")
        answer, why = mark == ".", f"as is usual with {mark!r} between"
    word = "day" if answer else "month"
    notes.append(f"'{name}' is ambiguous ({example!r}): read with the {word} first, {why}")
    return answer


def _nanoseconds(fields: dict[str, Integers], distinct: list[str], name: str, row_of: Callable[[int], int]) -> Integers:
    year, month, day = fields["year"], fields["month"], fields["day"]
    sound = (year >= 1678) & (year <= 2261) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (np.where(sound, year, 1970) - 1970) * 12 + np.where(sound, month, 1) - 1
    first = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    length = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - first
    hour, minute, second = fields["hour"], fields["minute"], fields["second"]
    midnight = (hour == 24) & (minute == 0) & (second == 0)
    sound &= (day <= length) & ((hour < 24) | midnight) & (minute < 60) & (second <= 60)
    if not sound.all():
        code = int(np.argmin(sound))
        raise NotTimes(f"'{name}' holds {distinct[code]!r}, which is no date between 1678 and 2261", row_of(code))
    seconds = (hour * 60 + minute) * 60 + second
    return np.asarray((first + day - 1) * DAY + seconds * SECOND + fields["nano"], np.int64)


def times_of_numbers(values: NDArray[Any], name: str) -> Times | None:
    """Numbers that are dates: seconds to nanoseconds since 1970, 20240531, 202405 and years; None if they are none.

    What they are is guessed by size (and, of months and years, by the column's name), and said in the notes.
    """
    numbers = np.asarray(values, np.float64)
    missing = ~np.isfinite(numbers)
    present = numbers[~missing]
    if present.size == 0:
        return None
    low, high, word = float(present.min()), float(present.max()), name.lower()
    whole = bool((present == np.floor(present)).all())
    dated = any(part in word for part in ("date", "time", "day", "month", "year", "period", "ds", "stamp", "epoch"))
    filled = np.where(missing, present[0], numbers)
    if whole and low >= 17000101 and high <= 22611231:
        number = filled.astype(np.int64)
        _year, month, day = number // 10000, number // 100 % 100, number % 100
        if ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
            texts: list[str | None] = [None if gone else str(n) for n, gone in zip(number, missing, strict=True)]
            try:
                parsed = parse_times(texts, name=name)
            except NotTimes:
                parsed = None
            if parsed is not None:
                parsed.notes.append(f"'{name}' is read as dates of eight digits (year, month, day)")
                return parsed
    if whole and dated and low >= 167801 and high <= 226112:
        number = filled.astype(np.int64)
        month = number % 100
        if ((month >= 1) & (month <= 12)).all():
            months = (number // 100 - 1970) * 12 + month - 1
            note = f"'{name}' is read as months (year and month in six digits)"
            return Times(_of_months(months), missing, form="month", notes=[note])
    if whole and "year" in word and low >= 1678 and high <= 2261:
        months = (filled.astype(np.int64) - 1970) * 12
        return Times(_of_months(months), missing, form="year", notes=[f"'{name}' is read as years"])
    middle = float(np.median(present))
    for unit, factor, least in (("seconds", SECOND, 1e8), ("ms", 10**6, 1e11), ("µs", 1000, 1e14), ("ns", 1, 1e17)):
        if least <= middle < 92 * least and low >= 0 and high < 92 * least:
            whole_part = np.floor(filled)
            nanos = whole_part.astype(np.int64) * factor + np.round((filled - whole_part) * factor).astype(np.int64)
            if np.asarray(values).dtype.kind in "iu":
                nanos = np.asarray(values).astype(np.int64) * factor
            note = f"'{name}' is read as {unit} since 1970 in UTC"
            return Times(nanos, missing, True, [0], "time", [note])
    return None


def _of_months(months: Integers) -> Integers:
    return months.astype("M8[M]").astype("M8[ns]").astype(np.int64)
