"""Bands that hold: calibration on windows held back, and how errors of steps ahead go together."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._validate import integer
from rekur.models import Model
from rekur.tasks.forecasting import conformal
from rekur.tasks.forecasting._settings import Settings
from rekur.tasks.forecasting._windows import Split, WindowArrays, spread_evenly
from rekur.tasks.forecasting.distributions import Family

Doubles = NDArray[np.float64]
_NARROWEST, _HALVINGS = 0.2, 9  # by which a distribution may be made narrower (wider), and how exactly
_SHARE = 0.8  # of the band by which it is
_MOST_WIDENED, _MOST_COUNTED = 1000, 150  # windows by which it is; of counts, whose quantiles take longer
_DENSE = tuple((np.arange(1, 100) / 100).tolist())  # levels between which a distribution function is taken as linear
_MOST_JOINT = 512  # steps times targets that are drawn together


def mean_of(models: list[Model], inputs: dict[str, NDArray[Any]]) -> Doubles:
    """The mean of what networks give, number by number."""
    total: Any = 0.0
    for model in models:
        total = total + np.asarray(model.predict(inputs, batch_size=256), np.float64)
    return np.asarray(total / len(models))


def quantiles_of(
    models: list[Model], inputs: dict[str, NDArray[Any]], targets: int, family: Family | None, levels: Sequence[float]
) -> Doubles:
    """Quantiles (n, H, K, Q): those of the network, which are ``levels``, or of its distribution, at ``levels``.

    Of several networks the mean, level by level.
    """
    if family is None:
        found = mean_of(models, inputs)
        return found.reshape(*found.shape[:2], targets, -1)
    total: Any = 0.0
    for model in models:
        told = np.asarray(model.predict(inputs, batch_size=256), np.float64)
        total = total + family.quantiles(told.reshape(*told.shape[:2], targets, family.count), levels)
    return np.asarray(total / len(models))


def move(models: list[Model], arrays: WindowArrays, held: Split, quantiles: list[float]) -> None:
    """Set the networks' calibration layers: what is added to each quantile, in units of a window's scale."""
    plan, inputs = arrays.plan, arrays.inputs(held)
    found = quantiles_of(models, inputs, plan.targets, None, quantiles)
    errors = (_actual(arrays, held)[..., None] - found) / scales(models[0], inputs)[:, None, :, None]
    moved = np.stack([conformal.offsets(errors[:, :, k], quantiles) for k in range(plan.targets)], axis=1)
    for model in models:
        model.get_layer("calibration").set_weights([moved.reshape(-1, len(quantiles)).astype(np.float32)])


def widen(models: list[Model], arrays: WindowArrays, held: Split, family: Family) -> None:
    """Set the networks' calibration layers: by what the width of each step's distribution is multiplied.

    It is the factor at which the band of 80 % holds as many of the values held back, of this step and its neighbours
    where they are few. Where no value of a target was held back, its width stays as the network tells it.
    """
    if family.count == 1:
        return  # there is no width beside the mean
    plan = arrays.plan
    held = held.some(spread_evenly(len(held), _most(family)))
    inputs, actual = arrays.inputs(held), _actual(arrays, held)
    told = [
        np.asarray(model.predict(inputs, batch_size=256), np.float64).reshape(*actual.shape, family.count)
        for model in models
    ]
    low = np.full((plan.horizon, plan.targets), np.log(_NARROWEST))
    high = -low
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        holds = _holds(_inside(told, actual, family, np.exp(middle)))
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    high = np.where(np.isfinite(actual).any(axis=(0, 1)), high, 0.0)  # nothing is known of it: the factor is 1
    weights = np.exp(high).astype(np.float32).reshape(-1, 1)
    for model in models:
        model.get_layer("calibration").set_weights([weights])


def _holds(inside: Doubles) -> NDArray[np.bool_]:
    """Whether the bands of each step and target hold as often as they say; NaN: nothing is known."""
    found = np.zeros(inside.shape[1:], bool)
    for step in range(inside.shape[1]):
        for k in range(inside.shape[2]):
            near = _near(inside[:, :, k], step)
            wanted = min(np.ceil((len(near) + 1) * _SHARE) / max(len(near), 1), 1.0)
            found[step, k] = not len(near) or near.mean() >= wanted - 1e-9
    return found


def _most(family: Family | None) -> int:
    return _MOST_COUNTED if family is not None and family.counts else _MOST_WIDENED


def _inside(told: list[Doubles], actual: Doubles, family: Family, factor: Doubles) -> Doubles:
    """Whether values lie in the bands of distributions made wider: 1 or 0, NaN where they are missing."""
    total: Any = 0.0
    for parameters in told:
        wider = parameters.copy()
        wider[..., 1] *= factor
        total = total + family.quantiles(wider, (0.5 - _SHARE / 2, 0.5 + _SHARE / 2))
    low, high = np.moveaxis(total / len(told), -1, 0)
    return np.where(np.isfinite(actual), ((actual >= low) & (actual <= high)).astype(np.float64), np.nan)


def _near(inside: Doubles, step: int) -> Doubles:
    """What is known of a step, with as many neighbouring steps as make enough of it: (m,)."""
    for reach in range(inside.shape[1]):
        near = inside[:, max(step - reach, 0) : step + reach + 1]
        near = near[np.isfinite(near)]
        if len(near) >= 100:
            break
    return near


def _actual(arrays: WindowArrays, chosen: Split) -> Doubles:
    return np.asarray(arrays.targets(chosen), np.float64)


def scales(model: Model, inputs: dict[str, NDArray[Any]]) -> Doubles:
    """The scale of windows as the network sees it, (n, K)."""
    part = Model(model.inputs, model.get_layer("window.scale").output)
    return np.asarray(part.predict(inputs, batch_size=256), np.float64)[:, 0]


# How steps go together.


def scores_of(quantiles: Sequence[float]) -> Doubles:
    """Normal scores of levels."""
    normal = NormalDist()
    return np.asarray([normal.inv_cdf(float(q)) for q in quantiles])


def normal_scores(values: Doubles, told: Doubles, levels: Sequence[float]) -> Doubles:
    """The normal score of each value in its forecast distribution, linear between quantiles and beyond the last ones.

    Parameters
    ----------
    values : ndarray of shape (…,)
    told : ndarray of shape (…, Q)
        Its quantiles, ascending.
    levels : sequence of Q floats
    """
    z = scores_of(levels)
    told = np.broadcast_to(told, (*values.shape, len(z)))
    place = np.clip((told < values[..., None]).sum(axis=-1), 1, len(z) - 1)[..., None]
    low, high = np.take_along_axis(told, place - 1, -1)[..., 0], np.take_along_axis(told, place, -1)[..., 0]
    share = (values - low) / np.maximum(high - low, 1e-12 * np.maximum(np.abs(high), 1e-30))
    first, second = z[place[..., 0] - 1], z[place[..., 0]]
    return np.asarray(np.clip(first + share * (second - first), -4.0, 4.0))


def values_at(scores: Doubles, told: Doubles, levels: Sequence[float]) -> Doubles:
    """The inverse of :func:`normal_scores`: values (n, …) at normal scores (n, …) of distributions (…, Q)."""
    z = scores_of(levels)
    place = np.clip(np.searchsorted(z, scores), 1, len(z) - 1)[..., None]
    whole = np.broadcast_to(told, (*scores.shape, len(z)))
    low, high = np.take_along_axis(whole, place - 1, -1)[..., 0], np.take_along_axis(whole, place, -1)[..., 0]
    first, second = z[place[..., 0] - 1], z[place[..., 0]]
    return np.asarray(low + (scores - first) / (second - first) * (high - low))


def levels_of(settings_output: Family | None, quantiles: Sequence[float]) -> Sequence[float]:
    """Levels at which a forecast distribution is known: those trained, or many."""
    return quantiles if settings_output is None else _DENSE


def dependence(models: list[Model], arrays: WindowArrays, chosen: Split, settings: Settings) -> Doubles:
    """Correlations of the normal scores of a forecast's steps (and targets), (D, D), D = H · K; or K blocks' (H, H).

    Of windows that are few, correlations are drawn towards those that depend on the distance of steps alone.
    """
    plan = arrays.plan
    levels = levels_of(settings.family, settings.quantiles)
    if len(levels) < 2:
        return np.zeros((0, 0))
    chosen = chosen.some(spread_evenly(len(chosen), _most(settings.family)))
    told = quantiles_of(models, arrays.inputs(chosen), plan.targets, settings.family, levels)
    scores = normal_scores(_actual(arrays, chosen), told, levels)  # (n, H, K)
    joint = plan.horizon * plan.targets
    if joint > _MOST_JOINT:
        return _correlations(np.moveaxis(scores, 2, 1).reshape(-1, plan.horizon), plan.horizon)
    return _correlations(np.moveaxis(scores, 2, 1).reshape(len(scores), joint), plan.horizon)


def _correlations(scores: Doubles, horizon: int) -> Doubles:
    size = scores.shape[1]
    there = np.isfinite(scores)
    centred = np.where(there, scores - _column_means(scores, there), 0.0)
    count = there.astype(np.float64).T @ there
    covariance = centred.T @ centred / np.maximum(count, 1.0)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    found = np.where(count >= 2, covariance / np.outer(deviation, deviation), 0.0)
    n = len(scores)
    smooth = np.zeros_like(found)
    for a in range(0, size, horizon):
        for b in range(0, size, horizon):
            smooth[a : a + horizon, b : b + horizon] = _by_distance(found[a : a + horizon, b : b + horizon])
    mixed = (n * found + size * smooth) / (n + size)
    values, vectors = np.linalg.eigh(0.5 * (mixed + mixed.T))
    mixed = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    deviation = np.sqrt(np.diag(mixed))
    return np.asarray(mixed / np.outer(deviation, deviation))


def _column_means(scores: Doubles, there: NDArray[np.bool_]) -> Doubles:
    return np.asarray(np.where(there, scores, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1))


def _by_distance(block: Doubles) -> Doubles:
    """Every diagonal's mean in the place of its numbers."""
    size = len(block)
    found = np.zeros_like(block)
    rows, columns = np.indices(block.shape)
    for distance in range(-size + 1, size):
        at = columns - rows == distance
        found[at] = block[at].mean()
    return found


def draw_scores(correlations: Doubles, count: int, shape: tuple[int, int, int], rng: np.random.Generator) -> Doubles:
    """Normal scores (count, N, H, K) that go together as ``correlations`` say."""
    series, horizon, targets = shape
    root = np.linalg.cholesky(correlations)
    size = len(correlations)
    drawn = rng.standard_normal((count * series * (horizon * targets // size), size)) @ root.T
    return np.asarray(np.moveaxis(drawn.reshape(count, series, targets, horizon), 2, 3))


def generator(given: Any) -> np.random.Generator:
    """NumPy's generator of an int, a RandomState, a Generator or None."""
    if isinstance(given, np.random.Generator):
        return given
    if isinstance(given, np.random.RandomState):
        return np.random.default_rng(given.randint(0, 2**31 - 1))
    return np.random.default_rng(None if given is None else integer(given, "sample: random_state", 0))
