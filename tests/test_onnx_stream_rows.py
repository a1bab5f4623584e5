"""Files with states of images, of masked steps, of steps of several axes: looped, or in pieces, the sequence model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur.onnx
from harness import assert_close, floats, input_layer
from onnx_subject import Subject
from rekur import cells
from rekur import layers as L
from rekur.onnx import ExportError
from test_onnx_stream import assert_loop_matches_reference, loop, session, zeros

options = pytest.mark.parametrize("option", ["streaming", "states"])
IMAGES: list[tuple[dict[str, Any], tuple[int, ...], tuple[int, ...]]] = [  # layer, a step of x, its own
    ({"type": "ConvLSTM1D", "filters": 2, "kernel_size": 3}, (5, 3), (3, 2)),
    ({"type": "ConvLSTM1D", "filters": 3, "kernel_size": 2, "padding": "same", "strides": 2}, (5, 3), (3, 3)),
    ({"type": "ConvLSTM1D", "filters": 1, "kernel_size": 1, "use_bias": False}, (1, 1), (1, 1)),
    ({"type": "ConvLSTM1D", "filters": 2, "kernel_size": 2, "dilation_rate": 3, "activation": "relu"}, (7, 2), (4, 2)),
    ({"type": "ConvLSTM2D", "filters": 3, "kernel_size": 2}, (4, 5, 2), (3, 4, 3)),
    (
        {"type": "ConvLSTM2D", "filters": 2, "kernel_size": [3, 2], "padding": "same", "dilation_rate": [1, 2]},
        (4, 5, 2),
        (4, 5, 2),
    ),
]


def film(layer: dict[str, Any], step: tuple[int, ...], *more: str, **settings: Any) -> Subject:
    images = {**layer, **settings, "name": "y", "inputs": ["x", *more]}
    outputs = ["y", "y:1", "y:2"] if settings.get("return_state") else ["y"]
    return Subject([input_layer("x", None, *step), images], outputs)


@pytest.mark.parametrize(("layer", "step", "own"), IMAGES, ids=lambda v: str(v) if isinstance(v, tuple) else "")
def test_images_looped(
    layer: dict[str, Any], step: tuple[int, ...], own: tuple[int, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    subject, path = film(layer, step, return_sequences=True), tmp_path / "m.onnx"
    report = rekur.onnx.export(subject, path, streaming=True)
    size = int(np.prod(own))
    states = [("y_h", size), ("y_c", size)]
    assert report.inputs == [
        ("x", "float32", ("batch", *step)),
        *((f"{n}_in", "float32", ("batch", u)) for n, u in states),
    ]
    assert report.outputs == [
        ("y", "float32", ("batch", *own)),
        *((f"{n}_out", "float32", ("batch", u)) for n, u in states),
    ]
    for batch in (1, 3):
        x = floats(rng, batch, 6, *step)
        assert_loop_matches_reference(path, subject, {"x": x})
        for outputs in loop(path, {"x": x}, zeros(path, batch)):  # h is the output, its positions as they are
            np.testing.assert_array_equal(outputs["y_h_out"], outputs["y"].reshape(batch, size))


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize(("layer", "step", "own"), IMAGES, ids=lambda v: str(v) if isinstance(v, tuple) else "")
def test_images_in_pieces(
    layer: dict[str, Any],
    step: tuple[int, ...],
    own: tuple[int, ...],
    lengths: bool,
    sequences: bool,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    subject = film(layer, step, return_sequences=sequences, return_state=True)
    path = tmp_path / "m.onnx"
    rekur.onnx.export(subject, path, states=True, lengths=lengths)
    states = rekur.onnx.metadata(path).states
    assert states is not None and states.timed_outputs == (("y",) if sequences else ())
    x, rows = floats(rng, 3, 7, *step), np.array([7, 0, 3], np.int32)
    feed = {"x": x, **({"lengths": rows} if lengths else {})}
    cuts = {"x": [slice(0, 2), slice(2, 3), slice(3, 7)]}
    actual = states.run(session(path), feed, cuts, {"lengths": ["x"]} if lengths else None)
    expected = reference.run(subject.spec, subject.weights, [x], [rows if lengths else None])
    for y, e in zip(actual, expected, strict=True):
        assert_close(y, e, 1e-5)


@options
def test_images_that_begin_as_inputs_of_the_model(option: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """They give way to the states, flat as these are, though (batch, positions, filters) looks like a sequence."""
    layer, step, own = IMAGES[1]
    images = {**layer, "return_sequences": True, "name": "y", "inputs": ["x", "h", "c"]}
    subject = Subject([input_layer("x", None, *step), input_layer("h", *own), input_layer("c", *own), images], ["y"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
    assert [name for name, _, _ in report.inputs] == ["x", "y_h_in", "y_c_in"]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None and states.timed_inputs == ("x",) and [s.initial for s in states.states] == ["h", "c"]
    feed = {"x": floats(rng, 2, 4, *step), "h": floats(rng, 2, *own), "c": floats(rng, 2, *own)}
    (y,) = states.run(session(tmp_path / "m.onnx"), feed)
    assert_close(y, reference.run(subject.spec, subject.weights, list(feed.values()))[0], 1e-5)


@options
def test_an_image_that_is_a_state_and_a_sequence_is_refused(option: str, tmp_path: Path) -> None:
    layer, step, own = IMAGES[1]
    images = {**layer, "return_sequences": True, "name": "y", "inputs": ["x", "h"]}
    dense = {"type": "Dense", "name": "d", "inputs": ["h"], "units": 2}
    subject = Subject([input_layer("x", None, *step), input_layer("h", *own), images, dense], ["y", "d"])
    with pytest.raises(ExportError, match=f"{option}=True: input 'h' is an initial state, and is read as a sequence"):
        rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})


# --------------------------------------------------------------------------------------------------------- masked steps

RECURRENT: dict[str, Callable[..., Any]] = {
    "SimpleRNN": lambda **how: L.SimpleRNN(4, **how),
    "LSTM": lambda **how: L.LSTM(4, **how),
    "LSTM normalized": lambda **how: L.LSTM(4, layer_normalization="both", **how),
    "GRU begins as learned": lambda **how: L.GRU(4, learn_initial_state=True, **how),
    "RNN": lambda **how: L.RNN(cells.peephole_lstm, 4, **how),
}
MATRICES: dict[str, Callable[..., Any]] = {
    "GatedLinearAttention": lambda **how: L.GatedLinearAttention(2, 3, **how),
    "MLSTM": lambda **how: L.MLSTM(1, 3, **how),
    "SelectiveSSM": lambda **how: L.SelectiveSSM(2, **how),
}
HOW: list[dict[str, Any]] = [
    {},
    {"residual": True},
    {"zero_output_for_mask": True},
    {"residual": True, "zero_output_for_mask": True},
]
CASES = [(name, how) for name in RECURRENT for how in HOW] + [(name, {}) for name in MATRICES]


def with_holes(rng: np.random.Generator, batch: int) -> np.ndarray:
    """Steps of zeros alone: at the beginning, within, at the end, everywhere."""
    x = floats(rng, batch, 9, 4)
    holes = [[0, 1, 4, 8], list(range(9)), [], [2, 3, 5]]
    for row in range(batch):
        x[row, holes[row % 4]] = 0
    return x


def by_valid_steps(
    model: Any, before: np.ndarray, x: np.ndarray, how: dict[str, Any], sequences: bool, t: int
) -> np.ndarray:
    """What a layer without masks makes of the steps that there are up to step t, row by row."""
    rows = []
    for row in x:
        there = row[: t + 1].any(axis=-1)
        if not there.any():
            rows.append(np.zeros(4, np.float32) if how.get("zero_output_for_mask") else before)
            continue
        outputs = model.predict(row[: t + 1][there][None])[0]
        last = outputs[-1] if sequences else outputs
        if not there[t]:
            valid = row[: t + 1][there][-1]
            h = last - valid if how.get("residual") else last
            h = np.zeros_like(h) if how.get("zero_output_for_mask") else h
            last = h + valid if how.get("residual") and not sequences else h
        rows.append(last)
    return np.stack(rows)


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize(("name", "how"), CASES, ids=str)
def test_rows_that_a_mask_leaves_out_keep_what_they_had(
    name: str, how: dict[str, Any], sequences: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    make, path = {**RECURRENT, **MATRICES}[name], tmp_path / "m.onnx"
    x = L.Input((None, 4), name="x")
    model = rekur.Model(x, make(return_sequences=sequences, **how)(L.Masking()(x)), seed=5)
    plain_how = {key: value for key, value in how.items() if key != "zero_output_for_mask"}
    plain = rekur.Model(x, make(return_sequences=sequences, **plain_how)(x), seed=6)
    model.set_weights([floats(rng, *w.shape) * 0.5 for w in model.get_weights()])
    plain.set_weights(model.get_weights())
    learned = [w for key, w in model.named_weights().items() if key.endswith("/initial_h")]
    before = learned[0] if learned else np.zeros(4, np.float32)
    rekur.onnx.export(model, path, streaming=True)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    data = with_holes(rng, 4)
    run, now = session(path), states.start({}, 4)
    names = [o.name for o in run.get_outputs()]
    for t in range(9):
        given = dict(zip(names, run.run(names, {"x": data[:, t], **now}), strict=True))
        now = {state.input: given[state.output] for state in states.states}
        assert_close(given[names[0]], by_valid_steps(plain, before, data, how, sequences, t), 1e-5, f"step {t}")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize(("name", "how"), CASES, ids=str)
def test_pieces_of_masked_sequences(
    name: str, how: dict[str, Any], sequences: bool, lengths: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    """Also pieces that have no step of a row, whose last output and state stay."""
    x = L.Input((None, 4), name="x")
    layer = {**RECURRENT, **MATRICES}[name](return_sequences=sequences, return_state=True, **how)
    model, path = rekur.Model(x, [*layer(L.Masking()(x))], seed=5), tmp_path / "m.onnx"
    rekur.onnx.export(model, path, states=True, lengths=lengths)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    data, rows = with_holes(rng, 4), np.array([9, 4, 6, 0], np.int32)
    feed = {"x": data, **({"lengths": rows} if lengths else {})}
    cuts = {"x": [slice(0, 2), slice(2, 5), slice(5, 6), slice(6, 9)]}
    actual = states.run(session(path), feed, cuts, {"lengths": ["x"]} if lengths else None)
    expected = model.predict(data, lengths=rows if lengths else None)
    for y, e in zip(actual, expected, strict=True):
        assert_close(y, e, 1e-5)


@pytest.mark.parametrize("name", MATRICES)
def test_last_outputs_of_rows_that_have_ended(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Where the output is no state of the layer, a piece without a step of the row has the one before it."""
    x = L.Input((None, 4), name="x")
    model = rekur.Model(x, MATRICES[name]()(x), seed=5)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", states=True, lengths=True)
    assert [n.removeprefix(model.layers[-1].name) for n, _, _ in report.inputs[2:]] == ["_s_in", "_y_in"]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None
    data, rows = floats(rng, 3, 6, 4), np.array([2, 0, 6], np.int32)
    cuts = {"x": [slice(0, 2), slice(2, 6)]}
    (y,) = states.run(session(tmp_path / "m.onnx"), {"x": data, "lengths": rows}, cuts, {"lengths": ["x"]})
    assert_close(y, model.predict(data, lengths=rows), 1e-5)


def joined(a: Any, b: Any) -> Any:
    return L.LSTM(3)(L.Add()([L.Masking()(a), L.Masking(mask_value=1.0)(b)]))


MASKED: dict[str, Callable[..., Any]] = {
    "of both": joined,
    "of one": lambda a, b: L.GRU(3, return_sequences=True)(L.Concatenate()([L.Masking()(a), b])),
    "after another": lambda a, b: L.GRU(3)(L.Masking()(L.Dense(2, activation="relu")(L.Masking()(L.Add()([a, b]))))),
    "on to the next layer": lambda a, b: L.LSTM(2)(
        L.LSTM(3, return_sequences=True, zero_output_for_mask=True)(L.Masking()(L.Multiply()([a, b])))
    ),
    "ends at a convolution": lambda a, b: L.LSTM(2)(
        L.Conv1D(3, 2, padding="causal")(L.GRU(3, return_sequences=True)(L.Masking()(L.Add()([a, b]))))
    ),
}


@options
@pytest.mark.parametrize("name", MASKED)
def test_masks_on_their_way(name: str, option: str, tmp_path: Path) -> None:
    a, b = L.Input((None, 2)), L.Input((None, 2))
    report = rekur.onnx.export(rekur.Model([a, b], MASKED[name](a, b)), tmp_path / "m.onnx", **{option: True})
    assert report.verification is not None and report.verification.mode


@options
def test_ids_of_nothing(option: str, tmp_path: Path) -> None:
    ids = L.Input((None,), dtype="int32")
    y = L.GRU(3, return_sequences=True)(L.LSTM(4, return_sequences=True)(L.Embedding(9, 4, mask_zero=True)(ids)))
    report = rekur.onnx.export(rekur.Model(ids, y), tmp_path / "m.onnx", **{option: True})
    assert report.verification is not None and report.verification.mode


@options
def test_masked_images(option: str, tmp_path: Path) -> None:
    for zeros_for_mask in (False, True):
        x = L.Input((None, 4, 2))
        layer = L.ConvLSTM1D(2, 3, padding="same", return_sequences=True, zero_output_for_mask=zeros_for_mask)
        report = rekur.onnx.export(rekur.Model(x, layer(L.Masking()(x))), tmp_path / "m.onnx", **{option: True})
        assert report.verification is not None and report.verification.mode


@options
def test_a_mask_before_attention_is_refused(option: str, tmp_path: Path) -> None:
    x = L.Input((None, 4))
    y = L.GRU(4, return_sequences=True)(L.Masking()(x))
    y = L.Attention(use_causal_mask=True, sliding_window=3, name="back")([y, y])
    with pytest.raises(ExportError, match=f"{option}=True: Attention 'back': a mask says which of its keys there are"):
        rekur.onnx.export(rekur.Model(x, y), tmp_path / "m.onnx", **{option: True})


# ---------------------------------------------------------------------------------------------- steps of several axes

SEVERAL: dict[str, Callable[[Any], Any]] = {
    "Dense": lambda x: L.Dense(4, activation="softmax")(x),
    "LayerNormalization": lambda x: L.LayerNormalization()(x),
    "BatchNormalization": lambda x: L.BatchNormalization()(x),
    "PReLU": lambda x: L.PReLU(shared_axes=[1])(x),
    "Add": lambda x: L.Add()([x, L.Dense(2)(x)]),
    "Concatenate": lambda x: L.Concatenate()([x, L.Activation("tanh")(x)]),
    "Lambda": lambda x: L.RMSNormalization()(x),
    "images between": lambda x: L.Dense(2)(L.ConvLSTM1D(3, 2, return_sequences=True)(L.Dense(4, activation="relu")(x))),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_step_of_several_axes(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    x = L.Input((None, 3, 2), name="x")
    model = rekur.Model(x, SEVERAL[name](x), seed=1)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True, tolerance=3e-5)
    assert report.inputs[0][2] == ("batch", 3, 2) and len(report.outputs[0][2]) == 3
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None
    data = floats(rng, 3, 5, 3, 2)
    (y,) = states.run(session(tmp_path / "m.onnx"), {"x": data})
    assert_close(y, model.predict(data), 2e-5)


WITHIN: dict[str, Callable[[Any], Any]] = {  # what a layer has of its own is a whole in every piece
    "a decoder": lambda x: L.LSTM(3, return_sequences=True)(L.RepeatVector(4)(L.GRU(3)(x))),
    "its mean": lambda x: L.GlobalAveragePooling1D()(L.Conv1D(3, 2)(L.RepeatVector(4)(L.GRU(3)(x)))),
    "a vector of it": lambda x: L.Dense(2)(L.Flatten()(L.RepeatVector(2)(L.LSTM(3)(x)))),
}


@pytest.mark.parametrize("name", WITHIN)
def test_pieces_of_a_sequence_and_wholes_behind_them(name: str, tmp_path: Path) -> None:
    x = L.Input((None, 4))
    report = rekur.onnx.export(rekur.Model(x, WITHIN[name](x)), tmp_path / "m.onnx", states=True)
    assert report.verification is not None and report.verification.mode


def test_pieces_of_films_and_what_is_made_of_the_last_image(tmp_path: Path) -> None:
    x = L.Input((None, 4, 5, 2))
    y = L.ConvLSTM2D(2, 3, padding="same")(L.ConvLSTM2D(2, 3, padding="same", return_sequences=True)(x))
    model = rekur.Model(x, L.Dense(2)(L.Flatten()(y)))
    assert rekur.onnx.export(model, tmp_path / "m.onnx", states=True).verification is not None


def test_sequences_within_the_steps_of_a_piece(tmp_path: Path) -> None:
    """A layer within TimeDistributed has all steps of what it reads, and no state."""
    x = L.Input((None, 5, 3))
    y = L.TimeDistributed(L.Conv1D(2, 3))(L.TimeDistributed(L.LSTM(4, return_sequences=True))(x))
    model = rekur.Model(x, L.GRU(2)(L.TimeDistributed(L.Flatten())(y)))
    report = rekur.onnx.export(model, tmp_path / "m.onnx", states=True)
    assert [n for n, _, _ in report.inputs[1:]] == ["gru_h_in"] and report.verification is not None
    with pytest.raises(ExportError, match=r"streaming=True: FoldTime .* a time step that is a sequence by itself"):
        rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)
