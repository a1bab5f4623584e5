"""Which metric 'accuracy' is, beside Keras's: it follows the loss here and the shapes there, and each has a spelling
for the other's number.
"""

import importlib.util
import os

import numpy as np
import pytest

import rekur
from rekur import layers as ours

# Three labels a row, each of them yes or no.
X = np.array([[2.0, -1.0, -2.0], [-3.0, 0.2, 0.3], [1.5, 0.4, -1.0], [-0.5, -2.0, 0.1]], np.float32)
Y = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], np.float32)


def _value(library, layers, loss, metric, x, y, activation):
    inputs = library.Input((x.shape[1],))
    model = library.Model(inputs, layers.Activation(activation)(inputs))
    model.compile("sgd", loss, metrics=[metric])
    return model.evaluate(x, y, verbose=0, return_dict=True)


CASES = {
    # name: (loss, activation, targets, inputs, ours of 'accuracy', Keras's of 'accuracy')
    "several sigmoids": ("binary_crossentropy", "sigmoid", Y, X, 11 / 12, 1 / 2),
    "one sigmoid": ("binary_crossentropy", "sigmoid", Y[:, :1], X[:, :1], 1.0, 1.0),
    "several logits": ("logits", "linear", Y, X, 11 / 12, 1 / 2),
    "one logit": ("logits", "linear", Y[:, 1:2], X[:, 1:2], 1.0, 1 / 2),
    "regression of several": ("mse", "linear", Y, X, 1 / 2, 1 / 2),
    "classes, one-hot": ("categorical_crossentropy", "softmax", np.eye(3)[[0, 2, 1, 2]], X, 3 / 4, 3 / 4),
    "classes": ("sparse_categorical_crossentropy", "softmax", np.array([0, 2, 1, 2]), X, 3 / 4, 3 / 4),
}


def _loss(library, loss):
    return library.losses.BinaryCrossentropy(from_logits=True) if loss == "logits" else loss


@pytest.mark.parametrize("name", list(CASES))
def test_accuracy_follows_the_loss(name):
    loss, activation, y, x, expected, _ = CASES[name]
    got = _value(rekur, ours, _loss(rekur, loss), "accuracy", x, y, activation)
    assert got["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["several sigmoids", "several logits", "one logit"])
def test_the_documented_spelling_gives_keras_number(name):
    loss, activation, y, x, _, expected = CASES[name]
    if "several" in name:
        metric = rekur.metrics.CategoricalAccuracy("accuracy")
    else:
        metric = rekur.metrics.BinaryAccuracy("accuracy", threshold=0.5)
    got = _value(rekur, ours, _loss(rekur, loss), metric, x, y, activation)
    assert got["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("name", list(CASES))
def test_beside_keras(name):
    """Keras's 'accuracy' is what the table says, and its documented spelling gives ours."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("no keras to compare with")
    if not any(importlib.util.find_spec(backend) for backend in ("jax", "torch", "tensorflow")):
        pytest.skip("keras has no backend")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    loss, activation, y, x, here, there = CASES[name]
    spelt = _value(keras, keras.layers, _loss(keras, loss), "accuracy", x, y, activation)
    assert spelt["accuracy"] == pytest.approx(there)
    if here != there:
        metric = keras.metrics.BinaryAccuracy("accuracy", threshold=0.0 if loss == "logits" else 0.5)
        spelt = _value(keras, keras.layers, _loss(keras, loss), metric, x, y, activation)
        assert spelt["accuracy"] == pytest.approx(here)
