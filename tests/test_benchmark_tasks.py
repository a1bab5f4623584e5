"""benchmarks/tasks: the data of packages, the scores, the table, what a run keeps."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from rekur.data.hourly import MissingData

HERE = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (HERE / "benchmarks" / "tasks").exists(), reason="the benchmarks are not here")
sys.path.insert(0, str(HERE))

from benchmarks.tasks import __main__ as program  # noqa: E402
from benchmarks.tasks import (  # noqa: E402
    anomaly_baselines,
    forecast_baselines,
    forecast_ours,
    labelled,
    scores,
    series,
    signals,
    texts,
)
from benchmarks.tasks.contender import BASELINE, PEER, Clock, Contender, Result, measure  # noqa: E402
from benchmarks.tasks.table import table  # noqa: E402


def made(name):
    """A task, or a skip that names the package it needs."""
    kind = next(module for module in (series, labelled, signals, texts) if name in module.TASKS)
    try:
        return kind.TASKS[name]()
    except MissingData as absent:
        pytest.skip(str(absent))


@pytest.fixture
def waves():
    """Two series with a season of 4, one of them with gaps."""
    steps = np.arange(80)
    values = [10 + np.sin(steps * math.pi / 2) + 0.01 * steps, 100 + 5 * np.cos(steps * math.pi / 2) - 0.02 * steps]
    values[1][[11, 71]] = np.nan
    ones = tuple(
        series.Series(f"s{k}", np.datetime64("2020-01-01", "D"), one, series.last_origins(80, 4, 3, 4))
        for k, one in enumerate(values)
    )
    return series.ForecastTask("waves", "Waves", "made", "D", np.timedelta64(1, "D"), 4, 4, ones)


def test_origins_end_with_the_series(waves):
    one = waves.series[0]
    assert one.origins == (68, 72, 76) and len(one.train) == 68
    assert waves.times(one, 78, 82).tolist() == waves.times(one, 78, 80).tolist() + [
        int(np.datetime64(day, "ns").astype(int)) for day in ("2020-03-21", "2020-03-22")
    ]
    np.testing.assert_array_equal(waves.truth(one)[2], one.values[76:80])


def test_grid_takes_means_and_leaves_gaps():
    minute = np.timedelta64(1, "m")
    times = [np.datetime64("2020-01-01T00:00:00") + minute * k for k in (0, 5, 6, 20)]
    start, values = series.on_grid(zip(times, [1.0, 2.0, 4.0, 8.0], strict=True), 5 * minute)
    assert start == times[0]
    np.testing.assert_array_equal(values, [1, 3, np.nan, np.nan, 8])


def test_forecast_scores_by_hand(waves):
    width = np.linspace(-1, 1, 9)
    quantiles = [waves.truth(one)[..., None] + width for one in waves.series]
    quantiles[1] = np.where(np.isnan(quantiles[1]), 100 + width, quantiles[1])
    perfect = scores.forecast_scores(waves, quantiles)
    assert perfect["MASE"] == pytest.approx(0, abs=1e-9) and perfect["80 %"] == 100
    late = scores.forecast_scores(waves, [one + 2.0 for one in quantiles])
    scale = [scores.naive_error(one.train, 4) for one in waves.series]
    assert scale[0] == pytest.approx(0.04)  # the drift of one season
    assert late["MASE"] == pytest.approx(np.mean([2.0 / one for one in scale])) and late["80 %"] == 0
    without_width = [np.repeat(one[..., 4:5] + 2.0, 9, axis=-1) for one in quantiles]
    same = scores.forecast_scores(waves, without_width)
    assert same["CRPS"] == pytest.approx(same["MASE"])  # a forecast without a width
    with pytest.raises(ValueError, match="expected quantiles"):
        scores.forecast_scores(waves, [one[:, :2] for one in quantiles])
    with pytest.raises(ValueError, match="not finite"):
        scores.forecast_scores(waves, [one * np.nan for one in quantiles])


def test_crps_is_that_of_many_quantiles(waves):
    """Against the closed form of a normal distribution (Gneiting and Raftery 2007), which nine levels come near to."""
    truth, sigma = 0.3, 1.7
    levels = np.array(scores.LEVELS)
    normal = pytest.importorskip("scipy.stats").norm
    z = truth / sigma
    exact = sigma * (z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi))
    nine = 2 * scores.pinball(np.array(truth), normal.ppf(levels) * sigma).mean()
    assert nine == pytest.approx(exact, rel=0.15)


def test_naive_forecasts(waves):
    one = waves.series[0]
    np.testing.assert_array_equal(forecast_baselines.repeat(one.values, 68, 6, 4), one.values[[64, 65, 66, 67, 64, 65]])
    gappy = waves.series[1].values  # row 71 is missing: the last reading is the one before
    np.testing.assert_array_equal(forecast_baselines.repeat(gappy, 72, 2, 1), gappy[[70, 70]])
    seasonal, last = forecast_baselines.CONTENDERS
    good, bad = measure(seasonal, waves, 0), measure(last, waves, 0)
    assert not good.failed and not bad.failed and good.scores["MASE"] < bad.scores["MASE"] / 5
    assert good.scores["80 %"] > 50


def test_every_origin_gets_its_own_forecast(waves):
    """A model that says how many rows it was given, whatever order its table comes back in."""

    class Counting:
        def __init__(self):
            self.plan_ = {"context": 60}  # so that histories differ in length

        def predict_quantiles(self, table, quantiles):
            names, count = np.unique(table["series"], return_counts=True)
            last = {name: table["time"][table["series"] == name].max() for name in names}
            rows = [(name, step, n) for name, n in zip(names, count, strict=True) for step in range(waves.horizon)]
            rows = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
            out = {"series": [name for name, _, _ in rows]}
            out["time"] = np.array([last[name] + np.timedelta64(step + 1, "D") for name, step, _ in rows])
            for level in quantiles:
                out[f"value {level:g}"] = [n + 0.1 * step + level for _, step, n in rows]
            return out

    for one, answer in zip(waves.series, forecast_ours.quantiles(waves, Counting()), strict=True):
        expected = np.array(one.origins)[:, None, None] + 0.1 * np.arange(4)[:, None] + np.array(scores.LEVELS)
        np.testing.assert_allclose(answer, expected)


def test_alarms_meet_anomalies():
    labels = np.zeros(1000, np.int64)
    labels[300:320] = labels[700:740] = 1
    task = signals.AnomalyTask("a", "A", "made", np.zeros((10, 1)), np.zeros((1000, 1)), labels, 20)
    met = scores.alarm_scores(task, [(325, 330), (339, 345), (100, 110), (680, 700), (600, 605)])
    assert met == {"caught": 0.5 + 0.0, "false alarms": 3.0}
    assert scores.alarm_scores(task, [(325, 330), (690, 720)]) == {"caught": 1.0, "false alarms": 0.0}


def test_anomaly_scores():
    labels = np.zeros(1000, np.int64)
    labels[300:320] = labels[700:740] = 1
    task = signals.AnomalyTask("a", "A", "made", np.zeros((10, 1)), np.zeros((1000, 1)), labels, 20)
    assert task.windows == [(300, 320), (700, 740)]
    score = np.zeros(1000)
    score[310] = 2
    score[500] = 1.5
    score[730] = 1
    found = scores.anomaly_scores(task, score)
    assert found["found"] == 1 and found["all found"] == 0.5  # the second highest peak is not an anomaly
    score[500] = 0.5
    assert scores.anomaly_scores(task, score)["all found"] == 1
    assert scores.anomaly_scores(task, -score)["found"] == 0
    with pytest.raises(ValueError, match="one finite score"):
        scores.anomaly_scores(task, score[:-1])


def test_average_precision_is_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    for _ in range(20):
        labels = (generator.random(60) < 0.3).astype(np.int64)
        labels[0] = 1
        score = generator.integers(0, 8, 60).astype(float)  # many equal ones
        assert scores.average_precision(labels, score) == pytest.approx(metrics.average_precision_score(labels, score))


def test_scores_of_windows_become_scores_of_steps():
    each = anomaly_baselines.of_steps(np.array([0.0, 3.0, 0.0]), 2, 4)
    np.testing.assert_allclose(each, [0, 1.5, 1.5, 0])
    assert anomaly_baselines.windows(np.arange(10.0).reshape(5, 2), 3).shape == (3, 6)


def test_ts_files(tmp_path):
    file = tmp_path / "x.ts"
    file.write_text("# a note\n@univariate false\n@data\n1,2,3:4,5,6:walk\n7,8:9,NaN:run\n")
    sequences, labels = labelled.read_ts(file)
    assert labels.tolist() == ["walk", "run"] and [one.shape for one in sequences] == [(3, 2), (2, 2)]
    np.testing.assert_array_equal(sequences[0], [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(sequences[1], [[7, 9], [8, np.nan]])


SHAPES = {
    "airports": (3, 8730, 180),
    "co2": (1, 2284, 18),
    "sunspots": (1, 3126, 60),
    "sea": (1, 19249, 60),
    "glucose": (1, 57770, 240),
    "m1-yearly": (181, 28, 181),
}


@pytest.mark.parametrize("name", series.TASKS)
def test_series_of_packages(name):
    task = made(name)
    assert (len(task.series), len(task.series[0].values), task.forecasts) == SHAPES[name]
    for one in task.series:
        assert one.origins[-1] + task.horizon == len(one.values)
        assert np.isfinite(one.train).mean() > 0.85 and len(one.train) > task.season


SETS = {
    "japanese-vowels": (270, 370, 12, 9, True),
    "basic-motions": (40, 40, 6, 4, False),
    "italy-power": (67, 1029, 1, 2, False),
    "gun-point": (50, 150, 1, 2, False),
    "arrow-head": (36, 175, 1, 3, False),
    "osu-leaf": (200, 242, 1, 6, False),
    "pickup-gesture": (50, 50, 1, 10, True),
}


@pytest.mark.parametrize("name", labelled.TASKS)
def test_labelled_sequences_of_packages(name):
    task = made(name)
    shape = (len(task.train), len(task.test), task.train[0].shape[1], len(set(task.train_labels)), task.ragged)
    assert shape == SETS[name] and set(task.test_labels) <= set(task.train_labels)


@pytest.mark.parametrize(("name", "anomalies"), [("internal-bleeding", 1), ("ecg", 3), ("daphnet", 0)])
def test_signals_of_packages(name, anomalies):
    task = made(name)
    assert len(task.windows) == anomalies and len(task.test) == len(task.labels)
    assert np.isfinite(task.train).all() and np.isfinite(task.test).all()


def test_pairs_are_the_same_everywhere():
    dates, grammar = texts.dates(), texts.grammar()
    assert dates.train[:2] == [("26-JAN-2066", "2066-01-26"), ("18.02.2037", "2037-02-18")]
    assert len(dates.train) == 10_000 and len(dates.test) == 2_000
    assert grammar.train[0] == ("walk thrice and look right", "W W W > L")
    assert ("jump left after turn left thrice", "< < < < J") in grammar.train
    for task in (dates, grammar):
        assert not {source for source, _ in task.train} & {source for source, _ in task.test}


def test_manuals_are_of_python():
    task = texts.manuals()
    assert len(task.train) > 300_000 and "statement" in task.train and len(task.test) > 30_000


def test_fortunes_without_the_package(monkeypatch, tmp_path):
    monkeypatch.setattr(texts, "FORTUNES", tmp_path / "no")
    with pytest.raises(MissingData, match="fortunes"):
        texts.fortunes()
    for topic, words in {"cats": "purr", "dogs": "bark"}.items():
        (tmp_path / topic).write_text("\n%\n".join(f"{words} {k}" for k in range(8)) + "\n%\n", encoding="utf-8")
    (tmp_path / "few").write_text("one\n%\ntwo\n", encoding="utf-8")
    monkeypatch.setattr(texts, "FORTUNES", tmp_path)
    task = texts.fortunes(least=8)
    assert sorted(set(task.train_labels)) == ["cats", "dogs"] and len(task.test) == 4 and len(task.train) == 12


def test_a_failure_is_a_result():
    def run(task, seed, clock):
        raise RuntimeError("no\nmore")

    task = signals.AnomalyTask("a", "A", "made", np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1, np.int64), 1)
    result = measure(Contender("broken", PEER, run), task, 3)
    assert result.failed == "RuntimeError: no" and result.seed == 3
    text = table("Title", [result, Result("a", "whole", BASELINE, 0, {"AP": 0.5}, 1.0, 0.02)], [("AP", 2, 1)])
    assert "| broken | – | – | – | – | 0 |" in text and "broken failed: RuntimeError: no" in text
    assert "| whole | **0.50** | 1.0 s | – | 20.0 ms | 1 |" in text


def test_table_takes_means_over_seeds():
    runs = [Result("a", "x", PEER, seed, {"MASE": value}, 2.0, 1.0) for seed, value in enumerate((1.0, 3.0))]
    rival = Result("a", "y", BASELINE, 0, {"MASE": 2.5}, 0.1, 0.001)
    text = table("T", [*runs, rival], [("MASE", 2, -1), ("never", 1, 1)])
    assert "| x | **2.00 ± 1.41** | 2.0 s | – | 1.0 s | 2 |" in text and "| y | 2.50 |" in text and "never" not in text


def test_times_of_a_busy_machine_stand_in_brackets():
    runs = [Result("a", "x", PEER, seed, {"AP": 0.5}, 10.0, 1.0, 4.0, load) for seed, load in enumerate((9.0, 8.0))]
    assert "| (10 s) | 4.0 s | (1.0 s) | 2 |" in table("T", runs, [("AP", 2, 1)])
    runs.append(Result("a", "x", PEER, 2, {"AP": 0.5}, 2.0, 0.2, 3.0, 1.5))
    assert "| 2.0 s | 3.0 s | 0.2 s | 3 |" in table("T", runs, [("AP", 2, 1)])


def test_latency_is_printed(capsys):
    from benchmarks.tasks import latency

    arguments = ["--only", "anomalies", "--no-peers", "--seconds", "0.02", "--rounds", "1"]
    assert latency.main(arguments) == 0
    said = capsys.readouterr().out
    assert "AnomalyDetector.stream, a step | 0." in said and "import rekur.tasks" in said


def test_program_keeps_what_it_ran(tmp_path, capsys):
    file = tmp_path / "results.json"
    arguments = ["--only", "grammar", "--no-peers", "--no-ours", "--json", str(file)]
    assert program.main(arguments) == 0
    first = capsys.readouterr()
    assert (
        "A small grammar" in first.out and "| nearest source |" in first.out and "nearest source, seed 0" in first.err
    )
    kept = json.loads(file.read_text())["results"]
    assert len(kept) == 1 and kept[0]["task"] == "grammar" and 0 < kept[0]["scores"]["exact"] < 0.9
    assert program.main(arguments) == 0
    again = capsys.readouterr()
    assert "seed 0" not in again.err and "| nearest source |" in again.out  # not run again
    assert program.main([*arguments, "--print"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--only", "weather"], "unknown weather"), (["--seeds", "0"], "at least 1"), (["--print"], "needs --json")],
)
def test_program_says_what_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit):
        program.main(arguments)
    assert message in capsys.readouterr().err


def test_program_names_what_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(texts, "FORTUNES", Path("/no/such/place"))
    assert program.main(["--only", "fortunes", "--no-peers", "--no-ours"]) == 0
    assert "left out: this data set comes from Debian's package 'fortunes'" in capsys.readouterr().out


def test_clock_adds_up():
    clock = Clock()
    for _ in range(2):
        with clock.fitting():
            sum(range(200_000))
    assert clock.fit > 0 and clock.cpu > 0 and clock.predict == 0
