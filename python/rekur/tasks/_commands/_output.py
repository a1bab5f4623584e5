"""What a command prints and writes: facts in columns, tables of scores, a folder whose files appear whole."""

import csv
import io
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rekur._files import check_writable, write_atomic
from rekur.tasks._tables import Table
from rekur.tasks._words import counted as counted
from rekur.tasks._words import listed as listed
from rekur.tasks._words import sentence as sentence

_WIDTH = 100


class Teller:
    """Prints for people, or, where the command is to be quiet, nothing."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def line(self, text: str = "") -> None:
        if not self.quiet:
            print(text, flush=True)

    def facts(self, title: str, facts: Sequence[tuple[str, str]]) -> None:
        """Names and what they are, a line each."""
        self.line(title)
        width = max((len(name) for name, _ in facts), default=0)
        for name, value in facts:
            wrapped = textwrap.wrap(value, _WIDTH - width - 4, break_long_words=False) or [""]
            self.line(f"  {name:<{width}}  {wrapped[0]}")
            for more in wrapped[1:]:
                self.line(f"  {'':<{width}}  {more}")

    def notes(self, notes: Sequence[str]) -> None:
        """Sentences, a dash before each."""
        for note in notes:
            self.line(textwrap.fill(sentence(note), _WIDTH, initial_indent="  - ", subsequent_indent="    "))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers in columns, the first column's texts to the left."""
        shown = [list(columns), *[[cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]]
        widths = [max(len(row[place]) for row in shown) for place in range(len(columns))]
        for row in shown:
            cells = [
                f"{row[0]:<{widths[0]}}",
                *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
            self.line("  " + "  ".join(cells).rstrip())

    def files(self, folder: Path, paths: Sequence[Path]) -> None:
        names = [path.name for path in paths if path.parent == folder]
        if count := len(paths) - len(names):
            names.append(f"pictures ({count})")
        self.line(f"Written to {folder}: {', '.join(names)}")


def warn(text: str) -> None:
    """A warning, which is told even where the command is to be quiet."""
    print(f"rekur: {text}", file=sys.stderr)


def number(value: Any) -> str:
    """Four digits of a number; a dash for none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"


def named(table: Table, text: str | None) -> list[str]:
    """Columns that an option names: one, whatever its name, or several with commas between them."""
    if text is None or text in table:
        return [] if text is None else [text]
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise ValueError(f"expected names of columns with commas between them, got {text!r}")
    return found


class Folder:
    """Where a command writes.

    Made, and refused, before any work: a folder that cannot be written, or holds what an earlier run wrote.

    Raises
    ------
    OSError
        If it cannot be made or written, or is no folder.
    ValueError
        If files of these names are there and may not be replaced.
    """

    def __init__(self, path: Path, names: Sequence[str], overwrite: bool) -> None:
        self.path, self._names = path, names
        there = [name for name in names if (path / name).exists()]
        if there and not overwrite:
            raise ValueError(
                f"'{path}' holds files of an earlier run ({listed(there)}): name another folder with --out, or replace "
                "them with --overwrite"
            )
        path.mkdir(parents=True, exist_ok=True)
        for name in names:
            check_writable(path / name)
        self.written: list[Path] = []
        self._failed = ""

    def file(self, name: str) -> Path:
        """A path in it, which is listed as written."""
        path = self.path / name
        if path not in self.written:
            self.written.append(path)
        return path

    def onnx(self, estimator: Any) -> None:
        """Write the ONNX file; where that cannot be, the rest is written, and :meth:`finish` says why it is missing."""
        if not hasattr(estimator, "export_onnx"):
            self._failed = f"a {type(estimator).__name__} has no form in ONNX"
            return
        try:
            estimator.export_onnx(self.path / "model.onnx")
        except (ValueError, NotImplementedError) as error:
            self._failed = str(error)
        else:
            self.file("model.onnx")

    def finish(self, tell: "Teller") -> None:
        """Say what was written; what an earlier run wrote, and this one did not, is of another model and goes.

        Raises
        ------
        ValueError
            If the ONNX file was to be written and could not be.
        """
        for old in [*(self.path / name for name in self._names), *(self.path / "pictures").glob("*.png")]:
            if old not in self.written:
                old.unlink(missing_ok=True)
        tell.files(self.path, self.written)
        if self._failed:
            raise ValueError(f"model.onnx is not written: {self._failed} (--no-onnx does without)")

    def report(self, made: Any) -> None:
        """Write a report, and its pictures into a folder of their own."""
        made.write(self.file("report.html"))
        (self.path / "pictures").mkdir(exist_ok=True)
        for path in made.write_pictures(self.path / "pictures"):
            self.file(f"pictures/{path.name}")

    def csv(self, name: str, columns: Mapping[Any, Sequence[Any]]) -> None:
        write_atomic(self.file(name), csv_text(columns).encode())


def csv_text(columns: Mapping[Any, Sequence[Any]]) -> str:
    """Columns as the text of a CSV file; missing numbers are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([str(name) for name in columns])
    writer.writerows(zip(*[[_cell(value) for value in _list(column)] for column in columns.values()], strict=True))
    return text.getvalue()


def _list(column: Any) -> list[Any]:
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.9g}"
    return value


def check_pictures(wanted: bool) -> None:
    """Say early that pictures cannot be drawn.

    Raises
    ------
    ImportError
        If they are wanted and matplotlib is not installed.
    """
    if wanted:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError(
                'the report and its pictures need matplotlib: pip install "rekur[tasks]"; --no-report does without',
                name="matplotlib",
            ) from None
