"""The table of docs/convert.md, made from the formats: `python .ci/convert_table.py` writes it, `--check` compares."""

import pathlib
import sys

from rekur.convert import Format, formats

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "convert.md"
BEGIN, END = "<!-- made by .ci/convert_table.py: begin -->", "<!-- end -->"


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


def main() -> int:
    """Write the table, or compare it."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    made = f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"
    if "--check" in sys.argv:
        if made != page:
            print("docs/convert.md is not what the formats say: run python .ci/convert_table.py", file=sys.stderr)
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
