"""Layers and models as plain data: configurations, JSON, clones, weights with names, files by name."""

import copy
import json
import pickle

import numpy as np
import pytest

import rekur
from rekur import Model, Sequential, layers, models
from rekur.layers import Input

RANDOM = np.random.default_rng(5)


def _shared():
    """A functional model: two inputs, a layer called twice, a model within a model, a wrapper."""
    inner = Sequential([layers.Dense(4, activation="relu"), layers.LayerNormalization()], name="inner")
    a, b = Input((6, 3), name="a"), Input((6, 3), name="b")
    lstm = layers.LSTM(4, return_sequences=True, name="both", kernel_regularizer="l2")
    merged = layers.Subtract(name="apart")([lstm(a), lstm(b)])
    steps = layers.TimeDistributed(inner, name="steps")(merged)
    turned = layers.Bidirectional(layers.GRU(2), merge_mode="sum", name="turned")(steps)
    frozen = layers.Dense(3, name="frozen", trainable=False)(turned)
    return Model([a, b], [frozen, layers.Dense(1, name="out")(turned)], name="shared")


def _chain():
    return Sequential(
        [
            layers.Embedding(11, 4, mask_zero=True),
            layers.Conv1D(3, 2, padding="causal"),
            layers.LSTM(3),
            layers.Dense(2),
        ],
        name="chain",
    )


def _arrays(model):
    rows = 5
    found = []
    for name, shape, dtype in model._engine().inputs:
        size = (rows, *(7 if n is None else n for n in shape[1:]))
        ids = RANDOM.integers(0, 7, size).astype(np.int32)
        found.append(ids if dtype == "int32" else RANDOM.normal(size=size).astype(np.float32))
        assert name
    return found


def _alike(one, other):
    """Two models of the same weights give the same bits."""
    other.set_weights(one.get_weights())
    arrays = _arrays(one)
    for a, b in zip(_listed(one.predict(arrays)), _listed(other.predict(arrays)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [w.path for w in one.weights] == [w.path for w in other.weights]
    assert [w.trainable for w in one.weights] == [w.trainable for w in other.weights]


def _listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("made", [_shared, _chain])
@pytest.mark.parametrize("way", ["config", "json", "clone"])
def test_a_model_made_again_of_its_configuration_computes_the_same(made, way):
    model = made()
    if way == "config":
        twin = type(model).from_config(json.loads(json.dumps(model.get_config())))
    elif way == "json":
        twin = models.model_from_json(model.to_json(indent=1))
    else:
        twin = models.clone_model(model)
    assert type(twin) is type(model)
    assert twin.name == model.name
    twin._engine()
    if made is _shared:
        assert len(twin.get_layer("both")._calls) == 2  # shared here as there
        old, new = (m.get_layer("both").get_weights()[0] for m in (model, twin))
        assert not np.array_equal(old, new)
    model._engine()
    _alike(model, twin)
    assert json.dumps(twin.get_config()) == json.dumps(model.get_config())


def test_json_holds_what_the_model_was_compiled_with():
    model = _shared()
    model.compile(
        rekur.optimizers.SGD(0.25, momentum=0.5), ["mse", "huber"], loss_weights=[1.0, 0.5], metrics=[["mae"], []]
    )
    twin = models.model_from_json(model.to_json())
    assert twin.get_compile_config() == model.get_compile_config()
    assert twin.optimizer.momentum == 0.5
    plain = models.model_from_json(_chain().to_json())
    assert plain.get_compile_config() is None
    with pytest.raises(RuntimeError, match="not compiled"):
        _ = plain.optimizer


def _places(value, path=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in pairs:
        yield (*path, key)
        yield from _places(entry, (*path, key))


def test_descriptions_that_are_none_are_refused_and_never_end_in_a_lookup():
    model = Model(x := Input((None, 3)), layers.Dense(2)(layers.Bidirectional(layers.LSTM(3))(x)))
    model.compile("adam", "mse")
    whole = json.loads(model.to_json())
    refused = 0
    for path in _places(whole):
        for value in (..., None, "x", []):
            twin = copy.deepcopy(whole)
            entry = twin
            for key in path[:-1]:
                entry = entry[key]
            if value is ...:
                del entry[path[-1]]
            else:
                entry[path[-1]] = value
            try:
                models.model_from_json(json.dumps(twin))
            except (ValueError, TypeError):
                refused += 1
    assert refused > 200
    for text, part in (
        ("x", "expected the JSON text of a model"), ("[]", "expected a dict with class_name"),
        ('{"class_name": "Sequential", "config": {}}', "there is no 'layers'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=part):
            models.model_from_json(text)


def test_a_sequential_that_does_not_know_its_input_has_a_configuration():
    model = Sequential([layers.LSTM(3), layers.Dense(1)])
    twin = Sequential.from_config(model.get_config())
    twin.build((None, 4, 2))
    model.build((None, 4, 2))
    _alike(model, twin)
    assert models.clone_model(Sequential([layers.LSTM(3)])).layers[0].units == 3


class Scaled(rekur.Layer):
    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, x, scale=1.0, other=None):
        y = self.dense(x) * scale
        return y if other is None else y + other

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Wide(Scaled):
    get_config = rekur.Layer.get_config


def test_layers_of_ones_own_are_made_by_their_class():
    x = Input((3,))
    h = layers.Dense(4)(x)
    model = Model(x, Scaled(4, name="mine")(h, scale=2.0, other=h))
    twin = models.clone_model(model)  # with the arguments of the call
    assert isinstance(twin.get_layer("mine"), Scaled)
    _alike(model, twin)
    chain = Sequential([Input((3,)), Scaled(4)])
    with pytest.raises(ValueError, match=r"no layer or model 'Scaled'.*custom_objects="):
        models.model_from_json(chain.to_json())
    _alike(chain, models.model_from_json(chain.to_json(), custom_objects={"Scaled": Scaled}))
    assert Scaled.from_config(Scaled(7, name="s", trainable=False).get_config()).trainable is False
    without = Sequential([Input((3,)), Wide(4)])
    _alike(without, models.clone_model(without))  # a copy, where the class does not say how it is made


def test_a_clone_function_gives_the_layers_and_may_share_them():
    model = _chain()
    model._engine()
    seen = []

    def wider(layer):
        seen.append(layer.name)
        config = layer.get_config()
        if isinstance(layer, layers.Dense):
            config["units"] = 5
        return type(layer).from_config(config)

    twin = models.clone_model(model, clone_function=wider)
    twin._engine()
    assert twin.output_shape == (None, 5)
    assert seen == [layer.name for layer in model.layers]
    x = Input((3,))
    dense = layers.Dense(2)
    first = Model(x, dense(x))
    y = Input((3,))
    second = models.clone_model(first, y, clone_function=lambda layer: layer)
    second.set_weights([np.ones((3, 2)), np.zeros(2)])
    assert first.get_weights()[0].sum() == 6
    calls = []
    third = models.clone_model(first, call_function=lambda layer, *inputs: calls.append(layer.name) or layer(*inputs))
    assert calls == [dense.name]
    assert third.output_shape == (None, 2)
    with pytest.raises(ValueError, match="expected 1 input_tensors, got 2"):
        models.clone_model(first, [y, Input((3,))])
    nested = models.clone_model(
        _shared(), clone_function=lambda m: seen.append(m.name) or copy.deepcopy(m), recursive=True
    )
    assert nested.count_params() == _shared().count_params()


def test_keras_descriptions_are_read_and_compute_what_keras_does():
    keras = pytest.importorskip("keras")
    kl = keras.layers
    x, other = keras.Input((5, 3)), keras.Input((5, 3))
    shared = kl.LSTM(4, return_sequences=True, kernel_regularizer="l2")
    h = kl.subtract([shared(x), shared(other)])
    h = kl.MultiHeadAttention(2, 3)(h, h, use_causal_mask=True)
    h = kl.TimeDistributed(kl.Dense(3, kernel_constraint=keras.constraints.MaxNorm(2.0)))(h)
    h = kl.Bidirectional(kl.GRU(2))(h)
    theirs = keras.Model([x, other], [kl.Dense(2, activation="tanh")(h), kl.LeakyReLU(negative_slope=0.3)(h)])
    chain = keras.Sequential([
        keras.Input((4,), dtype="int32"), kl.Embedding(7, 3), kl.GRU(3, reset_after=False), kl.Dropout(0.2), kl.Dense(1)
    ])  # fmt: skip
    chain.compile("adam", "mse")
    for model in (theirs, chain):
        ours = models.model_from_json(model.to_json())
        ours.set_weights(model.get_weights())
        arrays = _arrays(ours)
        given = arrays if len(arrays) > 1 else arrays[0]
        for a, b in zip(_listed(model.predict(given, verbose=0)), _listed(ours.predict(given)), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)


class Faulty(rekur.Layer):
    """Of which the constructor looks up what is not there."""

    def __init__(self, table, **options):
        super().__init__(**options)
        self.factor = {"a": 1.0}[table]

    def call(self, x):
        return x * self.factor


def test_an_error_of_ones_own_class_stays_what_it_is():
    x = rekur.Input((3,))
    config = rekur.Model(x, Scaled(2)(x)).get_config()
    for entry in config["layers"]:
        if entry["class_name"] == "Scaled":
            entry["config"] = {"table": "b"}
    with pytest.raises(KeyError, match="'b'"):
        models.Model.from_config(config, custom_objects={"Scaled": Faulty})


def test_weights_have_names_and_are_read_and_set():
    model = _shared()
    assert [w.path for w in model.get_layer("both").weights] == ["both/kernel", "both/recurrent_kernel", "both/bias"]
    kernel = model.get_layer("both").weights[0]
    assert (kernel.name, kernel.shape, kernel.dtype, kernel.ndim) == ("kernel", (3, 16), "float32", 2)
    assert kernel.assign(np.full((3, 16), 0.5)) is kernel
    np.testing.assert_array_equal(model.named_weights()["both/kernel"], np.full((3, 16), 0.5, np.float32))
    assert float(np.sum(kernel)) == 24
    assert [len(w) for w in model.weights] == [len(a) for a in model.get_weights()]
    assert [w.path for w in model.non_trainable_weights] == ["frozen/kernel", "frozen/bias"]
    assert len(model.trainable_variables) + len(model.non_trainable_variables) == len(model.variables)
    normalised = Sequential([Input((3,)), layers.BatchNormalization()])
    assert [w.name for w in normalised.layers[0].non_trainable_weights] == ["moving_mean", "moving_variance"]
    assert layers.Dense(2).weights == [] == Sequential([layers.Dense(2)]).weights
    with pytest.raises(ValueError, match=r"weight 'both/kernel': expected shape \(3, 16\), got \(3,\)"):
        kernel.assign(np.ones(3))
    assert kernel == model.weights[0]
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(kernel)


def test_weights_of_a_file_are_taken_by_name_and_mismatches_skipped(tmp_path):
    path = tmp_path / "m.safetensors"

    def made(units, second):
        return Sequential([Input((3,)), layers.Dense(units, name="first"), layers.Dense(1, name=second)])

    source = made(4, "second")
    source.save_weights(path)
    same = made(4, "other")
    with pytest.raises(ValueError, match=r"expected 'other/kernel' of shape.*the file has 'second/kernel'"):
        same.load_weights(path)
    before = same.layers[1].get_weights()
    same.load_weights(path, by_name=True)
    np.testing.assert_array_equal(same.layers[0].get_weights()[0], source.layers[0].get_weights()[0])
    np.testing.assert_array_equal(same.layers[1].get_weights()[0], before[0])
    wide = made(5, "second")
    kept = wide.layers[0].get_weights()[0]
    with pytest.raises(ValueError, match=r"expected 'first/kernel' of shape \(3, 5\), the file has 'first/kernel' of"):
        wide.load_weights(path, by_name=True)
    with pytest.warns(UserWarning, match="stay as they are.*first/kernel, first/bias, second/kernel"):
        wide.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(wide.layers[0].get_weights()[0], kept)
    np.testing.assert_array_equal(wide.layers[1].get_weights()[1], source.layers[1].get_weights()[1])


def test_the_last_layer_of_a_sequential_is_taken_away_and_goes_elsewhere():
    model = Sequential([Input((3,)), layers.Dense(4), layers.Dense(2), layers.Dense(1)])
    model.set_weights([w + 1 for w in model.get_weights()])
    first = [a.copy() for a in model.layers[0].get_weights()]
    assert model.predict(np.ones((2, 3), np.float32)).shape == (2, 1)
    x = RANDOM.normal(size=(2, 3)).astype(np.float32)
    last = model.pop()
    assert last.units == 1
    assert model.output_shape == (None, 2)
    assert len(model.layers) == 2
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], first[0])
    assert model.predict(x).shape == (2, 2)
    model.add(layers.Dense(6))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((2, 6)), verbose=0)
    again = Sequential([Input((5,)), last])
    assert again.predict(np.zeros((1, 5))).shape == (1, 1)
    waiting = Sequential([layers.Dense(1)])
    waiting.pop()
    for empty in (waiting, Sequential([Input((3,))])):
        with pytest.raises(ValueError, match="has no layers"):
            empty.pop()


def test_initialisers_and_the_tables_of_embeddings_go_through_configurations():
    from rekur import initializers

    for made in (
        initializers.RandomUniform(-1.0, 2.0, seed=3),
        initializers.Constant(0.5),
        initializers.VarianceScaling(2.0, "fan_out", "uniform"),
        initializers.LogUniform(0.1, 0.2),
        initializers.Zeros(),
    ):
        assert type(made).from_config(made.get_config()).to_spec() == made.to_spec()
    table = RANDOM.normal(size=(4, 2)).astype(np.float32)
    constant = initializers.Constant(table)
    assert initializers.Constant.from_config(constant.get_config())._array.shape == (4, 2)
    assert "array of shape (4, 2)" in repr(constant)
    model = Sequential([layers.Embedding(4, 2, embeddings_initializer=constant)])
    for twin in (models.model_from_json(model.to_json()), models.clone_model(model)):
        np.testing.assert_array_equal(twin.get_weights()[0], table)


def test_a_slope_is_given_once():
    with pytest.raises(TypeError, match="give one of them"):
        layers.LeakyReLU(negative_slope=0.1, alpha=0.2)
    assert layers.LeakyReLU(alpha=0.2).negative_slope == 0.2


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_everything_of_a_compiled_model_is_copied_and_pickled(duplicate):
    model = _shared()
    model.compile(
        rekur.optimizers.Adam(rekur.optimizers.schedules.ExponentialDecay(0.01, 5, 0.9)), ["mse", rekur.losses.Huber()],
        metrics=[["mae"], [rekur.metrics.RootMeanSquaredError()]],
    )  # fmt: skip
    x, y = _arrays(model), [RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(5, 1))]
    model.fit(x, y, epochs=2, verbose=0)
    twin = duplicate(model)
    assert twin.get_layer("both") is not model.get_layer("both")
    assert twin.history.history == model.history.history
    for one in (model, twin):
        one.fit(x, y, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for thing in (
        rekur.callbacks.BackupAndRestore("b"), rekur.callbacks.TensorBoard("t"), rekur.callbacks.LearningRateFinder(),
        rekur.callbacks.RemoteMonitor(), rekur.callbacks.ProgbarLogger(), rekur.callbacks.ModelCheckpoint("m"),
        rekur.callbacks.CallbackList([rekur.callbacks.History()]), rekur.losses.Huber(),
        rekur.metrics.MeanSquaredError(), rekur.initializers.Constant(np.ones((2, 2))),
        rekur.regularizers.L2(0.1), rekur.constraints.MaxNorm(1.0), model.optimizer,
    ):  # fmt: skip
        assert type(duplicate(thing)) is type(thing)


def test_a_built_layer_takes_weights_before_there_is_a_model():
    table = RANDOM.normal(size=(5, 3)).astype(np.float32)
    embedding = layers.Embedding(5, 3, trainable=False)
    with pytest.raises(ValueError, match="has no weights yet"):
        embedding.set_weights([table])
    embedding.build((1,))
    embedding.set_weights([table])
    np.testing.assert_array_equal(embedding.get_weights()[0], table)
    model = Sequential([embedding, layers.GlobalAveragePooling1D()])
    np.testing.assert_allclose(model.predict(np.array([[4, 4]])), table[4:], rtol=1e-6)
    wrong = layers.Dense(2)
    wrong.build((None, 3))
    wrong.set_weights([np.ones((4, 2)), np.zeros(2)])
    with pytest.raises(ValueError, match=r"expected 'dense/kernel' of shape \(3, 2\), got \(4, 2\)"):
        Model(x := Input((3,)), wrong(x))
