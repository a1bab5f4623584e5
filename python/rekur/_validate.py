"""Checks of what a caller passes in: each says what was expected and what came."""

import array as array_
import operator
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Array: TypeAlias = Floats | Ints
Shape: TypeAlias = tuple[int | None, ...]

_INT32 = np.iinfo(np.int32)
_INT64 = 2**63


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'adam'?"``, or the list of what there is where nothing is close; empty without any."""
    names = list(known)
    if not names:
        return ""
    import difflib  # for messages alone

    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean '{lower[close[0]]}'?" if close else f"; known are {', '.join(names)}"


def integer(value: object, what: str, minimum: int = 1) -> int:
    """An int (NumPy's too, a bool not) of at least ``minimum``."""
    if type(value) is int and minimum <= value < _INT64:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be an integer, got {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{what} must be at least {minimum}, got {number}")
    if number >= _INT64:
        raise ValueError(f"{what} must be below 2^63, got {number}")
    return number


def real(value: object, what: str, minimum: float = -np.inf, maximum: float = np.inf) -> float:
    """A finite number between ``minimum`` and ``maximum``, as a float."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or value is None:
        raise TypeError(f"{what} must be a number, got {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a number, got {value!r}") from None
    if not np.isfinite(number) or not minimum <= number <= maximum:
        bounds = f" between {minimum:g} and {maximum:g}" if np.isfinite(minimum) or np.isfinite(maximum) else ""
        raise ValueError(f"{what} must be a finite number{bounds}, got {value!r}")
    return number


def not_negative(value: object, what: str) -> float:
    return real(value, what, 0)


def share(value: object, what: str) -> float:
    return real(value, what, 0, 1)


def rate(value: object, what: str) -> float:
    """A rate of dropping: a number of at least 0, below 1, also as float32."""
    number = real(value, what, 0, 1)
    if np.float32(number) == 1:
        raise ValueError(f"{what} must be below 1, got {value!r}")
    return number


def optional_integer(value: object, what: str) -> int | None:
    """None, or at least 1."""
    return None if value is None else integer(value, what)


def optional_real(value: object, what: str) -> float | None:
    """None, or a finite number."""
    return None if value is None else real(value, what)


def one_of(*known: str) -> Any:
    """A setting's check: one of these names, in any case, as Keras takes them."""

    def check(value: object, what: str) -> str:
        name = value.lower() if isinstance(value, str) else value
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{what}: expected one of {', '.join(known)}, got {value!r}{did_you_mean(name, known)}")
        return name

    return check


_PRECISION = one_of("float32", "bf16", "int8")


def optional_precision(value: object, what: str) -> str | None:
    """Of a layer's products; None leaves it to compile."""
    return None if value is None else str(_PRECISION(value, what))


WEIGHT_TYPE = one_of("float32", "bf16", "fp16", "int8")


def boolean(value: object, what: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be True or False, got {value!r}")
    return bool(value)


def as_numeric(value: object, what: str) -> NDArray[Any]:
    """A NumPy array of booleans, integers or floats.

    Refused are what is no array (generators, data sets, sets, strings), ragged lists, masked arrays with something
    masked, missing values of pandas, and every other dtype. NaN is a number.
    """
    if type(value) is np.ndarray and value.dtype.kind in "biuf":
        return value
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        value = value.detach().cpu().numpy()  # a tensor of torch that asks for gradients does not convert itself
    check_data(value, what)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{what}: not a regular array ({error}); pad the rows to one length and pass their lengths as lengths="
        ) from None
    if array.dtype.kind == "O":
        check_missing(array, value, what)
    if array.dtype.kind not in "biuf":
        hint = "; where all of it is numbers, convert it with .astype('float32')" if array.dtype.kind == "O" else ""
        raise TypeError(f"{what}: expected numbers, got an array of dtype {array.dtype}{hint}")
    return array


_NUMBERS = (bool, int, float, np.generic)
_SEQUENCES = (list, tuple, range, deque)
_ARRAY_METHODS = ("__array__", "__array_interface__", "__array_struct__")


def check_data(value: object, what: str) -> None:
    """Refuse what NumPy would misread: it drops a mask, and reads what can be indexed until memory is gone.

    Raises
    ------
    TypeError
        For what is neither an array, nor a number, nor a list of them.
    ValueError
        For a masked array that hides something.
    """
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray:
            check_mask(value, what)
        if value.dtype.kind == "O":
            for item in value.flat:
                if isinstance(item, np.ndarray) and item.ndim:
                    check_data(item, what)
        return
    if isinstance(value, _NUMBERS):
        return
    if isinstance(value, _SEQUENCES):
        for item in value:
            if type(item) is not float and type(item) is not int:
                check_data(item, what)
        return
    if type(value).__module__.partition(".")[0] in ("pandas", "polars"):
        _check_frame(value, what)
    if any(hasattr(type(value), name) for name in _ARRAY_METHODS) or isinstance(value, (array_.array, memoryview)):
        return
    if value is None:
        raise TypeError(f"{what}: expected an array, got None")
    name = type(value).__name__
    if isinstance(value, (str, bytes, bytearray)):
        raise TypeError(f"{what}: expected numbers, got {value!r:.60}")
    if isinstance(value, (dict, Mapping)):
        raise TypeError(f"{what}: expected an array, got a {name}")
    if isinstance(value, Iterator):
        hint = "a generator is not read in the place of an array: give it to fit as all of x, without y"
    elif hasattr(type(value), "__getitem__") or hasattr(type(value), "__iter__"):
        hint = "data sets and loaders are not read in the place of an array: give one to fit as all of x, without y"
    elif callable(value):
        hint = "call it, and give what it returns: arrays, or a generator as all of x, without y"
    else:
        hint = "numbers in a NumPy array, a list, or what NumPy can make an array of"
    raise TypeError(f"{what}: expected an array, got a {name}; {hint}")


def check_mask(value: Any, what: str) -> None:
    """Refuse a masked array that hides something.

    Raises
    ------
    ValueError
        Beginning with ``what``, with how many values are masked and where the first one is.
    """
    masked = getattr(value, "mask", None) if isinstance(value, np.ndarray) else None  # a frame's is a method
    if masked is None or not np.any(masked):
        return
    place = tuple(int(i) for i in np.argwhere(np.broadcast_to(masked, value.shape))[0])
    raise ValueError(
        f"{what}: {int(np.sum(masked))} of {value.size} values are masked, the first at {place}, and a mask is not "
        "read: fill them with .filled(…), leave the rows out, or say what does not count by lengths= or sample_weight= "
        "(0 where a target is missing)"
    )


def _check_frame(value: Any, what: str) -> None:
    """Refuse a missing value of a column that has a word of its own for it, which NumPy makes a NaN of or an object."""
    columns = getattr(value, "columns", None)
    for number in range(1 if columns is None else len(columns)):
        if columns is None:
            column, where = value, ""
        elif hasattr(value, "iloc"):
            column, where = value.iloc[:, number], f", column {columns[number]!r}"
        else:
            column, where = value[columns[number]], f", column {columns[number]!r}"
        if isinstance(getattr(column, "dtype", None), np.dtype) and column.dtype.kind != "O":
            continue  # NumPy's own numbers, where NaN is a number as everywhere
        absent = getattr(column, "isna", None) or getattr(column, "is_null", None)
        if absent is None:
            continue
        rows = np.flatnonzero(np.asarray(absent()))
        if len(rows):
            raise ValueError(
                f"{what}: row {rows[0]}{where} is missing ({len(rows)} of {len(column)} are): fill or drop it first, "
                "such as by fillna or dropna (polars: fill_null, drop_nulls)"
            )


def check_missing(array: NDArray[Any], given: object, what: str) -> None:
    """Refuse an object array with a missing value (None, pandas.NA, NaT), naming its row and column."""
    for place, item in np.ndenumerate(array):
        if item is not None and type(item).__name__ not in ("NAType", "NaTType", "MaskedConstant"):
            continue
        where = f"row {place[0]}" if place else "it"
        columns = getattr(given, "columns", None)
        if columns is not None and len(place) == 2:
            where += f", column {columns[place[1]]!r}"
        elif len(place) > 1:
            where = f"place {place}"
        raise ValueError(
            f"{what}: {where} is missing ({item}): fill or drop it first, such as by .fillna(…) or .dropna(); with "
            ".astype('float32') it becomes NaN"
        )


def as_float32(value: object, what: str) -> Floats:
    """C-contiguous, aligned float32; no copy of what already is."""
    return np.require(as_numeric(value, what), np.float32, ["C", "A"])


def as_int32(value: object, what: str, whole_floats: bool = False) -> Ints:
    """C-contiguous int32. Values that do not fit are refused, not wrapped; floats too, unless whole and allowed."""
    array = as_numeric(value, what)
    if array.dtype == np.int32:
        return np.require(array, np.int32, ["C", "A"])
    if array.dtype.kind == "f":
        if array.size and not whole_floats:
            raise TypeError(f"{what}: expected integers, got an array of dtype {array.dtype}")
        broken = np.argwhere(np.trunc(array) != array)  # NaN too
        if len(broken):
            at = tuple(int(i) for i in broken[0])
            raise TypeError(f"{what}: expected integers, got {array[at]:g} at {at} of an array of dtype {array.dtype}")
    elif array.dtype.kind == "b":
        raise TypeError(f"{what}: expected integers, got an array of dtype bool")
    if array.size and not (_INT32.min <= array.min().item() and array.max().item() <= _INT32.max):
        raise ValueError(f"{what}: values from {array.min()} to {array.max()} do not fit in int32")
    return np.asarray(array, dtype=np.int32, order="C")


# What files of one format end in, and who writes them.
_FORMATS = {
    ".safetensors": "a model is saved by model.save",
    **dict.fromkeys((".h5", ".hdf5", ".keras"), "files of Keras are not written"),
    ".onnx": "ONNX is written by rekur.onnx.export",
    ".ort": "onnxruntime's own tool makes it of an ONNX file",
    **dict.fromkeys((".pt", ".pth", ".ckpt"), "files of PyTorch are not written"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "to pickle a model call pickle.dump(model, file)"),
    **dict.fromkeys((".npz", ".npy"), "weights alone are model.get_weights(), for numpy.savez"),
    **dict.fromkeys((".hpp", ".h"), "a C++ header is written by rekur.export_cpp"),
    **dict.fromkeys((".tf", ".tflite", ".pb"), "files of TensorFlow are not written"),
    **dict.fromkeys((".mlmodel", ".mlpackage"), "files of Core ML are not written"),
    ".gguf": "GGUF is not written",
    **dict.fromkeys((".json", ".yaml", ".yml"), "the description alone is model.spec"),
}
# What each writer says of its own files.
_OWN = {
    (".safetensors",): "a model is saved as .safetensors",
    (".onnx",): "an ONNX file ends in .onnx",
    (".hpp", ".h"): "a C++ header ends in .hpp or .h",
}
MODEL, ONNX, HEADER = _OWN


def as_path(path: object, what: str) -> str:
    """The path as ``os.fsdecode`` has it, whose own message does not say what the path was to be for.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For a null character in it.
    """
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what}: expected a path, got {path!r}") from None
    if "\0" in name:
        raise ValueError(f"{what}: no path holds a null character, got {path!r}")
    return name


def check_suffix(path: object, what: str, own: tuple[str, ...] = MODEL) -> str:
    """The path of a file to write, unless its name says that it is to be one of another format.

    Raises
    ------
    TypeError
        For what is no path.
    ValueError
        For the suffix of another format, with who writes that.
    """
    name = as_path(path, what)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _FORMATS and suffix not in own:
        raise ValueError(f"{what}: {_OWN[own]}, got '{name}'; {_FORMATS[suffix]}")
    return name


def show(shape: Iterable[int | None]) -> str:
    """A shape as Python writes it: ``(None, 50, 8)``."""
    return str(tuple(shape))


def fits(shape: tuple[int, ...], expected: Shape) -> bool:
    return len(shape) == len(expected) and all(e is None or n == e for n, e in zip(shape, expected, strict=True))


def sample_weights(given: Any, shape: tuple[int, ...], whose: str) -> NDArray[np.float64]:
    """Weights of a call by hand: of rows, or of all that the first axes of ``shape`` have; one number holds for all.

    A last axis of 1 may be there, as Keras takes it.

    Raises
    ------
    TypeError, ValueError
        Beginning with ``whose``, for what is no array of numbers or of another shape.
    """
    weight = as_numeric(given, f"{whose}: sample_weight").astype(np.float64)
    while weight.ndim > 1 and weight.shape[-1] == 1 and weight.shape != shape[: weight.ndim]:
        weight = weight[..., 0]
    if weight.ndim and weight.shape != shape[: weight.ndim]:
        fitting = " or ".join(show(shape[:rank]) for rank in range(1, len(shape) + 1)) or "()"
        raise ValueError(f"{whose}: expected sample_weight of shape {fitting}, got {show(np.shape(given))}")
    return weight


@overload
def spread(given: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]: ...


@overload
def spread(given: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any] | None: ...


def spread(given: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Flags or weights of rows or steps, for all that a row or step has; None stays."""
    if given is None or given.shape == shape:
        return given
    return np.broadcast_to(given.reshape(given.shape + (1,) * (len(shape) - given.ndim)), shape)
