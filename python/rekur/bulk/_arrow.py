"""Columns of Arrow as arrays, by their type alone: what stands in other rows never changes how a value is read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks import _dates
from rekur.tasks._columns import Column, Name, column_of_objects, column_of_texts, time_column, zone_name

Floats = NDArray[np.float64]


def import_pyarrow() -> Any:
    """The package, or how to get it.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        message = 'rekur.bulk reads and writes with pyarrow: pip install "rekur[bulk]"'
        raise ImportError(message, name="pyarrow") from None
    return pyarrow


def plain(array: Any) -> Any:
    """One array without chunks, dictionaries and extension types."""
    pa = import_pyarrow()
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            array = array.chunk(0)
        elif isinstance(array.type, pa.DictionaryType):  # chunks with dictionaries of their own
            array = array.cast(array.type.value_type).combine_chunks()
        else:
            array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # of no chunks, as older versions leave them
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if isinstance(array.type, pa.DictionaryType):
        array = array.dictionary_decode()
    if str(array.type) == "string_view":  # which few functions take
        array = array.cast(pa.large_string())
    return array


def is_text(kind: Any) -> bool:
    """Whether a type is one of texts, perhaps in a dictionary."""
    pa = import_pyarrow()
    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or view(kind))


def is_list(kind: Any) -> bool:
    """Whether a type is one of lists, of fixed length or not."""
    types = import_pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def numbers(array: Any, name: object) -> Floats:
    """A column as float64, missing as NaN; texts that are numbers or truth values, each by itself.

    Raises
    ------
    ValueError
        If the column holds something else.
    """
    pa = import_pyarrow()
    array = plain(array)
    kind, types = array.type, pa.types
    if is_text(kind):
        return _of_texts(array, name)
    if types.is_null(kind):
        return np.full(len(array), np.nan)
    if types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif types.is_duration(kind):
        parts = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}[kind.unit]
        return np.asarray(_floats(array.cast(pa.int64())) / parts)
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise ValueError(f"column {name!r}: expected numbers, got {kind}")
    return _floats(array)


def _floats(array: Any) -> Floats:
    pa = import_pyarrow()
    if array.type != pa.float64():
        array = array.cast(pa.float64(), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)


def _of_texts(array: Any, name: object) -> Floats:
    found = array.dictionary_encode()
    values = np.full(len(found.dictionary) + 1, np.nan)  # the last stands for null
    for place, text in enumerate(found.dictionary.to_pylist()):
        column, _ = column_of_texts(str(name), [text])
        if column.kind not in ("number", "bool"):
            raise ValueError(f"column {name!r}: expected numbers, got {text!r:.60}")
        values[place] = column.values[0]
    codes = found.indices.fill_null(len(found.dictionary)).to_numpy(zero_copy_only=False)
    return np.asarray(values[codes])


def texts(array: Any, name: object) -> list[str | None]:
    """A column as texts without blanks around them; empty ones and words for "missing" are None."""
    array = plain(array)
    if not is_text(array.type):
        return column(array, str(name)).texts()
    found = array.dictionary_encode()
    known = [None if _dates.is_missing(text) else text.strip() for text in found.dictionary.to_pylist()]
    known.append(None)
    codes = found.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
    return [known[code] for code in codes.tolist()]


def column(array: Any, name: Name, category: bool = False) -> Column:
    """A column as the tables of :mod:`rekur.tasks` have them.

    Parameters
    ----------
    category : bool
        Texts are to stay texts, even if all of these are numbers.

    Raises
    ------
    ValueError
        For types that no such table has: lists, structures, times of day, bytes.
    """
    pa = import_pyarrow()
    array = plain(array)
    kind, types = array.type, pa.types
    if is_text(kind):
        if category:
            objects = np.empty(len(array), object)
            objects[:] = texts(array, name)
            return Column(name, "text", objects)
        return column_of_objects(name, array.to_pylist())
    if types.is_timestamp(kind) or types.is_date(kind):
        missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)
        whole = array.cast(pa.int32() if types.is_date32(kind) else pa.int64()).fill_null(0)
        unit = "D" if types.is_date32(kind) else "ms" if types.is_date64(kind) else kind.unit
        values = whole.to_numpy(zero_copy_only=False).astype(np.int64).view(f"M8[{unit}]")
        if types.is_date64(kind):
            values = values.astype("M8[D]")
        zone = kind.tz if types.is_timestamp(kind) else None
        return time_column(name, values, missing, None if zone is None else zone_name(zone))
    if types.is_signed_integer(kind) and array.null_count == 0:
        return Column(name, "number", array.cast(pa.int64()).to_numpy(zero_copy_only=False))
    if types.is_nested(kind) or types.is_time(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        raise ValueError(f"column {name!r}: expected numbers, times or texts, got {kind}")
    return Column(name, "bool" if types.is_boolean(kind) else "number", numbers(array, name))


def sortable(array: Any, name: object) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Numbers or times of a plain array as keys of a sort: values, and whether they are missing numbers, which go last.

    Missing times stand as they do in tables, before all that are later than 1970.

    Raises
    ------
    ValueError
        If the column holds something else.
    """
    pa = import_pyarrow()
    missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return np.asarray(column(array, str(name)).values), np.zeros(len(array), bool)
    if pa.types.is_integer(array.type):
        return array.fill_null(0).to_numpy(zero_copy_only=False), missing
    if pa.types.is_boolean(array.type):
        raise ValueError(f"time: column {name!r} holds truth values, not times")
    values = numbers(array, name)
    return np.where(np.isnan(values), 0.0, values), np.isnan(values)


def lists(array: Any, name: object) -> list[Floats | None]:
    """A column of lists as arrays of shape (T,), or (T, F) where its lists hold lists; None where there is none.

    Raises
    ------
    ValueError
        If the column holds no lists of numbers, or steps of one row differ in their number of values.
    """
    array = plain(array)
    if not is_list(array.type):
        raise ValueError(f"column {name!r}: expected lists of numbers, got {array.type}")
    sizes, missing = _sizes(array)
    inside = plain(array.flatten())
    values = _steps(inside, name) if is_list(inside.type) else numbers(inside, name)
    ends = np.cumsum(sizes)
    return [
        None if gone else values[end - size : end]
        for gone, end, size in zip(missing.tolist(), ends.tolist(), sizes.tolist(), strict=True)
    ]


def _sizes(array: Any) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    import pyarrow.compute as pc

    missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)
    sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.where(missing, 0, sizes), missing


def _steps(array: Any, name: object) -> Floats:
    """Steps that are lists of one length, (steps, F); a step that is null is NaN."""
    sizes, missing = _sizes(array)
    inside = plain(array.flatten())
    if is_list(inside.type):
        raise ValueError(f"column {name!r}: lists stand three deep, expected steps of numbers")
    values = numbers(inside, name)
    there = np.unique(sizes[~missing])
    if len(there) > 1:
        raise ValueError(
            f"column {name!r}: its steps hold {there[0]} to {there[-1]} values, expected one number of them"
        )
    width = int(there[0]) if len(there) else 1
    found = np.full((len(array), width), np.nan)
    found[~missing] = values.reshape(-1, width)
    return found


def words(array: Any, name: object) -> list[list[str] | None]:
    """A column of lists of texts; None where there is none.

    Raises
    ------
    ValueError
        If the column holds something else, or a list has a null in it.
    """
    array = plain(array)
    if not is_list(array.type) or not is_text(array.type.value_type):
        raise ValueError(f"column {name!r}: expected lists of texts, got {array.type}")
    found: list[list[str] | None] = array.to_pylist()
    for row in found:
        if row is not None and None in row:
            raise ValueError(f"column {name!r}: a list of texts has a null in it")
    return found


def of_numpy(values: Any) -> Any:
    """An array of one axis as an Arrow array: numbers, truth values, texts."""
    pa = import_pyarrow()
    array = np.asarray(values)
    if array.dtype.kind in "OU":
        return pa.array([None if value is None else value for value in array.tolist()])
    return pa.array(np.ascontiguousarray(array))
