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
    script, stopping, model = Script(values), EarlyStopping("val", **{"mode": "min", **options}), _model()
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


def f1(y_true, y_pred):
    return float(np.mean(y_pred))


def my_score(y_true, y_pred):
    return np.mean(y_pred, axis=-1)


def my_gain(y_true, y_pred):
    return np.mean(y_pred, axis=-1)


my_gain.larger_is_better = True


class MyError(rekur.metrics.MeanAbsoluteError):
    default_name = "my_error"


def _monitored(metric, monitor, callback=EarlyStopping, **options):
    model = Sequential([layers.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse", metrics=[metric])
    watch = callback(monitor=monitor, **options)
    model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=watch)
    return watch


@pytest.mark.parametrize(
    ("metric", "monitor", "larger"),
    [
        (f1, "val_f1", True),
        (my_gain, "val_my_gain", True),
        (MyError(), "val_my_error", False),
        (rekur.metrics.MeanSquaredError("accuracy"), "val_accuracy", False),  # the metric's word, not the name's
        (rekur.metrics.BinaryAccuracy("score"), "score", True),
        ("accuracy", "val_accuracy", True),
        ("rmse", "rmse", False),
        ("mae", "val_loss", False),
    ],
)
def test_mode_auto_asks_the_metric_then_its_exact_name(metric, monitor, larger):
    assert _monitored(metric, monitor).larger is larger
    assert _monitored(metric, monitor, ReduceLROnPlateau).larger is larger


@pytest.mark.parametrize("name", ["val_f1", "val_r2", "val_precision", "val_recall", "val_auc", "accuracy", "val_iou"])
def test_mode_auto_maximises_what_is_better_when_larger(name):
    assert EarlyStopping(name).better(0.9, 0.8)
    assert not EarlyStopping(name).better(0.8, 0.9)


@pytest.mark.parametrize("name", ["loss", "val_loss", "val_rmse", "mae", "head_loss"])
def test_mode_auto_minimises_what_is_better_when_smaller(name):
    assert EarlyStopping(name).better(0.8, 0.9)


def test_mode_auto_asks_where_it_cannot_know(tmp_path):
    """A name that merely contains "acc" says nothing."""
    for metric, monitor in (
        (my_score, "val_my_score"),
        (rekur.metrics.OverAllRows(f1, "accumulated"), "accumulated"),
    ):
        for callback in (EarlyStopping, ReduceLROnPlateau):
            with pytest.raises(ValueError, match=rf"{callback.__name__}: .*'{monitor}'.*mode='max' or mode='min'"):
                _monitored(metric, monitor, callback)
            assert _monitored(my_score, "val_my_score", callback, mode="max").larger is True
    with pytest.raises(ValueError, match="mode"):
        EarlyStopping(mode="maximum")
    path = tmp_path / "m"
    with pytest.raises(ValueError, match="mode="):
        _monitored(my_score, "my_score", lambda monitor: ModelCheckpoint(path, monitor, save_best_only=True))
    _monitored(my_score, "my_score", lambda monitor: ModelCheckpoint(path, monitor))  # it need not know


def test_mode_auto_of_several_outputs():
    x = rekur.Input((1,))
    model = rekur.Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)])
    model.compile("sgd", "mse", metrics={"a": [f1], "b": ["mae"]})
    for monitor, larger in (("val_a_f1", True), ("b_mae", False), ("a_loss", False)):
        watch = EarlyStopping(monitor)
        model.fit(X, [Y, Y], verbose=0, validation_data=(X, [Y, Y]), callbacks=watch)
        assert watch.larger is larger


def test_the_best_weights_of_a_score_are_restored():
    """The score falls while the loss falls: the first epoch is the best one."""
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile(rekur.optimizers.SGD(0.1), "mse", metrics=[f1])
    model.set_weights([[[1.0]]])
    stopping = EarlyStopping("val_f1", patience=9, restore_best_weights=True)
    model.fit(X, Y, epochs=4, verbose=0, validation_data=(X, Y), callbacks=stopping)
    assert stopping.best_epoch == 0
    assert model.get_weights()[0].item() == pytest.approx(0.8)


def test_unknown_monitor_is_found_before_the_first_step(tmp_path):
    model = _model()
    before = model.get_weights()[0].copy()
    for callback, message in (
        (EarlyStopping(), r"EarlyStopping: there is no 'val_loss'.*validation data"),
        (EarlyStopping("los"), "did you mean 'loss'"),
        (ReduceLROnPlateau("val_mae"), "ReduceLROnPlateau: there is no 'val_mae'.*validation data"),
        (ModelCheckpoint(tmp_path / "m", "maes", save_best_only=True), "ModelCheckpoint: there is no 'maes'.*'mae'"),
        (ModelCheckpoint(tmp_path / "{los}"), "ModelCheckpoint: .*needs 'los'; known are epoch, loss, mae"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(X, Y, verbose=0, callbacks=callback)
        np.testing.assert_array_equal(model.get_weights()[0], before)
    # A callback of one's own may bring the number.
    model.fit(X, Y, verbose=0, callbacks=[Script([1.0]), EarlyStopping("val", mode="min")])
    with pytest.raises(ValueError, match="there is no 'other'"):
        model.fit(X, Y, verbose=0, callbacks=[Script([1.0]), EarlyStopping("other", mode="min")])


def test_checkpoints_are_refused_names_of_other_formats():
    for name in ("best.h5", "best-{epoch}.keras", "m.onnx", "weights.PT"):
        with pytest.raises(ValueError, match=r"ModelCheckpoint: filepath: a model is saved as \.safetensors, got"):
            ModelCheckpoint(name)


def test_history_keeps_what_callbacks_add_and_the_learning_rate_where_one_changes_it():
    model = _model(rate=0.5)
    seen = []
    history = model.fit(
        X, Y, epochs=3, verbose=0,
        callbacks=[
            Script([3.0, 2.0, 1.0]),
            LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1)),
            LambdaCallback(on_epoch_end=lambda _, logs: seen.append(sorted(logs))),
        ],
    ).history  # fmt: skip
    assert history["val"] == [3.0, 2.0, 1.0]
    assert history["learning_rate"] == pytest.approx([0.1, 0.05, 0.1 / 3])
    assert seen == [["learning_rate", "loss", "mae", "val"]] * 3
    history = model.fit(
        X, Y, epochs=3, verbose=0, callbacks=ReduceLROnPlateau("loss", min_delta=9, patience=1, factor=0.5)
    )
    assert history.history["learning_rate"] == pytest.approx([0.1 / 3, 0.1 / 3, 0.1 / 6])


@pytest.mark.parametrize(
    "schedule", [lambda epoch: 0.25, lambda epoch, rate: rate / 2, lambda epoch, lr=1.0: lr / 2, lambda *args: 0.25]
)
def test_schedules_of_one_or_two_arguments(schedule):
    model = _model(rate=0.5)
    model.fit(X, Y, verbose=0, callbacks=LearningRateScheduler(schedule))
    assert model.optimizer.learning_rate == 0.25


def test_a_schedule_must_return_a_rate():
    with pytest.raises(TypeError, match="schedule returns must be a number, got None"):
        _model().fit(X, Y, verbose=0, callbacks=LearningRateScheduler(lambda epoch: None))
    with pytest.raises(TypeError, match="schedule must be a function"):
        LearningRateScheduler(0.1)


class Everything(Callback):
    """Writes down every hook, with the names of its logs."""

    def __init__(self):
        self.seen = []


def _recorded(name):
    def hook(self, *arguments):
        logs = arguments[-1]
        assert isinstance(logs, dict)
        self.seen.append((name, *arguments[:-1], *sorted(k for k in logs)))

    return hook


HOOKS = [f"on_{k}_{w}" for k in ("train", "test", "predict", "epoch") for w in ("begin", "end")]
HOOKS += [f"on_{k}_batch_{w}" for k in ("train", "test", "predict") for w in ("begin", "end")]
for hook_name in HOOKS:
    setattr(Everything, hook_name, _recorded(hook_name))


def test_hooks_of_fit_evaluate_and_predict_come_as_in_keras():
    """The order is what Keras 3.15 does with the same calls."""
    record, model = Everything(), _model()
    model.fit(X, Y, batch_size=3, epochs=1, validation_data=(X, Y), verbose=0, callbacks=[record])
    batch = ("loss", "mae")
    assert record.seen == [
        ("on_train_begin",), ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0), ("on_train_batch_end", 0, *batch),
        ("on_train_batch_begin", 1), ("on_train_batch_end", 1, *batch),
        ("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0, *batch),
        ("on_test_batch_begin", 1), ("on_test_batch_end", 1, *batch), ("on_test_end", *batch),
        ("on_epoch_end", 0, *batch, "val_loss", "val_mae"), ("on_train_end", *batch, "val_loss", "val_mae"),
    ]  # fmt: skip
    record.seen.clear()
    model.evaluate(X, Y, batch_size=4, callbacks=record)
    assert record.seen == [
        ("on_test_begin",), ("on_test_batch_begin", 0), ("on_test_batch_end", 0, *batch), ("on_test_end", *batch),
    ]  # fmt: skip
    record.seen.clear()
    model.predict(X, batch_size=4, callbacks=[record])
    assert record.seen == [
        ("on_predict_begin",), ("on_predict_batch_begin", 0), ("on_predict_batch_end", 0, "outputs"),
        ("on_predict_end",),
    ]  # fmt: skip
    with pytest.raises(TypeError, match=r"callbacks: expected objects .* got 3"):
        model.evaluate(X, Y, callbacks=[3])
    with pytest.raises(TypeError, match="callbacks: expected"):
        model.predict(X, callbacks="early")


def test_a_callback_has_its_model_before_its_params():
    seen = []

    class First(Callback):
        def set_params(self, params):
            seen.append((self.model, params["epochs"]))

    model = _model()
    model.fit(X, Y, epochs=1, verbose=0, callbacks=First())
    assert seen == [(model, 1)]


def test_hooks_of_a_batch_by_their_short_names():
    seen = []

    class Short(Callback):
        def on_batch_begin(self, batch, logs=None):
            seen.append(batch)

        def on_batch_end(self, batch, logs=None):
            seen.append(sorted(logs))

    _model().fit(X, Y, batch_size=2, verbose=0, callbacks=Short())
    assert seen == [0, ["loss", "mae"], 1, ["loss", "mae"]]


def test_checkpoints(tmp_path):
    pattern = tmp_path / "m-{epoch:02d}-{val:.2f}.safetensors"
    model, script = _model(), Script([3.0, 1.0, 2.0])
    model.fit(
        X,
        Y,
        epochs=3,
        verbose=0,
        callbacks=[script, ModelCheckpoint(pattern, monitor="val", mode="min", save_best_only=True)],
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m-01-3.00.safetensors", "m-02-1.00.safetensors"]
    saved = rekur.load(tmp_path / "m-02-1.00.safetensors")
    assert saved.get_weights()[0].item() == script.weights[1]
    model.fit(X, Y, epochs=2, verbose=0, callbacks=ModelCheckpoint(tmp_path / "last"))
    np.testing.assert_array_equal(rekur.load(tmp_path / "last").get_weights()[0], model.get_weights()[0])
    with pytest.raises(ValueError, match=r"'val_los'.*known are epoch, loss, mae"):
        model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "{val_los}"))
    model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "new" / "deep" / "m"))  # folders are made
    assert (tmp_path / "new" / "deep" / "m").exists()
    before = model.get_weights()[0].copy()
    with pytest.raises(OSError, match="last"):
        model.fit(X, Y, verbose=0, callbacks=ModelCheckpoint(tmp_path / "last" / "m"))
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
    plateau = ReduceLROnPlateau("val", mode="min", factor=0.5, patience=2, min_lr=0.15)
    model.fit(X, Y, epochs=8, verbose=0, callbacks=[Script([1.0, *[2.0] * 7]), plateau, watch])
    assert rates == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.15, 0.15, 0.15, 0.15])


def test_a_changed_rate_is_the_one_used():
    model = _model(rate=0.5)
    model.optimizer.learning_rate = 0.0
    model.fit(X, Y, verbose=0)
    assert model.get_weights()[0].item() == 1.0
    with pytest.raises(ValueError, match="learning_rate"):
        model.optimizer.learning_rate = -1.0
