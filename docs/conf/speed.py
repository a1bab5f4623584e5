"""The times measured in docs/performance.md and docs/embedding.md as data: for tables and form of docs/speed.md."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1]
ZEN5, ZEN4, ZEN1, EMERALD = "AMD EPYC, Zen 5", "AMD EPYC, Zen 4", "AMD EPYC, Zen 1", "Intel Xeon, Emerald Rapids"
FORM = "<!-- the site has a form here -->"


@dataclass(frozen=True)
class Case:
    """One layer's time: ``B`` rows, ``T`` steps, ``I`` features, ``H`` units; microseconds."""

    machine: str
    cell: str
    mode: str
    threads: int
    B: int
    T: int
    I: int
    H: int
    us: float


def cases() -> list[Case]:
    """Those of whole sequences, in the order of docs/performance.md."""
    found = []
    text = (DOCS / "performance.md").read_text(encoding="utf-8").partition("## Every case")[2]
    for cells in _rows(text):
        B, T, I, H = map(int, cells[2].split(","))
        for threads, column in ((1, 3), (2, 10)):
            found.append(Case(ZEN5, cells[0], cells[1], threads, B, T, I, H, _number(cells[column])))
    return found


def steps() -> dict[str, dict[str, float]]:
    """Nanoseconds a step of a stream: machine → "LSTM 1→8" → time."""
    text = (DOCS / "embedding.md").read_text(encoding="utf-8").partition("\n## Speed\n")[2]
    found: dict[str, dict[str, float]] = {}
    for part in re.split(r"\n\n(?=[^|\n])", text):
        head = "| cell | fixed size | Stream | Stream, blocks of 64 |"
        if head not in part:
            continue
        machine = (ZEN5, EMERALD, ZEN4, ZEN1)[len(found)]
        lines = part.partition(head)[2].partition("\n\n")[0].splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "→" in line]
        found[machine] = {cells[0]: _number(cells[2]) for cells in rows}
    return found


def _rows(text: str) -> list[list[str]]:
    lines = (line for line in text.splitlines() if re.match(r"\| (LSTM|GRU|RNN) \| (infer|train) ", line))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def form() -> str:
    """What stands in the page in place of the mark: Markdown of raw HTML."""
    data = json.dumps([list(asdict(case).values()) for case in cases()], ensure_ascii=False, separators=(",", ":"))
    return f"""```{{raw}} html
<form id="speed" class="speed">
<label>Cell <select name="cell"><option>LSTM</option><option>GRU</option><option value="RNN">SimpleRNN</option></select>
</label>
<label>Rows at once <input name="B" type="number" min="1" max="4096" value="32"></label>
<label>Steps <input name="T" type="number" min="1" max="100000" value="48"></label>
<label>Features <input name="I" type="number" min="1" max="4096" value="8"></label>
<label>Units <input name="H" type="number" min="1" max="4096" value="64"></label>
<output aria-live="polite"></output>
</form>
<script type="application/json" id="speed-cases">{data}</script>
<script src="../_static/speed.js"></script>
```"""
