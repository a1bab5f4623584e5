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
    return w - 0.01 * g / np.sqrt(s + 1e-7)


def _adam(decay=0.0):
    def update(w, g, state, t):
        m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
        v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
        return w - 0.01 * (np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7) + decay * w)

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


KERAS = {  # our name and arguments, which are Keras's too
    "sgd": ("SGD", {"learning_rate": 0.1}),
    "sgd momentum": ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    "sgd nesterov": ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "sgd decay": ("SGD", {"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01}),
    "rmsprop": ("RMSprop", {}),
    "rmsprop momentum": ("RMSprop", {"rho": 0.8, "momentum": 0.7}),
    "rmsprop epsilon": ("RMSprop", {"epsilon": 1e-3}),
    "adam": ("Adam", {}),
    "adam betas": ("Adam", {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4}),
    "adamw": ("AdamW", {"weight_decay": 0.1}),
    "clipnorm": ("Adam", {"clipnorm": 1e-5}),
    "clipvalue": ("RMSprop", {"clipvalue": 3e-6}),
    "global_clipnorm": ("SGD", {"learning_rate": 0.1, "global_clipnorm": 1e-5}),
}


def _step_sizes(name, options, scale, steps=50):
    """The weights after each of 50 steps, whose gradients are about `scale`: targets, and so errors, are that small."""
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile(getattr(optimizers, name)(**options), "mse")
    rng = np.random.default_rng(7)
    model.set_weights([np.zeros((3, 2)), np.zeros(2)])
    course, gradients = [], []
    for _ in range(steps):
        x, y = rng.normal(size=(4, 3)).astype(np.float32), (scale * rng.normal(size=(4, 2))).astype(np.float32)
        kernel, bias = (w.astype(np.float64) for w in model.get_weights())
        error = (x @ kernel + bias - y) / 4
        gradients.append([x.T @ error, error.sum(axis=0)])
        model.train_on_batch(x, y)
        course.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    return np.array(course), gradients


@pytest.mark.parametrize("scale", [1e-8, 2e-6, 2e-4, 1.0])
@pytest.mark.parametrize("case", KERAS)
def test_fifty_steps_beside_keras(case, scale):
    keras = pytest.importorskip("keras")
    name, options = KERAS[case]
    ours, gradients = _step_sizes(name, options, scale)
    variables = [keras.Variable(np.zeros((3, 2), np.float32)), keras.Variable(np.zeros(2, np.float32))]
    optimizer = getattr(keras.optimizers, name)(**options)
    theirs = []
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g.astype(np.float32)) for g in step], variables)
        theirs.append(np.concatenate([np.asarray(v.value).ravel() for v in variables]))
    theirs = np.array(theirs)
    # Keras computes 1 − β₂ᵗ in float32, which is 2e-5 off at t = 1.
    assert np.abs(ours - theirs).max() <= 5e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("gradient", [1e-8, 1.8e-5, 2e-4])
def test_where_epsilon_stands_shows_at_small_gradients(gradient):
    def step(optimizer):
        model = Sequential([layers.Dense(1, use_bias=False, input_shape=(1,))])
        model.compile(optimizer, "mse")
        model.set_weights([[[0.0]]])
        model.train_on_batch([[1.0]], [[gradient / 2]])
        return float(model.get_weights()[0][0, 0])

    assert step(optimizers.RMSprop()) == pytest.approx(1e-3 * gradient / np.sqrt(0.1 * gradient**2 + 1e-7), rel=1e-5)
    adam = 1e-3 * np.sqrt(1e-3) / 0.1 * (0.1 * gradient) / (np.sqrt(1e-3) * gradient + 1e-7)
    assert step(optimizers.Adam()) == pytest.approx(adam, rel=1e-4)


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
    with pytest.raises(TypeError, match="Adam has no argument 'lr': it is called learning_rate"):
        optimizers.get({"name": "adam", "lr": 0.1})
