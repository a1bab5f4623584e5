"""Back-propagation through windows of a sequence, whose states go on from window to window.

Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent network trajectories", 1990.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rekur import _core
from rekur._random import epoch_order
from rekur._spec import dumps, split_reference
from rekur._validate import show
from rekur.training.batch import Batch, rows_of
from rekur.training.carried import Carried
from rekur.training.compiled import Bound, Compiled
from rekur.training.data import Port, Rows, per_port
from rekur.training.feed import Feed
from rekur.training.sources import ByRows, Source, Task

if TYPE_CHECKING:
    from rekur.layers import Layer
    from rekur.models.structure import Structure


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

    def take_over(self, batches: int) -> None:
        """The optimiser's state of what the model was compiled to; ``batches`` of the epoch are done.

        Raises
        ------
        ValueError
            If some are: the states that went on with them are not known any more.
        """
        if batches:
            raise ValueError(
                "tbptt: an epoch can only be resumed from its beginning; back up after epochs: save_freq='epoch'"
            )
        whole = self._whole
        self.bound.set_state(whole.trainer.state(), whole.trainer.iterations, whole.epochs)

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

    def hand_over(self) -> None:
        """The optimiser's state to what the model was compiled to."""
        trainer = self.bound.trainer
        self._whole.set_state(trainer.state(), trainer.iterations, self._whole.epochs)

    def close(self) -> None:
        self.hand_over()
        for layer, states in zip(self._layers, self._before, strict=True):
            layer._states = states

    def _time_of(self, rows: Rows) -> int:
        sizes = {a.shape[1] for a, port in zip(rows.inputs, self._inputs, strict=True) if port.timed}
        if len(sizes) > 1:
            raise ValueError(f"tbptt: the inputs have sequences of different lengths, {sorted(sizes)}")
        return int(sizes.pop())

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
    for call in model._order:
        if isinstance(call.layer, Stateful) and len(call.inputs) > call.layer._timed_inputs(call):
            raise ValueError(_BEGINS.format(call.layer))
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


class StoredWindows(Source):
    """Windows of stored arrays, of some rows after the other: no more than a window is read at a time."""

    def __init__(
        self, given: Batch, ports: tuple[Sequence[Port], Sequence[Port]], batch_size: int, steps: int, shuffle: bool
    ) -> None:
        inputs, outputs = ports
        self._steps, self._size, self._shuffle, self.name = steps, batch_size, shuffle, "x"
        self._x = per_port(given.x, inputs, "x")
        self._y = per_port(given.y, outputs, "y")
        self._timed = [port.timed for port in inputs]
        self._rest = given
        shapes = [a.shape for a, timed in zip(self._x, self._timed, strict=True) if timed]
        self._rows, self._total = shapes[0][:2]
        for array, timed in [*zip(self._x, self._timed, strict=True), *((y, True) for y in self._y)]:
            wanted = (self._rows, self._total) if timed else (self._rows,)
            if array is not None and tuple(array.shape[: len(wanted)]) != wanted:
                raise ValueError(
                    f"tbptt: expected arrays of {show(wanted)} rows and steps, got shape {show(array.shape)}"
                )
        self.count = -(-self._rows // batch_size) * -(-self._total // steps)

    def example(self) -> Any:
        return self._read(np.arange(min(self._size, self._rows)), 0)

    def tasks(self, seed: int, number: int) -> Iterator[Task]:
        order = epoch_order(seed, number, self._rows) if self._shuffle else np.arange(self._rows)
        for begin in range(0, self._rows, self._size):
            index = np.sort(order[begin : begin + self._size])
            for first in range(0, self._total, self._steps):
                yield partial(self._read, index, first)

    def _read(self, index: Any, first: int) -> "Window":
        steps = slice(first, min(first + self._steps, self._total))

        def read(array: Any, timed: bool = True) -> Any:
            if array is None:
                return None
            if not timed:
                return rows_of(array, index)
            return np.stack([np.asarray(array[int(row), steps]) for row in index])

        rest = {}
        for name in ("sample_weight", "mask", "resets"):
            value = getattr(self._rest, name)
            if value is not None:
                rest[name] = read(value, np.ndim(value) > 1)
        if self._rest.lengths is not None:
            rest["lengths"] = np.clip(np.asarray(self._rest.lengths)[index] - first, 0, steps.stop - first)
        x = [read(a, timed) for a, timed in zip(self._x, self._timed, strict=True)]
        y = [read(a) for a in self._y]
        window = Window(x[0] if len(x) == 1 else x, y[0] if len(y) == 1 else y, **rest)
        object.__setattr__(window, "number", first // self._steps)
        return window


class Window(Batch):
    """A batch that is one window of its sequences; ``number`` counts them from 0."""

    number = 0
