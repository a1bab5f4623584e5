"""Sequences of many lengths in batches that waste little."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import as_numeric, boolean, integer, real, show
from rekur.data.arranged import Arranged
from rekur.training.batch import Batch

_POOL = 50  # batches whose rows are sorted together in a shuffled pass


class Buckets(Arranged):
    """What :func:`bucket` gives: batches of rows of nearly one length, with their lengths."""

    def __init__(
        self,
        rows: list[NDArray[Any]],
        y: Any,
        weights: NDArray[Any] | None,
        batch_size: int,
        value: float,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        super().__init__(shuffle, seed)
        self._rows, self._y, self._weights, self._size, self._value = rows, y, weights, batch_size, value
        self._lengths = np.array([len(row) for row in rows], np.int32)
        self._batches: list[NDArray[np.int64]] = []
        self._arrange(None)

    def __len__(self) -> int:
        return len(self._batches)

    def _arrange(self, key: tuple[int, int] | None) -> None:
        size, count = self._size, len(self._rows)
        if key is None:
            order = np.argsort(self._lengths, kind="stable")
            self._batches = [order[k : k + size] for k in range(0, count, size)]
            return
        draw = np.random.Generator(np.random.Philox(key=np.array(key, dtype=np.uint64)))
        mixed = draw.permutation(count)
        found = []
        for begin in range(0, count, size * _POOL):
            pool = mixed[begin : begin + size * _POOL]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            found += [pool[k : k + size] for k in range(0, len(pool), size)]
        self._batches = [found[k] for k in draw.permutation(len(found))]

    def __getitem__(self, index: int) -> Batch:
        rows = self._batches[index]
        lengths = self._lengths[rows]
        steps = max(int(lengths.max()), 1)
        x = _padded([self._rows[k] for k in rows], steps, self._value)
        y = self._y
        if isinstance(y, list):
            y = _padded([y[k] for k in rows], steps, 0)
        elif y is not None:
            y = y[rows]
        weights = None if self._weights is None else self._weights[rows]
        return Batch(x, y, weights, lengths)

    def places(self, batches: int) -> NDArray[np.int64] | None:
        if batches < len(self._batches):
            return None
        return np.concatenate(self._batches)

    @property
    def waste(self) -> float:
        """The share of the steps of all batches that is padding."""
        steps = sum(len(rows) * int(self._lengths[rows].max()) for rows in self._batches)
        return 1.0 - float(self._lengths.sum()) / steps if steps else 0.0


def _padded(rows: Sequence[NDArray[Any]], steps: int, value: float) -> NDArray[Any]:
    found = np.full((len(rows), steps, *rows[0].shape[1:]), value, dtype=rows[0].dtype)
    for k, row in enumerate(rows):
        found[k, : len(row)] = row
    return found


def _sequences(given: Any, what: str) -> list[NDArray[Any]]:
    """Arrays of one kind: whole numbers (T,) as ids, everything else (T, F)."""
    if not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
        raise TypeError(f"{what}: expected a list of sequences, got {given!r:.60}")
    rows = [np.asarray(as_numeric(row, f"{what} {k}")) for k, row in enumerate(given)]
    if not rows:
        raise ValueError(f"{what}: expected sequences, got none")
    kinds = {row.dtype.kind for row in rows if len(row)}
    floats = "f" in kinds or not kinds
    shape = next((row.shape[1:] for row in rows if len(row)), ())
    for k, row in enumerate(rows):
        if row.ndim == 0 or (len(row) and row.shape[1:] != shape):
            raise ValueError(f"{what} {k}: expected shape {show((None, *shape))}, got {show(row.shape)}")
    made = [np.asarray(row.reshape(len(row), *shape), np.float32 if floats else np.int32) for row in rows]
    return [row[:, None] for row in made] if floats and not shape else made


def bucket(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    *,
    value: float = 0.0,
    shuffle: bool = True,
    seed: int | None = None,
) -> Buckets:
    """Sequences of several lengths for fit, evaluate and predict, in batches of nearly one length.

    A batch is as long as its longest row, and rows go with their ``lengths``: padding is neither computed nor counted.
    In each epoch other rows meet: fifty batches' worth, drawn at random, are sorted by length and cut into batches,
    which come in random order. evaluate and predict read the rows sorted; predict gives them in the order of ``x``.

    Parameters
    ----------
    x : list of arrays
        Of shape (T, F), or (T,): ids where all are whole numbers, else one feature.
    y : array of shape (rows, …), or a list of arrays of shape (T, …), optional
        Targets of rows, or of their steps.
    sample_weight : array of shape (rows,), optional
    batch_size : int
    value : float
        What fills rows up.
    shuffle : bool
        False: every epoch has the order of evaluate.
    seed : int, optional
        Of the order, the model's by default.

    Raises
    ------
    ValueError, TypeError
        For what does not fit together.
    """
    rows = _sequences(x, "bucket: x")
    goals: Any = None
    if y is not None:
        by_step = isinstance(y, (list, tuple)) and len(y) == len(rows) and any(np.ndim(one) for one in y)
        by_step = by_step and all(np.ndim(one) and len(one) == len(row) for one, row in zip(y, rows, strict=True))
        if by_step:
            goals = [np.asarray(as_numeric(one, f"bucket: y {k}")) for k, one in enumerate(y)]
        else:
            goals = np.asarray(as_numeric(y, "bucket: y"))
            if goals.ndim == 0 or len(goals) != len(rows):
                raise ValueError(f"bucket: y: expected {len(rows)} rows as x has, got shape {show(goals.shape)}")
    weights = None
    if sample_weight is not None:
        weights = np.asarray(as_numeric(sample_weight, "bucket: sample_weight"))
        if weights.shape != (len(rows),):
            raise ValueError(f"bucket: sample_weight: expected shape ({len(rows)},), got {show(weights.shape)}")
    return Buckets(
        rows,
        goals,
        weights,
        integer(batch_size, "bucket: batch_size"),
        real(value, "bucket: value"),
        boolean(shuffle, "bucket: shuffle"),
        seed,
    )
