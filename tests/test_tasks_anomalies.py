"""AnomalyDetector: what it finds, its conventions, its files."""

import pickle
from typing import Any

import numpy as np
import pytest

import rekur
from rekur.tasks import AnomalyDetector, load
from rekur.tasks.anomalies import Alarm, vus_pr

QUICK: dict[str, Any] = {"units": 8, "epochs": 4, "prototypes": 32, "random_state": 0}


def beats(steps: int, channels: int = 1, seed: int = 0) -> Any:
    """Pulses every 20 steps with a little noise; each channel shifted."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)[:, None] + 5 * np.arange(channels)
    return 10 + 3 * np.exp(-(((t % 20) - 8) ** 2) / 6) + rng.normal(size=(steps, channels)) * 0.1


def overlaps(alarm: Alarm, first: int, end: int) -> bool:
    return alarm.start < end and alarm.end > first


@pytest.fixture(scope="module")
def fitted() -> AnomalyDetector:
    return AnomalyDetector(**QUICK).fit(beats(1500, 2))


@pytest.mark.parametrize("method", ["forecast", "reconstruction", "nearest", "auto", ("forecast", "reconstruction")])
def test_a_missing_beat_is_found(method):
    detector = AnomalyDetector(method, **{**QUICK, "epochs": 8}).fit(beats(1500, 2))
    new = beats(900, 2, seed=1)
    assert detector.alarms(new) == []
    new[400:440, 1] = 10
    alarms = detector.alarms(new)
    assert len(alarms) == 1 and overlaps(alarms[0], 400, 450)
    if "nearest" in method or method == "auto":  # a network that reads all channels may be led astray by one in all
        assert alarms[0].channel == 1
    assert alarms[0].start <= alarms[0].peak < alarms[0].end and alarms[0].score > detector.threshold_
    scores = -detector.score_samples(new)
    assert scores[alarms[0].peak] == alarms[0].score == scores.max()
    flags = detector.predict(new)
    assert set(np.unique(flags)) == {-1, 1} and flags[alarms[0].peak] == -1
    np.testing.assert_array_equal(flags == -1, detector.decision_function(new) < 0)
    assert abs(np.median(scores[40:])) < 1  # usual steps are near 0


def test_a_spike_is_blamed_on_its_channel():
    detector = AnomalyDetector("forecast", smoothing=1, **QUICK).fit(beats(1500, 2))
    for channel in (0, 1):
        new = beats(400, 2, seed=1)
        new[250, channel] += 4
        alarms = detector.alarms(new, gap=0)
        assert (alarms[0].start, alarms[0].channel) == (250, channel)


def test_scores_are_of_the_past_alone(fitted):
    new = beats(300, 2, seed=2)
    whole = fitted.score_samples(new)
    np.testing.assert_array_equal(fitted.score_samples(new[:200]), whole[:200])
    window = fitted.design_["window"]
    assert (whole[: window - 1] == whole[0]).all() and whole[0] == whole.max()


def test_long_series_take_little_memory_and_have_the_same_bits(fitted):
    new = beats(9000, 2, seed=2)
    scores = fitted.score_samples(new)  # a stream
    np.testing.assert_array_equal(scores[:4000], fitted.score_samples(new[:4000]))  # a whole sequence


def test_seeds_are_bits(fitted):
    new = beats(300, 2, seed=2)
    again = AnomalyDetector(**QUICK).fit(beats(1500, 2))
    np.testing.assert_array_equal(again.score_samples(new), fitted.score_samples(new))
    other = AnomalyDetector(**{**QUICK, "random_state": 1}).fit(beats(1500, 2))
    assert (other.score_samples(new) != fitted.score_samples(new)).any()


@pytest.mark.parametrize("way", ["file", "pickle"])
def test_it_comes_back(fitted, tmp_path, way):
    new = beats(300, 2, seed=2)
    if way == "file":
        fitted.save(tmp_path / "d.safetensors")
        other = load(tmp_path / "d.safetensors")
    else:
        other = pickle.loads(pickle.dumps(fitted))
    assert type(other) is AnomalyDetector and other.get_params() == fitted.get_params()
    np.testing.assert_array_equal(other.score_samples(new), fitted.score_samples(new))
    assert other.alarms(new) == fitted.alarms(new) and other.tail_.keys() == fitted.tail_.keys()


def test_missing_values_are_no_alarms(fitted):
    new = beats(600, 2, seed=3)
    rng = np.random.default_rng(0)
    new[rng.random(new.shape) < 0.1] = np.nan
    new[300:340] = np.nan
    new[450:550, 0] = np.nan
    assert np.isfinite(fitted.score_samples(new)).all()
    assert fitted.alarms(new) == []
    new[500:505, 1] += 4
    alarms = fitted.alarms(new)
    assert len(alarms) == 1 and overlaps(alarms[0], 500, 510) and alarms[0].channel == 1


def test_training_data_may_miss_values():
    normal = beats(1500)
    normal[np.random.default_rng(0).random(1500) < 0.15] = np.nan
    detector = AnomalyDetector(**QUICK).fit(normal)
    new = beats(600, seed=1)
    new[np.random.default_rng(1).random(600) < 0.15] = np.nan
    new[300:320] = 12.5
    alarms = detector.alarms(new)
    assert len(alarms) == 1 and overlaps(alarms[0], 300, 325)


def test_anomalies_in_training_data_are_left_out():
    normal = beats(2000)
    clean = AnomalyDetector(**QUICK).fit(normal)
    assert clean.left_out_ == []
    for first in (420, 1333):
        normal[first : first + 30] = 13.5
    detector = AnomalyDetector(**QUICK).fit(normal)
    for first in (420, 1333):
        assert any(a <= first and b >= first + 30 for _, a, b in detector.left_out_)
    assert sum(b - a for _, a, b in detector.left_out_) < 300
    assert detector.threshold_ < 2 * clean.threshold_
    assert len(detector.alarms(normal)) == 2


def test_many_series_of_different_length():
    several = [beats(n, 2, seed=n) for n in (400, 25, 700, 3)]
    detector = AnomalyDetector(**QUICK).fit(several)
    scores = detector.score_samples(several)
    assert isinstance(scores, list) and [len(found) for found in scores] == [400, 25, 700, 3]
    np.testing.assert_array_equal(scores[0], detector.score_samples(several[0]))
    broken = several[0].copy()
    broken[200:240] = 10
    found = detector.alarms([broken, several[2]])
    assert len(found[0]) >= 1 and found[1] == []
    assert [len(flags) for flags in detector.predict(several)] == [400, 25, 700, 3]


def test_one_channel_may_be_a_vector():
    detector = AnomalyDetector("nearest", **QUICK).fit(beats(800)[:, 0])
    new = beats(200, seed=1)
    np.testing.assert_array_equal(detector.score_samples(new[:, 0]), detector.score_samples(new))


def test_contamination_is_the_part_of_alarms():
    normal = beats(1000)
    detector = AnomalyDetector(contamination=0.05, **QUICK).fit(normal)
    assert abs((detector.predict(normal) == -1).mean() - 0.05) <= 0.002
    assert detector.offset_ == -detector.threshold_


def test_fewer_false_alarms_mean_a_higher_threshold():
    thresholds = [
        AnomalyDetector("nearest", false_alarms=wished, **QUICK).fit(beats(1500)).threshold_
        for wished in (1e-2, 1e-4, 1e-6)
    ]
    assert thresholds[0] < thresholds[1] < thresholds[2]


def test_frames_give_names(fitted):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(beats(1500, 2), columns=["pump", "valve"])
    detector = AnomalyDetector(**QUICK).fit(frame)
    assert detector.feature_names_in_.tolist() == ["pump", "valve"]
    new = beats(300, 2, seed=1)
    new[150:180, 1] = 10
    assert detector.alarms(pandas.DataFrame(new, columns=["pump", "valve"]))[0].channel == "valve"
    with pytest.raises(ValueError, match="feature names should match"):
        detector.predict(pandas.DataFrame(new, columns=["valve", "pump"]))


def with_times(values, start="2024-03-29", zone="Europe/Berlin"):
    pandas = pytest.importorskip("pandas")
    index = pandas.date_range(start, periods=len(values), freq="h", tz=zone)
    return pandas.DataFrame(values, columns=["pump", "valve"], index=index)


def test_frames_with_times_have_gaps_filled():
    pandas = pytest.importorskip("pandas")
    detector = AnomalyDetector(**QUICK, false_alarms="1/month").fit(with_times(beats(1500, 2)))
    np.testing.assert_allclose(detector.false_alarms_, 1 / 730.5, rtol=1e-3)
    new = beats(300, 2, seed=1)
    new[200:220, 1] = 10
    frame = with_times(new, "2024-10-25")  # through the change of clocks
    whole = detector.score_samples(frame)
    assert isinstance(whole, pandas.Series) and whole.index.equals(frame.index)
    np.testing.assert_array_equal(
        whole.to_numpy(), detector.score_samples(pandas.DataFrame(new, columns=["pump", "valve"]))
    )
    gone = [*range(50, 58), 120]
    holes = new.copy()
    holes[gone] = np.nan
    fewer = frame.drop(frame.index[gone])
    scores = detector.score_samples(fewer)
    assert scores.index.equals(fewer.index)
    expected = detector.score_samples(pandas.DataFrame(holes, columns=["pump", "valve"]))
    np.testing.assert_array_equal(scores, np.delete(expected, gone))
    turned = fewer.iloc[::-1]
    np.testing.assert_array_equal(detector.score_samples(turned), scores[::-1])
    assert set(detector.predict(fewer)) == {-1, 1} and detector.contributions(fewer).shape == (291, 2)
    (alarm,) = detector.set_false_alarms("1 per year").alarms(fewer)
    assert frame.index[199] <= alarm.start <= alarm.peak <= alarm.end <= frame.index[250] and alarm.channel == "valve"
    assert detector.hindsight_scores(fewer).idxmax() in frame.index[180:225]


def test_a_pandas_series_with_times():
    pandas = pytest.importorskip("pandas")
    values = pandas.Series(beats(400)[:, 0], index=pandas.date_range("2024", periods=400, freq="min"))
    detector = AnomalyDetector("nearest", false_alarms="1/week", **QUICK).fit(values)
    assert detector.n_features_in_ == 1 and not hasattr(detector, "feature_names_in_")
    scores = detector.score_samples(values.drop(values.index[200]))
    assert isinstance(scores, pandas.Series) and len(scores) == 399
    np.testing.assert_array_equal(scores[:200], detector.score_samples(values.to_numpy())[:200])


def test_times_may_be_a_column():
    polars = pytest.importorskip("polars")
    values = beats(800, 2)
    times = np.datetime64("2024-01-01", "us") + np.arange(800) * np.timedelta64(5, "m")
    table = polars.DataFrame({"when": times, "pump": values[:, 0], "valve": values[:, 1]})
    detector = AnomalyDetector("nearest", time="when", false_alarms="1/week", **QUICK).fit(table)
    assert detector.feature_names_in_.tolist() == ["pump", "valve"]
    np.testing.assert_allclose(detector.false_alarms_, 1 / 2016, rtol=1e-6)
    scores = detector.score_samples(table.filter(polars.int_range(800) != 400))
    assert isinstance(scores, np.ndarray) and len(scores) == 799
    with pytest.raises(ValueError, match="there is no column 'when'"):
        detector.predict(table.drop("when"))
    with pytest.raises(ValueError, match="what came is no frame"):
        AnomalyDetector("nearest", time="when", **QUICK).fit(values)
    with pytest.warns(UserWarning, match="feature names"):
        np.testing.assert_array_equal(detector.score_samples(values), detector.score_samples(table))


def test_hindsight_is_where_the_anomaly_is(fitted):
    new = beats(600, 2, seed=4)
    new[300:330] = 10
    scores, back = -fitted.score_samples(new), fitted.hindsight_scores(new)
    window = fitted.design_["window"]
    np.testing.assert_allclose(back[250], scores[250 : 250 + window].mean())
    np.testing.assert_allclose(back[-1], scores[-1])
    true = np.arange(600) // 30 == 10
    assert vus_pr(true, back, 20) > vus_pr(true, scores, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "forcast"}, "method: unknown method 'forcast'.*did you mean 'forecast'"),
        ({"method": ()}, "method: expected"),
        ({"method": ("nearest", "nearest")}, "method: the same method twice"),
        ({"window": 1}, "window"),
        ({"window": 1000}, "window: 1000 steps, but the longest series has 200"),
        ({"window": 160}, "window: 160 steps, but 160 of the 200 steps .* are trained on .*: at most 159"),
        ({"window": 161, "method": "nearest"}, "window: 161 steps, .*: at most 160"),
        ({"horizon": 161}, "horizon: 161 steps, .*: at most 160"),
        ({"horizon": 111, "season": 50}, "horizon: 111 steps, .*: at most 110 beside a season of 50"),
        ({"season": 95, "validation_fraction": 0.6}, "season: 95 steps, .*: at most 79 beside a horizon of 1"),
        ({"season": 150}, "season: 150 steps"),
        ({"horizon": 0}, "horizon"),
        ({"smoothing": 0}, "smoothing"),
        ({"units": ()}, "units"),
        ({"units": 0}, "units"),
        ({"cell": "grru"}, "cell: unknown cell 'grru'.*did you mean 'gru'"),
        ({"contamination": 0.7}, "contamination"),
        ({"contamination": 0}, "contamination"),
        ({"false_alarms": 0}, "false_alarms"),
        ({"false_alarms": 2}, "false_alarms"),
        ({"false_alarms": "1/day"}, "false_alarms: '1/day' is for data with times"),
        ({"false_alarms": "often"}, "false_alarms: expected a number of alarms a step, or text"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"validation_fraction": 1}, "validation_fraction"),
        ({"ensemble": 0}, "ensemble"),
        ({"verbose": 3}, "verbose"),
        ({"random_state": "x"}, "random_state"),
        ({"latent": 0}, "latent"),
        ({"prototypes": 0}, "prototypes"),
    ],
)
def test_parameters_that_cannot_be(change, message):
    with pytest.raises((ValueError, TypeError), match=f"AnomalyDetector: {message}"):
        AnomalyDetector(**{**QUICK, **change}).fit(beats(200))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "nearest", "window": 24},
        {"method": "reconstruction", "window": 23},
        {"method": "forecast", "horizon": 24},
        {"method": "forecast", "horizon": 14, "season": 10},
        {"validation_fraction": 0.9},
    ],
)
def test_the_longest_that_are_allowed_are_trained(change):
    detector = AnomalyDetector(**{**QUICK, "epochs": 1, **change}).fit(beats(30))
    assert np.isfinite(detector.score_samples(beats(60))).all()


def test_too_little_to_train_on():
    with pytest.raises(ValueError, match=r"validation_fraction: 0.9 leaves too little: 1 of the 8 steps"):
        AnomalyDetector(**QUICK, validation_fraction=0.9).fit(beats(8))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "X: expected an array of numbers"),
        ("text", "got a str"),
        ([], r"0 sample|expected at least one|0 feature"),
        (np.zeros((3, 1)), "n_samples=3"),
        (np.zeros((20, 0)), "0 feature"),
        (np.full((50, 1), np.inf), "infinity"),
        (np.zeros((50, 2), complex), "Complex"),
        (np.array([["a"]] * 20), "could not convert"),
        (np.zeros((2, 3, 4, 5)), "expected shape"),
        ([np.zeros((20, 2)), np.zeros((20, 3))], "series 1: it has 3 channels, the first one has 2"),
        (np.ma.masked_array(np.ones((20, 1)), np.eye(20, 1)), "masked"),
        (np.stack([np.ones(30), np.full(30, np.nan)], axis=1), "every value of channel 1 is missing"),
    ],
)
def test_data_that_cannot_be(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        AnomalyDetector(**QUICK).fit(given)


def test_constant_data_have_no_alarms_until_they_change():
    detector = AnomalyDetector(**QUICK).fit(np.full(200, 7.0))
    assert detector.alarms(np.full(100, 7.0)) == []
    new = np.full(100, 7.0)
    new[60:] = 9
    assert detector.alarms(new)[0].start == 60


def test_scikit_learns_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    small = {"units": 4, "epochs": 1, "prototypes": 8, "random_state": 0}
    results = checks.check_estimator(
        AnomalyDetector(contamination=0.1, **small),
        on_fail=None,
        on_skip=None,
        expected_failed_checks=AnomalyDetector.expected_failed_checks,
    )
    assert not [r for r in results if r["status"] == "failed"]
    # Only what must fail does.
    failed = {r["check_name"] for r in results if r["status"] == "xfail"}
    assert failed == {"check_methods_sample_order_invariance", "check_methods_subset_invariance", "check_fit1d"}


def test_before_fit():
    for call in ("predict", "score_samples", "decision_function", "alarms", "contributions"):
        with pytest.raises(rekur.tasks.NotFittedError):
            getattr(AnomalyDetector(), call)(np.zeros((20, 1)))


def test_an_ensembles_error_is_the_mean_of_its_members():
    detector = AnomalyDetector("forecast", ensemble=3, smoothing=1, **QUICK).fit(beats(800))
    mean = next(layer for layer in detector.models_[0].layers if layer.name.startswith("ensemble"))
    seen = rekur.Model(detector.models_[0].inputs, [mean.input, mean.output])
    members, averaged = seen.predict(beats(200, seed=1)[None].astype(np.float32), verbose=0)
    assert members.shape == (1, 200, 3) and np.ptp(members[0, 100:], axis=1).max() > 0  # three networks, not one thrice
    np.testing.assert_allclose(averaged[..., 0], members.mean(axis=-1), rtol=1e-5, atol=1e-7)


def test_a_season_is_read():
    """Days that resemble the day before and nothing else: only who reads the last season can say what comes."""
    rng = np.random.default_rng(0)
    days = [rng.normal(size=24)]
    for _ in range(80):
        days.append(0.98 * days[-1] + 0.2 * rng.normal(size=24))
    series = np.concatenate(days)[:, None]
    common = {**QUICK, "epochs": 8, "smoothing": 1, "window": 24}
    blind = AnomalyDetector("forecast", **common).fit(series[:1600])
    seasonal = AnomalyDetector("forecast", season=24, **common).fit(series[:1600])
    assert seasonal.scales_[0] < 0.3 * blind.scales_[0]
    new = series[1600:].copy()
    new[200] = -new[176] - 3 * np.sign(new[176])  # nothing that is far from all values, but far from yesterday's
    assert np.argmax(-seasonal.score_samples(new)) in (200, 224)
    assert seasonal.predict(new)[200] == -1 and blind.predict(new)[200] == 1
