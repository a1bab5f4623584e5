"""Files with states: a sequence fed in pieces is the whole; verification finds a state that is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import reference
import rekur.onnx
from harness import assert_close, floats
from onnx_subject import sequence_subject
from rekur.onnx import State, States, VerificationError, _states
from test_onnx_stream import CELLS, TIME, session, stack, zeros

pytestmark = pytest.mark.usefixtures("by_nodes")


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("cell", CELLS)
def test_piecewise_is_the_whole(
    cell: str, sequences: bool, lengths: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    subject = stack(cell, sequences=sequences)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", states=True, lengths=lengths)
    assert report.verification is not None and report.verification.mode == "in up to 3 pieces"
    x, rows = floats(rng, 4, TIME, 3), np.array([0, 7, 2, 5], np.int32)
    run = session(tmp_path / "m.onnx")
    names = [output.name for output in run.get_outputs()]
    now, parts = zeros(tmp_path / "m.onnx", 4), []
    assert len(now) == (4 if cell == "LSTM" else 2)
    for begin, end in ((0, 1), (1, 4), (4, 7)):
        feed = {"x": x[:, begin:end], **now}
        if lengths:
            feed["lengths"] = np.clip(rows - begin, 0, end - begin).astype(np.int32)
        outputs = dict(zip(names, run.run(names, feed), strict=True))
        now = {name: outputs[name[:-3] + "_out"] for name in now}
        parts.append(outputs)
    expected = reference.run(subject.spec, subject.weights, [x], [rows if lengths else None])
    for name, e in zip(names, expected, strict=False):
        whole = np.concatenate([part[name] for part in parts], axis=1) if e.ndim == 3 else parts[-1][name]
        assert_close(whole, e, 1e-5, name)


def test_states_of_a_sequence_model_by_name(tmp_path: Path) -> None:
    subject = stack("GRU", sequences=False)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", states=True, lengths=True)
    assert [name for name, _, _ in report.inputs] == ["x", "lengths", "a_h_in", "b_h_in"]
    assert [name for name, _, _ in report.outputs] == ["y", "b", "b:1", "a_h_out", "b_h_out"]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None and not states.streaming and states.timed_inputs == ("x",)


# ------------------------------------------------------------------------------------------------ verification finds it


def _swapped(graph: onnx.GraphProto) -> None:
    """The outputs of h and c change names."""
    for output in graph.output[-2:]:
        output.name = {"l_h_out": "l_c_out", "l_c_out": "l_h_out"}[output.name]
    ends = [*graph.output[-2:]]
    del graph.output[-2:]
    graph.output.extend(ends[::-1])
    for node in graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = {"l_h_out": "l_c_out", "l_c_out": "l_h_out"}.get(name, name)
        for index, name in enumerate(node.input):
            node.input[index] = {"l_h_out": "l_c_out"}.get(name, name)


def _forgotten(graph: onnx.GraphProto) -> None:
    """The node does not read its state."""
    (node,) = [node for node in graph.node if node.op_type == "LSTM"]
    del node.input[5:]


@pytest.mark.parametrize("fault", [_swapped, _forgotten])
@pytest.mark.parametrize("option", ["streaming", "states"])
def test_a_state_that_is_lost_is_found(option: str, fault: Any, tmp_path: Path) -> None:
    layer = {"type": "LSTM", "name": "l", "inputs": ["x"], "units": 4}
    subject = sequence_subject(layer, outputs=["l"])
    path = tmp_path / "m.onnx"
    rekur.onnx.export(subject, path, **{option: True})
    again = rekur.onnx.verify(subject, path, seed=5)
    assert again.mode and again.largest_difference <= 1e-5
    proto = onnx.load(path)
    fault(proto.graph)
    onnx.save(proto, path)
    with pytest.raises(VerificationError, match="disagree"):
        rekur.onnx.verify(subject, path)


def test_an_exporter_that_forgets_the_state_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rekur.onnx import _recurrent

    monkeypatch.setattr(_recurrent, "_held", lambda graph, name, cell, states: [])
    with pytest.raises(VerificationError):
        rekur.onnx.export(stack("GRU", sequences=False), tmp_path / "m.onnx", streaming=True)
    assert not list(tmp_path.iterdir())


def _rewritten(path: Path, key: str, text: str | None) -> None:
    proto = onnx.load(path)
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    entries.pop(key)
    onnx.helper.set_model_props(proto, entries if text is None else {**entries, key: text})
    onnx.save(proto, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "expected a sequence, the ONNX model has"),
        ("{", "metadata 'rekur.states' is not valid"),
        ("[]", "metadata 'rekur.states' is not valid"),
        ('{"streaming": true, "timed_inputs": ["zz"], "timed_outputs": [], "states": []}', "metadata|does not know"),
        ('{"streaming": true, "timed_inputs": ["x"], "timed_outputs": [], "states": [{}]}', "is not valid"),
        (
            '{"streaming": true, "timed_inputs": ["x"], "timed_outputs": [], "states": '
            '[{"layer": "l", "input": "l_h_in", "output": "l_h_out", "units": "4"}]}',
            "is not valid",
        ),
    ],
)
def test_metadata_of_states_that_is_wrong(text: str | None, message: str, tmp_path: Path) -> None:
    subject = sequence_subject({"type": "GRU", "name": "l", "inputs": ["x"], "units": 4}, outputs=["l"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    _rewritten(tmp_path / "m.onnx", _states.STATES_KEY, text)
    with pytest.raises(VerificationError, match=message):
        rekur.onnx.verify(subject, tmp_path / "m.onnx")


def test_states_to_json_and_back() -> None:
    states = States(True, ("x",), ("y",), (State("l", "l_h_in", "l_h_out", 4, "s"),))
    assert States.from_json(states.to_json()) == states
    assert json.loads(states.to_json())["states"][0]["initial"] == "s"
