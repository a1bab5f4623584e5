"""What this package raises. All are ``ValueError``: the caller asked for something that cannot be given."""


class ExportError(ValueError):
    """The model cannot be said in ONNX as asked; the message names the layer and the reason. No file was written."""


class VerificationError(ValueError):
    """onnxruntime refuses the file or computes something else than the engine. No file was written."""


class QuantizationError(ValueError):
    """The file cannot be quantised, or the result does not run in onnxruntime. No file was written."""


class LoadError(ValueError):
    """The ONNX file is damaged, hostile, or holds what no layer computes; the message names the node and the reason."""
