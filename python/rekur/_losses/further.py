"""Losses that are equations in :mod:`rekur.ops`, as one of one's own is, and recorded by ``compile``."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from rekur import ops
from rekur._losses.base import Loss
from rekur._own import named_after
from rekur._trace import Symbol
from rekur._validate import boolean, real, share

_EPSILON = 1e-7  # Keras's


@named_after("rekur.losses", "Loss")
class Traced(Loss):
    """A loss of this module: ``call`` says what it is. The target has the features of the output."""

    _matches: ClassVar[bool] = True  # whether it has

    def __init__(self, **options: Any) -> None:
        self._begin(options)

    @classmethod
    def _is_own(cls) -> bool:
        return True

    def _target(self) -> str:
        return "any" if not self._matches else "probabilities" if self.of_probabilities else "output"


class MeanAbsolutePercentageError(Traced):
    """100 · mean |y − ŷ| / max(|y|, 1e-7) over the features."""

    name = "mean_absolute_percentage_error"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 100.0 * ops.mean(ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), _EPSILON)), axis=-1)


class MeanSquaredLogarithmicError(Traced):
    """mean (log(1 + y) − log(1 + ŷ))² over the features; what is below 1e-7 counts as 1e-7."""

    name = "mean_squared_logarithmic_error"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        first, second = (ops.log(ops.maximum(y, _EPSILON) + 1.0) for y in (y_pred, y_true))
        return ops.mean(ops.square(first - second), axis=-1)


class LogCosh(Traced):
    """mean log cosh(ŷ − y) over the features."""

    name = "log_cosh"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        e = y_pred - y_true
        return ops.mean(e + ops.softplus(-2.0 * e) - float(np.log(2.0)), axis=-1)


class Poisson(Traced):
    """mean (ŷ − y · log(ŷ + 1e-7)) over the features."""

    name = "poisson"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_pred - y_true * ops.log(y_pred + _EPSILON), axis=-1)


class KLDivergence(Traced):
    """Σ y · log(y / ŷ) over the features, both clipped to 1e-7 … 1."""

    name = "kl_divergence"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true, y_pred = ops.clip(y_true, _EPSILON, 1.0), ops.clip(y_pred, _EPSILON, 1.0)
        return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


class CosineSimilarity(Traced):
    """−Σ y · ŷ / (‖y‖ · ‖ŷ‖) over the features: −1 where both point the same way; 0 where one is 0."""

    name = "cosine_similarity"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        squares = [ops.maximum(ops.sum(ops.square(y), axis=-1), 1e-12) for y in (y_true, y_pred)]
        return -ops.sum(y_true * y_pred, axis=-1) * ops.rsqrt(squares[0]) * ops.rsqrt(squares[1])


def _signs(y_true: Any) -> Any:
    return ops.where(ops.equal(y_true, 0.0), -1.0, y_true)


class Hinge(Traced):
    """mean max(1 − y · ŷ, 0) over the features; y is −1 or 1, and 0 is taken for −1."""

    name = "hinge"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0), axis=-1)


class SquaredHinge(Traced):
    """mean max(1 − y · ŷ, 0)² over the features; y is −1 or 1, and 0 is taken for −1."""

    name = "squared_hinge"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(ops.maximum(1.0 - _signs(y_true) * y_pred, 0.0)), axis=-1)


class CategoricalHinge(Traced):
    """max(max (1 − y) · ŷ − Σ y · ŷ + 1, 0); y one-hot."""

    name = "categorical_hinge"

    def call(self, y_true: Any, y_pred: Any) -> Any:
        right, wrong = ops.sum(y_true * y_pred, axis=-1), ops.max((1.0 - y_true) * y_pred, axis=-1)
        return ops.maximum(wrong - right + 1.0, 0.0)


def smoothed(y_true: Any, smoothing: float, binary: bool) -> Any:
    """Labels that are less sure, as Keras's label_smoothing makes them."""
    if not smoothing:
        return y_true
    classes = 2.0 if binary else ops.sum(0.0 * y_true + 1.0, axis=-1, keepdims=True)
    return y_true * (1.0 - smoothing) + smoothing / classes


def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    """Of each feature."""
    if from_logits:
        return ops.maximum(y_pred, 0.0) - y_true * y_pred + ops.softplus(-ops.abs(y_pred))
    p = ops.clip(y_pred, _EPSILON, 1.0 - _EPSILON)
    return -(y_true * ops.log(p) + (1.0 - y_true) * ops.log1p(-p))


def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    """Of each row."""
    if from_logits:
        return -ops.sum(y_true * ops.log_softmax(y_pred), axis=-1)
    p = ops.clip(y_pred / ops.sum(y_pred, axis=-1, keepdims=True), _EPSILON, 1.0 - _EPSILON)
    return -ops.sum(y_true * ops.log(p), axis=-1)


@named_after("rekur.losses", "Loss")
class _Focal(Traced):
    of_probabilities = True

    def _focal(self, options: dict[str, Any], from_logits: object, label_smoothing: object, **own: Any) -> None:
        self._begin(
            options,
            from_logits=boolean(from_logits, f"{self.name}: from_logits"),
            label_smoothing=share(label_smoothing, f"{self.name}: label_smoothing"),
            **own,
        )


class BinaryFocalCrossentropy(_Focal):
    """mean (1 − p_t)^gamma · binary cross-entropy; p_t = y · p + (1 − y) · (1 − p). Lin et al., arXiv:1708.02002.

    With ``apply_class_balancing`` times y · alpha + (1 − y) · (1 − alpha).
    """

    name = "binary_focal_crossentropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        self._focal(
            options,
            from_logits,
            label_smoothing,
            apply_class_balancing=boolean(apply_class_balancing, f"{self.name}: apply_class_balancing"),
            alpha=real(alpha, f"{self.name}: alpha"),
            gamma=real(gamma, f"{self.name}: gamma", 0),
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y = smoothed(y_true, self.label_smoothing, True)
        p = ops.clip(ops.sigmoid(y_pred) if self.from_logits else y_pred, _EPSILON, 1.0 - _EPSILON)
        value = ops.power(1.0 - (y * p + (1.0 - y) * (1.0 - p)), self.gamma) * binary_crossentropy(y, p)
        if self.apply_class_balancing:
            value = value * (y * self.alpha + (1.0 - y) * (1.0 - self.alpha))
        return ops.mean(value, axis=-1)


class CategoricalFocalCrossentropy(_Focal):
    """−Σ alpha · (1 − p)^gamma · y · log p over the classes. Lin et al., arXiv:1708.02002."""

    name = "categorical_focal_crossentropy"

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        **options: Any,
    ) -> None:
        several = not np.isscalar(alpha)
        checked = [real(a, f"{self.name}: alpha") for a in (alpha if several else (alpha,))]
        self._focal(
            options,
            from_logits,
            label_smoothing,
            alpha=checked if several else checked[0],
            gamma=real(gamma, f"{self.name}: gamma", 0),
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y = smoothed(y_true, self.label_smoothing, False)
        p = ops.softmax(y_pred) if self.from_logits else y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
        p = ops.clip(p, _EPSILON, 1.0 - _EPSILON)
        alpha = np.asarray(self.alpha, np.float64) if isinstance(self.alpha, list) else self.alpha
        return -ops.sum(y * ops.log(p) * ops.power(1.0 - p, self.gamma) * alpha, axis=-1)


class CategoricalGeneralizedCrossEntropy(Traced):
    """(1 − p^q) / q, p the output at the class that y names: of labels that may be wrong. arXiv:1805.07836.

    y is the class index, ŷ the probabilities. q near 0 is cross-entropy, near 1 the absolute error.
    """

    name = "categorical_generalized_cross_entropy"
    _matches = False

    def __init__(self, q: float = 0.5, **options: Any) -> None:
        q = real(q, f"{self.name}: q")
        if not 0 < q < 1:
            raise ValueError(f"{self.name}: q must lie between 0 and 1, got {q!r}")
        self._begin(options, q=q)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        p = ops.sum(y_pred * ops.one_hot(y_true, _features_of(y_pred)), axis=-1)
        return (1.0 - ops.power(ops.maximum(p, 1e-30), self.q)) / self.q  # whose slope at 0 is infinite


def _features_of(y_pred: Any) -> int:
    """Of an array, or of the output that a loss is traced for."""
    trace: Any = y_pred._trace if isinstance(y_pred, Symbol) else None
    return int(np.shape(y_pred)[-1] if trace is None else trace._features)


class Tversky(Traced):
    """1 − Σ y·ŷ / (Σ y·ŷ + alpha · Σ y·(1 − ŷ) + beta · Σ (1 − y)·ŷ) of each row or step, over its features.

    Keras's with ``axis=-1``; there the sums are over the whole batch unless that is given.
    """

    name = "tversky"

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, **options: Any) -> None:
        if options.get("axis") == -1:
            del options["axis"]
        self._begin(options, alpha=real(alpha, f"{self.name}: alpha"), beta=real(beta, f"{self.name}: beta"))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        both = ops.sum(y_true * y_pred, axis=-1)
        missed, wrong = ops.sum(y_true * (1.0 - y_pred), axis=-1), ops.sum((1.0 - y_true) * y_pred, axis=-1)
        return 1.0 - both / (both + self.alpha * missed + self.beta * wrong + _EPSILON)


class Dice(Traced):
    """1 − 2 · Σ y·ŷ / (Σ y + Σ ŷ + 1e-7) of each row or step, over its features.

    Keras's with ``axis=-1``; there the sums are over the whole batch unless that is given.
    """

    name = "dice"

    def __init__(self, **options: Any) -> None:
        if options.get("axis") == -1:
            del options["axis"]
        self._begin(options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        whole = ops.sum(y_true, axis=-1) + ops.sum(y_pred, axis=-1)
        return 1.0 - 2.0 * ops.sum(y_true * y_pred, axis=-1) / (whole + _EPSILON)


class Quantile(Traced):
    """The pinball loss, mean max(q · e, (q − 1) · e), e = y − ŷ: ŷ is the q-quantile of y.

    Parameters
    ----------
    quantiles : float or list of float
        Between 0 and 1. Several: the output has a feature for each, the target one.
    """

    name = "quantile"
    _matches = False

    def __init__(self, quantiles: Any = 0.5, **options: Any) -> None:
        several = not np.isscalar(quantiles)
        checked = [real(q, "quantile: quantiles") for q in (quantiles if several else (quantiles,))]
        if not checked or not all(0 < q < 1 for q in checked):
            raise ValueError(f"quantile: quantiles must lie between 0 and 1, got {quantiles!r}")
        self._begin(options, quantiles=checked if several else checked[0])

    def bound(self, shape: Sequence[int | None]) -> Loss:
        if isinstance(self.quantiles, list) and shape[-1] != len(self.quantiles):
            raise ValueError(
                f"quantile: expected an output of {len(self.quantiles)} features, one a quantile, got {shape[-1]}"
            )
        return super().bound(shape)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        e = y_true - y_pred
        q = np.asarray(self.quantiles, np.float64) if isinstance(self.quantiles, list) else self.quantiles
        return ops.mean(ops.maximum(q * e, (q - 1.0) * e), axis=-1)


def _log_gamma(x: Any) -> Any:
    """log Γ(x), x > 0: Stirling's series of x + 7, less the logarithms of what lies between."""
    z = x + 7.0
    between = x * (x + 1.0) * (x + 2.0) * (x + 3.0)
    further = (x + 4.0) * (x + 5.0) * (x + 6.0)
    inverse = 1.0 / z
    series = inverse * (1 / 12 - ops.square(inverse) * (1 / 360 - ops.square(inverse) / 1260))
    return (z - 0.5) * ops.log(z) - z + float(0.5 * np.log(2 * np.pi)) + series - ops.log(between) - ops.log(further)


@named_after("rekur.losses", "Loss")
class _Likelihood(Traced):
    """The negative logarithm of a likelihood whose parameters are the output's features."""

    _matches = False
    _count: ClassVar[int]

    def _likelihood(self, y_true: Any, *parameters: Any) -> Any:
        raise NotImplementedError

    def _split(self, features: int) -> Callable[[Any, Any], Any]:
        n = features // self._count
        if n * self._count != features:
            raise ValueError(
                f"{self.name}: expected an output of {self._count} features for each of the target, got {features}"
            )

        def call(y_true: Any, y_pred: Any) -> Any:
            return self._likelihood(y_true, *(y_pred[..., k * n : (k + 1) * n] for k in range(self._count)))

        return call

    def bound(self, shape: Sequence[int | None]) -> Loss:
        if shape[-1] is None:
            raise ValueError(f"{self.name}: expected an output of known features")
        return self._record(self._split(shape[-1]), shape)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(self._split(np.shape(y_pred)[-1])(y_true, y_pred), axis=-1)


class GaussianLikelihood(_Likelihood):
    """−log N(y; μ, σ), the mean over the target's features.

    The output has two features for each of the target: first all μ, then all s, σ = softplus(s) + 1e-6.
    """

    name = "gaussian_likelihood"
    _count = 2

    def _likelihood(self, y_true: Any, *parameters: Any) -> Any:
        mean, scale = parameters
        scale = ops.softplus(scale) + 1e-6
        return ops.log(scale) + 0.5 * ops.square((y_true - mean) / scale) + float(0.5 * np.log(2 * np.pi))


class StudentTLikelihood(_Likelihood):
    """−log of Student's t density of y with mean μ, scale σ and ν degrees of freedom, the mean over the features.

    The output has three features for each of the target: first all μ, then all s, σ = softplus(s) + 1e-6, then all d,
    ν = 2 + softplus(d).
    """

    name = "student_t_likelihood"
    _count = 3

    def _likelihood(self, y_true: Any, *parameters: Any) -> Any:
        mean, scale, freedom = parameters
        scale, nu = ops.softplus(scale) + 1e-6, ops.softplus(freedom) + 2.0
        away = ops.log1p(ops.square((y_true - mean) / scale) / nu)
        gammas = _log_gamma(0.5 * nu) - _log_gamma(0.5 * nu + 0.5)
        return gammas + 0.5 * ops.log(nu) + float(0.5 * np.log(np.pi)) + ops.log(scale) + 0.5 * (nu + 1.0) * away


class NegativeBinomialLikelihood(_Likelihood):
    """−log of the negative binomial probability of the count y, the mean over the features. Salinas et al.,
    arXiv:1704.04110 (DeepAR).

    The output has two features for each of the target: first all m, mean μ = softplus(m) + 1e-6, then all a,
    α = softplus(a) + 1e-6; the variance is μ + α · μ².
    """

    name = "negative_binomial_likelihood"
    _count = 2

    def _likelihood(self, y_true: Any, *parameters: Any) -> Any:
        mean, alpha = (ops.softplus(p) + 1e-6 for p in parameters)
        r, total = 1.0 / alpha, ops.log1p(alpha * mean)
        counts = _log_gamma(r) + _log_gamma(y_true + 1.0) - _log_gamma(y_true + r)
        return counts + r * total - y_true * (ops.log(alpha * mean) - total)
