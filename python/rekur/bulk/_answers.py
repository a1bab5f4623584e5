"""What models say of rows, as columns: the classes of sequences and texts, numbers, tags, outputs of plain models."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur.bulk import _arrow
from rekur.bulk._arrow import Floats, import_pyarrow, of_numpy
from rekur.bulk._reading import Integers, Rows
from rekur.tasks._columns import Column, Name
from rekur.tasks._commands._examples import Layout, _values
from rekur.tasks._roles import time_column
from rekur.tasks._tables import Table


class Answers(NamedTuple):
    """Columns of answers, the row of the given table that each is of, and how many could not be told."""

    columns: list[Any]
    owner: Integers
    untold: int


class Answerer:
    """A model, and how rows become what it takes.

    ``needs`` are the columns that it reads. ``grouped``: rows are steps, of groups that ``key`` tells apart, or (where
    ``key`` is None) of one group a file. ``one_each``: an answer for each row, or for each group, rather than several
    for a group. ``described``: what of the settings makes a difference to the answers.
    """

    needs: list[str]
    key: str | None = None
    grouped = False
    one_each = True
    described: dict[str, Any]
    notes: list[str]

    def fields(self) -> list[Any]:
        """The Arrow fields of what it answers."""
        raise NotImplementedError

    def answer(self, rows: Rows) -> Answers:
        """What is said of the rows, or of the groups."""
        raise NotImplementedError


def spread(values: Any, places: Integers, count: int) -> Any:
    """An Arrow array of ``count`` values, null at all but the given places."""
    pa = import_pyarrow()
    index = np.zeros(count, np.int64)
    missing = np.ones(count, bool)
    index[places] = np.arange(len(places))
    missing[places] = False
    return values.take(pa.array(index, mask=missing))


def names_of(columns: Any, what: str = "columns") -> list[str]:
    """Names of columns that a user gives: one, or several.

    Raises
    ------
    ValueError
        For anything else, and for a name that stands there twice.
    """
    given = [columns] if isinstance(columns, str) else columns
    if not isinstance(given, (list, tuple)) or not given or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{what}: expected the name of a column, or a list of names, got {columns!r:.80}")
    if len(set(given)) < len(given):
        raise ValueError(f"{what}: a column is named twice in {list(given)}")
    return list(given)


# Heads: what an estimator says of sequences, in one pass, with the bits of its predict.


class Head:
    """An estimator of sequences or texts; ``steps``: it says something of each step."""

    steps = False

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fields(self) -> list[Any]:
        raise NotImplementedError

    def say(self, given: Any) -> list[Any]:
        """Arrow arrays; of steps one value for each step of all sequences, one after another."""
        raise NotImplementedError


def _class_fields(classes: Any) -> list[Any]:
    pa = import_pyarrow()
    found = [pa.field("predicted", of_numpy(classes).type)]
    return found + [pa.field(f"probability of {label}", pa.float64()) for label in np.asarray(classes).tolist()]


def _class_columns(classes: Any, places: Integers, probabilities: Floats) -> list[Any]:
    pa = import_pyarrow()
    told = of_numpy(classes).take(pa.array(np.asarray(places, np.int64)))
    return [told, *(of_numpy(np.asarray(column, np.float64)) for column in np.asarray(probabilities).T)]


class Classes(Head):
    """Of a SequenceClassifier."""

    def fields(self) -> list[Any]:
        return _class_fields(self.estimator.classes_)

    def say(self, given: Any) -> list[Any]:
        from rekur.tasks.classification._calibration import softmax

        scores = self.estimator._scores(given)
        return _class_columns(self.estimator.classes_, scores.argmax(axis=1), softmax(scores))


class Numbers(Head):
    """Of a SequenceRegressor."""

    def _width(self) -> int:
        return 1 if self.estimator.targets_["flat"] else len(self.estimator.targets_["mean"])

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        if self.estimator.targets_["flat"]:
            return [pa.field("predicted", pa.float64())]
        return [pa.field(f"predicted {number + 1}", pa.float64()) for number in range(self._width())]

    def say(self, given: Any) -> list[Any]:
        found = np.asarray(self.estimator.predict(given), np.float64)
        return [of_numpy(column) for column in found.reshape(len(found), -1).T]


class Tags(Head):
    """Of a SequenceTagger."""

    steps = True

    def fields(self) -> list[Any]:
        return _class_fields(self.estimator.classes_)

    def say(self, given: Any) -> list[Any]:
        scores, lengths = self.estimator._scores(given)
        paths, shares = self.estimator._best(scores, lengths), self.estimator._marginals(scores, lengths)
        flat = np.concatenate([np.asarray(path[:n]) for path, n in zip(paths, lengths, strict=True)])
        parts = np.concatenate([np.asarray(part[:n]) for part, n in zip(shares, lengths, strict=True)])
        return _class_columns(self.estimator.classes_, flat, parts)


class TextClasses(Head):
    """Of a TextClassifier."""

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        if not self.estimator.multilabel_:
            return _class_fields(self.estimator.classes_)
        labels = np.asarray(self.estimator.classes_).tolist()
        found = [pa.field(f"predicted {label}", pa.int64()) for label in labels]
        return found + [pa.field(f"probability of {label}", pa.float64()) for label in labels]

    def say(self, given: Any) -> list[Any]:
        shares = self.estimator.predict_proba(given)
        if self.estimator.multilabel_:
            told = (shares >= 0.5).astype(np.int64)
            return [of_numpy(column) for column in (*told.T, *shares.T)]
        return _class_columns(self.estimator.classes_, shares.argmax(axis=1), shares)


HEADS: dict[str, type[Head]] = {
    "SequenceClassifier": Classes,
    "SequenceRegressor": Numbers,
    "SequenceTagger": Tags,
    "TextClassifier": TextClasses,
}


# From rows to sequences.


def finite(values: Floats) -> Floats:
    return np.where(np.isinf(values), np.nan, values) if np.isinf(values).any() else values


def _given(sequences: Sequence[NDArray[Any]]) -> Any:
    """Sequences as estimators take them: an array where all have one length, else a list."""
    if len({len(sequence) for sequence in sequences}) == 1:
        return np.stack(sequences).astype(np.float32)
    return [sequence.astype(np.float32) for sequence in sequences]


class Cells(Answerer):
    """A row is a sequence or a text: its columns are the steps, or one holds a list, a text."""

    def __init__(self, head: Head, form: str, columns: list[str]) -> None:
        self.head, self.form, self.needs, self.notes = head, form, columns, []
        self.described = {"columns": columns, "form": form}

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        found = self.head.fields()
        if not self.head.steps:
            return found
        return [pa.field(field.name, pa.list_(field.type)) for field in found]

    def answer(self, rows: Rows) -> Answers:
        count = len(rows)
        given = self._items(rows)
        places = np.array([place for place, item in enumerate(given) if item is not None], np.int64)
        owner = np.arange(count)
        if not len(places):
            return Answers([nulls(field.type, count) for field in self.fields()], owner, count)
        items = [item for item in given if item is not None]
        said = self.head.say(items if self.form in ("text", "words") else _given(items))
        if self.head.steps:
            pa = import_pyarrow()
            ends = pa.array(np.concatenate([[0], np.cumsum([len(item) for item in items])]).astype(np.int32))
            said = [pa.ListArray.from_arrays(ends, values) for values in said]
        return Answers([spread(values, places, count) for values in said], owner, count - len(places))

    def _items(self, rows: Rows) -> list[Any]:
        columns = [rows.table.column(name) for name in self.needs]
        if self.form == "text":
            return list(_arrow.texts(columns[0], self.needs[0]))
        if self.form == "words":
            return [row or None for row in _arrow.words(columns[0], self.needs[0])]
        if self.form == "lists":
            return lists_together(columns, self.needs)
        numbers = [_arrow.numbers(column, name) for column, name in zip(columns, self.needs, strict=True)]
        return list(_trimmed(finite(np.stack(numbers, axis=1))))


def nulls(kind: Any, count: int) -> Any:
    return import_pyarrow().nulls(count, kind)


def _trimmed(values: Floats) -> list[Floats | None]:
    """Rows as sequences of one channel, without missing steps at their ends; None where all are missing."""
    present = ~np.isnan(values)
    lengths = np.where(present.any(axis=1), values.shape[1] - np.argmax(present[:, ::-1], axis=1), 0)
    return [row[:length, None] if length else None for row, length in zip(values, lengths.tolist(), strict=True)]


def lists_together(columns: Sequence[Any], names: Sequence[str]) -> list[Floats | None]:
    """Columns of lists as sequences (T, F): one that holds steps, or several, each of them channels of all steps.

    Raises
    ------
    ValueError
        If the lists of a row differ in length.
    """
    found = [_arrow.lists(column, name) for column, name in zip(columns, names, strict=True)]
    made: list[Floats | None] = []
    for row, parts in enumerate(zip(*found, strict=True)):
        there = [part for part in parts if part is not None]
        if len(there) < len(parts) or not all(len(part) for part in there):
            if len(there) == len(parts) and any(len(part) for part in there):
                raise ValueError(f"columns {list(names)}: the lists of one row have different lengths (row {row})")
            made.append(None)
            continue
        if len({len(part) for part in there}) > 1:
            sizes = {name: len(part) for name, part in zip(names, there, strict=True)}
            raise ValueError(f"columns: the lists of one row must have one length, got {sizes}")
        steps = finite(np.concatenate([part.reshape(len(part), -1) for part in there], axis=1))
        made.append(None if np.isnan(steps).all() else steps)
    return made


class Steps(Answerer):
    """Rows are the steps of sequences that a key tells apart."""

    grouped = True

    def __init__(
        self, head: Head, key: str, times: Sequence[str], columns: Sequence[str], layout: Layout | None
    ) -> None:
        self.head, self.key, self._times, self._columns = head, key, list(times), list(columns)
        self._layout, self.notes = layout, []
        self.one_each = not head.steps
        self.needs = list(dict.fromkeys([key, *self._times, *self._columns]))
        self.described = {"columns": self._columns, "key": key, "time": self._times, "form": "steps"}

    def fields(self) -> list[Any]:
        return self.head.fields()

    def answer(self, rows: Rows) -> Answers:
        assert rows.starts is not None
        values = self._steps(rows)
        gone = np.logical_and.reduceat(np.isnan(values).all(axis=1), rows.starts)
        gone |= np.asarray(rows.table.column(self.key).is_null().to_numpy(), bool)[rows.starts]
        index = self._in_time(rows)
        sequences, places, order = [], [], []
        for place, (first, end, no) in enumerate(
            zip(rows.starts.tolist(), rows.ends.tolist(), gone.tolist(), strict=True)
        ):
            if not no:
                sequences.append(values[index[first:end]])
                places.append(place)
                order.append(index[first:end])
        untold = len(rows.starts) - len(places)
        count = len(rows) if self.head.steps else len(rows.starts)
        owner = np.arange(len(rows)) if self.head.steps else rows.starts
        if not sequences:
            return Answers([nulls(field.type, count) for field in self.fields()], owner, untold)
        at = np.concatenate(order) if self.head.steps else np.array(places, np.int64)
        said = self.head.say(_given(sequences))
        return Answers([spread(values, at, count) for values in said], owner, untold)

    def _steps(self, rows: Rows) -> Floats:
        """(rows, channels)."""
        if self._layout is None:
            columns = [_arrow.numbers(rows.table.column(name), name) for name in self._columns]
            return finite(np.stack(columns, axis=1))
        categories = self._layout.categories

        def reader(place: int) -> Column:
            name = self._columns[place]
            array = rows.table.column(name)
            if name in categories:
                return Column(name, "text", np.array(_arrow.texts(array, name), object))
            return Column(name, "number", _arrow.numbers(array, name))

        names: list[Name] = list(self._columns)
        return np.asarray(_values(Table(names, len(rows), "dict", reader), self._layout, []), np.float64)

    def _in_time(self, rows: Rows) -> Integers:
        """The rows of each group in the order of their time, group after group."""
        assert rows.starts is not None
        index = np.arange(len(rows))
        if not self._times:
            return index
        columns = [_arrow.plain(rows.table.column(name)) for name in self._times]
        if len(columns) == 1 and not _arrow.is_text(columns[0].type):
            group = np.repeat(np.arange(len(rows.starts)), rows.ends - rows.starts)
            return np.lexsort((*_arrow.sortable(columns[0], self._times[0]), group))
        # Texts are read by what the others of their group are like, as dates with the day or the month first.
        names: list[Name] = list(self._times)
        for first, end in zip(rows.starts.tolist(), rows.ends.tolist(), strict=True):
            parts = [column.slice(first, end - first) for column in columns]
            stamps = time_column(_table_of(names, parts), names)
            assert stamps is not None
            index[first:end] = first + np.argsort(np.asarray(stamps.values), kind="stable")
        return index


def _table_of(names: list[Name], parts: list[Any]) -> Table:
    return Table(names, len(parts[0]), "dict", lambda place: _arrow.column(parts[place], names[place]))
