"""docs/cells.md and docs/cell-options.md are true: their code runs as it stands, in order, and their tables have every
cell of the library and every option.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rekur import cells, layers

PAGE = Path(__file__).parent.parent / "docs" / "cells.md"

if not PAGE.is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
OPTIONS = PAGE.with_name("cell-options.md").read_text(encoding="utf-8")


def run(page: str, folder: Path) -> None:
    (folder / "page.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)))
    done = subprocess.run([sys.executable, "page.py"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_code_of_options_runs_as_it_stands_and_their_table_has_every_one(tmp_path: Path) -> None:
    run(OPTIONS, tmp_path)
    named = set(re.findall(r"`(\w+)(?:`|=)", OPTIONS))
    assert named >= set(layers.GRU._cell_options)


def test_the_code_runs_as_it_stands(tmp_path: Path) -> None:
    run(TEXT, tmp_path)
    assert {"fading.safetensors", "fading.hpp", "fading.onnx", "live.onnx"} <= {p.name for p in tmp_path.iterdir()}


def test_the_table_has_every_cell() -> None:
    rows = [line.split("|")[1] for line in TEXT.split("## The library")[1].splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == cells.__all__


def test_the_page_is_one() -> None:
    assert len(TEXT.splitlines()) < 180
