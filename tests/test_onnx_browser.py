"""The page of examples/browser in headless Chromium: its numbers are the engine's, and something is to be seen."""

from __future__ import annotations

import functools
import http.server
import inspect
import json
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import rekur.onnx
from chromium import Chromium
from harness import assert_close
from web_tools import EXAMPLE, chromium, ort_web

pytestmark = pytest.mark.skipif(
    "streaming" not in inspect.signature(rekur.onnx.export).parameters,
    reason="this rekur.onnx.export cannot write streaming models",
)


class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # the tests take files away
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Site(NamedTuple):
    """The example as a person would have it after `npm install` and make_model.py, served on this machine."""

    folder: Path
    address: str


@pytest.fixture(scope="module")
def binary() -> str:
    return chromium()


@pytest.fixture(scope="module")
def site(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    packages = ort_web() / "node_modules"
    folder = tmp_path_factory.mktemp("site")
    for path in EXAMPLE.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    (folder / "node_modules").symlink_to(packages.resolve(), target_is_directory=True)
    command = [sys.executable, str(folder / "make_model.py"), "--epochs", "4", "--sequences", "512"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Site(folder, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


@pytest.fixture(scope="module")
def browser(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(binary, tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(browser: Chromium, site: Site) -> Chromium:
    browser.open(site.address)
    browser.wait_for("document.documentElement.dataset.state !== 'loading'")
    assert not browser.problems
    assert browser.evaluate("document.documentElement.dataset.state") == "live"
    return browser


def text(page: Chromium, name: str) -> str:
    found = page.evaluate(f"document.getElementById({json.dumps(name)}).textContent")
    assert isinstance(found, str)
    return found


def click(page: Chromium, name: str) -> None:
    page.evaluate(f"document.getElementById({json.dumps(name)}).click()")


def test_the_page_agrees_with_the_engine(page: Chromium, site: Site) -> None:
    check = page.evaluate("rekur.check")
    assert 0 <= check["difference"] <= 1e-5 * max(1, check["magnitude"])
    made = json.loads((site.folder / "model" / "check.json").read_text())
    assert check["magnitude"] == pytest.approx(np.abs(made["forecast"]).max())
    assert text(page, "check").startswith("✓ Self-check: 96 steps computed here agree with rekur's engine")
    assert page.evaluate("document.getElementById('check').className") == "agrees"
    assert "WebAssembly" in text(page, "runtime")
    print(text(page, "check"), text(page, "runtime"))


def test_the_live_forecasts_are_the_engines(page: Chromium, site: Site) -> None:
    """What the page shows of its live signal, computed again from all samples since the start."""
    page.wait_for("rekur.live.steps >= 40")
    click(page, "pause")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    records = page.evaluate(
        "rekur.live.records.map(({ forecast, ...r }) => ({ ...r, forecast: Array.from(forecast) }))"
    )
    samples = np.array([record["sample"] for record in records], np.float32)
    model = rekur.load(site.folder / "model" / "forecaster.safetensors")
    expected = model.predict(samples[None, :, None])[0]
    assert_close(np.array([record["forecast"] for record in records]), expected, 1e-5)
    ordinary = [not record["anomaly"] for record in records[1:]]
    error = (samples[1:] - expected[:-1, 0])[ordinary]
    shown = float(text(page, "error-first"))
    assert shown == pytest.approx(np.sqrt(np.mean(error**2)), abs=0.002)
    assert 0 < float(text(page, "milliseconds").removesuffix(" ms")) < 50
    assert not page.problems


def test_controls(page: Chromium) -> None:
    page.wait_for("rekur.live.steps >= 5")
    assert text(page, "pause") == "Pause"
    click(page, "pause")
    assert text(page, "pause") == "Go on"
    two_frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(two_frames)
    stopped = page.evaluate("rekur.live.steps")
    page.evaluate("new Promise((done) => setTimeout(done, 300))")
    assert page.evaluate("rekur.live.steps") == stopped
    click(page, "restart")
    page.wait_for("rekur.live.steps === 0")
    set_rate = "const rate = document.getElementById('rate'); rate.value = 120; rate.dispatchEvent(new Event('input'))"
    page.evaluate("{" + set_rate + "}")
    click(page, "pause")
    page.wait_for("rekur.live.steps >= 70")
    assert page.evaluate("document.querySelector('output[for=rate]').textContent") == "120 a second"
    click(page, "disturb")
    page.wait_for("rekur.live.records.some((record) => record.anomaly)")


def scanlines(png: bytes) -> list[bytes]:
    """The rows of a PNG, still filtered: in a blank picture all but the first are the same."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    place, data, height = 8, b"", 0
    while place < len(png):
        size, kind = struct.unpack_from(">I4s", png, place)
        if kind == b"IHDR":
            (height,) = struct.unpack_from(">I", png, place + 12)
        elif kind == b"IDAT":
            data += png[place + 8 : place + 8 + size]
        place += size + 12
    pixels = zlib.decompress(data)
    length = len(pixels) // height
    return [pixels[k * length : (k + 1) * length] for k in range(height)]


COLOURS = """((id) => {
  const { width, height } = document.getElementById(id);
  const pixels = document.getElementById(id).getContext("2d").getImageData(0, 0, width, height).data;
  return new Set(new Uint32Array(pixels.buffer)).size;
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_seen(page: Chromium, scheme: str, tmp_path: Path) -> None:
    page.prefer(color_scheme=scheme)
    page.wait_for("rekur.live.steps >= 10")
    path = tmp_path / f"{scheme}.png"
    page.screenshot(path)
    print(f"screenshot: {path}")
    rows = scanlines(path.read_bytes())
    assert len(rows) >= 800 and len(set(rows)) > 200
    for canvas in ("chart", "surprise"):
        assert page.evaluate(f"{COLOURS}('{canvas}')") > 5
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(244, 245, 248)"
    assert light == (scheme == "light")
    page.prefer()


def test_it_waits_for_those_who_prefer_stillness(browser: Chromium, site: Site) -> None:
    browser.prefer(reduced_motion="reduce")
    browser.open(site.address)
    browser.wait_for("document.documentElement.dataset.state === 'live'")
    assert text(browser, "pause") == "Go on"
    browser.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert browser.evaluate("rekur.live.steps") == 0
    browser.prefer()


@pytest.mark.parametrize(
    ("missing", "told"),
    [("model", "run make_model.py"), ("node_modules", "run `npm install` in this folder")],
)
def test_what_is_missing_is_told(browser: Chromium, site: Site, missing: str, told: str) -> None:
    path, away = site.folder / missing, site.folder / f"{missing}.away"
    path.rename(away)
    try:
        browser.open(site.address)
        browser.wait_for("document.documentElement.dataset.state === 'failed'")
        assert told in text(browser, "failure")
        assert not browser.evaluate("document.getElementById('failure').hidden")
    finally:
        away.rename(path)


def test_a_model_that_is_not_the_checked_one_is_told(browser: Chromium, site: Site) -> None:
    path = site.folder / "model" / "check.json"
    kept = path.read_text()
    check = json.loads(kept)
    check["forecast"][50][3] += 1e-3
    path.write_text(json.dumps(check))
    try:
        browser.open(site.address)
        browser.wait_for("document.documentElement.dataset.state === 'live'")
        assert "do NOT agree" in text(browser, "check")
        assert browser.evaluate("document.getElementById('check').className") == "differs"
    finally:
        path.write_text(kept)
