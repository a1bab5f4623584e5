"""Losses against float64 NumPy, by every way of naming them."""

import numpy as np
import pytest

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
        losses.get("hinge!")
    with pytest.raises(TypeError, match="function"):
        losses.get(lambda y_true, y_pred: 0)
    with pytest.raises(ValueError, match="delta"):
        losses.Huber(0)
    with pytest.raises(TypeError, match="from_logits"):
        losses.BinaryCrossentropy(from_logits=1)
