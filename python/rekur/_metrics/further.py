"""Metrics beyond those of :mod:`rekur.metrics`, which names them: names, arguments and numbers are Keras's.

All gather over the rows of an epoch what their number follows from; none is a mean of batches.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._losses import further as more
from rekur._metrics.base import Metric
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import boolean, integer, real, share

_Any = NDArray[Any]
_EPSILON = 1e-7  # Keras's


@named_after("rekur.metrics", "Metric")
class Further(Metric):
    """Of this module: its arguments are settings, listed in ``_keys``."""

    _keys: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None = None, **options: Any) -> None:
        given = {key: options.pop(key) for key in self._keys if key in options}
        for key, value in given.items():
            setattr(self, key, value)
        super().__init__(name, **options)

    def config(self) -> dict[str, Any]:
        return {**super().config(), **{key: getattr(self, key) for key in self._keys}}


# --- means of losses over rows and steps ---


@named_after("rekur.metrics", "Metric")
class _OfLoss(Further):
    larger_is_better = False
    _loss: ClassVar[Callable[[], Any]]

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(type(self)._loss().values(y_true, y_pred))


class MeanAbsolutePercentageError(_OfLoss):
    """100 · mean |y − ŷ| / max(|y|, 1e-7)."""

    default_name = "mean_absolute_percentage_error"
    _loss = more.MeanAbsolutePercentageError


class MeanSquaredLogarithmicError(_OfLoss):
    """mean (log(1 + y) − log(1 + ŷ))²."""

    default_name = "mean_squared_logarithmic_error"
    _loss = more.MeanSquaredLogarithmicError


class LogCoshError(_OfLoss):
    """mean log cosh(ŷ − y)."""

    default_name = "logcosh"
    _loss = more.LogCosh


class Poisson(_OfLoss):
    """mean (ŷ − y · log(ŷ + 1e-7))."""

    default_name = "poisson"
    _loss = more.Poisson


class KLDivergence(_OfLoss):
    """Σ y · log(y / ŷ), the mean over rows."""

    default_name = "kl_divergence"
    _loss = more.KLDivergence


class Hinge(_OfLoss):
    """mean max(1 − y · ŷ, 0); 0 in y is taken for −1."""

    default_name = "hinge"
    _loss = more.Hinge


class SquaredHinge(_OfLoss):
    """mean max(1 − y · ŷ, 0)²; 0 in y is taken for −1."""

    default_name = "squared_hinge"
    _loss = more.SquaredHinge


class CategoricalHinge(_OfLoss):
    """max(max (1 − y) · ŷ − Σ y · ŷ + 1, 0), the mean over rows."""

    default_name = "categorical_hinge"
    _loss = more.CategoricalHinge


class CosineSimilarity(Further):
    """Σ y · ŷ / (‖y‖ · ‖ŷ‖), the mean over rows: 1 where both point the same way."""

    default_name = "cosine_similarity"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return -np.asarray(more.CosineSimilarity().values(y_true, y_pred))


class BinaryCrossentropy(Further):
    """−y log p − (1 − y) log(1 − p), the mean over rows and features."""

    default_name = "binary_crossentropy"
    larger_is_better = False
    _keys = ("from_logits", "label_smoothing")

    from_logits = Setting(boolean)
    label_smoothing = Setting(share)

    def __init__(
        self, name: str | None = None, *, from_logits: bool = False, label_smoothing: float = 0, **options: Any
    ) -> None:
        super().__init__(name, from_logits=from_logits, label_smoothing=label_smoothing, **options)

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        y = more.smoothed(np.asarray(y_true, np.float64), self.label_smoothing, True)
        return np.asarray(np.mean(more.binary_crossentropy(y, np.asarray(y_pred, np.float64), self.from_logits), -1))


class CategoricalCrossentropy(BinaryCrossentropy):
    """−Σ y log p over the classes, the mean over rows; p is divided by its sum."""

    default_name = "categorical_crossentropy"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        y = more.smoothed(np.asarray(y_true, np.float64), self.label_smoothing, False)
        return np.asarray(more.categorical_crossentropy(y, np.asarray(y_pred, np.float64), self.from_logits))


class SparseCategoricalCrossentropy(Further):
    """−log p[y], the mean over rows; y is the class index."""

    default_name = "sparse_categorical_crossentropy"
    larger_is_better = False
    _keys = ("from_logits",)

    from_logits = Setting(boolean)

    def __init__(self, name: str | None = None, *, from_logits: bool = False, **options: Any) -> None:
        super().__init__(name, from_logits=from_logits, **options)

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        y = one_hot(class_ids(y_true, y_pred), y_pred.shape[-1])
        return np.asarray(more.categorical_crossentropy(y, np.asarray(y_pred, np.float64), self.from_logits))


def class_ids(y_true: _Any, y_pred: _Any) -> _Any:
    """Class indices, one a row."""
    return y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true


def one_hot(ids: _Any, classes: int) -> _Any:
    return np.equal(ids[..., None], np.arange(classes)).astype(np.float64)


class Accuracy(Further):
    """Share of outputs that equal the target."""

    default_name = "accuracy"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        y_true = y_true[..., None] if y_true.ndim == y_pred.ndim - 1 else y_true
        return np.asarray(np.mean(np.equal(y_true, y_pred), axis=-1))

    def config(self) -> dict[str, Any]:
        return {**super().config(), "type": "equal_accuracy"}  # "accuracy" goes by the loss


def _top(y_pred: _Any, ids: _Any, k: int) -> _Any:
    """Whether the class is among the k largest outputs; among equal ones all are."""
    ids = ids.astype(np.int64)
    there = (ids >= 0) & (ids < y_pred.shape[-1])
    own = np.take_along_axis(y_pred, np.where(there, ids, 0)[..., None], axis=-1)
    return np.asarray(there & np.isfinite(own[..., 0]) & (np.sum(y_pred > own, axis=-1) < k))


class TopKCategoricalAccuracy(Further):
    """Share of rows whose class, one-hot, is among the ``k`` largest outputs."""

    default_name = "top_k_categorical_accuracy"
    larger_is_better = True
    _keys = ("k",)

    k = Setting(integer)

    def __init__(self, k: int = 5, name: str | None = None, **options: Any) -> None:
        super().__init__(name, k=k, **options)

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(_top(y_pred, np.argmax(y_true, axis=-1), self.k))


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """Share of rows whose class index is among the ``k`` largest outputs."""

    default_name = "sparse_top_k_categorical_accuracy"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(_top(y_pred, class_ids(y_true, y_pred), self.k))


def positive(value: object, what: str) -> float:
    number = real(value, what, 0)
    if not number:
        raise ValueError(f"{what} must be above 0, got {value!r}")
    return number


def optional(check: Callable[..., Any], *arguments: Any) -> Callable[[Any, str], Any]:
    return lambda value, what: None if value is None else check(value, what, *arguments)


def share_of(part: _Any, whole: _Any) -> _Any:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
