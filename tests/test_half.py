"""Weights in sixteen bits: files and reports of them, against NumPy's own numbers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_tools
import rekur
from rekur import Sequential, cli, layers
from rekur.layers import GRU, LSTM, Dense, Embedding, SimpleRNN

Floats = Any
TYPES = ["bf16", "fp16"]


def reference(weights: Floats, kind: str) -> Floats:
    """The nearest numbers of sixteen bits, of two the even ones; of bf16 by comparison with its neighbours."""
    if kind == "fp16":
        return weights.astype(np.float16).astype(np.float32)
    below = (weights.view(np.uint32) & 0xFFFF0000).view(np.float32)
    above = (below.view(np.uint32) + 0x10000).view(np.float32)
    left, right = np.abs(weights.astype(np.float64) - below), np.abs(weights.astype(np.float64) - above)
    even = (below.view(np.uint32) >> 16) % 2 == 0
    return np.where((left < right) | ((left == right) & even), below, above)


def model() -> Sequential:
    return Sequential(
        [
            Embedding(11, 6, input_shape=(None,)),
            LSTM(9, return_sequences=True, peepholes=True),
            layers.Bidirectional(GRU(5, return_sequences=True)),
            SimpleRNN(7),
            Dense(3),
        ],
        seed=3,
    )


def is_matrix(name: str) -> bool:
    return name.endswith(("kernel", "embeddings"))


@pytest.mark.parametrize("kind", TYPES)
def test_a_file_in_sixteen_bits_holds_the_nearest_numbers(tmp_path: Path, kind: str) -> None:
    m = model()
    m.save(tmp_path / "whole.safetensors")
    m.save(tmp_path / "m.safetensors", weights=kind)
    text = (tmp_path / "m.safetensors").read_bytes()
    header = json.loads(text[8 : 8 + int.from_bytes(text[:8], "little")])
    del header["__metadata__"]
    before = {name: array for name, array in zip(header_names(m), m.get_weights(), strict=True)}
    loaded = rekur.load(tmp_path / "m.safetensors")
    for name, array in zip(header_names(loaded), loaded.get_weights(), strict=True):
        matrix = is_matrix(name)
        assert header[name]["dtype"] == ({"bf16": "BF16", "fp16": "F16"}[kind] if matrix else "F32"), name
        np.testing.assert_array_equal(array, reference(before[name], kind) if matrix else before[name])
    matrices = sum(array.size for name, array in before.items() if is_matrix(name))
    size, whole = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("m", "whole"))
    assert size <= whole - 2 * matrices + 16


def header_names(m: rekur.Model) -> list[str]:
    return [name for name, _, _ in m._engine().parameters]


@pytest.mark.parametrize("kind", TYPES)
def test_weights_are_loaded_into_a_model_and_trained_on(tmp_path: Path, kind: str) -> None:
    m = model()
    m.compile("adam", "mse")
    x, y = np.arange(20).reshape(4, 5) % 11, np.ones((4, 3), np.float32)
    m.fit(x, y, verbose=0)
    m.save(tmp_path / "m.safetensors", weights=kind)
    again = rekur.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.predict(x), rekur.quantize(m, kind).model.predict(x))
    again.fit(x, y, verbose=0)
    assert not np.array_equal(again.get_weights()[0], rekur.load(tmp_path / "m.safetensors").get_weights()[0])
    other = model()
    m.save_weights(tmp_path / "w.safetensors", weights=kind)
    other.load_weights(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(other.predict(x), rekur.quantize(m, kind).model.predict(x))


@pytest.mark.parametrize("kind", TYPES)
def test_the_report_measures_what_the_rounding_does(kind: str) -> None:
    m = model()
    x = np.arange(40).reshape(8, 5) % 11
    before = [w.copy() for w in m.get_weights()]
    q = rekur.quantize(m, kind, data=x)
    for one, other in zip(before, m.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)  # it stays as it is
    y, z = m.predict(x).astype(np.float64), q.model.predict(x).astype(np.float64)
    (output,) = q.outputs
    assert output.range == pytest.approx(np.ptp(y))
    assert output.largest == pytest.approx(np.abs(z - y).max() / np.ptp(y)) == q.largest
    assert output.mean == pytest.approx(np.abs(z - y).mean() / np.ptp(y))
    assert 0 < q.largest < 2e-2
    named = dict(zip(header_names(m), before, strict=True))
    assert {d.name for d in q.deviations} == {name for name in named if is_matrix(name)}
    assert [d.largest for d in q.deviations] == sorted((d.largest for d in q.deviations), reverse=True)
    for d in q.deviations:
        difference = np.abs(reference(named[d.name], kind).astype(np.float64) - named[d.name])
        assert d.largest == pytest.approx(difference.max() / np.abs(named[d.name]).max())
        assert d.mean == pytest.approx(difference.mean() / np.abs(named[d.name]).max())
    assert q.bytes_before == 4 * m.count_params()
    assert q.bytes_after == q.bytes_before - 2 * sum(w.size for name, w in named.items() if is_matrix(name))
    assert q.deviations[0].name in str(q) and kind in str(q) and "dense" in str(q)
    assert rekur.quantize(m, kind).outputs == [] and rekur.quantize(m, kind).largest == 0


def test_what_cannot_be_is_said_by_name(tmp_path: Path) -> None:
    m = Sequential([LSTM(4, input_shape=(None, 2), name="lstm"), Dense(1, name="out")])
    weights = m.get_weights()
    weights[1][0, 3] = 1e5
    m.set_weights(weights)
    message = r"weight 'lstm/recurrent_kernel': element 3 is 1e\+05, and the largest number of fp16 is 65504"
    for call in (
        lambda: m.save(tmp_path / "m.safetensors", weights="fp16"),
        lambda: m.save_weights(tmp_path / "m.safetensors", weights="fp16"),
        lambda: rekur.quantize(m, "fp16"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert not (tmp_path / "m.safetensors").exists()
    rekur.quantize(m, "bf16")
    with pytest.raises(ValueError, match="save: weights: expected one of float32, bf16, fp16, int8, got 'int3'"):
        m.save(tmp_path / "m.safetensors", weights="int3")
    with pytest.raises(ValueError, match="quantize: weights: expected one of bf16, fp16, int8, got 'float32'"):
        rekur.quantize(m, "float32")
    with pytest.raises(TypeError, match="quantize: expected a rekur model or the path of one, got 3"):
        rekur.quantize(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TYPES)
def test_damaged_files_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.safetensors"
    m = Sequential([LSTM(4, input_shape=(None, 2), name="lstm"), Dense(1, name="out")])
    m.save(path, weights=kind)
    good = path.read_bytes()
    stored = {"bf16": b'"BF16"', "fp16": b'"F16"'}[kind]
    for bad, message in (
        (good[:-1], "the header describes"),
        (good + b"\0", "the header describes"),
        (good.replace(stored, b'"F64"' + b" " * (len(stored) - 5), 1), "does not take"),
        (good.replace(stored, b'"U16"' + b" " * (len(stored) - 5), 1), "expected F32, got U16"),
        (good.replace(b'"F32"', b'"F16"', 1), "does not take"),
    ):
        assert bad != good
        path.write_bytes(bad)
        with pytest.raises(OSError, match=message):
            rekur.load(path)
    path.write_bytes(good)
    rekur.load(path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    m = Sequential([LSTM(4, input_shape=(None, 2), name="lstm"), Dense(1, name="out")])
    m.save(tmp_path / "m.safetensors")
    x = np.random.default_rng(0).normal(size=(3, 9, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    source, out = str(tmp_path / "m.safetensors"), str(tmp_path / "half.safetensors")
    assert cli.main(["quantize", source, out, "--weights", "fp16", "--data", str(tmp_path / "x.npy")]) == 0
    assert "fp16" in capsys.readouterr().out
    np.testing.assert_array_equal(rekur.load(out).predict(x), rekur.quantize(m, "fp16").model.predict(x))
    assert cli.main(["quantize", source, source]) == 1
    assert "is the model itself" in capsys.readouterr().err


# Headers.


@cpp_tools.needs_compiler
@pytest.mark.parametrize("kind", TYPES)
def test_a_header_holds_matrices_in_sixteen_bits(tmp_path: Path, kind: str) -> None:
    m = model()
    report = rekur.export_cpp(m, tmp_path / "m.hpp", weights=kind)
    whole = rekur.export_cpp(m, tmp_path / "whole.hpp")
    assert kind in str(report) and report.file_size < 0.62 * whole.file_size
    parameters = list(zip(header_names(m), report.parameters, strict=True))
    body = "".join(f"bytes(m::{p}, sizeof *m::{p} * m::{p}_size);" for _, p in parameters)
    source = tmp_path / "main.cpp"
    source.write_text(
        '#define REKUR_WEIGHTS_ONLY\n#include "m.hpp"\n#include <cstdio>\n'
        "static void bytes(const void* data, std::size_t size) { std::fwrite(data, 1, size, stdout); }\n"
        f"int main() {{\n{body}\n}}\n"
    )
    cpp_tools.run([cpp_tools.CXX or "", "-std=c++20", *cpp_tools.WARNINGS, str(source), "-o", str(tmp_path / "main")])
    data = subprocess.run([tmp_path / "main"], capture_output=True, check=True, timeout=60).stdout
    for (name, _), array in zip(parameters, m.get_weights(), strict=True):
        if is_matrix(name):
            half = np.frombuffer(data, np.uint16, array.size)
            bits = half.view(np.float16).astype(np.float32) if kind == "fp16" else half.astype(np.uint32) << 16
            found = bits if kind == "fp16" else bits.view(np.float32)
            np.testing.assert_array_equal(found.reshape(array.shape), reference(array, kind))
            data = data[2 * array.size :]
        else:
            np.testing.assert_array_equal(np.frombuffer(data, np.float32, array.size).reshape(array.shape), array)
            data = data[4 * array.size :]
    assert not data


@cpp_tools.needs_compiler
@pytest.mark.parametrize("kind", TYPES)
def test_a_header_s_model_is_the_rounded_one(tmp_path: Path, common_isa: str, kind: str) -> None:
    library = cpp_tools.library()
    m = Sequential([LSTM(90, input_shape=(None, 2), return_sequences=True), GRU(5), Dense(1)], seed=1)
    rekur.export_cpp(m, tmp_path / "m.hpp", weights=kind)
    (tmp_path / "main.cpp").write_text(cpp_tools.main_of_header())
    out = library.compile(tmp_path / "main.cpp", tmp_path / "main")
    environment = {**os.environ, "REKUR_ISA": common_isa}
    done = subprocess.run([out], capture_output=True, check=True, timeout=60, env=environment)
    data = np.frombuffer(done.stdout, np.float32)
    rounded = rekur.quantize(m, kind).model
    flat = rounded._engine().get_weights()
    np.testing.assert_array_equal(data[: flat.size], flat)
    np.testing.assert_array_equal(data[flat.size : 2 * flat.size], flat)
    x = np.array([[[0.25 * t, -0.5] for t in range(6)]], np.float32)
    expected = [rounded.predict(x[:, : t + 1])[0, 0] for t in range(6)]
    np.testing.assert_array_equal(data[2 * flat.size :], expected)


def test_headers_of_too_large_weights_are_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    m = Sequential([Dense(1, input_shape=(2,), name="out")])
    m.set_weights([np.array([[1e5], [1]], np.float32), np.zeros(1, np.float32)])
    with pytest.raises(ValueError, match="weight 'out/kernel': element 0"):
        rekur.export_cpp(m, tmp_path / "m.hpp", weights="fp16")
    with pytest.raises(ValueError, match="export_cpp: weights: expected one of float32, bf16, fp16, int8, got 'half'"):
        rekur.export_cpp(m, tmp_path / "m.hpp", weights="half")
    assert not (tmp_path / "m.hpp").exists()
    m.save(tmp_path / "m.safetensors")
    source, out = str(tmp_path / "m.safetensors"), str(tmp_path / "m.hpp")
    assert cli.main(["export-cpp", source, "-o", out, "--weights", "bf16"]) == 0
    assert "matrices in bf16" in capsys.readouterr().out
