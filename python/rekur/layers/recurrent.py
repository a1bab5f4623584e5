"""Recurrent layers.

``B`` rows, ``T`` steps, ``I`` input features, ``H`` units; σ and tanh stand for the layer's recurrent_activation and
activation. Rows may end before T: see ``lengths`` of :meth:`rekur.Model.fit`. Outputs past a row's end are zero and its
last state is that of its last step.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rekur import activations, initializers
from rekur._settings import Setting, frozen
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean, integer, real
from rekur.layers.base import Layer, SymbolicTensor, symbolic

if TYPE_CHECKING:
    from rekur.models import Model

_MERGE_MODES = ("concat", "sum", "mul", "ave")


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


def _merge_mode(value: object, what: str) -> str:
    if value is None:
        raise ValueError(
            f"{what} None, both outputs by themselves, is not here yet: call two layers, one of them with reverse=True"
        )
    if not isinstance(value, str) or value not in _MERGE_MODES:
        raise ValueError(f"{what}: unknown merge_mode {value!r}{did_you_mean(value, _MERGE_MODES)}")
    return value


class _Stateful(Layer):
    def __call__(
        self,
        inputs: SymbolicTensor | Sequence[SymbolicTensor],
        initial_state: SymbolicTensor | Sequence[SymbolicTensor] | None = None,
        **options: Any,
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
        self._check_call(options)
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
    _wrapper: "Bidirectional | None" = None

    units = Setting(integer)
    activation = Setting(activations.to_spec)
    use_bias = Setting(boolean)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    reverse = Setting(boolean)
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
        super().__init__(name, options)
        self.units = units
        self.activation = activation
        self.use_bias = use_bias
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self.kernel_initializer = kernel_initializer
        self.recurrent_initializer = recurrent_initializer
        self.bias_initializer = bias_initializer
        self.clip = clip

    def _is_connected(self) -> bool:
        return super()._is_connected() or (self._wrapper is not None and self._wrapper._is_connected())

    def _may_set(self, name: str) -> None:
        if self._wrapper is not None and name in ("name", "input_shape"):
            raise AttributeError(f"{self!r}: set '{name}' of {self._wrapper!r}, which this layer is a part of")
        super()._may_set(name)

    def _was_set(self, name: str) -> None:
        super()._was_set(name)
        if self._wrapper is not None:
            self._wrapper._check_inner(self)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        if self._wrapper is not None:
            raise ValueError(f"{self!r} is a part of {self._wrapper!r}; make a layer of its own")
        return super()._connect(inputs)

    def _owner(self) -> "Model":
        if self._wrapper is not None:
            raise ValueError(f"{self!r}: its weights are those of {self._wrapper!r}, forward ones first")
        return super()._owner()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_wrapper"}

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

    def _check_settings(self) -> None:
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
    def from_config(cls, config: Spec, name: str | None = None) -> "Layer":
        given = dict(config)
        bias = given.pop("bias_initializer", "zeros" if given.get("coupled_gates") else "unit_forget")
        forget = initializers.is_unit_forget(bias) and not given.get("coupled_gates")
        drawn = initializers.without_unit_forget(bias) if forget else bias
        return cls(**given, bias_initializer=drawn, unit_forget_bias=forget, name=name)


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
    _advice: ClassVar[dict[str, str]] = {
        **Layer._advice,
        "layer": "it says in the spec's words what inner is; set inner, or the parameters of inner",
    }

    merge_mode = Setting(_merge_mode)

    def __init__(self, layer: Layer, merge_mode: str = "concat", *, name: str | None = None, **options: Any) -> None:
        if isinstance(layer, _Recurrent) and layer.input_shape is not None:
            options.setdefault("input_shape", layer.input_shape)
        super().__init__(name, options)
        self.merge_mode = merge_mode
        self._name = self._name or getattr(layer, "_name", None)
        self._inner = self._take(layer)

    @property
    def inner(self) -> _Recurrent:
        """The recurrent layer; its parameters may be set until this layer is called."""
        return self._inner

    @inner.setter
    def inner(self, layer: Layer) -> None:
        self._may_set("inner")
        before, self._inner = self._inner, self._take(layer)
        if before is not layer:
            before._wrapper = None

    def _take(self, layer: object) -> _Recurrent:
        if not isinstance(layer, _Recurrent):
            raise TypeError(f"{self!r}: expected a SimpleRNN, LSTM or GRU layer, got {layer!r}")
        if layer._serial >= 0:
            raise ValueError(f"{self!r}: {layer!r} was called before; make a layer of its own")
        if layer._wrapper is not None and layer._wrapper is not self:
            raise ValueError(f"{self!r}: {layer!r} is a part of {layer._wrapper!r}; make a layer of its own")
        self._check_inner(layer)
        layer._wrapper = self
        return layer

    def _check_inner(self, layer: _Recurrent) -> None:
        if layer.reverse:
            raise ValueError(
                f"{self!r}: {layer!r} must not have reverse=True; one of the two directions is reversed already"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._inner._wrapper = self

    @property
    def layer(self) -> Spec:
        """The recurrent layer as the spec has it; a description, to be read."""
        described: Spec = frozen({"type": self._inner.type, **self._inner.config()})
        return described

    @classmethod
    def from_config(cls, config: Spec, name: str | None = None) -> "Layer":
        inner = {k: v for k, v in config["layer"].items() if k != "type"}
        cell = {c.type: c for c in (SimpleRNN, LSTM, GRU)}[config["layer"]["type"]]
        return cls(cell.from_config(inner), **{k: v for k, v in config.items() if k != "layer"}, name=name)
