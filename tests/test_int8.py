"""Layers whose products are of eight bits, against NumPy: integers as docs/precision.md says, sums exact."""

import json

import numpy as np
import pytest

import rekur
from rekur import _core, layers


def weight_integers(w):
    """The integers of a matrix's columns, and the columns' scales."""
    scale = (np.abs(w).max(axis=0) / np.float32(127)).astype(np.float32)
    scale = ((scale.view(np.uint32) + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(scale > 0, np.rint(w / scale), 0)
    return np.clip(q, -127, 127).astype(np.int64), scale


def row_integers(x):
    """The integers of rows less their zero points, and the rows' scales."""
    x = np.asarray(x, np.float32)
    low, high = np.minimum(x.min(axis=-1), 0), np.maximum(x.max(axis=-1), 0)
    span = (high - low).astype(np.float32)
    inverse = np.where(span > 1e-30, np.float32(255) / np.where(span > 1e-30, span, 1), 0).astype(np.float32)[..., None]
    zero = np.rint((-low)[..., None] * inverse)
    q = np.minimum(np.rint(x * inverse) + zero, 255)
    return (q - zero).astype(np.int64), (span * np.float32(1 / 255)).astype(np.float32)


def takes_int8(rows, columns):
    return rows >= 16 and rows * columns >= 4096


def product(x, w, bias=0.0):
    """x W + b in eight bits where the engine has it so, in float64 beside."""
    if not takes_int8(*w.shape):
        return np.asarray(x, np.float64) @ w.astype(np.float64) + bias
    (a, s), (q, t) = row_integers(x), weight_integers(w)
    return (a @ q) * (s[..., None].astype(np.float64) * t) + bias


def with_precision(model, precision="int8"):
    spec = json.loads(json.dumps(model.spec))
    for layer in spec["layers"]:
        inner = layer["layer"] if layer["type"] == "Bidirectional" else layer
        if inner["type"] in ("LSTM", "GRU", "SimpleRNN", "RNN", "Dense", "Conv1D", "Embedding"):
            inner["precision"] = precision
    made = rekur.Model.from_spec(spec)
    made.set_weights(model.get_weights())
    return made


def sequences(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("features,units", [(16, 256), (17, 241), (33, 127), (65, 64), (129, 33), (300, 17)])
def test_dense_is_the_integer_product(rounding_isa, features, units):
    rng = np.random.default_rng(features)
    model = rekur.Sequential([layers.Dense(units, precision="int8", input_shape=(features,))])
    w, b = sequences(rng, features, units), sequences(rng, units)
    w[:, 0] = 0  # a column of zeros
    model.set_weights([w, b])
    x = sequences(rng, 7, features) * np.array([1, 1e-3, 1e3, 0, 1, 1, 1], np.float32)[:, None]
    x[4] = np.abs(x[4])  # one-sided: its zero point is 0
    x[5] = -np.abs(x[5])
    expected = product(x, w, b)
    assert takes_int8(features, units)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=3e-6, atol=3e-6 * np.abs(expected).max())
    assert np.abs(expected - (x.astype(np.float64) @ w + b)).max() > 1e-4  # it is not the float32 product


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_at_the_extremes_do_not_saturate(rounding_isa, sign):
    K, N = 4096, 8
    model = rekur.Sequential([layers.Dense(N, use_bias=False, precision="int8", input_shape=(K,))])
    model.set_weights([np.full((K, N), sign, np.float32)])
    x = np.ones((3, K), np.float32)
    x[1] = -1
    np.testing.assert_allclose(model.predict(x, verbose=0)[:, 0], [sign * K, -sign * K, sign * K], rtol=1e-4)


def lstm_step(x, h, c, w, u, b):
    i, f, g, o = np.split(product(x, w, b) + product(h, u), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x, h, w, u, b):
    xz, xr, xn = np.split(product(x, w, b[0]), 3, axis=-1)
    hz, hr, hn = np.split(product(h, u, b[1]), 3, axis=-1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    return z * h + (1 - z) * np.tanh(xn + r * hn)


@pytest.mark.parametrize("features,units", [(5, 33), (33, 65), (17, 64), (64, 31)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_cells_against_numpy(rounding_isa, kind, features, units):
    rng = np.random.default_rng(units)
    layer = getattr(layers, kind)(units, return_sequences=True, precision="int8", input_shape=(None, features))
    model = rekur.Sequential([layer])
    weights = [w + 0.1 * sequences(rng, *w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    x = sequences(rng, 3, 9, features)
    h = c = np.zeros((3, units))
    expected = []
    for t in range(9):
        if kind == "LSTM":
            h, c = lstm_step(x[:, t], h, c, *weights)
        elif kind == "GRU":
            h = gru_step(x[:, t], h, *weights)
        else:
            h = np.tanh(product(x[:, t], weights[0], weights[2]) + product(h, weights[1]))
        expected.append(h)
    # An h that is half-way between two integers may become the other one: such an output may be off by a step.
    difference = np.abs(model.predict(x, verbose=0) - np.stack(expected, 1))
    assert difference.max() < 5e-3
    assert np.median(difference) < 1e-6


def models(features=20):
    x = {"input_shape": (None, features)}
    yield "LSTM", [layers.LSTM(67, return_sequences=True, **x), layers.Dense(65)]
    yield "GRU", [layers.GRU(65, return_sequences=True, **x), layers.Dense(64)]
    yield "reset before", [layers.GRU(65, reset_after=False, return_sequences=True, **x)]
    yield "peepholes", [layers.LSTM(40, peepholes=True, return_sequences=True, **x)]
    yield "both ways", [layers.Bidirectional(layers.LSTM(61, return_sequences=True), **x)]
    yield "projection", [layers.LSTM(96, projection_size=48, return_sequences=True, **x)]
    yield "program", [layers.RNN(rekur.cells.light_gru, 67, return_sequences=True, **x)]
    yield "options", [layers.GRU(65, layer_normalization="sums", return_sequences=True, **x)]
    yield (
        "convolution",
        [layers.Conv1D(66, 5, padding="causal", **x), layers.Conv1D(130, 3, groups=2, padding="causal")],
    )


@pytest.mark.parametrize("name,stack", list(models()), ids=[name for name, _ in models()])
def test_same_bits_however_it_runs(rounding_isa, restore_threads, name, stack):
    rng = np.random.default_rng(1)
    plain = rekur.Sequential(stack)
    model = with_precision(plain)
    x = sequences(rng, 6, 11, 20)
    expected = model.predict(x, verbose=0)
    far = np.abs(expected - plain.predict(x, verbose=0)).max() / np.abs(expected).max()
    assert 1e-5 < far < 0.05
    for threads in (1, 2, 3):
        rekur.set_num_threads(threads)
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
        np.testing.assert_array_equal(model.predict(x[2:3], verbose=0), expected[2:3])
    lengths = np.array([11, 3, 1, 7, 11, 5], np.int32)
    if name != "both ways":
        masked = model.predict(x, lengths=lengths, verbose=0)
        for row, length in enumerate(lengths):
            np.testing.assert_array_equal(masked[row, :length], expected[row, :length])
    # Other bits of h, without fused multiply-adds or by sums of other lanes, may be other integers.
    other = rounding_isa == "baseline" or name == "options"
    _core.set_isa(_core.available_isas()[-1])
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=5e-3 if other else 2e-7)


def test_rounding_to_eight_bits_twice_changes_nothing(rounding_isa):
    rng = np.random.default_rng(3)
    w = sequences(rng, 64, 65) * np.exp(rng.standard_normal(65) * 5).astype(np.float32)
    q, scale = weight_integers(w)
    rounded = (q * scale).astype(np.float32)
    again, same = weight_integers(rounded)
    np.testing.assert_array_equal(again, q)
    np.testing.assert_array_equal(same, scale)
    x = sequences(rng, 5, 64)
    outputs = []
    for kernel in (w, rounded):
        model = rekur.Sequential([layers.Dense(65, precision="int8", input_shape=(64,))])
        model.set_weights([kernel, np.zeros(65, np.float32)])
        outputs.append(model.predict(x, verbose=0))
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_gives_nan_and_no_other_does(rounding_isa, value):
    model = rekur.Sequential([layers.Dense(64, precision="int8", input_shape=(65,))])
    x = np.ones((4, 65), np.float32)
    x[1, 64] = value
    x[2, 3] = value
    y = model.predict(x, verbose=0)
    assert np.isnan(y[1:3]).all()
    assert np.isfinite(y[[0, 3]]).all()


def test_embedding_gives_the_rounded_table():
    model = rekur.Sequential([layers.Embedding(11, 6, precision="int8", input_shape=(None,))])
    (table,) = model.get_weights()
    q, scale = weight_integers(table)
    ids = np.arange(11)[None]
    np.testing.assert_array_equal(model.predict(ids, verbose=0)[0], (q * scale).astype(np.float32))


def test_precision_is_a_setting_of_layers_with_products():
    layer = layers.LSTM(4, precision="INT8")
    assert layer.precision == "int8" and layer.get_config()["precision"] == "int8"
    assert "precision" not in layers.LSTM(4).config()
    with pytest.raises(ValueError, match=r"precision: expected one of float32, bf16, int8, got 'int4'"):
        layers.Dense(3, precision="int4")
    with pytest.raises(TypeError, match="has no argument 'precision'"):
        layers.Dropout(0.5, precision="int8")
