"""What the file says in several nodes and a layer says at once: biases, activations, gains, both directions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rekur.onnx._import.attention import take_projections
from rekur.onnx._import.graph import Graph, Layer
from rekur.onnx._import.turned import turned
from rekur.onnx._import.uses import Uses
from rekur.onnx._import.values import Tensor
from rekur.onnx._plan import CONVOLUTIONS

MERGES = {"Concatenate": "concat", "Add": "sum", "Multiply": "mul"}
HALF = {"scale": 0.5, "offset": 0.0}


def fuse(graph: Graph, outputs: Sequence[Tensor]) -> None:
    """Rewrite the layers; outputs: what the model gives."""
    uses = Uses(graph, outputs)
    gone = turned(graph, uses)
    for layer in graph.layers:
        if id(layer) in gone:
            continue
        if layer.twin is not None:
            gone |= _directions(layer, uses)
        elif layer.identities:
            gone |= _projections(layer, uses)
        elif layer.type in ABSORBS:
            gone |= _absorb(layer, uses)
            if layer.type == "Dense" and _split(layer, uses):
                gone.add(id(layer))
    graph.layers = _in_order([layer for layer in graph.layers if id(layer) not in gone])


def _in_order(layers: list[Layer]) -> list[Layer]:
    """Each after those it reads, else as they were: a Bidirectional reads what both of its directions read."""
    result: list[Layer] = []
    known = {id(layer) for layer in layers}
    begun: set[int] = set()
    done: set[int] = set()
    waiting = layers[::-1]
    while waiting:
        layer = waiting[-1]
        if id(layer) in begun:
            waiting.pop()
            if id(layer) not in done:
                done.add(id(layer))
                result.append(layer)
            continue
        begun.add(id(layer))
        waiting += [
            one for one in (tensor.layer for tensor in layer.inputs) if id(one) in known and id(one) not in begun
        ]
    return result


def _reads(layer: Layer, other: Layer) -> bool:
    """Whether a layer depends on another one."""
    seen: set[int] = set()
    waiting = [tensor.layer for tensor in layer.inputs]
    while waiting:
        one = waiting.pop()
        if one is other:
            return True
        if id(one) not in seen:
            seen.add(id(one))
            waiting += [tensor.layer for tensor in one.inputs]
    return False


def _absorb(layer: Layer, uses: Uses) -> set[int]:
    """Take in what follows as long as nothing else reads what is between."""
    gone: set[int] = set()
    while (follower := uses.sole(layer.output)) is not None and ABSORBS[layer.type](layer, follower):
        _take_over(layer, follower)
        gone.add(id(follower))
    return gone


def _projections(layer: Layer, uses: Uses) -> set[int]:
    """Dense layers around attention become its projections."""
    before = [_linear(tensor.layer) if uses.sole(tensor) is layer else None for tensor in layer.inputs]
    after, gone = uses.sole(layer.output), set[int]()
    if after is not None and after.type == "Dense":
        gone |= _absorb(after, uses)
    after = _linear(after)
    if not take_projections(layer, before, after):
        return gone
    if after is not None:
        _take_over(layer, after)
    return gone | {id(one) for one in (*before, after) if one is not None}


def _split(layer: Layer, uses: Uses) -> bool:
    """A product of which only parts are read: as many products, as of query, key and value that are one in the file."""
    parts = [reader for reader in uses.of(layer.output) if reader is not None and reader.type == "Slice"]
    if len(parts) < 2 or len(parts) < len(uses.of(layer.output)) or _linear(layer) is None:
        return False
    edges = sorted((part.options["start"], part.options["stop"]) for part in parts)
    if any(a[1] > b[0] for a, b in pairwise(edges)):  # weights that two of them have
        return False
    kernel, bias = layer.parameters["kernel"], layer.parameters.get("bias")
    for part in parts:
        columns = slice(part.options["start"], part.options["stop"])
        part.type, part.inputs = "Dense", list(layer.inputs)
        part.parameters = {"kernel": kernel[:, columns]}
        if bias is not None:
            part.parameters["bias"] = bias[columns]
        part.options = {**layer.options, "units": columns.stop - columns.start}
    readers = uses.readers[id(layer.inputs[0])]
    readers[:] = [reader for reader in readers if reader is not layer] + list[Layer | None](parts)
    return True


def _linear(layer: Layer | None) -> Layer | None:
    """A Dense layer without activation, or None."""
    return layer if layer is not None and layer.type == "Dense" and "activation" not in layer.options else None


def _take_over(layer: Layer, follower: Layer) -> None:
    layer.output = follower.output
    layer.output.layer = layer


def _offset(follower: Layer, units: int) -> Any:
    """The vector that a layer adds and does nothing else; one number counts where there is one feature."""
    offset = follower.options.get("offset")
    fits = isinstance(offset, list) or units == 1
    if follower.type != "Rescaling" or follower.options["scale"] != 1.0 or not fits:
        return None
    return np.asarray(offset, np.float32).reshape(units)


def _dense(layer: Layer, follower: Layer) -> bool:
    options = layer.options
    if "activation" in options:
        return False
    if not options.get("use_bias", True) and (bias := _offset(follower, options["units"])) is not None:
        layer.parameters["bias"] = bias
        options["use_bias"] = True
        return True
    if follower.type == "Activation":
        options["activation"] = follower.options["activation"]
        return True
    return False


def _activated(layer: Layer, follower: Layer) -> bool:
    """A convolution and its activation."""
    if "activation" in layer.options or follower.type != "Activation":
        return False
    layer.options["activation"] = follower.options["activation"]
    return True


def _normalization(layer: Layer, follower: Layer) -> bool:
    options = layer.options
    if follower.type != "Rescaling" or options["center"]:
        return False
    features = layer.inputs[0].features
    scale, offset = follower.options["scale"], follower.options["offset"]
    if not options["scale"] and isinstance(scale, list) and offset == 0.0:
        layer.parameters["gamma"] = np.asarray(scale, np.float32)
        options["scale"] = True
        return True
    if (beta := _offset(follower, features)) is not None:
        layer.parameters["beta"] = beta
        options["center"] = True
        return True
    return False


def _rescaling(layer: Layer, follower: Layer) -> bool:
    """A factor, then an offset."""
    if follower.type != "Rescaling" or layer.options["offset"] != 0.0 or follower.options["scale"] != 1.0:
        return False
    layer.options["offset"] = follower.options["offset"]
    return True


ABSORBS = {
    "Dense": _dense,
    "LayerNormalization": _normalization,
    "Rescaling": _rescaling,
    **dict.fromkeys(CONVOLUTIONS, _activated),
}


def _directions(layer: Layer, uses: Uses) -> set[int]:
    """Two directions of one node become a Bidirectional layer if their sequences are read only side by side."""
    other = layer.twin
    assert other is not None
    core = {key: value for key, value in other.options.items() if key != "reverse"}
    if core != layer.options or len(layer.inputs) != len(other.inputs):
        return set()
    if len(layer.inputs) > layer.sequences and (_reads(layer, other) or _reads(other, layer)):
        return set()  # one begins where the other ends
    sequences = bool(uses.of(layer.output) or uses.of(other.output))
    pair = [layer.output, other.output] if sequences else [layer.states["h"], other.states["h"]]
    merge = next(
        (
            reader
            for reader in uses.of(pair[0])
            if reader is not None and reader.type in MERGES and [id(t) for t in reader.inputs] == [id(t) for t in pair]
        ),
        None,
    )
    if sequences and (merge is None or any(uses.sole(tensor) is not merge for tensor in pair)):
        return set()

    gone = {id(other)}
    mode = "concat"
    if merge is not None:
        mode, result = MERGES[merge.type], merge.output
        gone.add(id(merge))
        half = uses.sole(result)
        if mode == "sum" and half is not None and half.type == "Rescaling" and half.options == HALF:
            mode, result = "ave", half.output
            gone.add(id(half))
        result.layer, result.port = layer, "merged"
        layer.output = result
    for side, member in (("forward", layer), ("backward", other)):
        for state, tensor in member.states.items():
            tensor.layer, tensor.port = layer, f"{side}.{state}"
    layer.options = {"layer": {"type": layer.type, **core, "return_sequences": sequences}, "merge_mode": mode}
    layer.type = "Bidirectional"
    layer.inputs = [*layer.inputs, *other.inputs[other.sequences :]]
    layer.parameters = {
        f"{side}/{key}": array
        for side, member in (("forward", layer), ("backward", other))
        for key, array in member.parameters.items()
    }
    return gone
