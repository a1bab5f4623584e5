"""What RNN makes of cells that are objects: the layer of a cell that is built in, a stack of layers of several."""

import inspect
from collections.abc import Sequence
from typing import Any

from rekur._own import named_after
from rekur._spec import Spec
from rekur.layers.base import Layer
from rekur.layers.cells import OF_ANY_LAYER, BuiltInCell, StackedRNNCells, is_own
from rekur.layers.recurrence import Directed
from rekur.layers.symbolic import SymbolicTensor


@named_after("rekur.layers", "RNN")
class CellsInTime(Directed):
    """What RNN makes of cells that say themselves what a step does."""

    type = "RNN"

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        *,
        reverse: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, options)
        self._cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.zero_output_for_mask = zero_output_for_mask
        self.reverse = reverse
        self._check_settings()

    @property
    def cell(self) -> Any:
        return self._cell

    @property
    def name(self) -> str:
        return self._name or "rnn"

    @name.setter
    def name(self, name: str) -> None:
        Layer.name.fset(self, name)  # type: ignore[attr-defined]

    def _is_composed(self) -> bool:
        return True

    def get_config(self) -> dict[str, Any]:
        """The settings; a cell of one's own by its class and ``get_config`` of it."""
        keys = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask", "reverse")
        found = {**Layer.get_config(self), **{key: getattr(self, key) for key in keys}}
        return {**found, "cell": described(self._cell)}


def described(cell: Any) -> Any:
    """A cell of one's own as data."""
    from rekur.models.configs import serialize

    return serialize(cell)


class StackedRNN(CellsInTime):
    """What RNN makes of a list of cells: a stack of layers in one.

    Weights: those of the cells, in order. States: those of the first cell, then of the second, ….
    """

    def __init__(self, cell: StackedRNNCells, *arguments: Any, **options: Any) -> None:
        super().__init__(cell, *arguments, **options)
        for part in cell._cells:
            part._claim(self)

    def _argument_names(self) -> list[str]:
        return [*super()._argument_names(), *inspect.signature(CellsInTime.__init__).parameters]

    def _state_count(self) -> int:
        return sum(len(cell._layer._state_names()) for cell in self._cell._cells)

    def __call__(self, inputs: Any, initial_state: Any = None, **options: Any) -> Any:
        found = super().__call__(inputs, initial_state, **options)
        if not self.return_state or not isinstance(found[0], SymbolicTensor):  # of arrays it is nested already
            return found
        return self._nested(found)

    def _nested(self, found: Sequence[Any]) -> list[Any]:
        """The output, and the states of each cell, a list where it has several, as in Keras."""
        left = list(found)
        given: list[Any] = [left.pop(0)]
        for cell in self._cell._cells:
            states = [left.pop(0) for _ in cell._layer._state_names()]
            given.append(states[0] if len(states) == 1 else states)
        return given

    def compute_output_shape(self, input_shape: Any, *states: Any) -> Any:
        found = super().compute_output_shape(input_shape, *states)
        return self._nested(found) if self.return_state else found

    def _saved_as_graph(self) -> bool:
        return any(not isinstance(cell, BuiltInCell) for cell in self._cell._cells)

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        x, states, last = inputs[0], list(inputs[1:]), len(self._cell._cells) - 1
        found: list[SymbolicTensor] = []
        if states and len(states) != self._state_count():
            raise ValueError(f"{self!r}: expected {self._state_count()} initial states, got {len(states)}")
        for k, cell in enumerate(self._cell._cells):
            layer = cell._whole(
                None,
                {
                    "return_sequences": k < last or self.return_sequences,
                    "return_state": self.return_state,
                    "stateful": self.stateful,
                    "reverse": self.go_backwards or self.reverse,
                    "zero_output_for_mask": k == last and self.zero_output_for_mask,
                },
            )
            count = len(layer._state_names())
            given, states = states[:count], states[count:]
            made = layer._connect([x, *given])
            x = made[0] if self.return_state else made
            found += made[1:] if self.return_state else []
        return [self._turned(x), *found]

    def get_config(self) -> dict[str, Any]:
        """The settings; cells of one's own by their classes and ``get_config`` of them."""
        found = super(CellsInTime, self).get_config()
        made = [
            described(cell._cell) if not isinstance(cell, BuiltInCell) else {"type": cell.type, **cell.config()}
            for cell in self._cell._cells
        ]
        return {**found, "cells": made}

    def config(self) -> Spec:
        return {
            **super().config(),
            **self._cell.config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            **{key: True for key in ("zero_output_for_mask", "reverse") if getattr(self, key)},
        }

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        cells = StackedRNNCells.from_config({"cells": config["cells"]})
        rest = {key: value for key, value in config.items() if key != "cells"}
        return cls(cells, **rest, name=name)  # type: ignore[arg-type]


def layer_with(cell: Any, name: str | None, given: dict[str, Any]) -> Layer | None:
    """What RNN is of a cell that is built in, or of several; None of any other."""
    if isinstance(cell, (list, tuple)):
        cell = StackedRNNCells(cell)
    if isinstance(cell, StackedRNNCells):
        return StackedRNN(cell, name=name, **given)
    if is_own(cell):
        from rekur.layers.keras_cells import CellRNN

        return CellRNN(cell, name=name, **given)
    if not isinstance(cell, BuiltInCell):
        return None
    options = {key: given.pop(key) for key in list(given) if key in OF_ANY_LAYER}
    layer = cell._whole(name, options)
    layer._by_cell = True
    if given:
        from rekur._keras import arguments

        arguments.check("RNN", repr(layer), given, (*OF_ANY_LAYER, "name"))
    layer._check_settings()
    cell._claim(layer)
    return layer
