"""Sizes of tensors before a cut, said as sizes of the tensors at the cut.

What stands behind a cut may ask tensors before it for a size: PyTorch takes the batch of zero states from the module's
own input, which may be an image. Where both have the same axis, the cut says it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

Axes: TypeAlias = "Sequence[int | str] | None"  # a size, or a symbol; "" where neither is known
Place: TypeAlias = "tuple[str, int] | int"  # (tensor at the cut, axis), or a size


def say_by_cut(graph: Any, cut: Iterable[str], axes_of: Callable[[str], Axes]) -> None:
    """Rewrite in place what reads the shapes of other tensors. axes_of: a tensor's sizes and symbols, or None."""
    import onnx

    places: dict[str, tuple[str, int]] = {}
    for name in cut:
        for axis, symbol in enumerate(axes_of(name) or ()):
            if isinstance(symbol, str) and symbol:
                places.setdefault(symbol, (name, axis))
    shapes: dict[str, list[Place | None]] = {}
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] not in cut and (axes := axes_of(node.input[0])) is not None:
            bounds = {entry.name: entry.i for entry in node.attribute}
            chosen = axes[bounds.get("start", 0) : bounds.get("end", len(axes))]
            shapes[node.output[0]] = [places.get(one) if isinstance(one, str) else one for one in chosen]
    constants = _constants(graph)
    nodes: list[Any] = []
    for node in graph.node:
        own = shapes.get(node.input[0]) if node.op_type == "Gather" and len(node.input) == 2 else None
        whole = shapes.get(node.output[0]) if node.op_type == "Shape" else None
        index = constants.get(node.input[1]) if own is not None else None
        if own is not None and index is not None and index.ndim < 2 and index.size and _within(index, len(own)):
            found = [own[k] for k in np.atleast_1d(index)]
        elif whole:
            found, index = whole, np.arange(len(whole))
        else:
            found = [None]
        if index is None or None in found:
            copy = type(node)()
            copy.CopyFrom(node)
            nodes.append(copy)
            continue
        nodes += _sizes(onnx, node.output[0], [place for place in found if place is not None], index.ndim == 0)
    del graph.node[:]
    graph.node.extend(nodes)


def _within(index: Any, count: int) -> bool:
    return index.dtype.kind == "i" and bool(((-count <= index) & (index < count)).all())


def _constants(graph: Any) -> dict[str, Any]:
    """Small ones, by name: of initialisers and of nodes."""
    import onnx

    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    integers = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    found = {}
    for name, tensor in tensors.items():
        few = len(tensor.dims) < 2 and all(0 <= size < 64 for size in tensor.dims)
        if few and tensor.data_type in integers and not tensor.data_location:
            try:
                found[name] = onnx.numpy_helper.to_array(tensor)
            except (ValueError, TypeError):  # what is damaged the walk over the nodes names
                continue
    return found


def _sizes(onnx: Any, name: str, places: Sequence[Place], scalar: bool) -> Iterator[Any]:
    """Nodes that make ``name`` of these sizes: one number, or a vector of them."""
    parts = []
    for number, place in enumerate(places):
        part = name if len(places) == 1 else f"{name}/by cut/{number}"
        value, axis = (None, place) if isinstance(place, int) else place
        index = onnx.numpy_helper.from_array(np.array(axis if scalar else [axis], np.int64))
        made = part if value is None else f"{part}/axis"
        yield onnx.NodeProto(op_type="Constant", output=[made], attribute=[onnx.helper.make_attribute("value", index)])
        if value is not None:
            yield onnx.helper.make_node("Shape", [value], [f"{part}/shape"])
            yield onnx.helper.make_node("Gather", [f"{part}/shape", made], [part], axis=0)
        parts.append(part)
    if len(parts) > 1:
        yield onnx.helper.make_node("Concat", parts, [name], axis=0)
