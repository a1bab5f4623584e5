"""rekur.tasks.Forecaster: what it learns, what it gives, in which form, and what it refuses."""

import pickle
import warnings

import numpy as np
import pytest

import rekur
from rekur.tasks import Forecaster, NotFittedError, load

RNG = np.random.default_rng(0)
HOURS = np.arange(600)
DAILY = 20 + 5 * np.sin(HOURS * 2 * np.pi / 24) + 0.3 * RNG.normal(size=600)
QUICK = {"epochs": 2, "units": 8, "random_state": 0, "context": 48}


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(12, season=24, epochs=12, units=12, random_state=0, context=48).fit(DAILY[:-12])


def test_forecasts_are_better_than_the_season_before(fitted):
    told = fitted.predict()
    assert told.shape == (12,)
    assert np.abs(told - DAILY[-12:]).mean() < np.abs(DAILY[-36:-24] - DAILY[-12:]).mean()
    assert np.abs(told - DAILY[-12:]).mean() < 0.5


def test_quantiles_and_intervals_go_together(fitted):
    bands = fitted.predict_quantiles()
    assert bands.shape == (12, 9) and (np.diff(bands, axis=1) >= 0).all()
    np.testing.assert_allclose(bands[:, 4], fitted.predict(), rtol=1e-6)
    interval = fitted.predict_interval(coverage=0.6)
    np.testing.assert_allclose(interval, bands[:, [4, 1, 7]], rtol=1e-6)
    between = fitted.predict_quantiles(quantiles=[0.15])
    assert ((between >= bands[:, 0]) & (between <= bands[:, 1])).all()
    with pytest.raises(ValueError, match=r"0.025 lies outside of those that were trained, 0.1 to 0.9"):
        fitted.predict_interval(coverage=0.95)


@pytest.mark.parametrize("output", ["quantiles", "normal"])
def test_bands_without_bounds_are_refused(fitted, output):
    model = fitted if output == "quantiles" else Forecaster(3, output=output, **QUICK).fit(DAILY[:200])
    for level in (0, 1, -0.1, 1.5):
        with pytest.raises(ValueError, match=f"quantiles must be above 0 and below 1, got {level}"):
            model.predict_quantiles(quantiles=[0.5, level])
        with pytest.raises(ValueError, match=f"coverage must be above 0 and below 1, got {level}"):
            model.predict_interval(coverage=level)


def test_new_data_are_forecast_from_their_end(fitted):
    assert np.array_equal(fitted.predict(DAILY[:-12]), fitted.predict())
    moved = fitted.predict(DAILY)
    assert np.abs(moved - (20 + 5 * np.sin((600 + np.arange(12)) * 2 * np.pi / 24))).mean() < 0.6
    # A series of another size: the network sees windows in their own units.
    np.testing.assert_allclose(fitted.predict(1000 * DAILY), 1000 * moved, rtol=1e-3)


def test_missing_values_are_no_obstacle(fitted):
    holes = DAILY.copy()
    holes[-40:-35] = np.nan
    holes[-3:] = np.nan
    told = fitted.predict(holes)
    assert np.isfinite(told).all()
    short = fitted.predict(DAILY[-10:])
    assert np.isfinite(short).all()


def test_save_load_pickle_and_seed(fitted, tmp_path):
    fitted.save(tmp_path / "f.safetensors")
    for again in (load(tmp_path / "f.safetensors"), pickle.loads(pickle.dumps(fitted))):
        assert again.get_params() == fitted.get_params() or again.get_params()["quantiles"] == list(fitted.quantiles)
        assert np.array_equal(again.predict(), fitted.predict())
        assert np.array_equal(again.predict(DAILY), fitted.predict(DAILY))
    one, two = (Forecaster(3, **QUICK).fit(DAILY[:200]).predict() for _ in range(2))
    assert np.array_equal(one, two)
    before = rekur.num_threads()
    try:
        rekur.set_num_threads(1)
        assert np.array_equal(Forecaster(3, **QUICK).fit(DAILY[:200]).predict(), one)
    finally:
        rekur.set_num_threads(before)


def test_calibration_moves_bands_and_not_the_median():
    plain = Forecaster(4, calibrate=False, **QUICK).fit(DAILY[:300])
    wide = Forecaster(4, **QUICK).fit(DAILY[:300])
    np.testing.assert_allclose(plain.predict(), wide.predict(), rtol=1e-6)
    assert np.abs(plain.predict_quantiles() - wide.predict_quantiles()).max() > 1e-3


def test_many_series_and_ids_unknown_so_far():
    pandas = pytest.importorskip("pandas")
    times = pandas.date_range("2024-03-30", periods=120, freq="h", tz="Europe/Berlin")
    frame = pandas.concat(
        [
            pandas.DataFrame({"id": name, "when": times, "load": size * DAILY[:120]})
            for name, size in (("a", 1), ("b", 50))
        ]
    )
    model = Forecaster(6, time="when", target="load", series="id", **QUICK).fit(frame)
    told = model.predict()
    assert list(told.columns) == ["id", "when", "load"] and len(told) == 12
    assert told["when"].iloc[0] == times[-1] + pandas.Timedelta(hours=1)
    assert told.loc[told["id"] == "b", "load"].mean() > 20 * told.loc[told["id"] == "a", "load"].mean()
    other = frame[frame["id"] == "a"].assign(id="new")
    np.testing.assert_allclose(model.predict(other)["load"], told["load"][:6], rtol=1e-6)
    bands = model.predict_interval(coverage=0.8)
    assert list(bands.columns) == ["id", "when", "load", "load-lo-80", "load-hi-80"]


def test_covariates_known_ahead_are_used():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2023-01-01", periods=400, freq="D")
    busy = (RNG.random(400) < 0.3).astype(float)
    kind = np.where(RNG.random(400) < 0.5, "wet", "dry")
    sales = 10 + 8 * busy + 4 * (kind == "wet") + 0.1 * RNG.normal(size=400)
    frame = pandas.DataFrame({"sales": sales, "busy": busy, "kind": kind, "shop": "s"}, index=days)
    model = Forecaster(7, target="sales", future=["busy", "kind"], static=["shop"], units=16, epochs=60, context=14,
                       learning_rate=0.01, random_state=0).fit(frame[:-7])  # fmt: skip
    told = model.predict(future=frame[["busy", "kind"]][-7:])
    assert list(told.index) == list(days[-7:])
    assert np.abs(told["sales"] - sales[-7:]).mean() < 1.5
    turned = frame[["busy", "kind"]][-7:].assign(busy=1 - busy[-7:])
    assert np.abs(model.predict(future=turned)["sales"] - told["sales"]).mean() > 4
    with pytest.warns(UserWarning, match="'busy', 'kind' known ahead are missing for 7"):
        assert np.isfinite(model.predict()["sales"]).all()  # what is ahead is not known: it is missing


def test_covariates_to_come_that_are_missing_are_told():
    data = {"y": DAILY[:100], "price": RNG.normal(size=100), "wind": RNG.normal(size=100)}
    model = Forecaster(6, target="y", future=["price", "wind"], **QUICK).fit(data)
    for name in ("predict", "predict_quantiles", "predict_interval", "sample"):
        with pytest.warns(UserWarning, match="'price', 'wind' known ahead are missing for 6 of the 6 steps") as told:
            getattr(model, name)()
        assert told[0].filename == __file__
    ahead = {"price": np.ones(6), "wind": np.ones(6)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(future=ahead)
        model.score({name: np.concatenate([column, column[:8]]) for name, column in data.items()})
        Forecaster(6, **QUICK).fit(DAILY[:100]).predict()
    with pytest.warns(UserWarning, match="missing for 4 of the 6 steps"):
        model.predict(future={name: column[:2] for name, column in ahead.items()})


def test_past_covariates_and_several_targets():
    lead = RNG.normal(size=500)
    both = {"a": np.concatenate([[0.0], lead[:-1]]) + 5, "b": np.cumsum(0.1 * lead), "lead": lead}
    model = Forecaster(1, target=["a", "b"], past=["lead"], epochs=40, units=16, context=8, random_state=0,
                       learning_rate=0.01).fit(both)  # fmt: skip
    told = model.predict()
    assert set(told) == {"step", "a", "b"}
    back = model.backtest(both, folds=40)
    assert back.actual.shape == (40, 1, 2)
    assert back.by_step("mae")["rekur"][0] < 0.5 * back.by_step("mae")["naive"][0]


def test_a_table_of_many_targets_and_many_quantiles():
    table = {f"y{k}": RNG.normal(k, 1, size=60) for k in range(14)}
    told = Forecaster(3, quantiles=[k / 40 for k in range(1, 40)], **{**QUICK, "epochs": 4}).fit(table).predict()
    means = np.array([told[f"y{k}"].mean() for k in range(14)])
    np.testing.assert_allclose(means, np.arange(14), atol=1.6)
    model = Forecaster(3, output="normal", **QUICK).fit(table)
    assert model.sample(5)["y13 path 5"].shape == (3,)


def test_points_and_means():
    skew = RNG.exponential(size=800)
    means = {}
    for output in ("point", "mean"):
        model = Forecaster(2, output=output, epochs=8, units=4, context=8, random_state=1).fit(skew)
        means[output] = model.predict().mean()
        with pytest.raises(ValueError, match="gives points alone"):
            model.predict_quantiles()
    assert means["mean"] > means["point"] + 0.1  # the mean of an exponential distribution is 1, its median 0.69


def test_ensemble_is_the_mean_of_its_networks():
    model = Forecaster(3, ensemble=2, **QUICK).fit(DAILY[:200])
    alone = Forecaster(3, **QUICK).fit(DAILY[:200])
    assert len(model.models_) == 2 and len(model.history_) == 2
    told = model.predict()
    parts = []
    for network in model.models_:
        model.models_, kept = [network], model.models_
        parts.append(model.predict())
        model.models_ = kept
    np.testing.assert_allclose(told, np.mean(parts, axis=0), rtol=1e-6)
    np.testing.assert_allclose(parts[0], alone.predict(), rtol=1e-6)  # the first has the very seed


def test_early_stopping_is_on_the_last_part():
    """The last 15 % may be anything: training sees none of it, validation nothing else."""
    late = DAILY.copy()
    late[-90:] += np.sin(np.arange(90))
    options = {"epochs": 2, "units": 4, "context": 24, "random_state": 0}
    one, other = (Forecaster(4, **options).fit(data) for data in (DAILY, late))
    assert one.sizes_["held_back"] == 90 and one.sizes_["training"] == 510 - 4 - 3 + 1
    assert one.history_[0]["loss"] == pytest.approx(other.history_[0]["loss"], rel=0.01)
    assert one.history_[0]["val_loss"][0] < other.history_[0]["val_loss"][0]
    stopped = Forecaster(4, **{**options, "epochs": 200, "learning_rate": 0.02, "patience": 2}).fit(
        RNG.normal(size=150)
    )
    losses = stopped.history_[0]["val_loss"]
    assert len(losses) < 100 and np.argmin(losses) == len(losses) - 3


def test_backtest_sees_nothing_of_the_future():
    """What comes after the last origin may be anything: forecasts before it stay the same."""
    model = Forecaster(6, season=24, **QUICK)
    clean = model.backtest(DAILY[:300], folds=3)
    assert clean.actual.shape == (3, 6, 1) and clean.fits == 1
    assert not model.__sklearn_is_fitted__()
    np.testing.assert_array_equal(clean.actual[:, :, 0], DAILY[282:300].reshape(3, 6))
    changed = DAILY[:300].copy()
    changed[-6:] = 1e6
    again = model.backtest(changed, folds=3)
    np.testing.assert_array_equal(again.forecasts["rekur"].quantiles, clean.forecasts["rekur"].quantiles)
    every = model.backtest(DAILY[:300], folds=3, refit=True)
    assert every.fits == 3
    np.testing.assert_array_equal(every.forecasts["rekur"].quantiles[0], clean.forecasts["rekur"].quantiles[0])
    assert not np.array_equal(every.forecasts["rekur"].quantiles[2], clean.forecasts["rekur"].quantiles[2])
    assert model.backtest(DAILY[:300], folds=4, refit=2).fits == 2
    alone = Forecaster(6, season=24, **QUICK).fit(DAILY[:282])
    np.testing.assert_allclose(alone.predict(), clean.forecasts["rekur"].point[0, :, 0], rtol=1e-5)


@pytest.mark.parametrize("repeats", [True, False])
def test_backtest_finds_the_season_in_what_came_before_alone(repeats):
    """A season that the whole series shows, or hides, is not that of the steps before the first forecast."""
    calm, daily = np.random.default_rng(5).normal(size=200), DAILY[:200] - 20
    before, after = (daily, 100 * calm) if repeats else (calm, 100 * daily)
    whole = np.concatenate([before, after])
    model = Forecaster(10, **QUICK)
    short = model.backtest(np.concatenate([before, after[:10]]), folds=1)
    first = model.backtest(whole, folds=20)
    assert first.origin[0] == short.origin[0] == 200
    for name in ("rekur", "naive", "seasonal naive"):
        np.testing.assert_array_equal(first.forecasts[name].point[0], short.forecasts[name].point[0])
    np.testing.assert_array_equal(first.scale[0], short.scale[0])
    lag = 24 if repeats else 1
    assert first.scale[0, 0] == pytest.approx(np.abs(before[lag:] - before[:-lag]).mean())
    # Fitted again later, the scale and the baseline of the first forecast stay what they were.
    again = model.backtest(whole, folds=20, refit=15)
    np.testing.assert_array_equal(again.scale, first.scale)
    np.testing.assert_array_equal(
        again.forecasts["seasonal naive"].point[0], short.forecasts["seasonal naive"].point[0]
    )


def test_backtest_scores_and_tables():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"y": DAILY}, index=pandas.date_range("2024-01-01", periods=600, freq="h"))
    back = Forecaster(6, **QUICK).backtest(frame, folds=4, stride=12)
    found = back.scores()
    assert set(found) >= {"rekur", "naive", "seasonal naive"}
    by_hand = np.abs(back.actual - back.forecasts["seasonal naive"].point).mean()
    assert found["seasonal naive"]["mae"] == pytest.approx(by_hand)
    first = 600 - 6 - 36
    scale = np.abs(DAILY[24:first] - DAILY[: first - 24]).mean()
    assert found["seasonal naive"]["mase"] == pytest.approx(by_hand / scale)
    np.testing.assert_allclose(back.forecasts["seasonal naive"].point[0, :, 0], DAILY[first - 24 : first - 18])
    assert 0 <= found["rekur"]["coverage"] <= 1 and found["rekur"]["scaled_crps"] < found["naive"]["scaled_crps"]
    table = back.frame()
    assert len(table) == 24 and table.index[0] == frame.index[first]
    np.testing.assert_allclose(table["y"], back.actual.ravel())
    told = []
    back.summary(told.append)
    assert "MASE" in told[0] and "seasonal naive" in told[0] and repr(back) == told[0]
    assert back.by_step("coverage")["rekur"].shape == (6,)


def test_a_network_takes_raw_windows(fitted):
    network = fitted.models_[0]
    x = DAILY[-60:-12].astype(np.float32)[None, :, None]
    phase = ((540 + np.arange(60)) % 24 / 24).astype(np.float32)[None, :, None]
    told = network.predict({"target": x, "phase": phase})
    np.testing.assert_allclose(told[0], fitted.predict_quantiles(), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "Forecaster: horizon must be"),
        ({"output": "quantile"}, "output must be one of .*did you mean 'quantiles'"),
        ({"quantiles": (0.1, 1.2)}, "quantiles must be numbers between 0 and 1"),
        ({"quantiles": ()}, "quantiles must be numbers between 0 and 1"),
        ({"cell": "gruu"}, "cell 'gruu' is unknown"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"validation_fraction": 1}, "validation_fraction must be below 1"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"units": ()}, "units must be a number or several"),
        ({"ensemble": 0}, "ensemble"),
        ({"context": -1}, "context"),
    ],
)
def test_parameters_are_checked_in_fit(options, message):
    model = Forecaster(**{"horizon": 2, **options})
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(DAILY[:60])


def test_data_that_do_not_do_are_refused(fitted):
    with pytest.raises(NotFittedError):
        Forecaster(2).predict()
    with pytest.raises(ValueError, match="no series has a value to forecast"):
        Forecaster(2).fit([1.0])
    with pytest.raises(ValueError, match="the longest series has 9"):
        Forecaster(6, **QUICK).backtest(DAILY[:9], folds=3)
    with pytest.raises(ValueError, match="no columns were said to be known ahead"):
        fitted.predict(future=DAILY)
    with pytest.raises(ValueError, match="target 'b' has no value: all are missing"):
        Forecaster(2, target=["a", "b"], **QUICK).fit({"a": DAILY[:50], "b": np.full(50, np.nan)})
    with pytest.raises(ValueError, match="which single precision cannot square"):
        Forecaster(2, **QUICK).fit(1e30 * DAILY[:50])
    with pytest.raises(ValueError, match="quantiles must be numbers between 0 and 1, got none"):
        fitted.predict_quantiles(quantiles=[])
    assert any("subtract a constant" in note for note in Forecaster(2, **QUICK).fit(DAILY[:50] + 1e7).notes_)
    for rows in (2, 3, 5):
        assert np.isfinite(Forecaster(3, epochs=1, units=2).fit(DAILY[:rows]).predict()).all()
    constant = Forecaster(2, **QUICK).fit(np.full(80, 3.0))
    np.testing.assert_allclose(constant.predict(), 3.0, atol=0.2)
    short = Forecaster(5, **QUICK).fit([DAILY[:7], DAILY[:9]])
    assert [len(told) for told in short.predict()] == [5, 5]
