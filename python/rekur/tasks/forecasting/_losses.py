"""What networks of forecasts are trained to make small: functions of rows in :mod:`rekur.ops`.

The target of a step is (2 K,): the values of K series, zeros where they are missing, then 1 where they are there and 0
where not. The output of a step is what the head gives, K · n numbers, the n of a series together, then the location
and the scale of the window, K each.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rekur import ops
from rekur.tasks.forecasting.distributions import Family

Loss = Callable[[Any, Any], Any]


def pinball(quantiles: Sequence[float], targets: int) -> Loss:
    """The mean pinball loss of the quantiles, in units of the window's scale."""
    levels = np.asarray(quantiles, np.float64)
    count = len(levels)

    def quantile_loss(y_true: Any, y_pred: Any) -> Any:
        total: Any = 0.0
        for k, (z, there, head) in enumerate(_scaled(y_true, y_pred, targets, count)):
            e = z - head
            loss = ops.mean(ops.maximum(levels * e, (levels - 1.0) * e), axis=-1) * _one(there)
            total = loss if k == 0 else total + loss
        return total / targets

    return quantile_loss


def squared(targets: int) -> Loss:
    """The mean squared error, in units of the window's scale."""

    def squared_loss(y_true: Any, y_pred: Any) -> Any:
        total: Any = 0.0
        for k, (z, there, head) in enumerate(_scaled(y_true, y_pred, targets, 1)):
            loss = ops.mean(ops.square(z - head), axis=-1) * _one(there)
            total = loss if k == 0 else total + loss
        return total / targets

    return squared_loss


def likelihood(family: Family, targets: int) -> Loss:
    """−log of the likelihood of a family of distributions, the mean over the series that are there."""

    def likelihood_loss(y_true: Any, y_pred: Any) -> Any:
        total: Any = 0.0
        count, first = family.count, targets * family.count
        for k in range(targets):
            value, there = y_true[..., k : k + 1], y_true[..., targets + k : targets + k + 1]
            location = y_pred[..., first + k : first + k + 1]
            scale = y_pred[..., first + targets + k : first + targets + k + 1]
            head = [y_pred[..., k * count + j : k * count + j + 1] for j in range(count)]
            loss = _one(family.loss(value, head, location, scale) * there)
            total = loss if k == 0 else total + loss
        return total / targets

    return likelihood_loss


def _one(x: Any) -> Any:
    """One feature as a number a row."""
    return ops.mean(x, axis=-1)


def _scaled(y_true: Any, y_pred: Any, targets: int, count: int) -> list[tuple[Any, Any, Any]]:
    """Of each series: the target in units of its window, whether it is there, the head's numbers."""
    found = []
    for k in range(targets):
        value, there = y_true[..., k : k + 1], y_true[..., targets + k : targets + k + 1]
        first = targets * count
        location = y_pred[..., first + k : first + k + 1]
        scale = y_pred[..., first + targets + k : first + targets + k + 1]
        found.append(((value - location) / scale * there, there, y_pred[..., k * count : (k + 1) * count]))
    return found
