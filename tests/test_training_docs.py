"""docs/training.md is true: its code runs as it stands, in order."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "training.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="no source tree around the tests")
def test_the_code_runs_as_it_stands(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) > 7
    (tmp_path / "page.py").write_text("import warnings\nwarnings.simplefilter('error')\n" + "\n".join(blocks))
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
