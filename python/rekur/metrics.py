"""Metrics, by name, as an object, or as a plain function of (y_true, y_pred).

A metric is a mean over rows and valid steps, in ``weighted_metrics=`` each times its sample weight, gathered over the
batches of an epoch. What has weight 0 is not there: no metric ever sees its target. In training it is computed from the
outputs the step was made with.

``"accuracy"`` is the accuracy that goes with the loss: class indices that are right for
sparse_categorical_crossentropy; for binary_crossentropy the share of all outputs on the right side of 0.5, with
``from_logits`` of 0; for any other loss the same of one output, and of several whether the largest is the right one.
Keras looks at the shapes alone, and so differs in two places. Where binary_crossentropy has several outputs, its
number is :class:`CategoricalAccuracy` (``CategoricalAccuracy("accuracy")`` here), and ours is written
``BinaryAccuracy(threshold=0.5)`` there. Where the output is a logit, its number is that of a threshold of 0.5
(``BinaryAccuracy("accuracy", threshold=0.5)`` here), and ours is ``BinaryAccuracy(threshold=0.0)`` there.
"""

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur import losses
from rekur._own import check_options, no_attribute
from rekur._settings import Guarded, Setting
from rekur._validate import check_data, real

_Any = NDArray[Any]


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{what} must be a text, got {value!r}")
    return value


class Metric(Guarded):
    """Base of the metrics. Your own overrides :meth:`values`, or ``update_state``, ``result`` and ``reset_state``.

    Parameters
    ----------
    name : str, optional
        What it is called in logs and in ``History``.

    Attributes
    ----------
    larger_is_better : bool or None
        What EarlyStopping, ModelCheckpoint and ReduceLROnPlateau go by with ``mode="auto"``.

    Notes
    -----
    Parameters are attributes; one that is set acts from the next pass over data on, in each model compiled with the
    object. What a pass gathers it gathers in a copy: the object's own state is the caller's.
    """

    default_name: ClassVar[str] = "metric"
    _one_by: ClassVar[str] = ""  # how several numbers become one
    _weighs_elements: ClassVar[bool] = False  # whether weights may be those of all that an output has
    _one_number = False  # whether the last values were one number for all rows
    # What EarlyStopping and others go by; None: it is not said, and has to be given there as mode=.
    larger_is_better: bool | None = None

    name = Setting(_name)

    def __init__(self, name: str | None = None, **options: Any) -> None:
        check_options("metric", type(self), options)
        self.name = name or self.default_name
        self.reset_state()

    def _whose(self) -> str:
        return f"metric '{vars(self).get('name', self.default_name)}'"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        """One value a row.

        Parameters
        ----------
        y_true, y_pred : ndarray of shape (N, …), (N, F)
            N rows, or where the output has a time axis valid steps; y_true as the loss takes it.

        Returns
        -------
        ndarray of shape (N, …), of which the mean over all but the first axis counts, or a number that holds for all.
        """
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    def _check_weights(self, weight: _Any | None) -> None:
        """Raises TypeError for sample weights of a call that the metric cannot take."""

    def _several(self) -> bool:
        """Whether ``result`` is several numbers."""
        return False

    def reset_state(self) -> None:
        self._sum = 0.0
        self._weight = 0.0

    def _arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[_Any, _Any, _Any]:
        """Targets and outputs of a call as fit gives them, steps as rows and without those of weight 0, and weights."""
        check_data(y_true, f"metric '{self.name}': y_true")
        check_data(y_pred, f"metric '{self.name}': y_pred")
        y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
        if y_pred.ndim == 0:
            raise ValueError(f"metric '{self.name}': expected outputs of shape (N, …), got a single number")
        weight = np.asarray(1.0 if sample_weight is None else sample_weight, dtype=np.float64)
        most = max(y_pred.ndim - 1, 1)
        if self._weighs_elements and weight.shape == y_pred.shape and weight.ndim > most:
            return y_true, y_pred, weight
        while weight.ndim > 1 and weight.shape[-1] == 1 and weight.shape != y_pred.shape[: min(weight.ndim, most)]:
            weight = weight[..., 0]  # a last axis of 1, as Keras takes it
        if weight.ndim and weight.shape != y_pred.shape[: min(weight.ndim, most)]:
            raise ValueError(
                f"metric '{self.name}': expected sample_weight of shape (N,), or (N, T) with a time axis, for outputs "
                f"of shape {y_pred.shape}, got {np.shape(sample_weight)}"
            )
        steps = y_pred.shape[:most]
        if y_true.shape[: len(steps)] != steps:  # what no step goes with
            steps = y_pred.shape[: max(weight.ndim, 1)]
        weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(steps) - weight.ndim)), steps).reshape(-1)
        if len(steps) > 1:
            rows = (len(weight),)
            y_pred = y_pred.reshape(rows + y_pred.shape[len(steps) :])
            y_true = y_true.reshape(rows + y_true.shape[len(steps) :])
        there = weight != 0
        return (y_true, y_pred, weight) if there.all() else (y_true[there], y_pred[there], weight[there])

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in the rows of a batch; ``sample_weight`` of shape (N,), or (N, T) of steps."""
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        values = self._checked(self.values(y_true, y_pred), len(y_pred))
        self._sum += float(np.sum(values * weight))
        self._weight += float(np.sum(weight))

    def _checked(self, given: Any, rows: int) -> _Any:
        """What ``values`` returned, as one number a row or one for all."""
        expected = f"metric '{self.name}': expected a number, or one for each of the {rows} rows"
        if isinstance(given, np.ndarray):
            check_data(given, f"metric '{self.name}': its values")  # a mask would be lost
        try:
            values = np.asarray(given)
        except ValueError as error:
            raise ValueError(f"{expected}, got a ragged list ({error})") from None
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{expected}, got {type(given).__name__} of dtype {values.dtype}")
        if values.ndim and len(values) != rows:
            raise ValueError(f"{expected}, got an array of shape {values.shape}")
        if values.ndim > 1:
            if not values[:1].size and rows:
                raise ValueError(f"{expected}, got an array of shape {values.shape}")
            values = values.reshape(rows, -1).mean(axis=1, dtype=np.float64) if rows else np.zeros(0)
        self._one_number = values.ndim == 0
        return np.asarray(values, dtype=np.float64)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Take in rows, and what :meth:`result` gives then."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def result(self) -> Any:
        """The metric of all rows since the last reset; 0 without any."""
        return self._sum / self._weight if self._weight else 0.0

    def config(self) -> dict[str, Any]:
        return {"type": self.default_name, "name": self.name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items() if k != 'type')})"


class MeanSquaredError(Metric):
    """mean (y − ŷ)²."""

    default_name = "mean_squared_error"
    larger_is_better = False

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean(np.square(np.subtract(y_pred, y_true, dtype=np.float64)), axis=-1))


class RootMeanSquaredError(MeanSquaredError):
    """√ mean (y − ŷ)², the mean over all rows."""

    default_name = "root_mean_squared_error"

    def result(self) -> float:
        return float(np.sqrt(super().result()))


class MeanAbsoluteError(Metric):
    """mean |y − ŷ|."""

    default_name = "mean_absolute_error"
    larger_is_better = False

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean(np.abs(np.subtract(y_pred, y_true, dtype=np.float64)), axis=-1))


class BinaryAccuracy(Metric):
    """Share of outputs on the right side of ``threshold``."""

    default_name = "binary_accuracy"
    larger_is_better = True

    threshold = Setting(real)

    def __init__(self, name: str | None = None, *, threshold: float = 0.5, **options: Any) -> None:
        super().__init__(name, **options)
        self.threshold = threshold

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean((y_pred > self.threshold) == (y_true > 0.5), axis=-1))

    def config(self) -> dict[str, Any]:
        return {**super().config(), "threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """Share of rows whose largest output is the one-hot target's class.

    A target of one number a row, where there are several outputs, is the class itself.
    """

    default_name = "categorical_accuracy"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        ids = y_true.shape[-1] == 1 < y_pred.shape[-1]
        classes = y_true[..., 0] if ids else np.argmax(y_true, axis=-1)
        return np.asarray(np.argmax(y_pred, axis=-1) == classes)


class SparseCategoricalAccuracy(Metric):
    """Share of rows whose largest output is the class the target names."""

    default_name = "sparse_categorical_accuracy"
    larger_is_better = True

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        labels = y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true
        return np.asarray(np.argmax(y_pred, axis=-1) == labels)


class _Function(Metric):
    _attributes = ("larger_is_better",)

    def __init__(self, function: Callable[[_Any, _Any], Any]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self._function = function
        self.larger_is_better = getattr(function, "larger_is_better", None)

    def values(self, y_true: _Any, y_pred: _Any) -> Any:
        return self._function(y_true, y_pred)


def _weight_argument(function: Callable[..., Any]) -> str | None:
    """How a function of (y_true, y_pred) takes weights: as ``sample_weight=``, as a third argument, or not."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # a function of C code without a signature
        return "third"
    if "sample_weight" in parameters:
        return "sample_weight"
    placed = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return "third" if len(placed) > 2 and placed[2].default is inspect.Parameter.empty else None


class _OfLoss(Metric):
    """What a loss of one's own is, gathered as metrics are."""

    larger_is_better = False

    def __init__(self, loss: losses.Loss) -> None:
        super().__init__(loss.name)
        self._loss = loss

    def values(self, y_true: _Any, y_pred: _Any) -> Any:
        return self._loss.values(y_true, y_pred)


class OverAllRows(Metric):
    """A function of all rows at once, for what is no mean over them: R², F1, correlations, quantiles.

    Targets and outputs of an epoch (or of ``evaluate``) are kept until it ends, so it takes their memory.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` of arrays of shape (N, …) and (N, F); returns a number. Where weights are given it
        gets them, (N,) and none of them 0, as ``sample_weight=``, or as its third argument if it must have three.
    name : str, optional
        The function's by default.
    larger_is_better : bool, optional
        As in :class:`Metric`.

    Raises
    ------
    TypeError
        From fit and evaluate, before the first step, where weights other than 0 and 1 are given and the function takes
        none.
    """

    default_name = "over_all_rows"
    _attributes = ("larger_is_better",)

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, larger_is_better: bool | None = None
    ) -> None:
        if not callable(function):
            raise TypeError(f"OverAllRows: expected a function of (y_true, y_pred), got {function!r}")
        super().__init__(name or getattr(function, "__name__", type(function).__name__))
        self._function = function
        self.larger_is_better = getattr(function, "larger_is_better", larger_is_better)

    def reset_state(self) -> None:
        self._kept: list[tuple[_Any, _Any, _Any | None]] = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        y_true, y_pred, weight = self._arrays(y_true, y_pred, sample_weight)
        self._kept.append((np.array(y_true), np.array(y_pred), None if sample_weight is None else np.array(weight)))

    def result(self) -> float:
        if not self._kept:
            return 0.0
        y_true, y_pred, weight = (
            None if part[0] is None else np.concatenate(part) for part in zip(*self._kept, strict=True)
        )
        assert y_true is not None and y_pred is not None
        found = self._call(y_true, y_pred, weight)
        if isinstance(found, np.ndarray):
            check_data(found, f"metric '{self.name}': its value")
        value = np.asarray(found)
        if value.size != 1 or value.dtype.kind not in "biuf":
            raise TypeError(f"metric '{self.name}': expected a number for all rows, got {found!r}")
        return float(value.reshape(()))

    def _call(self, y_true: _Any, y_pred: _Any, weight: _Any | None) -> Any:
        takes = None if weight is None else _weight_argument(self._function)
        if takes == "sample_weight":
            return self._function(y_true, y_pred, sample_weight=weight)
        if takes == "third":
            return self._function(y_true, y_pred, weight)
        self._check_weights(weight)
        return self._function(y_true, y_pred)

    def _check_weights(self, weight: _Any | None) -> None:
        if weight is None or _weight_argument(self._function) or ((weight == 0) | (weight == 1)).all():
            return  # what has weight 0 is left out
        raise TypeError(
            f"metric '{self.name}': sample weights are given, and the function takes none: give it a parameter "
            "sample_weight, which it may ignore"
        )

    def config(self) -> dict[str, Any]:
        return {"type": self.default_name, "name": self.name}


class _Accuracy(Metric):
    """'accuracy' before the output and the loss that decide which one it is are known."""

    default_name = "accuracy"


_CLASSES: tuple[type[Metric], ...] = (
    MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError,
    BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
)  # fmt: skip
_NAMES: dict[str, type[Metric]] = {c.default_name: c for c in _CLASSES}
_ALIASES: dict[str, type[Metric]] = {
    "accuracy": _Accuracy,
    "acc": _Accuracy,
    "mse": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    **{c.__name__: c for c in _CLASSES},
}


# Those of other modules, which are imported when one is asked for.
_MORE: dict[str, str] = {
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "logcosh": "LogCoshError",
    "poisson": "Poisson",
    "kl_divergence": "KLDivergence",
    "hinge": "Hinge",
    "squared_hinge": "SquaredHinge",
    "categorical_hinge": "CategoricalHinge",
    "cosine_similarity": "CosineSimilarity",
    "binary_crossentropy": "BinaryCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "accuracy": "Accuracy",
    "top_k_categorical_accuracy": "TopKCategoricalAccuracy",
    "sparse_top_k_categorical_accuracy": "SparseTopKCategoricalAccuracy",
    "smape": "SymmetricMeanAbsolutePercentageError",
    "mase": "MeanAbsoluteScaledError",
    "pinball_loss": "PinballLoss",
    "crps": "CRPS",
    "true_positives": "TruePositives",
    "false_positives": "FalsePositives",
    "true_negatives": "TrueNegatives",
    "false_negatives": "FalseNegatives",
    "precision": "Precision",
    "recall": "Recall",
    "sensitivity_at_specificity": "SensitivityAtSpecificity",
    "specificity_at_sensitivity": "SpecificityAtSensitivity",
    "precision_at_recall": "PrecisionAtRecall",
    "recall_at_precision": "RecallAtPrecision",
    "auc": "AUC",
    "fbeta_score": "FBetaScore",
    "f1_score": "F1Score",
    "r2_score": "R2Score",
    "pearson_correlation": "PearsonCorrelation",
    "concordance_correlation": "ConcordanceCorrelation",
    "mean_io_u": "MeanIoU",
    "io_u": "IoU",
    "binary_io_u": "BinaryIoU",
    "one_hot_io_u": "OneHotIoU",
    "one_hot_mean_io_u": "OneHotMeanIoU",
    "mean": "Mean",
    "sum": "Sum",
}
_MORE_ALIASES: dict[str, str] = {
    "log_cosh_error": "LogCoshError",
    "f_beta_score": "FBetaScore",
    "equal_accuracy": "Accuracy",
    "mape": "MeanAbsolutePercentageError",
    "msle": "MeanSquaredLogarithmicError",
    "log_cosh": "LogCoshError",
    "kld": "KLDivergence",
    "bce": "BinaryCrossentropy",
    **{key: name for key, name in _MORE.items() if name != "Accuracy"},
    **{name.lower(): name for name in _MORE.values() if name != "Accuracy"},
}
KNOWN = (*_NAMES, *_MORE)
_MODULES = ("rekur._more_metrics", "rekur._confusion_metrics", "rekur._summed_metrics")


def _further(name: str) -> type[Metric]:
    for module in _MODULES:
        found: type[Metric] | None = vars(importlib.import_module(module)).get(name)
        if found is not None and found.__module__ == module:
            return found
    raise AssertionError(name)


def _named(name: str) -> type[Metric] | None:
    found = _NAMES.get(name) or _ALIASES.get(name) or _ALIASES.get(name.lower())
    further = _MORE_ALIASES.get(name.lower())
    if found is None and further is not None:
        return _further(further)
    return found


def _with_defaults(cls: type[Metric], name: str) -> Metric:
    """The metric that a name alone asks for."""
    parameters = inspect.signature(cls).parameters.values()
    wanted = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if wanted:
        raise ValueError(f"metric '{name}' cannot do without {', '.join(wanted)}: give {cls.__name__}({wanted[0]}=…)")
    return cls(name=name)


def _unknown(name: object) -> str:
    from rekur._keras.names import unknown

    return unknown("metric", name, ["accuracy", "mae", "mse", *KNOWN])


def get(metric: object) -> Metric:
    """A metric of a name, an object, a class, a function, a loss of one's own or the dict of ``config()``.

    Raises
    ------
    ValueError
        For an unknown name, with a suggestion.
    TypeError
        For anything else.
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, type) and issubclass(metric, Metric):
        return metric()
    if isinstance(metric, dict):
        found = _named(str(metric.get("type")))
        if found is None:
            raise ValueError(_unknown(metric.get("type")))
        return found(**{k: v for k, v in metric.items() if k != "type"})
    if isinstance(metric, str):
        found = _named(metric)
        if found is None and losses._named(metric) is not None and losses.get(metric).is_own:
            return _OfLoss(losses.get(metric))
        if found is None:
            raise ValueError(_unknown(metric))
        return _with_defaults(found, metric)
    if isinstance(metric, losses.Loss):
        if not metric.is_own:
            raise TypeError(f"a metric is no loss of the engine's, got {metric!r}: metrics have names of their own")
        return _OfLoss(metric)
    if isinstance(metric, type) and issubclass(metric, losses.Loss):
        return get(metric())
    if callable(metric):
        return _Function(metric)
    raise TypeError(f"a metric is a name, an object of rekur.metrics or a function of (y_true, y_pred), got {metric!r}")


def resolve(metric: Metric, loss: losses.Loss | None, features: int | None) -> Metric:
    """'accuracy' made definite: by the loss, else by the number of features; Keras's differs as said at the top."""
    if not isinstance(metric, _Accuracy):
        return metric
    loss = loss if loss is None else loss._given or loss
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(metric.name)
    if isinstance(loss, losses.BinaryCrossentropy):
        return BinaryAccuracy(metric.name, threshold=0.0 if loss.from_logits else 0.5)
    return BinaryAccuracy(metric.name) if features == 1 else CategoricalAccuracy(metric.name)


# Which way is better, by names that mean one thing.
_LARGER = frozenset(
    (
        *("accuracy", "acc", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"),
        *("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy", "balanced_accuracy"),
        *("auc", "roc_auc", "pr_auc", "average_precision", "precision", "recall", "sensitivity", "specificity"),
        *("f1", "f1_score", "fbeta", "fbeta_score", "f2_score", "r2", "r2_score", "explained_variance"),
        *("true_positives", "true_negatives", "matthews_corrcoef", "mcc", "cohen_kappa", "kappa"),
        *("iou", "binary_iou", "mean_iou", "one_hot_iou", "one_hot_mean_iou", "dice", "bleu", "ndcg", "mrr"),
        *("pearson", "pearsonr", "pearson_correlation", "spearman", "spearmanr", "concordance_correlation"),
    )
)
_SMALLER = frozenset(
    (
        *("loss", "mean_squared_error", "mse", "root_mean_squared_error", "rmse", "mean_absolute_error", "mae"),
        *("mean_absolute_percentage_error", "mape", "smape", "mase", "mean_squared_logarithmic_error", "msle", "rmsle"),
        *("huber", "log_cosh", "logcosh", "binary_crossentropy", "categorical_crossentropy", "bce", "log_loss"),
        *("sparse_categorical_crossentropy", "kl_divergence", "poisson", "hinge", "squared_hinge", "brier_score"),
        *("categorical_hinge", "false_positives", "false_negatives", "perplexity", "bits_per_character", "wer", "cer"),
        *("crps", "pinball_loss", "quantile_loss", "error", "median_absolute_error", "max_error"),
    )
)


def larger_is_better(name: str) -> bool | None:
    """Which way a number of that exact name is better; None where it cannot be told."""
    if name in _LARGER:
        return True
    return False if name in _SMALLER or name.endswith("_loss") else None


def check_result(metric: Metric) -> None:
    """Throw for a result that is no number, naming the metric."""
    found = metric.result()
    try:
        float(found)
    except (TypeError, ValueError):
        raise TypeError(f"metric '{metric.name}': result() must return a number, got {found!r}") from None


def is_saved(metric: Metric) -> bool:
    """Whether a file can hold the metric: those of this module."""
    made = type(metric)
    return made in _CLASSES or made is _Accuracy or made.__module__ in _MODULES


if TYPE_CHECKING:
    from rekur._confusion_metrics import (
        AUC as AUC,
    )
    from rekur._confusion_metrics import (
        FalseNegatives as FalseNegatives,
    )
    from rekur._confusion_metrics import (
        FalsePositives as FalsePositives,
    )
    from rekur._confusion_metrics import (
        Precision as Precision,
    )
    from rekur._confusion_metrics import (
        PrecisionAtRecall as PrecisionAtRecall,
    )
    from rekur._confusion_metrics import (
        Recall as Recall,
    )
    from rekur._confusion_metrics import (
        RecallAtPrecision as RecallAtPrecision,
    )
    from rekur._confusion_metrics import (
        SensitivityAtSpecificity as SensitivityAtSpecificity,
    )
    from rekur._confusion_metrics import (
        SpecificityAtSensitivity as SpecificityAtSensitivity,
    )
    from rekur._confusion_metrics import (
        TrueNegatives as TrueNegatives,
    )
    from rekur._confusion_metrics import (
        TruePositives as TruePositives,
    )
    from rekur._more_metrics import (
        CRPS as CRPS,
    )
    from rekur._more_metrics import (
        Accuracy as Accuracy,
    )
    from rekur._more_metrics import (
        BinaryCrossentropy as BinaryCrossentropy,
    )
    from rekur._more_metrics import (
        CategoricalCrossentropy as CategoricalCrossentropy,
    )
    from rekur._more_metrics import (
        CategoricalHinge as CategoricalHinge,
    )
    from rekur._more_metrics import (
        CosineSimilarity as CosineSimilarity,
    )
    from rekur._more_metrics import (
        Hinge as Hinge,
    )
    from rekur._more_metrics import (
        KLDivergence as KLDivergence,
    )
    from rekur._more_metrics import (
        LogCoshError as LogCoshError,
    )
    from rekur._more_metrics import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from rekur._more_metrics import (
        MeanAbsoluteScaledError as MeanAbsoluteScaledError,
    )
    from rekur._more_metrics import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from rekur._more_metrics import (
        PinballLoss as PinballLoss,
    )
    from rekur._more_metrics import (
        Poisson as Poisson,
    )
    from rekur._more_metrics import (
        SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
    )
    from rekur._more_metrics import (
        SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy,
    )
    from rekur._more_metrics import (
        SquaredHinge as SquaredHinge,
    )
    from rekur._more_metrics import (
        SymmetricMeanAbsolutePercentageError as SymmetricMeanAbsolutePercentageError,
    )
    from rekur._more_metrics import (
        TopKCategoricalAccuracy as TopKCategoricalAccuracy,
    )
    from rekur._summed_metrics import (
        BinaryIoU as BinaryIoU,
    )
    from rekur._summed_metrics import (
        ConcordanceCorrelation as ConcordanceCorrelation,
    )
    from rekur._summed_metrics import (
        F1Score as F1Score,
    )
    from rekur._summed_metrics import (
        FBetaScore as FBetaScore,
    )
    from rekur._summed_metrics import (
        IoU as IoU,
    )
    from rekur._summed_metrics import (
        Mean as Mean,
    )
    from rekur._summed_metrics import (
        MeanIoU as MeanIoU,
    )
    from rekur._summed_metrics import (
        OneHotIoU as OneHotIoU,
    )
    from rekur._summed_metrics import (
        OneHotMeanIoU as OneHotMeanIoU,
    )
    from rekur._summed_metrics import (
        PearsonCorrelation as PearsonCorrelation,
    )
    from rekur._summed_metrics import (
        R2Score as R2Score,
    )
    from rekur._summed_metrics import (
        Sum as Sum,
    )
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name in _MORE.values():
            return _further(name)
        no_attribute(__name__, "metric", name)
