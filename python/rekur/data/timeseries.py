"""Keras's ``timeseries_dataset_from_array``."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from rekur._random import epoch_order
from rekur._validate import as_numeric, boolean, integer
from rekur.data.arranged import Arranged
from rekur.training.batch import is_stored, rows_of


class _Shown(np.ndarray[Any, Any]):
    """An array with the method that scripts call on TensorFlow's."""

    def numpy(self) -> NDArray[Any]:
        return np.asarray(self)


def _shown(nest: Any) -> Any:
    return tuple(map(_shown, nest)) if isinstance(nest, tuple) else nest.view(_Shown)


class TimeseriesDataset(Arranged):
    """What :func:`timeseries_dataset_from_array` gives: batches x or (x, y), made when they are read."""

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        stride: int,
        rate: int,
        batch_size: int | None,
        shuffle: bool,
        seed: int | None,
        begin: int,
        count: int,
    ) -> None:
        super().__init__(shuffle, seed)
        self._data, self._targets = data, targets
        self._length, self._stride, self._rate, self._begin = length, stride, rate, begin
        self._size, self._rows = batch_size, max(-(-count // stride), 0)
        self._order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._rows if self._size is None else -(-self._rows // self._size)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        size = 1 if self._size is None else self._size
        first = index % len(self) * size
        rows = np.arange(first, min(first + size, self._rows))
        starts = self._begin + (rows if self._order is None else self._order[rows]) * self._stride
        x = self._windows(starts)
        y = None if self._targets is None else rows_of(self._targets, starts)
        if self._size is None:
            return x[0] if y is None else (x[0], y[0])
        return x if y is None else (x, y)

    def __iter__(self) -> Iterator[Any]:
        for k in range(len(self)):
            yield _shown(self[k])

    def take(self, count: int) -> list[Any]:
        return [_shown(batch) for batch in super().take(count)]

    def _windows(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        data, span = self._data, (self._length - 1) * self._rate + 1
        if not isinstance(data, np.ndarray):
            return np.stack([np.asarray(data[s : s + span])[:: self._rate] for s in starts.tolist()])
        down, *rest = data.strides
        shape = (len(data) - span + 1, self._length, *data.shape[1:])
        view = as_strided(data, shape, (down, down * self._rate, *rest), writeable=False)
        return np.asarray(view[starts])

    def _arrange(self, key: tuple[int, int] | None) -> None:
        self._order = None if key is None else epoch_order(*key, self._rows)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> TimeseriesDataset:
    """Windows of a series as batches, with Keras's arguments and numbers; :func:`rekur.data.windows` does more.

    Parameters
    ----------
    data : array of shape (N, …)
        Row i is time step i. Memory maps and h5py's data sets are read as they are needed.
    targets : array of shape (N, …) or None
        ``targets[i]`` goes with the window that begins at row i.
    sequence_length, sequence_stride, sampling_rate : int
        Steps of a window; rows between the beginnings of two windows; rows between two steps.
    batch_size : int or None
        None: single windows.
    shuffle : bool
        Whether fit gets the windows in another order in each epoch.
    seed : int, optional
        Of the order; the model's by default.
    start_index, end_index : int, optional
        The rows that are read.
    format : {"tf", "grain"}
        Keras's; the data set is the same, rekur's own.

    Returns
    -------
    TimeseriesDataset
        For fit, evaluate and predict; iterating over it gives batches as arrays.

    Raises
    ------
    ValueError
        For numbers that do not fit the data.
    """
    rows = data if is_stored(data) else np.asarray(as_numeric(data, "timeseries_dataset_from_array: data"))
    goals = targets
    if targets is not None and not is_stored(targets):
        goals = np.asarray(as_numeric(targets, "timeseries_dataset_from_array: targets"))
    total = len(rows)
    length = integer(sequence_length, "sequence_length")
    stride, rate = integer(sequence_stride, "sequence_stride"), integer(sampling_rate, "sampling_rate")
    size = None if batch_size is None else integer(batch_size, "batch_size")
    if format not in ("tf", "grain"):
        raise ValueError(f'`format` should be either "tf" or "grain", got {format!r}')
    for name, value in (("sampling_rate", rate), ("sequence_stride", stride)):
        if value >= total:
            raise ValueError(f"{name} must be lower than the length of the data, {total}, got {value}")
    begin = 0 if start_index is None else integer(start_index, "start_index", 0)
    end = total if end_index is None else integer(end_index, "end_index")
    if begin >= total or (end_index is not None and (end >= total or end <= begin)):
        raise ValueError(
            f"expected 0 <= start_index < end_index < {total}, the length of the data, got {start_index} and "
            f"{end_index}"
        )
    count = end - begin - (length - 1) * rate
    if goals is not None:
        count = min(count, len(goals) - begin)
    if count < 1:
        raise ValueError(f"no window: {length} steps {rate} rows apart do not fit into {end - begin} rows")
    return TimeseriesDataset(rows, goals, length, stride, rate, size, boolean(shuffle, "shuffle"), seed, begin, count)
