"""The operator Attention (opset 23 on): a layer of heads whose projections are identities, until Dense layers around it
take their places (``fuse``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rekur.onnx._import.call import Call
from rekur.onnx._import.graph import Layer
from rekur.onnx._import.recurrent import sequence_of
from rekur.onnx._import.values import FEATURES, Refused, View


def attention(call: Call) -> View:
    views = [sequence_of(call.view(k), True) for k in range(3)]
    if any(call.has(k) for k in range(3, 7)):
        raise Refused("a mask, or keys and values of the past: sequences are padded at their end, with lengths")
    if any(call.wanted[1:]):
        raise Refused("its keys, values or scores are read")
    if call.attribute("softcap", 0.0) != 0 or call.attribute("qk_matmul_output_mode", 0) != 0:
        raise Refused("scores that are capped, or taken at a stage of their own")
    if call.attribute("softmax_precision", 1) != 1:
        raise Refused("a softmax that is not computed in float32")
    heads, groups = call.attribute("q_num_heads", 0), call.attribute("kv_num_heads", 0)
    query, key, value = (call.whole(view.parts[0]) for view, _, _ in views)
    if heads < 1 or groups < 1 or heads % groups or query.features % heads:
        raise Refused(f"{heads} heads of queries and {groups} of keys of a query with {query.features} features")
    size = query.features // heads
    if key.features != groups * size or value.features % groups:
        raise Refused(f"keys and values of {key.features} and {value.features} features for {groups} heads of {size}")
    (_, time, batch), (_, steps, _), (_, others, _) = views
    steps.join(others)
    for _, _, own in views[1:]:
        batch.join(own)
    scale = call.attribute("scale", 0.0) or size**-0.5
    causal = call.flag("is_causal")
    made = heads_of(call, (query, value, key), (heads, groups, size), scale, causal)
    return View(((made,),), (batch, time, FEATURES))


def heads_of(
    call: Call, tensors: Any, counts: tuple[int, int, int], scale: float, causal: bool, dims: Any = None
) -> Any:
    """A layer of heads with identities as projections; counts: of heads, of heads of keys, features of each."""
    query, value, key = tensors
    heads, groups, size = counts
    of_value = value.features // groups
    options: dict[str, Any] = {"use_causal_mask": causal, "use_bias": False}
    if heads == groups:
        type, units = "MultiHeadAttention", heads * of_value
        options |= {"num_heads": heads, "key_dim": size, "value_dim": of_value, "output_shape": units}
    elif of_value == size:
        type, units = "GroupQueryAttention", query.features
        options |= {"head_dim": size, "num_query_heads": heads, "num_key_value_heads": groups}
    else:
        raise Refused(f"heads that share keys, of {size} features, with values of {of_value}")
    # What is not the layer's own scale, 1/sqrt(size), goes to the queries; of those that are, the factor is exactly 1.
    factor = np.float32(1) if np.isclose(scale, size**-0.5, rtol=1e-6) else np.float32(scale * size**0.5)
    parameters = {
        "query/kernel": factor * _identity(call, query.features, (heads, size)),
        "key/kernel": _identity(call, key.features, (groups, size)),
        "value/kernel": _identity(call, value.features, (groups, of_value)),
        "attention_output/kernel": _identity(call, units).reshape(heads, -1, units),
    }
    made = call.graph.add(type, call.at, [query, value, key], units, options, parameters, dims)
    made.layer.identities = True
    return made


def take_projections(layer: Layer, before: list[Layer | None], after: Layer | None) -> bool:
    """Dense layers without activation in the place of identities: those that make the query, the value and the key and
    are read by nothing else, and the one that alone reads the output. Returns whether they were taken.
    """
    grouped = layer.type == "GroupQueryAttention"  # whose output has as many features as its query
    query = before[0].inputs[0].features if before[0] is not None else layer.inputs[0].features
    units = after.options["units"] if after is not None else layer.output.features
    if grouped and units != query:
        return False
    biases: dict[str, Any] = {}
    for place, (part, one) in enumerate(zip(("query", "value", "key"), before, strict=True)):
        if one is None:
            continue
        shape = layer.parameters[f"{part}/kernel"].shape
        factor = layer.parameters["query/kernel"][0, 0, 0] if part == "query" else np.float32(1)
        layer.parameters[f"{part}/kernel"] = factor * one.parameters["kernel"].reshape(-1, *shape[1:])
        if "bias" in one.parameters:
            biases[part] = factor * one.parameters["bias"].reshape(shape[1:])
        layer.inputs[place] = one.inputs[0]
    if after is not None:
        shape = layer.parameters["attention_output/kernel"].shape
        layer.parameters["attention_output/kernel"] = after.parameters["kernel"].reshape(*shape[:2], units)
        if "bias" in after.parameters:
            biases["attention_output"] = after.parameters["bias"]
        if not grouped:
            layer.options["output_shape"] = units
    if biases:
        layer.options["use_bias"] = True
        kernels = {part: layer.parameters[f"{part}/kernel"] for part in ("query", "key", "value", "attention_output")}
        layer.parameters = {}
        for part, kernel in kernels.items():
            shape = kernel.shape[2:] if part == "attention_output" else kernel.shape[1:]
            layer.parameters[f"{part}/kernel"] = kernel
            layer.parameters[f"{part}/bias"] = biases.get(part, np.zeros(shape, np.float32))
    return True


def _identity(call: Call, features: int, split: tuple[int, ...] = (-1,)) -> Any:
    call.budget.check((features, features))
    return np.eye(features, dtype=np.float32).reshape(features, *split)
