"""Layers along time in files with states: what each carries from one step, or one piece, to the next.

A causal convolution carries the last steps of its input, attention over a window the keys and values of the steps in
it, a position the number of its next step, a ConvLSTM its two images. Zeros are the beginning of a sequence. Others
have no output at every step, or need steps that are still to come: they are refused with the reason that a stream of
the engine gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from rekur._spec import ATTENTION, POSITIONS
from rekur.onnx._attention import Heads, key_apart
from rekur.onnx._axes import TimeAxis, parse_ref
from rekur.onnx._errors import ExportError
from rekur.onnx._plan import (
    CONVOLUTIONS,
    IMAGES,
    MEAN,
    MOST,
    POOLING,
    RESAMPLING,
    RESHAPING,
    Layer,
    Plan,
    describe,
    joins_steps,
)

Refuse = Callable[[str], NoReturn]


def span_of(layer: Layer) -> int:
    """How many steps a window of a convolution stretches over."""
    return int((layer["kernel_size"] - 1) * layer.get("dilation_rate", 1) + 1)


def moves_nothing(layer: Layer) -> bool:
    """Of pooling, UpSampling1D, Cropping1D, ZeroPadding1D: whether the output is the input."""
    if layer["type"] in POOLING:
        size = layer.get("pool_size", 2)
        return bool(size == 1 and (layer.get("strides") or size) == 1)
    if layer["type"] == "UpSampling1D":
        return bool(layer.get("size", 2) == 1)
    return not any(layer["cropping" if layer["type"] == "Cropping1D" else "padding"])


def carried(plan: Plan, layer: Layer, streaming: bool) -> dict[str, int]:
    """The states of a layer that is none of the recurrent ones by their names, with their sizes.

    Raises
    ------
    ExportError
        A step, or a piece of the sequence, is not enough for the layer.
    """
    option, unit = words(streaming)

    def refuse(why: str) -> NoReturn:
        raise ExportError(f"{option}: {describe(layer)}: {why}")

    kind = layer["type"]
    axes = [plan.time.get(parse_ref(text)) for text in layer.get("inputs", ())]
    if not streaming and not any(steps_of(axis) for axis in axes):
        return {}  # what it reads is there as a whole in every piece
    if kind in IMAGES:
        if layer.get("reverse", False):
            refuse(f"it reads the sequence from its end, which {unit} does not know")
        if streaming and (not layer.get("return_sequences", False) or layer.get("return_state", False)):
            refuse(
                "an output without the time axis has its positions there; return_sequences=True and "
                "return_state=False go"
            )
        size = image_size(plan, layer)
        return {"h": size, "c": size}
    if kind in CONVOLUTIONS:
        return _of_convolution(plan, layer, refuse)
    if kind in ATTENTION:
        return _of_attention(plan, layer, axes, refuse)
    if kind in POSITIONS:
        return {"position": 2}
    if kind == "FoldTime" and streaming and len(plan.shapes[layer["name"], 0]) > 2:
        refuse("a time step that is a sequence by itself is no single step to the layers within")
    _check(plan, layer, axes, unit, refuse)
    return {}


def words(streaming: bool) -> tuple[str, str]:
    """How messages call the option, and what there is of a sequence at a time."""
    return ("streaming=True", "one step") if streaming else ("states=True", "a piece of the sequence")


def image_size(plan: Plan, layer: Layer) -> int:
    """The numbers of a state of a ConvLSTM."""
    first = 2 if layer.get("return_sequences", False) else 1
    return int(np.prod([int(n or 0) for n in plan.shapes[layer["name"], 0][first:]]))


def steps_of(axis: TimeAxis | None) -> tuple[str, ...]:
    """The inputs of the model whose steps an axis has, or has something of; none of an axis of a layer's own."""
    while axis is not None and axis.change is not None:
        axis = axis.before
    return axis.inputs if axis is not None else ()


def _of_convolution(plan: Plan, layer: Layer, refuse: Refuse) -> dict[str, int]:
    span, stride = span_of(layer), layer.get("strides", 1)
    if layer["type"] == "Conv1DTranspose":
        refuse("a step of its input is several of its output")
    if stride != 1:
        refuse(f"it has {stride} steps of its input for one of its output, and so none at the others")
    if span == 1:
        return {}
    if layer.get("padding", "valid") == "same":
        refuse('steps that are still to come count; padding="causal" leaves them out')
    if layer.get("padding", "valid") == "valid":
        refuse(f'its first step needs {span} of its input; padding="causal" takes zeros for those that are not there')
    return {"steps": (span - 1) * _features(plan, layer, 0)}


def _of_attention(plan: Plan, layer: Layer, axes: Sequence[TimeAxis | None], refuse: Refuse) -> dict[str, int]:
    if any(not steps_of(axis) or steps_of(axis) != steps_of(axes[0]) for axis in axes):
        refuse("its values are another sequence than its queries, and all of them count")
    if not layer.get("use_causal_mask", False):
        refuse("steps that are still to come count; use_causal_mask=True leaves them out")
    window = layer.get("sliding_window")
    if window is None:
        refuse(
            "all steps so far count, and a state has a size that is known beforehand: sliding_window= says how many "
            "are kept"
        )
    if layer.get("return_attention_scores", False):
        refuse("return_attention_scores gives a weight for every step of the sequence")
    if any(axis is not None and axis.mask for axis in axes):
        refuse("a mask says which of its keys there are; feed a model without the mask the steps there are")
    before = window - 1
    if not before:
        return {}
    if layer["type"] in ("MultiHeadAttention", "GroupQueryAttention"):
        heads = Heads.of(layer)
        sizes = {"keys": heads.keys * heads.key, "values": heads.keys * heads.value}
    else:
        sizes = {"keys": _features(plan, layer, -1)} if key_apart(layer) else {}
        sizes["values"] = _features(plan, layer, 1)
    return {**{name: before * size for name, size in sizes.items()}, "count": 1}


def _check(plan: Plan, layer: Layer, axes: Sequence[TimeAxis | None], unit: str, refuse: Refuse) -> None:
    """Layers without states."""
    kind = layer["type"]
    if kind in POOLING and not moves_nothing(layer):
        size = layer.get("pool_size", 2)
        steps = max(size, layer.get("strides") or size)
        refuse(f"it has {steps} steps of its input for one of its output, and so none at the others")
    if kind in (MEAN, MOST):
        refuse("it is of all steps")
    if kind in RESAMPLING and not moves_nothing(layer):
        refuse("its output has other steps than its input")
    if kind in (*RESHAPING, "RepeatVector"):
        if axes[0] is not None:
            refuse("it needs all steps of its input")
        before, after = (plan.shapes[parse_ref(text)] for text in (layer["inputs"][0], layer["name"]))
        if tuple(before) != tuple(after):
            refuse("its output has other axes than its input")
    if joins_steps(layer) and any(axes):
        refuse("it joins its inputs along time, not along the features")
    if kind == "Dot" and (any(axes) or len(plan.shapes[layer["name"], 0]) > 2):
        refuse("its products are of all time steps of a sequence")
    if kind == "CRF":
        refuse("tags depend on the steps that are still to come; export the model of its input")
    if kind == "Loop":
        refuse("its steps see a memory as a whole; a model of one of its steps is exported by itself")
    if kind == "Flip":
        refuse(f"it reads the sequence from its end, which {unit} does not know")
    if kind == "PReLU" and 1 not in layer.get("shared_axes", ()) and axes[0] is not None:
        refuse("its alpha differs from time step to time step; shared_axes=[1] gives all the same")
    if kind == "Step" and (layer["index"] != -1 or any(axis.lengths for axis in plan.axes)):
        with_lengths = " of rows with lengths" if layer["index"] == -1 else ""
        refuse(f"step {layer['index']}{with_lengths} cannot be told from {unit}")


def _features(plan: Plan, layer: Layer, place: int) -> int:
    return int(plan.shapes[parse_ref(layer["inputs"][place])][-1] or 0)
