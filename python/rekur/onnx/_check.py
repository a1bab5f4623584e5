"""Structural checks of a finished model, and the atomic write."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import Any

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Interface


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
        for output in bare.graph.output:
            output.type.tensor_type.ClearField("shape")
        inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"onnx finds fault with the exported graph: {error}") from error
    for (name, _, shape), value in zip(outputs, inferred.graph.output, strict=True):
        found = value.type.tensor_type.shape.dim
        got = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in found)
        if len(got) != len(shape) or got[-1] != shape[-1]:
            raise ExportError(f"output '{name}': shape inference arrives at {got}, expected {shape}")


def write_atomic(path: Path, data: bytes) -> None:
    """The path holds the old file or the new one, never a piece."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
