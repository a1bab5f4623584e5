"""The nodes that the outputs need, each after those it reads."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
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


def graphs(node: Any) -> list[Any]:
    """The graphs in a node's attributes: branches of an If, bodies of loops."""
    return [graph for entry in node.attribute for graph in ([entry.g] if entry.type == 5 else entry.graphs)]


def reads(node: Any) -> Iterator[str]:
    """The tensors that a node reads, those that the graphs in it take from around them too."""
    yield from filter(None, node.input)
    for graph in graphs(node):
        own = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
        own.update(name for inner in graph.node for name in inner.output)
        for inner in graph.node:
            yield from (name for name in reads(inner) if name not in own)
        yield from (value.name for value in graph.output if value.name not in own)


def ordered(graph: Any, outer: Container[str] = ()) -> list[Any]:
    """Live nodes in topological order; outer: what a branch may read of the graphs around it.

    Raises
    ------
    LoadError
        A tensor is made twice, read but never made, or made from itself.
    """
    initialisers = unique((tensor.name for tensor in graph.initializer), "initialiser")
    inputs = unique((value.name for value in graph.input), "graph input")
    unique((value.name for value in graph.output), "graph output")
    given = initialisers | inputs
    if shadowed := [name for name in given if name in outer]:
        raise LoadError(f"'{shadowed[0]}' is there twice: in a branch, and around it")
    made: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in given or name in made or name in outer:
                raise LoadError(f"{describe(node)}: its output '{name}' is made elsewhere too")
            made[name] = index
    for value in graph.output:
        if value.name not in given and value.name not in made and value.name not in outer:
            raise LoadError(f"graph output '{value.name}' is made by no node")
    return [graph.node[k] for k in _walk(graph, given, made, outer)]


def _walk(graph: Any, given: set[str], made: dict[str, int], outer: Container[str]) -> list[int]:
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
        for name in reads(node):
            if name in given or (name in outer and name not in made):
                continue
            if name not in made:
                raise LoadError(f"{describe(node)}: its input '{name}' is made by no node and is no initialiser")
            if done.get(made[name]) is False:
                raise LoadError(f"{describe(node)}: its input '{name}' depends on the node itself")
            if made[name] not in done:
                waiting.append(made[name])
    return result


def handed_on(branch: Any, node: Any) -> Iterator[Any]:
    """Identity nodes by which an If's outputs are what its branch gives."""
    import onnx

    for inner, outer in zip(branch.output, node.output, strict=False):
        if outer and inner.name != outer:
            yield onnx.NodeProto(op_type="Identity", input=[inner.name], output=[outer])
