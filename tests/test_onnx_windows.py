"""ONNX export of layers that change the time axis: against the engine (verify) and the float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, assert_file_matches_reference
from rekur import layers
from rekur.onnx import ExportError, VerificationError
from test_windows import CONVOLUTIONS, GLOBAL, MOVES, POOLINGS

pytestmark = pytest.mark.usefixtures("by_nodes")

FIXED = ("Flatten", "Reshape", "Permute")
SAID = [layer for layer in (*CONVOLUTIONS, *POOLINGS, *GLOBAL, *MOVES) if layer["type"] != "Reshape"]
SAID += [{"type": "Reshape", "target_shape": [2, -1]}, {"type": "Reshape", "target_shape": [-1]}]


def subject_of(layer: dict[str, Any]) -> Subject:
    T = 6 if layer["type"] in FIXED else None
    return Subject([input_layer("x", T, 4), {**layer, "name": "y", "inputs": ["x"]}], ["y"])


@pytest.mark.parametrize("layer", SAID, ids=lambda v: "-".join(map(str, v.values())))
@pytest.mark.parametrize("opset", [17, 21])
def test_any_number_of_steps(layer: dict[str, Any], opset: int, tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = subject_of(layer), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path, opset=opset)
    assert report.largest_difference is not None and report.largest_difference <= 1e-4  # at ±50 too
    for steps in (6,) if layer["type"] in FIXED else (6, 9, 16):
        assert_file_matches_reference(path, subject, {"x": floats(rng, 3, steps, 4)})


def test_a_whole_classifier_is_exported(tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    y = layers.MaxPooling1D(2)(layers.SeparableConv1D(6, 5, activation="relu")(x))
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    y = layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3, padding="causal", activation="softmax")(y)))
    assert rekur.onnx.export(rekur.Model(x, y), tmp_path / "m.onnx").verification is not None


def test_a_decoder_of_a_repeated_vector_is_exported(tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    y = layers.LSTM(5, return_sequences=True)(layers.RepeatVector(3)(layers.LSTM(4)(x)))
    assert rekur.onnx.export(rekur.Model(x, layers.Dense(2)(y)), tmp_path / "m.onnx").verification is not None


SOME_STEPS: dict[str, Callable[[Any], Any]] = {
    "multiples of three": lambda x: layers.Reshape((-1, 12))(x),
    "one after the other": lambda x: layers.Reshape((-1, 8))(layers.Reshape((-1, 12))(x)),
    "even, to be added": lambda x: layers.Add()([x, layers.UpSampling1D(2)(layers.MaxPooling1D(2)(x))]),
}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", SOME_STEPS)
def test_a_model_that_takes_some_numbers_of_steps_is_verified_at_those(name: str, count: int, tmp_path: Path) -> None:
    inputs = [rekur.Input((None, 4), name=f"x{k}") for k in range(count)]
    model = rekur.Model(inputs, [SOME_STEPS[name](x) for x in inputs])
    report = rekur.onnx.export(model, tmp_path / "m.onnx").verification
    assert report is not None and report.cases >= 20 and len(report.times) == count
    assert all(len(steps) > 1 for steps in report.times.values())


def test_a_layer_that_takes_no_number_of_steps_tried_is_named(tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    model = rekur.Model(x, layers.Reshape((-1, 4 * 1009), name="rows")(x))
    with pytest.raises(VerificationError, match=r"no sequences of time 1, nor .*: Reshape 'rows'"):
        rekur.onnx.export(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


POOLS = [
    kind(size, strides=strides, padding="same")
    for kind in (layers.MaxPooling1D, layers.AveragePooling1D)
    for size, strides in ((1, 2), (2, 3), (2, 5), (3, 4))
]


@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: f"{layer.name}-{layer.pool_size}")
def test_pooling_whose_strides_leave_steps_out_pads_as_the_engine(layer: Any, tmp_path: Path, rng: Any) -> None:
    for steps in (5, 6, 7, 8, 9):  # of which onnxruntime's own padding would take some away
        x = rekur.Input((steps, 4))
        model = rekur.Model(x, type(layer).from_config(layer.get_config())(x))
        rekur.onnx.export(model, tmp_path / "m.onnx")
        data = floats(rng, 2, steps, 4)
        np.testing.assert_allclose(rekur.onnx.load(tmp_path / "m.onnx").predict(data), model.predict(data), atol=1e-6)


@pytest.mark.parametrize("layer", POOLS, ids=lambda layer: f"{layer.name}-{layer.pool_size}")
def test_that_pooling_is_exported_for_any_number_of_steps(layer: Any, tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    model = rekur.Model(x, type(layer).from_config(layer.get_config())(x))
    report = rekur.onnx.export(model, tmp_path / "m.onnx").verification  # at 1, 2, 5 and 13 steps
    assert report is not None and report.cases >= 20


OF_ROWS: list[dict[str, Any]] = [layer for layer in SAID if layer["type"] != "Permute"]
OF_ROWS += [
    {"type": "Conv1D", "filters": 2, "kernel_size": 3, "strides": 5, "padding": "same"},
    {"type": "Conv1D", "filters": 2, "kernel_size": 5, "padding": "same", "dilation_rate": 2},
    {"type": "MaxPooling1D", "pool_size": 2, "strides": 3, "padding": "same"},
    {"type": "AveragePooling1D", "pool_size": 4, "strides": 3},
    {"type": "Cropping1D", "cropping": [2, 0]},
    {"type": "Dot", "axes": [1, 1]},
]


@pytest.mark.parametrize("layer", OF_ROWS, ids=lambda v: "-".join(map(str, v.values())))
def test_rows_end_at_their_lengths(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    T, path = 6 if layer["type"] in FIXED else None, tmp_path / "m.onnx"
    given = ["x", "x"] if layer["type"] == "Dot" else ["x"]
    subject = Subject([input_layer("x", T, 4), {**layer, "name": "y", "inputs": given}], ["y"])
    rekur.onnx.export(subject, path, lengths=True)
    for steps in (6,) if T else (6, 9):
        rows = np.array([0, 1, steps - 1, steps, steps // 2], np.int32)
        x = floats(rng, 5, steps, 4)
        assert_file_matches_reference(path, subject, {"x": x}, {"lengths": rows}, {"x": "lengths"})


BEHIND: dict[str, Callable[[Any], Any]] = {
    "pooled and recurrent": lambda x: layers.LSTM(3)(layers.MaxPooling1D(2)(layers.Conv1D(4, 3)(x))),
    "strided both ways": lambda x: layers.Bidirectional(layers.GRU(2, return_sequences=True))(
        layers.Conv1D(4, 5, strides=2, padding="same")(x)
    ),
    "of a longer one": lambda x: layers.Flip()(layers.Conv1DTranspose(4, 3, strides=2)(layers.ZeroPadding1D(2)(x))),
    "two ways": lambda x: layers.Add()([layers.UpSampling1D(2)(x), layers.Conv1DTranspose(4, 2, strides=2)(x)]),
    "the mean": lambda x: layers.GlobalAveragePooling1D()(
        layers.AveragePooling1D(3, 2, "same")(layers.Cropping1D()(x))
    ),
    "attended": lambda x: layers.MultiHeadAttention(1, 2)(x, layers.SeparableConv1D(4, 2, strides=2)(x)),
    "joined": lambda x: layers.LSTM(2)(layers.Concatenate(axis=1)([x, layers.MaxPooling1D(3, 1)(x)])),
}


@pytest.mark.parametrize("name", BEHIND)
def test_lengths_follow_through_layers_that_change_the_steps(name: str, tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    model = rekur.Model(x, BEHIND[name](x), seed=1)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True).verification
    assert report is not None and report.cases >= 20


@pytest.mark.parametrize("options", [{"streaming": True}, {"states": True}], ids=str)
def test_what_cannot_be_said_yet_is_refused_by_name(options: dict[str, bool], tmp_path: Path) -> None:
    x = rekur.Input((None, 4))
    y = layers.Conv1D(3, 3, padding="same", name="front")(layers.LSTM(4, return_sequences=True)(x))
    with pytest.raises(ExportError, match="front"):
        rekur.onnx.export(rekur.Model(x, y), tmp_path / "m.onnx", **options)
    assert not (tmp_path / "m.onnx").exists()
