"""What a detector and a forecaster say of series: a score for each row, forecasts behind each series."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.bulk import _arrow
from rekur.bulk._answers import Answerer, Answers, spread
from rekur.bulk._arrow import Floats, import_pyarrow, of_numpy
from rekur.bulk._reading import Integers, Rows
from rekur.tasks._clocks import in_utc
from rekur.tasks._columns import Column
from rekur.tasks._commands._forecasts import has_bands, predictions
from rekur.tasks._reading import _times_like
from rekur.tasks._results import as_given, time_name
from rekur.tasks._series import SeriesSet, read_series
from rekur.tasks._tables import Table


class _Described(Answerer):
    """Series that are read as the training data were."""

    grouped = True

    def _begin(self, like: SeriesSet, columns: Sequence[str] | None, key: str | None) -> None:
        """Find the columns.

        Raises
        ------
        ValueError
            If the training data's columns had no names and none are given, or the other way round.
        """
        self.notes = []
        names: list[Any] = [*like.target, *like.past, *like.future, *like.static]
        times: list[Any] = list(like.layout.time)
        self._renamed: dict[Any, str] = {}
        if all(isinstance(name, str) for name in names):
            if columns is not None and list(columns) != names:
                raise ValueError(f"columns: the model knows its columns, {names}; leave columns away")
        elif columns is None or len(columns) != len(names):
            raise ValueError(f"columns: the model was trained on columns without names; name its {len(names)} columns")
        else:
            self._renamed = dict(zip(names, columns, strict=True))
        if key is not None and like.layout.series is not None and key != like.layout.series:
            raise ValueError(f"key: the model tells series apart by {like.layout.series!r}; leave key away")
        self.key = key if key is not None else None if like.layout.series is None else str(like.layout.series)
        layout = dataclasses.replace(like.layout, series=None)
        # Rows of one key are one series: nothing else needs to be told apart in them.
        self._like = dataclasses.replace(like.without_series(), layout=layout, notes=[])
        self._names = list(dict.fromkeys([*times, *names]))
        self.needs = list(dict.fromkeys([*([] if self.key is None else [self.key]), *map(self._called, self._names)]))
        self.described = {"columns": list(map(self._called, self._names)), "key": self.key}

    def _called(self, name: Any) -> str:
        return self._renamed.get(name, str(name))

    def _table(self, rows: Rows) -> Table:
        """The columns of one group."""

        def reader(place: int) -> Column:
            name = self._names[place]
            column = _arrow.column(rows.table.column(self._called(name)), self._called(name), name in like.categories)
            return dataclasses.replace(column, name=name)

        like = self._like
        return Table(list(self._names), len(rows), "dict", reader, day_first=like.layout.day_first)

    def _read(self, table: Table) -> SeriesSet | None:
        """One series; None where it has no value at all."""
        there = np.zeros(table.rows, bool)
        for name in self._like.target:
            there |= np.isfinite(table.numbers(name))
        stamps = _times_like(table, self._like)
        if stamps is not None:
            there &= ~stamps.times.missing if stamps.times is not None else np.isfinite(stamps.numbers())
        return read_series(table, like=self._like) if there.any() else None

    def _each(self, rows: Rows) -> list[tuple[int, Rows, Table, SeriesSet | None]]:
        """The groups: number, rows, table, series.

        Raises
        ------
        ValueError
            Naming the series.
        """
        assert rows.starts is not None
        found = []
        for number in range(len(rows.starts)):
            group = rows.group(number)
            table = self._table(group)
            value = None if self.key is None else group.table.column(self.key)[0].as_py()
            try:
                known = None if self.key is not None and value is None else self._read(table)
            except ValueError as error:
                which = "" if self.key is None else f"series {self.key}={value!r}, "
                raise ValueError(f"{which}from row {int(group.row[0])} on: {error}") from None
            found.append((number, group, table, known))
        return found


class Scores(_Described):
    """Of an AnomalyDetector: a score for each row, that of the step which the row's time is in."""

    one_each = False

    def __init__(self, detector: Any, columns: Sequence[str] | None, key: str | None) -> None:
        self._detector = detector
        state, self._grid = getattr(detector, "columns_", None), False
        if state is None:
            state, self._grid = detector.timeline_, True
        self._plain: list[str] | None = None
        if state is not None:
            self._begin(SeriesSet.of_state(dict(state)), columns, key)
            return
        known = getattr(detector, "feature_names_in_", None)
        names = columns if columns is not None else None if known is None else [str(name) for name in known]
        if names is None or len(names) != detector.n_features_in_:
            raise ValueError(f"columns: the model reads {detector.n_features_in_} columns of numbers; name them")
        self.notes, self.key, self._plain = [], key, list(names)
        self.needs = list(dict.fromkeys([*([] if key is None else [key]), *self._plain]))
        self.described = {"columns": self._plain, "key": key}

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        return [pa.field("score", pa.float64()), pa.field("alarm", pa.bool_())]

    def answer(self, rows: Rows) -> Answers:
        assert rows.starts is not None
        series: list[Floats] = []
        steps: list[tuple[Integers, Integers]] = []  # rows that have a score, and the step that it is of
        untold = 0
        for first, end, values, step in self._values(rows):
            inside = np.flatnonzero((step >= 0) & (step < len(values))) if values is not None else np.zeros(0, int)
            untold += end - first - len(inside)
            if values is not None and len(inside):
                series.append(values)
                steps.append((first + inside, step[inside]))
        count = len(rows)
        if not series:
            nulls = [import_pyarrow().nulls(count, field.type) for field in self.fields()]
            return Answers(nulls, np.arange(count), untold)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # arrays have no names of columns
            found = [-one for one in self._detector.score_samples(series)]
        scores = np.concatenate([one[step] for one, (_, step) in zip(found, steps, strict=True)])
        places = np.concatenate([place for place, _ in steps])
        alarms = scores > self._detector.threshold_
        told = [spread(of_numpy(values), places, count) for values in (scores, alarms)]
        return Answers(told, np.arange(count), untold)

    def _values(self, rows: Rows) -> Any:
        """Of each group its first row and its end, its steps' values, and the step of each row."""
        assert rows.starts is not None
        if self._plain is not None:
            columns = [_arrow.numbers(rows.table.column(name), name) for name in self._plain]
            values = np.stack(columns, axis=1)
            values = np.where(np.isinf(values), np.nan, values)
            for first, end in zip(rows.starts.tolist(), rows.ends.tolist(), strict=True):
                own = values[first:end]
                gone = np.isnan(own).all() or (self.key is not None and not rows.table.column(self.key)[first].is_valid)
                yield first, end, None if gone else own, np.arange(end - first)
            return
        for number, group, table, known in self._each(rows):
            first, end = int(rows.starts[number]), int(rows.ends[number])
            if known is None:
                yield first, end, None, np.full(end - first, -1)
                continue
            yield first, end, *self._placed(group, table, known)

    def _placed(self, group: Rows, table: Table, known: SeriesSet) -> tuple[Floats, Integers]:
        """The steps of a series, and that of each row, −1 where it has no time."""
        line, (series,) = known.timeline, known.series
        begin = int(line.ordinal(series.start))
        stamps = _times_like(table, self._like)
        if stamps is None:  # rows are steps, from the first one on that has a value
            observed = np.flatnonzero(np.isfinite(np.stack([table.numbers(n) for n in known.target])).any(axis=0))
            return series.target, np.arange(len(group)) - int(observed[0])
        index = np.arange(len(group))
        if line.calendar:
            assert stamps.times is not None
            gone = stamps.times.missing
            there = in_utc(stamps, line.time_zone, np.zeros(len(index), np.int64), index[~gone], []).values
            steps = np.asarray(line.ordinal(np.asarray(there).astype("M8[ns]")), np.int64)
        else:
            numbers = stamps.numbers()
            gone = ~np.isfinite(numbers)
            steps = np.asarray(line.ordinal(np.where(gone, 0.0, numbers)), np.int64)
        values = series.target
        if self._grid:  # as score_samples has it: rows before the first value and behind the last are steps, too
            first = min(begin, int(steps[~gone].min()))
            end = max(begin + len(series), int(steps[~gone].max()) + 1)
            values = np.full((end - first, values.shape[1]), np.nan)
            values[begin - first : begin - first + len(series)] = series.target
            begin = first
        return values, np.where(gone, -1, steps - begin)


class Forecasts(_Described):
    """Of a Forecaster: the steps that follow each series."""

    one_each = False

    def __init__(
        self,
        model: Any,
        columns: Sequence[str] | None,
        key: str | None,
        coverage: Sequence[float] | None,
        quantiles: Sequence[float] | None,
    ) -> None:
        if "n_features_in_" in vars(model):
            raise ValueError("model: a Forecaster that was fitted with y forecasts one series, by its predict")
        if coverage and quantiles:
            raise ValueError("give either coverage or quantiles, not both")
        self._model = model
        self._coverage, self._quantiles = list(coverage or [0.8]), list(quantiles) if quantiles else None
        self._begin(model._ends.without_series(), columns, key)
        self.described |= {"coverage": self._coverage if has_bands(model) else None, "quantiles": self._quantiles}
        self._time = str(time_name(self._like))
        found = self._told(model._ends)  # which names the columns, and says what cannot be
        self._horizon = len(next(iter(found.values()))) // len(model._ends)
        self._columns = list(found)

    def _told(self, known: SeriesSet) -> dict[str, NDArray[np.float64]]:
        """Columns of forecasts by name, all series' one after another."""
        plain = dataclasses.replace(known, layout=dataclasses.replace(known.layout, series=None))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = predictions(self._model, plain, self._coverage, self._quantiles)
        for warning in said:
            if (text := str(warning.message)) not in self.notes and len(self.notes) < 5:
                self.notes.append(text)
        found.pop(str(time_name(plain)), None)
        return {self._named_as_given(name): np.asarray(values, np.float64) for name, values in found.items()}

    def _named_as_given(self, name: str) -> str:
        """A column of forecasts, ``0-lo-80``, by the name that its target was given."""
        for target, given in self._renamed.items():
            rest = name.removeprefix(str(target))
            if rest != name and not rest[:1].isdigit():
                return given + rest
        return name

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        line, zone = self._like.timeline, self._like.layout.zone
        time = pa.timestamp("ns", "UTC" if zone is not None else None) if line.calendar else pa.float64()
        first = [pa.field("step", pa.int64()), pa.field(self._time if self._time != "step" else "time", time)]
        return first + [pa.field(name, pa.float64()) for name in self._columns]

    def answer(self, rows: Rows) -> Answers:
        assert rows.starts is not None
        told, series = [], []
        for number, _, _, known in self._each(rows):
            if known is not None:
                told.append(number)
                series.append(dataclasses.replace(known.series[0], id=number))
        horizon = self._horizon
        count = len(rows.starts)
        owner = np.repeat(rows.starts, horizon)
        steps = of_numpy(np.tile(np.arange(1, horizon + 1), count))
        fields = self.fields()[1:]
        if not series:
            nulls = [import_pyarrow().nulls(count * horizon, field.type) for field in fields]
            return Answers([steps, *nulls], owner, count)
        known = dataclasses.replace(self._like, series=series)
        ordinals = np.concatenate([known.end(one) + np.arange(horizon) for one in series])
        times = np.asarray(as_given(known, known.timeline.time(ordinals)))
        places = np.concatenate([number * horizon + np.arange(horizon) for number in told])
        columns = [of_numpy(times).cast(fields[0].type), *map(of_numpy, self._told(known).values())]
        return Answers(
            [steps, *(spread(values, places, count * horizon) for values in columns)], owner, count - len(told)
        )
