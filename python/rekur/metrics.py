"""Metrics, by name, as an object, or as a plain function of (y_true, y_pred).

A metric is a mean over rows and valid steps, each times its sample weight, gathered over the batches of an epoch. What
has weight 0 is not there: a metric never sees its target.
(Keras leaves sample weights out of ``metrics=``; here they count everywhere.) In training it is computed from the
outputs the step was made with.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekur import losses
from rekur._settings import Guarded, Setting
from rekur._validate import did_you_mean, real

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

    Notes
    -----
    Parameters are attributes; one that is set acts from the next pass over data on, in each model compiled with the
    object. What a pass gathers it gathers in a copy: the object's own state is the caller's.
    """

    default_name: ClassVar[str] = "metric"

    name = Setting(_name)

    def __init__(self, name: str | None = None) -> None:
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
        ndarray of shape (N,), or a number that holds for all of them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define values(y_true, y_pred)")

    def reset_state(self) -> None:
        self._sum = 0.0
        self._weight = 0.0

    def update_state(self, y_true: _Any, y_pred: _Any, sample_weight: _Any | None = None) -> None:
        """Take in the rows of a batch; ``sample_weight`` of shape (N,)."""
        values = np.asarray(self.values(y_true, y_pred), dtype=np.float64)
        if values.ndim not in (0, 1) or (values.ndim == 1 and len(values) != len(y_pred)):
            raise ValueError(
                f"metric '{self.name}': expected a number or an array of shape ({len(y_pred)},), "
                f"got shape {values.shape}"
            )
        weight = np.ones(len(y_pred)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        self._sum += float(np.sum(values * weight))
        self._weight += float(np.sum(weight))

    def result(self) -> float:
        """The metric of all rows since the last reset; 0 without any."""
        return self._sum / self._weight if self._weight else 0.0

    def config(self) -> dict[str, Any]:
        return {"type": self.default_name, "name": self.name}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config().items() if k != 'type')})"


class MeanSquaredError(Metric):
    """mean (y − ŷ)²."""

    default_name = "mean_squared_error"

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

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean(np.abs(np.subtract(y_pred, y_true, dtype=np.float64)), axis=-1))


class BinaryAccuracy(Metric):
    """Share of outputs on the right side of ``threshold``."""

    default_name = "binary_accuracy"

    threshold = Setting(real)

    def __init__(self, name: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name)
        self.threshold = threshold

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.mean((y_pred > self.threshold) == (y_true > 0.5), axis=-1))

    def config(self) -> dict[str, Any]:
        return {**super().config(), "threshold": self.threshold}


class CategoricalAccuracy(Metric):
    """Share of rows whose largest output is the one-hot target's class."""

    default_name = "categorical_accuracy"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(np.argmax(y_pred, axis=-1) == np.argmax(y_true, axis=-1))


class SparseCategoricalAccuracy(Metric):
    """Share of rows whose largest output is the class the target names."""

    default_name = "sparse_categorical_accuracy"

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        labels = y_true[..., 0] if y_true.ndim == y_pred.ndim else y_true
        return np.asarray(np.argmax(y_pred, axis=-1) == labels)


class _Function(Metric):
    def __init__(self, function: Callable[[_Any, _Any], Any]) -> None:
        super().__init__(getattr(function, "__name__", type(function).__name__))
        self._function = function

    def values(self, y_true: _Any, y_pred: _Any) -> _Any:
        return np.asarray(self._function(y_true, y_pred))


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


def get(metric: object) -> Metric:
    """A metric of a name, an object, a class, a function or the dict of ``config()``.

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
        found = {**_NAMES, **_ALIASES}.get(str(metric.get("type")))
        if found is None:
            raise ValueError(f"unknown metric '{metric.get('type')}'{did_you_mean(metric.get('type'), _NAMES)}")
        return found(**{k: v for k, v in metric.items() if k != "type"})
    if isinstance(metric, str):
        found = _NAMES.get(metric) or _ALIASES.get(metric) or _ALIASES.get(metric.lower())
        if found is None:
            raise ValueError(f"unknown metric '{metric}'{did_you_mean(metric, ['accuracy', 'mae', 'mse', *_NAMES])}")
        return found(metric)
    if callable(metric):
        return _Function(metric)
    raise TypeError(f"a metric is a name, an object of rekur.metrics or a function of (y_true, y_pred), got {metric!r}")


def resolve(metric: Metric, loss: losses.Loss | None, features: int | None) -> Metric:
    """'accuracy' made definite: by the loss, else (as in Keras) by the number of features."""
    if not isinstance(metric, _Accuracy):
        return metric
    if isinstance(loss, losses.SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(metric.name)
    if isinstance(loss, losses.BinaryCrossentropy):
        return BinaryAccuracy(metric.name, threshold=0.0 if loss.from_logits else 0.5)
    return BinaryAccuracy(metric.name) if features == 1 else CategoricalAccuracy(metric.name)


def is_saved(metric: Metric) -> bool:
    """Whether a file can hold the metric: those of this module."""
    return type(metric) in _CLASSES or type(metric) is _Accuracy
