"""What each type of layer does at a step, as statements."""

from collections.abc import Callable

import numpy as np

from rekur import _core
from rekur._cpp_text import literal
from rekur._spec import dumps
from rekur._static._activations import activate
from rekur._static._cells import write_cell
from rekur._static._equations import write_equations
from rekur._static._images import write_conv_lstm
from rekur._static._memory import write_attention, write_heads, write_matrix, write_position, write_selective
from rekur._static._writer import Floats, Layer, Writer, lines

Write = Callable[[Writer, Layer], None]


def _by_rows(write: Callable[[Writer, Layer, str, str], None]) -> Write:
    """Of layers that work on each row of features: where a step has several, one after the other."""

    def whole(w: Writer, layer: Layer) -> None:
        y = w.output(layer)
        n, out = layer.features, layer.output_shapes[0][-1]
        rows = layer.numbers // out
        if rows == 1:
            write(w, layer, layer.inputs[0], y)
            return
        row, x_row, y_row = w.name("row"), w.array(n), w.array(out)
        w.line(f"for (int {row} = 0; {row} < {rows}; ++{row}) {{")
        w.line(f"copy<{n}>({layer.inputs[0]} + {row} * {n}, {x_row});")
        write(w, layer, x_row, y_row)
        w.line(f"copy<{out}>({y_row}, {y} + {row} * {out});")
        w.line("}")

    return whole


def _dense(w: Writer, layer: Layer, x: str, y: str) -> None:
    K, N = layer.weights["kernel"].shape
    kernel = layer.weights["kernel"]
    bias = w.constant(layer.name, "bias", layer.weights.get("bias"))
    if "kernel" in layer.int8:
        row, matrix = w.int8_row(K, x), w.int8_matrix(layer.name, "kernel", kernel)
        w.line(f"product<{K}, {N}, {N}, 0>({row}, {matrix}, {bias}, {y});")
    elif _core.few_outputs(K, N):  # each output's weights by themselves, in whole sixteens; few, and so always floats
        rows = np.zeros((N, -(-K // 16) * 16), np.float32)
        rows[:, :K] = kernel.T
        w.line(f"dots<{K}, {N}>({x}, {w.constant(layer.name, 'kernel', rows)}, {bias}, {y});")
    else:
        w.line(f"product<{K}, {N}, {N}, 0>({x}, {w.matrix(layer.name, 'kernel', kernel)}, {bias}, {y});")
    activate(w, layer.spec.get("activation", "linear"), y, y, N)


def _activation(w: Writer, layer: Layer, x: str, y: str) -> None:
    activate(w, layer.spec["activation"], x, y, layer.features)


def _layer_normalization(w: Writer, layer: Layer, x: str, y: str) -> None:
    gamma = w.constant(layer.name, "gamma", layer.weights.get("gamma"))
    beta = w.constant(layer.name, "beta", layer.weights.get("beta"))
    w.line(f"layer_norm<{layer.features}>({x}, {gamma}, {beta}, {literal(layer.spec.get('epsilon', 1e-3))}, {y});")


def _scale(w: Writer, layer: Layer, x: str, y: str, scale: Floats, offset: Floats) -> None:
    by, to = w.constant(layer.name, "scale", scale), w.constant(layer.name, "offset", offset)
    w.line(f"affine<{layer.features}>({x}, {by}, {to}, {y});")


def _affine(w: Writer, layer: Layer, x: str, y: str) -> None:
    gamma = layer.weights["gamma"]
    _scale(w, layer, x, y, gamma, layer.weights.get("beta", np.zeros_like(gamma)))


def _rescaling(w: Writer, layer: Layer, x: str, y: str) -> None:
    scale, offset = layer.spec.get("scale", 1), layer.spec.get("offset", 0)
    if isinstance(scale, list) or isinstance(offset, list):
        shape = (layer.features,)
        _scale(w, layer, x, y, *(np.broadcast_to(np.asarray(v, np.float32), shape) for v in (scale, offset)))
    else:
        by, to = literal(scale), literal(offset)
        w.line(
            f"map<{layer.features}>({x}, {y}, [](Vec v) REKUR_INLINED {{ return fma(v, set1({by}), set1({to})); }});"
        )


def _batch_normalization(w: Writer, layer: Layer, x: str, y: str) -> None:
    """Folded as the engine folds it, operation by operation in float32."""
    p, one = layer.weights, np.float32(1)
    inverse = one / np.sqrt(p["moving_variance"] + np.float32(layer.spec.get("epsilon", 1e-3)))
    scale = inverse * p["gamma"] if "gamma" in p else inverse
    offset = p.get("beta", np.zeros_like(inverse)) - p["moving_mean"] * scale
    _scale(w, layer, x, y, scale, offset)


def _prelu(w: Writer, layer: Layer) -> None:
    alpha = w.constant(layer.name, "alpha", layer.flat)
    step = 1 if layer.flat.size == layer.features else 0
    w.line(f"prelu<{layer.features}, {step}>({layer.inputs[0]}, {alpha}, {w.output(layer)});")


def _parameter(w: Writer, layer: Layer) -> None:
    value = w.constant(layer.name, "value", layer.flat)
    w.line(f"copy<{layer.flat.size}>({value}, {w.output(layer)});")


def _lambda(w: Writer, layer: Layer) -> None:
    widths = [shape[-1] for shape in layer.input_shapes]
    n = max(widths)
    listing = _core.written_equations(dumps({"equations": layer.spec["equations"]}), [width != n for width in widths])
    outputs = [w.output(layer, k) for k in range(len(layer.outputs))]
    rows = int(np.prod(layer.output_shapes[0][:-1], dtype=np.int64))
    if rows == 1:
        write_equations(w, listing, layer.inputs, list(outputs), n)
        return
    row = w.name("row")
    ins = [w.array(width) for width in widths]
    outs = [w.array(shape[-1]) for shape in layer.output_shapes]
    w.line(f"for (int {row} = 0; {row} < {rows}; ++{row}) {{")
    for x, own, width in zip(layer.inputs, ins, widths, strict=True):
        w.line(f"copy<{width}>({x} + {row} * {width}, {own});")
    write_equations(w, listing, ins, list(outs), n)
    for y, own, shape in zip(outputs, outs, layer.output_shapes, strict=True):
        w.line(f"copy<{shape[-1]}>({own}, {y} + {row} * {shape[-1]});")
    w.line("}")


def _pairwise(sign: str) -> Write:
    def write(w: Writer, layer: Layer) -> None:
        y, operation = w.output(layer), f"[](Vec a, Vec b) REKUR_INLINED {{ return a {sign} b; }}"
        first, *others = layer.inputs
        for other in others:
            w.line(f"map<{layer.numbers}>({first}, {other}, {y}, {operation});")
            first = y

    return write


def _concatenate(w: Writer, layer: Layer) -> None:
    y, width = w.output(layer), layer.output_shapes[0][-1]
    rows, at = layer.numbers // width, 0
    w.line(f"fill<{layer.numbers}>(0.0f, {y});")
    for x, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        n = shape[-1]
        for row in range(rows):
            w.line(f"copy<{n}>({x} + {row * n}, {y} + {row * width + at});")
        at += n


def _slice(w: Writer, layer: Layer) -> None:
    y, n = w.output(layer), layer.output_shapes[0][-1]
    start = layer.spec.get("start", 0)
    w.line(f"fill<{n}>(0.0f, {y});")
    w.line(f"copy<{n}>({layer.inputs[0]} + {start + layer.features if start < 0 else start}, {y});")


def _broadcast(w: Writer, layer: Layer) -> None:
    y, n = w.output(layer), layer.output_shapes[0][-1]
    x = layer.inputs[0]
    w.line(f"fill<{n}>(*{x}, {y});" if layer.features != n else f"map<{n}>({x}, {y}, [](Vec v) {{ return v; }});")


def _embedding(w: Writer, layer: Layer) -> None:
    rows, n = layer.weights["embeddings"].shape
    values = layer.weights["embeddings"]
    if "embeddings" in layer.int8:
        table = ", ".join(w.int8_table(layer.name, "embeddings", values))
    else:
        table = w.matrix(layer.name, "embeddings", values)
    y = w.output(layer)
    w.line(f"embedding<{rows}, {n}>({layer.inputs[0]}, {table}, {y});")
    if len(layer.outputs) > 1:
        w.line(f"*{w.output(layer, 1)} = *{layer.inputs[0]} != 0 ? 1.0f : 0.0f;")


def _masking(w: Writer, layer: Layer) -> None:
    n = int(np.prod(layer.input_shapes[0], dtype=np.int64))
    y, flag = w.output(layer), w.output(layer, 1)
    value = literal(layer.spec.get("mask_value", 0.0))
    w.line(f"*{flag} = masking<{n}>({value}, {layer.inputs[0]}, {y});")


def _dot(w: Writer, layer: Layer) -> None:
    y = w.output(layer)
    # One column, whose weights are the second input: a vector reads past it.
    n = layer.features
    column = w.name()
    w.line(f"alignas(64) float {column}[{lines(n) + 16}] = {{}};")
    w.line(f"copy<{n}>({layer.inputs[1]}, {column});")
    w.line(f"product<{n}, 1, 1, 0>({layer.inputs[0]}, {column}, nullptr, {y});")


def _convolution(w: Writer, layer: Layer) -> None:
    """The last steps of the input are a state; the window that ends with the present one goes into one product."""
    kernel, n, filters = layer.weights["kernel"], layer.features, layer.output_shapes[0][-1]
    taps, dilation = kernel.shape[0], layer.spec.get("dilation_rate", 1)
    span = (taps - 1) * dilation + 1
    groups = n if layer.type == "DepthwiseConv1D" else layer.spec.get("groups", 1)
    bias = w.constant(layer.name, "bias", layer.weights.get("bias"))
    y, x = w.output(layer), layer.inputs[0]
    window = x
    if span > 1:
        # The state and room for the present step; of a stream's state the first span - 1 steps.
        ((name, size, initial),) = layer.states
        window = w.state(layer.name, name, size, initial)
        w.states[-1].room = span * n
        w.line(f"enter<{span}, {n}>({x}, {window});")
    if groups == n:
        stride = lines(filters)
        spread = w.array(taps * stride)
        w.line(f"fill<{taps * stride}>(0.0f, {spread});")
        w.line(f"taps<{taps}, {dilation}, {n}, {filters // n}, {stride}>({window}, {spread});")
        weights = w.matrix(layer.name, "kernel", kernel)
        w.line(f"depthwise<{taps}, {filters}>({spread}, {weights}, {bias}, {y});")
    elif "kernel" in layer.int8:
        _int8_groups(w, layer, window, (taps, dilation, n, groups), bias, y)
    else:
        source = window
        if dilation > 1 and taps > 1:
            source = w.array(taps * n)
            w.line(f"taps<{taps}, {dilation}, {n}, 1, {n}>({window}, {source});")
        weights = w.matrix(layer.name, "kernel", _of_all_groups(kernel, n, groups))
        w.line(f"product<{taps * n}, {filters}, {filters}, 0>({source}, {weights}, {bias}, {y});")
    if span > 1:
        w.line(f"leave<{span}, {n}>({window});")
    activate(w, layer.spec.get("activation", "linear"), y, y, filters)


def _int8_groups(w: Writer, layer: Layer, window: str, sizes: tuple[int, int, int, int], bias: str, y: str) -> None:
    """Group by group: the integers of a window are those of its group's channels."""
    taps, dilation, n, groups = sizes
    kernel, filters = layer.weights["kernel"], layer.output_shapes[0][-1]
    channels, each = n // groups, filters // groups
    K = taps * channels
    matrix = w.int8_matrix(layer.name, "kernel", kernel.reshape(K, filters))
    for group in range(groups):
        source, to = window, y
        if groups > 1 or (taps > 1 and dilation > 1):
            source = w.array(K)
            w.line(
                f"copy_rows<{taps}, {channels}, {dilation * n}, {channels}>({window} + {group * channels}, {source});"
            )
        if groups > 1:
            to = w.array(each)
        w.line(f"product<{K}, {filters}, {each}, {group * each}>({w.int8_row(K, source)}, {matrix}, {bias}, {to});")
        if groups > 1:
            w.line(f"copy<{each}>({to}, {y} + {group * each});")


def _of_all_groups(kernel: Floats, n: int, groups: int) -> Floats:
    """[taps, n, filters] with zeros between the groups, as a stream's product reads it: a NaN reaches all of them."""
    taps, channels, filters = kernel.shape
    whole = np.zeros((taps, n, filters), np.float32)
    each = filters // groups
    for group in range(groups):
        rows, columns = slice(group * channels, (group + 1) * channels), slice(group * each, (group + 1) * each)
        whole[:, rows, columns] = kernel[:, :, columns]
    return whole


LAYERS: dict[str, Write] = {
    "Activation": _by_rows(_activation),
    "Add": _pairwise("+"),
    "AdditiveAttention": write_attention,
    "Affine": _by_rows(_affine),
    "Attention": write_attention,
    "BatchNormalization": _by_rows(_batch_normalization),
    "Broadcast": _broadcast,
    "Concatenate": _concatenate,
    "Conv1D": _convolution,
    "ConvLSTM1D": write_conv_lstm,
    "ConvLSTM2D": write_conv_lstm,
    "Dense": _by_rows(_dense),
    "DepthwiseConv1D": _convolution,
    "Divide": _pairwise("/"),
    "Dot": _dot,
    "Embedding": _embedding,
    "GRU": write_cell,
    "GatedLinearAttention": write_matrix,
    "GroupQueryAttention": write_heads,
    "LSTM": write_cell,
    "Lambda": _lambda,
    "LayerNormalization": _by_rows(_layer_normalization),
    "MLSTM": write_matrix,
    "Masking": _masking,
    "MultiHeadAttention": write_heads,
    "Multiply": _pairwise("*"),
    "PReLU": _prelu,
    "Parameter": _parameter,
    "PositionEmbedding": write_position,
    "RNN": write_cell,
    "Rescaling": _by_rows(_rescaling),
    "RotaryEmbedding": write_position,
    "SelectiveSSM": write_selective,
    "SimpleRNN": write_cell,
    "SinePositionEncoding": write_position,
    "Slice": _slice,
    "Subtract": _pairwise("-"),
}
