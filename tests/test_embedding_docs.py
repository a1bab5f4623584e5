"""docs/embedding.md is true: every snippet compiles without a warning, the programs run, names and links exist.

A block that begins with ``// given: PARAMETERS`` is the body of a function of these; one with ``// compile: FLAGS`` is
compiled with them; the others are compiled as they stand, and run if they are programs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import ROOT, Library

PAGE = ROOT / "docs/embedding.md"
MODELS = ROOT / "cpp/examples/models"

if not PAGE.is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")
HEADERS = ("decode", "denormals", "memory", "model", "runtime", "static_model", "stream", "train")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


def compiled(code: str, suffix: str, folder: Path, library: Library) -> Path | None:
    """The program, or None if the block is none."""
    flags = re.findall(r"^// compile: (.*)$", code, re.M)
    given = re.match(r"// given: (.*)\n", code)
    if given:
        includes = [f"#include <rekur/{name}.hpp>" for name in HEADERS] + ["#include <cstdio>", "#include <vector>"]
        code = "\n".join([*includes, f"void snippet({given[1]});", f"void snippet({given[1]}) {{", code, "}", ""])
    source = folder / f"snippet{suffix}"
    source.write_text(code)
    is_program = "int main(" in code
    out = folder / ("snippet" if is_program else "snippet.o")
    extra = flags[0].split() if flags else []
    library.compile(source, out, f"-I{ROOT / 'cpp/examples'}", *extra, link=is_program)
    return out if is_program else None


@pytest.mark.parametrize("number", range(len(blocks("cpp"))))
def test_cpp_snippets(number: int, common_isa: str, tmp_path: Path) -> None:
    library, code = cpp_tools.library(), blocks("cpp")[number]
    throws = "Result" not in code and "static.hpp" not in code
    if throws and not library.config["EXCEPTIONS"]:
        pytest.skip("the library's functions do not throw")
    if "// given" in code and not library.config["TRAINING"]:
        pytest.skip("a library for inference only")
    program = compiled(code, ".cpp", tmp_path, library)
    if program is None:
        return
    shutil.copy(MODELS / "amp.safetensors", tmp_path)
    if "stdin" not in code:
        done = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return
    # The first program of the page: what it makes of a signal is what Python makes of it.
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 500).astype("<i2")
    environment = {**os.environ, "REKUR_ISA": common_isa}
    command = [program, "amp.safetensors"]
    out = subprocess.run(command, cwd=tmp_path, input=samples.tobytes(), stdout=-1, check=True, env=environment).stdout
    x = samples.astype(np.float32) / np.float32(32768)
    y = rekur.load(MODELS / "amp.safetensors").predict(x[None, :, None])[0, :, 0]
    np.testing.assert_array_equal(np.frombuffer(out, "<i2"), (np.clip(y, -1, 1) * np.float32(32767)).astype("<i2"))


def test_the_lines_of_the_readme(tmp_path: Path) -> None:
    library = cpp_tools.library()
    if not library.config["EXCEPTIONS"] or not library.config["TRAINING"]:
        pytest.skip("a library without exceptions, or without training")
    (code,) = re.findall(r"^```cpp\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    compiled(f"// given: const float* x, float* y\n{code}", ".cpp", tmp_path, library)


@pytest.mark.parametrize("number", range(len(blocks("c"))))
def test_the_c_programs(number: int, tmp_path: Path) -> None:
    program = compiled(blocks("c")[number], ".c", tmp_path, cpp_tools.library())
    assert program is not None
    shutil.copy(MODELS / "amp.safetensors", tmp_path)
    done = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr and np.isfinite(float(done.stdout.split()[-1]))
    (tmp_path / "amp.safetensors").unlink()
    assert "amp.safetensors" in subprocess.run([program], cwd=tmp_path, capture_output=True, text=True).stderr


def test_the_project_of_two_files(tmp_path: Path) -> None:
    prefix = os.environ.get("REKUR_CPP_PREFIX")
    if not prefix or not shutil.which("cmake"):
        pytest.skip("no cmake, or no installed library: REKUR_CPP_PREFIX")
    if not cpp_tools.library().config["EXCEPTIONS"]:
        pytest.skip("the library's functions do not throw")
    (cmake,) = blocks("cmake")
    (tmp_path / "CMakeLists.txt").write_text(cmake)
    (tmp_path / "main.cpp").write_text(blocks("cpp")[0])
    build = tmp_path / "build"
    cpp_tools.run(["cmake", "-S", tmp_path, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}"])
    cpp_tools.run(["cmake", "--build", build])
    command = [build / "amp", MODELS / "amp.safetensors"]
    assert len(subprocess.run(command, input=b"\0\1" * 10, stdout=-1, check=True, timeout=60).stdout) == 20


def test_sections_that_are_linked_exist() -> None:
    titles = {re.sub(r"[^a-z0-9 -]", "", t.lower()).replace(" ", "-") for t in re.findall(r"^#+ (.*)$", TEXT, re.M)}
    links = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert len(links) > 8 and set(links) <= titles


def test_options_and_headers_that_are_named_exist() -> None:
    cmake = "".join(path.read_text() for path in [ROOT / "CMakeLists.txt", *(ROOT / "cpp/cmake").glob("*.cmake")])
    (table,) = re.findall(r"^\| CMake option.*?\n\n", TEXT, re.M | re.S)
    options = re.findall(r"`((?:REKUR|BUILD)_\w+)`", table)
    assert len(options) >= 8
    for option in options:
        assert re.search(rf"\b{option}\b", cmake), option
    for header in re.findall(r"\brekur/(\w+\.(?:h|hpp))\b", TEXT):
        assert (ROOT / "cpp/include/rekur" / header).is_file() or header == "config.h", header
