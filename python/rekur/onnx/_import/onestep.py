"""Models of one step at a time: what is (batch, features) in the file is a sequence of one step here."""

from __future__ import annotations

from rekur.onnx._import.graph import Graph
from rekur.onnx._import.values import BATCH, TIME, Dim, Refused, Tensor

# Layers that do the same at every step: of a sequence they make a sequence.
POINTWISE = {
    *("Dense", "Activation", "Dropout", "Concatenate", "Add", "Multiply", "Subtract", "Divide"),
    *("Rescaling", "Affine", "LayerNormalization", "Slice"),
}


def as_steps(graph: Graph, at: tuple[str, str], tensor: Tensor) -> Tensor:
    """A row as a sequence of one step: what made it works on sequences, too, or a layer makes a step of it."""
    if len(tensor.dims) == 2 or _is_only_state(tensor):
        return _sequence(tensor)
    (batch,) = tensor.dims
    batch.mark(BATCH)
    step = Dim(f"the step of {at[0]}", 1)
    step.mark(TIME)
    return graph.add("RepeatVector", at, [tensor], tensor.features, {"n": 1}, dims=(batch, step))


def one_step(tensor: Tensor) -> Tensor:
    """The tensor with a time axis of one step, for which there must be one above it.

    The final state of a layer on one step is its output at that step; what pointwise layers make of it follows.
    """
    waiting = [tensor]
    while waiting:
        top = waiting[-1]
        if _is_sequence(top):
            waiting.pop()
            continue
        layer = top.layer
        if layer.type not in POINTWISE or top.port != "y":
            raise Refused("X has no time axis: one would have to be made of a (batch, features)")
        below = [piece for piece in layer.inputs if not _is_sequence(piece)]
        if below:
            waiting += below
            continue
        layer.inputs = [_sequence(piece) for piece in layer.inputs]
        top.dims = layer.inputs[0].dims
        waiting.pop()
    return _sequence(tensor)


def _is_sequence(tensor: Tensor) -> bool:
    return len(tensor.dims) == 2 or _is_only_state(tensor)


def _is_only_state(tensor: Tensor) -> bool:
    """The state after one step: the output of that step."""
    layer = tensor.layer
    if tensor.port not in ("h", "last") or not layer.states:
        return False
    time = layer.inputs[0].time
    return time is not None and time.size == 1


def _sequence(tensor: Tensor) -> Tensor:
    return tensor if len(tensor.dims) == 2 else tensor.layer.output
