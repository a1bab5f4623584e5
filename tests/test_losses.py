"""Losses against float64 NumPy, by every way of naming them."""

import numpy as np
import pytest

import rekur
from rekur import Sequential, layers, losses


def _loss_of(loss, output, target, units, activation=None, **options):
    """The loss of a model that passes its input through."""
    model = Sequential([layers.Activation(activation, input_shape=(units,))])
    model.compile("sgd", loss)
    return model.evaluate(output, target, **options)


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3)) * 2
Y = RNG.normal(size=(6, 3))
BITS = (RNG.uniform(size=(6, 3)) > 0.5).astype(float)
CLASSES = RNG.integers(0, 3, size=6)
ONE_HOT = np.eye(3)[CLASSES]
ERROR = np.abs(Y - X)
SIGMOID = 1 / (1 + np.exp(-X))
LOG_P = np.log(_softmax(X))


@pytest.mark.parametrize(
    ("loss", "target", "expected", "activation"),
    [
        ("mse", Y, np.mean(ERROR**2), None),
        ("mean_absolute_error", Y, np.mean(ERROR), None),
        (losses.Huber(0.8), Y, np.mean(np.where(ERROR <= 0.8, ERROR**2 / 2, 0.8 * (ERROR - 0.4))), None),
        ("huber", Y, np.mean(np.where(ERROR <= 1, ERROR**2 / 2, ERROR - 0.5)), None),
        ("bce", BITS, -np.mean(BITS * np.log(SIGMOID) + (1 - BITS) * np.log(1 - SIGMOID)), "sigmoid"),
        (losses.BinaryCrossentropy(True), BITS, -np.mean(np.log(np.where(BITS > 0, SIGMOID, 1 - SIGMOID))), None),
        ("categorical_crossentropy", ONE_HOT, -np.mean(LOG_P[np.arange(6), CLASSES]), "softmax"),
        (losses.CategoricalCrossentropy(True), ONE_HOT, -np.mean(LOG_P[np.arange(6), CLASSES]), None),
        ("sparse_categorical_crossentropy", CLASSES, -np.mean(LOG_P[np.arange(6), CLASSES]), "softmax"),
        (losses.SparseCategoricalCrossentropy(True), CLASSES[:, None], -np.mean(LOG_P[np.arange(6), CLASSES]), None),
    ],
)  # fmt: skip
def test_values(loss, target, expected, activation):
    assert _loss_of(loss, X, target, 3, activation) == pytest.approx(expected, rel=2e-6)


def test_crossentropy_of_a_sure_sigmoid_is_finite():
    assert _loss_of("bce", [[200.0]], [0.0], 1, "sigmoid") == pytest.approx(200.0)


def test_sample_weights_do_not_enter_the_count():
    weight = np.array([0.0, 1, 2, 0, 0, 0])
    expected = np.sum(weight * np.mean(ERROR**2, axis=-1)) / 6
    assert _loss_of("mse", X, Y, 3, sample_weight=weight) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["mse", "mean_squared_error", "MeanSquaredError", "meansquarederror", losses.MeanSquaredError]
)
def test_ways_to_name_one(name):
    assert isinstance(losses.get(name), losses.MeanSquaredError)


def test_mistakes():
    with pytest.raises(ValueError, match="did you mean 'binary_crossentropy'"):
        losses.get("binary_crossentropi")
    with pytest.raises(ValueError, match="known are mean_squared_error"):
        losses.get("xyzzy")
    with pytest.raises(TypeError, match="function"):
        losses.get(3)
    with pytest.raises(ValueError, match="delta"):
        losses.Huber(0)
    with pytest.raises(TypeError, match="from_logits"):
        losses.BinaryCrossentropy(from_logits=1)


TARGETS = {
    "mse": Y,
    "mae": Y,
    "huber": Y,
    "binary_crossentropy": BITS,
    "categorical_crossentropy": ONE_HOT,
    "sparse_categorical_crossentropy": CLASSES,
}


def _trained(loss, target, weight, way, steps=0, lengths=None, x=None):
    """Loss, metrics and weights after a step, of rows (6, 2), or sequences (6, steps, 2)."""
    x = np.random.default_rng(1).normal(size=(6, steps, 2) if steps else (6, 2)) if x is None else x
    model = Sequential([layers.Dense(3, "softmax" if "cat" in loss else "sigmoid", input_shape=x.shape[1:])], seed=1)
    metric = "accuracy" if "entropy" in loss else "rmse"
    model.compile("adam", loss, [metric])
    options = {"sample_weight": weight, "lengths": lengths}
    if way == "fit":
        history = model.fit(x, target, batch_size=2, epochs=2, validation_data=(x, target, weight, lengths), verbose=0,
                            **options).history  # fmt: skip
        return [history, model.get_weights()]
    if way == "train_on_batch":
        return [model.train_on_batch(x, target, **options), model.get_weights()]
    return [model.evaluate(x, target, verbose=0, **options), model.get_weights()]


def _same(a, b):
    assert a[0] == b[0] and np.all(np.isfinite(list(a[0].values()) if isinstance(a[0], dict) else a[0]))
    for first, second in zip(a[1], b[1], strict=True):
        np.testing.assert_array_equal(first, second)


def _scrambled(target, away):
    """The target with nonsense where `away` says so."""
    nonsense = [-100, 10**6] if target.dtype.kind == "i" else [np.nan, np.inf, 7.5]
    found = []
    for value in nonsense:
        changed = target.copy()
        changed[away] = value
        found.append(changed)
    if target.dtype.kind == "i":
        changed = target.astype(np.float64)
        changed[away] = np.nan
        found += [changed, np.where(away, np.int64(-(2**40)), target.astype(np.int64))]
    return found


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch"])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_target_of_a_row_with_weight_0_is_never_read(loss, way):
    weight = np.array([1, 0, 2, 0, 0.5, 0])
    expected = _trained(loss, TARGETS[loss], weight, way)
    for target in _scrambled(TARGETS[loss], weight == 0):
        _same(_trained(loss, target, weight, way), expected)
    with pytest.raises((ValueError, AssertionError)):  # it is read where the weight is not 0
        _same(_trained(loss, _scrambled(TARGETS[loss], weight > 1)[0], weight, way), expected)


@pytest.mark.parametrize("way", ["fit", "evaluate", "train_on_batch"])
@pytest.mark.parametrize("loss", TARGETS)
def test_the_target_of_a_step_with_weight_0_or_beyond_its_length_is_never_read(loss, way):
    lengths = np.array([3, 2, 1, 3, 0, 2])
    weight = np.random.default_rng(3).integers(0, 2, (6, 3)).astype(float)
    there = np.arange(3) < lengths[:, None]
    target = np.stack([TARGETS[loss]] * 3, axis=1)
    for w in (weight, weight[:, 0], None):
        away = ~there if w is None else ~there | (w.reshape(6, -1) == 0)
        expected = _trained(loss, target, w, way, 3, lengths)
        for changed in _scrambled(target, away):
            _same(_trained(loss, changed, w, way, 3, lengths), expected)


@pytest.mark.parametrize("loss", TARGETS)
def test_a_batch_whose_weights_are_all_0_changes_nothing(loss):
    target = _scrambled(TARGETS[loss], np.ones(6, bool))[0]
    loss_and_metric, weights = _trained(loss, target, np.zeros(6), "train_on_batch")
    assert loss_and_metric == [0, 0]
    _same([[0], weights], [[0], _trained(loss, TARGETS[loss], None, "evaluate")[1]])


def test_a_metric_of_ones_own_sees_no_row_with_weight_0():
    seen = []

    def count(y_true, y_pred):
        seen.append((len(y_true), len(y_pred)))
        return np.abs(y_true - y_pred)[:, 0]

    model = Sequential([layers.Dense(1, input_shape=(2,))], seed=1)
    model.compile("sgd", "mse", [count])
    weight = [1, 0, 2, 0, 0, 0]
    target = np.where(np.array(weight) > 0, 1.0, np.nan)
    assert np.isfinite(model.evaluate(np.ones((6, 2)), target, batch_size=2, sample_weight=weight, verbose=0)).all()
    assert set(seen) == {(1, 1)}


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"])
def test_crossentropy_behind_a_relu_that_gives_zeros_stays_finite(loss):
    model = Sequential([layers.Dense(3, "relu", input_shape=(2,))], seed=1)
    model.compile("adam", loss)
    kernel, bias = np.eye(2, 3), np.array([0.1, 0.1, -5.0])
    model.set_weights([kernel, bias])
    x = np.array([[-9.0, -9], [1, 2], [-9, -9], [2, 0], [0, 3], [-9, -9]])
    history = model.fit(x, TARGETS[loss], batch_size=2, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("way", ["fit", "train_on_batch", "evaluate"])
def test_a_loss_of_weight_0_is_watched_and_changes_nothing(way):
    x, y = np.ones((4, 3), np.float32), np.full((4, 1), np.nan)

    def run(target, weights):
        inputs = rekur.Input((3,))
        hidden = rekur.layers.Dense(5, activation="tanh")(inputs)
        heads = [rekur.layers.Dense(1, name=name)(hidden) for name in "ab"]
        model = rekur.Model(inputs, heads, seed=1)
        model.compile("adam", "mse", loss_weights=weights)
        given = [np.zeros((4, 1)), target]
        if way == "fit":
            found = {k: v[-1] for k, v in model.fit(x, given, epochs=2, verbose=0).history.items()}
        else:
            found = getattr(model, way)(x, given, return_dict=True)
        return found, model.get_weights()

    plain, expected = run(np.zeros((4, 1)), [1, 0])
    found, weights = run(y, [1, 0])
    assert found["loss"] == plain["loss"] == plain["a_loss"]
    assert np.isnan(found["b_loss"])
    for a, b in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    found, weights = run(np.zeros((4, 1)), [0, 0])
    assert found["loss"] == 0
    if way == "evaluate":
        assert found["a_loss"] > 0
