"""docs/tune.md is true: its code runs as it stands, in order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna")
pytest.importorskip("matplotlib")
PAGE = Path(__file__).parents[1] / "docs/tune.md"


@pytest.mark.skipif(not hasattr(optuna.trial.Trial, "set_constraint"), reason="needs Optuna 5")
@pytest.mark.skipif(not PAGE.is_file(), reason="no source tree around the tests")
def test_the_code_runs_as_it_stands(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 6
    (tmp_path / "page.py").write_text("import warnings\nwarnings.simplefilter('error')\n" + "\n".join(blocks))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    difference = float(re.findall(r"^(\d\S*e-\d+|0\.0)$", done.stdout, re.M)[-1])
    assert difference < 1e-5
    assert "12 trials: " in done.stdout and "as it was given" in done.stdout
    assert (tmp_path / "front.png").stat().st_size > 10_000
