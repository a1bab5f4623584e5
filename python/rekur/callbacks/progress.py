"""ProgbarLogger: the progress of a call, drawn by a callback."""

from typing import NoReturn

from rekur._own import check_options
from rekur.callbacks.base import Callback, Logs
from rekur.training.progress import Progress, check_verbose


class ProgbarLogger(Callback):
    """What ``verbose=`` of a call shows, as a callback; the call then draws nothing of its own.

    It follows ``verbose`` of the call: 0 is silent, 1 a bar, 2 a line an epoch. Validation within a fit is silent.
    """

    _only_writes = True
    _draws = True
    _progress: Progress | None = None
    _in_fit = False

    def __init__(self, **options: NoReturn) -> None:
        check_options("callback", type(self), options)

    def _begin(self, title: str) -> None:
        self._progress = Progress(check_verbose(self.params["verbose"]), title, self.params["steps"])

    def _step(self, logs: Logs | None) -> None:
        if self._progress is not None:
            self._progress.step(logs if self._progress.due() else None)

    def _end(self, logs: Logs | None) -> None:
        if self._progress is not None:
            self._progress.close(logs or {})
            self._progress = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin(f"Epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step(logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._end(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._begin("evaluate")

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._step(logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._in_fit:
            self._end(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin("predict")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step(None)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._end(None)
