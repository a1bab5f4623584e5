"""Neural Amp Modeler's WaveNet, ConvNet and Linear, and all effects against what their owners' engines computed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from audio_models import KEPT, MODELS, features_of, signal
from cpp_tools import CXX
from harness import Engine
from rekur import _core, convert
from rekur.layers import Activation, Add, BatchNormalization, Conv1D, Dense, Rescaling

VECTORS = Path(__file__).with_name("audio_vectors.npz")
NETWORKS = [name for name in MODELS if name.startswith("nam_") and "lstm" not in name]


def _x(steps: int = 200, features: int = 1) -> np.ndarray:
    return 0.4 * np.random.default_rng(3).standard_normal((2, steps, features)).astype(np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_owners_engines(name: str, tmp_path: Path) -> None:
    """A second of signal, step by step, within 1e-5 of what NeuralAmpModelerCore and RTNeural make of the same file."""
    found = MODELS[name]()
    (path := tmp_path / ("a.nam" if name.startswith("nam") else "a.json")).write_text(json.dumps(found))
    with np.load(VECTORS) as vectors:
        expected = vectors[name]
    model = convert.load(path)
    y = np.asarray(rekur.Stream(model).process(signal(features_of(found))[None]))[0, :, 0]
    assert expected.std() > 0.02
    np.testing.assert_allclose(y[KEPT], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_stream_and_reset(name: str) -> None:
    model = convert.load(MODELS[name]())
    stream = rekur.Stream(model, batch=2)
    x = _x()
    expected = model.predict(x)
    np.testing.assert_array_equal(np.asarray(stream.process(x)), expected)
    stream.reset()
    np.testing.assert_array_equal(np.stack([stream.step(x[:, t]) for t in range(20)], axis=1), expected[:, :20])


def test_states_of_the_file_are_those_of_a_stream() -> None:
    """Initial states of the file are where a stream begins, and where a reset goes back to."""
    found = MODELS["nam_lstm_2x8"]()
    model = convert.load(found)
    assert all(layer.learn_initial_state for layer in model.layers[:-1])
    stream = rekur.Stream(model)
    first = stream.step(np.zeros((1, 1), np.float32)).copy()
    stream.process(_x()[:1])
    stream.reset()
    np.testing.assert_array_equal(stream.step(np.zeros((1, 1), np.float32)), first)
    with_zeros = copy.deepcopy(found)
    units = 8
    begin = 4 * units * (1 + units) + 4 * units
    with_zeros["weights"][begin : begin + 2 * units] = [0.0] * (2 * units)
    assert np.abs(rekur.Stream(convert.load(with_zeros)).step(np.zeros((1, 1), np.float32)) - first).max() > 1e-3


WRITTEN = [name for name in NETWORKS if name != "nam_wavenet_everything"]


@pytest.mark.parametrize("name", WRITTEN)
def test_networks_are_written(name: str, tmp_path: Path) -> None:
    found = MODELS[name]()
    model = convert.load(found)
    convert.save(model, path := tmp_path / "a.nam", sample_rate=48000)
    again = json.loads(path.read_text())
    assert again["architecture"] == found["architecture"] and again["sample_rate"] == 48000
    assert len(again["weights"]) == len(found["weights"])
    np.testing.assert_allclose(convert.load(path).predict(_x()), model.predict(_x()), atol=2e-6)
    cold = convert.load(found, settled=False)
    convert.save(cold, path)
    np.testing.assert_array_equal(convert.load(path, settled=False).predict(_x()), cold.predict(_x()))
    assert convert.load(path, settled=False).spec["layers"] == cold.spec["layers"]


@pytest.mark.parametrize("name", NETWORKS)
def test_settled_is_after_long_silence(name: str) -> None:
    found = MODELS[name]()
    cold, x = convert.load(found, settled=False), _x()
    silence = np.zeros((2, 8200, 1), np.float32)
    expected = cold.predict(np.concatenate([silence, x], axis=1))[:, 8200:]
    np.testing.assert_allclose(convert.load(found).predict(x), expected, atol=2e-6)
    if name != "nam_linear":
        assert np.abs(cold.predict(x) - expected).max() > 1e-3


def test_settled_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="settled: expected True or False, got 1"):
        convert.load(MODELS["nam_wavenet_nano"](), settled=1)
    huge = MODELS["nam_wavenet_nano"]()
    huge["weights"] = [3e38 if k % 7 else 1.0 for k in range(len(huge["weights"]))]
    with pytest.raises(ValueError, match="at rest, after silence, it is not finite: settled=False leaves it"):
        convert.load(huge)
    convert.load(huge, settled=False)


def _of(layers: list[dict[str, Any]], **further: Any) -> dict[str, Any]:
    """A WaveNet of arrays of layers, with weights as many as it takes."""
    found = {"architecture": "WaveNet", "config": {"layers": layers, "head_scale": 1.0, **further}, "weights": []}
    for _ in range(10000):
        try:
            convert.load(found)
        except ValueError as error:
            if "expected a list of at least" not in str(error):
                raise
            number = int(str(error).split("at least ")[1].split()[0])
            found["weights"] = list(0.5 * np.sin(np.arange(number) * 12.7))
        else:
            return found
    raise AssertionError("too many")


def _array(**further: Any) -> dict[str, Any]:
    return {"input_size": 1, "condition_size": 1, "channels": 4, "head_size": 1, "head_bias": True, "kernel_size": 2,
            "dilations": [1, 3], "activation": "Tanh", **further}  # fmt: skip


@pytest.mark.parametrize(
    "array",
    [
        _array(gating_mode=["gated", "blended"], secondary_activation=["SiLU", "Sigmoid"]),
        _array(gating_mode="blended", secondary_activation="Hardtanh", bottleneck=3),
        _array(groups_input=2, layer1x1={"active": True, "groups": 4}),
        _array(head1x1={"active": True, "out_channels": 6, "groups": 2}),
        _array(activation=["Softsign", {"type": "PReLU", "negative_slopes": [0.1, 0.2, -0.3, 0.4]}]),
        _array(activation={"type": "LeakyHardtanh", "min_val": -0.4, "max_slope": 0.2}, dilations=[2]),
        _array(head={"out_channels": 1, "kernel_size": 5, "bias": False, "head_dilation": 2}),
    ],
)
def test_variants_of_wavenets_are_written(array: dict[str, Any], tmp_path: Path) -> None:
    for settled in (True, False):
        model = convert.load(_of([array]), settled=settled)
        convert.save(model, path := tmp_path / "a.nam")
        again = convert.load(path, settled=settled)
        np.testing.assert_allclose(again.predict(_x()), model.predict(_x()), atol=0 if not settled else 2e-6)


def test_a_head_behind_all_and_several_channels_are_written(tmp_path: Path) -> None:
    head = {"channels": 3, "out_channels": 2, "kernel_sizes": [3, 1, 2], "activation": "ReLU"}
    arrays = [_array(input_size=2, condition_size=2, head_size=4), _array(input_size=4, condition_size=2, head_size=2)]
    model = convert.load(_of(arrays, head=head, in_channels=2))
    convert.save(model, path := tmp_path / "a.nam")
    x = _x(features=2)
    np.testing.assert_allclose(convert.load(path).predict(x), model.predict(x), atol=2e-6)


def test_a_layer_by_hand() -> None:
    """Two layers, gated, in float64 from the equations."""
    found = _of([_array(gated=True)])
    w = iter(np.asarray(found["weights"], np.float32).astype(float))

    def take(*shape: int) -> np.ndarray:
        return np.array([next(w) for _ in range(int(np.prod(shape)))]).reshape(shape)

    x = _x(30)[:1].astype(float)[0]
    h, total = x @ take(4, 1).T, np.zeros((30, 4))
    for dilation in (1, 3):
        kernel, bias, mixin = take(8, 4, 2), take(8), take(8, 1)
        before = np.concatenate([np.zeros((dilation, 4)), h])[: len(h)]
        z = before @ kernel[:, :, 0].T + h @ kernel[:, :, 1].T + bias + x @ mixin.T
        value = np.tanh(z[:, :4]) / (1 + np.exp(-z[:, 4:]))
        total += value
        residual, bias = take(4, 4), take(4)
        h = h + value @ residual.T + bias
    y = total @ take(1, 4).T + take(1)
    scale = take(1)
    np.testing.assert_allclose(convert.load(found, settled=False).predict(_x(30)[:1])[0], y * scale, atol=1e-6)


def test_the_largest_of_a_container() -> None:
    small, large = MODELS["nam_wavenet_nano"](), MODELS["nam_wavenet_feather"]()
    submodels = [{"max_value": 0.5, "model": small}, {"max_value": 1.0, "model": large}]
    found = {"architecture": "SlimmableContainer", "config": {"submodels": submodels}, "weights": []}
    np.testing.assert_array_equal(convert.load(found).predict(_x()), convert.load(large).predict(_x()))
    found["config"] = {"submodels": []}
    with pytest.raises(ValueError, match="submodels: expected a list of objects with a model"):
        convert.load(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_sizes": [2, 2]}, "expected kernel_size or kernel_sizes"),
        ({"dilations": []}, "dilations: expected a list of at least one"),
        ({"dilations": [1, 0]}, "dilations: expected a whole number of at least 1, got 0"),
        ({"dilations": [1, 2**40]}, "looks back"),
        ({"activation": ["Tanh"]}, "activation: expected 2, one for each of the dilations, got 1"),
        ({"activation": "Snake"}, "no such activation here: 'Snake'"),
        ({"activation": {"type": "Tanh", "slope": 1}}, "Tanh has no parameter 'slope'"),
        ({"activation": {"type": "PReLU", "negative_slopes": [1.0]}}, r"negative_slopes: expected an array of shape"),
        ({"gating_mode": "mixed"}, "gating_mode: expected none, gated or blended, got 'mixed'"),
        ({"condition_size": 2}, "condition_size: expected 1, got 2"),
        ({"input_size": 2}, "input_size: expected 1, as come to it, got 2"),
        ({"groups_input": 3}, "3 groups do not divide 4 channels and 4"),
        ({"bottleneck": 3, "layer1x1": {"active": False, "groups": 1}}, "bottleneck: expected 4 channels"),
        ({"layer1x1_post_film": True}, "layer1x1_post_film: expected an object"),
        ({"head1x1_post_film": {"active": True}}, "there is no head1x1"),
        ({"attention": {"heads": 2}}, "'attention' is not known here, and what it says is not carried"),
        ({"head_bias": 1}, "head_bias: expected true or false, got 1"),
        ({"channels": 10**6}, "channels: expected at most 65536, got 1000000"),
        ({"channels": 60000}, "weights: expected a list of at least"),
    ],
)
def test_broken_wavenets(change: dict[str, Any], message: str) -> None:
    good = _of([_array()])
    good["config"]["layers"][0].update(change)
    with pytest.raises(ValueError, match=message):
        convert.load(good)


def test_other_broken_networks() -> None:
    for name, change, message in (
        ("nam_convnet", {"dilations": 3}, "dilations: expected a list"),
        ("nam_convnet", {"batchnorm": None}, "batchnorm: expected true or false, got none"),
        ("nam_convnet", {"bypass": "dry"}, "'bypass' is not known here"),
        ("nam_linear", {"receptive_field": 799}, "weights: expected a list of 800 numbers, got 801"),
        ("nam_linear", {"in_channels": 2}, "Linear of one channel is read"),
        ("nam_wavenet_nano", {"layers": {}}, "layers: expected a list of at least one"),
        ("nam_wavenet_nano", {"condition_dsp": {"config": {}}}, "condition_dsp: expected an object with"),
        ("nam_wavenet_nano", {"head": {"channels": 1}}, "head: kernel_sizes: expected a list"),
    ):
        found = MODELS[name]()
        found["config"].update(change)
        with pytest.raises(ValueError, match=message):
            convert.load(found)


def _two_arrays(activation: str = "tanh", **conv: Any) -> rekur.Model:
    """What someone writes who makes such a network by hand."""
    x = rekur.Input((None, 1))
    h = Dense(3, use_bias=False)(x)
    terms = []
    for dilation in (1, 2):
        z = Add()([Conv1D(3, 2, padding="causal", dilation_rate=dilation, **conv)(h), Dense(3, use_bias=False)(x)])
        z = Activation(activation)(z)
        terms.append(z)
        h = Add()([h, Dense(3)(z)]) if dilation == 1 else h
    return rekur.Model(x, Rescaling(0.5)(Dense(1)(Add()(terms))))


def test_a_model_made_by_hand_is_written(tmp_path: Path) -> None:
    model = _two_arrays()
    convert.save(model, tmp_path / "a.nam")
    again = convert.load(tmp_path / "a.nam", settled=False)
    np.testing.assert_allclose(again.predict(_x()), model.predict(_x()), atol=1e-6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: _two_arrays("elu"), "WaveNet has no activation 'elu'"),
        (lambda: _two_arrays(activation="tanh", use_bias=False), None),
        (lambda: convert.load(MODELS["nam_wavenet_everything"]()), "WaveNet has"),
        (lambda: rekur.Sequential([rekur.Input((None, 1)), Conv1D(2, 3, padding="causal"), Activation("tanh"),
                                   Dense(1)]), "ConvNet has causal convolutions of two taps"),
        (lambda: rekur.Sequential([rekur.Input((None, 1)), Conv1D(2, 2), Activation("tanh"), Dense(1)]),
         "ConvNet has causal convolutions of two taps"),
        (lambda: rekur.Sequential([rekur.Input((None, 1)), Conv1D(2, 2, padding="causal"), BatchNormalization(),
                                   Activation("tanh"), Dense(1)]), "without a bias before it"),
        (lambda: rekur.Sequential([rekur.Input((None, 2)), Conv1D(1, 9, padding="causal")]), "Linear is causal"),
    ],
)  # fmt: skip
def test_what_is_no_such_network(model: Any, message: str | None, tmp_path: Path) -> None:
    if message is None:
        convert.save(model(), tmp_path / "a.nam")
        return
    with pytest.raises(ValueError, match=message):
        convert.save(model(), tmp_path / "a.nam")
    assert not (tmp_path / "a.nam").exists()


EXPORTED = ["nam_wavenet_nano", "nam_wavenet_everything", "nam_convnet", "nam_linear"]


@pytest.mark.parametrize("name", EXPORTED)
def test_networks_go_to_onnx(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = convert.load(MODELS[name]())
    rekur.onnx.export(model, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: _x()})
    np.testing.assert_allclose(y, model.predict(_x()), atol=5e-6)


@pytest.mark.skipif(CXX is None, reason="no g++")
def test_networks_written_out_as_types_give_a_streams_bits(tmp_path: Path) -> None:
    from test_export_static import Case, check

    cases = []
    for name in EXPORTED:
        model = convert.load(MODELS[name]())
        model.save(tmp_path / f"{name}.safetensors")
        loaded, _, _ = _core.load(bytes(tmp_path / f"{name}.safetensors"))
        engine = Engine(json.loads(loaded.spec))
        engine.model.set_weights(loaded.get_weights())
        cases.append(Case(name, engine, steps=40))
    check(tmp_path, cases, _core.isa(), "g++", "-std=c++17", "-O1")
