"""Callbacks: what happens between the steps and epochs of a fit."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.callbacks.backup import BackupAndRestore
from rekur.callbacks.base import Callback, CallbackList, History
from rekur.callbacks.checkpoint import ModelCheckpoint
from rekur.callbacks.monitors import EarlyStopping, ReduceLROnPlateau
from rekur.callbacks.progress import ProgbarLogger
from rekur.callbacks.rate_finder import LearningRateFinder
from rekur.callbacks.remote import RemoteMonitor
from rekur.callbacks.simple import CSVLogger, LambdaCallback, LearningRateScheduler, TerminateOnNaN
from rekur.callbacks.tensorboard import TensorBoard

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
    "TensorBoard",
    "TerminateOnNaN",
]


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "callback", name)
