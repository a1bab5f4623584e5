"""Models within models, as a file keeps them beside the engine's spec, in which they are taken apart."""

from typing import TYPE_CHECKING, Any

from rekur._spec import Signal, Spec, reference, unique_name
from rekur.layers import TYPES
from rekur.layers.base import Layer
from rekur.layers.inputs import InputLayer
from rekur.layers.parts import parts_of

if TYPE_CHECKING:
    from rekur.models.model import Model
    from rekur.models.structure import Structure


def class_named(name: object) -> type["Model"]:
    """The class that a file was saved from."""
    from rekur.models.model import Model
    from rekur.models.sequential import Sequential  # which are made of this module

    found = {"Model": Model, "Sequential": Sequential}.get(name)  # type: ignore[call-overload]
    if found is None:
        raise TypeError(f"'model_class' must be 'Model' or 'Sequential', got {name!r}")
    return found  # type: ignore[no-any-return]


def tree_of(model: "Structure") -> Spec:
    """The layers of a model, those that are models as trees of their own, and their calls.

    A layer that stands in several of them is described once: elsewhere its ``path`` says where.
    """
    return _tree(model, {}, (), model.name)


def _tree(model: Any, seen: dict[Any, tuple[str, ...]], path: tuple[str, ...], label: str) -> Spec:
    layers: list[Spec] = []
    for member in model._graph:
        name = model._names[member]
        if member in seen:
            layers.append({"name": name, "path": list(seen[member])})
            continue
        seen[member] = (*path, name)
        if isinstance(member, Layer) and not member._saved_as_graph():
            layers.append({"name": name, "type": member.type, "config": member.config()})
        else:
            layers.append({"name": name, "model": _tree(parts_of(member), seen, (*path, name), member.name)})
    refs = {tensor: model._names[tensor.layer] for tensor in model._inputs}
    taken: dict[str, Any] = {name: member for member, name in model._names.items()}
    called: set[Any] = set()
    calls = []
    for call in model._order:
        if isinstance(call.layer, InputLayer):
            continue
        layer = model._names[call.layer]
        name = unique_name(layer, taken) if call.layer in called else layer
        taken[name] = call
        called.add(call.layer)
        calls.append([layer, name, [refs[model._cuts.get(t, t)] for t in call.inputs]])
        refs.update({tensor: reference(name, tensor.index) for tensor in call.outputs})
    return {
        "class": "Sequential" if type(model).__name__ == "Sequential" else "Model",
        "name": label,
        "seed": getattr(model, "seed", 0),
        **({"signal": said} if (said := _signal_of(model)) else {}),
        "layers": layers,
        "calls": calls,
        "inputs": [refs[t] for t in model._inputs],
        "outputs": [refs[model._cuts.get(t, t)] for t in model._outputs],
    }


def _signal_of(model: Any) -> Spec:
    """Of a model within; a layer that is kept as a graph has none."""
    return getattr(model, "_signal", Signal()).said()


def plant(model: "Model", tree: Spec) -> None:
    """Fill a model that is empty so far."""
    _plant(model, tree, {}, ())


def _plant(model: "Model", tree: Spec, seen: dict[tuple[str, ...], Any], path: tuple[str, ...]) -> None:
    members: dict[str, Any] = {}
    for entry in tree["layers"]:
        name = entry["name"]
        place = (*path, name)
        if "path" in entry:
            members[name] = seen[tuple(entry["path"])]
            continue
        if "model" in entry:
            inner = entry["model"]
            kind = class_named(inner["class"])
            made = kind.__new__(kind)
            made._call(inner["name"], "model", inner["seed"])
            made._signal = Signal.of(inner.get("signal", {}))
            _plant(made, inner, seen, place)
            members[name] = made
        else:
            members[name] = TYPES[entry["type"]].from_config(entry["config"], name)
        seen[place] = members[name]
    model._connect_again(members, [tuple(call) for call in tree["calls"]], tree["inputs"], tree["outputs"])
