"""Long lines with as many points as can be seen, and with the extremes that they have."""

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray


def thin(x: NDArray[Any], y: NDArray[Any], most: int = 1600) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most ``most`` points of a line, with every extreme that would be seen.

    The line is cut into ``most // 2`` pieces of equal length; of each stay its smallest and its largest value, in
    their order, at their own places. Nothing is averaged: what is drawn are values of the line, and a spike of a
    single step stays as high as it is. A piece without any number leaves a gap.

    Parameters
    ----------
    x, y
        Of the same length (T,); ``y`` may hold NaN.
    most
        At least 4.
    """
    n = len(y)
    if n <= most:
        return x, y
    pieces = max(most // 2, 2)
    edges = np.linspace(0, n, pieces + 1).astype(np.int64)
    missing = np.isnan(y)
    low = np.where(missing, np.inf, y)
    high = np.where(missing, -np.inf, y)
    kept = np.empty(2 * pieces, np.int64)
    for i, (begin, end) in enumerate(itertools.pairwise(edges.tolist())):
        a = begin + int(np.argmin(low[begin:end]))
        b = begin + int(np.argmax(high[begin:end]))
        kept[2 * i], kept[2 * i + 1] = min(a, b), max(a, b)
    return x[kept], y[kept]


def thin_band(
    x: NDArray[Any], low: NDArray[Any], high: NDArray[Any], most: int = 800
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A band of at most ``most`` points that covers all of the band: its lowest low and its highest high by piece."""
    n = len(x)
    if n <= most:
        return x, low, high
    begins = np.linspace(0, n, most + 1).astype(np.int64)[:-1]
    return x[begins], np.fmin.reduceat(low, begins), np.fmax.reduceat(high, begins)


def runs(mask: NDArray[Any]) -> list[tuple[int, int]]:
    """The runs of True in a mask (T,), as (first, one past the last)."""
    padded = np.concatenate([[False], np.asarray(mask, bool), [False]]).astype(np.int8)
    change = np.diff(padded)
    return list(zip(np.flatnonzero(change == 1).tolist(), np.flatnonzero(change == -1).tolist(), strict=True))


def merge_near(spans: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Spans in their order, those joined that lie at most ``gap`` apart: what no eye could hold apart."""
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        if joined and begin - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
