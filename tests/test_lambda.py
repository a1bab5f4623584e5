"""Lambda, a layer of equations of one's own: in models, files, streams, ONNX, and as hostile data."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import rekur
from rekur import _core, layers, ops


def gated(values: list[Any]) -> Any:
    return values[0] * ops.sigmoid(values[1])


def small_model() -> rekur.Model:
    x = rekur.Input((None, 3), name="x")
    h = layers.GRU(5, return_sequences=True)(x)
    a, b = layers.Dense(4)(h), layers.Dense(1)(h)
    mixed = layers.Lambda(gated, name="gated")([a, b])
    top, size = layers.Lambda(lambda v: (ops.layer_normalization(v), ops.mean(v * v, -1)), name="two")(mixed)
    return rekur.Model(x, [layers.LSTM(3)(top), size], seed=3)


def test_trains_saves_loads_pickles_and_copies(tmp_path: Path) -> None:
    model = small_model()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16, 6, 3)).astype(np.float32)
    y = [rng.standard_normal((16, 3)).astype(np.float32), rng.standard_normal((16, 6, 1)).astype(np.float32)]
    lengths = rng.integers(0, 7, 16)
    model.compile("adam", "mean_squared_error")
    before = model.evaluate(x, y, lengths=lengths)[0]
    model.fit(x, y, epochs=20, verbose=0, lengths=lengths)
    assert model.evaluate(x, y, lengths=lengths)[0] < before
    model.save(tmp_path / "m.safetensors")
    for other in (rekur.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        for a, b in zip(model.predict(x, lengths=lengths), other.predict(x, lengths=lengths), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("opset", [17, 21])
def test_exports_to_onnx_in_one_piece_and_step_by_step(tmp_path: Path, opset: int) -> None:
    model = small_model()
    report = rekur.onnx.export(model, tmp_path / "m.onnx", opset=opset)
    assert report.largest_difference is not None and report.largest_difference <= 1e-5
    rekur.onnx.export(model, tmp_path / "lengths.onnx", lengths=True, opset=opset)
    rekur.onnx.export(model, tmp_path / "live.onnx", streaming=True, opset=opset)


EVERYTHING = {
    "one": lambda x: (ops.abs(x) + ops.exp(-x) * ops.sin(x) - ops.cos(x)) / (1 + ops.erf(x) ** 2),
    "logs": lambda x: ops.log(1 + x * x) + ops.log1p(x * x) + ops.log1p(1e-4 * x) + ops.sqrt(x * x + 1),
    "choices": lambda x: ops.where(x < 0.2, ops.minimum(x, 1.0), ops.maximum(-x, x * 0.5)) + (x == 1) + (x <= 0),
    "rows": lambda x: ops.softmax(x) + ops.max(x, -1) - ops.min(x, -1) * ops.sum(x, -1),
    "a row's row": lambda x: x - ops.mean(ops.mean(x, -1), -1) + ops.logsumexp(x, axis=-1),
    "activations": lambda x: sum(
        f(x)
        for f in (
            ops.tanh,
            ops.sigmoid,
            ops.relu,
            ops.elu,
            ops.softplus,
            ops.softsign,
            ops.hard_sigmoid,
            ops.leaky_relu,
        )
    ),
    "gelu": lambda x: ops.gelu(x) + ops.gelu(x, approximate=False) + ops.silu(x) + ops.selu(x),
    "nothing": lambda x: x,
    "constants only beside": lambda x: [ops.mean(x, -1) * 2, x],
}


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("features", [1, 6])
def test_every_operation_in_onnxruntime(tmp_path: Path, name: str, features: int, opset: int) -> None:
    x = rekur.Input((None, features), name="x")
    model = rekur.Model(x, layers.Lambda(EVERYTHING[name])(x))
    rekur.onnx.export(model, tmp_path / "m.onnx", opset=opset)
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    data = (3 * np.random.default_rng(0).standard_normal((4, 5, features))).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    expected = model.predict(data)
    for got, right in zip(
        session.run(None, {"x": data}), expected if isinstance(expected, list) else [expected], strict=True
    ):
        np.testing.assert_allclose(got, right, rtol=1e-5, atol=1e-5)


def test_sequential_and_arguments() -> None:
    model = rekur.Sequential([layers.Lambda(lambda x, factor: factor * x, arguments={"factor": 2.5}, input_shape=(4,))])
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(model.predict(x), 2.5 * x)


def test_one_input_in_a_list_is_a_list_to_the_function() -> None:
    x = rekur.Input((4,))
    assert layers.Lambda(lambda values: values[0] * 2)([x]).shape == (None, 4)


def test_is_traced_once() -> None:
    calls = []
    layer = layers.Lambda(lambda x: calls.append(1) or x * 2)
    model = rekur.Model(x := rekur.Input((3,)), layer(x))
    model.predict(np.zeros((2, 3)))
    assert len(calls) == 1


def test_a_function_is_asked_for() -> None:
    with pytest.raises(TypeError, match="Lambda 'lambda': expected a function of a row"):
        layers.Lambda()
    for wrong in (3, "sigmoid"):
        with pytest.raises(TypeError, match=f"Lambda 'lambda': function must be a function of a row, got {wrong!r}"):
            layers.Lambda(wrong)
    with pytest.raises(TypeError, match="arguments must be a dict"):
        layers.Lambda(abs, arguments=3)


def test_another_function_may_be_set_until_the_layer_is_called() -> None:
    layer = layers.Lambda(lambda x: x * 2)
    layer.function = lambda x, by: x * by
    layer.arguments = {"by": 3.0}
    twin = copy.deepcopy(layer)
    x = rekur.Input((2,))
    model = rekur.Model(x, layer(x))
    np.testing.assert_array_equal(model.predict(np.ones((1, 2))), [[3, 3]])
    for name, value in (("function", abs), ("arguments", {}), ("equations", {})):
        with pytest.raises(AttributeError, match=r"cannot be set|not set"):
            setattr(layer, name, value)
    np.testing.assert_array_equal(rekur.Model(y := rekur.Input((2,)), twin(y)).predict(np.ones((1, 2))), [[3, 3]])
    again = pickle.loads(pickle.dumps(layer))  # the equations, not the function, which cannot be pickled
    np.testing.assert_array_equal(rekur.Model(z := rekur.Input((2,)), again(z)).predict(np.ones((1, 2))), [[3, 3]])


def infer(equations: Any, *shapes: tuple[int | None, ...]) -> Any:
    layer = {"type": "Lambda", "name": "f", "equations": equations}
    return _core.infer_layer(json.dumps(layer), [(s, "float32") for s in shapes or ((None, 3),)])


BROKEN = [
    ([], "equations"),
    ({}, "'inputs'"),
    ({"inputs": [], "nodes": [], "outputs": [0]}, "expected 1 to 32 inputs, got 0"),
    ({"inputs": ["x", "x"], "nodes": [], "outputs": [0]}, "two inputs are named 'x'"),
    ({"inputs": [1], "nodes": [], "outputs": [0]}, "'inputs' must be an array of names"),
    ({"inputs": ["x"], "nodes": [], "outputs": []}, "expected 1 to 8 outputs, got 0"),
    ({"inputs": ["x"], "nodes": [], "outputs": [1]}, "an output is a value, 0 to 0, got 1"),
    ({"inputs": ["x"], "nodes": [], "outputs": [-1]}, "an output is a value"),
    ({"inputs": ["x"], "nodes": [], "outputs": [0.5]}, "an output is a value"),
    ({"inputs": ["x"], "nodes": [["sigmoid", 1]], "outputs": [1]}, "node 0: expected a value before it, 0 to 0, got 1"),
    ({"inputs": ["x"], "nodes": [["sigmoid", 2**62]], "outputs": [1]}, "node 0: expected a value before it"),
    ({"inputs": ["x"], "nodes": [["sigmoid"]], "outputs": [1]}, "node 0: expected 1 operands, got 0"),
    ({"inputs": ["x"], "nodes": [["add", 0]], "outputs": [1]}, "node 0: expected 2 operands, got 1"),
    (
        {"inputs": ["x"], "nodes": [["sigmoyd", 0]], "outputs": [1]},
        "unknown operation 'sigmoyd'.*'sigmoid'",
    ),
    ({"inputs": ["x"], "nodes": [["softmax", 0]], "outputs": [1]}, "unknown operation 'softmax'"),
    ({"inputs": ["x"], "nodes": [["expand", 0]], "outputs": [1]}, "unknown operation 'expand'"),
    ({"inputs": ["x"], "nodes": [[{"name": "elu", "alpha": -1}, 0]], "outputs": [1]}, "'alpha' must be at least 0"),
    ({"inputs": ["x"], "nodes": [[{"name": "elu", "alfa": 1}, 0]], "outputs": [1]}, "unknown key 'alfa'"),
    ({"inputs": ["x"], "nodes": [[3, 0]], "outputs": [1]}, "node 0: expected an operation, got 3"),
    ({"inputs": ["x"], "nodes": [[]], "outputs": [0]}, "node 0: expected an array that begins with an operation"),
    ({"inputs": ["x"], "nodes": ["sigmoid"], "outputs": [0]}, "node 0: expected an array"),
    ({"inputs": ["x"], "nodes": [["constant", "1"]], "outputs": [0]}, r"node 0: expected \[\"constant\", number\]"),
    ({"inputs": ["x"], "nodes": [["constant", 1e300]], "outputs": [0]}, "finite float32 number"),
    ({"inputs": ["x"], "nodes": [["constant", 1]], "outputs": [1]}, "an output does not depend on any input"),
    ({"inputs": ["x"], "nodes": [["sigmoid", 0]] * 513, "outputs": [0]}, "expected at most 512 nodes, got 513"),
    ({"inputs": ["x"], "nodes": [], "outputs": [0], "more": 1}, "unknown key 'more'"),
]


@pytest.mark.parametrize(("equations", "message"), BROKEN)
def test_equations_of_a_file_are_checked(equations: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"Lambda 'f'.*{message}"):
        infer(equations)


@pytest.mark.parametrize(
    "shapes", [((None, 3), (None, 2)), ((None, 3), (None, None, 3)), ((None, 3),), ((None, 3),) * 3]
)
def test_inputs_must_fit(shapes: tuple[tuple[int | None, ...], ...]) -> None:
    with pytest.raises(ValueError, match="Lambda 'f': expected"):
        infer({"inputs": ["a", "b"], "nodes": [["add", 0, 1]], "outputs": [2]}, *shapes)


def test_random_equations_never_do_harm() -> None:
    """Hundreds of random graphs: either refused by a message or computed, in training, too, as the reference does."""
    from rekur._trace import evaluate

    names = [*_core.operation_names(), "tanh", "sigmoid", "relu", "softplus", {"name": "elu", "alpha": 0.5}]
    for seed in range(400):
        rng = np.random.default_rng(seed)
        inputs = int(rng.integers(1, 4))
        features = [int(rng.choice([1, 5])) for _ in range(inputs)]
        nodes: list[Any] = []
        for k in range(int(rng.integers(1, 25))):
            if rng.random() < 0.15:
                nodes.append(["constant", float(rng.normal())])
                continue
            name = names[int(rng.integers(len(names)))]
            arity = {"where": 3}.get(name, 2 if name in TWO else 1) if isinstance(name, str) else 1
            nodes.append([name, *(int(v) for v in rng.integers(0, inputs + k, arity))])
        outputs = [int(v) for v in rng.integers(0, inputs + len(nodes), int(rng.integers(1, 4)))]
        equations = {"inputs": [f"x{i}" for i in range(inputs)], "nodes": nodes, "outputs": outputs}
        tensors = [rekur.Input((n,)) for n in features]
        try:
            model = rekur.Model(tensors, layers.Lambda(equations=equations)(tensors))
        except ValueError as error:
            assert "does not depend on any input" in str(error)
            continue
        xs = [rng.standard_normal((9, n)).astype(np.float32) for n in features]
        got = model.predict(xs)
        got = got if isinstance(got, list) else [got]
        with np.errstate(all="ignore"):
            expected = evaluate(equations, xs)
        for y, right in zip(got, expected, strict=True):
            right = np.broadcast_to(right, y.shape)
            usual = np.isfinite(right) & (np.abs(right) < 1e3)
            close = np.isclose(y, right, rtol=1e-2, atol=1e-2)
            # A comparison may fall otherwise in float32, which changes whole values.
            compares = any(node[0] in ("less", "less_equal", "equal", "where", "max", "sin", "cos") for node in nodes)
            assert close[usual].all() or compares, (seed, equations)
        model.gradients(xs, [np.ones_like(y) for y in got] if len(got) > 1 else np.ones_like(got[0]))


TWO = {"add", "divide", "equal", "less", "less_equal", "maximum", "minimum", "multiply", "subtract"}
