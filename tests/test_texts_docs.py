"""docs/texts.md does what it says: each block runs, and prints what the comment behind it says."""

import re
from pathlib import Path

PAGE = (Path(__file__).parent.parent / "docs" / "texts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_one_after_the_other(capsys):
    space: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/texts.md", "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    lines = [line for block in BLOCKS for line in block.splitlines() if "print(" in line]
    assert printed == [line.rpartition("  # ")[2] for line in lines]
