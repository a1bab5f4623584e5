"""What holds for every cell of rekur.cells and for cells that were drawn at random, to the bit.

A sequence = any split of it with the states carried = any batch composition = any number of threads = its training
pass; a row that ends = that row by itself. And to the reference's digits: outputs and gradients. Streams stand in
test_cpp_bits.py, ONNX in test_onnx_cells.py. ``--cell-cases 5000`` draws many more cells.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

import reference
import rekur
from harness import Engine, assert_close, assert_gradients
from random_cells import DIRECTIONS, SIZES, cell_inputs, cell_model, library, random_cell
from rekur import _core

LIBRARY = library()
RANDOM = 150  # cells by default


def numbers(name: str, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([zlib.crc32(name.encode()), k]) for k in range(count)]


def sizes(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """B, T, I, H, not all of them large."""
    B, T, I, H = (int(rng.choice(SIZES)) for _ in range(4))
    while B * T * H * (I + H) > 400_000:
        B, T = max(1, B // 2), max(1, T // 2)
    return B, min(T, 17), I, H


def rows_of(rng: np.random.Generator, B: int, T: int) -> np.ndarray:
    lengths = rng.integers(0, T + 1, B).astype(np.int32)
    lengths[:: max(1, B // 2)] = rng.choice([0, T])
    return lengths


def timed(spec: dict[str, Any]) -> list[bool]:
    return [len(layer["shape"]) == 2 for layer in spec["layers"] if layer["type"] == "Input"]


def same(one: list[np.ndarray], two: list[np.ndarray], what: str) -> None:
    for k, (a, b) in enumerate(zip(one, two, strict=True)):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.array_equal(a.view(np.int32), b.view(np.int32)), f"{what}: output {k} differs"


def check_laws(cell: dict[str, Any], rng: np.random.Generator, what: str) -> None:
    B, T, I, H = sizes(rng)
    direction = str(rng.choice(DIRECTIONS[:3])) if rng.random() < 0.6 else "forward"
    widths = {name: int(rng.choice([1, H])) for name in cell.get("step_inputs", ())}
    options: dict[str, Any] = {"use_bias": False} if rng.random() < 0.2 else {}
    if rng.random() < 0.2:
        options["state_clip"] = 0.5
    if rng.random() < 0.2 and (cell["kernel"] or cell["recurrent"]):
        options |= {"layer_normalization": str(rng.choice(["sums", "state", "both"])), "normalization_epsilon": 0.5}
    spec = cell_model(cell, direction, I, H, initial=True, widths=widths, **options)
    what = f"{what}, {direction}, B {B} T {T} I {I} H {H}"
    engine = Engine(spec, seed=int(rng.integers(1000)))
    inputs, along = cell_inputs(rng, spec, B, T), timed(spec)
    steps = rows_of(rng, B, T) if rng.random() < 0.6 else None
    lengths = None if steps is None else [steps if a else None for a in along]

    before = _core.num_threads()
    whole = engine.predict(inputs, lengths)
    assert_digits(engine, inputs, lengths, whole, what)
    dy = [rng.standard_normal(y.shape).astype(np.float32) for y in whole]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
    same(outputs, whole, f"{what}: the training pass")
    try:
        for threads in (1, 3):
            _core.set_num_threads(threads)
            same(engine.predict(inputs, lengths), whole, f"{what}: {threads} threads")
            _, dw, dx = engine.gradients(inputs, dy, lengths)
            same(list(dw.values()), list(d_weights.values()), f"{what}: {threads} threads, gradients of weights")
            same(dx, d_inputs, f"{what}: {threads} threads, gradients of inputs")  # type: ignore[arg-type]
    finally:
        _core.set_num_threads(before)

    some = rng.permutation(B)[: max(1, B // 2)]
    part = engine.predict(
        [x[some] for x in inputs], lengths and [rows if rows is None else rows[some] for rows in lengths]
    )
    same(part, [y[some] for y in whole], f"{what}: other rows beside them")

    row = int(rng.integers(B))
    own = T if steps is None else int(steps[row])
    if own:
        cut = [x[row : row + 1, :own] if a else x[row : row + 1] for x, a in zip(inputs, along, strict=True)]
        alone = engine.predict([np.ascontiguousarray(x) for x in cut])
        expected = [y[row : row + 1, :own] if y.ndim == 3 else y[row : row + 1] for y in whole]
        same(alone, [np.ascontiguousarray(y) for y in expected], f"{what}: a row that ends, by itself")
        assert not any(y[row, own:].any() for y in whole if y.ndim == 3)

    if direction == "forward" and T > 1 and steps is None:
        at = int(rng.integers(1, T))
        states, pieces = inputs[len(along) - len(cell["states"]) :], []
        for piece in (slice(0, at), slice(at, T)):
            given = [np.ascontiguousarray(x[:, piece]) for x, a in zip(inputs, along, strict=True) if a]
            y, *states = engine.predict([*given, *states])
            pieces.append(y)
        same([np.concatenate(pieces, 1), *states], whole, f"{what}: split at {at}")


def assert_digits(engine: Engine, inputs: list[np.ndarray], lengths: Any, outputs: list[np.ndarray], what: str) -> None:
    """Against float64; where a cell magnifies what it is given, by as much as its inputs' last digits move it."""
    expected = reference.run(engine.spec, engine.weights, inputs, lengths)
    moved = [x * (1 + 2.0**-20 * np.sign(np.sin(1e5 * x))) for x in inputs]
    near = reference.run(engine.spec, engine.weights, moved, lengths)
    for y, e, n in zip(outputs, expected, near, strict=True):
        if e.size:
            slack = 20 * float(np.abs(e - n).max())
            difference = float(np.abs(y - e).max())
            assert difference <= 1e-5 * max(1.0, float(np.abs(e).max())) + slack, f"{what}: off by {difference:.3g}"


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_keeps_the_laws(request: pytest.FixtureRequest, isa: str, name: str) -> None:
    for k, rng in enumerate(numbers(f"{name} {isa}", 40 if request.config.getoption("--cell-cases") else 3)):
        check_laws(LIBRARY[name], rng, f"{name}, case {k}")


@pytest.mark.parametrize("block", range(5))
def test_random_cells_keep_the_laws(request: pytest.FixtureRequest, block: int) -> None:
    count = request.config.getoption("--cell-cases") or RANDOM
    isas, before = _core.available_isas(), _core.isa()
    try:
        for seed in range(block, count, 5):
            _core.set_isa(isas[seed % len(isas)])
            check_laws(random_cell(seed), np.random.default_rng([seed, 3]), f"random cell {seed}")
    finally:
        _core.set_isa(before)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_gradient_of_the_library(name: str) -> None:
    check_gradients(LIBRARY[name], "concat")


@pytest.mark.parametrize("block", range(3))
def test_every_gradient_of_random_cells(request: pytest.FixtureRequest, block: int) -> None:
    count = (request.config.getoption("--cell-cases") or RANDOM) // 5
    for seed in range(block, count, 3):
        check_gradients(random_cell(seed), DIRECTIONS[seed % 3])


def check_gradients(cell: dict[str, Any], direction: str) -> None:
    spec = cell_model(cell, direction, 2, 3, initial=True)
    along = timed(spec)

    def batch(rng: np.random.Generator) -> tuple[list[np.ndarray], list[Any]]:
        inputs = cell_inputs(rng, spec, 3, 4)
        return inputs, [np.array([4, 0, 2], np.int32) if a else None for a in along]

    assert_gradients(spec, batch=batch)


# Ours, the layer of the same equations, and which of our parameters, in which order, make each of its.
BUILT_IN: dict[str, dict[str, Any]] = {
    "simple_rnn": {"type": "SimpleRNN"},
    "lstm": {"type": "LSTM"},
    "peephole_lstm": {"type": "LSTM", "peepholes": True},
    "lstm_coupled": {"type": "LSTM", "coupled_gates": True},
    "gru": {"type": "GRU"},
    "gru_reset_before": {"type": "GRU", "reset_after": False},
}


def their_weights(name: str, built_in: Engine, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our parameters, or their gradients, in the built-in layer's form."""
    result = {}
    for key in built_in.shapes:
        prefix, _, part = key.rpartition("/")
        if part == "peephole":
            result[key] = np.stack([values[f"{prefix}/p_{gate}"] for gate in "ifo" if f"{prefix}/p_{gate}" in values])
        elif part == "bias" and name == "gru":
            result[key] = np.stack([values[f"{prefix}/bias"], values[f"{prefix}/recurrent_bias"]])
        else:
            result[key] = values[key]
    return result


@pytest.mark.parametrize("direction", ["forward", "reverse", "concat"])
@pytest.mark.parametrize("name", BUILT_IN)
def test_the_cells_that_are_built_in_give_the_layers_bits(isa: str, name: str, direction: str) -> None:
    for rng in numbers(f"{name} {direction}", 6):
        B, T, I, H = sizes(rng)
        ours = Engine(cell_model(LIBRARY[name], direction, I, H, initial=True), seed=1)
        spec = cell_model(LIBRARY[name], direction, I, H, initial=True)
        layer = spec["layers"][-1]
        core = layer.get("layer", layer)
        kept = {key: core[key] for key in ("units", "return_sequences", "return_state", "reverse") if key in core}
        theirs = {**kept, **BUILT_IN[name]}
        if layer is core:
            theirs.update(name="rnn", inputs=layer["inputs"])
            spec["layers"][-1] = theirs
        else:
            layer["layer"] = theirs
        built_in, weights = Engine(spec), ours.weights

        built_in.weights = their_weights(name, built_in, weights)
        inputs = cell_inputs(rng, spec, B, T)
        lengths = [rows_of(rng, B, T) if a else None for a in timed(spec)]
        whole = ours.predict(inputs, lengths)
        same(whole, built_in.predict(inputs, lengths), name)
        dy = [rng.standard_normal(y.shape).astype(np.float32) for y in whole]
        outputs, dw, dx = ours.gradients(inputs, dy, lengths)
        expected, their_dw, their_dx = built_in.gradients(inputs, dy, lengths)
        same(outputs, expected, f"{name}: the training pass")
        for key, gradient in their_weights(name, built_in, dw).items():
            assert_close(gradient, their_dw[key], 1e-5, f"{name}: gradient of {key}")
        for a, b in zip(dx, their_dx, strict=True):
            assert_close(a, b, 1e-5, f"{name}: gradient of an input")  # type: ignore[arg-type]


def test_a_stack_of_programs_and_built_in_layers_takes_any_number_of_threads(restore_threads: None) -> None:
    """Few rows: hidden slices, and the layers as a wavefront."""
    rng = np.random.default_rng(5)
    model = rekur.Sequential(
        [
            rekur.layers.RNN(rekur.cells.min_gru, 33, return_sequences=True, input_shape=(None, 7)),
            rekur.layers.LSTM(33, return_sequences=True),
            rekur.layers.Bidirectional(rekur.layers.RNN(rekur.cells.gru_reset_before, 17, return_sequences=True)),
            rekur.layers.RNN(rekur.cells.slstm, 129, return_sequences=True),
            rekur.layers.RNN(rekur.cells.light_gru, 65),
        ],
        seed=3,
    )
    for B in (1, 2, 40):
        x, y = rng.standard_normal((B, 50, 7)).astype(np.float32), rng.standard_normal((B, 65)).astype(np.float32)
        results = []
        for threads in (1, 2, 5):
            rekur.set_num_threads(threads)
            copy = rekur.Model.from_spec(model.spec, seed=3)
            copy.compile("sgd", "mse")
            copy.set_weights(model.get_weights())
            copy.train_on_batch(x, y)
            results.append([copy.predict(x), *copy.get_weights()])
        for other in results[1:]:
            same(other, results[0], f"{B} rows")
