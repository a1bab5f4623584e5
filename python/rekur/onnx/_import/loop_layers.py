"""The layers that a loop's body is (``loop``): cells as recurrent layers, others over all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rekur.onnx._import.call import Call, describe, normal_axis
from rekur.onnx._import.cells import Cell
from rekur.onnx._import.graph import Layer
from rekur.onnx._import.linear import Source
from rekur.onnx._import.loop import Loop, steps_of
from rekur.onnx._import.unrolled import POINTWISE, cells_of, recurrent
from rekur.onnx._import.values import (
    BATCH,
    ONE,
    TIME,
    Dim,
    Extent,
    Filled,
    Given,
    Known,
    Listed,
    Position,
    Refused,
    Size,
    Tensor,
    Value,
    View,
    same,
)

MAX_DEPTH = 200


@dataclass
class Layers:
    """The layers over whole sequences that the body's layers of one step are."""

    loop: Loop
    after: Mapping[int, Tensor]  # by a state before the step: the state after it
    cells: dict[int, Cell] = field(default_factory=dict)  # by the state after it
    made: dict[int, Tensor] = field(default_factory=dict)
    layers: dict[int, Layer] = field(default_factory=dict)  # by the cell's h
    time: Dim | None = None

    def find(self) -> None:
        """The cell of every state.

        Raises
        ------
        Refused
            A state is none of a cell.
        """
        owned: set[int] = set()
        known = cells_of(self.loop.graph)
        for before, after in self.after.items():
            if id(after) == before:
                continue
            for cell in known.of(after):
                if not isinstance(cell.h0, Source) or id(cell.h0.tensor) != before:
                    continue
                if cell.type == "LSTM" and not self._carries(cell):
                    continue
                self.cells[id(after)] = cell
                owned.add(before)
                if cell.c is not None and isinstance(cell.c0, Source):
                    owned.add(id(cell.c0.tensor))
                break
        if missing := [key for key, after in self.after.items() if key not in owned and id(after) != key]:
            names = [k for k, tensor in enumerate(self.loop.kept) if id(tensor) == missing[0]]
            raise Refused(
                f"what it carries from step to step ({len(self.after)} tensors, number {names or '?'} of them) are "
                "not the states of an RNN, GRU or LSTM cell"
            )

    def _carries(self, cell: Cell) -> bool:
        return isinstance(cell.c0, Source) and self.after.get(id(cell.c0.tensor)) is cell.c

    def sequence(self, tensor: Tensor, depth: int = 0) -> Tensor:
        """All steps of a tensor of one step."""
        if id(tensor) not in self.made:
            if depth > MAX_DEPTH:
                raise Refused("layers in its body are too deep")
            self.made[id(tensor)] = self._sequence(tensor, depth + 1)
        return self.made[id(tensor)]

    def _sequence(self, tensor: Tensor, depth: int) -> Tensor:
        whole = self.loop.sequences.get(id(tensor))
        if whole is not None:
            self._same_steps(whole)
            return whole
        if id(tensor) in self.cells:
            return self.layer(self.cells[id(tensor)], depth).output
        if id(tensor) in self.loop.before:
            after = self.after.get(id(tensor))
            start = self.loop.before[id(tensor)]
            if after is tensor and isinstance(start, View):  # never changed: what is the same at every step
                return self._repeated(self.loop.graph.whole(start.parts[0], self.loop.at))
            raise Refused("reads a state before the step as something else than a cell's")
        layer = tensor.layer
        if not self._of_step(tensor):
            return self._repeated(tensor)
        if layer.type not in POINTWISE or tensor.port != "y":
            raise Refused(f"has a {layer.type} in its body, which does more than one step at a time")
        inputs = [self.sequence(one, depth) for one in layer.inputs]
        made = self.loop.graph.add(
            layer.type, self.loop.at, inputs, tensor.features, layer.options, layer.parameters, dims=inputs[0].dims
        )
        made.boolean = tensor.boolean
        return made

    def layer(self, cell: Cell, depth: int = 0) -> Layer:
        """The recurrent layer of a cell."""
        if id(cell.h) not in self.layers:
            inputs = [self.sequence(source.tensor, depth) for source, _ in cell.x]
            own = replace(cell, h0=self._start(cell.h0), c0=self._start(cell.c0))
            made = recurrent(self.loop.graph, self.loop.at, inputs, [own])
            if made is None:
                raise Refused("begins with states that no layer begins with")
            self.layers[id(cell.h)] = made
        return self.layers[id(cell.h)]

    def _start(self, source: Any) -> Any:
        if source is None:
            return None
        value = self.loop.before[id(source.tensor)]
        if isinstance(value, View):
            return Source(self.loop.graph.whole(value.parts[0], self.loop.at))
        assert isinstance(value, (Known, Filled))
        rows = value.array.reshape(-1, value.array.shape[-1])
        if not (rows == rows[:1]).all():
            raise Refused("begins with another constant in each row")
        return np.broadcast_to(rows[0].astype(np.float64), (source.tensor.features,))

    def _same_steps(self, whole: Tensor) -> None:
        time = whole.time
        assert time is not None
        if self.time is not None:
            self.time.join(time)
        self.time = time

    def _of_step(self, tensor: Tensor) -> bool:
        """Whether it is another one at every step."""
        waiting, seen = [tensor], set[int]()
        while waiting:
            one = waiting.pop()
            if id(one) in self.loop.sequences or id(one) in self.loop.before:
                return True
            if id(one) not in seen:
                seen.add(id(one))
                waiting += one.layer.inputs
        return False

    def _repeated(self, row: Tensor) -> Tensor:
        like = next(iter(self.loop.sequences.values()), None)
        if like is None or len(row.dims) != 1:
            raise Refused("reads something at every step that is no row, or no sequence at all")
        self._same_steps(like)
        graph, at = self.loop.graph, self.loop.at
        next(dim for dim in like.dims if dim.kind != TIME).mark(BATCH)
        one = graph.add("Slice", at, [like], 1, {"start": 0, "stop": 1}) if like.features > 1 else like
        return graph.add("Broadcast", at, [row, one], row.features, dims=like.dims)

    def all_of(self, view: View) -> View:
        """What a body gives at every step: (time, …)."""
        if len(view.parts) != 1:
            raise Refused("gives more than one tensor side by side at every step")
        made = self.sequence(self.loop.graph.whole(view.parts[0], self.loop.at))
        time = made.time
        assert time is not None
        return View(((made,),), (time, *view.axes))

    def last_of(self, view: View, start: Value) -> Value:
        """What a state is behind the last step."""
        tensor = view.parts[0][0]
        if id(tensor) in self.loop.before:
            return start
        for cell in self.cells.values():
            for state, own in (("h", cell.h), ("c", cell.c)):
                if own is tensor:
                    return View(((self.layer(cell).states[state],),), view.axes)
        raise Refused("gives a state that is none of a cell's")


Walk = Callable[[Mapping[str, Value], "Loop"], list[Value]]


def loop(call: Call, count: int, walk: Walk) -> list[Value]:
    """count: how many tensors it carries; walk: the body's outputs, given its inputs by their places ("0", "1", …)."""
    limit = call.inputs[0] if call.has(0) else None
    starts = call.inputs[2:]
    made = Loop(call.graph, call.at)
    inputs: dict[str, Value] = {"0": Position(0), "1": Known(np.array(True))}
    for k, value in enumerate(starts):
        if value is None:
            raise Refused(f"carried tensor {k} has no value before the first step")
        inputs[str(2 + k)] = _carried(made, value, k)
    outputs = walk(inputs, made)
    condition, after, scanned = outputs[0], outputs[1 : 1 + count], outputs[1 + count :]
    numbers = steps_of(limit, condition)
    layers = _layers(made, [inputs[str(2 + k)] for k in range(count)], after)
    whole = [layers.all_of(value) for value in scanned if isinstance(value, View)]
    if len(whole) != len(scanned):
        raise Refused("what it gives at every step is no tensor that the model computes")
    result: list[Value] = []
    for k, value in enumerate(after):
        before = inputs[str(2 + k)]
        if isinstance(value, Position) and isinstance(before, Position):
            if value.offset != before.offset + 1:
                raise Refused(f"counts in steps of {value.offset - before.offset}; expected 1")
            result.append(Given(sizes=("the last step of a loop",)))
        elif isinstance(value, Listed) and value.view is not None:
            result.append(Listed(layers.all_of(value.view)))
        elif isinstance(value, View):
            result.append(layers.last_of(value, starts[k] or value))
        elif value is before:
            result.append(value)
        else:
            raise Refused(f"carried tensor {k} becomes {describe(value)}")
    _check_steps(layers, numbers)
    return [*result, *whole]


def _carried(made: Loop, value: Value, number: int) -> Value:
    array = value.array if isinstance(value, Known) else None
    if array is not None and array.size == 1 and array.dtype.kind in "iu":
        return Position(int(array.reshape(-1)[0]))
    if isinstance(value, Listed) or (array is not None and array.dtype.kind in "iub"):
        return value
    return made.state(value, f"carried tensor {number}")


def _layers(made: Loop, before: Sequence[Value], after: Sequence[Value]) -> Layers:
    states = {
        id(one.parts[0][0]): two.parts[0][0]
        for one, two in zip(before, after, strict=True)
        if isinstance(one, View) and isinstance(two, View) and len(two.parts) == 1 and len(two.parts[0]) == 1
    }
    layers = Layers(made, states)
    layers.find()
    return layers


def _check_steps(layers: Layers, numbers: Sequence[Extent]) -> None:
    if layers.time is None:
        raise Refused("reads no sequence step by step")
    if not numbers:
        raise Refused("goes on without end")
    for number in numbers:
        if not same(number, Size(1, (layers.time,))):
            raise Refused(f"takes {number} steps of a sequence of {Size(1, (layers.time,))}")


def scan_any(
    call: Call, walk: Walk, states: int, axes: tuple[list[int], list[int]], turned: tuple[list[int], list[int]]
) -> list[Value]:
    """A Scan: states, then sequences, a step of each at a time. axes, turned: of the scanned inputs and outputs."""
    made = Loop(call.graph, call.at)
    inputs: dict[str, Value] = {}
    for k in range(states):
        value = call.inputs[k]
        if value is None:
            raise Refused(f"state {k} has no value before the first step")
        inputs[str(k)] = made.state(value, f"state {k}")
    for k in range(states, len(call.inputs)):
        x = call.view(k)
        axis = normal_axis(axes[0][k - states], len(x.axes))
        if turned[0][k - states]:
            x = _flipped(call, x, axis)
        inputs[str(k)] = made.each(x, axis, False)
    outputs = walk(inputs, made)
    layers = _layers(made, [inputs[str(k)] for k in range(states)], outputs[:states])
    result: list[Value] = []
    for k, value in enumerate(outputs[:states]):
        if not isinstance(value, View):
            raise Refused(f"state {k} becomes {describe(value)}")
        result.append(layers.last_of(value, call.inputs[k] or value))
    for k, value in enumerate(outputs[states:]):
        if not isinstance(value, View):
            raise Refused(f"gives {describe(value)} at every step")
        whole = layers.all_of(value)
        if turned[1][k]:
            whole = _flipped(call, whole, 0)
        axis = normal_axis(axes[1][k], len(whole.axes))
        rest = list(whole.axes[1:])
        rest.insert(axis, whole.axes[0])
        result.append(whole.with_axes(rest))
    return result


def _flipped(call: Call, x: View, axis: int) -> View:
    time = x.axes[axis]
    if not isinstance(time, Dim):
        raise Refused(f"scans axis {axis} of {x.describe()}, which holds no steps")
    time.mark(TIME)
    parts = tuple(
        tuple(call.graph.add("Flip", call.at, [piece], piece.features, {}, dims=piece.dims) for piece in part)
        for part in x.parts
    )
    return View(parts, x.axes)


def from_list(call: Call) -> View:
    """ConcatFromSequence: the tensors of a list as one."""
    value = call.inputs[0]
    if not isinstance(value, Listed) or value.view is None:
        raise Refused(f"of {describe(value)}; expected a list that a loop filled")
    view, new = value.view, call.flag("new_axis")
    time, rest = view.axes[0], list(view.axes[1:])
    axis = normal_axis(call.attribute("axis", 0), len(rest) + new)
    if new:
        rest.insert(axis, time)
    elif rest[axis] == ONE:
        rest[axis] = time
    else:
        raise Refused(f"joins steps of shape {view.describe()} along axis {axis}")
    return view.with_axes(rest)
