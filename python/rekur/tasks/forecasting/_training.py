"""How a forecaster's networks are trained: windows, early stopping on the last part in time, calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.models import Model
from rekur.optimizers import Adam
from rekur.tasks._fitting import fit_networks
from rekur.tasks._series import SeriesSet
from rekur.tasks.forecasting import _losses, conformal
from rekur.tasks.forecasting._network import Networks, quantile_networks
from rekur.tasks.forecasting._plan import Plan
from rekur.tasks.forecasting._settings import WHO, Settings
from rekur.tasks.forecasting._windows import Parts, Split, WindowArrays, WindowRows, split_in_time, spread_evenly

_MOST_VALIDATED, _MOST_CALIBRATED = 2000, 4000  # windows held back that are looked at, evenly spread
_CLIP = 1.0  # the norm of a gradient at most
_LEAST_SEEN = 3  # values of each target that a window must have behind it, where the series are that long


@dataclass(frozen=True)
class Trained:
    """What training gave."""

    models: list[Model]  # raw windows in, forecasts out; one a seed
    histories: list[dict[str, list[float]]]
    parts: Parts


def train(known: SeriesSet, plan: Plan, settings: Settings, seeds: list[int]) -> Trained:
    """Networks of the seeds, calibrated together.

    Raises
    ------
    ValueError
        If no series is long enough for a window and a step ahead.
    """
    arrays = WindowArrays(known, plan)
    least = min(_LEAST_SEEN, max(max(len(one) for one in known.series) - 1, 1))
    parts = split_in_time(arrays, settings.validation_fraction, least)
    if not len(parts.training):
        parts = split_in_time(arrays, settings.validation_fraction, 1)
    if not len(parts.training):
        longest = max(len(series) for series in known.series)
        raise ValueError(
            f"{WHO}: no series has a value to forecast behind one that is known; the longest one has {longest} steps"
        )
    made: dict[int, Networks] = {}

    def build(seed: int) -> Model:
        networks = quantile_networks(plan, len(settings.quantiles), settings.options, seed)
        targets = plan.targets
        loss = _losses.squared(targets) if settings.output == "mean" else _losses.pinball(settings.quantiles, targets)
        networks.training.compile(Adam(settings.learning_rate, clipnorm=_CLIP), loss, seed=seed)
        made[id(networks.training)] = networks
        return networks.training

    used, steps = epochs_of(parts.training, settings.batch_size, settings.windows_per_epoch)
    held = parts.validation
    watched = held.some(spread_evenly(len(held), _MOST_VALIDATED))
    models, histories = fit_networks(
        build,
        seeds,
        {"x": WindowRows(arrays, used), "steps_per_epoch": steps if steps * settings.batch_size < len(used) else None},
        epochs=settings.epochs,
        who=WHO,
        batch_size=settings.batch_size,
        validation=WindowRows(arrays, watched) if len(watched) else None,
        patience=settings.patience,
        verbose=settings.verbose,
        steps=steps,
    )
    raw = [made[id(model)].raw for model in models]
    if settings.calibrate and len(settings.quantiles) > 1 and len(held):
        calibrate(raw, arrays, held.some(spread_evenly(len(held), _MOST_CALIBRATED)), plan, settings.quantiles)
    return Trained(raw, histories, parts)


def epochs_of(training: Split, batch: int, most: int) -> tuple[Split, int]:
    """The windows of a pass and the steps of an epoch, so that a pass is one epoch or several of one size.

    For that a few of the oldest windows may be left out.
    """
    whole = -(-len(training) // batch)
    epochs = -(-len(training) // most)
    if epochs <= 1:
        return training, whole
    steps = max(len(training) // batch // epochs, 1)
    kept = min(steps * epochs * batch, len(training))
    return training.some(np.argsort(training.origin, kind="stable")[len(training) - kept :]), steps


def mean_of(models: list[Model], inputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The mean of what networks give, quantile by quantile."""
    total: Any = 0.0
    for model in models:
        total = total + np.asarray(model.predict(inputs, batch_size=256), np.float64)
    return np.asarray(total / len(models))


def calibrate(models: list[Model], arrays: WindowArrays, held: Split, plan: Plan, quantiles: list[float]) -> None:
    """Set the networks' calibration layers so that bands hold on windows held back, in units of a window's scale."""
    inputs, count = arrays.inputs(held), len(quantiles)
    for model in models:
        model.get_layer("calibration").set_weights([np.zeros((plan.horizon, plan.targets * count), np.float32)])
    found = mean_of(models, inputs).reshape(len(held), plan.horizon, plan.targets, count)
    actual = np.asarray(arrays.targets(held), np.float64)
    scale = scales(models[0], inputs)
    errors = (actual[..., None] - found) / scale[:, None, :, None]
    moved = [conformal.offsets(errors[:, :, k], quantiles) for k in range(plan.targets)]
    weights = np.concatenate(moved, axis=1).astype(np.float32)
    for model in models:
        model.get_layer("calibration").set_weights([weights])


def scales(model: Model, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """The scale of windows as the network sees it, (n, K)."""
    part = Model(model.inputs, model.get_layer("window.scale").output)
    return np.asarray(part.predict(inputs, batch_size=256), np.float64)[:, 0]
