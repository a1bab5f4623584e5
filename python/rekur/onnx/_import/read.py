"""Reading a file that may be damaged or hostile: every size is checked before anything is allocated or opened."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._model_files import instead_of_onnx
from rekur.onnx._errors import LoadError
from rekur.onnx._import.known import DTYPES
from rekur.onnx._import.order import graphs
from rekur.onnx._import.schema import NEWEST

MAX_BYTES = 2**31  # protobuf's own limit; external data may add as much per tensor
MAX_ELEMENTS = 2**31
MAX_NODES = 5000

# element types kept in a field of another type, bit patterns of float16 among them
_FIELDS = {
    "float_data": (1,),
    "int32_data": (2, 3, 4, 5, 6, 9, 10),
    "int64_data": (7,),
    "double_data": (11,),
    "uint64_data": (12, 13),
}
_FIELD = {kind: field for field, kinds in _FIELDS.items() for kind in kinds}


def read_model(path: str | os.PathLike[str]) -> Any:
    """The ``onnx.ModelProto`` in a file; external data stays where it is.

    Raises
    ------
    OSError
        The file cannot be read.
    LoadError
        It is no ONNX model.
    """
    source = Path(path)
    with open(source, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:  # a pipe never blocks
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise LoadError(f"'{source}' is no regular file")
        if found.st_size > MAX_BYTES:
            raise LoadError(f"'{source}' has {found.st_size:,} bytes; an ONNX file has at most {MAX_BYTES:,}")
        data = file.read(MAX_BYTES + 1)
    return parse(data, f"'{source}'")


def parse(data: bytes, what: str) -> Any:
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's own, which is not ours to name
        raise LoadError(f"{what} is not an ONNX model, or not all of one: {error}{instead_of_onnx(data)}") from None
    if not data:
        raise LoadError(f"{what} is not an ONNX model{instead_of_onnx(data)}")
    return check_envelope(model, what, instead_of_onnx(data))


def check_envelope(model: Any, what: str, hint: str = "") -> Any:
    """What every model has: a graph with nodes, an opset that is understood. `hint`: what it is where it has none."""
    if not model.HasField("graph") or not model.graph.output:
        raise LoadError(f"{what} is not an ONNX model: it has no graph with outputs{hint}")
    nested = all_graphs(model.graph)
    if (count := sum(len(graph.node) for graph in nested)) > MAX_NODES:
        raise LoadError(f"{what} has {count:,} nodes; at most {MAX_NODES:,} are read")
    texts = [entry.domain for entry in model.opset_import]
    if not all(isinstance(text, str) for text in (*texts, *(text for graph in nested for text in _texts(graph)))):
        raise LoadError(f"{what} is not an ONNX model, or damaged: a name in it is no text")
    if any(len(graph.sparse_initializer) for graph in nested):
        raise LoadError(f"{what} has sparse initialisers, which are not understood")
    if any(function.domain in ("", "ai.onnx") for function in model.functions):
        raise LoadError(f"{what} has functions of its own in the domain ai.onnx, which are not understood")
    return model


def all_graphs(graph: Any) -> list[Any]:
    """The graph and those inside its nodes: branches of an If, bodies of loops."""
    result = [graph]
    for one in result:  # grows meanwhile
        result += [inner for node in one.node for inner in graphs(node)]
    return result


def _texts(graph: Any) -> Iterator[Any]:
    """Everything that is used as text; protobuf gives bytes where it is none."""
    yield graph.name
    for entry in (*graph.input, *graph.output, *graph.initializer):
        yield entry.name
    for tensor in graph.initializer:
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))


def opset(model: Any) -> int:
    versions = {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if len(versions) != 1 or not 7 <= min(versions) <= NEWEST:
        raise LoadError(
            f"the file's opsets of the domain ai.onnx are {sorted(versions)}; expected one of 7 to {NEWEST}"
        )
    return int(versions.pop())


class Tensors:
    """Decodes tensors of a model; external data only from its own folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def array(self, tensor: Any, what: str) -> NDArray[Any]:
        """A read-only array.

        Raises
        ------
        LoadError
            The element type is not understood, the size is absurd or is not that of the data.
        """
        dtype = DTYPES.get(tensor.data_type)
        if dtype is None:
            raise LoadError(f"{what}: elements of type {tensor.data_type} are not understood")
        dims = [int(size) for size in tensor.dims]
        count = 1
        for size in dims:
            if size < 0:
                raise LoadError(f"{what}: a negative dimension in {dims}")
            count *= size
        if len(dims) > 16 or max([count, *dims]) > MAX_ELEMENTS or tensor.HasField("segment"):
            raise LoadError(f"{what}: {dims} elements are beyond all bounds")
        stored = np.dtype(dtype)
        if tensor.data_location == 1:
            return self._external(tensor, stored, count, what).reshape(dims)
        if tensor.HasField("raw_data"):
            return _from_bytes(tensor.raw_data, stored, count, what).reshape(dims)
        values = getattr(tensor, _FIELD[tensor.data_type])
        if len(values) != count:
            raise LoadError(f"{what}: {len(values)} values for {dims} elements")
        wide = np.array(values, {"float_data": np.float32, "double_data": np.float64}.get(_FIELD[tensor.data_type]))
        if stored == np.float16:
            return wide.astype(np.uint16).view(np.float16).reshape(dims)
        with np.errstate(over="ignore"):
            narrow = wide.astype(stored)
        if stored.kind in "iu" and (narrow != wide).any():
            raise LoadError(f"{what}: values that do not fit {stored}")
        return narrow.reshape(dims)

    def _external(self, tensor: Any, dtype: np.dtype[Any], count: int, what: str) -> NDArray[Any]:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        size = count * dtype.itemsize
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(size)))
        except ValueError:
            raise LoadError(f"{what}: offset and length of its external data are no numbers") from None
        if offset < 0 or length != size:
            raise LoadError(f"{what}: {length} bytes of external data at {offset} for {size}")
        with self._open(location, what) as handle:
            available = os.fstat(handle).st_size
            if offset + size > available:
                raise LoadError(f"{what}: its external data would end at byte {offset + size} of {available}")
            with os.fdopen(os.dup(handle), "rb") as file:
                file.seek(offset)
                data = file.read(size)
        return _from_bytes(data, dtype, count, what)

    @contextmanager
    def _open(self, location: str, what: str) -> Iterator[int]:
        """A file below the model's folder: no way out, neither by its path nor by a link on the way."""
        parts = location.split("/")
        if self.folder is None:
            raise LoadError(f"{what}: external data of a model that is no file")
        if not location or location.startswith("/") or "\0" in location or any(p in ("", "..") for p in parts):
            raise LoadError(f"{what}: external data at {location!r}, outside the model's folder, is not opened")
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for k, part in enumerate(parts):
                last = k == len(parts) - 1
                kind = os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode
                if not (stat.S_ISREG(kind) if last else stat.S_ISDIR(kind)):
                    raise LoadError(f"{what}: external data at {location!r}: '{part}' is a link or no regular file")
                below = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
                os.close(handle)
                handle = below
            yield handle
        except OSError as error:
            raise LoadError(f"{what}: external data at {location!r}: {error.strerror}") from None
        finally:
            os.close(handle)

    def attributes(self, node: Any, label: str) -> dict[str, Any]:
        """A node's attributes as Python values.

        Raises
        ------
        LoadError
            One is given twice, or is of a type that no understood operator has.
        """
        result: dict[str, Any] = {}
        seen: set[str] = set()
        for entry in node.attribute:
            if entry.name in seen:
                raise LoadError(f"{label}: attribute '{entry.name}' is given twice")
            seen.add(entry.name)
            if entry.type not in (5, 10):  # graphs, which the walk goes through itself
                result[entry.name] = self._attribute(entry, f"{label}: attribute '{entry.name}'")
        return result

    def _attribute(self, entry: Any, what: str) -> Any:
        # onnx.AttributeProto: 1 float, 2 int, 3 string, 4 tensor, 6 floats, 7 ints, 8 strings
        try:
            match entry.type:
                case 1:
                    return float(entry.f)
                case 2:
                    return int(entry.i)
                case 3:
                    return entry.s.decode("utf-8")
                case 4:
                    return self.array(entry.t, what)
                case 6:
                    return [float(v) for v in entry.floats]
                case 7:
                    return [int(v) for v in entry.ints]
                case 8:
                    return [v.decode("utf-8") for v in entry.strings]
        except UnicodeDecodeError:
            raise LoadError(f"{what} is no text") from None
        raise LoadError(f"{what} is of type {entry.type}, which is not understood")


def _from_bytes(data: bytes, dtype: np.dtype[Any], count: int, what: str) -> NDArray[Any]:
    if len(data) != count * dtype.itemsize:
        raise LoadError(f"{what}: {len(data)} bytes for {count} elements of {dtype}")
    array = np.frombuffer(data, dtype.newbyteorder("<"))
    return array if sys.byteorder == "little" else array.astype(dtype)
