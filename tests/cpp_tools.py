"""The C++ library as a user has it: found, compiled against, linked.

``REKUR_CPP_PREFIX`` names an installed copy (``cmake --install BUILD --prefix PREFIX``). Without it, a build of this
very source tree will do, such as ``pip install .`` leaves in ``build/``. Where there is neither, or no compiler, the
tests that ask are skipped.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CXX = shutil.which(os.environ.get("CXX", "g++"))
CC = shutil.which(os.environ.get("CC", "gcc"))
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
LISTING = """\
#include <rekur/rekur.h>
#include <cstdio>
int main() {
  for (std::size_t k = 0; const char* isa = rekur_available_isa(k); ++k) std::printf("%s\\n", isa);
}
"""
needs_compiler = pytest.mark.skipif(CXX is None, reason="no C++ compiler")


@dataclass(frozen=True)
class Library:
    include: tuple[Path, ...]
    file: Path
    link: tuple[str, ...]  # what the linker is given
    isas: tuple[str, ...] = ()  # what it and this machine have

    @functools.cached_property
    def config(self) -> dict[str, bool]:
        """SHARED, EXCEPTIONS, TRAINING, as config.h has them."""
        text = next(p / "rekur/config.h" for p in self.include if (p / "rekur/config.h").is_file()).read_text()
        return {name: value == "1" for name, value in re.findall(r"^#define REKUR_(\w+) ([01])$", text, re.M)}

    def compile(self, source: Path, out: Path, *flags: str, link: bool = True) -> Path:
        """A program (or, without link, an object) of one source, C or C++ by its name."""
        c = source.suffix == ".c"
        assert CXX is not None
        compiler = [CC or "cc", "-std=c99"] if c else [CXX, "-std=c++20"]
        includes = [f"-I{path}" for path in self.include]
        object_ = out.with_suffix(".o") if link else out
        run([*compiler, "-O1", *WARNINGS, *includes, *flags, "-c", str(source), "-o", str(object_)])
        if link:
            run([CXX, str(object_), "-o", str(out), *self.link])
        return out


def run(command: Sequence[str | Path], **environment: str) -> str:
    """What the command prints; the test fails with what it says where it does not end well."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def usable(include: tuple[Path, ...], file: Path) -> Library | None:
    """The library if a program can be linked to all of it and runs: builds for other machines or sanitisers cannot."""
    if file.suffix == ".so":
        whole = plain = [str(file), f"-Wl,-rpath,{file.parent}"]
    else:
        whole, plain = ["-Wl,--whole-archive", str(file), "-Wl,--no-whole-archive"], [str(file)]
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "try.cpp"), Path(folder, "try")
        source.write_text(LISTING)
        for needs in ((), ("-pthread",)):
            with contextlib.suppress(AssertionError, OSError):
                isas = run([Library(include, file, (*whole, *needs)).compile(source, out)]).split()
                return Library(include, file, (*plain, *needs), tuple(isas))
    return None


@functools.cache
def find() -> Library | None:
    if CXX is None:
        return None
    if prefix := os.environ.get("REKUR_CPP_PREFIX"):
        files = [f for name in ("librekur.so", "librekur.a") for f in sorted(Path(prefix).glob(f"lib*/**/{name}"))]
        library = usable((Path(prefix) / "include",), files[0]) if files else None
        assert library is not None, f"REKUR_CPP_PREFIX={prefix}: no library there that a program can be linked to"
        return library
    sources = newest([*ROOT.glob("cpp/src/**/*"), *ROOT.glob("cpp/include/**/*")])
    files = [file for file in ROOT.glob("build/*/librekur.a") if file.stat().st_mtime > sources]
    for file in sorted(files, key=completeness, reverse=True):
        if library := usable((ROOT / "cpp/include", file.parent / "include"), file):
            return library
    return None


def completeness(file: Path) -> tuple[int, float]:
    """Of several builds the one with the most in it, then the newest."""
    config = file.parent / "include/rekur/config.h"
    options = (
        re.findall(r"^#define REKUR_(?:EXCEPTIONS|TRAINING) 1", config.read_text(), re.M) if config.is_file() else []
    )
    return len(options), file.stat().st_mtime


def newest(paths: Iterable[Path]) -> float:
    return max((path.stat().st_mtime for path in paths if path.is_file()), default=0.0)


def library() -> Library:
    """Skips the test where there is none."""
    found = find()
    if found is None:
        pytest.skip("no compiler" if CXX is None else "no C++ library: REKUR_CPP_PREFIX names none, build/ holds none")
    return found


def main_of_header(more: str = "") -> str:
    """A program of m.hpp, which export_cpp wrote: both ways to its weights, what ``more`` writes, six steps.

    They go to its output as float32.
    """
    return f"""
#include "m.hpp"
#include <rekur/stream.hpp>
#include <cstdio>
int main() {{
  const rekur::Model model = m::model();
  rekur::Result<rekur::Model> other = m::try_model();
  if (!other) return 2;
  std::fwrite(model.weights().data(), sizeof(float), model.weight_count(), stdout);
  std::fwrite(other->weights().data(), sizeof(float), other->weight_count(), stdout);
{more}  rekur::Stream stream(model);
  for (int t = 0; t < 6; ++t) {{
    const float x[2] = {{0.25f * static_cast<float>(t), -0.5f}};
    float y;
    stream.step(x, &y);
    std::fwrite(&y, sizeof y, 1, stdout);
  }}
}}
"""
