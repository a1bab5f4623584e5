"""Public headers are for any C++20 compiler: extensions of one stand in ``detail/compiler.hpp`` and ``config.h``."""

import re
import shutil
from pathlib import Path

import pytest

from cpp_tools import CXX, ROOT, needs_compiler, run

INCLUDE = ROOT / "cpp/include/rekur"
CONFIG = ROOT / "cpp/cmake/config.h.in"
COMPILER = INCLUDE / "detail/compiler.hpp"
EXTENSIONS = re.compile(
    r"__attribute|__builtin_|vector_size|#\s*pragma\s+(?!once)|_Pragma|__declspec|__extension__|__int128|__typeof|"
    r"__FLT_|\[\[(?:gnu|clang|msvc)::"
)
# What a program of any compiler includes; static.hpp and what it needs compute with vectors.
FOR_ALL = (
    "activation.hpp", "decode.hpp", "denormals.hpp", "import.hpp", "memory.hpp", "model.hpp", "operators.hpp",
    "rekur.h", "runtime.hpp", "status.hpp", "stream.hpp", "tensor.hpp", "train.hpp", "weight_type.hpp",
)  # fmt: skip
STANDARD = (
    "array", "bit", "cmath", "concepts", "cstddef", "cstdint", "cstdlib", "cstring", "functional", "initializer_list",
    "limits", "map", "memory", "new", "optional", "span", "stdexcept", "string", "string_view", "type_traits",
    "utility", "vector",
)  # fmt: skip


def code(path: Path) -> str:
    return re.sub(r"//.*|/\*.*?\*/", "", path.read_text(encoding="utf-8"))


def headers() -> list[Path]:
    return sorted(path for path in INCLUDE.rglob("*.h*") if path != COMPILER)


def configured(folder: Path) -> Path:
    """An include directory with a config.h in which everything is there."""
    text = re.sub(
        r"#cmakedefine01 (\w+)",
        lambda m: f"#define {m[1]} {int(m[1] not in ('REKUR_SHARED', 'REKUR_COMPACT'))}",
        CONFIG.read_text(),
    )
    (folder / "rekur").mkdir()
    (folder / "rekur/config.h").write_text(re.sub(r"@\w+@", "0", text.replace("@REKUR_CELL_DEFINES@", "")))
    return folder


def test_extensions_stand_in_one_header() -> None:
    found = [
        f"{path.relative_to(INCLUDE)}: {line.strip()}"
        for path in headers()
        for line in code(path).splitlines()
        if EXTENSIONS.search(line)
    ]
    assert not found
    assert EXTENSIONS.search(code(COMPILER))  # the words are those that are looked for


def test_public_headers_are_known() -> None:
    with_vectors = {"static.hpp", "static_model.hpp"}
    assert {path.name for path in INCLUDE.iterdir() if path.is_file()} == set(FOR_ALL) | with_vectors


@needs_compiler
@pytest.mark.parametrize("header", FOR_ALL)
def test_header_of_a_compiler_without_extensions(header: str, tmp_path: Path) -> None:
    """The standard library is this compiler's; then it forgets what it is, so that only standard C++ is left."""
    unknown = ("__GNUC__", "__clang__", "__SSE2__", "__aarch64__", "__arm__")
    lines = [f"#include <{name}>" for name in STANDARD]
    lines += [f"#undef {name}" for name in unknown]
    lines += [f'#include "rekur/{header}"', "int main() { return 0; }"]
    source = tmp_path / "alone.cpp"
    source.write_text("\n".join(lines) + "\n")
    assert CXX is not None
    run([CXX, "-std=c++20", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-Wno-builtin-macro-redefined",
         "-fsyntax-only", f"-I{ROOT / 'cpp/include'}", f"-I{configured(tmp_path)}", source])  # fmt: skip


@pytest.mark.skipif(shutil.which("clang") is None, reason="no clang")
@pytest.mark.parametrize("language", ["c", "c++"])
@pytest.mark.parametrize("target", ["x86_64-pc-windows-msvc", "arm64-apple-macos12", "x86_64-w64-windows-gnu"])
def test_c_header_of_other_systems(target: str, language: str, tmp_path: Path) -> None:
    """Of those systems there are no headers here; the C interface wants none but the compiler's own."""
    flags = ["-fms-compatibility"] if "msvc" in target else []
    standard = "c99" if language == "c" else "c++20"
    flags += [] if language == "c" else ["-nostdinc++"]
    run(["clang", f"--target={target}", *flags, "-ffreestanding", f"-std={standard}", "-x", language, "-Wall",
         "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT / 'cpp/include'}", f"-I{configured(tmp_path)}",
         INCLUDE / "rekur.h"])  # fmt: skip
