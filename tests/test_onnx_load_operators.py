"""ONNX import: what exporters write around recurrent nodes, against onnxruntime."""

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
    need,
    node,
    recurrent_weights,
)

pytestmark = pytest.mark.usefixtures("by_nodes")

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
    "LogSoftmax": ([*LAST, node("LogSoftmax", ["last"], ["y"])], {}),
    "LogSoftmax of steps": ([*SEQUENCE, node("LogSoftmax", ["seq"], ["y"], axis=2)], {}),
    "Softmax over the steps": ([*SEQUENCE, node("Softmax", ["seq"], ["y"], axis=0)], {}),
    "LogSoftmax over the steps": ([*SEQUENCE, node("LogSoftmax", ["seq"], ["y"], axis=0)], {}),
    "a row at every step": ([*LAST, *SEQUENCE, node("Add", ["seq", "last"], ["y"])], {}),
    "a number over a tensor": ([*LAST, node("Div", ["c", "last"], ["y"])], {"c": np.float32(1)}),
    "numbers over a tensor": ([*LAST, node("Div", ["c", "last"], ["y"])], {"c": f32(H)}),
    "Softmax": ([*LAST, node("Softmax", ["last"], ["y"])], {}),
    "Softmax of steps": ([*SEQUENCE, node("Softmax", ["seq"], ["y"], axis=2)], {}),
    "Tanh": ([*LAST, node("Tanh", ["last"], ["y"])], {}),
    "Relu": ([*SEQUENCE, node("Relu", ["seq"], ["y"])], {}),
    "Sigmoid": ([*LAST, node("Sigmoid", ["last"], ["y"])], {}),
    "LeakyRelu": ([*LAST, node("LeakyRelu", ["last"], ["y"], alpha=0.3)], {}),
    "LeakyRelu by default": ([*LAST, node("LeakyRelu", ["last"], ["y"])], {}),
    "PRelu": ([*LAST, node("PRelu", ["last", "slope"], ["y"])], {"slope": f32(1)}),
    "PRelu of every feature": ([*LAST, node("PRelu", ["last", "slope"], ["y"])], {"slope": f32(H)}),
    "a mean over time": ([*SEQUENCE, node("ReduceMean", ["seq"], ["y"], axes=[0], keepdims=0)], {}),
    "the largest over time": ([*SEQUENCE, node("ReduceMax", ["seq"], ["y"], axes=[0])], {}),
    "steps joined": ([*SEQUENCE, node("Tanh", ["seq"], ["t"]), node("Concat", ["seq", "t"], ["y"], axis=0)], {}),
    "Max": ([*LAST, node("Tanh", ["last"], ["t"]), node("Max", ["last", "t", "tenth"], ["y"])], {"tenth": f32()}),
    "Min": ([*SEQUENCE, node("Tanh", ["seq"], ["t"]), node("Min", ["seq", "t"], ["y"])], {}),
    "Clip": ([*LAST, node("Clip", ["last", "low", "high"], ["y"])], {"low": np.float32(-0.1), "high": np.float32(0.2)}),
    "Clip above": ([*LAST, node("Clip", ["last", "", "high"], ["y"])], {"high": np.float32(0.2)}),
    **{op: ([*LAST, node(op, ["last"], ["y"])], {}) for op in ("Abs", "Exp", "Erf", "Sin", "Cos")},
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
        {"type": "BatchNormalization"},
    ),
    "BatchNormalization of steps": (
        [
            *SEQUENCE,
            node("Transpose", ["seq"], ["t"], perm=[1, 2, 0]),
            node("BatchNormalization", ["t", "g", "b", "m", "v"], ["y"], epsilon=1e-3),
        ],
        {"g": f32(H), "b": f32(H), "m": f32(H), "v": np.abs(f32(H)) + 0.1},
        {"type": "BatchNormalization"},
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
