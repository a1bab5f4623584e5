"""benchmarks/onnx_gpu.py: what it says without the provider, and its table on one that every machine has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "onnx_gpu.py"
pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="the benchmarks are not here")


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("onnx_gpu", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_the_provider_it_says_so(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--provider", "NoSuchExecutionProvider"]) == 0
    assert "has no NoSuchExecutionProvider here" in capsys.readouterr().out


def test_its_table(script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TURN", 0.001)
    models = [m for m in script.models(8) if m[0] in ("LSTM, lengths", "LSTM, one step", "LSTM, in pieces")]
    monkeypatch.setattr(script, "models", lambda units: iter(models))
    assert script.main(["--provider", "CPUExecutionProvider", "--rounds", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line[:26].rstrip() for line in lines] == [m[0] for m in models]
    assert all("1 LSTM" in line for line in lines)


def test_a_difference_ends_with_1(
    script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "TURN", 0.001)
    models = [next(m for m in script.models(8) if m[0] == "GRU")]
    monkeypatch.setattr(script, "models", lambda units: iter(models))

    def refuses(*_: Any, **__: Any) -> None:
        raise script.VerificationError("disagree beyond the tolerance")

    monkeypatch.setattr(script.rekur.onnx, "verify", refuses)
    assert script.main(["--provider", "CPUExecutionProvider", "--rounds", "1"]) == 1
    printed = capsys.readouterr()
    assert "DISAGREES" in printed.out and "disagree beyond the tolerance" in printed.err
