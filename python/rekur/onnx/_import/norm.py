"""A layer normalisation that the exporter took apart: mean, difference, squares, their mean, root, quotient."""

from __future__ import annotations

from rekur.onnx._import.activations import number
from rekur.onnx._import.arithmetic import Nodes, equations
from rekur.onnx._import.call import Call, normal_axes, vector
from rekur.onnx._import.layout import last_features
from rekur.onnx._import.values import FEATURES, Known, Moment, Refused, Value, View

# what a node makes of a stage: (operator, stage) → stage
STAGES = {
    ("ReduceMean", "squares"): "variance",
    ("Sqrt", "variance"): "deviation",
    ("Sqrt", "variance and epsilon"): "deviation",
    ("Reciprocal", "deviation"): "inverse",
}


def reduce_mean(call: Call) -> Value:
    value = call.inputs[0]
    x = value.x if isinstance(value, Moment) else call.view(0)
    axes, keep = call.integers("axes", 1), call.flag("keepdims", 1)
    call.ignore("noop_with_empty_axes")
    rank = len(x.axes)
    if not axes or normal_axes(axes, rank) != [rank - 1] or x.axes[-1] != FEATURES or not keep:
        raise Refused("a mean over anything but the features, as part of a layer normalisation; no layer takes means")
    if isinstance(value, Moment):
        return advance(call) or equations(call, [as_view(call, value)], [["mean", 0]], 1)
    return Moment("mean", x)


def advance(call: Call) -> Value | None:
    """Sqrt, Reciprocal, ReduceMean: one stage further; None: there is none."""
    value = call.inputs[0]
    stage = STAGES.get((call.op, value.stage)) if isinstance(value, Moment) else None
    if not isinstance(value, Moment) or stage is None:
        return None
    return Moment(stage, value.x, value.epsilon)


def binary(call: Call) -> Value | None:
    """Sub, Pow, Mul, Add and Div between the stages; None: it is no part of a layer normalisation."""
    one, two = call.inputs[0], call.inputs[1] if call.has(1) else None
    stages = tuple(v.stage if isinstance(v, Moment) else type(v).__name__ for v in (one, two))
    moments = [v for v in (one, two) if isinstance(v, Moment)]
    x = moments[0].x
    views = [v.x for v in moments] + [v for v in (one, two) if isinstance(v, View)]
    if any((v.parts, v.axes) != (x.parts, x.axes) for v in views):
        return None
    known = next((v.array for v in (one, two) if isinstance(v, Known)), None)
    if known is not None and (known.size != 1 or known.ndim > len(x.axes)):
        return None
    match call.op, stages:
        case "Sub", ("View", "mean"):
            return Moment("centred", x)
        case "Pow", ("centred", "Known") if known is not None and float(known.flat[0]) == 2:
            return Moment("squares", x)
        case "Mul", ("centred", "centred"):
            return Moment("squares", x)
        case "Add", ("variance", "Known") | ("Known", "variance") if known is not None:
            return Moment("variance and epsilon", x, float(known.flat[0]))
        case "Div", ("centred", "deviation"):
            return normalized(call, x, moments[1].epsilon)
        case "Mul", ("centred", "inverse") | ("inverse", "centred"):
            return normalized(call, x, next(m.epsilon for m in moments if m.stage == "inverse"))
    return None


def as_view(call: Call, value: Moment) -> View:
    """The stage as a tensor of its own, where no layer normalisation comes of it."""
    centred: Nodes = [["mean", 0], ["subtract", 0, 1]]
    squares: Nodes = [*centred, ["multiply", 2, 2]]
    variance: Nodes = [*squares, ["mean", 3]]
    more: Nodes = [*variance, ["constant", number(value.epsilon)], ["add", 4, 5]]
    root: Nodes = [*more, ["sqrt", 6]]
    stages: dict[str, tuple[Nodes, bool]] = {
        "mean": ([["mean", 0]], True),
        "centred": (centred, False),
        "squares": (squares, False),
        "variance": (variance, True),
        "variance and epsilon": (more, True),
        "deviation": (root, True),
        "inverse": ([*root, ["constant", 1.0], ["divide", 8, 7]], True),
    }
    nodes, of_row = stages[value.stage]
    return equations(call, [value.x], nodes, 1 if of_row else None)


def normalized(call: Call, x: View, epsilon: float) -> View:
    if not epsilon > 0:
        raise Refused(f"a layer normalisation with an epsilon of {epsilon}")
    return call.layer("LayerNormalization", x, x.features, None, epsilon=number(epsilon), center=False, scale=False)


def layer_normalization(call: Call) -> View:
    """The operator of that name (opset 17)."""
    x = last_features(call.view(0))
    axis = call.attribute("axis", -1)
    if call.attribute("stash_type", 1) != 1:
        raise Refused(f"stash_type is {call.attribute('stash_type')}; expected 1: mean and deviation in float32")
    if axis not in (-1, len(x.axes) - 1):
        raise Refused(f"normalises from axis {axis} on; expected the last axis only")
    if any(call.wanted[1:]):
        raise Refused("its mean or deviation is read")
    rank = len(x.axes)
    gamma = vector(call, 1, "the scale", x.features, rank)
    parameters = {"gamma": gamma}
    if call.has(2):
        parameters["beta"] = vector(call, 2, "the bias", x.features, rank)
    epsilon = number(call.attribute("epsilon", 1e-5))
    return call.layer("LayerNormalization", x, x.features, parameters, epsilon=epsilon, center=call.has(2), scale=True)


def batch_normalization(call: Call) -> View:
    x = call.view(0)
    call.ignore("momentum")
    if call.flag("training_mode") or any(call.wanted[1:]) or not call.flag("spatial", 1):
        raise Refused("only batch normalisation at inference is understood")
    if len(x.axes) < 2 or x.axes[1] != FEATURES:
        raise Refused(f"normalises axis 1 of {x.describe()}, which does not hold the features")
    names = ("the scale", "the bias", "the mean", "the variance")
    found = [vector(call, 1 + k, what, x.features) for k, what in enumerate(names)]
    epsilon = number(call.attribute("epsilon", 1e-5))
    if (found[3] < 0).any() or not epsilon > 0:
        raise Refused(f"a variance below zero, or an epsilon of {epsilon}")
    keys = ("gamma", "beta", "moving_mean", "moving_variance")
    return call.layer("BatchNormalization", x, x.features, dict(zip(keys, found, strict=True)), epsilon=epsilon)
