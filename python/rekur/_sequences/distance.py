"""The distance between sequences of labels or symbols."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> "NDArray[np.int64]":
    """How many elements must be put in, taken out or replaced to make a sequence of another. Levenshtein, 1966.

    Parameters
    ----------
    a, b : sequences of as many sequences
        Texts, whose elements are letters, or lists, tuples or arrays of anything that can be compared and hashed.

    Returns
    -------
    ndarray of int64, shape (N,)
        One of each pair.
    """
    if isinstance(a, str) or isinstance(b, str):
        raise TypeError("edit_distance: expected lists of sequences, got a text: put it into a list")
    first, second = [list(row) for row in a], [list(row) for row in b]
    if len(first) != len(second):
        raise ValueError(f"edit_distance: expected as many of both, got {len(first)} and {len(second)}")
    ids: dict[Any, int] = {}

    def flat(rows: list[list[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        labels = [ids.setdefault(item, len(ids)) for row in rows for item in row]
        return np.array(labels, np.int32), np.array([len(row) for row in rows], np.int32)

    return _core.edit_distances(*flat(first), *flat(second))
