"""Where the programs of the web tests are: each is skipped, saying why, on a machine without them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "browser"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed")
    return path


def chromium() -> str:
    """REKUR_CHROMIUM, or the first of the usual names on the PATH."""
    given = os.environ.get("REKUR_CHROMIUM")
    path = next(filter(None, map(shutil.which, [given] if given else CHROMIUMS)), None)
    if path is None:
        if given:
            pytest.fail(f"REKUR_CHROMIUM: there is no program {given}")
        pytest.skip("Chromium is not installed")
    return path


def ort_web() -> Path:
    """The folder that holds node_modules/onnxruntime-web: REKUR_ORT_WEB, or that of the example."""
    given = os.environ.get("REKUR_ORT_WEB")
    folder = Path(given) if given else EXAMPLE
    if not (folder / "node_modules" / "onnxruntime-web" / "package.json").is_file():
        if given:
            pytest.fail(f"REKUR_ORT_WEB: there is no node_modules/onnxruntime-web in {given}")
        pytest.skip("onnxruntime-web is not installed: `npm install` in examples/browser, or set REKUR_ORT_WEB")
    return folder
