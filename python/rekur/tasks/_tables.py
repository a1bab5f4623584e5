"""Tables as users have them, as columns of numbers, times and texts: files, pandas, polars, Arrow, dicts and arrays.

Everything that is unusual in one becomes a sentence in the notes.
"""

import datetime
import decimal
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _csv, _dates, _zones
from rekur.tasks._dates import NotTimes, Times

Kind: TypeAlias = Literal["pandas", "polars", "dict", "array", "list", "file"]
Name: TypeAlias = str | int

_THOUSANDS = {
    ".": re.compile(r"[-+]?\d{1,3}(?:,\d{3})*(?:\.\d*)?(?:e[-+]?\d+)?", re.IGNORECASE),
    ",": re.compile(r"[-+]?\d{1,3}(?:\.\d{3})*(?:,\d*)?(?:e[-+]?\d+)?", re.IGNORECASE),
}
_PLAIN = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?", re.IGNORECASE)


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
            present = [value for value in self.values if value is not None]
            if not present:
                return np.full(len(self.values), np.nan)
            if (parsed := parse_numbers(list(self.values))) is not None:
                return parsed[0]
            example = next((value for value in present if not _PLAIN.fullmatch(str(value))), present[0])
            raise ValueError(f"column {self.name!r}: expected numbers, got texts such as {example!r}")
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


@dataclass
class Table:
    """A table's columns, each read when it is asked for."""

    names: list[Name]
    rows: int
    kind: Kind
    reader: Callable[[int], Column]
    notes: list[str] = field(default_factory=list)
    index: Column | None = None  # pandas' own, if it holds more than the numbers of rows
    lines: list[int] | None = None  # of a file: on which line each row stands
    file: str | None = None
    day_first: bool | None = None
    _read: dict[int, Column] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def column(self, name: Name) -> Column:
        """The column of this name.

        Raises
        ------
        ValueError
            If there is none, or more than one.
        """
        places = [place for place, other in enumerate(self.names) if other == name and type(other) is type(name)]
        if not places and isinstance(name, int) and self.kind != "array" and str(name) in self.names:
            places = [self.names.index(str(name))]
        if len(places) > 1:
            raise ValueError(f"column {name!r} stands {len(places)} times in the table; names must differ")
        if not places:
            if self.index is not None and self.index.name == name:
                return self.index
            known = ", ".join(repr(other) for other in self.names[:20]) + (", …" if len(self.names) > 20 else "")
            near = [o for o in self.names if isinstance(o, str) and isinstance(name, str) and o.lower() == name.lower()]
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(f"there is no column {name!r}{hint}; the columns are {known or 'none'}")
        return self.at(places[0])

    def at(self, place: int) -> Column:
        if place not in self._read:
            self._read[place] = self.reader(place)
        return self._read[place]

    def numbers(self, name: Name) -> NDArray[np.float64]:
        """A column as float64, missing as NaN.

        Raises
        ------
        ValueError
            If it holds something else, with its place.
        """
        column = self.column(name)
        if column.kind == "text" and parse_numbers(list(column.values)) is None:
            rows = [row for row, text in enumerate(column.values) if text is not None]
            bad = next((row for row in rows if parse_numbers([str(column.values[row])]) is None), rows[0])
            raise ValueError(f"column {name!r}: expected numbers, got {column.values[bad]!r} ({self.where(bad)})")
        return column.numbers()

    def where(self, row: int) -> str:
        """The place of a row in words, for messages."""
        return f"row {row}" if self.lines is None else f"line {self.lines[row]} of '{self.file}'"

    def times(self, name: Name) -> Column:
        """A column as times: dates, texts of dates, or numbers that are dates; plain numbers stay numbers.

        Raises
        ------
        ValueError
            If it is none of these; a text that is no date is named with its row or line.
        """
        column = self.column(name)
        if column.kind == "time":
            return column
        if column.kind == "text":
            try:
                times = _dates.parse_times(column.texts(), day_first=self.day_first, name=str(name))
            except NotTimes as error:
                raise ValueError(f"{self.where(error.row)}: {error}") from None
            zone = None
            if times.aware and len(times.offsets) == 1:
                zone = _zones.fixed_zone(times.offsets[0])
            return Column(name, "time", times.values, times, zone)
        if column.kind == "bool":
            raise ValueError(f"time: column {name!r} holds truth values, not times")
        found = _dates.times_of_numbers(column.values, str(name))
        if found is None:
            return column
        return Column(name, "time", found.values, found, "UTC" if found.aware else None)


def read_table(data: object, *, day_first: bool | None = None) -> Table:
    """A table of what users give.

    Parameters
    ----------
    data : path, pandas or polars frame or series, Arrow table, dict of columns, 1-D or 2-D array
        A path's content decides: Parquet, else CSV. Of a dict the values are columns of one length. The rows of an
        array are the table's, its columns have numbers for names.
    day_first : bool, optional
        How to read ``03/04/2024`` in texts (None: found out, and said).

    Raises
    ------
    ValueError
        If it is no table: texts that are no path of a file, columns of different lengths, arrays of more axes.
    OSError
        If a file cannot be read.
    ImportError
        If Parquet is read and neither polars nor pandas with pyarrow is installed.
    """
    table = _table(data)
    table.day_first = day_first
    return table


def _table(data: object) -> Table:
    if isinstance(data, Table):
        return data
    if isinstance(data, (str, os.PathLike)):
        return _of_file(Path(data))
    package = type(data).__module__.partition(".")[0]
    if package == "pandas":
        return _of_pandas(data)
    if package == "polars":
        return _of_polars(data)
    if isinstance(data, Mapping):
        return _of_columns(dict(data), "dict")
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_pandas"):
        return _of_arrow(data)
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        return _of_columns({name: [row.get(name) for row in data] for name in names}, "dict")
    return _of_array(data)


def _of_file(path: Path) -> Table:
    with open(path, "rb") as file:
        head = file.read(6)
    if head.startswith(b"PAR1") or head == b"ARROW1":
        table = _of_parquet(path, arrow=head == b"ARROW1")
        table.kind, table.file = "file", path.name
        return table
    rows = _csv.read_rows(path)
    decimal_mark = _decimal_mark(rows)
    notes = list(rows.notes)

    def reader(place: int) -> Column:
        return column_of_texts(rows.names[place], rows.columns[place], decimal_mark, notes)

    return Table(list(rows.names), len(rows.lines), "file", reader, notes, None, rows.lines, path.name)


def _of_parquet(path: Path, arrow: bool) -> Table:
    what = "an Arrow" if arrow else "a Parquet"
    try:
        import polars
    except ImportError:
        polars = None
    try:
        if polars is not None:
            return _of_polars(polars.read_ipc(path) if arrow else polars.read_parquet(path))
        import pandas

        return _of_pandas(pandas.read_feather(path) if arrow else pandas.read_parquet(path))
    except ImportError:
        raise ImportError(
            f"'{path.name}' is {what} file, which polars reads, or pandas with pyarrow: "
            'pip install "rekur[polars]"', name="polars",
        ) from None  # fmt: skip
    except OSError:
        raise
    except Exception as error:  # a damaged file raises many kinds, those of a reader's own among them
        raise ValueError(f"'{path.name}' is {what} file that cannot be read: {error}") from None


def _of_pandas(data: Any) -> Table:
    if not hasattr(data, "columns"):
        data = data.to_frame() if hasattr(data, "to_frame") else data
    if not hasattr(data, "columns"):
        raise ValueError(f"data: expected a pandas DataFrame or Series, got {type(data).__name__}")
    levels = data.index.nlevels
    trivial = levels == 1 and type(data.index).__name__ == "RangeIndex" and data.index.name is None
    notes: list[str] = []
    if levels > 1:
        data = data.reset_index()
    names = [name if isinstance(name, (str, int)) else _flat(name) for name in data.columns.tolist()]

    def reader(place: int) -> Column:
        return _column_of_pandas(names[place], data.iloc[:, place])

    index = None
    if levels == 1 and not trivial:
        name = data.index.name if isinstance(data.index.name, (str, int)) else "index"
        index = _column_of_pandas(name, data.index.to_series())
    return Table(names, len(data), "pandas", reader, notes, index)


def _flat(name: object) -> str:
    return "_".join(str(part) for part in name) if isinstance(name, tuple) else str(name)


def _column_of_pandas(name: Name, series: Any) -> Column:
    dtype = series.dtype
    if type(dtype).__name__ == "PeriodDtype":
        series = series.dt.to_timestamp() if hasattr(series, "dt") else series.to_timestamp()
        dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if kind == "M" or "timestamp" in str(dtype):
        zone = getattr(dtype, "tz", None) or getattr(getattr(series, "dt", None), "tz", None)
        if zone is not None:
            series = series.dt.tz_convert("UTC").dt.tz_localize(None)
        missing = series.isna().to_numpy(bool)
        return _time_column(name, series.to_numpy("M8[us]" if _wide(series) else "M8[ns]"), missing, _zone_name(zone))
    if kind == "m":
        return Column(name, "number", series.dt.total_seconds().to_numpy(np.float64))
    if kind == "b":
        return Column(name, "bool", series.to_numpy(np.float64, na_value=np.nan))
    if kind in "iuf" and not bool(series.isna().any()):
        return Column(name, "number", _whole(series.to_numpy(np.float64 if kind == "f" else None)))
    if kind in "iuf":
        return Column(name, "number", series.to_numpy(np.float64, na_value=np.nan))
    if kind == "c":
        raise ValueError(f"column {name!r}: complex numbers are no values of a series")
    return column_of_objects(name, series.astype(object).where(series.notna(), None).tolist())


def _wide(series: Any) -> bool:
    """Whether times may lie outside what nanoseconds hold."""
    return "[ns" not in str(series.dtype)


def _of_polars(data: Any) -> Table:
    if hasattr(data, "collect"):
        data = data.collect()
    if not hasattr(data, "columns"):
        if not hasattr(data, "to_frame"):
            raise ValueError(f"data: expected a polars DataFrame or Series, got {type(data).__name__}")
        data = data.to_frame()
    names = list(data.columns)
    return Table(names, data.height, "polars", lambda place: _column_of_polars(names[place], data.to_series(place)))


def _column_of_polars(name: str, series: Any) -> Column:
    import polars

    dtype = series.dtype
    missing = series.is_null().to_numpy()
    if isinstance(dtype, polars.Datetime) or dtype == polars.Date:
        zone = getattr(dtype, "time_zone", None)
        if zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return _time_column(name, series.to_numpy(), missing, zone)
    if isinstance(dtype, polars.Duration):
        return Column(
            name, "number", series.dt.total_nanoseconds().cast(polars.Float64).fill_null(np.nan).to_numpy() / 1e9
        )
    if dtype == polars.Boolean:
        return Column(name, "bool", series.cast(polars.Float64).fill_null(np.nan).to_numpy())
    if dtype.is_integer() and not missing.any():
        return Column(name, "number", _whole(series.to_numpy()))
    if dtype.is_numeric():
        return Column(name, "number", series.cast(polars.Float64).fill_null(np.nan).to_numpy())
    return column_of_objects(name, series.to_list())


def _of_arrow(data: Any) -> Table:
    try:
        import polars
    except ImportError:
        if not hasattr(data, "to_pandas"):
            message = 'data: an Arrow table is read by polars: pip install "rekur[polars]"'
            raise ImportError(message, name="polars") from None
        return _of_pandas(data.to_pandas())
    return _of_polars(
        polars.DataFrame(data) if hasattr(data, "__arrow_c_stream__") else polars.from_pandas(data.to_pandas())
    )


def _of_columns(columns: dict[Any, Any], kind: Kind) -> Table:
    names: list[Name] = []
    values: list[Any] = []
    for name, column in columns.items():
        if not isinstance(name, (str, int)):
            raise ValueError(f"data: expected texts as names of columns, got {name!r}")
        names.append(name)
        values.append(column)
    lengths = {}
    for name, column in zip(names, values, strict=True):
        if isinstance(column, (str, bytes)) or not hasattr(column, "__len__"):
            raise ValueError(f"data: column {name!r}: expected a sequence of values, got {type(column).__name__}")
        lengths[name] = len(column)
    if len(set(lengths.values())) > 1:
        raise ValueError(f"data: the columns must have one length, got {lengths}")

    def reader(place: int) -> Column:
        return column_of_values(names[place], values[place])

    return Table(names, next(iter(lengths.values()), 0), kind, reader)


def _of_array(data: object) -> Table:
    if isinstance(data, (list, tuple)) and any(isinstance(value, (str, type(None))) for value in data):
        return Table([0], len(data), "array", lambda _: column_of_objects(0, list(data)))
    try:
        array: NDArray[Any] = np.ma.asanyarray(data) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)
    except ValueError:
        raise ValueError("data: expected a table or an array, got nested lists of different lengths") from None
    if array.ndim not in (1, 2):
        raise ValueError(
            "data: expected a frame, a dict of columns, a path, or an array of 1 or 2 axes (steps, columns), "
            f"got {type(data).__name__}" + (f" of shape {array.shape}" if array.ndim else "")
        )
    table = (
        array.reshape(len(array), -1)
        if array.size
        else array.reshape(len(array), array.shape[1] if array.ndim == 2 else 1)
    )
    return Table(
        list(range(table.shape[1])), len(table), "array", lambda place: column_of_values(place, table[:, place])
    )


def column_of_values(name: Name, values: Any) -> Column:
    """A column of an array, a pandas or polars series, or a list."""
    package = type(values).__module__.partition(".")[0]
    if package == "pandas":
        import pandas

        return _column_of_pandas(name, values if isinstance(values, pandas.Series) else pandas.Series(values))
    if package == "polars":
        return _column_of_polars(str(name), values)
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
        return _time_column(name, values, missing if mask is None else missing | mask, None)
    if kind == "m":
        values, kind = values.astype("m8[ns]").astype(np.float64) / 1e9, "f"
    if kind in "biuf":
        numbers = _whole(values) if kind in "iu" else values.astype(np.float64)
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
    if all(issubclass(kind, str) for kind in kinds):
        return column_of_texts(name, values, None, [])
    if all(issubclass(kind, (str, bytes, bool, int, float, np.number, np.bool_)) for kind in kinds):
        texts = [None if v is None else v if isinstance(v, str) else str(v) for v in values]
        return column_of_texts(name, texts, None, [])
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
        zones = {_zone_name(value.tzinfo) for value in values if value is not None}
        zone = zones.pop() if len(zones) == 1 else "UTC"
        values = [v and v.astimezone(datetime.timezone.utc).replace(tzinfo=None) for v in values]
    missing = np.array([value is None for value in values])
    array = np.array([np.datetime64("NaT") if v is None else np.datetime64(v, "us") for v in values], "M8[us]")
    return _time_column(name, array, missing, zone)


def _time_column(name: Name, values: NDArray[Any], missing: NDArray[np.bool_], zone: str | None) -> Column:
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


def _zone_name(zone: Any) -> str | None:
    if zone is None:
        return None
    text = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    try:
        return _zones.check_zone(text)
    except ValueError:
        shift = zone.utcoffset(None)
        return "UTC" if shift is None else _zones.fixed_zone(int(shift.total_seconds()) * _zones.SECOND)


def _whole(values: NDArray[Any]) -> NDArray[Any]:
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


def column_of_texts(name: Name, texts: Sequence[str | None], mark: str | None, notes: list[str]) -> Column:
    """What a column of texts holds: truth values, numbers, times or texts.

    ``mark`` is the decimal mark of the file, if it is known. Numbers with leading zeros (``007``) are texts.
    """
    present = [text for text in texts if text is not None]
    if not present:
        return Column(name, "number", np.full(len(texts), np.nan))
    lower = {text.lower() for text in present[:1000]}
    if lower <= {"true", "false"} and {text.lower() for text in present} <= {"true", "false"}:
        truth = [np.nan if text is None else float(text.lower() == "true") for text in texts]
        return Column(name, "bool", np.array(truth))
    zeros = any(len(text) > 1 and text[0] == "0" and text.isdigit() for text in present)
    if not zeros and (parsed := parse_numbers(texts, mark)) is not None:
        numbers, note = parsed
        if note:
            notes.append(f"column {name!r}: {note}")
        return Column(name, "number", numbers)
    objects = np.empty(len(texts), object)
    objects[:] = texts
    return Column(name, "text", objects)


def parse_numbers(texts: Sequence[str | None], mark: str | None = None) -> tuple[NDArray[Any], str] | None:
    """Numbers as people write them, and a sentence on what was unusual; None if some text is no number."""
    present = [text for text in texts if text is not None]
    missing = len(present) < len(texts)
    if mark != "," and all(map(_PLAIN.fullmatch, present)):
        whole = not missing and all(text.lstrip("+-").isdigit() and len(text) < 19 for text in present)
        filled = texts if not missing else ["nan" if text is None else text for text in texts]
        return np.array(filled, str).astype(np.int64 if whole else np.float64), ""
    cleaned, note = [], ""
    signs = {text[0] for text in present} | {text[-1] for text in present}
    for text in present:
        plain = text.replace("−", "-")
        if signs & set("%$€£"):
            plain = re.sub(r"^([-+]?)[$€£]\s?|\s?[%€$£]$", r"\1", plain)
        if plain.startswith("(") and plain.endswith(")"):
            plain = "-" + plain[1:-1]
        cleaned.append(re.sub(r"(?<=\d)[\s'’  ](?=\d{3}(?!\d))", "", plain))
    if signs & set("%$€£"):
        note = f"signs such as {present[0]!r} are left out"
    mark = mark or _mark_of(cleaned) or "."
    other = "," if mark == "." else "."
    form = _THOUSANDS[mark]
    bare = re.compile(rf"[-+]?\d+(?:{re.escape(mark)}\d*)?(?:e[-+]?\d+)?|[-+]?{re.escape(mark)}\d+", re.IGNORECASE)
    grouped = False
    for text in cleaned:
        if bare.fullmatch(text):
            continue
        if not form.fullmatch(text):
            return None
        grouped = True
    numbers = [float(text.replace(other, "").replace(mark, ".")) for text in cleaned]
    example = next((text for text in present if other in text), present[0])
    if mark == "," and not note:
        note = "numbers are read with a decimal comma"
    elif grouped and not note:
        note = f"the {other!r} in {example!r} is read as a mark of thousands"
    iterator = iter(numbers)
    return np.array([np.nan if text is None else next(iterator) for text in texts], np.float64), note


def _mark_of(texts: Sequence[str]) -> str | None:
    """The decimal mark that these numbers can only have; None if both would do, or neither stands there."""
    point = comma = False
    for text in texts:
        last_point, last_comma = text.rfind("."), text.rfind(",")
        if last_point >= 0 and last_comma >= 0:
            point, comma = point or last_point > last_comma, comma or last_comma > last_point
        elif last_comma >= 0:
            comma = comma or (text.count(",") == 1 and not re.fullmatch(r"[-+]?\d{1,3},\d{3}", text))
            point = point or text.count(",") > 1
        elif last_point >= 0:
            point = point or (text.count(".") == 1 and not re.fullmatch(r"[-+]?\d{1,3}\.\d{3}", text))
            comma = comma or text.count(".") > 1
    return None if point == comma else ("." if point else ",")


def _decimal_mark(rows: _csv.Rows) -> str | None:
    """The decimal mark of a whole file: one column often shows what others leave open."""
    if rows.separator == ",":
        marks = [_mark_of(_numeric(column)) for column in rows.columns]
        return "," if "," in marks and "." not in marks else None
    marks = [_mark_of(_numeric(column)) for column in rows.columns]
    if "," in marks and "." not in marks:
        return ","
    if "." in marks or not any("," in text for column in rows.columns for text in _numeric(column)):
        return None
    return "," if rows.separator == ";" else None  # such files come from programs that write a decimal comma


def _numeric(column: Sequence[str | None]) -> list[str]:
    texts = [text for text in column[:2000] if text is not None]
    return texts if texts and all(re.fullmatch(r"[-+−]?[\d.,\s'  ]+(?:e[-+]?\d+)?", text) for text in texts) else []
