"""Files of eight bits: their graph in float32, and which layers of the model then have products of eight bits.

Before anything else is read, constants of integers with their scales become the weights that they stand for, and
operators on integers the operators on numbers that they stand in for:

    DequantizeLinear(w), Mul(Cast(w), scale)                                w · scale
    DynamicQuantizeLSTM                                                     LSTM
    DynamicQuantizeLinear, MatMulInteger, Cast, Mul                         MatMul

Once there are layers, those whose matrices are all integers times a scale of the file get the precision int8. A column
whose largest integer is 127 keeps its integers; others, of a scale for a whole tensor or of seven bits, are rounded to
the engine's own grid, whose steps are finer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import LoadError
from rekur.onnx._graph import FLOAT, MICROSOFT
from rekur.onnx._import.order import describe
from rekur.onnx._import.read import Tensors
from rekur.onnx._int8 import MOST, floating, round_matrices

SPARE = 2**20  # elements that may be made of integers, besides eight times what the file holds
MAX_SCALES = 2**16  # different ones of a file whose layers are looked at
LAYERS = ("LSTM", "GRU", "SimpleRNN", "RNN", "Dense", "Conv1D", "Embedding")  # that have a precision
NARROW = (np.dtype(np.int8), np.dtype(np.uint8))
EXACT = 1e-4  # how far from an integer a weight divided by its scale may be
_DYNAMIC_INPUTS = 12  # of DynamicQuantizeLSTM: X, W, R, B, sequence_lens, initial_h, initial_c, P, and four of scales


@dataclass
class Widened:
    """A model without integers for weights, and all scales that there were."""

    proto: Any
    scales: set[float] = field(default_factory=set)


def widen(proto: Any, folder: Path | None) -> Widened:
    """The model itself where it has no such weights; what is not understood stays as it is."""
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    if not any(tensor.data_type in (2, 3) for tensor in stored.values()):
        return Widened(proto)
    return _Widening(proto, Tensors(folder)).run()


class _Widening:
    def __init__(self, proto: Any, tensors: Tensors) -> None:
        self.result = type(proto)()
        self.result.CopyFrom(proto)
        self.graph, self.tensors = self.result.graph, tensors
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self.inputs = {value.name for value in self.graph.input}
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.left = SPARE + 8 * sum(int(np.prod(tensor.dims, dtype=object)) for tensor in self.stored.values())
        self.scales: set[float] = set()
        self.made: dict[Any, str] = {}  # by what made them

    def run(self) -> Widened:
        nodes: list[Any] = []
        for node in self.graph.node:
            if (array := self._constant_of(node)) is not None:
                self._add(node.output[0], array)
            elif node.op_type == "DynamicQuantizeLSTM" and node.domain == MICROSOFT:
                nodes.append(self._lstm(node) or node)
            elif node.op_type == "Mul" and node.domain in ("", "ai.onnx"):
                nodes.append(self._product(node) or node)
            else:
                nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        self._drop_unread()
        return Widened(self.result, self.scales)

    def _array(self, name: str) -> NDArray[Any] | None:
        if name in self.inputs or name not in self.stored:
            node = self.makers.get(name)
            if node is None or node.op_type != "Constant" or len(node.attribute) != 1 or node.attribute[0].type != 4:
                return None
            return self.tensors.array(node.attribute[0].t, f"'{name}'")
        return self.tensors.array(self.stored[name], f"initialiser '{name}'")

    def _add(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.graph.initializer.append(tensor)
        self.stored[name] = tensor
        return name

    def _constant_of(self, node: Any) -> NDArray[Any] | None:
        """The weights that a DequantizeLinear, or a Mul of a Cast, makes of integers that are a constant."""
        if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            return None
        if node.op_type == "DequantizeLinear" and 2 <= len(node.input) <= 3:
            numbers, scale = self._array(node.input[0]), self._array(node.input[1])
            zero = self._array(node.input[2]) if len(node.input) == 3 and node.input[2] else np.zeros((), np.int8)
            options = {entry.name: entry.i for entry in node.attribute}
            if numbers is None or scale is None or zero is None or options.get("block_size", 0):
                return None
            axis = options.get("axis", 1)
            if scale.size != 1 and not -numbers.ndim <= axis < numbers.ndim:
                return None
            return self._numbers(node, numbers, _along(scale, numbers.ndim, axis), _along(zero, numbers.ndim, axis))
        if node.op_type == "Mul" and len(node.input) == 2:
            for raw, other in (node.input, reversed(node.input)):
                cast = self.makers.get(raw)
                if cast is None or cast.op_type != "Cast" or len(cast.input) != 1:
                    continue
                if [entry.i for entry in cast.attribute] != [FLOAT]:
                    continue
                numbers, scale = self._array(cast.input[0]), self._array(other)
                if numbers is not None and scale is not None and scale.ndim <= numbers.ndim:
                    return self._numbers(node, numbers, scale, np.zeros((), np.int8))
        return None

    def _numbers(
        self, node: Any, numbers: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any]
    ) -> NDArray[Any] | None:
        """(numbers − zero) · scale, where that is what the three say."""
        if numbers.dtype not in NARROW or scale.dtype != np.float32 or zero.dtype.kind not in "iu":
            return None
        try:
            shape = np.broadcast_shapes(numbers.shape, scale.shape, zero.shape)
        except ValueError:
            return None
        if shape != numbers.shape:
            return None
        self.left -= numbers.size
        if self.left < 0:
            raise LoadError(f"{describe(node)}: weights made of integers are beyond what the file's own data call for")
        self.scales.update(np.unique(scale).tolist())
        with np.errstate(all="ignore"):  # scales may be anything
            result: NDArray[Any] = (numbers.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale
        return result

    def _integers(self, node: Any, names: tuple[str, str, str], axes: Sequence[int]) -> str | None:
        """An initialiser of what an operator on integers multiplies by: numbers, scales, zero points or nothing.

        axes: the order of the numbers' axes that the operator on numbers has; sums are over the last but one of theirs.
        """
        if (names, tuple(axes)) in self.made:
            return self.made[names, tuple(axes)]
        arrays = [self._array(name) if name else np.zeros((), np.int8) for name in names]
        if any(array is None for array in arrays):
            return None
        numbers, scale, zero = (array for array in arrays if array is not None)
        if numbers.ndim != len(axes):
            return None
        shape = (*numbers.shape[:-2], 1, numbers.shape[-1])
        if any(array.size not in (1, int(np.prod(shape)), shape[0]) for array in (scale, zero)):
            return None
        if numbers.dtype not in NARROW or (numbers.dtype != zero.dtype and zero.ndim):
            return None
        spread = [_spread(array, shape) for array in (scale, zero)]
        whole = numbers.astype(np.int32) - spread[1].astype(np.int32)
        if np.abs(whole).max(initial=0) > MOST:
            raise LoadError(
                f"{describe(node)}: its weights less their zero points go from {whole.min()} to {whole.max()}; layers "
                f"of eight bits here have integers of -{MOST} to {MOST}: quantise the weights symmetrically, or load "
                "the float32 model"
            )
        array = self._numbers(node, numbers, *spread)
        if array is None:
            return None
        name = names[0].removesuffix("/int8")
        while name in self.stored or name in self.makers or name in self.inputs:
            name += "_"
        self.made[names, tuple(axes)] = self._add(name, array.transpose(*axes))
        return name

    def _lstm(self, node: Any) -> Any:
        """The same LSTM on numbers; None where its weights are not constants."""
        from onnx import helper

        if not 11 <= len(node.input) <= _DYNAMIC_INPUTS:
            return None
        names = [*node.input, *[""] * (_DYNAMIC_INPUTS - len(node.input))]
        made = []
        for weight, scale, zero in ((1, 8, 9), (2, 10, 11)):
            name = self._integers(node, (names[weight], names[scale], names[zero]), (0, 2, 1))
            if name is None:
                return None
            made.append(name)
        inputs = [names[0], *made, *names[3:8]]
        while inputs and not inputs[-1]:
            inputs.pop()
        result = helper.make_node("LSTM", inputs, list(node.output), name=node.name)
        result.attribute.extend(node.attribute)
        return result

    def _product(self, node: Any) -> Any:
        """MatMul, where the node is the last of a product of integers; None of any other."""
        from onnx import helper

        for one, other in (list(node.input), list(node.input)[::-1]):
            cast, scale = self.makers.get(one), self.makers.get(other)
            if cast is None or cast.op_type != "Cast" or scale is None or scale.op_type != "Mul" or not cast.input:
                continue
            product = self.makers.get(cast.input[0])
            if product is None or product.op_type != "MatMulInteger" or len(product.input) < 3:
                continue
            source = self.makers.get(product.input[0])
            if source is None or source.op_type != "DynamicQuantizeLinear" or len(source.output) != 3:
                continue
            if not source.input:
                continue
            scales = [name for name in scale.input if name != source.output[1]]
            if len(scales) != 1 or source.output[1] not in scale.input or product.input[2] != source.output[2]:
                continue
            zero = product.input[3] if len(product.input) > 3 else ""
            name = self._integers(product, (product.input[1], scales[0], zero), (0, 1))
            if name is not None:
                return helper.make_node("MatMul", [source.input[0], name], list(node.output), name=node.name)
        return None

    def _drop_unread(self) -> None:
        """Nodes and constants that nobody reads any more, so that nothing trips over them."""
        from rekur.onnx._import.order import reads

        while True:
            read = {name for node in self.graph.node for name in reads(node)}
            read.update(value.name for value in self.graph.output)
            kept = [node for node in self.graph.node if any(name in read for name in node.output)]
            if len(kept) == len(self.graph.node):
                break
            del self.graph.node[:]
            self.graph.node.extend(kept)
        initial = [tensor for tensor in self.graph.initializer if tensor.name in read or tensor.name in self.inputs]
        del self.graph.initializer[:]
        self.graph.initializer.extend(initial)


def _along(array: NDArray[Any], rank: int, axis: int) -> NDArray[Any]:
    """A vector as one along that axis."""
    if array.size == 1:
        return array.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return array.reshape(shape)


def _spread(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """One for all, one for each of the first axis, or one for every place of the shape."""
    if array.size == int(np.prod(shape)):
        return array.reshape(shape)
    return array.reshape((-1,) + (1,) * (len(shape) - 1))


def narrowed(
    spec: dict[str, Any], weights: dict[str, NDArray[Any]], scales: Collection[float]
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The spec with the precision of the layers whose matrices are integers times such scales, and the weights."""
    if not scales or len(scales) > MAX_SCALES:
        return spec, weights
    from rekur import _core
    from rekur._spec import dumps

    given = floating(spec)
    cores = []
    for layer in given["layers"]:
        core = layer["layer"] if layer["type"] == "Bidirectional" else layer
        if core["type"] in LAYERS:
            core["precision"] = "int8"
            cores.append((layer["name"], core))
    read = list(_core.Model(dumps(given)).int8_matrices)
    steps = np.array(sorted(scale for scale in scales if scale > 0), np.float32)
    narrow = {name for name in read if _of_steps(weights[name], steps)}
    for name, core in cores:
        own = [matrix for matrix in read if matrix.startswith(f"{name}/")]
        if not own or not narrow.issuperset(own):
            del core["precision"]
            narrow.difference_update(own)
    return (given, round_matrices(weights, frozenset(narrow))) if narrow else (spec, weights)


def _of_steps(matrix: NDArray[Any], steps: NDArray[np.float32]) -> bool:
    """Whether every column is integers of -127 to 127 times one of the steps."""
    columns = matrix.reshape(-1, matrix.shape[-1]).astype(np.float64)
    if not np.isfinite(columns).all():
        return False
    for column, largest in zip(columns.T, np.abs(columns).max(axis=0, initial=0), strict=True):
        if largest == 0:
            continue
        ratio = largest / steps.astype(np.float64)
        most = np.rint(ratio)
        fits = (most >= 1) & (most <= MOST) & (np.abs(ratio - most) < EXACT)
        if not any(np.abs(column / step - np.rint(column / step)).max() < EXACT for step in steps[fits]):
            return False
    return True
