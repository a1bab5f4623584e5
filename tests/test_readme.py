"""What the README and CONTRIBUTING say is so: commands, code, links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/spec.md",
    "docs/decisions.md",
    "docs/onnx.md",
    "docs/cells.md",
    "docs/callbacks.md",
    "docs/training.md",
    "docs/embedding.md",
    "docs/precision.md",
    "docs/speed.md",
    *(f"docs/tutorials/{name}.md" for name in ("forecast", "many-series", "classify", "anomalies", "generate")),
    "docs/tutorials/translate.md",
    "cpp/examples/README.md",
    "examples/browser/README.md",
)

if not (ROOT / "README.md").is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def test_the_two_commands() -> None:
    commands = re.findall(r"^```sh\n(.*?)\n```$", read("README.md"), re.M | re.S)
    assert commands == ['pip install ".[demo]" && rekur demo', 'pip install ".[test]" && pytest -n auto']


def test_ci_runs_the_readmes_test_command() -> None:
    if not (ROOT / ".ci/run").is_file():
        pytest.skip("no .ci here")
    (finder,) = re.findall(r"command=\$\((sed .* README\.md)\)", read(".ci/run"))
    found = subprocess.run(["bash", "-c", finder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == 'pip install ".[test]" && pytest -n auto\n'


def test_the_ten_lines_run_as_they_are(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", read("README.md"), re.M | re.S)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "largest |difference|" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"wave.safetensors", "wave.onnx"}


def test_the_commands_at_the_top_are_commands() -> None:
    from rekur import cli

    (block,) = re.findall(r"^```console\n(.*?)^```$", read("README.md"), re.M | re.S)
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "rekur"
        assert callable(cli._parser().parse_args(arguments).command)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", read(page)):
        if not target.startswith("https://"):
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_paths_that_contributing_names_exist() -> None:
    for path in re.findall(r"`((?:cpp|python|tests|bindings|docs|examples|\.ci)/[\w./-]*)`", read("CONTRIBUTING.md")):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path
