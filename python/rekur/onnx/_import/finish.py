"""From layers in the making to the spec and the weights: names, references, shapes of the inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rekur._spec import ATTENTION, Spec, model_spec, reference, snake_case
from rekur.onnx._errors import LoadError
from rekur.onnx._import.frames import check_rows, framed_view
from rekur.onnx._import.fuse import fuse
from rekur.onnx._import.graph import Floats, Graph, Layer
from rekur.onnx._import.inputs import settle
from rekur.onnx._import.state_inputs import states_apart
from rekur.onnx._import.tidy import tidy
from rekur.onnx._import.unrolled import recognise
from rekur.onnx._import.uses import Uses
from rekur.onnx._import.values import Dim, Refused, Rows, Tensor, View
from rekur.onnx._import.walk import Walked

# Layers that stand before the one their node is about: named after it only where the node is of these kinds.
AUXILIARY = {"Concatenate": ("Concat",), "Slice": ("Slice", "Split"), "Step": ("Gather", "Slice")}


@dataclass(frozen=True)
class Finished:
    """A model's spec and weights, and how the file's inputs and outputs are to be had of it."""

    spec: Spec
    weights: dict[str, Floats]
    inputs: Mapping[str, View | Rows]
    outputs: Mapping[str, View]
    refs: Mapping[str, list[str]]  # per output of the file its parts, as the spec refers to them
    sources: Mapping[str, list[str]]  # per lengths input: the model's inputs it belongs to
    names: Mapping[int, str]  # of the layers, by their id


def finish(walked: Walked, name: str) -> Finished:
    """Raises LoadError where the layers do not make one model."""
    graph = walked.graph
    for output, view in walked.outputs.items():
        try:
            check_rows(graph, view)
        except Refused as reason:
            raise LoadError(f"graph output '{output}': {reason}") from None
    walked.inputs.update(
        {key: framed_view(graph, view) for key, view in walked.inputs.items() if isinstance(view, View)}
    )
    recognise(graph, [piece for view in walked.outputs.values() for part in view.parts for piece in part])
    graph.settle()
    resolved = [graph.resolve(piece) for view in walked.outputs.values() for part in view.parts for piece in part]
    _prune(graph, resolved)
    states_apart(graph, walked.inputs, resolved)
    graph.settle()
    tidy(graph, resolved)
    ends = {
        output: [graph.whole(tuple(map(graph.resolve, part)), (f"graph output '{output}'", "")) for part in view.parts]
        for output, view in walked.outputs.items()
    }
    flat = [tensor for tensors in ends.values() for tensor in tensors]
    axes = _lengths(graph)
    _prune(graph, flat)
    fuse(graph, flat)
    try:
        graph.charge()
    except Refused as reason:
        raise LoadError(f"the file's layers do not make a model: {reason}{walked.hint}") from None
    uses = Uses(graph, flat)
    for layer in graph.layers:
        if layer.type == "Input":
            layer.output.dims = settle(layer.output)
        elif layer.states:
            _settle_outputs(layer, uses)
    _separate_last(graph, uses)
    names = _Names()
    refs = _name(graph, ends, names)
    sources: dict[str, list[str]] = {}
    for layer in graph.layers:
        for dim in layer.output.dims if layer.type == "Input" else ():
            if lengths := axes.get(dim.root):
                sources.setdefault(lengths, []).append(names.of[id(layer)])
    if unread := sorted(set(axes.values()) - set(sources)):
        raise LoadError(f"the rows' lengths '{unread[0]}' are those of steps that the file makes, not of an input's")
    inputs = [names.of[id(layer)] for layer in graph.layers if layer.type == "Input"]
    entries = [_entry(layer, names) for layer in graph.layers] + names.extra
    spec = model_spec(clean(name) or "model", entries, inputs, [ref for parts in refs.values() for ref in parts])
    weights = {
        f"{names.of[id(layer)]}/{key}": array for layer in graph.layers for key, array in layer.parameters.items()
    }
    return Finished(spec, weights, walked.inputs, walked.outputs, refs, sources, names.of)


def _lengths(graph: Graph) -> dict[Dim, str]:
    """Per time axis the lengths that all its recurrent layers read."""
    found: dict[Dim, str | None] = {}
    for layer in graph.layers:
        for tensor, lengths in _read_lengths(layer):
            assert tensor.time is not None
            time = tensor.time.root
            if found.setdefault(time, lengths) != lengths:
                raise LoadError(
                    f"{layer.node}: the rows' lengths are {lengths or 'absent'}, another layer on the same time axis "
                    f"has {found[time] or 'none'}; rows have one length in all layers"
                )
    for dim, node in graph.steps.values():
        if found.get(dim.root):
            raise LoadError(f"{node}: takes one time step where rows have lengths; take the final state Y_h instead")
    for dim, node in graph.windows:
        if found.get(dim.root):
            raise LoadError(
                f"{node}: looks along time where rows have lengths; the file's padding would come in, which a model "
                "here leaves out. Taken are a sum over the steps divided by the lengths, and a maximum and a softmax "
                "over steps behind a mask made of the lengths"
            )
    return {dim: lengths for dim, lengths in found.items() if lengths}


def _read_lengths(layer: Layer) -> list[tuple[Tensor, str | None]]:
    """The inputs whose lengths a layer reads, with what they are in the file."""
    if layer.type in ATTENTION:
        lengths: list[str | None] = [*layer.side_lengths] or [None] * len(layer.inputs)
        return list(zip(layer.inputs, lengths, strict=True))
    return [(layer.inputs[0], layer.lengths)] if layer.states or layer.lengths else []


def _prune(graph: Graph, outputs: list[Tensor]) -> None:
    """Layers that nothing reads, but for inputs, which are the model's interface."""
    needed: set[int] = set()
    waiting = [tensor.layer for tensor in outputs]
    while waiting:
        one = waiting.pop()
        if id(one) not in needed:
            needed.add(id(one))
            waiting += [tensor.layer for tensor in one.inputs]
    graph.layers = [layer for layer in graph.layers if layer.type == "Input" or id(layer) in needed]
    for layer in graph.layers:
        if id(layer.twin) not in needed:
            layer.twin = None


def _settle_outputs(layer: Layer, uses: Uses) -> None:
    """Which of its outputs a recurrent layer gives."""
    if layer.type == "Bidirectional":
        core = layer.options["layer"]
    else:
        core = layer.options
        core["return_sequences"] = bool(uses.of(layer.output))
    ports = [tensor for tensor in _states(layer) if uses.of(tensor)]
    core["return_state"] = any(index_of(tensor) for tensor in ports)


def _separate_last(graph: Graph, uses: Uses) -> None:
    """A layer gives its last output or that of every step: where both are read, a Step takes the one of the other."""
    layers: list[Layer] = []
    for layer in graph.layers:
        layers.append(layer)
        if layer.last is not None and uses.of(layer.last) and uses.of(layer.output):
            step = Layer("Step", layer.node, layer.hint, [layer.output], {"index": -1})
            step.output = layer.last
            layer.last.layer, layer.last.port, layer.last = step, "y", None
            layers.append(step)
    graph.layers = layers


def _states(layer: Layer) -> list[Tensor]:
    twin = layer.twin.states.values() if layer.type == "Bidirectional" and layer.twin else ()
    return [*layer.states.values(), *twin]


def index_of(tensor: Tensor) -> int:
    """Which output of its layer it is."""
    layer = tensor.layer
    if layer.type == "Bidirectional" and "." in tensor.port:
        side, state = tensor.port.split(".")
        states = list(layer.states)
        return 1 + (side == "backward") * len(states) + states.index(state)
    if tensor.port in layer.states:
        shift = 1 if tensor.port != "h" or layer.options["return_sequences"] else 0
        return shift + list(layer.states).index(tensor.port)
    return 0


def clean(name: str) -> str:
    """Letters, digits, ``_``, ``.`` and ``-`` only."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_")[:200]


class _Names:
    """Names of layers, each only once."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}
        self.extra: list[Spec] = []  # layers that only give an output its name
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, base: str) -> str:
        """``lstm``, ``lstm_1``, …: the first that is free."""
        name = base
        while name in self._taken:
            self._next[base] = self._next.get(base, 0) + 1
            name = f"{base}_{self._next[base]}"
        self._taken.add(name)
        return name

    def free(self, name: str) -> bool:
        return name not in self._taken

    def give(self, layer: Layer, base: str) -> None:
        self.of[id(layer)] = self.take(base)

    def ref(self, tensor: Tensor) -> str:
        return reference(self.of[id(tensor.layer)], index_of(tensor))


def _name(graph: Graph, ends: Mapping[str, list[Tensor]], names: _Names) -> dict[str, list[str]]:
    """Inputs keep the file's names; so does what makes an output; other layers are named after their nodes."""
    for layer in graph.layers:
        if layer.type == "Input":
            names.give(layer, clean(layer.hint) or "input")
    for output, tensors in ends.items():
        layer = tensors[0].layer
        if len(tensors) == 1 and id(layer) not in names.of and not index_of(tensors[0]) and names.free(clean(output)):
            names.give(layer, clean(output) or "output")
    for layer in graph.layers:
        if id(layer) not in names.of:
            op = layer.node.split(" ", 1)[0]
            named = layer.type not in AUXILIARY or op in AUXILIARY[layer.type]
            names.give(layer, (clean(layer.hint) if named else "") or snake_case(layer.type))
    refs: dict[str, list[str]] = {}
    used: set[str] = set()
    for output, tensors in ends.items():
        for k, tensor in enumerate(tensors):
            wanted = output if len(tensors) == 1 else f"{output}_{k}"
            ref = names.ref(tensor)
            if ref not in (wanted, clean(wanted)) or ref in used or tensor.layer.type == "Input":
                name = names.take(clean(wanted) or "output")
                entry = {"type": "Activation", "name": name, "inputs": [ref], "activation": "linear"}
                names.extra.append(entry)
                ref = name
            used.add(ref)
            refs.setdefault(output, []).append(ref)
    return refs


def _entry(layer: Layer, names: _Names) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": layer.type, "name": names.of[id(layer)]}
    if layer.type != "Input":
        return {**entry, "inputs": [names.ref(tensor) for tensor in layer.inputs], **layer.options}
    tensor = layer.output
    shape = [dim.size for dim in tensor.dims[1:]] + ([tensor.features] if tensor.features else [])
    return {**entry, "shape": shape, "dtype": "float32" if tensor.features else "int32"}
