"""Layers of eight bits are trained: forward as in inference, gradients straight through the rounding, against NumPy.

The reference keeps what each operation read and takes the gradients back in float64. A product of integers has the
gradient of the product of what was rounded to by its row, and of the row as it was by its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import rekur
from rekur import layers
from test_int8 import product, sequences, takes_int8, weight_integers

Array = NDArray[Any]


class Value:
    """A number that knows what it was made of."""

    def __init__(self, value: Array, parents: Sequence[tuple[Value, Callable[[Array], Array]]] = ()) -> None:
        self.value, self.parents = np.asarray(value, np.float64), parents
        self.gradient = np.zeros_like(self.value)

    def __add__(self, other: Value) -> Value:
        return Value(self.value + other.value, [(self, lambda g: g), (other, lambda g: _like(g, other.value))])

    def __mul__(self, other: Value) -> Value:
        return Value(self.value * other.value, [(self, lambda g: g * other.value), (other, lambda g: g * self.value)])

    def __getitem__(self, at: Any) -> Value:
        def spread(g: Array) -> Array:
            whole = np.zeros_like(self.value)
            np.add.at(whole, at, g)
            return whole

        return Value(self.value[at], [(self, spread)])

    def reshape(self, *shape: int) -> Value:
        return Value(self.value.reshape(shape), [(self, lambda g: g.reshape(self.value.shape))])

    def back(self, gradient: Array) -> None:
        order: dict[int, Value] = {}

        def visit(node: Value) -> None:
            if id(node) not in order:
                for parent, _ in node.parents:
                    visit(parent)
                order[id(node)] = node

        visit(self)
        self.gradient = np.asarray(gradient, np.float64)
        for node in reversed(order.values()):
            for parent, share in node.parents:
                parent.gradient = parent.gradient + share(node.gradient)


def _like(gradient: Array, value: Array) -> Array:
    return gradient if gradient.shape == value.shape else gradient.reshape(-1, value.shape[-1]).sum(0)


def tanh(x: Value) -> Value:
    y = np.tanh(x.value)
    return Value(y, [(x, lambda g: g * (1 - y * y))])


def sigmoid(x: Value) -> Value:
    y = 1 / (1 + np.exp(-x.value))
    return Value(y, [(x, lambda g: g * y * (1 - y))])


def rounded(w: Array) -> Array:
    q, scale = weight_integers(w.astype(np.float32))
    return q * scale.astype(np.float64)


def times(x: Value, w: Value) -> Value:
    """x W as the engine computes it: of eight bits where it is large enough."""
    by = rounded(w.value) if takes_int8(*w.value.shape) else w.value
    y = product(x.value.astype(np.float32), w.value.astype(np.float32))
    return Value(y, [(x, lambda g: g @ by.T), (w, lambda g: x.value.T @ g)])


def dense(x: Value, w: Value, b: Value) -> Value:
    return times(x, w) + b


def windows(x: Value, taps: int) -> Value:
    """Of a causal convolution: (B·T, taps·C)."""
    B, T, C = x.value.shape
    padded = Value(np.concatenate([np.zeros((B, taps - 1, C)), x.value], axis=1), [(x, lambda g: g[:, taps - 1 :])])
    return padded[:, np.arange(T)[:, None] + np.arange(taps)].reshape(B * T, taps * C)


def run_dense(x: Value, w: list[Value]) -> Value:
    return dense(tanh(dense(x, w[0], w[1])), w[2], w[3])


def run_simple(x: Value, w: list[Value]) -> Value:
    h = Value(np.zeros((x.value.shape[0], w[1].value.shape[0])))
    for t in range(x.value.shape[1]):
        h = tanh(times(x[:, t], w[0]) + times(h, w[1]) + w[2])
    return dense(h, w[3], w[4])


def run_lstm(x: Value, w: list[Value]) -> Value:
    H = w[1].value.shape[0]
    h = c = Value(np.zeros((x.value.shape[0], H)))
    for t in range(x.value.shape[1]):
        s = times(x[:, t], w[0]) + times(h, w[1]) + w[2]
        i, f, g, o = (s[:, k * H : (k + 1) * H] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
    return dense(h, w[3], w[4])


def run_convolution(x: Value, w: list[Value]) -> Value:
    B, T, _ = x.value.shape
    for kernel, bias in ((w[0], w[1]), (w[2], w[3])):
        taps, C, N = kernel.value.shape
        x = tanh(dense(windows(x, taps), kernel.reshape(taps * C, N), bias)).reshape(B, T, N)
    return x


MODELS: dict[str, tuple[Callable[..., Any], Callable[[Value, list[Value]], Value], tuple[int, ...]]] = {
    "Dense": (
        lambda **k: [layers.Dense(70, "tanh", input_shape=(65,), **k), layers.Dense(60, **k)], run_dense, (9, 65)
    ),
    "SimpleRNN": (
        lambda **k: [layers.SimpleRNN(67, input_shape=(None, 63), **k), layers.Dense(65, **k)], run_simple, (5, 6, 63)
    ),
    "LSTM": (
        lambda **k: [layers.LSTM(35, input_shape=(None, 33), **k), layers.Dense(120, **k)], run_lstm, (5, 6, 33)
    ),
    "Conv1D": (
        lambda **k: [
            layers.Conv1D(66, 3, padding="causal", activation="tanh", input_shape=(None, 22), **k),
            layers.Conv1D(40, 5, padding="causal", activation="tanh", dilation_rate=1, **k),
        ],
        run_convolution,
        (3, 8, 22),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_gradients_go_straight_through(rounding_isa: str, name: str) -> None:
    make, run, shape = MODELS[name]
    rng = np.random.default_rng(len(name))
    model = rekur.Sequential(make(precision="int8"))
    assert {n.partition("/")[2] for n in model._engine().int8_matrices} >= {"kernel"}
    weights = [w + 0.05 * sequences(rng, *w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    x = sequences(rng, *shape)
    dy = sequences(rng, *model.predict(x, verbose=0).shape)
    (y,), found, (dx,) = model.gradients(x, dy)
    np.testing.assert_array_equal(y, model.predict(x, verbose=0))  # forward it is inference
    values, entrance = [Value(w) for w in weights], Value(x)
    expected = run(entrance, values)
    expected.back(dy.reshape(expected.value.shape))
    # A number that is half-way between two integers may become the other one in float32.
    assert dx is not None
    for what, one, other in [("x", dx, entrance.gradient)] + [
        (n, g, v.gradient) for (n, g), v in zip(found.items(), values, strict=True)
    ]:
        far = np.abs(one - other) / np.abs(other).max()
        assert far.max() < (2e-5 if name in ("Dense", "Conv1D") and what != "x" else 5e-3), what
        assert np.median(far) < 1e-5, what
    # What the rounding changes is seen: the float32 layer has other gradients.
    plain = rekur.Sequential(make())
    plain.set_weights(weights)
    _, others, (dx_plain,) = plain.gradients(x, dy)
    assert np.abs(dx - dx_plain).max() > 1e-3 * np.abs(dx).max()
    assert any(np.abs(found[k] - others[k]).max() > 1e-4 * np.abs(found[k]).max() for k in found)


@pytest.mark.parametrize("name", MODELS)
def test_a_few_steps_of_training(name: str) -> None:
    make, run, shape = MODELS[name]
    rng = np.random.default_rng(3)
    model = rekur.Sequential(make(precision="int8"))
    model.compile(rekur.optimizers.SGD(0.05), "mse")
    values = [w.astype(np.float64) for w in model.get_weights()]
    x = sequences(rng, *shape)
    y = sequences(rng, *model.predict(x, verbose=0).shape)
    before = [w.copy() for w in values]
    for _ in range(4):
        model.train_on_batch(x, y)
        nodes = [Value(w) for w in values]
        out = run(Value(x), nodes)
        out.back(2 * (out.value - y.reshape(out.value.shape)) / y.size)
        values = [w - 0.05 * node.gradient for w, node in zip(values, nodes, strict=True)]
    for one, other, start in zip(model.get_weights(), values, before, strict=True):
        moved = np.abs(other - start).max()
        assert moved > 0
        assert np.abs(one - other).max() < 0.02 * moved  # weights and rows may fall on the other side of a half


def test_embedding_is_trained_as_it_was_before_rounding() -> None:
    model = rekur.Sequential([layers.Embedding(7, 5, precision="int8", input_shape=(None,))])
    ids = np.array([[1, 2, 2]])
    dy = np.arange(15, dtype=np.float32).reshape(1, 3, 5)
    _, found, _ = model.gradients(ids, dy)
    expected = np.zeros((7, 5))
    np.add.at(expected, ids[0], dy[0])
    np.testing.assert_array_equal(found["embedding/embeddings"], expected)


OPTIONS = {
    "dropout": {"dropout": 0.3},
    "recurrent dropout": {"recurrent_dropout": 0.3},
    "zoneout": {"zoneout": 0.2},
    "weight dropout": {"recurrent_weight_dropout": 0.3},
    "all": {"dropout": 0.2, "recurrent_dropout": 0.2, "zoneout": 0.1, "layer_normalization": "sums"},
    "projection": {"projection_size": 40},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_training_draws(name: str) -> None:
    rng = np.random.default_rng(5)
    make = [
        rekur.Sequential([layers.LSTM(64, input_shape=(None, 33), precision=precision, **OPTIONS[name])])
        for precision in ("int8", "float32")
    ]
    make[1].set_weights(make[0].get_weights())
    x = sequences(rng, 6, 9, 33)
    dy = sequences(rng, *make[0].predict(x, verbose=0).shape)
    (_, one, (dx,)), (_, other, (dx_plain,)) = (m.gradients(x, dy, seed=3, step=2) for m in make)
    assert dx is not None and dx_plain is not None
    for a, b in [(dx, dx_plain), *((one[k], other[k]) for k in one)]:
        assert 1e-6 < np.linalg.norm(a - b) / np.linalg.norm(b) < 0.1
    again = make[0].gradients(x, dy, seed=3, step=2)[1]
    np.testing.assert_array_equal(again["lstm/kernel"], one["lstm/kernel"])


def test_fine_tuning_makes_good_what_rounding_cost() -> None:
    rng = np.random.default_rng(7)
    plain = rekur.Sequential(
        [layers.LSTM(48, input_shape=(None, 32)), layers.Dense(64, "tanh"), layers.Dense(2)], seed=1
    )
    weights = plain.get_weights()
    for w in weights:
        if w.ndim == 2 and w.shape[0] >= 32:
            w[rng.integers(w.shape[0], size=w.shape[1]), np.arange(w.shape[1])] *= 25  # of which the others round badly
    plain.set_weights(weights)
    plain.compile(rekur.optimizers.Adam(3e-4), "mse")
    x = sequences(rng, 256, 8, 32)
    y = plain.predict(x, verbose=0)
    narrow = rekur.quantize(plain, "int8", data=x, targets=y)
    one, other = narrow.metrics["loss"]
    assert one < 1e-10 < other
    narrow.model.fit(x, y, batch_size=32, epochs=15, verbose=0)
    assert narrow.model.evaluate(x, y, verbose=0) < 0.5 * other
