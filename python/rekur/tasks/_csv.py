"""Reading a file of rows with the standard library: encodings, separators, header, and what is wrong with a line."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rekur.tasks._dates import is_missing

_MARKS = (",", ";", "\t", "|")
_MOST_BYTES = 4 << 30
_OPENERS = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\x00", lzma.open))
_NUMBER = re.compile(r"[-+−]?[$€£]?\s?\d[\d.,'\s  ]*(?:e[-+]?\d+)?\s?[%€$£]?", re.IGNORECASE)


@dataclass
class Rows:
    """A file's columns of texts as they stand there, and the line on which each row begins."""

    names: list[str]
    columns: list[Sequence[str]]
    lines: list[int]
    separator: str
    notes: list[str] = field(default_factory=list)


def read_rows(data: bytes, name: str) -> Rows:
    """The rows of fields of a file's bytes, its separator, encoding and header found out.

    Fields may be quoted by ``"``, the separator is one of comma, semicolon, tab, ``|`` and blanks. gzip, bzip2 and xz
    are unpacked. Blank lines, and lines before the header that begin with ``#``, are passed over. ``name`` is the
    file's, for messages.

    Raises
    ------
    ValueError
        If the file is no text, is empty, or a line has more or fewer fields than the header; the message has the
        number of the line.
    """
    notes: list[str] = []
    text = _text(data, name, notes)
    head = [line.rstrip("\n") for line in itertools.islice(io.StringIO(text), 1000)]
    skipped = 0
    while skipped < len(head) and (not head[skipped].strip() or head[skipped].lstrip().startswith("#")):
        skipped += 1
    if skipped == len(head):
        raise ValueError(f"'{name}' is empty: it has no line with a header or a row")
    if comments := sum(bool(line.strip()) for line in head[:skipped]):
        which = "first line" if comments == 1 else f"first {comments} lines"
        notes.append(f"the {which} of '{name}', beginning with '#', {'is' if comments == 1 else 'are'} passed over")
    separator = _separator(head[skipped : skipped + 100])
    rows, lines = _records(text, separator, skipped, name)
    names, has_header = _header(rows[0], rows[1] if len(rows) > 1 else None, notes)
    header = lines[0]
    if has_header:
        del rows[0], lines[0]
    if set(map(len, rows)) - {len(names)}:
        rows = [
            row if len(row) == len(names) else _fitted(row, names, line, name, header)
            for line, row in zip(lines, rows, strict=True)
        ]
    if rows and not names[-1] and not any(row[-1].strip() for row in rows):
        names = names[:-1]  # a separator at the end of every line
        rows = [row[:-1] for row in rows]
    columns: list[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [() for _ in names]
    return Rows(_named(names, notes), columns, lines, separator, notes)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """All of a file, which may be a pipe.

    Raises
    ------
    ValueError
        If it is larger than what a table in text may be.
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"'{Path(path).name}' is larger than {_MOST_BYTES >> 30} GiB: give its columns as arrays")
    return data


def _text(data: bytes, name: str, notes: list[str]) -> str:
    opener = next((opener for magic, opener in _OPENERS if data.startswith(magic)), None)
    if opener is not None:
        try:
            with opener(io.BytesIO(data), "rb") as packed:
                data = packed.read(_MOST_BYTES + 1)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise ValueError(f"'{name}' cannot be unpacked: it is cut off or damaged ({error})") from None
        if len(data) > _MOST_BYTES:
            raise ValueError(f"'{name}' is unpacked larger than {_MOST_BYTES >> 30} GiB: give its columns as arrays")
    for magic, what in ((b"PK\x03\x04", "an Excel or zip file"), (b"\xd0\xcf\x11\xe0", "an old Excel file"),
                        (b"%PDF", "a PDF file"), (b"SQLite", "a database"), (b"\x89HDF", "an HDF5 file")):  # fmt: skip
        if data.startswith(magic):
            raise ValueError(f"'{name}' is {what}, not a table in text: save it as CSV or Parquet")
    marks = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))
    encoding = next((encoding for mark, encoding in marks if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ValueError(f"'{name}' is not {encoding.upper()}, as its first bytes say: {error.reason}") from None
        if b"\x00" in data[:4096]:
            raise ValueError(f"'{name}' is not a table in text: it holds bytes of 0") from None
        text = data.decode("cp1252", errors="replace")
        line = data[: error.start].count(b"\n") + 1
        notes.append(f"'{name}' is not UTF-8 (line {line}): it is read as Windows-1252")
    if "\x00" in text:
        line = text[: text.index("\x00")].count("\n") + 1
        raise ValueError(f"'{name}' is not a table in text: line {line} holds a byte of 0")
    return text


def _separator(lines: list[str]) -> str:
    """The mark that cuts the first lines into the same number of fields, the most of them."""
    best, answer = (False, False, False, 0), ","
    for mark in (*_MARKS, " "):
        try:
            counts = [len(row) for row in _split(lines, mark) if row]
        except csv.Error:
            continue
        if not counts or max(counts) == 1:
            continue
        usual = max(set(counts), key=counts.count)
        share = counts.count(usual) / len(counts)
        score = (usual > 1 and counts[0] in (usual, usual - 1), usual > 1 and counts[0] == usual, share > 0.8, usual)
        if score[0] and score > best and (mark != " " or best == (False, False, False, 0)):
            best, answer = score, mark
    return answer


def _split(lines: list[str], mark: str) -> Iterator[list[str]]:
    return csv.reader((line.strip() + "\n" for line in lines) if mark == " " else (line + "\n" for line in lines),
                      delimiter=mark, skipinitialspace=True)  # fmt: skip


def _records(text: str, mark: str, skipped: int, name: str) -> tuple[list[list[str]], list[int]]:
    """Rows from the header on, and the line on which each begins; blank lines are passed over."""
    source = io.StringIO(text, newline="")
    for _ in range(skipped):
        next(source)
    stream: Iterator[str] = (line.strip() + "\n" for line in source) if mark == " " else source
    reader = csv.reader(stream, delimiter=mark, skipinitialspace=True, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    begin = skipped + 1
    try:
        for row in reader:
            if len(row) > 1 or (row and (row[0].strip() or not row[0])):  # [""] is a quoted cell, no blank line
                rows.append(row)
                lines.append(begin)
            begin = skipped + reader.line_num + 1
    except csv.Error as error:
        what = "a quote is opened and never closed" if "unexpected end" in str(error) else str(error)
        raise ValueError(f"'{name}', line {begin}: {what}") from None
    return rows, lines


def _header(first: list[str], second: list[str] | None, notes: list[str]) -> tuple[list[str], bool]:
    """The names of the columns, and whether the first row holds them."""
    from rekur.tasks._dates import look_like_times

    def value(cell: str) -> bool:
        return bool(_NUMBER.fullmatch(cell.strip())) or look_like_times([cell])

    names = [cell.strip() for cell in first]
    if any(value(cell) for cell in names) and all(value(cell) or is_missing(cell) for cell in names):
        years = second is not None and any(value(a) != value(b) for a, b in zip(first, second, strict=False))
        if not years:
            notes.append(f"the first row is no header: the columns are called column_1 to column_{len(first)}")
            return [f"column_{number}" for number in range(1, len(first) + 1)], False
    if second is not None and len(second) == len(names) + 1 and second[-1].strip():
        notes.append("the header has one name less than the rows have fields: the first column is taken for row names")
        names = ["", *names]
    return names, True


def _fitted(row: list[str], names: list[str], line: int, name: str, header: int) -> list[str]:
    if len(row) > len(names) and not any(cell.strip() for cell in row[len(names) :]):
        return row[: len(names)]
    if len(row) == len(names) - 1 and not names[-1]:
        return [*row, ""]
    fields = f"{len(row)} field{'' if len(row) == 1 else 's'}"
    raise ValueError(
        f"'{name}', line {line}: {fields} where the header (line {header}) has {len(names)}; "
        "is the file cut off, or a field with the separator in it not quoted?"
    )


def _named(names: list[str], notes: list[str]) -> list[str]:
    """Names that differ from each other: an empty one becomes column_3, a second ``x`` becomes x.1."""
    taken = set()
    following: dict[str, int] = {}
    result, renamed = [], []
    for number, name in enumerate(names, 1):
        base = new = name or f"column_{number}"
        if new in taken:
            count = following.get(base, 1)
            while (new := f"{base}.{count}") in taken:
                count += 1
            following[base] = count + 1
            renamed.append(f"column '{name}' stands twice: the one at place {number} is called '{new}'")
        taken.add(new)
        result.append(new)
    if renamed:
        more = f" (and {len(renamed) - 1} more of columns whose name was taken)" if len(renamed) > 1 else ""
        notes.append(renamed[0] + more)
    return result
