"""Other programs' files in C++ (rekur/import.hpp): layers, names and bits are those of the Python converter."""

from __future__ import annotations

import copy
import json
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpp_tools
import rekur
from audio_models import MODELS
from rekur import _core, convert
from test_convert_audio import _rtneural

PROGRAM = """\
#include <rekur/import.hpp>

#include <cstdio>

int main(int argc, char** argv) {
  for (int k = 1; k + 1 < argc; k += 2) {
    try {
      rekur::foreign::load(argv[k]).save(argv[k + 1]);
    } catch (const rekur::IoError& error) {
      std::printf("%s\\n", error.what());
    }
  }
}
"""


@pytest.fixture(scope="module")
def importer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that reads files and writes them as rekur's."""
    library = cpp_tools.library()
    if not all(library.config.get(name) for name in ("IMPORT", "TRAINING", "EXCEPTIONS")):
        pytest.skip("the library reads no files of other programs, or saves none")
    folder = tmp_path_factory.mktemp("import")
    (folder / "importer.cpp").write_text(PROGRAM)
    return library.compile(folder / "importer.cpp", folder / "importer")


def _guitarml(kind: str, features: int, layers: int, outputs: int, bias: bool, skip: int) -> dict[str, Any]:
    rng, units = np.random.default_rng(3), 3
    rows, state = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind] * units, {}
    for k in range(layers):
        state[f"rec.weight_ih_l{k}"] = rng.normal(size=(rows, units if k else features)).tolist()
        state[f"rec.weight_hh_l{k}"] = rng.normal(size=(rows, units)).tolist()
        if bias:
            state[f"rec.bias_ih_l{k}"], state[f"rec.bias_hh_l{k}"] = rng.normal(size=(2, rows)).tolist()
    state["lin.weight"] = rng.normal(size=(outputs, units)).tolist()
    if bias:
        state["lin.bias"] = rng.normal(size=outputs).tolist()
    return {"model_data": {"unit_type": kind, "skip": skip}, "state_dict": state}


def _activations() -> dict[str, Any]:
    """A WaveNet of all activations, in gates and without."""
    found = copy.deepcopy(MODELS["nam_wavenet_nano"]())
    kinds = ["Tanh", "ReLU", "Sigmoid", "SiLU", "Hardtanh", "Hardswish", "Softsign", "Fasttanh", "LeakyReLU", "PReLU",
             {"type": "LeakyHardTanh", "min_val": -0.3, "max_slope": 0.3}, {"type": "PReLU", "negative_slope": -0.4},
             {"type": "LeakyReLU", "negative_slope": 0.3}]  # fmt: skip
    for entry in found["config"]["layers"]:
        entry["activation"] = kinds[: len(entry["dilations"])]
    return found


FILES = {
    **MODELS,
    "gains": lambda: _rtneural(in_skip=1, in_gain=-6.0, out_gain=3.5),
    "gains without skip": lambda: _rtneural(in_gain=2, out_gain=-0.1),
    "GRU of two layers, broadcast": lambda: _guitarml("GRU", 2, 2, 2, True, 1),
    "RNN without biases": lambda: _guitarml("RNN", 2, 2, 2, False, 2),
    "RNN": lambda: _guitarml("RNN", 1, 1, 1, True, 0),
    "LSTM with knobs": lambda: _guitarml("LSTM", 3, 1, 2, False, 2),
    "container": lambda: {
        "architecture": "SlimmableContainer", "weights": [],
        "config": {"submodels": [{"max_value": 1.0, "model": MODELS["nam_lstm_2x8"]()}]},
    },
    "activations": _activations,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_models_are_those_of_python(name: str, importer: Path, tmp_path: Path) -> None:
    (path := tmp_path / "file").write_text(json.dumps(FILES[name]()))
    assert cpp_tools.run([importer, path, tmp_path / "ours.safetensors"]) == ""
    model = convert.load(path)
    metadata, arrays = _core.read_safetensors(bytes(tmp_path / "ours.safetensors"))
    ours, theirs = json.loads(metadata["rekur"]), json.loads(json.dumps(model.spec))
    layers = [{layer["name"]: layer for layer in spec.pop("layers")} for spec in (ours, theirs)]
    assert ours == theirs
    assert layers[0] == layers[1]
    weights = model.named_weights()
    assert weights.keys() == arrays.keys()
    for key, expected in weights.items():
        np.testing.assert_array_equal(np.asarray(arrays[key]), expected, err_msg=key)
    loaded = rekur.load(tmp_path / "ours.safetensors")
    x = np.random.default_rng(1).standard_normal((1, 30, model.inputs[0].shape[-1])).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))


def test_what_both_refuse(importer: Path, tmp_path: Path) -> None:
    """What Python refuses C++ does not read, and the other way round."""
    broken = []
    for name, path, value in (
        ("nam_wavenet_nano", ("config", "layers", 0, "channels"), 5),
        ("nam_wavenet_nano", ("config", "layers", 0, "activation"), "Snake"),
        ("nam_wavenet_nano", ("config", "layers", 1, "input_size"), 3),
        ("nam_wavenet_everything", ("config", "condition_dsp", "weights"), [1.0]),
        ("nam_convnet", ("config", "bypass"), "x"),
        ("nam_linear", ("config", "bias"), None),
        ("nam_lstm_1x16", ("config", "num_layers"), 2),
        ("guitarml_lstm_40", ("model_data", "unit_type"), "CNN"),
        ("guitarml_lstm_40", ("model_data", "hidden_size"), 41),
        ("rtneural_chain", ("layers", 1, "dilation"), 0),
        ("rtneural_chain", ("layers", 3, "epsilon"), None),
    ):
        found = node = MODELS[name]()
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        broken.append(json.dumps(found))
    for k, text in enumerate([*broken, "", "{}", "[]", '{"layers": 1']):
        (path := tmp_path / f"{k}.json").write_text(text)
        assert f"{k}.json" in cpp_tools.run([importer, path, tmp_path / "none.safetensors"])
        with pytest.raises(ValueError):
            convert.load(path)
    assert not (tmp_path / "none.safetensors").exists()


def test_the_stream_example_plays_other_programs_files(tmp_path: Path, rng: np.random.Generator) -> None:
    library = cpp_tools.library()
    if not (library.config.get("IMPORT") and library.config["EXCEPTIONS"]):
        pytest.skip("the library reads no files of other programs")
    program = library.compile(cpp_tools.ROOT / "cpp/examples/amp_stream.cpp", tmp_path / "amp_stream")
    found = MODELS["nam_wavenet_nano"]()
    (amp := tmp_path / "amp.nam").write_text(json.dumps(found))
    dry = (rng.standard_normal(1500) * 6000).clip(-32768, 32767).astype("<i2")
    with wave.open(str(tmp_path / "dry.wav"), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(dry.tobytes())
    cpp_tools.run([program, amp, tmp_path / "dry.wav", tmp_path / "wet.wav"])
    with wave.open(str(tmp_path / "wet.wav"), "rb") as file:
        wet = np.array(struct.unpack("<1500h", file.readframes(1500)))
    y = convert.load(amp).predict(dry.astype(np.float32)[None, :, None] / np.float32(32768))[0, :, 0]
    assert np.abs(wet - np.clip(y, -1, 1) * 32767.0).max() <= 0.51
