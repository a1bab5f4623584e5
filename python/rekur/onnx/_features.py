"""Layers that act on features: normalisation of batches, PReLU, products of two inputs, steps behind one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rekur.onnx._axes import parse_ref
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._lengths import kept
from rekur.onnx._masks import masks_behind
from rekur.onnx._plan import Layer, Plan, describe, joins_steps

__all__ = ["batch_normalization", "dot", "join_steps", "joins_steps", "prelu"]


def batch_normalization(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The operator, which has the features on axis 1; of tensors of more axes a scale and an offset."""
    (x,) = inputs
    assert x.features is not None
    owner, name, n = describe(layer), layer["name"], x.features
    found = {key: graph.weight(owner, f"{name}/{key}", (n,)) for key in ("moving_mean", "moving_variance")}
    gamma = graph.weight(owner, f"{name}/gamma", (n,)) if layer.get("scale", True) else np.ones(n, np.float32)
    beta = graph.weight(owner, f"{name}/beta", (n,)) if layer.get("center", True) else np.zeros(n, np.float32)
    epsilon = float(layer.get("epsilon", 1e-3))
    if len(x.shape) <= 3:  # features on axis 1, where a runtime takes it into a convolution before it
        arrays = {"gamma": gamma, "beta": beta, **found}
        extra = [graph.initializer(f"{name}/{key}", np.asarray(a, np.float32)) for key, a in arrays.items()]
        value = graph.batch_major(x)
        if len(x.shape) < 3:
            value = graph.emit("BatchNormalization", [value, *extra], name, epsilon=epsilon)
            return [Tensor(name, n, batch_major=value)]
        turned = graph.once("Transpose", [value], f"{x.label}/by_channel", perm=[0, 2, 1])
        value = graph.emit("BatchNormalization", [turned, *extra], f"{name}/by_channel_normalized", epsilon=epsilon)
        return [Tensor(name, n, x.axis, batch_major=graph.emit("Transpose", [value], name, perm=[0, 2, 1]))]
    values, time_major = graph.aligned([x])
    final = f"{name}/time_major" if time_major else name
    arrays = {"gamma": gamma, "beta": beta, **found, "epsilon": np.array(epsilon)}
    held = {key: graph.initializer(f"{name}/{key}", np.asarray(a, np.float32)) for key, a in arrays.items()}
    spread = graph.emit("Add", [held["moving_variance"], held["epsilon"]], f"{name}/variance")
    by = graph.emit("Div", [held["gamma"], graph.emit("Sqrt", [spread], f"{name}/deviation")], f"{name}/scale")
    moved = graph.emit("Mul", [held["moving_mean"], by], f"{name}/moved")
    plus = graph.emit("Sub", [held["beta"], moved], f"{name}/offset")
    value = graph.emit("Add", [graph.emit("Mul", [values[0], by], f"{name}/scaled"), plus], final)
    return [_like(name, n, x, value, time_major)]


def prelu(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    assert x.features is not None
    name, shared = layer["name"], set(layer.get("shared_axes", ()))
    row = x.shape[1:]
    if plan.streaming and parse_ref(layer["inputs"][0]) in plan.timed:  # a single step of what has a time axis
        row = (1, *row)
    shape = tuple(1 if d + 1 in shared else int(size) for d, size in enumerate(row))
    alpha = graph.weight(describe(layer), f"{name}/alpha", shape)
    if x.axis is not None and shape[0] != 1:
        values, time_major = [graph.batch_major(x)], False
    else:
        values, time_major = graph.aligned([x])
        alpha = alpha.reshape(shape[1:] or shape)
    slope = graph.initializer(f"{name}/alpha", np.asarray(alpha, np.float32))
    value = graph.emit("PRelu", [*values, slope], f"{name}/time_major" if time_major else name)
    return [_like(name, x.features, x, value, time_major)]


def dot(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    name, axes = layer["name"], layer["axes"]
    pairs = zip(inputs, axes, strict=True)  # what is summed along time ends with the row
    values = [kept(graph, x) if axis == 1 else graph.batch_major(x) for x, axis in pairs]
    ranks = [len(x.shape) for x in inputs]
    one = graph.integers(1)
    if ranks[0] == 2:
        values[0] = graph.emit("Unsqueeze", [values[0], one], f"{name}/row")  # (B, 1, K)
    elif axes[0] == 1:
        values[0] = graph.emit("Transpose", [values[0]], f"{name}/first", perm=[0, 2, 1])
    if ranks[1] == 2:
        values[1] = graph.emit("Unsqueeze", [values[1], graph.integers(2)], f"{name}/column")  # (B, K, 1)
    elif axes[1] == 2:
        values[1] = graph.emit("Transpose", [values[1]], f"{name}/second", perm=[0, 2, 1])
    if ranks == [2, 2]:
        value = graph.emit("MatMul", values, f"{name}/product")
        return [Tensor(name, 1, batch_major=graph.emit("Squeeze", [value, one], name))]
    left = [x.shape[1 if axis == 2 else 2] for x, axis in zip(inputs, axes, strict=True) if len(x.shape) == 3]
    if not isinstance(left[-1], int):
        raise ExportError(f"{describe(layer)}: expected a known number of steps to make features of, got {left[-1]}")
    if 2 in ranks:
        value = graph.emit("MatMul", values, f"{name}/product")
        value = graph.emit("Squeeze", [value, graph.integers(1 if ranks[0] == 2 else 2)], name)
        return [Tensor(name, left[-1], batch_major=value)]
    value = graph.emit("MatMul", values, name)
    return [Tensor(name, left[-1], batch_major=value)]


def join_steps(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    """Along time: the axis is a new one; where an input has lengths or a mask it has a mask, theirs."""
    masks_behind(graph, plan, layer, inputs)
    name = layer["name"]
    value = graph.emit("Concat", [graph.batch_major(x) for x in inputs], name, axis=1)
    return Tensor(name, inputs[0].features, batch_major=value)


def _like(label: str, features: int | None, x: Tensor, value: str, time_major: bool) -> Tensor:
    if time_major:
        return Tensor(label, features, x.axis, time_major=value)
    return Tensor(label, features, x.axis, batch_major=value)
