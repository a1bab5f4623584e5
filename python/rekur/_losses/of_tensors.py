"""Losses of symbolic tensors: what ``add_loss`` takes in the call of a layer or model of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur import losses
from rekur._losses.formulas import formula as formula_of
from rekur.layers import tensors
from rekur.layers.added import Total


def loss_of_tensors(loss: losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any) -> Total:
    """The mean (or what ``reduction`` says) over a batch.

    Raises
    ------
    TypeError
        For a loss that is no equations of rows, or targets that are no tensor.
    """
    if loss._reduction == "none":
        tensors.fail(f"{loss!r} of symbolic tensors: reduction=None is of arrays alone; take losses.{loss.name}")
    formula = formula_of(loss)
    if formula is None or loss._reduction == "mean_with_sample_weight":
        tensors.fail(f"{loss!r} of symbolic tensors: it is no equation of rows; give it to compile", TypeError)
    for what, given in (("y_true", y_true), ("sample_weight", sample_weight)):
        if given is not None and not tensors.is_tensor(given) and np.ndim(given):
            tensors.fail(f"{loss!r} of symbolic tensors: {what} must be one, too, got {given!r}", TypeError)

    def weighed(t: Any, p: Any, weight: Any = 1.0) -> Any:
        found = formula(t, p)
        return found if isinstance(weight, float) else found * weight

    given = (y_true, y_pred) if sample_weight is None else (y_true, y_pred, sample_weight)
    values = tensors.lift(loss.name, weighed, (given, {}))
    return Total([(values, "sum" if loss._reduction == "sum" else "mean", 1.0)])
