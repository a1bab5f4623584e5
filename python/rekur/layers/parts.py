"""A layer that is put together of others: the engine has those, Python the layer around them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rekur._spec import unique_name
from rekur._validate import Shape
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.symbolic import Call, SymbolicTensor

if TYPE_CHECKING:
    from rekur.models.structure import Structure

Described = list[tuple[Shape, str]]  # shapes and dtypes


class Parts:
    """What a layer is put together of, as a model has its layers.

    Its layers stand in the order in which they were called first, which is that of the layer's weights.
    """

    def __init__(
        self,
        inputs: Sequence[SymbolicTensor],
        outputs: Sequence[SymbolicTensor],
        owner: Layer,
        ends: Sequence[SymbolicTensor] = (),
    ) -> None:
        self._inputs, self._outputs = list(inputs), list(outputs)
        self._ends = list(ends)  # what it adds to the loss
        self._cuts: dict[SymbolicTensor, SymbolicTensor] = {}
        self._order = self._calls_behind(owner)
        self._graph: list[Any] = list(dict.fromkeys(call.layer for call in self._order))
        self._names: dict[Any, str] = {}
        taken: dict[str, Any] = {}
        for member in self._graph:
            name = unique_name(member.name, taken)
            self._names[member] = taken[name] = name

    def _calls_behind(self, owner: Layer) -> list[Call]:
        """The calls that the outputs and other ends depend on, in the order in which they were made."""
        entrances = {tensor._call for tensor in self._inputs}
        found: dict[Call, None] = dict.fromkeys(entrances)
        waiting = [tensor._call for tensor in (*self._outputs, *self._ends)]
        while waiting:
            call = waiting.pop()
            if call in found:
                continue
            if isinstance(call.layer, InputLayer):
                raise ValueError(f"{owner!r}: its call uses {call.layer!r}, which is not among its inputs")
            found[call] = None
            waiting += [tensor._call for tensor in call.inputs]
        return sorted(found, key=lambda call: call.serial)

    def infer(self, inputs: Described) -> Described:
        """Shapes and dtypes of the outputs for those of inputs."""
        return infer_through(self, inputs)


def infer_through(graph: "Parts | Structure", inputs: Described) -> Described:
    """Shapes and dtypes at the end of a graph for those at its beginning."""
    known: dict[SymbolicTensor, tuple[Shape, str]] = dict(zip(graph._inputs, inputs, strict=True))
    for call in graph._order:
        if isinstance(call.layer, InputLayer):
            continue
        found = call.layer._infer([known[graph._cuts.get(t, t)] for t in call.inputs])
        known.update(zip(call.outputs, [(tuple(shape), dtype) for shape, dtype in found], strict=True))
    return [known[graph._cuts.get(t, t)] for t in graph._outputs]


def parts_of(member: Any) -> "Parts | Structure | None":
    """The graph inside a member of a graph: of a model, or of a layer that is put together of others."""
    return member._parts if isinstance(member, Layer) else member


def leaves(member: Any) -> Iterator[Layer]:
    """The engine's layers of a member of a graph, without inputs."""
    inside = parts_of(member)
    if inside is None:
        yield member
        return
    for inner in inside._graph:
        if not isinstance(inner, InputLayer):
            yield from leaves(inner)


def layers_within(graph: Any) -> Iterator[Layer]:
    """All layers of a graph, those that are put together of others before their parts, without inputs."""
    for member in graph._graph:
        if isinstance(member, Layer) and not isinstance(member, InputLayer):
            yield member
        if (inside := parts_of(member)) is not None:
            yield from layers_within(inside)


def open_up(layer: Layer, inputs: Sequence[SymbolicTensor]) -> Parts:
    """The parts of a layer that is put together of others, for such inputs."""
    from rekur.layers.added import collecting  # whose layer is one of those that models are made of

    entrances = [InputLayer(t.shape[1:], dtype=t.dtype, name=f"input_{k}").tensor for k, t in enumerate(inputs)]
    with collecting() as ends:
        made = layer._put_together(entrances)
    outputs = list(made) if isinstance(made, (list, tuple)) else [made]
    for own, tensor in zip(entrances, inputs, strict=True):
        if own.dtype == "int32" and tensor.dtype == "float32" and isinstance(tensor.layer, InputLayer):
            tensor.layer._hold_ids(repr(layer))
    return Parts(entrances, outputs, layer, ends)
