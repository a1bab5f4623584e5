"""docs/spec.md names every key and parameter that there is; the pages about the code keep to 120 columns."""

import json
import re
from pathlib import Path

import pytest

from rekur import _core, layers
from test_layer_contract import EXAMPLES

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the docs are not here")


def entries() -> dict[str, str]:
    """What the page says of each type, in one line."""
    text = (DOCS / "spec.md").read_text()
    found = re.findall(r"^- \*\*([\w, ]+)\*\*\. (.*?)(?=\n- |\n\n)", text, re.M | re.S)
    return {name: " ".join(body.split()) for names, body in found for name in names.split(", ")}


def said_of(kind: str) -> str:
    text = entries()[kind]
    for other in re.findall(r"\bas (\w+)", text):
        text += entries().get(other, "")
    return text


@pytest.mark.parametrize("kind", layers.TYPES)
def test_the_page_names_every_key_of_a_type(kind):
    page = (DOCS / "spec.md").read_text()
    options = "".join(re.findall(r"^- Every recurrent layer but.*?\n- … and .*?\n\n", page, re.M | re.S))
    text = said_of(kind) + options
    for key in (*layers.TYPES[kind]._keys, *(["precision"] if layers.TYPES[kind]._narrows else [])):
        assert re.search(rf"\b{key}\b", text), f"docs/spec.md, {kind}: the key '{key}' is missing"


@pytest.mark.parametrize("kind", sorted({example.type for example in EXAMPLES}))
def test_the_page_names_every_parameter_of_a_type(kind):
    page = (DOCS / "spec.md").read_text()
    names = {
        name.split("/")[-1]
        for example in EXAMPLES
        if example.type == kind and kind != "RNN"  # whose cells name theirs
        for name, _, _ in _core.Model(json.dumps(example.spec())).parameters
        if "initial_" not in name  # one a state, under its name
    }
    for name in names:
        assert f"`{name}`" in page or re.search(rf"\b{name}\b", said_of(kind) + page), f"docs/spec.md: no '{name}'"


ROOT = DOCS.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted(page for page in DOCS.glob("**/*.md") if "_build" not in page.parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_fit_into_120_columns(page):
    """But rows of tables, pictures and code, which cannot be broken."""
    code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        assert len(line) <= 120 or code or line.startswith("    ") or line.lstrip()[:1] in ("|", "!"), (
            f"{page.name}:{number}"
        )
