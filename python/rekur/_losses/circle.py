"""The circle loss of embeddings: rows of one class near each other, others far. Sun et al., arXiv:2002.10857.

It compares the rows of a batch with one another, so it is no equation of a row: NumPy computes it, in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._losses.own import Numpy
from rekur._validate import as_int32, boolean, real, show

_Any = NDArray[Any]
_TINY = float(np.finfo(np.float32).tiny)


class Circle(Numpy):
    """log(1 + Σ_n exp(γ·[1 + m − d_n]₊·(1 − m − d_n)) · Σ_p exp(−γ·(m + d_p)·(m − d_p))), d = [1 − ŷ·ŷ']₊.

    p are the other rows of the row's class in its batch, n the rows of other classes; the mean over the rows whose
    value is above 0, as in Keras. ``remove_diagonal=False`` counts a row itself among its p.

    Parameters
    ----------
    gamma : float
    margin : float
        m.
    remove_diagonal : bool

    Notes
    -----
    The target is class indices (B,), the output embeddings (B, features) of length 1, such as those of a
    UnitNormalization layer. A row of weight 0 is not there: neither is it compared with others, as in Keras it is.
    Python computes it in the middle of a step, which other threads wait for.
    """

    name = "circle"
    _in_file = True

    def __init__(self, gamma: float = 80.0, margin: float = 0.4, remove_diagonal: bool = True, **options: Any) -> None:
        reduction = options.get("reduction", "sum_over_batch_size")
        self._begin(
            options,
            gamma=real(gamma, f"{self.name}: gamma", 0),
            margin=real(margin, f"{self.name}: margin"),
            remove_diagonal=boolean(remove_diagonal, f"{self.name}: remove_diagonal"),
        )
        # The engine is to take the plain mean: what is summed and divided by what stands in of_rows.
        self._reduction, self._over = None, reduction if reduction in ("sum", "mean_with_sample_weight") else None

    def config(self) -> dict[str, Any]:
        return {"name": "callback", "label": self.name}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction": self._over or "sum_over_batch_size"}

    def _saved(self) -> dict[str, Any]:
        over = {} if self._over is None else {"reduction": self._over}
        return {"name": self.name, **self.parameters, **over}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """Of one batch: y_true (B,), y_pred (B, features), sample_weight (B,)."""
        labels, y_pred, weight = self._batch(y_true, y_pred, sample_weight, "embeddings", ("B", "features"))
        values, _ = self.of_rows(labels, y_pred, np.ones(len(y_pred), bool), weight, False)
        return float(np.sum(values * weight) / max(len(y_pred), 1))

    def labels(self, array: _Any, shape: tuple[int, ...], what: str, weight: _Any | None) -> _Any:
        """Class indices of an output of that shape, (B,); those of rows of weight 0 may be anything.

        Raises
        ------
        TypeError, ValueError
            Beginning with ``what``, for another shape, or labels that are no whole numbers.
        """
        if len(shape) != 2:
            raise ValueError(f"{what}: circle compares rows and expected an output (B, features), got {show(shape)}")
        if array.shape not in (shape[:1], (shape[0], 1)):
            raise ValueError(
                f"{what}: circle expected class indices of shape {show(shape[:1])}, got {show(array.shape)}"
            )
        array = array.reshape(-1)
        if weight is not None:
            array = np.where(weight.reshape(-1) != 0, array, array.dtype.type(0))
        return as_int32(array, what, whole_floats=True)

    def of_rows(
        self, y_true: _Any, output: _Any, valid: _Any, weight: _Any | None, want_gradient: bool
    ) -> tuple[_Any, _Any | None]:
        """What the engine takes: values of rows and gradients, whose mean it makes with their weights."""
        weight = np.ones(len(output)) if weight is None else np.asarray(weight, np.float64).reshape(-1)
        there = valid & (weight != 0)
        values, gradient = np.zeros(len(output)), np.zeros(output.shape) if want_gradient else None
        if not there.any():
            return values, gradient
        w = weight[there]
        found, by_distance = self._compare(y_true[there], output[there].astype(np.float64), want_gradient)
        counted = found.astype(np.float32) >= _TINY  # above 0 in Keras's float32
        number = {"sum": 1.0, "mean_with_sample_weight": float(w[counted].sum())}.get(
            self._over or "", float(counted.sum())
        )
        scale = len(output) / number if number else 0.0  # the engine divides by the number of rows
        values[there] = np.where(counted, found * scale, 0.0)
        if gradient is not None and by_distance is not None:
            rows = output[there].astype(np.float64)
            a = by_distance * -(w * counted * scale)[:, None]  # by the products of two rows
            gradient[there] = (a @ rows + a.T @ rows) / w[:, None]  # the engine multiplies by a row's own weight
            return values, np.ascontiguousarray(gradient, np.float32)
        return values, None

    def _compare(self, labels: _Any, y: _Any, want_gradient: bool) -> tuple[_Any, _Any | None]:
        """The value of each row, and its derivatives by the distances from all rows."""
        gamma, margin = self.gamma, self.margin
        product = y @ y.T
        d = np.maximum(1.0 - product, 0.0)
        same = labels[:, None] == labels
        near = same & ~np.eye(len(y), dtype=bool) if self.remove_diagonal else same
        closeness = np.maximum(1.0 + margin - d, 0.0)
        positive, p = _log_sum(-gamma * np.maximum(margin + d, 0.0) * (margin - d), near)
        negative, n = _log_sum(gamma * closeness * (1.0 - margin - d), ~same)
        values = np.logaddexp(0.0, p + n)
        if not want_gradient:
            return values, None
        with np.errstate(over="ignore"):
            slope = 1.0 / (1.0 + np.exp(-(p + n)))
        by_p = np.where(margin + d > 0, 2 * gamma * d, 0.0)
        by_n = np.where(closeness > 0, gamma * (2 * d - 2), 0.0)
        return values, np.where(product < 1.0, slope[:, None] * (positive * by_p + negative * by_n), 0.0)


def _log_sum(x: _Any, taken: _Any) -> tuple[_Any, _Any]:
    """log Σ exp of what is taken of each row, −inf where that is nothing, and the shares in the sum."""
    x = np.where(taken, x, -np.inf)
    largest = x.max(axis=1, keepdims=True)
    moved = np.exp(x - np.where(np.isfinite(largest), largest, 0.0))
    total = moved.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log = np.log(total) + np.where(np.isfinite(largest), largest, 0.0)
    return moved / np.where(total > 0, total, 1.0), log[:, 0]
