"""Layers whose products are of bf16: both sides rounded, sums in float32, forward and backward."""

import json

import numpy as np
import pytest

import rekur
from rekur import _core, layers


def rounded(x):
    """The nearest numbers of bf16, of two the even one."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    halves = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return halves.view(np.float32).astype(np.float64)


def product(x, w, bias=0.0):
    return rounded(x) @ rounded(w) + bias


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sequences(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def lstm_step(x, state, w, u, b):
    h, c = state
    i, f, g, o = np.split(product(x, w, b) + product(h, u), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, state, w, u, b):
    xz, xr, xn = np.split(product(x, w, b[0]), 3, axis=-1)
    hz, hr, hn = np.split(product(state[0], u, b[1]), 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return (z * state[0] + (1 - z) * np.tanh(xn + r * hn),)


def rnn_step(x, state, w, u, b):
    return (np.tanh(product(x, w, b) + product(state[0], u)),)


STEPS = {"LSTM": lstm_step, "GRU": gru_step, "SimpleRNN": rnn_step}


@pytest.mark.parametrize("features,units", [(1, 1), (2, 3), (5, 17), (17, 31), (33, 65)])
@pytest.mark.parametrize("kind", STEPS)
def test_cells_against_numpy(rounding_isa, rng, kind, features, units):
    layer = getattr(layers, kind)(units, return_sequences=True, precision="bf16", input_shape=(None, features))
    model = rekur.Sequential([layer])
    weights = [w + 0.1 * sequences(rng, *w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    x = sequences(rng, 3, 9, features)
    state = (np.zeros((3, units)),) * (2 if kind == "LSTM" else 1)
    expected = []
    for t in range(9):
        state = STEPS[kind](x[:, t], state, *weights)
        expected.append(state[0])
    # An h half-way between two numbers of bf16 may become the other one.
    difference = np.abs(model.predict(x, verbose=0) - np.stack(expected, 1))
    assert difference.max() < 1e-2
    assert np.median(difference) < 1e-6


@pytest.mark.parametrize("batch,features,units", [(1, 1, 1), (3, 5, 7), (7, 17, 33), (31, 33, 65)])
def test_gradients_of_a_step_are_products_of_rounded_numbers(rounding_isa, rng, batch, features, units):
    """y = tanh(x W + b) over one step, of x = a D: both gradients of its product, by NumPy. The tape has y rounded."""
    model = rekur.Sequential(
        [
            layers.Dense(features, use_bias=False, input_shape=(None, 3)),
            layers.SimpleRNN(units, precision="bf16", recurrent_initializer="zeros"),
        ]
    )
    model.compile(rekur.optimizers.SGD(1.0), "mse")
    d, w, _, b = (sequences(rng, *w.shape) for w in model.get_weights())
    model.set_weights([d, w, np.zeros((units, units), np.float32), b])
    a, target = sequences(rng, batch, 1, 3), sequences(rng, batch, units)
    before = model.get_weights()
    model.train_on_batch(a, target)
    step = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    x = (a[:, 0].astype(np.float64) @ d).astype(np.float32)
    y = np.tanh(product(x, w, b))
    dz = rounded(2 / y.size * (y - target) * (1 - rounded(y) ** 2))
    # A dz half-way between two numbers may become the other one, which is 2^-8 of it.
    for made, expected in (
        (step[1], rounded(x).T @ dz),
        (step[0], a[:, 0].T @ (dz @ rounded(w).T)),
        (step[3], dz.sum(axis=0)),
    ):
        difference = np.abs(made - expected)
        assert np.median(difference) <= 2e-5 * np.abs(expected).max() + 1e-6
        assert difference.max() <= 2e-2 * np.abs(expected).max() + 1e-5


def stacks(features=20):
    x = {"input_shape": (None, features)}
    yield "LSTM", [layers.LSTM(67, return_sequences=True, **x), layers.Dense(5)]
    yield "GRUs", [layers.GRU(33, return_sequences=True, **x), layers.GRU(31, return_sequences=True)]
    yield "reset before", [layers.GRU(33, reset_after=False, return_sequences=True, **x)]
    yield "both ways", [layers.Bidirectional(layers.LSTM(31, return_sequences=True), **x)]
    yield "projection", [layers.LSTM(48, projection_size=24, return_sequences=True, **x)]
    yield "program", [layers.RNN(rekur.cells.light_gru, 35, return_sequences=True, **x)]
    yield "dropout", [layers.LSTM(33, dropout=0.3, recurrent_dropout=0.2, return_sequences=True, **x)]


def in_bf16(stack):
    spec = json.loads(json.dumps(rekur.Sequential(stack).spec))
    for layer in spec["layers"]:
        inner = layer["layer"] if layer["type"] == "Bidirectional" else layer
        if inner["type"] in ("LSTM", "GRU", "RNN"):
            inner["precision"] = "bf16"
    return rekur.Model.from_spec(spec, seed=3)


@pytest.mark.parametrize("name,stack", list(stacks()), ids=[name for name, _ in stacks()])
def test_same_bits_for_any_threads_and_with_and_without_the_instruction(restore_threads, name, stack):
    rng = np.random.default_rng(5)
    x, lengths = sequences(rng, 5, 11, 20), np.array([11, 4, 1, 7, 11], np.int32)
    model = in_bf16(stack)
    y = sequences(rng, *model.predict(x, verbose=0).shape)
    start = [w.copy() for w in model.get_weights()]
    results = {False: [], True: []}
    before = _core.isa()
    try:
        # One and the same arithmetic: an instruction of AVX-512's, and fused multiply-adds of AVX2's. AMX has its own.
        for isa in [name for name in _core.available_isas() if name != "baseline"] or [before]:
            _core.set_isa(isa)
            for threads in (1, 2, 3):
                rekur.set_num_threads(threads)
                model.set_weights(start)
                model.compile("sgd", "mse", seed=1)
                model.fit(x, y, lengths=lengths, batch_size=5, epochs=2, shuffle=False, verbose=0)
                results[isa == "amx"].append([model.predict(x, verbose=0), *model.get_weights()])
    finally:
        _core.set_isa(before)
    for first, *others in filter(None, results.values()):
        for other in others:
            for expected, made in zip(first, other, strict=True):
                np.testing.assert_array_equal(made, expected)
        assert not np.array_equal(first[1], start[0])
    for plain, amx in zip(*(runs[0] for runs in results.values() if runs), strict=True) if results[True] else ():
        np.testing.assert_allclose(amx, plain, atol=2e-3)


@pytest.mark.parametrize(
    "make", [lambda **k: layers.Dense(9, **k), lambda **k: layers.LSTM(9, **k)], ids=["Dense", "LSTM"]
)
def test_a_layer_that_says_float32_stays_so(rng, make, tmp_path):
    x = sequences(rng, 3, 5, 8)
    shape = {"input_shape": (None, 8)}
    plain, open_ = rekur.Sequential([make(**shape)]), rekur.Sequential([make(**shape)])
    said = rekur.Sequential([make(precision="float32", **shape)])
    assert said.layers[0].get_config()["precision"] == "float32" and "precision" not in open_.layers[0].get_config()
    for model in (open_, said):
        model.set_weights(plain.get_weights())
        model.compile("sgd", "mse", precision="bf16")
    expected = plain.predict(x, verbose=0)
    assert not np.array_equal(open_.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(said.predict(x, verbose=0), expected)
    said.save(tmp_path / "said.safetensors")
    loaded = rekur.load_model(tmp_path / "said.safetensors")
    assert loaded.layers[0].precision == "float32"
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(rekur.models.clone_model(said).layers[0].precision, "float32")


def test_loss_curves_stay_beside_those_of_float32(rng):
    x = np.cumsum(sequences(rng, 64, 24, 4), axis=1) / 5
    y = np.tanh(x[:, -1, :1] - x[:, 5, 1:2])
    curves = []
    for precision in ("float32", "bf16"):
        rekur.set_random_seed(7)
        model = rekur.Sequential([layers.LSTM(64, precision=precision, input_shape=(None, 4)), layers.Dense(1)])
        model.compile("adam", "mse")
        curves.append(model.fit(x, y, epochs=40, batch_size=32, verbose=0, shuffle=False).history["loss"])
    assert curves[0][-1] < 0.3 * curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0.05, atol=0.01 * curves[0][0])


def test_nan_and_infinity_pass_through(rounding_isa):
    model = rekur.Sequential([layers.SimpleRNN(4, activation="linear", precision="bf16", input_shape=(None, 3))])
    x = np.ones((4, 1, 3), np.float32)
    x[1, 0, 2] = np.nan
    x[2, 0, 0] = np.inf
    y = model.predict(x, verbose=0)
    assert np.isnan(y[1]).all()
    assert not np.isfinite(y[2]).any()
    assert np.isfinite(y[[0, 3]]).all()


@pytest.mark.parametrize("batch,features,units", [(1, 33, 17), (3, 5, 31), (7, 17, 33), (65, 31, 65)])
def test_dense_and_its_gradients(rounding_isa, rng, batch, features, units):
    model = rekur.Sequential(
        [
            layers.Dense(features, use_bias=False, input_shape=(3,)),
            layers.Dense(units, precision="bf16"),
        ]
    )
    model.compile(rekur.optimizers.SGD(1.0), "mse")
    d, w, b = (sequences(rng, *w.shape) for w in model.get_weights())
    model.set_weights([d, w, b])
    a, target = sequences(rng, batch, 3), sequences(rng, batch, units)
    x = (a.astype(np.float64) @ d).astype(np.float32)
    y = product(x, w, b)
    np.testing.assert_allclose(model.predict(a, verbose=0), y, rtol=2e-6, atol=2e-2 * np.abs(y).max())
    assert np.median(np.abs(model.predict(a, verbose=0) - y)) < 2e-6 * np.abs(y).max()
    before = model.get_weights()
    model.train_on_batch(a, target)
    step = [old - new for old, new in zip(before, model.get_weights(), strict=True)]
    dz = (2 / y.size * (y - target)).astype(np.float32)
    expected = a.T @ (rounded(dz) @ rounded(w).T), rounded(x).T @ rounded(dz), dz.sum(axis=0)
    for made, wanted in zip(step, expected, strict=True):
        difference = np.abs(made - wanted)
        assert np.median(difference) <= 2e-5 * np.abs(wanted).max() + 1e-6
        assert difference.max() <= 2e-2 * np.abs(wanted).max() + 1e-5


def test_compile_says_what_a_model_computes_in(rng, tmp_path):
    x, y = sequences(rng, 8, 5, 4), sequences(rng, 8, 33)
    stack = [layers.LSTM(17, input_shape=(None, 4)), layers.Dense(33)]
    model = rekur.Sequential(stack)
    plain = model.predict(x, verbose=0)
    model.compile("sgd", "mse", precision="bf16")
    narrow = model.predict(x, verbose=0)
    assert 1e-5 < np.abs(narrow - plain).max() < 0.05
    said = rekur.Sequential(
        [layers.LSTM(17, precision="bf16", input_shape=(None, 4)), layers.Dense(33, precision="bf16")]
    )
    said.set_weights(model.get_weights())
    np.testing.assert_array_equal(said.predict(x, verbose=0), narrow)
    said.compile("sgd", "mse")  # what a layer says stays
    np.testing.assert_array_equal(said.predict(x, verbose=0), narrow)
    model.save(tmp_path / "model.safetensors")
    loaded = rekur.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), narrow)
    assert model.get_compile_config()["precision"] == "bf16"
    for made in (model, said, loaded):
        made.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    np.testing.assert_array_equal(said.predict(x, verbose=0), model.predict(x, verbose=0))
    model.set_weights(rekur.load_model(tmp_path / "model.safetensors").get_weights())
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(x, verbose=0), plain)
    with pytest.raises(ValueError, match="precision: expected one of float32, bf16, got 'fp16'"):
        model.compile("sgd", "mse", precision="fp16")


def test_layers_without_such_products_refuse_it():
    with pytest.raises(ValueError, match=r"Conv1D.*\"float32\" or \"int8\", got \"bf16\""):
        rekur.Sequential([layers.Conv1D(3, 2, precision="bf16", input_shape=(None, 4))])._engine()


@pytest.mark.parametrize("said", [False, True])
def test_onnx_files_compute_in_float32_and_are_verified_there(tmp_path, said):
    setting = {"precision": "bf16"} if said else {}
    model = rekur.Sequential(
        [layers.LSTM(33, return_sequences=True, input_shape=(None, 17), **setting), layers.Dense(40, **setting)]
    )
    model.compile("sgd", "mse", **({} if said else {"precision": "bf16"}))
    report = rekur.onnx.export(model, tmp_path / "model.onnx").verification
    assert report.outputs[0].difference < 1e-5 < report.outputs[0].rounding
    assert "with its products rounded the engine itself is up to" in str(report)
    rekur.onnx.verify(model, tmp_path / "model.onnx")
    model.compile("sgd", "mse")
    assert said or rekur.onnx.verify(model, tmp_path / "model.onnx").outputs[0].rounding is None


def test_no_static_form(tmp_path):
    model = rekur.Sequential([layers.GRU(5, precision="bf16", input_shape=(None, 3))])
    with pytest.raises(ValueError, match="layer 'gru' has the precision bf16, whose products have no static form"):
        rekur.export_static(model, tmp_path / "model.hpp")
