"""ConvLSTM1D and ConvLSTM2D: a Scan whose step is two convolutions and the gates.

Within the Scan channels come before positions, as Conv wants them; x and outputs have them last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rekur.onnx._activations import steps_of
from rekur.onnx._around import batch_size, computed, keep_rows, times
from rekur.onnx._axes import BATCH
from rekur.onnx._graph import Graph, Tensor
from rekur.onnx._masks import step_mask
from rekur.onnx._plan import Layer, Plan, State, describe
from rekur.onnx._windows import same_pads


def _by_axis(layer: Layer, key: str, rank: int) -> list[int]:
    given = layer.get(key, 1)
    return [given] * rank if isinstance(given, int) else list(given)


def _padded(sizes: Sequence[int], taps: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """What "same" puts in front of the positions along each axis, then what it puts behind them."""
    pairs = [same_pads(n, (k - 1) * d + 1, s) for n, k, s, d in zip(sizes, taps, strides, dilation, strict=True)]
    return [pair[end] for end in (0, 1) for pair in pairs]


def conv_lstm(graph: Graph, plan: Plan, layer: Layer, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The layer, forward or reverse."""
    x, name, filters = inputs[0], layer["name"], layer["filters"]
    sizes = [int(n) for n in x.between]
    rank = len(sizes)
    first, last = [0, rank + 1, *range(1, rank + 1)], [0, *range(2, rank + 2), 1]  # channels first; and last again
    space = [int(n or 0) for n in plan.shapes[name, 0][-1 - rank : -1]]
    if plan.streaming:
        return [_one_step(graph, plan, layer, x, sizes, space, first, last)]
    state = graph.integers(filters, *space)
    whole = graph.once("Concat", [batch_size(graph, plan, x), state], f"{x.label}/image_{name}", axis=0)
    held = plan.states.get(name, ())
    zeros = graph.once("ConstantOfShape", [whole], f"{x.label}/zeros_{name}") if len(inputs) < 3 and not held else ""
    initial = [graph.emit("Transpose", [graph.batch_major(s)], f"{name}/initial_{k}", perm=first)
               for k, s in enumerate(inputs[1:])]  # fmt: skip
    initial += _held(graph, held, space, filters, first)
    initial += [zeros] * (2 - len(initial))
    mask = (x.axis.mask if x.axis else None) or ""
    lengths = "" if mask else (x.axis.lengths if x.axis else None) or ""
    value = graph.time_major(x)
    if mask:
        scanned = [graph.once("Transpose", [mask], f"{mask}/time_major", perm=[1, 0])]
    else:
        scanned = [times(graph, value, x.label)] if lengths else []
    reverse, sequences = layer.get("reverse", False), layer.get("return_sequences", False)
    body = _body(graph, layer, x, sizes, space, (lengths, mask), first, want_y=sequences)
    finals = [f"{name}/final_h", f"{name}/final_c"]
    made = [*finals, f"{name}/sequence"] if sequences else finals
    scanned.append(value)
    graph.emit(
        "Scan",
        [*initial, *scanned],
        *made,
        name=f"{name}/Scan",
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_directions=[1] * len(scanned) if reverse else None,
        scan_output_directions=[1] if reverse and sequences else None,
    )
    for kept, value in zip(held, finals, strict=False):
        turned = graph.emit("Transpose", [value], f"{value}/image", perm=last)
        graph.emit("Reshape", [turned, graph.integers(0, kept.units)], kept.output)
    used = {index for owner, index in plan.wanted if owner == name}
    if sequences:
        perm = [0, 1, *range(3, rank + 3), 2]
        turned = graph.emit("Transpose", [made[2]], f"{name}/time_major", perm=perm)
        outputs = [Tensor(name, filters, x.axis, time_major=turned)]
    elif mask and layer.get("zero_output_for_mask", False):
        there = graph.emit("Gather", [mask, graph.integers(0 if reverse else -1)], f"{name}/ends_there", axis=1)
        rows = graph.emit("Unsqueeze", [there, graph.integers(*range(2, rank + 2))], f"{name}/ends_there_rows")
        turned = graph.emit("Transpose", [finals[0]], f"{name}/last", perm=last)
        zero = graph.initializer("float32/zero", np.array(0, np.float32))
        outputs = [Tensor(name, filters, batch_major=graph.emit("Where", [rows, turned, zero], name))]
    else:
        outputs = [Tensor(name, filters, batch_major=graph.emit("Transpose", [finals[0]], name, perm=last))]
    for k in range(2 if layer.get("return_state", False) else 0):
        tensor = Tensor(f"{name}:{k + 1}", filters)
        if k + 1 in used:
            tensor.batch_major = graph.emit("Transpose", [finals[k]], tensor.label, perm=last)
        outputs.append(tensor)
    return outputs


def _held(graph: Graph, states: Sequence[State], space: Sequence[int], filters: int, first: Sequence[int]) -> list[str]:
    """The states of a file (B, all of it), whose channels are last, with channels first."""
    made = []
    for state in states:
        image = graph.emit("Reshape", [state.input, graph.integers(0, *space, filters)], f"{state.input}/image")
        made.append(graph.emit("Transpose", [image], f"{state.input}/channels_first", perm=first))
    return made


def _one_step(
    graph: Graph,
    plan: Plan,
    layer: Layer,
    x: Tensor,
    sizes: list[int],
    space: list[int],
    first: list[int],
    last: list[int],
) -> Tensor:
    """The layer in a one-step model."""
    name, filters, states = layer["name"], layer["filters"], plan.states[layer["name"]]
    h, c = _held(graph, states, space, filters, first)
    made = _step(graph, graph, layer, x, sizes, (h, c, graph.batch_major(x)), first)
    for state, value in zip(states, made, strict=True):
        turned = graph.emit("Transpose", [value], f"{value}/image", perm=last)
        graph.emit("Reshape", [turned, graph.integers(0, state.units)], computed(plan, layer, state))
    keep_rows(graph, plan, layer)
    y, mask = f"{made[0]}/image", step_mask(plan, layer)
    if mask:
        zeros = layer.get("zero_output_for_mask", False)
        shape = graph.integers(0, *space, filters)
        kept = "" if zeros else graph.emit("Reshape", [states[0].input, shape], f"{name}/before")
        rows = graph.emit("Unsqueeze", [mask, graph.integers(*range(1, len(space) + 2))], f"{name}/rows_there")
        other = graph.initializer("float32/zero", np.array(0, np.float32)) if zeros else kept
        y = graph.emit("Where", [rows, y, other], f"{name}/rows")
    return Tensor(name, filters, batch_major=y)


def _body(
    graph: Graph,
    layer: Layer,
    x: Tensor,
    sizes: list[int],
    space: list[int],
    rows_there: tuple[str, str],
    first: list[int],
    *,
    want_y: bool,
) -> Graph:
    """A step: h and c, where there are lengths its place in time, with a mask which rows have it, x; the new h and c,
    and the output where it is wanted. (A value that nobody reads leads onnxruntime up to 1.17 to wrong states.)
    """
    lengths, mask = rows_there
    filters, rank = layer["filters"], len(sizes)
    body, at = graph.body(), f"{layer['name']}/step"
    h, c, image = f"{at}/h", f"{at}/c", f"{at}/x"
    body.inputs = [(value, "float32", (BATCH, filters, *space)) for value in (h, c)]
    if lengths:
        body.inputs.append((f"{at}/time", "int32", ()))
    if mask:
        body.inputs.append((f"{at}/valid", "bool", (BATCH,)))
    assert x.features is not None
    body.inputs.append((image, "float32", (BATCH, *sizes, x.features)))
    new_h, new_c = _step(graph, body, layer, x, sizes, (h, c, image), first)
    if lengths:
        body.emit("Less", [f"{at}/time", lengths], f"{at}/valid")
    if lengths or mask:
        rows = body.emit("Unsqueeze", [f"{at}/valid", graph.integers(*range(1, rank + 2))], f"{at}/valid_rows")
        zero = graph.initializer("float32/zero", np.array(0, np.float32))
        other = zero if lengths or layer.get("zero_output_for_mask", False) else h
        y = body.emit("Where", [rows, new_h, other], f"{at}/y") if want_y else ""
        new_c = body.emit("Where", [rows, new_c, c], f"{at}/c_kept")
        new_h = body.emit("Where", [rows, new_h, h], f"{at}/h_kept")
    else:
        y = body.emit("Identity", [new_h], f"{at}/y") if want_y else ""
    body.outputs = [(value, "float32", (BATCH, filters, *space)) for value in (new_h, new_c, y) if value]
    return body


def _step(
    graph: Graph,
    body: Graph,
    layer: Layer,
    x: Tensor,
    sizes: list[int],
    given: tuple[str, str, str],
    first: list[int],
) -> tuple[str, str]:
    """The new h and c of h, c and a step of x, as nodes of ``body``; weights are initialisers of ``graph``."""
    h, c, image = given
    name, filters, rank, owner = layer["name"], layer["filters"], len(sizes), describe(layer)
    taps, strides, dilation = (_by_axis(layer, key, rank) for key in ("kernel_size", "strides", "dilation_rate"))
    assert x.features is not None

    def weight(key: str, channels: int) -> str:
        kernel = graph.weight(owner, f"{name}/{key}", (*taps, channels, 4 * filters))
        return graph.initializer(f"{name}/{key}", kernel.transpose(rank + 1, rank, *range(rank)))

    weights = [weight("kernel", x.features)]
    if layer.get("use_bias", True):
        weights.append(graph.initializer(f"{name}/bias", graph.weight(owner, f"{name}/bias", (4 * filters,))))
    recurrent, split = weight("recurrent_kernel", filters), graph.integers(*[filters] * 4)
    at = f"{name}/step"

    def activated(value: str, key: str, default: str, label: str) -> str:
        given: str | Mapping[str, Any] = layer.get(key, default)
        for number, (op, extra, attributes) in enumerate(steps_of(graph, name, f"{owner}: {key}", given, key)):
            value = body.emit(op, [value, *extra], f"{label}/{number}", **attributes)
        return value

    same = layer.get("padding", "valid") == "same"
    ones = [1] * rank
    x_pads = _padded(sizes, taps, strides, dilation) if same else [0] * (2 * rank)
    turned = body.emit("Transpose", [image], f"{at}/channels_first", perm=first)
    of_x = body.emit("Conv", [turned, *weights], f"{at}/of_x", strides=strides, dilations=dilation, pads=x_pads)
    of_h = body.emit("Conv", [h, recurrent], f"{at}/of_h", pads=_padded([1 << 30] * rank, taps, ones, ones))
    sums = body.emit("Add", [of_x, of_h], f"{at}/sums")
    blocks = [f"{at}/sum_{gate}" for gate in "ifgo"]
    body.emit("Split", [sums, split], *blocks, axis=1)
    i, f, o = (activated(blocks[k], "recurrent_activation", "sigmoid", f"{at}/{'ifgo'[k]}") for k in (0, 1, 3))
    g = activated(blocks[2], "activation", "tanh", f"{at}/g")
    kept, added = body.emit("Mul", [f, c], f"{at}/kept"), body.emit("Mul", [i, g], f"{at}/added")
    new_c = body.emit("Add", [kept, added], f"{at}/new_c")
    new_h = body.emit("Mul", [o, activated(new_c, "activation", "tanh", f"{at}/of_c")], f"{at}/new_h")
    return new_h, new_c
