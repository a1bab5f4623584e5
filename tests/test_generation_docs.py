"""docs/generation.md does what it says: each block runs, and prints what the comment behind it says."""

import re
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "generation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_one_after_the_other(capsys):
    space: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/generation.md", "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["og sat on the log. the c", "True", "og sat on ", "t", "True"]
