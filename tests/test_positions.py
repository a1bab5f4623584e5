"""Positions as features: against float64, their gradients, threads, ONNX files, KerasHub's formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur.onnx
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec
from onnx_subject import Subject, assert_file_matches_reference
from rekur import _core, layers

LAYERS: list[dict[str, Any]] = [
    {"type": "PositionEmbedding", "sequence_length": 13},
    {"type": "SinePositionEncoding"},
    {"type": "SinePositionEncoding", "max_wavelength": 37.5},
    {"type": "RotaryEmbedding"},
    {"type": "RotaryEmbedding", "max_wavelength": 50, "scaling_factor": 3.0},
]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda v: "-".join(map(str, v.values())))


def nodes(layer: dict[str, Any], *rest: int) -> list[dict[str, Any]]:
    return [input_layer("x", None, *rest, 6), {**layer, "name": "y", "inputs": ["x"]}]


@every_layer
@pytest.mark.parametrize("rest", [(), (3,)], ids=["steps", "heads"])
def test_outputs_and_gradients_are_those_of_float64(isa: str, layer: dict[str, Any], rest: tuple[int, ...]) -> None:
    if rest and layer["type"] != "RotaryEmbedding":
        pytest.skip("of (B, T, F) only")
    assert_gradients(model_spec(nodes(layer, *rest), ["y"]), batch=lambda rng: ([floats(rng, 3, 7, *rest, 6)], None))


@every_layer
def test_the_same_bits_for_any_number_of_threads(
    rng: np.random.Generator, restore_threads: None, layer: dict[str, Any]
) -> None:
    engine = Engine(
        model_spec(nodes({**layer, **({"sequence_length": 300} if "sequence_length" in layer else {})}), ["y"])
    )
    x, found = floats(rng, 40, 300, 6), []
    for threads in (1, 3):
        _core.set_num_threads(threads)
        outputs, d_weights, d_inputs = engine.gradients([x], [x])
        found.append([*outputs, *d_weights.values(), *d_inputs])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_angles_of_far_steps_are_exact_to_float32(isa: str) -> None:
    """Where angles in float32 would be off by their rounding."""
    engine = Engine(model_spec(nodes({"type": "SinePositionEncoding"}), ["y"]))
    y = engine.predict([np.zeros((1, 5000, 6), np.float32)])[0]
    assert_close(y[0, 4999, :2], [np.sin(4999.0), np.cos(4999.0)], 1e-7)
    assert_close(y[0, 4321, 4:], [np.sin(4321 * 1e4 ** (-4 / 6)), np.cos(4321 * 1e4 ** (-4 / 6))], 1e-7)


@every_layer
def test_onnx_files(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = Subject(nodes(layer), ["y"]), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path)
    assert report.largest_difference is not None and report.largest_difference <= 5e-5
    for steps in (1, 12):
        assert_file_matches_reference(path, subject, {"x": floats(rng, 3, steps, 6)})
    held = [*nodes(layer), {"type": "LSTM", "name": "l", "inputs": ["y"], "units": 2}]
    for option in ("streaming", "states"):
        report = rekur.onnx.export(Subject(held, ["l"]), path, **{option: True}).verification
        assert report is not None and report.mode


def test_a_sequence_longer_than_the_table_is_refused(rng: np.random.Generator) -> None:
    engine = Engine(model_spec(nodes(LAYERS[0]), ["y"]))
    with pytest.raises(ValueError, match=r"PositionEmbedding 'y': a sequence of 14 steps is longer than .*, 13"):
        engine.predict([floats(rng, 2, 14, 6)])


def test_arguments_of_kerashub_that_ask_for_nothing_are_taken() -> None:
    x = layers.Input((6, 4))
    layers.RotaryEmbedding(sequence_axis=1, feature_axis=-1)(x, start_index=0, positions=None)
    layers.SinePositionEncoding()(x, start_index=0)
    with pytest.raises(TypeError, match=r"sequence_axis.*time axis"):
        layers.RotaryEmbedding(sequence_axis=2)
    with pytest.raises(TypeError, match="start_index"):
        layers.PositionEmbedding(9)(x, start_index=2)


def test_a_transformer_block_with_positions_learns_to_look_back(rng: np.random.Generator) -> None:
    """y is x three steps ago, which attention can only find by position."""
    x = layers.Input((10, 4))
    h = layers.Dense(16)(x)
    h = layers.add([h, layers.PositionEmbedding(10)(h)])
    h = layers.MultiHeadAttention(2, 8)(h, h, use_causal_mask=True)
    model = rekur.Model(x, layers.Dense(4)(h), seed=1)
    model.compile(rekur.optimizers.Adam(learning_rate=0.01), "mse")
    data = floats(rng, 256, 10, 4)
    target = np.concatenate([np.zeros_like(data[:, :3]), data[:, :-3]], axis=1)
    history = model.fit(data, target, epochs=40, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]
