"""Layers that change the time axis: convolution, pooling, steps repeated, cut and added, other shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rekur.onnx._along import span_of
from rekur.onnx._carry import behind_last, one_step
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._lengths import ends, kept, same_windows
from rekur.onnx._masks import steps_there, within
from rekur.onnx._padding import padded
from rekur.onnx._plan import RESHAPING, Layer, Plan, describe

FLOAT = 1  # onnx.TensorProto's
_BEYOND = 2**31 - 1


def _sequence(plan: Plan, layer: Layer, x: Tensor) -> None:
    """Refuses what the layer cannot be said for."""
    if x.axis is None or x.features is None or (len(x.shape) != 3 and layer["type"] not in RESHAPING):
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")


def _by_channel(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    x: Tensor,
    features: int,
    label: str,
    op: str,
    more: list[str],
    value: str | None = None,
    **attributes: Any,
) -> Tensor:
    """An operator over (batch, features, time); of ``value`` in the place of x."""
    _sequence(plan, layer, x)
    name = layer["name"]
    if value is None:
        turned = graph.once("Transpose", [kept(graph, x)], f"{x.label}/by_channel", perm=[0, 2, 1])
    else:
        turned = graph.emit("Transpose", [value], f"{name}/same/by_channel", perm=[0, 2, 1])
    value = graph.emit(op, [turned, *more], f"{name}/by_channel_{op}", **attributes)
    value = graph.emit("Transpose", [value], label, perm=[0, 2, 1])
    return Tensor(label, features, plan.time[layer["name"], 0], batch_major=value)


def _steps_of_one(plan: Plan, layer: Layer) -> int:
    """The steps of the output for one of the input."""
    axis = plan.time[layer["name"], 0]
    assert axis is not None and axis.change is not None
    return axis.change.after(1)


def convolution(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor], label: str) -> Tensor:
    """What the activation is of, called ``label``."""
    (x,) = inputs
    if not plan.streaming:
        _sequence(plan, layer, x)
    assert x.features is not None
    owner, name, taps, kind = describe(layer), layer["name"], layer["kernel_size"], layer["type"]
    moved: str | None = None
    stride, dilation, padding = layer.get("strides", 1), layer.get("dilation_rate", 1), layer.get("padding", "valid")
    span = span_of(layer)
    attributes: dict[str, Any] = {"strides": [stride], "dilations": [dilation]}
    if kind == "DepthwiseConv1D":
        shape = (taps, x.features, layer.get("depth_multiplier", 1))
        kernel = graph.weight(owner, f"{name}/kernel", shape).transpose(1, 2, 0).reshape(-1, 1, taps)
        filters, attributes["group"] = len(kernel), x.features
    elif kind == "Conv1DTranspose":
        filters = layer["filters"]
        kernel = graph.weight(owner, f"{name}/kernel", (taps, filters, x.features)).transpose(2, 1, 0)
        more = layer.get("output_padding")
        cut = stride + span - 2 if more is None else span + span % 2 - 2 + more
        before = span - 1 - min((cut + 1) // 2, span - 1) if padding == "same" else 0
        after = span - before - _steps_of_one(plan, layer)  # of one step: the same is cut of any number
        attributes["pads"] = [before, max(after, 0)]
        attributes["output_padding"] = [max(-after, 0)]
    else:
        filters, groups = layer["filters"], layer.get("groups", 1)
        kernel = graph.weight(owner, f"{name}/kernel", (taps, x.features // groups, filters)).transpose(2, 1, 0)
        attributes["group"] = groups
    held = plan.states.get(name)
    if held:  # the steps before stand in front
        value = one_step(graph, x) if plan.streaming else kept(graph, x)
        moved = behind_last(graph, held[0], value, name, None, span - 1)  # past a row's end zeros are its steps
    elif plan.streaming:
        moved = one_step(graph, x)
    elif kind != "Conv1DTranspose":
        if padding == "causal":
            attributes["pads"] = [span - 1, 0]
        elif padding == "same" and stride == 1:
            attributes["pads"] = [(span - 1) // 2, span // 2]
        elif padding == "same" and ends(x):
            moved, _ = same_windows(graph, layer, x, span, stride, 0.0)
        elif padding == "same":
            attributes["auto_pad"] = "SAME_UPPER"
    extra = [graph.matrix(f"{name}/kernel", kernel, [f"{name}/kernel"], (1, 2))]
    if layer.get("use_bias", True):
        extra.append(graph.initializer(f"{name}/bias", graph.weight(owner, f"{name}/bias", (filters,))))
    op = "ConvTranspose" if kind == "Conv1DTranspose" else "Conv"
    if plan.streaming:
        assert moved is not None
        turned = graph.emit("Transpose", [moved], f"{name}/by_channel", perm=[0, 2, 1])
        one = graph.emit("Conv", [turned, *extra], f"{name}/by_channel_Conv", **attributes)
        return Tensor(label, filters, batch_major=graph.emit("Squeeze", [one, graph.integers(2)], label))
    return _by_channel(graph, plan, layer, x, filters, label, op, extra, moved, **attributes)


def same_pads(steps: int, span: int, stride: int) -> list[int]:
    """How many steps "same" adds before and behind so many."""
    missing = max((-(-steps // stride) - 1) * stride + span - steps, 0)
    return [missing // 2, missing - missing // 2]


def pooling(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), size = inputs, layer.get("pool_size", 2)
    if plan.streaming:  # of a step each
        return [x]
    _sequence(plan, layer, x)
    assert x.features is not None
    stride = layer.get("strides") or size
    attributes: dict[str, Any] = {"kernel_shape": [size], "strides": [stride]}
    op, same = "MaxPool" if layer["type"] == "MaxPooling1D" else "AveragePool", layer.get("padding", "valid") == "same"
    if ends(x):
        return [_pooled_there(graph, plan, layer, x, op, size, stride)]
    if same and stride <= size:
        attributes["auto_pad"] = "SAME_UPPER"
    elif same and size > 1:  # of one step each nothing is ever added
        steps = x.shape[1]
        if not isinstance(steps, int):  # what onnxruntime adds may be less than nothing, which ends its run
            return [_pooled_there(graph, plan, layer, x, op, size, stride)]
        attributes["pads"] = same_pads(steps, size, stride)
    return [_by_channel(graph, plan, layer, x, x.features, layer["name"], op, [], **attributes)]


def _pooled_there(graph: Graph, plan: Plan, layer: Layer, x: Tensor, op: str, size: int, stride: int) -> Tensor:
    """The largest, or the mean, of those steps of each window that a row has; zeros of a window without any."""
    name, largest = layer["name"], op == "MaxPool"
    least = float(np.finfo(np.float32).min) if largest else 0.0
    if layer.get("padding", "valid") == "same":
        value, there = same_windows(graph, layer, x, size, stride, least)
    else:
        there = within(graph, x)
        steps = graph.emit("Unsqueeze", [there, graph.integers(2)], f"{name}/there")
        other = graph.initializer(f"float32/{least!r}", np.array(least, np.float32))
        value = graph.emit("Where", [steps, graph.batch_major(x), other], f"{name}/values")
    windows: dict[str, Any] = {"kernel_shape": [size], "strides": [stride]}
    turned = graph.emit("Transpose", [value], f"{name}/values_by_channel", perm=[0, 2, 1])
    pooled = graph.emit(op, [turned], f"{name}/values_{op}", **windows)
    rows = graph.emit("Unsqueeze", [there, graph.integers(1)], f"{name}/there_rows")
    numbers = graph.emit("Cast", [rows], f"{name}/there_numbers", to=FLOAT)
    share = graph.emit(op, [numbers], f"{name}/there_{op}", **windows)
    zero = graph.initializer("float32/zero", np.array(0, np.float32))
    some = graph.emit("Greater", [share, zero], f"{name}/some")
    whole = pooled if largest else graph.emit("Div", [pooled, share], f"{name}/of_those_there")
    made = graph.emit("Where", [some, whole, zero], f"{name}/windows")
    return Tensor(name, x.features, batch_major=graph.emit("Transpose", [made], name, perm=[0, 2, 1]))


def global_pooling(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), name = inputs, layer["name"]
    largest = layer["type"] == "GlobalMaxPooling1D"
    op = "GlobalMaxPool" if largest else "GlobalAveragePool"
    assert x.features is not None
    _sequence(plan, layer, x)
    assert x.axis is not None
    if (x.axis.lengths and not x.axis.mask) if largest else x.axis.marked:  # Keras: the mean alone heeds a mask
        return [_over_steps_there(graph, layer, x, largest)]
    if layer.get("keepdims", False):
        whole = _by_channel(graph, plan, layer, x, x.features, name, op, [])
        return [Tensor(name, x.features, batch_major=whole.batch_major)]
    turned = graph.once("Transpose", [graph.batch_major(x)], f"{x.label}/by_channel", perm=[0, 2, 1])
    value = graph.emit(op, [turned], f"{name}/by_channel")
    return [Tensor(name, x.features, batch_major=graph.emit("Squeeze", [value, graph.integers(2)], name))]


def _over_steps_there(graph: Graph, layer: Layer, x: Tensor, largest: bool) -> Tensor:
    """The mean, or the largest, of the steps that a row has; zeros of a row without any."""
    name, keep = layer["name"], int(layer.get("keepdims", False))
    there = graph.emit("Unsqueeze", [steps_there(graph, x), graph.integers(2)], f"{name}/there")
    zero = graph.initializer("float32/zero", np.array(0, np.float32))
    least = graph.initializer("float32/least", np.array(-np.inf, np.float32)) if largest else zero
    value = graph.emit("Where", [there, graph.batch_major(x), least], f"{name}/values")
    numbers = graph.emit("Cast", [there], f"{name}/numbers", to=FLOAT)
    count = graph.emit("ReduceSum", [numbers, graph.integers(1)], f"{name}/count", keepdims=keep)
    if largest:
        most = graph.emit("ReduceMax", [value], f"{name}/most", axes=[1], keepdims=keep)
        some = graph.emit("Greater", [count, zero], f"{name}/some")
        graph.emit("Where", [some, most, zero], name)
    else:
        total = graph.emit("ReduceSum", [value, graph.integers(1)], f"{name}/total", keepdims=keep)
        one = graph.initializer("float32/one", np.array(1, np.float32))
        graph.emit("Div", [total, graph.emit("Max", [count, one], f"{name}/steps")], name)
    return Tensor(name, x.features, batch_major=name)


def resampling(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), name = inputs, layer["name"]
    if plan.streaming:  # as many steps
        return [x]
    _sequence(plan, layer, x)
    value = kept(graph, x)
    assert x.features is not None
    if layer["type"] == "UpSampling1D":
        size = layer.get("size", 2)
        scales = graph.initializer(f"float32/by_{size}", np.array([1, 1, size], np.float32))
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return [_by_channel(graph, plan, layer, x, x.features, name, "Resize", ["", scales], **how)]
    elif layer["type"] == "Cropping1D":
        before, after = layer["cropping"]
        ends = graph.integers(-after if after else _BEYOND)
        graph.emit("Slice", [value, graph.integers(before), ends, graph.integers(1)], name)
    elif layer["type"] == "Padding1D":
        padded(graph, layer, x)
    else:
        before, after = layer["padding"]
        graph.emit("Pad", [value, graph.integers(0, before, 0, 0, after, 0)], name)
    return [Tensor(name, x.features, batch_major=name)]


def reshaping(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,), name, kind = inputs, layer["name"], layer["type"]
    if plan.streaming:  # of rows, the same rows
        return [x]
    if kind == "Permute" and (x.whole is not None or (x.features == 1 and isinstance(x.shape[1], str))):
        return [_turned(graph, layer, x)]
    if x.axis is not None or len(x.shape) != 2:
        _sequence(plan, layer, x)
    value, row = kept(graph, x), x.shape[1:]
    assert x.features is not None
    if kind == "RepeatVector":
        steps = layer["n"]
        value = graph.emit("Unsqueeze", [value, graph.integers(1)], f"{name}/step")
        graph.emit("Tile", [value, graph.integers(1, steps, 1)], name)
        return [Tensor(name, x.features, batch_major=name)]
    if kind == "Permute":
        graph.emit("Transpose", [value], name, perm=[0, *layer["dims"]])
        shape = [row[axis - 1] for axis in layer["dims"]]
    else:
        known = all(isinstance(size, int) for size in row)
        count = int(np.prod([int(size) for size in row])) if known else None
        shape = [count if count is not None else -1] if kind == "Flatten" else list(layer["target_shape"])
        if -1 in shape:
            place = shape.index(-1)
            rest = int(np.prod([size for size in shape if size != -1]))
            shape[place] = f"{name}_time" if count is None else count // rest
        sizes = [-1 if isinstance(size, str) else size for size in shape]
        graph.emit("Reshape", [value, graph.integers(0, *sizes)], name)
    if not isinstance(shape[-1], int):
        raise ExportError(f"{describe(layer)}: expected a known number of steps to make features of")
    return [Tensor(name, shape[-1], batch_major=name)]


def _turned(graph: Graph, layer: Layer, x: Tensor) -> Tensor:
    """A row of numbers, as many as something has steps, as a column of them, or the other way round."""
    name, value = layer["name"], kept(graph, x) if x.whole is None else graph.batch_major(x)
    graph.emit("Transpose", [value], name, perm=[0, *layer["dims"]])
    shape = [x.shape[axis] for axis in layer["dims"]]
    if isinstance(shape[-1], int):
        return Tensor(name, shape[-1], batch_major=name)
    return Tensor(name, 1, batch_major=name, whole=(x.rows, *shape))  # numbers, however many


Rule = Callable[[Graph, Plan, Layer, Sequence[Tensor]], list[Tensor]]
WINDOWS: Mapping[str, Rule] = {
    **dict.fromkeys(("MaxPooling1D", "AveragePooling1D"), pooling),
    **dict.fromkeys(("GlobalMaxPooling1D", "GlobalAveragePooling1D"), global_pooling),
    **dict.fromkeys(("UpSampling1D", "Cropping1D", "ZeroPadding1D", "Padding1D"), resampling),
    **dict.fromkeys((*RESHAPING, "RepeatVector"), reshaping),
}
