"""A row is computed by itself: its outputs and the gradients of its inputs have the same bits alone, among others, in
another place, beside longer rows, and on any number of threads. Only gradients of weights sum over rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness import Engine, floats, input_layer, model_spec
from rekur import _core
from test_cells import CELLS, VARIANTS
from test_layer_contract import EXAMPLES, F32, REFOLDED, Example

B, T = 23, 36  # several chunks of the backward pass together, one chunk for a row alone

Arrays = list[np.ndarray]


def subsets(rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of the batch, by number."""
    return [np.arange(1), np.arange(3), np.arange(17), np.array([B - 1]), rng.permutation(B), rng.permutation(B)[:9]]


def passes(engine: Engine, inputs: Arrays, dy: Arrays, lengths: Any = None) -> Arrays:
    """Outputs, then the gradients of the inputs that have one."""
    outputs, _, dx = engine.gradients(inputs, dy, lengths)
    return [*outputs, *(d for d in dx if d is not None)]


def assert_rows_by_themselves(
    engine: Engine, inputs: Arrays, rng: np.random.Generator, lengths: np.ndarray | None = None, moved: bool = True
) -> None:
    """`moved` false: only the first rows of the batch, in their places."""

    def of_rows(rows: Any) -> list[np.ndarray] | None:
        return None if lengths is None else [lengths[rows] if x.ndim == 3 else None for x in inputs]

    dy = [floats(rng, *y.shape) for y in engine.predict(inputs, of_rows(slice(None)))]
    _core.set_num_threads(1)
    together = passes(engine, inputs, dy, of_rows(slice(None)))
    for threads in (1, 3):
        _core.set_num_threads(threads)
        for rows in [np.arange(B), *subsets(rng)]:
            if not moved and not np.array_equal(rows, np.arange(len(rows))):
                continue
            alone = passes(engine, [x[rows] for x in inputs], [d[rows] for d in dy], of_rows(rows))
            for n, (got, want) in enumerate(zip(alone, together, strict=True)):
                np.testing.assert_array_equal(got, want[rows], f"array {n} of {len(rows)} rows, {threads} threads")


def recurrent(layer: dict[str, Any], features: int, states: int = 0) -> Engine:
    """The layer between two products, so that all its gradients flow on; with as many initial states."""
    inputs = [input_layer(f"s{k}", layer.get("layer", layer)["units"]) for k in range(states)]
    subject = {**layer, "name": "subject", "inputs": ["x", *(f"s{k}" for k in range(states))]}
    y = {"type": "Dense", "name": "y", "inputs": ["subject"], "units": 5}
    return Engine(model_spec([input_layer("x", None, features), *inputs, subject, y], ["y"]))


SEQUENCES = {"return_sequences": True}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.type}-{len(e.inputs)}")
def test_every_layer(isa: str, rng: np.random.Generator, restore_threads: None, example: Example) -> None:
    inputs = example.arrays(rng, B, T)
    # A mask is drawn by an element's place in the batch.
    layer = example.layer.get("layer", example.layer)
    if example.type == "BatchNormalization":
        pytest.skip("in training its outputs are of the batch: test_feature_layers.py")
    noise = ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout")
    masks = example.type in noise or any(key in layer for key in ("dropout", "recurrent_dropout", "zoneout"))
    assert_rows_by_themselves(Engine(example.spec()), inputs, rng, moved=not masks)


@pytest.mark.parametrize("direction", ["onwards", "reverse", "both"])
@pytest.mark.parametrize("cell", [*CELLS, *(n for n in list(VARIANTS)[::9] if not n.startswith("cells.qrnn_2"))])
@pytest.mark.parametrize("units", [7, 33, 96])
def test_every_cell_in_every_direction(
    rng: np.random.Generator, restore_threads: None, cell: str, direction: str, units: int
) -> None:
    layer = {**(CELLS | VARIANTS)[cell], "units": units, **SEQUENCES}
    if direction == "reverse":
        layer["reverse"] = True
    elif direction == "both":
        layer = {"type": "Bidirectional", "layer": layer}
    assert_rows_by_themselves(recurrent(layer, 19), [floats(rng, B, T, 19)], rng)


@pytest.mark.parametrize("merge_mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [True, False])
def test_both_directions_with_states_and_lengths(
    isa: str, rng: np.random.Generator, restore_threads: None, merge_mode: str, sequences: bool
) -> None:
    layer = {"type": "LSTM", "units": 21, "return_sequences": sequences}
    engine = recurrent({"type": "Bidirectional", "layer": layer, "merge_mode": merge_mode}, 20, states=4)
    lengths = rng.integers(0, T + 1, B).astype(np.int32)
    inputs = [floats(rng, B, T, 20), *(floats(rng, B, 21) for _ in range(4))]
    assert_rows_by_themselves(engine, inputs, rng, lengths)
    assert_rows_by_themselves(engine, inputs, rng)


def stack(kind: str, layers: int, units: int) -> Engine:
    nodes: list[dict[str, Any]] = [input_layer("x", None, 19)]
    for k in range(layers):
        inner = {"type": ["LSTM", "GRU"][k % 2], "units": units, **SEQUENCES}
        if kind == "onwards":
            layer = inner
        elif kind == "backwards":
            layer = {**inner, "reverse": True}
        else:
            layer = {"type": "Bidirectional", "layer": inner}
        nodes.append({**layer, "name": f"l{k}", "inputs": [nodes[-1]["name"]]})
    return Engine(model_spec(nodes, [str(nodes[-1]["name"])]))


@pytest.mark.parametrize("kind", ["onwards", "backwards", "both"])
@pytest.mark.parametrize(("layers", "units"), [(2, 13), (4, 40), (2, 130)])
def test_stacks(rng: np.random.Generator, restore_threads: None, kind: str, layers: int, units: int) -> None:
    """On few rows as a wavefront or with units split among threads, on many by rows."""
    assert_rows_by_themselves(stack(kind, layers, units), [floats(rng, B, T, 19)], rng)


@pytest.mark.parametrize("kind", ["onwards", "both"])
def test_padding_beside_longer_rows_changes_nothing(
    isa: str, rng: np.random.Generator, restore_threads: None, kind: str
) -> None:
    """Of rows of any number of steps each alone, without a step of padding, against all of them padded."""
    engine = stack(kind, 2, 21)
    x, lengths = floats(rng, B, T, 19), np.sort(rng.integers(1, T + 1, B)).astype(np.int32)
    lengths[-1] = T
    dy = floats(rng, *engine.predict([x])[0].shape)
    for threads in (1, 3):
        _core.set_num_threads(threads)
        y, dx = passes(engine, [x], [dy], [lengths])
        for row in range(0, B, 5):
            steps = lengths[row]
            alone = passes(engine, [x[row : row + 1, :steps]], [dy[row : row + 1, :steps]])
            np.testing.assert_array_equal(alone[0][0], y[row, :steps])
            np.testing.assert_array_equal(alone[1][0], dx[row, :steps])
            assert not dx[row, steps:].any()


def test_gradients_that_several_layers_send_to_one_tensor(rng: np.random.Generator, restore_threads: None) -> None:
    inner = {"type": "GRU", "units": 24, **SEQUENCES}
    nodes = [
        input_layer("x", None, 19),
        {"type": "Bidirectional", "name": "a", "inputs": ["x"], "layer": inner},
        {"type": "Bidirectional", "name": "b", "inputs": ["a"], "layer": inner},
        {"type": "LSTM", "name": "c", "inputs": ["a"], "units": 48, **SEQUENCES, "reverse": True},
        {"type": "Dense", "name": "d", "inputs": ["a"], "units": 48, "activation": "tanh"},
        {"type": "Add", "name": "y", "inputs": ["a", "b", "c", "d"]},
    ]
    assert_rows_by_themselves(Engine(model_spec(nodes, ["y"])), [floats(rng, B, T, 19)], rng)


def test_every_layer_with_a_gradient_is_tried() -> None:
    assert {e.type for e in EXAMPLES if e.inputs[0][1] == F32} == set(_core.layer_types()) - {
        "AddLoss", "Embedding", "Input", *REFOLDED,
    }  # fmt: skip
