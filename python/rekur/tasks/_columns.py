"""One column of a table as numbers, times or texts, whatever kinds of values it came in."""

import datetime
import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _dates, _zones
from rekur.tasks._dates import Times
from rekur.tasks._numbers import parse_numbers, plain_numbers

Name: TypeAlias = str | int

_TRUTH = {"true": True, "false": False}


class NotNumbers(ValueError):
    """A text is no number; ``row`` says which."""

    def __init__(self, message: str, row: int) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Column:
    """One column: ``values`` are float64 or int64 numbers, nanoseconds of times (int64), or texts (None: missing)."""

    name: Name
    kind: Literal["number", "bool", "time", "text"]
    values: NDArray[Any]
    times: Times | None = None
    zone: str | None = None  # of times that the table says are in a zone

    def numbers(self) -> NDArray[np.float64]:
        """As float64, missing as NaN.

        Raises
        ------
        ValueError
            If it holds texts or times.
        """
        if self.kind in ("number", "bool"):
            return np.asarray(self.values, np.float64)
        if self.kind == "text":
            missing = np.array([value is None for value in self.values], bool)
            present = [str(value).lstrip("0") or "0" for value in self.values[~missing]]
            if (parsed := parse_numbers(present)) is not None:
                return _spread(np.asarray(parsed[0], np.float64), missing)
            bad = next((row for row, text in enumerate(present) if parse_numbers([text]) is None), 0)
            row = int(np.flatnonzero(~missing)[bad])
            raise NotNumbers(f"column {self.name!r}: expected numbers, got {self.values[row]!r}", row)
        raise ValueError(f"column {self.name!r}: expected numbers, got times")

    def texts(self) -> list[str | None]:
        """As texts, missing as None."""
        if self.kind == "text":
            return [None if value is None else str(value) for value in self.values]
        if self.kind == "time":
            assert self.times is not None
            written = np.datetime_as_string(self.values.astype("M8[ns]"), unit="auto")
            return [None if gone else str(text) for text, gone in zip(written, self.times.missing, strict=True)]
        if self.kind == "bool":
            return [None if np.isnan(value) else str(bool(value)) for value in np.asarray(self.values, np.float64)]
        return [None if value != value else _number_text(value) for value in self.values.tolist()]


def column_of_values(name: Name, values: Any) -> Column:
    """A column of an array, a pandas or polars series, or a list."""
    package = type(values).__module__.partition(".")[0]
    if package in ("pandas", "polars"):
        from rekur.tasks import _dataframes

        return _dataframes.column_of_series(name, values)
    mask = None
    if isinstance(values, np.ma.MaskedArray):
        mask, values = np.ma.getmaskarray(values), values.data
    if not isinstance(values, np.ndarray):
        values = list(values)
        kinds = {type(value) for value in values}
        if not kinds <= {int, float}:
            return column_of_objects(name, values)
        try:
            values = np.array(values)
        except OverflowError:
            raise ValueError(f"column {name!r}: a number is too large") from None
    if values.ndim != 1:
        raise ValueError(f"column {name!r}: expected one value a row, got an array of shape {values.shape}")
    kind = values.dtype.kind
    if kind == "M":
        missing = np.isnat(values)
        return time_column(name, values, missing if mask is None else missing | mask, None)
    if kind == "m":
        values, kind = values.astype("m8[ns]").astype(np.float64) / 1e9, "f"
    if kind in "biuf":
        numbers = whole(values) if kind in "iu" else values.astype(np.float64)
        if mask is not None and mask.any():
            numbers = np.where(mask, np.nan, numbers.astype(np.float64))
        return Column(name, "bool" if kind == "b" else "number", numbers)
    if kind == "c":
        raise ValueError(f"column {name!r}: complex numbers are no values of a series")
    objects = values.tolist()
    if mask is not None:
        objects = [None if gone else value for value, gone in zip(objects, mask, strict=True)]
    return column_of_objects(name, objects)


def column_of_objects(name: Name, objects: Sequence[Any]) -> Column:
    """A column of Python's own values: texts, numbers, dates, None."""
    if all(type(value) is str for value in objects):
        return column_of_texts(name, objects)[0]
    values = [None if _absent(value) else value for value in objects]
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if not present:
        return Column(name, "number", np.full(len(values), np.nan))
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return Column(name, "bool", np.array([np.nan if value is None else float(value) for value in values]))
    if all(issubclass(kind, (int, float, np.number, decimal.Decimal, np.bool_)) for kind in kinds):
        try:
            whole = all(issubclass(kind, (int, np.integer)) for kind in kinds) and len(present) == len(values)
            numbers = np.array([np.nan if v is None else v for v in values], np.int64 if whole else np.float64)
        except OverflowError:
            raise ValueError(f"column {name!r}: a number is too large") from None
        return Column(name, "number", numbers)
    if all(issubclass(kind, (datetime.date, np.datetime64)) for kind in kinds):
        return _column_of_dates(name, values)
    if all(issubclass(kind, datetime.timedelta) for kind in kinds):
        return Column(name, "number", np.array([np.nan if v is None else v.total_seconds() for v in values]))
    if all(kind.__name__ == "Period" for kind in kinds):  # pandas' own
        return _column_of_dates(name, [v and v.to_timestamp() for v in values])
    if all(issubclass(kind, str) for kind in kinds):
        return column_of_texts(name, values)[0]
    if all(issubclass(kind, (str, bytes, bool, int, float, np.number, np.bool_)) for kind in kinds):
        texts = [None if v is None else v if isinstance(v, str) else str(v) for v in values]
        return column_of_texts(name, texts)[0]
    bad = next(value for value in present if not isinstance(value, (str, int, float)))
    raise ValueError(f"column {name!r}: expected numbers, times or texts, got a {type(bad).__name__}")


def _absent(value: Any) -> bool:
    if value is None or value is np.ma.masked:
        return True
    if isinstance(value, str):
        return _dates.is_missing(value)
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ in ("NAType", "NaTType")


def _column_of_dates(name: Name, values: list[Any]) -> Column:
    aware = [isinstance(v, datetime.datetime) and v.tzinfo is not None for v in values if v is not None]
    if any(aware) and not all(aware):
        raise ValueError(f"column {name!r}: times with and without a time zone stand together")
    zone = None
    if aware and aware[0]:
        zones = {zone_name(value.tzinfo) for value in values if value is not None}
        zone = zones.pop() if len(zones) == 1 else "UTC"
        values = [v and v.astimezone(datetime.timezone.utc).replace(tzinfo=None) for v in values]
    missing = np.array([value is None for value in values])
    array = np.array([np.datetime64("NaT") if v is None else np.datetime64(v, "us") for v in values], "M8[us]")
    return time_column(name, array, missing, zone)


def time_column(name: Name, values: NDArray[Any], missing: NDArray[np.bool_], zone: str | None) -> Column:
    """Times of any unit as nanoseconds."""
    unit = np.datetime_data(values.dtype)[0]
    missing = missing | np.isnat(values)
    filled = np.where(missing, np.zeros(1, values.dtype), values)
    if unit != "ns" and len(filled):
        years = filled.astype("M8[Y]").astype(np.int64) + 1970
        if years.min() < 1678 or years.max() > 2261:
            bad = filled[int(np.argmax((years < 1678) | (years > 2261)))]
            raise ValueError(f"column {name!r} holds {bad}, which is no time between 1678 and 2261")
    nanoseconds = filled.astype("M8[ns]").astype(np.int64)
    form = {"Y": "year", "M": "month", "D": "day"}.get(unit, "time")
    times = Times(nanoseconds, missing, zone is not None, [], form)
    return Column(name, "time", nanoseconds, times, zone)


def zone_name(zone: Any) -> str | None:
    if zone is None:
        return None
    text = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    try:
        return _zones.check_zone(text)
    except ValueError:
        shift = zone.utcoffset(None)
        return "UTC" if shift is None else _zones.fixed_zone(int(shift.total_seconds()) * _zones.SECOND)


def whole(values: NDArray[Any]) -> NDArray[Any]:
    if (
        values.dtype.kind == "u"
        and values.dtype.itemsize == 8
        and values.size
        and values.max() > np.iinfo(np.int64).max
    ):
        return values.astype(np.float64)
    return values.astype(np.int64) if values.dtype.kind in "iu" else values.astype(np.float64)


def _number_text(value: float) -> str:
    return str(int(value)) if abs(value) < 2**53 and value == int(value) else repr(value)


def column_of_texts(name: Name, texts: Sequence[str | None], mark: str | None = None) -> tuple[Column, str]:
    """What a column of texts holds, truth values, numbers or texts, and a sentence on what was unusual.

    ``mark`` is the decimal mark of the file, if it is known. Numbers with leading zeros (``007``) are texts.
    """
    if mark != "," and (plain := plain_numbers(texts)) is not None:
        return Column(name, "number", plain), ""
    absent = {text for text in set(texts) if text is None or _dates.is_missing(text)}
    missing = np.array([text in absent for text in texts], bool) if absent else np.zeros(len(texts), bool)
    present = [text for text, gone in zip(texts, missing, strict=True) if not gone and text is not None]
    if not present:
        return Column(name, "number", np.full(len(texts), np.nan)), ""
    if present[0].strip().lower() in _TRUTH and all(text.strip().lower() in _TRUTH for text in present):
        truth = np.array([float(_TRUTH[text.strip().lower()]) for text in present])
        return Column(name, "bool", _spread(truth, missing)), ""
    parsed = parse_numbers(present, mark)
    if parsed is not None:
        return Column(name, "number", _spread(parsed[0], missing)), parsed[1]
    objects = np.empty(len(texts), object)
    objects[~missing] = [text.strip() for text in present]
    return Column(name, "text", objects), ""


def _spread(values: NDArray[Any], missing: NDArray[np.bool_]) -> NDArray[Any]:
    """Values at the places that are not missing, NaN at the others."""
    if not missing.any():
        return values
    result = np.full(len(missing), np.nan)
    result[~missing] = values
    return result
