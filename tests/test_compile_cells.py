"""Compiled equations: those that are compiled in, and rekur.compile_cells. Their bits are the interpreter's."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
import sampling
from harness import Engine
from random_cells import cell_inputs, cell_model, library, random_cell
from rekur import _compile, _core, cells

ROOT = Path(__file__).parent.parent
TOOL = ROOT / ".ci/compiled_cells.py"
LIBRARY = library()
RANDOM = {f"random {seed}": random_cell(seed) for seed in range(10)}
COMPILER = next(
    (name for name in [os.environ.get("CXX", ""), *_compile.COMPILERS] if name and shutil.which(name)), None
)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    isa, threads = _core.isa(), _core.num_threads()
    yield
    _core._use_compiled(True)
    _core.set_isa(isa)
    _core.set_num_threads(threads)


def outputs_and_gradients(spec: dict[str, Any], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    engine, B, T = Engine(spec, seed=seed), int(rng.choice([1, 4, 7])), 9
    inputs = cell_inputs(rng, spec, B, T)
    lengths = None
    if rng.random() < 0.5:
        rows = rng.integers(0, T + 1, B).astype(np.int32)
        along = [len(layer["shape"]) == 2 for layer in spec["layers"] if layer["type"] == "Input"]
        lengths = [rows if timed else None for timed in along]
    whole = engine.predict(inputs, lengths)
    dy = [rng.standard_normal(y.shape).astype(np.float32) for y in whole]
    trained, d_weights, d_inputs = engine.gradients(inputs, dy, lengths)
    return [*whole, *trained, *d_weights.values(), *(d for d in d_inputs if d is not None)]


def check_same_bits(cell: dict[str, Any], what: str) -> None:
    """Sizes below, at and beyond whole vectors and groups of them; directions, lengths, initial states, threads."""
    for seed, H in enumerate((1, 5, 16, 33, 70, 130)):
        for direction in ("forward", "reverse"):
            for width in {1, H} if cell.get("step_inputs") else {1}:
                widths = {name: width for name in cell.get("step_inputs", ())}
                spec = cell_model(cell, direction, 3, H, initial=seed % 2 == 1, widths=widths)
                for threads in (1, 2):
                    _core.set_num_threads(threads)
                    _core._use_compiled(False)
                    interpreted = outputs_and_gradients(spec, seed)
                    _core._use_compiled(True)
                    compiled = outputs_and_gradients(spec, seed)
                    for k, (a, b) in enumerate(zip(interpreted, compiled, strict=True)):
                        same = np.array_equal(a.view(np.int32), b.view(np.int32)) or (
                            np.isnan(a).any() and np.array_equal(a, b, equal_nan=True)
                        )
                        assert same, f"{what}, {_core.isa()}, H {H}, {direction}, {threads} threads: array {k} differs"


# --- compiled in ---


def tool() -> Any:
    if not TOOL.is_file():
        pytest.skip("not a source tree")
    spec = importlib.util.spec_from_file_location("compiled_cells", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_functions_are_those_that_the_generator_writes():
    module = tool()
    assert module.PATH.read_text(encoding="utf-8") == module.text(), "run python .ci/compiled_cells.py, and build again"


def test_common_cells_are_compiled_in_for_every_instruction_set():
    for isa in _core.available_isas():
        _core.set_isa(isa)
        for name in tool().CELLS:
            assert all(each.compiled for each in _compile._equations(getattr(cells, name))), (isa, name)


@pytest.mark.parametrize("isa", _core.available_isas())
def test_cells_that_are_compiled_in_have_the_interpreters_bits(isa):
    _core.set_isa(isa)
    for name in tool().CELLS:
        check_same_bits(LIBRARY[name], name)


def test_hyper_parameters_are_no_part_of_what_is_compiled():
    @rekur.cell
    def scaled(x, h, *, by=2.0):
        return by * h + x.n

    one, two = (_compile._equations(cell) for cell in (scaled, scaled.bind(by=0.5)))
    assert [each.signature for each in one] == [each.signature for each in two]


# --- compiled where it runs ---


@needs_compiler
def test_cells_of_the_library_and_random_ones_compiled_here_have_the_interpreters_bits(tmp_path):
    everything = dict(sampling.one_of(4, list({**LIBRARY, **RANDOM}.items()), "compiled"))

    def make() -> None:
        for cell in everything.values():
            for width in {1, 4} if cell.get("step_inputs") else {1}:
                Engine(cell_model(cell, "forward", 3, 4, widths={n: width for n in cell.get("step_inputs", ())}))

    isa = _core.isa()
    open_ = [each for each in _core.equations_heard(make) if not each.compiled]
    half = len(open_) // 2
    for k, part in enumerate((open_[:half], open_[half:])):
        if part:
            path = tmp_path / f"{k}.so"
            _compile._compile(_compile.compiler_command(None), part, path, _compile.COMPILED_AS.get(isa, isa))
            assert _compile._load(path)
    assert all(each.compiled for each in open_)
    for name, cell in everything.items():
        check_same_bits(cell, name)


CHILD = """
import sys, numpy as np, rekur
from rekur.ops import sigmoid

@rekur.cell
def fading(x, h, *, tau=3.0):
    return h * sigmoid(x.z - tau) + x.n * sigmoid(h)

model = rekur.Sequential([rekur.layers.RNN(fading, 24, return_sequences=True, input_shape=(None, 3))], seed=0)
x = np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
before = model.predict(x)
report = rekur.compile_cells(model, folder=sys.argv[1])
assert np.array_equal(before, model.predict(x))
print(report.compiled, report.cached, report.ready, rekur.compile_cells(model, folder=sys.argv[1]).ready)
"""


def child(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, env={**os.environ, **environment}
    )


@needs_compiler
def test_a_later_session_loads_what_an_earlier_one_compiled_and_needs_no_compiler(tmp_path):
    folder = tmp_path / "cache"
    first = child(folder)
    assert first.stdout.split() == ["3", "0", "0", "3"], first.stderr
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.suffix for path in folder.iterdir()} == {".so"}  # nothing half-made stays
    again = child(folder, CXX="/no/compiler", PATH="/nowhere")
    assert again.stdout.split() == ["0", "3", "0", "3"], again.stderr


@needs_compiler
def test_processes_that_compile_the_same_at_once_all_succeed(tmp_path):
    command = [sys.executable, "-c", CHILD, str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        out, _ = process.communicate(timeout=120)
        compiled, cached, ready, after = map(int, out.split())
        assert process.returncode == 0 and compiled + cached + ready == 3 and after == 3


@needs_compiler
def test_an_object_that_cannot_be_loaded_is_compiled_again(tmp_path):
    folder = tmp_path / "cache"
    assert child(folder).returncode == 0
    for path in folder.iterdir():
        path.write_bytes(b"no object")
    assert child(folder).stdout.split() == ["3", "0", "0", "3"]


def test_without_a_compiler_the_error_says_that_everything_works_without(tmp_path):
    done = child(tmp_path / "cache", CXX="", PATH="/nowhere")
    assert "RuntimeError: compile_cells needs a C++ compiler: there is none of c++, g++, clang++" in done.stderr
    assert "Without one everything works: the engine interprets the equations, with the same bits" in done.stderr
    assert "'/no/compiler' was not found" in child(tmp_path / "cache", CXX="/no/compiler").stderr


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path):
    broken = tmp_path / "broken++"
    broken.write_text("#!/bin/sh\necho 'no such dialect' >&2\nexit 3\n")
    broken.chmod(0o755)
    done = child(tmp_path / "cache", CXX=str(broken))
    assert "the compiler failed (3)" in done.stderr and "no such dialect" in done.stderr
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_that_others_may_write_to_is_refused(tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write to it"):
        rekur.compile_cells(cells.cfc, folder=folder)


def test_what_has_no_equations_is_refused_by_name():
    with pytest.raises(TypeError, match="expected a model, a layer, a cell or several of them, got 3"):
        rekur.compile_cells(3)
    with pytest.raises(TypeError, match="has no cell of its own"):
        rekur.compile_cells(rekur.layers.Dense(3))


def test_nothing_is_compiled_without_being_asked():
    code = "import rekur, sys; rekur.layers.RNN(rekur.cells.cfc, 3); print('rekur._compile' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_the_flags_are_those_of_the_library():
    path = ROOT / "cpp/cmake/isas.cmake"
    if not path.is_file():
        pytest.skip("not a source tree")
    text = path.read_text()
    for isa in ("avx2", "avx512"):
        found = re.search(rf"set\(REKUR_FLAGS_{isa} (.*)\)", text)
        assert found is not None and tuple(found[1].split()) == _compile.ISA_FLAGS[isa]
    assert all(flag in text for flag in _compile.NEON_OF_32_BITS)


@needs_compiler
def test_models_activations_and_pointwise_layers_are_compiled_too(tmp_path):
    def swish(x):
        return x * rekur.ops.sigmoid(1.3 * x)

    x = rekur.Input((None, 3))
    hidden = rekur.layers.Bidirectional(rekur.layers.RNN(cells.rg_lru, 3, return_sequences=True))(x)
    model = rekur.Model(x, rekur.layers.Dense(40, activation=swish)(hidden), seed=2)
    data = np.random.default_rng(1).normal(size=(5, 8, 3)).astype(np.float32)
    before = model.predict(data)
    report = rekur.compile_cells([model, cells.janet], folder=tmp_path / "cache")
    assert report.compiled + report.ready >= 5 and "for" in str(report)
    assert np.array_equal(before, model.predict(data))
    assert all(each.compiled for each in _compile._equations(model))
