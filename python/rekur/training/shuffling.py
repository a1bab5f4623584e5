"""A stream of batches shuffled in a buffer of rows."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from rekur._validate import show
from rekur.training.batch import Batch


def _some(batch: Batch, index: Any) -> Batch:
    return batch.mapped(lambda leaf: leaf[index])


class Buffered:
    """Batches of rows that are drawn from a buffer, which what comes next fills up.

    Parameters
    ----------
    batches : iterator of Batch
        Of rows of one shape.
    rows : int
        That the buffer holds.
    seed, number : int
        The order is a function of the two, the pass is ``number``.
    """

    def __init__(self, batches: Iterator[Batch], rows: int, seed: int, number: int) -> None:
        self._batches, self._rows = batches, rows
        self._draw = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
        self._pool: Batch | None = None
        self._filled = 0
        self._ready: deque[Batch] = deque()
        self._size = 0  # of a batch
        self._ended = False

    def __iter__(self) -> "Buffered":
        return self

    def __next__(self) -> Batch:
        while not self._ready and not self._ended:
            try:
                batch = next(self._batches).mapped(np.asarray)
            except StopIteration:
                self._ended = True
                self._ready.extend(self._rest(self._draw.permutation(self._filled)))
                self._filled = 0
                break
            count = len(batch.leaves()[0])
            self._size = max(self._size, count)
            for begin in range(0, count, self._rows):
                self._put(_some(batch, slice(begin, begin + self._rows)))
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def _put(self, batch: Batch) -> None:
        leaves = batch.leaves()
        count = len(leaves[0])
        if self._pool is None:
            self._pool = batch.mapped(lambda leaf: np.empty((self._rows, *leaf.shape[1:]), leaf.dtype))
        pool = self._pool.leaves()
        for kept, leaf in zip(pool, leaves, strict=True):
            if kept.shape[1:] != leaf.shape[1:] or len(leaf) != count:
                raise ValueError(
                    f"shuffle='buffer': expected rows of one shape, {show(kept.shape[1:])}, got an array of shape "
                    f"{show(leaf.shape)} in a batch of {count} rows"
                )
        fresh = min(count, self._rows - self._filled)
        for kept, leaf in zip(pool, leaves, strict=True):
            kept[self._filled : self._filled + fresh] = leaf[:fresh]
        self._filled += fresh
        if fresh == count:
            return
        slots = self._draw.choice(self._rows, count - fresh, replace=False)
        self._ready.append(_some(self._pool, slots))
        for kept, leaf in zip(pool, leaves, strict=True):
            kept[slots] = leaf[fresh:]

    def _rest(self, order: Any) -> list[Batch]:
        pool = self._pool
        if pool is None:
            return []
        size = max(self._size, 1)
        parts = [order[k : k + size] for k in range(0, len(order), size)]
        return [_some(pool, part) for part in parts]

    def holds(self) -> bool:
        """Whether rows are here that were not given out."""
        return bool(self._ready) or self._filled > 0

    def left(self) -> list[Batch]:
        """The rows that were read and not given out."""
        left = [*self._ready, *self._rest(np.arange(self._filled))]
        self._ready.clear()
        self._filled = 0
        return left
