"""ONNX import behind a cut: sizes that the file asks tensors before it for, and what a front takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
import rekur.onnx
from harness import floats
from onnx_graphs import B, H, model_of, node, recurrent_weights, run_onnxruntime

C, HEIGHT = 3, 4  # channels and height behind the convolutions
F = C * HEIGHT


def crnn(rng: np.random.Generator, states_of: str, flat: str, first: bool) -> onnx.ModelProto:
    """Convolutions over an image, then an LSTM along its width, as PyTorch writes them.

    states_of: whose axis 0 is the batch of the initial states. flat: how channels and height become features: their
    product, or −1. first: the LSTM's input is batch-first, so that a Transpose stands before it.
    """
    nodes = [
        node("Conv", ["image", "k"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", ["c"], ["turned"], perm=[0, 3, 1, 2] if first else [3, 0, 1, 2]),
        node("Shape", ["c"], ["shape"]),
        *(node("Gather", ["shape", f"n{k}"], [f"size{k}"], axis=0) for k in range(4)),
        node("Mul", ["size1", "size2"], ["product"]),
        *(node("Unsqueeze", [f"size{k}", "axis"], [f"u{k}"]) for k in (0, 3)),
        node("Unsqueeze", ["product", "axis"], ["product_"]),
        node("Concat", [*(["u0", "u3"] if first else ["u3", "u0"]), flat], ["target"], axis=0),
        node("Reshape", ["turned", "target"], ["rows"]),
        node("Transpose" if first else "Identity", ["rows"], ["x"], **({"perm": [1, 0, 2]} if first else {})),
        node("Shape", [states_of], ["shape_"]),
        node("Gather", ["shape_", "n0"], ["batch"], axis=0),
        node("Unsqueeze", ["batch", "axis"], ["batch_"]),
        node("Concat", ["two", "batch_", "units"], ["state_shape"], axis=0),
        node("ConstantOfShape", ["state_shape"], ["zeros"]),
        node("LSTM", ["x", "W", "R", "B", "", "zeros", "zeros"], ["Y"], direction="bidirectional", hidden_size=H),
        node("Transpose", ["Y"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "joined"], ["y"]),
    ]
    held: dict[str, Any] = {**recurrent_weights(rng, "LSTM", F, H, 2), "k": floats(rng, C, 1, 3, 3)}
    held |= {f"n{k}": np.int64(k) for k in range(4)}
    held |= {"axis": np.array([0]), "two": np.array([2]), "units": np.array([H]), "rest": np.array([-1])}
    model = model_of(nodes, {"image": ("B", 1, 2 * HEIGHT, "width")}, ["y"], held | {"joined": np.array([0, 0, -1])})
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize(
    ("states_of", "flat", "first"),
    [("rows", "product_", True), ("image", "rest", True), ("c", "product_", True), ("image", "product_", False)],
)
def test_states_take_their_batch_from_before_the_cut(
    states_of: str, flat: str, first: bool, rng: np.random.Generator, tmp_path: Path
) -> None:
    model = crnn(rng, states_of, flat, first)
    onnx.save(model, tmp_path / "crnn.onnx")
    fronted = rekur.onnx.load_with_front(tmp_path / "crnn.onnx")
    assert fronted.cut == ["x"]
    for width in (9, 16):
        image = floats(rng, B, 1, 2 * HEIGHT, width)
        (expected,) = run_onnxruntime(model, {"image": image})
        np.testing.assert_allclose(fronted.predict(image), expected.swapaxes(0, 1), atol=1e-5)
    part = rekur.onnx.load(tmp_path / "crnn.onnx", inputs=["x"])
    np.testing.assert_allclose(part.predict(fronted.features(image)), expected.swapaxes(0, 1), atol=1e-5)


def test_a_size_that_no_tensor_at_the_cut_has_is_said(rng: np.random.Generator, tmp_path: Path) -> None:
    model = crnn(rng, "image", "product_", False)
    next(n for n in model.graph.node if n.output[0] == "batch").input[1] = "n3"  # the width of the image
    onnx.save(model, tmp_path / "crnn.onnx")
    with pytest.raises(ValueError, match=r"also need \['image'\].*: only the sizes"):
        rekur.onnx.load(tmp_path / "crnn.onnx", inputs=["x"])


def test_a_front_takes_what_the_file_declares(rng: np.random.Generator, tmp_path: Path) -> None:
    onnx.save(crnn(rng, "rows", "product_", True), tmp_path / "crnn.onnx")
    fronted = rekur.onnx.load_with_front(tmp_path / "crnn.onnx")
    image = floats(rng, B, 1, 2 * HEIGHT, 8)
    single = fronted.features(image)
    np.testing.assert_array_equal(fronted.features(image.astype(np.float64)), single)
    np.testing.assert_array_equal(fronted.features(image.tolist()), single)
    with pytest.raises(ValueError, match=r"input 'image': expected shape \(\?, 1, 8, \?\), got \(2, 3, 8, 8\)"):
        fronted.features(np.zeros((2, 3, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"input 'image': expected shape \(\?, 1, 8, \?\), got \(1, 8, 8\)"):
        fronted.features(image[0])
    with pytest.raises(ValueError, match="input 'image': expected float32, got complex64"):
        fronted.features(image.astype(np.complex64))
    model = crnn(rng, "rows", "product_", True)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "channels"
    onnx.save(model, tmp_path / "open.onnx")
    with pytest.raises(ValueError, match=r"does not run the front on 'image' of shape \(1, 2, 8, 8\)"):
        rekur.onnx.load_with_front(tmp_path / "open.onnx").features(np.zeros((1, 2, 8, 8), np.float32))


def test_a_front_is_written_whole_or_not_at_all(rng: np.random.Generator, tmp_path: Path) -> None:
    onnx.save(crnn(rng, "rows", "product_", True), tmp_path / "crnn.onnx")
    fronted = rekur.onnx.load_with_front(tmp_path / "crnn.onnx")
    with pytest.raises(FileNotFoundError, match="cannot write"):
        fronted.save_front(tmp_path / "nowhere" / "front.onnx")
    (tmp_path / "old.onnx").write_bytes(b"old")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "old.onnx")
    fronted.save_front(tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert [value.name for value in onnx.load(tmp_path / "old.onnx").graph.output] == ["x"]
    with pytest.raises(TypeError, match="save_front"):
        fronted.save_front(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inputs": {"x": (1.5, None, F)}}, TypeError, "inputs: 'x': axis 0: expected a size or None, got 1.5"),
        ({"inputs": {"x": (2**70, None, F)}}, ValueError, "inputs: 'x': axis 0: expected a positive size"),
        ({"inputs": {"x": (-1, None, F)}}, ValueError, "inputs: 'x': axis 0: expected a positive size or None, got -1"),
        ({"inputs": {"x": F}}, TypeError, "inputs: 'x': expected a shape, a tuple of sizes and None, got 12"),
        ({"inputs": {"x": "abc"}}, TypeError, "inputs: 'x': expected a shape"),
        ({"inputs": 3}, TypeError, "inputs: expected names of tensors, got 3"),
        ({"outputs": 3}, TypeError, "outputs: expected names of tensors, got 3"),
        ({"bind": [1]}, TypeError, r"bind: expected a dict of inputs and their values, got \[1\]"),
        ({"sizes": [1]}, TypeError, r"sizes: expected a dict of axes and their sizes, got \[1\]"),
        ({"inputs": ["q" * 30]}, ValueError, "of [0-9]+ tensors the first are B, R, W, Y, a, axis, b, batch, "),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    options: dict[str, Any], error: type[Exception], message: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    onnx.save(crnn(rng, "rows", "product_", True), tmp_path / "crnn.onnx")
    with pytest.raises(error, match=message) as caught:
        rekur.onnx.load(tmp_path / "crnn.onnx", **options)
    assert len(str(caught.value)) < 400


def test_a_cut_is_named_so(rng: np.random.Generator, tmp_path: Path) -> None:
    onnx.save(crnn(rng, "rows", "product_", True), tmp_path / "crnn.onnx")
    with pytest.raises(ValueError, match=r"^cut: the file has no tensor 'rowz'; did you mean 'rows'"):
        rekur.onnx.load_with_front(tmp_path / "crnn.onnx", ["rowz"])
    with pytest.raises(TypeError, match="cut: expected names of tensors, got 'x'"):
        rekur.onnx.load_with_front(tmp_path / "crnn.onnx", "x")
    with pytest.raises(TypeError, match="bind: expected a dict"):
        rekur.onnx.load_with_front(tmp_path / "crnn.onnx", bind=[1])  # type: ignore[arg-type]
