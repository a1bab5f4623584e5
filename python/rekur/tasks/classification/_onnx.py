"""An estimator's ONNX file: raw sequences in, labels and probabilities or numbers out, verified against predict."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekur._files import check_writable, write_atomic
from rekur._validate import check_suffix
from rekur.models import Model
from rekur.tasks._front import Statistics

_TOLERANCE = 1e-5


def write(
    path: str | os.PathLike[str],
    model: Model,
    *,
    known: Statistics,
    table: int | None,
    lengths: bool,
    output: str,
    labels: NDArray[Any] | None,
    expected: Callable[[NDArray[Any], NDArray[Any] | None], Mapping[str, NDArray[Any]]],
    options: Mapping[str, Any],
) -> Any:
    """Export a model, add what only ONNX needs, verify in onnxruntime, and only then write the file.

    Parameters
    ----------
    model
        From "values" (B, T, F) to the numbers that are the output.
    known
        The channels' statistics, for the sequences that the file is tried with.
    table
        The columns of X where it is a table, (B, T); else X is (B, T, F).
    lengths
        Whether there is an input of lengths (B,), int32.
    output
        The name of the numbers.
    labels
        Where there are any: the labels of the numbers' places, of which the output "label" is the largest one's.
    expected
        What the outputs are for sequences and lengths, by predict.
    options
        Of :func:`rekur.onnx.export`.

    Returns
    -------
    rekur.onnx.ExportReport
    """
    import rekur.onnx  # an extra

    target = check_suffix(path, "export_onnx", (".onnx",)) if str(path).endswith(".onnx") else os.fspath(path)
    check_writable(target)
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "model.onnx"
        report = rekur.onnx.export(model, first, lengths=lengths, **options)
        proto = onnx.load(str(first))
    _rename(proto.graph, "values", "X", table)
    _rename_output(proto.graph, output)
    if labels is not None:
        _add_label(proto.graph, output, labels)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    _verify(content, known, table, lengths, output, labels, expected)
    write_atomic(target, content)
    report.path = Path(target)
    report.file_size = len(content)
    return report


def _rename(graph: Any, old: str, new: str, table: int | None) -> None:
    """The graph's input under another name; of a table without the axis of channels, which a node adds."""
    from onnx import TensorProto, helper

    given = next(value for value in graph.input if value.name == old)
    dims = given.type.tensor_type.shape.dim
    if table is None:
        given.name = new
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
        return
    batch = dims[0].dim_param or "batch"
    flat = helper.make_tensor_value_info(new, TensorProto.FLOAT, [batch, table])
    place = list(graph.input).index(given)
    rest = list(graph.input)
    del graph.input[:]
    graph.input.extend([*rest[:place], flat, *rest[place + 1 :]])
    graph.initializer.append(helper.make_tensor("X_axis", TensorProto.INT64, [1], [2]))
    graph.node.insert(0, helper.make_node("Unsqueeze", [new, "X_axis"], [old], name="X_channel"))


def _rename_output(graph: Any, new: str) -> None:
    from onnx import helper

    (given,) = graph.output
    old = given.name
    if old != new:
        graph.node.append(helper.make_node("Identity", [old], [new], name=f"{new}_out"))
        given.name = new


def _add_label(graph: Any, output: str, labels: NDArray[Any]) -> None:
    from onnx import TensorProto, helper, numpy_helper

    if labels.dtype.kind in "OU":
        kind = TensorProto.STRING
        made = helper.make_tensor("labels", kind, [len(labels)], [str(label).encode() for label in labels])
    elif labels.dtype.kind == "b":
        kind = TensorProto.BOOL
        made = numpy_helper.from_array(labels, "labels")
    elif labels.dtype.kind in "iu":
        kind = TensorProto.INT64
        made = numpy_helper.from_array(labels.astype(np.int64), "labels")
    else:
        kind = TensorProto.DOUBLE
        made = numpy_helper.from_array(labels.astype(np.float64), "labels")
    graph.initializer.append(made)
    graph.node.append(helper.make_node("ArgMax", [output], ["label_place"], axis=-1, keepdims=0, name="label_largest"))
    graph.node.append(helper.make_node("Gather", ["labels", "label_place"], ["label"], name="label_of"))
    numbers = list(graph.output)
    dims: list[Any] = [d.dim_param or d.dim_value for d in numbers[0].type.tensor_type.shape.dim][:-1]
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info("label", kind, dims), *numbers])


def _verify(
    content: bytes,
    known: Statistics,
    table: int | None,
    lengths: bool,
    output: str,
    labels: NDArray[Any] | None,
    expected: Callable[[NDArray[Any], NDArray[Any] | None], Mapping[str, NDArray[Any]]],
) -> None:
    """Compare what onnxruntime makes of sequences like those learned from with what predict does."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    steps = table if table is not None else 23
    for rows in (1, 5):
        x = rng.normal(known.mean, known.deviation, (rows, steps, len(known.mean))).astype(np.float32)
        x[(rng.random(x.shape) < 0.2) & known.missing] = np.nan
        counts = rng.integers(1, steps + 1, rows).astype(np.int32) if lengths else None
        feeds: dict[str, Any] = {"X": x[:, :, 0] if table is not None else x}
        if counts is not None:
            feeds["lengths"] = counts
        names = [value.name for value in session.get_outputs()]
        found = dict(zip(names, session.run(None, feeds), strict=True))
        wanted = expected(x, counts)
        scale = max(1.0, float(np.abs(wanted[output]).max(initial=0.0)))
        off = float(np.abs(found[output] - wanted[output]).max(initial=0.0)) / scale
        if not off <= _TOLERANCE:
            raise RuntimeError(
                f"export_onnx: onnxruntime differs from predict by {off:.1e}, more than {_TOLERANCE:.0e}: nothing was "
                "written; please report it"
            )
        if labels is not None:
            best = np.sort(wanted[output], axis=-1)
            clear = best[..., -1] - best[..., -2] > 10 * _TOLERANCE
            if (np.asarray(found["label"])[clear] != np.asarray(wanted["label"])[clear]).any():
                raise RuntimeError("export_onnx: onnxruntime gives other labels than predict: nothing was written")
