"""What networks of forecasts are trained to make small: functions of rows in :mod:`rekur.ops`.

A row is one step of one target. Its target is (2,): the value, 0 where it is missing, then 1 where it is there and 0
where not. Its output is what the head gives, n numbers, then the location and the scale of the window.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rekur import ops
from rekur.tasks.forecasting.distributions import Family

Loss = Callable[[Any, Any], Any]


def pinball(quantiles: Sequence[float]) -> Loss:
    """The mean pinball loss of the quantiles, in units of the window's scale."""
    levels = np.asarray(quantiles, np.float64)
    count = len(levels)

    def quantile_loss(y_true: Any, y_pred: Any) -> Any:
        z, there = _scaled(y_true, y_pred, count)
        e = z - y_pred[..., :count]
        return ops.mean(ops.maximum(levels * e, (levels - 1.0) * e), axis=-1) * _one(there)

    return quantile_loss


def squared() -> Loss:
    """The squared error, in units of the window's scale."""

    def squared_loss(y_true: Any, y_pred: Any) -> Any:
        z, there = _scaled(y_true, y_pred, 1)
        return _one(ops.square(z - y_pred[..., :1]) * there)

    return squared_loss


def likelihood(family: Family) -> Loss:
    """−log of the likelihood of a family of distributions."""
    count = family.count

    def likelihood_loss(y_true: Any, y_pred: Any) -> Any:
        value, there = y_true[..., :1], y_true[..., 1:2]
        location, scale = y_pred[..., count : count + 1], y_pred[..., count + 1 : count + 2]
        head = [y_pred[..., j : j + 1] for j in range(count)]
        return _one(family.loss(value, head, location, scale) * there)

    return likelihood_loss


def _one(x: Any) -> Any:
    """One feature as a number a row."""
    return ops.mean(x, axis=-1)


def _scaled(y_true: Any, y_pred: Any, count: int) -> tuple[Any, Any]:
    """The value in units of its window, and whether it is there."""
    value, there = y_true[..., :1], y_true[..., 1:2]
    location, scale = y_pred[..., count : count + 1], y_pred[..., count + 1 : count + 2]
    return (value - location) / scale * there, there
