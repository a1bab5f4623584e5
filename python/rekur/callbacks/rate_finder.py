"""LearningRateFinder: which learning rates a model can be trained with."""

import math
from typing import Any, NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import integer, not_negative, real, share
from rekur.callbacks.base import Callback, Logs


def _steps(value: object, what: str) -> int:
    return integer(value, what, 2)


def _factor(value: object, what: str) -> float:
    return real(value, what, 1)


class LearningRateFinder(Callback):
    """Raise the learning rate from step to step, and look what becomes of the loss.

    A fit with it is a trial: it ends after ``steps`` steps, or as soon as the loss diverges, and leaves the model, its
    optimizer and the learning rate as they were before. Smith, arXiv:1506.01186.

    >>> finder = rekur.callbacks.LearningRateFinder()
    >>> model.fit(x, y, epochs=10, callbacks=finder)
    >>> model.optimizer.learning_rate = finder.suggestion

    Parameters
    ----------
    min_lr, max_lr : float
        The rate of the first step and that of the last; in between it grows by one factor a step.
    steps : int
        Fewer where the epochs hold fewer.
    smoothing : float
        What each smoothed loss keeps of the one before, from 0 to below 1.
    stop_factor : float
        The trial ends where the smoothed loss is above this times the least one.

    Attributes
    ----------
    rates, losses : list of float
        By step: the learning rate, and the smoothed loss.
    suggestion : float or None
        The rate about which the loss falls fastest, by the logarithm of the rate; None where it never falls.
    """

    _attributes = ("rates", "losses", "suggestion")
    min_lr = Setting(not_negative)
    max_lr = Setting(not_negative)
    steps = Setting(_steps)
    smoothing = Setting(share)
    stop_factor = Setting(_factor)

    def __init__(
        self,
        min_lr: float = 1e-6,
        max_lr: float = 1.0,
        steps: int = 100,
        smoothing: float = 0.9,
        stop_factor: float = 4.0,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        self.min_lr, self.max_lr = min_lr, max_lr
        if not 0 < self.min_lr < self.max_lr:
            raise ValueError(f"LearningRateFinder: expected 0 < min_lr < max_lr, got {min_lr!r} and {max_lr!r}")
        self.steps = steps
        self.smoothing = smoothing
        if self.smoothing == 1:
            raise ValueError("LearningRateFinder: smoothing must be below 1, got 1")
        self.stop_factor = stop_factor
        self._raw: list[float] = []
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.suggestion: float | None = None
        self._before: Any = None
        self._mean, self._count = 0.0, 2

    def on_train_begin(self, logs: Logs | None = None) -> None:
        model, bound = self.model, self.model._trainer()
        if model.optimizer._schedule is not None:
            raise ValueError(
                f"LearningRateFinder: the learning rate follows {model.optimizer._schedule!r}; compile with a number"
            )
        self.rates, self.losses, self.suggestion, self._mean = [], [], None, 0.0
        self._raw = []
        steps = self.params["steps"]
        self._count = self.steps if steps is None else max(min(self.steps, steps * self.params["epochs"]), 2)
        carried = [entry.layer for entry in model._flat().states]
        self._before = (
            model.get_weights(), bound.state(), bound.trainer.iterations, bound.epochs, model.optimizer.learning_rate,
            [(layer, layer._states) for layer in carried],
        )  # fmt: skip

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        share = len(self.rates) / (self._count - 1)
        self.model.optimizer.learning_rate = self.min_lr * (self.max_lr / self.min_lr) ** share

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = self.model._loss_of_step
        if math.isfinite(loss):
            self._raw.append(loss)
            self.rates.append(self.model.optimizer.learning_rate)
            self._mean = self.smoothing * self._mean + (1 - self.smoothing) * loss
            self.losses.append(self._mean / (1 - self.smoothing ** len(self.rates)))
        over = not math.isfinite(loss) or len(self.rates) >= self._count
        if over or self.losses[-1] > self.stop_factor * min(self.losses) > 0:
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        weights, tensors, iterations, epochs, rate, carried = self._before
        self._before = None
        self.model.set_weights(weights)
        self.model._trainer().set_state(tensors, iterations, epochs)
        self.model.optimizer.learning_rate = rate
        for layer, states in carried:
            layer._states = states
        self.suggestion = self._steepest()

    def _steepest(self) -> float | None:
        """Where the mean loss of the steps behind is least beside that of as many before; both are as noisy."""
        width = max(2, len(self._raw) // 10)
        last = int(np.argmin(self.losses)) + width if self.losses else 0  # what comes behind has begun to diverge
        sums = np.cumsum([0.0, *self._raw[:last]])
        means = (sums[width:] - sums[:-width]) / width
        falls = means[width:] - means[:-width]
        if not len(falls) or falls.min() >= 0:
            return None
        return self.rates[width + int(falls.argmin())]
