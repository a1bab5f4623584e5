"""Convolution and pooling over two axes of which one is of size 1: tf2onnx writes Keras's one-dimensional layers so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from rekur.onnx._import.call import Call
from rekur.onnx._import.values import ONE, Known, Refused, Value, View

MULTIPLE = {
    "kernel_shape": 1,
    "strides": 1,
    "dilations": 1,
    "output_padding": 0,
}  # a number for each axis: what it must be


def of_one_axis(rule: Callable[[Call], Value]) -> Callable[[Call], Value]:
    """The rule over one axis; of two, that of size 1 is left out where nothing is done along it."""

    def either(call: Call) -> Value:
        x = call.inputs[0] if call.inputs else None
        if not isinstance(x, View) or len(x.axes) != 4:
            return rule(call)
        place = next((k for k in (2, 3) if x.axes[k] == ONE), None)
        if place is None:
            raise Refused(f"works over two axes of {x.describe()}; one time axis is taken, no more")
        inputs = list(call.inputs)
        inputs[0] = x.with_axes([axis for k, axis in enumerate(x.axes) if k != place])
        if call.op in ("Conv", "ConvTranspose"):
            inputs[1] = Known(_kernel(call, place))
        flat = replace(call, inputs=inputs, attributes=_attributes(call, place - 2), taken=call.taken)
        made = rule(flat)
        if not isinstance(made, View):
            raise Refused(f"of {x.describe()} is no tensor that the model computes")
        return made.with_axes([*made.axes[:place], ONE, *made.axes[place:]])

    return either


def _kernel(call: Call, place: int) -> Any:
    kernel = call.known(1, "the kernel")
    if kernel.ndim != 4 or kernel.shape[place] != 1:
        raise Refused(f"a kernel of shape {kernel.shape} along an axis of size 1; expected one of size 1 there")
    key = (id(kernel), place, "planar")
    if key not in call.graph.matrices:
        call.graph.matrices[key] = (kernel, kernel.reshape([n for k, n in enumerate(kernel.shape) if k != place]))
    return call.graph.matrices[key][1]


def _attributes(call: Call, place: int) -> dict[str, Any]:
    found = dict(call.attributes)
    for name, only in MULTIPLE.items():
        if name not in found:
            continue
        values = found[name]
        if not isinstance(values, list) or len(values) != 2 or values[place] != only:
            raise Refused(f"{name} is {values!r:.60}; expected two numbers, {only} along the axis of size 1")
        found[name] = [values[1 - place]]
    if "pads" in found:
        pads = found["pads"]
        if not isinstance(pads, list) or len(pads) != 4 or pads[place] or pads[place + 2]:
            raise Refused(f"pads are {pads!r:.60}; expected four numbers, 0 along the axis of size 1")
        found["pads"] = [pads[1 - place], pads[3 - place]]
    return found
