"""Configurations that Keras 3 wrote, as those of rekur."""

from collections.abc import Mapping
from typing import Any

_MODULES = ("initializers", "regularizers", "constraints")


def plain(config: Mapping[str, Any], layer: str) -> dict[str, Any]:
    """The constructor's arguments of a layer that Keras described."""
    found = {key: _plain(value) for key, value in config.items()}
    if layer == "Bidirectional" and _is_mirror(config.get("layer"), config.get("backward_layer")):
        found.pop("backward_layer", None)  # as it would be without it
    return found


def _plain(value: Any) -> Any:
    if not isinstance(value, Mapping) or "class_name" not in value:
        return value
    module, name = f"{value.get('module')}", value["class_name"]
    if name.endswith("DTypePolicy"):
        return value["config"]["name"]
    kind = module.rpartition(".")[2]
    if module.startswith("keras") and kind in _MODULES:
        import importlib

        given = {key: entry for key, entry in value["config"].items() if entry is not None}
        return getattr(importlib.import_module(f"rekur.{kind}"), name)(**given)
    return value


def _is_mirror(forward: Any, backward: Any) -> bool:
    if not isinstance(forward, Mapping) or not isinstance(backward, Mapping):
        return False
    left, right = (
        {key: entry for key, entry in layer["config"].items() if key not in ("name", "go_backwards")}
        for layer in (forward, backward)
    )
    return bool(forward["class_name"] == backward["class_name"] and left == right)


def is_tensor(value: Any) -> bool:
    """Whether a value of a call's arguments stands for a tensor."""
    return isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__"


def places_of(value: Any) -> list[Any]:
    """The tensors among a call's arguments: layer, number of its call, number of the output."""
    if is_tensor(value):
        return [value["config"]["keras_history"]]
    if isinstance(value, Mapping):
        return [place for entry in value.values() for place in places_of(entry)]
    if isinstance(value, (list, tuple)):
        return [place for entry in value for place in places_of(entry)]
    return []


def with_tensors(value: Any, tensors: Mapping[Any, Any]) -> Any:
    """A call's arguments, with tensors in their places."""
    if is_tensor(value):
        return tensors[tuple(value["config"]["keras_history"])]
    if isinstance(value, Mapping):
        return {key: with_tensors(entry, tensors) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_tensors(entry, tensors) for entry in value]
    return value
