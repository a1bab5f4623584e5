"""Pictures of anomaly detectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rekur.tasks.report._canvas import (
    NARROW_WIDTH,
    canvas,
    draw_line,
    dress,
    fewer_ticks,
    is_narrow,
    legend_below,
    positions,
    styled,
    time_axis,
    times_of,
    vector,
)
from rekur.tasks.report._palette import ALARM, INK, LINES, MODEL, RULE, SOFT, Line, line
from rekur.tasks.report._thin import merge_near, runs, thin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIGNAL = Line(INK, "solid", "", 0.9)
_SCORE = Line(MODEL, "solid", "", 0.9)


def spans(alarms: Any, name: str, length: int) -> list[tuple[int, int]]:
    """Alarms as (first, one past the last): of a mask (T,) of bools, or of such pairs.

    Raises
    ------
    ValueError
        If they are neither.
    """
    if alarms is None:
        return []
    array = np.asarray(alarms)
    if array.size == 0:
        return []
    if array.ndim == 1 and len(array) == length:
        return runs(array != 0)
    if array.ndim == 2 and array.shape[1] == 2 and np.issubdtype(array.dtype, np.integer):
        return [(max(int(a), 0), min(int(b), length)) for a, b in array.tolist() if b > a and b > 0 and a < length]
    raise ValueError(
        f"{name}: expected a mask of {length} bools or pairs (first, one past the last), not the shape {array.shape}"
    )


def plot_anomalies(
    values: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: ArrayLike | None = None,
    alarms: ArrayLike | Sequence[tuple[int, int]] | None = None,
    labels: ArrayLike | Sequence[tuple[int, int]] | None = None,
    times: ArrayLike | None = None,
    time_zone: str | None = None,
    features: Sequence[str] | None = None,
    name: str = "",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """The signal with its alarms, and below it the scores with the threshold.

    Parameters
    ----------
    values
        (T,) or (T, F); of more than four features the four that vary most are drawn, each in a strip of its own.
    scores
        (T,); NaN where there is none yet.
    threshold
        A number, or (T,).
    alarms
        A mask (T,) or pairs (first, one past the last). By default the scores above the threshold.
    labels
        The known anomalies, in the same form; hatched.
    times
        (T,) ``datetime64`` in UTC or numbers.
    """
    from rekur.tasks.report._classes import _two_dimensional

    signal = _two_dimensional(values, "values")
    length = len(signal)
    score = vector(scores, "scores", length)
    limit = None
    if threshold is not None:
        array = np.asarray(threshold, np.float64)
        limit = np.full(length, float(array)) if array.ndim == 0 else vector(array, "threshold", length)
    if alarms is None and limit is not None:
        with np.errstate(invalid="ignore"):
            alarms = score > limit
    found = spans(alarms, "alarms", length)
    known = spans(labels, "labels", length)
    when = times_of(times, "times", length)
    x = positions(when)
    chosen = list(range(signal.shape[1]))
    if len(chosen) > 4:
        chosen = sorted(np.argsort(-np.nan_to_num(np.nanstd(signal, axis=0)), kind="stable")[:4].tolist())
    with styled():
        strips = len(chosen)
        height = 3.0 + 1.0 * strips
        figure = canvas(figure, (8, height), (NARROW_WIDTH, height), title)
        ratios = [2.0 if strips == 1 else 1.0] * strips + [1.6]
        all_axes = figure.subplots(strips + 1, 1, sharex=True, height_ratios=ratios)
        step = float(np.median(np.diff(x))) if length > 1 else 1.0
        near = max(length // 400, 1)
        shown = [_ends(x, a, b, step) for a, b in merge_near(found, near)]
        truth = [_ends(x, a, b, step) for a, b in merge_near(known, near)]
        entries: dict[str, Any] = {}
        for axes, f in zip(all_axes[:-1], chosen, strict=True):
            text = (
                features[f] if features is not None and f < len(features) else ("" if strips == 1 else f"feature {f}")
            )
            dress(axes, y=text or name)
            for begin, end in truth:
                entries["known anomaly"] = axes.axvspan(
                    begin, end, facecolor="none", edgecolor=LINES[2].colour, hatch="////", linewidth=0, alpha=0.75
                )
            for begin, end in shown:
                entries["alarm"] = axes.axvspan(begin, end, color=ALARM, alpha=0.16, linewidth=0)
            draw_line(axes, *thin(x, signal[:, f]), _SIGNAL, marker=None)
            fewer_ticks(axes, y=4)
        if shown:
            top = all_axes[0]
            (entries["alarm"],) = top.plot(
                [(a + b) / 2 for a, b in shown], [1.0] * len(shown), transform=top.get_xaxis_transform(), marker="v",
                markersize=7, color=ALARM, linestyle="none", clip_on=False, markeredgewidth=0,
            )  # fmt: skip
        lower = all_axes[-1]
        dress(lower, y="score")
        for begin, end in shown:
            lower.axvspan(begin, end, color=ALARM, alpha=0.16, linewidth=0)
        draw_line(lower, *thin(x, score), _SCORE, marker=None)
        if limit is not None:
            style = line(1)
            entries["threshold"] = draw_line(lower, *thin(x, limit), style, marker=None)
            if not is_narrow(figure) and np.isfinite(limit).any():
                end = float(limit[np.flatnonzero(np.isfinite(limit))[-1]])
                lower.annotate(
                    "threshold", (1.0, end), xycoords=("axes fraction", "data"), xytext=(5, 0), fontsize=9,
                    textcoords="offset points", va="center", color=style.colour, annotation_clip=False,
                )  # fmt: skip
                entries.pop("threshold")
        finite = score[np.isfinite(score)]
        if len(finite) and finite.min() > 0 and finite.max() > 1e3 * float(np.median(finite)):
            lower.set_yscale("log")
        else:
            fewer_ticks(lower, y=4)
        time_axis(lower, when, time_zone)
        legend_below(figure, entries)
    return figure


def _ends(x: NDArray[np.float64], begin: int, end: int, step: float) -> tuple[float, float]:
    """A span's ends along x, half a step around its first and last step, and wide enough to be seen."""
    first, last = float(x[begin]) - step / 2, float(x[end - 1]) + step / 2
    short = max(0.004 * float(x[-1] - x[0]) - (last - first), 0.0)
    return first - short / 2, last + short / 2


def plot_tail(
    excesses: ArrayLike,
    shape: float,
    scale: float,
    *,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """How well the generalised Pareto distribution fits the scores' tail: quantiles against quantiles.

    Parameters
    ----------
    excesses
        (N,): scores above the level where the tail begins, less that level.
    shape, scale
        Of the fitted distribution; ``shape`` is ξ, positive for a heavy tail, ``scale`` > 0.

    Notes
    -----
    Points on the diagonal: the fit holds. The band is what chance alone does to each point in 95 % of cases (the
    order statistics of uniform values by a normal approximation).

    References
    ----------
    Coles (2001), "An Introduction to Statistical Modeling of Extreme Values", section 4.3.5.
    """
    if not scale > 0:
        raise ValueError(f"scale: expected a positive number, not {scale!r}")
    data = vector(excesses, "excesses")
    data = np.sort(data[np.isfinite(data)])
    n = len(data)
    with styled():
        figure = canvas(figure, (4.6, 4.2), (NARROW_WIDTH, 3.9), title)
        axes = figure.subplots()
        dress(axes, y="observed excess", x="excess by the fitted tail", grid="both")
        if n:
            p = np.arange(1, n + 1) / (n + 1)
            sd = np.sqrt(p * (1 - p) / (n + 2))
            expected = _pareto_quantile(p, shape, scale)
            low = _pareto_quantile(np.clip(p - 1.96 * sd, 0, 1 - 1e-9), shape, scale)
            high = _pareto_quantile(np.clip(p + 1.96 * sd, 0, 1 - 0.3 / (n + 1)), shape, scale)
            end = float(max(expected[-1], data[-1])) * 1.05
            axes.fill_between(expected, low, np.minimum(high, 3 * end), color=RULE, alpha=0.25, linewidth=0)
            axes.plot([0, end], [0, end], color=INK, linewidth=1, linestyle=(0, (4, 3)))
            kept = np.unique(np.r_[np.linspace(0, n - 1, min(n, 150)).astype(int), np.arange(max(n - 50, 0), n)])
            axes.plot(
                expected[kept], data[kept], linestyle="none", marker="o", markersize=3.6, color=MODEL, markeredgewidth=0
            )
            axes.set_xlim(0, end)
            axes.set_ylim(0, end)
        axes.text(
            0.98, 0.04, f"shape {shape:.3g}, scale {scale:.3g}\n{n} excesses", transform=axes.transAxes, va="bottom",
            ha="right", fontsize=9, color=SOFT,
        )  # fmt: skip
        axes.set_aspect("equal", adjustable="box")
        fewer_ticks(axes, x=5, y=5)
    return figure


def _pareto_quantile(p: NDArray[np.float64], shape: float, scale: float) -> NDArray[np.float64]:
    """The generalised Pareto distribution's quantile function; exponential in the limit of ξ → 0."""
    survival = -np.log1p(-p)
    result: NDArray[np.float64] = scale * (survival if abs(shape) < 1e-9 else np.expm1(shape * survival) / shape)
    return result
