"""A random ONNX graph in the making, whose shapes onnx's own shape inference tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = {"T": 5, "B": 3}  # at which shapes are inferred


@dataclass
class Graph:
    """A graph in the making; the shapes of all tensors are those at ``SIZES``."""

    rng: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: dict[str, tuple[int, list[Any]]] = field(default_factory=dict)  # element type, shape with symbols
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of float tensors
    sizes: dict[str, int] = field(default_factory=dict)  # of vectors of sizes: their length

    def pick(self, *options: Any) -> Any:
        return options[self.rng.integers(len(options))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def floats(self, *shape: int) -> str:
        """A constant, now and then one that is computed."""
        array = (self.rng.standard_normal(shape) * 0.5).astype(np.float32)
        return self.folded(array) if self.chance(0.1) else self.constant(array)

    def folded(self, array: np.ndarray) -> str:
        rank, before = array.ndim, set(self.shapes)
        match self.rng.integers(9):
            case 0:
                made = self.node("Transpose", [self.constant(array.T)])
            case 1:
                made = self.node(
                    "Reshape", [self.constant(array.reshape(-1)), self.constant(np.array(array.shape, np.int64))]
                )
            case 2:
                made = self.node("Add", [self.constant(array), self.constant(np.float32(0.25))])
            case 3:
                made = self.node("Cast", [self.constant(array.astype(np.float64))], to=1)
            case 4:
                made = self.axes("Unsqueeze", self.constant(array[0] if rank else array), [0])
            case 5 if rank:
                twice = self.constant(np.concatenate([array, array]))
                bounds = (self.constant(np.array([v], np.int64)) for v in (array.shape[0], 2**63 - 1))
                made = self.node("Slice", [twice, *bounds])
            case 6 if rank:
                made = self.node("Concat", [self.constant(array[:1]), self.constant(array[1:])], axis=0)
            case 7 if rank:
                order = np.arange(array.shape[0])[::-1] - (array.shape[0] if self.chance(0.5) else 0)
                made = self.node("Gather", [self.constant(array), self.constant(order)])
            case _:
                made = self.node(
                    "Where", [self.constant(np.array(True)), self.constant(array), self.constant(np.float32(0))]
                )
        for name in set(self.shapes) - before:
            del self.shapes[name]
        return made[0] if made else self.constant(array)

    def sizes_of(self, x: str, target: Sequence[int]) -> str:
        """A shape as exporters compute it: from the sizes of x, and numbers."""
        shape = self.shapes[x]
        if self.chance(0.5) or not target:
            return self.constant(np.array(target, np.int64))
        whole = self.node("Shape", [x])
        parts = []
        for size in target:
            if size in shape and whole and self.chance(0.6):
                index = self.constant(np.array([shape.index(size)]))
                parts += self.node("Gather", [whole[0], index]) or [self.constant(np.array([size]))]
            else:
                parts.append(self.constant(np.array([size], np.int64)))
        joined = self.node("Concat", parts, axis=0)
        if joined and self.chance(0.2):  # PyTorch's expand
            minus = self.constant(np.array([-1], np.int64))
            known = self.node("Equal", [joined[0], minus])
            ones = self.constant(np.ones(len(target), np.int64))
            joined = (known and self.node("Where", [known[0], ones, joined[0]])) or joined
        return joined[0] if joined else self.constant(np.array(target, np.int64))

    def model(self, outputs: Sequence[str], symbolic: bool = True) -> onnx.ModelProto:
        given = [
            helper.make_tensor_value_info(name, kind, [size if symbolic else SIZES.get(size, size) for size in shape])
            for name, (kind, shape) in self.inputs.items()
        ]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        stored = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "random", given, made, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Append a node, or nothing where onnx's own shape inference finds it wrong."""
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        kept = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **kept))
        try:
            inferred = onnx.shape_inference.infer_shapes(self.model(names, symbolic=False), True, True, True)
        except Exception:
            self.nodes.pop()
            return []
        for value in (*inferred.graph.value_info, *inferred.graph.output):
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim)
            if value.name not in names or not value.type.tensor_type.HasField("shape"):
                continue
            if -1 in shape or 0 in shape:  # of a size that only the data will tell, or empty
                self.nodes.pop()
                return []
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                self.shapes[value.name] = shape
            elif value.type.tensor_type.elem_type == TensorProto.INT64 and len(shape) == 1:
                self.sizes[value.name] = shape[0]
        return names

    def axes(self, op: str, x: str, axes: Sequence[int], **attributes: Any) -> list[str]:
        """Axes are an attribute, in newer opsets an input."""
        newer = self.opset >= (18 if op.startswith("Reduce") else 13)
        if newer:
            return self.node(op, [x, self.constant(np.array(axes, np.int64))], **attributes)
        return self.node(op, [x], axes=list(axes), **attributes)
