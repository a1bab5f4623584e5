"""Activations of ONNX, as operators and inside recurrent nodes, as the spec writes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur.onnx._activations import FORMS
from rekur.onnx._import.call import Call
from rekur.onnx._import.values import Refused

# per operator its activations, in ONNX's order: the spec's key and ONNX's default
KEYS = {
    "RNN": (("activation", "Tanh"),),
    "GRU": (("recurrent_activation", "Sigmoid"), ("activation", "Tanh")),
    "LSTM": (("recurrent_activation", "Sigmoid"), ("activation", "Tanh"), ("output_activation", "Tanh")),
}

# ONNX's name in lower case: the spec's name, ONNX's defaults of alpha and beta. None: there is no such parameter; NaN:
# there is no default.
NONE = float("nan")
ACTIVATIONS: dict[str, tuple[str, float | None, float | None]] = {
    "tanh": ("tanh", None, None),
    "sigmoid": ("sigmoid", None, None),
    "relu": ("relu", None, None),
    "softsign": ("softsign", None, None),
    "softplus": ("softplus", None, None),
    "leakyrelu": ("leaky_relu", 0.01, None),
    "elu": ("elu", 1.0, None),
    "thresholdedrelu": ("thresholded_relu", 1.0, None),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "scaledtanh": ("scaled_tanh", NONE, NONE),
    "affine": ("affine", NONE, NONE),
}


def number(value: float) -> float:
    """The shortest decimal number that is the same float32: attributes are float32, the spec is text."""
    return float(str(np.float32(value)))


def activation(op: str, alpha: float | None, beta: float | None) -> str | dict[str, Any]:
    """The spec's form of an ONNX activation with its parameters."""
    name = ACTIVATIONS[op.lower()][0]
    if name == "affine" and (alpha, beta) == (1.0, 0.0):
        return "linear"
    given = {key: number(v) for key, v in (("alpha", alpha), ("beta", beta)) if v is not None}
    form = FORMS.get(name)
    if form is not None and all(np.float32(getattr(form, key) or 0.0) == np.float32(v) for key, v in given.items()):
        return name
    return {"name": name, **given}


def chosen(call: Call, directions: int) -> list[dict[str, Any]]:
    """Options of each direction of a recurrent node.

    alpha and beta go to the activations that have them, in order; those left over are not read, as in onnxruntime.
    """
    keys = [key for key, _ in KEYS[call.op]]
    names = call.attribute("activations") or [default for _, default in KEYS[call.op]] * directions
    alphas, betas = list(call.attribute("activation_alpha") or []), list(call.attribute("activation_beta") or [])
    if len(names) != len(keys) * directions:
        raise Refused(f"{len(names)} activations; expected {len(keys) * directions}")
    specs: list[str | dict[str, Any]] = []
    for op in names:
        if not isinstance(op, str) or op.lower() not in ACTIVATIONS:
            raise Refused(f"activation {op!r} is not understood; known are {', '.join(ACTIVATIONS)}")
        _, alpha, beta = ACTIVATIONS[op.lower()]
        if op.lower() == "thresholdedrelu" and not alphas:
            raise Refused(f"activation {op} needs activation_alpha: without it ONNX takes 1 and onnxruntime 0")
        alpha = alphas.pop(0) if alpha is not None and alphas else alpha
        beta = betas.pop(0) if beta is not None and betas else beta
        if not all(v is None or np.isfinite(v) for v in (alpha, beta)):
            raise Refused(f"activation {op} needs finite activation_alpha and activation_beta, got {alpha} and {beta}")
        specs.append(activation(op, alpha, beta))
    result = []
    for k in range(directions):
        options = dict(zip(keys, specs[k * len(keys) : (k + 1) * len(keys)], strict=True))
        if options.get("output_activation") == options["activation"]:
            del options["output_activation"]  # its default
        result.append(options)
    return result
