"""ONNX import of loops that are no single layer: the steps that the file stacks are one output again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
import rekur.onnx
from harness import floats
from onnx_graphs import B, H, I, T, model_of, node, recurrent_weights, run_onnxruntime

F, STEPS = 3, 5


def fed_back(rng: np.random.Generator, axis: int, head: bool = False) -> onnx.ModelProto:
    """y_t = tanh(y_{t−1} k) + y_{t−1}, from the input on, stacked along an axis."""
    nodes, last = [], "x"
    for step in range(STEPS):
        nodes += [node("MatMul", [last, "k"], [f"a{step}"]), node("Tanh", [f"a{step}"], [f"b{step}"])]
        nodes += [node("Add", [f"b{step}", last], [f"c{step}"]), node("Unsqueeze", [f"c{step}", "axis"], [f"d{step}"])]
        last = f"c{step}"
    nodes.append(node("Concat", [f"d{step}" for step in range(STEPS)], ["y"], axis=axis))
    return model_of(nodes, {"x": ("B", F)}, ["y"], {"k": floats(rng, F, F), "axis": np.array([axis])})


@pytest.mark.parametrize("rows", [1, B])
def test_steps_behind_the_batch_are_one_output(rows: int, rng: np.random.Generator, tmp_path: Path) -> None:
    model = fed_back(rng, 1)
    onnx.save(model, tmp_path / "loop.onnx")
    x = floats(rng, rows, F)
    (expected,) = run_onnxruntime(model, {"x": x})
    loaded = rekur.onnx.load(tmp_path / "loop.onnx")
    assert loaded.output_names == ["y"] and loaded.output_shape == (None, STEPS, F)
    np.testing.assert_allclose(loaded.predict(x), expected, atol=1e-5)
    rekur.onnx.export(loaded, tmp_path / "again.onnx")


def test_steps_before_the_batch_are_outputs_by_themselves(rng: np.random.Generator, tmp_path: Path) -> None:
    model = fed_back(rng, 0)
    onnx.save(model, tmp_path / "loop.onnx")
    x = floats(rng, B, F)
    (expected,) = run_onnxruntime(model, {"x": x})
    loaded = rekur.onnx.load(tmp_path / "loop.onnx")
    assert loaded.output_names == [f"y_{step}" for step in range(STEPS)]
    np.testing.assert_allclose(np.stack(loaded.predict(x)), expected, atol=1e-5)


@pytest.mark.parametrize("fed", [True, False])
def test_states_behind_the_batch_stay_outputs_by_themselves(
    fed: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    """(batch, two directions, H): as the states that go in, or as the layer ends."""
    nodes = [
        *([node("Transpose", ["h"], ["first"], perm=[1, 0, 2])] if fed else []),
        node("GRU", ["x", "W", "R", "B", "", *(["first"] if fed else [])], ["", "Y_h"], direction="bidirectional"),
        node("Transpose", ["Y_h"], ["t"], perm=[1, 0, 2]),
        node("Tanh" if fed else "Identity", ["t"], ["y"]),
    ]
    nodes[-3].attribute.append(onnx.helper.make_attribute("hidden_size", H))
    given: dict[str, Any] = {"x": ("T", "B", I), **({"h": ("B", 2, H)} if fed else {})}
    model = model_of(nodes, given, ["y"], recurrent_weights(rng, "GRU", I, H, 2))
    onnx.save(model, tmp_path / "states.onnx")
    loaded = rekur.onnx.load(tmp_path / "states.onnx")
    x, h = floats(rng, T, B, I), floats(rng, B, 2, H)
    (expected,) = run_onnxruntime(model, {"x": x, "h": h} if fed else {"x": x})
    assert loaded.output_names == ["y_0", "y_1"]
    made = loaded.predict([x.swapaxes(0, 1), h[:, 0], h[:, 1]] if fed else x.swapaxes(0, 1))
    np.testing.assert_allclose(np.stack(made, 1), expected, atol=1e-5)
