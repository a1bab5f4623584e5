"""The built site looked at from outside: internal links lead to pages and anchors that exist, and nothing is requested.

Only what a reader clicks may lead elsewhere: pages, styles and scripts load from the site alone.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

_LOADS = {"src", "srcset", "poster", "data"}
_STYLE = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")
_SCRIPT = re.compile(r"""(?:fetch|import|importScripts|Worker|src\s*=)\s*\(?\s*["'`](https?:)?//""")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []  # what a reader may click
        self.loads: list[str] = []  # what the browser asks for by itself
        self.images_without_words = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors.update(given[key] for key in ("id", "name") if key in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and not {"canonical", "alternate"} & set(given.get("rel", "").split()):
            (self.links if given.get("rel") in ("next", "prev", "index", "search") else self.loads).append(
                given["href"]
            )
        self.loads += [given[key].split()[0] for key in _LOADS & given.keys() if given[key]]
        if "style" in given:
            self.loads += [a or b for a, b in _STYLE.findall(given["style"])]
        if tag == "img" and not given.get("alt", "").strip():
            self.images_without_words += 1


def _elsewhere(address: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*:|//", address) is not None and not address.startswith("data:")


def problems(site: Path) -> Iterator[str]:
    """What is wrong, a line each."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        here = path.relative_to(site)
        for address in page.loads:
            if _elsewhere(address):
                yield f"{here}: loads {address}"
            elif not address.startswith("data:") and not _target(site, path, address).is_file():
                yield f"{here}: lacks {address}"
        for address in page.links:
            if _elsewhere(address):
                continue
            target, anchor = _target(site, path, address), unquote(urldefrag(address)[1])
            if not target.is_file():
                yield f"{here}: leads nowhere: {address}"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{here}: no such place in the page: {address}"
        if page.images_without_words:
            yield f"{here}: {page.images_without_words} images without a text for who cannot see them"
    for path in sorted(site.rglob("*.css")):
        for address in (a or b for a, b in _STYLE.findall(path.read_text(encoding="utf-8"))):
            if _elsewhere(address):
                yield f"{path.relative_to(site)}: loads {address}"
    for path in sorted(site.rglob("*.js")):
        if _SCRIPT.search(path.read_text(encoding="utf-8")):
            yield f"{path.relative_to(site)}: asks another host"


def _target(site: Path, page: Path, address: str) -> Path:
    path = unquote(urldefrag(address)[0].partition("?")[0])
    if not path:
        return page
    found = (site / path.lstrip("/") if path.startswith("/") else page.parent / path).resolve()
    return found / "index.html" if found.is_dir() else found


if __name__ == "__main__":
    wrong = list(problems(Path(sys.argv[1])))
    print(*wrong, sep="\n", file=sys.stderr)
    sys.exit(bool(wrong))
