"""What the next cell costs: one function in one module. A name of the library's stands nowhere else in the sources."""

import ast
import re
from pathlib import Path

import pytest

from rekur import cells

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "python", ROOT / "cpp" / "src", ROOT / "cpp" / "include", ROOT / "bindings"]
pytestmark = pytest.mark.skipif(not all(folder.is_dir() for folder in SOURCES), reason="the sources are not here")


def words(path: Path) -> set[str]:
    """The words of a source without what is there for people alone."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return set(re.findall(r"\w+", re.sub(r"//.*|/\*.*?\*/", "", text)))
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            found.add(node.value)
    return found


def test_a_cell_is_named_in_one_source_file() -> None:
    files = {
        path: words(path)
        for folder in SOURCES
        for path in folder.rglob("*")
        if path.suffix in (".py", ".cpp", ".hpp", ".inc", ".h")
    }
    listed = re.search(r"^set\(REKUR_KNOWN_CELLS (.*)\)$", (ROOT / "cpp/cmake/cells.cmake").read_text(), re.M)
    assert listed is not None
    compiled = set(listed[1].split())  # those are layers too, and stand in more places (CONTRIBUTING.md)
    for name in sorted(set(cells.__all__) - compiled):
        places = [str(path.relative_to(ROOT)) for path, found in files.items() if name in found]
        assert len(places) == 1, f"{name}: {places}"
        assert places[0].startswith("python/rekur/cells/")
