"""ONNX files of tensors of four and five axes, and of layers on every time step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rekur.onnx
from rekur import layers as L


def frame() -> Any:
    x = L.Input((4, 3))
    return rekur.Model(x, L.Dense(2)(L.LSTM(5)(x)), name="frame")


INNER: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: L.LSTM(5),
    "sequences": lambda: L.GRU(5, return_sequences=True),
    "Bidirectional": lambda: L.Bidirectional(L.LSTM(2)),
    "Dense": lambda: L.Dense(2, activation="tanh"),
    "model": frame,
    "Sequential": lambda: rekur.Sequential([L.LSTM(3), L.Dense(2)]),
    "twice": lambda: L.TimeDistributed(L.Dense(2)),
    "Conv1D": lambda: L.Conv1D(3, 2),
    "Flatten": lambda: L.Flatten(),
    "mean": lambda: L.GlobalAveragePooling1D(),
    "Permute": lambda: L.Permute((2, 1)),
}
ROWS = ("LSTM", "Bidirectional", "model", "Sequential", "Flatten", "mean")  # those that give (B, F) for a step


@pytest.mark.parametrize("steps", [None, 5])
@pytest.mark.parametrize("name", INNER)
def test_a_layer_on_every_step(name: str, steps: int | None, tmp_path: Path) -> None:
    behind = [L.LSTM(2)] if name in ROWS else []
    model = rekur.Sequential([L.Input((steps, 4, 3)), L.TimeDistributed(INNER[name]()), *behind])
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


@pytest.mark.parametrize("options", [{"lengths": True}, {"masks": True}], ids=str)
def test_lengths_and_masks_go_on_behind_it(options: dict[str, bool], tmp_path: Path) -> None:
    inner = [L.TimeDistributed(L.LSTM(2)), L.LSTM(3, return_sequences=True)]
    model = rekur.Sequential([L.Input((None, 4, 3)), *inner])
    assert rekur.onnx.export(model, tmp_path / "m.onnx", **options).verification is not None


def test_frames_of_convolutions_before_a_recurrent_layer(tmp_path: Path) -> None:
    frames = [L.Conv1D(4, 3, activation="relu"), L.MaxPooling1D(2), L.Flatten()]
    layers = [L.Input((None, 8, 3)), *map(L.TimeDistributed, frames), L.LSTM(5), L.Dense(1)]
    assert rekur.onnx.export(rekur.Sequential(layers), tmp_path / "m.onnx").verification is not None


POINTWISE: dict[str, Callable[[], Any]] = {
    "Dense": lambda: L.Dense(4, activation="relu"),
    "softmax": lambda: L.Activation("softmax"),
    "LayerNormalization": lambda: L.LayerNormalization(),
    "RMSNormalization": lambda: L.RMSNormalization(),
    "BatchNormalization": lambda: L.BatchNormalization(),
    "PReLU": lambda: L.PReLU("uniform", shared_axes=[1]),
    "Masking": lambda: L.Masking(0.5),
    "Rescaling": lambda: L.Rescaling(2.0, 1.0),
    "RotaryEmbedding": lambda: L.RotaryEmbedding(),
}
MERGES = (L.Add, L.Maximum, L.Average, L.Subtract)


@pytest.mark.parametrize("shape", [(None, 2, 4), (5, 2, 2, 4)], ids=str)
@pytest.mark.parametrize("name", POINTWISE)
def test_tensors_of_more_axes(name: str, shape: tuple[int | None, ...], tmp_path: Path) -> None:
    if name == "RotaryEmbedding" and len(shape) > 3:
        pytest.skip("of at most four axes")
    model = rekur.Sequential([L.Input(shape), POINTWISE[name]()])
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


@pytest.mark.parametrize("shape", [(None, 2, 4), (5, 2, 2, 4)], ids=str)
def test_tensors_of_more_axes_are_joined(shape: tuple[int | None, ...], tmp_path: Path) -> None:
    x = L.Input(shape)
    y = L.Dense(4)(x)
    joined = [kind()([x, y]) for kind in MERGES] + [L.Concatenate(axis=axis)([x, y]) for axis in (-1, 1, 2)]
    assert rekur.onnx.export(rekur.Model(x, joined), tmp_path / "m.onnx").verification is not None


OTHER_SHAPES: dict[str, list[Any]] = {
    "Flatten": [L.Input((5, 2, 3)), L.Flatten, L.Dense],
    "Reshape to less": [L.Input((5, 2, 3)), lambda _: L.Reshape((10, 3)), L.LSTM],
    "Reshape to more": [L.Input((6, 4)), lambda _: L.Reshape((3, 2, 4)), lambda n: L.TimeDistributed(L.LSTM(n))],
    "Permute": [L.Input((5, 2, 3)), lambda _: L.Permute((3, 1, 2)), L.Dense],
}


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_other_shapes_of_more_axes(name: str, tmp_path: Path) -> None:
    x, change, behind = OTHER_SHAPES[name]
    model = rekur.Sequential([x, change() if change is L.Flatten else change(0), behind(2)])
    assert rekur.onnx.export(model, tmp_path / "m.onnx").verification is not None


def test_ids_of_more_axes(tmp_path: Path) -> None:
    layers = [L.Input((None, 4), dtype="int32"), L.Embedding(7, 3), L.TimeDistributed(L.LSTM(2))]
    assert rekur.onnx.export(rekur.Sequential(layers), tmp_path / "m.onnx").verification is not None
