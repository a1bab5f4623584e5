"""fit, evaluate, predict: alignment of rows, lengths and weights, splits, continuation, determinism, progress."""

import io
import re
import sys

import numpy as np
import pytest

import rekur
from rekur import Input, Model, Sequential, layers
from rekur.callbacks import LambdaCallback


def _sequence_model(seed=0, loss="mse", **compiled):
    model = Sequential([layers.LSTM(4, return_sequences=True, input_shape=(None, 2)), layers.Dense(1)], seed=seed)
    model.compile("adam", loss, **compiled)
    return model


def _linear(seed=0):
    """A model whose training can be followed by hand: y = w x."""
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))], seed=seed)
    model.compile(rekur.optimizers.SGD(0.1), "mse")
    return model


def test_one_step_is_the_textbook_step():
    model = _linear()
    model.set_weights([[[2.0]]])
    loss = model.train_on_batch([[1.0], [2.0]], [[0.0], [0.0]])
    assert loss == pytest.approx((4 + 16) / 2)
    assert model.get_weights()[0].item() == pytest.approx(2 - 0.1 * (2 * 2 * 1 + 2 * 4 * 2) / 2)


def test_learns_and_reports():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5, 2))
    y = x.cumsum(axis=1)[..., :1] * 0.2
    model = _sequence_model(metrics=["mae"])
    history = model.fit(x, y, batch_size=16, epochs=15, verbose=0, validation_split=0.2)
    assert set(history.history) == {"loss", "mae", "val_loss", "val_mae"}
    assert history.epoch == list(range(15))
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.history is history
    assert history.history["val_loss"][-1] == pytest.approx(model.evaluate(x[48:], y[48:])[0], rel=1e-6)


def test_validation_split_takes_the_last_rows():
    x, y = np.arange(10.0)[:, None], np.zeros(10)
    seen = _linear()
    seen.set_weights([[[1.0]]])
    seen.optimizer.learning_rate = 0.0
    history = seen.fit(x, y, validation_split=0.3, verbose=0).history
    assert history["loss"][0] == pytest.approx(np.mean(np.arange(7.0) ** 2))
    assert history["val_loss"][0] == pytest.approx(np.mean(np.arange(7.0, 10) ** 2))


def test_everything_stays_aligned_through_shuffling():
    # Only row k's valid steps and weight make its loss zero; a row that slips makes it large.
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 6, size=40)
    x = rng.normal(size=(40, 5, 2)).astype(np.float32)
    model = _sequence_model()
    model.optimizer.learning_rate = 0.0
    y = model.predict(x, lengths=lengths)
    y[np.arange(5) >= lengths[:, None]] = 99.0
    spoilt = np.arange(40) % 3 == 0
    weight = np.where(spoilt, 0.0, 1.0)
    y[spoilt] += 7.0
    history = model.fit(x, y, batch_size=7, epochs=2, verbose=0, lengths=lengths, sample_weight=weight)
    assert history.history["loss"][-1] < 1e-10
    assert model.evaluate(x, y, lengths=lengths) > 1


def test_loss_is_a_mean_over_valid_steps_however_batched():
    rng = np.random.default_rng(1)
    x, y, lengths = rng.normal(size=(23, 5, 2)), rng.normal(size=(23, 5, 1)), rng.integers(0, 6, size=23)
    weight = rng.uniform(size=(23, 5))
    model = _sequence_model(weighted_metrics=["mse", "mae"])
    valid = np.arange(5) < lengths[:, None]
    error = (model.predict(x, lengths=lengths) - y)[..., 0]
    for batch_size in (1, 4, 23, 100):
        loss, mse, mae = model.evaluate(x, y, batch_size=batch_size, lengths=lengths, sample_weight=weight)
        assert loss == pytest.approx(np.sum((weight * error**2)[valid]) / valid.sum(), rel=1e-5)
        assert mse == pytest.approx(np.average(error[valid] ** 2, weights=weight[valid]), rel=1e-5)
        assert mae == pytest.approx(np.average(np.abs(error[valid]), weights=weight[valid]), rel=1e-5)


@pytest.mark.parametrize("given", ["tuple", "dict"])
def test_validation_data_with_weights_and_lengths(given):
    rng = np.random.default_rng(1)
    x, y, lengths = rng.normal(size=(8, 5, 2)), rng.normal(size=(8, 5, 1)), rng.integers(1, 6, size=8)
    weight = rng.uniform(size=8)
    model = _sequence_model()
    data = (
        (x, y, weight, lengths) if given == "tuple" else {"x": x, "y": y, "sample_weight": weight, "lengths": lengths}
    )
    history = model.fit(x, y, verbose=0, validation_data=data).history
    assert history["val_loss"][0] == pytest.approx(
        model.evaluate(x, y, sample_weight=weight, lengths=lengths), rel=1e-6
    )


def test_same_seed_same_weights_for_any_threads(restore_threads):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(33, 6, 3)), rng.normal(size=(33, 1))

    def trained(threads):
        rekur.set_num_threads(threads)
        model = Sequential([layers.GRU(9, input_shape=(6, 3)), layers.Dropout(0.3), layers.Dense(1)], seed=4)
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    expected = trained(1)
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(trained(threads), expected)


def test_initial_epoch_continues_the_order():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1)), rng.normal(size=20)
    straight, stopped = _linear(), _linear()
    straight.fit(x, y, batch_size=3, epochs=4, verbose=0)
    stopped.fit(x, y, batch_size=3, epochs=2, verbose=0)
    history = stopped.fit(x, y, batch_size=3, epochs=4, initial_epoch=2, verbose=0)
    assert history.epoch == [2, 3]
    np.testing.assert_array_equal(straight.get_weights()[0], stopped.get_weights()[0])


def test_many_fits_of_one_epoch_do_what_one_fit_of_many_does(tmp_path):
    """Also where the model is saved and loaded between them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 1)), rng.normal(size=64)
    straight, repeated = _linear(), _linear()
    straight.fit(x, y, batch_size=8, epochs=6, verbose=0)
    for epoch in range(6):
        repeated.fit(x, y, batch_size=8, epochs=1, verbose=0)
        if epoch == 2:
            repeated.save(tmp_path / "m")
            repeated = rekur.load(tmp_path / "m")
    np.testing.assert_array_equal(repeated.get_weights()[0], straight.get_weights()[0])
    repeated.compile(repeated.optimizer, "mse")  # training begins anew
    assert repeated._trainer().epochs == 0


def test_rows_meet_other_rows_in_every_fit_of_one_epoch(monkeypatch):
    """Of 2016 pairs of 64 rows, 20 epochs of batches of 8 bring most together."""
    from rekur.training import sources

    orders = []
    drawn = sources.epoch_order
    monkeypatch.setattr(sources, "epoch_order", lambda *a: orders.append(drawn(*a)) or orders[-1])
    x = np.arange(64.0)[:, None]
    model = _linear()
    for _ in range(20):
        model.fit(x, np.zeros(64), batch_size=8, epochs=1, verbose=0)
    pairs = {tuple(sorted((a, b))) for o in orders for k in range(0, 64, 8) for a in o[k : k + 8] for b in o[k : k + 8]}
    assert len(pairs) - 64 > 1800


def test_shuffle_false_keeps_the_order_and_compile_seed_changes_it():
    x, y = np.arange(1.0, 9)[:, None] / 8, np.linspace(0, 1, 8) ** 2

    def weight(shuffle, seed=None):
        model = _linear()
        model.set_weights([[[0.5]]])
        model.compile(rekur.optimizers.SGD(0.3), "mse", seed=seed)
        model.fit(x, y, batch_size=1, shuffle=shuffle, verbose=0)
        return model.get_weights()[0].item()

    by_hand = _linear()
    by_hand.set_weights([[[0.5]]])
    by_hand.compile(rekur.optimizers.SGD(0.3), "mse")
    for i in range(8):
        by_hand.train_on_batch(x[i : i + 1], y[i : i + 1])
    assert weight(False) == by_hand.get_weights()[0].item()
    assert len({weight(False), weight(True, 1), weight(True, 2)}) == 3
    assert weight(True, 1) == weight(True, 1)


def _two_outputs():
    a, b = Input((None, 2), name="a"), Input((3,), name="b")
    h = layers.LSTM(4)(a)
    one = layers.Dense(1, name="one")(h)
    two = layers.Dense(3, activation="softmax", name="two")(layers.Concatenate()([h, b]))
    return Model([a, b], [one, two], seed=0)


def _two_data():
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(10, 4, 2)), "b": rng.normal(size=(10, 3))}
    return x, {"one": rng.normal(size=10), "two": rng.integers(0, 3, size=10)}


def test_several_inputs_and_outputs_by_name_and_by_place():
    x, y = _two_data()
    named, placed = _two_outputs(), _two_outputs()
    named.compile(
        "adam", {"one": "mse", "two": "sparse_categorical_crossentropy"},
        metrics={"two": ["accuracy"], "one": "mae"}, loss_weights={"one": 0.25},
    )  # fmt: skip
    placed.compile(
        "adam", ["mse", "sparse_categorical_crossentropy"], metrics=["mae", ["accuracy"]], loss_weights=[0.25, 1]
    )
    weights = {"one": np.linspace(0, 1, 10)}
    a = named.fit(x, y, batch_size=4, epochs=2, verbose=0, sample_weight=weights).history
    b = placed.fit(
        list(x.values()), list(y.values()), batch_size=4, epochs=2, verbose=0, sample_weight=[weights["one"], None]
    ).history
    assert a == b
    results = named.evaluate(x, y, return_dict=True)
    assert list(results) == ["loss", "one_loss", "two_loss", "one_mae", "two_accuracy"]
    assert results["loss"] == pytest.approx(0.25 * results["one_loss"] + results["two_loss"])
    assert named.evaluate(x, y) == list(results.values())


def test_output_without_loss_takes_no_target():
    x, y = _two_data()
    model = _two_outputs()
    model.compile("adam", {"one": "mse"})
    first = model.fit(x, y["one"], verbose=0).history
    assert list(first) == ["loss", "one_loss"]
    model.fit(x, {"one": y["one"]}, verbose=0)
    model.fit(x, [y["one"], None], verbose=0)


def test_lengths_by_input_name():
    x, _ = _two_data()
    model = _two_outputs()
    lengths = np.array([4, 3, 2, 1, 0, 4, 3, 2, 1, 0])
    one, _ = model.predict(x, lengths={"a": lengths})
    np.testing.assert_array_equal(one, model.predict(x, lengths=lengths)[0])
    changed = {**x, "a": np.where(np.arange(4)[:, None] >= lengths[:, None, None], np.nan, x["a"])}
    np.testing.assert_array_equal(one, model.predict(changed, lengths=lengths)[0])


def test_predict_of_nothing_and_of_no_steps():
    model = _sequence_model()
    assert model.predict(np.zeros((0, 5, 2))).shape == (0, 5, 1)
    assert model.predict(np.zeros((3, 0, 2))).shape == (3, 0, 1)
    last = Sequential([layers.LSTM(4, input_shape=(None, 2))])
    assert (last.predict(np.zeros((3, 0, 2))) == np.zeros((3, 4))).all()


def test_batch_size_does_not_change_predictions():
    x = np.random.default_rng(0).normal(size=(13, 5, 2))
    model = _sequence_model()
    whole = model.predict_on_batch(x)
    for batch_size in (1, 5, 13):
        np.testing.assert_array_equal(model.predict(x, batch_size=batch_size), whole)


def test_batch_size_none_is_32():
    model = _sequence_model()
    x, y = np.ones((33, 3, 2)), np.ones((33, 3, 1))
    steps = []
    model.fit(
        x, y, None, verbose=0, callbacks=LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    )
    assert steps == [0, 1]
    assert model.evaluate(x, y, batch_size=None) == model.evaluate(x, y)
    assert model.predict(x, None).shape == (33, 3, 1)


def test_dtypes_are_converted():
    model = _linear()
    model.set_weights([[[2.0]]])
    for data in (
        [[1], [3]],
        np.array([[1], [3]], np.uint8),
        np.array([[1.0], [3.0]]),
        np.array([[1.0, 9], [3, 9]])[:, :1],
    ):
        np.testing.assert_array_equal(model.predict(data), [[2], [6]])
    assert model.predict([[True]]).item() == 2
    assert model.predict([[1.0]]).dtype == np.float32


def test_train_and_test_on_batch():
    model = _sequence_model(metrics=["mae"])
    x, y = np.ones((4, 3, 2)), np.ones((4, 3, 1))
    before = model.test_on_batch(x, y, return_dict=True)
    assert before == pytest.approx(dict(zip(["loss", "mae"], model.train_on_batch(x, y), strict=True)))
    assert model.test_on_batch(x, y)[0] < before["loss"]


def test_interrupted_fit_leaves_a_usable_model():
    x, y = np.ones((8, 1)), np.ones(8)
    model = _linear()

    def interrupt(batch, logs):
        if batch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=2, verbose=1, callbacks=[LambdaCallback(on_train_batch_end=interrupt)])
    twin = _linear()
    for _ in range(2):
        twin.train_on_batch(x[:2], y[:2])
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])
    model.fit(x, y, verbose=0)


def test_verbosity(capfd):
    x, y = np.ones((8, 1)), np.ones(8)
    model = _linear()
    model.fit(x, y, epochs=2, verbose=0)
    model.evaluate(x, y)
    model.predict(x)
    assert capfd.readouterr() == ("", "")
    model.fit(x, y, epochs=2, validation_split=0.5, verbose=2)
    out = capfd.readouterr().out.splitlines()
    assert len(out) == 2
    assert out[1].startswith("Epoch 2/2")
    assert "val_loss: " in out[1]
    model.fit(x, y, epochs=1, validation_split=0.5, verbose=1)
    out, err = capfd.readouterr()  # no terminal: a whole line, no bar
    assert out == ""
    assert re.fullmatch(r"Epoch 1/1 - 1/1 - \d+\.\ds - loss: \S+ - val_loss: \S+\n", err)
    with pytest.raises(ValueError, match="verbose"):
        model.fit(x, y, verbose=3)


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_narrow_terminal_shows_a_bar_and_ends_with_the_whole_line(monkeypatch):
    x, y = np.ones((8, 1)), np.ones(8)
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "40")
    model = _linear()
    model.fit(x, y, epochs=2, batch_size=2, validation_split=0.5, verbose=1)
    shown = terminal.getvalue()
    assert "0/2 [00:00<?]" in shown
    last = shown.split("\r")[-1]
    assert re.fullmatch(r"Epoch 2/2 - 2/2 - \d+\.\ds - loss: \S+ - val_loss: \S+\n", last)
    assert shown.count("val_loss") == 2


def test_nan_in_nan_out():
    model = _sequence_model()
    x = np.zeros((2, 3, 2))
    x[0, 1, 0] = np.nan
    y = model.predict(x)
    assert np.isnan(y[0, 1:]).all()
    assert np.isfinite(y[1]).all()
    assert np.isfinite(y[0, 0]).all()


class Frame:
    """An array of another library: it has dimensions and can be made a NumPy array, and is none."""

    def __init__(self, array):
        self.array, self.ndim = array, array.ndim

    def __len__(self):
        return len(self.array)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


@pytest.mark.parametrize("wrap", [lambda a: [a], lambda a: (a,), lambda a: [Frame(a)]], ids=["list", "tuple", "frame"])
def test_arrays_of_a_single_input_and_output_may_stand_in_lists(wrap):
    """As in Keras; a list of one entry a row is the data itself."""
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(6, 1)), rng.normal(size=6), rng.uniform(size=6)
    plain, wrapped, listed = _linear(), _linear(), _linear()
    expected = plain.fit(x, y, sample_weight=weight, validation_data=(x, y, weight), verbose=0).history
    given = wrap(x), wrap(y), wrap(weight)
    got = wrapped.fit(*given[:2], sample_weight=given[2], validation_data=given, verbose=0).history
    assert got == expected
    numbers = x.tolist(), y.tolist(), weight.tolist()
    assert listed.fit(*numbers[:2], sample_weight=numbers[2], validation_data=numbers, verbose=0).history == expected
    np.testing.assert_array_equal(wrapped.predict(wrap(x)), plain.predict(x))


def test_predict_of_one_array_sees_what_changes_between_calls() -> None:
    """What the first call remembers for the next ones is neither other weights, nor another input, nor added layers."""
    x = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("f")
    model = rekur.Sequential([rekur.layers.LSTM(3, input_shape=(None, 2))])
    first = model.predict(x)
    np.testing.assert_array_equal(model.predict(x), first)
    np.testing.assert_array_equal(model.predict(x[:1, ::2]), model.predict(x[:1, ::2].copy()))
    np.testing.assert_array_equal(model.predict(x.astype(np.float64)), first)
    np.testing.assert_array_equal(model.predict(x, lengths=np.array([4, 2, 1]))[1], model.predict(x[1:2, :2])[0])
    with pytest.raises(ValueError, match="expected shape"):
        model.predict(x[..., :1].copy())
    model.set_weights([0 * w for w in model.get_weights()])
    assert not model.predict(x).any()
    model.add(rekur.layers.Dense(5))
    assert model.predict(x).shape == (3, 5)
    model.pop()
    assert model.predict(x).shape == (3, 3)
