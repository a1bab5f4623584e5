"""Connectionist temporal classification: labels whose places in time nobody said. Graves et al., ICML 2006.

The engine computes it (cpp/src/sequence/ctc_loss.cpp); here is what a model is compiled with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._losses.own import Numpy
from rekur._validate import as_int32, boolean, show

_Any = NDArray[Any]
_BLANK = 0  # Keras's


class CTC(Numpy):
    """−log of the probability of the labels, summed over all their places in time; the mean over rows.

    Parameters
    ----------
    zero_infinity : bool
        As in torch: a row whose labels do not fit into its steps counts 0 instead of infinity.

    Notes
    -----
    The output is logits (B, T, classes), class 0 the blank. The target (B, L) holds class indices from 1 on, in order,
    and 0 behind them, as in Keras. Steps that are no steps (``lengths=``, masks) are left out, where Keras takes all T;
    weights are one a row. A row whose labels do not fit into its steps has the value infinity and no gradient.
    :func:`rekur.sequences.ctc_decode` says which labels outputs stand for.
    """

    name = "ctc"
    _in_file = True
    _whole_rows = True

    def __init__(self, zero_infinity: bool = False, **options: Any) -> None:
        if options.get("reduction", "sum_over_batch_size") not in ("sum_over_batch_size", "mean", "auto"):
            raise ValueError(
                f"ctc: the value is the mean over rows, got reduction={options['reduction']!r}; loss_weights= of "
                "compile scales it"
            )
        self._begin(options, zero_infinity=boolean(zero_infinity, "ctc: zero_infinity"))

    def config(self) -> dict[str, Any]:
        return {"name": "callback", "label": self.name}

    def _saved(self) -> dict[str, Any]:
        return {"name": self.name, **({"zero_infinity": True} if self.zero_infinity else {})}

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The mean over rows, each times its weight: y_true (B, L), y_pred (B, T, classes), sample_weight (B,)."""
        labels, y_pred, weight = self._batch(y_true, y_pred, sample_weight, "logits", ("B", "T", "classes"))
        values, _ = self._of(labels, y_pred, np.ones(y_pred.shape[:2], bool), False)
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
        values, gradient = self._of(y_true, output, valid, want_gradient)
        steps = np.maximum(valid.sum(axis=1), 1)
        each = valid.sum() / len(output)  # the engine divides by the number of steps
        with np.errstate(invalid="ignore"):  # a row without steps has none to put its infinity at
            spread = np.where(valid, (values * each / steps)[:, None], 0.0)
        return spread, None if gradient is None else np.ascontiguousarray(gradient * each, np.float32)

    def _of(self, y_true: _Any, output: _Any, valid: _Any, want_gradient: bool) -> tuple[_Any, _Any | None]:
        values, gradient = ctc(y_true, output, valid, want_gradient)
        return np.where(np.isinf(values), 0.0, values) if self.zero_infinity else values, gradient


def ctc(y_true: _Any, logits: _Any, valid: _Any, want_gradient: bool) -> tuple[_Any, _Any | None]:
    """Values (B,) and, if wanted, derivatives by the logits (B, T, F); ``valid`` (B, T): which steps are there."""
    labels = np.ascontiguousarray(y_true, np.int32)
    counts = (labels != _BLANK).sum(axis=1, dtype=np.int32)
    logits, valid = np.ascontiguousarray(logits, np.float32), np.ascontiguousarray(valid, np.uint8)
    return _core.ctc_loss(logits, labels, counts, valid, _BLANK, want_gradient)
