"""ONNX import: If takes its branch where the condition is known; what decides it otherwise is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rekur.onnx
from harness import assert_close, floats
from onnx_graphs import (
    COMMON,
    LAST,
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
    run_onnxruntime,
)
from rekur.onnx import LoadError
from rekur.onnx.backend import RekurBackendRep

pytestmark = pytest.mark.usefixtures("by_nodes")


def branch(nodes: list[onnx.NodeProto], outputs: list[str], **constants: np.ndarray) -> onnx.GraphProto:
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_graph(nodes, "b", [], given, [numpy_helper.from_array(v, name) for name, v in constants.items()])


def either(condition: str, then: onnx.GraphProto, other: onnx.GraphProto, outputs: list[str]) -> onnx.NodeProto:
    return node("If", [condition], outputs, name="if", then_branch=then, else_branch=other)


TANH = branch([node("Tanh", ["last"], ["a"])], ["a"])
SCALED = branch([node("Mul", ["last", "two"], ["b"])], ["b"], two=np.float32(2))


def refuse(model: onnx.ModelProto, path: Path, message: str, **options: Any) -> None:
    (path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(LoadError, match=message):
        rekur.onnx.load(path / "m.onnx", **options)


def assert_unchecked(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> None:
    """As onnxruntime computes it; onnx's checker wants shapes that its inference does not find through an If."""
    for y, expected in zip(RekurBackendRep(model).run(feed), run_onnxruntime(model, feed), strict=True):
        assert_close(y, expected, 1e-5)


@pytest.mark.parametrize("value", [False, True])
def test_a_constant_condition_takes_its_branch(value: bool, rng: np.random.Generator) -> None:
    made = [*LAST, either("condition", TANH, SCALED, ["y"])]
    assert_as_onnxruntime(around(made, rng, **COMMON, condition=np.array(value)), {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("axis", [0, 2])
def test_a_condition_decided_by_shapes_takes_its_branch(axis: int, rng: np.random.Generator) -> None:
    """PyTorch's squeeze: dropped where the axis is 1, else kept."""
    made = [
        node("Shape", ["Y_h"], ["s"]),
        node("Gather", ["s", "axis"], ["size"]),
        node("Equal", ["size", "one_"], ["condition"]),
        either(
            "condition",
            branch([node("Squeeze", ["Y_h", "zero"], ["a"])], ["a"]),
            branch([node("Identity", ["Y_h"], ["b"])], ["b"]),
            ["y"],
        ),
    ]
    model = around(made, rng, **COMMON, axis=np.int64(axis), one_=np.int64(1))
    assert_unchecked(model, {"x": floats(rng, T, B, I)})


def test_a_branch_may_hold_the_recurrent_layer_and_its_weights(rng: np.random.Generator) -> None:
    """The input is a sequence because of a node inside."""
    weights = recurrent_weights(rng, "LSTM", I, H)
    inner = [cell("LSTM", ["x", "W", "R", "B", "", "h0"], ["", "h"]), node("Squeeze", ["h", "zero"], ["a"])]
    other = [node("ReduceMean", ["x"], ["b"], axes=[0], keepdims=0)]
    made = [either("condition", branch(inner, ["a"], **weights), branch(other, ["b"]), ["last"])]
    made.append(node("Gemm", ["last", "k"], ["y"]))
    constants = {**COMMON, "condition": np.array(True), "k": f32(H, 2)}
    model = model_of(made, {"x": ("T", "B", I), "h0": (1, "B", H)}, ["y"], constants, infer=False)
    assert_unchecked(model, {"x": floats(rng, T, B, I), "h0": floats(rng, 1, B, H)})


def test_branches_inside_branches_and_several_outputs(rng: np.random.Generator) -> None:
    inner = either("no", TANH, branch([node("Neg", ["last"], ["c"])], ["c"]), ["n"])
    then = branch([inner, node("Relu", ["n"], ["r"])], ["n", "r"])
    other = branch([node("Tanh", ["last"], ["p"]), node("Tanh", ["p"], ["q"])], ["p", "q"])
    made = [*LAST, either("yes", then, other, ["u", "v"]), node("Sub", ["u", "v"], ["y"])]
    model = around(made, rng, **COMMON, yes=np.array([True]), no=np.array(False))
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


def rated(rng: np.random.Generator) -> onnx.ModelProto:
    """One branch a sampling rate, as silero-vad has them."""
    made = [*LAST, node("Equal", ["sr", "high"], ["condition"]), either("condition", TANH, SCALED, ["y"])]
    model = around(made, rng, **COMMON, high=np.int64(16000))
    model.graph.input.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    return model


def test_a_branch_that_an_input_chooses_names_it_and_says_how_to_choose(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    refuse(rated(rng), tmp_path, r"If node 'if': .* the value of input 'sr'; .*load\(…, bind=\{'sr': …\}\)")


@pytest.mark.parametrize("rate", [16000, 8000])
def test_constants_fix_the_inputs_that_choose(rate: int, tmp_path: Path, rng: np.random.Generator) -> None:
    model, x = rated(rng), floats(rng, T, B, I)
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx", constants={"sr": rate})
    assert loaded.input_names == ["x"]
    (expected,) = run_onnxruntime(model, {"x": x, "sr": np.array(rate)})
    assert_close(loaded.predict(np.ascontiguousarray(x.swapaxes(0, 1))), expected, 1e-5)


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"rate": 1}, r"bind: the file has no input 'rate'; it has \['x', 'sr'\]"),
        ({"sr": [16000]}, r"bind: input 'sr' has shape \(\), got shape \(1,\)"),
        ({"sr": 0.5}, "bind: input 'sr' is of int64, which 0.5 does not fit"),
        ({"sr": "16k"}, "bind: input 'sr'"),
        ({"W": 1.0}, "bind: the file has no input 'W'"),
        ({"sr": 2**70}, "bind: input 'sr'"),
    ],
    ids=str,
)
def test_constants_that_do_not_fit_are_named(
    constants: dict[str, Any], message: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    onnx.save(rated(rng), tmp_path / "m.onnx")
    with pytest.raises((ValueError, TypeError), match=message):
        rekur.onnx.load(tmp_path / "m.onnx", constants=constants)


class Dataset:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        return 1.0


@pytest.mark.parametrize(
    "value",
    [Dataset(), (n for n in range(3)), np.ma.masked_array([16000], mask=[True])],
    ids=["data set", "generator", "mask"],
)
def test_constants_that_are_no_arrays_are_refused_at_once(value: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    onnx.save(rated(rng), tmp_path / "m.onnx")
    with pytest.raises((TypeError, ValueError), match=r"bind: input 'sr': (expected an array, got a|1 of 1 values)"):
        rekur.onnx.load(tmp_path / "m.onnx", constants={"sr": value})


def test_a_branch_that_a_size_chooses_names_the_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "axis"], ["size"]),
        node("Equal", ["size", "one_"], ["condition"]),
        *LAST,
        either("condition", TANH, SCALED, ["y"]),
    ]
    model = around(made, rng, **COMMON, axis=np.int64(1), one_=np.int64(1))
    refuse(model, tmp_path, "If node 'if': .* the size of axis 1 of 'x'; .*leave it out, or")


def test_a_branch_that_the_model_itself_would_choose_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    made = [*LAST, either("last", TANH, SCALED, ["y"])]
    model = around(LAST, rng, **COMMON)
    model.graph.node.append(made[-1])
    refuse(model, tmp_path, "If node 'if': its condition is a tensor of shape")


@pytest.mark.parametrize(
    ("then", "other", "message"),
    [
        (TANH, branch([node("Neg", ["last"], ["a"]), node("Neg", ["a"], ["b"])], ["a", "b"]), "a branch of 2 outputs"),
        (branch([node("Tanh", ["nowhere"], ["a"])], ["a"]), SCALED, "'nowhere' is made by no node"),
        (branch([node("Tanh", ["last"], ["Y"])], ["Y"]), SCALED, "its output 'Y' is made elsewhere too"),
        (branch([node("Tan", ["last"], ["a"])], ["a"]), SCALED, "Tan node 'a': this operator is not understood"),
        (branch([node("Tanh", ["last"], ["a"])], ["a"], last=f32(2)), SCALED, "'last' is there twice"),
    ],
    ids=["outputs", "unknown name", "shadowed", "operator", "shadowing constant"],
)
def test_branches_that_make_no_sense(
    then: onnx.GraphProto, other: onnx.GraphProto, message: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = around(LAST, rng, **COMMON, condition=np.array(True))
    model.graph.node.append(either("condition", then, other, ["y"]))
    refuse(model, tmp_path, message)


def test_an_if_without_a_condition_or_a_branch_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    model = around(LAST, rng, **COMMON)
    model.graph.node.append(either("", TANH, SCALED, ["y"]))
    refuse(model, tmp_path, r"If node 'if': input 0 \(cond\) is left out")
    model = around(LAST, rng, **COMMON, condition=np.array(True))
    model.graph.node.append(node("If", ["condition"], ["y"], name="if", then_branch=TANH))
    refuse(model, tmp_path, "If node 'if': attribute 'else_branch' is missing")


def test_the_branch_that_is_not_taken_may_hold_anything(rng: np.random.Generator) -> None:
    other = branch([node("Tan", ["last"], ["b"])], ["b"])
    made = [*LAST, either("condition", TANH, other, ["y"])]
    assert_as_onnxruntime(around(made, rng, **COMMON, condition=np.array(True)), {"x": floats(rng, T, B, I)})


def test_branches_nested_beyond_bounds_are_counted_with_the_nodes(tmp_path: Path, rng: np.random.Generator) -> None:
    many = [node("Tanh", [f"t{k}" if k else "last"], [f"t{k + 1}"]) for k in range(6000)]
    model = around(LAST, rng, **COMMON, condition=np.array(True))
    model.graph.node.append(either("condition", branch(many, ["t6000"]), SCALED, ["y"]))
    refuse(model, tmp_path, "has 6,00. nodes")


def test_a_scale_that_is_an_input_says_how_to_fix_it(tmp_path: Path, rng: np.random.Generator) -> None:
    model = around(LAST, rng, **COMMON)
    model.graph.node.append(node("Mul", ["last", "gain"], ["y"], name="mul"))
    model.graph.input.append(helper.make_tensor_value_info("gain", TensorProto.FLOAT, []))
    refuse(model, tmp_path, r"Mul node 'mul': input 1 must be a constant, .*load\(…, bind=\{'gain': …\}\)")
    loaded = rekur.onnx.load(tmp_path / "m.onnx", constants={"gain": 0.5})
    assert loaded.input_names == ["x"]


# What else the messages say.


QUANTISED = ["DynamicQuantizeLSTM", "MatMulInteger", "QLinearMatMul", "QLinearConv", "QGemm", "ConvInteger"]


@pytest.mark.parametrize("op", [*QUANTISED, "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear"])
def test_int8_files_are_told_to_come_as_float32(op: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = around(LAST, rng, **COMMON)
    model.graph.node.append(node(op, ["last"], ["y"], name="q", domain="com.microsoft" if op == "QGemm" else ""))
    refuse(model, tmp_path, f"{op} node 'q': .*load the float32 model")


@pytest.mark.parametrize("op", ["TopK", "ScatterElements"])
def test_sorting_of_packed_rows_gets_advice(op: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = around(LAST, rng, **COMMON)
    model.graph.node.append(node(op, ["last"], ["y"], name="sort"))
    refuse(model, tmp_path, f"{op} node 'sort': .*enforce_sorted=True")


@pytest.mark.parametrize("start", ["constant", "rows"])
def test_a_loop_over_cells_gets_advice(start: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """As PyTorch's exporters write nn.RNNCell in a loop: the first state is a constant, or folded into other rows."""
    made = []
    for k in range(4):
        made.append(node("Gather", ["x", f"i{k}"], [f"x{k}"]))
        made.append(node("Gemm", [f"x{k}", "W"], [f"a{k}"]))
        if k or start == "constant":
            made.append(node("Gemm", [f"h{k}" if k else "h0", "R"], [f"b{k}"], name=f"r{k}"))
        made.append(node("Add", [f"a{k}", f"b{k}" if k or start == "constant" else "b"], [f"s{k}"], name=f"s{k}"))
        made.append(node("Tanh", [f"s{k}"], [f"h{k + 1}"]))
    constants = {"W": f32(I, H), "R": f32(H, H), **{f"i{k}": np.int64(k) for k in range(4)}}
    constants |= {"h0": np.zeros((B, H), np.float32)} if start == "constant" else {"b": f32(B, H)}
    model = model_of(made, {"x": (4, "B", I)}, ["h4"], constants)
    if start == "constant":
        assert_as_onnxruntime(model, {"x": f32(4, B, I)})
        return
    refuse(model, tmp_path, "same weights 4 times: a recurrence .* step by step .* For a loop over nn.LSTMCell")


def test_equal_opsets_given_twice_are_one(tmp_path: Path, rng: np.random.Generator) -> None:
    model = around([*LAST, node("Tanh", ["last"], ["y"])], rng, **COMMON)
    model.opset_import.append(model.opset_import[0])
    onnx.save(model, tmp_path / "m.onnx")
    assert rekur.onnx.load(tmp_path / "m.onnx").output_shape == (None, H)
    model.opset_import[1].version = 16
    refuse(model, tmp_path, r"opsets of the domain ai.onnx are \[16, 17\]; expected one")


def test_opsets_that_nobody_here_has_read_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    model = around([*LAST, node("Tanh", ["last"], ["y"])], rng, **COMMON)
    model.opset_import[0].version = 99
    refuse(model, tmp_path, r"are \[99\]; expected one of 7 to")


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_surplus_alphas_and_betas_are_not_read(op: str, rng: np.random.Generator) -> None:
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[op]
    made = [
        cell(
            op, ["x", "W", "R", "B"], ["Y"], activations=["LeakyRelu"] + ["Tanh"] * (count - 1),
            activation_alpha=[0.3, 0.7, 0.9], activation_beta=[0.1, 0.2],
        )
    ]  # fmt: skip
    model = model_of(made, {"x": ("T", "B", I)}, ["Y"], recurrent_weights(rng, op, I, H))
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_a_threshold_that_onnx_and_onnxruntime_default_differently_must_be_given(
    op: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    names = ["ThresholdedRelu"] + ["Tanh"] * ({"RNN": 1, "GRU": 2, "LSTM": 3}[op] - 1)
    for alphas in ({}, {"activation_alpha": [0.3]}):
        made = [cell(op, ["x", "W", "R", "B"], ["Y"], activations=names, **alphas)]
        model = model_of(made, {"x": ("T", "B", I)}, ["Y"], recurrent_weights(rng, op, I, H))
        if alphas:
            assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
        else:
            refuse(model, tmp_path, f"{op} node 'cell': activation ThresholdedRelu needs activation_alpha")


@pytest.mark.parametrize("op", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("size", ["scalar", "vector"])
def test_a_condition_may_compare_a_size_that_is_a_scalar(op: str, size: str, rng: np.random.Generator) -> None:
    """A Gather by a scalar gives a scalar, by a vector a vector."""
    made = [
        node("Shape", ["last"], ["s"]),
        node("Gather", ["s", "axis"], ["size"]),
        node(op, ["size", "number"], ["c"]),
        node("Not", ["c"], ["other"]),
        node("Or", ["c", "c"], ["condition"]),
        node("Where", ["other", "number", "size"], ["unused"]),
        either("condition", TANH, SCALED, ["y"]),
    ]
    axis = np.array(1 if size == "scalar" else [1])
    for number in (H - 1, H, H + 1):
        model = around([*LAST, *made], rng, **COMMON, axis=axis, number=np.int64(number))
        assert_unchecked(model, {"x": floats(rng, T, B, I)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_sizes_that_are_scalars_may_be_computed_with(op: str, rng: np.random.Generator) -> None:
    made = [
        *LAST,
        node("Shape", ["last"], ["s"]),
        node("Gather", ["s", "axis"], ["size"]),
        node(op, ["size", "one_"], ["n"]),
        node("Unsqueeze", ["n", "zero"], ["end"]),
        node("Slice", ["last", "zero", "end", "ones"], ["y"]),
    ]
    model = around(made, rng, **{**COMMON, "axis": np.int64(1), "one_": np.int64(1), "ones": np.array([1])})
    assert_unchecked(model, {"x": floats(rng, T, B, I)})
