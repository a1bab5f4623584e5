"""clip, output_activation, peepholes and coupled_gates as arguments of the Python layers, and what sets them apart.

That they compute what their equations say is the business of test_cells.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, floats, input_layer, model_spec
from rekur import activations, layers

I, H = 3, 4
PLAIN = {
    "clip": 1.5,
    "output_activation": {"name": "scaled_tanh", "alpha": 1.2, "beta": 0.5},
    "peepholes": True,
    "coupled_gates": True,
}


def engine_of(layer: dict[str, Any], seed: int = 0) -> Engine:
    own = {"units": H, "return_sequences": True, **layer, "name": "rnn", "inputs": ["x"]}
    return Engine(model_spec([input_layer("x", None, I), own], ["rnn"]), seed)


def shapes(model: rekur.Model) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix("rnn/"): w.shape for name, w in model.named_weights().items() if name.startswith("rnn/")}


def lstm(**options: Any) -> rekur.Sequential:
    return rekur.Sequential([layers.LSTM(H, input_shape=(None, I), name="rnn", **options), layers.Dense(1)])


@pytest.mark.parametrize("kind", [layers.SimpleRNN, layers.LSTM, layers.GRU])
def test_a_layer_without_options_has_none_in_its_spec(kind: Any) -> None:
    assert not set(kind(H).config()) & {*PLAIN, "peephole_initializer"}


def test_options_are_in_the_spec_and_come_back(tmp_path: Path, rng: np.random.Generator) -> None:
    model = lstm(
        clip=1.5,
        output_activation=activations.ScaledTanh(1.2, 0.5),
        peepholes=True,
        coupled_gates=True,
        peephole_initializer="glorot_uniform",
    )
    config = model.layers[0].config()
    assert {key: config[key] for key in PLAIN} == PLAIN
    assert config["peephole_initializer"] == "glorot_uniform" and config["bias_initializer"] == "zeros"
    model.save(tmp_path / "m.safetensors")
    again = rekur.load(tmp_path / "m.safetensors")
    assert again.get_layer("rnn").config() == config
    x = floats(rng, 2, 5, I)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    both = rekur.Sequential([layers.Bidirectional(layers.LSTM(H, clip=2, peepholes=True), input_shape=(None, I))])
    assert type(both.layers[0]).from_config(both.layers[0].config()).config() == both.layers[0].config()


@pytest.mark.parametrize(
    ("options", "gates", "rows"),
    [({"peepholes": True}, 4, 3), ({"coupled_gates": True}, 3, 0), ({"peepholes": True, "coupled_gates": True}, 3, 2)],
)
def test_parameters(options: dict[str, bool], gates: int, rows: int) -> None:
    want = {"kernel": (I, gates * H), "recurrent_kernel": (H, gates * H), "bias": (gates * H,)}
    assert shapes(lstm(**options)) == want | ({"peephole": (rows, H)} if rows else {})
    del want["bias"]
    assert shapes(lstm(**options, use_bias=False)) == want | ({"peephole": (rows, H)} if rows else {})


def test_what_they_begin_with() -> None:
    weights = lstm(peepholes=True).named_weights()
    assert not weights["rnn/peephole"].any()
    np.testing.assert_array_equal(weights["rnn/bias"], np.repeat(np.float32([0, 1, 0, 0]), H))
    assert not lstm(coupled_gates=True).named_weights()["rnn/bias"].any()
    drawn = lstm(peepholes=True, peephole_initializer="normal").named_weights()["rnn/peephole"]
    assert len(np.unique(drawn)) == drawn.size


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clip": 0}, ValueError, "clip must be above 0"),
        ({"clip": -1.0}, ValueError, "clip must be above 0"),
        ({"clip": float("inf")}, ValueError, "clip must be a finite number"),
        ({"clip": float("nan")}, ValueError, "clip must be a finite number"),
        ({"clip": "1"}, TypeError, "clip must be a number"),
        ({"peepholes": 1}, TypeError, "peepholes must be True or False"),
        ({"coupled_gates": None}, TypeError, "coupled_gates must be True or False"),
        ({"coupled_gates": True, "bias_initializer": "unit_forget"}, ValueError, "coupled_gates leave the forget gate"),
        ({"output_activation": "softmax"}, ValueError, "softmax is for Dense"),
        ({"output_activation": {"name": "softplus", "beta": 2}}, ValueError, "'softplus' has no parameter 'beta'"),
        ({"activation": {"name": "affine", "gamma": 2}}, ValueError, "'affine' has no parameter 'gamma'"),
        ({"peephole_initializer": "zeroes"}, ValueError, "zeros"),
    ],
    ids=str,
)
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        layers.LSTM(H, name="rnn", **options)


def test_of_gru_and_simple_rnn_only_clip(rng: np.random.Generator) -> None:
    for kind in (layers.GRU, layers.SimpleRNN):
        with pytest.raises(TypeError, match="no argument 'peepholes'"):
            kind(H, peepholes=True)
        with pytest.raises(ValueError, match="clip"):
            kind(H, clip=0)
        assert kind(H, clip=2).config()["clip"] == 2


def test_training_moves_the_peepholes(rng: np.random.Generator) -> None:
    rekur.set_random_seed(3)
    model = lstm(peepholes=True, coupled_gates=True)
    model.compile("adam", "mse")
    x = floats(rng, 64, 6, I)
    y = x.sum(axis=(1, 2))[:, None]
    losses = model.fit(x, y, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.all(model.named_weights()["rnn/peephole"] != 0)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_a_wide_clip_changes_nothing_and_a_narrow_one_binds(isa: str, rng: np.random.Generator, kind: str) -> None:
    x = floats(rng, 3, 7, I)
    plain, wide, narrow = (engine_of({"type": kind, **clip}) for clip in ({}, {"clip": 1e30}, {"clip": 0.25}))
    np.testing.assert_allclose(wide.predict([x])[0], plain.predict([x])[0], rtol=0, atol=1e-6)
    assert np.abs(narrow.predict([x])[0] - plain.predict([x])[0]).max() > 0.01
    if kind == "SimpleRNN":
        assert np.abs(narrow.predict([x])[0]).max() == pytest.approx(np.tanh(0.25), abs=1e-7)


@pytest.mark.parametrize("activation", [name for name in reference.ACTIVATIONS if name != "softmax"])
def test_what_is_clamped_passes_no_gradient(isa: str, rng: np.random.Generator, activation: str) -> None:
    """One step: a pre-activation beyond the clip sends nothing back, one within it what the function's slope says."""
    layer = {"type": "SimpleRNN", "activation": activation, "clip": 1.5, "use_bias": False}
    engine = engine_of(layer)
    engine.weights = {"rnn/kernel": np.eye(I, H), "rnn/recurrent_kernel": np.zeros((H, H))}
    x = np.float32([[[-7, -1.2, 1.2]], [[7, -1.6, 1.6]], [[1e30, -3e38, 1.4]]])
    y, _, (dx,) = engine.gradients([x], [np.ones((3, 1, H), np.float32)])
    f = reference.ACTIVATIONS[activation]
    np.testing.assert_allclose(y[0][:, 0, :I], f(np.clip(x[:, 0].astype(np.float64), -1.5, 1.5)), atol=1e-6)
    slope = reference.numeric_gradient(lambda v: float(np.sum(f(v))), np.clip(x[:, 0], -1.5, 1.5))
    assert dx is not None
    np.testing.assert_allclose(dx[:, 0], np.where(np.abs(x[:, 0]) < 1.5, slope, 0), atol=1e-5)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_a_clip_lets_nan_through(isa: str, rng: np.random.Generator, kind: str) -> None:
    engine, x = engine_of({"type": kind, "clip": 0.5}), floats(rng, 4, 5, I)
    clean = engine.predict([x])[0]
    x[1, 2, 0] = np.nan
    y = engine.predict([x])[0]
    assert np.isnan(y[1, 2:]).all()
    np.testing.assert_array_equal(np.delete(y, 1, axis=0), np.delete(clean, 1, axis=0))


def test_an_output_activation_like_the_activation_is_the_default(isa: str, rng: np.random.Generator) -> None:
    x = floats(rng, 3, 5, I)
    given = engine_of({"type": "LSTM", "activation": "softsign", "output_activation": "softsign"})
    other = engine_of({"type": "LSTM", "activation": "softsign", "output_activation": "linear"})
    default = engine_of({"type": "LSTM", "activation": "softsign"})
    np.testing.assert_array_equal(given.predict([x])[0], default.predict([x])[0])
    assert np.abs(other.predict([x])[0] - default.predict([x])[0]).max() > 0.01


def test_peepholes_of_zero_are_none(isa: str, rng: np.random.Generator) -> None:
    x = floats(rng, 3, 5, I)
    plain, looking = engine_of({"type": "LSTM"}), engine_of({"type": "LSTM", "peepholes": True})
    looking.weights = {**plain.weights, "rnn/peephole": np.zeros((3, H))}
    np.testing.assert_array_equal(looking.predict([x])[0], plain.predict([x])[0])
