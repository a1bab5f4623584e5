"""Rows' lengths on their way through layers that change the time axis: zeros past them, and what becomes of them."""

from __future__ import annotations

import numpy as np

from rekur.onnx._axes import TimeAxis
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import within
from rekur.onnx._plan import Layer, Plan

INT64 = 7  # onnx.TensorProto's


def ends(x: Tensor) -> bool:
    """Whether rows end somewhere; where there is a mask, layers that look along time take every step, as in Keras."""
    return x.axis is not None and x.axis.lengths is not None and x.axis.mask is None


def kept(graph: Graph, x: Tensor) -> str:
    """A sequence, batch-major, with zeros past the rows' lengths."""
    value = graph.batch_major(x)
    if not ends(x):
        return value
    axes = graph.integers(*range(2, len(x.shape)))
    there = graph.once("Unsqueeze", [within(graph, x), axes], f"{x.label}/valid_batch_major_steps")
    zero = graph.initializer("float32/zero", np.array(0, np.float32))
    return graph.once("Where", [there, value, zero], f"{x.label}/kept")


def follow_lengths(graph: Graph, plan: Plan, layer: Layer) -> None:
    """The lengths of a layer's output where it has an axis of its own making."""
    axis = plan.time.get((layer["name"], 0))
    if axis is not None:
        _follow(graph, axis)


def _follow(graph: Graph, axis: TimeAxis) -> None:
    """max(⌊(L · up + add − span) / stride⌋ + 1, 0), and none of none."""
    if axis.before is not None:
        _follow(graph, axis.before)
    change, lengths = axis.change, axis.lengths
    if change is None or lengths is None or lengths in graph.made:
        return
    assert axis.before is not None and axis.before.lengths
    given = value = axis.before.lengths

    def number(n: int) -> str:
        return graph.initializer(f"int32/{n}", np.array(n, np.int32))

    steps = []
    if change.up != 1:
        steps.append(("Mul", change.up))
    if (more := change.add - change.span + change.stride) != 0:
        steps.append(("Add", more))
    if more < 0:
        steps.append(("Max", 0))
    if change.stride != 1:
        steps.append(("Div", change.stride))
    for op, n in steps:
        value = graph.emit(op, [value, number(n)], f"{lengths}/{op}")
    if more >= change.stride:
        some = graph.emit("Greater", [given, number(0)], f"{lengths}/some")
        graph.emit("Where", [some, value, number(0)], lengths)
    else:
        graph.emit("Identity", [value], lengths)


def same_windows(graph: Graph, layer: Layer, x: Tensor, span: int, stride: int, fill: float) -> tuple[str, str]:
    """x (B, T + span − 1, F) so that its windows from the beginning on are those that "same" has of each row's steps,
    and (…, T + span − 1) which of these steps are the row's; the others are ``fill``.

    Steps before a row's first follow from its length, so rows of lengths are moved by different numbers of them.
    """
    name, value = layer["name"], graph.batch_major(x)
    one, zero = (graph.initializer(f"int64/{n}", np.array(k, np.int64)) for n, k in (("one", 1), ("zero", 0)))

    def number(n: int) -> str:
        return graph.initializer(f"int64/scalar_{n}", np.array(n, np.int64))

    shape = graph.once("Shape", [value], f"{x.label}/batch_major_shape")
    steps = graph.once("Gather", [shape, one], f"{x.label}/steps_along", axis=0)
    by_row = ends(x)
    length = steps
    if by_row:
        assert x.axis is not None and x.axis.lengths
        rows = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
        length = graph.once("Unsqueeze", [rows, graph.integers(1)], f"{x.axis.lengths}/int64_column")

    def emit(op: str, inputs: list[str], label: str) -> str:
        return graph.emit(op, inputs, f"{name}/same/{label}")

    count = emit("Div", [emit("Add", [length, number(stride - 1)], "rounded"), number(stride)], "windows")
    reach = emit("Add", [emit("Mul", [count, number(stride)], "strides"), number(span - stride)], "reach")
    missing = emit("Max", [emit("Sub", [reach, length], "beyond"), zero], "missing")
    before = emit("Div", [missing, number(2)], "before")
    places = emit("Range", [zero, emit("Add", [steps, number(span - 1)], "steps"), one], "places")
    at = emit("Sub", [places, before], "from")
    first, last = emit("GreaterOrEqual", [at, zero], "begun"), emit("Less", [at, length], "not_ended")
    there = emit("And", [first, last], "there")
    inside = emit("Max", [emit("Min", [at, emit("Sub", [steps, one], "last")], "at_most"), zero], "inside")
    if by_row:
        indices = emit("Unsqueeze", [inside, graph.integers(2)], "indices")
        taken = graph.emit("GatherND", [value, indices], f"{name}/same/taken", batch_dims=1)
    else:
        taken = graph.emit("Gather", [value, inside], f"{name}/same/taken", axis=1)
        there = emit("Unsqueeze", [there, graph.integers(0)], "there_row")
    by_step = emit("Unsqueeze", [there, graph.integers(2)], "there_steps")
    other = graph.initializer(f"float32/{fill!r}", np.array(fill, np.float32))
    return emit("Where", [by_step, taken, other], "values"), there
