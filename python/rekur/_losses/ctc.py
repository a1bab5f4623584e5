"""Connectionist temporal classification: labels whose places in time nobody said. Graves et al., ICML 2006.

Computed by NumPy over all rows and labels at once, a time step after the other, in float64.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._losses.own import Numpy
from rekur._validate import as_int32, show

_Any = NDArray[Any]
_BLANK = 0  # Keras's


class CTC(Numpy):
    """−log of the probability of the labels, summed over all their places in time; the mean over rows.

    Notes
    -----
    The output is logits (B, T, classes), class 0 the blank. The target (B, L) holds class indices from 1 on, in order,
    and 0 behind them, as in Keras. Steps that are no steps (``lengths=``, masks) are left out, where Keras takes all T;
    weights are one a row. A row whose labels do not fit into its steps has the value infinity and no gradient. Python
    computes it in the middle of a step, which other threads wait for.
    """

    name = "ctc"
    _in_file = True

    def __init__(self, **options: Any) -> None:
        if options.get("reduction", "sum_over_batch_size") not in ("sum_over_batch_size", "mean", "auto"):
            raise ValueError(
                f"ctc: the value is the mean over rows, got reduction={options['reduction']!r}; loss_weights= of "
                "compile scales it"
            )
        self._begin(options)

    def config(self) -> dict[str, Any]:
        return {"name": "callback", "label": self.name}

    def _saved(self) -> dict[str, Any]:
        return {"name": self.name}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The mean over rows, each times its weight: y_true (B, L), y_pred (B, T, classes), sample_weight (B,)."""
        labels, y_pred, weight = self._batch(y_true, y_pred, sample_weight, "logits", ("B", "T", "classes"))
        values, _ = ctc(labels, y_pred, np.ones(y_pred.shape[:2], bool), False)
        return float(np.sum(np.where(weight == 0, 0.0, values) * weight) / max(len(y_pred), 1))

    def labels(self, array: _Any, shape: tuple[int, ...], what: str, weight: _Any | None) -> _Any:
        """Labels of an output of that shape, int32; those of rows of weight 0 may be anything.

        Raises
        ------
        TypeError, ValueError
            Beginning with ``what``, for another shape, weights that are not one a row, or labels that are none.
        """
        if len(shape) != 3 or array.ndim != 2 or len(array) != shape[0]:
            raise ValueError(
                f"{what}: ctc expected labels of shape {show((shape[0], None))} of an output of steps, got "
                f"{show(array.shape)} of {show(shape)}"
            )
        if weight is not None:
            if weight.shape != shape[:1]:
                raise ValueError(
                    f"{what}: ctc expected sample weights of shape {show(shape[:1])}, one a row, got "
                    f"{show(weight.shape)}"
                )
            array = np.where(weight[:, None] != 0, array, array.dtype.type(_BLANK))
        labels, classes = as_int32(array, what, whole_floats=True), shape[-1]
        wrong = labels[(labels < 0) | (labels >= classes)]
        if wrong.size:
            raise ValueError(
                f"{what}: ctc expected class indices from 1 to {classes - 1}, and 0 behind them, got {wrong[0]}"
            )
        if (np.diff((labels != _BLANK).astype(np.int8), axis=1) > 0).any():
            raise ValueError(f"{what}: ctc expected 0, the blank, behind the labels of a row, got one before them")
        return labels

    def of_rows(
        self, y_true: _Any, output: _Any, valid: _Any, weight: _Any | None, want_gradient: bool
    ) -> tuple[_Any, _Any | None]:
        """What the engine takes: values and gradients of steps, whose mean is that of rows."""
        values, gradient = ctc(y_true, output, valid, want_gradient)
        steps = np.maximum(valid.sum(axis=1), 1)
        each = valid.sum() / len(output)  # the engine divides by the number of steps
        spread = np.where(valid, (values * each / steps)[:, None], 0.0)
        return spread, None if gradient is None else np.ascontiguousarray(gradient * each, np.float32)


def ctc(y_true: _Any, logits: _Any, valid: _Any, want_gradient: bool) -> tuple[_Any, _Any | None]:
    """Values (B,) and, if wanted, derivatives by the logits (B, T, F); ``valid`` (B, T): which steps are there."""
    with np.errstate(invalid="ignore"):  # NaN among the logits
        return _ctc(y_true, logits.astype(np.float64), valid, want_gradient)


def _ctc(y_true: _Any, x: _Any, valid: _Any, want_gradient: bool) -> tuple[_Any, _Any | None]:
    x = x - x.max(axis=-1, keepdims=True)
    log_p = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    rows, steps = log_p.shape[:2]
    labels = y_true.astype(np.int64)
    count = (labels != _BLANK).sum(axis=1)
    states = np.full((rows, 2 * labels.shape[1] + 1), _BLANK)  # blank, label, blank, label, …, blank
    states[:, 1::2] = labels
    # A label may follow the one before it without a blank, unless both are the same.
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] != _BLANK)
    inside = np.arange(states.shape[1]) <= 2 * count[:, None]
    emitted = np.take_along_axis(log_p, np.broadcast_to(states[:, None], (rows, steps, states.shape[1])), axis=-1)
    emitted = np.where(inside[:, None], emitted, -np.inf)

    def before(alpha: _Any, skips: _Any) -> _Any:
        padded = np.pad(alpha, ((0, 0), (2, 0)), constant_values=-np.inf)
        skipped = np.where(skips, padded[:, :-2], -np.inf)
        return np.asarray(np.logaddexp(np.logaddexp(alpha, padded[:, 1:-1]), skipped))

    begin = np.where(np.arange(states.shape[1]) == 0, 0.0, -np.inf)
    alpha = np.empty((steps + 1, *states.shape))
    alpha[0] = np.broadcast_to(begin, states.shape)
    first = np.ones(rows, bool)
    for t in range(steps):
        begins = np.where(np.arange(states.shape[1]) < 2, 0.0, -np.inf)
        reached = np.where(first[:, None], begins, before(alpha[t], skips)) + emitted[:, t]
        alpha[t + 1] = np.where(valid[:, t, None], reached, alpha[t])
        first &= ~valid[:, t]
    places = np.arange(rows)
    ends = np.logaddexp(alpha[-1][places, 2 * count], np.where(count > 0, alpha[-1][places, 2 * count - 1], -np.inf))
    ends = np.where(first, np.where(count == 0, 0.0, -np.inf), ends)
    if not want_gradient:
        return -ends, None

    possible = np.isfinite(ends)
    gradient = np.zeros(log_p.shape)
    last = np.full(states.shape, -np.inf)
    last[places, 2 * count] = 0.0
    last[places[count > 0], 2 * count[count > 0] - 1] = 0.0
    beta = last  # of what follows step t, from each state
    after_skips = np.pad(skips[:, 2:], ((0, 0), (0, 2)))
    one_hot_rows = places[:, None].repeat(states.shape[1], axis=1)
    for t in range(steps - 1, -1, -1):
        there = valid[:, t] & possible
        share = np.exp(np.where(there[:, None], alpha[t + 1] + beta - np.where(possible, ends, 0.0)[:, None], -np.inf))
        np.add.at(gradient[:, t], (one_hot_rows, states), -share)
        gradient[there, t] += np.exp(log_p[there, t])
        onward = beta + emitted[:, t]
        padded = np.pad(onward, ((0, 0), (0, 2)), constant_values=-np.inf)
        skipped = np.where(after_skips, padded[:, 2:], -np.inf)
        earlier = np.logaddexp(np.logaddexp(onward, padded[:, 1:-1]), skipped)
        beta = np.where(valid[:, t, None], earlier, beta)
    return -ends, gradient
