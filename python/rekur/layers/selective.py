"""The selective state space model of Mamba."""

from typing import Any, ClassVar

from rekur import initializers
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, integer, optional_integer, real
from rekur.layers.recurrence import Stateful


def _step_size(value: object, what: str) -> float:
    return real(value, what, 1e-30, 1e30)


class SelectiveSSM(Stateful):
    """Mamba's block: a linear recurrence of N numbers a channel that the input steers. Gu and Dao, arXiv:2312.00752.

    With E = expand · F channels, at each step

    (x, z) = input W + b, u = silu(W_c ∗ x + b_c), (r, B, C) = u W_s, Δ = softplus(r W_Δ + b_Δ),
    h' = e^(Δ A) ⊙ h + Δ u B, A = −e^(A_log), y = (C h' + D u) ⊙ silu(z), output = y W_o + b_o.

    ∗ is a causal convolution over the last ``conv_kernel`` steps, each channel by itself; B and C are N numbers each,
    the same for all channels; A has N numbers a channel.

    Parameters
    ----------
    state_size : int
        N.
    conv_kernel : int
        Steps that the convolution sees; 1: only the one at hand.
    expand : int
        Channels for each feature of the input.
    dt_rank : int, optional
        Numbers of r; a sixteenth of the features by default, rounded up.
    units : int, optional
        Features of the output; as many as the input has by default.
    use_bias : bool
        Whether there are b and b_o.
    use_conv_bias : bool
        Whether there is b_c.
    dt_min, dt_max : float
        Above 0: Δ is log-uniform between them at first, where r is 0.
    kernel_initializer : str or Initializer
        Of W, W_s and W_o. That of W_Δ is uniform in ±1/√dt_rank, A_log begins at ln 1, ln 2, … ln N (S4D's real
        decays), and D at ones.
    convolution_initializer, bias_initializer : str or Initializer
        Of W_c and b_c, by default uniform in ±1/√conv_kernel as PyTorch has it; of b and b_o.
    reverse : bool
        Whether each row is read from its end. :class:`Bidirectional` takes a layer that is not.
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, units)``, or of the last one, ``(B, units)``.
    return_state : bool
        Whether to return the last state too, ``(B, (N + conv_kernel − 1)·E)``: reshaped to
        ``(B, N + conv_kernel − 1, E)`` it is h, then the last inputs x of the convolution, the latest at the end.

    Notes
    -----
    Weights: kernel ``(F, 2E)`` with the columns of x, z; bias ``(2E,)``, convolution ``(conv_kernel, E)``, the weight
    of the step at hand in its last row, convolution_bias ``(E,)``, selection_kernel ``(E, dt_rank + 2N)`` with the
    columns of r, B, C; dt_kernel ``(dt_rank, E)``, dt_bias ``(E,)``, A_log ``(N, E)``, D ``(E,)``, output_kernel
    ``(E, units)``, output_bias ``(units,)``. They are the authors' transposed.

    The names and defaults are those of the authors' code and of Hugging Face's ``MambaConfig``; the block's norm and
    its skip around the layer are layers of their own (LayerNormalization, Add).
    """

    type = "SelectiveSSM"
    _both_ways = True
    _keys: ClassVar[tuple[str, ...]] = (
        "state_size", "conv_kernel", "expand", "dt_rank", "units", "use_bias", "use_conv_bias", "dt_min", "dt_max",
        "reverse", "return_sequences", "return_state", "kernel_initializer", "convolution_initializer",
        "bias_initializer",
    )  # fmt: skip
    _optional: ClassVar[tuple[str, ...]] = ("dt_rank", "units")

    state_size = Setting(integer)
    conv_kernel = Setting(integer)
    expand = Setting(integer)
    dt_rank = Setting(optional_integer)
    units = Setting(optional_integer)
    use_bias = Setting(boolean)
    use_conv_bias = Setting(boolean)
    dt_min = Setting(_step_size)
    dt_max = Setting(_step_size)
    reverse = Setting(boolean)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    kernel_initializer = Setting(initializers.to_spec)
    convolution_initializer = Setting(initializers.to_spec)
    bias_initializer = Setting(initializers.to_spec)

    def __init__(
        self,
        state_size: int = 16,
        conv_kernel: int = 4,
        expand: int = 2,
        *,
        dt_rank: int | None = None,
        units: int | None = None,
        use_bias: bool = False,
        use_conv_bias: bool = True,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        reverse: bool = False,
        return_sequences: bool = False,
        return_state: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        convolution_initializer: Any = "rnn_uniform",
        bias_initializer: Any = "zeros",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self.state_size = state_size
        self.conv_kernel = conv_kernel
        self.expand = expand
        self.dt_rank = dt_rank
        self.units = units
        self.use_bias = use_bias
        self.use_conv_bias = use_conv_bias
        self.dt_min = dt_min
        self.dt_max = dt_max
        self.reverse = reverse
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.kernel_initializer = kernel_initializer
        self.convolution_initializer = convolution_initializer
        self.bias_initializer = bias_initializer
        self._check_step_sizes()

    def _was_set(self, name: str) -> None:
        self._check_step_sizes()
        super()._was_set(name)

    def _check_step_sizes(self) -> None:
        if self.dt_min > self.dt_max:
            raise ValueError(f"{self!r}: dt_min {self.dt_min:g} is above dt_max {self.dt_max:g}")

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k not in self._optional or v is not None}
