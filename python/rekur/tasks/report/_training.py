"""Pictures of training, of text models and of attention."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rekur.tasks.report._canvas import (
    NARROW_WIDTH,
    canvas,
    draw_line,
    dress,
    fewer_ticks,
    is_narrow,
    last_number,
    name_lines,
    plain,
    styled,
    vector,
    width_of,
)
from rekur.tasks.report._palette import INK, LINES, MODEL, PAPER, RULE, SOFT, line
from rekur.tasks.report._thin import thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_training(
    history: Mapping[str, ArrayLike] | Sequence[Mapping[str, ArrayLike]],
    *,
    keys: Sequence[str] = ("loss", "val_loss"),
    names: Mapping[str, str] | None = None,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """The loss by epoch, in training and in validation; a ring marks the epoch whose weights were kept.

    Parameters
    ----------
    history
        ``History.history`` of ``Model.fit``, or a list of them, one a member of an ensemble (drawn faintly around
        the first).
    keys
        What is drawn of it, as far as it is there.
    names
        What to call them; by default "training" and "validation".
    """
    called = {"loss": "training", "val_loss": "validation"} | dict(names or {})
    members = [history] if isinstance(history, Mapping) else list(history)
    with styled():
        figure = canvas(figure, (7.2, 3.0), (NARROW_WIDTH, 3.0), title)
        axes = figure.subplots()
        dress(axes, y="loss", x="epoch")
        ends, lowest, highest = [], np.inf, -np.inf
        for number, member in reversed(list(enumerate(members))):
            for k, key in enumerate(keys):
                if key not in member:
                    continue
                loss = vector(member[key], f"history[{key!r}]")
                epochs = np.arange(1, len(loss) + 1, dtype=np.float64)
                first = number == 0
                # Few epochs are points, too; the members behind are lines only.
                more: dict[str, Any] = {} if first else {"alpha": 0.35, "linewidth": 0.9, "marker": None}
                artist = draw_line(axes, *thin(epochs, loss), line(k), **more)
                finite = loss[np.isfinite(loss)]
                if len(finite):
                    lowest, highest = min(lowest, float(finite.min())), max(highest, float(finite.max()))
                if not first:
                    continue
                ends.append((called.get(key, key), last_number(loss), artist))
                if key.startswith("val_") and len(finite):
                    best = int(np.nanargmin(loss))
                    axes.plot(
                        [best + 1], [loss[best]], marker="o", markersize=9, markerfacecolor="none",
                        markeredgecolor=INK, markeredgewidth=1.4, linestyle="none", zorder=5,
                    )  # fmt: skip
                    axes.annotate(
                        f"kept: epoch {best + 1}", (best + 1, loss[best]), xytext=(0, 11), fontsize=9, color=INK,
                        textcoords="offset points", ha="right" if best + 1 > 0.7 * len(loss) else "left",
                        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1}, zorder=6,
                    )  # fmt: skip
        if np.isfinite(lowest) and lowest > 0 and highest > 30 * lowest:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        fewer_ticks(axes, x=5 if is_narrow(figure) else 10, whole=True)
        name_lines(axes, ends)
    return figure


def plot_bits(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    levels: Mapping[str, float] | None = None,
    x: str = "seconds of training",
    y: str = "bits per character",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Bits per character over the time of training, beside levels that need none.

    Parameters
    ----------
    curves
        Name: (x (N,), bits (N,)); the first is the model.
    levels
        Name: bits per character of something that does not train: a compressor, the frequencies of single characters.
    """
    with styled():
        figure = canvas(figure, (8, 3.2), (NARROW_WIDTH, 3.4), title)
        axes = figure.subplots()
        dress(axes, y=y, x=x)
        ends: list[tuple[str, float, Any]] = []
        for i, (text, (a, b)) in enumerate(curves.items()):
            bits = vector(b, f"curves[{text!r}][1]")
            at = vector(a, f"curves[{text!r}][0]", len(bits))
            ends.append((text, last_number(bits), draw_line(axes, *thin(at, bits), line(i))))
        for i, (text, level) in enumerate((levels or {}).items()):
            style = line(len(curves) + i)
            artist = axes.axhline(level, color=style.colour, linestyle=style.dashes, linewidth=1.2)
            ends.append((text, float(level), artist))
        axes.margins(y=0.08)
        fewer_ticks(axes, x=5 if is_narrow(figure) else 9, y=6)
        name_lines(axes, ends)
    return figure


def plot_attention(
    weights: ArrayLike,
    source: Sequence[Any],
    target: Sequence[Any],
    *,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Where a translator looked: a row a token that it wrote, a column a token that it read; a square's area is its
    weight, so that it is read without colour.

    Parameters
    ----------
    weights
        (written, read), each in [0, 1].
    source, target
        The tokens read and written; at most 60 of each are drawn.
    """
    array = np.asarray(weights, np.float64)
    if array.shape != (len(target), len(source)):
        raise ValueError(f"weights: expected the shape {(len(target), len(source))}, written × read, not {array.shape}")
    array, source, target = array[:60, :60], list(source)[:60], list(target)[:60]
    with styled():
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

        rows, columns = array.shape
        width, height = float(np.clip(1.2 + 0.3 * columns, 2.6, 9)), float(np.clip(1.0 + 0.3 * rows, 2.0, 11))
        hand = (
            (NARROW_WIDTH, 0.8 + (NARROW_WIDTH - 0.6) * rows / columns)
            if columns <= 20 and width > NARROW_WIDTH
            else None
        )
        figure = canvas(figure, (width, height), hand or (width, height), title)
        axes = figure.subplots()
        dress(axes, grid="")
        shown = np.nan_to_num(np.clip(array, 0, 1))
        boxes = []
        for i, j in np.argwhere(shown > 0.004).tolist():
            side = 0.96 * float(np.sqrt(shown[i, j]))
            boxes.append(Rectangle((j - side / 2, i - side / 2), side, side))
        axes.add_collection(PatchCollection(boxes, facecolor=MODEL, alpha=0.9, linewidth=0))
        for k in range(columns + 1):
            axes.axvline(k - 0.5, color=RULE, linewidth=0.3, alpha=0.4)
        for k in range(rows + 1):
            axes.axhline(k - 0.5, color=RULE, linewidth=0.3, alpha=0.4)
        room = width_of(figure) / max(columns, 1) * 72
        size = float(np.clip(room * 0.55, 5, 10))
        words = max((len(str(token)) for token in source), default=1) > 3
        axes.set_xticks(
            range(columns), [_token(t) for t in source], fontsize=size, rotation=90 if words else 0,
            ha="left" if words else "center", va="center" if words else "bottom",
            rotation_mode="anchor" if words else "default",
        )  # fmt: skip
        axes.set_yticks(range(rows), [_token(t) for t in target], fontsize=size)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines["bottom"].set_visible(False)
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xlabel("read", fontsize=9, color=SOFT)
        axes.set_ylabel("written", fontsize=9, color=SOFT)
        axes.yaxis.label.set_rotation_mode("anchor")
    return figure


def _token(token: Any) -> str:
    """A token that is seen: a space is "␣", a line's end "⏎"."""
    text = str(token).replace("\n", "⏎").replace("\t", "⇥")
    return plain("␣" if text == " " else text, 16)


def plot_surprise(text: Sequence[str], bits: ArrayLike, *, title: str = "", figure: "Figure | None" = None) -> "Figure":
    """How surprised a text model was by each token of a text: a bar a token, in bits."""
    values = vector(bits, "bits", len(text))
    with styled():
        figure = canvas(figure, (8, 2.4), (NARROW_WIDTH, 2.4), title)
        axes = figure.subplots()
        dress(axes, y="bits by token")
        count = min(len(text), 40 if is_narrow(figure) else 90)
        axes.bar(np.arange(count), np.nan_to_num(values[:count]), width=0.8, color=MODEL, alpha=0.75, linewidth=0)
        axes.axhline(
            float(np.nanmean(values)) if len(values) else 0,
            color=LINES[1].colour,
            linestyle=LINES[1].dashes,
            linewidth=1,
        )
        axes.set_xticks(range(count), [_token(t) for t in list(text)[:count]], fontsize=8)
        axes.tick_params(axis="x", length=0, labelcolor=INK)
        axes.set_xlim(-0.6, count - 0.4)
    return figure
