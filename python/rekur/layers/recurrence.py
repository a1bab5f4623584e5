"""What recurrent layers share, whatever their cell."""

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import named_after
from rekur._settings import Setting
from rekur._spec import Spec
from rekur._validate import Floats, Shape, boolean, integer, optional_precision
from rekur.layers.base import Layer
from rekur.layers.cell_options import CellOptions
from rekur.layers.symbolic import SymbolicTensor, symbolic

if TYPE_CHECKING:
    from rekur.layers.bidirectional import Bidirectional
    from rekur.models.structure import Structure


@named_after("rekur.layers", "Layer")
class Stateful(Layer):
    _both_ways = False  # whether there is sense in a second one that reads from the end
    _wrapper: "Bidirectional | None" = None
    _states: list[Floats] | None = None  # what a stateful layer carries to the next batch; None: zeros

    _cut = False  # whether a model is being described whose sequences come in windows (training/truncated.py)

    def _carries(self) -> bool:
        """Whether its states go on with the next batch: of a stateful layer, by itself or in its parts."""
        return self._cut or bool(getattr(self, "stateful", False))

    @property
    def states(self) -> list[Floats] | None:
        """What a stateful layer carries to the next batch, an array ``(B, H)`` a state; None where it begins anew."""
        parts = self._leaves() or [self]
        found = [part._states for part in parts if isinstance(part, Stateful) and part._states is not None]
        return [state for states in found for state in states] or None

    def reset_states(self) -> None:
        """Let a stateful layer begin anew, from zeros, with the next batch."""
        for part in self._leaves() or [self]:
            if isinstance(part, Stateful):
                part._states = None

    def reset_state(self) -> None:
        """The same as :meth:`reset_states`."""
        self.reset_states()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k not in ("_states", "_wrapper")}

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
        self._settle(inputs)
        return super()._connect(inputs)

    def _settle(self, inputs: list[SymbolicTensor]) -> None:
        """Take from the inputs of a call what the layer has to know before it is connected to them."""

    def _step_names(self) -> Collection[str]:
        """What a call may give by name, beside initial states."""
        return ()

    def _with_step_inputs(self, tensors: list[SymbolicTensor], named: dict[str, Any]) -> list[SymbolicTensor]:
        """The inputs of a call, with those that it gives by name in their places."""
        return tensors

    def _owner(self) -> "Structure":
        if self._wrapper is not None:
            raise ValueError(f"{self!r}: its weights are those of {self._wrapper!r}, forward ones first")
        return super()._owner()

    def _engine_config(self) -> Spec:
        config = {key: value for key, value in self.config().items() if key not in ("go_backwards", "stateful")}
        if getattr(self, "go_backwards", False):
            config["reverse"] = True
        if self._carries():
            config["return_state"] = True
        return config

    def _infer(self, inputs: list[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        found = super()._infer(inputs)
        carried = self._carries() and not self._leaves() and not self._gives_states()
        return found[:1] if carried else found  # the engine gives the states, too

    def _state_specs(self, inputs: list[tuple[Shape, str]]) -> list[tuple[Shape, str]]:
        """Shapes and dtypes of the states of a stateful layer."""
        return super()._infer(inputs)[1:]

    def _timed_inputs(self, inputs: Sequence[SymbolicTensor]) -> int:
        """How many inputs of a call are sequences; what follows are initial states."""
        return sum(len(tensor.shape) > 2 for tensor in inputs)

    def _gives_states(self) -> bool:
        """Whether callers see the states."""
        return False

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
            If the shapes do not fit.
        """
        if not isinstance(inputs, SymbolicTensor) and self._computes_on(inputs):
            from rekur.layers import own

            if initial_state is not None:
                options["initial_state"] = initial_state
            return own.at_once(self, ((inputs,), options))
        named = {key: options.pop(key) for key in list(options) if key in self._step_names()}
        self._check_call(options)
        tensors = self._with_step_inputs(symbolic(inputs, repr(self)), named)
        if initial_state is not None:
            tensors = [*tensors, *symbolic(flattened(initial_state), f"{self!r}: initial_state")]
        return self._connect(tensors)


def flattened(tensors: Any) -> Any:
    """Lists within a list, such as states by cell, as one list."""
    if not isinstance(tensors, (list, tuple)):
        return tensors
    return [tensor for entry in tensors for tensor in (entry if isinstance(entry, (list, tuple)) else [entry])]


@named_after("rekur.layers", "Layer")
class Directed(Stateful):
    """A layer that reads rows from one end, with Keras's ways to say from which, and whether states are carried."""

    _both_ways = True
    _further: ClassVar[Spec] = {"go_backwards": False, "stateful": False, "zero_output_for_mask": False}

    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    reverse = Setting(boolean)
    go_backwards = Setting(boolean)
    stateful = Setting(boolean)
    zero_output_for_mask = Setting(boolean)

    def config(self) -> Spec:
        return {**super().config(), **{key: True for key in Directed._further if getattr(self, key)}}

    def _check_settings(self) -> None:
        if self.reverse and self.go_backwards:
            raise ValueError(
                f"{self!r}: go_backwards=True and reverse=True both read each row from its end, and differ in the "
                "order of the outputs: give one of them"
            )

    def _is_composed(self) -> bool:
        return self.go_backwards and self.return_sequences  # outputs come in the order in which they were made

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        made = self._in_order()._connect(inputs)
        outputs = made if isinstance(made, list) else [made]
        return [self._turned(outputs[0]), *outputs[1:]]

    def _turned(self, outputs: Any) -> Any:
        """The outputs in the order in which Keras has them; they come in that of the input."""
        if not (self.go_backwards and self.return_sequences):
            return outputs
        from rekur.layers.core import Flip

        return Flip()(outputs)

    def _in_order(self) -> Any:
        """A layer like it, without a name, with outputs in the order of the input."""
        made = copy.deepcopy(self)
        made._name = None
        if made.go_backwards:
            made.go_backwards, made.reverse = False, True
        return made

    def _gives_states(self) -> bool:
        return self.return_state


@named_after("rekur.layers", "Layer")
class Recurrent(Directed, CellOptions):
    """A recurrent layer of any cell, in one direction."""

    _ruled: ClassVar[dict[str, str]] = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}
    _cell_object: Any = None  # its cell, as Keras has one
    _by_cell = False  # whether it was made as the RNN of its cell

    _narrows = True
    precision = Setting(optional_precision)
    units = Setting(integer)
    use_bias = Setting(boolean)

    def __init__(
        self,
        units: int,
        use_bias: bool,
        return_sequences: bool,
        return_state: bool,
        reverse: bool,
        name: str | None,
        options: dict[str, Any],
    ) -> None:
        given = {key: options.pop(key) for key in list(options) if key in self._cell_options}
        if options.get("input_dim") is not None and options.get("input_shape") is None:
            options["input_shape"] = (options.pop("input_length", None), options.pop("input_dim"))
        go_backwards, stateful = options.pop("go_backwards", False), options.pop("stateful", False)
        zero_output_for_mask = options.pop("zero_output_for_mask", False)
        super().__init__(name, options)
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.units = units
        self.use_bias = use_bias
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self.zero_output_for_mask = zero_output_for_mask
        self._take_options(given)

    def _argument_names(self) -> list[str]:
        return [*super()._argument_names(), "zero_output_for_mask", *self._cell_options]

    def config(self) -> Spec:
        """The layer's parameters, options at their defaults apart; a copy."""
        return {**super().config(), **self._option_config()}

    def _check_settings(self) -> None:
        self._check_options()
        super()._check_settings()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_cell_object"}
