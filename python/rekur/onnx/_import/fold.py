"""Nodes that our exporter wrote for one layer, put together again before the walk: layers whose state is a matrix,
attention, positions, and RNN layers one step at a time.

A note (``rekur.onnx._note``) at the node that makes the output says which layer it is. It is believed where the nodes
that the exporter would write of that layer are, but for names, the nodes that are there. Which initialiser holds which
parameter is found by exporting the layer with numbered weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._spec import ATTENTION, MATRIX, POSITIONS, RECURRENT, model_spec
from rekur.onnx._build import build
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import graph_proto
from rekur.onnx._import.call import Call, describe
from rekur.onnx._import.layout import align, last_features
from rekur.onnx._import.match import MAX_PARAMETER, File, Match, Written, numbered, size_of
from rekur.onnx._import.read import Tensors
from rekur.onnx._import.recurrent import sequence_of, with_learned
from rekur.onnx._import.scan import STATES, initial_of
from rekur.onnx._import.values import BATCH, FEATURES, ONE, Known, Refused, Rows, Tensor, Value, View
from rekur.onnx._note import MAX_NOTE, POINTWISE, Shapes, shapes_of
from rekur.onnx._plan import Plan
from rekur.onnx._states import hold_states, state_sizes

PLAIN = (*ATTENTION, *POSITIONS, *POINTWISE)  # layers without states, whose output is one
MAX_NOTES = 1000  # of a file


@dataclass
class Folded:
    """One layer in the place of its nodes; looks like a node. Inputs: sequences, initial states, lengths."""

    name: str
    layer: dict[str, Any]  # as in the spec, without name and inputs
    input: list[str]
    output: list[str]
    places: list[int]  # which output of the layer each is: 0 its own, then its states
    sequences: int
    lengths: bool
    streaming: bool
    shapes: Shapes
    sizes: dict[str, int]  # of the states
    weights: list[tuple[str, NDArray[Any], NDArray[Any]]]  # tensor; of each element its parameter, and where there
    op_type: str = field(init=False)
    domain: str = ""
    attribute: tuple[()] = ()

    def __post_init__(self) -> None:
        self.op_type = str(self.layer["type"])

    @property
    def plain(self) -> bool:
        return self.op_type in PLAIN

    @property
    def pointwise(self) -> bool:
        return self.op_type in POINTWISE


def fold(graph: Any, version: int, tensors: Tensors) -> Any:
    """The graph with such layers in place of the nodes that make their outputs; it is not changed itself."""
    noted = [node for node in graph.node if node.doc_string.startswith("{") and node.op_type != "Scan"][:MAX_NOTES]
    layers, gone = [], set()
    if noted:
        file = File(graph, tensors)
        for node in noted:
            if (made := _folded(node, file, version)) is not None:
                layer, replaced = made
                layers.append(layer)
                gone |= replaced
    nodes = [node for node in graph.node if id(node) not in gone]
    return SimpleNamespace(
        node=[*nodes, *layers], initializer=graph.initializer, input=graph.input, output=graph.output
    )


@dataclass
class _Expected:
    """What the exporter makes of a layer."""

    written: Written
    inputs: list[str]
    output: str
    states: list[str]  # outputs


def _folded(node: Any, file: File, version: int) -> tuple[Folded, set[int]] | None:
    if len(node.doc_string) > MAX_NOTE:
        return None
    try:
        note = json.loads(node.doc_string)
        layer, features, initial = dict(note["layer"]), list(note["features"]), note["initial"]
        lengths, streaming = bool(note["lengths"]), bool(note["streaming"])
        if layer["type"] not in (*MATRIX, *PLAIN, "RNN") or not _whole(layer, features, initial):
            return None
        shapes = shapes_of(layer, features)
        counts = [size_of(shape) for shape in shapes.values()]
        if sum(counts) > file.elements or max(counts, default=0) > MAX_PARAMETER or len(features) > 16:
            return None
        sizes = (
            {}
            if layer["type"] in PLAIN
            else state_sizes(layer, "layer", {f"layer/{key}": shape for key, shape in shapes.items()})
        )
        expected = _expected(layer, features, initial, (lengths, streaming), shapes, sizes, version)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError, ExportError, MemoryError):
        return None
    found = Match(expected.written, file)
    if not found.add(expected.output, node.output[0]):
        return None
    outputs, places, replaced = [node.output[0]], [0], {id(node)}
    for number, state in enumerate(expected.states, 1):
        for other in file.nodes:
            if (
                id(other) in replaced
                or other.op_type != expected.written.makers[state].op_type
                or len(other.output) != 1
            ):
                continue
            if found.add(state, other.output[0]):
                found.forget(state, other)
                outputs.append(other.output[0])
                places.append(number)
                replaced.add(id(other))
    names = [found.names.get(name, "") for name in expected.inputs]
    begin, end = len(features), len(names) - lengths
    # A state that the layer does not read may begin with any other's numbers.
    read = next((name for name in names[begin:end] if name), "")
    names[begin:end] = [name or read for name in names[begin:end]] if read else []
    if not all(names):
        return None
    weights = [
        (found.names[name], *codes) for name, codes in expected.written.parameters.items() if name in found.names
    ]
    return (
        Folded(
            node.name, layer, names, outputs, places, len(features), lengths, streaming, shapes, sizes, weights
        ),
        replaced,
    )  # fmt: skip


def _whole(layer: Mapping[str, Any], features: Sequence[Any], initial: Any) -> bool:
    """Whether sizes are such at all; what they mean is the engine's to check."""
    numbers = [value for value in layer.values() if isinstance(value, int) and not isinstance(value, bool)]
    own = [*features, *numbers]
    return bool(features) and type(initial) is int and 0 <= initial <= 4 and all(type(n) is int and n > 0 for n in own)


def _expected(
    layer: dict[str, Any],
    features: list[int],
    initial: int,
    flags: tuple[bool, bool],
    shapes: Shapes,
    sizes: Mapping[str, int],
    version: int,
) -> _Expected:
    lengths, streaming = flags
    sources = [
        {"type": "Input", "name": f"x{k}", "shape": [None, n], "dtype": "float32"} for k, n in enumerate(features)
    ]
    if not streaming:
        given = list(sizes.values())[:initial]
        sources += [{"type": "Input", "name": f"s{k}", "shape": [n], "dtype": "float32"} for k, n in enumerate(given)]
    names = [str(source["name"]) for source in sources]
    own = {**layer, "name": "layer", "inputs": names}
    if layer["type"] in RECURRENT:
        own["return_state"] = True
    outputs = ["layer", *(f"layer:{k + 1}" for k in range(len(sizes)))]
    spec = model_spec("model", [*sources, own], names, outputs)
    protos = []
    for arrays in numbered(shapes):
        weights = {f"layer/{key}": array for key, array in arrays.items()}
        plan = Plan(spec, lengths)
        if streaming:
            hold_states(plan, True, weights)
        protos.append(graph_proto(build(plan, weights, version), "layer", version))
    held = plan.states.get("layer", ())
    inputs = [*names[: len(features)], *([state.input for state in held] if streaming else names[len(features) :])]
    return _Expected(
        Written(protos),
        inputs + ([axis.lengths for axis in plan.axes if axis.lengths] if lengths else []),
        outputs[0],
        [state.output for state in held] if streaming else outputs[1:],
    )


def folded(call: Call, node: Folded) -> list[Value]:
    """The layer, in the walk."""
    if node.pointwise:
        return [_pointwise(call, node)]
    if node.plain:
        return [_plain(call, node)]
    inputs, weights = call.inputs[: len(node.input)], call.inputs[len(node.input) :]
    layer, states = dict(node.layer), list(node.sizes)
    type, sequences = layer.pop("type"), layer.pop("return_sequences", False)
    views = [_sequence(value, node.streaming) for value in inputs[: node.sequences]]
    (_, time, batch), *others = views
    for _, own_time, own_batch in others:
        time.join(own_time)
        batch.join(own_batch)
    source, *steps = (call.whole(one.parts[0]) for one, _, _ in views)
    lengths = None
    if node.lengths:
        rows = inputs[-1]
        if not isinstance(rows, Rows) or rows.stage != "lengths" or rows.axes != (BATCH,):
            raise Refused(f"its lengths are {describe(rows)}; expected an input of the graph")
        lengths = rows.name
    given = inputs[node.sequences : len(inputs) - node.lengths]
    sizes = list(node.sizes.values())
    initial, learned = initial_of(given, states, sizes, batch, call)
    if learned and type != "RNN":
        raise Refused("its initial state is a constant other than zeros")
    options, parameters = with_learned(layer, _parameters(node, weights), learned)
    units = sizes[0] if type == "RNN" else parameters["output_kernel"].shape[1]
    made = call.graph.add(type, call.at, [source, *steps, *initial], units, options, parameters).layer
    made.lengths, made.sequences = lengths, node.sequences
    hidden = tuple(d for d in source.dims if d.root is not time.root)
    ports = STATES if type == "RNN" else ("s",)
    made.states = {port: Tensor(made, port, size, hidden) for port, size in zip(ports, sizes, strict=False)}
    state_views = [View(((tensor,),), (batch, FEATURES)) for tensor in made.states.values()]
    if type == "RNN":
        output = state_views[0]
    elif sequences and not node.streaming:
        output = View(((made.output,),), (batch, time, FEATURES))
    else:
        made.last = Tensor(made, "last", units, hidden)
        output = View(((made.last,),), (batch, FEATURES))
    return [[output, *state_views][place] for place in node.places]


def _pointwise(call: Call, node: Folded) -> View:
    """A layer of every step, or of rows: the file's axes stay as they are."""
    count = len(node.input)
    views = align([last_features(call.view(k)) for k in range(count)])
    layer = dict(node.layer)
    type = layer.pop("type")
    if any(view.ids or len(view.parts) != 1 for view in views):
        raise Refused(f"its inputs are {', '.join(view.describe() for view in views)}")
    widest = max(view.features for view in views)
    units = widest
    if type in ("Dense", "Lambda"):
        units = layer["units"] if type == "Dense" else _width(layer["equations"], [v.features for v in views], widest)
    made = call.graph.add(
        type, call.at, [call.whole(v.parts[0]) for v in views], units, layer, _parameters(node, call.inputs[count:])
    )
    return View(((made,),), views[0].axes)


def _width(equations: Any, widths: Sequence[int], widest: int) -> int:
    """Of the output: a number a row, or as many as the inputs have."""
    wide = [width == widest for width in widths]
    for operation, *operands in equations["nodes"]:
        constant = operation == "constant" or operation in ("sum", "mean", "max")
        wide.append(not constant and any(wide[k] for k in operands))
    return widest if wide[equations["outputs"][0]] else 1


def _plain(call: Call, node: Folded) -> View:
    inputs, weights = call.inputs[: len(node.input)], call.inputs[len(node.input) :]
    layer = dict(node.layer)
    type = layer.pop("type")
    views = [_sequence(value, False) for value in inputs[: node.sequences]]
    (_, time, batch), sources = views[0], [call.whole(one.parts[0]) for one, _, _ in views]
    for _, _, own_batch in views[1:]:
        batch.join(own_batch)
    if type in ATTENTION and len(views) > 2:
        views[1][1].join(views[2][1])
    lengths = []
    for rows in inputs[node.sequences :]:
        if not isinstance(rows, Rows) or rows.stage != "lengths" or rows.axes != (BATCH,):
            raise Refused(f"its lengths are {describe(rows)}; expected an input of the graph")
        lengths.append(rows.name)
    parameters = _parameters(node, weights)
    units = sources[0].features
    if type in ("Attention", "AdditiveAttention"):
        units = sources[1].features
    elif type in ATTENTION:
        units = node.shapes["attention_output/kernel"][2]
    made = call.graph.add(type, call.at, sources, units, layer, parameters)
    if lengths:  # of query, value and key, of which the last two have one axis
        made.layer.side_lengths = [*lengths, *lengths[-1:]][: len(sources)]
    return View(((made,),), (batch, time, FEATURES))


def _sequence(value: Value | None, streaming: bool) -> Any:
    if not isinstance(value, View) or value.ids:
        raise Refused(f"its input is {describe(value)}; expected a tensor that the model computes")
    if not streaming:
        return sequence_of(value, True)
    return sequence_of(View(value.parts, (ONE, *value.axes)), False)


def _parameters(node: Folded, values: Sequence[Value | None]) -> dict[str, NDArray[Any]]:
    """What the initialisers hold, in the layer's own parameters."""
    result = {key: np.empty(size_of(shape), np.float32) for key, shape in node.shapes.items()}
    found = {key: np.zeros(array.size, bool) for key, array in result.items()}
    keys = list(result)
    for value, (name, owners, places) in zip(values, node.weights, strict=True):
        if not isinstance(value, Known) or value.symbolic or value.array.dtype != np.float32:
            raise Refused(f"'{name}' is {describe(value)}; expected a constant of float32")
        if value.array.shape != owners.shape:
            raise Refused(f"'{name}' has shape {value.array.shape}; expected {owners.shape}")
        for number in np.unique(owners):
            own = owners == number
            if number < 0:  # zeros beside the heads of a kernel
                if value.array[own].any():
                    raise Refused(f"'{name}' has weights between heads, which such a layer has not")
                continue
            key, at = keys[number], places[own]
            if (found[key][at] & (result[key][at] != value.array[own])).any():
                raise Refused(f"'{name}' differs from other products by the matrix '{key}'")
            result[key][at], found[key][at] = value.array[own], True
    if not all(there.all() for there in found.values()):
        raise Refused("its weights are not all there")
    return {key: array.reshape(node.shapes[key]) for key, array in result.items()}
