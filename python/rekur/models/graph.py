"""From symbolic tensors to the calls and layers between them, and from nested models to one flat graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rekur._spec import reference, unique_name
from rekur._validate import Shape
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.parts import parts_of
from rekur.layers.recurrence import Stateful
from rekur.layers.symbolic import Call, SymbolicTensor

if TYPE_CHECKING:
    from rekur.layers.parts import Parts
    from rekur.models.structure import Structure

Member = Any  # a Layer, or a Model used as one


def cut(inputs: Sequence[SymbolicTensor]) -> tuple[list[SymbolicTensor], dict[SymbolicTensor, SymbolicTensor]]:
    """Inputs of a model that begins at these tensors, and which of them stand for tensors inside another graph."""
    entrances, cuts, taken = [], {}, {t.layer.name: t for t in inputs if isinstance(t.layer, InputLayer)}
    for tensor in inputs:
        if not isinstance(tensor.layer, InputLayer):
            name = unique_name(tensor.name.replace(":", "_"), taken)
            cuts[tensor] = InputLayer(tensor.shape[1:], dtype=tensor.dtype, name=name).tensor
            taken[name] = cuts[tensor]
        entrances.append(cuts.get(tensor, tensor))
    return entrances, cuts


def collect(
    inputs: Sequence[SymbolicTensor],
    outputs: Sequence[SymbolicTensor],
    cuts: Mapping[SymbolicTensor, SymbolicTensor],
    ends: Sequence[SymbolicTensor] = (),
) -> tuple[list[Member], list[Call]]:
    """All layers between inputs and outputs in the order of Keras, the farthest from the outputs first; their calls.

    A call's depth is the number of calls on the longest way from it to an output, a layer's that of its farthest call.
    Layers of one depth stand in the order in which a walk from the outputs, depth first, meets them; inputs that no
    output depends on come before the layers of depth 0. With this order ``get_weights`` of a model and of its twin in
    Keras list the same arrays. What only ``ends`` depend on, which add to the loss, comes after all that.
    """
    for what, tensors in (("inputs", inputs), ("outputs", outputs)):
        if not tensors:
            raise ValueError(f"Model: {what} is empty")
        if len({id(tensor) for tensor in tensors}) < len(tensors):
            raise ValueError(f"Model: a tensor is listed twice among the {what}")
    met, finished = _walk([cuts.get(tensor, tensor) for tensor in outputs], cuts)
    listed = [tensor._call for tensor in inputs]
    further = _walk([cuts.get(tensor, tensor) for tensor in ends], cuts)[1]
    for what, calls in (("the outputs depend", met), ("what is added to the loss depends", further)):
        for call in calls:
            if isinstance(call.layer, InputLayer) and call not in listed:
                raise ValueError(f"Model: {what} on {call.layer!r}, which is not among the inputs")

    depth = dict.fromkeys(met, 0)
    layer_depth: dict[Member, int] = {}
    for call in reversed(finished):  # whoever reads a call's outputs comes before it here
        depth[call] = layer_depth[call.layer] = max(depth[call], layer_depth.get(call.layer, 0))
        for tensor in call.inputs:
            source = cuts.get(tensor, tensor)._call
            depth[source] = max(depth[source], depth[call] + 1)
    place: dict[Member, int] = {}
    for k, call in enumerate(met):
        place.setdefault(call.layer, k)
    for call in listed:
        depth.setdefault(call, 0)
        layer_depth.setdefault(call.layer, 0)
        place.setdefault(call.layer, -1)
    order = {call: k for k, call in enumerate(finished)}
    layers = sorted(layer_depth, key=lambda layer: (-layer_depth[layer], place[layer]))
    calls = sorted(depth, key=lambda call: (-depth[call], place[call.layer], order.get(call, -1)))
    calls += [call for call in further if call not in depth]
    layers += dict.fromkeys(call.layer for call in further if call.layer not in layer_depth)
    return layers, calls


def _walk(
    outputs: Sequence[SymbolicTensor], cuts: Mapping[SymbolicTensor, SymbolicTensor]
) -> tuple[list[Call], list[Call]]:
    """The calls behind the outputs, in the order a walk depth first meets them, and in the order it leaves them."""

    def sources(call: Call) -> Any:
        return iter([cuts.get(tensor, tensor)._call for tensor in call.inputs])

    met: dict[Call, None] = {}
    finished: list[Call] = []
    for output in outputs:
        if output._call in met:
            continue
        met[output._call] = None
        stack = [(output._call, sources(output._call))]
        while stack:
            call, behind = stack[-1]
            source = next((c for c in behind if c not in met), None)
            if source is None:
                finished.append(call)
                stack.pop()
            else:
                met[source] = None
                stack.append((source, sources(source)))
    return list(met), finished


@dataclass
class FlatCall:
    """A call of a layer in the engine's graph: the name of its outputs, and references to what it reads."""

    name: str
    layer: Layer
    inputs: list[str]


@dataclass
class CarriedStates:
    """The states of a stateful layer: inputs and outputs of the engine that callers do not see.

    Attributes
    ----------
    inputs : list of str
        Names.
    shapes : list of tuple
        Without the batch.
    outputs : list of str
        References to what the next batch begins with.
    """

    layer: Layer
    inputs: list[str]
    shapes: list[Shape]
    outputs: list[str]


@dataclass
class Flat:
    """A model as the engine has it: models within it, and layers put together of others, are taken apart, their names
    before those of their layers.

    Attributes
    ----------
    layers : dict of Layer to its name
    calls : list of FlatCall
        In topological order, without the inputs.
    outputs : list of str
        References.
    states : list of CarriedStates
    """

    layers: dict[Layer, str] = field(default_factory=dict)
    calls: list[FlatCall] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    states: list[CarriedStates] = field(default_factory=list)

    def is_plain(self) -> bool:
        """Whether every layer is called once and comes after what it reads: what version 1 of the spec can say."""
        by_layer = {call.layer: call for call in self.calls}
        if len(by_layer) < len(self.calls) or any(call.name != self.layers[call.layer] for call in self.calls):
            return False
        done = set()
        for layer, name in self.layers.items():
            if layer in by_layer and not all(ref.partition(":")[0] in done for ref in by_layer[layer].inputs):
                return False
            done.add(name)
        return True


def flatten(model: Structure) -> Flat:
    flat = Flat()
    _name_layers(flat, model, "", True)
    names: dict[str, Any] = {name: layer for layer, name in flat.layers.items()}
    refs = {tensor: flat.layers[tensor.layer] for tensor in model._inputs}
    _expand(flat, names, {}, set(), model, "", refs)
    flat.outputs = [refs[model._cuts.get(tensor, tensor)] for tensor in model._outputs]
    return flat


def _name_layers(flat: Flat, model: Structure | Parts, prefix: str, outermost: bool) -> None:
    for member in model._graph:
        name = prefix + model._names[member]
        if (inside := parts_of(member)) is not None:
            _name_layers(flat, inside, f"{name}.", False)
        elif (outermost or not isinstance(member, InputLayer)) and member not in flat.layers:
            flat.layers[member] = unique_name(name, dict.fromkeys(flat.layers.values()))


def _expand(
    flat: Flat,
    names: dict[str, Any],
    prefixes: dict[str, Any],
    called: set[Layer],
    model: Structure | Parts,
    prefix: str,
    refs: dict[SymbolicTensor, str],
) -> None:
    """The calls of a model whose inputs are bound in ``refs``, where all its tensors are afterwards."""
    for call in model._order:
        if isinstance(call.layer, InputLayer):
            continue
        inputs = [refs[model._cuts.get(tensor, tensor)] for tensor in call.inputs]
        member: Member = call.layer
        label = prefix + model._names[member]
        if (inside := parts_of(member)) is None:
            first = member not in called
            called.add(member)
            name = flat.layers[member] if first else unique_name(label, names)
            names[name] = member
            if isinstance(member, Stateful) and member._carries():
                inputs = [*inputs, *_carried(flat, names, member, name, call, len(inputs))]
            flat.calls.append(FlatCall(name, member, inputs))
            for tensor in call.outputs:
                refs[tensor] = reference(name, tensor.index)
            continue
        nested = unique_name(label, prefixes)
        prefixes[nested] = member
        inner = dict(zip(inside._inputs, inputs, strict=True))
        _expand(flat, names, prefixes, called, inside, f"{nested}.", inner)
        for tensor, output in zip(call.outputs, inside._outputs, strict=True):
            refs[tensor] = inner[inside._cuts.get(output, output)]


def _carried(flat: Flat, names: dict[str, Any], layer: Stateful, name: str, call: Call, given: int) -> list[str]:
    """What a call of a stateful layer begins with, where nobody gives it initial states; its last ones are carried."""
    shapes = [shape[1:] for shape, _ in layer._state_specs([(t.shape, t.dtype) for t in call.inputs])]
    last = [reference(name, k + 1) for k in range(len(shapes))]
    begun = given > layer._timed_inputs(call.inputs)
    for states in flat.states:
        if states.layer is layer:  # a second call goes on where the first one ended
            before, states.outputs = states.outputs, last
            return [] if begun else before
    inputs = []
    for k in range(0 if begun else len(shapes)):
        inputs.append(unique_name(f"{name}.state_{k}", names))
        names[inputs[-1]] = layer
    flat.states.append(CarriedStates(layer, inputs, shapes, last))
    return inputs
