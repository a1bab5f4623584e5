"""What reports are made of: plain data, which say what stands there, not how it looks."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rekur._files import check_writable, write_atomic
from rekur.tasks.report._canvas import clean, narrow_screen, need_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes
    ----------
    columns
        Their names.
    rows
        Cells: texts, or numbers, which are rounded to ``digits`` significant ones; None and NaN are "–". The first
        cell of a row is its name.
    caption
        What it shows; stands above it.
    better
        By column name "low" or "high": the best number of that column is marked.
    digits
        Significant digits of numbers.
    own
        The index of the row that the report is about, which is set off; None: none.
    note
        Stands below it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    better: Mapping[str, str] = field(default_factory=dict)
    digits: int = 3
    own: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"rows: expected {len(self.columns)} cells in each, not {len(row)} in row {i}")
        for name, way in self.better.items():
            if way not in ("low", "high"):
                raise ValueError(f'better[{name!r}]: expected "low" or "high", not {way!r}')


@dataclass(frozen=True)
class Picture:
    """A picture and what it says.

    Attributes
    ----------
    draw
        Makes the figure: ``lambda: plot_forecast(…)``. It is called once for a page and once for a narrow screen.
    title
        What the picture shows; stands above it.
    description
        The same in words, with the numbers that count, for those who do not see it.
    caption
        How to read it; stands below it.
    data
        The numbers behind it, to open below it.
    """

    draw: Callable[[], "Figure"]
    title: str
    description: str
    caption: str = ""
    data: Table | None = None

    def figure(self, narrow: bool = False) -> "Figure":
        """Draw it.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        need_matplotlib()
        with narrow_screen(narrow):
            return self.draw()

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as a file; its name ends in ``.png``, ``.svg`` (whose colours follow the reader's theme) or
        ``.pdf``.

        Raises
        ------
        ValueError
            For any other ending.
        """
        import io

        kind = Path(os.fsdecode(path)).suffix.lower()
        if kind not in (".png", ".svg", ".pdf"):
            raise ValueError(f"path: expected a name that ends in .png, .svg or .pdf, not {os.fsdecode(path)!r}")
        check_writable(path)
        figure = self.figure()
        if kind == ".svg":
            from rekur.tasks.report._svg import standalone

            data = standalone(figure, self.title).encode()
        else:
            file = io.BytesIO()
            # No date, so that the same picture is the same file.
            figure.savefig(file, format=kind[1:], dpi=160, metadata={"CreationDate": None} if kind == ".pdf" else {})
            data = file.getvalue()
        write_atomic(path, data)


@dataclass(frozen=True)
class Side:
    """Pictures beside each other where the screen is wide enough."""

    content: Sequence[Picture]


@dataclass(frozen=True)
class Bullets:
    """Short sentences, each with a bullet."""

    items: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and what they are: (name, text or number)."""

    pairs: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Figures:
    """The few numbers that count: (what, number as text, remark)."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Code:
    """Lines to copy, or a text as it was written.

    Attributes
    ----------
    text, title
        What stands there, and above it.
    wrap
        Long lines are broken; otherwise they scroll.
    """

    text: str
    title: str = ""
    wrap: bool = False


@dataclass(frozen=True)
class Remark:
    """A sentence that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Marked:
    """A text whose pieces carry a number each, as a model's surprise: the higher, the stronger the mark.

    Attributes
    ----------
    pieces
        Characters or words.
    values
        A number a piece.
    most
        The number of the strongest mark.
    label
        What the numbers are: each is told where one points at its piece.
    """

    pieces: Sequence[str]
    values: Sequence[float]
    most: float
    label: str

    def __post_init__(self) -> None:
        if len(self.pieces) != len(self.values):
            raise ValueError(f"values: expected one a piece, {len(self.pieces)}, not {len(self.values)}")


@dataclass(frozen=True)
class Folded:
    """What is there for those who open it."""

    title: str
    content: Sequence["Content"]


Content = str | Table | Picture | Side | Bullets | Facts | Figures | Code | Remark | Marked | Folded


@dataclass(frozen=True)
class Section:
    """A part of a report under its heading; a plain text of the content is a paragraph."""

    title: str
    content: Sequence[Content]


@dataclass(frozen=True)
class Report:
    """One page to hand on.

    Attributes
    ----------
    title
        Of the page.
    sections
        Its parts.
    kind
        What it is a report of; stands small above the title.
    summary
        The answer in a sentence or two, below the title.
    figures
        The few numbers that count: (what, number as text, remark).
    language
        Of the texts, for readers' programs.

    Notes
    -----
    All texts are shown as they are, whatever they hold: nothing of them becomes markup.
    """

    title: str
    sections: Sequence[Section]
    kind: str = ""
    summary: str = ""
    figures: Sequence[tuple[str, str, str]] = ()
    language: str = "en"

    def html(self) -> str:
        """The page: one self-contained text.

        Raises
        ------
        ImportError
            Where it has pictures, without matplotlib.
        """
        from rekur.tasks.report._page import page

        return page(self)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page, whole or not at all.

        Raises
        ------
        OSError
            As :func:`rekur._files.write_atomic`; that the path cannot be written is said before anything is drawn.
        """
        check_writable(path)
        write_atomic(path, self.html().encode("utf-8", "replace"))

    def pictures(self) -> dict[str, Picture]:
        """All pictures by a name that may be a file's."""
        found: dict[str, Picture] = {}
        for section in self.sections:
            for picture in _pictures(section.content):
                name = slug(picture.title)
                while name in found:
                    name += "-"
                found[name] = picture
        return found

    def write_pictures(self, folder: str | os.PathLike[str], kind: str = "png") -> list[Path]:
        """Write all pictures into a folder that exists; returns their paths."""
        paths = []
        for name, picture in self.pictures().items():
            path = Path(os.fsdecode(folder)) / f"{name}.{kind}"
            picture.write(path)
            paths.append(path)
        return paths


def _pictures(content: Sequence[Content]) -> list[Picture]:
    found = []
    for part in content:
        if isinstance(part, Picture):
            found.append(part)
        elif isinstance(part, (Side, Folded)):
            found += _pictures(part.content)
    return found


def slug(text: str) -> str:
    """A title as part of an address or a file's name: letters, digits and hyphens."""
    name = re.sub(r"[^a-z0-9]+", "-", clean(text).lower()).strip("-")
    return name[:48].strip("-") or "part"
