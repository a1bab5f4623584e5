"""LSTMs of images: what a state is multiplied with is a convolution.

``B`` rows, ``T`` steps, ``C`` channels, ``F`` filters. Rows may end before T: see ``lengths`` of
:meth:`rekur.Model.fit`. Outputs past a row's end are zero and its last state is that of its last step.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rekur import activations, initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, integer, one_of, rate
from rekur.layers.base import Layer
from rekur.layers.convolution import channels_last
from rekur.layers.recurrence import Directed
from rekur.layers.symbolic import SymbolicTensor


def sizes(axes: int) -> Callable[[object, str], Any]:
    """Numbers of positions: an integer for all axes, or one an axis. Of one axis an integer, as the spec has it."""

    def check(value: object, what: str) -> Any:
        if not isinstance(value, (tuple, list)):
            number = integer(value, what)
            return number if axes == 1 else (number,) * axes
        if len(value) != axes:
            raise ValueError(f"{what}: expected an integer or {axes} of them, one an axis, got {value!r}")
        found = tuple(integer(number, what) for number in value)
        return found[0] if axes == 1 else found

    return check


def _bias_initializer(value: object, what: str) -> Any:
    return initializers.to_spec(value, what, unit_forget=True)


@named_after("rekur.layers", "Layer")
class _ConvLSTM(Directed):
    """What ConvLSTM1D and ConvLSTM2D have in common."""

    _keys = (
        "filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "recurrent_activation",
        "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer", "dropout", "recurrent_dropout",
        "return_sequences", "return_state", "reverse",
    )  # fmt: skip
    _ruled: ClassVar[dict[str, str]] = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}

    kernel_size = Setting(sizes(1))
    strides = Setting(sizes(1))
    dilation_rate = Setting(sizes(1))
    filters = Setting(integer)
    padding = Setting(one_of("valid", "same"))
    data_format = Setting(channels_last)
    activation = Setting(activations.to_spec)
    recurrent_activation = Setting(activations.to_spec)
    use_bias = Setting(boolean)
    unit_forget_bias = Setting(boolean)
    kernel_initializer = Setting(initializers.to_spec)
    recurrent_initializer = Setting(initializers.to_spec)
    bias_initializer: Setting[Any] = Setting(_bias_initializer)
    dropout = Setting(rate)
    recurrent_dropout = Setting(rate)

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        *,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        reverse: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        zero_output_for_mask = options.pop("zero_output_for_mask", False)
        super().__init__(name, options)
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.padding = padding
        self.data_format = data_format
        self.dilation_rate = dilation_rate
        self.activation = activation
        self.recurrent_activation = recurrent_activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.unit_forget_bias = unit_forget_bias
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.reverse = reverse
        self.zero_output_for_mask = zero_output_for_mask
        self._check_settings()

    def _check_settings(self) -> None:
        super()._check_settings()
        strides, dilation = self.strides, self.dilation_rate
        above = [n for n in (strides, dilation) if (n if isinstance(n, int) else max(n)) > 1]
        if len(above) > 1:
            raise ValueError(
                f"{self!r}: Specifying `strides > 1` is not compatible with `dilation_rate > 1`, got strides={strides} "
                f"and dilation_rate={dilation}"
            )

    def config(self) -> Spec:
        found = super().config()
        for key, default in (("dropout", 0.0), ("recurrent_dropout", 0.0), ("reverse", False)):
            if found[key] == default:
                del found[key]
        if self.unit_forget_bias:  # in the spec the bias_initializer says all
            found["bias_initializer"] = initializers.with_unit_forget(self.bias_initializer)
        for key in ("kernel_size", "strides", "dilation_rate"):
            found[key] = found[key] if isinstance(found[key], int) else list(found[key])
        return found

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        given = dict(config)
        if "unit_forget_bias" in given:  # as the constructor has it
            return cls(**given, name=name)
        bias = given.pop("bias_initializer", "unit_forget")
        forget = initializers.is_unit_forget(bias)
        drawn = initializers.without_unit_forget(bias) if forget else bias
        return cls(**given, bias_initializer=drawn, unit_forget_bias=forget, name=name)

    def _timed_inputs(self, inputs: Sequence[SymbolicTensor]) -> int:
        return 1  # states have axes of positions


class ConvLSTM1D(_ConvLSTM):
    """An LSTM of rows of positions: i, f, o = σ(x ∗ W + h ∗ R + b), g = tanh(x ∗ W + h ∗ R + b), c' = f⊙c + i⊙g,
    h' = o⊙tanh(c'). Shi et al., arXiv:1506.04214, without its peepholes, as in Keras.

    Parameters
    ----------
    filters : int
        F, the channels of h and c.
    kernel_size : int
        Positions that a window has, of x and of h. Numbers of positions may be tuples of one, as in Keras.
    strides, dilation_rate : int
        Of x's windows; those of h have neither. Not both above 1.
    padding : {"valid", "same"}
        Of x's windows, as of :class:`rekur.layers.Conv1D`; those of h are padded to its own size.
    activation, recurrent_activation : str or object
        Of :mod:`rekur.activations`: tanh (of g and of c') and σ above.
    use_bias : bool
    unit_forget_bias : bool
        Start the forget gate's bias at one, the other gates' as ``bias_initializer`` says.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
    dropout, recurrent_dropout : float
        Rates at which training drops elements of x and of h, with a mask a gate that stays the same for all of a row's
        steps; the others are scaled by 1/(1 − rate).
    return_sequences : bool
        Whether the output is that of every step or of the last one.
    return_state : bool
        Whether to return the last h and c too.
    go_backwards : bool
        Whether to read each row from its end, with outputs in the order in which they are made.
    stateful : bool
        Whether a batch begins with the states that the one before it ended with.
    reverse : bool
        Whether to read each row from its end, with outputs in the order of the input.

    Notes
    -----
    Input ``(B, T, W, C)``, states ``(B, W', F)``, output ``(B, T, W', F)`` or ``(B, W', F)``. Weights: kernel
    ``(kernel_size, C, 4F)`` with the columns of i, f, g, o, recurrent_kernel ``(kernel_size, F, 4F)``, bias ``(4F,)``.

    Raises
    ------
    ValueError
        If strides and dilation_rate are both above 1, or a window is larger than the input.
    """

    type = "ConvLSTM1D"


class ConvLSTM2D(_ConvLSTM):
    """An LSTM of images, with windows of two axes; otherwise a :class:`ConvLSTM1D`.

    Parameters
    ----------
    filters, padding, activation, recurrent_activation, use_bias, unit_forget_bias, dropout, recurrent_dropout
        As of :class:`ConvLSTM1D`, and likewise all that is not named here.
    kernel_size, strides, dilation_rate : int or tuple of two
        Of both axes, or of each.

    Notes
    -----
    Input ``(B, T, H, W, C)``, states ``(B, H', W', F)``, output ``(B, T, H', W', F)`` or ``(B, H', W', F)``. Weights:
    kernel ``(*kernel_size, C, 4F)`` with the columns of i, f, g, o, recurrent_kernel ``(*kernel_size, F, 4F)``, bias
    ``(4F,)``.
    """

    type = "ConvLSTM2D"
    kernel_size = Setting(sizes(2))
    strides = Setting(sizes(2))
    dilation_rate = Setting(sizes(2))
