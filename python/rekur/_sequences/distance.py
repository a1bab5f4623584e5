"""The distance between sequences of labels or symbols."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._validate import check_mask


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> "NDArray[np.int64]":
    """How many elements must be put in, taken out or replaced to make a sequence of another. Levenshtein, 1966.

    Parameters
    ----------
    a, b : sequences of as many sequences
        Texts, whose elements are letters, or lists, tuples, arrays or tensors of anything that can be compared and
        hashed.

    Returns
    -------
    ndarray of int64, shape (N,)
        One of each pair.

    Raises
    ------
    TypeError
        For what is no list of sequences, and elements that cannot be hashed.
    ValueError
        For more of one than of the other, and masked arrays that hide something.
    """
    first, second = _rows(a, "a"), _rows(b, "b")
    if len(first) != len(second):
        raise ValueError(f"edit_distance: expected as many of both, got {len(first)} and {len(second)}")
    ids: dict[Any, int] = {}

    def flat(rows: list[list[Any]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        try:
            labels = [ids.setdefault(item, len(ids)) for row in rows for item in row]
        except TypeError:
            raise TypeError(
                "edit_distance: expected sequences of what can be compared and hashed, such as letters, words and "
                "labels, got elements that cannot"
            ) from None
        return np.array(labels, np.int32), np.array([len(row) for row in rows], np.int32)

    return _core.edit_distances(*flat(first), *flat(second))


def _rows(given: Any, name: str) -> list[list[Any]]:
    if isinstance(given, str):
        raise TypeError("edit_distance: expected lists of sequences, got a text: put it into a list")
    if not isinstance(given, Iterable) or isinstance(given, (bytes, Mapping)):
        raise TypeError(f"edit_distance: {name}: expected a list of sequences, got {given!r:.60}")
    check_mask(given, f"edit_distance: {name}")
    rows = []
    for number, row in enumerate(given):
        if not isinstance(row, Iterable) or isinstance(row, Mapping):
            raise TypeError(f"edit_distance: {name}: expected a list of sequences, got {row!r:.60} at {number}")
        check_mask(row, f"edit_distance: {name}")
        rows.append(elements(row))
    return rows


def elements(row: Any) -> list[Any]:
    """Of a sequence, an array or a tensor, whose own numbers are equal to nothing but themselves."""
    found = list(row.tolist() if hasattr(row, "tolist") else row)
    return [item.item() for item in found] if found and hasattr(found[0], "detach") else found
