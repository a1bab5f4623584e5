"""ONNX export of clip, output_activation, peepholes, coupled_gates, against onnxruntime and the float64 reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import rekur
import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, assert_file_matches_reference
from test_onnx_export import CELL_OPTIONS, attributes, check_recurrent, ops, recurrent_subject

pytestmark = pytest.mark.usefixtures("by_nodes")

PEEPHOLES, COUPLED = {"peepholes": True}, {"coupled_gates": True}
LSTMS: dict[str, dict[str, Any]] = {
    "peepholes": PEEPHOLES,
    "coupled": COUPLED,
    "both": PEEPHOLES | COUPLED,
    "both, no bias": PEEPHOLES | COUPLED | {"use_bias": False},
    "all": PEEPHOLES | COUPLED | {"clip": 0.8, "output_activation": "softsign", "recurrent_activation": "hard_sigmoid"},
    "clip": PEEPHOLES | {"clip": 0.8},
    "output": {"output_activation": {"name": "scaled_tanh", "alpha": 1.3, "beta": 0.4}},
    "softplus": {"output_activation": "softplus"},
    "three": {"activation": "softsign", "output_activation": {"name": "affine", "alpha": 0.5, "beta": 0.1}},
}


def initializers(path: Path) -> dict[str, np.ndarray]:
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("start", ["zero", "initial", "lengths"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "concat"])
@pytest.mark.parametrize("options", LSTMS)
def test_lstm(options: str, direction: str, start: str, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject("LSTM", direction, sequences=True, initial=start != "zero", **LSTMS[options])
    check_recurrent(subject, tmp_path / "m.onnx", start == "lengths", rng)


@pytest.mark.parametrize("direction", ["forward", "concat"])
@pytest.mark.parametrize("clip", [0.3, 5])
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_clip(cell: str, clip: float, direction: str, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject(cell, direction, sequences=True, initial=True, clip=clip)
    check_recurrent(subject, tmp_path / "m.onnx", True, rng)
    (node,) = [n for n in onnx.load(tmp_path / "m.onnx").graph.node if n.op_type in ("RNN", "LSTM", "GRU")]
    assert attributes(tmp_path / "m.onnx", node.op_type)["clip"] == pytest.approx(clip)


def test_peepholes_are_written_in_onnxs_order(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "concat", sequences=True, initial=False, **PEEPHOLES)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    i, f, o = subject.weights["rnn/forward/peephole"]
    np.testing.assert_array_equal(initializers(tmp_path / "m.onnx")["rnn/P"][0], np.concatenate([i, o, f]))
    (node,) = [n for n in onnx.load(tmp_path / "m.onnx").graph.node if n.op_type == "LSTM"]
    assert list(node.input)[3:] == ["rnn/B", "", "", "", "rnn/P"]
    assert "input_forget" not in attributes(tmp_path / "m.onnx", "LSTM")


def test_coupled_gates_leave_the_forget_gates_rows_empty(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "forward", sequences=True, initial=False, **PEEPHOLES, **COUPLED)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    written = initializers(tmp_path / "m.onnx")
    assert attributes(tmp_path / "m.onnx", "LSTM")["input_forget"] == 1
    for name, shape in (("W", (1, 20, 3)), ("R", (1, 20, 5)), ("B", (1, 40)), ("P", (1, 15))):
        assert written[f"rnn/{name}"].shape == shape
    kernel, peephole = subject.weights["rnn/kernel"], subject.weights["rnn/peephole"]
    i, g, o = np.split(kernel, 3, axis=1)
    np.testing.assert_array_equal(written["rnn/W"][0], np.concatenate([i, o, np.zeros_like(i), g], axis=1).T)
    np.testing.assert_array_equal(written["rnn/P"][0], np.concatenate([*peephole, np.zeros(5)]))


def test_output_activation_is_the_third_function(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "forward", sequences=True, initial=False, **LSTMS["output"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    written = attributes(tmp_path / "m.onnx", "LSTM")
    assert written["activations"] == [b"Sigmoid", b"Tanh", b"ScaledTanh"]
    assert written["activation_alpha"] == pytest.approx([1.3]) and written["activation_beta"] == pytest.approx([0.4])


@pytest.mark.parametrize(
    ("activation", "operators"),
    [
        ({"name": "affine", "alpha": 2.0, "beta": -1.0}, ["Mul", "Add"]),
        ({"name": "scaled_tanh", "alpha": 2.0, "beta": -1.0}, ["Mul", "Tanh", "Mul"]),
        ({"name": "thresholded_relu", "alpha": -0.3}, ["ThresholdedRelu"]),
        ("softplus", ["Softplus"]),
    ],
    ids=str,
)
def test_activations_outside_recurrent_nodes(
    activation: Any, operators: list[str], tmp_path: Path, rng: np.random.Generator
) -> None:
    layer = {"type": "Activation", "name": "y", "inputs": ["x"], "activation": activation}
    subject = Subject([input_layer("x", 4), layer], ["y"])
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert ops(tmp_path / "m.onnx") == operators
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": 3 * floats(rng, 5, 4)})


def test_a_missing_peephole_is_named(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "forward", sequences=True, initial=False, **PEEPHOLES)
    subject.weights = {k: w for k, w in subject.weights.items() if k != "rnn/peephole"}
    with pytest.raises(rekur.onnx.ExportError, match="LSTM 'rnn': parameter 'rnn/peephole' is missing"):
        rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)


def test_clip_leaves_c_alone_on_its_way_to_h(tmp_path: Path) -> None:
    """What docs/onnx.md says of onnxruntime's issue 27224: c goes beyond clip, and h is made of all of it, in both."""
    clip, path = 0.5, tmp_path / "m.onnx"
    model = rekur.Sequential([rekur.Input((None, 3), name="x"), rekur.layers.LSTM(2, clip=clip)])
    model.set_weights([np.full_like(w, 9.0) if w.ndim == 1 else np.zeros_like(w) for w in model.get_weights()])
    rekur.onnx.export(model, path)
    x = np.zeros((1, 60, 3), np.float32)
    (h,) = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    gate = 1 / (1 + np.exp(-clip))
    c = gate * np.tanh(clip) / (1 - gate)  # where it has settled
    assert c > 1.4 * clip
    np.testing.assert_allclose(h, np.full((1, 2), gate * np.tanh(c)), atol=1e-5)
    np.testing.assert_allclose(model.predict(x), h, atol=1e-5)
