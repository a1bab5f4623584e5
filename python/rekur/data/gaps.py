"""Runs of rows without a gap: windows lie within one of them."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PART = 2**18  # rows looked at at a time

Runs = list[tuple[int, int]]


def whole_runs(arrays: Iterable[Any], time: Any, rows: int) -> Runs:
    """The runs [first, end) of rows that have no NaN in any array and follow each other in time without a jump.

    ``time`` (rows,) of numbers or datetimes, or None. A jump is a step that is further from the median of the first
    thousand than half of it: months are no jumps, nor is what floats round.
    """
    checked = [a for a in arrays if np.dtype(a.dtype).kind == "f"]
    step = None
    if time is not None:
        if len(time) != rows:
            raise ValueError(f"windows: time: expected {rows} entries, one a row, got {len(time)}")
        if rows > 1:
            head = np.diff(_signed(time[:1001]))
            step = np.sort(head)[len(head) // 2]
            if not step > step * 0:
                raise ValueError("windows: time must ascend")
    runs: Runs = []
    for begin in range(0, rows, _PART):
        end = min(begin + _PART, rows)
        broken = np.zeros(end - begin, bool)  # whether a row is missing
        for array in checked:
            missing = np.isnan(array[begin:end])
            broken |= missing.reshape(end - begin, -1).any(axis=1)
        starts = np.zeros(end - begin, bool)  # whether a row follows a jump
        if step is not None:
            first = max(begin - 1, 0)
            jumps = ~(2 * np.abs(np.diff(_signed(time[first:end])) - step) <= step)  # of NaN and NaT, too
            starts[len(starts) - len(jumps) :] = jumps
        _extend(runs, broken, starts, begin)
    return runs


def _signed(time: Any) -> NDArray[Any]:
    """Points in time whose differences may be of any sign."""
    found = np.asarray(time)
    if found.dtype.kind not in "iufmM":
        raise TypeError(f"windows: time: expected numbers or datetimes, got {found.dtype}")
    return found.astype(np.int64) if found.dtype.kind in "iu" else found


def _extend(runs: Runs, broken: NDArray[np.bool_], starts: NDArray[np.bool_], begin: int) -> None:
    """Add the runs of a part, whose first may go on with the last one."""
    whole = np.concatenate([[False], ~broken, [False]])
    edges = np.flatnonzero(whole[1:] != whole[:-1])
    for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        cuts = [first, *(np.flatnonzero(starts[first + 1 : end]) + first + 1).tolist(), end]
        for a, b in itertools.pairwise(cuts):
            if a == 0 and runs and runs[-1][1] == begin and not starts[0]:
                runs[-1] = runs[-1][0], begin + b
            else:
                runs.append((begin + a, begin + b))
