"""Reductions: over the steps a global pooling or a product with ones, over the features a Lambda."""

from __future__ import annotations

from rekur.onnx._import import norm
from rekur.onnx._import.activations import number
from rekur.onnx._import.arithmetic import Nodes, equations
from rekur.onnx._import.call import Call, normal_axes, vector
from rekur.onnx._import.spread import together
from rekur.onnx._import.values import BATCH, FEATURES, ONE, TIME, Dim, Moment, Refused, Value, View
from rekur.onnx._import.windows import by_channel, crosses, over_time

# over the features of a row
ROWS: dict[str, Nodes] = {
    "ReduceSum": [["sum", 0]],
    "ReduceMean": [["mean", 0]],
    "ReduceMax": [["max", 0]],
    "ReduceMin": [["negative", 0], ["max", 1], ["negative", 2]],
    "ReduceL1": [["absolute", 0], ["sum", 1]],
    "ReduceL2": [["multiply", 0, 0], ["sum", 1], ["sqrt", 2]],
    "ReduceSumSquare": [["multiply", 0, 0], ["sum", 1]],
    "ReduceLogSum": [["sum", 0], ["log", 1]],
    "ReduceLogSumExp": [["max", 0], ["subtract", 0, 1], ["exp", 2], ["sum", 3], ["log", 4], ["add", 1, 5]],
}
# over the steps: what is done to each number before, the reduction, what is done after
STEPS: dict[str, tuple[Nodes, str, Nodes]] = {
    "ReduceSum": ([], "sum", []),
    "ReduceMean": ([], "mean", []),
    "ReduceMax": ([], "max", []),
    "ReduceMin": ([["negative", 0]], "max", [["negative", 0]]),
    "ReduceL1": ([["absolute", 0]], "sum", []),
    "ReduceL2": ([["multiply", 0, 0]], "sum", [["sqrt", 0]]),
    "ReduceSumSquare": ([["multiply", 0, 0]], "sum", []),
    "ReduceLogSum": ([], "sum", [["log", 0]]),
}


def reduce(call: Call) -> Value:
    """Over one or several of the axes; ReduceMean of the features that a layer normalisation may follow is a Moment."""
    value = call.inputs[0]
    if isinstance(value, Moment) and call.op != "ReduceMean":
        value = norm.as_view(call, value)
    x = value.x if isinstance(value, Moment) else value
    if not isinstance(x, View):
        x = call.view(0)
    keep, skips = call.flag("keepdims", 1), call.flag("noop_with_empty_axes")
    given = call.integers("axes", 1)
    if not given and skips:
        return x
    axes = sorted(normal_axes(given if given else list(range(len(x.axes))), len(x.axes)))
    features = [k for k in axes if _holds_features(x, k)]
    if call.op == "ReduceMean" and keep and axes == features == [len(x.axes) - 1]:
        return norm.reduce_mean(call)
    if isinstance(value, Moment):
        x = norm.as_view(call, value)
    steps = [k for k in axes if isinstance(x.axes[k], Dim)]
    if x.ids or len(steps) > 1 or not all(k in features or k in steps or x.axes[k] == ONE for k in axes):
        raise Refused(f"over axes {axes} of {x.describe()}; expected steps or features")
    if call.op in ("ReduceLogSum", "ReduceLogSumExp", "ReduceL2") and steps and features:
        raise Refused(f"over steps and features of {x.describe()} at once")
    for _ in features:
        x = equations(call, [x], ROWS[call.op], 1)
    for k in steps:
        if call.op not in STEPS:
            raise Refused(f"over the steps of {x.describe()}, which no layer does")
        before, how, after = STEPS[call.op] if not features or call.op != "ReduceL1" else STEPS["ReduceSum"]
        if features and call.op == "ReduceSumSquare":
            before = []
        x = equations(call, [x], before)
        x = summed(call, x, k) if how == "sum" else over_time(call, x, k, how == "max", True)
        x = equations(call, [x], after)
    left = [ONE if k in axes else axis for k, axis in enumerate(x.axes)]
    return x.with_axes(left if keep else [axis for k, axis in enumerate(left) if k not in axes])


def _holds_features(x: View, axis: int) -> bool:
    return x.axes[axis] == FEATURES


def summed(call: Call, x: View, axis: int, zeros: bool = False) -> View:
    """The sum of all steps: the product of ones and x along them. zeros: behind a row's end x is zero here, too."""
    time = x.axes[axis]
    rest = [dim for dim in x.dims if isinstance(time, Dim) and dim.root is not time.root]
    if not isinstance(time, Dim) or len(rest) != 1 or len(x.parts) != 1:
        raise Refused(f"sums axis {axis} of {x.describe()}; expected the steps of a sequence of rows")
    time.mark(TIME)
    rest[0].mark(BATCH)
    if not zeros:
        crosses(call, time)
    whole = call.whole(x.parts[0])
    one = whole
    if whole.features > 1:
        one = call.graph.add("Slice", call.at, [whole], 1, {"start": 0, "stop": 1})
    nodes: Nodes = [["constant", 1.0], ["where", 1, 1, 0]]  # ones, also where a number is not finite
    options = {"equations": {"inputs": ["a"], "nodes": nodes, "outputs": [2]}}
    ones = call.graph.add("Lambda", call.at, [one], 1, options)
    made = call.graph.add(
        "Dot", call.at, [ones, whole], whole.features, {"axes": [1, 1]}, dims=(rest[0], Dim("a sum", 1))
    )
    flat = call.graph.add("Flatten", call.at, [made], whole.features, dims=(rest[0],))
    return View(((flat,),), (*x.axes[:axis], ONE, *x.axes[axis + 1 :]))


def softmax_of_steps(call: Call, x: View, axis: int, log: bool = False) -> View:
    """exp(x − max) / Σ exp(x − max) over the steps of each row."""
    most = over_time(call, x, axis, True, True)
    below = equations(call, together(call, [x, most]), [["subtract", 0, 1]])
    powers = equations(call, [below], [["exp", 0]])
    total = summed(call, powers, axis)
    if log:
        return equations(call, together(call, [below, total]), [["log", 1], ["subtract", 0, 2]])
    return equations(call, together(call, [powers, total]), [["divide", 0, 1]])


def instance_normalization(call: Call) -> View:
    """Of each row and feature over its steps: (x − mean) / √(variance + epsilon) · scale + bias."""
    x, _, _ = by_channel(call, call.view(0))
    scale, bias = vector(call, 1, "the scale", x.features), vector(call, 2, "the bias", x.features)
    epsilon = number(call.attribute("epsilon", 1e-5))
    mean = over_time(call, x, 2, False, True)
    centred = equations(call, together(call, [x, mean]), [["subtract", 0, 1]])
    variance = over_time(call, equations(call, [centred], [["multiply", 0, 0]]), 2, False, True)
    nodes: Nodes = [["constant", epsilon], ["add", 1, 2], ["sqrt", 3], ["divide", 0, 4]]
    made = equations(call, together(call, [centred, variance]), nodes)
    scales, offsets = ([number(v) for v in array.tolist()] for array in (scale, bias))
    return call.layer("Rescaling", made, made.features, None, scale=scales, offset=offsets)
