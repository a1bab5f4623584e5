"""The tables of docs/speed.md, made from those of docs/performance.md and docs/embedding.md.

`python .ci/speed_table.py` writes them, `--check` compares.
"""

import sys
from pathlib import Path

from pages import write_or_check

sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "conf"))
import speed


def written(us: float) -> str:
    """A time with two or three digits and its unit."""
    value, unit = (us, "µs") if us < 1000 else (us / 1000, "ms")
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def tables() -> str:
    found = {(c.machine, c.threads, c.cell, c.mode, (c.B, c.T, c.I, c.H)): c.us for c in speed.cases()}
    shapes = sorted({key[4] for key in found}, key=lambda shape: (shape[3], shape[0], shape[1]))
    columns = sorted({key[:2] for key in found})
    parts = []
    for cell, name in (("LSTM", "LSTM"), ("GRU", "GRU"), ("RNN", "SimpleRNN")):
        heads = [f"{machine.split(', ')[1]}, {threads} thread{'s' * (threads > 1)}" for machine, threads in columns]
        head = ["units", "rows", "steps", "features", *(f"{what}: {h}" for what in ("predict", "train") for h in heads)]
        lines = [f"### {name}", "", f"| {' | '.join(head)} |", "|" + "--:|" * len(head)]
        for shape in shapes:
            times = [found.get((*column, cell, mode, shape)) for mode in ("infer", "train") for column in columns]
            B, T, I, H = shape
            lines.append(f"| {H} | {B} | {T} | {I} | {' | '.join('–' if t is None else written(t) for t in times)} |")
        parts.append("\n".join(lines))
    steps = speed.steps()
    lines = ["### One step of a stream", "", "Nanoseconds, batch 1, one core; `rekur.Stream` and `rekur::Stream`.", ""]
    lines += [f"| cell, features → units | {' | '.join(steps)} |", "|---|" + "--:|" * len(steps)]
    for name in next(iter(steps.values())):
        lines.append(f"| {name} | {' | '.join(f'{times[name]:.0f}' for times in steps.values())} |")
    return "\n\n".join([*parts, "\n".join(lines)])


if __name__ == "__main__":
    sys.exit(write_or_check("speed.md", "speed_table.py", tables(), "docs/performance.md and docs/embedding.md say"))
