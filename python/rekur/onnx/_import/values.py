"""What a tensor of the file can be while the graph is walked.

===========  ==========================================================================================
Known        an array; its elements may be sizes of axes that only the data will tell (:class:`Size`)
Filled       an array broadcast to a shape that holds such sizes: zero initial states
Rows         the graph input with the rows' lengths, or what was made of them
Given        what only the data of a run will tell: a graph input of one number, or whether two sizes are equal
View         tensors of the model and how the file lays them out
Moment       a step of a layer normalisation that the exporter took apart
Position     in the body of a loop the number of the step; Going: whether it goes on; Listed: a list of tensors
Steps        the numbers of a sequence's steps; RowMask: which of them there are, by the rows' lengths; Masked: a
             tensor behind such a mask; Total: its sum over the steps
Scores       the product of two tensors of the model: of attention that the exporter took apart, or a Dot
===========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rekur.onnx._import.graph import Layer

BATCH, TIME = "batch", "time"
FEATURES, PARTS, ONE = "features", "parts", "one"
OUTER = "outer parts"  # a second axis of parts: each of its indices is as many parts as PARTS has
MAX_FEATURES = 2**31 - 1
MAX_PARTS = 1024  # tensors in one value; files double them with a few bytes
_MAX_INT = 2**62


class Refused(Exception):
    """Why a node cannot be understood. The walk puts the node's name before it."""


class Undecided(Refused):
    """Only the data will tell; ``labels`` names the axes whose sizes decide."""

    def __init__(self, message: str, labels: Iterable[str]) -> None:
        super().__init__(message)
        self.labels = tuple(labels)


class Dim:
    """The batch or the time axis of a tensor. Which of the two, and its size, may become known later.

    Axes that a node brings together are joined: from then on they are one.
    """

    def __init__(self, label: str, size: int | None = None) -> None:
        self.label = label
        self._size = size
        self._kind: str | None = None
        self._root: Dim | None = None

    @property
    def root(self) -> Dim:
        dim = self
        while dim._root is not None:
            dim = dim._root
        return dim

    @property
    def size(self) -> int | None:
        return self.root._size

    @property
    def kind(self) -> str | None:
        return self.root._kind

    def mark(self, kind: str) -> None:
        """Say which of the two it is."""
        root = self.root
        if root._kind not in (None, kind):
            raise Refused(f"{self.label} is the {root._kind} axis elsewhere and would be the {kind} axis here")
        root._kind = kind

    def fix(self, size: int) -> None:
        self.root._size = size

    def join(self, other: Dim) -> None:
        one, two = self.root, other.root
        if one is two:
            return
        if one._size is not None and two._size is not None and one._size != two._size:
            raise Refused(f"{self.label} has size {one._size}, {other.label} has size {two._size}")
        if two._kind is not None:
            one.mark(two._kind)
        one._size = one._size if one._size is not None else two._size
        two._root = one


@dataclass(frozen=True, eq=False)
class Size:
    """A product of axes' sizes: what Shape gives, as far as only the data will tell."""

    factor: int
    dims: tuple[Dim, ...]

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Size):
            return _size(self.factor * other.factor, self.dims + other.dims)
        return _size(self.factor * int(other), self.dims)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return divide(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return divide(other, self)

    def __add__(self, other: Any) -> Any:
        return self if is_zero(other) else fixed(self, "a sum of") + fixed(other, "a sum of")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self if is_zero(other) else fixed(self, "a difference of") - fixed(other, "a difference of")

    def __rsub__(self, other: Any) -> Any:
        return fixed(other, "a difference of") - fixed(self, "a difference of")

    def __str__(self) -> str:
        names = " × ".join(dim.label for dim in self.dims)
        return names if self.factor == 1 else f"{self.factor} × {names}"


Extent: TypeAlias = int | Size


def is_zero(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and int(value) == 0


def fixed(value: Any, what: str) -> int:
    """The number, or a refusal."""
    if isinstance(value, Size):
        factor, rest = _normal(value)
        if rest:
            raise Refused(f"{what} sizes that only the data will tell ({value})")
        return factor
    return int(value)


def _size(factor: int, dims: tuple[Dim, ...]) -> Extent:
    if abs(factor) > _MAX_INT or len(dims) > 8:
        raise Refused("a size beyond all bounds")
    return Size(factor, dims) if dims and factor else factor


def product(extents: Iterable[Extent]) -> Extent:
    result: Extent = 1
    for extent in extents:
        result = result * extent
        if isinstance(result, int) and abs(result) > _MAX_INT:
            raise Refused("a size beyond all bounds")
    return result


def _normal(extent: Extent) -> tuple[int, list[Dim]]:
    """(what is a number by now, the axes of unknown size); all batch axes count as one."""
    if not isinstance(extent, Size):
        return int(extent), []
    factor, rest = extent.factor, []
    for dim in extent.dims:
        if dim.size is not None:
            factor *= dim.size
        else:
            rest.append(dim.root)
    return factor, rest


def _key(dim: Dim) -> Any:
    return BATCH if dim.kind == BATCH else id(dim.root)


def same(one: Extent, two: Extent) -> bool:
    (a, dims_a), (b, dims_b) = _normal(one), _normal(two)
    return a == b and sorted(map(str, map(_key, dims_a))) == sorted(map(str, map(_key, dims_b)))


def divide(one: Extent, two: Extent) -> Extent:
    """The exact quotient, or a refusal."""
    (a, dims_a), (b, dims_b) = _normal(one), _normal(two)
    for dim in dims_b:
        match = next((other for other in dims_a if _key(other) == _key(dim)), None)
        if match is None:
            raise Refused(f"{one} divided by {two}")
        dims_a.remove(match)
    if b == 0 or a % b:
        raise Refused(f"{one} divided by {two}")
    return _size(a // b, tuple(dims_a))


@dataclass(eq=False)
class Tensor:
    """An output of a layer in the making. Its own order of axes is batch, time (if it has one), features."""

    layer: Layer
    port: str  # "y": the only output, or the sequence; "h", "c": final states
    features: int  # 0: ids
    dims: tuple[Dim, ...]  # which of two is the batch may become known later
    boolean: bool = False  # 1 for true and 0 for false, in float32

    @property
    def time(self) -> Dim | None:
        """Its time axis, as far as one is known to be that."""
        return next((dim for dim in self.dims if dim.kind == TIME), None)


Axis: TypeAlias = Dim | tuple[Any, ...] | str  # a tuple of Dim and PARTS: several axes in one, the first one outermost


@dataclass(frozen=True, eq=False)
class View:
    """Tensors of the model, and which axis of the file's tensor is what.

    ``parts`` lie along the PARTS axis (directions, stacked states), the pieces of one part side by side along FEATURES.
    Axes of size 1 may be left out; ONE stands for an axis of size 1 that has no meaning.
    """

    parts: tuple[tuple[Tensor, ...], ...]
    axes: tuple[Axis, ...]
    outer: int = 1  # the size of the OUTER axis
    features: int = field(init=False)

    def __post_init__(self) -> None:
        features = sum(piece.features for piece in self.parts[0])
        if features > MAX_FEATURES:
            raise Refused(f"{features} features are beyond all bounds")
        if len(self.parts) * max(map(len, self.parts)) > MAX_PARTS:
            raise Refused(f"more than {MAX_PARTS} tensors side by side")
        object.__setattr__(self, "features", features)

    @property
    def ids(self) -> bool:
        return self.features == 0

    @property
    def boolean(self) -> bool:
        return all(piece.boolean for part in self.parts for piece in part)

    @property
    def dims(self) -> tuple[Dim, ...]:
        return self.parts[0][0].dims

    @property
    def shape(self) -> tuple[Extent, ...]:
        return tuple(self.extent(axis) for axis in self.axes)

    def extent(self, axis: Axis) -> Extent:
        if isinstance(axis, Dim):
            return Size(1, (axis,))
        if isinstance(axis, tuple):
            return product(self.extent(one) for one in axis)
        return {FEATURES: self.features, PARTS: len(self.parts) // self.outer, OUTER: self.outer, ONE: 1}[axis]

    def with_axes(self, axes: Sequence[Axis]) -> View:
        return View(self.parts, tuple(axes), self.outer)

    def describe(self) -> str:
        """``(time, batch, 8)``"""
        return "(" + ", ".join(str(extent) for extent in self.shape) + ")"


@dataclass(frozen=True, eq=False)
class Known:
    """An array; of dtype object where elements are sizes."""

    array: NDArray[Any]

    @property
    def symbolic(self) -> bool:
        return self.array.dtype == object


@dataclass(frozen=True, eq=False)
class Filled:
    """``array`` broadcast to ``shape``; the two have one rank."""

    array: NDArray[Any]
    shape: tuple[Extent, ...]

    @property
    def uniform(self) -> bool:
        return self.array.size == 1


@dataclass(frozen=True)
class Rows:
    """The lengths of the rows (a graph input), or what a node made of them (``rows``)."""

    name: str
    stage: str = "lengths"
    index: int = 0
    axes: tuple[str, ...] = (BATCH,)  # and ONE around it
    dtype: str = "int32"


@dataclass(frozen=True)
class Given:
    """What only the data of a run will tell: made of inputs of one number and of sizes of axes."""

    inputs: tuple[str, ...] = ()  # names of the graph's inputs
    sizes: tuple[str, ...] = ()  # ``axis 1 of 'x'``

    def __str__(self) -> str:
        parts = [f"the value of input '{name}'" for name in self.inputs] + [
            f"the size of {text}" for text in self.sizes
        ]
        return " and ".join(parts)


@dataclass(frozen=True, eq=False)
class Moment:
    """A stage on the way to a layer normalisation of x (``norm``)."""

    stage: str
    x: View
    epsilon: float = 0.0


@dataclass(frozen=True, eq=False)
class Scores:
    """``query`` @ ``key``, times ``factor``; with ``weights`` the softmax of that over the last axis."""

    query: View
    key: View
    axes: tuple[Axis, ...]
    factor: float = 1.0
    weights: bool = False
    dropout: float = 0.0
    mask: View | None = None  # (batch, key's steps) of truth values: which of them are hidden
    fill: float = 0.0  # what their scores are instead


@dataclass(frozen=True)
class Position:
    """In the body of a loop: the number of the step, and so much more."""

    offset: int


@dataclass(frozen=True)
class Going:
    """In the body of a loop, whether it goes on: the number of the step and an offset are below a limit, for each."""

    limits: tuple[tuple[int, Extent], ...]


@dataclass(frozen=True, eq=False)
class Listed:
    """A list of tensors: empty, what a step puts into it, or behind a loop (time, …) of all of them."""

    view: View | None = None


@dataclass(frozen=True, eq=False)
class Steps:
    """0, 1, … for each step of a time axis, whose number only the data will tell."""

    dim: Dim
    axes: tuple[str, ...] = (TIME,)  # and ONE around it


@dataclass(frozen=True, eq=False)
class RowMask:
    """Which steps there are by the rows' lengths; not ``inside``: which there are not."""

    name: str  # of the lengths
    steps: Dim | int  # the time axis, or how many steps the file counts
    inside: bool
    axes: tuple[str, ...]  # BATCH, TIME, and ONE around them
    penalty: float = 0.0  # if not 0: this number where the mask is true, 0 elsewhere, to be added to scores


@dataclass(frozen=True, eq=False)
class Masked:
    """x at the steps that there are, ``fill`` behind a row's end; ``share``: divided by the row's number of steps."""

    x: View
    name: str  # of the lengths
    fill: float
    share: bool = False


@dataclass(frozen=True, eq=False)
class Total:
    """The sum of the steps of x that there are."""

    x: View
    name: str  # of the lengths
    axis: int  # the time axis of x
    keep: bool  # as an axis of size 1


Value: TypeAlias = (
    Known
    | Filled
    | Rows
    | View
    | Moment
    | Given
    | Scores
    | Position
    | Going
    | Listed
    | Steps
    | RowMask
    | Masked
    | Total
)


def zeros(value: Known | Filled) -> bool:
    return value.array.dtype != object and not value.array.any()
