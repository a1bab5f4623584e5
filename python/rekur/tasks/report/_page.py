"""Reports as HTML: one page, nothing from outside, no script."""

import html
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

import rekur
from rekur.tasks.report._canvas import clean
from rekur.tasks.report._content import (
    Bullets,
    Code,
    Content,
    Facts,
    Figures,
    Folded,
    Marked,
    Picture,
    Remark,
    Report,
    Section,
    Side,
    Table,
    slug,
)
from rekur.tasks.report._css import css
from rekur.tasks.report._numbers import MISSING, number

_MOST_ROWS = 200
_MOST_CHARACTERS = 300
_ALL_WORDS = 20_000
# A number as it is shown, with its unit: "> 99.9 %", "1.31 MB".
_AMOUNT = re.compile(r"–|[<>]? ?−?[\d.\u202f]+(?:e−?\d+)?(?:\u202f[^\W\d]+|\u202f%)?")


def escape(text: Any, most: int = _ALL_WORDS) -> str:
    """A text of anybody's as a text of the page."""
    text = clean(text)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    return html.escape(text, quote=True)


def page(report: Report) -> str:
    """The whole page."""
    names = _Names()
    sections = [(names.new(section.title), section) for section in report.sections]
    body = "\n".join(_section(name, section, names) for name, section in sections)
    contents = "".join(f'<li><a href="#{name}">{escape(section.title, 80)}</a></li>' for name, section in sections)
    head = "".join(
        [
            f'<p class="kind">{escape(report.kind, 120)}</p>' if report.kind else "",
            f"<h1>{escape(report.title, 200)}</h1>",
            f'<p class="summary">{escape(report.summary)}</p>' if report.summary else "",
            _figures(report.figures) if report.figures else "",
        ]
    )
    # The policy forbids every request and every script, also one that a mistake of ours would let in.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"""<!DOCTYPE html>
<html lang="{escape(report.language, 20)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="rekur {escape(rekur.__version__)}">
<link rel="icon" href="data:,">
<title>{escape(report.title, 200)}</title>
<style>{css()}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<div class="bar"><span class="brand">rekur report</span>
<fieldset class="theme"><legend class="hidden">Theme</legend>
<label><input type="radio" name="theme" id="theme-system" checked><span>System</span></label>
<label><input type="radio" name="theme" id="theme-light"><span>Light</span></label>
<label><input type="radio" name="theme" id="theme-dark"><span>Dark</span></label></fieldset></div>
<header class="title">{head}</header>
<div class="body">
<nav class="contents" aria-label="Contents"><p>Contents</p><ol>{contents}</ol></nav>
<main id="content">
{body}
<footer>Made by rekur {escape(rekur.__version__)}. This page is one file: it loads nothing and sends nothing.</footer>
</main>
</div>
</div>
</body>
</html>
"""


class _Names:
    """Ids, each once in a page."""

    def __init__(self) -> None:
        self._used: set[str] = {"content", "theme-system", "theme-light", "theme-dark"}

    def new(self, text: str) -> str:
        name = base = slug(text)
        count = 1
        while name in self._used:
            count += 1
            name = f"{base}-{count}"
        self._used.add(name)
        return name


def _section(name: str, section: Section, names: _Names) -> str:
    content = "\n".join(_part(part, names) for part in section.content)
    heading = f'<h2 id="{name}-h">{escape(section.title, 200)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{heading}\n{content}\n</section>'


def _part(part: Content, names: _Names) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    if isinstance(part, Table):
        return table(part, names)
    if isinstance(part, Picture):
        return _picture(part, names)
    if isinstance(part, Side):
        return f'<div class="side">{"".join(_picture(picture, names) for picture in part.content)}</div>'
    if isinstance(part, Bullets):
        return f'<ul class="bullets">{"".join(f"<li>{escape(item)}</li>" for item in part.items)}</ul>'
    if isinstance(part, Facts):
        pairs = "".join(f"<dt>{escape(name)}</dt><dd>{_cell(value, 4)}</dd>" for name, value in part.pairs)
        return f'<dl class="facts">{pairs}</dl>'
    if isinstance(part, Figures):
        return _figures(part.items)
    if isinstance(part, Code):
        title = f"<h3>{escape(part.title, 200)}</h3>" if part.title else ""
        kind = ' class="wrap"' if part.wrap else ""
        return f'{title}<pre tabindex="0"{kind}><code>{escape(part.text)}</code></pre>'
    if isinstance(part, Remark):
        return f'<p class="remark-box">{escape(part.text)}</p>'
    if isinstance(part, Marked):
        return _marked(part)
    if isinstance(part, Folded):
        inner = "\n".join(_part(item, names) for item in part.content)
        return f"<details><summary>{escape(part.title, 200)}</summary>{inner}</details>"
    raise TypeError(f"a section's content: expected a text or a part of rekur.tasks.report, not {type(part).__name__}")


def _figures(items: Sequence[tuple[str, str, str]]) -> str:
    cells = "".join(
        f'<div><dt>{escape(what, 80)}</dt><dd class="value">{escape(value, 40)}</dd>'
        + (f'<dd class="remark">{escape(remark, 120)}</dd>' if remark else "")
        + "</div>"
        for what, value, remark in items
    )
    return f'<dl class="figures">{cells}</dl>'


def _picture(picture: Picture, names: _Names) -> str:
    from rekur.tasks.report._svg import svg

    name = names.new(picture.title)
    described = f"{name}-d"
    wide = svg(picture.figure(), f"{name}-w", picture.title, described, "wide")
    small = picture.figure(narrow=True)
    # What stays wide on a narrow screen is scrolled.
    scrolled = float(small.get_size_inches()[0]) > 4.3
    narrow = svg(small, f"{name}-n", picture.title, described, "narrow")
    drawn = wide + narrow
    if scrolled:
        wide = wide.replace('class="wide"', "", 1)
        drawn = _scroll(wide, picture.title, "scroll wide")
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    data = ""
    if picture.data is not None:
        data = f"<details><summary>The numbers of this picture</summary>{table(picture.data, names)}</details>"
    return (
        f'<figure id="{name}"><h3>{escape(picture.title, 200)}</h3>'
        f'<p class="hidden" id="{described}">{escape(picture.description)}</p>{drawn}{caption}{data}</figure>'
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def _cell(value: Any, digits: int) -> str:
    if value is None or is_number(value) or isinstance(value, (bool, np.bool_)):
        return escape(number(value, digits))
    return escape(value, _MOST_CHARACTERS) or MISSING


def table(content: Table, names: _Names) -> str:
    """A table, in a frame of its own that scrolls where the screen is narrow."""
    columns = len(content.columns)
    numeric = [
        any(is_number(row[j]) for row in content.rows)
        and all(is_number(row[j]) or row[j] is None or row[j] == MISSING for row in content.rows)
        for j in range(columns)
    ]
    # Texts that are numbers with their units stand right as well.
    for j in range(1, columns):
        texts = [row[j] for row in content.rows if isinstance(row[j], str)]
        numeric[j] = numeric[j] or (bool(texts) and all(_AMOUNT.fullmatch(t) for t in texts))
    best = {j: _best(content, j) for j in range(columns)}
    head = "".join(
        f'<th scope="col"{_n(numeric[j])}>{escape(name, 120)}</th>' for j, name in enumerate(content.columns)
    )
    rows = []
    for i, row in enumerate(content.rows[:_MOST_ROWS]):
        cells = [f'<th scope="row"{_n(numeric[0])}>{_cell(row[0], content.digits)}</th>'] if columns else []
        for j in range(1, columns):
            kinds = " ".join(["n"] * numeric[j] + ["best"] * (i in best[j]))
            kinds = f' class="{kinds}"' if kinds else ""
            said = '<span class="hidden"> (best)</span>' if i in best[j] else ""
            cells.append(f"<td{kinds}>{_cell(row[j], content.digits)}{said}</td>")
        own = ' class="own"' if i == content.own else ""
        rows.append(f"<tr{own}>{''.join(cells)}</tr>")
    note = content.note
    if len(content.rows) > _MOST_ROWS:
        note = f"{note} The first {_MOST_ROWS} of {number(len(content.rows))} rows.".strip()
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    # The caption stands outside of what scrolls, where all of it is seen.
    name = names.new(content.caption or "table")
    caption = f'<p class="caption" id="{name}">{escape(content.caption, 300)}</p>' if content.caption else ""
    labelled = f' aria-labelledby="{name}"' if content.caption else ""
    body = f"<table{labelled}><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return caption + _scroll(body, content.caption or "Table") + below


def _scroll(inner: str, label: str, kind: str = "scroll") -> str:
    """What may be wider than the screen: it scrolls by itself, by the keyboard, too."""
    return f'<div class="{kind}" tabindex="0" role="region" aria-label="{escape(label, 120)}">{inner}</div>'


def _n(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _best(content: Table, column: int) -> set[int]:
    """The rows with the best number of a column, as it is shown; none where all are the same."""
    way = content.better.get(content.columns[column])
    if way is None:
        return set()
    values = {i: float(row[column]) for i, row in enumerate(content.rows) if is_number(row[column])}
    values = {i: value for i, value in values.items() if math.isfinite(value)}
    if len(values) < 2:
        return set()
    best = min(values.values()) if way == "low" else max(values.values())
    shown = number(best, content.digits)
    found = {i for i, value in values.items() if number(value, content.digits) == shown}
    return set() if len(found) == len(values) else found


def _marked(part: Marked) -> str:
    spans = []
    for piece, value in zip(part.pieces, part.values, strict=True):
        share = 0.0 if not math.isfinite(value) else min(max(value / part.most, 0.0), 1.0)
        title = f"{part.label}: {number(value, 2)}"
        text = escape(piece) if piece != "\n" else "⏎\n"
        spans.append(
            f'<span style="--m:{round(70 * share)}%;--w:{round(3 * share)}" title="{escape(title)}">{text}</span>'
        )
    return f'<p class="marked">{"".join(spans)}</p>'
