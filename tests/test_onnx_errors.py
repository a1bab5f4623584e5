"""ONNX export: what cannot be said or does not agree is refused by name, and a failure leaves every file as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from onnx_subject import Subject, sequence_subject
from rekur.onnx import ExportError, VerificationError, _export


def lstm(**options: Any) -> dict[str, Any]:
    return {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 4, **options}


@pytest.fixture
def subject() -> Subject:
    dense = {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 2}
    return sequence_subject(lstm(), dense, outputs=["y"])


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of an earlier export, which every failure must leave alone."""
    (tmp_path / "m.onnx").write_bytes(b"the old one")
    return tmp_path / "m.onnx"


def assert_untouched(old: Path) -> None:
    assert [entry.name for entry in old.parent.iterdir()] == ["m.onnx"]
    assert old.read_bytes() == b"the old one"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(subject: Subject, bad: float, old: Path) -> None:
    subject.weights["lstm/bias"][3] = bad
    with pytest.raises(ExportError, match=r"LSTM 'lstm': parameter 'lstm/bias' is not finite \(1 of 16"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


@pytest.mark.parametrize("parameter", ["lstm/kernel", "lstm/recurrent_kernel", "lstm/bias", "y/kernel", "y/bias"])
def test_a_changed_weight_is_found(subject: Subject, parameter: str, old: Path) -> None:
    """The exporter sees one weight otherwise than the engine: verification must notice, whichever it is."""
    changed = subject.weights[parameter].copy()
    changed.flat[0] += 0.01
    subject.weights = {**subject.weights, parameter: changed}
    with pytest.raises(VerificationError, match="disagree beyond the tolerance 1e-05"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_a_wrong_gate_order_is_found(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rekur.onnx import _recurrent

    wrong = _recurrent.Cell(**{**vars(_recurrent.CELLS["LSTM"]), "order": (0, 1, 2, 3)})
    monkeypatch.setitem(_recurrent.CELLS, "LSTM", wrong)
    with pytest.raises(VerificationError):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_lost_initial_state_of_empty_rows_is_found(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness import input_layer
    from rekur.onnx import _recurrent

    gru = {"type": "GRU", "name": "g", "inputs": ["x", "h"], "units": 4}
    subject = Subject([input_layer("x", None, 3), input_layer("h", 4), gru], ["g"])
    monkeypatch.setattr(_recurrent, "_keep_initial", lambda graph, lengths, value, start: value)
    with pytest.raises(VerificationError):
        rekur.onnx.export(subject, old, lengths=True)
    assert_untouched(old)


def test_failure_leaves_no_new_file(subject: Subject, tmp_path: Path) -> None:
    subject.weights["y/bias"] = subject.weights["y/bias"] + 1
    with pytest.raises(VerificationError):
        rekur.onnx.export(subject, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []


def test_nan_on_one_side_fails(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "predict", lambda x, *, lengths=None: [np.full((len(x), 2), np.nan, np.float32)])
    with pytest.raises(VerificationError, match="inf"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_engine_of_another_shape_fails(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "predict", lambda x, *, lengths=None: [np.zeros((len(x), 3), np.float32)])
    with pytest.raises(VerificationError, match=r"output 'y' at batch 1.*expected shape \(1, 3\), got \(1, 2\)"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_tolerance_is_kept(subject: Subject, old: Path) -> None:
    for name in subject.weights:  # outputs in the hundreds would hide nothing: the tolerance grows with them
        subject.weights[name] = (subject.weights[name] + 1e-4).astype(np.float32)
    with pytest.raises(VerificationError):
        rekur.onnx.export(subject, old)
    assert_untouched(old)
    assert rekur.onnx.export(subject, old, tolerance=0.1).verification is not None


def test_network_that_always_overflows_proves_nothing(old: Path) -> None:
    dense = {"type": "Dense", "name": "y", "inputs": ["h"], "units": 2}
    subject = sequence_subject({**dense, "name": "h", "inputs": ["x"]}, dense, outputs=["y"])
    for name in subject.weights:
        subject.weights[name] = np.full_like(subject.weights[name], 1e38)
    subject.engine.weights = subject.weights
    with pytest.raises(VerificationError, match="overflows float32 in every case"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 16}, "opset must be 17 to 21, or 27, got 16"),
        ({"opset": 22}, "opset must be 17 to 21, or 27, got 22"),
        ({"tolerance": 0}, "tolerance must be positive, got 0"),
        ({"tolerance": float("nan")}, "tolerance must be positive, got nan"),
        ({"metadata": {"rekur.spec": "x"}}, "keys beginning with 'rekur.' are taken"),
        ({"metadata": {"a": 1}}, "metadata must be text to text"),
    ],
)
def test_bad_options(subject: Subject, options: dict[str, Any], message: str, old: Path) -> None:
    with pytest.raises(ExportError, match=message):
        rekur.onnx.export(subject, old, **options)
    assert_untouched(old)


def change(subject: Subject, index: int, **keys: Any) -> None:
    """Alter a layer of the spec behind the engine's back: what an unknown or newer spec would hold."""
    subject.spec["layers"][index].update(keys)


@pytest.mark.parametrize(
    ("index", "keys", "message"),
    [
        (2, {"type": "Attentive"}, "unknown layer type 'Attentive'"),
        (2, {"activation": "mish"}, "Dense 'y': unknown activation 'mish'"),
        (1, {"activation": "softmax"}, "LSTM 'lstm': activation 'softmax' works over whole rows"),
        (1, {"recurrent_activation": "mish"}, "LSTM 'lstm': unknown activation 'mish'"),
        (1, {"inputs": ["x"] * 4}, "LSTM 'lstm': expected 1 to 3 inputs, got 4"),
        (1, {"inputs": ["x", "x"]}, r"LSTM 'lstm': expected initial state 1 of shape \(None, 4\), got"),
        (1, {"inputs": ["x", "x", "x"]}, r"LSTM 'lstm': expected initial state 1 of shape \(None, 4\), got"),
        (1, {"inputs": ["nowhere"]}, "LSTM 'lstm': input 'nowhere': unknown layer 'nowhere'"),
        (2, {"inputs": ["lstm:2"]}, "Dense 'y': input 'lstm:2': LSTM 'lstm' has 1 output"),
        (2, {"units": 3}, r"Dense 'y': expected parameter 'y/kernel' of shape \(4, 3\), got \(4, 2\)"),
        (1, {"name": "other"}, "unknown layer 'lstm'"),
        (0, {"shape": [None, None]}, "Input 'x': 'shape' must be .* with at least 1 feature"),
        (0, {"shape": [2, 2, 3]}, r"LSTM 'lstm': expected a sequence of shape \(B, T, F\), got \(None, 2, 2, 3\)"),
        (0, {"shape": [3]}, r"LSTM 'lstm': expected a sequence of shape \(B, T, F\), got \(None, 3\)"),
    ],
)
def test_what_cannot_be_said_is_named(
    subject: Subject, index: int, keys: dict[str, Any], message: str, old: Path
) -> None:
    change(subject, index, **keys)
    with pytest.raises(ExportError, match=message):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"merge_mode": "max"}, "Bidirectional 'b': .*merge_mode"),
        ({"layer": {"type": "Dense", "units": 4}}, "Bidirectional 'b': layer: unknown recurrent layer type 'Dense'"),
        ({"layer": {"type": "GRU", "units": 4, "reverse": True}}, "Bidirectional 'b': layer: 'reverse' must be false"),
    ],
)
def test_bidirectional_that_cannot_be_said(keys: dict[str, Any], message: str, old: Path) -> None:
    layer = {"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": {"type": "GRU", "units": 4}}
    subject = sequence_subject(layer, outputs=["b"])
    change(subject, 1, **keys)
    with pytest.raises(ExportError, match=message):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_layer_type_without_a_rule_is_named(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rekur.onnx._layers import LAYERS

    monkeypatch.delitem(LAYERS, "Dense")
    with pytest.raises(ExportError, match="Dense 'y': layers of this type have no ONNX form"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_missing_parameter(subject: Subject, old: Path) -> None:
    del subject.weights["y/bias"]
    with pytest.raises(ExportError, match="Dense 'y': parameter 'y/bias' is missing"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_lengths_without_a_recurrent_layer(old: Path) -> None:
    subject = sequence_subject({"type": "Dense", "name": "y", "inputs": ["x"], "units": 2}, outputs=["y"])
    with pytest.raises(ExportError, match="no layer that could use them"):
        rekur.onnx.export(subject, old, lengths=True)
    assert_untouched(old)


def test_model_beyond_two_gigabytes(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_export, "MAX_BYTES", 100)
    with pytest.raises(ExportError, match="bytes of weights do not fit into one ONNX file"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_graph_that_onnx_refuses(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = _export.build

    def broken(*arguments: Any) -> Any:
        graph = build(*arguments)
        graph.nodes[0].op = "NoSuchOperator"
        return graph

    monkeypatch.setattr(_export, "build", broken)
    with pytest.raises(ExportError, match="onnx finds fault"):
        rekur.onnx.export(subject, old, verify=False)
    assert_untouched(old)


def test_output_shape_that_inference_contradicts(subject: Subject, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = _export.build

    def broken(*arguments: Any) -> Any:
        graph = build(*arguments)
        graph.outputs = [("y", "float32", ("batch", 7))]
        return graph

    monkeypatch.setattr(_export, "build", broken)
    with pytest.raises(ExportError):
        rekur.onnx.export(subject, old, verify=False)
    assert_untouched(old)


def test_what_is_no_model(tmp_path: Path) -> None:
    for call in (rekur.onnx.export, rekur.onnx.verify):
        with pytest.raises(TypeError, match=f"{call.__name__}: expected a rekur model, got 3"):
            call(3, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_folder_that_does_not_exist(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"):
        rekur.onnx.export(subject, tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(IsADirectoryError):
        rekur.onnx.export(subject, tmp_path)


@pytest.mark.usefixtures("full_disk")
def test_write_that_fails_half_way(subject: Subject, old: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        rekur.onnx.export(subject, old)
    assert_untouched(old)


def test_verify_against_another_model(subject: Subject, tmp_path: Path) -> None:
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    other = sequence_subject(lstm(return_state=True), outputs=["lstm", "lstm:1"])
    with pytest.raises(VerificationError, match=r"has outputs \['y'\]"):
        rekur.onnx.verify(other, tmp_path / "m.onnx")
    dense = {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 2}
    twin = sequence_subject(lstm(), dense, outputs=["y"], seed=1)
    with pytest.raises(VerificationError, match="disagree"):
        rekur.onnx.verify(twin, tmp_path / "m.onnx")


def test_verify_with_a_provider_that_is_not_there(subject: Subject, tmp_path: Path) -> None:
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    with pytest.raises(VerificationError, match="has no NoSuchProvider"):
        rekur.onnx.verify(subject, tmp_path / "m.onnx", providers=["NoSuchProvider"])


def test_verify_files_that_are_no_models(subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rekur.onnx.verify(subject, tmp_path / "nowhere.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"\x08junk" * 100)
    with pytest.raises(VerificationError, match="not an ONNX model"):
        rekur.onnx.verify(subject, tmp_path / "junk.onnx")
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VerificationError):
        rekur.onnx.verify(subject, tmp_path / "half.onnx")


def test_verify_a_file_of_a_renamed_input(subject: Subject, tmp_path: Path) -> None:
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.input[0].name = "z"
    for node in model.graph.node:
        node.input[:] = ["z" if name == "x" else name for name in node.input]
    onnx.save(model, tmp_path / "z.onnx")
    with pytest.raises(VerificationError, match="no input 'x'"):
        rekur.onnx.verify(subject, tmp_path / "z.onnx")
