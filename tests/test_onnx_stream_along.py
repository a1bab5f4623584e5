"""Files with states of layers along time: convolution, attention over a window, positions, ConvLSTM, masked steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reference
import rekur.onnx
from harness import assert_close, floats, input_layer
from onnx_subject import Subject, sequence_subject
from rekur import _core, layers
from rekur.onnx import ExportError, VerificationError, _carry
from test_onnx_stream import assert_loop_matches_reference, loop, session, zeros

BATCHES = (1, 3)


def conv(**options: Any) -> dict[str, Any]:
    return {"type": "Conv1D", "filters": 4, "kernel_size": 3, "padding": "causal", **options}


def depthwise(**options: Any) -> dict[str, Any]:
    return {"type": "DepthwiseConv1D", "kernel_size": 3, "padding": "causal", **options}


CONVOLUTIONS = [
    *(conv(kernel_size=k, dilation_rate=d) for k in (1, 2, 3, 4, 5) for d in (1, 2, 3)),
    *(conv(kernel_size=k, groups=g, filters=2 * g) for k in (1, 4) for g in (2, 4)),
    conv(kernel_size=5, dilation_rate=2, groups=2, activation="softmax", use_bias=False),
    *(depthwise(kernel_size=k, dilation_rate=d) for k in (1, 2, 5) for d in (1, 2)),
    depthwise(kernel_size=4, depth_multiplier=3, activation="tanh", use_bias=False),
    conv(kernel_size=1, padding="valid"),
    conv(kernel_size=1, padding="same", activation="relu"),
]
CAUSAL = {"use_causal_mask": True}
ATTENTION = [
    *({"type": "Attention", **CAUSAL, "sliding_window": w} for w in (1, 2, 3, 5)),
    {"type": "Attention", **CAUSAL, "sliding_window": 4, "use_scale": True},
    {"type": "Attention", **CAUSAL, "sliding_window": 3, "score_mode": "concat", "use_scale": True},
    *({"type": "AdditiveAttention", **CAUSAL, "sliding_window": w} for w in (1, 4)),
    {"type": "AdditiveAttention", **CAUSAL, "sliding_window": 2, "use_scale": False},
    *(
        {"type": "MultiHeadAttention", "num_heads": 2, "key_dim": 3, **CAUSAL, "sliding_window": w}
        for w in (1, 2, 3, 4, 9)
    ),
    {
        "type": "MultiHeadAttention", "num_heads": 3, "key_dim": 2, "value_dim": 5, "output_shape": 3,
        "use_bias": False, **CAUSAL, "sliding_window": 3,
    },
    *(
        {
            "type": "GroupQueryAttention", "head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2, **CAUSAL,
            "sliding_window": w,
        }
        for w in (1, 4)
    ),
]  # fmt: skip
POSITIONS = [
    {"type": "PositionEmbedding", "sequence_length": 30},
    {"type": "SinePositionEncoding"},
    {"type": "RotaryEmbedding", "max_wavelength": 100, "scaling_factor": 2.5},
]
ids = pytest.mark.parametrize("option", ["streaming", "states"])


def name_of(layer: dict[str, Any]) -> str:
    return "-".join(str(value) for value in layer.values())


def assert_pieces_match_reference(
    path: Path, subject: Subject, x: np.ndarray, cuts: Sequence[int], lengths: np.ndarray | None = None
) -> None:
    run, now, parts = session(path), zeros(path, len(x)), []
    names = [output.name for output in run.get_outputs()]
    states = rekur.onnx.metadata(path).states
    assert states is not None
    for begin, end in zip((0, *cuts), (*cuts, x.shape[1]), strict=True):
        feed = {"x": x[:, begin:end], **now}
        if lengths is not None:
            feed["lengths"] = np.clip(lengths - begin, 0, end - begin).astype(np.int32)
        outputs = dict(zip(names, run.run(names, feed), strict=True))
        now = {state.input: outputs[state.output] for state in states.states}
        parts.append(outputs)
    expected = reference.run(subject.spec, subject.weights, [x], [lengths])
    for name, e in zip(names, expected, strict=False):
        timed = name in states.timed_outputs
        y = np.concatenate([part[name] for part in parts], axis=1) if timed else parts[-1][name]
        assert_close(y, e, 1e-5, name)


# --------------------------------------------------------------------------------------------- one layer, and its state


@pytest.mark.parametrize("layer", [*CONVOLUTIONS, *ATTENTION, *POSITIONS], ids=name_of)
def test_looped_is_the_sequence(layer: dict[str, Any], tmp_path: Path, rng: np.random.Generator) -> None:
    given = ["x", "x"] if "Attention" in layer["type"] else ["x"]
    subject, path = sequence_subject({**layer, "name": "y", "inputs": given}, outputs=["y"], features=4), tmp_path / "m"
    report = rekur.onnx.export(subject, path, streaming=True)
    assert report.verification is not None and report.verification.cases == 20
    assert report.inputs[0] == ("x", "float32", ("batch", 4)) and len(report.outputs[0][2]) == 2
    for batch in BATCHES:
        assert_loop_matches_reference(path, subject, {"x": floats(rng, batch, 11, 4)})


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("layer", [*CONVOLUTIONS, *ATTENTION, *POSITIONS], ids=name_of)
def test_pieces_are_the_sequence(
    layer: dict[str, Any], lengths: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    given = ["x", "x"] if "Attention" in layer["type"] else ["x"]
    layer = {**layer, "name": "y", "inputs": given}
    gru = {"type": "GRU", "name": "g", "inputs": ["y"], "units": 3}
    subject, path = sequence_subject(layer, gru, outputs=["y", "g"], features=4), tmp_path / "m"
    rekur.onnx.export(subject, path, states=True, lengths=lengths)
    for batch in BATCHES:
        rows = np.array([5, 11, 0][-batch:], np.int32) if lengths else None
        for cuts in ([], [1, 2, 3], [4, 5]):
            assert_pieces_match_reference(path, subject, floats(rng, batch, 11, 4), cuts, rows)


STATES: list[tuple[dict[str, Any], list[str], dict[str, int]]] = [
    (conv(kernel_size=4, dilation_rate=2), ["x"], {"steps": 24}),
    (depthwise(kernel_size=2), ["x"], {"steps": 4}),
    (conv(kernel_size=1), ["x"], {}),
    ({"type": "Attention", **CAUSAL, "sliding_window": 3}, ["x", "x"], {"values": 8, "count": 1}),
    ({"type": "Attention", **CAUSAL, "sliding_window": 3}, ["x", "x", "d"], {"keys": 8, "values": 8, "count": 1}),
    ({"type": "Attention", **CAUSAL, "sliding_window": 1}, ["x", "x"], {}),
    (ATTENTION[-1], ["x", "x"], {"keys": 12, "values": 12, "count": 1}),
    (ATTENTION[-3], ["x", "x"], {"keys": 12, "values": 30, "count": 1}),
    (POSITIONS[0], ["x"], {"position": 2}),
]


@pytest.mark.parametrize(("layer", "given", "expected"), STATES, ids=lambda v: name_of(v) if "type" in v else "")
def test_the_states_that_a_layer_has(
    layer: dict[str, Any], given: list[str], expected: dict[str, int], tmp_path: Path
) -> None:
    dense = {"type": "Dense", "name": "d", "inputs": ["x"], "units": 4}
    subject = sequence_subject(dense, {**layer, "name": "y", "inputs": given}, outputs=["y"], features=4)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert report.inputs[1:] == [(f"y_{key}_in", "float32", ("batch", size)) for key, size in expected.items()]
    assert report.outputs[1:] == [(f"y_{key}_out", "float32", ("batch", size)) for key, size in expected.items()]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None and states.timed_outputs == ("y",)
    assert {s.output: (s.layer, s.start, s.initial) for s in states.states} == {
        f"y_{key}_out": ("y", None, None) for key in expected
    }


def test_keys_and_values_of_different_tensors(tmp_path: Path, rng: np.random.Generator) -> None:
    for layer in ATTENTION:
        subject = sequence_subject(
            {"type": "Dense", "name": "d", "inputs": ["x"], "units": 4},
            {**conv(kernel_size=2), "name": "c", "inputs": ["x"]},
            {**layer, "name": "y", "inputs": ["x", "c", "d"]},
            outputs=["y"],
            features=4,
        )
        rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
        assert_loop_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, 2, 7, 4)})


def test_the_steps_of_a_convolution_are_those_of_the_engines_stream(tmp_path: Path, rng: np.random.Generator) -> None:
    """The last inputs, the oldest first: also what `Stream::get_state` gives."""
    path = tmp_path / "m.onnx"
    subject = sequence_subject({**conv(kernel_size=3), "name": "y", "inputs": ["x"]}, outputs=["y"], features=4)
    rekur.onnx.export(subject, path, streaming=True)
    x = floats(rng, 2, 5, 4)
    for t, outputs in enumerate(loop(path, {"x": x}, zeros(path, 2)), 1):
        padded = np.concatenate([np.zeros((2, 2, 4), np.float32), x[:, :t]], axis=1)
        np.testing.assert_array_equal(outputs["y_steps_out"], padded[:, -2:].reshape(2, 8))


def test_a_row_that_begins_anew(tmp_path: Path, rng: np.random.Generator) -> None:
    """Zeros in a row of every state are the beginning of a sequence, whatever the other rows are at."""
    path, x = tmp_path / "m.onnx", rekur.Input((None, 4))
    y = layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(layers.Add()([x, layers.SinePositionEncoding()(x)]))
    y = layers.MultiHeadAttention(2, 3, sliding_window=3)(y, y, use_causal_mask=True)
    model = rekur.Model(x, layers.GRU(3)(layers.RotaryEmbedding()(y)), seed=2)
    name = rekur.onnx.export(model, path, streaming=True).inputs[0][0]
    data, now = floats(rng, 3, 12, 4), zeros(path, 3)
    run = session(path)
    outputs = [o.name for o in run.get_outputs()]
    for t in range(12):
        if t == 7:
            for value in now.values():
                value[1] = 0
        given = dict(zip(outputs, run.run(outputs, {name: data[:, t], **now}), strict=True))
        now = {key: given[key[:-3] + "_out"].copy() for key in now}
    last = given[outputs[0]]
    assert_close(last[[0, 2]], model.predict(data)[[0, 2]], 1e-5)
    assert_close(last[1:2], model.predict(data[1:2, 7:]), 1e-5)


def test_a_position_counts_on_where_float32_ends(tmp_path: Path) -> None:
    """After 2²⁴ steps and after 2⁴⁰: the state has them exactly, and the angle is right within a turn."""
    path, width = tmp_path / "m.onnx", 6
    layer = {"type": "SinePositionEncoding", "name": "y", "inputs": ["x"]}
    rekur.onnx.export(sequence_subject(layer, outputs=["y"], features=width), path, streaming=True)
    run, unit = session(path), 1 << 20
    for t in (unit - 1, unit, (1 << 24) + 1, (1 << 40) - 1):
        state = np.array([[t % unit, t // unit]], np.float32)
        y, after = run.run(None, {"x": np.zeros((1, width), np.float32), "y_position_in": state})
        assert after.tolist() == [[(t + 1) % unit, (t + 1) // unit]]
        frequencies = 1e4 ** -(np.arange(width) // 2 * 2 / width)
        angles = np.array([t], np.longdouble) * frequencies
        expected = np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles))
        assert np.abs(y[0] - expected).max() < (1e-6 if t < 1 << 30 else 1e-3)  # float64 has 13 bits left of a turn


def test_a_step_that_a_table_has_not_is_an_error(tmp_path: Path) -> None:
    layer = {"type": "PositionEmbedding", "sequence_length": 3, "name": "y", "inputs": ["x"]}
    rekur.onnx.export(sequence_subject(layer, outputs=["y"]), tmp_path / "m.onnx", streaming=True)
    run = session(tmp_path / "m.onnx")
    x = np.zeros((1, 3), np.float32)
    run.run(None, {"x": x, "y_position_in": np.array([[2, 0]], np.float32)})
    with pytest.raises(Exception, match="y"):
        run.run(None, {"x": x, "y_position_in": np.array([[3, 0]], np.float32)})


# --------------------------------------------------------------------------------------------------------- whole models


def tcn(x: Any) -> Any:
    for dilation in (1, 2, 4):
        y = layers.Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="relu")(x)
        x = layers.Add()([x, layers.SeparableConv1D(4, 3, padding="causal")(y)])
    return layers.Dense(2)(x)


def transformer(x: Any) -> Any:
    x = layers.Add()([x, layers.PositionEmbedding(40)(x)])
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(2, 2, sliding_window=4)(y, y, use_causal_mask=True)])
        x = layers.Add()([x, layers.Dense(4)(layers.Dense(7, activation="relu")(layers.LayerNormalization()(x)))])
    return x


def mixed(x: Any) -> Any:
    y = layers.BatchNormalization()(layers.Conv1D(6, 5, padding="causal", groups=2)(x))
    y = layers.LSTM(4, return_sequences=True)(y)
    y = layers.GroupQueryAttention(2, 4, 2, sliding_window=3)(y, y, use_causal_mask=True)
    return layers.GRU(3)(layers.RotaryEmbedding()(layers.DepthwiseConv1D(2, padding="causal")(y)))


WHOLE = {"tcn": tcn, "transformer": transformer, "mixed": mixed}
ALLOWED = 3e-4  # on inputs of ±50: the LayerNormalization of onnxruntime 1.17 leaves so much


@ids
@pytest.mark.parametrize("name", WHOLE)
def test_layers_behind_one_another(name: str, option: str, tmp_path: Path) -> None:
    x = rekur.Input((None, 4), name="x")
    model, path = rekur.Model(x, WHOLE[name](x), seed=3), tmp_path / "m.onnx"
    report = rekur.onnx.export(model, path, tolerance=ALLOWED, **{option: True})
    assert report.verification is not None and report.verification.mode
    data = np.random.default_rng(1).standard_normal((3, 20, 4)).astype(np.float32)
    states = rekur.onnx.metadata(path).states
    assert states is not None
    (y,) = states.run(session(path), {"x": data})
    assert_close(y, model.predict(data), 2e-5)
    model.save(tmp_path / "m.safetensors")
    assert rekur.onnx.verify(tmp_path / "m.safetensors", path, tolerance=ALLOWED).mode


@pytest.mark.parametrize("name", WHOLE)
def test_the_file_is_the_engines_stream(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    x = rekur.Input((None, 4), name="x")
    model, path = rekur.Model(x, WHOLE[name](x), seed=4), tmp_path / "m.onnx"
    rekur.onnx.export(model, path, streaming=True, tolerance=ALLOWED)
    data = floats(rng, 1, 9, 4)
    (streamed,) = _core.stream_steps(model._native, [data[0]])
    output = session(path).get_outputs()[0].name
    seen = np.concatenate([step[output] for step in loop(path, {"x": data}, zeros(path, 1))])
    assert_close(seen, np.asarray(streamed).reshape(seen.shape), 1e-5)


@pytest.mark.parametrize("option", ["streaming", "states"])
def test_a_fixed_number_of_steps_is_none_of_a_file_with_states(option: str, tmp_path: Path) -> None:
    x = rekur.Input((9, 4), name="x")
    model = rekur.Model(x, layers.LSTM(3, return_sequences=True)(tcn(x)), seed=3)
    report = rekur.onnx.export(model, tmp_path / "m.onnx", **{option: True})
    time = [] if option == "streaming" else ["time"]
    assert report.inputs[0][2] == ("batch", *time, 4) and report.outputs[0][2] == ("batch", *time, 3)


@ids
def test_an_exporter_that_forgets_the_steps_before_is_found(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _carry.behind_last

    def forgetful(graph: Any, state: Any, value: str, label: str, lengths: Any, steps: int) -> str:
        joined = whole(graph, state, value, label, lengths, steps)
        nodes = [node for node in graph.nodes if node.outputs[0] == state.output]
        nodes[0].inputs[0] = f"{label}/before"  # they stay as they were
        return joined

    monkeypatch.setattr("rekur.onnx._windows.behind_last", forgetful)
    x = rekur.Input((None, 4))
    with pytest.raises(VerificationError, match="disagree"):
        rekur.onnx.export(rekur.Model(x, tcn(x)), tmp_path / "m.onnx", **{option: True})
    assert not list(tmp_path.iterdir())


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    (conv(padding="same"), 1, 'steps that are still to come count; padding="causal" leaves them out'),
    (conv(padding="valid"), 1, "its first step needs 3 of its input"),
    (conv(strides=2), 1, "it has 2 steps of its input for one of its output, and so none at the others"),
    ({"type": "Conv1DTranspose", "filters": 2, "kernel_size": 2}, 1, "a step of its input is several of its output"),
    ({"type": "MaxPooling1D", "pool_size": 3, "strides": 2}, 1, "it has 3 steps of its input for one of its output"),
    ({"type": "GlobalAveragePooling1D"}, 1, "it is of all steps"),
    ({"type": "UpSampling1D", "size": 2}, 1, "its output has other steps than its input"),
    ({"type": "Concatenate", "axis": 1}, 2, "it joins its inputs along time"),
    ({"type": "Dot", "axes": [1, 1]}, 2, "its products are of all time steps"),
    ({"type": "Attention", "sliding_window": 2}, 2, "steps that are still to come count; use_causal_mask=True"),
    ({"type": "Attention", **CAUSAL}, 2, "all steps so far count, and a state has a size"),
    (
        {"type": "Attention", **CAUSAL, "sliding_window": 2, "return_attention_scores": True},
        2,
        "return_attention_scores gives",
    ),
    ({"type": "Flip"}, 1, "it reads the sequence from its end"),
]


@ids
@pytest.mark.parametrize(("layer", "count", "message"), REFUSED, ids=lambda v: v if isinstance(v, str) else "")
def test_what_a_step_is_not_enough_for(
    layer: dict[str, Any], count: int, message: str, option: str, tmp_path: Path
) -> None:
    subject = sequence_subject(
        {"type": "GRU", "name": "g", "inputs": ["x"], "units": 3, "return_sequences": True},
        {**layer, "name": "front", "inputs": ["g"] * count},
        outputs=["front"],
    )
    with pytest.raises(ExportError, match=f"{option}=True: {layer['type']} 'front': {message}"):
        rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
    assert not list(tmp_path.iterdir())


@ids
def test_attention_to_another_sequence_is_refused(option: str, tmp_path: Path) -> None:
    layer = {"type": "Attention", **CAUSAL, "sliding_window": 3, "name": "y", "inputs": ["x", "z"]}
    subject = Subject([input_layer("x", None, 3), input_layer("z", None, 3), layer], ["y"])
    with pytest.raises(ExportError, match=f"{option}=True: Attention 'y': its values are another sequence"):
        rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
