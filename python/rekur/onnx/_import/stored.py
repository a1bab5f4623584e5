"""The values of a graph's tensors, by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rekur.onnx._import.read import Tensors
from rekur.onnx._import.values import Known, Value


class Values:
    """Values by name; initialisers are decoded when they are first read. outer: of the graph around a branch."""

    def __init__(self, tensors: Tensors, stored: Iterable[Any], outer: Values | None = None) -> None:
        self.tensors = tensors
        self.stored = {tensor.name: tensor for tensor in stored}
        self.outer = outer
        self.made: dict[str, Value] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.made or name in self.stored or (self.outer is not None and name in self.outer)

    def get(self, name: str) -> Value:
        if name not in self.made:
            if name not in self.stored and self.outer is not None:
                return self.outer.get(name)
            self.made[name] = Known(self.tensors.array(self.stored[name], f"initialiser '{name}'"))
        return self.made[name]


def count(tensor: Any) -> int:
    """Elements that the file holds of a tensor; what is outside is checked against its file when it is read."""
    lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    if tensor.data_location == 1:
        lengths = [entry.value for entry in tensor.external_data if entry.key == "length"]
        return int(lengths[0]) // 4 if lengths and lengths[0].isdecimal() and len(lengths[0]) < 12 else 0
    return len(tensor.raw_data) // 4 + sum(map(len, lists))
