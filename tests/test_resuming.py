"""A fit that was interrupted goes on as if it had not been: bits, rates, the order of rows, callbacks."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers
from rekur.callbacks import (
    BackupAndRestore,
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(22, 5, 2)).astype(np.float32)
Y = RANDOM.normal(size=(22, 1)).astype(np.float32)


def _model(optimizer="adam", seed=1, **options):
    model = Sequential([layers.LSTM(4, input_shape=(5, 2), **options), layers.Dropout(0.3), layers.Dense(1)], seed=seed)
    model.compile(optimizer, "mse", metrics=["mae", rekur.metrics.RootMeanSquaredError()])
    return model


class Stop(Exception):
    pass


class Interrupt(Callback):
    """Raises behind a batch of an epoch."""

    def __init__(self, epoch, batch, error=Stop):
        self.at, self.error, self.epoch = (epoch, batch), error, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise self.error


def _same(model, other):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def _watching():
    return [
        EarlyStopping("loss", patience=50, restore_best_weights=True),
        ReduceLROnPlateau("mae", factor=0.5, patience=1, min_delta=0.05),
    ]


def _fit(model, callbacks, epochs=7, **options):
    return model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("save_freq", ["epoch", 1, 4])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_fit_resumed_from_a_backup_ends_with_the_bits_of_one_that_ran_through(tmp_path, save_freq, error):
    through = _model()
    whole = _fit(through, _watching()).history
    interrupted = _model()
    with pytest.raises(error):
        _fit(interrupted, [BackupAndRestore(tmp_path / "b", save_freq), *_watching(), Interrupt(3, 3, error)])
    resumed = _model(seed=99)  # the backup has the seed
    history = _fit(resumed, [BackupAndRestore(tmp_path / "b", save_freq), *_watching()])
    _same(through, resumed)
    assert history.epoch[0] == 3
    for name, values in history.history.items():
        assert values == whole[name][3:], name
    assert len(set(whole["learning_rate"])) > 2  # the plateau's count went on as well
    assert not (tmp_path / "b").exists()


def test_a_resumed_fit_keeps_the_best_weights_and_stops_when_it_would_have(tmp_path):
    class Script(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = [5.0, 1.0, 2.0, 3.0, 4.0, 5.0][epoch]

    def callbacks(*others):
        backup, stopping = BackupAndRestore(tmp_path), EarlyStopping("score", 0, 3, 0, "min", None, True)
        return [backup, Script(), stopping, *others]

    through, resumed = _model(), _model()
    whole = _fit(through, callbacks())
    with pytest.raises(Stop):
        _fit(_model(), callbacks(Interrupt(3, 0)))
    assert _fit(resumed, callbacks()).epoch == [3, 4] == whole.epoch[-2:]
    _same(through, resumed)

    # Stopped and killed before the end: nothing is left to train.
    class Die(Callback):
        def on_train_end(self, logs=None):
            raise Stop

    with pytest.raises(Stop):
        _fit(_model(), [Die(), *callbacks()])
    late = _model()
    assert _fit(late, callbacks()).epoch == []
    _same(through, late)


def test_a_resumed_fit_carries_the_states_of_stateful_layers_and_the_schedules_step(tmp_path):
    def made():
        return _model(
            rekur.optimizers.SGD(rekur.optimizers.schedules.ExponentialDecay(0.1, 3, 0.7), momentum=0.9), stateful=True
        )

    def fit(model, *callbacks):
        model.fit(X[:20], Y[:20], batch_size=5, epochs=4, verbose=0, callbacks=list(callbacks), shuffle=False)

    through, resumed = made(), made()
    fit(through)
    with pytest.raises(Stop):
        fit(made(), BackupAndRestore(tmp_path, 3), Interrupt(1, 3))
    fit(resumed, BackupAndRestore(tmp_path, 3))
    _same(through, resumed)
    assert resumed.optimizer.learning_rate == through.optimizer.learning_rate


SCRIPT = """
    import os, signal, sys
    import numpy as np
    sys.path.insert(0, {tests!r})
    from test_resuming import _fit, _model, _watching
    from rekur.callbacks import BackupAndRestore, LambdaCallback
    batches = iter(range(10**6))
    def end(batch, logs):
        if next(batches) == {dies}:
            os.kill(os.getpid(), signal.SIGKILL)
    _fit(_model(), [BackupAndRestore({folder!r}, 2), *_watching(), LambdaCallback(on_train_batch_begin=end)])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_fit_that_was_killed_is_resumed_to_the_bit(tmp_path):
    through, resumed = _model(), _model()
    _fit(through, _watching())
    code = textwrap.dedent(SCRIPT.format(tests=os.path.dirname(__file__), dies=21, folder=str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    _fit(resumed, [BackupAndRestore(tmp_path, 2), *_watching()])
    _same(through, resumed)


def test_the_backup_before_is_read_where_the_last_one_cannot_be(tmp_path):
    through, resumed = _model(), _model()
    _fit(through, None)
    with pytest.raises(Stop):
        _fit(_model(), [BackupAndRestore(tmp_path, double_checkpoint=True), Interrupt(4, 1)])
    (tmp_path / "latest.safetensors").write_bytes(b"torn")
    history = _fit(resumed, [BackupAndRestore(tmp_path, delete_checkpoint=False)])
    assert history.epoch[0] == 3
    _same(through, resumed)
    assert (tmp_path / "latest.safetensors").exists()
    (tmp_path / "previous.safetensors").unlink()
    (tmp_path / "latest.safetensors").write_bytes(b"torn")
    with pytest.raises(OSError, match="latest"):
        _fit(_model(), [BackupAndRestore(tmp_path)])


def test_a_callback_of_ones_own_says_what_it_goes_on_from(tmp_path):
    class Counter(Callback):
        def __init__(self):
            self.seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1

        def get_state(self):
            return {"seen": self.seen, "where": {"a": [1.5, None, "x"], "b": np.arange(3)}, "pair": (1, 2)}

        def set_state(self, state):
            assert state["where"]["a"] == [1.5, None, "x"]
            assert state["where"]["b"].tolist() == [0, 1, 2]
            assert state["pair"] == (1, 2)
            self.seen = state["seen"]

    with pytest.raises(Stop):
        _fit(_model(), [Counter(), BackupAndRestore(tmp_path), Interrupt(2, 2)])
    counter = Counter()
    _fit(_model(), [counter, BackupAndRestore(tmp_path)])
    assert counter.seen == 7 * 6


def test_the_backup_of_another_fit_is_refused_and_says_why(tmp_path):
    def interrupted(*callbacks):
        with pytest.raises(Stop):
            _fit(_model(), [BackupAndRestore(tmp_path), *callbacks, Interrupt(1, 0)])

    interrupted(*_watching())
    other = Sequential([layers.LSTM(5, input_shape=(5, 2)), layers.Dense(1)])
    other.compile("adam", "mse", metrics=["mae"])
    before = other.get_weights()
    for model, callbacks, message in (
        (other, _watching(), r"its '.*' is of shape"),
        (_model("sgd"), _watching(), "its optimizer is 'adam', the model's 'sgd'"),
        (_model(), [], r"beside the callbacks \['EarlyStopping', 'ReduceLROnPlateau'\], this fit has \[\]"),
    ):
        with pytest.raises(ValueError, match=message):
            _fit(model, [BackupAndRestore(tmp_path), *callbacks])
    for a, b in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    _model().save(tmp_path / "latest.safetensors")
    with pytest.raises(ValueError, match="is a model, but no backup"):
        _fit(_model(), [BackupAndRestore(tmp_path)])
    for wrong in ("", None):
        with pytest.raises(ValueError, match="Empty `backup_dir`"):
            BackupAndRestore(wrong)
    with pytest.raises(ValueError, match="save_freq"):
        BackupAndRestore(tmp_path, "batch")


def test_a_nan_that_raises_leaves_the_backup(tmp_path):
    def poison(epoch, logs):
        if epoch == 2:
            model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])

    model = _model()
    with pytest.raises(RuntimeError, match="NaN or Inf loss encountered at batch 0"):
        _fit(model, [BackupAndRestore(tmp_path), TerminateOnNaN(True), LambdaCallback(on_epoch_begin=poison)])
    assert _fit(_model(), [BackupAndRestore(tmp_path)]).epoch[0] == 2


class Batches:
    """Batches in an order of its own, that can be begun anew."""

    def __iter__(self):
        return iter([(X[k : k + 4], Y[k : k + 4]) for k in (8, 0, 16, 4, 12)])


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("source", [Batches, lambda: None])
def test_a_fit_from_batches_is_resumed_where_it_stood(tmp_path, steps, source):
    def fit(model, *callbacks):
        given = source()
        x, y = (X, Y) if given is None else (given, None)
        size = {} if given is not None else {"batch_size": 4}
        callbacks = list(callbacks)
        model.fit(x, y, epochs=5, verbose=0, steps_per_epoch=steps, callbacks=callbacks, **size)

    through, resumed = _model(), _model()
    fit(through)
    with pytest.raises(Stop):
        fit(_model(), BackupAndRestore(tmp_path, 2), Interrupt(2, 2))
    fit(resumed, BackupAndRestore(tmp_path, 2))
    _same(through, resumed)


def test_averages_take_the_weights_places_where_a_fit_died_behind_its_last_epoch(tmp_path):
    class Die(Callback):
        def on_train_end(self, logs=None):
            raise Stop

    def made():
        return _model(rekur.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5))

    through, late = made(), made()
    _fit(through, None, 2)
    with pytest.raises(Stop):
        _fit(made(), [Die(), BackupAndRestore(tmp_path)], 2)
    assert _fit(late, [BackupAndRestore(tmp_path)], 2).epoch == []
    _same(through, late)


def test_averages_in_the_weights_places_are_resumed_where_sequences_come_in_windows(tmp_path):
    y = np.repeat(Y[:, None], 5, axis=1)

    def fit(*callbacks):
        model = Sequential([layers.LSTM(3, return_sequences=True, input_shape=(5, 2)), layers.Dense(1)], seed=1)
        model.compile(rekur.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8), "mse")
        averages = rekur.callbacks.SwapEMAWeights(True)
        model.fit(X, y, tbptt=2, batch_size=8, epochs=4, verbose=0, callbacks=[averages, *callbacks])
        return model

    with pytest.raises(Stop):
        fit(BackupAndRestore(tmp_path), Interrupt(2, 1))
    _same(fit(), fit(BackupAndRestore(tmp_path)))


@pytest.mark.parametrize("save_freq", ["epoch", 1, 4])
def test_averages_that_stand_in_the_weights_places_and_rates_made_of_rates_are_resumed(tmp_path, save_freq):
    def made():
        return _model(rekur.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.8))

    def watching():
        return [rekur.callbacks.SwapEMAWeights(True), LearningRateScheduler(lambda epoch, rate: 0.5 * rate)]

    through, resumed = made(), made()
    whole = _fit(through, watching()).history
    with pytest.raises(Stop):
        _fit(made(), [BackupAndRestore(tmp_path, save_freq), *watching(), Interrupt(3, 3)])
    history = _fit(resumed, [BackupAndRestore(tmp_path, save_freq), *watching()]).history
    _same(through, resumed)
    assert history["learning_rate"] == whole["learning_rate"][3:]


def test_files_after_so_many_batches_are_those_of_a_fit_that_ran_through(tmp_path):
    def saving(folder):
        return ModelCheckpoint(tmp_path / folder / "{epoch}-{batch}.safetensors", save_freq=5)

    _fit(_model(), saving("through"))
    with pytest.raises(Stop):
        _fit(_model(), [BackupAndRestore(tmp_path / "b", 3), saving("parts"), Interrupt(3, 3)])
    _fit(_model(), [BackupAndRestore(tmp_path / "b", 3), saving("parts")])
    assert {*os.listdir(tmp_path / "parts")} == {*os.listdir(tmp_path / "through")}
