"""The documentation site: what its checks find, what becomes of docstrings, and, where one is built, how it runs.

``REKUR_SITE`` names the folder that docs/conf/build.py has made.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import cpp_tools
import rekur
from chromium import Chromium
from web_tools import chromium

ROOT = Path(__file__).parent.parent
CONF = ROOT / "docs" / "conf"
if not CONF.is_dir():
    pytest.skip("no source tree around the tests", allow_module_level=True)


def _of_site(name: str) -> ModuleType:
    """A module of docs/conf, whatever else has its name here: tests have a reference.py of their own."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", CONF / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


check, speed, tutorials, reference = map(_of_site, ("check", "speed", "tutorials", "reference"))

SITE = os.environ.get("REKUR_SITE")

# ---- the check of what was built ----


def wrong(site: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (site / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return list(check.problems(site))


def test_a_site_without_faults(tmp_path: Path) -> None:
    page = '<link rel="stylesheet" href="a.css"><p id="x"><a href="b.html#y">b</a><a href="https://example.org/">e</a>'
    assert wrong(tmp_path, a_html=page, b_html='<p id="y"><a href="a.html#x">a</a>', a_css="p { color: red }") == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ('<a href="c.html">c</a>', "leads nowhere: c.html"),
        ('<a href="#nothing">c</a>', "no such place in the page: #nothing"),
        ('<img src="c.png" alt="c">', "lacks c.png"),
        ('<img src="a.html">', "images without a text"),
        ('<script src="https://example.org/a.js"></script>', "loads https://example.org/a.js"),
        ('<script src="//example.org/a.js"></script>', "loads //example.org/a.js"),
        ('<link rel="stylesheet" href="http://example.org/a.css">', "loads http://example.org/a.css"),
        ('<img srcset="https://example.org/a.png 2x" alt="a">', "loads https://example.org/a.png"),
        ('<p style="background: url(https://example.org/a.png)">', "loads https://example.org/a.png"),
    ],
)
def test_faults_of_pages(tmp_path: Path, page: str, expected: str) -> None:
    (found,) = wrong(tmp_path, a_html=page)
    assert expected in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a_css", '@import "https://example.org/fonts.css";'),
        ("a_css", "p { background: url('//example.org/a.png') }"),
        ("a_js", 'fetch("https://example.org/a.json")'),
        ("a_js", 'element.src = "https://example.org/a.js"'),
    ],
)
def test_faults_of_styles_and_scripts(tmp_path: Path, name: str, text: str) -> None:
    (found,) = wrong(tmp_path, **{name: text})
    assert found.startswith(name.replace("_", "."))


# ---- docstrings ----


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("½e² for |e| ≤ delta", r"½e² for \|e\| ≤ delta"),
        ("v * w and ``a * b`` and **kept**", r"v \* w and ``a * b`` and **kept**"),
        ("takes **options and *args", r"takes \*\*options and \*args"),
        ("see :func:`rekur.load_`, `x_y`", "see :func:`rekur.load_`, `x_y`"),
        ("learned attributes such as models_", r"learned attributes such as models\_"),
        ("*The words* of it", "*The words* of it"),
    ],
)
def test_marks_that_are_meant_as_they_stand(text: str, expected: str) -> None:
    assert reference.escape(text) == expected


def test_indented_code_becomes_a_block_of_code() -> None:
    found = reference.docstring(["What it is.", "", "    model.fit(x, **options)", "", "And so on.", ""])
    assert found == [
        "What it is.", "", ".. code-block:: python", "", "    model.fit(x, **options)", "", "", "And so on.", "",
    ]  # fmt: skip


def test_a_letter_with_a_full_stop_begins_no_list() -> None:
    assert reference.docstring(["units : int", "    H."]) == ["units : int", "    H\\."]


def test_descriptions_of_parameters_are_no_code() -> None:
    lines = ["What it is.", "", "Parameters", "----------", "x : int", "    How many.", "", "    More of it."]
    assert reference.docstring(lines) == lines


# ---- tutorials ----

PAGE = """# A page

```python
import matplotlib.pyplot as plt
print("error 0.123, of 100 rows")
figure = plt.figure()
```

```text
error 0.12, of 101 rows
```

<!-- figure: A curve -->

```sh
echo written > file; cat file
```

```python
print(open("file").read().strip(), end="")
```

```text
written
```

The end.
"""


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    pytest.importorskip("matplotlib")
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    return tmp_path / "page.md"


def test_a_tutorial_runs_and_its_figures_come_into_the_page(tutorial: Path, tmp_path: Path) -> None:
    outcome = tutorials.run(tutorial, tmp_path)
    assert outcome.problems == []
    assert outcome.printed == ["error 0.123, of 100 rows\n", "written\n", "written"]
    shown = tutorials.with_figures(PAGE, outcome)
    for name, theme in (("page-1.svg", "light"), ("page-1-dark.svg", "dark")):
        assert f"```{{image}} figures/{name}\n:alt: A curve\n:class: only-{theme}\n```" in shown
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<?xml")
    text = tutorials.written(PAGE, outcome)
    assert "```text\nerror 0.123, of 100 rows\n```" in text
    assert "cat file\n```\n\n```text\nwritten\n```" in text
    assert text.endswith("The end.\n") and tutorials.written(text, outcome) == text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("error 0.12,", "error 0.19,", "the page says"),
        ("of 101 rows", "of 101 columns", "the page says"),
        ("written\n```\n\nThe", "written\nmore\n```\n\nThe", "lines"),
        ("figure = plt.figure()\n", "", "made no figure"),
        ("cat file", "cat no_file", "no_file"),
        ('print("error', 'print(1 / 0, "error', "ZeroDivisionError"),
    ],
)
def test_faults_of_tutorials(tutorial: Path, tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in PAGE
    tutorial.write_text(PAGE.replace(before, after), encoding="utf-8")
    problems = tutorials.run(tutorial, tmp_path).problems
    assert expected in " ".join(problems)


def test_the_cpp_of_the_tutorial_compiles(tmp_path: Path) -> None:
    found = cpp_tools.library()
    (code,) = re.findall(r"^```cpp\n(.*?)^```$", (ROOT / "docs/tutorials/deploy.md").read_text("utf-8"), re.M | re.S)
    x = rekur.Input((None, 1))
    model = rekur.Model(x, [rekur.layers.Dense(1)(x) for _ in range(3)])
    rekur.export_cpp(model, tmp_path / "vibration.hpp", "vibration")
    (tmp_path / "watch.cpp").write_text(code + "int main() { return Watch()(1.0f); }\n", encoding="utf-8")
    found.compile(tmp_path / "watch.cpp", tmp_path / "watch.o", link=False)


# ---- how fast ----


def test_the_tables_of_times_are_those_that_were_measured() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "speed_table.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_snippet_that_measures_a_shape_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/speed.md").read_text(encoding="utf-8"), re.M | re.S)
    exec(compile(code.replace("seconds=1.0", "seconds=0.01"), "docs/speed.md", "exec"), {})
    assert re.fullmatch(r"predict \d+\.\d\d ms\ntraining step \d+\.\d\d ms\n", capsys.readouterr().out)


# ---- the site itself ----


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not SITE:
        pytest.skip("REKUR_SITE names no built site")
    with Chromium(chromium(), tmp_path_factory.mktemp("chromium")) as page:
        yield page


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *given: object) -> None: ...


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["index.html", "docs/api/rekur.layers-recurrence.html", "docs/speed.html"])
def test_pages_render(page: Chromium, host: str, path: str, scheme: str, width: int) -> None:
    page.prefer(color_scheme=scheme)
    page.open(f"{host}/{path}", width=width)
    assert page.problems == []
    assert page.evaluate("document.querySelector('h1').innerText")
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert (red + green + blue > 600) == (scheme == "light")


def test_the_start_page_leads_to_every_page(page: Chromium, host: str) -> None:
    page.open(f"{host}/index.html")
    linked = page.evaluate("[...document.querySelectorAll('.sidebar-tree a')].map(a => a.href)")
    for source in sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "tutorials").glob("*.md")):
        assert f"{host}/{source.relative_to(ROOT).with_suffix('.html').as_posix()}" in linked


def test_the_form_of_times_meets_a_measured_shape(page: Chromium, host: str) -> None:
    page.open(f"{host}/docs/speed.html")
    measured = next(c for c in speed.cases() if (c.cell, c.mode, c.B, c.T, c.H) == ("LSTM", "infer", 64, 25, 512))
    for key in ("B", "T", "I", "H"):
        page.evaluate(f"document.querySelector('#speed [name={key}]').value = {getattr(measured, key)}")
    page.evaluate("document.querySelector('#speed').dispatchEvent(new Event('input'))")
    value, unit = page.evaluate("document.querySelector('#speed tr:nth-child(2) td:nth-child(3)').innerText").split()
    assert unit == "ms"
    assert float(value) == pytest.approx(measured.us / 1000, rel=0.15)
    page.evaluate("document.querySelector('#speed [name=B]').value = 0")
    page.evaluate("document.querySelector('#speed').dispatchEvent(new Event('input'))")
    assert "from 1 on" in page.evaluate("document.querySelector('#speed output').innerText")
    assert page.problems == []


def test_the_search_finds_a_name_and_a_word(page: Chromium, host: str) -> None:
    for word, expected in (("SimpleRNN", "rekur.layers"), ("denormals", "Embedded")):
        page.open(f"{host}/search.html?q={word}")
        page.wait_for("document.querySelectorAll('#search-results li').length > 0")
        page.wait_for(f"document.querySelector('#search-results').innerText.includes('{expected}')")
        assert page.problems == []
