"""Tables as users have them: files, pandas, polars, Arrow, dicts and arrays, each column read when it is asked for.

Everything that is unusual in one becomes a sentence in the notes.
"""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _csv, _dates, _zones
from rekur.tasks._columns import Column, Name, NotNumbers, column_of_objects, column_of_texts, column_of_values
from rekur.tasks._dates import NotTimes
from rekur.tasks._numbers import decimal_mark

Kind: TypeAlias = Literal["pandas", "polars", "dict", "array", "list", "file"]


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
        try:
            return self.column(name).numbers()
        except NotNumbers as error:
            raise ValueError(f"{error} ({self.where(error.row)})") from None

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
    from rekur.tasks import _dataframes  # which makes tables

    if package == "pandas":
        return _dataframes.of_pandas(data)
    if package == "polars":
        return _dataframes.of_polars(data)
    if isinstance(data, Mapping):
        return _of_columns(dict(data), "dict")
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "to_pandas"):
        return _dataframes.of_arrow(data)
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        names = list(dict.fromkeys(name for row in data for name in row))
        return _of_columns({name: [row.get(name) for row in data] for name in names}, "dict")
    return _of_array(data)


def _of_file(path: Path) -> Table:
    data = _csv.read_bytes(path)
    if data.startswith((b"PAR1", b"ARROW1")):
        table = _of_columnar(data, path.name)
        table.kind, table.file = "file", path.name
        return table
    rows = _csv.read_rows(data, path.name)
    del data
    mark = decimal_mark(rows.columns, rows.separator)
    notes = list(rows.notes)

    def reader(place: int) -> Column:
        column, note = column_of_texts(rows.names[place], rows.columns[place], mark)
        if note:
            notes.append(f"column {column.name!r}: {note}")
        return column

    return Table(list(rows.names), len(rows.lines), "file", reader, notes, None, rows.lines, path.name)


def _of_columnar(data: bytes, name: str) -> Table:
    """A Parquet or Arrow file, which polars reads, or pandas with pyarrow."""
    from rekur.tasks import _dataframes

    arrow = data.startswith(b"ARROW1")
    what = "an Arrow" if arrow else "a Parquet"
    try:
        import polars
    except ImportError:
        polars = None
    try:
        if polars is not None:
            return _dataframes.of_polars((polars.read_ipc if arrow else polars.read_parquet)(io.BytesIO(data)))
        import pandas

        return _dataframes.of_pandas((pandas.read_feather if arrow else pandas.read_parquet)(io.BytesIO(data)))
    except ImportError:
        raise ImportError(
            f"'{name}' is {what} file, which polars reads, or pandas with pyarrow: pip install \"rekur[polars]\"",
            name="polars",
        ) from None
    except Exception as error:  # a damaged file raises many kinds, those of a reader's own among them
        raise ValueError(f"'{name}' is {what} file that cannot be read: {error}") from None


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
