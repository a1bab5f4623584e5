"""Optimisers, followed for a few steps in float64 on a model of two weights."""

import numpy as np
import pytest

from rekur import Sequential, layers, optimizers

X = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]])
Y = np.array([1.0, -1.0, 0.5])
START = np.array([0.3, -0.7])


def _course(optimizer, steps=5):
    model = Sequential([layers.Dense(1, use_bias=False, input_shape=(2,))])
    model.compile(optimizer, "mse")
    model.set_weights([START[:, None]])
    course = []
    for _ in range(steps):
        model.train_on_batch(X, Y)
        course.append(model.get_weights()[0][:, 0])
    return np.array(course)


def _expected(update, steps=5):
    w, state, course = START.copy(), {}, []
    for t in range(1, steps + 1):
        g = 2 * X.T @ (X @ w - Y) / 3
        w = update(w, g, state, t)
        course.append(w)
    return np.array(course)


def _sgd(momentum=0.0, nesterov=False, decay=0.0, clip=lambda g: g):
    def update(w, g, state, t):
        g = clip(g)
        v = state["v"] = momentum * state.get("v", 0) - 0.05 * g
        return w + (momentum * v - 0.05 * g if nesterov else v) - 0.05 * decay * w

    return update


def _rmsprop(w, g, state, t):
    s = state["s"] = 0.9 * state.get("s", 0) + 0.1 * g**2
    return w - 0.01 * g / (np.sqrt(s) + 1e-7)


def _adam(decay=0.0):
    def update(w, g, state, t):
        m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
        v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
        return w - 0.01 * (m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7) + decay * w)

    return update


@pytest.mark.parametrize(
    ("optimizer", "update"),
    [
        (optimizers.SGD(0.05), _sgd()),
        (optimizers.SGD(0.05, momentum=0.9), _sgd(0.9)),
        (optimizers.SGD(0.05, momentum=0.9, nesterov=True), _sgd(0.9, True)),
        (optimizers.SGD(0.05, weight_decay=0.1), _sgd(decay=0.1)),
        (optimizers.SGD(0.05, clipvalue=0.5), _sgd(clip=lambda g: np.clip(g, -0.5, 0.5))),
        (optimizers.SGD(0.05, clipnorm=0.5), _sgd(clip=lambda g: g * min(1, 0.5 / np.linalg.norm(g)))),
        (optimizers.SGD(0.05, global_clipnorm=0.5), _sgd(clip=lambda g: g * min(1, 0.5 / np.linalg.norm(g)))),
        (optimizers.RMSprop(0.01), _rmsprop),
        (optimizers.Adam(0.01), _adam()),
        (optimizers.AdamW(0.01, weight_decay=0.3), _adam(0.3)),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_course(optimizer, update):
    np.testing.assert_allclose(_course(optimizer), _expected(update), rtol=2e-5, atol=2e-6)


def test_norms_are_of_a_parameter_or_of_all():
    def trained(**clip):
        model = Sequential([layers.Dense(1, input_shape=(2,))])
        model.compile(optimizers.SGD(1.0, **clip), "mse")
        before = [START[:, None], np.array([4.0])]
        model.set_weights(before)
        model.train_on_batch(X, Y)
        return [np.linalg.norm(a - b) for a, b in zip(model.get_weights(), before, strict=True)]

    assert trained(clipnorm=0.25) == pytest.approx([0.25, 0.25], rel=1e-4)
    assert np.linalg.norm(trained(global_clipnorm=0.25)) == pytest.approx(0.25, rel=1e-4)


@pytest.mark.parametrize(
    "name", ["adam", "Adam", optimizers.Adam, {"name": "adam"}], ids=["name", "class name", "class", "dict"]
)
def test_ways_to_name_one(name):
    assert optimizers.get(name).config() == optimizers.Adam().config()


def test_mistakes():
    with pytest.raises(ValueError, match="did you mean 'rmsprop'"):
        optimizers.get("rmsprob")
    with pytest.raises(TypeError, match="optimizer is a name"):
        optimizers.get(0.1)
    with pytest.raises(ValueError, match="learning_rate"):
        optimizers.Adam(-0.1)
    with pytest.raises(TypeError, match="learning_rate"):
        optimizers.Adam("0.1")
    with pytest.raises(ValueError, match="clipnorm and clipvalue"):
        optimizers.SGD(clipnorm=1, clipvalue=1)
    with pytest.raises(ValueError, match="beta_1"):
        optimizers.Adam(beta_1=1.0)
    with pytest.raises(TypeError, match="optimizer 'adam'"):
        optimizers.get({"name": "adam", "lr": 0.1})
