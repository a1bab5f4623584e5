"""One operator each, in every combination of what can be taken for something else: bounds, axes, shapes, ranks.

Each combination is a function that makes its model, so that a run can take some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import permutations, product
from typing import Any

import numpy as np
import onnx

from onnx_graphs import H, I, Shape, f32, model_of, node, recurrent_weights
from onnx_random_nodes import EDGES
from onnx_window_sweeps import window_sweeps

Make = Callable[[], onnx.ModelProto]

SHAPES: tuple[Shape, ...] = (("B", "T", I), ("B", I), ("B", "T", 1), ("B", 5, I), ("B", "T"))
OPERANDS = (
    (), (1,), (2,), (I,), (1, 1), (1, 2), (2, 1), (1, I), (I, 1), (3, 1), (3, 2), (3, I), (5, 1), (5, I), (4, 4),
    (1, 1, 1), (1, 1, 2), (1, 1, I), (1, I, 1), (1, 5, 1), (3, 1, 1), (3, 5, 1), (3, 5, I), (4, 4, 4), (1, 1, 1, 1),
    (1, 1, 1, I),
)  # fmt: skip
KERNELS = (
    (I,), (I, 2), (2, I), (I, I), (1, I, 2), (1, 1, I, 2), (2, I, 2), (3, I, 2), (5, I, 2), (I, 1), (1, I), (1, I, 1),
    (1,), (1, 1),
)  # fmt: skip
OPSETS = (7, 9, 11, 12, 13, 17, 21)


def made(nodes: list[onnx.NodeProto], shape: Shape, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    kept = {name: np.asarray(value) for name, value in constants.items()}
    return model_of(nodes, {"x": shape}, ["y"], kept, opset, infer=False)


def _slice(axis: int, shape: Shape, start: int, end: int, step: int) -> onnx.ModelProto:
    bounds = {"s": [start], "e": [end], "a": [axis], "n": [step]}
    return made([node("Slice", ["x", *bounds], ["y"])], shape, **bounds)


def slices() -> Iterator[Make]:
    axes: tuple[tuple[int, Shape], ...] = (
        (1, ("B", "T", I)), (1, ("B", 4, I)), (2, ("B", "T", I)), (0, ("B", "T", I)), (1, ("B", I)),
    )  # fmt: skip
    for (axis, shape), start, end, step in product(axes, EDGES, EDGES, (1, -1, 2)):
        yield partial(_slice, axis, shape, start, end, step)


def _gemm(c: tuple[int, ...], k: tuple[int, ...], a: int, b: int) -> onnx.ModelProto:
    gemm = node("Gemm", ["x", "k", "c"], ["y"], transA=a, transB=b, alpha=0.5, beta=2.0)
    return made([gemm], ("B", I), k=f32(*k), c=f32(*c))


def _operand(op: str, shape: Shape, c: tuple[int, ...], first: bool) -> onnx.ModelProto:
    return made([node(op, ["c", "x"] if first else ["x", "c"], ["y"])], shape, c=np.abs(f32(*c)) + np.float32(0.1))


def products() -> Iterator[Make]:
    for c, k, a, b in product(OPERANDS, KERNELS, (0, 1), (0, 1)):
        yield partial(_gemm, c, k, a, b)
    for op, shape, c, first in product(("Add", "Sub", "Mul", "Div", "PRelu", "Pow"), SHAPES, OPERANDS, (False, True)):
        yield partial(_operand, op, shape, c, first)
    for shape, k, first in product(SHAPES, KERNELS, (False, True)):
        yield partial(_operand, "MatMul", shape, k, first)


def _normalisation(axis: int, shape: Shape, c: tuple[int, ...], bias: bool) -> onnx.ModelProto:
    features = shape[-1] if isinstance(shape[-1], int) else 1
    inputs = ["x", "g", "c"] if bias else ["x", "c"]
    constants = {"c": f32(*c), **({"g": f32(features)} if bias else {})}
    return made([node("LayerNormalization", inputs, ["y"], axis=axis)], shape, **constants)


def _taken_apart(opset: int, axis: int, shape: Shape) -> onnx.ModelProto:
    def mean(x: str, y: str) -> onnx.NodeProto:
        return node("ReduceMean", [x], [y], axes=[axis]) if opset < 18 else node("ReduceMean", [x, "a"], [y])

    nodes = [
        mean("x", "m"), node("Sub", ["x", "m"], ["c"]), node("Mul", ["c", "c"], ["q"]), mean("q", "v"),
        node("Add", ["v", "e"], ["w"]), node("Sqrt", ["w"], ["s"]), node("Div", ["c", "s"], ["y"]),
    ]  # fmt: skip
    return made(nodes, shape, opset, a=[axis], e=np.float32(0.1))


def normalisations() -> Iterator[Make]:
    for axis, shape, c, bias in product(range(-4, 4), SHAPES, OPERANDS, (False, True)):
        yield partial(_normalisation, axis, shape, c, bias)
    for opset, axis, shape in product(OPSETS, range(-4, 5), SHAPES):
        yield partial(_taken_apart, opset, axis, shape)


def _of_axis(op: str, opset: int, axis: int, shape: Shape) -> onnx.ModelProto:
    if op in ("Softmax", "Flatten"):
        return made([node(op, ["x"], ["y"], axis=axis)], shape, opset)
    one = node(op, ["x"], ["y"], axes=[axis]) if opset < 13 else node(op, ["x", "a"], ["y"])
    return made([one], shape, opset, a=[axis])


def _gather(index: Any, opset: int, axis: int, shape: Shape) -> onnx.ModelProto:
    return made([node("Gather", ["x", "i"], ["y"], axis=axis)], shape, opset, i=index)


def _split(count: int, said: int | list[int], opset: int, axis: int, shape: Shape) -> onnx.ModelProto:
    outputs = ["y", *(f"z{k}" for k in range(count - 1))]
    if isinstance(said, list):
        return made([node("Split", ["x", "s"], outputs, axis=axis)], shape, opset, s=said)
    extra = {"num_outputs": said} if opset >= 18 else {}
    return made([node("Split", ["x"], outputs, axis=axis, **extra)], shape, opset)


def axes() -> Iterator[Make]:
    for opset, axis, shape in product(OPSETS, range(-4, 5), SHAPES):
        for op in ("Softmax", "Flatten", "Squeeze", "Unsqueeze"):
            yield partial(_of_axis, op, opset, axis, shape)
        for index in (0, -1, 2, 4, [0], [-1], [1, 2], [0, 0], [[1]]):
            yield partial(_gather, index, opset, axis, shape)
        for count, said in product((1, 2, 4), (1, 2, 3, 4, [1, 3], [3, 1], [4], [0, 4])):
            yield partial(_split, count, said, opset, axis, shape)


def _transpose(perm: tuple[int, ...], to: str) -> onnx.ModelProto:
    after = node("MatMul", ["t", "k"], ["y"]) if to == "MatMul" else node("Add", ["t", "x"], ["y"])
    return made([node("Transpose", ["x"], ["t"], perm=perm), after], ("B", "T", I), k=f32(I, 2))


def _reshape(op: str, target: tuple[int, ...], shape: Shape) -> onnx.ModelProto:
    return made([node(op, ["x", "s"], ["y"])], shape, s=np.array(target, np.int64))


def layouts() -> Iterator[Make]:
    for perm, to in product((*permutations(range(3)), *permutations((-1, 0, 1)), (0, 1), (0, 0, 1)), ("MatMul", "Add")):
        yield partial(_transpose, perm, to)
    for shape in (*SHAPES, (3, "T", I)):
        for rank in (1, 2, 3):
            for target in product((-2, -1, 0, 1, 3, 4, 5, 12, 15), repeat=rank):
                yield partial(_reshape, "Reshape", target, shape)
        for rank in (1, 2, 3, 4):
            for target in product((1, 3, 4, 5), repeat=rank):
                yield partial(_reshape, "Expand", target, shape)


PLACES = {"lens": 4, "h": 5, "c": 6, "P": 7}


def _recurrent(
    op: str, name: str, shape: tuple[int, ...], value: float, dtype: Any, direction: str, layout: int, units: int,
    fixed: bool,
) -> onnx.ModelProto:  # fmt: skip
    constants = recurrent_weights(np.random.default_rng(0), op, I, H, 1 + (direction == "bidirectional"))
    random = np.random.default_rng(3).standard_normal(shape)
    constants[name] = (np.full(shape, 4 + (value > 0)) if name == "lens" else random * 0.3 * value).astype(dtype)
    inputs = ["x", "W", "R", "B", "", "", "", ""]
    if name in PLACES:
        inputs[PLACES[name]] = name
    while not inputs[-1]:
        inputs.pop()
    batch_time: list[int | str] = [3, 5] if fixed else ["B", "T"]
    given = [*(batch_time if layout else batch_time[::-1]), I]
    cell = node(op, inputs, ["y"], hidden_size=units, direction=direction, layout=layout)
    return model_of([cell], {"x": given}, ["y"], constants, infer=False)


def recurrent_operands() -> Iterator[Make]:
    """W, R, B, P, lengths and states of every shape that could pass for the right one."""
    for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        rows = gates * H
        shapes: dict[str, list[tuple[int, ...]]] = {
            "W": [
                (1, rows, I),
                (2, rows, I),
                (rows, I),
                (1, rows, I + 1),
                (1, rows - 1, I),
                (1, I, rows),
                (1, rows, I, 1),
            ],
            "R": [(1, rows, H), (2, rows, H), (1, H, rows), (1, rows, 1), (rows, H)],
            "B": [(1, 2 * rows), (2, 2 * rows), (2 * rows,), (1, rows), (1, 1, 2 * rows), (1, 1)],
            "lens": [(3,), (1,), (4,), (3, 1), ()],
            "h": [
                (1, 3, H),
                (1, 1, H),
                (2, 3, H),
                (3, H),
                (1, 3, 1),
                (1, 3, H + 1),
                (3, 1, H),
                (3, 2, H),
                (1, 3, H, 1),
            ],
        }
        if op == "LSTM":
            shapes |= {"c": shapes["h"], "P": [(1, 3 * H), (3 * H,), (1, H), (2, 3 * H)]}
        for name, own in shapes.items():
            types = (np.int32, np.int64, np.float32) if name == "lens" else (np.float32, np.float32, np.float64)
            rest = product(("forward", "reverse", "bidirectional"), (0, 1), (H, H, H + 1), (False, True))
            for shape, value, dtype, options in product(own, (0.0, 1.0), types, list(rest)):
                yield partial(_recurrent, op, name, shape, value, dtype, *options)


def sweeps() -> list[Make]:
    kinds = (slices, products, normalisations, axes, layouts, recurrent_operands)
    return [make for kind in kinds for make in kind()] + window_sweeps()
