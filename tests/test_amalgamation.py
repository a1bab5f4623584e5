"""cpp/amalgamate.py: the library as one source, with the library's bits."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import cpp_tools
import rekur
from cpp_tools import CC, CXX, ROOT, needs_compiler

SCRIPT = ROOT / "cpp/amalgamate.py"
CONSUMER = ROOT / "cpp/tests/consumer"
AMP = ROOT / "cpp/examples/models/amp.safetensors"
# What is quickly compiled: two cells, inference alone.
FEW = [f"-DREKUR_{name}=OFF" for name in ("TRAINING", "EQUATIONS", "MATRIX", "SEQUENCE", "INT8")]
FEW += ["-DREKUR_CELLS=lstm;simple_rnn"]
ISA_FLAGS = {
    "avx512": ["-march=x86-64-v4"],
    "avx2": ["-march=x86-64-v3"],
    "neon": [],
    "rvv": ["-march=rv64gcv"],
    "baseline": [],
}

if not SCRIPT.is_file():
    pytest.skip("no source tree around the tests", allow_module_level=True)
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("amalgamate", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["amalgamate"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few")
    cpp_tools.run([sys.executable, SCRIPT, "--out", folder, *FEW])
    return folder


@pytest.fixture(scope="module")
def isa() -> str:
    """An instruction set of this machine that has flags of its own, and not the widest alone."""
    return "avx2" if "avx2" in rekur.available_isas() else rekur.available_isas()[0]


@pytest.fixture(scope="module")
def compiled(few: Path, isa: str) -> Path:
    """The library as an object, without a warning. Most of the time goes into how well it is optimised: not at all."""
    assert CXX is not None
    flags = ["-O0", "-Wall", "-Wextra", "-Werror", *ISA_FLAGS[isa]]
    cpp_tools.run([CXX, "-std=c++20", *flags, "-c", few / "rekur.cpp", "-o", few / "rekur.o"])
    return few / "rekur.o"


def headers(folder: Path) -> Path:
    """Each public header by its own name, for programs that were written for the installed library."""
    own = folder / "by_name/rekur"
    own.mkdir(parents=True, exist_ok=True)
    for header in (ROOT / "cpp/include/rekur").glob("*.hpp"):
        (own / header.name).write_text('#include "rekur.hpp"\n')
    (own / "rekur.h").write_text('#include "../../rekur.h"\n')
    return own.parent


@needs_cmake
@needs_compiler
def test_every_source_is_in_it(tmp_path: Path) -> None:
    cpp_tools.run([sys.executable, SCRIPT, "--out", tmp_path])
    source, header = ((tmp_path / name).read_text() for name in ("rekur.cpp", "rekur.hpp"))
    titles = re.findall(r"^// ---- (\S+\.cpp)$", source, re.M)
    there = {f.relative_to(ROOT / "cpp/src").as_posix() for f in (ROOT / "cpp/src").glob("*/*.cpp")}
    by_isa = {name for name in there if re.match(r"isa/(isa|compiled)_", name)}
    without_files = {name for name in there if name.endswith("_none.cpp")}  # REKUR_FILES=OFF
    assert sorted(titles) == sorted(there - by_isa - without_files)
    for table in ("table_baseline", "table_avx2", "table_avx512", "table_neon", "compiled_neon", "table_rvv"):
        assert table in source
    for name in ("class REKUR_API Model", "class REKUR_API Stream", "class REKUR_API Trainer", "rekur_model_load("):
        assert name in header
    assert not re.search(r'#\s*include\s*"(?!rekur\.hpp")', source + header)
    # No two sources give one name to different things, nor hide one another's.
    assert CXX is not None
    cpp_tools.run([CXX, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", tmp_path / "rekur.cpp"])


@needs_cmake
@needs_compiler
def test_the_compact_form_compiles(tmp_path: Path, isa: str) -> None:
    assert CXX is not None
    cpp_tools.run([sys.executable, SCRIPT, "--out", tmp_path, *FEW, "-DREKUR_COMPACT=ON", "-DREKUR_THREADS=OFF"])
    cpp_tools.run([CXX, "-std=c++20", "-fsyntax-only", *ISA_FLAGS[isa], tmp_path / "rekur.cpp"])


@needs_cmake
@needs_compiler
def test_options_leave_out_what_they_leave_out(few: Path) -> None:
    source, header = ((few / name).read_text() for name in ("rekur.cpp", "rekur.hpp"))
    assert not any("train/" in title for title in re.findall(r"^// ---- (\S+)$", source, re.M))
    assert "#if REKUR_TRAINING\n" not in source and "try_trainer" not in header
    assert "#define REKUR_CELL_LSTM 1" in header and "#define REKUR_CELL_GRU 0" in header


@needs_cmake
@needs_compiler
def test_the_consumer_and_its_bits(few: Path, compiled: Path, isa: str, tmp_path: Path) -> None:
    assert CXX is not None and CC is not None
    includes = [f"-I{headers(few)}", f"-I{few}"]
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    cpp_tools.run([CC, "-std=c99", *strict, *includes, "-c", CONSUMER / "main.c", "-o", tmp_path / "c.o"])
    cpp_tools.run([CXX, "-std=gnu++20", *strict, *includes, "-c", CONSUMER / "main.cpp", "-o", tmp_path / "cpp.o"])
    (tmp_path / "bits.cpp").write_text(r"""
#include "rekur.hpp"
#include "rekur.h"
#include <cstdio>
int main(int, char** argv) {
  const rekur::Model model = rekur::Model::load(argv[1]);
  rekur::Stream stream(model, {.batch = 1});
  std::fprintf(stderr, "%s\n", rekur::current_isa().c_str());
  for (float x; std::fread(&x, sizeof x, 1, stdin) == 1;) {
    float y;
    stream.step(&x, &y);
    std::fwrite(&y, sizeof y, 1, stdout);
  }
}
""")
    cpp_tools.run([CXX, "-std=c++20", *strict, *includes, "-c", tmp_path / "bits.cpp", "-o", tmp_path / "bits.o"])
    for program in ("c", "cpp", "bits"):
        cpp_tools.run([CXX, tmp_path / f"{program}.o", compiled, "-o", tmp_path / program, "-pthread"])
    cpp_tools.run([tmp_path / "c"])
    cpp_tools.run([tmp_path / "cpp"])

    x = np.random.default_rng(3).normal(size=(500, 1)).astype(np.float32)
    done = subprocess.run([tmp_path / "bits", AMP], input=x.tobytes(), capture_output=True, check=True)
    assert done.stderr.decode().split() == [isa]
    before = rekur.isa()
    rekur.set_isa(isa)
    try:
        expected = rekur.load_model(AMP).predict(x[None])
    finally:
        rekur.set_isa(before)
    actual = np.frombuffer(done.stdout, np.float32)
    assert np.array_equal(actual.view(np.uint32), np.ravel(expected).view(np.uint32))


def test_options_decide_conditions(script: ModuleType) -> None:
    text = (
        "#if A\na\n#ifdef X\nx\n#else\ny\n#endif\n#elif B && !A\nb\n#else\nc\n#endif\n#if A || defined(X)\nd\n#endif\n"
    )
    assert (
        script.resolved(text, {"A": 1, "B": 0}) == "a\n#ifdef X\nx\n#else\ny\n#endif\n#if A || defined(X)\nd\n#endif\n"
    )
    assert script.resolved(text, {"A": 0, "B": 1}) == "b\n#if A || defined(X)\nd\n#endif\n"
    assert script.resolved(text, {"A": 0, "B": 0}) == "c\n#if A || defined(X)\nd\n#endif\n"


@needs_cmake
@needs_compiler
def test_errors(tmp_path: Path) -> None:
    def fails(*options: str) -> str:
        done = subprocess.run([sys.executable, SCRIPT, "--out", tmp_path, *options], capture_output=True, text=True)
        assert done.returncode
        return done.stderr

    assert "REKUR_CELLS names 'lstn'" in fails("-DREKUR_CELLS=lstn")
    assert "the instruction set is the one that rekur.cpp is compiled for" in fails("-DREKUR_ISAS=avx2")
