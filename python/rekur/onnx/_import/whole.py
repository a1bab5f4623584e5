"""A file as ``export`` wrote it: the model that its metadata describes, with the file's weights.

The description is not taken on trust. The exporter writes the file of that model again, and only where the file's nodes
are those, but for names, and its constants the same to the bit, is it that model. A file that was changed is read node
by node like anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._spec import dumps
from rekur.onnx._build import build
from rekur.onnx._errors import ExportError, LoadError
from rekur.onnx._graph import OPSETS, Graph, graph_proto
from rekur.onnx._import.match import MAX_PARAMETER, File, Match, Written, numbered, size_of
from rekur.onnx._import.read import Tensors, opset
from rekur.onnx._int8 import floating
from rekur.onnx._metadata import LENGTHS_KEY, MASKS_KEY, QUANTIZED_KEY, SPEC_KEY
from rekur.onnx._plain import plain
from rekur.onnx._plan import Plan
from rekur.onnx._states import STATES_KEY

SPARE = 2**24  # features that all tensors together may have beyond what the file holds
_NOT_SUCH = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError, OverflowError, RecursionError,
    ExportError, LoadError, MemoryError,
)  # fmt: skip

Weights = dict[str, NDArray[np.float32]]


def whole(proto: Any, folder: Path | None) -> tuple[dict[str, Any], Weights] | None:
    """The spec and the weights of the model that the file was written of; None of any other file."""
    texts = {entry.key: entry.value for entry in proto.metadata_props}
    if SPEC_KEY not in texts or STATES_KEY in texts or QUANTIZED_KEY in texts:
        return None
    try:
        spec = json.loads(texts[SPEC_KEY])
        again = _Again(spec, LENGTHS_KEY in texts, MASKS_KEY in texts, opset(proto))
        weights = again.weights_of(proto.graph, Tensors(folder))
    except _NOT_SUCH:
        return None
    return None if weights is None else (spec, weights)


class _Again:
    """The file that export would write of a spec."""

    def __init__(self, spec: Mapping[str, Any], lengths: bool, masks: bool, version: int) -> None:
        self.spec, self.lengths, self.masks, self.version = spec, lengths, masks, version
        if version not in OPSETS:
            raise ExportError(f"opset {version}")
        text = dumps(dict(spec))
        self.shapes = dict(_core.parameter_shapes(text))
        self.counts = {name: size_of(shape) for name, shape in self.shapes.items()}
        tensors = _core.time_axes(text)[0]
        self.features = sum(shape[-1] or 0 for shape, _ in tensors.values())

    def weights_of(self, graph: Any, tensors: Tensors) -> Weights | None:
        file = File(graph, tensors)
        counts = self.counts.values()
        if sum(counts) > file.elements or max(counts, default=0) > MAX_PARAMETER:
            return None
        if self.features > SPARE + 8 * file.elements:
            return None
        graphs = [self._graph(arrays) for arrays in numbered(self.shapes)]
        match = Match(Written(graph_proto(one, "model", self.version) for one in graphs), file)
        if not _same_interface(graphs[0], graph, match):
            return None
        arrays = {
            ours: tensors.array(found, theirs)
            for ours, theirs in match.names.items()
            if ours in graphs[0].initializers and (found := file.constant(theirs)) is not None
        }
        weights = self._weights(match.expected, arrays)
        if weights is None:
            return None
        for name, array in self._graph(weights).initializers.items():
            held = arrays.get(name)
            if name not in match.names:
                continue
            if held is None or held.dtype != array.dtype or held.shape != array.shape:
                return None
            if held.tobytes() != array.tobytes():
                return None
        return weights

    def _graph(self, arrays: Weights) -> Graph:
        spec, weights = plain(floating(self.spec), arrays)  # its file has no integers any more (int8.py)
        return build(Plan(spec, self.lengths, self.masks), weights, self.version)

    def _weights(self, written: Written, arrays: Mapping[str, NDArray[Any]]) -> Weights | None:
        """The parameters as initialisers hold them. Of one that is there in part, nothing reads what is not."""
        keys = list(self.shapes)
        result = {key: np.zeros(count, np.float32) for key, count in self.counts.items()}
        there = {key: count == 0 for key, count in self.counts.items()}
        for name, (owners, places) in written.parameters.items():
            array = arrays.get(name)
            if array is None:
                continue
            if array.dtype != np.float32 or array.shape != owners.shape:
                return None
            for number in np.unique(owners[owners >= 0]):
                own, key = owners == number, keys[number]
                result[key][places[own]] = array[own]
                there[key] = True
        if not all(there.values()):
            return None
        return {key: array.reshape(self.shapes[key]) for key, array in result.items()}


def _same_interface(ours: Graph, theirs: Any, match: Match) -> bool:
    """Whether inputs and outputs are the same, each of the outputs made in the same way."""
    stored = match.file.stored
    inputs, outputs = [name for name, _, _ in ours.inputs], [name for name, _, _ in ours.outputs]
    if inputs != [value.name for value in theirs.input if value.name not in stored]:
        return False
    if outputs != [value.name for value in theirs.output]:
        return False
    if not all(match.add(name, name) for name in outputs):
        return False
    return all(match.names.get(name, name) == name for name in inputs)
