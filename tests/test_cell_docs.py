"""docs/cells.md is true: its code runs as it stands, in order, and its table has every cell of the library."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rekur import cells

PAGE = Path(__file__).parent.parent / "docs" / "cells.md"

if not PAGE.is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_code_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "page.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {"fading.safetensors", "fading.hpp", "fading.onnx", "live.onnx"} <= {p.name for p in tmp_path.iterdir()}


def test_the_table_has_every_cell() -> None:
    rows = [line.split("|")[1] for line in TEXT.split("## The library")[1].splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == cells.__all__


def test_the_page_is_one() -> None:
    assert len(TEXT.splitlines()) < 150
