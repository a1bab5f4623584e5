"""Conformal calibration: bands that hold as often as they say, from forecasts of windows held back.

Of every step ahead and pair of mirrored quantiles, such as 0.1 and 0.9, the band is made wider (narrower) by the
number that would have made it hold for the share of held-back windows that it promises: conformalised quantile
regression, Romano, Patterson and Candès, NeurIPS 2019, arXiv:1905.03222. Where windows of a series overlap and follow
one another in time their errors are not exchangeable, so the promise is an approximate one; it is exact where they are.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

__all__ = ["conformal_quantile", "offsets"]

_FEW = 25  # scores below which steps ahead beside one another share theirs


def conformal_quantile(scores: NDArray[np.floating], level: float) -> float:
    """The smallest number that at least ⌈(n + 1) · level⌉ of n scores do not exceed; the largest score if n is small.

    Parameters
    ----------
    scores : ndarray of shape (n,)
        NaN are left out; none left: 0.
    level : float between 0 and 1
    """
    known = np.sort(np.asarray(scores, np.float64)[np.isfinite(scores)])
    if not len(known):
        return 0.0
    rank = int(np.ceil((len(known) + 1) * level - 1e-9))
    return float(known[min(max(rank, 1), len(known)) - 1])


def pairs(quantiles: Sequence[float]) -> tuple[list[tuple[int, int]], list[int]]:
    """Places of quantiles that mirror each other, (lower, upper), and those of quantiles that none mirrors."""
    found, alone = [], []
    for place, q in enumerate(quantiles):
        mirrored = [other for other, p in enumerate(quantiles) if abs(p + q - 1.0) < 1e-9]
        if q == 0.5:
            continue
        if not mirrored:
            alone.append(place)
        elif q < 0.5:
            found.append((place, mirrored[0]))
    return found, alone


def offsets(errors: Doubles, quantiles: Sequence[float]) -> Doubles:
    """What to add to each quantile of each step ahead.

    Parameters
    ----------
    errors : ndarray of shape (n, H, Q)
        Observation less forecast quantile, of n windows held back, in the unit in which the offsets are to act; NaN
        where the observation is missing.
    quantiles : sequence of Q floats

    Returns
    -------
    ndarray of shape (H, Q)
        0 for the median and where nothing is known. Quantiles without a mirror image are moved by their own errors.
    """
    errors = np.asarray(errors, np.float64)
    steps = errors.shape[1]
    found = np.zeros(errors.shape[1:])
    both, alone = pairs(quantiles)
    for step in range(steps):
        near = _neighbours(errors, step)
        for low, high in both:
            scores = np.maximum(-near[..., low], near[..., high]).ravel()
            moved = conformal_quantile(scores, 1.0 - 2.0 * quantiles[low])
            found[step, low], found[step, high] = -moved, moved
        for place in alone:
            q = quantiles[place]
            scores = near[..., place].ravel()
            found[step, place] = conformal_quantile(scores, q) if q > 0.5 else -conformal_quantile(-scores, 1.0 - q)
    return found


def _neighbours(errors: Doubles, step: int) -> Doubles:
    """The errors of a step ahead, with as many neighbouring steps as make enough of them."""
    for reach in range(errors.shape[1]):
        near = errors[:, max(step - reach, 0) : step + reach + 1]
        if np.isfinite(near).all(axis=-1).sum() >= _FEW:
            return near
    return errors
