"""Equations compiled where the program runs: see :func:`compile_cells` and docs/cells.md."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rekur import _core, layers
from rekur._cell import Cell
from rekur._spec import dumps
from rekur.models.model import Model

COMPILERS = ("c++", "g++", "clang++")
# As the library itself is compiled (cpp/cmake/isas.cmake): with these the bits are the interpreter's.
FLAGS = (
    "-std=c++20",
    "-O2",
    "-fPIC",
    "-shared",
    "-fno-exceptions",
    "-fno-rtti",
    "-ffp-contract=off",
    "-fvisibility=hidden",
)
ISA_FLAGS = {
    "baseline": (),
    "avx2": ("-mavx2", "-mfma", "-mf16c"),
    "avx512": ("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"),
    "neon": (),
    "rvv": ("-march=rv64gcv",),
}
NEON_OF_32_BITS = (
    "-mfpu=neon-vfpv4", "-funsafe-math-optimizations", "-fno-associative-math", "-fno-reciprocal-math",
    "-fsigned-zeros", "-ftrapping-math",
)  # fmt: skip
COMPILED_AS = {"amx": "avx512"}  # equations know no tiles
VECTOR_BYTES = {"baseline": 16, "avx2": 32, "avx512": 64, "neon": 16, "rvv": 16}
SOURCE = """\
#define REKUR_VEC_BYTES {bytes}
#include <iterator>
#include "simd/compiled.hpp"
{functions}
namespace rekur {{
extern "C" __attribute__((visibility("default"))) const simd::CompiledTable rekur_equations;
const simd::CompiledTable rekur_equations = {{simd::kCompiledAbi, "{isa}", static_cast<int>(std::size(kSignatures)),
                                             kSignatures, kFunctions}};
}}  // namespace rekur
"""
_turn = threading.Lock()


@dataclass(frozen=True)
class CompileReport:
    """What :func:`compile_cells` did.

    Attributes
    ----------
    compiled, cached, ready : int
        Pieces of equations that were compiled now, that were in the cache folder, and that needed nothing, since they
        are compiled into the library or were loaded before. A recurrent layer has some three: inference, training, its
        backward pass.
    seconds : float
        What it took.
    isa : str
        The instruction set that they were compiled for.
    folder : str
        The cache folder.
    """

    compiled: int
    cached: int
    ready: int
    seconds: float
    isa: str
    folder: str

    def __str__(self) -> str:
        return (
            f"{self.compiled} compiled for {self.isa} in {self.seconds:.1f} s, {self.cached} from {self.folder}, "
            f"{self.ready} were ready"
        )


def compile_cells(
    what: Any = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    compiler: str | None = None,
) -> CompileReport:
    """Compile equations of one's own with the C++ compiler of this machine, for this and later sessions.

    Everything works without: the engine interprets equations, and the most common cells of :mod:`rekur.cells` are
    compiled into it. What is compiled gives the same bits, sooner. Models, streams and runs that there are use it from
    their next call on.

    Parameters
    ----------
    what : Model, Layer, Cell or several, optional
        Whose equations: a model's layers (cells, activations, Lambdas), an RNN layer's or a Bidirectional's cell, or a
        cell's. None: all that models of this process have, with losses and metrics that have run.
    folder : path, optional
        Where compiled equations are kept. ``$REKUR_CACHE``, else ``$XDG_CACHE_HOME/rekur``, else ``~/.cache/rekur``. It
        is made for this user alone; one that others may write to is refused, since what is in it is executed.
    compiler : str, optional
        The command. ``$CXX``, else the first of c++, g++ and clang++. It must know C++20.

    Returns
    -------
    CompileReport
        How many pieces were compiled and how many were there. A first call takes some seconds; later ones, in other
        processes too, load what is there. The instruction set is the one in use, rekur's version is a part of the key.

    Raises
    ------
    RuntimeError
        If something must be compiled and there is no compiler, or it fails: what it said.
    PermissionError
        If the folder is another user's or others may write to it.
    TypeError
        For anything but the above.
    """
    start = time.perf_counter()
    equations = _core.all_equations() if what is None else _equations(what)
    with _turn:
        open_ = {each.signature: each for each in equations if not each.compiled}
        ready = len({each.signature for each in equations}) - len(open_)
        place = cache_folder(folder)
        isa = COMPILED_AS.get(_core.isa(), _core.isa())
        missing = []
        for each in open_.values():
            path = place / f"{_key(each, isa)}.so"
            if not _load(path):
                missing.append((each, path))
        if missing:
            command = compiler_command(compiler)
            with ThreadPoolExecutor(max(1, min(len(missing), os.cpu_count() or 1))) as pool:
                list(pool.map(lambda item: _compile(command, [item[0]], item[1], isa), missing))
            for each, path in missing:
                if not _load(path) or not each.compiled:
                    raise RuntimeError(f"compile_cells: '{path}' was compiled and could not be loaded")
    return CompileReport(
        len(missing), len(open_) - len(missing), ready, time.perf_counter() - start, isa, os.fspath(place)
    )


def _equations(what: Any) -> list[_core.Equations]:
    """The equations of a model, a layer, a cell or several, each made once more while the engine says what it makes."""
    return _core.equations_heard(lambda: _make(what))


def _make(what: Any) -> None:
    if isinstance(what, Model):
        what._engine()
        _core.Model(dumps(what._make_spec()))
    elif isinstance(what, Cell):
        for given in {(), tuple(what.step_inputs)}:
            if all(what.step_inputs[name] is not None for name in what.step_inputs if name not in given):
                for width in {1, 4} if given else {1}:
                    _make_cell(what, given, width)
    elif isinstance(what, layers.Bidirectional):
        _make(what.inner)
    elif isinstance(what, layers.RNN):
        _make(what.cell)
    elif isinstance(what, layers.Layer):
        raise TypeError(f"compile_cells: {what!r} has no cell of its own; give the model that it is in")
    elif isinstance(what, Iterable) and not isinstance(what, (str, bytes)):
        for each in what:
            _make(each)
    else:
        raise TypeError(f"compile_cells: expected a model, a layer, a cell or several of them, got {what!r}")


def _make_cell(cell: Cell, given: tuple[str, ...], width: int) -> None:
    """An engine of one layer of the cell. How wide it is makes no difference, but for step inputs of one number."""
    steps = [_input(name, width) for name in given]
    spec = {
        "format": "rekur", "version": 1, "name": "compile",
        "layers": [
            _input("x", 4), *steps,
            {
                "type": "RNN", "name": "rnn", "inputs": ["x", *(s["name"] for s in steps)], "units": 4,
                "cell": cell.spec(given),
            },
        ],
        "inputs": ["x", *(s["name"] for s in steps)], "outputs": ["rnn"],
    }  # fmt: skip
    _core.Model(dumps(spec))


def _input(name: str, features: int) -> dict[str, Any]:
    name = name if name == "x" else f"step.{name}"
    return {"type": "Input", "name": name, "shape": [None, features], "dtype": "float32"}


# --- the cache ---


def cache_folder(given: str | os.PathLike[str] | None) -> Path:
    if given is not None:
        place = Path(given)
    elif os.environ.get("REKUR_CACHE"):
        place = Path(os.environ["REKUR_CACHE"])
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rekur"
    place = place.expanduser().absolute()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    owned_by_us(place)
    return place


def owned_by_us(path: Path) -> None:
    """What is loaded is executed: nobody else may have written it."""
    found = path.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(
            f"compile_cells: '{path}' is another user's, or others may write to it; what is in it would be executed. "
            "Give a folder= of your own, of mode 700"
        )


def _headers() -> Path:
    return Path(_core.__file__).parent / "_compile_include"


def _key(equations: _core.Equations, isa: str) -> str:
    """Everything that the object depends on but the compiler: the bits do not depend on that."""
    digest = hashlib.sha256()
    parts = [
        _core.__version__, str(_core.equations_abi()), platform.system(), platform.machine(), isa, *_flags(isa),
        _source([equations], isa),
    ]  # fmt: skip
    for header in sorted(_headers().rglob("*.hpp")):
        parts.append(header.read_text(encoding="utf-8"))
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:40]


def _load(path: Path) -> bool:
    if not path.is_file():
        return False
    owned_by_us(path)
    try:
        _core.load_equations(os.fspath(path))
    except OSError:  # of another time or another machine: it is compiled again
        return False
    return True


# --- the compiler ---


def _flags(isa: str) -> tuple[str, ...]:
    if isa == "neon" and platform.machine().startswith("arm") and platform.architecture()[0] == "32bit":
        return (*FLAGS, *NEON_OF_32_BITS)
    return (*FLAGS, *ISA_FLAGS[isa])


def _source(equations: Sequence[_core.Equations], isa: str) -> str:
    return SOURCE.format(bytes=VECTOR_BYTES[isa], isa=isa, functions=_core.equations_text(equations))


INTERPRETS = "the engine interprets the equations, with the same bits"


def compiler_command(given: str | None, what: str = "compile_cells", without: str = INTERPRETS) -> list[str]:
    named = given or os.environ.get("CXX")
    command = shlex.split(named) if named else next(([name] for name in COMPILERS if shutil.which(name)), [])
    if command and shutil.which(command[0]):
        return command
    reason = f"'{named}' was not found" if named else f"there is none of {', '.join(COMPILERS)}, and CXX is not set"
    raise RuntimeError(f"{what} needs a C++ compiler: {reason}. Without one everything works: {without}")


def _compile(command: list[str], equations: Sequence[_core.Equations], path: Path, isa: str) -> None:
    """The object appears whole or not at all; of several processes that make it, the last one's stays."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as made:
        source, made_object = Path(made) / "equations.cpp", Path(made) / "equations.so"
        source.write_text(_source(equations, isa), encoding="utf-8")
        call = [*command, *_flags(isa), f"-I{_headers()}", "-w", os.fspath(source), "-o", os.fspath(made_object)]
        try:
            done = subprocess.run(call, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise RuntimeError(f"compile_cells: {shlex.join(call)}: {error}") from None
        if done.returncode != 0:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[:20])
            raise RuntimeError(f"compile_cells: the compiler failed ({done.returncode}): {shlex.join(call)}\n{said}")
        made_object.chmod(0o700)
        os.replace(made_object, path)
