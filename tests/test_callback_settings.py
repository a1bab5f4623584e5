"""Parameters of callbacks act when they are set, with the constructor's checks; copies leave the model behind."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import callbacks, layers

X, Y = np.ones((4, 1)), np.zeros(4)


def compiled() -> rekur.Model:
    model = rekur.Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize(
    ("callback", "name", "value", "kind"),
    [
        (callbacks.EarlyStopping("loss"), "patience", -1, ValueError),
        (callbacks.EarlyStopping("loss"), "min_delta", "small", TypeError),
        (callbacks.EarlyStopping("loss"), "mode", "largest", ValueError),
        (callbacks.EarlyStopping("loss"), "monitor", 3, TypeError),
        (callbacks.EarlyStopping("loss"), "start_from_epoch", 1.5, TypeError),
        (callbacks.EarlyStopping("loss"), "restore_best_weights", "yes", TypeError),
        (callbacks.ReduceLROnPlateau("loss"), "factor", 1.0, ValueError),
        (callbacks.ReduceLROnPlateau("loss"), "min_lr", -1, ValueError),
        (callbacks.ReduceLROnPlateau("loss"), "cooldown", None, TypeError),
        (callbacks.ModelCheckpoint("m"), "filepath", "m.h5", ValueError),
        (callbacks.ModelCheckpoint("m"), "save_best_only", 1, TypeError),
        (callbacks.ModelCheckpoint("m"), "filepath", 3, TypeError),
        (callbacks.LearningRateScheduler(float), "schedule", 0.1, TypeError),
        (callbacks.LearningRateScheduler(float), "verbose", "no", TypeError),
        (callbacks.EarlyStopping(), "verbose", -1, ValueError),
        (callbacks.CSVLogger("log.csv"), "filename", 3, TypeError),
        (callbacks.CSVLogger("log.csv"), "separator", "::", ValueError),
        (callbacks.CSVLogger("log.csv"), "separator", "\n", ValueError),
        (callbacks.CSVLogger("log.csv"), "append", "no", TypeError),
    ],
)
def test_a_parameter_set_wrongly_is_refused_by_name(callback: Any, name: str, value: Any, kind: type) -> None:
    before = getattr(callback, name)
    with pytest.raises(kind, match=rf"{type(callback).__name__}: {name}"):
        setattr(callback, name, value)
    assert getattr(callback, name) == before


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.EarlyStopping(), callbacks.ReduceLROnPlateau(), callbacks.ModelCheckpoint("m"), callbacks.History(),
        callbacks.CSVLogger("log.csv"), callbacks.LambdaCallback(), callbacks.LearningRateScheduler(float),
        callbacks.TerminateOnNaN(),
    ],
    ids=lambda callback: type(callback).__name__,
)  # fmt: skip
def test_a_misspelt_parameter_is_refused(callback: Any) -> None:
    with pytest.raises(AttributeError, match=f"{type(callback).__name__} has no attribute 'patient' to set"):
        callback.patient = 3


def test_parameters_set_later_act() -> None:
    stopping, scheduler = callbacks.EarlyStopping("loss"), callbacks.LearningRateScheduler(lambda epoch: 0.5)
    stopping.monitor, stopping.mode, stopping.patience = "mae", "max", 1
    assert stopping.better(2.0, 1.0)
    scheduler.schedule = lambda epoch, rate: 0.0
    history = compiled().fit(X, Y, epochs=9, verbose=0, callbacks=[stopping, scheduler])
    assert history.epoch == [0, 1]  # "mae" did not grow


def test_own_callbacks_have_what_attributes_they_like() -> None:
    class Mine(callbacks.EarlyStopping):
        pass

    mine = Mine("loss")
    mine.anything = 3
    assert mine.anything == 3


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_copy_of_a_callback_leaves_the_model_behind(duplicate: Any, tmp_path: Path) -> None:
    model = compiled()
    used = [
        callbacks.EarlyStopping("loss", patience=3, restore_best_weights=True),
        callbacks.ReduceLROnPlateau("loss", patience=1),
        callbacks.ModelCheckpoint(tmp_path / "m.safetensors", "loss"),
        callbacks.CSVLogger(tmp_path / "log.csv"),
        callbacks.TerminateOnNaN(),
    ]
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=used)
    for callback in (*used, callbacks.LearningRateScheduler(float), history):
        twin = duplicate(callback)
        assert type(twin) is type(callback)
        assert "model" not in vars(twin)
    assert duplicate(history).history == history.history
    assert len(pickle.dumps(history)) < 2000
    assert history.model is model


@pytest.mark.parametrize("options", [{"separator": 3}, {"separator": ""}, {"append": 1}, {"filename": None}])
def test_a_logger_that_could_not_write_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    ((name, _),) = options.items()
    with pytest.raises((TypeError, ValueError), match=f"CSVLogger: {name}"):
        callbacks.CSVLogger(**{"filename": "log.csv", **options})
