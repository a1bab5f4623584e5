"""Losses and metrics gathered over the batches of a pass."""

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur._validate import Floats, spread
from rekur.training.data import Rows

if TYPE_CHECKING:
    from rekur.training.bound import Bound

Results = tuple[float, list[float], list[Floats] | None, list[int]]


class Totals:
    """Means of losses and metrics over the batches of a pass."""

    def __init__(self, bound: "Bound") -> None:
        self._bound = bound
        self._loss = [0.0] * len(bound.outputs)
        self._count: list[float] = [0] * len(bound.outputs)  # what these sums are a mean over
        self._penalty, self._rows = 0.0, 0
        weighed = zip(bound.losses, bound.loss_weights, strict=True)
        self._weighed = [(k, weight) for k, (loss, weight) in enumerate(weighed) if loss is not None and weight]
        self._watched = [k for k, loss in enumerate(bound.losses) if loss is not None]
        self.metrics = copy.deepcopy(bound.metrics)
        self._by_weight = bound.by_weight
        for metrics in self.metrics:
            for metric in metrics:
                metric.reset_state()

    def add(self, batch: Rows, results: Results) -> None:
        """A batch and what the engine's step or evaluation of it gave."""
        total, losses, outputs, counts = results
        if math.isfinite(total):  # besides the losses it holds what regularizers add
            added = total
            for k, weight in self._weighed:
                added -= weight * losses[k]
            rows = len(batch)
            self._penalty += added * rows
            self._rows += rows
        for k in self._watched:
            count = counts[k]
            over = self._bound.mean_over(k, batch, count) if count else 0
            if over:  # a loss without a valid step is no number to weigh by zero
                self._loss[k] += losses[k] * over
                self._count[k] += over
            if outputs is not None and self.metrics[k] and count:
                self.update(k, batch, outputs[k])

    def update(self, k: int, batch: Rows, y_pred: Floats) -> None:
        y_true = batch.targets[k]
        assert y_true is not None
        weight = batch.weights[k]
        keep = batch.present(k, y_pred.shape)  # what has weight 0 is not there: its target may be anything
        if y_pred.ndim > 2:
            steps = y_pred.shape[:-1]
            if keep is None:
                keep = np.ones(steps, dtype=bool)
            weight = spread(weight, steps)
        if keep is not None:
            if not keep.any():
                return
            y_true, y_pred = y_true[keep], y_pred[keep]
            weight = None if weight is None else weight[keep]
        for metric, by_weight in zip(self.metrics[k], self._by_weight[k], strict=True):
            metric.update_state(y_true, y_pred, weight if by_weight else None)

    def state(self) -> dict[str, Any]:
        """What a pass over the rows that was interrupted goes on from: numbers, arrays, lists and dicts of them."""
        own = {
            key: value
            for key, value in vars(self).items()
            if key not in ("_bound", "_weighed", "_watched", "_by_weight", "metrics")
        }
        return {"own": own, "metrics": [[dict(vars(metric)) for metric in metrics] for metrics in self.metrics]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        vars(self).update(state["own"])
        for metrics, states in zip(self.metrics, state["metrics"], strict=True):
            for metric, values in zip(metrics, states, strict=True):
                vars(metric).update(values)

    def results(self) -> dict[str, float]:
        """By the names of :meth:`Bound.names`."""
        means = [total / count if count else 0.0 for total, count in zip(self._loss, self._count, strict=True)]
        used = [loss is not None for loss in self._bound.losses]
        # What has weight 0 is only watched: be it NaN, nothing comes of it.
        weighted = sum(w * m for w, m, u in zip(self._bound.loss_weights, means, used, strict=True) if u and w)
        values = [weighted + (self._penalty / self._rows if self._penalty else 0.0)]
        if len(means) > 1:
            values += [m for m, u in zip(means, used, strict=True) if u]
        values += [metric.result() for metrics in self.metrics for metric in metrics]
        return dict(zip(self._bound.names(), (float(v) for v in values), strict=True))
