"""Building models: Sequential, the functional form, names, weights, summary, the two programs everybody writes."""

import copy
import pickle

import numpy as np
import pytest

import rekur
from rekur import Input, Model, layers
from rekur.layers import LSTM, Dense, Dropout
from rekur.models import Sequential


def test_classifier_as_in_keras():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 10, 1))
    y = (X.sum(axis=(1, 2)) > 0).astype(int)

    # fmt: off
    model = Sequential()
    model.add(LSTM(50, input_shape=(10, 1)))
    model.add(Dense(1, activation='sigmoid'))
    model.compile(optimizer='adam', loss='binary_crossentropy', metrics=['accuracy'])
    model.fit(X, y, epochs=10, batch_size=32)
    loss, accuracy = model.evaluate(X, y)
    # fmt: on

    assert loss < 0.69
    assert accuracy > 0.7


def test_stacked_forecaster_as_in_keras(capfd):
    rng = np.random.default_rng(1)
    T, F = 12, 3
    X_train = rng.normal(size=(40, T, F))
    y_train = X_train[:, -1] * 0.5

    model = Sequential()
    model.add(LSTM(50, return_sequences=True, input_shape=(T, F)))
    model.add(Dropout(0.2))
    model.add(LSTM(50, return_sequences=True))
    model.add(Dropout(0.2))
    model.add(LSTM(50))
    model.add(Dropout(0.2))
    model.add(Dense(F))
    model.compile(loss='mean_squared_error', optimizer='adam')  # fmt: skip
    history = model.fit(X_train, y_train, epochs=8, batch_size=8, verbose=0)

    assert capfd.readouterr() == ("", "")
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.predict(X_train).shape == (40, F)


def test_names_within_a_model():
    model = Sequential([LSTM(3, return_sequences=True, input_shape=(4, 2)), LSTM(3), Dense(1, name="lstm_2"), Dense(2)])
    assert [layer.name for layer in model.layers] == ["lstm", "lstm_1", "lstm_2", "dense"]
    again = Sequential([LSTM(3, input_shape=(4, 2))])
    assert again.layers[0].name == "lstm"
    assert model.get_layer("lstm_1") is model.layers[1]
    assert model.get_layer(index=-1).units == 2
    with pytest.raises(ValueError, match="did you mean 'dense'"):
        model.get_layer("dens")
    with pytest.raises(ValueError, match="'a'"):
        Sequential([Dense(1, name="a", input_shape=(2,)), Dense(1, name="a")])


@pytest.mark.parametrize("first", ["input_shape", "Input", "InputLayer", "build", "data"])
def test_ways_to_say_what_goes_in(first):
    x = np.ones((2, 5, 3), np.float32)
    if first == "input_shape":
        model = Sequential([LSTM(4, input_shape=(None, 3)), Dense(1)])
    elif first == "Input":
        model = Sequential([Input((None, 3)), LSTM(4), Dense(1)])
    elif first == "InputLayer":
        model = Sequential([layers.InputLayer((None, 3)), LSTM(4), Dense(1)])
    else:
        model = Sequential([LSTM(4), Dense(1)])
        with pytest.raises(ValueError, match="does not know its input"):
            model.summary()
    if first == "build":
        model.build((None, None, 3))
    assert model.predict(x).shape == (2, 1)
    assert model.predict(x[:, :2]).shape == (2, 1)
    assert [type(layer).__name__ for layer in model.layers] == ["LSTM", "Dense"]
    assert model.output_shape == (None, 1)
    assert model.input_shape == (None, None, 3)


def test_embedding_first_needs_no_shape():
    model = Sequential([layers.Embedding(10, 4), LSTM(3), Dense(2)])
    assert model.predict(np.array([[1, 2, 9], [0, 0, 0]])).shape == (2, 2)


def test_failed_add_leaves_the_model_as_it_was():
    model = Sequential([LSTM(4, input_shape=(5, 3))])
    with pytest.raises(ValueError, match="LSTM 'lstm_1'"):
        model.add(LSTM(4))
    with pytest.raises(ValueError, match="several outputs"):
        Sequential([LSTM(4, return_state=True, input_shape=(5, 3))])
    model.add(Dense(2))
    assert [layer.name for layer in model.layers] == ["lstm", "dense"]


def test_add_keeps_the_weights_there_are():
    model = Sequential([LSTM(4, input_shape=(5, 3))], seed=1)
    before = [w + 0.5 for w in model.get_weights()]
    model.set_weights(before)
    model.add(Dense(2))
    for old, new in zip(before, model.get_weights(), strict=False):
        np.testing.assert_array_equal(old, new)


def test_functional_states_and_branches():
    a, b = Input((None, 3), name="a"), Input((4,), name="b")
    h = Dense(5, name="h0")(b)
    y, state_h, state_c = LSTM(5, return_sequences=True, return_state=True)(a, initial_state=[h, Dense(5)(b)])
    joined = layers.Concatenate()([state_h, state_c])
    out = Dense(2, name="out")(layers.Multiply()([Dense(6)(joined), Dense(6)(joined)]))
    model = Model([a, b], [y, out])
    assert y.shape == (None, None, 5)
    x = {"b": np.ones((2, 4)), "a": np.ones((2, 7, 3))}
    sequence, result = model.predict(x)
    assert sequence.shape == (2, 7, 5)
    assert result.shape == (2, 2)
    first, _ = model.predict([x["a"], x["b"]])
    np.testing.assert_array_equal(first, sequence)
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["lstm", "out"]
    assert [layer.type for layer in model.layers][:2] == ["Input", "Input"]


def test_initial_state_reaches_the_layer():
    x, h = Input((3, 2)), Input((4,))
    model = Model([x, h], layers.GRU(4)(x, initial_state=h), seed=0)
    data = np.ones((1, 3, 2), np.float32)
    assert np.abs(model.predict([data, np.ones((1, 4))]) - model.predict([data, np.zeros((1, 4))])).max() > 1e-3


def test_graph_mistakes_are_named():
    x = Input((5, 3), name="x")
    lstm = LSTM(4)
    y = lstm(x)
    with pytest.raises(TypeError, match="symbolic"):
        Dense(1)("x")
    other = Input((4,), name="other")
    with pytest.raises(ValueError, match="Input 'other'"):
        Model(x, layers.Add()([y, other]))
    with pytest.raises(ValueError, match=r"GRU 'gru'.*"):
        layers.GRU(4)(y)
    with pytest.raises(ValueError, match="in use in model 'sequential' already"):
        Sequential([Input((5, 3)), lstm, lstm])
    with pytest.raises(TypeError, match="expected a layer"):
        Sequential([Input((5, 3)), "LSTM"])


def test_unknown_arguments_are_explained():
    with pytest.raises(TypeError, match=r"return_sequence'.*did you mean 'return_sequences'"):
        LSTM(4, return_sequence=True)
    with pytest.raises(ValueError, match=r"go_backwards=True and reverse=True .*differ in the order"):
        LSTM(4, go_backwards=True, reverse=True)
    with pytest.raises(TypeError, match="low-rank adapters"):
        layers.Embedding(10, 4, lora_rank=2)
    with pytest.raises(ValueError, match="did you mean 'tanh'"):
        LSTM(4, activation="tahn")
    with pytest.raises(ValueError, match="did you mean 'concat'"):
        layers.Bidirectional(LSTM(4), merge_mode="concatt")
    for bad in (0, -1):
        with pytest.raises(ValueError, match="units must be at least 1"):
            Dense(bad)
    with pytest.raises(TypeError, match="units must be an integer"):
        Dense(2.5)
    with pytest.raises(ValueError, match="rate"):
        Dropout(1.0)
    with pytest.raises(ValueError, match="name"):
        Dense(1, name="a/b")


def test_arguments_that_ask_for_nothing_are_taken():
    plain = {"dropout": 0.0, "recurrent_dropout": 0, "go_backwards": False, "stateful": False, "unroll": False}
    model = Sequential([layers.Embedding(10, 4, mask_zero=False, input_length=6), LSTM(3, **plain), Dense(1)])
    assert model.input_shape == (None, 6)
    assert Sequential([Dense(1, input_dim=3)]).input_shape == (None, 3)
    with pytest.raises(TypeError, match="LSTM 'lstm' has no argument 'time_major': "):
        LSTM(3, time_major=True)
    with pytest.raises(TypeError, match="Dense 'dense' has no argument 'unroll'"):
        Dense(3, unroll=False)


def test_an_input_that_an_embedding_reads_holds_ids_whatever_its_dtype():
    ids = Input((4,), dtype="int64")
    assert ids.dtype == "int32"
    floats = Input((None,), name="words")  # Keras's default is float32, and holds ids all the same
    assert floats.dtype == "float32"
    y = layers.GRU(2)(layers.Embedding(5, 2)(floats))
    assert floats.dtype == floats.layer.dtype == "int32"
    model = Model(floats, y)
    assert model.spec["layers"][0]["dtype"] == "int32"
    assert model.predict(np.zeros((2, 4), np.int64), lengths=[1, 3]).shape == (2, 2)
    chain = Sequential([Input(shape=(None,)), layers.Embedding(5, 2), layers.GRU(2)])
    assert chain.predict([[1.0, 2.0]]).shape == (1, 2)
    with pytest.raises(ValueError, match="float64"):
        Input((4,), dtype="float64")


def test_an_input_that_no_embedding_can_read_stays_what_it_was():
    sequence, shared = Input((4, 2)), Input((4,))
    with pytest.raises(ValueError, match="Embedding 'embedding'"):
        layers.Embedding(5, 2)(sequence)
    assert sequence.dtype == sequence.layer.dtype == "float32"
    hidden = layers.Dense(3)(shared)
    words = layers.Embedding(5, 2)(shared)
    with pytest.raises(ValueError, match="Dense 'dense': expected a float32 input, got int32 ids"):
        Model(shared, [hidden, words])
    built = Input((4,))
    model = Model(built, layers.Dense(3)(built))
    model.predict(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="'embedding': Input 'input' is the float32 input of a model that is built"):
        layers.Embedding(5, 2)(built)
    assert model.predict(np.full((1, 4), 0.5)).shape == (1, 3)


def test_joining_functions():
    a, b = Input((3,)), Input((3,))
    joins = [layers.concatenate([a, b], axis=1), layers.add([a, b]), layers.multiply([a, b], name="m")]
    model = Model([a, b], [*joins, layers.subtract([a, b]), layers.divide([a, b])])
    x, y = np.full((1, 3), 2.0), np.full((1, 3), 5.0)
    joined, total, product, difference, quotient = model.predict([x, y])
    assert joined.tolist() == [[2, 2, 2, 5, 5, 5]]
    assert total.tolist() == [[7] * 3]
    assert product.tolist() == [[10] * 3]
    assert difference.tolist() == [[-3] * 3]
    np.testing.assert_allclose(quotient, [[0.4] * 3], rtol=1e-6)
    assert model.output_names[2] == "m"


def test_weights_in_keras_layout_and_order():
    model = Sequential([layers.Bidirectional(LSTM(3)), layers.Dense(2)])
    model.build((None, None, 5))
    shapes = {name: w.shape for name, w in model.named_weights().items()}
    assert shapes == {
        "bidirectional/forward/kernel": (5, 12), "bidirectional/forward/recurrent_kernel": (3, 12),
        "bidirectional/forward/bias": (12,), "bidirectional/backward/kernel": (5, 12),
        "bidirectional/backward/recurrent_kernel": (3, 12), "bidirectional/backward/bias": (12,),
        "dense/kernel": (6, 2), "dense/bias": (2,),
    }  # fmt: skip
    assert model.count_params() == sum(w.size for w in model.get_weights()) == 2 * (60 + 36 + 12) + 14
    assert model.layers[1].count_params() == 14
    new = [np.full(w.shape, i, np.float64) for i, w in enumerate(model.get_weights())]
    model.set_weights(new)
    assert all((w == i).all() for i, w in enumerate(model.get_weights()))
    model.layers[1].set_weights([np.ones((6, 2)), np.zeros(2)])
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], np.ones((6, 2)))
    assert (model.named_weights()["bidirectional/backward/bias"] == 5).all()
    with pytest.raises(ValueError, match="8 weights, got 1"):
        model.set_weights([np.ones(3)])
    with pytest.raises(ValueError, match=r"dense/bias.*\(2,\).*\(3,\)"):
        model.layers[1].set_weights([np.zeros((6, 2)), np.zeros(3)])
    np.testing.assert_array_equal(model.layers[1].get_weights()[0], np.ones((6, 2)))


def test_summary():
    model = Sequential([LSTM(50, input_shape=(10, 1)), Dense(1)])
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "lstm (LSTM)" in text
    assert "(None, 50)" in text
    assert "10,400" in text
    assert "Total params: 10,451 (40.82 KB)" in text
    assert "lstm" in next(line for line in lines if line.startswith("dense")).split()[-1]


def test_seeds():
    def weights(seed=None):
        return Sequential([LSTM(3, input_shape=(2, 2))], seed=seed).get_weights()[0]

    np.testing.assert_array_equal(weights(7), weights(7))
    assert (weights(7) != weights(8)).any()
    rekur.set_random_seed(3)
    first, second = weights(), weights()
    rekur.set_random_seed(3)
    np.testing.assert_array_equal(first, weights())
    np.testing.assert_array_equal(second, weights())
    assert (first != second).any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_are_independent(copied):
    x, y = np.random.default_rng(0).normal(size=(16, 4, 2)), np.zeros((16, 1))
    model = Sequential([LSTM(3, input_shape=(4, 2)), Dropout(0.5), Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, y, verbose=0)
    twin = copied(model)
    before = twin.get_weights()
    model.fit(x, y, epochs=2, initial_epoch=1, verbose=0)
    for a, b in zip(before, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    twin.fit(x, y, epochs=2, initial_epoch=1, verbose=0)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert twin.metrics_names == ["loss", "mae"]


def test_gradients_match_differences():
    model = Sequential([LSTM(3, return_sequences=True, input_shape=(None, 2)), Dense(2)], seed=5)
    rng = np.random.default_rng(2)
    x, dy, lengths = rng.normal(size=(3, 4, 2)), rng.normal(size=(3, 4, 2)), np.array([4, 2, 0])
    outputs, weight_gradients, (dx,) = model.gradients(x, dy, lengths=lengths)
    np.testing.assert_array_equal(outputs[0], model.predict(x, lengths=lengths))
    assert set(weight_gradients) == set(model.named_weights())
    assert dx is not None
    bump = np.zeros_like(x)
    bump[0, 1, 1] = 1e-2
    up, down = (np.sum(dy * model.predict(x + s * bump, lengths=lengths)) for s in (1, -1))
    assert dx[0, 1, 1] == pytest.approx((up - down) / 2e-2, rel=2e-3, abs=1e-4)
    assert (dx[1, 2:] == 0).all()


def test_initialise_forget_bias():
    bias = Sequential([LSTM(2, input_shape=(1, 1))]).get_weights()[2]
    np.testing.assert_array_equal(bias, [0, 0, 1, 1, 0, 0, 0, 0])
    bias = Sequential([LSTM(2, input_shape=(1, 1), unit_forget_bias=False)]).get_weights()[2]
    np.testing.assert_array_equal(bias, np.zeros(8))
    layer = LSTM(2, input_shape=(1, 1), bias_initializer=rekur.initializers.Constant(0.5))
    model = Sequential([layer])
    np.testing.assert_array_equal(model.get_weights()[2], [0.5, 0.5, 1, 1, 0.5, 0.5, 0.5, 0.5])
    assert layer.config()["bias_initializer"] == {"name": "unit_forget", "others": {"name": "constant", "value": 0.5}}
    again = Model.from_spec(model.spec).layers[1]
    assert again.unit_forget_bias
    assert again.config() == layer.config()
    direct = LSTM(2, input_shape=(1, 1), bias_initializer={"name": "unit_forget", "others": "ones"})
    np.testing.assert_array_equal(Sequential([direct]).get_weights()[2], np.ones(8))
    with pytest.raises(ValueError, match="bias_initializer: others: unknown initialiser 'onse'; did you mean 'ones'"):
        LSTM(2, bias_initializer={"name": "unit_forget", "others": "onse"})


def test_what_is_said_of_a_bias_that_does_not_exist_is_idle():
    for options in (
        {"bias_initializer": rekur.initializers.Constant(0.03)},
        {"bias_initializer": "unit_forget", "coupled_gates": True},
        {"bias_initializer": "he_normal", "unit_forget_bias": False},
    ):
        model = Sequential([LSTM(2, use_bias=False, input_shape=(1, 1), **options)])
        assert len(model.get_weights()) == 2
        assert len(Model.from_spec(model.spec).get_weights()) == 2


def test_layers_around_recurrent_ones(tmp_path):
    """Described, saved, loaded; the spec of each says all of it."""
    x = Input((None, 3), name="x")
    scaled = layers.Rescaling(np.array([1, 2, 3]), offset=-1)(x)
    hidden = layers.GRU(6, return_sequences=True)(layers.LayerNormalization(axis=-1, epsilon=1e-5)(scaled))
    half = layers.Slice(stop=3)(hidden)
    last = layers.Step(-1)(layers.Affine()(half))
    model = Model(x, [last, half], seed=1)
    assert [output.shape for output in (last, half)] == [(None, 3), (None, None, 3)]
    names = ["layer_normalization/gamma", "layer_normalization/beta", "affine/gamma", "affine/beta"]
    weights = model.named_weights()
    assert [float(weights[name].mean()) for name in names] == [1, 0, 1, 0]
    assert model.spec["layers"][1] == {
        "type": "Rescaling", "name": "rescaling", "inputs": ["x"], "scale": [1.0, 2.0, 3.0], "offset": -1.0
    }  # fmt: skip
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    data = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    for got, want in zip(again.predict(data), model.predict(data), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.LayerNormalization(epsilon=0), ValueError, "'layer_normalization': epsilon must be a finite"),
        (lambda: layers.LayerNormalization(axis=1), ValueError, "axis must be the last one, written -1, got 1"),
        (lambda: layers.Rescaling([1, np.nan]), ValueError, r"'rescaling': scale\[1\] must be a finite number"),
        (lambda: layers.Rescaling(2, offset="1"), TypeError, "'rescaling': offset must be a number"),
        (lambda: layers.Rescaling(np.ones((2, 2))), ValueError, r"'rescaling': scale: .* got shape \(2, 2\)"),
        (lambda: layers.Rescaling([1, 2])(Input((3,))), ValueError, "'rescaling': 'scale': expected a number or 3"),
        (lambda: layers.Step(1.0), TypeError, "'step': index must be an integer"),
        (lambda: layers.Step(5)(Input((5, 2))), ValueError, "'step': expected a sequence of at least 6 steps"),
        (lambda: layers.Slice(2, 2)(Input((3,))), ValueError, r"'slice': features \[2, 2\) are none of"),
        (lambda: layers.Slice(stop=1.5), TypeError, "'slice': stop must be an integer"),
    ],
)
def test_layers_around_recurrent_ones_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_step_takes_the_time_axis_away():
    """A (B, F) behind it is not masked by lengths: a row of length 0 counts in the loss."""
    x = Input((None, 2))
    model = Model(x, layers.Step(-1)(layers.Dense(1, kernel_initializer="ones")(x)), seed=0)
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    lengths = [0, 1, 3]
    data, target = np.ones((3, 3, 2)), np.zeros((3, 1))
    np.testing.assert_array_equal(model.predict(data, lengths=lengths), [[0], [2], [2]])
    found = model.evaluate(data, target, batch_size=2, lengths=lengths)
    assert found == pytest.approx([8 / 3, 4 / 3])
    history = model.fit(data, target, lengths=lengths, epochs=100, verbose=0)
    assert history.history["loss"][-1] < 0.1


def test_what_is_no_weights_no_spec_no_index_and_no_function_is_named():
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    for call, message in (
        (lambda: model.set_weights(3), "model 'sequential': weights must be a list of 2 arrays, got int"),
        (lambda: model.set_weights(np.zeros(2)), "weights must be a list of 2 arrays, got ndarray"),
        (lambda: model.layers[0].set_weights("ab"), "Dense 'dense': weights must be a list of 2 arrays, got str"),
        (lambda: Model.from_spec("LSTM"), "from_spec: expected a dict such as model.spec, got 'LSTM'"),
        (lambda: model.get_layer(index="dense"), "get_layer: index must be an integer, got 'dense'"),
        (lambda: model.summary(print_fn="x"), "summary: print_fn must be a function of a line, got 'x'"),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert message in str(caught.value)
    pair = np.empty(2, object)
    pair[:] = model.get_weights()
    model.set_weights(pair)


def test_inputs_and_outputs_may_be_dicts():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model({"a": a, "b": b}, {"sum": layers.Add()([a, b]), "own": Dense(1, name="own")(a)})
    assert model.output_names == ["sum", "own"]
    model.compile("sgd", {"sum": "mse", "own": "mae"})
    data = {"a": np.ones((4, 3)), "b": np.zeros((4, 3))}
    history = model.fit(data, {"sum": np.ones((4, 3)), "own": np.ones((4, 1))}, verbose=0)
    assert {"sum_loss", "own_loss"} <= set(history.history)
    assert model.predict(data)[0].tolist() == np.ones((4, 3)).tolist()
