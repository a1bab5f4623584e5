"""Structural changes of ONNX graphs: an attribute, a constant, an input, an operator, an opset, a shape."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnx_random_nodes import BINARY, EDGES, INSIDE, UNARY


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
