"""Windows of long series, read where they stand."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import as_numeric, check_data, did_you_mean, integer, real
from rekur.data.gaps import Runs, whole_runs
from rekur.data.statistics import Moments
from rekur.data.window_reader import Reader, Series, WindowShape, joined
from rekur.training.batch import Batch, Index, as_array, is_stored
from rekur.training.sources import RowSource

if TYPE_CHECKING:
    from rekur.layers import Normalization

_PART = 2**16  # rows looked at at a time


class WindowSet(RowSource):
    """What :func:`windows` gives: as many rows as there are windows, none of which is made before it is read.

    ``len`` of it is the number of windows; ``take(index)`` reads some; fit, evaluate and predict read all. ``starts``
    is the first row of each window, ``series`` which series it is of.
    """

    def __init__(self, series: Sequence[Series], shape: WindowShape) -> None:
        self._series, self._shape = list(series), shape
        numbers: list[int] = []
        firsts: list[int] = []
        counts: list[int] = []
        for k, one in enumerate(self._series):
            for run in one.runs:
                first, end = max(run[0], one.begin), min(run[1], one.end)
                if end - first >= shape.span:
                    numbers.append(k)
                    firsts.append(first)
                    counts.append((end - first - shape.span) // shape.stride + 1)
        self._numbers, self._firsts = np.array(numbers, np.int64), np.array(firsts, np.int64)
        self._ends = np.cumsum(np.array(counts, np.int64))
        self._count = int(self._ends[-1]) if len(self._ends) else 0
        self._readers = [Reader(one, shape) for one in self._series]
        self.in_memory = all(reader.in_memory for reader in self._readers)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        shape = self._shape
        return (
            f"<WindowSet: {len(self)} windows of {shape.length} + {shape.horizon} steps of {len(self._series)} series>"
        )

    def _places(self, index: Index) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Series and first row of some windows."""
        wanted = np.arange(*index.indices(self._count)) if isinstance(index, slice) else np.asarray(index, np.int64)
        if (wanted.view(np.uint64) >= self._count).any():  # a negative number is a large one there
            raise IndexError(f"windows {wanted.min()} to {wanted.max()} of {self._count}")
        if len(self._ends) == 1:
            return self._numbers[:1].repeat(len(wanted)), self._firsts[0] + wanted * self._shape.stride
        run = np.searchsorted(self._ends, wanted, side="right")
        before = np.where(run > 0, self._ends[run - 1], 0)
        return self._numbers[run], self._firsts[run] + (wanted - before) * self._shape.stride

    @property
    def starts(self) -> NDArray[np.int64]:
        """The row at which each window begins, (windows,)."""
        return self._places(slice(0, len(self)))[1]

    @property
    def series(self) -> NDArray[np.int64]:
        """The series that each window is of, (windows,)."""
        return self._places(slice(0, len(self)))[0]

    def take(self, index: Index) -> Batch:
        """Some windows.

        Returns
        -------
        Batch
            x (B, length, F), or a list of it and the known covariates (B, horizon, C) and the static features (B, S);
            y (B, horizon), with several targets (B, horizon, K), of one step (B, K); without a horizon None.
        """
        numbers, starts = self._places(index)
        alone = len(self._series) == 1
        read = self._readers[0].read(starts) if alone else joined(self._readers, numbers, starts)
        inputs = [part for part in (read["x"], read["known"]) if part is not None]
        if self._series[0].static is not None:
            inputs.append(np.stack([one.static for one in self._series])[numbers])  # type: ignore[misc]
        y = read["y"]
        if y is not None and 1 in y.shape[1:]:
            y = y[:, :, 0] if y.shape[2] == 1 else y[:, 0]
        return Batch(inputs[0] if len(inputs) == 1 else inputs, y)

    def split(self, *shares: float, at: Any = None) -> tuple["WindowSet", ...]:
        """Parts that follow each other in time: training, validation, test.

        A window belongs to the part that all its rows lie in, targets included. Those that a border cuts are left out,
        so no part holds a number of another.

        Parameters
        ----------
        shares : float
            Of the rows of every series, in order. Where their sum is below 1, the rest is one more part.
        at : list, instead of shares
            The borders: points in time where ``time`` was given, numbers of rows otherwise. The row at a border belongs
            to the later part.

        Raises
        ------
        ValueError
            If a part has no window.
        """
        if (at is None) == (not shares):
            raise TypeError("split: expected shares, such as split(0.7, 0.15), or borders, split(at=[…])")
        parts: list[list[Series]] = []
        for one in self._series:
            borders = _borders(one, [real(s, "split", 0, 1) for s in shares], at)
            pieces = [Series(**{**vars(one), "begin": a, "end": b}) for a, b in itertools.pairwise(borders)]
            parts.append(pieces)
        found = tuple(WindowSet([pieces[k] for pieces in parts], self._shape) for k in range(len(parts[0])))
        for k, part in enumerate(found):
            if not len(part):
                raise ValueError(
                    f"split: part {k} has no window: {sum(map(len, part._series))} rows, and a window takes "
                    f"{self._shape.span} in a row"
                )
        return found

    def normalization(self, **options: Any) -> "Normalization":
        """A layer that brings the features of x to mean 0 and deviation 1, by the rows of this part alone."""
        from rekur.layers import Normalization

        moments = Moments()
        for one, reader in zip(self._series, self._readers, strict=True):
            for begin in range(one.begin, one.end, _PART):
                moments.add(reader.rows(begin, min(begin + _PART, one.end), "x"))
        return Normalization(mean=moments.mean, variance=moments.variance, **options)

    def denormalization(self, **options: Any) -> "Normalization":
        """A layer that takes what has mean 0 and deviation 1 to the targets' scale: behind the last one of a model.

        With one target it works on outputs (B, horizon), with K on (B, horizon, K), or (B, K) of one step.
        """
        from rekur.layers import Normalization

        if not self._shape.horizon:
            raise ValueError("denormalization: windows without a horizon have no targets")
        moments = Moments()
        for one, reader in zip(self._series, self._readers, strict=True):
            for begin in range(one.begin, one.end, _PART):
                moments.add(reader.rows(begin, min(begin + _PART, one.end), "y"))
        if len(moments.mean) == 1:
            return Normalization(
                axis=None, mean=float(moments.mean[0]), variance=float(moments.variance[0]), invert=True, **options
            )
        return Normalization(mean=moments.mean, variance=moments.variance, invert=True, **options)


def _borders(one: Series, shares: list[float], at: Any) -> list[int]:
    if at is None:
        total = sum(shares)
        if total > 1 + 1e-9:
            raise ValueError(f"split: expected shares with a sum of at most 1, got {total:g}")
        edges = np.cumsum([0.0, *shares] if total > 1 - 1e-9 else [0.0, *shares, 1 - total])
        return [one.begin + round(edge * len(one)) for edge in edges.tolist()]
    given = list(at) if isinstance(at, (list, tuple, np.ndarray)) else [at]
    if one.time is None:
        rows = [integer(row, "split: at", 0) for row in given]
    else:
        time = np.asarray(one.time)
        rows = np.searchsorted(time, np.asarray(given, dtype=time.dtype)).tolist()
    if sorted(rows) != rows:
        raise ValueError(f"split: at: expected borders in ascending order, got {given}")
    return [one.begin, *(min(max(row, one.begin), one.end) for row in rows), one.end]


def windows(
    series: Any,
    length: int,
    horizon: int = 1,
    stride: int = 1,
    targets: Any = None,
    covariates: Any = None,
    static: Any = None,
    *,
    sampling_rate: int = 1,
    time: Any = None,
    gaps: str = "skip",
) -> WindowSet:
    """All windows of one or many long series, to train on and to predict: ``model.fit(windows(…))``.

    Nothing is copied but the windows of the batch at hand. Series of any size serve, memory maps and h5py's data sets
    too.

    Parameters
    ----------
    series : array of shape (N,) or (N, F), or a frame of pandas or polars; or a list of them
        Rows in the order of time. Series of a list may have different lengths.
    length : int
        Steps of x.
    horizon : int
        Steps of y, which come next: (B, horizon), with K targets (B, horizon, K), of one step (B, K). 0: there is no y.
    stride : int
        Rows between the beginnings of two windows.
    targets : columns, or arrays of shape (N,) or (N, K), optional
        What y holds: columns of the series by number or name, or arrays of as many rows as the series have, one a
        series. By default all columns that x has.
    covariates : columns, or arrays of shape (N,) or (N, C), optional
        What is known in advance: over the horizon it is a second input of the model, (B, horizon, C). Columns that are
        named here are not left out of x.
    static : array of shape (S,), or (series, S), optional
        Features of a series as a whole: one more input, (B, S).
    sampling_rate : int
        Rows between two steps of a window.
    time : array of shape (N,), or a list of them, optional
        Datetimes or numbers. Windows that lie across a jump, a step that differs from the usual one by more than half
        of it, are left out. Frames with an index of datetimes have theirs.
    gaps : {"skip", "keep"}
        Whether windows that touch a NaN are left out.

    Returns
    -------
    WindowSet

    Raises
    ------
    ValueError, TypeError
        For what does not fit together, and if there is no window.
    """
    if gaps not in ("skip", "keep"):
        raise ValueError(f"windows: gaps must be 'skip' or 'keep', got {gaps!r}{did_you_mean(gaps, ('skip', 'keep'))}")
    several = isinstance(series, (list, tuple)) and bool(series) and np.ndim(series[0]) > 0
    given = list(series) if several else [series]
    names = [str(n) for n in getattr(given[0], "columns", [])]
    arrays = [_rows(one, f"windows: series{f' {k}' if several else ''}") for k, one in enumerate(given)]
    features = arrays[0].shape[1]
    for k, array in enumerate(arrays):
        if array.shape[1] != features:
            raise ValueError(f"windows: series {k}: expected {features} columns as series 0 has, got {array.shape[1]}")
    target_columns, target_arrays = _columns_or_arrays(targets, arrays, names, several, "targets")
    known_columns, known_arrays = _columns_or_arrays(covariates, arrays, names, several, "covariates")
    shape = WindowShape(
        integer(length, "windows: length"),
        integer(horizon, "windows: horizon", 0),
        integer(stride, "windows: stride"),
        integer(sampling_rate, "windows: sampling_rate"),
        None,
        target_columns,
        known_columns,
    )
    times = _times(time, given, several)
    features_of = _static(static, len(arrays))
    made = [
        Series(array, t, c, s, clock, _runs_of((array, t, c), clock, len(array), gaps), 0, len(array))
        for array, t, c, s, clock in zip(arrays, target_arrays, known_arrays, features_of, times, strict=True)
    ]
    found = WindowSet(made, shape)
    if not len(found):
        raise ValueError(
            f"windows: no window: one takes {shape.span} rows in a row"
            f"{' without a gap' if gaps == 'skip' else ''}, and the longest series has {max(map(len, arrays))}"
        )
    return found


def _runs_of(arrays: Sequence[Any], time: Any, rows: int, gaps: str) -> Runs:
    return whole_runs([a for a in arrays if a is not None and gaps == "skip"], time, rows)


def _rows(given: Any, what: str) -> Any:
    """A series as (N, F): a view, or what reads it."""
    if is_stored(given) and not isinstance(given, np.ndarray):
        if len(given.shape) != 2:
            raise ValueError(f"{what}: a stored array must have shape (N, F), got {tuple(given.shape)}")
        return given
    if isinstance(given, np.ma.MaskedArray):
        check_data(given, what)
    array = as_array(given)
    if not isinstance(array, np.ndarray):
        array = as_numeric(given, what)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: expected numbers of shape (N,) or (N, F), got {array.dtype} of shape {array.shape}")
    return array


def _columns_or_arrays(
    given: Any, arrays: list[Any], names: list[str], several: bool, what: str
) -> tuple[list[int] | None, list[Any]]:
    """Columns of the series, or arrays of their own."""
    nothing: list[Any] = [None] * len(arrays)
    if given is None:
        return None, nothing
    if isinstance(given, (str, int, np.integer)):
        given = [given]
    if isinstance(given, (list, tuple)) and all(isinstance(c, (str, int, np.integer)) for c in given):
        columns = []
        for column in given:
            if isinstance(column, str):
                if column not in names:
                    raise ValueError(f"windows: {what}: no column {column!r}{did_you_mean(column, names)}")
                columns.append(names.index(column))
            elif not -arrays[0].shape[1] <= column < arrays[0].shape[1]:
                raise ValueError(f"windows: {what}: no column {column} of {arrays[0].shape[1]}")
            else:
                columns.append(int(column) % arrays[0].shape[1])
        return columns, nothing
    own = [_rows(one, f"windows: {what}") for one in (given if several else [given])]
    if len(own) != len(arrays) or any(len(o) != len(a) for o, a in zip(own, arrays, strict=False)):
        raise ValueError(
            f"windows: {what}: expected as many rows as the series have, {[len(a) for a in arrays]}, got "
            f"{[len(o) for o in own]}"
        )
    return None, own


def _times(time: Any, given: list[Any], several: bool) -> list[Any]:
    if time is not None:
        listed = list(time) if several else [time]
        if len(listed) != len(given):
            raise ValueError(f"windows: time: expected {len(given)} arrays, one a series, got {len(listed)}")
        for one in listed:
            if isinstance(one, np.ma.MaskedArray):
                check_data(one, "windows: time")
        return [np.asarray(one) for one in listed]
    clocks = [getattr(one, "index", None) for one in given]
    return [
        clock.to_numpy() if getattr(getattr(clock, "dtype", None), "kind", "") == "M" else None  # type: ignore[union-attr]
        for clock in clocks
    ]


def _static(static: Any, count: int) -> list[Any]:
    if static is None:
        return [None] * count
    array = np.asarray(as_numeric(static, "windows: static"))
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != count:
        raise ValueError(f"windows: static: expected shape ({count}, S), features of each series, got {array.shape}")
    return list(array)
