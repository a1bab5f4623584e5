"""Callbacks that write a log, call a function, stop at a NaN or follow a schedule."""

import inspect
import os
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import as_path, boolean, did_you_mean, real
from rekur.callbacks.base import Callback, Logs, tell, verbosity


def _separator(value: object, what: str) -> str:
    if not isinstance(value, str) or len(value) != 1 or value in '\r\n"':
        raise ValueError(f"{what} must be one character, no quote and no end of a line, got {value!r}")
    return value


class CSVLogger(Callback):
    """Write each epoch's logs as one line of a CSV file, which is complete after every epoch.

    The columns are ``epoch`` and the names of the logs in alphabetical order; what an epoch does not have is NA.

    Parameters
    ----------
    filename : str or path
    separator : str
    append : bool
        Whether to go on in a file that is there, whose columns then stay.
    """

    _only_writes = True

    _attributes = ("columns",)
    filename = Setting(as_path)
    separator = Setting(_separator)
    append = Setting(boolean)

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False, **options: NoReturn
    ) -> None:
        check_options("callback", type(self), options)
        self.filename = filename
        self.separator = separator
        self.append = append
        self.columns: list[str] | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        import csv

        self.columns = None
        if self.append and os.path.exists(self.filename):
            with open(self.filename, newline="", encoding="utf-8") as file:
                self.columns = next(csv.reader(file, delimiter=self.separator), None)
        else:
            with open(
                self.filename, "w", encoding="utf-8"
            ):  # found here, not after the first epoch, if it cannot be written
                pass

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import csv

        row: dict[str, float | int] = {"epoch": epoch, **(logs or {})}
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            if self.columns is None:
                self.columns = ["epoch", *sorted({*(logs or {}), *self.params.get("metrics", ())})]
                csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(self.columns)
            values = [row.get(column, "NA") for column in self.columns]
            csv.writer(file, delimiter=self.separator, lineterminator="\n").writerow(values)


class LambdaCallback(Callback):
    """Functions as a callback: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Parameters
    ----------
    on_epoch_begin, on_epoch_end, on_train_begin, on_train_end, on_train_batch_begin, on_train_batch_end : callable
    **hooks : callable
        Any other hook of :class:`Callback`.

    Raises
    ------
    TypeError
        For a name that is no hook, or what is no function.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        given = {
            "on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin, "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin, "on_train_batch_end": on_train_batch_end,
            **hooks,
        }  # fmt: skip
        known = [name for name in dir(Callback) if name.startswith("on_")]
        for name, function in given.items():
            if name not in known:
                raise TypeError(f"LambdaCallback: there is no hook '{name}'{did_you_mean(name, known)}")
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback: {name} must be a function, got {function!r}")
            setattr(self, name, function)


class TerminateOnNaN(Callback):
    """Stop as soon as the loss is NaN or infinite.

    Parameters
    ----------
    raise_error : bool
        Raise RuntimeError instead of ending the fit as ``stop_training`` does: ``on_train_end`` is not called then, so
        that a backup of :class:`BackupAndRestore` stays.
    """

    raise_error = Setting(boolean)

    def __init__(self, raise_error: bool = False, **options: NoReturn) -> None:
        check_options("callback", type(self), options)
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not np.isfinite(loss):
            if self.raise_error:
                raise RuntimeError(
                    f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. Terminating training "
                    "immediately."
                )
            if self._writes():
                print(f"Batch {batch}: Invalid loss, terminating training")
            self.model.stop_training = True


def _schedule(value: object, what: str) -> Any:
    if not callable(value):
        raise TypeError(f"{what} must be a function of (epoch, rate), got {value!r}")
    return value


class LearningRateScheduler(Callback):
    """Set the learning rate at the beginning of each epoch. The logs of the epoch hold it as ``learning_rate``.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` or ``schedule(epoch)``, which returns the new learning rate; epochs are
        counted from 0.
    verbose : int
        1: print it.
    """

    _kept = ("_begun",)
    verbose = Setting(verbosity)
    schedule = Setting(_schedule)

    def __init__(self, schedule: Callable[..., float], verbose: int = 0, **options: NoReturn) -> None:
        check_options("callback", type(self), options)
        self.schedule = schedule
        self.verbose = verbose
        self._begun: tuple[int, float] | None = None  # the epoch that began last, and the rate before it

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begun = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        before = self.model.optimizer.learning_rate
        if self._begun is not None and self._begun[0] == epoch:  # a fit that is resumed within the epoch
            before = self._begun[1]
        self._begun = epoch, before
        rate = self.schedule(epoch, before) if _takes_two(self.schedule) else self.schedule(epoch)
        self.model.optimizer.learning_rate = real(rate, "LearningRateScheduler: what schedule returns", 0)
        if self.verbose and self._writes():
            now = self.model.optimizer.learning_rate
            tell(f"Epoch {epoch + 1}: LearningRateScheduler setting learning rate to {now}.")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = self.model.optimizer.learning_rate


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with two positional arguments."""
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # a function of C code without a signature
        return True
    return True
