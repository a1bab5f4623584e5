"""ONNX: ship a model to onnxruntime, and prove that it computes the same there; load one that was trained elsewhere.

    report = rekur.onnx.export(model, "forecaster.onnx")
    print(report)

    model = rekur.onnx.load("theirs.onnx")  # and train it further

onnx and onnxruntime are imported when a function here is called, not before.
"""

from __future__ import annotations

from rekur.onnx._errors import ExportError, LoadError, QuantizationError, VerificationError
from rekur.onnx._export import ExportReport, export, verify
from rekur.onnx._fronted import Fronted, load_with_front
from rekur.onnx._generate import generate
from rekur.onnx._import.load import load
from rekur.onnx._metadata import Metadata, Scaling, metadata
from rekur.onnx._plan import State
from rekur.onnx._quantize import OutputChange, QuantizeReport, quantize
from rekur.onnx._seq2seq import Seq2SeqReport, export_seq2seq
from rekur.onnx._states import States
from rekur.onnx._verify import OutputDifference, VerifyReport
from rekur.onnx._weights import QuantizedNode

__all__ = [
    "ExportError",
    "ExportReport",
    "Fronted",
    "LoadError",
    "Metadata",
    "OutputChange",
    "OutputDifference",
    "QuantizationError",
    "QuantizeReport",
    "QuantizedNode",
    "Scaling",
    "Seq2SeqReport",
    "State",
    "States",
    "VerificationError",
    "VerifyReport",
    "export",
    "export_seq2seq",
    "generate",
    "load",
    "load_with_front",
    "metadata",
    "quantize",
    "verify",
]
