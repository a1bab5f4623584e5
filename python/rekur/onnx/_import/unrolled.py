"""Cells put together as recurrent layers: a cell repeated step after step is one layer over a sequence, a single one a
layer of one step with its states as inputs and outputs.

Steps that a file stacks (``torch.stack``, ``Concat`` of one step each) are a sequence again where each of them is made
in the same way of the same step of another one, with the same weights: ``lifted`` goes down from the stack to where the
steps were taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rekur.onnx._import import onestep
from rekur.onnx._import.cells import Cell, Cells
from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.linear import Matrix, Source, source_of, steps_of
from rekur.onnx._import.onestep import as_steps
from rekur.onnx._import.recurrent import STATES, starts_of, with_learned
from rekur.onnx._import.values import BATCH, PARTS, TIME, Dim, Refused, Tensor, View

MAX_DEPTH = 64
ALIKE = 1e-9  # biases that were added up in another order
# layers that do the same at every step of a sequence
POINTWISE = {*onestep.POINTWISE, "Lambda"}


def stacked(graph: Graph, at: tuple[str, str], view: View, axis: int) -> View:
    """Parts along an axis; steps of a sequence where that is what they are."""
    parts = view.parts
    if len(parts) < 2 or view.outer != 1 or any(len(part) != 1 for part in parts) or view.axes[axis] != PARTS:
        return view
    tensors = [part[0] for part in parts]
    if any(len(tensor.dims) != 1 for tensor in tensors) or len({id(tensor) for tensor in tensors}) < 2:
        return view
    if any(tensor.layer.type == "Input" or tensor.boolean for tensor in tensors):
        return view
    made = Lifting(graph, at, len(tensors)).tensor(tensors, 0)
    if made is None:  # the last one first?
        made = Lifting(graph, at, len(tensors)).tensor(tensors[::-1], 0)
        if made is not None:
            made = graph.add("Flip", at, [made], made.features, {}, dims=made.dims)
    time = made.time if made is not None else None
    if made is None or time is None:
        return view
    return View(((made,),), tuple(time if k == axis else kind for k, kind in enumerate(view.axes)))


def behind_one_another(graph: Graph, at: tuple[str, str], views: Sequence[View], axis: int) -> View | None:
    """Sequences of one step each that recurrent nodes of one step give: those of a loop over the node."""
    states: list[Tensor] = []
    for view in views:
        tensor = view.parts[0][0]
        time = view.axes[axis] if axis < len(view.axes) else None
        single = len(view.parts) == len(view.parts[0]) == 1 and isinstance(time, Dim) and time.size == 1
        if not single or tensor.port != "y" or "h" not in tensor.layer.states:
            return None
        states.append(tensor.layer.states["h"])
    made = Lifting(graph, at, len(states)).tensor(states, 0) if len(states) > 1 else None
    time = made.time if made is not None else None
    if made is None or time is None:
        return None
    axes = [time if k == axis else kind for k, kind in enumerate(views[0].axes)]
    return View(((made,),), tuple(axes))


@dataclass
class Lifting:
    """Tensors of T steps, one for each, as one tensor of them all."""

    graph: Graph
    at: tuple[str, str]
    steps: int
    known: dict[tuple[int, ...], Tensor | None] = field(default_factory=dict)

    def tensor(self, parts: Sequence[Tensor], depth: int) -> Tensor | None:
        key = tuple(map(id, parts))
        if key not in self.known:
            self.known[key] = None  # while it is looked for
            self.known[key] = self._tensor(parts, depth) if depth < MAX_DEPTH else None
        return self.known[key]

    def _tensor(self, parts: Sequence[Tensor], depth: int) -> Tensor | None:
        if (whole := self._sequence([source_of(part) for part in parts])) is not None:
            return whole
        if (made := self._cells(parts, depth)) is not None:
            return made
        return self._pointwise(parts, depth)

    def sources(self, found: Sequence[Source], depth: int) -> Tensor | None:
        """One source for each step."""
        whole = self._sequence(found)
        if whole is not None or any(source.step is not None for source in found):
            return whole
        if all(source.tensor is found[0].tensor for source in found):
            return self._repeated(found[0].tensor)
        return self.tensor([source.tensor for source in found], depth + 1)

    def _sequence(self, found: Sequence[Source]) -> Tensor | None:
        """The steps of a sequence, all of them, from its first or from its last one on."""
        sequence = found[0].tensor
        if any(source.tensor is not sequence or source.step is None for source in found):
            return None
        order, total = [source.step or 0 for source in found], steps_of(sequence)
        first = min(order)
        rising = list(range(first, first + self.steps))
        if total is None or order not in (rising, rising[::-1]):
            return None
        if total != self.steps:
            sequence = self._cropped(sequence, first, total - first - self.steps)
        if order == rising:
            return sequence
        return self.graph.add("Flip", self.at, [sequence], sequence.features, {}, dims=sequence.dims)

    def _cropped(self, sequence: Tensor, before: int, behind: int) -> Tensor:
        time = Dim(f"steps of {self.at[0]}", self.steps)
        time.mark(TIME)
        dims = tuple(time if dim.kind == TIME else dim for dim in sequence.dims)
        options = {"cropping": [before, behind]}
        return self.graph.add("Cropping1D", self.at, [sequence], sequence.features, options, dims=dims)

    def _repeated(self, row: Tensor) -> Tensor | None:
        """The same row at every step."""
        if len(row.dims) != 1:
            return None
        row.dims[0].mark(BATCH)
        time = Dim(f"steps of {self.at[0]}", self.steps)
        time.mark(TIME)
        return self.graph.add("RepeatVector", self.at, [row], row.features, {"n": self.steps}, dims=(row.dims[0], time))

    def _pointwise(self, parts: Sequence[Tensor], depth: int) -> Tensor | None:
        """The same layer at every step."""
        first = parts[0].layer
        if first.type not in POINTWISE or any(part.port != "y" for part in parts):
            return None
        if not all(_same_layer(first, part.layer) for part in parts):
            return None
        inputs = []
        for place in range(len(first.inputs)):
            below = self.sources([source_of(part.layer.inputs[place]) for part in parts], depth)
            if below is None:
                return None
            inputs.append(below)
        times = [tensor.time for tensor in inputs if tensor.time is not None]
        for time in times[1:]:
            times[0].join(time)
        made = self.graph.add(
            first.type, self.at, inputs, parts[0].features, first.options, first.parameters, dims=inputs[0].dims
        )
        made.boolean = parts[0].boolean
        return made

    def _cells(self, parts: Sequence[Tensor], depth: int) -> Tensor | None:
        chain = chain_to(self.graph, parts[-1])
        if chain is None or len(chain) != len(parts):
            return None
        if any(cell.h is not part for cell, part in zip(chain, parts, strict=True)):
            return None
        return self.layer(chain, depth)

    def layer(self, chain: Sequence[Cell], depth: int) -> Tensor | None:
        """The recurrent layer of all steps; what the cells' states were, it gives instead."""
        inputs: list[Tensor] = []
        for place in range(len(chain[0].x)):
            whole = self.sources([cell.x[place][0] for cell in chain], depth)
            if whole is None:
                return None
            inputs.append(whole)
        times = [tensor.time for tensor in inputs if tensor.time is not None]
        if len(times) != len(inputs) or any(steps_of(tensor) != self.steps for tensor in inputs):
            return None
        for time in times[1:]:
            times[0].join(time)
        made = recurrent(self.graph, (chain[-1].h.layer.node, chain[-1].h.layer.hint), inputs, chain)
        if made is None:
            return None
        for k, cell in enumerate(chain[:-1]):
            rest = tuple(dim for dim in made.output.dims if dim.root is not times[0].root)
            step = self.graph.add("Step", self.at, [made.output], cell.units, {"index": k}, dims=rest)
            self.graph.aliases[id(cell.h)] = step
        hand_over(self.graph, chain[-1], made)
        return made.output


def _same_layer(one: Layer, two: Layer) -> bool:
    """Whether two layers do the same with their inputs."""
    if one.type != two.type or one.options != two.options or len(one.inputs) != len(two.inputs):
        return False
    if one.parameters.keys() != two.parameters.keys():
        return False
    return all(
        array is two.parameters[key] or np.array_equal(array, two.parameters[key])
        for key, array in one.parameters.items()
    )


def hand_over(graph: Graph, cell: Cell, layer: Layer) -> None:
    """The states after the last step are the layer's."""
    graph.aliases[id(cell.h)] = layer.states["h"]
    graph.kept.append((cell.h, cell.c))
    if cell.c is not None:
        graph.aliases[id(cell.c)] = layer.states["c"]


def recurrent(graph: Graph, at: tuple[str, str], inputs: Sequence[Tensor], chain: Sequence[Cell]) -> Layer | None:
    """A layer over sequences, side by side its input; None where no layer begins as the first cell does."""
    first, last = chain[0], chain[-1]
    given = [_start(graph, at, first.h0, last)]
    if last.type == "LSTM":
        given.append(_start(graph, at, first.c0, last))
    found = starts_of(STATES[last.type], given, [last.units] * len(given), False)
    if found is None or last.recurrent is None:
        return None
    tensors, learned = found
    kernel = np.vstack([matrix for _, matrix in last.x])
    parameters: dict[str, Any] = {"kernel": kernel, "recurrent_kernel": last.recurrent, "bias": last.bias}
    options: dict[str, Any] = {"units": last.units, "use_bias": True, **last.options}
    if options.get("reset_after"):
        parameters["bias"] = last.bias.reshape(2, -1)
    options, parameters = with_learned(options, parameters, learned)
    whole = graph.whole(tuple(inputs), at)
    for tensor in tensors:
        if len(tensor.dims) != 1:
            return None
        tensor.dims[0].mark(BATCH)
        next(dim for dim in whole.dims if dim.kind != TIME).join(tensor.dims[0])
    layer = graph.add(last.type, at, [whole, *tensors], last.units, options, parameters).layer
    hidden = tuple(dim for dim in whole.dims if dim.kind != TIME)
    layer.states = {state: Tensor(layer, state, last.units, hidden) for state in STATES[last.type]}
    return layer


def _start(graph: Graph, at: tuple[str, str], state: Source | Matrix | None, cell: Cell) -> Any:
    """What the first cell begins with: a tensor, a row for all, or None for zeros."""
    if isinstance(state, Source):
        return _row(graph, at, state)
    if state is None or not np.any(state):
        return None
    return np.broadcast_to(state, (cell.units,)).astype(np.float32)


def cells_of(graph: Graph) -> Cells:
    if graph.cells is None:
        graph.cells = Cells()
    found: Cells = graph.cells
    return found


def chain_to(graph: Graph, h: Tensor) -> list[Cell] | None:
    """The cells of one layer whose last state h is, from the first one on; None where it is not one."""
    cells = cells_of(graph)
    found = cells.of(h)
    if not found:
        return None
    best: list[Cell] = []
    for cell in found:
        chain = _behind(cells, cell)
        if not best or (len(chain), _is_given(chain[0])) > (len(best), _is_given(best[0])):
            best = chain
    return best or None


def _is_given(cell: Cell) -> bool:
    """Whether its first state is an input of the model and its inputs are not: where both are as wide, either could be
    the state, and the numbers are the same.
    """
    inputs = [source.tensor.layer.type == "Input" for source, _ in cell.x]
    return isinstance(cell.h0, Source) and cell.h0.tensor.layer.type == "Input" and not any(inputs)


def _behind(cells: Cells, cell: Cell) -> list[Cell]:
    """The cell, and those of the same weights before it."""
    chain = [cell]
    while True:
        first = chain[0]
        if not isinstance(first.h0, Source) or first.h0.step is not None:  # a step is none of a cell's states
            return chain
        before = [other for other in cells.of(first.h0.tensor) if _follows(first, other)]
        if not before or len(chain) > 100_000:
            return chain
        chain.insert(0, before[0])


def _follows(cell: Cell, before: Cell) -> bool:
    """Whether one is the step before the other."""
    options = {key: value for key, value in before.options.items() if key != "unknown"}
    if before.type != cell.type or before.units != cell.units or options != cell.options:
        return False
    if cell.c0 is not None and not (isinstance(cell.c0, Source) and cell.c0.tensor is before.c):
        return False
    if len(before.x) != len(cell.x) or any(a.shape != b.shape for (_, a), (_, b) in zip(before.x, cell.x, strict=True)):
        return False
    known = np.ones(cell.bias.size, bool)
    unknown = before.options.get("unknown")
    if unknown is not None:
        known[unknown] = False
    columns = known[: cell.x[0][1].shape[1]]
    alike = all(
        a is b or np.array_equal(a[:, columns], b[:, columns]) for (_, a), (_, b) in zip(before.x, cell.x, strict=True)
    )
    if not alike or not _close(before.bias[known], cell.bias[known]):
        return False
    if before.recurrent is None:  # the first step; on a state that is not zeros its biases would be others
        return before.h0 is None or (not isinstance(before.h0, Source) and not np.any(before.h0))
    same = before.recurrent is cell.recurrent
    return cell.recurrent is not None and (same or np.array_equal(before.recurrent, cell.recurrent))


def _close(one: Matrix, two: Matrix) -> bool:
    return one.shape == two.shape and bool(np.allclose(one, two, rtol=ALIKE, atol=ALIKE))


def recognise(graph: Graph, outputs: Sequence[Tensor]) -> None:
    """The cells that are left once the whole file was walked; outputs: what the file gives."""
    used = _needed(graph, outputs)
    for layer in list(reversed(graph.layers)):
        h = layer.output
        if id(layer) not in used or id(h) in graph.aliases or not layer.inputs:
            continue
        if layer.states and "h" in layer.states and layer.type in STATES:
            h = layer.states["h"]
            if id(h) in graph.aliases:
                continue
            chain = chain_to(graph, h)
            chain = chain if chain is not None and len(chain) > 1 else None
        else:
            chain = chain_to(graph, h) if layer.type in ("Multiply", "Add", "Activation") else None
        if chain is None:
            continue
        at = (layer.node, layer.hint)
        made = Lifting(graph, at, len(chain)).layer(chain, 0) if len(chain) > 1 else None
        if made is None and chain[-1].type != "SimpleRNN":
            _one_step(graph, at, chain[-1])


def _needed(graph: Graph, outputs: Sequence[Tensor]) -> set[int]:
    waiting = [graph.resolve(tensor).layer for tensor in outputs]
    found: set[int] = set()
    while waiting:
        layer = waiting.pop()
        if id(layer) not in found:
            found.add(id(layer))
            waiting += [graph.resolve(tensor).layer for tensor in layer.inputs]
    return found


def _one_step(graph: Graph, at: tuple[str, str], cell: Cell) -> None:
    """A single cell: a layer of one step."""
    if not isinstance(cell.h0, Source) or (cell.type == "LSTM" and not isinstance(cell.c0, Source)):
        return
    inputs = []
    for source, _ in cell.x:
        if source.step is not None and steps_of(source.tensor) == 1:
            inputs.append(source.tensor)
            continue
        inputs.append(as_steps(graph, at, _row(graph, at, source)))
    for other in inputs[1:]:
        for a, b in zip(inputs[0].dims, other.dims, strict=True):
            a.join(b)
    try:
        made = recurrent(graph, at, inputs, [cell])
    except Refused:
        return
    if made is not None:
        hand_over(graph, cell, made)


def _row(graph: Graph, at: tuple[str, str], source: Source) -> Tensor:
    if source.step is None:
        return source.tensor
    rest = tuple(dim for dim in source.tensor.dims if dim.kind != TIME)
    return graph.add("Step", at, [source.tensor], source.features, {"index": source.step}, dims=rest)
