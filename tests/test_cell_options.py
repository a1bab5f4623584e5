"""Options of every cell against the float64 reference: inference, and training forms whose masks are known."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, assert_close, floats, input_layer, model_spec
from masks import drawn, with_masks
from random_cells import library
from rekur import _core

pytestmark = pytest.mark.usefixtures("by_nodes")

CELLS: dict[str, dict[str, Any]] = {
    "simple_rnn": {"type": "SimpleRNN"},
    "lstm": {"type": "LSTM"},
    "lstm_peephole": {"type": "LSTM", "peepholes": True},
    "lstm_coupled": {"type": "LSTM", "coupled_gates": True},
    "lstm_peephole_coupled_clip": {"type": "LSTM", "peepholes": True, "coupled_gates": True, "clip": 0.9},
    "lstm_softsign": {"type": "LSTM", "activation": "softsign", "output_activation": "tanh", "use_bias": False},
    "gru": {"type": "GRU"},
    "gru_no_bias": {"type": "GRU", "use_bias": False},
    "gru_reset_before": {"type": "GRU", "reset_after": False},
    "light_gru": {"type": "RNN", "cell": library()["light_gru"]},
    "janet": {"type": "RNN", "cell": library()["janet"]},
    "min_gru": {"type": "RNN", "cell": library()["min_gru"]},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.4},
    "both_dropouts": {"dropout": 0.3, "recurrent_dropout": 0.2},
    "zoneout": {"zoneout": 0.3},
    "zoneout_of_h": {"zoneout": {"h": 0.25}},
    "state_clip": {"state_clip": 0.3},
    "sums": {"layer_normalization": "sums"},
    "state": {"layer_normalization": "state", "normalization_epsilon": 0.01},
    "all": {
        "dropout": 0.2,
        "recurrent_dropout": 0.3,
        "zoneout": 0.2,
        "state_clip": 0.8,
        "layer_normalization": "both",
        "normalization_epsilon": 0.1,
    },
}
DIRECTIONS = ("forward", "reverse", "concat", "mul")
SIZES = (1, 2, 3, 5, 7, 17, 31, 33, 65)


def spec_of(
    cell: Mapping[str, Any], direction: str, H: int, features: int, *, initial: bool = False, **options: Any
) -> dict[str, Any]:
    layer = {**cell, "units": H, "return_sequences": True, "return_state": True, **options}
    if direction in ("forward", "reverse"):
        layer["reverse"] = direction == "reverse"
    else:
        layer = {"type": "Bidirectional", "merge_mode": direction, "layer": layer}
    count = reference.state_count(cell) * (2 if "layer" in layer else 1)
    states = [f"s{k}" for k in range(count if initial else 0)]
    inputs = [input_layer("x", None, features), *(input_layer(name, H) for name in states)]
    outputs = [f"rnn:{k}" for k in range(1 + count)]
    return model_spec([*inputs, {**layer, "name": "rnn", "inputs": ["x", *states]}], outputs)


def allowed(cell: str, options: Mapping[str, Any]) -> bool:
    return not (cell == "min_gru" and "recurrent_dropout" in options)  # it has no recurrent product


CASES = [
    (cell, option, DIRECTIONS[(n + k) % 4])
    for (n, cell), (k, option) in itertools.product(enumerate(CELLS), enumerate(OPTIONS))
    if allowed(cell, OPTIONS[option])
]


def sized(number: int) -> tuple[int, int, int, int]:
    """B, T, I, H."""
    B, T, features, H = (SIZES[(number * step + shift) % 9] for step, shift in ((1, 0), (2, 3), (5, 6), (4, 1)))
    while B * T * H * (features + H) > 400_000:
        T = SIZES[max(SIZES.index(T) - 2, 0)]
        B = SIZES[max(SIZES.index(B) - 1, 0)]
    return B, T, features, H


@pytest.mark.isa_in_turn
@pytest.mark.sampled(2)
@pytest.mark.parametrize(("cell", "option", "direction"), CASES)
def test_option_in_inference_and_training(isa: str, cell: str, option: str, direction: str) -> None:
    """Outputs, and the gradients of parameters, x and initial states along a random direction each."""
    number = CASES.index((cell, option, direction))
    B, T, features, H = sized(number)
    spec = spec_of(CELLS[cell], direction, H, features, initial=number % 3 > 0, **OPTIONS[option])
    engine, rng = Engine(spec), np.random.default_rng(number)
    weights = engine.weights
    inputs = [floats(rng, *(B, T, features) if k == 0 else (B, H)) for k in range(len(spec["inputs"]))]
    lengths = None
    if number % 2:
        lengths = [rng.integers(0, T + 1, B).astype(np.int32), *[None] * (len(inputs) - 1)]
    digits = 3e-5 if "layer_normalization" in OPTIONS[option] else 1e-5  # small variances magnify
    wanted = reference.run(spec, weights, inputs, lengths)
    for y, e in zip(engine.predict(inputs, lengths), wanted, strict=True):
        assert_close(y, e, digits, "predicted")

    seed, step = 3 + (number << 33), number + (5 << 32)
    trained = with_masks(spec, inputs[0], seed, step)
    wanted = reference.run(trained, weights, inputs, lengths)
    dy = [floats(rng, *y.shape) for y in wanted]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths, seed, step)
    for y, e in zip(outputs, wanted, strict=True):
        assert_close(y, e, digits, "training pass")

    def total(values: Mapping[str, Any]) -> float:
        own = {name: values.get(name, w) for name, w in weights.items()}
        given = [values.get(name, x) for name, x in zip(spec["inputs"], inputs, strict=True)]
        ys = reference.run(trained, own, given, lengths)
        return sum(float(np.sum(y * d)) for y, d in zip(ys, dy, strict=True))

    gradients = {**d_weights, **dict(zip(spec["inputs"], d_inputs, strict=True))}
    for name, value in [*weights.items(), *zip(spec["inputs"], inputs, strict=True)]:
        along = rng.standard_normal(value.shape)
        slope = reference.directional_derivative(lambda v, name=name: total({name: v}), value, along, eps=1e-8)
        gradient = gradients[name].astype(np.float64)
        got = float(np.sum(gradient * along))
        bound = 10 * digits * max(float(np.linalg.norm(gradient)), abs(slope)) + 2e-6
        assert abs(got - slope) <= bound, f"gradient of {name}: slope {got}, expected {slope}"


@pytest.mark.parametrize("cell", [name for name in CELLS if CELLS[name]["type"] != "RNN"])
def test_the_equations_that_options_rewrite_are_those_of_the_compiled_cell_to_the_bit(isa: str, cell: str) -> None:
    """A bound that nothing reaches makes a program of the cell and changes no number."""
    for number, direction in enumerate(DIRECTIONS):
        B, T, features, H = sized(2 * number + 1)
        plain = Engine(spec_of(CELLS[cell], direction, H, features))
        bounded = Engine(spec_of(CELLS[cell], direction, H, features, state_clip=1e30))
        x = floats(np.random.default_rng(number), B, T, features)
        for a, b in zip(plain.predict([x]), bounded.predict([x]), strict=True):
            assert np.array_equal(a.view(np.int32), b.view(np.int32))
        dy = [floats(np.random.default_rng(9), *y.shape) for y in plain.predict([x])]
        _, ours, (dx,) = bounded.gradients([x], dy)
        _, compiled, (dx_compiled,) = plain.gradients([x], dy)
        assert dx is not None
        assert_close(dx, dx_compiled, 2e-5, "gradient of x")
        for name, gradient in compiled.items():
            assert_close(ours[name], gradient, 2e-5, name)


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "lstm_peephole", "gru", "gru_reset_before"])
def test_what_acts_in_training_alone_leaves_inference_to_the_compiled_cell(isa: str, cell: str) -> None:
    """The same bits; idle options change nothing in training either."""
    B, T, features, H = 5, 7, 3, 17
    x = floats(np.random.default_rng(0), B, T, features)
    plain = Engine(spec_of(CELLS[cell], "concat", H, features))
    dropping = Engine(spec_of(CELLS[cell], "concat", H, features, dropout=0.5, recurrent_dropout=0.5))
    idle = Engine(spec_of(CELLS[cell], "concat", H, features, dropout=0, recurrent_dropout=0.0, zoneout={"h": 0}))
    wanted = plain.predict([x])
    dy = [floats(np.random.default_rng(9), *y.shape) for y in wanted]
    trained = plain.gradients([x], dy)
    for engine in (dropping, idle):
        for a, b in zip(wanted, engine.predict([x]), strict=True):
            assert np.array_equal(a, b)
    outputs, weights, _ = idle.gradients([x], dy)
    for a, b in zip([*trained[0], *trained[1].values()], [*outputs, *weights.values()], strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(dropping.gradients([x], dy)[0][0], wanted[0])


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm", "gru_reset_before", "janet"])
def test_masks_are_the_same_for_any_number_of_threads_and_others_for_another_seed_or_step(cell: str) -> None:
    B, T, features, H = 33, 9, 5, 65
    engine = Engine(spec_of(CELLS[cell], "concat", H, features, **OPTIONS["all"]))
    rng = np.random.default_rng(1)
    x = floats(rng, B, T, features)
    dy = [floats(rng, *y.shape) for y in engine.predict([x])]
    before = _core.num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            _core.set_num_threads(threads)
            outputs, weights, (dx,) = engine.gradients([x], dy, seed=4, step=6)
            found.append([*outputs, *weights.values(), dx])
    finally:
        _core.set_num_threads(before)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert np.array_equal(a, b)
    for seed, step in ((5, 6), (4, 7)):
        assert not np.array_equal(engine.gradients([x], dy, seed=seed, step=step)[0][0], found[0][0])


def test_rows_blocks_states_steps_and_directions_have_masks_of_their_own() -> None:
    """As often zero as the rate says, and as often together as independent ones are."""
    core = {"type": "LSTM", "units": 64, "dropout": 0.3, "recurrent_dropout": 0.3, "zoneout": 0.3}
    x = np.zeros((50, 8, 400), np.float32)
    masks = [drawn(core, x, 7, step, layer, d) for step, layer, d in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1))]
    several = [np.asarray(m).reshape(-1)[:12800] == 0 for one in masks for m in (one["x"], one["recurrent"])]
    several += [m.reshape(-1)[:12800] == 0 for one in masks for m in one["zoneout"].values()]
    deviation = np.sqrt(0.09 * 0.91 / 12800)
    for k, a in enumerate(several):
        assert abs(a.mean() - 0.3) < 5 * np.sqrt(0.21 / a.size)
        for b in several[:k]:
            assert abs(np.mean(a & b) - 0.09) < 5 * deviation
        assert abs(np.mean(a[1:] & a[:-1]) - 0.09) < 5 * deviation
    assert masks[0]["recurrent"].shape == (50, 4, 64) and set(masks[0]["zoneout"]) == {"h", "c"}


KERAS_CELLS = [("SimpleRNN", {}), ("LSTM", {}), ("GRU", {}), ("GRU", {"reset_after": False})]


@pytest.mark.parametrize(
    "options", [{"dropout": 0.4}, {"recurrent_dropout": 0.4}], ids=["dropout", "recurrent_dropout"]
)
@pytest.mark.parametrize(("kind", "more"), KERAS_CELLS)
def test_dropout_is_keras_s_in_inference_and_on_average(
    kind: str, more: dict[str, Any], options: dict[str, Any]
) -> None:
    """Thousands of rows that are alike: what their masks make of them has Keras's mean and spread at every step."""
    keras = pytest.importorskip("keras")
    rows, T, features, H = 20000, 3, 1, 5
    rng = np.random.default_rng(2)
    one = rng.normal(size=(1, T, features)).astype(np.float32)
    x = np.repeat(one, rows, axis=0)
    theirs = getattr(keras.layers, kind)(H, return_sequences=True, seed=3, **more, **options)
    theirs(x[:1])
    theirs.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in theirs.get_weights()])
    layer = getattr(rekur.layers, kind)(H, return_sequences=True, **more, **options)
    model = rekur.Sequential([rekur.Input((T, features)), layer])
    model.set_weights(theirs.get_weights())
    assert_close(model.predict(one), np.asarray(theirs(one)), 1e-5)
    engine = Engine(model.spec)
    engine.weights = dict(model.named_weights())
    ours, expected = (
        engine.gradients([x], [x[:, :, :1].repeat(H, 2)], seed=1)[0][0],
        np.asarray(theirs(x, training=True)),
    )
    spread = expected.std(axis=0)
    assert spread.max() > 0.1
    assert np.all(np.abs(ours.mean(axis=0) - expected.mean(axis=0)) < 6 * spread * np.sqrt(2 / rows) + 1e-6)
    assert np.all(np.abs(ours.std(axis=0) - spread) < 0.04 * spread.max())
    # Gates dropped by masks of their own move with one another otherwise than by one mask.
    for a, b in itertools.combinations(range(H), 2):
        pair = [
            np.mean((v[:, -1, a] - v[:, -1, a].mean()) * (v[:, -1, b] - v[:, -1, b].mean())) for v in (ours, expected)
        ]
        assert abs(pair[0] - pair[1]) < 0.06 * spread.max() ** 2


@pytest.mark.parametrize("number", range(18))
def test_options_are_exported_as_what_they_are_in_inference(number: int, tmp_path: Path) -> None:
    """Verified in onnxruntime by the export. Dropout alone leaves ONNX's own operator."""
    pytest.importorskip("onnxruntime")
    cells = [name for name in CELLS if name != "min_gru"]
    cell, option = CELLS[cells[number % len(cells)]], list(OPTIONS)[number % len(OPTIONS)]
    core = {"units": 4, "return_sequences": number % 2 == 0, **OPTIONS[option]}
    kind = rekur.layers.TYPES[cell["type"]]
    layer = kind.from_config({**{key: value for key, value in cell.items() if key != "type"}, **core})
    both = number % 3 == 0
    model = rekur.Sequential(
        [rekur.Input((None, 3)), rekur.layers.Bidirectional(layer) if both else layer], seed=number
    )
    report = rekur.onnx.export(model, tmp_path / "model.onnx", lengths=number % 2 == 1, tolerance=3e-5)
    trained_only = "dropout" in option
    assert ("Scan" in report.nodes) == (cell["type"] == "RNN" or not trained_only)
    x = floats(np.random.default_rng(0), 3, 5, 3)
    again = rekur.onnx.load(tmp_path / "model.onnx")
    assert_close(again.predict(x), model.predict(x), 1e-5)
    if not both:
        rekur.onnx.export(model, tmp_path / "live.onnx", streaming=True, tolerance=3e-5)
        rekur.onnx.export(model, tmp_path / "states.onnx", states=True, tolerance=3e-5)


def test_options_are_in_files_copies_and_repr_of_wrong_ones_names_them(tmp_path: Path) -> None:
    layer = rekur.layers.LSTM(4, zoneout={"c": 0.1}, layer_normalization=True, state_clip=2, recurrent_dropout=0.2)
    assert layer.layer_normalization == "sums" and layer.zoneout == {"c": 0.1}
    model = rekur.Sequential([rekur.Input((None, 3)), copy.deepcopy(layer), rekur.layers.Dense(1)], seed=1)
    model.save(tmp_path / "model.safetensors")
    again = rekur.load(tmp_path / "model.safetensors")
    x = floats(np.random.default_rng(0), 3, 5, 3)
    assert again.spec == model.spec and np.array_equal(again.predict(x), model.predict(x))
    shapes = {name: w.shape for name, w in model.named_weights().items() if name.startswith("lstm/")}
    assert shapes["lstm/kernel_gamma"] == shapes["lstm/recurrent_gamma"] == shapes["lstm/bias"] == (16,)
    assert np.array_equal(model.named_weights()["lstm/kernel_gamma"], np.ones(16))
    for wrong, message in (
        ({"zoneout": {"k": 0.1}}, "its cell has no state 'k'"),
        ({"normalization_epsilon": 0.1}, "normalization_epsilon is that of layer_normalization"),
        ({"layer_normalization": True, "beta_initializer": "ones"}, "after the sums comes the bias"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"layer_normalization": "sum"}, "one of sums, state, both"),
        ({"recurent_dropout": 0.1}, "did you mean 'recurrent_dropout'"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            rekur.layers.LSTM(4, **wrong)
    with pytest.raises(ValueError, match="recurrent_dropout: its cell has no recurrent product"):
        rekur.layers.RNN("min_gru", 4, recurrent_dropout=0.1)(rekur.Input((None, 3)))


def test_a_model_with_options_learns_and_evaluates_without_masks() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 12, 2)).astype(np.float32)
    y = x[:, :, :1].mean(axis=1)
    options = {
        "dropout": 0.1,
        "recurrent_dropout": 0.1,
        "zoneout": 0.1,
        "layer_normalization": "both",
        "state_clip": 3.0,
    }
    for layer in (rekur.layers.GRU(8, **options), rekur.layers.Bidirectional(rekur.layers.LSTM(8, **options))):
        model = rekur.Sequential([rekur.Input((None, 2)), layer, rekur.layers.Dense(1)], seed=2)
        model.compile(rekur.optimizers.Adam(0.02), "mse")
        losses = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history["loss"]
        assert losses[-1] < losses[0] / 2
        assert model.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)
