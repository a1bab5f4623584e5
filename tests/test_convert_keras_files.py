"""Keras's files without Keras: descriptions of Keras 2, and files that are broken or hostile."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cli, convert
from rekur.convert._keras import probe
from rekur.layers import GRU, LSTM, Dense, Embedding

h5py = pytest.importorskip("h5py")


CHECK = probe.check


@pytest.fixture(autouse=True)
def _without_a_process_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "check", lambda source, what: None)


def test_a_file_is_looked_through_in_a_process_of_its_own(
    tmp_path: Path, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "check", CHECK)
    assert convert.load(_archive(tmp_path / "m.keras", **saved)).count_params() == 51


def _legacy(path: Path, config: Any, weights: dict[str, list[np.ndarray]], prefix: str = "") -> Path:
    """A file as Keras 2 writes it."""
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
        root = file.create_group("model_weights") if config is not None else file
        root.attrs["layer_names"] = np.asarray([name.encode() for name in weights])
        for name, arrays in weights.items():
            group = root.create_group(name)
            names = [f"{prefix}{name}/w{k}:0" for k in range(len(arrays))]
            group.attrs["weight_names"] = np.asarray([n.encode() for n in names]) if names else np.zeros(0, "S1")
            for n, array in zip(names, arrays, strict=True):
                group.create_dataset(n, data=array)
    return path


def _keras2(cls: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": cls, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def _uniform() -> dict[str, Any]:
    return {"class_name": "RandomUniform", "config": {"minval": -0.05, "maxval": 0.05, "seed": None}}


def test_a_sequential_of_keras_2(tmp_path: Path, rng: np.random.Generator) -> None:
    like = rekur.Sequential([Embedding(7, 3, input_shape=(5,)), LSTM(4, return_sequences=True), GRU(2), Dense(1)])
    weights = [rng.standard_normal(w.shape).astype("float32") for w in like.get_weights()]
    like.set_weights(weights)
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "sequential_4",
            "layers": [
                _keras2("Embedding", "embedding_1", batch_input_shape=[None, 5], input_dim=7, output_dim=3,
                        embeddings_initializer=_uniform(), mask_zero=False, input_length=5),
                _keras2("LSTM", "lstm_1", units=4, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                        return_sequences=True, return_state=False, go_backwards=False, stateful=False, unroll=False,
                        time_major=False, kernel_initializer=_uniform(), unit_forget_bias=True, dropout=0.1,
                        recurrent_dropout=0.0, implementation=2),
                _keras2("GRU", "gru_1", units=2, activation="tanh", recurrent_activation="sigmoid", reset_after=True,
                        implementation=1),
                _keras2("Dense", "dense_1", units=1, activation="linear", use_bias=True),
            ],
        },
        "keras_version": "2.3.1", "backend": "tensorflow",
    }  # fmt: skip
    parts = {"embedding_1": weights[:1], "lstm_1": weights[1:4], "gru_1": weights[4:7], "dense_1": weights[7:]}
    path = _legacy(tmp_path / "m.h5", config, parts)
    ids = rng.integers(0, 7, (3, 5))
    model = convert.load(path)
    assert type(model) is rekur.Sequential and model.name == "sequential_4"
    np.testing.assert_allclose(model.predict(ids), like.predict(ids), atol=1e-6)
    assert cli.main(["convert", str(path), str(tmp_path / "m.safetensors")]) == 0
    np.testing.assert_allclose(rekur.load(tmp_path / "m.safetensors").predict(ids), like.predict(ids), atol=1e-6)
    # Weights alone, by save_weights of Keras 2.
    alone = _legacy(tmp_path / "w.h5", None, parts)
    with pytest.raises(ValueError, match=r"weights alone, without the model.*into=model"):
        convert.load(alone)
    made = rekur.Sequential(
        [Embedding(7, 3, input_shape=(5,), name="embedding_1"), LSTM(4, return_sequences=True, name="lstm_1"),
         GRU(2, name="gru_1"), Dense(1, name="dense_1")]
    )  # fmt: skip
    assert convert.load(alone, format="keras-weights", into=made) is made
    np.testing.assert_allclose(made.predict(ids), like.predict(ids), atol=1e-6)


def test_a_functional_model_of_keras_2(tmp_path: Path, rng: np.random.Generator) -> None:
    """Calls are lists of places there; CuDNNLSTM has its own layout."""
    config = {
        "class_name": "Model",
        "config": {
            "name": "model_2",
            "layers": [
                {**_keras2("InputLayer", "a", batch_input_shape=[None, 4, 3], sparse=False), "inbound_nodes": []},
                {**_keras2("CuDNNLSTM", "fast", units=2, return_sequences=True, return_state=True),
                 "inbound_nodes": [[["a", 0, 0, {}]]]},
                {**_keras2("LSTM", "slow", units=2, return_sequences=True),
                 "inbound_nodes": [[["fast", 0, 0, {}], ["fast", 0, 1, {}], ["fast", 0, 2, {}]]]},
                {**_keras2("CuDNNGRU", "gru", units=3, return_sequences=True), "inbound_nodes": [[["slow", 0, 0, {}]]]},
                {**_keras2("Dense", "d", units=2), "inbound_nodes": [[["gru", 0, 0, {}]], [["slow", 0, 0, {}]]][:1]},
                {**_keras2("Add", "add"), "inbound_nodes": [[["d", 0, 0, {}], ["slow", 0, 0, {}]]]},
            ],
            "input_layers": [["a", 0, 0]],
            "output_layers": [["add", 0, 0], ["fast", 0, 2]],
        },
    }  # fmt: skip
    for entry in config["config"]["layers"]:
        entry["name"] = entry["config"]["name"]
    like = _like_it()
    weights = [rng.standard_normal(w.shape).astype("float32") for w in like.get_weights()]
    like.set_weights(weights)

    def to_cudnn(arrays: list[np.ndarray], count: int, bias: np.ndarray) -> list[np.ndarray]:
        kernel, recurrent = (np.split(array, count, axis=1) for array in arrays[:2])
        turned = [_inverse(k) for k in kernel]
        return [np.concatenate(turned, 1), np.concatenate([k.T for k in recurrent], 1), bias]

    half = rng.standard_normal(8).astype("float32")
    parts = {
        "a": [],
        "fast": to_cudnn(weights[:2], 4, np.concatenate([half, weights[2] - half])),
        "slow": weights[3:6],
        "gru": to_cudnn(weights[6:8], 3, weights[8].reshape(-1)),
        "d": weights[9:],
        "add": [],
    }
    model = convert.load(_legacy(tmp_path / "m.hdf5", config, parts))
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    for a, b in zip(model.predict(x), like.predict(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def _inverse(kernel: np.ndarray) -> np.ndarray:
    """What ``k.T.reshape(k.shape, order="F")`` makes ``kernel`` of."""
    return kernel.reshape(kernel.shape[::-1], order="F").T


def _like_it() -> rekur.Model:
    a = rekur.Input((4, 3))
    y, h, c = LSTM(2, return_sequences=True, return_state=True)(a)
    s = LSTM(2, return_sequences=True)(y, initial_state=[h, c])
    g = GRU(3, return_sequences=True)(s)
    return rekur.Model(a, [rekur.layers.Add()([Dense(2)(g), s]), c])


def test_an_archive_of_keras_2(tmp_path: Path, rng: np.random.Generator) -> None:
    """Keras 2.12 has the archive with calls as lists, and another name of the groups."""
    like = rekur.Sequential([LSTM(2, input_shape=(4, 3), return_sequences=True), Dense(1)])
    weights = [rng.standard_normal(w.shape).astype("float32") for w in like.get_weights()]
    like.set_weights(weights)
    layers = [
        {**_keras2("InputLayer", "in", batch_input_shape=[None, 4, 3], ragged=False), "inbound_nodes": []},
        {**_keras2("LSTM", "rnn", units=2, return_sequences=True), "inbound_nodes": [[["in", 0, 0, {}]]]},
        {**_keras2("TimeDistributed", "td", layer={**_keras2("Dense", "d", units=1), "module": "keras.layers"}),
         "inbound_nodes": [[["rnn", 0, 0, {"mask": None, "training": None}]]]},
    ]  # fmt: skip
    for entry in layers:
        entry["name"], entry["module"], entry["registered_name"] = entry["config"]["name"], "keras.layers", None
    config = {
        "module": "keras.src.engine.functional", "class_name": "Functional", "registered_name": "Functional",
        "config": {"name": "m", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [["td", 0, 0]]},
    }  # fmt: skip
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for place, arrays in (("lstm/cell", weights[:3]), ("time_distributed/layer", weights[3:])):
            for k, array in enumerate(arrays):
                file[f"_layer_checkpoint_dependencies/{place}/vars/{k}"] = array
    members = {"config__json": json.dumps(config), "metadata__json": "{}", "model__weights__h5": buffer.getvalue()}
    model = convert.load(_archive(tmp_path / "m.keras", **members))
    x = rng.standard_normal((2, 4, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(x), like.predict(x), atol=1e-6)


def _archive(path: Path, **members: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, bytes]:
    """The members of an archive."""
    model = rekur.Sequential([rekur.Input((4, 3)), LSTM(2), Dense(1)], seed=0)
    convert.save(model, tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as archive:
        return {name.replace(".", "__"): archive.read(name) for name in archive.namelist()}


def _nested(depth: int) -> bytes:
    around = '{"class_name": "TimeDistributed", "config": {"name": "t", "layer": '
    inner = '{"class_name": "Dense", "config": {"name": "d", "units": 1}}'
    return f'{{"class_name": "Sequential", "config": {{"layers": [{around * depth}{inner}{"}}" * depth}]}}}}'.encode()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"{", "begins as JSON and is none"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "no UTF-8"),
        (b"[]", "no description of a model"),
        (b"{}", "no description of a model"),
        (b'{"class_name": "Mine", "config": {"a": 1}}', "a Mine, a class of its author's"),
        (b'{"class_name": "Sequential", "config": {"layers": [1]}}', "description of a model is broken"),
        (b'{"class_name": "Sequential", "config": {"layers": [{"class_name": "LSTM"}]}}', "broken: KeyError 'config'"),
        (b'{"class_name": "Functional", "config": {"layers": []}}', "broken: KeyError 'input_layers'"),
        (_nested(300), "nested too deeply|TimeDistributed"),
        (json.dumps({"class_name": "Sequential", "config": {"layers": [
            _keras2("InputLayer", "i", batch_shape=[None, 3]), _keras2("Dense", "d", units=10**15)]}}).encode(),
         "too large|memory|units|numbers|expected an array"),
        (json.dumps({"class_name": "Sequential", "config": {"layers": [
            _keras2("InputLayer", "i", batch_shape=[None, 3]), _keras2("Dense", "d", unitz=1, units=1)]}}).encode(),
         "no argument 'unitz'; did you mean 'units'"),
    ],
)  # fmt: skip
def test_broken_descriptions(tmp_path: Path, saved: dict[str, bytes], config: bytes, message: str) -> None:
    path = _archive(tmp_path / "m.keras", **{**saved, "config__json": config})
    with pytest.raises((ValueError, MemoryError), match=message):
        convert.load(path)


def test_broken_archives(tmp_path: Path, saved: dict[str, bytes]) -> None:
    path = _archive(tmp_path / "m.keras", **saved)
    assert convert.load(path).count_params() == 4 * 2 * (3 + 2 + 1) + 3
    whole = path.read_bytes()
    for size in (4, 100, len(whole) // 2, len(whole) - 8):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError):
            convert.load(path)
        with pytest.raises(ValueError):
            convert.load(path, format="keras")
    for at in (40, len(whole) // 2):
        path.write_bytes(whole[:at] + bytes(200) + whole[at + 200 :])
        with pytest.raises(ValueError):
            convert.load(path)
    path = _archive(tmp_path / "m.keras", **{**saved, "model__weights__h5": saved["model__weights__h5"][:900]})
    with pytest.raises(ValueError, match="its HDF5 is broken"):
        convert.load(path)
    path = _archive(tmp_path / "m.keras", config__json=saved["config__json"], model__weights__npz=b"")
    with pytest.raises(ValueError, match="its weights are no HDF5 file"):
        convert.load(path)


def test_a_member_that_grows_beyond_all_measure(tmp_path: Path, saved: dict[str, bytes]) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", saved["config__json"])
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(300):
                member.write(bytes(1 << 20))
    with pytest.raises(ValueError, match=r"says that .* bytes become 314572800"):
        convert.load(path)


def _hdf5(saved: dict[str, bytes], change: Any) -> bytes:
    buffer = io.BytesIO(saved["model__weights__h5"])
    with h5py.File(buffer, "r+") as file:
        change(file)
    return buffer.getvalue()


KERNEL = "layers/dense/vars/0"


def _replace(data: Any) -> Any:
    def change(file: Any) -> None:
        del file[KERNEL]
        if data is not None:
            data(file)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace(None), r"weights of 'dense' \(Dense\): expected 2 arrays, got 1"),
        (
            _replace(lambda f: f.create_dataset(KERNEL, data=np.zeros((3, 1)))),
            r"expected .* shape \(2, 1\), got \(3, 1\)",
        ),
        (_replace(lambda f: f.create_dataset(KERNEL, (1 << 40, 1 << 12), "f4", chunks=(1, 4096))), "expected an array"),
        (_replace(lambda f: f.create_dataset(KERNEL, data=np.array([[b"a"], [b"b"]]))), "array of numbers"),
        (_replace(lambda f: f.create_group(KERNEL)), "got none"),
        (_replace(lambda f: f.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "/"))), "a link into another file"),
        (_replace(lambda f: f.create_dataset(KERNEL, (2, 1), "f4", external=[("/etc/passwd", 0, 8)])), "another file"),
        (_replace(lambda f: f.__setitem__(KERNEL, h5py.SoftLink("/nowhere"))), "broken"),
        (lambda f: f.__delitem__("layers/lstm"), "weights are missing"),
    ],
)
def test_hostile_weights(tmp_path: Path, saved: dict[str, bytes], change: Any, message: str) -> None:
    path = _archive(tmp_path / "m.keras", **{**saved, "model__weights__h5": _hdf5(saved, change)})
    with pytest.raises(ValueError, match=message):
        convert.load(path)
    (tmp_path / "m.weights.h5").write_bytes(_hdf5(saved, change))
    model = rekur.Sequential([rekur.Input((4, 3)), LSTM(2), Dense(1)], seed=5)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        convert.load(tmp_path / "m.weights.h5", into=model)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashes the HDF5 library \(signal 11\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "reading it does not come to an end"),
    ],
)
def test_a_file_that_crashes_the_library_that_reads_it(
    tmp_path: Path, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    monkeypatch.setattr(probe, "_CODE", code)
    monkeypatch.setattr(probe, "check", CHECK)
    path = _archive(tmp_path / "m.keras", **saved)
    (tmp_path / "m.h5").write_bytes(saved["model__weights__h5"])
    for file in (path, tmp_path / "m.h5"):
        with pytest.raises(ValueError, match=message):
            convert.load(file)


def test_pickles_in_attributes_are_texts(tmp_path: Path) -> None:
    class Nasty:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.void(pickle.dumps(Nasty()))
    with pytest.raises(ValueError):
        convert.load(path)
    assert not (tmp_path / "ran").exists()


def test_arguments(tmp_path: Path, saved: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path = _archive(tmp_path / "m.keras", **saved)
    with pytest.raises(TypeError, match="format 'keras' has no option 'layers'"):
        convert.load(path, layers=[])
    with pytest.raises(ValueError, match="give into=model, got 3"):
        convert.load(path, format="keras-weights", into=3)
    with pytest.raises(TypeError, match="format 'keras' is a file"):
        convert.load(object(), format="keras")
    assert convert.load(path, format="keras-weights", into=convert.load(path)).count_params() == 51
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ImportError, match=r'needs h5py: pip install "rekur\[keras\]"'):
        convert.load(path)
    with pytest.raises(ImportError, match=r"rekur\[keras\]"):
        convert.save(rekur.Sequential([rekur.Input((4, 3)), LSTM(2)]), tmp_path / "n.keras")
    assert not (tmp_path / "n.keras").exists()
