"""RTNeural's, AIDA-X's, GuitarML's and Neural Amp Modeler's files, against their equations by hand in float64.

All files that RTNeural's repository has with inputs and outputs, and AIDA-X's with batches in the file, agreed to 3e-7
where they were tried; they are not part of this repository.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cli, convert
from rekur.layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Bidirectional,
    Conv1D,
    Dense,
    Dropout,
    Flatten,
    PReLU,
    Rescaling,
    SimpleRNN,
    Slice,
)  # fmt: skip

RNG = np.random.default_rng(5)


def _drawn(*shape: int) -> list[Any]:
    found: list[Any] = (0.4 * RNG.standard_normal(shape)).astype(np.float32).tolist()
    return found


def _x(features: int, steps: int = 9) -> np.ndarray:
    return np.random.default_rng(6).standard_normal((2, steps, features)).astype(np.float32)


def _sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


def lstm(x: np.ndarray, kernel: Any, recurrent: Any, bias: Any, h: Any = 0.0, c: Any = 0.0) -> np.ndarray:
    """i, f, g, o by columns."""
    kernel, recurrent, out = np.asarray(kernel, float), np.asarray(recurrent, float), []
    h = np.zeros((len(x), len(recurrent))) + h
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + np.asarray(bias), 4, axis=1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out, axis=1)


def gru(x: np.ndarray, kernel: Any, recurrent: Any, biases: Any) -> np.ndarray:
    """z, r, n by columns; the reset gate after the product."""
    kernel, recurrent, out = np.asarray(kernel, float), np.asarray(recurrent, float), []
    h = np.zeros((len(x), len(recurrent)))
    for t in range(x.shape[1]):
        a = np.split(x[:, t] @ kernel + biases[0], 3, axis=1)
        b = np.split(h @ recurrent + biases[1], 3, axis=1)
        z, r = _sigmoid(a[0] + b[0]), _sigmoid(a[1] + b[1])
        h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * h
        out.append(h)
    return np.stack(out, axis=1)


def _rtneural(**further: Any) -> dict[str, Any]:
    def entry(kind: str, out: int, weights: list[Any], activation: str = "", **more: Any) -> dict[str, Any]:
        return {"type": kind, "activation": activation, "shape": [None, None, out], "weights": weights, **more}

    layers = [
        entry("time-distributed-dense", 4, [_drawn(2, 4), _drawn(4)], "tanh"),
        entry("conv1d", 6, [_drawn(3, 2, 6), _drawn(6)], "relu", kernel_size=[3], dilation=[2], groups=2),
        entry("batchnorm", 6, [_drawn(6), _drawn(6), _drawn(6), np.abs(_drawn(6)).tolist()], epsilon=0.01),
        entry("prelu", 6, [_drawn(1, 6)]),
        entry("lstm", 3, [_drawn(6, 12), _drawn(3, 12), _drawn(12)], "tanh"),
        entry("gru", 5, [_drawn(3, 15), _drawn(5, 15), _drawn(2, 15)], ""),
        entry("activation", 5, [], "elu"),
        entry("dense", 1, [_drawn(5, 1)]),
    ]
    return {"in_shape": [None, None, 2], "layers": layers, **further}


def _by_hand(found: dict[str, Any], x: np.ndarray) -> np.ndarray:
    gain = 10 ** (found.get("in_gain", 0) / 20)
    x = x.astype(float) * np.array([gain, 1.0])
    w = [[np.asarray(a, float) for a in entry["weights"]] for entry in found["layers"]]
    y = np.tanh(x @ w[0][0] + w[0][1])
    padded = np.concatenate([np.zeros((len(y), 4, 4)), y], axis=1)
    halves = []
    for g in range(2):
        kernel = w[1][0][:, :, 3 * g : 3 * g + 3]
        steps = [padded[:, 2 * k : 2 * k + y.shape[1], 2 * g : 2 * g + 2] @ kernel[k] for k in range(3)]
        halves.append(sum(steps))
    y = np.maximum(np.concatenate(halves, axis=-1) + w[1][1], 0)
    y = w[2][0] * (y - w[2][2]) / np.sqrt(w[2][3] + 0.01) + w[2][1]
    y = np.where(y > 0, y, w[3][0] * y)
    y = gru(lstm(y, *w[4]), *w[5])
    y = np.where(y > 0, y, np.exp(y) - 1) @ w[7][0]
    if found.get("in_skip"):
        y = y + x[..., :1]
    return y * 10 ** (found.get("out_gain", 0) / 20)


@pytest.mark.parametrize(
    "further", [{}, {"in_skip": 1}, {"in_skip": 1, "in_gain": -6.0, "out_gain": 3.5, "samplerate": 48000}]
)
def test_rtneural(tmp_path: Path, further: dict[str, Any]) -> None:
    found = _rtneural(**further)
    (path := tmp_path / "m.json").write_text(json.dumps(found))
    assert convert.detect(path).name == convert.detect(found).name == "rtneural"
    model = convert.load(path)
    np.testing.assert_allclose(model.predict(_x(2)), _by_hand(found, _x(2)), atol=2e-6)
    convert.save(model, tmp_path / "n.aidax", sample_rate=44100, metadata={"name": "clean"})
    again = json.loads((tmp_path / "n.aidax").read_text())
    assert again["samplerate"] == 44100 and convert.info(tmp_path / "n.aidax")["metadata"] == {"name": "clean"}
    np.testing.assert_allclose(_by_hand(again, _x(2)), _by_hand(found, _x(2)), atol=2e-6)
    np.testing.assert_array_equal(convert.load(again).predict(_x(2)), model.predict(_x(2)))


def test_rtneural_of_layers_with_other_settings(tmp_path: Path) -> None:
    layers = [
        GRU(3, use_bias=False, return_sequences=True), LSTM(2, use_bias=False, return_sequences=True), Dropout(0.3),
        Conv1D(2, 2, padding="causal", use_bias=False), BatchNormalization(center=False), PReLU(shared_axes=[1]),
        BatchNormalization(center=False, scale=False), Dense(2, activation="softmax", use_bias=False),
    ]  # fmt: skip
    model = rekur.Sequential([rekur.Input((None, 3)), *layers], seed=2)
    convert.save(model, tmp_path / "m.json", format="rtneural")
    np.testing.assert_allclose(convert.load(tmp_path / "m.json").predict(_x(3)), model.predict(_x(3)), atol=1e-6)


def _changed(found: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    found = copy.deepcopy(found)
    node = found
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return found


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("layers", 0, "weights", 0),
            _drawn(2, 5),
            r"0 \(time-distributed-dense\): array 0: expected .*\(2, 4\)",
        ),
        (("layers", 0, "weights", 0), [[1, 2], [3]], "array 0: expected an array of shape"),
        (("layers", 0, "weights", 0), "x", "array 0: expected an array"),
        (("layers", 0, "weights"), 3, "weights: expected a list, got 3"),
        (("layers", 0, "weights"), [], "expected 2 arrays, got 0"),
        (("layers", 0, "type"), "conv2d", r"layer 0 \(conv2d\): there is no such layer here"),
        (("layers", 0, "activation"), "swish", "RTNeural has no activation 'swish'"),
        (("layers", 0, "activation"), {}, "RTNeural has no activation {}"),
        (("layers", 4, "activation"), "relu", "RTNeural's has tanh, whatever the file says: it says 'relu'"),
        (("layers", 0), 3, "layer 0: expected an object with a type, got 3"),
        (("layers", 0, "shape"), None, r"shape: expected \[rows, steps, features\], got None"),
        (("layers", 1, "groups"), 3, "3 groups do not divide"),
        (("layers", 1, "kernel_size"), [0], "kernel_size: expected a whole number of at least 1, got 0"),
        (("layers", 2, "epsilon"), "x", "epsilon: expected a number, got 'x'"),
        (("in_shape",), [], "in_shape: expected"),
        (("in_shape",), [None, None, 70000], "expected at most 65536, got 70000"),
        (("layers", 1, "dilation"), [1 << 24], "it looks back 2 steps of 16777216, more than 16777216 in all"),
        (("layers",), [{"type": "activation"}] * 8192, "it has more than 8192 layers"),
        (("in_gain",), 1e9, "in_gain: expected decibels of at most 400 either way"),
        (("in_skip",), 1.5, "in_skip: expected a whole number"),
        (("in_skip",), 2, "2 features of the input cannot be added to 1"),
    ],
)
def test_broken_files_of_rtneural(path: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert.load(_changed(_rtneural(), *path, value=value))


def test_messages_begin_with_the_file(tmp_path: Path) -> None:
    """Those of layers, too, which do not know of one."""
    for k, (path, value) in enumerate([(("in_gain",), 1e9), (("in_skip",), 2), (("layers",), [{"type": "prelu"}])]):
        (file := tmp_path / f"{k}.json").write_text(json.dumps(_changed(_rtneural(), *path, value=value)))
        with pytest.raises(ValueError, match=f"^'.*{k}.json': "):
            convert.load(file)
    (file := tmp_path / "g.json").write_text(
        json.dumps(_changed(_guitarml("LSTM", 2, 1), "state_dict", "lin.weight", value=_drawn(1, 7)))
    )
    with pytest.raises(ValueError, match=r"^'.*g\.json': "):
        convert.load(file)


# Neural Amp Modeler.


def _nam(depth: int, units: int, features: int, outputs: int, states: bool) -> tuple[dict[str, Any], Any]:
    flat: list[Any] = []
    parts = []
    for k in range(depth):
        width = features if k == 0 else units
        matrix, bias = _drawn(4 * units, width + units), _drawn(4 * units)
        h, c = (_drawn(units), _drawn(units)) if states else ([0.0] * units, [0.0] * units)
        flat += [*np.ravel(matrix).tolist(), *bias, *h, *c]
        parts.append((np.asarray(matrix).T[:width], np.asarray(matrix).T[width:], bias, np.array(h), np.array(c)))
    head, bias = _drawn(outputs, units), _drawn(outputs)
    flat += [*np.ravel(head).tolist(), *bias]
    config = {"input_size": features, "hidden_size": units, "num_layers": depth}
    if outputs > 1:
        config["out_channels"] = outputs
    found = {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": flat, "sample_rate": 48000}

    def by_hand(x: np.ndarray) -> np.ndarray:
        y = x.astype(float)
        for part in parts:
            y = lstm(y, *part)
        return y @ np.asarray(head).T + bias

    return found, by_hand


@pytest.mark.parametrize(("depth", "units", "features", "outputs", "states"), [(1, 3, 1, 1, True), (3, 5, 2, 2, False)])
def test_nam(tmp_path: Path, depth: int, units: int, features: int, outputs: int, states: bool) -> None:
    found, by_hand = _nam(depth, units, features, outputs, states)
    (path := tmp_path / "a.nam").write_text(json.dumps(found))
    model = convert.load(path)
    np.testing.assert_allclose(model.predict(_x(features)), by_hand(_x(features)), atol=1e-6)
    stream = rekur.Stream(model)
    steps = [stream.step(_x(features)[:1, t]) for t in range(4)]
    np.testing.assert_allclose(np.stack(steps, axis=1), by_hand(_x(features))[:1, :4], atol=1e-6)
    assert cli.main(["convert", str(path), str(tmp_path / "b.nam"), "-o", "sample_rate=48000"]) == 0
    again = json.loads((tmp_path / "b.nam").read_text())
    np.testing.assert_allclose(again.pop("weights"), found["weights"], rtol=1e-7)
    again["config"].pop("in_channels", None)
    assert again == {key: value for key, value in found.items() if key != "weights"}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("architecture",), "CatLSTM", "architecture is 'CatLSTM'; LSTM, WaveNet, ConvNet, Linear and"),
        (("weights",), [1.0], "weights: expected a list of at least 48 numbers, got 1"),
        (("weights",), [1.0] * 71, "weights: expected a list of 70 numbers, got 71"),
        (("weights",), None, "weights: expected a list of numbers, got None"),
        (("weights",), ["a"] * 70, "weights: expected an array of numbers"),
        (("weights", 3), False, "weights: expected numbers, got False among them"),
        (("sample_rate",), 10**400, "sample_rate: expected a number of Hz"),
        (("config",), 3, "config: expected an object, got 3"),
        (("config", "hidden_size"), -3, "hidden_size: expected a whole number of at least 1, got -3"),
        (("config", "num_layers"), 10**12, "weights: expected a list"),
        (("config", "hidden_size"), 10**9, "hidden_size: expected at most 65536, got 1000000000"),
        (("config", "hidden_size"), 50000, "weights: expected a list of at least"),
    ],
)
def test_broken_files_of_nam(path: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert.load(_changed(_nam(1, 3, 1, 1, True)[0], *path, value=value))


# GuitarML.


def _guitarml(kind: str, features: int, skip: int, layers: int = 1) -> dict[str, Any]:
    blocks, units = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 4
    state: dict[str, Any] = {}
    for k in range(layers):
        width = features if k == 0 else units
        state[f"rec.weight_ih_l{k}"] = _drawn(blocks * units, width)
        state[f"rec.weight_hh_l{k}"] = _drawn(blocks * units, units)
        state[f"rec.bias_ih_l{k}"], state[f"rec.bias_hh_l{k}"] = _drawn(blocks * units), _drawn(blocks * units)
    state["lin.weight"], state["lin.bias"] = _drawn(1, units), _drawn(1)
    data = {
        "model": "SimpleRNN", "input_size": features, "skip": skip, "output_size": 1, "unit_type": kind,
        "num_layers": layers, "hidden_size": units, "bias_fl": True,
    }  # fmt: skip
    return {"model_data": data, "state_dict": state}


def _guitar_by_hand(found: dict[str, Any], x: np.ndarray) -> np.ndarray:
    state, data = {n: np.asarray(a, float) for n, a in found["state_dict"].items()}, found["model_data"]
    y = x.astype(float)
    for k in range(data["num_layers"]):
        ih, hh = state[f"rec.weight_ih_l{k}"].T, state[f"rec.weight_hh_l{k}"].T
        biases = state[f"rec.bias_ih_l{k}"], state[f"rec.bias_hh_l{k}"]
        if data["unit_type"] == "LSTM":
            y = lstm(y, ih, hh, sum(biases))
        elif data["unit_type"] == "GRU":  # r, z, n there
            order = np.r_[4:8, 0:4, 8:12]
            y = gru(y, ih[:, order], hh[:, order], [b[order] for b in biases])
        else:
            h, out = np.zeros((len(y), 4)), []
            for t in range(y.shape[1]):
                h = np.tanh(y[:, t] @ ih + h @ hh + sum(biases))
                out.append(h)
            y = np.stack(out, axis=1)
    y = y @ state["lin.weight"].T + state["lin.bias"]
    return y + x[..., : data["skip"]] if data["skip"] else y


@pytest.mark.parametrize(
    ("kind", "features", "skip", "layers"),
    [("LSTM", 1, 1, 1), ("LSTM", 2, 1, 1), ("GRU", 3, 1, 2), ("RNN", 1, 0, 1), ("LSTM", 2, 0, 3)],
)
def test_guitarml(tmp_path: Path, kind: str, features: int, skip: int, layers: int) -> None:
    found = _guitarml(kind, features, skip, layers)
    (path := tmp_path / "m.json").write_text("﻿" + json.dumps(found))
    assert convert.detect(path).name == "guitarml"
    model, x = convert.load(path), _x(features)
    np.testing.assert_allclose(model.predict(x), _guitar_by_hand(found, x), atol=1e-6)
    convert.save(model, tmp_path / "n.json", format="guitarml")
    again = json.loads((tmp_path / "n.json").read_text())
    assert (
        again["model_data"]
        == found["model_data"]
        == {key: value for key, value in convert.info(path).items() if key != "format"}
    )
    np.testing.assert_allclose(_guitar_by_hand(again, x), _guitar_by_hand(found, x), atol=1e-6)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model_data", "unit_type"), "Transformer", "it is a SimpleRNN of Transformer"),
        (("model_data", "unit_type"), "GRU", "model_data says GRU, the weights of rec are of LSTM, 2 → 4"),
        (("model_data", "hidden_size"), 40, "model_data says hidden_size 40, its weights 4"),
        (("model_data", "skip"), 3, "skip 3 of 2 features"),
        (("state_dict",), 3, "expected the objects"),
        (("state_dict", "rec.bias_ih_l0"), ["a"], "rec.bias_ih_l0: expected an array of numbers"),
        (("state_dict", "rec.bias_ih_l0", 1), 1e39, "rec.bias_ih_l0: a number is too large for float32"),
        (("state_dict", "rec.bias_ih_l0", 1), float("nan"), r"rec.bias_ih_l0\[1\]: expected a finite number, got nan"),
        (("state_dict", "rec.bias_ih_l0", 1), True, "rec.bias_ih_l0: expected numbers, got True among them"),
        (("state_dict", "rec.weight_ih_l0", 1), [1.0], "rec.weight_ih_l0: expected an array"),
        (("state_dict", "extra.weight"), _drawn(2, 2), "expected the tensors of rec and lin, got rec, lin, extra"),
    ],
)
def test_broken_files_of_guitarml(path: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert.load(_changed(_guitarml("LSTM", 2, 1), *path, value=value))


def test_guitarml_has_one_direction() -> None:
    found = _guitarml("LSTM", 2, 0)
    for name in list(found["state_dict"]):
        if name.startswith("rec."):
            found["state_dict"][f"{name}_reverse"] = found["state_dict"][name]
    found["state_dict"]["lin.weight"] = [[0.1] * 2 * len(found["state_dict"]["lin.weight"][0])]
    with pytest.raises(ValueError, match="layers of one direction without a projection are read"):
        convert.load(found)


# From one to the other, and what none of them has.


def test_from_one_to_the_other(tmp_path: Path) -> None:
    found = _guitarml("LSTM", 2, 1)
    model = convert.load(found)
    convert.save(model, tmp_path / "m.aidax")
    np.testing.assert_allclose(convert.load(tmp_path / "m.aidax").predict(_x(2)), model.predict(_x(2)), atol=1e-6)
    with pytest.raises(ValueError, match="has no gains, and does not add the input to the output"):
        convert.save(model, tmp_path / "m.nam")
    plain = convert.load(_guitarml("LSTM", 1, 0))
    convert.save(plain, tmp_path / "m.nam")
    np.testing.assert_allclose(convert.load(tmp_path / "m.nam").predict(_x(1)), plain.predict(_x(1)), atol=1e-6)


def _skipping(*layers: Any, start: int = 0) -> rekur.Model:
    x = rekur.Input((None, 3))
    y = x
    for layer in layers:
        y = layer(y)
    return rekur.Model(x, Add()([y, Slice(start, start + 1)(x)]))


@pytest.mark.parametrize(
    ("model", "format", "message"),
    [
        ([LSTM(3), Dense(1)], "nam", r"gives every step: return_sequences=True"),
        ([LSTM(3, return_sequences=True), Dense(1, activation="tanh")], "nam", "without an activation"),
        ([LSTM(3, return_sequences=True), LSTM(4, return_sequences=True), Dense(1)], "nam", "LSTM layers of one size"),
        ([LSTM(3, return_sequences=True, peepholes=True), Dense(1)], "nam", "has no peepholes=True"),
        ([GRU(3, return_sequences=True), Dense(1)], "nam", "'gru' is GRU of 3"),
        ([GRU(3, return_sequences=True, reset_after=False), Dense(1)], "rtneural", "has no reset_after=False"),
        ([SimpleRNN(3, return_sequences=True)], "rtneural", r"\(SimpleRNN\): RTNeural has no such layer"),
        ([Bidirectional(LSTM(3, return_sequences=True))], "rtneural", "RTNeural has no such layer"),
        ([Dense(3, activation="gelu")], "rtneural", "RTNeural has no activation="),
        ([Conv1D(3, 2)], "rtneural", "convolutions have padding='causal'"),
        ([LSTM(3, return_sequences=True), Flatten()], "rtneural", "no such layer|shape"),
        ([LSTM(3, return_sequences=True)], "guitarml", "and a Dense without an activation"),
        ([Rescaling(2.0, offset=1.0), LSTM(3, return_sequences=True)], "rtneural", "gain of the signal alone"),
        (_skipping(LSTM(3, return_sequences=True), Dense(1), start=1), "rtneural", "adds the first features"),
        (_skipping(LSTM(3, return_sequences=True), Activation("tanh"), Dense(1)), "guitarml", "one size, here are"),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(tmp_path: Path, model: Any, format: str, message: str) -> None:
    if isinstance(model, list):
        model = rekur.Sequential([rekur.Input((4, 3)), *model])
    with pytest.raises(ValueError, match=message):
        convert.save(model, tmp_path / "m.json", format=format)
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    model = rekur.Sequential([rekur.Input((None, 1)), LSTM(2, return_sequences=True), Dense(1)])
    model.set_weights([np.full_like(w, np.nan) for w in model.get_weights()])
    for format in ("nam", "rtneural", "guitarml"):
        with pytest.raises(ValueError, match="NaN or infinite, which JSON lacks"):
            convert.save(model, tmp_path / "m", format=format)


@pytest.mark.parametrize("text", ['{"a": 1', "{}", "[1, 2]", '{"layers": 3, "in_shape": 1}', "{" * 100000])
def test_texts_that_are_none(tmp_path: Path, text: str) -> None:
    (path := tmp_path / "m.json").write_text(text)
    with pytest.raises(ValueError):
        convert.load(path)
    for format in ("nam", "rtneural", "guitarml"):
        with pytest.raises(ValueError):
            convert.load(path, format=format)
