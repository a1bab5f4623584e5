"""The table that ``Model.summary`` prints."""

from collections.abc import Callable, Sequence

from rekur.layers.base import Layer

_HEADER = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def summary_lines(name: str, layers: Sequence[Layer], size: Callable[[str], int]) -> list[str]:
    """Lines of an aligned table; ``size`` gives a layer's number of parameters by its name."""
    rows = [_HEADER]
    for layer in layers:
        shapes = ", ".join(str(shape) for shape in layer.output_shapes)
        sources = ", ".join(tensor.name for tensor in layer._inbound) or "-"
        rows.append((f"{layer.name} ({type(layer).__name__})", shapes, f"{size(layer.name):,}", sources))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(w) if column == 2 else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    total = sum(size(layer.name) for layer in layers)
    return [
        f'Model: "{name}"',
        rule,
        line(rows[0]),
        rule,
        *(line(row) for row in rows[1:]),
        rule,
        f"Total params: {total:,} ({_bytes(4 * total)})",
    ]


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}" if unit != "B" else f"{count} B"
        size /= 1024
    return f"{size:.2f} GB"
