"""RNN, LSTM and GRU nodes with every attribute, as recurrent layers: one layer a direction.

ONNX's forms: X [T, B, I], W [D, G·H, I], R [D, G·H, H], B [D, 2·G·H] = Wb‖Rb, P [D, 3·H] (rows i, o, f), states
[D, B, H], Y [T, D, B, H]; with layout 1 X [B, T, I], states [B, D, H], Y [B, T, D, H]. The two directions become one
Bidirectional layer later (``fuse``), where they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._import.activations import chosen, number
from rekur.onnx._import.call import Call, describe
from rekur.onnx._import.frames import as_sequence
from rekur.onnx._import.graph import Layer
from rekur.onnx._import.onestep import as_steps, one_step
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    ONE,
    PARTS,
    TIME,
    Axis,
    Dim,
    Extent,
    Filled,
    Known,
    Refused,
    Rows,
    Size,
    Tensor,
    Value,
    View,
    same,
    zeros,
)


@dataclass(frozen=True)
class Cell:
    """How an operator maps onto a layer type."""

    type: str
    places: tuple[int, ...]  # where each of our gates stands in ONNX's W, R and B
    states: tuple[str, ...]
    resets: bool = False  # has linear_before_reset


CELLS = {
    "RNN": Cell("SimpleRNN", (0,), ("h",)),
    # ours i, f, g, o; ONNX i, o, f, c
    "LSTM": Cell("LSTM", (0, 2, 3, 1), ("h", "c")),
    # ours z, r, n; ONNX z, r, h
    "GRU": Cell("GRU", (0, 1, 2), ("h",), resets=True),
}
STATES = {cell.type: cell.states for cell in CELLS.values()}  # by the layers' types
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
COUPLED = (0, 3, 1)  # input_forget: ours i, g, o; the forget gate's block is not used


@dataclass(frozen=True)
class _Node:
    """The attributes of one node, read and checked."""

    cell: Cell
    directions: tuple[str, ...]
    units: int
    batch_first: bool
    options: tuple[dict[str, Any], ...]  # the spec's, per direction


def recurrent(call: Call) -> list[Value]:
    x = call.view(0)
    if call.attributes.get("layout", 0) == 0:
        x = as_sequence(call, x)
    kernel = call.known(1, "W")
    recurrent_kernel = call.known(2, "R")
    bias = call.known(3, "B") if call.has(3) else None
    peephole = call.known(7, "P") if call.has(7) and call.op == "LSTM" else None
    limit = 8 if call.op == "LSTM" else 6
    if len(call.inputs) > limit or len(call.wanted) > 1 + len(CELLS[call.op].states):
        raise Refused(f"{len(call.inputs)} inputs and {len(call.wanted)} outputs")
    node = _attributes(call, recurrent_kernel, peephole is not None)
    x, time, batch = sequence_of(x, node.batch_first, call)
    weights = _weights(call, node, x.features, kernel, recurrent_kernel, bias, peephole)
    lengths = _lengths(call, time, batch)
    states = _initial_states(call, node, x, batch)
    source = call.whole(x.parts[0])
    hidden = tuple(d for d in source.dims if d.root is not time.root)

    layers: list[Layer] = []
    for direction, options, parameters, (initial, learned) in zip(
        node.directions, node.options, weights, states, strict=True
    ):
        options = {**options, "reverse": True} if direction == "reverse" else options
        options, parameters = with_learned(options, parameters, learned)
        layer = call.graph.add(node.cell.type, call.at, [source, *initial], node.units, options, parameters).layer
        layer.lengths = lengths
        layer.states = {state: Tensor(layer, state, node.units, hidden) for state in node.cell.states}
        layers.append(layer)
    if len(layers) == 2:
        layers[0].twin = layers[1]
    return _outputs(node, layers, time, batch)


def _attributes(call: Call, recurrent_kernel: NDArray[Any], peepholes: bool) -> _Node:
    cell = CELLS[call.op]
    direction = call.attribute("direction", "forward")
    directions = {"forward": ("forward",), "reverse": ("reverse",), "bidirectional": ("forward", "reverse")}
    if direction not in directions:
        raise Refused(f"direction {direction!r} is not understood")
    if recurrent_kernel.ndim != 3:
        raise Refused(f"R has shape {recurrent_kernel.shape}; expected (directions, gates × units, units)")
    units = int(recurrent_kernel.shape[2])
    if call.attribute("hidden_size", units) != units or units < 1:
        raise Refused(f"hidden_size is {call.attribute('hidden_size')}, R has {units} units")
    layout = call.attribute("layout", 0)
    if layout not in (0, 1):
        raise Refused(f"layout {layout} is not understood")
    common: dict[str, Any] = {"units": units, "use_bias": call.has(3)}
    if cell.resets:
        common["reset_after"] = call.flag("linear_before_reset")
    clip = call.attribute("clip")
    if clip is not None:
        if not 0 < clip < float("inf"):
            raise Refused(f"clip is {clip}; expected a positive number")
        common["clip"] = number(clip)
    if call.op == "LSTM":
        if call.flag("input_forget"):
            common["coupled_gates"] = True
        if peepholes:
            common["peepholes"] = True
    options = tuple({**common, **own} for own in chosen(call, len(directions[direction])))
    return _Node(cell, directions[direction], units, layout == 1, options)


def sequence_of(x: View, batch_first: bool, call: Call | None = None) -> tuple[View, Dim, Dim]:
    """x, its time axis and its batch axis, which are known from here on; given the call, rows may become one step."""
    if len(x.axes) != 3 or len(x.parts) != 1 or x.ids:
        raise Refused(f"X is {'ids' if x.ids else 'a tensor'} of shape {x.describe()}; expected 3 axes")
    if x.axes[2] != FEATURES and not (x.axes[2] == ONE and x.features == 1 and FEATURES not in x.axes):
        raise Refused(f"the last axis of X, of shape {x.describe()}, does not hold the features")
    if len(x.dims) == 1:
        x = View((tuple(_one_step(piece, call) for piece in x.parts[0]),), x.axes)
    shown = [axis.root for axis in x.axes[:2] if isinstance(axis, Dim)]
    left_out = [dim for dim in x.dims if dim.root not in shown and dim.size == 1]
    found: list[Dim] = []
    for axis, kind in zip(x.axes[:2], (BATCH, TIME) if batch_first else (TIME, BATCH), strict=True):
        if axis == ONE and left_out:
            axis = left_out.pop()
        if not isinstance(axis, Dim):
            raise Refused(f"X has shape {x.describe()}; expected a {kind} axis, got {axis}")
        axis.mark(kind)
        found.append(axis)
    batch, time = found if batch_first else found[::-1]
    return x, time, batch


def _one_step(piece: Tensor, call: Call | None) -> Tensor:
    try:
        return one_step(piece)
    except Refused:
        if call is None or call.has(4):  # lengths of rows would be those of other steps
            raise
        return as_steps(call.graph, call.at, piece)


def _weights(
    call: Call,
    node: _Node,
    features: int,
    kernel: NDArray[Any],
    recurrent_kernel: NDArray[Any],
    bias: NDArray[Any] | None,
    peephole: NDArray[Any] | None,
) -> list[dict[str, NDArray[Any]]]:
    """Per direction, in rekur's shapes and order of gates."""
    gates, units, directions = GATES[call.op], node.units, len(node.directions)
    rows = gates * units
    for what, array, shape in (
        ("W", kernel, (directions, rows, features)),
        ("R", recurrent_kernel, (directions, rows, units)),
        ("B", bias, (directions, 2 * rows)),
        ("P", peephole, (directions, 3 * units)),
    ):
        if array is None:
            continue
        if array.dtype != np.float32:
            raise Refused(f"{what} is of {array.dtype}; expected float32")
        if array.shape != shape:
            raise Refused(f"{what} has shape {array.shape}; expected {shape}")
    coupled = call.op == "LSTM" and bool(node.options[0].get("coupled_gates"))
    places = COUPLED if coupled else node.cell.places

    def blocks(array: NDArray[Any]) -> NDArray[Any]:
        """[G·H, N] or [G·H] of ONNX → [N, G·H] or [G·H] of ours."""
        chosen = array.reshape(gates, units, -1)[list(places)]
        turned: NDArray[Any] = chosen.reshape(len(places) * units, -1).T
        return turned

    result = []
    for d, options in enumerate(node.options):
        parameters = {"kernel": blocks(kernel[d]), "recurrent_kernel": blocks(recurrent_kernel[d])}
        if bias is not None:
            two = np.concatenate([blocks(half) for half in bias[d].reshape(2, rows)])
            if not options.get("reset_after"):
                two = two.astype(np.float64).sum(axis=0)  # one rounding
            parameters["bias"] = two
        if peephole is not None:
            i, o, f = peephole[d].reshape(3, units)
            parameters["peephole"] = np.stack([i, o] if coupled else [i, f, o])
        result.append(parameters)
    return result


def _lengths(call: Call, time: Dim, batch: Dim) -> str | None:
    """The graph input that holds the lengths; None: all rows are as long as the sequence."""
    return lengths_of(call.inputs[4] if call.has(4) else None, time, batch)


def lengths_of(value: Value | None, time: Dim, batch: Dim) -> str | None:
    """The same of a value that a node reads as lengths."""
    if value is None:
        return None
    if isinstance(value, Rows) and value.stage == "lengths" and value.axes == (BATCH,):
        return value.name
    if isinstance(value, (Known, Filled)):
        extents = list(value.array.flat)
        steps = [extent if isinstance(extent, Size) else int(extent) for extent in extents]
        if steps and all(same(extent, Size(1, (time,))) for extent in steps) and _rows_fit(value, batch):
            return None
    raise Refused(
        f"sequence_lens is {describe(value)}; expected an input of the graph, or the number of time steps for every row"
    )


def _rows_fit(value: Known | Filled, batch: Dim) -> bool:
    """Whether a constant has one axis, the batch; a number there is the batch from here on."""
    shape = value.array.shape if isinstance(value, Known) else value.shape
    return len(shape) == 1 and _is_batch(shape[0], batch)


def _is_batch(extent: Extent, batch: Dim) -> bool:
    if isinstance(extent, int) and batch.size is None and extent > 0:
        batch.fix(extent)  # built in by the exporter
    return same(extent, Size(1, (batch,)))


Learned = dict[str, NDArray[Any]]  # by state what every row begins with


def with_learned(
    options: dict[str, Any], parameters: dict[str, NDArray[Any]], learned: Learned
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Options and parameters of a layer whose states begin as parameters, where there are such."""
    if not learned:
        return options, parameters
    starts = {f"initial_{state}": row for state, row in learned.items()}
    return {**options, "learn_initial_state": True}, {**parameters, **starts}


def starts_of(
    states: Sequence[str], given: Sequence[Tensor | NDArray[Any] | None], widths: Sequence[int], both: bool
) -> tuple[list[Tensor], Learned] | None:
    """Tensors for the first states, and what the others begin with; None: no layer says so.

    Constants are learned initial states. With ``both`` directions, all states are given or none.
    """
    tensors = [value for value in given if value is not None and not isinstance(value, np.ndarray)]
    rest = given[len(tensors) :]
    if any(value is not None and not isinstance(value, np.ndarray) for value in rest):
        return None
    if not any(isinstance(value, np.ndarray) for value in rest):
        return (tensors, {}) if not rest or not tensors else None
    if tensors and both:
        return None
    count = len(tensors)
    rows = [
        value if isinstance(value, np.ndarray) else np.zeros(width, np.float32)
        for value, width in zip(rest, widths[count:], strict=False)
    ]
    return tensors, dict(zip(states[count:], rows, strict=True))


def _initial_states(call: Call, node: _Node, x: View, batch: Dim) -> list[tuple[list[Tensor], Learned]]:
    """Per direction the states that are given, and those that are constants."""
    names = [f"initial_{state}" for state in node.cell.states]
    given = [_initial(call, node, name, 5 + k, batch) for k, name in enumerate(names)]
    result: list[tuple[list[Tensor], Learned]] = []
    for d in range(len(node.directions)):
        states = [parts[d] for parts in given]
        found = starts_of(node.cell.states, states, [node.units] * len(states), len(node.directions) > 1)
        if found is None:
            tensors = [_computed(call, node, s, x) if isinstance(s, np.ndarray) else s for s in states]
            known = next(state for state in tensors if state is not None)
            found = [state or _zeros(call, known) for state in tensors], {}
        result.append(found)
    return result


def _initial(call: Call, node: _Node, name: str, index: int, batch: Dim) -> list[Tensor | NDArray[Any] | None]:
    """One initial state per direction; None: zeros; an array: what every row begins with."""
    directions = len(node.directions)
    value = call.inputs[index] if call.has(index) else None
    if value is None:
        return [None] * directions
    where = 1 if node.batch_first else 0
    if isinstance(value, (Known, Filled)):
        _check_constant_state(node, name, value, batch, where)
        if zeros(value):
            return [None] * directions
        return _constant_states(node, name, value, where)
    if not isinstance(value, View) or value.ids:
        raise Refused(f"{name} is {describe(value)}")
    axes: list[Axis] = [batch, FEATURES]
    axes.insert(where, PARTS if directions > 1 else ONE)
    fits = len(value.axes) == 3 and value.axes[where] == axes[where] and len(value.parts) == directions
    row = value.axes[1 - where] if fits else None
    if fits and name == "initial_c" and value.axes[2] == FEATURES:
        _not_projected(value.features, node.units)
    if not fits or not isinstance(row, Dim) or value.axes[2] != FEATURES or value.features != node.units:
        raise Refused(
            f"{name} has shape {value.describe()}; expected {directions} direction(s) of (batch, {node.units})"
        )
    if len(value.dims) != 1:
        raise Refused(f"{name} has a time axis")
    batch.join(row)
    return [call.whole(part) for part in value.parts]


def _not_projected(found: Extent, units: int) -> None:
    """c has as many units as h, except in what PyTorch's exporter makes of an LSTM with a projection."""
    if not same(found, units):
        raise Refused(
            f"initial_c has {found} units, R has {units}: PyTorch's exporter writes nn.LSTM(proj_size=…) so, whose h "
            "is a projection to fewer features, and leaves the projection itself out of the file"
        )


def _zeros(call: Call, like: Tensor) -> Tensor:
    """A state of zeros beside one that is given."""
    return call.graph.add("Rescaling", call.at, [like], like.features, {"scale": 0.0, "offset": 0.0})


def _check_constant_state(node: _Node, name: str, value: Known | Filled, batch: Dim, where: int) -> None:
    """A constant state, zeros or not, has the element type and the shape that ONNX asks for."""
    shape = list(value.array.shape if isinstance(value, Known) else value.shape)
    if value.array.dtype != np.float32 or len(shape) != 3:
        raise Refused(f"{name} is {describe(value)} of {value.array.dtype}; expected float32 of 3 axes")
    own: Extent = shape.pop(1 - where)
    directions, units = len(node.directions), node.units
    if name == "initial_c" and same(shape[0], directions):
        _not_projected(shape[1], units)
    if not same(shape[0], directions) or not same(shape[1], units):
        raise Refused(f"{name} is {describe(value)}; expected {directions} direction(s), {units} units")
    if not _is_batch(own, batch):
        raise Refused(f"{name} is {describe(value)}; expected {batch.size or 'the batch'} on axis {1 - where}")


def _constant_states(node: _Node, name: str, value: Known | Filled, where: int) -> list[Tensor | NDArray[Any] | None]:
    """By direction a state that is the same for every row."""
    rows = np.moveaxis(value.array, where, 0)  # [D, B, H]
    if not (rows == rows[:, :1]).all():
        raise Refused(f"{name} is a constant with a state for each row: the batch is built into the file")
    return list(np.broadcast_to(rows[:, 0], (len(node.directions), node.units)))  # of a Filled they may be of size 1


def _computed(call: Call, node: _Node, row: NDArray[Any], x: View) -> Tensor:
    """A constant state before one that is given: the bias of a Dense on zeros made of the input's first step."""
    time = x.parts[0][0].time
    assert time is not None
    source = call.whole(x.parts[0])
    rest = tuple(d for d in source.dims if d.root is not time.root)
    first = call.graph.add("Step", call.at, [source], source.features, {"index": 0}, dims=rest)
    parameters = {"kernel": np.zeros((x.features, node.units), np.float32), "bias": row}
    return call.graph.add("Dense", call.at, [_zeros(call, first)], node.units, {"units": node.units}, parameters)


def _outputs(node: _Node, layers: Sequence[Layer], time: Dim, batch: Dim) -> list[Value]:
    direction: Axis = PARTS if len(layers) > 1 else ONE
    sequences = tuple((layer.output,) for layer in layers)
    axes: list[Axis] = [batch, time, direction, FEATURES] if node.batch_first else [time, direction, batch, FEATURES]
    result: list[Value] = [View(sequences, tuple(axes))]
    for state in node.cell.states:
        finals = tuple((layer.states[state],) for layer in layers)
        result.append(View(finals, (batch, direction, FEATURES) if node.batch_first else (direction, batch, FEATURES)))
    return result
