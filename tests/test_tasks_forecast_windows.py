"""What a forecaster's network looks at: plans, windows of many series, the split in time, the window's own units."""

import numpy as np
import pytest

from rekur.tasks._series import read_series
from rekur.tasks.forecasting import _network, _windows
from rekur.tasks.forecasting._plan import DAY, WEEK, YEAR, Plan, make_plan

RNG = np.random.default_rng(1)


def hourly(rows, step="h"):
    times = np.datetime64("2024-03-28T00:00") + np.arange(rows) * np.timedelta64(1, step)
    return {"t": times, "y": RNG.normal(size=rows), "p": RNG.normal(size=rows), "f": RNG.normal(size=rows)}


def test_plans_follow_the_step_and_the_length():
    plan = make_plan(read_series(hourly(2000), target="y"), 24, None, None)
    assert plan.season == 24 and plan.periods == [DAY, WEEK] and plan.lags == [24, 48, 168] and plan.context == 168
    daily = {"t": np.datetime64("2015-01-01") + np.arange(1500), "y": RNG.normal(size=1500)}
    plan = make_plan(read_series(daily, target="y"), 14, None, None)
    assert plan.season == 7 and plan.periods == [WEEK, YEAR] and set(plan.lags) >= {7, 14}
    short = make_plan(read_series({k: v[:400] for k, v in daily.items()}, target="y"), 14, None, None)
    assert short.periods == [WEEK]  # a year that was not seen twice says nothing of the next one
    plain = make_plan(read_series(RNG.normal(size=200)), 5, None, None)
    assert (plain.season, plain.periods, plain.lags, plain.context, plain.season_weight) == (1, [], [], 24, 0.0)
    assert make_plan(read_series(RNG.normal(size=20)), 5, None, None).context == 15
    assert make_plan(read_series(RNG.normal(size=200)), 5, 37, 6).context == 37
    assert Plan.of_state(plan.state()) == plan


def test_the_season_counts_as_much_as_it_helps():
    hours = np.arange(500)
    seasonal = np.sin(hours * 2 * np.pi / 24) + 0.01 * RNG.normal(size=500)
    walk = np.cumsum(RNG.normal(size=500))
    assert make_plan(read_series(seasonal), 12, None, 24).season_weight > 0.98
    assert make_plan(read_series(walk), 12, None, 24).season_weight < 0.35


def test_windows_are_slices_of_their_series():
    known = read_series(hourly(60), target="y", past="p", future="f")
    plan = make_plan(known, 4, 10, 24)
    arrays = _windows.WindowArrays(known, plan)
    chosen = _windows.Split(np.array([0, 0, 0]), np.array([3, 30, 60]))
    given, came = arrays.inputs(chosen), arrays.targets(chosen)
    y, p, f = known.series[0].target[:, 0], known.series[0].past[:, 0], known.series[0].future[:, 0]
    np.testing.assert_array_equal(given["target"][1, :, 0], y[20:30].astype(np.float32))
    np.testing.assert_array_equal(given["past"][1, :, 0], p[20:30].astype(np.float32))
    np.testing.assert_array_equal(given["future"][1, :, 0], f[20:34].astype(np.float32))
    np.testing.assert_array_equal(came[1, :, 0], y[30:34].astype(np.float32))
    assert np.isnan(given["target"][0, :7, 0]).all() and np.isnan(came[2]).all()
    np.testing.assert_array_equal(given["target"][0, 7:, 0], y[:3].astype(np.float32))
    rows = _windows.WindowRows(arrays, chosen).take(slice(0, 3))
    np.testing.assert_array_equal(rows.y[1], np.stack([came[1, :, 0], np.ones(4)], axis=1))
    assert (rows.y[2] == 0).all()


def test_phases_are_of_local_time_across_a_change_of_the_clocks():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-03-30", periods=100, freq="h", tz="Europe/Berlin")
    known = read_series(pandas.DataFrame({"y": RNG.normal(size=100)}, index=times))
    plan = make_plan(known, 2, 5, None)
    found = _windows.phases(known, plan, known.series[0].start, 100)
    np.testing.assert_allclose(found[:, plan.periods.index(DAY)] * 24, times.hour, atol=1e-4)
    assert times.hour[26] == 3  # the night has no second hour


def test_the_split_is_in_time_and_leaves_nothing_across():
    known = read_series([RNG.normal(size=100), RNG.normal(size=40), RNG.normal(size=6)])
    arrays = _windows.WindowArrays(known, make_plan(known, 5, 8, None))
    parts = _windows.split_in_time(arrays, 0.2)
    for number, length in enumerate((100, 40, 6)):
        held = max(int(np.ceil(0.2 * length)), 5)
        training = parts.training.origin[parts.training.series == number]
        later = parts.validation.origin[parts.validation.series == number]
        assert (training + 5 <= length - held).all() and (later >= length - held).all()
        assert len(later) == min(held, length - 1)
    assert _windows.spread_evenly(10, 4).tolist() == [0, 3, 6, 9]


def test_short_series_train_on_nothing_that_is_held_back():
    """No series has a whole horizon before its border: targets from the border on are hidden."""
    known = read_series([RNG.normal(size=12), RNG.normal(size=9)])
    arrays = _windows.WindowArrays(known, make_plan(known, 10, 4, None))
    parts = _windows.split_in_time(arrays, 0.25)
    border = np.array([8, 5])
    assert len(parts.training) and (parts.training.origin < border[parts.training.series]).all()
    assert (parts.validation.origin >= border[parts.validation.series]).all() and parts.validation.ends is None
    came = arrays.targets(parts.training)[..., 0]
    for row, (k, t) in enumerate(zip(parts.training.series, parts.training.origin, strict=True)):
        steps = border[k] - t
        expected = known.series[k].target[t : border[k], 0].astype(np.float32)
        np.testing.assert_array_equal(came[row, :steps], expected)
        assert np.isnan(came[row, steps:]).all()
    order = np.arange(len(parts.training))[::-1]
    np.testing.assert_array_equal(arrays.targets(parts.training.some(order))[..., 0], came[order])
    rows = _windows.WindowRows(arrays, parts.training).take(order)
    np.testing.assert_array_equal(rows.y[..., 1], np.isfinite(came[order]))


def test_a_window_in_its_own_units():
    """Against NumPy: gaps hold the last value, the scale is that of moves, nothing is seen before the first value."""
    import rekur

    x = np.cumsum(RNG.normal(size=(3, 20, 2)), axis=1).astype(np.float32)
    x[0, 5:8, 0] = x[1, :4, 1] = x[2, -2:, 0] = np.nan
    target = rekur.Input((20, 2))
    window = _network.window_of(target, [1e-6, 1e-6], 4)
    values, missing, location, scale = rekur.Model(target, list(window)).predict(x)
    for b in range(3):
        for k in range(2):
            row = x[b, :, k].astype(np.float64)
            there = np.isfinite(row)
            first = int(np.flatnonzero(there)[0])
            held = np.array([row[: t + 1][there[: t + 1]][-1] if t >= first else np.nan for t in range(20)])[first:]
            near, far = (np.abs(held[d:] - held[:-d]).mean() for d in (1, 4))
            expected = 0.5 * near + 0.5 * far + 0.1 * held.std() + 1e-4 * np.abs(held).mean()
            assert scale[b, 0, k] == pytest.approx(expected, rel=1e-4)
            assert location[b, 0, k] == pytest.approx(held[-1])
            np.testing.assert_allclose(values[b, first:, k], (held - held[-1]) / expected, rtol=2e-3, atol=1e-4)
            assert (values[b, :first, k] == 0).all() and (missing[b, :, k] == ~there).all()


@pytest.mark.parametrize(("lag", "horizon"), [(4, 3), (4, 4), (4, 11), (10, 7)])
def test_values_of_a_season_ago(lag, horizon):
    import rekur

    x = RNG.normal(size=(2, 10, 3)).astype(np.float32)
    given = rekur.Input((10, 3))
    found = rekur.Model(given, _network.seasonal(given, lag, horizon)).predict(x)
    expected = np.stack([x[:, 10 - lag + h % lag] for h in range(horizon)], axis=1)
    np.testing.assert_array_equal(found, expected)


def test_quantiles_do_not_cross():
    import rekur

    x = RNG.normal(size=(5, 4, 7)).astype(np.float32)
    given = rekur.Input((4, 7))
    found = rekur.Model(given, _network.monotone(given, 7)).predict(x)
    assert (np.diff(found, axis=-1) >= 0).all()
    np.testing.assert_array_equal(found[..., 3], x[..., 3])
    ordered = np.sort(x, axis=-1)
    np.testing.assert_array_equal(rekur.Model(given, _network.monotone(given, 7)).predict(ordered), ordered)
