"""Quantiles of Student's t distribution for any degrees of freedom above 2.

At a level p they are a smooth function of x = 1/ν from 0 (the normal distribution) to ½, and so a polynomial of x
serves, found once a level at Chebyshev's nodes from the distribution function.
"""

import functools
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_DEGREE = 14


def quantiles(freedom: Doubles, levels: Sequence[float]) -> Doubles:
    """Quantiles (…, Q) of the standard t distribution with ``freedom`` (…,) degrees of freedom, from 2 on."""
    x = 1.0 / np.maximum(np.asarray(freedom, np.float64), 2.0)
    found = [np.polynomial.chebyshev.chebval(4.0 * x - 1.0, coefficients(float(q))) for q in levels]
    return np.stack(found, axis=-1)


@functools.lru_cache(maxsize=512)
def coefficients(level: float) -> tuple[float, ...]:
    """Of Chebyshev polynomials of 4/ν − 1, whose sum is the quantile at ``level``."""
    if level == 0.5:
        return (0.0,)
    count = _DEGREE + 1
    nodes = np.cos((np.arange(count) + 0.5) * np.pi / count)
    tail = min(level, 1.0 - level)
    found = np.polynomial.chebyshev.chebfit(nodes, _upper_quantiles(tail, 4.0 / (nodes + 1.0)), _DEGREE)
    return tuple((found if level > 0.5 else -found).tolist())


def _upper_quantiles(tail: float, freedom: Doubles) -> Doubles:
    """t with P(T > t) = ``tail`` < ½, by bisection of the distribution function."""
    high = np.full(len(freedom), 2.0 * abs(NormalDist().inv_cdf(tail)) + 2.0)
    while (above := _upper_tail(high, freedom) > tail).any():
        high = np.where(above, 2.0 * high, high)
    low = np.zeros_like(high)
    for _ in range(60):
        middle = 0.5 * (low + high)
        above = _upper_tail(middle, freedom) > tail
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)


def _upper_tail(t: Doubles, freedom: Doubles) -> Doubles:
    """P(T > t), t ≥ 0: with t = √ν tan θ the density is proportional to cos^(ν−1) θ, so it is a ratio of integrals."""
    # Where ν is large, everything lies near θ = 0: the density is nothing beyond 12 of its deviations.
    end = np.minimum(0.5 * np.pi, 12.0 / np.sqrt(freedom - 1.0))
    angle = np.minimum(np.arctan(t / np.sqrt(freedom)), end)

    def integral(a: Doubles, b: Doubles) -> Doubles:
        at = 0.5 * (b - a)[:, None] * _NODES + 0.5 * (a + b)[:, None]
        return np.asarray(0.5 * (b - a) * (_WEIGHTS * np.cos(at) ** (freedom[:, None] - 1.0)).sum(axis=1))

    return 0.5 * integral(angle, end) / integral(np.zeros_like(end), end)
