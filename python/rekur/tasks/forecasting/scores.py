"""How good forecasts are: scores of points, quantiles and intervals, in plain NumPy.

Every function leaves steps out where the observation or the forecast is NaN, and gives NaN where nothing is left.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Doubles = NDArray[np.float64]

__all__ = [
    "coverage", "crps", "interval_score", "mae", "mase", "naive_error", "pinball", "rmse", "smape", "width",
]  # fmt: skip


def _pair(actual: ArrayLike, forecast: ArrayLike, what: str) -> tuple[Doubles, Doubles]:
    y, f = np.asarray(actual, np.float64), np.asarray(forecast, np.float64)
    if y.shape != f.shape:
        raise ValueError(f"{what}: expected a forecast of the actual values' shape {y.shape}, got {f.shape}")
    return y, f


def _mean(values: Doubles, axis: Any = None) -> Any:
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.sum(values, axis=axis, where=there)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return float(found) if found.ndim == 0 else found


def mae(actual: ArrayLike, forecast: ArrayLike, *, axis: Any = None) -> Any:
    """Mean absolute error: mean |y − ŷ|.

    Parameters
    ----------
    actual, forecast : array_like of one shape
    axis : int or tuple of int, optional
        Over which the mean is taken; by default all, which gives a number.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    y, f = _pair(actual, forecast, "mae")
    return _mean(np.abs(y - f), axis)


def rmse(actual: ArrayLike, forecast: ArrayLike, *, axis: Any = None) -> Any:
    """Root mean squared error; arguments as of :func:`mae`."""
    y, f = _pair(actual, forecast, "rmse")
    found = np.sqrt(_mean((y - f) ** 2, axis))
    return float(found) if np.ndim(found) == 0 else found


def smape(actual: ArrayLike, forecast: ArrayLike, *, axis: Any = None) -> Any:
    """Symmetric mean absolute percentage error, 100 · mean 2 |y − ŷ| / (|y| + |ŷ|), 0 to 200; 0 where both are 0.

    Makridakis, International Journal of Forecasting 9, 1993, as used in the M4 competition. Arguments as of
    :func:`mae`.
    """
    y, f = _pair(actual, forecast, "smape")
    size, error = np.abs(y) + np.abs(f), np.abs(y - f)
    ratio = np.divide(200.0 * error, size, out=np.zeros_like(size), where=size > 0)
    return _mean(np.where(np.isnan(size), np.nan, ratio), axis)


def naive_error(history: ArrayLike, season: int = 1) -> float:
    """mean |y_t − y_{t−m}| of a series: what the (seasonal) naive forecast errs by within it.

    Parameters
    ----------
    history : array_like of shape (T,)
        NaN where missing.
    season : int
        m, in steps; where the series is not longer than that, 1 is taken.
    """
    y = np.asarray(history, np.float64)
    if y.ndim != 1:
        raise ValueError(f"naive_error: expected a series of shape (T,), got {y.shape}")
    for lag in (season, 1):
        if len(y) > lag:
            found = _mean(np.abs(y[lag:] - y[:-lag]))
            if np.isfinite(found):
                return float(found)
    return float("nan")


def mase(actual: ArrayLike, forecast: ArrayLike, history: ArrayLike, season: int = 1, *, axis: Any = None) -> Any:
    """Mean absolute scaled error: the mean absolute error, in units of :func:`naive_error` of what came before.

    Below 1 the forecast is better than the naive one is on average within the training data, which is a forecast one
    step (season) ahead. Hyndman and Koehler, International Journal of Forecasting 22, 2006.

    Parameters
    ----------
    actual, forecast : array_like of one shape
    history : array_like of shape (T,)
        The series before the forecast.
    season : int
        m, in steps.
    axis : int or tuple of int, optional

    Returns
    -------
    float, or ndarray; NaN where the history never changes.
    """
    scale = naive_error(history, season)
    found = mae(actual, forecast, axis=axis)
    return found / scale if scale > 0 else found * np.nan


def _levels(quantiles: Sequence[float], what: str) -> Doubles:
    levels = np.asarray(quantiles, np.float64)
    if levels.ndim != 1 or not len(levels) or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(f"{what}: quantiles must be numbers between 0 and 1, got {quantiles!r}")
    return levels


def pinball(actual: ArrayLike, forecast: ArrayLike, quantiles: Sequence[float], *, axis: Any = None) -> Any:
    """Pinball loss max(q (y − ŷ), (q − 1)(y − ŷ)), the mean over quantiles and steps.

    Parameters
    ----------
    actual : array_like of shape (…,)
    forecast : array_like of shape (…, Q)
        Of each quantile.
    quantiles : sequence of Q floats between 0 and 1
    axis : int or tuple of int, optional
        Of ``actual``, over which the mean is taken; by default all.
    """
    levels = _levels(quantiles, "pinball")
    y, f = np.asarray(actual, np.float64), np.asarray(forecast, np.float64)
    if f.shape != (*y.shape, len(levels)):
        raise ValueError(f"pinball: expected a forecast of shape {(*y.shape, len(levels))}, got {f.shape}")
    e = y[..., None] - f
    return _mean(np.maximum(levels * e, (levels - 1.0) * e).mean(axis=-1), axis)


def crps(actual: ArrayLike, forecast: ArrayLike, quantiles: Sequence[float] | None = None, *, axis: Any = None) -> Any:
    """Continuous ranked probability score, of quantiles or of samples, in units of the series; of a point |y − ŷ|.

    Parameters
    ----------
    actual : array_like of shape (…,)
    forecast : array_like of shape (…, Q)
        With ``quantiles`` the quantiles: the score is twice their mean pinball loss, which nears the CRPS with their
        number. Without, Q samples: mean |x − y| − ½ mean |x − x'| (the fair form, whose mean does not depend on Q).
    quantiles : sequence of Q floats, optional
    axis : int or tuple of int, optional

    Notes
    -----
    Gneiting and Raftery, JASA 102, 2007; the fair form: Ferro, Q. J. R. Meteorol. Soc. 140, 2014.
    """
    if quantiles is not None:
        return 2.0 * pinball(actual, forecast, quantiles, axis=axis)
    y, x = np.asarray(actual, np.float64), np.sort(np.asarray(forecast, np.float64), axis=-1)
    if x.ndim != y.ndim + 1 or x.shape[:-1] != y.shape:
        raise ValueError(f"crps: expected samples of shape {(*y.shape, 'n')}, got {x.shape}")
    count = x.shape[-1]
    spread = 0.0
    if count > 1:  # Σ |x_i − x_j| over pairs, of sorted samples
        weights = 2.0 * np.arange(count) - count + 1.0
        spread = (x * weights).sum(axis=-1) / (count * (count - 1))
    return _mean(np.abs(x - y[..., None]).mean(axis=-1) - spread, axis)


def coverage(actual: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, axis: Any = None) -> Any:
    """Share of the observations within [lower, upper]."""
    y, low = _pair(actual, lower, "coverage")
    _, high = _pair(actual, upper, "coverage")
    there = np.isfinite(y) & np.isfinite(low) & np.isfinite(high)
    return _mean(np.where(there, ((y >= low) & (y <= high)).astype(np.float64), np.nan), axis)


def width(lower: ArrayLike, upper: ArrayLike, *, axis: Any = None) -> Any:
    """Mean width of intervals."""
    low, high = _pair(lower, upper, "width")
    return _mean(high - low, axis)


def interval_score(
    actual: ArrayLike, lower: ArrayLike, upper: ArrayLike, coverage: float = 0.8, *, axis: Any = None
) -> Any:
    """Width of an interval, and what observations outside it miss it by, times 2 / (1 − coverage).

    Small is good: narrow intervals that hold. Gneiting and Raftery, JASA 102, 2007, equation 43.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"interval_score: coverage must lie between 0 and 1, got {coverage!r}")
    y, low = _pair(actual, lower, "interval_score")
    _, high = _pair(actual, upper, "interval_score")
    missed = np.maximum(low - y, 0.0) + np.maximum(y - high, 0.0)
    return _mean(high - low + 2.0 / (1.0 - coverage) * missed, axis)
