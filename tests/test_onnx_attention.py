"""ONNX export of attention: against the engine (verify) and the float64 reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, assert_file_matches_reference
from rekur.onnx import ExportError
from test_attention import LAYERS

pytestmark = pytest.mark.usefixtures("by_nodes")

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda v: "-".join(map(str, v.values())))


def subject_of(layer: dict[str, Any], same: bool = False) -> Subject:
    outputs = ["y", "y:1"] if layer.get("return_attention_scores") else ["y"]
    names = ["q"] if same else ["q", "v"]
    nodes = [*(input_layer(n, None, 4) for n in names), {**layer, "name": "y", "inputs": [names[0], names[-1]]}]
    return Subject(nodes, outputs)


@every_layer
@pytest.mark.parametrize("opset", [17, 21, 27])
def test_two_sequences_of_any_lengths(
    layer: dict[str, Any], opset: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    subject, path = subject_of(layer), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path, opset=opset)
    assert report.largest_difference is not None and report.largest_difference <= 1e-5
    for tq, tv in ((1, 1), (6, 4), (3, 9)):
        assert_file_matches_reference(path, subject, {"q": floats(rng, 3, tq, 4), "v": floats(rng, 3, tv, 4)})


@every_layer
def test_lengths_of_both_sides(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = subject_of(layer), tmp_path / "m.onnx"
    rekur.onnx.export(subject, path, lengths=True)
    lengths = {"q_lengths": np.array([5, 0, 2], np.int32), "v_lengths": np.array([0, 6, 4], np.int32)}
    inputs = {"q": floats(rng, 3, 5, 4), "v": floats(rng, 3, 6, 4)}
    assert_file_matches_reference(path, subject, inputs, lengths, {"q": "q_lengths", "v": "v_lengths"})


@every_layer
def test_a_sequence_with_itself(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = subject_of(layer, same=True), tmp_path / "m.onnx"
    rekur.onnx.export(subject, path, lengths=True)
    lengths = {"lengths": np.array([5, 1, 0], np.int32)}
    assert_file_matches_reference(path, subject, {"q": floats(rng, 3, 5, 4)}, lengths, {"q": "lengths"})


@pytest.mark.parametrize("causal", [False, True])
def test_heads_are_the_operator_attention_from_opset_23_on(causal: bool, tmp_path: Path) -> None:
    layer = {"type": "MultiHeadAttention", "num_heads": 2, "key_dim": 3, "use_causal_mask": causal}
    rekur.onnx.export(subject_of(layer), tmp_path / "m.onnx", opset=27)
    assert "Attention" in [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]


def test_behind_recurrent_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    """Time-major values before, a recurrent layer and its lengths behind."""
    nodes: list[dict[str, Any]] = [
        input_layer("q", None, 4),
        {"type": "LSTM", "name": "a", "inputs": ["q"], "units": 6, "return_sequences": True},
        {"type": "MultiHeadAttention", "name": "m", "inputs": ["a", "a"], "num_heads": 2, "key_dim": 3},
        {"type": "Add", "name": "s", "inputs": ["a", "m"]},
        {"type": "GRU", "name": "y", "inputs": ["s"], "units": 3},
    ]
    subject, path = Subject(nodes, ["y", "s"]), tmp_path / "m.onnx"
    rekur.onnx.export(subject, path, lengths=True)
    lengths = {"lengths": np.array([5, 2, 1], np.int32)}
    assert_file_matches_reference(path, subject, {"q": floats(rng, 3, 5, 4)}, lengths, {"q": "lengths"})


def test_a_model_of_one_step_without_a_window_is_refused(tmp_path: Path) -> None:
    nodes: list[dict[str, Any]] = [
        input_layer("q", None, 4),
        {"type": "LSTM", "name": "a", "inputs": ["q"], "units": 4, "return_sequences": True},
        {"type": "Attention", "name": "y", "inputs": ["a", "a"], "use_causal_mask": True},
    ]
    with pytest.raises(ExportError, match=r"streaming=True: Attention 'y': .*sliding_window= says how many"):
        rekur.onnx.export(Subject(nodes, ["y"]), tmp_path / "m.onnx", streaming=True)
