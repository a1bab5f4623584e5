"""docs/sequences.md does what it says: the tagger and the line reader learn, and the numbers are about those shown."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "sequences.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_one_after_the_other(capsys):
    space: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/sequences.md", "exec"), space)
    printed = capsys.readouterr().out.splitlines()
    said = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("# ")]
    loss, accuracy = map(float, printed[0].strip("[]").split(", "))
    shown_loss, shown_accuracy = map(float, said[0].strip("[]").split(", "))
    assert loss == pytest.approx(shown_loss, rel=0.05)
    assert accuracy == pytest.approx(shown_accuracy, abs=0.02)
    greedy, beam, words, bleu = map(float, printed[-4:])
    assert greedy < 0.02 and beam < 0.02
    assert words == pytest.approx(1 / 3)
    assert bleu == pytest.approx(0.5976143046671969)
