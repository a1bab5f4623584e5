"""The model in the making: layers with their parameters, before they have names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.values import Dim, Refused, Tensor

Floats = NDArray[np.float32]
MAX_LAYERS = 10_000
MAX_INTEGER, MAX_FLOAT = 2**31 - 1, float(np.finfo(np.float32).max)  # of a layer's options


@dataclass(eq=False)
class Layer:
    """An entry of the spec without its name; recurrent ones get return_sequences and return_state at the end."""

    type: str
    node: str  # as messages name it
    hint: str  # what the name is made of
    inputs: list[Tensor]
    options: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Floats] = field(default_factory=dict)
    output: Tensor = field(init=False)  # the only one, or of a recurrent layer that of every step
    lengths: str | None = None  # recurrent: the graph input with the rows' lengths
    twin: Layer | None = None  # recurrent: the backward direction of the same node
    states: dict[str, Tensor] = field(default_factory=dict)  # recurrent: "h" and, for LSTM, "c"; RNN: scan.STATES
    side_lengths: list[str] = field(default_factory=list)  # attention: the lengths of each input; empty: none
    identities: bool = False  # attention: its projections are, but for a factor, identities
    last: Tensor | None = None  # folded: the last output, where that is no state
    sequences: int = 1  # recurrent: how many inputs are, the first ones; the others are initial states


@dataclass
class Budget:
    """Elements that may still be written, as constants or parameters: in proportion to what the file holds."""

    left: int
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.left

    def check(self, shape: Sequence[int]) -> int:
        """How many elements an array of that shape has, which is not made yet."""
        count = math.prod(int(size) for size in shape)
        if count > self.left:
            raise Refused(f"an array of shape {tuple(map(int, shape))} is beyond what the file's own data call for")
        return count

    def take(self, shape: Sequence[int]) -> None:
        self.left -= self.check(shape)


def _check_option(key: str, value: Any) -> None:
    """Numbers of a file that no layer takes are refused where its node is known."""
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(one, (int, float)) and not abs(one) <= (MAX_INTEGER if isinstance(one, int) else MAX_FLOAT):
            raise Refused(f"{key} would be {value}, which no layer takes")


def slices_of(pieces: Sequence[Tensor]) -> tuple[Tensor, int, int] | None:
    """The tensor of which the pieces are features [start, stop), one behind the other; None: they are not."""
    first = pieces[0].layer
    if any(piece.layer.type != "Slice" or piece.layer.inputs[0] is not first.inputs[0] for piece in pieces):
        return None
    at = int(first.options["start"])
    start = at
    for piece in pieces:
        if piece.layer.options["start"] != at:
            return None
        at = int(piece.layer.options["stop"])
    return first.inputs[0], start, at


class Graph:
    """Layers in the order they are made, which is topological."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.layers: list[Layer] = []
        self.steps: dict[int, tuple[Dim, str]] = {}  # by tensor: of which time axis which node takes one step
        self.windows: list[tuple[Dim, str]] = []  # time axes that a node looks along
        self.products: dict[int, Any] = {}  # views made of products, by their id
        self.matrices: dict[Any, Any] = {}  # of nodes that share weights: (the file's, what layers have of it)
        self._charged: set[int] = set()  # arrays that layers share until they are put together
        self.aliases: dict[int, Tensor] = {}  # by tensor: what is read in its place
        self.cells: Any = None  # cells.Cells
        self.framed: list[Any] = []  # rows that are frames of a sequence (frames.Framed)
        self.kept: list[Any] = []  # tensors whose ids are known by, which must not be given to others
        self._joined: dict[tuple[int, ...], Tensor] = {}

    def add(
        self,
        type: str,
        at: tuple[str, str],
        inputs: Sequence[Tensor],
        features: int,
        options: Mapping[str, Any] | None = None,
        parameters: Mapping[str, NDArray[Any]] | None = None,
        dims: tuple[Dim, ...] | None = None,
    ) -> Tensor:
        """Append a layer; ``at``: the node's name in messages, and what the layer's name is made of."""
        if len(self.layers) >= MAX_LAYERS:
            raise Refused(f"the model would have more than {MAX_LAYERS:,} layers")
        for array in (parameters or {}).values():
            if id(array) not in self._charged:
                self.budget.take(array.shape)  # nodes can share weights, layers cannot: see charge
                self._charged.add(id(array))
                self.kept.append(array)
        for key, value in (options or {}).items():
            _check_option(key, value)
        kept = {key: np.asarray(array, np.float32, order="C") for key, array in (parameters or {}).items()}
        layer = Layer(type, *at, list(inputs), dict(options or {}), kept)
        layer.output = Tensor(layer, "y", features, inputs[0].dims if dims is None else dims)
        self.layers.append(layer)
        return layer.output

    def resolve(self, tensor: Tensor) -> Tensor:
        """What is read in the place of a tensor."""
        while (other := self.aliases.get(id(tensor))) is not None:
            tensor = other
        return tensor

    def charge(self) -> None:
        """Weights that several layers still share are copied for each: all of them are checked against the file."""
        total = sum(array.size for layer in self.layers for array in layer.parameters.values())
        if total > self.budget.total:
            raise Refused(
                f"layers that share weights would be {total:,} numbers, beyond what the file's own data call for"
            )

    def settle(self) -> None:
        """Every layer reads what is to be read in the place of its inputs."""
        for layer in self.layers:
            layer.inputs = [self.resolve(tensor) for tensor in layer.inputs]

    def whole(self, pieces: tuple[Tensor, ...], at: tuple[str, str]) -> Tensor:
        """The pieces as one tensor."""
        if len(pieces) == 1:
            return pieces[0]
        if (source := slices_of(pieces)) is not None and source[1:] == (0, source[0].features):
            return source[0]
        key = tuple(map(id, pieces))
        if key not in self._joined:
            features = sum(piece.features for piece in pieces)
            self._joined[key] = self.add("Concatenate", at, pieces, features)
        return self._joined[key]
