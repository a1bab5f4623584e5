"""ONNX export: every layer, direction and option, against the engine (verify) and against the float64 reference."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import RECURRENT_ACTIVATIONS, Subject, assert_file_matches_reference, sequence_subject
from rekur.onnx._activations import FORMS
from rekur.onnx._layers import LAYERS
from rekur.onnx._recurrent import CELLS

CELL_OPTIONS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {"type": "SimpleRNN"},
    "LSTM": {"type": "LSTM"},
    "GRU": {"type": "GRU"},
    "GRU before": {"type": "GRU", "reset_after": False},
}
# shapes that verify does not use
BATCH, TIME = 4, 9
LENGTHS = np.array([0, 9, 4, 1], np.int32)


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def attributes(path: Path, op: str) -> dict[str, Any]:
    (node,) = [node for node in onnx.load(path).graph.node if node.op_type == op]
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def recurrent_subject(
    cell: str, direction: str, *, sequences: bool, initial: bool, states: bool = True, **options: Any
) -> Subject:
    core = {**CELL_OPTIONS[cell], "units": 5, "return_sequences": sequences, "return_state": states, **options}
    per_direction = 2 if core["type"] == "LSTM" else 1
    both = direction not in ("forward", "reverse")
    count = per_direction * (2 if both else 1)
    given = [f"s{k}" for k in range(count)] if initial else []
    if both:
        layer = {"type": "Bidirectional", "name": "rnn", "layer": core, "merge_mode": direction}
    else:
        layer = {**core, "name": "rnn", "reverse": direction == "reverse"}
    outputs = ["rnn", *(f"rnn:{k}" for k in range(1, count + 1) if states)]
    layers = [input_layer("x", None, 3), *(input_layer(s, 5) for s in given), {**layer, "inputs": ["x", *given]}]
    return Subject(layers, outputs)


def check_recurrent(subject: Subject, path: Path, lengths: bool, rng: np.random.Generator) -> None:
    report = rekur.onnx.export(subject, path, lengths=lengths)
    assert report.verification is not None and report.verification.cases >= 20
    for batch, time in ((BATCH, TIME), (BATCH, 1)):
        inputs = {s: floats(rng, batch, 5) for s in subject.spec["inputs"][1:]}
        inputs = {"x": floats(rng, batch, time, 3), **inputs}
        if lengths:
            rows = np.minimum(LENGTHS, time)
            assert_file_matches_reference(path, subject, inputs, {"lengths": rows}, {"x": "lengths"})
        else:
            assert_file_matches_reference(path, subject, inputs)


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("initial", [False, True], ids=["zero", "initial"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "concat"])
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_recurrent(
    cell: str, direction: str, sequences: bool, initial: bool, lengths: bool, tmp_path: Path, rng: np.random.Generator
) -> None:
    subject = recurrent_subject(cell, direction, sequences=sequences, initial=initial)
    check_recurrent(subject, tmp_path / "m.onnx", lengths, rng)


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
def test_an_lstm_that_is_given_h_alone(lengths: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": "LSTM", "name": "l", "inputs": ["x", "h"], "units": 5, "return_state": True}
    subject = Subject([input_layer("x", None, 3), input_layer("h", 5), layer], ["l", "l:1", "l:2"])
    check_recurrent(subject, tmp_path / "m.onnx", lengths, rng)


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("merge", ["sum", "mul", "ave"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_merge_modes(cell: str, merge: str, sequences: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject(cell, merge, sequences=sequences, initial=True)
    check_recurrent(subject, tmp_path / "m.onnx", True, rng)


@pytest.mark.parametrize("direction", ["forward", "concat"])
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_without_bias(cell: str, direction: str, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject(cell, direction, sequences=True, initial=False, use_bias=False)
    check_recurrent(subject, tmp_path / "m.onnx", False, rng)
    assert not any(i.name.endswith("/B") for i in onnx.load(tmp_path / "m.onnx").graph.initializer)


def test_every_layer_type_has_a_row() -> None:
    from rekur import _core

    assert set(LAYERS) | {"Input", "AddLoss"} == set(_core.layer_types())  # which no output needs


@pytest.mark.parametrize("activation", RECURRENT_ACTIVATIONS, ids=str)
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_recurrent_activations(cell: str, activation: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    options = {"activation": activation}
    if activation == "softplus":
        options["clip"] = 60.0  # onnxruntime's own, inside these nodes, is infinite from 88.7 on; c has no clip
        options |= {"output_activation": "tanh"} if cell == "LSTM" else {}
    if CELLS[CELL_OPTIONS[cell]["type"]].op != "RNN":
        options["recurrent_activation"] = {"name": "hard_sigmoid", "alpha": 0.25, "beta": 0.45}
    for direction in ("forward", "concat"):
        subject = recurrent_subject(cell, direction, sequences=True, initial=False, **options)
        check_recurrent(subject, tmp_path / "m.onnx", False, rng)


@pytest.mark.parametrize("gate", list(FORMS))
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "GRU before"])
def test_gate_activations(cell: str, gate: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Gates without a bound make a network diverge: here only short sequences are compared."""
    subject = recurrent_subject(cell, "forward", sequences=True, initial=False, recurrent_activation=gate)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=gate in ("tanh", "sigmoid", "softsign", "hard_sigmoid"))
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, 3, 3)})


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("activation", ["softmax", *RECURRENT_ACTIVATIONS], ids=str)
@pytest.mark.parametrize("kind", ["Dense", "Activation"])
def test_dense_and_activation(kind: str, activation: Any, rank: int, tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": kind, "name": "y", "inputs": ["x"], "activation": activation}
    if kind == "Dense":
        layer["units"] = 6
    shape, data = ([4], floats(rng, 5, 4)) if rank == 2 else ([None, 4], floats(rng, 5, 8, 4))
    subject = Subject([input_layer("x", *shape), layer], ["y"])
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": 3 * data})


def test_dense_without_bias(tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": "Dense", "name": "y", "inputs": ["x"], "units": 2, "use_bias": False}
    subject = Subject([input_layer("x", 4), layer], ["y"])
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert ops(tmp_path / "m.onnx") == ["MatMul"]
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, 5, 4)})


@pytest.mark.parametrize("shape", [(), (None,), (6,)], ids=str)
def test_embedding(shape: tuple[int | None, ...], tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 11, "output_dim": 4}
    subject = Subject([input_layer("ids", *shape, dtype="int32"), layer], ["e"])
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    ids = rng.integers(0, 11, (5, *(8 if size is None else size for size in shape))).astype(np.int32)
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"ids": ids})


def test_embedding_into_recurrent_with_lengths(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = Subject(
        [
            input_layer("ids", None, dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 11, "output_dim": 4},
            {"type": "GRU", "name": "g", "inputs": ["e"], "units": 6},
        ],
        ["g"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    ids = rng.integers(0, 11, (BATCH, TIME)).astype(np.int32)
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"ids": ids}, {"lengths": LENGTHS}, {"ids": "lengths"})


@pytest.mark.parametrize("kind", ["Concatenate", "Add", "Multiply"])
@pytest.mark.parametrize("count", [2, 3])
def test_joins_of_both_layouts(kind: str, count: int, tmp_path: Path, rng: np.random.Generator) -> None:
    """An input (batch-major) with recurrent outputs (time-major), the joined sequence and a joined (B, F) both read."""
    tail = [f"r{k}" for k in range(1, count)]
    subject = sequence_subject(
        *({"type": "LSTM", "name": r, "inputs": ["x"], "units": 3, "return_sequences": True} for r in tail),
        {"type": kind, "name": "j", "inputs": ["x", *tail]},
        {"type": "GRU", "name": "g", "inputs": ["j"], "units": 4, "return_state": True},
        {"type": kind, "name": "k", "inputs": ["g", "g:1"]},
        outputs=["j", "k"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert_file_matches_reference(
        tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, TIME, 3)}, {"lengths": LENGTHS}, {"x": "lengths"}
    )


def test_dropout_and_linear_emit_nothing(tmp_path: Path) -> None:
    subject = sequence_subject(
        {"type": "LSTM", "name": "a", "inputs": ["x"], "units": 3, "return_sequences": True},
        {"type": "Dropout", "name": "d", "inputs": ["a"], "rate": 0.5},
        {"type": "Activation", "name": "l", "inputs": ["d"], "activation": "linear"},
        {"type": "LSTM", "name": "b", "inputs": ["l"], "units": 3},
        outputs=["b"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert ops(tmp_path / "m.onnx") == ["Transpose", "LSTM", "Squeeze", "LSTM", "Squeeze"]


def test_outputs_that_are_other_values(tmp_path: Path, rng: np.random.Generator) -> None:
    """A Dropout, an input, and one layer twice as outputs of the model."""
    subject = sequence_subject(
        {"type": "SimpleRNN", "name": "r", "inputs": ["x"], "units": 3, "return_sequences": True},
        {"type": "Dropout", "name": "d", "inputs": ["r"], "rate": 0.5},
        outputs=["d", "x", "r", "r"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert [name for name, _, _ in report.outputs] == ["d", "x_", "r", "r_"]
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, TIME, 3)})


def test_textbook_forecaster(tmp_path: Path, rng: np.random.Generator) -> None:
    """Snippet (b) of the issue, fixed time steps: the size is in the file and verify keeps to it."""
    layers: list[dict[str, Any]] = [input_layer("x", 10, 2)]
    below = "x"
    for k, sequences in enumerate((True, True, False)):
        lstm = {"type": "LSTM", "name": f"lstm_{k}", "inputs": [below], "units": 50, "return_sequences": sequences}
        layers += [lstm, {"type": "Dropout", "name": f"drop_{k}", "inputs": [f"lstm_{k}"], "rate": 0.2}]
        below = f"drop_{k}"
    subject = Subject([*layers, {"type": "Dense", "name": "y", "inputs": [below], "units": 2}], ["y"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert report.inputs == [("x", "float32", ("batch", 10, 2))]
    assert report.nodes["Transpose"] == 1 and report.nodes["LSTM"] == 3
    assert report.verification is not None and report.verification.times == {}
    assert report.largest_difference is not None and report.largest_difference <= 1e-5
    assert_file_matches_reference(tmp_path / "m.onnx", subject, {"x": floats(rng, BATCH, 10, 2)})


def test_two_time_axes(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = Subject(
        [
            input_layer("a", None, 2),
            input_layer("b", None, 3),
            {"type": "LSTM", "name": "la", "inputs": ["a"], "units": 4},
            {"type": "GRU", "name": "gb", "inputs": ["b", "la"], "units": 4, "return_sequences": True},
        ],
        ["gb", "la"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert report.inputs == [
        ("a", "float32", ("batch", "a_time", 2)),
        ("b", "float32", ("batch", "b_time", 3)),
        ("a_lengths", "int32", ("batch",)),
        ("b_lengths", "int32", ("batch",)),
    ]
    assert report.outputs == [("gb", "float32", ("batch", "b_time", 4)), ("la", "float32", ("batch", 4))]
    assert_file_matches_reference(
        tmp_path / "m.onnx",
        subject,
        {"a": floats(rng, BATCH, TIME, 2), "b": floats(rng, BATCH, 3, 3)},
        {"a_lengths": LENGTHS, "b_lengths": np.array([3, 0, 1, 2], np.int32)},
        {"a": "a_lengths", "b": "b_lengths"},
    )


def test_joined_inputs_share_their_time_axis(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = Subject(
        [
            input_layer("a", None, 2),
            input_layer("b", None, 3),
            {"type": "Concatenate", "name": "ab", "inputs": ["a", "b"]},
            {"type": "LSTM", "name": "y", "inputs": ["ab"], "units": 4},
        ],
        ["y"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert [shape for _, _, shape in report.inputs] == [("batch", "time", 2), ("batch", "time", 3), ("batch",)]
    inputs = {"a": floats(rng, BATCH, TIME, 2), "b": floats(rng, BATCH, TIME, 3)}
    owners = {"a": "lengths", "b": "lengths"}
    assert_file_matches_reference(tmp_path / "m.onnx", subject, inputs, {"lengths": LENGTHS}, owners)


def test_lengths_only_where_a_recurrent_layer_reads_them(tmp_path: Path) -> None:
    subject = Subject(
        [
            input_layer("a", None, 2),
            input_layer("b", None, 3),
            {"type": "LSTM", "name": "la", "inputs": ["a"], "units": 4},
            {"type": "Dense", "name": "db", "inputs": ["b"], "units": 4},
        ],
        ["la", "db"],
    )
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert [name for name, _, _ in report.inputs] == ["a", "b", "lengths"]


def test_a_layer_called_lengths(tmp_path: Path) -> None:
    subject = sequence_subject({"type": "LSTM", "name": "lengths", "inputs": ["x"], "units": 4}, outputs=["lengths"])
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert [name for name, _, _ in report.inputs] == ["x", "lengths_"]


def test_unused_outputs_are_pruned(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "forward", sequences=True, initial=False)
    subject.spec["outputs"] = ["rnn:2"]
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    (node,) = [n for n in onnx.load(tmp_path / "m.onnx").graph.node if n.op_type == "LSTM"]
    assert list(node.output) == ["", "", "rnn/Y_c"]
    subject.spec["outputs"] = ["rnn"]
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    (node,) = [n for n in onnx.load(tmp_path / "m.onnx").graph.node if n.op_type == "LSTM"]
    assert list(node.output) == ["rnn/Y"]


@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_states_of_empty_rows_do_not_rest_on_the_runtime(cell: str, tmp_path: Path) -> None:
    """onnxruntime 1.17's RNN returns whatever it finds for a row of length 0: every final state is patched."""
    subject = recurrent_subject(cell, "forward", sequences=False, initial=False)
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    assert ops(tmp_path / "m.onnx").count("Where") == (2 if cell == "LSTM" else 1)


def test_layers_nobody_reads_are_left_out(tmp_path: Path) -> None:
    subject = sequence_subject(
        {"type": "LSTM", "name": "used", "inputs": ["x"], "units": 4},
        {"type": "GRU", "name": "idle", "inputs": ["x"], "units": 4},
        outputs=["used"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    assert "GRU" not in ops(tmp_path / "m.onnx")
    assert not any("idle" in i.name for i in onnx.load(tmp_path / "m.onnx").graph.initializer)


@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_default_attributes_are_left_out(cell: str, tmp_path: Path) -> None:
    """clip, activations, alpha, beta make onnxruntime's CUDA kernels give way to the CPU's."""
    subject = recurrent_subject(cell, "forward", sequences=True, initial=False)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    op = CELLS[CELL_OPTIONS[cell]["type"]].op
    expected: dict[str, Any] = {"direction": b"forward", "hidden_size": 5}
    if op == "GRU":
        expected["linear_before_reset"] = int(cell == "GRU")
    assert attributes(tmp_path / "m.onnx", op) == expected


def test_activation_parameters_are_written_out(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "concat", sequences=True, initial=False, activation="leaky_relu")
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    written = attributes(tmp_path / "m.onnx", "LSTM")
    assert written["activations"] == [b"Sigmoid", b"LeakyRelu", b"LeakyRelu"] * 2
    assert written["activation_alpha"] == pytest.approx([0.2] * 4)
    assert "activation_beta" not in written


@pytest.mark.parametrize("opset", range(17, 22))
def test_opsets(opset: int, tmp_path: Path) -> None:
    since = {17: (1, 12), 18: (1, 14), 19: (1, 16), 20: (1, 17), 21: (1, 18)}[opset]
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < since:
        pytest.skip(f"onnxruntime {onnxruntime.__version__} does not read opset {opset}, or has not all its kernels")
    subject = recurrent_subject("GRU", "ave", sequences=True, initial=True)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", opset=opset, lengths=True)
    model = onnx.load(tmp_path / "m.onnx")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert model.ir_version == 8 and report.opset == opset


def test_file_is_self_contained_and_described(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "forward", sequences=False, initial=False)
    report = rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True, metadata={"author": "me"})
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.onnx"]
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert all(i.raw_data and not i.external_data for i in model.graph.initializer)
    assert model.producer_name == "rekur" and model.graph.name == "model"
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["author"] == "me" and '"LSTM"' in metadata["rekur.spec"] and "lengths" in metadata["rekur.lengths"]
    assert report.file_size == (tmp_path / "m.onnx").stat().st_size
    assert report.parameters == sum(w.size for w in subject.weights.values())
    text = str(report)
    for part in ("opset 17", "IR 8", "(batch, time, 3)", "lengths", "22 cases", "CPUExecutionProvider", "rnn:2"):
        assert part in text, part


def test_export_is_reproducible(tmp_path: Path) -> None:
    subject = recurrent_subject("GRU", "concat", sequences=True, initial=True)
    rekur.onnx.export(subject, tmp_path / "a.onnx", metadata={"b": "2", "a": "1"})
    rekur.onnx.export(subject, tmp_path / "b.onnx", metadata={"b": "2", "a": "1"})
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_verify_an_existing_file(tmp_path: Path) -> None:
    subject = recurrent_subject("GRU", "reverse", sequences=True, initial=False)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False, lengths=True)
    report = rekur.onnx.verify(subject, tmp_path / "m.onnx", providers=["CPUExecutionProvider"], seed=3)
    assert report.cases == 22 and report.providers == ["CPUExecutionProvider"]
    assert report.times == {"time": (1, 2, 5, 13)} and report.batches == (1, 2, 3, 7)
    assert 0 < report.largest_difference <= 1e-5


def test_diverging_network_is_judged_fairly(tmp_path: Path) -> None:
    """A linear recurrence that grows 3000-fold a step: huge outputs, overflow in long sequences, and still verified."""
    subject = recurrent_subject("SimpleRNN", "forward", sequences=True, initial=False, activation="linear")
    subject.weights["rnn/recurrent_kernel"] = (3000 * np.eye(5)).astype(np.float32)
    subject.engine.weights = subject.weights
    report = rekur.onnx.export(subject, tmp_path / "m.onnx").verification
    assert report is not None and 0 < report.outputs[0].judged < report.cases
    assert "not judged" in str(report)


def test_saved_model_and_its_file_agree(tmp_path: Path) -> None:
    """The user's way: a Keras-like model, exported; later verified from the two files alone."""
    import rekur
    from rekur import layers

    model = rekur.Sequential([layers.LSTM(8, input_shape=(None, 2), return_sequences=True), layers.GRU(6)])
    model.add(layers.Dense(3, activation="softmax"))
    model.save(tmp_path / "m.safetensors")
    report = rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True)
    assert report.outputs == [(model.spec["outputs"][0], "float32", ("batch", 3))]
    again = rekur.onnx.verify(tmp_path / "m.safetensors", tmp_path / "m.onnx")
    assert again.largest_difference == report.largest_difference <= 1e-5


def test_model_of_several_inputs_and_outputs(tmp_path: Path) -> None:
    import rekur
    from rekur import layers

    a, b = rekur.Input((None, 2), name="a"), rekur.Input((None,), dtype="int32", name="b")
    words = layers.Embedding(20, 4)(b)
    left = layers.Bidirectional(layers.LSTM(5))(a)
    right = layers.GRU(10, reset_after=False)(words)
    both = layers.Add(name="both")([left, right])
    model = rekur.Model([a, b], [both, layers.Dense(2, name="y")(both)])
    report = rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True)
    assert [name for name, _, _ in report.inputs] == ["a", "b", "a_lengths", "b_lengths"]
    assert [name for name, _, _ in report.outputs] == ["both", "y"]


def test_import_is_light() -> None:
    code = "import sys, rekur.onnx; assert not {'onnx', 'onnxruntime'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
