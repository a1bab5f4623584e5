"""ONNX import: damaged and hostile files are refused within a second, by name; nothing outside the folder is opened."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnx_graphs
import rekur.onnx
from onnx_graphs import recurrent_weights
from rekur.onnx import LoadError
from rekur.onnx._import.ops import RULES

pytestmark = pytest.mark.usefixtures("by_nodes")

ABSURD = 2**40
# onnx's own shape inference would run out of memory on some of these
model_of = functools.partial(onnx_graphs.model_of, infer=False)


def lstm_model(**changes: np.ndarray) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "h"], name="cell", hidden_size=4),
        helper.make_node("Squeeze", ["h", "zero"], ["last"], name="squeeze"),
        helper.make_node("Gemm", ["last", "kernel", "bias"], ["y"], name="fc"),
    ]
    constants = {
        **recurrent_weights(rng, "LSTM", 3, 4),
        "zero": np.array([0]),
        "kernel": np.ones((4, 2), np.float32),
        "bias": np.zeros(2, np.float32),
        **changes,
    }
    return model_of(nodes, {"x": ("T", "B", 3)}, ["y"], constants)


def refuse(path: Path, model: onnx.ModelProto | bytes, message: str) -> None:
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    start = time.process_time()
    with pytest.raises(LoadError, match=message):
        rekur.onnx.load(path)
    assert time.process_time() - start < 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_the_file_that_the_others_spoil_is_good(path: Path) -> None:
    onnx.save(lstm_model(), path)
    assert rekur.onnx.load(path).predict(np.zeros((2, 5, 3), np.float32)).shape == (2, 2)


def test_truncated_and_garbled_files_never_crash(path: Path) -> None:
    """Whatever a damaged file still says, it loads or is refused as LoadError."""
    data, rng, refused = lstm_model().SerializeToString(), random.Random(1), 0
    start = time.process_time()
    for trial in range(300):
        bad = bytearray(data[: rng.randrange(len(data))] if trial % 3 == 0 else data)
        for _ in range(trial % 3 * 4):
            bad[rng.randrange(min(len(bad), 400))] = rng.randrange(256)
        path.write_bytes(bytes(bad))
        try:
            rekur.onnx.load(path)
        except LoadError:
            refused += 1
    assert refused > 200
    assert time.process_time() - start < 20


def mutated(model: onnx.ModelProto, rng: random.Random) -> onnx.ModelProto:
    """One thing changed that leaves it a protobuf message."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    node = rng.choice(graph.node)
    names = [name for n in graph.node for name in n.output] + [tensor.name for tensor in graph.initializer]
    number = rng.choice([-(2**63), -2, -1, 0, 1, 2, 3, 7, 2**31, 2**62])
    match rng.randrange(7):
        case 0:
            node.input[rng.randrange(len(node.input))] = rng.choice([*names, "x", ""])
        case 1:
            node.op_type = rng.choice(list(RULES))
        case 2:
            del node.input[rng.randrange(len(node.input)) :]
        case 3:
            node.input.append(rng.choice(names))
        case 4:
            entry = graph.node[0].attribute[0]
            entry.i, entry.f = number, float(number)
            entry.type = rng.choice([1, 2, 3, 4, 6, 7, 8])
        case 5:
            rng.choice(graph.input[0].type.tensor_type.shape.dim).dim_value = number
        case 6:
            tensor = rng.choice(graph.initializer)
            array = numpy_helper.to_array(tensor).copy().reshape(-1)
            if array.dtype == np.int64:
                array[0] = number
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return result


def test_changed_graphs_never_crash(path: Path) -> None:
    """A changed graph loads as what it now says, or is refused as LoadError."""
    rng, refused = random.Random(2), 0
    start = time.process_time()
    for _ in range(600):
        path.write_bytes(mutated(lstm_model(), rng).SerializeToString())
        try:
            rekur.onnx.load(path)
        except LoadError:
            refused += 1
    assert 300 < refused < 600
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"junk" * 50, b"\xff" * 1000], ids=["empty", "zeros", "junk", "ff"]
)
def test_files_that_are_no_models(path: Path, data: bytes) -> None:
    refuse(path, data, "is not an ONNX model")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rekur.onnx.load(tmp_path / "nowhere.onnx")
    with pytest.raises((LoadError, IsADirectoryError)):
        rekur.onnx.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadError, match="no regular file"):
        rekur.onnx.load(tmp_path / "pipe")


def test_a_file_beyond_two_gigabytes_is_not_read(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(3 * 2**30)  # sparse
    start = time.process_time()
    with pytest.raises(LoadError, match="at most"):
        rekur.onnx.load(path)
    assert time.process_time() - start < 1


# The graph.


def edited(edit: Callable[[onnx.GraphProto], object]) -> onnx.ModelProto:
    model = lstm_model()
    edit(model.graph)
    return model


def _rename(graph: onnx.GraphProto, node: int, index: int, name: str) -> None:
    graph.node[node].input[index] = name


def _drop(graph: onnx.GraphProto, name: str) -> None:
    kept = [tensor for tensor in graph.initializer if tensor.name != name]
    del graph.initializer[:]
    graph.initializer.extend(kept)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda g: _rename(g, 2, 0, "y"), "Gemm node 'fc': its input 'y' depends on the node itself"),
        (lambda g: _rename(g, 0, 0, "last"), "LSTM node 'cell': its input 'last'|depends on the node itself"),
        (lambda g: _rename(g, 2, 0, "nowhere"), "Gemm node 'fc': its input 'nowhere' is made by no node"),
        (lambda g: _drop(g, "R"), "LSTM node 'cell': its input 'R' is made by no node and is no initialiser"),
        (lambda g: g.initializer.append(g.initializer[0]), "initialiser 'W' is there twice"),
        (lambda g: g.input.append(g.input[0]), "graph input 'x' is there twice"),
        (lambda g: g.output.append(g.output[0]), "graph output 'y' is there twice"),
        (lambda g: g.node.append(g.node[2]), "its output 'y' is made elsewhere too"),
        (lambda g: g.output.add(name="z"), "graph output 'z' is made by no node"),
        (lambda g: setattr(g.node[2], "op_type", "Bernoulli"), "Bernoulli node 'fc': this operator is not understood"),
        (lambda g: setattr(g.node[2], "op_type", ""), "nameless node 'fc': this operator is not understood"),
        (lambda g: setattr(g.node[2], "domain", "com.x"), "Gemm node 'fc': operators of the domain 'com.x'"),
        (lambda g: g.node[2].attribute.append(helper.make_attribute("odd", 1)), "'fc': attribute 'odd' is not under"),
        (lambda g: g.node[0].attribute.append(g.node[0].attribute[0]), "attribute 'hidden_size' is given twice"),
        (lambda g: g.node[0].attribute.append(helper.make_attribute("direction", b"\xff")), "is no text"),
        (
            lambda g: g.node[0].attribute.append(helper.make_attribute("direction", 7)),
            "'direction' is 7; expected text",
        ),
        (
            lambda g: g.node[2].attribute.append(helper.make_attribute("transB", [1, 0])),
            r"'transB' is \[1, 0\]; expected",
        ),
        (lambda g: g.node[0].attribute.append(helper.make_attribute("clip", -1.0)), "'cell': clip is -1"),
        (lambda g: g.node[0].attribute.append(helper.make_attribute("layout", 7)), "'cell': layout 7"),
        (lambda g: g.node[0].attribute.append(helper.make_attribute("direction", "up")), "'cell': direction 'up'"),
        (lambda g: g.node[0].attribute.append(helper.make_attribute("activations", ["Tanh"])), "1 activations"),
        (lambda g: setattr(g.node[0].attribute[0], "i", ABSURD), f"hidden_size is {ABSURD}, R has 4"),
        (lambda g: g.ClearField("output"), "no graph with outputs"),
        (lambda g: g.input[0].type.tensor_type.ClearField("shape"), "graph input 'x' has no shape"),
        (lambda g: setattr(g.input[0].type.tensor_type, "elem_type", TensorProto.DOUBLE), "'x': element type 11"),
        (lambda g: setattr(g.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT16), "'x': element type 10"),
        (lambda g: setattr(g.input[0].type.tensor_type.shape.dim[0], "dim_value", -4), "'x': a dimension of -4"),
        (lambda g: setattr(g.input[0].type.tensor_type.shape.dim[2], "dim_value", ABSURD), "'x': a dimension of"),
        (lambda g: setattr(g.input[0].type.tensor_type.shape.dim[2], "dim_value", 5), r"W has shape \(1, 16, 3\)"),
    ],
)
def test_graphs_that_make_no_sense(edit: Callable[[onnx.GraphProto], object], message: str, path: Path) -> None:
    refuse(path, edited(edit), message)


def test_a_model_without_an_opset(path: Path) -> None:
    model = lstm_model()
    del model.opset_import[:]
    refuse(path, model, "opsets")


def test_more_nodes_than_anybody_writes(path: Path) -> None:
    nodes = [helper.make_node("Relu", [f"t{k}"], [f"t{k + 1}"]) for k in range(20000)]
    refuse(path, model_of(nodes, {"t0": ("B", 3)}, ["t20000"]), "20,000 nodes")


def test_a_cycle_of_many_nodes(path: Path) -> None:
    nodes = [helper.make_node("Relu", [f"t{(k or 4000) - 1}"], [f"t{k}"]) for k in range(4000)]
    refuse(path, model_of(nodes, {"x": ("B", 3)}, ["t7"]), "depends on the node itself")


# Tensors.


def spoiled(name: str, edit: Callable[[onnx.TensorProto], object]) -> onnx.ModelProto:
    model = lstm_model()
    (tensor,) = [t for t in model.graph.initializer if t.name == name]
    edit(tensor)
    return model


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.dims.__setitem__(1, ABSURD), "initialiser 'W': .* beyond all bounds"),
        (lambda t: t.dims.__setitem__(1, -16), "initialiser 'W': a negative dimension"),
        (lambda t: t.dims.__setitem__(1, 17), "initialiser 'W': 192 bytes for 51 elements"),
        (lambda t: t.dims.extend([1] * 40), "initialiser 'W': .* beyond all bounds"),
        (lambda t: t.dims.append(1), r"'cell': W has shape \(1, 16, 3, 1\)"),
        (lambda t: t.dims.append(0), "initialiser 'W': 192 bytes for 0 elements"),
        (lambda t: setattr(t, "raw_data", t.raw_data[:-1]), "initialiser 'W': 191 bytes for 48 elements"),
        (lambda t: t.ClearField("raw_data"), "initialiser 'W': 0 values for"),
        (lambda t: setattr(t, "data_type", 77), "initialiser 'W': elements of type 77"),
        (lambda t: setattr(t, "data_type", TensorProto.STRING), "initialiser 'W': elements of type 8"),
        (lambda t: setattr(t, "data_type", TensorProto.INT32), "'cell': W is of int32; expected float32"),
    ],
)
def test_tensors_that_are_not_what_they_say(
    edit: Callable[[onnx.TensorProto], object], message: str, path: Path
) -> None:
    refuse(path, spoiled("W", edit), message)


def test_weights_of_other_types_are_named(path: Path) -> None:
    for dtype in (np.float16, np.float64):
        weights = recurrent_weights(np.random.default_rng(0), "LSTM", 3, 4)
        refuse(path, lstm_model(R=weights["R"].astype(dtype)), f"'cell': R is of {np.dtype(dtype)}; expected float32")


@pytest.mark.parametrize(
    "nodes",
    [
        [("ConstantOfShape", ["huge"], ["c"])],
        [("Expand", ["one", "huge"], ["c"])],
        [("Range", ["n0", "n40", "n1"], ["c"])],
        [("Concat", [f"c{k}" if k else "one"] * 2, [f"c{k + 1}" if k < 39 else "c"], {"axis": 0}) for k in range(40)],
        [("Add", ["column", "row"], ["c"])],
        [("Mul", [f"s{k}" if k else "n40"] * 2, [f"s{k + 1}" if k < 39 else "c"]) for k in range(40)],
    ],
    ids=["ConstantOfShape", "Expand", "Range", "Concat", "broadcast", "integers"],
)
def test_constants_that_would_grow_beyond_bounds(nodes: list[tuple], path: Path) -> None:
    made = [
        helper.make_node(op, inputs, outputs, **(extra[0] if extra else {})) for op, inputs, outputs, *extra in nodes
    ]
    made.append(helper.make_node("MatMul", ["x", "c"], ["y"], name="product"))
    constants = {
        "huge": np.array([ABSURD, ABSURD]),
        "one": np.ones(1, np.float32),
        "column": np.ones((30000, 1), np.float32),
        "row": np.ones((1, 30000), np.float32),
        **{name: np.array(value) for name, value in (("n0", 0), ("n1", 1), ("n40", ABSURD))},
    }
    refuse(path, model_of(made, {"x": ("B", 3)}, ["y"], constants), "node")


@pytest.mark.parametrize("axis", [1, 0], ids=["features", "parts"])
def test_tensors_that_would_double_forever(axis: int, path: Path) -> None:
    nodes = [helper.make_node("Unsqueeze", ["x", "zero"], ["t0"])] if axis == 0 else []
    first = "t0" if axis == 0 else "x"
    nodes += [helper.make_node("Concat", [f"t{k}" if k else first] * 2, [f"t{k + 1}"], axis=axis) for k in range(60)]
    refuse(path, model_of(nodes, {"x": ("B", 3)}, ["t60"], {"zero": np.array([0])}), "Concat node")


def test_layers_that_would_multiply_forever(path: Path) -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["u"]),
        helper.make_node("Concat", ["u"] * 1000, ["t0"], axis=0),
    ]
    nodes += [helper.make_node("Relu", [f"t{k}"], [f"t{k + 1}"]) for k in range(100)]
    refuse(path, model_of(nodes, {"x": ("B", 3)}, ["t100"], {"zero": np.array([0])}), "more than 10,000 layers")


def test_weights_that_every_node_would_copy(path: Path) -> None:
    nodes = []
    for k in range(1000):
        nodes.append(helper.make_node("GRU", [f"s{k}", "W", "R"], [f"y{k}"]))
        nodes.append(helper.make_node("Squeeze", [f"y{k}", "one"], [f"s{k + 1}"]))
    weights = recurrent_weights(np.random.default_rng(0), "GRU", 300, 300)
    constants = {"W": weights["W"], "R": weights["R"], "one": np.array([1])}
    refuse(path, model_of(nodes, {"s0": ("T", "B", 300)}, ["s1000"], constants), "beyond what the file's own data")


def test_sizes_that_would_multiply_forever(path: Path) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    nodes += [helper.make_node("Mul", [f"s{k}"] * 2, [f"s{k + 1}"]) for k in range(60)]
    nodes += [helper.make_node("Reshape", ["x", "s60"], ["y"])]
    refuse(path, model_of(nodes, {"x": ("B", "T", 3)}, ["y"]), "Mul node .*beyond all bounds")


BEYOND = 2**62
KERNEL = np.ones((4, 6, 3), np.float32)
FLOORS = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
ODD: list[tuple[str, list[object], dict[str, object]]] = [  # operator, what it reads behind x, attributes
    ("Conv", [KERNEL], {"pads": [-1, 1]}),
    ("Conv", [KERNEL], {"pads": [BEYOND, BEYOND]}),
    ("Conv", [KERNEL], {"group": 0}),
    ("Conv", [KERNEL], {"group": BEYOND}),
    ("Conv", [KERNEL], {"kernel_shape": [5]}),
    ("Conv", [KERNEL], {"dilations": [BEYOND], "auto_pad": "SAME_UPPER"}),
    ("Conv", [KERNEL[:, :, :0]], {}),
    ("ConvTranspose", [np.ones((6, 4, 3), np.float32)], {"strides": [BEYOND]}),
    ("ConvTranspose", [np.ones((6, 4, 3), np.float32)], {"output_padding": [BEYOND]}),
    ("MaxPool", [], {"kernel_shape": [BEYOND]}),
    ("AveragePool", [], {"kernel_shape": [3], "pads": [BEYOND, BEYOND], "count_include_pad": 1}),
    *[
        ("Resize", [None, np.array([1, 1, scale], np.float32)], FLOORS)
        for scale in (np.nan, np.inf, -np.inf, 0, -1, 1.5, 1e30)
    ],
    ("Resize", [None, np.ones(2, np.float32)], FLOORS),
    ("Resize", [None, None, np.array([3, 6])], FLOORS),
    ("Resize", [None, None, np.array([3, 6, BEYOND])], FLOORS),
    ("Pad", [np.array([0, 0, BEYOND, 0, 0, 0])], {}),
    ("Pad", [np.array([0, 0, -BEYOND, 0, 0, 0])], {}),
    ("Pad", [np.zeros((2, 3), np.int64)], {}),
    ("Pad", [np.array(1)], {}),
    ("Pad", [np.array([0, 0, 1, 0, 0, 0]), np.zeros(2, np.float32)], {}),
    ("Tile", [np.array([1, 1, BEYOND])], {}),
    ("Tile", [np.array([1, 1])], {}),
    ("Softmax", [], {"axis": 3}),
    ("Softmax", [], {"axis": -BEYOND}),
    ("PRelu", [np.ones((1, 1, 1, 1), np.float32)], {}),
    ("ReduceMax", [], {"axes": [BEYOND]}),
    ("BatchNormalization", [np.ones(6, np.float32)] * 4, {"epsilon": float("inf")}),
]


@pytest.mark.parametrize("time", ["T", 11])
@pytest.mark.parametrize(("op", "read", "attributes"), ODD, ids=[f"{k}-{op}" for k, (op, *_) in enumerate(ODD)])
def test_numbers_that_no_layer_takes_are_refused_by_node(
    op: str, read: list, attributes: dict, time: str | int, path: Path
) -> None:
    constants = {f"c{k}": array for k, array in enumerate(read) if array is not None}
    names = [f"c{k}" if f"c{k}" in constants else "" for k in range(len(read))]
    node = helper.make_node(op, ["x", *names], ["y"], name="odd", **attributes)
    refuse(path, model_of([node], {"x": ("B", 6, time)}, ["y"], constants), "node 'odd'")


@pytest.mark.parametrize("count", [0, -1, BEYOND])
def test_rows_repeated_so_often_are_refused_by_node(count: int, path: Path) -> None:
    nodes = [
        helper.make_node("GlobalMaxPool", ["x"], ["g"]),
        helper.make_node("Tile", ["g", "n"], ["y"], name="odd"),
    ]
    model = model_of(nodes, {"x": ("B", 6, "T")}, ["y"], {"n": np.array([1, 1, count])})
    refuse(path, model, "Tile node 'odd'")


def test_heads_of_more_features_than_the_file_has_weights_for(path: Path) -> None:
    """Their projections would be identities of (features, features)."""
    F = 2**20
    nodes = [
        helper.make_node("Reshape", ["x", "heads"], ["h"]),
        helper.make_node("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["q", "k"], ["s"]),
        helper.make_node("Softmax", ["s"], ["w"]),
        helper.make_node("MatMul", ["w", "q"], ["y"], name="sum"),
    ]
    model = model_of(nodes, {"x": ("B", "T", F)}, ["y"], {"heads": np.array([0, 0, 2, F // 2])})
    refuse(path, model, "MatMul node 'sum': .*beyond what the file's own data")


# External data.


def external_model(location: str, **entries: str) -> onnx.ModelProto:
    model = lstm_model()
    (tensor,) = [t for t in model.graph.initializer if t.name == "W"]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return model


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths given to open."""
    seen: list[str] = []
    real = os.open

    def spy(path, *args, **kwargs):  # type: ignore[no-untyped-def]
        seen.append(os.fspath(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", spy)
    return seen


@pytest.mark.parametrize(
    "location", ["../secret", "sub/../../secret", "/etc/hostname", "link", "sub/link", "linked/w", ""]
)
def test_external_data_outside_the_folder_is_not_opened(location: str, tmp_path: Path, opened: list[str]) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for secret in (tmp_path / "secret", tmp_path / "elsewhere" / "w"):
        secret.write_bytes(b"\0" * 192)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "sub" / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    refuse(folder / "m.onnx", external_model(location), "initialiser 'W': external data at .*(outside|link)")
    assert not {"secret", "hostname", "link", "linked", "w"} & {Path(name).name for name in opened}


@pytest.mark.parametrize(
    ("entries", "size", "message"),
    [
        ({}, 191, "would end at byte 192 of 191"),
        ({"offset": "1"}, 192, "would end at byte 193 of 192"),
        ({"offset": "-1"}, 192, "192 bytes of external data at -1"),
        ({"length": "191"}, 192, "191 bytes of external data at 0 for 192"),
        ({"offset": "x"}, 192, "are no numbers"),
        ({"offset": str(2**70)}, 192, "would end at byte"),
        ({}, None, "No such file"),
    ],
)
def test_external_data_that_is_not_there(
    entries: dict[str, str], size: int | None, message: str, tmp_path: Path
) -> None:
    if size is not None:
        (tmp_path / "w.bin").write_bytes(b"\0" * size)
    refuse(tmp_path / "m.onnx", external_model("w.bin", **entries), message)


def test_external_data_that_is_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.bin")
    refuse(tmp_path / "m.onnx", external_model("w.bin"), "no regular file")


def test_external_data_inside_is_read(tmp_path: Path) -> None:
    good = lstm_model()
    (weights,) = [numpy_helper.to_array(t) for t in good.graph.initializer if t.name == "W"]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\0" * 8 + weights.tobytes())
    onnx.save(good, tmp_path / "good.onnx")
    (tmp_path / "m.onnx").write_bytes(external_model("sub/w.bin", offset="8").SerializeToString())
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    expected = rekur.onnx.load(tmp_path / "good.onnx").predict(x)
    np.testing.assert_array_equal(rekur.onnx.load(tmp_path / "m.onnx").predict(x), expected)
