"""Pictures of classifiers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rekur.tasks.report._canvas import (
    NARROW_WIDTH,
    canvas,
    clean,
    draw_line,
    dress,
    fewer_ticks,
    is_narrow,
    legend_below,
    plain,
    styled,
    vector,
    width_of,
)
from rekur.tasks.report._palette import ALARM, INK, LINES, MODEL, PAPER, RULE, SOFT, line
from rekur.tasks.report._thin import thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 50


def fold_classes(
    matrix: ArrayLike, classes: Sequence[Any], most: int = MOST_CLASSES
) -> tuple[NDArray[np.float64], list[str]]:
    """A confusion matrix of at most so many classes: those with the most mistakes stay, the others become one.

    Raises
    ------
    ValueError
        If the matrix is not square or has not a row a class.
    """
    counts = np.asarray(matrix, np.float64)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"matrix: expected the shape {(len(classes),) * 2}, a row and a column a class, not {counts.shape}"
        )
    names = [clean(name) for name in classes]
    if len(names) <= most:
        return counts, names
    mistakes = counts.sum(0) + counts.sum(1) - 2 * np.diag(counts)
    kept = np.sort(np.argsort(-mistakes, kind="stable")[: most - 1])
    other = np.setdiff1d(np.arange(len(names)), kept)
    groups = [np.array([i]) for i in kept] + [other]
    folded = np.array([[counts[np.ix_(a, b)].sum() for b in groups] for a in groups])
    return folded, [names[i] for i in kept] + [f"{len(other)} others"]


def plot_confusion(
    matrix: ArrayLike,
    classes: Sequence[Any],
    *,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """What was taken for what: rows are the true classes, columns the answers.

    A cell's shade is its share of its row (the true class). Up to 16 classes every cell has its count; above 50, the
    49 classes with the most mistakes are shown and the others put together.

    Parameters
    ----------
    matrix
        (C, C) counts; ``matrix[i, j]``: of class ``i``, taken for ``j``.
    classes
        Their C names.
    """
    counts, names = fold_classes(matrix, classes)
    n = len(names)
    if not n:
        raise ValueError("classes: expected one class at least, not an empty list")
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with styled():
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

        longest = max(len(plain(name, 22)) for name in names)
        side = float(np.clip(0.55 * n, 2.2, 7.2))
        upright = n > 6 or longest > 8
        beside, under = 0.5 + 0.075 * longest, 0.7 + (0.06 * longest if upright else 0)
        hand = min(NARROW_WIDTH - beside, side) if n <= 16 else side  # with many classes the page is scrolled instead
        figure = canvas(figure, (side + beside, side + under), (hand + beside, hand + under), title)
        axes = figure.subplots()
        dress(axes, grid="")
        cell = min(width_of(figure) - 0.5 - 0.075 * longest, 7.2) / n  # inches
        fontsize = float(np.clip(72 * cell * 0.55, 4.5, 9))
        # One collection a level of shade keeps the picture small; empty cells are the paper.
        level = np.ceil(share * 20).astype(int)
        right = np.eye(n, dtype=bool)
        for on_diagonal, colour in ((True, MODEL), (False, ALARM)):
            for value in range(1, 21):
                cells = np.argwhere((level == value) & (right == on_diagonal))
                if len(cells):
                    boxes = [Rectangle((j - 0.48, i - 0.48), 0.96, 0.96) for i, j in cells.tolist()]
                    axes.add_collection(
                        PatchCollection(boxes, facecolor=colour, alpha=0.06 + 0.94 * value / 20, linewidth=0)
                    )
        if n <= 16:
            for i in range(n):
                for j in range(n):
                    if counts[i, j]:
                        dark = level[i, j] > 11
                        axes.text(
                            j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=min(fontsize + 1, 10),
                            color=PAPER if dark else INK, fontweight="bold" if i == j else "normal",
                        )  # fmt: skip
        for k in range(n + 1):
            if n <= 16 or k % 5 == 0:
                axes.axhline(k - 0.5, color=RULE, linewidth=0.4, alpha=0.6)
                axes.axvline(k - 0.5, color=RULE, linewidth=0.4, alpha=0.6)
        labels = [plain(name, 22) for name in names]
        axes.set_yticks(range(n), labels, fontsize=fontsize)
        axes.set_xticks(
            range(n), labels, fontsize=fontsize, rotation=90 if upright else 0, ha="right" if upright else "center",
            va="center" if upright else "top", rotation_mode="anchor" if upright else "default",
        )  # fmt: skip
        axes.tick_params(length=0)
        axes.set_xlim(-0.5, n - 0.5)
        axes.set_ylim(n - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xlabel("answered", fontsize=9, color=SOFT)
        axes.set_title("true class ↓", loc="left", fontsize=9, color=SOFT, pad=6)
    return figure


def plot_class_scores(
    classes: Sequence[Any],
    precision: ArrayLike,
    recall: ArrayLike,
    *,
    count: ArrayLike | None = None,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Precision and recall of each class, the class with the lowest first; at most 50 of the lowest.

    Parameters
    ----------
    classes
        Their C names.
    precision, recall
        (C,) in [0, 1].
    count
        (C,), of sequences of each class; stands with its name.
    """
    found = vector(recall, "recall", len(classes))
    right = vector(precision, "precision", len(classes))
    numbers = None if count is None else vector(count, "count", len(classes))
    both = np.nan_to_num(np.minimum(found, right), nan=-1.0)
    order = np.argsort(both, kind="stable")[:MOST_CLASSES]
    with styled():
        n = len(order)
        figure = canvas(figure, (7.2, 1.2 + 0.26 * n), (NARROW_WIDTH, 1.5 + 0.28 * n), title)
        axes = figure.subplots()
        dress(axes, grid="x")
        y = np.arange(n)
        for row, i in enumerate(order.tolist()):
            axes.plot([found[i], right[i]], [row, row], color=RULE, linewidth=1.4, zorder=1)
        a = axes.scatter(found[order], y, s=44, marker="o", color=MODEL, linewidths=0, zorder=3)
        b = axes.scatter(
            right[order], y, s=44, marker="D", facecolor=PAPER, edgecolor=LINES[1].colour, linewidths=1.6, zorder=2
        )
        labels = [plain(classes[i], 22) + ("" if numbers is None else f" ({numbers[i]:.0f})") for i in order]
        axes.set_yticks(y, labels)
        axes.set_ylim(n - 0.4, -0.6)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        legend_below(figure, {"recall: of the class, found": a, "precision: of the answers, right": b}, most=40)
    return figure


def plot_sequences(
    sequences: Sequence[ArrayLike],
    labels: Sequence[Any],
    *,
    features: Sequence[str] | None = None,
    name: str = "",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Example sequences, a panel each, with their class (or what else ``labels`` says) above.

    Parameters
    ----------
    sequences
        Of (T,) or (T, F); at most 12 are drawn. Of more than 6 features the 6 that vary most are.
    labels
        One a sequence.
    features
        Names of the F features.
    """
    if len(sequences) != len(labels) or not len(sequences):
        raise ValueError(
            f"labels: expected one a sequence, at least one; {len(sequences)} sequences, {len(labels)} labels"
        )
    arrays = [_two_dimensional(sequence, f"sequences[{i}]") for i, sequence in enumerate(sequences[:12])]
    widths = sorted({a.shape[1] for a in arrays})
    if len(widths) > 1:
        raise ValueError(f"sequences: expected as many features in each, not {', '.join(map(str, widths))}")
    width = widths[0]
    chosen = list(range(width))
    if width > 6:
        spread = np.nanstd(np.concatenate(arrays), axis=0)
        chosen = sorted(np.argsort(-np.nan_to_num(spread), kind="stable")[:6].tolist())
    with styled():
        count = len(arrays)
        columns = min(count, 3)
        rows = -(-count // (1 if count <= 3 else 2))
        figure = canvas(figure, (8, 0.6 + 1.7 * -(-count // columns)), (NARROW_WIDTH, 0.8 + 1.5 * rows), title)
        columns = min(count, 1 if is_narrow(figure) and count <= 3 else 2 if is_narrow(figure) else 3)
        panels = figure.subplots(-(-count // columns), columns, squeeze=False, sharey=True).ravel()
        artists: dict[str, Any] = {}
        for i, axes in enumerate(panels):
            if i >= count:
                axes.set_visible(False)
                continue
            dress(axes, y=plain(labels[i], 36).replace(r"\$", "$"))
            axes.title.set_visible(True)
            steps = np.arange(len(arrays[i]), dtype=np.float64)
            for k, f in enumerate(chosen):
                text = features[f] if features is not None and f < len(features) else f"feature {f}"
                artists[text] = draw_line(
                    axes, *thin(steps, arrays[i][:, f], 500), line(k), marker=None, linewidth=min(line(k).width, 1.4)
                )
            fewer_ticks(axes, x=4, y=4, whole=True)
        if len(artists) > 1:
            more = f", {len(chosen)} of {width} features" if len(chosen) < width else ""
            legend_below(figure, artists, title=more.lstrip(", "), most=24)
        if name:
            figure.supxlabel(plain(name), fontsize=9, color=SOFT)
    return figure


def _two_dimensional(sequence: Any, name: str) -> NDArray[np.float64]:
    try:
        array = np.ma.filled(np.ma.asarray(sequence, np.float64), np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, (steps,) or (steps, features): {error}") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name}: expected (steps,) or (steps, features), not the shape {array.shape}")
    result: NDArray[np.float64] = array
    return result


def plot_agreement(
    truth: ArrayLike,
    predicted: ArrayLike,
    *,
    name: str = "",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Answers of a regressor against the truth: on the diagonal they are right.

    Parameters
    ----------
    truth, predicted
        (N,); above 2000 an even part of them is drawn, with the largest errors.
    name
        Of what is told, with its unit.
    """
    true = vector(truth, "truth")
    answers = vector(predicted, "predicted", len(true))
    known = np.isfinite(true) & np.isfinite(answers)
    true, answers = true[known], answers[known]
    if len(true) > 2000:
        worst = np.argsort(-np.abs(true - answers), kind="stable")[:200]
        kept = np.unique(np.r_[np.linspace(0, len(true) - 1, 1800).astype(int), worst])
        true, answers = true[kept], answers[kept]
    with styled():
        figure = canvas(figure, (4.6, 4.3), (NARROW_WIDTH, 3.8), title)
        axes = figure.subplots()
        dress(axes, y=f"answered: {name}" if name else "answered", x="true", grid="both")
        if len(true):
            low, high = float(min(true.min(), answers.min())), float(max(true.max(), answers.max()))
            room = 0.04 * (high - low) or 1.0
            axes.plot([low, high], [low, high], color=RULE, linewidth=1, linestyle=(0, (4, 3)))
            axes.plot(
                true, answers, linestyle="none", marker="o", markersize=4 if len(true) < 400 else 2.6, color=MODEL,
                markeredgewidth=0, alpha=0.75 if len(true) < 400 else 0.45,
            )  # fmt: skip
            axes.set_xlim(low - room, high + room)
            axes.set_ylim(low - room, high + room)
        axes.set_aspect("equal", adjustable="box")
        fewer_ticks(axes, x=5, y=5)
    return figure
