"""Weights of layers of one's own in arithmetic: against NumPy in float64, trained, saved, exported and streamed."""

import numpy as np
import onnxruntime
import pytest

import rekur
from rekur import Input, Model, Sequential, layers, ops

RNG = np.random.default_rng(5)
B, T, F = 3, 6, 4
X = RNG.normal(size=(B, T, F)).astype(np.float32)


class Own(layers.Layer):
    def __init__(self, function, shape, **options):
        super().__init__(**options)
        self.function, self.shape = function, shape

    def build(self, shape):
        self.w = self.add_weight(
            name="w", shape=self.shape, initializer=rekur.initializers.RandomUniform(0.2, 1.0, seed=3)
        )

    def call(self, x):
        return self.function(ops, x, self.w)


class Plain:
    """rekur.ops in NumPy."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    @staticmethod
    def softmax(x, axis=-1):
        e = np.exp(x - np.max(x, axis=axis, keepdims=True))
        return e / np.sum(e, axis=axis, keepdims=True)


SAME = {  # at every step
    "scale": ((F,), lambda o, x, w: x * w),
    "shift": ((F,), lambda o, x, w: w + x),
    "one number": ((), lambda o, x, w: x * w + w),
    "one number, an axis": ((1,), lambda o, x, w: w - x),
    "two axes of one": ((1, 1), lambda o, x, w: x / w),
    "an axis in front": ((1, F), lambda o, x, w: x * w),
    "of weights alone": ((F,), lambda o, x, w: o.exp(-w) * x + 1 / (1 + w * w)),
    "gate": ((1,), lambda o, x, w: o.sigmoid(w) * x + (1 - o.sigmoid(w)) * o.tanh(x)),
    "attention over features": ((F,), lambda o, x, w: o.softmax(w) * x),
    "slopes": ((F,), lambda o, x, w: o.maximum(x, 0.0) + w * o.minimum(x, 0.0)),
    "threshold": ((F,), lambda o, x, w: o.where(x > w, x * w, 0.0 * x)),
    "the other way round": ((F,), lambda o, x, w: o.where(w > x, -w, x)),
    "powers": ((F,), lambda o, x, w: (x * x) ** 1.5 / w**2),
    "a product's, beside": ((F,), lambda o, x, w: o.matmul(x, np.full((F, F), 0.5, np.float32)) + w),
    "some of it": (
        (3,),
        lambda o, x, w: x * o.softmax(w)[0] + o.tanh(x) * o.softmax(w)[-1] - o.sum(w[1:], axis=-1, keepdims=True),
    ),
    "normalised": ((F,), lambda o, x, w: x * (w - o.mean(w, axis=-1, keepdims=True))),
}
STEPS = {  # which differ from step to step
    "table": ((T, F), lambda o, x, w: x + w),
    "table with a batch": ((1, T, F), lambda o, x, w: x * w),
    "a number a step": ((T, 1), lambda o, x, w: x * w),
    "attention": ((T, 1), lambda o, x, w: x * o.softmax(o.tanh(x * w), axis=1)),
}
BOTH = {**SAME, **STEPS}


def made(name, x=None, **options):
    shape, function = BOTH[name]
    x = Input((T, F)) if x is None else x
    return Model(x, Own(function, shape, name="own")(x), **options)


@pytest.mark.parametrize("name", BOTH)
def test_values_and_gradients(name):
    shape, function = BOTH[name]
    model = made(name)
    (weight,) = [w for w in model.get_weights() if w.shape == shape]

    def value(x, w):
        return function(Plain(), np.asarray(x, np.float64), np.asarray(w, np.float64))

    np.testing.assert_allclose(model.predict(X), value(X, weight), rtol=2e-5, atol=2e-6)
    dy = RNG.normal(size=X.shape).astype(np.float32)
    _, d_weights, (dx,) = model.gradients(X, [dy])
    (dw,) = [g for n, g in d_weights.items() if n.endswith("/value")]

    def slope(at, by):
        eps, found = 1e-6, np.zeros(by.shape)
        for i in np.ndindex(by.shape):
            there = [by.astype(np.float64), by.astype(np.float64)]
            for sign, a in zip((1, -1), there, strict=True):
                a[i] += sign * eps
            found[i] = np.sum(dy * (at(there[0]) - at(there[1]))) / (2 * eps)
        return found

    np.testing.assert_allclose(dw, slope(lambda w: value(X, w), weight), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(dx, slope(lambda x: value(x, weight), X), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SAME)
def test_rows_without_steps(name):
    shape, function = SAME[name]
    x = Input((F,))
    model = Model(x, Own(function, shape)(x))
    (weight,) = [w for w in model.get_weights() if w.shape == shape]
    expected = function(Plain(), X[:, 0].astype(float), weight.astype(float))
    np.testing.assert_allclose(model.predict(X[:, 0]), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", BOTH)
def test_saved_trained_exported_and_shorter_rows(name, tmp_path):
    model = made(name)
    model.compile("adam", "mse")
    before = model.evaluate(X, 0.0 * X, verbose=0)
    model.fit(X, 0.0 * X, epochs=3, verbose=0)
    assert model.evaluate(X, 0.0 * X, verbose=0) < before
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(X), model.predict(X))
    lengths = np.array([T, 2, 5])
    short = model.predict(X, lengths=lengths)
    for row, n in enumerate(lengths):
        if name != "attention":
            np.testing.assert_array_equal(short[row, :n], model.predict(X)[row, :n])
    timed = name == "attention"  # what looks along time takes lengths in a file
    rekur.onnx.export(model, tmp_path / "m.onnx", lengths=timed)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    given = (X, lengths.astype(np.int32)) if timed else (X,)
    (found,) = session.run(None, {i.name: a for i, a in zip(session.get_inputs(), given, strict=True)})
    for row, n in enumerate(lengths):
        np.testing.assert_allclose(found[row, :n], short[row, :n], atol=1e-5)
    assert rekur.onnx.load(tmp_path / "m.onnx").spec == model.spec


@pytest.mark.parametrize("name", SAME)
def test_streams_and_files_of_one_step(name, tmp_path):
    model = made(name, Input((None, F)))
    rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (taken,) = session.get_inputs()
    for t in range(T):
        (y,) = session.run(None, {taken.name: X[:, t]})
        np.testing.assert_allclose(y, model.predict(X)[:, t], atol=1e-5)


@pytest.mark.parametrize("name", ["table", "a number a step"])
def test_what_differs_from_step_to_step_has_no_stream(name, tmp_path):
    with pytest.raises(rekur.onnx.ExportError, match="differ from time step to time step"):
        rekur.onnx.export(made(name), tmp_path / "m.onnx", streaming=True)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 1), (5, 1, 1), (5, 3, 4), (1,), ()])
def test_rows_of_several_axes(shape, tmp_path):
    data = RNG.normal(size=(2, 5, 3, 4)).astype(np.float32)
    x = Input((5, 3, 4))
    model = Model(x, Own(lambda o, x, w: x * w, shape)(x))
    (weight,) = model.get_weights()
    np.testing.assert_allclose(model.predict(data), data * weight, rtol=1e-6)
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


@pytest.mark.parametrize("shape", [(F,), ()])
def test_within_time_distributed(shape, tmp_path):
    model = Sequential([Input((T, F)), layers.TimeDistributed(Own(lambda o, x, w: x * w, shape)), layers.GRU(2)])
    plain = Sequential([Input((T, F)), Own(lambda o, x, w: x * w, shape), layers.GRU(2)])
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


def test_softmax_over_steps_is_over_a_rows_own():
    x = Input((None, 2))
    model = Model(x, [ops.softmax(x, axis=1), ops.exp(ops.log_softmax(x, axis=1))])
    data = RNG.normal(size=(3, 5, 2)).astype(np.float32) * 200  # whose exponentials are no numbers
    lengths = np.array([5, 1, 3])
    for y in model.predict(data, lengths=lengths):
        for row, n in enumerate(lengths):
            np.testing.assert_allclose(y[row, :n], Plain.softmax(data[row, :n].astype(float), 0), rtol=1e-4, atol=1e-6)


def test_a_weight_called_in_two_places_is_one():
    own = Own(lambda o, x, w: x * w, (F,))
    a, b = Input((T, F)), Input((F,))
    model = Model([a, b], [own(a), own(b)])
    (weight,) = model.get_weights()
    for y, x in zip(model.predict([X, X[:, 0]]), (X, X[:, 0]), strict=True):
        np.testing.assert_allclose(y, x * weight, rtol=1e-6)


@pytest.mark.parametrize("trained", ["kernel", "bias"])
def test_a_bias_is_trained_apart_from_its_kernel(trained):
    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight((F, 2), name="kernel", trainable=trained == "kernel")
            self.bias = self.add_weight((2,), "ones", name="bias", trainable=trained == "bias")

        def call(self, x):
            return ops.matmul(x, self.kernel) + self.bias

    model = Sequential([Input((T, F)), Own()])
    before = {w.shape: w.copy() for w in model.get_weights()}
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((B, T, 2)), verbose=0)
    changed = {w.shape for w in model.get_weights() if (w != before[w.shape]).any()}
    assert changed == {(F, 2) if trained == "kernel" else (2,)}


def test_a_weight_that_is_not_trained():
    class Half(layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(name="a", shape=(F,), initializer="ones")
            self.b = self.add_weight(name="b", shape=(F,), initializer="ones", trainable=False)

        def call(self, x):
            return x * self.a + self.b

    model = Sequential([Input((T, F)), Half()])
    model.compile("sgd", "mse")
    model.fit(X, 0 * X, verbose=0)
    assert len(model.trainable_weights) == 1
    a, b = model.get_weights()
    assert (a != 1).all() and (b == 1).all()


@pytest.mark.parametrize(
    ("function", "shape", "message"),
    [
        (lambda o, x, w: ops.transpose(w), (F, 2), r"ops\.transpose: <weight 'w' of Own.*layers\.Parameter"),
        (lambda o, x, w: ops.matmul(w, x), (T, T), r"ops\.matmul: <weight"),
        (lambda o, x, w: ops.concatenate([x, w]), (T, F), r"ops\.concatenate: <weight"),
        (lambda o, x, w: x * ops.sum(w), (F,), "axis=-1 alone"),
        (lambda o, x, w: x * ops.sum(w, axis=-1), (F,), "keepdims=True"),
        (lambda o, x, w: x * w[0], (T, F), "cannot be indexed by 0"),
        (lambda o, x, w: x * w[::2], (F,), "cannot be indexed by slice"),
        (lambda o, x, w: x if w else -x, (F,), "neither true nor false"),
        (lambda o, x, w: x * w, (5, F), r"beside a tensor of shape \(None, 6, 4\).*has weights of 5 time steps"),
        (lambda o, x, w: x * w, (2, T, F), "more axes than rows of its input"),
        (lambda o, x, w: x * w, (3,), "expected tensors of one shape|go together"),
        (lambda o, x, w: ops.matmul(x, ops.exp(w)), (F, 2), "as add_weight made it"),
        (lambda o, x, w: ops.einsum("btf,fk->bkt", x, w), (F, 2), "features alone are summed over"),
    ],
)
def test_what_weights_cannot_do_is_said_with_its_line(function, shape, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        Own(function, shape)(Input((T, F)))
    assert "test_own_weights.py" in str(caught.value)


def test_parameters_by_themselves():
    x = Input((None, F))
    queries = layers.Parameter((2, F), name="queries")(x)
    model = Model(x, layers.Attention()([queries, x]))
    (weight,) = model.get_weights()
    lengths = np.array([T, 1, 4])
    found = model.predict(X, lengths=lengths)
    for row, n in enumerate(lengths):
        scores = Plain.softmax(weight.astype(float) @ X[row, :n].T.astype(float))
        np.testing.assert_allclose(found[row], scores @ X[row, :n], atol=1e-5)
    h = layers.Parameter(5, "zeros")(x)
    with_state = Model(x, layers.GRU(5)(x, initial_state=h))
    assert with_state.predict(X).shape == (B, 5)


class PositionalEmbedding(layers.Layer):
    """As transformers of Keras's examples have it."""

    def __init__(self, most, ids, features, how="open", **options):
        super().__init__(**options)
        self.how = how
        self.tokens = layers.Embedding(input_dim=ids, output_dim=features)
        self.positions = layers.Embedding(input_dim=most, output_dim=features, embeddings_initializer="normal")

    def call(self, inputs):
        length = ops.shape(inputs)[-1]
        if self.how == "numpy":
            return self.positions(np.arange(length)) + self.tokens(inputs)
        return self.tokens(inputs) + self.positions(ops.arange(start=0, stop=length, step=1))


@pytest.mark.parametrize(("how", "steps"), [("open", None), ("open", 7), ("numpy", 7)])
def test_an_embedding_of_the_numbers_of_the_steps(how, steps, tmp_path):
    ids = RNG.integers(0, 11, (3, 7))
    model = Sequential([Input((steps,), dtype="int32"), PositionalEmbedding(9, 11, 4, how)])
    tokens, rows = model.get_weights()
    assert {tokens.shape, rows.shape} == {(11, 4), (9, 4)}
    if tokens.shape != (11, 4):
        tokens, rows = rows, tokens
    np.testing.assert_allclose(model.predict(ids), tokens[ids] + rows[:7], rtol=1e-6)
    model.compile("sgd", "mse")
    model.fit(ids, np.zeros((3, 7, 4)), verbose=0)
    assert not any(np.array_equal(rows, weight) for weight in model.get_weights())  # trained
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(ids), model.predict(ids))


def test_an_embedding_of_steps_begins_with_its_weights():
    rows = RNG.normal(size=(9, F)).astype(np.float32)

    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(9, F, weights=[rows], trainable=False)

        def call(self, x):
            return x + self.table(ops.arange(T))

    model = Sequential([Input((T, F)), Own()])
    np.testing.assert_allclose(model.predict(X), X + rows[:T], rtol=1e-6)
    assert not model.trainable_weights


def test_an_embedding_of_steps_says_what_it_cannot():
    class Own(layers.Layer):
        def __init__(self, function, **options):
            super().__init__()
            self.function, self.table = function, layers.Embedding(9, F, **options)

        def call(self, x):
            return self.function(x, self.table)

    for function, options, message in (
        (lambda x, e: x + e(ops.arange(4)), {}, r"expected a tensor of shape \(B, 4, 4\), got \(None, 6, 4\)"),
        (lambda x, e: x + e(np.array([2, 1])), {}, "called on numbers while a call is traced"),
        (lambda x, e: x + e(ops.arange(T)), {"mask_zero": True}, "mask_zero does not go with that"),
        (lambda x, e: x + e(ops.arange(T)), {"embeddings_regularizer": "l2"}, "a regularizer or constraint"),
        (lambda x, e: x + e(ops.arange(1, None)), {}, "it begins with 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Own(function, **options)(Input((T, F)))
    np.testing.assert_array_equal(ops.arange(2, 8, 3), [2, 5])
