"""The layers around recurrent ones: outputs and gradients against the float64 equations and central differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import reference
from harness import Engine, assert_close, assert_gradients, floats, input_layer, model_spec


def batch(*shapes: tuple[int, ...]) -> Any:
    return lambda rng: ([floats(rng, *shape) for shape in shapes], None)


def dense(name: str, source: str, units: int, activation: str) -> dict[str, Any]:
    return {"type": "Dense", "name": name, "inputs": [source], "units": units, "activation": activation}


@pytest.mark.parametrize("join", ["Subtract", "Divide"])
@pytest.mark.parametrize("time", [False, True])
def test_joins_of_two(isa: str, join: str, time: bool) -> None:
    """Of two tensors, and of one with itself; divisors stay clear of zero."""
    shape = (None, 2) if time else (2,)
    spec = model_spec(
        [
            input_layer("a", *shape),
            input_layer("b", *shape),
            dense("c", "b", 2, "sigmoid"),
            {"type": join, "name": "y", "inputs": ["a", "c"]},
            {"type": join, "name": "same", "inputs": ["c", "c"]},
        ],
        ["y", "same"],
    )
    assert_gradients(spec, batch=batch(*[(3, 4, 2) if time else (3, 2)] * 2))


def test_division_is_that_of_ieee(isa: str) -> None:
    divide = {"type": "Divide", "name": "y", "inputs": ["a", "b"]}
    engine = Engine(model_spec([input_layer("a", 5), input_layer("b", 5), divide], ["y"]))
    a = np.array([[1, -1, 0, np.inf, 2]], np.float32)
    b = np.array([[0, 0, 0, np.inf, 3]], np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_array_equal(engine.predict([a, b])[0], a / b)


LAYER_NORMALIZATIONS: list[dict[str, Any]] = [
    {},
    {"epsilon": 1e-5, "center": False},
    {"epsilon": 0.3, "scale": False},
    {"center": False, "scale": False},
]


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (3, 1), (1, 19)], ids=str)
@pytest.mark.parametrize("options", LAYER_NORMALIZATIONS, ids=str)
def test_layer_normalization(isa: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    source = input_layer("x", *([None] * (len(shape) - 2)), shape[-1])
    layer = {"type": "LayerNormalization", "name": "y", "inputs": ["x"], **options}
    assert_gradients(model_spec([source, layer], ["y"]), batch=batch(shape))


@pytest.mark.parametrize("features", [2, 15, 16, 17, 33, 65, 130])
def test_layer_normalization_at_awkward_sizes(isa: str, rng: np.random.Generator, features: int) -> None:
    layer = {"type": "LayerNormalization", "name": "y", "inputs": ["x"]}
    for rows in (1, 5, 70):
        engine = Engine(model_spec([input_layer("x", features), layer], ["y"]))
        gamma, beta = (engine.weights[f"y/{name}"].astype(np.float64) for name in ("gamma", "beta"))
        x, dy = 3 * floats(rng, rows, features) + 1, floats(rng, rows, features)
        (y,), d_weights, (dx,) = engine.gradients([x], [dy])
        inverse = 1 / np.sqrt(x.astype(np.float64).var(axis=1, keepdims=True) + 1e-3)
        normal = (x - x.astype(np.float64).mean(axis=1, keepdims=True)) * inverse
        g = dy * gamma
        exact = (g - g.mean(axis=1, keepdims=True) - normal * (g * normal).mean(axis=1, keepdims=True)) * inverse
        assert dx is not None
        assert_close(y, normal * gamma + beta, 1e-6, "y")
        assert_close(dx, exact, 1e-5, "dx")
        assert_close(d_weights["y/gamma"], (dy * normal).sum(axis=0), 1e-5, "gamma")
        assert_close(d_weights["y/beta"], dy.sum(axis=0, dtype=np.float64), 1e-5, "beta")


@pytest.mark.parametrize("mean", [1e3, -1e5])
def test_layer_normalization_of_rows_far_from_zero(isa: str, rng: np.random.Generator, mean: float) -> None:
    """Where the mean of the squares less the square of the mean would be nothing but rounding."""
    layer = {"type": "LayerNormalization", "name": "y", "inputs": ["x"], "center": False, "scale": False}
    engine = Engine(model_spec([input_layer("x", 50), layer], ["y"]))
    x = floats(rng, 7, 50) + np.float32(mean)
    (expected,) = reference.run(engine.spec, {}, [x])
    assert_close(engine.predict([x])[0], expected, 1e-6, "y")
    equal = np.full((2, 50), mean, np.float32)
    assert_close(engine.predict([equal])[0], np.zeros((2, 50)), 1e-6, "equal features")


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4), (70, 33)], ids=str)
def test_affine(isa: str, shape: tuple[int, ...]) -> None:
    source = input_layer("x", *([None] * (len(shape) - 2)), shape[-1])
    layer = {"type": "Affine", "name": "y", "inputs": ["x"]}
    assert_gradients(model_spec([source, layer], ["y"]), batch=batch(shape))


@pytest.mark.parametrize(("scale", "offset"), [(2, -0.5), ([1, 0, -2.5], 3), (0.5, [1, 2, 3]), ([1, 2, 3], [3, 2, 1])])
def test_rescaling(isa: str, scale: Any, offset: Any) -> None:
    layer = {"type": "Rescaling", "name": "y", "inputs": ["x"], "scale": scale, "offset": offset}
    assert_gradients(model_spec([input_layer("x", 3), layer], ["y"]), batch=batch((4, 3)))
    assert_gradients(model_spec([input_layer("x", None, 3), layer], ["y"]), batch=batch((2, 4, 3)))


@pytest.mark.parametrize("index", [0, 2, 4, -1, -3, -5])
@pytest.mark.parametrize("lengths", [None, [5, 0, 3, 1]], ids=["full", "lengths"])
def test_step(isa: str, index: int, lengths: list[int] | None) -> None:
    rows = None if lengths is None else [np.array(lengths, np.int32)]
    spec = model_spec(
        [
            input_layer("x", None, 3),
            dense("below", "x", 4, "tanh"),  # not zero past the end of a row
            {"type": "Step", "name": "y", "inputs": ["below"], "index": index},
        ],
        ["y", "below"],
    )
    assert_gradients(spec, batch=lambda rng: ([floats(rng, 4, 5, 3)], rows))


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (1, 5), (-2, None), (1, -1), (-5, -4)])
@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5)], ids=str)
def test_slice(isa: str, start: int, stop: int | None, shape: tuple[int, ...]) -> None:
    source = input_layer("x", *([None] * (len(shape) - 2)), 5)
    layer = {"type": "Slice", "name": "y", "inputs": ["x"], "start": start, "stop": stop}
    assert_gradients(model_spec([source, layer], ["y"]), batch=batch(shape))


@pytest.mark.parametrize("shape", [(3, 86), (2, 64, 2), (5, 300)], ids=str)
def test_rescaling_by_two_numbers_at_any_size(isa: str, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    """The engine takes the whole array in blocks that know nothing of rows."""
    layer = {"type": "Rescaling", "name": "y", "inputs": ["x"], "scale": -1.5, "offset": 0.25}
    engine = Engine(model_spec([input_layer("x", *([None] * (len(shape) - 2)), shape[-1]), layer], ["y"]))
    x, dy = floats(rng, *shape), floats(rng, *shape)
    (y,), _, (dx,) = engine.gradients([x], [dy])
    assert dx is not None
    assert_close(y, -1.5 * x.astype(np.float64) + 0.25, 1e-6, "y")
    assert_close(dx, -1.5 * dy.astype(np.float64), 1e-6, "dx")


def test_rescaling_of_an_absurd_number_of_features_takes_no_memory() -> None:
    layer = {"type": "Rescaling", "name": "y", "inputs": ["x"], "scale": 2}
    Engine(model_spec([input_layer("x", 2**42), layer], ["y"]))
