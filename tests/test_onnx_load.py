"""ONNX import: what rekur.onnx.export wrote comes back as a model that computes the same and trains on."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
from harness import assert_close, floats, input_layer
from onnx_graphs import need
from onnx_subject import RECURRENT_ACTIVATIONS, Subject, sequence_subject
from rekur.onnx._recurrent import CELLS
from test_onnx_export import CELL_OPTIONS, recurrent_subject

pytestmark = pytest.mark.usefixtures("by_nodes")

BATCH, TIME = 4, 9
LENGTHS = np.array([0, 9, 4, 1], np.int32)


def outputs_of(model: rekur.Model, inputs: Mapping[str, np.ndarray], lengths: Any = None) -> list[np.ndarray]:
    y = model.predict(dict(inputs), lengths=lengths)
    return y if isinstance(y, list) else [y]


def check_round_trip(
    subject: Subject, path: Path, inputs: Mapping[str, np.ndarray], lengths: np.ndarray | None = None
) -> rekur.Model:
    """Same names, same outputs; then once more through a file of its own."""
    rekur.onnx.export(subject, path, lengths=lengths is not None, verify=False)
    model = rekur.onnx.load(path)
    assert model.input_names == subject.spec["inputs"]
    rows = None if lengths is None else {name: lengths for name in subject.spec["inputs"] if inputs[name].ndim == 3}
    expected = subject.predict([inputs[name] for name in subject.spec["inputs"]], lengths=rows)
    for y, e, name in zip(outputs_of(model, inputs, rows), expected, subject.spec["outputs"], strict=True):
        assert_close(y, e, 1e-6, name)
    again = path.with_name("again.onnx")
    rekur.onnx.export(model, again, lengths=lengths is not None, verify=False)
    for y, e in zip(outputs_of(rekur.onnx.load(again), inputs, rows), expected, strict=True):
        assert_close(y, e, 1e-6)
    return model


def train_a_step(model: rekur.Model, inputs: Mapping[str, np.ndarray]) -> None:
    """Every parameter moves, and stays finite."""
    before = model.named_weights()
    y = [np.zeros_like(output) for output in outputs_of(model, inputs)]
    model.compile(optimizer=rekur.optimizers.SGD(0.1), loss="mse")
    model.fit(dict(inputs), y if len(y) > 1 else y[0], epochs=1, verbose=0)
    for name, after in model.named_weights().items():
        assert np.isfinite(after).all() and (after != before[name]).any(), name


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("initial", [False, True], ids=["zero", "initial"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_recurrent(
    cell: str,
    direction: str,
    sequences: bool,
    initial: bool,
    lengths: np.ndarray | None,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    if direction == "ave":
        need({"type": "Rescaling", "scale": 0.5, "offset": 0.0})
    subject = recurrent_subject(cell, direction, sequences=sequences, initial=initial)
    inputs = {name: floats(rng, BATCH, 5) for name in subject.spec["inputs"]} | {"x": floats(rng, BATCH, TIME, 3)}
    model = check_round_trip(subject, tmp_path / "m.onnx", inputs, lengths)
    if sequences:
        assert model.output_names == subject.spec["outputs"]
        (layer,) = [layer for layer in model.spec["layers"] if layer["name"] == "rnn"]
        (given,) = [layer for layer in subject.spec["layers"] if layer["name"] == "rnn"]
        assert {key: layer[key] for key in given if key != "layer"} == {k: v for k, v in given.items() if k != "layer"}
    if lengths is None:
        train_a_step(model, inputs)


@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_without_bias(cell: str, tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject(cell, "concat", sequences=True, initial=False, use_bias=False)
    model = check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, BATCH, TIME, 3)})
    assert not any(name.endswith("bias") for name in model.named_weights())


@pytest.mark.parametrize("activation", RECURRENT_ACTIVATIONS, ids=str)
@pytest.mark.parametrize("cell", CELL_OPTIONS)
def test_recurrent_activations(cell: str, activation: Any, tmp_path: Path, rng: np.random.Generator) -> None:
    options = {"activation": activation}
    if CELLS[CELL_OPTIONS[cell]["type"]].op != "RNN":
        options["recurrent_activation"] = {"name": "hard_sigmoid", "alpha": 0.25, "beta": 0.45}
    for direction in ("reverse", "concat"):
        subject = recurrent_subject(cell, direction, sequences=True, initial=False, **options)
        model = check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, BATCH, 3, 3)})
        (layer,) = [layer for layer in model.spec["layers"] if layer["name"] == "rnn"]
        core = layer.get("layer", layer)
        same = {"affine": "linear"}.get(activation, activation) if isinstance(activation, str) else activation
        assert {key: core[key] for key in options} == {**options, "activation": same}


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((cell, {"clip": 0.4}) for cell in CELL_OPTIONS),
    ("LSTM", {"peepholes": True}),
    ("LSTM", {"coupled_gates": True}),
    ("LSTM", {"coupled_gates": True, "peepholes": True, "clip": 0.7}),
    ("LSTM", {"output_activation": "softsign"}),
    ("LSTM", {"activation": {"name": "scaled_tanh", "alpha": 0.9, "beta": 1.1}, "output_activation": "tanh"}),
]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize(("cell", "options"), OPTIONS, ids=str)
def test_recurrent_options(
    cell: str, options: dict[str, Any], lengths: np.ndarray | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    need({**CELL_OPTIONS[cell], "units": 5, **options})
    for direction in ("reverse", "concat"):
        subject = recurrent_subject(cell, direction, sequences=True, initial=False, **options)
        inputs = {"x": floats(rng, BATCH, TIME, 3)}
        model = check_round_trip(subject, tmp_path / "m.onnx", inputs, lengths)
        (layer,) = [layer for layer in model.spec["layers"] if layer["name"] == "rnn"]
        core = layer.get("layer", layer)
        assert {key: core[key] for key in options} == options
    if lengths is None:
        train_a_step(model, inputs)


AROUND: list[dict[str, Any]] = [
    {"type": "LayerNormalization", "epsilon": 1e-4},
    {"type": "LayerNormalization", "center": False},
    {"type": "LayerNormalization", "scale": False, "center": False},
    {"type": "Affine"},
    {"type": "Rescaling", "scale": 0.25, "offset": [0.5, -1.0, 2.0, 0.0, 1.0]},
    {"type": "Rescaling", "scale": [0.5, -1.0, 2.0, 0.1, 1.5]},
    {"type": "Rescaling", "offset": -0.75},
    {"type": "Slice", "start": 1, "stop": 4},
    {"type": "Step", "index": 2},
    {"type": "Step", "index": 0},
    {"type": "Step", "index": -1},
    {"type": "Step", "index": -3},
]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "lengths"])
@pytest.mark.parametrize("layer", AROUND, ids=str)
def test_layers_around(
    layer: dict[str, Any], lengths: np.ndarray | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    need(layer, (None, None, 5))
    gru = {"type": "GRU", "name": "g", "inputs": ["x"], "units": 5, "return_sequences": True}
    subject = sequence_subject(gru, {**layer, "name": "y", "inputs": ["g"]}, outputs=["g", "y"])
    model = check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, BATCH, TIME, 3)}, lengths)
    assert model.output_names == ["g", "y"]
    (loaded,) = [entry for entry in model.spec["layers"] if entry["name"] == "y"]
    if layer["type"] == "Rescaling":
        assert {key: loaded[key] for key in layer} == layer


@pytest.mark.parametrize("index", [2, -1])
def test_another_step_than_the_lengths_speak_of(index: int, tmp_path: Path) -> None:
    need({"type": "Step", "index": index}, (None, None, 3))
    gru = {"type": "GRU", "name": "g", "inputs": ["x"], "units": 5, "return_sequences": True}
    subject = sequence_subject(gru, {"type": "Step", "index": index, "name": "y", "inputs": ["g"]}, outputs=["y"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True, verify=False)
    rekur.onnx.load(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    (compared,) = [n for n in proto.graph.node if n.op_type in ("Greater", "Add") and "lengths" in n.input[0]]
    compared.input[1] = "other"
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([index + (1 if index > 0 else -1)]), "other"))
    if index < 0:  # the step that is taken stays what it was
        (gathered,) = [n for n in proto.graph.node if n.op_type == "GatherND"]
        gathered.op_type, gathered.input[1] = "Gather", "last"
        del gathered.attribute[:]
        gathered.attribute.append(onnx.helper.make_attribute("axis", 1))
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(index), "last"))
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(rekur.onnx.LoadError, match=r"Where node .*long enough of anything but that step"):
        rekur.onnx.load(tmp_path / "m.onnx")


def test_layers_of_one_unit(tmp_path: Path, rng: np.random.Generator) -> None:
    """Where directions and features are hard to tell apart."""
    core = {"type": "GRU", "units": 1, "return_sequences": True, "return_state": True}
    subject = sequence_subject(
        {"type": "Bidirectional", "name": "b", "inputs": ["x"], "layer": core, "merge_mode": "concat"},
        {"type": "Dense", "name": "d", "inputs": ["b"], "units": 1},
        {"type": "LSTM", "name": "r", "inputs": ["d"], "units": 1},
        {"type": "Concatenate", "name": "y", "inputs": ["r", "b:1"]},
        outputs=["b", "y"],
        features=1,
    )
    check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, BATCH, TIME, 1)}, LENGTHS)


@pytest.mark.parametrize("kind", ["Subtract", "Divide"])
def test_differences_and_quotients(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    need({"type": kind}, (None, 3), (None, 3))
    layers = [input_layer("a", None, 3), input_layer("b", None, 3), {"type": kind, "name": "y", "inputs": ["a", "b"]}]
    inputs = {"a": floats(rng, 4, 5, 3), "b": 1 + np.abs(floats(rng, 4, 5, 3))}
    check_round_trip(Subject(layers, ["y"]), tmp_path / "m.onnx", inputs)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("activation", ["softmax", *RECURRENT_ACTIVATIONS], ids=str)
@pytest.mark.parametrize("kind", ["Dense", "Activation"])
def test_dense_and_activation(kind: str, activation: Any, rank: int, tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": kind, "name": "y", "inputs": ["x"], "activation": activation}
    if kind == "Dense":
        layer["units"] = 6
    shape, data = ([4], floats(rng, 5, 4)) if rank == 2 else ([None, 4], floats(rng, 5, 8, 4))
    subject = Subject([input_layer("x", *shape), layer], ["y"])
    model = check_round_trip(subject, tmp_path / "m.onnx", {"x": 3 * data})
    if activation not in ("linear", "affine", "scaled_tanh"):  # one layer again, with its activation
        assert [(entry["type"], entry["name"]) for entry in model.spec["layers"]] == [("Input", "x"), (kind, "y")]
        assert model.spec["layers"][1]["activation"] == activation


@pytest.mark.parametrize("shape", [(), (None,), (6,)], ids=str)
def test_embedding(shape: tuple[int | None, ...], tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 11, "output_dim": 4}
    subject = Subject([input_layer("ids", *shape, dtype="int32"), layer], ["e"])
    ids = rng.integers(0, 11, (5, *(8 if size is None else size for size in shape))).astype(np.int32)
    model = check_round_trip(subject, tmp_path / "m.onnx", {"ids": ids})
    assert model.input_shape == (None, *shape)


def test_a_fixed_time_axis_stays_fixed(tmp_path: Path, rng: np.random.Generator) -> None:
    layer = {"type": "GRU", "name": "g", "inputs": ["x"], "units": 4}
    model = check_round_trip(
        Subject([input_layer("x", 6, 3), layer], ["g"]), tmp_path / "m.onnx", {"x": floats(rng, 2, 6, 3)}
    )
    assert model.input_shape == (None, 6, 3)


@pytest.mark.parametrize("kind", ["Concatenate", "Add", "Multiply"])
@pytest.mark.parametrize("count", [2, 3])
def test_joins_of_both_layouts(kind: str, count: int, tmp_path: Path, rng: np.random.Generator) -> None:
    tail = [f"r{k}" for k in range(1, count)]
    subject = sequence_subject(
        *({"type": "LSTM", "name": r, "inputs": ["x"], "units": 3, "return_sequences": True} for r in tail),
        {"type": kind, "name": "j", "inputs": ["x", *tail]},
        {"type": "GRU", "name": "g", "inputs": ["j"], "units": 4, "return_state": True},
        {"type": kind, "name": "k", "inputs": ["g", "g:1"]},
        outputs=["j", "k"],
    )
    model = check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, BATCH, TIME, 3)}, LENGTHS)
    assert model.output_names == ["j", "k"]


def test_a_stack_of_everything(tmp_path: Path, rng: np.random.Generator) -> None:
    """Embedding, stacked recurrent layers of every direction, states handed on, several outputs, an unused input."""
    core = {"type": "LSTM", "units": 4, "return_sequences": True, "return_state": True}
    turned = {"reverse": True, "return_sequences": True}
    last = {"type": "GRU", "units": 4}
    subject = Subject(
        [
            input_layer("ids", None, dtype="int32"),
            input_layer("side", 4),
            input_layer("unused", 2),
            {"type": "Embedding", "name": "words", "inputs": ["ids"], "input_dim": 11, "output_dim": 5},
            {"type": "Bidirectional", "name": "first", "inputs": ["words"], "layer": core, "merge_mode": "concat"},
            {"type": "GRU", "name": "second", "inputs": ["first", "first:1"], "units": 4, **turned},
            {"type": "Bidirectional", "name": "third", "inputs": ["second"], "layer": last, "merge_mode": "sum"},
            {"type": "Add", "name": "both", "inputs": ["third", "side", "first:4"]},
            {"type": "Dense", "name": "head", "inputs": ["both"], "units": 3, "activation": "softmax"},
            {"type": "Dense", "name": "tags", "inputs": ["second"], "units": 2, "activation": "tanh"},
        ],
        ["head", "tags", "first:2"],
    )
    inputs = {
        "ids": rng.integers(0, 11, (BATCH, TIME)).astype(np.int32),
        "side": floats(rng, BATCH, 4),
        "unused": floats(rng, BATCH, 2),
    }
    model = check_round_trip(subject, tmp_path / "m.onnx", inputs)
    assert model.output_names == ["head", "tags", "first:2"]
    names = {layer["name"]: layer["type"] for layer in model.spec["layers"]}
    assert {
        "words": "Embedding",
        "first": "Bidirectional",
        "second": "GRU",
        "third": "Bidirectional",
    }.items() <= names.items()
    train_a_step(model, inputs)


def test_outputs_that_are_inputs_or_listed_twice(tmp_path: Path, rng: np.random.Generator) -> None:
    dense = {"type": "Dense", "name": "d", "inputs": ["x"], "units": 3}
    drop = {"type": "Dropout", "name": "drop", "inputs": ["x"], "rate": 0.5}
    subject = Subject([input_layer("x", 3), dense, drop], ["d", "drop", "x", "d"])
    check_round_trip(subject, tmp_path / "m.onnx", {"x": floats(rng, 5, 3)})


def test_lengths_of_two_time_axes(tmp_path: Path, rng: np.random.Generator) -> None:
    layers = [
        input_layer("a", None, 3),
        input_layer("b", None, 2),
        {"type": "LSTM", "name": "left", "inputs": ["a"], "units": 4},
        {"type": "GRU", "name": "right", "inputs": ["b"], "units": 4},
        {"type": "Add", "name": "sum", "inputs": ["left", "right"]},
    ]
    subject = Subject(layers, ["sum"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True, verify=False)
    model = rekur.onnx.load(tmp_path / "m.onnx")
    inputs = {"a": floats(rng, BATCH, TIME, 3), "b": floats(rng, BATCH, 5, 2)}
    rows = {"a": LENGTHS, "b": np.array([5, 0, 2, 3], np.int32)}
    (expected,) = subject.predict(list(inputs.values()), lengths=rows)
    assert_close(outputs_of(model, inputs, rows)[0], expected, 1e-6)


def test_loaded_tuned_exported_and_verified(tmp_path: Path, rng: np.random.Generator) -> None:
    """The whole way of a model that was trained elsewhere."""
    subject = sequence_subject(
        {"type": "LSTM", "name": "lstm", "inputs": ["x"], "units": 6},
        {"type": "Dense", "name": "y", "inputs": ["lstm"], "units": 2},
        outputs=["y"],
    )
    rekur.onnx.export(subject, tmp_path / "theirs.onnx", verify=False)
    model = rekur.onnx.load(tmp_path / "theirs.onnx", seed=3)
    x, y = floats(rng, 32, TIME, 3), floats(rng, 32, 2)
    model.compile(optimizer="adam", loss="mse")
    history = model.fit(x, y, epochs=5, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    report = rekur.onnx.export(model, tmp_path / "ours.onnx")
    assert report.verification is not None and report.verification.largest_difference < 1e-5
    model.save(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(rekur.load(tmp_path / "m.safetensors").predict(x), model.predict(x))


def test_weights_land_where_they_came_from(tmp_path: Path) -> None:
    subject = recurrent_subject("LSTM", "concat", sequences=True, initial=False)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    loaded = rekur.onnx.load(tmp_path / "m.onnx").named_weights()
    assert loaded.keys() == subject.weights.keys()
    for name, array in subject.weights.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_file_without_names(tmp_path: Path, rng: np.random.Generator) -> None:
    subject = recurrent_subject("GRU", "forward", sequences=True, initial=False)
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    proto = onnx.load(tmp_path / "m.onnx")
    for node in proto.graph.node:
        node.ClearField("name")
    proto.graph.input[0].name = "serving/x:0"
    for node in proto.graph.node:
        node.input[:] = ["serving/x:0" if name == "x" else name for name in node.input]
    onnx.save(proto, tmp_path / "m.onnx")
    model = rekur.onnx.load(tmp_path / "m.onnx")
    assert model.input_names == ["serving_x_0"] and model.output_names == ["rnn", "rnn:1"]
    x = floats(rng, 2, 5, 3)
    for y, e in zip(model.predict(x), subject.predict([x]), strict=True):
        assert_close(y, e, 1e-6)


def test_streaming_models(tmp_path: Path, rng: np.random.Generator) -> None:
    """One step at a time: looped over a sequence, the loaded model gives what the sequence model gives."""
    if "streaming" not in inspect.signature(rekur.onnx.export).parameters:
        pytest.skip("export has no streaming models")
    subject = sequence_subject(
        {"type": "Dense", "name": "wide", "inputs": ["x"], "units": 5, "activation": "relu"},
        {"type": "GRU", "name": "first", "inputs": ["wide"], "units": 4, "return_sequences": True},
        {"type": "Dense", "name": "between", "inputs": ["first"], "units": 3},
        {"type": "LSTM", "name": "second", "inputs": ["between"], "units": 4, "return_sequences": True},
        {"type": "Dense", "name": "y", "inputs": ["second"], "units": 2},
        outputs=["y"],
    )
    rekur.onnx.export(subject, tmp_path / "m.onnx", streaming=True, verify=False)
    model = rekur.onnx.load(tmp_path / "m.onnx")
    x = floats(rng, BATCH, TIME, 3)
    (expected,) = subject.predict([x])
    states = {name: np.zeros((BATCH, 4), np.float32) for name in model.input_names if name != "x"}
    assert set(states) == {"first_h_in", "second_h_in", "second_c_in"}
    for t in range(TIME):
        made = dict(zip(model.output_names, model.predict({"x": x[:, t : t + 1], **states}), strict=True))
        assert_close(made["y"].reshape(BATCH, 2), expected[:, t], 1e-5)
        states = {name: made[name.replace("_in", "_out")] for name in states}
