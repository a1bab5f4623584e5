"""Equations, a Lambda's or an activation's, as ONNX nodes, one a time. A number a row has a last axis of 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rekur.onnx._activations import resolve
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, describe

FLOAT, BOOL = 1, 9  # onnx.TensorProto's
ELEMENTWISE = {
    "absolute": "Abs", "add": "Add", "cos": "Cos", "divide": "Div", "erf": "Erf", "exp": "Exp", "log": "Log",
    "maximum": "Max", "minimum": "Min", "multiply": "Mul", "negative": "Neg", "sin": "Sin", "sqrt": "Sqrt",
    "subtract": "Sub",
}  # fmt: skip
COMPARISONS = {"equal": "Equal", "less": "Less", "less_equal": "LessOrEqual"}
CONSTANT, ROW = 0, 1  # what a value has of features besides as many as the row


class Writer:
    """Nodes of equations, in a graph; ``names`` and ``widths`` are those of the values so far."""

    def __init__(self, graph: Graph, layer: Layer, features: int) -> None:
        self.graph, self.layer, self.features = graph, layer, features
        self.label = layer["name"]
        self.names: list[str] = []
        self.widths: list[int] = []  # CONSTANT, ROW or the row's features

    def node(self, operation: str | Mapping[str, Any], operands: Sequence[Any], out: str) -> None:
        if operation == "constant":
            self.append(self.graph.initializer(f"{out}/constant", np.array(operands[0], np.float32)), CONSTANT)
            return
        given = [self.names[k] for k in operands]
        width = max(self.widths[k] for k in operands)
        if operation in ("sum", "mean", "max"):
            if width in (CONSTANT, ROW):  # a number a row is its own sum
                self.append(given[0], width)
            else:
                self.append(self._reduced(operation, given[0], out), ROW)
            return
        self.append(self._elementwise(operation, given, out), width)

    def append(self, name: str, width: int) -> None:
        self.names.append(name)
        self.widths.append(width)

    def _number(self, value: float) -> str:
        return self.graph.initializer(f"float32/{value!r}", np.array(value, np.float32))

    def _reduced(self, operation: str, x: str, out: str) -> str:
        if operation == "max":
            return self.graph.emit("ReduceMax", [x], out, axes=[-1], keepdims=1)
        total = out if operation == "sum" else f"{out}/sum"
        self.graph.emit("ReduceSum", [x, self.graph.integers(-1)], total, keepdims=1)
        return out if operation == "sum" else self.graph.emit("Div", [total, self._number(float(self.features))], out)

    def _elementwise(self, operation: str | Mapping[str, Any], given: list[str], out: str) -> str:
        emit = self.graph.emit
        if isinstance(operation, str):
            if operation in ELEMENTWISE:
                return emit(ELEMENTWISE[operation], given, out)
            if operation in COMPARISONS:
                return emit("Cast", [emit(COMPARISONS[operation], given, f"{out}/holds")], out, to=FLOAT)
            if operation == "where":
                chosen = emit("Cast", given[:1], f"{out}/condition", to=BOOL)
                return emit("Where", [chosen, *given[1:]], out)
            if operation == "log1p":
                return self._log1p(given[0], out)
        return self._activation(operation, given[0], out)

    def _log1p(self, x: str, out: str) -> str:
        """2 atanh(x / (2 + x)) near 0, where 1 + x would lose digits."""
        emit, two = self.graph.emit, self._number(2.0)
        ratio = emit("Div", [x, emit("Add", [x, two], f"{out}/plus_2")], f"{out}/ratio")
        near = emit("Mul", [emit("Atanh", [ratio], f"{out}/atanh"), two], f"{out}/near")
        far = emit("Log", [emit("Add", [x, self._number(1.0)], f"{out}/plus_1")], f"{out}/far")
        small = emit("Less", [emit("Abs", [x], f"{out}/abs"), self._number(0.5)], f"{out}/small")
        return emit("Where", [small, near, far], out)

    def _activation(self, operation: str | Mapping[str, Any], x: str, out: str) -> str:
        name = operation if isinstance(operation, str) else operation["name"]
        emit = self.graph.emit
        if name == "linear":
            return x
        form = resolve(operation, f"{describe(self.layer)}: equations: activation", inside=False)
        if form.op == "Affine":
            scaled = emit("Mul", [x, self._number(float(form.alpha or 0))], f"{out}/scaled")
            return emit("Add", [scaled, self._number(float(form.beta or 0))], out)
        if form.op == "ScaledTanh":
            inner = emit("Mul", [x, self._number(float(form.beta or 0))], f"{out}/scaled")
            return emit("Mul", [emit("Tanh", [inner], f"{out}/tanh"), self._number(float(form.alpha or 0))], out)
        return emit(form.op, [x], out, alpha=form.alpha, beta=form.beta)


def activation(graph: Graph, layer: Layer, equations: Mapping[str, Any], x: str, features: int, out: str) -> str:
    """An activation of one's own, of the value ``x``; its result is called ``out``."""
    writer = Writer(graph, layer, features)
    writer.append(x, features)
    for number, (operation, *operands) in enumerate(equations["nodes"]):
        writer.node(operation, operands, f"{layer['name']}/activation/{number}")
    return graph.emit("Identity", [writer.names[equations["outputs"][0]]], out)


def lambda_layer(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    equations, label = layer["equations"], layer["name"]
    features = max(x.features or 0 for x in inputs)
    writer = Writer(graph, layer, features)
    values, time_major = graph.aligned(inputs)
    for x, value in zip(inputs, values, strict=True):
        writer.append(value, features if x.features == features else ROW)
    for number, (operation, *operands) in enumerate(equations["nodes"]):
        writer.node(operation, operands, f"{label}/{number}")
    axis = next((x.axis for x in inputs if x.axis is not None), None)
    outputs = []
    for k, index in enumerate(equations["outputs"]):
        reference = f"{label}:{k}" if k else label
        name = graph.emit("Identity", [writer.names[index]], f"{reference}/time_major" if time_major else reference)
        width = features if writer.widths[index] == features else 1
        layout: dict[str, Any] = {"time_major": name} if time_major else {"batch_major": name}
        outputs.append(Tensor(reference, width, axis, **layout))
    return outputs
