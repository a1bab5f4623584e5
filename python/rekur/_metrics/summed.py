"""Metrics that follow from sums over all rows: F scores, R², overlaps of classes, means and sums of values."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur._metrics.further import Further, class_ids, one_hot, optional, positive, share_of
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import as_numeric, boolean, integer, one_of, real, sample_weights, spread

_Any = NDArray[Any]
_EPSILON = 1e-7  # Keras's


@named_after("rekur.metrics", "Metric")
class _Sums(Further):
    """Sums that take their shape from the first rows."""

    def reset_state(self) -> None:
        self._gathered: dict[str, Any] = {}

    def _gather(self, **sums: Any) -> None:
        for key, value in sums.items():
            self._gathered[key] = self._gathered.get(key, 0.0) + value


class FBetaScore(_Sums):
    """(1 + beta²) · precision · recall / (beta² · precision + recall) of each class.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        None: an array, which ``fit`` cannot show; of all classes together; their mean; their mean by their number.
    beta : float
    threshold : float, optional
        An output above it counts as predicted. Without it the largest of the row does.
    """

    default_name = "fbeta_score"
    larger_is_better = True
    _keys: ClassVar[tuple[str, ...]] = ("average", "beta", "threshold")

    average = Setting(optional(one_of("micro", "macro", "weighted")))
    beta = Setting(positive)
    threshold = Setting(optional(positive))

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, average=average, beta=beta, threshold=threshold, **options)

    _one_by = "average='macro' (or 'micro', 'weighted') makes one of a number a class"

    def _several(self) -> bool:
        return self.average is None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        classes = y_pred.shape[-1]
        if y_true.ndim == y_pred.ndim - 1 or y_true.shape[-1] == 1 < classes:
            ids = class_ids(y_true, y_pred)
            y_true = one_hot(ids, classes) if classes > 1 else ids[..., None]
        if self.threshold is None:
            said = (y_pred >= np.max(y_pred, axis=-1, keepdims=True)) & (np.abs(y_pred) > 1e-9)
        else:
            said = y_pred > self.threshold
        yes, w = np.asarray(y_true, np.float64), weight[:, None]
        axis = None if self.average == "micro" else 0

        def total(values: _Any) -> Any:
            return np.sum(values * w, axis=axis)

        self._gather(tp=total(said * yes), fp=total(said * (1 - yes)), fn=total(~said * yes), number=total(yes))

    def result(self) -> Any:
        if not self._gathered:
            return 0.0
        tp, fp, fn, number = (self._gathered[key] for key in ("tp", "fp", "fn", "number"))
        precision, recall = tp / (tp + fp + _EPSILON), tp / (tp + fn + _EPSILON)
        scores = precision * recall / (self.beta**2 * precision + recall + _EPSILON) * (1 + self.beta**2)
        if self.average == "weighted":
            return float(np.sum(scores * number) / (np.sum(number) + _EPSILON))
        return scores if self.average is None else float(np.mean(scores))


class F1Score(FBetaScore):
    """2 · precision · recall / (precision + recall) of each class; arguments as of :class:`FBetaScore`."""

    default_name = "f1_score"
    _keys = ("average", "threshold")

    beta = 1.0

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = None, **options: Any
    ) -> None:
        Further.__init__(self, name, average=average, threshold=threshold, **options)


class R2Score(_Sums):
    """1 − Σ (y − ŷ)² / Σ (y − mean y)², of each feature.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        How features make one number; None: an array, which ``fit`` cannot show.
    num_regressors : int
        Above 0: adjusted by so many independent variables.
    """

    default_name = "r2_score"
    larger_is_better = True
    _keys = ("class_aggregation", "num_regressors")

    class_aggregation = Setting(optional(one_of("uniform_average", "variance_weighted_average")))
    num_regressors = Setting(lambda value, what: integer(value, what, 0))

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, class_aggregation=class_aggregation, num_regressors=num_regressors, **options)

    _one_by = "class_aggregation='uniform_average' makes one of a number a feature"

    def _several(self) -> bool:
        return self.class_aggregation is None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        y_true, y_pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        y_true = y_true[..., None] if y_true.ndim == y_pred.ndim - 1 else y_true
        if not len(y_true):
            return
        w = weight[:, None]
        # Sums about a value of the series lose no digits where its mean is far from 0.
        origin = self._gathered.setdefault("origin", y_true[0].copy())
        away = y_true - origin
        self._gather(
            number=np.sum(w),
            sum=np.sum(w * away, axis=0),
            squares=np.sum(w * away**2, axis=0),
            error=np.sum(w * (y_true - y_pred) ** 2, axis=0),
            samples=y_true.size,
        )

    def result(self) -> Any:
        g = self._gathered
        if not g or not g["number"]:
            return 0.0
        total = g["squares"] - g["sum"] ** 2 / g["number"]
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = 1 - g["error"] / total
        scores = np.where(np.isinf(scores), 0.0, scores)
        if self.class_aggregation == "uniform_average":
            scores = np.mean(scores)
        elif self.class_aggregation is not None:
            scores = np.sum(total * scores) / np.sum(total)
        n, p = g["samples"], self.num_regressors
        if p and p < n - 1:
            scores = 1 - (1 - scores) * (n - 1) / (n - p - 1)
        return float(scores) if np.ndim(scores) == 0 else scores


class PearsonCorrelation(Further):
    """The correlation of target and output over the features of a row, the mean over rows, as in Keras."""

    default_name = "pearson_correlation"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        parts = []
        for y in (np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)):
            away = y - y.mean(axis=-1, keepdims=True)
            parts.append(away / away.std(axis=-1, keepdims=True))
        return np.asarray(np.mean(parts[0] * parts[1], axis=-1))


class ConcordanceCorrelation(Further):
    """How near target and output are to being one over the features of a row, 2 cov / (var + var + (mean − mean)²); the
    mean over rows, as in Keras.
    """

    default_name = "concordance_correlation"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        one, two = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
        means = [y.mean(axis=-1, keepdims=True) for y in (one, two)]
        norm = one.var(axis=-1) + two.var(axis=-1) + np.square(means[0] - means[1])[..., 0]
        return np.asarray(2 * np.mean((one - means[0]) * (two - means[1]), axis=-1) / (norm + 1e-7))


# --- overlap of classes ---


def _classes(value: Any, what: str) -> list[int]:
    return [integer(v, what, 0) for v in value]


class MeanIoU(_Sums):
    """The mean over classes of intersection over union, tp / (tp + fp + fn); classes that never occur do not count.

    Parameters
    ----------
    num_classes : int
    ignore_class : int, optional
        Targets of that class are left out.
    sparse_y_true, sparse_y_pred : bool
        Whether there are class indices; else the largest feature is the class.

    Notes
    -----
    Weights are real numbers; Keras rounds them down to whole ones.
    """

    default_name = "mean_io_u"
    larger_is_better = True
    _keys: ClassVar[tuple[str, ...]] = ("num_classes", "ignore_class", "sparse_y_true", "sparse_y_pred")

    _weighs_elements = True

    num_classes = Setting(integer)
    ignore_class = Setting(optional(integer, -(2**31)))
    sparse_y_true = Setting(boolean)
    sparse_y_pred = Setting(boolean)

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        **options: Any,
    ) -> None:
        own = {"ignore_class": ignore_class, "sparse_y_true": sparse_y_true, "sparse_y_pred": sparse_y_pred}
        super().__init__(name, num_classes=num_classes, **own, **options)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        y_true = y_true if self.sparse_y_true else np.argmax(y_true, axis=-1)
        y_pred = y_pred if self.sparse_y_pred else np.argmax(y_pred, axis=-1)
        weight = spread(weight, y_pred.shape)
        y_true, y_pred, weight = y_true.reshape(-1), y_pred.reshape(-1), weight.reshape(-1)
        n = self.num_classes
        there = (y_true >= 0) & (y_true < n) & (y_pred >= 0) & (y_pred < n)
        if self.ignore_class is not None:
            there &= y_true != self.ignore_class
        places = y_true[there].astype(np.int64) * n + y_pred[there].astype(np.int64)
        self._gather(matrix=np.bincount(places, weights=weight[there], minlength=n * n).reshape(n, n))

    def _scores(self) -> tuple[_Any, _Any]:
        """Of each class, and whether it occurs."""
        matrix = self._gathered.get("matrix", np.zeros((self.num_classes,) * 2))
        both = np.diag(matrix)
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - both
        return share_of(both, union), union > 0

    def result(self) -> float:
        scores, occurs = self._scores()
        return float(scores.sum() / occurs.sum()) if occurs.any() else 0.0


class IoU(MeanIoU):
    """Intersection over union of some classes, ``target_class_ids``, their mean; arguments as of :class:`MeanIoU`."""

    default_name = "io_u"
    _keys = (*MeanIoU._keys, "target_class_ids")

    target_class_ids = Setting(_classes)

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        **options: Any,
    ) -> None:
        own = {"ignore_class": ignore_class, "sparse_y_true": sparse_y_true, "sparse_y_pred": sparse_y_pred}
        Further.__init__(self, name, num_classes=num_classes, target_class_ids=target_class_ids, **own, **options)

    def result(self) -> float:
        scores, occurs = self._scores()
        chosen = [k for k in self.target_class_ids if k < len(scores) and occurs[k]]
        return float(scores[chosen].mean()) if chosen else 0.0


class OneHotIoU(IoU):
    """:class:`IoU` of targets that are one-hot, and of outputs whose largest feature is the class."""

    default_name = "one_hot_io_u"
    _keys = ("num_classes", "target_class_ids", "ignore_class", "sparse_y_pred")

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        **options: Any,
    ) -> None:
        self.sparse_y_true = False
        own = {"target_class_ids": target_class_ids, "ignore_class": ignore_class, "sparse_y_pred": sparse_y_pred}
        Further.__init__(self, name, num_classes=num_classes, **own, **options)


class OneHotMeanIoU(MeanIoU):
    """:class:`MeanIoU` of targets that are one-hot, and of outputs whose largest feature is the class."""

    default_name = "one_hot_mean_io_u"
    _keys = ("num_classes", "ignore_class", "sparse_y_pred")

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        *,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        **options: Any,
    ) -> None:
        self.sparse_y_true = False
        own = {"ignore_class": ignore_class, "sparse_y_pred": sparse_y_pred}
        Further.__init__(self, name, num_classes=num_classes, **own, **options)


class BinaryIoU(IoU):
    """:class:`IoU` of two classes, of which outputs from ``threshold`` on are 1."""

    default_name = "binary_io_u"
    _keys = ("target_class_ids", "threshold")

    threshold = Setting(real)

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.num_classes, self.ignore_class, self.sparse_y_true, self.sparse_y_pred = 2, None, True, True
        Further.__init__(self, name, target_class_ids=target_class_ids, threshold=threshold, **options)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        super().update_state(y_true, np.asarray(y_pred, np.float32) >= np.float32(self.threshold), sample_weight)


# --- of values alone ---


class Mean(Further):
    """The weighted mean of values: ``update_state(values, sample_weight=None)``."""

    default_name = "mean"

    def update_state(self, values: Any, sample_weight: Any = None, _: Any = None) -> None:  # type: ignore[override]
        values = as_numeric(values, f"{self._whose()}: values").astype(np.float64)
        given = 1.0 if sample_weight is None else sample_weight
        weight = spread(sample_weights(given, values.shape, self._whose()), values.shape)
        self._sum += float(np.sum(np.where(weight == 0, 0.0, values) * weight))
        self._weight += float(np.sum(weight))

    def __call__(self, values: Any, sample_weight: Any = None, _: Any = None) -> Any:  # type: ignore[override]
        self.update_state(values, sample_weight)
        return self.result()


class Sum(Mean):
    """The weighted sum of values: ``update_state(values, sample_weight=None)``."""

    default_name = "sum"

    def result(self) -> float:
        return self._sum
