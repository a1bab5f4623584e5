"""Exported models in onnxruntime-web (WASM, one thread) under Node, against the engine."""

from __future__ import annotations

import inspect
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import rekur.onnx
from harness import assert_close, floats, input_layer
from onnx_subject import Subject
from web_tools import node, ort_web

SCRIPT = Path(__file__).parent / "web" / "run.mjs"
BATCH, TIME = 3, 11
LENGTHS = np.array([0, 11, 4], np.int32)

Arrays = dict[str, np.ndarray]


def lstm_with_lengths() -> Subject:
    lstm = {"type": "LSTM", "units": 24, "return_sequences": True}
    layers = [
        input_layer("x", None, 5),
        {**lstm, "name": "lower", "inputs": ["x"]},
        {**lstm, "name": "upper", "inputs": ["lower"], "return_sequences": False, "return_state": True},
        {"type": "Dense", "name": "class", "inputs": ["upper"], "units": 4, "activation": "softmax"},
    ]
    return Subject(layers, ["class", "upper:2"])


def bidirectional_gru() -> Subject:
    gru = {"type": "GRU", "units": 16, "return_sequences": True}
    layers = [
        input_layer("x", None, 5),
        {"type": "Bidirectional", "name": "after", "inputs": ["x"], "layer": gru, "merge_mode": "concat"},
        {"type": "Bidirectional", "name": "before", "inputs": ["after"], "layer": {**gru, "reset_after": False}},
        {"type": "SimpleRNN", "name": "rnn", "inputs": ["before"], "units": 8, "activation": "relu", "reverse": True},
    ]
    return Subject(layers, ["before", "rnn"])


def words() -> Subject:
    layers = [
        input_layer("ids", None, dtype="int32"),
        {"type": "Embedding", "name": "embedding", "inputs": ["ids"], "input_dim": 20, "output_dim": 6},
        {"type": "GRU", "name": "gru", "inputs": ["embedding"], "units": 12, "return_sequences": True},
        {"type": "Dense", "name": "tag", "inputs": ["gru"], "units": 3, "activation": "softmax"},
    ]
    return Subject(layers, ["tag"])


def live() -> Subject:
    """Every cell, and a way past them."""
    sequences = {"return_sequences": True, "units": 10}
    layers = [
        input_layer("x", None, 5),
        {"type": "LSTM", "name": "lstm", "inputs": ["x"], **sequences},
        {"type": "GRU", "name": "gru", "inputs": ["lstm"], **sequences},
        {"type": "SimpleRNN", "name": "rnn", "inputs": ["gru"], **sequences},
        {"type": "Concatenate", "name": "all", "inputs": ["rnn", "x"]},
        {"type": "Dense", "name": "y", "inputs": ["all"], "units": 2},
    ]
    return Subject(layers, ["y", "gru"])


def live_from_states() -> Subject:
    layers = [
        input_layer("x", None, 5),
        input_layer("h", 7),
        input_layer("c", 7),
        {"type": "LSTM", "name": "lstm", "inputs": ["x", "h", "c"], "units": 7, "return_sequences": True},
    ]
    return Subject(layers, ["lstm"])


def live_along_time() -> Subject:
    """A position, convolution, attention over a window, a layer whose state is a matrix."""
    layers = [
        input_layer("x", None, 5),
        {"type": "SinePositionEncoding", "name": "at", "inputs": ["x"]},
        {"type": "Add", "name": "both", "inputs": ["x", "at"]},
        {
            "type": "Conv1D", "name": "conv", "inputs": ["both"], "filters": 6, "kernel_size": 3, "padding": "causal",
            "dilation_rate": 2, "groups": 1,
        },
        {"type": "RotaryEmbedding", "name": "turned", "inputs": ["conv"]},
        {
            "type": "MultiHeadAttention", "name": "heads", "inputs": ["turned", "turned"], "num_heads": 2, "key_dim": 3,
            "use_causal_mask": True, "sliding_window": 3,
        },
        {
            "type": "MLSTM", "name": "matrix", "inputs": ["heads"], "num_heads": 1, "key_dim": 2,
            "return_sequences": True,
        },
        {"type": "Dense", "name": "y", "inputs": ["matrix"], "units": 2},
    ]  # fmt: skip
    return Subject(layers, ["y"])


class Case(NamedTuple):
    subject: Callable[[], Subject]
    ids: bool = False
    states: Mapping[str, str] = {}  # input of the model: the state input that a streaming file has in its place
    options: Mapping[str, Any] = {}

    @property
    def streaming(self) -> bool:
        return self.options.get("streaming", False)


CASES = {
    "LSTM with lengths": Case(lstm_with_lengths, options={"lengths": True}),
    "bidirectional GRU": Case(bidirectional_gru),
    "embedding": Case(words, ids=True),
    "streaming": Case(live, options={"streaming": True}),
    "streaming from states": Case(
        live_from_states, states={"h": "lstm_h_in", "c": "lstm_c_in"}, options={"streaming": True}
    ),
    "streaming along time": Case(live_along_time, options={"streaming": True}),
    "streaming embedding": Case(words, ids=True, options={"streaming": True}),
}
CAN_STREAM = "streaming" in inspect.signature(rekur.onnx.export).parameters


class Result(NamedTuple):
    expected: Arrays  # the engine's
    runs: list[Arrays]  # onnxruntime-web's; a streaming model is run twice


def as_json(array: np.ndarray) -> dict[str, Any]:
    return {"dims": list(array.shape), "type": str(array.dtype), "data": array.reshape(-1).tolist()}


def as_array(tensor: Mapping[str, Any]) -> np.ndarray:
    return np.array(tensor["data"], np.float64).reshape(tensor["dims"])


def prepare(case: Case, path: Path, rng: np.random.Generator) -> tuple[Arrays, dict[str, Any]]:
    """Exports; returns what the engine says and what the script is asked."""
    subject = case.subject()
    rekur.onnx.export(subject, path, verify=False, **case.options)
    (name, *initial), outputs = subject.spec["inputs"], subject.spec["outputs"]
    x = rng.integers(0, 20, (BATCH, TIME)).astype(np.int32) if case.ids else floats(rng, BATCH, TIME, 5)
    states = [floats(rng, BATCH, 7) for _ in initial]
    rows = LENGTHS if case.options.get("lengths") else None
    y = subject.predict([x, *states], lengths=None if rows is None else {name: rows})
    inputs = {name: np.moveaxis(x, 1, 0) if case.streaming else x}
    if rows is not None:
        inputs["lengths"] = rows
    request = {
        "model": str(path),
        "inputs": {key: as_json(array) for key, array in inputs.items()},
        "outputs": outputs,
        "streaming": case.streaming,
        "states": {case.states[key]: as_json(array) for key, array in zip(initial, states, strict=True)},
    }
    return dict(zip(outputs, y, strict=True)), request


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """All cases in one Node process: most of its time is the start."""
    program, folder, ort = node(), tmp_path_factory.mktemp("web"), ort_web()
    names = [name for name, case in CASES.items() if CAN_STREAM or not case.streaming]
    rng = np.random.default_rng(20240521)
    prepared = [prepare(CASES[name], folder / f"{k}.onnx", rng) for k, name in enumerate(names)]
    request, answer = folder / "cases.json", folder / "results.json"
    request.write_text(json.dumps({"ort": str(ort), "cases": [asked for _, asked in prepared]}))
    command = [program, str(SCRIPT), str(request), str(answer)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    answered = json.loads(answer.read_text())
    assert len(answered["cases"]) == len(names)
    print(f"onnxruntime-web {answered['version']}")
    return {
        name: Result(expected, [{key: as_array(t) for key, t in run.items()} for run in runs])
        for name, (expected, _), runs in zip(names, prepared, answered["cases"], strict=True)
    }


@pytest.mark.parametrize("name", CASES)
def test_same_as_the_engine(name: str, results: dict[str, Result]) -> None:
    if name not in results:
        pytest.skip("this rekur.onnx.export cannot write streaming models")
    expected, runs = results[name]
    assert len(runs) == (2 if CASES[name].streaming else 1)
    for run in runs:  # a stream's second run, after its reset, is the first again
        for output, y in expected.items():
            actual = np.moveaxis(run[output], 0, 1) if CASES[name].streaming else run[output]
            assert_close(actual, y, 1e-5, f"{name}, {output}")
            print(f"{name}, {output}: {np.abs(actual - y).max():.2g}")


def run_node(source: str) -> subprocess.CompletedProcess[str]:
    module = json.dumps((SCRIPT.parents[2] / "examples" / "browser" / "stream.js").as_uri())
    text = f"import {{ Stream }} from {module};\n{source}"
    command = [node(), "--input-type=module", "-e", text]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


FAKE = """
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const names = { outputNames: ["y", "gru_h_out"] };
const session = (...inputs) => ({ inputNames: inputs.map((i) => i.name), inputMetadata: inputs, ...names });
const x = { name: "x", type: "float32", shape: ["batch", 2] };
const h = { name: "gru_h_in", type: "float32", shape: ["batch", 4] };
"""


def test_a_model_without_states_is_no_stream() -> None:
    done = run_node(FAKE + "new Stream({ Tensor }, session(x));")
    assert done.returncode != 0
    assert "not a streaming model: no input <layer>_h_in among x" in done.stderr


@pytest.mark.parametrize(("values", "got"), [("{ x: [1, 2, 3] }", "3"), ("{}", "none")])
def test_a_step_of_another_size_is_refused(values: str, got: str) -> None:
    done = run_node(FAKE + f"await new Stream({{ Tensor }}, session(x, h), 3).step({values});")
    assert done.returncode != 0
    assert f"input x: expected 6 numbers (3 × 2), got {got}" in done.stderr
