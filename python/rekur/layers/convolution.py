"""Convolution over time.

``B`` rows, ``T`` steps, ``F`` features, ``T'`` steps of the output. Steps past a row's length are zeros, and the row's
length follows: what a row gives does not depend on the padding beside it. A mask ends here, as in Keras.
"""

from typing import Any

from rekur import initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, integer, one_of, optional_precision
from rekur.layers.base import Layer
from rekur.layers.core import any_activation
from rekur.layers.symbolic import SymbolicTensor


def size(value: object, what: str) -> int:
    """A number of steps, which Keras also writes as a tuple of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise ValueError(f"{what}: expected one number, that of the time axis, got {value!r}")
        value = value[0]
    return integer(value, what)


def _optional(value: object, what: str) -> int | None:
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return None if value is None else integer(value, what, 0)


def channels_last(value: object, what: str) -> str:
    """Keras's data_format: (rows, steps, features) is what there is."""
    if value not in (None, "channels_last"):
        raise ValueError(
            f"{what} must be 'channels_last', (rows, steps, features), got {value!r}; Permute((2, 1)) turns arrays "
            "around"
        )
    return "channels_last"


@named_after("rekur.layers", "Layer")
class _Convolution(Layer):
    """What convolutions have in common."""

    data_format = Setting(channels_last)
    kernel_size = Setting(size)
    strides = Setting(size)
    padding = Setting(one_of("valid", "same", "causal"))
    dilation_rate = Setting(size)
    activation = Setting(any_activation)
    use_bias = Setting(boolean)
    bias_initializer = Setting(initializers.to_spec)

    def _begin(
        self,
        kernel_size: Any,
        strides: Any,
        padding: str,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
    ) -> None:
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.dilation_rate = dilation_rate
        self.activation = activation
        self.use_bias = use_bias
        self.bias_initializer = bias_initializer
        self._check_settings()

    def _check_settings(self) -> None:
        strides, dilation = vars(self).get("strides", 1), vars(self).get("dilation_rate", 1)
        if strides > 1 and dilation > 1:
            raise ValueError(
                f"{self!r}: strides and dilation_rate cannot both be above 1, got {strides} and {dilation}"
            )


class Conv1D(_Convolution):
    """y_t = f(Σ_k x_{t · strides + k · dilation_rate − pad} W_k + b).

    Parameters
    ----------
    filters : int
        Features of the output.
    kernel_size : int
        Steps that a step of the output is made of. Numbers of steps may be tuples of one, as in Keras.
    strides : int
    padding : {"valid", "same", "causal"}
        "valid": whole windows, T' = (T − span) // strides + 1 with span = (kernel_size − 1) · dilation_rate + 1.
        "same": T' = ⌈T / strides⌉, zeros at both ends. "causal": the same T', zeros before the first step alone, so
        that nothing depends on later steps; what a stream can do, with strides of 1.
    dilation_rate : int
        Steps between those of a window. Not together with strides.
    groups : int
        Features of input and output in so many parts, each part by itself.
    activation : str, object or function, optional
        f, as of :class:`rekur.layers.Dense`.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
    precision : {"float32", "int8"}, optional
        Of its products; "int8" is what :func:`rekur.quantize` makes of a layer (docs/precision.md).

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', filters)``.
    Weights: kernel ``(kernel_size, F / groups, filters)``, bias ``(filters,)``.

    Raises
    ------
    ValueError
        If groups does not divide filters and the features of the input.
    """

    type = "Conv1D"
    _narrows = True
    _keys = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "activation", "use_bias",
        "kernel_initializer", "bias_initializer",
    )  # fmt: skip

    precision = Setting(optional_precision)
    filters = Setting(integer)
    groups = Setting(integer)
    kernel_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.filters = filters
        self.groups = groups
        self.kernel_initializer = kernel_initializer
        self._begin(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)


class DepthwiseConv1D(_Convolution):
    """A convolution of each feature by itself, ``depth_multiplier`` times; output feature f · depth_multiplier + m is
    the m-th of input feature f.

    Parameters
    ----------
    kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer
        As of :class:`rekur.layers.Conv1D`.
    depth_multiplier : int
    depthwise_initializer : str or Initializer

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', F · depth_multiplier)``.
    Weights: kernel ``(kernel_size, F, depth_multiplier)``, bias ``(F · depth_multiplier,)``.
    """

    type = "DepthwiseConv1D"
    _keys = (
        "kernel_size", "strides", "padding", "depth_multiplier", "dilation_rate", "activation", "use_bias",
        "depthwise_initializer", "bias_initializer",
    )  # fmt: skip

    depth_multiplier = Setting(integer)
    depthwise_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = depthwise_initializer
        self._begin(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)


class SeparableConv1D(_Convolution):
    """A :class:`DepthwiseConv1D` without a bias, then a :class:`Conv1D` of one step with what the layer says of
    activation and bias.

    Parameters
    ----------
    filters, kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer
        As of :class:`rekur.layers.Conv1D`.
    depth_multiplier : int
    depthwise_initializer, pointwise_initializer : str or Initializer

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', filters)``. Weights: ``(kernel_size, F, depth_multiplier)``,
    ``(1, F · depth_multiplier, filters)``, bias ``(filters,)``. A model's spec has the two layers.
    """

    type = "SeparableConv1D"
    _keys = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "depth_multiplier", "activation", "use_bias",
        "depthwise_initializer", "pointwise_initializer", "bias_initializer",
    )  # fmt: skip

    filters = Setting(integer)
    depth_multiplier = Setting(integer)
    depthwise_initializer = Setting(initializers.to_spec)
    pointwise_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.filters = filters
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = depthwise_initializer
        self.pointwise_initializer = pointwise_initializer
        self._begin(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)

    def _is_composed(self) -> bool:
        return True

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        if len(inputs) != 1:
            raise ValueError(f"{self!r}: expected 1 input, got {len(inputs)}")
        depthwise = DepthwiseConv1D(
            self.kernel_size,
            self.strides,
            self.padding,
            self.depth_multiplier,
            dilation_rate=self.dilation_rate,
            use_bias=False,
            depthwise_initializer=self.depthwise_initializer,
        )
        pointwise = Conv1D(
            self.filters,
            1,
            activation=self.activation,
            use_bias=self.use_bias,
            kernel_initializer=self.pointwise_initializer,
            bias_initializer=self.bias_initializer,
        )
        return pointwise(depthwise(inputs[0]))


class Conv1DTranspose(_Convolution):
    """The transpose of a convolution: what :class:`Conv1D`'s gradient by its input is. Makes more steps of fewer.

    Parameters
    ----------
    filters, kernel_size, strides, dilation_rate, activation, use_bias, kernel_initializer, bias_initializer
        As of :class:`rekur.layers.Conv1D`.
    padding : {"valid", "same"}
        "same": T' = T · strides. "valid": T' = T · strides + max(span − strides, 0).
    output_padding : int, optional
        Less than strides: T' = (T − 1) · strides + output_padding + span, or + span % 2 with "same".

    Notes
    -----
    Input ``(B, T, F)``, output ``(B, T', filters)``. Weights: kernel ``(kernel_size, filters, F)``, bias
    ``(filters,)``.
    """

    type = "Conv1DTranspose"
    _keys = (
        "filters", "kernel_size", "strides", "padding", "output_padding", "dilation_rate", "activation", "use_bias",
        "kernel_initializer", "bias_initializer",
    )  # fmt: skip

    filters = Setting(integer)
    padding = Setting(one_of("valid", "same"))
    output_padding = Setting(_optional)
    kernel_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        *,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.data_format = data_format
        self.filters = filters
        self.output_padding = output_padding
        self.kernel_initializer = kernel_initializer
        self._begin(kernel_size, strides, padding, dilation_rate, activation, use_bias, bias_initializer)

    def _check_settings(self) -> None:
        """strides and dilation_rate go together here."""

    def config(self) -> Spec:
        config = super().config()
        if config["output_padding"] is None:
            del config["output_padding"]
        return config
