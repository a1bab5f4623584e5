"""Masks: which steps of the rows are there, as values (B, T) of the graph, and recurrent layers over those alone.

A recurrent layer gets the valid steps of each row in front, in their order, and how many there are as its lengths. Its
outputs go back to where the steps were; at a step that is none there is the output of the one before it in the layer's
direction, before the first the initial state, or zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._axes import TimeAxis, parse_ref
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import Layer, Plan, recurrent_core, sequences_of

INT32, INT64 = 6, 7  # onnx.TensorProto's


def mask_of(plan: Plan, layer: Layer) -> str:
    """The mask of the steps that all inputs of a layer have, or ""."""
    axis = plan.common.get(layer["name"])
    return (axis.mask if axis is not None else None) or ""


def step_mask(plan: Plan, layer: Layer) -> str:
    """In a one-step model the value (B,) that says which rows have the step in all inputs of a layer, or ""."""
    if not plan.streaming:
        return ""
    axis = plan.masks[1].get(layer["name"]) or plan.masks[0][parse_ref(layer["inputs"][0])]
    return (axis.mask if axis is not None else None) or ""


def rows_there(graph: Graph, mask: str) -> str:
    """(B, 1) of such a value."""
    return graph.once("Unsqueeze", [mask, graph.integers(1)], f"{mask}/rows")


def join_masks(graph: Graph, plan: Plan, layer: Layer) -> None:
    """The mask of steps that are valid in all inputs of a layer, before its nodes."""

    def join(axis: TimeAxis) -> None:
        for part in axis.joined:
            join(part)
        if axis.joined:
            assert axis.mask
            graph.once("And", [str(part.mask) for part in axis.joined], axis.mask)

    axis = (plan.masks[1] if plan.streaming else plan.common).get(layer["name"])
    if axis is not None:
        join(axis)


def _axis(plan: Plan, layer: Layer) -> TimeAxis | None:
    """A layer's own, of whose steps a one-step model has one."""
    return (plan.masks[0] if plan.streaming else plan.time)[layer["name"], 0]


def mask_time(graph: Graph, plan: Plan, layer: Layer, x: Tensor, found: str) -> None:
    """The layer's mask: the steps of x that are there and are in ``found``, (B, T), of one step (B,)."""
    axis = _axis(plan, layer)
    assert axis is not None and axis.mask and axis.before is not None
    before = axis.before.mask or (within(graph, x) if axis.before.lengths else "")
    graph.emit("And", [before, found], axis.mask) if before else graph.emit("Identity", [found], axis.mask)


def within(graph: Graph, x: Tensor) -> str:
    """(B, T): the steps within the rows' lengths."""
    assert x.axis is not None and x.axis.lengths
    lengths = graph.once("Cast", [x.axis.lengths], f"{x.axis.lengths}/int64", to=INT64)
    column = graph.once("Unsqueeze", [lengths, graph.integers(1)], f"{x.axis.lengths}/int64_column")
    steps = step_numbers(graph, graph.batch_major(x), x.label)
    return graph.once("Less", [steps, column], f"{x.label}/valid_batch_major")


def steps_there(graph: Graph, x: Tensor) -> str:
    """(B, T): which steps of a sequence there are; "" for all of them."""
    if x.axis is None or not x.axis.marked:
        return ""
    return x.axis.mask or within(graph, x)


def masks_behind(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> None:
    """The mask of steps of several sequences behind one another."""
    axis = plan.time[layer["name"], 0]
    if axis is None or not axis.mask:
        return
    parts = []
    for x in inputs:
        found = steps_there(graph, x)
        if not found:
            shape = graph.once("Shape", [graph.batch_major(x)], f"{x.label}/batch_major_shape")
            rows = graph.once("Slice", [shape, graph.integers(0), graph.integers(2)], f"{x.label}/sizes_0_2")
            true = graph.initializer("bool/true", np.array(True))
            found = graph.once("Expand", [true, rows], f"{x.label}/all_steps")
        parts.append(found)
    graph.emit("Concat", parts, axis.mask, axis=1)


def step_numbers(graph: Graph, value: str, label: str) -> str:
    """[T] int64: 0, 1, … of the time axis of a batch-major value."""
    shape = graph.once("Shape", [value], f"{label}/batch_major_shape")
    zero, one = (graph.initializer(f"int64/{name}", np.array(n, np.int64)) for name, n in (("zero", 0), ("one", 1)))
    size = graph.once("Gather", [shape, one], f"{label}/steps", axis=0)
    return graph.once("Range", [zero, size, one], f"{label}/step_numbers")


def masking(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Steps all of whose features are ``mask_value`` are none, and zeros."""
    (x,), name = inputs, layer["name"]
    value = graph.batch_major(x)
    number = graph.initializer(f"{name}/mask_value", np.array(layer.get("mask_value", 0), np.float32))
    same = graph.emit("Equal", [value, number], f"{name}/same")
    counted = graph.emit("Cast", [same], f"{name}/same/int32", to=INT32)
    axes = list(range(1 if plan.streaming else 2, len(x.shape)))
    least = graph.emit("ReduceMin", [counted], f"{name}/all_same", axes=axes, keepdims=0)
    zero = graph.initializer("int32/0", np.array(0, np.int32))
    found = graph.emit("Equal", [least, zero], f"{name}/there")
    mask_time(graph, plan, layer, x, found)
    wide = graph.emit("Unsqueeze", [found, graph.integers(*axes)], f"{name}/there/steps")
    y = graph.emit("Where", [wide, value, graph.initializer("float32/zero", np.array(0, np.float32))], name)
    return [Tensor(name, x.features, x.axis, batch_major=y)]


def mask_zero(graph: Graph, plan: Plan, layer: Layer, ids: Tensor) -> None:
    """Of an Embedding: id 0 is no step."""
    axis = _axis(plan, layer)
    if axis is None or not axis.mask:
        return
    zero = graph.initializer("int32/0", np.array(0, np.int32))
    none = graph.emit("Equal", [graph.batch_major(ids), zero], f"{layer['name']}/zeros")
    mask_time(graph, plan, layer, ids, graph.emit("Not", [none], f"{layer['name']}/there"))


def valid_only(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """A recurrent layer's inputs; where there is a mask its sequences have the valid steps in front, and lengths."""
    mask = mask_of(plan, layer)
    if not mask:
        return list(inputs)
    count = sequences_of(layer)
    return [packed(graph, x, mask) for x in inputs[:count]] + list(inputs[count:])


def packed(graph: Graph, x: Tensor, mask: str) -> Tensor:
    """A sequence with the valid steps in front, in their order, and how many there are as its lengths."""
    assert x.axis is not None
    label = f"{x.label}/of/{mask}"
    steps = step_numbers(graph, mask, mask)
    shape = graph.once("Shape", [mask], f"{mask}/batch_major_shape")
    size = graph.once("Slice", [shape, graph.integers(1), graph.integers(2)], f"{mask}/size")
    zero = graph.initializer("int64/zero", np.array(0, np.int64))
    behind = graph.once("Where", [mask, zero, size], f"{mask}/behind")
    keys = graph.once("Add", [steps, behind], f"{mask}/keys")  # valid steps first, in their order
    order = f"{mask}/order"
    if order not in graph.made:
        graph.emit("TopK", [keys, size], f"{mask}/sorted", order, axis=1, largest=0, sorted=1)
    places = graph.once("Unsqueeze", [order, graph.integers(2)], f"{mask}/order/places")
    total = graph.once("ReduceSum", [_numbers(graph, mask), graph.integers(1)], f"{mask}/total", keepdims=0)
    counts = graph.once("Cast", [total], f"{mask}/counts", to=INT32)
    value = graph.once("GatherND", [graph.batch_major(x), places], label, batch_dims=1)
    return Tensor(label, x.features, TimeAxis((), x.axis.size, counts), batch_major=value, rows=x.rows)


def _numbers(graph: Graph, mask: str) -> str:
    """(B, T) int64: 1 for a valid step."""
    return graph.once("Cast", [mask], f"{mask}/int64", to=INT64)


def _steps_so_far(graph: Graph, mask: str, reverse: bool) -> str:
    """(B, T) int64: how many valid steps there are up to a step; reverse: before it."""
    one = graph.initializer("int64/one", np.array(1, np.int64))
    if reverse:
        return graph.once("CumSum", [_numbers(graph, mask), one], f"{mask}/before", exclusive=1)
    return graph.once("CumSum", [_numbers(graph, mask), one], f"{mask}/so_far")


def spread(graph: Graph, plan: Plan, layer: Layer, value: str, start: str, name: str) -> str:
    """A recurrent layer's output (B, T, F) of valid steps in front at the steps of the mask.

    start: (B, F), what stands before the first valid step; "" for zeros.
    """
    mask, core = mask_of(plan, layer), recurrent_core(layer)
    assert core is not None
    both = layer["type"] == "Bidirectional"  # of which Keras wants zeros
    zeros = both or core.get("zero_output_for_mask", False)
    reverse = bool(layer.get("reverse", False)) and not zeros
    count = _steps_so_far(graph, mask, reverse)
    if reverse:
        total = graph.once("Unsqueeze", [f"{mask}/total", graph.integers(1)], f"{mask}/total/column")
        place, there = count, graph.once("Less", [count, total], f"{mask}/comes")
    else:
        place, there = _last_valid(graph, mask, count)
    places = graph.once("Unsqueeze", [place, graph.integers(2)], f"{place}/places")
    taken = graph.emit("GatherND", [value, places], f"{name}/taken", batch_dims=1)
    steps = graph.once(
        "Unsqueeze", [mask if zeros else there, graph.integers(2)], f"{mask if zeros else there}/by_step"
    )
    other = graph.initializer("float32/zero", np.array(0, np.float32))
    if start and not zeros:
        other = graph.emit("Unsqueeze", [start, graph.integers(1)], f"{name}/begin")
    return graph.emit("Where", [steps, taken, other], name)


def _last_valid(graph: Graph, mask: str, count: str) -> tuple[str, str]:
    """(B, T): among the valid steps the last one up to a step, and whether there is one."""
    zero, one = (
        graph.initializer("int64/zero", np.array(0, np.int64)),
        graph.initializer("int64/one", np.array(1, np.int64)),
    )
    before = graph.once("Sub", [count, one], f"{mask}/last")
    place = graph.once("Max", [before, zero], f"{mask}/last/within")
    return place, graph.once("Greater", [count, zero], f"{mask}/came")


def placed(graph: Graph, mask: str, value: str, name: str) -> str:
    """What (B, T, F) has of valid steps in front at the steps of the mask: at others what was before, first zeros."""
    place, there = _last_valid(graph, mask, _steps_so_far(graph, mask, False))
    places = graph.once("Unsqueeze", [place, graph.integers(2)], f"{place}/places")
    taken = graph.emit("GatherND", [value, places], f"{name}/taken", batch_dims=1)
    steps = graph.once("Unsqueeze", [there, graph.integers(2)], f"{there}/by_step")
    return graph.emit("Where", [steps, taken, graph.initializer("float32/zero", np.array(0, np.float32))], name)


def zero_where_last_is_none(graph: Graph, plan: Plan, layer: Layer, value: str, name: str) -> str:
    """(B, F): zeros for rows whose last step in the layer's direction the mask leaves out."""
    mask = mask_of(plan, layer)
    place = 0 if layer.get("reverse", False) else -1
    index = graph.initializer(f"int64/scalar_{place}", np.array(place, np.int64))
    last = graph.once("Gather", [mask, index], f"{mask}/at_{place}", axis=1)
    rows = graph.once("Unsqueeze", [last, graph.integers(1)], f"{mask}/at_{place}/rows")
    return graph.emit("Where", [rows, value, graph.initializer("float32/zero", np.array(0, np.float32))], name)


def valid_or_zero(graph: Graph, mask: str, value: str, name: str) -> str:
    """(B, T, F) with zeros at steps that are none."""
    steps = graph.once("Unsqueeze", [mask, graph.integers(2)], f"{mask}/by_step")
    return graph.emit("Where", [steps, value, graph.initializer("float32/zero", np.array(0, np.float32))], name)
