"""Cells as Keras's classes: ``call(inputs, states)`` is run once, with symbols, and what it does is the cell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rekur import _structure
from rekur._cell import as_cell
from rekur._cell_trace import CellTrace
from rekur._spec import Spec
from rekur._trace import Symbol
from rekur._validate import Floats, integer
from rekur.layers.cells_in_time import CellsInTime
from rekur.layers.own import further
from rekur.layers.symbolic import SymbolicTensor
from rekur.layers.weights import Weight

_TAKEN = ("kernel", "recurrent_kernel", "bias", "recurrent_bias", "x", "h", "c")  # the engine's names, and the step's
_OUTPUT = "output"  # the state that stands for an output that is no state


def state_sizes(cell: Any) -> list[int]:
    """The widths of a cell's states."""
    sizes = cell.state_size
    found = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
    widths = [integer(n, f"{cell!r}: state_size") for n in found]
    if not widths or len(set(widths)) > 1:
        raise ValueError(f"{cell!r}: state_size: expected states of one width, got {sizes!r}")
    return widths


class _Trace(CellTrace):
    """A step whose products are those with weights of the cell."""

    def __init__(self, what: str, states: Sequence[str], weights: Sequence[Weight], as_blocks: bool) -> None:
        self._words = {id(weight): _word(weight.name) for weight in weights}
        super().__init__(what, "x", (), states, [self._words[id(weight)] for weight in weights])
        self.kernels: list[Weight] = []
        self.recurrent: list[tuple[int, Weight]] = []  # with the value that each multiplies
        self._as_blocks = as_blocks

    def product_with(self, symbol: Symbol, weight: Weight) -> Symbol:
        word = self._words.get(id(weight)) or _word(weight.name)
        index = symbol._index
        if index < len(self._found) and self._found[index].kind == "x":
            if weight not in self.kernels:
                self.kernels.append(weight)
            return self.attribute(symbol, word)  # type: ignore[no-any-return]
        if (index, weight) not in self.recurrent:
            self.recurrent.append((index, weight))
        if self._as_blocks:
            return self.attribute(symbol, word)  # type: ignore[no-any-return]
        return self.matrix_product(symbol, self.given[word])  # type: ignore[no-any-return]

    def matrix_product(self, symbol: Symbol, matrix: Any) -> Any:
        if isinstance(matrix, Weight):
            return self.product_with(symbol, matrix)
        return super().matrix_product(symbol, matrix)

    def _index(self, operand: Any) -> int:
        if isinstance(operand, Weight):
            return self.given[self._words[id(operand)]]._index
        return super()._index(operand)


def _word(name: str) -> str:
    found = re.sub(r"[^A-Za-z0-9_]", "_", name)
    found = found if found[:1].isalpha() else f"w_{found}"
    return f"{found}_" if found in _TAKEN else found


def program_of(cell: Any, features: int) -> tuple[Any, dict[str, Any], bool]:
    """The cell as rekur's, what its layer is made with, and whether its output is a state of its own.

    Raises
    ------
    TypeError, ValueError
        For what equations cannot say, naming the line.
    """
    if not cell.built:
        cell.build((None, features))
        cell._built = True
    units = state_sizes(cell)[0]
    names = ["h", "c", "s3", "s4", "s5"][: len(state_sizes(cell))]
    weights = list(cell._own_weights)
    if not all(weight.trainable for weight in weights):
        raise ValueError(f"{cell!r}: all weights of a cell are trained, or with trainable=False of RNN none")
    first = _run(cell, names, weights, False)
    sources = {weight for _, weight in first[0].recurrent}
    as_blocks = len(first[0].recurrent) == 1
    left = [w for w in weights if w not in first[0].kernels and not (as_blocks and w in sources)]
    trace, output, states = _run(cell, names, left, as_blocks)
    for weight in trace.kernels:
        _check(weight, (features, units), cell)
    for weight in sources:
        _check(weight, (units, units), cell)
    for weight in left:
        if weight not in sources:
            _check(weight, (units,), cell)
    own_output = not (isinstance(output, Symbol) and output._index == states[0]._index)
    if own_output:
        trace.states = [_OUTPUT, *names]
        trace._found.append(type(trace._found[0])("state", _OUTPUT))
    program = trace.program([output, *states] if own_output else list(states), None)
    how = {trace._words[id(w)]: w.initializer for w in left}
    spec: Spec = {
        "name": re.sub(r"[^A-Za-z0-9_.-]", "_", cell.name),
        "states": program["states"],
        "kernel": program["kernel"],
        "recurrent": program["recurrent"],
        "equations": program["equations"],
    }
    recurrent = next(iter(sources)).initializer if as_blocks else "orthogonal"
    for key in ("weights", "matrices"):
        if program[key]:
            spec[key] = [{"name": name, "initializer": how[name]} for name in program[key]]
    options: dict[str, Any] = {"use_bias": False}
    kernels = {repr(weight.initializer) for weight in trace.kernels}
    if len(kernels) > 1:
        raise ValueError(f"{cell!r}: weights that multiply the input are drawn alike, got {', '.join(sorted(kernels))}")
    if trace.kernels:
        options["kernel_initializer"] = trace.kernels[0].initializer
    if as_blocks:
        options["recurrent_initializer"] = recurrent
    return as_cell(spec, repr(cell)), {"units": units, **options}, own_output


def _run(cell: Any, names: Sequence[str], weights: Sequence[Weight], as_blocks: bool) -> tuple[_Trace, Any, list[Any]]:
    trace = _Trace(repr(cell), names, weights, as_blocks)
    given = [trace.given[name] for name in names]
    returned = cell.call(trace.given["x"], given, **further(cell.call, {}))
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise TypeError(f"{cell!r}: call must return (output, new states), got {returned!r}")
    output, new = returned
    states = _structure.flatten(new)
    if len(states) != len(names) or not all(isinstance(s, Symbol) for s in [output, *states]):
        raise ValueError(f"{cell!r}: call must return {len(names)} new states, as state_size says, got {new!r}")
    return trace, output, states


def _check(weight: Weight, wanted: tuple[int, ...], cell: Any) -> None:
    if weight.shape != wanted:
        raise ValueError(
            f"{cell!r}: weight '{weight.name}' is used as one of shape {wanted}, and has {weight.shape}; a product for "
            "several gates is written as one weight for each"
        )


class CellRNN(CellsInTime):
    """What RNN makes of a cell of one's own. It is saved as the recurrent layer that was traced."""

    def _saved_as_graph(self) -> bool:
        return True

    def _state_names(self) -> list[str]:
        return [f"s{k}" for k in range(len(state_sizes(self._cell)))]

    def _compose(self, inputs: list[SymbolicTensor]) -> Any:
        from rekur.layers.rnn import RNN

        x, states = inputs[0], list(inputs[1:])
        features = x.shape[-1]
        if features is None:
            raise ValueError(f"{self!r}: the number of features must be known, got shape {x.shape}")
        program, options, own_output = program_of(self._cell, features)
        if states and own_output:
            states = [states[0], *states]  # nobody reads what the output begins with
        layer = RNN(
            program, **options, return_sequences=self.return_sequences, return_state=self.return_state,
            reverse=self.go_backwards or self.reverse, stateful=self.stateful,
            zero_output_for_mask=self.zero_output_for_mask, name=None,
        )  # fmt: skip
        made = layer._connect([x, *states])
        found = made if isinstance(made, list) else [made]
        return [self._turned(found[0]), *found[2 if own_output else 1 :]]


class KerasCell:
    """A cell of one's own among the cells of a stack."""

    def __init__(self, cell: Any) -> None:
        self.type = cell.type
        self._cell = cell
        self._made: CellRNN | None = None
        self._claimed: Any = None

    def _claim(self, what: object) -> None:
        if self._claimed is not None:
            raise ValueError(f"{self._cell!r} is the cell of {self._claimed!r} already: make a cell of its own")
        self._claimed = what

    def _whole(self, name: str | None, options: dict[str, Any]) -> CellRNN:
        self._made = CellRNN(self._cell, name=name, **options)
        return self._made

    def config(self) -> Spec:
        """Its name: what it is, its code says."""
        return {"name": self._cell.name}

    @property
    def _layer(self) -> Any:
        return self

    def _state_names(self) -> list[str]:
        return [f"s{k}" for k in range(len(state_sizes(self._cell)))]

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> int:
        return state_sizes(self._cell)[0]

    def get_initial_state(self, batch_size: int) -> list[Floats]:
        return [np.zeros((batch_size, n), np.float32) for n in state_sizes(self._cell)]

    def get_weights(self) -> list[Floats]:
        return [] if self._made is None else self._made.get_weights()
