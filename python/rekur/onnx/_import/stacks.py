"""Inputs that are stacks of states: the axes of which only single entries are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rekur.onnx._import.read import Tensors
from rekur.onnx._import.values import MAX_PARTS


def stacks_of(nodes: Sequence[Any], name: str, rank: int, constants: Mapping[str, Sequence[int]]) -> set[int]:
    """The axes of a tensor of which everything that reads it takes a single entry; empty where something else reads."""
    common: set[int] | None = None
    waiting: list[tuple[str, frozenset[int]]] = [(name, frozenset())]
    while waiting:
        tensor, found = waiting.pop()
        readers = [node for node in nodes if tensor in node.input]
        sliced = [node for node in readers if node.op_type == "Slice" and list(node.input).index(tensor) == 0]
        if readers and len(sliced) == len(readers):
            waiting += [(node.output[0], found | _single_entries(node, rank, constants)) for node in sliced]
            if len(waiting) > MAX_PARTS:
                return set()
        else:
            common = set(found) if common is None else common & found
    return common or set()


def _single_entries(node: Any, rank: int, constants: Mapping[str, Sequence[int]]) -> frozenset[int]:
    """The axes of which a Slice takes one entry."""
    given = {entry.name: list(entry.ints) for entry in node.attribute}
    for place, key in enumerate(("starts", "ends", "axes", "steps"), 1):
        if len(node.input) > place and node.input[place] in constants:
            given[key] = list(constants[node.input[place]])
    starts, ends = given.get("starts", []), given.get("ends", [])
    axes = given.get("axes", list(range(len(starts))))
    if not len(starts) == len(ends) == len(axes):
        return frozenset()
    pairs = zip(starts, ends, axes, strict=True)
    return frozenset(axis % rank for start, end, axis in pairs if end - start == 1 and -rank <= axis < rank)


def short_vectors(nodes: Sequence[Any], stored: Mapping[str, Any], decoder: Tensors) -> dict[str, list[int]]:
    """Axes and shapes, as inputs of Unsqueeze and Reshape, that are plainly constant."""
    result: dict[str, list[int]] = {}
    tensors = dict(stored)
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            for entry in node.attribute:
                if entry.name == "value":
                    tensors[node.output[0]] = entry.t
    wanted = {node.input[1] for node in nodes if node.op_type in ("Unsqueeze", "Reshape") and len(node.input) > 1}
    wanted |= {name for node in nodes if node.op_type == "Slice" for name in node.input[1:]}
    for name in wanted & set(tensors):
        tensor = tensors[name]
        if tensor.data_type == 7 and tensor.data_location == 0 and len(tensor.dims) == 1 and 0 <= tensor.dims[0] <= 8:
            result[name] = [int(v) for v in decoder.array(tensor, f"constant '{name}'")]
    return result
