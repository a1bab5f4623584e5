"""One-step files and files with states: looped over a sequence, or fed in pieces, they are the sequence model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import reference
import rekur.onnx
from harness import assert_close, floats, input_layer
from onnx_subject import Subject, sequence_subject
from rekur import _core
from rekur._spec import ATTENTION, POSITIONS, RECURRENT
from rekur.onnx import ExportError, State, States
from test_layer_contract import EXAMPLES, Example
from test_random_graphs import RandomGraph

BATCH, TIME = 3, 7
CELLS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {"type": "SimpleRNN"},
    "LSTM": {"type": "LSTM"},
    "GRU": {"type": "GRU"},
    "GRU before": {"type": "GRU", "reset_after": False},
}


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def loop(
    path: Path,
    steps: Mapping[str, np.ndarray],
    states: Mapping[str, np.ndarray],
    fixed: Mapping[str, np.ndarray] | None = None,
) -> list[dict[str, np.ndarray]]:
    """What a live user does, by the names of the contract: `<layer>_h_in` gets what `<layer>_h_out` gave."""
    run = session(path)
    names = [output.name for output in run.get_outputs()]
    now, result = dict(states), []
    for t in range(next(iter(steps.values())).shape[1]):
        feed = {**{name: x[:, t] for name, x in steps.items()}, **(fixed or {}), **now}
        outputs = dict(zip(names, run.run(names, feed), strict=True))
        now = {name: outputs[re.sub(r"_in(_*)$", r"_out\1", name)] for name in now}
        result.append(outputs)
    return result


def zeros(path: Path, batch: int) -> dict[str, np.ndarray]:
    states = rekur.onnx.metadata(path).states
    assert states is not None
    return {state.input: np.zeros((batch, state.units), np.float32) for state in states.states}


def assert_loop_matches_reference(
    path: Path,
    subject: Subject,
    steps: Mapping[str, np.ndarray],
    fixed: Mapping[str, np.ndarray] | None = None,
    states: Mapping[str, np.ndarray] | None = None,
    model_inputs: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Every step's outputs are what the float64 equations give for the sequence up to there."""
    batch, time, *_ = next(iter(steps.values())).shape
    seen = loop(path, steps, states or zeros(path, batch), fixed)
    others = {**(fixed or {}), **(model_inputs or {})}
    for t in range(1, time + 1):
        inputs = [steps[n][:, :t] if n in steps else others[n] for n in subject.spec["inputs"]]
        expected = reference.run(subject.spec, subject.weights, inputs)
        for (name, y), e in zip(seen[t - 1].items(), expected, strict=False):  # states come after
            last = e[:, -1] if e.ndim == y.ndim + 1 else e
            assert_close(y, last, 1e-5, f"{name} after {t} steps")


def stack(cell: str, *, sequences: bool, **options: Any) -> Subject:
    """Two recurrent layers with something between them, and a head."""
    core = {**CELLS[cell], **options}
    return sequence_subject(
        {**core, "name": "a", "inputs": ["x"], "units": 5, "return_sequences": True},
        {"type": "Dropout", "name": "drop", "inputs": ["a"], "rate": 0.3},
        {"type": "Dense", "name": "mid", "inputs": ["drop"], "units": 4, "activation": "tanh"},
        {**core, "name": "b", "inputs": ["mid"], "units": 6, "return_sequences": sequences, "return_state": True},
        {"type": "Dense", "name": "y", "inputs": ["b"], "units": 2, "activation": "softmax"},
        outputs=["y", "b", "b:1"],
    )


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("cell", CELLS)
def test_looped_is_the_sequence_model(cell: str, sequences: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = stack(cell, sequences=sequences)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert report.verification is not None and report.verification.cases == 20
    assert report.verification.mode == "one step at a time" and "one step at a time" in str(report)
    assert_loop_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, TIME, 3)})
    assert "Transpose" not in report.nodes


@pytest.mark.parametrize("cell", CELLS)
def test_options_of_the_cells(cell: str, tmp_path: Path, rng: np.random.Generator) -> None:
    options: dict[str, Any] = {"activation": {"name": "leaky_relu", "alpha": 0.3}, "use_bias": False}
    if cell != "SimpleRNN":
        options["recurrent_activation"] = "hard_sigmoid"
    subject = stack(cell, sequences=True, **options)
    rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert_loop_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, TIME, 3)})


def test_the_contract_of_names_and_shapes(tmp_path: Path) -> None:
    subject = stack("LSTM", sequences=False)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    states = [(f"{layer}_{s}", units) for layer, units in (("a", 5), ("b", 6)) for s in "hc"]
    assert report.inputs == [
        ("x", "float32", ("batch", 3)),
        *((f"{name}_in", "float32", ("batch", units)) for name, units in states),
    ]
    assert report.outputs == [
        ("y", "float32", ("batch", 2)),
        ("b", "float32", ("batch", 6)),
        ("b:1", "float32", ("batch", 6)),
        *((f"{name}_out", "float32", ("batch", units)) for name, units in states),
    ]
    described = rekur.onnx.metadata(tmp_path / "m.onnx")
    assert described.states == States(
        True, ("x",), (), tuple(State(n[0], f"{n}_in", f"{n}_out", units) for n, units in states)
    )


def allowed(spec: Mapping[str, Any], *, streaming: bool, lengths: bool = False) -> bool:
    """Whether a model can be stepped at all, told from the rules and not from the code."""
    layers = {layer["name"]: layer for layer in spec["layers"]}
    sources = [layers[name] for name in spec["inputs"]]
    if not any(len(i["shape"]) >= (1 if i["dtype"] == "int32" else 2) for i in sources):
        return False
    live, waiting, held = set(), list(spec["outputs"]), 0
    while waiting:
        name = waiting.pop().partition(":")[0]
        if name in live:
            continue
        live.add(name)
        layer = layers[name]
        waiting += layer.get("inputs", [])
        if layer["type"] in ("Bidirectional", "Flip") or layer.get("reverse"):
            return False
        if layer["type"] in ("ConvLSTM1D", "ConvLSTM2D"):
            held += 1
            # a last output, and a state, has its positions where a step has its row
            if streaming and (not layer.get("return_sequences") or layer.get("return_state")):
                return False
        held += layer["type"] in POSITIONS or (layer["type"] == "Conv1D" and layer.get("padding") == "causal")
        if layer["type"] == "Loop":
            return False
        if layer["type"] in ATTENTION:  # of those in the examples none has what it takes
            return False
        if layer["type"] == "Step" and (layer["index"] != -1 or lengths):
            return False
        if layer["type"] in RECURRENT:
            held += 1
            if any(layers[text.partition(":")[0]]["type"] != "Input" for text in layer["inputs"][1:]):
                return False
    return streaming or held > 0


# Layers along time: some of their forms go step by step, the others are refused by name.
OVER_TIME = {
    "Conv1D", "DepthwiseConv1D", "SeparableConv1D", "Conv1DTranspose", "MaxPooling1D", "AveragePooling1D",
    "GlobalMaxPooling1D", "GlobalAveragePooling1D", "UpSampling1D", "Cropping1D", "ZeroPadding1D", "Padding1D",
    "Flatten", "Reshape", "Permute", "RepeatVector", "Concatenate", "PReLU", "Dot", "Masking", "Embedding",
    "Parameter", "CRF",
}  # fmt: skip


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "states"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.type}-{len(e.inputs)}")
def test_every_layer_type(example: Example, streaming: bool, tmp_path: Path) -> None:
    spec = example.spec()
    subject = Subject(spec["layers"], spec["outputs"])
    options = {"streaming": True} if streaming else {"states": True}
    if streaming and example.type in OVER_TIME:
        try:
            rekur.onnx.export(subject, tmp_path / "m.onnx", **options)
        except ExportError as error:
            assert any(
                part in str(error) for part in ("subject", "time steps", "no input of the model has a time axis")
            )
            assert not list(tmp_path.iterdir())
        return
    if allowed(subject.spec, streaming=streaming):
        report = rekur.onnx.export(subject, tmp_path / "m.onnx", **options)
        assert report.verification is not None and report.verification.mode
    else:
        with pytest.raises(ExportError, match="streaming=True" if streaming else "states=True"):
            rekur.onnx.export(subject, tmp_path / "m.onnx", **options)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("streaming", [True, False], ids=["streaming", "states"])
def test_random_graphs(streaming: bool, tmp_path: Path) -> None:
    """Tensors read twice, initial states from inputs, several time axes, ids, rows: verified, or refused by rule."""
    done = 0
    for seed in range(120):
        graph = RandomGraph(seed, layers=4, batch=2, steps=4, sizes=(2, 3), rate=0.2)
        subject = Subject(graph.spec["layers"], graph.spec["outputs"], seed)
        lengths = not streaming and seed % 2 == 0
        options = {"streaming": True} if streaming else {"states": True, "lengths": lengths}
        try:
            rekur.onnx.export(subject, tmp_path / "m.onnx", tolerance=1e-4, **options)
            done += 1
        except ExportError:
            assert not allowed(subject.spec, streaming=streaming, lengths=lengths), seed
    assert done >= 8


def test_ids_and_joins_between_the_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    """An embedding of ids beside floats, joined; a row given at every step; rows merged with last outputs."""
    subject = Subject(
        [
            input_layer("ids", None, dtype="int32"),
            input_layer("x", None, 3),
            input_layer("site", 4),
            {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 11, "output_dim": 4},
            {"type": "Concatenate", "name": "both", "inputs": ["e", "x"], "axis": 2},
            {"type": "GRU", "name": "g", "inputs": ["both"], "units": 4, "return_sequences": True},
            {"type": "Add", "name": "skip", "inputs": ["g", "e"]},
            {"type": "Activation", "name": "act", "inputs": ["skip"], "activation": "elu"},
            {"type": "LSTM", "name": "l", "inputs": ["act"], "units": 4},
            {"type": "Multiply", "name": "gated", "inputs": ["l", "site"]},
            {"type": "Dense", "name": "y", "inputs": ["gated"], "units": 2},
        ],
        ["y", "act"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert report.inputs[:3] == [
        ("ids", "int32", ("batch",)),
        ("x", "float32", ("batch", 3)),
        ("site", "float32", ("batch", 4)),
    ]
    ids = rng.integers(0, 11, (BATCH, TIME)).astype(np.int32)
    steps = {"ids": ids, "x": floats(rng, BATCH, TIME, 3)}
    assert_loop_matches_reference(tmp_path / "m.onnx", subject, steps, {"site": floats(rng, BATCH, 4)})


@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_an_initial_state_that_is_an_input(cell: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """It gives way to the state input, which gets its value at the first step; one that is also read stays."""
    letters = ["h", "c"] if cell == "LSTM" else ["h"]
    subject = Subject(
        [
            input_layer("x", None, 3),
            *(input_layer(f"s_{letter}", 4) for letter in letters),
            {**CELLS[cell], "name": "r", "inputs": ["x", *(f"s_{k}" for k in letters)], "units": 4},
            {"type": "Add", "name": "y", "inputs": ["r", "s_h"]},
        ],
        ["y"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert [name for name, _, _ in report.inputs] == ["x", "s_h", *(f"r_{k}_in" for k in letters)]
    start = {f"s_{k}": floats(rng, BATCH, 4) for k in letters}
    assert_loop_matches_reference(
        tmp_path / "m.onnx",
        subject,
        {"x": floats(rng, BATCH, TIME, 3)},
        fixed={"s_h": start["s_h"]},
        states={f"r_{k}_in": start[f"s_{k}"] for k in letters},
        model_inputs=start,
    )
    described = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert described is not None and [s.initial for s in described.states] == [f"s_{k}" for k in letters]


@pytest.mark.parametrize("option", ["streaming", "states"])
def test_an_lstm_that_is_given_h_alone(option: str, tmp_path: Path) -> None:
    layer = {"type": "LSTM", "name": "l", "inputs": ["x", "h"], "units": 4}
    subject = Subject([input_layer("x", None, 3), input_layer("h", 4), layer], ["l"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
    assert [name for name, _, _ in report.inputs] == ["x", "l_h_in", "l_c_in"]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None and [state.initial for state in states.states] == ["h", None]


def test_a_fixed_number_of_steps(tmp_path: Path) -> None:
    """The engine only runs 10 steps; a step has no such number, and pieces are free."""
    layer = {"type": "LSTM", "name": "l", "inputs": ["x"], "units": 4, "return_sequences": True}
    subject = Subject([input_layer("x", 10, 2), layer], ["l"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert report.inputs[0] == ("x", "float32", ("batch", 2))
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", states=True)
    assert report.inputs[0] == ("x", "float32", ("batch", "time", 2))
    assert report.outputs[0] == ("l", "float32", ("batch", "time", 4))


def test_names_that_layers_already_have(tmp_path: Path) -> None:
    layers = [
        {"type": "GRU", "name": "g", "inputs": ["x"], "units": 3, "return_sequences": True},
        {"type": "Dense", "name": "g_h_in", "inputs": ["g"], "units": 2},
        {"type": "LSTM", "name": "g_h_out", "inputs": ["g_h_in"], "units": 2},
    ]
    subject = sequence_subject(*layers, outputs=["g_h_out", "g", "g_h_out"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    inputs, outputs = ([name for name, _, _ in side] for side in (report.inputs, report.outputs))
    assert inputs == ["x", "g_h_in_", "g_h_out_h_in", "g_h_out_c_in"]
    assert outputs == ["g_h_out", "g", "g_h_out__", "g_h_out_", "g_h_out_h_out", "g_h_out_c_out"]
    states = rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert states is not None and states.states[0] == State("g", "g_h_in_", "g_h_out_", 3)
    assert states.timed_outputs == ("g",)


def test_layers_nobody_reads_have_no_state(tmp_path: Path) -> None:
    subject = sequence_subject(
        {"type": "LSTM", "name": "used", "inputs": ["x"], "units": 4},
        {"type": "Bidirectional", "name": "idle", "inputs": ["x"], "layer": {"type": "GRU", "units": 4}},
        outputs=["used"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert [name for name, _, _ in report.inputs] == ["x", "used_h_in", "used_c_in"]


def test_without_a_recurrent_layer_a_step_has_no_state(tmp_path: Path) -> None:
    dense = {"type": "Dense", "name": "y", "inputs": ["x"], "units": 2}
    subject = sequence_subject(dense, outputs=["y"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True)
    assert report.outputs == [("y", "float32", ("batch", 2))]


def test_export_is_reproducible(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        rekur.onnx.export(stack("GRU", sequences=True), tmp_path / name, streaming=True)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


RNN = {"type": "GRU", "name": "r", "inputs": ["x"], "units": 3}
X, ROW = input_layer("x", None, 3), input_layer("row", 3)


@pytest.mark.parametrize(
    ("layers", "outputs", "message"),
    [
        (
            [X, {"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": {"type": "GRU", "units": 4}}],
            ["b"],
            r"Bidirectional 'b': {}: it reads the sequence from its end",
        ),
        ([X, {**RNN, "reverse": True}], ["r"], r"GRU 'r': {}: it reads the sequence from its end"),
        ([ROW, {"type": "Dense", "name": "y", "inputs": ["row"], "units": 2}], ["y"], "{}: no input .* time axis"),
        (
            [
                X,
                ROW,
                {"type": "Dense", "name": "d", "inputs": ["row"], "units": 3},
                {**RNN, "inputs": ["x", "d"]},
            ],
            ["r"],
            r"GRU 'r': {}: its initial state is computed by Dense 'd'",
        ),
        (
            [X, {**RNN, "name": "coder"}, {**RNN, "inputs": ["x", "coder"], "name": "decoder"}],
            ["decoder"],
            r"GRU 'decoder': {}: its initial state is computed by GRU 'coder'",
        ),
    ],
)
@pytest.mark.parametrize("option", ["streaming", "states"])
def test_what_has_no_step(
    layers: Sequence[dict[str, Any]], outputs: list[str], message: str, option: str, tmp_path: Path
) -> None:
    subject = Subject(layers, outputs)
    with pytest.raises(ExportError, match=message.format(f"{option}=True")):
        rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
    assert not list(tmp_path.iterdir())


def test_options_that_contradict(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="lengths=True: a one-step model has no lengths"):
        rekur.onnx.export(stack("GRU", sequences=False), tmp_path / "m.onnx", streaming=True, lengths=True)
    dense = {"type": "Dense", "name": "y", "inputs": ["x"], "units": 2}
    with pytest.raises(ExportError, match="states=True: the model has no layer with a state"):
        rekur.onnx.export(sequence_subject(dense, outputs=["y"]), tmp_path / "m.onnx", states=True)
    two = Subject([input_layer("a", 4, 2), input_layer("b", 5, 2), *_two_layers()], ["ra", "rb"])
    with pytest.raises(ExportError, match=r"all inputs step together, but the model's have \[4, 5\] time steps"):
        rekur.onnx.export(two, tmp_path / "m.onnx", streaming=True)
    assert not list(tmp_path.iterdir())
    rekur.onnx.export(two, tmp_path / "m.onnx", states=True)


def _two_layers() -> list[dict[str, Any]]:
    return [{**RNN, "name": f"r{k}", "inputs": [k]} for k in "ab"]


@pytest.mark.skipif("Step" not in _core.layer_types(), reason="the engine has no layer Step")
def test_step(tmp_path: Path, rng: np.random.Generator) -> None:
    """The last step is the one at hand; another cannot be told."""

    def subject(index: int) -> Subject:
        return sequence_subject(
            {"type": "GRU", "name": "g", "inputs": ["x"], "units": 4, "return_sequences": True},
            {"type": "Step", "name": "s", "inputs": ["g"], "index": index},
            {"type": "Dense", "name": "y", "inputs": ["s"], "units": 2},
            outputs=["y"],
        )

    rekur.onnx.export(subject(-1), tmp_path / "m.onnx", streaming=True)
    assert_loop_matches_reference(tmp_path / "m.onnx", subject(-1), {"x": floats(rng, BATCH, TIME, 3)})
    rekur.onnx.export(subject(-1), tmp_path / "m.onnx", states=True)
    for option in ("streaming", "states"):
        with pytest.raises(ExportError, match=r"Step 's': step 0 cannot be told"):
            rekur.onnx.export(subject(0), tmp_path / "m.onnx", **{option: True})
    with pytest.raises(ExportError, match=r"Step 's': step -1 of rows with lengths cannot be told"):
        rekur.onnx.export(subject(-1), tmp_path / "m.onnx", states=True, lengths=True)


def test_a_python_model_streams(tmp_path: Path, rng: np.random.Generator) -> None:
    """The user's way, as docs/onnx.md shows it."""
    import rekur
    from rekur import layers

    model = rekur.Sequential(
        [layers.LSTM(8, input_shape=(None, 2), return_sequences=True), layers.GRU(6), layers.Dense(3)]
    )
    report = rekur.onnx.export(model, tmp_path / "m.onnx", streaming=True)
    assert [name for name, _, _ in report.inputs[1:]] == ["lstm_h_in", "lstm_c_in", "gru_h_in"]
    x = floats(rng, 1, 20, 2)
    last = loop(tmp_path / "m.onnx", {report.inputs[0][0]: x}, zeros(tmp_path / "m.onnx", 1))[-1]
    assert_close(last[report.outputs[0][0]], model.predict(x), 1e-5)
    model.save(tmp_path / "m.safetensors")
    assert rekur.onnx.verify(tmp_path / "m.safetensors", tmp_path / "m.onnx").mode == "one step at a time"
