"""The recurrent layers that are built in; rnn.py has those of other cells.

``B`` rows, ``T`` steps, ``I`` input features, ``H`` units; σ and tanh stand for the layer's recurrent_activation and
activation. Rows may end before T: see ``lengths`` of :meth:`rekur.Model.fit`. Outputs past a row's end are zero and its
last state is that of its last step.
"""

from typing import Any, ClassVar

from rekur import activations, initializers
from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import boolean, real
from rekur.layers.base import Layer
from rekur.layers.recurrence import Recurrent


def _bias_initializer(value: object, what: str) -> Any:
    return initializers.to_spec(value, what, unit_forget=True)


def _optional_activation(value: object, what: str) -> Any:
    return None if value is None else activations.to_spec(value, what)


def _clip(value: object, what: str) -> float | None:
    if value is None:
        return None
    limit = real(value, what)
    if limit <= 0:
        raise ValueError(f"{what} must be above 0, or None for no clipping, got {value!r}")
    return limit


@named_after("rekur.layers", "Layer")
class _BuiltIn(Recurrent):
    _keys: ClassVar[tuple[str, ...]] = (
        "units", "activation", "use_bias", "return_sequences", "return_state", "reverse",
        "kernel_initializer", "recurrent_initializer", "bias_initializer", "clip",
    )  # fmt: skip
    # Keys that a spec leaves out at these values.
    _optional: ClassVar[Spec] = {"clip": None}

    activation = Setting(activations.to_spec)
    kernel_initializer = Setting(initializers.to_spec)
    recurrent_initializer = Setting(initializers.to_spec)
    bias_initializer: Setting[Any] = Setting(initializers.to_spec)
    clip = Setting(_clip)

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
        super().__init__(units, use_bias, return_sequences, return_state, reverse, name, options)
        self.activation = activation
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.clip = clip

    def _state_names(self) -> list[str]:
        return ["h"]

    @property
    def cell(self) -> Any:
        """What is done at each step: an object with the layer's parameters, as Keras has one."""
        from rekur.layers.cells import cell_of  # which is made of this module

        return cell_of(self)

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k not in self._optional or v != self._optional[k]}


class SimpleRNN(_BuiltIn):
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
    dropout, recurrent_dropout : float
        Rates at which training drops elements of x, and of what each block of the recurrent kernel is multiplied with,
        by masks that stay the same for all of a row's steps; the others are scaled by 1/(1 − rate). Keras's. 0 by
        default.
    zoneout : float or dict, optional
        Rate at which a unit of a state keeps its value from before the step: in training at random, a step and unit at
        a time, else as the mean. For all states, or by their names. Krueger et al., arXiv:1606.01305.
    layer_normalization : {"sums", "state", "both"} or bool, optional
        What is normalised over a row's units; True stands for "sums". docs/cell-options.md has the equations.
    normalization_epsilon : float
        What is added to variances, 1e-5 by default.
    gamma_initializer, beta_initializer : str or Initializer
        Of the gains, ones by default, and of the offset of a normalised state, zeros.
    state_clip : float or dict, optional
        Bound of new states, for all of them or by their names. A clipped value passes no gradient on.
    recurrent_weight_dropout : float
        Rate at which a training step drops elements of the recurrent kernel, the same ones for all rows and steps; the
        others are scaled by 1/(1 − rate). Merity et al., arXiv:1708.02182. 0 by default.
    projection_size : int, optional
        P < H: the output is h projected to P features, which the recurrent kernel ``(P, …)`` multiplies; weight
        projection_kernel ``(H, P)``, drawn by ``projection_initializer``. Sak et al., Interspeech 2014.
    residual : bool
        Whether the output is x + h, which needs as many features in x as there are units. Without ``return_sequences``
        x is that of the step read last. False by default.
    learn_initial_state : bool
        Whether states that the call gives none for begin as parameters (``initial_h``, …), zeros at first, which follow
        the other weights. False by default.

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
        *,
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
        self._check_settings()


class LSTM(_BuiltIn):
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
        Start the forget gate's bias at one, the other gates' as ``bias_initializer`` says. Jozefowicz et al., ICML
        2015. Idle with ``coupled_gates``, where the forget gate has no bias, and without ``use_bias``.
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
        With ``unit_forget_bias`` the ``bias_initializer`` draws the bias of i, then that of g and o together, as in
        Keras.
    peephole_initializer : str or Initializer
        Zeros: training starts from the LSTM without peepholes. (TensorFlow's LSTMCell draws them like its kernel.)
    dropout, recurrent_dropout : float
        Rates at which training drops elements of x, and of what each block of the recurrent kernel is multiplied with,
        by masks that stay the same for all of a row's steps; the others are scaled by 1/(1 − rate). Keras's. 0 by
        default.
    zoneout : float or dict, optional
        Rate at which a unit of a state keeps its value from before the step: in training at random, a step and unit at
        a time, else as the mean. For all states, or by their names. Krueger et al., arXiv:1606.01305.
    layer_normalization : {"sums", "state", "both"} or bool, optional
        What is normalised over a row's units; True stands for "sums". docs/cell-options.md has the equations.
    normalization_epsilon : float
        What is added to variances, 1e-5 by default.
    gamma_initializer, beta_initializer : str or Initializer
        Of the gains, ones by default, and of the offset of a normalised state, zeros.
    state_clip : float or dict, optional
        Bound of new states, for all of them or by their names. A clipped value passes no gradient on.
    recurrent_weight_dropout : float
        Rate at which a training step drops elements of the recurrent kernel, the same ones for all rows and steps; the
        others are scaled by 1/(1 − rate). Merity et al., arXiv:1708.02182. 0 by default.
    projection_size : int, optional
        P < H: the output is h projected to P features, which the recurrent kernel ``(P, …)`` multiplies; weight
        projection_kernel ``(H, P)``, drawn by ``projection_initializer``. Sak et al., Interspeech 2014.
    residual : bool
        Whether the output is x + h, which needs as many features in x as there are units. Without ``return_sequences``
        x is that of the step read last. False by default.
    learn_initial_state : bool
        Whether states that the call gives none for begin as parameters (``initial_h``, …), zeros at first, which follow
        the other weights. False by default.

    Notes
    -----
    Weights: kernel ``(I, 4H)`` with the columns of i, f, g, o, recurrent_kernel ``(H, 4H)``, bias ``(4H,)``, with
    ``peepholes`` peephole ``(3, H)`` with the rows p_i, p_f, p_o. With ``coupled_gates`` kernel ``(I, 3H)`` with the
    columns of i, g, o, recurrent_kernel ``(H, 3H)``, bias ``(3H,)``, peephole ``(2, H)`` with the rows p_i, p_o.
    """

    type = "LSTM"
    _keys = (
        *_BuiltIn._keys,
        "recurrent_activation", "output_activation", "peepholes", "coupled_gates", "peephole_initializer",
    )  # fmt: skip
    _optional: ClassVar[Spec] = {
        **_BuiltIn._optional,
        "output_activation": None,
        "peepholes": False,
        "coupled_gates": False,
    }

    bias_initializer = Setting(_bias_initializer)
    recurrent_activation = Setting(activations.to_spec)
    output_activation = Setting(_optional_activation)
    unit_forget_bias = Setting(boolean)
    peepholes = Setting(boolean)
    coupled_gates = Setting(boolean)
    peephole_initializer = Setting(initializers.to_spec)

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
        *,
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
        self.recurrent_activation = recurrent_activation
        self.output_activation = output_activation
        self.unit_forget_bias = unit_forget_bias
        self.peepholes = peepholes
        self.coupled_gates = coupled_gates
        self.peephole_initializer = peephole_initializer
        self._check_settings()

    def _state_names(self) -> list[str]:
        return ["h", "c"]

    def _check_settings(self) -> None:
        super()._check_settings()
        forgets = initializers.is_unit_forget(self.bias_initializer)
        if self.use_bias and self.coupled_gates and forgets:
            raise ValueError(f"{self!r}: coupled_gates leave the forget gate no bias that 'unit_forget' could set")

    def config(self) -> Spec:
        config = super().config()
        # In the spec the bias_initializer says all.
        if self.unit_forget_bias and not self.coupled_gates:
            config["bias_initializer"] = initializers.with_unit_forget(self.bias_initializer)
        if not self.peepholes:
            del config["peephole_initializer"]
        return config

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        given = dict(config)
        if "unit_forget_bias" in given:  # as the constructor has it
            return cls(**given, name=name)
        bias = given.pop("bias_initializer", "zeros" if given.get("coupled_gates") else "unit_forget")
        forget = initializers.is_unit_forget(bias) and not given.get("coupled_gates")
        drawn = initializers.without_unit_forget(bias) if forget else bias
        return cls(**given, bias_initializer=drawn, unit_forget_bias=forget, name=name)


class GRU(_BuiltIn):
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
    dropout, recurrent_dropout : float
        Rates at which training drops elements of x, and of what each block of the recurrent kernel is multiplied with,
        by masks that stay the same for all of a row's steps; the others are scaled by 1/(1 − rate). Keras's. 0 by
        default.
    zoneout : float or dict, optional
        Rate at which a unit of a state keeps its value from before the step: in training at random, a step and unit at
        a time, else as the mean. For all states, or by their names. Krueger et al., arXiv:1606.01305.
    layer_normalization : {"sums", "state", "both"} or bool, optional
        What is normalised over a row's units; True stands for "sums". docs/cell-options.md has the equations.
    normalization_epsilon : float
        What is added to variances, 1e-5 by default.
    gamma_initializer, beta_initializer : str or Initializer
        Of the gains, ones by default, and of the offset of a normalised state, zeros.
    state_clip : float or dict, optional
        Bound of new states, for all of them or by their names. A clipped value passes no gradient on.
    recurrent_weight_dropout : float
        Rate at which a training step drops elements of the recurrent kernel, the same ones for all rows and steps; the
        others are scaled by 1/(1 − rate). Merity et al., arXiv:1708.02182. 0 by default.
    residual : bool
        Whether the output is x + h, which needs as many features in x as there are units. Without ``return_sequences``
        x is that of the step read last. False by default.
    learn_initial_state : bool
        Whether states that the call gives none for begin as parameters (``initial_h``, …), zeros at first, which follow
        the other weights. False by default.

    Notes
    -----
    Weights: kernel ``(I, 3H)`` with the columns of z, r, n, recurrent_kernel ``(H, 3H)``, bias ``(2, 3H)`` (b_W, b_R)
    if ``reset_after``, else ``(3H,)``.
    """

    type = "GRU"
    _keys = (*_BuiltIn._keys, "recurrent_activation", "reset_after")

    recurrent_activation = Setting(activations.to_spec)
    reset_after = Setting(boolean)

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        *,
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
        self.recurrent_activation = recurrent_activation
        self.reset_after = reset_after
        self._check_settings()
