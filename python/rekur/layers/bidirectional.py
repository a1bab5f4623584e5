"""Bidirectional: a layer that reads rows from their beginning, and one that reads them from their end."""

import copy
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from rekur._settings import Setting, frozen
from rekur._spec import Spec
from rekur._validate import boolean, did_you_mean
from rekur.layers.base import Layer
from rekur.layers.recurrence import Directed, Recurrent, Stateful
from rekur.layers.symbolic import SymbolicTensor

_MERGE_MODES = ("concat", "sum", "mul", "ave")


def _merge_mode(value: object, what: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in _MERGE_MODES:
        raise ValueError(f"{what}: unknown merge_mode {value!r}{did_you_mean(value, _MERGE_MODES)}")
    return value


class Bidirectional(Stateful):
    """A recurrent layer and one that reads each row from its end. Schuster and Paliwal, IEEE TSP 45, 1997.

    Parameters
    ----------
    layer : RNN, SimpleRNN, LSTM, GRU, ConvLSTM1D, ConvLSTM2D, GatedLinearAttention, MLSTM or SelectiveSSM
        Not reversed, not connected; its name and input_shape, if any, become this layer's where it has none of its own.
    merge_mode : {"concat", "sum", "mul", "ave"} or None
        How the two outputs are joined; None: both by themselves.
    residual : bool
        Whether the output is x + what the directions give together, where it has as many features as x. Without
        ``return_sequences`` it is x at the row's last step. Not with a ``backward_layer`` or ``merge_mode=None``.
    backward_layer : a layer of those types, optional
        The layer that reads from the end, with ``go_backwards=True`` if its type has that; as ``layer`` is by default.
        It may be of another cell and, for concat, of other units.
    weights : list of arrays, optional
        What the weights begin with, in the order of ``get_weights``.

    Notes
    -----
    Output ``(B, T, 2H)`` or ``(B, 2H)`` for concat, else ``(B, T, H)`` or ``(B, H)``; for None a list of two of those.
    Without ``return_sequences`` the backward layer's output is that at the first step. With ``return_state`` the
    forward layer's states follow, then the backward layer's. Where a mask leaves a step out, sequences have zeros, as
    in Keras; those of layers whose state is a matrix keep the output that was there before, of the backward layer the
    one after. Step inputs of an RNN's cell, behind x in a list or by name, are those of both directions. Weights: the
    forward layer's, then the backward layer's.
    """

    type = "Bidirectional"
    _keys = ("layer", "merge_mode", "residual")
    _further: ClassVar[Spec] = {"weights": None, "backward_layer": None}
    _advice: ClassVar[dict[str, str]] = {
        **Layer._advice,
        "layer": "it says in the spec's words what inner is; set inner, or the parameters of inner",
    }

    merge_mode = Setting(_merge_mode)
    residual = Setting(boolean)

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        *,
        residual: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(layer, Stateful) and layer.input_shape is not None:
            options.setdefault("input_shape", layer.input_shape)
        weights, backward = options.pop("weights", None), options.pop("backward_layer", None)
        super().__init__(name, options)
        self._inner: Any = None
        self._backward: Any = None
        self.merge_mode = merge_mode
        self.residual = residual
        self._name = self._name or getattr(layer, "_name", None)
        self._inner = self._take(layer)
        self._backward = None if backward is None else self._take(backward)
        self._begin_with(weights)
        self._check_settings()

    @property
    def inner(self) -> Any:
        """The recurrent layer; its parameters may be set until this layer is called."""
        return self._inner

    @inner.setter
    def inner(self, layer: Layer) -> None:
        self._may_set("inner")
        before, self._inner = self._inner, self._take(layer)
        if before is not layer:
            before._wrapper = None
        self._check_settings()

    @property
    def forward_layer(self) -> Any:
        """The layer that reads each row from its beginning."""
        return self._inner

    @property
    def backward_layer(self) -> Any:
        """The layer that reads each row from its end; where none was given, a description of it."""
        return self._mirror() if self._backward is None else self._backward

    @property
    def stateful(self) -> bool:
        return self._inner is not None and self._inner._carries()

    def _take(self, layer: object) -> Any:
        if not isinstance(layer, Stateful) or not layer._both_ways:
            raise TypeError(
                f"{self!r}: expected an RNN, SimpleRNN, LSTM or GRU layer, or one of ConvLSTM, GatedLinearAttention, "
                f"MLSTM or SelectiveSSM, got {layer!r}"
            )
        if layer._is_connected() or (layer._wrapper is not None and layer._wrapper is not self):
            layer = copy.deepcopy(layer)  # with weights of its own, as in Keras
        self._check_inner(layer)
        layer._wrapper = self
        return layer

    def _check_inner(self, layer: Any) -> None:
        if getattr(layer, "reverse", False):
            raise ValueError(
                f"{self!r}: {layer!r} must not have reverse=True; one of the two directions is reversed already"
            )
        if layer._activity is not None:
            raise ValueError(f"{self!r}: give activity_regularizer= to Bidirectional, not to {layer!r}")
        if getattr(layer, "residual", False):
            raise ValueError(
                f"{self!r}: {layer!r} must not have residual=True: give residual=True to Bidirectional, whose output "
                "then is x + what both directions give together"
            )
        if self._inner is not None:
            self._check_settings()

    def _check_settings(self) -> None:
        forward, backward = self._inner, self._backward
        if forward is None:
            return
        if self.residual and self._is_composed():
            raise ValueError(f"{self!r}: residual=True goes with two directions of one kind and a merge_mode")
        if backward is None:
            return
        if _reads_from_end(forward, False) == _reads_from_end(backward, True):
            raise ValueError(
                f"{self!r}: one direction reads from the end: expected go_backwards=True of {backward!r} and not of "
                f"{forward!r}, got {_reads_from_end(forward, False)} of both"
            )
        for key in ("stateful", "return_sequences", "return_state"):
            there, back = (getattr(layer, key, False) for layer in (forward, backward))
            if there != back:
                raise ValueError(
                    f"{self!r}: {key} must be the same of both directions, got {there} of {forward!r} "
                    f"and {back} of {backward!r}"
                )

    # The engine has two directions of one kind; everything else is put together of two layers.

    def _is_composed(self) -> bool:
        inner = self._inner
        return (
            self._backward is not None
            or self.merge_mode is None
            or not isinstance(inner, Recurrent)
            or inner.go_backwards
        )

    def _mirror(self) -> Any:
        made = copy.deepcopy(self._inner)
        if isinstance(made, Directed):
            made.go_backwards = not self._inner.go_backwards
        made._name = made._name and f"backward_{made._name.removeprefix('backward_')}"
        return made

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur.layers import core, merging

        forward, backward = copy.deepcopy(self._inner), copy.deepcopy(self._backward or self._mirror())
        for layer, label in ((forward, "forward"), (backward, "backward")):
            layer._name = f"{label}_{layer.name.removeprefix(f'{label}_')}"
            if isinstance(layer, Directed):
                layer.zero_output_for_mask = layer.return_sequences  # as Keras has it
        timed = self._timed_inputs(inputs)
        steps, states = inputs[:timed], inputs[timed:]
        first = len(states) // 2
        if isinstance(forward, Recurrent) and isinstance(backward, Recurrent):
            count, further = len(forward._state_names()), len(backward._state_names())
            first = count if len(states) == count + further else first
        there = _run(forward, [*steps, *states[:first]], _reads_from_end(forward, False))
        back = _run(backward, [*steps, *states[first:]], _reads_from_end(backward, True))
        found: list[SymbolicTensor] = []
        if self._gives_states():
            found = [*there[1:], *back[1:]]
            there, back = there[0], back[0]
        if forward.return_sequences and not _reads_from_end(backward, True):
            back = core.Flip()(back)  # it is flipped whichever way it read, as in Keras
        if self.merge_mode is None:
            return [there, back, *found]
        if self.merge_mode == "concat":
            joined = merging.Concatenate()([there, back])
        elif self.merge_mode == "mul":
            joined = merging.Multiply()([there, back])
        else:
            joined = merging.Add()([there, back])
        if self.merge_mode == "ave":
            joined = core.Rescaling(0.5)(joined)
        return [joined, *found]

    def _gives_states(self) -> bool:
        return bool(self._inner.return_state)

    # Step inputs are those of both directions.

    def _timed_inputs(self, inputs: Sequence[SymbolicTensor]) -> int:
        found: int = self._inner._timed_inputs(inputs)
        return found

    def _settle(self, inputs: list[SymbolicTensor]) -> None:
        for layer in (self._inner, self._backward):
            if layer is not None:
                layer._settle(inputs)

    def _step_names(self) -> Collection[str]:
        found: Collection[str] = self._inner._step_names()
        return found

    def _with_step_inputs(self, tensors: list[SymbolicTensor], named: dict[str, Any]) -> list[SymbolicTensor]:
        if self._backward is not None:
            for name in named:
                if name not in self._backward._step_names():
                    raise TypeError(f"{self!r}: {self._backward!r}, which reads from the end, takes no '{name}'")
            self._backward._with_step_inputs(tensors, named)
        found: list[SymbolicTensor] = self._inner._with_step_inputs(tensors, named)
        return found

    def _narrowed(self) -> Layer | None:
        return self._inner if self._inner._narrows else None

    def config(self) -> Spec:
        found = {k: v for k, v in super().config().items() if k != "residual" or v}
        if self._backward is not None:
            found["backward_layer"] = {"type": self._backward.type, **self._backward.config()}
        return found

    def _engine_config(self) -> Spec:
        inner = self._inner._engine_config()
        rules = {key: inner.pop(key) for key in ("regularizers", "constraints") if key in inner}
        return {**self.config(), "layer": {"type": self._inner.type, **inner}, **rules}

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {**state, "_inner": copy.deepcopy(self._inner), "_backward": copy.deepcopy(self._backward)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        for layer in (self._inner, self._backward):
            if layer is not None:
                layer._wrapper = self

    @property
    def layer(self) -> Spec:
        """The recurrent layer as the spec has it; a description, to be read."""
        described: Spec = frozen({"type": self._inner.type, **self._inner.config()})
        return described

    def get_config(self) -> dict[str, Any]:
        found = super().get_config()
        for key, layer in (("layer", self._inner), ("backward_layer", self._backward)):
            if layer is not None and "cell" in found[key]:
                found[key]["cell"] = layer.get_config()["cell"]
        return found

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        given = dict(config)
        rules: Spec = {key: given.pop(key) for key in ("regularizers", "constraints") if key in given}
        if "layer" not in given:
            raise ValueError(f"Bidirectional '{name}': its configuration has no 'layer', only {', '.join(given)}")
        inner = given.pop("layer")
        layer = inner if isinstance(inner, Layer) else _layer_of({**inner, **rules})
        backward = given.pop("backward_layer", None)
        return cls(layer, backward_layer=None if backward is None else _layer_of(backward), **given, name=name)


def _reads_from_end(layer: Any, backward: bool) -> bool:
    """Whether a direction does: as its go_backwards says, or, without one, as its place does."""
    return layer.go_backwards if isinstance(layer, Directed) else backward


def _run(layer: Any, inputs: list[SymbolicTensor], from_end: bool) -> Any:
    """What a direction gives, in the order of the input."""
    if not from_end:
        return layer._connect(inputs)
    if isinstance(layer, Directed):
        made = layer._in_order()
        made._name = layer._name
        return made._connect(inputs)
    layer.reverse = True
    return layer._connect(inputs)


def _layer_of(described: Spec | Layer) -> Layer:
    if isinstance(described, Layer):
        return described
    from rekur.layers import TYPES

    if (kind := described.get("type")) not in TYPES:
        raise ValueError(f"Bidirectional: unknown layer {kind!r}{did_you_mean(str(kind), TYPES)}")
    return TYPES[kind].from_config({k: v for k, v in described.items() if k != "type"})
