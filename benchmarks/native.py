"""Programs of cpp/bench, compiled when first needed, and cores to run them on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "cpp" / "bench"
FLAGS = ("-std=c++20", "-O3", "-pthread")
ALL_CORES = sorted(os.sched_getaffinity(0))


class Unavailable(Exception):
    """Why something optional cannot be had here."""


@functools.cache
def program(source: str, flags: Sequence[str] = ()) -> Path:
    """The program of a source of cpp/bench, compiled by $CXX, c++ or g++ unless that very source already was."""
    found = (shutil.which(name) for name in (os.environ.get("CXX"), "c++", "g++") if name)
    compiler = next((path for path in found if path), None)
    if compiler is None:
        raise Unavailable("no C++ compiler: set CXX, or install g++")
    path = SOURCES / source
    if not path.is_file():
        raise Unavailable(f"{path} is missing: the benchmarks belong into a checkout")
    command = [compiler, *FLAGS, str(path), *flags]
    key = hashlib.sha256(path.read_bytes() + "\0".join(command).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"rekur-benchmarks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise Unavailable(f"{folder} belongs to somebody else")
    result = folder / f"{path.stem}-{key}"
    if not result.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fresh = Path(scratch) / path.stem
            done = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True)
            if done.returncode:
                errors = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr[-500:]]
                raise Unavailable(f"{source} does not compile: {errors[0]}")
            os.replace(fresh, result)
    return result


def use_cores(count: int) -> None:
    """Every thread of this process on the first `count` cores it may use, whatever pool it belongs to."""
    for task in os.listdir("/proc/self/task"):
        # A thread may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), ALL_CORES[:count])


def start(command: Sequence[str | Path], threads: int) -> subprocess.Popen[str]:
    """A process on as many cores as threads, the same ones as `use_cores` takes, with pipes to talk through."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ALL_CORES[:threads])  # of the calling thread; a child starts with it
    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    finally:
        os.sched_setaffinity(0, before)


def fma_peak(isa: str, threads: int) -> float:
    """GFLOP/s of fused multiply-adds that this machine reaches now, on as many cores as threads."""
    command = [program("roofline.cpp"), "--fma", "--isa", isa, "--threads", str(threads)]
    best = 0.0
    for _ in range(3):  # a busy moment must not pass for the peak
        with start(command, threads) as process:
            answer, _ = process.communicate()
        if process.returncode:
            raise Unavailable(f"roofline ends with {process.returncode}")
        best = max(best, float(json.loads(answer)["gflops"]))
    return best
