"""Structural checks of a finished model."""

from __future__ import annotations

from typing import Any

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Interface


def _in_floats(graph: Any) -> None:
    """onnxruntime's LSTM of integers, which onnx does not know, as the LSTM whose shapes it has."""
    from onnx import TensorProto, helper

    for number, node in enumerate(graph.node):
        if node.op_type != "DynamicQuantizeLSTM":
            continue
        node.op_type, node.domain = "LSTM", ""
        del node.input[8:]
        for place in (1, 2):
            node.input[place] = f"{number}/weights_{place}"
            graph.input.append(helper.make_tensor_value_info(node.input[place], TensorProto.FLOAT, [None] * 3))


def check_model(model: Any, outputs: Interface) -> None:
    """Full checker, strict shape inference, and that inference by itself arrives at the outputs we declare.

    Raises
    ------
    ExportError
        If any of them disagrees.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
        bare = type(model)()
        bare.CopyFrom(model)
        _in_floats(bare.graph)
        for output in bare.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"onnx finds fault with the exported graph: {error}") from error
    for (name, _, shape), value in zip(outputs, inferred.graph.output, strict=True):
        found = value.type.tensor_type.shape.dim
        got = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in found)
        last = got[-1:] if shape and isinstance(shape[-1], int) else shape[-1:]
        if len(got) != len(shape) or last != shape[-1:]:
            raise ExportError(f"output '{name}': shape inference arrives at {got}, expected {shape}")
