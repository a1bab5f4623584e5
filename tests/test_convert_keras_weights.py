"""Which weights of Keras's files go into which layers, where orders differ; and what is left over."""

from __future__ import annotations

import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from keras_models import MODELS, randomised
from rekur import convert
from rekur.convert._formats import keras_files
from rekur.convert._keras import probe

os.environ.setdefault("KERAS_BACKEND", "numpy")
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:You are saving:UserWarning")
T, F = 5, 3


@pytest.fixture(autouse=True)
def _without_a_process_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "check", lambda source, what: None)


def _randomised(model: Any, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape).astype("float32") for w in model.get_weights()])
    return model


def _two_heads(library: Any, names: tuple[str, str] = ("dy", "db")) -> Any:
    la = library.layers
    x = library.Input((T, F))
    h = la.LSTM(4, name="enc")(x)
    return library.Model(x, {"y": la.Dense(2, name=names[0])(h), "b": la.Dense(2, name=names[1])(h)})


def test_dict_outputs_which_keras_sorts(tmp_path: Path, rng: np.random.Generator) -> None:
    theirs = _randomised(_two_heads(keras))
    theirs.save_weights(path := tmp_path / "m.weights.h5")
    here = convert.load(path, into=_two_heads(rekur))
    x = rng.standard_normal((2, T, F)).astype("float32")
    got, want = dict(zip(("y", "b"), here.predict(x), strict=True)), theirs.predict(x, verbose=0)
    for name in ("y", "b"):
        np.testing.assert_allclose(got[name], want[name], atol=1e-5)
    convert.save(_randomised(here, 4), path)
    again = _two_heads(keras)
    again.load_weights(path)
    got, want = dict(zip(("y", "b"), here.predict(x), strict=True)), again.predict(x, verbose=0)
    for name in ("y", "b"):
        np.testing.assert_allclose(got[name], want[name], atol=1e-5)


def test_names_that_contradict(tmp_path: Path) -> None:
    _two_heads(keras).save_weights(path := tmp_path / "m.weights.h5")
    with pytest.raises(ValueError, match=r"it has the weights of 'db' where the model has 'other'"):
        convert.load(path, into=_two_heads(rekur, ("other", "db")))


def test_weights_that_are_left_over(tmp_path: Path) -> None:
    la = keras.layers
    more = keras.Sequential([keras.Input((T, F)), la.LSTM(4, return_sequences=True), la.LSTM(4), la.Dense(2)])
    more.save_weights(path := tmp_path / "m.weights.h5")

    def less() -> Any:
        return rekur.Sequential([rekur.Input((T, F)), rekur.layers.LSTM(4, return_sequences=True)])

    into = less()
    before = into.get_weights()
    with pytest.raises(ValueError, match=r"weights that the model has no layer for: layers/dense/vars/0.*partial=True"):
        convert.load(path, into=into)
    for a, b in zip(before, into.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        convert.load(path, into=into, partial=True).get_weights()[0], np.asarray(more.get_weights()[0])
    )


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_further_arrays_of_a_whole_model(tmp_path: Path, ending: str) -> None:
    la = keras.layers
    layers = [la.LSTM(4, dropout=0.1), la.Dropout(0.2), la.BatchNormalization(), la.Dense(2)]
    model = keras.Sequential([keras.Input((T, F)), la.Normalization(mean=0.0, variance=2.0), *layers])
    model.compile("adam", "mse")
    model.save(path := tmp_path / f"m.{ending}")
    convert.load(path)
    if ending == "h5":
        with h5py.File(path, "r+") as file:
            name = layers[-1].name
            file[f"model_weights/{name}/{name}/more"] = np.ones(2)
    else:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        (tmp_path / "w.h5").write_bytes(parts["model.weights.h5"])
        with h5py.File(tmp_path / "w.h5", "r+") as file:
            file["layers/dense/more"] = np.ones(2)
        parts["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"weights that the model has no layer for: .*more"):
        convert.load(path)
    convert.load(path, partial=True)


def test_models_within_whose_layers_have_one_name(tmp_path: Path, rng: np.random.Generator) -> None:
    # Keras itself cannot write such a file; it reads one.
    def model(library: Any) -> Any:
        la = library.layers

        def inner(name: str) -> Any:
            x = library.Input((F,))
            return library.Model(x, la.Dense(F, name="same")(x), name=name)

        x = library.Input((F,))
        outer = library.Model(x, inner("b")(inner("a")(x)), name="outer")
        y = library.Input((F,))
        return _randomised(library.Model(y, la.Dense(2)(outer(y))))

    x = rng.standard_normal((4, F)).astype("float32")
    path = tmp_path / "m.h5"
    convert.save(model(rekur), path)
    want = model(rekur).predict(x)
    np.testing.assert_allclose(convert.load(path).predict(x), want, atol=1e-5)
    np.testing.assert_allclose(keras.models.load_model(path).predict(x, verbose=0), want, atol=1e-5)


@pytest.mark.parametrize("units", [12000, 3])
def test_sizes_that_the_file_does_not_have(tmp_path: Path, units: int) -> None:
    model = keras.Sequential([keras.Input((T, F)), keras.layers.Bidirectional(keras.layers.LSTM(4))])
    model.save(path := tmp_path / "m.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    inner = config["config"]["layers"][1]["config"]
    for key in ("layer", "backward_layer"):
        inner[key]["config"]["units"] = units
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**parts, "config.json": json.dumps(config).encode()}.items():
            archive.writestr(name, content)
    begun = time.perf_counter()
    with pytest.raises(ValueError, match=rf"'bidirectional.*expected an array of shape \(any, {4 * units}\)"):
        convert.load(path)
    assert time.perf_counter() - begun < 5


@pytest.mark.parametrize("name", MODELS)
def test_no_weights_are_drawn_that_the_file_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = randomised(MODELS[name](rekur)[0])
    convert.save(model, path := tmp_path / "m.keras")
    # What is made of the same layers later is drawn.
    again = rekur.models.clone_model(convert.load(path)).named_weights()
    assert all(weight.any() for key, weight in again.items() if key.endswith("kernel"))
    monkeypatch.setattr(keras_files, "set_weights", lambda *_: None)
    assert not any(weight.any() for weight in convert.load(path).get_weights())


def test_layers_as_activations(tmp_path: Path, rng: np.random.Generator) -> None:
    la = keras.layers
    layers = [la.Dense(3, activation=la.LeakyReLU(negative_slope=0.1)), la.Dense(2, activation=la.ELU(alpha=0.7))]
    model = _randomised(keras.Sequential([keras.Input((T, F)), *layers]))
    model.save(tmp_path / "m.keras")
    x = rng.standard_normal((2, T, F)).astype("float32")
    np.testing.assert_allclose(convert.load(tmp_path / "m.keras").predict(x), model.predict(x, verbose=0), atol=1e-5)
    keras.Sequential([keras.Input((T, F)), la.LSTM(2, seed=1)]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"m\.keras.*seed"):
        convert.load(tmp_path / "m.keras")
