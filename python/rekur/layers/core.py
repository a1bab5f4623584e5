"""Layers without recurrence. They work on (B, F) and, at every step alike, on (B, T, F); Step on sequences alone."""

from typing import Any, ClassVar

import numpy as np

from rekur import activations, initializers
from rekur._settings import Setting
from rekur._validate import as_numeric, boolean, integer, optional_precision, real
from rekur.layers.base import Layer


def any_activation(value: object, what: str) -> Any:
    return activations.to_spec(value, what, softmax=True)


def _constants(value: object, what: str) -> float | list[float]:
    if isinstance(value, (str, bytes)) or not np.iterable(value):
        return real(value, what)
    array = as_numeric(value, what)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{what}: expected a number or a list of numbers, one a feature, got shape {array.shape}")
    return [real(v, f"{what}[{k}]") for k, v in enumerate(array.tolist())]


def _place(value: object, what: str) -> int:
    return integer(value, what, -(2**31))


def _place_or_end(value: object, what: str) -> int | None:
    return None if value is None else _place(value, what)


def as_input_shape(key: str, options: dict[str, Any]) -> None:
    """``input_dim=F`` and ``input_length=T`` are ``input_shape`` of one dimension, also beside it where they agree."""
    size = options.get(key)
    if size is not None and options.setdefault("input_shape", (size,)) == (size,):
        del options[key]


class Dense(Layer):
    """y = f(x W + b), over the last axis.

    Parameters
    ----------
    units : int
    activation : str, object or function, optional
        f, of :mod:`rekur.activations`, or a function of a row of features written in :mod:`rekur.ops`. Linear by
        default.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    precision : {"float32", "bf16", "int8"}, optional
        Of its products; by default float32, or what ``compile(precision=)`` says. "int8" is what
        :func:`rekur.quantize` makes of a layer (docs/precision.md).

    Notes
    -----
    Input ``(B, F)`` or ``(B, T, F)``, output ``(B, units)`` or ``(B, T, units)``. ``input_dim=F`` stands for
    ``input_shape=(F,)``.
    Weights: kernel ``(F, units)``, bias ``(units,)``.
    """

    type = "Dense"
    _narrows = True
    _each_step = True
    _keys = ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer")
    _ruled: ClassVar[dict[str, str]] = {"kernel": "kernel", "bias": "bias"}

    precision = Setting(optional_precision)
    units = Setting(integer)
    activation = Setting(any_activation)
    use_bias = Setting(boolean)
    kernel_initializer = Setting(initializers.to_spec)
    bias_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        as_input_shape("input_dim", options)
        super().__init__(name, options)
        self.units = units
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer


class Activation(Layer):
    """y = f(x).

    Parameters
    ----------
    activation : str, object or function
        f, of :mod:`rekur.activations`, or a function of a row of features written in :mod:`rekur.ops`.
    """

    type = "Activation"
    _each_step = True
    _keys = ("activation",)

    activation = Setting(any_activation)

    def __init__(self, activation: Any, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.activation = activation


class Rescaling(Layer):
    """y = x⊙scale + offset, with constants.

    Parameters
    ----------
    scale, offset : float, or sequence of F floats
        For all features, or one each. Finite.
    """

    type = "Rescaling"
    _each_step = True
    _keys = ("scale", "offset")

    scale = Setting(_constants)
    offset = Setting(_constants)

    def __init__(self, scale: Any = 1.0, offset: Any = 0.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.scale = scale
        self.offset = offset


class Step(Layer):
    """y = x at step ``index``: one time step of a sequence.

    Parameters
    ----------
    index : int
        From 0; a negative one counts from each row's own end (its length, where lengths are given): −1 is the last
        step.

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, F)``. A row whose length leaves it without that step gives zeros, and no gradient
    flows into it; sequences of too few steps for any row to have it are an error.
    """

    type = "Step"
    _keys = ("index",)

    index = Setting(_place)

    def __init__(self, index: int, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.index = index


class Flip(Layer):
    """y[t] = x[T − 1 − t]: the steps of each row from its end; of a row with a length its own steps alone.

    What :func:`rekur.ops.flip` does over axis 1. Input and output ``(B, T, F)``.
    """

    type = "Flip"

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)


class Slice(Layer):
    """Features ``start`` … ``stop`` − 1 of the last axis.

    Parameters
    ----------
    start, stop : int
        Negative ones count from the end, as in Python; ``stop=None`` is the end. Places that do not exist are an
        error, and so is a slice without a feature.
    """

    type = "Slice"
    _each_step = True
    _keys = ("start", "stop")

    start = Setting(_place)
    stop = Setting(_place_or_end)

    def __init__(self, start: int = 0, stop: int | None = None, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.start = start
        self.stop = stop
