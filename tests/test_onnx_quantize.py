"""Files in eight bits: what each node becomes, and what that changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, run_file, sequence_subject
from rekur.onnx import _quantize
from rekur.onnx._metadata import describe_file
from rekur.onnx._sample import BATCH, STEPS, random_feed
from rekur.onnx._weights import _to_int8

if tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 17):
    pytest.skip("rekur asks for onnxruntime 1.17", allow_module_level=True)

CELLS: dict[str, dict[str, Any]] = {
    "SimpleRNN": {"type": "SimpleRNN"},
    "LSTM": {"type": "LSTM"},
    "GRU": {"type": "GRU"},
    "GRU before": {"type": "GRU", "reset_after": False},
}


def ops(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def hows(report: rekur.onnx.QuantizeReport) -> dict[str, str]:
    return {node.name: node.how for node in report.nodes}


def product(path: Path) -> str:
    """The name of the only MatMul."""
    (name,) = [node.name for node in onnx.load(path).graph.node if node.op_type == "MatMul"]
    return name


def scales(path: Path) -> dict[str, tuple[int, ...]]:
    return {i.name: tuple(i.dims) for i in onnx.load(path).graph.initializer if i.name.endswith("/scale")}


def tagger(cell: str, *, both: bool = False, units: int = 32) -> Subject:
    """Ids through an embedding and a recurrent layer to a softmax: every kind of weight."""
    core = {**CELLS[cell], "units": units, "return_sequences": True}
    recurrent = {"type": "Bidirectional", "layer": core} if both else core
    return Subject(
        [
            input_layer("ids", None, dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 50, "output_dim": 24},
            {**recurrent, "name": "r", "inputs": ["e"]},
            {"type": "Dense", "name": "y", "inputs": ["r"], "units": 5, "activation": "softmax"},
        ],
        ["y"],
    )


@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_becomes_of_each_node(cell: str, both: bool, tmp_path: Path) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "q.onnx"
    op = {"SimpleRNN": "RNN", "LSTM": "LSTM"}.get(cell, "GRU")
    rekur.onnx.export(tagger(cell, both=both), source, lengths=True, class_names=list("abcde"))
    before = source.read_bytes()
    report = rekur.onnx.quantize(source, out, seconds=0)
    assert source.read_bytes() == before and {p.name for p in tmp_path.iterdir()} == {"m.onnx", "q.onnx"}
    recurrent = "int8" if op == "LSTM" else "weights only"
    assert hows(report) == {"e": "weights only", f"r/{op}": recurrent, product(source): "int8"}
    made = ops(out)
    assert made.count("MatMulInteger") == 1 and made.count("DynamicQuantizeLSTM") == (op == "LSTM")
    assert made.count(op) == (op != "LSTM") and "MatMul" not in made
    floats_left = [i for i in onnx.load(out).graph.initializer if i.data_type == TensorProto.FLOAT]
    assert sum(int(np.prod(i.dims)) for i in floats_left) < 0.15 * sum(w.size for w in tagger(cell).weights.values())
    assert report.size_before == len(before) and report.size_after == out.stat().st_size < 0.5 * len(before)
    (change,) = report.changes
    assert 0 < change.largest < 0.05 and 0 < change.mean < change.largest <= report.largest_change
    assert 0.1 < change.magnitude <= 1 and report.speed is None and report.random_data
    said, was = rekur.onnx.metadata(out), rekur.onnx.metadata(source)
    assert said.quantized == {
        "int8": [n for n, how in hows(report).items() if how == "int8"],
        "weights": [n for n, how in hows(report).items() if how == "weights only"],
        "float": {},
    }
    assert (said.producer, said.doc, said.inputs, said.outputs) == (was.producer, was.doc, was.inputs, was.outputs)
    assert (said.class_names, said.lengths, said.spec) == (was.class_names, was.lengths, was.spec)
    assert (said.opset, said.ir_version) == (was.opset, was.ir_version)


@pytest.mark.parametrize("cell", CELLS)
def test_changes_are_those_of_the_files(cell: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """The report's numbers, computed again from the two files; the quantised one is near the engine too.

    On one thread, as the report: onnxruntime's int8 LSTM quantises what each of its threads has by itself.
    """
    subject = tagger(cell)
    rekur.onnx.export(subject, tmp_path / "m.onnx")
    ids = rng.integers(0, 50, (6, 11)).astype(np.int32)
    report = rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", data=ids, seconds=0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    plain, small = (
        onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]).run(
            ["y"], {"ids": ids}
        )[0]
        for name in "mq"
    )
    assert not report.random_data
    assert report.changes[0].largest == pytest.approx(np.abs(plain - small).max(), rel=1e-4)
    assert report.changes[0].mean == pytest.approx(np.abs(plain - small).mean(), rel=1e-3)
    with pytest.raises(rekur.onnx.VerificationError):
        rekur.onnx.verify(subject, tmp_path / "q.onnx")
    assert rekur.onnx.verify(subject, tmp_path / "q.onnx", tolerance=0.1).largest_difference < 0.1


@pytest.mark.parametrize("cell", CELLS)
def test_weights_only_is_nearer(cell: str, tmp_path: Path) -> None:
    rekur.onnx.export(tagger(cell), tmp_path / "m.onnx")
    source = tmp_path / "m.onnx"
    dynamic = rekur.onnx.quantize(source, tmp_path / "a.onnx", seconds=0)
    stored = rekur.onnx.quantize(source, tmp_path / "b.onnx", weights_only=True, seconds=0)
    assert set(hows(stored).values()) == {"weights only"}
    assert not {"MatMulInteger", "DynamicQuantizeLSTM", "DynamicQuantizeLinear"} & set(ops(tmp_path / "b.onnx"))
    assert stored.largest_change < dynamic.largest_change
    rows = {"SimpleRNN": 32, "LSTM": 128}.get(cell, 96)
    assert scales(tmp_path / "b.onnx") == {
        "e/embeddings/scale": (50, 1),
        "r/W/scale": (1, rows, 1),
        "r/R/scale": (1, rows, 1),
        "y/kernel/scale": (1, 5),
    }
    assert stored.size_after < 0.5 * stored.size_before


@pytest.mark.parametrize("option", ["streaming", "states"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_files_with_states(cell: str, option: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """Changes are measured over whole sequences, the state carried from step to step."""
    subject = tagger(cell)
    rekur.onnx.export(subject, tmp_path / "m.onnx", **{option: True})
    ids = rng.integers(0, 50, (3, 12)).astype(np.int32)
    report = rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", data=[ids], seconds=0)
    assert [change.name for change in report.changes] == ["y"] and 0 < report.largest_change < 0.05
    said = rekur.onnx.metadata(tmp_path / "q.onnx")
    assert said.states == rekur.onnx.metadata(tmp_path / "m.onnx").states
    assert rekur.onnx.verify(subject, tmp_path / "q.onnx", tolerance=0.1).mode
    again = rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "r.onnx", data={"ids": ids}, seconds=0)
    assert again.largest_change == report.largest_change
    assert rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "s.onnx", seconds=0).random_data


def test_speed_is_a_ratio_of_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rekur.onnx.export(tagger("LSTM"), tmp_path / "m.onnx", verify=False)
    report = rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", seconds=0.05)
    assert report.speed is not None and 0.05 < report.speed < 20
    now = [0.0]
    monkeypatch.setattr(_quantize.time, "perf_counter", lambda: now[0])

    def takes(seconds: float) -> Any:
        return lambda: now.__setitem__(0, now[0] + seconds)

    assert _quantize._ratio(takes(0.03), takes(0.01), 1.0) == pytest.approx(3)


def test_the_report_reads_well(tmp_path: Path) -> None:
    rekur.onnx.export(tagger("GRU"), tmp_path / "m.onnx", verify=False)
    head = product(tmp_path / "m.onnx")
    text = str(rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", seconds=0.01, keep=[head]))
    for part in (
        "q.onnx: ",
        "times that",
        "times the float file's",
        "weights only  GRU 'r/GRU': onnxruntime has no dynamic int8 kernel for GRU",
        "weights only  Gather 'e': a table, nothing is computed",
        f"float         MatMul '{head}': as asked for",
        "largest change",
        "on random inputs",
    ):
        assert part in text, part


def test_reduced_range_is_seven_bits(tmp_path: Path) -> None:
    rekur.onnx.export(tagger("LSTM"), tmp_path / "m.onnx", verify=False)
    largest = {}
    for reduce in (True, False):
        rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", reduce_range=reduce, seconds=0)
        arrays = [numpy_helper.to_array(i) for i in onnx.load(tmp_path / "q.onnx").graph.initializer]
        table = [a for a in arrays if a.dtype == np.int8 and a.shape != (50, 24) and a.size > 1]
        largest[reduce] = max(int(np.abs(a.astype(int)).max()) for a in table)
    assert largest == {True: 64, False: 127}


def test_int8_with_a_scale_a_channel(rng: np.random.Generator) -> None:
    w = floats(rng, 2, 6, 9) * np.float32(10.0) ** rng.integers(-8, 8, (2, 6, 1)).astype(np.float32)
    w[0, 1] = 0
    w[1, 2] = 1e-45
    w[1, 3] = 3e38 * np.sign(w[1, 3])
    q, s = _to_int8(w, (2,))
    assert q.dtype == np.int8 and s.dtype == np.float32 and s.shape == (2, 6, 1) and (s > 0).all()
    error = np.abs(q.astype(np.float64) * s - w)
    assert (error <= 0.502 * s).all() and np.isfinite(s).all()
    kept = np.abs(w).max(axis=2) > 1e-30
    assert (np.abs(q).max(axis=2)[kept] == 127).all() and not q[0, 1].any()
    assert _to_int8(np.zeros((3, 0), np.float32), (1,))[0].shape == (3, 0)


# ------------------------------------------------------------------------------------------------ files of other people


def save(
    path: Path,
    nodes: Sequence[Any],
    weights: dict[str, np.ndarray],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    **options: Any,
) -> Path:
    arrays = [numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, arrays)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **options)
    return path


def info(name: str, *shape: int | str | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def test_operators_of_other_exporters(tmp_path: Path, rng: np.random.Generator) -> None:
    """Nodes without names, Gemm both ways, shared weights, computed operands, a Conv, a MatMul with three axes."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["a"], transB=1),
        helper.make_node("Gemm", ["a", "w2"], ["b"]),
        helper.make_node("MatMul", ["b", "shared"], ["c"]),
        helper.make_node("MatMul", ["c", "shared"], ["d"]),
        helper.make_node("Unsqueeze", ["d", "one"], ["e"]),
        helper.make_node("Conv", ["e", "kernel"], ["f"], kernel_shape=[3], pads=[1, 1]),
        helper.make_node("Transpose", ["f"], ["g"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["f", "g"], ["h"]),
        helper.make_node("MatMul", ["h", "deep"], ["i"]),
        helper.make_node("MatMul", ["i", "vector"], ["y"]),
    ]
    weights = {
        "w1": floats(rng, 6, 5),
        "b1": floats(rng, 6),
        "w2": floats(rng, 6, 8),
        "shared": floats(rng, 8, 8),
        "one": np.array([1], np.int64),
        "kernel": floats(rng, 4, 1, 3),
        "deep": floats(rng, 1, 4, 3),
        "vector": floats(rng, 3),
    }
    path = save(tmp_path / "m.onnx", nodes, weights, [info("x", "n", 5)], [info("y", "n", 4)])
    report = rekur.onnx.quantize(path, tmp_path / "q.onnx", seconds=0)
    assert [(node.op, node.how, node.reason) for node in report.nodes] == [
        ("Gemm", "weights only", "onnxruntime has no dynamic int8 kernel for Gemm"),
        ("Gemm", "weights only", "onnxruntime has no dynamic int8 kernel for Gemm"),
        ("MatMul", "weights only", "its weights are shared with another node"),
        ("MatMul", "weights only", "its weights are shared with another node"),
        ("Conv", "weights only", "onnxruntime has no dynamic int8 kernel for Conv"),
        ("MatMul", "float", "its weights are computed in the graph"),
        ("MatMul", "weights only", "its weights are no matrix"),
        ("MatMul", "float", "its weights are a vector"),
    ]
    assert len({node.name for node in report.nodes}) == len(report.nodes)
    assert 0 < report.largest_change < 0.05 * report.changes[0].magnitude
    assert scales(tmp_path / "q.onnx") == {
        "w1/scale": (6, 1),
        "w2/scale": (1, 8),
        "shared/scale": (1, 8),
        "kernel/scale": (4, 1, 1),
        "deep/scale": (1, 1, 3),
    }
    kept = {i.name for i in onnx.load(tmp_path / "q.onnx").graph.initializer if i.data_type == TensorProto.FLOAT}
    assert not {"w1", "w2", "shared", "kernel", "deep"} & kept


def test_weights_that_must_stay(tmp_path: Path, rng: np.random.Generator) -> None:
    """Half precision, weights that are an input too, a Gather that is plumbing, weights inside an If."""
    inner = helper.make_graph([helper.make_node("MatMul", ["x", "inside"], ["t"])], "then", [], [info("t", "n", 5)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["u"])], "else", [], [info("u", "n", 5)])
    nodes = [
        helper.make_node("If", ["flag"], ["a"], name="if", then_branch=inner, else_branch=other),
        helper.make_node("MatMul", ["a", "given"], ["b"], name="given"),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["c", "half"], ["d"], name="half"),
        helper.make_node("Cast", ["d"], ["e"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["e", "picked"], ["f"], name="plumbing", axis=1),
        helper.make_node("MatMul", ["f", "plain"], ["y"], name="plain"),
    ]
    weights = {
        "flag": np.array(True),
        "inside": floats(rng, 5, 5),
        "given": floats(rng, 5, 5),
        "half": floats(rng, 5, 5).astype(np.float16),
        "picked": np.array([0, 2, 4], np.int64),
        "plain": floats(rng, 3, 2),
    }
    path = save(tmp_path / "m.onnx", nodes, weights, [info("x", "n", 5), info("given", 5, 5)], [info("y", "n", 2)])
    report = rekur.onnx.quantize(path, tmp_path / "q.onnx", seconds=0)
    assert {node.name: (node.how, node.reason) for node in report.nodes} == {
        "if": ("float", "weights inside If stay"),
        "given": ("float", "its weights are an input of the file"),
        "half": ("float", "its weights are not float32"),
        "plain": ("int8", ""),
    }
    said = rekur.onnx.metadata(tmp_path / "q.onnx").quantized
    assert said is not None and set(said["float"]) == {"if", "given", "half"}


def test_a_recurrent_file_of_someone_else(tmp_path: Path, rng: np.random.Generator) -> None:
    """Peepholes, lengths and states as inputs with symbols of their own; random data must fit them."""
    nodes = [
        helper.make_node(
            "LSTM",
            ["x", "W", "R", "B", "steps", "h", "c", "P"],
            ["", "y"],
            hidden_size=8,
            clip=3.0,
            direction="reverse",
        )
    ]
    sizes = {"W": (1, 32, 6), "R": (1, 32, 8), "B": (1, 64), "P": (1, 24)}
    weights = {name: floats(rng, *shape) / 3 for name, shape in sizes.items()}
    inputs = [
        info("x", "t", "n", 6),
        info("steps", "n", kind=TensorProto.INT32),
        info("h", 1, "n", 8),
        info("c", 1, "n", 8),
    ]
    path = save(tmp_path / "m.onnx", nodes, weights, inputs, [info("y", 1, "n", 8)])
    feed = {
        "x": floats(rng, 9, 4, 6),
        "steps": np.array([9, 0, 3, 5], np.int32),
        "h": floats(rng, 1, 4, 8),
        "c": floats(rng, 1, 4, 8),
    }
    report = rekur.onnx.quantize(path, tmp_path / "q.onnx", data=feed, seconds=0)
    assert [node.how for node in report.nodes] == ["int8"] and 0 < report.largest_change < 0.1
    (node,) = [n for n in onnx.load(tmp_path / "q.onnx").graph.node if n.op_type == "DynamicQuantizeLSTM"]
    assert {a.name for a in node.attribute} == {"hidden_size", "clip", "direction"}
    proto = onnx.load(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    drawn = random_feed(session, proto.graph, describe_file(proto), seed=0)
    assert drawn["x"].shape == (STEPS, BATCH, 6) and drawn["steps"].tolist() == [STEPS] * BATCH
    assert drawn["h"].shape == drawn["c"].shape == (1, BATCH, 8)
    assert rekur.onnx.quantize(path, tmp_path / "q.onnx", seconds=0).random_data


@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "bidirectional"])
def test_int8_with_lengths(both: bool, sequences: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """onnxruntime's int8 LSTM has wrong final states for such rows where nobody reads its sequence."""
    core = {"type": "LSTM", "units": 8, "return_sequences": sequences, "return_state": True}
    layer = {"type": "Bidirectional", "layer": core} if both else core
    subject = sequence_subject({**layer, "name": "l", "inputs": ["x"]}, outputs=["l:1", "l:2"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", lengths=True)
    data = {"x": floats(rng, 4, 9, 3)}
    for rows in ([9, 0, 3, 5], [0, 9, 9, 1], [3, 5, 9, 0], [9, 5, 0, 3]):
        feed = {**data, "lengths": np.array(rows, np.int32)}
        report = rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", data=feed, seconds=0)
        assert report.largest_change < 0.05
    (node,) = [n for n in onnx.load(tmp_path / "q.onnx").graph.node if n.op_type == "DynamicQuantizeLSTM"]
    assert all(node.output)


def test_external_data_becomes_one_file(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path = save(
        tmp_path / "in" / "m.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"w": floats(rng, 64, 64)},
        [info("x", "n", 64)],
        [info("y", "n", 64)],
        save_as_external_data=True,
        size_threshold=0,
    )
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert len(before) == 2
    rekur.onnx.quantize(path, tmp_path / "out" / "q.onnx", seconds=0)
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["q.onnx"]
    assert run_file(tmp_path / "out" / "q.onnx", {"x": floats(rng, 2, 64)})["y"].shape == (2, 64)
