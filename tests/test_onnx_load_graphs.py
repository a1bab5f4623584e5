"""ONNX import: graphs as other exporters write them, against onnxruntime; what is not understood is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import rekur.onnx
from harness import assert_close, floats
from onnx_graphs import assert_as_onnxruntime, model_of, need, recurrent_weights
from rekur.onnx import LoadError, backend

T, B, I, H = 5, 3, 4, 6
GATES = {"RNN": ["f"], "GRU": ["f", "g"], "LSTM": ["f", "g", "h"]}
node = helper.make_node


def cell(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return node(op, inputs, outputs, name="cell", hidden_size=H, **attributes)


def recurrent(op: str, rng: np.random.Generator, direction: str = "forward", **attributes: Any) -> onnx.ModelProto:
    """One node, all its outputs."""
    directions = 2 if direction == "bidirectional" else 1
    weights = recurrent_weights(rng, op, I, H, directions)
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    made = cell(op, ["x", "W", "R", "B"], outputs, direction=direction, **attributes)
    return model_of([made], {"x": ("T", "B", I)}, outputs, weights)


# Recurrent nodes.


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


# What stands around them.


def around(nodes: list[onnx.NodeProto], rng: np.random.Generator, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    """A GRU over x, its sequence ``Y`` and state ``Y_h``; the nodes make ``y`` of them."""
    made = [cell("GRU", ["x", "W", "R", "B"], ["Y", "Y_h"]), *nodes]
    kept = {name: np.asarray(value) for name, value in constants.items()}
    return model_of(made, {"x": ("T", "B", I)}, ["y"], {**recurrent_weights(rng, "GRU", I, H), **kept}, opset)


LAST = [node("Squeeze", ["Y_h", "zero"], ["last"])]
SEQUENCE = [node("Squeeze", ["Y", "one"], ["seq"])]
COMMON = {"zero": np.array([0]), "one": np.array([1]), "minus": np.array([-1])}


def f32(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


PLAIN: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "Gemm": ([*LAST, node("Gemm", ["last", "k", "b"], ["y"])], {"k": f32(H, 2), "b": f32(2)}),
    "Gemm of torch": ([*LAST, node("Gemm", ["last", "k", "b"], ["y"], transB=1)], {"k": f32(2, H), "b": f32(2)}),
    "Gemm scaled": (
        [*LAST, node("Gemm", ["last", "k", "b"], ["y"], alpha=0.5, beta=2.0)],
        {"k": f32(H, 2), "b": f32(1, 2)},
    ),
    "Gemm without C": ([*LAST, node("Gemm", ["last", "k"], ["y"])], {"k": f32(H, 2)}),
    "MatMul": ([*SEQUENCE, node("MatMul", ["seq", "k"], ["y"])], {"k": f32(H, 2)}),
    "MatMul Add": (
        [*SEQUENCE, node("MatMul", ["seq", "k"], ["m"]), node("Add", ["b", "m"], ["y"])],
        {"k": f32(H, 2), "b": f32(2)},
    ),
    "MatMul by a vector": ([*SEQUENCE, node("MatMul", ["seq", "k"], ["y"])], {"k": f32(H)}),
    "flattened time": (
        [
            *SEQUENCE,
            node("Reshape", ["seq", "rows"], ["flat"]),
            node("Gemm", ["flat", "k", "b"], ["z"]),
            node("Shape", ["seq"], ["s"]),
            node("Slice", ["s", "zero", "two"], ["lead"]),
            node("Concat", ["lead", "width"], ["back"], axis=0),
            node("Reshape", ["z", "back"], ["y"]),
        ],
        {"rows": [-1, H], "k": f32(H, 2), "b": f32(2), "two": [2], "width": [2]},
    ),
    "squeezed away": (
        [*LAST, node("MatMul", ["last", "k"], ["m"]), node("Squeeze", ["m", "minus"], ["y"])],
        {"k": f32(H, 1)},
    ),
    "Flatten": ([node("Transpose", ["Y_h"], ["t"], perm=[1, 0, 2]), node("Flatten", ["t"], ["y"])], {}),
    "Reshape": ([node("Reshape", ["Y_h", "shape"], ["y"])], {"shape": [-1, H]}),
    "Reshape zeros": (
        [node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]), node("Reshape", ["t", "shape"], ["y"])],
        {"shape": [0, 0, -1]},
    ),
    "Identity": ([*LAST, node("Identity", ["last"], ["i"]), node("Cast", ["i"], ["y"], to=1)], {}),
    "Dropout": ([*LAST, node("Dropout", ["last", "ratio"], ["y"])], {"ratio": np.float32(0.3)}),
    "Softmax": ([*LAST, node("Softmax", ["last"], ["y"])], {}),
    "Softmax of steps": ([*SEQUENCE, node("Softmax", ["seq"], ["y"], axis=2)], {}),
    "Tanh": ([*LAST, node("Tanh", ["last"], ["y"])], {}),
    "Relu": ([*SEQUENCE, node("Relu", ["seq"], ["y"])], {}),
    "Sigmoid": ([*LAST, node("Sigmoid", ["last"], ["y"])], {}),
    "LeakyRelu": ([*LAST, node("LeakyRelu", ["last"], ["y"], alpha=0.3)], {}),
    "LeakyRelu by default": ([*LAST, node("LeakyRelu", ["last"], ["y"])], {}),
    "PRelu": ([*LAST, node("PRelu", ["last", "slope"], ["y"])], {"slope": f32(1)}),
    "Elu": ([*LAST, node("Elu", ["last"], ["y"], alpha=0.5)], {}),
    "Softsign": ([*LAST, node("Softsign", ["last"], ["y"])], {}),
    "HardSigmoid": ([*LAST, node("HardSigmoid", ["last"], ["y"])], {}),
    "swish": ([*LAST, node("Sigmoid", ["last"], ["s"]), node("Mul", ["last", "s"], ["y"])], {}),
    "Add": ([*LAST, node("Add", ["last", "last"], ["y"])], {}),
    "Sum": ([*LAST, node("Tanh", ["last"], ["t"]), node("Sum", ["last", "t", "t"], ["y"])], {}),
    "Concat": ([*LAST, node("Tanh", ["last"], ["t"]), node("Concat", ["last", "t"], ["y"], axis=-1)], {}),
    "last step by Gather": ([*SEQUENCE, node("Gather", ["seq", "minus1"], ["y"], axis=0)], {"minus1": np.int64(-1)}),
    "last step by Slice": (
        [*SEQUENCE, node("Slice", ["seq", "minus", "far", "zero"], ["s"]), node("Squeeze", ["s", "zero"], ["y"])],
        {"far": [2**63 - 1]},
    ),
    "stacked again": (
        [
            node("Concat", ["Y_h", "Y_h"], ["both"], axis=0),
            node("Split", ["both"], ["a", "b"], axis=0),
            node("Gather", ["both", "last_index"], ["c"], axis=0),
            node("Squeeze", ["b", "zero"], ["d"]),
            node("Add", ["c", "d"], ["y"]),
        ],
        {"last_index": np.int64(1)},
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_operators(name: str, rng: np.random.Generator) -> None:
    nodes, constants = PLAIN[name]
    assert_as_onnxruntime(around(nodes, rng, **COMMON, **constants), {"x": floats(rng, T, B, I)})


RESCALING = {"type": "Rescaling", "scale": 1.0, "offset": 0.0}
NEW: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], dict[str, Any]]] = {
    "Add a number": ([*LAST, node("Add", ["last", "c"], ["y"])], {"c": np.float32(0.3)}, RESCALING),
    "from a number": ([*LAST, node("Sub", ["c", "last"], ["y"])], {"c": np.float32(0.3)}, RESCALING),
    "Sub a vector": ([*SEQUENCE, node("Sub", ["seq", "c"], ["y"])], {"c": f32(H)}, RESCALING),
    "Mul": ([*SEQUENCE, node("Mul", ["seq", "c"], ["y"])], {"c": f32(1, H)}, RESCALING),
    "Div": ([*LAST, node("Div", ["last", "c"], ["y"])], {"c": 1 + np.abs(f32(H))}, RESCALING),
    "Neg": ([*LAST, node("Neg", ["last"], ["y"])], {}, RESCALING),
    "Subtract": ([*LAST, node("Tanh", ["last"], ["t"]), node("Sub", ["last", "t"], ["y"])], {}, {"type": "Subtract"}),
    "Divide": ([*LAST, node("Sigmoid", ["last"], ["t"]), node("Div", ["last", "t"], ["y"])], {}, {"type": "Divide"}),
    "Softplus": ([*LAST, node("Softplus", ["last"], ["y"])], {}, {"type": "Activation", "activation": "softplus"}),
    "ThresholdedRelu": (
        [*LAST, node("ThresholdedRelu", ["last"], ["y"], alpha=0.1)],
        {},
        {"type": "Activation", "activation": "thresholded_relu"},
    ),
    "first step": (
        [*SEQUENCE, node("Gather", ["seq", "index"], ["y"], axis=0)],
        {"index": np.int64(0)},
        {"type": "Step", "index": 0},
    ),
    "steps between": (
        [*SEQUENCE, node("Slice", ["seq", "two", "three"], ["y"])],
        {"two": [2], "three": [3]},
        {"type": "Step", "index": 0},
    ),
    "Slice of features": (
        [*SEQUENCE, node("Slice", ["seq", "one", "four", "axes"], ["y"])],
        {"four": [4], "axes": [2]},
        {"type": "Slice", "start": 0, "stop": 2},
    ),
    "Split of features": (
        [*LAST, node("Split", ["last", "sizes"], ["a", "b"], axis=1), node("Tanh", ["b"], ["y"])],
        {"sizes": [2, 4]},
        {"type": "Slice", "start": 0, "stop": 2},
    ),
    "LayerNormalization": (
        [*SEQUENCE, node("LayerNormalization", ["seq", "g", "b"], ["y"], epsilon=1e-3)],
        {"g": f32(H), "b": f32(H)},
        {"type": "LayerNormalization"},
    ),
    "LayerNormalization without bias": (
        [*LAST, node("LayerNormalization", ["last", "g"], ["y"])],
        {"g": f32(H)},
        {"type": "LayerNormalization"},
    ),
    "LayerNormalization taken apart": (
        [
            *SEQUENCE,
            node("ReduceMean", ["seq"], ["mean"], axes=[-1]),
            node("Sub", ["seq", "mean"], ["centred"]),
            node("Pow", ["centred", "power"], ["squares"]),
            node("ReduceMean", ["squares"], ["variance"], axes=[-1]),
            node("Add", ["variance", "eps"], ["sum"]),
            node("Sqrt", ["sum"], ["root"]),
            node("Div", ["centred", "root"], ["normal"]),
            node("Mul", ["normal", "g"], ["scaled"]),
            node("Add", ["scaled", "b"], ["y"]),
        ],
        {"power": np.float32(2), "eps": np.float32(1e-5), "g": f32(H), "b": f32(H)},
        {"type": "LayerNormalization"},
    ),
    "BatchNormalization": (
        [*LAST, node("BatchNormalization", ["last", "g", "b", "m", "v"], ["y"])],
        {"g": f32(H), "b": f32(H), "m": f32(H), "v": np.abs(f32(H)) + 0.1},
        {"type": "Affine"},
    ),
    "BatchNormalization of steps": (
        [
            *SEQUENCE,
            node("Transpose", ["seq"], ["t"], perm=[1, 2, 0]),
            node("BatchNormalization", ["t", "g", "b", "m", "v"], ["y"], epsilon=1e-3),
        ],
        {"g": f32(H), "b": f32(H), "m": f32(H), "v": np.abs(f32(H)) + 0.1},
        {"type": "Affine"},
    ),
}


@pytest.mark.parametrize("name", NEW)
def test_operators_of_newer_layers(name: str, rng: np.random.Generator) -> None:
    nodes, constants, layer = NEW[name]
    shape: tuple[int | None, ...] = (None, None, 3) if layer["type"] == "Step" else (None, 3)
    need(layer, *([shape] * (2 if layer["type"] in ("Subtract", "Divide") else 1)))
    assert_as_onnxruntime(around(nodes, rng, **COMMON, **constants), {"x": floats(rng, T, B, I)})


def test_old_opsets_say_axes_as_attributes(rng: np.random.Generator) -> None:
    nodes = [
        node("Squeeze", ["Y"], ["seq"], axes=[1]),
        node("Slice", ["seq"], ["cut"], axes=[0], starts=[-1], ends=[2**31 - 1]),
        node("Squeeze", ["cut"], ["last"], axes=[0]),
        node("Unsqueeze", ["last"], ["wide"], axes=[1]),
        node("Flatten", ["wide"], ["flat"]),
        node("Dropout", ["flat"], ["drop"], ratio=0.25),
        node("Softmax", ["drop"], ["y"]),
    ]
    assert_as_onnxruntime(around(nodes, rng, opset=9), {"x": floats(rng, T, B, I)})


def test_embedding_before_a_time_major_layer(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [node("Gather", ["table", "ids"], ["words"]), cell("LSTM", ["words", "W", "R", "B"], ["Y"])]
    constants = {"table": f32(11, I), **recurrent_weights(rng, "LSTM", I, H)}
    for ids in (("T", "B"), (T, B)):
        model = model_of(made, {"ids": ("int64", ids)}, ["Y"], constants)
        assert_as_onnxruntime(model, {"ids": rng.integers(0, 11, (T, B))})
    onnx.save(model, tmp_path / "m.onnx")
    assert rekur.onnx.load(tmp_path / "m.onnx").input_shape == (None, T)


def test_ids_that_the_file_takes_as_floats(tmp_path: Path, rng: np.random.Generator) -> None:
    """As Keras models with an Embedding do."""
    made = [
        node("Cast", ["x"], ["ids"], to=onnx.TensorProto.INT32),
        node("Gather", ["table", "ids"], ["words"]),
        node("Transpose", ["words"], ["X"], perm=[1, 0, 2]),
        cell("LSTM", ["X", "W", "R", "B"], ["", "Y_h"]),
    ]
    constants = {"table": f32(11, I), **recurrent_weights(rng, "LSTM", I, H)}
    model = model_of(made, {"x": ("B", "T")}, ["Y_h"], constants)
    assert_as_onnxruntime(model, {"x": rng.integers(0, 11, (B, T)).astype(np.float32)})
    onnx.save(model, tmp_path / "m.onnx")
    assert rekur.onnx.load(tmp_path / "m.onnx").input_shape == (None, None)


@pytest.mark.parametrize("fixed", [False, True])
def test_one_step_at_a_time(fixed: bool, rng: np.random.Generator) -> None:
    """A streaming model: (B, F) in, states in and out; the time axis is one that the file adds."""
    made = [
        node("MatMul", ["x", "k"], ["wide"]),
        node("Unsqueeze", ["wide", "zero"], ["X"]),
        node("Unsqueeze", ["h_in", "zero"], ["H"]),
        cell("GRU", ["X", "W", "R", "B", "", "H"], ["Y", "Y_h"]),
        node("Squeeze", ["Y_h", "zero"], ["h_out"]),
        node("Squeeze", ["Y", "axes"], ["last"]),
        node("Tanh", ["last"], ["y"]),
    ]
    batch = B if fixed else "B"
    constants = {**COMMON, "axes": np.array([0, 1]), "k": f32(2, I), **recurrent_weights(rng, "GRU", I, H)}
    model = model_of(made, {"x": (batch, 2), "h_in": (batch, H)}, ["y", "h_out"], constants)
    assert_as_onnxruntime(model, {"x": floats(rng, B, 2), "h_in": floats(rng, B, H)})


def test_one_step_through_a_stack(rng: np.random.Generator) -> None:
    """The state of the first layer, and what a Dense makes of it beside the input, is what the second one reads."""
    made = [
        node("Unsqueeze", ["x", "zero"], ["X"]),
        node("Unsqueeze", ["h_in", "zero"], ["H"]),
        cell("GRU", ["X", "W", "R", "B", "", "H"], ["", "Y_h"]),
        node("Squeeze", ["Y_h", "zero"], ["h_out"]),
        node("MatMul", ["h_out", "k"], ["wide"]),
        node("Relu", ["wide"], ["relu"]),
        node("Concat", ["relu", "x"], ["both"], axis=-1),
        node("Unsqueeze", ["both", "zero"], ["X2"]),
        node("LSTM", ["X2", "W2", "R2", "B2"], ["", "Y2_h"], name="second", hidden_size=H),
        node("Squeeze", ["Y2_h", "zero"], ["y"]),
    ]
    second = {f"{name}2": array for name, array in recurrent_weights(rng, "LSTM", 2 + I, H).items()}
    constants = {**COMMON, "k": f32(H, 2), **recurrent_weights(rng, "GRU", I, H), **second}
    model = model_of(made, {"x": ("B", I), "h_in": ("B", H)}, ["y", "h_out"], constants)
    assert_as_onnxruntime(model, {"x": floats(rng, B, I), "h_in": floats(rng, B, H)})


def test_a_sequence_made_of_features_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [
        *LAST,
        node("Unsqueeze", ["last", "zero"], ["X"]),
        cell("GRU", ["X", "W2", "R", "B"], ["Y2"]),
        node("Squeeze", ["Y2", "one"], ["y"]),
    ]
    onnx.save(around(made, rng, **COMMON, W2=f32(1, 3 * H, H)), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="GRU node 'cell': X has no time axis"):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_one_row_without_a_batch(rng: np.random.Generator) -> None:
    made = [
        node("Unsqueeze", ["x", "one"], ["X"]),
        cell("GRU", ["X", "W", "R", "B"], ["Y"]),
        node("Squeeze", ["Y", "axes"], ["y"]),
    ]
    constants = {**COMMON, "axes": np.array([1, 2]), **recurrent_weights(rng, "GRU", I, H)}
    assert_as_onnxruntime(model_of(made, {"x": ("T", I)}, ["y"], constants), {"x": floats(rng, T, I)})


@pytest.mark.parametrize("steps", ["T", T])
def test_series_of_one_feature(steps: Any, rng: np.random.Generator) -> None:
    made = [
        node("Transpose", ["x"], ["t"]),
        node("Unsqueeze", ["t", "two"], ["X"]),
        cell("GRU", ["X", "W", "R", "B"], ["Y"]),
    ]
    constants = {"two": np.array([2]), **recurrent_weights(rng, "GRU", 1, H)}
    assert_as_onnxruntime(model_of(made, {"x": ("B", steps)}, ["Y"], constants), {"x": floats(rng, B, T)})


def test_backend_takes_dictionaries_and_refuses_other_types(rng: np.random.Generator) -> None:
    prepared = backend.prepare(recurrent("GRU", rng))
    x = floats(rng, T, B, I)
    for y, e in zip(prepared.run({"x": x}), prepared.run([x]), strict=True):
        np.testing.assert_array_equal(y, e)
    with pytest.raises(ValueError, match="input 'x': expected float32, got float64"):
        prepared.run([x.astype(np.float64)])
    with pytest.raises(ValueError, match="input 'x': expected 3 axes"):
        prepared.run([x[0]])
    with pytest.raises(ValueError, match="expected 1 inputs"):
        prepared.run([x, x])
    with pytest.raises(ValueError, match="expected device 'CPU', got 'CUDA'"):
        backend.prepare(recurrent("GRU", rng), "CUDA")
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:1") and not backend.supports_device("?")
    assert backend.is_compatible(recurrent("GRU", rng))
    assert not backend.is_compatible(model_of([node("Erf", ["x"], ["y"])], {"x": ("B", 3)}, ["y"]))


def test_backend_hands_on_nan(rng: np.random.Generator) -> None:
    x = floats(rng, T, B, I)
    x[1, 0, 0] = np.nan
    y = backend.prepare(recurrent("GRU", rng)).run([x])[0]
    assert np.isnan(y[1:, :, 0]).all() and np.isfinite(y[:, :, 1:]).all()


# What is refused, and how.

SEQ_IN = {"x": ("T", "B", I)}
REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "LogSoftmax": (
        [*LAST, node("LogSoftmax", ["last"], ["y"], name="n")],
        {},
        "LogSoftmax node 'n': no layer gives log-prob",
    ),
    "an operator": (
        [*LAST, node("Erf", ["last"], ["y"], name="n")],
        {},
        "Erf node 'n': this operator is not understood",
    ),
    "a mean over time": (
        [*SEQUENCE, node("ReduceMean", ["seq"], ["y"], axes=[0])],
        {},
        "ReduceMean node 'y': a mean over",
    ),
    "part of the time": (
        [*SEQUENCE, node("Slice", ["seq", "zero", "three"], ["y"])],
        {"three": [3]},
        "only a single step",
    ),
    "time turned around": (
        [*SEQUENCE, node("Slice", ["seq", "minus", "far", "zero", "minus"], ["y"])],
        {"far": [-(2**40)]},
        "direction=reverse",
    ),
    "time as features": (
        [node("Transpose", ["Y"], ["t"], perm=[2, 0, 1, 3]), node("Flatten", ["t"], ["y"])],
        {},
        "Flatten node 'y': reshapes",
    ),
    "two products": ([*LAST, node("MatMul", ["last", "Y"], ["y"])], {}, "product of two tensors"),
    "broadcast over time": ([*LAST, *SEQUENCE, node("Add", ["seq", "last"], ["y"])], {}, "nothing is broadcast"),
    "a row for each row": (
        [*LAST, node("Add", ["last", "c"], ["y"])],
        {"c": f32(B, H)},
        "one number, or one a feature",
    ),
    "transA": ([*LAST, node("Gemm", ["last", "k"], ["y"], transA=1)], {"k": f32(H, 2)}, "transA 1"),
    "softmax over time": ([*SEQUENCE, node("Softmax", ["seq"], ["y"], axis=0)], {}, "expected the features"),
    "division by zero": ([*LAST, node("Div", ["last", "c"], ["y"])], {"c": np.float32(0)}, "divides by zero"),
    "a quotient of a constant": (
        [*LAST, node("Div", ["c", "last"], ["y"])],
        {"c": np.float32(1)},
        "a constant divided",
    ),
    "steps joined": ([*SEQUENCE, node("Concat", ["seq", "seq"], ["y"], axis=0)], {}, "only features can be joined"),
    "double": ([*LAST, node("Cast", ["last"], ["y"], to=11)], {}, "float32 cast to float64"),
    "a mask": ([*LAST, node("Dropout", ["last"], ["d", "y"])], {}, "its mask is read"),
    "state without batch": (
        [cell("GRU", ["seq", "W2", "R", "B", "", "h0"], ["Y2"]), *SEQUENCE, node("Squeeze", ["Y2", "one"], ["y"])],
        {"h0": f32(1, B, H), "W2": f32(1, 3 * H, H)},
        "the batch is built into the file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    nodes, constants, message = REFUSED[name]
    (tmp_path / "m.onnx").write_bytes(around(nodes, rng, **COMMON, **constants).SerializeToString())
    with pytest.raises(LoadError, match=message):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_lengths_that_one_layer_reads_and_the_next_does_not(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [
        cell("GRU", ["x", "W", "R", "B", "lens"], ["Y"]),
        node("Squeeze", ["Y", "one"], ["seq"]),
        cell("GRU", ["seq", "W2", "R", "B"], ["Y2"]),
    ]
    constants = {**COMMON, **recurrent_weights(rng, "GRU", I, H), "W2": f32(1, 3 * H, H)}
    onnx.save(model_of(made, {**SEQ_IN, "lens": ("int32", ("B",))}, ["Y2"], constants), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="rows have one length in all layers"):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_one_step_of_rows_with_lengths(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [cell("GRU", ["x", "W", "R", "B", "lens"], ["Y"]), node("Gather", ["Y", "minus"], ["y"], name="pick")]
    model = model_of(
        made, {**SEQ_IN, "lens": ("int32", ("B",))}, ["y"], {**COMMON, **recurrent_weights(rng, "GRU", I, H)}
    )
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="Gather node 'pick': takes one time step where rows have lengths"):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_weights_that_are_inputs_need_the_backend(tmp_path: Path, rng: np.random.Generator) -> None:
    made = cell("GRU", ["x", "W", "R"], ["Y"])
    weights = recurrent_weights(rng, "GRU", I, H)
    model = model_of([made], {**SEQ_IN, "W": (1, 3 * H, I), "R": (1, 3 * H, H)}, ["Y"])
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="GRU node 'cell': W must be a constant, it is the graph input 'W'"):
        rekur.onnx.load(tmp_path / "m.onnx")
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I), "W": weights["W"], "R": weights["R"]})


def test_biases_of_an_lstm_are_summed(tmp_path: Path, rng: np.random.Generator) -> None:
    model = recurrent("LSTM", rng)
    onnx.save(model, tmp_path / "m.onnx")
    bias = recurrent_weights(np.random.default_rng(20240521), "LSTM", I, H)["B"][0].reshape(2, 4, H)
    i, o, f, g = bias.sum(axis=0)
    loaded = rekur.onnx.load(tmp_path / "m.onnx").named_weights()
    assert_close(loaded["cell/bias" if "cell/bias" in loaded else "Y/bias"], np.concatenate([i, f, g, o]), 1e-6)
