"""One row per activation: the same names serve operators of their own and those inside RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph

Step = tuple[str, list[str], dict[str, Any]]  # (operator, inputs after the running value, attributes)


@dataclass(frozen=True)
class Form:
    """The operator and the spec's defaults of its parameters; None: it has no such parameter.

    ONNX's own defaults differ, and inside a recurrent node a missing one means 0 to onnxruntime, so what a form has is
    always written.
    """

    op: str
    alpha: float | None = None
    beta: float | None = None


FORMS: dict[str, Form] = {
    "tanh": Form("Tanh"),
    "sigmoid": Form("Sigmoid"),
    "relu": Form("Relu"),
    "leaky_relu": Form("LeakyRelu", 0.2),
    "elu": Form("Elu", 1.0),
    "softsign": Form("Softsign"),
    "hard_sigmoid": Form("HardSigmoid", 1.0 / 6.0, 0.5),
    "affine": Form("Affine", 1.0, 0.0),
    "thresholded_relu": Form("ThresholdedRelu", 1.0),
    "scaled_tanh": Form("ScaledTanh", 1.7159, 2.0 / 3.0),
    "softplus": Form("Softplus"),
}
INSIDE_ONLY = {"linear": Form("Affine", 1.0, 0.0)}  # a layer of its own it is nothing at all
OUTSIDE_ONLY = {"softmax": Form("Softmax")}


def resolve(given: str | Mapping[str, Any], where: str, *, inside: bool) -> Form:
    """The form of an activation as the spec gives it, a name or an object, with its parameters filled in."""
    options: Mapping[str, Any] = {"name": given} if isinstance(given, str) else given
    table = {**FORMS, **(INSIDE_ONLY if inside else OUTSIDE_ONLY)}
    form = table.get(options["name"])
    if form is None:
        raise ExportError(f"{where} '{options['name']}' has no ONNX form")
    return Form(form.op, _parameter(options, "alpha", form.alpha), _parameter(options, "beta", form.beta))


def _parameter(options: Mapping[str, Any], key: str, default: float | None) -> float | None:
    return None if default is None else float(options.get(key, default))


def steps_of(graph: Graph, label: str, where: str, given: str | Mapping[str, Any], key: str = "") -> list[Step]:
    """An activation as a chain of operators of their own; ``key`` tells a layer's several ones apart."""
    if given == "linear" or (not isinstance(given, str) and given["name"] == "linear"):
        return []
    form = resolve(given, where, inside=False)

    def with_constant(op: str, parameter: str, value: float | None) -> Step:
        name = f"{label}/{key}/{parameter}" if key else f"{label}/{parameter}"
        return (op, [graph.initializer(name, np.array(value, np.float32))], {})

    if form.op == "Softmax":
        return [(form.op, [], {"axis": -1})]
    # These two are functions inside recurrent nodes only; outside there is no such operator.
    if form.op == "Affine":
        return [with_constant("Mul", "alpha", form.alpha), with_constant("Add", "beta", form.beta)]
    if form.op == "ScaledTanh":
        return [with_constant("Mul", "beta", form.beta), ("Tanh", [], {}), with_constant("Mul", "alpha", form.alpha)]
    return [(form.op, [], {"alpha": form.alpha, "beta": form.beta})]
