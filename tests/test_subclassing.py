"""Layers and models of one's own, and rekur.ops on symbolic tensors: traced once into the graph."""

import copy
import pickle

import numpy as np
import pytest

import rekur
import rekur.onnx
from rekur import Input, Model, Sequential, layers, ops

X = np.random.default_rng(3).normal(size=(4, 5, 6)).astype(np.float32)


def given(function, x=X):
    """What a function of a symbolic tensor gives for an array, in a model."""
    tensor = Input(x.shape[1:])
    made = function(tensor)
    return Model(tensor, list(made) if isinstance(made, (list, tuple)) else made).predict(x)


class Block(layers.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.inner = layers.Dense(units, activation="relu")
        self.outer = layers.Dense(units)
        self.dropout = layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.outer(self.dropout(self.inner(x), training=training)) + x


class Regressor(rekur.Model):
    def __init__(self, units=6, **options):
        super().__init__(**options)
        self.head = layers.Dense(1)
        self.blocks = [Block(units), Block(units)]
        self.rnn = layers.GRU(units, return_sequences=True)

    def call(self, inputs, training=False):
        x = self.rnn(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x[:, -1, :])


OPERATIONS = {
    "arithmetic": (lambda x: (2 * x - 1) / (x * x + 1), lambda x: (2 * x - 1) / (x * x + 1)),
    "power and sign": (lambda x: abs(-x) ** 2 + +x, lambda x: np.abs(x) ** 2 + x),
    "comparison": (lambda x: ops.where((x > 0) & ~(x >= 1), x, 0.5), lambda x: np.where((x > 0) & ~(x >= 1), x, 0.5)),
    "less": (lambda x: ops.where((x < 0) | (x <= -1), 1.0, x), lambda x: np.where(x < 0, 1.0, x)),
    "functions": (lambda x: ops.tanh(x) * ops.sigmoid(x), lambda x: np.tanh(x) / (1 + np.exp(-x))),
    "an array a feature": (lambda x: x * np.arange(6) + np.ones(6), lambda x: x * np.arange(6) + 1),
    "an array before": (lambda x: np.arange(6) - x, lambda x: np.arange(6) - x),
    "divided by an array": (lambda x: x / np.arange(1, 7), lambda x: x / np.arange(1, 7)),
    "softmax": (lambda x: ops.softmax(x), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    "mean of features": (lambda x: x - ops.mean(x, axis=-1, keepdims=True), lambda x: x - x.mean(-1, keepdims=True)),
    "sum of last axis": (lambda x: x * ops.sum(x, axis=2, keepdims=True), lambda x: x * x.sum(-1, keepdims=True)),
    "last step": (lambda x: x[:, -1, :], lambda x: x[:, -1, :]),
    "a step": (lambda x: x[:, 2], lambda x: x[:, 2]),
    "features": (lambda x: x[..., 1:4], lambda x: x[..., 1:4]),
    "features from the end": (lambda x: x[:, :, -2:], lambda x: x[..., -2:]),
    "last step's features": (lambda x: x[:, -1, :3], lambda x: x[:, -1, :3]),
    "flipped": (lambda x: x[:, ::-1, :] + ops.flip(x, axis=1), lambda x: 2 * x[:, ::-1]),
    "all of it": (lambda x: x[...] + x[:], lambda x: 2 * x),
    "concatenated": (lambda x: ops.concatenate([x, x * 2], axis=-1), lambda x: np.concatenate([x, 2 * x], -1)),
    "split in sections": (lambda x: ops.split(x, 3, axis=-1)[1], lambda x: np.split(x, 3, -1)[1]),
    "split at places": (lambda x: ops.split(x, [1, 4], axis=2)[1], lambda x: x[..., 1:4]),
    "taken": (lambda x: ops.take(x, [3, 0, -1], axis=-1), lambda x: x[..., [3, 0, -1]]),
    "one taken": (lambda x: ops.take(x, 2, axis=-1), lambda x: x[..., 2]),
    "product with a matrix": (lambda x: ops.matmul(x, np.eye(6)[:, :2]), lambda x: x[..., :2]),
    "some steps": (lambda x: x[:, 1:3], lambda x: x[:, 1:3]),
    "steps from the end": (lambda x: x[:, -2:, :4], lambda x: x[:, -2:, :4]),
    "mean over time": (lambda x: ops.mean(x, axis=1), lambda x: x.mean(1)),
    "sum over time": (lambda x: ops.sum(x, axis=1), lambda x: x.sum(1)),
    "max over time": (lambda x: ops.max(x, axis=1), lambda x: x.max(1)),
    "min over time": (lambda x: ops.min(x, axis=1), lambda x: x.min(1)),
    "sum without its axis": (lambda x: ops.sum(x, axis=-1), lambda x: x.sum(-1)),
    "reshaped": (lambda x: ops.reshape(x, (-1, 30)), lambda x: x.reshape(4, 30)),
    "transposed": (lambda x: ops.transpose(x, (0, 2, 1)), lambda x: x.transpose(0, 2, 1)),
    "swapped": (lambda x: ops.swapaxes(x, 1, 2), lambda x: x.transpose(0, 2, 1)),
    "one more axis": (lambda x: ops.squeeze(ops.expand_dims(x[:, 0], 1), 1), lambda x: x[:, 0]),
    "product of tensors": (lambda x: x @ ops.transpose(x, (0, 2, 1)), lambda x: x @ x.transpose(0, 2, 1)),
    "einsum": (lambda x: ops.einsum("bij,bkj->bki", x, 2 * x), lambda x: np.einsum("bij,bkj->bki", x, 2 * x)),
    "the @ operator": (lambda x: x @ (2 * np.eye(6)), lambda x: 2 * x),
}


@pytest.mark.parametrize(("symbolic", "numpy"), OPERATIONS.values(), ids=OPERATIONS)
def test_operations_on_symbolic_tensors_are_numpys(symbolic, numpy):
    np.testing.assert_allclose(given(symbolic), numpy(X.astype(np.float64)), atol=2e-5)


def test_a_sum_over_time_ends_where_a_row_does():
    x = Input((None, 6))
    found = Model(x, [ops.sum(x, axis=1), ops.sum(x, axis=1, keepdims=True)]).predict(X, lengths=[2, 5, 0, 1])
    wanted = np.stack([row[:n].sum(0) for row, n in zip(X, [2, 5, 0, 1], strict=True)])
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)
    np.testing.assert_allclose(found[1], wanted[:, None], atol=1e-5)


def test_a_chain_of_equations_is_one_layer():
    x = Input((5, 6))
    model = Model(x, ops.tanh(x * 2 + 1) * ops.sigmoid(x) - x**2)
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Lambda"]


def test_what_two_branches_read_is_right_in_both():
    def both(x):
        h = ops.tanh(x)
        return h + 1, h * x, h

    a, b, c = given(both)
    np.testing.assert_allclose(a, np.tanh(X) + 1, atol=1e-6)
    np.testing.assert_allclose(b, np.tanh(X) * X, atol=1e-6)
    np.testing.assert_allclose(c, np.tanh(X), atol=1e-6)


def test_on_arrays_the_operations_are_numpys():
    np.testing.assert_array_equal(ops.concatenate([X, X], axis=1), np.concatenate([X, X], 1))
    np.testing.assert_array_equal(ops.reshape(X, (4, 30)), X.reshape(4, 30))
    np.testing.assert_array_equal(ops.transpose(X, (0, 2, 1)), X.transpose(0, 2, 1))
    np.testing.assert_array_equal(ops.swapaxes(X, 1, 2), X.transpose(0, 2, 1))
    np.testing.assert_array_equal(ops.expand_dims(X, 1), X[:, None])
    np.testing.assert_array_equal(ops.squeeze(X[:, :1], 1), X[:, 0])
    np.testing.assert_array_equal(ops.flip(X, 1), X[:, ::-1])
    np.testing.assert_array_equal(ops.take(X, [1, 0], -1), X[..., [1, 0]])
    np.testing.assert_array_equal(ops.split(X, 2, 0)[1], X[2:])
    np.testing.assert_array_equal(ops.einsum("bij,bkj->bik", X, X), np.einsum("bij,bkj->bik", X, X))
    np.testing.assert_array_equal(ops.dot(X, np.eye(6)), X)
    assert ops.shape(X) == (4, 5, 6)
    assert ops.shape(Input((5, 6))) == (None, 5, 6)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda x: x[0], IndexError, "rows of a batch are computed alike"),
        (lambda x: x[:, 0][:, 1], IndexError, r"an index takes an axis away.*x\[\.\.\., 1:2\]"),
        (lambda x: x[:, :, ::2], IndexError, "by a slice without a step"),
        (lambda x: x[:, ::2], IndexError, "by an index, a slice, or ::-1"),
        (lambda x: x + Input((5, 3)), ValueError, r"ops.add: expected tensors of one shape.*\(None, 5, 3\)"),
        (lambda x: x * np.ones((5, 6)), ValueError, "one number for each feature"),
        (lambda x: ops.flip(x, axis=-1), ValueError, "axis=1, got axis=-1"),
        (lambda x: ops.split(x, 4, axis=-1), ValueError, "has no 4 parts of one size"),
        (lambda x: ops.reshape(x, (4, 30)), ValueError, "the first size is that of the batch"),
        (lambda x: ops.einsum("abc,abc->a", x, x), ValueError, "summed over one axis"),
        (lambda x: 1 if x > 0 else 2, TypeError, r"neither true nor false.*ops\.where"),
        (lambda x: [*x], TypeError, "cannot be unpacked"),
        (lambda x: x + "a", TypeError, "unsupported operand"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_layers_cannot_say_is_an_error_that_names_the_line(function, kind, message):
    with pytest.raises(kind, match=message) as caught:
        function(Input((5, 6)))
    if kind in (IndexError, ValueError):
        assert "test_subclassing.py, line " in str(caught.value)


# Layers.


def test_a_layer_of_ones_own_shares_its_weights_between_calls():
    x, block = Input((5, 6)), Block(6, name="mine")
    model = Model(x, block(block(x)), seed=0)
    assert [w.shape for w in block.get_weights()] == [(6, 6), (6,), (6, 6), (6,)]
    assert block.count_params() == model.count_params() == 84
    a, b, c, d = (w.astype(np.float64) for w in block.get_weights())
    h = X.astype(np.float64)
    for _ in range(2):
        h = np.maximum(h @ a + b, 0) @ c + d + h
    np.testing.assert_allclose(model.predict(X), h, atol=1e-4)
    assert list(model.named_weights()) == [
        f"mine.{n}" for n in ("dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias")
    ]


def test_arguments_and_results_may_be_nested():
    class Two(layers.Layer):
        def call(self, pair, weights, scale=1.0):
            a, b = pair
            return {"sum": a + b * weights["w"], "parts": (a, [b * scale])}

    a, b, w = (Input((6,), name=n) for n in "abw")
    made = Two()((a, b), weights={"w": w}, scale=3.0)
    assert list(made) == ["sum", "parts"]
    model = Model([a, b, w], [made["sum"], made["parts"][0], made["parts"][1][0]])
    p, q, r = (X[:, k] for k in range(3))
    for found, wanted in zip(model.predict([p, q, r]), (p + q * r, p, 3 * q), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_build_is_called_once_with_the_shape():
    class Built(layers.Layer):
        def build(self, input_shape):
            self.seen = input_shape
            self.dense = layers.Dense(input_shape[-1])

        def call(self, x):
            return self.dense(x)

    layer, x = Built(), Input((5, 6))
    layer(layer(x))
    assert layer.seen == (None, 5, 6)
    assert layer.built


def test_models_with_layers_of_ones_own_are_saved_copied_and_exported_without_their_code(tmp_path):
    x = Input((5, 6))
    model = Model(x, Block(6)(Block(6)(x)), seed=1)
    model.compile("adam", "mse")
    model.fit(X, X, epochs=1, verbose=0)
    model.save(tmp_path / "m.safetensors")
    rekur.onnx.export(model, tmp_path / "m.onnx")
    expected = model.predict(X)
    for twin in (rekur.load(tmp_path / "m.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin.predict(X), expected)
        twin.fit(X, X, epochs=1, verbose=0)
    np.testing.assert_allclose(rekur.onnx.load(tmp_path / "m.onnx").predict(X), expected, atol=1e-5)


def test_freezing_a_layer_of_ones_own_freezes_its_parts():
    block = Block(6)
    model = Sequential([Input((5, 6)), block, layers.Dense(1)])
    model.compile("sgd", "mse")
    block.trainable = False
    before = block.get_weights()
    model.fit(X, np.ones((4, 5, 1)), verbose=0)
    for a, b in zip(before, block.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_called_on_arrays_a_layer_computes():
    dense = layers.Dense(3)
    y = dense(X[:, 0])
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(y, X[:, 0] @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(dense(X[:2, 1]), X[:2, 1] @ kernel + bias, atol=1e-5)
    outputs, state = layers.GRU(2, return_sequences=True, return_state=True)(X)
    np.testing.assert_array_equal(outputs[:, -1], state)
    assert Block(6)(X).shape == (4, 5, 6)
    assert layers.Concatenate()([X, X]).shape == (4, 5, 12)
    carried = layers.LSTM(2, stateful=True)
    first = carried(X)
    assert not np.array_equal(carried(X), first)
    carried.reset_states()
    np.testing.assert_array_equal(carried(X), first)
    start = np.ones((4, 2), np.float32)
    gru = layers.GRU(2)
    assert not np.array_equal(gru(X, initial_state=start), gru(X))
    assert layers.Embedding(9, 2)(np.array([[1, 2, 3]])).shape == (1, 3, 2)


def test_a_layer_without_call_is_refused_where_it_is_made():
    class Nothing(layers.Layer):
        pass

    with pytest.raises(TypeError, match="class Nothing"):
        Nothing()


def test_what_a_call_does_wrong_is_said():
    class Constant(layers.Layer):
        def call(self, x):
            return 3.0

    class Elsewhere(layers.Layer):
        def call(self, x):
            return x + other

    other = Input((6,))
    with pytest.raises(TypeError, match=r"Constant 'constant': call must return what it made of its inputs, got 3\.0"):
        Constant()(Input((6,)))
    with pytest.raises(ValueError, match="uses Input 'input', which is not among its inputs"):
        Elsewhere()(Input((6,)))
    block = Block(6)
    block(Input((6,)))
    with pytest.raises(ValueError, match="called before with other arguments"):
        block([Input((6,))])


# Models.


def test_a_model_of_ones_own_is_its_twin_of_the_functional_kind():
    model = Regressor(seed=0)
    model.compile("adam", "mse")
    model.fit(X, np.ones((4, 1)), epochs=2, verbose=0)
    x = Input((None, 6))
    h = layers.GRU(6, return_sequences=True)(x)
    for _ in range(2):
        h = layers.Add()([layers.Dense(6)(layers.Dense(6, activation="relu")(h)), h])
    twin = Model(x, layers.Dense(1)(layers.Step(-1)(h)))
    head, rest = model.get_weights()[:2], model.get_weights()[2:]
    assert [w.shape for w in head] == [(6, 1), (1,)]  # in the order of the attributes, as in Keras
    twin.set_weights([*rest[-3:], *rest[:-3], *head])
    np.testing.assert_allclose(model.predict(X), twin.predict(X), atol=1e-6)
    assert model.predict(X[:, :2]).shape == (4, 1)  # another number of steps
    assert model.name == "regressor"
    assert [type(layer).__name__ for layer in model.layers][:4] == ["Dense", "Block", "Block", "GRU"]


def test_the_keys_of_what_a_model_returns_are_its_outputs_names():
    class Two(rekur.Model):
        def __init__(self):
            super().__init__()
            self.head = layers.Dense(2)

        def call(self, x):
            return {"a": self.head(x), "b": 2 * self.head(x)}

    model = Two()
    model.build((None, 6))
    assert model.output_names == ["a", "b"]
    model.compile("sgd", {"a": "mse", "b": "mae"})
    y = np.zeros((4, 2))
    assert "b_loss" in model.fit(X[:, 0], {"a": y, "b": y}, verbose=0).history


def test_a_model_of_ones_own_is_not_copied_before_it_is_built():
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied before it is built"):
            copied(Regressor())


def test_ways_to_build_a_model_of_ones_own():
    for build in (
        lambda m: m.build((None, 5, 6)),
        lambda m: m(X),
        lambda m: m(Input((5, 6))),
        lambda m: m.predict(X),
        lambda m: Model(x := Input((5, 6)), m(x)),
        lambda m: Sequential([Input((5, 6)), m]).predict(X),
    ):
        model = Regressor()
        with pytest.raises(ValueError, match="does not know its input yet"):
            model.summary()
        build(model)
        assert model.count_params() == 84 * 2 + 7 + 6 * 18 * 2 + 36


def test_inputs_of_a_model_of_ones_own_may_be_a_list_or_a_dict():
    class Pair(rekur.Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(9, 3), layers.Dense(2)

        def call(self, inputs):
            ids, x = (inputs["ids"], inputs["x"]) if isinstance(inputs, dict) else inputs
            return self.dense(ops.concatenate([self.embedding(ids)[:, 0], x])), x

    ids, x = np.array([[1, 2], [3, 4]]), X[:2, 0]
    a, b = Pair(), Pair()
    first = a.predict([ids, x])
    b.build({"ids": (None, 2), "x": (None, 6)})
    b.set_weights(a.get_weights())
    for one, other in zip(first, b.predict({"x": x, "ids": ids}), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first[1], x)


def test_a_model_of_ones_own_is_saved_and_copied_as_its_graph(tmp_path):
    model = Regressor(seed=4)
    model.compile("adam", "mse")
    model.fit(X, np.ones((4, 1)), verbose=0)
    model.save(tmp_path / "m.safetensors")
    for twin in (rekur.load(tmp_path / "m.safetensors"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is Model
        np.testing.assert_array_equal(twin.predict(X), model.predict(X))
        twin.fit(X, np.ones((4, 1)), verbose=0)
    other = Regressor()
    other.build((None, 5, 6))
    other.load_weights(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_decisions_on_training_or_on_numbers_are_refused_with_their_line():
    class Deciding(rekur.Model):
        def call(self, x, training=None):
            if training:
                return x
            return x * 2

    with pytest.raises(TypeError, match=r"`training` is neither true nor false.*line \d+: if training:"):
        Deciding().predict(X)


def test_training_may_be_said_where_it_asks_for_nothing():
    x = Input((6,))
    assert layers.Dropout(0.5)(x, training=False).shape == (None, 6)
    with pytest.raises(TypeError, match="fit trains"):
        layers.Dropout(0.5)(x, training=True)


def test_a_failed_trace_leaves_nothing_behind():
    class Failing(rekur.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x) + Input((7,))

    model = Failing()
    with pytest.raises(ValueError, match="expected tensors of one shape"):
        model.predict(X[:, 0])
    assert not model.dense._calls
    assert model.dense(X[:, 0]).shape == (4, 2)


def test_a_model_that_is_not_trained_from_the_beginning():
    model = Regressor(trainable=False)
    model.compile("sgd", "mse")
    before = Regressor()
    before.build((None, 5, 6))
    model.build((None, 5, 6))
    weights = model.get_weights()
    model.fit(X, np.ones((4, 1)), verbose=0)
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Weights and cells.


class Linear(layers.Layer):
    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="he_normal", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="ones", trainable=True)

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class Gated(layers.Layer):
    """A cell with a gate, a weight a unit, and a product of a value."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, input_shape):
        shape, square = (input_shape[-1], self.units), (self.units, self.units)
        self.xz, self.xn = (self.add_weight(shape=shape, name=name) for name in ("xz", "xn"))
        self.hz, self.hn = (self.add_weight(shape=square, name=name, initializer="orthogonal") for name in ("hz", "hn"))
        self.bias = self.add_weight(shape=(self.units,), initializer="ones", name="bias")

    def call(self, x, states, training=None):
        h = states[0]
        z = ops.sigmoid(ops.matmul(x, self.xz) + h @ self.hz + self.bias)
        n = ops.tanh(ops.matmul(x, self.xn) + ops.matmul(z * h, self.hn))
        new = z * h + (1 - z) * n
        return new, [new]


def test_weights_of_ones_own_are_a_products_matrix_and_its_bias():
    layer = Linear(4)
    y = layer(X)
    w, b = layer.get_weights()
    np.testing.assert_array_equal(b, np.ones(4))
    np.testing.assert_allclose(y, X @ w + b, atol=1e-5)
    model = Sequential([Input((5, 6)), Linear(2)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, np.zeros((4, 5, 2)), verbose=0)
    assert all(not np.array_equal(a, c) for a, c in zip(before, model.get_weights(), strict=True))


def test_a_cell_of_ones_own_computes_trains_and_is_saved(tmp_path):
    x = Input((5, 6))
    layer = layers.RNN(Gated(3), return_sequences=True)
    model = Model(x, layer(x), seed=2)
    kernel, bias = layer.get_weights()[0], layer.get_weights()[1]
    hz, hn = layer.get_weights()[2:]
    xz, xn = kernel[:, :3], kernel[:, 3:]
    h = np.zeros((4, 3))
    for t in range(5):
        z = 1 / (1 + np.exp(-(X[:, t] @ xz + h @ hz + bias)))
        h = z * h + (1 - z) * np.tanh(X[:, t] @ xn + (z * h) @ hn)
        np.testing.assert_allclose(model.predict(X)[:, t], h, atol=1e-5)
    model.compile("adam", "mse")
    model.fit(X, np.zeros((4, 5, 3)), verbose=0)
    model.save(tmp_path / "m.safetensors")
    rekur.onnx.export(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(X), model.predict(X))
    np.testing.assert_array_equal(copy.deepcopy(model).predict(X), model.predict(X))
    assert layers.Bidirectional(layers.RNN(Gated(3)))(X).shape == (4, 6)
    stack = layers.RNN([layers.LSTMCell(4), Gated(3)])
    assert stack.config()["cells"][1] == {"type": "Gated", "name": "gated"}
    assert layers.Bidirectional(stack)(X).shape == (4, 6)
    assert pickle.loads(pickle.dumps(stack))(X).shape == copy.deepcopy(stack)(X).shape == (4, 3)
    with pytest.raises(ValueError, match="must not have reverse=True"):
        layers.Bidirectional(layers.RNN(Gated(3), reverse=True))


def test_a_weight_of_a_cell_is_not_frozen_by_itself():
    class Frozen(Gated):
        def add_weight(self, *arguments, **options):
            return super().add_weight(*arguments, trainable=options["name"] != "bias", **options)

    with pytest.raises(ValueError, match="all weights of a cell are trained"):
        layers.RNN(Frozen(3))(X)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"call": lambda self, x, states: ops.matmul(x, self.xz)}, TypeError, r"must return \(output, new states\)"),
        ({"call": lambda self, x, s: (s[0], [s[0], s[0]])}, ValueError, "must return 1 new states"),
        ({"state_size": [3, 4]}, ValueError, "expected states of one width"),
        (
            {"build": lambda self, shape: setattr(self, "xz", self.add_weight((shape[-1], 6), name="w"))}
            | {"call": lambda self, x, s: (h := ops.matmul(x, self.xz) + 0 * s[0], [h])},
            ValueError,
            r"weight 'w' is used as one of shape \(6, 3\), and has \(6, 6\).*one weight for each",
        ),
        (
            {"call": lambda self, x, s: (h := ops.sum(x, axis=1) + s[0], [h])},
            ValueError,
            "axis=-1, got axis=1",
        ),
    ],
)
def test_what_a_cell_of_ones_own_cannot_say_is_told(change, kind, message):
    cell = type("Cell", (Gated,), change)
    if "state_size" in change:
        cell.__init__ = lambda self, units: layers.Layer.__init__(self) or setattr(self, "units", units)
    with pytest.raises(kind, match=message):
        layers.RNN(cell(3))(Input((5, 6)))


def test_weights_that_are_used_otherwise_are_refused():
    with pytest.raises(AttributeError, match="its weights are the engine's"):
        layers.Dense(3).add_weight((3, 3))
    with pytest.raises(TypeError, match="add_weight has no argument 'regularizer' that asks for something"):
        Linear().add_weight((3, 3), regularizer="l2")


def test_a_lambda_over_whole_tensors_is_the_layers_that_it_makes(tmp_path):
    cases = {
        "last": (lambda x: x[:, -1, :] * 2, X[:, -1] * 2),
        "joined": (lambda x: ops.concatenate([x, -x], axis=-1), np.concatenate([X, -X], axis=-1)),
        "long": (lambda x: [x := x * 0.5 + 1 for _ in range(300)][-1], np.full_like(X, 2)),
        "a feature each": (lambda x: x * np.arange(6), X * np.arange(6)),
    }
    for function, expected in cases.values():
        model = Sequential([Input((5, 6)), layers.Lambda(function, name="own")])
        np.testing.assert_allclose(model.predict(X), expected, atol=1e-5)
        model.save(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(X), model.predict(X))
    both = layers.Lambda(lambda pair: ops.concatenate(pair, axis=-1))
    np.testing.assert_array_equal(both([X, X]), np.concatenate([X, X], axis=-1))


class Products(layers.Layer):
    """Two products of a kernel each, and a bias; ``how`` says what it gives."""

    def __init__(self, how, **trainable):
        super().__init__()
        self.how = how
        self.w, self.v = (self.add_weight((6, 6), name=name) for name in "wv")
        self.b = self.add_weight((6,), "normal", name="b", **trainable)

    def call(self, x):
        return self.how(self, x)


def test_kernels_and_biases_that_are_used_again_are_the_same_ones():
    x = Input((6,))
    model = Model(x, Products(lambda own, x: (ops.matmul(x, own.w) + own.b) * (ops.matmul(-x, own.w) + own.b))(x))
    w, b = model.get_weights()
    np.testing.assert_allclose(model.predict(X[:, 0]), (X[:, 0] @ w + b) * (b - X[:, 0] @ w), atol=1e-5)


@pytest.mark.parametrize(
    ("how", "options", "message"),
    [
        (lambda own, x: [ops.matmul(x, own.w), ops.matmul(x, own.w) + own.b], {}, "with the bias .* and without it"),
        (lambda own, x: [ops.matmul(x, own.w) + own.b, ops.matmul(x, own.v) + own.b], {}, "not in both"),
        (lambda own, x: ops.matmul(x, own.w) * ops.exp(own.w), {}, "not in both"),
        (lambda own, x: [x * own.b, ops.matmul(x, own.w) + own.b, own.b + ops.matmul(x, own.b)], {}, "takes a matrix"),
    ],
)
def test_weights_that_the_engine_cannot_share_are_refused(how, options, message):
    with pytest.raises(ValueError, match=message):
        Products(how, **options)(Input((6,)))


def test_a_layer_of_ones_own_that_was_called_twice_is_pickled():
    layer = Block(6)
    layer(Input((6,)))
    layer(Input((6,)))
    assert pickle.loads(pickle.dumps(layer))(Input((6,))).shape == (None, 6)


class Scaled(layers.Wrapper):
    def __init__(self, layer, by=2.0, **options):
        super().__init__(layer, **options)
        self.by = by

    def call(self, x):
        return self.layer(x) * self.by

    def get_config(self):
        return {**super().get_config(), "by": self.by}


def test_a_wrapper_has_the_weights_of_its_layer_and_gives_its_config(tmp_path):
    x = rekur.Input((None, 3))
    wrapper = Scaled(layers.LSTM(2), 3.0, name="scaled")
    model = rekur.Model(x, wrapper(x), seed=1)
    bare = rekur.Model(x, wrapper.layer(x))
    data = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(data), bare.predict(data) * np.float32(3))
    assert len(wrapper.weights) == 3 and model.count_params() == bare.count_params()
    again = Scaled.from_config(wrapper.get_config())
    assert (again.name, again.by, again.layer.units) == ("scaled", 3.0, 2)
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(data), model.predict(data))
    wrapper.trainable = False
    assert not model.trainable_weights


def test_a_wrapper_says_what_it_wants():
    with pytest.raises(TypeError, match="Wrapper: a class of your own derives from it"):
        layers.Wrapper(layers.Dense(2))
    with pytest.raises(TypeError, match=r"Scaled 'scaled.*': expected a layer or a model, got 3"):
        Scaled(3)


def test_a_layer_that_would_not_be_trained_is_no_number_of_a_call():
    class Positions(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(9, 6)

        def call(self, x):
            return x + self.table(np.array([3, 1, 2, 0, 4]))

    with pytest.raises(ValueError, match=r"Embedding.*would stay what it is now.*PositionEmbedding.*test_subclassing"):
        Positions()(Input((5, 6)))


def test_tensors_stacked_in_front_of_the_batch_wait_for_a_transposition():
    x = Input((5, 6))
    steps = ops.stack([x[:, 0], x[:, 1] * 2, x[:, 4]])
    model = Model(x, [ops.transpose(steps, [1, 0, 2]), ops.transpose(steps, [1, 2, 0]), ops.swapaxes(steps, 0, 1)])
    wanted = np.stack([X[:, 0], X[:, 1] * 2, X[:, 4]])
    for y, axes in zip(model.predict(X), ([1, 0, 2], [1, 2, 0], [1, 0, 2]), strict=True):
        np.testing.assert_array_equal(y, wanted.transpose(axes))
    for axes in (None, [0, 1, 2], [2, 1, 0]):
        with pytest.raises(ValueError, match="the batch must come first"):
            ops.transpose(steps, axes)
