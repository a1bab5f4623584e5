"""The table that ``Model.summary`` prints."""

import math
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rekur._spec import reference
from rekur._validate import integer, real
from rekur.layers.base import Layer
from rekur.layers.parts import leaves

if TYPE_CHECKING:
    from rekur.models.structure import Structure

_HEADER = ("Layer (type)", "Output Shape", "Param #", "Connected to")
_POSITIONS = (0.3, 0.56, 0.74, 1.0)  # of the ends of the columns, where the length of a line is given; Keras's
_LINE = 108
_LEAST = 4  # characters of a column
_SIZE = 2  # the column of numbers


def summary_lines(
    model: "Structure",
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> list[str]:
    """Lines of an aligned table; a layer that is not trained says so, and a model within is a line."""
    sizes = model._sizes()
    header = (*_HEADER, "Trainable") if show_trainable else _HEADER
    rows: list[tuple[str, ...]] = [header]
    for member in _within(model, layer_range):
        rows += _rows(model, member, sizes, 0, expand_nested, show_trainable)
    if line_length is None and positions is None:
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    else:
        widths = _fixed(line_length, positions, show_trainable)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    total, trained = sum(sizes.values()), sum(math.prod(weight.shape) for weight in model.trainable_weights)
    return [
        f'Model: "{model.name}"',
        rule,
        *_lines(rows[0], widths),
        rule,
        *(line for row in rows[1:] for line in _lines(row, widths)),
        rule,
        f"Total params: {total:,} ({_bytes(4 * total)})",
        f"Trainable params: {trained:,} ({_bytes(4 * trained)})",
        f"Non-trainable params: {total - trained:,} ({_bytes(4 * (total - trained))})",
    ]


def _within(model: "Structure", layer_range: Any) -> list[Any]:
    """The members from the first that the first pattern matches to the last that the second does."""
    members = list(model._graph)
    if layer_range is None:
        return members
    if len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(f"summary: layer_range must be two names or patterns of layers, got {layer_range!r}")
    found = [[k for k, m in enumerate(members) if re.match(name, model._names[m])] for name in layer_range]
    for name, places in zip(layer_range, found, strict=True):
        if not places:
            raise ValueError(f"summary: layer_range: no layer of model '{model.name}' matches {name!r}")
    first, last = found
    if min(first) > max(last):
        first, last = last, first
    return members[min(first) : max(last) + 1]


def _rows(
    model: Any, member: Any, sizes: dict[Layer, int], depth: int, expand_nested: bool, show_trainable: bool
) -> list[tuple[str, ...]]:
    calls = [call for call in model._order if call.layer is member]
    shapes = ", ".join(str(tensor.shape) for call in calls for tensor in call.outputs)
    inputs = dict.fromkeys(model._cuts.get(t, t) for call in calls for t in call.inputs)
    sources = ", ".join(reference(model._names[t.layer], t.index) for t in inputs) or "-"
    size = sum(sizes.get(layer, 0) for layer in dict.fromkeys(leaves(member)))
    kind = type(member).__name__ + ("" if member.trainable or not size or show_trainable else ", frozen")
    prefix = "   " * depth + "└ " if depth else ""
    row = (f"{prefix}{model._names[member]} ({kind})", shapes, f"{size:,}", sources)
    if show_trainable:
        row = (*row, "-" if not size else "Y" if member.trainable else "N")  # type: ignore[assignment]
    rows: list[tuple[str, ...]] = [row]
    if expand_nested and not isinstance(member, Layer):
        for inner in member.layers:
            rows += _rows(member, inner, sizes, depth + 1, expand_nested, show_trainable)
    return rows


def _fixed(line_length: int | None, positions: Any, show_trainable: bool) -> list[int]:
    """Widths of the columns in lines of a given length."""
    wanted = len(_HEADER) + show_trainable
    length = _LINE + 12 * show_trainable if line_length is None else integer(line_length, "summary: line_length")
    if positions is None:
        positions = [*(p * 0.9 for p in _POSITIONS), 1.0] if show_trainable else _POSITIONS
    ends = [real(p, "summary: positions", 0) for p in positions]
    if len(ends) != wanted:
        raise ValueError(f"summary: expected {wanted} positions, the ends of the columns, got {positions!r}")
    if ends[-1] <= 1:
        ends = [p * length for p in ends]
    widths = [int(end) - int(begin) - 2 for begin, end in zip([-2, *ends[:-1]], ends, strict=True)]
    if min(widths) < _LEAST:
        raise ValueError(f"summary: a column of {min(widths)} characters is too narrow; give a longer line_length")
    return widths


def _lines(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    """A row, on several lines where a text is wider than its column."""
    texts = [textwrap.wrap(cell, width, drop_whitespace=False) or [""] for cell, width in zip(row, widths, strict=True)]
    found = []
    for k in range(max(map(len, texts))):
        cells = [text[k] if k < len(text) else "" for text in texts]
        joined = [
            cell.rjust(width) if column == _SIZE else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        found.append("  ".join(joined).rstrip())
    return found


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size:.2f} {unit}" if unit != "B" else f"{count} B"
        size /= 1024
    return f"{size:.2f} GB"
