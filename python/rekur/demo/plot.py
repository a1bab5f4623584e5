"""The picture of the demo: a stretch of the test part, and the error hour by hour."""

import io
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import write_atomic
from rekur.data import Hourly, Part
from rekur.demo.scores import Score

_INK, _MODEL, _NAIVE, _GRID = "#2b2b2b", "#d1495b", "#7a9cc6", "#e6e6e6"
_DAYS = 8


def stretch(part: Part, horizon: int) -> NDArray[np.int64]:
    """Indices of windows that follow each other, each beginning where the one before ends."""
    at = {int(row): index for index, row in enumerate(part.row)}
    best: list[int] = []
    for begin in part.row[:horizon]:  # the longest chain counts, and the earliest of those
        chain: list[int] = []
        row = int(begin)
        while row in at and len(chain) < _DAYS:
            chain.append(at[row])
            row += horizon
        if len(chain) > len(best):
            best = chain
    return np.array(best, dtype=np.int64)


def draw(
    path: Path, series: Hourly, part: Part, forecast: NDArray[np.float64], all_scores: Mapping[str, Score]
) -> None:
    """Write the PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.dates as dates
    from matplotlib import pyplot

    horizon = forecast.shape[1]
    model, naive = all_scores["rekur LSTM"], all_scores["same hour yesterday"]
    style = {
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "font.size": 10,
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    with pyplot.rc_context(style):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 1), layout="constrained")
        _draw_days(left, series, part, forecast, horizon)
        left.xaxis.set_major_locator(dates.DayLocator())
        left.xaxis.set_major_formatter(dates.DateFormatter("%-d %b"))
        title = f"{series.title}: the next {horizon} hours, forecast once a day"
        left.set_title(title, loc="left", fontweight="bold")
        left.set_xlabel(f"{series.time(int(part.row[0])).year}, local standard time")
        left.set_ylabel("air temperature (°C)")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False)

        hours = np.arange(1, horizon + 1)
        right.plot(hours, naive.by_hour, color=_NAIVE, linestyle=(0, (3, 2)), label="same hour yesterday")
        latest = all_scores["latest reading"].by_hour
        right.plot(hours, latest, color=_INK, linewidth=1.1, linestyle=(0, (1, 1.5)), label="latest reading")
        right.plot(hours, model.by_hour, color=_MODEL, linewidth=1.8, label="rekur LSTM")
        right.legend(loc="lower right", frameon=False, fontsize=9)
        right.set_title("error over the test part", loc="left", fontweight="bold")
        right.set_xlabel("hours ahead")
        right.set_ylabel("mean absolute error (°C)")
        right.set_xticks(range(0, horizon + 1, 6))
        right.set_ylim(bottom=0)
        for axis in (left, right):
            axis.grid(color=_GRID, linewidth=0.8)
            axis.set_axisbelow(True)
        image = io.BytesIO()
        figure.savefig(image, format="png", dpi=110, metadata={"Software": None})
        write_atomic(path, image.getvalue())
        pyplot.close(figure)


def _draw_days(axis: Any, series: Hourly, part: Part, forecast: NDArray[np.float64], horizon: int) -> None:
    shown = stretch(part, horizon)
    begin, length = int(part.row[shown[0]]), horizon * len(shown)
    times = [series.time(begin + hour) for hour in range(length)]
    axis.plot(times, part.target[shown].reshape(-1), color=_INK, linewidth=1.6, label="observed")
    for count, index in enumerate(shown):
        row = int(part.row[index])
        times = [series.time(row + hour) for hour in range(horizon)]
        label = {} if count else {"label": "same hour yesterday"}
        axis.plot(times, part.yesterday[index], color=_NAIVE, linewidth=1.1, linestyle=(0, (3, 2)), **label)
        label = {} if count else {"label": "rekur LSTM"}
        axis.plot(times, forecast[index], color=_MODEL, linewidth=1.8, **label)
        axis.axvline(times[0] - timedelta(minutes=30), color=_GRID, linewidth=0.8, zorder=0)
