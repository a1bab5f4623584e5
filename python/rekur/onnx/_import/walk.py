"""The walk over the nodes: every tensor gets its symbolic value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import LoadError
from rekur.onnx._import import inputs as interface
from rekur.onnx._import.call import Call, NeedsConstant, describe
from rekur.onnx._import.graph import Budget, Graph
from rekur.onnx._import.ops import REASONS, RULES
from rekur.onnx._import.order import describe as describe_node
from rekur.onnx._import.order import ordered
from rekur.onnx._import.read import Tensors, opset
from rekur.onnx._import.values import Known, Refused, Rows, Value, View

SPARE = 2**20  # elements that any file may make, besides eight times what it holds
OWN = re.compile(r"/time_major$")  # our exporter's suffix


class NeedsInput(LoadError):
    """A weight is an input of the graph; ``input`` is its name."""

    def __init__(self, message: str, input: str) -> None:
        super().__init__(message)
        self.input = input


@dataclass
class Walked:
    """The graph of layers, and what the file's inputs and outputs are in it."""

    graph: Graph
    inputs: dict[str, View | Rows] = field(default_factory=dict)
    outputs: dict[str, View] = field(default_factory=dict)


def walk(model: Any, folder: Path | None, bound: Mapping[str, NDArray[Any]]) -> Walked:
    """bound: graph inputs that are constants this time."""
    proto, version, tensors = model.graph, opset(model), Tensors(folder)
    nodes = ordered(proto)
    for node in nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type not in RULES:
            raise LoadError(f"{describe_node(node)}: {_reason(node)}")
    values = _Values(tensors, proto, bound)
    result = Walked(Graph(Budget(SPARE + 8 * values.elements)))
    read = {name for node in nodes for name in node.input} | {value.name for value in proto.output}
    ids = interface.ids_as_floats(nodes)
    found = interface.roles(nodes, _short_vectors(nodes, values))
    for value in proto.input:
        if value.name not in values.stored and value.name not in bound:
            try:
                made = interface.make(result.graph, value, found.get(value.name), value.name in ids)
            except Refused as reason:
                raise LoadError(f"graph input '{value.name}': {reason}") from None
            result.inputs[value.name] = values.made[value.name] = made
    for node in nodes:
        label = describe_node(node)
        try:
            _node(node, label, version, values, read, result)
        except NeedsConstant as reason:
            raise NeedsInput(f"{label}: {reason}", reason.input) from None
        except Refused as reason:
            raise LoadError(f"{label}: {reason}") from None
    for value in proto.output:
        output = values.get(value.name)
        if not isinstance(output, View) or output.ids:
            what = "ids" if isinstance(output, View) else describe(output)
            raise LoadError(f"graph output '{value.name}' is {what}; expected a tensor that the model computes")
        result.outputs[value.name] = output
    return result


def _node(node: Any, label: str, version: int, values: _Values, read: set[str], result: Walked) -> None:
    call = Call(
        op=node.op_type,
        at=(label, hint(node)),
        attributes=values.tensors.attributes(node, label),
        inputs=[values.get(name) if name else None for name in node.input],
        wanted=[bool(name) and name in read for name in node.output],
        opset=version,
        graph=result.graph,
        interface={k: name for k, name in enumerate(node.input) if name in result.inputs},
    )
    if not call.inputs and call.op != "Constant":
        raise Refused("it has no input")
    made = RULES[node.op_type](call)
    if unread := set(call.attributes) - call.taken:
        raise Refused(f"attribute '{min(unread)}' is not understood")
    outputs = made if isinstance(made, list) else [made]
    for name, value in zip(node.output, outputs, strict=False):
        if name:
            values.made[name] = value
    if any(call.wanted[len(outputs) :]):
        raise Refused(f"output {len(outputs)} is read; it has {len(outputs)}")


def hint(node: Any) -> str:
    """What a layer's name is made of: ``/encoder/lstm/LSTM_1`` → ``encoder_lstm``; empty where the node has no name."""
    name = OWN.sub("", node.name).strip("/")
    if name.startswith("node_"):  # PyTorch's newer exporter numbers them
        return ""
    parts = name.split("/")
    if re.fullmatch(rf"{re.escape(node.op_type)}(_+\d+)?", parts[-1]):
        parts.pop()
    return "_".join(parts)


def _reason(node: Any) -> str:
    if node.op_type in REASONS:
        return REASONS[node.op_type]
    if node.domain not in ("", "ai.onnx"):
        return f"operators of the domain '{node.domain}' are not understood"
    return "this operator is not understood"


class _Values:
    """Values by name; initialisers are decoded when they are first read."""

    def __init__(self, tensors: Tensors, proto: Any, bound: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = tensors
        self.stored = {tensor.name: tensor for tensor in proto.initializer}
        self.made: dict[str, Value] = {name: Known(np.asarray(array)) for name, array in bound.items()}
        self.elements = sum(array.size for array in bound.values()) + sum(map(_count, proto.initializer))

    def get(self, name: str) -> Value:
        if name not in self.made:
            self.made[name] = Known(self.tensors.array(self.stored[name], f"initialiser '{name}'"))
        return self.made[name]


def _count(tensor: Any) -> int:
    """Elements that the file holds of a tensor; what is outside is checked against its file when it is read."""
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    if tensor.data_location == 1:
        lengths = [entry.value for entry in tensor.external_data if entry.key == "length"]
        return int(lengths[0]) // 4 if lengths and lengths[0].isdecimal() and len(lengths[0]) < 12 else 0
    return len(tensor.raw_data) // 4 + sum(map(len, lists))


def _short_vectors(nodes: list[Any], values: _Values) -> dict[str, list[int]]:
    """Axes and shapes, as inputs of Unsqueeze and Reshape, that are plainly constant."""
    result: dict[str, list[int]] = {}
    tensors = dict(values.stored)
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            for entry in node.attribute:
                if entry.name == "value":
                    tensors[node.output[0]] = entry.t
    wanted = {node.input[1] for node in nodes if node.op_type in ("Unsqueeze", "Reshape") and len(node.input) > 1}
    for name in wanted & set(tensors):
        tensor = tensors[name]
        if tensor.data_type == 7 and tensor.data_location == 0 and len(tensor.dims) == 1 and 0 <= tensor.dims[0] <= 8:
            result[name] = [int(v) for v in values.tensors.array(tensor, f"constant '{name}'")]
    return result
