"""``rekur demo``: from real hourly weather to a forecaster that runs in onnxruntime, in about a minute."""

from rekur.demo.run import Options, Result, run

__all__ = ["Options", "Result", "run"]
