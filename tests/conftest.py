"""Fixtures: every instruction set of this machine, thread counts that are put back, seeded models and numbers."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Any

# Workers of pytest-xdist share the processors: threads of several engines would wait for each other there. Set before
# the import, which reads it; what is about threads asks for them.
if (_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    os.environ.setdefault("REKUR_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers)))

import numpy as np
import pytest

import cpp_tools
import rekur
import sampling
from rekur import _core

# The tests ask for more threads than the machine has cores, so that work is cut as on other machines.
_core._allow_any_number_of_threads(True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--onnx-cases", type=int, default=0, help="random ONNX graphs in the differential test, instead of a few"
    )
    parser.addoption(
        "--cell-cases", type=int, default=0, help="random cells in the law tests, instead of some; the library whole"
    )
    parser.addoption("--whole", action="store_true", help="all cases of what is otherwise sampled")


@pytest.fixture
def by_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """``rekur.onnx.load`` reads every file node by node, also one whose metadata describes the model."""
    monkeypatch.setattr("rekur.onnx._import.load.whole", lambda *_: None)


def pytest_configure(config: pytest.Config) -> None:
    sampling.whole = config.getoption("--whole") or config.getoption("--cell-cases") > 0
    config.addinivalue_line("markers", "sampled(n): of the test's cases one of n runs; with --whole all of them")
    config.addinivalue_line(
        "markers",
        "isa_in_turn: each set of the test's parameters meets one instruction set, the next one another; "
        "with --whole all of them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps one instruction set a case of tests marked ``isa_in_turn``, and of those marked ``sampled`` one case of n.

    A case that is asked for by its id always runs.
    """
    if sampling.whole or any("::" in argument for argument in config.args):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("isa_in_turn"):
            parameters = {**item.callspec.params, "isa": ""}
            cases.setdefault(f"{item.nodeid.partition('[')[0]} {sorted(parameters.items(), key=str)}", []).append(item)
    left = {
        item for k, same in enumerate(cases.values()) for n, item in enumerate(same) if n != (k + k // 7) % len(same)
    }
    sampled: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item not in left and item.get_closest_marker("sampled"):
            sampled.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, same in sampled.items():
        mark = same[0].get_closest_marker("sampled")
        assert mark is not None
        left |= set(same) - set(sampling.one_of(mark.args[0], same, name))
    if left:
        config.hook.pytest_deselected(items=[item for item in items if item in left])
        items[:] = [item for item in items if item not in left]


def run_on(name: str) -> Iterator[str]:
    before = _core.isa()
    _core.set_isa(name)
    yield name
    _core.set_isa(before)


@pytest.fixture(params=[name for name in _core.available_isas() if name != "amx"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once on every instruction set that this build and this machine both have.

    AMX is left out, whose kernels are AVX-512's but for products of rounded rows: :func:`rounding_isa`.
    """
    yield from run_on(request.param)


@pytest.fixture(params=_core.available_isas())
def rounding_isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same for products of int8 and bf16, AMX among them."""
    yield from run_on(request.param)


@pytest.fixture
def cpp_isa(isa: str) -> str:
    """The same, of those that the C++ library under test has, too."""
    if isa not in cpp_tools.library().isas:
        pytest.skip(f"a C++ library without {isa}")
    return isa


@pytest.fixture
def common_isa() -> Iterator[str]:
    """Runs the test on the widest instruction set that Python and the C++ library under test both have."""
    library, before = cpp_tools.library(), _core.isa()
    widest = [isa for isa in _core.available_isas() if isa in library.isas][-1]
    _core.set_isa(widest)
    yield widest
    _core.set_isa(before)


@pytest.fixture
def restore_threads() -> Iterator[None]:
    """The test may call set_num_threads."""
    before = _core.num_threads()
    yield
    _core.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded_models() -> None:
    """A model begins with the same weights whichever tests the process ran before."""
    rekur.set_random_seed(20240521)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240521)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine writes fails after some bytes, as on a disk that is full."""

    def failing(write: Any) -> Any:
        def limited(*arguments: Any) -> Any:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            try:
                return write(*arguments)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        return limited

    for owner, name in ((_core, "write_file"), (_core.Model, "save")):
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
