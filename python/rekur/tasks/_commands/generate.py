"""``rekur generate``: a model of a text, and what it writes."""

import argparse
import time
from pathlib import Path
from typing import Any

from rekur._files import write_atomic
from rekur.tasks._commands._output import Folder, Teller, check_pictures, counted, sentence
from rekur.tasks._tables import read_table

_FILES = ("model.safetensors", "model.onnx", "samples.txt", "report.html")
_TABLES = (".csv", ".tsv", ".parquet", ".arrow")
_LEVELS = {"char": "character", "word": "word", "byte-pairs": "byte_pairs"}


def run(options: argparse.Namespace) -> None:
    """Run the command.

    Raises
    ------
    ValueError, OSError, ImportError
        As of the reading, training and writing that it does.
    """
    from rekur.tasks import TextGenerator

    tell = Teller(options.quiet)
    check_pictures(options.report)
    notes: list[str] = []
    text, facts = _read(options, notes)
    tell.facts(options.text.name, facts)
    tell.notes(notes)
    folder = Folder(options.out, _FILES, options.overwrite)
    given = {name: getattr(options, name) for name in ("units", "cell", "epochs") if getattr(options, name) is not None}
    writer: Any = TextGenerator(
        _LEVELS[options.level], random_state=options.seed, verbose=0 if options.quiet else 1, **given
    )
    begin = time.monotonic()
    writer.fit(text)
    seconds = time.monotonic() - begin
    writer.save(folder.file("model.safetensors"))
    if options.onnx:
        folder.onnx(writer)
    samples = writer.generate(
        options.prompt, options.length, temperature=options.temperature, seed=options.seed, n=options.samples
    )
    written = [options.prompt + sample for sample in samples]
    rule = f"\n{'-' * 40}\n"
    write_atomic(folder.file("samples.txt"), (rule.join(written) + "\n").encode())
    held = writer.held_out_
    if held is not None:
        tell.table(
            ["on what was held out", "bits per character", "perplexity"],
            [["this model", held["bits_per_character"], held["perplexity"]]],
        )
    tell.line(f"a sample (temperature {options.temperature:g})")
    for line in written[0][:600].splitlines():
        tell.line(f"  | {line}")
    if options.report:
        _write_report(options, writer, text, facts, notes, written, folder, seconds)
    folder.finish(tell)


def _read(options: argparse.Namespace, notes: list[str]) -> tuple[Any, list[tuple[str, str]]]:
    """A text, or the texts of a table's column, and what is to be said of them."""
    if options.column is None and not is_table(options.text):
        text = read_text(options.text, notes)
        if not text.strip():
            raise ValueError(f"'{options.text}' holds no text")
        lines = text.count("\n") + 1
        kinds = len(set(text))
        return text, [
            ("text", f"{counted(len(text), 'character')} in {counted(lines, 'line')}, {kinds} different ones")
        ]
    name, found = texts_of_table(options.text, options.column, notes, "; name one with --column")
    total = sum(map(len, found))
    return found, [("texts", f"{counted(len(found), 'text')} of {counted(total, 'character')} in {name!r}")]


def texts_of_table(path: Path, column: str | None, notes: list[str], advice: str = "") -> tuple[str, list[str]]:
    """The texts of a table's column, which is the one with most text where none is named, and its name."""
    table = read_table(path)
    name: Any = column
    if name is None:
        texts = [one for one in table.names if table.column(one).kind == "text"]
        if not texts:
            raise ValueError(f"no column of '{path}' holds texts{advice}")
        name = max(texts, key=lambda one: sum(len(text or "") for text in table.column(one).texts()))
        notes.append(f"texts are taken from column {name!r}")
    found = [text for text in table.column(name).texts() if text is not None]
    if not found:
        raise ValueError(f"column: {name!r} holds no text")
    notes += table.notes
    return name, found


def is_table(path: Path) -> bool:
    """Whether a file of texts is a table of them."""
    return path.suffix.lower() in _TABLES


def read_text(path: Path, notes: list[str]) -> str:
    """A file's text, in UTF-8 or UTF-16, else in Windows-1252; lines end in a line feed."""
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\x00" in data[:4096]:
            raise ValueError(f"'{path}' is not a text: it holds bytes of 0") from None
        line = data[: error.start].count(b"\n") + 1
        notes.append(f"'{path.name}' is not UTF-8 (line {line}): it is read as Windows-1252")
        text = data.decode("cp1252", errors="replace")
    if "\x00" in text:
        raise ValueError(f"'{path}' is not a text: it holds characters of 0")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _write_report(
    options: argparse.Namespace, writer: Any, text: Any, facts: list[tuple[str, str]], notes: list[str],
    written: list[str], folder: Folder, seconds: float,
) -> None:  # fmt: skip
    from rekur.tasks import report

    how = f"temperature {options.temperature:g}, beginning with {options.prompt!r}" if options.prompt else (
        f"temperature {options.temperature:g}"
    )  # fmt: skip
    held = writer.held_out_
    more: dict[str, Any] = {}
    if held is not None and isinstance(text, str):
        # One text: its end was held out.
        unseen = text[len(text) - held["characters"] :]
        more = {"levels": report.text_levels(text[: -len(unseen)], unseen), "surprise": writer.surprise(unseen[:1500])}
    made = report.text_report(
        name=options.text.name,
        bits=None if held is None else held["bits_per_character"],
        samples=[(how, sample) for sample in written], **more,
        data=facts, notes=list(map(sentence, notes)), history=writer.history_,
        card=report.card_of(writer, files=folder.written, seconds=seconds),
    )  # fmt: skip
    folder.report(made)
