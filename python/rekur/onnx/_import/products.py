"""Products of two tensors that the model computes: attention that the exporter took apart, and Dot layers.

``MatMul`` – factor – ``Softmax`` – ``MatMul`` becomes an Attention; where the features were split into heads before it,
a MultiHeadAttention, whose projections are the products around it (``fuse``). Any other product is a Dot.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rekur.onnx._import import logical
from rekur.onnx._import.activations import number
from rekur.onnx._import.arithmetic import equations
from rekur.onnx._import.attention import heads_of
from rekur.onnx._import.call import Call, describe, normal_axis
from rekur.onnx._import.graph import Graph, slices_of
from rekur.onnx._import.onestep import as_steps
from rekur.onnx._import.values import (
    BATCH,
    FEATURES,
    ONE,
    PARTS,
    TIME,
    Axis,
    Dim,
    Filled,
    Known,
    Refused,
    Scores,
    Tensor,
    Value,
    View,
)

At = tuple[str, str]
# operators that know what a product is; to all others it is a tensor
MOVES = ("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Mul", "Div", "Identity", "Gather")
READERS = ("MatMul", "Mul", "Div", "Softmax", "Dropout", "Identity", "Where")


def factors(nodes: Sequence[Any], stored: Container[str]) -> set[str]:
    """What products of two computed tensors are made of, up to where other products or layers made it."""
    makers = {name: node for node in nodes for name in node.output if name}

    def constant(name: str) -> bool:
        return name in stored or (name in makers and makers[name].op_type == "Constant")

    pairs = [node.input for node in nodes if node.op_type == "MatMul" and not any(map(constant, node.input))]
    waiting, found = [name for pair in pairs for name in pair], set[str]()
    while waiting:
        name = waiting.pop()
        if name in found or name not in makers:
            continue
        found.add(name)
        if makers[name].op_type in MOVES:
            waiting += [other for other in makers[name].input[:2] if other]
    return found


def taken_apart(call: Call) -> Call:
    """The call, its inputs that are products as tensors where the operator knows of no such thing."""
    if call.op not in READERS:
        call.inputs = [apart(call, value) if isinstance(value, Scores) else value for value in call.inputs]
    return call


def apart(call: Call, value: Scores) -> View:
    return as_view(call.graph, call.at, value)


def product_of(call: Call) -> Value:
    """MatMul of two tensors of the model."""
    one, two = call.inputs[0], call.inputs[1]
    if isinstance(one, Scores) and one.weights and isinstance(two, View) and _attends(one, two):
        return _attention(call, one, two) if isinstance(one.query.axes[-2], Dim) else _one_query(call, one, two)
    one, two = (apart(call, value) if isinstance(value, Scores) else value for value in (one, two))
    if not isinstance(one, View) or not isinstance(two, View) or one.ids or two.ids:
        raise Refused(f"the product of {describe(one)} and {describe(two)}")
    one, two = _with_features(one), _with_features(two)
    if len(one.axes) < 3 or len(one.axes) != len(two.axes) or len(one.parts) != len(two.parts):
        raise Refused(f"the product of {one.describe()} and {two.describe()}, which no layer does")
    _join(one.axes[:-2], two.axes[:-2], one, two)
    return Scores(one, two, (*one.axes[:-1], two.axes[-1]))


def _with_features(x: View) -> View:
    """Of one feature, which the file leaves no axis: an axis of size 1 is it."""
    if FEATURES in x.axes or x.features != 1 or len(x.axes) != 3 or len(x.dims) != 2:
        return x
    return x.with_axes([FEATURES if axis == ONE else axis for axis in x.axes])


def _join(one: Sequence[Axis], two: Sequence[Axis], x: View, y: View) -> None:
    """Axes of both that are the same rows and parts."""
    for a, b in zip(one, two, strict=True):
        pairs = zip(a, b, strict=False) if isinstance(a, tuple) and isinstance(b, tuple) else [(a, b)]
        for p, q in pairs:
            if isinstance(p, Dim) and isinstance(q, Dim):
                p.join(q)
            elif p != q:
                raise Refused(f"the product of {x.describe()} and {y.describe()}: nothing is broadcast")


def scaled(call: Call, scores: Scores, other: Value | None, second: bool) -> Value:
    """Mul and Div by a number; else a tensor like others."""
    array = other.array if isinstance(other, (Known, Filled)) else None
    fits = (
        scores.mask is None
        and array is not None
        and array.dtype == np.float32
        and array.size == 1
        and array.ndim <= len(scores.axes)
    )
    if not fits or scores.weights or (call.op == "Div" and second) or call.op not in ("Mul", "Div"):
        inputs = [apart(call, value) if isinstance(value, Scores) else value for value in call.inputs]
        return _again(call, inputs)
    assert array is not None
    by = float(array.flat[0])
    if not np.isfinite(by) or by == 0:
        raise Refused(f"a factor of {by}")
    return replace(scores, factor=scores.factor * by if call.op == "Mul" else scores.factor / by)


def _again(call: Call, inputs: Sequence[Value | None]) -> Value:
    from rekur.onnx._import.ops import RULES

    call.inputs = list(inputs)
    made = RULES[call.op](call)
    assert not isinstance(made, list)
    return made


def softmax(call: Call, scores: Scores) -> Value:
    axis = normal_axis(call.attribute("axis", -1 if call.opset >= 13 else 1), len(scores.axes))
    if scores.weights or axis != len(scores.axes) - 1:
        return _again(call, [apart(call, scores)])
    return replace(scores, weights=True)


def hidden(call: Call, condition: View) -> Value:
    """Where: scores of steps that a mask hides are a number far below all others."""
    scores = next(value for value in call.inputs if isinstance(value, Scores))
    place = next(k for k, value in enumerate(call.inputs) if value is scores)
    other = call.inputs[3 - place]
    fill = other.array if isinstance(other, (Known, Filled)) else None
    if fill is None or fill.dtype != np.float32 or fill.size != 1 or not float(fill.flat[0]) <= logical.DEEP:
        raise Refused(f"scores that are hidden become {describe(other)}; expected a number of {logical.DEEP:g} or less")
    if scores.mask is not None or scores.weights:
        raise Refused("scores that are hidden twice, or behind their softmax")
    rank, key = len(scores.axes), scores.axes[-1]
    axes: list[Axis] = [ONE] * (rank - len(condition.axes)) + list(condition.axes)
    rows = [k for k in range(rank - 1) if axes[k] != ONE]
    batch = scores.axes[0]
    fits = len(axes) == rank and isinstance(key, Dim) and isinstance(axes[-1], Dim) and rows in ([0], [])
    if not fits or not isinstance(batch, Dim) or len(condition.dims) != 2 or condition.features != 1:
        raise Refused(f"a mask of shape {condition.describe()} of scores; expected (batch, 1, steps of the key)")
    assert isinstance(key, Dim) and isinstance(axes[-1], Dim) and isinstance(axes[0], Dim)
    key.join(axes[-1])
    batch.join(axes[0])
    if place == 1:  # what is not hidden
        nodes: list[list[Any]] = [["constant", 1.0], ["subtract", 1, 0]]
        condition = equations(call, [condition], nodes)
    return replace(scores, mask=condition, fill=max(float(fill.flat[0]), logical.LEAST))


def _with_penalty(call: Call, scores: Scores, sources: list[Tensor]) -> list[Tensor]:
    """Query and key with one more feature, whose product is 0, or at hidden steps what is added to their scores."""
    assert scores.mask is not None
    query, value, key = sources
    graph, at = call.graph, call.at
    one = graph.add("Slice", at, [query], 1, {"start": 0, "stop": 1}) if query.features > 1 else query
    ones = {"equations": {"inputs": ["a"], "nodes": [["constant", 1.0], ["where", 1, 1, 0]], "outputs": [2]}}
    column = graph.add("Lambda", at, [one], 1, ones)
    mask = call.whole(scores.mask.parts[0])
    below = graph.add("Rescaling", at, [mask], 1, {"scale": number(scores.fill), "offset": 0.0})
    if scores.factor != 1.0:
        query = graph.add("Rescaling", at, [query], query.features, {"scale": number(scores.factor), "offset": 0.0})
    return [
        graph.add("Concatenate", at, [query, column], query.features + 1),
        value,
        graph.add("Concatenate", at, [key, below], key.features + 1),
    ]


def _one_query(call: Call, scores: Scores, value: View) -> View:
    """Attention of one row, whose axis of size 1 is no axis of steps."""
    query = scores.query
    made = as_steps(call.graph, call.at, call.whole(query.parts[0]))
    axes = [made.dims[1] if k == len(query.axes) - 2 else axis for k, axis in enumerate(query.axes)]
    found = _attention(call, replace(scores, query=View(((made,),), tuple(axes))), value)
    sequence = call.whole(found.parts[0])
    rest = tuple(dim for dim in sequence.dims if dim.root is not made.dims[1].root)
    row = call.graph.add("Step", call.at, [sequence], sequence.features, {"index": 0}, dims=rest)
    return View(((row,),), (*query.axes[:-1], FEATURES))


def _attends(scores: Scores, value: View) -> bool:
    """Whether weights · value is attention: the same steps, and features that scores are of."""
    q, k, v = scores.query.axes, scores.key.axes, value.axes
    query = isinstance(q[-2], Dim) or (
        q[-2] == ONE and len(q) == 3 and len(scores.query.dims) == 1 and len(scores.query.parts) == 1
    )
    steps = query and isinstance(k[-1], Dim) and len(v) == len(q) and isinstance(v[-2], Dim)
    features = q[-1] == FEATURES and k[-2] == FEATURES and v[-1] == FEATURES
    return steps and features and len(value.parts) == len(scores.query.parts) and not value.ids


def _attention(call: Call, scores: Scores, value: View) -> View:
    query, key = scores.query, scores.key
    _join(query.axes[:-2], value.axes[:-2], query, value)
    time, steps, of_value = query.axes[-2], key.axes[-1], value.axes[-2]
    assert isinstance(time, Dim) and isinstance(steps, Dim) and isinstance(of_value, Dim)
    steps.join(of_value)
    batch = next(
        (d for axis in query.axes[:-2] for d in (axis if isinstance(axis, tuple) else (axis,)) if isinstance(d, Dim)),
        None,
    )
    if batch is None or any(len(view.dims) != 2 for view in (query, key, value)):
        raise Refused(f"attention of {query.describe()} and {key.describe()}: expected sequences of rows")
    batch.mark(BATCH)
    for axis in (time, steps):
        axis.mark(TIME)
    if query.features != key.features:
        raise Refused(f"attention of {query.features} and {key.features} features")
    sources = [_heads(call, view) for view in (query, value, key)]
    factor = scores.factor * sources[0][1] * sources[2][1]
    tensors = [source for source, _ in sources]
    count = len(query.parts)
    dropout = {"dropout": scores.dropout} if scores.dropout else {}
    if sources[1][1] != 1.0:
        raise Refused(f"values times {sources[1][1]} by heads")
    if scores.mask is not None:
        if count != 1 or PARTS in query.axes:
            raise Refused("attention of several heads behind a mask")
        tensors, factor = _with_penalty(call, replace(scores, factor=factor), tensors), 1.0
    if count == 1 and PARTS not in query.axes:
        options: dict[str, Any] = {**dropout, "use_scale": factor != 1.0}
        parameters = {"scale": np.float32(factor)} if factor != 1.0 else None
        made = call.graph.add("Attention", call.at, tensors, value.features, options, parameters, (batch, time))
        return View(((made,),), (*query.axes[:-1], FEATURES))
    made = heads_of(call, tensors, (count, count, query.features), factor, False, (batch, time))
    made.layer.options |= dropout
    width = value.features
    parts = tuple(
        (call.graph.add("Slice", call.at, [made], width, {"start": k * width, "stop": (k + 1) * width}),)
        for k in range(count)
    )
    return View(parts, (*query.axes[:-1], FEATURES))


def _heads(call: Call, view: View) -> tuple[Tensor, float]:
    """The tensor whose features the parts are, and the factor that they are multiplied by."""
    found = [_unscaled(call.whole(part)) for part in view.parts]
    factor = found[0][1]
    if any(other != factor for _, other in found):
        raise Refused("heads that are multiplied by different factors")
    tensors = tuple(tensor for tensor, _ in found)
    source = slices_of(tensors) if len(tensors) > 1 else None
    if source is None or source[1:] == (0, source[0].features):
        return call.whole(tensors), factor
    start, stop = source[1:]
    options = {"start": start, "stop": stop}
    return call.graph.add("Slice", call.at, [source[0]], stop - start, options), factor


def _unscaled(tensor: Tensor) -> tuple[Tensor, float]:
    layer, factor = tensor.layer, 1.0
    while layer.type == "Rescaling" and not isinstance(layer.options["scale"], list) and layer.options["offset"] == 0.0:
        factor *= layer.options["scale"]
        tensor = layer.inputs[0]
        layer = tensor.layer
    return tensor, factor


def as_view(graph: Graph, at: At, scores: Scores) -> View:
    """The product as a tensor: a Dot layer, and what was done to it."""
    if id(scores) not in graph.products:
        graph.products[id(scores)] = (_view(graph, at, scores), scores)
    made: View = graph.products[id(scores)][0]
    return made


def _view(graph: Graph, at: At, scores: Scores) -> View:
    x = _dot(graph, at, scores.query, scores.key)
    (part,) = x.parts
    tensor = part[0]
    if scores.mask is not None:
        raise Refused("scores behind a mask that are no part of an attention")
    if scores.factor != 1.0:
        options: dict[str, Any] = {"scale": number(scores.factor), "offset": 0.0}
        tensor = graph.add("Rescaling", at, [tensor], tensor.features, options)
    if scores.weights:
        if x.axes[-1] != FEATURES:
            raise Refused(f"a softmax over the last axis of {x.describe()}, which does not hold the features")
        tensor = graph.add("Activation", at, [tensor], tensor.features, {"activation": "softmax"})
        if scores.dropout:
            tensor = graph.add("Dropout", at, [tensor], tensor.features, {"rate": scores.dropout})
    return View(((tensor,),), x.axes)


def _dot(graph: Graph, at: At, one: View, two: View) -> View:
    refusal = Refused(f"the product of {one.describe()} and {two.describe()}, which no layer does")
    batch = one.axes[0]
    if len(one.axes) != 3 or len(one.parts) != 1 or len(two.parts) != 1 or not isinstance(batch, Dim):
        raise refusal
    batch.mark(BATCH)
    sizes: list[int | None] = []
    axes: list[int] = []
    kept: list[tuple[Axis, int | None]] = []
    for view, summed, other in ((one, one.axes[2], one.axes[1]), (two, two.axes[1], two.axes[2])):
        sequence = len(view.dims) == 2
        if summed == FEATURES:
            axes.append(2 if sequence else 1)
        elif isinstance(summed, Dim) and sequence:
            axes.append(1)
        else:
            raise refusal
        for axis in (summed, other):
            if isinstance(axis, Dim):
                axis.mark(TIME)
                crosses_time(graph, axis, at)
        sizes.append(_size_of(view, summed))
        if sequence and other not in (FEATURES,) and not isinstance(other, Dim):
            raise refusal
        kept.append((other, _size_of(view, other)))
    if isinstance(one.axes[2], Dim) and isinstance(two.axes[1], Dim):
        one.axes[2].join(two.axes[1])
    elif sizes[0] != sizes[1]:
        raise refusal
    real = [(axis, size) for axis, size in kept if axis != ONE]
    if real and real[-1][1] is None:
        raise Refused(
            f"the product of {one.describe()} and {two.describe()} makes features of time, and only the data will tell "
            "how many"
        )
    features = real[-1][1] if real else 1
    assert features is not None
    dims: tuple[Dim, ...] = (batch,)
    result: list[Axis] = [ONE if axis == ONE else FEATURES for axis, _ in kept]
    if len(real) == 2:
        first, size = real[0]
        if not isinstance(first, Dim):
            first = Dim(f"steps of {at[0]}", size)
            first.mark(TIME)
        dims, result = (batch, first), [first, FEATURES]
    elif not real:
        result = [ONE, FEATURES]
    tensors = [graph.whole(view.parts[0], at) for view in (one, two)]
    made = graph.add("Dot", at, tensors, features, {"axes": axes}, dims=dims)
    return View(((made,),), (batch, *result))


def crosses_time(graph: Graph, time: Dim, at: At) -> None:
    graph.windows.append((time, at[0]))


def _size_of(view: View, axis: Axis) -> int | None:
    if axis == FEATURES:
        return view.features
    return axis.size if isinstance(axis, Dim) else 1
