"""rekur.wasm by rekur.js in Node, and the page of cpp/examples/wasm in Chromium: bits are those of x86-64's baseline.

``REKUR_WASM`` names a build folder of the preset ``wasm``; without it ``build/wasm`` will do, if it is newer than the
sources.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import rekur
from chromium import Chromium
from rekur import _core
from web_tools import chromium, node

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "cpp/examples/models"


@pytest.fixture(scope="module")
def built() -> Path:
    given = os.environ.get("REKUR_WASM")
    folder = Path(given) if given else ROOT / "build/wasm"
    module = folder / "cpp/wasm/rekur.wasm"
    if not module.is_file():
        assert not given, f"REKUR_WASM: there is no {module}"
        pytest.skip("no rekur.wasm: cmake --preset wasm && cmake --build --preset wasm, or set REKUR_WASM")
    sources = [*ROOT.glob("cpp/src/**/*"), *ROOT.glob("cpp/include/**/*"), *ROOT.glob("cpp/wasm/*")]
    if not given and max(path.stat().st_mtime for path in sources if path.is_file()) > module.stat().st_mtime:
        pytest.skip("build/wasm is older than the sources")
    return folder


@pytest.fixture
def baseline() -> Iterator[None]:
    if "baseline" not in _core.available_isas():
        pytest.skip("this machine's engine has no baseline, whose bits WebAssembly's are")
    before = _core.isa()
    _core.set_isa("baseline")
    yield
    _core.set_isa(before)


def outputs(model: rekur.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every step, the states after the last one, and of the whole sequence at once."""
    stream = rekur.Stream(model)
    steps = np.concatenate([np.ravel(stream.step(row)) for row in x])
    states = np.concatenate([np.ravel(state) for state in stream.states.values()])
    return steps, states, np.ravel(model.predict(x[None]))


@pytest.mark.parametrize("name", ["amp", "forecaster"])
def test_bits_in_node(built: Path, baseline: None, name: str, rng: np.random.Generator, tmp_path: Path) -> None:
    path = MODELS / f"{name}.safetensors"
    model = rekur.load(path)
    x = rng.standard_normal((300, 1)).astype(np.float32)
    x.tofile(tmp_path / "x")
    command = [node(), ROOT / "tests/web/wasm.mjs", built / "cpp/wasm/rekur.wasm", path, tmp_path / "x", tmp_path / "y"]
    done = subprocess.run([*map(str, command), "37"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    steps, states, whole = outputs(model, x)
    expected = np.concatenate([steps, states, steps, whole])
    assert np.fromfile(tmp_path / "y", np.uint32).tolist() == expected.view(np.uint32).tolist()
    assert said["version"] == rekur.__version__
    truncated, short, batch, shape = said["errors"]
    assert "truncated" in truncated
    assert "process: 1 steps take" in short
    assert "batch" in batch
    assert "rekur_model" in shape
    assert said["memory"] < 64 << 20, "memory that is given back is used again"
    print(f"{name}: {said['nanoseconds']:.0f} ns a sample in Node")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_the_page_plays_the_model(built: Path, baseline: None, tmp_path: Path) -> None:
    binary = chromium()
    handler = functools.partial(Quiet, directory=str(built / "page"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Chromium(binary, tmp_path) as page:
            page.open(f"http://127.0.0.1:{server.server_port}/")
            page.wait_for("window.tried !== undefined")
            tried = np.array(page.evaluate("window.tried.wet"), np.float32)
            dry = np.array(page.evaluate("import('./main.js').then((m) => Array.from(m.pluck(1, 48000)))"), np.float32)
            expected = np.ravel(rekur.load(MODELS / "amp.safetensors").predict(dry[None, :480, None]))
            assert tried.view(np.uint32).tolist() == expected.view(np.uint32).tolist()
            assert "times real time" in page.evaluate("document.getElementById('cost').textContent")
            # The audio thread says so when it has its model. A click is a person's leave to play.
            page.evaluate("document.getElementById('play').click()")
            page.wait_for("document.getElementById('status').textContent === 'playing'")
            assert page.evaluate("document.getElementById('play').textContent") == "Stop"
            assert not page.problems
        server.shutdown()
