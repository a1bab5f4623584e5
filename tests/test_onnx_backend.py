"""rekur.onnx.backend: inputs by name and by order, weights that are inputs, what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import (
    B,
    H,
    I,
    T,
    assert_as_onnxruntime,
    cell,
    model_of,
    node,
    recurrent,
    recurrent_weights,
)
from rekur.onnx import LoadError, backend


def test_backend_takes_dictionaries_and_refuses_other_types(rng: np.random.Generator) -> None:
    prepared = backend.prepare(recurrent("GRU", rng))
    x = floats(rng, T, B, I)
    for y, e in zip(prepared.run({"x": x}), prepared.run([x]), strict=True):
        np.testing.assert_array_equal(y, e)
    with pytest.raises(ValueError, match="input 'x': expected float32, got float64"):
        prepared.run([x.astype(np.float64)])
    with pytest.raises(ValueError, match="input 'x': expected 3 axes"):
        prepared.run([x[0]])
    with pytest.raises(ValueError, match="expected 1 inputs"):
        prepared.run([x, x])
    with pytest.raises(ValueError, match="expected device 'CPU', got 'CUDA'"):
        backend.prepare(recurrent("GRU", rng), "CUDA")
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:1") and not backend.supports_device("?")
    assert backend.is_compatible(recurrent("GRU", rng))
    assert not backend.is_compatible(model_of([node("Tan", ["x"], ["y"])], {"x": ("B", 3)}, ["y"]))


def test_backend_hands_on_nan(rng: np.random.Generator) -> None:
    x = floats(rng, T, B, I)
    x[1, 0, 0] = np.nan
    y = backend.prepare(recurrent("GRU", rng)).run([x])[0]
    assert np.isnan(y[1:, :, 0]).all() and np.isfinite(y[:, :, 1:]).all()


def test_weights_that_are_inputs_need_the_backend(tmp_path: Path, rng: np.random.Generator) -> None:
    made = cell("GRU", ["x", "W", "R"], ["Y"])
    weights = recurrent_weights(rng, "GRU", I, H)
    model = model_of([made], {"x": ("T", "B", I), "W": (1, 3 * H, I), "R": (1, 3 * H, H)}, ["Y"])
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="GRU node 'cell': W must be a constant, it is the graph input 'W'"):
        rekur.onnx.load(tmp_path / "m.onnx")
    assert_as_onnxruntime(model, {"x": floats(rng, T, B, I), "W": weights["W"], "R": weights["R"]})
