"""Masks in ONNX files: verification draws left and right padding, holes, rows of no step and of every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rekur.onnx
from rekur import layers as L
from rekur.onnx import ExportError

ALL = {"return_sequences": True}
LAYERS: dict[str, Callable[[Any], Any]] = {
    **{
        f"{cell.__name__} {zeros} {sequences}": lambda y, cell=cell, zeros=zeros, sequences=sequences: cell(
            4, zero_output_for_mask=zeros, return_sequences=sequences
        )(y)
        for cell in (L.SimpleRNN, L.LSTM, L.GRU)
        for zeros in (False, True)
        for sequences in (False, True)
    },
    "backwards": lambda y: L.LSTM(4, go_backwards=True)(y),
    "backwards sequences": lambda y: L.LSTM(4, go_backwards=True, **ALL)(y),
    "states": lambda y: L.LSTM(4, return_state=True, **ALL)(y),
    "stack": lambda y: L.GRU(3)(L.LSTM(4, **ALL)(y)),
    "both directions": lambda y: L.Bidirectional(L.LSTM(4, **ALL))(y),
    "last of both directions": lambda y: L.Bidirectional(L.GRU(4))(y),
    "residual": lambda y: L.LSTM(6, residual=True, **ALL)(y),
    "last of residual": lambda y: L.LSTM(6, residual=True)(y),
    "learned state": lambda y: L.LSTM(4, learn_initial_state=True, **ALL)(y),
    "projection": lambda y: L.LSTM(6, projection_size=3, **ALL)(y),
    "normalised": lambda y: L.LSTM(4, layer_normalization="both", **ALL)(y),
    "own cell": lambda y: L.RNN(rekur.cells.light_gru, 4, **ALL)(y),
    "own cell in both directions": lambda y: L.Bidirectional(L.RNN(rekur.cells.light_gru, 4, **ALL))(y),
    "linear attention": lambda y: L.GatedLinearAttention(2, 3, mode="gated_delta", **ALL)(y),
    "mlstm": lambda y: L.MLSTM(2, 3)(y),
    "linear attention backwards": lambda y: L.GatedLinearAttention(2, 3, reverse=True, **ALL)(y),
    "last of mlstm backwards": lambda y: L.MLSTM(2, 3, reverse=True)(y),
    "both directions of mlstm": lambda y: L.Bidirectional(L.MLSTM(2, 3, **ALL))(y),
    "selective": lambda y: L.SelectiveSSM(state_size=2, **ALL)(y),
    "selective backwards": lambda y: L.SelectiveSSM(state_size=2, reverse=True, **ALL)(y),
    "attention": lambda y: L.Attention(use_scale=True)([y, y]),
    "attention and weights": lambda y: L.Attention()([y, y], return_attention_scores=True),
    "causal attention": lambda y: L.AdditiveAttention()([y, y], use_causal_mask=True),
    "heads": lambda y: L.MultiHeadAttention(2, 3)(y, y),
    "heads with dropout": lambda y: L.MultiHeadAttention(2, 3, dropout=0.2)(y, y),
    "heads and weights": lambda y: L.MultiHeadAttention(2, 3)(y, y, return_attention_scores=True),
    "causal heads": lambda y: L.MultiHeadAttention(2, 3)(y, y, use_causal_mask=True),
    "shared keys": lambda y: L.GroupQueryAttention(3, 4, 2)(y, y),
    "mean": lambda y: L.GlobalAveragePooling1D()(y),
    "mean as a step": lambda y: L.GlobalAveragePooling1D(keepdims=True)(y),
    "behind a step": lambda y: L.LSTM(3)(L.TimeDistributed(L.Dense(4))(y)),
    "behind another": lambda y: L.LSTM(3, **ALL)(L.Concatenate(axis=1)([y, L.Dense(6)(y)])),
    "side by side": lambda y: L.LSTM(3)(L.Concatenate()([y, L.Dense(2)(y)])),
    "normalised batches": lambda y: L.LSTM(3)(L.BatchNormalization()(L.PReLU("uniform", shared_axes=[1])(y))),
}
ENDS: dict[str, Callable[[Any], Any]] = {
    "convolution": lambda y: L.LSTM(3)(L.Conv1D(3, 2, padding="causal")(y)),
    "largest": lambda y: L.GlobalMaxPooling1D()(y),
    "step": lambda y: L.Lambda(lambda v: v[:, -1])(y),
}


def exported(model: Any, path: Path, **options: bool) -> Any:
    weights = len(model.spec["outputs"]) > 1  # of attention: scores of some thousands at inputs of ±50, rounded
    report = rekur.onnx.export(model, path, tolerance=1e-4 if weights else 1e-5, **options)
    assert report.verification is not None
    return report


@pytest.mark.parametrize("name", [*LAYERS, *ENDS])
def test_masked_steps_are_left_out(name: str, tmp_path: Path) -> None:
    x = L.Input((None, 6))
    make = {**LAYERS, **ENDS}[name]
    exported(rekur.Model(x, make(L.Masking(0.5)(x))), tmp_path / "m.onnx")


@pytest.mark.parametrize("name", LAYERS)
def test_a_mask_is_an_input_of_the_file(name: str, tmp_path: Path) -> None:
    x = L.Input((None, 6))
    report = exported(rekur.Model(x, LAYERS[name](x)), tmp_path / "m.onnx", masks=True)
    assert ("mask", "bool", ("batch", "time")) in report.inputs


@pytest.mark.parametrize("name", ["GRU False True", "both directions", "heads", "mean"])
@pytest.mark.parametrize("masks", [False, True], ids=["alone", "with a mask"])
def test_id_0_is_no_step(name: str, masks: bool, tmp_path: Path) -> None:
    x = L.Input((None,), dtype="int32")
    y = LAYERS[name](L.Embedding(5, 6, mask_zero=True)(x))
    exported(rekur.Model(x, y), tmp_path / "m.onnx", masks=masks)


@pytest.mark.parametrize("name", ["LSTM False True", "residual", "heads", "mean", "behind another", "largest"])
def test_lengths_beside_a_mask_of_the_model(name: str, tmp_path: Path) -> None:
    x = L.Input((None, 6))
    make = {**LAYERS, **ENDS}[name]
    if name != "largest":  # which heeds lengths and no mask
        exported(rekur.Model(x, make(L.Masking(0.5)(x))), tmp_path / "m.onnx", lengths=True)
    exported(rekur.Model(x, make(x)), tmp_path / "m.onnx", lengths=True)


TWO: dict[str, Callable[[Any, Any], Any]] = {
    "joined": lambda a, b: L.LSTM(3)(L.Add()([L.Masking(1.0)(a), L.Masking(0.5)(b)])),
    "behind one another": lambda a, b: L.LSTM(3)(L.Concatenate(axis=1)([L.Masking()(a), b])),
    "heads": lambda a, b: L.MultiHeadAttention(2, 3)(L.Masking(1.0)(a), L.Masking(0.5)(b)),
    "masked query": lambda a, b: L.Attention()([L.Masking(1.0)(a), b]),
    "masked value": lambda a, b: L.MultiHeadAttention(2, 3)(a, L.Masking(0.5)(b), use_causal_mask=True),
}


@pytest.mark.parametrize("name", TWO)
def test_masks_of_two_inputs(name: str, tmp_path: Path) -> None:
    a, b = L.Input((None, 6), name="a"), L.Input((None, 6), name="b")
    exported(rekur.Model([a, b], TWO[name](a, b)), tmp_path / "m.onnx")


@pytest.mark.parametrize("options", [{"streaming": True}, {"states": True}], ids=str)
def test_files_with_states_have_no_mask_of_their_own(options: dict[str, bool], tmp_path: Path) -> None:
    x = L.Input((None, 6))
    model = rekur.Model(x, L.LSTM(3)(L.Masking(name="front")(x)))
    with pytest.raises(ExportError, match="masks=True: not together with"):
        rekur.onnx.export(model, tmp_path / "m.onnx", masks=True, **options)


@pytest.mark.parametrize("make", [lambda x: L.Conv1D(3, 2)(x), lambda x: L.Dense(2)(x)], ids=["windows", "steps"])
def test_a_mask_that_nothing_reads_is_refused(make: Callable[[Any], Any], tmp_path: Path) -> None:
    x = L.Input((None, 6))
    with pytest.raises(ExportError, match="masks=True: the model has no"):
        rekur.onnx.export(rekur.Model(x, make(x)), tmp_path / "m.onnx", masks=True)
