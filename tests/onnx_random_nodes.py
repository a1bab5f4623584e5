"""Random ONNX graphs of the operators that the import takes, right ones and ones that are nearly right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnx_random_graph import SIZES, Graph

OPSETS = (11, 13, 14, 17, 18, 21)
EDGES = (-(2**63), -(2**31), -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 2**31 - 1, 2**63 - 1)
UNARY = ("Tanh", "Sigmoid", "Relu", "Softsign", "Softplus", "LeakyRelu", "Elu", "ThresholdedRelu", "HardSigmoid", "Neg")
BINARY = ("Add", "Sub", "Mul", "Div")
# without Softplus, which overflows in onnxruntime's recurrent nodes from 88.7 on
INSIDE = (
    "Tanh",
    "Sigmoid",
    "Relu",
    "Softsign",
    "LeakyRelu",
    "HardSigmoid",
    "Elu",
    "Affine",
    "ScaledTanh",
    "sigmoid",
    "ThresholdedRelu",
)
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


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
    two = g.constant(np.float32(g.pick(2.0, 2.0, 2.0, 4.0)))  # of an odd one the root may be no number
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
            g.node("Reshape", [x, g.sizes_of(x, target)], allowzero=1 if g.chance(0.03) else None)
        case 7:
            if g.chance(0.5):
                g.node("Flatten", [x], axis=int(g.rng.integers(-rank, rank + 1)))
            else:
                g.node("Expand", [x, g.sizes_of(x, wide(g, shape))])


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


def embedding(g: Graph) -> None:
    """Ids, or floats that are cast to them, look up rows."""
    name = f"ids{len(g.inputs)}"
    kind = g.pick(TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT)
    g.inputs[name] = (kind, g.pick(["B", "T"], ["T", "B"], ["B"]))
    table = g.floats(*g.pick((3, 4), (3, 4), (3, 1), (3,), (3, 2, 2)))
    ids = g.node("Cast", [name], to=int(g.pick(6, 7))) if kind == TensorProto.FLOAT or g.chance(0.2) else [name]
    if not ids or not g.node("Gather", [table, ids[0]], axis=g.pick(None, 0, 0, 1)):
        g.inputs.pop(name, None)
        g.nodes = [node for node in g.nodes if name not in node.input]


def another_input(g: Graph) -> None:
    x = any_tensor(g)
    symbols = {size: symbol for symbol, size in SIZES.items()}
    name = f"z{len(g.inputs)}"
    g.inputs[name] = (TensorProto.FLOAT, [symbols.get(size, size) for size in g.shapes[x]])
    g.shapes[name] = g.shapes[x]


def branches(g: Graph) -> None:
    """An If, as PyTorch writes it for squeeze, or by a constant."""
    x = any_tensor(g)
    shape = g.shapes[x]
    if g.chance(0.5) or not shape:
        condition = g.constant(np.array(bool(g.chance(0.5))))
    else:
        whole = g.node("Shape", [x])
        index = g.constant(np.int64(some_axis(g, len(shape))))
        size = whole and g.node("Gather", [whole[0], index])
        made = size and g.node(g.pick("Equal", "Less", "Greater"), [size[0], g.constant(np.int64(g.pick(1, 1, 3, 5)))])
        made = made and g.node("Not", made) if g.chance(0.2) else made
        if not made:
            return
        condition = made[0]
    inner = []
    for k, op in enumerate((g.pick(*UNARY), g.pick("Identity", "Neg", "Softmax"))):
        name = f"b{len(g.nodes)}_{k}"
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        made_node = helper.make_node(op, [x], [name], name=f"{name}_node")
        inner.append(helper.make_graph([made_node], "branch", [], [value]))
    g.node("If", [condition], then_branch=inner[0], else_branch=inner[1])


STEPS = (
    (embedding, 1),
    (another_input, 1),
    (branches, 1),
    (recurrent, 4),
    (dense, 3),
    (constant_operand, 3),
    (merge, 2),
    (elementwise, 2),
    (special, 3),
)
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
    if g.chance(0.1):
        embedding(g)
    if g.chance(0.5):
        recurrent(g)
    for _ in range(g.rng.integers(1, 8)):
        KINDS[g.rng.integers(len(KINDS))](g)
    made = [name for name in g.shapes if name not in g.inputs]
    if not made:
        return None
    outputs = [made[-1]] if len(made) == 1 or g.chance(0.7) else list(dict.fromkeys([made[-1], g.pick(*made)]))
    return g.model(outputs)
