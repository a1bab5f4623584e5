"""What all pictures share: a figure, axes in the house's style, time along x, names at the ends of lines."""

import contextlib
import contextvars
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur.tasks.report._numbers import zone
from rekur.tasks.report._palette import GRID, INK, PAPER, RULE, SOFT, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW_WIDTH = 3.9
NARROW = 4.2  # inches: below it labels go above the lines instead of beside them, and panels one below the other
_NOTEBOOK_OR_FILE = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template", "inline", "ipympl", "widget", "nbagg")
_figure_types: list[Any] = []


def need_matplotlib() -> None:
    """Ask for matplotlib.

    Raises
    ------
    ImportError
        With what to install.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'pictures and reports need matplotlib ({error}): pip install "rekur[tasks]"', name="matplotlib"
        ) from error


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The settings that texts and lines take when they are made, whatever the caller's are."""
    need_matplotlib()
    import matplotlib

    families = matplotlib.rcParams["font.family"]
    settings: dict[str, Any] = {
        "text.usetex": False,
        "font.family": ["DejaVu Sans", *([families] if isinstance(families, str) else families)],
        "font.size": 10,
        "text.color": INK,
        "axes.edgecolor": RULE,
        "axes.labelcolor": SOFT,
        "axes.titlecolor": INK,
        "axes.linewidth": 0.8,
        "axes.unicode_minus": True,
        "axes.xmargin": 0.01,
        "lines.antialiased": True,
        "lines.solid_capstyle": "round",
        "hatch.linewidth": 0.7,
        "path.simplify": True,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        yield


# Whether pictures are wanted for a telephone: they then have another size, and other layouts.
_for_narrow: contextvars.ContextVar[bool] = contextvars.ContextVar("for_narrow", default=False)


@contextlib.contextmanager
def narrow_screen(narrow: bool = True) -> Iterator[None]:
    """New figures are made for a screen as wide as a hand."""
    token = _for_narrow.set(narrow)
    try:
        yield
    finally:
        _for_narrow.reset(token)


def canvas(
    figure: "Figure | None",
    wide: tuple[float, float],
    narrow: tuple[float, float] | None = None,
    title: str = "",
) -> "Figure":
    """The figure to draw into: the given one (a ``SubFigure``, too), or a new one of so many inches.

    A new figure belongs to ``pyplot`` where a window can show it, so that ``plt.show()`` does; elsewhere it is a
    figure of its own, which no list keeps alive and which a notebook shows once.

    Parameters
    ----------
    wide, narrow
        Width and height on a page, and on a narrow screen; without the latter as wide as that is, as high as on a page.
    """
    if figure is None:
        if _for_narrow.get():
            wide = narrow or (min(wide[0], NARROW_WIDTH), wide[1])
        figure = _new_figure(*wide)
    if hasattr(figure, "set_layout_engine") and not hasattr(figure, "_parent"):
        figure.set_layout_engine("constrained")
    figure.set_facecolor(PAPER)
    if title:
        figure.suptitle(plain(title), x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


def _new_figure(width: float, height: float) -> "Figure":
    import matplotlib

    if "matplotlib.pyplot" in sys.modules:
        backend = str(matplotlib.get_backend()).lower()
        if not any(backend.endswith(name) for name in _NOTEBOOK_OR_FILE):
            from matplotlib import pyplot

            return pyplot.figure(figsize=(width, height))
    if not _figure_types:
        from matplotlib.figure import Figure as Base

        class NotebookFigure(Base):  # type: ignore[misc, unused-ignore]
            """A figure that a notebook shows without ``pyplot``."""

            def _repr_png_(self) -> bytes:
                import io

                file = io.BytesIO()
                self.savefig(file, format="png", dpi=110)
                return file.getvalue()

        NotebookFigure.__name__ = "Figure"
        _figure_types.append(NotebookFigure)
    figure: Figure = _figure_types[0](figsize=(width, height))
    return figure


def width_of(figure: "Figure") -> float:
    """Inches."""
    return float(figure.bbox.width / figure.dpi)


def is_narrow(figure: "Figure") -> bool:
    return width_of(figure) < NARROW


_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: Any) -> str:
    """A text that may stand in any page: what controls terminals or the direction of writing, and halves of
    characters, become "�"."""
    return _CONTROLS.sub("\ufffd", str(text))


def plain(text: Any, most: int = 60) -> str:
    """A text of the user's for a picture: one line, no formulas (``$``), shortened in its middle."""
    line = " ".join(clean(text).split())
    if len(line) > most:
        line = f"{line[: most - most // 3 - 1]}…{line[-(most // 3) :]}"
    return line.replace("$", r"\$")


def dress(axes: "Axes", *, y: str = "", x: str = "", grid: str = "y") -> None:
    """The house's style; ``y``, the name of the vertical axis, stands level above it, where it is read."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.set_facecolor("none")
    axes.tick_params(which="both", color=RULE, labelcolor=SOFT, labelsize=9, length=3, width=0.8)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8, linestyle="solid", alpha=1)
    if y:
        axes.set_title(plain(y), loc="left", fontsize=9, color=SOFT, pad=6)
    if x:
        axes.set_xlabel(plain(x), fontsize=9, color=SOFT)
    axes.xaxis.get_offset_text().set(color=SOFT, fontsize=9)
    axes.yaxis.get_offset_text().set(color=SOFT, fontsize=9)


def fewer_ticks(axes: "Axes", x: int | None = None, y: int | None = None, whole: bool = False) -> None:
    """At most so many ticks; ``whole``: at whole numbers of x only."""
    from matplotlib.ticker import MaxNLocator

    if x is not None:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=x, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    if y is not None:
        axes.yaxis.set_major_locator(MaxNLocator(nbins=y, steps=[1, 2, 2.5, 5, 10]))


def is_time(times: NDArray[Any]) -> bool:
    return bool(np.issubdtype(times.dtype, np.datetime64))


def positions(times: NDArray[Any]) -> NDArray[np.float64]:
    """Times as matplotlib's numbers of days; numbers as they are."""
    if is_time(times):
        day = times.astype("datetime64[ns]").astype(np.int64) / 86_400e9
        return np.where(np.isnat(times), np.nan, day)
    return np.asarray(times, np.float64)


def time_axis(axes: "Axes", times: NDArray[Any], time_zone: str | None = None, name: str = "") -> None:
    """Ticks along x: dates in the data's zone, or numbers of steps."""
    narrow = is_narrow(axes.figure)
    if is_time(times):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, get_epoch

        if not str(get_epoch()).startswith("1970-01-01T00:00:00"):  # a process may have set another
            offset = (np.datetime64("1970-01-01", "ns") - np.datetime64(get_epoch(), "ns")).astype(np.int64) / 86_400e9
            raise ValueError(
                f"matplotlib's epoch is {get_epoch()}, {offset} days from 1970: pictures of times need 1970"
            )
        place = zone(time_zone)
        # With fewer there are spans that no interval of the locator's fits.
        locator = AutoDateLocator(tz=place, minticks=2 if narrow else 3, maxticks=5 if narrow else 8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=place))
        if time_zone and not name:
            name = f"time in {time_zone}"
    else:
        fewer_ticks(axes, x=4 if narrow else 8, whole=True)
        name = name or "step"
    if name:
        axes.set_xlabel(plain(name), fontsize=9, color=SOFT)


def name_lines(axes: "Axes", names: Sequence[tuple[str, float, Any]], *, beside: bool = True) -> None:
    """Say what the lines are: at their right ends where there is room beside, in a legend below where not.

    Parameters
    ----------
    names
        (text, the value at which the line ends, the artist).
    beside
        False: always a legend, for lines that end within a few pixels of each other.
    """
    names = [(text, end, artist) for text, end, artist in names if text]
    if not names:
        return
    if is_narrow(axes.figure) or not beside or not all(np.isfinite(end) for _, end, _ in names):
        legend_below(axes.figure, {text: artist for text, _, artist in names})
        return
    low, high = axes.get_ylim()
    logarithmic = axes.get_yscale() == "log"
    span = (np.log(high) - np.log(low)) if logarithmic else (high - low)
    wanted = [((np.log(end) - np.log(low)) if logarithmic else (end - low)) / (span or 1) for _, end, _ in names]
    from matplotlib.lines import Line2D

    height, width = axes.bbox.height / axes.figure.dpi, axes.bbox.width / axes.figure.dpi
    sample = 0.3 / width  # so much of the line stands before its name, which is read without colour, too
    for place, (text, _, artist) in zip(spread(wanted, 0.19 / max(height, 0.5)), names, strict=True):
        if isinstance(artist, Line2D):
            piece = Line2D([], [])
            piece.update_from(artist)
            piece.set(
                data=([1.012, 1.012 + sample], [place, place]), marker="", transform=axes.transAxes, clip_on=False
            )
            axes.add_artist(piece)
        axes.text(
            1.012 + 1.25 * sample, place, plain(text, 34), transform=axes.transAxes, fontsize=9, va="center", ha="left",
            color=_colour_of(artist), fontweight="bold" if text == names[0][0] else "normal",
        )  # fmt: skip


def legend_below(figure: "Figure", artists: Mapping[str, Any], *, title: str = "", most: int = 44) -> None:
    """What the lines and areas are, by name, in as many columns as the figure has room for."""
    names = [plain(text, most) for text in artists]
    if not names:
        return
    longest = max(len(name) for name in names)
    columns = int((width_of(figure) - 0.1) / (0.62 + 0.078 * longest))
    figure.legend(
        list(artists.values()),
        names,
        loc="outside lower left",
        ncols=max(1, min(columns, len(names))),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=2.4,
        columnspacing=1.6,
        borderaxespad=0.3,
        title=plain(title) or None,
        title_fontsize=9,
        alignment="left",
    )


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places near the wanted ones (in 0 … 1) that are at least ``gap`` apart, in the same order."""
    order = np.argsort(np.asarray(wanted), kind="stable")
    # Blocks of labels that touch: each lies at the mean of what its labels want.
    blocks: list[list[int]] = []
    centres: list[float] = []
    for i in order.tolist():
        blocks.append([i])
        centres.append(float(np.clip(wanted[i], 0.02, 0.98)))
        while len(blocks) > 1 and centres[-1] - centres[-2] < gap * (len(blocks[-1]) + len(blocks[-2])) / 2:
            upper = blocks.pop()
            centres.pop()
            blocks[-1] += upper
            centres[-1] = float(np.mean([np.clip(wanted[j], 0.02, 0.98) for j in blocks[-1]]))
    placed = [0.0] * len(wanted)
    for block, centre in zip(blocks, centres, strict=True):
        for k, i in enumerate(block):
            placed[i] = centre + (k - (len(block) - 1) / 2) * gap
    return placed


def _colour_of(artist: Any) -> Any:
    return artist.get_color() if hasattr(artist, "get_color") else INK


def draw_line(axes: "Axes", x: NDArray[Any], y: NDArray[Any], style: Line, **more: Any) -> Any:
    """One line in a style; markers where there are few points."""
    few = len(y) <= 26
    settings: dict[str, Any] = {
        "color": style.colour,
        "linestyle": style.dashes,
        "linewidth": style.width,
        "marker": style.marker if few else None,
        "markersize": 4.2,
        "markeredgewidth": 0,
    }
    (artist,) = axes.plot(x, y, **(settings | more))
    return artist


def last_number(values: NDArray[Any]) -> float:
    """The last value that is a number; NaN if none is."""
    finite = np.flatnonzero(np.isfinite(values))
    return float(values[finite[-1]]) if len(finite) else float("nan")


def vector(values: Any, name: str, length: int | None = None) -> NDArray[np.float64]:
    """One-dimensional numbers, of that length; masked ones are NaN.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected numbers, not {type(values).__name__} ({error})") from None
    if array.ndim == 2 and 1 in array.shape:
        array = array.reshape(-1)
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one dimension, (steps,), not the shape {array.shape}")
    if length is not None and len(array) != length:
        raise ValueError(f"{name}: expected {length} values, not {len(array)}")
    return array


def vectors(values: Mapping[Any, Any] | None, name: str, length: int | None = None) -> dict[Any, NDArray[np.float64]]:
    """A mapping of vectors."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected a dict, not {type(values).__name__}")
    return {key: vector(value, f"{name}[{key!r}]", length) for key, value in values.items()}


def times_of(times: Any, name: str, length: int, start: float = 0) -> NDArray[Any]:
    """Times or row numbers of ``length`` steps; None: numbers from ``start``."""
    if times is None:
        return np.arange(length, dtype=np.float64) + start
    array = np.asarray(times)
    if array.dtype == object:
        array = array.astype("datetime64[ns]")
    if array.shape != (length,) or array.dtype.kind not in "Mifu":
        raise ValueError(
            f"{name}: expected {length} datetime64 or numbers, not an array of {array.dtype} of the shape {array.shape}"
        )
    return array
