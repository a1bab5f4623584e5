"""docs/layers.md is what the code says."""

import pathlib
import subprocess
import sys


def test_the_page_of_layers_is_made_from_the_code():
    tool = pathlib.Path(__file__).parents[1] / ".ci" / "layer_table.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
