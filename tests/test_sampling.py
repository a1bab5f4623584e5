"""What is sampled still finds what is wrong, and chooses alike everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sampling
from harness import assert_gradient

TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "whole", False)


def cubes(v: np.ndarray) -> float:
    return float(np.sum(v**3))


@pytest.mark.parametrize("shape", [(1,), (2, 3), (7, 5), (10, 10)], ids=str)
def test_a_right_gradient_passes_and_one_wrong_element_fails(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = rng.standard_normal(shape).astype(np.float32)
    right = (3 * x.astype(np.float64) ** 2).astype(np.float32)
    assert_gradient(right, cubes, x, 1e-5)
    for i in range(x.size):
        wrong = right.copy()
        wrong.flat[i] += 1e-3 * max(1.0, float(right.max()))
        with pytest.raises(AssertionError, match="is of v: "):
            assert_gradient(wrong, cubes, x, 1e-5, "is of v")
    missing = right.copy()
    missing.flat[-1] = np.nan
    with pytest.raises(AssertionError):
        assert_gradient(missing, cubes, x, 1e-5)


def test_whole_looks_at_every_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "whole", True)
    calls = 0

    def counted(v: np.ndarray) -> float:
        nonlocal calls
        calls += 1
        return cubes(v)

    assert_gradient(np.full((4, 5), 3, np.float32), counted, np.ones((4, 5), np.float32), 1e-5)
    assert calls == 40


@pytest.mark.parametrize(("count", "each", "kept"), [(0, 3, 0), (1, 3, 1), (2, 3, 1), (6, 3, 2), (7, 3, 3), (5, 1, 5)])
def test_one_of_so_many(count: int, each: int, kept: int) -> None:
    cases = list(range(count))
    chosen = sampling.one_of(each, cases, "a name")
    assert len(chosen) == len(set(chosen)) == kept and chosen == sampling.one_of(each, cases, "a name")
    assert all(case // each == k for k, case in enumerate(chosen))


def test_whole_keeps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "whole", True)
    assert sampling.one_of(3, range(7), "a name") == list(range(7))


CASES = """
import pytest
@pytest.mark.sampled(4)
@pytest.mark.parametrize("k", range(40))
def test_k(k):
    pass
"""


@pytest.mark.parametrize(
    ("arguments", "kept"), [(("test_it.py",), 10), (("--whole",), 40), (("test_it.py::test_k[7]",), 1)], ids=str
)
def test_of_a_sampled_test_one_case_of_so_many_runs(tmp_path: Path, arguments: tuple[str, ...], kept: int) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(CASES)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, *arguments]
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH", "")]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert f"\n{kept} passed" in done.stdout, done.stdout + done.stderr
