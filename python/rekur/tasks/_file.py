"""A fitted estimator as one safetensors file: a tree of plain values, arrays and models.

Numbers, strings, lists and dicts stand as JSON in the file's metadata, arrays and weights as its tensors, and each
model as its spec. Nothing in a file is code, and reading one runs none.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._files import check_writable
from rekur._model_files import recognise
from rekur._validate import as_path, check_suffix
from rekur.models import Model
from rekur.models.model import revived
from rekur.training.by_batch import unflatten

KEY = "rekur.task"  # of the metadata
VERSION = 1  # raised when an older reader would misread a newer file
_DEPTH = 64
_NUMBERS = "?bhiqBHIQfd"  # types of arrays that stand as tensors, as NumPy's characters


class Tree:
    """A tree being written: what stands in JSON, and the tensors that it points to."""

    def __init__(self) -> None:
        self.tensors: dict[str, NDArray[Any]] = {}
        self._models: dict[int, str] = {}

    def put(self, value: Any, where: str) -> Any:
        """The JSON form of one value, whose arrays and weights go into :attr:`tensors`."""
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
            value = value.item()
        if isinstance(value, int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
        if isinstance(value, Model):
            return self._model(value, where)
        if isinstance(value, (np.ndarray, np.datetime64, np.timedelta64)):
            return self._array(np.asarray(value), where)
        if isinstance(value, (list, tuple)):
            items = [self.put(item, f"{where}.{n}") for n, item in enumerate(value)]
            return items if isinstance(value, list) else {"$": "tuple", "items": items}
        if isinstance(value, Mapping):
            if all(isinstance(key, str) and not key.startswith("$") for key in value):
                return {key: self.put(item, f"{where}.{key}") for key, item in value.items()}
            pairs = [[self.put(k, f"{where}.key"), self.put(v, f"{where}.{k}")] for k, v in value.items()]
            return {"$": "dict", "pairs": pairs}
        raise TypeError(f"save: {where} is a {type(value).__name__}, which a file cannot hold")

    def _array(self, array: NDArray[Any], where: str) -> Any:
        if array.dtype.kind in "OU":
            items = [self.put(item, where) for item in array.ravel().tolist()]
            kind = "str" if array.dtype.kind == "U" else "object"
            return {"$": "texts", "dtype": kind, "shape": list(array.shape), "items": items}
        name, entry = f"array/{where}", {"$": "array", "name": f"array/{where}"}
        if array.dtype.kind in "mM":
            entry["dtype"] = array.dtype.str.lstrip("<>=")
            array = array.astype(array.dtype.newbyteorder("=")).view(np.int64)
        if array.dtype.char == "l":  # int64 by its other name
            array = array.astype(np.int64)
        if array.dtype.newbyteorder("=").char not in _NUMBERS + "lL":
            raise TypeError(f"save: {where} is an array of {array.dtype}, which a file cannot hold")
        shape = array.shape
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
        self.tensors[name] = array.reshape(shape)
        return entry

    def _model(self, model: Model, where: str) -> Any:
        name = f"model/{where}"
        if (known := self._models.get(id(model))) is not None:
            return {"$": "same", "name": known}
        self._models[id(model)] = name
        engine = model._engine()
        for parameter, array in unflatten(engine, engine.get_weights()).items():
            self.tensors[f"{name}/{parameter}"] = np.ascontiguousarray(array)
        return {"$": "model", "name": name, "spec": json.loads(engine.spec), "saved": model._saved()}


def write(path: str | os.PathLike[str], kind: str, state: Mapping[str, Any]) -> None:
    """Write a state tree; the path holds the old file or the whole new one.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        For a value that no file can hold, with its place in the tree.
    """
    path = check_suffix(path, "save")
    check_writable(path)
    tree = Tree()
    content = {"version": VERSION, "kind": kind, "rekur": _core.__version__, "state": tree.put(dict(state), "state")}
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    _core.write_safetensors(os.fsencode(path), {KEY: text}, tree.tensors)


class _Reader:
    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._tensors = tensors
        self._models: dict[str, Model] = {}

    def get(self, value: Any, depth: int = 0) -> Any:
        if depth > _DEPTH:
            raise ValueError(f"its state is nested more than {_DEPTH} deep")
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, list):
            return [self.get(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            raise ValueError(f"unexpected value {value!r:.60}")
        if "$" not in value:
            return {key: self.get(item, depth + 1) for key, item in value.items()}
        kind = value["$"]
        if kind == "float":
            return float(value["value"])
        if kind == "tuple":
            return tuple(self.get(item, depth + 1) for item in value["items"])
        if kind == "dict":
            return {self.get(k, depth + 1): self.get(v, depth + 1) for k, v in value["pairs"]}
        if kind == "texts":
            items = [self.get(item, depth + 1) for item in value["items"]]
            array = np.empty(len(items), dtype=object)
            array[:] = items
            made = array.astype(str) if value["dtype"] == "str" else array
            return made.reshape(value["shape"])
        if kind == "array":
            array = self._tensors[value["name"]]
            return array.view(np.dtype(value["dtype"])) if "dtype" in value else array
        if kind == "model":
            self._models[value["name"]] = model = self._model(value)
            return model
        if kind == "same":
            return self._models[value["name"]]
        raise ValueError(f"unknown kind of value {kind!r}")

    def _model(self, value: Mapping[str, Any]) -> Model:
        spec = json.dumps(value["spec"])
        for parameter, shape in _core.parameter_shapes(spec):  # before a model of any size is made
            stored = self._tensors[f"{value['name']}/{parameter}"]
            if stored.shape != tuple(shape) or stored.dtype != np.float32:
                raise ValueError(f"weight '{parameter}' is {stored.dtype} of shape {stored.shape}, not {tuple(shape)}")
        core = _core.Model(spec)
        flat = core.get_weights()
        for parameter, array in unflatten(core, flat).items():
            array[...] = self._tensors[f"{value['name']}/{parameter}"]
        core.set_weights(flat)
        return revived(core, value["saved"])


def read(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
    """The kind and the state tree of a file of :func:`write`.

    Raises
    ------
    OSError
        If the file cannot be read, is not whole, or is something else, which is said.
    ValueError
        If it is of a newer version, or what it holds is not valid.
    """
    path = as_path(path, "load")
    try:
        metadata, tensors = _core.read_safetensors(os.fsencode(path))
    except OSError as error:
        if (found := recognise(path)) is None:
            raise
        raise OSError(f"cannot read '{path}': it is {found[0]}, no fitted estimator: {found[1]}") from error
    except TypeError as error:
        raise OSError(f"cannot read '{path}': {error}") from None
    if KEY not in metadata:
        hint = "; it looks like a model: rekur.load reads it" if "rekur" in "".join(metadata) else ""
        raise OSError(f"cannot read '{path}': it is a .safetensors file, but holds no estimator of rekur.tasks{hint}")
    try:
        content = json.loads(metadata[KEY])
        version, kind = content["version"], content["kind"]
        if not isinstance(version, int) or isinstance(version, bool) or not isinstance(kind, str):
            raise TypeError("version or kind")
        if version > VERSION:
            raise ValueError(f"it is of version {version}; this rekur reads up to {VERSION}: update rekur")
        state = _Reader(tensors).get(content["state"])
        if not isinstance(state, dict):
            raise TypeError("the state is no object")
    except (
        KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError, RecursionError, MemoryError
    ) as error:  # fmt: skip
        reason = error if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError) else repr(error)
        raise ValueError(f"'{path}': not a valid estimator: {reason}") from None
    return kind, state


def is_task(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it holds an estimator; its beginning alone is read."""
    try:
        if not os.path.isfile(path):  # a pipe would be waited for
            return False
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= min(100_000_000, os.fstat(file.fileno()).st_size - 8):
                return False
            header = json.loads(file.read(size))
        return isinstance(header, dict) and KEY in (header.get("__metadata__") or ())
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def models_in(state: Any) -> Iterator[Model]:
    """The models of a tree, each once."""
    seen: set[int] = set()
    waiting = [state]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, Model) and id(value) not in seen:
            seen.add(id(value))
            yield value
        elif isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)
