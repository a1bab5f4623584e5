"""Extreme value theory: the tail of scores as a generalised Pareto distribution, and the thresholds that follow."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ENOUGH = 15  # peaks; where the tail begins is the highest level that so many exceed
_MANY = 30  # excesses from which on the likelihood is as steady as the moments
_LEAST_SHAPE = -0.5  # below, the likelihood has no regular maximum (Smith 1985)
_GRID = 60


def fit_pareto(excesses: Any, method: str = "likelihood") -> tuple[float, float]:
    """Shape ξ and scale σ of the generalised Pareto distribution of excesses over a level.

    P(Y > y) = (1 + ξ y / σ)^(−1/ξ), and exp(−y / σ) for ξ = 0.

    Parameters
    ----------
    excesses : array_like of shape (N,)
        Above 0.
    method : {"likelihood", "moments"}
        The greatest likelihood with ξ ≥ −½, found along the one number that Grimshaw (1993) leaves of the two; or the
        probability-weighted moments of Hosking and Wallis (1987), which are steadier for few excesses.

    Returns
    -------
    float, float
        ξ, σ.

    Raises
    ------
    ValueError
        If there are fewer than two excesses, or some are not above 0.

    References
    ----------
    S. D. Grimshaw, "Computing maximum likelihood estimates for the generalized Pareto distribution", Technometrics 35
    (1993). J. R. M. Hosking and J. R. Wallis, "Parameter and quantile estimation for the generalized Pareto
    distribution", Technometrics 29 (1987).
    """
    y = np.sort(np.asarray(excesses, np.float64).ravel())
    if len(y) < 2 or not np.isfinite(y).all() or y[0] <= 0:
        raise ValueError(f"excesses: expected two or more finite numbers above 0, got {len(y)}")
    if method == "moments":
        return _by_moments(y)
    if method != "likelihood":
        raise ValueError(f"method: expected 'likelihood' or 'moments', got {method!r}")
    mean = float(y.mean())
    y = y / mean
    top = float(y[-1])
    # ξ as a function of x = ξ / σ is the mean of log(1 + x y); what is left is to look along x.
    below = -1 / top * (1 - np.geomspace(1e-6, 1 - 1e-3, _GRID))
    above = np.geomspace(1e-4, 1e4, _GRID)
    x = np.concatenate([below, above])
    values = _profile(x, y)
    found = int(np.argmin(values))
    best = _narrow(x[max(found - 1, 0)], x[min(found + 1, len(x) - 1)], y)
    shape = float(np.log1p(best * y).mean())
    if min(float(_profile(np.array([best]), y)[0]), float(values[found])) >= 1.0 - 1e-12 or abs(shape) < 1e-9:
        return 0.0, mean  # the exponential distribution is as likely
    scale = shape / best
    if shape < _LEAST_SHAPE:
        # The best of the edge: ξ = −½, whose σ has a likelihood of one variable.
        scale = _scale_at(_LEAST_SHAPE, y)
        shape = _LEAST_SHAPE
    return shape, scale * mean


def _profile(x: Floats, y: Floats) -> Floats:
    """The negative log-likelihood a peak of x = ξ / σ; 1 is the exponential distribution's, of mean 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shape = np.log1p(x[:, None] * y).mean(axis=1)
        scale = shape / x
        value = np.log(scale) + 1 + shape
    # −½ and below the likelihood grows without bound towards the end of the support: kept out.
    return np.where((shape >= _LEAST_SHAPE) & (scale > 0), value, np.inf)


def _narrow(low: float, high: float, y: Floats) -> float:
    golden = (math.sqrt(5) - 1) / 2
    a, b = low, high
    for _ in range(80):
        c, d = b - golden * (b - a), a + golden * (b - a)
        first, second = _profile(np.array([c, d]), y)
        if first <= second:
            b = d
        else:
            a = c
        if abs(b - a) <= 1e-13 * max(1.0, abs(a)):
            break
    return (a + b) / 2 or 1e-12


def _scale_at(shape: float, y: Floats) -> float:
    """The likeliest scale for a given shape below 0."""
    low, high = -shape * float(y[-1]) * (1 + 1e-9), 100.0 * float(y[-1])
    scales = np.geomspace(low, high, 2000)
    inside = np.log1p(shape * y[None] / scales[:, None])
    return float(scales[np.argmin(np.log(scales) + (1 + 1 / shape) * inside.mean(axis=1))])


def _by_moments(y: Floats) -> tuple[float, float]:
    n = len(y)
    first = float(y.mean())
    second = float(np.mean((1 - (np.arange(1, n + 1) - 0.35) / n) * y))
    if first - 2 * second <= 0:
        return 0.0, first
    return 2 - first / (first - 2 * second), 2 * first * second / (first - 2 * second)


def open_ended(excesses: Floats) -> tuple[float, float]:
    """The tail's shape and scale where scores have no upper end: ξ ≥ 0.

    A fit to few peaks often says ξ < 0, an end just beyond the highest peak, and a threshold there would be passed
    soon. Then the exponential distribution is taken, whose scale is the mean excess.
    """
    shape, scale = fit_pareto(excesses, "likelihood" if len(excesses) >= _MANY else "moments")
    return (shape, scale) if shape > 0 else (0.0, float(np.mean(excesses)))


def peak_places(scores: Floats, level: float, apart: int) -> NDArray[np.intp]:
    """Where scores above ``level`` peak: the highest, then the highest ``apart`` steps or more from it, and so on.

    Scores next to each other say nearly the same; a tail is fitted to what happens once as one number. (Clusters of
    exceedances would do at high levels, and run into one another at low ones.)
    """
    with np.errstate(invalid="ignore"):
        at = np.flatnonzero(scores > level)
    free = np.zeros(len(scores) + 2 * apart, bool)
    free[at + apart] = True
    found = []
    for place in at[np.argsort(-scores[at], kind="stable")].tolist():
        if free[place + apart]:
            found.append(place)
            free[place + 1 : place + 2 * apart] = False
    return np.sort(np.array(found, np.intp))


@dataclass(frozen=True)
class Tail:
    """What is known of the highest scores: how often peaks exceed ``level``, and how far.

    ``rate``: peaks a step; ``shape`` ξ ≥ 0 and ``scale`` σ of their excesses, of ``count`` peaks; ``highest`` of all
    scores; ``apart``: of scores fewer steps from one another, the highest alone is a peak; ``excesses`` (count,): the
    peaks less the level.
    """

    level: float
    rate: float
    shape: float
    scale: float
    count: int
    highest: float
    apart: int
    excesses: Floats

    @classmethod
    def of(cls, pieces: list[Floats], apart: int, quantile: float | None = None) -> "Tail":
        """The tail of scores of one or several series.

        Parameters
        ----------
        pieces : list of arrays
            Scores in time order, one array a series; NaN where there are none.
        apart : int
            Steps between two peaks, at least.
        quantile : float, optional
            Where the tail begins. By default the first of 0.98, 0.95, … with enough peaks beyond it.
        """
        all_scores = np.concatenate([piece[np.isfinite(piece)] for piece in pieces] or [np.zeros(0)])
        if len(all_scores) == 0:
            return cls(0.0, 0.0, 0.0, 1.0, 0, 0.0, apart, np.zeros(0))
        best: Tail | None = None
        for part in (0.98, 0.95, 0.9, 0.8, 0.7, 0.5) if quantile is None else (quantile,):
            level = float(np.quantile(all_scores, part))
            peaks = np.concatenate([piece[peak_places(piece, level, apart)] for piece in pieces])
            excesses = peaks - level
            if len(excesses) >= 2 and (best is None or len(excesses) > best.count):
                shape, scale = open_ended(excesses)
                rate = len(excesses) / len(all_scores)
                best = cls(level, rate, shape, scale, len(excesses), float(all_scores.max()), apart, excesses)
            if best is not None and best.count >= _ENOUGH:
                break
        if best is None:  # a single score, or all alike
            top = float(all_scores.max())
            spread = float(np.std(all_scores)) or abs(top) * 1e-3 or 1e-3
            best = cls(top, 1 / len(all_scores), 0.0, spread, 0, top, apart, np.zeros(0))
        return best

    def threshold(self, rate: float) -> float:
        """The score that peaks exceed with this rate a step: level + σ/ξ ((rate / rate of the level)^(−ξ) − 1)."""
        if self.rate <= 0:
            return self.level
        part = rate / self.rate
        if part >= 1:
            return self.level
        if abs(self.shape) < 1e-9:
            return self.level - self.scale * math.log(part)
        return float(self.level + self.scale / self.shape * (part**-self.shape - 1))

    def rate_of(self, score: float) -> float:
        """Peaks a step that exceed a score."""
        if score <= self.level:
            return self.rate
        inside = 1 + self.shape * (score - self.level) / self.scale
        if inside <= 0:
            return 0.0
        if abs(self.shape) < 1e-9:
            return self.rate * math.exp(-(score - self.level) / self.scale)
        return float(self.rate * inside ** (-1 / self.shape))
