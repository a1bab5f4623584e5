"""ONNX import of products of two computed tensors: attention taken apart into operators, and Dot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import assert_as_onnxruntime, f32, model_of, node
from rekur.onnx import LoadError

pytestmark = pytest.mark.usefixtures("by_nodes")

B, T, F, H = 2, 5, 8, 4
INPUTS = {"x": ("B", "T", F), "z": ("B", "S", F)}
PARTS = {"wq": f32(F, F), "wk": f32(F, F), "wv": f32(F, F), "wo": f32(F, F), "bq": f32(F), "half": np.float32(0.5)}


def load(nodes: list[Any], path: Path, inputs: Any, constants: dict[str, Any], rng: Any) -> rekur.Model:
    model = model_of(nodes, inputs, ["y"], constants)
    sizes = {"B": B, "T": T, "S": T + 2}
    feed = {name: floats(rng, *(sizes.get(size, size) for size in shape)) for name, shape in inputs.items()}
    assert_as_onnxruntime(model, feed)
    onnx.save(model, path)
    return rekur.onnx.load(path)


def types(model: rekur.Model) -> list[str]:
    return [layer["type"] for layer in model.spec["layers"] if layer["type"] != "Input"]


def attention(key: str, factor: bool) -> list[Any]:
    scores = [node("MatMul", ["x", "t"], ["s"])]
    scores += [node("Div", ["s", "half"], ["scaled"])] if factor else []
    return [
        node("Transpose", [key], ["t"], perm=[0, 2, 1]),
        *scores,
        node("Softmax", ["scaled" if factor else "s"], ["w"], axis=-1),
        node("MatMul", ["w", key], ["y"]),
    ]


@pytest.mark.parametrize("factor", [False, True])
@pytest.mark.parametrize("key", ["x", "z"])
def test_softmax_between_two_products_is_attention(key: str, factor: bool, tmp_path: Path, rng: Any) -> None:
    inputs = {"x": INPUTS["x"], key: INPUTS[key]}
    model = load(attention(key, factor), tmp_path / "m.onnx", inputs, PARTS, rng)
    assert types(model) == ["Attention"]
    assert rekur.onnx.export(model, tmp_path / "again.onnx").verification is not None


def heads(packed: bool, separate_rows: bool) -> list[Any]:
    """As exporters write it: split, transposed, scaled, multiplied, put together; separate_rows: B · H are one axis."""
    made = []
    if packed:
        made += [
            node("MatMul", ["x", "w"], ["p"]),
            node("Add", ["p", "b"], ["pb"]),
            node("Split", ["pb"], ["q", "k", "v"], axis=-1),
        ]
    else:
        made += [node("MatMul", ["x", f"w{part}"], [f"{part}0"]) for part in "qkv"]
        made += [node("Add", ["q0", "bq"], ["q"]), *(node("Identity", [f"{part}0"], [part]) for part in "kv")]
    if separate_rows:
        made += [node("Transpose", [part], [f"{part}1"], perm=[1, 0, 2]) for part in "qkv"]
        made += [node("Reshape", [f"{part}1", "rows"], [f"{part}2"]) for part in "qkv"]
        made += [node("Transpose", [f"{part}2"], [f"{part}h"], perm=[1, 0, 2]) for part in "qkv"]
        made += [node("Transpose", ["kh"], ["kt"], perm=[0, 2, 1])]
    else:
        made += [node("Reshape", [part, "split"], [f"{part}1"]) for part in "qkv"]
        made += [node("Transpose", [f"{part}1"], [f"{part}h"], perm=[0, 2, 1, 3]) for part in "qv"]
        made += [node("Transpose", ["k1"], ["kt"], perm=[0, 2, 3, 1])]
    made += [
        node("Mul", ["qh", "half"], ["qs"]),
        node("MatMul", ["qs", "kt"], ["s"]),
        node("Softmax", ["s"], ["a"], axis=-1),
        node("MatMul", ["a", "vh"], ["o"]),
    ]
    if separate_rows:
        made += [node("Transpose", ["o"], ["o1"], perm=[1, 0, 2]), node("Reshape", ["o1", "joined"], ["o2"])]
        made += [node("Transpose", ["o2"], ["o3"], perm=[1, 0, 2])]
    else:
        made += [node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]), node("Reshape", ["o1", "joined"], ["o3"])]
    return [*made, node("MatMul", ["o3", "wo"], ["y"])]


@pytest.mark.parametrize("packed", [False, True], ids=["three products", "one product"])
@pytest.mark.parametrize("rows", [False, True], ids=["four axes", "rows and heads one axis"])
def test_heads_and_the_products_around_them_are_one_layer(packed: bool, rows: bool, tmp_path: Path, rng: Any) -> None:
    constants = {**PARTS, "w": f32(F, 3 * F), "b": f32(3 * F)}
    shape = {"x": (B, T, F)} if rows else {"x": INPUTS["x"]}
    constants |= {"split": np.array([0, 0, H, F // H]), "rows": np.array([T, B * H, F // H])}
    constants["joined"] = np.array([T, B, F] if rows else [0, 0, F])
    model = load(heads(packed, rows), tmp_path / "m.onnx", shape, constants, rng)
    assert types(model) == ["MultiHeadAttention"]
    model.compile("adam", "mse")
    x, y = floats(rng, 8, T, F), floats(rng, 8, T, F)
    losses = model.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert rekur.onnx.export(model, tmp_path / "again.onnx").verification is not None


DOTS: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "features of both": (
        [node("Transpose", ["z"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])],
        {"x": ("B", "T", F), "z": ("B", 7, F)},
        ["Dot"],
    ),
    "steps of both": (
        [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("MatMul", ["t", "z"], ["y"])],
        {"x": ("B", "T", F), "z": ("B", "T", F)},
        ["Dot"],
    ),
    "a row and steps": (
        [
            node("Unsqueeze", ["r", "two"], ["c"]),
            node("MatMul", ["z", "c"], ["p"]),
            node("Squeeze", ["p", "two"], ["y"]),
        ],
        {"r": ("B", F), "z": ("B", 7, F)},
        ["Dot"],
    ),
    "twice and a softmax": (
        [
            node("Transpose", ["z"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["x", "t"], ["s"]),
            node("Softmax", ["s"], ["y"], axis=-1),
        ],
        {"x": ("B", "T", F), "z": ("B", 7, F)},
        ["Dot", "Activation"],
    ),
}


@pytest.mark.parametrize("name", DOTS)
def test_any_other_product_is_a_dot(name: str, tmp_path: Path, rng: Any) -> None:
    nodes, inputs, expected = DOTS[name]
    assert types(load(nodes, tmp_path / "m.onnx", inputs, {"two": np.array([2])}, rng)) == expected


def test_a_product_whose_features_only_the_data_will_tell_is_refused(tmp_path: Path) -> None:
    made = [node("Transpose", ["z"], ["t"], perm=[0, 2, 1]), node("MatMul", ["x", "t"], ["y"])]
    onnx.save(model_of(made, INPUTS, ["y"]), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="makes features of time"):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_weights_under_a_mask_are_refused(tmp_path: Path) -> None:
    made = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "t"], ["s"]),
        node("Add", ["s", "mask"], ["hidden"]),
        node("Softmax", ["hidden"], ["w"], axis=-1),
        node("MatMul", ["w", "x"], ["y"]),
    ]
    mask = np.triu(np.full((T, T), -np.inf, np.float32), 1)
    onnx.save(model_of(made, {"x": ("B", T, F)}, ["y"], {"mask": mask}), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="'hidden'"):
        rekur.onnx.load(tmp_path / "m.onnx")
