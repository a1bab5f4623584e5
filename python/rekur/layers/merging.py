"""Layers that join tensors: the largest, the least, the mean; products along an axis."""

from collections.abc import Sequence
from typing import Any

from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import boolean, integer
from rekur.layers.base import Layer, SymbolicTensor
from rekur.layers.core import Rescaling
from rekur.layers.pointwise import Lambda
from rekur.layers.rectifiers import UnitNormalization


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
    """The largest of the inputs, elementwise. They have one shape, or one feature in place of all."""

    type = "Maximum"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        return Lambda(lambda values: _folded(ops.maximum, values), name="fold")(inputs)


class Minimum(_Fold):
    """The least of the inputs, elementwise. They have one shape, or one feature in place of all."""

    type = "Minimum"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        return Lambda(lambda values: _folded(ops.minimum, values), name="fold")(inputs)


class Average(_Fold):
    """The mean of the inputs, elementwise. They have one shape, or one feature in place of all."""

    type = "Average"

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur.layers.core import Add

        return Rescaling(1 / len(inputs), name="share")(Add(name="sum")(inputs))


def _folded(operation: Any, values: Sequence[Any]) -> Any:
    found = values[0]
    for value in values[1:]:
        found = operation(found, value)
    return found


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
