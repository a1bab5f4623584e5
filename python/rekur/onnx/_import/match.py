"""Whether a file has the nodes that the exporter writes, but for names, and which initialiser then holds which weights.

Which weight stands where is found by exporting with weights that are numbers: of each its place in its parameter, and
which parameter that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._errors import LoadError
from rekur.onnx._import.read import Tensors
from rekur.onnx._import.scan import match_attributes

DIGIT = 2**22  # places are said by two numbers below this, which float32 has exactly
MAX_PARAMETER = DIGIT**2


def size_of(dims: Iterable[int]) -> int:
    return reduce(lambda total, size: total * int(size), dims, 1)


def array_of(tensor: Any) -> NDArray[Any]:
    from onnx import numpy_helper

    array: NDArray[Any] = numpy_helper.to_array(tensor)
    return array


class File:
    """The file's graph by its tensors."""

    def __init__(self, graph: Any, tensors: Tensors) -> None:
        self.tensors = tensors
        self.nodes = list(graph.node)
        self.makers = {name: node for node in self.nodes for name in node.output if name}
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.elements = sum(size_of(tensor.dims) for tensor in graph.initializer)

    def constant(self, name: str) -> Any:
        """The TensorProto behind a name, or None."""
        if name in self.stored:
            return self.stored[name]
        node = self.makers.get(name)
        if node is not None and node.op_type == "Constant" and len(node.attribute) == 1:
            return node.attribute[0].t if node.attribute[0].type == 4 else None
        return None


def numbered(shapes: Mapping[str, tuple[int, ...]]) -> list[dict[str, NDArray[np.float32]]]:
    """Three sets of weights: of each element the lower and the upper digit of its place, from 1, and its parameter's
    number, from −1 down.
    """
    lower, upper, owners = {}, {}, {}
    for number, (key, shape) in enumerate(shapes.items()):
        places = np.arange(size_of(shape))
        lower[key] = (1 + places % DIGIT).astype(np.float32).reshape(shape)
        upper[key] = (1 + places // DIGIT).astype(np.float32).reshape(shape)
        owners[key] = np.full(shape, -1.0 - number, np.float32)
    return [lower, upper, owners]


class Written:
    """What the exporter makes of numbered weights: three graphs that differ in them alone."""

    def __init__(self, protos: Iterable[Any]) -> None:
        first, *others = protos
        self.makers = {name: node for node in first.node for name in node.output if name}
        arrays = [{tensor.name: array_of(tensor) for tensor in proto.initializer} for proto in (first, *others)]
        lower, upper, owners = arrays
        self.constants: dict[str, NDArray[Any]] = {}
        self.parameters: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}  # initialiser: parameter, place there
        for name, array in lower.items():
            if np.array_equal(array, owners[name]):
                self.constants[name] = array
                continue
            own = owners[name] < 0  # not of zeros beside the heads of a kernel, and the like
            places = (array.astype(np.int64) - 1) + (upper[name].astype(np.int64) - 1) * DIGIT
            number = np.where(own, -1 - owners[name].astype(np.int64), -1)
            self.parameters[name] = (number, np.where(own, places, 0))


class Match:
    """By the exporter's name of a tensor its name in the file."""

    def __init__(self, expected: Written, file: File) -> None:
        self.expected, self.file = expected, file
        self.names: dict[str, str] = {}

    def add(self, ours: str, theirs: str) -> bool:
        """Whether the file makes its tensor as the exporter makes ours; nothing is kept where it does not."""
        names, waiting = dict(self.names), [(ours, theirs)]
        while waiting:
            one, other = waiting.pop()
            if not one or not other:
                if one or other:
                    return False
                continue
            if one in names:
                if names[one] != other:
                    return False
                continue
            names[one] = other
            if one in self.expected.constants:
                if not self._equal(one, other):
                    return False
            elif one in self.expected.makers:
                pairs = self._alike(self.expected.makers[one], self.file.makers.get(other))
                if pairs is None:
                    return False
                waiting += pairs
        self.names = names
        return True

    def forget(self, ours: str, node: Any) -> None:
        """The state goes by several names, and what is read of it is not that node's."""
        self.names.pop(ours, None)

    def _equal(self, ours: str, theirs: str) -> bool:
        tensor, own = self.file.constant(theirs), self.expected.constants[ours]
        if tensor is None or tuple(tensor.dims) != own.shape:
            return False
        try:
            array = self.file.tensors.array(tensor, theirs)
        except LoadError:
            return False
        return array.dtype == own.dtype and array.tobytes() == own.tobytes()

    def _alike(self, ours: Any, theirs: Any) -> list[tuple[str, str]] | None:
        """Pairs of tensors that must be alike so that two nodes are."""
        if theirs is None or (ours.op_type, ours.domain) != (theirs.op_type, theirs.domain):
            return None
        if len(ours.input) != len(theirs.input) or len(ours.output) != len(theirs.output):
            return None
        pairs = list(zip([*ours.input, *ours.output], [*theirs.input, *theirs.output], strict=True))
        around = match_attributes(ours, theirs)
        return None if around is None else [*pairs, *around.items()]
