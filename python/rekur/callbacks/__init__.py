"""Callbacks: what happens between the steps and epochs of a fit."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.callbacks.base import Callback, CallbackList, History

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateFinder",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]


if TYPE_CHECKING:
    from rekur.callbacks.averages import SwapEMAWeights
    from rekur.callbacks.backup import BackupAndRestore
    from rekur.callbacks.checkpoint import ModelCheckpoint
    from rekur.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
    from rekur.callbacks.progress import ProgbarLogger
    from rekur.callbacks.rate_finder import LearningRateFinder
    from rekur.callbacks.remote import RemoteMonitor
    from rekur.callbacks.simple import CSVLogger, LambdaCallback, LearningRateScheduler, TerminateOnNaN
    from rekur.callbacks.tensorboard import TensorBoard
else:  # a type checker is to see what is not there
    _LATER = {  # imported when they are asked for
        "BackupAndRestore": "backup",
        "CSVLogger": "simple",
        "EarlyStopping": "monitors",
        "LambdaCallback": "simple",
        "LearningRateFinder": "rate_finder",
        "LearningRateScheduler": "simple",
        "ModelCheckpoint": "checkpoint",
        "ProgbarLogger": "progress",
        "ReduceLROnPlateau": "monitors",
        "RemoteMonitor": "remote",
        "SwapEMAWeights": "averages",
        "TensorBoard": "tensorboard",
        "TerminateOnNaN": "simple",
    }

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            import importlib

            return getattr(importlib.import_module(f"rekur.callbacks.{_LATER[name]}"), name)
        no_attribute(__name__, "callback", name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
