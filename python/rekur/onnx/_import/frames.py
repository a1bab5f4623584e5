"""Rows that a recurrent node reads as steps: frames of a sequence, each of which other layers look at by itself.

A file that has the frames of one recording on its first axis puts them through convolutions as rows, then through an
LSTM as steps. The model takes sequences of frames (B, T, …); FoldTime makes rows of them and UnfoldTime steps again.
"""

from __future__ import annotations

from dataclasses import dataclass

from rekur.onnx._import.call import Call
from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.values import BATCH, FEATURES, ONE, TIME, Axis, Dim, Refused, Tensor, View


@dataclass(eq=False)
class Framed:
    """Rows that are frames: their axis, and the axes of the sequence that they are of."""

    rows: Dim
    batch: Dim
    time: Dim
    inputs: dict[int, Tensor]  # by the input as it was the one of the model


def as_sequence(call: Call, x: View) -> View:
    """(frames, 1, features), whose first axis were rows so far, as (time, batch, features); any other as it is."""
    rows = x.axes[0] if len(x.axes) == 3 else None
    one = x.axes[1] if rows is not None else None
    single = one == ONE or (isinstance(one, Dim) and one.size == 1)
    if not isinstance(rows, Dim) or rows.kind != BATCH or not single or x.axes[2] != FEATURES or len(x.parts) != 1:
        return x
    made = call.whole(x.parts[0])
    if all(dim.root is not rows.root for dim in made.dims):
        return x
    graph = call.graph
    if len(made.dims) == 2:
        made = graph.add("Step", call.at, [made], made.features, {"index": 0}, dims=(rows,))
    framed = _framed(graph, call.at, rows)
    like = next(iter(framed.inputs.values()))
    dims = (framed.batch, framed.time)
    steps = graph.add("UnfoldTime", call.at, [made, like], made.features, dims=dims)
    return View(((steps,),), (framed.time, framed.batch, FEATURES))


def _framed(graph: Graph, at: tuple[str, str], rows: Dim) -> Framed:
    known: Framed | None = next((one for one in graph.framed if one.rows.root is rows.root), None)
    if known is not None:
        return known
    batch, time = Dim(f"the rows of {at[0]}", 1), Dim(rows.label, rows.size)
    batch.mark(BATCH)
    time.mark(TIME)
    made = Framed(rows, batch, time, {})
    inputs = [layer for layer in graph.layers if layer.type == "Input" and rows.root in _roots(layer.output)]
    if not inputs:
        raise Refused(f"{rows.label} is the batch axis elsewhere and would be the time axis here")
    for layer in inputs:
        made.inputs[id(layer.output)] = _as_frames(graph, layer, made)
        graph.kept.append(layer.output)
    graph.framed.append(made)
    return made


def _roots(tensor: Tensor) -> set[Dim]:
    return {dim.root for dim in tensor.dims}


def _as_frames(graph: Graph, layer: Layer, framed: Framed) -> Tensor:
    """The input as a sequence of frames; what read its rows reads those of the frames."""
    old, at = layer.output, (layer.node, "")
    inner = [dim for dim in old.dims if dim.root is not framed.rows.root]
    if old.features == 0 or len(inner) > 1 or (inner and (inner[0].size is None or old.features != 1)):
        raise Refused(
            f"{framed.rows.label} is the batch axis elsewhere and would be the time axis here; frames of a sequence "
            "are understood as numbers (frames, size), of a size that the file or sizes= gives"
        )
    width = inner[0].size if inner else old.features
    assert width is not None
    end = len(graph.layers)
    new = graph.add("Input", (layer.node, layer.hint), [], width, dims=(framed.batch, framed.time))
    (added,) = graph.layers[end:]
    graph.layers[end:] = []
    graph.layers[graph.layers.index(layer)] = added
    rows = graph.add("FoldTime", at, [new], width, dims=(framed.rows,))
    if inner:
        options = {"target_shape": [width, 1]}
        rows = graph.add("Reshape", at, [rows], 1, options, dims=(framed.rows, inner[0]))
    graph.aliases[id(old)] = rows
    return new


def framed_view(graph: Graph, view: View) -> View:
    """A file's input, where it was made one of frames."""
    old = view.parts[0][0]
    for one in graph.framed:
        new = one.inputs.get(id(old))
        if new is None:
            continue
        axes: list[Axis] = []
        for axis in view.axes:
            inner = FEATURES if isinstance(axis, Dim) else axis
            axes.append(one.time if isinstance(axis, Dim) and axis.root is one.rows.root else inner)
        return View(((new,),), tuple(axes))
    return view


def check_rows(graph: Graph, view: View) -> None:
    """An output of frames that are rows would be one of other rows than the model's.

    Raises
    ------
    Refused
        It is.
    """
    for one in graph.framed:
        if any(dim.root is one.rows.root for part in view.parts for piece in part for dim in piece.dims):
            raise Refused(f"its rows are the frames of a sequence elsewhere: {one.rows.label}")
