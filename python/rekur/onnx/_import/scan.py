"""Scan nodes that our exporter wrote: an RNN layer each. Any other Scan is looked at by ``loop_layers``.

The node's ``doc_string`` says which cell it is; it is believed where the body that the exporter would make of that cell
is, but for names, the body that is there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._graph import graph_proto
from rekur.onnx._import.call import Call, describe
from rekur.onnx._import.graph import Layer
from rekur.onnx._import.recurrent import Learned, sequence_of, starts_of, with_learned
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    Dim,
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
from rekur.onnx._recurrent_kernel import separated
from rekur.onnx._scan import Step, body_of, scans_x, sources

MAX_TEXT = 128 * 1024  # characters of a cell
STATES = ("h", "s1", "s2", "s3")  # ports of a layer's states; the first is what other recurrent layers call h


@dataclass(frozen=True)
class Body:
    """What a Scan says of itself, and what its body takes from around it by the exporter's names."""

    cell: Mapping[str, Any]
    units: int
    projected: int  # the first state's width where it is a projection, else 0
    features: int  # of x; 0 where the body does not read it
    widths: list[int]
    with_lengths: bool
    want_y: bool
    outer: Mapping[str, str]

    @property
    def state_widths(self) -> list[int]:
        return [self.projected or self.units, *[self.units] * (len(self.cell["states"]) - 1)]


def scan(call: Call, node: Any, get: Callable[[str], Value], makers: Mapping[str, Any]) -> list[Value]:
    """get: a tensor's value; makers: by tensor the node that makes it."""
    body = _body(node, call.opset)
    cell, units, states = body.cell, body.units, list(body.cell["states"])
    inputs = dict(zip(_places(body), zip(node.input, call.inputs, strict=True), strict=True))
    reverse = _direction(call, body)
    source, products = _source(body, {key: value for key, (_, value) in inputs.items()}, call)
    parameters = _parameters(body, products, get)
    use_bias = (
        "bias" in parameters or "recurrent_bias" in parameters or not (cell["kernel"] or cell.get("recurrent_bias"))
    )
    if bool(cell["kernel"]) != ("kernel" in parameters) or (
        cell.get("recurrent_bias") and cell["kernel"] and ("bias" in parameters) != ("recurrent_bias" in parameters)
    ):
        raise Refused("some of its products have biases, others have none")
    view, time, batch = sequence_of(source, False)
    x = call.whole(view.parts[0])
    steps = [_step_input(inputs[f"in/{name}"][1], time, batch, call) for name in cell.get("step_inputs", ())]
    starts = [inputs[f"state/{state}"][1] for state in states]
    initial, learned = initial_of(starts, states, body.state_widths, batch, call)
    lengths = _lengths(body, inputs, time, get, makers) if body.with_lengths else None
    options: dict[str, Any] = {"units": units, "cell": dict(cell), "use_bias": use_bias}
    if body.projected:
        options["projection_size"] = body.projected
    if reverse:
        options["reverse"] = True
    options, parameters = with_learned(options, parameters, learned)
    layer = call.graph.add("RNN", call.at, [x, *steps, *initial], body.state_widths[0], options, parameters).layer
    layer.lengths, layer.sequences = lengths, 1 + len(steps)
    hidden = tuple(d for d in x.dims if d.root is not time.root)
    layer.states = {
        port: Tensor(layer, port, width, hidden) for port, width in zip(STATES, body.state_widths, strict=False)
    }
    _pair(call, layer)
    result: list[Value] = [View(((layer.states[p],),), (batch, FEATURES)) for p in layer.states]
    if body.want_y:
        result.append(View(((layer.output,),), (time, batch, FEATURES)))
    return result


class NotOurs(Refused):
    """The node is none that our exporter wrote, or was changed: only its equations tell what it is."""


def _not_ours() -> Refused:
    return NotOurs("its text says another cell than its body computes")


def _body(node: Any, version: int) -> Body:
    """Read what the node says, and hold its body against what the exporter would write."""
    graph = next((entry.g for entry in node.attribute if entry.name == "body" and entry.type == 5), None)
    text = node.doc_string
    if graph is None or not text or len(text) > MAX_TEXT:
        raise _not_ours()
    try:
        cell = json.loads(text)
        sizes = cell.pop("projection", None)
        widths = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input]
        states, steps = len(cell["states"]), len(cell.get("step_inputs", ()))
        plain = bool(cell["kernel"]) + scans_x(cell)
        more = len(graph.input) - states - plain - steps
        units, projected = sizes if sizes is not None else (widths[0][-1], 0)
        if type(units) is not int or type(projected) is not int or not 0 <= projected < units:
            raise _not_ours()
        if more not in (0, 1) or len(graph.output) - states not in (0, 1) or not 0 < units < 2**24:
            raise _not_ours()
        at = states + more + plain
        features = widths[at - 1][-1] if plain > bool(cell["kernel"]) else 0
        with_y = len(graph.output) > states
        body = Body(cell, units, projected, features, [w[-1] for w in widths[at:]], bool(more), with_y, {})
        names = _matched(_expected(body, version), graph)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError):
        raise _not_ours() from None
    return Body(**{**vars(body), "outer": names})


def _expected(body: Body, version: int) -> list[Any]:
    """The body with biases of recurrent products, where it may have them, and without."""
    result = []
    for biased in {False, bool(body.cell.get("recurrent_bias", False))}:
        cell = body.cell
        step = Step("step", cell, body.units, [f"step/in/{state}" for state in cell["states"]])
        step.widths = body.widths
        step.projected, step.projection = body.projected, "projection" if body.projected else ""
        step.matrices = {source: f"R_{k}" for k, source in enumerate(sources(cell))}
        step.biases = {source: f"Rb_{k}" for k, source in enumerate(sources(cell))} if biased else {}
        step.weights = [f"weight/{weight['name']}" for weight in cell.get("weights", ())]
        lengths = "lengths" if body.with_lengths else ""
        made = body_of({"type": "RNN", "name": "step"}, step, body.features, lengths, body.want_y)
        result.append(graph_proto(made, "step", version))
    return result


def _matched(expected: Sequence[Any], graph: Any) -> dict[str, str]:
    for one in expected:
        if (names := match_body(one, graph)) is not None:
            return names
    raise _not_ours()


def match_attributes(expected: Any, node: Any) -> dict[str, str] | None:
    """What bodies among a node's attributes ask of the graph around, as of :func:`match_body`; None: they differ."""
    plain: list[list[bytes]] = []
    bodies: list[dict[str, Any]] = []
    for one in (expected, node):
        plain.append(sorted(entry.SerializeToString() for entry in one.attribute if entry.type != 5))
        bodies.append({entry.name: entry.g for entry in one.attribute if entry.type == 5})
    if plain[0] != plain[1] or bodies[0].keys() != bodies[1].keys():
        return None
    found: dict[str, str] = {}
    for name, body in bodies[0].items():
        around = match_body(body, bodies[1][name])
        if around is None or any(found.setdefault(one, other) != other for one, other in around.items()):
            return None
    return found


def match_body(expected: Any, graph: Any) -> dict[str, str] | None:
    """By the exporter's name of what stands around the body its name here; None: it is another body."""
    names: dict[str, str] = {}
    back: dict[str, str] = {}

    def alike(one: str, other: str) -> bool:
        return names.setdefault(one, other) == other and back.setdefault(other, one) == one

    for field in ("input", "output"):
        ours, theirs = getattr(expected, field), getattr(graph, field)
        if len(ours) != len(theirs) or not all(alike(a.name, b.name) for a, b in zip(ours, theirs, strict=True)):
            return None
    if len(expected.node) != len(graph.node):
        return None
    for a, b in zip(expected.node, graph.node, strict=True):
        if (a.op_type, a.domain, len(a.input), len(a.output)) != (b.op_type, b.domain, len(b.input), len(b.output)):
            return None
        around = match_attributes(a, b)
        if around is None:
            return None
        pairs = [*zip([*a.input, *a.output], [*b.input, *b.output], strict=True), *around.items()]
        if not all(alike(one, other) for one, other in pairs):
            return None
    stored = {tensor.name: tensor for tensor in graph.initializer}
    own = {tensor.name: tensor for tensor in expected.initializer}
    for name, tensor in own.items():
        found = stored.pop(names.get(name, ""), None)
        if found is None or not _equal(tensor, found):
            return None
    if stored:
        return None
    made = {value.name for value in expected.input} | {name for node in expected.node for name in node.output}
    return {name: other for name, other in names.items() if name not in made and name not in own and name}


def _equal(one: Any, other: Any) -> bool:
    from onnx import numpy_helper

    if one.data_type != other.data_type or list(one.dims) != list(other.dims) or other.data_location:
        return False
    return bool(numpy_helper.to_array(one).tobytes() == numpy_helper.to_array(other).tobytes())


def _places(body: Body) -> list[str]:
    """What each input of the node is."""
    cell = body.cell
    return [
        *(f"state/{state}" for state in cell["states"]),
        *(["time"] if body.with_lengths else []),
        *(["products"] if cell["kernel"] else []),
        *(["x"] if body.features else []),
        *(f"in/{name}" for name in cell.get("step_inputs", ())),
    ]


def _direction(call: Call, body: Body) -> bool:
    """Whether it reads from the end."""
    scanned = len(call.inputs) - len(body.cell["states"])
    for name in ("scan_input_axes", "scan_output_axes"):
        if any(call.attribute(name, [])):
            raise Refused(f"{name} are {call.attribute(name)}; expected the first axis")
    if call.attribute("num_scan_inputs") != scanned:
        raise Refused(f"num_scan_inputs is {call.attribute('num_scan_inputs')}; expected {scanned}")
    inputs = call.attribute("scan_input_directions", [0] * scanned)
    outputs = call.attribute("scan_output_directions", [0] * body.want_y)
    found = {*inputs, *outputs} or {0}
    if len(inputs) != scanned or len(outputs) != body.want_y or len(found) != 1 or not found <= {0, 1}:
        raise Refused(f"its directions are {inputs} and {outputs}; expected all of them to be one")
    return found == {1}


def _source(body: Body, inputs: Mapping[str, Value | None], call: Call) -> tuple[View, dict[str, NDArray[Any]]]:
    """x, and the kernel and bias of its products, which stand before the node as a Dense layer would."""
    if not body.cell["kernel"]:
        return _sequence(inputs["x"], "x"), {}
    view = _sequence(inputs["products"], "the products of the input")
    dense = call.whole(view.parts[0]).layer
    columns = len(body.cell["kernel"]) * body.units
    parameters: dict[str, NDArray[Any]] = {}
    if dense.type == "Rescaling" and dense.options["scale"] == 1.0:
        parameters["bias"] = np.broadcast_to(np.asarray(dense.options["offset"], np.float32), (columns,))
        dense = dense.inputs[0].layer
    kernel = dense.parameters.get("kernel")
    plain = dense.type == "Dense" and "activation" not in dense.options and view.features == columns
    if not plain or kernel is None or kernel.shape[1] != columns or "bias" in dense.parameters:
        raise Refused("the products of its input are made by no MatMul and Add before it")
    parameters["kernel"] = kernel
    x = View(((dense.inputs[0],),), view.axes)
    if body.features and _sequence(inputs["x"], "x").parts[0][0] is not dense.inputs[0]:
        raise Refused("its x is another than that of its products")
    return x, parameters


def _sequence(value: Value | None, what: str) -> View:
    if not isinstance(value, View) or value.ids:
        raise Refused(f"{what}: {describe(value)}; expected a sequence that the model computes")
    return value


def _parameters(body: Body, products: dict[str, NDArray[Any]], get: Callable[[str], Value]) -> dict[str, NDArray[Any]]:
    cell, units = body.cell, body.units
    result = {key: products[key] for key in ("kernel",) if key in products}
    blocks: dict[str, dict[int, NDArray[Any]]] = {}

    def constant(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        value = get(body.outer[name])
        if not isinstance(value, Known) or value.symbolic or value.array.dtype != np.float32:
            raise Refused(f"'{body.outer[name]}' is {describe(value)}; expected a constant of float32")
        if value.array.shape != shape:
            raise Refused(f"'{body.outer[name]}' has shape {value.array.shape}; expected {shape}")
        return value.array

    for k, own in enumerate(sources(cell).values()):
        for key, name, lead in (
            ("recurrent_kernel", f"R_{k}", (body.projected or units,)),
            ("recurrent_bias", f"Rb_{k}", ()),
        ):
            if name in body.outer:
                array = constant(name, (*lead, len(own) * units))
                for place, block in enumerate(own):
                    blocks.setdefault(key, {})[block] = array[..., place * units : (place + 1) * units]
    joined = {key: np.concatenate([parts[k] for k in sorted(parts)], axis=-1) for key, parts in blocks.items()}
    if "recurrent_kernel" in joined:
        taken_apart = separated(cell, units, joined["recurrent_kernel"])
        if taken_apart is None:
            raise Refused("its recurrent products are not by the matrices that its cell has")
        result.update(taken_apart)
    if body.projected:
        result["projection_kernel"] = constant("projection", (units, body.projected))
    if "bias" in products:
        result["bias"] = products["bias"]
    if "recurrent_bias" in joined:
        result["recurrent_bias"] = joined["recurrent_bias"]
    for weight in cell.get("weights", ()):
        result[weight["name"]] = constant(f"weight/{weight['name']}", (units,))
    return result


def _step_input(value: Value | None, time: Dim, batch: Dim, call: Call) -> Tensor:
    view, own_time, own_batch = sequence_of(_sequence(value, "a step input"), False)
    time.join(own_time)
    batch.join(own_batch)
    return call.whole(view.parts[0])


def initial_of(
    values: Sequence[Value | None], states: Sequence[str], widths: Sequence[int], batch: Dim, call: Call
) -> tuple[list[Tensor], Learned]:
    """Those that are given, and what the others begin with where that is no zeros."""
    given: list[Tensor | NDArray[Any] | None] = []
    for value, units in zip(values, widths, strict=False):  # the last states may be left out
        if isinstance(value, (Known, Filled)):
            given.append(None if zeros(value) else _constant(value, units))
            continue
        if not isinstance(value, View) or value.features != units or len(value.axes) != 2 or len(value.parts) != 1:
            raise Refused(f"an initial state is {describe(value)}; expected (batch, {units}), or zeros at the end")
        row, features = value.axes
        if not isinstance(row, Dim) or features != FEATURES or len(value.dims) != 1:
            raise Refused(f"an initial state has shape {value.describe()}; expected (batch, {units})")
        row.mark(BATCH)
        batch.join(row)
        given.append(call.whole(value.parts[0]))
    while given and given[-1] is None:
        given.pop()
    found = starts_of(states[: len(given)], given, widths, False)
    if found is None:
        raise Refused("an initial state is a constant before one that is not; expected constants at the end")
    tensors, learned = found
    if not learned:
        return tensors, {}
    rest = list(zip(states, widths, strict=True))[len(tensors) :]
    return tensors, {state: learned.get(state, np.zeros(width, np.float32)) for state, width in rest}


def _constant(value: Known | Filled, units: int) -> NDArray[Any]:
    """The state that every row begins with."""
    rows = value.array
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] not in (1, units) or not (rows == rows[:1]).all():
        raise Refused(f"an initial state is {describe(value)}; expected (batch, {units}) with the same in every row")
    return np.broadcast_to(rows[0], (units,))


def _lengths(
    body: Body, inputs: Mapping[str, Any], time: Dim, get: Callable[[str], Value], makers: Mapping[str, Any]
) -> str:
    """The graph input with the rows' lengths; the scanned times are 0, 1, … as long as the sequence."""
    cast = makers.get(inputs["time"][0])
    places = makers.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    ends: list[Any] = []
    if places is not None and places.op_type == "Range" and len(places.input) == 3:
        for value in map(get, places.input):
            ends.append(value.array.reshape(-1)[0] if isinstance(value, Known) and value.array.size == 1 else None)
    if not ends or ends[0] != 0 or ends[2] != 1 or not _is_size(ends[1], time):
        raise Refused("its scanned times are not 0, 1, … as long as the sequence")
    value = get(body.outer["lengths"])
    if not isinstance(value, Rows) or value.stage != "lengths" or value.axes != (BATCH,):
        raise Refused(f"its lengths are {describe(value)}; expected an input of the graph")
    return value.name


def _is_size(extent: Any, time: Dim) -> bool:
    if isinstance(extent, Size):
        return same(extent, Size(1, (time,)))
    return extent is not None and time.size is not None and int(extent) == time.size


def _pair(call: Call, layer: Layer) -> None:
    """The two directions of a Bidirectional, whichever of the nodes comes first."""
    for other in call.graph.layers:
        if other is layer or other.type != "RNN" or other.twin is not None or layer.twin is not None:
            continue
        first, second = (other, layer) if layer.options.get("reverse") else (layer, other)
        count = layer.sequences
        alike = other.sequences == count and other.inputs[:count] == layer.inputs[:count]
        if alike and second.options == {**first.options, "reverse": True}:
            first.twin = second


def reads_lengths(node: Any) -> list[str]:
    """Of a Scan's body what may be the rows' lengths around it."""
    inside = [inner for entry in node.attribute if entry.type == 5 for inner in entry.g.node]
    return [inner.input[1] for inner in inside if inner.op_type == "Less" and len(inner.input) == 2]
