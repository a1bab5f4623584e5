"""Sequences as users have them: arrays of two or three axes, lists of arrays of different length, frames."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import check_mask

Floats = NDArray[np.float32]
_SAMPLES = "Found array with 0 sample(s) (shape={}) while a minimum of 1 is required."


@dataclass(frozen=True)
class Sequences:
    """N sequences of F channels. NaN stands for a missing value; there is no infinity.

    ``values`` (N, T, F), zeros behind the end of a sequence; ``lengths`` (N,) or None where all have T steps;
    ``table``: they came as the rows of a table (N, T), one channel; ``names``: that table's columns, if they are texts.
    """

    values: Floats
    lengths: NDArray[np.int32] | None
    table: bool = False
    names: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def features(self) -> int:
        return int(self.values.shape[2])

    def take(self, rows: Any) -> "Sequences":
        """Some of the rows, cut to the longest of them."""
        if self.lengths is None:
            return Sequences(self.values[rows], None, self.table, self.names)
        lengths = self.lengths[rows]
        longest = int(lengths.max(initial=1))
        return Sequences(np.ascontiguousarray(self.values[rows, :longest]), lengths, self.table, self.names)

    def n_features_in(self) -> int:
        """What scikit-learn calls so: the columns of a table, else the channels."""
        return int(self.values.shape[1] if self.table else self.features)


def read_sequences(given: Any, what: str = "X", *, like: Any = None, least: int = 1) -> Sequences:
    """Sequences of what a user gave.

    Parameters
    ----------
    given : ndarray of shape (N, T, F); or of shape (N, T), a frame too: one channel; or a list of arrays (Tᵢ,), (Tᵢ, F)
        Lists and arrays of objects may hold sequences of different length.
    what : str
        The argument's name, for errors.
    like : estimator, optional
        A fitted one with ``n_features_in_``, ``channels_`` and ``table_``, perhaps ``feature_names_in_``: what is given
        must have as many channels, and a table its columns.
    least : int
        The fewest steps that a sequence may have.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, and the sequence or place at fault.
    """
    sequences = _read(given, what)
    if sequences.lengths is not None and len(sequences) and (short := int(sequences.lengths.min())) < least:
        row = int(np.argmin(sequences.lengths))
        raise ValueError(f"{what}: sequence {row} has {_count(short, 'step')}, at least {least} are needed")
    if sequences.lengths is None and sequences.values.shape[1] < least:
        raise ValueError(
            f"{what}: {_count(sequences.values.shape[1], 'step')} in each sequence, at least {least} are needed"
        )
    if like is not None:
        _check_like(sequences, like, what)
    return sequences


def _read(given: Any, what: str) -> Sequences:
    if isinstance(given, Sequences):
        return given
    if hasattr(given, "tocsr") or type(given).__module__.startswith("scipy.sparse"):
        raise TypeError(f"{what}: Sparse data was passed, but dense data is required. Use '.toarray()' to convert it.")
    if given is None or isinstance(given, (str, bytes, Mapping)):
        raise TypeError(f"{what}: expected sequences of numbers, got {_kind(given)}")
    if _is_frame(given):
        return _of_array(_frame_values(given, what), what, table=True, names=_frame_names(given))
    if isinstance(given, np.ndarray):
        check_mask(given, what)
    elif not isinstance(given, (list, tuple)):
        if hasattr(given, "__array__") or hasattr(given, "__array_interface__"):
            given = np.asarray(given)
        elif hasattr(given, "detach"):
            given = given.detach().cpu().numpy()
        elif isinstance(given, Sequence) or (hasattr(given, "__len__") and hasattr(given, "__getitem__")):
            given = [given[n] for n in range(len(given))]
        else:
            raise TypeError(f"{what}: expected an array or a list of sequences, got {_kind(given)}")
    if isinstance(given, np.ndarray) and given.dtype != object:
        return _of_array(given, what)
    if isinstance(given, np.ndarray) and given.ndim > 1:
        return _of_array(_as_floats(given, what), what)
    return _of_list(list(given), what)


def _of_list(items: list[Any], what: str) -> Sequences:
    if not items:
        raise ValueError(f"{what}: {_SAMPLES.format('(0,)')}")
    if not any(hasattr(item, "__len__") for item in items) and None not in items:
        return _of_array(_as_floats(np.asarray(items), what), what)  # which refuses one axis
    arrays: list[NDArray[Any]] = []
    for n, item in enumerate(items):
        place = f"{what}: sequence {n}"
        array = _frame_values(item, place) if _is_frame(item) else _as_floats(_array_of(item, place), place)
        if array.ndim == 1:
            array = array[:, None]
        if array.ndim != 2:
            raise ValueError(f"{place}: expected shape (T,) or (T, F), got {array.shape}")
        if arrays and array.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"{place}: it has {_count(array.shape[1], 'channel')}, the first one has {arrays[0].shape[1]}"
            )
        arrays.append(array)
    if arrays[0].shape[1] == 0:
        raise ValueError(
            f"{what}: Found array with 0 feature(s) (shape=({len(arrays)}, 0)) while a minimum of 1 is required."
        )
    lengths = np.array([len(array) for array in arrays], np.int32)
    table = all(isinstance(item, (list, tuple)) and np.ndim(item) == 1 for item in items)
    if (lengths == lengths[0]).all():
        values = np.stack(arrays).astype(np.float32)
        _check_finite(values, what)
        return Sequences(values, None, table)
    values = np.zeros((len(arrays), int(lengths.max()), arrays[0].shape[1]), np.float32)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    _check_finite(values, what)
    return Sequences(values, lengths)


def _array_of(item: Any, place: str) -> NDArray[Any]:
    """One sequence as an array of any dtype."""
    if item is None or isinstance(item, (str, bytes, Mapping)):
        raise TypeError(f"{place}: expected a sequence of numbers, got {_kind(item)}")
    check_mask(item, place)
    if hasattr(item, "detach"):
        item = item.detach().cpu().numpy()
    try:
        array = np.asarray(item)
        texts = array.dtype.kind == "U" and any(
            not isinstance(part, str) for part in np.ravel(np.asarray(item, object))
        )
        return np.asarray(item, object) if texts else array
    except ValueError as error:
        raise ValueError(f"{place}: its steps have different numbers of channels: {error}") from None


def _of_array(array: NDArray[Any], what: str, table: bool = True, names: NDArray[Any] | None = None) -> Sequences:
    array = _as_floats(array, what)
    if array.ndim == 1 or array.ndim == 0:
        raise ValueError(
            f"{what}: Expected 2D array, got {'1D' if array.ndim else 'scalar'} array instead: shape {array.shape}. "
            "Reshape your data either using array.reshape(-1, 1) if your data has a single feature or array.reshape(1, "
            "-1) if it contains a single sample; sequences are the rows of an array (N, T) or (N, T, F), or a list."
        )
    if array.ndim > 3:
        raise ValueError(f"{what}: expected an array of shape (N, T) or (N, T, F), got {array.shape}")
    if array.shape[0] == 0:
        raise ValueError(f"{what}: {_SAMPLES.format(array.shape)}")
    if 0 in array.shape[1:]:
        raise ValueError(
            f"{what}: Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    _check_finite(array, what)
    if array.ndim == 2:
        return Sequences(np.ascontiguousarray(array, np.float32)[:, :, None], None, table, names)
    return Sequences(np.ascontiguousarray(array, np.float32), None)


def _as_floats(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.dtype.kind == "c":
        raise ValueError(f"{what}: Complex data not supported: expected real numbers")
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O":
        check_mask(array, what)
        flat = [np.nan if item is None or type(item).__name__ in ("NAType", "NaTType") else item for item in array.flat]
        if any(isinstance(item, (str, bytes)) for item in flat):
            flat = [_number(item, what) for item in flat]
        try:
            return np.array(flat, dtype=np.float64).reshape(array.shape)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{what}: expected numbers: {error}") from None
    if array.dtype.kind == "U":
        return np.array([_number(item, what) for item in array.flat], np.float64).reshape(array.shape)
    raise TypeError(f"{what}: expected numbers, got an array of dtype {array.dtype}")


def _number(item: Any, what: str) -> Any:
    if not isinstance(item, (str, bytes)):
        return item
    try:
        return float(item)
    except ValueError:
        raise ValueError(f"{what}: expected numbers, could not convert string to float: {item!r:.60}") from None


def _check_finite(array: NDArray[Any], what: str) -> None:
    broken = np.isinf(array)
    if array.dtype != np.float32 and array.dtype.kind == "f":
        broken |= np.abs(array) > np.finfo(np.float32).max
    if broken.any():
        place = tuple(int(n) for n in np.argwhere(broken)[0])
        raise ValueError(f"{what}: Input contains infinity or a value too large for float32, the first at {place}")


def _check_like(found: Sequences, like: Any, what: str) -> None:
    if found.features != like.channels_:
        raise ValueError(
            f"{what}: {what} has {found.features} features, but {type(like).__name__} is expecting {like.channels_} "
            "features as input: the channels of a sequence"
        )
    if not (found.table and like.table_):
        return
    check_names(found.names, getattr(like, "feature_names_in_", None), type(like).__name__)
    if found.values.shape[1] != like.n_features_in_:
        raise ValueError(
            f"{what}: {what} has {found.values.shape[1]} features, but {type(like).__name__} is expecting "
            f"{like.n_features_in_} features as input: the columns of a table; sequences of other lengths are given as "
            "a list, or as an array of shape (N, T, 1)"
        )


def check_names(found: NDArray[Any] | None, known: NDArray[Any] | None, who: str) -> None:
    """Compare a table's column names with those of fit, with scikit-learn's warnings and errors.

    Raises
    ------
    ValueError
        For other names, or another order.
    """
    if known is None and found is None:
        return
    if known is None:
        warnings.warn(f"X has feature names, but {who} was fitted without feature names", stacklevel=3)
        return
    if found is None:
        warnings.warn(f"X does not have valid feature names, but {who} was fitted with feature names", stacklevel=3)
        return
    if len(found) == len(known) and (found == known).all():
        return
    message = "The feature names should match those that were passed during fit.\n"
    unseen, absent = sorted(set(found) - set(known)), sorted(set(known) - set(found))
    for names, title in (
        (unseen, "Feature names unseen at fit time"),
        (absent, "Feature names seen at fit time, yet now missing"),
    ):
        if names:
            message += (
                f"{title}:\n" + "".join(f"- {name}\n" for name in names[:5]) + ("- ...\n" if len(names) > 5 else "")
            )
    if not unseen and not absent:
        message += "Feature names must be in the same order as they were in fit.\n"
    raise ValueError(message)


def _is_frame(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in ("pandas", "polars") and hasattr(value, "columns")


def _frame_values(frame: Any, what: str) -> NDArray[Any]:
    try:
        array = frame.to_numpy()
    except Exception as error:  # whatever a frame of another library raises
        raise TypeError(f"{what}: expected a frame of numbers: {error}") from None
    return _as_floats(np.asarray(array), what)


def _frame_names(frame: Any) -> NDArray[Any] | None:
    names = list(frame.columns)
    texts = [isinstance(name, str) for name in names]
    if any(texts) and not all(texts):
        kinds = sorted({type(name).__name__ for name in names})
        raise TypeError(
            f"Feature names are only supported if all input features have string names, but your input has {kinds} as "
            "feature name / column name types. If you want feature names to be stored and validated, you must convert "
            "them all to strings, by using X.columns = X.columns.astype(str) for example. Otherwise you can remove "
            "feature / column names from your input data, or convert them all to a non-string data type."
        )
    return np.asarray(names, dtype=object) if texts and all(texts) else None


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
