"""ONNX: ship a model to onnxruntime, and prove that it computes the same there.

    report = rekur.onnx.export(model, "forecaster.onnx")
    print(report)

onnx and onnxruntime are imported when a function here is called, not before.
"""

from __future__ import annotations

from rekur.onnx._errors import ExportError, VerificationError
from rekur.onnx._export import ExportReport, export, verify
from rekur.onnx._verify import OutputDifference, VerifyReport

__all__ = [
    "ExportError",
    "ExportReport",
    "OutputDifference",
    "VerificationError",
    "VerifyReport",
    "export",
    "verify",
]
