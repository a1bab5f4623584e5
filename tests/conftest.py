"""Fixtures: every instruction set of this machine, thread counts that are put back, seeded models and numbers."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cpp_tools
import rekur
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


@pytest.fixture
def by_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """``rekur.onnx.load`` reads every file node by node, also one whose metadata describes the model."""
    monkeypatch.setattr("rekur.onnx._import.load.whole", lambda *_: None)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "isa_in_turn: each set of the test's parameters meets one instruction set, the next one another; "
        "with --cell-cases all of them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keeps one instruction set a case of tests marked ``isa_in_turn``; one that is asked for by its id always runs."""
    if config.getoption("--cell-cases") or any("::" in argument for argument in config.args):
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("isa_in_turn"):
            parameters = {**item.callspec.params, "isa": ""}
            cases.setdefault(f"{item.nodeid.partition('[')[0]} {sorted(parameters.items(), key=str)}", []).append(item)
    left = [
        item for k, same in enumerate(cases.values()) for n, item in enumerate(same) if n != (k + k // 7) % len(same)
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


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
