"""Forecasts that cost nothing, beside which a forecast is seen: naive, seasonal naive; AutoETS and AutoARIMA.

The first two are plain NumPy. The others are statsforecast's and are there where it is installed.
"""

import importlib.util
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rekur._validate import did_you_mean

Doubles = NDArray[np.float64]
Baseline = Callable[[Doubles, int, int, Sequence[float]], tuple[Doubles, Doubles]]

__all__ = ["available", "forecast", "naive", "seasonal_naive"]


def _filled(history: ArrayLike, what: str) -> Doubles:
    """The series with the last value in the place of missing ones; what is before the first value goes."""
    y = np.asarray(history, np.float64)
    if y.ndim != 1:
        raise ValueError(f"{what}: expected a series of shape (T,), got {y.shape}")
    there = np.flatnonzero(np.isfinite(y))
    if not len(there):
        raise ValueError(f"{what}: the series has no value")
    y = y[there[0] :]
    at = np.where(np.isfinite(y), np.arange(len(y)), 0)
    return np.asarray(y[np.maximum.accumulate(at)])


def _bands(point: Doubles, deviation: float, steps: NDArray[Any], quantiles: Sequence[float]) -> Doubles:
    normal = NormalDist()
    scores = np.asarray([normal.inv_cdf(float(q)) for q in quantiles])
    return np.asarray(point[:, None] + deviation * np.sqrt(steps)[:, None] * scores)


def naive(history: ArrayLike, horizon: int, quantiles: Sequence[float] = ()) -> tuple[Doubles, Doubles]:
    """The last value, for every step ahead; normal bands whose variance grows with the steps.

    Parameters
    ----------
    history : array_like of shape (T,)
        NaN where missing.
    horizon : int
    quantiles : sequence of Q floats

    Returns
    -------
    ndarray of shape (H,), ndarray of shape (H, Q)
        ŷ_{T+h} = y_T, and its quantiles, ŷ + z σ √h; σ² the mean square of the differences of neighbouring values.
        Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 5.5.
    """
    return seasonal_naive(history, horizon, 1, quantiles)


def seasonal_naive(
    history: ArrayLike, horizon: int, season: int, quantiles: Sequence[float] = ()
) -> tuple[Doubles, Doubles]:
    """The value of a season ago, for every step ahead; where the series is shorter than a season, the last value.

    Parameters
    ----------
    history : array_like of shape (T,)
    horizon, season : int
    quantiles : sequence of Q floats

    Returns
    -------
    ndarray of shape (H,), ndarray of shape (H, Q)
        ŷ_{T+h} = y_{T+h−m(k+1)}, k = ⌊(h − 1)/m⌋, and its quantiles, ŷ + z σ √(k + 1); σ² the mean square of the
        differences of values a season apart. Source as of :func:`naive`.
    """
    y = _filled(history, "seasonal_naive")
    lag = season if 1 <= season < len(y) else 1
    ahead = np.arange(horizon)
    point = y[len(y) - lag + ahead % lag]
    differences = y[lag:] - y[:-lag]
    observed = np.asarray(history, np.float64)[-len(y) :]
    both = np.isfinite(observed[lag:]) & np.isfinite(observed[:-lag])
    deviation = float(np.sqrt(np.mean(differences[both] ** 2))) if both.any() else 0.0
    return point, _bands(point, deviation, ahead // lag + 1.0, quantiles)


def _statsforecast(name: str) -> Baseline:
    def run(history: Doubles, horizon: int, season: int, quantiles: Sequence[float]) -> tuple[Doubles, Doubles]:
        from statsforecast import models  # type: ignore[import-not-found, unused-ignore]

        y = _filled(history, name)
        model = getattr(models, name)(season_length=season)
        mirrored = sorted({round(200 * abs(q - 0.5), 6) for q in quantiles if q != 0.5})
        found = model.forecast(y=y, h=horizon, level=mirrored or None)
        point = np.asarray(found["mean"], np.float64)
        columns = []
        for q in quantiles:
            level = round(200 * abs(q - 0.5), 6)
            side = "lo" if q < 0.5 else "hi"
            names = [f"{side}-{level:g}", f"{side}-{level}"]
            key = next((key for key in names if key in found), None)
            columns.append(point if q == 0.5 else np.asarray(found[key], np.float64))
        return point, np.stack(columns, axis=1) if columns else np.zeros((horizon, 0))

    return run


def _naive(history: Doubles, horizon: int, season: int, quantiles: Sequence[float]) -> tuple[Doubles, Doubles]:
    return naive(history, horizon, quantiles)


_KNOWN: dict[str, Baseline] = {
    "naive": _naive,
    "seasonal naive": seasonal_naive,
    "AutoETS": _statsforecast("AutoETS"),
    "AutoARIMA": _statsforecast("AutoARIMA"),
}
_ALWAYS = ("naive", "seasonal naive")


def available() -> list[str]:
    """Names of the baselines that are there: naive and seasonal naive; AutoETS and AutoARIMA with statsforecast."""
    return list(_KNOWN) if importlib.util.find_spec("statsforecast") is not None else list(_ALWAYS)


def forecast(
    name: str, history: ArrayLike, horizon: int, season: int = 1, quantiles: Sequence[float] = ()
) -> tuple[Doubles, Doubles]:
    """What a baseline forecasts.

    Parameters
    ----------
    name : str
        Of :func:`available`.
    history : array_like of shape (T,)
    horizon, season : int
    quantiles : sequence of Q floats

    Returns
    -------
    ndarray of shape (H,), ndarray of shape (H, Q)

    Raises
    ------
    ValueError
        For an unknown name.
    ImportError
        If it needs statsforecast and that is not installed.
    """
    if name not in _KNOWN:
        raise ValueError(f"baseline {name!r} is unknown{did_you_mean(name, _KNOWN)}; there are {', '.join(_KNOWN)}")
    if name not in available():
        raise ImportError(f'baseline {name!r} needs statsforecast: pip install "statsforecast>=2"')
    return _KNOWN[name](np.asarray(history, np.float64), horizon, season, list(quantiles))
