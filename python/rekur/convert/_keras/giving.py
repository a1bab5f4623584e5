"""Masks of a model that is written for Keras: a call that gets another there is given its own by hand."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rekur.convert._keras.describe import Unknown, entry
from rekur.convert._keras.entries import Entry, is_model, is_operation
from rekur.convert._keras.mask_values import Mask, Place
from rekur.convert._keras.masks import Call, Flow

_ONE = {"SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "GlobalAveragePooling1D",
        "BatchNormalization"}  # fmt: skip
_HEADS = {"MultiHeadAttention", "GroupQueryAttention"}
# Names that Keras gives to the operations it makes masks of; a layer of the same name is refused there.
_TAKEN = re.compile(
    r"(not_equal|any|all|expand_dims|squeeze|logical_or|logical_and|zeros_like|ones_like|concatenate|cast|"
    r"convert_to_tensor|broadcast_to)(_\d+)?"
)


@dataclass
class Giving(Flow):
    """Finds the calls that are to be given masks, and which."""

    found: dict[tuple[int, int], Call] = field(default_factory=dict)

    def uneven(self, call: Call) -> None:
        try:
            super().uneven(call)
        except ValueError as error:
            raise Unknown(str(error)) from None

    def settle(self, call: Call) -> None:
        cls = call.entry["class_name"]
        if is_operation(call.entry) or cls == "Concatenate":
            return  # what they make is settled where it is read
        wanted = [state.here for state in call.states]
        known = cls in _ONE or cls in _HEADS or cls in ("Attention", "AdditiveAttention")
        plain = all(mask is None or (isinstance(mask, frozenset) and _near(mask)) for mask in wanted)
        less = any(mask is None and theirs is not None for mask, theirs in zip(wanted, call.keras, strict=True))
        if not call.top or not known or not plain or less:
            raise Unknown(
                f"layer '{call.name}' ({cls}): the mask that it gets here is another in Keras, and cannot be given to "
                "it by hand: layers before it drop a mask there, or join several otherwise"
            )
        self.found[id(call.entry), call.number] = call
        call.keras = wanted


def _near(mask: Mask) -> bool:
    """Whether the tensors that a mask is made of are of the outermost model."""
    return all(len(tensor) == 1 and isinstance(tensor[0], tuple) for _, tensor, _ in mask)


def give_masks(made: Entry) -> None:
    """Write masks into a functional model where Keras would have others.

    Raises
    ------
    ValueError
        For a mask that cannot be given, naming the layer.
    """
    flow = Giving()
    flow.follow(made)
    if flow.any_mask or flow.found:
        _rename(made)
    if not flow.found:
        return
    config = made["config"]
    tensors = {place: value for inner in config["layers"] for place, value in _tensors(inner.get("inbound_nodes", ()))}
    fresh = _Operations({str(inner["name"]) for inner in config["layers"]}, tensors)
    for inner in config["layers"]:
        for number, node in enumerate(inner.get("inbound_nodes", ())):
            call = flow.found.get((id(inner), number))
            if call is None:
                continue
            masks = [None if mask is None else fresh.mask(mask) for mask in call.keras]
            if inner["class_name"] in _HEADS:
                keys = ("query_mask", "value_mask", "key_mask")
                node["kwargs"].update({key: mask for key, mask in zip(keys, masks, strict=False) if mask is not None})
            else:
                node["kwargs"]["mask"] = masks if inner["class_name"] not in _ONE else masks[0]
    config["layers"] += fresh.made


class _Operations:
    """Operations that make masks, each once."""

    def __init__(self, names: set[str], tensors: Mapping[Place, Any]) -> None:
        self._names, self._tensors = names, tensors
        self._known: dict[Any, Any] = {}
        self.made: list[dict[str, Any]] = []

    def mask(self, mask: Mask) -> Any:
        if mask in self._known:
            return self._known[mask]
        parts = []
        for kind, (place,), value in sorted(mask, key=repr):
            x = self._tensors[place]
            number = int(value) if kind == "ne" else value
            part = self._made("NotEqual", "numpy", {}, [x, number], x["config"]["shape"])
            if kind == "any":
                axis = {"axis": -1, "keepdims": False}
                part = self._made("Any", "numpy", axis, [part], x["config"]["shape"][:-1])
            parts.append(part)
        made = parts[0]
        for part in parts[1:]:
            made = self._made("LogicalAnd", "numpy", {}, [made, part], made["config"]["shape"])
        self._known[mask] = made
        return made

    def _made(self, cls: str, module: str, config: Mapping[str, Any], arguments: list[Any], shape: Any) -> Any:
        number = 0
        while (name := f"mask_of_steps_{number}") in self._names:
            number += 1
        self._names.add(name)
        made = {**entry(cls, {"name": name, **config}, f"keras.src.ops.{module}"), "registered_name": cls}
        made["name"], made["inbound_nodes"] = name, [{"args": arguments, "kwargs": {}}]
        self.made.append(made)
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": list(shape), "dtype": "bool", "keras_history": [name, 0, 0]},
        }


def _tensors(value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, number, index = value["config"]["keras_history"]
            yield (name, number, index), value
            return
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)


def _rename(made: Entry) -> None:
    """Other names for layers that are called as Keras calls its own operations on masks."""
    config = made["config"]
    for inner in config["layers"]:
        if is_model(inner):
            _rename(inner)
    names = {str(inner.get("name") or inner["config"]["name"]) for inner in config["layers"]}
    other: dict[str, str] = {}
    for name in sorted(names):
        if _TAKEN.fullmatch(name):
            fresh = f"layer_{name}"
            while fresh in names or fresh in other.values():
                fresh = f"layer_{fresh}"
            other[name] = fresh
    if not other:
        return
    for inner in config["layers"]:
        name = str(inner.get("name") or inner["config"]["name"])
        if name in other:
            inner["config"]["name"] = other[name]
            if "name" in inner:
                inner["name"] = other[name]
        for _, tensor in _tensors(inner.get("inbound_nodes", ())):
            history = tensor["config"]["keras_history"]
            tensor["config"]["keras_history"] = [other.get(history[0], history[0]), *history[1:]]
    for key in ("input_layers", "output_layers"):
        if key in config:
            config[key] = _renamed(config[key], other)


def _renamed(ends: Any, other: Mapping[str, str]) -> Any:
    if isinstance(ends, Mapping):
        return {key: _renamed(value, other) for key, value in ends.items()}
    if len(ends) >= 3 and isinstance(ends[0], str):
        return [other.get(ends[0], ends[0]), *ends[1:]]
    return [_renamed(value, other) for value in ends]
