"""The layers compiled into jax.jit's programs, by XLA's foreign function interface: see :func:`compile`."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from rekur import _compile, _core

if TYPE_CHECKING:
    from rekur.jax._plan import Plan

RUN, BACK = "rekur_layer_run", "rekur_layer_back"
FLAGS = ("-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-w")
WITHOUT = "jitted programs call back to Python, with the same bits"
_HERE = Path(__file__).parent
_turn = threading.Lock()
_loaded: list[ctypes.CDLL] = []


def compile(*, folder: str | os.PathLike[str] | None = None, compiler: str | None = None) -> str:
    """Compile what calls the engine from within jitted programs on the CPU, for this and later sessions.

    Without it everything works: jitted programs call back to Python, which costs some 100 µs a layer and copies. With
    it a call costs some 5 µs, and numbers are the same. It holds for what is traced after it.

    Parameters
    ----------
    folder : path, optional
        Where what was compiled is kept, as for :func:`rekur.compile_cells`: ``$REKUR_CACHE``, else
        ``$XDG_CACHE_HOME/rekur``, else ``~/.cache/rekur``; made for this user alone.
    compiler : str, optional
        The command: ``$CXX``, else the first of c++, g++ and clang++. It must know C++20.

    Returns
    -------
    str
        The path of what was loaded; where that was done before, of that, whatever the folder. A first call takes some
        seconds; the headers are those of the installed jax, and another jax is another file.

    Raises
    ------
    RuntimeError
        If there is no compiler, or it fails: what it said.
    PermissionError
        If the folder is another user's or others may write to it.
    """
    with _turn:
        if _loaded:
            return os.fspath(_loaded[0]._name)
        path = _compile.cache_folder(folder) / f"jax-{_key()}.so"
        if not path.is_file():
            _build(path, _compile.compiler_command(compiler, "rekur.jax.compile", WITHOUT))
        _compile.owned_by_us(path)
        _register(path)
    return os.fspath(path)


def ready() -> bool:
    return bool(_loaded)


def run(plan: Plan, operands: Sequence[Any], results: Any) -> Any:
    keep = len(results) > len(plan.output_features)
    return jax.ffi.ffi_call(RUN, results)(*operands, **_common(plan), keep=keep)


def back(plan: Plan, operands: Sequence[Any], results: Any, arrived: Sequence[bool], wanted: Sequence[bool]) -> Any:
    flags = {"arrived": _digits(arrived), "wanted": _digits(wanted)}
    return jax.ffi.ffi_call(BACK, results)(*operands, **_common(plan), **flags)


def _common(plan: Plan) -> dict[str, Any]:
    sizes = {"weights": np.int64(plan.weights), "inputs": np.int64(plan.inputs)}
    return {"spec": plan.spec, **sizes, "lengths": plan.key.lengths, "resets": plan.key.resets}


def _digits(flags: Sequence[bool]) -> str:
    return "".join("01"[bool(flag)] for flag in flags)


def _headers() -> list[Path]:
    return sorted((Path(jax.ffi.include_dir()) / "xla" / "ffi" / "api").glob("*.h"))


def _key() -> str:
    """Everything that the object depends on but the compiler."""
    digest = hashlib.sha256()
    sources = [_HERE / "_ffi.cpp", _HERE / "layer_calls.h", *_headers()]
    parts = [_core.__version__, platform.system(), platform.machine(), *FLAGS]
    for part in [*parts, *(source.read_text(encoding="utf-8") for source in sources)]:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()[:40]


def _build(path: Path, command: Sequence[str]) -> None:
    """The object appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as made:
        to = Path(made) / "jax.so"
        includes = [f"-I{_HERE}", f"-I{jax.ffi.include_dir()}"]
        call = [*command, *FLAGS, *includes, os.fspath(_HERE / "_ffi.cpp"), "-o", os.fspath(to)]
        try:
            done = subprocess.run(call, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise RuntimeError(f"rekur.jax.compile: {shlex.join(call)}: {error}") from None
        if done.returncode != 0:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[:20])
            raise RuntimeError(
                f"rekur.jax.compile: the compiler failed ({done.returncode}): {shlex.join(call)}\n{said}"
            )
        to.chmod(0o700)
        os.replace(to, path)


def _register(path: Path) -> None:
    try:
        library = ctypes.CDLL(os.fspath(path))
    except OSError as error:
        raise RuntimeError(
            f"rekur.jax.compile: '{path}' could not be loaded; delete it and try again: {error}"
        ) from None
    if library.rekur_set_calls(ctypes.c_void_p(_core.layer_calls_address())) != 0:
        raise RuntimeError(f"rekur.jax.compile: '{path}' is of another rekur; delete it and try again")
    for name, symbol in ((RUN, library.RekurLayerRun), (BACK, library.RekurLayerBack)):
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(symbol), platform="cpu")
    _loaded.append(library)
