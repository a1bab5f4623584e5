"""Optimisers, followed for a few steps in float64 on a model of two weights."""

import numpy as np
import pytest

import rekur
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


def _amsgrad(w, g, state, t):
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = 0.5 * state.get("v", 0) + 0.5 * g**2
    best = state["best"] = np.maximum(state.get("best", 0), v)
    return w - 0.01 * np.sqrt(1 - 0.5**t) / (1 - 0.9**t) * m / (np.sqrt(best) + 1e-7)


def _centered(w, g, state, t):
    s = state["s"] = 0.9 * state.get("s", 0) + 0.1 * g**2
    a = state["a"] = 0.9 * state.get("a", 0) + 0.1 * g
    return w - 0.01 * g / np.sqrt(s - a**2 + 1e-7)


def _nadam(w, g, state, t):
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
    u = [0.9 * (1 - 0.5 * 0.96**k) for k in range(1, t + 2)]
    ahead = u[-1] * m / (1 - np.prod(u)) + (1 - u[-2]) * g / (1 - np.prod(u[:-1]))
    return w - 0.01 * ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)


def _adamax(w, g, state, t):
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    u = state["u"] = np.maximum(0.5 * state.get("u", 0), np.abs(g))
    return w - 0.01 * m / ((1 - 0.9**t) * (u + 1e-7))


def _adagrad(w, g, state, t):
    a = state["a"] = state.get("a", 0.1) + g**2
    return w - 0.05 * g / np.sqrt(a + 1e-7)


def _adadelta(w, g, state, t):
    s = state["s"] = 0.95 * state.get("s", 0) + 0.05 * g**2
    step = -np.sqrt(state.get("d", 0) + 1e-3) / np.sqrt(s + 1e-3) * g
    state["d"] = 0.95 * state.get("d", 0) + 0.05 * step**2
    return w + step


def _ftrl(power=0.5, l1=0.0, l2=0.0, shrinkage=0.0, beta=0.0):
    def update(w, g, state, t):
        n, rate = state.get("n", 0.1), 0.2
        after = state["n"] = n + g**2
        z = state["z"] = state.get("z", 0) + g + 2 * shrinkage * w - (after**power - n**power) / rate * w
        return (np.clip(z, -l1, l1) - z) / (after**power / rate + 2 * l2 + beta / rate)

    return update


def _lion(w, g, state, t):
    m = state.get("m", 0)
    state["m"] = 0.99 * m + 0.01 * g
    return w - 0.01 * np.sign(0.9 * m + 0.1 * g)


def _lamb(decay=0.0):
    def update(w, g, state, t):
        w = w - 0.01 * decay * w
        m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
        v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g**2
        step = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        return w - 0.01 * np.linalg.norm(w) / np.linalg.norm(step) * step

    return update


def _lookahead(w, g, state, t):
    slow = state.setdefault("slow", w)
    w = w - 0.05 * g
    if t % 2 == 0:
        w = state["slow"] = slow + 0.3 * (w - slow)
    return w


def _averaged(w, g, state, t):
    w = w - 0.05 * g
    average = state["average"] = w if t == 1 else 0.7 * state["average"] + 0.3 * w
    return average if t % 3 == 0 else w


def _accumulated(w, g, state, t):
    state.setdefault("g", []).append(g)
    return w - 0.05 * np.mean(state["g"][-2:], axis=0) if t % 2 == 0 else w


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
        (optimizers.Adam(0.01, weight_decay=0.3), _adam(0.3)),
        (optimizers.Adam(0.01, beta_2=0.5, amsgrad=True), _amsgrad),
        (optimizers.RMSprop(0.01, centered=True), _centered),
        (optimizers.Nadam(0.01), _nadam),
        (optimizers.Adamax(0.01, beta_2=0.5), _adamax),
        (optimizers.Adagrad(0.05), _adagrad),
        (optimizers.Adadelta(1.0, epsilon=1e-3), _adadelta),
        (optimizers.Ftrl(0.2), _ftrl()),
        (optimizers.Ftrl(0.2, -0.7, 0.1, 0.2, 0.1, 0.3, 0.4), _ftrl(0.7, 0.2, 0.1, 0.3, 0.4)),
        (optimizers.Ftrl(0.2, learning_rate_power=-1), _ftrl(1.0)),
        (optimizers.Ftrl(0.2, learning_rate_power=0), _ftrl(0.0)),
        (optimizers.Lion(0.01), _lion),
        (optimizers.Lamb(0.01, weight_decay=0.3), _lamb(0.3)),
        (optimizers.SGD(0.05, lookahead_sync_period=2, lookahead_slow_step_size=0.3), _lookahead),
        (optimizers.SGD(0.05, use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=3), _averaged),
        (optimizers.SGD(0.05, gradient_accumulation_steps=2), _accumulated),
        (optimizers.SGD(0.05, gradient_centralization=True), _sgd(clip=lambda g: g - g.mean())),
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
    "rmsprop centred": ("RMSprop", {"centered": True, "momentum": 0.5}),
    "amsgrad": ("Adam", {"amsgrad": True, "beta_2": 0.9, "weight_decay": 0.1}),
    "nadam": ("Nadam", {"weight_decay": 0.1}),
    "adamax": ("Adamax", {"beta_1": 0.8, "beta_2": 0.9}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1, "weight_decay": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0, "rho": 0.9}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "ftrl regularised": (
        "Ftrl",
        {
            "learning_rate": 0.1,
            "learning_rate_power": -0.7,
            "initial_accumulator_value": 0.3,
            "l1_regularization_strength": 1e-6,
            "l2_regularization_strength": 0.02,
            "l2_shrinkage_regularization_strength": 0.03,
            "beta": 0.1,
        },
    ),
    "lion": ("Lion", {"weight_decay": 0.1}),
    "lamb": ("Lamb", {"learning_rate": 0.01, "weight_decay": 0.1}),
    "accumulated": ("Adam", {"gradient_accumulation_steps": 3, "clipvalue": 3e-6}),
    "nadam accumulated": ("Nadam", {"gradient_accumulation_steps": 2}),
    "averaged": ("SGD", {"learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 3}),
    "averaged and accumulated": (
        "RMSprop",
        {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": 5, "gradient_accumulation_steps": 2},
    ),
}


def _step_sizes(name, options, scale, steps=12):
    """The weights after each step, whose gradients are about `scale`: targets, and so errors, are that small."""
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


@pytest.mark.parametrize("scale", [2e-6, 1.0])
@pytest.mark.parametrize("case", KERAS)
def test_steps_beside_keras(case, scale):
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


def test_names_and_defaults_are_keras():
    keras = pytest.importorskip("keras")
    for name in ("SGD", "RMSprop", "Adam", "AdamW", "Nadam", "Adamax", "Adagrad", "Adadelta", "Ftrl", "Lion", "Lamb"):
        ours, theirs = getattr(optimizers, name)(), getattr(keras.optimizers, name)()
        expected = {**theirs.get_config(), "name": name.lower()}
        del expected["loss_scale_factor"]
        found = {key: value or expected[key] for key, value in ours.get_config().items()}  # None and 0 are the same
        assert found == pytest.approx(expected)
        assert type(optimizers.get(keras.optimizers.serialize(theirs))) is type(ours)
        again = getattr(keras.optimizers, name).from_config(ours.get_config())
        assert again.get_config()["learning_rate"] == pytest.approx(theirs.get_config()["learning_rate"])


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
    with pytest.raises(ValueError, match="gradient_accumulation_steps"):
        optimizers.Adam(gradient_accumulation_steps=1)
    with pytest.raises(ValueError, match="learning_rate_power"):
        optimizers.Ftrl(learning_rate_power=0.5)


def test_lr_is_a_spelling_of_learning_rate():
    optimizer = optimizers.get({"name": "adam", "lr": 0.1})
    assert optimizer.lr == optimizer.learning_rate == 0.1
    optimizer.lr = 0.2
    assert optimizer.learning_rate == 0.2


def _two_layers(optimizer, steps=0, trainable=True, seed=0):
    model = Sequential([layers.Dense(3, "tanh", name="first", input_shape=(2,)), layers.Dense(1, name="last")], seed=1)
    model.layers[0].trainable = trainable
    model.compile(optimizer, "mse", seed=seed)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model


EVERY = [
    lambda: optimizers.SGD(0.05, momentum=0.9),
    lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.5),
    lambda: optimizers.Adam(0.01, amsgrad=True),
    lambda: optimizers.Nadam(0.01),
    lambda: optimizers.Adamax(0.01),
    lambda: optimizers.Adagrad(0.05),
    lambda: optimizers.Adadelta(1.0),
    lambda: optimizers.Ftrl(0.05),
    lambda: optimizers.Lion(0.01),
    lambda: optimizers.Lamb(0.01),
    lambda: optimizers.Nadam(0.01, gradient_accumulation_steps=3),
    lambda: optimizers.Adam(0.01, use_ema=True, ema_overwrite_frequency=4, lookahead_sync_period=3),
    lambda: optimizers.SGD(0.05, gradient_noise=0.1, gradient_centralization=True),
]


@pytest.mark.parametrize("make", EVERY, ids=lambda make: repr(make()))
def test_a_saved_model_goes_on_to_the_bit(make, tmp_path):
    model = _two_layers(make(), 4)
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for m in (model, again):
        for _ in range(5):
            m.train_on_batch(X, Y)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", EVERY, ids=lambda make: repr(make()))
def test_a_frozen_layer_stays_and_one_that_is_freed_begins_then(make):
    model = _two_layers(make(), 4, trainable=False)
    for a, b in zip(model.get_weights()[:2], _two_layers(make()).get_weights()[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    model.layers[0].trainable = True
    before = model.get_weights()
    for _ in range(6):
        model.train_on_batch(X, Y)
    moved = np.abs(model.get_weights()[0] - before[0]).max()
    assert 0 < moved < (1 if model.optimizer.name != "ftrl" else 2)  # not towards weights of 0 that averages began with


def test_weights_left_out_of_weight_decay(tmp_path):
    def decayed(**left_out):
        optimizer = optimizers.AdamW(0.01, weight_decay=5.0)
        if left_out:
            optimizer.exclude_from_weight_decay(**left_out)
        model = _two_layers(optimizer, 1)
        plain = _two_layers(optimizers.Adam(0.01), 1)
        differs = [not np.array_equal(a, b) for a, b in zip(model.get_weights(), plain.get_weights(), strict=True)]
        return dict(zip(model.named_weights(), differs, strict=True)), model

    # Biases begin with 0, so their decay shows later.
    assert decayed()[0] == {"first/kernel": True, "first/bias": False, "last/kernel": True, "last/bias": False}
    assert not any(decayed(var_names=["kern"])[0].values())
    found, model = decayed(var_list=["first/kernel"])
    assert found == {"first/kernel": False, "first/bias": False, "last/kernel": True, "last/bias": False}
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    for m in (model, again):
        m.train_on_batch(X, Y)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"no weight 'first/kernal'; did you mean 'first/kernel'"):
        decayed(var_list=["first/kernal"])
    with pytest.raises(TypeError, match="var_list takes names"):
        optimizers.Adam().exclude_from_weight_decay(var_list=[np.ones(2)])
    with pytest.raises(ValueError, match="no regular expression"):
        optimizers.Adam().exclude_from_weight_decay(var_names=["("])


def test_weights_left_out_of_weight_decay_are_keras():
    keras = pytest.importorskip("keras")
    optimizer, theirs = optimizers.Lion(0.01, weight_decay=0.5), keras.optimizers.Lion(0.01, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    theirs.exclude_from_weight_decay(var_names=["bias"])
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    model.compile(optimizer, "mse")
    model.set_weights([np.ones((3, 2)), np.ones(2)])
    variables = [keras.Variable(np.ones((3, 2)), name="kernel"), keras.Variable(np.ones(2), name="bias")]
    x, y = np.ones((1, 3)), np.zeros((1, 2))
    for _ in range(5):
        model.train_on_batch(x, y)
        theirs.apply([keras.ops.ones((3, 2)), keras.ops.ones(2)], variables)
    for a, b in zip(model.get_weights(), variables, strict=True):
        np.testing.assert_allclose(a, np.asarray(b.value), rtol=1e-6)


def test_averages_take_the_place_of_the_weights_at_the_end_of_fit():
    model, plain = (_two_layers(optimizers.SGD(0.1, **o)) for o in ({"use_ema": True, "ema_momentum": 0.5}, {}))
    average = None
    for _ in range(4):
        plain.train_on_batch(X, Y)
        now = plain.get_weights()
        average = now if average is None else [0.5 * a + 0.5 * w for a, w in zip(average, now, strict=True)]
    model.fit(X, Y, epochs=4, batch_size=3, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), average, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(AttributeError, match="'use_ema' belongs to the constructor"):
        model.optimizer.use_ema = False


def test_gradient_noise_has_its_variance_and_follows_from_the_seed():
    def moved(seed, steps=1):
        model = Sequential([layers.Dense(100, use_bias=False, input_shape=(100,))])
        model.compile(optimizers.SGD(1.0, gradient_noise=0.25), "mse", seed=seed)
        model.set_weights([np.zeros((100, 100))])
        for _ in range(steps):
            before = model.get_weights()[0]
            model.train_on_batch(np.zeros((1, 100)), np.zeros((1, 100)))
        return model.get_weights()[0] - before

    first = moved(1)
    assert abs(first.mean()) < 0.02
    assert first.std() == pytest.approx(0.5, rel=0.03)
    assert moved(1, 9).std() == pytest.approx(0.5 / 9**0.275, rel=0.03)
    np.testing.assert_array_equal(first, moved(1))
    assert abs(np.corrcoef(first.ravel(), moved(2).ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(first.ravel(), moved(1, 2).ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("make", EVERY, ids=lambda make: repr(make()))
def test_the_same_bits_for_any_number_of_threads(make, restore_threads):
    found = []
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        model = Sequential([layers.Dense(90, input_shape=(301,))], seed=1)
        model.compile(make(), "mse")
        rng = np.random.default_rng(0)
        for _ in range(3):
            model.train_on_batch(rng.normal(size=(2, 301)), rng.normal(size=(2, 90)))
        found.append(model.get_weights())
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
