"""Reading the windows of a series: by address and stride where it stands in memory, else by slices."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rekur.data.gaps import Runs
from rekur.training.batch import is_stored


@dataclass(frozen=True)
class Series:
    """A series: arrays of its rows, (N, F) each, and which rows may be read."""

    values: Any
    targets: Any  # None: columns of values
    covariates: Any
    static: NDArray[Any] | None
    time: Any
    runs: Runs  # without a gap
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class WindowShape:
    """What a window is."""

    length: int
    horizon: int
    stride: int
    rate: int
    columns: list[int] | None  # of values that are read; None: all
    target_columns: list[int] | None  # of values, where targets are columns of it
    known_columns: list[int] | None

    @property
    def span(self) -> int:
        """Rows from the first to the last, both included."""
        return (self.length + self.horizon - 1) * self.rate + 1


class Reader:
    """Reads windows of one series: by address and stride where it stands in memory, else by slices."""

    def __init__(self, one: Series, shape: WindowShape) -> None:
        self._shape = shape
        past, ahead = (0, shape.length), (shape.length, shape.horizon)
        targets = (one.values, shape.target_columns) if one.targets is None else (one.targets, None)
        known = (one.values, shape.known_columns) if one.covariates is None else (one.covariates, None)
        has_known = one.covariates is not None or shape.known_columns is not None
        self._parts: dict[str, tuple[Any, list[int] | None, int, int] | None] = {
            "x": (one.values, shape.columns, *past),
            "known": (*known, *ahead) if has_known and shape.horizon else None,
            "y": (*targets, *ahead) if shape.horizon else None,
        }
        arrays = [part[0] for part in self._parts.values() if part is not None]
        self.in_memory = not any(is_stored(array) for array in arrays)
        self._views = {name: None if part is None else _view(shape, *part) for name, part in self._parts.items()}

    def rows(self, begin: int, end: int, what: str) -> NDArray[Any]:
        """Rows [begin, end) of x or y."""
        part = self._parts[what]
        assert part is not None
        found = np.asarray(part[0][begin:end])
        return found if part[1] is None else found[:, part[1]]

    def read(self, starts: NDArray[np.int64]) -> dict[str, Any]:
        """The windows that begin at some rows."""
        return {name: None if view is None else view(starts) for name, view in self._views.items()}


def _view(
    shape: WindowShape, array: Any, columns: list[int] | None, first: int, steps: int
) -> Callable[[NDArray[np.int64]], Any]:
    """What reads ``steps`` steps of the windows that begin at some rows, from step ``first`` on."""
    rate = shape.rate
    offset, span = first * rate, (steps - 1) * rate + 1
    if not isinstance(array, np.ndarray):

        def read(starts: NDArray[np.int64]) -> Any:
            begins = (starts + offset).tolist()
            found = np.stack([np.asarray(array[b : b + span])[::rate] for b in begins])
            return found if columns is None else found[..., columns]

        return read
    if columns is not None and len(columns) == 1:
        array, columns = array[:, columns[0] : columns[0] + 1], None
    down, across = array.strides
    # Every window, none of which is a copy: they overlap where they stand.
    rows = max(len(array) - span + 1, 0)
    view = as_strided(array, (rows, steps, array.shape[1]), (down, down * rate, across), writeable=False)
    if columns is None:
        return lambda starts: view[starts + offset]
    return lambda starts: view[starts + offset][..., columns]


def joined(readers: Sequence[Reader], numbers: NDArray[np.int64], starts: NDArray[np.int64]) -> dict[str, Any]:
    """Windows of several series, in the order asked for."""
    found: dict[str, Any] = {"x": None, "known": None, "y": None}
    for k in np.unique(numbers).tolist():
        here = np.flatnonzero(numbers == k)
        for name, part in readers[k].read(starts[here]).items():
            if part is None:
                continue
            if found[name] is None:
                found[name] = np.empty((len(numbers), *part.shape[1:]), part.dtype)
            found[name][here] = part
    return found
