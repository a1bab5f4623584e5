"""``export`` and ``verify``: the two calls of this package."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rekur.onnx._check import check_model, write_atomic
from rekur.onnx._errors import ExportError
from rekur.onnx._graph import BATCH, IR_VERSION, MAX_BYTES, OPSETS, Graph, Interface, Tensor, to_proto
from rekur.onnx._layers import LAYERS
from rekur.onnx._plan import Layer, Plan, describe, has_time_axis, parse_ref
from rekur.onnx._verify import LENGTHS_KEY, Exportable, VerifyReport, compare, read

SPEC_KEY = "rekur.spec"
MAX_SPEC = 64 * 1024  # characters; a longer spec stays out of the file


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
        lines.append(str(self.verification) if self.verification else "not verified")
        return "\n".join(lines)


def export(
    model: Exportable,
    path: str | os.PathLike[str],
    *,
    verify: bool = True,
    lengths: bool = False,
    opset: int = 17,
    tolerance: float = 1e-5,
    metadata: Mapping[str, str] | None = None,
) -> ExportReport:
    """Write a model as one ONNX file, with symbolic batch and time axes.

    Inputs and outputs carry the names the spec gives them: a layer's name, or ``lstm:1`` for a further output. The file
    appears only after onnx's full checker, strict shape inference and (with ``verify``) onnxruntime have agreed; on any
    failure nothing is written and an older file of that name stays as it was.

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
        to every recurrent layer and Step. onnxruntime then asks for it in every run: leave it False for users without
        lengths.
    opset
        17 to 21. 17 is what the most runtimes read.
    tolerance
        See :func:`verify`.
    metadata
        Further text for the file's ``metadata_props``; keys must not begin with ``rekur.``.

    Raises
    ------
    TypeError
        ``model`` is none.
    ExportError
        The model cannot be said in ONNX; names the layer and why. A ``ValueError``.
    VerificationError
        onnxruntime refuses the file or disagrees with the engine. A ``ValueError``.
    OSError
        The file cannot be written.
    """
    _check_is_model(model, "export")
    target = Path(path)
    if opset not in OPSETS:
        raise ExportError(f"opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    if not tolerance > 0:
        raise ExportError(f"tolerance must be positive, got {tolerance}")
    if target.is_dir():
        raise IsADirectoryError(f"'{target}' is a folder; give the path of the file to write")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"no folder '{target.parent}' to write '{target.name}' into")
    properties = _check_metadata(metadata or {})

    plan = Plan(model.spec, lengths)
    weights = model.named_weights()
    graph = build(plan, weights)
    if graph.size() > MAX_BYTES:
        raise ExportError(f"{graph.size():,} bytes of weights do not fit into one ONNX file (protobuf ends at 2 GiB)")
    text = json.dumps(plan.spec)
    if len(text) <= MAX_SPEC:
        properties[SPEC_KEY] = text
    if plan.axes and any(axis.lengths for axis in plan.axes):
        properties[LENGTHS_KEY] = json.dumps({axis.lengths: axis.inputs for axis in plan.axes if axis.lengths})
    proto = to_proto(graph, str(plan.spec.get("name") or "model"), opset, _version(), properties)
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
        parameters=sum(int(array.size) for array in weights.values()),
        verification=report,
    )


def verify(
    model: Exportable | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    tolerance: float = 1e-5,
    providers: Sequence[str] | None = None,
    seed: int = 0,
) -> VerifyReport:
    """Compare an ONNX file written by :func:`export` with the engine, in onnxruntime.

    Runs batches of 1, 2, 3 and 7 at 1, 2, 5 and 13 time steps (fixed ones as they are, more where a Step needs more) on
    normal inputs, further cases on zeros and on inputs of ±50, and, where the file takes lengths, random ones with
    empty and full rows as well as all rows full.

    A case passes when ``|difference| <= tolerance · max(1, m)`` everywhere, m the largest magnitude of that output in
    that case. Where the engine's own output moves by more than an eighth of that when its inputs change in their last
    digits (a diverging network, a sum that cancels), eight times that movement is allowed: float32 determines the
    output no better. The report shows what was allowed. Cases in which both overflow float32 are counted but not
    judged. A NaN on one side only fails.

    Parameters
    ----------
    model
        A model, or the path of one saved with ``model.save``.
    path
        The ONNX file.
    providers
        onnxruntime's execution providers; by default the CPU's.
    seed
        Of the random inputs.

    Raises
    ------
    VerificationError
        The two disagree; the message holds the report.
    """
    if isinstance(model, (str, os.PathLike)):
        import rekur

        model = cast(Exportable, rekur.load(os.fspath(model)))
    _check_is_model(model, "verify")
    return compare(model, read(path), tolerance=tolerance, providers=providers, seed=seed)


def _check_is_model(model: object, what: str) -> None:
    if not all(hasattr(type(model), name) for name in ("named_weights", "predict")):
        raise TypeError(f"{what}: expected a rekur model, got {model!r}")


def build(plan: Plan, weights: Mapping[str, Any]) -> Graph:
    """The graph of everything the outputs need. Every input stays, read or not: it is the model's interface."""
    graph = Graph(weights)
    tensors: dict[tuple[str, int], Tensor] = {}
    for name in plan.inputs:
        tensor = _input(plan, plan.layers[name])
        tensors[name, 0] = tensor
        graph.inputs.append((name, tensor.dtype, tensor.shape))
    for axis in plan.axes:
        if axis.lengths:
            graph.inputs.append((axis.lengths, "int32", (BATCH,)))
    for layer in plan.live:
        if layer["type"] == "Input":
            continue
        rule = LAYERS.get(layer["type"])
        if rule is None:
            raise ExportError(f"{describe(layer)}: layers of this type have no ONNX form")
        inputs = [_resolve(tensors, layer, text) for text in layer["inputs"]]
        for index, output in enumerate(rule(graph, plan, layer, inputs)):
            tensors[layer["name"], index] = output
    for text in plan.spec["outputs"]:
        name, index = parse_ref(text)
        if (name, index) not in tensors:
            raise ExportError(f"the model's output '{text}' does not exist")
        graph.output(tensors[name, index], f"{name}:{index}" if index else name)
    return graph


def _input(plan: Plan, layer: Layer) -> Tensor:
    shape, name = layer["shape"], layer["name"]
    ids = layer.get("dtype", "float32") == "int32"
    if len(shape) not in ((0, 1) if ids else (1, 2)):
        raise ExportError(f"{describe(layer)}: expected (F) or (T, F), of int32 () or (T), got {tuple(shape)}")
    if not ids and shape[-1] is None:
        raise ExportError(f"{describe(layer)}: the number of features must be known, got {tuple(shape)}")
    axis = plan.time[name, 0] if has_time_axis(layer) else None
    return Tensor(name, None if ids else shape[-1], axis, batch_major=name)


def _resolve(tensors: Mapping[tuple[str, int], Tensor], layer: Layer, text: str) -> Tensor:
    tensor = tensors.get(parse_ref(text))
    if tensor is None:
        raise ExportError(f"{describe(layer)}: its input '{text}' does not exist")
    return tensor


def _check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ExportError(f"metadata must be text to text, got {key!r}: {value!r}")
        if key.startswith("rekur."):
            raise ExportError(f"metadata key '{key}': keys beginning with 'rekur.' are taken")
    return dict(metadata)


def _version() -> str:
    import rekur

    return str(getattr(rekur, "__version__", ""))
