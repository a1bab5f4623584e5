"""``export`` and ``verify``: the two calls of this package."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rekur._files import check_writable, write_atomic
from rekur._validate import ONNX, as_path, check_suffix
from rekur.onnx._build import build
from rekur.onnx._check import check_model
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import IR_VERSION, MAX_BYTES, OPSETS, Graph, Interface, to_proto
from rekur.onnx._int8 import floating, matrices, round_matrices
from rekur.onnx._metadata import (
    CLASSES_KEY,
    LENGTHS_KEY,
    MASKS_KEY,
    SCALING_KEY,
    SPEC_KEY,
    TOKENIZER_KEY,
    class_entry,
    general_entries,
    scaling_entry,
    signal_entries,
)
from rekur.onnx._plain import plain
from rekur.onnx._plan import Plan
from rekur.onnx._states import STATES_KEY, States, hold_states
from rekur.onnx._verify import Exportable, Providers, VerifyReport, compare, read

MAX_SPEC = 1024 * 1024  # characters; a longer spec stays out of the file


@dataclass
class ExportReport:
    """What was written. ``print`` it for a table."""

    path: Path
    file_size: int
    opset: int
    ir_version: int
    inputs: Interface  # (name, dtype, shape with symbols)
    outputs: Interface
    nodes: dict[str, int]  # by operator
    parameters: int
    verification: VerifyReport | None  # None: verify=False
    tokenizer: Any = None  # the model's, which the file's metadata has

    @property
    def largest_difference(self) -> float | None:
        """The largest absolute difference between onnxruntime and the engine, or None if nothing was verified."""
        return self.verification.largest_difference if self.verification else None

    def __str__(self) -> str:
        rows = [("input", *value) for value in self.inputs] + [("output", *value) for value in self.outputs]
        width = max(len(name) for _, name, _, _ in rows)
        lines = [
            f"{self.path}: {self.file_size:,} bytes, opset {self.opset}, IR {self.ir_version}, "
            f"{self.parameters:,} parameters",
            "nodes: " + ", ".join(f"{count} {op}" for op, count in sorted(self.nodes.items())),
        ]
        for kind, name, dtype, shape in rows:
            lines.append(f"{kind:<6}  {name:<{width}}  {dtype:<7}  ({', '.join(map(str, shape))})")
        if self.tokenizer is not None:
            lines.append(
                f"text    ends before the file, whose inputs are ids: {self.tokenizer!r} makes them, and comes back "
                "with rekur.onnx.metadata(path).tokenizer"
            )
        lines.append(str(self.verification) if self.verification else "not verified")
        return "\n".join(lines)


def export(
    model: Exportable,
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    lengths: bool = False,
    masks: bool = False,
    streaming: bool = False,
    states: bool = False,
    integers: bool = False,
    opset: int = 17,
    tolerance: float = 1e-5,
    class_names: Sequence[str] | None = None,
    input_scaling: Mapping[str, tuple[Any, Any]] | None = None,
    doc: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a model as one ONNX file, with symbolic batch and time axes.

    Inputs and outputs carry the names the spec gives them: a layer's name, or ``lstm:1`` for a further output. The file
    appears only after onnx's full checker, strict shape inference and (with ``verify``) onnxruntime have agreed; on any
    failure nothing is written and an older file of that name stays as it was.

    Text does not enter the file: its inputs are the ids that ``model.tokenizer`` makes of it. What was set there is
    kept in the file's metadata, the report says so, and ``rekur.onnx.metadata(path).tokenizer`` gives it back.

    Parameters
    ----------
    model
        A ``rekur.Model``, or any object with its ``spec``, ``named_weights()`` and ``predict(x, lengths=)``
        (``lengths``: a dict by input name).
    path
        The file to write; its folder must exist.
    verify
        Compare onnxruntime with the engine (see :func:`verify`) before writing.
    lengths
        True: the file has an int32 input ``lengths`` (B,), or ``<input>_lengths`` for each of several time axes, wired
        to every layer that is recurrent or looks along time. onnxruntime then asks for it in every run: leave it False
        for users without lengths.
    masks
        True: the file has an input ``mask`` (B, T) of bool, or ``<input>_mask`` for each of several time axes: False
        where a step is none, as ``predict``'s ``mask=`` has it. What a model masks by itself (Masking, mask_zero) is in
        the file without it.
    streaming
        True: a model of one time step, for live use. Inputs with a time axis keep their names but are (batch, F) (ids:
        (batch,)), outputs are (batch, F): what the sequence model has at this step, or for a last output after it.
        Every state is an input ``<layer>_<state>_in`` and an output ``<layer>_<state>_out``, (batch, its size), zeros
        at the start: ``h`` of a recurrent layer (LSTM also ``c``), the last ``steps`` of a causal convolution,
        ``keys``, ``values`` and ``count`` of attention over a window, a ``position``; ``metadata(path).states`` lists
        them. An underscore is appended where a layer has that name. An input of the model that was only an initial
        state gives way to them: feed its value there at the first step.
    states
        True: a sequence model with the same state inputs and outputs, so that a long sequence can be fed in pieces.
    integers
        Of a model with layers of precision int8. False: their weights are integers in the file, and everything is
        computed in float32 with what they stand for. True: what has operators on integers is computed by them, an LSTM
        by onnxruntime's DynamicQuantizeLSTM, a Dense by MatMulInteger. They are as quick as the runtime's are, and
        make integers of whole arrays where the engine makes them of rows, so numbers agree as far as such rounding
        lets them (see :func:`verify`). On x86 without VNNI onnxruntime's products overflow: there such a file cannot be
        verified, and does not compute what it says.
    opset
        17 to 21, or 27. 17 is what the most runtimes read; with 27 a GatedLinearAttention is a LinearAttention node
        (onnxruntime 1.32 runs it), and onnx must know that opset.
    tolerance
        See :func:`verify`.
    class_names
        Names of the classes, kept in the file: as many as an output has features, or two for one of one feature.
    input_scaling
        By input the mean and standard deviation (numbers, or of shape (F,)) with which its features were scaled, kept
        in the file. It is a note to whoever feeds it, who is to give ``(x - mean) / std``; no node does it.
    doc
        The file's docstring.
    metadata
        Further text for the file's ``metadata_props``; keys must not begin with ``rekur.``.

    Raises
    ------
    TypeError
        ``model`` is none, or ``path`` is no path.
    ValueError
        ``path`` ends as a file of another format.
    ExportError
        The model cannot be said in ONNX; names the layer and why. A ``ValueError``.
    VerificationError
        onnxruntime refuses the file or disagrees with the engine. A ``ValueError``.
    OSError
        The file cannot be written.
    """
    model = _with_states_apart(model, "export")
    target = Path(check_suffix(path, "export", ONNX))
    if opset not in OPSETS:
        raise ExportError(f"opset must be {OPSETS[0]} to {OPSETS[-2]}, or {OPSETS[-1]}, got {opset}")
    _check_opset(opset)
    if not tolerance > 0:
        raise ExportError(f"tolerance must be positive, got {tolerance}")
    check_writable(target)
    properties = general_entries(metadata or {})

    if lengths and streaming:
        raise ExportError("lengths=True: a one-step model has no lengths; whoever feeds it stops with a row that ends")
    if masks and (lengths or streaming or states):
        other = "lengths" if lengths else "streaming" if streaming else "states"
        raise ExportError(f"masks=True: not together with {other}=True; a mask says by itself which steps there are")
    given: Any = model.spec
    given = json.loads(given) if isinstance(given, str) else given
    named = model.named_weights()
    narrow = matrices(given)
    if integers and not narrow:
        raise ExportError('integers=True: the model has no layer whose products are of eight bits (precision="int8")')
    named = round_matrices(named, narrow)
    spec, weights = plain(floating(given), named)
    plan = Plan(spec, lengths, masks)
    if streaming or states:
        hold_states(plan, streaming, weights)
    own = {id(named[name]) for name in narrow}  # by another name where a layer is called twice
    int8 = [name for name, array in weights.items() if id(array) in own]
    graph = build(plan, weights, opset, int8, integers)
    if graph.size() > MAX_BYTES:
        raise ExportError(f"{graph.size():,} bytes of weights do not fit into one ONNX file (protobuf ends at 2 GiB)")
    text = json.dumps(given)
    if len(text) <= MAX_SPEC:
        properties[SPEC_KEY] = text
    properties.update(signal_entries(given.get("signal", {})))
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is not None:
        from rekur.data.text import described

        properties[TOKENIZER_KEY] = json.dumps(described(tokenizer), ensure_ascii=False)
    properties.update(_entries(plan, graph, class_names, input_scaling))
    if streaming or states:
        properties[STATES_KEY] = _states(plan, graph).to_json()
    proto = to_proto(graph, str(plan.spec.get("name") or "model"), opset, _version(), properties, doc)
    check_model(proto, graph.outputs)
    data: bytes = proto.SerializeToString(deterministic=True)
    report = compare(model, data, tolerance=tolerance) if verify else None
    write_atomic(target, data)
    return ExportReport(
        path=target,
        file_size=len(data),
        opset=opset,
        ir_version=IR_VERSION,
        inputs=graph.inputs,
        outputs=graph.outputs,
        nodes=dict(Counter(node.op for node in graph.nodes)),
        parameters=sum(int(array.size) for array in named.values()),
        verification=report,
        tokenizer=tokenizer,
    )


def verify(
    model: Exportable | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tolerance: float = 1e-5,
    providers: Providers | None = None,
    seed: int = 0,
) -> VerifyReport:
    """Compare an ONNX file written by :func:`export` with the engine, in onnxruntime.

    Runs batches of 1, 2, 3 and 7 at 1, 2, 5 and 13 time steps (fixed ones as they are, more where a Step needs more) on
    normal inputs, further cases on zeros and on inputs of ±50, and, where the file takes lengths, random ones with
    empty and full rows as well as all rows full. A one-step file is looped over the sequences, a file with states gets
    them in random pieces: both must come to what the engine makes of the whole.

    A case passes when ``|difference| <= tolerance · max(1, m)`` everywhere, m the largest magnitude of that output in
    that case. Where the engine's own output moves by more than an eighth of that when its inputs change in their last
    digits (a diverging network, a sum that cancels), eight times that movement is allowed: float32 determines the
    output no better. The report shows what was allowed. A file of layers of eight bits (``precision="int8"``) has their
    rounded weights, and what it computes in float32 is held to what the engine computes in float32 with these. What it
    computes in integers (``integers=True``) is held to the engine's integers: allowed is eight times what rounding
    activations to eight bits changes of the engine's own outputs in that case, since the runtime rounds by the range of
    whole arrays, the engine by that of rows. Cases in which both overflow float32 are counted but not
    judged. A NaN on one side only fails.

    Parameters
    ----------
    model
        A model, or the path of one saved with ``model.save``.
    path
        The ONNX file.
    providers
        onnxruntime's execution providers, names or (name, options); by default the CPU's. CUDA by its name alone runs
        without TensorFloat-32.
    seed
        Of the random inputs.

    Raises
    ------
    VerificationError
        The two disagree; the message holds the report.
    """
    if isinstance(model, (str, bytes, os.PathLike)):
        import rekur

        model = cast(Exportable, rekur.load(os.fspath(model)))
    return compare(
        _with_states_apart(model, "verify"),
        read(as_path(path, "verify")),
        tolerance=tolerance,
        providers=providers,
        seed=seed,
    )


def _check_opset(opset: int) -> None:
    import onnx

    known = onnx.defs.onnx_opset_version()
    if opset > known:
        raise ExportError(f"opset {opset}: the installed onnx {onnx.__version__} knows opsets up to {known}")


def _with_states_apart(model: Any, what: str) -> Exportable:
    """The model; where stateful layers carry states, one that has these as inputs and outputs, as its spec says."""
    if not all(hasattr(type(model), name) for name in ("named_weights", "predict")):
        raise TypeError(f"{what}: expected a rekur model, got {model!r}")
    carried = getattr(model, "_carried", None)
    if carried is None or carried() is None:
        return cast(Exportable, model)
    import rekur

    apart = rekur.Model.from_spec(model.spec)
    apart.set_weights(model.get_weights())
    apart.tokenizer = model.tokenizer
    return cast(Exportable, apart)


def _entries(
    plan: Plan, graph: Graph, class_names: Sequence[str] | None, scaling: Mapping[str, Any] | None
) -> dict[str, str]:
    result: dict[str, str] = {}
    if any(axis.lengths for axis in plan.axes):
        result[LENGTHS_KEY] = json.dumps({axis.lengths: axis.inputs for axis in plan.axes if axis.lengths})
    if any(axis.mask for axis in plan.axes):
        result[MASKS_KEY] = json.dumps({axis.mask: axis.inputs for axis in plan.axes if axis.mask})
    if class_names is not None:
        result[CLASSES_KEY] = class_entry(class_names, graph.outputs[: len(plan.outputs)])
    if scaling is not None:
        result[SCALING_KEY] = scaling_entry(scaling, plan)
    return result


def _states(plan: Plan, graph: Graph) -> States:
    outputs = zip(plan.outputs, graph.outputs, strict=False)  # those of states come after
    return States(
        streaming=plan.streaming,
        timed_inputs=tuple(name for name in plan.inputs if (name, 0) in plan.timed and name not in plan.replaced),
        timed_outputs=tuple(name for ref, (name, _, _) in outputs if ref in plan.timed),
        states=tuple(plan.all_states()),
    )


def _version() -> str:
    import rekur

    return str(getattr(rekur, "__version__", ""))
