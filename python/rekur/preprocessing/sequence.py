"""Keras 2's place of ``pad_sequences``, and its ``TimeseriesGenerator``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._random import epoch_order
from rekur._validate import boolean, integer
from rekur.data.arranged import Arranged
from rekur.training.batch import is_stored, rows_of
from rekur.utils import pad_sequences

__all__ = ["TimeseriesGenerator", "pad_sequences"]


class TimeseriesGenerator(Arranged):
    """Batches of windows with Keras 2's arguments and numbers; :func:`rekur.data.windows` does more.

    Parameters
    ----------
    data, targets : array of shape (N, …)
        ``targets[i]`` goes with the window that ends before row i.
    length : int
        Rows of a window.
    sampling_rate, stride : int
        Rows between two steps of a window, and between two windows.
    start_index, end_index : int
        The first row, and the last one that is a target.
    shuffle : bool
        Whether fit gets the windows in another order in each epoch. (Keras draws rows at random, some twice.)
    reverse : bool
        Whether steps come in reverse order.
    batch_size : int
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ) -> None:
        super().__init__(boolean(shuffle, "TimeseriesGenerator: shuffle"), None)
        if len(data) != len(targets):
            raise ValueError(f"TimeseriesGenerator: data has {len(data)} rows and targets {len(targets)}")
        self.data = data if is_stored(data) else np.asarray(data)
        self.targets = targets if is_stored(targets) else np.asarray(targets)
        self.length = integer(length, "TimeseriesGenerator: length")
        self.sampling_rate = integer(sampling_rate, "TimeseriesGenerator: sampling_rate")
        self.stride = integer(stride, "TimeseriesGenerator: stride")
        self.start_index = integer(start_index, "TimeseriesGenerator: start_index", 0) + self.length
        last = len(data) - 1 if end_index is None else integer(end_index, "TimeseriesGenerator: end_index", 0)
        self.end_index = last
        self.reverse = boolean(reverse, "TimeseriesGenerator: reverse")
        self.batch_size = integer(batch_size, "TimeseriesGenerator: batch_size")
        if not self.start_index <= last < len(data):
            raise ValueError(
                f"TimeseriesGenerator: expected start_index + length <= end_index < {len(data)}, the rows of the data, "
                f"got {self.start_index} and {last}"
            )
        self._order: NDArray[np.int64] | None = None

    @property
    def _count(self) -> int:
        return (self.end_index - self.start_index) // self.stride + 1

    def __len__(self) -> int:
        return -(-self._count // self.batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index % len(self) * self.batch_size
        numbers = np.arange(first, min(first + self.batch_size, self._count))
        rows = self.start_index + (numbers if self._order is None else self._order[numbers]) * self.stride
        x = np.stack([np.asarray(self.data[r - self.length : r])[:: self.sampling_rate] for r in rows.tolist()])
        return x[:, ::-1] if self.reverse else x, rows_of(self.targets, rows)

    def _arrange(self, key: tuple[int, int] | None) -> None:
        self._order = None if key is None else epoch_order(*key, self._count)
