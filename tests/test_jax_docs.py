"""docs/jax.md does what it says: each block runs, and prints what is said here."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "jax.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_one_after_the_other(capsys, monkeypatch):
    pytest.importorskip("jax")
    import rekur

    monkeypatch.setattr(rekur.jax, "compile", lambda: "")  # tests/test_jax.py compiles
    space: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/jax.md", "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["['bias', 'kernel', 'recurrent_kernel']", "(4, 10, 32)", "(4, 10, 16)"]
