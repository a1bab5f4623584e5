"""Files: what comes back is what went in, and training goes on as if it had never stopped."""

import json

import numpy as np
import pytest

import rekur
from rekur import Input, Model, Sequential, layers, losses, optimizers


def _everything():
    x, ids, h = Input((None, 3), name="x"), Input((None,), dtype="int32", name="ids"), Input((4,), name="h")
    e = layers.Embedding(7, 3, embeddings_initializer=rekur.initializers.RandomNormal(0, 0.3))(ids)
    a = layers.Bidirectional(layers.GRU(4, return_sequences=True, reset_after=False), merge_mode="ave")(x)
    b = layers.SimpleRNN(4, activation=rekur.activations.LeakyReLU(0.1), return_sequences=True, reverse=True)(e)
    _, s, c = layers.LSTM(4, return_state=True, unit_forget_bias=False, bias_initializer="he_normal")(
        layers.Dropout(0.25)(a), initial_state=[h, h]
    )
    last = layers.GRU(4)(b)
    y = layers.Dense(3, activation="softmax", name="y")(layers.Concatenate()([s, c, last]))
    z = layers.Activation("tanh", name="z")(layers.Add()([layers.Multiply()([s, last]), c]))
    return Model([x, ids, h], [y, z], name="everything", seed=11)


def _data():
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(12, 5, 3)), rng.integers(0, 7, size=(12, 4)), rng.normal(size=(12, 4))]
    return x, [rng.integers(0, 3, size=12), rng.normal(size=(12, 4))]


def test_round_trip_of_every_layer(tmp_path):
    model, (x, _) = _everything(), _data()
    path = tmp_path / "m.safetensors"
    model.save(path)
    loaded = rekur.load(path)
    assert loaded.spec == model.spec
    assert loaded.name == "everything"
    for a, b in zip(model.predict(x), loaded.predict(x), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert Model.from_spec(model.spec).spec == model.spec
    with pytest.raises(RuntimeError, match="not compiled"):
        loaded.fit(*_data())
    assert loaded.seed == 11


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0),
        optimizers.RMSprop(0.002, momentum=0.5),
        optimizers.Adam(0.01, global_clipnorm=0.5),
        optimizers.AdamW(0.01, clipvalue=0.1),
    ],
    ids=lambda o: o.name,
)
def test_continuing_equals_never_having_stopped(tmp_path, optimizer):
    x, y = _data()
    path = tmp_path / "m.safetensors"

    def compiled():
        model = _everything()
        both = [losses.SparseCategoricalCrossentropy(), losses.Huber(0.7)]
        model.compile(optimizer, both, [["accuracy"], ["mae"]], [1.0, 0.5], seed=99)
        return model

    straight = compiled()
    expected = straight.fit(x, y, batch_size=5, epochs=4, verbose=0).history
    stopped = compiled()
    stopped.fit(x, y, batch_size=5, epochs=2, verbose=0)
    stopped.save(path)
    resumed = rekur.load(path)
    assert resumed.metrics_names == ["loss", "y_loss", "z_loss", "y_accuracy", "z_mae"]
    assert resumed.optimizer.config() == optimizer.config()
    history = resumed.fit(x, y, batch_size=5, epochs=4, initial_epoch=2, verbose=0).history
    assert {k: v[2:] for k, v in expected.items()} == history
    for a, b in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_changed_learning_rate_is_saved(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.123
    model.save(tmp_path / "m")
    assert rekur.load(tmp_path / "m").optimizer.learning_rate == 0.123


def test_metrics_of_python_are_left_out_with_a_warning(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(2,))])

    def bias(y_true, y_pred):
        return np.mean(y_pred - y_true, axis=-1)

    model.compile("sgd", "mse", metrics=[bias, "mae"])
    with pytest.warns(UserWarning, match="bias"):
        model.save(tmp_path / "m")
    assert rekur.load(tmp_path / "m").metrics_names == ["loss", "mae"]


def test_weights_alone(tmp_path):
    def make(units=2, name="a"):
        model = Sequential([layers.LSTM(units, input_shape=(3, 1), name=name), layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    model, x = make(), np.ones((4, 3, 1))
    model.fit(x, np.ones(4), verbose=0)
    model.save(tmp_path / "all")
    model.save_weights(tmp_path / "weights")
    for name in ("all", "weights"):
        other = make()
        other.load_weights(tmp_path / name)
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
        other.fit(x, np.ones(4), verbose=0)
    larger, renamed = make(3), make(name="b")
    before = larger.predict(x)
    with pytest.raises(ValueError, match=r"expected 'a/kernel' of shape \(1, 12\), the file has 'a/kernel'.*\(1, 8\)"):
        larger.load_weights(tmp_path / "weights")
    np.testing.assert_array_equal(larger.predict(x), before)
    with pytest.raises(ValueError, match=r"expected 'b/kernel'.*the file has 'a/kernel'"):
        renamed.load_weights(tmp_path / "weights")
    shorter = Sequential([layers.LSTM(2, input_shape=(3, 1), name="a")])
    with pytest.raises(ValueError, match="expected no further parameter, the file has 'dense/kernel'"):
        shorter.load_weights(tmp_path / "weights")
    with pytest.raises(OSError, match="none"):
        model.load_weights(tmp_path / "none")


def test_damaged_files(tmp_path):
    path = tmp_path / "m.safetensors"
    _everything().save(path)
    whole = path.read_bytes()
    with pytest.raises(OSError, match="none"):
        rekur.load(tmp_path / "none")
    for content, reason in [
        (b"", "it is an empty file"),
        (whole[:20], "truncated: a header of"),
        (whole[:-1], "bytes of data, the file has"),
        (whole + b"\0", "bytes of data, the file has"),
        (b"hello world" * 9, "it is a text file"),
        (whole[:8] + b"x" + whole[9:], "header does not begin"),
        (whole.replace(b"LSTM", b"LSTN"), "layer .*: unknown layer type 'LSTN'.*'LSTM'"),
    ]:
        path.write_bytes(content)
        with pytest.raises(OSError, match=rf"m\.safetensors.*{reason}"):
            rekur.load(path)
    with pytest.raises(OSError, match=r"cannot write .*no such folder"):
        _everything().save(tmp_path / "no such folder" / "m")


def test_hostile_specs():
    spec = Sequential([layers.LSTM(2, input_shape=(3, 1))]).spec
    unknown = json.loads(json.dumps(spec).replace('"LSTM"', '"LTSM"'))
    with pytest.raises(ValueError, match="LTSM"):
        Model.from_spec(unknown)
    spec["layers"][1]["lambda"] = "print(1)"
    with pytest.raises(ValueError, match="lambda"):
        Model.from_spec(spec)


def test_hostile_training_part(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    for training in ('{"optimizer": {"name": "adam"}}', "[1]", "{", '{"model_seed": "a"}'):
        model._engine().save(str(tmp_path / "m"), {}, {"rekur.training": training})
        with pytest.raises(ValueError, match="training part"):
            rekur.load(tmp_path / "m")


@pytest.mark.parametrize("write", ["save", "save_weights"])
def test_a_saved_sequential_is_a_sequential_again(tmp_path, write):
    model = Sequential([layers.LSTM(4, input_shape=(None, 3)), layers.Dense(2)], seed=3)
    model.compile("adam", "mse")
    getattr(model, write)(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert type(again) is Sequential
    assert [layer.name for layer in again.layers] == ["lstm", "dense"]
    assert [type(layer) for layer in again.layers] == [layers.LSTM, layers.Dense]
    assert again.spec == model.spec
    again.add(layers.Dense(1))
    assert again.output_shape == (None, 1)
    assert np.array_equal(again.layers[0].get_weights()[0], model.layers[0].get_weights()[0])


def test_a_saved_graph_is_a_graph_again_also_where_it_is_a_chain(tmp_path):
    x = rekur.Input((None, 3))
    model = Model(x, layers.Dense(2)(layers.LSTM(4)(x)))
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert type(again) is Model
    assert [layer.name for layer in again.layers] == ["input", "lstm", "dense"]


def test_a_file_that_does_not_say_what_it_was_is_a_graph(tmp_path):
    model = Sequential([layers.LSTM(4, input_shape=(None, 3)), layers.Dense(2)], seed=3)
    model._engine().save(str(tmp_path / "m"), {}, {"rekur.training": '{"model_seed": 3}'})
    old = rekur.load(tmp_path / "m")
    assert type(old) is Model
    assert old.seed == 3
    again = Sequential.from_spec(old.spec)
    again.set_weights(old.get_weights())
    x = np.ones((2, 4, 3), np.float32)
    assert np.array_equal(again.predict(x), model.predict(x))
    for given in ('"Forest"', "3"):
        model._engine().save(str(tmp_path / "m"), {}, {"rekur.training": f'{{"model_class": {given}}}'})
        with pytest.raises(ValueError, match=r"training part of the file is not valid.*'model_class' must be"):
            rekur.load(tmp_path / "m")
