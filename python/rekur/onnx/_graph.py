"""An ONNX graph in the making, in plain Python; :func:`to_proto` turns it into onnx's own messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._axes import BATCH, TimeAxis
from rekur.onnx._errors import ExportError
from rekur.onnx._int8 import integers_of

FLOAT = 1  # onnx.TensorProto's
MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators
IR_VERSION = 8
# above 21 onnxruntime's CUDA kernels of RNN, GRU and LSTM no longer match; 27 has LinearAttention
OPSETS = (17, 18, 19, 20, 21, 27)
MAX_BYTES = 2**31 - 2**20  # a protobuf message ends at 2 GiB; the rest is room for the graph itself


@dataclass
class Tensor:
    """A value of the model: (B, F), (B, T, F), (B, T, …, F), or ids (B,), (B, T), (B, T, …).

    A sequence may exist batch-major, time-major (as RNN, GRU and LSTM nodes read and write it), or both; Graph makes
    the missing one when somebody asks. So stacked recurrent layers have no Transpose between them.
    """

    label: str  # the reference in the spec; the name of the batch-major value
    features: int | None  # size of the last axis; None for ids
    axis: TimeAxis | None = None
    batch_major: str | None = None
    time_major: str | None = None
    whole: tuple[int | str, ...] | None = None  # the shape, where it is none of these (weights of attention)
    between: tuple[int | str, ...] = ()  # the axes between time and features
    rows: str = BATCH  # what stands for the number of rows

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The batch-major shape, symbols included."""
        if self.whole is not None:
            return self.whole
        time = () if self.axis is None else (self.axis.size,)
        return (self.rows, *time, *self.between, *(() if self.features is None else (self.features,)))

    @property
    def swapped(self) -> list[int]:
        """The order of axes that makes one layout of the other."""
        return [1, 0, *range(2, len(self.shape))]

    @property
    def dtype(self) -> str:
        return "int32" if self.features is None else "float32"


@dataclass
class Node:
    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]  # a Graph among them is a body
    name: str
    doc: str = ""
    domain: str = ""


Interface = list[tuple[str, str, tuple[int | str, ...]]]  # (name, dtype, shape)


class Graph:
    """Nodes, initialisers and interface, in the order they are emitted (which is topological)."""

    def __init__(
        self,
        weights: Mapping[str, NDArray[np.float32]],
        opset: int = OPSETS[0],
        twins: Mapping[str, str] | None = None,
        int8: Collection[str] = (),
        integer_products: bool = False,
    ) -> None:
        self.weights = weights
        self.int8 = frozenset(int8)  # the weights that are of eight bits, rounded to them already
        self.integer_products = integer_products  # operators on integers for what multiplies by them, if there are
        self.twins = twins or {}  # layers with the weights of another one, which are initialisers once
        self.opset = opset
        self.nodes: list[Node] = []
        self.initializers: dict[str, NDArray[Any]] = {}
        self.inputs: Interface = []
        self.outputs: Interface = []
        self.made: set[str] = set()
        self.shared = False  # its initialisers stand in the graph around it, and its values need no shapes
        self.prefix = ""  # of the names of what is shared; a body's differ from those of the graph around it

    def body(self) -> Graph:
        """A graph within this one, for an attribute: it sees this one's values, and its initialisers stand here."""
        inner = Graph(self.weights, self.opset, self.twins)
        inner.initializers, inner.shared = self.initializers, True
        return inner

    def emit(
        self,
        op: str,
        inputs: Iterable[str],
        *outputs: str,
        name: str | None = None,
        doc: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node; returns its first output. Empty names stand for absent ones and are cut off at the end."""
        trimmed = [_trim(list(inputs)), _trim(list(outputs))]
        kept = {key: value for key, value in attributes.items() if value is not None}
        first = next(output for output in outputs if output)
        self.nodes.append(Node(op, trimmed[0], trimmed[1], kept, name or first, doc, domain))
        self.made.update(filter(None, outputs))
        return outputs[0]

    def once(self, op: str, inputs: Iterable[str], output: str, **attributes: Any) -> str:
        """The value called ``output``, emitted when it is asked for the first time."""
        return output if output in self.made else self.emit(op, inputs, output, **attributes)

    def initializer(self, name: str, array: NDArray[Any]) -> str:
        name = self.prefix + name
        layer, slash, rest = name.partition("/")
        twin = self.initializers.get(f"{self.twins[layer]}{slash}{rest}") if layer in self.twins else None
        if twin is not None and twin.dtype == np.asarray(array).dtype and np.array_equal(twin, array):
            return f"{self.twins[layer]}{slash}{rest}"
        self.initializers[name] = np.array(array, order="C")
        return name

    def matrix(self, name: str, array: NDArray[np.float32], weights: Iterable[str], summed: tuple[int, ...]) -> str:
        """An initialiser made of these weights; of eight bits integers with scales, made float32 again by two nodes.

        summed: the axes of the array that a sum runs over. onnxruntime makes one constant of Cast and Mul when it loads
        the file; a DequantizeLinear it would do again in every run.
        """
        if not self.int8.intersection(weights):
            return self.initializer(name, array)
        numbers, scales = self.int8_matrix(name, array, summed)
        raw = self.once("Cast", [numbers], f"{numbers}/raw", to=FLOAT)
        return self.once("Mul", [raw, scales], numbers.removesuffix("/int8"))

    def int8_matrix(self, name: str, array: NDArray[np.float32], summed: tuple[int, ...]) -> tuple[str, str]:
        """Initialisers of the integers and of their scales, of the same rank."""
        numbers, scales = integers_of(array, summed)
        return self.initializer(f"{name}/int8", numbers), self.initializer(f"{name}/scale", scales)

    def integers(self, *values: int) -> str:
        """A shared int64 vector: axes, shapes."""
        return self.initializer("int64/" + "_".join(map(str, values)), np.array(values, np.int64))

    def weight(self, owner: str, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The parameter of that name, checked."""
        if name not in self.weights:
            raise ExportError(f"{owner}: parameter '{name}' is missing")
        array = np.asarray(self.weights[name], np.float32)
        if array.shape != shape:
            raise ExportError(f"{owner}: expected parameter '{name}' of shape {shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise ExportError(
                f"{owner}: parameter '{name}' is not finite ({int((~np.isfinite(array)).sum())} of {array.size} values "
                "are NaN or infinite); there is nothing to export"
            )
        return array

    def batch_major(self, tensor: Tensor) -> str:
        if tensor.batch_major is None:
            assert tensor.time_major is not None
            tensor.batch_major = self.once("Transpose", [tensor.time_major], tensor.label, perm=tensor.swapped)
        return tensor.batch_major

    def time_major(self, tensor: Tensor) -> str:
        if tensor.time_major is None:
            assert tensor.batch_major is not None
            name = f"{tensor.label}/time_major"
            tensor.time_major = self.once("Transpose", [tensor.batch_major], name, perm=tensor.swapped)
        return tensor.time_major

    def aligned(self, tensors: Sequence[Tensor]) -> tuple[list[str], bool]:
        """Names of all tensors in one layout, for operators that do not care which; True: time-major."""
        if all(tensor.batch_major for tensor in tensors):
            return [self.batch_major(tensor) for tensor in tensors], False
        return [self.time_major(tensor) for tensor in tensors], True

    def output(self, tensor: Tensor, label: str) -> None:
        """Make a tensor an output of the graph under its reference's name."""
        taken = {name for name, _, _ in (*self.inputs, *self.outputs)}
        value, name = self.batch_major(tensor), label
        while name in taken or (name != value and name in self.made):
            name += "_"
        if value != name:  # an input handed through, a Dropout, an output listed twice
            self.emit("Identity", [value], name)
        self.outputs.append((name, tensor.dtype, tensor.shape))

    def size(self) -> int:
        return sum(array.nbytes for array in self.initializers.values())


def _trim(names: list[str]) -> list[str]:
    while names and not names[-1]:
        names.pop()
    return names


def to_proto(
    graph: Graph, name: str, opset: int, producer: str, metadata: Mapping[str, str], doc: str | None = None
) -> Any:
    """An ``onnx.ModelProto``; initialisers as raw little-endian bytes."""
    from onnx import helper

    opsets = [helper.make_opsetid("", opset)]
    if any(node.domain == MICROSOFT for node in graph.nodes):
        opsets.append(helper.make_opsetid(MICROSOFT, 1))
    model = helper.make_model(graph_proto(graph, name, opset), opset_imports=opsets, ir_version=IR_VERSION)
    model.producer_name = "rekur"
    model.producer_version = producer
    model.doc_string = f"Model '{name}', exported by rekur {producer}".rstrip() if doc is None else doc
    helper.set_model_props(model, dict(metadata))
    return model


def graph_proto(graph: Graph, name: str, opset: int) -> Any:
    """An ``onnx.GraphProto``, those of bodies in it."""
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "bool": TensorProto.BOOL}
    nodes = []
    for n in graph.nodes:
        inputs, attributes = n.inputs, dict(n.attributes)
        if opset >= 18 and n.op in ("ReduceMax", "ReduceMin"):  # axes became an input
            inputs = [*inputs, graph.integers(*attributes.pop("axes"))]
        for key, value in attributes.items():
            if isinstance(value, Graph):
                attributes[key] = graph_proto(value, n.name, opset)
        node = helper.make_node(n.op, inputs, n.outputs, name=n.name, domain=n.domain or None, **attributes)
        if n.doc:
            node.doc_string = n.doc
        nodes.append(node)

    def described(values: Interface) -> list[Any]:
        return [
            helper.make_tensor_value_info(n, kinds[t], None if graph.shared and not shape else shape)
            for n, t, shape in values
        ]

    initializers = {} if graph.shared else graph.initializers
    return helper.make_graph(
        nodes,
        name,
        described(graph.inputs),
        described(graph.outputs),
        [numpy_helper.from_array(array, n) for n, array in initializers.items()],
    )
