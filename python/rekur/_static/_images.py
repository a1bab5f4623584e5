"""ConvLSTM1D and ConvLSTM2D: an LSTM whose products are convolutions of an image."""

from typing import Any

from rekur._static._activations import activation_of
from rekur._static._writer import Layer, Writer, lines

IMAGES = "rekur/detail/static_images.hpp"


def write_conv_lstm(w: Writer, layer: Layer) -> None:
    w.needs.add(IMAGES)
    spec, p = layer.spec, layer.weights
    rank = 1 if layer.type == "ConvLSTM1D" else 2

    def axes(key: str, default: int | None = None) -> tuple[int, int]:
        value: Any = spec.get(key, default)
        own = [value] * rank if isinstance(value, int) else list(value)
        return (1, own[0]) if rank == 1 else (own[0], own[1])

    taps, strides, dilation = axes("kernel_size"), axes("strides", 1), axes("dilation_rate", 1)
    same = spec.get("padding", "valid") == "same"

    def image(shape: tuple[int, ...]) -> tuple[int, int, int]:
        return (1, *shape) if rank == 1 else shape  # type: ignore[return-value]

    (rows, columns, channels), (out_rows, out_columns, F) = image(layer.input_shapes[0]), image(layer.output_shapes[0])
    pads = tuple(
        _pad(n, (k - 1) * d + 1, s) if same else 0
        for n, k, d, s in zip((rows, columns), taps, dilation, strides, strict=True)
    )
    around = tuple((k - 1) // 2 for k in taps)  # of the recurrent product: stride 1, every place there is
    (h_name, size, h_start), (c_name, _, c_start) = layer.states
    h = w.state(layer.name, h_name, size, h_start)
    c = w.state(layer.name, c_name, size, c_start)
    x_image = f"Image<{rows}, {columns}, {channels}, {taps[0]}, {taps[1]}, {dilation[0]}, {dilation[1]}>"
    h_image = f"Image<{out_rows}, {out_columns}, {F}, {taps[0]}, {taps[1]}, 1, 1>"
    K, R = taps[0] * taps[1] * channels, taps[0] * taps[1] * F
    y, window = w.output(layer), w.array(max(K, R))
    sums = w.name("sums")
    w.line(f"alignas(64) float {sums}[{lines(4 * F) + 16}] = {{}};")
    kernel, bias = w.matrix(layer.name, "kernel", p["kernel"]), w.constant(layer.name, "bias", p.get("bias"))
    recurrent = w.matrix(layer.name, "recurrent_kernel", p["recurrent_kernel"])
    row, column, place = w.name("row"), w.name("column"), w.name("place")
    w.line(f"for (int {row} = 0; {row} < {out_rows}; ++{row}) {{")
    w.line(f"for (int {column} = 0; {column} < {out_columns}; ++{column}) {{")
    first = f"{row} * {strides[0]} - {pads[0]}, {column} * {strides[1]} - {pads[1]}"
    w.line(f"{x_image}::window({layer.inputs[0]}, {first}, {window});")
    w.line(f"product<{K}, {4 * F}, {4 * F}, 0>({window}, {kernel}, {bias}, {sums});")
    w.line(f"{h_image}::window({h}, {row} - {around[0]}, {column} - {around[1]}, {window});")
    w.line(f"product<{R}, {4 * F}, {4 * F}, 0>({window}, {recurrent}, {sums}, {sums});")
    gate, gate_numbers = activation_of(spec.get("recurrent_activation", "sigmoid"))
    candidate, numbers = activation_of(spec.get("activation", "tanh"))
    w.line(f"const int {place} = ({row} * {out_columns} + {column}) * {F};")
    functions = f"lstm_gates<ActivationKind::{gate}, ActivationKind::{candidate}, {F}>"
    w.line(f"{functions}({gate_numbers}, {numbers}, {sums}, {c} + {place}, {y} + {place});")
    w.line("}")
    w.line("}")
    w.line(f"copy<{size}>({y}, {h});")


def _pad(n: int, span: int, stride: int) -> int:
    """What "same" puts before an axis."""
    return max(((n - 1) // stride) * stride + span - n, 0) // 2
