"""ONNX import: reductions, broadcasting, masks and functions of every number, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import (
    LAST,
    SEQUENCE,
    B,
    H,
    I,
    T,
    around,
    assert_as_onnxruntime,
    f32,
    model_of,
    node,
    recurrent_weights,
)

pytestmark = pytest.mark.usefixtures("by_nodes")
AXES = {"time": [0], "features": [-1], "time and features": [0, 2]}
REDUCTIONS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp",
)  # fmt: skip
REFUSED = {("ReduceLogSumExp", "time"), ("ReduceLogSumExp", "time and features"), ("ReduceL2", "time and features")}


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str, axes: str, keep: int, rng: np.random.Generator) -> None:
    by_input = op == "ReduceSum"
    made = node(
        op, ["seq", *(["axes"] if by_input else [])], ["y"], keepdims=keep, **({} if by_input else {"axes": AXES[axes]})
    )
    model = around([*SEQUENCE, made], rng, axes=np.array(AXES[axes]), one=np.array([1]))
    if (op, axes) in REFUSED:
        with pytest.raises(rekur.onnx.LoadError, match=op):
            rekur.onnx.backend.prepare(model)
        return
    for steps in (1, T):
        assert_as_onnxruntime(model, {"x": floats(rng, steps, B, I)})


FUNCTIONS: dict[str, dict[str, Any]] = {
    "Exp": {}, "Sqrt": {}, "Reciprocal": {}, "Erf": {}, "Selu": {}, "Celu": {"alpha": 1.5}, "HardSwish": {},
}  # fmt: skip


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions_of_every_number(op: str, rng: np.random.Generator) -> None:
    positive = [node("Abs", ["seq"], ["a"]), node("Add", ["a", "half"], ["p"])]
    model = around(
        [*SEQUENCE, *positive, node(op, ["p"], ["y"], **FUNCTIONS[op])], rng, one=np.array([1]), half=np.float32(0.5)
    )
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
    signed = op not in ("Sqrt", "Reciprocal")
    if signed:
        model = around([*SEQUENCE, node(op, ["seq"], ["y"], **FUNCTIONS[op])], rng, one=np.array([1]))
        assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_gelu(how: str, rng: np.random.Generator) -> None:
    model = around([*SEQUENCE, node("Gelu", ["seq"], ["y"], approximate=how)], rng, 20, one=np.array([1]))
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("by", [2.0, 3.0, 4.0, 0.5, 1.5, -1.0, -2.0, -0.5, 1.0, 0.3])
def test_powers(by: float, rng: np.random.Generator) -> None:
    nodes = [node("Abs", ["seq"], ["a"]), node("Add", ["a", "half"], ["p"]), node("Pow", ["p", "by"], ["y"])]
    model = around([*SEQUENCE, *nodes], rng, one=np.array([1]), half=np.float32(0.5), by=np.float32(by))
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


def test_a_power_that_no_equation_says_is_refused(rng: np.random.Generator) -> None:
    model = around([*SEQUENCE, node("Pow", ["seq", "by"], ["y"], name="p")], rng, one=np.array([1]), by=np.float32(7))
    with pytest.raises(rekur.onnx.LoadError, match="Pow node 'p': the exponent is 7"):
        rekur.onnx.backend.prepare(model)


ONE = {"last": [1], "middle": [0]}


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", ["row beside sequence", "one feature", "row of one feature"])
def test_what_is_of_size_one_is_repeated(op: str, shape: str, rng: np.random.Generator) -> None:
    nodes = {
        "row beside sequence": [*LAST, node(op, ["seq", "last"], ["y"])],
        "one feature": [node("ReduceMax", ["seq"], ["m"], axes=[2]), node(op, ["m", "seq"], ["y"])],
        "row of one feature": [*LAST, node("ReduceMax", ["last"], ["m"], axes=[1]), node(op, ["seq", "m"], ["y"])],
    }[shape]
    model = around([*SEQUENCE, *nodes], rng, zero=np.array([0]), one=np.array([1]))
    if shape == "row of one feature":
        assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
        return
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I) + 2})


def test_rows_are_never_repeated(tmp_path: Path, rng: np.random.Generator) -> None:
    """(T, B, H) and (T, H): of one row each, whatever the file's shapes would broadcast."""
    nodes = [node("ReduceMax", ["seq"], ["m"], axes=[1], keepdims=0), node("Add", ["seq", "m"], ["y"])]
    with pytest.raises(rekur.onnx.LoadError, match="ReduceMax"):
        rekur.onnx.backend.prepare(around([*SEQUENCE, *nodes], rng, one=np.array([1])))


MASKED: dict[str, list[onnx.NodeProto]] = {
    "mean of the steps that are there": [
        node("Unsqueeze", ["mask", "minus"], ["m"]),
        node("Cast", ["m"], ["f"], to=1),
        node("Mul", ["seq", "f"], ["kept"]),
        node("ReduceSum", ["kept", "one"], ["total"], keepdims=0),
        node("ReduceSum", ["f", "one"], ["count"], keepdims=0),
        node("Clip", ["count", "least"], ["some"]),
        node("Div", ["total", "some"], ["y"]),
    ],
    "zeros where it is false": [
        node("Unsqueeze", ["mask", "minus"], ["m"]),
        node("Where", ["m", "seq", "nothing"], ["y"]),
    ],
    "negated, and another": [
        node("Not", ["mask"], ["no"]),
        node("Unsqueeze", ["no", "minus"], ["m"]),
        node("Less", ["seq", "nothing"], ["low"]),
        node("And", ["low", "m"], ["both"]),
        node("Where", ["both", "half", "seq"], ["y"]),
    ],
    "or, xor": [
        node("Unsqueeze", ["mask", "minus"], ["m"]),
        node("GreaterOrEqual", ["seq", "half"], ["high"]),
        node("Xor", ["high", "m"], ["one_of"]),
        node("Or", ["one_of", "high"], ["any"]),
        node("Cast", ["any"], ["f"], to=1),
        node("Mul", ["f", "seq"], ["y"]),
    ],
    "attention of a query": [
        node("Squeeze", ["Y_h", "zero"], ["last"]),
        node("Unsqueeze", ["last", "one"], ["query"]),
        node("Transpose", ["seq"], ["keys"], perm=[0, 2, 1]),
        node("MatMul", ["query", "keys"], ["scores"]),
        node("Not", ["mask"], ["no"]),
        node("Unsqueeze", ["no", "one"], ["m"]),
        node("Where", ["m", "deep", "scores"], ["s"]),
        node("Softmax", ["s"], ["w"], axis=-1),
        node("MatMul", ["w", "seq"], ["y"]),
    ],
    "attention of every step": [
        node("Transpose", ["seq"], ["keys"], perm=[0, 2, 1]),
        node("MatMul", ["seq", "keys"], ["products"]),
        node("Mul", ["products", "half"], ["scores"]),
        node("Unsqueeze", ["mask", "one"], ["m"]),
        node("Where", ["m", "scores", "deep"], ["s"]),
        node("Softmax", ["s"], ["w"], axis=-1),
        node("MatMul", ["w", "seq"], ["y"]),
    ],
}


@pytest.mark.parametrize("name", MASKED)
def test_masks_as_inputs(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("GRU", ["t", "W", "R", "B"], ["Y", "Y_h"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["steps"]),
        node("Transpose", ["steps"], ["seq"], perm=[1, 0, 2]),
        *MASKED[name],
    ]
    held = {"minus": np.array([-1]), "one": np.array([1]), "zero": np.array([0]), "least": np.float32(1)}
    held |= {"nothing": np.float32(0), "half": np.float32(0.5), "deep": np.float32(-1e9)}
    model = model_of(nodes, {"x": ("B", "T", I)}, ["y"], {**recurrent_weights(rng, "GRU", I, H), **held}, infer=False)
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, ("B", "T")))
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    mask = np.arange(T)[None] < np.array([[T], [2], [1]])
    assert_as_onnxruntime(model, {"x": floats(rng, 3, T, I), "mask": mask})
    onnx.save(model, tmp_path / "m.onnx")
    rekur.onnx.export(rekur.onnx.load(tmp_path / "m.onnx"), tmp_path / "again.onnx")


def test_frames_on_the_first_axis_are_steps(tmp_path: Path, rng: np.random.Generator) -> None:
    """As silero-vad's file of sequences: convolutions take frames as rows, the LSTM takes them as steps."""
    nodes = [
        node("Pad", ["x", "p"], ["padded"], mode="reflect"),
        node("Unsqueeze", ["padded", "one"], ["u"]),
        node("Conv", ["u", "k1"], ["a"], strides=[4]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "k2"], ["c"], strides=[4]),
        node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        node("LSTM", ["t", "W", "R", "B", "", "h", "c0"], ["Y", "hn", "cn"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("MatMul", ["s", "m"], ["z"]),
        node("Sigmoid", ["z"], ["q"]),
        node("Reshape", ["q", "all"], ["y"]),
    ]
    held = {**recurrent_weights(rng, "LSTM", 3, H), "k1": f32(5, 1, 4), "k2": f32(3, 5, 4), "one": np.array([1])}
    held |= {"p": np.array([0, 0, 0, 4]), "m": f32(H, 1), "all": np.array([-1])}
    given = {"x": ("frames", 12), "h": (1, 1, H), "c0": (1, 1, H)}
    model = model_of(nodes, given, ["y", "hn", "cn"], held)
    for frames in (1, 7):
        feed = {"x": floats(rng, frames, 12), "h": floats(rng, 1, 1, H), "c0": floats(rng, 1, 1, H)}
        assert_as_onnxruntime(model, feed)
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    assert loaded.inputs[0].shape == (None, None, 12)
    rekur.onnx.export(loaded, tmp_path / "again.onnx")


def test_states_stacked_on_two_axes_are_inputs_of_their_own(tmp_path: Path, rng: np.random.Generator) -> None:
    """As DTLN's files: (1, layers, units, 2) of h and c of every layer, in and out."""

    def cut(layer: int, state: int, name: str) -> list[onnx.NodeProto]:
        return [
            node("Slice", ["states", f"from{layer}{state}", f"to{layer}{state}", "two_axes"], [f"{name}/cut"]),
            node("Squeeze", [f"{name}/cut", "two_axes"], [f"{name}/row"]),
            node("Unsqueeze", [f"{name}/row", "zero"], [name]),
        ]

    nodes = [node("Transpose", ["x"], ["x0"], perm=[1, 0, 2])]
    held: dict[str, Any] = {
        "two_axes": np.array([1, 3]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "minus": np.array([-1]),
    }
    for layer in range(2):
        held |= {
            f"{key}{layer}": value for key, value in recurrent_weights(rng, "LSTM", I if not layer else H, H).items()
        }
        for state, kind in enumerate("hc"):
            held |= {
                f"from{layer}{state}": np.array([layer, state]),
                f"to{layer}{state}": np.array([layer + 1, state + 1]),
            }
            nodes += cut(layer, state, f"{kind}{layer}")
        names = [f"x{layer}", f"W{layer}", f"R{layer}", f"B{layer}", "", f"h{layer}", f"c{layer}"]
        nodes += [
            node("LSTM", names, [f"Y{layer}", f"hn{layer}", f"cn{layer}"], hidden_size=H),
            node("Squeeze", [f"Y{layer}", "one"], [f"x{layer + 1}"]),
        ]
    for kind in "hc":
        for layer in range(2):
            nodes += [
                node("Squeeze", [f"{kind}n{layer}", "zero"], [f"{kind}r{layer}"]),
                node("Unsqueeze", [f"{kind}r{layer}", "one"], [f"{kind}u{layer}"]),
            ]
        nodes += [
            node("Concat", [f"{kind}u0", f"{kind}u1"], [f"{kind}s"], axis=1),
            node("Unsqueeze", [f"{kind}s", "minus"], [f"{kind}f"]),
        ]
    nodes += [node("Concat", ["hf", "cf"], ["after"], axis=-1), node("Identity", ["x2"], ["y"])]
    model = model_of(nodes, {"x": (1, 1, I), "states": (1, 2, H, 2)}, ["y", "after"], held)
    assert_as_onnxruntime(model, {"x": floats(rng, 1, 1, I), "states": floats(rng, 1, 2, H, 2)})
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    assert [entry.name for entry in loaded.inputs] == ["x", "states_0", "states_1", "states_2", "states_3"]
    # as inputs and outputs have the same order, the states of a step are those of the next one
    row = [floats(rng, 1, H) for _ in range(4)]
    first = loaded.predict([floats(rng, 1, 1, I), *row])
    assert [np.shape(y) for y in first] == [(1, 1, H), *[(1, H)] * 4]
    rekur.onnx.export(loaded, tmp_path / "again.onnx")


def test_a_row_is_repeated_at_the_steps_of_a_sequence(tmp_path: Path, rng: np.random.Generator) -> None:
    """As PyTorch writes expand(-1, y.size(1), -1): how many steps only the data will tell."""
    nodes = [
        *LAST,
        node("Unsqueeze", ["last", "zero"], ["row"]),
        node("Shape", ["seq"], ["shape"]),
        node("Expand", ["row", "shape"], ["wide"]),
        node("Concat", ["seq", "wide"], ["y"], axis=2),
    ]
    model = around([*SEQUENCE, *nodes], rng, zero=np.array([0]), one=np.array([1]))
    for steps in (1, T):
        assert_as_onnxruntime(model, {"x": floats(rng, steps, B, I)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
@pytest.mark.parametrize("shape", [(T, 1, H), (T, 1, 1)])
def test_a_table_of_steps_stands_beside_them(op: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for order in (["seq", "table"], ["table", "seq"]):
        made = node("GRU", ["x", "W", "R", "B"], ["Y"], hidden_size=H)
        nodes = [made, *SEQUENCE, node(op, order, ["y"])]
        held = {**recurrent_weights(rng, "GRU", I, H), "one": np.array([1]), "table": floats(rng, *shape)}
        assert_as_onnxruntime(model_of(nodes, {"x": (T, "B", I)}, ["y"], held), {"x": floats(rng, T, B, I)})


def test_instance_normalization(rng: np.random.Generator) -> None:
    held = {"scale": floats(rng, 3), "bias": floats(rng, 3)}
    model = model_of([node("InstanceNormalization", ["x", "scale", "bias"], ["y"])], {"x": ("B", 3, "T")}, ["y"], held)
    assert_as_onnxruntime(model, {"x": floats(rng, B, 3, T)})
