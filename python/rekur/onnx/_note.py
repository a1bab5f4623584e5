"""Notes in a file for whoever loads it again: which nodes together are a layer that ONNX has no operator for.

The node that makes such a layer's output says in its ``doc_string`` which layer it is. The import does not take that on
trust: it holds the nodes against those that the exporter would write of this layer (``_import/fold.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rekur._spec import ATTENTION, MATRIX, POSITIONS
from rekur.onnx._around import label_inside
from rekur.onnx._attention import Heads
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import mask_of, step_mask
from rekur.onnx._matrix import Attention
from rekur.onnx._plan import Layer, Plan, sequences_of
from rekur.onnx._recurrent_kernel import recurrent_shapes
from rekur.onnx._scan import state_width

POINTWISE = ("Lambda", "Affine", "Activation", "Dense")  # work on every step, or on rows; some of them have a note
MAX_NOTE = 128 * 1024  # characters
_LEFT_OUT = ("name", "owner", "inputs", "return_state", "residual", "learn_initial_state")

Shapes = dict[str, tuple[int, ...]]


def add_note(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> None:
    """Say at the layer's output which it is, where its nodes alone do not say so."""
    pointwise = _needs_note(plan, layer)
    plain = pointwise or layer["type"] in (*ATTENTION, *POSITIONS)  # its inputs are all sequences
    if plain and layer.get("return_attention_scores", False):
        return
    if layer["type"] not in MATRIX and not plain and not (layer["type"] == "RNN" and plan.streaming):
        return
    if plain and not pointwise and (plan.streaming or plan.pieces):
        return  # with states, of which a note of such a layer knows nothing
    masked = mask_of(plan, layer) or step_mask(plan, layer) or any(x.axis is not None and x.axis.mask for x in inputs)
    if not pointwise and masked:
        return  # what is around its nodes is not loaded again
    count, held = len(inputs) if plain else sequences_of(layer), plan.states.get(layer["name"])
    axis = inputs[0].axis
    note = {
        "layer": {key: value for key, value in layer.items() if key not in _LEFT_OUT},
        "features": [tensor.features for tensor in inputs[:count]],
        "initial": len(held) if held else len(inputs) - count,
        "lengths": bool(axis is not None and axis.lengths) and layer["type"] not in (*POSITIONS, *POINTWISE),
        "streaming": plan.streaming and not pointwise,
    }
    text, output = json.dumps(note), label_inside(plan, layer)
    for node in reversed(graph.nodes):
        if node.outputs[0] in (output, f"{output}/time_major") and node.op != "Transpose" and len(text) <= MAX_NOTE:
            node.doc = text
            return


def _needs_note(plan: Plan, layer: Layer) -> bool:
    """Whether the nodes of a layer of every step are others than that layer's own."""
    kind, name = layer["type"], layer["name"]
    if kind == "Lambda":
        return (name, 1) not in plan.shapes
    given = layer.get("activation", "linear") if kind in POINTWISE else "linear"
    return kind == "Affine" or (not isinstance(given, str) and "equations" in given)


def shapes_of(layer: Mapping[str, Any], given: Sequence[int]) -> Shapes:
    """The parameters of a layer that notes are about, in its order, by their names without the layer's; given: the
    features of its sequences.
    """
    features = given[0]
    if layer["type"] in ("MultiHeadAttention", "GroupQueryAttention"):
        return _shapes_of_heads(layer, given)
    if layer["type"] in POINTWISE:
        return _shapes_of_pointwise(layer, features)
    if layer["type"] == "PositionEmbedding":
        return {"embeddings": (layer["sequence_length"], features)}
    if layer["type"] in (*ATTENTION, *POSITIONS):
        return _shapes_of_attention(layer, features)
    if layer["type"] == "RNN":
        return _shapes_of_rnn(layer, features)
    if layer["type"] == "SelectiveSSM":
        return _shapes_of_selective(layer, features)
    a, units = Attention.of(layer), layer.get("units", features)
    values = a.heads * a.value
    gate = values * bool(layer.get("output_gate", True))
    mlstm = a.mode == "mlstm"
    columns = 2 * a.heads * a.key + values + gate + (a.heads if mlstm else a.decays + a.heads * a.delta)
    apart = a.heads if mlstm else 0
    shapes: Shapes = {"kernel": (features, columns + apart)}
    if layer.get("use_bias", True):
        shapes["bias"] = (columns,)
        if apart:
            shapes["forget_bias"] = (apart,)
    shapes["gamma"] = (values if mlstm else a.value,)
    shapes["output_kernel"] = (values, units)
    if layer.get("use_bias", True):
        shapes["output_bias"] = (units,)
    return shapes


def _shapes_of_attention(layer: Mapping[str, Any], features: int) -> Shapes:
    additive = layer["type"] == "AdditiveAttention"
    shapes: Shapes = {}
    if layer.get("use_scale", additive) and layer["type"] in ATTENTION:
        shapes["scale"] = (features,) if additive else ()
    if layer.get("score_mode") == "concat":
        shapes["concat_score_weight"] = ()
    return shapes


def _shapes_of_pointwise(layer: Mapping[str, Any], features: int) -> Shapes:
    if layer["type"] == "Affine":
        names = ("gamma", "beta")[: 2 if layer.get("center", True) else 1]
        return {name: (features,) for name in names}
    if layer["type"] != "Dense":
        return {}
    shapes: Shapes = {"kernel": (features, layer["units"])}
    return {**shapes, "bias": (layer["units"],)} if layer.get("use_bias", True) else shapes


def _shapes_of_heads(layer: Mapping[str, Any], given: Sequence[int]) -> Shapes:
    h, shapes = Heads.of(layer), Shapes()
    parts = {
        "query": (given[0], h.queries, h.key),
        "key": (given[-1], h.keys, h.key),
        "value": (given[1], h.keys, h.value),
        "attention_output": (h.queries, h.value, layer.get("output_shape") or given[0]),
    }
    for part, shape in parts.items():
        shapes[f"{part}/kernel"] = shape
        if layer.get("use_bias", True):
            shapes[f"{part}/bias"] = shape[2:] if part == "attention_output" else shape[1:]
    return shapes


def _shapes_of_selective(layer: Mapping[str, Any], features: int) -> Shapes:
    channels, numbers = layer.get("expand", 2) * features, layer.get("state_size", 16)
    rank, units = layer.get("dt_rank", -(-features // 16)), layer.get("units", features)
    bias, conv_bias = layer.get("use_bias", False), layer.get("use_conv_bias", True)
    shapes: Shapes = {
        "kernel": (features, 2 * channels),
        **({"bias": (2 * channels,)} if bias else {}),
        "convolution": (layer.get("conv_kernel", 4), channels),
        **({"convolution_bias": (channels,)} if conv_bias else {}),
        "selection_kernel": (channels, rank + 2 * numbers),
        "dt_kernel": (rank, channels),
        "dt_bias": (channels,),
        "A_log": (numbers, channels),
        "D": (channels,),
        "output_kernel": (channels, units),
        **({"output_bias": (units,)} if bias else {}),
    }
    return shapes


def _shapes_of_rnn(layer: Mapping[str, Any], features: int) -> Shapes:
    cell, units = layer["cell"], layer["units"]
    products, recurrent, bias = len(cell["kernel"]), len(cell["recurrent"]), layer.get("use_bias", True)
    own = recurrent_shapes(cell, units, state_width(layer, 0))
    shapes: Shapes = {}
    if products:
        shapes["kernel"] = (features, products * units)
    if "recurrent_kernel" in own:
        shapes["recurrent_kernel"] = own.pop("recurrent_kernel")
    if products and bias:
        shapes["bias"] = (products * units,)
    if recurrent and bias and cell.get("recurrent_bias", False):
        shapes["recurrent_bias"] = (recurrent * units,)
    shapes.update({weight["name"]: (units,) for weight in cell.get("weights", ())})
    if "projection_size" in layer:
        shapes["projection_kernel"] = (units, layer["projection_size"])
    return {**shapes, **own}
