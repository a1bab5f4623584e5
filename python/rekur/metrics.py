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
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur import losses
from rekur._metrics.base import Metric as Metric
from rekur._metrics.own import Function, OfLoss
from rekur._metrics.own import OverAllRows as OverAllRows
from rekur._own import no_attribute
from rekur._settings import Setting
from rekur._validate import real

_Any = NDArray[Any]


for _cls in (Metric, OverAllRows):  # what callers see of them
    _cls.__module__ = __name__


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
    "perplexity": "Perplexity",
    "bits_per_character": "BitsPerCharacter",
    "edit_distance": "EditDistance",
    "cer": "CharacterErrorRate",
    "wer": "WordErrorRate",
    "bleu": "BLEU",
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
    "character_error_rate": "CharacterErrorRate",
    "word_error_rate": "WordErrorRate",
    **{key: name for key, name in _MORE.items() if name != "Accuracy"},
    **{name.lower(): name for name in _MORE.values() if name != "Accuracy"},
}
KNOWN = (*_NAMES, *_MORE)
_MODULES = (
    "rekur._metrics.further",
    "rekur._metrics.forecasts",
    "rekur._metrics.confusion",
    "rekur._metrics.summed",
    "rekur._metrics.texts",
)


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
    of_loss = getattr(metric, "loss", None) if hasattr(metric, "__name__") else None
    if isinstance(of_loss, type) and issubclass(of_loss, losses.Loss):
        return get(of_loss.name)  # a function of rekur.losses
    if isinstance(metric, dict):
        found = _named(str(metric.get("type")))
        if found is None:
            raise ValueError(_unknown(metric.get("type")))
        return found(**{k: v for k, v in metric.items() if k != "type"})
    if isinstance(metric, str):
        found = _named(metric)
        if found is None and losses._named(metric) is not None and losses.get(metric).is_own:
            return OfLoss(losses.get(metric))
        if found is None:
            raise ValueError(_unknown(metric))
        return _with_defaults(found, metric)
    if isinstance(metric, losses.Loss):
        if not metric.is_own:
            raise TypeError(f"a metric is no loss of the engine's, got {metric!r}: metrics have names of their own")
        return OfLoss(metric)
    if isinstance(metric, type) and issubclass(metric, losses.Loss):
        return get(metric())
    if callable(metric):
        return Function(metric)
    raise TypeError(f"a metric is a name, an object of rekur.metrics or a function of (y_true, y_pred), got {metric!r}")


def resolve(metric: Metric, loss: losses.Loss | None, features: int | None) -> Metric:
    """'accuracy' made definite: by the loss, else by the number of features; Keras's differs as said at the top."""
    if not isinstance(metric, _Accuracy):
        return metric
    loss = loss if loss is None else loss._given or loss
    if loss is not None and loss.sparse:
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
        *("word_error_rate", "character_error_rate", "edit_distance"),
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
    from rekur._metrics.confusion import (
        AUC as AUC,
    )
    from rekur._metrics.confusion import (
        FalseNegatives as FalseNegatives,
    )
    from rekur._metrics.confusion import (
        FalsePositives as FalsePositives,
    )
    from rekur._metrics.confusion import (
        Precision as Precision,
    )
    from rekur._metrics.confusion import (
        PrecisionAtRecall as PrecisionAtRecall,
    )
    from rekur._metrics.confusion import (
        Recall as Recall,
    )
    from rekur._metrics.confusion import (
        RecallAtPrecision as RecallAtPrecision,
    )
    from rekur._metrics.confusion import (
        SensitivityAtSpecificity as SensitivityAtSpecificity,
    )
    from rekur._metrics.confusion import (
        SpecificityAtSensitivity as SpecificityAtSensitivity,
    )
    from rekur._metrics.confusion import (
        TrueNegatives as TrueNegatives,
    )
    from rekur._metrics.confusion import (
        TruePositives as TruePositives,
    )
    from rekur._metrics.forecasts import (
        CRPS as CRPS,
    )
    from rekur._metrics.forecasts import (
        MeanAbsoluteScaledError as MeanAbsoluteScaledError,
    )
    from rekur._metrics.forecasts import (
        PinballLoss as PinballLoss,
    )
    from rekur._metrics.forecasts import (
        SymmetricMeanAbsolutePercentageError as SymmetricMeanAbsolutePercentageError,
    )
    from rekur._metrics.further import (
        Accuracy as Accuracy,
    )
    from rekur._metrics.further import (
        BinaryCrossentropy as BinaryCrossentropy,
    )
    from rekur._metrics.further import (
        CategoricalCrossentropy as CategoricalCrossentropy,
    )
    from rekur._metrics.further import (
        CategoricalHinge as CategoricalHinge,
    )
    from rekur._metrics.further import (
        CosineSimilarity as CosineSimilarity,
    )
    from rekur._metrics.further import (
        Hinge as Hinge,
    )
    from rekur._metrics.further import (
        KLDivergence as KLDivergence,
    )
    from rekur._metrics.further import (
        LogCoshError as LogCoshError,
    )
    from rekur._metrics.further import (
        MeanAbsolutePercentageError as MeanAbsolutePercentageError,
    )
    from rekur._metrics.further import (
        MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
    )
    from rekur._metrics.further import (
        Poisson as Poisson,
    )
    from rekur._metrics.further import (
        SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
    )
    from rekur._metrics.further import (
        SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy,
    )
    from rekur._metrics.further import (
        SquaredHinge as SquaredHinge,
    )
    from rekur._metrics.further import (
        TopKCategoricalAccuracy as TopKCategoricalAccuracy,
    )
    from rekur._metrics.summed import (
        BinaryIoU as BinaryIoU,
    )
    from rekur._metrics.summed import (
        ConcordanceCorrelation as ConcordanceCorrelation,
    )
    from rekur._metrics.summed import (
        F1Score as F1Score,
    )
    from rekur._metrics.summed import (
        FBetaScore as FBetaScore,
    )
    from rekur._metrics.summed import (
        IoU as IoU,
    )
    from rekur._metrics.summed import (
        Mean as Mean,
    )
    from rekur._metrics.summed import (
        MeanIoU as MeanIoU,
    )
    from rekur._metrics.summed import (
        OneHotIoU as OneHotIoU,
    )
    from rekur._metrics.summed import (
        OneHotMeanIoU as OneHotMeanIoU,
    )
    from rekur._metrics.summed import (
        PearsonCorrelation as PearsonCorrelation,
    )
    from rekur._metrics.summed import (
        R2Score as R2Score,
    )
    from rekur._metrics.summed import (
        Sum as Sum,
    )
    from rekur._metrics.texts import (
        BLEU as BLEU,
    )
    from rekur._metrics.texts import (
        BitsPerCharacter as BitsPerCharacter,
    )
    from rekur._metrics.texts import (
        CharacterErrorRate as CharacterErrorRate,
    )
    from rekur._metrics.texts import (
        EditDistance as EditDistance,
    )
    from rekur._metrics.texts import (
        Perplexity as Perplexity,
    )
    from rekur._metrics.texts import (
        WordErrorRate as WordErrorRate,
    )
else:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        if name in _MORE.values():
            return _further(name)
        no_attribute(__name__, "metric", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MORE.values()})
