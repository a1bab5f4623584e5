"""What would give wrong numbers without a word is refused by name: half a layer, integers, numbers that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rekur
from rekur import cli, convert


def _lstm(**more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    shapes = {"weight_ih_l0": (16, 5), "weight_hh_l0": (16, 4), "bias_ih_l0": (16,), "bias_hh_l0": (16,)}
    made = {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
    return {**made, **{name: made[f"{name.rpartition('_l')[0]}_l0"] for name in more}}


@pytest.mark.parametrize("missing", ["bias_ih_l0", "bias_hh_l0"])
def test_one_of_two_biases(missing: str) -> None:
    state = _lstm()
    del state[missing]
    with pytest.raises(ValueError, match=f"tensors are missing: {missing}"):
        convert.load(state)


def test_a_bias_in_one_direction_alone() -> None:
    state = _lstm()
    state.update({f"{name}_reverse": array for name, array in _lstm().items() if "bias" not in name})
    with pytest.raises(ValueError, match="tensors are missing: bias_hh_l0_reverse, bias_ih_l0_reverse"):
        convert.load(state)


def test_without_biases() -> None:
    state = {name: array for name, array in _lstm().items() if "bias" not in name}
    assert convert.load(state).count_params() == 16 * 9


@pytest.mark.parametrize("other", ["weight_ih_l00", "weight_ih_l" + "1" * 5000])
def test_numbers_of_layers_that_are_none(other: str) -> None:
    with pytest.raises(ValueError, match="has tensors of a recurrent layer, and 'weight_ih_l") as raised:
        convert.load({**_lstm(), other: _lstm()["weight_ih_l0"]})
    assert len(str(raised.value)) < 300


def test_a_cell_beside_a_layer() -> None:
    with pytest.raises(ValueError, match=r"tensors of a layer .* and of a cell"):
        convert.load({**_lstm(), "weight_ih": _lstm()["weight_ih_l0"]})


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "bool"])
def test_integers_are_no_weights(dtype: str) -> None:
    state = {name: array.astype(dtype) for name, array in _lstm().items()}
    with pytest.raises(ValueError, match=f"floating-point numbers are needed, here are some of type {dtype}"):
        convert.load(state)


def _rtneural(weight: str) -> str:
    layer = f'{{"type": "dense", "activation": "", "shape": [null, null, 1], "weights": [[[{weight}]], [1]]}}'
    return f'{{"in_shape": [null, null, 1], "layers": [{layer}]}}'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none(tmp_path: Path, number: str) -> None:
    (tmp_path / "m.json").write_text(_rtneural("1"))
    assert convert.load(tmp_path / "m.json").get_weights()[0].tolist() == [[1.0]]
    (tmp_path / "m.json").write_text(_rtneural(number))
    with pytest.raises(ValueError, match=r"m\.json.*\[0\]\[0\]: expected a finite number, got (nan|-?inf)"):
        convert.load(tmp_path / "m.json")


def test_keys_that_stand_twice(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(_rtneural("1").replace('"layers"', '"layers": [], "layers"'))
    with pytest.raises(ValueError, match=r"m\.json.*the key 'layers' stands twice"):
        convert.load(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("layers=5", "layers: expected a list of names and layers, got 5"),
        ("prefix=3", "prefix: expected a text, got 3"),
        ('layers=["",', "its value begins as JSON and is none"),
        ('layers=[["zz", 3]]', "expected (name, {…}) of a part and its options"),
        ('layers=[["zz", {"a": 1}]]', "has no part 'zz'"),
        ('layers=[["", {"nonlinearity": "none"}]]', "none"),
        ("layers=[5]", "expected names of parts"),
        ("input_shape=5", "nonlinearity"),
    ],
)
def test_options_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, message: str) -> None:
    state = {n: a[:4] for n, a in _lstm().items()}
    rekur._core.write_safetensors(str(tmp_path / "r.safetensors").encode(), {}, state)
    out = tmp_path / "o.aidax"
    assert cli.main(["convert", str(tmp_path / "r.safetensors"), str(out), "-o", option]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_options_of_a_part_as_json(tmp_path: Path) -> None:
    state = {n: a[:4] for n, a in _lstm().items()}
    rekur._core.write_safetensors(str(tmp_path / "r.safetensors").encode(), {}, state)
    option = "layers=" + json.dumps([["", {"nonlinearity": "tanh"}]])
    out = tmp_path / "o.safetensors"
    assert cli.main(["convert", str(tmp_path / "r.safetensors"), str(out), "--to", "rekur", "-o", option]) == 0
    assert rekur.load(out).count_params() == 4 * 5 + 4 * 4 + 4


def test_a_folder_that_is_not_written_is_not_made(tmp_path: Path) -> None:
    model = rekur.Sequential([rekur.Input((None, 3)), rekur.layers.LSTM(2)])
    with pytest.raises(ValueError, match="int3"):
        model.save_pretrained(tmp_path / "m", weights="int3")
    assert not (tmp_path / "m").exists()
    with pytest.raises(TypeError, match="tags: expected a list of texts, got 'abc'"):
        model.save_pretrained(tmp_path / "m", tags="abc")
    assert not (tmp_path / "m").exists()
