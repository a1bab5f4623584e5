"""ONNX import of a part of a file: named tensors, inputs that are bound, axes of a given size, a front that stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rekur
import rekur.onnx
from harness import floats
from onnx_graphs import B, H, I, T, model_of, node, recurrent_weights, run_onnxruntime


@pytest.fixture
def path(rng: np.random.Generator, tmp_path: Path) -> Path:
    """Dense – GRU – Dense – Softmax, (T, B, I) → (T, B, 2)."""
    nodes = [
        node("MatMul", ["x", "k"], ["a"]),
        node("Tanh", ["a"], ["b"]),
        node("GRU", ["b", "W", "R", "B"], ["Y", "Y_h"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["s"]),
        node("MatMul", ["s", "m"], ["logits"]),
        node("Softmax", ["logits"], ["y"]),
    ]
    held = {**recurrent_weights(rng, "GRU", 3, H), "k": floats(rng, I, 3), "m": floats(rng, H, 2), "one": np.array([1])}
    onnx.save(model_of(nodes, {"x": ("T", "B", I)}, ["y"], held), tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def at(path: Path, *names: str) -> onnx.ModelProto:
    model = onnx.load(path)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return model


def test_a_model_begins_and_ends_at_named_tensors(path: Path, rng: np.random.Generator, tmp_path: Path) -> None:
    x = floats(rng, T, B, I)
    _, b, logits = run_onnxruntime(at(path, "b", "logits"), {"x": x})
    part = rekur.onnx.load(path, inputs=["b"], outputs=["logits"])
    assert [layer["type"] for layer in part.spec["layers"]] == ["Input", "GRU", "Dense"]
    np.testing.assert_allclose(part.predict(b.swapaxes(0, 1)), logits.swapaxes(0, 1), atol=1e-5)
    rekur.onnx.export(part, tmp_path / "part.onnx")
    head = rekur.onnx.load(path, outputs=["b"])
    np.testing.assert_allclose(head.predict(x.swapaxes(0, 1)), b.swapaxes(0, 1), atol=1e-5)
    whole = rekur.onnx.load(path, outputs=["logits", "y"])
    assert len(whole.predict(x.swapaxes(0, 1))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": ["nothing"]}, "the file has no tensor 'nothing'"),
        ({"outputs": ["logit"]}, "no tensor 'logit'.*did you mean 'logits'"),
        ({"inputs": ["k"]}, "'k' is a constant"),
        ({"inputs": ["logits"], "outputs": ["b"]}, "need"),
        ({"inputs": ["b", "b"]}, "each once"),
        ({"outputs": []}, "one name or more"),
        ({"inputs": ["b"], "bind": {"b": 1}, "constants": {"b": 1}}, "two names of one thing"),
        ({"sizes": {"Z": 4}}, r"no input has an axis 'Z'; the file's symbols are \['B', 'T'\]"),
        ({"sizes": {"T": 0}}, "expected a positive integer"),
        ({"sizes": {("x", 2): I + 1}}, f"the file says {I}"),
    ],
)
def test_names_that_do_not_fit_are_named(options: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        rekur.onnx.load(path, **options)


@pytest.mark.parametrize("options", [{"inputs": "b"}, {"outputs": [3]}])
def test_names_are_texts(options: dict[str, Any], path: Path) -> None:
    with pytest.raises(TypeError, match="expected names of tensors"):
        rekur.onnx.load(path, **options)


def test_a_tensor_of_an_unknown_shape_is_given_one(path: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    """Behind an operator that onnx knows nothing of, its shape stands nowhere in the file."""
    model = onnx.load(path)
    model.graph.node[1].CopyFrom(node("Custom", ["a"], ["b"], domain="theirs"))
    model.opset_import.append(helper.make_opsetid("theirs", 1))
    del model.graph.value_info[:]
    model.graph.node.insert(2, node("Relu", ["b"], ["r"]))
    model.graph.node[3].input[0] = "r"
    onnx.save(model, tmp_path / "theirs.onnx")
    with pytest.raises(rekur.onnx.LoadError, match="theirs"):
        rekur.onnx.load(tmp_path / "theirs.onnx")
    with pytest.raises(ValueError, match=r"the shape of 'b' is not known; say it by inputs=\{'b': "):
        rekur.onnx.load(tmp_path / "theirs.onnx", inputs=["b"])
    loaded = rekur.onnx.load(tmp_path / "theirs.onnx", inputs={"b": (None, None, 3)})
    assert loaded.input_shape == (None, None, 3)


def branching(rng: np.random.Generator) -> onnx.ModelProto:
    """By ``rate``: a Dense of one width or the other inside of an If, then a tanh."""

    def branch(name: str) -> onnx.GraphProto:
        nodes = [node("MatMul", ["x", f"k{name}"], [f"a{name}"]), node("Relu", [f"a{name}"], [f"r{name}"])]
        held = [numpy_helper.from_array(floats(rng, I, 3), f"k{name}")]
        made = helper.make_tensor_value_info(f"r{name}", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, "b", [], [made], held)

    nodes = [
        node("Equal", ["rate", "fast"], ["is"]),
        node("If", ["is"], ["c"], then_branch=branch("1"), else_branch=branch("2")),
        node("Tanh", ["c"], ["y"]),
    ]
    given: dict[str, Any] = {"x": ("B", I), "rate": ("int64", ())}
    return model_of(nodes, given, ["y"], {"fast": np.int64(16)}, infer=False)


def test_tensors_in_a_branch_that_is_taken_have_names(rng: np.random.Generator, tmp_path: Path) -> None:
    model = branching(rng)
    onnx.save(model, tmp_path / "m.onnx")
    x = floats(rng, B, I)
    for rate, name in ((16, "1"), (8, "2")):
        (expected,) = run_onnxruntime(model, {"x": x, "rate": np.array(rate)})
        whole = rekur.onnx.load(tmp_path / "m.onnx", bind={"rate": rate})
        np.testing.assert_allclose(whole.predict(x), expected, atol=1e-6)
        part = rekur.onnx.load(tmp_path / "m.onnx", outputs=[f"a{name}"], bind={"rate": rate})
        np.testing.assert_allclose(np.tanh(np.maximum(part.predict(x), 0)), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"'a1' is a tensor inside of If node .* bind= decides"):
        rekur.onnx.load(tmp_path / "m.onnx", outputs=["a1"])


def test_a_size_decides_what_depends_on_it(rng: np.random.Generator, tmp_path: Path) -> None:
    """As PyTorch writes squeeze(-1) of a symbolic axis: an If on its size."""
    then = helper.make_graph(
        [node("Squeeze", ["p", "last"], ["t"])], "b", [], [helper.make_tensor_value_info("t", 1, None)]
    )
    other = helper.make_graph([node("Identity", ["p"], ["e"])], "b", [], [helper.make_tensor_value_info("e", 1, None)])
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]),
        node("Conv", ["u", "k"], ["p"], strides=[4]),
        node("Shape", ["p"], ["s"]),
        node("Gather", ["s", "two"], ["steps"]),
        node("Equal", ["steps", "single"], ["is"]),
        node("If", ["is"], ["y"], then_branch=then, else_branch=other),
    ]
    held = {"one": np.array([1]), "last": np.array([2]), "two": np.int64(2), "single": np.int64(1)}
    model = model_of(nodes, {"x": ("B", "window")}, ["y"], {**held, "k": floats(rng, 3, 1, 4)}, infer=False)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(rekur.onnx.LoadError, match="which branch to take depends on"):
        rekur.onnx.load(tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx", sizes={"window": 6})
    x = floats(rng, B, 6)
    (expected,) = run_onnxruntime(model, {"x": x})
    np.testing.assert_allclose(loaded.predict(x[:, :, None]).reshape(B, 3), expected, atol=1e-5)


@pytest.fixture
def crnn(rng: np.random.Generator, tmp_path: Path) -> Path:
    """Convolutions over an image, a bidirectional LSTM along its width, a head: (B, 1, 8, W) → (T, B, 5)."""
    nodes = [
        node("Conv", ["image", "k"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[4, 1]),
        node("Squeeze", ["c", "two"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[2, 0, 1]),
        node("LSTM", ["e", "W", "R", "B"], ["Y"], direction="bidirectional", hidden_size=H),
        node("Transpose", ["Y"], ["f"], perm=[0, 2, 1, 3]),
        node("Reshape", ["f", "flat"], ["g"]),
        node("MatMul", ["g", "head"], ["y"]),
    ]
    held = {**recurrent_weights(rng, "LSTM", 6, H, 2), "k": floats(rng, 6, 1, 3, 3), "two": np.array([2])}
    held |= {"flat": np.array([0, 0, -1]), "head": floats(rng, 2 * H, 5)}
    onnx.save(model_of(nodes, {"image": ("B", 1, 8, "width")}, ["y"], held), tmp_path / "crnn.onnx")
    return tmp_path / "crnn.onnx"


def test_a_front_stays_with_onnxruntime(crnn: Path, rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(rekur.onnx.LoadError, match="4 axes"):
        rekur.onnx.load(crnn)
    fronted = rekur.onnx.load_with_front(crnn)
    assert fronted.cut == ["e"]
    for width in (16, 31):
        image = floats(rng, B, 1, 8, width)
        (expected,) = run_onnxruntime(onnx.load(crnn), {"image": image})
        np.testing.assert_allclose(fronted.predict(image), expected.swapaxes(0, 1), atol=1e-5)
        np.testing.assert_allclose(fronted.predict({"image": image}), expected.swapaxes(0, 1), atol=1e-5)
    features = fronted.features(image)
    assert isinstance(features, np.ndarray) and features.shape == (B, 16, 6)
    fronted.model.compile("adam", "mse")
    fronted.model.fit(features, np.zeros((B, 16, 5), np.float32), epochs=1, verbose=0)
    rekur.onnx.export(fronted.model, tmp_path / "behind.onnx")
    fronted.save_front(tmp_path / "front.onnx")
    (again,) = run_onnxruntime(onnx.load(tmp_path / "front.onnx"), {"image": image})
    np.testing.assert_array_equal(again.swapaxes(0, 1), features)
    assert rekur.onnx.load_with_front(crnn, ["e"], outputs=["g"]).model.output_shape == (None, None, 2 * H)


def test_what_is_no_front_is_said(crnn: Path, path: Path, rng: np.random.Generator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="loads it as it is"):
        rekur.onnx.load_with_front(path, ["x"])
    fronted = rekur.onnx.load_with_front(crnn)
    with pytest.raises(ValueError, match=r"expected a dict of the file's inputs \['image'\]"):
        fronted.features({"picture": np.zeros((1, 1, 8, 8), np.float32)})
    with pytest.raises(ValueError, match="empty batch"):
        fronted.features(np.zeros((0, 1, 8, 8), np.float32))
    plain = model_of([node("Relu", ["x"], ["y"])], {"x": ("B", I)}, ["y"])
    onnx.save(plain, tmp_path / "plain.onnx")
    with pytest.raises(rekur.onnx.LoadError, match="no recurrent node"):
        rekur.onnx.load_with_front(tmp_path / "plain.onnx")
