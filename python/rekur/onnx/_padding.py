"""Padding1D: steps of a number, or of the sequence itself, before and behind it."""

from __future__ import annotations

import numpy as np

from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._lengths import ends, kept
from rekur.onnx._plan import Layer

INT64 = 7  # onnx.TensorProto's


def padded(graph: Graph, layer: Layer, x: Tensor) -> None:
    """The operator; where rows end by themselves what stands at each place: a step of the row, or the number."""
    name, (before, after) = layer["name"], layer["padding"]
    mode, number = layer.get("mode", "constant"), np.array(layer.get("value", 0.0), np.float32)
    value = graph.initializer(f"float32/{float(number)!r}", number)
    if not ends(x):
        amounts = graph.integers(0, before, 0, 0, after, 0)
        given = [value] if mode == "constant" else []
        graph.emit("Pad", [kept(graph, x), amounts, *given], name, mode=mode)
        return
    emit = graph.emit

    def integer(n: int) -> str:
        return graph.initializer(f"int64/{n}", np.array(n, np.int64))

    source = graph.batch_major(x)
    shape = graph.once("Shape", [source], f"{x.label}/batch_major_shape")
    steps = emit("Gather", [shape, integer(1)], f"{name}/steps")
    total = emit("Add", [steps, integer(before + after)], f"{name}/total")
    places = emit("Range", [integer(0), total, integer(1)], f"{name}/range")
    assert x.axis is not None and x.axis.lengths is not None
    lengths = emit("Cast", [x.axis.lengths], f"{name}/lengths", to=INT64)
    length = emit("Unsqueeze", [lengths, graph.integers(1)], f"{name}/length")  # (B, 1)
    zero, one = integer(0), integer(1)
    last = emit("Max", [emit("Sub", [length, one], f"{name}/below"), zero], f"{name}/last")
    at = emit("Sub", [places, integer(before)], f"{name}/at")
    at = emit("Add", [at, emit("Mul", [length, zero], f"{name}/rows")], f"{name}/places")  # (B, T + before + after)
    if mode == "reflect":
        period = emit("Max", [emit("Add", [last, last], f"{name}/twice"), one], f"{name}/period")
        forth = emit("Mod", [at, period], f"{name}/forth")
        found = emit("Min", [forth, emit("Sub", [period, forth], f"{name}/back")], f"{name}/reflected")
        found = emit("Min", [found, last], f"{name}/found")
    elif mode == "wrap":
        found = emit("Mod", [at, emit("Max", [length, one], f"{name}/around")], f"{name}/found")
    else:
        found = emit("Min", [emit("Max", [at, zero], f"{name}/from_first"), last], f"{name}/found")
    index = emit("Unsqueeze", [found, graph.integers(2)], f"{name}/index")
    chosen = emit("GatherND", [source, index], f"{name}/chosen", batch_dims=1)
    some = emit("Greater", [length, zero], f"{name}/some")
    more = emit("Add", [length, integer(before + after)], f"{name}/more")
    there = emit("And", [some, emit("Less", [places, more], f"{name}/before_end")], f"{name}/there")
    if mode == "constant":
        equal = emit("Equal", [at, found], f"{name}/own")
        wide = emit("Unsqueeze", [equal, graph.integers(2)], f"{name}/own_steps")
        chosen = emit("Where", [wide, chosen, value], f"{name}/filled")
    wide = emit("Unsqueeze", [there, graph.integers(2)], f"{name}/steps_there")
    emit("Where", [wide, chosen, graph.initializer("float32/zero", np.array(0, np.float32))], name)
