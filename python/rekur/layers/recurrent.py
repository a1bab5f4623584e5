"""Recurrent layers.

``B`` rows, ``T`` steps, ``I`` input features, ``H`` units; σ and tanh stand for the layer's recurrent_activation and
activation. Rows may end before T: see ``lengths`` of :meth:`rekur.Model.fit`. Outputs past a row's end are zero and its
last state is that of its last step.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from rekur import activations, initializers
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean, integer, real
from rekur.layers.base import Layer, SymbolicTensor, symbolic

_MERGE_MODES = ("concat", "sum", "mul", "ave")


class _Stateful(Layer):
    def __call__(
        self,
        inputs: SymbolicTensor | Sequence[SymbolicTensor],
        initial_state: SymbolicTensor | Sequence[SymbolicTensor] | None = None,
    ) -> Any:
        """Connect the layer to a sequence and, optionally, its initial states.

        Parameters
        ----------
        inputs : SymbolicTensor of shape (B, T, I)
        initial_state : SymbolicTensor or list of them, each of shape (B, H), optional
            h; for LSTM [h, c]; for Bidirectional those of the forward layer, then those of the backward layer. Zeros by
            default.

        Returns
        -------
        SymbolicTensor, or with ``return_state`` a list: the output, h and, for LSTM, c.

        Raises
        ------
        ValueError
            If the shapes do not fit, or the layer was called before.
        """
        tensors = symbolic(inputs, repr(self))
        if initial_state is not None:
            tensors = [*tensors, *symbolic(initial_state, f"{self!r}: initial_state")]
        return self._connect(tensors)


class _Recurrent(_Stateful):
    _keys: ClassVar[tuple[str, ...]] = (
        "units", "activation", "use_bias", "return_sequences", "return_state", "reverse",
        "kernel_initializer", "recurrent_initializer", "bias_initializer", "clip",
    )  # fmt: skip
    # Keys that a spec leaves out at these values.
    _optional: ClassVar[Spec] = {"clip": None}
    _idle: ClassVar[dict[str, object]] = {
        "dropout": 0,
        "recurrent_dropout": 0,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
    }

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        return_sequences: bool,
        return_state: bool,
        reverse: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        clip: float | None,
        name: str | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__(name, options)
        what = repr(self)
        self.units = integer(units, f"{what}: units")
        self.activation = activations.to_spec(activation, what)
        self.use_bias = boolean(use_bias, f"{what}: use_bias")
        self.return_sequences = boolean(return_sequences, f"{what}: return_sequences")
        self.return_state = boolean(return_state, f"{what}: return_state")
        self.reverse = boolean(reverse, f"{what}: reverse")
        self.kernel_initializer = initializers.to_spec(kernel_initializer, what)
        self.recurrent_initializer = initializers.to_spec(recurrent_initializer, what)
        self.bias_initializer = initializers.to_spec(bias_initializer, what, unit_forget=self.type == "LSTM")
        self.clip = None if clip is None else real(clip, f"{what}: clip")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"{what}: clip must be above 0, or None for no clipping, got {clip!r}")

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k not in self._optional or v != self._optional[k]}


class SimpleRNN(_Recurrent):
    """h' = tanh(x W + h R + b). Elman, Cognitive Science 14, 1990.

    Parameters
    ----------
    units : int
        H.
    activation : str or object
        Of :mod:`rekur.activations`.
    use_bias : bool
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, H)``, or of the last one, ``(B, H)``.
    return_state : bool
        Whether to return the last state too.
    reverse : bool
        Whether to read each row from its end. Outputs stay in the order of the input.
    clip : float, optional
        Bound of what goes into the activation: x W + h R + b is clamped to ±clip. A clamped value passes no gradient
        on.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer

    Notes
    -----
    Weights: kernel ``(I, H)``, recurrent_kernel ``(H, H)``, bias ``(H,)``.
    """

    type = "SimpleRNN"

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        clip: float | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, return_sequences, return_state, reverse,
            kernel_initializer, recurrent_initializer, bias_initializer, clip, name, options,
        )  # fmt: skip


class LSTM(_Recurrent):
    """i, f, o = σ(x W + h R + b), g = tanh(x W + h R + b), c' = f⊙c + i⊙g, h' = o⊙tanh(c').

    Hochreiter and Schmidhuber, Neural Computation 9, 1997, with the forget gate of Gers et al., Neural Computation 12,
    2000. With ``peepholes`` the gates see the cell state: p_i⊙c and p_f⊙c are added to what σ gets for i and f, p_o⊙c'
    for o (Gers and Schmidhuber, IJCNN 2000). With ``coupled_gates`` f = 1 − i, and f has no weights of its own (Greff
    et al., IEEE TNNLS 28, 2017).

    Parameters
    ----------
    units : int
        H.
    activation, recurrent_activation : str or object
        Of :mod:`rekur.activations`: tanh (of g and of c') and σ above.
    output_activation : str or object, optional
        tanh of c' above, where it is another than that of g.
    use_bias : bool
    unit_forget_bias : bool
        Start the forget gate's bias at one, the others at zero. Jozefowicz et al., ICML 2015. Idle with
        ``coupled_gates``, where the forget gate has no bias.
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, H)``, or of the last one, ``(B, H)``.
    return_state : bool
        Whether to return the last h and c too.
    reverse : bool
        Whether to read each row from its end. Outputs stay in the order of the input.
    clip : float, optional
        Bound of what goes into σ and tanh of g: x W + h R + b, peepholes included, is clamped to ±clip. A clamped value
        passes no gradient on. c' is not clipped.
    peepholes, coupled_gates : bool
        See above.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
        A ``bias_initializer`` other than zeros and ones needs ``unit_forget_bias=False``.
    peephole_initializer : str or Initializer
        Zeros: training starts from the LSTM without peepholes. (TensorFlow's LSTMCell draws them like its kernel.)

    Notes
    -----
    Weights: kernel ``(I, 4H)`` with the columns of i, f, g, o, recurrent_kernel ``(H, 4H)``, bias ``(4H,)``, with
    ``peepholes`` peephole ``(3, H)`` with the rows p_i, p_f, p_o. With ``coupled_gates`` kernel ``(I, 3H)`` with the
    columns of i, g, o, recurrent_kernel ``(H, 3H)``, bias ``(3H,)``, peephole ``(2, H)`` with the rows p_i, p_o.
    """

    type = "LSTM"
    _keys = (
        *_Recurrent._keys,
        "recurrent_activation", "output_activation", "peepholes", "coupled_gates", "peephole_initializer",
    )  # fmt: skip
    _optional: ClassVar[Spec] = {
        **_Recurrent._optional,
        "output_activation": None,
        "peepholes": False,
        "coupled_gates": False,
        "peephole_initializer": None,
    }

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        clip: float | None = None,
        output_activation: Any = None,
        peepholes: bool = False,
        coupled_gates: bool = False,
        peephole_initializer: Any = "zeros",
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, return_sequences, return_state, reverse,
            kernel_initializer, recurrent_initializer, bias_initializer, clip, name, options,
        )  # fmt: skip
        what = repr(self)
        self.recurrent_activation = activations.to_spec(recurrent_activation, what)
        self.output_activation = None if output_activation is None else activations.to_spec(output_activation, what)
        self.peepholes = boolean(peepholes, f"{what}: peepholes")
        self.coupled_gates = boolean(coupled_gates, f"{what}: coupled_gates")
        drawn = initializers.to_spec(peephole_initializer, what)
        self.peephole_initializer = drawn if self.peepholes else None
        if self.coupled_gates and self.bias_initializer == "unit_forget":
            raise ValueError(f"{what}: coupled_gates leave the forget gate no bias that 'unit_forget' could set")
        if boolean(unit_forget_bias, f"{what}: unit_forget_bias") and not self.coupled_gates:
            if self.bias_initializer == "zeros":
                self.bias_initializer = "unit_forget"
            elif self.bias_initializer not in ("unit_forget", "ones"):
                raise ValueError(
                    f"{what}: bias_initializer {bias_initializer!r} draws the forget gate's bias too; "
                    "say so with unit_forget_bias=False"
                )

    @classmethod
    def from_config(cls, config: Spec, name: str | None = None) -> "Layer":
        # In the spec the bias_initializer says all.
        return cls(**{"unit_forget_bias": "bias_initializer" not in config, **config}, name=name)


class GRU(_Recurrent):
    """z, r = σ(x W + h R + b), h' = (1 − z)⊙n + z⊙h. Cho et al., arXiv:1406.1078.

    With ``reset_after`` n = tanh(x W + b_W + r⊙(h R + b_R)), else n = tanh(x W + b + (r⊙h) R). In texts with h' = (1 −
    z)⊙h + z⊙n z is 1 − z here.

    Parameters
    ----------
    units : int
        H.
    activation, recurrent_activation : str or object
        Of :mod:`rekur.activations`: tanh and σ above.
    use_bias : bool
    return_sequences : bool
        Whether the output is that of every step, ``(B, T, H)``, or of the last one, ``(B, H)``.
    return_state : bool
        Whether to return the last state too.
    reverse : bool
        Whether to read each row from its end. Outputs stay in the order of the input.
    reset_after : bool
        Whether r acts after the product with R (cuDNN, PyTorch, Keras) or on h before it (the paper).
    clip : float, optional
        Bound of what goes into σ and tanh: it is clamped to ±clip. A clamped value passes no gradient on.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer

    Notes
    -----
    Weights: kernel ``(I, 3H)`` with the columns of z, r, n, recurrent_kernel ``(H, 3H)``, bias ``(2, 3H)`` (b_W, b_R)
    if ``reset_after``, else ``(3H,)``.
    """

    type = "GRU"
    _keys = (*_Recurrent._keys, "recurrent_activation", "reset_after")

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        return_sequences: bool = False,
        return_state: bool = False,
        reverse: bool = False,
        reset_after: bool = True,
        clip: float | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            units, activation, use_bias, return_sequences, return_state, reverse,
            kernel_initializer, recurrent_initializer, bias_initializer, clip, name, options,
        )  # fmt: skip
        self.recurrent_activation = activations.to_spec(recurrent_activation, repr(self))
        self.reset_after = boolean(reset_after, f"{self!r}: reset_after")


class Bidirectional(_Stateful):
    """A recurrent layer and its mirror image that reads each row from its end. Schuster and Paliwal, IEEE TSP 45, 1997.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        Not reversed, not connected; its name and input_shape, if any, become this layer's where it has none of its own.
    merge_mode : {"concat", "sum", "mul", "ave"}
        How the two outputs are joined.

    Notes
    -----
    Output ``(B, T, 2H)`` or ``(B, 2H)`` for concat, else ``(B, T, H)`` or ``(B, H)``. Without ``return_sequences`` the
    backward layer's output is that at the first step. Weights: the forward layer's, then the backward layer's.
    """

    type = "Bidirectional"
    _keys = ("layer", "merge_mode")

    def __init__(self, layer: Layer, merge_mode: str = "concat", name: str | None = None, **options: Any) -> None:
        if isinstance(layer, _Recurrent) and layer.input_shape is not None:
            options.setdefault("input_shape", layer.input_shape)
        super().__init__(name, options)
        if not isinstance(layer, _Recurrent):
            raise TypeError(f"{self!r}: expected a SimpleRNN, LSTM or GRU layer, got {layer!r}")
        if layer._serial >= 0:
            raise ValueError(f"{self!r}: {layer!r} was called before; make a layer of its own")
        if layer.reverse:
            raise ValueError(
                f"{self!r}: {layer!r} must not have reverse=True; one of the two directions is reversed already"
            )
        if merge_mode not in _MERGE_MODES:
            raise ValueError(f"{self!r}: unknown merge_mode {merge_mode!r}{did_you_mean(merge_mode, _MERGE_MODES)}")
        self._name = self._name or layer._name
        self.inner = layer
        self.merge_mode = merge_mode

    @property
    def layer(self) -> Spec:
        return {"type": self.inner.type, **self.inner.config()}

    @classmethod
    def from_config(cls, config: Spec, name: str | None = None) -> "Layer":
        inner = {k: v for k, v in config["layer"].items() if k != "type"}
        cell = {c.type: c for c in (SimpleRNN, LSTM, GRU)}[config["layer"]["type"]]
        return cls(cell.from_config(inner), **{k: v for k, v in config.items() if k != "layer"}, name=name)
