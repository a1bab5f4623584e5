"""Metrics that follow from counts of what is right and wrong at thresholds: precision, recall, AUC and others."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur import ops
from rekur._metrics.further import Further, one_hot, optional, share_of
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import boolean, integer, one_of, real, share, spread

_Any = NDArray[Any]
_EPSILON = 1e-7  # Keras's


def _thresholds(value: Any, what: str) -> Any:
    if value is None:
        return None
    several = not np.isscalar(value)
    checked = [real(t, what, 0, 1) for t in (value if several else (value,))]
    return checked if several else checked[0]


_class_id = optional(integer, 0)


@named_after("rekur.metrics", "Metric")
class _Confusion(Further):
    """Sums of the weights of true and false positives and negatives at thresholds, which an output has to exceed."""

    class_id: Any = None
    top_k: Any = None
    _weighs_elements = True
    _tp: _Any  # of each threshold
    _fp: _Any
    _tn: _Any
    _fn: _Any

    def _cuts(self) -> _Any:
        """The thresholds, ascending or not."""
        raise NotImplementedError

    def _above(self, y_pred: _Any) -> _Any:
        """How many of the thresholds, sorted, each output exceeds."""
        return np.searchsorted(np.sort(self._cuts()), y_pred, side="left")

    def reset_state(self) -> None:
        n = len(self._cuts())
        self._tp, self._fp, self._tn, self._fn = (np.zeros(n) for _ in range(4))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        y_pred = np.asarray(y_pred, np.float32)
        if y_true.ndim == y_pred.ndim - 1:
            y_true = one_hot(y_true, y_pred.shape[-1]) if y_pred.shape[-1] > 1 else y_true[..., None]
        elif y_true.shape[-1] == 1 < y_pred.shape[-1]:
            y_true = one_hot(y_true[..., 0], y_pred.shape[-1])
        if self.top_k is not None:
            order = np.argsort(-y_pred, axis=-1, kind="stable")[..., : self.top_k]
            kept = np.zeros(y_pred.shape, bool)
            np.put_along_axis(kept, order, True, axis=-1)
            y_pred = np.where(kept, y_pred, np.float32(-1e10))
        if self.class_id is not None:
            y_true, y_pred = y_true[..., self.class_id, None], y_pred[..., self.class_id, None]
        weight = spread(weight, y_pred.shape)
        self._count(y_true != 0, y_pred, weight)

    def _count(self, right: _Any, y_pred: _Any, weight: _Any) -> None:
        tp, fp, yes, no = self._counts(right, y_pred, weight)
        self._tp += tp
        self._fp += fp
        self._fn += yes - tp
        self._tn += no - fp

    def _counts(self, right: _Any, y_pred: _Any, weight: _Any) -> tuple[_Any, _Any, float, float]:
        """The true and false positives at each threshold, and the weights of all that is right and that is not."""
        weight, right = weight.reshape(-1), right.reshape(-1)
        is_number, n = ~np.isnan(y_pred), len(self._tp)
        above = (self._above(np.where(is_number, y_pred, np.float32(0))) * is_number).reshape(-1)  # NaN exceeds nothing

        def over(what: _Any) -> _Any:  # of each threshold: the weights of what exceeds it
            return np.bincount(above, weights=what, minlength=n + 1)[::-1].cumsum()[::-1][1 : n + 1]

        places = np.argsort(self._cuts(), kind="stable")
        yes, no = np.where(right, weight, 0.0), np.where(right, 0.0, weight)
        tp, fp = np.empty(n), np.empty(n)
        tp[places], fp[places] = over(yes), over(no)
        return tp, fp, float(yes.sum()), float(no.sum())

    def _number(self, values: _Any) -> Any:
        """A number of one threshold, an array of several."""
        return float(values[0]) if len(values) == 1 else values


@named_after("rekur.metrics", "Metric")
class _AtThresholds(_Confusion):
    _keys: ClassVar[tuple[str, ...]] = ("thresholds",)

    thresholds = Setting(_thresholds)

    def __init__(self, thresholds: Any = None, name: str | None = None, **options: Any) -> None:
        super().__init__(name, thresholds=thresholds, **options)

    _one_by = "give one threshold, or several metrics of different names"

    def _several(self) -> bool:
        return len(self._cuts()) > 1

    def _cuts(self) -> _Any:
        given = self.thresholds
        if given is None:
            given = 0.5 if self.top_k is None else -1e10
        return np.atleast_1d(np.asarray(given, np.float32))


class TruePositives(_AtThresholds):
    """Sum of the weights of outputs above the threshold, 0.5 by default, whose target is not 0."""

    default_name = "true_positives"
    larger_is_better = True

    def result(self) -> Any:
        return self._number(self._tp)


class FalsePositives(_AtThresholds):
    """Sum of the weights of outputs above the threshold, 0.5 by default, whose target is 0."""

    default_name = "false_positives"
    larger_is_better = False

    def result(self) -> Any:
        return self._number(self._fp)


class TrueNegatives(_AtThresholds):
    """Sum of the weights of outputs not above the threshold, 0.5 by default, whose target is 0."""

    default_name = "true_negatives"
    larger_is_better = True

    def result(self) -> Any:
        return self._number(self._tn)


class FalseNegatives(_AtThresholds):
    """Sum of the weights of outputs not above the threshold, 0.5 by default, whose target is not 0."""

    default_name = "false_negatives"
    larger_is_better = False

    def result(self) -> Any:
        return self._number(self._fn)


class Precision(_AtThresholds):
    """True positives as a share of all positives that are predicted.

    Parameters
    ----------
    thresholds : float or list of float, optional
        0.5, with ``top_k`` none.
    top_k : int, optional
        Only the largest outputs of each row count as positive.
    class_id : int, optional
        Only that feature counts.
    """

    default_name = "precision"
    larger_is_better = True
    _keys = ("thresholds", "top_k", "class_id")

    top_k = Setting(optional(integer))
    class_id = Setting(_class_id)

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(thresholds, name, top_k=top_k, class_id=class_id, **options)

    def result(self) -> Any:
        return self._number(share_of(self._tp, self._tp + self._fp))


class Recall(Precision):
    """True positives as a share of all whose target is positive; arguments as of :class:`Precision`."""

    default_name = "recall"

    def result(self) -> Any:
        return self._number(share_of(self._tp, self._tp + self._fn))


def _evenly(n: int) -> list[float]:
    return [0.5] if n == 1 else [0.0, *((i + 1) * 1.0 / (n - 1) for i in range(n - 2)), 1.0]


@named_after("rekur.metrics", "Metric")
class _Curve(_Confusion):
    """At thresholds that are evenly spaced."""

    num_thresholds: Any
    _all_exceed_first = False  # whether the first threshold is below 0

    def _cuts(self) -> _Any:
        return np.asarray(_evenly(self.num_thresholds), np.float32)

    def _above(self, y_pred: _Any) -> _Any:
        n = len(self._cuts())
        if n < 3:
            return super()._above(y_pred)
        bucket = np.ceil(np.clip(y_pred, 0, 1) * np.float32(n - 1))  # as Keras rounds
        return np.asarray(np.maximum(bucket, 1 if self._all_exceed_first else 0).astype(np.int64))


def _label_weights(value: Any, what: str) -> list[float]:
    found = [real(v, what, 0) for v in value]
    if not any(found):
        raise ValueError(f"{what}: expected a weight above 0, got {value!r}")
    return found


@named_after("rekur.metrics", "Metric")
class _Constrained(_Curve):
    """The largest of one share where another is at least a value."""

    larger_is_better = True
    _value: ClassVar[str]

    num_thresholds = Setting(integer)
    class_id = Setting(_class_id)

    def __init__(
        self, value: float, num_thresholds: int, class_id: int | None, name: str | None, options: dict[str, Any]
    ) -> None:
        own = {self._value: value, "num_thresholds": num_thresholds, "class_id": class_id}
        super().__init__(name, **own, **options)

    def _shares(self) -> tuple[_Any, _Any]:
        """What has to be at least the value, and what is to be largest."""
        raise NotImplementedError

    def result(self) -> float:
        held, wanted = self._shares()
        return float(np.max(np.where(held >= getattr(self, self._value), wanted, 0.0), initial=0.0))

    def _sensitivity(self) -> _Any:
        return share_of(self._tp, self._tp + self._fn)

    def _specificity(self) -> _Any:
        return share_of(self._tn, self._tn + self._fp)

    def _precision(self) -> _Any:
        return share_of(self._tp, self._tp + self._fp)


class SensitivityAtSpecificity(_Constrained):
    """The best sensitivity, tp / (tp + fn), where specificity is at least ``specificity``."""

    default_name = "sensitivity_at_specificity"
    _value, _keys = "specificity", ("specificity", "num_thresholds", "class_id")

    specificity = Setting(share)

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, options)

    def _shares(self) -> tuple[_Any, _Any]:
        return self._specificity(), self._sensitivity()


class SpecificityAtSensitivity(_Constrained):
    """The best specificity, tn / (tn + fp), where sensitivity is at least ``sensitivity``."""

    default_name = "specificity_at_sensitivity"
    _value, _keys = "sensitivity", ("sensitivity", "num_thresholds", "class_id")

    sensitivity = Setting(share)

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, options)

    def _shares(self) -> tuple[_Any, _Any]:
        return self._sensitivity(), self._specificity()


class PrecisionAtRecall(_Constrained):
    """The best precision where recall is at least ``recall``."""

    default_name = "precision_at_recall"
    _value, _keys = "recall", ("recall", "num_thresholds", "class_id")

    recall = Setting(share)

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, options)

    def _shares(self) -> tuple[_Any, _Any]:
        return self._sensitivity(), self._precision()


class RecallAtPrecision(_Constrained):
    """The best recall where precision is at least ``precision``."""

    default_name = "recall_at_precision"
    _value, _keys = "precision", ("precision", "num_thresholds", "class_id")

    precision = Setting(share)

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, options)

    def _shares(self) -> tuple[_Any, _Any]:
        return self._precision(), self._sensitivity()


class AUC(_Curve):
    """The area under a curve of the shares at ``num_thresholds`` thresholds, all rows and features together, or with
    ``multi_label`` the mean of the features' areas.

    Parameters
    ----------
    num_thresholds : int
        Evenly spaced from just below 0 to just above 1.
    curve : {"ROC", "PR", "PRGAIN"}
        Sensitivity over 1 − specificity, precision over recall, or what both gain over always saying yes.
    summation_method : {"interpolation", "minoring", "majoring"}
    thresholds : list of float, optional
        Others, between 0 and 1.
    multi_label : bool
        An area for each feature, then their mean.
    num_labels : int, optional
        With ``multi_label`` the number of features, which data that has another one is refused for.
    label_weights : list of float, optional
        What each feature's area counts in the mean, which is the plain one otherwise.
    from_logits : bool
        The outputs are logits: their sigmoid counts.
    """

    default_name = "auc"
    larger_is_better = True
    _all_exceed_first = True
    _keys = (
        *("num_thresholds", "curve", "summation_method", "thresholds"),
        *("multi_label", "num_labels", "label_weights", "from_logits"),
    )

    num_thresholds = Setting(lambda value, what: integer(value, what, 2))
    curve = Setting(one_of("roc", "pr", "prgain"))
    summation_method = Setting(one_of("interpolation", "minoring", "majoring"))
    thresholds = Setting(_thresholds)
    multi_label = Setting(boolean)
    num_labels = Setting(optional(integer))
    label_weights = Setting(optional(_label_weights))
    from_logits = Setting(boolean)

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        *,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
        **options: Any,
    ) -> None:
        if not multi_label and label_weights is not None:
            raise ValueError("AUC: label_weights are those of multi_label=True")
        super().__init__(
            name,
            num_thresholds=num_thresholds,
            curve=curve,
            summation_method=summation_method,
            thresholds=thresholds,
            multi_label=multi_label,
            num_labels=num_labels,
            label_weights=label_weights,
            from_logits=from_logits,
            **options,
        )

    def _cuts(self) -> _Any:
        inner = (
            _evenly(self.num_thresholds)[1:-1] if self.thresholds is None else sorted(np.atleast_1d(self.thresholds))
        )
        return np.asarray([-_EPSILON, *inner, 1 + _EPSILON], np.float32)

    def _above(self, y_pred: _Any) -> _Any:
        if self.thresholds is None:
            return super()._above(y_pred)
        return _Confusion._above(self, y_pred)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if self.from_logits:
            y_pred = ops.sigmoid(np.asarray(y_pred, np.float32))
        super().update_state(y_true, y_pred, sample_weight)

    def _count(self, right: _Any, y_pred: _Any, weight: _Any) -> None:
        if not self.multi_label:
            super()._count(right, y_pred, weight)
            return
        labels = y_pred.shape[-1]
        given = self.num_labels if self.label_weights is None else len(self.label_weights)
        if labels not in (given, labels if given is None else given) or self._tp.shape[1:] not in ((), (labels,)):
            wanted = given if given is not None else self._tp.shape[1]
            raise ValueError(f"metric '{self.name}': expected outputs of {wanted} labels, got {labels}")
        if self._tp.ndim == 1:
            self._tp, self._fp, self._tn, self._fn = (np.zeros((len(self._tp), labels)) for _ in range(4))
        for k in range(labels):
            tp, fp, yes, no = self._counts(right[..., k], y_pred[..., k], weight[..., k])
            self._tp[:, k] += tp
            self._fp[:, k] += fp
            self._fn[:, k] += yes - tp
            self._tn[:, k] += no - fp

    def result(self) -> float:
        counts = self._tp, self._fp, self._tn, self._fn
        if self._tp.ndim == 1:
            return self._area(*counts)
        areas = [self._area(*(c[:, k] for c in counts)) for k in range(self._tp.shape[1])]
        return float(np.average(areas, weights=self.label_weights))

    def _area(self, tp: _Any, fp: _Any, tn: _Any, fn: _Any) -> float:
        if self.curve == "pr" and self.summation_method == "interpolation":
            p = tp + fp
            dtp, dp = tp[:-1] - tp[1:], p[:-1] - p[1:]
            slope = share_of(dtp, np.maximum(dp, 0))
            intercept = tp[1:] - slope * p[1:]
            both = (p[:-1] > 0) & (p[1:] > 0)
            ratio = np.where(both, np.divide(p[:-1], p[1:], out=np.ones_like(dp), where=both), 1.0)
            return float(np.sum(share_of(slope * (dtp + intercept * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0))))
        recall = share_of(tp, tp + fn)
        x, y = (recall, share_of(tp, tp + fp)) if self.curve == "pr" else (share_of(fp, fp + tn), recall)
        if self.curve == "prgain":  # Flach & Kull, NeurIPS 2015; no true positive: no recall, all precision
            ratio = share_of(tp + fn, tn + fp)
            x = np.maximum(np.where(tp == 0, 0.0, 1 - ratio * share_of(fn, tp)), 0.0)
            y = np.where(tp == 0, 1.0, 1 - ratio * share_of(fp, tp))
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }
        return float(np.sum((x[:-1] - x[1:]) * heights[self.summation_method]))
