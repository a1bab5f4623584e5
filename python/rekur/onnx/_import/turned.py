"""Layers between sequences that were turned around: in the file Slice by −1 or ReverseSequence before and behind them,
here recurrent layers of the other direction; two of both directions on one sequence are a Bidirectional.
"""

from __future__ import annotations

from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.recurrent import STATES
from rekur.onnx._import.uses import Uses

MERGES = ("Concatenate", "Add", "Multiply")


def turned(graph: Graph, uses: Uses) -> set[int]:
    """The layers that are gone by it, by their ids."""
    gone: set[int] = set()
    for layer in graph.layers:
        if layer.type in STATES and layer.twin is None and layer.inputs[0].layer.type == "Flip":
            gone |= _reversed(layer, uses)
    _paired(graph, gone)
    return gone


def _reversed(layer: Layer, uses: Uses) -> set[int]:
    """A layer behind a Flip whose sequence, if anything reads it, only another Flip turns around again."""
    before = layer.inputs[0].layer
    readers = uses.of(layer.output)
    if before.lengths != layer.lengths or any(reader is None or reader.type != "Flip" for reader in readers):
        return set()
    flips = [reader for reader in readers if reader is not None]
    if any(flip.lengths != layer.lengths for flip in flips) or len(flips) > 1:
        return set()
    source = before.inputs[0]
    uses.readers[id(layer.inputs[0])] = [one for one in uses.of(layer.inputs[0]) if one is not layer]
    uses.readers[id(source)].append(layer)
    layer.inputs[0] = source
    if layer.options.get("reverse"):
        del layer.options["reverse"]
    else:
        layer.options["reverse"] = True
    gone = set() if uses.of(before.output) else {id(before)}
    if not uses.of(before.output):
        uses.readers[id(source)] = [one for one in uses.of(source) if one is not before]
    for flip in flips:
        layer.output = flip.output
        layer.output.layer = layer
        gone.add(id(flip))
    return gone


def _paired(graph: Graph, gone: set[int]) -> None:
    """Forward and backward layers of one sequence, side by side in a merge: twins, as of one node."""
    for merge in graph.layers:
        if merge.type not in MERGES or len(merge.inputs) != 2:
            continue
        one, two = (tensor.layer for tensor in merge.inputs)
        alone = all(layer.type == one.type and layer.twin is None and id(layer) not in gone for layer in (one, two))
        if one is two or one.type not in STATES or not alone or one.lengths != two.lengths:
            continue
        if one.inputs[0] is not two.inputs[0] or one.options.get("reverse") or not two.options.get("reverse"):
            continue
        if len(one.inputs) == len(two.inputs) and graph.layers.index(one) < graph.layers.index(merge):
            one.twin = two
