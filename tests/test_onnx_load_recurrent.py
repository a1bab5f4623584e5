"""ONNX import: recurrent nodes with every attribute, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import assert_close, floats
from onnx_graphs import (
    B,
    H,
    I,
    T,
    assert_as_onnxruntime,
    cell,
    model_of,
    need,
    node,
    recurrent,
    recurrent_weights,
)
from rekur.onnx import backend

pytestmark = pytest.mark.usefixtures("by_nodes")

GATES = {"RNN": ["f"], "GRU": ["f", "g"], "LSTM": ["f", "g", "h"]}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_every_output(op: str, direction: str, rng: np.random.Generator) -> None:
    extra = {"linear_before_reset": 1} if op == "GRU" else {}
    for attributes in ({}, extra):
        assert_as_onnxruntime(recurrent(op, rng, direction, **attributes), {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize(
    "outputs", [["Y", "", ""], ["", "Y_h", ""], ["", "", "Y_c"], ["Y", "", "Y_c"], ["", "Y_h", "Y_c"]]
)
@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_any_combination_of_outputs(outputs: list[str], direction: str, rng: np.random.Generator) -> None:
    weights = recurrent_weights(rng, "LSTM", I, H, 2 if direction == "bidirectional" else 1)
    made = cell("LSTM", ["x", "W", "R", "B"], outputs, direction=direction)
    assert_as_onnxruntime(
        model_of([made], {"x": ("T", "B", I)}, list(filter(None, outputs)), weights), {"x": floats(rng, T, B, I)}
    )


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_layout_one(op: str, direction: str, rng: np.random.Generator) -> None:
    """onnxruntime refuses it: compared with layout 0 and transposed arrays. Initial states and lengths too."""
    directions = 2 if direction == "bidirectional" else 1
    weights = recurrent_weights(rng, op, I, H, directions)
    states = ["h0", "c0"][: 2 if op == "LSTM" else 1]
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(states)]
    feed = {"x": floats(rng, T, B, I), "lens": np.array([5, 2, 4], np.int32)}
    feed |= {state: floats(rng, directions, B, H) for state in states}
    results = []
    for layout in (0, 1):
        made = cell(op, ["x", "W", "R", "B", "lens", *states], outputs, direction=direction, layout=layout)
        shapes = {"x": ("B", "T", I) if layout else ("T", "B", I), "lens": ("int32", ("B",))}
        shapes |= {state: ("B", directions, H) if layout else (directions, "B", H) for state in states}
        given = {name: a if name == "lens" or not layout else a.swapaxes(0, 1) for name, a in feed.items()}
        results.append(backend.prepare(model_of([made], shapes, outputs, weights)).run(given))
    y0, y1 = results
    np.testing.assert_array_equal(y1[0], y0[0].transpose(2, 0, 1, 3))
    for a, b in zip(y1[1:], y0[1:], strict=True):
        np.testing.assert_array_equal(a, b.swapaxes(0, 1))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_lengths_and_initial_states(op: str, direction: str, rng: np.random.Generator) -> None:
    directions = 2 if direction == "bidirectional" else 1
    states = ["h0", "c0"][: 2 if op == "LSTM" else 1]
    outputs = ["Y", "Y_h", "Y_c"][: 1 + len(states)]
    made = cell(op, ["x", "W", "R", "B", "lens", *states], outputs, direction=direction)
    shapes: dict[str, Any] = {"x": ("T", "B", I), "lens": ("int32", ("B",))}
    shapes |= {state: (directions, "B", H) for state in states}
    model = model_of([made], shapes, outputs, recurrent_weights(rng, op, I, H, directions))
    feed = {"x": floats(rng, T, B, I), "lens": np.array([5, 2, 4], np.int32)}
    assert_as_onnxruntime(model, feed | {state: floats(rng, directions, B, H) for state in states})


@pytest.mark.parametrize("lens", ["given", "constant", "made"])
def test_lengths_that_are_the_whole_sequence(lens: str, rng: np.random.Generator) -> None:
    made = [cell("GRU", ["x", "W", "R", "B", "lens"], ["Y"])]
    constants = recurrent_weights(rng, "GRU", I, H)
    shapes: dict[str, Any] = {"x": (T, B, I)}
    feed = {"x": floats(rng, T, B, I)}
    if lens == "given":
        shapes["lens"], feed["lens"] = ("int32", (B,)), np.full(B, T, np.int32)
    elif lens == "constant":
        constants["lens"] = np.full(B, T, np.int32)
    else:  # as tf2onnx does: the number of steps, once for each row
        shapes["x"] = ("T", "B", I)
        constants |= {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
        made[:0] = [
            node("Shape", ["x"], ["shape"]),
            node("Slice", ["shape", "zero", "one"], ["steps"]),
            node("Slice", ["shape", "one", "two"], ["rows"]),
            node("Expand", ["steps", "rows"], ["wide"]),
            node("Cast", ["wide"], ["lens"], to=onnx.TensorProto.INT32),
        ]
    assert_as_onnxruntime(model_of(made, shapes, ["Y"], constants), feed)


ACTIVATIONS: list[tuple[str, float | None, float | None, dict[str, Any] | str]] = [
    ("Relu", None, None, "relu"),
    ("Sigmoid", None, None, "sigmoid"),
    ("Softsign", None, None, "softsign"),
    ("Softplus", None, None, "softplus"),
    ("LeakyRelu", 0.3, None, {"name": "leaky_relu", "alpha": 0.3}),
    ("Elu", 0.7, None, {"name": "elu", "alpha": 0.7}),
    ("ThresholdedRelu", 0.2, None, {"name": "thresholded_relu", "alpha": 0.2}),
    ("HardSigmoid", 0.3, 0.4, {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.4}),
    ("ScaledTanh", 0.9, 1.2, {"name": "scaled_tanh", "alpha": 0.9, "beta": 1.2}),
    ("Affine", 0.5, 0.1, {"name": "affine", "alpha": 0.5, "beta": 0.1}),
    ("Affine", 1.0, 0.0, "linear"),
]


@pytest.mark.parametrize(("name", "alpha", "beta", "spec"), ACTIVATIONS, ids=[str(a[3]) for a in ACTIVATIONS])
@pytest.mark.parametrize("op", GATES)
def test_activations(
    op: str, name: str, alpha: float | None, beta: float | None, spec: Any, rng: np.random.Generator
) -> None:
    """The last activation of each direction, so that alpha and beta must find the right one."""
    need({"type": "SimpleRNN", "units": 3, "activation": spec})
    defaults = {"RNN": [], "GRU": ["HardSigmoid"], "LSTM": ["HardSigmoid", "LeakyRelu"]}[op]
    if op == "LSTM":
        need({"type": "LSTM", "units": 3, "output_activation": spec})
    alphas = [0.25 if d == "HardSigmoid" else 0.05 for d in defaults] + ([alpha] if alpha is not None else [])
    betas = [0.45 for d in defaults if d == "HardSigmoid"] + ([beta] if beta is not None else [])
    attributes: dict[str, Any] = {"activations": [*defaults, name] * 2}
    attributes |= {"activation_alpha": alphas * 2} if alphas else {}
    attributes |= {"activation_beta": betas * 2} if betas else {}
    assert_as_onnxruntime(recurrent(op, rng, "bidirectional", **attributes), {"x": floats(rng, 3, B, I)})


DIFFERENT = {
    "RNN": ["Tanh", "Softsign"],
    "GRU": ["Sigmoid", "Tanh", "Sigmoid", "Softsign"],
    "LSTM": ["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "Tanh", "Tanh"],
}


@pytest.mark.parametrize("op", GATES)
def test_directions_of_different_activations(op: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Side by side, as a Bidirectional layer would have them, which is of one kind."""
    for activations in (None, DIFFERENT[op]):
        made = [
            cell(op, ["x", "W", "R", "B"], ["Y"], direction="bidirectional", activations=activations),
            node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]),
            node("Reshape", ["t", "shape"], ["y"]),
        ]
        constants = {"shape": np.array([0, 0, -1]), **recurrent_weights(rng, op, I, H, 2)}
        model = model_of(made, {"x": ("T", "B", I)}, ["y"], constants)
        assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
        onnx.save(model, tmp_path / "m.onnx")
        kinds = [layer["type"] for layer in rekur.onnx.load(tmp_path / "m.onnx").spec["layers"]]
        assert ("Bidirectional" in kinds) == (activations is None)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_clip(op: str, direction: str, rng: np.random.Generator) -> None:
    need({"type": "LSTM", "units": 3, "clip": 0.5})
    assert_as_onnxruntime(recurrent(op, rng, direction, clip=0.4), {"x": 3 * floats(rng, T, B, I)})


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_peepholes(direction: str, rng: np.random.Generator) -> None:
    need({"type": "LSTM", "units": 3, "peepholes": True})
    weights = recurrent_weights(rng, "LSTM", I, H, 2 if direction == "bidirectional" else 1, peepholes=True)
    made = cell("LSTM", ["x", "W", "R", "B", "", "", "", "P"], ["Y", "Y_h", "Y_c"], direction=direction)
    model = model_of([made], {"x": ("T", "B", I)}, ["Y", "Y_h", "Y_c"], weights)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("peepholes", [False, True])
def test_coupled_gates(peepholes: bool, rng: np.random.Generator) -> None:
    need({"type": "LSTM", "units": 3, "coupled_gates": True, "peepholes": peepholes})
    weights = recurrent_weights(rng, "LSTM", I, H, peepholes=peepholes)
    made = cell("LSTM", ["x", "W", "R", "B", "", "", "", "P" if peepholes else ""], ["Y", "", "Y_c"], input_forget=1)
    model = model_of([made], {"x": ("T", "B", I)}, ["Y", "Y_c"], weights)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


def test_one_initial_state_of_two(rng: np.random.Generator) -> None:
    need({"type": "Rescaling", "scale": 0.0, "offset": 0.0}, (None, 3))
    for given in (["h0", ""], ["", "h0"]):
        made = cell("LSTM", ["x", "W", "R", "B", "", *given], ["Y"])
        model = model_of([made], {"x": ("T", "B", I), "h0": (1, "B", H)}, ["Y"], recurrent_weights(rng, "LSTM", I, H))
        assert_as_onnxruntime(model, {"x": floats(rng, T, B, I), "h0": floats(rng, 1, B, H)})


def test_initial_state_that_is_a_constant(rng: np.random.Generator) -> None:
    """One row for all: expanded to the batch, or of a batch that the file fixes."""
    need({"type": "Step", "index": 0}, (None, None, 3))
    need({"type": "Rescaling", "scale": 0.0, "offset": 0.0}, (None, 3))
    row = floats(rng, 2, 1, H)
    weights = recurrent_weights(rng, "GRU", I, H, 2)
    made = cell("GRU", ["x", "W", "R", "B", "", "h0"], ["Y"], direction="bidirectional")
    fixed = model_of([made], {"x": ("T", B, I)}, ["Y"], {**weights, "h0": np.repeat(row, B, axis=1)})
    assert_as_onnxruntime(fixed, {"x": floats(rng, T, B, I)})
    plumbing = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["rows"]),
        node("Concat", ["two", "rows", "units"], ["wanted"], axis=0),
        node("Expand", ["row", "wanted"], ["h0"]),
    ]
    constants = {"row": row, "one": np.array([1]), "two": np.array([2]), "units": np.array([H]), **weights}
    assert_as_onnxruntime(
        model_of([*plumbing, made], {"x": ("T", "B", I)}, ["Y"], constants), {"x": floats(rng, T, B, I)}
    )


def test_biases_of_an_lstm_are_summed(tmp_path: Path, rng: np.random.Generator) -> None:
    model = recurrent("LSTM", rng)
    onnx.save(model, tmp_path / "m.onnx")
    bias = recurrent_weights(np.random.default_rng(20240521), "LSTM", I, H)["B"][0].reshape(2, 4, H)
    i, o, f, g = bias.sum(axis=0)
    loaded = rekur.onnx.load(tmp_path / "m.onnx").named_weights()
    assert_close(loaded["cell/bias" if "cell/bias" in loaded else "Y/bias"], np.concatenate([i, f, g, o]), 1e-6)
