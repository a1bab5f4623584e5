"""One row per layer type: how each becomes ONNX nodes. The recurrent ones stand in ``_recurrent.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._activations import Step, steps_of
from rekur.onnx._around import flipped, step_of
from rekur.onnx._attention import attention, heads
from rekur.onnx._broadcast import broadcast
from rekur.onnx._conv_lstm import conv_lstm
from rekur.onnx._crf import crf
from rekur.onnx._equations import activation as own_activation
from rekur.onnx._equations import lambda_layer
from rekur.onnx._errors import ExportError
from rekur.onnx._features import batch_normalization, dot, join_steps, joins_steps, prelu
from rekur.onnx._fold import fold_time, unfold_time
from rekur.onnx._graph import FLOAT, Graph, Tensor
from rekur.onnx._loop import loop
from rekur.onnx._masks import mask_zero, masking
from rekur.onnx._matrix import matrix_layer
from rekur.onnx._parameter import parameter
from rekur.onnx._plan import CONVOLUTIONS, IMAGES, Layer, Plan, describe
from rekur.onnx._position import position_embedding, rotary_embedding, sine_encoding
from rekur.onnx._recurrent import bidirectional, recurrent
from rekur.onnx._scan import bidirectional_rnn, rnn
from rekur.onnx._selective import selective_ssm
from rekur.onnx._windows import WINDOWS, convolution

INT64 = 7  # onnx.TensorProto.INT64


def _apply(
    graph: Graph,
    layer: Layer,
    x: Tensor,
    features: int | None,
    steps: Sequence[Step],
    given: str | Mapping[str, Any] = "linear",
) -> Tensor:
    """A chain of operators that work on the last axis or elementwise, in whichever layout x is at hand, and behind them
    the activation that is ``given``.
    """
    own = None if isinstance(given, str) else given.get("equations")
    if own is None:
        steps = [*steps, *steps_of(graph, layer["name"], f"{describe(layer)}: activation", given)]
    (value,), time_major = graph.aligned([x])
    label = layer["name"]
    if not steps and own is None:
        return x
    final = f"{label}/time_major" if time_major else label
    for index, (op, extra, attributes) in enumerate(steps):
        last = index == len(steps) - 1 and own is None
        value = graph.emit(op, [value, *extra], final if last else f"{label}/{op}_{index}", **attributes)
    if own is not None:
        assert features is not None
        value = own_activation(graph, layer, own, value, features, final)
    return _tensor(label, features, x, value, time_major)


def _tensor(label: str, features: int | None, like: Tensor, value: str, time_major: bool) -> Tensor:
    if time_major:
        return Tensor(label, features, like.axis, time_major=value)
    return Tensor(label, features, like.axis, batch_major=value)


def _dense(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    units, owner, name = layer["units"], describe(layer), layer["name"]
    assert x.features is not None
    kernel = graph.weight(owner, f"{name}/kernel", (x.features, units))
    if graph.integer_products and f"{name}/kernel" in graph.int8:
        return [_dense_of_integers(graph, layer, x, kernel)]
    steps: list[Step] = [("MatMul", [graph.matrix(f"{name}/kernel", kernel, [f"{name}/kernel"], (0,))], {})]
    if layer.get("use_bias", True):
        bias = graph.weight(owner, f"{name}/bias", (units,))
        steps.append(("Add", [graph.initializer(f"{name}/bias", bias)], {}))
    return [_apply(graph, layer, x, units, steps, layer.get("activation", "linear"))]


def _dense_of_integers(graph: Graph, layer: Layer, x: Tensor, kernel: NDArray[np.float32]) -> Tensor:
    """Its input as integers of a scale of the whole array, their product, and what that stands for."""
    units, name, given = layer["units"], layer["name"], layer.get("activation", "linear")
    steps: list[Step] = []
    if layer.get("use_bias", True):
        bias = graph.weight(describe(layer), f"{name}/bias", (units,))
        steps.append(("Add", [graph.initializer(f"{name}/bias", bias)], {}))
    own = not isinstance(given, str) and given.get("equations") is not None
    last = not steps and not own and not steps_of(graph, name, f"{describe(layer)}: activation", given)
    numbers, scales = graph.int8_matrix(f"{name}/kernel", kernel, (0,))
    (value,), time_major = graph.aligned([x])
    inside = f"{name}/integers"
    rows = [f"{inside}/{part}" for part in ("x", "x_scale", "x_zero_point")]
    graph.emit("DynamicQuantizeLinear", [value], *rows)
    product = graph.emit("MatMulInteger", [rows[0], numbers, rows[2]], f"{inside}/product")
    product = graph.emit("Cast", [product], f"{inside}/cast", to=FLOAT)
    both = graph.emit("Mul", [rows[1], scales], f"{inside}/scale")
    label = name if last else f"{name}/product"
    value = graph.emit("Mul", [product, both], f"{label}/time_major" if time_major else label)
    made = _tensor(label, units, x, value, time_major)
    return made if last else _apply(graph, layer, made, units, steps, given)


def _convolution(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    given = layer.get("activation", "linear")
    linear = given == "linear" or (not isinstance(given, str) and given["name"] == "linear")
    sums = convolution(graph, plan, layer, inputs, layer["name"] if linear else f"{layer['name']}/sums")
    return [sums if linear else _apply(graph, layer, sums, sums.features, [], given)]


def _activation(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    return [_apply(graph, layer, x, x.features, [], layer["activation"])]


def _dropout(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return list(inputs)  # the identity at inference


def _constant(graph: Graph, name: str, values: Any) -> list[str]:
    return [graph.initializer(name, np.asarray(values, np.float32))]


def _parameter(graph: Graph, layer: Layer, name: str, x: Tensor) -> NDArray[np.float32]:
    """One of a layer's vectors, a value for each feature of x."""
    assert x.features is not None
    return graph.weight(describe(layer), f"{layer['name']}/{name}", (x.features,))


def _layer_normalization(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    assert x.features is not None
    scaled = layer.get("scale", True)  # the operator asks for a scale
    gamma = _parameter(graph, layer, "gamma", x) if scaled else np.ones(x.features)
    # Without the optional B, onnxruntime 1.15 ends the process when it fuses an Add before the node.
    beta = _parameter(graph, layer, "beta", x) if layer.get("center", True) else np.zeros(x.features)
    extra = _constant(graph, f"{layer['name']}/gamma", gamma) + _constant(graph, f"{layer['name']}/beta", beta)
    attributes = {"axis": -1, "epsilon": float(layer.get("epsilon", 1e-3))}
    return [_apply(graph, layer, x, x.features, [("LayerNormalization", extra, attributes)])]


def _affine(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    steps: list[Step] = [
        (op, _constant(graph, f"{layer['name']}/{name}", _parameter(graph, layer, name, x)), {})
        for op, name in (("Mul", "gamma"), ("Add", "beta"))[: 2 if layer.get("center", True) else 1]
    ]
    return [_apply(graph, layer, x, x.features, steps)]


def _rescaling(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    steps: list[Step] = []
    for op, key, neutral in (("Mul", "scale", 1.0), ("Add", "offset", 0.0)):
        values = layer.get(key, neutral)
        if np.size(values) not in (1, x.features):
            raise ExportError(
                f"{describe(layer)}: expected a number or {x.features} of them as {key}, got {np.size(values)}"
            )
        if np.any(np.asarray(values) != neutral):
            steps.append((op, _constant(graph, f"{layer['name']}/{key}", values), {}))
    return [_apply(graph, layer, x, x.features, steps)]


def _step(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """With lengths, rows without that step give zeros, as in the engine."""
    (x,) = inputs
    if x.axis is None or x.features is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    value = step_of(graph, x, layer["index"], layer["name"])
    return [Tensor(layer["name"], x.features, batch_major=value)]


def _flip(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    if x.axis is None:
        raise ExportError(f"{describe(layer)}: expected a sequence (batch, time, features), got {x.shape}")
    return [Tensor(layer["name"], x.features, x.axis, time_major=flipped(graph, x, f"{layer['name']}/time_major"))]


def _slice(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (x,) = inputs
    assert x.features is not None
    stop = layer.get("stop")
    places = range(x.features)[layer.get("start", 0) : stop]
    if not places:
        raise ExportError(f"{describe(layer)}: no features [{layer.get('start', 0)}, {stop}) in {x.shape}")
    extra = [graph.integers(value) for value in (places.start, places.stop, -1)]
    return [_apply(graph, layer, x, len(places), [("Slice", extra, {})])]


def _embedding(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    (ids,) = inputs
    if layer.get("mask_zero", False):
        mask_zero(graph, plan, layer, ids)
    shape = (layer["input_dim"], layer["output_dim"])
    table = graph.weight(describe(layer), f"{layer['name']}/embeddings", shape)
    name = graph.matrix(f"{layer['name']}/embeddings", table, [f"{layer['name']}/embeddings"], (0,))
    value = graph.emit("Gather", [name, graph.batch_major(ids)], layer["name"], axis=0)
    return [Tensor(layer["name"], layer["output_dim"], ids.axis, batch_major=value)]


def _concatenate(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    if joins_steps(layer) and all(x.axis is not None for x in inputs):
        return [join_steps(graph, plan, layer, inputs)]
    rank = len(plan.shapes[layer["name"], 0])  # in the model, also where this graph is a single step
    axis = layer.get("axis", -1)
    if axis in (-1, rank - 1):
        features = sum(tensor.features or 0 for tensor in inputs)
        return [_join(graph, layer, inputs, features, "Concat", axis=-1)]
    if plan.streaming:
        raise ExportError(f"streaming=True: {describe(layer)}: joins axis {axis}; export the whole model")
    return [_join(graph, layer, inputs, inputs[0].features, "Concat", axis=axis)]  # both layouts have it there


def _add(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [_fold(graph, layer, inputs, "Add")]


def _multiply(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [_fold(graph, layer, inputs, "Mul")]


def _subtract(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [_fold(graph, layer, inputs, "Sub")]


def _divide(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [_fold(graph, layer, inputs, "Div")]


def _join(
    graph: Graph, layer: Layer, inputs: Sequence[Tensor], features: int | None, op: str, **attributes: Any
) -> Tensor:
    values, time_major = graph.aligned(inputs)
    name = f"{layer['name']}/time_major" if time_major else layer["name"]
    graph.emit(op, values, name, **attributes)
    return _tensor(layer["name"], features, inputs[0], name, time_major)


def _fold(graph: Graph, layer: Layer, inputs: Sequence[Tensor], op: str) -> Tensor:
    """The operators take two operands; from left to right, as the engine does."""
    if len({tensor.features for tensor in inputs}) > 1:
        raise ExportError(f"{describe(layer)}: expected equal shapes, got {', '.join(str(t.shape) for t in inputs)}")
    values, time_major = graph.aligned(inputs)
    final = f"{layer['name']}/time_major" if time_major else layer["name"]
    value = values[0]
    if len(values) == 1:
        return inputs[0]
    for index, other in enumerate(values[1:], 1):
        name = final if index == len(values) - 1 else f"{layer['name']}/{op}_{index}"
        value = graph.emit(op, [value, other], name)
    return _tensor(layer["name"], inputs[0].features, inputs[0], value, time_major)


def _bidirectional(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    rule = bidirectional_rnn if layer["layer"]["type"] == "RNN" else bidirectional
    return rule(graph, plan, layer, inputs)


Rule = Callable[[Graph, Plan, Layer, Sequence[Tensor]], list[Tensor]]

LAYERS: dict[str, Rule] = {
    "SimpleRNN": recurrent,
    "LSTM": recurrent,
    "GRU": recurrent,
    "RNN": rnn,
    "Bidirectional": _bidirectional,
    "GatedLinearAttention": matrix_layer,
    "MLSTM": matrix_layer,
    "SelectiveSSM": selective_ssm,
    "Attention": attention,
    "AdditiveAttention": attention,
    "MultiHeadAttention": heads,
    "GroupQueryAttention": heads,
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **WINDOWS,
    "PositionEmbedding": position_embedding,
    "SinePositionEncoding": sine_encoding,
    "RotaryEmbedding": rotary_embedding,
    "Dense": _dense,
    "Activation": _activation,
    "Dropout": _dropout,
    "Embedding": _embedding,
    "Masking": masking,
    "FoldTime": fold_time,
    "UnfoldTime": unfold_time,
    **dict.fromkeys(IMAGES, conv_lstm),
    "Lambda": lambda_layer,
    "LayerNormalization": _layer_normalization,
    "Affine": _affine,
    "Rescaling": _rescaling,
    "Step": _step,
    "Slice": _slice,
    "Flip": _flip,
    "BatchNormalization": batch_normalization,
    "PReLU": prelu,
    "CRF": crf,
    "Loop": loop,
    "Parameter": parameter,
    "Broadcast": broadcast,
    "Dot": dot,
    **dict.fromkeys(
        ("SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"), _dropout
    ),
    "Concatenate": _concatenate,
    "Add": _add,
    "Multiply": _multiply,
    "Subtract": _subtract,
    "Divide": _divide,
}
