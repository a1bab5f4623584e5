"""The order of very many rows, computed as it goes: a list of them would take more memory than the rows."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 6
_BLOCK = 8192


def _mixed(values: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Numbers that look random, by the finaliser of splitmix64."""
    values = values + key
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed


class Permutation:
    """A permutation of 0 … count − 1, a function of two numbers: a Feistel network whose halves have one width.

    Numbers that it maps past the end go through it again, until they are inside.
    """

    def __init__(self, seed: int, number: int, count: int) -> None:
        key = np.array([seed, number], dtype=np.uint64)
        self._keys = np.random.Generator(np.random.Philox(key=key)).integers(0, 2**63, _ROUNDS).astype(np.uint64)
        self._half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
        self._count = np.uint64(count)

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What stands at some places."""
        values = self._through(places.astype(np.uint64))
        while len(outside := np.flatnonzero(values >= self._count)):
            values[outside] = self._through(values[outside])
        return values.astype(np.int64)

    def _through(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        mask = (np.uint64(1) << self._half) - np.uint64(1)
        left, right = values >> self._half, values & mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right, key) & mask)
        joined: NDArray[np.uint64] = (left << self._half) | right
        return joined


def long_order(seed: int, number: int, count: int, size: int) -> Iterator[NDArray[np.int64]]:
    """The rows of each batch of a pass."""
    permutation = Permutation(seed, number, count)
    block = -(-_BLOCK // size) * size
    for begin in range(0, count, block):
        rows = permutation(np.arange(begin, min(begin + block, count)))
        for k in range(0, len(rows), size):
            yield rows[k : k + size]
