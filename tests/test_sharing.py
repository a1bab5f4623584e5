"""Layers called more than once, models made of the same layers, models within models, layers that are not trained."""

import copy
import pickle

import numpy as np
import pytest

import rekur
from rekur import Input, Model, Sequential, layers

RNG = np.random.default_rng(5)
X = RNG.standard_normal((8, 6, 3)).astype(np.float32)
X2 = RNG.standard_normal((8, 6, 3)).astype(np.float32)


def predict(model, *x):
    return model.predict(list(x) if len(x) > 1 else x[0], verbose=0)


def siamese(seed=1):
    """Two sequences through one encoder; a head on their difference."""
    encoder = Sequential([layers.LSTM(5, input_shape=(None, 3)), layers.Dense(4)], name="encoder", seed=seed)
    a, b = Input((None, 3), name="a"), Input((None, 3), name="b")
    difference = layers.Subtract()([encoder(a), encoder(b)])
    return encoder, Model([a, b], layers.Dense(2, name="head")(difference), seed=seed)


def fit(model, x, y, epochs=2):
    model.compile("adam", "mse")
    model.fit(x, y, epochs=epochs, batch_size=4, verbose=0)


def test_a_layer_called_twice_has_its_weights_once_and_gradients_of_both():
    lstm, dense = layers.LSTM(5), layers.Dense(2)
    a, b = Input((None, 3)), Input((None, 3))
    shared = Model([a, b], layers.Subtract()([dense(lstm(a)), dense(lstm(b))]), seed=3)
    assert len(shared.get_weights()) == 5
    assert shared.spec["version"] == 2
    assert [call["layer"] for call in shared.spec["calls"]].count("lstm") == 2
    one = Model(a, dense(lstm(a)))
    assert np.array_equal(predict(shared, X, X2), predict(one, X) - predict(one, X2))
    # The gradient of Σ dy (f(x) − f(x2)) is that of f on x, less that on x2.
    engine, single = shared._engine(), one._engine()
    dy = RNG.standard_normal((8, 2)).astype(np.float32)
    _, tape = engine.forward([X, X2])
    found, _ = engine.backward(tape, [dy])
    expected = np.zeros_like(found, dtype=np.float64)
    for x, sign in ((X, 1), (X2, -1)):
        _, tape = single.forward([x])
        expected += sign * single.backward(tape, [dy])[0].astype(np.float64)
    assert np.allclose(found, expected, atol=2e-5)


def test_names_of_calls_and_errors_of_shapes():
    dense = layers.Dense(2)
    x = Input((3,))
    y = dense(x)
    assert (y.name, dense(x).name) == ("dense", "dense_1")
    with pytest.raises(ValueError, match="called 2 times"):
        _ = dense.output
    with pytest.raises(ValueError, match=r"the call 'dense_1' needs its weight 'kernel' of shape \(2, 2\)"):
        Model(x, dense(y))
    with pytest.raises(ValueError, match="not called yet"):
        _ = layers.Dense(2).input


def test_models_of_the_same_layers_share_weights_whoever_is_trained_or_set():
    x = Input((None, 3))
    h = layers.GRU(5, return_sequences=True, name="low")(x)
    top = layers.GRU(4, name="high")(h)
    model = Model(x, layers.Dense(1)(top), seed=2)
    features = Model(model.input, model.get_layer("high").output)
    tail = Model(model.get_layer("low").output, model.output)
    assert tail.input_names == ["low"]
    sequence = Model(x, h)

    def agrees():
        assert np.array_equal(predict(tail, predict(sequence, X)), predict(model, X))
        assert np.array_equal(predict(features, X), predict(Model(x, top), X))

    agrees()
    fit(model, X, np.ones((8, 1), np.float32))
    agrees()
    before = predict(model, X)
    fit(features, X, np.zeros((8, 4), np.float32))
    assert not np.array_equal(before, predict(model, X))
    agrees()
    model.get_layer("low").set_weights([w * 0.5 for w in sequence.get_weights()])
    agrees()
    tail.set_weights([w * 2 for w in tail.get_weights()])
    agrees()
    with pytest.raises(ValueError, match="depend on Input"):
        Model(tail.input, Model(x, top).output)


def test_a_model_is_a_layer_of_another_one():
    encoder, model = siamese()
    assert model.layers[2] is encoder is model.get_layer("encoder")
    assert [p for p in model.named_weights()][:2] == ["encoder.lstm/kernel", "encoder.lstm/recurrent_kernel"]
    kernel, bias = model.get_layer("head").get_weights()
    assert np.allclose(predict(model, X, X2), (predict(encoder, X) - predict(encoder, X2)) @ kernel + bias, atol=1e-6)
    fit(model, [X, X2], np.ones((8, 2), np.float32))
    kernel, bias = model.get_layer("head").get_weights()
    assert np.allclose(predict(model, X, X2), (predict(encoder, X) - predict(encoder, X2)) @ kernel + bias, atol=1e-6)
    lines = []
    model.summary(print_fn=lines.append)
    assert any(line.startswith("encoder (Sequential)") and " 204 " in line for line in lines)
    assert "Total params: 214 (856 B)" in lines

    deep = Input((None, 3))
    outer = Model(deep, Sequential([layers.Dense(1)], name="last")(Model(deep, encoder(deep), name="middle")(deep)))
    assert "middle.encoder.lstm/kernel" in outer.named_weights()
    assert np.array_equal(outer.get_layer("middle").get_layer("encoder").get_weights()[0], encoder.get_weights()[0])
    chain = Sequential([encoder, layers.Dense(3)])
    assert predict(chain, X).shape == (8, 3)
    two = Model(deep, [encoder(deep), outer(deep)])
    assert two.output_names == ["encoder", "model"]
    fit(two, X, {"encoder": np.ones((8, 4), np.float32), "model": np.ones((8, 1), np.float32)})
    with pytest.raises(ValueError, match=r"input 'encoder_input'.*|input '.*': expected float32 of shape"):
        encoder(Input((None, 7)))
    with pytest.raises(ValueError, match="has 1 inputs, was called on 2"):
        encoder([deep, deep])
    with pytest.raises(ValueError, match="no input 'c'"):
        model({"a": deep, "c": deep})
    assert np.array_equal(encoder(X), predict(encoder, X))


def test_a_sequential_that_grows_keeps_sharing():
    encoder, model = siamese()
    before = encoder.get_weights()
    encoder.add(layers.Dense(2, name="late"))
    assert all(np.array_equal(a, b) for a, b in zip(encoder.get_weights(), before, strict=False))
    fit(encoder, X, np.ones((8, 2), np.float32))
    assert np.array_equal(model.named_weights()["encoder.lstm/kernel"], encoder.get_weights()[0])
    assert not np.array_equal(before[0], encoder.get_weights()[0])


@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
def test_files_and_copies_keep_models_within_calls_and_what_is_frozen(way, tmp_path):
    encoder, model = siamese()
    fit(model, [X, X2], np.ones((8, 2), np.float32))
    encoder.trainable = False
    model.get_layer("head").lr_scale = 0.25
    if way == "file":
        model.save(tmp_path / "m.safetensors")
        twin = rekur.load(tmp_path / "m.safetensors")
    else:
        twin = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    assert twin.spec == model.spec
    assert np.array_equal(predict(twin, X, X2), predict(model, X, X2))
    inner = twin.get_layer("encoder")
    assert isinstance(inner, Sequential)
    assert [layer.trainable for layer in (inner, *inner.layers)] == [False] * 3
    assert twin.get_layer("head").lr_scale == 0.25
    assert np.array_equal(predict(inner, X), predict(encoder, X))
    frozen = inner.get_weights()
    fit(twin, [X, X2], np.ones((8, 2), np.float32))
    assert all(np.array_equal(a, b) for a, b in zip(inner.get_weights(), frozen, strict=True))
    assert np.array_equal(encoder.get_weights()[0], frozen[0])  # nothing is shared with a copy
    inner.trainable = True
    fit(twin, [X, X2], np.ones((8, 2), np.float32))
    assert not np.array_equal(inner.get_weights()[0], frozen[0])
    assert np.array_equal(twin.named_weights()["encoder.lstm/kernel"], inner.get_weights()[0])


@pytest.mark.parametrize("way", ["file", "pickle", "copy"])
def test_files_and_copies_keep_what_was_said_of_layers_put_together_of_others(way, tmp_path):
    x = rekur.Input((5, 3))
    turned = layers.LSTM(4, go_backwards=True, return_sequences=True, name="turned")
    model = rekur.Model(x, layers.SeparableConv1D(2, 3, name="last")(turned(x)))
    turned.trainable, model.get_layer("last").lr_scale = False, 0.5
    if way == "file":
        model.save(tmp_path / "m.safetensors")
        twin = rekur.load(tmp_path / "m.safetensors")
    else:
        twin = pickle.loads(pickle.dumps(model)) if way == "pickle" else copy.deepcopy(model)
    said = [(layer.trainable, layer.lr_scale) for layer in twin.layers]
    assert said == [(True, 1.0), (False, 1.0), (True, 0.5)]


def test_what_is_frozen_keeps_its_bits_and_the_rest_is_trained_at_once():
    model = Sequential(
        [layers.GRU(4, return_sequences=True, input_shape=(None, 3)), layers.LSTM(3), layers.Dense(1)], seed=4
    )
    y = np.ones((8, 1), np.float32)
    model.compile("adam", "mse")
    model.layers[0].trainable = False
    start = model.get_weights()
    model.fit(X, y, epochs=1, verbose=0)
    after = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(start[:3], after[:3], strict=True))
    assert not np.array_equal(start[3], after[3])
    model.layers[0].trainable = True
    model.train_on_batch(X, y)
    assert not np.array_equal(after[0], model.get_weights()[0])
    lines = []
    model.trainable = False
    model.summary(print_fn=lines.append)
    assert "Trainable params: 0 (0 B)" in lines
    assert any(line.startswith("gru (GRU, frozen)") for line in lines)
    frozen = model.get_weights()
    model.fit(X, y, epochs=2, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(frozen, model.get_weights(), strict=True))
    assert layers.Dense(2, trainable=False).trainable is False
    assert Sequential([layers.Dense(1, input_shape=(2,))], trainable=False).layers[0].trainable is False


def test_adversaries_train_in_turns():
    """A generator and a discriminator: the whole trains the one while the other is frozen."""
    generator = Sequential([layers.Dense(3, input_shape=(2,))], name="generator")
    discriminator = Sequential(
        [layers.Dense(4, activation="relu", input_shape=(3,)), layers.Dense(1)], name="discriminator"
    )
    discriminator.compile("adam", "mse")
    noise = Input((2,))
    both = Model(noise, discriminator(generator(noise)))
    both.compile("adam", "mse")
    z, ones = RNG.standard_normal((8, 2)).astype(np.float32), np.ones((8, 1), np.float32)
    for _ in range(3):
        discriminator.trainable = True
        g, d = generator.get_weights(), discriminator.get_weights()
        discriminator.train_on_batch(predict(generator, z), ones)
        assert np.array_equal(g[0], generator.get_weights()[0]) and not np.array_equal(
            d[0], discriminator.get_weights()[0]
        )
        discriminator.trainable = False
        g, d = generator.get_weights(), discriminator.get_weights()
        both.train_on_batch(z, ones)
        assert np.array_equal(d[0], discriminator.get_weights()[0]) and not np.array_equal(
            g[0], generator.get_weights()[0]
        )


def test_an_inference_model_of_the_layers_of_a_trained_one():
    """Sequence to sequence with states: the idiom of every tutorial."""
    encoder_inputs = Input((None, 4))
    _, h, c = layers.LSTM(6, return_state=True)(encoder_inputs)
    decoder_inputs = Input((None, 5))
    decoder_lstm = layers.LSTM(6, return_sequences=True, return_state=True)
    outputs, _, _ = decoder_lstm(decoder_inputs, initial_state=[h, c])
    decoder_dense = layers.Dense(5, activation="softmax")
    model = Model([encoder_inputs, decoder_inputs], decoder_dense(outputs))
    model.compile("rmsprop", "categorical_crossentropy")
    source = RNG.standard_normal((8, 7, 4)).astype(np.float32)
    target = np.eye(5, dtype=np.float32)[RNG.integers(0, 5, (8, 6))]
    model.fit([source, target], target, epochs=1, verbose=0)

    encoder = Model(encoder_inputs, [h, c])
    state = [Input((6,)), Input((6,))]
    outputs, h2, c2 = decoder_lstm(decoder_inputs, initial_state=state)
    decoder = Model([decoder_inputs, *state], [decoder_dense(outputs), h2, c2])
    states = encoder.predict(source, verbose=0)
    whole = model.predict([source, target], verbose=0)
    for t in range(6):
        step, *states = decoder.predict([target[:, t : t + 1], *states], verbose=0)
        assert np.allclose(step[:, 0], whole[:, t], atol=1e-6)


def test_onnx_writes_shared_weights_once(tmp_path):
    onnx = pytest.importorskip("onnx")
    _, model = siamese()
    rekur.onnx.export(model, tmp_path / "m.onnx")
    names = [i.name for i in onnx.load(tmp_path / "m.onnx").graph.initializer]
    assert sum(name.endswith("/W") for name in names) == 1
    assert np.allclose(
        rekur.onnx.load(tmp_path / "m.onnx").predict([X, X2], verbose=0), predict(model, X, X2), atol=1e-5
    )


def test_a_header_of_a_model_with_shared_layers_holds_its_spec(tmp_path):
    _, model = siamese()
    rekur.export_cpp(model, tmp_path / "m.hpp")
    text = (tmp_path / "m.hpp").read_text()
    assert '"version": 2' in text and "calls" in text
    assert text.count("recurrent_kernel_size") == 1


def test_names_that_both_models_chose_by_themselves_are_told_apart():
    a = Sequential([layers.Dense(3, input_shape=(2,))])
    b = Sequential([layers.Dense(3, input_shape=(2,))])
    x = Input((2,))
    model = Model(x, layers.Add()([a.layers[0](x), b.layers[0](x)]))
    assert [name for name in model.named_weights() if "kernel" in name] == ["dense/kernel", "dense_1/kernel"]
    assert model.get_layer("dense_1") is b.layers[0]
    assert np.array_equal(model.get_layer("dense_1").get_weights()[0], model.named_weights()["dense_1/kernel"])


def test_a_tree_that_does_not_fit_the_spec_is_no_file(tmp_path):
    _, model = siamese()
    tree = model._saved()["model_tree"]
    for spoil in (
        lambda t: t["layers"].pop(),
        lambda t: t["calls"].pop(),
        lambda t: t["layers"][2]["model"]["layers"].pop(),
        lambda t: t.update(outputs=["nowhere"]),
        lambda t: t["layers"][2].update(name="other"),
        lambda t: t["layers"][2]["model"].update({"class": "Layer"}),
    ):
        bad = copy.deepcopy(tree)
        spoil(bad)
        path = tmp_path / "m.safetensors"
        model._engine().save(str(path).encode(), {}, {"rekur.training": rekur._spec.dumps({"model_tree": bad})})
        with pytest.raises((ValueError, OSError)):
            rekur.load(path)


def test_an_embedding_begins_with_the_table_it_is_given_and_keeps_it_where_it_is_frozen():
    table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    model = rekur.Sequential(
        [rekur.layers.Embedding(7, 3, weights=[table], trainable=False), rekur.layers.GRU(2), rekur.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    ids = np.arange(14).reshape(2, 7) % 7
    model.fit(ids, np.ones(2), verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], table)
    twin = rekur.Sequential([rekur.layers.Embedding(7, 3, weights=[table]), rekur.layers.GRU(2)])
    twin.build((None, 5))
    twin.set_weights([np.zeros_like(w) for w in twin.get_weights()])
    twin.add(rekur.layers.Dense(1))  # the engine's model is made again, with the weights as they are
    assert not twin.predict(ids).any()
    with pytest.raises(ValueError, match=r"Embedding 'embedding': weights: expected .* of shape \(7, 3\)"):
        rekur.Sequential([rekur.layers.Embedding(7, 3, weights=[table[:5]])]).build((None, 5))
    with pytest.raises(TypeError, match="weights must be a list of arrays"):
        rekur.layers.Embedding(7, 3, weights=table)


def test_outputs_of_calls_of_one_layer_are_trained_together():
    """An output goes by the name of its call, which no layer has."""
    a, b = Input((None, 3)), Input((None, 3))
    dense, inner = layers.Dense(2), Sequential([layers.Dense(2, input_shape=(None, 3))])
    recurrent = layers.GRU(2, return_state=True)
    x, y = np.ones((2, 4, 3), np.float32), np.zeros((2, 4, 2), np.float32)
    for ends, targets in (
        ([dense(a), dense(b)], [y, y]),
        ([inner(a), inner(b)], [y, y]),
        ([recurrent(a)[0], recurrent(b)[1]], [y[:, 0], y[:, 0]]),
    ):
        model = Model([a, b], ends, seed=1)
        model.compile("sgd", "mse")
        before = model.evaluate([x, 2 * x], targets)[0]
        model.fit([x, 2 * x], targets, epochs=3, verbose=0)
        assert model.evaluate([x, 2 * x], targets)[0] < before
