"""Inputs of the file that hold several initial states, found once the layers are known that begin with them."""

from __future__ import annotations

from collections.abc import Sequence

from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.values import PARTS, Dim, Rows, Tensor, View

MAX_STATES = 64  # of one input of the file


def states_apart(graph: Graph, inputs: dict[str, View | Rows], outputs: Sequence[Tensor]) -> None:
    """A file's input whose steps are nothing but initial states holds states: as many inputs of the model."""
    readers: dict[int, list[tuple[Layer, int]]] = {}
    for layer in graph.layers:
        for place, tensor in enumerate(layer.inputs):
            readers.setdefault(id(tensor), []).append((layer, place))
    given = {id(tensor) for tensor in outputs}
    for name, view in inputs.items():
        if not isinstance(view, View) or len(view.parts) != 1 or view.ids or view.boolean:
            continue
        source = view.parts[0][0]
        time = source.time
        steps = [layer for layer, _ in readers.get(id(source), [])]
        if time is None or time.size is None or time not in view.axes or id(source) in given or not steps:
            continue
        if not 2 <= time.size <= MAX_STATES or not all(_only_starts(step, readers, given) for step in steps):
            continue
        inputs[name] = _apart(graph, name, view, time, steps)


def _only_starts(step: Layer, readers: dict[int, list[tuple[Layer, int]]], given: set[int]) -> bool:
    """Whether a layer takes a step of which recurrent layers begin, and nothing else reads it."""
    found = readers.get(id(step.output), [])
    begins = all(layer.states and place >= layer.sequences for layer, place in found)
    return step.type == "Step" and bool(found) and begins and id(step.output) not in given


def _apart(graph: Graph, name: str, view: View, time: Dim, steps: Sequence[Layer]) -> View:
    source, count = view.parts[0][0], time.size or 0
    rows = tuple(dim for dim in source.dims if dim.root is not time.root)
    where = graph.layers.index(source.layer)
    end = len(graph.layers)
    node = (source.layer.node, "")
    made = [graph.add("Input", (node[0], f"{name}_{k}"), [], source.features, dims=rows) for k in range(count)]
    added = graph.layers[end:]
    graph.layers[end:] = []
    graph.layers[where : where + 1] = added
    for step in steps:
        graph.aliases[id(step.output)] = made[int(step.options["index"])]
    graph.kept += [step.output for step in steps]
    return View(tuple((tensor,) for tensor in made), tuple(PARTS if axis is time else axis for axis in view.axes))
