"""What the engine's losses are of a row, in rekur.ops: for a call by hand, of arrays or of symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rekur import losses, ops
from rekur._losses import further as more
from rekur._validate import show

Formula = Callable[[Any, Any], Any]


def formula(loss: losses.Loss) -> Formula | None:
    """The loss of a row in rekur.ops."""
    if type(loss)._is_own():
        return loss.call
    if isinstance(loss, losses.MeanSquaredError):
        return lambda t, p: ops.mean(ops.square(p - t), axis=-1)
    if isinstance(loss, losses.MeanAbsoluteError):
        return lambda t, p: ops.mean(ops.abs(p - t), axis=-1)
    if isinstance(loss, losses.Huber):
        return lambda t, p: ops.mean(_huber(ops.abs(p - t), loss.delta), axis=-1)
    if isinstance(loss, losses.BinaryCrossentropy):
        of = more.binary_crossentropy
        return lambda t, p: ops.mean(of(more.smoothed(t, loss.label_smoothing, True), p, loss.from_logits), axis=-1)
    if isinstance(loss, losses.CategoricalCrossentropy):
        of = more.categorical_crossentropy
        return lambda t, p: of(more.smoothed(t, loss.label_smoothing, False), p, loss.from_logits)
    return None


def _huber(e: Any, delta: float) -> Any:
    return ops.where(ops.less_equal(e, delta), 0.5 * ops.square(e), delta * (e - 0.5 * delta))


def sparse_crossentropy(loss: losses.SparseCategoricalCrossentropy, y_true: Any, y_pred: Any) -> Any:
    """Of class indices (…, 1) and outputs (…, classes), both arrays; 0 where the index is the one to ignore."""
    ids = np.asarray(y_true)[..., 0]
    there = np.ones(ids.shape, bool) if loss._ignored is None else ids != loss._ignored
    classes = y_pred.shape[-1]
    wrong = there & ~((ids >= 0) & (ids < classes) & (ids == np.floor(ids)))
    if wrong.any():
        raise ValueError(f"{loss.name}: expected classes from 0 to {classes - 1}, got {ids[wrong][0]:g}")
    if ids.shape != y_pred.shape[:-1]:
        raise ValueError(f"{loss.name}: expected classes of shape {show(y_pred.shape[:-1])}, got {show(ids.shape)}")
    one_hot = np.equal(ids[..., None], np.arange(classes)) & there[..., None]
    return more.categorical_crossentropy(one_hot.astype(np.float64), y_pred, loss.from_logits)
