"""What the ONNX tests export: the engine on a spec, with the three members the exporter asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import reference
from harness import Engine, assert_close, input_layer, model_spec
from rekur.onnx._activations import FORMS

# what a recurrent node can have: every function of ONNX's list, and some of other parameters than its own
RECURRENT_ACTIVATIONS: list[Any] = [
    "linear",
    *FORMS,
    {"name": "leaky_relu", "alpha": 0.05},
    {"name": "elu", "alpha": 0.3},
    {"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.4},
]


class Subject:
    """``spec``, ``named_weights()``, ``predict(x, lengths=)`` as rekur.Model has them."""

    def __init__(self, layers: Sequence[Mapping[str, Any]], outputs: Sequence[str], seed: int = 0) -> None:
        self.spec = model_spec(layers, outputs)
        self.engine = Engine(self.spec, seed)
        self.weights = self.engine.weights

    def named_weights(self) -> dict[str, np.ndarray]:
        return self.weights

    def predict(self, x: Any, *, lengths: Any = None) -> list[np.ndarray]:
        rows = None if lengths is None else [lengths.get(name) for name in self.spec["inputs"]]
        return self.engine.predict(x if isinstance(x, list) else [x], rows)


def sequence_subject(*layers: Mapping[str, Any], outputs: Sequence[str], features: int = 3, seed: int = 0) -> Subject:
    """Layers over one input ``x`` (B, T, features)."""
    return Subject([input_layer("x", None, features), *layers], outputs, seed)


def run_file(path: Path, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))


def assert_file_matches_reference(
    path: Path,
    subject: Subject,
    inputs: Mapping[str, np.ndarray],
    lengths: Mapping[str, np.ndarray] | None = None,
    owners: Mapping[str, str] | None = None,
) -> None:
    """onnxruntime against the float64 equations. lengths: by graph input; owners: model input → its lengths."""
    lengths, owners = lengths or {}, owners or {}
    actual = run_file(path, {**inputs, **lengths})
    names = subject.spec["inputs"]
    rows = [lengths[owners[name]] if name in owners else None for name in names]
    expected = reference.run(subject.spec, subject.weights, [inputs[name] for name in names], rows)
    assert len(actual) == len(expected)
    for (name, y), e in zip(actual.items(), expected, strict=True):
        assert_close(y, e, 1e-5, name)
