"""Quantisation: what is refused, and that a failure leaves every file as it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rekur.onnx
from harness import floats
from onnx_subject import sequence_subject
from rekur.onnx import QuantizationError, _quantize
from test_onnx_quantize import info, ops, product, save, tagger


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rekur.onnx.export(tagger("LSTM"), tmp_path / "m.onnx", verify=False)
    return tmp_path / "m.onnx"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of an earlier time, which every failure must leave alone."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "q.onnx").write_bytes(b"the old one")
    return tmp_path / "out" / "q.onnx"


def assert_untouched(old: Path) -> None:
    assert [entry.name for entry in old.parent.iterdir()] == ["q.onnx"] and old.read_bytes() == b"the old one"


class Dataset:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        return 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["nowhere"]}, r"no node with weights is called \['nowhere'\]; there are \['e', 'r/LSTM', "),
        ({"data": []}, r"expected 1 arrays, for \['ids'\], got 0"),
        ({"data": {"x": np.zeros(3)}}, r"the file has no input \['x'\]"),
        ({"data": {}}, r"nothing for input \['ids'\]"),
        ({"data": np.zeros((1, 2, 3), np.int32)}, "onnxruntime cannot run"),
        ({"data": "ids"}, "data: 'ids'"),
        ({"data": Dataset()}, "data: 'ids': expected an array, got a Dataset"),
        ({"data": (n for n in range(3))}, "data: 'ids': expected an array, got a generator"),
        ({"data": np.ma.masked_array([[1, 2]], mask=[[True, False]])}, "data: 'ids': 1 of 2 values are masked"),
        ({"data": np.full((1, 2), 1.5)}, "data: 'ids': expected whole numbers that int32 holds, got float64"),
        ({"data": np.full((1, 2), 2**40)}, "data: 'ids': expected whole numbers that int32 holds, got int64"),
        ({"data": np.full((1, 2), 99)}, "onnxruntime cannot run"),
    ],
)
def test_bad_options(source: Path, old: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises((QuantizationError, TypeError), match=message):
        rekur.onnx.quantize(source, old, seconds=0, **options)
    assert_untouched(old)


def test_nothing_left_to_quantise(source: Path, old: Path) -> None:
    with pytest.raises(QuantizationError, match="nothing can be quantised: Gather 'e': as asked for"):
        rekur.onnx.quantize(source, old, keep=["r/LSTM", product(source), "e"], seconds=0)
    assert_untouched(old)


def test_files_that_are_none(source: Path, old: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rekur.onnx.quantize(tmp_path / "nowhere.onnx", old)
    with pytest.raises(FileNotFoundError, match="No such file"):
        rekur.onnx.quantize(source, tmp_path / "nowhere" / "q.onnx")
    with pytest.raises(IsADirectoryError):
        rekur.onnx.quantize(source, old.parent)
    (tmp_path / "junk.onnx").write_bytes(b"\x08junk" * 100)
    with pytest.raises(QuantizationError, match="not a readable ONNX model"):
        rekur.onnx.quantize(tmp_path / "junk.onnx", old)
    (tmp_path / "half.onnx").write_bytes(source.read_bytes()[:-200])
    with pytest.raises(QuantizationError):
        rekur.onnx.quantize(tmp_path / "half.onnx", old)
    assert_untouched(old)


def test_external_data_outside_the_folder_is_not_read(old: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "in").mkdir()
    nodes, ends = [helper.make_node("MatMul", ["x", "w"], ["y"])], ([info("x", "n", 64)], [info("y", "n", 64)])
    options = {"save_as_external_data": True, "size_threshold": 0, "location": "w.data"}
    path = save(tmp_path / "in" / "m.onnx", nodes, {"w": floats(rng, 64, 64)}, *ends, **options)
    (tmp_path / "in" / "w.data").rename(tmp_path / "w.data")
    for place in ("../w.data", str(tmp_path / "w.data")):
        proto = onnx.load(path, load_external_data=False)
        next(e for e in proto.graph.initializer[0].external_data if e.key == "location").value = place
        path.write_bytes(proto.SerializeToString())
        with pytest.raises(QuantizationError, match="not a readable ONNX model"):
            rekur.onnx.quantize(path, old)
    assert_untouched(old)


def test_states_that_nobody_wrote(old: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    rekur.onnx.export(tagger("GRU"), tmp_path / "m.onnx", streaming=True, verify=False)
    proto = onnx.load(tmp_path / "m.onnx")
    for text in ('{"streaming": true, "timed_inputs": ["zz"], "timed_outputs": [], "states": []}', "{"):
        onnx.helper.set_model_props(proto, {"rekur.states": text})
        onnx.save(proto, tmp_path / "bad.onnx")
        for data in (
            None,
            np.zeros((2, 3), np.int32),
            {"ids": np.zeros((2, 3), np.int32), "r_h_in": np.zeros((2, 32))},
        ):
            with pytest.raises(QuantizationError):
                rekur.onnx.quantize(tmp_path / "bad.onnx", old, data=data, seconds=0)
    assert_untouched(old)


def test_the_float_file_is_never_overwritten(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    os.link(source, tmp_path / "same.onnx")
    for path in (source, tmp_path / "same.onnx"):
        with pytest.raises(QuantizationError, match="is the float file itself"):
            rekur.onnx.quantize(source, path)
    assert source.read_bytes() == before


def test_a_quantised_file_is_not_quantised_again(tmp_path: Path) -> None:
    subject = sequence_subject({"type": "LSTM", "name": "l", "inputs": ["x"], "units": 8}, outputs=["l"])
    rekur.onnx.export(subject, tmp_path / "m.onnx", verify=False)
    rekur.onnx.quantize(tmp_path / "m.onnx", tmp_path / "q.onnx", seconds=0)
    with pytest.raises(QuantizationError, match="nothing can be quantised: no node has float32 weights"):
        rekur.onnx.quantize(tmp_path / "q.onnx", tmp_path / "r.onnx", seconds=0)
    assert not (tmp_path / "r.onnx").exists()


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        ("operator", "the quantised model: onnxruntime refuses"),
        ("nan", "output 'y' is no longer finite"),
        ("shape", "output 'y': expected shape"),
    ],
)
def test_what_does_not_run_is_not_written(
    breaks: str, message: str, source: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = _quantize._transform

    def broken(*arguments: Any) -> Any:
        after = transform(*arguments)
        if breaks == "operator":
            after.graph.node[-1].op_type = "NoSuchOperator"
        elif breaks == "nan":
            bias = next(i for i in after.graph.initializer if i.name == "y/bias")
            bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.nan, bias.name))
        else:
            output = after.graph.output[0].name
            after.graph.output[0].ClearField("type")
            after.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
            last = next(n for n in after.graph.node if output in n.output)
            last.output[0] = "whole"
            after.graph.node.append(helper.make_node("ReduceSum", ["whole"], [output], keepdims=0))
        return after

    monkeypatch.setattr(_quantize, "_transform", broken)
    with pytest.raises(QuantizationError, match=message):
        rekur.onnx.quantize(source, old, seconds=0)
    assert_untouched(old)


def test_a_quantiser_that_declines_leaves_the_weights_small(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamic = _quantize._dynamic
    monkeypatch.setattr(_quantize, "_dynamic", lambda proto, nodes, reduce: dynamic(proto, nodes[1:], reduce))
    report = rekur.onnx.quantize(source, tmp_path / "q.onnx", seconds=0)
    assert {n.name: (n.how, n.reason) for n in report.nodes}["r/LSTM"] == (
        "weights only",
        "onnxruntime's quantiser declines it",
    )
    assert "LSTM" in ops(tmp_path / "q.onnx")


def test_the_root_logger_is_left_alone(source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rekur.onnx.quantize(source, tmp_path / "q.onnx", seconds=0)
    assert not caplog.records


def test_write_that_fails_half_way(source: Path, old: Path, full_disk: None) -> None:
    with pytest.raises(OSError, match="File too large"):
        rekur.onnx.quantize(source, old, seconds=0)
    assert_untouched(old)
