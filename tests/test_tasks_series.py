"""Series of any table: steps, zones and clocks, gaps, many series, covariates; pandas is the reference."""

import datetime
import json
import zoneinfo

import numpy as np
import pytest

from rekur.tasks import _zones
from rekur.tasks._series import Series, SeriesSet, read_series
from rekur.tasks._timeline import Timeline, parse_freq

ZONES = ["Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Australia/Lord_Howe", "Africa/Casablanca",
         "Asia/Kolkata", "Asia/Beirut", "America/Havana", "Pacific/Apia", "UTC", "+05:45"]  # fmt: skip


def said(found: SeriesSet, *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in found.notes)


def nanoseconds(texts):
    return np.array(texts, "M8[ns]").astype(np.int64)


# Zones.


@pytest.mark.parametrize("zone", ZONES[:-1])
def test_offsets_are_those_of_zoneinfo(zone):
    rng = np.random.default_rng(0)
    utc = rng.integers(nanoseconds("1905-01-01"), nanoseconds("2060-01-01"), 500)
    utc = utc // _zones.SECOND * _zones.SECOND
    info = zoneinfo.ZoneInfo(zone)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    expected = [
        (epoch + datetime.timedelta(seconds=int(t) // 10**9)).astimezone(info).utcoffset().total_seconds() for t in utc
    ]
    assert (_zones.offsets(zone, utc) / 1e9).tolist() == expected


@pytest.mark.parametrize("zone", ZONES[:-1])
def test_local_times_go_to_utc_as_python_says(zone):
    info = zoneinfo.ZoneInfo(zone)
    local = nanoseconds("2019-01-01") + np.arange(2 * 366 * 48) * 30 * _zones.MINUTE
    first, second, missing = _zones.to_utc(zone, local)
    for place in range(0, len(local), 7):
        naive = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(local[place]) // 10**9)
        both = [naive.replace(tzinfo=info, fold=fold) for fold in (0, 1)]
        utc = [int(one.timestamp()) * 10**9 for one in both]
        exists = any(
            one.astimezone(datetime.timezone.utc).astimezone(info).replace(tzinfo=None) == naive for one in both
        )
        assert missing[place] == (not exists)
        if exists:
            assert [first[place], second[place]] == utc
        else:
            assert first[place] == utc[0]


def test_unknown_zones():
    for name in ("Europe/Nowhere", "+25:00", "", "../etc/passwd"):
        with pytest.raises(ValueError, match="time_zone"):
            read_series({"t": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]}, time_zone=name)
    with pytest.raises(ValueError, match="time_zone: expected a name"):
        read_series({"t": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]}, time_zone=5)


# Steps.

STEPS = ["MS", "ME", "QS", "QE", "QS-FEB", "QE-NOV", "YS", "YE", "YS-APR", "W", "W-WED", "B", "D", "2D", "h", "2h",
         "6h", "15min", "10s", "250ms", "7min", "2MS"]  # fmt: skip


@pytest.mark.parametrize("freq", STEPS)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/Sao_Paulo"])
def test_steps_of_pandas_are_found_and_continued(freq, zone):
    pandas = pytest.importorskip("pandas")
    count = 120
    start = (
        "2018-01-07 00:00" if zone != "America/Sao_Paulo" else "2018-01-07 02:00"
    )  # whose midnights do not all exist
    times = pandas.date_range(start, periods=2 * count, freq=freq, tz=zone)
    shifted = pandas.date_range("2018-01-07 13:30", periods=2 * count, freq=freq, tz=zone)
    for stamps in (times, shifted) if freq not in ("6h", "2h") else (times,):
        data = pandas.DataFrame({"ds": stamps[:count], "y": np.arange(float(count))})
        found = read_series(data)
        line, series = found.timeline, found.series[0]
        assert len(series) == count and np.isfinite(series.target).all()
        utc = stamps.tz_convert("UTC").tz_localize(None) if zone else stamps
        np.testing.assert_array_equal(line.times(series.start, 2 * count), utc.to_numpy("M8[ns]"))
        np.testing.assert_array_equal(line.ordinal(utc.to_numpy()), line.ordinal(series.start) + np.arange(2 * count))
        seconds = stamps.tz_localize(None).to_numpy("M8[s]").astype(np.int64)
        np.testing.assert_array_equal(line.local(series.start, 2 * count), seconds)
        said_so = read_series(data, freq=freq)
        assert said_so.timeline == line
        assert parse_freq(line.freq).size == line.size


def test_steps_are_written_as_pandas_writes_them():
    pandas = pytest.importorskip("pandas")
    for freq in STEPS:
        times = pandas.date_range("2018-01-07", periods=50, freq=freq)
        line = read_series({"ds": times.values, "y": np.arange(50.0)}).timeline
        again = pandas.date_range(times[0], periods=50, freq=line.freq)
        assert (again == times).all(), (freq, line.freq)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Beirut"])
@pytest.mark.parametrize("freq", ["D", "W", "MS", "h"])
def test_steps_of_local_time_are_those_of_pandas_resample(zone, freq):
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2017-03-01", "2018-12-01", freq="20min", tz=zone)
    values = np.random.default_rng(0).normal(size=len(times))
    frame = pandas.DataFrame({"y": values}, index=times)
    options = {"W": {"label": "left", "closed": "left"}}.get(freq, {})
    expected = frame["y"].resample("W-MON" if freq == "W" else freq, **options).sum()
    found = read_series(frame, freq=freq, aggregate="sum")
    np.testing.assert_allclose(found.series[0].target[:, 0], expected.to_numpy(), rtol=1e-12)
    utc = expected.index.tz_convert("UTC").tz_localize(None).to_numpy("M8[ns]")
    got = found.timeline.times(found.series[0].start, len(expected))
    if zone in ("America/Sao_Paulo", "Asia/Beirut") and freq in ("D", "W"):
        assert (got != utc).sum() <= 2  # days that begin at 01:00: pandas has its own view of them
    else:
        np.testing.assert_array_equal(got, utc)


@pytest.mark.parametrize(
    ("freq", "unit", "size"),
    [("m", "fixed", 60 * 10**9), ("M", "months", 1), ("ms", "fixed", 10**6), ("MS", "months", 1), ("Q", "months", 3),
     ("A", "months", 12), ("3 days", "civil", 3 * 86400 * 10**9), ("H", "fixed", 3600 * 10**9),
     ("T", "fixed", 60 * 10**9),
     (np.timedelta64(2, "h"), "fixed", 7200 * 10**9), (np.timedelta64(1, "M"), "months", 1), (5, "number", 5),
     (datetime.timedelta(days=1), "civil", 86400 * 10**9), (0.25, "number", 0.25), ("1us", "fixed", 1000)],
)  # fmt: skip
def test_freq_in_other_words(freq, unit, size):
    line = parse_freq(freq)
    assert (line.unit, line.size) == (unit, size)


@pytest.mark.parametrize(
    "freq", ["x", "", "0h", "-1h", "W-FOO", "h-MON", None, True, 0, -1, float("nan"), [], "3B", "1.5h"]
)
def test_freq_that_means_nothing(freq):
    with pytest.raises(ValueError, match="freq: expected a step"):
        parse_freq(freq)


def test_seasons():
    def season(freq, count):
        times = np.datetime64("2020-01-01", "ns") + np.arange(count) * parse_freq(freq).size
        return read_series({"ds": times.astype("M8[ns]"), "y": np.arange(float(count))}).timeline

    assert (season("h", 1000).season, season("h", 1000).seasons) == (24, [24, 168])
    assert season("h", 47).season == 1
    assert season("15min", 1000).season == 96
    assert season("D", 100).season == 7 and season("D", 1000).seasons == [7, 365]
    assert season("W", 200).season == 52
    years = read_series({"year": np.arange(1700, 2000), "y": np.sin(np.arange(300) * 2 * np.pi / 11)})
    assert years.timeline.season == 11 and said(years, "repeat after 11")
    assert read_series(np.random.default_rng(1).normal(size=500)).timeline.season == 1


# Clocks.


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("backwards", [False, True])
def test_local_times_over_both_changes_of_the_clocks(zone, backwards):
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-01-01", "2025-01-01", freq="30min", tz=zone)
    data = {"ds": times.tz_localize(None).to_numpy(), "y": np.arange(len(times)) * 1.0}
    if backwards:
        data = {name: column[::-1] for name, column in data.items()}
    found = read_series(data, time_zone=zone)
    np.testing.assert_array_equal(found.series[0].target[:, 0], np.arange(len(times)))
    assert found.timeline.freq == "30min" and said(found, f"an hour that {zone} has twice")
    assert said(found, "sorted") == backwards
    results = found.frame([np.zeros(3)])
    after = pandas.date_range(times[-1], periods=4, freq="30min")[1:]
    np.testing.assert_array_equal(results["ds"], after.tz_localize(None).to_numpy("M8[ns]"))


def test_an_hour_that_the_clocks_skip_is_moved_and_said():
    times = ["2024-03-31 01:00", "2024-03-31 02:00", "2024-03-31 03:00", "2024-03-31 04:00"]
    found = read_series({"ds": times, "y": [1.0, 2, 3, 4]}, time_zone="Europe/Berlin")
    assert said(found, "do not exist in Europe/Berlin", "2024-03-31T02:00:00")
    assert said(found, "is there already")
    np.testing.assert_array_equal(found.series[0].target[:, 0], [1, 2.5, 4])


def test_naive_local_times_are_recognised():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-01-01", "2024-12-31", freq="h", tz="Europe/Berlin").tz_localize(None)
    assert said(read_series({"ds": times.values, "y": np.ones(len(times))}), "2024-03-31 02:00", "time_zone=")
    utc = pandas.date_range("2024-01-01", "2024-12-31", freq="h")
    assert not said(read_series({"ds": utc.values, "y": np.ones(len(utc))}), "time_zone=")


def test_offsets_in_texts():
    texts = ["2024-03-31 00:00+01:00", "2024-03-31 01:00+01:00", "2024-03-31 03:00+02:00", "2024-03-31 04:00+02:00"]
    found = read_series({"ds": texts, "y": [1.0, 2, 3, 4]})
    assert found.timeline.time_zone == "UTC" and said(found, "change between +01:00 and +02:00", "time_zone")
    assert len(found.series[0]) == 4
    found = read_series({"ds": texts, "y": [1.0, 2, 3, 4]}, time_zone="Europe/Berlin", freq="D")
    assert len(found.series[0]) == 1 and found.series[0].start == np.datetime64("2024-03-30T23:00")
    fixed = read_series({"ds": [text.replace("+02", "+01") for text in texts[:2]], "y": [1.0, 2]})
    assert fixed.timeline.time_zone == "+01:00"
    assert fixed.timeline.local(fixed.series[0].start, 1)[0] == np.datetime64("2024-03-31T00:00", "s").astype(int)


# Rows that are not regular.


def test_sensor_steps():
    rng = np.random.default_rng(0)
    start = np.datetime64("2024-01-01T00:00:20", "ns").astype(np.int64)
    jitter = start + np.arange(1000) * 60 * 10**9 + rng.normal(0, 10**9, 1000).astype(np.int64)
    found = read_series({"t": jitter.astype("M8[ns]"), "y": np.arange(1000.0)})
    assert found.timeline.freq == "min" and len(found.series[0]) == 1000
    np.testing.assert_array_equal(found.series[0].target[:, 0], np.arange(1000.0))
    loose = start + np.cumsum(rng.exponential(60e9, 3000)).astype(np.int64)
    found = read_series({"t": loose.astype("M8[ns]"), "y": np.arange(3000.0)}, freq="5min")
    assert found.timeline.freq == "5min" and said(found, "share a step of 5 minutes")
    cell = loose // (300 * 10**9)
    expected = [
        np.arange(3000.0)[cell == one].mean() if (cell == one).any() else np.nan for one in range(cell[0], cell[-1] + 1)
    ]
    np.testing.assert_allclose(found.series[0].target[:, 0], expected)
    assert said(read_series({"t": loose.astype("M8[ns]"), "y": np.arange(3000.0)}), "irregular", "freq")


@pytest.mark.parametrize(("rate", "size"), [(64, 15_625_000), (30, 33_333_333), (7, 142_857_143)])
def test_steps_of_stamps_that_were_rounded(rate, size):
    times = np.datetime64("2024-01-01T00:04:40", "ms") + (np.arange(5000) * 1000 // rate).astype("m8[ms]")
    found = read_series({"t": times, "y": np.arange(5000.0)})
    assert found.timeline.size == size and len(found.series[0]) == 5000
    np.testing.assert_array_equal(found.series[0].target[:, 0], np.arange(5000))
    with_gap = np.delete(np.arange(5000), slice(1000, 1100))
    found = read_series({"t": times[with_gap], "y": with_gap * 1.0})
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(found.series[0].target[:, 0])), np.arange(1000, 1100))


@pytest.mark.parametrize("rule", ["mean", "sum", "median", "min", "max", "first", "last"])
def test_rows_of_one_step_are_brought_together_as_pandas_does(rule):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(3)
    times = np.datetime64("2024-01-01", "ns") + rng.integers(0, 40 * 24, 500) * np.timedelta64(1, "h")
    frame = pandas.DataFrame({"ds": times, "y": np.where(rng.random(500) < 0.2, np.nan, rng.normal(size=500))})
    ordered = frame.sort_values("ds", kind="stable").set_index("ds")["y"].resample("D")
    expected = ordered.sum(min_count=1) if rule == "sum" else getattr(ordered, rule)()
    found = read_series(frame, freq="D", aggregate=rule)
    inside = expected.loc[expected.first_valid_index() : expected.last_valid_index()]
    np.testing.assert_allclose(found.series[0].target[:, 0], inside.to_numpy())
    assert said(found, "not in order of time") and said(found, f"the {rule} is taken")


@pytest.mark.parametrize("rule", ["mean", "sum", "median", "min", "max", "first", "last"])
def test_a_step_whose_rows_are_all_missing_is_missing(rule):
    data = {"ds": ["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"], "y": [1.0, np.nan, np.nan, 3.0]}
    found = read_series(data, freq="D", aggregate=rule)
    np.testing.assert_array_equal(found.series[0].target[:, 0], [1, np.nan, 3])


def test_aggregates_by_column():
    data = {"ds": ["2024-01-01", "2024-01-01", "2024-01-02"], "y": [1.0, 2, 3], "p": [1.0, 3, 5], "k": ["a", "b", "a"]}
    found = read_series(data, target="y", past=["p", "k"], aggregate={"y": "sum"})
    np.testing.assert_array_equal(found.series[0].target[:, 0], [3, 3])
    np.testing.assert_array_equal(found.series[0].past, [[2, 1], [5, 0]])
    with pytest.raises(ValueError, match="aggregate: expected one of mean"):
        read_series(data, aggregate="average")


def test_gaps_missing_times_and_infinities():
    data = {
        "ds": ["2024-01-05", "2024-01-01", None, "2024-01-02", "2024-01-08", "2024-01-09"],
        "y": [5.0, 1, 99, np.inf, 8, np.nan],
    }
    found = read_series(data, freq="D")
    series = found.series[0]
    np.testing.assert_array_equal(series.target[:, 0], [1, np.nan, np.nan, np.nan, 5, np.nan, np.nan, 8])
    assert said(found, "1 row stands without a time") and said(found, "1 infinite value") and said(found, "sorted")
    assert said(found, "4 steps are missing at 2 places", "gap of 2 after 2024-01-0") and said(
        found, "ends before", "1 step"
    )
    np.testing.assert_array_equal(
        read_series(np.ma.array([1.0, 2, 3], mask=[0, 1, 0])).series[0].target[:, 0], [1, np.nan, 3]
    )


def test_a_wrong_time_is_not_a_grid_of_billions():
    times = ["1900-01-01 00:00:00", *(f"2024-01-01 00:00:{second:02d}" for second in range(50))]
    with pytest.raises(ValueError, match=r"time: the series goes from 1900-01-01.* is a time wrong"):
        read_series({"ds": times, "y": np.ones(51)})


# Columns.


def test_columns_are_guessed_and_said():
    days = [f"2024-01-{day:02d}" for day in range(1, 31)]
    found = read_series({"n": range(30), "when": days, "load": np.arange(30.0), "temp": np.ones(30)})
    assert found.target == ["n", "load", "temp"] and found.layout.time == ["when"]
    assert said(found, "time is taken from column 'when'") and said(found, "targets are", "'load'")
    found = read_series({"when": days, "y": np.arange(30.0), "temp": np.ones(30)})
    assert found.target == ["y"]
    many = {"ds": days * 2, "shop": ["a"] * 30 + ["b"] * 30, "sales": np.arange(60.0)}
    found = read_series(many)
    assert found.ids == ["a", "b"] and said(found, "'shop' is taken to say which series")
    assert read_series({**many, "shop": [1] * 30 + [2] * 30}, series="shop").ids == [1, 2]
    assert read_series({"a": [1.0, 2, 3]}).timeline.unit == "number"
    assert said(read_series({"a": [1.0, 2, 3]}), "each row is taken for one step")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "when"}, "time: there is no column 'when'"),
        ({"target": "Y"}, r"target: there is no column 'Y' \(did you mean 'y'\?\)"),
        ({"target": "s"}, "'s': expected numbers, got 'a'"),
        ({"target": "ds"}, "'ds': expected numbers, got '2024-01-01'"),
        ({"target": "y", "past": "y"}, "'y' is named twice, as target and as past"),
        ({"past": ["s", "s"]}, "past: 's' stands twice"),
        ({"past": 1.5}, "past: expected the name of a column"),
        ({"series": ["s", "y"]}, "series: expected one column"),
        ({"static": "z"}, r"static: column 'z' changes within the table \(row 1\)"),
        ({"freq": 5}, "5 is a step of plain numbers, but 'ds' holds dates"),
        ({"time": "s"}, "'s' holds 'a', which is no date"),
    ],
)
def test_wrong_columns(options, message):
    data = {"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [1.0, 2, 3], "s": ["a", "b", "a"], "z": [1.0, 2, 3]}
    with pytest.raises(ValueError, match=message):
        read_series(data, **{"target": "y", **options})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "no rows|expected"),
        ({}, "no rows"),
        ({"ds": [], "y": []}, "no rows"),
        (np.zeros((0, 3)), "no rows"),
        ({"y": [np.nan, np.nan]}, "all are missing|no column of numbers"),
        ({"ds": ["2024-01-01"], "y": [1.0]}, "freq: the step cannot be told from a single time"),
        ({"ds": [None, None], "y": [1.0, 2.0], "x": [1.0, 2.0]}, "no time at all"),
        ({"y": ["a", "b"]}, "no column of numbers is left for it; the others hold text"),
        ([np.ones(3), np.ones((3, 2))], "series 1 has 2 columns, expected 1"),
        ([["a"], ["b"]], "series 0: expected numbers"),
    ],
)
def test_data_without_series(data, message):
    with pytest.raises(ValueError, match=message):
        read_series(data, time="ds" if isinstance(data, dict) and "x" in data else None)


def test_duplicate_names_of_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(np.ones((3, 3)), columns=["y", "x", "x"])
    assert read_series(frame, target="y").target == ["y"]
    with pytest.raises(ValueError, match="'x' stands 2 times"):
        read_series(frame, target="x")


def test_a_single_row_of_known_step():
    found = read_series({"ds": ["2024-01-01"], "y": [1.0]}, freq="D")
    assert len(found.series[0]) == 1 and found.timeline.freq == "D"
    assert read_series({"ds": ["2024-05"], "y": [1.0]}).timeline.freq == "MS"


def test_date_and_clock_in_two_columns():
    data = {"Date": ["01.03.2024"] * 3, "Time": ["18.00.00", "19.00.00", "20.00.00"], "y": [1.0, 2, 3]}
    found = read_series(data, time=("Date", "Time"), target="y")
    assert found.timeline.freq == "h" and found.series[0].start == np.datetime64("2024-03-01T18:00")


def test_plain_numbers_as_time():
    found = read_series({"t": [10, 5, 20], "y": [2.0, 1, 4]}, time="t")
    assert (found.timeline.unit, found.timeline.size, found.series[0].start) == ("number", 5, 5)
    np.testing.assert_array_equal(found.series[0].target[:, 0], [1, 2, np.nan, 4])
    np.testing.assert_array_equal(found.frame([np.zeros(2)])["t"], [25, 30])
    found = read_series({"t": np.arange(100) * 0.1 + 3, "y": np.arange(100.0)}, time="t")
    assert found.timeline.size == pytest.approx(0.1) and len(found.series[0]) == 100
    np.testing.assert_allclose(found.frame([np.zeros(2)])["t"], [13.0, 13.1])


def test_arrays_and_lists():
    found = read_series(np.arange(6.0).reshape(3, 2))
    assert found.target == [0, 1] and found.series[0].start == 0
    found = read_series(np.arange(6.0).reshape(3, 2), target=1, past=0)
    np.testing.assert_array_equal(found.series[0].past[:, 0], [0, 2, 4])
    found = read_series([np.arange(3.0), [1.0, None, 3.0, np.nan]], target="v")
    assert found.ids == [0, 1] and found.target == ["v"] and [len(one) for one in found.series] == [3, 3]
    results = found.frame([np.zeros(2), np.ones(1)])
    assert [len(one) for one in results] == [2, 1]


# Many series, covariates.


def many_series(pandas, ends=(40, 25)):
    frames = []
    for name, count in zip("ab", ends, strict=True):
        times = pandas.date_range("2024-01-01" if name == "a" else "2024-01-11", periods=count + 5, freq="D")
        frames.append(
            pandas.DataFrame(
                {
                    "ds": times,
                    "id": name,
                    "y": np.r_[np.arange(count) * 1.0, np.full(5, np.nan)],
                    "price": np.arange(count + 5) * 2.0,
                    "holiday": np.resize(["no", "yes"], count + 5),
                    "temp": np.r_[np.ones(count), np.full(5, np.nan)],
                    "kind": "big" if name == "a" else "small",
                }
            )
        )
    return pandas.concat(frames, ignore_index=True)


def test_future_rows_static_and_categories():
    pandas = pytest.importorskip("pandas")
    data = many_series(pandas)
    roles = {"target": "y", "series": "id", "past": "temp", "future": ["price", "holiday"], "static": "kind"}
    found = read_series(data.sample(frac=1, random_state=0), **roles)
    by_id = {one.id: one for one in found.series}
    a, b = by_id["a"], by_id["b"]
    assert (len(a), a.extra, len(b), b.extra) == (40, 5, 25, 5)
    assert a.start == np.datetime64("2024-01-01") and b.start == np.datetime64("2024-01-11")
    np.testing.assert_array_equal(a.future[:, 0], np.arange(45) * 2.0)
    assert found.categories == {"holiday": ["no", "yes"], "kind": ["big", "small"]}
    np.testing.assert_array_equal(a.future[:4, 1], [0, 1, 0, 1])
    assert (a.static[0], b.static[0]) == (0, 1)
    assert said(found, "ends before the table does, by up to 5 steps", "future to forecast")
    assert a.past.shape == (40, 1) and np.isfinite(a.past).all()

    # The same, the future in a table of its own.
    seen = data[data["y"].notna()]
    ahead = data[data["y"].isna()].drop(columns="y")
    alone = read_series(seen, **roles)
    assert all(one.extra == 0 for one in alone.series)
    joined = alone.with_future(ahead)
    for one in joined.series:
        np.testing.assert_array_equal(one.future, by_id[one.id].future)
        np.testing.assert_array_equal(one.target, by_id[one.id].target)
    gap = alone.with_future(ahead.drop(index=ahead[ahead["id"] == "a"].index[0]))
    assert np.isnan(gap.series[0].future[40, 0]) and gap.series[0].future[41, 0] == 82
    with pytest.raises(ValueError, match="no row lies beyond the end"):
        alone.with_future(seen)
    with pytest.raises(ValueError, match="future: there is no column 'price'"):
        alone.with_future(ahead.drop(columns="price"))
    with pytest.raises(ValueError, match="no columns were said to be known ahead"):
        read_series(seen, target="y", series="id").with_future(ahead)


def test_new_data_are_read_as_the_old_were():
    pandas = pytest.importorskip("pandas")
    data = many_series(pandas)
    roles = {"target": "y", "series": "id", "past": "temp", "future": ["price", "holiday"], "static": "kind"}
    known = read_series(data, **roles)
    kept = SeriesSet.of_state(json.loads(json.dumps(known.state())))
    assert kept == known.without_series()
    new = data[data["id"] == "b"].assign(id="c", holiday="never", kind="small")
    found = read_series(new, like=kept)
    assert found.ids == ["c"] and found.timeline == known.timeline
    assert (found.series[0].future[:, 1] == 2).all() and found.series[0].static[0] == 1
    assert said(found, "'holiday' holds what training did not have ('never')")
    with pytest.raises(ValueError, match="past: there is no column 'temp'"):
        read_series(new.drop(columns="temp"), like=kept)
    with pytest.raises(ValueError, match="time"):
        read_series(new.drop(columns="ds"), like=kept)
    text = new.assign(ds=new["ds"].astype(str), price=new["price"].astype(str))
    again = read_series(text, like=kept)
    np.testing.assert_array_equal(again.series[0].future, found.series[0].future)
    for broken in ({}, {"timeline": 5}, {**known.state(), "timeline": {"unit": "no", "other": 1}}):
        with pytest.raises(ValueError, match="not a valid description"):
            SeriesSet.of_state(broken)


def test_future_without_times_follows_the_target():
    found = read_series({"y": [1.0, 2, 3], "x": [1.0, 2, 3]}, target="y", future="x").with_future({"x": [4.0, 5]})
    np.testing.assert_array_equal(found.series[0].future[:, 0], [1, 2, 3, 4, 5])
    found = read_series(np.ones((3, 2)), target=0, future=1).with_future(np.array([7.0, 8]))
    np.testing.assert_array_equal(found.series[0].future[:, 0], [1, 1, 1, 7, 8])


def test_series_without_target_are_left_out():
    data = {"ds": ["2024-01-01", "2024-01-02"] * 2, "id": ["a", "a", "b", "b"], "y": [1.0, 2, np.nan, np.nan]}
    found = read_series(data, series="id")
    assert found.ids == ["a"] and said(found, "1 series have no value", "'b'")
    late = read_series({"ds": ["2024-01-01", "2024-01-02", "2024-01-03"], "y": [np.nan, 2.0, 3]})
    assert late.series[0].start == np.datetime64("2024-01-02") and said(late, "begins later")


# Results.


def test_results_look_like_the_data():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    times = pandas.date_range("2024-03-30", periods=10, freq="12h", tz="Europe/Berlin")
    indexed = pandas.DataFrame({"y": np.arange(10.0)}, index=times.rename("when"))
    results = read_series(indexed).frame([np.arange(3.0)], names=["low"])
    expected = pandas.date_range(times[-1], periods=4, freq="12h")[1:]
    assert results.index.name == "when" and results.index.tz is not None and list(results) == ["low"]
    assert (results.index == expected).all()
    plain = polars.DataFrame({"ds": times.tz_localize(None).to_numpy(), "id": ["a"] * 10, "y": np.arange(10.0)})
    results = read_series(plain, series="id").frame([np.zeros((2, 1))])
    assert results.columns == ["id", "ds", "y"] and results["id"].to_list() == ["a", "a"]
    zoned = plain.with_columns(polars.col("ds").dt.replace_time_zone("Europe/Berlin"))
    results = read_series(zoned).frame([np.zeros(2)])
    assert results["ds"].dtype.time_zone == "Europe/Berlin"
    columns = read_series({"ds": times.tz_localize(None).to_numpy(), "y": np.arange(10.0)}).frame([np.zeros(2)])
    assert set(columns) == {"ds", "y"} and columns["ds"][0] == np.datetime64("2024-04-04T01:00")
    assert read_series(np.arange(5.0)).frame([np.zeros(2)]).shape == (2, 1)
    with pytest.raises(ValueError, match="expected 1 arrays, one a series"):
        read_series(np.arange(5.0)).frame([])
    with pytest.raises(ValueError, match="values: expected"):
        read_series(np.arange(5.0)).frame([np.zeros((2, 3))])


def test_reading_known_columns_takes_less_than_a_millisecond():
    import time

    data = {"ds": np.datetime64("2024-01-01", "ns") + np.arange(500) * np.timedelta64(1, "h"), "y": np.arange(500.0)}
    known = read_series(data)
    best = np.inf
    for _ in range(20):
        begin = time.perf_counter()
        read_series(data, like=known)
        best = min(best, time.perf_counter() - begin)
    assert best < 1e-3


def test_series_are_what_the_names_say():
    series = read_series({"y": [1.0, 2.0], "x": [1.0, 2.0]}, target="y", past="x").series[0]
    assert isinstance(series, Series)
    assert series.target.dtype == series.past.dtype == series.future.dtype == series.static.dtype == np.float64
    assert series.future.shape == (2, 0) and series.static.shape == (0,)
    with pytest.raises(ValueError, match="plain number"):
        Timeline().local(0, 3)


def test_what_was_understood_is_told():
    days = [f"2024-01-{day:02d}" for day in (1, 2, 3, 5)]
    found = read_series(
        {"day": days, "id": ["a"] * 4, "y": [1.0, 2, 3, 4], "kind": ["b"] * 4}, series="id", past="kind"
    )
    assert repr(found) == "SeriesSet(1 series, 5 steps of 1 day, target=['y'])"
    assert repr(found.series[0]) == "Series('a', 2024-01-01T00:00:00.000000000, 5 steps, 1 target, 1 past)"
    told = found.summary()
    assert "'day', in steps of 1 day, 2024-01-01 to 2024-01-05, no time zone" in told and "'kind' (1 category)" in told
    assert "1 series by 'id', of 5 steps, 1 of them with a missing value" in told
    assert "- 1 step is missing, after 2024-01-03." in told
    assert "no series" in found.without_series().summary()
