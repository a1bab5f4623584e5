"""Pictures of how far probabilities and quantiles can be believed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rekur.tasks.report._canvas import NARROW_WIDTH, canvas, dress, is_narrow, name_lines, plain, styled, vector
from rekur.tasks.report._palette import INK, MODEL, RULE, SOFT, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _diagonal(axes: "Axes", count: ArrayLike | None = None) -> None:
    """Where all is as it says; around it what chance alone does to ``count`` independent trials in 95 % of cases."""
    p = np.linspace(0, 1, 101)
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    if count is not None and np.all(np.asarray(count) > 0):
        slack = 1.96 * np.sqrt(p * (1 - p) / np.asarray(count, np.float64))
        axes.fill_between(p, np.clip(p - slack, 0, 1), np.clip(p + slack, 0, 1), color=RULE, alpha=0.22, linewidth=0)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    percents = [f"{round(100 * t)} %" for t in ticks]
    axes.set_xticks(ticks, percents)
    axes.set_yticks(ticks, percents)


def plot_coverage(
    nominal: ArrayLike,
    observed: ArrayLike | Mapping[str, ArrayLike],
    *,
    count: int | None = None,
    kind: str = "interval",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """How often values lay within the intervals (or below the quantiles), against how often they should.

    Parameters
    ----------
    nominal
        (Q,) in (0, 1).
    observed
        (Q,) of the same; or several by name ("before calibration").
    count
        Of independent values behind each; draws what chance alone does in 95 % of cases.
    kind
        "interval" or "quantile": the words at the axes.
    """
    levels = vector(nominal, "nominal")
    several = observed if isinstance(observed, Mapping) else {"": observed}
    curves = {name: vector(values, "observed", len(levels)) for name, values in several.items()}
    if kind not in ("interval", "quantile"):
        raise ValueError(f'kind: expected "interval" or "quantile", not {kind!r}')
    where = "within the interval" if kind == "interval" else "below the quantile"
    with styled():
        figure = canvas(figure, (4.6, 4.4), (NARROW_WIDTH, 4.0), title)
        axes = figure.subplots()
        dress(axes, y=f"observed: {where}", x=f"nominal: {where}", grid="both")
        _diagonal(axes, count)
        ends = []
        for i, (name, values) in enumerate(curves.items()):
            style = line(i)
            (artist,) = axes.plot(
                levels, values, color=style.colour, linestyle=style.dashes, linewidth=style.width, marker=style.marker,
                markersize=5.5, markeredgewidth=0, zorder=3,
            )  # fmt: skip
            ends.append((name, float(values[-1]) if len(values) else float("nan"), artist))
        axes.set_aspect("equal", adjustable="box")
        if len(curves) > 1:
            name_lines(axes, ends, beside=False)
        else:
            axes.text(0.97, 0.05, "too narrow", ha="right", color=SOFT, fontsize=9, transform=axes.transAxes)
            axes.text(
                0.03,
                0.93,
                "too wide" if kind == "interval" else "too high",
                color=SOFT,
                fontsize=9,
                transform=axes.transAxes,
            )
            if kind == "quantile":
                axes.texts[-2].set_text("too low")
    return figure


def plot_pit(values: ArrayLike, *, bins: int = 10, title: str = "", figure: "Figure | None" = None) -> "Figure":
    """The histogram of the probability integral transform: flat where forecast distributions are right.

    Parameters
    ----------
    values
        (N,): the forecast distribution at the value that came, in [0, 1]. NaN are left out.

    Notes
    -----
    A hump: distributions are too wide; a bowl: too narrow; a slope: forecasts are too high or too low. The band is
    what chance alone does to a bin of independent values in 95 % of cases.

    References
    ----------
    Diebold, Gunther, Tay (1998), "Evaluating density forecasts".
    """
    pit = vector(values, "values")
    pit = pit[np.isfinite(pit)]
    if len(pit) and (pit.min() < 0 or pit.max() > 1):
        raise ValueError(f"values: expected numbers in [0, 1], not {pit.min():.4g} … {pit.max():.4g}")
    with styled():
        figure = canvas(figure, (4.6, 3.2), (NARROW_WIDTH, 3.0), title)
        axes = figure.subplots()
        dress(axes, y="share of the values that came", x="where they lay in the forecast distribution")
        counts, edges = np.histogram(pit, bins=bins, range=(0, 1))
        n = max(len(pit), 1)
        share = 1 / bins
        slack = 1.96 * np.sqrt(share * (1 - share) / n)
        axes.bar(
            edges[:-1],
            counts / n,
            width=1 / bins,
            align="edge",
            color=MODEL,
            alpha=0.55,
            edgecolor=MODEL,
            linewidth=0.8,
        )
        axes.axhspan(max(share - slack, 0), share + slack, color=RULE, alpha=0.3, linewidth=0)
        axes.axhline(share, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.yaxis.set_major_formatter(lambda y, _: f"{100 * y:.0f} %")
    return figure


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.float64], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], float]:
    """Mean confidence and share correct by bin of equal width, their counts, and the expected calibration error.

    References
    ----------
    Naeini, Cooper, Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning".
    """
    which = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(which, minlength=bins)
    safe = np.maximum(count, 1)
    said = np.bincount(which, confidence, bins) / safe
    true = np.bincount(which, correct, bins) / safe
    error = float(np.sum(count * np.abs(said - true)) / max(len(confidence), 1))
    return said, true, count, error


def plot_reliability(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]] | Sequence[Any],
    *,
    bins: int = 10,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Of the answers given with so much confidence, how many were right; below it, how many there were.

    Parameters
    ----------
    curves
        (confidence (N,) in [0, 1], correct (N,) bool), or several such pairs by name ("as trained", "calibrated").
    bins
        Of equal width.
    """
    several = curves if isinstance(curves, Mapping) else {"": curves}
    found = {}
    for name, pair in several.items():
        confidence, correct = vector(pair[0], "confidence"), vector(pair[1], "correct", len(np.asarray(pair[0])))
        known = np.isfinite(confidence) & np.isfinite(correct)
        confidence, correct = confidence[known], correct[known]
        if len(confidence) and (confidence.min() < -1e-6 or confidence.max() > 1 + 1e-6):
            raise ValueError(
                f"confidence: expected numbers in [0, 1], not {confidence.min():.4g} … {confidence.max():.4g}"
            )
        found[name] = reliability(np.clip(confidence, 0, 1), correct, bins)
    with styled():
        figure = canvas(figure, (4.6, 5.2), (NARROW_WIDTH, 4.9), title)
        upper, lower = figure.subplots(2, 1, height_ratios=(4, 1), sharex=True)
        dress(upper, y="observed: share of right answers", grid="both")
        _diagonal(upper)
        ends = []
        for i, (name, (said, true, count, error)) in enumerate(found.items()):
            style, some = line(i), count > 0
            slack = 1.96 * np.sqrt(np.maximum(true * (1 - true), 1e-12) / np.maximum(count, 1))
            upper.errorbar(
                said[some], true[some], yerr=slack[some], fmt="none", ecolor=style.colour, elinewidth=0.9, alpha=0.6
            )
            (artist,) = upper.plot(
                said[some], true[some], color=style.colour, linestyle=style.dashes, linewidth=style.width,
                marker=style.marker, markersize=5.5, markeredgewidth=0, zorder=3,
            )  # fmt: skip
            text = f"{name}, expected error {100 * error:.1f} %" if name else f"expected error {100 * error:.1f} %"
            ends.append((text, float(true[some][-1]) if some.any() else float("nan"), artist))
        if len(ends) > 1:
            name_lines(upper, [(t, e, a) for t, e, a in ends], beside=False)
        elif ends:
            upper.text(0.97, 0.05, plain(ends[0][0]), ha="right", color=INK, fontsize=9, transform=upper.transAxes)
        dress(lower, y="number of answers", x="confidence in the answer")
        width = 1 / bins / max(len(found), 1)
        for i, (*_, count, _error) in enumerate(found.values()):
            style = line(i)
            place = {"x": np.arange(bins) / bins + i * width, "height": count, "width": width * 0.9, "align": "edge"}
            lower.bar(**place, color=style.colour, alpha=0.65 if i == 0 else 0.3, linewidth=0)
            if i:
                lower.bar(**place, facecolor="none", edgecolor=style.colour, hatch="////", linewidth=0.6)
        lower.set_xlim(-0.01, 1.01)
        lower.yaxis.set_major_locator(_few())
        if not is_narrow(figure) and found:
            lower.margins(y=0.15)
    return figure


def _few() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, integer=True)
