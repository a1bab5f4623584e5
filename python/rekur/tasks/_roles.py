"""Which column of a table is what: time, the series that a row belongs to, targets, covariates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rekur.tasks._columns import Column, Name
from rekur.tasks._dates import NotTimes, look_like_times, parse_times
from rekur.tasks._tables import Table

Names: TypeAlias = "Name | Sequence[Name] | None"

_TIMES = ("ds", "time", "timestamp", "datetime", "date", "date_time", "index", "t", "step", "month", "year", "day")
_SERIES = ("unique_id", "series_id", "item_id", "series", "id")
_TARGETS = ("y", "target", "value", "values")


@dataclass(frozen=True)
class Roles:
    """Names of columns by role. ``time`` holds several where date and clock stand apart; none: rows are the steps."""

    time: list[Name]
    series: Name | None
    target: list[Name]
    past: list[Name]
    future: list[Name]
    static: list[Name]


def as_names(names: object, what: str) -> list[Name]:
    """One name or several as a list.

    Raises
    ------
    ValueError
        If it is neither, or a name stands twice.
    """
    if names is None:
        return []
    if isinstance(names, (str, int, np.integer)) and not isinstance(names, bool):
        return [names if isinstance(names, str) else int(names)]
    if not isinstance(names, (list, tuple, np.ndarray)) and not hasattr(names, "tolist"):
        raise ValueError(f"{what}: expected the name of a column, or several, got {names!r}")
    result: list[Name] = []
    several: Any = names
    for name in several:
        if isinstance(name, bool) or not isinstance(name, (str, int, np.integer)):
            raise ValueError(f"{what}: expected names of columns, got {name!r}")
        name = str(name) if isinstance(name, str) else int(name)
        if name in result:
            raise ValueError(f"{what}: {name!r} stands twice")
        result.append(name)
    return result


def find_roles(
    table: Table, time: object, target: object, series: object, past: object, future: object, static: object,
    notes: list[str],
) -> Roles:  # fmt: skip
    """Check the columns that are named and guess the others, with a sentence on each guess.

    Raises
    ------
    ValueError
        If a column does not exist or has two roles, or no column can be the target.
    """
    given = {
        "time": as_names(time, "time"), "series": as_names(series, "series"), "target": as_names(target, "target"),
        "past": as_names(past, "past"), "future": as_names(future, "future"), "static": as_names(static, "static"),
    }  # fmt: skip
    if len(given["series"]) > 1:
        raise ValueError(f"series: expected one column, got {given['series']}; join them into one first")
    taken: dict[Name, str] = {}
    for role, names in given.items():
        for name in names:
            if not (role == "time" and _is_index(table, name)):
                try:
                    table.column(name)
                except ValueError as error:
                    raise ValueError(f"{role}: {error}") from None
            if name in taken:
                raise ValueError(f"column {name!r} is named twice, as {taken[name]} and as {role}")
            taken[name] = role
    times = given["time"] or _guess_time(table, taken, notes)
    taken.update(dict.fromkeys(times, "time"))
    id_column = given["series"][0] if given["series"] else _guess_series(table, taken, times, notes)
    if id_column is not None:
        taken[id_column] = "series"
    targets = given["target"] or _guess_target(table, taken, notes)
    return Roles(times, id_column, targets, given["past"], given["future"], given["static"])


def _is_index(table: Table, name: Name) -> bool:
    return table.index is not None and name not in table.names and name in (table.index.name, "index")


def time_column(table: Table, names: list[Name]) -> Column | None:
    """The column of times; several are joined, as a date and its time of day.

    Raises
    ------
    ValueError
        If what stands there are no times.
    """
    if not names:
        return None
    if len(names) == 1:
        if _is_index(table, names[0]):
            assert table.index is not None
            index = Table([names[0]], table.rows, table.kind, lambda _: index_column, lines=table.lines)
            index_column, index.day_first = table.index, table.day_first
            return index.times(names[0])
        return table.times(names[0])
    parts = [_joinable(table.column(name)) for name in names]
    joined = [None if None in row else " ".join(str(part) for part in row) for row in zip(*parts, strict=True)]
    try:
        times = parse_times(joined, day_first=table.day_first, name=" ".join(map(str, names)))
    except NotTimes as error:
        raise ValueError(f"{table.where(error.row)}: {error}") from None
    return Column(names[0], "time", times.values, times)


def _joinable(column: Column) -> list[str | None]:
    if column.kind == "time":
        return [text and text.partition("T")[0] for text in column.texts()]
    return column.texts()


def _guess_time(table: Table, taken: dict[Name, str], notes: list[str]) -> list[Name]:
    if table.index is not None and (table.index.kind == "time" or _texts_are_times(table.index)):
        return [table.index.name]
    found: list[Name] = []
    for place, name in enumerate(table.names):
        if name in taken or table.names.count(name) > 1 or table.kind == "array":
            continue
        column = table.at(place)
        numbered = column.kind == "number" and str(name).lower() in _TIMES and _rises(column)
        if numbered or column.kind == "time" or _texts_are_times(column):
            found.append(name)
    if not found and table.index is not None and table.index.kind == "number" and _rises(table.index):
        return [table.index.name]
    if len(found) > 1:
        known = [name for name in _TIMES for other in found if str(other).lower() == name]
        best = next((other for other in found if known and str(other).lower() == known[0]), None)
        if best is None:
            raise ValueError(f"time: several columns hold times ({', '.join(map(repr, found))}): name one")
        notes.append(f"time is taken from column {best!r} (times stand in {', '.join(map(repr, found))})")
        return [best]
    if found:
        notes.append(f"time is taken from column {found[0]!r}")
    elif table.kind not in ("array", "list") and table.rows:
        notes.append("no column holds times: each row is taken for one step")
    return found


def _texts_are_times(column: Column) -> bool:
    if column.kind != "text":
        return False
    present = [str(value) for value in column.values if value is not None]
    return look_like_times([*present[:40], *present[-10:]])


def _rises(column: Column) -> bool:
    values = column.numbers()
    return bool(np.isfinite(values).all() and len(values) > 1 and np.ptp(values) > 0)


def _guess_series(table: Table, taken: dict[Name, str], times: list[Name], notes: list[str]) -> Name | None:
    if table.kind == "array" or not times:
        return None
    free = [name for name in table.names if name not in taken and table.names.count(name) == 1]
    named = [name for known in _SERIES for name in free if str(name).lower() == known]
    texts = [name for name in free if table.column(name).kind == "text"]
    candidates = [*named, *(name for name in texts if name not in named)]
    if not candidates:
        return None
    try:
        column = time_column(table, times)
    except ValueError:
        return None  # which is said when times are read
    assert column is not None
    stamps = column.values
    _, code = np.unique(stamps, return_inverse=True)
    if code.size == 0 or code.max() + 1 > 0.9 * code.size:
        return None
    for name in candidates:
        label = np.unique(np.array([str(value) for value in table.column(name).values]), return_inverse=True)[1]
        pairs = np.unique(np.stack([code.ravel(), label.ravel()]), axis=1).shape[1]
        if pairs > 0.95 * code.size and label.max() + 1 < 0.7 * code.size:
            notes.append(f"column {name!r} is taken to say which series a row belongs to")
            return name
    return None


def _guess_target(table: Table, taken: dict[Name, str], notes: list[str]) -> list[Name]:
    free = [name for place, name in enumerate(table.names) if name not in taken and table.at(place).kind == "number"]
    names = [name for name in free if not (name == table.names[0] and _row_numbers(table.at(0)))] or free
    if not names:
        kinds = [table.at(place).kind for place, name in enumerate(table.names) if name not in taken]
        what = f"; the others hold {', '.join(sorted(set(kinds)))}" if kinds else ""
        raise ValueError(f"target: no column of numbers is left for it{what}")
    chosen = next(([name] for known in _TARGETS for name in names if str(name).lower() == known), names)
    if table.kind != "array" and table.rows:
        listed = ", ".join(map(repr, chosen[:8])) + (", …" if len(chosen) > 8 else "")
        notes.append(
            f"the target is column {listed}"
            if len(chosen) == 1
            else f"the targets are the columns of numbers: {listed}"
        )
    return chosen


def _row_numbers(column: Column) -> bool:
    """Whether a column without a name just counts the rows, as many programs write it."""
    if not (str(column.name).startswith(("column_", "Unnamed:")) or column.name == ""):
        return False
    values: Any = column.values
    return len(values) > 1 and values.dtype.kind in "iu" and values[0] in (0, 1) and bool((np.diff(values) == 1).all())
