"""The frame of rekur.convert: formats are told apart, options checked, parts put together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import cli, convert
from rekur.convert import _dialects, _parts
from rekur.convert._dialects import Cell
from rekur.layers import GRU, LSTM, Dense, SimpleRNN


def test_import_of_rekur_leaves_it_out() -> None:
    code = "import sys, rekur; print([n for n in sys.modules if n.startswith('rekur.convert')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import sys, rekur; rekur.convert.formats(); print({'h5py', 'torch', 'keras', 'onnx'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_own_files_and_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = rekur.Sequential([LSTM(3, input_shape=(None, 2)), Dense(1)], seed=1)
    path, out = tmp_path / "m.safetensors", tmp_path / "n.safetensors"
    convert.save(model, path)
    assert convert.detect(path).name == "rekur"
    x = np.ones((2, 4, 2), np.float32)
    np.testing.assert_array_equal(convert.load(path).predict(x), model.predict(x))
    assert cli.main(["convert", str(path), str(out), "-o", "weights=bf16"]) == 0
    assert "rekur, 2 layers, 76 parameters" in capsys.readouterr().out
    assert out.stat().st_size < path.stat().st_size
    for arguments, message in (
        ([str(path), str(path)], "is the model itself"),
        ([str(path), "x.unknown"], "endings"),
        ([str(path), str(out), "--from", "kera"], "no format 'kera'"),
        ([str(path), str(out), "-o", "what=1"], "has an option 'what'"),
        ([str(path), str(out), "-o", "what"], "NAME=VALUE"),
        ([str(tmp_path / "none"), str(out)], "No such file"),
    ):
        assert cli.main(["convert", *arguments]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"hello\n", "a text file"), (bytes(range(9, 99)), "its beginning tells nothing")],
)
def test_what_is_of_no_format(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{message}, which is no format known here"):
        convert.load(path)


def test_folders_and_checkpoints_of_tensorflow(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is a folder: give the path of a file in it, which is no"):
        convert.load(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "variables.index").write_bytes(b"\0")
    for path in (tmp_path, tmp_path / "variables.index"):
        with pytest.raises(ValueError, match=r"open it in TensorFlow and write model\.save\('model\.keras'\) there"):
            convert.load(path)


def test_errors_of_arguments(tmp_path: Path) -> None:
    model = rekur.Sequential([Dense(1, input_shape=(2,))])
    with pytest.raises(FileNotFoundError):
        convert.load(tmp_path / "none")
    with pytest.raises(ValueError, match="of type object, which is no format"):
        convert.load(object())
    with pytest.raises(TypeError, match="got None"):
        convert.load(None)
    with pytest.raises(ValueError, match=r"no format 'rekurr'; did you mean 'rekur'"):
        convert.save(model, tmp_path / "m", format="rekurr")
    with pytest.raises(TypeError, match="has no option 'wights'; did you mean 'weights'"):
        convert.save(model, tmp_path / "m.safetensors", wights=1)
    with pytest.raises(TypeError, match="expected a model of rekur"):
        convert.save(3, tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="has files alone"):
        convert.to_object(model, "rekur")
    with pytest.raises(ValueError, match="describes whole models"):
        convert.load_parts(tmp_path, format="rekur")
    with pytest.raises(OSError):
        convert.save(model, tmp_path / "no" / "m.safetensors")
    assert not list(tmp_path.iterdir())


KINDS = {"SimpleRNN": SimpleRNN, "LSTM": LSTM, "GRU": GRU}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", _dialects.DIALECTS)
def test_every_dialect_comes_back(rng: np.random.Generator, name: str, kind: str) -> None:
    units, features = 5, 3
    for use_bias in (True, False):
        layer = KINDS[kind](units, use_bias=use_bias)
        rekur.Sequential([rekur.Input((None, features)), layer])
        weights = [rng.standard_normal(w.shape).astype(np.float32) for w in layer.get_weights()]
        dialect = _dialects.DIALECTS[name]
        if kind == "GRU" and use_bias and dialect.gru_biases == 1:
            weights[2][1] = 0
        cell = _dialects.from_rekur(name, kind, weights, use_bias)
        assert (cell.kernel.shape == (features, weights[0].shape[1])) != dialect.rows
        found = _dialects.to_rekur(name, kind, cell, "it")
        for a, b in zip(found, weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_dialects_check_shapes() -> None:
    with pytest.raises(ValueError, match="it: expected kernels of 4 blocks"):
        _dialects.to_rekur("keras", "LSTM", Cell(np.zeros((2, 8)), np.zeros((2, 12))), "it")
    with pytest.raises(ValueError, match="it: a recurrent kernel of 2 units has 2 rows, got 3"):
        _dialects.to_rekur("keras", "LSTM", Cell(np.zeros((2, 8)), np.zeros((3, 8))), "it")
    with pytest.raises(ValueError, match="it: bias: expected 8 numbers, got 7"):
        _dialects.to_rekur("keras", "LSTM", Cell(np.zeros((2, 8)), np.zeros((2, 8)), np.zeros(7)), "it")
    with pytest.raises(ValueError, match="array of numbers"):
        _dialects.to_rekur("keras", "LSTM", Cell([["a"]], np.zeros((2, 8))), "it")
    with pytest.raises(ValueError, match="too large for float32"):
        _dialects.to_rekur("keras", "LSTM", Cell(np.full((2, 8), 1e300), np.zeros((2, 8))), "it")


def _parts_of_two() -> dict[str, _parts.Part]:
    def recurrent(return_sequences: bool = True) -> list[_parts.Made]:
        layer = LSTM(3, return_sequences=return_sequences)
        return [(layer, [np.ones((2, 12)), np.ones((3, 12)), np.zeros(12)])]

    return {
        "rnn": _parts.Part("rnn", "LSTM, 2 → 3", recurrent, 2, ("return_sequences",), True),
        "head": _parts.Part("head", "matrix, 3 → 1", lambda: [(Dense(1), [np.ones((3, 1)), np.zeros(1)])], 3),
    }


def test_chains_of_parts() -> None:
    x = np.ones((2, 4, 2), np.float32)
    a = _parts.chain(_parts_of_two(), ["rnn", "last", "head", "relu"], "it")
    assert [type(layer).__name__ for layer in a.layers] == ["LSTM", "Dense", "Activation"]
    b = _parts.chain(_parts_of_two(), ["rnn", rekur.layers.Step(-1), "head"], "it", input_shape=(4, 2))
    np.testing.assert_allclose(a.predict(x), np.maximum(b.predict(x), 0), rtol=1e-6)
    step = {"class_name": "Step", "config": {"index": -1}}
    c = _parts.chain(_parts_of_two(), [("rnn", {"return_sequences": True}), step, "head"], "it")
    np.testing.assert_array_equal(b.predict(x), c.predict(x))
    assert str(_parts.ask_for_order(_parts_of_two(), "it")).count("layers=['rnn', 'head']") == 1
    for layers, kind, message in (
        (["rnn", "hed"], ValueError, "no part 'hed', and it is no activation; did you mean 'head'"),
        (["rnn"], ValueError, "also holds 'head'.*partial=True"),
        (["rnn", "rnn", "head"], ValueError, "'rnn' stands there twice"),
        ([("rnn", {"return_state": True}), "head"], TypeError, "no option 'return_state'; did you mean"),
        ("rnn", TypeError, "expected a list"),
        ([3], TypeError, "got 3"),
        ([], ValueError, "at least one part"),
    ):
        with pytest.raises(kind, match=message):
            _parts.chain(_parts_of_two(), layers, "it")
    assert len(_parts.chain(_parts_of_two(), ["rnn"], "it", partial=True).layers) == 1
