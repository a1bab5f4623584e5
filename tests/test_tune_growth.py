"""Layers that become wider, and further ones, compute what was computed before: rekur.tune.widen and deepen."""

from __future__ import annotations

import numpy as np
import pytest

import rekur
from rekur import cells, layers, tune

T, F, UNITS = 5, 6, 6
# By cell what it is that does not go: of widen, of deepen.
NOT_WIDER = {
    "gru_d": "tied to the model's input",
    "lmu": "something else",
    "qrnn_2": "tied to the model's input",
    "rg_lru": "tied to the model's input",
}
NOT_DEEPER = {
    "gru_d": "more than one input at each step",
    "ind_rnn": "cannot leave zero",
    "layer_norm_lstm": "gradients would be",
    "light_gru": "cannot leave zero",
    "ltc": "something else",
    "min_gru_log": "something else",
    "min_lstm_log": "something else",
    "reservoir": "cannot leave zero",
    "rg_lru": "something else",
}
LOOK_AT_ALL = ("fast_grnn", "fast_rnn", "layer_norm_lstm", "lmu")
NAMES = sorted(name for name in dir(cells) if name[0].islower() and isinstance(getattr(cells, name), type(cells.gru)))


def scattered(model: rekur.Model, seed: int = 0) -> rekur.Model:
    """The model with other numbers everywhere, in biases and gains, too."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.uniform(0.5, 1.5, w.shape) if w.path.endswith("variance") else rng.normal(0.0, 0.4, w.shape)
        for w in model.weights
    ]
    model.set_weights([array.astype(np.float32) for array in arrays])
    return model


def same(one: rekur.Model, other: rekur.Model) -> None:
    rng = np.random.default_rng(7)
    x = [
        rng.integers(0, 4, (4, *t.shape[1:])).astype(np.int32)
        if t.dtype == "int32"
        else rng.normal(size=(4, *t.shape[1:])).astype(np.float32)
        for t in one.inputs
    ]
    given = x[0] if len(x) == 1 else x
    a, b = (m.predict(given, verbose=0) for m in (one, other))
    for before, after in zip(*((y if isinstance(y, list) else [y]) for y in (a, b)), strict=True):
        assert np.isfinite(before).all() and np.abs(before).max() > 1e-3
        np.testing.assert_allclose(after, before, atol=3e-6 * max(np.abs(before).max(), 1.0))


def chain(*parts: rekur.layers.Layer) -> rekur.Model:
    return scattered(rekur.Sequential([rekur.Input((T, F)), *parts, layers.Dense(3, name="out")], seed=1))


def of_cell(name: str) -> rekur.Model:
    cell = getattr(cells, name)
    entrance = rekur.Input((T, F), name="x")
    steps = [rekur.Input((T, UNITS), name=key) for key in cell.step_inputs] if name == "gru_d" else []
    y = layers.RNN(cell, UNITS, name="r")([entrance, *steps] if steps else entrance)
    return scattered(rekur.Model([entrance, *steps] if steps else entrance, layers.Dense(3)(y), seed=1))


def test_inputs_of_each_step():
    """Time between steps, one number a step, or one a unit, which then has to be made by a layer that grows, too."""
    x, apart = rekur.Input((T, F), name="x"), rekur.Input((T, 1), name="time")
    h = layers.RNN(cells.ltc, UNITS, name="r")([x, apart])
    model = scattered(rekur.Model([x, apart], layers.Dense(2)(h), seed=1))
    same(model, tune.widen(model, "r", 9, seed=1))
    with pytest.raises(ValueError, match="its cell takes more than one input at each step"):
        tune.deepen(model, "r")
    of_units = layers.Dense(UNITS, name="times", activation="sigmoid")(apart)
    h = layers.RNN(cells.ltc, UNITS, name="r")([x, of_units])
    model = scattered(rekur.Model([x, apart], layers.Dense(2)(h), seed=1))
    wider = tune.widen(model, "r", 9, seed=1)
    same(model, wider)
    assert wider.get_layer("times").units == 9


def weights_of(model: rekur.Model) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.named_weights().items()}


OPTIONS = {
    "plain": {},
    "sums": {"layer_normalization": "sums"},
    "state": {"layer_normalization": "state"},
    "both": {"layer_normalization": "both"},
    "clip": {"state_clip": 0.2},
    "zoneout": {"zoneout": 0.2},
    "dropouts": {"dropout": 0.2, "recurrent_dropout": 0.3, "recurrent_weight_dropout": 0.1},
    "initial": {"learn_initial_state": True},
    "reverse": {"reverse": True},
    "no bias": {"use_bias": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_built_in_cells(kind, options):
    model = chain(getattr(layers, kind)(UNITS, name="r", **options))
    normalised = "layer_normalization" in options
    units = 2 * UNITS if normalised else UNITS + 3
    wider = tune.widen(model, "r", units, seed=2)
    assert wider.get_layer("r").units == units and type(wider) is type(model)
    same(model, wider)
    deeper = tune.deepen(model, "r", seed=2)
    assert [layer.name for layer in deeper.layers] == ["r", "r_1", "out"] and deeper.get_layer("r_1").residual
    same(model, deeper)
    same(model, tune.widen(deeper, "r", 2 * UNITS, seed=3))  # both layers, which are added


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(UNITS, peepholes=True, name="r"),
        layers.LSTM(UNITS, coupled_gates=True, name="r"),
        layers.LSTM(UNITS, projection_size=2, learn_initial_state=True, name="r"),
        layers.GRU(UNITS, reset_after=False, name="r"),
        layers.SimpleRNN(UNITS, activation="relu", name="r"),
    ],
    ids=["peepholes", "coupled", "projected", "before", "relu"],
)
def test_variants(layer):
    model = chain(layer)
    same(model, tune.widen(model, "r", 10, seed=1))
    if layer.name == "r" and layer.activation == "relu":
        with pytest.raises(ValueError, match=r"behind 'r' \(SimpleRNN\).*cannot leave zero"):
            tune.deepen(model, "r")
    else:
        same(model, tune.deepen(model, "r", seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_program_cells(name):
    model = of_cell(name)
    units = 2 * UNITS if name in LOOK_AT_ALL else UNITS + 2
    if name in NOT_WIDER:
        with pytest.raises(ValueError, match=f"'r'.*{NOT_WIDER[name]}"):
            tune.widen(model, "r", units, seed=1)
    else:
        same(model, tune.widen(model, "r", units, seed=1))
    if name in LOOK_AT_ALL:
        with pytest.raises(ValueError, match="multiple of the 6 that layer 'r' has, since the cell of layer 'r' looks"):
            tune.widen(model, "r", UNITS + 1)
    if name in NOT_DEEPER:
        with pytest.raises(ValueError, match=f"'r'.*{NOT_DEEPER[name]}"):
            tune.deepen(model, "r", seed=1)
    else:
        same(model, tune.deepen(model, "r", seed=1))


@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul"])
def test_bidirectional(mode):
    model = chain(
        layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode=mode, name="both"),
        layers.Dropout(0.2),
        layers.BatchNormalization(),
        layers.LSTM(5, name="r"),
    )
    same(model, tune.widen(model, "both", 7, seed=1))
    same(model, tune.widen(model, "r", 7, seed=1))
    if mode == "mul":
        with pytest.raises(ValueError, match="cannot leave zero"):
            tune.deepen(model, "both")
    else:
        same(model, tune.deepen(model, "both", seed=1))


def test_bidirectional_without_sequences_is_refused():
    model = chain(layers.Bidirectional(layers.GRU(4), name="both"))
    same(model, tune.widen(model, "both", 6, seed=1))
    with pytest.raises(ValueError, match="gives no sequence"):
        tune.deepen(model, "both")


def test_what_stands_between():
    model = chain(
        layers.Conv1D(4, 2, name="conv"),
        layers.Activation("tanh"),
        layers.MaxPooling1D(2),
        layers.LayerNormalization(),
        layers.GRU(4, return_sequences=True, name="a"),
        layers.GRU(4, residual=True, return_sequences=True, name="b"),
        layers.Rescaling([1.0, 2.0, 3.0, 4.0], 0.5),
        layers.TimeDistributed(layers.Dense(3, activation="relu"), name="each"),
        layers.PReLU(),
        layers.Flatten(),
    )
    assert tune.growing_layers(model) == {"conv": (4, 4), "a": (4, 1), "each.dense": (3, 1)}
    for layer, units in (("conv", 8), ("a", 7), ("b", 5), ("each.dense", 4)):
        wider = tune.widen(model, layer, units, seed=1)
        same(model, wider)
        if layer in "ab":
            assert wider.get_layer("a").units == wider.get_layer("b").units == units
    with pytest.raises(ValueError, match=r"multiple of the 4.*'layer_normalization' normalises over them"):
        tune.widen(model, "conv", 6)


def test_graphs():
    x, words = rekur.Input((T, F), name="x"), rekur.Input((T,), dtype="int32", name="words")
    embedded = layers.Embedding(4, 3, name="embedding")(words)
    encoder = layers.LSTM(4, return_state=True, return_sequences=True, name="encoder")
    encoded, h, c = encoder(layers.Concatenate()([x, embedded]))
    decoded = layers.LSTM(4, name="decoder")(x, initial_state=[h, c])
    shared = layers.GRU(3, name="shared")
    both = shared(encoded) * shared(layers.Dropout(0.1)(encoded))
    y = layers.Dense(2)(layers.Concatenate()([decoded + encoded[:, -1], both]))
    model = scattered(rekur.Model([x, words], [y, layers.Dense(1)(both)], seed=1))
    assert tune.growing_layers(model) == {"embedding": (3, 1), "encoder": (4, 1), "shared": (3, 1)}
    for layer, units in (("embedding", 5), ("decoder", 6), ("shared", 7)):
        same(model, tune.widen(model, layer, units, seed=1))
    wider = tune.widen(model, "decoder", 6, seed=1)
    assert wider.get_layer("encoder").units == 6  # whose states it begins with
    same(model, tune.deepen(model, "encoder", seed=1))
    with pytest.raises(ValueError, match="called 2 times"):
        tune.deepen(model, "shared")


def test_attention_pins_what_it_reads():
    x = rekur.Input((T, F))
    h = layers.GRU(4, return_sequences=True, name="r")(x)
    g = layers.GRU(3, name="after")(layers.Attention()([h, h]))
    model = scattered(rekur.Model(x, layers.Dense(1)(g), seed=1))
    with pytest.raises(ValueError, match=r"units of layer 'r' cannot become more: layer 'attention' \(Attention\)"):
        tune.widen(model, "r", 5)
    same(model, tune.widen(model, "after", 5))


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "elu"])
def test_dense(activation):
    model = chain(layers.GRU(4), layers.Dense(5, activation=activation, name="d"))
    deeper = tune.deepen(model, "d", name="further", seed=1)
    same(model, deeper)
    assert "further" in [layer.name for layer in deeper.layers]


def test_dense_that_cannot():
    for activation in ("sigmoid", "softmax"):
        model = chain(layers.GRU(4), layers.Dense(5, activation=activation, name="d"))
        with pytest.raises(ValueError, match=r"behind 'd' \(Dense\) that changes nothing: it would compute something"):
            tune.deepen(model, "d")
    with pytest.raises(ValueError, match="the activation of 'd' looks at all of them"):
        tune.widen(model, "d", 7)


def test_copies_learn_apart():
    """Two copies of a unit have the same weights going in, and do not stay alike."""
    model = chain(layers.GRU(4, name="r"))
    model.compile(rekur.optimizers.SGD(0.1), "mse")
    wider = tune.widen(model, "r", 8, seed=1)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, T, F)).astype(np.float32), rng.normal(size=(16, 3)).astype(np.float32)

    def apart() -> float:
        bias = wider.named_weights()["r/bias"][0].reshape(3, 8)
        source = model.named_weights()["r/bias"][0].reshape(3, 4)
        where = [int(np.abs(source - bias[:, k : k + 1]).sum(axis=0).argmin()) for k in range(4, 8)]
        return float(min(np.abs(bias[:, where[k]] - bias[:, 4 + k]).max() for k in range(4)))

    order = [0, 1, 2, 3]
    assert sorted(order) == order and apart() == 0
    wider.fit(x, y, epochs=3, verbose=0)
    assert apart() > 1e-5


def test_noise_moves_the_copies_alone():
    model = chain(layers.LSTM(4, name="r"))
    plain, noisy = (tune.widen(model, "r", 7, seed=1, noise=noise) for noise in (0.0, 0.1))
    a, b = (m.named_weights()["r/recurrent_kernel"].reshape(7, 4, 7) for m in (plain, noisy))
    np.testing.assert_array_equal(a[..., :4], b[..., :4])
    assert 0.01 < np.abs(a[..., 4:] - b[..., 4:]).std() / model.named_weights()["r/recurrent_kernel"].std() < 0.2


def test_a_seed_gives_the_same_bits_and_the_model_stays():
    model = chain(layers.LSTM(4, name="r"))
    before = weights_of(model)
    one, two, other = (tune.widen(model, "r", 9, seed=seed).named_weights() for seed in (5, 5, 6))
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    assert any((one[name] != other[name]).any() for name in one)
    for name, array in model.named_weights().items():
        np.testing.assert_array_equal(array, before[name])


def test_compiled_as_before_and_what_is_trained():
    model = chain(layers.GRU(4, name="r"), layers.Dense(4, name="d"))
    model.compile(rekur.optimizers.Adam(0.02, clipnorm=2.0), "mae", metrics=["mse"], loss_weights=[0.5])
    model.get_layer("d").trainable = False
    x, y = np.zeros((2, T, F), np.float32), np.zeros((2, 3), np.float32)
    for made in (tune.widen(model, "r", 5, seed=1), tune.deepen(model, "r", seed=1)):
        assert made.get_compile_config() == model.get_compile_config()
        assert not made.get_layer("d").trainable and made.get_layer("r").trainable
        before = weights_of(made)
        history = made.fit(x, y, epochs=1, verbose=0).history
        assert set(history) == {"loss", "mse"}
        np.testing.assert_array_equal(made.named_weights()["d/kernel"], before["d/kernel"])
        assert made.optimizer is not model.optimizer
    assert not tune.widen(chain(layers.GRU(4, name="r")), "r", 5).compiled


def test_made_models_are_models(tmp_path):
    model = chain(layers.GRU(4, return_sequences=True, name="a"), layers.GRU(4, name="b"))
    made = tune.widen(tune.deepen(tune.widen(model, "a", 6, seed=1), "b", seed=2), "b", 9, seed=3)
    same(model, made)
    made.save(tmp_path / "made.safetensors")
    same(model, rekur.load(tmp_path / "made.safetensors"))
    assert rekur.onnx.export(made, tmp_path / "made.onnx").verification is not None


def test_models_of_other_kinds():
    x, words = rekur.Input((T, F)), rekur.Input((T,), dtype="int32")
    rules = {"kernel_regularizer": "l2", "recurrent_constraint": "unit_norm"}
    h = layers.GRU(4, return_sequences=True, name="r", **rules)(x)
    model = scattered(rekur.Model(x, layers.CRF(3)(layers.Dense(3)(h)), seed=1))
    for made in (tune.widen(model, "r", 6, seed=1), tune.deepen(model, "r", seed=1)):
        given = np.random.default_rng(0).normal(size=(4, T, F)).astype(np.float32)
        np.testing.assert_array_equal(made.predict(given), model.predict(given))
        assert made.get_layer("r").config()["regularizers"] and made.get_layer("r").config()["constraints"]
    h = layers.Embedding(4, 3, mask_zero=True, name="e")(words)
    h = layers.LSTM(4, name="r")(layers.Masking()(h))
    model = scattered(rekur.Model(words, layers.Dense(2)(h), seed=1))
    same(model, tune.deepen(tune.widen(tune.widen(model, "e", 5, seed=1), "r", 6, seed=1), "r", seed=1))
    inner = rekur.Sequential([layers.GRU(4, return_sequences=True), layers.GRU(4)], name="inner")
    model = scattered(rekur.Sequential([rekur.Input((T, F)), inner, layers.Dense(1)], seed=1))
    same(model, tune.widen(model, "inner.gru", 6, seed=1))

    class Own(rekur.Model):
        def __init__(self):
            super().__init__()
            self.first, self.last = layers.GRU(4), layers.Dense(1)

        def call(self, x):
            return self.last(self.first(x))

    model = Own()
    model(np.zeros((1, T, F), np.float32))
    assert list(tune.growing_layers(model)) == ["gru"] and tune.widen(model, "gru", 6).get_layer("gru").units == 6
    model = rekur.Sequential([rekur.Input((T, F)), layers.GRU(4, stateful=True, name="r"), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"tune\.deepen: GRU 'r' is stateful"):
        tune.deepen(model, "r")


def test_a_forecaster_s_network():
    fitted = rekur.tasks.Forecaster(4, epochs=1, units=8, random_state=0).fit(np.sin(np.arange(120) / 5))
    (network,) = fitted.models_
    assert tune.growing_layers(network) == {"encoder_0": (8, 1)}
    wider = tune.widen(network, "encoder_0", 12, seed=1)
    assert wider.get_layer("decoder_0").units == 12
    same(network, wider)


def test_wrong_arguments():
    model = chain(layers.GRU(4, name="r"))
    for call, error, text in (
        (lambda: tune.widen("r", "r", 5), TypeError, "expected a model, got 'r'"),
        (lambda: tune.widen(model, "s", 5), ValueError, "has no layer 's'; known are r, out"),
        (lambda: tune.widen(model, "r", 4), ValueError, "units must be more than the 4 that layer 'r' has, got 4"),
        (lambda: tune.widen(model, "r", 4.5), (TypeError, ValueError), "units"),
        (lambda: tune.widen(model, "r", 6, noise=-1), ValueError, "noise"),
        (lambda: tune.widen(model, "r", 6, seed=-1), ValueError, "seed"),
        (lambda: tune.widen(model, "out", 6), ValueError, "cannot become more: they are an output of the model"),
        (lambda: tune.widen(model, "input", 6), ValueError, r"'input' \(Input\) has no units"),
        (lambda: tune.deepen(model, "r", name="out"), ValueError, "has a layer 'out' already"),
        (lambda: tune.deepen(chain(layers.Conv1D(4, 2, name="c"), layers.GRU(2)), "c"), ValueError, "expected a recur"),
    ):
        with pytest.raises(error, match=text):
            call()


def test_rounded_products_are_refused():
    model = chain(layers.GRU(64, name="r"))
    model.quantize("int8")
    with pytest.raises(ValueError, match="products of 'r' are of int8, which rounds them"):
        tune.widen(model, "r", 80)
