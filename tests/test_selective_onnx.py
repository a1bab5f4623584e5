"""SelectiveSSM in ONNX: sequences, lengths, both directions, streams and states, against the engine in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import layers

pytestmark = pytest.mark.usefixtures("by_nodes")

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

every_opset = pytest.mark.parametrize("opset", [17, 21])


def subject(*, initial: bool = False, sequences: bool = True, taps: int = 3, **options: Any) -> rekur.Model:
    x = rekur.Input((None, 5))
    states = [rekur.Input(((2 + taps - 1) * 10,), name="h")] if initial else []
    first = layers.SelectiveSSM(2, taps, return_sequences=sequences, return_state=True, name="a", **options)
    y, s = first(x, initial_state=states or None)
    if sequences:
        y = layers.SelectiveSSM(3, 1, expand=1, units=3, return_sequences=True, name="b")(y)
    model = rekur.Model([x, *states], [layers.Dense(2)(y), s])
    rng = np.random.default_rng(3)
    model.set_weights([rng.standard_normal(w.shape) * 0.5 for w in model.get_weights()])
    return model


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@every_opset
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("reverse", [False, True], ids=["onwards", "reverse"])
def test_sequences_agree_with_the_engine(tmp_path: Path, opset: int, lengths: bool, reverse: bool) -> None:
    path = tmp_path / "m.onnx"
    for options in (
        {},
        {"initial": True, "use_bias": True, "taps": 1},
        {"sequences": False, "use_conv_bias": False, "dt_rank": 3},
        {"initial": True, "taps": 6},
    ):
        report = rekur.onnx.export(subject(reverse=reverse, **options), path, lengths=lengths, opset=opset)
        assert report.verification is not None
        assert "Scan" in operators(path)


@every_opset
def test_a_streaming_file_is_one_step_of_plain_operators(tmp_path: Path, opset: int) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(subject(initial=True), path, streaming=True, opset=opset)
    assert "Scan" not in operators(path)
    assert [value.name for value in onnx.load(path).graph.input] == ["input", "a_s_in", "b_s_in"]


@every_opset
def test_a_file_with_states_takes_a_sequence_in_pieces(tmp_path: Path, opset: int) -> None:
    rekur.onnx.export(subject(), tmp_path / "m.onnx", states=True, lengths=True, opset=opset)
    rekur.onnx.export(subject(sequences=False), tmp_path / "m.onnx", states=True, opset=opset)
