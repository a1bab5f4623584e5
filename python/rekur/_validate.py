"""Checks of what a caller passes in: each says what was expected and what came."""

import difflib
import operator
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]
Array: TypeAlias = Floats | Ints
Shape: TypeAlias = tuple[int | None, ...]

_INT32 = np.iinfo(np.int32)


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """``"; did you mean 'adam'?"``, or the list of what there is where nothing is close."""
    names = list(known)
    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean '{lower[close[0]]}'?" if close else f"; known are {', '.join(names)}"


def integer(value: object, what: str, minimum: int = 1) -> int:
    """An int (NumPy's too, a bool not) of at least ``minimum``."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be an integer, got {value!r}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{what} must be at least {minimum}, got {number}")
    if number >= 2**63:
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


def boolean(value: object, what: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what} must be True or False, got {value!r}")
    return bool(value)


def as_numeric(value: object, what: str) -> NDArray[Any]:
    """A NumPy array of booleans, integers or floats. Ragged lists, generators and every other dtype are refused."""
    if isinstance(value, Iterator):
        raise TypeError(
            f"{what}: expected an array, got a {type(value).__name__}; generators are not read: collect the rows in an "
            "array, or call train_on_batch for each batch"
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{what}: not a regular array ({error}); pad the rows to one length and pass their lengths as lengths="
        ) from None
    if array.dtype.kind not in "biuf":
        hint = "; where all of it is numbers, convert it with .astype('float32')" if array.dtype.kind == "O" else ""
        raise TypeError(f"{what}: expected numbers, got an array of dtype {array.dtype}{hint}")
    return array


def as_float32(value: object, what: str) -> Floats:
    """C-contiguous, aligned float32; no copy of what already is."""
    return np.require(as_numeric(value, what), np.float32, ["C", "A"])


def as_int32(value: object, what: str, whole_floats: bool = False) -> Ints:
    """C-contiguous int32. Values that do not fit are refused, not wrapped; floats too, unless whole and allowed."""
    array = as_numeric(value, what)
    if array.dtype == np.int32:
        return np.require(array, np.int32, ["C", "A"])
    if array.dtype.kind == "f":
        if array.size and not (whole_floats and bool(np.all(np.trunc(array) == array))):
            raise TypeError(f"{what}: expected integers, got an array of dtype {array.dtype}")
    elif array.dtype.kind == "b":
        raise TypeError(f"{what}: expected integers, got an array of dtype bool")
    if array.size and not (_INT32.min <= array.min() and array.max() <= _INT32.max):
        raise ValueError(f"{what}: values from {array.min()} to {array.max()} do not fit in int32")
    return np.asarray(array, dtype=np.int32, order="C")


def show(shape: Iterable[int | None]) -> str:
    """A shape as Python writes it: ``(None, 50, 8)``."""
    return str(tuple(shape))


def fits(shape: tuple[int, ...], expected: Shape) -> bool:
    return len(shape) == len(expected) and all(e is None or n == e for n, e in zip(shape, expected, strict=True))
