"""A figure as SVG that stands within a page: small, with texts as texts, in the page's colours."""

import html
import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

from rekur.tasks.report._canvas import _CONTROLS, clean
from rekur.tasks.report._palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ELEMENTS = {"svg", "g", "defs", "path", "use", "text", "tspan", "clipPath", "rect", "pattern", "circle", "polygon"}
_VARIABLES = {light: f"var(--{name})" for name, (light, _) in COLOURS.items()}
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_TURNED_BY_NOTHING = re.compile(r"rotate\(-?0(?:\.0*)? ")
# What a browser takes from the page, or what is so anyway.
_DEFAULTS = {"stroke-linecap": "butt", "stroke-linejoin": "round", "fill-opacity": "1", "stroke-opacity": "1"}


def svg(figure: "Figure", prefix: str, label: str = "", described_by: str = "", kind: str = "") -> str:
    """One ``<svg>`` element.

    Parameters
    ----------
    prefix
        Of the ids in it, which are its own within a page.
    label
        What it is, for those who do not see it.
    described_by
        The id of the element that says more.
    kind
        Its CSS class.

    Notes
    -----
    Colours of the palette become CSS variables, ids that nothing refers to go, coordinates have one decimal. Only
    elements that draw are let through.
    """
    import matplotlib

    file = io.StringIO()
    settings: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "rekur"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(_CONTROLS.sub("\ufffd", file.getvalue()))
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    wanted = _referred(root)
    names = {old: f"{prefix}{i}" for i, old in enumerate(sorted(wanted))}
    parts = [
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escape(label)}"'
        + (f' aria-describedby="{_escape(described_by)}"' if described_by else "")
        + (f' class="{_escape(kind)}"' if kind else "")
        + f' style="max-width:{width * 1.5:.0f}px">'
    ]
    for child in root:
        _write(child, names, parts)
    parts.append("</svg>")
    return "".join(parts)


def _referred(root: ElementTree.Element) -> set[str]:
    found: set[str] = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href"):
                found.add(value.removeprefix("#"))
            found.update(_REFERENCE.findall(value))
    return found


def _write(element: ElementTree.Element, names: dict[str, str], parts: list[str]) -> None:
    tag = element.tag.rpartition("}")[2]
    if tag not in _ELEMENTS:
        return
    attributes = _attributes(element, names, tag)
    children = [child for child in element if child.tag.rpartition("}")[2] in _ELEMENTS]
    if tag == "g" and not attributes:
        for child in children:
            _write(child, names, parts)
        return
    text = (element.text or "").strip("\n") if tag in ("text", "tspan") else ""
    if tag in ("g", "defs", "text") and not children and not text.strip():
        return
    parts.append(f"<{tag}{attributes}")
    if not children and not text:
        parts.append("/>")
        return
    parts.append(">")
    parts.append(_escape(text))
    for child in children:
        _write(child, names, parts)
        if tag == "text" and child.tail:
            parts.append(_escape(child.tail))
    parts.append(f"</{tag}>")


def _attributes(element: ElementTree.Element, names: dict[str, str], tag: str) -> str:
    kept = []
    for qualified, value in element.attrib.items():
        name = qualified.rpartition("}")[2]
        if name == "id":
            if value not in names:
                continue
            value = names[value]
        elif name == "href":
            value = f"#{names[value.removeprefix('#')]}"
        elif name == "style":
            value = _style(value, tag)
            value = _REFERENCE.sub(lambda found: f"url(#{names[found.group(1)]})", value)
        elif name == "d":
            value = _path(value)
        elif name == "transform" and _TURNED_BY_NOTHING.match(value):
            continue
        else:
            value = _REFERENCE.sub(lambda found: f"url(#{names[found.group(1)]})", value)
            value = _VARIABLES.get(value.lower(), _NUMBER.sub(_short, value))
        if value:
            kept.append(f' {name}="{_escape(value)}"')
    return "".join(kept)


def _style(text: str, tag: str) -> str:
    kept = []
    for declaration in text.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if not name or name == "font-family" or _DEFAULTS.get(name) == value:
            continue
        if name == "font":  # how older versions of matplotlib write all of it
            size = re.search(r"([\d.]+)px", value)
            bold = re.search(r"\b(bold|[6-9]00)\b", value)
            kept += [f"font-size:{size.group(1)}px"] if size else []
            kept += ["font-weight:bold"] if bold else []
            continue
        value = _VARIABLES.get(value.lower(), value)
        kept.append(f"{name}:{_NUMBER.sub(_short_style, value)}")
    return ";".join(kept)


def _path(data: str) -> str:
    data = _NUMBER.sub(_short, data)
    return re.sub(r"\s*([MLQCZz])\s*", r"\1", " ".join(data.split()))


def _short(found: re.Match[str]) -> str:
    text = f"{float(found.group()):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _short_style(found: re.Match[str]) -> str:
    return f"{float(found.group()):.3g}"


def _escape(text: str) -> str:
    return html.escape(clean(text), quote=True)


def standalone(figure: "Figure", label: str) -> str:
    """A whole SVG file: its colours follow the reader's theme, as in a page."""
    light = ";".join(f"--{name}:{colour}" for name, (colour, _) in COLOURS.items())
    dark = ";".join(f"--{name}:{colour}" for name, (_, colour) in COLOURS.items())
    drawn = svg(figure, "p", label)
    style = (
        f"<style>svg{{{light};background:var(--paper);font-family:system-ui,sans-serif}}"
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}*{{stroke-linejoin:round}}</style>"
    )
    head, _, rest = drawn.partition(">")
    head = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}>{style}{rest}\n"
