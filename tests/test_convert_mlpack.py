"""mlpack's parameters, against its equations by hand in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cli, convert
from rekur.layers import GRU, LSTM, Activation, Dense

RNG = np.random.default_rng(9)


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def _column(*arrays: np.ndarray) -> np.ndarray:
    """Armadillo's order: by columns."""
    return np.concatenate([array.reshape(-1, order="F") for array in arrays]).astype(np.float32)


def _drawn(*shape: int) -> np.ndarray:
    return (0.5 * RNG.standard_normal(shape)).astype(np.float32)


def _x() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((2, 6, 3)).astype(np.float32)


def _lstm(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters, and what they give: z is the block input."""
    w, b = [_drawn(4, 3) for _ in "zifo"], [_drawn(4) for _ in "zifo"]
    r, p = [_drawn(4, 4) for _ in "zifo"], [_drawn(4) for _ in "ifo"]
    y, c, out = np.zeros((len(x), 4)), np.zeros((len(x), 4)), []
    for t in range(x.shape[1]):
        z, i, f, o = (x[:, t] @ w[k].T + y @ r[k].T + b[k] for k in range(4))
        c = np.tanh(z) * _sigmoid(i + p[0] * c) + c * _sigmoid(f + p[1] * c)
        y = np.tanh(c) * _sigmoid(o + p[2] * c)
        out.append(y)
    return _column(*w, *b, *r, *p), np.stack(out, axis=1)


def _gru(x: np.ndarray, after: bool) -> tuple[np.ndarray, np.ndarray]:
    w, u = [_drawn(5, x.shape[-1]) for _ in "rzh"], [_drawn(5, 5) for _ in "rzh"]
    y, out = np.zeros((len(x), 5)), []
    for t in range(x.shape[1]):
        r, z = (_sigmoid(x[:, t] @ w[k].T + y @ u[k].T) for k in range(2))
        h = np.tanh(x[:, t] @ w[2].T + (r * (y @ u[2].T) if after else (r * y) @ u[2].T))
        y = (1 - z) * y + z * h
        out.append(y)
    return _column(*w, *u), np.stack(out, axis=1)


@pytest.mark.parametrize("after", [True, False])
def test_a_network(tmp_path: Path, after: bool) -> None:
    x = _x()
    first, y = _lstm(x)
    second, y = _gru(y, after)
    weight, bias = _drawn(2, 5), _drawn(2)
    flat, want = np.concatenate([first, second, _column(weight, bias)]), _sigmoid(y @ weight.T + bias)
    given: dict[str, Any] = {
        "network": [("LSTM", 4), ("GRU", 5), ("Linear", 2), "sigmoid"], "features": 3, "reset_after": after,
    }  # fmt: skip
    model = convert.load(flat, format="mlpack", **given)
    np.testing.assert_allclose(model.predict(x), want, atol=1e-6)
    np.testing.assert_allclose(convert.to_object(model, "mlpack"), flat, rtol=1e-7)
    convert.save(model, tmp_path / "p.csv", format="mlpack")
    again = convert.load(tmp_path / "p.csv", format="mlpack", **given)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    np.testing.assert_allclose(convert.load(flat[:, None], format="mlpack", **given).predict(x), want, atol=1e-6)
    network = 'network=[["LSTM", 4], ["GRU", 5], ["Linear", 2], "sigmoid"]'
    options = ["-o", network, "-o", "features=3", "-o", f"reset_after={'true' if after else 'false'}"]
    assert (
        cli.main(["convert", str(tmp_path / "p.csv"), str(tmp_path / "m.safetensors"), "--from", "mlpack", *options])
        == 0
    )
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(x), model.predict(x))


def test_what_is_asked_for_and_refused(tmp_path: Path) -> None:
    flat = np.zeros(4 * 4 * (3 + 1 + 4) + 12, np.float32)
    for options, message in (
        ({}, "do not say of which layers they are: give network="),
        ({"network": [("LSTM", 5)], "features": 3}, "more parameters than the 140"),
        ({"network": [("LSTM", 3)], "features": 3}, "has 93 parameters, and here are 140"),
        ({"network": [("GRU", 3)], "features": 3}, "give reset_after=False or True"),
        ({"network": [("FastLSTM", 3)], "features": 3}, "'FastLSTM' is not read"),
        ({"network": [3], "features": 3}, "expected .*got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            convert.load(flat, format="mlpack", **options)  # type: ignore[arg-type]
    (tmp_path / "p.csv").write_text("a\n")
    with pytest.raises(ValueError, match="expected numbers, one a line"):
        convert.load(tmp_path / "p.csv", format="mlpack")
    with pytest.raises(ValueError, match=r"one column of numbers, got shape \(2, 2\)"):
        convert.load(np.zeros((2, 2)), format="mlpack")
    for layers, message in (
        ([GRU(2, return_sequences=True)], None),
        ([LSTM(2, return_sequences=True, use_bias=False), Activation("tanh")], None),
        ([Dense(2, activation="tanh")], "activations as layers of their own"),
        ([LSTM(2, return_sequences=True, clip=1.0)], "mlpack has no clip=1.0"),
        ([rekur.layers.Conv1D(2, 2)], r"\(Conv1D\): mlpack has no such layer"),
    ):
        model = rekur.Sequential([rekur.Input((None, 3)), *layers])
        if message is None:
            assert convert.to_object(model, "mlpack").ndim == 1
            continue
        with pytest.raises(ValueError, match=message):
            convert.to_object(model, "mlpack")
