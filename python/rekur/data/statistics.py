"""Means and variances of features, gathered part by part."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Moments:
    """Mean and variance of each feature, the last axis, over all parts, in float64; NaN are left out.

    Parts are joined by the differences of their means (Chan, Golub and LeVeque, 1979), so that numbers far from 0 lose
    no digits.
    """

    def __init__(self) -> None:
        self._count: NDArray[np.float64] | None = None
        self._mean = self._squares = np.zeros(0)

    def add(self, part: NDArray[Any]) -> None:
        """Numbers of shape (…, F)."""
        rows = np.asarray(part, np.float64).reshape(-1, part.shape[-1])
        there = ~np.isnan(rows)
        count = there.sum(0).astype(np.float64)
        safe = np.maximum(count, 1)
        mean = np.where(there, rows, 0).sum(0) / safe
        squares = np.where(there, rows - mean, 0)
        squares = (squares * squares).sum(0)
        if self._count is None:
            self._count, self._mean, self._squares = count, mean, squares
            return
        if len(count) != len(self._count):
            raise ValueError(f"expected {len(self._count)} features in every part, got {len(count)}")
        total = self._count + count
        apart = mean - self._mean
        self._mean = self._mean + apart * count / np.maximum(total, 1)
        self._squares = self._squares + squares + apart * apart * self._count * count / np.maximum(total, 1)
        self._count = total

    def has_all(self) -> bool:
        """Whether every feature had a number."""
        return self._count is not None and bool((self._count > 0).all())

    @property
    def mean(self) -> NDArray[np.float64]:
        return self._mean

    @property
    def variance(self) -> NDArray[np.float64]:
        assert self._count is not None
        variance: NDArray[np.float64] = self._squares / self._count
        return variance
