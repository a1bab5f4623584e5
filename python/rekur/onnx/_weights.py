"""Which weights of an ONNX graph can be stored in eight bits, and how: the transformation without a runtime.

Weights only: int8 values and a float32 scale per channel (a row of a recurrent matrix, a column of a product, a row of
an embedding), w ≈ q · s with s = max|w| / 127. They become float32 again by Cast and Mul, which onnxruntime folds into
one constant when it loads the file (a DequantizeLinear it keeps, and does again in every run).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

INT8, WEIGHTS, FLOAT = "int8", "weights only", "float"
DYNAMIC = {"LSTM", "MatMul"}  # what onnxruntime computes in integers on the CPU and is faster for it
RECURRENT = {"RNN", "GRU", "LSTM"}
OPERANDS: dict[str, tuple[int, ...]] = {  # which inputs are weights
    "RNN": (1, 2),
    "GRU": (1, 2),
    "LSTM": (1, 2),
    "MatMul": (1,),
    "Gemm": (1,),
    "Conv": (1,),
    "Gather": (0,),
}


@dataclass
class QuantizedNode:
    """What became of one node with weights."""

    name: str
    op: str
    how: str  # "int8": integer arithmetic; "weights only"; "float"
    reason: str = ""  # why it is not "int8"


def attribute(node: Any, name: str, default: int) -> int:
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def name_nodes(graph: Any) -> None:
    """Every node gets a name of its own: the quantiser goes by them."""
    taken = Counter(node.name for node in graph.node)
    for index, node in enumerate(graph.node):
        if not node.name or taken[node.name] > 1:
            name = f"{node.op_type}_{index}"
            while name in taken:
                name += "_"
            taken[name] = 1
            node.name = name


def name_sequences(graph: Any) -> None:
    """An int8 LSTM with lengths gets its output Y, read or not.

    Without it onnxruntime's kernel returns final states out of memory that nobody wrote: always in 1.17, now and then
    in 1.31.
    """
    taken = {name for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLSTM" and len(node.input) > 4 and node.input[4] and not node.output[0]:
            name = f"{node.name}/Y"
            while name in taken:
                name += "_"
            node.output[0] = name


class Weights:
    """The float32 initialisers of a graph, and who reads them."""

    def __init__(self, graph: Any) -> None:
        from onnx import TensorProto, numpy_helper

        self.graph = graph
        self._to_array, self._from_array = numpy_helper.to_array, numpy_helper.from_array
        self._float = int(TensorProto.FLOAT)
        self.arrays = {array.name: array for array in graph.initializer}
        self.inputs = {value.name for value in graph.input}
        self.readers = Counter(_read(graph))
        self.names = {name for node in graph.node for name in node.output} | set(self.readers) | set(self.arrays)

    def fault(self, name: str) -> str:
        """Why the value of that name is no weight that could be stored smaller, or nothing."""
        array = self.arrays.get(name)
        if array is None:
            return "its weights are computed in the graph"
        if name in self.inputs:
            return "its weights are an input of the file"
        if array.data_type != self._float:
            return "its weights are not float32"
        if len(array.dims) < 2:
            return "its weights are a vector"
        return "" if np.isfinite(self.array(name)).all() else "its weights are not finite"

    def array(self, name: str) -> NDArray[Any]:
        result: NDArray[Any] = self._to_array(self.arrays[name])
        return result

    def free(self, name: str) -> str:
        while name in self.names:
            name += "_"
        self.names.add(name)
        return name

    def add(self, name: str, array: NDArray[Any]) -> str:
        name = self.free(name)
        self.graph.initializer.append(self._from_array(array, name))
        return name

    def drop_unread(self) -> None:
        """Remove the initialisers nobody reads any more."""
        read = set(_read(self.graph))
        kept = [array for array in self.graph.initializer if array.name in read or array.name in self.inputs]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _read(graph: Any) -> Iterator[str]:
    """Every name that a node of the graph or of one inside it reads, and the outputs."""
    for node in graph.node:
        yield from node.input
        for entry in node.attribute:
            for body in (entry.g, *entry.graphs):
                yield from _read(body)
    for value in graph.output:
        yield value.name


def judge(graph: Any, weights: Weights, keep: Collection[str], weights_only: bool) -> list[QuantizedNode]:
    """What is to become of every node that has weights, in the order of the graph."""
    result: list[QuantizedNode] = []
    for node in graph.node:
        inner = [a.g for a in node.attribute if a.HasField("g")]
        if inner and any(n.op_type in OPERANDS for body in inner for n in body.node):
            result.append(QuantizedNode(node.name, node.op_type, FLOAT, f"weights inside {node.op_type} stay"))
        if node.op_type not in OPERANDS or node.domain not in ("", "ai.onnx"):
            continue
        operands = [node.input[index] for index in OPERANDS[node.op_type]]
        fault = next(filter(None, map(weights.fault, operands)), "")
        if node.op_type == "Gather" and (fault or attribute(node, "axis", 0) != 0):
            continue  # plumbing, not an embedding
        if node.name in keep:
            result.append(QuantizedNode(node.name, node.op_type, FLOAT, "as asked for"))
        elif fault:
            result.append(QuantizedNode(node.name, node.op_type, FLOAT, fault))
        elif why := _not_dynamic(node, weights, operands, weights_only):
            result.append(QuantizedNode(node.name, node.op_type, WEIGHTS, why))
        else:
            result.append(QuantizedNode(node.name, node.op_type, INT8))
    return result


def _not_dynamic(node: Any, weights: Weights, operands: Collection[str], weights_only: bool) -> str:
    if weights_only:
        return "as asked for"
    if node.op_type == "Gather":
        return "a table, nothing is computed"
    if node.op_type not in DYNAMIC:
        return f"onnxruntime has no dynamic int8 kernel for {node.op_type}"
    if any(weights.readers[name] > 1 for name in operands):
        return "its weights are shared with another node"
    if node.op_type == "MatMul" and len(weights.arrays[next(iter(operands))].dims) != 2:
        return "its weights are no matrix"
    if node.op_type == "LSTM" and attribute(node, "layout", 0) != 0:
        return "onnxruntime's int8 LSTM has no layout 1"
    return ""


def shrink(graph: Any, weights: Weights, names: Collection[str]) -> None:
    """Store the weights of the named nodes in int8; in place."""
    from onnx import helper

    dequantised: dict[tuple[str, tuple[int, ...]], str] = {}
    before: list[Any] = []
    nodes: list[Any] = []
    for node in graph.node:
        if node.name not in names:
            nodes.append(node)
        elif node.op_type == "Gather":
            nodes.extend(_gather(helper, weights, node))
        else:
            for index in OPERANDS[node.op_type]:
                name = node.input[index]
                axes = _summed(node, len(weights.arrays[name].dims))
                if (name, axes) not in dequantised:
                    values, scale = _to_int8(weights.array(name), axes)
                    q, s = weights.add(f"{name}/int8", values), weights.add(f"{name}/scale", scale)
                    raw, value = weights.free(f"{name}/raw"), weights.free(f"{name}/float")
                    before.append(helper.make_node("Cast", [q], [raw], name=raw, to=1))
                    before.append(helper.make_node("Mul", [raw, s], [value], name=value))
                    dequantised[name, axes] = value
                node.input[index] = dequantised[name, axes]
            nodes.append(node)
    del graph.node[:]
    graph.node.extend([*before, *nodes])
    weights.drop_unread()


def _gather(helper: Any, weights: Weights, node: Any) -> Iterator[Any]:
    """The rows and their scales are looked up, not the whole table made float."""
    table = weights.array(node.input[0])
    values, scale = _to_int8(table, tuple(range(1, table.ndim)))
    name, ids, output = node.input[0], node.input[1], node.output[0]
    q, s = weights.add(f"{name}/int8", values), weights.add(f"{name}/scale", scale)
    rows, scales, raw = (weights.free(f"{output}/{part}") for part in ("rows", "scales", "raw"))
    yield helper.make_node("Gather", [q, ids], [rows], name=node.name, axis=0)
    yield helper.make_node("Gather", [s, ids], [scales], name=scales, axis=0)
    yield helper.make_node("Cast", [rows], [raw], name=raw, to=1)
    yield helper.make_node("Mul", [raw, scales], [output], name=f"{node.name}/scaled")


def _summed(node: Any, rank: int) -> tuple[int, ...]:
    """The axes of a weight that the node sums over: one scale serves them."""
    if node.op_type in RECURRENT:
        return (2,)
    if node.op_type == "Gemm":
        return (1,) if attribute(node, "transB", 0) else (0,)
    if node.op_type == "Conv":
        return tuple(range(1, rank))
    return (rank - 2,)


def _to_int8(array: NDArray[Any], summed: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    largest = np.abs(array).max(axis=summed, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    scale[scale == 0] = np.finfo(np.float32).tiny  # a channel of denormals
    return np.rint(array / scale).clip(-127, 127).astype(np.int8), scale
