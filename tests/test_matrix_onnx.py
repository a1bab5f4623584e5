"""Layers whose state is a matrix in ONNX: sequences, lengths, streams and states, against the engine in onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import layers
from rekur.onnx import ExportError

pytestmark = pytest.mark.usefixtures("by_nodes")

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

MODES = ("linear", "gated", "delta", "gated_delta", "mlstm")
every_mode = pytest.mark.parametrize("mode", MODES)
KNOWS_LINEAR_ATTENTION = onnx.defs.onnx_opset_version() >= 27
opsets = pytest.mark.parametrize(
    "opset",
    [17, 21, pytest.param(27, marks=pytest.mark.skipif(not KNOWS_LINEAR_ATTENTION, reason="onnx without opset 27"))],
)


def layer(mode: str, *sizes: int, **options: Any) -> Any:
    if mode == "mlstm":
        return layers.MLSTM(*sizes, **options)
    return layers.GatedLinearAttention(*sizes, mode=mode, decay_normalizer=2.0, **options)


def subject(mode: str, *, initial: bool = False, sequences: bool = True, **options: Any) -> rekur.Model:
    x = rekur.Input((None, 5))
    size = 2 * (3 * 5 + 1) if mode == "mlstm" else 2 * 3 * 4
    states = [rekur.Input((size,), name="s")] if initial else []
    first = layer(mode, 2, 3, 4, return_sequences=sequences, return_state=True, name="a", **options)
    y, s = first(x, initial_state=states or None)
    if sequences:
        y = layer(mode, 1, 2, units=3, return_sequences=True, name="b")(y)
    model = rekur.Model([x, *states], [layers.Dense(2)(y), s])
    rng = np.random.default_rng(3)
    model.set_weights([rng.standard_normal(w.shape) * 0.5 for w in model.get_weights()])
    return model


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@every_mode
@opsets
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
def test_sequences_agree_with_the_engine(tmp_path: Path, mode: str, opset: int, lengths: bool) -> None:
    path = tmp_path / "m.onnx"
    for options in ({}, {"initial": True, "output_gate": False}, {"sequences": False, "use_bias": False}):
        report = rekur.onnx.export(subject(mode, **options), path, lengths=lengths, opset=opset)
        assert report.verification is not None
        native = opset == 27 and mode != "mlstm"
        assert ("LinearAttention" in operators(path)) == native
        assert ("Scan" in operators(path)) != native


@every_mode
@opsets
def test_a_streaming_file_is_one_step_of_plain_operators(tmp_path: Path, mode: str, opset: int) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(subject(mode, initial=True), path, streaming=True, opset=opset)
    assert not operators(path) & {"Scan", "LinearAttention"}
    names = [value.name for value in onnx.load(path).graph.input]
    assert names == ["input", "a_s_in", "b_s_in"]


@every_mode
@opsets
def test_a_file_with_states_takes_a_sequence_in_pieces(tmp_path: Path, mode: str, opset: int) -> None:
    rekur.onnx.export(subject(mode), tmp_path / "m.onnx", states=True, lengths=True, opset=opset)
    rekur.onnx.export(subject(mode, sequences=False), tmp_path / "m.onnx", states=True, opset=opset)


def test_an_opset_that_the_installed_onnx_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 21)
    with pytest.raises(ExportError, match=r"opset 27: the installed onnx .* knows opsets up to 21"):
        rekur.onnx.export(subject("gated"), tmp_path / "m.onnx", opset=27)
