"""A tagger's ONNX file: tokens as strings, or numbers, in; tags and their probabilities out."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import check_writable, write_atomic
from rekur.models import Model
from rekur.tasks._front import Statistics
from rekur.tasks.classification._tokens import UNKNOWN

_TOLERANCE = 1e-5


def write(
    path: str | os.PathLike[str],
    model: Model,
    *,
    known: Statistics | None,
    table: Mapping[str, int] | None,
    patterns: Sequence[str] | None,
    labels: NDArray[Any],
    chain: bool,
    expected: Callable[[Any], tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_]]],
    options: Mapping[str, Any],
) -> Any:
    """Export a model, put what reads tokens in front and what tells tags behind, verify, and only then write the file.

    Parameters
    ----------
    model
        From "values", or "words" and "marks", to "best" (with ``chain``) and "probabilities".
    known
        Of numbers: the channels' statistics, for the sequences that the file is tried with.
    table, patterns
        Of tokens: places of words, and what marks them.
    expected
        Of sequences: places of tags, probabilities, and the steps whose tag is beyond doubt.
    """
    import rekur.onnx  # an extra

    target = os.fspath(path)
    check_writable(target)
    import onnx

    if table is not None:
        options = {"opset": 20, **options}
        if options["opset"] < 20:
            raise ValueError(f"export_onnx: opset must be at least 20 for tokens, got {options['opset']}")
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "model.onnx"
        report = rekur.onnx.export(model, first, lengths=True, **options)
        proto = onnx.load(str(first))
    graph = proto.graph
    if table is None:
        _rename(graph, "values", "X")
    else:
        _read_tokens(proto, table, patterns or ())
    _tell_tags(graph, "best" if chain else "probabilities", labels)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    _verify(content, known, table, labels, expected)
    write_atomic(target, content)
    report.path = Path(target)
    report.file_size = len(content)
    return report


def _rename(graph: Any, old: str, new: str) -> None:
    for value in graph.input:
        if value.name == old:
            value.name = new
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def _read_tokens(proto: Any, table: Mapping[str, int], patterns: Sequence[str]) -> None:
    """Words and marks of strings, in front of everything; one input of lengths for both."""
    from onnx import TensorProto, helper

    graph = proto.graph
    inputs = {value.name: value for value in graph.input}
    dims = [d.dim_param or d.dim_value for d in inputs["words"].type.tensor_type.shape.dim]
    lengths = [name for name in inputs if name.endswith("lengths")]
    strings = helper.make_tensor_value_info("X", TensorProto.STRING, dims[:2])
    del graph.input[:]
    graph.input.extend([strings, helper.make_tensor_value_info("lengths", TensorProto.INT32, dims[:1])])
    words = sorted(table)
    nodes = [
        helper.make_node(
            "LabelEncoder", ["X"], ["words_long"], name="words_of", domain="ai.onnx.ml", keys_strings=words,
            values_int64s=[table[word] for word in words], default_int64=UNKNOWN,
        ),
        helper.make_node("Cast", ["words_long"], ["words"], to=TensorProto.INT32, name="words_int"),
    ]  # fmt: skip
    last = helper.make_tensor("last_axis", TensorProto.INT64, [1], [-1])
    graph.initializer.append(last)
    parts = []
    for n, pattern in enumerate(patterns):
        nodes += [
            helper.make_node("RegexFullMatch", ["X"], [f"mark_{n}"], pattern=f"(?s){pattern}", name=f"mark_{n}"),
            helper.make_node("Cast", [f"mark_{n}"], [f"mark_{n}_float"], to=TensorProto.FLOAT, name=f"mark_{n}_float"),
            helper.make_node("Unsqueeze", [f"mark_{n}_float", "last_axis"], [f"mark_{n}_last"], name=f"mark_{n}_last"),
        ]
        parts.append(f"mark_{n}_last")
    nodes.append(helper.make_node("Concat", parts, ["marks"], axis=-1, name="marks_of"))
    for name in lengths:
        if name != "lengths":
            nodes.append(helper.make_node("Identity", ["lengths"], [name], name=f"{name}_of"))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    if not any(entry.domain == "ai.onnx.ml" for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _tell_tags(graph: Any, source: str, labels: NDArray[Any]) -> None:
    """The tag of the largest number at each step, and nothing behind a sequence's end."""
    from onnx import TensorProto, helper

    outputs = {value.name: value for value in graph.output}
    probabilities = outputs["probabilities"]
    dims: list[Any] = [d.dim_param or d.dim_value for d in probabilities.type.tensor_type.shape.dim]
    texts = labels.dtype.kind == "U"
    kind = TensorProto.STRING if texts else TensorProto.INT64
    values: list[Any] = [str(tag).encode() for tag in labels] if texts else labels.tolist()
    length_input = next(value.name for value in graph.input if value.name.endswith("lengths"))
    graph.initializer.extend(
        [
            helper.make_tensor("tag_names", kind, [len(labels)], values),
            helper.make_tensor("no_tag", kind, [], [b"" if texts else -1]),
            helper.make_tensor("no_probability", TensorProto.FLOAT, [], [0.0]),
            helper.make_tensor("tags_zero", TensorProto.INT64, [], [0]),
            helper.make_tensor("tags_one", TensorProto.INT64, [], [1]),
            helper.make_tensor("tags_axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("tags_last", TensorProto.INT64, [1], [-1]),
        ]
    )
    for node in graph.node:  # the numbers as they were, under another name
        node.output[:] = ["probabilities_all" if name == "probabilities" else name for name in node.output]
        node.input[:] = ["probabilities_all" if name == "probabilities" else name for name in node.input]
    source = "probabilities_all" if source == "probabilities" else source
    graph.node.extend(
        [
            helper.make_node("Shape", [source], ["tags_steps"], start=1, end=2, name="tags_steps"),
            helper.make_node("Squeeze", ["tags_steps"], ["tags_count"], name="tags_count"),
            helper.make_node("Range", ["tags_zero", "tags_count", "tags_one"], ["tags_range"], name="tags_range"),
            helper.make_node("Cast", [length_input], ["tags_lengths"], to=TensorProto.INT64, name="tags_lengths"),
            helper.make_node("Unsqueeze", ["tags_lengths", "tags_axis"], ["tags_ends"], name="tags_ends"),
            helper.make_node("Less", ["tags_range", "tags_ends"], ["tags_there"], name="tags_there"),
            helper.make_node("ArgMax", [source], ["tags_place"], axis=-1, keepdims=0, name="tags_place"),
            helper.make_node("Gather", ["tag_names", "tags_place"], ["tags_all"], name="tags_all"),
            helper.make_node("Where", ["tags_there", "tags_all", "no_tag"], ["tags"], name="tags_of"),
            helper.make_node("Unsqueeze", ["tags_there", "tags_last"], ["tags_mask"], name="tags_mask"),
            helper.make_node(
                "Where", ["tags_mask", "probabilities_all", "no_probability"], ["probabilities"], name="tags_probable"
            ),
        ]
    )
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info("tags", kind, dims[:2]), probabilities])


def _verify(
    content: bytes,
    known: Statistics | None,
    table: Mapping[str, int] | None,
    labels: NDArray[Any],
    expected: Callable[[Any], tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_]]],
) -> None:
    """Compare what onnxruntime makes of made-up sequences with what predict does."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for rows in (1, 4):
        lengths = rng.integers(1, 12, rows).astype(np.int32)
        if table is not None:
            words = [
                *sorted(table)[:500],
                "Zyxwvu",
                "ZQX",
                "4711",
                "3.14",
                "x-ray",
                "don't",
                "U.S.",
                "Straße",
                "…",
                "née",
            ]
            given: Any = [[words[k] for k in rng.integers(0, len(words), n)] for n in lengths]
            x = np.full((rows, lengths.max()), "", dtype=object)
            for row, tokens in zip(x, given, strict=True):
                row[: len(tokens)] = tokens
        else:
            assert known is not None
            x = rng.normal(known.mean, known.deviation, (rows, int(lengths.max()), len(known.mean))).astype(np.float32)
            x[(rng.random(x.shape) < 0.2) & known.missing] = np.nan
            given = [row[:n] for row, n in zip(x, lengths, strict=True)]
        tags, probabilities = session.run(["tags", "probabilities"], {"X": x, "lengths": lengths})
        places, wanted, clear = expected(given)
        off = float(np.abs(probabilities - wanted).max(initial=0.0))
        if not off <= _TOLERANCE:
            raise RuntimeError(
                f"export_onnx: onnxruntime differs from predict by {off:.1e}, more than {_TOLERANCE:.0e}: nothing was "
                "written; please report it"
            )
        there = np.arange(x.shape[1]) < lengths[:, None]
        sure = there & clear
        if (np.asarray(tags)[sure] != labels[places[sure]]).any():
            raise RuntimeError("export_onnx: onnxruntime gives other tags than predict: nothing was written")
