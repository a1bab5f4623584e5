"""Models with layers of eight bits as ONNX files, and such files as models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import rekur.onnx
from rekur import layers
from rekur.onnx import _int8, _verify
from rekur.onnx._overflow import products_overflow

if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 17):
    pytest.skip("rekur asks for onnxruntime 1.17", allow_module_level=True)

Array = NDArray[Any]
exact_products = pytest.mark.skipif(products_overflow(), reason="onnxruntime's products of eight bits overflow here")
INTEGERS = pytest.param(True, id="integers", marks=exact_products)
SEQUENCE = {"input_shape": (None, 20)}


def stacks() -> dict[str, Callable[[], list[layers.Layer]]]:
    """Layers with products of eight bits, and some that are small."""
    narrow: dict[str, Any] = {"precision": "int8"}
    every: dict[str, Any] = {**narrow, "return_sequences": True}
    return {
        "LSTM": lambda: [layers.LSTM(67, **every, **SEQUENCE), layers.Dense(65, activation="tanh", **narrow)],
        "last": lambda: [layers.LSTM(65, **narrow, **SEQUENCE), layers.Dense(3, **narrow)],
        "peepholes": lambda: [layers.LSTM(65, peepholes=True, clip=2.0, **every, **SEQUENCE)],
        "coupled": lambda: [layers.LSTM(80, coupled_gates=True, **every, **SEQUENCE)],
        "small input": lambda: [layers.LSTM(65, input_shape=(None, 5), **every)],
        "GRU": lambda: [layers.GRU(71, **every, **SEQUENCE), layers.Dense(64, use_bias=False, **narrow)],
        "GRU before": lambda: [layers.GRU(71, reset_after=False, **every, **SEQUENCE)],
        "SimpleRNN": lambda: [layers.SimpleRNN(210, **every, **SEQUENCE)],
        "both ways": lambda: [layers.Bidirectional(layers.LSTM(61, **every), **SEQUENCE)],
        "program": lambda: [layers.RNN(rekur.cells.light_gru, 105, **every, **SEQUENCE)],
        "both programs": lambda: [layers.Bidirectional(layers.RNN(rekur.cells.light_gru, 105, **every), **SEQUENCE)],
        "normalised": lambda: [layers.LSTM(65, layer_normalization="sums", **every, **SEQUENCE)],
        "projection": lambda: [layers.LSTM(96, projection_size=48, **every, **SEQUENCE)],
        "convolution": lambda: [
            layers.Conv1D(66, 5, padding="causal", **narrow, **SEQUENCE),
            layers.Conv1D(130, 3, groups=2, activation="relu", padding="causal", **narrow),
        ],
        "embedding": lambda: [layers.Embedding(300, 24, input_shape=(None,), **narrow), layers.GRU(65, **every)],
    }


def model_of(name: str) -> rekur.Model:
    model = rekur.Sequential(stacks()[name](), seed=1)
    rng = np.random.default_rng(3)
    model.set_weights([w + 0.1 * rng.standard_normal(w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def input_of(name: str, rng: np.random.Generator) -> Array:
    if name == "embedding":
        return rng.integers(0, 300, (3, 9)).astype(np.int32)
    return rng.standard_normal((3, 9, 5 if name == "small input" else 20)).astype(np.float32)


def arrays(path: Path) -> dict[str, Array]:
    return {i.name: numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def assert_same_weights(loaded: rekur.Model, model: rekur.Model) -> None:
    """Those of eight bits are what they were rounded to."""
    narrow, theirs = set(_int8.matrices(model.spec)), loaded.named_weights()
    for name, array in _int8.round_matrices(model.named_weights(), frozenset(narrow)).items():
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)


@pytest.mark.parametrize("integers", [pytest.param(False, id="weights"), INTEGERS])
@pytest.mark.parametrize("name", list(stacks()))
def test_a_file_has_the_engines_integers_and_comes_back(
    name: str, integers: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    model, path = model_of(name), tmp_path / "m.onnx"
    report = rekur.onnx.export(model, path, integers=integers)
    assert report.verification is not None
    for output in report.verification.outputs:
        assert output.rounding is not None and output.rounding > 1e-5
        assert output.rounding < 0.5 or "program" in name or name == "convolution"  # whose outputs have no bound
        if not integers:
            assert output.difference <= output.allowed < 1e-3
    assert "with its products rounded the engine itself is up to" in str(report)
    stored, narrow = arrays(path), _int8.matrices(model.spec)
    count = sum(array.size for array in stored.values() if array.dtype == np.int8)
    zeros = sum(array.size for key, array in stored.items() if key.endswith("zero_point"))
    wanted = sum(array.size for key, array in model.named_weights().items() if key in narrow)
    blocks = 4 / 3 if name == "coupled" else 1  # the gate that nothing reads has rows of zeros
    assert wanted and count - zeros == round(wanted * blocks)
    # Whatever their order is there, a file's integers and scales are those of the engine's columns.
    numbers, scales = model._engine().int8_weights()
    ours = np.bincount(numbers.astype(np.int64) + 128, minlength=256)
    theirs = [array.reshape(-1) for key, array in stored.items() if key.endswith("/int8")]
    found = np.bincount(np.concatenate(theirs).astype(np.int64) + 128, minlength=256)
    found[128] -= count - zeros - wanted  # what the gate that nothing reads has
    np.testing.assert_array_equal(found, ours)
    there = np.concatenate([array.reshape(-1) for key, array in stored.items() if key.endswith("/scale")])
    np.testing.assert_array_equal(np.sort(there[there > 0]), np.sort(scales))

    loaded = rekur.onnx.load(path)
    assert_same_weights(loaded, model)
    assert loaded.spec["layers"] == model.spec["layers"]
    x = input_of(name, rng)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    # Node by node, without what the file says of itself.
    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    if name not in ("convolution", "normalised", "projection"):  # these come back as other layers
        read = rekur.onnx.load(path)
        np.testing.assert_array_equal(read.predict(x, verbose=0), model.predict(x, verbose=0))


def test_operators_on_integers_stand_where_there_are_such(tmp_path: Path) -> None:
    path, verify = tmp_path / "m.onnx", not products_overflow()
    for name, wanted in {
        "LSTM": ["DynamicQuantizeLSTM", "MatMulInteger"],
        "both ways": ["DynamicQuantizeLSTM"],
        "small input": ["LSTM"],  # of its two products one is of eight bits, and the operator has both
        "GRU": ["GRU", "MatMulInteger"],
    }.items():
        rekur.onnx.export(model_of(name), path, integers=True, verify=verify)
        assert set(wanted) <= set(ops(path)), name
        rekur.onnx.export(model_of(name), path)
        assert not {"DynamicQuantizeLSTM", "MatMulInteger"} & set(ops(path))
    with pytest.raises(ValueError, match="integers=True: the model has no layer whose products are of eight bits"):
        rekur.onnx.export(rekur.Sequential([layers.LSTM(4, **SEQUENCE)]), path, integers=True)


@pytest.mark.parametrize("integers", [pytest.param(False, id="weights"), INTEGERS])
@pytest.mark.parametrize("option", ["lengths", "masks", "streaming", "states"])
@pytest.mark.parametrize("name", ["LSTM", "GRU", "program", "last"])
def test_options_of_files(name: str, option: str, integers: bool, tmp_path: Path) -> None:
    model, path = model_of(name), tmp_path / "m.onnx"
    options: dict[str, Any] = {option: True, "integers": integers}
    rekur.onnx.export(model, path, **options)
    rekur.onnx.verify(model, path)
    loaded = rekur.onnx.load(path) if option != "masks" else model
    if option != "states":
        assert "int8" in str(loaded.spec)


def test_verify_says_that_products_overflow_where_they_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(model_of("LSTM"), path, integers=True, verify=False)
    other = model_of("LSTM")
    other.set_weights([-w for w in other.get_weights()])
    for overflow in (False, True):
        monkeypatch.setattr(_verify, "products_overflow", lambda overflow=overflow: overflow)
        with pytest.raises(rekur.onnx.VerificationError, match="disagree") as raised:
            rekur.onnx.verify(other, path)
        assert ("write a file of integers=False" in str(raised.value)) == overflow
    rekur.onnx.export(model_of("LSTM"), path)
    with pytest.raises(rekur.onnx.VerificationError, match="disagree") as raised:
        rekur.onnx.verify(other, path)
    assert "overflow (" not in str(raised.value)


@pytest.mark.skipif(not products_overflow(), reason="onnxruntime's products of eight bits are exact here")
def test_a_file_of_integers_is_refused_where_products_overflow(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(rekur.onnx.VerificationError, match=r"x86 without VNNI .* integers=False, which runs here"):
        rekur.onnx.export(model_of("LSTM"), path, integers=True)
    assert not path.exists()


def test_verify_finds_a_weight_that_is_not_ours(tmp_path: Path) -> None:
    model, path = model_of("LSTM"), tmp_path / "m.onnx"
    for integers in (False, True):
        rekur.onnx.export(model, path, integers=integers, verify=not (integers and products_overflow()))
        proto = onnx.load(path)
        for tensor in proto.graph.initializer:
            if tensor.name == "lstm/R/int8":
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        onnx.save(proto, path)
        with pytest.raises(rekur.onnx.VerificationError, match="disagree beyond the tolerance"):
            rekur.onnx.verify(model, path)


@pytest.mark.parametrize("reduce_range", [False, True], ids=["8 bits", "7 bits"])
@pytest.mark.parametrize("weights_only", [False, True], ids=["integers", "weights"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_files_of_quantize_load_as_models_of_eight_bits(
    kind: str, weights_only: bool, reduce_range: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    stack = [getattr(layers, kind)(130, return_sequences=True, input_shape=(None, 40)), layers.Dense(65)]
    model = rekur.Sequential(stack, seed=1)
    source, path = tmp_path / "m.onnx", tmp_path / "q.onnx"
    rekur.onnx.export(model, source)
    rekur.onnx.quantize(source, path, weights_only=weights_only, reduce_range=reduce_range, seconds=0)
    loaded = rekur.onnx.load(path)
    assert [layer.get("precision") for layer in loaded.spec["layers"]] == [None, "int8", "int8"]
    x = rng.standard_normal((4, 11, 40)).astype(np.float32)
    expected = onnxruntime.InferenceSession(path).run(None, {model.spec["inputs"][0]: x})[0]
    # Both round activations, the one by rows, the other by arrays.
    exact = rekur.onnx.load(path, precision="float32")
    assert not _int8.has_precision(exact.spec, "int8")
    rounding = np.abs(loaded.predict(x, verbose=0) - exact.predict(x, verbose=0)).max()
    assert 1e-4 < rounding < 0.05
    sums = weights_only or reduce_range or not products_overflow()  # whether the file's are what they should be
    if sums:
        assert np.abs(loaded.predict(x, verbose=0) - expected).max() < 8 * rounding
    if weights_only or (sums and kind != "LSTM"):
        assert np.abs(exact.predict(x, verbose=0) - expected).max() < (1e-5 if weights_only else 0.05)
    integers = [_int8.integers_of(w, (0,))[0] for n, w in loaded.named_weights().items() if n.endswith("kernel")]
    for narrow, wide in zip(
        integers, (w for n, w in exact.named_weights().items() if n.endswith("kernel")), strict=True
    ):
        step = np.abs(wide).max(axis=0) / 127
        assert np.abs(narrow * step - wide).max() <= 0.51 * step.max()


def graph_of(nodes: list[Any], initializers: dict[str, Array], features: int, width: int) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(array, name) for name, array in initializers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_dequantizelinear_of_columns_and_of_a_tensor(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of a Gemm with its weights turned, of a MatMul, with and without zero points."""
    numbers = rng.integers(-127, 128, (70, 60)).astype(np.int8)
    numbers[0] = 127
    step = np.exp(rng.standard_normal(60)).astype(np.float32) / 100
    shifted = (numbers.astype(np.int16) + 128).astype(np.uint8)
    one, zeros = np.array(0.01, np.float32), np.full((), 128, np.uint8)
    cases: list[tuple[list[Any], dict[str, Array], bool]] = [
        (
            [
                helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1),
                helper.make_node("MatMul", ["x", "w"], ["y"]),
            ],
            {"q": numbers, "s": step},
            True,
        ),
        (
            [
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
                helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
            ],
            {"q": numbers.T.copy(), "s": step, "z": np.zeros(60, np.int8), "b": step},
            True,
        ),
        (
            [
                helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
                helper.make_node("MatMul", ["x", "w"], ["y"]),
            ],
            {"q": shifted, "s": one, "z": zeros},
            True,
        ),
        (
            [helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])],
            {"q": np.concatenate([numbers[:-1], np.full((1, 60), -128, np.int8)]), "s": one},
            False,  # -128: float32, and the file's own weights
        ),
    ]
    x = rng.standard_normal((5, 70)).astype(np.float32)
    for nodes, stored, narrow in cases:
        path = tmp_path / "m.onnx"
        onnx.save(graph_of(nodes, stored, 70, 60), path)
        loaded = rekur.onnx.load(path)
        assert _int8.has_precision(loaded.spec, "int8") == narrow
        if narrow:
            kernel = next(w for n, w in loaded.named_weights().items() if n.endswith("kernel"))
            np.testing.assert_array_equal(_int8.integers_of(kernel, (0,))[0], numbers)
        options = onnxruntime.SessionOptions()  # optimised, it rounds activations to eight bits, too
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        expected = onnxruntime.InferenceSession(path, options).run(None, {"x": x})[0]
        exact = rekur.onnx.load(path, precision="float32").predict(x, verbose=0)
        np.testing.assert_allclose(exact, expected, rtol=1e-5, atol=1e-5)
        assert np.abs(loaded.predict(x, verbose=0) - expected).max() < 0.05 * np.abs(expected).max()


def test_what_is_quantised_otherwise_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "m.onnx"
    weights = rng.integers(0, 256, (70, 60)).astype(np.uint8)
    weights[0, 0], weights[0, 1] = 0, 255
    product = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "sa", "za"]),
        helper.make_node("MatMulInteger", ["a", "q", "za", "z"], ["p"], name="product"),
        helper.make_node("Cast", ["p"], ["c"], to=1),
        helper.make_node("Mul", ["sa", "s"], ["both"]),
        helper.make_node("Mul", ["c", "both"], ["y"]),
    ]
    stored = {"q": weights, "s": np.array(0.01, np.float32), "z": np.array(100, np.uint8)}
    onnx.save(graph_of(product, stored, 70, 60), path)
    with pytest.raises(
        ValueError, match=r"MatMulInteger node 'product': .* from -100 to 155; .* -127 to 127: quantise"
    ):
        rekur.onnx.load(path)
    fixed = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["a"], name="fixed"),
        helper.make_node("DequantizeLinear", ["a", "s"], ["b"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    onnx.save(graph_of(fixed, stored, 70, 60), path)
    with pytest.raises(ValueError, match=r"QuantizeLinear node 'fixed': .*load the float32 model"):
        rekur.onnx.load(path)
    with pytest.raises(ValueError, match="load: precision: expected one of float32, got 'int4'"):
        rekur.onnx.load(path, precision="int4")


def test_integers_that_many_nodes_read_do_not_fill_the_memory(tmp_path: Path) -> None:
    numbers = np.ones((2000, 2000), np.int8)
    nodes = [helper.make_node("DequantizeLinear", ["q", "s"], [f"w{k}"]) for k in range(30)]
    nodes += [helper.make_node("MatMul", ["x" if k == 0 else f"y{k}", f"w{k}"], [f"y{k + 1}"]) for k in range(29)]
    nodes.append(helper.make_node("MatMul", ["y29", "w29"], ["y"]))
    path = tmp_path / "m.onnx"
    onnx.save(graph_of(nodes, {"q": numbers, "s": np.array(1, np.float32)}, 2000, 2000), path)
    with pytest.raises(rekur.onnx.LoadError, match="beyond what the file's own data call for"):
        rekur.onnx.load(path)


def mutate(graph: Any, rng: np.random.Generator) -> None:
    """One thing about the nodes or the constants is otherwise."""
    node = graph.node[rng.integers(len(graph.node))]
    tensor = graph.initializer[rng.integers(len(graph.initializer))]
    names = [t.name for t in graph.initializer] + [name for n in graph.node for name in n.output] + [""]
    match rng.integers(7):
        case 0 if node.input:
            del node.input[rng.integers(len(node.input))]
        case 1 if node.input:
            node.input[rng.integers(len(node.input))] = names[rng.integers(len(names))]
        case 2:
            tensor.dims[:] = rng.choice([-1, 0, 1, 2, 1000], rng.integers(4)).tolist()
        case 3:
            tensor.data_type = int(rng.choice([1, 2, 3, 6, 7]))
        case 4:
            tensor.raw_data = rng.bytes(len(tensor.raw_data))
        case 5:
            node.op_type = str(rng.choice([n.op_type for n in graph.node] + ["DequantizeLinear", "MatMulInteger"]))
        case _:
            graph.node.remove(node)


def test_files_that_are_not_what_they_were_are_refused_or_read(tmp_path: Path, rng: np.random.Generator) -> None:
    narrow: dict[str, Any] = {"precision": "int8"}
    stack = [
        layers.Embedding(300, 24, input_shape=(None,), **narrow),
        layers.LSTM(65, return_sequences=True, **narrow),
        layers.GRU(65, **narrow),
        layers.Dense(70, **narrow),
    ]
    model, files = rekur.Sequential(stack, seed=1), []
    for integers in (False, True):
        rekur.onnx.export(model, tmp_path / "m.onnx", integers=integers, verify=False)
        files.append(onnx.load(tmp_path / "m.onnx"))
    refused = 0
    for turn in range(120):
        proto = onnx.ModelProto()
        proto.CopyFrom(files[turn % 2])
        if turn % 3:
            del proto.metadata_props[:]
        for _ in range(rng.integers(1, 3)):
            mutate(proto.graph, rng)
        (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
        try:
            rekur.onnx.load(tmp_path / "x.onnx")
        except ValueError:
            refused += 1
    assert 60 < refused < 120
