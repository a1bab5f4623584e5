"""Metrics of one's own: functions, losses of one's own, and functions of all rows at once."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import losses
from rekur._metrics.base import Metric
from rekur._validate import check_data

_Any = NDArray[Any]


class Function(Metric):
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


class OfLoss(Metric):
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
