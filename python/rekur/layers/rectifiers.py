"""Activations as layers under Keras's names, and PReLU, whose slope is learned."""

from collections.abc import Sequence
from typing import Any, ClassVar

from rekur import initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import integer, not_negative, real
from rekur.layers.base import Layer
from rekur.layers.core import Activation
from rekur.layers.pointwise import Lambda
from rekur.layers.symbolic import SymbolicTensor


@named_after("rekur.layers", "Layer")
class Composed(Layer):
    """A layer of one input that the engine has as others."""

    def _is_composed(self) -> bool:
        return True

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) != 1:
            raise ValueError(f"{self!r}: expected 1 input, got {len(inputs)}")
        return super()._connect(inputs)


def _ceiling(value: object, what: str) -> float | None:
    return None if value is None else real(value, what, 0)


def _shared(value: object, what: str) -> list[int] | None:
    if value is None:
        return None
    return [integer(axis, what) for axis in (value if isinstance(value, (list, tuple)) else [value])]


def feature_axis(value: object, what: str) -> int:
    found = value[0] if isinstance(value, (list, tuple)) and len(value) == 1 else value
    return integer(found, what, -8)


def check_last(layer: Layer, axis: int, rank: int) -> None:
    """Raises ValueError unless the axis is the last one of so many."""
    if axis not in (-1, rank - 1):
        raise ValueError(f"{layer!r}: axis must be the last one, -1 or {rank - 1}, got {axis}")


class ReLU(Composed):
    """y = x from ``threshold`` to ``max_value``, ``max_value`` above, ``negative_slope`` · (x − threshold) below.

    Parameters
    ----------
    max_value : float, optional
        At least 0; none by default.
    negative_slope, threshold : float
        At least 0.
    """

    type = "ReLU"
    _each_step = True
    _keys = ("max_value", "negative_slope", "threshold")

    max_value = Setting(_ceiling)
    negative_slope = Setting(not_negative)
    threshold = Setting(not_negative)

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur import ops

        x = inputs[0]
        top, slope, threshold = self.max_value, self.negative_slope, self.threshold
        if top is None and not threshold:
            return Activation({"name": "leaky_relu", "alpha": slope} if slope else "relu")(x)

        def rectify(v: Any) -> Any:
            below = slope * (v - threshold) if slope else v * 0.0
            kept = ops.where(ops.greater_equal(v, threshold), v, below)
            return kept if top is None else ops.minimum(kept, top)

        return Activation(rectify)(x)


class LeakyReLU(Composed):
    """y = x for x > 0, else ``negative_slope`` · x.

    Parameters
    ----------
    negative_slope : float
        At least 0; 0.3 by default, as of Keras's layer. (``rekur.activations.LeakyReLU`` has 0.2, as Keras's function.)
        Older versions call it ``alpha``.
    """

    type = "LeakyReLU"
    _each_step = True
    _keys = ("negative_slope",)

    negative_slope = Setting(not_negative)

    def __init__(self, negative_slope: float = 0.3, *, name: str | None = None, **options: Any) -> None:
        if "alpha" in options:  # Keras 2's name
            if negative_slope != 0.3:
                raise TypeError("LeakyReLU: alpha is negative_slope's older name: give one of them")
            negative_slope = options.pop("alpha")
        super().__init__(name, options)
        self.negative_slope = negative_slope

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        return Activation({"name": "leaky_relu", "alpha": self.negative_slope})(inputs[0])


class ELU(Composed):
    """y = x for x > 0, else ``alpha`` · (exp(x) − 1). Clevert et al., arXiv:1511.07289."""

    type = "ELU"
    _each_step = True
    _keys = ("alpha",)

    alpha = Setting(real)

    def __init__(self, alpha: float = 1.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.alpha = alpha

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        return Activation({"name": "elu", "alpha": self.alpha})(inputs[0])


class Softmax(Composed):
    """exp(x) / Σ exp(x) over the features, the last axis.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    """

    type = "Softmax"
    _each_step = True
    _keys = ("axis",)

    axis = Setting(feature_axis)

    def __init__(self, axis: int = -1, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axis = axis

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        check_last(self, self.axis, len(inputs[0].shape))
        return Activation("softmax")(inputs[0])


class Identity(Composed):
    """y = x."""

    type = "Identity"
    _each_step = True

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        return Activation("linear")(inputs[0])


class UnitNormalization(Composed):
    """y = x / √(max(Σ x², 1e-12)) over the features: rows of length 1.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    """

    type = "UnitNormalization"
    _each_step = True
    _keys = ("axis",)

    axis = Setting(feature_axis)

    def __init__(self, axis: int = -1, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.axis = axis

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        check_last(self, self.axis, len(inputs[0].shape))
        return Lambda(_unit, name="unit")(inputs[0])


def _unit(x: Any) -> Any:
    from rekur import ops

    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-12))


class PReLU(Layer):
    """y = x for x > 0, else alpha · x, with an alpha that is learned. He et al., arXiv:1502.01852.

    Parameters
    ----------
    alpha_initializer : str or Initializer
    shared_axes : list of int, optional
        Axes, counted with the batch as 0, along which all places have one alpha. Without them every place of a row has
        its own: for ``(B, T, F)`` T must be known then, and ``shared_axes=[1]`` gives one a feature.

    Notes
    -----
    Weights: alpha, of the shape of a row, 1 along the axes that are shared. In streams alpha must be shared along time.
    """

    type = "PReLU"
    _keys = ("alpha_initializer", "shared_axes")
    _ruled: ClassVar[dict[str, str]] = {"alpha": "alpha"}

    alpha_initializer = Setting(initializers.to_spec)
    shared_axes: Any = Setting(_shared)

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        shared_axes: int | Sequence[int] | None = None,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.alpha_initializer = alpha_initializer
        self.shared_axes = shared_axes

    def config(self) -> dict[str, Any]:
        found = super().config()
        if found["shared_axes"] is None:
            del found["shared_axes"]
        return found
