"""The table of docs/convert.md, made from the formats: `python .ci/convert_table.py` writes it, `--check` compares."""

from pages import write_or_check

from rekur.convert import Format, formats


def _options(entry: Format) -> list[str]:
    lines = []
    for verb, options in (("load", entry.load_options), ("save", entry.save_options)):
        lines += [f"| `{entry.name}` | {verb} | `{name}` | {words} |" for name, words in (options or {}).items()]
    return lines


def table() -> str:
    """Both tables, as Markdown."""
    lines = [
        "| `format=` | what | read from | what is read | written | needs | checked against |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in formats():
        needs = f"`{entry.needs}`" if entry.needs else ""
        endings = ", ".join(f"`{suffix}`" for suffix in entry.suffixes)
        written = ": ".join(part for part in (endings, entry.writes) if part) or "no"
        cells = (f"`{entry.name}`", entry.title, entry.given, entry.reads, written, needs, entry.checked)
        lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    lines += ["", "### Options", "", "| `format=` | of | option | what it decides |", "|---|---|---|---|"]
    for entry in formats():
        lines += _options(entry)
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(write_or_check("convert.md", "convert_table.py", table(), "the formats say"))
