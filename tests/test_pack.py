"""Files that C and C++ use where they lie: what ``model.pack`` writes, and what the engine finds in it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

import rekur
from rekur import _core, cli, layers


def lstm(units: int = 24) -> rekur.Model:
    x = layers.Input((None, 3), name="x")
    y = layers.Dense(2, name="y")(layers.LSTM(units, return_sequences=True, name="lstm")(x))
    return rekur.Model(x, y)


def header(path: Path) -> tuple[int, dict]:
    """Where the data begin, and what the header says."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    return 8 + size, json.loads(data[8 : 8 + size])


@pytest.fixture
def model() -> rekur.Model:
    return lstm()


def test_a_packed_file_is_aligned_and_in_the_models_order(model: rekur.Model, tmp_path: Path) -> None:
    model.pack(tmp_path / "p.safetensors", streams="both")
    start, entries = header(tmp_path / "p.safetensors")
    assert start % 64 == 0
    del entries["__metadata__"]
    at = sorted(entries, key=lambda name: entries[name]["data_offsets"])
    parameters = [name for name, _, _ in _core.Model.map(str(tmp_path / "p.safetensors")).parameters]
    assert at[: len(parameters)] == parameters
    panels = [name for name in at if name.startswith("rekur.panels/")]
    assert {name.split("/")[1] for name in panels} == {_core.isa()}
    assert {name.split("/")[2] for name in panels} == {"one", "rows"}
    assert all(entries[name]["data_offsets"][0] % 64 == 0 for name in panels)
    weights = sum(int(np.prod(w.shape)) for w in model.get_weights())
    assert 4 * sum(entries[name]["shape"][0] for name in panels) > 2 * 4 * (weights - 200)


def test_it_is_loaded_like_any_file(model: rekur.Model, tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 7, 3)).astype(np.float32)
    model.pack(tmp_path / "p.safetensors")
    loaded = rekur.load(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    _, tensors, metadata = _core.load(str(tmp_path / "p.safetensors"))
    assert not tensors and not any("panels" in key for key in metadata)
    other = lstm()
    other.load_weights(tmp_path / "p.safetensors")
    np.testing.assert_array_equal(other.predict(x), model.predict(x))


def test_mapped_weights_are_the_files_until_they_are_changed(model: rekur.Model, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    model.pack(path)
    before = path.read_bytes()
    engine = _core.Model.map(str(path))
    count = sum(int(np.prod(w.shape)) for w in model.get_weights())
    assert engine.mapped_bytes == 4 * count
    changed = engine.get_weights() + 1
    engine.set_weights(changed)
    np.testing.assert_array_equal(engine.get_weights(), changed)
    assert engine.mapped_bytes == 0
    assert path.read_bytes() == before
    with pytest.raises(OSError, match="nowhere"):
        _core.Model.map(str(tmp_path / "nowhere.safetensors"))


def test_a_file_of_save_maps_too(model: rekur.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.safetensors")
    start, _ = header(tmp_path / "m.safetensors")
    assert start % 64 == 0
    assert _core.Model.map(str(tmp_path / "m.safetensors")).mapped_bytes > 0
    model.save(tmp_path / "half.safetensors", weights="bf16")
    assert _core.Model.map(str(tmp_path / "half.safetensors")).mapped_bytes == 0


def test_a_model_that_cannot_stream(tmp_path: Path) -> None:
    x = layers.Input((None, 3), name="x")
    both = rekur.Model(x, layers.Bidirectional(layers.GRU(4), name="both")(x))
    with pytest.raises(ValueError, match="'both': cannot go one step at a time"):
        both.pack(tmp_path / "p.safetensors")
    both.pack(tmp_path / "p.safetensors", streams="none")
    assert _core.Model.map(str(tmp_path / "p.safetensors")).mapped_bytes > 0


def test_arguments(model: rekur.Model, tmp_path: Path) -> None:
    isa = _core.isa()
    with pytest.raises(ValueError, match="pack: streams: expected one of 'one', 'more', 'both', 'none', got 'all'"):
        model.pack(tmp_path / "p.safetensors", streams="all")
    with pytest.raises(ValueError, match="unknown instruction set 'mmx'"):
        model.pack(tmp_path / "p.safetensors", isas="mmx")
    assert _core.isa() == isa and not list(tmp_path.iterdir())
    model.pack(tmp_path / "p.safetensors", isas=_core.available_isas())
    assert _core.isa() == isa
    _, entries = header(tmp_path / "p.safetensors")
    assert {name.split("/")[1] for name in entries if name.startswith("rekur.panels/")} == set(_core.available_isas())


def test_command(model: rekur.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "m.safetensors")
    out = tmp_path / "p.safetensors"
    assert cli.main(["pack", str(tmp_path / "m.safetensors"), str(out), "--isa", _core.isa()]) == 0
    assert f"{out}: {out.stat().st_size} bytes" in capsys.readouterr().out
    assert _core.Model.map(str(out)).mapped_bytes > 0
