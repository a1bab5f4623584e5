"""The colours of pictures and reports, by what they stand for.

Pictures are drawn in the light colours. Each of them is a colour that occurs nowhere else, so a picture within a page
can have it replaced by a CSS variable and follow the page's theme (:mod:`rekur.tasks.report._svg`).

Blue, orange, teal and purple keep their distances under the common kinds of colour blindness; text in any of them has
a contrast of at least 4.5 to the paper. No meaning hangs on colour alone: lines differ in their dashes, points in
their markers, areas in their hatching.
"""

from dataclasses import dataclass

# Name: (light, dark).
COLOURS: dict[str, tuple[str, str]] = {
    "paper": ("#fefefd", "#12171e"),
    "ink": ("#1b2431", "#e7ecf2"),
    "soft": ("#55606f", "#a8b3c0"),
    "rule": ("#88929f", "#6f7b89"),
    "grid": ("#e2e6eb", "#2a333e"),
    "series1": ("#0a5fb5", "#6cb5ff"),
    "series2": ("#ae5200", "#f2a65c"),
    "series3": ("#00766b", "#4fd0b9"),
    "series4": ("#87409f", "#d09ef1"),
    "series5": ("#6d6312", "#cfc25a"),
    "alarm": ("#c0183d", "#ff8098"),
}

PAPER, INK, SOFT, RULE, GRID = (COLOURS[name][0] for name in ("paper", "ink", "soft", "rule", "grid"))
ALARM = COLOURS["alarm"][0]
MODEL = COLOURS["series1"][0]


@dataclass(frozen=True)
class Line:
    """How one of several lines is drawn, so that it is known without its colour."""

    colour: str
    dashes: str | tuple[int, tuple[float, ...]]
    marker: str
    width: float


# The model first, what it is compared with after it.
LINES = (
    Line(COLOURS["series1"][0], "solid", "o", 2.0),
    Line(COLOURS["series2"][0], (0, (5, 2)), "s", 1.5),
    Line(COLOURS["series3"][0], (0, (1.2, 1.5)), "^", 1.8),
    Line(COLOURS["series4"][0], (0, (6, 1.8, 1.2, 1.8)), "D", 1.5),
    Line(COLOURS["series5"][0], (0, (3, 1.5, 1, 1.5, 1, 1.5)), "v", 1.5),
    Line(COLOURS["soft"][0], (0, (9, 2.5)), "P", 1.2),
)


def line(index: int) -> Line:
    """The style of the ``index``-th line; they repeat after six."""
    return LINES[index % len(LINES)]
