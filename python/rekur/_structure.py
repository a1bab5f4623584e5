"""Nested lists, tuples and dicts of values, as ``call`` takes and returns them."""

from collections.abc import Callable, Mapping
from typing import Any


def flatten(value: Any) -> list[Any]:
    """The leaves, in order."""
    if isinstance(value, Mapping):
        return [leaf for part in value.values() for leaf in flatten(part)]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in flatten(part)]
    return [value]


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The same structure with what ``function`` gives for each leaf."""
    if isinstance(value, Mapping):
        return {key: mapped(function, part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [mapped(function, part) for part in value]
        if hasattr(value, "_fields"):  # a named tuple
            return type(value)(*parts)
        return parts if isinstance(value, list) else tuple(parts)
    return function(value)


def like(structure: Any, leaves: list[Any]) -> Any:
    """The structure with other leaves."""
    rest = iter(leaves)
    return mapped(lambda _: next(rest), structure)


def description(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Something to compare structures by."""
    if isinstance(value, Mapping):
        return tuple((key, description(part, leaf)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return tuple(description(part, leaf) for part in value)
    return leaf(value)
