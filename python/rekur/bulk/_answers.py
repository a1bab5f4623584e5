"""What models say of rows, as columns: the classes of sequences and texts, numbers, tags, outputs of plain models."""

from collections.abc import Mapping, Sequence
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


def _finite(values: Floats) -> Floats:
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
            return Answers([_nulls(field.type, count) for field in self.fields()], owner, count)
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
        return list(_trimmed(_finite(np.stack(numbers, axis=1))))


def _nulls(kind: Any, count: int) -> Any:
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
        steps = _finite(np.concatenate([part.reshape(len(part), -1) for part in there], axis=1))
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
        keys = rows.table.column(self.key)
        sequences, places, order = [], [], []
        for place, (first, end) in enumerate(zip(rows.starts.tolist(), rows.ends.tolist(), strict=True)):
            if not keys[first].is_valid or np.isnan(values[first:end]).all():
                continue
            index = self._in_time(rows, first, end)
            sequences.append(values[index])
            places.append(place)
            order.append(index)
        untold = len(rows.starts) - len(places)
        count = len(rows) if self.head.steps else len(rows.starts)
        owner = np.arange(len(rows)) if self.head.steps else rows.starts
        if not sequences:
            return Answers([_nulls(field.type, count) for field in self.fields()], owner, untold)
        at = np.concatenate(order) if self.head.steps else np.array(places, np.int64)
        said = self.head.say(_given(sequences))
        return Answers([spread(values, at, count) for values in said], owner, untold)

    def _steps(self, rows: Rows) -> Floats:
        """(rows, channels)."""
        if self._layout is None:
            columns = [_arrow.numbers(rows.table.column(name), name) for name in self._columns]
            return _finite(np.stack(columns, axis=1))
        categories = self._layout.categories

        def reader(place: int) -> Column:
            name = self._columns[place]
            array = rows.table.column(name)
            if name in categories:
                return Column(name, "text", np.array(_arrow.texts(array, name), object))
            return Column(name, "number", _arrow.numbers(array, name))

        names: list[Name] = list(self._columns)
        return np.asarray(_values(Table(names, len(rows), "dict", reader), self._layout, []), np.float64)

    def _in_time(self, rows: Rows, first: int, end: int) -> Integers:
        """The rows of a group in the order of their time."""
        index = np.arange(first, end)
        if not self._times:
            return index
        group = rows.table.slice(first, end - first)

        def reader(place: int) -> Column:
            return _arrow.column(group.column(self._times[place]), self._times[place])

        names: list[Name] = list(self._times)
        stamps = time_column(Table(names, end - first, "dict", reader), names)
        assert stamps is not None
        return index[np.argsort(np.asarray(stamps.values), kind="stable")]


# Plain models.


class Plain(Answerer):
    """A model of layers, whose inputs are columns of numbers or of lists of numbers."""

    def __init__(self, model: Any, columns: Any, schema: Any) -> None:
        self._model, self.notes = model, []
        self._inputs = {tensor.name: tuple(tensor.shape) for tensor in model.inputs}
        self._outputs = [(tensor.name, tuple(tensor.shape)) for tensor in model.outputs]
        self._columns = self._named(columns)
        self.needs = list(dict.fromkeys(name for names in self._columns.values() for name in names))
        self.described = {"columns": self._columns, "form": "plain"}
        for name, shape in self._inputs.items():
            if len(shape) > 3:
                raise ValueError(f"columns: input {name!r} has shape {shape}; columns hold inputs of up to 3 axes")
        for name, shape in self._outputs:
            if len(shape) > 3 or None in shape[2:] or (len(shape) == 2 and shape[1] is None):
                raise ValueError(f"output {name!r} has shape {shape}, which a column cannot hold")

    def _named(self, columns: Any) -> dict[str, list[str]]:
        if columns is None:
            if len(self._inputs) == 1:
                raise ValueError("columns: a model of layers does not say which columns it reads; name them")
            columns = {name: name for name in self._inputs}
        if not isinstance(columns, Mapping):
            if len(self._inputs) > 1:
                raise ValueError(
                    f"columns: the model has the inputs {list(self._inputs)}; expected a dict with the columns of each"
                )
            columns = dict.fromkeys(self._inputs, columns)
        if set(columns) != set(self._inputs):
            raise ValueError(f"columns: expected the inputs {list(self._inputs)}, got {list(columns)}")
        return {name: names_of(columns[name], f"columns of {name!r}") for name in self._inputs}

    def fields(self) -> list[Any]:
        pa = import_pyarrow()
        found = []
        for name, shape in self._outputs:
            width = shape[-1] if len(shape) > 1 else 1
            kind = pa.float32() if width == 1 else pa.list_(pa.float32(), width)
            found.append(pa.field(name, pa.list_(kind) if len(shape) == 3 else kind))
        return found

    def answer(self, rows: Rows) -> Answers:
        count = len(rows)
        given = {name: self._items(rows, name) for name in self._inputs}
        told = [row for row in range(count) if all(items[row] is not None for items in given.values())]
        owner = np.arange(count)
        if not told:
            return Answers([_nulls(field.type, count) for field in self.fields()], owner, count)
        x, lengths = {}, {}
        for name, items in given.items():
            x[name], sizes = _padded([items[row] for row in told], self._inputs[name], name)
            if sizes is not None:
                lengths[name] = sizes
        found = self._model.predict(
            x if len(x) > 1 else next(iter(x.values())), batch_size=128, verbose=0, lengths=self._lengths(lengths)
        )
        found = found if isinstance(found, (list, tuple)) else [found]
        first = next(iter(lengths.values()), None)
        columns = [
            spread(_column(np.asarray(values), field.type, first), np.array(told), count)
            for values, field in zip(found, self.fields(), strict=True)
        ]
        return Answers(columns, owner, count - len(told))

    def _lengths(self, lengths: dict[str, Integers]) -> Any:
        if not lengths:
            return None
        return lengths if len(self._inputs) > 1 else next(iter(lengths.values()))

    def _items(self, rows: Rows, name: str) -> list[Any]:
        """What an input takes of each row, of the input's rank; None where nothing is there."""
        columns, names = [rows.table.column(column) for column in self._columns[name]], self._columns[name]
        rank = len(self._inputs[name]) - 1
        if all(_arrow.is_list(column.type) for column in columns):
            found = lists_together(columns, names)
            if rank == 2:
                return list(found)
            return [None if item is None else item.reshape(-1) for item in found]
        if any(_arrow.is_list(column.type) for column in columns):
            raise ValueError(f"columns of {name!r}: lists and numbers stand together in {names}")
        values = _finite(np.stack([_arrow.numbers(c, n) for c, n in zip(columns, names, strict=True)], axis=1))
        items: list[Any] = [None if np.isnan(row).all() else row for row in values]
        return [None if item is None else item[:, None] for item in items] if rank == 2 else items


def _padded(items: list[Any], shape: tuple[int | None, ...], name: str) -> tuple[Any, Integers | None]:
    """Items of one input as an array, and their lengths where these differ."""
    sizes = np.array([len(item) for item in items], np.int64)
    if shape[1] is not None and (sizes != shape[1]).any():
        raise ValueError(f"columns of {name!r}: expected {shape[1]} values a row, got {sizes[sizes != shape[1]][0]}")
    if len(shape) == 3 and shape[2] is not None and items[0].shape[1] != shape[2]:
        raise ValueError(f"columns of {name!r}: expected {shape[2]} channels in each step, got {items[0].shape[1]}")
    if (sizes == sizes[0]).all():
        return np.stack(items).astype(np.float32), None
    found = np.zeros((len(items), int(sizes.max()), *items[0].shape[1:]), np.float32)
    for row, item in zip(found, items, strict=True):
        row[: len(item)] = item
    return found, sizes


def _column(values: NDArray[Any], kind: Any, lengths: Integers | None) -> Any:
    """An output as an Arrow array of the type."""
    pa = import_pyarrow()
    if values.ndim < 3:
        flat = pa.array(np.ascontiguousarray(values.reshape(-1), np.float32))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1]).cast(kind) if kind != pa.float32() else flat
    steps = values.shape[1]
    sizes = np.full(len(values), steps)
    if lengths is not None and steps == lengths.max():
        values = values[np.arange(steps) < lengths[:, None]]
        sizes = lengths
    flat = pa.array(np.ascontiguousarray(values.reshape(-1), np.float32))
    if kind.value_type != pa.float32():
        flat = pa.FixedSizeListArray.from_arrays(flat, kind.value_type.list_size)
    ends = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    return pa.ListArray.from_arrays(ends, flat).cast(kind)
