"""Sequences of different lengths in one batch: a row must be exactly what it would be alone and unpadded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from rekur import _core
from test_cells import CELLS, VARIANTS

T, I, H = 9, 3, 5
LENGTHS = np.array([9, 0, 4, 1, 8, 9, 0], np.int32)
B = len(LENGTHS)
ALL = CELLS | {name: VARIANTS[name] for name in ("simplernn_relu", "lstm_hard")}
DIRECTIONS = ("forward", "reverse", "bidirectional")


def layer(cell: str, direction: str, **options: Any) -> dict[str, Any]:
    inner = {**ALL[cell], "units": H, "return_sequences": True, "return_state": True, **options}
    if direction == "bidirectional":
        return {"type": "Bidirectional", "layer": inner}
    return {**inner, "reverse": direction == "reverse"}


def spec_of(cell: str, direction: str, initial: bool = False, **options: Any) -> dict[str, Any]:
    states = reference.CELLS[ALL[cell]["type"]].states * (2 if direction == "bidirectional" else 1)
    names = ["x", *(f"s{k}" for k in range(states) if initial)]
    return model_spec(
        [
            input_layer("x", None, I),
            *(input_layer(name, H) for name in names[1:]),
            {**layer(cell, direction, **options), "name": "rnn", "inputs": names},
        ],
        [f"rnn:{k}" for k in range(states + 1)],
    )


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", ALL)
def test_a_row_equals_its_own_truncated_sequence(isa: str, rng: np.random.Generator, cell: str, direction: str) -> None:
    engine = Engine(spec_of(cell, direction, initial=True))
    x = floats(rng, B, T, I)
    states = [floats(rng, B, H) for _ in engine.spec["inputs"][1:]]
    y, *final = engine.predict([x, *states], [LENGTHS, *[None] * len(states)])
    for b, n in enumerate(LENGTHS):
        assert not y[b, n:].any(), "outputs past the length are zero"
        alone, *last = engine.predict([x[b : b + 1, :n].copy(), *(s[b : b + 1].copy() for s in states)])
        np.testing.assert_array_equal(y[b, :n], alone[0])
        for got, want in zip(final, last, strict=True):
            np.testing.assert_array_equal(got[b], want[0])


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("cell", ALL)
def test_padding_is_never_read(isa: str, rng: np.random.Generator, cell: str, direction: str) -> None:
    engine = Engine(spec_of(cell, direction))
    x = floats(rng, B, T, I)
    dirty = x.copy()
    dirty[np.arange(T) >= LENGTHS[:, None]] = np.nan
    for got, want in zip(engine.predict([dirty], [LENGTHS]), engine.predict([x], [LENGTHS]), strict=True):
        np.testing.assert_array_equal(got, want)
    dy = [floats(rng, *y.shape) for y in engine.predict([x], [LENGTHS])]
    dirty_dy = [dy[0].copy(), *dy[1:]]
    dirty_dy[0][np.arange(T) >= LENGTHS[:, None]] = 1e30
    y, d_weights, (dx,) = engine.gradients([dirty], dirty_dy, [LENGTHS])
    y_clean, d_weights_clean, (dx_clean,) = engine.gradients([x], dy, [LENGTHS])
    for got, want in zip(y, y_clean, strict=True):
        np.testing.assert_array_equal(got, want)
    for name in d_weights:
        np.testing.assert_array_equal(d_weights[name], d_weights_clean[name], err_msg=name)
    assert dx is not None and dx_clean is not None
    np.testing.assert_array_equal(dx, dx_clean)
    assert not dx[np.arange(T) >= LENGTHS[:, None]].any()


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("cell", ALL)
def test_length_zero_keeps_the_initial_state(isa: str, rng: np.random.Generator, cell: str, sequences: bool) -> None:
    spec = spec_of(cell, "forward", initial=True, return_sequences=sequences)
    engine = Engine(spec)
    states = [floats(rng, 2, H) for _ in spec["inputs"][1:]]
    none = np.zeros(2, np.int32)
    lengths = [none, *[None] * len(states)]
    outputs = engine.predict([floats(rng, 2, T, I), *states], lengths)
    np.testing.assert_array_equal(outputs[0], np.zeros((2, T, H)) if sequences else states[0])
    for got, want in zip(outputs[1:], states, strict=True):
        np.testing.assert_array_equal(got, want)
    dy = [floats(rng, *y.shape) for y in outputs]
    _, d_weights, d_inputs = engine.gradients([floats(rng, 2, T, I), *states], dy, lengths)
    assert all(not g.any() for g in d_weights.values())
    into_h = dy[1] if sequences else dy[0] + dy[1]
    for got, want in zip(d_inputs[1:], [into_h, *dy[2:]], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("cell", CELLS)
def test_full_lengths_change_nothing(isa: str, rng: np.random.Generator, cell: str) -> None:
    engine = Engine(spec_of(cell, "bidirectional"))
    x = floats(rng, B, T, I)
    full = np.full(B, T, np.int32)
    for got, want in zip(engine.predict([x], [full]), engine.predict([x]), strict=True):
        np.testing.assert_array_equal(got, want)


def test_lengths_travel_through_a_stack(isa: str) -> None:
    """Every layer that keeps the time axis hands the lengths on: a recurrent layer behind it stops where it should."""
    spec = model_spec(
        [
            input_layer("x", None, dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["x"], "input_dim": 6, "output_dim": 2},
            {"type": "Bidirectional", "name": "b", "inputs": ["e"],
             "layer": {"type": "LSTM", "units": 2, "return_sequences": True}},
            {"type": "Dense", "name": "d", "inputs": ["b"], "units": 3, "activation": "tanh"},
            {"type": "Activation", "name": "a", "inputs": ["d"], "activation": "sigmoid"},
            {"type": "Concatenate", "name": "c", "inputs": ["a", "e"]},
            {"type": "GRU", "name": "g", "inputs": ["c"], "units": 2, "reverse": True, "return_sequences": True},
            {"type": "SimpleRNN", "name": "s", "inputs": ["g"], "units": 2},
        ],
        ["s", "g"],
    )  # fmt: skip
    lengths = np.array([5, 2, 0, 3], np.int32)
    assert_gradients(spec, batch=lambda rng: ([rng.integers(0, 6, (4, 5)).astype(np.int32)], [lengths]))


def two_sequences(join: str) -> dict[str, Any]:
    return model_spec(
        [
            input_layer("a", None, 2),
            input_layer("b", None, 2),
            {"type": join, "name": "join", "inputs": ["a", "b"]},
            {"type": "LSTM", "name": "lstm", "inputs": ["join"], "units": 3},
        ],
        ["lstm"],
    )


def test_lengths_travel_through_the_layers_around_recurrent_ones(isa: str) -> None:
    spec = model_spec(
        [
            input_layer("x", None, 4),
            {"type": "LayerNormalization", "name": "n", "inputs": ["x"]},
            {"type": "Affine", "name": "a", "inputs": ["n"]},
            {"type": "Rescaling", "name": "r", "inputs": ["a"], "scale": 0.5, "offset": 1},
            {"type": "Slice", "name": "s", "inputs": ["r"], "start": 1},
            {"type": "Slice", "name": "t", "inputs": ["r"], "stop": 3},
            {"type": "Subtract", "name": "d", "inputs": ["s", "t"]},
            {"type": "GRU", "name": "g", "inputs": ["d"], "units": 2, "return_sequences": True},
            {"type": "Step", "name": "last", "inputs": ["g"], "index": -1},
            {"type": "Step", "name": "second", "inputs": ["g"], "index": 1},
        ],
        ["last", "second", "g"],
    )
    lengths = np.array([5, 2, 0, 1], np.int32)
    assert_gradients(spec, batch=lambda rng: ([floats(rng, 4, 5, 4)], [lengths]))


def test_the_last_step_is_the_last_output(isa: str, rng: np.random.Generator) -> None:
    """Step(-1) behind a sequence is what return_sequences=False gives, whatever the lengths."""
    spec = spec_of("gru", "forward")
    spec["layers"].append({"type": "Step", "name": "last", "inputs": ["rnn"], "index": -1})
    spec["outputs"] = ["last", "rnn:1"]
    engine = Engine(spec)
    for lengths in (None, [LENGTHS]):
        last, final = engine.predict([floats(rng, B, T, I)], lengths)
        np.testing.assert_array_equal(last, final)


@pytest.mark.parametrize("join", ["Concatenate", "Add", "Multiply", "Subtract", "Divide"])
def test_joining_time_axes_of_different_lengths_is_refused(rng: np.random.Generator, join: str) -> None:
    engine = Engine(two_sequences(join))
    x = [floats(rng, 2, 4, 2), floats(rng, 2, 4, 2)]
    with pytest.raises(ValueError, match="join"):
        engine.predict(x, [np.array([4, 2], np.int32), np.array([3, 2], np.int32)])


@pytest.mark.parametrize(
    ("lengths", "error"),
    [
        (np.array([1, 2], np.int32), ValueError),  # three rows
        (np.array([], np.int32), ValueError),
        (np.array([1, 2, 5], np.int32), ValueError),  # T is 4
        (np.array([1, -1, 4], np.int32), ValueError),
        (np.array([[1], [2], [3]], np.int32), (ValueError, TypeError)),
        (np.array([1.0, 2.0, 3.0], np.float32), TypeError),
        (np.array([1, 2, 3], np.int64), TypeError),
    ],
)
def test_bad_lengths_are_refused(rng: np.random.Generator, lengths: np.ndarray, error: type[Exception]) -> None:
    engine = Engine(spec_of("lstm", "forward"))
    x = floats(rng, 3, 4, I)
    with pytest.raises(error):
        engine.predict([x], [lengths])
    with pytest.raises(error):
        engine.model.forward([x], [lengths])
    with pytest.raises(ValueError):
        engine.predict([x], [None, None])


def test_lengths_of_an_input_without_time_are_refused(rng: np.random.Generator) -> None:
    engine = Engine(spec_of("gru", "forward", initial=True))
    with pytest.raises(ValueError, match="s0"):
        engine.predict([floats(rng, 2, 4, I), floats(rng, 2, H)], [None, np.array([1, 1], np.int32)])


def test_losses_leave_out_padded_steps(rng: np.random.Generator) -> None:
    spec = model_spec(
        [
            input_layer("x", None, I),
            {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 4, "return_sequences": True},
            {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 2},
        ],
        ["y"],
    )
    engine = Engine(spec)
    config = {"optimizer": {"name": "sgd", "learning_rate": 0.0}, "losses": [{"name": "mean_squared_error"}]}
    trainer = _core.Trainer(engine.model, json.dumps(config))
    x, target = floats(rng, B, T, I), floats(rng, B, T, 2)
    want = reference.loss(config["losses"][0], reference.run(spec, engine.weights, [x], [LENGTHS])[0], target, LENGTHS)
    target[np.arange(T) >= LENGTHS[:, None]] = np.nan
    loss, _, _, _ = trainer.evaluate([x], [target], [LENGTHS])
    assert_close(np.asarray(loss), want, 1e-6, "loss")
    loss, _, _, _ = trainer.step([x], [target], [LENGTHS])
    assert_close(np.asarray(loss), want, 1e-6, "loss of a step")
