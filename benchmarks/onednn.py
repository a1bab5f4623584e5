"""oneDNN's own RNN primitives as a peer: a C++ program that takes turns with this process.

    pip install onednn-devel-cpu-gomp   # oneDNN 3.2 with OpenMP, the last wheel that has it

Found in this Python's environment, in /usr/local and /usr; DNNL_ROOT names another oneDNN ≥ 3 (a folder with include/
and lib/), built with OpenMP so that it heeds the number of threads. Not installed, or no compiler: left out.
ONEDNN_MAX_CPU_ISA=AVX2 keeps it to AVX2.

Version 3.2 is no handicap: 3.13 (onednn-devel, with SYCL and TBB, 2 GB) took 0.85 to 1.6 times its time in 14 cases of
three shapes on one thread of a busy machine, 1.05 in geometric mean.

It is measured inside C++, without Python's part of a call: at one row and one step that is most of ours.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.case import Case, Runner
from benchmarks.native import Unavailable, program, start


@functools.cache
def compiled() -> Path:
    """The program, linked with the first oneDNN found."""
    roots = [sys.prefix, *site.getsitepackages(), site.getusersitepackages(), "/usr/local", "/usr"]
    if named := os.environ.get("DNNL_ROOT"):
        roots = [named]
    for root in map(Path, roots):
        header = root / "include" / "oneapi" / "dnnl" / "dnnl.hpp"
        library = next((p for at in ("lib", "lib64", "lib/*-linux-gnu") for p in root.glob(f"{at}/libdnnl.so")), None)
        if header.is_file() and library:
            place = library.parent
            flags = (f"-I{root / 'include'}", f"-L{place}", f"-Wl,-rpath,{place}", "-ldnnl")
            return program("onednn_rnn.cpp", flags)
    raise Unavailable("no include/oneapi/dnnl/dnnl.hpp with lib/libdnnl.so in " + (named or "the usual places"))


class OneDnn(Runner):
    """oneDNN at one case, in its own process: time-major, weights in the primitive's layout."""

    def __init__(self, case: Case) -> None:
        self.case = case
        kernel, recurrent, bias = case.weights()
        if case.cell == "gru":  # z r n of the input, z r n of the recurrence → z, r, n, recurrent n
            bias = np.stack([bias[0] + bias[3], bias[1] + bias[4], bias[2], bias[5]])
        x = case.input().swapaxes(0, 1)
        with tempfile.NamedTemporaryFile(suffix=".bin") as data:
            for array in (x, kernel, recurrent, bias):
                data.write(np.ascontiguousarray(array).tobytes())
            data.flush()
            shape = (case.B, case.T, case.I, case.H)
            command = [compiled(), case.cell, case.mode, *map(str, shape), data.name]
            self.process = start(command, case.threads)
            self.implementation = self._answer().removeprefix("ready ")

    def _answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"onednn_rnn ended with {self.process.wait()} at {self.case}")
        return line

    def _ask(self, command: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def run(self, count: int) -> float:
        return float(self._ask(f"run {count}"))

    def close(self) -> None:
        self.process.communicate()  # the end of its input is its end

    def outputs(self) -> dict[str, np.ndarray]:
        """What a step yields, laid out as rekur does; a GRU's bias has its four rows."""
        case = self.case
        with tempfile.NamedTemporaryFile(suffix=".bin") as file:
            self.run(1)
            self._ask(f"write {file.name}")
            flat = np.fromfile(file.name, np.float32)
        G, rows = case.gates, len(case.weights()[2]) if case.cell != "gru" else 4
        shapes = {"output": (case.T, case.B, case.H)}
        if case.mode == "train":
            shapes["input gradient"] = (case.T, case.B, case.I)
            shapes["kernel gradient"] = (case.I, G * case.H)
            shapes["recurrent kernel gradient"] = (case.H, G * case.H)
            shapes["bias gradient"] = (rows, case.H)
        result, at = {}, 0
        for name, shape in shapes.items():
            size = int(np.prod(shape))
            array = flat[at : at + size].reshape(shape)
            result[name] = array.swapaxes(0, 1) if len(shape) == 3 else array
            at += size
        if at != len(flat):
            raise RuntimeError(f"onednn_rnn wrote {len(flat)} floats where {at} were expected")
        return result
