"""Windows that stand for all windows of the training data, and which of these nothing else is like."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_WINDOWS = 6000
_ROUNDS = 8
_BLOCK = 1024


def windows_of(pieces: list[Floats], length: int, rng: np.random.Generator, most: int = _MOST_WINDOWS) -> Floats:
    """Windows (N, length) without missing values, of one channel's series; of many, some.

    They are drawn, not taken every so many steps: that might always meet the same places of a period.
    """
    long_enough = [piece for piece in pieces if len(piece) >= length]
    views = [np.lib.stride_tricks.sliding_window_view(piece, length) for piece in long_enough]
    # A window is whole where no value of it is missing.
    counts = [np.convolve(np.isnan(piece), np.ones(length), "valid") for piece in long_enough]
    places = [(number, at) for number, count in enumerate(counts) for at in np.flatnonzero(count < 0.5)]
    if not places:
        return np.zeros((0, length))
    if len(places) > most:
        places = [places[k] for k in np.sort(rng.choice(len(places), most, replace=False))]
    return np.stack([views[number][at] for number, at in places])


def prototypes(windows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """At most ``count`` windows: centres of k-means, begun far apart (k-means++; Arthur and Vassilvitskii 2007).

    Centres, not windows themselves: what happened once has little part in them.
    """
    if len(windows) <= count:
        return np.array(windows, np.float64)
    data = np.ascontiguousarray(windows, np.float32)
    centres = np.empty((count, data.shape[1]), np.float32)
    centres[0] = data[rng.integers(len(data))]
    nearest = _distances(data, centres[:1])[:, 0]
    for k in range(1, count):
        total = float(nearest.sum())
        if total <= 0:
            return np.asarray(centres[:k], np.float64)
        at = int(np.searchsorted(np.cumsum(nearest, dtype=np.float64), rng.random() * total))
        centres[k] = data[min(at, len(data) - 1)]
        nearest = np.minimum(nearest, _distances(data, centres[k : k + 1])[:, 0])
    for _ in range(_ROUNDS):
        owner = np.concatenate(
            [_distances(data[a : a + _BLOCK], centres).argmin(axis=1) for a in range(0, len(data), _BLOCK)]
        )
        members = np.bincount(owner, minlength=count)
        sums = np.zeros(centres.shape, np.float64)
        np.add.at(sums, owner, data)
        kept = members > 0
        centres[kept] = (sums[kept] / members[kept, None]).astype(np.float32)
    return np.asarray(centres, np.float64)


def _distances(data: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    cross: Any = data @ centres.T
    squares = (data**2).sum(axis=1)[:, None] - 2 * cross + (centres**2).sum(axis=1)
    return np.asarray(np.maximum(squares, 0), np.float32)
