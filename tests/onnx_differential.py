"""Random ONNX graphs and mutants of real ones, through onnxruntime and the import side by side.

    python tests/onnx_differential.py --cases 20000 --seed 7      # a long run; prints counts and what disagrees

What the import takes must give onnxruntime's numbers, to 1e-5 of the output's magnitude; everything else it must
refuse. Where onnxruntime itself refuses to run a graph, onnx's reference evaluator must agree with the import.
A run is one process of its own: onnxruntime ends the process on some inputs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = {"T": 5, "B": 3}
OTHER = {"T": 4, "B": 4}
TOLERANCE = 1e-5
HUGE = 1e4  # beyond that outputs are not compared

OPSETS = (11, 13, 14, 17, 18, 21)
EDGES = (-(2**63), -(2**31), -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 2**31 - 1, 2**63 - 1)
UNARY = ("Tanh", "Sigmoid", "Relu", "Softsign", "Softplus", "LeakyRelu", "Elu", "ThresholdedRelu", "HardSigmoid", "Neg")
BINARY = ("Add", "Sub", "Mul", "Div")
INSIDE = ("Tanh", "Sigmoid", "Relu", "Softsign", "LeakyRelu", "HardSigmoid", "Elu", "Affine", "ScaledTanh", "sigmoid")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


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
        return self.constant((self.rng.standard_normal(shape) * 0.5).astype(np.float32))

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


def any_tensor(g: Graph) -> str:
    names = list(g.shapes)
    return names[-1] if g.chance(0.6) else names[g.rng.integers(len(names))]


def some_axis(g: Graph, rank: int) -> int:
    return int(g.rng.integers(-rank, rank)) if rank else 0


def recurrent(g: Graph) -> None:
    candidates = [name for name, shape in g.shapes.items() if len(shape) == 3]
    if not candidates:
        return
    x = candidates[-1] if g.chance(0.7) else g.pick(*candidates)
    op, units = g.pick("RNN", "GRU", "LSTM"), int(g.pick(1, 2, 4, 6))
    direction = g.pick("forward", "forward", "reverse", "bidirectional")
    d, rows, batch = 1 + (direction == "bidirectional"), GATES[op] * units, g.shapes[x][1]
    inputs = [x, g.floats(d, rows, g.shapes[x][2]), g.floats(d, rows, units)]
    inputs.append(g.floats(d, 2 * rows) if g.chance(0.7) else "")
    lens = ""
    if g.chance(0.2):
        lens = "lens" if g.chance(0.7) else g.constant(np.full(batch, g.shapes[x][0], np.int32))
        if lens == "lens":
            g.inputs["lens"] = (TensorProto.INT32, ["B"])
    inputs.append(lens)
    for k in range(2 if op == "LSTM" else 1):
        inputs.append(state(g, x, d, batch, units, f"s{len(g.nodes)}_{k}"))
    if op == "LSTM" and g.chance(0.2):
        inputs.append(g.floats(d, 3 * units))
    while inputs[-1] == "":
        inputs.pop()
    extra: dict[str, Any] = {"hidden_size": units, "direction": direction}
    if g.chance(0.3):
        count = {"RNN": 1, "GRU": 2, "LSTM": 3}[op] * d
        extra["activations"] = [g.pick(*INSIDE) for _ in range(count)]
        extra["activation_alpha"] = [0.3 + 0.1 * k for k in range(g.rng.integers(count + 2))]
        extra["activation_beta"] = [0.2 + 0.1 * k for k in range(g.rng.integers(count + 2))]
        extra = {key: value for key, value in extra.items() if value}
    if g.chance(0.15):
        extra["clip"] = float(g.pick(0.2, 1.0, 5.0))
    if op == "GRU" and g.chance(0.5):
        extra["linear_before_reset"] = 1
    if op == "LSTM" and g.chance(0.1):
        extra["input_forget"] = 1
    if g.opset >= 14 and g.chance(0.1):
        extra["layout"] = g.pick(0, 1)
    g.node(op, inputs, 3 if op == "LSTM" else 2, **extra)


def state(g: Graph, x: str, directions: int, batch: int, units: int, name: str) -> str:
    """An initial state: none, constant, made of the input's shape, an input of the graph, another node's."""
    shape = (directions, batch, units)
    match g.rng.integers(9):
        case 0:
            return g.constant(np.zeros(shape, np.float32))
        case 1:
            wrong = list(shape)
            wrong[g.rng.integers(3)] = int(g.pick(1, 2, 3))
            return g.constant(np.zeros(wrong, np.float32))
        case 2 | 3:
            sizes = g.node("Shape", [x])
            if not sizes:
                return ""
            rows = g.node("Gather", [sizes[0], g.constant(np.array([1]))])
            parts = [g.constant(np.array([directions])), rows[0], g.constant(np.array([units]))]
            whole = g.node("Concat", parts, axis=0)
            if not whole:
                return ""
            if g.chance(0.5):
                filler = helper.make_tensor("value", TensorProto.FLOAT, [1], [float(g.pick(0.0, 0.0, 0.3))])
                return (g.node("ConstantOfShape", whole, value=filler) or [""])[0]
            return (g.node("Expand", [g.floats(*g.pick((1, 1, units), (directions, 1, units), (1,))), *whole]) or [""])[
                0
            ]
        case 4 if batch == SIZES["B"]:
            g.inputs[name] = (TensorProto.FLOAT, [directions, "B", units])
            return name
        case 5:
            fits = [tensor for tensor, own in g.shapes.items() if own == shape]
            return g.pick(*fits) if fits else ""
    return ""


def dense(g: Graph) -> None:
    x = any_tensor(g)
    shape = g.shapes[x]
    if not shape:
        return
    features, units = shape[-1], int(g.pick(1, 2, 3, 5))
    if g.chance(0.5):
        kernel = g.pick((features, units), (features, units), (features,), (1, features, units), (2, features, units))
        g.node("MatMul", [x, g.floats(*kernel)])
        return
    turned = int(g.chance(0.5))
    inputs = [x, g.floats(*((units, features) if turned else (features, units)))]
    if g.chance(0.8):
        inputs.append(
            g.floats(*g.pick((units,), (units,), (1, units), (1,), (), (shape[0], 1), (shape[0], units), (1, 1)))
        )
    scale = {"alpha": 0.5, "beta": 2.0} if g.chance(0.2) else {}
    g.node("Gemm", inputs, transB=turned, transA=int(g.chance(0.05)), **scale)


def wide(g: Graph, shape: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts with this one, or nearly."""
    result = [int(n if g.chance(0.4) else 1) for n in shape]
    match g.rng.integers(6):
        case 0:
            result = result[g.rng.integers(len(result) + 1) :]
        case 1:
            result = list(shape[-1:])
        case 2:
            result = []
        case 3 if g.chance(0.3):
            result = [1, *result]
    return tuple(result)


def constant_operand(g: Graph) -> None:
    x = any_tensor(g)
    if g.chance(0.15):
        sizes = g.node("Shape", [any_tensor(g)])
        if not sizes:
            return
        filler = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.7])
        other = (g.node("ConstantOfShape", sizes, value=filler) or [""])[0]
    else:
        other = g.floats(*wide(g, g.shapes[x]))
    if other:
        g.node(g.pick(*BINARY), [x, other] if g.chance(0.7) else [other, x])


def merge(g: Graph) -> None:
    x = any_tensor(g)
    same = [name for name, shape in g.shapes.items() if shape == g.shapes[x]]
    other = g.pick(*same) if same and g.chance(0.8) else g.pick(*g.shapes)
    op = g.pick(*BINARY[:3], "Sum", "Concat", "Div")
    if op == "Sum":
        g.node(op, [x, other, x][: g.rng.integers(1, 4)])
    elif op == "Concat":
        g.node(op, [x, other, x][: g.rng.integers(1, 4)], axis=some_axis(g, len(g.shapes[x])))
    else:
        g.node(op, [x, other])


def elementwise(g: Graph) -> None:
    x, op = any_tensor(g), g.pick(*UNARY)
    extra = {"LeakyRelu": ["alpha"], "Elu": ["alpha"], "ThresholdedRelu": ["alpha"], "HardSigmoid": ["alpha", "beta"]}
    g.node(op, [x], **{key: float(g.pick(0.1, 0.5, 2.0)) for key in extra.get(op, ()) if g.chance(0.5)})


def special(g: Graph) -> None:
    x = any_tensor(g)
    shape = g.shapes[x]
    rank, features = len(shape), shape[-1] if shape else 1
    match g.rng.integers(9):
        case 0:
            g.node("PRelu", [x, g.floats(*g.pick((1,), (), (features,), wide(g, shape)))])
        case 1 | 2:
            g.node("Softmax", [x], axis=None if g.chance(0.3) else some_axis(g, rank))
        case 3:
            ratio = float(g.pick(0.0, 0.3, 0.5))
            if g.opset < 12:
                g.node("Dropout", [x], ratio=ratio)
            else:
                g.node("Dropout", [x, g.constant(np.float32(ratio))][: g.rng.integers(1, 3)])
        case 4 | 5 if g.opset >= 17:
            axis = g.pick(-1, -1, rank - 1, some_axis(g, rank))
            form = g.pick((features,), (features,), (1, features), (features, 1), (1,), wide(g, shape))
            bias = [g.floats(*g.pick((features,), form))] if g.chance(0.5) else []
            g.node("LayerNormalization", [x, g.floats(*form), *bias], axis=axis, epsilon=float(g.pick(1e-5, 0.1)))
        case 6:
            count = shape[1] if rank > 1 else 1
            moments = [g.floats(count) for _ in range(3)]
            g.node("BatchNormalization", [x, *moments, g.constant(np.full(count, 0.7, np.float32))])
        case 7:
            g.node("Identity", [x])
        case 8:
            g.node("Cast", [x], to=int(g.pick(1, 1, 11, 7)))


def normalisation(g: Graph) -> None:
    """One taken apart, with slips."""
    x = any_tensor(g)
    rank = len(g.shapes[x])
    axis = -1 if g.chance(0.85) else some_axis(g, rank)
    keep = int(g.chance(0.95))
    mean = g.axes("ReduceMean", x, [axis], keepdims=keep)
    centred = mean and g.node("Sub", [x, mean[0]])
    if not centred:
        return
    two = g.constant(np.float32(g.pick(2.0, 2.0, 2.0, 3.0)))
    squares = g.node("Pow", [centred[0], two]) if g.chance(0.5) else g.node("Mul", [centred[0], centred[0]])
    variance = squares and g.axes("ReduceMean", squares[0], [-1], keepdims=keep)
    for _ in range(int(g.pick(0, 1, 1, 1, 1, 2))):
        eps = g.constant(np.full(g.pick((), (), (1,), (1,) * rank, (1,) * (rank + 1)), 0.1, np.float32))
        variance = variance and g.node("Add", [variance[0], eps] if g.chance(0.7) else [eps, variance[0]])
    root = variance and g.node("Sqrt", variance)
    if not root:
        return
    if g.chance(0.5):
        made = g.node("Div", [centred[0], root[0]])
    else:
        inverse = g.node("Reciprocal", root)
        made = inverse and g.node("Mul", [centred[0], inverse[0]] if g.chance(0.7) else [inverse[0], centred[0]])
    if made and g.chance(0.6):
        made = g.node("Mul", [made[0], g.floats(g.shapes[x][-1])])
        if made and g.chance(0.7):
            g.node("Add", [made[0], g.floats(g.shapes[x][-1])])


def layout(g: Graph) -> None:
    x = any_tensor(g)
    shape = g.shapes[x]
    rank = len(shape)
    match g.rng.integers(8):
        case 0 | 1:
            ones = [k for k in range(rank) if shape[k] == 1]
            if ones and g.chance(0.9):
                g.axes("Squeeze", x, [g.pick(*ones) - (rank if g.chance(0.3) else 0)])
            elif g.chance(0.3):
                g.node("Squeeze", [x])
        case 2:
            if rank < 4:
                g.axes("Unsqueeze", x, [int(g.rng.integers(-rank - 1, rank + 1))])
        case 3 | 4:
            if rank:
                g.node("Transpose", [x], perm=None if g.chance(0.1) else [int(k) for k in g.rng.permutation(rank)])
        case 5 | 6:
            target = list(shape)
            if g.chance(0.4) and rank > 1:
                k = int(g.rng.integers(rank - 1))
                target[k : k + 2] = [target[k] * target[k + 1]]
            elif g.chance(0.4) and rank:
                k = int(g.rng.integers(rank))
                target[k : k + 1] = g.pick([1, target[k]], [target[k], 1], [2, target[k] // 2], [-1])
            if target:
                target = [0 if k < rank and n == shape[k] and g.chance(0.3) else n for k, n in enumerate(target)]
                target[g.rng.integers(len(target))] = -1
            g.node("Reshape", [x, g.constant(np.array(target, np.int64))], allowzero=1 if g.chance(0.03) else None)
        case 7:
            if g.chance(0.5):
                g.node("Flatten", [x], axis=int(g.rng.integers(-rank, rank + 1)))
            else:
                g.node("Expand", [x, g.constant(np.array(wide(g, shape), np.int64))])


def pick(g: Graph) -> None:
    x = any_tensor(g)
    shape = g.shapes[x]
    rank = len(shape)
    if not rank:
        return
    axis = some_axis(g, rank)
    size = shape[axis]
    match g.rng.integers(5):
        case 0 | 1:
            start = int(g.pick(0, -1, int(g.rng.integers(-size - 1, size + 1)), g.pick(*EDGES)))
            end = int(g.pick(start + 1, 2**63 - 1, size, 0, g.pick(*EDGES)))
            end = min(max(end, -(2**63)), 2**63 - 1)
            step = int(g.pick(1, 1, 1, 1, 2, -1, -2))
            inputs = [x, *(g.constant(np.array([v], np.int64)) for v in (start, end, axis, step))]
            g.node("Slice", inputs[: 5 if step != 1 or g.chance(0.5) else 4])
        case 2 | 3:
            index = int(g.rng.integers(-size, size))
            g.node(
                "Gather", [x, g.constant(g.pick(np.int64(index), np.array([index]), np.array([index, 0])))], axis=axis
            )
        case 4:
            if g.opset < 13:
                g.node("Split", [x], 2, axis=axis)
            elif g.chance(0.5):
                g.node("Split", [x, g.constant(np.array([1, size - 1], np.int64))], 2, axis=axis)
            else:
                g.node("Split", [x], 2, axis=axis, num_outputs=2 if g.opset >= 18 else None)


STEPS = ((recurrent, 4), (dense, 3), (constant_operand, 3), (merge, 2), (elementwise, 2), (special, 3))
STEPS = (*STEPS, (normalisation, 1), (layout, 5), (pick, 4))
KINDS = [step for step, weight in STEPS for _ in range(weight)]


def random_model(rng: np.random.Generator) -> onnx.ModelProto | None:
    g = Graph(rng, int(OPSETS[rng.integers(len(OPSETS))]))
    features = int(g.pick(1, 2, 4))
    shape = g.pick(["T", "B", features], ["T", "B", features], ["B", "T", features], ["B", features], ["B", "T"])
    if g.chance(0.2):
        shape = [SIZES[size] if size in SIZES and g.chance(0.6) else size for size in shape]
    g.inputs["x"] = (TensorProto.FLOAT, shape)
    g.shapes["x"] = tuple(SIZES.get(size, size) for size in shape)
    if g.chance(0.5):
        recurrent(g)
    for _ in range(g.rng.integers(1, 8)):
        KINDS[g.rng.integers(len(KINDS))](g)
    made = [name for name in g.shapes if name not in g.inputs]
    if not made:
        return None
    outputs = [made[-1]] if len(made) == 1 or g.chance(0.7) else list(dict.fromkeys([made[-1], g.pick(*made)]))
    return g.model(outputs)


# Mutants.


def mutate(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """One structural change: an attribute, a constant, an input, an operator, an opset, a shape."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if not graph.node:
        return result
    node = graph.node[rng.integers(len(graph.node))]
    names = [name for n in graph.node for name in (*n.input, *n.output) if name] + [v.name for v in graph.input]
    match rng.integers(12):
        case 0 | 1:
            _change_attribute(node, rng)
        case 2 | 3 | 4:
            _change_constant(graph, rng)
        case 5:
            if len(node.input) > 1:
                a, b = rng.choice(len(node.input), 2, replace=False)
                node.input[a], node.input[b] = node.input[b], node.input[a]
        case 6:
            if node.input:
                node.input[rng.integers(len(node.input))] = str(rng.choice(names)) if rng.random() < 0.8 else ""
        case 7:
            if len(node.input) > 1:
                del node.input[rng.integers(1, len(node.input)) :]
        case 8:
            for group in (BINARY, UNARY, ("RNN", "GRU", "LSTM"), ("Squeeze", "Unsqueeze"), ("MatMul", "Gemm", "PRelu")):
                if node.op_type in group:
                    node.op_type = str(rng.choice(group))
        case 9:
            result.opset_import[0].version = int(rng.integers(7, 23))
        case 10:
            dims = graph.input[rng.integers(len(graph.input))].type.tensor_type.shape.dim
            if dims:
                dims[rng.integers(len(dims))].dim_value = int(rng.choice([1, 2, 3, 4, 5]))
        case 11:
            _insert(graph, rng)
    return result


def _change_attribute(node: onnx.NodeProto, rng: np.random.Generator) -> None:
    if not node.attribute or rng.random() < 0.2:
        name, value = [
            ("axis", 0), ("axis", -1), ("axis", 2), ("direction", "reverse"), ("direction", "bidirectional"),
            ("clip", 0.3), ("transB", 1), ("transA", 1), ("alpha", 0.3), ("beta", 0.4), ("epsilon", 0.3),
            ("keepdims", 0), ("layout", 1), ("linear_before_reset", 1), ("input_forget", 1), ("allowzero", 1),
            ("perm", [1, 0, 2]), ("stash_type", 10), ("noop_with_empty_axes", 1), ("hidden_size", 3),
        ][rng.integers(20)]  # fmt: skip
        if name not in [entry.name for entry in node.attribute]:
            node.attribute.append(helper.make_attribute(name, value))
        return
    entry = node.attribute[rng.integers(len(node.attribute))]
    if rng.random() < 0.2:
        node.attribute.remove(entry)
        return
    match entry.type:
        case onnx.AttributeProto.INT:
            entry.i = int(rng.choice([entry.i + 1, entry.i - 1, 0, 1, -1, 2, 7]))
        case onnx.AttributeProto.FLOAT:
            entry.f = float(rng.choice([0.0, -1.0, 0.25, 3.0, 1e-3]))
        case onnx.AttributeProto.STRING:
            entry.s = [b"forward", b"reverse", b"bidirectional", b"backward"][rng.integers(4)]
        case onnx.AttributeProto.INTS if len(entry.ints):
            entry.ints[rng.integers(len(entry.ints))] = int(rng.integers(-3, 4))
        case onnx.AttributeProto.FLOATS if len(entry.floats):
            del entry.floats[rng.integers(len(entry.floats)) :]
        case onnx.AttributeProto.STRINGS if len(entry.strings):
            entry.strings[rng.integers(len(entry.strings))] = str(rng.choice(INSIDE)).encode()


def _change_constant(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    if not graph.initializer:
        return
    tensor = graph.initializer[rng.integers(len(graph.initializer))]
    array = numpy_helper.to_array(tensor)
    if array.dtype.kind == "i" and array.size and rng.random() < 0.7:
        changed = array.copy().reshape(-1)
        low, high = np.iinfo(array.dtype).min, np.iinfo(array.dtype).max
        changed[rng.integers(changed.size)] = min(max(int(rng.choice(EDGES)), low), high)
        changed = changed.reshape(array.shape)
    else:
        axis = int(rng.integers(array.ndim)) if array.ndim else 0
        match rng.integers(8):
            case 0:
                changed = array.T
            case 1:
                changed = np.expand_dims(array, int(rng.integers(array.ndim + 1)))
            case 2:
                changed = np.squeeze(array)
            case 3:
                changed = array[..., None]
            case 4 if array.ndim:
                changed = np.repeat(array, 2, axis=axis)
            case 5 if array.ndim and array.shape[axis] > 1:
                changed = np.take(array, np.arange(array.shape[axis] - 1), axis)
            case 6 if array.ndim:
                changed = np.take(array, [0], axis) if array.shape[axis] else array
            case _:
                kinds = [np.float64, np.float16, np.int64, np.int32, np.float32]
                with np.errstate(all="ignore"):
                    changed = array.astype(kinds[rng.integers(len(kinds))])
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed).reshape(changed.shape), tensor.name))


def _insert(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    """A node between another and what it reads."""
    index = int(rng.integers(len(graph.node)))
    node = graph.node[index]
    if not node.input or not node.input[0]:
        return
    name = f"inserted{len(graph.node)}"
    op, extra = [
        ("Transpose", {}), ("Transpose", {"perm": [1, 0, 2]}), ("Transpose", {"perm": [0, 2, 1]}), ("Identity", {}),
        ("Cast", {"to": 1}), ("Cast", {"to": 7}), ("Neg", {}), ("Flatten", {}), ("Squeeze", {}), ("Softmax", {}),
    ][rng.integers(10)]  # fmt: skip
    made = helper.make_node(op, [node.input[0]], [name], name=name, **extra)
    node.input[0] = name
    graph.node.insert(index, made)


# Judging.


def live(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the nodes that no output needs: the import leaves them alone, onnxruntime refuses a graph for them."""
    needed = {value.name for value in model.graph.output}
    kept: list[onnx.NodeProto] = []
    before = -1
    while before != len(needed):
        before = len(needed)
        kept = [node for node in model.graph.node if needed & set(node.output)]
        needed.update(name for node in kept for name in node.input if name)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:]
    result.graph.node.extend(kept)
    return result


def as_onnxruntime_takes_it(model: onnx.ModelProto) -> onnx.ModelProto:
    """What ONNX allows and onnxruntime refuses, said otherwise.

    Layout 1 becomes Transpose, hidden_size is written out, activations have their usual case, trailing inputs that
    are left out are not there.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = list(result.graph.node)
    del result.graph.node[:]
    units = {tensor.name: tensor.dims[-1] for tensor in model.graph.initializer if tensor.dims}
    for k, node in enumerate(nodes):
        while node.input and not node.input[-1]:
            del node.input[-1]
        names = [entry.name for entry in node.attribute]
        if node.op_type in GATES and "hidden_size" not in names and len(node.input) > 2 and node.input[2] in units:
            node.attribute.append(helper.make_attribute("hidden_size", units[node.input[2]]))
        for entry in node.attribute:
            if entry.name == "activations":
                entry.strings[:] = [
                    text.replace(b"sigmoid", b"Sigmoid", 1) if text == b"sigmoid" else text for text in entry.strings
                ]
        batch_first = [entry for entry in node.attribute if entry.name == "layout" and entry.i == 1]
        if node.op_type not in GATES or not batch_first:
            result.graph.node.append(node)
            continue
        node.attribute.remove(batch_first[0])
        after = []
        for index in (0, 5, 6):
            if index < len(node.input) and node.input[index]:
                name = f"turned_{k}_{index}"
                result.graph.node.append(helper.make_node("Transpose", [node.input[index]], [name], perm=[1, 0, 2]))
                node.input[index] = name
        for index, name in enumerate(node.output):
            if name:
                perm = [2, 0, 1, 3] if index == 0 else [1, 0, 2]
                after.append(helper.make_node("Transpose", [f"plain_{k}_{index}"], [name], perm=perm))
                node.output[index] = f"plain_{k}_{index}"
        result.graph.node.extend([node, *after])
    return result


def feed_of(model: onnx.ModelProto, sizes: dict[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers for every input, at these sizes of the symbols; lengths within the steps."""
    stored = {tensor.name for tensor in model.graph.initializer}
    feed = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        kind = value.type.tensor_type.elem_type
        shape = [
            d.dim_value if d.HasField("dim_value") else _size(d.dim_param, sizes)
            for d in value.type.tensor_type.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        if np.dtype(dtype).kind in "iu":
            low = 1 if "len" in value.name else 0
            feed[value.name] = rng.integers(low, min(sizes.values()) if low else 2, shape).astype(dtype)
        else:
            feed[value.name] = rng.standard_normal(shape).astype(dtype)
    return feed


def _size(symbol: str, sizes: dict[str, int]) -> int:
    low = symbol.lower()
    return sizes["B"] if low in ("b", "batch", "n", "s0") or low.endswith("batch") else sizes["T"]


def by_onnxruntime(model: onnx.ModelProto, feed: dict[str, np.ndarray], plain: bool = False) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feed))


def by_reference(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return list(ReferenceEvaluator(model).run(None, feed))


def distance(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> str | None:
    """What is wrong with ours, or None."""
    for k, (y, e) in enumerate(zip(ours, theirs, strict=True)):
        e = np.asarray(e)
        if y.shape != e.shape:
            return f"output {k} has shape {y.shape}, expected {e.shape}"
        if not e.size:
            continue
        wild = not np.isfinite(e).all() or np.abs(e).max() > HUGE
        if wild and (not np.isfinite(y).all() or np.abs(y).max() > HUGE / 10):
            continue
        worst = float(np.abs(y.astype(np.float64) - e).max())
        if not worst <= TOLERANCE * max(1.0, float(np.abs(e).max())):
            return f"output {k} is {worst:.3g} off"
    return None


def judge(model: onnx.ModelProto, seed: int) -> tuple[str, str]:
    """(verdict, what was seen): refused, equal, unread (only by shapes it cannot run), reference, or wrong."""
    from rekur.onnx import LoadError
    from rekur.onnx.backend import RekurBackendRep

    model = live(model)
    try:
        ours = RekurBackendRep(model)
        if ours._loaded is None:
            return "refused", "a weight is an input"
    except LoadError as error:
        return "refused", str(error)
    except Exception as error:
        return "wrong", f"the import raises {error!r}"
    verdict = "refused in the run"
    for sizes in (SIZES, OTHER):
        feed = feed_of(model, sizes, np.random.default_rng(seed))
        try:
            actual = ours.run(feed)
        except ValueError as error:
            seen = str(error)
            continue
        except Exception as error:
            return "wrong", f"the run raises {error!r}"
        try:
            expected = by_onnxruntime(as_onnxruntime_takes_it(model), feed)
        except Exception as error:
            seen = str(error).replace("\n", " ")[:300]
            try:
                fault = distance(actual, by_reference(model, feed))
            except Exception as reason:
                return "wrong", f"onnxruntime refuses: {seen}; so does the reference: {reason!r:.200}"
            if fault:
                return "wrong", f"onnxruntime refuses: {seen}; by the reference, {fault}"
            verdict = "by the reference"
            continue
        if fault := distance(actual, expected):
            return "wrong", f"{fault} at {sizes}"
        verdict, seen = "equal", ""
    return verdict, seen


def sources() -> list[onnx.ModelProto]:
    """Files as exporters write them: ours, and what others write around recurrent nodes."""
    import test_onnx_load_operators as operators
    from onnx_graphs import COMMON, around

    result = []
    for _, (nodes, constants, *_) in {**operators.PLAIN, **operators.NEW}.items():
        try:
            result.append(around(nodes, np.random.default_rng(1), **COMMON, **constants))
        except Exception:  # constants of the table that need more
            continue
    return result + exported()


def exported() -> list[onnx.ModelProto]:
    import tempfile

    import rekur
    import rekur.onnx
    from rekur import layers

    result = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for kind in (layers.SimpleRNN, layers.LSTM, layers.GRU):
            x = rekur.Input((None, 3), name="x")
            y = layers.Bidirectional(kind(4, return_sequences=True))(x)
            y = layers.LayerNormalization()(kind(3, return_sequences=True)(layers.Dense(4, activation="tanh")(y)))
            outputs = [layers.Dense(2, activation="softmax")(layers.Step(-1)(y)), y]
            model = rekur.Model(x, outputs)
            for options in ({}, {"lengths": True}):
                rekur.onnx.export(model, path, verify=False, **options)
                result.append(onnx.load(path))
            live = rekur.Sequential([rekur.Input((None, 3)), kind(4, return_sequences=True), kind(4), layers.Dense(2)])
            for options in ({"streaming": True}, {"states": True}):
                rekur.onnx.export(live, path, verify=False, **options)
                result.append(onnx.load(path))
    return result


def case(index: int, seed: int, files: Sequence[onnx.ModelProto]) -> onnx.ModelProto | None:
    """Two thirds random graphs, a third of them changed; else changed files."""
    rng = np.random.default_rng((seed, index))
    if index % 3:
        model = random_model(rng)
        if model is None or index % 2:
            return model
    else:
        model = files[rng.integers(len(files))]
    for _ in range(rng.integers(1, 4)):
        model = mutate(model, rng)
    return model


def run(cases: int, seed: int, seconds: float, extra: Sequence[Path] = (), keep: Path | None = None) -> dict[str, Any]:
    files = sources() + [onnx.load(path) for path in extra]
    counts: Counter[str] = Counter()
    faults: list[str] = []
    end = time.monotonic() + seconds
    for index in range(cases):
        if time.monotonic() > end:
            break
        model = case(index, seed, files)
        if model is None:
            counts["nothing"] += 1
            continue
        print(f"case {index} of seed {seed}", file=sys.stderr) if keep else None
        verdict, seen = judge(model, index)
        counts[verdict] += 1
        if verdict == "wrong":
            faults.append(f"case {index} of seed {seed}: {seen}")
            if keep:
                onnx.save(model, keep / f"{seed}_{index}.onnx")
    return {"counts": dict(counts), "wrong": faults}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--files", type=Path, nargs="*", default=[], help="more ONNX files to change")
    parser.add_argument("--keep", type=Path, help="folder for the graphs that disagree")
    arguments = parser.parse_args()
    result = run(arguments.cases, arguments.seed, arguments.seconds, arguments.files, arguments.keep)
    print(json.dumps(result, indent=1))
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
