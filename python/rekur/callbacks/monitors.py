"""Callbacks that watch one number of the epoch's logs."""

import math
from collections.abc import Iterable
from typing import ClassVar, NoReturn

from rekur import metrics
from rekur._own import check_options, named_after
from rekur._settings import Setting
from rekur._validate import Floats, boolean, did_you_mean, integer, optional_real, real
from rekur.callbacks.base import Callback, Logs, tell, verbosity
from rekur.callbacks.simple import LambdaCallback


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a name of the epoch's logs, got {value!r}")
    return value


def _mode(value: object, what: str) -> str:
    if value not in ("auto", "min", "max"):
        raise ValueError(f"{what}: unknown mode {value!r}; known are auto, min, max")
    return str(value)


def _delta(value: object, what: str) -> float:
    return abs(real(value, what))


def _count(value: object, what: str) -> int:
    return integer(value, what, 0)


def _factor(value: object, what: str) -> float:
    factor = real(value, what, 0, 1)
    if factor in (0, 1):
        raise ValueError(f"{what} must be between 0 and 1, got {value!r}")
    return factor


def _rate(value: object, what: str) -> float:
    return real(value, what, 0)


@named_after("rekur.callbacks", "Callback")
class Monitor(Callback):
    """Watches one number, and knows which way is better.

    With ``mode`` "auto" the metric itself says whether larger is better (:attr:`rekur.metrics.Metric.larger_is_better`,
    of a function its attribute of that name), else its exact name does, where it is a usual one; what cannot be known
    is asked for when the fit begins. What the number is called is looked at then, too.
    """

    _attributes: ClassVar[tuple[str, ...]] = ("larger", "best", "wait")
    monitor = Setting(_name)
    mode = Setting(_mode)
    min_delta = Setting(_delta)
    verbose = Setting(verbosity)

    def __init__(self, monitor: str, min_delta: float, mode: str) -> None:
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta
        self.larger = self._direction()

    def _direction(self) -> bool | None:
        """What mode and name say of which way is better."""
        known = metrics.larger_is_better(self.monitor.removeprefix("val_"))
        return {"auto": known, "min": False, "max": True}[self.mode]

    def _was_set(self, name: str) -> None:
        if name in ("monitor", "mode"):
            self.larger = self._direction()

    def begin(self) -> None:
        """What every fit begins with: is the number there, and which way is better?

        Raises
        ------
        ValueError
            If there will be no such number, or it is not known which way is better.
        """
        what = type(self).__name__
        names: list[str] = list(self.params["metrics"])
        if self.monitor not in names and not self._may_come_later(names):
            raise ValueError(self._missing(names))
        if self.mode != "auto":
            return
        name = self.monitor.removeprefix("val_")
        self.larger = self.model._larger_is_better(name) if name in names else None
        if self.larger is None:
            self.larger = metrics.larger_is_better(name)
        if self.larger is None:
            raise ValueError(
                f"{what}: whether a larger or a smaller '{self.monitor}' is better cannot be told from its name: give "
                "mode='max' or mode='min' (or the metric says so itself: larger_is_better = True)"
            )

    def _may_come_later(self, names: list[str]) -> bool:
        """Whether a callback may add the number: the learning rate's do, and those that people write can."""
        others = [c for c in self._beside if c is not self]
        if self.monitor == "learning_rate":
            return bool(others)
        return any(not type(c).__module__.startswith("rekur.") for c in others) or any(
            isinstance(c, LambdaCallback) for c in others
        )

    def _missing(self, known: Iterable[str]) -> str:
        names = list(known)
        hint = did_you_mean(self.monitor, names)
        if self.monitor.startswith("val_") and not any(name.startswith("val_") for name in names):
            hint = "; give fit validation data"
        return f"{type(self).__name__}: there is no '{self.monitor}' to monitor{hint}"

    def value(self, logs: Logs | None) -> float:
        """What is monitored, of an epoch's logs; ValueError where they lack it."""
        if logs is None or self.monitor not in logs:
            raise ValueError(self._missing(logs or {}))
        return float(logs[self.monitor])

    def better(self, value: float, than: float) -> bool:
        """Whether a value is better than another by more than ``min_delta``."""
        return value > than + self.min_delta if self.larger else value < than - self.min_delta

    @property
    def worst(self) -> float:
        return -math.inf if self.larger else math.inf


class EarlyStopping(Monitor):
    """Stop when a number has not improved for ``patience`` epochs.

    Parameters
    ----------
    monitor : str
        A key of the epoch's logs.
    min_delta : float
        What counts as an improvement.
    patience : int
        Epochs without one after which to stop.
    verbose : int
        1: print when stopping.
    mode : {"auto", "min", "max"}
    baseline : float, optional
        Improvements count only beyond this.
    restore_best_weights : bool
        Whether the model ends with the weights of the best epoch instead of the last.
    start_from_epoch : int
        Epochs before this one are not looked at.

    Raises
    ------
    ValueError
        From fit, before the first step, if there is no such number or it is not known which way is better.
    """

    _attributes = ("stopped_epoch", "best_epoch", "best_weights")
    _kept = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")
    patience = Setting(_count)
    baseline = Setting(optional_real)
    restore_best_weights = Setting(boolean)
    start_from_epoch = Setting(_count)

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        super().__init__(monitor, min_delta, mode)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.begin()
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best = self.worst
        self.best_epoch = 0
        self.best_weights: list[Floats] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.value(logs)
        if epoch < self.start_from_epoch:
            return
        self.wait += 1
        improved = self.better(value, self.best)
        # The first epoch's weights are kept whatever their worth: after a NaN there may never be a better one.
        if self.restore_best_weights and (improved or self.best_weights is None):
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        if improved:
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self.better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        says = self.verbose and self._writes()
        if self.stopped_epoch and says:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if says:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by ``factor`` when a number has not improved for ``patience`` epochs.

    The logs of the epoch hold the learning rate as ``learning_rate``, as the epoch had it.

    Parameters
    ----------
    monitor, mode, min_delta
        As in :class:`EarlyStopping`.
    factor : float
        Above 0, below 1.
    patience, cooldown : int
        Epochs to wait for an improvement; epochs to wait after a reduction.
    min_lr : float
        The learning rate does not fall below this.
    """

    _attributes = ("cooldown_counter",)
    _kept = ("best", "wait", "cooldown_counter")
    factor = Setting(_factor)
    patience = Setting(_count)
    cooldown = Setting(_count)
    min_lr = Setting(_rate)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        super().__init__(monitor, min_delta, mode)
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.begin()
        self.best = self.worst
        self.wait = 0
        self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate
        value = self.value(logs)
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.better(value, self.best):
            self.best = value
            self.wait = 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            rate = self.model.optimizer.learning_rate
            if self.wait >= self.patience and rate > self.min_lr:
                self.model.optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooldown_counter = self.cooldown
                self.wait = 0
                if self.verbose and self._writes():
                    now = self.model.optimizer.learning_rate
                    tell(f"Epoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {now}.")

    def in_cooldown(self) -> bool:
        """Whether epochs pass after a reduction in which no improvement is waited for."""
        return self.cooldown_counter > 0
