"""Forecasts that learn nothing: repeating the last value, or the last season, each with its own errors as a band."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.tasks.contender import BASELINE, Clock, Contender
from benchmarks.tasks.scores import LEVELS, forecast_scores
from benchmarks.tasks.series import ForecastTask, Series

Array = NDArray[np.float64]


def filled(values: Array) -> Array:
    """Gaps closed by a straight line, at the end by the last value: for those who take no missing values."""
    there = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(len(values)), there, values[there])


def repeat(values: Array, row: int, horizon: int, season: int) -> Array:
    """The last season before `row`, again and again; season 1 repeats the last value."""
    last = filled(values[:row])[-season:]
    return last[np.arange(horizon) % len(last)]


def band(one: Series, horizon: int, season: int, most: int = 200) -> Array:
    """Distances (horizon, 9) from the rule's value: quantiles of the size of the errors that it made in training."""
    train = one.train
    first = min(season + 1, max(1, len(train) - horizon - 1))
    rows = np.unique(np.linspace(first, len(train) - horizon, most).astype(int))
    rows = rows[rows >= 1]
    if not len(rows):
        rows = np.array([max(1, len(train) - horizon)])
    errors = np.stack([train[row : row + horizon] - repeat(train, row, horizon, season) for row in rows])
    sides = 2 * np.array(LEVELS) - 1
    return np.sign(sides) * np.nanquantile(np.abs(errors), np.abs(sides), axis=0).T


def naive(seasonal: bool) -> Contender:
    def run(task: ForecastTask, seed: int, clock: Clock) -> dict[str, float]:
        season = task.season if seasonal else 1
        with clock.fitting():
            bands = [band(one, task.horizon, season) for one in task.series]
        with clock.predicting():
            quantiles = [
                np.stack([repeat(one.values, row, task.horizon, season)[:, None] + width for row in one.origins])
                for one, width in zip(task.series, bands, strict=True)
            ]
        return forecast_scores(task, quantiles)

    name = "seasonal naive" if seasonal else "last value"
    return Contender(name, BASELINE, run, random=False, fits=lambda task: not seasonal or task.season > 1)


CONTENDERS = [naive(seasonal=True), naive(seasonal=False)]
