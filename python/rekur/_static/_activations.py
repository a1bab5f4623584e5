"""Activations by name, with the numbers that the engine gives them."""

from typing import Any

from rekur import _core
from rekur._cpp_text import literal
from rekur._spec import dumps
from rekur._static._equations import write_equations
from rekur._static._writer import Writer

# Of activations with parameters, as the engine has them (layers/activation_spec.cpp).
_DEFAULTS: dict[str, tuple[float, float]] = {
    "leaky_relu": (0.2, 0.0),
    "elu": (1.0, 0.0),
    "hard_sigmoid": (1.0 / 6.0, 0.5),
    "affine": (1.0, 0.0),
    "thresholded_relu": (1.0, 0.0),
    "scaled_tanh": (1.7159, 2.0 / 3.0),
}


def activation_of(activation: Any) -> tuple[str, str]:
    """The kind of one that works number by number, and its parameters as arguments."""
    name = activation if isinstance(activation, str) else activation["name"]
    alpha, beta = _DEFAULTS.get(name, (0.0, 0.0))
    if not isinstance(activation, str):
        alpha, beta = activation.get("alpha", alpha), activation.get("beta", beta)
    return name, f"{literal(alpha)}, {literal(beta)}"


def activate(w: Writer, activation: Any, x: str, y: str, n: int) -> None:
    """y = f(x) of one row; y may be x."""
    if not isinstance(activation, str) and "equations" in activation:
        listing = _core.written_equations(dumps({"equations": activation["equations"]}), [False])
        write_equations(w, listing, [x], [y], n)
        return
    name, numbers = activation_of(activation)
    if name == "softmax":
        w.line(f"softmax<{n}>({x}, {y});")
    elif name != "linear" or x != y:
        w.line(f"activate<ActivationKind::{name}, {n}>({numbers}, {x}, {y});")
