"""The sample rate and the latency of a model, and streams at another rate."""

import copy
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import rekur
from reference import sigmoid
from rekur import _core, convert, layers


def amp(units=6, **options):
    return rekur.Sequential(
        [layers.Input((None, 2)), layers.LSTM(units, return_sequences=True), layers.Dense(1)], seed=1, **options
    )


def said(model):
    model = rekur.Sequential([layers.Input((None, 2)), model]) if isinstance(model, layers.Layer) else model
    model.sample_rate, model.latency = 44100, 7
    return model


def functional():
    x = rekur.Input((None, 2))
    return rekur.Model(x, layers.Dense(1)(layers.GRU(4, return_sequences=True)(x)), seed=1)


def nested():
    x = rekur.Input((None, 2))
    return rekur.Model(x, layers.Dense(1)(said(amp())(x)))


MODELS = {"sequential": amp, "functional": functional, "nested": nested}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_everything_that_is_made_of_a_model_keeps_them(make, tmp_path):
    model = said(make())
    model.save(tmp_path / "a.safetensors")
    model.save_pretrained(tmp_path / "hub")
    twins = {
        "file": rekur.load(tmp_path / "a.safetensors"),
        "hub": rekur.hub.from_pretrained(tmp_path / "hub"),
        "copy": copy.copy(model),
        "deepcopy": copy.deepcopy(model),
        "pickle": pickle.loads(pickle.dumps(model)),
        "config": type(model).from_config(model.get_config()),
        "json": rekur.models.model_from_json(model.to_json()),
        "clone": rekur.models.clone_model(model),
        "spec": rekur.Model.from_spec(model.spec),
    }
    for how, twin in twins.items():
        assert (twin.sample_rate, twin.latency) == (44100.0, 7), how
        assert twin.spec["signal"] == {"sample_rate": 44100.0, "latency": 7}, how
    if make is nested:
        inner = [layer for layer in twins["file"].layers if isinstance(layer, rekur.Model)]
        assert [(m.sample_rate, m.latency) for m in inner] == [(44100.0, 7)]


def test_they_are_set_before_and_after_the_model_is_built_and_nothing_says_nothing():
    model = rekur.Sequential([layers.LSTM(3, return_sequences=True)])
    assert (model.sample_rate, model.latency) == (None, 0)
    model.sample_rate = 48000
    assert pickle.loads(pickle.dumps(model)).sample_rate == 48000.0  # not built
    model.add(layers.Dense(1))
    model.build((None, None, 2))
    assert json.loads(model._engine().spec)["signal"] == {"sample_rate": 48000.0}
    before = model.get_weights()
    model.latency = 3
    model.sample_rate = None
    assert json.loads(model._engine().spec)["signal"] == model.spec["signal"] == {"latency": 3}
    model.latency = 0
    assert "signal" not in model.spec and "signal" not in json.loads(model._engine().spec)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert "sample_rate" not in model.get_config()


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, "48k", True])
def test_what_is_no_rate_is_refused(rate):
    model = said(amp())
    with pytest.raises((ValueError, TypeError), match="sample_rate"):
        model.sample_rate = rate
    assert model.sample_rate == 44100.0
    with pytest.raises((ValueError, TypeError), match="sample_rate"):
        rekur.Stream(model, sample_rate=rate)


@pytest.mark.parametrize("latency", [-1, 0.5, 2**31, "1"])
def test_what_is_no_latency_is_refused(latency):
    model = said(amp())
    with pytest.raises((ValueError, TypeError), match="latency"):
        model.latency = latency
    assert model.latency == 7


def test_headers_have_them_as_constants(tmp_path):
    for model, rate, latency in ((amp(), "0.0", 0), (said(amp()), "44100.0", 7)):
        rekur.export_cpp(model, tmp_path / "a.hpp")
        rekur.export_static(model, tmp_path / "b.hpp")
        first, second = (tmp_path / "a.hpp").read_text(), (tmp_path / "b.hpp").read_text()
        assert f"inline constexpr double sample_rate = {rate};\ninline constexpr int latency = {latency};" in first
        assert f"  static constexpr double sample_rate = {rate};\n  static constexpr int latency = {latency};" in second
    assert '"signal"' in first


def test_onnx_files_say_them(tmp_path):
    pytest.importorskip("onnx")
    import onnx

    model = said(amp())
    path = tmp_path / "a.onnx"
    for streaming in (False, True):
        rekur.onnx.export(model, path, streaming=streaming)
        found = rekur.onnx.metadata(path)
        assert (found.sample_rate, found.latency) == (44100.0, 7)
        again = rekur.onnx.load(path)
        assert (again.sample_rate, again.latency) == (44100.0, 7)
    rekur.onnx.export(amp(), path)
    found = rekur.onnx.metadata(path)
    assert (found.sample_rate, found.latency, rekur.onnx.load(path).sample_rate) == (None, 0, None)
    proto = onnx.load(path)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "rekur.sample_rate", "-5"
    onnx.save(proto, path)
    with pytest.raises(ValueError, match=r"'rekur\.sample_rate"):
        rekur.onnx.load(path)


@pytest.mark.parametrize(("ending", "key"), [(".nam", "sample_rate"), (".aidax", "samplerate"), (".guitarml.json", "")])
def test_files_of_effects_say_the_rate(ending, key, tmp_path):
    stack = [layers.Input((None, 1)), layers.LSTM(4, return_sequences=True), layers.Dense(1)]
    model, path = rekur.Sequential(stack, seed=1), tmp_path / f"a{ending}"
    model.sample_rate = 44100
    convert.save(model, path)
    found = json.loads(path.read_text())
    assert (found[key] if key else found["model_data"]["samplerate"]) == 44100
    assert convert.load(path).sample_rate == 44100.0
    convert.save(model, path, sample_rate=96000)
    assert convert.load(path).sample_rate == 96000.0
    model.sample_rate = None
    convert.save(model, path)
    assert convert.load(path).sample_rate is None
    if key:
        path.write_text(json.dumps({**found, key: "fast"}))
        with pytest.raises(ValueError, match=f"{key}: expected a number of Hz, got 'fast'"):
            convert.load(path)


def test_aida_x_looks_into_the_metadata_first(tmp_path):
    path = tmp_path / "a.aidax"
    model = rekur.Sequential([layers.Input((None, 1)), layers.LSTM(2, return_sequences=True), layers.Dense(1)], seed=1)
    convert.save(model, path, sample_rate=44100, metadata={"samplerate": 48000.0})
    assert convert.load(path).sample_rate == 48000.0


@pytest.mark.parametrize(("text", "rate"), [("48000", 48000.0), ("44100.5", 44100.5), ("", None)])
def test_rates_that_are_texts(text: str, rate: float | None, tmp_path: Path) -> None:
    """AIDA-X's trainer writes "samplerate": "48000"."""
    path = tmp_path / "a.aidax"
    model = rekur.Sequential([layers.Input((None, 1)), layers.LSTM(2, return_sequences=True), layers.Dense(1)], seed=1)
    convert.save(model, path, metadata={"samplerate": text})
    assert convert.load(path).sample_rate == rate
    for other in ("48 kHz", "48.", ".5", "-1", "4e4", "48000 ", "\u0664\u0668"):
        convert.save(model, path, metadata={"samplerate": other})
        with pytest.raises(ValueError, match="samplerate: expected a number of Hz"):
            convert.load(path)


# Streams.


def by_the_equations(model, x, delay):
    """An LSTM and a Dense in float64, its states read ``delay`` steps back."""
    kernel, recurrent, bias, dense, offset = (w.astype(np.float64) for w in model.get_weights())
    units = recurrent.shape[0]
    whole, far = int(delay), delay - int(delay)
    past = []  # (h, c) of each step
    zeros = (np.zeros(units), np.zeros(units))

    def back(t, n):
        return past[t - n] if n <= t else zeros

    y = []
    for t, step in enumerate(x.astype(np.float64)):
        h, c = ((1 - far) * a + far * b for a, b in zip(back(t, whole), back(t, whole + 1), strict=True))
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        past.append((sigmoid(o) * np.tanh(c), c))
        y.append(past[-1][0] @ dense + offset)
    return np.array(y)


@pytest.mark.parametrize("rate", [48000, 66150, 88200, 96000, 176400])
def test_a_higher_rate_is_by_the_equations(rate):
    model = said(amp(units=9))
    x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    stream = rekur.Stream(model, sample_rate=rate)
    assert stream.rate_match == "matched"
    expected = by_the_equations(model, x, rate / 44100)
    assert np.abs(stream.process(x) - expected).max() < 2e-6
    assert np.abs(rekur.Stream(model).process(x) - expected).max() > 1e-3
    stream.reset()
    assert np.abs(np.array([stream.step(step) for step in x]) - expected).max() < 2e-6


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(7, return_sequences=True),
        lambda: layers.GRU(7, return_sequences=True, learn_initial_state=True),
        lambda: layers.RNN(rekur.cells.light_gru, 7, return_sequences=True),
    ],
    ids=["lstm", "gru", "light_gru"],
)
def test_at_twice_the_rate_there_are_two_streams(layer):
    model = said(rekur.Sequential([layers.Input((None, 2)), layer()], seed=3))
    x = np.random.default_rng(1).normal(size=(40, 2)).astype(np.float32)
    both = rekur.Stream(model, sample_rate=88200).process(x)
    for k in (0, 1):
        assert np.array_equal(both[k::2], rekur.Stream(model).process(x[k::2]))


def test_states_of_the_past_are_carried_on():
    model = said(amp())
    x = np.random.default_rng(2).normal(size=(50, 2)).astype(np.float32)
    whole = rekur.Stream(model, sample_rate=100000).process(x)
    first, second = rekur.Stream(model, sample_rate=100000), rekur.Stream(model, sample_rate=100000)
    assert {name: s.shape for name, s in first.states.items()} == {
        "lstm/h": (1, 6), "lstm/h/past": (1, 2, 6), "lstm/c": (1, 6), "lstm/c/past": (1, 2, 6),
    }  # fmt: skip
    begin = first.process(x[:23])
    second.states = first.states
    assert np.array_equal(np.concatenate([begin, second.process(x[23:])]), whole)


def test_what_a_stream_says_of_a_rate():
    model = said(amp())
    assert rekur.Stream(model).rate_match == "same"
    assert rekur.Stream(model, sample_rate=44100).rate_match == "same"
    assert rekur.Stream(model, sample_rate=22050).rate_match == "too_low"
    assert rekur.Stream(amp(), sample_rate=22050).rate_match == "unknown"
    conv = said(layers.Conv1D(3, 2, padding="causal"))
    assert rekur.Stream(conv, sample_rate=48000).rate_match == "partly"
    x = np.ones((20, 2), np.float32)
    low = rekur.Stream(model, sample_rate=22050).process(x)
    assert np.array_equal(low, rekur.Stream(model).process(x))
    with pytest.raises(ValueError, match="at most 4096 times the model's, 44100"):
        rekur.Stream(model, sample_rate=1e9)


def test_the_engine_refuses_a_signal_in_the_body_of_a_loop():
    inner = {"format": "rekur", "version": 1, "layers": [{"type": "Input", "name": "x", "shape": [2]},
             {"type": "Dense", "name": "d", "inputs": ["x"], "units": 2}], "inputs": ["x"], "outputs": ["d"],
             "signal": {"latency": 1}}  # fmt: skip
    outer = {"format": "rekur", "version": 1, "layers": [{"type": "Input", "name": "x", "shape": [None, 2]},
             {"type": "Loop", "name": "l", "inputs": ["x"], "body": inner}], "inputs": ["x"],
             "outputs": ["l"]}  # fmt: skip
    with pytest.raises(ValueError, match="its body: 'signal' is the whole model's"):
        _core.Model(json.dumps(outer))
