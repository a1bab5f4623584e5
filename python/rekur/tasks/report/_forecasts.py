"""Pictures of forecasts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    last_number,
    legend_below,
    name_lines,
    plain,
    positions,
    styled,
    time_axis,
    times_of,
    vector,
    vectors,
)
from rekur.tasks.report._numbers import moment, percent
from rekur.tasks.report._palette import INK, LINES, MODEL, RULE, SOFT, Line, line
from rekur.tasks.report._thin import thin, thin_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HISTORY = Line(INK, "solid", "", 1.2)
_ACTUAL = Line(INK, "solid", "o", 1.0)


@dataclass(frozen=True)
class Window:
    """One forecast beside what was known before it and what came.

    Attributes
    ----------
    forecast
        (H,).
    history, actual
        (T,) before it and (H,) of its steps; None: not known. NaN: missing.
    quantiles
        Level in (0, 1): (H,). Levels that mirror each other (0.1 and 0.9) bound a band.
    baselines
        Name: (H,), other forecasts.
    times, history_times
        ``datetime64`` in UTC, or numbers of steps; None: steps are counted, the forecast's first is 1.
    label
        What it is an example of.
    """

    forecast: ArrayLike
    history: ArrayLike | None = None
    actual: ArrayLike | None = None
    quantiles: Mapping[float, ArrayLike] = field(default_factory=dict)
    baselines: Mapping[str, ArrayLike] = field(default_factory=dict)
    times: ArrayLike | None = None
    history_times: ArrayLike | None = None
    label: str = ""


def plot_forecast(
    forecast: ArrayLike,
    *,
    history: ArrayLike | None = None,
    actual: ArrayLike | None = None,
    quantiles: Mapping[float, ArrayLike] | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    times: ArrayLike | None = None,
    history_times: ArrayLike | None = None,
    time_zone: str | None = None,
    last: int | None = None,
    name: str = "",
    label: str = "forecast",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """A forecast beside its history, with bands, baselines and, where they are known, the values that came.

    Parameters
    ----------
    forecast, history, actual, quantiles, baselines, times, history_times
        As in :class:`Window`.
    time_zone
        In which times are shown; UTC without one.
    last
        So many steps of the history are shown; by default three times the horizon and at least 48, on a narrow screen
        fewer.
    name
        Of what is forecast, with its unit: the label of the vertical axis.
    label
        Of the line.
    title
        Over the picture.
    figure
        Where to draw; a new one by default.
    """
    window = Window(
        forecast, history, actual, quantiles or {}, baselines or {}, times, history_times
    )  # fmt: skip
    with styled():
        figure = canvas(figure, (8, 3.7), (NARROW_WIDTH, 3.5), title)
        axes = figure.subplots()
        dress(axes, y=name)
        legend_below(figure, _draw_window(axes, window, time_zone, last, label))
    return figure


def plot_windows(
    windows: Sequence[Window],
    *,
    time_zone: str | None = None,
    last: int | None = None,
    name: str = "",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Several forecasts, a panel each: the best, a middling one and the worst, say; ``Window.label`` says which.

    Parameters are those of :func:`plot_forecast`. All panels have the same vertical axis.
    """
    if not windows:
        raise ValueError("windows: expected one Window at least, not an empty list")
    with styled():
        count = len(windows)
        figure = canvas(figure, (8, 2.8 * (1 + (count - 1) // 3)), (NARROW_WIDTH, 1.0 + 1.9 * count), title)
        columns = 1 if is_narrow(figure) else min(count, 3)
        rows = -(-count // columns)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        artists: dict[str, Any] = {}
        for i, axes in enumerate(panels):
            if i >= count:
                axes.set_visible(False)
                continue
            dress(axes, y=windows[i].label or f"example {i + 1}")
            artists |= _draw_window(axes, windows[i], time_zone, last, "forecast", few=columns > 1)
            axes.set_xlabel("")
        if name:
            figure.supylabel(plain(name), fontsize=9, color=SOFT, rotation=90)
        legend_below(figure, artists)
    return figure


def _draw_window(
    axes: "Axes",
    window: Window,
    time_zone: str | None,
    last: int | None,
    label: str,
    few: bool = False,
) -> dict[str, Any]:
    """Returns what is drawn, by its name."""
    from matplotlib.patches import Patch

    forecast = vector(window.forecast, "forecast")
    horizon = len(forecast)
    if not horizon:
        raise ValueError("forecast: expected one step at least, not an empty array")
    history = None if window.history is None else vector(window.history, "history")
    actual = None if window.actual is None else vector(window.actual, "actual", horizon)
    quantiles = vectors(window.quantiles, "quantiles", horizon)
    baselines = vectors(window.baselines, "baselines", horizon)
    times = times_of(window.times, "times", horizon, start=1)
    x = positions(times)
    artists: dict[str, Any] = {}

    shade = 0.0
    for coverage, low, high in bands(quantiles):
        bx, below, above = thin_band(x, low, high)
        if horizon == 1:
            band = axes.errorbar(
                x, (low + high) / 2, yerr=(high - low) / 2, fmt="none", ecolor=MODEL, elinewidth=1.4, capsize=4,
                alpha=0.9,
            )  # fmt: skip
        else:
            axes.fill_between(bx, below, above, color=MODEL, alpha=0.17, linewidth=0)
            shade += (1 - shade) * 0.17  # bands lie over each other
            band = Patch(facecolor=MODEL, alpha=shade, linewidth=0)
            for edge in (below, above):
                axes.plot(bx, edge, color=MODEL, linewidth=0.5, alpha=0.55)
        artists[f"{percent(coverage, 2)} interval"] = band
    if history is not None and len(history):
        usual = max((2 if few or is_narrow(axes.figure) else 3) * horizon, 30 if few else 48)
        shown = min(len(history), usual if last is None else max(int(last), 0))
        before = times_of(window.history_times, "history_times", len(history), start=1 - len(history))
        if window.history_times is None and window.times is not None:
            before = _before(times, len(history))
        hx = positions(before)[len(history) - shown :]
        hy = history[len(history) - shown :]
        artist = draw_line(axes, *thin(hx, hy), _HISTORY, marker=None)
        artists["history"] = artist
        axes.axvline((hx[-1] + x[0]) / 2 if len(hx) else x[0], color=RULE, linewidth=0.8, linestyle=(0, (2, 2)))
    for i, (text, values) in enumerate(baselines.items()):
        artists[text] = draw_line(
            axes, *thin(x, values), line(i + 1), marker=line(i + 1).marker if horizon == 1 else None
        )
    if actual is not None:
        artists["what came"] = draw_line(
            axes, *thin(x, actual), _ACTUAL, marker="o" if horizon <= 120 else None, markersize=2.6
        )
    artists[label] = draw_line(axes, *thin(x, forecast), LINES[0], marker="o" if horizon == 1 else None, zorder=3)
    time_axis(axes, times, time_zone)
    if few:
        _few_dates(axes, times)
    return artists


def _few_dates(axes: "Axes", times: NDArray[Any]) -> None:
    """In a small panel there is room for three dates."""
    locator = axes.xaxis.get_major_locator()
    if np.issubdtype(times.dtype, np.datetime64):
        locator.minticks, locator.maxticks = 2, dict.fromkeys(locator.maxticks, 5)
    else:
        fewer_ticks(axes, x=4, whole=True)


def _before(times: NDArray[Any], count: int) -> NDArray[Any]:
    """The times of ``count`` steps before the first, at the distance of the first two."""
    if len(times) < 2:
        raise ValueError("history_times: needed where times has a single step, which does not say how long a step is")
    step = times[1] - times[0]
    before: NDArray[Any] = times[0] + step * np.arange(-count, 0)
    return before


def bands(quantiles: Mapping[float, NDArray[Any]]) -> list[tuple[float, NDArray[Any], NDArray[Any]]]:
    """(coverage, lower, upper) of the levels that mirror each other, the widest first."""
    levels = sorted(quantiles)
    found = []
    for low in levels:
        if low >= 0.5:
            break
        high = min(levels, key=lambda level: abs(level - (1 - low)))
        if abs(high - (1 - low)) < 1e-6:
            found.append((high - low, quantiles[low], quantiles[high]))
    # More than three bands are not told apart.
    if len(found) > 3:
        found = [found[0], found[len(found) // 2], found[-1]]
    return found


def plot_error_by_step(
    errors: Mapping[str, ArrayLike],
    *,
    measure: str = "mean absolute error",
    step: str = "step",
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """The error by step ahead, of the model (the first) against others.

    Parameters
    ----------
    errors
        Name: (H,), the error at each step of the horizon.
    measure
        What the error is, with its unit.
    step
        What a step is: "hour", "day".
    """
    values = vectors(errors, "errors")
    if not values or len({len(v) for v in values.values()}) != 1:
        raise ValueError("errors: expected arrays of the same length by name, one at least")
    with styled():
        figure = canvas(figure, (8, 3.2), (NARROW_WIDTH, 3.2), title)
        axes = figure.subplots()
        dress(axes, y=measure, x=f"{step}s ahead")
        horizon = len(next(iter(values.values())))
        x = np.arange(1, horizon + 1, dtype=np.float64)
        ends = []
        for i, (text, error) in enumerate(values.items()):
            ends.append((text, last_number(error), draw_line(axes, *thin(x, error), line(i), zorder=3 - i / 10)))
        top = max((float(np.nanmax(v)) for v in values.values() if np.isfinite(v).any()), default=1.0)
        axes.set_ylim(0, top * 1.08 or 1)
        fewer_ticks(axes, x=5 if is_narrow(figure) else 12, y=5, whole=True)
        if horizon == 1:
            axes.set_xlim(0, 2)
        name_lines(axes, ends)
    return figure


@dataclass(frozen=True)
class Fold:
    """One origin of a back-test: what was trained on and what was forecast, as (first, one past the last).

    Ends are ``datetime64`` in UTC or numbers of rows.
    """

    train: tuple[Any, Any]
    test: tuple[Any, Any]
    validation: tuple[Any, Any] | None = None


def plot_split(
    folds: Sequence[Fold],
    *,
    time_zone: str | None = None,
    title: str = "",
    figure: "Figure | None" = None,
) -> "Figure":
    """Which part of the time was trained on, which one stopped the training, and which was forecast: a row an origin.

    More than 24 origins are thinned evenly; the axis says so.
    """
    if not folds:
        raise ValueError("folds: expected one Fold at least, not an empty list")
    count = len(folds)
    kept = sorted({round(i) for i in np.linspace(0, count - 1, min(count, 24))})
    with styled():
        height = 1.25 + 0.24 * len(kept)
        figure = canvas(figure, (8, height), (NARROW_WIDTH, height + 0.5), title)
        axes = figure.subplots()
        note = f", {len(kept)} of {count} shown" if len(kept) < count else ""
        dress(axes, y=f"origins{note}" if count > 1 else "", grid="x")
        kinds = {
            "trained on": ("train", RULE, "", 0.55),
            "stopped the training": ("validation", LINES[1].colour, "////", 0.35),
            "forecast and scored": ("test", MODEL, "", 0.95),
        }
        artists: dict[str, Any] = {}
        for row, i in enumerate(kept):
            for text, (kind, colour, hatch, alpha) in kinds.items():
                part = getattr(folds[i], kind)
                if part is None:
                    continue
                begin, end = positions(np.asarray(part))
                place = {"y": row, "width": end - begin, "left": begin, "height": 0.62}
                artists[text] = axes.barh(**place, color=colour, alpha=alpha, linewidth=0)
                if hatch:
                    # A bar of its own: SVG fills what is hatched with the full colour.
                    over = axes.barh(**place, facecolor="none", edgecolor=colour, hatch=hatch, linewidth=0.6)
                    artists[text] = (artists[text], over)
        axes.set_ylim(len(kept) - 0.4, -0.6)
        if count > 1:
            axes.set_yticks(range(len(kept)), [str(i + 1) for i in kept])
        else:
            axes.set_yticks([])
        time_axis(
            axes, np.asarray(folds[0].train), time_zone, "" if isinstance(folds[0].train[0], np.datetime64) else "row"
        )
        ordered = [text for text in kinds if text in artists]
        legend_below(figure, {text: artists[text] for text in ordered})
    return figure


def describe_forecast(
    forecast: ArrayLike, times: ArrayLike | None, time_zone: str | None, name: str, quantiles: Mapping[float, ArrayLike]
) -> str:
    """The picture in words, for those who do not see it."""
    from rekur.tasks.report._numbers import number

    values = vector(forecast, "forecast")
    steps = times_of(times, "times", len(values), start=1)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"The forecast of {name or 'the series'} has no numbers."
    top, bottom = int(np.nanargmax(values)), int(np.nanargmin(values))
    where = "at step " if not np.issubdtype(steps.dtype, np.datetime64) else "at "
    text = (
        f"Line chart of {name or 'the series'}: {len(values)} steps ahead, from {number(values[0])} to "
        f"{number(values[-1])}; lowest {number(values[bottom])} {where}{moment(steps[bottom], time_zone)}, highest "
        f"{number(values[top])} {where}{moment(steps[top], time_zone)}."
    )
    wide = bands(vectors(quantiles, "quantiles", len(values)))
    if wide:
        coverage, low, high = wide[0]
        text += f" The {percent(coverage, 2)} interval of the last step is {number(low[-1])} to {number(high[-1])}."
    return text
