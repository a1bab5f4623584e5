"""ONNX import: one step at a time, axes that the file leaves out; what is not understood is named."""

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


def test_a_row_is_a_sequence_of_one_step_to_another_layer(rng: np.random.Generator) -> None:
    made = [
        *LAST,
        node("Unsqueeze", ["last", "zero"], ["X"]),
        node("GRU", ["X", "W2", "R", "B"], ["Y2"], hidden_size=H),
        node("Squeeze", ["Y2", "one"], ["y"]),
    ]
    model = around(made, rng, **COMMON, W2=f32(1, 3 * H, H))
    for steps in (1, T):
        assert_as_onnxruntime(model, {"x": floats(rng, steps, B, I)})


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


SEQ_IN = {"x": ("T", "B", I)}
REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "an operator": (
        [*LAST, node("Tan", ["last"], ["y"], name="n")],
        {},
        "Tan node 'n': this operator is not understood",
    ),
    "part of the time": (
        [*SEQUENCE, node("Slice", ["seq", "zero", "three"], ["y"])],
        {"three": [3]},
        "only a single step",
    ),
    "time turned around, every other step": (
        [*SEQUENCE, node("Slice", ["seq", "minus", "far", "zero", "by"], ["y"])],
        {"far": [-(2**40)], "by": [-2]},
        "direction=reverse",
    ),
    "time as features": (
        [node("Transpose", ["Y"], ["t"], perm=[2, 0, 1, 3]), node("Flatten", ["t"], ["y"])],
        {},
        "Flatten node 'y': reshapes",
    ),
    "two products": ([*LAST, node("MatMul", ["last", "Y"], ["y"])], {}, "the product of"),
    "a row for each row": (
        [*LAST, node("Add", ["last", "c"], ["y"])],
        {"c": f32(B, H)},
        "one number, or one a feature",
    ),
    "transA": ([*LAST, node("Gemm", ["last", "k"], ["y"], transA=1)], {"k": f32(H, 2)}, "transA 1"),
    "division by zero": ([*LAST, node("Div", ["last", "c"], ["y"])], {"c": np.float32(0)}, "divides by zero"),
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


@pytest.mark.parametrize("shape", [[T, -1, H], [T, B, H], [-1, B, H], [T, 0, -1]], ids=str)
def test_sizes_that_the_exporter_built_in(shape: list[int], tmp_path: Path, rng: np.random.Generator) -> None:
    """Declared as symbols, but a Reshape says what it means at one size only: the model takes that one."""
    made = [node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]), node("Reshape", ["t", "shape"], ["y"])]
    model = around(made, rng, shape=shape)
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I)})
    onnx.save(model, tmp_path / "m.onnx")
    assert rekur.onnx.load(tmp_path / "m.onnx").input_shape == (None, T if T in shape else None, I)
