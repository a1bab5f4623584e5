"""Layers that make another time axis: convolution, pooling, steps repeated, cut and added.

The operators want (batch, features, time), which is only an order of axes here; where time stands for features and
features for time, a Permute makes them so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur.onnx._axes import Change
from rekur.onnx._import.activations import number
from rekur.onnx._import.call import Call, normal_axes, vector
from rekur.onnx._import.onestep import as_steps
from rekur.onnx._import.values import BATCH, FEATURES, ONE, TIME, Axis, Dim, Extent, Refused, View, fixed, same
from rekur.onnx._windows import same_pads

Pads = tuple[int, int]


def by_channel(call: Call, x: View) -> tuple[View, Dim, Dim]:
    """x as (batch, features, time), its batch axis and its time axis."""
    if x.ids or len(x.axes) != 3 or len(x.parts) != 1:
        raise Refused(f"works on (batch, features, time), got {x.describe()}; one time axis is taken, no more")
    if x.axes[1] == ONE and x.features == 1 and FEATURES not in x.axes:
        x = x.with_axes([x.axes[0], FEATURES, x.axes[2]])
    if x.axes[1] != FEATURES:
        x = permuted(call, x)
    if x.axes[2] == ONE and len(x.dims) == 1:
        made = as_steps(call.graph, call.at, call.whole(x.parts[0]))
        x = View(((made,),), (x.axes[0], FEATURES, made.dims[1]))
    batch, _, time = x.axes
    if not isinstance(batch, Dim) or not isinstance(time, Dim) or x.axes[1] != FEATURES:
        raise Refused(f"works on (batch, features, time), got {x.describe()}")
    batch.mark(BATCH)
    time.mark(TIME)
    return x, batch, time


def permuted(call: Call, x: View) -> View:
    """Time in the place of features and features in that of time, by a layer; the file's axes stay as they are."""
    dims = [axis for axis in x.axes if isinstance(axis, Dim)]
    if len(x.axes) != 3 or len(dims) != 2 or FEATURES not in x.axes or x.ids or len(x.parts) != 1:
        raise Refused(f"no layer gives {x.describe()} other axes")
    time, batch = (dims if dims[1].kind == BATCH or dims[0].kind == TIME else dims[::-1])[:2]
    if time.size is None:
        raise Refused(f"takes the time axis of {x.describe()} for features, and only the data will tell its size")
    batch.mark(BATCH)
    time.mark(TIME)
    steps = _fresh(call, x.features)
    made = call.graph.add(
        "Permute", call.at, [call.whole(x.parts[0])], time.size, {"dims": [2, 1]}, dims=(batch, steps)
    )
    crosses(call, time)
    axes: list[Axis] = [steps if axis == FEATURES else FEATURES if axis is time else axis for axis in x.axes]
    return View(((made,),), tuple(axes))


def _fresh(call: Call, size: int | None) -> Dim:
    dim = Dim(f"steps of {call.at[0]}", size)
    dim.mark(TIME)
    return dim


def crosses(call: Call, time: Dim) -> None:
    """The layer looks along a time axis: rows that end would not end in the file."""
    call.graph.windows.append((time, call.at[0]))


def after(call: Call, time: Dim, change: Change) -> Dim:
    """The time axis that a change makes of one."""
    crosses(call, time)
    if change == Change(1, 0, 1, 1):
        return time
    if time.size is None:
        return _fresh(call, None)
    steps = (time.size * change.up + change.add - change.span) // change.stride + 1
    if steps < 1:
        raise Refused(f"leaves no step of {time.size}")
    return _fresh(call, steps)


def along(
    call: Call, x: View, axis: int, type: str, options: dict[str, Any], change: Change, features: int | None = None
) -> View:
    """A layer that makes another time axis of ``axis``; the others stay where they are."""
    time = x.axes[axis]
    if not isinstance(time, Dim) or x.ids:
        raise Refused(f"changes axis {axis} of {x.describe()}, which holds no steps")
    time.mark(TIME)
    new = after(call, time, change)
    parts = []
    for part in x.parts:
        whole = call.whole(part)
        dims = tuple(new if dim.root is time.root else dim for dim in whole.dims)
        if new not in dims or len(dims) != 2:
            raise Refused(f"changes axis {axis} of {x.describe()}, which holds no steps")
        made = call.graph.add(type, call.at, [whole], features or whole.features, options, dims=dims)
        parts.append((made,))
    return View(tuple(parts), (*x.axes[:axis], new, *x.axes[axis + 1 :]))


def cropped(call: Call, x: View, axis: int, before: int, later: int) -> View:
    if before == later == 0:
        return x
    return along(call, x, axis, "Cropping1D", {"cropping": [before, later]}, Change(1, -before - later, 1, 1))


def padded(call: Call, x: View, axis: int, before: int, later: int) -> View:
    if before == later == 0:
        return x
    return along(call, x, axis, "ZeroPadding1D", {"padding": [before, later]}, Change(1, before + later, 1, 1))


def _one(call: Call, name: str, default: int) -> int:
    """An attribute of one number for the one axis."""
    given = call.attribute(name, [default])
    if len(given) != 1 or given[0] < 1:
        raise Refused(f"{name} is {given}; expected one positive number: one time axis is taken, no more")
    return int(given[0])


def _pads(call: Call, span: int, stride: int) -> tuple[Pads, bool]:
    """(before, behind), and whether they are as TensorFlow has them for "same", whatever the number of steps."""
    auto, given = call.attribute("auto_pad", "NOTSET"), call.attribute("pads", [0, 0])
    if len(given) != 2 or min(given) < 0:
        raise Refused(f"pads are {given}; expected two numbers")
    match auto:
        case "NOTSET":
            return (given[0], given[1]), False
        case "VALID":
            return (0, 0), False
        case "SAME_UPPER":
            return (0, 0), True
        case "SAME_LOWER" if stride == 1:
            return (span // 2, (span - 1) // 2), False
    raise Refused(f"auto_pad is {auto} with strides of {stride}, which is not understood")


def _padding(pads: Pads, same: bool, span: int, stride: int, what: str) -> str | None:
    """Which of the layer's paddings it is; None: zeros before a layer without padding."""
    if same or (stride == 1 and pads == ((span - 1) // 2, span // 2) and span > 1):
        return "same"
    if pads == (0, 0):
        return "valid"
    return "causal" if what == "Conv" and pads == (span - 1, 0) else None


def _result(call: Call, x: View, time: Dim, type: str, features: int, options: Any, parameters: Any) -> View:
    batch = x.axes[0]
    assert isinstance(batch, Dim)
    made = call.graph.add(type, call.at, [call.whole(x.parts[0])], features, options, parameters, (batch, time))
    return View(((made,),), (batch, FEATURES, time))


def _weights(call: Call) -> NDArray[np.float32]:
    kernel = call.known(1, "the kernel")
    if kernel.dtype != np.float32 or kernel.ndim != 3 or not kernel.size:
        raise Refused(f"a kernel {kernel.dtype} of shape {kernel.shape}; expected float32 of three axes")
    shape = call.attribute("kernel_shape", [kernel.shape[2]])
    if shape != [kernel.shape[2]]:
        raise Refused(f"kernel_shape is {shape}, the kernel has shape {kernel.shape}")
    return kernel


def convolution(call: Call) -> View:
    x, _, time = by_channel(call, call.view(0))
    kernel = _weights(call)
    filters, each, taps = kernel.shape
    groups = call.attribute("group", 1)
    if groups < 1 or each * groups != x.features or filters % groups:
        raise Refused(f"a kernel of shape {kernel.shape} in {groups} groups for {x.features} features")
    stride, dilation = _one(call, "strides", 1), _one(call, "dilations", 1)
    span = (taps - 1) * dilation + 1
    (before, later), same = _pads(call, span, stride)
    padding = _padding((before, later), same, span, stride, "Conv")
    if padding is None:
        x, padding = padded(call, x, 2, before, later), "valid"
        last = x.axes[2]
        assert isinstance(last, Dim)
        time = last
    options: dict[str, Any] = {"kernel_size": taps, "padding": padding, "use_bias": call.has(2)}
    options |= {"strides": stride, "dilation_rate": dilation}
    if groups == x.features > 1:
        type = "DepthwiseConv1D"
        options["depth_multiplier"] = filters // groups
        own = kernel.reshape(groups, filters // groups, taps).transpose(2, 0, 1)
    else:
        type = "Conv1D"
        options |= {"filters": filters, "groups": groups}
        own = kernel.transpose(2, 1, 0)
    parameters = {"kernel": own}
    if call.has(2):
        parameters["bias"] = vector(call, 2, "the bias", filters)
    change = Change(1, 0, span if padding == "valid" else 1, stride)
    return _result(call, x, after(call, time, change), type, filters, options, parameters)


def transposed(call: Call) -> View:
    """ConvTranspose: the layer without padding, and what the pads cut off; or "same", where that is the same."""
    x, _, time = by_channel(call, call.view(0))
    kernel = _weights(call)
    channels, filters, taps = kernel.shape
    if call.attribute("group", 1) != 1 or channels != x.features:
        groups = call.attribute("group", 1)
        raise Refused(f"a kernel of shape {kernel.shape} in {groups} groups for {x.features} features")
    if call.attribute("output_shape") is not None:
        raise Refused("output_shape is given; expected pads")
    stride, dilation = _one(call, "strides", 1), _one(call, "dilations", 1)
    span = (taps - 1) * dilation + 1
    (before, later), _ = _pads(call, span, stride)
    if call.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Refused(f"auto_pad is {call.attribute('auto_pad')}; expected pads")
    more = call.attribute("output_padding", [0])
    if len(more) != 1 or not 0 <= more[0] < stride:
        raise Refused(f"output_padding is {more}")
    later -= more[0]  # how much of the whole sum is cut off at its end
    options: dict[str, Any] = {"filters": filters, "kernel_size": taps, "strides": stride, "dilation_rate": dilation}
    options["use_bias"] = call.has(2)
    parameters = {"kernel": kernel.transpose(2, 1, 0)}
    if call.has(2):
        parameters["bias"] = vector(call, 2, "the bias", filters)
    kept = stride + span - 2
    same = span - 1 - min((kept + 1) // 2, span - 1)
    if (before, later) == (same, span - same - stride):
        options["padding"] = "same"
        change = Change(stride, 0, 1, 1)
        return _result(call, x, after(call, time, change), "Conv1DTranspose", filters, options, parameters)
    rest = max(stride - span, 0) + later
    if rest < 0:
        raise Refused(f"output_padding is {more}, more steps than the layer makes")
    change = Change(stride, max(span - stride, 0), 1, 1)
    y = _result(call, x, after(call, time, change), "Conv1DTranspose", filters, options, parameters)
    return cropped(call, y, 2, before, rest)


def pooling(call: Call) -> View:
    x, _, time = by_channel(call, call.view(0))
    shape = call.attribute("kernel_shape")
    call.ignore("storage_order")
    if shape is None or len(shape) != 1 or shape[0] < 1:
        raise Refused(f"kernel_shape is {shape}; expected one number")
    if any(call.wanted[1:]) or call.attribute("dilations", [1]) != [1]:
        raise Refused("its indices are read, or its windows have gaps")
    size, stride = shape[0], _one(call, "strides", 1)
    (before, later), same = _pads(call, size, stride)
    if max(before, later) >= size:
        raise Refused(f"pads are {before, later}, which windows of {size} could have nothing else of")
    if same and stride > size:
        raise Refused(f"auto_pad is SAME_UPPER with strides of {stride} of windows of {size}: runtimes differ")
    padding = _padding((before, later), same, size, stride, call.op)
    if padding is None and time.size is not None and [before, later] == same_pads(time.size, size, stride):
        padding = "same"
    counted = call.flag("count_include_pad") if call.op == "AveragePool" else False
    part = time.size is None or (time.size + before + later - size) % stride
    if call.flag("ceil_mode") and part and not same:
        raise Refused("ceil_mode: a window at the end that is not whole, which no layer has")
    if padding == "same" and counted:
        if same:
            raise Refused(f"auto_pad is {call.attribute('auto_pad')} with zeros that count")
        padding = None
    if padding is None:
        if call.op == "MaxPool" or not counted:
            raise Refused(f"pads {before, later} that are no steps of zero; a layer has them before and behind alike")
        x, padding = padded(call, x, 2, before, later), "valid"
        last = x.axes[2]
        assert isinstance(last, Dim)
        time = last
    type = "MaxPooling1D" if call.op == "MaxPool" else "AveragePooling1D"
    change = Change(1, 0, size if padding == "valid" else 1, stride)
    options = {"pool_size": size, "strides": stride, "padding": padding}
    return _result(call, x, after(call, time, change), type, x.features, options, None)


def over_time(call: Call, x: View, axis: int, largest: bool, keep: bool, lengths: str | None = None) -> View:
    """The mean or the largest of all steps; with the rows' lengths: of those that there are."""
    time = x.axes[axis]
    if not isinstance(time, Dim) or x.ids:
        raise Refused(f"is of axis {axis} of {x.describe()}, which holds no steps")
    time.mark(TIME)
    if lengths is None:
        crosses(call, time)
    type = "GlobalMaxPooling1D" if largest else "GlobalAveragePooling1D"
    parts = []
    for part in x.parts:
        whole = call.whole(part)
        rest = tuple(dim for dim in whole.dims if dim.root is not time.root)
        if len(rest) != 1 or len(whole.dims) != 2:
            raise Refused(f"is of axis {axis} of {x.describe()}; expected a sequence of rows")
        rest[0].mark(BATCH)
        made = call.graph.add(type, call.at, [whole], whole.features, dims=rest)
        made.layer.lengths = lengths
        parts.append((made,))
    return View(tuple(parts), (*x.axes[:axis], *((ONE,) if keep else ()), *x.axes[axis + 1 :]))


def global_pooling(call: Call) -> View:
    x, _, _ = by_channel(call, call.view(0))
    return over_time(call, x, 2, call.op == "GlobalMaxPool", True)


def pad(call: Call) -> View:
    x = call.view(0)
    mode = call.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Refused(f"mode is {mode!r:.40}; expected constant, reflect, edge or wrap")
    amounts = call.integers("pads", 1) or []
    call.ignore("value")  # of old opsets; other operators have a tensor of that name
    added = call.known(2, "the value") if call.has(2) else np.asarray(call.attributes.get("value", 0.0))
    if added.size > 1 or added.dtype.kind != "f" or not np.isfinite(added).all():
        raise Refused(f"adds steps of {added.tolist()!r:.60}; expected one finite number")
    filled = float(added.reshape(-1)[0]) if added.size and mode == "constant" else 0.0
    axes = normal_axes(call.integers("axes", 3) or list(range(len(x.axes))), len(x.axes))
    if len(amounts) != 2 * len(axes):
        raise Refused(f"pads are {amounts} for {len(axes)} axes")
    call.budget.check((max(amounts, default=0),))
    for k, axis in enumerate(axes):
        before, later = amounts[k], amounts[k + len(axes)]
        if mode != "constant" and min(before, later) < 0 < max(before, later):
            raise Refused(f"pads are {before, later} of mode {mode}: what is cut off and what is repeated is one axis")
        if max(before, later) > 0 and (mode != "constant" or filled):
            x = _padded_by(call, x, axis, (max(before, 0), max(later, 0)), mode, filled)
        else:
            x = padded(call, x, axis, max(before, 0), max(later, 0))
        x = cropped(call, x, axis, max(-before, 0), max(-later, 0))
    return x


def _padded_by(call: Call, x: View, axis: int, amounts: Pads, mode: str, value: float) -> View:
    """Steps of a number, or made of the sequence's own."""
    time = x.axes[axis]
    needs = max(amounts) + (mode == "reflect") if mode in ("reflect", "wrap") else 1
    if isinstance(time, Dim) and time.size is not None and time.size < needs:
        raise Refused(f"pads {time.size} steps by {amounts} of their own")
    options: dict[str, Any] = {"padding": list(amounts), "mode": mode}
    if mode == "constant":
        options["value"] = number(value)
    return along(call, x, axis, "Padding1D", options, Change(1, sum(amounts), 1, 1))


def resize(call: Call) -> View:
    """Every step several times."""
    x, _, _ = by_channel(call, call.view(0))
    call.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias", "axes")
    if "axes" in call.attributes or call.flag("antialias") or call.op == "Upsample":
        raise Refused("is understood of all axes, without antialias")
    how = (
        call.attribute("mode", "nearest"),
        call.attribute("coordinate_transformation_mode", "half_pixel"),
        call.attribute("nearest_mode", "round_prefer_floor"),
    )
    call.ignore("keep_aspect_ratio_policy")
    floors = how[1:] == ("asymmetric", "floor")
    centred = how[1:] in (("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil"))
    if how[0] != "nearest" or not (floors or centred):
        raise Refused(f"resizes by {', '.join(how)}; a layer repeats steps: nearest, asymmetric, floor")
    if call.has(3) and not (call.has(2) and call.known(2).size):
        size = _times_longer(x, call.sizes(3, "the sizes"))
    else:
        scales = [float(v) for v in call.known(2, "the scales").reshape(-1)]
        if len(scales) != 3 or scales[:2] != [1.0, 1.0] or not scales[2].is_integer() or scales[2] < 1:
            raise Refused(f"scales are {scales}; expected a whole number for time alone")
        size = int(scales[2])
    return along(call, x, 2, "UpSampling1D", {"size": size}, Change(size, 0, 1, 1))


def _times_longer(x: View, target: Sequence[Extent]) -> int:
    """How often each step of x stands in a tensor of that shape."""
    time = x.axes[2]
    assert isinstance(time, Dim)
    shown = ", ".join(map(str, target))
    if len(target) != 3 or not all(same(a, b) for a, b in zip(target[:2], x.shape[:2], strict=True)):
        raise Refused(f"resizes {x.describe()} to ({shown}); expected other steps alone")
    if time.size is None:
        raise Refused("resizes to a size where only the data will tell what it is of")
    steps = fixed(target[2], "resizes to")
    if time.size < 1 or steps < 1 or steps % time.size:
        raise Refused(f"resizes {time.size} steps to {steps}; expected a multiple of them")
    return steps // time.size


def repeated(call: Call, x: View, counts: Sequence[int]) -> View:
    """Tile and Expand: a row at every one of n steps."""
    more = [k for k, count in enumerate(counts) if count != 1]
    if not more:
        return x
    axis = more[0]
    if len(more) > 1 or x.axes[axis] != ONE or len(x.dims) != 1 or len(x.parts) != 1 or x.ids:
        raise Refused(f"repeats axes {more} of {x.describe()}; only a row is repeated, at every step of a new axis")
    batch = x.dims[0]
    batch.mark(BATCH)
    time = _fresh(call, counts[axis])
    whole = call.whole(x.parts[0])
    made = call.graph.add("RepeatVector", call.at, [whole], whole.features, {"n": counts[axis]}, dims=(batch, time))
    return View(((made,),), (*x.axes[:axis], time, *x.axes[axis + 1 :]))


def joined_steps(call: Call, views: Sequence[View], axis: int) -> View:
    """Sequences behind one another."""
    first = views[0]
    if any(view.ids or len(view.parts) != 1 or len(view.dims) != 2 for view in views):
        raise Refused(f"joins {', '.join(view.describe() for view in views)} along axis {axis}")
    sizes: list[int | None] = []
    for view in views:
        time = view.axes[axis]
        if not isinstance(time, Dim) or view.features != first.features or len(view.axes) != len(first.axes):
            raise Refused(f"joins {', '.join(view.describe() for view in views)} along axis {axis}")
        for k, own in enumerate(view.axes):
            other = first.axes[k]
            if k != axis and isinstance(own, Dim) and isinstance(other, Dim):
                other.join(own)
            elif k != axis and own != other:
                raise Refused(f"joins {', '.join(view.describe() for view in views)} along axis {axis}")
        time.mark(TIME)
        crosses(call, time)
        sizes.append(time.size)
    time = _fresh(call, None if None in sizes else sum(size or 0 for size in sizes))
    batch = next(dim for dim in first.dims if dim.kind != TIME)
    batch.mark(BATCH)
    tensors = [call.whole(view.parts[0]) for view in views]
    made = call.graph.add("Concatenate", call.at, tensors, first.features, {"axis": 1}, dims=(batch, time))
    return View(((made,),), (*first.axes[:axis], time, *first.axes[axis + 1 :]))


def tile(call: Call) -> View:
    x = call.view(0)
    counts = call.integers("repeats", 1) or []
    if len(counts) != len(x.axes) or min(counts, default=1) < 1:
        raise Refused(f"repeats {counts} of {len(x.axes)} axes")
    return repeated(call, x, counts)


def prelu(call: Call) -> View:
    """A slope for every feature, for every feature of every step, or one for all."""
    x, slope = call.view(0), call.known(1, "the slope")
    if slope.dtype != np.float32 or slope.ndim > len(x.axes) or x.ids:
        raise Refused(f"a slope {slope.dtype} of shape {slope.shape} for {x.describe()}")
    sizes = (1,) * (len(x.axes) - slope.ndim) + slope.shape
    order: list[int] = []  # by the model's own axes behind the batch, their places in the file
    shown = [k for k, axis in enumerate(x.axes) if isinstance(axis, Dim)]
    wide = [k for k, size in enumerate(sizes) if size != 1]
    for k in wide:
        axis = x.axes[k]
        own = x.features if axis == FEATURES else axis.size if isinstance(axis, Dim) else None
        if own != sizes[k]:
            raise Refused(f"a slope of shape {slope.shape} for {x.describe()}: one for each of another axis")
    if any(isinstance(axis, tuple) for axis in x.axes) or len(x.parts) != 1:
        raise Refused(f"slopes for {x.describe()}")
    of_time = [k for k in wide if k in shown]
    if len(of_time) > 1:
        raise Refused(f"a slope of shape {slope.shape} for {x.describe()}: one for each row")
    if of_time:
        time = x.axes[of_time[0]]
        assert isinstance(time, Dim)
        time.mark(TIME)
    order = [*of_time, *(k for k in wide if x.axes[k] == FEATURES)]
    values = slope.reshape(sizes).transpose([*order, *(k for k in range(len(sizes)) if k not in order)])
    rank = len(x.dims) + 1
    shape = [sizes[of_time[0]] if of_time else 1] if rank == 3 else []
    shape.append(x.features if any(x.axes[k] == FEATURES for k in wide) else 1)
    shared = [k + 1 for k, size in enumerate(shape) if size == 1]
    options: dict[str, Any] = {"shared_axes": shared} if shared else {}
    return call.layer("PReLU", x, x.features, {"alpha": values.reshape(shape)}, **options)
