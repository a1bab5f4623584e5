"""RNN layers in ONNX: every cell of the library and random ones as Scan, in pieces, one step at a time, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur
from onnx_subject import Subject, assert_file_matches_reference
from random_cells import cell_inputs, cell_model, library, random_cell
from rekur import cells, layers
from rekur.onnx import ExportError, LoadError

pytestmark = pytest.mark.usefixtures("by_nodes")

LIBRARY = library()
MODES = ("forward", "reverse", "concat", "ave")


def subject(cell: dict[str, Any], mode: str, seed: int, **options: Any) -> Subject:
    spec = cell_model(cell, mode, 3, 5, **options)
    return Subject(spec["layers"], spec["outputs"], seed)


def check(given: Subject, path: Path, rng: np.random.Generator, *, lengths: bool, opset: int = 17) -> None:
    """Exported, verified, against float64; loaded again it is the same program, to the bit."""
    rekur.onnx.export(given, path, lengths=lengths, opset=opset)
    inputs = dict(zip(given.spec["inputs"], cell_inputs(rng, given.spec, 4, 9), strict=True))
    steps = {"lengths": np.array([0, 9, 4, 1], np.int32)} if lengths else None
    owners = {name: "lengths" for name, x in inputs.items() if x.ndim == 3} if lengths else None
    assert_file_matches_reference(path, given, inputs, steps, owners)
    model = rekur.onnx.load(path)
    kinds = [layer["type"] for layer in model.spec["layers"] if layer["type"] not in ("Input", "Activation")]
    assert kinds == [given.spec["layers"][-1]["type"]]
    (ours,) = (layer for layer in model.spec["layers"] if layer["type"] == kinds[0])
    core, before = ours.get("layer", ours), given.spec["layers"][-1]
    assert core["cell"]["equations"] == before.get("layer", before)["cell"]["equations"]
    rows = {name: steps["lengths"] for name in owners} if steps and owners else None
    x = [inputs[name] for name in model.input_names]
    outputs = model.predict(x if len(x) > 1 else x[0], lengths=rows)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    for got, expected in zip(outputs, given.predict(list(inputs.values()), lengths=rows), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_as_scan_and_back(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    seed = list(LIBRARY).index(name)
    count = 16 if request.config.getoption("--cell-cases") else 1
    for k in range(seed, seed + count):
        options = {"initial": k % 2 == 0, "sequences": k % 3 > 0, "use_bias": k % 5 > 0}
        given = subject(LIBRARY[name], MODES[k % 4], k, **options)
        check(given, tmp_path / f"{k}.onnx", np.random.default_rng(k), lengths=k % 4 < 2, opset=17 + k % 4)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_one_step_at_a_time_and_in_pieces(tmp_path: Path, name: str) -> None:
    given = subject(LIBRARY[name], "forward", 3, initial=True)
    report = rekur.onnx.export(given, tmp_path / "live.onnx", streaming=True)
    assert "Scan" not in report.nodes
    rekur.onnx.export(given, tmp_path / "pieces.onnx", states=True)
    rekur.onnx.export(given, tmp_path / "rows.onnx", states=True, lengths=True)


@pytest.mark.parametrize("block", range(2))
def test_random_cells(request: pytest.FixtureRequest, tmp_path: Path, block: int) -> None:
    for seed in range(block, request.config.getoption("--cell-cases") or 24, 2):
        rng = np.random.default_rng([seed, 9])
        widths = {"time": 1, "mask": 5}
        given = subject(random_cell(seed), MODES[seed % 4], seed, initial=seed % 3 == 0, widths=widths)
        path = tmp_path / f"{seed}.onnx"
        try:
            check(given, path, rng, lengths=seed % 2 == 0, opset=17 + seed % 4)
        except rekur.onnx.VerificationError:
            # Comparisons of numbers that rounding decides; the float64 reference has decided them as the engine did.
            assert any(node[0] in ("less", "equal") for node in random_cell(seed)["equations"]["nodes"])


def test_a_python_model_around_it(tmp_path: Path) -> None:
    x, time = rekur.Input((None, 4), name="x"), rekur.Input((None, 1), name="time")
    h = layers.Dense(6)(x)
    h = layers.RNN(cells.cfc, 6, return_sequences=True, name="timed")([h, time])
    h = layers.Bidirectional(layers.RNN(cells.rg_lru, 6, return_sequences=True), merge_mode="sum")(h)
    model = rekur.Model([x, time], layers.Dense(2)(layers.LSTM(5)(h)), seed=4)
    rekur.onnx.export(model, tmp_path / "m.onnx", lengths=True)
    loaded = rekur.onnx.load(tmp_path / "m.onnx")
    rng = np.random.default_rng(0)
    data = [rng.random((3, 7, 4), np.float32), rng.random((3, 7, 1), np.float32)]
    rows = {"x": np.array([7, 0, 3]), "time": np.array([7, 0, 3])}
    np.testing.assert_array_equal(loaded.predict(data, lengths=rows), model.predict(data, lengths=rows))
    assert [layer["type"] for layer in loaded.spec["layers"]].count("RNN") == 1


# What a Scan of ours must not be: its text and its body say different things, or something around it does.


def scan_of(model: Any) -> Any:
    return next(node for node in model.graph.node if node.op_type == "Scan")


def other_cell(model: Any) -> None:
    node = scan_of(model)
    cell = json.loads(node.doc_string)
    cell["equations"]["nodes"][0][0] = "tanh"
    node.doc_string = json.dumps(cell)


def other_operator(model: Any) -> None:
    body = next(entry.g for entry in scan_of(model).attribute if entry.name == "body")
    next(node for node in body.node if node.op_type == "Sigmoid").op_type = "Tanh"


def other_constant(model: Any) -> None:
    body = next(entry.g for entry in scan_of(model).attribute if entry.name == "body")
    body.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array([3, 7], np.int64), body.initializer[0].name))


def no_text(model: Any) -> None:
    scan_of(model).doc_string = ""


def broken_text(model: Any) -> None:
    scan_of(model).doc_string = scan_of(model).doc_string[:-3]


def odd_text(model: Any) -> None:
    scan_of(model).doc_string = '{"states": ["h"], "kernel": 3, "recurrent": [], "equations": {"inputs": []}}'


def swapped_wires(model: Any) -> None:
    body = next(entry.g for entry in scan_of(model).attribute if entry.name == "body")
    node = next(node for node in body.node if node.op_type == "Sub")
    node.input[0], node.input[1] = node.input[1], node.input[0]


@pytest.mark.parametrize(
    "change", [other_cell, other_operator, other_constant, no_text, broken_text, odd_text, swapped_wires]
)
def test_a_scan_that_is_not_what_it_says_is_refused(tmp_path: Path, change: Any) -> None:
    rekur.onnx.export(subject(LIBRARY["gru"], "forward", 0), tmp_path / "m.onnx", lengths=True)
    model = onnx.load(tmp_path / "m.onnx")
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(LoadError, match="Scan node 'rnn/Scan'"):
        rekur.onnx.load(tmp_path / "changed.onnx")


def test_scanned_times_that_are_not_the_times_are_refused(tmp_path: Path) -> None:
    rekur.onnx.export(subject(LIBRARY["gru"], "forward", 0), tmp_path / "m.onnx", lengths=True)
    model = onnx.load(tmp_path / "m.onnx")
    places = next(node for node in model.graph.node if node.op_type == "Range")
    size = next(node for node in model.graph.node if places.input[1] in node.output)
    size.input[1] = places.input[2]  # the number of rows
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(LoadError, match="scanned times are not 0, 1"):
        rekur.onnx.load(tmp_path / "changed.onnx")


def test_a_reversed_scan_has_no_states_to_hold(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="it reads the sequence from its end"):
        rekur.onnx.export(subject(LIBRARY["gru"], "reverse", 0), tmp_path / "m.onnx", streaming=True)


def test_a_direction_that_begins_where_the_other_ends_is_a_layer_of_its_own(tmp_path: Path) -> None:
    """Two layers on one sequence, alike but for their direction, are no Bidirectional if one needs the other."""
    x, start = rekur.Input((None, 3), name="x"), rekur.Input((4,), name="start")
    back, state = layers.RNN(cells.light_gru, 4, return_state=True, reverse=True)(x, initial_state=start)
    on = layers.RNN(cells.light_gru, 4)(x, initial_state=state)
    model = rekur.Model([x, start], [on, back])
    rekur.onnx.export(model, tmp_path / "m.onnx")
    again = rekur.onnx.load(tmp_path / "m.onnx")
    assert [layer["type"] for layer in again.spec["layers"]] == ["Input", "Input", "RNN", "RNN"]
    rng = np.random.default_rng(0)
    data = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 5, 3), (2, 4))]
    for one, two in zip(again.predict(data), model.predict(data), strict=True):
        np.testing.assert_array_equal(one, two)


def test_directions_whose_states_are_read_in_any_order_are_loaded(tmp_path: Path) -> None:
    """The states of the backward direction are asked for before anything of the forward one."""
    x = rekur.Input((None, 3), name="x")
    both = layers.Bidirectional(layers.RNN(cells.light_gru, 4, return_state=True), merge_mode="sum")
    y, forward, backward = both(x)
    first = layers.Dense(2, name="first")(backward)
    model = rekur.Model(x, [first, layers.Add()([y, forward])])
    rekur.onnx.export(model, tmp_path / "m.onnx")
    again = rekur.onnx.load(tmp_path / "m.onnx")
    data = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    for one, two in zip(again.predict(data), model.predict(data), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-6)
