"""What a static model is put together of: constants, states, and the statements of a step."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._cpp_names import layer_namespace

COLUMNS = 120
BEYOND = 16  # zeros behind a constant: a vector may read so far, and no number that is used

Floats = NDArray[np.float32]


def lines(n: int) -> int:
    """Floats that n take up in whole lines."""
    return (n + 15) // 16 * 16


def literal(value: Any) -> str:
    """Exact: hexadecimal, or the bit pattern of what is no number."""
    value = np.float32(value)
    if not np.isfinite(value):
        return f"bits(0x{int(value.view(np.uint32)):08x}u)"
    mantissa, exponent = float(value).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{int(exponent)}f"


def filled(items: Iterable[str], indent: int = 4) -> Iterator[str]:
    """Lines as full as they may be."""
    start = "\n" + " " * (indent - 1)
    line = start
    for item in items:
        if len(line) + len(item) + 2 > COLUMNS:
            yield line
            line = start
        line += f" {item},"
    yield line + "\n"


@dataclass
class State:
    """Floats that a layer carries from step to step, in the order of a stream's states."""

    member: str
    size: int
    initial: Floats | None
    room: int = 0  # floats of the member, where it holds more than the state


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

    def refuse(self, why: str) -> ValueError:
        return ValueError(f"export_static: {self.type} '{self.name}': {why}")

    @property
    def features(self) -> int:
        return self.input_shapes[0][-1]

    @property
    def numbers(self) -> int:
        """Of the first output, all rows of a step together."""
        return int(np.prod(self.output_shapes[0], dtype=np.int64))


@dataclass
class Writer:
    constants: dict[str, Floats] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    arrays: dict[int, str] = field(default_factory=dict)  # a stream's array: the pointer
    functions: bool = False  # of simd/functions.hpp
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

    def constant(self, layer: str, what: str, values: Floats | None) -> str:
        """Its name; of weights that several calls share the same one, of none ``nullptr``."""
        if values is None:
            return "nullptr"
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
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
        name = self.array(int(np.prod(layer.output_shapes[k], dtype=np.int64)))
        self.arrays[layer.outputs[k]] = name
        return name
