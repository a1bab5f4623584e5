"""The nodes that the outputs need, each after those it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rekur.onnx._errors import LoadError


def describe(node: Any) -> str:
    """``LSTM node '/rnn/LSTM'``; a node without a name goes by its first output."""
    name = node.name or next((output for output in node.output if output), "")
    return f"{node.op_type or 'nameless'} node '{name}'"


def unique(names: Iterable[str], what: str) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise LoadError(f"{what} '{name}' is there twice" if name else f"{what} without a name")
        seen.add(name)
    return seen


def ordered(graph: Any) -> list[Any]:
    """Live nodes in topological order.

    Raises
    ------
    LoadError
        A tensor is made twice, read but never made, or made from itself.
    """
    initialisers = unique((tensor.name for tensor in graph.initializer), "initialiser")
    inputs = unique((value.name for value in graph.input), "graph input")
    unique((value.name for value in graph.output), "graph output")
    given = initialisers | inputs
    made: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in given or name in made:
                raise LoadError(f"{describe(node)}: its output '{name}' is made elsewhere too")
            made[name] = index
    for value in graph.output:
        if value.name not in given and value.name not in made:
            raise LoadError(f"graph output '{value.name}' is made by no node")
    return [graph.node[k] for k in _walk(graph, given, made)]


def _walk(graph: Any, given: set[str], made: dict[str, int]) -> list[int]:
    result: list[int] = []
    done: dict[int, bool] = {}  # False: on the way
    waiting = [made[value.name] for value in reversed(graph.output) if value.name in made]
    while waiting:
        index = waiting[-1]
        if done.get(index):
            waiting.pop()
            continue
        node = graph.node[index]
        if index in done:  # everything it reads has been seen to
            done[index] = True
            result.append(index)
            waiting.pop()
            continue
        done[index] = False
        for name in filter(None, node.input):
            if name in given:
                continue
            if name not in made:
                raise LoadError(f"{describe(node)}: its input '{name}' is made by no node and is no initialiser")
            if done.get(made[name]) is False:
                raise LoadError(f"{describe(node)}: its input '{name}' depends on the node itself")
            if made[name] not in done:
                waiting.append(made[name])
    return result
