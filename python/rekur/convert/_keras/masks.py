"""Masks that Keras 3 writes into a model: they come with the tensors here, and only such may be given in a call."""

from collections.abc import Mapping
from typing import Any

from rekur.convert._keras.entries import Entry, is_operation

_OPERATIONS = {"NotEqual", "Any", "ExpandDims", "Squeeze", "LogicalAnd", "LogicalOr", "Cast"}


class Masks:
    """Which entries of a functional model compute masks, and whether they are those that come with the tensors."""

    def __init__(self, entries: Mapping[str, Entry], what: str) -> None:
        self.names, self._what = entries, what
        self._masks: set[str] = set()
        used: dict[str, list[tuple[str, str]]] = {}  # by operation who reads it, and as what
        for name, entry in entries.items():
            for node in entry.get("inbound_nodes", ()):
                if isinstance(node, Mapping):
                    for key, value in [("", node.get("args", ())), *node.get("kwargs", {}).items()]:
                        for source in _sources(value):
                            used.setdefault(source, []).append((name, key))
        operations = [name for name, entry in entries.items() if is_operation(entry)]
        found = True
        while found:
            found = False
            for name in operations:
                if name in self._masks or entries[name]["class_name"] not in _OPERATIONS or not used.get(name):
                    continue
                if all(key.endswith("mask") or reader in self._masks for reader, key in used[name]):
                    self._masks.add(name)
                    found = True

    def is_mask(self, name: str) -> bool:
        """Whether an entry is read as a mask alone."""
        return name in self._masks

    def check(self, entry: Entry, key: str, value: Any) -> None:
        """Refuse a mask that is another than the one that comes with the input.

        Raises
        ------
        ValueError
            Naming the layer.
        """
        for name in _sources(value):
            if name not in self._masks or not self._comes_with(entry, self._read_by(name)):
                layer = entry.get("name") or entry["config"].get("name")
                raise ValueError(
                    f"{self._what}: the call of '{layer}' is given {key}= by hand; here masks come with the tensors, "
                    "from Masking and Embedding(mask_zero=True), or with mask= of predict"
                )

    def reach(self, entry: Entry) -> bool:
        """Whether a mask comes with what a layer reads."""
        return self._comes_with(entry, None)

    def _read_by(self, name: str) -> set[str]:
        """The tensors' layers that a mask is made of."""
        found: set[str] = set()
        for node in self.names[name].get("inbound_nodes", ()):
            for source in _sources(node):
                found |= self._read_by(source) if source in self._masks else {source}
        return found

    def _comes_with(self, entry: Entry, made_of: set[str] | None) -> bool:
        """Whether what a layer reads comes from a layer that makes a mask, of these tensors where they are given."""
        waiting, seen = [entry], set()
        while waiting:
            here = waiting.pop()
            for node in here.get("inbound_nodes", ()):
                for source in _sources(node):
                    if source in seen or source in self._masks or source not in self.names:
                        continue
                    seen.add(source)
                    above = self.names[source]
                    makes = above["class_name"] == "Masking" or (
                        above["class_name"] == "Embedding" and above["config"].get("mask_zero")
                    )
                    if makes and (made_of is None or made_of & set(_sources(above.get("inbound_nodes", ())))):
                        return True
                    waiting.append(above)
        return False


def _sources(value: Any) -> list[str]:
    """The names of the layers whose tensors stand in a value."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            return [str(value["config"]["keras_history"][0])]
        return [name for entry in value.values() for name in _sources(entry)]
    if isinstance(value, (list, tuple)):
        return [name for entry in value for name in _sources(entry)]
    return []
