"""What layers and models add to the loss: add_loss, numbers of a whole batch, losses of symbolic tensors."""

import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import rekur
from rekur import layers, losses, ops


class Adding(rekur.Layer):
    """y = x; adds what its function says."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        self.add_loss(self.function(x))
        return x


def dense_model(function, seed=1):
    x = rekur.Input((3,))
    return rekur.Model(x, Adding(function)(layers.Dense(4, name="code")(x)), seed=seed)


def code_of(model, x, **options):
    return rekur.Model(model.inputs, model.get_layer("code").output).predict(x, verbose=0, **options)


@pytest.mark.parametrize(
    ("function", "number"),
    [
        (lambda x: x, lambda x: x.sum()),
        (lambda x: ops.sum(x), lambda x: x.sum()),
        (lambda x: ops.mean(x), lambda x: x.mean()),
        (lambda x: ops.mean(ops.square(x), axis=(0, 1)), lambda x: (x**2).mean()),
        (lambda x: 0.25 * ops.mean(ops.sum(ops.square(x), axis=-1)), lambda x: 0.25 * (x**2).sum(-1).mean()),
        (lambda x: 2 - ops.sum(x) / 4 + ops.mean(abs(x)), lambda x: 2 - x.sum() / 4 + abs(x).mean()),
        (lambda x: 3.5 + ops.sum(x), lambda x: 3.5 + x.sum()),
        (lambda x: [ops.mean(x), -ops.sum(x) * 0.5], lambda x: x.mean() - 0.5 * x.sum()),
        (lambda x: ops.sum(ops.mean(x)) + np.float32(1), lambda x: x.mean() + 1),
    ],
)
def test_what_is_added_is_the_number_that_was_written(rng, function, number):
    model = dense_model(function)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 4))
    model.compile("sgd", "mse")
    code = code_of(model, x).astype(np.float64)
    expected = ((code - y) ** 2).mean() + number(code)
    assert model.evaluate(x, y, batch_size=7, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_the_step_goes_down_the_gradient_of_what_is_added(rng):
    model = dense_model(lambda x: 0.3 * ops.mean(ops.square(x)) + 0.1 * ops.sum(x))
    x = rng.normal(size=(5, 3))
    before = model.get_weights()
    code = code_of(model, x)
    model.compile(rekur.optimizers.SGD(1.0))
    model.train_on_batch(x)
    slope = 0.6 * code / code.size + 0.1
    for w, now, gradient in zip(before, model.get_weights(), (x.T @ slope, slope.sum(0)), strict=True):
        np.testing.assert_allclose(w - now, gradient, rtol=1e-4, atol=1e-6)


def test_without_any_other_loss_fit_needs_no_targets(rng):
    model = dense_model(lambda x: ops.mean(ops.square(x)))
    model.compile("adam")
    x = rng.normal(size=(20, 3))
    history = model.fit(x, epochs=3, verbose=0).history
    assert list(history) == ["loss"]
    assert history["loss"][0] > history["loss"][-1]
    with pytest.raises(ValueError, match="leave y out"):
        model.fit(x, x, verbose=0)
    plain = rekur.Sequential([layers.Dense(1, input_shape=(3,))])
    with pytest.raises(ValueError, match="compile needs a loss"):
        plain.compile("adam")


def sequence_model(seed=1):
    x = rekur.Input((None, 3))
    code = layers.LSTM(4, return_sequences=True, name="code")(x)
    model = rekur.Model(x, layers.Dense(2, activation="softmax")(layers.LSTM(5)(code)), seed=seed)
    model.add_loss(0.5 * ops.mean(ops.square(code)))
    return model


def sequence_data(rng):
    return rng.normal(size=(6, 5, 3)).astype("float32"), np.eye(2, dtype="float32")[rng.integers(0, 2, 6)]


def test_steps_past_a_rows_length_add_nothing(rng):
    model = sequence_model()
    plain = rekur.Model(model.inputs, model.outputs)
    x, y = sequence_data(rng)
    lengths = np.array([1, 5, 2, 3, 4, 0])
    model.compile("sgd", "categorical_crossentropy")
    plain.compile("sgd", "categorical_crossentropy")
    there = code_of(model, x, lengths=lengths)[np.arange(5) < lengths[:, None]]
    added = model.evaluate(x, y, lengths=lengths, verbose=0) - plain.evaluate(x, y, lengths=lengths, verbose=0)
    assert added == pytest.approx(0.5 * (there**2).mean(), rel=1e-4)


def test_a_tensor_added_to_a_built_model_keeps_its_weights_and_their_order(rng):
    x = rekur.Input((3,))
    model = rekur.Model(x, layers.Dense(1)(layers.Dense(4)(x)), seed=3)
    before = model.get_weights()
    model.add_loss(ops.sum(layers.Dense(2)(model.layers[1].output)))  # a layer that only the loss needs
    now = model.get_weights()
    assert len(now) == len(before) + 2
    for a, b in zip(before, now[: len(before)], strict=True):
        np.testing.assert_array_equal(a, b)
    model.compile("sgd", "mse")
    data = rng.normal(size=(8, 3))
    model.fit(data, data[:, :1], verbose=0)
    assert not np.array_equal(now[-2], model.get_weights()[-2])


@pytest.mark.parametrize("make", [sequence_model, lambda: subclassed()], ids=["graph", "class"])
def test_it_comes_along_with_files_copies_and_pickles(rng, tmp_path, make):
    model = make()
    x, y = sequence_data(rng)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.rekur")
    wanted = model.evaluate(x, y, verbose=0)
    for twin in (rekur.load(tmp_path / "model.rekur"), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.evaluate(x, y, verbose=0) == wanted
        again = copy.deepcopy(twin)
        twin.fit(x, y, verbose=0)
        model_again = copy.deepcopy(model)
        model_again.fit(x, y, verbose=0)
        for a, b in zip(twin.get_weights(), model_again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert again.evaluate(x, y, verbose=0) == wanted


def subclassed():
    class Own(rekur.Model):
        def __init__(self):
            super().__init__(seed=1)
            self.code = layers.LSTM(4, return_sequences=True, name="code")
            self.last, self.out = layers.LSTM(5), layers.Dense(2, activation="softmax")

        def call(self, x):
            code = self.code(x)
            self.add_loss(0.5 * ops.mean(ops.square(code)))
            return self.out(self.last(code))

    return Own()


@pytest.mark.parametrize("again", [rekur.models.clone_model, lambda m: rekur.Model.from_config(m.get_config())])
def test_clones_add_it_too(rng, again):
    model = sequence_model()
    twin = again(model)
    twin.set_weights(model.get_weights())
    x, y = sequence_data(rng)
    for each in (model, twin):
        each.compile("sgd", "categorical_crossentropy")
    assert twin.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
    assert rekur.models.clone_model(twin).spec["layers"] == model.spec["layers"]


def test_a_layer_called_twice_adds_twice_and_a_model_within_adds_too(rng):
    x = rekur.Input((3,))
    adding = Adding(lambda x: ops.sum(x))
    inner = rekur.Model(x, adding(adding(x)))
    model = rekur.Model(y := rekur.Input((3,)), inner(y))
    model.compile("sgd", "mse")
    data = rng.normal(size=(4, 3)).astype("float32")
    assert model.evaluate(data, data, verbose=0) == pytest.approx(2 * data.sum(), rel=1e-5)


def test_predictions_and_gradients_of_ones_own_leave_out_what_only_the_loss_needs(rng):
    x = rekur.Input((None, 3))
    code = layers.LSTM(4, return_sequences=True)(x)
    model = rekur.Model(x, layers.Dense(2)(code), seed=1)
    data = rng.normal(size=(1, 5, 3)).astype("float32")
    outputs = model.predict(data, verbose=0)
    ids = rekur.Input((None,), dtype="int32")
    table = layers.Embedding(2, 4)(ids)  # which would find that 9 is no id
    model = rekur.Model([x, ids], model.outputs)
    model.add_loss(ops.sum(layers.GlobalAveragePooling1D()(code)) + ops.mean(table))
    data = [data, np.full((1, 3), 9, "int32")]
    np.testing.assert_array_equal(model.predict(data, verbose=0), outputs)
    plain = rekur.Model(model.inputs, model.outputs)
    given = [np.ones_like(outputs)]
    found = model.gradients(data, given)[1]  # of one's own: those of the outputs alone
    assert not found.pop("embedding/embeddings").any()
    for name, gradient in plain.gradients(data, given)[1].items():
        np.testing.assert_array_equal(found.pop(name), gradient)
    assert not found


def test_onnx_files_leave_it_out(rng, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    model = sequence_model()
    plain = rekur.Model(model.inputs, model.outputs)
    report = rekur.onnx.export(model, tmp_path / "model.onnx")
    assert report.nodes == rekur.onnx.export(plain, tmp_path / "plain.onnx").nodes
    rekur.onnx.export(model, tmp_path / "step.onnx", streaming=True)


@pytest.mark.parametrize(
    "loss",
    [
        losses.MeanSquaredError(),
        losses.MeanAbsoluteError(reduction="sum"),
        losses.Huber(0.5),
        losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
        losses.CategoricalCrossentropy(from_logits=True),
        losses.LogCosh(),
        losses.CosineSimilarity(),
    ],
    ids=lambda loss: loss.name,
)
def test_a_loss_of_tensors_is_the_loss_that_compile_takes(rng, loss):
    class End(rekur.Layer):
        def call(self, target, output):
            self.add_loss(loss(target, output))
            return output

    x, t = rekur.Input((3,)), rekur.Input((4,))
    output = layers.Dense(4)(x)
    plain = rekur.Model(x, output, seed=1)
    ended = rekur.Model([x, t], End()(t, output))
    plain.compile("sgd", loss)
    ended.compile("sgd")
    data, target = rng.normal(size=(9, 3)), rng.uniform(size=(9, 4))
    assert ended.evaluate([data, target], verbose=0) == pytest.approx(plain.evaluate(data, target, verbose=0), rel=1e-5)


def test_sample_weights_of_a_loss_of_tensors_count_rows(rng):
    x, w = rekur.Input((3,)), rekur.Input((1,))
    model = rekur.Model([x, w], layers.Dense(3)(x))
    model.add_loss(losses.MeanSquaredError()(x, x + 1.0, w))
    model.compile("sgd")
    weight = rng.uniform(size=(5, 1))
    assert model.evaluate([rng.normal(size=(5, 3)), weight], verbose=0) == pytest.approx(weight.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: ops.sqrt(ops.mean(x)), "cannot go into ops.sqrt"),
        (lambda x: ops.mean(x) * ops.mean(x), "cannot be multiplied by a tensor"),
        (lambda x: x + ops.mean(x), "cannot be added to a tensor"),
        (lambda x: ops.maximum(ops.mean(x), 0.0), "cannot go into ops.maximum"),
        (lambda x: ops.max(x), "no such reduction"),
        (lambda x: float(ops.mean(x)), "cannot be a number of Python"),
        (lambda x: x if ops.mean(x) > 0 else -x, "cannot be compared"),
        (lambda x: x if ops.mean(x) == 0 else -x, "cannot be compared"),
        (lambda x: ops.mean(x) ** 2, "cannot be computed with"),
        (lambda x: 1 / ops.mean(x), "cannot be computed with"),
        (lambda x: abs(ops.mean(x)), "cannot be computed with"),
        (lambda x: ops.mean(x)[0], "cannot be looked into"),
        (lambda x: list(ops.mean(x)), "cannot be looked into"),
        (lambda x: ops.mean(ops.mean(x), axis=-1), "cannot be reduced along an axis"),
        (lambda x: ops.sum(ops.mean(x), keepdims=True), "cannot be reduced along an axis"),
        (lambda x: int(ops.mean(x)), "cannot be a number of Python"),
        (lambda x: 0.0, "expected a tensor, ops.mean or ops.sum of one, got 0.0"),
        (lambda x: losses.SparseCategoricalCrossentropy()(x, x), "no equation of rows"),
    ],
)
def test_what_cannot_be_added_is_refused_with_its_line(function, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        dense_model(function)
    assert "test_add_loss.py" in str(caught.value)


def test_add_loss_outside_of_a_call_says_where_it_belongs():
    with pytest.raises(ValueError, match="belongs into `call`"):
        layers.Dense(2).add_loss(ops.sum(rekur.Input((3,))))
    model = sequence_model()
    with pytest.raises(ValueError, match=r"what is added to the loss depends on .* not among the inputs"):
        model.add_loss(ops.sum(rekur.Input((3,))))
    rng = np.random.default_rng(0)
    x, y = sequence_data(rng)
    model.compile("sgd", "categorical_crossentropy")
    model.fit(x, y, verbose=0)  # as it was


def test_a_sequential_has_no_place_for_it(tmp_path):
    model = rekur.Sequential([layers.Dense(2, input_shape=(3,)), layers.Dense(1)], name="listed")
    with pytest.raises(TypeError, match=r"'listed'.*list of layers"):
        model.add_loss(ops.sum(model.layers[0].output))
    model.save(tmp_path / "m.safetensors")
    assert rekur.load(tmp_path / "m.safetensors").spec == model.spec


def test_a_spec_that_reads_it_is_refused():
    spec = sequence_model().spec
    name = next(layer["name"] for layer in spec["layers"] if layer["type"] == "AddLoss")
    with pytest.raises(ValueError, match="gives nothing that"):
        rekur.Model.from_spec({**spec, "outputs": [name]})


KERAS = """
import os, json
import numpy as np
import {library} as keras
from {library} import ops


class Endpoint(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, targets, logits):
        self.add_loss(self.loss_fn(targets, logits))
        return ops.sigmoid(logits)


class Autoencoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.e, self.d = keras.layers.Dense(2, activation="tanh"), keras.layers.Dense(3)

    def call(self, x):
        z = self.e(x)
        self.add_loss(0.1 * ops.mean(ops.sum(ops.square(z), axis=1)))
        self.add_loss(1e-3 * ops.sum(ops.abs(z)) + 0.5)
        return self.d(z)


rng = np.random.default_rng(0)
x, y = rng.normal(size=(20, 3)).astype("f"), rng.integers(0, 2, (20, 1)).astype("f")


def trained(model, *data, **options):
    model.set_weights([np.random.default_rng(k).normal(size=w.shape) for k, w in enumerate(model.get_weights())])
    model.compile(keras.optimizers.SGD(0.1), **options)
    history = model.fit(*data, epochs=3, batch_size=7, shuffle=False, verbose=0).history
    return {{k: [float(v) for v in values] for k, values in history.items()}}


a, t = keras.Input((3,), name="a"), keras.Input((1,), name="t")
ended = keras.Model([a, t], Endpoint()(t, keras.layers.Dense(1)(a)))
auto = Autoencoder()
auto(x)
print(json.dumps([trained(ended, {{"a": x, "t": y}}), trained(auto, x, x, loss="mse", metrics=["mae"])]))
"""


def test_histories_are_those_of_keras():
    pytest.importorskip("keras")
    found = []
    for library in ("rekur", "keras"):
        child = subprocess.run(
            [sys.executable, "-c", KERAS.format(library=library)],
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(child.stdout.splitlines()[-1]))
    for ours, theirs in zip(*found, strict=True):
        assert list(ours) == list(theirs)
        for key in ours:
            np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5)
