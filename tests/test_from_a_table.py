"""From a table to a deployed forecaster, as a newcomer goes: temperatures of vega_datasets as a CSV, one command.

The command has two minutes; what it writes is opened: the report in Chromium, the ONNX file in onnxruntime.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from chromium import Chromium
from rekur import tasks
from web_tools import chromium

_ROWS = 2000  # hours; the whole year is as quick to read, and longer to learn than a test should take


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command has written."""
    local = pytest.importorskip("vega_datasets").local_data
    for extra in ("matplotlib", "pandas"):
        pytest.importorskip(extra)
    folder = tmp_path_factory.mktemp("table")
    local.sf_temps().iloc[:_ROWS].to_csv(folder / "data.csv", index=False)
    options = ["--time", "date", "--target", "temp", "--horizon", "24", "--seed", "1", "--quiet"]
    command = ["forecast", str(folder / "data.csv"), *options, "--out", str(folder / "out")]
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "rekur", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 120
    return folder / "out"


def test_the_report_opens_in_chromium(made: Path, tmp_path: Path) -> None:
    with Chromium(chromium(), tmp_path) as page:
        for scheme in ("light", "dark"):
            page.prefer(color_scheme=scheme)
            page.open((made / "report.html").as_uri(), width=1280)
            assert page.problems == []
            assert "temp" in page.evaluate("document.title")
            assert page.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent).join()").count(",") >= 4
            drawn = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 50).length"
            assert page.evaluate(drawn) >= 4


def test_the_predictions_are_those_of_the_file(made: Path) -> None:
    model = tasks.load(made / "model.safetensors")
    with open(made / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    found = np.asarray(model.predict()["temp"], np.float64)
    np.testing.assert_allclose([float(row["temp"]) for row in rows], found, rtol=1e-4)


def test_it_is_better_than_the_last_value(made: Path) -> None:
    with open(made / "backtest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    values = {name: np.array([float(row[name]) for row in rows]) for name in ("temp", "temp rekur", "temp naive")}
    ours, naive = (np.mean(np.abs(values[name] - values["temp"])) for name in ("temp rekur", "temp naive"))
    assert ours < 0.5 * naive


def test_the_onnx_file_runs(made: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(made / "model.onnx"), providers=["CPUExecutionProvider"])
    assert session.get_inputs() and session.get_outputs()
