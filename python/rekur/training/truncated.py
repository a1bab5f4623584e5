"""Back-propagation through windows of a sequence, whose states go on from window to window.

Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories", 1990.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur import _core
from rekur._spec import dumps, split_reference
from rekur._validate import fits, show
from rekur.losses import Numpy
from rekur.training.batch import Batch, Index, mapped
from rekur.training.bound import Bound
from rekur.training.carried import Carried
from rekur.training.compiled import Compiled
from rekur.training.data import Port, Rows, per_port
from rekur.training.feed import Feed
from rekur.training.sources import ByRows, Table, Task
from rekur.training.steps import make_marks

if TYPE_CHECKING:
    from rekur.layers import Layer
    from rekur.models.structure import Structure


BY_EPOCHS = "an epoch can only be resumed from its beginning; back up after epochs: save_freq='epoch'"


class Truncated:
    """A model whose sequences come in windows of ``steps``: the engine's graph with all states as inputs and outputs.

    Parameters
    ----------
    model : Structure
        Its weights are shared.
    compiled : Compiled
    bound : Bound
        What it was compiled to: the optimiser goes on from its state.
    steps : int

    Raises
    ------
    ValueError
        If a layer looks across the borders of windows, or an output has no time axis.
    """

    def __init__(self, model: "Structure", compiled: Compiled, bound: Bound, steps: int) -> None:
        from rekur.layers.recurrence import Stateful
        from rekur.models.graph import flatten

        self.steps = steps
        self._inputs, self._outputs = model._ports()
        _check(model, self._inputs, self._outputs)
        for port, loss in zip(self._outputs, bound.losses, strict=True):
            if loss is None or loss._of_windows:
                continue
            if loss._whole_rows or (isinstance(loss, Numpy) and loss._in_file):
                raise ValueError(f"tbptt: the loss '{loss.name}' of output '{port.name}' is one of whole sequences")
        engine = model._engine()
        single = _of_single_steps(model)
        layers = [layer for layer in model._flat().layers if isinstance(layer, Stateful) and layer not in single]
        self._layers = layers
        try:
            for layer in layers:
                layer._cut = True
            flat = flatten(model)
            spec = model._spec_of(flat)
        finally:
            for layer in layers:
                layer._cut = False
        timed = {port.name for port in self._inputs if port.timed}
        for entry in spec["layers"]:
            if entry["type"] == "Input" and entry["name"] in timed:
                entry["shape"] = [None, *entry["shape"][1:]]
        core = _core.Model(dumps(spec), {name: (engine, name) for name in flat.layers.values()})
        for member, name in flat.layers.items():
            if (state := (member._trainable, member._lr_scale)) != (True, 1.0):
                core.set_trained(name, *state)
        self.engine = core
        self._before = [layer._states for layer in layers]
        self._whole = bound
        carried = Carried(flat.states, len(self._inputs), len(self._outputs), None)
        self.bound = compiled.bind(core, self._outputs, model.seed, carried)
        self.take_over()
        bound.stand_in = self

    def take_over(self) -> None:
        """The state of what the model was compiled to: the optimiser's, and the seed."""
        trainer = self._whole._trainer
        self.bound.set_state(trainer.state(), trainer.iterations, self._whole.epochs, self._whole.seed)
        self._told = trainer.iterations

    def hand_over(self) -> None:
        """The optimiser's state to what the model was compiled to, where steps were taken since."""
        trainer = self.bound.trainer
        if trainer.iterations != self._told:
            self._told = trainer.iterations
            self._whole.continue_from(trainer.state(), self._told)

    def check_resumed(self, batches: int) -> None:
        """Raises ValueError where ``batches`` of an epoch were done: the states that went on with them are lost."""
        if batches:
            raise ValueError(f"tbptt: {BY_EPOCHS}")

    def begin(self) -> None:
        """Other sequences follow: their states begin with zeros."""
        for layer in self._layers:
            layer._states = None

    def windows(self, batches: Iterable[Rows]) -> Iterator[Rows]:
        """The windows of each batch, the states of the first one fresh."""
        for rows in batches:
            if rows.window is not None:
                if rows.window == 0:
                    self.begin()
                yield rows
                continue
            self.begin()
            total = self._time_of(rows)
            for begin in range(0, total, self.steps):
                yield self._window(rows, slice(begin, min(begin + self.steps, total)), total)

    def count(self, feed: Feed) -> int | None:
        """Windows of an epoch, None where only its end will tell."""
        source = feed.source
        if isinstance(source, StoredWindows):
            return feed.steps
        if feed.steps is None or not isinstance(source, ByRows) or not isinstance(source.rows, Rows):
            return None
        return feed.steps * -(-self._time_of(source.rows) // self.steps)

    def close(self) -> None:
        self.hand_over()
        self._whole.stand_in = None
        self._whole.optimizer._is_used_by(self._whole)  # the stand-in has said so of itself when it was made
        for layer, states in zip(self._layers, self._before, strict=True):
            layer._states = states

    def _time_of(self, rows: Rows) -> int:
        return _common({a.shape[1] for a, port in zip(rows.inputs, self._inputs, strict=True) if port.timed})

    def _window(self, rows: Rows, steps: slice, total: int) -> Rows:
        def part(array: Any, timed: bool) -> Any:
            return np.ascontiguousarray(array[:, steps]) if array is not None and timed else array

        marks = rows.marks
        count = steps.stop - steps.start
        lengths = [None if v is None else np.clip(v - steps.start, 0, count).astype(np.int32) for v in marks.lengths]
        flags = [[part(v, True) for v in each] for each in (marks.masks, marks.resets)]
        return dataclasses.replace(
            rows,
            inputs=[part(a, port.timed) for a, port in zip(rows.inputs, self._inputs, strict=True)],
            marks=dataclasses.replace(marks, lengths=lengths, masks=flags[0], resets=flags[1]),
            targets=[part(a, True) for a in rows.targets],
            weights=[part(a, a is not None and a.ndim > 1 and a.shape[1] == total) for a in rows.weights],
            valid=[part(a, True) for a in rows.valid],
        )


_BEGINS = "tbptt: {!r} begins with states of its own, which each window would begin with"
_ENDS = "tbptt: {!r} gives what it has at the end of its sequence to other layers, and a window ends before"


def _calls(part: Any) -> Iterator[Any]:
    """The calls of a model, and of those within it."""
    from rekur.layers.parts import parts_of

    for call in part._order:
        yield call
        if (inside := parts_of(call.layer)) is not None:
            yield from _calls(inside)


def _check(model: "Structure", inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    from rekur.layers.bidirectional import Bidirectional
    from rekur.layers.recurrence import Stateful

    if not any(port.timed for port in inputs):
        raise ValueError("tbptt: no input of the model has a time axis")
    for port in outputs:
        if not port.timed:
            raise ValueError(
                f"tbptt: output '{port.name}' has no time axis, so there is no loss for the windows before the last: "
                "let the last recurrent layer return sequences"
            )
    flat, single = model._flat(), _of_single_steps(model)
    cut = {layer: name for layer, name in flat.layers.items() if layer not in single}
    for layer in cut:
        turned = getattr(layer, "reverse", False) or getattr(layer, "go_backwards", False)
        if isinstance(layer, Stateful) and (turned or isinstance(layer, Bidirectional)):
            raise ValueError(f"tbptt: {layer!r} reads its sequence from the end, which a window does not have")
        if getattr(layer, "learn_initial_state", False):
            raise ValueError(_BEGINS.format(layer))
    for call in _calls(model):
        if isinstance(call.layer, Stateful) and len(call.inputs) > call.layer._timed_inputs(call.inputs):
            raise ValueError(_BEGINS.format(call.layer))
    read = {split_reference(ref) for call in flat.calls for ref in call.inputs}
    for flat_call in flat.calls:
        layer = flat_call.layer
        ends = 1 if getattr(layer, "return_sequences", True) else 0  # the first output that is of no step
        if layer in cut and isinstance(layer, Stateful) and any(n == flat_call.name and k >= ends for n, k in read):
            raise ValueError(_ENDS.format(layer))
    crossing = {name for layer, name in cut.items() if not isinstance(layer, Stateful)}
    for name in model._engine().layers_across_time():
        if name in crossing:
            raise ValueError(f"tbptt: layer '{name}' looks across the borders of windows")


def _of_single_steps(model: "Structure") -> "set[Layer]":
    """The layers that see every time step as a row of its own (FoldTime, UnfoldTime): no window cuts what they read."""
    flat = model._flat()
    folded: set[str] = set()
    within: set[Layer] = set()
    elsewhere: set[Layer] = set()
    for call in flat.calls:
        begun = any(split_reference(ref)[0] in folded for ref in call.inputs)
        if call.layer.type == "FoldTime" or (begun and call.layer.type != "UnfoldTime"):
            folded.add(call.name)
        (within if begun else elsewhere).add(call.layer)
    return within - elsewhere


class StoredWindows(ByRows):
    """Windows of stored arrays, of the rows of one batch after those of the other: no more than a window is read at a
    time.

    Parameters
    ----------
    rows : Table
    inputs : sequence of Port
        Of the model.
    batch_size, steps : int
    shuffle : bool or "batch"
        Of the rows.
    name : str

    Raises
    ------
    ValueError
        For arrays that have not the inputs' time steps.
    """

    def __init__(
        self, rows: Table, inputs: Sequence[Port], batch_size: int, steps: int, shuffle: bool | str, name: str
    ) -> None:
        super().__init__(rows, batch_size, shuffle, False, name)
        given = rows.given
        self._inputs, self._steps = inputs, steps
        self._x = per_port(given.x, inputs, "x")
        for array, port in zip(self._x, inputs, strict=True):
            if array is None or not fits(np.shape(array), port.shape):
                raise ValueError(f"{port}: expected shape {show(port.shape)}, got {show(np.shape(array))}")
        self._total = _common({np.shape(a)[1] for a, port in zip(self._x, inputs, strict=True) if port.timed})
        for what in ("y", "sample_weight", "mask", "resets"):
            mapped(partial(self._check, what), getattr(given, what))
        self._lengths = make_marks(given.lengths, None, None, self._x, inputs).lengths
        self.parts = -(-self._total // steps)
        self.count = self.parts * -(-len(rows) // batch_size)

    def _check(self, what: str, array: Any) -> None:
        shape = np.shape(array)
        if shape[1:2] != (self._total,) and not (what == "sample_weight" and shape[1:2] in ((), (1,))):
            raise ValueError(f"tbptt: {what}: expected {self._total} steps, as x has, on axis 1, got {show(shape)}")

    def part(self, begin: int, end: int, batch_size: int, shuffle: bool | str, name: str) -> "StoredWindows":
        return StoredWindows(self.rows.part(begin, end), self._inputs, batch_size, self._steps, shuffle, name)

    def example(self) -> Any:
        return self._read(slice(0, min(self.batch_size, len(self.rows))), 0)

    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        for index in self._indices(seed, number):
            for window in range(self.parts):
                yield partial(self._read, index, window)

    def _read(self, index: Index, window: int) -> "Window":
        begin = window * self._steps
        steps = slice(begin, min(begin + self._steps, self._total))
        given = self.rows.given

        def part(array: Any) -> Any:
            return self.rows.read(array, index, steps if np.shape(array)[1:2] == (self._total,) else None)

        x = [
            part(array) if port.timed else self.rows.read(array, index)
            for array, port in zip(self._x, self._inputs, strict=True)
        ]
        said = {
            port.name: np.clip(self.rows.read(lengths, index) - begin, 0, steps.stop - begin)
            for port, lengths in zip(self._inputs, self._lengths, strict=True)
            if lengths is not None
        }
        rest = {what: mapped(part, getattr(given, what)) for what in ("y", "sample_weight", "mask", "resets")}
        return Window(x[0] if len(x) == 1 else x, **rest, lengths=said or None, number=window)


@dataclasses.dataclass(frozen=True)
class Window(Batch):
    """A batch that is one window of its sequences; ``number`` counts them from 0."""

    number: int = 0


def _common(steps: set[int]) -> int:
    """The steps of all inputs that have a time axis."""
    if len(steps) > 1:
        raise ValueError(f"tbptt: the inputs have sequences of different lengths, {sorted(steps)}")
    return steps.pop()
