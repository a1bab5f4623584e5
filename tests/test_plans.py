"""However the engine shares a call among threads, it computes what the layers compute one after the other, bit for bit:
batch slices, hidden slices, a stack of layers as a wavefront.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, floats, input_layer, model_spec
from rekur import _core
from test_cells import CELLS

FEATURES = 7
THREADS = (1, 2, 3, 5)


def layer(k: int, cell: str, units: int, reverse: bool, states: bool) -> dict[str, Any]:
    below = "x" if k == 0 else f"l{k - 1}"
    count = 2 if CELLS[cell]["type"] == "LSTM" else 1
    given = [f"s{k}_{i}" for i in range(count)] if states else []
    return {
        **CELLS[cell],
        "name": f"l{k}",
        "inputs": [below, *given],
        "units": units,
        "reverse": reverse,
        "return_sequences": True,
        "return_state": True,
    }


def stack(cells: list[str], units: list[int], reverse: bool, states: bool) -> dict[str, Any]:
    layers = [layer(k, cell, units[k], reverse, states) for k, cell in enumerate(cells)]
    given = [input_layer(name, units[k]) for k, spec in enumerate(layers) for name in spec["inputs"][1:]]
    outputs = [f"l{len(layers) - 1}:0", *(f"l{k}:1" for k in range(len(layers)))]
    return model_spec([input_layer("x", None, FEATURES), *given, *layers], outputs)


def single(spec: dict[str, Any], k: int, features: int) -> dict[str, Any]:
    """Layer k as a model of its own."""
    own = {**spec, "inputs": ["x", *spec["inputs"][1:]]}
    given = [input_layer(name, spec["units"]) for name in spec["inputs"][1:]]
    return model_spec([input_layer("x", None, features), *given, own], [f"l{k}:0", f"l{k}:1"])


def one_after_the_other(
    spec: dict[str, Any], engine: Engine, inputs: list[np.ndarray], lengths: np.ndarray, dy: list[np.ndarray]
) -> tuple[list[np.ndarray], dict[str, np.ndarray], list[np.ndarray]]:
    """Outputs, weight gradients and input gradients of the stack, its layers run as separate models."""
    layers = [s for s in spec["layers"] if s["type"] != "Input"]
    x, given = inputs[0], inputs[1:]
    passes, finals = [], []
    for k, s in enumerate(layers):
        alone = Engine(single(s, k, x.shape[2]))
        alone.weights = {name: engine.weights[name] for name in alone.shapes}
        count = len(s["inputs"]) - 1
        arrays, given = [x, *given[:count]], given[count:]
        all_lengths = [lengths, *[None] * count]
        passes.append((alone, arrays, all_lengths))
        x, final = alone.predict(arrays, all_lengths)
        finals.append(final)
    d_weights: dict[str, np.ndarray] = {}
    d_states: list[list[np.ndarray]] = []
    d = dy[0]
    for k in reversed(range(len(layers))):
        alone, arrays, all_lengths = passes[k]
        _, gradients, d_inputs = alone.gradients(arrays, [d, dy[1 + k]], all_lengths)
        d_weights.update(gradients)
        d_states.insert(0, d_inputs[1:])
        d = d_inputs[0]
    return [x, *finals], d_weights, [d, *(array for states in d_states for array in states)]


def check(spec: dict[str, Any], B: int, T: int, rng: np.random.Generator) -> None:
    engine = Engine(spec)
    layers = [s for s in spec["layers"] if s["type"] == "Input"]
    inputs = [floats(rng, B, T, FEATURES), *(floats(rng, B, s["shape"][0]) for s in layers[1:])]
    lengths = rng.integers(0, T + 1, B).astype(np.int32)
    lengths[0] = T
    all_lengths = [lengths, *[None] * (len(inputs) - 1)]
    expected = reference.run(spec, engine.weights, inputs, all_lengths)
    dy = [floats(rng, *y.shape) for y in expected]

    _core.set_num_threads(1)
    wanted = one_after_the_other(spec, engine, inputs, lengths, dy)
    for got, want in zip(wanted[0], expected, strict=True):
        assert_close(got, want, 1e-5)
    for threads in THREADS:
        _core.set_num_threads(threads)
        # The arrays of an earlier run are used again: other numbers in them, so that a step taken too soon shows.
        engine.predict([array + 1 for array in inputs], all_lengths)
        for got, want in zip(engine.predict(inputs, all_lengths), wanted[0], strict=True):
            np.testing.assert_array_equal(got, want)
        engine.gradients([array + 1 for array in inputs], [array + 1 for array in dy], all_lengths)
        outputs, d_weights, d_inputs = engine.gradients(inputs, dy, all_lengths)
        for got, want in zip(outputs, wanted[0], strict=True):
            np.testing.assert_array_equal(got, want)
        for name, want in wanted[1].items():
            np.testing.assert_array_equal(d_weights[name], want, err_msg=name)
        for got, want in zip(d_inputs, wanted[2], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("B", [1, 3, 9])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_few_rows(isa: str, rng: np.random.Generator, restore_threads: None, cell: str, depth: int, B: int) -> None:
    for units, reverse, states in ((35, False, True), (131, True, False)):
        check(stack([cell] * depth, [units, units + 3, units - 2][:depth], reverse, states), B, 37, rng)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_deep_stack_of_unlike_layers(
    isa: str, rng: np.random.Generator, restore_threads: None, reverse: bool
) -> None:
    """More layers than a stack takes at once, of different cells and sizes."""
    cells = list(CELLS) * 3
    units = [33, 5, 64, 17, 70, 31, 16, 48, 130][: len(cells)]
    check(stack(cells[: len(units)], units[: len(cells)], reverse, states=True), 2, 29, rng)


@pytest.mark.parametrize("units", [[24, 40], [130, 8], [8, 130]], ids=str)
def test_many_steps_of_one_row(isa: str, rng: np.random.Generator, restore_threads: None, units: list[int]) -> None:
    """Several chunks; the quicker of two layers would overtake the other, if it did not wait."""
    check(stack(["lstm", "lstm"], units, reverse=False, states=False), 1, 700, rng)


def test_a_layer_that_reads_the_states_of_the_one_below_waits_for_it(isa: str, rng: np.random.Generator) -> None:
    """Such a layer is no part of a stack."""
    spec = model_spec(
        [
            input_layer("x", None, 5),
            {"type": "GRU", "name": "a", "inputs": ["x"], "units": 6, "return_sequences": True, "return_state": True},
            {"type": "GRU", "name": "b", "inputs": ["a", "a:1"], "units": 6, "return_sequences": True},
        ],
        ["b"],
    )
    engine, x = Engine(spec), floats(rng, 3, 8, 5)
    assert_close(engine.predict([x])[0], reference.run(spec, engine.weights, [x], None)[0], 1e-5)


def test_dropout_in_a_stack_is_passed_over_in_inference_only(rng: np.random.Generator, restore_threads: None) -> None:
    spec = model_spec(
        [
            input_layer("x", None, 5),
            {"type": "LSTM", "name": "a", "inputs": ["x"], "units": 70, "return_sequences": True},
            {"type": "Dropout", "name": "d", "inputs": ["a"], "rate": 0.5},
            {"type": "LSTM", "name": "b", "inputs": ["d"], "units": 66, "return_sequences": True},
        ],
        ["b"],
    )
    engine, x = Engine(spec), floats(rng, 2, 40, 5)
    expected = reference.run(spec, engine.weights, [x], None)[0]
    dy = [floats(rng, 2, 40, 66)]
    results = []
    for threads in THREADS:
        _core.set_num_threads(threads)
        assert_close(engine.predict([x])[0], expected, 1e-5)
        outputs, d_weights, d_inputs = engine.gradients([x], dy, seed=3)
        assert np.abs(outputs[0] - expected).max() > 1e-3
        results.append([*outputs, *d_weights.values(), *d_inputs])
    for result in results[1:]:
        for got, want in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_without_a_step_are_zero(isa: str, rng: np.random.Generator, cell: str, direction: str) -> None:
    """Weight gradients are written, not added to zeroed arrays: also where there is no product to write them."""
    inner = {**CELLS[cell], "units": 6, "return_sequences": True}
    own = inner if direction == "forward" else {"type": "Bidirectional", "layer": inner}
    engine = Engine(model_spec([input_layer("x", None, 3), {**own, "name": "rnn", "inputs": ["x"]}], ["rnn"]))
    H = 6 if direction == "forward" else 12
    for T, lengths in ((0, None), (7, [np.zeros(4, np.int32)])):
        _, before, _ = engine.gradients([floats(rng, 4, 7, 3)], [floats(rng, 4, 7, H)])
        assert all(np.any(gradient) for gradient in before.values())
        del before  # its memory is likely to be used again
        _, gradients, _ = engine.gradients([floats(rng, 4, T, 3)], [floats(rng, 4, T, H)], lengths)
        for name, gradient in gradients.items():
            np.testing.assert_array_equal(gradient, 0, err_msg=name)
