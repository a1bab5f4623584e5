#!/usr/bin/env python3
"""The library as three files: `python cpp/amalgamate.py --out DIR [-DREKUR_TRAINING=OFF …]`.

- `rekur.hpp`: every public header that needs the library (`static.hpp`, which needs none, stays apart)
- `rekur.h`: the interface in C, alone
- `rekur.cpp`: every source, to be compiled into a program beside its own

Options are those of CMake (docs/embedding.md, "Options"), except REKUR_ISAS: the instruction set is the one for which
rekur.cpp is compiled (`-mavx2 -mfma -mf16c`, `-march=native`, …). CMake says which sources, definitions and folders an
option means, so it is asked (its file API): the list of sources stands in CMakeLists.txt alone.

What is file-local in different sources stands in one file here: they never give one name to two things in a namespace
(CONTRIBUTING.md, REKUR_UNITY). A macro that a source defines ends with it.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INTERFACE = ROOT / "cpp/include"
# Cells of fixed size need no library, and vectors of the caller's width; operators are for one source of a program.
APART = {"static.hpp", "static_model.hpp", "operators.hpp"}

# Which instruction set the compiler's flags stand for, widest first; cpp/cmake/isas.cmake has the flags.
ISAS = {
    "avx512": " && ".join(f"defined(__{name}__)" for name in ("AVX512F", "AVX512DQ", "AVX512BW", "AVX512VL", "FMA")),
    "avx2": "defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)",
    "neon": "defined(__ARM_NEON) && (defined(__aarch64__) || defined(__ARM_FEATURE_FMA))",
    "rvv": "defined(__riscv_vector) && defined(__clang__)",
    "baseline": "1",
}
# A multiplication and an addition are fused where the source says so and nowhere else, or bits would not be the
# library's. The kernels' headers, which are a part of this file here, have functions for other options; GCC 12 gives
# false alarms.
PREAMBLE = """\
#if defined(__clang__)
#pragma clang fp contract(off)
#pragma clang diagnostic ignored "-Wunused-function"
#pragma clang diagnostic ignored "-Wunused-const-variable"
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#pragma GCC diagnostic ignored "-Wpsabi"
#pragma GCC diagnostic ignored "-Wrestrict"
#endif
"""
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"')


class Failure(Exception):
    """What the user can mend."""


@dataclass(frozen=True)
class Target:
    """What CMake says of the library."""

    sources: tuple[Path, ...]
    definitions: tuple[str, ...]  # of all sources: "NAME=VALUE"
    folders: tuple[Path, ...]  # for #include "…"


def configure(options: Sequence[str], folder: Path) -> Target:
    """The target ``rekur`` as CMake configures it with these options, in an empty folder."""
    if shutil.which("cmake") is None:
        raise Failure("there is no cmake, which knows the list of sources")
    query = folder / ".cmake/api/v1/query/codemodel-v2"
    query.parent.mkdir(parents=True)
    query.touch()
    fixed = ["-DREKUR_ISAS=baseline", "-DBUILD_SHARED_LIBS=OFF", "-DREKUR_WERROR=OFF", "-DCMAKE_BUILD_TYPE=Release"]
    fixed += [f"-DREKUR_{name}=OFF" for name in ("TESTS", "BENCH", "EXAMPLES", "PYTHON", "INSTALL", "UNITY")]
    done = subprocess.run(
        ["cmake", "-S", str(ROOT), "-B", str(folder), *options, *fixed], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failure(f"cmake refuses these options:\n{done.stderr.strip()}")
    reply = folder / ".cmake/api/v1/reply"
    description = json.loads(next(reply.glob("target-rekur-*.json")).read_text(encoding="utf-8"))
    groups = description["compileGroups"]
    definitions = [{d["define"] for d in group.get("defines", ())} for group in groups]
    common = set.intersection(*definitions)
    # Of kernels: what says how they are compiled.
    flags = [f["fragment"] for group in groups for f in group["compileCommandFragments"]]
    common |= {word[2:] for flag in flags for word in flag.split() if word.startswith("-DREKUR_COMPACT_KERNELS")}
    sources = (file for source in description["sources"] for file in on_every_system((ROOT / source["path"]).resolve()))
    folders = dict.fromkeys(Path(i["path"]).resolve() for group in groups for i in group.get("includes", ()))
    return Target(tuple(s for s in sources if s.suffix == ".cpp"), tuple(sorted(common)), tuple(folders))


def on_every_system(source: Path) -> list[Path]:
    """A source, or, where it is one system's (each begins with #if), all of them: the result serves elsewhere, too."""
    own = re.fullmatch(r"(\w+)_(posix|windows)\.cpp", source.name)
    return [source.with_name(f"{own[1]}_{system}.cpp") for system in ("posix", "windows")] if own else [source]


def resolved(text: str, known: Mapping[str, int]) -> str:
    """Without what #if leaves out, and without #if, where it asks for nothing but macros that are known."""
    out: list[str] = []
    # Of each open #if: whether it is decided here, whether lines are kept, whether a branch was taken.
    stack: list[tuple[bool, bool, bool]] = []
    for line in re.findall(r"(?:[^\n\\]|\\.|\\\n)*\n", text if text.endswith("\n") else text + "\n"):
        directive = re.match(
            r"[ \t]*#[ \t]*(if|ifdef|ifndef|elif|else|endif)\b[ \t]*(.*?)[ \t]*(?://.*|/\*.*)?$", line, re.S
        )
        here = all(kept for _, kept, _ in stack)
        if directive is None:
            if here:
                out.append(line)
        elif directive[1] in ("if", "ifdef", "ifndef"):
            expression = {"ifdef": f"defined({directive[2]})", "ifndef": f"!defined({directive[2]})"}.get(
                directive[1], directive[2]
            )
            value = evaluated(expression, known)
            if value is None or not here:
                stack.append((False, True, True))
                if here:
                    out.append(line)
            else:
                stack.append((True, value, value))
        elif stack and not stack[-1][0]:
            if here:
                out.append(line)
            if directive[1] == "endif":
                stack.pop()
        elif directive[1] == "endif":
            stack.pop()
        elif directive[1] == "else":
            stack[-1] = (True, not stack[-1][2], True)
        else:
            value = evaluated(directive[2], known)
            if value is None:
                raise Failure(f"#elif {directive[2]}: its #if is decided by options, and this is not")
            stack[-1] = (True, value and not stack[-1][2], value or stack[-1][2])
    return "".join(out)


def evaluated(expression: str, known: Mapping[str, int]) -> bool | None:
    """Whether a condition is true; None where it asks for more than is known."""
    words = re.findall(r"defined\s*\(\s*\w+\s*\)|\w+|&&|\|\||==|!=|[!()]", expression)
    if "".join(words).replace(" ", "") != re.sub(r"\s", "", expression):
        return None
    out = []
    for word in words:
        if word in known or word.isdigit():
            out.append(str(known.get(word, int(word) if word.isdigit() else 0)))
        elif word in ("&&", "||", "!", "(", ")", "==", "!="):
            out.append({"&&": " and ", "||": " or ", "!": " not "}.get(word, word))
        else:
            return None
    return bool(eval("".join(out), {"__builtins__": {}}))  # numbers and operators alone


@dataclass
class Writer:
    """Writes sources out with their headers in them."""

    folders: tuple[Path, ...]
    known: Mapping[str, int]  # macros by which an #if is decided
    out: list[str] = field(default_factory=list)
    there: set[Path] = field(default_factory=set)  # headers that stand in what was written, whatever is defined

    def find(self, name: str, by: Path) -> Path:
        for folder in (*self.folders, by.parent):
            if (folder / name).is_file():
                return (folder / name).resolve()
        raise Failure(f'{by.relative_to(ROOT)} includes "{name}", which is not there')

    def title(self, file: Path) -> str:
        for folder in self.folders:
            if file.is_relative_to(folder):
                return file.relative_to(folder).as_posix()
        return file.name

    def plain(self, file: Path) -> str:
        text = file.read_text(encoding="utf-8")
        return text if file.name == "config.h" else resolved(text, self.known)

    def write(self, file: Path, always: bool = True) -> None:
        """One file; ``always``: it does not stand between #if and #endif."""
        if file in self.there:
            return
        text = self.plain(file)
        once = "#pragma once" in text
        if always and (once or re.search(r"^#ifndef (\w+)\n#define \1\n", text, re.M)):
            self.there.add(file)
        title = self.title(file)
        guard = "REKUR_HAS_" + re.sub(r"\W", "_", title).upper()
        self.out.append(f"\n// ---- {title}\n")
        if once:
            self.out.append(f"#ifndef {guard}\n#define {guard}\n")
        self.lines(text, file, always)
        if once:
            self.out.append("#endif\n")

    def lines(self, text: str, file: Path, always: bool) -> None:
        depth = 0
        guard = re.search(r"^#ifndef (\w+)\n#define \1\n", text, re.M) is not None
        for line in text.splitlines(keepends=True):
            if line.strip() == "#pragma once":
                continue
            directive = re.match(r"\s*#\s*(\w+)", line)
            if directive and directive[1] in ("if", "ifdef", "ifndef"):
                depth += 1
            elif directive and directive[1] == "endif":
                depth -= 1
            include = INCLUDE.match(line)
            if include:
                self.write(self.find(include[1], file), always and depth <= guard)
            else:
                self.out.append(line if line.endswith("\n") else line + "\n")

    def result(self) -> str:
        return re.sub(r"\n{3,}", "\n\n", "".join(self.out))


def headers_of(file: Path, writer: Writer, seen: set[Path]) -> None:
    """``file`` and all that it includes, into ``seen``."""
    if file in seen:
        return
    seen.add(file)
    for line in writer.plain(file).splitlines():
        if include := INCLUDE.match(line):
            headers_of(writer.find(include[1], file), writer, seen)


def macros_of(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", text, re.M)))


def by_isa(folder: Path, unit: str) -> tuple[str, str, str]:
    """The units of one kind, of which one is chosen: what is before their common include, it, and what is behind."""
    before, after, included = "", "", set()
    for isa, condition in ISAS.items():
        text = (folder / f"{unit}_{isa}.cpp").read_text(encoding="utf-8")
        parts = re.split(r'^#include "([^"]+)"\n', text, flags=re.M)
        if len(parts) != 3:
            raise Failure(f"{unit}_{isa}.cpp should have one #include, of what is common to its kind")
        included.add(parts[1])
        word = "elif" if before else "if"
        before += f"#{word} {condition}\n#define REKUR_HAVE_{isa.upper()}\n{parts[0]}"
        after += f"#{word} {condition}\n{parts[2]}"
    if len(included) != 1:
        raise Failure(f"the units {unit}_*.cpp include different files: {', '.join(sorted(included))}")
    return before + "#endif\n", included.pop(), after + "#endif\n"


def amalgamate(options: Sequence[str]) -> dict[str, str]:
    """The files by their names."""
    with tempfile.TemporaryDirectory() as folder:
        target = configure(options, Path(folder))
        return {
            "rekur.h": header(target, [INTERFACE / "rekur/rekur.h"], "the interface in C"),
            "rekur.hpp": header(target, public_headers(target), "the interface in C++ and in C"),
            "rekur.cpp": source(target),
        }


def public_headers(target: Target) -> list[Path]:
    training = "#define REKUR_TRAINING 1\n" in config(target)
    sequence = "#define REKUR_SEQUENCE 1\n" in config(target)
    throws = "#define REKUR_EXCEPTIONS 1\n" in config(target)
    imports = "#define REKUR_IMPORT 1\n" in config(target)
    left_out = (
        APART
        | ({"train.hpp"} if not training else set())
        | ({"decode.hpp"} if not (sequence and throws) else set())
        | ({"import.hpp"} if not imports else set())
    )
    folder = INTERFACE / "rekur"
    return [file for file in sorted((*folder.glob("*.hpp"), *folder.glob("*.h"))) if file.name not in left_out]


def config(target: Target) -> str:
    return next(f / "rekur/config.h" for f in target.folders if (f / "rekur/config.h").is_file()).read_text(
        encoding="utf-8"
    )


def options_of(target: Target) -> dict[str, int]:
    """What config.h and the library's own definitions say, by which an #if can be decided."""
    known = {name: int(value) for name, value in re.findall(r"^#define (REKUR_\w+) ([01])$", config(target), re.M)}
    del known["REKUR_THROWS"]
    own = dict(d.split("=", 1) if "=" in d else (d, "1") for d in target.definitions)
    known["REKUR_THREADS"] = int(own.get("REKUR_THREADS", 0))
    return known


def banner(what: str) -> str:
    return f"/* rekur: {what}. Written by cpp/amalgamate.py of its sources: change those. */\n"


def header(target: Target, files: Sequence[Path], what: str) -> str:
    once = "" if what.endswith("in C") and "C++" not in what else "#pragma once\n"
    writer = Writer(target.folders, options_of(target), [banner(what), once])
    for file in files:
        writer.write(file)
    text = writer.result()
    if not once:  # C99 has // too, but who says -std=c90 -pedantic does not
        text = re.sub(r"^// (.*)$", r"/* \1 */", text, flags=re.M)
    return text


def source(target: Target) -> str:
    # As on a command line, what has no value is 1.
    defines = "".join(
        f"#define {name} {value or 1}\n" for name, _, value in (d.partition("=") for d in target.definitions)
    )
    writer = Writer(
        target.folders, options_of(target), [banner("the library"), PREAMBLE, defines, '#include "rekur.hpp"\n']
    )
    for file in public_headers(target):
        # Stands in rekur.hpp.
        seen: set[Path] = set()
        headers_of(file, writer, seen)
        writer.there |= {f for f in seen if "#pragma once" in f.read_text(encoding="utf-8") or f.suffix == ".h"}

    units = {m[1] for s in target.sources if (m := re.fullmatch(r"(isa|compiled)_baseline\.cpp", s.name))}
    folder = next(s.parent for s in target.sources if s.name == "isa_baseline.cpp")
    plain = [s for s in target.sources if s.name not in {f"{unit}_baseline.cpp" for unit in units}]

    common = {unit: by_isa(folder, unit) for unit in sorted(units, reverse=True)}
    for isa, condition in ISAS.items():
        writer.out.append(
            f"#{'if' if isa == next(iter(ISAS)) else 'elif'} {condition}\n#define REKUR_HAVE_{isa.upper()}\n"
        )
    writer.out.append("#endif\n")
    for s in plain:
        writer.write(s)
        writer.out += [f"#undef {name}\n" for name in macros_of(s.read_text(encoding="utf-8"))]
    for before, included, after in common.values():
        writer.out.append("\n" + re.sub(r"^#define REKUR_HAVE_\w+\n", "", before, flags=re.M))
        writer.write(writer.find(included, folder / "isa_baseline.cpp"))
        writer.out.append(after)
        writer.out += [f"#undef {name}\n" for name in macros_of(before) if not name.startswith("REKUR_HAVE_")]
    return writer.result()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Writes rekur.hpp, rekur.h and rekur.cpp: the library as one source.", allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they go")
    parser.add_argument(
        "-D", action="append", default=[], metavar="REKUR_X=Y", dest="options", help="an option of CMake"
    )
    given = parser.parse_args(arguments)
    for option in given.options:
        if option.startswith("REKUR_ISAS"):
            parser.error("-DREKUR_ISAS: the instruction set is the one that rekur.cpp is compiled for")
    try:
        files = amalgamate([f"-D{option}" for option in given.options])
    except Failure as failure:
        print(f"amalgamate: {failure}", file=sys.stderr)
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (given.out / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
