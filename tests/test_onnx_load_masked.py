"""ONNX import of what files do with rows' lengths behind recurrent layers: sums by lengths, and masks made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
import rekur.onnx
from harness import floats
from onnx_graphs import B, H, I, T, assert_as_onnxruntime, model_of, node, recurrent_weights

LENGTHS = {
    "mixed": np.array([T, 1, 3], np.int32),
    "short": np.array([2, 2, 1], np.int32),
    "none": np.array([3, 0, 2], np.int32),
}


def counted(begin: int = 0, compare: str = "Less", turned: bool = False, time_major: bool = False) -> list[Any]:
    """Nodes of a mask (B, T): Range compared with the lengths. turned: the lengths stand on the left."""
    first = [
        node("Shape", ["s"], ["shape"]),
        node("Gather", ["shape", "zero" if time_major else "one_"], ["count"], axis=0),
        node("Range", ["zero_", "count", "one_"], ["range"]),
    ]
    number = "range"
    if begin:
        first.append(node("Identity", ["arange1"], ["steps"]))
        number = "steps"
    axis, other = ("one", "zero1") if time_major else ("zero1", "one")
    pair = ["row", "column"]
    return [
        *first,
        node("Cast", ["lengths"], ["long"], to=onnx.TensorProto.INT64),
        node("Unsqueeze", [number, axis], ["row"]),
        node("Unsqueeze", ["long", other], ["column"]),
        node(compare, pair[::-1] if turned else pair, ["mask"]),
        node("Unsqueeze", ["mask", "last"], ["mask3"]),
    ]


def packed(
    rng: np.random.Generator,
    nodes: list[Any],
    time_major: bool = False,
    opset: int = 17,
    op: str = "LSTM",
    more: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """Behind a layer that reads lengths: its sequence ``s`` (B, T, H), or (T, B, H); the nodes make ``y``."""
    made = [
        *([] if time_major else [node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]),
        node(op, ["x" if time_major else "t", "W", "R", "B", "lengths"], ["Y"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["s" if time_major else "u"]),
        *([] if time_major else [node("Transpose", ["u"], ["s"], perm=[1, 0, 2])]),
        *nodes,
    ]
    held: dict[str, Any] = {**recurrent_weights(rng, op, I, H), "one": np.array([1]), "zero1": np.array([0])}
    held |= {"zero": np.int64(0), "zero_": np.int64(0), "one_": np.int64(1), "last": np.array([-1])}
    held |= {"arange1": np.arange(1, T + 1), "arange": np.arange(T), "k": floats(rng, H, 1), "b": floats(rng, H)}
    held |= {"unit": np.float32(1), "deep": np.float32(-1e9), "inf": np.float32(-np.inf), "nought": np.float32(0)}
    read = {name for each in made for name in each.input}
    steps = T if "arange1" in read else "T"
    given: dict[str, Any] = {"x": (steps, "B", I) if time_major else ("B", steps, I), "lengths": ("int32", ("B",))}
    return model_of(made, given | (more or {}), ["y"], {k: v for k, v in held.items() if k in read}, opset)


def over(op: str, source: str, made: str, keep: int = 0, axis: int = 1, opset: int = 17) -> Any:
    if op == "ReduceSum" or opset >= 18:
        return node(op, [source, "one" if axis else "zero1"], [made], keepdims=keep)
    return node(op, [source], [made], axes=[axis], keepdims=keep)


FLOAT = onnx.TensorProto.FLOAT
BY_LENGTHS = [
    over("ReduceSum", "s", "sum"),
    node("Unsqueeze", ["lengths", "one"], ["n"]),
    node("Cast", ["n"], ["nf"], to=FLOAT),
    node("Div", ["sum", "nf"], ["y"]),
]
SHIFTED = [node("Add", ["s", "b"], ["m"])]  # not zero behind a row's end
MASKED_SUM = [
    *SHIFTED,
    node("Cast", ["mask3"], ["mf"], to=FLOAT),
    node("Mul", ["m", "mf"], ["mm"]),
    over("ReduceSum", "mm", "sum"),
]
COUNT = [node("Cast", ["mask"], ["m2"], to=FLOAT), over("ReduceSum", "m2", "n", 1)]
MEAN = [*MASKED_SUM, *COUNT, node("Div", ["sum", "n"], ["y"])]
CLAMPED = [*MASKED_SUM, *COUNT, node("Clip", ["n", "unit"], ["c"]), node("Div", ["sum", "c"], ["y"])]
BY_COUNT = [*MASKED_SUM, *BY_LENGTHS[1:]]
MAXIMUM = [*SHIFTED, node("Where", ["mask3", "m", "inf"], ["f"]), over("ReduceMax", "f", "y")]
HIDDEN = [*SHIFTED, node("Not", ["mask3"], ["no"]), node("Where", ["no", "deep", "m"], ["f"])]
OUTSIDE = [*SHIFTED, node("Where", ["mask3", "deep", "m"], ["f"]), over("ReduceMax", "f", "y")]
SCORES = [
    node("MatMul", ["s", "k"], ["a"]),
    node("Where", ["mask3", "a", "deep"], ["f"]),
    node("Softmax", ["f"], ["w"], axis=1),
]
POOLED = [*SCORES, node("Mul", ["w", "s"], ["p"]), over("ReduceSum", "p", "y")]
PENALTY = [  # as a number added to the scores: (1 − mask) · −1e9
    node("Cast", ["mask3"], ["mf"], to=FLOAT),
    node("Sub", ["unit", "mf"], ["no"]),
    node("Mul", ["no", "deep"], ["p"]),
    node("MatMul", ["s", "k"], ["a"]),
    node("Add", ["a", "p"], ["f"]),
    node("Softmax", ["f"], ["w"], axis=1),
    node("Mul", ["w", "s"], ["ws"]),
    over("ReduceSum", "ws", "y"),
]
PRODUCT = [*SCORES, node("Transpose", ["w"], ["wt"], perm=[0, 2, 1]), node("MatMul", ["wt", "s"], ["y"])]


@pytest.mark.parametrize(
    ("nodes", "rows"),
    [
        (BY_LENGTHS, "mixed"),
        ([over("ReduceSum", "s", "y")], "mixed"),
        ([over("ReduceSum", "s", "y", 1)], "none"),
        ([*counted(), *MEAN], "mixed"),
        ([*counted(), *MEAN], "short"),
        ([*counted(), *CLAMPED], "none"),
        ([*counted(), *BY_COUNT], "mixed"),
        ([*counted(compare="Greater", turned=True), *MEAN], "mixed"),
        ([*counted(1, "LessOrEqual"), *MEAN], "mixed"),
        ([*counted(1, "GreaterOrEqual", turned=True), *MEAN], "mixed"),
        ([*counted(), *MAXIMUM], "short"),
        ([*counted(), *HIDDEN, over("ReduceMax", "f", "y", 1)], "mixed"),
        ([*counted(compare="GreaterOrEqual"), *OUTSIDE], "mixed"),
        ([*counted(), *POOLED], "mixed"),
        ([*counted(), *PENALTY], "mixed"),
        ([*counted(), *PRODUCT], "short"),
        ([*counted(), node("Where", ["mask3", "s", "nought"], ["y"])], "short"),  # it is zero there anyway
    ],
)  # fmt: skip
@pytest.mark.parametrize("op", ["LSTM", "GRU"])
def test_masks_of_lengths_are_what_layers_do(nodes: list[Any], rows: str, op: str, rng: np.random.Generator) -> None:
    model = packed(rng, nodes, op=op)
    assert_as_onnxruntime(model, {"x": floats(rng, B, T, I), "lengths": LENGTHS[rows]})


def test_time_major_and_newer_opsets(rng: np.random.Generator) -> None:
    nodes = [
        *counted(time_major=True),
        *SHIFTED,
        node("Where", ["mask3", "m", "deep"], ["f"]),
        over("ReduceMax", "f", "y", axis=0, opset=18),
    ]
    feed = {"x": floats(rng, T, B, I), "lengths": LENGTHS["short"]}
    assert_as_onnxruntime(packed(rng, nodes, True, 18), feed)


def test_the_model_is_trained_and_exported(rng: np.random.Generator, tmp_path: Path) -> None:
    onnx.save(packed(rng, [*counted(), *POOLED]), tmp_path / "pooled.onnx")
    loaded = rekur.onnx.load(tmp_path / "pooled.onnx")
    x = floats(rng, B, T, I)
    loaded.compile("adam", "mse")
    loaded.fit(x, np.zeros((B, H), np.float32), lengths=LENGTHS["mixed"], epochs=1, verbose=0)
    rekur.onnx.export(loaded, tmp_path / "again.onnx", lengths=True)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([over("ReduceMax", "s", "y")], "a maximum and a softmax over steps behind a mask made of the lengths"),
        ([*counted(), *MASKED_SUM[:-1], over("ReduceSum", "mm", "y")], "is divided by the lengths nowhere"),
        ([*counted(compare="LessOrEqual"), *MEAN], "count from 0 with the lengths; expected 1 for LessOrEqual"),
        ([*counted(1), *MEAN], "count from 1 with the lengths; expected 0 for Less"),
        ([*counted(), *MASKED_SUM[:-1], over("ReduceMean", "mm", "y")], "divided by the lengths, in a maximum"),
        ([*counted(), *MASKED_SUM[:-1], over("ReduceMax", "mm", "y")], "divided by the lengths, in a maximum"),
        ([*counted(), *PENALTY[:3], node("Mul", ["p", "s"], ["y"])], "a mask of rows' steps"),
        ([*counted()[:3], node("Mul", ["range", "zero_"], ["y"])], "the numbers of the steps of .*final state h_n"),
        ([*counted()[:3], node("GatherElements", ["s", "range"], ["y"])], "Tensor.gather; .*final state h_n"),
    ],
)
def test_what_no_layer_does_is_refused(
    nodes: list[Any], message: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    model = packed(rng, nodes)
    onnx.save(model, tmp_path / "refused.onnx")
    with pytest.raises(rekur.onnx.LoadError, match=message):
        rekur.onnx.load(tmp_path / "refused.onnx")


def test_a_mask_gives_lengths_to_a_sequence_that_no_layer_reads_them_of(rng: np.random.Generator) -> None:
    nodes = [
        node("Shape", ["z"], ["shape"]),
        *counted()[1:],
        node("Cast", ["mask3"], ["mf"], to=FLOAT),
        node("Mul", ["z", "mf"], ["mm"]),
        over("ReduceSum", "mm", "sum"),
        *BY_LENGTHS[1:3],
        node("Div", ["sum", "nf"], ["mean"]),
        over("ReduceSum", "s", "whole"),
        node("Add", ["mean", "whole"], ["y"]),
    ]
    feed = {"x": floats(rng, B, T, I), "z": floats(rng, B, T + 2, H), "lengths": LENGTHS["mixed"]}
    assert_as_onnxruntime(packed(rng, nodes, more={"z": ("B", "S", H)}), feed)
