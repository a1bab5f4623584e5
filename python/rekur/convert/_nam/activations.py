"""Neural Amp Modeler's activations, as layers; those that rekur has no name for are equations."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rekur.convert._audio import numbers

Function = Callable[[Any], Any]

NAMED = {
    "Tanh": "tanh",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
    "Hardtanh": "hard_tanh",
    "Hardswish": "hard_silu",
    "Softsign": "softsign",
}
_SLOPE = 0.01  # of LeakyReLU, PReLU and LeakyHardtanh
_BOUNDS = {"min_val": -1.0, "max_val": 1.0, "min_slope": _SLOPE, "max_slope": _SLOPE}
_PARAMETERS = {"LeakyReLU": ("negative_slope",), "PReLU": ("negative_slope", "negative_slopes"),
               "LeakyHardtanh": tuple(_BOUNDS)}  # fmt: skip


def _single(value: float) -> float:
    """The nearest float32: constants of equations are such."""
    return float(np.float32(value))


# x (a + a |x| + (b + c |x|) x²) / (d + (d + x²) |x + e x |x||), which stands for tanh within 8.7e-4.
_A, _B, _C = (_single(v) for v in (2.45550750702956, 0.893229853513558, 0.821226666969744))
_D, _E = (_single(v) for v in (2.44506634652299, 0.814642734961073))
FAST_TANH = {
    "name": "fast_tanh",
    "equations": {
        "inputs": ["x"],
        "nodes": [
            ["absolute", 0], ["multiply", 0, 0],
            ["constant", _A], ["multiply", 3, 1], ["add", 3, 4],
            ["constant", _C], ["multiply", 6, 1], ["constant", _B], ["add", 8, 7], ["multiply", 9, 2],
            ["add", 5, 10], ["multiply", 0, 11],
            ["constant", _D], ["add", 13, 2],
            ["constant", _E], ["multiply", 15, 0], ["multiply", 16, 1], ["add", 0, 17], ["absolute", 18],
            ["multiply", 14, 19], ["add", 13, 20], ["divide", 12, 21],
        ],
        "outputs": [22],
    },
}  # fmt: skip


def leaky_hard_tanh(low: float, high: float, low_slope: float, high_slope: float) -> dict[str, Any]:
    """x between two bounds, and lines beyond them."""
    nodes = [
        ["constant", _single(low)], ["less", 0, 1],
        ["subtract", 0, 1], ["constant", _single(low_slope)], ["multiply", 3, 4], ["add", 5, 1],
        ["constant", _single(high)], ["less", 7, 0],
        ["subtract", 0, 7], ["constant", _single(high_slope)], ["multiply", 9, 10], ["add", 11, 7],
        ["where", 8, 12, 0], ["where", 2, 6, 13],
    ]  # fmt: skip
    return {"name": "leaky_hard_tanh", "equations": {"inputs": ["x"], "nodes": nodes, "outputs": [14]}}


def bounds_of(activation: Mapping[str, Any]) -> dict[str, float]:
    """What a leaky_hard_tanh was made of, by the names there."""
    nodes = activation["equations"]["nodes"]
    return {"min_val": nodes[0][1], "max_val": nodes[6][1], "min_slope": nodes[3][1], "max_slope": nodes[9][1]}


def _leaky(slope: Any) -> Function:
    return lambda v: np.where(v > 0, v, slope * v)


def _fast_tanh(v: Any) -> Any:
    a, x2 = np.abs(v), v * v
    return v * (_A + _A * a + (_B + _C * a) * x2) / (_D + (_D + x2) * np.abs(v + _E * v * a))


_FUNCTIONS: Mapping[str, Function] = {
    "Tanh": np.tanh,
    "ReLU": lambda v: np.maximum(v, 0),
    "Sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "SiLU": lambda v: v / (1 + np.exp(-v)),
    "Hardtanh": lambda v: np.clip(v, -1, 1),
    "Hardswish": lambda v: v * np.clip(v / 6 + 0.5, 0, 1),
    "Softsign": lambda v: v / (1 + np.abs(v)),
    "Fasttanh": _fast_tanh,
}


def activation_layer(given: Any, channels: int, name: str, what: str) -> tuple[Any, list[Any], Function]:
    """A layer of rekur, its weights, and its function of float64, of what a file says: a name, or an object with a type
    and parameters.

    Raises
    ------
    ValueError
        For one that is not there.
    """
    from rekur.layers import Activation, PReLU

    parameters: Mapping[str, Any] = given if isinstance(given, Mapping) else {"type": given}
    kind = parameters.get("type")
    kind = "LeakyHardtanh" if kind == "LeakyHardTanh" else kind
    if not isinstance(kind, str) or kind not in (*_FUNCTIONS, *_PARAMETERS):
        raise ValueError(f"{what}: there is no such activation here: {kind!r:.80}")
    for key in parameters:
        if key != "type" and key not in _PARAMETERS.get(kind, ()):
            raise ValueError(f"{what}: {kind} has no parameter '{key[:80]}'")

    def number(key: str, default: float) -> float:
        return float(numbers(parameters.get(key, default), (), f"{what}: {key}"))

    if kind in _FUNCTIONS:
        return Activation(NAMED.get(kind, FAST_TANH), name=name), [], _FUNCTIONS[kind]
    if kind == "LeakyHardtanh":
        low, high, below, above = (number(key, default) for key, default in _BOUNDS.items())
        if low > high:
            raise ValueError(f"{what}: min_val {low} is above max_val {high}")

        def bounded(v: Any) -> Any:
            return np.where(v < low, (v - low) * below + low, np.where(v > high, (v - high) * above + high, v))

        return Activation(leaky_hard_tanh(low, high, below, above), name=name), [], bounded
    if kind == "PReLU" and "negative_slope" not in parameters and "negative_slopes" in parameters:
        slopes = numbers(parameters["negative_slopes"], (channels,), f"{what}: negative_slopes")
        return PReLU(shared_axes=[1], name=name), [slopes.reshape(1, -1)], _leaky(slopes.astype(float))
    slope = number("negative_slope", _SLOPE)
    if slope < 0:
        return PReLU(shared_axes=[1], name=name), [np.full((1, channels), slope, np.float32)], _leaky(slope)
    return Activation({"name": "leaky_relu", "alpha": slope}, name=name), [], _leaky(slope)
