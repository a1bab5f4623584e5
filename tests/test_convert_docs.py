"""docs/convert.md is what the formats say, and the formats say all that the page needs."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest

from rekur import convert


def test_the_table_is_made_from_the_formats() -> None:
    tool = pathlib.Path(__file__).parents[1] / ".ci" / "convert_table.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("entry", convert.formats(), ids=lambda entry: entry.name)
def test_every_format_says_what_it_does(entry: convert.Format) -> None:
    assert entry.title and entry.given and entry.reads
    assert (entry.load is None) != (entry.parts is None)
    assert bool(entry.save or entry.make) == bool(entry.writes)
    assert bool(entry.suffixes) <= bool(entry.save)


def test_the_code_of_the_page_runs_as_it_stands(tmp_path: pathlib.Path) -> None:
    page = (pathlib.Path(__file__).parents[1] / "docs" / "convert.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)
    assert len(blocks) > 4
    (tmp_path / "page.py").write_text("import warnings\nwarnings.simplefilter('error')\n" + "\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 5, 16)\n(2, 3)\n{'format': 'rtneural', 'samplerate': 48000}\n"


def test_names_and_endings_are_unique() -> None:
    names = [entry.name for entry in convert.formats()]
    assert len(set(names)) == len(names)
    endings = [suffix for entry in convert.formats() for suffix in entry.suffixes]
    assert len(set(endings)) == len(endings)
