"""States that stateful layers carry from one batch to the next."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rekur._validate import Array, Floats


class Carried:
    """The carried states of a model: inputs and outputs of the engine behind those that callers see.

    Parameters
    ----------
    states : list of CarriedStates
    inputs, outputs : int
        How many callers see.
    rows : int, optional
        The batch that an input was made for.
    """

    def __init__(self, states: Sequence[Any], inputs: int, outputs: int, rows: int | None) -> None:
        self._states, self._inputs, self._outputs, self._rows = states, inputs, outputs, rows

    def check(self, rows: int, batch_size: int) -> None:
        """Raises ValueError where a batch of a call would have another number of rows than the states."""
        sizes = {min(batch_size, rows), rows % batch_size or batch_size} if rows > batch_size else {rows}
        for entry in self._states:
            kept = entry.layer._states
            wanted = self._rows if kept is None else len(kept[0])
            wanted = max(sizes) if wanted is None else wanted
            if wrong := sorted(sizes - {wanted}):
                raise ValueError(
                    f"{entry.layer!r} is stateful: its states are those of {wanted} rows, and a batch would have "
                    f"{wrong[0]}; give a multiple of {wanted} rows and batch_size={wanted}"
                    + ("" if self._rows is not None else ", or call reset_states() to begin with another number")
                )

    def inputs(self, given: Sequence[Array]) -> list[Array]:
        """The arrays of the engine's inputs."""
        arrays, rows = list(given), len(given[0])
        for entry in self._states:
            kept = entry.layer._states
            for k, (_, shape) in enumerate(zip(entry.inputs, entry.shapes, strict=False)):
                arrays.append(np.zeros((rows, *shape), np.float32) if kept is None else kept[k])
        return arrays

    def fresh(self, given: Sequence[Array]) -> list[Array]:
        """The same with states of zeros, for any number of rows."""
        zeros = [np.zeros((len(given[0]), *shape), np.float32) for entry in self._states for shape in entry.shapes]
        return [*given, *zeros[: len(self.padded([], "inputs"))]]

    def marks(self, marks: Any) -> Any:
        """What is known of the steps of the engine's inputs (:class:`rekur.training.steps.Marks`)."""
        return None if marks is None else {key: self.padded(arrays, "inputs") for key, arrays in marks.items()}

    def padded(self, entries: Sequence[Any], of: str, filling: Any = None) -> list[Any]:
        """What there is an input or an output, with ``filling`` for those of states."""
        count = sum(len(entry.inputs if of == "inputs" else entry.outputs) for entry in self._states)
        return [*entries, *[filling] * count]

    def keep(self, outputs: Sequence[Floats]) -> list[Floats]:
        """The outputs that callers see; the others are what the next batch begins with."""
        rest = list(outputs[self._outputs :])
        for entry in self._states:
            entry.layer._states, rest = rest[: len(entry.outputs)], rest[len(entry.outputs) :]
        return list(outputs[: self._outputs])
