"""A layer normalisation that the exporter took apart: mean, difference, squares, their mean, root, quotient."""

from __future__ import annotations

import numpy as np

from rekur.onnx._import.activations import number
from rekur.onnx._import.call import Call
from rekur.onnx._import.layout import last_features
from rekur.onnx._import.values import FEATURES, Known, Moment, Refused, Value, View

# what a node makes of a stage: (operator, stage) → stage
STAGES = {
    ("ReduceMean", "squares"): "variance",
    ("Sqrt", "variance"): "deviation",
    ("Reciprocal", "deviation"): "inverse",
}


def reduce_mean(call: Call) -> Value:
    value = call.inputs[0]
    x = value.x if isinstance(value, Moment) else call.view(0)
    axes, keep = call.integers("axes", 1), call.attribute("keepdims", 1)
    call.ignore("noop_with_empty_axes")
    rank = len(x.axes)
    if axes is None or [axis % rank for axis in axes] != [rank - 1] or x.axes[-1] != FEATURES or not keep:
        raise Refused("a mean over anything but the features, as part of a layer normalisation; no layer takes means")
    if isinstance(value, Moment):
        return advance(call)
    return Moment("mean", x)


def advance(call: Call) -> Value:
    """Sqrt, Reciprocal, ReduceMean: one stage further."""
    value = call.inputs[0]
    stage = STAGES.get((call.op, value.stage)) if isinstance(value, Moment) else None
    if not isinstance(value, Moment) or stage is None:
        raise Refused("is understood only as part of a layer normalisation")
    return Moment(stage, value.x, value.epsilon)


def binary(call: Call) -> Value:
    """Sub, Pow, Mul, Add and Div between the stages."""
    one, two = call.inputs[0], call.inputs[1] if call.has(1) else None
    stages = tuple(v.stage if isinstance(v, Moment) else type(v).__name__ for v in (one, two))
    moments = [v for v in (one, two) if isinstance(v, Moment)]
    if not moments:
        raise Refused("is understood only as part of a layer normalisation")
    x = moments[0].x
    if any(v.x is not x and v.x.parts != x.parts for v in moments) or (isinstance(one, View) and one.parts != x.parts):
        raise Refused("mixes the moments of different tensors")
    known = next((v.array for v in (one, two) if isinstance(v, Known) and v.array.size == 1), None)
    match call.op, stages:
        case "Sub", ("View", "mean"):
            return Moment("centred", x)
        case "Pow", ("centred", "Known") if known is not None and float(known.flat[0]) == 2:
            return Moment("squares", x)
        case "Mul", ("centred", "centred"):
            return Moment("squares", x)
        case "Add", ("variance", "Known") | ("Known", "variance") if known is not None:
            return Moment("variance", x, float(known.flat[0]))
        case "Div", ("centred", "deviation"):
            return normalized(call, x, moments[1].epsilon)
        case "Mul", ("centred", "inverse") | ("inverse", "centred"):
            return normalized(call, x, max(m.epsilon for m in moments))
    raise Refused("is not understood here: it is no part of a layer normalisation")


def normalized(call: Call, x: View, epsilon: float) -> View:
    if not epsilon > 0:
        raise Refused("a layer normalisation without an epsilon")
    return call.layer("LayerNormalization", x, x.features, None, epsilon=number(epsilon), center=False, scale=False)


def layer_normalization(call: Call) -> View:
    """The operator of that name (opset 17)."""
    x = last_features(call.view(0))
    axis = call.attribute("axis", -1)
    call.ignore("stash_type")
    if axis not in (-1, len(x.axes) - 1):
        raise Refused(f"normalises from axis {axis} on; expected the last axis only")
    if any(call.wanted[1:]):
        raise Refused("its mean or deviation is read")
    gamma = vector(call, 1, "the scale", x.features)
    parameters = {"gamma": gamma}
    if call.has(2):
        parameters["beta"] = vector(call, 2, "the bias", x.features)
    epsilon = number(call.attribute("epsilon", 1e-5))
    return call.layer("LayerNormalization", x, x.features, parameters, epsilon=epsilon, center=call.has(2), scale=True)


def batch_normalization(call: Call) -> View:
    """At inference it is a scale and an offset for each feature."""
    x = call.view(0)
    call.ignore("momentum")
    if call.attribute("training_mode", 0) or any(call.wanted[1:]) or not call.attribute("spatial", 1):
        raise Refused("only batch normalisation at inference is understood")
    if len(x.axes) < 2 or x.axes[1] != FEATURES:
        raise Refused(f"normalises axis 1 of {x.describe()}, which does not hold the features")
    names = ("the scale", "the bias", "the mean", "the variance")
    scale, bias, mean, variance = (
        vector(call, 1 + k, what, x.features).astype(np.float64) for k, what in enumerate(names)
    )
    with np.errstate(all="ignore"):
        gamma = scale / np.sqrt(variance + call.attribute("epsilon", 1e-5))
        beta = bias - mean * gamma
    return call.layer("Affine", x, x.features, {"gamma": gamma, "beta": beta})


def vector(call: Call, index: int, what: str, features: int) -> np.ndarray:
    array = call.known(index, what)
    if array.dtype != np.float32 or array.reshape(-1).shape != (features,):
        raise Refused(f"{what} is {array.dtype} of shape {array.shape}; expected float32 ({features},)")
    return array.reshape(-1)
