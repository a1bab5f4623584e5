"""ONNX graphs written by hand; their import against onnxruntime, inputs and outputs as the file lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness import assert_close
from rekur import _core

Shape = Sequence[int | str]
DTYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


T, B, I, H = 5, 3, 4, 6
node = helper.make_node


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape | tuple[str, Shape]],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
    infer: bool = True,
) -> onnx.ModelProto:
    """inputs: shapes of float32, or (dtype, shape). infer: outputs get shapes, which onnx's checker wants."""
    given = []
    for name, shape in inputs.items():
        dtype, shape = shape if len(shape) == 2 and shape[0] in DTYPES else ("float32", shape)
        given.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))
    graph = helper.make_graph(
        list(nodes),
        "graph",
        given,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, data_prop=True) if infer else model


def recurrent_weights(
    rng: np.random.Generator, op: str, features: int, units: int, directions: int = 1, peepholes: bool = False
) -> dict[str, np.ndarray]:
    """W, R, B (and P) in ONNX's shapes."""
    rows = {"RNN": 1, "GRU": 3, "LSTM": 4}[op] * units
    shapes = {"W": (rows, features), "R": (rows, units), "B": (2 * rows,), **({"P": (3 * units,)} if peepholes else {})}
    return {
        name: (rng.standard_normal((directions, *shape)) * 0.4).astype(np.float32) for name, shape in shapes.items()
    }


def run_onnxruntime(model: onnx.ModelProto, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feed)))


def assert_as_onnxruntime(model: onnx.ModelProto, feed: Mapping[str, np.ndarray], tolerance: float = 1e-5) -> None:
    """The imported model gives what onnxruntime gives, in the file's own layout."""
    from rekur.onnx import backend

    onnx.checker.check_model(model)
    expected = run_onnxruntime(model, feed)
    actual = backend.prepare(model).run(feed)
    assert len(actual) == len(expected)
    for output, y, e in zip(model.graph.output, actual, expected, strict=True):
        assert_close(y, e, tolerance, output.name)


def need(layer: Mapping[str, Any], *shapes: tuple[int | None, ...]) -> None:
    """Skip where the engine does not know the layer or its keys."""
    entry = {"name": "probe", **layer}
    given = list(shapes) or [(None, None, 3) if "units" in layer and layer["type"] != "Dense" else (None, 3)]
    try:
        _core.infer_layer(json.dumps(entry), [(shape, "float32") for shape in given])
    except ValueError as error:
        pytest.skip(f"the engine does not know {json.dumps(dict(layer))}: {error}")


def cell(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return node(op, inputs, outputs, name="cell", hidden_size=H, **attributes)


def recurrent(op: str, rng: np.random.Generator, direction: str = "forward", **attributes: Any) -> onnx.ModelProto:
    """One node, all its outputs."""
    directions = 2 if direction == "bidirectional" else 1
    weights = recurrent_weights(rng, op, I, H, directions)
    outputs = ["Y", "Y_h", "Y_c"] if op == "LSTM" else ["Y", "Y_h"]
    made = cell(op, ["x", "W", "R", "B"], outputs, direction=direction, **attributes)
    return model_of([made], {"x": ("T", "B", I)}, outputs, weights)


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
