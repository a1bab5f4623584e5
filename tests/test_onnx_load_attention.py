"""Attention and positions loaded again: from our files, and from the operator Attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from harness import floats, input_layer
from onnx_subject import Subject
from rekur.onnx import LoadError
from test_attention import LAYERS as ATTENTION
from test_positions import LAYERS as POSITIONS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
OPSETS = [17, *([27] if onnx.defs.onnx_opset_version() >= 27 else [])]


def ids(layer: dict[str, Any]) -> str:
    return "-".join(map(str, layer.values()))


def settings(layer: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in layer.items() if k not in ("name", "inputs")}


def assert_comes_back(subject: Subject, path: Path, feed: list[np.ndarray], opset: int, lengths: Any = None) -> Any:
    rekur.onnx.export(subject, path, opset=opset, lengths=lengths is not None)
    loaded = rekur.onnx.load(path)
    expected = subject.predict(feed, lengths=lengths)
    found = loaded.predict(feed, **({} if lengths is None else {"lengths": lengths}))
    for y, e in zip(found if isinstance(found, (list, tuple)) else [found], expected, strict=True):
        np.testing.assert_array_equal(y, e)
    return loaded


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("layer", [v for v in ATTENTION if not v.get("return_attention_scores")], ids=ids)
@pytest.mark.parametrize("names", [["q", "q"], ["q", "v"], ["q", "v", "k"]], ids=len)
def test_attention_of_our_files_comes_back_to_the_bit(
    layer: dict[str, Any], names: list[str], opset: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    own = sorted(set(names), key=names.index)
    nodes = [*(input_layer(n, None, 4) for n in own), {**layer, "name": "y", "inputs": names}]
    feed = [floats(rng, 2, 5 if n == "q" else 6, 4) for n in own]
    loaded = assert_comes_back(Subject(nodes, ["y"]), tmp_path / "m.onnx", feed, opset)
    entry = next(e for e in loaded.spec["layers"] if e["type"] == layer["type"])
    assert {k: entry[k] for k in settings(layer)} == settings(layer)


@pytest.mark.parametrize("layer", [v for v in ATTENTION if not v.get("return_attention_scores")], ids=ids)
def test_lengths_of_both_sides_come_back(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [*(input_layer(n, None, 4) for n in "qv"), {**layer, "name": "y", "inputs": ["q", "v"]}]
    feed = [floats(rng, 2, 5, 4), floats(rng, 2, 6, 4)]
    lengths = {"q": np.array([5, 2], np.int32), "v": np.array([3, 6], np.int32)}
    assert_comes_back(Subject(nodes, ["y"]), tmp_path / "m.onnx", feed, 17, lengths)


@pytest.mark.parametrize("layer", POSITIONS, ids=ids)
def test_positions_of_our_files_come_back(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    nodes: list[dict[str, Any]] = [
        input_layer("x", None, 4),
        {"type": "Dense", "name": "d", "inputs": ["x"], "units": 6},
        {**layer, "name": "p", "inputs": ["d"]},
        {"type": "Add", "name": "s", "inputs": ["d", "p"]},
        {"type": "LSTM", "name": "y", "inputs": ["s"], "units": 3},
    ]
    subject = Subject(nodes, ["y"])
    assert_comes_back(subject, tmp_path / "m.onnx", [floats(rng, 2, 9, 4)], 17)
    lengths = {"x": np.array([9, 4], np.int32)}
    assert_comes_back(subject, tmp_path / "m.onnx", [floats(rng, 2, 9, 4)], 17, lengths)


def test_a_transformer_block_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rekur.Input((None, 6), name="x")
    h = rekur.layers.add([x, rekur.layers.PositionEmbedding(12)(x)])
    a = rekur.layers.MultiHeadAttention(2, 3)(h, h, use_causal_mask=True)
    h = rekur.layers.LayerNormalization()(rekur.layers.add([h, a]))
    f = rekur.layers.Dense(6)(rekur.layers.Dense(12, activation="relu")(h))
    model = rekur.Model(x, rekur.layers.LayerNormalization()(rekur.layers.add([h, f])))
    for opset in OPSETS:
        rekur.onnx.export(model, tmp_path / "m.onnx", opset=opset)
        loaded = rekur.onnx.load(tmp_path / "m.onnx")
        data = floats(rng, 3, 8, 6)
        np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
        assert loaded.count_params() == model.count_params()


def test_nodes_that_are_not_what_the_note_says_are_refused(tmp_path: Path) -> None:
    nodes = [input_layer("q", None, 4), {"type": "Attention", "name": "y", "inputs": ["q", "q"]}]
    rekur.onnx.export(Subject(nodes, ["y"]), tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    next(n for n in model.graph.node if n.op_type == "Softmax").attribute[0].i = 1
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="the product of two tensors"):
        rekur.onnx.load(tmp_path / "m.onnx")
