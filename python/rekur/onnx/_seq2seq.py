"""Encoder and decoder as two files: what is computed once, and one step with its states as inputs and outputs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekur import _core
from rekur._files import check_writable
from rekur._spec import ATTENTION, POSITIONS, Spec, dumps, model_spec, nodes, reference
from rekur._validate import ONNX, boolean, check_suffix, integer
from rekur.onnx._errors import ExportError, VerificationError
from rekur.onnx._export import ExportReport, export

if TYPE_CHECKING:
    from rekur.seq2seq import Seq2Seq

SEQ2SEQ_KEY = "seq2seq"
_STEPS_ALONE = (*ATTENTION, "Loop")  # look across steps, of an input that is whole
_NO_STATE_INPUTS = ("ConvLSTM1D", "ConvLSTM2D", "Bidirectional")


@dataclass
class Seq2SeqReport:
    """What was written. ``print`` it for a table."""

    encoder: ExportReport | None
    decoder: ExportReport
    states: list[tuple[str, str]]  # the decoder's: an input, and the output that is its next value
    decoded: int | None  # sequences that were decoded in onnxruntime as in the engine; None: verify=False

    def __str__(self) -> str:
        lines = [str(report) for report in (self.encoder, self.decoder) if report is not None]
        lines += [f"state   {before} -> {after}" for before, after in self.states]
        if self.decoded is not None:
            lines.append(f"{self.decoded} sequences decoded alike in onnxruntime and the engine")
        return "\n".join(lines)


def export_seq2seq(
    model: Seq2Seq,
    encoder: str | os.PathLike[str],
    decoder: str | os.PathLike[str],
    *,
    lengths: bool = False,
    verify: bool = True,
    **options: Any,
) -> Seq2SeqReport:
    """Write a :class:`rekur.Seq2Seq` as two ONNX files, for a loop in any language.

    The encoder gives, once a batch, what the decoder reads of it: outputs of the same names as the decoder's inputs,
    but for ``:`` in place of ``.``. The decoder takes labels (B, 1), those arrays and its states, and gives the
    probabilities or logits (B, 1, classes) of the next label and the next value of each state. The report, and the
    metadata ``seq2seq`` of the decoder, name the pairs; a state that the encoder does not give begins with zeros.

    Parameters
    ----------
    model : Seq2Seq
    encoder, decoder : str or path
        The files to write.
    lengths : bool
        Whether both files have inputs for lengths, as of :func:`export`; of the decoder's whole inputs they are those
        of the source.
    verify : bool
        Compare each file with the engine, and whole greedy decodings by both files in onnxruntime with
        :meth:`rekur.Seq2Seq.decode`. Where two labels are as probable to 1e-5 either may come.
    **options
        Of :func:`export`: opset, tolerance, ….

    Raises
    ------
    ExportError
        For a decoder that keeps something between steps that is no input: positions, causal convolutions, attention to
        the steps so far.
    VerificationError
        If numbers or decodings differ. Then nothing is written.
    """
    from rekur.models.model import Model

    paths = [check_suffix(path, "export_seq2seq", ONNX) for path in (encoder, decoder)]
    lengths = boolean(lengths, "export_seq2seq: lengths")
    if refused := [key for key in ("streaming", "states", "masks") if options.pop(key, False)]:
        raise ExportError(f"export_seq2seq: {refused[0]}: the decoder has its states as inputs and outputs as it is")
    if os.path.abspath(paths[0]) == os.path.abspath(paths[1]):
        raise ExportError(f"export_seq2seq: two files are written, and both are to be {paths[0]}")
    for path in paths:
        check_writable(path)
    cut = model._halves()
    step, states = _with_states(cut.after, model._labels)
    entrances = {name: shape for name, shape, _ in step.inputs}
    if lengths and (open_ones := [name for name, _ in states if None in entrances[name][1:]]):
        raise ExportError(
            f"export_seq2seq: lengths: the state '{open_ones[0]}' is as long as the source, and has lengths of its own "
            "in the file; export without lengths, and decode sources of one length together"
        )
    said = {
        "start": model.start,
        "end": model.end,
        "labels": model._labels,
        "states": states,
        "logits": model._logits,
        "given": [list(pair) for pair in cut.given],
    }
    metadata = {**(options.pop("metadata", None) or {}), SEQ2SEQ_KEY: json.dumps(said)}
    written = [f"{path}.{os.getpid()}-{k}.onnx" for k, path in enumerate(paths)]
    try:
        first = None
        if cut.before is not None:
            first = export(Model._of_core(cut.before), written[0], lengths=lengths, verify=verify, **options)
        second = export(Model._of_core(step), written[1], lengths=lengths, verify=verify, metadata=metadata, **options)
        decoded = _compare(model, written, first is not None, said, lengths) if verify else None
        for path, part, report in zip(paths, written, (first, second), strict=True):
            if report is not None:
                os.replace(part, path)
                report.path = type(report.path)(path)
    finally:
        for part in written:
            if os.path.exists(part):
                os.remove(part)
    return Seq2SeqReport(first, second, [(before, after) for before, after in states], decoded)


def _with_states(after: _core.Model, labels: str) -> tuple[_core.Model, list[list[str]]]:
    """The decoder with the states of its recurrent layers as inputs and outputs."""
    spec = json.loads(after.spec)
    found: list[Spec] = []
    states: list[list[str]] = []
    across = set(after.layers_across_time())
    inputs, outputs = list(spec["inputs"]), list(spec["outputs"])
    entrances: dict[str, Spec] = {layer["name"]: layer for layer in spec["layers"] if layer["type"] == "Input"}
    layers: dict[str, Spec] = {}
    for node in nodes(spec):
        if node["type"] == "Input":
            continue
        kind, name = node["type"], node["name"]
        if kind in POSITIONS or kind in _NO_STATE_INPUTS or (node["owner"] in across and kind not in _STEPS_ALONE):
            raise ExportError(f"{kind} '{name}': keeps something between steps, and the decoder has no input for it")
        body = {key: value for key, value in node.items() if key not in ("owner", "inputs", "name")}
        given = list(node["inputs"])
        if "return_state" in body or kind in ("SimpleRNN", "LSTM", "GRU", "RNN", "Loop"):
            body |= {"return_sequences": True, "return_state": True}
            first = _first_state(node)
            shapes = _state_shapes({**body, "name": name}, spec, given, first)
            for k, shape in enumerate(shapes[len(given) - first :], len(given) - first):
                entrance = f"{name}.state_{k}"
                entrances[entrance] = {"type": "Input", "name": entrance, "shape": shape, "dtype": "float32"}
                inputs.append(entrance)
                given.append(entrance)
            more = _outputs_before(node)
            for k in range(len(shapes)):
                states.append([given[first + k], reference(name, more + k)])
                outputs.append(reference(name, more + k))
        body.pop("type")
        layers.setdefault(node["owner"], {"type": kind, "name": node["owner"], **body})
        found.append({"layer": node["owner"], "name": name, "inputs": given})
    made = model_spec(spec["name"], [*entrances.values(), *layers.values()], inputs, outputs, found)
    return _core.Model(dumps(made), {name: (after, name) for name in layers}), states


def _first_state(node: Spec) -> int:
    if node["type"] != "Loop":
        return 1
    body = node["body"]
    return len(body["inputs"]) - int(node.get("states", 0))


def _outputs_before(node: Spec) -> int:
    """Outputs of a call before those of its states."""
    return 1 if node["type"] != "Loop" else len(node["body"]["outputs"]) - int(node.get("states", 0))


def _state_shapes(node: Spec, spec: Spec, given: list[str], first: int) -> list[list[Any]]:
    """The shapes of a layer's states, without the batch."""
    shapes, _, _ = _core.time_axes(dumps(spec))
    dtypes = {layer["name"]: layer.get("dtype", "float32") for layer in spec["layers"] if layer["type"] == "Input"}
    described = [(shapes[ref][0], dtypes.get(ref, "float32")) for ref in given[:first]]
    found = _core.infer_layer(dumps({key: value for key, value in node.items() if key != "inputs"}), described)
    return [list(shape[1:]) for shape, _ in found[_outputs_before(node) :]]


def decode_by(
    encoder: Any, decoder: Any, said: Mapping[str, Any], feed: Mapping[str, NDArray[Any]], steps: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Greedy labels by two onnxruntime sessions, (B, steps), -1 behind an end; and how far ahead each label was.

    feed: by input of the encoder, or where there is none of the decoder.
    """
    steps = integer(steps, "decode_by: steps")
    known = dict(feed)
    if encoder is not None:
        names = [output.name for output in encoder.get_outputs()]
        known.update(zip(names, encoder.run(None, dict(feed)), strict=True))
    rows = len(next(iter(feed.values())))
    given = {name: known[ref] for name, ref in said["given"]}
    lengths = next((value for name, value in feed.items() if name.endswith("lengths")), np.ones(rows, np.int32))
    wanted = [node.name for node in decoder.get_inputs()]
    outputs = [node.name for node in decoder.get_outputs()]
    for node in decoder.get_inputs():
        if node.name.endswith("lengths"):
            given[node.name] = np.ones(rows, np.int32) if node.name.startswith(said["labels"]) else lengths
        elif node.name not in given and node.name != said["labels"]:
            # A state as long as the source: coverage.
            longest = max((array.shape[1] for array in given.values() if array.ndim == 3), default=0)
            shape = [rows, *(size if isinstance(size, int) else longest for size in node.shape[1:])]
            given[node.name] = np.zeros(shape, np.float32)
    labels = np.full((rows, 1), said["start"], np.int32)
    made, margins, ended = [], [], np.zeros(rows, bool)
    for _ in range(steps):
        step = {**{name: given[name] for name in wanted if name in given}, said["labels"]: labels}
        found = dict(zip(outputs, decoder.run(None, step), strict=True))
        y = found[outputs[0]][:, 0]
        best = np.argmax(y, axis=-1).astype(np.int32)
        ordered = np.sort(y, axis=-1)
        margins.append(np.where(ended, np.inf, ordered[:, -1] - ordered[:, -2] if y.shape[1] > 1 else np.inf))
        ended |= best == (-1 if said["end"] is None else said["end"])
        made.append(np.where(ended, -1, best))
        labels = np.where(ended, said["start"], best)[:, None].astype(np.int32)
        for before, after in said["states"]:
            given[before] = found[after]
        if ended.all():
            break
    return np.stack(made, axis=1), np.stack(margins, axis=1)


def _compare(model: Seq2Seq, files: list[str], has_encoder: bool, said: Mapping[str, Any], lengths: bool) -> int:
    """Whole decodings in onnxruntime against the engine's; how many."""
    import onnxruntime

    rng = np.random.default_rng(0)
    rows, steps = 5, 12
    sources: dict[str, Any] = {}
    marks: dict[str, Any] = {}
    for port in model.model._ports()[0]:
        if port.name == model._labels:
            continue
        shape = [rows, *(7 if size is None else size for size in port.shape[1:])]
        if port.dtype == "int32":
            sources[port.name] = rng.integers(0, _classes_of(model, port.name), shape).astype(np.int32)
        else:
            sources[port.name] = rng.normal(size=shape).astype(np.float32)
        if lengths and port.timed:
            marks[port.name] = np.array([shape[1], 1, max(shape[1] - 1, 1), max(shape[1] // 2, 1), shape[1]], np.int32)
    expected, _ = model.decode(sources, lengths=marks or None, steps=steps)
    providers = ["CPUExecutionProvider"]
    encoder = onnxruntime.InferenceSession(files[0], providers=providers) if has_encoder else None
    decoder = onnxruntime.InferenceSession(files[1], providers=providers)
    feed = dict(sources)
    first = decoder if encoder is None else encoder
    for node in first.get_inputs():
        if node.name.endswith("lengths") and node.name not in feed:
            owner = node.name.removesuffix("_lengths")
            feed[node.name] = marks.get(owner, next(iter(marks.values()), None))
    found, margins = decode_by(encoder, decoder, said, feed, steps)
    for row in range(rows):
        theirs = [int(label) for label in found[row] if label >= 0]
        ours = [int(label) for label in expected[0, row] if label >= 0]
        pairs = enumerate(zip(theirs, ours, strict=False))
        differs = next((t for t, (a, b) in pairs if a != b), min(len(theirs), len(ours)))
        if theirs != ours and (differs >= margins.shape[1] or margins[row, differs] > 1e-5):
            raise VerificationError(
                f"export_seq2seq: row {row}: onnxruntime decoded {theirs}, the engine {ours}; nothing was written"
            )
    return rows


def _classes_of(model: Seq2Seq, name: str) -> int:
    """How many ids an input may have."""
    sizes = [
        int(node["input_dim"])
        for node in nodes(model.model.spec)
        if node["type"] == "Embedding" and any(ref.partition(":")[0] == name for ref in node.get("inputs", ()))
    ]
    return min(sizes, default=2)
