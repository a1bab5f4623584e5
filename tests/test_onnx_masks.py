"""Masks in ONNX files: verification draws left and right padding, holes, rows of no step and of every step."""

from pathlib import Path

import pytest

import rekur
from rekur.layers import GRU, LSTM, Bidirectional, Dense, Embedding, Masking, SimpleRNN


@pytest.mark.parametrize("zeros", [False, True], ids=["repeats", "zeros"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("cell", [SimpleRNN, LSTM, GRU])
def test_masked_steps_are_left_out(cell: type, sequences: bool, zeros: bool, tmp_path: Path) -> None:
    own = {"return_sequences": sequences, "zero_output_for_mask": zeros}
    model = rekur.Sequential([rekur.Input((None, 3)), Masking(0.5), cell(4, **own), Dense(2)])
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
def test_mask_zero_of_both_directions(sequences: bool, tmp_path: Path) -> None:
    layers = [Embedding(5, 4, mask_zero=True), Bidirectional(LSTM(4, return_sequences=sequences))]
    model = rekur.Sequential([rekur.Input((None,), dtype="int32"), *layers])
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


def test_mask_is_an_input_of_the_file(tmp_path: Path) -> None:
    model = rekur.Sequential([rekur.Input((None, 3)), LSTM(4, return_sequences=True)])
    report = rekur.onnx.export(model, tmp_path / "m.onnx", masks=True)
    assert ("mask", "bool", ("batch", "time")) in report.inputs
