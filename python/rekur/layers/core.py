"""Layers without recurrence. They work on (B, F) and, at every step alike, on (B, T, F); Step on sequences alone."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rekur import activations, initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._validate import as_numeric, boolean, integer, real
from rekur._validate import rate as _rate
from rekur.layers.base import InputLayer, Layer, SymbolicTensor


def _activation(value: object, what: str) -> Any:
    return activations.to_spec(value, what, softmax=True)


def _epsilon(value: object, what: str) -> float:
    return real(value, what, float(np.finfo(np.float32).tiny))


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


def _as_input_shape(key: str, options: dict[str, Any]) -> None:
    """``input_dim=F`` and ``input_length=T`` are ``input_shape`` of one dimension, also beside it where they agree."""
    size = options.get(key)
    if size is not None and options.setdefault("input_shape", (size,)) == (size,):
        del options[key]


def _last_axis(value: object, what: str) -> int:
    if isinstance(value, bool) or value not in (-1, [-1], (-1,)):
        raise ValueError(f"{what} must be the last one, written -1, got {value!r}")
    return -1


def _axis(value: object, what: str) -> int:
    return integer(value, what, -8)


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

    Notes
    -----
    Input ``(B, F)`` or ``(B, T, F)``, output ``(B, units)`` or ``(B, T, units)``. ``input_dim=F`` stands for
    ``input_shape=(F,)``.
    Weights: kernel ``(F, units)``, bias ``(units,)``.
    """

    type = "Dense"
    _each_step = True
    _keys = ("units", "activation", "use_bias", "kernel_initializer", "bias_initializer")
    _ruled: ClassVar[dict[str, str]] = {"kernel": "kernel", "bias": "bias"}

    units = Setting(integer)
    activation = Setting(_activation)
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
        _as_input_shape("input_dim", options)
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

    activation = Setting(_activation)

    def __init__(self, activation: Any, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.activation = activation


class Dropout(Layer):
    """In training each element is 0 with probability ``rate``, else x / (1 − rate); in inference y = x.

    Srivastava et al., JMLR 15, 2014. What is dropped is a function of the model's seed and the training step.

    Parameters
    ----------
    rate : float
        At least 0, below 1.
    """

    type = "Dropout"
    _each_step = True
    _keys = ("rate",)

    rate: Setting[float] = Setting(_rate)

    def __init__(self, rate: float, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.rate = rate


class Embedding(Layer):
    """y = E[x]: row x of a table.

    Parameters
    ----------
    input_dim : int
        Rows of the table; ids are 0 … input_dim − 1, anything else is an error.
    output_dim : int
        Features of a row.
    embeddings_initializer : str or Initializer
    weights : list of one array, optional
        The table that it begins with, ``(input_dim, output_dim)``; with ``trainable=False`` it stays.
    mask_zero : bool
        Whether a step of id 0 is none, which is a mask as of :class:`Masking`; id 0 has its row anyway.

    Notes
    -----
    Input ids ``(B,)`` or ``(B, T)``, with mask_zero ``(B, T)``, integers or floats that are whole numbers; output
    ``(B, output_dim)`` or
    ``(B, T, output_dim)``. ``input_length=T`` stands for ``input_shape=(T,)``.
    Weights: embeddings ``(input_dim, output_dim)``.
    """

    type = "Embedding"
    _each_step = True
    _keys = ("input_dim", "output_dim", "embeddings_initializer", "mask_zero")
    _ruled: ClassVar[dict[str, str]] = {"embeddings": "embeddings"}
    input_dtype = "int32"
    _further: ClassVar[dict[str, Any]] = {"weights": None}

    input_dim = Setting(integer)
    output_dim = Setting(integer)
    embeddings_initializer = Setting(initializers.to_spec)
    mask_zero = Setting(boolean)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        _as_input_shape("input_length", options)
        weights = options.pop("weights", None)
        if getattr(embeddings_initializer, "_array", None) is not None:
            weights, embeddings_initializer = [embeddings_initializer._array], "zeros"
        super().__init__(name, options)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = embeddings_initializer
        self._begin_with(weights)
        self.mask_zero = mask_zero

    @property
    def _makes_mask(self) -> bool:
        return bool(self.mask_zero)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        entrance = inputs[0].layer if len(inputs) == 1 else None
        if not isinstance(entrance, InputLayer) or entrance.dtype == "int32" or len(entrance.shape) > 1:
            return super()._connect(inputs)
        entrance._hold_ids(repr(self))
        try:
            return super()._connect(inputs)
        except (TypeError, ValueError):
            entrance._hold("float32")
            raise


class Masking(Layer):
    """A mask: a step all of whose features are ``mask_value`` is none.

    Parameters
    ----------
    mask_value : float

    Notes
    -----
    Input and output ``(B, T, F)``; the steps that are none become zeros. What the mask does, as in Keras: recurrent
    layers leave the step out and repeat their last output there (``zero_output_for_mask=True``, and a Bidirectional's
    sequences: zeros), layers without recurrence pass it on, loss and metrics do not count the step. A mask may leave
    out any steps; padding at the rows' ends is said more plainly by ``lengths`` of ``fit`` and ``predict``.
    """

    type = "Masking"
    _keys = ("mask_value",)
    _makes_mask = True

    mask_value = Setting(real)

    def __init__(self, mask_value: float = 0.0, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.mask_value = mask_value


class LayerNormalization(Layer):
    """y = x̂⊙gamma + beta, x̂ = (x − mean) / √(variance + epsilon), both over the last axis. Ba et al., arXiv:1607.06450.

    Parameters
    ----------
    axis : int
        −1, the last axis; there is no other.
    epsilon : float
        Above 0.
    center, scale : bool
        Whether there is a beta, and a gamma.
    beta_initializer, gamma_initializer : str or Initializer

    Notes
    -----
    Weights: gamma ``(F,)``, beta ``(F,)``.
    """

    type = "LayerNormalization"
    _each_step = True
    _keys = ("epsilon", "center", "scale", "gamma_initializer", "beta_initializer")
    _ruled: ClassVar[dict[str, str]] = {"gamma": "gamma", "beta": "beta"}

    axis = Setting(_last_axis)
    epsilon = Setting(_epsilon)
    center = Setting(boolean)
    scale = Setting(boolean)
    gamma_initializer = Setting(initializers.to_spec)
    beta_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.axis = axis
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.gamma_initializer = gamma_initializer
        self.beta_initializer = beta_initializer


class Affine(Layer):
    """y = x⊙gamma + beta: what a batch normalisation is once its statistics are fixed.

    Parameters
    ----------
    center : bool
        Whether there is a beta.

    Notes
    -----
    Weights: gamma ``(F,)``, ones at first, beta ``(F,)``, zeros at first.
    """

    type = "Affine"
    _each_step = True
    _keys = ("center",)

    center = Setting(boolean)

    def __init__(self, center: bool = True, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        self.center = center

    def config(self) -> dict[str, Any]:
        return {} if self.center else super().config()


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

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if not self._calls:
            widths = {t.shape[-1] for t in inputs if t.dtype == "float32"}
            ranks = {len(t.shape) for t in inputs}
            self._broadcasts = len(inputs) > 1 and len(ranks) == 1 and len(widths) == 2 and 1 in widths
        return super()._connect(inputs)

    def _is_composed(self) -> bool:
        return self._broadcasts

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur.layers.pointwise import Lambda  # which is made of this module

        if self.type in ("Subtract", "Divide") and len(inputs) != 2:
            raise ValueError(f"{self!r}: expected 2 inputs, got {len(inputs)}")
        return Lambda(lambda values: functools.reduce(self._operation, values), name="fold")(inputs)

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        raise NotImplementedError


class Add(_Merge):
    """The sum of the inputs, which have one shape, or one feature in place of all."""

    type = "Add"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a + b


class Multiply(_Merge):
    """The elementwise product of the inputs, which have one shape, or one feature in place of all."""

    type = "Multiply"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a * b


class Subtract(_Merge):
    """The first input less the second; they have one shape, or one feature in place of all."""

    type = "Subtract"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a - b


class Divide(_Merge):
    """The first input by the second, elementwise; they have one shape, or one feature in place
    of all. x / 0 is infinite, 0 / 0 NaN."""

    type = "Divide"

    @staticmethod
    def _operation(a: Any, b: Any) -> Any:
        return a / b


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
