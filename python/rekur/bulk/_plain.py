"""What models of layers say of rows: those that rekur saved, and ONNX files, in onnxruntime."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rekur.bulk import _arrow
from rekur.bulk._answers import Answerer, Answers, finite, lists_together, names_of, nulls, spread
from rekur.bulk._arrow import import_pyarrow, of_numpy
from rekur.bulk._reading import Integers, Rows

Shape = tuple[int | None, ...]


class Output(NamedTuple):
    """An output: its name, its shape with None where sizes differ, the Arrow type of its values."""

    name: str
    shape: Shape
    kind: Any

    @property
    def steps(self) -> bool:
        """Whether it is a sequence: (N, T, K), or (N, T) where T differs."""
        return len(self.shape) == 3 or (len(self.shape) == 2 and self.shape[1] is None)

    @property
    def width(self) -> int:
        """How many values a row, or a step, has; 0 where that differs."""
        return 1 if len(self.shape) == 1 or (self.steps and len(self.shape) == 2) else int(self.shape[-1] or 0)

    def field(self) -> Any:
        """A value a row; a list of fixed length where it is a vector, a list of these where it is a sequence."""
        pa = import_pyarrow()
        kind = self.kind if self.width == 1 else pa.list_(self.kind, self.width)
        return pa.field(self.name, pa.list_(kind) if self.steps else kind)

    def column(self, values: NDArray[Any], lengths: Integers | None) -> Any:
        """Values of shape (N,), (N, K), (N, T) or (N, T, K) as a column."""
        pa = import_pyarrow()
        kind = self.field().type
        sizes = None
        if self.steps:
            steps = values.shape[1]
            sizes = np.full(len(values), steps)
            if lengths is not None and steps == lengths.max():
                values = values[np.arange(steps) < lengths[:, None]]
                sizes = lengths
        flat = of_numpy(values.reshape(-1)).cast(self.kind)
        if self.width > 1:
            flat = pa.FixedSizeListArray.from_arrays(flat, self.width)
        if sizes is not None:
            flat = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)), flat)
        return flat if flat.type == kind else flat.cast(kind)


class Plain(Answerer):
    """A model of layers, whose inputs are columns of numbers or of lists of numbers."""

    def __init__(self, model: Any, columns: Any) -> None:
        pa = import_pyarrow()
        self._model = model
        inputs = {tensor.name: tuple(tensor.shape) for tensor in model.inputs}
        outputs = [Output(tensor.name, tuple(tensor.shape), pa.float32()) for tensor in model.outputs]
        self._begin(inputs, outputs, columns)

    def _begin(self, inputs: dict[str, Shape], outputs: list[Output], columns: Any) -> None:
        self.notes, self._inputs, self._outputs = [], inputs, outputs
        self._columns = self._named(columns)
        self.needs = list(dict.fromkeys(name for names in self._columns.values() for name in names))
        self.described = {"columns": self._columns, "form": "plain"}
        for name, shape in inputs.items():
            if len(shape) > 3:
                raise ValueError(f"columns: input {name!r} has shape {shape}; columns hold inputs of up to 3 axes")
        for output in outputs:
            if len(output.shape) > 3 or not output.width:
                raise ValueError(f"model: output {output.name!r} has shape {output.shape}, which no column can hold")

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
        return [output.field() for output in self._outputs]

    def answer(self, rows: Rows) -> Answers:
        count = len(rows)
        given = {name: self._items(rows, name) for name in self._inputs}
        told = [row for row in range(count) if all(items[row] is not None for items in given.values())]
        columns = [nulls(field.type, count) for field in self.fields()]
        if told:
            said = self._say({name: [items[row] for row in told] for name, items in given.items()})
            columns = [spread(values, np.array(told), count) for values in said]
        return Answers(columns, np.arange(count), count - len(told))

    def _say(self, given: dict[str, list[Any]]) -> list[Any]:
        """Columns of the outputs for items of the inputs."""
        x, lengths = {}, {}
        for name, items in given.items():
            x[name], sizes = padded(items, self._inputs[name], name)
            if sizes is not None:
                lengths[name] = sizes
        one = len(self._inputs) == 1
        found = self._model.predict(
            next(iter(x.values())) if one else x,
            batch_size=128,
            verbose=0,
            lengths=(next(iter(lengths.values())) if one else lengths) if lengths else None,
        )
        found = found if isinstance(found, (list, tuple)) else [found]
        longest = next(iter(lengths.values()), None)
        return [out.column(np.asarray(values), longest) for out, values in zip(self._outputs, found, strict=True)]

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
        values = finite(np.stack([_arrow.numbers(c, n) for c, n in zip(columns, names, strict=True)], axis=1))
        items: list[Any] = [None if np.isnan(row).all() else row for row in values]
        return [None if item is None else item[:, None] for item in items] if rank == 2 else items


class Onnx(Plain):
    """An ONNX file in onnxruntime: numbers, and texts where an input takes these.

    An input called ``lengths`` (or that ends so) gets the lengths of the sequences. Without one, sequences of one
    length are computed together, so that nothing is padded.
    """

    def __init__(self, path: Any, columns: Any) -> None:
        import onnxruntime

        pa = import_pyarrow()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs: dict[str, Shape] = {}
        self._types: dict[str, str] = {}
        self._lengths: list[tuple[str, str]] = []
        for tensor in self._session.get_inputs():
            if tensor.type not in _KINDS:
                raise ValueError(f"model: input {tensor.name!r} takes {tensor.type}, which no column holds")
            self._types[tensor.name] = tensor.type
            if tensor.name.endswith("lengths") and len(tensor.shape) == 1 and "int" in tensor.type:
                self._lengths.append((tensor.name, tensor.type))
            else:
                inputs[tensor.name] = _shape(tensor.shape)
        outputs = []
        for tensor in self._session.get_outputs():
            if tensor.type not in _KINDS:
                raise ValueError(f"model: output {tensor.name!r} gives {tensor.type}, which no column holds")
            outputs.append(Output(tensor.name, _shape(tensor.shape), getattr(pa, _KINDS[tensor.type])()))
        self._begin(inputs, outputs, columns)

    def _items(self, rows: Rows, name: str) -> list[Any]:
        if self._types[name] != "tensor(string)":
            return super()._items(rows, name)
        if len(self._columns[name]) > 1 or len(self._inputs[name]) > 1:
            raise ValueError(f"columns of {name!r}: the input takes a text a row, of one column")
        column = self._columns[name][0]
        return list(_arrow.texts(rows.table.column(column), column))

    def _say(self, given: dict[str, list[Any]]) -> list[Any]:
        sequences = [name for name in given if len(self._inputs[name]) > 1 and self._inputs[name][1] is None]
        count = len(next(iter(given.values())))
        sizes = np.array([[len(given[name][row]) for name in sequences] for row in range(count)]).reshape(count, -1)
        if self._lengths or not sequences:
            return self._run(given)
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, size in enumerate(map(tuple, sizes.tolist())):
            groups.setdefault(size, []).append(row)
        pa = import_pyarrow()
        said = [self._run({name: [given[name][row] for row in rows] for name in given}) for rows in groups.values()]
        back = pa.array(np.argsort(np.concatenate(list(groups.values()))))
        return [pa.concat_arrays(list(parts)).take(back) for parts in zip(*said, strict=True)]

    def _run(self, given: dict[str, list[Any]]) -> list[Any]:
        feed: dict[str, Any] = {}
        lengths = None
        for name, items in given.items():
            if self._types[name] == "tensor(string)":
                feed[name] = np.array(items, object)
                continue
            values, _ = padded(items, self._inputs[name], name)
            feed[name] = values.astype(_NUMPY[self._types[name]])
            if lengths is None and len(self._inputs[name]) > 1 and self._inputs[name][1] is None:
                lengths = np.array([len(item) for item in items], np.int64)
        for name, kind in self._lengths:
            if lengths is None:
                raise ValueError(f"model: input {name!r} takes lengths, but no input takes sequences")
            feed[name] = lengths.astype(_NUMPY[kind])
        found = self._session.run([output.name for output in self._outputs], feed)
        return [out.column(np.asarray(values), lengths) for out, values in zip(self._outputs, found, strict=True)]


_KINDS: dict[str, str] = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(int64)": "int64", "tensor(int32)": "int32",
    "tensor(bool)": "bool_", "tensor(string)": "string",
}  # fmt: skip
_NUMPY: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}  # fmt: skip


def _shape(given: Any) -> Shape:
    return tuple(size if isinstance(size, int) else None for size in given)


def padded(items: list[Any], shape: Shape, name: str) -> tuple[Any, Integers | None]:
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
