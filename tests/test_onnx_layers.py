"""ONNX export of the layers around recurrent ones: against the engine (verify) and the float64 reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, assert_file_matches_reference, run_file, sequence_subject
from rekur.onnx import ExportError

pytestmark = pytest.mark.usefixtures("by_nodes")

BATCH, TIME = 4, 9  # shapes that verify does not use
LENGTHS = np.array([0, 9, 4, 1], np.int32)


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


POINTWISE: list[tuple[dict[str, Any], list[str]]] = [
    ({"type": "LayerNormalization"}, ["LayerNormalization"]),
    ({"type": "LayerNormalization", "epsilon": 1e-5, "center": False}, ["LayerNormalization"]),
    ({"type": "LayerNormalization", "epsilon": 0.25, "scale": False}, ["LayerNormalization"]),
    ({"type": "LayerNormalization", "center": False, "scale": False}, ["LayerNormalization"]),
    ({"type": "Affine"}, ["Mul", "Add"]),
    ({"type": "Rescaling", "scale": 2.5, "offset": [1, -2, 3, 0.1]}, ["Mul", "Add"]),
    ({"type": "Rescaling", "scale": [0, 1, 2, 3]}, ["Mul"]),
    ({"type": "Rescaling", "scale": 1, "offset": 0.25}, ["Add"]),
    ({"type": "Rescaling"}, ["Identity"]),
    ({"type": "Slice", "start": 1, "stop": 3}, ["Slice"]),
    ({"type": "Slice", "start": -1}, ["Slice"]),
    ({"type": "Slice", "stop": -1}, ["Slice"]),
]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("layer", "expected"), POINTWISE, ids=lambda value: str(value))
def test_pointwise(
    layer: dict[str, Any], expected: list[str], rank: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    shape, data = ([4], floats(rng, 5, 4)) if rank == 2 else ([None, 4], floats(rng, 5, 8, 4))
    subject = Subject([input_layer("x", *shape), {**layer, "name": "y", "inputs": ["x"]}], ["y"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert ops(tmp_path / "m.onnx") == expected
    assert report.largest_difference is not None and report.largest_difference <= 1e-5
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": 3 * data})


@pytest.mark.parametrize("kind", ["Subtract", "Divide"])
def test_joins_of_two_in_both_layouts(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """An input (batch-major) with a recurrent output (time-major); the order of the operands matters."""
    subject = sequence_subject(
        {"type": "LSTM", "name": "r", "inputs": ["x"], "units": 3, "return_sequences": True},
        {"type": "Rescaling", "name": "s", "inputs": ["r"], "offset": 2},  # clear of zero
        {"type": kind, "name": "j", "inputs": ["x", "s"]},
        {"type": "GRU", "name": "g", "inputs": ["j"], "units": 4},
        outputs=["j", "g"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert_file_matches_reference(
        tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, TIME, 3)}, {"lengths": LENGTHS}, {"x": "lengths"}
    )


def step_subject(index: int, below: str, time: int | None = None) -> Subject:
    """A step of a batch-major sequence (Dense) or a time-major one (GRU). Neither Dense is zero past a row's end."""
    layers = [
        input_layer("x", time, 3),
        {"type": "Dense", "name": "dense", "inputs": ["x"], "units": 4},
        {"type": "GRU", "name": "gru", "inputs": ["dense"], "units": 5, "return_sequences": True},
        {"type": "Dense", "name": "top", "inputs": ["gru"], "units": 2},
        {"type": "Step", "name": "y", "inputs": [below], "index": index},
        {"type": "Step", "name": "z", "inputs": [below], "index": -1},
    ]
    return Subject(layers, ["y", "z"])


@pytest.mark.parametrize("below", ["x", "dense", "gru", "top"])
@pytest.mark.parametrize("index", [0, 3, -1, -4])
def test_step(index: int, below: str, tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = step_subject(index, below), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path)
    least = index + 1 if index >= 0 else -index
    assert report.verification is not None
    assert report.verification.times == {"time": tuple(least - 1 + T for T in (1, 2, 5, 13))}
    assert ops(path).count("Gather") == 2
    for time in (least, TIME):
        assert_file_matches_reference(path, subject, {"x": floats(rng, BATCH, time, 3)})

    rekur.onnx.export(subject, path, lengths=True)
    for time in (least, TIME):
        inputs, rows = {"x": floats(rng, BATCH, time, 3)}, np.minimum(LENGTHS, time)
        inputs["x"][np.arange(time) >= rows[:, None]] = np.nan  # padding must not come through
        assert_file_matches_reference(path, subject, inputs, {"lengths": rows}, {"x": "lengths"})
        found = run_file(path, {**inputs, "lengths": rows})
        for name, place in (("y", index), ("z", -1)):
            without = (rows + place < 0) if place < 0 else (rows <= place)
            assert without.any() and not found[name][without].any()


def test_step_of_a_fixed_time_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = step_subject(-6, "top", time=6)
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    rows = np.array([6, 0, 5, 1], np.int32)
    assert_file_matches_reference(
        tmp_path / "m.onnx", subject, {"x": floats(rng, 4, 6, 3)}, {"lengths": rows}, {"x": "lengths"}
    )


def test_step_alone_reads_lengths_and_ends_the_time_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    """No recurrent layer: the lengths are wired all the same. Behind a Step axes are not joined."""
    subject = Subject(
        [
            input_layer("a", None, 2),
            input_layer("b", None, 2),
            {"type": "Step", "name": "last_a", "inputs": ["a"], "index": -2},
            {"type": "Step", "name": "first_b", "inputs": ["b"], "index": 0},
            {"type": "Subtract", "name": "y", "inputs": ["last_a", "first_b"]},
        ],
        ["y"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert [name for name, _, _ in report.inputs] == ["a", "b", "a_lengths", "b_lengths"]
    assert report.outputs == [("y", "float32", ("batch", 2))]
    assert_file_matches_reference(
        tmp_path / "m.onnx",
        subject,
        {"a": floats(rng, 4, 7, 2), "b": floats(rng, 4, 3, 2)},
        {"a_lengths": np.array([7, 1, 2, 0], np.int32), "b_lengths": np.array([0, 3, 1, 2], np.int32)},
        {"a": "a_lengths", "b": "b_lengths"},
    )


def test_a_step_beyond_the_sequence_fails_in_the_file_too(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = step_subject(3, "top")
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    with pytest.raises(Exception, match=r"out of data bounds|out of bounds"):
        run_file(tmp_path / "m.onnx", {"x": floats(rng, 2, 3, 3)})


def test_a_whole_model(tmp_path: Path) -> None:
    """What an importer makes: normalised input, a recurrent stack, its last step, halves joined."""
    subject = sequence_subject(
        {"type": "Rescaling", "name": "scaled", "inputs": ["x"], "scale": [0.1, 2, 1], "offset": -0.5},
        {"type": "LayerNormalization", "name": "norm", "inputs": ["scaled"], "epsilon": 1e-5},
        {
            "type": "Bidirectional", "name": "rnn", "inputs": ["norm"],
            "layer": {"type": "LSTM", "units": 4, "return_sequences": True},
        },
        {"type": "Affine", "name": "affine", "inputs": ["rnn"]},
        {"type": "Slice", "name": "front", "inputs": ["affine"], "stop": 4},
        {"type": "Slice", "name": "back", "inputs": ["affine"], "start": 4},
        {"type": "Step", "name": "last", "inputs": ["front"], "index": -1},
        {"type": "Step", "name": "first", "inputs": ["back"], "index": 0},
        {"type": "Subtract", "name": "y", "inputs": ["last", "first"]},
        outputs=["y", "affine"],
    )  # fmt: skip
    for lengths in (False, True):
        report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=lengths)
        assert report.verification is not None and report.verification.cases > 0
    assert json.loads(onnx.load(tmp_path / "m.onnx").metadata_props[0].value)["layers"][1]["offset"] == -0.5


@pytest.mark.parametrize(
    ("layer", "keys", "message"),
    [
        ({"type": "Rescaling"}, {"scale": [1, 2]}, r"Rescaling 'y': 'scale': expected a number or 3 of them"),
        ({"type": "Slice"}, {"start": 2, "stop": 1}, r"Slice 'y': features \[2, 1\) are none of the input's 3"),
        ({"type": "Step", "index": 0}, {"inputs": ["y0"]}, r"Step 'y': expected a sequence .*None, 3"),
    ],
)
def test_what_cannot_be_said(layer: dict[str, Any], keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    first = {"type": "Step", "name": "y0", "inputs": ["x"], "index": 0}
    subject = sequence_subject(first, {**layer, "name": "y", "inputs": ["x"]}, outputs=["y"])
    subject.spec["layers"][2].update(keys)
    with pytest.raises(ExportError, match=message):
        rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("parameter", ["norm/gamma", "norm/beta", "affine/gamma", "affine/beta"])
def test_a_changed_weight_is_found(parameter: str, tmp_path: Path) -> None:
    subject = sequence_subject(
        {"type": "LayerNormalization", "name": "norm", "inputs": ["x"]},
        {"type": "Affine", "name": "affine", "inputs": ["norm"]},
        outputs=["affine"],
    )
    changed = subject.weights[parameter].copy()
    changed[1] += 0.01
    subject.weights = {**subject.weights, parameter: changed}
    with pytest.raises(rekur.onnx.VerificationError, match="disagree"):
        rekur.onnx.export(subject, tmp_path / "m.onnx")
