"""The picture of a search: values against a cost."""

import io
from collections.abc import Sequence
from typing import Any

_INK, _FRONT, _OTHERS, _GRID = "#2b2b2b", "#d1495b", "#7a9cc6", "#e6e6e6"
_LABELS = {
    "latency": "latency of predict",
    "step": "one step of a stream",
    "size": "size of the weights",
    "memory": "memory of predict",
}
_UNITS = {
    "latency": ((1.0, "s"), (1e3, "ms"), (1e6, "µs")),
    "step": ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")),
    "size": ((2.0**-20, "MB"), (2.0**-10, "KB"), (1.0, "bytes")),
    "memory": ((2.0**-20, "MB"), (2.0**-10, "KB"), (1.0, "bytes")),
}


def draw(search: Any, front: Sequence[Any], cost: str, kind: str) -> bytes:
    """The bytes of a file of that kind."""
    import matplotlib.pyplot as pyplot
    from matplotlib.figure import Figure

    largest = max(trial.costs[cost] for trial in front)
    factor, unit = next((each for each in _UNITS[cost] if each[0] * largest >= 1), _UNITS[cost][-1])
    done = [trial for trial in search.trials if trial.state == "done" and trial.costs.get(cost) is not None]
    line = sorted(front, key=lambda trial: trial.costs[cost])
    with pyplot.rc_context({"text.color": _INK, "axes.edgecolor": _INK, "svg.hashsalt": "rekur", "font.size": 10}):
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.scatter(
            [factor * t.costs[cost] for t in done], [t.value for t in done], s=22, color=_OTHERS, label="trial"
        )
        at, values = [factor * t.costs[cost] for t in line], [t.value for t in line]
        axes.plot(
            at, values, color=_FRONT, marker="o", markersize=5, drawstyle="steps-post", label="no other is better"
        )
        for trial, x, y in zip(line, at, values, strict=True):
            axes.annotate(str(trial.number), (x, y), xytext=(4, 5), textcoords="offset points", fontsize=8)
        axes.set_xlabel(f"{_LABELS[cost]} ({unit})")
        axes.set_ylabel(search.name)
        axes.grid(color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        image = io.BytesIO()
        figure.savefig(image, format=kind, dpi=110)
    return image.getvalue()
