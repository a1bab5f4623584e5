"""ModelCheckpoint: a file after each epoch, or after so many batches."""

import os
from collections.abc import Mapping
from typing import Any, NoReturn

from rekur._own import check_options
from rekur._settings import Setting
from rekur._validate import boolean, check_suffix, integer, optional_real
from rekur.callbacks.base import Logs, tell
from rekur.callbacks.monitors import Monitor


def frequency(value: object, what: str) -> str | int:
    """ "epoch", or a number of batches."""
    if isinstance(value, str):
        if value != "epoch":
            raise ValueError(f"{what} must be 'epoch' or a number of batches, got {value!r}")
        return value
    return integer(value, what)


class Batches:
    """Counts the batches that ended, across epochs."""

    def __init__(self) -> None:
        self.count = 0

    def due(self, every: str | int) -> bool:
        """Whether the batch that ended now is the last of so many."""
        if isinstance(every, str):
            return False
        self.count += 1
        if self.count < every:
            return False
        self.count = 0
        return True


class ModelCheckpoint(Monitor):
    """Save the model after each epoch, or after every so many batches.

    Parameters
    ----------
    filepath : str or path
        May hold ``{epoch:02d}`` and, with a number as ``save_freq``, ``{batch}``, both counted from 1, and any key of
        the logs, ``{val_loss:.4f}``. The file is complete or not there at all; a folder that is missing is made.
    monitor, mode : str
        What decides "best" with ``save_best_only``.
    verbose : int
        1: print each file's name.
    save_best_only : bool
    save_weights_only : bool
        Write :meth:`rekur.Model.save_weights` instead of :meth:`rekur.Model.save`.
    save_freq : "epoch" or int
        A number counts batches, across epochs.
    initial_value_threshold : float, optional
        With ``save_best_only`` only what is better than this is saved.

    Raises
    ------
    ValueError
        From fit, if the name holds an unknown key or there is nothing to monitor.
    OSError
        From fit, if the folder cannot be made or the file cannot be written.
    """

    _kept = ("best",)
    filepath = Setting(check_suffix)
    save_best_only = Setting(boolean)
    save_weights_only = Setting(boolean)
    save_freq = Setting(frequency)

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
        **options: NoReturn,
    ) -> None:
        check_options("callback", type(self), options)
        super().__init__(monitor, 0.0, mode)
        self.filepath = filepath
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.best = optional_real(initial_value_threshold, "ModelCheckpoint: initial_value_threshold")
        self._batches, self._epoch = Batches(), 0

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "batches": self._batches.count}

    def set_state(self, state: Mapping[str, Any]) -> None:
        rest = dict(state)
        self._batches.count = rest.pop("batches")
        super().set_state(rest)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = Batches()
        if self.save_best_only:
            self.begin()
        names = list(self.params["metrics"])
        if not self._may_come_later(names):
            known = [n for n in names if self.save_freq == "epoch" or not n.startswith("val_")]
            self._path(0, 0, dict.fromkeys(known, 0.0))  # a name that the logs will not have is found now
        folder = os.path.dirname(self.filepath)
        if folder and "{" not in folder:
            os.makedirs(folder, exist_ok=True)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._batches.due(self.save_freq):
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch":
            self._save(epoch, 0, logs or {})

    def _save(self, epoch: int, batch: int, logs: Logs) -> None:
        path, reason = self._path(epoch, batch, logs), ""
        if self.save_best_only:
            value, before = self.value(logs), "None" if self.best is None else f"{self.best:.5f}"
            if not self.better(value, self.worst if self.best is None else self.best):
                if self.verbose and self._writes():
                    tell(f"Epoch {epoch + 1}: {self.monitor} did not improve from {before}")
                return
            self.best = value
            reason = f"{self.monitor} improved from {before} to {value:.5f}, "
        if not self._writes():
            return
        if self.verbose:
            tell(f"Epoch {epoch + 1}: {reason}saving model to {path}")
        if folder := os.path.dirname(path):
            os.makedirs(folder, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        if self.verbose:
            tell(f"Epoch {epoch + 1}: finished saving model to {path}")

    def _path(self, epoch: int, batch: int, logs: Logs) -> str:
        keys = {"epoch": epoch + 1, **({} if self.save_freq == "epoch" else {"batch": batch + 1}), **logs}
        try:
            return self.filepath.format(**keys)
        except (KeyError, IndexError) as error:
            raise ValueError(f"ModelCheckpoint: '{self.filepath}' needs {error}; known are {', '.join(keys)}") from None
