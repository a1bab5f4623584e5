"""Pages with a part that is made from the code, between two marks: written anew, or compared with the page."""

import pathlib
import sys

DOCS = pathlib.Path(__file__).parents[1] / "docs"
END = "<!-- end -->"


def write_or_check(page: str, tool: str, made: str, source: str) -> int:
    """Write what ``made`` is into the page; with ``--check`` compare, and return 1 where it differs.

    Parameters
    ----------
    page : str
        Its name in docs/.
    tool : str
        The file in .ci that the first mark names.
    made : str
        Markdown.
    source : str
        What it was made from, for the message.
    """
    path, begin = DOCS / page, f"<!-- made by .ci/{tool}: begin -->"
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    after = rest.split(END)[1]
    whole = f"{before}{begin}\n\n{made.rstrip()}\n\n{END}{after}"
    if "--check" not in sys.argv:
        path.write_text(whole, encoding="utf-8")
        return 0
    if whole != text:
        print(f"docs/{page} is not what {source}: run python .ci/{tool}", file=sys.stderr)
    return int(whole != text)
