"""Activations of one's own and those of Keras that are equations: values, gradients, streams, files, ONNX."""

import copy
import json
import math

import numpy as np
import pytest

import rekur
from rekur import Sequential, activations, debug, layers, ops

X = np.random.default_rng(0).normal(size=(7, 5, 17)).astype(np.float32) * 3


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _clip6(x):
    return np.clip(x / 6 + 0.5, 0, 1)


REFERENCE = {
    "gelu": lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))),
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "relu6": lambda x: np.clip(x, 0, 6),
    "celu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "exponential": np.exp,
    "hard_silu": lambda x: x * _clip6(x),
    "hard_swish": lambda x: x * _clip6(x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "log_sigmoid": lambda x: -np.logaddexp(0, -x),
    "log_softmax": lambda x: x - np.log(np.exp(x).sum(-1, keepdims=True)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
}


def centred_sine(x):
    return ops.sin(x - ops.mean(x, axis=-1)) * ops.sigmoid(x)


def snake(x):
    return x + ops.square(ops.sin(x))


def _both(activation, features=17):
    """The same function behind a Dense layer's product and as a layer of its own."""
    dense = Sequential([layers.Dense(features, activation, input_shape=(None, features))])
    dense.set_weights([np.eye(features), np.zeros(features)])
    return [dense, Sequential([layers.Activation(activation, input_shape=(None, features))])]


@pytest.mark.parametrize("name", activations.LIBRARY)
def test_keras_names_have_keras_numbers(name, isa):
    expected = REFERENCE[name](X.astype(np.float64))
    for model in _both(name):
        np.testing.assert_allclose(model.predict(X), expected, rtol=3e-6, atol=2e-6)


@pytest.mark.parametrize("name", activations.LIBRARY)
def test_they_are_those_of_keras(name):
    keras = pytest.importorskip("keras")
    expected = np.asarray(keras.activations.get(name)(X))
    np.testing.assert_allclose(_both(name)[1].predict(X), expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("features", (1, 2, 3, 5, 7, 17, 33))
@pytest.mark.parametrize(
    "activation", ("gelu", "mish", "log_softmax", centred_sine, snake), ids=lambda a: getattr(a, "__name__", str(a))
)
def test_gradients_are_those_of_central_differences(activation, features, isa):
    function = activation if callable(activation) else activations._library()[activation]
    x = np.random.default_rng(features).normal(size=(9, 4, features)).astype(np.float32)
    if not (activation in ("log_softmax", centred_sine) and features == 1):
        assert debug.check_gradients(function, x.reshape(-1, features)) < 1e-3
    given = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    for model in _both(activation, features):
        lambda_model = Sequential([layers.Lambda(function, input_shape=(None, features))])
        found, expected = (m.gradients(x, given)[2][0] for m in (model, lambda_model))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        _, weights, _ = model.gradients(x, given)
        for name, gradient in weights.items():  # behind the activation they are sums of what arrives at the product
            if name.endswith("bias"):
                np.testing.assert_allclose(gradient, expected.sum((0, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ("mish", centred_sine))
def test_not_a_bit_depends_on_the_number_of_threads_nor_on_the_batch(activation, restore_threads):
    x = np.random.default_rng(0).normal(size=(300, 20, 33)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(300, 20, 33)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        model = Sequential([layers.Dense(33, activation, input_shape=(None, 33))], seed=1)
        model.compile("adam", "mse")
        model.train_on_batch(x, y)
        found.append((b"".join(w.tobytes() for w in model.get_weights()), model.predict(x).tobytes()))
    assert found[0] == found[1] == found[2]
    np.testing.assert_array_equal(model.predict(x[7:9, 3:5]), model.predict(x)[7:9, 3:5])


def _trained(activation):
    first = layers.GRU(6, return_sequences=True, input_shape=(5, 3))
    model = Sequential([first, layers.Dense(4, activation), layers.Activation(activation)], seed=3)
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5, 3)), rng.normal(size=(12, 5, 4))
    model.fit(x, y, epochs=2, verbose=0, lengths=np.arange(12) % 6)
    return model, x, y


@pytest.mark.parametrize("activation", ("gelu", "relu6", centred_sine, lambda x: x * 0.5 + ops.relu(x)))
def test_saved_copied_exported_and_streamed(activation, tmp_path):
    model, x, y = _trained(activation)
    model.save(tmp_path / "m.safetensors")
    loaded = rekur.load(tmp_path / "m.safetensors")
    for other in (loaded, copy.deepcopy(model), rekur.Model.from_spec(model.spec)):
        if "equations" in json.dumps(other.spec):
            assert other.spec["layers"][1:] == model.spec["layers"][1:]
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    loaded.fit(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    onnx = pytest.importorskip("rekur.onnx")
    onnx.export(model, tmp_path / "m.onnx")
    onnx.verify(model, tmp_path / "m.onnx")
    onnx.export(model, tmp_path / "s.onnx", streaming=True)
    onnx.verify(model, tmp_path / "s.onnx")


def test_what_the_engine_has_by_itself_stays_its_own():
    for function, expected in (
        (ops.sigmoid, "sigmoid"),
        (ops.softmax, "softmax"),
        (lambda x: ops.relu(x), "relu"),
        (lambda x: x, "linear"),
        (lambda x: ops.leaky_relu(x, 0.1), {"name": "leaky_relu", "alpha": 0.1}),
    ):
        assert activations.to_spec(function, "x", softmax=True) == expected
    assert activations.to_spec(centred_sine, "x", softmax=True)["name"] == "centred_sine"
    # So a cross-entropy goes on being computed from logits.
    model = Sequential([layers.Dense(1, ops.sigmoid, input_shape=(1,))])
    model.set_weights([[[200.0]], [0.0]])
    model.compile("sgd", "bce")
    assert model.evaluate([[1.0]], [[0.0]]) == pytest.approx(200.0)


def test_an_activation_without_a_slope_trains_what_is_behind_it_alone():
    model = Sequential([layers.Dense(3, lambda x: ops.greater(x, 0.0), input_shape=(2,)), layers.Dense(1)], seed=1)
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(np.random.default_rng(0).normal(size=(8, 2)), np.ones((8, 1)), verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert not np.array_equal(before[3], after[3])


def test_mistakes_name_the_layer_and_the_line():
    def branch(x):
        return x if x > 0 else 0 * x

    with pytest.raises(
        TypeError, match=r"neither true nor false .*test_own_activations.py, line \d+: return x if x > 0"
    ):
        layers.Dense(3, branch)
    with pytest.raises(TypeError, match=r"Dense.*activation.*np.arctan is no operation"):
        layers.Dense(3, np.arctan)
    with pytest.raises(TypeError, match="one value, got 2 of them"):
        layers.Activation(lambda x: (x, x))
    with pytest.raises(ValueError, match=r"gives a number a feature, these equations one number for the whole row"):
        _both(lambda x: ops.max(x, axis=-1))
    for bad in ("gelU", "sillu", {"name": "gelu", "approximate": True}, {"name": "tanh", "alpha": 1}, 3):
        with pytest.raises((ValueError, TypeError), match="activation"):
            layers.Dense(3, bad)
    with pytest.raises(ValueError, match="'glu' is Keras's and not here yet"):
        layers.Dense(3, "glu")


@pytest.mark.parametrize("activation", ("gelu", "swish", centred_sine, {"name": "m", "equations": {}}))
def test_recurrent_layers_refuse_them_and_name_rekur_cell(activation):
    for make in (
        lambda: layers.LSTM(3, activation=activation),
        lambda: layers.GRU(3, recurrent_activation=activation),
        lambda: layers.SimpleRNN(3, activation=activation),
        lambda: layers.LSTM(3, output_activation=activation),
    ):
        with pytest.raises(ValueError, match=r"for Dense and Activation layers; .*rekur.cell"):
            make()
    equations = {"inputs": ["x"], "nodes": [["sin", 0]], "outputs": [1]}
    layer = {"type": "GRU", "name": "g", "units": 3, "activation": {"name": "m", "equations": equations}}
    with pytest.raises(ValueError, match="equations are for Dense and Activation layers only"):
        rekur._core.infer_layer(json.dumps(layer), [((None, None, 3), "float32")])


FINE = {"inputs": ["x"], "nodes": [["sin", 0], ["multiply", 0, 1]], "outputs": [2]}


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ({"equations": FINE}, "'name'"),
        ({"name": "", "equations": FINE}, "'name'"),
        ({"name": "x" * 256, "equations": FINE}, "'name'"),
        ({"name": "m", "equations": FINE, "alpha": 1.0}, "'alpha'"),
        ({"name": "m", "equations": 3}, "equations"),
        ({"name": "m", "equations": {**FINE, "inputs": ["x", "y"]}}, "one value of one, got equations of 2 inputs"),
        ({"name": "m", "equations": {**FINE, "outputs": [1, 2]}}, "1 inputs and 2 outputs"),
        ({"name": "m", "equations": {**FINE, "outputs": [3]}}, "an output is a value"),
        ({"name": "m", "equations": {**FINE, "nodes": [["max", 0], ["sum", 1]]}}, "one number for the whole row"),
        (
            {"name": "m", "equations": {**FINE, "nodes": [["constant", 1.0], ["sin", 1]]}},
            "a constant for the whole row",
        ),
        (
            {"name": "m", "equations": {**FINE, "nodes": [[{"name": "m", "equations": FINE}, 0]], "outputs": [1]}},
            "only",
        ),
        ({"name": "m", "equations": {**FINE, "nodes": [["softmax", 0]], "outputs": [1]}}, "softmax"),
        ({"name": "m", "equations": {**FINE, "nodes": [["sin", 0]] * 513}}, "at most 512"),
    ],
)
def test_a_hostile_spec_is_an_error(activation, message):
    for layer in ({"type": "Dense", "units": 3}, {"type": "Activation"}):
        text = json.dumps({**layer, "name": "n", "activation": activation})
        with pytest.raises(ValueError, match=message):
            rekur._core.infer_layer(text, [((None, None, 3), "float32")])
