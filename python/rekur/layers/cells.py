"""The cells of the recurrent layers by themselves, and several of them as one: Keras's spelling."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from rekur._own import named_after
from rekur._spec import Spec
from rekur._validate import Floats, integer
from rekur.layers.base import Layer
from rekur.layers.recurrence import Recurrent
from rekur.layers.recurrent import GRU, LSTM, SimpleRNN
from rekur.layers.symbolic import SymbolicTensor

_OF_A_LAYER = (
    "return_sequences",
    "return_state",
    "reverse",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
    "input_shape",
)
OF_ANY_LAYER = (*_OF_A_LAYER, "trainable")
_OF_ITS_OWN = ("name", "trainable", "lr_scale")  # attributes of a cell that are no settings of its layer


@named_after("rekur.layers", "LSTMCell")
class BuiltInCell(Layer):
    """A cell that is built in: the layer of it, without what says how a layer goes through time."""

    _layer_class: ClassVar[type[Recurrent]]
    _layer: Recurrent
    _owner_of: Any = None  # the layer whose cell it is

    def __init__(self, units: int, *arguments: Any, name: str | None = None, **options: Any) -> None:
        vars(self)["_layer"] = None
        super().__init__(name)
        for key in options:
            if key in _OF_A_LAYER:
                raise TypeError(f"{self!r} has no argument '{key}': it is one of RNN, which goes through time")
        self._layer = self._layer_class(units, *arguments, **options)

    @classmethod
    def _of(cls, layer: Recurrent) -> "BuiltInCell":
        """The cell of a layer."""
        made = cls.__new__(cls)
        vars(made)["_layer"] = None
        Layer.__init__(made, layer._name and f"{layer._name}_cell")
        made._layer = made._owner_of = layer
        return made

    @property
    def state_size(self) -> int | list[int]:
        """The width of the state, or of each where there are several."""
        sizes = [self._layer.units] * len(self._layer._state_names())
        return sizes[0] if len(sizes) == 1 else sizes

    @property
    def output_size(self) -> int:
        return int(self._layer.units)

    def get_initial_state(self, batch_size: int) -> list[Floats]:
        """Zeros ``(batch_size, units)``, one array a state."""
        shape = (integer(batch_size, f"{self!r}: batch_size", 0), self._layer.units)
        return [np.zeros(shape, np.float32) for _ in self._layer._state_names()]

    def get_weights(self) -> list[Floats]:
        return self._layer.get_weights()

    def set_weights(self, weights: Sequence[Any]) -> None:
        self._layer.set_weights(weights)

    def count_params(self) -> int:
        return self._layer.count_params()

    def config(self) -> Spec:
        return {key: value for key, value in self._layer.config().items() if key not in _OF_A_LAYER}

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        """A cell of its keys in the spec."""
        made = cls._of(cls._layer_class.from_config(config))  # type: ignore[arg-type]
        made._owner_of = None
        if name is not None:
            made.name = name
        return made

    @property
    def trainable(self) -> bool:
        """Whether training changes the cell's weights."""
        return self._layer.trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._layer.trainable = value

    @property
    def lr_scale(self) -> float:
        """What the learning rate is multiplied by for the cell, 1 by default."""
        return self._layer.lr_scale

    @lr_scale.setter
    def lr_scale(self, value: float) -> None:
        self._layer.lr_scale = value

    def _claim(self, what: object) -> None:
        """Become the cell of a layer."""
        if self._owner_of is not None:
            raise ValueError(f"{self!r} is the cell of {self._owner_of!r} already: make a cell of its own")
        self._owner_of = what

    def _whole(self, name: str | None, options: dict[str, Any]) -> Recurrent:
        """A layer that goes through time with this cell, whose own it is from now on."""
        layer = self._layer_class.from_config(self.config(), name)
        assert isinstance(layer, Recurrent)
        layer.trainable, layer.lr_scale = self.trainable, self.lr_scale
        for key, value in options.items():
            setattr(layer, key, value)
        self._layer = layer
        layer._cell_object = self
        return layer

    def __getattr__(self, name: str) -> Any:
        layer = vars(self).get("_layer")
        if layer is not None and name in layer._settable() and name not in _OF_A_LAYER:
            return getattr(layer, name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        layer = vars(self).get("_layer")
        if (
            layer is not None
            and name in layer._settable()
            and name not in (*_OF_A_LAYER, "name", "trainable", "lr_scale")
        ):
            setattr(layer, name, value)
        else:
            super().__setattr__(name, value)

    _step: Recurrent | None = None  # the layer that takes a single step

    def __call__(self, inputs: Any, states: Any = None, **options: Any) -> Any:
        """One step, for loops of one's own.

        Parameters
        ----------
        inputs : SymbolicTensor or array of shape (B, I)
        states : list of them, each (B, H)
            As ``get_initial_state`` gives them.

        Returns
        -------
        (output, list of the new states)

        Raises
        ------
        ValueError
            If a layer without ``return_state=True`` has the cell already, or the shapes do not fit.
        """
        self._check_call(options)
        if states is None:
            raise ValueError(
                f"{self!r} is a step of a recurrent layer: call it on (inputs, states), or go through time with "
                f"RNN({self.type}({self._layer.units}))"
            )
        from rekur.layers import RepeatVector

        if self._step is None:
            self._step = self._of_a_layer() or self._by_itself()
        made = self._step(RepeatVector(1)(inputs), initial_state=states)
        output = made[0][:, 0] if self._step.return_sequences else made[0]
        return output, list(made[1:])

    def _of_a_layer(self) -> Recurrent | None:
        """The layer through time that has the cell, which can take its single steps, too."""
        layer = self._owner_of
        if not isinstance(layer, Recurrent) or layer is not self._layer or layer.stateful:
            return None
        if not layer.return_state:
            raise ValueError(
                f"{self!r} is the cell of {layer!r}: single steps have its weights as well where that one is made with "
                "return_state=True, or make a cell of its own"
            )
        return layer

    def _by_itself(self) -> Recurrent:
        self._claim(self)
        return self._whole(None, {"return_state": True})

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        raise ValueError(
            f"{self!r} is a step of a recurrent layer, not a layer: RNN({self.type}({self._layer.units})) goes through "
            "time with it"
        )


class SimpleRNNCell(BuiltInCell):
    """The cell of :class:`SimpleRNN`, whose parameters it has: for :class:`RNN` and :class:`StackedRNNCells`."""

    type = "SimpleRNNCell"
    _layer_class = SimpleRNN


class LSTMCell(BuiltInCell):
    """The cell of :class:`LSTM`, whose parameters it has: for :class:`RNN` and :class:`StackedRNNCells`."""

    type = "LSTMCell"
    _layer_class = LSTM


class GRUCell(BuiltInCell):
    """The cell of :class:`GRU`, whose parameters it has: for :class:`RNN` and :class:`StackedRNNCells`."""

    type = "GRUCell"
    _layer_class = GRU


def is_own(cell: object) -> bool:
    """Whether it is a layer of the user's that says what a step does."""
    return isinstance(cell, Layer) and cell._own and hasattr(cell, "state_size")


def _adapted(cell: Any) -> Any:
    """A cell among those of a stack."""
    if isinstance(cell, BuiltInCell):
        return cell
    from rekur.layers.keras_cells import KerasCell  # which few need

    return KerasCell(cell)


CELLS: dict[str, type[BuiltInCell]] = {cell.type: cell for cell in (SimpleRNNCell, LSTMCell, GRUCell)}


def cell_of(layer: Recurrent) -> BuiltInCell:
    """The cell of a layer that is built in."""
    if layer._cell_object is None:
        layer._cell_object = next(cell for cell in CELLS.values() if cell._layer_class is type(layer))._of(layer)
    found: BuiltInCell = layer._cell_object
    return found


class StackedRNNCells(Layer):
    """Several cells as one, each of which reads what the one before it gives: for :class:`RNN`.

    Parameters
    ----------
    cells : list of LSTMCell, GRUCell or SimpleRNNCell
    """

    type = "StackedRNNCells"

    def __init__(self, cells: Sequence[Any], *, name: str | None = None, **options: Any) -> None:
        super().__init__(name, options)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise TypeError(f"{self!r}: expected a list of cells, got {cells!r}")
        for k, cell in enumerate(cells):
            if not isinstance(cell, BuiltInCell) and not is_own(cell):
                raise TypeError(
                    f"{self!r}: cells[{k}]: expected an LSTMCell, GRUCell or SimpleRNNCell, got {cell!r}; layers on "
                    "top of one another stack cells of any kind"
                )
        self._cells: list[Any] = [_adapted(cell) for cell in cells]

    @property
    def cells(self) -> list[Any]:
        """The cells; a list to read."""
        return [cell._cell if not isinstance(cell, BuiltInCell) else cell for cell in self._cells]

    @property
    def state_size(self) -> list[int | list[int]]:
        """The width of each cell's state, a list where it has several."""
        return [cell.state_size for cell in self._cells]

    @property
    def output_size(self) -> int:
        return int(self._cells[-1].output_size)

    def get_initial_state(self, batch_size: int) -> list[list[Floats]]:
        """Zeros, a list of arrays a cell."""
        return [cell.get_initial_state(batch_size) for cell in self._cells]

    def get_weights(self) -> list[Floats]:
        return [w for cell in self._cells for w in cell.get_weights()]

    def config(self) -> Spec:
        return {"cells": [{"type": cell.type, **cell.config()} for cell in self._cells]}

    @classmethod
    def _of_config(cls, config: Spec, name: str | None) -> "Layer":
        cells = [
            CELLS[cell["type"]].from_config({k: v for k, v in cell.items() if k != "type"})
            if isinstance(cell, dict)
            else cell
            for cell in config["cells"]
        ]
        return cls(cells, name=name)

    def _connect(self, inputs: list[SymbolicTensor]) -> Any:
        raise ValueError(f"{self!r} is a step of a recurrent layer, not a layer: RNN(cells) goes through time with it")
