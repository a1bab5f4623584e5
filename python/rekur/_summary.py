"""The table that ``Model.summary`` prints."""

from typing import TYPE_CHECKING

from rekur._spec import reference
from rekur.layers.parts import leaves

if TYPE_CHECKING:
    from rekur.models.structure import Structure

_HEADER = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def summary_lines(model: "Structure") -> list[str]:
    """Lines of an aligned table; a layer that is not trained says so, and a model within is a line."""
    sizes = model._sizes()
    rows = [_HEADER]
    for member in model._graph:
        calls = [call for call in model._order if call.layer is member]
        shapes = ", ".join(str(tensor.shape) for call in calls for tensor in call.outputs)
        inputs = dict.fromkeys(model._cuts.get(t, t) for call in calls for t in call.inputs)
        sources = ", ".join(reference(model._names[t.layer], t.index) for t in inputs) or "-"
        size = sum(sizes[layer] for layer in dict.fromkeys(leaves(member)))
        kind = type(member).__name__ + ("" if member.trainable or not size else ", frozen")
        rows.append((f"{model._names[member]} ({kind})", shapes, f"{size:,}", sources))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(w) if column == 2 else cell.ljust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    total, trained = sum(sizes.values()), sum(n for layer, n in sizes.items() if layer.trainable)
    return [
        f'Model: "{model.name}"',
        rule,
        line(rows[0]),
        rule,
        *(line(row) for row in rows[1:]),
        rule,
        f"Total params: {total:,} ({_bytes(4 * total)})",
        f"Trainable params: {trained:,} ({_bytes(4 * trained)})",
        f"Non-trainable params: {total - trained:,} ({_bytes(4 * (total - trained))})",
    ]


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}" if unit != "B" else f"{count} B"
        size /= 1024
    return f"{size:.2f} GB"
