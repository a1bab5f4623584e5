"""What a static model is put together of: constants, states, and the statements of a step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._cpp_names import layer_namespace

BEYOND = 16  # zeros behind a constant: a vector may read so far, and no number that is used

Floats = NDArray[np.float32]
Halves = NDArray[np.uint16]
Constants = NDArray[np.float32] | NDArray[np.uint16] | NDArray[np.int8] | NDArray[np.int32]
INT8 = "rekur/detail/static_int8_steps.hpp"


def lines(n: int) -> int:
    """Floats that n take up in whole lines."""
    return (n + 15) // 16 * 16


@dataclass
class State:
    """Floats that a layer carries from step to step, in the order of a stream's states.

    They stand one after the other in the member, or as `rows` of so many columns whose rows are whole lines, or as
    `heads` (how many, rows, columns, whether a number follows each), likewise.
    """

    member: str
    size: int
    initial: Floats | None
    room: int = 0  # floats of the member, where it holds more than the state
    rows: tuple[int, int] | None = None
    heads: tuple[int, int, int, bool] | None = None

    def floats(self) -> int:
        """Of the member."""
        if self.rows:
            return self.rows[0] * lines(self.rows[1])
        if self.heads:
            count, rows, columns, number = self.heads
            return count * (rows * lines(columns) + 16 * number)
        return lines(max(self.room, self.size))

    def moves(self, from_member: bool, other: str) -> Iterator[str]:
        """Statements that copy the state to `other`, or from there."""
        if self.rows or self.heads:
            count, rows, columns, number = self.heads or (1, *(self.rows or (0, 0)), False)
            each, apart = rows * columns + number, rows * lines(columns) + 16 * number
            strides = (lines(columns), columns) if from_member else (columns, lines(columns))
            for head in range(count):
                places = (f"{self.member} + {head * apart}", f"{other} + {head * each}")
                a, b = places if from_member else places[::-1]
                yield f"copy_rows<{rows}, {columns}, {strides[0]}, {strides[1]}>({a}, {b});"
                if number:
                    places = (f"{self.member} + {head * apart + apart - 16}", f"{other} + {head * each + each - 1}")
                    a, b = places if from_member else places[::-1]
                    yield f"copy<1>({a}, {b});"
        else:
            a, b = (self.member, other) if from_member else (other, self.member)
            yield f"copy<{self.size}>({a}, {b});"


@dataclass
class Layer:
    """A step of one layer, as its writer sees it."""

    type: str
    name: str
    spec: dict[str, Any]
    weights: dict[str, Floats]  # by the parameter's name within the layer
    flat: Floats
    inputs: list[str]  # pointers
    input_shapes: list[tuple[int, ...]]  # of a step, without the batch
    outputs: list[int]  # arrays
    output_shapes: list[tuple[int, ...]]
    states: list[tuple[str, int, Floats | None]]  # name, floats, what it begins as
    int8: frozenset[str] = frozenset()  # the parameters that are of eight bits, by their names within the layer

    def refuse(self, why: str) -> ValueError:
        return ValueError(f"export_static: {self.type} '{self.name}': {why}")

    @property
    def features(self) -> int:
        return self.input_shapes[0][-1]

    @property
    def numbers(self) -> int:
        """Of the first output, all rows of a step together."""
        return int(np.prod(self.output_shapes[0], dtype=np.int64))


def halves(kind: str, values: Floats) -> Halves | None:
    """These numbers in sixteen bits, or None where one of them has more, or is none (as fp16)."""
    if kind == "bf16":
        bits = values.view(np.uint32)
        return None if (bits & 0xFFFF).any() else (bits >> 16).astype(np.uint16)
    half = values.astype(np.float16)
    exact = np.isfinite(half).all() and (half.astype(np.float32).view(np.uint32) == values.view(np.uint32)).all()
    return half.view(np.uint16) if exact else None


@dataclass
class Writer:
    weights: str = "float32"  # what matrices are in, but those of eight bits
    constants: dict[str, Constants] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)  # arrays between layers
    body: list[str] = field(default_factory=list)
    arrays: dict[int, str] = field(default_factory=dict)  # a stream's array: the pointer
    needs: set[str] = field(default_factory=set)  # headers of the library beside those that every model needs
    _identifiers: dict[str, str] = field(default_factory=dict)
    _known: dict[tuple[str, bytes], str] = field(default_factory=dict)
    _count: int = 0

    def line(self, text: str) -> None:
        self.body.append(text)

    def name(self, prefix: str = "t") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def identifier(self, layer: str) -> str:
        if layer not in self._identifiers:
            self._identifiers[layer] = layer_namespace(layer, set(self._identifiers.values()))
        return self._identifiers[layer]

    def matrix(self, layer: str, what: str, values: Floats | None) -> str:
        """A constant that is read by products alone, or by rows: of a model in sixteen bits it is kept so."""
        return self.constant(layer, what, values, self.weights)

    def constant(self, layer: str, what: str, values: Floats | None, kind: str = "float32") -> str:
        """Its name; of weights that several calls share the same one, of none ``nullptr``."""
        if values is None:
            return "nullptr"
        numbers: Floats = np.ascontiguousarray(values, np.float32).reshape(-1)
        half = halves(kind, numbers) if kind in ("bf16", "fp16") else None
        return self._kept(layer, what, numbers if half is None else half)

    def int8_matrix(self, layer: str, what: str, values: Floats) -> str:
        """A matrix (K, N) that products of eight bits read: integers in fours of a column, scales and sums a column."""
        self.needs.add(INT8)
        numbers, scales = _core.int8_matrix(np.ascontiguousarray(values, np.float32))
        K, N = numbers.shape
        fours = np.zeros((-(-K // 4) * 4, N), np.int8)
        fours[:K] = numbers
        own = self._kept(layer, what, np.ascontiguousarray(fours.reshape(-1, 4, N).swapaxes(1, 2)).reshape(-1))
        worth = self._kept(layer, f"{what}_scales", scales)
        sums = self._kept(layer, f"{what}_sums", numbers.sum(0, dtype=np.int32))
        return f"Int8Matrix{{{own}, {worth}, {sums}}}"

    def int8_table(self, layer: str, what: str, values: Floats) -> tuple[str, str]:
        """A matrix (K, N) of which rows are read: its integers, and a scale a column."""
        self.needs.add(INT8)
        numbers, scales = _core.int8_matrix(np.ascontiguousarray(values, np.float32))
        return self._kept(layer, what, numbers.reshape(-1)), self._kept(layer, f"{what}_scales", scales)

    def int8_row(self, K: int, x: str) -> str:
        """A row of K numbers, rounded for products of eight bits."""
        row = self.name("r")
        self.line(f"const Int8Row<{K}> {row}({x});")
        return row

    def _kept(self, layer: str, what: str, flat: Constants) -> str:
        key = (layer, what.encode() + flat.tobytes())
        if key not in self._known:
            name, k = f"{self.identifier(layer)}_{what}", 1
            while name in self.constants:
                k += 1
                name = f"{self.identifier(layer)}_{what}_{k}"
            self._known[key] = name
            self.constants[name] = flat
        return f"weights::{self._known[key]}"

    def state(self, layer: str, what: str, size: int, initial: Floats | None) -> str:
        """A member, zero or `initial` at the beginning of a sequence; a call of its own each time it is asked for."""
        member, k = f"{self.identifier(layer)}_{what}_", 1
        while any(state.member == member for state in self.states):
            k += 1
            member = f"{self.identifier(layer)}_{what}_{k}_"
        self.states.append(State(member, size, initial))
        return member

    def array(self, n: int) -> str:
        """Room for n floats of this step."""
        name = self.name()
        self.line(f"alignas(64) float {name}[{lines(n)}];")
        return name

    def output(self, layer: Layer, k: int = 0) -> str:
        """Room for an output of the layer."""
        return self.own(layer.outputs[k], int(np.prod(layer.output_shapes[k], dtype=np.int64)))

    def own(self, array: int, n: int) -> str:
        """Room for an array of a stream's, which the whole step sees."""
        name = self.arrays[array] = self.name("y")
        self.declarations.append(f"alignas(64) float {name}[{lines(n)}];")
        return name
