"""``quantize`` to eight bits: which layers, what it tells, files, headers."""

import copy
import json
import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cpp_tools
import rekur
from rekur import cli, layers
from test_int8 import sequences, weight_integers

Array = NDArray[Any]


def classifier() -> rekur.Sequential:
    model = rekur.Sequential(
        [
            layers.LSTM(48, return_sequences=True, input_shape=(None, 24), name="lstm"),
            layers.Bidirectional(layers.GRU(40), name="both"),
            layers.Dense(64, "tanh", name="hidden"),
            layers.Dense(3, name="out"),
        ],
        seed=3,
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


@pytest.fixture
def x() -> Array:
    return sequences(np.random.default_rng(0), 12, 9, 24)


def rounded(w: Array) -> Array:
    q, scale = weight_integers(w.reshape(-1, w.shape[-1]))
    return (q * scale).astype(np.float32).reshape(w.shape)


def test_a_copy_has_layers_of_eight_bits_and_says_what_that_changes(x: Array) -> None:
    model = classifier()
    before = model.predict(x, verbose=0)
    targets = before + 0.1
    found = rekur.quantize(model, "int8", data=x, targets=targets)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)  # it stays as it is
    assert model.spec == classifier().spec
    narrow = found.model
    assert type(narrow) is rekur.Sequential and narrow.compiled
    specs = {layer["name"]: layer for layer in narrow.spec["layers"]}
    assert specs["lstm"]["precision"] == specs["both"]["layer"]["precision"] == specs["hidden"]["precision"] == "int8"
    assert "precision" not in specs["out"]  # it would gain nothing
    assert narrow.get_layer("lstm").precision == "int8"
    for (name, one), other in zip(model.named_weights().items(), narrow.get_weights(), strict=True):
        narrowed = name.endswith("kernel") and not name.startswith("out")
        np.testing.assert_array_equal(other, rounded(one) if narrowed else one)
    after = narrow.predict(x, verbose=0)
    (output,) = found.outputs
    assert output.largest == pytest.approx(np.abs(after - before).max() / np.ptp(before)) == found.largest
    assert output.mean == pytest.approx(np.abs(after - before).mean() / np.ptp(before)) == found.mean
    assert 0 < output.mean < 0.01
    assert {d.name for d in found.layers} == {"lstm", "both", "hidden"}
    assert [d.mean for d in found.layers] == sorted((d.mean for d in found.layers), reverse=True)
    for cost in found.layers:
        alone = rekur.quantize(
            model, "int8", data=x, keep=[n for n in ("lstm", "both", "hidden", "out") if n != cost.name]
        )
        assert (alone.largest, alone.mean) == (pytest.approx(cost.largest), pytest.approx(cost.mean))
    named = model.named_weights()
    for d in found.deviations:
        difference = np.abs(rounded(named[d.name]).astype(np.float64) - named[d.name]) / np.abs(named[d.name]).max()
        assert d.largest == pytest.approx(difference.max()) and d.mean == pytest.approx(difference.mean())
    assert found.floats == {"out/kernel": "few outputs: 64 x 3"}
    sizes = [w.size for n, w in named.items() if n in {d.name for d in found.deviations}]
    columns = [w.shape[-1] for n, w in named.items() if n in {d.name for d in found.deviations}]
    assert found.bytes_after == found.bytes_before - 3 * sum(sizes) + 4 * sum(columns)
    for k, name in enumerate(("loss", "mae")):
        assert found.metrics[name][0] == pytest.approx(model.evaluate(x, targets, verbose=0)[k])
        assert found.metrics[name][1] == pytest.approx(narrow.evaluate(x, targets, verbose=0)[k])
    text = str(found)
    for part in ("int8", "lstm", "both/forward/kernel", "mae", "out/kernel", "few outputs"):
        assert part in text


def test_layers_are_kept_by_name_and_by_cost(x: Array) -> None:
    model = classifier()
    kept = rekur.quantize(model, "int8", data=x, keep=["lstm"])
    assert kept.model.get_layer("lstm").precision is None
    assert kept.floats["lstm/kernel"] == "kept" and {d.name for d in kept.layers} == {"both", "hidden"}
    every = rekur.quantize(model, "int8", data=x)
    worst = every.layers[0]
    bound = every.mean * 0.95
    found = rekur.quantize(model, "int8", data=x, largest_loss=bound)
    assert found.mean <= bound < every.mean
    assert found.model.get_layer(worst.name)._narrowed().precision is None
    assert any("of the output's range" in why for why in found.floats.values())
    np.testing.assert_allclose(
        found.mean,
        np.abs(found.model.predict(x, verbose=0) - model.predict(x, verbose=0)).mean() / every.outputs[0].range,
    )
    assert rekur.quantize(model, "int8", data=x, largest_loss=1.0).mean == every.mean
    with pytest.raises(ValueError, match="largest_loss: no layer may be of eight bits for a mean deviation of 1e-09"):
        rekur.quantize(model, "int8", data=x, largest_loss=1e-9)


def test_what_cannot_be_is_said(x: Array) -> None:
    model = classifier()
    for message, error, options in (
        ("keep: the model has no layer 'lstn'; did you mean 'lstm'", ValueError, {"keep": ["lstn"]}),
        ("keep: expected a list of layers' names, got 'lstm'", TypeError, {"keep": "lstm"}),
        (r"data: expected rows to compare outputs on, got shape \(0, 9, 24\)", ValueError, {"data": x[:0]}),
        ("data: 2 numbers are not finite", ValueError, {"data": np.where(np.arange(24) == 3, np.nan, x)[:1, :2]}),
        ("data: expected arrays, which are gone through more than once", TypeError, {"data": iter([x])}),
        ("quantize: largest_loss without data", ValueError, {"largest_loss": 0.1}),
        ("quantize: targets without data", ValueError, {"targets": x}),
        ("largest_loss must be", ValueError, {"data": x, "largest_loss": -1}),
    ):
        with pytest.raises(error, match=message):
            rekur.quantize(model, "int8", **options)
    with pytest.raises(ValueError, match="quantize: weights: expected one of"):
        rekur.quantize(model, x)  # type: ignore[arg-type]  # data= was meant
    with pytest.raises(ValueError, match="keep and largest_loss go with weights='int8', not with 'bf16'"):
        rekur.quantize(model, "bf16", keep=["lstm"])
    small = rekur.Sequential([layers.LSTM(8, input_shape=(None, 3), name="l"), layers.Dense(1, name="d")])
    with pytest.raises(ValueError, match=r"no layer that could be of eight bits \(l/kernel: small: 3 x 32; l/rec"):
        rekur.quantize(small, "int8")
    with pytest.raises(ValueError, match=r"targets: model '.*' is not compiled"):
        rekur.quantize(small, "bf16", data=x[..., :3], targets=x[:, 0, :1])
    broken = classifier()
    weights = broken.get_weights()
    weights[1][3, 5] = np.inf
    broken.set_weights(weights)
    with pytest.raises(ValueError, match=r"weight 'lstm/recurrent_kernel': element 581 is .*, which eight bits do not"):
        rekur.quantize(broken, "int8")


class Own(rekur.layers.Layer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.Dense(64, "tanh")

    def call(self, x: Any) -> Any:
        return self.inner(x)


def nested() -> rekur.Model:
    shared = layers.Dense(40, name="shared")
    part = rekur.Sequential([layers.Conv1D(64, 3, input_shape=(None, 40), name="conv"), layers.GRU(64)], name="part")
    ids, x = rekur.Input((None,), dtype="int32", name="ids"), rekur.Input((None, 40), name="x")
    a = shared(layers.Embedding(30, 20, name="table")(ids))
    b = shared(layers.Dense(20, name="narrow")(x))
    c = layers.TimeDistributed(layers.Dense(110))(x)
    d = layers.Bidirectional(layers.LSTM(40), backward_layer=layers.LSTM(44, go_backwards=True), name="two")(x)
    stack = layers.RNN([layers.LSTMCell(40), layers.GRUCell(44)], name="stack")(x)
    y = layers.Concatenate()([layers.GlobalAveragePooling1D()(c), part(x), d, stack, Own()(part(a)), part(b)])
    return rekur.Model([ids, x], layers.Dense(2, name="out")(y))


def test_models_in_models_shared_layers_and_layers_put_together_of_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    model = nested()
    data = {"ids": rng.integers(30, size=(4, 11)), "x": sequences(rng, 4, 11, 40)}
    before = model.predict(data, verbose=0)
    found = rekur.quantize(model, "int8", data=data)
    narrow = found.model
    after = narrow.predict(data, verbose=0)
    assert 0 < found.mean < 0.02
    owners = {name.partition("/")[0] for name in narrow._engine().int8_matrices}
    assert {"table", "part.conv", "part.gru"} <= owners and len(owners) == 9, owners
    assert {d.name for d in found.layers} == owners
    for again in (copy.deepcopy(narrow), rekur.load(_saved(narrow, tmp_path / "m.safetensors", "int8"))):
        np.testing.assert_array_equal(again.predict(data, verbose=0), after)
        assert again.spec == narrow.spec
        again.compile("sgd", "mse")
        again.fit(data, np.zeros((4, 2), np.float32), verbose=0)
    kept = rekur.quantize(model, "int8", data=data, keep=["part"])
    assert not {n for n in kept.model._engine().int8_matrices if n.startswith("part.")}
    np.testing.assert_array_equal(model.predict(data, verbose=0), before)
    done = model.quantize("int8")
    assert done.model is model
    np.testing.assert_array_equal(model.predict(data, verbose=0), after)
    assert model.spec == narrow.spec


class OwnModel(rekur.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lstm, self.out = layers.LSTM(64), layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.out(self.lstm(x))


def test_a_model_of_ones_own_and_one_that_carries_states() -> None:
    x = sequences(np.random.default_rng(0), 4, 5, 64)
    own = OwnModel()
    own.predict(x, verbose=0)
    narrow = rekur.quantize(own, "int8", data=x).model
    own.quantize("int8")
    assert own.lstm.precision == "int8"
    np.testing.assert_array_equal(own.predict(x, verbose=0), narrow.predict(x, verbose=0))
    stateful = rekur.Sequential(
        [layers.LSTM(64, stateful=True, batch_input_shape=(4, None, 64), name="lstm"), layers.Dense(64, name="dense")]
    )
    stateful.layers[0].trainable = False
    first = stateful.predict(x, verbose=0)
    found = rekur.quantize(stateful, "int8", data=x)
    second = stateful.predict(x, verbose=0)  # its states are as they were
    stateful.reset_states()
    np.testing.assert_array_equal(stateful.predict(x, verbose=0), first)
    np.testing.assert_array_equal(stateful.predict(x, verbose=0), second)
    narrow = found.model
    narrow.reset_states()
    assert found.mean == pytest.approx(np.abs(narrow.predict(x, verbose=0) - first).mean() / np.ptp(first))
    assert narrow.layers[0].precision == "int8" and not narrow.layers[0].trainable
    for again in (pickle.loads(pickle.dumps(narrow)), rekur.models.clone_model(narrow)):
        assert again.layers[0].precision == "int8" and again._engine().int8_matrices == narrow._engine().int8_matrices
    assert rekur.models.model_from_json(narrow.to_json()).layers[1].precision == "int8"


def _saved(model: rekur.Model, path: Path, weights: str = "float32") -> Path:
    model.save(path, weights=weights)
    return path


def test_a_model_is_rounded_itself(x: Array) -> None:
    model, y = classifier(), np.zeros((12, 3), np.float32)
    expected = rekur.quantize(model, "int8").model.predict(x, verbose=0)
    lstm = model.get_layer("lstm")
    model.fit(x, y, epochs=0, verbose=0)
    model.quantize("int8")
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    assert model.get_layer("lstm") is lstm and lstm.precision == "int8"
    model.fit(x, y, verbose=0)
    assert np.abs(model.predict(x, verbose=0) - expected).max() > 0
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], model.get_weights()[0])
    half = classifier()
    assert half.quantize("bf16").weights == "bf16"
    np.testing.assert_array_equal(
        half.predict(x, verbose=0), rekur.quantize(classifier(), "bf16").model.predict(x, verbose=0)
    )
    other = rekur.Model(half._inputs, half.layers[0].output)
    with pytest.raises(ValueError, match=r"LSTM 'lstm' became part of model '.*' before it did of"):
        other.quantize("int8")
    with pytest.raises(TypeError, match="keep= names the layers that stay float32"):
        model.quantize("int8", filters="dense")  # type: ignore[call-arg]


def header_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    return dict(json.loads(data[8 : 8 + n]))


def test_files_hold_integers_and_scales(tmp_path: Path, x: Array) -> None:
    model = rekur.quantize(classifier(), "int8").model
    whole, small = _saved(model, tmp_path / "w.safetensors"), _saved(model, tmp_path / "m.safetensors", "int8")
    for path in (whole, small):
        again = rekur.load(path)
        assert again.spec == model.spec
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
        for one, other in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    header = header_of(small)
    for name, w in model.named_weights().items():
        narrowed = name in model._engine().int8_matrices
        assert header[name]["dtype"] == ("I8" if narrowed else "F32")
        assert (f"{name}.scale" in header) == narrowed
        if narrowed:
            assert header[f"{name}.scale"]["shape"] == [w.shape[-1]] and header[f"{name}.scale"]["dtype"] == "F32"
    again = rekur.load(small)
    assert _saved(again, tmp_path / "again.safetensors", "int8").read_bytes() == small.read_bytes()
    again.fit(x, np.zeros((12, 3), np.float32), verbose=0)  # compiled as it was
    other = rekur.quantize(classifier(), "int8").model
    other.set_weights([0 * w for w in other.get_weights()])
    other.load_weights(small)
    np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))
    # Other types of such a model, and int8 of another.
    _saved(model, tmp_path / "half.safetensors", "bf16")
    for call in (lambda: classifier().save(tmp_path / "n.safetensors", weights="int8"),):
        with pytest.raises(ValueError, match="no matrix of it is of eight bits: no layer has the precision int8"):
            call()
    assert not (tmp_path / "n.safetensors").exists()
    weights = model.get_weights()
    weights[0][2, 3] = np.nan
    model.set_weights(weights)
    with pytest.raises(ValueError, match=r"weight 'lstm/kernel': element 387 is .*, which eight bits do not have"):
        model.save(tmp_path / "n.safetensors", weights="int8")


def of_all_cells() -> dict[str, list[layers.Layer]]:
    """Layers whose matrices stand in other places of the engine's."""
    x = {"input_shape": (None, 33), "return_sequences": True}
    rnn = rekur.layers.RNN
    return {
        "reset before": [layers.GRU(48, reset_after=False, **x)],
        "projection": [layers.LSTM(96, projection_size=48, **x)],
        "heads": [rnn(rekur.cells.slstm, 64, heads=4, **x)],
        "matrices": [rnn(rekur.cells.lmu, 64, **x)],
        "no recurrent product": [rnn(rekur.cells.min_gru, 64, **x)],
        "both ways": [layers.Bidirectional(layers.SimpleRNN(65, return_sequences=True), input_shape=(None, 33))],
        "groups": [layers.Conv1D(390, 3, groups=3, input_shape=(None, 33), activation="tanh")],
        "convolution": [layers.Conv1D(66, 3, strides=2, input_shape=(None, 33))],
    }


@pytest.mark.parametrize("name", of_all_cells())
def test_rounded_weights_are_those_that_the_engine_makes_of_them(rounding_isa: str, tmp_path: Path, name: str) -> None:
    plain = rekur.Sequential(of_all_cells()[name])
    x = sequences(np.random.default_rng(1), 5, 7, 33)
    found = rekur.quantize(plain, "int8", data=x)
    unrounded = copy.deepcopy(found.model)
    unrounded.set_weights(plain.get_weights())
    expected = unrounded.predict(x, verbose=0)
    assert len(found.deviations) > 0 and 0 < found.mean < 0.02
    np.testing.assert_array_equal(found.model.predict(x, verbose=0), expected)
    np.testing.assert_array_equal(
        rekur.load(_saved(unrounded, tmp_path / "m.safetensors", "int8")).predict(x, verbose=0), expected
    )
    # In training the forward pass is the same, and the options that it draws change no rounding.
    dy = np.ones_like(expected)
    (y,), gradients, _ = unrounded.gradients(x, dy)
    np.testing.assert_array_equal(y, expected)
    others = plain.gradients(x, dy)[1]
    for key, gradient in gradients.items():
        assert np.linalg.norm(gradient - others[key]) < 0.05 * np.linalg.norm(others[key]), key


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    model = rekur.Sequential([layers.Dense(64, precision="int8", input_shape=(64,), name="d")])
    path = _saved(model, tmp_path / "m.safetensors", "int8")
    header, data = header_of(path), path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]

    def written(changed: dict[str, Any], body: bytes) -> None:
        text = json.dumps(changed).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)

    def put(name: str, at: int, value: bytes) -> bytes:
        begin = header[name]["data_offsets"][0] + at
        return data[start:][:begin] + value + data[start:][begin + len(value) :]

    def changed(name: str, **keys: Any) -> dict[str, Any]:
        return {**header, name: {**header[name], **keys}}

    renamed = {("d/kernel.scales" if k == "d/kernel.scale" else k): v for k, v in header.items()}
    spec = json.loads(header["__metadata__"]["rekur"])
    del spec["layers"][-1]["precision"]
    floats = {**header, "__metadata__": {**header["__metadata__"], "rekur": json.dumps(spec)}}
    body = data[start:]
    for head, content, message in (
        (
            header,
            put("d/kernel.scale", 8, struct.pack("<f", float("nan"))),
            "'d/kernel': scale 2: expected a number of 0 to 2.67e36, got a number that is not finite",
        ),
        (header, put("d/kernel.scale", 0, struct.pack("<f", float("inf"))), "'d/kernel': scale 0: expected"),
        (
            header,
            put("d/kernel.scale", 0, struct.pack("<f", -1.0)),
            "'d/kernel': scale 0: expected a number of 0 to 2.67e36, got -1",
        ),
        (
            header,
            put("d/kernel.scale", 0, struct.pack("<f", 3e38)),
            "'d/kernel': scale 0: expected a number of 0 to 2.67e36, got 3",
        ),
        (header, put("d/kernel", 70, b"\x80"), "'d/kernel': integer 70 is -128, not one of -127 to 127"),
        (renamed, body, "'d/kernel' is of eight bits, and 'd/kernel.scale' is missing"),
        (changed("d/kernel.scale", shape=[1, 64]), body, r"'d/kernel.scale': expected shape \(64,\), got \(1, 64\)"),
        (changed("d/kernel.scale", dtype="I32"), body, 'd/kernel.scale"?: expected F32, got I32'),
        (changed("d/kernel", dtype="U8"), body, "expected F32, got U8"),
        (changed("d/kernel", dtype="F8_E4M3"), body, "expected F32, got F8_E4M3"),
        (changed("d/kernel", shape=[32, 128]), body, r"'d/kernel': expected shape \(64, 64\), got \(32, 128\)"),
    ):
        written(head, content)
        with pytest.raises(OSError, match=message):
            rekur.load(path)
    # A model that computes in float32 has the numbers that the integers stand for.
    written(floats, body)
    np.testing.assert_array_equal(rekur.load(path).get_weights()[0], rounded(model.get_weights()[0]))
    written(header, body)
    rekur.load(path)


def test_the_engine_has_one_grid_for_all(x: Array) -> None:
    model = rekur.quantize(classifier(), "int8").model
    engine = model._engine()
    np.testing.assert_array_equal(engine.rounded_weights("int8"), engine.get_weights())
    numbers, scales = engine.int8_weights()
    named, i, j = model.named_weights(), 0, 0
    for name in engine.int8_matrices:
        q, scale = weight_integers(named[name])
        np.testing.assert_array_equal(numbers[i : i + q.size], q.ravel())
        np.testing.assert_array_equal(scales[j : j + len(scale)], scale)
        i, j = i + q.size, j + len(scale)
    assert (i, j) == (len(numbers), len(scales))


def test_the_command(tmp_path: Path, x: Array, capsys: pytest.CaptureFixture[str]) -> None:
    model = classifier()
    source, out = str(_saved(model, tmp_path / "m.safetensors")), tmp_path / "n.safetensors"
    np.save(tmp_path / "x.npy", x)
    data = str(tmp_path / "x.npy")
    arguments = ["quantize", source, str(out), "--weights", "int8", "--data", data, "--keep", "hidden"]
    assert cli.main(arguments) == 0
    assert "layer alone" in capsys.readouterr().out
    expected = rekur.quantize(model, "int8", keep=["hidden"]).model
    np.testing.assert_array_equal(rekur.load(out).predict(x, verbose=0), expected.predict(x, verbose=0))
    assert header_of(out)["lstm/kernel"]["dtype"] == "I8"
    assert cli.main([*arguments, "--largest-loss", "1e-9"]) == 1
    assert "no layer may be of eight bits" in capsys.readouterr().err


@cpp_tools.needs_compiler
def test_a_header_holds_integers_and_its_model_streams_the_same_bits(tmp_path: Path, common_isa: str) -> None:
    library = cpp_tools.library()
    plain = rekur.Sequential(
        [
            layers.LSTM(90, return_sequences=True, input_shape=(None, 2), name="lstm"),
            layers.GRU(48, name="gru"),
            layers.Dense(1, name="out"),
        ],
        seed=1,
    )
    model = rekur.quantize(plain, "int8").model
    with pytest.raises(ValueError, match="no matrix of it is of eight bits"):
        rekur.export_cpp(plain, tmp_path / "m.hpp", weights="int8")
    whole = rekur.export_cpp(plain, tmp_path / "whole.hpp")
    report = rekur.export_cpp(model, tmp_path / "m.hpp", weights="int8")
    assert report.file_size < 0.4 * whole.file_size and "matrices in int8" in str(report)
    (tmp_path / "main.cpp").write_text(
        cpp_tools.main_of_header(r"""
  for (int column = 0; column < 360; ++column) {
    const float w = static_cast<float>(m::layer_lstm::recurrent_kernel[360 + column]) *
                    m::layer_lstm::recurrent_kernel_scales[column];
    std::fwrite(&w, sizeof w, 1, stdout);
  }
""")
    )
    out = library.compile(tmp_path / "main.cpp", tmp_path / "main")
    environment = {**os.environ, "REKUR_ISA": common_isa}
    done = subprocess.run([out], capture_output=True, check=True, timeout=60, env=environment)
    data = np.frombuffer(done.stdout, np.float32)
    flat = model._engine().get_weights()
    np.testing.assert_array_equal(data[: flat.size], flat)
    np.testing.assert_array_equal(data[flat.size : 2 * flat.size], flat)
    data = data[2 * flat.size :]
    np.testing.assert_array_equal(data[:360], model.named_weights()["lstm/recurrent_kernel"][1])
    x = np.array([[[0.25 * t, -0.5] for t in range(6)]], np.float32)
    np.testing.assert_array_equal(data[360:], [model.predict(x[:, : t + 1], verbose=0)[0, 0] for t in range(6)])
