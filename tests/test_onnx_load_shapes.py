"""ONNX import: operands of a shape, rank or type that looks like another one's are told apart, never taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import (
    COMMON,
    LAST,
    SEQUENCE,
    B,
    H,
    I,
    T,
    around,
    assert_as_onnxruntime,
    cell,
    f32,
    model_of,
    node,
    recurrent_weights,
)
from rekur.onnx import LoadError

pytestmark = pytest.mark.usefixtures("by_nodes")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def refuse(model: onnx.ModelProto, path: Path, message: str) -> None:
    (path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(LoadError, match=message):
        rekur.onnx.load(path / "m.onnx")


def started(
    rng: np.random.Generator, op: str, batch: int | str, infer: bool = False, **states: np.ndarray
) -> onnx.ModelProto:
    inputs = ["x", "W", "R", "B", "", "h0" if "h0" in states else "", "c0" if "c0" in states else ""]
    made = [cell(op, inputs[: 7 if op == "LSTM" else 6], ["Y"])]
    return model_of(made, {"x": ("T", batch, I)}, ["Y"], {**recurrent_weights(rng, op, I, H), **states}, infer=infer)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (np.zeros((1, B, H + 1), np.float32), "units"),
        (np.zeros((2, B, H), np.float32), "direction"),
        (np.zeros((B, H), np.float32), "3 axes"),
        (np.zeros((1, 1, B, H), np.float32), "3 axes"),
        (np.zeros((1, B, 1), np.float32), "units"),
        (np.zeros((1, B, H), np.float64), "float64"),
        (np.zeros((1, B, H), np.int64), "int64"),
        (np.zeros((1, 0, H), np.float32), "initial_h"),
        (np.zeros((1, B + 1, H), np.float32), "axis 1"),
        (np.zeros((1, 1, H), np.float32), "axis 1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_initial_states_of_zeros_have_the_shape_and_type_that_onnx_asks_for(
    op: str, state: np.ndarray, message: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    refuse(started(rng, op, B, h0=state), tmp_path, message)


@pytest.mark.parametrize("op", ["RNN", "LSTM", "GRU"])
def test_initial_states_of_zeros_that_fit_are_nothing(op: str, rng: np.random.Generator) -> None:
    nothing = np.zeros((1, B, H), np.float32)
    for batch in (B, "B"):
        assert_as_onnxruntime(started(rng, op, batch, True, h0=nothing), {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("computed", [False, True])
def test_a_projected_lstm_of_torch_is_refused_by_name(computed: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """nn.LSTM(5, 8, proj_size=3): the exporter writes hidden_size=3, cuts the weights and leaves c its 8 units."""
    weights = recurrent_weights(rng, "LSTM", I, 3)
    states = {"h0": np.zeros((1, B, 3), np.float32), "c0": np.zeros((1, B, 8), np.float32)}
    made = [node("LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["Y"], name="lstm", hidden_size=3)]
    inputs = {"x": ("T", B, I), **({name: array.shape for name, array in states.items()} if computed else {})}
    model = model_of(made, inputs, ["Y"], {**weights, **({} if computed else states)}, infer=False)
    refuse(model, tmp_path, r"LSTM node 'lstm': initial_c has 8 units, R has 3: .*proj_size.* leaves the projection")


@pytest.mark.parametrize(
    "lens", [np.full(B, T, np.int64), np.full((B, 1), T, np.int32), np.zeros(0, np.int32)], ids=str
)
def test_sequence_lens_are_int32_one_for_each_row(lens: np.ndarray, tmp_path: Path, rng: np.random.Generator) -> None:
    made = [cell("GRU", ["x", "W", "R", "B", "lens"], ["Y"])]
    constants = {**recurrent_weights(rng, "GRU", I, H), "lens": lens}
    refuse(model_of(made, {"x": (T, B, I)}, ["Y"], constants, infer=False), tmp_path, "GRU node 'cell'")
    good = {**constants, "lens": np.full(B, T, np.int32)}
    assert_as_onnxruntime(model_of(made, {"x": (T, B, I)}, ["Y"], good), {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("unsqueezed", [False, True])
def test_lengths_with_another_axis_are_no_sequence_lens(
    unsqueezed: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    made = [
        node("Unsqueeze", ["lens", "one"], ["wide"]),
        cell("GRU", ["x", "W", "R", "B", "wide" if unsqueezed else "lens"], ["Y"]),
    ]
    dtype = "int32" if unsqueezed else "int64"
    inputs = {"x": ("T", "B", I), "lens": (dtype, ("B",))}
    constants = {**COMMON, **recurrent_weights(rng, "GRU", I, H)}
    refuse(model_of(made, inputs, ["Y"], constants, infer=False), tmp_path, "GRU node 'cell'")


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (-1, 0, 1),
        (-1, -1, 1),
        (0, 0, 1),
        (-1, INT64_MIN, -2),
        (0, INT64_MAX, 2),
        (-2, INT64_MAX, 1),
        (INT64_MAX, INT64_MIN, -2),
        (-2, INT64_MIN, -1),
        (INT64_MIN, -1, 1),
    ],
)
def test_a_slice_of_time_that_no_layer_takes_is_refused(
    start: int, end: int, step: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    made = [*SEQUENCE, node("Slice", ["seq", "start", "end", "zero", "step"], ["y"])]
    bounds = {"start": np.array([start]), "end": np.array([end]), "step": np.array([step])}
    refuse(around(made, rng, **COMMON, **bounds), tmp_path, "Slice node 'y'")


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [
        (-1, INT64_MAX, 1),
        (-2, -1, 1),
        (3, 4, 1),
        (INT64_MIN, INT64_MAX, 1),
        (1, INT64_MAX, 1),
        (0, -1, 1),
        (1, -2, 1),
        (0, 2**31 - 1, 1),
        (-1, INT64_MIN, -1),
        (INT64_MAX, INT64_MIN, -1),
        (INT64_MAX, -(2**31), -1),
    ],
)
def test_a_slice_of_time_that_is_one_step_or_all_of_it(
    start: int, end: int, step: int, rng: np.random.Generator
) -> None:
    made = [*SEQUENCE, node("Slice", ["seq", "start", "end", "zero", "step"], ["y"])]
    bounds = {"start": np.array([start]), "end": np.array([end]), "step": np.array([step])}
    assert_as_onnxruntime(around(made, rng, **COMMON, **bounds), {"x": floats(rng, T, B, I)})


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "Gemm's C of a number for each row": (
        [*LAST, node("Gemm", ["last", "k", "c"], ["y"])],
        {"k": f32(H, B), "c": f32(B, 1)},
        "a bias float32 of shape",
    ),
    "Gemm's C of three axes": (
        [*LAST, node("Gemm", ["last", "k", "c"], ["y"])],
        {"k": f32(H, 2), "c": f32(1, 1, 2)},
        "a bias float32 of shape",
    ),
    "a normalisation's scale of a column": (
        [*LAST, node("LayerNormalization", ["last", "g"], ["y"])],
        {"g": f32(H, 1)},
        "the scale is float32 of shape",
    ),
    "a normalisation's bias of a column": (
        [*LAST, node("LayerNormalization", ["last", "g", "c"], ["y"])],
        {"g": f32(H), "c": f32(H, 1)},
        "the bias is float32 of shape",
    ),
    "a normalisation in float16": (
        [*LAST, node("LayerNormalization", ["last", "g"], ["y"], stash_type=10)],
        {"g": f32(H)},
        "stash_type is 10",
    ),
    "weights that give an axis": ([*LAST, node("MatMul", ["last", "k"], ["y"])], {"k": f32(1, H, 2)}, "more axes"),
    "a batch normalisation's scale of a row": (
        [*LAST, node("BatchNormalization", ["last", "g", "g", "g", "g"], ["y"])],
        {"g": np.abs(f32(1, H))},
        "the scale is float32 of shape",
    ),
    "a constant as wide as the batch": (
        [
            *LAST,
            node("Shape", ["last"], ["s"]),
            node("Gather", ["s", "zero"], ["rows"]),
            node("Concat", ["rows", "width", "width"], ["wide"], axis=0),
            node("ConstantOfShape", ["wide"], ["c"], value=onnx.numpy_helper.from_array(np.ones(1, np.float32))),
            node("Add", ["last", "c"], ["y"]),
        ],
        {"width": [H]},
        "would repeat",
    ),
    "a constant wider than one feature": (
        [
            *LAST,
            node("MatMul", ["last", "k"], ["thin"]),
            node("Shape", ["last"], ["s"]),
            node("ConstantOfShape", ["s"], ["c"]),
            node("Add", ["thin", "c"], ["y"]),
        ],
        {"k": f32(H, 1)},
        "would repeat",
    ),
    "a slope of more axes": (
        [*LAST, node("PRelu", ["last", "k"], ["y"])],
        {"k": f32(1, 1, 1)},
        "a slope float32 of shape",
    ),
    "a perm that counts from the end": (
        [node("Transpose", ["Y_h"], ["y"], perm=[0, 1, -1])],
        {},
        r"perm \[0, 1, -1\] for 3 axes",
    ),
    "halves of an odd axis": (
        [*LAST, node("MatMul", ["last", "k"], ["m"]), node("Split", ["m"], ["y", "z"], axis=1)],
        {"k": f32(H, 3)},
        "into 2 equal parts",
    ),
    "a number that is no flag": (
        [*LAST, node("Gemm", ["last", "k"], ["y"], transB=2)],
        {"k": f32(H, H)},
        "transB is 2",
    ),
    "axes that are no vector": (
        [node("Squeeze", ["Y_h", "axis"], ["y"])],
        {"axis": np.int64(0)},
        "axes must be a vector",
    ),
    "a constant of a negative size": (
        [node("Reshape", ["c", "s"], ["k"]), *LAST, node("MatMul", ["last", "k"], ["y"])],
        {"s": [H, -2], "c": f32(2 * H)},
        "a negative size other than -1",
    ),
    "a shape that is no vector": ([*LAST, node("Reshape", ["last", "s"], ["y"])], {"s": [[-1, H]]}, "a known vector"),
    "an index out of opset 13": ([*LAST, node("Squeeze", ["last"], ["y"], axes=[1])], {}, "attribute 'axes'"),
    "no axis": ([*LAST, node("Concat", ["last", "last"], ["y"])], {}, "attribute 'axis' is missing"),
    "an input too many": ([*LAST, node("Relu", ["last", "last"], ["y"])], {}, "it has 2 inputs; expected 1"),
    "an operand of another type": (
        [*LAST, node("Add", ["last", "c"], ["y"])],
        {"c": np.float64(1)},
        "the constant is of float64",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operands_that_only_look_like_others_are_refused(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    nodes, constants, message = REFUSED[name]
    model = around(nodes, rng, **COMMON, **constants) if name != "an input too many" else None
    if model is None:
        model = around([*LAST, node("Relu", ["last"], ["y"])], rng, **COMMON)
        model.graph.node[-1].input.append("last")
    refuse(model, tmp_path, message)


ACCEPTED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any]]] = {
    "Gemm's C of one number": ([*LAST, node("Gemm", ["last", "k", "c"], ["y"])], {"k": f32(H, 2), "c": f32(1, 1)}),
    "weights with an axis of one": ([*SEQUENCE, node("MatMul", ["seq", "k"], ["y"])], {"k": f32(1, H, 2)}),
    "a constant of the same shape": (
        [
            *LAST,
            node("Shape", ["last"], ["s"]),
            node("ConstantOfShape", ["s"], ["c"], value=onnx.numpy_helper.from_array(np.full(1, 2, np.float32))),
            node("Mul", ["last", "c"], ["y"]),
        ],
        {},
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_operands_that_broadcast_to_what_they_meet_are_taken(name: str, rng: np.random.Generator) -> None:
    nodes, constants = ACCEPTED[name]
    assert_as_onnxruntime(around(nodes, rng, **COMMON, **constants), {"x": floats(rng, T, B, I)})


def taken_apart(axes: int = -1, extra: list[onnx.NodeProto] | None = None, root: str = "v1") -> list[onnx.NodeProto]:
    return [
        *SEQUENCE,
        node("ReduceMean", ["seq"], ["mean"], axes=[axes]),
        node("Sub", ["seq", "mean"], ["centred"]),
        node("Mul", ["centred", "centred"], ["squares"]),
        node("ReduceMean", ["squares"], ["v0"], axes=[-1]),
        node("Add", ["v0", "eps"], ["v1"]),
        *(extra or []),
        node("Sqrt", [root], ["deviation"]),
        node("Div", ["centred", "deviation"], ["y"]),
    ]


def test_a_layer_normalisation_taken_apart_has_one_epsilon(rng: np.random.Generator) -> None:
    """With two it is none, but equations all the same."""
    eps = {"eps": np.float32(0.5), "eps2": np.float32(0.001)}
    twice = [node("Add", ["v1", "eps2"], ["v2"])]
    model = around(taken_apart(extra=twice, root="v2"), rng, **COMMON, **eps)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
    assert_as_onnxruntime(around(taken_apart(), rng, **COMMON, **eps), {"x": floats(rng, T, B, I)})


def test_a_layer_normalisation_taken_apart_has_its_own_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    eps = {"eps": np.float32(0.5)}
    refuse(around(taken_apart(axes=5), rng, **COMMON, **eps), tmp_path, "ReduceMean node 'mean'")
    wide = {"eps": f32(1, 1, 1, 1)}
    refuse(around(taken_apart(), rng, **COMMON, **wide), tmp_path, "Add node 'v1': a constant of shape")


def test_a_mean_of_the_transposed_tensor_is_none_of_this_one(tmp_path: Path, rng: np.random.Generator) -> None:
    """It would be right only where there are as many rows as steps."""
    made = taken_apart()
    made.insert(1, node("Transpose", ["seq"], ["turned"], perm=[1, 0, 2]))
    made[2] = node("ReduceMean", ["turned"], ["mean"], axes=[-1])
    refuse(around(made, rng, **COMMON, eps=np.float32(0.5)), tmp_path, "is the time axis elsewhere")


@pytest.mark.parametrize("axes", [2, 3])
def test_tensors_stacked_in_different_numbers_are_not_joined(
    axes: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    made = [
        node("Concat", ["Y_h"] * 2, ["two"], axis=0),
        node("Concat", ["Y_h"] * axes, ["more"], axis=0),
        node("Concat", ["two", "more"], ["y"], axis=2),
    ]
    model = around(made, rng)
    if axes == 2:
        assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
    else:
        refuse(model, tmp_path, "Concat node 'y'.*nothing is broadcast")


@pytest.mark.parametrize("ranks", [(), (1,)])
def test_rows_are_kept_by_their_own_length_only(
    ranks: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    """A condition of shape (batch) beside (1, batch, units) would choose by unit."""
    made = [
        cell("GRU", ["x", "W", "R", "B", "lens"], ["Y", "Y_h"]),
        node("Equal", ["lens", "none"], ["e0"]),
        *[node("Unsqueeze", [f"e{k}", "one"], [f"e{k + 1}"]) for k in range(len(ranks))],
        node("Where", [f"e{len(ranks)}", "nought", "Y_h"], ["y"], name="keep"),
    ]
    constants = {**COMMON, "none": np.int32(0), "nought": np.float32(0), **recurrent_weights(rng, "GRU", I, H)}
    model = model_of(made, {"x": ("T", "B", I), "lens": ("int32", ("B",))}, ["y"], constants, infer=False)
    if ranks:
        onnx.save(model, tmp_path / "m.onnx")
        assert rekur.onnx.load(tmp_path / "m.onnx").output_shape == (None, H)
    else:
        refuse(model, tmp_path, "Where node 'keep': chooses by the empty of rows")
