"""Callbacks, followed on models whose course is known."""

import csv

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers
from rekur.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

X, Y = np.ones((4, 1)), np.zeros(4)


def _model(rate=0.1, weight=1.0):
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile(rekur.optimizers.SGD(rate), "mse", metrics=["mae"])
    model.set_weights([[[weight]]])
    return model


class Script(Callback):
    """Puts given numbers into the logs, and records the weight after each epoch."""

    def __init__(self, values):
        self.values = values
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        logs["val"] = self.values[epoch]
        self.weights.append(self.model.get_weights()[0].item())


def _stopped(values, **options):
    script, stopping, model = Script(values), EarlyStopping("val", **options), _model()
    history = model.fit(X, Y, epochs=len(values), verbose=0, callbacks=[script, stopping])
    return history.epoch[-1], stopping, script, model


def test_hooks_in_order():
    seen = []

    class Recorder(Callback):
        def on_train_begin(self, logs=None):
            seen.append("train")

        def on_epoch_begin(self, epoch, logs=None):
            seen.append(f"epoch {epoch}")

        def on_train_batch_begin(self, batch, logs=None):
            seen.append(f"batch {batch}")

        def on_train_batch_end(self, batch, logs=None):
            seen.append(f"done {batch} {sorted(logs)}")

        def on_epoch_end(self, epoch, logs=None):
            seen.append(f"end {sorted(logs)}")

        def on_train_end(self, logs=None):
            seen.append(f"over {self.params['epochs']} {self.params['steps']}")

    _model().fit(X, Y, batch_size=3, epochs=1, validation_data=(X, Y), verbose=0, callbacks=[Recorder()])
    assert seen == [
        "train", "epoch 0", "batch 0", "done 0 ['loss', 'mae']", "batch 1", "done 1 ['loss', 'mae']",
        "end ['loss', 'mae', 'val_loss', 'val_mae']", "over 1 2",
    ]  # fmt: skip


def test_early_stopping_patience_and_mode():
    falling = [3.0, 2.0, 2.5, 2.4, 2.3, 1.0, 0.5]
    assert _stopped(falling, patience=2)[0] == 3
    assert _stopped(falling, patience=0)[0] == 2
    assert _stopped(falling, patience=4)[0] == 6
    assert _stopped(falling, patience=1, mode="max")[0] == 1
    assert _stopped(falling, patience=1, min_delta=5.0)[0] == 1
    assert _stopped(falling, patience=1, start_from_epoch=4)[0] == 6
    assert _stopped(falling, patience=2, baseline=0.1)[0] == 2


def test_early_stopping_restores_the_best_weights():
    epoch, stopping, script, model = _stopped([3.0, 1.0, 2.0, 2.0, 0.0], patience=2, restore_best_weights=True)
    assert (epoch, stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (3, 1.0, 1, 3)
    assert model.get_weights()[0].item() == script.weights[1] != script.weights[3]
    # Also where the epochs run out first.
    _, _, script, model = _stopped([3.0, 1.0, 2.0], patience=9, restore_best_weights=True)
    assert model.get_weights()[0].item() == script.weights[1]
    _, _, script, model = _stopped([float("nan")] * 3, patience=1, restore_best_weights=True)
    assert model.get_weights()[0].item() == script.weights[0]


def test_mode_auto_goes_by_the_name():
    assert EarlyStopping("val_accuracy").better(0.9, 0.8)
    assert EarlyStopping("val_loss").better(0.8, 0.9)
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="maximum")


def test_unknown_monitor():
    with pytest.raises(ValueError, match=r"no 'val_loss'.*validation data"):
        _model().fit(X, Y, verbose=0, callbacks=EarlyStopping())
    with pytest.raises(ValueError, match="did you mean 'loss'"):
        _model().fit(X, Y, verbose=0, callbacks=EarlyStopping("los"))


def test_checkpoints(tmp_path):
    pattern = tmp_path / "m-{epoch:02d}-{val:.2f}.safetensors"
    model, script = _model(), Script([3.0, 1.0, 2.0])
    model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[script, ModelCheckpoint(pattern, monitor="val", save_best_only=True)]
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-01-3.00.safetensors", "m-02-1.00.safetensors"]
    saved = rekur.load(tmp_path / "m-02-1.00.safetensors")
    assert saved.get_weights()[0].item() == script.weights[1]
    model.fit(X, Y, epochs=2, verbose=0, callbacks=ModelCheckpoint(tmp_path / "last"))
    np.testing.assert_array_equal(rekur.load(tmp_path / "last").get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match=r"'val_los'.*known are epoch, loss, mae"):
        model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "{val_los}"))
    before = model.get_weights()[0].copy()
    with pytest.raises(OSError, match=r"no folder '.*none'"):
        model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "none" / "m"))
    np.testing.assert_array_equal(model.get_weights()[0], before)  # found before the first step
    model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "weights", save_weights_only=True))
    weights_only = rekur.load(tmp_path / "weights")
    np.testing.assert_array_equal(weights_only.get_weights()[0], model.get_weights()[0])
    with pytest.raises(RuntimeError, match="not compiled"):
        weights_only.fit(X, Y)


def test_csv_log(tmp_path):
    path = tmp_path / "log.csv"
    model = _model()
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=CSVLogger(path, separator=";")).history
    model.fit(X, Y, epochs=3, initial_epoch=2, verbose=0, callbacks=CSVLogger(path, separator=";", append=True))
    rows = list(csv.DictReader(path.open(), delimiter=";"))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows[:2]] == history["loss"]
    model.fit(X, Y, verbose=0, callbacks=CSVLogger(path))
    assert path.read_text().startswith("epoch,loss,mae\n0,")
    with pytest.raises(OSError, match=r".+"):
        model.fit(X, Y, verbose=0, callbacks=CSVLogger(tmp_path / "none" / "log.csv"))


def test_csv_log_is_whole_after_an_exception(tmp_path):
    path = tmp_path / "log.csv"

    def fail(epoch, logs):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        _model().fit(X, Y, epochs=3, verbose=0, callbacks=[CSVLogger(path), LambdaCallback(on_epoch_end=fail)])
    assert len(path.read_text().splitlines()) == 2


def test_lambda_callback():
    seen = []
    _model().fit(
        X, Y, batch_size=2, verbose=0,
        callbacks=LambdaCallback(
            on_epoch_begin=lambda epoch, _: seen.append(epoch),
            on_train_batch_end=lambda batch, logs: seen.append((batch, "loss" in logs)),
        ),
    )  # fmt: skip
    assert seen == [0, (0, True), (1, True)]
    with pytest.raises(TypeError, match="on_epoch_ends"):
        LambdaCallback(on_epoch_ends=print)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_terminate_on_nan(bad, capsys):
    x = np.vstack([np.ones((4, 1)), [[bad]], np.ones((3, 1))])
    batches = []
    history = _model().fit(
        x, np.zeros(8), batch_size=2, epochs=5, shuffle=False, verbose=0,
        callbacks=[TerminateOnNaN(), LambdaCallback(on_train_batch_end=lambda b, _: batches.append(b))],
    )  # fmt: skip
    assert batches == [0, 1, 2]
    assert history.epoch == [0]
    assert "terminating" in capsys.readouterr().out


def test_stop_training_from_outside():
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model = _model()
    assert model.fit(X, Y, epochs=9, verbose=0, callbacks=Stop()).epoch == [0, 1]
    assert model.fit(X, Y, epochs=1, verbose=0).epoch == [0]


def test_learning_rates():
    model = _model(rate=0.5)
    rates = []
    watch = LambdaCallback(on_epoch_end=lambda *_: rates.append(model.optimizer.learning_rate))
    model.fit(
        X, Y, epochs=3, verbose=0, callbacks=[LearningRateScheduler(lambda epoch, rate: rate / (epoch + 1)), watch]
    )
    assert rates == pytest.approx([0.5, 0.25, 0.25 / 3])
    rates.clear()
    model.optimizer.learning_rate = 0.4
    plateau = ReduceLROnPlateau("val", factor=0.5, patience=2, min_lr=0.15)
    model.fit(X, Y, epochs=8, verbose=0, callbacks=[Script([1.0, *[2.0] * 7]), plateau, watch])
    assert rates == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.15, 0.15, 0.15, 0.15])


def test_a_changed_rate_is_the_one_used():
    model = _model(rate=0.5)
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, verbose=0)
    assert model.get_weights()[0].item() == 1.0
    with pytest.raises(ValueError, match="learning_rate"):
        model.optimizer.learning_rate = -1.0
