"""The last steps of a sequence as a state of a file: what a causal convolution and attention over a window carry."""

from __future__ import annotations

import numpy as np

from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._plan import State

INT64 = 7  # onnx.TensorProto's
_END = np.iinfo(np.int64).max


def one_step(graph: Graph, x: Tensor) -> str:
    """(B, 1, F) of a step (B, F)."""
    return graph.once("Unsqueeze", [graph.batch_major(x), graph.integers(1)], f"{x.label}/as_sequence")


def behind_last(graph: Graph, state: State, value: str, label: str, lengths: str | None, steps: int) -> str:
    """(B, steps + T, F): the steps that a state holds, the oldest first, and behind them those of a batch-major value.

    The state after them are the last ones: of a row that has a length those up to its end.
    """
    before = graph.emit("Reshape", [state.input, graph.integers(0, steps, state.units // steps)], f"{label}/before")
    joined = graph.emit("Concat", [before, value], f"{label}/joined", axis=1)
    if lengths:
        last = graph.emit("GatherND", [joined, _last_places(graph, lengths, steps)], f"{label}/last", batch_dims=1)
    else:
        ends = [graph.integers(-steps), graph.integers(_END), graph.integers(1)]
        last = graph.emit("Slice", [joined, *ends], f"{label}/last")
    graph.emit("Reshape", [last, graph.integers(0, state.units)], state.output)
    return joined


def _last_places(graph: Graph, lengths: str, steps: int) -> str:
    """(B, steps, 1): where, behind as many steps, the last ones of rows of these lengths are."""
    wide = graph.once("Cast", [lengths], f"{lengths}/int64", to=INT64)
    column = graph.once("Unsqueeze", [wide, graph.integers(1)], f"{lengths}/int64_column")
    numbers = graph.initializer(f"int64/up_to_{steps}", np.arange(steps))
    places = graph.once("Add", [column, numbers], f"{lengths}/last_{steps}")
    return graph.once("Unsqueeze", [places, graph.integers(2)], f"{lengths}/last_{steps}/indices")
