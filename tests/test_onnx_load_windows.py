"""ONNX import of convolution, pooling and what moves steps: against onnxruntime, in the file's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats
from onnx_graphs import assert_as_onnxruntime, f32, model_of, node, recurrent_weights
from rekur.onnx import LoadError

pytestmark = pytest.mark.usefixtures("by_nodes")

B, C, T = 2, 6, 11
X = {"x": ("B", C, "T")}
FIXED = {"x": ("B", C, T)}
W, D = f32(4, C, 3), f32(12, 1, 3)
LOADED: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "valid": ([node("Conv", ["x", "w", "b"], ["y"])], {"w": W, "b": f32(4)}, ["Conv1D"]),
    "same": ([node("Conv", ["x", "w"], ["y"], pads=[1, 1])], {"w": W}, ["Conv1D"]),
    "causal": ([node("Conv", ["x", "w"], ["y"], pads=[4, 0], dilations=[2])], {"w": W}, ["Conv1D"]),
    "strides behind padding": (
        [node("Conv", ["x", "w"], ["y"], pads=[1, 1], strides=[2])],
        {"w": W},
        ["ZeroPadding1D", "Conv1D"],
    ),
    "same with strides": ([node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2])], {"w": W}, ["Conv1D"]),
    "even, more before": (
        [node("Conv", ["x", "w"], ["y"], auto_pad="SAME_LOWER")],
        {"w": f32(4, C, 4)},
        ["ZeroPadding1D", "Conv1D"],
    ),
    "groups": ([node("Conv", ["x", "w"], ["y"], group=2)], {"w": f32(4, 3, 3)}, ["Conv1D"]),
    "depthwise": ([node("Conv", ["x", "w"], ["y"], group=C)], {"w": D}, ["DepthwiseConv1D"]),
    "an activation": ([node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])], {"w": W}, ["Conv1D"]),
    "transposed": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"], strides=[2])],
        {"w": f32(C, 4, 3), "b": f32(4)},
        ["Conv1DTranspose"],
    ),
    "transposed, cut": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2], pads=[1, 1])],
        {"w": f32(C, 4, 3)},
        ["Conv1DTranspose", "Cropping1D"],
    ),
    "transposed, same": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[2], pads=[1, 1])],
        {"w": f32(C, 4, 4)},
        ["Conv1DTranspose"],
    ),
    "transposed, fewer than strides": (
        [node("ConvTranspose", ["x", "w"], ["y"], strides=[3])],
        {"w": f32(C, 4, 2)},
        ["Conv1DTranspose", "Cropping1D"],
    ),
    "largest": ([node("MaxPool", ["x"], ["y"], kernel_shape=[2], strides=[2])], {}, ["MaxPooling1D"]),
    "largest, same": ([node("MaxPool", ["x"], ["y"], kernel_shape=[3], pads=[1, 1])], {}, ["MaxPooling1D"]),
    "mean": ([node("AveragePool", ["x"], ["y"], kernel_shape=[3], strides=[2])], {}, ["AveragePooling1D"]),
    "mean, same": ([node("AveragePool", ["x"], ["y"], kernel_shape=[3], pads=[1, 1])], {}, ["AveragePooling1D"]),
    "mean of zeros too": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3], pads=[1, 1], count_include_pad=1)],
        {},
        ["ZeroPadding1D", "AveragePooling1D"],
    ),
    "mean of all": ([node("GlobalAveragePool", ["x"], ["y"])], {}, ["GlobalAveragePooling1D"]),
    "largest of all": ([node("GlobalMaxPool", ["x"], ["y"])], {}, ["GlobalMaxPooling1D"]),
    "steps repeated": (
        [node("Resize", ["x", "", "s"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"s": np.array([1, 1, 3], np.float32)},
        ["UpSampling1D"],
    ),
    "steps of a number": (
        [node("Pad", ["x", "p", "one"], ["y"])],
        {"p": np.array([0, 0, 1, 0, 0, 2]), "one": np.float32(1.5)},
        ["Padding1D"],
    ),
    **{
        f"steps by {mode}": (
            [node("Pad", ["x", "p"], ["y"], mode=mode)],
            {"p": np.array([0, 0, 2, 0, 0, 1])},
            ["Padding1D"],
        )
        for mode in ("reflect", "edge")
    },
    "steps added": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, 2, 0, 0, 1])}, ["ZeroPadding1D"]),
    "steps cut": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 0, -2, 0, 0, -1])}, ["Cropping1D"]),
    "slopes": ([node("PRelu", ["x", "a"], ["y"])], {"a": f32(C, 1)}, ["PReLU"]),
    "batches": (
        [node("BatchNormalization", ["x", "g", "g", "m", "v"], ["y"])],
        {"g": f32(C), "m": f32(C), "v": np.abs(f32(C)) + 1},
        ["BatchNormalization"],
    ),
}
OF_ONE_SIZE: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "Flatten": (
        [node("MaxPool", ["x"], ["p"], kernel_shape=[2]), node("Flatten", ["p"], ["y"])],
        {},
        ["MaxPooling1D", "Permute", "Flatten"],
    ),
    "Reshape": (
        [
            node("MaxPool", ["x"], ["p"], kernel_shape=[2]),
            node("Transpose", ["p"], ["t"], perm=[0, 2, 1]),
            node("Reshape", ["t", "s"], ["y"]),
        ],
        {"s": np.array([0, 30, 2])},
        ["MaxPooling1D", "Reshape"],
    ),
    "a product over time": (
        [
            node("MaxPool", ["x"], ["p"], kernel_shape=[2]),
            node("MatMul", ["p", "w"], ["m"]),
            node("MaxPool", ["m"], ["y"], kernel_shape=[2]),
        ],
        {"w": f32(T - 1, 5)},
        ["MaxPooling1D", "Permute", "Dense", "Permute", "MaxPooling1D"],
    ),
}


def check(nodes: list[Any], constants: dict[str, Any], types: list[str], shape: Any, path: Path, rng: Any) -> None:
    model = model_of(nodes, shape, ["y"], constants)
    assert_as_onnxruntime(model, {"x": floats(rng, B, C, T)})
    onnx.save(model, path)
    assert [layer["type"] for layer in rekur.onnx.load(path).spec["layers"][1:]] == types


@pytest.mark.parametrize("name", LOADED)
def test_an_operator_is_the_layer(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(*LOADED[name], X, tmp_path / "m.onnx", rng)


@pytest.mark.parametrize("name", OF_ONE_SIZE)
def test_time_of_a_known_size_becomes_features(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    check(*OF_ONE_SIZE[name], FIXED, tmp_path / "m.onnx", rng)


def test_a_row_at_every_step(tmp_path: Path, rng: np.random.Generator) -> None:
    for last in (node("Tile", ["u", "n"], ["y"]), node("Expand", ["u", "n"], ["y"])):
        made = [node("Unsqueeze", ["x", "one"], ["u"]), last]
        model = model_of(made, {"x": ("B", C)}, ["y"], {"one": np.array([1]), "n": np.array([1, 3, 1])})
        assert_as_onnxruntime(model, {"x": floats(rng, B, C)})
        onnx.save(model, tmp_path / "m.onnx")
        assert rekur.onnx.load(tmp_path / "m.onnx").spec["layers"][-1]["type"] == "RepeatVector"


def test_a_loaded_classifier_trains_and_is_exported_again(tmp_path: Path, rng: np.random.Generator) -> None:
    weights = recurrent_weights(rng, "GRU", 4, 5)
    made = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1]),
        node("BatchNormalization", ["c", "g", "g", "g", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2], strides=[2]),
        node("Transpose", ["p"], ["s"], perm=[2, 0, 1]),
        node("GRU", ["s", "W", "R", "B"], ["", "h"], hidden_size=5),
        node("Squeeze", ["h", "zero"], ["l"]),
        node("Gemm", ["l", "k"], ["y"]),
    ]
    g = f32(4)
    constants = {"w": W, "b": g, "g": g, "v": np.abs(g) + 1, "zero": np.array([0]), "k": f32(5, 2), **weights}
    model = model_of(made, X, ["y"], constants)
    assert_as_onnxruntime(model, {"x": floats(rng, B, C, T)})
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    types = [layer["type"] for layer in loaded.spec["layers"][1:]]
    assert types == ["Conv1D", "BatchNormalization", "Activation", "MaxPooling1D", "GRU", "Dense"]
    loaded.compile("adam", "mse")
    x, y = floats(rng, 8, T, C), floats(rng, 8, 2)
    losses = loaded.fit(x, y, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert rekur.onnx.export(loaded, tmp_path / "again.onnx").verification is not None
    again = rekur.onnx.load(tmp_path / "again.onnx")
    np.testing.assert_allclose(again.predict(x), loaded.predict(x), atol=1e-5)


REFUSED: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "two axes": (
        [node("Relu", ["x"], ["r"]), node("Unsqueeze", ["r", "three"], ["u"]), node("Conv", ["u", "w"], ["y"])],
        {"w": f32(4, C, 3, 3), "three": np.array([3])},
        "along an axis of size 1|one time axis is taken",
    ),
    "pads of pooling": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[3], strides=[2], pads=[1, 1])],
        {},
        "no steps of zero",
    ),
    "windows that are not whole": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2], strides=[2], ceil_mode=1)],
        {},
        "ceil_mode",
    ),
    "gaps": ([node("MaxPool", ["x"], ["y"], kernel_shape=[2], dilations=[2])], {}, "gaps"),
    "features added": ([node("Pad", ["x", "p"], ["y"])], {"p": np.array([0, 1, 0, 0, 0, 0])}, "holds no steps"),
    "steps mirrored": (
        [node("Pad", ["x", "p"], ["y"], mode="symmetric")],
        {"p": np.array([0, 0, 1, 0, 0, 0])},
        "mode is 'symmetric'",
    ),
    "steps without end": (
        [node("Pad", ["x", "p", "inf"], ["y"])],
        {"p": np.array([0, 0, 1, 0, 0, 0]), "inf": np.float32(np.inf)},
        "one finite number",
    ),
    "linear": (
        [node("Resize", ["x", "", "s"], ["y"], mode="linear")],
        {"s": np.array([1, 1, 2], np.float32)},
        "a layer repeats steps",
    ),
    "sizes of other features": (
        [node("Resize", ["x", "", "", "n"], ["y"], coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
        {"n": np.array([B, 2 * C, 2 * T])},
        "expected other steps alone",
    ),
    "zeros that count, of the operator's own": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[3], auto_pad="SAME_UPPER", count_include_pad=1)],
        {},
        "zeros that count",
    ),
    "more steps added than a window has": (
        [node("AveragePool", ["x"], ["y"], kernel_shape=[2], pads=[2, 0], count_include_pad=1)],
        {},
        "nothing else of",
    ),
    "padding that may be less than nothing": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2], strides=[3], auto_pad="SAME_UPPER")],
        {},
        "runtimes differ",
    ),
    "more steps added behind than strides": (
        [node("ConvTranspose", ["x", "w"], ["y"], dilations=[2], output_padding=[1])],
        {"w": f32(C, 4, 3)},
        "output_padding is",
    ),
    "a number of more axes": (
        [node("Min", ["x", "n"], ["y"])],
        {"n": f32(1, 1, 1, 1)},
        "expected a tensor that the model computes, or a number",
    ),
    "time of any size": (
        [node("MaxPool", ["x"], ["p"], kernel_shape=[2]), node("Flatten", ["p"], ["y"])],
        {},
        "puts time steps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layer_does_is_refused_by_name(name: str, tmp_path: Path) -> None:
    nodes, constants, message = REFUSED[name]
    onnx.save(model_of(nodes, X, ["y"], constants, infer=False), tmp_path / "m.onnx")
    with pytest.raises(LoadError, match=message) as found:
        rekur.onnx.load(tmp_path / "m.onnx")
    assert "'y'" in str(found.value)


def test_lengths_of_rows_that_a_convolution_would_not_see_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    weights = recurrent_weights(rng, "GRU", 4, 5)
    made = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
        node("Transpose", ["c"], ["s"], perm=[2, 0, 1]),
        node("GRU", ["s", "W", "R", "B", "lens"], ["", "y"], hidden_size=5),
    ]
    model = model_of(made, {**X, "lens": ("int32", ("B",))}, ["y"], {"w": W, **weights})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(LoadError, match="Conv node 'c': looks along time where rows have lengths"):
        rekur.onnx.load(tmp_path / "m.onnx")


@pytest.mark.parametrize("where", [2, 3])
@pytest.mark.parametrize("padding", ["VALID", "SAME_UPPER", "NOTSET"])
def test_layers_of_one_axis_written_over_two(
    where: int, padding: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    """As tf2onnx has Conv1D, a pooling and a bias before an LSTM: an axis of size 1 comes and goes."""

    def both(along: int, one: int) -> list[int]:
        return [one, along] if where == 2 else [along, one]

    how = {"auto_pad": padding} if padding != "NOTSET" else {"pads": [0, 1, 0, 1] if where == 2 else [1, 0, 1, 0]}
    perm = [0, 3, 1, 2] if where == 2 else [0, 3, 2, 1]
    nodes = [
        node("Unsqueeze", ["x", "one"], ["u"]),
        node("Transpose", ["u"], ["t"], perm=perm),
        node("Conv", ["t", "k"], ["c"], kernel_shape=both(3, 1), strides=both(1, 1), dilations=both(1, 1), **how),
        node("Add", ["c", "bias"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("MaxPool", ["e"], ["f"], kernel_shape=both(2, 1), strides=both(2, 1)),
        node("Transpose", ["f"], ["g"], perm=[0, 2, 3, 1] if where == 2 else [0, 3, 2, 1]),
        node("Squeeze", ["g", "one"], ["h"]),
        node("Transpose", ["h"], ["s"], perm=[1, 0, 2]),
        node("LSTM", ["s", "W", "R", "B"], ["", "Y_h"], hidden_size=5),
        node("Squeeze", ["Y_h", "zero"], ["y"]),
    ]
    held = {**recurrent_weights(rng, "LSTM", 4, 5), "one": np.array([1]), "zero": np.array([0])}
    held |= {"k": floats(rng, 4, 3, *both(3, 1)), "bias": floats(rng, 1, 4, 1, 1)}
    model = model_of(nodes, {"x": ("B", "T", 3)}, ["y"], held)
    for steps in (6, 9):
        assert_as_onnxruntime(model, {"x": floats(rng, 2, steps, 3)})
    onnx.save(model, tmp_path / "m.onnx")
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    assert "Conv1D" in {layer["type"] for layer in loaded.spec["layers"]}
    rekur.onnx.export(loaded, tmp_path / "again.onnx")


def test_a_convolution_over_two_axes_is_refused(rng: np.random.Generator) -> None:
    held = {"k": floats(rng, 4, 1, 2, 2), "one": np.array([1])}
    nodes = [node("Unsqueeze", ["x", "one"], ["u"]), node("Conv", ["u", "k"], ["y"], name="c")]
    with pytest.raises(LoadError, match="Conv node 'c': works over two axes"):
        rekur.onnx.backend.prepare(model_of(nodes, {"x": ("B", 6, 3)}, ["y"], held))
