"""Layers that join tensors: side by side, by arithmetic, elementwise the largest, the least or the mean; products along
an axis.
"""

import functools
from collections.abc import Sequence
from typing import Any

from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import boolean, integer
from rekur.layers.base import Layer
from rekur.layers.broadcasting import are_alike, together
from rekur.layers.core import Rescaling
from rekur.layers.pointwise import Lambda
from rekur.layers.rectifiers import UnitNormalization
from rekur.layers.symbolic import SymbolicTensor


def _axis(value: object, what: str) -> int:
    return integer(value, what, -8)


class Concatenate(Layer):
    """The inputs side by side along an axis.

    Parameters
    ----------
    axis : int
        −1, the last axis, by default; the batch counted as 0.

    Notes
    -----
    Along time (``axis=1`` of ``(B, T, F)``) the steps of the inputs stand behind one another. Where they have lengths
    or a mask, so do their valid steps: the output has a mask then, as in Keras.
    """

    type = "Concatenate"
    _keys = ("axis",)

    axis = Setting(_axis)

    def __init__(self, axis: int = -1, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axis = axis

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        rank = len(inputs[0].shape) if inputs else 0
        if rank and not self._calls:
            if self.axis == rank - 1:  # Keras's users also write the last axis as a positive number
                vars(self)["axis"] = -1
            elif -rank < self.axis < -1:
                vars(self)["axis"] = self.axis + rank
        return super()._connect(inputs)


@named_after("rekur.layers", "Layer")
class _Merge(Layer):
    _broadcasts = False  # inputs of one feature stand for all of the others'
    _stretches = False  # inputs of size 1 along other axes do

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if not self._calls:
            widths = {t.shape[-1] for t in inputs if t.dtype == "float32"}
            ranks = {len(t.shape) for t in inputs}
            self._stretches = len(inputs) > 1 and not are_alike(inputs)
            self._broadcasts = len(inputs) > 1 and len(ranks) == 1 and len(widths) == 2 and 1 in widths
        return super()._connect(inputs)

    def _is_composed(self) -> bool:
        return self._broadcasts or self._stretches

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        if self.type in ("Subtract", "Divide") and len(inputs) != 2:
            raise ValueError(f"{self!r}: expected 2 inputs, got {len(inputs)}")
        if self._stretches:
            return type(self)(name="join")._connect(together(inputs, repr(self)))
        return Lambda(lambda values: functools.reduce(self._operation, values), name="fold")(inputs)

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        raise NotImplementedError


class Add(_Merge):
    """The sum of the inputs, of shapes that go together: an axis of size 1 stands for all of the others'."""

    type = "Add"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a + b


class Multiply(_Merge):
    """The elementwise product of the inputs, of shapes that go together: an axis of size 1 stands for all of the
    others'.
    """

    type = "Multiply"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a * b


class Subtract(_Merge):
    """The first input less the second; an axis of size 1 stands for all of the other's."""

    type = "Subtract"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a - b


class Divide(_Merge):
    """The first input by the second, elementwise; an axis of size 1 stands for all of the
    other's. x / 0 is infinite, 0 / 0 NaN."""

    type = "Divide"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a / b


@named_after("rekur.layers", "Layer")
class _Fold(Layer):
    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)

    def _is_composed(self) -> bool:
        return True

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) < 2:
            raise ValueError(f"{self!r}: expected a list of at least 2 inputs, got {len(inputs)}")
        return super()._connect(inputs)


class Maximum(_Fold):
    """The largest of the inputs, elementwise. An axis of size 1 stands for all of the others'."""

    type = "Maximum"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        joined = together(inputs, repr(self)) if not are_alike(inputs) else inputs
        return Lambda(lambda values: functools.reduce(ops.maximum, values), name="fold")(joined)


class Minimum(_Fold):
    """The least of the inputs, elementwise. An axis of size 1 stands for all of the others'."""

    type = "Minimum"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        joined = together(inputs, repr(self)) if not are_alike(inputs) else inputs
        return Lambda(lambda values: functools.reduce(ops.minimum, values), name="fold")(joined)


class Average(_Fold):
    """The mean of the inputs, elementwise. An axis of size 1 stands for all of the others'."""

    type = "Average"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        return Rescaling(1 / len(inputs), name="share")(Add(name="sum")(inputs))


def _axes(value: object, what: str) -> int | list[int]:
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ValueError(f"{what}: expected an axis, or two of them, one an input, got {value!r}")
        return [integer(axis, what, -8) for axis in value]
    return integer(value, what, -8)


@named_after("rekur.layers", "Layer")
class _EngineDot(Layer):
    type = "Dot"
    _keys = ("axes",)
    axes: Any = Setting()

    def __init__(self, axes: list[int], *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axes = axes


class Dot(Layer):
    """Of each row, the products of two inputs summed along an axis of each.

    ``(B, T, F)`` and ``(B, S, F)`` with ``axes=2`` give ``(B, T, S)``; ``(B, T, S)`` and ``(B, S, F)`` with
    ``axes=[2, 1]`` give ``(B, T, F)``; ``(B, F)`` and ``(B, F)`` give ``(B, 1)``.

    Parameters
    ----------
    axes : int or pair of int
        Along which to sum, the batch counted as 0; for both inputs, or one each.
    normalize : bool
        Whether both are brought to length 1 along the axis first: cosines. For the last axis of each.

    Notes
    -----
    A time axis that is summed along ends at a row's length. Masks end here, as in Keras.
    """

    type = "Dot"
    _keys = ("axes", "normalize")

    axes: Any = Setting(_axes)
    normalize = Setting(boolean)

    def __init__(self, axes: Any, normalize: bool = False, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axes = axes
        self.normalize = normalize

    def config(self) -> dict[str, Any]:
        found = super().config()
        if not self.normalize:  # which the engine does not do
            del found["normalize"]
        return found

    def _is_composed(self) -> bool:
        return self.normalize

    def _along(self, inputs: list[SymbolicTensor]) -> list[int]:
        if len(inputs) != 2:
            raise ValueError(f"{self!r}: expected a list of 2 inputs, got {len(inputs)}")
        given = list(self.axes) if isinstance(self.axes, (list, tuple)) else [self.axes] * 2
        found = [axis + len(x.shape) if axis < 0 else axis for axis, x in zip(given, inputs, strict=True)]
        for axis, x in zip(found, inputs, strict=True):
            if not 1 <= axis < len(x.shape):
                raise ValueError(f"{self!r}: axes: {self.axes!r} names no axis behind the batch of shape {x.shape}")
        return found

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        along = self._along(inputs)
        if not self.normalize and not self._calls:
            vars(self)["axes"] = along
        return super()._connect(inputs)

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        along = self._along(inputs)
        if any(axis != len(x.shape) - 1 for axis, x in zip(along, inputs, strict=True)):
            raise ValueError(f"{self!r}: normalize=True goes with the last axis of each input, got axes={self.axes!r}")
        units = [UnitNormalization(name=f"unit_{k}")(x) for k, x in enumerate(inputs)]
        return _EngineDot(along, name="dot")(units)


def concatenate(inputs: Sequence[SymbolicTensor], axis: int = -1, name: str | None = None) -> SymbolicTensor:
    """``Concatenate(axis)(inputs)``."""
    joined: SymbolicTensor = Concatenate(axis, name=name)(inputs)
    return joined


def add(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Add()(inputs)``."""
    joined: SymbolicTensor = Add(name=name)(inputs)
    return joined


def multiply(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Multiply()(inputs)``."""
    joined: SymbolicTensor = Multiply(name=name)(inputs)
    return joined


def subtract(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Subtract()(inputs)``."""
    joined: SymbolicTensor = Subtract(name=name)(inputs)
    return joined


def divide(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Divide()(inputs)``."""
    joined: SymbolicTensor = Divide(name=name)(inputs)
    return joined


def maximum(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Maximum()(inputs)``."""
    joined: SymbolicTensor = Maximum(name=name)(inputs)
    return joined


def minimum(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Minimum()(inputs)``."""
    joined: SymbolicTensor = Minimum(name=name)(inputs)
    return joined


def average(inputs: Sequence[SymbolicTensor], name: str | None = None) -> SymbolicTensor:
    """``Average()(inputs)``."""
    joined: SymbolicTensor = Average(name=name)(inputs)
    return joined


def dot(
    inputs: Sequence[SymbolicTensor], axes: Any = -1, normalize: bool = False, name: str | None = None
) -> SymbolicTensor:
    """``Dot(axes, normalize)(inputs)``."""
    joined: SymbolicTensor = Dot(axes, normalize, name=name)(inputs)
    return joined
