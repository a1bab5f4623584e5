"""Operators that look along time, and those on every number, in every combination of what can be mistaken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import onnx

from onnx_graphs import Shape, f32, model_of, node

Make = Callable[[], onnx.ModelProto]

C = 6
SHAPES: tuple[Shape, ...] = (("B", C, "T"), ("B", C, 11), (3, C, 11), ("B", 1, "T"), ("B", C, 1))
AUTO = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
PADS = ((0, 0), (1, 1), (2, 0), (0, 2), (1, 0), (3, 4))


def _of(shape: Shape, op: str, *constants: Any, opset: int = 17, **attributes: Any) -> onnx.ModelProto:
    stored = {f"c{k}": np.asarray(array) for k, array in enumerate(constants) if array is not None}
    names = [f"c{k}" if f"c{k}" in stored else "" for k in range(len(constants))]
    return model_of([node(op, ["x", *names], ["y"], **attributes)], {"x": shape}, ["y"], stored, opset, infer=False)


def _padding(auto: str, pads: tuple[int, int]) -> dict[str, Any]:
    return {"pads": list(pads)} if auto == "NOTSET" else {"auto_pad": auto}


def convolutions() -> Iterator[Make]:
    paddings = [(AUTO[0], pads) for pads in PADS] + [(auto, (0, 0)) for auto in AUTO[1:]]
    for shape, taps, stride, dilation, group, padding in product(
        SHAPES, (1, 2, 3, 4), (1, 2, 3), (1, 2), (1, 2, C), paddings
    ):
        if shape[1] % group:
            continue
        options = {"strides": [stride], "dilations": [dilation], "group": group, **_padding(*padding)}
        yield partial(_of, shape, "Conv", f32(2 * C, shape[1] // group, taps), **options)
        for more in (0, 1) if group == 1 else ():
            kernel = f32(shape[1], 4, taps)
            yield partial(_of, shape, "ConvTranspose", kernel, f32(4), **options, output_padding=[more])


def poolings() -> Iterator[Make]:
    paddings = [(AUTO[0], pads) for pads in PADS] + [(auto, (0, 0)) for auto in AUTO[1:]]
    for shape, size, stride, padding, ceil, counted in product(
        SHAPES, (1, 2, 3, 4, 11), (1, 2, 3), paddings, (0, 1), (0, 1)
    ):
        options = {"kernel_shape": [size], "strides": [stride], "ceil_mode": ceil, **_padding(*padding)}
        if not counted:
            yield partial(_of, shape, "MaxPool", **options)
        yield partial(_of, shape, "AveragePool", **options, count_include_pad=counted)
    for shape, op in product(SHAPES, ("GlobalMaxPool", "GlobalAveragePool")):
        yield partial(_of, shape, op)


def reductions() -> Iterator[Make]:
    for shape, op, axis, keep in product(SHAPES, ("ReduceMax", "ReduceMean"), (-3, -2, -1, 0, 1, 2), (0, 1)):
        yield partial(_of, shape, op, axes=[axis], keepdims=keep)
        if op == "ReduceMean":
            yield partial(_of, shape, op, np.array([axis]), keepdims=keep, opset=18)


def moves() -> Iterator[Make]:
    ways = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"),
            ("asymmetric", "ceil"), ("align_corners", "round_prefer_floor"), ("half_pixel", "floor")]  # fmt: skip
    for shape, (how, rounding), scales in product(
        SHAPES, ways, product((1.0, 2.0), (1.0, 2.0), (0.5, 1.0, 1.5, 2.0, 3.0))
    ):
        options = {"coordinate_transformation_mode": how, "nearest_mode": rounding}
        yield partial(_of, shape, "Resize", None, np.array(scales, np.float32), **options)
        sizes = [round(n * s) for n, s in zip((3, shape[1], 11), scales, strict=True)]
        yield partial(_of, shape, "Resize", None, None, np.array(sizes), **options)
    for shape, before, later, axis in product(SHAPES, (-3, -1, 0, 2), (-3, -1, 0, 2), (0, 1, 2)):
        pads = np.zeros((2, 3), np.int64)
        pads[:, axis] = before, later
        yield partial(_of, shape, "Pad", pads.reshape(-1))
        yield partial(_of, shape, "Pad", np.array([before, later]), None, np.array([axis]), opset=18)
    for shape in (*SHAPES, ("B", 1, 1), ("B", C), (1, "T", C)):
        for counts in product((1, 2, 3), repeat=len(shape)):
            yield partial(_of, shape, "Tile", np.array(counts))
            yield partial(_of, shape, "Expand", np.array(counts))


def numbers() -> Iterator[Make]:
    operands = ((), (1,), (C,), (11,), (C, 1), (1, 11), (C, 11), (1, C, 1), (3, 1, 1), (3, C, 11), (1, 1, 1, 1))
    for shape, operand, op in product(SHAPES, operands, ("PRelu", "Max", "Min")):
        yield partial(_of, shape, op, f32(*operand))
    for shape, low, high, opset in product(SHAPES, (None, -0.5, 0.5), (None, -0.25, 0.25), (10, 17)):
        bounds = {key: value for key, value in (("min", low), ("max", high)) if value is not None}
        given = [None if value is None else np.float32(value) for value in (low, high)]
        yield partial(_of, shape, "Clip", **bounds, opset=10) if opset == 10 else partial(_of, shape, "Clip", *given)
    for shape, op in product(SHAPES, ("Abs", "Cos", "Erf", "Exp", "Sin")):
        yield partial(_of, shape, op)
    for shape, axis in product(SHAPES, (-3, -2, -1, 0, 1, 2)):
        made = node("Concat", ["x", "x", "x"], ["y"], axis=axis)
        yield partial(model_of, [made], {"x": shape}, ["y"], infer=False)


def window_sweeps() -> list[Make]:
    return [make for kind in (convolutions, poolings, reductions, moves, numbers) for make in kind()]
