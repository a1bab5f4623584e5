"""What a tensor is of others: sums of products with constant matrices, as gates of a cell are of its input and state.

Whether a file has one matrix for all gates or one for each, a matrix for input and state side by side, biases in one
place or in two: in the end a gate is Σ source · matrix + bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.graph import Layer
from rekur.onnx._import.values import Tensor

Matrix: TypeAlias = NDArray[np.float64]
MAX_DEPTH = 16
MAX_IDENTITY = 4096  # features of a tensor that is added as it is


@dataclass(frozen=True, eq=False)
class Source:
    """A tensor, or one step of a sequence."""

    tensor: Tensor
    step: int | None = None

    @property
    def key(self) -> tuple[int, int | None]:
        return id(self.tensor), self.step

    @property
    def features(self) -> int:
        return self.tensor.features


@dataclass(frozen=True, eq=False)
class Linear:
    terms: tuple[tuple[Source, Matrix], ...]
    bias: Matrix

    @property
    def keys(self) -> set[tuple[int, int | None]]:
        return {source.key for source, _ in self.terms}

    def of(self, source: Source) -> Matrix | None:
        return next((matrix for own, matrix in self.terms if own.key == source.key), None)


def linear(tensor: Tensor, depth: int = 0) -> Linear | None:
    """None: nothing that is understood, or too wide to be looked at."""
    layer = tensor.layer
    rule = None if tensor.port != "y" or depth > MAX_DEPTH else RULES.get(layer.type)
    found = rule(layer, depth + 1) if rule is not None else None
    if found is None and tensor.features <= MAX_IDENTITY:
        bias = np.zeros(tensor.features)
        return Linear(((Source(tensor), np.eye(tensor.features)),), bias)
    return found


def _dense(layer: Layer, depth: int) -> Linear | None:
    if layer.options.get("activation", "linear") != "linear":
        return None
    kernel = layer.parameters["kernel"].astype(np.float64)
    bias = layer.parameters.get("bias")
    total = np.zeros(kernel.shape[1]) if bias is None else bias.astype(np.float64)
    terms, at = [], 0
    for piece in _pieces(layer.inputs[0]):
        rows = kernel[at : at + piece.features]
        at += piece.features
        below = linear(piece, depth) if piece.layer.type in ("Parameter", "Rescaling") else None
        if below is not None and not below.terms:  # a constant, or a product with zeros
            total = total + below.bias @ rows
        else:
            terms.append((source_of(piece), rows))
    return _sum(terms, total)


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    layer = tensor.layer
    side_by_side = layer.type == "Concatenate" and layer.options.get("axis", -1) == -1
    return layer.inputs if side_by_side and tensor.port == "y" else [tensor]


def source_of(tensor: Tensor) -> Source:
    layer = tensor.layer
    if layer.type == "Step" and tensor.port == "y":
        sequence, index = layer.inputs[0], int(layer.options["index"])
        steps = steps_of(sequence)
        return Source(sequence, index if index >= 0 or steps is None else index + steps)
    return Source(tensor)


def steps_of(sequence: Tensor) -> int | None:
    """How many steps it has, where that is known."""
    return None if sequence.time is None else sequence.time.size


def _step(layer: Layer, depth: int) -> Linear | None:
    """A step of a product is the product of that step."""
    sequence, index = layer.inputs[0], int(layer.options["index"])
    below = linear(sequence, depth)
    steps = steps_of(sequence)
    if index < 0:
        if steps is None:
            return None
        index += steps
    if below is None or any(source.step is not None or len(source.tensor.dims) != 2 for source, _ in below.terms):
        return None
    return Linear(tuple((Source(source.tensor, index), matrix) for source, matrix in below.terms), below.bias)


def _slice(layer: Layer, depth: int) -> Linear | None:
    below = linear(layer.inputs[0], depth)
    if below is None:
        return None
    columns = slice(int(layer.options["start"]), int(layer.options["stop"]))
    return _sum([(source, matrix[:, columns]) for source, matrix in below.terms], below.bias[columns])


def _add(layer: Layer, depth: int) -> Linear | None:
    return _joined(layer, depth, [1.0] * len(layer.inputs))


def _subtract(layer: Layer, depth: int) -> Linear | None:
    return _joined(layer, depth, [1.0, -1.0])


def _joined(layer: Layer, depth: int, signs: Sequence[float]) -> Linear | None:
    below = [linear(tensor, depth) for tensor in layer.inputs]
    if any(one is None or one.bias.size != layer.output.features for one in below):
        return None
    terms, bias = [], np.zeros(layer.output.features)
    for one, sign in zip(below, signs, strict=True):
        assert one is not None
        terms += [(source, sign * matrix) for source, matrix in one.terms]
        bias = bias + sign * one.bias
    return _sum(terms, bias)


def _rescaling(layer: Layer, depth: int) -> Linear | None:
    below = linear(layer.inputs[0], depth)
    if below is None:
        return None
    scale, offset = (numbers(layer, key) for key in ("scale", "offset"))
    terms = [(source, matrix * scale) for source, matrix in below.terms]
    return _sum(terms, below.bias * scale + offset)


def numbers(layer: Layer, key: str) -> Matrix:
    """Numbers of a Rescaling, which are float32 that the spec writes as text."""
    return np.asarray(layer.options[key], np.float32).astype(np.float64)


def _concatenate(layer: Layer, depth: int) -> Linear | None:
    if layer.options.get("axis", -1) != -1:
        return None
    below = [linear(tensor, depth) for tensor in layer.inputs]
    if any(one is None for one in below):
        return None
    width, at, terms = layer.output.features, 0, []
    for one in below:
        assert one is not None
        for source, matrix in one.terms:
            wide = np.zeros((matrix.shape[0], width))
            wide[:, at : at + matrix.shape[1]] = matrix
            terms.append((source, wide))
        at += one.bias.size
    return _sum(terms, np.concatenate([one.bias for one in below if one is not None]))


def _parameter(layer: Layer, depth: int) -> Linear | None:
    return Linear((), layer.parameters["value"].astype(np.float64).reshape(-1))


RULES = {
    "Parameter": _parameter,
    "Dense": _dense,
    "Step": _step,
    "Slice": _slice,
    "Add": _add,
    "Subtract": _subtract,
    "Rescaling": _rescaling,
    "Concatenate": _concatenate,
}


def _sum(terms: Sequence[tuple[Source, Matrix]], bias: Matrix) -> Linear:
    """Terms of one source added up; those whose matrix is zero left out."""
    found: dict[tuple[int, int | None], tuple[Source, Matrix]] = {}
    for source, matrix in terms:
        before = found.get(source.key)
        found[source.key] = (source, matrix if before is None else before[1] + matrix)
    return Linear(tuple((source, matrix) for source, matrix in found.values() if matrix.any()), bias)
