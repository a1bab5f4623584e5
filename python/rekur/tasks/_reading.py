"""From a table to series: rows to their series, times to steps, columns to arrays."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _steps, _zones
from rekur.tasks._clocks import in_utc, say_clocks
from rekur.tasks._columns import Column, Name
from rekur.tasks._grid import Floats, check_aggregate, on_grid
from rekur.tasks._remarks import count_rows, say_rows
from rekur.tasks._roles import as_names, find_roles, time_column
from rekur.tasks._seasons import with_seasons
from rekur.tasks._series import Layout, Series, SeriesSet
from rekur.tasks._tables import Table, read_table
from rekur.tasks._timeline import Timeline, parse_freq
from rekur.tasks._values import categories_of, matrix, rules_of
from rekur.tasks._zones import Integers

_MOST_STEPS = 5_000_000
_MOST_CELLS = 20_000_000  # of all series of a small table


def read(
    data: object, *, time: Any, target: Any, series: Any, past: Any, future: Any, static: Any, freq: Any,
    time_zone: str | None, aggregate: Any, day_first: bool | None,
) -> SeriesSet:  # fmt: skip
    """As :func:`rekur.tasks._series.read_series` without ``like``."""
    aggregate = check_aggregate(aggregate)
    if time_zone is not None:
        _zones.check_zone(time_zone)
    step = None if freq is None else parse_freq(freq)
    if (listed := _list_of_series(data)) is not None:
        _refuse_columns("a list of arrays", time=time, series=series, past=past, future=future, static=static)
        return _of_list(listed, target, step)
    notes: list[str] = []
    table = read_table(data, day_first=day_first)
    if table.rows == 0:
        raise ValueError("data: the table has no rows")
    roles = find_roles(table, time, target, series, past, future, static, notes)
    stamps = time_column(table, roles.time)
    layout = Layout(
        table.kind, roles.time, bool(roles.time) and roles.time[0] not in table.names,
        stamps.zone if stamps is not None else None, roles.series, aggregate, day_first,
    )  # fmt: skip
    categories = categories_of(table, roles)
    names = (roles.target, roles.past, roles.future, roles.static)
    empty = SeriesSet([], Timeline(), *names, categories, notes, layout)
    return _build(table, stamps, empty, step, time_zone, True)


def check_like(known: SeriesSet, like: SeriesSet | None) -> SeriesSet:
    """A set that was read already, if its columns and steps are those of ``like``.

    Raises
    ------
    ValueError
        If they are not.
    """
    if like is not None:
        for name in ("target", "past", "future", "static", "categories"):
            if getattr(known, name) != getattr(like, name):
                raise ValueError(f"data: {name}: expected {getattr(like, name)}, got {getattr(known, name)}")
        step, other = known.timeline, like.timeline
        if (step.unit, step.size, step.time_zone) != (other.unit, other.size, other.time_zone):
            raise ValueError(f"data: expected steps of {other.step}, got {step.step}")
    return known


def read_like(data: object, like: SeriesSet) -> SeriesSet:
    """New data with the columns, step, zone and categories of a set."""
    empty = dataclasses.replace(like, series=[], notes=[])
    if (listed := _list_of_series(data)) is not None:
        if like.past or like.future or like.static or like.layout.time:
            raise ValueError("data: expected a table with the columns of the training data, got a list of arrays")
        arrays = [_rows(array, number) for number, array in enumerate(listed)]
        _check_widths(arrays, len(like.target))
        made = [_plain(number, array, like.timeline) for number, array in enumerate(arrays)]
        return dataclasses.replace(empty, series=_observed(made, like.timeline, empty.notes))
    table = read_table(data, day_first=like.layout.day_first)
    _check_rows(table, like, like.target)
    return _build(table, _times_like(table, like), empty, like.timeline, like.timeline.time_zone, False)


def with_future(known: SeriesSet, data: object) -> SeriesSet:
    """As :meth:`rekur.tasks._series.SeriesSet.with_future`."""
    if not known.future:
        raise ValueError("future: no columns were said to be known ahead; name them with future=")
    if (table := _table_of_future(data, known)).rows == 0:
        raise ValueError("future: the table has no rows")
    _check_rows(table, known, [])
    notes: list[str] = []
    line = known.timeline
    stamps = _times_like(table, known)
    codes, ids, kept = _groups(table, known.layout.series, stamps, notes)
    values = matrix(table, known.future, known, notes)
    made, reached = [], False
    spans = _Span(line, table.rows, len(known.future))
    by_id = {name: code for code, name in enumerate(ids)}
    for series in known.series:
        begin, end = int(line.ordinal(series.start)), known.end(series)
        rows = kept[codes[kept] == by_id[series.id]] if series.id in by_id else kept[:0]
        if stamps is None:
            ahead = values[rows]
        else:
            ordinals, order = _ordered(stamps, rows, line, notes, series.id)
            after = ordinals >= end
            ahead = np.full((0, len(known.future)), np.nan)
            if after.any():
                chosen = rows[order][after]
                rules = rules_of(known, known.future, False)
                spans.check(end, int(ordinals[-1]), series.id, len(rows))
                block = on_grid(ordinals[after], values[chosen], rules)
                gap = int(ordinals[after][0]) - end
                ahead = np.concatenate([np.full((gap, block.shape[1]), np.nan), block])
        if len(ahead):
            reached = True
            filled = np.concatenate([series.future[: end - begin], ahead])
            old = series.future[end - begin :]
            keep = min(len(old), len(ahead))
            part = filled[end - begin : end - begin + keep]
            part[np.isnan(part)] = old[:keep][np.isnan(part)]
            filled = np.concatenate([filled, old[keep:]])
            series = dataclasses.replace(series, future=filled)
        made.append(series)
    if not reached:
        raise ValueError("future: no row lies beyond the end of the series; the first must follow the last target")
    return dataclasses.replace(known, series=made, notes=[*known.notes, *notes])


def _table_of_future(data: object, known: SeriesSet) -> Table:
    table = read_table(data, day_first=known.layout.day_first)
    if table.kind == "array" and len(table.names) == len(known.future) and known.layout.kind != "array":
        columns = [table.at(place) for place in range(len(table.names))]
        renamed = [dataclasses.replace(c, name=name) for c, name in zip(columns, known.future, strict=True)]
        return Table(list(known.future), table.rows, "dict", lambda place: renamed[place])
    if table.kind == "array" and known.layout.kind == "array" and len(table.names) == len(known.future):
        columns = [table.at(place) for place in range(len(table.names))]
        return Table(list(known.future), table.rows, "array", lambda place: columns[place])
    return table


def _list_of_series(data: object) -> list[Any] | None:
    """Many series given as a list of arrays; None if it is something else."""
    if not isinstance(data, (list, tuple)) or not len(data):
        return None
    if not all(isinstance(one, (np.ndarray, list, tuple)) or hasattr(one, "__array__") for one in data):
        return None
    if any(isinstance(one, (float, int, np.generic, str)) or np.ndim(one) == 0 for one in data):
        return None
    return list(data)


def _refuse_columns(what: str, **named: Any) -> None:
    for name, value in named.items():
        if as_names(value, name):
            raise ValueError(f"{name}: {what} has no columns with names; give a frame or a dict of columns")


def _of_list(arrays: list[Any], target: Any, step: Timeline | None) -> SeriesSet:
    if step is not None and step.unit != "number":
        raise ValueError("freq: a list of arrays has no times; give a frame with a column of times")
    blocks = [_rows(array, number) for number, array in enumerate(arrays)]
    width = blocks[0].shape[1]
    _check_widths(blocks, width)
    names = as_names(target, "target") or list(range(width))
    if len(names) != width:
        raise ValueError(f"target: expected {width} names, one a column, got {names}")
    notes: list[str] = []
    line = step or Timeline()
    made = _observed([_plain(number, block, line) for number, block in enumerate(blocks)], line, notes)
    line = _with_seasons(line, made, notes)
    return SeriesSet(made, line, names, [], [], [], {}, notes, Layout("list"))


def _rows(array: Any, number: int) -> Floats:
    try:
        if isinstance(array, np.ma.MaskedArray):
            block = np.where(np.ma.getmaskarray(array), np.nan, array.data.astype(np.float64))
        else:
            block = np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"data: series {number}: expected numbers") from None
    if block.ndim not in (1, 2):
        raise ValueError(f"data: series {number}: expected (steps,) or (steps, columns), got shape {block.shape}")
    block = block.reshape(len(block), -1) if block.size else block.reshape(0, block.shape[1] if block.ndim == 2 else 1)
    return np.where(np.isinf(block), np.nan, block)


def _check_widths(blocks: list[Floats], width: int) -> None:
    for number, block in enumerate(blocks):
        if block.shape[1] != width:
            raise ValueError(f"data: series {number} has {block.shape[1]} columns, expected {width}")


def _plain(number: int, block: Floats, line: Timeline) -> Series:
    none = np.zeros((len(block), 0))
    return Series(number, line.time(0), block, none, none, np.zeros(0))


def _check_rows(table: Table, like: SeriesSet, target: list[Name]) -> None:
    """The columns of the training data are there."""
    if table.rows == 0:
        raise ValueError("data: the table has no rows")
    needed: list[tuple[str, Any]] = [("target", target), ("past", like.past if target else []), ("future", like.future)]
    needed += [("static", like.static if target else []), ("series", [like.layout.series])]
    for role, names in needed:
        for name in names:
            if name is not None:
                try:
                    table.column(name)
                except ValueError as error:
                    raise ValueError(f"{role}: {error}") from None


def _times_like(table: Table, like: SeriesSet) -> Column | None:
    names = like.layout.time
    if not names:
        return None
    if table.index is not None and (like.layout.index or (names[0] not in table.names)):
        table.index = dataclasses.replace(table.index, name=names[0])
    if all(name in table.names for name in names) or table.index is not None:
        stamps = time_column(table, names)
    else:
        raise ValueError(f"time: there is no column {names[0]!r} as in the training data")
    if stamps is not None and (stamps.kind == "time") != like.timeline.calendar:
        raise ValueError(f"time: column {names[0]!r} holds {stamps.kind}s, unlike that of the training data")
    return stamps


def _build(
    table: Table, stamps: Column | None, empty: SeriesSet, step: Timeline | None, time_zone: str | None, fresh: bool
) -> SeriesSet:
    """The series of a table, whose columns, step and zone are known (or to be found: ``fresh``)."""
    notes = list(empty.notes)
    if stamps is not None and stamps.times is not None and fresh:
        notes += stamps.times.notes
    codes, ids, kept = _groups(table, empty.layout.series, stamps, notes)
    if fresh:
        line, stamps = _timeline(stamps, codes, kept, len(ids), step, time_zone, notes)
    else:
        assert step is not None
        line = step
        if stamps is not None and stamps.kind == "time":
            stamps = in_utc(stamps, line.time_zone, codes, kept, notes)
    columns = [*empty.target, *empty.past, *empty.future]
    values = matrix(table, columns, empty, notes)
    rules = [*rules_of(empty, empty.target, True), *rules_of(empty, [*empty.past, *empty.future], False)]
    static = matrix(table, empty.static, empty, notes)
    order = kept[np.argsort(codes[kept], kind="stable")]
    bounds = np.searchsorted(codes[order], np.arange(len(ids) + 1))
    counts: dict[str, Any] = {}
    made = []
    spans = _Span(line, table.rows, len(columns))
    for code, name in enumerate(ids):
        rows = order[bounds[code] : bounds[code + 1]]
        made.append(_one(name, rows, stamps, line, values, rules, static, empty, counts, table, spans))
    say_rows(counts, line, empty, len(ids), notes)
    if table.notes:
        notes = [*table.notes, *notes]
    made = _observed(made, line, notes, empty.future)
    if fresh:
        line = _with_seasons(line, made, notes)
        say_clocks(stamps, line, made, notes)
    return dataclasses.replace(empty, series=made, timeline=line, notes=notes)


def _groups(
    table: Table, column: Name | None, stamps: Column | None, notes: list[str]
) -> tuple[Integers, list[str | int | None], Integers]:
    """The number of each row's series, the series' names, and the rows that have both a time and a series."""
    keep = np.ones(table.rows, bool)
    if stamps is not None:
        missing = stamps.times.missing if stamps.times is not None else ~np.isfinite(stamps.numbers())
        if missing.all():
            raise ValueError(f"time: column {stamps.name!r} holds no time at all")
        if missing.any():
            first = int(np.argmax(missing))
            notes.append(f"{_rows_are(missing.sum())} without a time (the first: {table.where(first)}): left out")
            keep &= ~missing
    if column is None:
        return np.zeros(table.rows, np.int64), [None], np.flatnonzero(keep)
    values = table.column(column)
    labels: list[Any]
    if values.kind == "number" and np.isfinite(np.asarray(values.values, np.float64)).all():
        numbers = values.numbers()
        labels = [int(v) for v in values.values] if (numbers == np.floor(numbers)).all() else values.texts()
    else:
        labels = values.texts()
    gone = np.array([label is None for label in labels])
    if gone.any():
        first = int(np.argmax(gone))
        notes.append(
            f"{_rows_are(gone.sum())} without a value in {column!r} (the first: {table.where(first)}): left out"
        )
        keep &= ~gone
    if not keep.any():
        raise ValueError(f"series: column {column!r} holds no value")
    seen: dict[Any, int] = {}
    codes = np.array([seen.setdefault(label, len(seen)) if ok else -1 for label, ok in zip(labels, keep, strict=True)])
    return codes, list(seen), np.flatnonzero(keep)


def _rows_are(count: Any) -> str:
    return "1 row stands" if count == 1 else f"{count} rows stand"


def _timeline(
    stamps: Column | None, codes: Integers, kept: Integers, count: int, step: Timeline | None, time_zone: str | None,
    notes: list[str],
) -> tuple[Timeline, Column | None]:  # fmt: skip
    """The timeline of a fresh set, and its times in UTC."""
    if stamps is None or stamps.kind != "time":
        if step is not None and step.calendar:
            what = "each row is a step" if stamps is None else f"time ({stamps.name!r}) is a plain number"
            raise ValueError(f"freq: {step.step} is a step of dates, but {what}; name a column of dates by time=")
        if time_zone is not None:
            raise ValueError("time_zone: there are no dates in the data that could be in a zone")
        if stamps is None:
            return step or Timeline(), None
        line = step or _steps.find_number_steps(_split(stamps.numbers(), codes, kept, count), notes)
        return line, stamps
    if step is not None and not step.calendar:
        raise ValueError(f"freq: {step.size:g} is a step of plain numbers, but {stamps.name!r} holds dates")
    zone = time_zone or stamps.zone
    times = stamps.times
    assert times is not None
    if times.aware and zone is None:
        zone = "UTC"
        found = " and ".join(_zones.fixed_zone(offset) for offset in (times.offsets[0], times.offsets[-1]))
        if len(times.offsets) > 1:
            notes.append(
                f"the offsets from UTC in {stamps.name!r} change between {found}: days and hours are those of UTC; "
                "time_zone names the zone whose clocks count"
            )
    stamps = in_utc(stamps, zone, codes, kept, notes)
    groups = _split(stamps.values, codes, kept, count)
    if step is None:
        return _steps.find_steps(groups, zone, times.form, notes), stamps
    return _steps.fit_phase(step, groups, zone), stamps


def _split(values: NDArray[Any], codes: Integers, kept: Integers, count: int) -> list[NDArray[Any]]:
    """Values of the rows of each series, ascending."""
    order = kept[np.lexsort((values[kept], codes[kept]))]
    bounds = np.searchsorted(codes[order], np.arange(count + 1))
    return [values[order[bounds[code] : bounds[code + 1]]] for code in range(count)]


def _ordered(stamps: Column, rows: Integers, line: Timeline, notes: list[str], name: Any) -> tuple[Integers, Integers]:
    """Ordinals of rows, ascending, and the order that makes them so."""
    values = stamps.values[rows]
    order = np.argsort(values, kind="stable")
    ordinals = line.ordinal(values[order].astype("M8[ns]") if line.calendar else values[order])
    return np.maximum.accumulate(ordinals) if len(ordinals) else ordinals, order


class _Span:
    """Bounds the grids of a table's series, each and together, by the table's rows."""

    def __init__(self, line: Timeline, rows: int, columns: int) -> None:
        self._line, self._rows, self._columns = line, rows, max(columns, 1)
        self._cells = 0

    def check(self, first: int, last: int, name: Any, rows: int) -> None:
        """Count a series of ``rows`` rows whose steps go from ``first`` to ``last``.

        Raises
        ------
        ValueError
            If they are too many.
        """
        steps, line = last - first + 1, self._line
        begin_end = f"from {line.time(first)} to {line.time(last)}"
        which = "the series" if name is None else f"series {name!r}"
        if steps > max(_MOST_STEPS, 50 * rows) or (steps > 100_000 and steps > 1000 * rows):
            raise ValueError(
                f"time: {which} goes {begin_end}, {steps} steps of {line.step} for {rows} rows: "
                "is a time wrong? freq gives longer steps"
            )
        self._cells += steps * self._columns
        if self._cells > max(_MOST_CELLS, 50 * self._rows * self._columns):
            raise ValueError(
                f"time: the series have more than {self._cells - 1} values on steps of {line.step} for {self._rows} "
                f"rows of {self._columns} columns (the last, {which}, goes {begin_end}): "
                "is a time wrong? freq gives longer steps"
            )


def _one(
    name: Any, rows: Integers, stamps: Column | None, line: Timeline, values: Floats, rules: list[str], static: Floats,
    empty: SeriesSet, counts: dict[str, Any], table: Table, spans: _Span,
) -> Series:  # fmt: skip
    """One series of its rows."""
    if stamps is None:
        block, first = values[rows], 0
    else:
        ordinals, order = _ordered(stamps, rows, line, [], name)
        count_rows(counts, stamps.values[rows][order], ordinals, order, name)
        spans.check(int(ordinals[0]), int(ordinals[-1]), name, len(rows))
        block, first = on_grid(ordinals, values[rows[order]], rules), int(ordinals[0])
    wide, narrow = len(empty.target), len(empty.past)
    future = block[:, wide + narrow :]
    for place, column in enumerate(empty.future):
        if column in empty.categories:
            future[np.isnan(future[:, place]), place] = len(empty.categories[column])
    past = block[:, wide : wide + narrow]
    for place, column in enumerate(empty.past):
        if column in empty.categories:
            past[np.isnan(past[:, place]), place] = len(empty.categories[column])
    fixed = np.full(len(empty.static), np.nan)
    for place, column in enumerate(empty.static):
        own = static[rows, place]
        own = own[~np.isnan(own)]
        if own.size and (own != own[0]).any():
            which = "the table" if name is None else f"series {name!r}"
            row = int(rows[int(np.argmax(static[rows, place] != own[0]))])
            raise ValueError(
                f"static: column {column!r} changes within {which} ({table.where(row)}): name it past or future"
            )
        if own.size:
            fixed[place] = own[0]
    return Series(name, line.time(first), block[:, :wide], past, future, fixed)


def _observed(series: list[Series], line: Timeline, notes: list[str], future: list[Name] | None = None) -> list[Series]:
    """Series cut to their observed targets; what lies beyond the last is the future."""
    made, empty, ahead, early = [], [], [], 0
    for one in series:
        present = np.flatnonzero(~np.isnan(one.target).all(axis=1))
        if not present.size:
            empty.append(one.id)
            continue
        first, last = int(present[0]), int(present[-1]) + 1
        early += first > 0
        rest = one.future[first:]
        if len(one.target) > last:
            ahead.append(len(one.target) - last)
        if not future:
            rest = rest[: last - first]
        else:
            known = np.flatnonzero(~np.isnan(rest).all(axis=1))
            rest = rest[: max(last - first, int(known[-1]) + 1 if known.size else 0)]
        start = line.time(int(line.ordinal(one.start)) + first) if first else one.start
        made.append(Series(one.id, start, one.target[first:last], one.past[first:last], rest, one.static))
    if not made:
        raise ValueError("target: no value of it is there: all are missing")
    if empty:
        listed = ", ".join(map(repr, empty[:5])) + (", …" if len(empty) > 5 else "")
        notes.append(f"{len(empty)} series have no value of the target and are left out: {listed}")
    if ahead:
        what = "they are the future to forecast" if future else "they are left out"
        many = f"{max(ahead)}" if len(ahead) == 1 else f"up to {max(ahead)}"
        notes.append(f"the target ends before the table does, by {many} steps: {what}")
    if early:
        which = "the target begins" if len(series) == 1 else f"in {early} series the target begins"
        notes.append(f"{which} later than the table does: the rows before are left out")
    return made


def _with_seasons(line: Timeline, series: list[Series], notes: list[str]) -> Timeline:
    line, seen = with_seasons(line, [one.target for one in series])
    if seen:
        notes.append(f"the values repeat after {line.season} steps, which is taken for their season")
    return line
