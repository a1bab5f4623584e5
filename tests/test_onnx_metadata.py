"""What a file says of itself: written by export, checked, and read back by rekur.onnx.metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import rekur.onnx
from harness import floats, input_layer
from onnx_subject import Subject, sequence_subject
from rekur.onnx import ExportError


def classifier(units: int = 3) -> Subject:
    return Subject(
        [
            input_layer("x", None, 2),
            input_layer("ids", None, dtype="int32"),
            {"type": "Embedding", "name": "e", "inputs": ["ids"], "input_dim": 7, "output_dim": 2},
            {"type": "Add", "name": "both", "inputs": ["x", "e"]},
            {"type": "GRU", "name": "g", "inputs": ["both"], "units": 4},
            {"type": "Dense", "name": "y", "inputs": ["g"], "units": units, "activation": "softmax"},
        ],
        ["y"],
    )


def test_everything_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    subject, path = classifier(), tmp_path / "m.onnx"
    rekur.onnx.export(
        subject,
        path,
        lengths=True,
        class_names=["walk", "läuft", "steht"],
        input_scaling={"x": (np.array([1.5, -2.0]), 0.1)},
        doc="Gait, three classes.",
        metadata={"author": "me"},
    )
    said = rekur.onnx.metadata(path)
    assert (said.producer, said.version, said.opset, said.ir_version) == ("rekur", rekur.__version__, 17, 8)
    assert said.doc == "Gait, three classes." and said.extra == {"author": "me"}
    assert said.class_names == ["walk", "läuft", "steht"]
    assert said.inputs == [
        ("x", "float32", ("batch", "time", 2)),
        ("ids", "int32", ("batch", "time")),
        ("lengths", "int32", ("batch",)),
    ]
    assert said.outputs == [("y", "float32", ("batch", 3))]
    assert said.lengths == {"lengths": ["x", "ids"]} and said.states is None and said.quantized is None
    assert said.spec == subject.spec
    scaling = said.scaling["x"]
    assert scaling.mean.tolist() == [1.5, -2.0] and scaling.std.tolist() == [0.1, 0.1]
    x = floats(rng, 3, 5, 2)
    scaled = scaling.apply(x)
    assert scaled.dtype == np.float32 and scaled.shape == x.shape
    assert np.allclose(scaled, (x - [1.5, -2.0]) / 0.1, rtol=1e-6)
    texts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(texts["rekur.class_names"]) == ["walk", "läuft", "steht"]
    assert json.loads(texts["rekur.scaling"]) == {"x": {"mean": [1.5, -2.0], "std": [0.1, 0.1]}}


def test_nothing_given_nothing_said(tmp_path: Path) -> None:
    rekur.onnx.export(classifier(), tmp_path / "m.onnx")
    said = rekur.onnx.metadata(tmp_path / "m.onnx")
    assert said.class_names is None and said.scaling == {} and said.lengths == {} and said.extra == {}
    assert said.doc.startswith("Model 'model', exported by rekur")


@pytest.mark.parametrize("streaming", [True, False])
def test_with_every_kind_of_file(streaming: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    options: dict[str, Any] = {"class_names": ["a", "b", "c"], "input_scaling": {"x": (0, 1)}, "doc": ""}
    rekur.onnx.export(classifier(), path, streaming=streaming, states=not streaming, **options)
    said = rekur.onnx.metadata(path)
    assert said.class_names == ["a", "b", "c"] and said.scaling["x"].std.tolist() == [1, 1] and said.doc == ""
    assert said.states is not None and said.states.streaming == streaming


def test_two_names_for_one_probability(tmp_path: Path) -> None:
    rekur.onnx.export(classifier(1), tmp_path / "m.onnx", class_names=("no", "yes"))
    assert rekur.onnx.metadata(tmp_path / "m.onnx").class_names == ["no", "yes"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": "abc"}, "class_names must be a sequence of texts, got 'abc'"),
        ({"class_names": ["a", "b", 3]}, "class_names must be a sequence of texts"),
        ({"class_names": ["a", "b", "a"]}, "class_names must differ"),
        ({"class_names": ["a", "b"]}, r"2 names, but no output has so many features \('y' has 3\)"),
        ({"class_names": []}, "0 names, but no output"),
        ({"input_scaling": {"z": (0, 1)}}, "the model has no input 'z'"),
        ({"input_scaling": {"ids": (0, 1)}}, "Input 'ids' holds ids, which have no scale"),
        ({"input_scaling": {"x": 3}}, r"'x': expected \(mean, std\), got 3"),
        ({"input_scaling": {"x": (0, 1, 2)}}, r"'x': expected \(mean, std\)"),
        ({"input_scaling": {"x": ("a", "b")}}, r"'x': expected \(mean, std\)"),
        (
            {"input_scaling": {"x": ([0, 0, 0], 1)}},
            r"expected mean to be a number or of shape \(2,\), got shape \(3,\)",
        ),
        ({"input_scaling": {"x": (0, [[1, 1]])}}, r"expected std to be a number or of shape \(2,\)"),
        ({"input_scaling": {"x": (0, 0)}}, "std must be positive"),
        ({"input_scaling": {"x": (np.nan, 1)}}, "mean is not finite"),
        ({"input_scaling": {"x": (0, [1, np.inf])}}, "std is not finite"),
        ({"metadata": {"rekur.class_names": "[]"}}, "keys beginning with 'rekur.' are taken"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        rekur.onnx.export(classifier(), tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_file_of_someone_else(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", None, 3])
    y = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    graph = helper.make_graph([helper.make_node("Tanh", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    said = rekur.onnx.metadata(tmp_path / "m.onnx")
    assert said.producer == "" and said.opset == 18 and said.spec is None and said.states is None
    assert said.inputs == [("x", "float64", ("n", "", 3))] and said.outputs == [("y", "float64", ())]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("rekur.class_names", "{"),
        ("rekur.class_names", '{"a": 1}'),
        ("rekur.class_names", "[1]"),
        ("rekur.class_names", "[" * 100_000),
        ("rekur.scaling", '{"x": {"mean": [1]}}'),
        ("rekur.scaling", '{"x": {"mean": [1], "std": [1, 2]}}'),
        ("rekur.scaling", '{"x": {"mean": 1, "std": 2}}'),
        ("rekur.scaling", '{"x": 3}'),
        ("rekur.lengths", '{"lengths": "x"}'),
        ("rekur.lengths", '{"lengths": []}'),
        ("rekur.states", '{"streaming": true}'),
        ("rekur.spec", "3"),
    ],
)
def test_entries_that_nobody_wrote(key: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    rekur.onnx.export(classifier(), path, verify=False)
    proto = onnx.load(path)
    onnx.helper.set_model_props(proto, {key: text})
    onnx.save(proto, path)
    with pytest.raises(ValueError, match=f"m.onnx: metadata '{key}' is not valid"):
        rekur.onnx.metadata(path)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rekur.onnx.metadata(tmp_path / "nowhere.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"\x08junk" * 100)
    with pytest.raises(ValueError, match=r"junk\.onnx: not an ONNX model"):
        rekur.onnx.metadata(tmp_path / "junk.onnx")


def test_scaling_is_a_note_and_no_node(tmp_path: Path) -> None:
    subject = sequence_subject({"type": "LSTM", "name": "l", "inputs": ["x"], "units": 4}, outputs=["l"])
    plain = rekur.onnx.export(subject, tmp_path / "a.onnx")
    noted = rekur.onnx.export(subject, tmp_path / "b.onnx", input_scaling={"x": (5, 9)})
    assert plain.nodes == noted.nodes


@pytest.mark.parametrize("data", [b"\x89HDF\r\n\x1a\n" + b"x" * 100, b"\x08\x08"], ids=["HDF5", "no graph"])
def test_what_reads_as_a_model_without_a_graph_is_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    hint = ".*HDF5" if b"HDF" in data else ""
    for read in (rekur.onnx.metadata, rekur.onnx.load):
        with pytest.raises(ValueError, match=f"not an ONNX model{hint}"):
            read(path)


@pytest.mark.parametrize("several", [False, True])
def test_text_ends_before_the_file_which_says_what_makes_its_ids(tmp_path: Path, several: bool) -> None:
    import onnxruntime

    words = rekur.data.TextVectorization(output_sequence_length=4)
    words.adapt(["so good", "so bad", "größe"])
    layers = rekur.layers
    model = rekur.Sequential([layers.Embedding(20, 3, input_shape=(4,)), layers.LSTM(4), layers.Dense(1)], seed=1)
    model.tokenizer = {"words": words} if several else words
    report = rekur.onnx.export(model, tmp_path / "m.onnx")
    assert "text    ends before the file" in str(report)
    found = rekur.onnx.metadata(tmp_path / "m.onnx").tokenizer
    found = found["words"] if several else found
    ids = found(["so good größe"])
    np.testing.assert_array_equal(ids, words(["so good größe"]))
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    outputs = session.run(None, {session.get_inputs()[0].name: ids.astype(np.int32)})
    np.testing.assert_allclose(outputs[0], model.predict(ids), rtol=1e-4, atol=1e-6)
    again = rekur.onnx.load(tmp_path / "m.onnx").tokenizer
    assert (again["words"] if several else again).get_vocabulary() == words.get_vocabulary()
    proto = onnx.load(tmp_path / "m.onnx")
    next(entry for entry in proto.metadata_props if entry.key == "rekur.tokenizer").value = '{"one": 3}'
    onnx.save(proto, tmp_path / "broken.onnx")
    for read in (rekur.onnx.metadata, rekur.onnx.load):
        with pytest.raises(ValueError, match=r"broken\.onnx: metadata 'rekur.tokenizer' is not valid"):
            read(tmp_path / "broken.onnx")
