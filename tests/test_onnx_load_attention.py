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

pytestmark = pytest.mark.usefixtures("by_nodes")

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
    with pytest.raises(LoadError, match="makes features of time"):
        rekur.onnx.load(tmp_path / "m.onnx")


# The operator Attention, of any writer.

HAS_ATTENTION = pytest.mark.skipif(onnx.defs.onnx_opset_version() < 23, reason="this onnx has no operator Attention")


def operator_file(
    path: Path, heads: int, groups: int, size: int, of_value: int, projected: bool, **attributes: Any
) -> None:
    """Products, the operator, a product; or the operator alone."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(5)
    widths = {"q": heads * size, "k": groups * size, "v": groups * of_value}
    inner = {n: 7 if projected else width for n, width in widths.items()}
    nodes, constants, names = [], [], dict(zip(widths, widths, strict=True))

    def product(x: str, rows: int, columns: int, out: str, bias: bool) -> None:
        for name, shape in ((f"{out}_w", (rows, columns)), (f"{out}_b", (columns,))):
            array = rng.standard_normal(shape).astype(np.float32)
            constants.append(numpy_helper.from_array(array, name))
        nodes.append(helper.make_node("MatMul", [x, f"{out}_w"], [f"{out}_p" if bias else out]))
        if bias:
            nodes.append(helper.make_node("Add", [f"{out}_p", f"{out}_b"], [out]))

    for n, width in widths.items():
        if projected:
            names[n] = f"{n}_projected"
            product(n, 7, width, names[n], n != "k")
    counts = {"q_num_heads": heads, "kv_num_heads": groups}
    nodes.append(helper.make_node("Attention", list(names.values()), ["o"], **counts, **attributes))
    if projected:
        product("o", heads * of_value, 7, "y", True)
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", "tq" if n == "q" else "tv", inner[n]]) for n in inner
    ]
    output = helper.make_tensor_value_info("y" if projected else "o", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", values, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    onnx.save(model, path)


@HAS_ATTENTION
@pytest.mark.parametrize("projected", [False, True], ids=["alone", "projected"])
@pytest.mark.parametrize("attributes", [{}, {"is_causal": 1}, {"scale": 0.3}], ids=str)
@pytest.mark.parametrize(("heads", "groups", "of_value"), [(1, 1, 4), (2, 2, 3), (4, 2, 4)])
def test_the_operator_attention_of_any_writer(
    heads: int, groups: int, of_value: int, attributes: Any, projected: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    path = tmp_path / "m.onnx"
    operator_file(path, heads, groups, 4, of_value, projected, **attributes)
    loaded = rekur.onnx.load(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {i.name: i.shape[2] for i in session.get_inputs()}
    feed = {n: floats(rng, 2, 5 if n == "q" else 6, width) for n, width in shapes.items()}
    (expected,) = session.run(None, feed)
    found = loaded.predict([feed[n] for n in loaded.spec["inputs"]])
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    kinds = [entry["type"] for entry in loaded.spec["layers"] if entry["type"] not in ("Input", "Activation")]
    if projected:
        assert kinds == ["GroupQueryAttention" if heads != groups else "MultiHeadAttention"]


@HAS_ATTENTION
@pytest.mark.parametrize(
    ("attributes", "message"), [({"softcap": 2.0}, "capped"), ({"qk_matmul_output_mode": 1}, "stage")], ids=str
)
def test_what_the_operator_can_do_and_no_layer_can_is_refused(attributes: Any, message: str, tmp_path: Path) -> None:
    operator_file(tmp_path / "m.onnx", 2, 2, 4, 4, False, **attributes)
    with pytest.raises(LoadError, match=message):
        rekur.onnx.load(tmp_path / "m.onnx")
