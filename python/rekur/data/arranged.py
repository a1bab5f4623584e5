"""Batches read by their numbers, whose order is a function of a seed and the number of the pass."""

import copy
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer
from rekur.training.pydataset import PyDataset


class Arranged(PyDataset):
    """A data set whose batches are arranged anew for each pass: fit says which pass it is.

    Parameters
    ----------
    shuffle : bool
        Whether fit gets another order in each epoch. evaluate, predict and loops of one's own have one order.
    seed : int, optional
        Of the orders; the model's by default.
    """

    def __init__(self, shuffle: bool, seed: int | None) -> None:
        super().__init__()
        self._shuffles = shuffle
        self._seed = None if seed is None else integer(seed, "seed", 0)

    def begin_pass(self, seed: int, number: int, shuffle: bool) -> "Arranged":
        """The data set as a pass reads it. This one stays as it is: others may read it meanwhile."""
        arranged = copy.copy(self)
        key = (seed if self._seed is None else self._seed, number) if shuffle and self._shuffles else None
        arranged._arrange(key)
        return arranged

    @abstractmethod
    def _arrange(self, key: tuple[int, int] | None) -> None:
        """Put the batches in the order of a seed and a pass; None: in their own."""

    def places(self, batches: int) -> NDArray[np.int64] | None:
        """The rows that the first batches hold, where they are not 0, 1, 2, …"""
        return None

    def take(self, count: int) -> "list[Any]":
        """The first batches."""
        return [self[k] for k in range(min(integer(count, "take", 0), len(self)))]
