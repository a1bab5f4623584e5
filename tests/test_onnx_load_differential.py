"""ONNX import against onnxruntime over random graphs and mutants of real ones: the same numbers, or refused.

A few hundred cases by default; ``pytest tests/test_onnx_load_differential.py --onnx-cases 20000`` runs many.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import onnx_differential
from onnx_graphs import LAST, around, node
from rekur.onnx.backend import RekurBackendRep

SEED = 2026
OLD = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 20)  # knows fewer opsets than the graphs have
USUAL, SECONDS = 1500, 15.0


@pytest.mark.skipif(OLD, reason="an old onnxruntime")
def test_random_graphs_and_mutants_give_onnxruntimes_numbers_or_are_refused(request: pytest.FixtureRequest) -> None:
    """In a process of its own, which onnxruntime may end."""
    cases = request.config.getoption("--onnx-cases") or USUAL
    seconds = SECONDS if cases == USUAL else 1e9
    script = Path(onnx_differential.__file__)
    command = [sys.executable, str(script), "--cases", str(cases), "--seed", str(SEED), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script.parent)
    assert done.stdout, f"the run ended with {done.returncode}: {done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert not result["wrong"], "\n".join(result["wrong"])
    counts = result["counts"]
    assert counts["equal"] > 30 and counts["refused"] > 30, counts


def judged(model: onnx.ModelProto) -> str:
    return onnx_differential.judge(model, 0)[0]


def graph(*nodes: onnx.NodeProto, **constants: object) -> onnx.ModelProto:
    return around([*LAST, *nodes], np.random.default_rng(0), zero=np.array([0]), **constants)


def test_the_judge_tells_right_from_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    good = graph(node("Tanh", ["last"], ["y"]))
    assert judged(good) == "equal"
    assert judged(graph(node("Tan", ["last"], ["y"]))) == "refused"
    run = RekurBackendRep.run
    monkeypatch.setattr(RekurBackendRep, "run", lambda self, feed: tuple(y + 1e-3 for y in run(self, feed)))
    assert judged(good) == "wrong"
    monkeypatch.setattr(RekurBackendRep, "run", lambda self, feed: tuple(y[None] for y in run(self, feed)))
    assert judged(good) == "wrong"
    monkeypatch.setattr(RekurBackendRep, "run", lambda self, feed: 1 / 0)
    assert judged(good) == "wrong"


def test_the_judge_asks_the_reference_where_onnxruntime_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> list[np.ndarray]:
        raise RuntimeError("onnxruntime cannot")

    monkeypatch.setattr(onnx_differential, "by_onnxruntime", refuses)
    good = graph(node("Tanh", ["last"], ["y"]))
    assert judged(good) == "by the reference"
    monkeypatch.setattr(onnx_differential, "by_reference", refuses)
    assert judged(good) == "wrong"
