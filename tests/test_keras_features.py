"""Layers over features, regularizers, constraints: Keras 3's own numbers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rekur

RNG = np.random.default_rng(4)
X = RNG.normal(size=(8, 6, 4)).astype(np.float32)
Y = RNG.normal(size=(8, 3)).astype(np.float32)
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("keras") is None or not os.environ.get("KERAS_BACKEND"), reason="needs Keras 3"
)
Make = Callable[[Any, Any], Any]


def regularized(package: Any) -> dict[str, Any]:
    r = package.regularizers
    return {"kernel_regularizer": r.L1L2(0.01, 0.02), "bias_regularizer": "l2", "activity_regularizer": r.L2(0.03)}


CASES: dict[str, Make] = {
    "relu": lambda k, x: k.layers.ReLU(1.0, 0.1, 0.2)(x),
    "leaky relu": lambda k, x: k.layers.LeakyReLU()(x),
    "elu": lambda k, x: k.layers.ELU(0.5)(x),
    "softmax": lambda k, x: k.layers.Softmax()(x),
    "prelu": lambda k, x: k.layers.PReLU("ones")(x),
    "prelu, shared": lambda k, x: k.layers.PReLU("ones", shared_axes=[1])(x),
    "normalization": lambda k, x: k.layers.Normalization(mean=[3.0, 1.0, 0.0, -2.0], variance=[0.5, 2.0, 0.0, 1.0])(x),
    "normalization, inverted": lambda k, x: k.layers.Normalization(mean=[1.0] * 4, variance=[3.0] * 4, invert=True)(x),
    "unit": lambda k, x: k.layers.UnitNormalization()(x),
    "rms": lambda k, x: k.layers.RMSNormalization()(x),
    "batch": lambda k, x: k.layers.BatchNormalization()(x),
    "batch, options": lambda k, x: k.layers.BatchNormalization(
        momentum=0.5, epsilon=0.1, scale=False, moving_mean_initializer="ones"
    )(x),
    "maximum": lambda k, x: k.layers.Maximum()([x, k.layers.Dense(4)(x)]),
    "minimum": lambda k, x: k.layers.Minimum()([x, k.layers.Dense(1)(x)]),
    "average": lambda k, x: k.layers.average([x, k.layers.Dense(4)(x), x]),
    "multiply, one feature": lambda k, x: k.layers.multiply([x, k.layers.Dense(1)(x)]),
    "dot": lambda k, x: k.layers.Dot(axes=(2, 1))([k.layers.Dot(2)([x, k.layers.Dense(4)(x)]), x]),
    "dot, normalized": lambda k, x: k.layers.Dot(axes=-1, normalize=True)([x, k.layers.Dense(4)(x)]),
    "concatenate": lambda k, x: k.layers.Concatenate(axis=1)([x, k.layers.Dense(4)(x)]),
    "activity": lambda k, x: k.layers.ActivityRegularization(0.1, 0.2)(x),
    "dense, regularized": lambda k, x: k.layers.Dense(4, **regularized(k))(x),
    "orthogonal": lambda k, x: k.layers.Dense(3, kernel_regularizer=k.regularizers.OrthogonalRegularizer(0.5))(x),
    "lstm, regularized": lambda k, x: k.layers.LSTM(4, return_sequences=True, recurrent_regularizer="l1",
                                                    kernel_regularizer="l2")(x),
    "max_norm": lambda k, x: k.layers.Dense(4, kernel_constraint=k.constraints.MaxNorm(0.5))(x),
    "min_max": lambda k, x: k.layers.Dense(4, kernel_constraint=k.constraints.MinMaxNorm(0.2, 0.5, 0.7, axis=1))(x),
    "unit_norm": lambda k, x: k.layers.GRU(4, return_sequences=True, recurrent_constraint="unit_norm")(x),
    "non_neg": lambda k, x: k.layers.Dense(4, kernel_constraint="non_neg", bias_constraint="non_neg")(x),
}  # fmt: skip


def model_of(package: Any, make: Make) -> Any:
    x = package.Input((6, 4))
    h = package.layers.SimpleRNN(5)(make(package, x))
    model = package.Model(x, package.layers.Dense(3)(h))
    model.compile(package.optimizers.SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("name", CASES)
def test_training_gives_kerass_losses_outputs_and_weights(name: str) -> None:
    keras = pytest.importorskip("keras")
    ours, theirs = model_of(rekur, CASES[name]), model_of(keras, CASES[name])
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), rtol=1e-4, atol=1e-5)
    for _ in range(3):
        a = ours.train_on_batch(X, Y)
        b = theirs.train_on_batch(X, Y)
    a, b = ours.evaluate(X, Y, verbose=0), theirs.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(a, b, rtol=2e-4)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-5)
