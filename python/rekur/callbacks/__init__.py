"""Callbacks: what happens between the steps and epochs of a fit."""

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
