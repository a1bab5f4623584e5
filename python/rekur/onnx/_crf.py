"""CRF: Scans over the steps, one from the first on, one back from the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._errors import ExportError
from rekur.onnx._graph import FLOAT, Graph, Tensor
from rekur.onnx._masks import INT32, steps_there, valid_or_zero
from rekur.onnx._matrix import Writer
from rekur.onnx._plan import Layer, Plan, describe


def crf(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), name, tags = inputs, layer["name"], layer["units"]
    if plan.streaming or x.axis is None:
        raise ExportError(f"streaming=True: {describe(layer)}: tags depend on the steps that are still to come")
    owner, w = describe(layer), Writer(graph, name)
    arrays = {"transitions": graph.weight(owner, f"{name}/transitions", (tags, tags))}
    for end in ("start_transitions", "end_transitions"):
        there = layer.get("use_boundary", True)
        arrays[end] = graph.weight(owner, f"{name}/{end}", (tags,)) if there else np.zeros(tags, np.float32)
    held = {key: graph.initializer(f"{name}/{key}", array) for key, array in arrays.items()}
    value, valid = graph.batch_major(x), steps_there(graph, x)
    scanned = [value]
    if valid:
        scanned.append(graph.once("Unsqueeze", [valid, graph.integers(2)], f"{valid}/by_step"))
    shape = graph.once("Shape", [value], f"{x.label}/batch_major_shape")
    rows = graph.once("Slice", [shape, graph.integers(0), graph.integers(1)], f"{x.label}/rows")
    whole = w("Concat", [rows, graph.integers(tags)], "state/shape", axis=0)
    zeros = w("ConstantOfShape", [whole], "zeros")
    if layer.get("output_mode", "tags") == "tags":
        y = _best(graph, w, held, zeros, scanned, tags)
    else:
        y = _marginals(graph, w, held, zeros, scanned)
    if valid:
        y = valid_or_zero(graph, valid, y, f"{name}/valid")
    return [Tensor(name, tags, x.axis, batch_major=graph.emit("Reshape", [y, graph.integers(0, 0, tags)], name))]


def _best(graph: Graph, w: Writer, held: dict[str, str], zeros: str, scanned: list[str], tags: int) -> str:
    """Viterbi: the best scores and where they came from, then the tags from the last one back, as one-hot vectors."""
    label = w.label
    body, (scores, begun, step) = _body(graph, label, "best", ("scores", "begun"), len(scanned) == 2)
    b = Writer(body, f"{label}/best")
    pairs = b("Add", [b("Unsqueeze", [scores, graph.integers(2)], "column"), held["transitions"]], "pairs")
    reached = b("ReduceMax", [pairs], "reached", axes=[1], keepdims=0)
    came = b("Cast", [b("ArgMax", [pairs], "from", axis=1, keepdims=0)], "from/int32", to=INT32)
    own = graph.initializer(f"{label}/tags", np.arange(tags, dtype=np.int32))
    if len(scanned) == 2:  # at a step that is none a tag comes from itself
        came = b("Where", [f"{label}/best/valid", came, own], "came")
    else:
        came = b("Add", [came, graph.initializer("int32/0", np.array(0, np.int32))], "came")
    _finish(body, b, held["start_transitions"], reached, scores, begun, step, len(scanned) == 2)
    body.outputs += [(came, "int32", ())]
    last, came_from = f"{label}/last", f"{label}/came_from"
    graph.emit(
        "Scan", [zeros, zeros, *scanned], last, f"{label}/begun", came_from, name=f"{label}/best/Scan", body=body,
        num_scan_inputs=len(scanned), scan_input_axes=[1] * len(scanned), scan_output_axes=[1],
    )  # fmt: skip
    ends = w("Add", [last, held["end_transitions"]], "ends")
    tag = w("Cast", [w("ArgMax", [ends], "last/tag", axis=1, keepdims=1)], "last/tag/int32", to=INT32)
    back = graph.body()
    k = Writer(back, f"{label}/back")
    given = [f"{label}/back/tag", f"{label}/back/came_from"]
    before = k("GatherElements", [given[1], given[0]], "before", axis=1)
    here = k("Identity", [given[0]], "here")
    back.inputs = [(given[0], "int32", ()), (given[1], "int32", ())]
    back.outputs = [(before, "int32", ()), (here, "int32", ())]
    path = f"{label}/path"
    graph.emit(
        "Scan", [tag, came_from], f"{label}/first", path, name=f"{label}/back/Scan", body=back, num_scan_inputs=1,
        scan_input_axes=[1], scan_output_axes=[1], scan_input_directions=[1], scan_output_directions=[1],
    )  # fmt: skip
    return w("Cast", [w("Equal", [path, own], "one_hot")], "one_hot/float", to=FLOAT)


def _marginals(graph: Graph, w: Writer, held: dict[str, str], zeros: str, scanned: list[str]) -> str:
    """Logarithms of sums over what comes before and behind; their sum's softmax."""
    label, masked = w.label, len(scanned) == 2
    body, (sums, begun, step) = _body(graph, label, "forward", ("sums", "begun"), masked)
    b = Writer(body, f"{label}/forward")
    pairs = b("Add", [b("Unsqueeze", [sums, graph.integers(2)], "column"), held["transitions"]], "pairs")
    reached = _log_sum(graph, b, pairs, 1)
    after = _finish(body, b, held["start_transitions"], reached, sums, begun, step, masked)
    body.outputs += [(b("Identity", [after], "each"), "float32", ())]
    before = f"{label}/before"
    graph.emit(
        "Scan", [zeros, zeros, *scanned], f"{label}/last", f"{label}/begun", before, name=f"{label}/forward/Scan",
        body=body, num_scan_inputs=len(scanned), scan_input_axes=[1] * len(scanned), scan_output_axes=[1],
    )  # fmt: skip
    back, (rest, step) = _body(graph, label, "back", ("rest",), masked)
    k = Writer(back, f"{label}/back")
    row = k("Unsqueeze", [k("Add", [step, rest], "with_step"), graph.integers(1)], "row")
    moved = _log_sum(graph, k, k("Add", [row, held["transitions"]], "pairs"), 2)
    if masked:
        moved = k("Where", [f"{label}/back/valid", moved, rest], "moved")
    back.outputs = [(moved, "float32", ()), (k("Identity", [rest], "each"), "float32", ())]
    behind, ends = f"{label}/behind", w("Add", [zeros, held["end_transitions"]], "ends")
    ones = [1] * len(scanned)
    graph.emit(
        "Scan", [ends, *scanned], f"{label}/first", behind, name=f"{label}/back/Scan", body=back,
        num_scan_inputs=len(scanned), scan_input_axes=ones, scan_output_axes=[1], scan_input_directions=ones,
        scan_output_directions=[1],
    )  # fmt: skip
    return w("Softmax", [w("Add", [before, behind], "scores")], "marginals", axis=-1)


def _body(graph: Graph, label: str, part: str, states: Sequence[str], masked: bool) -> tuple[Graph, list[str]]:
    """A step's graph, of the states and the emissions (B, K), and where there is a mask of whether it is a step."""
    body = graph.body()
    names = [f"{label}/{part}/{state}" for state in (*states, "step")]
    body.inputs = [(name, "float32", ()) for name in names]
    if masked:
        body.inputs.append((f"{label}/{part}/valid", "bool", ()))
    return body, names


def _finish(body: Graph, b: Writer, start: str, reached: str, before: str, begun: str, step: str, masked: bool) -> str:
    """The states after a step: the first one begins with ``start``, and one that is none leaves them as they are."""
    came = b("Greater", [begun, b.number(0.5)], "has_begun")
    after = b("Add", [b("Where", [came, reached, start], "begins"), step], "after")
    has = b("Max", [begun, b.number(1.0)], "begins/now")
    if masked:
        valid = f"{b.label}/valid"
        after = b("Where", [valid, after, before], "after/valid")
        has = b("Where", [valid, has, begun], "begun/valid")
    body.outputs = [(after, "float32", ()), (has, "float32", ())]
    return after


def _log_sum(graph: Graph, w: Writer, value: str, axis: int) -> str:
    most = w("ReduceMax", [value], "most", axes=[axis], keepdims=1)
    total = w(
        "ReduceSum", [w("Exp", [w("Sub", [value, most], "less")], "exp"), graph.integers(axis)], "sum", keepdims=0
    )
    return w("Add", [w("Log", [total], "log"), w("Squeeze", [most, graph.integers(axis)], "most/row")], "log_sum")
