"""Callbacks: what happens between the steps and epochs of a fit."""

from typing import TYPE_CHECKING, Any

from rekur._own import no_attribute
from rekur.callbacks.base import Callback, CallbackList, History
from rekur.callbacks.monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from rekur.callbacks.simple import CSVLogger, LambdaCallback, LearningRateScheduler, TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]


if not TYPE_CHECKING:  # a type checker is to see what is not there

    def __getattr__(name: str) -> Any:
        no_attribute(__name__, "callback", name)
