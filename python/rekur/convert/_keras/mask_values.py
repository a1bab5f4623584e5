"""Masks as values: what Keras's operations make of them, and the tensors that stand in a description."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rekur.convert._keras.entries import Entry

Mask = Any  # masks.py says what
Place = tuple[str, int, int]  # a layer, the number of its call, the number of the output


def places_in(value: Any) -> Iterator[Place]:
    """The tensors that stand in a value."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            name, number, index = value["config"]["keras_history"]
            yield str(name), int(number), int(index)
            return
        for entry in value.values():
            yield from places_in(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from places_in(entry)


def history(given: Any) -> Iterator[Place]:
    """Inputs or outputs of a model, flat."""
    if isinstance(given, Mapping):
        for value in given.values():
            yield from history(value)
    elif isinstance(given, (list, tuple)):
        if len(given) >= 3 and isinstance(given[0], str):
            yield str(given[0]), int(given[1]), int(given[2])
        else:
            for value in given:
                yield from history(value)


def either(masks: Sequence[Mask]) -> Mask:
    if any(mask is None for mask in masks):
        return None
    return masks[0] if all(mask == masks[0] for mask in masks) else ("or", frozenset(masks))


def both(masks: Iterable[Mask]) -> Mask:
    there = [mask for mask in masks if mask is not None]
    if not there:
        return None
    if all(mask == there[0] for mask in there):
        return there[0]
    if all(isinstance(mask, frozenset) for mask in there):
        return frozenset().union(*there)
    return "and", frozenset(there)


def behind(masks: Sequence[Mask]) -> Mask:
    return None if all(mask is None for mask in masks) else ("behind", tuple(masks))


def given(value: Any, count: int, values: Mapping[Place, Any]) -> list[Mask] | None:
    """Masks that a call is given, one for each tensor; None for none."""
    if value is None:
        return None
    listed = value if isinstance(value, (list, tuple)) else [value]
    if all(entry is None for entry in listed):
        return None
    listed = [*listed, *[None] * count][:count]
    return [None if entry is None else mask_of(entry, values) for entry in listed]


def mask_of(value: Any, values: Mapping[Place, Any]) -> Mask:
    for place in places_in(value):
        found = values.get(place, ("unknown", place))
        return found[1] if isinstance(found, tuple) and found[0] == "wide" else found
    return "unknown", repr(value)


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("config", {}).get("value")
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def value(
    entry: Entry, arguments: list[Any], options: Mapping[str, Any], tensors: Mapping[Place, Any],
    values: Mapping[Place, Any],
) -> Any:  # fmt: skip
    """What an operation makes of masks: a mask, ("wide", mask) of a further axis, ("cat", axis, parts), a constant."""
    cls, own = entry["class_name"], {**entry["config"], **options}
    read = list(places_in([arguments, options]))
    unknown = ("unknown", read[0] if read else cls)
    if cls == "NotEqual" and len(read) == 1:
        numbers = [n for n in map(_number, [*arguments[1:2], options.get("x2")]) if n is not None]
        return frozenset({("ne", tensors[read[0]].tensor, numbers[0])}) if numbers else unknown
    if cls in ("ZerosLike", "OnesLike"):
        return "constant", cls == "OnesLike"
    found = [values.get(place, unknown) for place in read]
    if cls in ("ConvertToTensor", "Cast", "BroadcastTo") and found:
        return found[0]
    if cls == "ExpandDims" and found:
        return "wide", found[0]
    if cls == "Squeeze" and found:
        return found[0][1] if isinstance(found[0], tuple) and found[0][0] == "wide" else unknown
    if cls in ("LogicalOr", "LogicalAnd") and len(found) == 2:
        neutral = ("constant", cls == "LogicalAnd")
        rest = [value for value in found if value != neutral]
        if len(rest) < 2:
            return rest[0] if rest else neutral
        plain = all(isinstance(value, frozenset) or value[0] in ("or", "and", "behind") for value in rest)
        return (either(rest) if cls == "LogicalOr" else both(rest)) if plain else unknown
    if cls == "Concatenate":
        parts: list[Mask] = []
        for value in found:
            if value == ("constant", True):
                parts.append(None)
            elif isinstance(value, tuple) and value[0] == "wide":
                parts.append(value[1])
            else:
                return unknown
        return "cat", own.get("axis", -1), tuple(parts)
    if cls in ("Any", "All") and found and own.get("axis") in (-1, [-1], 2, [2]):
        value = found[0]
        if isinstance(value, frozenset) and len(value) == 1 and cls == "Any":
            ((kind, tensor, number),) = value
            return frozenset({("any", tensor, number)}) if kind == "ne" else unknown
        if isinstance(value, tuple) and value[0] == "wide":
            return value[1]
        if isinstance(value, tuple) and value[0] == "cat":
            if value[1] in (1, -2):
                return behind(value[2])
            return either(value[2]) if cls == "Any" else both(value[2])
    return unknown
