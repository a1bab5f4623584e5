"""AnomalyDetector one step at a time: streams, thresholds that adapt, ONNX, C++."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from cpp_tools import CXX, library, run
from rekur.tasks import AnomalyDetector
from rekur.tasks.anomalies._spot import Spot, without_drift
from rekur.tasks.anomalies._tail import Tail
from test_tasks_anomalies import QUICK, beats

SETTINGS: list[dict[str, Any]] = [
    {"method": "auto"},
    {"method": "forecast", "horizon": 3, "season": 20, "cell": "lstm", "units": (6, 4), "smoothing": 1},
    {"method": ("reconstruction", "nearest"), "window": 12, "ensemble": 2, "dropout": 0.1},
    {"method": "forecast", "cell": "min_gru", "ensemble": 2},
]


@pytest.fixture(scope="module", params=range(len(SETTINGS)))
def fitted(request: Any) -> AnomalyDetector:
    normal = beats(700, 2)
    normal[::17, 1] = np.nan
    return AnomalyDetector(**{**QUICK, "epochs": 1, **SETTINGS[request.param]}).fit(normal)


@pytest.fixture(scope="module")
def new() -> Any:
    values = beats(260, 2, seed=5)
    values[150:175, 0] = 10
    values[100:110] = np.nan
    values[230, 1], values[231, 0] = 3e38, -3e38
    return values


def test_what_is_endlessly_far_is_an_alarm(fitted, new):
    scores = fitted.score_samples(new)
    assert np.isfinite(scores).all() and (fitted.predict(new)[230:232] == -1).all()
    wild = np.array(new, np.float32)
    wild[230, 1], wild[231, 0] = np.inf, -np.inf  # which C++ and ONNX may get
    np.testing.assert_array_equal(-fitted.models_[0].predict(wild[None], verbose=0)[0][0, :, 0], scores)
    live = fitted.stream()
    for x in new[:40]:
        live.update(x)
    with pytest.raises(ValueError, match="AnomalyDetector: update: Input contains infinity"):
        live.update([10.0, np.inf])
    with pytest.raises(ValueError, match="AnomalyDetector: process: Input contains infinity or a value too large"):
        live.process([[10.0, 1e300]])
    assert live.update(new[40]).score == -scores[40]  # nothing has stepped


def test_a_stream_has_the_bits_of_the_whole(fitted, new):
    scores, flags = -fitted.score_samples(new), fitted.predict(new)
    live = fitted.stream()
    found = [live.update(x) for x in new]
    np.testing.assert_array_equal([v.score for v in found], scores)
    np.testing.assert_array_equal([v.alarm for v in found], flags == -1)
    assert isinstance(found[0].score, float) and found[0].alarm in (True, False) and found[0].channel in (0, 1)
    np.testing.assert_array_equal([v.channel for v in found], fitted.contributions(new).argmax(axis=1))
    live.reset()
    score, alarm, _ = live.process(new[:100])
    more = live.process(new[100:])
    np.testing.assert_array_equal(np.concatenate([score, more.score]), scores)
    np.testing.assert_array_equal(np.concatenate([alarm, more.alarm]), flags == -1)
    two = fitted.stream(rows=2)
    sides = [two.update(np.stack([x, y])) for x, y in zip(new, new[::-1], strict=True)]
    np.testing.assert_array_equal([v.score[0] for v in sides], scores)
    np.testing.assert_array_equal([v.score[1] for v in sides], -fitted.score_samples(new[::-1]))


def test_onnx_has_scores_and_alarms(fitted, new, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    fitted.export_onnx(tmp_path / "d.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "d.onnx")
    assert [value.name for value in session.get_inputs()] == ["values"]
    names = [value.name for value in session.get_outputs()]
    assert names == ["score", "alarm", "contributions"]
    found = dict(zip(names, session.run(None, {"values": new[None].astype(np.float32)}), strict=True))
    scores = -fitted.score_samples(new)
    np.testing.assert_allclose(found["score"][0, :, 0], scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found["contributions"][0], fitted.contributions(new), rtol=1e-3, atol=1e-3)
    clear = np.abs(scores - fitted.threshold_) > 0.01
    np.testing.assert_array_equal(found["alarm"][0, clear, 0] == 1, scores[clear] > fitted.threshold_)


def test_onnx_of_one_step(fitted, new, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    fitted.export_onnx(tmp_path / "d.onnx", streaming=True)
    session = onnxruntime.InferenceSession(tmp_path / "d.onnx")
    states = rekur.onnx.metadata(tmp_path / "d.onnx").states.states
    names = [value.name for value in session.get_outputs()]
    now = {s.input: np.zeros((1, s.units), np.float32) for s in states}
    scores = []
    for x in new.astype(np.float32):
        found = dict(zip(names, session.run(None, {"values": x[None], **now}), strict=True))
        scores.append(float(found["score"][0, 0]))
        now = {s.input: found[s.output] for s in states}
    np.testing.assert_allclose(scores, -fitted.score_samples(new), rtol=1e-3, atol=1e-3)


MAIN = """
#include "detector.hpp"
#include <rekur/stream.hpp>
#include <cstdio>

int main() {
  const rekur::Model model = detector::model();
  rekur::Stream stream(model);
  float x[CHANNELS], score, alarm, contributions[CHANNELS];
  while (std::fread(x, sizeof x, 1, stdin) == 1) {
    const void* const inputs[] = {x};
    float* const outputs[] = {&score, &alarm, contributions};
    stream.step(inputs, outputs);
    std::fwrite(&score, sizeof score, 1, stdout);
    std::fwrite(&alarm, sizeof alarm, 1, stdout);
  }
}
"""


def test_cpp_has_the_bits(fitted, new, tmp_path):
    built = library()
    fitted.export_cpp(tmp_path / "detector.hpp")
    (tmp_path / "main.cpp").write_text(MAIN.replace("CHANNELS", "2"))
    program = built.compile(tmp_path / "main.cpp", tmp_path / "main", f"-I{tmp_path}")
    check(program, fitted, new)


STATIC = """
#include "detector.hpp"
#include <cstdio>

int main() {
  static detector::Model model;
  float x[CHANNELS], score, alarm, contributions[CHANNELS];
  while (std::fread(x, sizeof x, 1, stdin) == 1) {
    model.step(x, &score, &alarm, contributions);
    std::fwrite(&score, sizeof score, 1, stdout);
    std::fwrite(&alarm, sizeof alarm, 1, stdout);
  }
}
"""


@pytest.mark.skipif(CXX is None, reason="no C++ compiler")
def test_cpp_without_a_library(fitted, new, tmp_path):
    if not (Path(rekur.__file__).parent / "_compile_include").is_dir():
        pytest.skip("the package is not installed: its headers are not there")
    fitted.export_cpp(tmp_path / "detector.hpp", static=True)
    (tmp_path / "main.cpp").write_text(STATIC.replace("CHANNELS", "2"))
    run([CXX, "-std=c++20", "-O1", f"-I{tmp_path}", tmp_path / "main.cpp", "-o", tmp_path / "main"])
    check(tmp_path / "main", fitted, new, exact=False)


def check(program: Path, fitted: AnomalyDetector, new: Any, exact: bool = True) -> None:
    import subprocess

    done = subprocess.run([program], input=new.astype(np.float32).tobytes(), capture_output=True, check=True)
    score, alarm = np.frombuffer(done.stdout, np.float32).reshape(-1, 2).T
    scores = -fitted.score_samples(new)
    if exact:
        np.testing.assert_array_equal(score, scores)
        np.testing.assert_array_equal(alarm == 1, fitted.predict(new) == -1)
    else:
        np.testing.assert_allclose(score, scores, rtol=1e-3, atol=1e-3)


# Thresholds that adapt.


def test_spot_rises_where_noise_has_grown():
    rng = np.random.default_rng(0)
    tail = Tail.of([rng.exponential(size=2000)], apart=1)
    spot = Spot(tail, 1e-3)
    begin = spot.threshold
    assert begin == tail.threshold(1e-3)
    for score in 1.3 * rng.exponential(size=15_000):
        spot.update(float(score))
    # What is alarmed is not learned from: excesses are cut off at the threshold, and it goes part of the way.
    assert begin + 0.15 < spot.threshold < tail.level + 1.3 * np.log(0.05 / 1e-3)


def test_spot_learns_nothing_from_alarms():
    rng = np.random.default_rng(0)
    spot = Spot(Tail.of([rng.exponential(size=2000)], apart=1), 1e-4)
    before = spot.threshold
    assert all(spot.update(50.0) for _ in range(500))
    assert spot.threshold == before and not spot.update(float("nan")) and not spot.update(0.1)


def test_dspot_follows_a_drift():
    rng = np.random.default_rng(0)
    normal = rng.exponential(size=3000)
    depth = 200
    spot = Spot(Tail.of([without_drift(normal, depth)], apart=1), 1e-4, depth, normal)
    drift = np.linspace(0, 20, 8000)
    alarms = [spot.update(float(s)) for s in drift + rng.exponential(size=8000)]
    assert np.mean(alarms) < 2e-3 and spot.threshold > 20
    assert spot.update(60.0)


def test_drift_is_the_mean_before():
    scores = np.array([np.nan, 1, 2, 3, np.nan, 5, 6])
    np.testing.assert_allclose(without_drift(scores, 2), [np.nan, np.nan, 1, 1.5, np.nan, 2, 1])


def test_streams_that_adapt():
    detector = AnomalyDetector("nearest", **QUICK).fit(beats(900))
    scores = -detector.score_samples(beats(300, seed=3))
    live = detector.stream(adapt="spot")
    assert live.threshold == detector._tail.threshold(1e-4)
    found = live.process(beats(300, seed=3))
    np.testing.assert_array_equal(found.score, scores)
    assert live.threshold != detector._tail.threshold(1e-4) and not found.alarm.any()
    assert live.update(99.0).alarm
    drifting = detector.stream(adapt="dspot", depth=50, normal=beats(900))
    assert not drifting.process(beats(300, seed=3)).alarm.any()
    for wrong, message in (
        ({"adapt": "sport"}, "adapt: expected None, 'spot' or 'dspot'"),
        ({"adapt": "dspot"}, "normal="),
        ({"adapt": "dspot", "normal": beats(100)}, "normal: 100 steps"),
        ({"normal": beats(100)}, "normal and false_alarms"),
        ({"rows": 0}, "rows"),
        ({"adapt": "spot", "false_alarms": 7}, "false_alarms"),
    ):
        with pytest.raises(ValueError, match=f"AnomalyDetector: stream: .*{message}"):
            detector.stream(**wrong)
    with pytest.raises(ValueError, match="input 'values'"):
        live.update([1.0, 2.0])


def test_another_rate_without_training():
    detector = AnomalyDetector("nearest", **QUICK).fit(beats(900))
    before = detector.threshold_
    assert detector.set_false_alarms(1e-6).threshold_ > before and detector.false_alarms == 1e-6
    with pytest.raises(ValueError, match="false_alarms"):
        detector.set_false_alarms(0)


def test_summary_and_pictures(capsys):
    normal = beats(900)
    normal[200:203] = np.nan
    detector = AnomalyDetector("forecast", season=20, **QUICK).fit(normal)
    detector.summary()
    text = capsys.readouterr().out
    for part in (
        "900 steps of 1 channel",
        "forecast",
        "season 20",
        "val_loss",
        "one false alarm in 10,000",
        "3 of 900",
    ):
        assert part in text
    pytest.importorskip("matplotlib")
    new = beats(300, seed=1)
    new[100:130] = 10
    figure = detector.plot(new, labels=(np.arange(300) // 30 == 3))
    assert len(figure.axes) == 2
    assert detector.plot_threshold().axes
    with pytest.raises(ValueError, match="one series to plot"):
        detector.plot([new, new])
