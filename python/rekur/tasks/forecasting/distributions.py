"""Distributions that a forecaster can give: what the network's numbers mean, likelihoods, quantiles, draws.

A family has a *location*, to which the value of a season ago and the linear map of the window are added, and up to two
more parameters. ``network`` says in :mod:`rekur.ops` what the parameters are, given what the head gives and the
window's location and scale; ``loss`` is −log of the likelihood, up to terms that no weight changes; ``quantiles``,
``mean`` and ``draw`` work on parameters (…, n) as NumPy arrays.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur import ops
from rekur._losses.further import _log_gamma
from rekur.tasks.forecasting import _student

Doubles = NDArray[np.float64]
_LEAST = 1e-3  # a scale parameter at least, in the window's units
_GRID = 2048  # counts at which probabilities are summed up

__all__ = ["FAMILIES", "Family"]


class Family(ABC):
    """A family of distributions of one series' values."""

    name: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    positive: ClassVar[bool] = False  # only of values above 0
    counts: ClassVar[bool] = False  # only of whole numbers from 0 on

    @property
    def count(self) -> int:
        """How many numbers the head gives a series."""
        return len(self.parameters)

    @abstractmethod
    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        """The parameters in the series' own units; ``factor`` widens (calibration)."""

    @abstractmethod
    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        """−log of the likelihood of y, without what does not depend on the head."""

    @abstractmethod
    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        """(…, n) parameters → (…, Q)."""

    @abstractmethod
    def mean(self, parameters: Doubles) -> Doubles:
        """(…, n) → (…,)."""

    @abstractmethod
    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        """One value each, (…, n) → (…,)."""

    def check(self, values: NDArray[Any], what: str) -> None:
        """Refuse values that the family does not have.

        Raises
        ------
        ValueError
        """
        known = values[np.isfinite(values)]
        if self.positive and (known <= 0).any():
            raise ValueError(f"{what}: output={self.name!r} is of values above 0, got {known[known <= 0][0]:g}")
        if self.counts and ((known < 0) | (known != np.round(known))).any():
            bad = known[(known < 0) | (known != np.round(known))]
            raise ValueError(f"{what}: output={self.name!r} is of counts, whole numbers from 0 on, got {bad[0]:g}")


class _LocationScale(Family):
    """y = location + scale · (m + s · ε), s = softplus of the head's second number."""

    parameters = ("location", "scale")

    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        return [location + scale * head[0], scale * factor * (ops.softplus(head[1]) + _LEAST)]

    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        s = ops.softplus(head[1]) + _LEAST
        return ops.log(s) + self._away(((y - location) / scale - head[0]) / s)

    def _away(self, z: Any) -> Any:
        """−log of the standard density."""
        raise NotImplementedError

    def _standard(self, levels: Sequence[float]) -> Doubles:
        """Quantiles of the standard distribution."""
        raise NotImplementedError

    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        return np.asarray(parameters[..., :1] + parameters[..., 1:2] * self._standard(levels))

    def mean(self, parameters: Doubles) -> Doubles:
        return parameters[..., 0]


class Normal(_LocationScale):
    """The normal distribution: location is the mean, scale the standard deviation."""

    name = "normal"

    def _away(self, z: Any) -> Any:
        return 0.5 * ops.square(z)

    def _standard(self, levels: Sequence[float]) -> Doubles:
        return np.asarray([NormalDist().inv_cdf(float(q)) for q in levels])

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        return np.asarray(rng.normal(parameters[..., 0], parameters[..., 1]))


class Laplace(_LocationScale):
    """The Laplace distribution: density exp(−|y − location| / scale) / (2 scale)."""

    name = "laplace"

    def _away(self, z: Any) -> Any:
        return ops.abs(z)

    def _standard(self, levels: Sequence[float]) -> Doubles:
        q = np.asarray(levels, np.float64)
        return np.asarray(-np.sign(q - 0.5) * np.log1p(-2.0 * np.abs(q - 0.5)))

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        return np.asarray(rng.laplace(parameters[..., 0], parameters[..., 1]))


class StudentT(Family):
    """Student's t distribution with location, scale and degrees of freedom (above 2): heavy tails."""

    name = "student_t"
    parameters = ("location", "scale", "freedom")

    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        s = ops.softplus(head[1]) + _LEAST
        return [location + scale * head[0], scale * factor * s, 2.0 + ops.softplus(head[2])]

    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        s, nu = ops.softplus(head[1]) + _LEAST, 2.0 + ops.softplus(head[2])
        z = ((y - location) / scale - head[0]) / s
        gammas = _log_gamma(0.5 * nu) - _log_gamma(0.5 * nu + 0.5)
        return gammas + 0.5 * ops.log(nu) + ops.log(s) + 0.5 * (nu + 1.0) * ops.log1p(ops.square(z) / nu)

    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        standard = _student.quantiles(parameters[..., 2], levels)
        return np.asarray(parameters[..., :1] + parameters[..., 1:2] * standard)

    def mean(self, parameters: Doubles) -> Doubles:
        return parameters[..., 0]

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        return np.asarray(parameters[..., 0] + parameters[..., 1] * rng.standard_t(parameters[..., 2]))


def _size(head: Any, location: Any, scale: Any) -> Any:
    """A number above 0 from a location: location + scale · head where that is well above 0."""
    return scale * (ops.softplus(location / scale + head) + 1e-4)


class LogNormal(Family):
    """log y is normal with mean log(median) and deviation sigma: of values above 0."""

    name = "lognormal"
    parameters = ("median", "sigma")
    positive = True

    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        return [_size(head[0], location, scale), factor * (ops.softplus(head[1]) + _LEAST)]

    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        s = ops.softplus(head[1]) + _LEAST
        away = ops.log(ops.maximum(y, 1e-30)) - ops.log(_size(head[0], location, scale))
        return ops.log(s) + 0.5 * ops.square(away / s)

    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        z = np.asarray([NormalDist().inv_cdf(float(q)) for q in levels])
        return np.asarray(parameters[..., :1] * np.exp(parameters[..., 1:2] * z))

    def mean(self, parameters: Doubles) -> Doubles:
        return np.asarray(parameters[..., 0] * np.exp(0.5 * parameters[..., 1] ** 2))

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        return np.asarray(rng.lognormal(np.log(parameters[..., 0]), parameters[..., 1]))


class NegativeBinomial(Family):
    """Counts with mean μ and variance μ + α μ². Salinas et al., arXiv:1704.04110 (DeepAR)."""

    name = "negative_binomial"
    parameters = ("mean", "alpha")
    counts = True

    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        return [_size(head[0], location, scale), factor * (ops.softplus(head[1]) + _LEAST)]

    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        mean, alpha = _size(head[0], location, scale), ops.softplus(head[1]) + _LEAST
        r, total = 1.0 / alpha, ops.log1p(alpha * mean)
        return _log_gamma(r) - _log_gamma(y + r) + r * total - y * (ops.log(alpha * mean) - total)

    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        mean, alpha = parameters[..., 0], parameters[..., 1]
        return _counted(mean, np.sqrt(mean + alpha * mean**2), levels, lambda k: self._log_of(k, mean, alpha))

    @staticmethod
    def _log_of(k: Doubles, mean: Doubles, alpha: Doubles) -> Doubles:
        mean, r = mean[..., None], 1.0 / alpha[..., None]
        p = _log_gamma(k + r) - _log_gamma(r) - _log_gamma(k + 1.0)
        return np.asarray(p - r * np.log1p(mean / r) + k * (np.log(mean) - np.log(mean + r)))

    def mean(self, parameters: Doubles) -> Doubles:
        return parameters[..., 0]

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        r = 1.0 / parameters[..., 1]
        return np.asarray(rng.negative_binomial(r, r / (r + parameters[..., 0])), np.float64)


class Poisson(Family):
    """Counts whose variance is their mean."""

    name = "poisson"
    parameters = ("mean",)
    counts = True

    def network(self, head: Sequence[Any], location: Any, scale: Any, factor: Any) -> list[Any]:
        return [_size(head[0], location, scale)]

    def loss(self, y: Any, head: Sequence[Any], location: Any, scale: Any) -> Any:
        mean = _size(head[0], location, scale)
        return mean - y * ops.log(mean)

    def quantiles(self, parameters: Doubles, levels: Sequence[float]) -> Doubles:
        mean = parameters[..., 0]

        def log_of(k: Doubles) -> Doubles:
            return np.asarray(k * np.log(mean[..., None]) - mean[..., None] - _log_gamma(k + 1.0))

        return _counted(mean, np.sqrt(mean), levels, log_of)

    def mean(self, parameters: Doubles) -> Doubles:
        return parameters[..., 0]

    def draw(self, parameters: Doubles, rng: np.random.Generator) -> Doubles:
        return np.asarray(rng.poisson(parameters[..., 0]), np.float64)


def _counted(mean: Doubles, deviation: Doubles, levels: Sequence[float], log_of: Any) -> Doubles:
    """The least count whose distribution function reaches each level.

    Probabilities are summed over counts from 0, or from 8 deviations below the mean, to 12 (of skewed ones 40) above;
    where these are more than 2,048, over cells of counts that are the wider the farther up, each by its middle, and
    within a cell counts are taken to be equally probable.
    """
    first = np.floor(np.maximum(mean - 8.0 * deviation, 0.0))
    last = np.ceil(mean + np.where(deviation > mean, 40.0, 12.0) * deviation) + 10.0
    span = last - first
    points = int(min(max(span.max(initial=1.0), 1.0), _GRID))
    share = np.linspace(0.0, 1.0, points + 1)
    wide = first[..., None] + np.floor(span[..., None] * share ** np.where(first > 0, 1.0, 4.0)[..., None])
    edges = np.where((span <= points)[..., None], first[..., None] + np.arange(points + 1), wide)
    width = np.diff(edges, axis=-1)
    middle = edges[..., :-1] + np.maximum(width - 1.0, 0.0) / 2.0
    below = np.cumsum(np.exp(np.asarray(log_of(middle))) * width, axis=-1)
    below = below / np.maximum(below[..., -1:], 1e-300)
    found = []
    for level in levels:
        cell = np.minimum((below < level).sum(axis=-1), points - 1)[..., None]
        before = np.where(cell > 0, np.take_along_axis(below, np.maximum(cell - 1, 0), -1), 0.0)
        inside = np.maximum(np.take_along_axis(below, cell, -1) - before, 1e-300)
        size = np.take_along_axis(width, cell, -1)
        ahead = np.ceil((level - before) / inside * size) - 1.0
        found.append((np.take_along_axis(edges, cell, -1) + np.clip(ahead, 0.0, np.maximum(size - 1.0, 0.0)))[..., 0])
    return np.stack(found, axis=-1)


FAMILIES: dict[str, Family] = {
    family.name: family for family in (Normal(), StudentT(), Laplace(), LogNormal(), NegativeBinomial(), Poisson())
}
