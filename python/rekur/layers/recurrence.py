"""What recurrent layers share, whatever their cell, and Bidirectional."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rekur._own import named_after
from rekur._settings import Setting, frozen
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean, integer
from rekur.layers.base import Layer, SymbolicTensor, symbolic
from rekur.layers.cell_options import CellOptions

if TYPE_CHECKING:
    from rekur.models.structure import Structure

_MERGE_MODES = ("concat", "sum", "mul", "ave")


def _merge_mode(value: object, what: str) -> str:
    if value is None:
        raise ValueError(
            f"{what} None, both outputs by themselves, is not here yet: call two layers, one of them with reverse=True"
        )
    if not isinstance(value, str) or value not in _MERGE_MODES:
        raise ValueError(f"{what}: unknown merge_mode {value!r}{did_you_mean(value, _MERGE_MODES)}")
    return value


@named_after("rekur.layers", "Layer")
class Stateful(Layer):
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
        self._check_call(options)
        tensors = symbolic(inputs, repr(self))
        if initial_state is not None:
            tensors = [*tensors, *symbolic(initial_state, f"{self!r}: initial_state")]
        return self._connect(tensors)


@named_after("rekur.layers", "Layer")
class Recurrent(Stateful, CellOptions):
    """A recurrent layer of any cell, in one direction."""

    _wrapper: "Bidirectional | None" = None

    units = Setting(integer)
    use_bias = Setting(boolean)
    return_sequences = Setting(boolean)
    return_state = Setting(boolean)
    reverse = Setting(boolean)

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
        super().__init__(name, options)
        self.units = units
        self.use_bias = use_bias
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.reverse = reverse
        self._take_options(given)

    def _argument_names(self) -> list[str]:
        return [*super()._argument_names(), *self._cell_options]

    def config(self) -> Spec:
        """The layer's keys in the spec, options at their defaults apart; a copy."""
        return {**super().config(), **self._option_config()}

    def _check_settings(self) -> None:
        self._check_options()

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

    def _owner(self) -> "Structure":
        if self._wrapper is not None:
            raise ValueError(f"{self!r}: its weights are those of {self._wrapper!r}, forward ones first")
        return super()._owner()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_wrapper"}


class Bidirectional(Stateful):
    """A recurrent layer and its mirror image that reads each row from its end. Schuster and Paliwal, IEEE TSP 45, 1997.

    Parameters
    ----------
    layer : RNN, SimpleRNN, LSTM or GRU
        Not reversed, not connected; its name and input_shape, if any, become this layer's where it has none of its own.
    merge_mode : {"concat", "sum", "mul", "ave"}
        How the two outputs are joined.
    residual : bool
        Whether the output is x + what the directions give together, where it has as many features as x. Without
        ``return_sequences`` it is x at the row's last step.

    Notes
    -----
    Output ``(B, T, 2H)`` or ``(B, 2H)`` for concat, else ``(B, T, H)`` or ``(B, H)``. Without ``return_sequences`` the
    backward layer's output is that at the first step. Weights: the forward layer's, then the backward layer's.
    """

    type = "Bidirectional"
    _keys = ("layer", "merge_mode", "residual")
    _advice: ClassVar[dict[str, str]] = {
        **Layer._advice,
        "layer": "it says in the spec's words what inner is; set inner, or the parameters of inner",
    }

    merge_mode = Setting(_merge_mode)
    residual = Setting(boolean)

    def __init__(
        self,
        layer: Layer,
        merge_mode: str = "concat",
        *,
        residual: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(layer, Recurrent) and layer.input_shape is not None:
            options.setdefault("input_shape", layer.input_shape)
        super().__init__(name, options)
        self.merge_mode = merge_mode
        self.residual = residual
        self._name = self._name or getattr(layer, "_name", None)
        self._inner = self._take(layer)

    @property
    def inner(self) -> Recurrent:
        """The recurrent layer; its parameters may be set until this layer is called."""
        return self._inner

    @inner.setter
    def inner(self, layer: Layer) -> None:
        self._may_set("inner")
        before, self._inner = self._inner, self._take(layer)
        if before is not layer:
            before._wrapper = None

    def _take(self, layer: object) -> Recurrent:
        if not isinstance(layer, Recurrent):
            raise TypeError(f"{self!r}: expected an RNN, SimpleRNN, LSTM or GRU layer, got {layer!r}")
        if layer._is_connected():
            raise ValueError(f"{self!r}: {layer!r} was called before; make a layer of its own")
        if layer._wrapper is not None and layer._wrapper is not self:
            raise ValueError(f"{self!r}: {layer!r} is a part of {layer._wrapper!r}; make a layer of its own")
        self._check_inner(layer)
        layer._wrapper = self
        return layer

    def _check_inner(self, layer: Recurrent) -> None:
        if layer.reverse:
            raise ValueError(
                f"{self!r}: {layer!r} must not have reverse=True; one of the two directions is reversed already"
            )
        if layer.residual:
            raise ValueError(
                f"{self!r}: {layer!r} must not have residual=True: give residual=True to Bidirectional, whose output "
                "then is x + what both directions give together"
            )

    def config(self) -> Spec:
        return {k: v for k, v in super().config().items() if k != "residual" or v}

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
        from rekur.layers import TYPES

        inner = {k: v for k, v in config["layer"].items() if k != "type"}
        layer = TYPES[config["layer"]["type"]].from_config(inner)
        return cls(layer, **{k: v for k, v in config.items() if k != "layer"}, name=name)
