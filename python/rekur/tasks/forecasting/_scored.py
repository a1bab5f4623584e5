"""How good a fitted forecaster is on data behind its training data: minus MASE."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks._series import SeriesSet
from rekur.tasks.forecasting import _tail, scores
from rekur.tasks.forecasting._backtest import actual_of, forecast_of, mean_of_known, pairs_of, scales_of
from rekur.tasks.forecasting._settings import WHO
from rekur.tasks.forecasting._windows import Split

if TYPE_CHECKING:
    from rekur.tasks.forecasting._forecaster import Forecaster

Doubles = NDArray[np.float64]


def score(model: "Forecaster", X: Any, y: Any) -> float:
    """As :meth:`rekur.tasks.Forecaster.score`: arrays without times hold the training data too."""
    plan = model._plan
    if y is not None:
        actual = np.asarray(y, np.float64)
        told = np.asarray(model.predict(X), np.float64).reshape(actual.shape)
        errors = np.abs(actual - told).reshape(len(actual), -1)
        by_target = np.asarray([mean_of_known(errors[:, k]) for k in range(errors.shape[1])])
        return -mean_of_known(by_target / _usable(model.naive_errors_[0]))
    if "n_features_in_" in vars(model):
        raise ValueError(f"{WHO}: score: fit was given y: give the values of the steps of X as y, got None")
    known = _tail.joined(model._ends, model._series_of(X, None))
    begins = [_behind(model._ends, series, known) for series in known.series]
    return -rolling_error(model, known, begins, plan.horizon)


def _behind(ends: SeriesSet, series: Any, known: SeriesSet) -> int:
    """At which of its steps a series goes beyond what was trained on; its own first step, if it was not."""
    old = next((one for one in ends.series if one.id == series.id), None)
    return 0 if old is None else max(ends.end(old) - int(known.timeline.ordinal(series.start)), 0)


def rolling_error(model: "Forecaster", known: SeriesSet, begins: Sequence[int], horizon: int) -> float:
    """The mean absolute scaled error of forecasts that follow one another from a step of each series to its end."""
    series, origin = [], []
    for number, (one, begin) in enumerate(zip(known.series, begins, strict=True)):
        for at in range(max(begin, 1), len(one), horizon):
            series.append(number)
            origin.append(at)
    if not series:
        untimed = not known.layout.time and not known.layout.index
        hint = "; without times it must hold the training data too, and then go on" if untimed else ""
        raise ValueError(f"{WHO}: score: X has no step behind the training data{hint}")
    split = Split(np.asarray(series), np.asarray(origin))
    told = forecast_of(model, known, split, [0.5])[..., 0]
    actual = np.stack([actual_of(known.series[k], t, horizon) for k, t in pairs_of(split)])
    scale = _usable(_scale_by_id(model, known))[split.series]
    return mean_of_known(scores.mae(actual, told, axis=1) / scale)


def _usable(scale: Doubles) -> Doubles:
    """Scales, NaN for those of 0, by which nothing can be divided."""
    return np.where(scale > 0, scale, np.nan)


def _scale_by_id(model: "Forecaster", known: SeriesSet) -> Doubles:
    trained: Mapping[Any, Doubles] = dict(zip(model._ends.ids, model.naive_errors_, strict=True))
    return np.asarray(
        [trained.get(one.id, np.asarray(scales_of(one, len(one), model._plan.season))) for one in known.series]
    )
