"""What estimators give, as plain values for JSON; what JSON gives, as arrays."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks.serve._problems import Problem

_NAN = float("nan")


def plain(values: Any) -> Any:
    """Arrays as lists of Python's values; what is no number as None, times in ISO 8601."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        found = array.astype(np.float64)
        if np.isfinite(found).all():
            return found.tolist()
        return _without_nan(found.tolist())
    if array.dtype.kind in "iub":
        return array.tolist()
    if array.dtype.kind == "M":
        flat = [None if np.isnat(t) else str(np.datetime_as_string(t, unit="auto")) for t in array.ravel()]
        return np.array(flat, object).reshape(array.shape).tolist()
    return _cells(array.tolist())


def _without_nan(values: Any) -> Any:
    if isinstance(values, list):
        return [_without_nan(value) for value in values]
    return value_or_none(values)


def value_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cells(values: Any) -> Any:
    if isinstance(values, list):
        return [_cells(value) for value in values]
    if isinstance(values, (datetime.datetime, datetime.date)):
        return values.isoformat()
    if isinstance(values, float):
        return value_or_none(values)
    if values is None or isinstance(values, (bool, int, str)):
        return values
    if hasattr(values, "isoformat"):
        return str(values.isoformat())
    return str(values)


def columns_of(table: Any, names: list[str]) -> dict[str, list[Any]]:
    """A table of any kind as columns; an array gets ``names``, and a column "step"."""
    if isinstance(table, Mapping):
        return {str(name): _column(values) for name, values in table.items()}
    if hasattr(table, "reset_index"):
        if type(table.index).__name__ != "RangeIndex":
            table = table.reset_index()
        return {str(name): _column(table[name]) for name in table.columns}
    if hasattr(table, "to_dict") and hasattr(table, "columns"):
        return {str(name): _column(values) for name, values in table.to_dict(as_series=False).items()}
    if isinstance(table, list):  # several series without names
        parts = [columns_of(part, names) for part in table]
        joined = {"series": [i for i, part in enumerate(parts) for _ in part["step"]]}
        joined.update({name: [v for part in parts for v in part[name]] for name in ("step", *names)})
        return joined
    array = np.asarray(table, np.float64)
    array = array.reshape(len(array), -1)
    found: dict[str, list[Any]] = {"step": list(range(1, len(array) + 1))}
    found.update({name: plain(column) for name, column in zip(names, array.T, strict=True)})
    return found


def _column(values: Any) -> list[Any]:
    if hasattr(values, "dt"):  # pandas: times of a zone are objects with their offset
        values = [None if value is None or value != value else value.isoformat() for value in values]
    found: list[Any] = plain(
        values.tolist() if hasattr(values, "tolist") and not isinstance(values, np.ndarray) else values
    )
    return found


def steps(series: list[Any], channels: int | None, field: str, most: int) -> NDArray[np.float64]:
    """(T, F) of steps of one channel or of lists of channels.

    Raises
    ------
    Problem
        422 naming the field, where lists differ in length or the channels are not those of the model; 413 for too many.
    """
    if not series:
        raise Problem(422, f"/{field}: expected one step at least, not an empty list", field=field)
    if not isinstance(series[0], list):
        array = np.array([_NAN if value is None else value for value in series], np.float64)[:, None]
    else:
        width = len(series[0])
        for i, row in enumerate(series):
            if len(row) != width:
                where = f"{field}/{i}"
                raise Problem(
                    422, f"/{where}: expected {width} values, as the first step has, not {len(row)}", field=where
                )
        array = np.array([[_NAN if value is None else value for value in row] for row in series], np.float64)
        array = array.reshape(len(series), width)
    if array.size > most:
        raise Problem(413, f"/{field}: expected at most {most} numbers, not {array.size}", field=field)
    if channels is not None and array.shape[1] != channels:
        what = "1 channel" if channels == 1 else f"{channels} channels"
        raise Problem(422, f"/{field}: the model takes {what} a step, not {array.shape[1]}", field=field)
    if np.abs(array[np.isfinite(array)]).max(initial=0) > 3e38:
        raise Problem(422, f"/{field}: a number is beyond the range of float32", field=field)
    return array
