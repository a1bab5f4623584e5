"""From the plan of a model to its graph: inputs, layers in order, outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from rekur.onnx._axes import BATCH, Ref, parse_ref
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import OPSETS, Graph, Tensor
from rekur.onnx._layers import LAYERS, Rule
from rekur.onnx._lengths import follow_lengths
from rekur.onnx._masks import join_masks
from rekur.onnx._note import add_note
from rekur.onnx._plan import Layer, Plan, describe, sequences_of
from rekur.onnx._states import latest

STEPWISE: dict[str, Rule] = {"Step": latest}  # layers that are something else in a one-step model


def build(
    plan: Plan,
    weights: Mapping[str, Any],
    opset: int = OPSETS[0],
    int8: Collection[str] = (),
    integer_products: bool = False,
) -> Graph:
    """The graph of everything the outputs need. Every input stays, read or not: it is the model's interface.

    States come after the model's own inputs and outputs, in the order of the layers. int8: the weights that are of
    eight bits; integer_products: operators on integers for what multiplies by them, where there are such.
    """
    graph = Graph(weights, opset, plan.spec.get("twins", {}), int8, integer_products)
    tensors: dict[tuple[str, int], Tensor] = {}
    states = plan.all_states()
    for name in plan.inputs:
        if name not in plan.replaced:
            tensor = _input(plan, plan.layers[name])
            tensors[name, 0] = tensor
            graph.inputs.append((name, tensor.dtype, tensor.shape))
    for axis in plan.axes:
        if axis.lengths:
            graph.inputs.append((axis.lengths, "int32", (BATCH,)))
        if axis.mask:
            graph.inputs.append((axis.mask, "bool", (BATCH, axis.size)))
    for state in states:
        graph.inputs.append((state.input, "float32", (BATCH, state.units)))
    emit_layers(graph, plan, tensors)
    for text in plan.spec["outputs"]:
        name, index = parse_ref(text)
        if (name, index) not in tensors:
            raise ExportError(f"the model's output '{text}' does not exist")
        graph.output(tensors[name, index], f"{name}:{index}" if index else name)
    for state in states:
        graph.output(Tensor(state.output, state.units, batch_major=state.output), state.output)
    return graph


def emit_layers(graph: Graph, plan: Plan, tensors: dict[Ref, Tensor]) -> None:
    """The nodes of everything the outputs need, of inputs that are in ``tensors``, where outputs are afterwards."""
    for layer in plan.live:
        if layer["type"] == "Input":
            continue
        rule = LAYERS.get(layer["type"])
        if plan.streaming:
            rule = STEPWISE.get(layer["type"], rule)
        if rule is None:
            raise ExportError(f"{describe(layer)}: layers of this type have no ONNX form")
        given = layer["inputs"][: sequences_of(layer)] if layer["name"] in plan.states else layer["inputs"]
        inputs = [_resolve(tensors, layer, text) for text in given]
        join_masks(graph, plan, layer)
        for index, output in enumerate(rule(graph, plan, layer, inputs)):
            tensors[layer["name"], index] = _laid_out(plan, (layer["name"], index), output)
        follow_lengths(graph, plan, layer)
        add_note(graph, plan, layer, inputs)


def _input(plan: Plan, layer: Layer) -> Tensor:
    shape, name = layer["shape"], layer["name"]
    ids = layer.get("dtype", "float32") == "int32"
    if not ids and shape[-1] is None:
        raise ExportError(f"{describe(layer)}: the number of features must be known, got {tuple(shape)}")
    return _laid_out(plan, (name, 0), Tensor(name, None if ids else shape[-1], batch_major=name))


def _laid_out(plan: Plan, ref: Ref, tensor: Tensor) -> Tensor:
    """The tensor with the axes that the model's has, whatever its rule knows of them."""
    axis, shape = plan.time.get(ref), plan.shapes.get(ref, ())
    if tensor.whole is not None:
        return tensor
    timed = axis is not None or (plan.streaming and ref in plan.timed)
    first, last = 2 if timed else 1, len(shape) - (tensor.features is not None)
    sizes = [(k, shape[k]) for k in range(first, last)]
    between = tuple(f"{ref[0]}_axis{k}" if size is None else size for k, size in sizes)
    rows = plan.rows[ref[0]]
    if (axis, between, rows) == (tensor.axis, tensor.between, tensor.rows):
        return tensor
    return replace(tensor, axis=axis, between=between, rows=rows)


def _resolve(tensors: Mapping[tuple[str, int], Tensor], layer: Layer, text: str) -> Tensor:
    tensor = tensors.get(parse_ref(text))
    if tensor is None:
        raise ExportError(f"{describe(layer)}: its input '{text}' does not exist")
    return tensor
