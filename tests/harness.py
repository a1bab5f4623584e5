"""A model of the engine with its weights by name: the thinnest thing the numeric tests can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import reference
import sampling
from rekur import _core

Arrays = dict[str, np.ndarray]
ELEMENTS, DIRECTIONS = 4, 2  # of a gradient, unless the whole of it is asked for


class Engine:
    """Builds a spec, fills its parameters with reproducible values and speaks dictionaries of arrays."""

    def __init__(self, spec: Mapping[str, Any], seed: int = 0, scale: float = 0.8) -> None:
        self.spec = dict(spec)
        self.model = _core.Model(json.dumps(spec))
        self.shapes = {name: tuple(shape) for name, shape, _ in self.model.parameters}
        self.weights = random_weights(self.shapes, seed, scale)

    @property
    def weights(self) -> Arrays:
        return self.split(self.model.get_weights())

    @weights.setter
    def weights(self, weights: Mapping[str, np.ndarray]) -> None:
        flat = np.zeros_like(self.model.get_weights())
        for name, shape, offset in self.model.parameters:
            size = int(np.prod(shape))
            flat[offset : offset + size] = np.asarray(weights[name], np.float32).reshape(-1)
        self.model.set_weights(flat)

    def split(self, flat: np.ndarray) -> Arrays:
        return {
            name: flat[offset : offset + int(np.prod(shape))].reshape(shape)
            for name, shape, offset in self.model.parameters
        }

    def predict(self, inputs: Sequence[np.ndarray], lengths: Sequence[Any] | None = None) -> list[np.ndarray]:
        return self.model.predict(list(inputs), lengths)

    def gradients(
        self,
        inputs: Sequence[np.ndarray],
        output_gradients: Sequence[np.ndarray | None],
        lengths: Sequence[Any] | None = None,
        seed: int = 0,
        step: int = 0,
    ) -> tuple[list[np.ndarray], Arrays, list[np.ndarray | None]]:
        """(outputs of a training pass, gradient of each parameter, gradient of each input)."""
        outputs, tape = self.model.forward(list(inputs), lengths, seed, step)
        flat, input_gradients = self.model.backward(tape, list(output_gradients))
        return outputs, self.split(flat), input_gradients


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int, scale: float = 0.8) -> Arrays:
    """Weights that keep any cell stable and every gate away from saturation: matrices shrink with their fan-in."""
    rng = np.random.default_rng([seed, 7])
    result = {}
    for name, shape in shapes.items():
        fan_in = 1 if not shape or name.endswith(("bias", "embeddings", "gamma", "beta")) else shape[0]
        result[name] = (rng.standard_normal(shape) * scale / np.sqrt(fan_in)).astype(np.float32)
        if name.endswith("/moving_variance"):
            result[name] = np.abs(result[name]) + np.float32(0.1)
    return result


def model_spec(layers: Sequence[Mapping[str, Any]], outputs: Sequence[str]) -> dict[str, Any]:
    """The spec of these layers; the inputs are the Input layers in their order."""
    inputs = [layer["name"] for layer in layers if layer["type"] == "Input"]
    return {
        "format": "rekur",
        "version": 1,
        "name": "model",
        "layers": [dict(layer) for layer in layers],
        "inputs": inputs,
        "outputs": list(outputs),
    }


def input_layer(name: str, *shape: int | None, dtype: str = "float32") -> dict[str, Any]:
    return {"type": "Input", "name": name, "shape": list(shape), "dtype": dtype}


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def assert_close(actual: np.ndarray, expected: Any, tolerance: float, what: str = "") -> None:
    """Largest absolute difference at most tolerance · max(1, largest expected magnitude)."""
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, expected {expected.shape}"
    if not expected.size:
        return
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(actual - expected).max())
    assert difference <= tolerance * scale, f"{what}: off by {difference:.3g} at scale {scale:.3g}"


def assert_gradient(
    gradient: np.ndarray, f: Callable[[np.ndarray], float], x: np.ndarray, tolerance: float, what: str = ""
) -> None:
    """A gradient of the engine's against central differences of f around x.

    By default some elements are looked at, each by itself, and all of them together along a few directions of plus and
    minus one: one element that is wrong by 1e-3 of the largest shows in such a sum of 100.
    """
    assert gradient.shape == x.shape, f"{what}: shape {gradient.shape}, expected {x.shape}"
    if sampling.whole or x.size <= ELEMENTS + DIRECTIONS:
        assert_close(gradient, reference.numeric_gradient(f, x), tolerance, what)
        return
    rng, exact = sampling.seeded(what, x.shape), np.array(x, np.float64)
    flat = np.asarray(gradient, np.float64).reshape(-1)
    scale = max(1.0, float(np.abs(flat).max()))
    for i in rng.choice(x.size, ELEMENTS, replace=False):
        along = np.zeros(x.size)
        along[i] = 1
        slope = reference.directional_derivative(f, exact, along.reshape(x.shape))
        assert abs(flat[i] - slope) <= tolerance * scale, (
            f"{what}: element {i} is {flat[i]:.6g}, the reference's {slope:.6g}, at scale {scale:.3g}"
        )
    for _ in range(DIRECTIONS):
        along = rng.choice([-1.0, 1.0], x.size)
        slope = reference.directional_derivative(f, exact, along.reshape(x.shape))
        allowed = tolerance * scale * np.sqrt(x.size)
        assert abs(flat @ along - slope) <= allowed, (
            f"{what}: a sum of its elements is {flat @ along:.6g}, the reference's {slope:.6g}, at scale {scale:.3g}"
        )


def assert_gradients(
    spec: Mapping[str, Any],
    tolerance: float = 1e-4,
    *,
    batch: Callable[[np.random.Generator], tuple[list[np.ndarray], list[Any] | None]],
    arrives: Sequence[bool] | None = None,
    seed: int = 0,
) -> None:
    """Outputs of a small model and every gradient, against the reference and its central differences."""
    engine, rng = Engine(spec, seed), np.random.default_rng([seed, 11])
    inputs, lengths = batch(rng)
    weights = engine.weights
    expected = reference.run(spec, weights, inputs, lengths)
    wanted = arrives or [True] * len(expected)
    dy = [floats(rng, *y.shape) if want else None for y, want in zip(expected, wanted, strict=True)]
    outputs, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
    for name, y, e in zip(spec["outputs"], outputs, expected, strict=True):
        assert_close(y, e, 1e-5, name)

    def total(weights: Mapping[str, Any], inputs: Sequence[Any]) -> float:
        outputs = reference.run(spec, weights, inputs, lengths)
        return sum(float(np.sum(y * d)) for y, d in zip(outputs, dy, strict=True) if d is not None)

    for name, w in weights.items():
        assert_gradient(
            d_weights[name],
            lambda v, name=name: total({**weights, name: v}, inputs),
            w,
            tolerance,
            f"gradient of {name}",
        )
    for i, x in enumerate(inputs):
        if x.dtype != np.float32:
            assert d_inputs[i] is None
            continue
        d_input = d_inputs[i]
        assert d_input is not None
        assert_gradient(
            d_input,
            lambda v, i=i: total(weights, [*inputs[:i], v, *inputs[i + 1 :]]),
            x,
            tolerance,
            f"gradient of input {spec['inputs'][i]}",
        )
