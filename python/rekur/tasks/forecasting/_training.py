"""How a forecaster's networks are trained: windows, early stopping on the last part in time, calibration."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekur.models import Model
from rekur.optimizers import Adam
from rekur.tasks._fitting import fit_networks
from rekur.tasks._series import SeriesSet
from rekur.tasks.forecasting import _calibration, _losses
from rekur.tasks.forecasting._network import Networks, family_networks, quantile_networks
from rekur.tasks.forecasting._plan import Plan
from rekur.tasks.forecasting._settings import WHO, Settings
from rekur.tasks.forecasting._windows import Parts, Split, WindowArrays, WindowRows, split_in_time, spread_evenly

_MOST_VALIDATED, _MOST_CALIBRATED = 2000, 4000  # windows held back that are looked at, evenly spread
_CLIP = 1.0  # the norm of a gradient at most
_LARGEST = 1e18  # of values: squares of float32 end at 3e38
_LEAST_SEEN = 3  # values of each target that a window must have behind it, where the series are that long


@dataclass(frozen=True)
class Trained:
    """What training gave."""

    models: list[Model]  # raw windows in, forecasts out; one a seed
    histories: list[dict[str, list[float]]]
    parts: Parts
    dependence: NDArray[np.float64]  # how errors of steps ahead go together: correlations of their normal scores


def train(known: SeriesSet, plan: Plan, settings: Settings, seeds: list[int]) -> Trained:
    """Networks of the seeds, calibrated together.

    Raises
    ------
    ValueError
        If no series is long enough for a window and a step ahead.
    """
    check_values(known, settings)
    arrays = WindowArrays(known, plan)
    least = min(_LEAST_SEEN, max(max(len(one) for one in known.series) - 1, 1))
    parts = split_in_time(arrays, settings.validation_fraction, least)
    if not len(parts.training):
        parts = split_in_time(arrays, settings.validation_fraction, 1)
    if not len(parts.training):
        longest = max(len(series) for series in known.series)
        raise ValueError(
            f"{WHO}: no series has a value to forecast behind one of each target that is known; the longest one has "
            f"{longest} step{'' if longest == 1 else 's'}"
        )
    made: dict[int, Networks] = {}

    def build(seed: int) -> Model:
        networks, loss = _network_of(plan, settings, seed)
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
    some = held.some(spread_evenly(len(held), _MOST_CALIBRATED))
    if settings.calibrate and len(some):
        if settings.family is not None:
            _calibration.widen(raw, arrays, some, settings.family)
        elif len(settings.quantiles) > 1:
            _calibration.move(raw, arrays, some, settings.quantiles)
    known_best = some if len(some) else parts.training.some(spread_evenly(len(parts.training), _MOST_VALIDATED))
    return Trained(raw, histories, parts, _calibration.dependence(raw, arrays, known_best, settings))


def check_values(known: SeriesSet, settings: Settings) -> None:
    """Refuse targets that no network can learn from.

    Raises
    ------
    ValueError
        Naming the target.
    """
    for k, name in enumerate(known.target):
        values = [series.target[:, k] for series in known.series]
        largest = max((float(np.nanmax(np.abs(v), initial=0.0)) for v in values if np.isfinite(v).any()), default=None)
        if largest is None:
            raise ValueError(f"{WHO}: target {name!r} has no value: all are missing")
        if largest > _LARGEST:
            raise ValueError(
                f"{WHO}: target {name!r} has values of {largest:.3g}, which single precision cannot square; divide "
                f"them by a number, so that they are at most {_LARGEST:g}"
            )
        if settings.family is not None:
            for one in values:
                settings.family.check(one, f"{WHO}: target {name!r}")


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


def _network_of(plan: Plan, settings: Settings, seed: int) -> tuple[Networks, _losses.Loss]:
    if settings.family is not None:
        networks = family_networks(plan, settings.family, settings.options, seed)
        return networks, _losses.likelihood(settings.family)
    networks = quantile_networks(plan, len(settings.quantiles), settings.options, seed)
    if settings.output == "mean":
        return networks, _losses.squared()
    return networks, _losses.pinball(settings.quantiles)
